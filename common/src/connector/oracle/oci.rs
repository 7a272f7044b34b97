//! The driver that goes by way of Oracle's own client library: for 11.2, native network
//! encryption, and sites that have it. The library is looked for when a connection is opened.
//!
//! Where Oracle itself takes a path of its own is unproven here: no server can be had that this
//! library speaks to. What it is asked and how its answers are read is the same as with the other
//! driver.

use std::time::Duration;

use oracle::sql_type::{OracleType, Timestamp, ToSql};
use oracle::{Connection, Connector, Row, SqlValue};

use super::driver::{BindType, Cell, Cut, Driver, Failure, Fetch, Field, Moment, Rows, State};
use super::errors;
use crate::error::{Error, Kind, Result};

/// A session.
pub(super) struct Oci {
    conn: Connection,
    version: [u32; 5],
}

/// Logs in.
///
/// # Errors
/// Why not: see [`refused`].
pub(super) fn open(user: &str, password: &str, descriptor: &str) -> Result<Oci, Failure> {
    let conn = Connector::new(user, password, descriptor)
        .driver_name("ssync : oci")
        .stmt_cache_size(40)
        .connect()
        .map_err(|e| failure(&e))?;
    let (v, _) = conn.server_version().map_err(|e| failure(&e))?;
    let part = |n: i32| u32::try_from(n).unwrap_or(0);
    let version = [
        part(v.major()),
        part(v.minor()),
        part(v.update()),
        part(v.patch()),
        part(v.port_update()),
    ];
    Ok(Oci { conn, version })
}

/// Why there is no session; [`Kind::System`] where Oracle's client library is missing, which it tells
/// in words alone. `tls`: whether the session was to be one by TLS.
pub(super) fn refused(failure: &Failure, tls: bool) -> Error {
    match failure.message.contains("DPI-1047") {
        true => missing_library(&failure.message),
        false => errors::from_open(failure, tls),
    }
}

fn missing_library(message: &str) -> Error {
    Error::new(Kind::System, "Oracle's client library (libclntsh.so) cannot be loaded")
        .detail(message.lines().next().unwrap_or_default().to_owned())
        .hint(
            "Install Oracle's Instant Client, and make it known to the loader (ldconfig, or \
             LD_LIBRARY_PATH); or leave driver = \"oci\" out: the thin driver needs no client.",
        )
}

impl Driver for Oci {
    fn version(&self) -> [u32; 5] {
        self.version
    }

    fn execute(
        &mut self,
        sql: &str,
        types: &[BindType],
        rows: &[Vec<Cell<'_>>],
    ) -> Result<u64, Failure> {
        if let [row] = rows {
            checked(types, row)?;
            let bound = bound(types, rows, row);
            let params: Vec<&dyn ToSql> = bound.iter().map(|b| b as &dyn ToSql).collect();
            let mut statement = self.conn.statement(sql).build().map_err(|e| failure(&e))?;
            // A statement that takes other placeholders is refused by the driver itself.
            if statement.bind_count() != params.len() {
                return Err(misused(statement.bind_count(), params.len()));
            }
            statement.execute(&params).map_err(|e| failure(&e))?;
            return statement.row_count().map_err(|e| failure(&e));
        }
        let mut batch = self
            .conn
            .batch(sql, rows.len().max(1))
            .with_row_counts()
            .build()
            .map_err(|e| failure(&e))?;
        if batch.bind_count() != types.len() {
            return Err(misused(batch.bind_count(), types.len()));
        }
        for (i, (t, width)) in types.iter().zip(widths(types.len(), rows)).enumerate() {
            batch.set_type(i + 1, &oracle_type(*t, width)).map_err(|e| failure(&e))?;
        }
        for row in rows {
            checked(types, row)?;
            let bound = bound(types, rows, row);
            let params: Vec<&dyn ToSql> = bound.iter().map(|b| b as &dyn ToSql).collect();
            batch.append_row(&params).map_err(|e| failure(&e))?;
        }
        batch.execute().map_err(|e| failure(&e))?;
        Ok(batch.row_counts().map_err(|e| failure(&e))?.iter().sum())
    }

    fn query(
        &mut self,
        sql: &str,
        types: &[BindType],
        row: &[Cell<'_>],
        fetch: Fetch,
        into: &mut dyn Rows,
    ) -> Result<(), Cut> {
        checked(types, row)?;
        let rows = [row.to_vec()];
        let bound = bound(types, &rows, row);
        let params: Vec<&dyn ToSql> = bound.iter().map(|b| b as &dyn ToSql).collect();
        let mut statement = self
            .conn
            .statement(sql)
            .fetch_array_size(fetch.rows)
            .prefetch_rows(fetch.rows)
            .build()
            .map_err(|e| failure(&e))?;
        if statement.bind_count() != params.len() {
            return Err(misused(statement.bind_count(), params.len()).into());
        }
        let mut result = statement.query(&params).map_err(|e| failure(&e))?;
        let names: Vec<String> = result.column_info().iter().map(|c| c.name().to_owned()).collect();
        let types: Vec<OracleType> =
            result.column_info().iter().map(|c| c.oracle_type().clone()).collect();
        into.columns(&names).map_err(Cut::Receiver)?;
        for row in &mut result {
            let row = row.map_err(|e| failure(&e))?;
            let values = values(&row, &types);
            let fields: Vec<Field<'_>> = values.iter().map(Fetched::field).collect();
            into.row(&fields).map_err(Cut::Receiver)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.conn.commit().map_err(|e| failure(&e))
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        self.conn.rollback().map_err(|e| failure(&e))
    }

    fn set_call_timeout(&mut self, limit: Duration) -> Result<(), Failure> {
        match self.conn.set_call_timeout(Some(limit)) {
            Ok(()) => Ok(()),
            // Clients before 18 know no such limit.
            Err(e) if e.dpi_code() == Some(1050) => Ok(()),
            Err(e) => Err(failure(&e)),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), Failure> {
        self.conn
            .set_module("ssync")
            .and_then(|()| self.conn.set_client_identifier(name))
            .map_err(|e| failure(&e))
    }

    fn close(self: Box<Self>, _broken: bool) {
        // The library says farewell, or gives up within the call's time limit.
        drop(self);
    }
}

/// A value with the type of its placeholder.
struct Bound<'a> {
    t: BindType,
    width: u32,
    cell: &'a Cell<'a>,
}

impl ToSql for Bound<'_> {
    fn oratype(&self, _conn: &Connection) -> oracle::Result<OracleType> {
        Ok(oracle_type(self.t, self.width))
    }

    fn to_sql(&self, value: &mut SqlValue) -> oracle::Result<()> {
        match self.cell {
            Cell::Null => value.set_null(),
            Cell::Number(text) | Cell::Text(text) => value.set(&text.as_ref()),
            Cell::Float(v) => value.set(v),
            Cell::Double(v) => value.set(v),
            Cell::Bytes(bytes) => value.set(&bytes.as_ref()),
            Cell::Moment(m) => {
                let (month, day) = (u32::from(m.month), u32::from(m.day));
                let (hour, minute) = (u32::from(m.hour), u32::from(m.minute));
                let second = u32::from(m.second);
                let year = i32::from(m.year);
                value.set(&Timestamp::new(year, month, day, hour, minute, second, m.nanos)?)
            }
        }
    }
}

fn bound<'a>(types: &[BindType], rows: &[Vec<Cell<'_>>], row: &'a [Cell<'a>]) -> Vec<Bound<'a>> {
    let widths = widths(types.len(), rows);
    types
        .iter()
        .zip(widths)
        .zip(row)
        .map(|((t, width), cell)| Bound { t: *t, width, cell })
        .collect()
}

/// The longest value of each column, in bytes.
fn widths(columns: usize, rows: &[Vec<Cell<'_>>]) -> Vec<u32> {
    let width = |cell: &Cell<'_>| match cell {
        Cell::Text(text) => text.len(),
        Cell::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    (0..columns)
        .map(|i| {
            let longest = rows.iter().filter_map(|row| row.get(i)).map(width).max().unwrap_or(0);
            u32::try_from(longest.max(1)).unwrap_or(u32::MAX)
        })
        .collect()
}

/// Longer values go as LONG, which only INSERT and UPDATE take.
const VARCHAR_BYTES_MAX: u32 = 32_767;

fn oracle_type(t: BindType, width: u32) -> OracleType {
    match t {
        // As text: no digit is lost.
        BindType::Number => OracleType::Number(0, 0),
        BindType::Float => OracleType::BinaryFloat,
        BindType::Double => OracleType::BinaryDouble,
        BindType::Text if width > VARCHAR_BYTES_MAX => OracleType::Long,
        BindType::Text => OracleType::Varchar2(width),
        BindType::Bytes if width > VARCHAR_BYTES_MAX => OracleType::LongRaw,
        BindType::Bytes => OracleType::Raw(width),
        BindType::Moment => OracleType::Timestamp(9),
    }
}

fn checked(types: &[BindType], row: &[Cell<'_>]) -> Result<(), Failure> {
    let agrees = |t: BindType, cell: &Cell<'_>| {
        matches!(
            (t, cell),
            (_, Cell::Null)
                | (BindType::Number, Cell::Number(_))
                | (BindType::Float, Cell::Float(_))
                | (BindType::Double, Cell::Double(_))
                | (BindType::Text, Cell::Text(_))
                | (BindType::Bytes, Cell::Bytes(_))
                | (BindType::Moment, Cell::Moment(_))
        )
    };
    match types.len() == row.len() && types.iter().zip(row).all(|(t, cell)| agrees(*t, cell)) {
        true => Ok(()),
        false => Err(misused(types.len(), row.len())),
    }
}

fn misused(places: usize, values: usize) -> Failure {
    let message = format!("{values} values, of these types, for {places} placeholders");
    Failure { code: 0, message, state: State::Misused }
}

/// A fetched value that owns what it holds.
enum Fetched {
    Null,
    Number(String),
    Float(f32),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Moment(Moment),
    Interval(i128),
    Unreadable(&'static str),
}

impl Fetched {
    fn field(&self) -> Field<'_> {
        match self {
            Fetched::Null => Field::Null,
            Fetched::Number(text) => Field::Number(text),
            Fetched::Float(v) => Field::Float(*v),
            Fetched::Double(v) => Field::Double(*v),
            Fetched::Text(text) => Field::Text(text),
            Fetched::Bytes(bytes) => Field::Bytes(bytes),
            Fetched::Moment(m) => Field::Moment(*m),
            Fetched::Interval(nanos) => Field::Interval(*nanos),
            Fetched::Unreadable(why) => Field::Unreadable(why),
        }
    }
}

fn values(row: &Row, types: &[OracleType]) -> Vec<Fetched> {
    row.sql_values()
        .iter()
        .zip(types)
        .map(|(value, t)| match value.is_null() {
            Ok(true) => Fetched::Null,
            Ok(false) => fetched(value, t)
                .unwrap_or(Fetched::Unreadable("the server sent another type than it announced")),
            Err(_) => Fetched::Unreadable("the driver could not read it"),
        })
        .collect()
}

fn fetched(value: &SqlValue, t: &OracleType) -> oracle::Result<Fetched> {
    Ok(match t {
        OracleType::Number(..) | OracleType::Float(_) | OracleType::Int64 | OracleType::UInt64 => {
            let text: String = value.get()?;
            match super::number::Digits::parse(&text) {
                Some(digits) => Fetched::Number(digits.plain()),
                None => Fetched::Unreadable("not a number"),
            }
        }
        OracleType::BinaryFloat => Fetched::Float(value.get()?),
        OracleType::BinaryDouble => Fetched::Double(value.get()?),
        OracleType::Varchar2(_)
        | OracleType::NVarchar2(_)
        | OracleType::Char(_)
        | OracleType::NChar(_)
        | OracleType::CLOB
        | OracleType::NCLOB
        | OracleType::Long
        | OracleType::Rowid => Fetched::Text(value.get()?),
        OracleType::Raw(_) | OracleType::BLOB | OracleType::LongRaw => Fetched::Bytes(value.get()?),
        OracleType::Date | OracleType::Timestamp(_) | OracleType::TimestampLTZ(_) => {
            let t: Timestamp = value.get()?;
            // What fits no byte is no part of a date either.
            let byte = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
            Fetched::Moment(Moment {
                year: i16::try_from(t.year()).unwrap_or(i16::MIN),
                month: byte(t.month()),
                day: byte(t.day()),
                hour: byte(t.hour()),
                minute: byte(t.minute()),
                second: byte(t.second()),
                nanos: t.nanosecond(),
            })
        }
        OracleType::IntervalDS(..) => {
            let t: oracle::sql_type::IntervalDS = value.get()?;
            let hours = i128::from(t.days()) * 24 + i128::from(t.hours());
            let seconds = (hours * 60 + i128::from(t.minutes())) * 60 + i128::from(t.seconds());
            Fetched::Interval(seconds * 1_000_000_000 + i128::from(t.nanoseconds()))
        }
        _ => Fetched::Unreadable("a type that the driver cannot read"),
    })
}

fn failure(e: &oracle::Error) -> Failure {
    let message = e.db_error().map_or_else(|| e.to_string(), |d| d.message().to_owned());
    // A time limit that passed: the library has cancelled the call.
    if e.dpi_code() == Some(1067) || e.oci_code() == Some(3156) {
        return Failure { code: 0, message, state: State::TimedOut };
    }
    match (e.oci_code(), e.dpi_code()) {
        (Some(code), _) => {
            Failure { code: u32::try_from(code).unwrap_or(0), message, state: State::Answered }
        }
        // The connection was closed, by the server or because of a time limit.
        (None, Some(1010 | 1080)) => Failure { code: 0, message, state: State::Broken },
        // Everything else the library said before it sent anything.
        (None, _) => Failure { code: 0, message, state: State::Misused },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_library_no_service_and_no_host_are_told_apart() {
        // In the words of ODPI-C and of the library, which is not here to say them.
        let said = |code: u32, message: &str| {
            refused(&Failure { code, message: message.to_owned(), state: State::Answered }, true)
        };
        let e = said(
            0,
            "DPI-1047: Cannot locate a 64-bit Oracle Client library: \"libclntsh.so: cannot open\"",
        );
        assert_eq!(e.kind, Kind::System, "{e:?}");
        assert!(e.hint.is_some_and(|h| h.contains("Instant Client")));
        for (code, message, words) in [
            (
                12514,
                "ORA-12514: TNS:listener does not currently know of service requested in connect \
                 descriptor",
                "know the service",
            ),
            (12541, "ORA-12541: TNS:no listener", "no listener"),
            (
                12545,
                "ORA-12545: Connect failed because target host or object does not exist",
                "target host",
            ),
            (12170, "ORA-12170: TNS:Connect timeout occurred", "timeout"),
            (1017, "ORA-01017: invalid username/password; logon denied", "user name and password"),
            (29024, "ORA-29024: Certificate validation failure", "certificate"),
            // What the library refuses before it sends anything.
            (0, "DPI-1080: connection was closed by ORA-3113", "closed"),
        ] {
            let e = said(code, message);
            let kind = if code == 1017 { Kind::Login } else { Kind::Connect };
            assert_eq!(e.kind, kind, "{e:?}");
            assert!(e.message.contains(words), "{e:?}");
        }
    }

    #[test]
    fn arrays_are_bound_as_wide_as_their_longest_value() {
        let text = |t: &str| Cell::Text(t.to_owned().into());
        let rows = [vec![text("abc"), Cell::Null], vec![text("é"), Cell::Number("12".into())]];
        assert_eq!(widths(2, &rows), [3, 1]);
        assert!(matches!(oracle_type(BindType::Text, 3), OracleType::Varchar2(3)));
        assert!(matches!(oracle_type(BindType::Text, 40_000), OracleType::Long));
        assert!(matches!(oracle_type(BindType::Bytes, 40_000), OracleType::LongRaw));
        assert!(matches!(oracle_type(BindType::Number, 1), OracleType::Number(0, 0)));
    }

    #[test]
    fn values_of_another_type_than_their_placeholder_are_refused() {
        let row = [Cell::Number("1".into()), Cell::Null];
        assert!(checked(&[BindType::Number, BindType::Text], &row).is_ok());
        assert!(checked(&[BindType::Text, BindType::Text], &row).is_err());
        assert!(checked(&[BindType::Number], &row).is_err());
    }
}
