//! What `ssync check` asks a server: does a commit survive a crash, is the table one that rows can land
//! in. What the account may do: [`super::privileges`].

use mysql::Conn;
use mysql::prelude::Queryable;

use super::connect::Server;
use super::{describe, errors, privileges};
use crate::error::Result;

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
    let known = &mut describe::Known::default();
    let Some(described) = describe::describe(conn, server, known, table)? else {
        return Ok(vec![format!("There is no table {table}, or the account may not see it.")]);
    };
    if dest && !described.is_view && !described.transactional {
        gaps.push(format!(
            "The table {table} is stored by {}, which cannot roll back; it must be InnoDB.",
            described.engine
        ));
    }
    if dest || status {
        writing_gaps(conn, server, &mut gaps)?;
    }
    if (dest || status) && !privileges::sees_triggers(conn, server, table)? {
        gaps.push(format!(
            "The account has no TRIGGER privilege on {table}, so triggers there cannot be seen."
        ));
    }
    Ok(gaps)
}

/// See [`super::super::Connection::drawbacks`].
pub(super) fn drawbacks(server: &Server) -> Vec<String> {
    let mut drawbacks = Vec::new();
    if !server.mariadb && !server.local_infile {
        drawbacks.push(
            "LOAD DATA LOCAL is off (local_infile=0), so rows are written by INSERT, which takes \
             about half as long again."
                .to_owned(),
        );
    }
    if server.packet_bytes_max < PACKET_BYTES_WANTED {
        drawbacks.push(format!(
            "max_allowed_packet is {} bytes; a row larger than that cannot be written.",
            server.packet_bytes_max
        ));
    }
    drawbacks
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
}
