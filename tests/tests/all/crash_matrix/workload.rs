//! The table of a case: how it is made on either side, its rows, how both sides are compared.

use ssync_tests::rng::Rng;
use ssync_tests::sites::{Cell, Holds, Row, Session, Site, differences};

use super::case::{Action, Case, Key, Mode};

/// A column on both sides.
struct Column {
    name: &'static str,
    mysql: &'static str,
    sqlite: &'static str,
    oracle: &'static str,
    holds: Holds,
}

const fn column(
    name: &'static str,
    mysql: &'static str,
    sqlite: &'static str,
    oracle: &'static str,
    holds: Holds,
) -> Column {
    Column { name, mysql, sqlite, oracle, holds }
}

/// Source and destination of a case, filled and compared.
pub struct Workload<'a> {
    case: &'a Case,
    pub source: Site,
    pub dest: Site,
    columns: Vec<Column>,
    key: Vec<&'static str>,
    /// Rows made so far; keys and marks are made from it, and never come twice.
    made: u64,
    /// Runs that came to their end.
    pub finished: i64,
    /// Runs that may have come to their end before their process was killed.
    pub maybe_finished: i64,
}

/// Characters that something on the way might stumble over.
const CHARS: &[char] = &[
    'a',
    'B',
    'z',
    '0',
    '9',
    ' ',
    '\'',
    '"',
    '\\',
    '`',
    '\t',
    '\n',
    '\r',
    '%',
    '_',
    ',',
    ';',
    '?',
    '\u{1}',
    '\u{7f}',
    'ä',
    'ß',
    '€',
    '中',
    '\u{fffd}',
    '🚚',
    '\u{10ffff}',
    'N',
];

impl<'a> Workload<'a> {
    pub fn new(case: &'a Case, source: Site, dest: Site) -> Workload<'a> {
        let mut columns = Vec::new();
        // Only Oracle forgets the zeros at the end of a decimal.
        let decimals = if case.pair.has_oracle() { Holds::Decimal } else { Holds::Text };
        let key: Vec<&'static str> = match case.key {
            Key::Int => {
                columns.push(column(
                    "id",
                    "BIGINT NOT NULL",
                    "INTEGER NOT NULL",
                    "NUMBER(18) NOT NULL",
                    Holds::Int,
                ));
                vec!["id"]
            }
            Key::Composite => {
                let text = "VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL";
                columns.push(column(
                    "region",
                    text,
                    "TEXT NOT NULL",
                    "VARCHAR2(8 CHAR) NOT NULL",
                    Holds::Text,
                ));
                columns.push(column(
                    "seq",
                    "INT NOT NULL",
                    "INTEGER NOT NULL",
                    "NUMBER(9) NOT NULL",
                    Holds::Int,
                ));
                vec!["region", "seq"]
            }
            Key::Text => {
                let text = "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL";
                columns.push(column(
                    "code",
                    text,
                    "TEXT NOT NULL",
                    "VARCHAR2(60 CHAR) NOT NULL",
                    Holds::Text,
                ));
                vec!["code"]
            }
            Key::Bytes => {
                let bytes = "VARBINARY(24) NOT NULL";
                columns.push(column(
                    "bkey",
                    bytes,
                    "BLOB NOT NULL",
                    "RAW(24) NOT NULL",
                    Holds::Bytes,
                ));
                vec!["bkey"]
            }
            Key::Decimal => {
                let decimal = "DECIMAL(30,10) NOT NULL";
                columns.push(column(
                    "dkey",
                    decimal,
                    "TEXT NOT NULL",
                    "NUMBER(30,10) NOT NULL",
                    decimals,
                ));
                vec!["dkey"]
            }
            Key::Time => {
                let time = "DATETIME(6) NOT NULL";
                columns.push(column(
                    "tkey",
                    time,
                    "TEXT NOT NULL",
                    "TIMESTAMP(6) NOT NULL",
                    Holds::Time,
                ));
                vec!["tkey"]
            }
            Key::None => vec![],
        };
        let wide = "VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
        columns.push(column(
            "mark",
            "BIGINT NOT NULL",
            "INTEGER NOT NULL",
            "NUMBER(18) NOT NULL",
            Holds::Int,
        ));
        columns.push(column(
            "grp",
            "INT NOT NULL",
            "INTEGER NOT NULL",
            "NUMBER(9) NOT NULL",
            Holds::Int,
        ));
        columns.push(column("v_int", "BIGINT", "INTEGER", "NUMBER(18)", Holds::Int));
        columns.push(column("v_text", wide, "TEXT", "VARCHAR2(300 CHAR)", Holds::Text));
        columns.push(column("v_real", "DOUBLE", "REAL", "BINARY_DOUBLE", Holds::Real));
        columns.push(column("v_bytes", "LONGBLOB", "BLOB", "BLOB", Holds::Bytes));
        if !source.is_sqlite() {
            columns.push(column("v_dec", "DECIMAL(20,6)", "TEXT", "NUMBER(20,6)", decimals));
            columns.push(column("v_time", "DATETIME(6)", "TEXT", "TIMESTAMP(6)", Holds::Time));
        }
        let workload =
            Workload { case, source, dest, columns, key, made: 0, finished: 0, maybe_finished: 0 };
        workload.create();
        workload
    }

    fn create(&self) {
        let definition = |site: &Site, keyed: bool, extra: &str| {
            let mut parts: Vec<_> = self
                .columns
                .iter()
                .map(|c| {
                    let kind = match site {
                        Site::MySql { .. } => c.mysql,
                        Site::Sqlite(_) => c.sqlite,
                        Site::Oracle { .. } => c.oracle,
                    };
                    format!("{} {kind}", c.name)
                })
                .collect();
            parts.extend((!extra.is_empty()).then(|| extra.to_owned()));
            if keyed && !self.key.is_empty() {
                parts.push(format!("PRIMARY KEY ({})", self.key.join(", ")));
            }
            parts.join(", ")
        };
        let state = match (self.case.mode, &self.source) {
            (Mode::Status, Site::MySql { .. }) => "sync_status TINYINT NOT NULL DEFAULT 0",
            (Mode::Status, Site::Sqlite(_)) => "sync_status INTEGER NOT NULL DEFAULT 0",
            (Mode::Status, Site::Oracle { .. }) => "sync_status NUMBER(1) DEFAULT 0 NOT NULL",
            _ => "",
        };
        let src = definition(&self.source, true, state);
        let dst = definition(&self.dest, self.case.dest_keyed, "");
        for (site, name, columns) in [(&self.source, "src", src), (&self.dest, "dst", dst)] {
            let text = if site.is_oracle() { "VARCHAR2(20)" } else { "TEXT" };
            site.run(&[
                format!("CREATE TABLE {name} ({columns})"),
                format!("CREATE TABLE {name}_log (what {text})"),
            ]);
        }
        if self.case.mode == Mode::Status && self.case.indexed {
            self.source.run(&["CREATE INDEX src_state ON src (sync_status)"]);
        }
        if self.case.mode == Mode::Increment {
            self.source.run(&["CREATE INDEX src_mark ON src (mark)"]);
        }
        if self.case.mode.is_full() {
            // Emptying must not leave this behind.
            let mut rng = Rng::new(7, 7);
            let old: Vec<Row> = (0..5).map(|n| self.row(&mut rng, 900_000 + n)).collect();
            let names: Vec<_> = self.columns.iter().map(|c| c.name).collect();
            self.dest.insert("dst", &names, &old);
        }
    }

    /// The configuration.
    pub fn toml(&self) -> String {
        let case = self.case;
        let mode = match case.mode {
            Mode::Status => "mode = \"status\"\napp_resets_status = true\n",
            Mode::Truncate => "mode = \"full\"\nfull = \"truncate\"\n",
            Mode::Swap => "mode = \"full\"\nfull = \"swap\"\n",
            Mode::Increment => {
                "mode = \"increment\"\nwatermark = { column = \"mark\", lag = \"0\" }\n"
            }
        };
        let write = if case.upsert { "write = \"upsert\"\n" } else { "" };
        let filter = if case.filtered { "where = \"grp < 5\"\n" } else { "" };
        let steps = match case.steps {
            true => {
                "before = { source = [\"INSERT INTO src_log VALUES ('before')\"], \
                 dest = [\"INSERT INTO dst_log VALUES ('before')\"] }\n\
                 after = { source = [\"INSERT INTO src_log VALUES ('after')\"], \
                 dest = [\"INSERT INTO dst_log VALUES ('after')\"] }\n"
            }
            false => "",
        };
        format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = {}\n\
             readers = {}\nbatch_rows = {}\nbatch_millis = {}\nslot_bytes = 131072\n\
             [[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n\
             {mode}{write}{filter}{steps}",
            self.source.link("src"),
            self.dest.link("dst"),
            case.writers,
            case.readers,
            case.batch_rows,
            case.batch_millis
        )
    }

    fn row(&self, rng: &mut Rng, n: u64) -> Row {
        // Keys are spread, so that their order is not that of insertion.
        let spread = n.wrapping_mul(0x9e37_79b9) % 0x1_0000_0000;
        let mut row = match self.case.key {
            Key::Int => vec![Cell::Int(spread as i64 - 0x8000_0000)],
            Key::Composite => {
                let region = ["", "a", "B", "ä", "zz", "中"][(spread % 6) as usize];
                // Oracle takes empty text for NULL, which no key may be.
                let region =
                    if self.case.pair.has_oracle() && region.is_empty() { "-" } else { region };
                vec![Cell::Text(region.to_owned()), Cell::Int(n as i64)]
            }
            Key::Text => vec![Cell::Text(format!("{}{spread:x}", pad(spread)))],
            Key::Bytes => {
                let mut bytes = vec![(spread % 251) as u8, 0, 0xff];
                bytes.extend(n.to_be_bytes());
                vec![Cell::Bytes(bytes)]
            }
            // Neighbours differ only in the last of twenty digits.
            Key::Decimal => vec![Cell::Text(format!("12345678901234.{:010}", spread))],
            Key::Time => {
                let time = format!("2024-02-29 23:{:02}:59.{:05}1", n / 50_000, n % 50_000);
                vec![Cell::Text(time)]
            }
            Key::None => vec![],
        };
        row.push(Cell::Int(n as i64 / 3));
        row.push(Cell::Int((spread % 10) as i64));
        row.extend(self.values(rng));
        row
    }

    fn values(&self, rng: &mut Rng) -> Row {
        let some = |rng: &mut Rng, cell: Cell| if rng.chance(10) { Cell::Null } else { cell };
        let mut row = Vec::new();
        let oracle = self.case.pair.has_oracle();
        let int = *rng.pick(&[0, 1, -1, i64::MAX, i64::MIN, 1234567]);
        // What NUMBER(18) has room for.
        let int = if oracle { int % 1_000_000_000_000_000_000 } else { int };
        row.push(some(rng, Cell::Int(int)));
        let chars = rng.below(40);
        let text: String = (0..chars).map(|_| *rng.pick(CHARS)).collect();
        // Oracle takes empty text for NULL.
        let text = if oracle && text.is_empty() { Cell::Null } else { Cell::Text(text) };
        row.push(some(rng, text));
        let real: f64 = *rng.pick(&[0.0, 1.5, -2.25, 1e300, 0.1, 3.0, 5e-324]);
        row.push(some(rng, Cell::Real(real.to_bits())));
        // Oracle's driver shows an empty BLOB as NULL: it could not be told from one.
        let length = rng.below(60) + u64::from(oracle);
        let bytes: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        row.push(some(rng, Cell::Bytes(bytes)));
        if self.columns.iter().any(|c| c.name == "v_dec") {
            let decimal = format!(
                "{}{}.{:06}",
                rng.pick(&["", "-"]),
                rng.between(1, 99_999),
                rng.below(1_000_000)
            );
            row.push(some(rng, Cell::Text(decimal)));
            let time = format!(
                "{:04}-{:02}-28 00:00:00.{:05}1",
                rng.between(1000, 9999),
                rng.between(1, 12),
                rng.below(100_000)
            );
            row.push(some(rng, Cell::Text(time)));
        }
        row
    }

    /// Adds rows at the source.
    pub fn add_rows(&mut self, rng: &mut Rng, count: u64) {
        let rows: Vec<Row> = (0..count).map(|i| self.row(rng, self.made + i)).collect();
        self.made += count;
        let names: Vec<_> = self.columns.iter().map(|c| c.name).collect();
        self.source.insert("src", &names, &rows);
    }

    /// What an application does between two runs: new rows, and where the destination has a key
    /// to find them by, changed ones.
    pub fn change(&mut self, rng: &mut Rng) {
        if self.case.upsert || self.case.mode.is_full() {
            let mut session = Session::open(&self.source);
            let places = ["v_int", "v_text"];
            let values = self.values(rng);
            let mut sets: Vec<_> = places
                .iter()
                .enumerate()
                .map(|(i, name)| format!("{name} = {}", self.source.literal(&values[i])))
                .collect();
            match self.case.mode {
                Mode::Status => sets.push("sync_status = 0".to_owned()),
                // The mark must grow with every change.
                Mode::Increment => sets.push(format!("mark = mark + {}", self.made)),
                _ => {}
            }
            let grp = rng.below(10);
            session.run(&format!("UPDATE src SET {} WHERE grp = {grp}", sets.join(", ")));
            self.made *= 2;
        }
        // Marks that come later are larger than all that were there: no lag is configured.
        self.made = self.made.next_multiple_of(3);
        let count = rng.between(1, 80);
        self.add_rows(rng, count);
    }

    /// Everything that must be so when a run has come to a good end.
    pub fn faults_found(&self) -> Vec<String> {
        let mut found = self.compare();
        let dst = |sql: &str| self.dest.number(sql);
        if self.case.mode == Mode::Status {
            let open = if self.case.filtered { " AND grp < 5" } else { "" };
            let n = self
                .source
                .number(&format!("SELECT COUNT(*) FROM src WHERE sync_status <> 2{open}"));
            if n != 0 {
                found.push(format!("{n} source rows are not in state 2"));
            }
            if self.case.filtered {
                let n = self
                    .source
                    .number("SELECT COUNT(*) FROM src WHERE sync_status <> 0 AND grp >= 5");
                if n != 0 {
                    found.push(format!("{n} rows outside the filter were touched"));
                }
            }
            let n = dst(&format!(
                "SELECT COUNT(*) FROM SSYNC_LEDGER WHERE {} = 0",
                self.dest.quoted("settled")
            ));
            if n != 0 {
                found.push(format!("{n} ledger entries are not settled"));
            }
        }
        let open = self.dest.quoted("run_open");
        if dst(&format!("SELECT COUNT(*) FROM SSYNC_FENCE WHERE {open} = 1")) != 0 {
            found.push("a run is still open".to_owned());
        }
        // Without its server the source cannot be given back; that the owner is dead is seen.
        let lost = self.case.faults.iter().any(|f| f.action == Action::KillSource);
        if !lost
            && self.source.has_table("SSYNC_OWNER")
            && self.source.number(&format!(
                "SELECT COUNT(*) FROM SSYNC_OWNER WHERE {} IS NOT NULL",
                self.source.quoted("token")
            )) != 0
        {
            found.push("the source table is still owned".to_owned());
        }
        for table in self.dest.tables() {
            let known = match self.dest.is_oracle() {
                true => &["DST", "DST_LOG", "SSYNC_FENCE", "SSYNC_LEDGER", "SSYNC_SEAT"][..],
                false => &["dst", "dst_log", "SSYNC_FENCE", "SSYNC_LEDGER"],
            };
            if !known.contains(&table.as_str()) {
                found.push(format!("table {table} was left behind"));
            }
        }
        if self.case.steps {
            found.extend(self.steps_found());
        }
        found
    }

    fn steps_found(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (site, log) in [(&self.source, "src_log"), (&self.dest, "dst_log")] {
            for when in ["before", "after"] {
                let n = site.number(&format!("SELECT COUNT(*) FROM {log} WHERE what = '{when}'"));
                // A broken run of a table without a key starts anew, and its SQL with it.
                let even = match self.case.key {
                    Key::None => n >= self.finished,
                    _ => (self.finished..=self.finished + self.maybe_finished).contains(&n),
                };
                if !even {
                    let runs = self.finished;
                    found.push(format!("{log}: SQL {when} ran {n} times in {runs} runs"));
                }
            }
        }
        found
    }

    fn compare(&self) -> Vec<String> {
        let holds: Vec<_> = self.columns.iter().map(|c| c.holds).collect();
        let filter = if self.case.filtered { " WHERE grp < 5" } else { "" };
        let shown = |site: &Site| {
            let shown: Vec<_> = self.columns.iter().map(|c| site.shown(c.name, c.holds)).collect();
            shown.join(", ")
        };
        let wanted = format!("SELECT {} FROM src{filter}", shown(&self.source));
        let found = format!("SELECT {} FROM dst", shown(&self.dest));
        differences(&self.source.rows(&wanted, &holds), &self.dest.rows(&found, &holds))
    }
}

/// Letters in front of a text key, upper and lower case mixed.
fn pad(n: u64) -> String {
    (0..n % 5).map(|i| if (n >> i) & 1 == 0 { 'k' } else { 'Ä' }).collect()
}
