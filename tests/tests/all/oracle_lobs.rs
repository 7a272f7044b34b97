//! LOBs of Oracle as a source: short ones come with their rows, longer ones by their locators, in
//! pieces of bounded size, and every one of them whole.

use ssync_common::connector::WriteMode;
use ssync_common::value::Value;
use ssync_tests::servers::oracle::{Generation, oracle};

use super::conformance::place::{load, plan, rows, text};

/// Lengths about those at which the way of reading changes, in units of UTF-16, or bytes.
const LENGTHS: [usize; 14] =
    [0, 1, 999, 1000, 1001, 1999, 2000, 2001, 65_535, 65_536, 65_537, 131_072, 131_073, 200_000];

/// Text of so many units of UTF-16, in which characters of one, two, three and four bytes take turns
/// so that some of two units stand across every border of pieces.
fn mixed(units: usize, shift: usize) -> String {
    let mut text = String::new();
    let mut left = units;
    for c in ['a', 'é', '中'].iter().cycle().skip(shift).take(shift.min(units)) {
        text.push(*c);
        left -= 1;
    }
    while left >= 2 {
        text.push('😀');
        left -= 2;
    }
    text.push_str(if left == 1 { "z" } else { "" });
    text
}

fn read_back(generation: Generation) {
    let account = oracle(generation).account("lobs");
    let mut c = account.open();
    c.execute(
        "CREATE TABLE l (id NUMBER(9) PRIMARY KEY, c CLOB, v VARCHAR2(20 CHAR), n NCLOB, b BLOB)",
        &[],
    )
    .unwrap();
    let plan = plan(&mut *c, "l", WriteMode::Insert, &[]);
    let mut data: Vec<Vec<Value>> = LENGTHS
        .iter()
        .enumerate()
        .map(|(i, n)| {
            vec![
                Value::Int(i as i64),
                text(&mixed(*n, 0)),
                text("between"),
                text(&mixed(*n, 1)),
                Value::Bytes((0..*n).map(|b| (b % 251) as u8).collect()),
            ]
        })
        .collect();
    // A LOB beside one that is NULL, and a row without any.
    data.push(vec![
        Value::Int(100),
        Value::Null,
        Value::Null,
        text(&mixed(70_000, 1)),
        Value::Null,
    ]);
    data.push(vec![Value::Int(101), Value::Null, text("none"), Value::Null, Value::Null]);
    load(&mut *c, &plan, &data).unwrap();
    assert_eq!(rows(&mut *c, "l"), data);
}

#[test]
fn lobs_of_every_length_are_read_whole() {
    read_back(Generation::Oracle19c);
}

mod oracle12 {
    #[test]
    fn lobs_of_every_length_are_read_whole() {
        super::read_back(super::Generation::Oracle12c);
    }
}

mod oracle23 {
    #[test]
    fn lobs_of_every_length_are_read_whole() {
        super::read_back(super::Generation::Oracle23ai);
    }
}

mod standin {
    use std::collections::BTreeMap;

    use ssync_common::batch::BatchBuilder;
    use ssync_common::connector::{Connection, WriteMode, open};
    use ssync_common::error::{Kind as ErrorKind, Result};
    use ssync_common::value::Value;
    use ssync_tests::servers::mariadb;
    use ssync_tests::servers::oracle::faults::Fault;
    use ssync_tests::servers::oracle::{Generation, OracleServer, oracle};
    use ssync_tests::sites::Site;
    use ssync_tests::ssync::Instance;

    use super::super::conformance::place::{LIMITS, load, plan, rows, select};

    const MB: usize = 1 << 20;

    /// The time that the driver takes before 23ai grows with the square of an answer's size, its
    /// memory on every version with the size.
    #[test]
    fn no_answer_of_the_server_is_large_however_large_the_lobs_are() {
        for generation in Generation::ALL {
            let server = OracleServer::start(generation);
            let account = server.account("pieces");
            let mut c = account.open();
            c.execute("CREATE TABLE l (id NUMBER(9) PRIMARY KEY, c CLOB, b BLOB)", &[]).unwrap();
            let plan = plan(&mut *c, "l", WriteMode::Insert, &[]);
            let data: Vec<Vec<Value>> = (0..4)
                .map(|i| {
                    let (text, bytes) = ("x".repeat(MB), vec![i as u8; MB]);
                    vec![Value::Int(i), Value::Text(text), Value::Bytes(bytes)]
                })
                .collect();
            load(&mut *c, &plan, &data).unwrap();
            server.standin().take_answer_bytes_max();
            assert_eq!(rows(&mut *c, "l"), data);
            let most = server.standin().take_answer_bytes_max();
            assert!(most < 256 << 10, "{generation:?}: an answer of {most} bytes");
        }
    }

    #[test]
    fn short_lobs_come_with_their_rows_in_few_round_trips() {
        let server = OracleServer::start(Generation::Oracle19c);
        let account = server.account("short");
        let mut c = account.open();
        c.execute("CREATE TABLE l (id NUMBER(9) PRIMARY KEY, c CLOB, b BLOB)", &[]).unwrap();
        let plan = plan(&mut *c, "l", WriteMode::Insert, &[]);
        let row =
            |i| vec![Value::Int(i), Value::Text("x".repeat(900)), Value::Bytes(vec![7; 1900])];
        let data: Vec<Vec<Value>> = (0..200).map(row).collect();
        load(&mut *c, &plan, &data).unwrap();
        // Every call on a LOB would fail.
        server.standin().faults().add(Fault::parse("lob error=3113").unwrap());
        assert_eq!(rows(&mut *c, "l"), data);
        assert_eq!(server.standin().faults().waiting(), 1);
    }

    fn failing(fault: &str, timeout_secs: u64) -> (Box<dyn Connection>, Result<u64>) {
        let server = oracle(Generation::Oracle19c);
        let account = server.account("failing");
        let mut link = account.link();
        link.io_timeout = std::time::Duration::from_secs(timeout_secs);
        let mut c = open(&link).unwrap();
        c.execute("CREATE TABLE l (id NUMBER(9) PRIMARY KEY, b BLOB)", &[]).unwrap();
        let plan = plan(&mut *c, "l", WriteMode::Insert, &[]);
        let row = |i| vec![Value::Int(i), Value::Bytes(vec![7; 300_000])];
        load(&mut *c, &plan, &(0..3).map(row).collect::<Vec<_>>()).unwrap();
        let columns = c.describe("l").unwrap().unwrap().columns;
        let sql = select(&*c, "l", &columns);
        server.standin().faults().add(Fault::parse(fault).unwrap());
        let mut builder = BatchBuilder::new(&columns, LIMITS);
        let done = c.read(&sql, &[], &columns, &mut builder, &mut |_| Ok(()));
        (c, done)
    }

    #[test]
    fn a_lob_that_breaks_off_ends_the_reading_with_the_servers_reason() {
        let (mut c, done) = failing("lob error=1555 nth=4", 60);
        let e = done.unwrap_err();
        assert_eq!(e.kind, ErrorKind::Contention, "{e:?}");
        assert_eq!(rows(&mut *c, "l").len(), 3);
        let (_, done) = failing("lob drop-before nth=5", 60);
        assert_eq!(done.unwrap_err().kind, ErrorKind::Lost);
        let (_, done) = failing("lob delay=60000 nth=2", 1);
        let e = done.unwrap_err();
        assert_eq!(e.kind, ErrorKind::Lost, "{e:?}");
        assert!(e.message.contains("did not answer in time"), "{e:?}");
    }

    /// The largest resident set that each process of the instance has had so far, in KB.
    fn look(instance: &Instance, peaks: &mut BTreeMap<u32, u64>) {
        for pid in instance.processes() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            if let Some(kb) = peak.and_then(|p| p.trim().strip_suffix(" kB")?.trim().parse().ok()) {
                peaks.insert(pid, kb);
            }
        }
    }

    #[test]
    fn a_table_of_large_lobs_takes_the_memory_of_a_few_rows() {
        const ROWS: i64 = 8;
        const ROW_BYTES: usize = 4 * MB;
        let server = OracleServer::start(Generation::Oracle23ai);
        let account = server.account("memory");
        let mut c = account.open();
        c.execute("CREATE TABLE l (id NUMBER(9) PRIMARY KEY, b BLOB)", &[]).unwrap();
        let plan = plan(&mut *c, "l", WriteMode::Insert, &[]);
        for i in 0..ROWS {
            let row = vec![Value::Int(i), Value::Bytes(vec![i as u8; ROW_BYTES])];
            load(&mut *c, &plan, &[row]).unwrap();
        }
        let (source, dest) = (Site::of_account(&account), Site::on_server(mariadb(), "lobs"));
        dest.run(&["CREATE TABLE l (id INT PRIMARY KEY, b LONGBLOB)"]);
        let instance = Instance::new(&format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\n\
             slot_bytes = {}\n[[task.table]]\nname = \"l\"\nsource = \"l\"\ndest = \"l\"\n\
             mode = \"full\"\n",
            // A stand-in has its answer together before it begins with it.
            source.link("src").replace("io_timeout_secs = 20", "io_timeout_secs = 160"),
            dest.link("dst"),
            8 * MB,
        ));
        let mut run = instance.start(&["--task", "1"], "");
        let mut peaks = BTreeMap::new();
        while !run.has_ended() {
            look(&instance, &mut peaks);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        run.wait().expect(0);
        let sql = format!("SELECT COUNT(*) FROM l WHERE LENGTH(b) = {ROW_BYTES}");
        assert_eq!(dest.number(&sql), ROWS);
        // All rows are 32 MB, of which a driver that has an answer with all of them holds four copies.
        assert!(peaks.values().all(|kb| *kb < 100 << 10), "{peaks:?} KB");
    }

    /// A real server agrees to no more than 8 KB unless its administrator says so, and ends a
    /// connection whose client sends more. The driver sends what it asked for, whatever was agreed.
    #[test]
    fn packets_are_of_the_size_that_every_server_agrees_to() {
        for (offered, asked, works) in
            [(8192, "", true), (65_536, "(SDU=65536)", true), (8192, "(SDU=65536)", false)]
        {
            let server = OracleServer::start(Generation::Oracle19c);
            server.standin().offer_sdu(offered);
            let account = server.account("sdu");
            let mut link = account.link();
            if !asked.is_empty() {
                let address = server.standin().address();
                link.url = format!(
                    "oracle://{}@(DESCRIPTION={asked}(ADDRESS=(PROTOCOL=TCP)(HOST={})(PORT={}))\
                     (CONNECT_DATA=(SERVICE_NAME=STANDIN)))",
                    account.name(),
                    address.ip(),
                    address.port()
                );
            }
            let mut c = open(&link).unwrap();
            c.execute("CREATE TABLE l (id NUMBER(9) PRIMARY KEY, b BLOB)", &[]).unwrap();
            let plan = plan(&mut *c, "l", WriteMode::Insert, &[]);
            let data = vec![vec![Value::Int(1), Value::Bytes(vec![7; 300_000])]];
            match (load(&mut *c, &plan, &data), works) {
                (Ok(_), true) => assert_eq!(rows(&mut *c, "l"), data),
                (Err(e), false) => assert_eq!(e.kind, ErrorKind::Lost, "{e:?}"),
                (done, _) => panic!("{offered} {asked}: {done:?}"),
            }
        }
    }
}
