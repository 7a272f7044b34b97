//! What `ssync check` asks a server: may the account do its work.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::super::{Dialect, Gap, Need, Privilege};
use super::connect::{Server, ask, text};
use super::dialect::ORACLE;
use super::driver::{BindType, Cell, Driver};
use super::{describe, errors};
use crate::error::{Kind as ErrorKind, Result};
use crate::ledger::{self, Place};
use crate::schema::Column;

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
    let (owner, _) = describe::place(server, table)?;
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
        own_table_gaps(driver, server, &Place::beside(table), &owner, &mut gaps)?;
    }
    Ok(gaps)
}

/// See [`super::super::Connection::drawbacks`].
pub(super) fn drawbacks(server: &Server) -> Vec<String> {
    let charset = (!server.is_unicode()).then(|| {
        format!(
            "The database's character set is {}: rows with text beyond ASCII for national columns \
             (NCHAR, NVARCHAR2, NCLOB) are refused.",
            server.charset
        )
    });
    charset.into_iter().collect()
}

/// See [`super::super::Connection::missing`]. Leaves no transaction open and changes nothing. [`access_gaps`]
/// finds out whether the account may create ssync's own tables, and says what to run.
pub(super) fn missing(
    driver: &mut dyn Driver,
    server: &Server,
    needs: &[Need],
) -> Result<Vec<Gap>> {
    let mut gaps = Vec::new();
    for need in needs {
        let Need { privilege, table, column } = need;
        let (owner, _) = describe::place(server, table)?;
        let is_own = owner == server.schema;
        let quoted = ORACLE.table(table);
        let refusal = match privilege {
            // One's own tables need no privilege.
            Privilege::Drop if !is_own && !privileges(driver)?.contains("DROP ANY TABLE") => {
                Some("DROP ANY TABLE was not granted".to_owned())
            }
            Privilege::Create | Privilege::Drop | Privilege::Alter => None,
            // ssync's own tables may be made yet.
            Privilege::Select if describe::describe(driver, server, table)?.is_none() => None,
            Privilege::Select => {
                let select = format!("SELECT 1 FROM {quoted} WHERE 1 = 0");
                refusal(ask(driver, &select, &[]).map(drop))?
            }
            _ if is_own => None,
            Privilege::Insert | Privilege::Update | Privilege::Delete => {
                let Some(described) = describe::describe(driver, server, table)? else { continue };
                let plain = |c: &&Column| !c.generated && !c.family.starts_with("long");
                let first = described.columns.iter().find(plain).map(|c| c.name.clone());
                let Some(name) = column.clone().or(first).map(|c| ORACLE.folded(&c)) else {
                    continue;
                };
                let sql = match privilege {
                    Privilege::Insert => format!(
                        "INSERT INTO {quoted} ({name}) SELECT {name} FROM {quoted} WHERE 1 = 0"
                    ),
                    Privilege::Update => {
                        format!("UPDATE {quoted} SET {name} = {name} WHERE 1 = 0")
                    }
                    _ => format!("DELETE FROM {quoted} WHERE 1 = 0"),
                };
                let done = driver.execute(&sql, &[], &[Vec::new()]);
                let refusal = refusal(done.map(drop).map_err(|f| errors::from_call(&f)))?;
                driver.rollback().map_err(|f| errors::from_call(&f))?;
                refusal
            }
        };
        gaps.extend(refusal.map(|why| Gap {
            text: format!("The account may not {privilege} on {table} ({why})."),
            hint: None,
        }));
    }
    Ok(gaps)
}

/// Has the server parse a statement, and do no more: what [`is_about_rows`] is not run before
/// DBMS_SQL.EXECUTE (Oracle Database PL/SQL Packages and Types Reference, "DBMS_SQL": definitions
/// alone are run by PARSE).
///
/// [`is_about_rows`]: super::super::is_about_rows
const PARSE: &str = "DECLARE c INTEGER := DBMS_SQL.OPEN_CURSOR; \
    BEGIN DBMS_SQL.PARSE(c, :1, DBMS_SQL.NATIVE); DBMS_SQL.CLOSE_CURSOR(c); \
    EXCEPTION WHEN OTHERS THEN DBMS_SQL.CLOSE_CURSOR(c); RAISE; END;";
/// Bytes of a PL/SQL string.
const PARSED_BYTES_MAX: usize = 32_767;

/// See [`super::super::Connection::would_take`].
pub(super) fn would_take(driver: &mut dyn Driver, sql: &str) -> Result<Option<Result<()>>> {
    if sql.len() > PARSED_BYTES_MAX {
        return Ok(None);
    }
    let row = vec![Cell::Text(Cow::Borrowed(sql))];
    match driver.execute(PARSE, &[BindType::Text], &[row]).map_err(|f| errors::from_call(&f)) {
        Ok(_) => Ok(Some(Ok(()))),
        Err(e) if matches!(e.kind, ErrorKind::Lost | ErrorKind::Contention) => Err(e),
        // Hardened servers take the package away from everybody.
        Err(e) if e.message.contains("'DBMS_SQL' must be declared") => Ok(None),
        Err(e) => Ok(Some(Err(e))),
    }
}

/// What the database has against a statement.
fn refusal(done: Result<()>) -> Result<Option<String>> {
    match done {
        Ok(()) => Ok(None),
        Err(e) if e.kind == ErrorKind::Lost => Err(e),
        Err(e) => Ok(Some(e.message)),
    }
}

fn privileges(driver: &mut dyn Driver) -> Result<BTreeSet<String>> {
    let rows = ask(driver, "SELECT PRIVILEGE FROM SESSION_PRIVS", &[])?;
    Ok(rows.iter().filter_map(|row| row.first()).map(text).collect())
}

/// See [`super::super::Connection::durability_gap`]. The session was told to wait for each commit
/// until it is on disk, and would not have opened had the server refused. Whether that still holds
/// is read back where the account may see `V$PARAMETER`; most may not, and then the server's word is
/// all there is.
pub(super) fn durability_gap(driver: &mut dyn Driver) -> Result<Option<String>> {
    let sql = "SELECT VALUE FROM V$PARAMETER WHERE NAME = 'commit_wait'";
    match ask(driver, sql, &[]) {
        Ok(rows) => {
            let wait = rows.first().and_then(|row| row.first()).map(text).unwrap_or_default();
            Ok(gap_of(&wait))
        }
        // No such view to this account, or no right to it.
        Err(e) if matches!(e.kind, ErrorKind::Config | ErrorKind::Privilege) => Ok(None),
        Err(e) => Err(e),
    }
}

/// `COMMIT_LOGGING` may be anything: a commit that waits has been written, in a batch or not.
fn gap_of(commit_wait: &str) -> Option<String> {
    match commit_wait.to_ascii_uppercase().as_str() {
        "WAIT" | "FORCE_WAIT" => None,
        other => Some(format!(
            "COMMIT_WAIT is {} in ssync's session, which set WAIT: a commit may be confirmed \
             before it is on disk, and be lost with power. Look for what changes sessions.",
            if other.is_empty() { "not set" } else { other }
        )),
    }
}

/// What stands against using ssync's own tables, which stand beside the destination table, in the
/// schema of `owner`.
fn own_table_gaps(
    driver: &mut dyn Driver,
    server: &Server,
    place: &Place,
    owner: &str,
    gaps: &mut Vec<String>,
) -> Result<()> {
    let names = [place.fence(), place.ledger(), place.seat()];
    let mut missing = false;
    for table in names {
        missing |= describe::describe(driver, server, table)?.is_none();
    }
    if !missing {
        return Ok(());
    }
    let privileges = privileges(driver)?;
    let is_own = owner == server.schema;
    let may =
        is_own && privileges.contains("CREATE TABLE") || privileges.contains("CREATE ANY TABLE");
    if may {
        return Ok(());
    }
    let mut statements: Vec<_> = ledger::definitions(&ORACLE, place)
        .iter()
        .map(|sql| sql.replace("CREATE TABLE IF NOT EXISTS ", "CREATE TABLE "))
        .collect();
    if !is_own {
        statements.extend(names.map(|table| {
            format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO \"{}\"",
                ORACLE.table(table),
                server.schema
            )
        }));
    }
    gaps.push(format!(
        "The account may not CREATE TABLE in schema {owner}, where ssync's own tables stand beside \
         the destination table. Have the schema's owner run: {};",
        statements.join("; ")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::gap_of;

    #[test]
    fn only_a_session_that_waits_for_its_commits_has_no_gap() {
        for waits in ["WAIT", "wait", "FORCE_WAIT"] {
            assert_eq!(gap_of(waits), None, "{waits}");
        }
        for (loses, shown) in
            [("NOWAIT", "NOWAIT"), ("FORCE_NOWAIT", "FORCE_NOWAIT"), ("", "not set")]
        {
            assert!(gap_of(loses).is_some_and(|gap| gap.contains(shown)), "{loses}");
        }
    }
}
