//! What `ssync check` asks a server: may the account do its work.

use super::super::Dialect;
use super::connect::{Server, ask, text};
use super::dialect::ORACLE;
use super::driver::Driver;
use super::{describe, errors};
use crate::error::Result;
use crate::ledger::{FENCE_TABLE, LEDGER_TABLE};

/// See [`super::super::Connection::access_gaps`]. Leaves no transaction open and changes nothing.
pub(super) fn access_gaps(
    driver: &mut dyn Driver,
    server: &Server,
    table: &str,
    dest: bool,
    status: bool,
) -> Result<Vec<String>> {
    let mut gaps = Vec::new();
    let Some(described) = describe::describe(driver, server, table)? else {
        return Ok(vec![format!("There is no table {table}, or the account may not see it.")]);
    };
    let quoted = ORACLE.table(table);
    let (owner, _) = describe::place(server, table)?;
    // One's own tables need no privilege.
    if owner != server.schema {
        let plain = |c: &&crate::schema::Column| !c.generated && !c.family.starts_with("long");
        let mut statements = Vec::new();
        if let Some(column) = described.columns.iter().find(plain) {
            let name = ORACLE.quote(&column.name);
            if dest {
                statements.push((
                    "INSERT",
                    format!(
                        "INSERT INTO {quoted} ({name}) SELECT {name} FROM {quoted} WHERE 1 = 0"
                    ),
                ));
                statements.push(("DELETE", format!("DELETE FROM {quoted} WHERE 1 = 0")));
            }
            if dest || status {
                let set = match described.column(crate::config::SYNC_STATUS) {
                    Some(c) if status => ORACLE.quote(&c.name),
                    _ => name,
                };
                statements
                    .push(("UPDATE", format!("UPDATE {quoted} SET {set} = {set} WHERE 1 = 0")));
            }
        }
        for (privilege, sql) in statements {
            if let Err(failure) = driver.execute(&sql, &[], &[Vec::new()]) {
                let error = errors::from_call(&failure);
                if error.kind == crate::error::Kind::Lost {
                    return Err(error);
                }
                gaps.push(format!(
                    "The account may not {privilege} on {table} ({}).",
                    error.message
                ));
            }
        }
        driver.rollback().map_err(|f| errors::from_call(&f))?;
    }
    let select = format!("SELECT 1 FROM {quoted} WHERE 1 = 0");
    if let Err(error) = ask(driver, &select, &[]) {
        if error.kind == crate::error::Kind::Lost {
            return Err(error);
        }
        gaps.push(format!("The account may not SELECT on {table} ({}).", error.message));
    }
    if dest && !described.is_view && !described.transactional {
        gaps.push(format!("{table} is a {}, which keeps no rows for others.", described.engine));
    }
    if dest || status {
        let role = ask(driver, "SELECT SYS_CONTEXT('USERENV', 'DATABASE_ROLE') FROM DUAL", &[])?;
        let role = role.first().and_then(|row| row.first()).map(text).unwrap_or_default();
        if !role.is_empty() && role != "PRIMARY" {
            gaps.push(format!(
                "The database is a {}, and open for reading only.",
                role.to_lowercase()
            ));
        }
    }
    if dest {
        own_table_gaps(driver, server, &mut gaps)?;
        if !server.is_unicode() {
            gaps.push(format!(
                "The database's character set is {}: rows with text beyond ASCII for national columns \
                 (NCHAR, NVARCHAR2, NCLOB) are refused.",
                server.charset
            ));
        }
    }
    Ok(gaps)
}

/// What stands against making ssync's own tables.
fn own_table_gaps(driver: &mut dyn Driver, server: &Server, gaps: &mut Vec<String>) -> Result<()> {
    let mut missing = false;
    for table in [FENCE_TABLE, LEDGER_TABLE] {
        missing |= describe::describe(driver, server, table)?.is_none();
    }
    if missing {
        let privileges = ask(driver, "SELECT PRIVILEGE FROM SESSION_PRIVS", &[])?;
        let may = privileges
            .iter()
            .filter_map(|row| row.first())
            .any(|p| matches!(text(p).as_str(), "CREATE TABLE" | "CREATE ANY TABLE"));
        if !may {
            gaps.push(format!(
                "The account may not CREATE TABLE, so that {FENCE_TABLE} and {LEDGER_TABLE} cannot \
                 be made in {}.",
                server.schema
            ));
        }
    }
    Ok(())
}
