//! What can be chosen for a table: modes, columns, SQL.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::option::{Limit, Node, OptionType, Stored};
use super::option_types::{self, words};
use super::read::{strings, text};
use super::time::Lag;
use crate::connector::OwnType;
use crate::error::Result;
use crate::value::Value;

/// Which rows of the source are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableMode {
    /// Rows whose `sync_status` is 0 (A18).
    #[default]
    Status,
    /// All rows.
    Full,
    /// Rows past a watermark.
    Increment,
}

/// How `full` makes room for the new rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FullMethod {
    /// Empty the destination first.
    #[default]
    Truncate,
    /// Load a table beside it and swap the two at the end.
    Swap,
}

/// The mark of `increment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// Source column that only grows: a number, date or time.
    pub column: String,
    /// How far behind the newest value reading stops, so that transactions that commit late are
    /// not skipped: `10s` for times, a plain number for numbers.
    pub lag: Lag,
}

/// A column to transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnChoice {
    /// Same name on both sides.
    Same(String),
    /// Renamed.
    Renamed {
        /// Name at the source.
        from: String,
        /// Name at the destination.
        to: String,
    },
}

impl ColumnChoice {
    /// A choice in its one canonical form.
    pub fn new(from: String, to: String) -> Self {
        if from == to { ColumnChoice::Same(from) } else { ColumnChoice::Renamed { from, to } }
    }

    /// Name at the source.
    pub fn from(&self) -> &str {
        match self {
            ColumnChoice::Same(name) | ColumnChoice::Renamed { from: name, .. } => name,
        }
    }

    /// Name at the destination.
    pub fn to(&self) -> &str {
        match self {
            ColumnChoice::Same(name) | ColumnChoice::Renamed { to: name, .. } => name,
        }
    }
}

/// How a column is encrypted or decrypted: a key's name, or the name with a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CryptoChoice {
    /// Random nonces (AES-256-GCM).
    Key(String),
    /// With a mode.
    Full {
        /// The key's name.
        key: String,
        /// Equal values give equal ciphertexts (AES-SIV), so that the column can be joined on.
        #[serde(default, skip_serializing_if = "is_false")]
        deterministic: bool,
    },
}

impl CryptoChoice {
    /// A choice in its one canonical form.
    pub fn new(key: String, deterministic: bool) -> Self {
        match deterministic {
            false => CryptoChoice::Key(key),
            true => CryptoChoice::Full { key, deterministic },
        }
    }

    /// The key's name.
    pub fn key(&self) -> &str {
        match self {
            CryptoChoice::Key(key) | CryptoChoice::Full { key, .. } => key,
        }
    }

    /// Whether equal values give equal ciphertexts.
    pub fn deterministic(&self) -> bool {
        matches!(self, CryptoChoice::Full { deterministic: true, .. })
    }
}

/// How empty text is held in Oracle, which takes it for NULL. Into Oracle it says what becomes of
/// empty text; out of Oracle, which values are empty text again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyAs {
    /// As NULL.
    Null,
    /// As one blank.
    Space,
    /// Not at all: the row is bad. What holds where nothing is configured.
    #[default]
    Refuse,
}

/// In [`super::TableTask::empty_as`]: every column that is not named.
pub const OTHER_COLUMNS: &str = "*";

/// SQL on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideSql {
    /// Statements for the source, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// Statements for the destination, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dest: Vec<String>,
}

impl SideSql {
    /// Nothing to run on either side.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty() && self.dest.is_empty()
    }
}

words! {
    TableMode { "status" = Status, "full" = Full, "increment" = Increment }
    FullMethod { "truncate" = Truncate, "swap" = Swap }
    EmptyAs { "null" = Null, "space" = Space, "refuse" = Refuse }
}

impl OptionType for Watermark {
    fn types(_: Option<Limit>) -> String {
        "`{ column = \"…\", lag = \"…\" }`".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        let section = node.section()?;
        let lag = section.required("lag").and_then(|n| n.parsed());
        let column = text(&section, "column");
        section.finish(|_| None);
        Some(Watermark { column, lag: lag.unwrap_or(Lag::Secs(0)) })
    }

    fn placeholder() -> Self {
        Watermark { column: String::new(), lag: Lag::Secs(0) }
    }

    fn shown(&self) -> String {
        format!("`{{ column = {:?}, lag = \"{}\" }}`", self.column, self.lag)
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        Watermark { column: "at".to_owned(), lag: Lag::Secs(10) }
    }
}

/// The column, and the lag as it is written.
impl Stored for Watermark {
    const KINDS: &'static [OwnType] = &[OwnType::LongText, OwnType::Text(32)];

    fn store(&self) -> Result<Vec<Value>> {
        Ok(vec![Value::Text(self.column.clone()), Value::Text(self.lag.to_string())])
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        let (column, lag) = (option_types::text(values, 0)?, option_types::parsed(values, 1)?);
        Ok(Watermark { column, lag })
    }
}

impl OptionType for ColumnChoice {
    fn types(_: Option<Limit>) -> String {
        "column, or `{ from = \"…\", to = \"…\" }`".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        if let Some(name) = node.value().as_str() {
            return Some(ColumnChoice::Same(name.to_owned()));
        }
        if !node.value().is_table() {
            node.broken("must be a column's name or { from = \"…\", to = \"…\" }");
            return None;
        }
        let section = node.section()?;
        let choice = ColumnChoice::new(text(&section, "from"), text(&section, "to"));
        section.finish(|_| None);
        Some(choice)
    }

    fn placeholder() -> Self {
        ColumnChoice::Same(String::new())
    }

    fn shown(&self) -> String {
        match self {
            ColumnChoice::Same(name) => format!("{name:?}"),
            ColumnChoice::Renamed { from, to } => format!("{{ from = {from:?}, to = {to:?} }}"),
        }
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        ColumnChoice::new("a".to_owned(), "b".to_owned())
    }
}

impl OptionType for CryptoChoice {
    fn types(_: Option<Limit>) -> String {
        "key, or `{ key = \"…\", deterministic = true }`".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        if node.value().is_table() {
            let section = node.section()?;
            let deterministic = section.optional("deterministic").and_then(|n| n.boolean());
            let key = text(&section, "key");
            section.finish(|_| None);
            Some(CryptoChoice::new(key, deterministic.unwrap_or(false)))
        } else if let Some(key) = node.value().as_str() {
            Some(CryptoChoice::new(key.to_owned(), false))
        } else {
            node.broken("must be a key's name or { key = \"…\", deterministic = true }");
            None
        }
    }

    fn placeholder() -> Self {
        CryptoChoice::Key(String::new())
    }

    fn shown(&self) -> String {
        let key = self.key();
        format!("{{ key = {key:?}, deterministic = {} }}", self.deterministic())
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        CryptoChoice::new("pii".to_owned(), true)
    }
}

/// Reads `empty_as`: a map of columns, or one word for all.
pub(super) fn read_empty_as(
    node: &Node<'_>,
    limit: Option<Limit>,
) -> Option<BTreeMap<String, EmptyAs>> {
    if node.value().is_str() {
        return EmptyAs::read(node, limit).map(|c| BTreeMap::from([(OTHER_COLUMNS.to_owned(), c)]));
    }
    BTreeMap::read(node, limit)
}

impl OptionType for SideSql {
    fn types(_: Option<Limit>) -> String {
        "`{ source = […], dest = […] }`".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        let section = node.section()?;
        let sql = SideSql { source: strings(&section, "source"), dest: strings(&section, "dest") };
        section.finish(|_| None);
        Some(sql)
    }

    fn placeholder() -> Self {
        SideSql::default()
    }

    fn shown(&self) -> String {
        if self.is_empty() {
            return "`{}`".to_owned();
        }
        format!("`{{ source = {:?}, dest = {:?} }}`", self.source, self.dest)
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        SideSql { source: vec!["a".to_owned()], dest: vec!["b".to_owned(), "c".to_owned()] }
    }
}

fn is_false(b: &bool) -> bool {
    !b
}
