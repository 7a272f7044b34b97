//! The SQL of operators that a run will run (the condition of its rows, statements before and after
//! them): whether the databases would take it.

use ssync_common::config::TableTask;
use ssync_common::connector::{Connection, is_about_rows};
use ssync_common::error::{Kind, Result};

use super::{TableCheck, finding_of};
use crate::plan::{Finding, Level};
use crate::source;
use crate::steps::statement_failed;

/// Whether the source takes the condition that says which rows are sent.
pub(super) fn try_filter(
    table: &TableTask,
    source: &mut dyn Connection,
    check: &mut TableCheck,
) -> Result<()> {
    match source::try_filter(table, source) {
        Ok(()) => {}
        Err(e) if matches!(e.kind, Kind::Lost | Kind::Contention) => return Err(e),
        // What the account may not read is told by itself.
        Err(e) if e.kind == Kind::Privilege => {}
        Err(e) => check.findings.push(Finding { level: Level::Error, ..finding_of(&e) }),
    }
    Ok(())
}

/// Has the databases look at every statement, in the order in which they will be run, without running
/// any.
pub(super) fn look_at(
    table: &TableTask,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
    check: &mut TableCheck,
) -> Result<()> {
    for (word, sql) in [("before", &table.before), ("after", &table.after)] {
        for (i, statement) in sql.source.iter().enumerate() {
            look_at_one(source, statement, (word, "source", i), check)?;
        }
        for (i, statement) in sql.dest.iter().enumerate() {
            look_at_one(dest, statement, (word, "destination", i), check)?;
        }
    }
    Ok(())
}

fn look_at_one(
    conn: &mut dyn Connection,
    statement: &str,
    (word, side, i): (&str, &str, usize),
    check: &mut TableCheck,
) -> Result<()> {
    let answer = match is_about_rows(statement) {
        true => conn.would_take(statement)?,
        false => None,
    };
    let Some(answer) = answer else {
        check.untried += 1;
        check.findings.push(Finding {
            level: Level::Info,
            column: None,
            text: format!(
                "SQL {word} at the {side}, statement {}, was not tried: it cannot be without running it",
                i + 1
            ),
            hint: None,
        });
        return Ok(());
    };
    let Err(e) = answer else { return Ok(()) };
    let mut finding = finding_of(&statement_failed(e, word, side, i));
    if check.untried > 0 {
        // It may make what is missing now.
        finding.level = Level::Warning;
        finding.text += "; a statement before it, which was not tried, may change that";
    }
    check.findings.push(finding);
    Ok(())
}
