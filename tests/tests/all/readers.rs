//! Tables that several threads read side by side: every row once, whatever the key is like, also
//! where a run is broken off and resumed. Positions in the ledger tell that a table was shared out.

use ssync_tests::servers::mariadb;
use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::sites::{Holds, Site, differences};
use ssync_tests::ssync::Instance;

const ROWS: i64 = 24_000;

/// Tables `src` and `dst` of `columns`, the source with rows by `values` of `{n}` from 1 on.
fn sites(columns: &str, names: &str, values: &str) -> (Site, Site) {
    let (source, dest) = (Site::on_server(mariadb(), "rd"), Site::on_server(mariadb(), "rd"));
    let values = values.replace("{n}", "seq");
    source.run(&[
        format!("CREATE TABLE src ({columns}, sync_status TINYINT NOT NULL DEFAULT 0)"),
        format!("INSERT INTO src ({names}) SELECT {values} FROM seq_1_to_{ROWS}"),
    ]);
    dest.run(&[format!("CREATE TABLE dst ({columns})")]);
    (source, dest)
}

fn task(source: &str, dest: &str, readers: u8, table: &str) -> String {
    format!(
        "{source}{dest}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nreaders = {readers}\n\
         batch_rows = 500\n[[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n{table}"
    )
}

/// Pieces that batches of the last run came from.
fn pieces(dest: &Site) -> i64 {
    dest.number(
        "SELECT COUNT(DISTINCT SUBSTRING_INDEX(pos, '.', 1)) FROM SSYNC_LEDGER \
         WHERE pos REGEXP '^[0-9a-f]{8}[.]'",
    )
}

#[track_caller]
fn assert_same(source: &Site, dest: &Site, names: &str) {
    let holds = vec![Holds::Text; names.split(',').count()];
    let rows =
        |site: &Site, table: &str| site.rows(&format!("SELECT {names} FROM {table}"), &holds);
    let differing = differences(&rows(source, "src"), &rows(dest, "dst"));
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

const FULL: &str = "mode = \"full\"\n";

#[test]
fn a_whole_number_is_shared_out_in_even_steps() {
    let (source, dest) =
        sites("id BIGINT UNSIGNED PRIMARY KEY, v INT", "id, v", "18446744073709551615 - {n}, {n}");
    let toml = task(&source.link("src"), &dest.link("dst"), 3, FULL);
    Instance::new(&toml).run(&["--task", "1"]).expect(0);
    assert_same(&source, &dest, "id, v");
    assert_eq!(pieces(&dest), 12);
}

#[test]
fn any_other_key_is_shared_out_by_a_sample() {
    for (columns, values) in [
        ("a VARCHAR(40) COLLATE utf8mb4_general_ci, b INT, PRIMARY KEY (a)", "MD5({n}), {n}"),
        ("a VARBINARY(40), b INT, PRIMARY KEY (b, a)", "MD5({n}), {n} MOD 7"),
        (
            "a DATETIME(6), b INT, PRIMARY KEY (a, b)",
            "'2024-01-01' + INTERVAL {n} DIV 3 SECOND, {n}",
        ),
    ] {
        let (source, dest) = sites(columns, "a, b", values);
        let toml = task(&source.link("src"), &dest.link("dst"), 4, FULL);
        Instance::new(&toml).run(&["--task", "1"]).expect(0);
        assert_same(&source, &dest, "a, b");
        // By chance: of 24,000 rows some 12 are taken, and fewer than 2 about once in 10,000 times.
        assert!(pieces(&dest) > 1, "{columns}");
    }
}

/// Claims of a dense key go by whole numbers; the rows beyond a gap, and the very last that a
/// column holds, are claimed all the same.
#[test]
fn rows_with_a_state_are_claimed_over_gaps_and_up_to_the_end() {
    for (column, first, last) in [
        ("BIGINT UNSIGNED", "18446744073709551615 - {n}", "18446744073709551615"),
        ("BIGINT", "9223372036854775807 - {n}", "9223372036854775807"),
        ("INT", "2147483647 - {n}", "2147483647"),
        ("BIGINT", "IF({n} > 9000, 7000000000, 0) + {n} DIV 3 * 4 + {n} MOD 3", "9999999999"),
        ("BIGINT", "-{n} * 2", "9999999999"),
        ("DECIMAL(20)", "{n}", "99999999999999999999"),
    ] {
        let (source, dest) = sites(&format!("id {column} PRIMARY KEY"), "id", first);
        source.run(&[format!("INSERT INTO src (id) VALUES ({last})")]);
        let toml = task(&source.link("src"), &dest.link("dst"), 2, "");
        Instance::new(&toml).run(&["--task", "1"]).expect(0);
        assert_same(&source, &dest, "id");
        assert_eq!(source.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2"), 0, "{first}");
    }
}

#[test]
fn rows_with_a_state_are_read_by_several_as_they_are_claimed() {
    let (source, dest) = sites("id INT PRIMARY KEY, v INT", "id, v", "{n}, {n}");
    let toml = task(&source.link("src"), &dest.link("dst"), 4, "mode = \"status\"\n");
    let instance = Instance::new(&toml);
    let outcome = instance.run(&["--task", "1", "--json"]).expect(0);
    assert_eq!(outcome.count("t", "settled"), ROWS as u64);
    assert_same(&source, &dest, "id, v");
    assert_eq!(source.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2"), 0);
}

/// What each reader had under way when everything died is found again between what had landed.
#[test]
fn a_run_with_several_readers_is_resumed_at_the_row() {
    let (source, dest) = sites("id INT PRIMARY KEY, v INT", "id, v", "{n} * 3, {n}");
    let toml = task(&source.link("src"), &dest.link("dst"), 3, FULL);
    let instance = Instance::new(&toml);
    for failpoint in ["writer.after_commit@9=kill-group", "writer.mid_load@30=kill-group"] {
        let outcome = instance.run_with(&["--task", "1", "--json"], failpoint);
        assert_ne!(outcome.code, Some(0), "{outcome}");
        instance.wait_until_dead();
    }
    let outcome = instance.run(&["--task", "1", "--json"]).expect(0);
    assert!(outcome.count("t", "resumed") > 0, "{outcome}");
    assert_same(&source, &dest, "id, v");
    assert_eq!(instance.leftovers(), Vec::<String>::new());
}

/// A server that dies under one reader ends them all; the run goes on by itself.
#[test]
fn readers_whose_connections_break_are_replaced() {
    use mysql::prelude::Queryable;
    let (source, dest) =
        sites("id INT PRIMARY KEY, v VARCHAR(200)", "id, v", "{n}, REPEAT('x', 200)");
    let toml = task(&source.link("src"), &dest.link("dst"), 3, FULL);
    let instance = Instance::new(&toml);
    let mut running = instance.start(&["--task", "1", "--json"], "writer.before_commit@4=pause");
    running.reached("writer.before_commit").expect("a batch to commit");
    let Site::MySql { database, .. } = &source else { unreachable!() };
    let mut admin = source.mysql();
    let sql = format!(
        "SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> CONNECTION_ID()"
    );
    let ids: Vec<u64> = admin.query(sql).unwrap();
    assert!(ids.len() >= 4, "{ids:?}");
    for id in ids {
        let _ = admin.query_drop(format!("KILL {id}"));
    }
    instance.release("writer.before_commit");
    running.wait().expect(0);
    assert_same(&source, &dest, "id, v");
}

/// Where the link has too few connections for all readers, fewer run.
#[test]
fn readers_are_as_many_as_the_link_allows() {
    let (source, dest) = sites("id INT PRIMARY KEY, v INT", "id, v", "{n}, {n}");
    let link = source.link("src") + "max_connections = 4\n";
    let instance = Instance::new(&task(&link, &dest.link("dst"), 9, FULL));
    instance.run(&["--task", "1"]).expect(0);
    assert_same(&source, &dest, "id, v");
    assert_eq!(pieces(&dest), 8);
}

/// Oracle: rows without a key by where they are kept, others by a sample of their keys.
#[test]
fn oracle_tables_are_shared_out_by_rowid_and_by_sampled_keys() {
    for (generation, key) in
        [(Generation::Oracle19c, ""), (Generation::Oracle23ai, ", PRIMARY KEY (a)")]
    {
        let account = oracle(generation).account("readers");
        let dest = Site::on_server(mariadb(), "rd");
        account.run(&[
            &format!(
                "CREATE TABLE src (a VARCHAR2(40) NOT NULL, b NUMBER(9), c VARCHAR2(100){key})"
            ),
            &format!(
                "INSERT INTO src SELECT 'k' || MOD(LEVEL * 7919, 100003), LEVEL, RPAD('x', 90) \
                 FROM DUAL CONNECT BY LEVEL <= {ROWS}"
            ),
        ]);
        dest.run(&["CREATE TABLE dst (a VARCHAR(40) NOT NULL, b INT, c VARCHAR(100))"]);
        let link = format!(
            "[[link]]\nname = \"src\"\nurl = \"{}\"\npassword = {{ env = \"READERS_PW\" }}\n",
            account.url()
        );
        let mut instance = Instance::new(&task(&link, &dest.link("dst"), 4, FULL));
        instance.set_env("READERS_PW", account.password());
        let counts = |sql: &str| dest.number(sql);
        // A sample is of whole blocks, and now and then it has none of so few.
        let is_shared_out = (0..10).any(|_| {
            instance.run(&["--task", "1"]).expect(0);
            assert_eq!(counts("SELECT COUNT(*) FROM dst"), ROWS, "{key}");
            let whole = "SELECT COUNT(DISTINCT b) FROM dst WHERE LENGTH(c) = 90";
            assert_eq!(counts(whole), ROWS, "{key}");
            let wrong = "SELECT COUNT(*) FROM dst WHERE a <> CONCAT('k', b * 7919 MOD 100003)";
            assert_eq!(counts(wrong), 0);
            pieces(&dest) > 1
        });
        assert!(is_shared_out, "{key}");
    }
}
