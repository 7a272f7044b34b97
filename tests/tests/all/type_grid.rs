//! Whether [`judge`] tells the truth: every type of each database into every type of each other,
//! with real values on real servers.
//!
//! - exact: every value arrives as it was;
//! - checked: every value arrives as it was or is refused as a bad row, and one is refused;
//! - lossy, refused: some value does not arrive as it was.

#[path = "type_grid/cases.rs"]
mod cases;
#[path = "type_grid/generated.rs"]
mod generated;
#[path = "type_grid/same.rs"]
mod same;

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use ssync_common::batch::value_at;
use ssync_common::connector::{Connection, LoadPlan, WriteMode};
use ssync_common::error::Kind as ErrorKind;
use ssync_common::fidelity::{Fidelity, judge};
use ssync_common::schema::{Column, Kind};
use ssync_common::value::Value;
use ssync_tests::servers::oracle::applies;

use super::conformance::place::{LIMITS, Place, described, read, run, select};
use cases::Case;

/// Rows that make MySQL's loader take its bulk roads.
const BULK: usize = 64;

#[test]
fn sqlite_into_sqlite() {
    grid(&Place::sqlite(), cases::SQLITE, &Place::sqlite(), cases::SQLITE);
}

#[test]
fn mariadb_into_mariadb() {
    let cases = cases::mariadb();
    grid(&Place::mariadb("grid_from"), &cases, &Place::mariadb("grid_into"), &cases);
}

#[test]
fn mysql56_into_mysql56() {
    let cases = cases::MYSQL;
    grid(&Place::mysql56("grid_from"), cases, &Place::mysql56("grid_into"), cases);
}

#[test]
fn mariadb_into_sqlite() {
    grid(&Place::mariadb("grid_from"), &cases::mariadb(), &Place::sqlite(), cases::SQLITE);
}

#[test]
fn mysql56_into_sqlite() {
    grid(&Place::mysql56("grid_from"), cases::MYSQL, &Place::sqlite(), cases::SQLITE);
}

#[test]
fn sqlite_into_mariadb() {
    grid(&Place::sqlite(), cases::SQLITE, &Place::mariadb("grid_into"), &cases::mariadb());
}

#[test]
fn sqlite_into_mysql56() {
    grid(&Place::sqlite(), cases::SQLITE, &Place::mysql56("grid_into"), cases::MYSQL);
}

/// On the stand-in alone: what of this holds on a real Oracle has not been seen.
#[test]
fn oracle_into_oracle() {
    let (from, into) = (Place::oracle19("grid_from"), Place::oracle19("grid_into"));
    grid(&from, &from.oracle_sources(), &into, &into.oracle_dests());
}

/// What 23ai has more than others, into everything.
#[test]
fn oracle23_into_oracle() {
    if !has_booleans() {
        return;
    }
    let (from, into) = (Place::oracle23("grid_from"), Place::oracle23("grid_into"));
    grid(&from, cases::ORACLE_23, &into, &into.oracle_dests());
}

/// Everything, into that.
#[test]
fn oracle_into_oracle23() {
    if !has_booleans() {
        return;
    }
    let (from, into) = (Place::oracle23("grid_from"), Place::oracle23("grid_into"));
    grid(&from, &from.oracle_sources(), &into, cases::ORACLE_23);
}

#[test]
fn mariadb_into_oracle() {
    let into = Place::oracle19("grid_into");
    grid(&Place::mariadb("grid_from"), &cases::mariadb(), &into, &into.oracle_dests());
}

#[test]
fn mariadb_into_oracle23() {
    if !has_booleans() {
        return;
    }
    let into = Place::oracle23("grid_into");
    grid(&Place::mariadb("grid_from"), &cases::mariadb(), &into, cases::ORACLE_23);
}

#[test]
fn mysql56_into_oracle() {
    let into = Place::oracle12("grid_into");
    grid(&Place::mysql56("grid_from"), cases::MYSQL, &into, &into.oracle_dests());
}

#[test]
fn oracle_into_mariadb() {
    let from = Place::oracle19("grid_from");
    grid(&from, &from.oracle_sources(), &Place::mariadb("grid_into"), &cases::mariadb());
}

#[test]
fn oracle23_into_mariadb() {
    if !has_booleans() {
        return;
    }
    let from = Place::oracle23("grid_from");
    grid(&from, cases::ORACLE_23, &Place::mariadb("grid_into"), &cases::mariadb());
}

#[test]
fn oracle_into_mysql56() {
    let from = Place::oracle12("grid_from");
    grid(&from, &from.oracle_sources(), &Place::mysql56("grid_into"), cases::MYSQL);
}

#[test]
fn oracle_into_sqlite() {
    let from = Place::oracle23("grid_from");
    grid(&from, &from.oracle_sources(), &Place::sqlite(), cases::SQLITE);
}

#[test]
fn sqlite_into_oracle() {
    let into = Place::oracle23("grid_into");
    grid(&Place::sqlite(), cases::SQLITE, &into, &into.oracle_dests());
}

/// Whether the Oracle of these tests has columns of type BOOLEAN.
fn has_booleans() -> bool {
    applies(23, "it makes columns of type BOOLEAN, which Oracle has from 23ai on")
}

impl Place {
    /// What can be read there.
    fn oracle_sources(&self) -> Vec<Case> {
        cases::oracle_sources(self.major())
    }

    /// What can be written there.
    fn oracle_dests(&self) -> Vec<Case> {
        cases::oracle_dests(self.major())
    }

    fn major(&self) -> u32 {
        let server = self.open().server();
        let version = server.strip_prefix("Oracle ").and_then(|v| v.split('.').next());
        version.and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{server}"))
    }
}

struct Source {
    column: Column,
    batch: RecordBatch,
    values: Vec<Value>,
}

const ALL_ARRIVE: &str = "every value arrives";
const NONE_CHANGES: &str = "no value changes";

/// What became of one value.
#[derive(Debug, PartialEq)]
enum Fate {
    Same,
    Changed(Value),
    BadRow,
}

fn grid(from: &Place, sources: &[Case], into: &Place, dests: &[Case]) {
    let (mut reader, mut writer) = (from.open(), into.open());
    let mut sources: Vec<Source> = sources.iter().map(|case| source(&mut *reader, case)).collect();
    if into.is_oracle() {
        sources = sources.into_iter().map(without_zero_bytes).collect();
    }
    let mut lies = String::new();
    for dest in dests {
        run(&mut *writer, &[&format!("CREATE TABLE d (n INTEGER, v {})", dest.declared)]);
        let [number, column] =
            <[Column; 2]>::try_from(described(&mut *writer, "d").columns).unwrap();
        for source in &sources {
            let names = (reader.dialect().name(), writer.dialect().name());
            let verdict = judge(&source.column, names.0, &column, names.1, None, None);
            let fates = fates(&mut *writer, source, &column, &number, &verdict);
            let lie = lie(&verdict, source, &fates);
            let has_no_witness = match lie.as_deref() {
                Some(ALL_ARRIVE) => {
                    is_lax_about_shapes(into, &source.column, &column)
                        || has_no_negative_zero(into, source)
                        || is_beyond_the_standin(into, &column)
                        || is_short_address(&source.column)
                }
                Some(lie) if lie.starts_with(NONE_CHANGES) => {
                    is_lost_before(&source.column, &column)
                        || has_no_such_json(&source.column, &column)
                }
                _ => false,
            };
            if let Some(lie) = lie.filter(|_| !has_no_witness) {
                let pair = format!("{} into {}", source.column.declared, column.declared);
                writeln!(lies, "{pair}: judged {verdict}\n    but {lie}").unwrap();
            }
        }
        run(&mut *writer, &["DROP TABLE d"]);
    }
    assert!(lies.is_empty(), "{lies}");
}

/// MySQL 5.6 takes any geometry for a column of any type of geometry.
fn is_lax_about_shapes(into: &Place, source: &Column, dest: &Column) -> bool {
    let shape = |c: &Column| matches!(c.family.as_str(), "geometry" | "point" | "polygon");
    into.is_mysql56() && shape(source) && shape(dest)
}

/// What makes these pairs checked cannot be made on a stand-in: it counts characters where Oracle
/// counts the bytes of a CHAR, or pairs of them.
fn is_beyond_the_standin(into: &Place, dest: &Column) -> bool {
    into.is_oracle() && matches!(dest.family.as_str(), "char" | "nchar" | "nvarchar2")
}

/// What these pairs lose is lost before: a zone's name when it is read, JSON's first form when it
/// was stored.
fn is_lost_before(source: &Column, dest: &Column) -> bool {
    source.family == "timestamp_tz" || (source.family == "json" && dest.family == "json")
}

/// JSON has quotes around its words, and no zeros before its numbers: none is a member of these
/// lists, or a year or an address of another spelling.
fn has_no_such_json(source: &Column, dest: &Column) -> bool {
    let words = ["enum", "set", "uuid", "inet4", "inet6", "year"];
    source.family == "json" && words.contains(&dest.family.as_str())
}

/// There is no literal for a long UROWID: only tables kept in an index have such rows.
fn is_short_address(source: &Column) -> bool {
    source.family == "urowid"
}

/// The values that PostgreSQL, and so a stand-in, can hold: text without zero bytes.
fn without_zero_bytes(source: Source) -> Source {
    let holds = |v: &Value| !matches!(v, Value::Text(t) if t.contains('\0'));
    let kept: Vec<usize> = (0..source.values.len()).filter(|i| holds(&source.values[*i])).collect();
    let parts: Vec<RecordBatch> = kept.iter().map(|i| source.batch.slice(*i, 1)).collect();
    let batch = arrow_select::concat::concat_batches(&source.batch.schema(), &parts).unwrap();
    let values = kept.iter().map(|i| source.values[*i].clone()).collect();
    Source { batch, values, ..source }
}

/// The one floating number that SQLite and Oracle do not keep, and MariaDB does not either.
fn has_no_negative_zero(into: &Place, source: &Source) -> bool {
    let is_one = |v: &Value| matches!(v, Value::Float(f) if *f == 0.0 && f.is_sign_negative());
    let floating = matches!(source.column.kind, Kind::Float32 | Kind::Float64);
    (into.is_sqlite() || into.is_oracle()) && floating && !source.values.iter().any(is_one)
}

/// The case's values in a table, read from there.
fn source(c: &mut dyn Connection, case: &Case) -> Source {
    run(c, &[&format!("CREATE TABLE s (n INTEGER, v {})", case.declared)]);
    let column = described(c, "s").columns.remove(1);
    if c.dialect().name() == "mysql" && matches!(column.kind, Kind::Float32 | Kind::Float64) {
        // MariaDB's SQL has no literal for it.
        let negative_zero = [Value::Float(-0.0)];
        if let Err(e) = c.execute("INSERT INTO s VALUES (999, ?)", &negative_zero) {
            assert_eq!(e.kind, ErrorKind::Data, "{e:?}");
        }
    }
    let insert = |n: usize, literal: &str| format!("INSERT INTO s VALUES ({n}, {literal})");
    for (n, literal) in case.values.iter().enumerate() {
        run(c, &[&insert(n, literal)]);
    }
    if c.dialect().name() == "oracle" {
        // Its SQL has no literal of more than 4,000 bytes.
        let long = match column.family.as_str() {
            "clob" | "nclob" | "long" => Some(Value::Text("中".repeat(30_000))),
            "json" => Some(Value::Text(format!("[\"{}\"]", "中".repeat(30_000)))),
            "blob" | "long_raw" => Some(Value::Bytes(vec![0xC3; 70_000])),
            _ => None,
        };
        if let Some(long) = long {
            c.execute("INSERT INTO s VALUES (998, ?)", &[long]).unwrap();
        }
    }
    // What else its kind of column is given, as far as it takes it.
    for (n, literal) in cases::pool(c.dialect().name(), &column).enumerate() {
        if let Err(e) = c.execute(&insert(1000 + n, literal), &[]) {
            assert_eq!(e.kind, ErrorKind::Data, "{literal} into {}: {e:?}", case.declared);
        }
    }
    let columns = [column.clone()];
    let sql = format!("{} ORDER BY n", select(c, "s", &columns));
    let batches = read(c, &sql, &[], &columns, LIMITS);
    run(c, &["DROP TABLE s"]);
    let [batch] = batches.as_slice() else { panic!("{}: one batch", case.declared) };
    assert_eq!(batch.bad, [], "{}", case.declared);
    let batch = batch.rows.clone();
    let values = (0..batch.num_rows()).map(|row| value_at(&batch, 0, column.kind, row)).collect();
    Source { column, batch, values }
}

/// Loads every value, alone and then with the others that arrive in one large batch.
/// `number` is the column by which rows keep their order.
fn fates(
    c: &mut dyn Connection,
    source: &Source,
    dest: &Column,
    number: &Column,
    verdict: &Fidelity,
) -> Vec<Fate> {
    let refused = matches!(verdict, Fidelity::Refused(_));
    let plan = LoadPlan {
        table: "d".into(),
        columns: vec![dest.clone(), number.clone()],
        kinds: vec![source.column.kind, Kind::Int],
        mode: WriteMode::Insert,
        key: Vec::new(),
    };
    let mut fates = Vec::new();
    for row in 0..source.values.len() {
        let fate = match landed(c, &plan, &source.batch.slice(row, 1), dest, refused) {
            None => Fate::BadRow,
            Some(values) => {
                let [value] = values.as_slice() else { panic!("one row landed as {values:?}") };
                match same::same(&source.column, &source.values[row], dest, value) {
                    true => Fate::Same,
                    false => Fate::Changed(value.clone()),
                }
            }
        };
        let is_witness = match verdict {
            Fidelity::Exact | Fidelity::Checked(_) => false,
            Fidelity::Lossy(_) => matches!(fate, Fate::Changed(_)),
            Fidelity::Refused(_) => fate != Fate::Same,
        };
        fates.push(fate);
        if is_witness {
            return fates;
        }
    }
    // On the bulk road the same must come out.
    let narrow = |i: &usize| source.values[*i].as_bytes().is_none_or(|b| b.len() < 1000);
    let good: Vec<usize> =
        (0..fates.len()).filter(|i| fates[*i] != Fate::BadRow).filter(narrow).collect();
    if !refused && !good.is_empty() {
        let order: Vec<usize> = good.iter().copied().cycle().take(BULK.max(good.len())).collect();
        let parts: Vec<RecordBatch> = order.iter().map(|i| source.batch.slice(*i, 1)).collect();
        let bulk = arrow_select::concat::concat_batches(&source.batch.schema(), &parts).unwrap();
        let together = landed(c, &plan, &bulk, dest, false);
        let together = together.unwrap_or_else(|| {
            panic!("{} into {}: refused in bulk", source.column.declared, dest.declared)
        });
        for (i, value) in order.iter().zip(&together) {
            let is_same = same::same(&source.column, &source.values[*i], dest, value);
            assert_eq!(
                is_same,
                fates[*i] == Fate::Same,
                "{} into {}: {:?} alone and {value:?} in bulk",
                source.column.declared,
                dest.declared,
                fates[*i]
            );
        }
    }
    fates
}

/// What the rows became in the table, in order; `None` when they were refused. Rolled back.
fn landed(
    c: &mut dyn Connection,
    plan: &LoadPlan,
    rows: &RecordBatch,
    dest: &Column,
    refused: bool,
) -> Option<Vec<Value>> {
    let columns = [dest.clone()];
    let numbers = Int64Array::from_iter_values(0..rows.num_rows() as i64);
    let rows = &RecordBatch::try_from_iter_with_nullable([
        ("v", rows.column(0).clone(), true),
        ("n", Arc::new(numbers) as ArrayRef, true),
    ])
    .unwrap();
    c.begin().unwrap();
    let done = c.load(plan, rows, 0..rows.num_rows());
    let values = match done {
        Ok(loaded) => {
            assert_eq!(loaded.rows as usize, rows.num_rows());
            let sql = format!("{} ORDER BY n", select(c, "d", &columns));
            let batches = read(c, &sql, &[], &columns, LIMITS);
            let mut values = Vec::new();
            for b in &batches {
                if refused && !b.bad.is_empty() {
                    c.rollback().unwrap();
                    return None;
                }
                // A value that landed must be one that can be read.
                assert_eq!(b.bad, [], "{}", dest.declared);
                let value = |row| value_at(&b.rows, 0, dest.kind, row);
                values.extend((0..b.rows.num_rows()).map(value));
            }
            Some(values)
        }
        Err(e) => {
            // What is refused beforehand is never tried, and may fail however it likes.
            assert!(refused || e.kind == ErrorKind::Data, "into {}: {e:?}", dest.declared);
            None
        }
    };
    c.rollback().unwrap();
    values
}

/// What contradicts the verdict.
fn lie(verdict: &Fidelity, source: &Source, fates: &[Fate]) -> Option<String> {
    let at = |i: usize| format!("{:?} {:?}", source.values[i], fates[i]);
    let find = |is: fn(&Fate) -> bool| fates.iter().position(is);
    let changed = find(|f| matches!(f, Fate::Changed(_)));
    let bad = find(|f| *f == Fate::BadRow);
    match verdict {
        Fidelity::Exact => changed.or(bad).map(at),
        Fidelity::Checked(_) => match (changed, bad) {
            (Some(i), _) => Some(at(i)),
            (None, None) => Some(ALL_ARRIVE.to_owned()),
            (None, Some(_)) => None,
        },
        Fidelity::Lossy(_) if changed.is_none() => Some(match bad {
            Some(_) => format!("{NONE_CHANGES}, some are refused"),
            None => NONE_CHANGES.to_owned(),
        }),
        Fidelity::Refused(_) if changed.or(bad).is_none() => Some(ALL_ARRIVE.to_owned()),
        Fidelity::Lossy(_) | Fidelity::Refused(_) => None,
    }
}
