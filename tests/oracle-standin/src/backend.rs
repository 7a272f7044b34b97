//! A small PostgreSQL client of our own: everything travels as text, many executions in one round
//! trip, and of a result's columns it tells the table, the position and the type's modifier, which
//! is what Oracle's descriptions are made of. The libraries hide one or the other.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Executions per round trip: their answers must fit into the socket's buffer, or both sides wait.
const PIPELINE_MAX: usize = 256;

/// A row as PostgreSQL prints it.
pub(crate) type Row = Vec<Option<Vec<u8>>>;

/// An error of the server's, by PostgreSQL's field letters.
#[derive(Debug, Clone, Default)]
pub(crate) struct PgError {
    fields: HashMap<u8, String>,
}

impl PgError {
    fn field(&self, letter: u8) -> &str {
        self.fields.get(&letter).map_or("", String::as_str)
    }
    pub(crate) fn state(&self) -> &str {
        self.field(b'C')
    }
    pub(crate) fn message(&self) -> &str {
        self.field(b'M')
    }
    pub(crate) fn detail(&self) -> &str {
        self.field(b'D')
    }
    pub(crate) fn schema(&self) -> &str {
        self.field(b's')
    }
    pub(crate) fn table(&self) -> &str {
        self.field(b't')
    }
    pub(crate) fn column(&self) -> &str {
        self.field(b'c')
    }
    pub(crate) fn constraint(&self) -> &str {
        self.field(b'n')
    }
    /// Characters before the spot, when the server named one.
    pub(crate) fn position(&self) -> Option<usize> {
        self.field(b'P').parse::<usize>().ok().map(|p| p.saturating_sub(1))
    }
}

/// Why a statement did not work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server says no.
    Sql(Box<PgError>),
    /// The server is gone.
    Gone,
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Failure::Gone
    }
}

/// A column of a result.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) table: u32,
    pub(crate) position: i16,
    pub(crate) kind: u32,
    pub(crate) modifier: i32,
}

/// How a running statement is cancelled from elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct CancelKey {
    socket: PathBuf,
    process: u32,
    secret: u32,
}

impl CancelKey {
    /// Asks the server to end what it is doing, and waits until the request was taken.
    pub(crate) fn cancel(&self) {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return };
        let mut bytes = Vec::new();
        for word in [16u32, 80_877_102, self.process, self.secret] {
            bytes.extend(word.to_be_bytes());
        }
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0u8; 1]);
    }
}

/// A connection to PostgreSQL.
pub(crate) struct Backend {
    input: BufReader<UnixStream>,
    output: UnixStream,
    pending: Vec<u8>,
    cancel: CancelKey,
    status: u8,
}

impl Backend {
    /// Connects without a password, over the socket in `directory`.
    pub(crate) fn connect(directory: &Path, user: &str, database: &str) -> Result<Self, Failure> {
        let socket = directory.join(".s.PGSQL.5432");
        let output = UnixStream::connect(&socket)?;
        let input = BufReader::with_capacity(64 * 1024, output.try_clone()?);
        let cancel = CancelKey { socket, process: 0, secret: 0 };
        let mut this = Backend { input, output, pending: Vec::new(), cancel, status: b'I' };
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, "client_encoding", "UTF8"] {
            body.extend(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        this.output.write_all(&(body.len() as u32 + 4).to_be_bytes())?;
        this.output.write_all(&body)?;
        this.until_ready(|_, _| ())?;
        Ok(this)
    }

    pub(crate) fn cancel_key(&self) -> CancelKey {
        self.cancel.clone()
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        self.status != b'I'
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        self.pending.push(kind);
        self.pending.extend((body.len() as u32 + 4).to_be_bytes());
        self.pending.extend(body);
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.pending);
        self.output.write_all(&bytes)
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0u8; 5];
        self.input.read_exact(&mut header)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let mut body = vec![0u8; length.saturating_sub(4)];
        self.input.read_exact(&mut body)?;
        Ok((header[0], body))
    }

    /// Reads until the server waits again, showing what it says; its first error is the result.
    fn until_ready(&mut self, mut see: impl FnMut(u8, &[u8])) -> Result<(), Failure> {
        let mut error = None;
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'E' => {
                    let found = parse_error(&body);
                    // Administrator's orders and crashes end the connection.
                    if found.field(b'S') == "FATAL" || found.field(b'S') == "PANIC" {
                        return Err(Failure::Gone);
                    }
                    error.get_or_insert(found);
                }
                b'K' => {
                    let mut words = Words(&body);
                    self.cancel.process = words.u32();
                    self.cancel.secret = words.u32();
                }
                b'Z' => {
                    self.status = body.first().copied().unwrap_or(b'I');
                    return error.map_or(Ok(()), |e| Err(Failure::Sql(Box::new(e))));
                }
                _ => see(kind, &body),
            }
        }
    }

    /// Runs a script; the rows of all its statements.
    pub(crate) fn script(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.message(b'Q', &body);
        self.flush()?;
        let mut rows = Vec::new();
        self.until_ready(|kind, body| {
            if kind == b'D' {
                rows.push(parse_row(body));
            }
        })?;
        Ok(rows)
    }

    /// Prepares a statement under a name; its parameters' types and its columns.
    pub(crate) fn prepare(
        &mut self,
        name: &str,
        sql: &str,
        parameters: &[u32],
    ) -> Result<(Vec<u32>, Vec<Column>), Failure> {
        let mut close = vec![b'S'];
        close.extend(name.as_bytes());
        close.push(0);
        self.message(b'C', &close);
        let mut body = name.as_bytes().to_vec();
        body.push(0);
        body.extend(sql.as_bytes());
        body.push(0);
        body.extend((parameters.len() as u16).to_be_bytes());
        parameters.iter().for_each(|p| body.extend(p.to_be_bytes()));
        self.message(b'P', &body);
        self.message(b'D', &close);
        self.message(b'S', &[]);
        self.flush()?;
        let (mut kinds, mut columns) = (Vec::new(), Vec::new());
        self.until_ready(|kind, body| match kind {
            b't' => {
                let mut words = Words(body);
                kinds = (0..words.u16()).map(|_| words.u32()).collect();
            }
            b'T' => columns = parse_columns(body),
            _ => {}
        })?;
        Ok((kinds, columns))
    }

    /// Forgets a prepared statement.
    pub(crate) fn close(&mut self, name: &str) -> Result<(), Failure> {
        let mut close = vec![b'S'];
        close.extend(name.as_bytes());
        close.push(0);
        self.message(b'C', &close);
        self.message(b'S', &[]);
        self.flush()?;
        self.until_ready(|_, _| ())
    }

    fn bind(&mut self, name: &str, row: &[Option<Vec<u8>>]) {
        let mut body = vec![0];
        body.extend(name.as_bytes());
        body.extend([0, 0, 0]);
        body.extend((row.len() as u16).to_be_bytes());
        for value in row {
            match value {
                Some(bytes) => {
                    body.extend((bytes.len() as u32).to_be_bytes());
                    body.extend(bytes);
                }
                None => body.extend(u32::MAX.to_be_bytes()),
            }
        }
        body.extend([0, 0]);
        self.message(b'B', &body);
        self.message(b'E', &[0, 0, 0, 0, 0]);
    }

    /// Runs a prepared statement once; its rows, and how many rows it affected.
    pub(crate) fn run(
        &mut self,
        name: &str,
        row: &[Option<Vec<u8>>],
    ) -> Result<(Vec<Row>, u64), Failure> {
        self.bind(name, row);
        self.message(b'S', &[]);
        self.flush()?;
        let (mut rows, mut affected) = (Vec::new(), 0);
        self.until_ready(|kind, body| match kind {
            b'D' => rows.push(parse_row(body)),
            b'C' => affected = parse_tag(body),
            _ => {}
        })?;
        Ok((rows, affected))
    }

    /// Runs a prepared statement for every row; the affected rows of each one before the first
    /// that failed, and that one's error.
    pub(crate) fn run_many(
        &mut self,
        name: &str,
        rows: &[Row],
    ) -> Result<(Vec<u64>, Option<PgError>), Failure> {
        let mut counts = Vec::with_capacity(rows.len());
        for part in rows.chunks(PIPELINE_MAX) {
            part.iter().for_each(|row| self.bind(name, row));
            self.message(b'S', &[]);
            self.flush()?;
            let ended = self.until_ready(|kind, body| {
                if kind == b'C' {
                    counts.push(parse_tag(body));
                }
            });
            match ended {
                Ok(()) => {}
                Err(Failure::Sql(error)) => return Ok((counts, Some(*error))),
                Err(Failure::Gone) => return Err(Failure::Gone),
            }
        }
        Ok((counts, None))
    }
}

struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0u8; N];
        if let Some((head, rest)) = self.0.split_at_checked(N) {
            bytes.copy_from_slice(head);
            self.0 = rest;
        }
        bytes
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
    fn text(&mut self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        text
    }
}

fn parse_error(body: &[u8]) -> PgError {
    let mut fields = HashMap::new();
    let mut words = Words(body);
    while let Some(letter) = words.0.first().copied().filter(|l| *l != 0) {
        words.0 = &words.0[1..];
        fields.insert(letter, words.text());
    }
    PgError { fields }
}

fn parse_columns(body: &[u8]) -> Vec<Column> {
    let mut words = Words(body);
    let count = words.u16();
    (0..count)
        .map(|_| {
            let name = words.text();
            let table = words.u32();
            let position = words.u16() as i16;
            let kind = words.u32();
            words.u16();
            let modifier = words.u32() as i32;
            words.u16();
            Column { name, table, position, kind, modifier }
        })
        .collect()
}

fn parse_row(body: &[u8]) -> Row {
    let mut words = Words(body);
    let count = words.u16();
    (0..count)
        .map(|_| {
            let length = words.u32();
            if length == u32::MAX {
                return None;
            }
            let (value, rest) = words.0.split_at(length as usize);
            words.0 = rest;
            Some(value.to_vec())
        })
        .collect()
}

/// The count at the end of `INSERT 0 5` and the like.
fn parse_tag(body: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(body);
    text.trim_end_matches('\0').rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
