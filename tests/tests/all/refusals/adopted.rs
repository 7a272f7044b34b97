//! What an operator decides by `ssync adopt` is carried out without losing or doubling a row, or is
//! refused with what to do instead.

use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

use super::identity::{adopt, assert_stops, back_up, rename, restore};
use super::{RUN, Tables, create_source};

const KEY: &str = "CREATE UNIQUE INDEX dst_id ON dst (id)";

fn decide(instance: &Instance, decision: &[&str]) -> Outcome {
    let mut args = vec!["adopt", "--task", "1", "--tables", "t"];
    args.extend(decision);
    instance.run(&args)
}

#[track_caller]
fn assert_refuses(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code, Some(2), "{outcome}");
    for words in words {
        assert!(outcome.stderr.contains(words), "{words:?} is not in {outcome}");
    }
}

#[track_caller]
fn assert_released(tables: &Tables) {
    let held = "SELECT COUNT(*) FROM SSYNC_OWNER WHERE token IS NOT NULL";
    assert_eq!(tables.source.number(held), 0, "the source table is given back");
}

/// What was under way when the backup was made has been settled, edited and claimed again since.
pub(super) fn restored_amid_a_later_claim(tables: &Tables, instance: &Instance) {
    instance.run_with(&RUN, "settler.before_settle@1=kill-group");
    instance.wait_until_dead();
    assert!(tables.landed() > 0);
    back_up(&tables.dest);
    instance.run(&RUN).expect(0);
    tables.source.run(&["UPDATE src SET v = 'new', sync_status = 0"]);
    instance.run_with(&RUN, "reader.after_claim@3=kill-group");
    instance.wait_until_dead();
    assert!(tables.source.number("SELECT COUNT(*) FROM src WHERE sync_status = 1") > 0);
    restore(&tables.dest);
    assert_stops(&instance.run(&RUN), "no longer has what was settled last");
}

#[test]
fn an_older_destination_that_is_taken_as_it_is_settles_no_later_version() {
    let tables = Tables::on_mariadb(30);
    tables.dest.run(&[KEY]);
    let instance = Instance::new(&tables.toml("", "write = \"upsert\""));
    restored_amid_a_later_claim(&tables, &instance);
    // The operator has compared what is done.
    tables.source.run(&["UPDATE src SET sync_status = 0 WHERE sync_status = 2"]);
    let outcome = decide(&instance, &["--as-is"]).expect(0);
    assert!(outcome.stdout.contains("rows that were under way are to be sent"), "{outcome}");
    instance.run(&RUN).expect(0);
    tables.assert_same();
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst WHERE v = 'new'"), 30);
}

#[test]
fn an_older_destination_without_a_key_is_not_taken_as_it_is_while_it_may_have_rows_under_way() {
    let tables = Tables::on_mariadb(30);
    let instance = tables.instance();
    restored_amid_a_later_claim(&tables, &instance);
    for _ in 0..2 {
        let words = ["under way that dst may have", "in state 1 from id=0 to id=", "by hand"];
        assert_refuses(&decide(&instance, &["--as-is"]), &words);
        assert_released(&tables);
        assert_stops(&instance.run(&RUN), "no longer has what was settled last");
    }
    // None of the versions of now is there.
    tables.source.run(&["UPDATE src SET sync_status = 0"]);
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst WHERE v = 'new'"), 30);
    assert_eq!(tables.states(), [(2, 30)]);
}

/// Rows have landed that the source does not know of, and what it knew of its runs is gone.
fn owner_is_dropped(dest_index: &[&str]) -> (Tables, Instance) {
    let tables = Tables::on_mariadb(60);
    tables.dest.run(dest_index);
    let instance = tables.instance();
    instance.run_with(&RUN, "settler.before_settle@2=kill-group");
    instance.wait_until_dead();
    assert!(tables.landed() > 0);
    tables.source.run(&["DROP TABLE SSYNC_OWNER"]);
    assert_stops(&instance.run(&RUN), "no run is known that claimed them");
    (tables, instance)
}

#[test]
fn a_record_beside_the_destination_is_found_again_when_the_source_has_forgotten_it() {
    let (tables, instance) = owner_is_dropped(&[]);
    let outcome = decide(&instance, &["--as-is"]).expect(0);
    assert!(outcome.stdout.contains("by the record of src -> dst"), "{outcome}");
    instance.run(&RUN).expect(0);
    tables.assert_same();
    tables.add(100..110);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn of_two_records_of_the_same_tables_none_is_chosen() {
    let tables = Tables::on_mariadb(20);
    let instance = tables.instance();
    instance.run(&RUN).expect(0);
    adopt(&instance, &["--new"]);
    tables.add(20..60);
    instance.run_with(&RUN, "settler.before_settle@2=kill-group");
    instance.wait_until_dead();
    tables.source.run(&["DROP TABLE SSYNC_OWNER"]);
    let words = ["2 records beside the destination", "src -> dst, last run", "by hand"];
    assert_refuses(&decide(&instance, &["--as-is"]), &words);
    assert_released(&tables);
    let there = "UPDATE src SET sync_status = IF(id IN (SELECT id FROM {}.dst), 2, 0)";
    let Site::MySql { database, .. } = &tables.dest else { panic!("not a server") };
    tables.source.run(&[there.replace("{}", database)]);
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn without_any_record_rows_under_way_are_not_sent_into_a_table_without_a_key() {
    let gone = ["DROP TABLE SSYNC_FENCE", "DROP TABLE SSYNC_LEDGER"];
    let (tables, instance) = owner_is_dropped(&[]);
    tables.dest.run(&gone);
    let words = ["nothing says which rows of src have landed", "by hand"];
    assert_refuses(&decide(&instance, &["--as-is"]), &words);
    assert_released(&tables);
    // Nothing can have landed in an empty table.
    tables.dest.run(&["DELETE FROM dst"]);
    tables.source.run(&["UPDATE src SET sync_status = 0 WHERE sync_status = 2"]);
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
    let (tables, instance) = owner_is_dropped(&[KEY]);
    tables.dest.run(&gone);
    tables.dest.run(&["DELETE FROM dst"]);
    tables.source.run(&["UPDATE src SET sync_status = 0 WHERE sync_status = 2"]);
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

/// The destination `dst` was replaced by `dw`, which later got its name.
fn renamed_back(midst: &str) {
    let tables = Tables::on_mariadb(20);
    let toml = tables.toml("", "");
    let to_dw = toml.replace("dest = \"dst\"\napp", "dest = \"dw\"\napp");
    let instance = Instance::new(&toml);
    instance.run(&RUN).expect(0);
    tables.dest.run(&["CREATE TABLE dw LIKE dst", "INSERT INTO dw SELECT * FROM dst"]);
    instance.apply(&to_dw);
    tables.add(20..60);
    match midst {
        "" => drop(instance.run(&RUN).expect(0)),
        midst => {
            instance.run_with(&RUN, midst);
            instance.wait_until_dead();
        }
    }
    tables.dest.run(&["DROP TABLE dst"]);
    rename(&tables.dest, "dw", "dst");
    instance.apply(&toml);
    tables.add(100..110);
    assert_stops(&instance.run(&RUN), "to another destination");
    let outcome = decide(&instance, &["--dest-was", "dw"]).expect(0);
    assert!(outcome.stdout.contains("had the name of today before is removed"), "{outcome}");
    assert_released(&tables);
    instance.run(&RUN).expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 70)]);
}

#[test]
fn a_destination_that_takes_the_name_of_the_one_it_replaced_is_gone_on_with() {
    for midst in ["", "settler.before_settle@2=kill-group"] {
        renamed_back(midst);
    }
}

/// The source's last runs went to the table that is gone.
#[test]
fn a_table_that_takes_the_name_of_the_one_that_rows_went_to_is_for_the_operator_to_compare() {
    let tables = Tables::on_mariadb(20);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml.replace("dest = \"dst\"\napp", "dest = \"old\"\napp"));
    tables.dest.run(&["CREATE TABLE old LIKE dst"]);
    instance.run(&RUN).expect(0);
    instance.apply(&toml);
    tables.add(20..60);
    instance.run_with(&RUN, "settler.before_settle@2=kill-group");
    instance.wait_until_dead();
    tables.dest.run(&["DROP TABLE dst"]);
    rename(&tables.dest, "old", "dst");
    let words = ["under its name of today", "last run", "last runs went to", "compare both sides"];
    let outcome = decide(&instance, &["--dest-was", "old"]);
    assert_refuses(&outcome, &words);
    assert!(!outcome.stderr.contains("Two links"), "{outcome}");
    assert_released(&tables);
    tables.source.run(&["UPDATE src SET sync_status = 0 WHERE id >= 20"]);
    adopt(&instance, &["--as-is"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

/// The record has moved to the name of today, and the source does not know of it: adopt was killed
/// in between, or the source was restored since.
#[test]
fn a_renamed_destination_is_adopted_once_more_where_the_source_does_not_know_of_it() {
    let tables = Tables::on_mariadb(60);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml);
    instance.run_with(&RUN, "settler.before_settle@3=kill-group");
    instance.wait_until_dead();
    rename(&tables.dest, "dst", "dw");
    instance.apply(&toml.replace("dest = \"dst\"\napp", "dest = \"dw\"\napp"));
    tables.source.run(&["CREATE TABLE kept AS SELECT * FROM SSYNC_OWNER"]);
    adopt(&instance, &["--dest-was", "dst"]);
    tables.source.run(&["DELETE FROM SSYNC_OWNER", "INSERT INTO SSYNC_OWNER SELECT * FROM kept"]);
    assert_stops(&instance.run(&RUN), "under way to another destination");
    assert_refuses(&decide(&instance, &["--dest-was", "other"]), &["nothing is known of a table"]);
    adopt(&instance, &["--dest-was", "dst"]);
    assert_released(&tables);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 60);
    assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 60);
}

/// Rows were claimed for it, and none has landed.
#[test]
fn a_destination_that_was_renamed_before_it_had_a_record_is_adopted() {
    let tables = Tables::on_mariadb(60);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml);
    instance.run_with(&RUN, "reader.after_claim@1=kill-group");
    instance.wait_until_dead();
    assert_eq!(tables.landed(), 0);
    adopt(&instance, &["--new"]);
    rename(&tables.dest, "dst", "dw");
    instance.apply(&toml.replace("dest = \"dst\"\napp", "dest = \"dw\"\napp"));
    assert_stops(&instance.run(&RUN), "under way to another destination");
    adopt(&instance, &["--dest-was", "dst"]);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 60);
}

#[test]
fn an_increment_into_a_table_that_was_replaced_by_another_goes_on_by_that_ones_mark() {
    let mode = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
    let tables = Tables::on_mariadb(30);
    let toml = tables.toml("", mode);
    let instance = Instance::new(&toml.replace("dest = \"dst\"\nmode", "dest = \"old\"\nmode"));
    tables.dest.run(&["CREATE TABLE old LIKE dst"]);
    instance.run(&RUN).expect(0);
    instance.apply(&toml);
    instance.run(&RUN).expect(0);
    tables.dest.run(&["DROP TABLE dst"]);
    rename(&tables.dest, "old", "dst");
    tables.add(30..40);
    assert_refuses(
        &decide(&instance, &["--dest-was", "old"]),
        &["with a mark", "--new forgets it"],
    );
    adopt(&instance, &["--new"]);
    adopt(&instance, &["--dest-was", "old"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

/// The record of both former names is older than the one of the run between the renames.
#[test]
fn an_increment_that_ran_between_two_renames_goes_on_by_the_record_of_that_run() {
    let increment = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
    let tables = Tables::on_mariadb(60);
    let toml = tables.toml("", increment);
    let named = |source: &str, dest: &str| {
        let names = format!("source = \"{source}\"\ndest = \"{dest}\"\nmode");
        toml.replace("source = \"src\"\ndest = \"dst\"\nmode", &names)
    };
    let instance = Instance::new(&toml);
    instance.run(&RUN).expect(0);
    rename(&tables.dest, "dst", "emptied");
    tables.dest.run(&["CREATE TABLE dw LIKE emptied", "DROP TABLE emptied"]);
    instance.apply(&named("src", "dw"));
    instance.run_with(&RUN, "writer.after_commit@2=kill-group");
    instance.wait_until_dead();
    rename(&tables.source, "src", "orders");
    instance.apply(&named("orders", "dw"));
    assert_refuses(
        &decide(&instance, &["--source-was", "src", "--dest-was", "dst"]),
        &[
            "between the two renames a run of",
            "a run is open",
            "--source-was ref_",
            "alone goes on by it",
        ],
    );
    adopt(&instance, &["--source-was", "src"]);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dw"), 60);
    assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 60);
}

/// What was copied on one server is another table: the original goes on.
#[test]
fn a_copy_of_an_increments_source_does_not_take_the_originals_record() {
    let increment = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
    let original = Tables::on_mariadb(30);
    let instance = Instance::new(&original.toml("", increment));
    instance.run(&RUN).expect(0);
    let copy = Tables { source: Site::on_server(mariadb(), "ref"), dest: original.dest.clone() };
    create_source(&copy.source);
    copy.add(1000..1010);
    let second = Instance::new(&copy.toml("", increment));
    assert_stops(&second.run(&RUN), "a mark is there of src -> dst");
    assert_refuses(&decide(&second, &["--as-is"]), &["another table on this server", "initial"]);
    original.add(30..40);
    instance.run(&RUN).expect(0);
    original.assert_same();
}

#[test]
fn a_former_name_of_which_nothing_is_known_is_refused_and_holds_nobody_up() {
    let tables = Tables::on_mariadb(10);
    let instance = tables.instance();
    for decision in [["--source-was", "nobody"], ["--dest-was", "nobody"]] {
        assert_refuses(&decide(&instance, &decision), &["nothing is known of a table nobody"]);
        assert_released(&tables);
    }
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

/// Random envelopes are bound to the name of the table that they were sealed for.
#[test]
fn encrypted_values_of_a_renamed_table_open_under_the_name_they_were_sealed_for() {
    let tables = Tables::on_mariadb(20);
    tables.dest.run(&["ALTER TABLE dst MODIFY v VARCHAR(2000) NOT NULL, ADD PRIMARY KEY (id)"]);
    let instance = Instance::new("");
    let file = instance.scratch().join("pii.key").display().to_string();
    instance.run(&["key", "new", "pii", "--out", &file]).expect(0);
    let key = format!("[[key]]\nname = \"pii\"\nsecret = {{ file = \"{file}\" }}\n");
    let sealing = key.clone() + &tables.toml("", "encrypt = { v = \"pii\" }");
    instance.apply(&sealing);
    instance.run(&RUN).expect(0);
    rename(&tables.dest, "dst", "dw");
    tables.add(20..50);
    instance.apply(&sealing.replace("dest = \"dst\"\napp", "dest = \"dw\"\napp"));
    assert_stops(&instance.run(&RUN), "went to another destination before");
    let outcome = decide(&instance, &["--dest-was", "dst"]).expect(0);
    let told = "values of v that were encrypted for the name dst open under that name only";
    assert!(outcome.stdout.contains(told), "{outcome}");
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(DISTINCT id) FROM dw"), 50);

    // Back again: each part by the name that it was sealed for.
    tables.dest.run(&["CREATE VIEW dst AS SELECT * FROM dw WHERE id < 20"]);
    let back = Tables { source: tables.source.clone(), dest: Site::on_server(mariadb(), "ref") };
    back.dest.run(&[
        "CREATE TABLE old (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) NOT NULL)",
        "CREATE TABLE new LIKE old",
        "CREATE TABLE wrong LIKE old",
        "CREATE VIEW dst AS SELECT * FROM old UNION ALL SELECT * FROM new",
    ]);
    let opened = |table: &str, dest: &str, more: &str| {
        let reads = Tables { source: tables.dest.clone(), dest: back.dest.clone() };
        let lines = format!("mode = \"full\"\ndecrypt = {{ v = \"pii\" }}\n{more}");
        let tables = format!("name = \"t\"\nsource = \"{table}\"\ndest = \"{dest}\"");
        let sides = "name = \"t\"\nsource = \"src\"\ndest = \"dst\"";
        let toml = key.clone() + &reads.toml("", &lines).replace(sides, &tables);
        Instance::new(&toml).run(&RUN)
    };
    // Those of the former name do not open under the one of now.
    opened("dw", "wrong", "").expect(1);
    opened("dst", "old", "").expect(0);
    opened("dw", "new", "where = \"id >= 20\"").expect(0);
    back.assert_same();
}
