//! What an account may do. Statements about rows are prepared: the server then looks at grammar, names
//! and privileges, roles and columns included, and does nothing. Preparing says nothing of privileges
//! on definitions, so that those are read from the grants.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::super::{Dialect, Gap, Need, Privilege, split_table_name};
use super::connect::Server;
use super::dialect::MySqlDialect;
use super::{describe, errors};
use crate::error::{Error, Kind as ErrorKind, Result};

/// "This command is not supported in the prepared statement protocol yet".
const NOT_PREPARABLE: u16 = 1295;

/// See [`super::super::Connection::missing`].
pub(super) fn missing(conn: &mut Conn, server: &Server, needs: &[Need]) -> Result<Vec<Gap>> {
    let mut gaps = Vec::new();
    let mut grants = None;
    for need in needs {
        let Need { privilege, table, .. } = need;
        let text = if let Privilege::Drop | Privilege::Alter = privilege {
            let grants = match &mut grants {
                Some(grants) => grants,
                none => none.insert(all_grants(conn, server)?),
            };
            let target = Target::new(conn, server, table)?;
            let Target { schema, table, .. } = &target;
            (!target.allows(grants, &privilege.to_string()))
                .then(|| format!("The account may not {privilege} on {schema}.{table}."))
        } else {
            let sql = probe(conn, server, need)?;
            refused(conn, &sql)?.map(|error| {
                format!("The account may not {privilege} on {table} ({}).", error.message)
            })
        };
        if let Some(text) = text {
            let hint = grant(conn, server, need)?;
            gaps.push(Gap { text, hint: Some(hint) });
        }
    }
    Ok(gaps)
}

/// What to run, for an account that lacks this.
fn grant(conn: &mut Conn, server: &Server, need: &Need) -> Result<String> {
    let quoted = |name: &str| MySqlDialect.quote(name);
    let target = Target::new(conn, server, &need.table)?;
    let is_there = describe::describe(conn, server, &mut Default::default(), &need.table)?;
    // On a table that is not there the server takes hardly any grant.
    let place = match is_there {
        Some(_) => format!("{}.{}", quoted(&target.schema), quoted(&target.table)),
        None => format!("{}.*", quoted(&escaped(&target.schema))),
    };
    let account: Option<String> =
        conn.query_first("SELECT CURRENT_USER()").map_err(|e| errors::from_driver(&e))?;
    let account = account.unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    let column = need.column.as_ref().map_or_else(String::new, |c| format!(" ({})", quoted(c)));
    let (privilege, user, host) = (need.privilege, quoted(user), quoted(host));
    Ok(format!("Have an administrator run: GRANT {privilege}{column} ON {place} TO {user}@{host};"))
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
            let known = &mut describe::Known::default();
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
pub(super) fn all_grants(conn: &mut Conn, server: &Server) -> Result<Vec<String>> {
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
/// the server shows none. In doubt (a role) yes.
pub(super) fn sees_triggers(conn: &mut Conn, server: &Server, table: &str) -> Result<bool> {
    let grants = all_grants(conn, server)?;
    Ok(grants.iter().any(|grant| is_of_a_role(grant))
        || Target::new(conn, server, table)?.allows(&grants, "TRIGGER"))
}

/// Whether the table may have triggers that the account is not shown. In doubt about a role yes.
pub(super) fn hides_triggers(
    grants: &[String],
    server: &Server,
    schema: &str,
    table: &str,
) -> bool {
    !Target::of(server, schema, table).allows(grants, "TRIGGER")
}

/// Whether the line gives a role, and no privilege.
fn is_of_a_role(grant: &str) -> bool {
    grant.starts_with("GRANT ") && !grant.contains(" ON ")
}

/// A line of `SHOW GRANTS` that gives privileges on tables.
struct Grant<'a> {
    privileges: &'a str,
    schema: String,
    table: String,
    grantee: &'a str,
}

impl<'a> Grant<'a> {
    /// None of a line that gives a role, or privileges on something else than tables.
    fn read(line: &'a str) -> Option<Grant<'a>> {
        let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
        let (scope, grantee) = rest.split_once(" TO ")?;
        let names = split_table_name(scope);
        let [schema, table] = names.as_slice() else { return None };
        let grantee = grantee.strip_suffix(" WITH GRANT OPTION").unwrap_or(grantee);
        Some(Grant { privileges, schema: schema.clone(), table: table.clone(), grantee })
    }

    fn gives(&self, privilege: &str) -> bool {
        let mut depth = 0;
        // Between parentheses stand columns.
        let between = |c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        };
        self.privileges
            .split(between)
            .any(|p| p.trim() == privilege || matches!(p.trim(), "ALL PRIVILEGES" | "ALL"))
    }

    fn is_of_schemas(&self) -> bool {
        self.table == "*" && self.schema != "*"
    }
}

/// A table that something is to be done with.
struct Target {
    schema: String,
    table: String,
    case_matters: bool,
}

impl Target {
    fn new(conn: &mut Conn, server: &Server, table: &str) -> Result<Target> {
        let (schema, table) = describe::place(conn, table)?;
        Ok(Target::of(server, &schema, &table))
    }

    fn of(server: &Server, schema: &str, table: &str) -> Target {
        let (schema, table) = (schema.to_owned(), table.to_owned());
        Target { schema, table, case_matters: server.case_matters }
    }

    /// Whether these grants give the privilege on the whole table.
    fn allows(&self, grants: &[String], privilege: &str) -> bool {
        let grants: Vec<_> = grants.iter().filter_map(|line| Grant::read(line)).collect();
        grants.iter().filter(|g| g.gives(privilege)).any(|g| {
            if g.is_of_schemas() {
                return self.is_in(g) && !grants.iter().any(|other| self.hides(other, g));
            }
            g.schema == "*"
                || self.same(&g.schema, &self.schema) && self.same(&g.table, &self.table)
        })
    }

    /// Whether the server, which goes by one grant on databases for each grantee, goes by `other`
    /// rather than by `grant`: the one whose name is literal, or for longer.
    fn hides(&self, other: &Grant<'_>, grant: &Grant<'_>) -> bool {
        other.is_of_schemas()
            && other.grantee == grant.grantee
            && literal_bytes(&other.schema) > literal_bytes(&grant.schema)
            && self.is_in(other)
    }

    /// Whether it lies in one of the databases that the grant is about.
    fn is_in(&self, grant: &Grant<'_>) -> bool {
        match self.case_matters {
            true => matches(self.schema.as_bytes(), grant.schema.as_bytes()),
            false => matches(
                self.schema.to_lowercase().as_bytes(),
                grant.schema.to_lowercase().as_bytes(),
            ),
        }
    }

    fn same(&self, a: &str, b: &str) -> bool {
        if self.case_matters { a == b } else { a.to_lowercase() == b.to_lowercase() }
    }
}

/// Whether a name fits a pattern of a grant. Like the server by bytes: `%` is any number of them, `_`
/// one, and what follows a backslash itself.
fn matches(name: &[u8], pattern: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'%', rest @ ..], _) => (0..=name.len()).any(|at| matches(&name[at..], rest)),
        ([b'\\', literal, pattern @ ..], [first, name @ ..]) => {
            literal == first && matches(name, pattern)
        }
        ([one, pattern @ ..], [first, name @ ..]) => {
            (*one == b'_' || one == first) && matches(name, pattern)
        }
        (_, []) => false,
    }
}

/// Bytes of a pattern before its first wildcard; more than any, if it has none.
fn literal_bytes(pattern: &str) -> usize {
    let mut escaped = false;
    let is_wild = |byte: u8| {
        let wild = !escaped && matches!(byte, b'%' | b'_');
        escaped = !escaped && byte == b'\\';
        wild
    };
    pattern.bytes().position(is_wild).unwrap_or(usize::MAX)
}

/// The pattern that only this name fits.
fn escaped(name: &str) -> String {
    let escape = |c: char| matches!(c, '%' | '_' | '\\').then_some('\\').into_iter().chain([c]);
    name.chars().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(grants: &[&str], privilege: &str) -> bool {
        let grants: Vec<_> = grants.iter().map(|grant| (*grant).to_owned()).collect();
        let (schema, table) = ("my_db".to_owned(), "t".to_owned());
        Target { schema, table, case_matters: true }.allows(&grants, privilege)
    }

    #[test]
    fn grants_are_read_for_what_they_give() {
        for (grant, has) in [
            ("GRANT ALL PRIVILEGES ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD 'x'", true),
            ("GRANT SELECT, INSERT, TRIGGER ON `my\\_db`.* TO `u`@`%`", true),
            ("GRANT SELECT, TRIGGER ON `my_db`.`t` TO 'u'@'%'", true),
            ("GRANT SELECT, TRIGGER ON `my_db`.`other` TO 'u'@'%'", false),
            ("GRANT SELECT, TRIGGER ON `MY_DB`.* TO 'u'@'%'", false),
            ("GRANT SELECT, TRIGGER ON `other`.* TO 'u'@'%'", false),
            ("GRANT SELECT, INSERT ON `my_db`.* TO 'u'@'%'", false),
            ("GRANT SELECT (a, TRIGGER, b), INSERT ON `my_db`.`t` TO 'u'@'%'", false),
            ("GRANT USAGE ON *.* TO 'u'@'%'", false),
            ("GRANT `role` TO `u`@`%`", false),
        ] {
            assert_eq!(allows(&[grant], "TRIGGER"), has, "{grant}");
        }
        assert!(is_of_a_role("GRANT `role` TO `u`@`%`"));
        assert!(!is_of_a_role("GRANT USAGE ON *.* TO 'u'@'%'"));
    }

    #[test]
    fn a_grant_on_a_pattern_is_about_the_databases_that_fit() {
        for (pattern, fits) in [
            ("%", true),
            ("my%", true),
            ("%db", true),
            ("m%_d%b%", true),
            ("my_db", true),
            ("my\\_db", true),
            ("my\\_%", true),
            ("my\\%", false),
            ("test\\_%", false),
            ("my_d", false),
            ("my_db_", false),
            ("", false),
        ] {
            let grant = format!("GRANT DROP ON `{pattern}`.* TO PUBLIC");
            assert_eq!(allows(&[&grant], "DROP"), fits, "{pattern}");
            assert!(!allows(&[&grant], "ALTER"), "{pattern}");
        }
        assert_eq!(escaped("my_db%\\"), "my\\_db\\%\\\\");
    }

    #[test]
    fn of_grants_on_databases_the_closest_counts_for_each_grantee() {
        let (wide, close) = (
            "GRANT ALL PRIVILEGES ON `%`.* TO u WITH GRANT OPTION",
            "GRANT SELECT ON `my\\_db`.* TO u",
        );
        assert!(allows(&[wide], "DROP"));
        assert!(!allows(&[wide, close], "DROP"));
        assert!(!allows(&[wide, "GRANT SELECT ON `my%`.* TO u"], "DROP"));
        assert!(allows(&[wide, "GRANT SELECT ON `mine`.* TO u"], "DROP"));
        assert!(allows(&[wide, close, "GRANT DROP ON `my_db`.`t` TO u"], "DROP"));
        assert!(allows(&[wide, "GRANT SELECT ON `my\\_db`.* TO PUBLIC"], "DROP"));
    }
}
