//! Opening columns.

use std::collections::HashMap;
use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};

use super::deterministic::SivKey;
use super::engine::{Engine, GcmKey};
use super::envelope::{Envelope, SALT_BYTES, deterministic_aad, parse, place};
use super::key::{KeyId, KeyRing, MasterKey};
use super::plain::{Misfit, Unpacked, unpack};
use super::{Mode, deterministic};
use crate::batch::BadValue;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Kind;

/// Data keys kept at hand: enough for 67 million values in any order (65,536 under each salt).
/// About 0.7 KB each.
const DATA_KEYS_MAX: usize = 1024;

/// Why a value did not open. Says nothing about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Not an envelope at all: plain text, cut off, or altered in a way that shows.
    NotAnEnvelope,
    /// Sealed with a key that the ring does not hold.
    UnknownKey(KeyId),
    /// Sealed in the other mode.
    OtherMode(Mode),
    /// The key is there, but the content was altered, or sealed for another table or column.
    NotAuthentic(Mode),
    /// It opened, but does not fit the column.
    Misfit(Misfit),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::NotAnEnvelope => f.write_str("not an envelope of ssync"),
            Closed::UnknownKey(id) => write!(f, "sealed with key {id}, which is not at hand"),
            Closed::OtherMode(Mode::Random) => {
                f.write_str("sealed with random nonces, not deterministically as configured")
            }
            Closed::OtherMode(Mode::Deterministic) => {
                f.write_str("sealed deterministically, not with random nonces as configured")
            }
            Closed::NotAuthentic(Mode::Random) => {
                f.write_str("does not open: altered, or sealed for another table or column")
            }
            Closed::NotAuthentic(Mode::Deterministic) => f.write_str("does not open: altered"),
            Closed::Misfit(misfit) => misfit.fmt(f),
        }
    }
}

/// Opens the values of one column.
pub struct Opener {
    column: String,
    scheme: Scheme,
    frame: Vec<u8>,
}

enum Scheme {
    Random(Box<Random>),
    Deterministic(Vec<(KeyId, SivKey)>),
}

impl Opener {
    /// For values that were sealed into this table (as configured, `table` or `schema.table`) and
    /// column in this mode.
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
        let scheme = match mode {
            Mode::Random => {
                let master = |key: &MasterKey| (key.clone(), place(key.id(), table, column));
                Scheme::Random(Box::new(Random {
                    engine,
                    masters: keys.keys().iter().map(master).collect(),
                    slots: Vec::new(),
                    by_salt: HashMap::new(),
                    last: 0,
                    clock: 0,
                }))
            }
            Mode::Deterministic => Scheme::Deterministic(
                keys.keys()
                    .iter()
                    .map(|key| Ok((key.id(), key.siv_key(engine)?)))
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Opener { column: column.to_owned(), scheme, frame: Vec::new() })
    }

    /// Opens every value of a column that travels as `kind_in` ([`Kind::Text`], [`Kind::Bytes`]
    /// or [`Kind::Any`]) into a column of `kind_out`; NULL stays NULL. A value that does not open
    /// or does not fit is NULL in the result, and listed. Fails only for an array that cannot
    /// hold envelopes.
    pub fn open_column(
        &mut self,
        array: &dyn Array,
        kind_in: Kind,
        kind_out: Kind,
    ) -> Result<(ArrayRef, Vec<BadValue>)> {
        let column = &self.column;
        let alien = || {
            let message = format!("column {column} does not hold {kind_in:?} values");
            Error::new(ErrorKind::Internal, message)
        };
        match kind_in {
            Kind::Text => {
                let a = array.as_string_opt::<i32>().ok_or_else(alien)?;
                self.each(array, kind_out, |row| Some(a.value(row).as_bytes()))
            }
            Kind::Bytes => {
                let a = array.as_binary_opt::<i32>().ok_or_else(alien)?;
                self.each(array, kind_out, |row| Some(a.value(row)))
            }
            Kind::Any => {
                let a = array.as_binary_opt::<i32>().ok_or_else(alien)?;
                self.each(array, kind_out, |row| match a.value(row).split_first() {
                    Some((b't' | b'b', text)) => Some(text),
                    _ => None,
                })
            }
            _ => Err(Error::new(
                ErrorKind::Refused,
                format!("column {column} cannot be decrypted: it holds neither text nor bytes"),
            )),
        }
    }

    fn each<'a>(
        &mut self,
        array: &dyn Array,
        kind_out: Kind,
        text: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Result<(ArrayRef, Vec<BadValue>)> {
        let mut out = Unpacked::new(kind_out, array.len());
        let mut bad = Vec::new();
        for row in 0..array.len() {
            if array.is_null(row) {
                out.null();
                continue;
            }
            if let Err(closed) = self.one(text(row).unwrap_or_default(), kind_out, &mut out)? {
                out.null();
                let column = self.column.clone();
                bad.push(BadValue { row, column, message: closed.to_string() });
            }
        }
        Ok((out.finish(), bad))
    }

    /// Opens one envelope into `out`, or says why not.
    fn one(
        &mut self,
        text: &[u8],
        kind_out: Kind,
        out: &mut Unpacked,
    ) -> Result<Result<(), Closed>> {
        let plain = match parse(text, &mut self.frame) {
            None => Err(Closed::NotAnEnvelope),
            Some(Envelope::Random { key, salt, nonce, sealed }) => match &mut self.scheme {
                Scheme::Deterministic(_) => Err(Closed::OtherMode(Mode::Random)),
                Scheme::Random(random) => match random.data_key(key, &salt)? {
                    None => Err(Closed::UnknownKey(key)),
                    Some((data_key, place)) => data_key
                        .open(nonce, place, sealed)
                        .ok_or(Closed::NotAuthentic(Mode::Random)),
                },
            },
            Some(Envelope::Deterministic { key, siv, sealed }) => match &mut self.scheme {
                Scheme::Random(_) => Err(Closed::OtherMode(Mode::Deterministic)),
                Scheme::Deterministic(keys) => match keys.iter_mut().find(|(id, _)| *id == key) {
                    None => Err(Closed::UnknownKey(key)),
                    Some((_, siv_key)) => open_siv(siv_key, key, &siv, sealed),
                },
            },
        };
        Ok(plain.and_then(|plain| unpack(plain, kind_out, out).map_err(Closed::Misfit)))
    }
}

fn open_siv<'a>(
    siv_key: &mut SivKey,
    key: KeyId,
    siv: &[u8; deterministic::SIV_BYTES],
    sealed: &'a mut [u8],
) -> Result<&'a [u8], Closed> {
    match siv_key.open(&deterministic_aad(key), siv, sealed) {
        true => Ok(sealed),
        false => Err(Closed::NotAuthentic(Mode::Deterministic)),
    }
}

/// Master keys with their places, and the data keys derived from them that were used last.
struct Random {
    engine: Engine,
    masters: Vec<(MasterKey, Vec<u8>)>,
    slots: Vec<Slot>,
    by_salt: HashMap<(KeyId, [u8; SALT_BYTES]), usize>,
    /// The slot of the value before: rows come in the order they were sealed, mostly.
    last: usize,
    clock: u64,
}

struct Slot {
    id: KeyId,
    salt: [u8; SALT_BYTES],
    master: usize,
    key: GcmKey,
    used_at: u64,
}

impl Random {
    /// The data key of a salt, and its place; `None` when the master key is not in the ring.
    fn data_key(&mut self, id: KeyId, salt: &[u8; SALT_BYTES]) -> Result<Option<(&GcmKey, &[u8])>> {
        let hit = self.slots.get(self.last).is_some_and(|s| s.id == id && s.salt == *salt);
        if !hit {
            self.clock += 1;
            self.last = match self.by_salt.get(&(id, *salt)) {
                Some(at) => *at,
                None => match self.masters.iter().position(|(key, _)| key.id() == id) {
                    Some(master) => self.derive(master, id, salt)?,
                    None => return Ok(None),
                },
            };
            self.slots[self.last].used_at = self.clock;
        }
        let slot = &self.slots[self.last];
        Ok(Some((&slot.key, &self.masters[slot.master].1)))
    }

    /// Derives a data key into a free slot, or into the one unused for longest.
    fn derive(&mut self, master: usize, id: KeyId, salt: &[u8; SALT_BYTES]) -> Result<usize> {
        let (key, place) = &self.masters[master];
        let key = key.data_key(self.engine, salt, place)?;
        let slot = Slot { id, salt: *salt, master, key, used_at: 0 };
        let oldest = self.slots.iter().enumerate().min_by_key(|(_, s)| s.used_at);
        let at = match oldest {
            Some((at, old)) if self.slots.len() >= DATA_KEYS_MAX => {
                self.by_salt.remove(&(old.id, old.salt));
                self.slots[at] = slot;
                at
            }
            _ => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.by_salt.insert((id, *salt), at);
        Ok(at)
    }
}
