//! The suite's SQL as Oracle spells it: types, rows of an INSERT, placeholders. Everything else is
//! the same.

use std::ops::Range;

use arrow_array::RecordBatch;
use ssync_common::batch::{BatchBuilder, Emit};
use ssync_common::connector::{Connection, Dialect, Gap, LoadPlan, Loaded, LockWait, Need};
use ssync_common::error::Result;
use ssync_common::schema::{Column, Table};
use ssync_common::value::Value;

/// A connection that takes the suite's SQL.
pub struct Spelt(pub Box<dyn Connection>);

impl Connection for Spelt {
    fn dialect(&self) -> &'static dyn Dialect {
        self.0.dialect()
    }

    fn server(&self) -> String {
        self.0.server()
    }

    fn server_identity(&mut self) -> Result<String> {
        self.0.server_identity()
    }

    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        self.0.execute(&oracle(sql), params)
    }

    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>> {
        self.0.query(&oracle(sql), params)
    }

    fn begin(&mut self) -> Result<()> {
        self.0.begin()
    }

    fn commit(&mut self) -> Result<()> {
        self.0.commit()
    }

    fn rollback(&mut self) -> Result<()> {
        self.0.rollback()
    }

    fn set_lock_wait(&mut self, wait: LockWait) -> Result<()> {
        self.0.set_lock_wait(wait)
    }

    fn may_be_reused(&self) -> bool {
        self.0.may_be_reused()
    }

    fn refresh(&mut self) -> Result<()> {
        self.0.refresh()
    }

    fn describe(&mut self, table: &str) -> Result<Option<Table>> {
        self.0.describe(table)
    }

    fn begin_snapshot(&mut self) -> Result<bool> {
        self.0.begin_snapshot()
    }

    fn hold_changes(&mut self, tables: &[String]) -> Result<()> {
        self.0.hold_changes(tables)
    }

    fn let_changes(&mut self) -> Result<()> {
        self.0.let_changes()
    }

    fn ready_to_swap(&mut self, new: &str, table: &Table) -> Result<Vec<String>> {
        self.0.ready_to_swap(new, table)
    }

    fn read(
        &mut self,
        sql: &str,
        params: &[Value],
        columns: &[Column],
        builder: &mut BatchBuilder,
        emit: &mut Emit<'_>,
    ) -> Result<u64> {
        self.0.read(&oracle(sql), params, columns, builder, emit)
    }

    fn load(&mut self, plan: &LoadPlan, batch: &RecordBatch, rows: Range<usize>) -> Result<Loaded> {
        self.0.load(plan, batch, rows)
    }

    fn durability_gap(&mut self) -> Result<Option<String>> {
        self.0.durability_gap()
    }

    fn atomicity_gap(&mut self) -> Result<Option<String>> {
        self.0.atomicity_gap()
    }

    fn access_gaps(&mut self, table: &str, dest: bool, status: bool) -> Result<Vec<String>> {
        self.0.access_gaps(table, dest, status)
    }

    fn drawbacks(&mut self) -> Result<Vec<String>> {
        self.0.drawbacks()
    }

    fn missing(&mut self, needs: &[Need]) -> Result<Vec<Gap>> {
        self.0.missing(needs)
    }

    fn would_take(&mut self, sql: &str) -> Result<Option<Result<()>>> {
        self.0.would_take(&oracle(sql))
    }
}

/// The statement in Oracle's words.
pub fn oracle(sql: &str) -> String {
    let mut spelt = String::new();
    let mut places = 0;
    for piece in pieces(sql) {
        match piece {
            Piece::Quoted(text) | Piece::Other(text) => match text {
                "?" => {
                    places += 1;
                    spelt.push_str(&format!(":{places}"));
                }
                other => spelt.push_str(other),
            },
            Piece::Word(word) => spelt.push_str(match word {
                "BIGINT" => "NUMBER(18)",
                "INT" | "INTEGER" => "NUMBER(9)",
                "TINYINT" => "NUMBER(3)",
                "DOUBLE" => "BINARY_DOUBLE",
                "LONGTEXT" => "CLOB",
                "LONGBLOB" => "BLOB",
                "VARBINARY" => "RAW",
                "VARCHAR" => "VARCHAR2",
                other => other,
            }),
        }
    }
    rows_of_insert(&spelt)
}

enum Piece<'a> {
    Quoted(&'a str),
    Word(&'a str),
    Other(&'a str),
}

fn pieces(sql: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |at| at + 2),
            c if word(c) => rest.find(|c: char| !word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (piece, after) = rest.split_at(end);
        all.push(match first {
            '\'' | '"' => Piece::Quoted(piece),
            c if word(c) => Piece::Word(piece),
            _ => Piece::Other(piece),
        });
        rest = after;
    }
    all
}

/// Several rows in one INSERT, as a query: only the newest servers take a list of rows.
fn rows_of_insert(sql: &str) -> String {
    let Some((head, list)) = sql.split_once(" VALUES ") else { return sql.to_owned() };
    if !sql.starts_with("INSERT ") || !list.contains("), (") {
        return sql.to_owned();
    }
    let rows: Vec<String> = list
        .trim_start_matches('(')
        .trim_end_matches(')')
        .split("), (")
        .map(|row| format!("SELECT {row} FROM DUAL"))
        .collect();
    format!("{head} {}", rows.join(" UNION ALL "))
}

#[test]
fn the_suites_sql_is_spelt_for_oracle() {
    for (sql, spelt) in [
        (
            "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(9))",
            "CREATE TABLE t (id NUMBER(18) NOT NULL PRIMARY KEY, v VARCHAR2(9))",
        ),
        (
            "INSERT INTO t VALUES (1, 'a?'), (2, NULL)",
            "INSERT INTO t SELECT 1, 'a?' FROM DUAL UNION ALL SELECT 2, NULL FROM DUAL",
        ),
        ("INSERT INTO t VALUES (?, ?)", "INSERT INTO t VALUES (:1, :2)"),
        ("UPDATE \"INT\" SET v = 1", "UPDATE \"INT\" SET v = 1"),
    ] {
        assert_eq!(oracle(sql), spelt);
    }
}
