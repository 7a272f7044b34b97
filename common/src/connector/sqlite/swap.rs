//! The last look at two tables before one takes the other's place.

use std::path::Path;

use rusqlite::{Connection as Database, OptionalExtension};

use super::super::{Dialect, split_table_name, swapping};
use super::dialect::{SqliteDialect, shadow_index};
use super::{ddl, describe, errors};
use crate::error::Result;
use crate::schema::Table;

/// See [`super::super::Connection::ready_to_swap`]. Indexes of `table` are those that the swap makes
/// anew, by its description: none may have come or gone since.
pub fn ready(db: &Database, file: &Path, new: &str, table: &Table) -> Result<Vec<String>> {
    let current = describe::describe(db, file, "", &table.name)?
        .ok_or_else(|| swapping::gone(table, &table.name))?;
    let loaded =
        describe::describe(db, file, "", new)?.ok_or_else(|| swapping::gone(table, new))?;
    let mut obstacles = swapping::obstacles(&current, &loaded, false);
    let (known, now) = (ddl::indexes_of(table)?, ddl::indexes_of(&current)?);
    let mut named: Vec<&str> = Vec::new();
    for (these, those) in [(&known, &now), (&now, &known)] {
        let other = these.iter().filter(|i| !those.contains(i)).map(|i| i.name.as_str());
        for name in other.filter(|name| !named.contains(name)).collect::<Vec<_>>() {
            obstacles.push(format!("index {name} of {} is not what it was", table.name));
            named.push(name);
        }
    }
    let wanted: Vec<String> =
        known.iter().filter(|i| i.unique).map(|i| shadow_index(new, &i.name)).collect();
    let made = ddl::indexes_of(&loaded)?;
    for index in made.iter().filter(|i| !wanted.contains(&i.name)) {
        obstacles.push(format!("index {} is on {new} alone", index.name));
    }
    for name in wanted.iter().filter(|name| !made.iter().any(|i| i.name == **name)) {
        obstacles.push(format!("index {name} of {new} is gone"));
    }
    if obstacles.is_empty() && ddl::body_of(&current)? != ddl::body_of(&loaded)? {
        obstacles.push("the statements that made the two tables differ".to_owned());
    }
    swapping::refuse(table, new, obstacles)?;
    next_number(db, new, table).map_err(|e| errors::failure(file, e))
}

/// What the highest number given by AUTOINCREMENT must become.
fn next_number(db: &Database, new: &str, table: &Table) -> rusqlite::Result<Vec<String>> {
    let mut schema = split_table_name(&table.name);
    let plain = schema.pop().unwrap_or_default();
    let schema = SqliteDialect.quote(schema.first().map_or("main", String::as_str));
    let counts = db
        .query_row(
            &format!("SELECT 1 FROM {schema}.sqlite_schema WHERE name = 'sqlite_sequence'"),
            [],
            |_| Ok(()),
        )
        .optional()?;
    if counts.is_none() {
        return Ok(Vec::new());
    }
    let highest = |name: &str| {
        let sql =
            format!("SELECT MAX(seq) FROM {schema}.sqlite_sequence WHERE name = ?1 COLLATE NOCASE");
        db.query_row(&sql, [name], |r| r.get::<_, Option<i64>>(0))
    };
    let shadow = split_table_name(new).pop().unwrap_or_default();
    let Some(given) = highest(&plain)? else { return Ok(Vec::new()) };
    let text = format!("'{}'", shadow.replace('\'', "''"));
    Ok(match highest(&shadow)? {
        Some(loaded) if loaded >= given => Vec::new(),
        Some(_) => {
            vec![format!("UPDATE {schema}.sqlite_sequence SET seq = {given} WHERE name = {text}")]
        }
        None => vec![format!(
            "INSERT INTO {schema}.sqlite_sequence (name, seq) VALUES ({text}, {given})"
        )],
    })
}
