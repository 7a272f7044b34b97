//! How SQL is spelt for SQLite.

use super::super::{Dialect, OwnType, SAMPLED_OF, Statement, split_table_name, suffixed};
use super::ddl;
use crate::error::Result;
use crate::schema::{Column, Table};

/// SQLite's dialect.
pub struct SqliteDialect;

impl Dialect for SqliteDialect {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn quote(&self, identifier: &str) -> String {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }

    fn select(&self, column: &Column) -> String {
        self.quote(&column.name)
    }

    // A bare parameter takes the column's own affinity and collation in a comparison, and 64-bit
    // integers are compared with reals exactly: no cast is needed.
    fn param(&self, _n: usize, _column: Option<&Column>) -> String {
        "?".to_owned()
    }

    fn limit(&self, sql: &str, n: u64) -> String {
        format!("{sql} LIMIT {n}")
    }

    fn nth(&self, sql: &str, n: u64) -> String {
        format!("{sql} LIMIT 1 OFFSET {}", n.saturating_sub(1))
    }

    fn through_index(&self, table: &str, index: &str) -> (String, String) {
        (String::new(), format!("{} INDEXED BY {}", self.table(table), self.quote(index)))
    }

    fn sampled(&self, table: &str) -> (String, Option<String>) {
        (self.table(table), Some(format!("random() % {SAMPLED_OF} = 0")))
    }

    // `BEGIN IMMEDIATE` has locked the file for writing already.
    fn lock(&self, sql: &str, _exclusive: bool) -> String {
        sql.to_owned()
    }

    fn own_type(&self, t: OwnType) -> String {
        match t {
            OwnType::Id | OwnType::LongBytes => "BLOB",
            OwnType::BigInt => "INTEGER",
            OwnType::Text(_) | OwnType::LongText => "TEXT",
        }
        .to_owned()
    }

    fn widen(&self, _table: &str, _definition: &str) -> Option<String> {
        None
    }

    fn resend_trigger(&self, table: &str, status: &str) -> String {
        let parts = split_table_name(table);
        // The body names tables of the trigger's own schema, without it.
        let plain = self.quote(parts.last().map_or("", String::as_str));
        let trigger = suffixed(self, parts, "_resend", usize::MAX);
        let status = self.quote(status);
        format!(
            "CREATE TRIGGER {trigger} AFTER UPDATE ON {plain}\n  WHEN NEW.{status} = OLD.{status} AND \
             OLD.{status} <> 0\n  BEGIN UPDATE {plain} SET {status} = 0 WHERE rowid = NEW.rowid; END;"
        )
    }

    fn table_options(&self) -> &'static str {
        "STRICT"
    }

    fn now_secs(&self) -> &'static str {
        "unixepoch()"
    }

    // SQLite empties a table without triggers page by page when the DELETE has no condition.
    fn truncate(&self, table: &Table) -> (Statement, bool) {
        (Statement::new(format!("DELETE FROM {}", self.table(&table.name))), false)
    }

    fn ddl_commits(&self) -> bool {
        false
    }

    fn create_like(&self, new: &str, table: &Table) -> Result<Vec<Statement>> {
        let mut statements = vec![format!("DROP TABLE IF EXISTS {}", self.table(new))];
        statements.push(ddl::create_table_as(self, new, table)?);
        for index in ddl::indexes_of(table)? {
            // The others are made when the tables are swapped: one pass over the finished table.
            if index.unique {
                statements.push(index.create(self, &shadow_index(new, &index.name), new));
            }
        }
        Ok(statements.into_iter().map(Statement::new).collect())
    }

    fn swap(&self, new: &str, table: &Table) -> Result<Vec<Statement>> {
        let plain = split_table_name(&table.name).pop().unwrap_or_default();
        // In legacy mode a rename leaves views and triggers alone, which name the table by the
        // name it is about to have again.
        let mut statements = vec![
            "PRAGMA legacy_alter_table=ON".to_owned(),
            format!("DROP TABLE {}", self.table(&table.name)),
            format!("ALTER TABLE {} RENAME TO {}", self.table(new), self.quote(&plain)),
        ];
        for index in ddl::indexes_of(table)? {
            if index.unique {
                let shadow = shadow_index(new, &index.name);
                statements.push(format!("DROP INDEX {}", ddl::beside(self, new, &shadow)));
            }
            statements.push(index.create(self, &index.name, &table.name));
        }
        statements.push("PRAGMA legacy_alter_table=OFF".to_owned());
        Ok(statements.into_iter().map(Statement::new).collect())
    }

    // Dropped in the same transaction.
    fn swapped_out(&self, _table: &str) -> Option<String> {
        None
    }
}

/// Index names are unique in a whole database file.
pub(super) fn shadow_index(new: &str, index: &str) -> String {
    format!("{}_{index}", split_table_name(new).pop().unwrap_or_default())
}
