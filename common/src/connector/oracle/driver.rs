//! What a driver must be able to do: few methods, on which everything else is written once.
//!
//! A driver knows no SQL, no types of tables, no kinds of errors. Values cross in [`Cell`]s (to
//! the server) and [`Field`]s (from it), both exact: a NUMBER is its decimal text, never a float.

use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Error, Result};

/// What a placeholder is bound as, in all rows of an array alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindType {
    /// NUMBER.
    Number,
    /// BINARY_FLOAT.
    Float,
    /// BINARY_DOUBLE.
    Double,
    /// VARCHAR2, or LONG where it is longer than the server lets a VARCHAR2 be.
    Text,
    /// RAW, or LONG RAW.
    Bytes,
    /// TIMESTAMP without a zone.
    Moment,
}

/// A date and time of day to the nanosecond, without a zone, in the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Year; before our era negative.
    pub(super) year: i16,
    /// 1–12.
    pub(super) month: u8,
    /// 1–31.
    pub(super) day: u8,
    /// 0–23.
    pub(super) hour: u8,
    /// 0–59.
    pub(super) minute: u8,
    /// 0–59.
    pub(super) second: u8,
    /// 0–999,999,999.
    pub(super) nanos: u32,
}

/// A value on its way to the server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// NULL, of whatever type.
    Null,
    /// A NUMBER in plain digits: sign, digits, at most one point; no more than a NUMBER holds.
    Number(Cow<'a, str>),
    /// A BINARY_FLOAT.
    Float(f32),
    /// A BINARY_DOUBLE.
    Double(f64),
    /// Characters.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A moment.
    Moment(Moment),
}

impl Cell<'_> {
    /// Bytes that it takes on the way, roughly.
    pub(super) fn size(&self) -> usize {
        match self {
            Cell::Null => 1,
            Cell::Number(_) => 22,
            Cell::Float(_) => 5,
            Cell::Double(_) => 9,
            Cell::Text(text) => text.len() + 4,
            Cell::Bytes(bytes) => bytes.len() + 4,
            Cell::Moment(_) => 12,
        }
    }
}

/// A value that the server sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    /// NULL.
    Null,
    /// A NUMBER in plain digits.
    Number(&'a str),
    /// A BINARY_FLOAT.
    Float(f32),
    /// A BINARY_DOUBLE.
    Double(f64),
    /// Characters.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A DATE or TIMESTAMP as its parts.
    Moment(Moment),
    /// An INTERVAL DAY TO SECOND in nanoseconds.
    Interval(i128),
    /// A BOOLEAN.
    Bool(bool),
    /// A value that the driver could not give: why.
    Unreadable(&'static str),
}

/// How the rows of a query are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetch {
    /// Rows in one round trip.
    pub(super) rows: u32,
    /// How a LOB's value comes. It is handed on in one piece either way.
    pub(super) lobs: Lobs,
}

/// How the value of a LOB comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lobs {
    /// With its row: for small results.
    Inline,
    /// By its locator, in pieces of bounded size, when its row is handed on: no more than one row's
    /// LOBs are in memory at once.
    Located,
}

/// Who takes the rows of a query, one after another.
pub(super) trait Rows {
    /// The result's columns by name, before the first row.
    fn columns(&mut self, names: &[String]) -> Result<()>;
    /// One row.
    fn row(&mut self, fields: &[Field<'_>]) -> Result<()>;
}

/// Why something did not work.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The server's code, without its `ORA-` and zeros; 0 where the driver itself failed.
    pub(super) code: u32,
    /// The server's or the driver's words.
    pub(super) message: String,
    /// What has become of the connection.
    pub(super) state: State,
}

/// What has become of a connection whose call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The server answered with an error: everything is in order.
    Answered,
    /// The call took too long and was cancelled; the connection has recovered.
    TimedOut,
    /// Nothing can be said: the connection is to be given up.
    Broken,
    /// The driver was asked for something it refuses before it sends anything.
    Misused,
}

/// Why a query ended early.
pub(super) enum Cut {
    /// The server or the connection failed.
    Source(Failure),
    /// The receiver did not want more.
    Receiver(Error),
}

impl From<Failure> for Cut {
    fn from(failure: Failure) -> Self {
        Cut::Source(failure)
    }
}

/// One session with a server. Nothing is committed unless [`Driver::commit`] says so, or the
/// statement is a definition.
pub(super) trait Driver: Send {
    /// The server's version: `[19, 3, 0, 0, 0]`.
    fn version(&self) -> [u32; 5];

    /// Runs a statement that returns no rows, once for each of `rows` in one round trip; the rows
    /// changed, all in all. No placeholders: one empty row.
    fn execute(
        &mut self,
        sql: &str,
        types: &[BindType],
        rows: &[Vec<Cell<'_>>],
    ) -> Result<u64, Failure>;

    /// Runs a query, and hands its rows on as `fetch` says.
    fn query(
        &mut self,
        sql: &str,
        types: &[BindType],
        row: &[Cell<'_>],
        fetch: Fetch,
        into: &mut dyn Rows,
    ) -> Result<(), Cut>;

    /// Commits.
    fn commit(&mut self) -> Result<(), Failure>;

    /// Rolls back.
    fn rollback(&mut self) -> Result<(), Failure>;

    /// How long the server may stay silent in one call from now on.
    fn set_call_timeout(&mut self, limit: Duration) -> Result<(), Failure>;

    /// Names the session for administrators: its module is `ssync`, its client identifier this.
    fn name(&mut self, name: &str) -> Result<(), Failure>;

    /// Lets go of the session. `broken`: without a word to the server.
    fn close(self: Box<Self>, broken: bool);
}
