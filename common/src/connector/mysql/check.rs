//! What `ssync check` asks a server: does a commit survive a crash, may the account do its work.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::super::{Dialect, split_table_name};
use super::connect::Server;
use super::dialect::MySqlDialect;
use super::{describe, errors};
use crate::config::SYNC_STATUS;
use crate::error::{Error, Kind as ErrorKind, Result};

/// A server that takes smaller packets will refuse rows that many tables have.
const PACKET_BYTES_WANTED: usize = 4 << 20;

/// Server variables; `None` where this server has none of that name.
fn variables<const N: usize>(conn: &mut Conn, names: [&str; N]) -> Result<[Option<String>; N]> {
    let places = ["?"; N].join(", ");
    let found: Vec<(String, String)> = conn
        .exec(
            format!("SHOW VARIABLES WHERE Variable_name IN ({places})"),
            names.map(mysql::Value::from).to_vec(),
        )
        .map_err(|e| errors::from_driver(&e))?;
    Ok(names.map(|name| {
        let found = found.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }))
}

fn is_on(value: Option<&str>) -> bool {
    matches!(value, Some("ON" | "1" | "YES"))
}

/// See [`super::super::Connection::durability_gap`].
pub(super) fn durability_gap(conn: &mut Conn) -> Result<Option<String>> {
    let [flush_log, doublewrite, log_bin, sync_binlog, flush_method] = variables(
        conn,
        [
            "innodb_flush_log_at_trx_commit",
            "innodb_doublewrite",
            "log_bin",
            "sync_binlog",
            "innodb_flush_method",
        ],
    )?;
    Ok(match (flush_log, doublewrite.as_deref(), sync_binlog) {
        (Some(value), ..) if value != "1" => {
            Some(format!("innodb_flush_log_at_trx_commit is {value}, not 1"))
        }
        (_, Some("OFF" | "0"), _) => Some("innodb_doublewrite is off".to_owned()),
        // After a crash, a transaction whose binary log entry was lost is rolled back.
        (_, _, Some(value)) if is_on(log_bin.as_deref()) && value != "1" => {
            Some(format!("the binary log is on and sync_binlog is {value}, not 1"))
        }
        _ if flush_method.is_some_and(|method| method.eq_ignore_ascii_case("nosync")) => {
            Some("innodb_flush_method is nosync".to_owned())
        }
        _ => None,
    })
}

/// See [`super::super::Connection::access_gaps`].
pub(super) fn access_gaps(
    conn: &mut Conn,
    server: &Server,
    table: &str,
    dest: bool,
    status: bool,
) -> Result<Vec<String>> {
    let mut gaps = Vec::new();
    let known = &mut describe::ForeignKeys::default();
    let Some(described) = describe::describe(conn, server, known, table)? else {
        return Ok(vec![format!("There is no table {table}, or the account may not see it.")]);
    };
    let dialect = MySqlDialect;
    let quoted = dialect.table(table);
    let mut statements = vec![("SELECT", format!("SELECT * FROM {quoted} LIMIT 0"))];
    let writable = described.columns.iter().find(|c| !c.generated);
    if dest && let Some(column) = writable {
        let name = dialect.quote(&column.name);
        statements.push(("INSERT", format!("INSERT INTO {quoted} ({name}) VALUES (?)")));
        statements.push(("UPDATE", format!("UPDATE {quoted} SET {name}={name} WHERE 1=0")));
        statements.push(("DELETE", format!("DELETE FROM {quoted} WHERE 1=0")));
    }
    // Without the column there is nothing to try; the plan says that it is missing.
    if status && described.column(SYNC_STATUS).is_some() {
        let set = "`sync_status`=`sync_status`";
        statements.push(("UPDATE", format!("UPDATE {quoted} SET {set} WHERE 1=0")));
    }
    for (privilege, sql) in statements {
        if let Some(error) = refused(conn, &sql)? {
            gaps.push(format!("The account may not {privilege} on {table} ({}).", error.message));
        }
    }
    if dest && !described.is_view && !described.transactional {
        gaps.push(format!(
            "The table {table} is stored by {}, which cannot roll back; it must be InnoDB.",
            described.engine
        ));
    }
    if dest || status {
        writing_gaps(conn, server, &mut gaps)?;
    }
    let (schema, name) = describe::place(conn, table)?;
    if (dest || status) && !sees_triggers(conn, &schema, &name)? {
        gaps.push(format!(
            "The account has no TRIGGER privilege on {table}, so triggers there cannot be seen."
        ));
    }
    if dest {
        own_table_gaps(conn, &schema, &mut gaps)?;
        if !server.mariadb && !server.local_infile {
            gaps.push(
                "LOAD DATA LOCAL is off (local_infile=0), so rows are written by INSERT, which \
                 takes about half as long again."
                    .to_owned(),
            );
        }
        if server.packet_bytes_max < PACKET_BYTES_WANTED {
            gaps.push(format!(
                "max_allowed_packet is {} bytes; a row larger than that cannot be written.",
                server.packet_bytes_max
            ));
        }
    }
    Ok(gaps)
}

/// What stands against writing on this server at all.
fn writing_gaps(conn: &mut Conn, server: &Server, gaps: &mut Vec<String>) -> Result<()> {
    let [read_only, log_bin, format] = variables(conn, ["read_only", "log_bin", "binlog_format"])?;
    if is_on(read_only.as_deref()) {
        gaps.push("The server is read-only (read_only=1).".to_owned());
    }
    if is_on(log_bin.as_deref()) && format.as_deref() == Some("STATEMENT") {
        gaps.push(
            "binlog_format is STATEMENT, with which InnoDB refuses READ COMMITTED; set it to ROW."
                .to_owned(),
        );
    }
    gaps.extend(atomicity_gap(conn, server)?);
    Ok(())
}

/// See [`super::super::Connection::atomicity_gap`].
pub(super) fn atomicity_gap(conn: &mut Conn, server: &Server) -> Result<Option<String>> {
    if !server.mariadb {
        return Ok(None);
    }
    let [on, splitting] = variables(conn, ["wsrep_on", "wsrep_load_data_splitting"])?;
    Ok(splits_loads(on.as_deref(), splitting.as_deref()))
}

fn splits_loads(wsrep: Option<&str>, splitting: Option<&str>) -> Option<String> {
    (is_on(wsrep) && is_on(splitting)).then(|| {
        "Galera splits loads into transactions of its own (wsrep_load_data_splitting=ON); turn \
         it off."
            .to_owned()
    })
}

/// Whether the account would see a trigger of the table if there were one: without the privilege
/// the server shows none. In doubt (a role, a pattern) yes.
fn sees_triggers(conn: &mut Conn, schema: &str, table: &str) -> Result<bool> {
    let grants: Vec<String> = conn.query("SHOW GRANTS").map_err(|e| errors::from_driver(&e))?;
    Ok(grants.iter().any(|grant| grant_shows_triggers(grant, schema, table)))
}

/// Whether the table may have triggers that the account is not shown. In doubt about a role yes.
pub(super) fn hides_triggers(conn: &mut Conn, schema: &str, table: &str) -> Result<bool> {
    let grants: Vec<String> = conn.query("SHOW GRANTS").map_err(|e| errors::from_driver(&e))?;
    let mut on_tables = grants.iter().filter(|grant| grant.contains(" ON "));
    Ok(!on_tables.any(|grant| grant_shows_triggers(grant, schema, table)))
}

fn grant_shows_triggers(grant: &str, schema: &str, table: &str) -> bool {
    let Some(grant) = grant.strip_prefix("GRANT ") else { return false };
    let Some((privileges, rest)) = grant.split_once(" ON ") else {
        return true; // a role's name
    };
    let gives =
        privileges.split(',').any(|p| matches!(p.trim(), "TRIGGER" | "ALL PRIVILEGES" | "ALL"));
    let scope = rest.split(" TO ").next().unwrap_or_default();
    // `db`.`table`, wildcards of the database's name escaped.
    let names = split_table_name(scope);
    let [on_schema, on_table] = names.as_slice() else { return gives };
    let fits_schema = on_schema == "*"
        || on_schema.contains('%')
        || on_schema.replace('\\', "").eq_ignore_ascii_case(schema);
    gives && fits_schema && (on_table == "*" || on_table.eq_ignore_ascii_case(table))
}

/// ssync's own tables stand in the destination's database: they exist, or may be created.
fn own_table_gaps(conn: &mut Conn, schema: &str, gaps: &mut Vec<String>) -> Result<()> {
    let fence: Option<String> = conn
        .exec_first(
            "SELECT TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'SSYNC_FENCE'",
            (schema,),
        )
        .map_err(|e| errors::from_driver(&e))?;
    if fence.is_some() {
        return Ok(());
    }
    let probe = MySqlDialect.quote(schema) + ".`SSYNC_PROBE`";
    if let Some(error) = refused(conn, &format!("CREATE TABLE {probe} (a int)"))? {
        gaps.push(format!(
            "The account may not CREATE ssync's own tables (SSYNC_FENCE and others) in {schema} \
             ({}).",
            error.message
        ));
    }
    Ok(())
}

/// Prepares a statement, which checks privileges and changes nothing; the refusal, if it is one.
fn refused(conn: &mut Conn, sql: &str) -> Result<Option<Error>> {
    match conn.prep(sql) {
        Ok(statement) => {
            conn.close(statement).map_err(|e| errors::from_driver(&e))?;
            Ok(None)
        }
        Err(e) => {
            let error = errors::from_driver(&e);
            match error.kind {
                ErrorKind::Lost => Err(error),
                _ => Ok(Some(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_splits_loads_is_recognised() {
        assert!(splits_loads(Some("ON"), Some("ON")).is_some_and(|gap| gap.contains("splits")));
        for (wsrep, splitting) in
            [(Some("ON"), Some("OFF")), (Some("OFF"), Some("ON")), (Some("ON"), None), (None, None)]
        {
            assert_eq!(splits_loads(wsrep, splitting), None);
        }
    }

    #[test]
    fn grants_are_read_for_what_they_show() {
        for (grant, shows) in [
            ("GRANT ALL PRIVILEGES ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD 'x'", true),
            ("GRANT SELECT, INSERT, TRIGGER ON `my\\_db`.* TO `u`@`%`", true),
            ("GRANT SELECT, TRIGGER ON `my_db`.`t` TO 'u'@'%'", true),
            ("GRANT SELECT, TRIGGER ON `my_db`.`other` TO 'u'@'%'", false),
            ("GRANT SELECT, TRIGGER ON `other`.* TO 'u'@'%'", false),
            ("GRANT SELECT, INSERT ON `my_db`.* TO 'u'@'%'", false),
            ("GRANT USAGE ON *.* TO 'u'@'%'", false),
            ("GRANT `role` TO `u`@`%`", true),
        ] {
            assert_eq!(grant_shows_triggers(grant, "my_db", "t"), shows, "{grant}");
        }
    }
}
