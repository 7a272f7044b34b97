//! How MySQL and MariaDB spell SQL.

use super::super::{
    Dialect, OwnType, Privilege, SAMPLED_OF, Statement, split_table_name, suffixed,
};
use super::types::{self, TextRoute, UNREADABLE};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind, Table};
use crate::value::{Value, hex_bytes};

/// The dialect of MySQL 5.6 and later and MariaDB 10.0 and later.
pub struct MySqlDialect;

/// Longest table name the server takes, in characters.
const NAME_CHARS_MAX: usize = 64;
const OLD_SUFFIX: &str = "_ssync_old";

impl Dialect for MySqlDialect {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn quote(&self, identifier: &str) -> String {
        format!("`{}`", identifier.replace('`', "``"))
    }

    fn select(&self, column: &Column) -> String {
        let name = self.quote(&column.name);
        if column.kind != Kind::Text || types::text_route(column) != TextRoute::Checked {
            return name;
        }
        let charset = column.charset.as_deref().unwrap_or("utf8mb4");
        let unreadable = format!("_utf8mb4 X'{}'", hex_bytes::encode(UNREADABLE.as_bytes()));
        let enum_error = match column.family.as_str() {
            "enum" => format!("WHEN {name} + 0 = 0 THEN {unreadable} "),
            _ => String::new(),
        };
        format!(
            "CASE WHEN {name} IS NULL THEN NULL {enum_error}\
             WHEN CAST(CONVERT(CONVERT({name} USING utf8mb4) USING {charset}) AS BINARY) \
             = CAST({name} AS BINARY) THEN CONVERT({name} USING utf8mb4) \
             ELSE {unreadable} END"
        )
    }

    fn is_unreadable(&self, value: &Value) -> bool {
        value.as_str() == Some(UNREADABLE)
    }

    fn param(&self, _n: usize, column: Option<&Column>) -> String {
        let Some(column) = column else { return "?".to_owned() };
        match column.family.as_str() {
            // A decimal compared with text is compared as two doubles.
            "decimal" => match (column.precision, column.scale) {
                (Some(p), Some(s)) => format!("CAST(? AS DECIMAL({p},{s}))"),
                _ => "?".to_owned(),
            },
            // Bits compared with text: the text would be read as a decimal number.
            "bit" => "CAST(CONV(HEX(?), 16, 10) AS UNSIGNED)".to_owned(),
            _ => "?".to_owned(),
        }
    }

    fn compares_as_number(&self, column: &Column) -> bool {
        // Compared with a YEAR, 70 is 1970, and 2156 is no year at all.
        column.family != "year"
    }

    fn limit(&self, sql: &str, n: u64) -> String {
        format!("{sql} LIMIT {n}")
    }

    fn nth(&self, sql: &str, n: u64) -> String {
        format!("{sql} LIMIT 1 OFFSET {}", n.saturating_sub(1))
    }

    fn through_index(&self, table: &str, index: &str) -> (String, String) {
        (String::new(), format!("{} FORCE INDEX ({})", self.table(table), self.quote(index)))
    }

    // Each server runs the comment that is meant for it, and sets its own variable.
    fn limit_query_time(&self, secs: u64) -> Option<String> {
        let (mysql, mariadb) = (secs * 1000, secs);
        Some(format!(
            "SET @ssync_limited = 1 /*!50708 , max_execution_time = {mysql} */ \
             /*M!100101 , max_statement_time = {mariadb} */"
        ))
    }

    fn sampled(&self, table: &str) -> (String, Option<String>) {
        (self.table(table), Some(format!("RAND() * {SAMPLED_OF} < 1")))
    }

    fn lock(&self, sql: &str, exclusive: bool) -> String {
        // LOCK IN SHARE MODE is understood by every version, FOR SHARE only by MySQL 8.
        if exclusive { format!("{sql} FOR UPDATE") } else { format!("{sql} LOCK IN SHARE MODE") }
    }

    fn own_type(&self, t: OwnType) -> String {
        match t {
            OwnType::Id => "BINARY(16)".to_owned(),
            OwnType::BigInt => "BIGINT".to_owned(),
            // 190 characters of four bytes are the 767 bytes that old servers let an index have.
            OwnType::Text(n) => {
                format!("VARCHAR({n}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            }
            OwnType::LongText => "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            OwnType::LongBytes => "LONGBLOB".to_owned(),
        }
    }

    fn widen(&self, table: &str, definition: &str) -> Option<String> {
        Some(format!("ALTER TABLE {} MODIFY COLUMN {definition}", self.table(table)))
    }

    fn resend_trigger(&self, table: &str, status: &str) -> String {
        let trigger = suffixed(self, split_table_name(table), "_resend", NAME_CHARS_MAX);
        let (table, status) = (self.table(table), self.quote(status));
        format!(
            "CREATE TRIGGER {trigger} BEFORE UPDATE ON {table} FOR EACH ROW\n  SET NEW.{status} = \
             IF(NEW.{status} = OLD.{status}, 0, NEW.{status});"
        )
    }

    fn table_options(&self) -> &'static str {
        "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    }

    fn now_secs(&self) -> &'static str {
        "UNIX_TIMESTAMP()"
    }

    // TRUNCATE is refused where others refer to the table, even from no row at all, and where a
    // history is kept.
    fn truncate(&self, table: &Table) -> (Statement, bool) {
        let name = self.table(&table.name);
        let (sql, need, commits) =
            match table.is_versioned || table.referenced_by_others().next().is_some() {
                true => (format!("DELETE FROM {name}"), Privilege::Delete, false),
                false => (format!("TRUNCATE TABLE {name}"), Privilege::Drop, true),
            };
        (Statement::new(sql).needing(&[need], &table.name), commits)
    }

    fn ddl_commits(&self) -> bool {
        true
    }

    fn create_like(&self, new: &str, table: &Table) -> Result<Vec<Statement>> {
        if table.is_versioned {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("{} keeps a history, which a swap would lose", table.name),
            )
            .hint("Use full = \"truncate\" for this table."));
        }
        let (quoted, like) = (self.table(new), self.table(&table.name));
        Ok(vec![
            Statement::new(format!("DROP TABLE IF EXISTS {quoted}"))
                .needing(&[Privilege::Drop], new),
            Statement::new(format!("CREATE TABLE {quoted} LIKE {like}"))
                .needing(&[Privilege::Create], new)
                .needing(&[Privilege::Select], &table.name),
        ])
    }

    fn swap(&self, new: &str, table: &Table) -> Result<Vec<Statement>> {
        use Privilege::{Alter, Create, Drop, Insert};
        let (current, old) = (&table.name, old_name(&table.name));
        let rename = format!(
            "RENAME TABLE {0} TO {1}, {2} TO {0}",
            self.table(current),
            self.table(&old),
            self.table(new)
        );
        Ok(vec![
            Statement::new(format!("DROP TABLE IF EXISTS {}", self.table(&old)))
                .needing(&[Drop], &old),
            // From a name: ALTER and DROP; to a name: CREATE and INSERT.
            Statement::new(rename)
                .needing(&[Alter, Drop, Create, Insert], current)
                .needing(&[Create, Insert], &old)
                .needing(&[Alter, Drop], new),
        ])
    }

    fn swapped_out(&self, table: &str) -> Option<String> {
        Some(old_name(table))
    }
}

/// Where the old table waits for its end: beside the current one, its name shortened to fit.
fn old_name(table: &str) -> String {
    let mut parts = split_table_name(table);
    if let Some(last) = parts.last_mut() {
        let room = NAME_CHARS_MAX - OLD_SUFFIX.len();
        *last = last.chars().take(room).chain(OLD_SUFFIX.chars()).collect();
    }
    parts.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(".")
}
