//! How many rows of a source wait to be sent: counted through an index, up to a limit, or not at
//! all. The databases are other people's, and nobody waits for this figure.

use ssync_common::config::TableTask;
use ssync_common::connector::{Connection, LockWait};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::schema::{Index, Table};
use ssync_common::value::Value;

use crate::source::{RowState, STATUS_COLUMN};

/// Rows that are counted; where there are so many, there may be more.
pub const COUNTED_MAX: u64 = 100_000;
/// Seconds that the query may take, where the database can be told so.
const QUERY_SECS_MAX: u64 = 5;

/// Rows of the table's source in state 0 that its runs would send, at most [`COUNTED_MAX`]; `None`
/// where no index leads to them.
///
/// # Errors
/// When the table is not there, or the database does not answer in time.
pub fn count(conn: &mut dyn Connection, table: &TableTask) -> Result<Option<u64>> {
    conn.set_lock_wait(LockWait::Short)?;
    let described = conn.describe(&table.source)?.ok_or_else(|| {
        Error::new(Kind::Config, format!("source table {} does not exist", table.source))
    })?;
    let d = conn.dialect();
    if let Some(limit) = d.limit_query_time(QUERY_SECS_MAX) {
        conn.execute(&limit, &[])?;
    }
    let state = RowState::ToSend as i32;
    let filter = table.filter.as_ref().map_or(String::new(), |filter| format!(" AND ({filter})"));
    for index in described.indexes.iter().filter(|index| leads_there(&described, index)) {
        let (hint, from) = d.through_index(&table.source, &index.name);
        let column = d.folded(STATUS_COLUMN);
        let rows = format!("SELECT {hint}1 AS n FROM {from} WHERE {column} = {state}{filter}");
        let sql = format!("SELECT COUNT(*) FROM ({}) ssync_rows", d.limit(&rows, COUNTED_MAX));
        match conn.query(&sql, &[]) {
            Ok(rows) => {
                let count = rows.first().and_then(|row| row.first()).and_then(Value::as_i64);
                return Ok(count.and_then(|n| u64::try_from(n).ok()));
            }
            // Its condition says something else, which only the database can judge.
            Err(_) if index.partial => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// Whether the rows in state 0 stand together in an index: it begins with the state, or has only
/// them.
fn leads_there(table: &Table, index: &Index) -> bool {
    if !index.partial {
        return index.columns.first().is_some_and(|c| c.eq_ignore_ascii_case(STATUS_COLUMN));
    }
    let plain = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.chars().filter(|c| !c.is_whitespace() && !"\"`[]()".contains(*c)).collect::<String>()
    };
    let only = format!("{STATUS_COLUMN}=0");
    let begins = ["", "unique"].map(|kind| format!("create{kind}index{}on", plain(&index.name)));
    table.definition.iter().map(|made_by| plain(made_by)).any(|made_by| {
        let condition = made_by.split_once("where").map_or("", |(_, condition)| condition);
        begins.iter().any(|begin| made_by.starts_with(begin)) && condition == only
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ssync_common::connector::open;

    use super::*;
    use crate::source::tests::link;

    #[test]
    fn rows_to_be_sent_are_counted_through_an_index_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?create=true", dir.path().join("a.db").display());
        let mut conn = open(&link(url)).unwrap();
        let mut run = |sql: &str| conn.execute(sql, &[]).unwrap();
        run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, sync_status INTEGER NOT NULL)");
        run("INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'a', 1), (4, 'a', 2)");
        let table = |filter: Option<&str>| TableTask {
            source: "t".into(),
            filter: filter.map(str::to_owned),
            ..TableTask::default()
        };
        let mut by = |index: &str, filter: Option<&str>| {
            conn.execute("DROP INDEX IF EXISTS i", &[]).unwrap();
            if !index.is_empty() {
                conn.execute(&format!("CREATE INDEX i ON t {index}"), &[]).unwrap();
            }
            count(conn.as_mut(), &table(filter)).unwrap()
        };
        assert_eq!(by("", None), None);
        assert_eq!(by("(v, sync_status)", None), None);
        assert_eq!(by("(sync_status)", None), Some(2));
        assert_eq!(by("(sync_status, v)", Some("v = 'a' OR v = 'x'")), Some(1));
        assert_eq!(by("(id) WHERE sync_status = 0", None), Some(2));
        assert_eq!(by("(id) WHERE \"SYNC_STATUS\"=0", Some("v = 'b'")), Some(1));
        // What leads past rows, or over all of them, does not count.
        assert_eq!(by("(sync_status) WHERE v = 'a'", None), None);
        assert_eq!(by("(id) WHERE sync_status IS NOT NULL", None), None);
        assert_eq!(by("(id) WHERE sync_status = 0 AND v = 'a'", None), None);
        assert_eq!(by("(lower(v), sync_status)", None), None);
    }
}
