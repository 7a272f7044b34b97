//! The last look at two tables before one takes the other's place, and holding up changes.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::super::{Dialect, swapping};
use super::connect::{self, Server};
use super::describe::{self, Known};
use super::dialect::MySqlDialect;
use super::errors;
use crate::connector::LockWait;
use crate::error::Result;
use crate::schema::Table;

/// Longest part of a table's own statement that is shown.
const SHOWN_CHARS: usize = 120;

/// See [`super::super::Connection::ready_to_swap`].
pub(super) fn ready(
    conn: &mut Conn,
    server: &Server,
    new: &str,
    table: &Table,
) -> Result<Vec<String>> {
    // Foreign keys that are remembered may be seconds old.
    let known = &mut Known::default();
    let current = describe::describe(conn, server, known, &table.name)?
        .ok_or_else(|| swapping::gone(table, &table.name))?;
    let loaded =
        describe::describe(conn, server, known, new)?.ok_or_else(|| swapping::gone(table, new))?;
    let mut obstacles = swapping::obstacles(&current, &loaded, true);
    let current = statement(conn, &table.name)?;
    let loaded = statement(conn, new)?;
    if obstacles.is_empty() {
        obstacles.extend(difference(&current, &loaded));
    }
    swapping::refuse(table, new, obstacles)?;
    let next = next_number(&current).filter(|next| next_number(&loaded).is_none_or(|n| n < *next));
    let new = MySqlDialect.table(new);
    Ok(next.map(|n| format!("ALTER TABLE {new} AUTO_INCREMENT = {n}")).into_iter().collect())
}

fn statement(conn: &mut Conn, table: &str) -> Result<String> {
    let (schema, name) = describe::place(conn, table)?;
    describe::create_statement(conn, &schema, &name)
}

/// The option that says which number an AUTO_INCREMENT column gives next.
const NEXT: &str = " AUTO_INCREMENT=";

fn next_number(statement: &str) -> Option<u64> {
    let options = statement.lines().find(|line| line.starts_with(')'))?;
    let (_, behind) = at_next(options)?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The line of a table's options before and behind [`NEXT`]; what is in quotes is a comment.
fn at_next(options: &str) -> Option<(&str, &str)> {
    let plain = options.split('\'').next().unwrap_or_default();
    let at = plain.find(NEXT)?;
    Some((&options[..at], &options[at + NEXT.len()..]))
}

/// What a table's own statement says, without its name, its next number, and names of constraints
/// that the server makes up for a copy; in an order of its own.
fn lines(statement: &str) -> Vec<String> {
    let mut lines: Vec<String> = statement
        .lines()
        .skip(1)
        .map(|line| {
            let line = line.trim().trim_end_matches(',');
            let line = match (line.starts_with(')'), at_next(line)) {
                (true, Some((before, behind))) => {
                    format!("{before}{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
                }
                _ => line.to_owned(),
            };
            match line.strip_prefix("CONSTRAINT ").and_then(|l| l.find("` CHECK ").map(|i| &l[i..]))
            {
                Some(check) => check[2..].to_owned(),
                None => line,
            }
        })
        .collect();
    lines.sort();
    lines
}

fn difference(current: &str, loaded: &str) -> Option<String> {
    let (current, loaded) = (lines(current), lines(loaded));
    let alone = |a: &[String], b: &[String]| {
        let line = a.iter().find(|line| !b.contains(line)).map_or("", String::as_str);
        line.chars().take(SHOWN_CHARS).collect::<String>()
    };
    (current != loaded).then(|| {
        format!(
            "the definitions differ: {:?} against {:?}",
            alone(&current, &loaded),
            alone(&loaded, &current)
        )
    })
}

/// See [`super::super::Connection::hold_changes`]. With autocommit off, InnoDB locks the table as
/// well, so that even a server that lets transactions under way commit into tables locked for
/// reading (MySQL 5.6) waits for them.
pub(super) fn hold_changes(conn: &mut Conn, server: &Server, tables: &[String]) -> Result<()> {
    let tables: Vec<_> = tables.iter().map(|t| format!("{} READ", MySqlDialect.table(t))).collect();
    let held = connect::set_lock_wait(conn, server, LockWait::Short)
        .and_then(|()| conn.query_drop("SET autocommit = 0, innodb_table_locks = 1"))
        .and_then(|()| conn.query_drop(format!("LOCK TABLES {}", tables.join(", "))));
    held.map_err(|e| errors::from_driver(&e))
}

/// See [`super::super::Connection::let_changes`].
pub(super) fn let_changes(conn: &mut Conn, server: &Server, wait: LockWait) -> Result<()> {
    conn.query_drop("UNLOCK TABLES")
        .and_then(|()| conn.query_drop("COMMIT"))
        .and_then(|()| conn.query_drop("SET autocommit = 1"))
        .and_then(|()| connect::set_lock_wait(conn, server, wait))
        .map_err(|e| errors::from_driver(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `v` int,\n  \
        PRIMARY KEY (`id`),\n  CONSTRAINT `t_chk_1` CHECK (`v` > 0)\n) ENGINE=InnoDB \
        AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4 COMMENT=' AUTO_INCREMENT=5'";

    #[test]
    fn a_copy_differs_by_nothing_but_names_and_its_next_number() {
        let copy = TABLE
            .replace("`t`", "`t2`")
            .replace("t_chk_1", "t2_chk_1")
            .replace(" AUTO_INCREMENT=77", "");
        assert_eq!(difference(TABLE, &copy), None);
        assert_eq!((next_number(TABLE), next_number(&copy)), (Some(77), None));
        for (from, to) in [("`v` > 0", "`v` > 1"), ("InnoDB", "Aria"), ("COMMENT", "ROW_FORMAT=X")]
        {
            assert!(difference(TABLE, &TABLE.replace(from, to)).is_some(), "{from}");
        }
    }
}
