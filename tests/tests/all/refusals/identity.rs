//! Tables are known by what they are: another address, a rename, a copy, a restored backup or a
//! second link loses, doubles and mixes no row.

use std::path::Path;

use ssync_tests::servers::oracle::{Generation, OracleAccount, oracle};
use ssync_tests::servers::{Server, mariadb, mysql56};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

use super::adopted::restored_amid_a_later_claim;
use super::{RUN, Tables, create_dest, error_of};

const INCREMENT: &str = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
const CHECK: [&str; 4] = ["check", "--task", "1", "--json"];
const OWN: [&str; 3] = ["SSYNC_FENCE", "SSYNC_LEDGER", "SSYNC_SEAT"];

fn database(site: &Site) -> String {
    let Site::MySql { database, .. } = site else { panic!("not a server") };
    database.clone()
}

/// A kind of database, and fresh places in it.
struct Base {
    name: &'static str,
    server: Option<&'static Server>,
    dir: tempfile::TempDir,
    accounts: Vec<OracleAccount<'static>>,
}

impl Base {
    fn site(&mut self, name: &str) -> Site {
        match (self.server, self.name) {
            (Some(server), _) => Site::on_server(server, "ref"),
            (None, "SQLite") => Site::in_file(self.dir.path(), name),
            (None, _) => {
                self.accounts.push(oracle(Generation::Oracle19c).account("ident"));
                Site::of_account(self.accounts.last().unwrap())
            }
        }
    }

    /// Both sides in it, with so many rows.
    fn tables(&mut self, rows: i64) -> Tables {
        Tables::between(self.site("src"), self.site("dst"), rows)
    }
}

/// Starts a shared server.
type Start = fn() -> &'static Server;

/// Every kind of database, one after the other.
fn bases() -> impl Iterator<Item = Base> {
    let kinds: [(_, Option<Start>); 4] = [
        ("MariaDB", Some(mariadb)),
        ("MySQL 5.6", Some(mysql56)),
        ("SQLite", None),
        ("Oracle", None),
    ];
    kinds.into_iter().map(|(name, server)| {
        eprintln!("on {name}");
        let dir = tempfile::tempdir().unwrap();
        Base { name, server: server.map(|start| start()), dir, accounts: Vec::new() }
    })
}

pub(super) fn rename(site: &Site, from: &str, to: &str) {
    site.run(&[format!("ALTER TABLE {from} RENAME TO {to}")]);
}

#[track_caller]
pub(super) fn assert_stops(outcome: &Outcome, words: &str) {
    assert_ne!(outcome.code, Some(0), "{outcome}");
    let (_, text) = error_of(outcome);
    assert!(text.contains(words), "{words:?} is not in {outcome}");
    let ways_out = ["ssync adopt", "initial", "ssync retry 1 --lost --tables"];
    assert!(ways_out.iter().any(|way| text.contains(way)), "no way out: {outcome}");
}

/// What a backup of a destination holds, in tables beside it.
pub(super) fn back_up(dest: &Site) {
    for table in ["dst"].iter().chain(&OWN) {
        if !dest.has_table(table) {
            continue;
        }
        dest.run(&[format!("CREATE TABLE bak_{table} AS SELECT * FROM {table}")]);
    }
}

pub(super) fn restore(dest: &Site) {
    for table in ["dst"].iter().chain(&OWN) {
        if !dest.has_table(table) {
            continue;
        }
        let sql = [
            format!("DELETE FROM {table}"),
            format!("INSERT INTO {table} SELECT * FROM bak_{table}"),
        ];
        dest.run(&sql);
    }
}

pub(super) fn adopt(instance: &Instance, decision: &[&str]) {
    let mut args = vec!["adopt", "--task", "1", "--tables", "t"];
    args.extend(decision);
    instance.run(&args).expect(0);
}

#[test]
fn an_older_destination_is_noticed_over_another_address_and_from_another_home() {
    for mut base in bases() {
        let tables = base.tables(50);
        tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
        let toml = tables.toml("", "write = \"ignore\"");
        let instance = Instance::new(&toml);
        instance.run(&RUN).expect(0);
        back_up(&tables.dest);
        tables.add(100..140);
        instance.run(&RUN).expect(0);
        restore(&tables.dest);
        assert_eq!(tables.landed(), 50);
        let moved = toml.replace("127.0.0.1", "localhost");
        let moved = match &tables.dest {
            Site::Sqlite(path) => {
                let link = base.dir.path().join("link.db");
                std::os::unix::fs::symlink(path, &link).unwrap();
                moved.replace(&path.display().to_string(), &link.display().to_string())
            }
            _ => moved,
        };
        assert_ne!(moved, toml);
        instance.apply(&moved);
        for other in [&instance, &Instance::new(&toml)] {
            for _ in 0..2 {
                assert_stops(&other.run(&RUN), "no longer has what was settled last");
            }
        }
        assert_eq!(tables.landed(), 50);
        instance.run(&["retry", "--task", "1", "--lost"]).expect(0);
        tables.assert_same();
        instance.run(&RUN).expect(0);
    }
}

#[test]
fn a_destination_is_one_table_whichever_default_database_a_link_has() {
    let modes = ["", "mode = \"full\"", INCREMENT];
    let cases = modes.map(|mode| (mariadb(), mode)).into_iter();
    for (server, mode) in cases.chain(modes.map(|mode| (mysql56(), mode))) {
        let elsewhere = Site::on_server(server, "ref");
        let on = || Site::on_server(server, "ref");
        let tables = Tables::between(on(), on(), 100);
        let central = database(&tables.dest);
        let qualified = |toml: String| {
            toml.replace("dest = \"dst\"\nwriters", "dest = \"DEST\"\nwriters")
                .replace("\ndest = \"dst\"\n", &format!("\ndest = \"{central}.dst\"\n"))
                .replace("dest = \"DEST\"", "dest = \"dst\"")
        };
        let near = qualified(tables.toml("", mode));
        let far = near.replace(&format!("/{central}\""), &format!("/{}\"", database(&elsewhere)));
        assert_ne!(near, far);
        let (one, other) = (Instance::new(&near), Instance::new(&far));
        one.run_with(&RUN, "writer.after_commit@4=kill-group");
        one.wait_until_dead();
        other.run(&RUN).expect(0);
        tables.assert_same();
        tables.add(1000..1040);
        one.run(&RUN).expect(0);
        other.run(&RUN).expect(0);
        tables.assert_same();
        let stray =
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
        assert_eq!(elsewhere.number(stray), 0, "nothing stands in the default database");
    }
}

#[test]
fn a_record_that_an_older_version_kept_in_the_default_database_is_moved() {
    let server = mariadb();
    let default = Site::on_server(server, "ref");
    let tables = Tables::on_mariadb(100);
    let central = database(&tables.dest);
    let toml = tables
        .toml("", "")
        .replace("dest = \"dst\"\napp", &format!("dest = \"{central}.dst\"\napp"))
        .replacen(&format!("/{central}\""), &format!("/{}\"", database(&default)), 1);
    let instance = Instance::new(&toml);
    instance.run_with(&RUN, "writer.after_commit@4=kill-group");
    instance.wait_until_dead();
    for table in &OWN[..2] {
        default.run(&[
            format!("CREATE TABLE {table} LIKE {central}.{table}"),
            format!("INSERT INTO {table} SELECT * FROM {central}.{table}"),
            format!("DROP TABLE {central}.{table}"),
        ]);
    }
    let drop: Vec<_> = ["ident", "counter", "server", "landed"]
        .iter()
        .map(|column| format!("ALTER TABLE SSYNC_FENCE DROP COLUMN {column}"))
        .collect();
    default.run(&drop);
    tables.source.run(&["UPDATE SSYNC_OWNER SET record = NULL, confirmed = NULL, intended = NULL"]);
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.table("t")["notes"].to_string().contains("was moved to"), "{outcome}");
    tables.assert_same();
    assert_eq!(default.number("SELECT COUNT(*) FROM SSYNC_FENCE"), 0);
}

/// A first `increment` into rows of unknown origin is refused, and a check says so.
#[track_caller]
fn assert_unknown(instance: &Instance) {
    const WORDS: &str = "nothing is known of where they came from";
    let checked = instance.run(&CHECK).expect(2);
    assert!(checked.stdout.contains(WORDS), "{checked}");
    let refused = instance.run(&RUN);
    assert_stops(&refused, WORDS);
    assert_eq!(refused.code, checked.code, "{refused}");
}

/// Two sources, of 100 and 80 rows, into one table.
fn two_sources() -> [Tables; 2] {
    let one = Tables::on_mariadb(100);
    let other = Tables { source: Site::on_server(mariadb(), "ref"), dest: one.dest.clone() };
    other
        .source
        .run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) NOT NULL, \
         sync_status INT NOT NULL DEFAULT 0)"]);
    other.add(5000..5080);
    [one, other]
}

#[test]
fn two_sources_of_one_name_keep_their_marks_apart() {
    let [one, other] = two_sources();
    Instance::new(&one.toml("", INCREMENT)).run(&RUN).expect(0);
    assert_eq!(one.landed(), 100);
    let second = Instance::new(&other.toml("", INCREMENT));
    assert_unknown(&second);
    second.apply(&other.toml("", &format!("{INCREMENT}\ninitial = \"all\"")));
    second.run(&RUN).expect(0);
    second.run(&RUN).expect(0);
    assert_eq!(one.landed(), 180);
}

#[test]
fn an_increment_begins_where_it_is_told_to() {
    let tables = Tables::on_mariadb(100);
    tables.dest.run(&["INSERT INTO dst SELECT seq, CONCAT('row ', seq) FROM seq_0_to_59"]);
    let instance = Instance::new(&tables.toml("", &format!("{INCREMENT}\ninitial = \"59\"")));
    instance.run_with(&RUN, "writer.after_commit@2=kill-group");
    instance.wait_until_dead();
    instance.run(&RUN).expect(0);
    tables.assert_same();
    tables.add(200..210);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn a_renamed_destination_keeps_its_mark_once_it_is_adopted() {
    for mut base in bases() {
        let tables = base.tables(100);
        let toml = tables.toml("", INCREMENT);
        let instance = Instance::new(&toml);
        instance.run(&RUN).expect(0);
        rename(&tables.dest, "dst", "dw");
        instance.apply(&toml.replace("dest = \"dst\"\nmode", "dest = \"dw\"\nmode"));
        tables.add(100..120);
        assert_stops(&instance.run(&RUN), "a mark is there of src -> dst");
        adopt(&instance, &["--dest-was", "dst"]);
        instance.run(&RUN).expect(0);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 120);
        assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 120);
    }
}

/// What a source on another server is known by are the names of today.
#[test]
fn a_renamed_destination_is_found_again_when_the_source_moves_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables =
        Tables::between(Site::in_file(dir.path(), "a"), Site::in_file(dir.path(), "d"), 100);
    let instance = Instance::new(&tables.toml("", INCREMENT));
    instance.run(&RUN).expect(0);
    rename(&tables.dest, "dst", "dw");
    let toml = |tables: &Tables| {
        tables.toml("", INCREMENT).replace("dest = \"dst\"\nmode", "dest = \"dw\"\nmode")
    };
    instance.apply(&toml(&tables));
    adopt(&instance, &["--dest-was", "dst"]);
    instance.run(&RUN).expect(0);
    tables.source = copied(&tables.source, dir.path(), "b");
    instance.apply(&toml(&tables));
    tables.add(100..120);
    assert_stops(&instance.run(&RUN), "a mark is there of src -> dw");
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 120);
    assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 120);
}

#[test]
fn an_increment_whose_tables_were_both_renamed_goes_on_once_they_are_adopted() {
    for mut base in bases() {
        let tables = base.tables(100);
        let toml = tables.toml("", INCREMENT);
        let instance = Instance::new(&toml);
        instance.run_with(&RUN, "writer.after_commit@4=kill-group");
        instance.wait_until_dead();
        rename(&tables.source, "src", "orders");
        rename(&tables.dest, "dst", "dw");
        instance.apply(&toml.replace(
            "source = \"src\"\ndest = \"dst\"\nmode",
            "source = \"orders\"\ndest = \"dw\"\nmode",
        ));
        assert_unknown(&instance);
        adopt(&instance, &["--source-was", "src", "--dest-was", "dst"]);
        instance.run(&CHECK).expect(0);
        instance.run(&RUN).expect(0);
        instance.run(&RUN).expect(0);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 100);
        assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 100);
    }
}

#[test]
fn a_destination_that_was_made_anew_is_not_taken_for_filled() {
    for mut base in bases() {
        let tables = base.tables(100);
        let instance = Instance::new(&tables.toml("", INCREMENT));
        instance.run(&RUN).expect(0);
        tables.dest.run(&["DROP TABLE dst"]);
        create_dest(&tables.dest);
        let outcome = instance.run(&RUN).expect(1);
        assert!(error_of(&outcome).1.contains("is empty, and rows have landed there"), "{outcome}");
        instance.run(&["--task", "1", "--restart"]).expect(0);
        tables.assert_same();
    }
}

/// SQL of its own hides that only where it may have emptied the table itself.
#[test]
fn a_destination_that_was_emptied_is_noticed_beside_sql_on_other_tables() {
    let dir = tempfile::tempdir().unwrap();
    for (kill, mode) in [("", INCREMENT), ("run.before_finish@1=kill-group", "")] {
        let site = |side: &str| Site::in_file(dir.path(), &format!("{side}{}", mode.len()));
        let tables = Tables::between(site("src"), site("dst"), 100);
        tables.dest.run(&["CREATE TABLE dst_stage (id BIGINT)"]);
        let with = |sql: &str| {
            tables.toml("", &format!("{mode}\nbefore = {{ dest = [\"DELETE FROM {sql}\"] }}"))
        };
        let instance = Instance::new(&with("dst_stage"));
        instance.run_with(&RUN, kill);
        instance.wait_until_dead();
        assert_eq!(tables.landed(), 100);
        tables.dest.run(&["DELETE FROM dst"]);
        let (kind, text) = error_of(&instance.run(&RUN).expect(1));
        assert!(kind == "Balance" && text.contains("is empty, and rows have"), "{text}");
        if mode == INCREMENT {
            instance.run(&["--task", "1", "--restart"]).expect(0);
            tables.assert_same();
        }
        instance.apply(&with("dst"));
        for ids in [6000..6010, 6010..6020] {
            tables.add(ids);
            instance.run(&RUN).expect(0);
        }
        assert!(tables.landed() > 0);
    }
}

#[test]
fn a_destination_that_was_emptied_amid_a_first_increment_is_not_taken_for_filled() {
    for mut base in bases() {
        let tables = base.tables(100);
        let instance = Instance::new(&tables.toml("", INCREMENT));
        instance.run_with(&RUN, "writer.after_commit@4=kill-group");
        instance.wait_until_dead();
        assert!(tables.landed() > 0);
        tables.dest.run(&["DELETE FROM dst"]);
        let outcome = instance.run(&RUN).expect(1);
        assert!(error_of(&outcome).1.contains("is empty, and rows have landed there"), "{outcome}");
        instance.run(&["--task", "1", "--restart"]).expect(0);
        tables.assert_same();
    }
}

/// The rows of one source do not hide that those of the other are gone, amid a first run neither.
#[test]
fn a_destination_of_two_sources_that_was_emptied_is_not_taken_for_filled_by_either() {
    for midst in ["", "settler.before_settle@3=kill-group"] {
        let [one, other] = two_sources();
        let from = |tables: &Tables, more| tables.toml("", &format!("{INCREMENT}\n{more}"));
        let homes = [(&one, ""), (&other, "initial = \"all\"")]
            .map(|(tables, more)| Instance::new(&from(tables, more)));
        let restart = ["--task", "1", "--json", "--restart"];
        homes[0].run(&RUN).expect(0);
        homes[1].run_with(&RUN, midst);
        homes[1].wait_until_dead();
        assert!(one.landed() > 100);
        one.dest.run(&["DELETE FROM dst"]);
        assert_stops_empty(&homes[0].run(&RUN), "is empty");
        homes[0].run(&restart).expect(0);
        for _ in 0..2 {
            let how = "was found empty by a run from another source";
            assert_stops_empty(&homes[1].run(&RUN), how);
        }
        homes[0].run(&RUN).expect(0);
        assert_eq!(one.landed(), 100);
        homes[1].run(&restart).expect(0);
        homes.iter().for_each(|home| drop(home.run(&RUN).expect(0)));
        assert_eq!(one.landed(), 180);
        assert_eq!(one.dest.number("SELECT COUNT(DISTINCT id) FROM dst"), 180);
        // Where rows are taken out as a matter of course, nobody is asked.
        one.dest.run(&["DELETE FROM dst"]);
        homes[0].run(&restart).expect(0);
        homes[1].apply(&from(&other, "count = false"));
        other.add(6000..6010);
        homes[1].run(&RUN).expect(0);
        assert_eq!(one.landed(), 110);
        homes[1].apply(&from(&other, ""));
        homes[1].run(&RUN).expect(0);
    }
}

#[track_caller]
fn assert_stops_empty(outcome: &Outcome, how: &str) {
    let (kind, text) = error_of(outcome);
    let words = format!("dst {how}, and rows have landed there");
    assert!(outcome.code == Some(1) && kind == "Balance" && text.contains(&words), "{outcome}");
    assert!(text.contains("--restart"), "{outcome}");
}

fn file_of(site: &Site) -> &Path {
    let Site::Sqlite(path) = site else { panic!("not a file") };
    path
}

/// A copy of the file under another name.
fn copied(site: &Site, dir: &Path, name: &str) -> Site {
    let to = dir.join(format!("{name}.db"));
    site.sqlite().execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
    Site::Sqlite(to)
}

#[test]
fn rows_under_way_in_a_copied_source_are_not_settled_by_the_originals_record() {
    for mut base in bases() {
        copied_source(base.site("dst"));
    }
}

/// A SQLite source is copied with rows under way, and the copy sent to the same destination.
fn copied_source(dest: Site) {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::between(Site::in_file(dir.path(), "a"), dest, 60);
    let original = Instance::new(&tables.toml("", ""));
    original.run_with(&RUN, "writer.after_commit@3=kill-group");
    original.wait_until_dead();
    let copy =
        Tables { source: copied(&tables.source, dir.path(), "b"), dest: tables.dest.clone() };
    // In the copy the rows under way become other rows.
    copy.source.run(&["UPDATE src SET id = id + 100000, v = 'copy ' || v"]);
    let unsent = copy.source.number("SELECT COUNT(*) FROM src WHERE sync_status < 2");
    let of_copy = Instance::new(&copy.toml("", ""));
    for _ in 0..2 {
        assert_stops(&of_copy.run(&RUN), "were claimed on another server");
    }
    let look = of_copy.run(&["adopt", "--task", "1"]).expect(0);
    assert!(look.stdout.contains("rows under way   yes"), "{look}");
    adopt(&of_copy, &["--new"]);
    of_copy.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst WHERE id >= 100000"), unsent);
    original.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst WHERE id < 100000"), 60);
    assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dst"), 60 + unsent);
}

#[test]
fn a_source_restored_to_an_older_state_is_noticed() {
    for mut base in bases() {
        restored_source(base.site("dst"));
    }
}

/// A SQLite source is restored to an older state.
fn restored_source(dest: Site) {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::between(Site::in_file(dir.path(), "a"), dest, 20);
    let instance = Instance::new(&tables.toml("", ""));
    instance.run(&RUN).expect(0);
    let backup = copied(&tables.source, dir.path(), "backup");
    tables.add(20..50);
    instance.run(&RUN).expect(0);
    // Over the same file, as a restore does it.
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file_of(&tables.source).display()));
    }
    std::fs::copy(file_of(&backup), file_of(&tables.source)).unwrap();
    tables.add(20..50);
    for _ in 0..2 {
        assert_stops(&instance.run(&RUN), "is older than what has landed of it");
    }
    assert_eq!(tables.landed(), 50);
    // The operator has looked: the rows of now are others, or have been taken out of the destination.
    tables.dest.run(&["DELETE FROM dst WHERE id >= 20"]);
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn a_number_that_a_copys_run_had_as_well_does_not_hide_that_the_destination_is_older() {
    for mut base in bases() {
        for killed in [None, Some("run.before_confirm@1=kill-group")] {
            numbered_twice(base.site(if killed.is_some() { "killed" } else { "dst" }), killed);
        }
    }
}

/// The destination goes back to when the source was copied, and on with the copy; the original comes
/// from another home, which remembers nothing.
fn numbered_twice(dest: Site, killed: Option<&str>) {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::between(Site::in_file(dir.path(), "a"), dest, 20);
    tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
    let toml = tables.toml("", "write = \"ignore\"");
    let original = Instance::new(&toml);
    original.run(&RUN).expect(0);
    let copy =
        Tables { source: copied(&tables.source, dir.path(), "b"), dest: tables.dest.clone() };
    back_up(&tables.dest);
    tables.add(20..50);
    original.run(&RUN).expect(0);
    restore(&tables.dest);
    copy.add(100_000..100_010);
    let of_copy = Instance::new(&copy.toml("", "write = \"ignore\""));
    of_copy.run(&RUN).expect(0);
    if let Some(failpoint) = killed {
        // The copy's next number is at the destination and not confirmed.
        of_copy.run_with(&RUN, failpoint);
        of_copy.wait_until_dead();
    }
    tables.add(50..60);
    let elsewhere = Instance::new(&toml);
    for _ in 0..2 {
        let word = if killed.is_some() { "is older than" } else { "had another run 2 than" };
        assert_stops(&elsewhere.run(&RUN), word);
    }
    if killed.is_none() {
        let look = elsewhere.run(&["adopt", "--task", "1"]).expect(0).stdout;
        assert!(look.contains("last run 2, another one than the source's"), "{look}");
        let retry = elsewhere.run(&["retry", "--task", "1", "--lost"]).expect(2);
        assert!(retry.stderr.contains("had another run 2 than the source"), "{retry}");
    }
    assert_eq!(tables.landed(), 30);
    // By hand.
    tables.source.run(&["UPDATE src SET sync_status = 0 WHERE id >= 20"]);
    adopt(&elsewhere, &["--as-is"]);
    elsewhere.run(&RUN).expect(0);
    tables.dest.run(&["DELETE FROM dst WHERE id >= 100000"]);
    tables.assert_same();
    // The copy is one now.
    copy.add(200_000..200_010);
    assert_stops(&of_copy.run(&RUN), "is older than");
}

#[test]
fn a_source_renamed_amid_a_run_is_gone_on_with_once_it_is_adopted() {
    for mut base in bases() {
        let tables = base.tables(100);
        let toml = tables.toml("", "");
        let instance = Instance::new(&toml);
        instance.run_with(&RUN, "writer.after_commit@5=kill-group");
        instance.wait_until_dead();
        rename(&tables.source, "src", "orders");
        instance.apply(&toml.replace(
            "source = \"src\"\ndest = \"dst\"\napp",
            "source = \"orders\"\ndest = \"dst\"\napp",
        ));
        for _ in 0..2 {
            assert_stops(&instance.run(&RUN), "no run is known that claimed them");
        }
        adopt(&instance, &["--source-was", "src"]);
        instance.run(&RUN).expect(0);
        assert_eq!(tables.landed(), 100);
        assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dst"), 100);
    }
}

#[test]
fn a_rename_of_the_source_does_not_hide_that_the_destination_is_older() {
    for mut base in bases() {
        let tables = base.tables(20);
        tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
        let toml = tables.toml("", "write = \"ignore\"");
        let instance = Instance::new(&toml);
        instance.run(&RUN).expect(0);
        back_up(&tables.dest);
        tables.add(20..40);
        instance.run(&RUN).expect(0);
        restore(&tables.dest);
        rename(&tables.source, "src", "orders");
        let renamed = toml.replace(
            "source = \"src\"\ndest = \"dst\"\napp",
            "source = \"orders\"\ndest = \"dst\"\napp",
        );
        instance.apply(&renamed);
        for other in [&instance, &Instance::new(&renamed)] {
            assert_stops(&other.run(&RUN), "no run is known that sent them");
        }
        adopt(&instance, &["--source-was", "src"]);
        assert_stops(&instance.run(&RUN), "no longer has what was settled last");
        instance.run(&["retry", "--task", "1", "--lost"]).expect(0);
        assert_eq!(tables.landed(), 40);
    }
}

#[test]
fn a_source_restored_to_before_its_first_run_is_noticed() {
    for mut base in bases() {
        let tables = base.tables(20);
        let toml = tables.toml("", "");
        Instance::new(&toml).run(&RUN).expect(0);
        tables.source.run(&["DROP TABLE SSYNC_OWNER", "UPDATE src SET sync_status = 0"]);
        let instance = Instance::new(&toml);
        for _ in 0..2 {
            assert_stops(&instance.run(&RUN), "the source knows of no run");
        }
        assert_eq!(tables.landed(), 20);
        // The operator has looked.
        tables.source.run(&["UPDATE src SET sync_status = 2"]);
        adopt(&instance, &["--as-is"]);
        tables.add(20..30);
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

/// What was under way when the backup was made has been settled, edited and claimed again since:
/// the ledger that came back must not settle the new versions.
#[test]
fn a_restored_ledger_does_not_settle_what_was_claimed_after_it() {
    for mut base in bases() {
        let tables = base.tables(30);
        tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
        let instance = Instance::new(&tables.toml("", "write = \"upsert\""));
        restored_amid_a_later_claim(&tables, &instance);
        instance.run(&["retry", "--task", "1", "--lost"]).expect(0);
        tables.assert_same();
    }
}

#[test]
fn a_destination_renamed_amid_a_run_is_gone_on_with_once_it_is_adopted() {
    for mut base in bases() {
        let tables = base.tables(100);
        let toml = tables.toml("", "");
        let instance = Instance::new(&toml);
        instance.run_with(&RUN, "writer.after_commit@5=kill-group");
        instance.wait_until_dead();
        rename(&tables.dest, "dst", "dw");
        instance.apply(&toml.replace("dest = \"dst\"\napp", "dest = \"dw\"\napp"));
        assert_stops(&instance.run(&RUN), "under way to another destination");
        adopt(&instance, &["--dest-was", "dst"]);
        instance.run(&RUN).expect(0);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 100);
        assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 100);
    }
}

/// The backup knows where the rows were to go, and of no run that came to anything.
#[test]
fn a_source_restored_to_before_its_first_run_is_noticed_though_its_destination_was_renamed() {
    for mut base in bases() {
        let tables = base.tables(100);
        let toml = tables.toml("", "");
        let instance = Instance::new(&toml);
        instance.run_with(&RUN, "run.after_intent@1=kill-group");
        instance.wait_until_dead();
        let own = ["src", "SSYNC_OWNER"];
        let kept = |table: &str| format!("CREATE TABLE bak_{table} AS SELECT * FROM {table}");
        tables.source.run(&own.map(kept));
        instance.run(&RUN).expect(0);
        for table in own {
            tables.source.run(&[
                format!("DELETE FROM {table}"),
                format!("INSERT INTO {table} SELECT * FROM bak_{table}"),
            ]);
        }
        rename(&tables.dest, "dst", "dw");
        instance.apply(&toml.replace("dest = \"dst\"\napp", "dest = \"dw\"\napp"));
        assert_stops(&instance.run(&RUN), "went to another destination before");
        adopt(&instance, &["--dest-was", "dst"]);
        assert_stops(&instance.run(&RUN), "is older than what has landed");
        tables.source.run(&["UPDATE src SET sync_status = 2"]);
        adopt(&instance, &["--as-is"]);
        instance.run(&RUN).expect(0);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 100);
        assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 100);
    }
}

/// What a destination has lost is not forgotten when the rows go to another one from then on.
#[test]
fn an_older_destination_is_noticed_when_the_rows_go_elsewhere() {
    let tables = Tables::on_mariadb(30);
    tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)", "CREATE TABLE other LIKE dst"]);
    let toml = tables.toml("", "write = \"ignore\"");
    let elsewhere = toml.replace("dest = \"dst\"\napp", "dest = \"other\"\napp");
    let instance = Instance::new(&toml);
    instance.run(&RUN).expect(0);
    back_up(&tables.dest);
    tables.add(100..120);
    instance.run(&RUN).expect(0);
    restore(&tables.dest);
    instance.apply(&elsewhere);
    tables.add(200..210);
    for _ in 0..2 {
        assert_stops(&instance.run(&RUN), "dst no longer has what was settled last");
    }
    instance.apply(&toml);
    instance.run(&["retry", "--task", "1", "--lost"]).expect(0);
    tables.assert_same();
    // At rest, and whole, it may be left.
    instance.apply(&elsewhere);
    tables.add(300..310);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM other"), 10);
    // An operator may leave it as it is.
    restore(&tables.dest);
    instance.apply(&toml);
    assert_stops(&instance.run(&RUN), "ssync adopt 1 --tables t");
    adopt(&instance, &["--as-is"]);
    tables.add(400..410);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.landed(), 40);
}

#[test]
fn another_destination_behind_the_same_names_is_noticed() {
    let tables = Tables::on_mariadb(40);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml);
    instance.run(&RUN).expect(0);
    // Tables of the same names in another database: the record has other ids, or is not there.
    let other = Site::on_server(mariadb(), "ref");
    other.run(&["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(300) NOT NULL)"]);
    let (here, there) = (database(&tables.dest), database(&other));
    instance.apply(&toml.replace(&format!("/{here}\""), &format!("/{there}\"")));
    tables.add(40..50);
    assert_stops(&instance.run(&RUN), "went to another destination before");
    assert_eq!(other.number("SELECT COUNT(*) FROM dst"), 0);
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    assert_eq!(other.number("SELECT COUNT(*) FROM dst"), 10);
}

#[test]
fn a_source_on_another_server_at_rest_is_a_note_and_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let tables =
        Tables::between(Site::in_file(dir.path(), "a"), Site::on_server(mariadb(), "ref"), 20);
    let instance = Instance::new(&tables.toml("", ""));
    instance.run(&RUN).expect(0);
    let moved =
        Tables { source: copied(&tables.source, dir.path(), "b"), dest: tables.dest.clone() };
    std::fs::remove_file(file_of(&tables.source)).unwrap();
    moved.add(20..30);
    instance.apply(&moved.toml("", ""));
    let outcome = instance.run(&RUN).expect(0);
    let note = "the source is on another server now";
    assert!(outcome.table("t")["notes"].to_string().contains(note), "{outcome}");
    moved.assert_same();
    let told: String = std::fs::read_dir(instance.home().join("events"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!(told.matches("server_changed").count(), 1, "{told}");
    assert!(!instance.run(&RUN).expect(0).stdout.contains(note));
}

#[test]
fn a_run_killed_between_the_two_ends_counters_is_no_reason_to_stop() {
    let tables = Tables::on_mariadb(30);
    let instance = tables.instance();
    for point in ["run.after_intent@1=kill-group", "run.before_confirm@1=kill-group"] {
        for _ in 0..2 {
            assert_eq!(instance.run_with(&RUN, point).signal, Some(9));
            instance.wait_until_dead();
            std::fs::remove_dir_all(instance.home().join("failpoints")).unwrap();
        }
        instance.run(&RUN).expect(0);
        tables.add(1000..1005);
        tables.source.run(&["DELETE FROM src WHERE id >= 1000"]);
    }
    tables.assert_same();
}

#[test]
fn an_increment_goes_on_at_a_replica_where_its_link_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let tables =
        Tables::between(Site::in_file(dir.path(), "a"), Site::on_server(mariadb(), "ref"), 40);
    let with_failover = |tables: &Tables| {
        let toml = tables.toml("", INCREMENT);
        toml.replacen("[[link]]\nname = \"dst\"", "failover = true\n[[link]]\nname = \"dst\"", 1)
    };
    // The mark of before is taken along.
    let instance = Instance::new(&tables.toml("", INCREMENT));
    instance.run(&RUN).expect(0);
    instance.apply(&with_failover(&tables));
    tables.add(40..50);
    instance.run(&CHECK).expect(0);
    instance.run(&RUN).expect(0);
    tables.assert_same();
    let replica =
        Tables { source: copied(&tables.source, dir.path(), "b"), dest: tables.dest.clone() };
    replica.add(50..60);
    instance.apply(&with_failover(&replica));
    instance.run(&RUN).expect(0);
    replica.assert_same();
    instance.run(&CHECK).expect(0);
    // Another home does not know the cluster, and does not guess.
    let other = Instance::new(&with_failover(&replica));
    assert_unknown(&other);
    replica.assert_same();
}

/// Killed between the source, which shows a batch as done, and whatever was to be written down of
/// it: the batch is missed all the same.
#[test]
fn what_was_settled_by_a_run_that_was_killed_is_missed_when_the_destination_loses_it() {
    for mut base in bases() {
        let tables = base.tables(100);
        tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
        let instance = Instance::new(&tables.toml("", "write = \"ignore\""));
        for point in ["settler.after_settle@1=kill-group", "recover.after_settle@*=kill-group"] {
            instance.run_with(&RUN, "settler.before_settle@1=kill-group");
            instance.wait_until_dead();
            let _ = std::fs::remove_dir_all(instance.home().join("failpoints"));
            instance.run_with(&RUN, point);
            instance.wait_until_dead();
        }
        tables.dest.run(&["DELETE FROM dst"]);
        for own in OWN.iter().filter(|own| tables.dest.has_table(own)) {
            tables.dest.run(&[format!("DELETE FROM {own}")]);
        }
        assert_stops(&instance.run(&RUN), "has no record of what landed, and had one");
        instance.run(&["retry", "--task", "1", "--lost"]).expect(0);
        tables.assert_same();
    }
}

#[test]
fn an_increment_whose_source_was_moved_goes_on_by_its_mark_once_it_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let tables =
        Tables::between(Site::in_file(dir.path(), "a"), Site::on_server(mariadb(), "ref"), 80);
    let instance = Instance::new(&tables.toml("", INCREMENT));
    instance.run(&RUN).expect(0);
    tables.add(80..140);
    // Amid a run, so that gaps are there to be filled.
    instance.run_with(&RUN, "writer.after_commit@10=kill-group");
    instance.wait_until_dead();
    let moved =
        Tables { source: copied(&tables.source, dir.path(), "b"), dest: tables.dest.clone() };
    instance.apply(&moved.toml("", INCREMENT));
    assert_stops(&instance.run(&RUN), "a mark is there of src -> dst");
    let told = instance.run(&["adopt", "--task", "1", "--tables", "t", "--as-is"]).expect(0);
    assert!(told.stdout.contains("if that source still sends rows here"), "{told}");
    instance.run(&RUN).expect(0);
    moved.assert_same();
    moved.add(200..210);
    instance.run(&RUN).expect(0);
    moved.assert_same();
}
