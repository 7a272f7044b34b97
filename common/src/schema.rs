//! What a table looks like, in terms that every database shares.
//!
//! A connector describes its tables with these structs; everything above connectors (planning,
//! fidelity, the ledger, `ssync check`) works on them alone.

use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

/// How a column's values travel between processes. Chosen so that every value of the source type
/// has exactly one representation and comes back unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Signed 64-bit integer.
    Int,
    /// Unsigned 64-bit integer.
    UInt,
    /// IEEE single precision, kept apart from double so that the bits survive.
    Float32,
    /// IEEE double precision.
    Float64,
    /// Exact decimal, as plain text (`-123.4500`): no precision is too large, scale is kept.
    Decimal,
    /// Characters, as UTF-8.
    Text,
    /// Bytes as they are: binary columns, bit fields, geometry.
    Bytes,
    /// Calendar date, zero and partial dates included; see [`crate::value::DateTime`].
    Date,
    /// Date and time of day without zone, microseconds; see [`crate::value::DateTime`].
    DateTime,
    /// Signed duration in microseconds (MySQL `TIME`, ±838:59:59.999999).
    Time,
    /// A value that carries its own type (SQLite): tagged bytes, see [`crate::value::Value::to_tagged`].
    Any,
}

impl Kind {
    /// The Arrow type in a batch.
    pub fn arrow(self) -> DataType {
        match self {
            Kind::Int | Kind::Date | Kind::DateTime | Kind::Time => DataType::Int64,
            Kind::UInt => DataType::UInt64,
            Kind::Float32 => DataType::Float32,
            Kind::Float64 => DataType::Float64,
            Kind::Decimal | Kind::Text => DataType::Utf8,
            Kind::Bytes | Kind::Any => DataType::Binary,
        }
    }

    /// Whether a key column of this kind orders and compares without rounding.
    pub fn can_be_key(self) -> bool {
        !matches!(self, Kind::Float32 | Kind::Float64 | Kind::Any)
    }
}

/// A column as its database declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name, in the database's own spelling.
    pub name: String,
    /// How its values travel.
    pub kind: Kind,
    /// The declared type in the database's own words (`decimal(10,2) unsigned`).
    pub declared: String,
    /// The family of the declared type, lower case, without length (`decimal`, `varchar`, `enum`).
    /// SQLite: the affinity (`integer`, `text`, `blob`, `real`, `numeric`), or `any` where the
    /// column converts nothing.
    pub family: String,
    /// Whether NULL may be stored.
    pub nullable: bool,
    /// Characters that fit, for text columns that have a limit.
    pub max_chars: Option<u64>,
    /// Bytes that fit, for text and binary columns that have a limit.
    pub max_bytes: Option<u64>,
    /// Significant decimal digits, for exact numbers; bits for bit fields.
    pub precision: Option<u32>,
    /// Digits after the point, for exact numbers; fraction digits of a second, for times.
    pub scale: Option<u32>,
    /// Smallest value of an integer column.
    pub min: Option<i64>,
    /// Largest value of an integer column.
    pub max: Option<u64>,
    /// Character set, for text columns; `None` where the database has just one.
    pub charset: Option<String>,
    /// Collation, for text columns.
    pub collation: Option<String>,
    /// Members of an enum or set, in order.
    pub members: Vec<String>,
    /// Computed by the database; cannot be written.
    pub generated: bool,
    /// Filled in by the database when absent.
    pub auto_increment: bool,
    /// Set by the database whenever the row is updated (`ON UPDATE CURRENT_TIMESTAMP`).
    pub on_update_now: bool,
    /// Has a default, so that it may be left out of an insert.
    pub has_default: bool,
}

impl Column {
    /// A nullable column of `kind` without limits; connectors fill in the rest.
    pub fn new(name: impl Into<String>, kind: Kind, declared: impl Into<String>) -> Self {
        let declared = declared.into();
        let family = declared
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        Column {
            name: name.into(),
            kind,
            declared,
            family,
            nullable: true,
            max_chars: None,
            max_bytes: None,
            precision: None,
            scale: None,
            min: None,
            max: None,
            charset: None,
            collation: None,
            members: Vec::new(),
            generated: false,
            auto_increment: false,
            on_update_now: false,
            has_default: false,
        }
    }
}

/// An index over whole columns or prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Name; `PRIMARY` or the database's equivalent for the primary key.
    pub name: String,
    /// Column names in index order.
    pub columns: Vec<String>,
    /// No two rows may share a value.
    pub unique: bool,
    /// The primary key.
    pub primary: bool,
    /// Covers only prefixes, or expressions, or some rows: no use as a row's identity.
    pub partial: bool,
    /// Forbids periods that overlap (`WITHOUT OVERLAPS`), by a rule that no insert can meet halfway:
    /// the database refuses upsert and replace into such a table.
    #[serde(skip)]
    pub without_overlaps: bool,
}

/// A foreign key, seen from the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Constraint name.
    pub name: String,
    /// The table that holds the key.
    pub child: String,
    /// The table it refers to.
    pub parent: String,
    /// Deleting a parent, or changing its key, deletes or changes children.
    pub cascades: bool,
    /// Deleting a parent does.
    #[serde(skip)]
    pub deletes: bool,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Name.
    pub name: String,
    /// `INSERT`, `UPDATE` or `DELETE`.
    pub event: String,
    /// The body, as far as the database shows it.
    pub body: String,
}

/// A table as its database declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Name as configured (may be `schema.table`).
    pub name: String,
    /// The name in full, as the database spells it: the same however the table was named.
    #[serde(skip)]
    pub full_name: String,
    /// The server that holds it: [`Connection::server_identity`].
    ///
    /// [`Connection::server_identity`]: crate::connector::Connection::server_identity
    #[serde(skip)]
    pub server: String,
    /// Columns in their order.
    pub columns: Vec<Column>,
    /// Indexes, primary key first.
    pub indexes: Vec<Index>,
    /// Foreign keys of this table.
    pub foreign_keys: Vec<ForeignKey>,
    /// Foreign keys of other tables that refer to this one.
    pub referenced_by: Vec<ForeignKey>,
    /// Triggers on this table.
    pub triggers: Vec<Trigger>,
    /// It may have triggers that the account is not shown.
    #[serde(skip)]
    pub hides_triggers: bool,
    /// Storage that rolls back (InnoDB, SQLite); a table without it is refused as a destination.
    pub transactional: bool,
    /// The storage engine's name, for messages.
    pub engine: String,
    /// A view, not a table.
    pub is_view: bool,
    /// Deleted and changed rows are kept as history (`WITH SYSTEM VERSIONING`).
    #[serde(skip)]
    pub is_versioned: bool,
    /// The pseudo-column that says where a row is kept, where the database has one, shows rows by
    /// its ranges, and never changes it (Oracle's ROWID, without row movement): rows without a key
    /// can be shared out by it.
    #[serde(skip)]
    pub address: Option<Column>,
    /// The statements that make the table and its indexes, the table's own first, where the
    /// database keeps them as text (SQLite); empty where it copies tables by itself.
    #[serde(default)]
    pub definition: Vec<String>,
}

impl Table {
    /// Whether both are the very same table, whatever names and links led to it.
    pub fn is_same(&self, other: &Table) -> bool {
        (&self.server, &self.full_name) == (&other.server, &other.full_name)
    }

    /// Foreign keys of other tables that refer to this one.
    pub fn referenced_by_others(&self) -> impl Iterator<Item = &ForeignKey> {
        self.referenced_by.iter().filter(|f| !self.foreign_keys.contains(f))
    }

    /// Names of the triggers that run at updates.
    pub fn update_triggers(&self) -> Vec<String> {
        let updates = self.triggers.iter().filter(|t| t.event.eq_ignore_ascii_case("update"));
        updates.map(|t| t.name.clone()).collect()
    }

    /// The column of that name: an exact match first, else one that differs in case alone.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .find(|c| c.name == name)
            .or_else(|| self.columns.iter().find(|c| c.name.eq_ignore_ascii_case(name)))
    }

    /// The primary key's columns, if there is one.
    pub fn primary_key(&self) -> Option<&[String]> {
        self.indexes.iter().find(|i| i.primary).map(|i| i.columns.as_slice())
    }

    /// The index that makes exactly these columns unique, in any order.
    pub fn unique_index_on(&self, columns: &[String]) -> Option<&Index> {
        self.indexes.iter().find(|i| {
            i.unique
                && !i.partial
                && i.columns.len() == columns.len()
                && i.columns.iter().all(|c| columns.iter().any(|k| k.eq_ignore_ascii_case(c)))
        })
    }
}

/// The Arrow schema of a batch with these columns, every field nullable.
pub fn arrow_schema(columns: &[Column]) -> Schema {
    Schema::new(
        columns.iter().map(|c| Field::new(&c.name, c.kind.arrow(), true)).collect::<Vec<_>>(),
    )
}
