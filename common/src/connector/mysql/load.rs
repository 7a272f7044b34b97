//! Landing a batch inside the caller's transaction, by the fastest road the server has.
//!
//! 1. MariaDB: bulk execution, one command per chunk; by hand ([`super::bulk`]) where the driver has
//!    proved that the server takes it, and the socket carries packets as they are.
//! 2. MySQL that lets clients send files: `LOAD DATA LOCAL` from memory (see
//!    [`super::load_infile`]), under a savepoint, repeated by 3 at the slightest irregularity.
//! 3. Else prepared multi-row `INSERT`.
//!
//! On every road the server's counts and warnings are inspected after every single command, and
//! any warning fails the load.

use std::ops::Range;
use std::os::fd::AsRawFd;

use arrow_array::RecordBatch;
use mysql::prelude::Queryable;
use mysql::{Conn, Params, Value as Wire};

use super::super::{Dialect, LoadPlan, Loaded, WriteMode};
use super::bulk::{Answer, Command, answer};
use super::cell::{Feed, feeds};
use super::connect::Server;
use super::dialect::MySqlDialect;
use super::wire::{Packets, Socket};
use super::{errors, load_infile};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Kind;

/// Rows in one bulk command at the most: beyond, the server gains nothing, and the values of a
/// command no longer stay in the processor's cache.
const BULK_ROWS: usize = 500;
/// Unknown command; not supported for prepared statements.
const BULK_REFUSED: [u16; 2] = [1047, 1295];
/// Rows by which the driver proves that it sends bulk commands.
const PROOF_ROWS: usize = 2;
/// Rows in one bulk command by hand.
pub const BY_HAND_ROWS: usize = 1000;
/// Rows in one INSERT at the most; a power of two, see [`Load::insert`].
const INSERT_ROWS: usize = 512;
/// Bytes in one command, unless a single row needs more.
const COMMAND_BYTES: usize = 4 << 20;
/// Room for a command's header.
const HEADER_BYTES: usize = 64;
/// Placeholders that a statement may have.
const PLACEHOLDERS_MAX: usize = 65_535;
/// Fewer rows are not worth a LOAD DATA.
const INFILE_ROWS_MIN: usize = 50;
/// Loads that take the exact road after LOAD DATA met an irregular row: splitting the batch will
/// go on looking for it.
const INFILE_PAUSE: u32 = 32;

/// What a connection has learnt about the server's roads.
#[derive(Debug, Default)]
pub(super) struct Roads {
    /// Whether the driver sends bulk commands; unknown at first, since a proxy that does not
    /// know them may stand between.
    bulk: Option<bool>,
    /// LOAD DATA LOCAL was refused.
    infile_refused: bool,
    /// Loads that shall not use LOAD DATA yet.
    infile_pause: u32,
    /// Bulk commands made by hand.
    command: Command,
}

/// What a load works with.
pub(super) struct Load<'a> {
    pub(super) conn: &'a mut Conn,
    pub(super) server: &'a Server,
    pub(super) roads: &'a mut Roads,
    pub(super) plan: &'a LoadPlan,
}

impl Load<'_> {
    /// Loads the rows; the contract is [`super::super::Connection::load`]'s.
    pub(super) fn run(&mut self, batch: &RecordBatch, rows: Range<usize>) -> Result<Loaded> {
        if rows.is_empty() {
            return Ok(Loaded::default());
        }
        let feeds = feeds(self.plan, batch, self.server)?;
        let knows_bulk = self.server.mariadb && self.server.version >= (10, 2, 7);
        if knows_bulk && self.roads.bulk != Some(false) {
            if let Some(loaded) = self.bulk(&feeds, rows.clone())? {
                return Ok(loaded);
            }
        } else if self.infile_suits(&feeds, rows.len())
            && let Some(loaded) = self.infile(&feeds, rows.clone())?
        {
            return Ok(loaded);
        }
        self.insert(&feeds, rows)
    }

    /// Bulk execution. `None`: the driver sent a command for every row after all, whose warnings
    /// nobody saw; nothing is changed, and another road must be taken.
    fn bulk(&mut self, feeds: &[Feed<'_>], mut rows: Range<usize>) -> Result<Option<Loaded>> {
        let mut loaded = Loaded::default();
        if self.roads.bulk.is_none() && rows.len() > 1 {
            // The driver keeps to itself which way it takes: the server's counter tells.
            let first = Chunks::new(feeds, rows.clone(), self.server, PROOF_ROWS).next()?;
            let first = first.unwrap_or_default();
            let count = first.len();
            let before = self.savepoint_and_executions()?;
            let Some(affected) = self.bulk_chunk(first)? else {
                self.roads.bulk = Some(false);
                self.text("ROLLBACK TO SAVEPOINT ssync_load")?;
                return Ok(None);
            };
            // The counter begins again where somebody flushes it; that proves nothing.
            let more = self.executions()?.checked_sub(before);
            let is_bulk = more.is_some_and(|more| more < count as u64);
            rows.start += count;
            if count > 1 {
                self.roads.bulk = Some(is_bulk);
                if !is_bulk {
                    self.text("ROLLBACK TO SAVEPOINT ssync_load")?;
                    return Ok(None);
                }
            }
            self.account(affected, count, &mut loaded)?;
        }
        if self.roads.bulk == Some(true) && self.server.plain_socket {
            self.bulk_by_hand(feeds, rows, &mut loaded)?;
        } else {
            let mut chunks = Chunks::new(feeds, rows, self.server, BULK_ROWS);
            while let Some(chunk) = chunks.next()? {
                let count = chunk.len();
                let Some(affected) = self.bulk_chunk(chunk)? else {
                    if loaded != Loaded::default() {
                        // Another road would write the rows before once more.
                        let why = "the server refused a bulk command after it had taken others";
                        return Err(Error::new(ErrorKind::Database, why));
                    }
                    self.roads.bulk = Some(false);
                    return Ok(None);
                };
                self.account(affected, count, &mut loaded)?;
            }
        }
        Ok(Some(loaded))
    }

    /// One bulk command, by the driver; the rows it changed. `None`: the server takes no such
    /// commands. (Within TLS the driver believes to have agreed on them, and MariaDB does not.)
    fn bulk_chunk(&mut self, chunk: Vec<Vec<Wire>>) -> Result<Option<u64>> {
        // As parameters they are already, not to be converted one by one.
        let params = chunk.into_iter().map(Params::Positional);
        match self.conn.exec_batch(self.statement(1), params) {
            Ok(()) => self.affected_without_warning().map(Some),
            Err(mysql::Error::MySqlError(e)) if BULK_REFUSED.contains(&e.code) => Ok(None),
            Err(e) => Err(errors::from_driver(&e)),
        }
    }

    /// Bulk commands by hand. While the server works on one, the next is made.
    fn bulk_by_hand(
        &mut self,
        feeds: &[Feed<'_>],
        mut rows: Range<usize>,
        loaded: &mut Loaded,
    ) -> Result<()> {
        let statement = self.conn.prep(self.statement(1)).map_err(|e| errors::from_driver(&e))?;
        let limits = CommandLimits::new(self.server, feeds.len(), BY_HAND_ROWS);
        let socket = Socket(self.conn.as_raw_fd());
        let mut command = std::mem::take(&mut self.roads.command);
        let (mut packets, mut under_way) = (Packets::default(), 0);
        loop {
            let made = command.fill(statement.id(), feeds, rows.clone(), &limits);
            if under_way > 0 {
                match answer(socket, &mut packets)? {
                    Answer::Failed(e) => return Err(errors::from_server(&e)),
                    Answer::Done { warnings: 0, affected } => {
                        self.account(affected, under_way, loaded)?;
                    }
                    Answer::Done { warnings, .. } => return Err(self.warning(warnings)),
                }
            }
            under_way = made?;
            if under_way == 0 {
                break;
            }
            socket.send(command.bytes())?;
            rows.start += under_way;
        }
        self.roads.command = command;
        Ok(())
    }

    fn savepoint_and_executions(&mut self) -> Result<u64> {
        self.text("SAVEPOINT ssync_load")?;
        self.executions()
    }

    /// Prepared statements executed in this session so far.
    fn executions(&mut self) -> Result<u64> {
        let row: Option<(String, u64)> = self
            .conn
            .query_first("SHOW SESSION STATUS LIKE 'Com_stmt_execute'")
            .map_err(|e| errors::from_driver(&e))?;
        Ok(row.map_or(0, |(_, n)| n))
    }

    /// Multi-row INSERT. The row counts are powers of two, so that a handful of statements,
    /// prepared once, serves chunks of every size.
    fn insert(&mut self, feeds: &[Feed<'_>], rows: Range<usize>) -> Result<Loaded> {
        let rows_max = (PLACEHOLDERS_MAX / feeds.len()).clamp(1, INSERT_ROWS);
        let mut loaded = Loaded::default();
        let mut chunks = Chunks::new(feeds, rows, self.server, rows_max);
        while let Some(chunk) = chunks.next()? {
            let mut left = chunk.len();
            let mut cells = chunk.into_iter();
            while left > 0 {
                let count = 1 << left.ilog2();
                let params: Vec<Wire> = cells.by_ref().take(count).flatten().collect();
                let sql = self.statement(count);
                self.conn.exec_drop(sql, params).map_err(|e| errors::from_driver(&e))?;
                let affected = self.affected_without_warning()?;
                self.account(affected, count, &mut loaded)?;
                left -= count;
            }
        }
        Ok(loaded)
    }

    fn infile_suits(&mut self, feeds: &[Feed<'_>], rows: usize) -> bool {
        if self.roads.infile_pause > 0 {
            self.roads.infile_pause -= 1;
            return false;
        }
        self.server.local_infile
            && !self.roads.infile_refused
            && rows >= INFILE_ROWS_MIN
            && matches!(self.plan.mode, WriteMode::Insert | WriteMode::Replace)
            && feeds.iter().all(load_infile::suits)
    }

    /// LOAD DATA LOCAL. `None`: it met something that it would store otherwise than given, or
    /// the server does not allow it; nothing is changed, and another road must be taken.
    fn infile(&mut self, feeds: &[Feed<'_>], rows: Range<usize>) -> Result<Option<Loaded>> {
        let count = rows.len();
        let Some(content) = load_infile::content(feeds, rows, self.server)? else {
            return Ok(None);
        };
        self.text("SAVEPOINT ssync_load")?;
        let replace = self.plan.mode == WriteMode::Replace;
        let sql = load_infile::statement(&self.plan.table, feeds, replace);
        self.conn.set_local_infile_handler(Some(load_infile::handler(content)));
        let done = self.conn.query_drop(sql);
        self.conn.set_local_infile_handler(None);
        match done {
            Ok(()) => {
                let told = load_infile::Told::from_info(&self.conn.info_str());
                // Deleted rows are what REPLACE is for.
                if told.is_some_and(|t| {
                    t.records == count as u64
                        && t.skipped == 0
                        && t.warnings == 0
                        && (replace || t.deleted == 0)
                }) && self.conn.warnings() == 0
                {
                    return Ok(Some(Loaded { rows: count as u64, skipped: 0 }));
                }
            }
            Err(mysql::Error::MySqlError(e)) if matches!(e.code, 1148 | 3948) => {
                self.roads.infile_refused = true;
            }
            Err(e) => {
                let error = errors::from_driver(&e);
                if !error.kind.is_row_fault() {
                    return Err(error);
                }
            }
        }
        self.roads.infile_pause = INFILE_PAUSE;
        self.text("ROLLBACK TO SAVEPOINT ssync_load")?;
        Ok(None)
    }

    /// The statement that writes `rows` rows.
    fn statement(&self, rows: usize) -> String {
        let dialect = MySqlDialect;
        let plan = self.plan;
        let names: Vec<String> = plan.columns.iter().map(|c| dialect.quote(&c.name)).collect();
        let row = format!("({})", vec!["?"; names.len()].join(","));
        let verb = if plan.mode == WriteMode::Replace { "REPLACE" } else { "INSERT" };
        let mut sql = format!(
            "{verb} INTO {} ({}) VALUES {}",
            dialect.table(&plan.table),
            names.join(","),
            vec![row; rows].join(",")
        );
        match plan.mode {
            WriteMode::Insert | WriteMode::Replace => {}
            WriteMode::Upsert => {
                let alias = self.server.row_alias();
                if alias {
                    sql.push_str(" AS ssync_new");
                }
                sql.push_str(" ON DUPLICATE KEY UPDATE ");
                let is_key = |name: &str| plan.key.iter().any(|k| k.eq_ignore_ascii_case(name));
                let sets: Vec<String> = plan
                    .columns
                    .iter()
                    .zip(&names)
                    // A text key may be equal and yet not the same ('a' = 'A').
                    .filter(|(c, _)| !is_key(&c.name) || c.kind == Kind::Text)
                    .map(|(_, name)| match alias {
                        true => format!("{name}=ssync_new.{name}"),
                        false => format!("{name}=VALUES({name})"),
                    })
                    .collect();
                sql.push_str(&if sets.is_empty() { self.keep(&names) } else { sets.join(",") });
            }
            WriteMode::Ignore => {
                sql.push_str(" ON DUPLICATE KEY UPDATE ");
                sql.push_str(&self.keep(&names));
            }
        }
        sql
    }

    /// An assignment that changes nothing.
    fn keep(&self, names: &[String]) -> String {
        let name = match self.plan.key.first() {
            Some(key) => MySqlDialect.quote(key),
            None => names.concat(),
        };
        format!("{name}={name}")
    }

    /// The rows that the last command changed, unless the server warned of something.
    fn affected_without_warning(&mut self) -> Result<u64> {
        match self.conn.warnings() {
            0 => Ok(self.conn.affected_rows()),
            warnings => Err(self.warning(warnings)),
        }
    }

    /// Counts a command that sent `count` rows, if the server's number fits the mode.
    fn account(&self, affected: u64, count: usize, loaded: &mut Loaded) -> Result<()> {
        let count = count as u64;
        let even = match self.plan.mode {
            WriteMode::Insert => affected == count,
            WriteMode::Ignore => affected <= count,
            // An updated row counts twice, an unchanged one not at all.
            WriteMode::Upsert => affected <= 2 * count,
            WriteMode::Replace => affected >= count,
        };
        if !even {
            return Err(Error::new(
                ErrorKind::Database,
                format!("the server reports {affected} rows where {count} were sent"),
            ));
        }
        if self.plan.mode == WriteMode::Ignore {
            loaded.rows += affected;
            loaded.skipped += count - affected;
        } else {
            loaded.rows += count;
        }
        Ok(())
    }

    fn warning(&mut self, count: u16) -> Error {
        let shown: mysql::Result<Vec<(String, u16, String)>> = self.conn.query("SHOW WARNINGS");
        match shown.as_deref() {
            Ok([(_, code, message), ..]) => errors::from_warning(*code, message),
            Ok([]) => Error::new(ErrorKind::Data, format!("the server gave {count} warnings")),
            Err(e) => errors::from_driver(e),
        }
    }

    fn text(&mut self, sql: &str) -> Result<()> {
        self.conn.query_drop(sql).map_err(|e| errors::from_driver(&e))
    }
}

/// How large a command may be.
pub(super) struct CommandLimits {
    /// Rows.
    pub(super) rows_max: usize,
    /// Bytes of values, unless a single row needs more.
    pub(super) bytes_soft: usize,
    /// Bytes of values that the server takes.
    bytes_hard: usize,
}

impl CommandLimits {
    pub(super) fn new(server: &Server, columns: usize, rows_max: usize) -> Self {
        // Two bytes of type for every column go with each command.
        let header = HEADER_BYTES + 3 * columns;
        let bytes_hard = server.packet_bytes_max.saturating_sub(header);
        CommandLimits { rows_max, bytes_soft: COMMAND_BYTES.min(bytes_hard / 2), bytes_hard }
    }

    /// Whether a row of so many bytes can be sent at all.
    pub(super) fn check_row(&self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes_hard {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Data, "the row is larger than a packet that the server takes")
            .detail(format!("{bytes} bytes; max_allowed_packet leaves {}", self.bytes_hard))
            .hint("Raise max_allowed_packet at the destination."))
    }
}

/// Rows cut into commands: by number, and so that each stays below the server's packet limit.
struct Chunks<'a, 'f> {
    feeds: &'f [Feed<'a>],
    rows: Range<usize>,
    limits: CommandLimits,
    /// A row that did not fit the last chunk any more, with its size.
    carried: Option<(Vec<Wire>, usize)>,
}

impl<'a, 'f> Chunks<'a, 'f> {
    fn new(feeds: &'f [Feed<'a>], rows: Range<usize>, server: &Server, rows_max: usize) -> Self {
        let limits = CommandLimits::new(server, feeds.len(), rows_max);
        Chunks { feeds, rows, limits, carried: None }
    }

    fn next(&mut self) -> Result<Option<Vec<Vec<Wire>>>> {
        let mut chunk = Vec::with_capacity(self.limits.rows_max.min(self.rows.len() + 1));
        let mut bytes = 0;
        while chunk.len() < self.limits.rows_max {
            let (row, size) = match self.carried.take() {
                Some(row) => row,
                None => match self.rows.next() {
                    Some(row) => self.row(row)?,
                    None => break,
                },
            };
            if !chunk.is_empty() && bytes + size > self.limits.bytes_soft {
                self.carried = Some((row, size));
                break;
            }
            bytes += size;
            chunk.push(row);
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    fn row(&self, row: usize) -> Result<(Vec<Wire>, usize)> {
        let mut wires = Vec::with_capacity(self.feeds.len());
        let mut bytes = 0;
        for feed in self.feeds {
            let wire = feed.cell(row)?.into_wire();
            // An indicator or type beside the value; in a row of many columns it counts.
            bytes += wire.bin_len() as usize + 3;
            wires.push(wire);
        }
        self.limits.check_row(bytes)?;
        Ok((wires, bytes))
    }
}
