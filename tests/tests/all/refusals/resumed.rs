//! A run that is resumed is the same run: from the same source, by the same keys, as often as it
//! takes, also where a former version began it.

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Cell, Row, Site};
use ssync_tests::ssync::{Instance, Outcome};

use super::{RUN, Tables, error_of};

const FULL: &str = "mode = \"full\"";
const INCREMENT: &str = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";

fn notes(outcome: &Outcome) -> String {
    outcome.table("t")["notes"].to_string()
}

/// Everything dies at this point.
#[track_caller]
fn broken_off(instance: &Instance, points: &str) {
    // Each point acts once; here it is to act in every run.
    let _ = std::fs::remove_dir_all(instance.home().join("failpoints"));
    let outcome = instance.run_with(&RUN, points);
    assert_eq!(outcome.signal, Some(9), "{outcome}");
    instance.wait_until_dead();
}

/// A source with rows from 1 on whose values say where they come from.
fn source(site: Site, rows: i64, word: &str) -> Site {
    let columns = match site.is_oracle() {
        true => "id NUMBER(18) NOT NULL PRIMARY KEY, v VARCHAR2(300) NOT NULL",
        false => "id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) NOT NULL",
    };
    site.run(&[format!("CREATE TABLE src ({columns})")]);
    let row = |id| -> Row { vec![Cell::Int(id), Cell::Text(format!("{word} {id}"))] };
    site.insert("src", &["id", "v"], &(1..=rows).map(row).collect::<Vec<_>>());
    site
}

fn dest(site: Site) -> Site {
    let columns = match site.is_oracle() {
        true => "id NUMBER(18) NOT NULL, v VARCHAR2(400) NOT NULL",
        false => "id BIGINT NOT NULL, v VARCHAR(400) NOT NULL",
    };
    site.run(&[format!("CREATE TABLE dst ({columns})")]);
    site
}

/// Interrupted on staging, its link corrected to production.
fn another_source(staging: Site, production: Site, into: Site, changed: &str) {
    let staging = source(staging, 200, "staging");
    let production = source(production, 250, "row");
    let dest = dest(into);
    let of = |source: &Site| Tables { source: source.clone(), dest: dest.clone() };
    let instance = Instance::new(&of(&staging).toml("", FULL));
    broken_off(&instance, "writer.after_commit@5=kill-group");
    assert!(of(&staging).landed() > 0);
    instance.apply(&of(&production).toml("", FULL));
    // Broken off once more it is resumed: from production.
    broken_off(&instance, "writer.after_commit@5=kill-group");
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.count("t", "resumed") > 0, "{outcome}");
    of(&production).assert_same();
    // And back, and to the end.
    instance.apply(&of(&staging).toml("", FULL));
    broken_off(&instance, "writer.after_commit@5=kill-group");
    instance.apply(&of(&production).toml("", FULL));
    let outcome = instance.run(&RUN).expect(0);
    of(&production).assert_same();
    assert_eq!(outcome.count("t", "resumed"), 0, "{outcome}");
    assert!(notes(&outcome).contains("began anew"), "{outcome}");
    assert!(notes(&outcome).contains(changed), "{outcome}");
}

#[test]
fn a_full_run_does_not_go_on_from_another_source() {
    let dir = tempfile::tempdir().unwrap();
    let on = |server| Site::on_server(server, "res");
    let maria = mariadb();
    another_source(on(maria), on(maria), on(maria), "the source's table");
    let (one, other) = (Site::in_file(dir.path(), "one"), Site::in_file(dir.path(), "other"));
    another_source(one, other, Site::in_file(dir.path(), "into"), "the source's server");
    another_source(on(mysql56()), on(maria), on(mysql56()), "the source's server");
}

#[test]
fn a_full_run_does_not_go_on_from_another_schema_of_oracle() {
    let server = oracle(Generation::Oracle19c);
    let [staging, production] = ["res_a", "res_b"].map(|name| server.account(name));
    let sites = [&staging, &production].map(Site::of_account);
    let [staging, production] = sites;
    another_source(staging, production, Site::on_server(mariadb(), "res"), "the source's table");
}

/// A link that may lead to any replica of a cluster: another server is none, another table is.
#[test]
fn a_full_run_goes_on_from_a_replica_where_the_link_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let one = source(Site::in_file(dir.path(), "one"), 200, "row");
    let replica = source(Site::in_file(dir.path(), "replica"), 200, "row");
    let dest = dest(Site::in_file(dir.path(), "into"));
    let toml = |source: &Site| {
        let tables = Tables { source: source.clone(), dest: dest.clone() };
        tables.toml("", FULL).replacen("name = \"src\"", "name = \"src\"\nfailover = true", 1)
    };
    let instance = Instance::new(&toml(&one));
    broken_off(&instance, "writer.after_commit@5=kill-group");
    instance.apply(&toml(&replica));
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.count("t", "resumed") > 0, "{outcome}");
    Tables { source: replica, dest }.assert_same();
}

/// What was resumed under a new name of the link, and another spelling of both tables, is the same.
#[test]
fn names_of_links_and_spellings_of_tables_make_no_other_run() {
    let server = mariadb();
    let tables = Tables {
        source: source(Site::on_server(server, "res"), 200, "row"),
        dest: dest(Site::on_server(server, "res")),
    };
    let toml = tables.toml("", FULL);
    let instance = Instance::new(&toml);
    broken_off(&instance, "writer.after_commit@5=kill-group");
    let named = |site: &Site| match site {
        Site::MySql { database, .. } => database.clone(),
        _ => unreachable!(),
    };
    let spelt = toml
        .replace("name = \"src\"", "name = \"quelle\"")
        .replacen("[[task]]\nid = 1\nsource = \"src\"", "[[task]]\nid = 1\nsource = \"quelle\"", 1)
        .replace(
            "name = \"t\"\nsource = \"src\"",
            &format!("name = \"t\"\ncount = false\nsource = \"{}.src\"", named(&tables.source)),
        )
        .replace("dest = \"dst\"\nmode", &format!("dest = \"{}.dst\"\nmode", named(&tables.dest)))
        .replacen("127.0.0.1", "localhost", 1);
    assert!(spelt.contains(".src") && spelt.contains(".dst") && spelt.contains("quelle"));
    instance.apply(&spelt);
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.count("t", "resumed") > 0, "{outcome}");
    tables.assert_same();
}

#[test]
fn a_full_run_does_not_go_on_with_another_key() {
    for random in [true, false] {
        let server = mariadb();
        let [plain, sealed, opened] = [(); 3].map(|()| Site::on_server(server, "rot"));
        let plain = source(plain, 200, "row");
        let (sealed, opened) = (dest(sealed), dest(opened));
        sealed.run(&["ALTER TABLE dst ADD PRIMARY KEY (id)"]);
        let instance = Instance::new("");
        let file = |name: &str| {
            let path = instance.scratch().join(name).display().to_string();
            instance.run(&["key", "new", "pii", "--out", &path]).expect(0);
            path
        };
        let (old, new) = (file("old.key"), file("new.key"));
        let choice = match random {
            true => "{ v = \"pii\" }",
            false => "{ v = { key = \"pii\", deterministic = true } }",
        };
        let toml = |key: &str| {
            let tables = Tables { source: plain.clone(), dest: sealed.clone() };
            let back = Tables { source: sealed.clone(), dest: opened.clone() };
            let task = back.toml("", &format!("{FULL}\ndecrypt = {choice}"));
            let task = task.split_once("[[task]]\nid = 1\n").unwrap().1;
            let task = task
                .replacen("source = \"src\"\ndest = \"dst\"", "source = \"dst\"\ndest = \"end\"", 1)
                .replace("source = \"src\"\ndest = \"dst\"", "source = \"dst\"\ndest = \"dst\"");
            format!(
                "[[key]]\nname = \"pii\"\n{key}\n{}{}\n[[task]]\nid = 2\n{task}",
                opened.link("end"),
                tables.toml("", &format!("{FULL}\nencrypt = {choice}")),
            )
        };
        instance.apply(&toml(&format!("secret = {{ file = \"{old}\" }}")));
        broken_off(&instance, "writer.after_commit@5=kill-group");
        let (secret, older) =
            (format!("secret = {{ file = \"{new}\" }}"), format!("old = [{{ file = \"{old}\" }}]"));
        instance.apply(&toml(&format!("{secret}\n{older}")));
        let outcome = instance.run(&RUN).expect(0);
        assert!(notes(&outcome).contains("the encryption keys changed"), "{outcome}");
        // The old one is retired: every value opens without it.
        instance.apply(&toml(&secret));
        instance.run(&["--task", "2", "--json"]).expect(0);
        Tables { source: plain, dest: opened }.assert_same();
    }
}

/// A source that another server holds is another source to an increment, too: what of it has landed
/// is not completed by rows of the other.
#[test]
fn an_increment_that_was_broken_off_does_not_go_on_from_another_source() {
    let dir = tempfile::tempdir().unwrap();
    let one = source(Site::in_file(dir.path(), "one"), 200, "staging");
    let other = source(Site::in_file(dir.path(), "other"), 200, "row");
    let dest = dest(Site::in_file(dir.path(), "into"));
    let of = |source: &Site| Tables { source: source.clone(), dest: dest.clone() };
    let instance = Instance::new(&of(&one).toml("", INCREMENT));
    broken_off(&instance, "writer.after_commit@5=kill-group");
    let landed = of(&one).landed();
    instance.apply(&of(&other).toml("", INCREMENT));
    let outcome = instance.run(&RUN).expect(2);
    assert_eq!(error_of(&outcome).0, "Refused", "{outcome}");
    assert_eq!(of(&one).landed(), landed);
    instance.apply(&of(&one).toml("", INCREMENT));
    instance.run(&RUN).expect(0);
    of(&one).assert_same();
}

/// Rows from 1 on, and a first batch of 200 that dies while the second lands: a gap in front of it.
fn with_a_gap(source_site: Site, dest_site: Site, mode: &str, task: &str) -> (Tables, Instance) {
    let tables = Tables { source: source(source_site, 3000, "row"), dest: dest(dest_site) };
    let toml = tables.toml(task, mode).replace("batch_rows = 10", "batch_rows = 1000");
    let instance = Instance::new(&toml);
    broken_off(&instance, "writer.got_batch@1=pause;writer.after_commit@2=kill-group");
    instance.apply(&tables.toml(task, mode));
    (tables, instance)
}

/// Killed after one batch each time, it comes to its end, with every row once.
#[track_caller]
fn resumed_again_and_again(tables: &Tables, instance: &Instance, times: usize) {
    let (pos, ledger) = (tables.dest.quoted("pos"), tables.dest.quoted("SSYNC_LEDGER"));
    let mut longest = 0;
    for _ in 0..times {
        broken_off(instance, "writer.after_commit@1=kill-group");
        let sql = format!("SELECT MAX(LENGTH({pos})) FROM {ledger}");
        longest = longest.max(tables.dest.number(&sql));
    }
    assert!(longest > 50, "no gap was filled in gaps: {longest}");
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.count("t", "resumed") > 0, "{outcome}");
    tables.assert_same();
}

fn in_files(name: &str, mode: &str, task: &str) {
    let dir = tempfile::tempdir().unwrap();
    let [source, dest] =
        ["source", "dest"].map(|n| Site::in_file(dir.path(), &format!("{name}_{n}")));
    let (tables, instance) = with_a_gap(source, dest, mode, task);
    resumed_again_and_again(&tables, &instance, 40);
}

#[test]
fn a_full_run_is_resumed_forty_times() {
    in_files("full", FULL, "");
}

#[test]
fn an_increment_is_resumed_forty_times() {
    in_files("increment", INCREMENT, "");
}

#[test]
fn a_full_run_of_several_readers_is_resumed_forty_times() {
    let sites = || Site::on_server(mariadb(), "res");
    let (tables, instance) = with_a_gap(sites(), sites(), FULL, "readers = 3");
    resumed_again_and_again(&tables, &instance, 40);
}

#[test]
fn an_increment_of_several_readers_is_resumed_forty_times() {
    in_files("readers", INCREMENT, "readers = 3");
}

#[test]
fn a_run_into_oracle_is_resumed_until_its_ledger_is_renumbered() {
    let account = oracle(Generation::Oracle19c).account("res_pos");
    let (source, dest) = (Site::on_server(mariadb(), "res"), Site::of_account(&account));
    let (tables, instance) = with_a_gap(source, dest, FULL, "");
    resumed_again_and_again(&tables, &instance, 12);
}

/// Dying while entries get their new positions leaves the old ones, all of them.
#[test]
fn a_run_that_dies_while_its_ledger_is_renumbered_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let [source, dest] = ["s", "d"].map(|n| Site::in_file(dir.path(), n));
    let (tables, instance) = with_a_gap(source, dest, FULL, "");
    for _ in 0..6 {
        broken_off(&instance, "writer.after_commit@1=kill-group");
    }
    broken_off(&instance, "ledger.renumber@3=kill-group;writer.after_commit@1=kill-group");
    assert!(instance.has_fired("ledger.renumber", "3"), "the entries were to be renumbered");
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

/// Rows that a run landed which the version before ran, and the tables of that version.
const LANDED: &str = include_str!("../resumed/landed.sql");

/// What the version before wrote into the destination when it was killed eight times: an open run
/// with its fingerprint, and positions that grew.
#[test]
fn a_full_run_that_the_former_version_began_is_resumed() {
    of_the_former_version(FULL, include_str!("../resumed/full.sql"));
}

#[test]
fn an_increment_that_the_former_version_began_is_resumed() {
    of_the_former_version(INCREMENT, include_str!("../resumed/increment.sql"));
}

fn of_the_former_version(mode: &str, dump: &str) {
    let dir = tempfile::tempdir().unwrap();
    let [source, dest] = ["s", "d"].map(|n| Site::in_file(dir.path(), n));
    source.run(&["CREATE TABLE src (id INTEGER NOT NULL PRIMARY KEY, v TEXT NOT NULL)"]);
    let row = |id| -> Row { vec![Cell::Int(id), Cell::Text(format!("row {id}"))] };
    source.insert("src", &["id", "v"], &(1..=300).map(row).collect::<Vec<_>>());
    dest.run(&[LANDED, dump]);
    let tables = Tables { source, dest };
    let instance = Instance::new(&tables.toml("", mode));
    broken_off(&instance, "writer.after_commit@1=kill-group");
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.count("t", "resumed") >= 180, "{outcome}");
    assert!(notes(&outcome).contains("had not come to its end"), "{outcome}");
    tables.assert_same();
}
