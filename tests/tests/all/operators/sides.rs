//! What operators do at a database itself: tables made, renamed, copied, backed up, restored,
//! emptied; and how they are read.

use std::path::{Path, PathBuf};

use ssync_tests::servers::{USER, mariadb, mysql56};
use ssync_tests::sites::{Cell, Holds, Row, Site};

use super::case::Software;

/// A row as one side has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub id: i64,
    pub ver: i64,
    pub grp: i64,
    pub v: String,
    pub note: Option<String>,
}

/// The names that a database itself has for tables.
pub fn spelt(site: &Site, name: &str) -> String {
    if site.is_oracle() { name.to_ascii_uppercase() } else { name.to_owned() }
}

/// The table, without rows.
pub fn create(site: &Site, table: &str, source: bool, keyed: bool) {
    let (number, text, wide) = match site {
        Site::MySql { .. } => ("BIGINT", "VARCHAR(60)", "VARCHAR(400)"),
        Site::Sqlite(_) => ("INTEGER", "TEXT", "TEXT"),
        Site::Oracle { .. } => ("NUMBER(18)", "VARCHAR2(60 CHAR)", "VARCHAR2(400 CHAR)"),
    };
    let v = if source { text } else { wide };
    let state = format!(", sync_status {number} DEFAULT 0 NOT NULL");
    let state = if source { state.as_str() } else { "" };
    let key = if keyed { ", PRIMARY KEY (id)" } else { "" };
    site.run(&[format!(
        "CREATE TABLE {table} (id {number} NOT NULL, ver {number} NOT NULL, grp {number} NOT NULL, \
         v {v} NOT NULL, note {text}{state}{key})"
    )]);
}

/// What the destination holds.
pub fn held(site: &Site, table: &str) -> Vec<Held> {
    let sql = format!("SELECT id, ver, grp, v, note FROM {table} ORDER BY id, ver");
    let holds = [Holds::Int, Holds::Int, Holds::Int, Holds::Text, Holds::Text];
    let read = |row: Row| match row.as_slice() {
        [Cell::Int(id), Cell::Int(ver), Cell::Int(grp), Cell::Text(v), note] => Held {
            id: *id,
            ver: *ver,
            grp: *grp,
            v: v.clone(),
            note: match note {
                Cell::Text(note) => Some(note.clone()),
                _ => None,
            },
        },
        other => panic!("{other:?}"),
    };
    site.rows(&sql, &holds).into_iter().map(read).collect()
}

/// State, version and key of every source row.
pub fn states(site: &Site, table: &str) -> Vec<(i64, i64, i64)> {
    let sql = format!("SELECT id, ver, sync_status FROM {table}");
    let read = |row: Row| match row.as_slice() {
        [Cell::Int(id), Cell::Int(ver), Cell::Int(state)] => (*id, *ver, *state),
        other => panic!("{other:?}"),
    };
    site.rows(&sql, &[Holds::Int; 3]).into_iter().map(read).collect()
}

/// ssync's own tables there.
pub fn own_tables(site: &Site) -> Vec<String> {
    let own = |t: &String| t.to_ascii_uppercase().starts_with("SSYNC_");
    site.tables().into_iter().filter(own).collect()
}

pub fn rename(site: &Site, from: &str, to: &str) {
    site.run(&[format!("ALTER TABLE {from} RENAME TO {to}")]);
}

pub fn drop_own(site: &Site) {
    for table in own_tables(site) {
        site.run(&[format!("DROP TABLE {table}")]);
    }
}

/// A backup of one table and of ssync's own beside it.
#[derive(Debug, Clone)]
pub struct Backup {
    /// The table, as it was called.
    pub table: String,
    own: Vec<String>,
    /// The copy of a file; else the copies are tables beside their originals.
    file: Option<PathBuf>,
    number: u64,
}

fn backed_up(number: u64, table: &str) -> String {
    format!("bak{number}_{table}")
}

pub fn back_up(site: &Site, table: &str, scratch: &Path, number: u64) -> Backup {
    let own = own_tables(site);
    let mut backup = Backup { table: table.to_owned(), own, file: None, number };
    if site.is_sqlite() {
        backup.file = Some(copy_file(site, scratch, &format!("backup{number}")));
        return backup;
    }
    for table in backup.tables() {
        let copy = backed_up(number, table);
        site.run(&[format!("CREATE TABLE {copy} AS SELECT * FROM {table}")]);
    }
    backup
}

impl Backup {
    fn tables(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.table.as_str()).chain(self.own.iter().map(String::as_str))
    }

    /// Whether everything is still there that a restore writes into.
    pub fn fits(&self, site: &Site, table: &str) -> bool {
        let there = own_tables(site);
        self.table == table && (self.file.is_some() || self.own.iter().all(|t| there.contains(t)))
    }

    /// Whether ssync's own tables were there already.
    pub fn knows_of_runs(&self) -> bool {
        !self.own.is_empty()
    }

    /// Puts everything back as it was. `replaced`: a file goes over the other one, as a new one.
    pub fn restore(&self, site: &Site, replaced: bool) {
        if let (Some(from), Site::Sqlite(path)) = (&self.file, site) {
            for suffix in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
            }
            if replaced {
                let fresh = path.with_extension("restored");
                std::fs::copy(from, &fresh).unwrap();
                std::fs::rename(&fresh, path).unwrap();
            } else {
                std::fs::copy(from, path).unwrap();
            }
            return;
        }
        for table in own_tables(site).iter().filter(|t| !self.own.contains(t)) {
            site.run(&[format!("DROP TABLE {table}")]);
        }
        for table in self.tables() {
            let copy = backed_up(self.number, table);
            site.run(&[
                format!("DELETE FROM {table}"),
                format!("INSERT INTO {table} SELECT * FROM {copy}"),
            ]);
        }
    }
}

fn copy_file(site: &Site, scratch: &Path, name: &str) -> PathBuf {
    let to = scratch.join(format!("{name}.db"));
    let _ = std::fs::remove_file(&to);
    site.sqlite().execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
    to
}

/// A copy of the source table with its owner row, in a database or file of its own.
pub fn copy(site: &Site, software: Software, table: &str, scratch: &Path) -> Site {
    if site.is_sqlite() {
        return Site::Sqlite(copy_file(site, scratch, "copy"));
    }
    let server = if software == Software::MySql56 { mysql56() } else { mariadb() };
    let to = Site::on_server(server, "copy");
    let from = database(site).unwrap_or_default();
    for name in own_tables(site).iter().map(String::as_str).chain([table]) {
        to.run(&[
            format!("CREATE TABLE {name} LIKE {from}.{name}"),
            format!("INSERT INTO {name} SELECT * FROM {from}.{name}"),
        ]);
    }
    to
}

pub fn database(site: &Site) -> Option<String> {
    match site {
        Site::MySql { database, .. } => Some(database.clone()),
        _ => None,
    }
}

/// How many addresses lead to a site.
pub const ADDRESSES: u64 = 3;

/// The `[[link]]` by one of the addresses; `default`: another default database.
pub fn link(
    site: &Site,
    name: &str,
    address: u64,
    default: Option<&str>,
    scratch: &Path,
) -> String {
    let plain = site.link(name);
    match site {
        Site::MySql { port, database } => {
            let there = default.unwrap_or(database);
            let url = match address {
                0 => format!("127.0.0.1:{port}/{there}"),
                1 => format!("localhost:{port}/{there}"),
                _ => {
                    let is_mariadb = mariadb().port() == *port;
                    let server = if is_mariadb { mariadb() } else { mysql56() };
                    format!("localhost/{there}?socket={}", server.socket().display())
                }
            };
            let old = format!("mysql://{USER}@127.0.0.1:{port}/{database}");
            plain.replace(&old, &format!("mysql://{USER}@{url}"))
        }
        Site::Sqlite(path) if address > 0 => {
            let name = path.file_name().unwrap().to_str().unwrap();
            let linked = scratch.join(format!("link{address}-{name}"));
            if !linked.is_symlink() {
                std::os::unix::fs::symlink(path, &linked).unwrap();
            }
            plain.replace(&path.display().to_string(), &linked.display().to_string())
        }
        _ => plain,
    }
}

/// A trigger at a source that sets rows back when the application changes them.
pub fn resend_trigger(site: &Site, table: &str) -> Option<String> {
    match site {
        Site::MySql { .. } => Some(format!(
            "CREATE TRIGGER resend BEFORE UPDATE ON {table} FOR EACH ROW SET NEW.sync_status = \
             IF(NEW.sync_status = OLD.sync_status, 0, NEW.sync_status)"
        )),
        Site::Sqlite(_) => Some(format!(
            "CREATE TRIGGER resend AFTER UPDATE ON {table} WHEN NEW.sync_status = \
             OLD.sync_status AND OLD.sync_status <> 0 BEGIN UPDATE {table} SET sync_status = 0 \
             WHERE rowid = NEW.rowid; END"
        )),
        Site::Oracle { .. } => None,
    }
}

/// A trigger at a destination that does nothing.
pub fn idle_trigger(site: &Site, table: &str) -> Option<String> {
    match site {
        Site::MySql { .. } => Some(format!(
            "CREATE TRIGGER idle AFTER INSERT ON {table} FOR EACH ROW SET @ssync_idle = 1"
        )),
        Site::Sqlite(_) => {
            Some(format!("CREATE TRIGGER idle AFTER INSERT ON {table} BEGIN SELECT 1; END"))
        }
        Site::Oracle { .. } => None,
    }
}

/// Whether an index of that name is there.
pub fn has_index(site: &Site, name: &str) -> bool {
    let sql = match site {
        Site::MySql { database, .. } => format!(
            "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = '{database}' \
             AND index_name = '{name}'"
        ),
        Site::Sqlite(_) => format!("SELECT COUNT(*) FROM sqlite_master WHERE name = '{name}'"),
        Site::Oracle { .. } => format!(
            "SELECT COUNT(*) FROM user_indexes WHERE index_name = '{}'",
            name.to_ascii_uppercase()
        ),
    };
    site.number(&sql) > 0
}
