//! Searching everything that somebody besides ssync could see of an instance.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use mysql::prelude::Queryable;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, cmdline, open_memory};

/// A secret in every form that is looked for.
pub struct Needle {
    name: String,
    forms: Vec<Vec<u8>>,
}

impl Needle {
    pub fn new(name: &str, secret: &[u8]) -> Needle {
        let lower: String = secret.iter().map(|b| format!("{b:02x}")).collect();
        let numbers = |between: &str| {
            secret.iter().map(u8::to_string).collect::<Vec<_>>().join(between).into_bytes()
        };
        let mut forms = vec![
            secret.to_vec(),
            lower.to_uppercase().into_bytes(),
            lower.into_bytes(),
            numbers(","),
            numbers(", "),
        ];
        if let Ok(text) = std::str::from_utf8(secret) {
            forms.push(serde_json::to_string(text).unwrap().trim_matches('"').into());
            forms.push(format!("{text:?}").trim_matches('"').into());
        }
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            // Inside of something longer it may begin at any of three places; what its neighbours
            // have a share in is left out.
            for (before, cut) in [(0, 0), (1, 2), (2, 3)] {
                let shifted = [&[0; 2][..before], secret].concat();
                let mut text = engine.encode(&shifted);
                if shifted.len() % 3 != 0 {
                    text.pop();
                }
                forms.push(text[cut..].into());
            }
        }
        Needle { name: name.to_owned(), forms }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_in(&self, haystack: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(haystack, form))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    haystack.windows(needle.len()).any(|window| window[0] == first && window == needle)
}

/// What of an instance others could see.
pub struct Places<'a> {
    pub instance: &'a Instance,
    pub sites: Vec<&'a Site>,
}

impl Places<'_> {
    /// The kinds of places, as [`Places::search`] names them.
    pub const KINDS: [&'static str; 6] =
        ["arguments", "environment", "shared memory", "store", "log", "own table"];

    /// Where the needles are, anywhere.
    pub fn search(&self, needles: &[Needle]) -> Vec<String> {
        let mut found = self.search_records(needles);
        let mut look = |place: String, bytes: &[u8]| {
            found.extend(
                needles.iter().filter(|n| n.is_in(bytes)).map(|n| format!("{} in {place}", n.name)),
            );
        };
        for pid in self.instance.processes() {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            look(format!("arguments of process {pid}"), &arguments);
            // The task process has the environment that its caller gave it.
            if cmdline(pid).get(1).is_some_and(|a| a == "writer") {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                assert!(!environment.is_empty());
                look(format!("environment of process {pid}"), &environment);
            }
        }
        for segment in self.instance.segments().into_iter().chain(self.instance.rings()) {
            look(format!("shared memory {segment}"), &fs::read(&segment).unwrap_or_default());
        }
        found
    }

    /// Where the needles are among what stays: files of the home, ssync's own tables.
    pub fn search_records(&self, needles: &[Needle]) -> Vec<String> {
        let mut found = Vec::new();
        let mut look = |place: String, bytes: &[u8]| {
            found.extend(
                needles.iter().filter(|n| n.is_in(bytes)).map(|n| format!("{} in {place}", n.name)),
            );
        };
        let mut files = Vec::new();
        collect_files(&self.instance.home(), &mut files);
        assert!(files.iter().any(|f| f.ends_with("ssync.db")), "{files:?}");
        for file in files {
            let kind = match file.file_name().and_then(|n| n.to_str()) {
                Some(name) if name.starts_with("ssync.db") => "store",
                _ if file.parent().is_some_and(|p| p.ends_with("logs")) => "log",
                _ => "file",
            };
            // Some come and go (the write-ahead log, marks of the test itself).
            look(format!("{kind} {}", file.display()), &fs::read(&file).unwrap_or_default());
        }
        for site in &self.sites {
            for table in site.tables().iter().filter(|t| t.starts_with("SSYNC_")) {
                look(format!("own table {table}"), &content(site, table));
            }
        }
        found
    }

    /// Puts the text into one place of every kind, searches, and takes it away again.
    pub fn plant_and_search(&self, text: &[u8], needles: &[Needle]) -> Vec<String> {
        let home = self.instance.home();
        let log = home.join("logs").join("planted.log");
        fs::write(&log, text).unwrap();
        let segment = {
            // The name that this instance's segments begin with, whatever is there now.
            let prefix = ssync_common::shm::prefix(&home).unwrap();
            PathBuf::from(format!("/dev/shm{prefix}planted"))
        };
        // Locked before it has its name, as a segment with an owner is: any other ssync of this
        // user removes those without.
        let nameless = segment.with_file_name(format!("planting-{}", std::process::id()));
        fs::write(&nameless, text).unwrap();
        let owner = fs::File::open(&nameless).unwrap();
        owner.lock().unwrap();
        fs::rename(&nameless, &segment).unwrap();
        let store = rusqlite::Connection::open(home.join("ssync.db")).unwrap();
        store.execute("CREATE TABLE planted (text BLOB)", []).unwrap();
        store.execute("INSERT INTO planted VALUES (?1)", [text]).unwrap();
        let site = self.sites[1];
        site.run(&["CREATE TABLE SSYNC_PLANTED (text LONGBLOB)"]);
        site.mysql().exec_drop("INSERT INTO SSYNC_PLANTED VALUES (?)", (text,)).unwrap();
        let process = Planted::start(self.instance, text);

        let found = self.search(needles);

        drop(process);
        site.run(&["DROP TABLE SSYNC_PLANTED"]);
        store
            .execute_batch(
                "PRAGMA secure_delete = ON; DROP TABLE planted; \
                 PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .unwrap();
        fs::remove_file(segment).unwrap();
        drop(owner);
        fs::remove_file(log).unwrap();
        found
    }
}

/// Where the text is in shared memory of this host, whosever: under a name, or open in a process.
pub fn search_memory(text: &str) -> Vec<String> {
    let listed = |dir: &str| fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let named = listed("/dev/shm").map(|e| e.path().display().to_string());
    let pids = listed("/proc").filter_map(|e| e.file_name().to_str()?.parse().ok());
    let places = named.chain(pids.flat_map(open_memory));
    // Some are gone by now, which grep says by its exit code alone.
    let mut grep = Command::new("grep");
    grep.args(["--files-with-matches", "--no-messages", "--text", "--fixed-strings", text]);
    let found = grep.arg("/dev/null").args(places).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A process that looks like a writer of the instance and carries the text.
struct Planted(Child);

impl Planted {
    fn start(instance: &Instance, text: &[u8]) -> Planted {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::process::CommandExt;
        let text = OsStr::from_bytes(text);
        // `sh writer …`: a script of that name, which waits for its input to end.
        let script = instance.scratch().join("writer");
        fs::write(&script, "read line\n").unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .arg0("sh")
            .arg("writer")
            .arg(text)
            .current_dir(instance.scratch())
            .stdin(std::process::Stdio::piped());
        let child = instance.in_environment(command).env("PLANTED", text).spawn().unwrap();
        // Between fork and exec it still looks like this test.
        let ready = || cmdline(child.id()).get(1).is_some_and(|a| a == "writer");
        while !ready() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Planted(child)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collect_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// Every value of a table, as bytes.
fn content(site: &Site, table: &str) -> Vec<u8> {
    let rows: Vec<mysql::Row> = site.mysql().query(format!("SELECT * FROM `{table}`")).unwrap();
    let mut all = Vec::new();
    for row in rows {
        for value in row.unwrap() {
            match value {
                mysql::Value::Bytes(bytes) => all.extend(bytes),
                other => all.extend(other.as_sql(true).into_bytes()),
            }
            all.push(b'\n');
        }
    }
    all
}
