//! Keys of every whole-number type, dense up to the very ends of what the type holds, in small
//! batches: every row is claimed, read and settled once, whichever way the table is walked.

use ssync_tests::servers::{Server, mariadb, mysql56};
use ssync_tests::sites::{Holds, Site, differences};
use ssync_tests::ssync::Instance;

/// A type, and the SQL that gives its values as `n`, from numbers `seq` from 0 to 299.
const KEYS: &[(&str, &str, &str)] = &[
    ("year", "YEAR", "IF(seq = 0, 0, 1900 + seq) AS n FROM seq HAVING n <= 2155"),
    ("tiny", "TINYINT", "seq - 128 AS n FROM seq HAVING n <= 127"),
    ("tinyu", "TINYINT UNSIGNED", "seq AS n FROM seq HAVING n <= 255"),
    ("small", "SMALLINT", "32767 - seq AS n FROM seq"),
    ("smallu", "SMALLINT UNSIGNED", "65535 - seq AS n FROM seq"),
    ("medium", "MEDIUMINT", "8388607 - seq AS n FROM seq"),
    ("mediumu", "MEDIUMINT UNSIGNED", "16777215 - seq AS n FROM seq"),
    ("lowest", "INT", "-2147483648 + seq AS n FROM seq"),
    ("zeros", "INT(10) UNSIGNED ZEROFILL", "4294967295 - seq AS n FROM seq"),
    ("big", "BIGINT", "9223372036854775807 - seq AS n FROM seq"),
    ("bigu", "BIGINT UNSIGNED", "18446744073709551615 - seq AS n FROM seq"),
    ("bits", "BIT(8)", "seq AS n FROM seq HAVING n <= 255"),
    ("dec", "DECIMAL(20,0) UNSIGNED", "18446744073709551615 - seq AS n FROM seq"),
    ("short", "DECIMAL(3,0)", "999 - seq AS n FROM seq"),
    ("days", "DATE", "'9999-12-31' - INTERVAL seq DAY AS n FROM seq"),
];

fn every_row_arrives(server: &Server) {
    let (source, dest) = (Site::on_server(server, "lim"), Site::on_server(server, "lim"));
    source.run(&["CREATE TABLE seq (seq INT NOT NULL PRIMARY KEY)"]);
    let numbers: Vec<_> = (0..300).map(|n| vec![ssync_tests::sites::Cell::Int(n)]).collect();
    source.insert("seq", &["seq"], &numbers);
    let mut toml = format!("{}{}", source.link("src"), dest.link("dst"));
    for (task, mode) in [(1, "app_resets_status = true"), (2, "mode = \"full\"")] {
        // The batch of one begins with a key that is dense by itself.
        toml += &format!(
            "[[task]]\nid = {task}\nsource = \"src\"\ndest = \"dst\"\nbatch_rows = {}\nreaders = {}\n",
            [8, 10][task - 1],
            [1, 3][task - 1]
        );
        for (name, _, _) in KEYS {
            toml += &format!(
                "[[task.table]]\nname = \"{name}\"\nsource = \"k_{name}\"\ndest = \"k_{name}_{task}\"\n\
                 {mode}\n"
            );
        }
    }
    for (name, kind, values) in KEYS {
        source.run(&[
            format!(
                "CREATE TABLE k_{name} (k {kind} NOT NULL PRIMARY KEY, \
                 sync_status INT NOT NULL DEFAULT 0)"
            ),
            format!("INSERT INTO k_{name} (k) SELECT n FROM (SELECT {values}) AS numbers"),
        ]);
        for task in [1, 2] {
            dest.run(&[format!("CREATE TABLE k_{name}_{task} (k {kind} NOT NULL)")]);
        }
    }
    let one = toml.replace("batch_rows = 8", "batch_rows = 1");
    for (task, toml) in [("1", &one), ("1", &toml), ("2", &toml)] {
        for (name, ..) in KEYS {
            source.run(&[format!("UPDATE k_{name} SET sync_status = 0")]);
            dest.run(&[format!("DELETE FROM k_{name}_{task}")]);
        }
        Instance::new(toml).run(&["--task", task, "--json"]).expect(0);
        for (name, ..) in KEYS {
            let keys = |site: &Site, table: &str| {
                site.rows(&format!("SELECT HEX(k + 0), k + 0 FROM {table}"), &[Holds::Text; 2])
            };
            let (from, to) =
                (keys(&source, &format!("k_{name}")), keys(&dest, &format!("k_{name}_{task}")));
            assert!(from.len() >= 256, "{name}: {}", from.len());
            assert_eq!(differences(&from, &to), Vec::<String>::new(), "{name}, task {task}");
            let done = if task == "1" { 2 } else { 0 };
            let sql = format!("SELECT COUNT(*) FROM k_{name} WHERE sync_status <> {done}");
            assert_eq!(source.number(&sql), 0, "{name}, task {task}");
        }
    }
}

#[test]
fn every_row_of_every_key_up_to_its_limits_arrives_mariadb() {
    every_row_arrives(mariadb());
}

#[test]
fn every_row_of_every_key_up_to_its_limits_arrives_mysql_5_6() {
    every_row_arrives(mysql56());
}
