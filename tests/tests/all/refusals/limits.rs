//! Things that are missing, full, read-only, wrong, empty or very large.

use std::os::unix::process::CommandExt;
use std::process::Command;

use mysql::prelude::Queryable;
use ssync_tests::servers::{PASSWORD, Server, Software, mariadb};
use ssync_tests::sites::{Holds, Site, differences};
use ssync_tests::ssync::{Instance, program};

use super::{RUN, Tables, error_of};

/// No row is bad, none is done that has not landed, and none is to be sent that has. (Where the
/// ledger has no room either, rows may stay under way for the next run.)
fn nothing_blamed(tables: &Tables, all: i64) {
    let landed = tables.landed();
    let states = tables.states();
    for (state, rows) in &states {
        let most = match state {
            0 => all - landed,
            1 => all,
            2 => landed,
            _ => 0,
        };
        assert!(*rows <= most, "{states:?}, {landed} landed");
    }
}

#[test]
fn a_destination_that_turns_read_only_is_no_rows_fault() {
    let server = Server::start(Software::MariaDb, &[]);
    let tables =
        Tables::between(Site::on_server(mariadb(), "ref"), Site::on_server(&server, "ref"), 100);
    let Site::MySql { database, .. } = &tables.dest else { unreachable!() };
    let mut admin = server.connect();
    for host in ["127.0.0.1", "localhost", "%"] {
        let password = PASSWORD.replace('\'', "''");
        admin.query_drop(format!("CREATE USER plain@'{host}' IDENTIFIED BY '{password}'")).unwrap();
        admin.query_drop(format!("GRANT ALL ON `{database}`.* TO plain@'{host}'")).unwrap();
    }
    let toml = tables.toml("error_limit = 1000", "");
    let toml = toml.replace(
        &format!("mysql://app@127.0.0.1:{}", server.port()),
        &format!("mysql://plain@127.0.0.1:{}", server.port()),
    );
    let instance = Instance::new(&toml);
    let mut run = instance.start(&RUN, "writer.before_fence@5=pause");
    run.reached("writer.before_fence").expect("the fifth batch");
    admin.query_drop("SET GLOBAL read_only = ON").unwrap();
    instance.release("writer.before_fence");
    let outcome = run.wait().expect(1);
    // Even the ledger cannot be written to now; what landed is settled by the next run.
    admin.query_drop("SET GLOBAL read_only = OFF").unwrap();
    let states = tables.states();
    assert!(states.iter().all(|(state, _)| *state != 3), "{states:?}: {outcome}");
    instance.run(&RUN).expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 100)]);
}

#[test]
fn a_full_tablespace_is_no_rows_fault() {
    let server = Server::start(
        Software::MariaDb,
        &["--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:20M"],
    );
    let tables =
        Tables::between(Site::on_server(mariadb(), "ref"), Site::on_server(&server, "ref"), 0);
    tables.dest.run(&["ALTER TABLE dst MODIFY v LONGTEXT NOT NULL"]);
    tables.source.run(&[
        "ALTER TABLE src MODIFY v LONGTEXT NOT NULL",
        "INSERT INTO src (id, v) SELECT seq, REPEAT('x', 40000) FROM seq_1_to_600",
    ]);
    let instance = Instance::new(&tables.toml("error_limit = 1000", ""));
    let outcome = instance.run(&RUN).expect(1);
    let (kind, _) = error_of(&outcome);
    assert_eq!(kind, "Full", "{outcome}");
    nothing_blamed(&tables, 600);
    assert!(tables.landed() > 0, "{outcome}");
}

#[test]
fn a_full_disk_under_sqlite_is_no_rows_fault() {
    let dir = tempfile::tempdir().unwrap();
    let dest = Site::in_file(dir.path(), "dst");
    let tables = Tables::between(Site::on_server(mariadb(), "ref"), dest, 0);
    tables.source.run(&[
        "ALTER TABLE src MODIFY v LONGTEXT NOT NULL",
        "INSERT INTO src (id, v) SELECT seq, REPEAT('x', 40000) FROM seq_1_to_600",
    ]);
    let instance = Instance::new(&tables.toml("error_limit = 1000", ""));
    // A file may grow to 12 MiB and no further. (Shared memory is files too: it needs less.)
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 12288; exec \"$@\"", "sh"]);
    command.arg(program()).args(RUN).process_group(0);
    let output = instance.in_environment(command).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1), "{text}");
    let states = tables.states();
    assert!(states.iter().all(|(state, _)| *state != 3), "{states:?}: {text}");
    let landed = tables.landed();
    assert!((1..600).contains(&landed), "{landed} landed: {text}");
    // With room again everything goes, and nothing twice.
    instance.run(&RUN).expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 600)]);
}

/// A run by a process for which these files of the host are others, so that its exit code is `code`.
#[track_caller]
fn run_on_a_host_with(instance: &Instance, mounts: &str, code: i32) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-ec"]);
    command.arg(format!("{mounts}\nexec \"$@\"")).arg("sh");
    command.arg(program()).args(RUN);
    let outcome = instance.start_by(command, "").wait().expect(code);
    format!("{outcome}")
}

#[test]
fn too_little_memory_is_said_in_figures() {
    let tables = Tables::on_mariadb(10);
    let instance = Instance::new(&tables.toml("", "").replace("65536", "16777216"));
    // Four slots of 16 MiB are asked for.
    let meminfo = instance.scratch().join("meminfo");
    std::fs::write(&meminfo, "MemTotal: 99999 kB\nMemAvailable: 24576 kB\nSwapFree: 0 kB\n")
        .unwrap();
    let mount = format!("mount --bind {} /proc/meminfo", meminfo.display());
    let text = run_on_a_host_with(&instance, &mount, 1);
    assert!(text.contains("memory has no room"), "{text}");
    assert!(text.contains("25165824 bytes are available"), "{text}");
    assert!(text.contains("slot_bytes"), "{text}");
    assert_eq!(tables.states(), [(0, 10)], "{text}");
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn batches_need_no_room_in_the_directory_of_shared_memory() {
    let tables = Tables::on_mariadb(10);
    let instance = Instance::new(&tables.toml("", "").replace("65536", "16777216"));
    run_on_a_host_with(&instance, "mount -t tmpfs -o size=8m tmpfs /dev/shm", 0);
    tables.assert_same();
}

#[test]
fn a_wrong_password_is_said_without_it_and_not_tried_again() {
    let tables = Tables::on_mariadb(10);
    let mut instance = tables.instance();
    instance.set_env("SSYNC_TEST_PASSWORD", "not-the-Pw-9f2c");
    let outcome = instance.run(&RUN).expect(1);
    let (kind, _) = error_of(&outcome);
    assert_eq!(kind, "Login", "{outcome}");
    assert!(!format!("{outcome}{}", instance.logs()).contains("not-the-Pw-9f2c"));
    assert!(!instance.logs().contains("attempt 1 of"), "{}", instance.logs());
}

#[test]
fn what_is_missing_is_named_and_nothing_is_touched() {
    for (spoil, named) in [
        ("DROP TABLE dst", "dst"),
        ("ALTER TABLE dst DROP v", "no column v"),
        ("ALTER TABLE dst ADD must INT NOT NULL", "must"),
    ] {
        let tables = Tables::on_mariadb(10);
        tables.dest.run(&[spoil]);
        let outcome = tables.instance().run(&RUN).expect(2);
        assert!(format!("{outcome}").contains(named), "{spoil}: {outcome}");
        assert_eq!(tables.states(), [(0, 10)], "{spoil}");
    }
    let tables = Tables::on_mariadb(10);
    tables.source.run(&["DROP TABLE src"]);
    tables.instance().run(&RUN).expect(2);
}

#[test]
fn no_rows_and_one_row_are_tables_too() {
    for mode in ["", "mode = \"full\"", "mode = \"full\"\nfull = \"swap\""] {
        let tables = Tables::on_mariadb(0);
        let instance = Instance::new(&tables.toml("", mode));
        instance.run(&RUN).expect(0);
        tables.assert_same();
        tables.add(7..8);
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

#[test]
fn rows_far_wider_than_a_slot_travel() {
    let tables = Tables::on_mariadb(30);
    for (site, table) in [(&tables.source, "src"), (&tables.dest, "dst")] {
        site.run(&[&format!("ALTER TABLE {table} MODIFY v LONGTEXT NOT NULL")]);
    }
    // The slot has 64 KiB, the server takes packets of 64 MiB.
    tables.source.run(&[
        "UPDATE src SET v = REPEAT('w', 70000) WHERE id = 3",
        "UPDATE src SET v = REPEAT('ä', 1000000) WHERE id IN (11, 12, 13)",
        "UPDATE src SET v = REPEAT('m', 40000000) WHERE id = 21",
    ]);
    let instance = tables.instance();
    instance.run(&RUN).expect(0);
    let digest = |site: &Site, table: &str| {
        site.rows(&format!("SELECT id, MD5(v) FROM {table}"), &[Holds::Int, Holds::Text])
    };
    let differing = differences(&digest(&tables.source, "src"), &digest(&tables.dest, "dst"));
    assert_eq!(differing, Vec::<String>::new());
    assert_eq!(instance.leftovers(), Vec::<String>::new());
}

/// Somebody besides ssync sets a row to "in transfer": the books do not balance, and what was not
/// sent is not marked as done.
#[test]
fn a_foreign_hand_on_the_states_is_noticed() {
    for point in ["reader.after_claim", "settler.before_settle"] {
        let tables = Tables::on_mariadb(60);
        tables.source.run(&["UPDATE src SET id = id * 2 ORDER BY id DESC"]);
        let instance = tables.instance();
        let mut run = instance.start(&RUN, &format!("{point}@3=pause"));
        run.reached(point).expect("the third batch");
        // In the middle of the third batch: after ten rows the stretches are ten numbers, of which
        // every other one is there.
        tables.source.run(&["INSERT INTO src VALUES (33, 'foreign', 1)"]);
        instance.release(point);
        let outcome = run.wait().expect(1);
        let (kind, text) = error_of(&outcome);
        assert_eq!(kind, "Balance", "{point}: {outcome}");
        assert!(text.contains("Somebody besides ssync"), "{point}: {outcome}");
        // Read with its batch it may have landed before that was noticed; only then is it done.
        let done = tables.source.number("SELECT sync_status = 2 FROM src WHERE id = 33");
        let landed = tables.dest.number("SELECT COUNT(*) FROM dst WHERE id = 33");
        assert!(done <= landed, "{point}: {outcome}");
        tables.source.run(&["UPDATE src SET sync_status = 0 WHERE id = 33 AND sync_status <> 2"]);
        instance.run(&RUN).expect(0);
        tables.assert_same();
        assert_eq!(tables.states(), [(2, 61)], "{point}");
    }
}

/// Between a crash and the next run somebody configures another key: ranges of the old one would
/// mean other rows.
#[test]
fn what_landed_is_settled_only_by_the_key_it_was_sent_by() {
    let tables = Tables::on_mariadb(60);
    // The other key runs the other way.
    tables.source.run(&[
        "ALTER TABLE src ADD back BIGINT NOT NULL DEFAULT 0",
        "UPDATE src SET back = 59 - id",
        "ALTER TABLE src ADD UNIQUE (back)",
    ]);
    let columns = "columns = [\"id\", \"v\"]";
    let instance = Instance::new(&tables.toml("", columns));
    instance.run_with(&RUN, "settler.before_settle@1=kill-group");
    instance.wait_until_dead();
    assert!(tables.landed() > 0);
    instance.apply(&tables.toml("", &format!("{columns}\nkey = [\"back\"]")));
    let outcome = instance.run(&RUN).expect(2);
    let (kind, text) = error_of(&outcome);
    assert_eq!(kind, "Refused", "{outcome}");
    assert!(text.contains("by another key"), "{outcome}");
    instance.apply(&tables.toml("", columns));
    instance.run(&RUN).expect(0);
    tables.assert_same();
    // With nothing left to settle the key is free to change.
    instance.apply(&tables.toml("", &format!("{columns}\nkey = [\"back\"]")));
    tables.source.run(&["UPDATE src SET sync_status = 0", "DELETE FROM src WHERE id < 5"]);
    tables.dest.run(&["DELETE FROM dst"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}
