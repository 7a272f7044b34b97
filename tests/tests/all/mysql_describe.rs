//! Structures, privileges and settings, as the connector tells them.

use std::time::Duration;

use ssync_common::connector::{LinkParams, Need, Privilege, TlsMode, open};
use ssync_common::error::Kind as ErrorKind;
use ssync_common::schema::{Column, Kind, Table};
use ssync_common::secret::Secret;
use ssync_common::value::Value;
use ssync_tests::servers::{Database, Server, Software, mysql56};

use crate::mysql_support::*;

fn table(db: &Database<'_>, name: &str) -> Table {
    described(open(&db.link()).unwrap().as_mut(), name)
}

fn column(db: &Database<'_>, declared: &str) -> Column {
    db.run(&["DROP TABLE IF EXISTS one", &format!("CREATE TABLE one (c {declared})")]);
    table(db, "one").columns.remove(0)
}

#[test]
fn columns_are_told_with_their_limits() {
    on_every_server("columns", |db| {
        let c = column(db, "int(10) unsigned NOT NULL DEFAULT 5");
        assert_eq!((c.kind, c.family.as_str()), (Kind::Int, "int"));
        assert_eq!(
            (c.min, c.max, c.nullable, c.has_default),
            (Some(0), Some(4294967295), false, true)
        );
        let c = column(db, "bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY");
        assert_eq!((c.kind, c.max, c.auto_increment), (Kind::UInt, Some(u64::MAX), true));
        let c = column(db, "tinyint NOT NULL");
        assert_eq!((c.min, c.max, c.has_default), (Some(-128), Some(127), false));
        let c = column(db, "decimal(10,3)");
        assert_eq!(
            (c.kind, c.precision, c.scale, c.nullable),
            (Kind::Decimal, Some(10), Some(3), true)
        );
        let c = column(db, "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        assert_eq!((c.max_chars, c.max_bytes), (Some(20), Some(80)));
        assert_eq!(c.charset.as_deref(), Some("utf8mb4"));
        assert_eq!(c.collation.as_deref(), Some("utf8mb4_bin"));
        let c = column(db, "text CHARACTER SET latin1");
        assert_eq!((c.kind, c.max_chars, c.max_bytes), (Kind::Text, None, Some(65535)));
        let c = column(db, "longblob");
        assert_eq!((c.kind, c.max_bytes, c.charset), (Kind::Bytes, Some(4294967295), None));
        let c = column(db, "binary(7)");
        assert_eq!((c.kind, c.max_bytes), (Kind::Bytes, Some(7)));
        let c = column(db, "bit(12)");
        assert_eq!((c.kind, c.precision, c.max_bytes), (Kind::Bytes, Some(12), Some(2)));
        let c = column(db, "datetime(3)");
        assert_eq!((c.kind, c.scale), (Kind::DateTime, Some(3)));
        let c = column(db, "time");
        assert_eq!((c.kind, c.scale), (Kind::Time, Some(0)));
        let c =
            column(db, "timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP");
        assert!(c.on_update_now && c.has_default);
        let c = column(db, "enum('a','it''s','x,y)','','\\\\','\\n') CHARACTER SET utf8mb4");
        assert_eq!(c.members, ["a", "it's", "x,y)", "", "\\", "\n"]);
        let c = column(db, "set('中','b') CHARACTER SET gbk");
        assert_eq!(c.members, ["中", "b"]);
        for shape in ["point", "geometry", "multipolygon"] {
            assert_eq!(column(db, shape).kind, Kind::Bytes);
        }
        if db.server().software() == Software::MariaDb {
            for own in ["uuid", "inet6", "inet4", "json"] {
                assert_eq!(column(db, own).kind, Kind::Text, "{own}");
            }
        }
    });
}

#[test]
fn indexes_keys_and_triggers_are_told() {
    on_every_server("structure", |db| {
        db.run(&[
            "CREATE TABLE parent (id int PRIMARY KEY) ENGINE=InnoDB",
            "CREATE TABLE t (z int, b int, a int, name varchar(50), p int, PRIMARY KEY (b, a), \
             UNIQUE KEY u (name(10)), UNIQUE KEY v (z), KEY w (p), \
             CONSTRAINT up FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL) ENGINE=InnoDB",
            "CREATE TABLE child (z int, CONSTRAINT down FOREIGN KEY (z) REFERENCES t (z)) ENGINE=InnoDB",
            "CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW SET NEW.p = 1",
        ]);
        let t = table(db, "t");
        assert_eq!(t.primary_key().unwrap(), ["b", "a"]);
        let index = |name: &str| t.indexes.iter().find(|i| i.name == name).unwrap();
        assert!(index("u").unique && index("u").partial);
        assert!(index("v").unique && !index("v").partial);
        assert!(!index("w").unique);
        assert!(t.unique_index_on(&["z".to_owned()]).is_some());
        assert!(t.unique_index_on(&["name".to_owned()]).is_none());
        let [up] = t.foreign_keys.as_slice() else { panic!("{:?}", t.foreign_keys) };
        assert_eq!(
            (up.name.as_str(), up.child.as_str(), up.parent.as_str()),
            ("up", "t", "parent")
        );
        assert!(up.cascades);
        let [down] = t.referenced_by.as_slice() else { panic!("{:?}", t.referenced_by) };
        assert_eq!(
            (down.name.as_str(), down.child.as_str(), down.parent.as_str()),
            ("down", "child", "t")
        );
        assert!(!down.cascades);
        let [trigger] = t.triggers.as_slice() else { panic!("{:?}", t.triggers) };
        assert_eq!((trigger.name.as_str(), trigger.event.as_str()), ("tr", "UPDATE"));
        assert!(t.transactional && !t.is_view);
        assert_eq!(t.engine, "InnoDB");
    });
}

#[test]
fn views_other_engines_and_absent_tables_are_told_apart() {
    on_every_server("others", |db| {
        db.run(&[
            "CREATE TABLE m (id int) ENGINE=MyISAM",
            "CREATE VIEW v AS SELECT id FROM m",
            "CREATE TABLE T (big int)",
        ]);
        assert!(!table(db, "m").transactional);
        assert!(table(db, "v").is_view);
        let mut conn = open(&db.link()).unwrap();
        assert_eq!(conn.describe("nothing").unwrap(), None);
        assert_eq!(conn.describe("t").unwrap(), None, "case matters");
        db.run(&["CREATE TABLE t (small int)"]);
        assert_eq!(table(db, "t").columns.len(), 1);
        assert_eq!(table(db, "t").columns[0].name, "small");
        assert_eq!(conn.describe("").unwrap_err().kind, ErrorKind::Config);
        assert_eq!(conn.describe("a.b.c").unwrap_err().kind, ErrorKind::Config);
        // Of another database by its full name, and only so from a link without one.
        let url = db.url().replace(&format!("/{}", db.name()), "/");
        let mut nowhere = open(&LinkParams { url, ..db.link() }).unwrap();
        assert_eq!(nowhere.describe("t").unwrap_err().kind, ErrorKind::Config);
        let full = format!("{}.t", db.name());
        assert_eq!(nowhere.describe(&full).unwrap().unwrap().columns.len(), 1);
    });
}

#[test]
fn generated_columns_are_told() {
    let db = ssync_tests::servers::mariadb().database("generated");
    db.run(&["CREATE TABLE t (a int, b int AS (a + 1) VIRTUAL, c int AS (a * 2) STORED, \
              d timestamp DEFAULT current_timestamp())"]);
    let generated: Vec<bool> = table(&db, "t").columns.iter().map(|c| c.generated).collect();
    assert_eq!(generated, [false, true, true, false]);
}

#[test]
fn settings_that_lose_commits_are_named() {
    for (software, option, named) in [
        (Software::MariaDb, "--innodb-flush-log-at-trx-commit=2", "innodb_flush_log_at_trx_commit"),
        (Software::MySql56, "--innodb-flush-log-at-trx-commit=0", "innodb_flush_log_at_trx_commit"),
        (Software::MariaDb, "--innodb-doublewrite=0", "innodb_doublewrite"),
        (Software::MariaDb, "--log-bin", "sync_binlog"),
    ] {
        let server = Server::start(software, &[option]);
        let db = server.database("durable");
        let gap = open(&db.link()).unwrap().durability_gap().unwrap().unwrap();
        assert!(gap.contains(named), "{gap}");
    }
    let safe = Server::start(Software::MySql56, &["--log-bin", "--server-id=1", "--sync-binlog=1"]);
    let db = safe.database("durable");
    assert_eq!(open(&db.link()).unwrap().durability_gap().unwrap(), None);
}

#[test]
fn what_the_account_may_not_do_is_told() {
    on_every_server("rights", |db| {
        let name = db.name();
        let user = format!("r{}", name.rsplit('_').next().unwrap());
        db.run(&[
            "CREATE TABLE t (id int PRIMARY KEY, sync_status int) ENGINE=InnoDB",
            "CREATE TABLE m (id int PRIMARY KEY) ENGINE=MyISAM",
            &format!(
                "GRANT SELECT, INSERT ON `{name}`.* TO '{user}'@'127.0.0.1' IDENTIFIED BY 'x'"
            ),
        ]);
        let link = LinkParams {
            url: db.url().replace("app@", &format!("{user}@")),
            password: Some(Secret::from("x".to_owned())),
            tls: TlsMode::Off,
            connect_timeout: Duration::from_secs(10),
            ..db.link()
        };
        let mut conn = open(&link).unwrap();
        use Privilege::{Alter, Create, Delete, Drop, Insert, Select, Update};
        assert_eq!(conn.access_gaps("t", false, false).unwrap(), Vec::<String>::new());
        assert!(conn.access_gaps("t", true, false).unwrap().join(" ").contains("TRIGGER"));
        let every = [Select, Insert, Update, Delete, Create, Drop, Alter];
        for (table, is_there) in [("t", true), ("not_there", false)] {
            let gaps = conn.missing(&Need::all(&every, table)).unwrap();
            for (privilege, gap) in [Update, Delete, Create, Drop, Alter].iter().zip(&gaps) {
                assert!(gap.text.contains(&format!("{privilege} on ")), "{is_there}: {gap:?}");
                let hint = gap.hint.as_deref().unwrap();
                let (grant, to) = (format!("GRANT {privilege} ON `"), format!("TO `{user}`@`"));
                assert!(hint.contains(&grant) && hint.contains(&to), "{is_there}: {hint}");
                assert_eq!(hint.contains("`.`t`"), is_there, "{hint}");
            }
            assert_eq!(gaps.len(), 5, "{gaps:?}");
        }
        let e = conn.execute("DELETE FROM t", &[]).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Privilege, "{e:?}");

        let mut all = open(&db.link()).unwrap();
        assert_eq!(all.access_gaps("t", true, true).unwrap(), Vec::<String>::new());
        assert_eq!(all.missing(&Need::all(&every, "t")).unwrap(), []);
        assert!(all.access_gaps("m", true, false).unwrap().join(" ").contains("MyISAM"));
        assert_eq!(all.access_gaps("none", true, false).unwrap().len(), 1);
        // Asking leaves nothing behind.
        assert_eq!(db.value("SELECT COUNT(*) FROM t"), "0");
        assert_eq!(db.rows("SHOW TABLES").len(), 2);
        db.run(&[&format!("DROP USER '{user}'@'127.0.0.1'")]);
    });
}

/// The server itself says which of the grants give DROP.
#[test]
fn grants_on_patterns_of_databases_count_as_on_the_server() {
    on_every_server("pat_tern", |db| {
        let name = db.name();
        let user = format!("p{}", name.rsplit('_').next().unwrap());
        let link = LinkParams {
            url: db.url().replace("app@", &format!("{user}@")),
            password: Some(Secret::from("x".to_owned())),
            ..db.link()
        };
        let literal = name.replace('_', "\\_");
        // What is granted on which databases to whom; whether DROP is among it here.
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[("DROP", "pat\\_tern%")], true),
            (&[("DROP", "pat_tern%")], true),
            (&[("DROP", "%")], true),
            (&[("DROP", &literal)], true),
            (&[("DROP", "pat\\_ter")], false),
            (&[("DROP", "elsewhere\\_%")], false),
            (&[("DROP", "pat\\%")], false),
            // The closest one counts.
            (&[("DROP", "%"), ("INSERT", &literal)], false),
            (&[("DROP", "pat%"), ("INSERT", "%")], true),
            (&[("INSERT", "pat\\_tern%"), ("DROP", "pat%")], false),
        ];
        for (grants, given) in cases {
            db.run(&["CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY) ENGINE=InnoDB"]);
            db.run(&[
                &format!("CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'x'"),
                &format!("GRANT SELECT ON `{name}`.t TO '{user}'@'127.0.0.1'"),
            ]);
            for (privilege, on) in *grants {
                db.run(&[&format!("GRANT {privilege} ON `{on}`.* TO '{user}'@'127.0.0.1'")]);
            }
            let mut conn = open(&link).unwrap();
            let gaps = conn.missing(&Need::all(&[Privilege::Drop], "t")).unwrap();
            assert_eq!(gaps.is_empty(), *given, "{grants:?}: {gaps:?}");
            match conn.execute("DROP TABLE t", &[]) {
                Ok(_) => assert!(given, "{grants:?}"),
                Err(e) => {
                    assert!(!given && e.kind == ErrorKind::Privilege, "{grants:?}: {e:?}");
                    assert!(e.hint.unwrap().contains("ssync check"));
                    // What the hint says helps.
                    let hint = gaps[0].hint.as_deref().unwrap();
                    db.run(&[hint.split_once("run: ").unwrap().1.trim_end_matches(';')]);
                    open(&link).unwrap().execute("DROP TABLE t", &[]).unwrap();
                }
            }
            drop(conn);
            db.run(&[&format!("DROP USER '{user}'@'127.0.0.1'")]);
        }
    });
}

#[test]
fn server_settings_that_stand_against_a_transfer_are_told() {
    let server = Server::start(
        Software::MySql56,
        &[
            "--local-infile=0",
            "--max-allowed-packet=1M",
            "--read-only=1",
            "--log-bin",
            "--server-id=1",
            "--binlog-format=STATEMENT",
        ],
    );
    let db = server.database("settings");
    db.run(&["CREATE TABLE t (id int PRIMARY KEY) ENGINE=InnoDB"]);
    let mut conn = open(&db.link()).unwrap();
    let gaps = conn.access_gaps("t", true, false).unwrap();
    let drawbacks = conn.drawbacks().unwrap();
    for (told, names) in [
        (&gaps, ["read_only", "binlog_format"]),
        (&drawbacks, ["local_infile", "max_allowed_packet"]),
    ] {
        assert_eq!(told.len(), 2, "{told:?}");
        for named in names {
            assert!(told.iter().any(|sentence| sentence.contains(named)), "{named}: {told:?}");
        }
    }
}

#[test]
fn a_statement_on_what_does_not_exist_is_a_matter_of_configuration() {
    let db = mysql56().database("missing");
    let mut conn = open(&db.link()).unwrap();
    for sql in ["SELECT 1 FROM nothing", "SELECT nothing FROM (SELECT 1) x"] {
        assert_eq!(conn.query(sql, &[]).unwrap_err().kind, ErrorKind::Config);
    }
    let e = conn.execute("SELEKT", &[Value::Null]).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Database, "{e:?}");
}
