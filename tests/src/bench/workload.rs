//! What is moved: the orders table, twelve columns as business tables have them, made from a seed;
//! and tables of other shapes, whose rows the server makes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ssync_common::crypto::KeyRing;

use super::check::Seals;
use super::report::thousands;

/// Seed of all rows.
pub const SEED: u64 = 20_240_229;

/// One in this many mobile numbers is NULL.
const NULL_MOBILE: u64 = 33;
/// One in this many mail addresses is NULL.
const NULL_EMAIL: u64 = 20;

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// The orders table.
    Orders {
        /// Rows.
        rows: u64,
    },
    /// Four whole numbers, one of them the key.
    Narrow {
        /// Rows.
        rows: u64,
    },
    /// Eighty columns of ten types.
    Wide {
        /// Rows.
        rows: u64,
    },
    /// Twenty columns of ten types, four in five values NULL.
    Nulls {
        /// Rows.
        rows: u64,
    },
    /// A key, a text and a blob of [`FAT_BYTES`] each.
    Fat {
        /// Rows.
        rows: u64,
    },
    /// A key, a short text and a long one.
    Long {
        /// Rows.
        rows: u64,
        /// Bytes of the long text.
        row_bytes: u64,
    },
}

/// Bytes of each text and each blob of [`Workload::Fat`].
pub const FAT_BYTES: u64 = 1 << 16;

const MARIADB_OPTIONS: &str = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci";

/// A column: its type, and the SQL for its value in row `seq` where the server makes the rows.
struct Column {
    name: String,
    kind: &'static str,
    value: String,
}

/// Types of columns that stand many times in a table, and values for them: `{h}` is a number below
/// 2^32 that chance makes of the row and the column.
const MIXED: [(&str, &str); 10] = [
    ("INT", "CAST({h} AS SIGNED) - 2147483648"),
    ("BIGINT UNSIGNED", "{h} * 4294967296"),
    ("SMALLINT", "{h} % 1000"),
    ("DECIMAL(18,4)", "{h} / 10000 - 200000"),
    ("DOUBLE", "{h} / 3"),
    ("CHAR(10)", "LPAD({h} % 100000, 10, 'c')"),
    ("VARCHAR(40)", "CONCAT('née ', {h}, ' 中')"),
    ("DATE", "'1970-01-01' + INTERVAL {h} % 36500 DAY"),
    ("DATETIME(6)", "'2000-01-01' + INTERVAL {h} * 100000 + 7 MICROSECOND"),
    ("VARBINARY(16)", "UNHEX(MD5({h}))"),
];

impl Workload {
    /// Rows of the table.
    pub fn rows(&self) -> u64 {
        match *self {
            Workload::Orders { rows }
            | Workload::Narrow { rows }
            | Workload::Wide { rows }
            | Workload::Nulls { rows }
            | Workload::Fat { rows }
            | Workload::Long { rows, .. } => rows,
        }
    }

    fn table(&self) -> Vec<Column> {
        let column = |name: &str, kind, value: &str| Column {
            name: name.to_owned(),
            kind,
            value: value.to_owned(),
        };
        let mixed = |count: usize, value: fn(String, &str) -> String| {
            let one = |n: usize| {
                let (kind, sql) = MIXED[n % MIXED.len()];
                let hash = format!("CRC32(CONCAT({n}, '-', seq, '-', {SEED}))");
                let value = value(sql.replace("{h}", &hash), &hash);
                Column { name: format!("c{n}"), kind, value }
            };
            (1..count).map(one).collect()
        };
        let mut columns = match *self {
            Workload::Orders { .. } => ORDERS.map(|(name, kind)| column(name, kind, "")).into(),
            Workload::Narrow { .. } => ["a", "b", "c"]
                .map(|n| column(n, "INT NOT NULL", &format!("CRC32(CONCAT(seq, '{n}')) >> 1")))
                .into(),
            Workload::Wide { .. } => mixed(80, |sql, _| sql),
            Workload::Nulls { .. } => mixed(20, |sql, hash| format!("IF({hash} % 5, NULL, {sql})")),
            // What a file has to escape, and every byte there is.
            Workload::Fat { .. } => vec![
                column(
                    "document",
                    "MEDIUMTEXT NOT NULL",
                    &format!(
                        "REPEAT(CONCAT(SHA2(seq, 512), SHA2(-seq, 512), SHA2(seq, 256), \
                         SHA2(-seq, 256), '\\t\\n\\\\…中é''', LPAD(seq, 116, ' ')), {})",
                        FAT_BYTES / 512
                    ),
                ),
                column(
                    "image",
                    "MEDIUMBLOB NOT NULL",
                    &format!("REPEAT(UNHEX(SHA2(seq, 256)), {})", FAT_BYTES / 32),
                ),
            ],
            Workload::Long { row_bytes, .. } => vec![
                column("mobile", "VARCHAR(20)", "CONCAT('138', LPAD(seq, 8, '0'))"),
                column(
                    "document",
                    "LONGTEXT NOT NULL",
                    &format!("RPAD(MD5(seq), {row_bytes}, MD5(seq + 1))"),
                ),
            ],
        };
        columns.insert(0, column("id", "BIGINT NOT NULL", "seq"));
        columns
    }

    /// Names of the columns, in order. The first is the key.
    pub fn columns(&self) -> Vec<String> {
        self.table().into_iter().map(|c| c.name).collect()
    }

    /// Columns that ssync encrypts.
    pub fn encrypted(&self) -> &'static [&'static str] {
        match self {
            Workload::Orders { .. } => &["id_card", "mobile"],
            Workload::Long { .. } => &["mobile"],
            _ => &[],
        }
    }

    /// Opens what ssync sealed into a table.
    pub fn seals(&self, keys: &KeyRing, table: &str) -> Seals {
        Seals::new(keys, table, &self.columns(), self.encrypted())
    }

    /// Rows that are compared at once: few where they are wide.
    pub fn group_rows(&self) -> usize {
        match self {
            Workload::Fat { .. } => 64,
            Workload::Long { .. } => 4,
            _ => 5_000,
        }
    }

    /// For titles: what the rows are like.
    pub fn shown(&self) -> String {
        let rows = thousands(self.rows() as f64);
        match self {
            Workload::Long { row_bytes, .. } => {
                format!("{rows} rows of {} bytes", thousands(*row_bytes as f64))
            }
            _ => format!("{rows} rows × {} columns", self.table().len()),
        }
    }

    /// The table's definition. `sealed` makes room for ciphertext in the encrypted columns,
    /// `status` adds the column that carries a row's state.
    pub fn create_sql(&self, table: &str, sealed: bool, status: bool) -> String {
        let column = |c: &Column| match sealed && self.encrypted().contains(&c.name.as_str()) {
            true => format!("{} VARCHAR(128), ", c.name),
            false => format!("{} {}, ", c.name, c.kind),
        };
        let columns: String = self.table().iter().map(column).collect();
        let status = if status { "sync_status TINYINT NOT NULL DEFAULT 0, " } else { "" };
        format!("CREATE TABLE `{table}` ({columns}{status}PRIMARY KEY (id)) {MARIADB_OPTIONS}")
    }

    /// The definition for a SQLite file.
    pub fn create_sqlite(&self, table: &str, sealed: bool) -> String {
        let sql = self.create_sql(table, sealed, false);
        // By that type and no other the key is what SQLite itself finds rows by.
        sql.replace(MARIADB_OPTIONS, "").replacen("id BIGINT", "id INTEGER", 1)
    }

    /// The statements that make the rows, where they don't come from files: one transaction each.
    pub fn fill_sql(&self, table: &str) -> Vec<String> {
        if let Workload::Orders { .. } = self {
            return Vec::new();
        }
        let values: Vec<String> = self.table().into_iter().map(|c| c.value).collect();
        let (columns, values) = (self.columns().join(", "), values.join(", "));
        let step = self.group_rows() * 20;
        (1..=self.rows())
            .step_by(step)
            .map(|from| {
                let to = self.rows().min(from + step as u64 - 1);
                format!("INSERT INTO `{table}` ({columns}) SELECT {values} FROM seq_{from}_to_{to}")
            })
            .collect()
    }

    /// Character set of files with its rows: blobs are in none.
    pub fn file_charset(&self) -> &'static str {
        match self {
            Workload::Orders { .. } => "utf8mb4",
            _ => "binary",
        }
    }
}

/// The orders table but for its key.
const ORDERS: [(&str, &str); 11] = [
    ("customer", "VARCHAR(60) NOT NULL"),
    ("email", "VARCHAR(80)"),
    ("address", "VARCHAR(120) NOT NULL"),
    ("id_card", "VARCHAR(18) NOT NULL"),
    ("mobile", "VARCHAR(20)"),
    ("amount", "DECIMAL(12,2) NOT NULL"),
    ("currency", "CHAR(3) NOT NULL"),
    ("state", "TINYINT NOT NULL"),
    ("ratio", "DOUBLE NOT NULL"),
    ("created", "DATETIME(6) NOT NULL"),
    ("updated", "TIMESTAMP NOT NULL DEFAULT '2024-01-01 00:00:00'"),
];

/// A small, fast, seeded generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

const GIVEN: [&str; 12] = [
    "Alice",
    "Bruno",
    "Chiara",
    "Dmitri",
    "Élodie",
    "Fatima",
    "Guðrún",
    "王小明",
    "李娜",
    "Jürgen",
    "Kofi",
    "Zoë",
];
const FAMILY: [&str; 10] = [
    "Andersson",
    "Brown",
    "Castillo",
    "Dvořák",
    "Evans",
    "Fischer",
    "García",
    "Haddad",
    "Ivanova",
    "Nguyen",
];
const STREETS: [&str; 8] = [
    "Harbour Street",
    "Rue de la Paix",
    "Hauptstraße",
    "Nanjing Road East",
    "Via Garibaldi",
    "Jalan Merdeka",
    "Old Mill Lane",
    "中山北路",
];
const CITIES: [&str; 8] =
    ["Singapore", "Lyon", "Köln", "Shanghai", "Torino", "Jakarta", "Bristol", "台北市"];
const CURRENCIES: [&str; 5] = ["CNY", "EUR", "USD", "SGD", "GBP"];

/// Writes row `i` (from 0) as a line of LOAD DATA's default format.
fn line(out: &mut impl Write, i: u64) -> std::io::Result<()> {
    let mut r = Random(SEED ^ i.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let (given, family) = (r.pick(&GIVEN), r.pick(&FAMILY));
    write!(out, "{}\t{given} {family}\t", i + 1)?;
    match r.below(NULL_EMAIL) {
        0 => write!(out, "\\N\t")?,
        _ => write!(out, "user{}@mail{}.example\t", r.below(10_000_000), r.below(100))?,
    }
    write!(out, "{} {}, {}\t", 1 + r.below(300), r.pick(&STREETS), r.pick(&CITIES))?;
    let (year, month, day) = (1950 + r.below(60), 1 + r.below(12), 1 + r.below(28));
    let digits = r.below(10_000);
    write!(out, "{:06}{year}{month:02}{day:02}{digits:04}\t", 110_000 + r.below(500_000))?;
    match r.below(NULL_MOBILE) {
        0 => write!(out, "\\N\t")?,
        _ => write!(out, "138{:08}\t", r.below(100_000_000))?,
    }
    write!(out, "{}.{:02}\t{}\t", r.below(100_000), r.below(100), r.pick(&CURRENCIES))?;
    // Rust prints the shortest digits that read back to the same number, as the server does.
    write!(out, "{}\t{}\t", r.below(5), r.below(1 << 40) as f64 / (1u64 << 33) as f64)?;
    let (mo, d) = (1 + r.below(12), 1 + r.below(28));
    let (h, mi, s, us) = (r.below(24), r.below(60), r.below(60), r.below(1_000_000));
    write!(out, "2023-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}.{us:06}\t")?;
    writeln!(out, "2024-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
}

/// Rows of the orders table as ready-made files of about equal size, in key order. Makes the files
/// under `dir`, or takes those that an earlier run has made.
pub fn files(dir: &Path, rows: u64, rows_per_file: u64) -> Vec<PathBuf> {
    let dir = dir.join(format!("orders-{SEED}-{rows}-{rows_per_file}"));
    let count = rows.div_ceil(rows_per_file);
    if !dir.exists() {
        let half_made = dir.with_extension("new");
        let _ = fs::remove_dir_all(&half_made);
        fs::create_dir_all(&half_made).unwrap();
        for n in 0..count {
            let mut out =
                BufWriter::with_capacity(1 << 20, File::create(half_made.join(name(n))).unwrap());
            for i in n * rows_per_file..rows.min((n + 1) * rows_per_file) {
                line(&mut out, i).unwrap();
            }
            out.flush().unwrap();
        }
        fs::rename(&half_made, &dir).unwrap();
    }
    (0..count).map(|n| dir.join(name(n))).collect()
}

fn name(n: u64) -> String {
    format!("{n:05}.tsv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_every_time_and_have_all_columns() {
        let text = |i| {
            let mut out = Vec::new();
            line(&mut out, i).unwrap();
            String::from_utf8(out).unwrap()
        };
        for i in 0..500 {
            assert_eq!(text(i), text(i));
            assert_eq!(
                text(i).trim_end().split('\t').count(),
                Workload::Orders { rows: 1 }.columns().len()
            );
        }
        assert_ne!(text(1), text(2));
        assert!((0..500).any(|i| text(i).contains("\\N")));
    }
}
