//! A table's structure, from information_schema, in terms that every database shares.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Value};

use super::super::{Dialect, split_table_name};
use super::connect::Server;
use super::dialect::MySqlDialect;
use super::{errors, privileges, types};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, ForeignKey, Index, Table, Trigger};

/// Age beyond which what is the same for all tables is asked for again.
const AGE_MAX: Duration = Duration::from_secs(10);

/// Where a table stands: its schema and its own name.
pub(super) fn place(conn: &mut Conn, name: &str) -> Result<(String, String)> {
    let mut parts = split_table_name(name);
    let fault = || Error::new(ErrorKind::Config, format!("{name} is not a table name"));
    let table = parts.pop().filter(|t| !t.is_empty()).ok_or_else(fault)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(schema), true) => Ok((schema, table)),
        (None, _) => {
            let current: Option<Option<String>> =
                conn.query_first("SELECT DATABASE()").map_err(|e| errors::from_driver(&e))?;
            let none = || {
                Error::new(ErrorKind::Config, format!("{name}: the link names no database"))
                    .hint("Put the database into the link's URL, or write database.table.")
            };
            Ok((current.flatten().ok_or_else(none)?, table))
        }
        _ => Err(fault()),
    }
}

/// The table, or `None` when there is none of that name. Its server is for the caller to fill in.
pub(super) fn describe(
    conn: &mut Conn,
    server: &Server,
    known: &mut Known,
    name: &str,
) -> Result<Option<Table>> {
    let (schema, table) = place(conn, name)?;
    let mut ask =
        Asking { conn, schema: &schema, table: &table, case_matters: server.case_matters };
    let found = ask.rows(
        "TABLE_TYPE, ENGINE, TABLE_SCHEMA, TABLE_NAME",
        "TABLES",
        ["TABLE_SCHEMA", "TABLE_NAME"],
        "1",
    )?;
    let Some([table_type, engine, its_schema, its_name]) = found.first().map(Vec::as_slice) else {
        return Ok(None);
    };
    let full_name = format!("{}.{}", text(its_schema), text(its_name));
    let is_view = text(table_type).ends_with("VIEW");
    let is_versioned = text(table_type) == "SYSTEM VERSIONED";
    let engine = text(engine);
    let columns = columns(&mut ask)?;
    let mut indexes = indexes(&mut ask)?;
    if server.mariadb && !is_view {
        find_periods(&mut ask, &columns, &mut indexes)?;
    }
    let (foreign_keys, referenced_by) = known.foreign_keys(&mut ask)?;
    let triggers = triggers(&mut ask)?;
    let grants = known.grants(ask.conn, server)?;
    let hides_triggers = privileges::hides_triggers(grants, server, &schema, &table);
    Ok(Some(Table {
        name: name.to_owned(),
        full_name,
        server: String::new(),
        columns,
        indexes,
        foreign_keys,
        referenced_by,
        triggers,
        hides_triggers,
        transactional: engine.eq_ignore_ascii_case("InnoDB"),
        engine: if is_view { "view".to_owned() } else { engine },
        is_view,
        is_versioned,
        address: None,
        definition: Vec::new(),
    }))
}

struct Asking<'a> {
    conn: &'a mut Conn,
    schema: &'a str,
    table: &'a str,
    case_matters: bool,
}

impl Asking<'_> {
    /// What information_schema says of the table in `place`, its columns for schema and table.
    fn rows(
        &mut self,
        columns: &str,
        from: &str,
        place: [&str; 2],
        order: &str,
    ) -> Result<Vec<Vec<Value>>> {
        let [schema, table] = place;
        let mut sql = format!(
            "SELECT {columns} FROM information_schema.{from} \
             WHERE {schema} = ? AND {table} = ?"
        );
        let mut params = vec![Value::from(self.schema), Value::from(self.table)];
        if self.case_matters {
            // information_schema compares without case, these tables do not.
            sql.push_str(&format!(" AND CAST({table} AS BINARY) = CAST(? AS BINARY)"));
            params.push(Value::from(self.table));
        }
        let rows: Vec<mysql::Row> = self
            .conn
            .exec(format!("{sql} ORDER BY {order}"), params)
            .map_err(|e| errors::from_driver(&e))?;
        Ok(rows.into_iter().map(mysql::Row::unwrap).collect())
    }
}

fn columns(ask: &mut Asking<'_>) -> Result<Vec<Column>> {
    let rows = ask.rows(
        "COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, \
         CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, \
         CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, COLUMN_DEFAULT",
        "COLUMNS",
        ["TABLE_SCHEMA", "TABLE_NAME"],
        "ORDINAL_POSITION",
    )?;
    rows.iter()
        .map(|row| {
            let cell = |i: usize| row.get(i).unwrap_or(&Value::NULL);
            let family = text(cell(1)).to_ascii_lowercase();
            let declared = text(cell(2));
            let unsigned = declared.to_ascii_lowercase().contains("unsigned");
            let name = text(cell(0));
            let kind = types::kind_of(&family, unsigned).ok_or_else(|| {
                Error::new(
                    ErrorKind::Refused,
                    format!("column {name} of {} has the unknown type {declared}", ask.table),
                )
                .column(&name)
            })?;
            let mut column = Column::new(name, kind, declared);
            let extra = text(cell(11)).to_ascii_lowercase();
            column.nullable = text(cell(3)) == "YES";
            column.charset = option(cell(9));
            column.collation = option(cell(10));
            widths(&mut column, &family, cell(4), cell(5));
            if let Some((min, max)) = types::range_of(&family, unsigned) {
                (column.min, column.max) = (Some(min), Some(max));
            }
            match family.as_str() {
                "decimal" => {
                    column.precision = number(cell(6)).map(|n| n as u32);
                    column.scale = number(cell(7)).map(|n| n as u32);
                }
                "bit" => {
                    column.precision = number(cell(6)).map(|n| n as u32);
                    column.max_bytes = number(cell(6)).map(|n| n.div_ceil(8));
                }
                "datetime" | "timestamp" | "time" => {
                    column.scale = Some(number(cell(8)).map_or(0, |n| n as u32));
                }
                "enum" | "set" => column.members = types::members_of(&column.declared),
                _ => {}
            }
            // MySQL 8 marks defaults that are expressions DEFAULT_GENERATED.
            column.generated = ["virtual", "persistent", "stored generated"]
                .iter()
                .any(|mark| extra.contains(mark));
            column.auto_increment = extra.contains("auto_increment");
            column.on_update_now = extra.contains("on update");
            column.has_default = column.nullable
                || column.auto_increment
                || column.generated
                || extra.contains("default_generated")
                || *cell(12) != Value::NULL;
            column.family = family;
            Ok(column)
        })
        .collect()
}

fn widths(column: &mut Column, family: &str, chars: &Value, bytes: &Value) {
    match family {
        "char" | "varchar" => {
            column.max_chars = number(chars);
            column.max_bytes = number(bytes);
        }
        // Their limit is in bytes, whatever the number of characters says.
        "tinytext" | "text" | "mediumtext" | "longtext" | "binary" | "varbinary" | "tinyblob"
        | "blob" | "mediumblob" | "longblob" => column.max_bytes = number(bytes),
        "uuid" => column.max_chars = Some(36),
        "inet6" => column.max_chars = Some(39),
        "inet4" => column.max_chars = Some(15),
        _ => {}
    }
}

fn indexes(ask: &mut Asking<'_>) -> Result<Vec<Index>> {
    let rows = ask.rows(
        "INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART",
        "STATISTICS",
        ["TABLE_SCHEMA", "TABLE_NAME"],
        "INDEX_NAME, SEQ_IN_INDEX",
    )?;
    let mut indexes = BTreeMap::<(bool, String), Index>::new();
    for row in &rows {
        let [name, non_unique, column, prefix] = row.as_slice() else { continue };
        let name = text(name);
        let primary = name == "PRIMARY";
        let index = indexes.entry((!primary, name.clone())).or_insert_with(|| Index {
            name,
            columns: Vec::new(),
            unique: number(non_unique) == Some(0),
            primary,
            partial: false,
            without_overlaps: false,
        });
        // An expression has no column name.
        index.partial |= *prefix != Value::NULL || *column == Value::NULL;
        index.columns.push(text(column));
    }
    Ok(indexes.into_values().collect())
}

/// Which indexes forbid periods that overlap. Only the table's own statement shows that; it is asked
/// for where an index could be one, by the two times at its end.
fn find_periods(ask: &mut Asking<'_>, columns: &[Column], indexes: &mut [Index]) -> Result<()> {
    let is_time = |name: &String| {
        let found = columns.iter().find(|c| c.name == *name);
        found.is_some_and(|c| matches!(c.family.as_str(), "date" | "datetime" | "timestamp"))
    };
    let could_be = |i: &Index| i.unique && i.columns.iter().filter(|c| is_time(c)).count() > 1;
    if !indexes.iter().any(could_be) {
        return Ok(());
    }
    let made_by = create_statement(ask.conn, ask.schema, ask.table)?;
    for line in made_by.lines().filter(|line| line.contains(" WITHOUT OVERLAPS)")) {
        let line = line.trim_start();
        for index in indexes.iter_mut() {
            let name = format!("UNIQUE KEY {} (", MySqlDialect.quote(&index.name));
            index.without_overlaps |=
                line.starts_with(&name) || index.primary && line.starts_with("PRIMARY KEY (");
        }
    }
    Ok(())
}

/// The statement that makes the table, by the server itself.
pub(super) fn create_statement(conn: &mut Conn, schema: &str, table: &str) -> Result<String> {
    let d = MySqlDialect;
    let sql = format!("SHOW CREATE TABLE {}.{}", d.quote(schema), d.quote(table));
    let row: Option<mysql::Row> = conn.query_first(sql).map_err(|e| errors::from_driver(&e))?;
    Ok(row.and_then(|row| row.unwrap().get(1).map(text)).unwrap_or_default())
}

/// What a server answers alike for all its tables. Each is kept for a while: a task of many small
/// tables would have the server find it out for each of them.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The foreign keys that the account may see: those of tables it has some privilege on. To find
    /// the few that refer to one table the server opens every table there is.
    constraints: Option<(Instant, Vec<Constraint>)>,
    /// See [`privileges::all_grants`].
    grants: Option<(Instant, Vec<String>)>,
}

#[derive(Debug)]
struct Constraint {
    name: String,
    /// Schema and name.
    child: [String; 2],
    parent: [String; 2],
    cascades: bool,
    deletes: bool,
}

impl Known {
    fn grants(&mut self, conn: &mut Conn, server: &Server) -> Result<&[String]> {
        kept(&mut self.grants, || privileges::all_grants(conn, server))
    }

    /// Those that the table has, and those that refer to it.
    fn foreign_keys(&mut self, ask: &mut Asking<'_>) -> Result<(Vec<ForeignKey>, Vec<ForeignKey>)> {
        let constraints = kept(&mut self.constraints, || constraints(ask.conn))?;
        let is_it = |[schema, table]: &[String; 2]| match ask.case_matters {
            true => schema == ask.schema && table == ask.table,
            false => {
                schema.to_lowercase() == ask.schema.to_lowercase()
                    && table.to_lowercase() == ask.table.to_lowercase()
            }
        };
        let named = |[schema, table]: &[String; 2]| match schema == ask.schema {
            true => table.clone(),
            false => format!("{schema}.{table}"),
        };
        let shown = |c: &Constraint| ForeignKey {
            name: c.name.clone(),
            child: named(&c.child),
            parent: named(&c.parent),
            cascades: c.cascades,
            deletes: c.deletes,
        };
        Ok((
            constraints.iter().filter(|c| is_it(&c.child)).map(shown).collect(),
            constraints.iter().filter(|c| is_it(&c.parent)).map(shown).collect(),
        ))
    }
}

/// What is kept, asked for again where it is too old.
fn kept<T>(
    kept: &mut Option<(Instant, Vec<T>)>,
    ask: impl FnOnce() -> Result<Vec<T>>,
) -> Result<&[T]> {
    match kept.take() {
        Some((since, known)) if since.elapsed() < AGE_MAX => Ok(&kept.insert((since, known)).1),
        _ => Ok(&kept.insert((Instant::now(), ask()?)).1),
    }
}

fn constraints(conn: &mut Conn) -> Result<Vec<Constraint>> {
    let rows: Vec<mysql::Row> = conn
        .query(
            "SELECT CONSTRAINT_NAME, CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, \
             REFERENCED_TABLE_NAME, UPDATE_RULE, DELETE_RULE \
             FROM information_schema.REFERENTIAL_CONSTRAINTS ORDER BY CONSTRAINT_NAME",
        )
        .map_err(|e| errors::from_driver(&e))?;
    let acts = |rule: &Value| !matches!(text(rule).as_str(), "RESTRICT" | "NO ACTION");
    Ok(rows
        .into_iter()
        .map(mysql::Row::unwrap)
        .filter(|row| row.len() == 7)
        .map(|row| Constraint {
            name: text(&row[0]),
            child: [text(&row[1]), text(&row[2])],
            parent: [text(&row[3]), text(&row[4])],
            cascades: acts(&row[5]) || acts(&row[6]),
            deletes: acts(&row[6]),
        })
        .collect())
}

/// See [`super::super::Connection::referring`].
pub(super) fn referring(conn: &mut Conn, name: &str) -> Result<Vec<String>> {
    let (schema, table) = place(conn, name)?;
    let rows: Vec<(String, String, String, String)> = conn
        .exec(
            "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME \
             FROM information_schema.KEY_COLUMN_USAGE \
             WHERE REFERENCED_TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME = ? \
             AND (TABLE_SCHEMA <> REFERENCED_TABLE_SCHEMA OR TABLE_NAME <> REFERENCED_TABLE_NAME)",
            (&schema, &table),
        )
        .map_err(|e| errors::from_driver(&e))?;
    let d = MySqlDialect;
    let mut keys = BTreeMap::<[String; 3], Vec<String>>::new();
    for (name, child_schema, child, column) in rows {
        let set = format!("{} IS NOT NULL", d.quote(&column));
        keys.entry([child_schema, child, name]).or_default().push(set);
    }
    let mut found = Vec::new();
    for ([child_schema, child, _], set) in keys {
        let sql = format!(
            "SELECT 1 FROM {}.{} WHERE {} LIMIT 1",
            d.quote(&child_schema),
            d.quote(&child),
            set.join(" AND ")
        );
        // Whoever may not look there learns nothing.
        if let Ok(Some(1)) = conn.query_first::<i64, _>(sql)
            && !found.contains(&child)
        {
            found.push(child);
        }
    }
    Ok(found)
}

fn triggers(ask: &mut Asking<'_>) -> Result<Vec<Trigger>> {
    let rows = ask.rows(
        "TRIGGER_NAME, EVENT_MANIPULATION, ACTION_STATEMENT",
        "TRIGGERS",
        ["EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE"],
        "TRIGGER_NAME",
    )?;
    Ok(rows
        .iter()
        .filter(|row| row.len() == 3)
        .map(|row| Trigger { name: text(&row[0]), event: text(&row[1]), body: text(&row[2]) })
        .collect())
}

fn option(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        other => Some(text(other)),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        _ => String::new(),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(n) => u64::try_from(*n).ok(),
        Value::UInt(n) => Some(*n),
        Value::Bytes(_) => text(value).parse().ok(),
        _ => None,
    }
}
