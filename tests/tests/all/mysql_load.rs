//! Landing batches: write modes, refusals, and the roads they take.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use mysql::prelude::Queryable;
use ssync_common::connector::{Connection, Loaded, WriteMode, open};
use ssync_common::error::{Error, Kind};
use ssync_common::schema::{self, Column};
use ssync_common::value::Value;
use ssync_tests::servers::{Database, Server, Software, mysql56};

use crate::mysql_support::*;

/// A batch of columns named `id`, `a`, `b` … with the kinds given.
fn batch(columns: Vec<(schema::Kind, ArrayRef)>) -> (RecordBatch, Vec<Column>) {
    let named: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(i, (kind, _))| {
            let name =
                if i == 0 { "id".to_owned() } else { format!("{}", (b'a' + i as u8 - 1) as char) };
            Column::new(name, *kind, "")
        })
        .collect();
    let arrays = columns.into_iter().map(|(_, a)| a).collect();
    let batch = RecordBatch::try_new(Arc::new(schema::arrow_schema(&named)), arrays).unwrap();
    (batch, named)
}

fn ints(values: impl IntoIterator<Item = i64>) -> (schema::Kind, ArrayRef) {
    (schema::Kind::Int, Arc::new(Int64Array::from_iter_values(values)))
}

fn texts<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> (schema::Kind, ArrayRef) {
    (schema::Kind::Text, Arc::new(StringArray::from_iter_values(values)))
}

/// Loads into table `t` by `mode`.
fn load_into_t(
    conn: &mut dyn Connection,
    data: Vec<(schema::Kind, ArrayRef)>,
    mode: WriteMode,
) -> Result<Loaded, Error> {
    let (batch, columns) = batch(data);
    let plan = plan(&described(conn, "t"), &columns, mode);
    load(conn, &plan, &batch)
}

fn counter(conn: &mut dyn Connection, name: &str) -> i64 {
    let rows = conn.query(&format!("SHOW SESSION STATUS LIKE '{name}'"), &[]).unwrap();
    rows[0][1].as_i64().unwrap()
}

fn all_rows(db: &Database<'_>) -> Vec<String> {
    db.rows("SELECT * FROM t ORDER BY id").iter().map(|r| r.join(",")).collect()
}

#[test]
fn each_server_takes_its_fast_road() {
    on_every_server("roads", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, a varchar(20))"]);
        let mut conn = open(&db.link()).unwrap();
        let (batch, columns) =
            batch(vec![ints(0..2500), texts((0..2500).map(|i| format!("row {i}")))]);
        let plan = plan(&described(conn.as_mut(), "t"), &columns, WriteMode::Insert);
        let executed = counter(conn.as_mut(), "Com_stmt_execute");
        load(conn.as_mut(), &plan, &batch).unwrap();
        let executed = counter(conn.as_mut(), "Com_stmt_execute") - executed;
        assert_eq!(db.value("SELECT COUNT(DISTINCT a) FROM t"), "2500");
        // The counter's own query is one of them.
        match db.server().software() {
            // Two rows by which the driver proves what it sends, and then by hand.
            Software::MariaDb => {
                assert_eq!(executed, 1 + 1 + 3, "commands of at most 1000 rows");
            }
            Software::MySql56 => {
                assert_eq!((executed, counter(conn.as_mut(), "Com_load")), (1, 1));
            }
        }
    });
}

#[test]
fn write_modes_do_what_they_say() {
    on_every_server("modes", |db| {
        let mut conn = open(&db.link()).unwrap();
        let mut run = |rows: usize, mode| {
            db.run(&[
                "DROP TABLE IF EXISTS t",
                "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), kept int DEFAULT 5)",
                "INSERT INTO t VALUES (1, 'old', 7), (2, 'two', 8)",
            ]);
            let data = vec![
                ints(1..=rows as i64),
                texts((1..=rows).map(|i| if i == 2 { "two".to_owned() } else { format!("n{i}") })),
            ];
            let loaded = load_into_t(conn.as_mut(), data, mode);
            (loaded, all_rows(db))
        };
        for rows in [3, 200] {
            let (loaded, after) = run(rows, WriteMode::Insert);
            assert_eq!(loaded.unwrap_err().kind, Kind::Data);
            assert_eq!(after, ["1,old,7", "2,two,8"], "rolled back");

            let (loaded, after) = run(rows, WriteMode::Upsert);
            assert_eq!(loaded.unwrap(), Loaded { rows: rows as u64, skipped: 0 });
            assert_eq!(after[..3], ["1,n1,7", "2,two,8", "3,n3,5"]);

            let (loaded, after) = run(rows, WriteMode::Replace);
            assert_eq!(loaded.unwrap(), Loaded { rows: rows as u64, skipped: 0 });
            assert_eq!(after[..3], ["1,n1,5", "2,two,5", "3,n3,5"]);

            let (loaded, after) = run(rows, WriteMode::Ignore);
            assert_eq!(loaded.unwrap(), Loaded { rows: rows as u64 - 2, skipped: 2 });
            assert_eq!(after[..3], ["1,old,7", "2,two,8", "3,n3,5"]);
            assert_eq!(after.len(), rows);
        }
    });
}

#[test]
fn an_upsert_makes_a_text_key_the_same_not_just_equal() {
    on_every_server("text_key", |db| {
        db.run(&[
            "CREATE TABLE t (id varchar(10) COLLATE utf8mb4_general_ci PRIMARY KEY, a int)",
            "INSERT INTO t VALUES ('abc', 1)",
        ]);
        let mut conn = open(&db.link()).unwrap();
        load_into_t(conn.as_mut(), vec![texts(["ABC"]), ints([1])], WriteMode::Upsert).unwrap();
        assert_eq!(all_rows(db), ["ABC,1"]);
    });
}

#[test]
fn a_table_of_keys_alone_can_be_upserted() {
    on_every_server("keys_alone", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)"]);
        let mut conn = open(&db.link()).unwrap();
        for mode in [WriteMode::Upsert, WriteMode::Ignore, WriteMode::Replace] {
            load_into_t(conn.as_mut(), vec![ints([1, 2])], mode).unwrap();
        }
        assert_eq!(all_rows(db), ["1", "2"]);
    });
}

/// What goes into column `a` of this type is refused, on every road, and nothing stays.
struct Refusal {
    declared: &'static str,
    kind: Kind,
    bad: (schema::Kind, ArrayRef),
    good: (schema::Kind, ArrayRef),
}

fn refusals() -> Vec<Refusal> {
    use schema::Kind as K;
    let text = |s: &str| (K::Text, Arc::new(StringArray::from(vec![s])) as ArrayRef);
    let decimal = |s: &str| (K::Decimal, Arc::new(StringArray::from(vec![s])) as ArrayRef);
    let int = |v: Option<i64>| (K::Int, Arc::new(Int64Array::from(vec![v])) as ArrayRef);
    let uint = |v: u64| (K::UInt, Arc::new(UInt64Array::from(vec![v])) as ArrayRef);
    let bytes = |b: &'static [u8]| (K::Bytes, Arc::new(BinaryArray::from(vec![b])) as ArrayRef);
    let double = |v: f64| (K::Float64, Arc::new(Float64Array::from(vec![v])) as ArrayRef);
    let refusal = |declared, bad, good| Refusal { declared, kind: Kind::Data, bad, good };
    vec![
        refusal("varchar(3)", text("abcd"), text("abc")),
        refusal("varchar(3)", text("abc "), text("ab ")),
        refusal("char(3)", text("abcd"), text("abc")),
        refusal("varchar(3) CHARACTER SET latin1", text("中"), text("é")),
        refusal("varchar(3) CHARACTER SET ascii", text("é"), text("e")),
        refusal("varchar(3) CHARACTER SET utf8", text("\u{1F600}"), text("中")),
        refusal("tinytext", text(&"x".repeat(256)), text("x")),
        refusal("tinyint", int(Some(128)), int(Some(127))),
        refusal("tinyint unsigned", int(Some(-1)), int(Some(255))),
        refusal("int", int(Some(1 << 31)), int(Some(-(1 << 31)))),
        refusal("bigint", uint(1 << 63), uint((1 << 63) - 1)),
        refusal("int NOT NULL", int(None), int(Some(0))),
        refusal(
            "timestamp NOT NULL",
            (K::Text, Arc::new(StringArray::from(vec![None::<&str>]))),
            text("2024-01-01 00:00:00"),
        ),
        refusal("int", text("12x"), text("12")),
        refusal("int", text("1.5"), text("1.0")),
        refusal("decimal(5,2)", decimal("1000.00"), decimal("999.99")),
        refusal("decimal(5,2)", decimal("1.005"), decimal("1.50")),
        refusal("decimal(5,2)", decimal("99999999"), decimal("1")),
        refusal("decimal(5,2)", double(1.239), double(1.25)),
        refusal("float", double(0.1), double(0.5)),
        refusal("enum('x','y')", text("z"), text("y")),
        refusal("enum('x','y')", text("2"), text("x")),
        refusal("enum('x','y')", text(""), text("x")),
        refusal("set('x','y')", text("x,z"), text("x,y")),
        refusal("set('x','y')", text("3"), text("")),
        refusal("date", text("2024-13-01"), text("2024-02-31")),
        refusal("datetime(2)", text("2024-01-01 00:00:00.125"), text("2024-01-01 00:00:00.120")),
        refusal("timestamp NULL", text("2039-01-01 00:00:00"), text("2037-01-01 00:00:00")),
        refusal("time", text("900:00:00"), text("800:00:00")),
        refusal("year", int(Some(2156)), int(Some(2155))),
        refusal("year", int(Some(70)), int(Some(1970))),
        refusal("bit(3)", bytes(b"\x08"), bytes(b"\x07")),
        refusal("varbinary(2)", bytes(b"abc"), bytes(b"\xff\x00")),
        refusal("binary(2)", bytes(b"a"), bytes(b"ab")),
        refusal(
            "geometry",
            bytes(b"not a shape"),
            bytes(b"\0\0\0\0\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ),
        Refusal {
            declared: "int, FOREIGN KEY (a) REFERENCES parent (id)",
            kind: Kind::Parent,
            bad: int(Some(2)),
            good: int(Some(1)),
        },
        Refusal {
            declared: "int, UNIQUE (a)",
            kind: Kind::Data,
            bad: int(Some(77)),
            good: int(Some(78)),
        },
    ]
}

#[test]
fn what_cannot_be_stored_exactly_is_the_rows_fault_and_leaves_nothing() {
    on_every_server("refusals", |db| {
        db.run(&[
            "CREATE TABLE parent (id int PRIMARY KEY) ENGINE=InnoDB",
            "INSERT INTO parent VALUES (1)",
        ]);
        let mut conn = open(&db.link()).unwrap();
        for case in refusals() {
            db.run(&[
                "DROP TABLE IF EXISTS t",
                &format!("CREATE TABLE t (id int PRIMARY KEY, a {}) ENGINE=InnoDB", case.declared),
            ]);
            if case.declared.contains("UNIQUE") {
                db.run(&["INSERT INTO t VALUES (1000, 77)"]);
            }
            let before = all_rows(db);
            let unique = case.declared.contains("UNIQUE");
            // The bad value stands in the middle of good ones; alone; among many.
            for (good, at) in [(4, 2), (0, 0), (120, 60)] {
                let rows: Vec<ArrayRef> = (0..=good)
                    .map(|i| if i == at { case.bad.1.clone() } else { good_row(&case, i, unique) })
                    .collect();
                let rows: Vec<&dyn arrow_array::Array> = rows.iter().map(|r| r.as_ref()).collect();
                let column = (case.bad.0, concat(&rows));
                let data = vec![ints(0..=good), column];
                let e = load_into_t(conn.as_mut(), data, WriteMode::Insert).expect_err(&format!(
                    "{} with {} rows",
                    case.declared,
                    good + 1
                ));
                assert_eq!(e.kind, case.kind, "{}: {e:?}", case.declared);
                assert_eq!(all_rows(db), before, "{}: rolled back", case.declared);
                if !unique && case.declared != "geometry" {
                    assert_eq!(e.column.as_deref(), Some("a"), "{}: {e:?}", case.declared);
                }
            }
            let data = vec![ints([5]), case.good.clone()];
            load_into_t(conn.as_mut(), data, WriteMode::Insert)
                .unwrap_or_else(|e| panic!("{}: {e:?}", case.declared));
        }
    });
}

fn good_row(case: &Refusal, i: i64, unique: bool) -> ArrayRef {
    if unique { Arc::new(Int64Array::from(vec![1000 + i])) } else { case.good.1.clone() }
}

fn concat(rows: &[&dyn arrow_array::Array]) -> ArrayRef {
    arrow_select::concat::concat(rows).unwrap()
}

#[test]
fn a_warning_fails_the_load_even_on_the_first_of_many_rows() {
    on_every_server("warned", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, a decimal(5,2))"]);
        let mut conn = open(&db.link()).unwrap();
        for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Replace, WriteMode::Ignore] {
            let decimals = (0..900).map(|i| if i == 0 { "1.239" } else { "1.23" });
            let column = (
                schema::Kind::Decimal,
                Arc::new(StringArray::from_iter_values(decimals)) as ArrayRef,
            );
            let e = load_into_t(conn.as_mut(), vec![ints(0..900), column], mode).unwrap_err();
            assert_eq!((e.kind, e.column.as_deref()), (Kind::Data, Some("a")), "{mode:?} {e:?}");
            assert_eq!(db.value("SELECT COUNT(*) FROM t"), "0");
        }
    });
}

#[test]
fn the_last_second_of_a_time_arrives_or_is_refused() {
    on_every_server("last_second", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, a time(6))"]);
        let mut conn = open(&db.link()).unwrap();
        let last = 3_020_399_999_999;
        let data = vec![ints([1, 2]), (schema::Kind::Time, ints([last, -last]).1)];
        match load_into_t(conn.as_mut(), data, WriteMode::Insert) {
            Ok(_) => assert_eq!(all_rows(db), ["1,838:59:59.999999", "2,-838:59:59.999999"]),
            Err(e) => {
                assert_eq!(db.server().software(), Software::MySql56);
                assert_eq!((e.kind, e.column.as_deref()), (Kind::Data, Some("a")));
                let mut plain = db.connect();
                plain.query_drop("SET sql_mode = 'STRICT_ALL_TABLES'").unwrap();
                plain
                    .query_drop("INSERT INTO t VALUES (1, '838:59:59.999999')")
                    .expect_err("MySQL takes the value after all");
            }
        }
    });
}

#[test]
fn generated_columns_are_not_written_and_refuse_to_be() {
    on_every_server("generated", |db| {
        if db.server().software() == Software::MySql56 {
            return; // has none
        }
        db.run(&[
            "CREATE TABLE t (id int PRIMARY KEY, a int, \
             b int AS (a + 1) VIRTUAL, c int AS (a * 2) STORED)",
            "INSERT INTO t (id, a) VALUES (1, 10)",
            "CREATE TABLE u LIKE t",
        ]);
        copy(db, "t", "u", WriteMode::Insert).unwrap();
        assert_eq!(db.rows("SELECT * FROM u"), [["1", "10", "11", "20"]]);
        let mut conn = open(&db.link()).unwrap();
        let e =
            load_into_t(conn.as_mut(), vec![ints([2]), ints([1]), ints([5])], WriteMode::Insert)
                .unwrap_err();
        assert_eq!(e.kind, Kind::Data, "{e:?}");
    });
}

#[test]
fn auto_increment_columns_take_zero_as_it_is() {
    on_every_server("auto", |db| {
        db.run(&["CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, a int)"]);
        let mut conn = open(&db.link()).unwrap();
        load_into_t(conn.as_mut(), vec![ints([0, 5]), ints([1, 2])], WriteMode::Insert).unwrap();
        assert_eq!(all_rows(db), ["0,1", "5,2"]);
    });
}

#[test]
fn rows_of_every_width_pass_until_the_servers_packet_is_full() {
    // MySQL wants a value to fit into a tenth of its log.
    let large = Server::start(Software::MySql56, &["--innodb-log-file-size=128M"]);
    let small = Server::start(Software::MySql56, &["--local-infile=0", "--max-allowed-packet=2M"]);
    for (server, packet) in
        [(ssync_tests::servers::mariadb(), 64 << 20), (&large, 64 << 20), (&small, 2 << 20)]
    {
        let db = server.database("wide");
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, a longblob, b longtext)"]);
        let mut conn = open(&db.link()).unwrap();
        // Every other row is too large to share a command with its neighbours; one is larger
        // than a wire packet (16 MiB) where the server takes that.
        let largest = if packet > (20 << 20) { 18 << 20 } else { packet / 2 };
        let widths = [10, 3 << 18, 0, 3 << 18, 7, 1 << 20, largest, 5];
        let blobs: Vec<Vec<u8>> = widths.iter().map(|w| vec![0xC3; *w]).collect();
        let column =
            (schema::Kind::Bytes, Arc::new(BinaryArray::from_iter_values(&blobs)) as ArrayRef);
        let data = vec![ints(0..8), column, texts(["\t\\é\n"; 8])];
        load_into_t(conn.as_mut(), data, WriteMode::Insert).unwrap();
        let got =
            db.rows("SELECT LENGTH(a), a = REPEAT(0xC3, LENGTH(a)), HEX(b) FROM t ORDER BY id");
        for (width, row) in widths.iter().zip(got) {
            assert_eq!(row, [width.to_string().as_str(), "1", "095CC3A90A"]);
        }
        // Reading them again gives the same bytes.
        let columns = described(conn.as_mut(), "t").columns;
        let (batches, bad) = read_columns(conn.as_mut(), "t", &columns);
        assert!(bad.is_empty());
        let sum: usize = batches
            .iter()
            .flat_map(|b| (0..b.num_rows()).map(move |r| (b, r)))
            .map(|(b, r)| {
                let v = ssync_common::batch::value_at(b, 1, schema::Kind::Bytes, r);
                v.as_bytes().unwrap().len()
            })
            .sum();
        assert_eq!(sum, widths.iter().sum::<usize>());

        // Half text, half bytes: together more than a packet.
        let huge = vec![0xC3; packet / 2 + 10];
        let column =
            (schema::Kind::Bytes, Arc::new(BinaryArray::from(vec![huge.as_slice()])) as ArrayRef);
        let data = vec![ints([100]), column, texts(["x".repeat(packet / 2)])];
        let e = load_into_t(conn.as_mut(), data, WriteMode::Insert).unwrap_err();
        assert_eq!(e.kind, Kind::Data, "{e:?}");
        assert!(e.message.contains("packet"), "{e:?}");
        assert_eq!(db.value("SELECT COUNT(*) FROM t"), "8");
        assert!(conn.query("SELECT 1", &[]).is_ok(), "the connection survives");
    }
}

#[test]
fn tables_with_very_many_columns_load() {
    on_every_server("many", |db| {
        let columns: Vec<String> = (0..900).map(|i| format!("c{i} int")).collect();
        db.run(&[
            &format!("CREATE TABLE t (id int PRIMARY KEY, {}) ENGINE=InnoDB", columns.join(",")),
            "CREATE TABLE u LIKE t",
        ]);
        let values = vec!["9"; 900].join(",");
        let rows: Vec<String> = (0..300).map(|i| format!("({i},{values})")).collect();
        db.run(&[&format!("INSERT INTO t VALUES {}", rows.join(","))]);
        // Upsert takes the INSERT road on MySQL, whose placeholders are limited.
        for mode in [WriteMode::Insert, WriteMode::Upsert] {
            assert_eq!(copy(db, "t", "u", mode).unwrap().rows, 300);
        }
        assert_eq!(db.value("SELECT SUM(c0 + c899) FROM u"), "5400");
    });
}

#[test]
fn names_that_need_quoting_load_and_read() {
    on_every_server("quoted", |db| {
        db.run(&[
            "CREATE TABLE `a``b c` (`id` int PRIMARY KEY, `se``lect :x ?` varchar(9), `é'\"` blob)",
            "CREATE TABLE `d.e` LIKE `a``b c`",
            "INSERT INTO `a``b c` VALUES (1, 'x?:y', 0x00FF), (2, NULL, NULL)",
        ]);
        let mut conn = open(&db.link()).unwrap();
        let columns = writable(&described(conn.as_mut(), "\"a`b c\""));
        let (batches, bad) = read_columns(conn.as_mut(), "\"a`b c\"", &columns);
        assert!(bad.is_empty());
        let plan = plan(&described(conn.as_mut(), "`d.e`"), &columns, WriteMode::Upsert);
        load(conn.as_mut(), &plan, &batches[0]).unwrap();
        load(conn.as_mut(), &plan, &batches[0]).unwrap();
        assert_eq!(
            db.rows("SELECT `id`, `se``lect :x ?`, HEX(`é'\"`) FROM `d.e`"),
            [["1", "x?:y", "00FF"], ["2", "NULL", "NULL"]]
        );
        // By its full name, too.
        let full = format!("{}.`d.e`", db.name());
        assert_eq!(
            described(conn.as_mut(), &full).columns,
            described(conn.as_mut(), "`d.e`").columns
        );
    });
}

#[test]
fn a_range_of_a_batch_is_that_range() {
    on_every_server("range", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, a varchar(9))"]);
        let mut conn = open(&db.link()).unwrap();
        let (batch, columns) = batch(vec![ints(0..300), texts((0..300).map(|i| format!("v{i}")))]);
        let plan = plan(&described(conn.as_mut(), "t"), &columns, WriteMode::Insert);
        conn.begin().unwrap();
        for range in [0..0, 100..101, 150..299] {
            conn.load(&plan, &batch, range).unwrap();
        }
        conn.commit().unwrap();
        assert_eq!(
            db.rows("SELECT COUNT(*), MIN(id), MAX(id), SUM(a = CONCAT('v', id)) FROM t"),
            [["150", "100", "298", "150"]]
        );
        // A slice knows where it begins.
        db.run(&["DELETE FROM t"]);
        load(conn.as_mut(), &plan, &batch.slice(10, 5)).unwrap();
        assert_eq!(db.rows("SELECT MIN(id), MAX(id) FROM t"), [["10", "14"]]);
    });
}

#[test]
fn values_with_their_own_types_land_in_a_column_of_one_type() {
    on_every_server("tagged", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, a varchar(40), b double, c longblob)"]);
        let tagged = |values: &[Value]| {
            let column = BinaryArray::from_iter(values.iter().map(Value::to_tagged));
            (schema::Kind::Any, Arc::new(column) as ArrayRef)
        };
        let mut conn = open(&db.link()).unwrap();
        let data = vec![
            ints(0..3),
            tagged(&[Value::Null, Value::Text("-5".to_owned()), Value::Text("é".to_owned())]),
            tagged(&[Value::Float(0.1), Value::Null, Value::Int(3)]),
            tagged(&[Value::Bytes(vec![0, 255]), Value::Bytes(vec![120]), Value::Null]),
        ];
        load_into_t(conn.as_mut(), data, WriteMode::Insert).unwrap();
        assert_eq!(
            db.rows("SELECT a, b, HEX(c) FROM t ORDER BY id"),
            [["NULL", "0.1", "00FF"], ["-5", "NULL", "78"], ["é", "3", "NULL"]]
        );
        // The number 7 and the text 7 are two values: neither becomes the other.
        for (column, value) in [
            ("a", Value::Int(7)),
            ("a", Value::Bytes(b"7".to_vec())),
            ("b", Value::Text("7".to_owned())),
            ("c", Value::Text("7".to_owned())),
        ] {
            let of = |name| if name == column { value.clone() } else { Value::Null };
            let data =
                vec![ints(9..10), tagged(&[of("a")]), tagged(&[of("b")]), tagged(&[of("c")])];
            let e = load_into_t(conn.as_mut(), data, WriteMode::Insert).unwrap_err();
            assert_eq!((e.kind, e.column.as_deref()), (Kind::Data, Some(column)));
        }
    });
}

#[test]
fn load_data_that_is_forbidden_or_irregular_gives_way_to_insert() {
    let server = Server::start(Software::MySql56, &["--local-infile=0"]);
    for server in [mysql56(), &server] {
        let db = server.database("forbidden");
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, a tinyint)"]);
        let mut conn = open(&db.link()).unwrap();
        let data =
            |bad: i64| vec![ints(0..100), ints((0..100).map(|i| if i == 99 { bad } else { i }))];
        let e = load_into_t(conn.as_mut(), data(128), WriteMode::Insert).unwrap_err();
        // The exact road names the column; LOAD DATA would only have counted.
        assert_eq!((e.kind, e.column.as_deref()), (Kind::Data, Some("a")));
        assert!(e.message.contains("range"), "{e:?}");
        load_into_t(conn.as_mut(), data(99), WriteMode::Insert).unwrap();
        assert_eq!(db.value("SELECT SUM(a) FROM t"), "4950");
    }
}

#[test]
fn a_foreign_key_that_restricts_is_the_rows_fault_in_a_replace() {
    on_every_server("restrict", |db| {
        db.run(&[
            "CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=InnoDB",
            "CREATE TABLE child (t int, FOREIGN KEY (t) REFERENCES t (id)) ENGINE=InnoDB",
            "INSERT INTO t VALUES (1, 1)",
            "INSERT INTO child VALUES (1)",
        ]);
        let mut conn = open(&db.link()).unwrap();
        let e =
            load_into_t(conn.as_mut(), vec![ints([1]), ints([2])], WriteMode::Replace).unwrap_err();
        assert_eq!(e.kind, Kind::Data, "{e:?}");
        assert_eq!(all_rows(db), ["1,1"]);
    });
}

/// Stands between client and server and hides from the client that the server knows bulk
/// execution, as a proxy does that does not know it. The port it listens on.
fn without_bulk(server: &Server) -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = server.port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut server = std::net::TcpStream::connect(("127.0.0.1", upstream)).unwrap();
            let mut header = [0; 4];
            server.read_exact(&mut header).unwrap();
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            let mut greeting = vec![0; length];
            server.read_exact(&mut greeting).unwrap();
            // Protocol, version, zero; connection 4, scramble 8 and 1, capabilities 2, charset 1,
            // status 2, capabilities 2, length 1, reserved 6: then MariaDB's own capabilities.
            let version = greeting.iter().position(|b| *b == 0).unwrap();
            let own = version + 1 + 4 + 9 + 2 + 1 + 2 + 2 + 1 + 6;
            assert_ne!(greeting[own..own + 4], [0; 4], "the server has no bulk to hide");
            greeting[own..own + 4].fill(0);
            client.write_all(&header).unwrap();
            client.write_all(&greeting).unwrap();
            let (mut up, mut down) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut client, &mut up);
                let _ = up.shutdown(std::net::Shutdown::Both);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut server, &mut down);
                let _ = down.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    port
}

#[test]
fn behind_a_proxy_without_bulk_no_warning_is_missed() {
    let server = ssync_tests::servers::mariadb();
    let db = server.database("proxied");
    db.run(&["CREATE TABLE t (id int PRIMARY KEY, a decimal(5,2))"]);
    let mut link = db.link();
    link.url = link.url.replace(&server.port().to_string(), &without_bulk(server).to_string());
    let data = |first: &str| {
        let decimals: Vec<&str> = (0..100).map(|i| if i == 0 { first } else { "1.23" }).collect();
        let column = Arc::new(StringArray::from(decimals)) as ArrayRef;
        vec![ints(0..100), (schema::Kind::Decimal, column)]
    };
    for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Replace, WriteMode::Ignore] {
        let mut conn = open(&link).unwrap();
        // Sent one by one, the last row's command would say that all is well.
        let e = load_into_t(conn.as_mut(), data("1.239"), mode).unwrap_err();
        assert_eq!((e.kind, e.column.as_deref()), (Kind::Data, Some("a")), "{mode:?}: {e:?}");
        assert_eq!(db.value("SELECT COUNT(*) FROM t"), "0");
        assert_eq!(load_into_t(conn.as_mut(), data("1.24"), mode).unwrap().rows, 100);
        assert_eq!(db.value("SELECT SUM(a) FROM t"), "123.01");
        db.run(&["DELETE FROM t"]);
    }
}
