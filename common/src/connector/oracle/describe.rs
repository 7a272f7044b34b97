//! A table's structure, from the dictionary views that every account may read.

use std::collections::BTreeMap;

use super::connect::{Server, ask, text};
use super::driver::Driver;
use super::{dialect, name, types};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, ForeignKey, Index, Table, Trigger};
use crate::value::Value;

/// Where a table stands: its owner and its own name.
pub(super) fn place(server: &Server, configured: &str) -> Result<(String, String)> {
    let mut parts = name::parts(configured);
    let fault = || Error::new(ErrorKind::Config, format!("{configured} is not a table name"));
    let table = parts.pop().filter(|t| !t.is_empty()).ok_or_else(fault)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(owner), true) => Ok((owner, table)),
        (None, _) => Ok((server.schema.clone(), table)),
        _ => Err(fault()),
    }
}

/// The table, or `None` when there is none of that name, or the account may not see it.
pub(super) fn describe(
    driver: &mut dyn Driver,
    server: &Server,
    configured: &str,
) -> Result<Option<Table>> {
    let (owner, table) = place(server, configured)?;
    let mut asking = Asking { driver, owner: &owner, table: &table };
    let Some(engine) = asking.engine()? else { return Ok(None) };
    let address = if engine == "table" { asking.address()? } else { None };
    let columns = asking.columns(server)?;
    let indexes = asking.indexes()?;
    Ok(Some(Table {
        name: configured.to_owned(),
        full_name: format!("{owner}.{table}"),
        server: server.identity.clone(),
        columns,
        indexes,
        foreign_keys: asking.foreign_keys()?,
        referenced_by: asking.referenced_by()?,
        triggers: asking.triggers()?,
        // ALL_TRIGGERS shows an account its own, and those of its own tables.
        hides_triggers: owner != server.schema,
        transactional: engine == "table",
        is_view: engine == "view" || engine == "materialized view",
        is_versioned: false,
        address,
        engine: engine.to_owned(),
        definition: Vec::new(),
    }))
}

struct Asking<'a> {
    driver: &'a mut dyn Driver,
    owner: &'a str,
    table: &'a str,
}

impl Asking<'_> {
    /// What `sql` says; its two placeholders are owner and table.
    fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Value>>> {
        let params = [Value::Text(self.owner.to_owned()), Value::Text(self.table.to_owned())];
        ask(self.driver, sql, &params)
    }

    /// What keeps its rows; `None` where there is nothing of that name.
    fn engine(&mut self) -> Result<Option<&'static str>> {
        let found =
            self.rows("SELECT TEMPORARY FROM ALL_TABLES WHERE OWNER = :1 AND TABLE_NAME = :2")?;
        if let Some(row) = found.first() {
            // Rows that only one session sees, and that go with it.
            if row.first().map(text).as_deref() == Some("Y") {
                return Ok(Some("temporary table"));
            }
            let external = self.rows(
                "SELECT TABLE_NAME FROM ALL_EXTERNAL_TABLES WHERE OWNER = :1 AND TABLE_NAME = :2",
            )?;
            if !external.is_empty() {
                return Ok(Some("external table"));
            }
            let copied = self
                .rows("SELECT MVIEW_NAME FROM ALL_MVIEWS WHERE OWNER = :1 AND MVIEW_NAME = :2")?;
            return Ok(Some(if copied.is_empty() { "table" } else { "materialized view" }));
        }
        let view =
            self.rows("SELECT VIEW_NAME FROM ALL_VIEWS WHERE OWNER = :1 AND VIEW_NAME = :2")?;
        Ok((!view.is_empty()).then_some("view"))
    }

    /// ROWID, where it stays as it is for as long as the row lives: where rows are not moved, and
    /// are not kept in an index.
    fn address(&mut self) -> Result<Option<Column>> {
        let found = self.rows(
            "SELECT 1 FROM ALL_TABLES WHERE OWNER = :1 AND TABLE_NAME = :2 \
             AND ROW_MOVEMENT = 'DISABLED' AND IOT_TYPE IS NULL",
        )?;
        let declared = types::Declared { data_type: dialect::ROWID, ..types::Declared::default() };
        Ok(if found.is_empty() { None } else { types::column(dialect::ROWID, &declared) })
    }

    fn columns(&mut self, server: &Server) -> Result<Vec<Column>> {
        let identity = if server.version[0] >= 12 { "IDENTITY_COLUMN" } else { "'NO'" };
        let collated = server.version[0] > 12 || server.version[..2] == [12, 2];
        let collation = if collated { "c.COLLATION" } else { "NULL" };
        let rows = self.rows(&format!(
            "SELECT COLUMN_NAME, DATA_TYPE, DATA_LENGTH, CHAR_LENGTH, CHAR_USED, DATA_PRECISION, \
             DATA_SCALE, NULLABLE, VIRTUAL_COLUMN, DEFAULT_LENGTH, {identity}, {collation} \
             FROM ALL_TAB_COLS c WHERE OWNER = :1 AND TABLE_NAME = :2 AND HIDDEN_COLUMN = 'NO' \
             ORDER BY INTERNAL_COLUMN_ID"
        ))?;
        rows.iter().map(|row| column(row, self.table, server)).collect()
    }

    fn indexes(&mut self) -> Result<Vec<Index>> {
        let primary = self.rows(
            "SELECT c.CONSTRAINT_NAME, k.COLUMN_NAME FROM ALL_CONSTRAINTS c \
             JOIN ALL_CONS_COLUMNS k ON k.OWNER = c.OWNER AND k.CONSTRAINT_NAME = c.CONSTRAINT_NAME \
             AND k.TABLE_NAME = c.TABLE_NAME \
             WHERE c.OWNER = :1 AND c.TABLE_NAME = :2 AND c.CONSTRAINT_TYPE = 'P' \
             AND c.STATUS = 'ENABLED' ORDER BY k.POSITION",
        )?;
        let backing = self.rows(
            "SELECT INDEX_NAME FROM ALL_CONSTRAINTS WHERE OWNER = :1 AND TABLE_NAME = :2 \
             AND CONSTRAINT_TYPE = 'P' AND INDEX_NAME IS NOT NULL",
        )?;
        let backing = backing.first().and_then(|row| row.first()).map(text);
        let rows = self.rows(
            "SELECT i.INDEX_NAME, i.UNIQUENESS, i.INDEX_TYPE, k.COLUMN_NAME FROM ALL_INDEXES i \
             JOIN ALL_IND_COLUMNS k ON k.INDEX_OWNER = i.OWNER AND k.INDEX_NAME = i.INDEX_NAME \
             WHERE i.TABLE_OWNER = :1 AND i.TABLE_NAME = :2 \
             ORDER BY i.INDEX_NAME, k.COLUMN_POSITION",
        )?;
        let unique = self.rows(
            "SELECT c.CONSTRAINT_NAME, k.COLUMN_NAME FROM ALL_CONSTRAINTS c \
             JOIN ALL_CONS_COLUMNS k ON k.OWNER = c.OWNER AND k.CONSTRAINT_NAME = c.CONSTRAINT_NAME \
             AND k.TABLE_NAME = c.TABLE_NAME \
             WHERE c.OWNER = :1 AND c.TABLE_NAME = :2 AND c.CONSTRAINT_TYPE = 'U' \
             AND c.STATUS = 'ENABLED' ORDER BY c.CONSTRAINT_NAME, k.POSITION",
        )?;
        Ok(joined(&primary, backing.as_deref(), &rows, &unique))
    }

    fn foreign_keys(&mut self) -> Result<Vec<ForeignKey>> {
        let rows = self.rows(
            "SELECT c.CONSTRAINT_NAME, c.OWNER, c.TABLE_NAME, p.OWNER, p.TABLE_NAME, c.DELETE_RULE \
             FROM ALL_CONSTRAINTS c \
             JOIN ALL_CONSTRAINTS p ON p.OWNER = c.R_OWNER AND p.CONSTRAINT_NAME = c.R_CONSTRAINT_NAME \
             WHERE c.OWNER = :1 AND c.TABLE_NAME = :2 AND c.CONSTRAINT_TYPE = 'R' \
             AND c.STATUS = 'ENABLED' ORDER BY c.CONSTRAINT_NAME",
        )?;
        Ok(rows.iter().map(|row| foreign_key(row, self.owner)).collect())
    }

    /// Keys of tables that the account may see.
    fn referenced_by(&mut self) -> Result<Vec<ForeignKey>> {
        let rows = self.rows(
            "SELECT c.CONSTRAINT_NAME, c.OWNER, c.TABLE_NAME, p.OWNER, p.TABLE_NAME, c.DELETE_RULE \
             FROM ALL_CONSTRAINTS c \
             JOIN ALL_CONSTRAINTS p ON p.OWNER = c.R_OWNER AND p.CONSTRAINT_NAME = c.R_CONSTRAINT_NAME \
             WHERE p.OWNER = :1 AND p.TABLE_NAME = :2 AND c.CONSTRAINT_TYPE = 'R' \
             AND c.STATUS = 'ENABLED' ORDER BY c.CONSTRAINT_NAME",
        )?;
        Ok(rows.iter().map(|row| foreign_key(row, self.owner)).collect())
    }

    /// One entry for each event: a trigger may have several (`INSERT OR UPDATE`).
    fn triggers(&mut self) -> Result<Vec<Trigger>> {
        let rows = self.rows(
            "SELECT TRIGGER_NAME, TRIGGERING_EVENT, TRIGGER_BODY FROM ALL_TRIGGERS \
             WHERE TABLE_OWNER = :1 AND TABLE_NAME = :2 AND STATUS = 'ENABLED' \
             ORDER BY TRIGGER_NAME",
        )?;
        let mut triggers = Vec::new();
        for row in rows.iter().filter(|row| row.len() == 3) {
            let events = text(&row[1]).to_ascii_uppercase();
            for event in events.split(" OR ").map(str::trim) {
                triggers.push(Trigger {
                    name: text(&row[0]),
                    event: event.to_owned(),
                    body: text(&row[2]),
                });
            }
        }
        Ok(triggers)
    }
}

fn column(row: &[Value], table: &str, server: &Server) -> Result<Column> {
    let cell = |i: usize| row.get(i).unwrap_or(&Value::Null);
    let word = |i: usize| text(cell(i));
    let whole = |i: usize| cell(i).as_i64();
    let length = |i: usize| whole(i).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let (name, data_type) = (word(0), word(1));
    let collation = word(11);
    let declared = types::Declared {
        data_type: &data_type,
        bytes: length(2),
        chars: length(3),
        in_chars: word(4) == "C",
        precision: whole(5),
        scale: whole(6),
        charset: &server.charset,
        ncharset: &server.ncharset,
        collation: &collation,
    };
    let mut column = types::column(&name, &declared).ok_or_else(|| {
        Error::new(
            ErrorKind::Refused,
            format!("column {name} of {table} has the unknown type {data_type}"),
        )
        .column(&name)
    })?;
    column.nullable = word(7) == "Y";
    column.generated = word(8) == "YES";
    column.auto_increment = word(10) == "YES";
    column.has_default =
        column.nullable || column.generated || column.auto_increment || *cell(9) != Value::Null;
    Ok(column)
}

/// Keys and indexes together, the primary key first. A constraint that an index of the same
/// columns backs is that index.
fn joined(
    primary: &[Vec<Value>],
    backing: Option<&str>,
    indexes: &[Vec<Value>],
    unique: &[Vec<Value>],
) -> Vec<Index> {
    let mut all = BTreeMap::<(bool, String), Index>::new();
    let primary_name = primary.first().and_then(|row| row.first()).map(text);
    if let Some(name) = &primary_name {
        let columns = primary.iter().filter_map(|row| row.get(1)).map(text).collect();
        let index = Index {
            name: name.clone(),
            columns,
            unique: true,
            primary: true,
            partial: false,
            without_overlaps: false,
        };
        all.insert((false, name.clone()), index);
    }
    for row in indexes.iter().filter(|row| row.len() == 4) {
        let (name, kind) = (text(&row[0]), text(&row[2]));
        if backing == Some(name.as_str()) && primary_name.is_some() {
            continue;
        }
        let index = all.entry((true, name.clone())).or_insert_with(|| Index {
            name,
            columns: Vec::new(),
            unique: text(&row[1]) == "UNIQUE",
            primary: false,
            // An index over expressions shows hidden columns of odd names. A descending one does
            // so, too.
            partial: kind.starts_with("FUNCTION-BASED") || kind == "DOMAIN",
            without_overlaps: false,
        });
        index.columns.push(text(&row[3]));
    }
    // A constraint may be backed by an index that is not unique itself.
    let mut constraints = BTreeMap::<String, Vec<String>>::new();
    for row in unique.iter().filter(|row| row.len() == 2) {
        constraints.entry(text(&row[0])).or_default().push(text(&row[1]));
    }
    for (name, columns) in constraints {
        let known = all.values().any(|i| i.unique && !i.partial && i.columns == columns);
        if !known {
            all.insert(
                (true, name.clone()),
                Index {
                    name,
                    columns,
                    unique: true,
                    primary: false,
                    partial: false,
                    without_overlaps: false,
                },
            );
        }
    }
    all.into_values().collect()
}

fn foreign_key(row: &[Value], here: &str) -> ForeignKey {
    let word = |i: usize| row.get(i).map(text).unwrap_or_default();
    let named = |owner: String, table: String| {
        if owner == here { table } else { format!("{owner}.{table}") }
    };
    ForeignKey {
        name: word(0),
        child: named(word(1), word(2)),
        parent: named(word(3), word(4)),
        cascades: matches!(word(5).as_str(), "CASCADE" | "SET NULL"),
        deletes: matches!(word(5).as_str(), "CASCADE" | "SET NULL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(words: &[&str]) -> Vec<Value> {
        words.iter().map(|w| Value::Text((*w).to_owned())).collect()
    }

    #[test]
    fn the_primary_key_comes_first_and_its_index_is_not_told_twice() {
        let indexes = joined(
            &[row(&["T_PK", "B"]), row(&["T_PK", "A"])],
            Some("T_PK_IX"),
            &[
                row(&["A_IX", "NONUNIQUE", "NORMAL", "C"]),
                row(&["A_UX", "UNIQUE", "FUNCTION-BASED NORMAL", "SYS_NC00004$"]),
                row(&["T_PK_IX", "UNIQUE", "NORMAL", "B"]),
                row(&["T_PK_IX", "UNIQUE", "NORMAL", "A"]),
            ],
            &[row(&["T_UK", "C"])],
        );
        let told: Vec<_> = indexes
            .iter()
            .map(|i| (i.name.as_str(), i.columns.join(","), i.unique, i.primary, i.partial))
            .collect();
        assert_eq!(
            told,
            [
                ("T_PK", "B,A".to_owned(), true, true, false),
                ("A_IX", "C".to_owned(), false, false, false),
                ("A_UX", "SYS_NC00004$".to_owned(), true, false, true),
                ("T_UK", "C".to_owned(), true, false, false),
            ]
        );
    }
}
