//! What an account may do. Statements about rows are prepared: the server then looks at grammar, names
//! and privileges, roles and columns included, and does nothing. Preparing says nothing of privileges
//! on definitions, so that those are read from the grants.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::super::{Dialect, Need, Privilege, split_table_name};
use super::connect::Server;
use super::dialect::MySqlDialect;
use super::{describe, errors};
use crate::error::{Error, Kind as ErrorKind, Result};

/// "This command is not supported in the prepared statement protocol yet".
const NOT_PREPARABLE: u16 = 1295;

/// See [`super::super::Connection::missing`].
pub(super) fn missing(conn: &mut Conn, server: &Server, needs: &[Need]) -> Result<Vec<String>> {
    let mut gaps = Vec::new();
    let mut grants = None;
    for need in needs {
        let Need { privilege, table, .. } = need;
        if let Privilege::Drop | Privilege::Alter = privilege {
            let grants = match &mut grants {
                Some(grants) => grants,
                none => none.insert(all_grants(conn, server)?),
            };
            let (schema, name) = describe::place(conn, table)?;
            if !grants.iter().any(|grant| gives(grant, &privilege.to_string(), &schema, &name)) {
                gaps.push(format!("The account may not {privilege} on {schema}.{name}."));
            }
            continue;
        }
        let sql = probe(conn, server, need)?;
        if let Some(error) = refused(conn, &sql)? {
            gaps.push(format!("The account may not {privilege} on {table} ({}).", error.message));
        }
    }
    Ok(gaps)
}

/// A statement that needs just this, and would change nothing were it run (or is prepared only). The
/// table need not be there: the server looks at privileges first.
fn probe(conn: &mut Conn, server: &Server, need: &Need) -> Result<String> {
    let dialect = MySqlDialect;
    let quoted = dialect.table(&need.table);
    Ok(match need.privilege {
        Privilege::Select => format!("SELECT * FROM {quoted} LIMIT 0"),
        Privilege::Insert => format!("INSERT INTO {quoted} VALUES ()"),
        Privilege::Delete => format!("DELETE FROM {quoted} WHERE 1=0"),
        Privilege::Update => {
            let known = &mut describe::ForeignKeys::default();
            let found = match need.column {
                Some(_) => None,
                None => describe::describe(conn, server, known, &need.table)?,
            };
            let first = found.as_ref().and_then(|t| t.columns.iter().find(|c| !c.generated));
            let column = need.column.as_deref().or(first.map(|c| c.name.as_str())).unwrap_or("id");
            let column = dialect.quote(column);
            format!("UPDATE {quoted} SET {column}={column} WHERE 1=0")
        }
        Privilege::Create | Privilege::Drop | Privilege::Alter => {
            format!("CREATE TABLE {quoted} (a int)")
        }
    })
}

/// Prepares a statement; the refusal, if the account may not run it.
fn refused(conn: &mut Conn, sql: &str) -> Result<Option<Error>> {
    match would_take(conn, sql)? {
        Some(Err(e)) if e.kind == ErrorKind::Privilege => Ok(Some(e)),
        _ => Ok(None),
    }
}

/// See [`super::super::Connection::would_take`].
pub(super) fn would_take(conn: &mut Conn, sql: &str) -> Result<Option<Result<()>>> {
    match conn.prep(sql) {
        Ok(statement) => {
            conn.close(statement).map_err(|e| errors::from_driver(&e))?;
            Ok(Some(Ok(())))
        }
        Err(mysql::Error::MySqlError(e)) if e.code == NOT_PREPARABLE => Ok(None),
        Err(e) => match errors::from_driver(&e) {
            e if matches!(e.kind, ErrorKind::Lost | ErrorKind::Contention) => Err(e),
            e => Ok(Some(Err(e))),
        },
    }
}

/// What was granted to the account, to everybody, and to the roles that its sessions have.
fn all_grants(conn: &mut Conn, server: &Server) -> Result<Vec<String>> {
    let mut grants = grants(conn)?;
    // MariaDB shows a session's role by itself, and knows a role that everybody has.
    let more = match server.mariadb {
        true => Some("SHOW GRANTS FOR PUBLIC".to_owned()),
        false => conn
            .query_first::<String, _>("SELECT CURRENT_ROLE()")
            .ok()
            .flatten()
            .filter(|roles| roles != "NONE")
            .map(|roles| format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}")),
    };
    // Servers that have none of that refuse it.
    if let Some(more) = more
        && let Ok(more) = conn.query::<String, _>(more)
    {
        grants.extend(more);
    }
    Ok(grants)
}

fn grants(conn: &mut Conn) -> Result<Vec<String>> {
    conn.query("SHOW GRANTS").map_err(|e| errors::from_driver(&e))
}

/// Whether the account would see a trigger of the table if there were one: without the privilege
/// the server shows none. In doubt (a role, a pattern) yes.
pub(super) fn sees_triggers(conn: &mut Conn, schema: &str, table: &str) -> Result<bool> {
    Ok(grants(conn)?
        .iter()
        .any(|grant| is_of_a_role(grant) || gives(grant, "TRIGGER", schema, table)))
}

/// Whether the table may have triggers that the account is not shown. In doubt about a role yes.
pub(super) fn hides_triggers(conn: &mut Conn, schema: &str, table: &str) -> Result<bool> {
    Ok(!grants(conn)?.iter().any(|grant| gives(grant, "TRIGGER", schema, table)))
}

/// Whether the line gives a role, and no privilege.
fn is_of_a_role(grant: &str) -> bool {
    grant.starts_with("GRANT ") && !grant.contains(" ON ")
}

/// Whether the line gives this privilege on the whole table.
fn gives(grant: &str, privilege: &str, schema: &str, table: &str) -> bool {
    let Some((privileges, rest)) =
        grant.strip_prefix("GRANT ").and_then(|grant| grant.split_once(" ON "))
    else {
        return false;
    };
    let has = privileges
        .split(',')
        .any(|p| p.trim() == privilege || matches!(p.trim(), "ALL PRIVILEGES" | "ALL"));
    let scope = rest.split(" TO ").next().unwrap_or_default();
    // `db`.`table`, wildcards of the database's name escaped.
    let names = split_table_name(scope);
    let [on_schema, on_table] = names.as_slice() else { return has };
    let fits_schema = on_schema == "*"
        || on_schema.contains('%')
        || on_schema.replace('\\', "").eq_ignore_ascii_case(schema);
    has && fits_schema && (on_table == "*" || on_table.eq_ignore_ascii_case(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_for_what_they_give() {
        for (grant, has) in [
            ("GRANT ALL PRIVILEGES ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD 'x'", true),
            ("GRANT SELECT, INSERT, TRIGGER ON `my\\_db`.* TO `u`@`%`", true),
            ("GRANT SELECT, TRIGGER ON `my_db`.`t` TO 'u'@'%'", true),
            ("GRANT SELECT, TRIGGER ON `my_db`.`other` TO 'u'@'%'", false),
            ("GRANT SELECT, TRIGGER ON `other`.* TO 'u'@'%'", false),
            ("GRANT SELECT, INSERT ON `my_db`.* TO 'u'@'%'", false),
            ("GRANT SELECT (a, TRIGGER ), INSERT ON `my_db`.* TO 'u'@'%'", false),
            ("GRANT USAGE ON *.* TO 'u'@'%'", false),
            ("GRANT `role` TO `u`@`%`", false),
        ] {
            assert_eq!(gives(grant, "TRIGGER", "my_db", "t"), has, "{grant}");
        }
        assert!(is_of_a_role("GRANT `role` TO `u`@`%`"));
        assert!(!is_of_a_role("GRANT USAGE ON *.* TO 'u'@'%'"));
    }
}
