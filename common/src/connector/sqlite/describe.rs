//! A table's description, from SQLite's pragmas and the statements that made it.

use std::path::Path;

use rusqlite::{Connection as Database, OptionalExtension, params};

use super::super::split_table_name;
use super::affinity::Affinity;
use super::{ddl, errors};
use crate::bail;
use crate::error::{Kind as ErrorKind, Result};
use crate::schema::{Column, ForeignKey, Index, Kind, Table, Trigger};

/// The table of that name (`table` or `schema.table`), or `None`; `identity` is that of the file.
pub fn describe(db: &Database, file: &Path, identity: &str, name: &str) -> Result<Option<Table>> {
    let parts = split_table_name(name);
    let (schema, plain) = match parts.as_slice() {
        [table] => ("main", table.as_str()),
        [schema, table] => (schema.as_str(), table.as_str()),
        _ => bail!(ErrorKind::Config, "{name} is not a table name: it has more than one dot"),
    };
    let describer = Describer { db, schema, server: identity.to_owned() };
    let table = describer.table(name, plain).map_err(|e| {
        errors::failure(file, e).context(format!("could not read the structure of {name}"))
    })?;
    table.map(with_events).transpose()
}

/// A trigger's event is read from its text, which can only fail by our own fault.
fn with_events(mut table: Table) -> Result<Table> {
    for trigger in &mut table.triggers {
        trigger.event = ddl::trigger_event(&trigger.body)?;
    }
    Ok(table)
}

struct Describer<'a> {
    db: &'a Database,
    schema: &'a str,
    server: String,
}

struct Found {
    name: String,
    kind: String,
    without_rowid: bool,
    strict: bool,
}

impl Describer<'_> {
    fn table(&self, configured: &str, plain: &str) -> rusqlite::Result<Option<Table>> {
        let Some(found) = self.find(plain)? else { return Ok(None) };
        let (columns, key) = self.columns(&found)?;
        let mut table = Table {
            name: configured.to_owned(),
            full_name: format!("{}.{}", self.schema.to_ascii_lowercase(), found.name),
            server: self.server.clone(),
            columns,
            indexes: Vec::new(),
            foreign_keys: self.foreign_keys(&found.name)?,
            referenced_by: self.referenced_by(&found.name)?,
            triggers: self.triggers(&found.name)?,
            hides_triggers: false,
            transactional: found.kind != "virtual",
            engine: if found.kind == "virtual" { "SQLite virtual table" } else { "SQLite" }.into(),
            is_view: found.kind == "view",
            is_versioned: false,
            address: None,
            definition: self.definition(&found.name)?,
        };
        table.indexes = self.indexes(&found.name)?;
        if !key.is_empty() && !table.indexes.iter().any(|i| i.primary) {
            // The row number itself (INTEGER PRIMARY KEY): SQLite lists no index for it. It is
            // never NULL, and a NULL stored in it would be replaced by a number.
            for column in table.columns.iter_mut().filter(|c| key.contains(&c.name)) {
                column.nullable = false;
                column.auto_increment = true;
            }
            let primary = Index {
                name: "PRIMARY".into(),
                columns: key,
                unique: true,
                primary: true,
                partial: false,
                without_overlaps: false,
            };
            table.indexes.insert(0, primary);
        }
        table.indexes.sort_by(|a, b| (!a.primary, &a.name).cmp(&(!b.primary, &b.name)));
        Ok(Some(table))
    }

    fn find(&self, plain: &str) -> rusqlite::Result<Option<Found>> {
        let sql = "SELECT name, type, wr, strict FROM pragma_table_list \
            WHERE schema = ?1 COLLATE NOCASE AND name = ?2 COLLATE NOCASE";
        let found = |r: &rusqlite::Row<'_>| {
            Ok(Found {
                name: r.get(0)?,
                kind: r.get(1)?,
                without_rowid: r.get(2)?,
                strict: r.get(3)?,
            })
        };
        self.db.prepare_cached(sql)?.query_row(params![self.schema, plain], found).optional()
    }

    /// The columns, and the names of those in the primary key, in key order.
    fn columns(&self, found: &Found) -> rusqlite::Result<(Vec<Column>, Vec<String>)> {
        let sql = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden \
            FROM pragma_table_xinfo(?1, ?2) ORDER BY cid";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params![found.name, self.schema])?;
        let mut columns = Vec::new();
        let mut key = Vec::new();
        while let Some(row) = rows.next()? {
            let (declared, hidden): (String, i64) = (row.get(1)?, row.get(5)?);
            if hidden == 1 {
                continue; // an argument of a virtual table
            }
            let affinity = Affinity::of(&declared, found.strict);
            let mut column = Column::new(row.get::<_, String>(0)?, affinity.kind(), declared);
            column.family = affinity.family().to_owned();
            let position: i64 = row.get(4)?;
            // Only ordinary tables let NULL into a primary key (a documented old bug of SQLite).
            let key_is_set = position > 0 && (found.without_rowid || found.strict);
            column.nullable = !row.get::<_, bool>(2)? && !key_is_set;
            column.has_default = row.get(3)?;
            column.generated = hidden > 1;
            if affinity.kind() == Kind::Int {
                (column.min, column.max) = (Some(i64::MIN), Some(i64::MAX as u64));
            }
            if found.kind == "table" {
                let data = self.db.column_metadata(
                    Some(self.schema),
                    found.name.as_str(),
                    column.name.as_str(),
                );
                column.collation = data?.1.map(|c| c.to_string_lossy().into_owned());
            }
            if position > 0 {
                key.push((position, column.name.clone()));
            }
            columns.push(column);
        }
        key.sort();
        Ok((columns, key.into_iter().map(|(_, name)| name).collect()))
    }

    fn indexes(&self, table: &str) -> rusqlite::Result<Vec<Index>> {
        let sql = "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1, ?2)";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params![table, self.schema])?;
        let mut indexes = Vec::new();
        while let Some(row) = rows.next()? {
            let origin: String = row.get(2)?;
            let mut index = Index {
                name: row.get(0)?,
                columns: Vec::new(),
                unique: row.get(1)?,
                primary: origin == "pk",
                partial: row.get(3)?,
                without_overlaps: false,
            };
            self.index_columns(table, &mut index)?;
            indexes.push(index);
        }
        Ok(indexes)
    }

    fn index_columns(&self, table: &str, index: &mut Index) -> rusqlite::Result<()> {
        let sql = "SELECT name, coll FROM pragma_index_xinfo(?1, ?2) WHERE key = 1 ORDER BY seqno";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params![index.name, self.schema])?;
        while let Some(row) = rows.next()? {
            let Some(name) = row.get::<_, Option<String>>(0)? else {
                index.partial = true; // an expression
                continue;
            };
            let data = self.db.column_metadata(Some(self.schema), table, name.as_str())?;
            let collation: Option<String> = row.get(1)?;
            let own = data.1.map(|c| c.to_string_lossy().into_owned());
            // Compared otherwise than the column itself: ON CONFLICT does not see it as the key.
            index.partial |= collation != own;
            index.columns.push(name);
        }
        Ok(())
    }

    fn foreign_keys(&self, table: &str) -> rusqlite::Result<Vec<ForeignKey>> {
        let sql = "SELECT ?1, \"table\", group_concat(\"from\", ', '), on_delete \
            FROM pragma_foreign_key_list(?1, ?2) GROUP BY id ORDER BY id DESC";
        let mut statement = self.db.prepare_cached(sql)?;
        statement.query_map(params![table, self.schema], foreign_key)?.collect()
    }

    fn referenced_by(&self, table: &str) -> rusqlite::Result<Vec<ForeignKey>> {
        let sql = "SELECT l.name, f.\"table\", group_concat(f.\"from\", ', '), f.on_delete \
            FROM pragma_table_list AS l, pragma_foreign_key_list(l.name, l.schema) AS f \
            WHERE l.schema = ?2 COLLATE NOCASE AND f.\"table\" = ?1 COLLATE NOCASE \
            GROUP BY l.name, f.id ORDER BY l.name, f.id DESC";
        let mut statement = self.db.prepare_cached(sql)?;
        statement.query_map(params![table, self.schema], foreign_key)?.collect()
    }

    fn triggers(&self, table: &str) -> rusqlite::Result<Vec<Trigger>> {
        let sql = format!(
            "SELECT name, sql FROM {}.sqlite_schema \
             WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY name",
            quoted(self.schema)
        );
        let trigger = |r: &rusqlite::Row<'_>| {
            Ok(Trigger { name: r.get(0)?, event: String::new(), body: r.get(1)? })
        };
        self.db.prepare_cached(&sql)?.query_map(params![table], trigger)?.collect()
    }

    /// The statements that made the table and its indexes, the table's first.
    fn definition(&self, table: &str) -> rusqlite::Result<Vec<String>> {
        let sql = format!(
            "SELECT sql FROM {}.sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE \
             AND type IN ('table', 'view', 'index') AND sql IS NOT NULL \
             ORDER BY type = 'index', name",
            quoted(self.schema)
        );
        self.db.prepare_cached(&sql)?.query_map(params![table], |r| r.get(0))?.collect()
    }
}

/// See [`super::super::Connection::referring`].
pub fn referring(db: &Database, table: &Table) -> rusqlite::Result<Vec<String>> {
    let mut parts = split_table_name(&table.name);
    let plain = parts.pop().unwrap_or_default();
    let schema = parts.pop().unwrap_or_else(|| "main".to_owned());
    let sql = "SELECT l.name, group_concat('\"' || replace(f.\"from\", '\"', '\"\"') || \
        '\" IS NOT NULL', ' AND ') \
        FROM pragma_table_list AS l, pragma_foreign_key_list(l.name, l.schema) AS f \
        WHERE l.schema = ?2 COLLATE NOCASE AND f.\"table\" = ?1 COLLATE NOCASE \
        AND l.name <> ?1 COLLATE NOCASE GROUP BY l.name, f.id ORDER BY l.name";
    let mut statement = db.prepare_cached(sql)?;
    let keys = statement.query_map(params![plain, schema], |r| {
        Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))
    })?;
    let mut found = Vec::new();
    for key in keys {
        let (child, set) = key?;
        let sql = format!("SELECT 1 FROM {}.{} WHERE {set}", quoted(&schema), quoted(&child));
        if db.query_row(&sql, [], |_| Ok(())).optional()?.is_some() && !found.contains(&child) {
            found.push(child);
        }
    }
    Ok(found)
}

fn foreign_key(row: &rusqlite::Row<'_>) -> rusqlite::Result<ForeignKey> {
    let (child, parent): (String, String) = (row.get(0)?, row.get(1)?);
    let on_delete: String = row.get(3)?;
    Ok(ForeignKey {
        // SQLite keeps no names of constraints.
        name: format!("{child} ({})", row.get::<_, String>(2)?),
        child,
        parent,
        cascades: !matches!(on_delete.as_str(), "NO ACTION" | "RESTRICT"),
        deletes: !matches!(on_delete.as_str(), "NO ACTION" | "RESTRICT"),
    })
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
