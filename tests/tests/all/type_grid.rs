//! Whether [`judge`] tells the truth: every type of each database into every type of each other,
//! with real values on real servers.
//!
//! - exact: every value arrives as it was;
//! - checked: every value arrives as it was or is refused as a bad row, and one is refused;
//! - lossy, refused: some value does not arrive as it was.

#[path = "type_grid/cases.rs"]
mod cases;
#[path = "type_grid/same.rs"]
mod same;

use std::fmt::Write as _;

use arrow_array::RecordBatch;
use ssync_common::batch::value_at;
use ssync_common::connector::{Connection, LoadPlan, WriteMode};
use ssync_common::error::Kind as ErrorKind;
use ssync_common::fidelity::{Fidelity, judge};
use ssync_common::schema::{Column, Kind};
use ssync_common::value::Value;

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

struct Source {
    column: Column,
    batch: RecordBatch,
    values: Vec<Value>,
}

const ALL_ARRIVE: &str = "every value arrives";

/// What became of one value.
#[derive(Debug, PartialEq)]
enum Fate {
    Same,
    Changed(Value),
    BadRow,
}

fn grid(from: &Place, sources: &[Case], into: &Place, dests: &[Case]) {
    let (mut reader, mut writer) = (from.open(), into.open());
    let sources: Vec<Source> = sources.iter().map(|case| source(&mut *reader, case)).collect();
    let mut lies = String::new();
    for dest in dests {
        run(&mut *writer, &[&format!("CREATE TABLE d (n INTEGER, v {})", dest.declared)]);
        let column = described(&mut *writer, "d").columns.remove(1);
        for source in &sources {
            let names = (reader.dialect().name(), writer.dialect().name());
            let verdict = judge(&source.column, names.0, &column, names.1, None);
            let fates = fates(&mut *writer, source, &column, &verdict);
            let lie = lie(&verdict, source, &fates);
            let has_no_witness = lie.as_deref() == Some(ALL_ARRIVE)
                && (is_lax_about_shapes(into, &source.column, &column)
                    || has_no_negative_zero(into, source));
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

/// The one floating number that SQLite does not keep, and MariaDB does not either.
fn has_no_negative_zero(into: &Place, source: &Source) -> bool {
    let is_one = |v: &Value| matches!(v, Value::Float(f) if *f == 0.0 && f.is_sign_negative());
    let floating = matches!(source.column.kind, Kind::Float32 | Kind::Float64);
    into.is_sqlite() && floating && !source.values.iter().any(is_one)
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
fn fates(c: &mut dyn Connection, source: &Source, dest: &Column, verdict: &Fidelity) -> Vec<Fate> {
    let refused = matches!(verdict, Fidelity::Refused(_));
    let plan = LoadPlan {
        table: "d".into(),
        columns: vec![dest.clone()],
        kinds: vec![source.column.kind],
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
    c.begin().unwrap();
    let done = c.load(plan, rows, 0..rows.num_rows());
    let values = match done {
        Ok(loaded) => {
            assert_eq!(loaded.rows as usize, rows.num_rows());
            let sql = select(c, "d", &columns);
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
        Fidelity::Lossy(_) if changed.is_none() => Some(format!(
            "no value changes{}",
            if bad.is_some() { ", some are refused" } else { "" }
        )),
        Fidelity::Refused(_) if changed.or(bad).is_none() => Some(ALL_ARRIVE.to_owned()),
        Fidelity::Lossy(_) | Fidelity::Refused(_) => None,
    }
}
