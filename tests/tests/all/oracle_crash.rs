//! Rows between MariaDB and the Oracle stand-in while processes are killed and connections break,
//! before a statement or a commit, in it, or after it: afterwards both sides are compared row by
//! row. (`crash_matrix` does the same by chance; here each fault has a chosen place, and a case
//! fails whose fault did not strike.)
//!
//! What is in [`processes`] runs on a server of the user's, too (`scripts/test-oracle`); what is in
//! [`standin`] needs one that breaks on order.

use std::collections::BTreeSet;

use ssync_tests::servers::mariadb;
use ssync_tests::servers::oracle::faults::Fault;
use ssync_tests::servers::oracle::{Generation, OracleServer, oracle};
use ssync_tests::sites::{Cell, Holds, Row, Site, differences};
use ssync_tests::ssync::Instance;

const ROWS: i64 = 240;
/// Runs after which a case must have come to its end.
const RUNS_MAX: usize = 8;

/// What goes wrong in the first runs.
#[derive(Clone, Copy)]
enum Wrong {
    /// A process at a named step.
    Process(&'static str),
    /// The stand-in, in its words.
    Server(&'static str),
}
use Wrong::{Process, Server};

/// Where Oracle is the destination.
const LANDING: &[Wrong] = &[
    Process("writer.mid_load@2=kill"),
    Process("writer.before_commit@2=kill-parent"),
    Process("writer.after_commit@2=kill"),
    Process("writer.after_commit@3=kill-group"),
    Process("settler.before_settle@2=kill"),
    Server("commit drop-after nth=6"),
    Server("commit drop-before nth=6"),
    Server("commit drop-answered nth=5"),
    Server("commit delay-answer=300 nth=6"),
    Server("execute drop-before nth=2 sql=\"DST\" "),
    Server("execute drop-after nth=2 sql=\"DST\" "),
    Server("execute drop-after nth=3 sql=INTO \"SSYNC_LEDGER\""),
    Server("execute drop-before sql=\"SSYNC_SEAT\" WHERE"),
    Server("execute error=60 times=2 sql=\"DST\" "),
    Server("execute error=3113 nth=2 sql=\"DST\" "),
    Server("connect drop-before times=2 nth=3"),
];

/// Where Oracle is the source.
const READING: &[Wrong] = &[
    Process("reader.after_claim@2=kill"),
    Process("writer.after_commit@2=kill-parent"),
    Process("settler.after_settle@2=kill-group"),
    Server("commit drop-after nth=5"),
    Server("commit drop-before nth=7"),
    Server("execute drop-before nth=3 sql=FROM \"SRC\""),
    Server("execute drop-after nth=3 sql=UPDATE \"SRC\""),
    Server("execute error=1555 nth=2 sql=FROM \"SRC\""),
    Server("execute error=1013 nth=2 sql=UPDATE \"SRC\""),
    Server("fetch drop-before"),
    Server("login error=28000 nth=2"),
];

/// The same without a key: one statement reads all rows, and nothing is claimed.
const STREAMING: &[Wrong] = &[
    // The first two need a server that sends the rows in more than one piece: not the newest.
    Server("fetch drop-before"),
    Server("fetch drop-after"),
    Process("writer.after_commit@2=kill-parent"),
    Process("settler.after_settle@2=kill-group"),
    Server("execute drop-before sql=FROM \"SRC\""),
    Server("execute error=1555 sql=FROM \"SRC\""),
    Server("connect drop-before nth=2"),
];

/// Processes are killed.
mod processes {
    use super::*;

    fn killed(wrongs: &[Wrong], run: Run, keyed: bool) {
        every(wrongs, |wrong| matches!(wrong, Process(_)), run, keyed);
    }

    #[test]
    fn killed_from_mariadb_to_oracle() {
        killed(LANDING, into_oracle, true);
    }

    #[test]
    fn killed_from_mariadb_to_oracle_without_a_key() {
        killed(LANDING, into_oracle, false);
    }

    #[test]
    fn killed_from_oracle_to_mariadb() {
        killed(READING, out_of_oracle, true);
    }

    #[test]
    fn killed_from_oracle_to_mariadb_without_a_key() {
        killed(STREAMING, out_of_oracle, false);
    }
}

/// The server breaks, as only the stand-in does on order.
mod standin {
    use super::*;

    fn broken(wrongs: &[Wrong], run: Run, keyed: bool) {
        every(wrongs, |wrong| matches!(wrong, Server(_)), run, keyed);
    }

    #[test]
    fn broken_from_mariadb_to_oracle() {
        broken(LANDING, into_oracle, true);
    }

    #[test]
    fn broken_from_mariadb_to_oracle_without_a_key() {
        broken(LANDING, into_oracle, false);
    }

    #[test]
    fn broken_from_oracle_to_mariadb() {
        broken(READING, out_of_oracle, true);
    }

    #[test]
    fn broken_from_oracle_to_mariadb_without_a_key() {
        broken(STREAMING, out_of_oracle, false);
    }
}

/// A case: what goes wrong, at which server, whether the table has a key.
type Run = fn(Wrong, &OracleServer, bool) -> Result<(), String>;

/// Each fault of that kind with one of the generations, which take turns.
fn every(wrongs: &[Wrong], of_kind: impl Fn(&Wrong) -> bool, run: Run, keyed: bool) {
    let mut failures = Vec::new();
    for (i, wrong) in wrongs.iter().enumerate().filter(|(_, wrong)| of_kind(wrong)) {
        let generation = Generation::ALL[i % 3];
        let (words, result) = match wrong {
            Process(words) => (words, run(*wrong, oracle(generation), keyed)),
            // A stand-in of its own: all who connect meet its faults.
            Server(words) => (words, run(*wrong, &OracleServer::start(generation), keyed)),
        };
        match result {
            Ok(()) => eprintln!("{words} ({generation:?}): struck, and no row was lost or doubled"),
            Err(why) => failures.push(format!("-- {words} ({generation:?}):\n{why}")),
        }
    }
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

const COLUMNS: [&str; 6] = ["id", "grp", "v_text", "v_num", "v_time", "v_bytes"];
const HOLDS: [Holds; 6] =
    [Holds::Int, Holds::Int, Holds::Text, Holds::Decimal, Holds::Time, Holds::Bytes];
const MARIADB: &str = "id BIGINT NOT NULL, grp INT NOT NULL, v_text VARCHAR(60), v_num DECIMAL(20,6), \
                       v_time DATETIME(6), v_bytes VARBINARY(40)";
const ORACLE: &str = "id NUMBER(18) NOT NULL, grp NUMBER(9) NOT NULL, v_text VARCHAR2(60 CHAR), \
                      v_num NUMBER(20,6), v_time TIMESTAMP(6), v_bytes RAW(40)";

/// Row `n` in version `v`.
fn row(n: i64, v: i64) -> Row {
    let odd = n % 7 == 0;
    let text = |t: String| if odd { Cell::Null } else { Cell::Text(t) };
    vec![
        Cell::Int(n * 7919 % 100_003),
        Cell::Int(n % 10),
        text(format!("row {n} v{v} ä中🚚'\"")),
        text(format!("{}{n}.{:06}", if n % 2 == 0 { "-" } else { "" }, v + 1)),
        text(format!("2024-02-{:02} 10:20:{:02}.{:06}", n % 28 + 1, n % 60, n * 13 + v)),
        if odd { Cell::Null } else { Cell::Bytes(vec![0, 255, n as u8, v as u8]) },
    ]
}

fn rows(site: &Site, table: &str) -> Vec<Row> {
    let shown: Vec<_> = COLUMNS.iter().zip(HOLDS).map(|(c, h)| site.shown(c, h)).collect();
    site.rows(&format!("SELECT {} FROM {table}", shown.join(", ")), &HOLDS)
}

fn toml(source: &Site, dest: &Site, keyed: bool) -> String {
    let mode = match keyed {
        true => "mode = \"status\"\napp_resets_status = true\nwrite = \"upsert\"\n",
        false => "mode = \"full\"\nfull = \"truncate\"\n",
    };
    format!(
        "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 3\n\
         batch_rows = 30\nslot_bytes = 131072\n\
         [[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n{mode}",
        source.link("src"),
        dest.link("dst")
    )
}

fn into_oracle(wrong: Wrong, server: &OracleServer, keyed: bool) -> Result<(), String> {
    let account = server.account("crash");
    let (source, dest) = (Site::on_server(mariadb(), "src"), Site::of_account(&account));
    moved(wrong, server, &source, &dest, keyed)
}

fn out_of_oracle(wrong: Wrong, server: &OracleServer, keyed: bool) -> Result<(), String> {
    let account = server.account("crash");
    let (source, dest) = (Site::of_account(&account), Site::on_server(mariadb(), "dst"));
    moved(wrong, server, &source, &dest, keyed)
}

/// Rows are moved while that goes wrong, then changed and moved again.
fn moved(
    wrong: Wrong,
    server: &OracleServer,
    source: &Site,
    dest: &Site,
    keyed: bool,
) -> Result<(), String> {
    let key = if keyed { ", PRIMARY KEY (id)" } else { "" };
    let columns = |site: &Site| if site.is_oracle() { ORACLE } else { MARIADB };
    let status = match (keyed, source.is_oracle()) {
        (true, true) => ", sync_status NUMBER(1) DEFAULT 0 NOT NULL",
        (true, false) => ", sync_status TINYINT NOT NULL DEFAULT 0",
        (false, _) => "",
    };
    source.run(&[format!("CREATE TABLE src ({}{status}{key})", columns(source))]);
    dest.run(&[format!("CREATE TABLE dst ({}{key})", columns(dest))]);
    source.insert("src", &COLUMNS, &(0..ROWS).map(|n| row(n, 0)).collect::<Vec<_>>());
    let instance = Instance::new(&toml(source, dest, keyed));
    let even = |when: &str| {
        let mut found = differences(&rows(source, "src"), &rows(dest, "dst"));
        found.extend(instance.leftovers());
        if keyed {
            let open = source.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2");
            let settled = dest.quoted("settled");
            let unsettled =
                dest.number(&format!("SELECT COUNT(*) FROM SSYNC_LEDGER WHERE {settled} = 0"));
            if (open, unsettled) != (0, 0) {
                found.push(format!("{open} rows not in state 2, {unsettled} entries not settled"));
            }
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(format!("{when}:\n{}\n{}", found.join("\n"), instance.logs())),
        }
    };
    run_until_good(&instance, server, Some(wrong))?;
    even("after the fault")?;
    // What changes now goes after it, over what is there.
    let status = if keyed { ", sync_status = 0" } else { "" };
    source.run(&[format!("UPDATE src SET v_text = CONCAT('new ', grp){status} WHERE grp < 3")]);
    run_until_good(&instance, server, None)?;
    even("after the next run")
}

/// Runs the task until it has succeeded. What was to go wrong must have done so.
fn run_until_good(
    instance: &Instance,
    server: &OracleServer,
    wrong: Option<Wrong>,
) -> Result<(), String> {
    let failpoints = match wrong {
        Some(Process(words)) => words,
        Some(Server(words)) => {
            server.standin().faults().add(Fault::parse(words).expect("a fault in words"));
            ""
        }
        None => "",
    };
    let mut story = String::new();
    for _ in 0..RUNS_MAX {
        let outcome = instance.run_with(&["--task", "1", "--json"], failpoints);
        story += &format!("-- {outcome}\n");
        if outcome.code == Some(0) {
            return match wrong.is_none_or(|wrong| has_struck(instance, server, wrong)) {
                true => Ok(()),
                false => Err(format!("what was to go wrong did not:\n{story}")),
            };
        }
        instance.wait_until_dead();
    }
    Err(format!("{RUNS_MAX} runs were not enough:\n{story}{}", instance.logs()))
}

fn has_struck(instance: &Instance, server: &OracleServer, wrong: Wrong) -> bool {
    match wrong {
        Process(words) => {
            let (point, rest) = words.split_once('@').expect("point@batch=action");
            let (batch, _) = rest.split_once('=').expect("point@batch=action");
            instance.has_fired(point, batch)
        }
        Server(_) => server.standin().faults().waiting() == 0,
    }
}

#[test]
fn ids_of_rows_differ() {
    let ids: BTreeSet<Cell> = (0..ROWS).map(|n| row(n, 0)[0].clone()).collect();
    assert_eq!(ids.len() as i64, ROWS);
}
