//! A task into Oracle, and back: empty text by choice, times in UTC, envelopes, names in another
//! case; and what `ssync check` says of it before.

use ssync_tests::servers::oracle::{Generation, OracleAccount, oracle};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

const KEYS: &str = "[[key]]\nname = \"pii\"\nsecret = { file = \"KEY\" }\n";

/// A file and an Oracle, and a task from the one to the other (1) and back (2).
struct Journey {
    instance: Instance,
    start: Site,
    end: Site,
    oracle: OracleAccount<'static>,
}

impl Journey {
    fn new(start_sql: &[&str], oracle_sql: &[&str], end_sql: &[&str]) -> Journey {
        let instance = Instance::new("");
        let start = Site::in_file(instance.scratch(), "start");
        let end = Site::in_file(instance.scratch(), "end");
        let oracle = oracle(Generation::Oracle19c).account("journey");
        start.run(start_sql);
        oracle.run(oracle_sql);
        end.run(end_sql);
        Journey { instance, start, end, oracle }
    }

    /// Applies a configuration with these settings of the table on the way in, and on the way back.
    fn configure(&self, into: &str, back: &str) {
        let file = self.instance.scratch().join("oracle.password");
        self.secret(&file, self.oracle.password().as_bytes());
        let key = self.instance.scratch().join("pii.key");
        if !key.exists() {
            self.instance.run(&["key", "new", "pii", "--out", key.to_str().unwrap()]).expect(0);
        }
        let links = [
            self.start.link("start"),
            self.end.link("end"),
            format!(
                "[[link]]\nname = \"ora\"\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\nallow_nondurable = true\n",
                self.oracle.url(),
                file.display()
            ),
            KEYS.replace("KEY", key.to_str().unwrap()),
        ];
        let task = |id: u32, source: &str, dest: &str, table: &str| {
            format!(
                "[[task]]\nid = {id}\nsource = \"{source}\"\ndest = \"{dest}\"\nerror_limit = 10\n\
                 [[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"t\"\nmode = \"full\"\n{table}\n"
            )
        };
        let tasks = [task(1, "start", "ora", into), task(2, "ora", "end", back)];
        self.instance.apply(&(links.concat() + &tasks.concat()));
    }

    fn secret(&self, file: &std::path::Path, content: &[u8]) {
        use std::os::unix::fs::OpenOptionsExt;
        let mut open = std::fs::OpenOptions::new();
        let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(file).unwrap();
        std::io::Write::write_all(&mut file, content).unwrap();
    }

    fn run(&self, task: u32) -> Outcome {
        self.instance.run(&["--task", &task.to_string(), "--json"])
    }

    /// Rows of an Oracle query, each with `|` between its values.
    fn in_oracle(&self, sql: &str) -> Vec<String> {
        let rows = self.oracle.open().query(sql, &[]).unwrap();
        let text = |v: &ssync_common::value::Value| v.plain().unwrap_or_else(|| "NULL".to_owned());
        rows.iter().map(|r| r.iter().map(text).collect::<Vec<_>>().join("|")).collect()
    }

    fn at_end(&self, sql: &str) -> Vec<String> {
        let db = self.end.sqlite();
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

const START: [&str; 2] = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT, code TEXT NOT NULL, doc TEXT)",
    "INSERT INTO t VALUES (1, 'a', 'x', 'd'), (2, '', '', ''), (3, NULL, 'z', NULL)",
];
const IN_ORACLE: &str = "CREATE TABLE t (id NUMBER(19) PRIMARY KEY, note VARCHAR2(4000), \
                         code VARCHAR2(20), doc CLOB)";
const END: &str =
    "CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT, code TEXT NOT NULL, doc TEXT)";

#[test]
fn empty_text_is_refused_without_a_choice() {
    let journey = Journey::new(&START, &[IN_ORACLE], &[END]);
    journey.configure("", "");
    journey.run(1).expect(1);
    assert_eq!(journey.in_oracle("SELECT id FROM t ORDER BY id"), ["1", "3"]);
    let errors = journey.instance.run(&["errors"]).expect(0).stdout;
    assert!(errors.contains("empty text is NULL to Oracle"), "{errors}");
    assert!(errors.contains("note"), "{errors}");
    let check = journey.instance.run(&["check"]).stdout;
    assert!(check.contains("Oracle takes them for NULL"), "{check}");
}

#[test]
fn empty_text_comes_back_as_it_was_held() {
    let journey = Journey::new(&START, &[IN_ORACLE], &[END]);
    // Oracle's names are in upper case, and are found all the same.
    let choice = "empty_as = { note = \"space\", code = \"null\" }";
    journey.configure(choice, choice);
    let check = journey.instance.run(&["check"]).stdout;
    for warning in [
        "empty text becomes one blank (empty_as)",
        "empty values become NULL (empty_as)",
        "one blank becomes empty text (empty_as)",
        "NULL becomes empty (empty_as)",
    ] {
        assert!(check.contains(warning), "{warning}: {check}");
    }
    journey.run(1).expect(0);
    assert_eq!(
        journey.in_oracle("SELECT id, note, code, LENGTH(doc) FROM t ORDER BY id"),
        ["1|a|x|1", "2| |NULL|0", "3|NULL|z|NULL"]
    );
    journey.run(2).expect(0);
    let same =
        "SELECT id || coalesce(quote(note), '') || quote(code) || quote(doc) FROM t ORDER BY id";
    assert_eq!(journey.at_end(same), ["1'a''x''d'", "2''''''", "3NULL'z'NULL"]);
}

#[test]
fn what_is_encrypted_into_oracle_opens_again_whatever_the_case_of_names() {
    let start = START.map(|sql| sql.replace("note", "NOTE"));
    let journey = Journey::new(
        &start.each_ref().map(String::as_str),
        &[
            "CREATE TABLE t (id NUMBER(19) PRIMARY KEY, note VARCHAR2(4000), code RAW(200), doc CLOB)",
        ],
        &[END],
    );
    journey.configure(
        "columns = [\"id\", \"note\", \"code\", \"doc\"]\n\
         encrypt = { note = \"pii\", code = \"pii\", doc = \"pii\" }",
        "decrypt = { note = \"pii\", Code = \"pii\", doc = \"pii\" }",
    );
    journey.run(1).expect(0);
    let held = journey.in_oracle("SELECT note FROM t WHERE id < 3 ORDER BY id");
    assert!(held.len() == 2 && held.iter().all(|v| v.len() > 40), "in the clear: {held:?}");
    journey.run(2).expect(0);
    let same = "SELECT id || quote(note) || quote(code) || quote(doc) FROM t ORDER BY id";
    assert_eq!(journey.at_end(same), ["1'a''x''d'", "2''''''", "3NULL'z'NULL"]);
}
