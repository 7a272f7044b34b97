//! Rows between MariaDB and the Oracle stand-in while processes are killed and connections break,
//! before a statement or a commit, in it, or after it: afterwards both sides are compared row by
//! row. (`crash_matrix` does the same to the other databases by chance; here the faults of the
//! stand-in are what is tried, each at a chosen place.)

use std::collections::BTreeSet;

use ssync_tests::servers::mariadb;
use ssync_tests::servers::oracle::faults::Fault;
use ssync_tests::servers::oracle::{Generation, OracleServer};
use ssync_tests::sites::{Cell, Holds, Row, Site, differences};
use ssync_tests::ssync::Instance;

const ROWS: i64 = 240;
const ORACLE_PASSWORD_ENV: &str = "SSYNC_TEST_ORACLE_LINK";
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
    Server("execute drop-after nth=2 sql=INTO \"SSYNC_LEDGER\""),
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

#[test]
fn no_row_is_lost_or_doubled_from_mariadb_to_oracle() {
    every(LANDING, |wrong, generation| into_oracle(wrong, generation, true));
}

#[test]
fn no_row_is_lost_or_doubled_from_mariadb_to_oracle_without_a_key() {
    every(LANDING, |wrong, generation| into_oracle(wrong, generation, false));
}

#[test]
fn no_row_is_lost_or_doubled_from_oracle_to_mariadb() {
    every(READING, |wrong, generation| out_of_oracle(wrong, generation, true));
}

#[test]
fn no_row_is_lost_or_doubled_from_oracle_to_mariadb_without_a_key() {
    every(STREAMING, |wrong, generation| out_of_oracle(wrong, generation, false));
}

/// Each fault with one of the generations, which take turns.
fn every(wrongs: &[Wrong], run: impl Fn(Wrong, Generation) -> Result<(), String>) {
    let mut failures = Vec::new();
    for (i, wrong) in wrongs.iter().enumerate() {
        let generation = Generation::ALL[i % 3];
        let words = match wrong {
            Process(words) | Server(words) => words,
        };
        if let Err(why) = run(*wrong, generation) {
            failures.push(format!("-- {words} ({generation:?}):\n{why}"));
        }
    }
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

const COLUMNS: [&str; 6] = ["id", "grp", "v_text", "v_num", "v_time", "v_bytes"];
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

struct Oracle {
    server: OracleServer,
    generation: Generation,
}

/// Statements over Oracle's own driver, apart from everything under test.
struct Plain(oracledb::Connection);

impl Plain {
    fn open(server: &OracleServer, user: &str, password: &str) -> Plain {
        let config = oracledb::Config::default()
            .set_credentials(user, password)
            .set_connect_string(&server.standin().connect_string())
            .unwrap();
        Plain(oracledb::connect(config).unwrap())
    }

    fn run(&self, sql: &str) {
        self.0.execute(sql, &[]).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
        self.0.commit().unwrap();
    }

    fn rows(&self, table: &str) -> Vec<Row> {
        let sql = format!(
            "SELECT id, grp, v_text, TO_CHAR(v_num), TO_CHAR(v_time, 'YYYY-MM-DD HH24:MI:SS.FF6'), \
             v_bytes FROM {table}"
        );
        let rows = self.0.query(&sql, &[]).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
        rows.map(|row| {
            let row = row.unwrap();
            let text =
                |i: usize| row.get::<Option<String>>(i).unwrap().map_or(Cell::Null, Cell::Text);
            let int = |i: usize| Cell::Int(row.get::<i64>(i).unwrap());
            let bytes = row.get::<Option<Vec<u8>>>(5).unwrap().map_or(Cell::Null, Cell::Bytes);
            vec![int(0), int(1), text(2), number(text(3)), text(4), bytes]
        })
        .collect()
    }

    fn number(&self, sql: &str) -> i64 {
        self.0.query_row(sql, &[]).and_then(|row| row.get(0)).unwrap()
    }

    fn insert(&self, table: &str, rows: &[Row]) {
        for row in rows {
            let values: Vec<String> = row.iter().enumerate().map(|(i, c)| literal(i, c)).collect();
            let sql = format!(
                "INSERT INTO {table} ({}) VALUES ({})",
                COLUMNS.join(", "),
                values.join(", ")
            );
            self.0.execute(&sql, &[]).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
        }
        self.0.commit().unwrap();
    }
}

/// A number's text without what may differ in it: zeros at the end, none before the point.
fn number(cell: Cell) -> Cell {
    let Cell::Text(text) = cell else { return cell };
    let (sign, digits) = match text.trim().strip_prefix('-') {
        Some(digits) => ("-", digits.to_owned()),
        None => ("", text.trim().to_owned()),
    };
    let digits = if digits.starts_with('.') { format!("0{digits}") } else { digits };
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits,
    };
    Cell::Text(format!("{sign}{digits}"))
}

fn literal(column: usize, cell: &Cell) -> String {
    match (column, cell) {
        (_, Cell::Null) => "NULL".to_owned(),
        (_, Cell::Int(v)) => v.to_string(),
        (3, Cell::Text(t)) => t.clone(),
        (4, Cell::Text(t)) => format!("TO_TIMESTAMP('{t}', 'YYYY-MM-DD HH24:MI:SS.FF6')"),
        (_, Cell::Text(t)) => format!("'{}'", t.replace('\'', "''")),
        (_, Cell::Bytes(b)) => {
            format!("HEXTORAW('{}')", b.iter().map(|b| format!("{b:02X}")).collect::<String>())
        }
        (_, other) => panic!("{other:?}"),
    }
}

fn mariadb_rows(site: &Site, table: &str) -> Vec<Row> {
    use Holds::{Bytes, Int, Text};
    let sql = format!("SELECT {} FROM {table}", COLUMNS.join(", "));
    let mut rows = site.rows(&sql, &[Int, Int, Text, Text, Text, Bytes]);
    for row in &mut rows {
        row[3] = number(row[3].clone());
    }
    rows
}

fn toml(source: &str, dest: &str, keyed: bool) -> String {
    let mode = match keyed {
        true => "mode = \"status\"\napp_resets_status = true\nwrite = \"upsert\"\n",
        false => "mode = \"full\"\nfull = \"truncate\"\n",
    };
    format!(
        "{source}{dest}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 3\n\
         batch_rows = 30\nslot_bytes = 131072\n\
         [[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n{mode}"
    )
}

fn oracle_link(name: &str, url: &str) -> String {
    format!(
        "[[link]]\nname = \"{name}\"\nurl = \"{url}\"\n\
         password = {{ env = \"{ORACLE_PASSWORD_ENV}\" }}\nio_timeout_secs = 20\n"
    )
}

/// Runs the task until it has succeeded.
fn run_until_good(
    instance: &Instance,
    oracle: &Oracle,
    wrong: Option<Wrong>,
) -> Result<(), String> {
    let faults = oracle.server.standin().faults();
    let mut failpoints = "";
    match wrong {
        Some(Process(words)) => failpoints = words,
        Some(Server(words)) => faults.add(Fault::parse(words).expect("a fault in words")),
        None => {}
    }
    let mut story = String::new();
    for _ in 0..RUNS_MAX {
        let outcome = instance.run_with(&["--task", "1", "--json"], failpoints);
        story += &format!("-- {outcome}\n");
        if outcome.code == Some(0) {
            if let Some(Server(_)) = wrong
                && faults.waiting() > 0
            {
                faults.clear();
                return Err(format!("the fault never struck:\n{story}"));
            }
            return Ok(());
        }
        instance.wait_until_dead();
    }
    Err(format!(
        "{RUNS_MAX} runs were not enough ({:?}):\n{story}{}",
        oracle.generation,
        instance.logs()
    ))
}

fn even(wanted: &[Row], found: &[Row], instance: &Instance, when: &str) -> Result<(), String> {
    let mut differing = differences(wanted, found);
    differing.extend(instance.leftovers());
    match differing.is_empty() {
        true => Ok(()),
        false => Err(format!("{when}:\n{}\n{}", differing.join("\n"), instance.logs())),
    }
}

fn into_oracle(wrong: Wrong, generation: Generation, keyed: bool) -> Result<(), String> {
    let oracle = Oracle { server: OracleServer::start(generation), generation };
    let account = oracle.server.account("crash");
    let plain = Plain::open(&oracle.server, account.name(), account.password());
    let source = Site::on_server(mariadb(), "src");
    let key = if keyed { ", PRIMARY KEY (id)" } else { "" };
    let status = if keyed { ", sync_status TINYINT NOT NULL DEFAULT 0" } else { "" };
    source.run(&[format!("CREATE TABLE src ({MARIADB}{status}{key})")]);
    plain.run(&format!("CREATE TABLE dst ({ORACLE}{key})"));
    let rows: Vec<Row> = (0..ROWS).map(|n| row(n, 0)).collect();
    source.insert("src", &COLUMNS, &rows);
    let mut instance =
        Instance::new(&toml(&source.link("src"), &oracle_link("dst", &account.url()), keyed));
    instance.set_env(ORACLE_PASSWORD_ENV, account.password());
    run_until_good(&instance, &oracle, Some(wrong))?;
    even(&mariadb_rows(&source, "src"), &plain.rows("dst"), &instance, "after the fault")?;
    if keyed {
        let open = source.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2");
        assert_eq!(open, 0, "rows that are not in state 2");
        let open = plain.number("SELECT COUNT(*) FROM SSYNC_LEDGER WHERE \"settled\" = 0");
        assert_eq!(open, 0, "ledger entries that are not settled");
    }
    // What changes now goes after it, over what is there.
    let status = if keyed { ", sync_status = 0" } else { "" };
    source.run(&[format!("UPDATE src SET v_text = CONCAT('new ', grp){status} WHERE grp < 3")]);
    run_until_good(&instance, &oracle, None)?;
    even(&mariadb_rows(&source, "src"), &plain.rows("dst"), &instance, "after the next run")
}

fn out_of_oracle(wrong: Wrong, generation: Generation, keyed: bool) -> Result<(), String> {
    let oracle = Oracle { server: OracleServer::start(generation), generation };
    let account = oracle.server.account("crash");
    let plain = Plain::open(&oracle.server, account.name(), account.password());
    let dest = Site::on_server(mariadb(), "dst");
    let key = if keyed { ", PRIMARY KEY (id)" } else { "" };
    let status = if keyed { ", sync_status NUMBER(1) DEFAULT 0 NOT NULL" } else { "" };
    plain.run(&format!("CREATE TABLE src ({ORACLE}{status}{key})"));
    dest.run(&[format!("CREATE TABLE dst ({MARIADB}{key})")]);
    let rows: Vec<Row> = (0..ROWS).map(|n| row(n, 0)).collect();
    plain.insert("src", &rows);
    let mut instance =
        Instance::new(&toml(&oracle_link("src", &account.url()), &dest.link("dst"), keyed));
    instance.set_env(ORACLE_PASSWORD_ENV, account.password());
    run_until_good(&instance, &oracle, Some(wrong))?;
    even(&plain.rows("src"), &mariadb_rows(&dest, "dst"), &instance, "after the fault")?;
    if keyed {
        let open = plain.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2");
        assert_eq!(open, 0, "rows that are not in state 2");
    }
    let status = if keyed { ", sync_status = 0" } else { "" };
    plain.run(&format!("UPDATE src SET v_text = 'new ' || TO_CHAR(grp){status} WHERE grp < 3"));
    run_until_good(&instance, &oracle, None)?;
    even(&plain.rows("src"), &mariadb_rows(&dest, "dst"), &instance, "after the next run")
}

#[test]
fn ids_of_rows_differ() {
    let ids: BTreeSet<Cell> = (0..ROWS).map(|n| row(n, 0)[0].clone()).collect();
    assert_eq!(ids.len() as i64, ROWS);
}
