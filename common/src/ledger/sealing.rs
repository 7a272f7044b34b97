//! Values of keys and marks as the ledger keeps them: plain, or sealed where their column is
//! encrypted at the destination. What must not be read in the table must not be read beside it.
//!
//! They are sealed with the column's own key and random nonces, also where the column itself is
//! encrypted deterministically, and bound to their run, position and end: an envelope that is put
//! elsewhere does not open. Entries of versions that knew no sealing are plain, and are read.

use std::collections::BTreeMap;

use arrow_array::StringArray;
use arrow_array::cast::AsArray;
use serde::{Deserialize, Serialize};

use super::{Entry, FENCE_TABLE, Id, LEDGER_TABLE, Mark};
use crate::crypto::{KeyRing, Mode, Opener, Sealer, key_of};
use crate::error::{Error, Kind, Result};
use crate::schema;
use crate::value::{Key, Value, hex_bytes};

/// A value as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kept {
    /// As it is.
    Plain(Value),
    /// In an envelope.
    Sealed {
        /// The envelope.
        sealed: String,
    },
}

/// A key as it is kept.
pub type KeptKey = Vec<Kept>;

/// Which columns of the keys in the ledger are sealed, and the keys for it.
#[derive(Debug, Clone, Default)]
pub struct Seals {
    columns: Vec<Option<String>>,
    keys: BTreeMap<String, KeyRing>,
}

impl Seals {
    /// For keys in the ledger of these columns, in their order: each with the name of the key that
    /// seals it, where one does. `keys` may hold others, which open what an earlier configuration
    /// sealed.
    ///
    /// # Errors
    /// [`Kind::Config`] where a named key is missing.
    pub fn new(columns: Vec<Option<String>>, keys: BTreeMap<String, KeyRing>) -> Result<Self> {
        match columns.iter().flatten().find(|name| !keys.contains_key(*name)) {
            Some(name) => Err(Error::new(Kind::Config, format!("there is no key {name}"))),
            None => Ok(Seals { columns, keys }),
        }
    }

    /// An entry as it is to be kept.
    pub fn seal(&self, entry: &Entry) -> Result<Entry<KeptKey>> {
        Ok(Entry {
            run: entry.run,
            pos: entry.pos.clone(),
            rows: entry.rows,
            lo: self.seal_key(&entry.lo, &place(&entry.run, &entry.pos, "lo"))?,
            hi: self.seal_key(&entry.hi, &place(&entry.run, &entry.pos, "hi"))?,
            settled: entry.settled,
        })
    }

    /// An entry as it was kept.
    ///
    /// # Errors
    /// [`Kind::Refused`], naming the key, where it is not at hand.
    pub fn open(&self, entry: &Entry<KeptKey>) -> Result<Entry> {
        Ok(Entry {
            run: entry.run,
            pos: entry.pos.clone(),
            rows: entry.rows,
            lo: self.open_key(&entry.lo, &place(&entry.run, &entry.pos, "lo"))?,
            hi: self.open_key(&entry.hi, &place(&entry.run, &entry.pos, "hi"))?,
            settled: entry.settled,
        })
    }

    /// Entries as they were kept, all of them or none.
    pub fn open_all(&self, entries: &[Entry<KeptKey>]) -> Result<Vec<Entry>> {
        entries.iter().map(|entry| self.open(entry)).collect()
    }

    /// The upper bound of a run of `increment`, as it is to be kept. It belongs to the first of the
    /// columns.
    pub fn seal_upto(&self, run: &Id, value: &Value) -> Result<Kept> {
        self.seal_value(0, value, FENCE_TABLE, &place(run, "", "upto"))
    }

    /// The upper bound of a run as it was kept.
    pub fn open_upto(&self, run: &Id, kept: &Kept) -> Result<Value> {
        self.open_value(0, kept, FENCE_TABLE, &place(run, "", "upto"))
    }

    /// The mark of `increment`, as it is to be kept.
    pub fn seal_mark(&self, mark: &Mark) -> Result<Mark<Kept>> {
        let value = self.seal_value(0, &mark.value, FENCE_TABLE, "mark")?;
        Ok(Mark { column: mark.column.clone(), value, rows: mark.rows.clone() })
    }

    /// The mark as it was kept.
    pub fn open_mark(&self, mark: &Mark<Kept>) -> Result<Mark> {
        let value = self.open_value(0, &mark.value, FENCE_TABLE, "mark")?;
        Ok(Mark { column: mark.column.clone(), value, rows: mark.rows.clone() })
    }

    fn seal_key(&self, key: &Key, place: &str) -> Result<KeptKey> {
        let value = |(i, value)| self.seal_value(i, value, LEDGER_TABLE, place);
        key.iter().enumerate().map(value).collect()
    }

    fn open_key(&self, key: &KeptKey, place: &str) -> Result<Key> {
        let value = |(i, kept)| self.open_value(i, kept, LEDGER_TABLE, place);
        key.iter().enumerate().map(value).collect()
    }

    fn seal_value(&self, i: usize, value: &Value, table: &str, place: &str) -> Result<Kept> {
        let name = self.columns.get(i).and_then(Option::as_ref);
        let Some(ring) = name.and_then(|name| self.keys.get(name)) else {
            return Ok(Kept::Plain(value.clone()));
        };
        let mut sealer = Sealer::new(ring, table, &format!("{place}/{i}"), Mode::Random)?;
        let text = serde_json::to_string(value)
            .map_err(|e| Error::new(Kind::Internal, format!("value: {e}")))?;
        let sealed = sealer.seal_column(&StringArray::from(vec![text]), schema::Kind::Text)?;
        let sealed = sealed.as_string::<i32>().iter().next().flatten();
        let none = || Error::new(Kind::Internal, "a value was sealed into nothing");
        Ok(Kept::Sealed { sealed: sealed.ok_or_else(none)?.to_owned() })
    }

    fn open_value(&self, i: usize, kept: &Kept, table: &str, place: &str) -> Result<Value> {
        let sealed = match kept {
            Kept::Plain(value) => return Ok(value.clone()),
            Kept::Sealed { sealed } => sealed,
        };
        let altered = || {
            Error::new(
                Kind::Database,
                format!(
                    "ssync's own table {table} at the destination: a sealed value does not open"
                ),
            )
            .detail(format!("key {}", key_of(sealed).map_or("unknown".into(), |id| id.to_string())))
            .hint("It was changed or moved outside ssync. Restore the table from a backup.")
        };
        let id = key_of(sealed).ok_or_else(altered)?;
        let Some(ring) = self.keys.values().find(|ring| ring.ids().any(|known| known == id)) else {
            return Err(Error::new(
                Kind::Refused,
                format!("what ssync has written down at the destination is sealed with key {id}"),
            )
            .detail("this configuration does not have that key for the table")
            .detail("nothing was settled or sent")
            .hint(
                "Put the key into `old` of the key that replaced it until a run of the table has \
                 come to its end, or run the table from the home that has it.",
            ));
        };
        let mut opener = Opener::new(ring, table, &format!("{place}/{i}"), Mode::Random)?;
        let array = StringArray::from(vec![sealed.as_str()]);
        let (opened, bad) = opener.open_column(&array, schema::Kind::Text, schema::Kind::Text)?;
        let text = opened.as_string::<i32>().iter().next().flatten();
        match (text, bad.is_empty()) {
            (Some(text), true) => serde_json::from_str(text).map_err(|_| altered()),
            _ => Err(altered()),
        }
    }
}

/// What an envelope is bound to.
fn place(run: &Id, pos: &str, what: &str) -> String {
    format!("{}/{pos}/{what}", hex_bytes::encode(run))
}
