//! The memory of every process stays within what is configured, whatever the table's size.

use std::collections::BTreeMap;

use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

/// Bytes of one row, and rows: the table has 160 MB.
const ROW_BYTES: usize = 64 << 10;
const ROWS: usize = 2_560;
/// A process with four slots of a megabyte in sight, a batch being built and one being sent.
const PEAK_KB_MAX: u64 = 64 << 10;

/// The largest resident set that each process of the instance has had so far, in KB.
fn look(instance: &Instance, peaks: &mut BTreeMap<u32, u64>) {
    for pid in instance.processes() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let Some(kb) = peak.and_then(|p| p.trim().strip_suffix(" kB")?.trim().parse().ok()) else {
            continue;
        };
        peaks.insert(pid, kb);
    }
}

#[test]
fn a_large_table_takes_no_more_memory_than_a_small_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = mariadb();
    let on_server = || Site::on_server(server, "mem");
    let ways = [
        (Site::in_file(dir.path(), "s"), on_server()),
        (on_server(), Site::in_file(dir.path(), "d")),
    ];
    for (source, dest) in ways {
        let blob = if source.is_sqlite() { "BLOB" } else { "MEDIUMBLOB" };
        source
            .run(&[format!("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v {blob} NOT NULL)")]);
        let fill = if source.is_sqlite() {
            format!(
                "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                 WHERE i < {ROWS}) SELECT i, randomblob({ROW_BYTES}) FROM n"
            )
        } else {
            format!(
                "INSERT INTO t SELECT seq, RPAD(seq, {ROW_BYTES}, seq * 7) FROM seq_1_to_{ROWS}"
            )
        };
        source.run(&[fill]);
        let blob = if dest.is_sqlite() { "BLOB" } else { "MEDIUMBLOB" };
        dest.run(&[format!("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v {blob} NOT NULL)")]);
        let instance = Instance::new(&format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\n\
             slot_bytes = {}\n[[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"t\"\n\
             mode = \"full\"\n",
            source.link("src"),
            dest.link("dst"),
            1 << 20,
        ));
        let mut run = instance.start(&["--task", "1"], "");
        let mut peaks = BTreeMap::new();
        while !run.has_ended() {
            look(&instance, &mut peaks);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        run.wait().expect(0);
        assert_eq!(dest.number("SELECT COUNT(*) FROM t"), ROWS as i64);
        assert!(peaks.len() >= 3, "task process and two writers were seen: {peaks:?}");
        assert!(peaks.values().all(|kb| *kb < PEAK_KB_MAX), "{peaks:?} KB");
    }
}
