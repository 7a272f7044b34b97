//! The thin driver: Oracle's own, in Rust, without a client to install. For servers from 12c on.
//!
//! It is young: where it meets what it does not know, it may panic. A panic is caught and counts
//! as a lost connection. What it holds in a call is forgotten then, not dropped: its destructors
//! would take a poisoned lock and abort the process. (A query's first answer is the exception:
//! there the driver owns what it holds. So Oracle is spoken to in task and writer processes only,
//! whose death is provided for.)

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use oracledb::{
    BindParameters, Config, Connection, Cursor, Error as DriverError, ErrorKind, Lob,
    OracleIntervalDS, OracleNumber, OracleTimestamp, Row, ToDbValue,
};

use super::driver::{
    BindType, Cell, Cut, Driver, Failure, Fetch, Field, Lobs, Moment, Rows, State,
};
use super::lob::Content;
use crate::error::Result;

const OTHER_TYPE: &str = "the server sent another type than it announced";
/// How long a farewell to the server may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is needed to log in.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) descriptor: String,
    /// Directory with `ewallet.pem`.
    pub(super) wallet: Option<String>,
    pub(super) connect_timeout: Duration,
}

/// A session.
pub(super) struct Thin {
    /// Forgotten, not dropped, after a panic.
    conn: ManuallyDrop<Connection>,
    version: [u32; 5],
}

/// Logs in.
pub(super) fn open(login: &Login) -> Result<Thin, Failure> {
    let opened = catch_unwind(|| {
        let mut config = Config::default()
            .set_user(&login.user)
            .set_password(&login.password)
            .set_transport_connect_timeout(Some(login.connect_timeout))
            .set_stmtcachesize(40)
            .set_program("ssync")?
            .set_driver_name("ssync : thin");
        if let Some(wallet) = &login.wallet {
            config = config.set_wallet_location(wallet);
        }
        oracledb::connect(config.set_connect_string(&login.descriptor)?)
    });
    let conn = match opened {
        Ok(Ok(conn)) => conn,
        Ok(Err(e)) => return Err(failure(&e)),
        Err(_) => return Err(panicked()),
    };
    let v = conn.version().map_err(|e| failure(&e))?;
    let part = |n: usize| u32::try_from(n).unwrap_or(0);
    let version = [part(v.0), part(v.1), part(v.2), part(v.3), part(v.4)];
    Ok(Thin { conn: ManuallyDrop::new(conn), version })
}

impl Thin {
    fn called<T>(
        &self,
        call: impl FnOnce(&Connection) -> Result<T, DriverError>,
    ) -> Result<T, Failure> {
        match catch_unwind(AssertUnwindSafe(|| call(&self.conn))) {
            Ok(done) => done.map_err(|e| failure(&e)),
            Err(_) => Err(panicked()),
        }
    }
}

impl Driver for Thin {
    fn version(&self) -> [u32; 5] {
        self.version
    }

    fn execute(
        &mut self,
        sql: &str,
        types: &[BindType],
        rows: &[Vec<Cell<'_>>],
    ) -> Result<u64, Failure> {
        let wires = rows.iter().map(|row| wires(types, row)).collect::<Result<Vec<_>, _>>()?;
        let shown: Vec<Vec<&dyn ToDbValue>> =
            wires.iter().map(|row| row.iter().map(Wire::shown).collect()).collect();
        let params: Vec<&[&dyn ToDbValue]> = shown.iter().map(Vec::as_slice).collect();
        let statement = self.called(|conn| conn.statement(sql)?.build())?;
        let mut statement = ManuallyDrop::new(statement);
        let done = catch_unwind(AssertUnwindSafe(|| {
            statement.execute_batch(BindParameters::Slice(&params)).map(|r| r.rows_affected())
        }));
        let Ok(done) = done else { return Err(panicked()) };
        drop(ManuallyDrop::into_inner(statement));
        done.map_err(|e| failure(&e))
    }

    fn query(
        &mut self,
        sql: &str,
        types: &[BindType],
        row: &[Cell<'_>],
        fetch: Fetch,
        into: &mut dyn Rows,
    ) -> Result<(), Cut> {
        let wires = wires(types, row)?;
        let params: Vec<&dyn ToDbValue> = wires.iter().map(Wire::shown).collect();
        let cursor = self.called(|conn| {
            let statement =
                conn.statement(sql)?.fetch_array_size(fetch.rows).prefetch_rows(fetch.rows);
            let statement = match fetch.lobs {
                Lobs::Inline => statement,
                Lobs::Located => statement.fetch_lobs(),
            };
            statement.build()?.query(&params)
        })?;
        let names: Vec<String> = cursor.columns().iter().map(|c| c.name().to_owned()).collect();
        into.columns(&names).map_err(Cut::Receiver)?;
        let kinds: Vec<Kind> = cursor.columns().iter().map(|c| Kind::of(c.db_type())).collect();
        let mut cursor = ManuallyDrop::new(cursor);
        let mut decoding = Decoding { kinds, numbers: Vec::new(), lobs: Vec::new() };
        let ended = rows_of(&mut cursor, &mut decoding, into);
        // After a panic the cursor must not touch its connection again.
        if !matches!(&ended, Err(Cut::Source(f)) if f.state == State::Broken) {
            drop(ManuallyDrop::into_inner(cursor));
        }
        ended
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.called(Connection::commit)
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        self.called(Connection::rollback)
    }

    fn set_call_timeout(&mut self, limit: Duration) -> Result<(), Failure> {
        self.called(|conn| conn.set_call_timeout(Some(limit)))
    }

    fn name(&mut self, name: &str) -> Result<(), Failure> {
        self.called(|conn| {
            conn.set_module("ssync")?;
            conn.set_client_identifier(name)
        })
    }

    fn close(self: Box<Self>, broken: bool) {
        let conn = ManuallyDrop::into_inner(self.conn);
        if broken {
            // Whether it can still say farewell is unknown, and nobody waits for it.
            let _ = std::thread::Builder::new().name("oracle-close".into()).spawn(move || {
                let mut conn = ManuallyDrop::new(conn);
                let _ = catch_unwind(AssertUnwindSafe(|| conn.close()));
            });
            return;
        }
        let (send, done) = mpsc::channel();
        let farewell = std::thread::Builder::new().name("oracle-close".into()).spawn(move || {
            let mut conn = ManuallyDrop::new(conn);
            let _ = catch_unwind(AssertUnwindSafe(|| conn.close()));
            let _ = send.send(());
        });
        if farewell.is_ok() {
            let _ = done.recv_timeout(FAREWELL);
        }
    }
}

fn rows_of(cursor: &mut Cursor, decoding: &mut Decoding, into: &mut dyn Rows) -> Result<(), Cut> {
    loop {
        let next = catch_unwind(AssertUnwindSafe(|| cursor.next()));
        match next {
            Err(_) => return Err(Cut::Source(panicked())),
            Ok(None) => return Ok(()),
            Ok(Some(Err(e))) => return Err(Cut::Source(failure(&e))),
            Ok(Some(Ok(mut row))) => {
                decoding.fetch_lobs(&mut row)?;
                decoding.pass(&row, into).map_err(Cut::Receiver)?;
            }
        }
    }
}

/// What a column's values come as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Float,
    Double,
    Text,
    Bytes,
    /// A locator of characters.
    Clob,
    /// A locator of bytes.
    Blob,
    Moment,
    Interval,
    Bool,
    Unknown,
}

impl Kind {
    /// Of a column of this type. Where LOBs come with their rows, they are announced as LONG.
    fn of(t: &oracledb::DbType) -> Kind {
        let is = |types: &[&oracledb::DbType]| types.contains(&t);
        match () {
            () if is(&[oracledb::DB_TYPE_CLOB, oracledb::DB_TYPE_NCLOB]) => Kind::Clob,
            () if is(&[oracledb::DB_TYPE_BLOB]) => Kind::Blob,
            () if is(&[oracledb::DB_TYPE_NUMBER, oracledb::DB_TYPE_BINARY_INTEGER]) => Kind::Number,
            () if is(&[oracledb::DB_TYPE_BINARY_FLOAT]) => Kind::Float,
            () if is(&[oracledb::DB_TYPE_BINARY_DOUBLE]) => Kind::Double,
            () if is(&[
                oracledb::DB_TYPE_VARCHAR,
                oracledb::DB_TYPE_NVARCHAR,
                oracledb::DB_TYPE_CHAR,
                oracledb::DB_TYPE_NCHAR,
                oracledb::DB_TYPE_LONG,
                oracledb::DB_TYPE_LONG_NVARCHAR,
                oracledb::DB_TYPE_ROWID,
                oracledb::DB_TYPE_UROWID,
            ]) =>
            {
                Kind::Text
            }
            () if is(&[oracledb::DB_TYPE_RAW, oracledb::DB_TYPE_LONG_RAW]) => Kind::Bytes,
            () if is(&[
                oracledb::DB_TYPE_DATE,
                oracledb::DB_TYPE_TIMESTAMP,
                oracledb::DB_TYPE_TIMESTAMP_LTZ,
            ]) =>
            {
                Kind::Moment
            }
            () if is(&[oracledb::DB_TYPE_INTERVAL_DS]) => Kind::Interval,
            () if is(&[oracledb::DB_TYPE_BOOLEAN]) => Kind::Bool,
            // TIMESTAMP WITH TIME ZONE comes without its zone: never asked for as such.
            () => Kind::Unknown,
        }
    }
}

struct Decoding {
    kinds: Vec<Kind>,
    /// One row's numbers as text.
    numbers: Vec<String>,
    /// One row's LOBs, empty for other columns.
    lobs: Vec<Content>,
}

impl Decoding {
    /// Reads the values that the row only has locators of.
    fn fetch_lobs(&mut self, row: &mut Row) -> Result<(), Failure> {
        self.lobs.resize_with(self.kinds.len(), Content::default);
        for (i, kind) in self.kinds.iter().enumerate() {
            if !matches!(kind, Kind::Clob | Kind::Blob) {
                continue;
            }
            self.lobs[i].clear();
            // A locator's destructor talks to the connection: it runs in here, too.
            let read = catch_unwind(AssertUnwindSafe(|| match row.take::<Option<Lob>>(i) {
                Ok(Some(lob)) => self.lobs[i].read(lob, *kind == Kind::Clob),
                Ok(None) => Ok(()),
                Err(_) => {
                    self.lobs[i].unreadable = Some(OTHER_TYPE);
                    Ok(())
                }
            }));
            read.unwrap_or_else(|_| Err(panicked()))?;
        }
        Ok(())
    }

    fn pass(&mut self, row: &Row, into: &mut dyn Rows) -> Result<()> {
        self.numbers.clear();
        self.numbers.resize_with(self.kinds.len(), String::new);
        for (i, kind) in self.kinds.iter().enumerate() {
            if *kind == Kind::Number
                && let Ok(Some(number)) = row.get::<Option<OracleNumber>>(i)
            {
                use std::fmt::Write;
                // Writing to memory does not fail.
                let _ = write!(self.numbers[i], "{number}");
            }
        }
        let fields: Vec<Field<'_>> =
            self.kinds.iter().enumerate().map(|(i, kind)| self.field(row, i, *kind)).collect();
        into.row(&fields)
    }

    fn field<'r>(&'r self, row: &'r Row, i: usize, kind: Kind) -> Field<'r> {
        let or = |field: Result<Option<Field<'r>>, DriverError>| match field {
            Ok(Some(field)) => field,
            Ok(None) => Field::Null,
            Err(_) => Field::Unreadable(OTHER_TYPE),
        };
        match kind {
            Kind::Number => match row.get::<Option<OracleNumber>>(i) {
                Ok(Some(_)) => Field::Number(&self.numbers[i]),
                Ok(None) => Field::Null,
                Err(_) => Field::Unreadable(OTHER_TYPE),
            },
            Kind::Float => or(row.get::<Option<f32>>(i).map(|v| v.map(Field::Float))),
            Kind::Double => or(row.get::<Option<f64>>(i).map(|v| v.map(Field::Double))),
            // What is not a plain text inside (a row's address) has no form that can be lent.
            Kind::Text => or(row.get::<Option<&str>>(i).map(|v| v.map(Field::Text))),
            Kind::Bytes => or(row.get::<Option<&[u8]>>(i).map(|v| v.map(Field::Bytes))),
            Kind::Clob | Kind::Blob => self.lobs[i].field(kind == Kind::Clob),
            Kind::Moment => or(row
                .get::<Option<OracleTimestamp>>(i)
                .map(|v| v.map(|t| Field::Moment(moment(&t))))),
            Kind::Interval => or(row
                .get::<Option<OracleIntervalDS>>(i)
                .map(|v| v.map(|t| Field::Interval(nanos(&t))))),
            Kind::Bool => or(row.get::<Option<bool>>(i).map(|v| v.map(Field::Bool))),
            Kind::Unknown => Field::Unreadable("a type that the driver cannot read"),
        }
    }
}

fn moment(t: &OracleTimestamp) -> Moment {
    Moment {
        year: t.year(),
        month: t.month(),
        day: t.day(),
        hour: t.hour(),
        minute: t.minute(),
        second: t.second(),
        nanos: t.nanoseconds(),
    }
}

fn nanos(t: &OracleIntervalDS) -> i128 {
    let hours = i128::from(t.days()) * 24 + i128::from(t.hours());
    let seconds = (hours * 60 + i128::from(t.minutes())) * 60 + i128::from(t.seconds());
    seconds * 1_000_000_000 + i128::from(t.nanoseconds())
}

/// A value as the driver takes it; NULL with its type.
enum Wire<'a> {
    Number(Option<OracleNumber>),
    Float(Option<f32>),
    Double(Option<f64>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
    Moment(Option<OracleTimestamp>),
}

impl Wire<'_> {
    fn shown(&self) -> &dyn ToDbValue {
        match self {
            Wire::Number(v) => v,
            Wire::Float(v) => v,
            Wire::Double(v) => v,
            Wire::Text(v) => v,
            Wire::Bytes(v) => v,
            Wire::Moment(v) => v,
        }
    }
}

fn wires<'a>(types: &[BindType], row: &'a [Cell<'a>]) -> Result<Vec<Wire<'a>>, Failure> {
    if types.len() != row.len() {
        return Err(misused(format!("{} values for {} placeholders", row.len(), types.len())));
    }
    types.iter().zip(row).map(|(t, cell)| wire(*t, cell)).collect()
}

fn wire<'a>(t: BindType, cell: &'a Cell<'a>) -> Result<Wire<'a>, Failure> {
    Ok(match (t, cell) {
        (BindType::Number, Cell::Null) => Wire::Number(None),
        (BindType::Float, Cell::Null) => Wire::Float(None),
        (BindType::Double, Cell::Null) => Wire::Double(None),
        (BindType::Text, Cell::Null) => Wire::Text(None),
        (BindType::Bytes, Cell::Null) => Wire::Bytes(None),
        (BindType::Moment, Cell::Null) => Wire::Moment(None),
        (BindType::Number, Cell::Number(text)) => match text.parse() {
            Ok(number) => Wire::Number(Some(number)),
            Err(_) => return Err(misused("a number with more digits than NUMBER holds")),
        },
        (BindType::Float, Cell::Float(v)) => Wire::Float(Some(*v)),
        (BindType::Double, Cell::Double(v)) => Wire::Double(Some(*v)),
        (BindType::Text, Cell::Text(text)) => Wire::Text(Some(text)),
        (BindType::Bytes, Cell::Bytes(bytes)) => Wire::Bytes(Some(bytes)),
        (BindType::Moment, Cell::Moment(m)) => Wire::Moment(Some(OracleTimestamp::new_timestamp(
            m.year, m.month, m.day, m.hour, m.minute, m.second, m.nanos,
        ))),
        _ => return Err(misused("a value of another type than its placeholder")),
    })
}

fn misused(message: impl Into<String>) -> Failure {
    Failure { code: 0, message: message.into(), state: State::Misused }
}

fn panicked() -> Failure {
    Failure { code: 0, message: "the driver failed".to_owned(), state: State::Broken }
}

fn failure(e: &DriverError) -> Failure {
    let told = |code: u32, state| Failure { code, message: e.to_string(), state };
    match e.kind() {
        ErrorKind::DbError(d) => {
            let code = u32::try_from(d.code()).unwrap_or(0);
            Failure { code, message: d.message().to_owned(), state: State::Answered }
        }
        ErrorKind::CallTimeoutExceeded => told(0, State::TimedOut),
        ErrorKind::WrongNumPositionalBinds(..)
        | ErrorKind::MissingBindValue(..)
        | ErrorKind::InvalidBindName(..)
        | ErrorKind::DifferentTypes(..)
        | ErrorKind::InvalidOracleNumber(..) => told(0, State::Misused),
        ErrorKind::InvalidServiceName(..) => told(12514, State::Broken),
        ErrorKind::InvalidSid(..) => told(12505, State::Broken),
        ErrorKind::ListenerRefusedConnection(_, _, _, code) => {
            told(u32::try_from(*code).unwrap_or(0), State::Broken)
        }
        // Whatever else happens leaves the driver in a state that is its secret.
        _ => told(0, State::Broken),
    }
}
