//! How Oracle spells SQL.

use super::super::{Dialect, OwnType, Privilege, SAMPLED_OF, Statement, suffixed};
use super::name;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind, Table};
use crate::value::hex_bytes;

/// The dialect of Oracle 12c and later, and (without `FETCH FIRST`) of 11.2.
pub struct OracleDialect {
    /// Whether the server knows `FETCH FIRST`.
    fetch_first: bool,
}

/// From 12c on.
pub static ORACLE: OracleDialect = OracleDialect { fetch_first: true };
/// 11.2.
pub(super) static ORACLE_11: OracleDialect = OracleDialect { fetch_first: false };

/// Name of the column by which [`Dialect::nth`] counts on old servers; it is taken off results.
pub(super) const ROW_NUMBER: &str = "SSYNC_ROW_NUMBER";

/// What stands for an empty LOB on its way here: as text or bytes, which is how LOBs are fetched,
/// it could not be told from NULL.
pub(super) const EMPTY_LOB: &str = "ssync:empty:3c6e1d8f0b5a4927e1f7a90c2d845b63";

/// The pseudo-column that says where a row is kept. No column of a table can have this name.
pub(super) const ROWID: &str = "ROWID";
/// Longest name that every version takes.
const NAME_CHARS_MAX: usize = 30;
/// Blocks of a hundred that a sample reads; of the rows in them it takes a part by their hash.
const SAMPLED_PERCENT: u32 = 1;

/// How `TIMESTAMP WITH TIME ZONE` is written and read as text: local time, fraction, offset.
const ZONED: &str = "'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM'";
const UNZONED: &str = "'YYYY-MM-DD HH24:MI:SS.FF9'";

impl Dialect for OracleDialect {
    fn name(&self) -> &'static str {
        "oracle"
    }

    // No name may contain a double quote; doubled, the server refuses it.
    fn quote(&self, identifier: &str) -> String {
        if identifier == ROWID {
            return identifier.to_owned();
        }
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }

    fn folded(&self, identifier: &str) -> String {
        self.quote(&name::parts(identifier).join("."))
    }

    fn table(&self, configured: &str) -> String {
        name::parts(configured).iter().map(|p| self.quote(p)).collect::<Vec<_>>().join(".")
    }

    fn select(&self, column: &Column) -> String {
        let name = self.quote(&column.name);
        match (column.family.as_str(), column.kind) {
            // The session is in UTC.
            ("timestamp_ltz", _) => {
                format!("CAST({name} AS TIMESTAMP({}))", column.scale.unwrap_or(6))
            }
            ("timestamp_tz", Kind::DateTime) => format!("SYS_EXTRACT_UTC({name})"),
            ("timestamp_tz", _) => format!("TO_CHAR({name}, {ZONED})"),
            ("interval_ym", _) => format!("TO_CHAR({name})"),
            ("rowid", _) => format!("ROWIDTOCHAR({name})"),
            ("urowid", _) => format!("CAST({name} AS VARCHAR2(4000))"),
            ("clob", _) => empty_marked(&name, &format!("TO_CLOB('{EMPTY_LOB}')")),
            ("nclob", _) => empty_marked(&name, &format!("TO_NCLOB('{EMPTY_LOB}')")),
            ("blob", _) => {
                let marker = hex_bytes::encode(EMPTY_LOB.as_bytes());
                empty_marked(&name, &format!("TO_BLOB(HEXTORAW('{marker}'))"))
            }
            ("json", _) => format!("JSON_SERIALIZE({name} RETURNING CLOB)"),
            ("xmltype", _) => format!("XMLSERIALIZE(CONTENT {name} AS CLOB)"),
            ("boolean", _) => format!("CASE WHEN {name} THEN 1 WHEN NOT {name} THEN 0 END"),
            _ => name,
        }
    }

    fn param(&self, n: usize, column: Option<&Column>) -> String {
        match column {
            // A CHAR compared with a VARCHAR2 would count its padding.
            // (All blanks are read as empty text, which is NULL on its way back.)
            Some(c) if matches!(c.family.as_str(), "char" | "nchar") => {
                format!("CAST(NVL(:{n}, ' ') AS {})", c.declared)
            }
            // A DATE compared with a TIMESTAMP would be converted, and no index used.
            Some(c) if c.family == "date" => format!("CAST(:{n} AS DATE)"),
            Some(c) if c.family == "rowid" => format!("CHARTOROWID(:{n})"),
            Some(c) => self.value(n, c),
            None => format!(":{n}"),
        }
    }

    fn limit(&self, sql: &str, n: u64) -> String {
        match self.fetch_first {
            true => format!("{sql} FETCH FIRST {n} ROWS ONLY"),
            false => format!("SELECT * FROM ({sql}) WHERE ROWNUM <= {n}"),
        }
    }

    fn nth(&self, sql: &str, n: u64) -> String {
        let before = n.saturating_sub(1);
        match self.fetch_first {
            true => format!("{sql} OFFSET {before} ROWS FETCH NEXT 1 ROWS ONLY"),
            false => format!(
                "SELECT * FROM (SELECT ssync_rows.*, ROWNUM {ROW_NUMBER} FROM ({sql}) ssync_rows \
                 WHERE ROWNUM <= {n}) WHERE {ROW_NUMBER} = {n}"
            ),
        }
    }

    fn through_index(&self, table: &str, index: &str) -> (String, String) {
        // A hint names the table without its schema.
        let name = self.quote(&name::parts(table).pop().unwrap_or_default());
        (format!("/*+ INDEX({name} {}) */ ", self.quote(index)), self.table(table))
    }

    fn sampled(&self, table: &str) -> (String, Option<String>) {
        let rest = SAMPLED_OF * SAMPLED_PERCENT / 100 - 1;
        (
            format!("{} SAMPLE BLOCK ({SAMPLED_PERCENT})", self.table(table)),
            Some(format!("ORA_HASH({ROWID}, {rest}) = 0")),
        )
    }

    // Oracle has no shared lock of rows: the exclusive one takes its place.
    fn lock(&self, sql: &str, _exclusive: bool) -> String {
        format!("{sql} FOR UPDATE")
    }

    fn shares_row_locks(&self) -> bool {
        false
    }

    fn keeps_empty_text(&self) -> bool {
        false
    }

    fn own_type(&self, t: OwnType) -> String {
        match t {
            OwnType::Id => "RAW(16)".to_owned(),
            OwnType::BigInt => "NUMBER(19)".to_owned(),
            OwnType::Text(n) => format!("VARCHAR2({n} CHAR)"),
            OwnType::LongText => "CLOB".to_owned(),
            OwnType::LongBytes => "BLOB".to_owned(),
        }
    }

    fn widen(&self, table: &str, definition: &str) -> Option<String> {
        // What is NOT NULL already may not be said to be.
        let definition = definition.strip_suffix(" NOT NULL").unwrap_or(definition);
        Some(format!("ALTER TABLE {} MODIFY ({definition})", self.table(table)))
    }

    fn add_column(&self, table: &str, definition: &str) -> String {
        format!("ALTER TABLE {} ADD ({definition})", self.table(table))
    }

    // The line of the slash ends it for SQL*Plus and SQL Developer.
    fn resend_trigger(&self, table: &str, status: &str) -> String {
        let trigger = suffixed(self, name::parts(table), "_RESEND", NAME_CHARS_MAX);
        let (table, status) = (self.table(table), self.folded(status));
        format!(
            "CREATE TRIGGER {trigger} BEFORE UPDATE ON {table} FOR EACH ROW\n  WHEN (NEW.{status} = \
             OLD.{status} AND OLD.{status} <> 0)\n  BEGIN :NEW.{status} := 0; END;\n/"
        )
    }

    fn table_options(&self) -> &'static str {
        ""
    }

    fn now_secs(&self) -> &'static str {
        "ROUND((CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE) - DATE '1970-01-01') * 86400)"
    }

    fn select_expression(&self, expression: &str) -> String {
        format!("SELECT {expression} FROM DUAL")
    }

    // TRUNCATE is refused where others refer to the table, even from no row at all.
    fn truncate(&self, table: &Table) -> (Statement, bool) {
        let name = self.table(&table.name);
        let (sql, need, commits) = match table.referenced_by_others().next() {
            Some(_) => (format!("DELETE FROM {name}"), Privilege::Delete, false),
            None => (format!("TRUNCATE TABLE {name}"), Privilege::Drop, true),
        };
        (Statement::new(sql).needing(&[need], &table.name), commits)
    }

    fn ddl_commits(&self) -> bool {
        true
    }

    fn create_like(&self, _new: &str, table: &Table) -> Result<Vec<Statement>> {
        Err(no_swap(table))
    }

    fn swap(&self, _new: &str, table: &Table) -> Result<Vec<Statement>> {
        Err(no_swap(table))
    }

    fn swapped_out(&self, _table: &str) -> Option<String> {
        None
    }
}

/// A LOB, or the marker where it is empty.
fn empty_marked(name: &str, marker: &str) -> String {
    format!("CASE WHEN DBMS_LOB.GETLENGTH({name}) = 0 THEN {marker} ELSE {name} END")
}

impl OracleDialect {
    /// The `n`th placeholder as a value of the column: for what travels as text but is none.
    pub(super) fn value(&self, n: usize, column: &Column) -> String {
        match (column.family.as_str(), column.kind) {
            ("interval_ds", _) => format!("TO_DSINTERVAL(:{n})"),
            ("interval_ym", _) => format!("TO_YMINTERVAL(:{n})"),
            ("timestamp_tz", _) => format!("TO_TIMESTAMP_TZ(:{n}, {ZONED})"),
            ("timestamp" | "timestamp_ltz", Kind::Text) => format!("TO_TIMESTAMP(:{n}, {UNZONED})"),
            _ => format!(":{n}"),
        }
    }
}

/// Two tables cannot change places in one step: each rename is a transaction of its own, and
/// between them the table is not there. Grants, constraints' names and synonyms would stay behind.
pub(super) fn no_swap(table: &Table) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!("{} cannot be swapped: Oracle has no way to do that in one step", table.name),
    )
    .hint("Use full = \"truncate\" for this table.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(family: &str, kind: Kind, declared: &str) -> Column {
        let new = Column::new("C", kind, declared);
        Column { family: family.to_owned(), scale: Some(6), ..new }
    }

    #[test]
    fn names_fold_unless_they_are_quoted() {
        for (configured, spelt) in [
            ("orders", "\"ORDERS\""),
            ("app.orders", "\"APP\".\"ORDERS\""),
            ("\"Orders\"", "\"Orders\""),
            ("app.\"d.t\"", "\"APP\".\"d.t\""),
            ("`x y`", "\"x y\""),
            ("a b", "\"a b\""),
            ("SSYNC_FENCE", "\"SSYNC_FENCE\""),
            ("v$x#1", "\"V$X#1\""),
        ] {
            assert_eq!(ORACLE.table(configured), spelt);
        }
    }

    #[test]
    fn rows_are_counted_as_the_version_can() {
        let sql = "SELECT a FROM t ORDER BY a";
        assert_eq!(ORACLE.limit(sql, 5), format!("{sql} FETCH FIRST 5 ROWS ONLY"));
        assert_eq!(ORACLE.nth(sql, 1), format!("{sql} OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY"));
        assert_eq!(ORACLE_11.limit(sql, 5), format!("SELECT * FROM ({sql}) WHERE ROWNUM <= 5"));
        assert!(ORACLE_11.nth(sql, 3).ends_with("WHERE SSYNC_ROW_NUMBER = 3"));
    }

    #[test]
    fn what_is_no_text_is_read_and_compared_without_loss() {
        for (c, selected, compared) in [
            (column("number", Kind::Int, "NUMBER(9)"), "\"C\"", ":1"),
            (
                column("char", Kind::Text, "CHAR(3 CHAR)"),
                "\"C\"",
                "CAST(NVL(:1, ' ') AS CHAR(3 CHAR))",
            ),
            (column("date", Kind::DateTime, "DATE"), "\"C\"", "CAST(:1 AS DATE)"),
            (column("timestamp_ltz", Kind::DateTime, "x"), "CAST(\"C\" AS TIMESTAMP(6))", ":1"),
            (
                column("timestamp_tz", Kind::Text, "x"),
                "TO_CHAR(\"C\", 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')",
                "TO_TIMESTAMP_TZ(:1, 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')",
            ),
            (
                column("timestamp_tz", Kind::DateTime, "x"),
                "SYS_EXTRACT_UTC(\"C\")",
                "TO_TIMESTAMP_TZ(:1, 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')",
            ),
            (column("interval_ds", Kind::Time, "x"), "\"C\"", "TO_DSINTERVAL(:1)"),
        ] {
            assert_eq!(
                (ORACLE.select(&c), ORACLE.param(1, Some(&c))),
                (selected.into(), compared.into())
            );
        }
    }

    #[test]
    fn a_widened_column_is_not_said_to_be_not_null_again() {
        assert_eq!(
            ORACLE.widen("t_run", "\"x\" VARCHAR2(65 CHAR) NOT NULL").unwrap(),
            "ALTER TABLE \"T_RUN\" MODIFY (\"x\" VARCHAR2(65 CHAR))"
        );
    }
}
