//! Sealing columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray, types};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use super::deterministic::SivKey;
use super::engine::{Engine, GcmKey, TAG_BYTES};
use super::envelope::{
    RANDOM_PREFIX, SALT_BYTES, SALT_VALUES_MAX, SIV_PREFIX, append_text, deterministic_aad,
    deterministic_prefix, nonce, place, random_prefix, sealed_len, set_counter, set_siv,
};
use super::key::{ID_BYTES, KeyRing, MasterKey};
use super::{Mode, plain};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Kind;
use crate::value::DateTime;

/// Seals the values of one destination column with its ring's current key.
pub struct Sealer {
    column: String,
    scheme: Scheme,
    /// The envelope in the making: its prefix stays, the rest is each value's own.
    frame: Vec<u8>,
}

enum Scheme {
    Random(Box<Random>),
    Deterministic(Box<Deterministic>),
}

struct Deterministic {
    key: SivKey,
    aad: [u8; 1 + ID_BYTES],
}

struct Random {
    master: MasterKey,
    engine: Engine,
    place: Vec<u8>,
    salt: Option<Salt>,
}

/// A salt that this process has drawn, and how many values it has sealed under it.
struct Salt {
    key: GcmKey,
    used: u32,
    pid: u32,
}

impl Random {
    /// The number of the next value under the current salt; draws a salt when there is none or
    /// when every number under it is used, and writes it into the frame's prefix.
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<u16> {
        let salt = match &mut self.salt {
            Some(salt) if salt.used < SALT_VALUES_MAX => salt,
            spent => {
                let mut bytes = [0; SALT_BYTES];
                getrandom::fill(&mut bytes).map_err(|e| {
                    Error::new(ErrorKind::System, "could not get random bytes")
                        .detail(e.to_string())
                })?;
                random_prefix(self.master.id(), &bytes, frame);
                let key = self.master.data_key(self.engine, &bytes, &self.place)?;
                spent.insert(Salt { key, used: 0, pid: std::process::id() })
            }
        };
        let number = salt.used as u16;
        salt.used += 1;
        Ok(number)
    }

    /// Forgets a salt that belongs to the process this one was forked from.
    fn drop_inherited(&mut self) {
        if self.salt.as_ref().is_some_and(|s| s.pid != std::process::id()) {
            self.salt = None;
        }
    }

    /// Encrypts the frame beyond its prefix under the number that [`Random::next`] gave last.
    fn seal(&self, frame: &mut [u8]) -> Result<[u8; TAG_BYTES]> {
        match &self.salt {
            Some(salt) if salt.used > 0 => salt.key.seal(
                nonce((salt.used - 1) as u16),
                &self.place,
                &mut frame[RANDOM_PREFIX..],
            ),
            _ => Err(Error::new(ErrorKind::Internal, "a value was sealed without a salt")),
        }
    }
}

impl Sealer {
    /// For a column of a table as the configuration names it (`table` or `schema.table`): the
    /// table that readers will find it in, not one that is loaded beside it and swapped in.
    pub fn new(keys: &KeyRing, table: &str, column: &str, mode: Mode) -> Result<Self> {
        Self::with_engine(keys, table, column, mode, Engine::default())
    }

    /// The same with a certain engine.
    pub fn with_engine(
        keys: &KeyRing,
        table: &str,
        column: &str,
        mode: Mode,
        engine: Engine,
    ) -> Result<Self> {
        let master = keys.current();
        let id = master.id();
        let mut frame = Vec::new();
        let scheme = match mode {
            Mode::Random => Scheme::Random(Box::new(Random {
                master: master.clone(),
                engine,
                place: place(id, table, column),
                salt: None,
            })),
            Mode::Deterministic => {
                deterministic_prefix(id, &mut frame);
                let (key, aad) = (master.siv_key(engine)?, deterministic_aad(id));
                Scheme::Deterministic(Box::new(Deterministic { key, aad }))
            }
        };
        Ok(Sealer { column: column.to_owned(), scheme, frame })
    }

    /// Seals every value of a column whose values travel as `kind`; NULL stays NULL. Fails only
    /// for want of random bytes, for an array that is not of this kind, and for a column whose
    /// envelopes have more than 2 GiB together.
    pub fn seal_column(&mut self, array: &dyn Array, kind: Kind) -> Result<ArrayRef> {
        let int = || array.as_primitive_opt::<types::Int64Type>().ok_or_else(|| self.alien(kind));
        let text = || array.as_string_opt::<i32>().ok_or_else(|| self.alien(kind));
        let bytes = || array.as_binary_opt::<i32>().ok_or_else(|| self.alien(kind));
        match kind {
            Kind::Int => {
                let a = int()?;
                self.each(array, |row, out| plain::pack_int(a.value(row), out))
            }
            Kind::UInt => {
                let a = array.as_primitive_opt::<types::UInt64Type>();
                let a = a.ok_or_else(|| self.alien(kind))?;
                self.each(array, |row, out| plain::pack_int(a.value(row), out))
            }
            Kind::Float32 => {
                let a = array.as_primitive_opt::<types::Float32Type>();
                let a = a.ok_or_else(|| self.alien(kind))?;
                self.each(array, |row, out| plain::pack_float32(a.value(row), out))
            }
            Kind::Float64 => {
                let a = array.as_primitive_opt::<types::Float64Type>();
                let a = a.ok_or_else(|| self.alien(kind))?;
                self.each(array, |row, out| plain::pack_float64(a.value(row), out))
            }
            Kind::Decimal | Kind::Text => {
                let a = text()?;
                let tag = if kind == Kind::Text { b't' } else { b'd' };
                self.each(array, |row, out| plain::pack_bytes(tag, a.value(row).as_bytes(), out))
            }
            Kind::Bytes => {
                let a = bytes()?;
                self.each(array, |row, out| plain::pack_bytes(b'b', a.value(row), out))
            }
            Kind::Date => {
                let a = int()?;
                let at = |row| DateTime::from_packed(a.value(row));
                self.each(array, |row, out| plain::pack_date(at(row), out))
            }
            Kind::DateTime => {
                let a = int()?;
                let at = |row| DateTime::from_packed(a.value(row));
                self.each(array, |row, out| plain::pack_date_time(at(row), out))
            }
            Kind::Time => {
                let a = int()?;
                self.each(array, |row, out| plain::pack_time(a.value(row), out))
            }
            Kind::Any => {
                let a = bytes()?;
                let mut whole = true;
                let sealed = self.each(array, |row, out| {
                    whole &= plain::pack_any(a.value(row), out);
                })?;
                if whole { Ok(sealed) } else { Err(self.alien(kind)) }
            }
        }
    }

    fn alien(&self, kind: Kind) -> Error {
        let column = &self.column;
        Error::new(ErrorKind::Internal, format!("column {column} does not hold {kind:?} values"))
    }

    /// Seals what `pack` writes for each row that is not NULL.
    fn each(
        &mut self,
        array: &dyn Array,
        mut pack: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<ArrayRef> {
        if let Scheme::Random(random) = &mut self.scheme {
            random.drop_inherited();
        }
        let rows = array.len();
        let (mut text, mut offsets) = (Vec::new(), Vec::with_capacity(rows + 1));
        offsets.push(0);
        for row in 0..rows {
            if !array.is_null(row) {
                self.begin()?;
                let prefix = self.frame.len();
                pack(row, &mut self.frame);
                if text.is_empty() {
                    let deterministic = matches!(self.scheme, Scheme::Deterministic(_));
                    // The first value stands for all; the vector grows where they differ.
                    text.reserve(rows * sealed_len(self.frame.len() - prefix, deterministic));
                }
                self.end(&mut text)?;
            }
            offsets.push(i32::try_from(text.len()).map_err(|_| self.too_long())?);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let nulls = array.nulls().cloned();
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(text), nulls)?))
    }

    fn too_long(&self) -> Error {
        let column = &self.column;
        Error::new(ErrorKind::Full, format!("column {column} of one batch exceeds 2 GiB sealed"))
            .hint("Give the task a smaller `batch_rows`.")
    }

    /// Cuts the frame back to its prefix, with the next counter.
    fn begin(&mut self) -> Result<()> {
        match &mut self.scheme {
            Scheme::Random(random) => {
                let used = random.next(&mut self.frame)?;
                self.frame.truncate(RANDOM_PREFIX);
                set_counter(&mut self.frame, used);
            }
            Scheme::Deterministic(_) => self.frame.truncate(SIV_PREFIX),
        }
        Ok(())
    }

    /// Encrypts the frame beyond its prefix and writes it as text.
    fn end(&mut self, text: &mut Vec<u8>) -> Result<()> {
        let frame = &mut self.frame;
        match &mut self.scheme {
            Scheme::Random(random) => {
                let tag = random.seal(frame)?;
                frame.extend_from_slice(&tag);
            }
            Scheme::Deterministic(fixed) => {
                let siv = fixed.key.seal(&fixed.aad, &mut frame[SIV_PREFIX..])?;
                set_siv(frame, &siv);
            }
        }
        if append_text(frame, text) { Ok(()) } else { Err(self.too_long()) }
    }
}

#[cfg(test)]
pub(super) mod tests {

    use super::*;

    /// Seals with a salt and counter of the test's choice, to compare with known answers.
    pub(in super::super) fn seal_with_salt(
        sealer: &mut Sealer,
        bytes: [u8; SALT_BYTES],
        counter: u16,
        array: &dyn Array,
        kind: Kind,
    ) -> ArrayRef {
        if let Scheme::Random(random) = &mut sealer.scheme {
            random_prefix(random.master.id(), &bytes, &mut sealer.frame);
            let key = random.master.data_key(random.engine, &bytes, &random.place).unwrap();
            random.salt = Some(Salt { key, used: u32::from(counter), pid: std::process::id() });
        }
        sealer.seal_column(array, kind).unwrap()
    }

    #[test]
    fn a_salt_inherited_through_a_fork_is_not_used_again() {
        let secret = crate::secret::Secret::new((0..32).collect());
        let ring = KeyRing::new("k", &secret, &[]).unwrap();
        let mut sealer = Sealer::new(&ring, "t", "c", Mode::Random).unwrap();
        let array = StringArray::from(vec!["x"]);
        let salt_of = |sealer: &mut Sealer| {
            let sealed = sealer.seal_column(&array, Kind::Text).unwrap();
            sealed.as_string::<i32>().value(0)[..22].to_owned()
        };
        let first = salt_of(&mut sealer);
        assert_eq!(salt_of(&mut sealer), first, "one process keeps its salt");
        // What a child sees after fork: the same memory under another process id.
        if let Scheme::Random(random) = &mut sealer.scheme {
            random.salt.as_mut().unwrap().pid += 1;
        }
        assert_ne!(salt_of(&mut sealer), first);
    }
}
