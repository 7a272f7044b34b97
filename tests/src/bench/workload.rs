//! What is moved: the orders table, twelve columns as business tables have them, made from a seed;
//! and a table of wide rows.

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
    /// A key, a short text and a long one.
    Wide {
        /// Rows.
        rows: u64,
        /// Bytes of the long text.
        row_bytes: u64,
    },
}

impl Workload {
    /// Rows of the table.
    pub fn rows(&self) -> u64 {
        match *self {
            Workload::Orders { rows } | Workload::Wide { rows, .. } => rows,
        }
    }

    /// Names of the columns, in order. The first is the key.
    pub fn columns(&self) -> &'static [&'static str] {
        match self {
            Workload::Orders { .. } => &[
                "id", "customer", "email", "address", "id_card", "mobile", "amount", "currency",
                "state", "ratio", "created", "updated",
            ],
            Workload::Wide { .. } => &["id", "mobile", "document"],
        }
    }

    /// Columns that ssync encrypts.
    pub fn encrypted(&self) -> &'static [&'static str] {
        match self {
            Workload::Orders { .. } => &["id_card", "mobile"],
            Workload::Wide { .. } => &["mobile"],
        }
    }

    /// Opens what ssync sealed into a table.
    pub fn seals(&self, keys: &KeyRing, table: &str) -> Seals {
        Seals::new(keys, table, self.columns(), self.encrypted())
    }

    /// Rows that are compared at once: few where they are wide.
    pub fn group_rows(&self) -> usize {
        match self {
            Workload::Orders { .. } => 5_000,
            Workload::Wide { .. } => 4,
        }
    }

    /// For titles: what the rows are like.
    pub fn shown(&self) -> String {
        let rows = thousands(self.rows() as f64);
        match self {
            Workload::Orders { .. } => format!("{rows} rows × 12 columns"),
            Workload::Wide { row_bytes, .. } => {
                format!("{rows} rows of {} bytes", thousands(*row_bytes as f64))
            }
        }
    }

    /// The table's definition. `sealed` makes room for ciphertext in the encrypted columns,
    /// `status` adds the column that carries a row's state.
    pub fn create_sql(&self, table: &str, sealed: bool, status: bool) -> String {
        let (card, mobile) = if sealed { (128, 128) } else { (18, 20) };
        let columns = match self {
            Workload::Orders { .. } => format!(
                "customer VARCHAR(60) NOT NULL,
                email VARCHAR(80),
                address VARCHAR(120) NOT NULL,
                id_card VARCHAR({card}) NOT NULL,
                mobile VARCHAR({mobile}),
                amount DECIMAL(12,2) NOT NULL,
                currency CHAR(3) NOT NULL,
                state TINYINT NOT NULL,
                ratio DOUBLE NOT NULL,
                created DATETIME(6) NOT NULL,
                updated TIMESTAMP NOT NULL DEFAULT '2024-01-01 00:00:00'"
            ),
            Workload::Wide { .. } => {
                format!("mobile VARCHAR({mobile}), document LONGTEXT NOT NULL")
            }
        };
        let status = if status { "sync_status TINYINT NOT NULL DEFAULT 0," } else { "" };
        format!(
            "CREATE TABLE `{table}` (id BIGINT NOT NULL, {columns}, {status} PRIMARY KEY (id)) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci"
        )
    }

    /// The statement that makes the rows, where they don't come from files.
    pub fn fill_sql(&self, table: &str) -> Option<String> {
        match *self {
            Workload::Orders { .. } => None,
            Workload::Wide { rows, row_bytes } => Some(format!(
                "INSERT INTO `{table}` (id, mobile, document) SELECT seq, CONCAT('138', \
                 LPAD(seq, 8, '0')), RPAD(MD5(seq), {row_bytes}, MD5(seq + 1)) FROM seq_1_to_{rows}"
            )),
        }
    }
}

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
