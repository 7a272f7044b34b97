//! Landing a batch inside the caller's transaction, by array binds: one statement, one round trip
//! for many rows.
//!
//! - *insert*: `INSERT`.
//! - *upsert*: `MERGE`; *ignore*: `MERGE` without the branch for rows that are there.
//! - *replace*: `DELETE` by key, then `INSERT`. A chunk ends where a key comes again.
//!
//! Two things no array can say, so that such rows go by statements of their own: an empty LOB
//! stands as `EMPTY_CLOB()` in the statement; and what is longer than a VARCHAR2 may be can only be
//! inserted or updated directly, so that a MERGE becomes an `UPDATE` and, where that found no row,
//! an `INSERT`.
//!
//! A failed statement leaves the rows before the bad one in place: the caller rolls back.

use std::collections::HashSet;
use std::ops::Range;

use arrow_array::RecordBatch;

use super::super::{Dialect, LoadPlan, Loaded, WriteMode};
use super::dialect::OracleDialect;
use super::driver::{BindType, Cell, Cut, Driver, Field, Rows};
use super::errors;
use super::feed::{Fed, Feed, feeds};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Column;

/// Rows in one array at the most.
const ARRAY_ROWS: usize = 1000;
/// Bytes in one array, unless a single row needs more.
const ARRAY_BYTES: usize = 4 << 20;
/// Longest text and bytes that can stand in any expression, on servers of every setting.
const TEXT_BYTES: usize = 4000;
const RAW_BYTES: usize = 2000;

/// What a load works with.
pub(super) struct Load<'a> {
    pub(super) driver: &'a mut dyn Driver,
    pub(super) dialect: &'static OracleDialect,
    pub(super) plan: &'a LoadPlan,
    /// Whether the database's character set has every character.
    pub(super) unicode: bool,
}

/// Rows that one statement serves.
struct Chunk<'a> {
    rows: Vec<Vec<Cell<'a>>>,
    /// Columns whose LOB is empty in all rows.
    empty: Vec<bool>,
    /// A value that cannot stand in every expression.
    large: bool,
}

impl Load<'_> {
    /// Loads the rows; the contract is [`super::super::Connection::load`]'s.
    pub(super) fn run(&mut self, batch: &RecordBatch, rows: Range<usize>) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        if rows.is_empty() {
            return Ok(loaded);
        }
        let plan = self.plan;
        if plan.key.is_empty() && plan.mode != WriteMode::Insert {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("no key to write {} by", plan.table),
            ));
        }
        let feeds = feeds(plan, batch, self.unicode)?;
        let mut chunks = Chunks { feeds: &feeds, plan, rows, carried: None };
        while let Some(chunk) = chunks.next()? {
            let count = chunk.rows.len() as u64;
            let done = self.chunk(&feeds, &chunk)?;
            loaded.rows += done.rows;
            loaded.skipped += done.skipped;
            if done.rows + done.skipped != count {
                return Err(uneven(done.rows, count));
            }
        }
        Ok(loaded)
    }

    fn chunk(&mut self, feeds: &[Feed<'_>], chunk: &Chunk<'_>) -> Result<Loaded> {
        let count = chunk.rows.len() as u64;
        let all = Loaded { rows: count, skipped: 0 };
        let statements = Statements { dialect: self.dialect, plan: self.plan, empty: &chunk.empty };
        match self.plan.mode {
            WriteMode::Insert => {
                let inserted = self.array(feeds, chunk, &statements.insert())?;
                even(inserted, count).map(|()| all)
            }
            WriteMode::Replace => {
                self.by_key(feeds, &chunk.rows, &statements.delete())?;
                let inserted = self.array(feeds, chunk, &statements.insert())?;
                even(inserted, count).map(|()| all)
            }
            WriteMode::Upsert if !chunk.large => {
                let (sql, changes) = statements.merge(true);
                let merged = self.array(feeds, chunk, &sql)?;
                // Rows of keys alone are not touched where they are there.
                if changes {
                    even(merged, count)?
                } else {
                    at_most(merged, count)?
                }
                Ok(all)
            }
            WriteMode::Ignore if !chunk.large => {
                let (sql, _) = statements.merge(false);
                let inserted = self.array(feeds, chunk, &sql)?;
                at_most(inserted, count)?;
                Ok(Loaded { rows: inserted, skipped: count - inserted })
            }
            WriteMode::Upsert | WriteMode::Ignore => self.one_by_one(feeds, chunk, &statements),
        }
    }

    /// Upsert or ignore without MERGE.
    fn one_by_one(
        &mut self,
        feeds: &[Feed<'_>],
        chunk: &Chunk<'_>,
        statements: &Statements<'_>,
    ) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        for row in &chunk.rows {
            let one = std::slice::from_ref(row);
            let found = match (self.plan.mode, statements.update()) {
                (WriteMode::Upsert, Some((sql, order))) => {
                    let (types, row) = picked(feeds, row, &order);
                    let changed = self.execute(&sql, &types, &[row])?;
                    at_most(changed, 1)?;
                    changed == 1
                }
                _ => self.has_key(feeds, row, &statements.find())?,
            };
            match (found, self.plan.mode) {
                (true, WriteMode::Ignore) => loaded.skipped += 1,
                (true, _) => loaded.rows += 1,
                (false, _) => {
                    let chunk =
                        Chunk { rows: one.to_vec(), empty: chunk.empty.clone(), large: true };
                    even(self.array(feeds, &chunk, &statements.insert())?, 1)?;
                    loaded.rows += 1;
                }
            }
        }
        Ok(loaded)
    }

    /// A statement with all columns but the empty LOBs, in the plan's order.
    fn array(&mut self, feeds: &[Feed<'_>], chunk: &Chunk<'_>, sql: &str) -> Result<u64> {
        let bound: Vec<usize> = (0..feeds.len()).filter(|i| !chunk.empty[*i]).collect();
        let types: Vec<BindType> = bound.iter().map(|i| feeds[*i].bind_type()).collect();
        if bound.len() == feeds.len() {
            return self.execute(sql, &types, &chunk.rows);
        }
        let rows: Vec<Vec<Cell<'_>>> =
            chunk.rows.iter().map(|row| bound.iter().map(|i| row[*i].clone()).collect()).collect();
        self.execute(sql, &types, &rows)
    }

    /// A statement with the key columns alone.
    fn by_key(&mut self, feeds: &[Feed<'_>], rows: &[Vec<Cell<'_>>], sql: &str) -> Result<u64> {
        let key = key_places(self.plan);
        let types: Vec<BindType> = key.iter().map(|i| feeds[*i].bind_type()).collect();
        let rows: Vec<Vec<Cell<'_>>> =
            rows.iter().map(|row| key.iter().map(|i| row[*i].clone()).collect()).collect();
        self.execute(sql, &types, &rows)
    }

    fn has_key(&mut self, feeds: &[Feed<'_>], row: &[Cell<'_>], sql: &str) -> Result<bool> {
        let (types, row) = picked(feeds, row, &key_places(self.plan));
        let mut found = Found(0);
        match self.driver.query(sql, &types, &row, super::SMALL, &mut found) {
            Ok(()) => Ok(found.0 > 0),
            Err(Cut::Source(failure)) => Err(errors::from_call(&failure)),
            Err(Cut::Receiver(e)) => Err(e),
        }
    }

    fn execute(&mut self, sql: &str, types: &[BindType], rows: &[Vec<Cell<'_>>]) -> Result<u64> {
        self.driver.execute(sql, types, rows).map_err(|f| errors::from_dml(&f))
    }
}

/// Counts rows.
struct Found(u64);

impl Rows for Found {
    fn columns(&mut self, _names: &[String]) -> Result<()> {
        Ok(())
    }

    fn row(&mut self, _fields: &[Field<'_>]) -> Result<()> {
        self.0 += 1;
        Ok(())
    }
}

fn picked<'a>(
    feeds: &[Feed<'_>],
    row: &[Cell<'a>],
    places: &[usize],
) -> (Vec<BindType>, Vec<Cell<'a>>) {
    places.iter().map(|i| (feeds[*i].bind_type(), row[*i].clone())).unzip()
}

fn even(changed: u64, sent: u64) -> Result<()> {
    if changed == sent { Ok(()) } else { Err(uneven(changed, sent)) }
}

fn at_most(changed: u64, sent: u64) -> Result<()> {
    if changed <= sent { Ok(()) } else { Err(uneven(changed, sent)) }
}

fn uneven(changed: u64, sent: u64) -> Error {
    Error::new(
        ErrorKind::Database,
        format!("the server reports {changed} rows where {sent} were sent"),
    )
}

fn is_key(plan: &LoadPlan, name: &str) -> bool {
    plan.key.iter().any(|k| k.eq_ignore_ascii_case(name))
}

/// Where the key's columns stand among the plan's, in the plan's order.
fn key_places(plan: &LoadPlan) -> Vec<usize> {
    (0..plan.columns.len()).filter(|i| is_key(plan, &plan.columns[*i].name)).collect()
}

/// The statements of a load.
struct Statements<'a> {
    dialect: &'static OracleDialect,
    plan: &'a LoadPlan,
    /// Columns that stand as an empty LOB instead of a placeholder.
    empty: &'a [bool],
}

impl Statements<'_> {
    fn table(&self) -> String {
        self.dialect.table(&self.plan.table)
    }

    fn names(&self) -> Vec<String> {
        self.plan.columns.iter().map(|c| self.dialect.quote(&c.name)).collect()
    }

    /// A value for each column, placeholders numbered without those that are empty. `of` spells
    /// one.
    fn values(&self, of: impl Fn(usize, &Column) -> String) -> Vec<String> {
        let mut n = 0;
        self.plan
            .columns
            .iter()
            .zip(self.empty)
            .map(|(column, empty)| match (empty, column.family.as_str()) {
                (true, "blob") => "EMPTY_BLOB()".to_owned(),
                (true, _) => "EMPTY_CLOB()".to_owned(),
                (false, _) => {
                    n += 1;
                    of(n, column)
                }
            })
            .collect()
    }

    fn insert(&self) -> String {
        format!(
            "INSERT INTO {} ({}) VALUES ({})",
            self.table(),
            self.names().join(", "),
            self.values(|n, c| self.dialect.value(n, c)).join(", ")
        )
    }

    /// A MERGE that inserts what is not there; whether it changes what is. `update`: it may.
    fn merge(&self, update: bool) -> (String, bool) {
        let names = self.names();
        // A key is compared, so its type matters; everything else is only stored.
        let spell = |n: usize, c: &Column| match is_key(self.plan, &c.name) {
            true => self.dialect.param(n, Some(c)),
            false => self.dialect.value(n, c),
        };
        let values = self.values(spell);
        let given: Vec<String> = values
            .iter()
            .zip(&names)
            .zip(self.empty)
            .filter(|(_, empty)| !**empty)
            .map(|((value, name), _)| format!("{value} {name}"))
            .collect();
        // An empty LOB is no column of the given row: it stands where it is assigned.
        let source = |i: usize| match self.empty[i] {
            true => values[i].clone(),
            false => format!("s.{}", names[i]),
        };
        let of = |key: bool| -> Vec<usize> {
            (0..names.len())
                .filter(|i| is_key(self.plan, &self.plan.columns[*i].name) == key)
                .collect()
        };
        let on: Vec<String> =
            of(true).iter().map(|i| format!("d.{0} = s.{0}", names[*i])).collect();
        let sets: Vec<String> =
            of(false).iter().map(|i| format!("d.{} = {}", names[*i], source(*i))).collect();
        let changes = update && !sets.is_empty();
        let matched = match changes {
            true => format!(" WHEN MATCHED THEN UPDATE SET {}", sets.join(", ")),
            false => String::new(),
        };
        let all: Vec<String> = (0..names.len()).map(source).collect();
        let sql = format!(
            "MERGE INTO {} d USING (SELECT {} FROM DUAL) s ON ({}){matched} \
             WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
            self.table(),
            given.join(", "),
            on.join(" AND "),
            names.join(", "),
            all.join(", ")
        );
        (sql, changes)
    }

    /// `"K" = :1 AND …` for the key columns, numbered from `first`.
    fn key_is(&self, first: usize) -> String {
        let terms: Vec<String> = key_places(self.plan)
            .iter()
            .enumerate()
            .map(|(n, i)| {
                let column = &self.plan.columns[*i];
                let param = self.dialect.param(first + n, Some(column));
                format!("{} = {param}", self.dialect.quote(&column.name))
            })
            .collect();
        terms.join(" AND ")
    }

    fn delete(&self) -> String {
        format!("DELETE FROM {} WHERE {}", self.table(), self.key_is(1))
    }

    fn find(&self) -> String {
        format!("SELECT 1 FROM {} WHERE {}", self.table(), self.key_is(1))
    }

    /// An UPDATE of one row, with the columns that its placeholders take; `None` where there is
    /// nothing but a key.
    fn update(&self) -> Option<(String, Vec<usize>)> {
        let mut order = Vec::new();
        let mut sets = Vec::new();
        for (i, column) in self.plan.columns.iter().enumerate() {
            if is_key(self.plan, &column.name) {
                continue;
            }
            let value = match (self.empty[i], column.family.as_str()) {
                (true, "blob") => "EMPTY_BLOB()".to_owned(),
                (true, _) => "EMPTY_CLOB()".to_owned(),
                (false, _) => {
                    order.push(i);
                    self.dialect.value(order.len(), column)
                }
            };
            sets.push(format!("{} = {value}", self.dialect.quote(&column.name)));
        }
        if sets.is_empty() {
            return None;
        }
        let key = self.key_is(order.len() + 1);
        order.extend(key_places(self.plan));
        Some((format!("UPDATE {} SET {} WHERE {key}", self.table(), sets.join(", ")), order))
    }
}

/// Rows cut into chunks that one statement serves.
struct Chunks<'a, 'f> {
    feeds: &'f [Feed<'a>],
    plan: &'f LoadPlan,
    rows: Range<usize>,
    /// A row that did not fit the last chunk any more.
    carried: Option<Prepared<'a>>,
}

struct Prepared<'a> {
    row: Vec<Cell<'a>>,
    empty: Vec<bool>,
    large: bool,
    bytes: usize,
}

impl<'a> Chunks<'a, '_> {
    fn next(&mut self) -> Result<Option<Chunk<'a>>> {
        let mut chunk: Option<Chunk<'a>> = None;
        let mut bytes = 0;
        let mut keys = HashSet::new();
        loop {
            let prepared = match self.carried.take() {
                Some(prepared) => prepared,
                None => match self.rows.next() {
                    Some(row) => self.prepared(row)?,
                    None => return Ok(chunk),
                },
            };
            let is_new_key =
                self.plan.mode != WriteMode::Replace || keys.insert(self.key_of(&prepared.row));
            let Some(begun) = &mut chunk else {
                bytes = prepared.bytes;
                let Prepared { row, empty, large, .. } = prepared;
                chunk = Some(Chunk { rows: vec![row], empty, large });
                continue;
            };
            if !is_new_key
                || begun.empty != prepared.empty
                || begun.large != prepared.large
                || begun.rows.len() >= ARRAY_ROWS
                || bytes + prepared.bytes > ARRAY_BYTES
            {
                self.carried = Some(prepared);
                return Ok(chunk);
            }
            bytes += prepared.bytes;
            begun.rows.push(prepared.row);
        }
    }

    fn prepared(&self, row: usize) -> Result<Prepared<'a>> {
        let mut prepared = Prepared {
            row: Vec::with_capacity(self.feeds.len()),
            empty: vec![false; self.feeds.len()],
            large: false,
            bytes: 0,
        };
        for (i, feed) in self.feeds.iter().enumerate() {
            let cell = match feed.fed(row)? {
                Fed::Cell(cell) => cell,
                Fed::Empty => {
                    prepared.empty[i] = true;
                    Cell::Null
                }
            };
            prepared.bytes += cell.size();
            prepared.large |= match &cell {
                Cell::Text(text) => text.len() > TEXT_BYTES,
                Cell::Bytes(bytes) => bytes.len() > RAW_BYTES,
                _ => false,
            };
            prepared.row.push(cell);
        }
        Ok(prepared)
    }

    /// The key of a row in a form that is the same for equal keys.
    fn key_of(&self, row: &[Cell<'_>]) -> String {
        let parts = key_places(self.plan).into_iter().map(|i| match &row[i] {
            Cell::Number(text) => {
                super::number::Digits::parse(text).map_or_else(|| text.to_string(), |d| d.plain())
            }
            other => format!("{other:?}"),
        });
        parts.collect::<Vec<_>>().join("\u{1}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::ORACLE;
    use super::*;
    use crate::schema::Kind;

    fn plan(mode: WriteMode) -> LoadPlan {
        let column = |name: &str, family: &str, kind, declared: &str| Column {
            family: family.to_owned(),
            ..Column::new(name, kind, declared)
        };
        let columns = vec![
            column("K", "char", Kind::Text, "CHAR(3 CHAR)"),
            column("A", "number", Kind::Int, "NUMBER(9)"),
            column("C", "clob", Kind::Text, "CLOB"),
            column("I", "interval_ds", Kind::Time, "INTERVAL DAY(2) TO SECOND(6)"),
        ];
        LoadPlan {
            table: "app.t".into(),
            kinds: columns.iter().map(|c| c.kind).collect(),
            columns,
            mode,
            key: vec!["K".into()],
        }
    }

    #[test]
    fn statements_are_spelt_for_arrays() {
        let plan = plan(WriteMode::Upsert);
        let s = Statements { dialect: &ORACLE, plan: &plan, empty: &[false; 4] };
        assert_eq!(
            s.insert(),
            "INSERT INTO \"APP\".\"T\" (\"K\", \"A\", \"C\", \"I\") \
             VALUES (:1, :2, :3, TO_DSINTERVAL(:4))"
        );
        assert_eq!(
            s.merge(true),
            (
                "MERGE INTO \"APP\".\"T\" d USING (SELECT CAST(NVL(:1, ' ') AS CHAR(3 CHAR)) \"K\", :2 \"A\", \
                 :3 \"C\", TO_DSINTERVAL(:4) \"I\" FROM DUAL) s ON (d.\"K\" = s.\"K\") \
                 WHEN MATCHED THEN UPDATE SET d.\"A\" = s.\"A\", d.\"C\" = s.\"C\", \
                 d.\"I\" = s.\"I\" WHEN NOT MATCHED THEN INSERT (\"K\", \"A\", \"C\", \"I\") \
                 VALUES (s.\"K\", s.\"A\", s.\"C\", s.\"I\")"
                    .to_owned(),
                true
            )
        );
        assert!(!s.merge(false).0.contains("WHEN MATCHED"));
        assert_eq!(
            s.delete(),
            "DELETE FROM \"APP\".\"T\" WHERE \"K\" = CAST(NVL(:1, ' ') AS CHAR(3 CHAR))"
        );
        assert_eq!(
            s.update().unwrap(),
            (
                "UPDATE \"APP\".\"T\" SET \"A\" = :1, \"C\" = :2, \"I\" = TO_DSINTERVAL(:3) \
                 WHERE \"K\" = CAST(NVL(:4, ' ') AS CHAR(3 CHAR))"
                    .to_owned(),
                vec![1, 2, 3, 0]
            )
        );
    }

    #[test]
    fn an_empty_lob_stands_in_the_statement() {
        let plan = plan(WriteMode::Upsert);
        let s = Statements { dialect: &ORACLE, plan: &plan, empty: &[false, false, true, false] };
        assert!(s.insert().ends_with("VALUES (:1, :2, EMPTY_CLOB(), TO_DSINTERVAL(:3))"));
        let (merge, _) = s.merge(true);
        assert!(merge.contains(":2 \"A\", TO_DSINTERVAL(:3) \"I\" FROM DUAL"), "{merge}");
        assert!(merge.contains("d.\"C\" = EMPTY_CLOB()"), "{merge}");
    }
}
