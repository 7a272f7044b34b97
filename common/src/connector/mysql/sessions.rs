//! Sessions that others find by a name: whoever holds a user-level lock of that name. Such a lock
//! ends with its session and with nothing else, while a session's number may be another's later.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::super::NamedSession;
use super::connect::Server;
use super::errors;
use crate::error::{Kind, Result};

/// How long the server waits for a word of a named session, in seconds.
const HEARD_OF_SECS: u32 = 60;
/// A named session that was silent for longer is looked after before it is used.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(20);

/// Gives the session a name in place of the old one, and lets the server end it when it is silent.
pub(super) fn name(conn: &mut Conn, server: &Server, name: &str, old: Option<&str>) -> Result<()> {
    let in_transaction = match server.mariadb && server.version >= (10, 3, 0) {
        true => format!(", idle_write_transaction_timeout = {HEARD_OF_SECS}"),
        false => String::new(),
    };
    let done = conn
        .query_drop(format!(
            "SET SESSION wait_timeout = {HEARD_OF_SECS}, net_read_timeout = {HEARD_OF_SECS}, \
             net_write_timeout = {HEARD_OF_SECS}{in_transaction}"
        ))
        .and_then(|()| match old {
            Some(old) => conn.exec_drop("DO RELEASE_LOCK(?)", (old,)),
            None => Ok(()),
        })
        // Nobody waits for it: a ghost of that name keeps it.
        .and_then(|()| conn.exec_first::<Option<u8>, _, _>("SELECT GET_LOCK(?, 0)", (name,)));
    match done {
        Ok(taken) => {
            if taken.flatten() != Some(1) {
                log::info!("another session has the name {name}");
            }
            Ok(())
        }
        Err(e) => {
            let error = errors::from_driver(&e);
            if error.kind == Kind::Lost {
                return Err(error);
            }
            // A cluster may know no such locks.
            log::info!("the session stays without the name {name}: {error}");
            Ok(())
        }
    }
}

/// Ends the sessions that have these names.
pub(super) fn end(conn: &mut Conn, names: &[String]) -> mysql::Result<Vec<NamedSession>> {
    let mut found = Vec::new();
    for names in names.chunks(32) {
        let asked = vec!["IS_USED_LOCK(?)"; names.len()].join(", ");
        let params = mysql::Params::Positional(names.iter().map(mysql::Value::from).collect());
        let Some(row) = conn.exec_first::<mysql::Row, _, _>(format!("SELECT {asked}"), params)?
        else {
            continue;
        };
        for (i, name) in names.iter().enumerate() {
            let id = row.get_opt::<Option<u64>, _>(i).and_then(std::result::Result::ok).flatten();
            if let Some(id) = id.filter(|id| *id != u64::from(conn.connection_id())) {
                found.push((name.clone(), id));
            }
        }
    }
    let mut ended = Vec::new();
    for (name, id) in found {
        let about = about(conn, id).unwrap_or_default();
        // An account may always end its own sessions.
        let stays = match conn.query_drop(format!("KILL {id}")) {
            Ok(()) => None,
            Err(e) => {
                let error = errors::from_driver(&e);
                if error.kind == Kind::Lost {
                    return Err(e);
                }
                // It has ended by itself meanwhile.
                let gone = matches!(&e, mysql::Error::MySqlError(e) if e.code == NO_SUCH_THREAD);
                (!gone).then_some(error)
            }
        };
        let about = format!("session {id}{about}");
        ended.push(NamedSession { name, about, stays, statement: format!("KILL {id}") });
    }
    Ok(ended)
}

/// ER_NO_SUCH_THREAD.
const NO_SUCH_THREAD: u16 = 1094;

/// Users of a table that are named.
const USERS_MAX: usize = 5;

/// Who holds a table's definition: MariaDB with the plugin for it, MySQL from 5.7 on.
const HOLDERS: [&str; 2] = [
    "SELECT DISTINCT thread_id FROM information_schema.metadata_lock_info \
     WHERE table_schema = ? AND table_name = ? AND thread_id <> CONNECTION_ID()",
    "SELECT DISTINCT t.processlist_id FROM performance_schema.metadata_locks m \
     JOIN performance_schema.threads t ON t.thread_id = m.owner_thread_id \
     WHERE m.object_type = 'TABLE' AND m.object_schema = ? AND m.object_name = ? \
     AND m.lock_status = 'GRANTED' AND t.processlist_id <> CONNECTION_ID()",
];
/// Who may: those that are in a transaction, and those that are at work in the table's schema.
const SUSPECTS: [&str; 2] = [
    "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx \
     WHERE trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) ORDER BY trx_started",
    "SELECT id FROM information_schema.processlist \
     WHERE db = ? AND command <> 'Sleep' AND id <> CONNECTION_ID() ORDER BY time DESC",
];

/// See [`super::super::Connection::users_of`].
pub(super) fn users_of(conn: &mut Conn, schema: &str, table: &str) -> Result<Vec<String>> {
    for sql in HOLDERS {
        let ids = ids(conn, sql, &[schema, table])?;
        if !ids.is_empty() {
            return Ok(shown(conn, &ids, "holds it"));
        }
    }
    let [in_transaction, at_work] = SUSPECTS;
    let mut suspects = ids(conn, in_transaction, &[])?;
    for id in ids(conn, at_work, &[schema])? {
        if !suspects.contains(&id) {
            suspects.push(id);
        }
    }
    Ok(shown(conn, &suspects, "may hold it"))
}

/// Numbers of sessions; none where the server does not have the view, or the account may not see it.
fn ids(conn: &mut Conn, sql: &str, params: &[&str]) -> Result<Vec<u64>> {
    let params = match params {
        [] => mysql::Params::Empty,
        params => mysql::Params::Positional(params.iter().map(mysql::Value::from).collect()),
    };
    match conn.exec::<Option<u64>, _, _>(sql, params) {
        Ok(ids) => Ok(ids.into_iter().flatten().collect()),
        Err(e) => {
            let error = errors::from_driver(&e);
            if error.kind == Kind::Lost { Err(error) } else { Ok(Vec::new()) }
        }
    }
}

fn shown(conn: &mut Conn, ids: &[u64], does: &str) -> Vec<String> {
    let about = |id: &u64| format!("session {id}{} {does}", about(conn, *id).unwrap_or_default());
    ids.iter().take(USERS_MAX).map(about).collect()
}

/// Whose it is, from where, and for how long it has been as it is: where the account may see that.
fn about(conn: &mut Conn, id: u64) -> Option<String> {
    type Shown = (String, String, u64, String, Option<String>);
    let sql = "SELECT user, host, time, command, state FROM information_schema.processlist \
               WHERE id = ?";
    let (user, host, secs, command, state) = conn.exec_first::<Shown, _, _>(sql, (id,)).ok()??;
    let state = state.filter(|s| !s.is_empty()).map(|s| format!(", {s}")).unwrap_or_default();
    Some(format!(" of {user} from {host}, {command}{state} for {secs} s"))
}
