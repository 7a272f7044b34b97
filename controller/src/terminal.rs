//! What a foreground run shows: bars on a terminal, a line every few seconds elsewhere, a closing
//! summary, or JSON. Progress goes to standard error, results to standard output.

use crate::output::{errln, padded, widest};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use ssync_common::config::Task;
use ssync_worker::progress::{Moment, Phase, Waiting};
use ssync_worker::report::{TableReport, TableResult, TaskReport};

/// Version of the JSON that runs print.
pub const JSON_SCHEMA: u32 = 1;
/// Seconds between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Rows that a table is expected to have; filled in from beside, when it is known.
pub type Totals = Arc<Mutex<BTreeMap<String, u64>>>;

/// Makes the function that shows moments of a run.
pub fn shower(totals: Totals, quiet: bool) -> Box<dyn FnMut(&Moment)> {
    if quiet {
        return Box::new(|_| {});
    }
    if std::io::stderr().is_terminal() {
        let mut bars = Bars { all: MultiProgress::new(), bars: BTreeMap::new(), totals };
        Box::new(move |moment| bars.show(moment))
    } else {
        let mut lines = Lines { last: None, failure: None };
        Box::new(move |moment| lines.show(moment))
    }
}

struct Bars {
    all: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    totals: Totals,
}

impl Bars {
    fn show(&mut self, moment: &Moment) {
        let bar = self.bars.entry(moment.table.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::no_length());
            bar.set_prefix(moment.table.clone());
            bar.set_style(style(false));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.length().is_none()
            && let Ok(totals) = self.totals.lock()
            && let Some(total) = totals.get(&moment.table)
        {
            bar.set_length(*total);
            bar.set_style(style(true));
        }
        let done = dealt_with(moment);
        if bar.length().is_some_and(|total| total < done) {
            bar.set_length(done);
        }
        bar.set_position(done);
        bar.set_message(speed_and_wait(moment));
        if moment.phase == Phase::Closing {
            // Where not everything was sent the bar stays where it is.
            bar.abandon();
        }
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known {
        "{prefix:>14!} {bar:14.green/dim} {percent:>3}% {human_pos:>11} rows  {wide_msg}"
    } else {
        "{prefix:>14!} {spinner} {human_pos:>11} rows  {wide_msg}"
    };
    // The templates are constants; a wrong one would show in the first run by hand.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Lines {
    last: Option<Instant>,
    failure: Option<String>,
}

impl Lines {
    fn show(&mut self, moment: &Moment) {
        if self.failure != moment.failure {
            self.failure.clone_from(&moment.failure);
            if let Some(failure) = &moment.failure {
                errln!("{}: {failure}", moment.table);
            }
        }
        let due = self.last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if moment.phase == Phase::Transferring && due {
            self.last = Some(Instant::now());
            if dealt_with(moment) > 0 {
                errln!(
                    "{}: {} rows, {}",
                    moment.table,
                    grouped(dealt_with(moment)),
                    speed_and_wait(moment)
                );
            }
        }
    }
}

fn dealt_with(moment: &Moment) -> u64 {
    moment.counts.landed + moment.counts.failed
}

fn speed_and_wait(moment: &Moment) -> String {
    let seconds = moment.seconds.max(0.001);
    let speed = format!(
        "{} rows/s, {}/s",
        grouped((moment.counts.landed as f64 / seconds) as u64),
        bytes((moment.counts.bytes as f64 / seconds) as u64)
    );
    match (moment.phase, moment.waiting) {
        (_, Waiting::Retry) => moment.failure.clone().unwrap_or_default(),
        (Phase::Transferring, Waiting::Nothing) => speed,
        (Phase::Transferring, waiting) => format!("{speed}, waits for {}", waiting.name()),
        (Phase::Closing, _) => speed,
        (_, Waiting::Permit) => "waits for connections".to_owned(),
        (phase, _) => phase.name().to_owned(),
    }
}

/// `1 run`, `2,880 runs`.
pub fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(n)) }
}

/// `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes for people: `8.1 MB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn word(t: &TableReport) -> &'static str {
    match t.result {
        TableResult::Done => "done",
        TableResult::DoneWithErrors => match () {
            () if t.bad_rows() > 0 => "done, some rows are bad",
            () if t.counts.waiting > 0 => "done, some rows wait for their parents",
            () => "done, some rows were locked",
        },
        TableResult::DoneUnconfirmed => "done, earlier bad rows not known",
        TableResult::Failed => "FAILED",
        TableResult::Locked => "LOCKED",
        TableResult::Interrupted => "interrupted",
        TableResult::Paused => "paused",
        TableResult::NotStarted => "not started",
    }
}

/// The closing summary for people.
pub fn summary(report: &TaskReport, task: &Task) -> String {
    let title = format!("task {}", task.label());
    let tables = report.tables.iter().map(|t| t.table.as_str());
    let width = widest(tables.chain([title.as_str()])).max(12);
    let mut out = format!(
        "{}  {:>13}  {:>9}  {:>9}  {:>11}  result\n",
        padded(&title, width),
        "rows landed",
        "bad",
        "seconds",
        "rows/s"
    );
    for t in &report.tables {
        out += &line(&t.table, width, t.counts.landed, t.counts.failed, t.seconds, word(t));
        for fact in facts(t) {
            out += &format!("    {fact}\n");
        }
    }
    let landed = report.tables.iter().map(|t| t.counts.landed).sum();
    let failed = report.tables.iter().map(|t| t.counts.failed).sum();
    let verdict = if report.exit_code() == 0 { "all landed" } else { "not all landed" };
    if report.tables.len() > 1 {
        out += &line("total", width, landed, failed, report.seconds, verdict);
    }
    out
}

fn line(name: &str, width: usize, landed: u64, failed: u64, seconds: f64, result: &str) -> String {
    let speed = (landed as f64 / seconds.max(0.001)) as u64;
    format!(
        "{}  {:>13}  {:>9}  {seconds:>9.1}  {:>11}  {result}\n",
        padded(name, width),
        grouped(landed),
        grouped(failed),
        grouped(speed)
    )
}

fn facts(t: &TableReport) -> Vec<String> {
    let c = &t.counts;
    // What stopped it comes first; the details follow on standard error.
    let failed = matches!(t.result, TableResult::Failed | TableResult::Interrupted);
    let reason = t.error.as_ref().filter(|_| failed).map(|error| error.message.clone());
    let mut facts: Vec<_> = reason.into_iter().chain(t.notes.clone()).collect();
    let mut count = |n: u64, one: &str, more: &str| match n {
        0 => {}
        1 => facts.push(format!("1 row {one}")),
        n => facts.push(format!("{} rows {more}", grouped(n))),
    };
    count(
        c.recovered,
        "had landed before and was settled now",
        "had landed before and were settled now",
    );
    count(
        c.reopened,
        "that an earlier run left under way was put back to be sent",
        "that an earlier run left under way were put back to be sent",
    );
    let resumed = "had landed before this run was resumed";
    count(c.resumed, resumed, resumed);
    count(
        c.skipped,
        "was left out because its key exists",
        "were left out because their keys exist",
    );
    count(
        c.withdrawn,
        "was changed or deleted before it was read",
        "were changed or deleted before they were read",
    );
    count(
        c.changed,
        "was changed while it was sent, and goes again",
        "were changed while they were sent, and go again",
    );
    if let Some(run) = &t.run_totals {
        let bad = match run.failed {
            0 => String::new(),
            1 => ", 1 is bad".to_owned(),
            n => format!(", {} are bad", grouped(n)),
        };
        let landed = counted(run.landed, "row");
        facts.push(format!("in all attempts of this run {landed} landed{bad}"));
    }
    if let Some((what, percent)) = c.bottleneck() {
        facts.push(format!("waited for {} in {percent} % of the time", what.name()));
    }
    facts.extend(kept(t));
    facts
}

/// What was kept of a table that did not come to a good end.
fn kept(t: &TableReport) -> Option<String> {
    let c = &t.counts;
    if matches!(
        t.result,
        TableResult::Done | TableResult::NotStarted | TableResult::Locked | TableResult::Paused
    ) {
        return None;
    }
    let verb = |n: u64, one: &'static str, more: &'static str| if n == 1 { one } else { more };
    let landed = c.landed + c.resumed;
    if landed + c.put_back() + c.failed == 0 {
        return None;
    }
    let mut text = format!(
        "{} {} landed and {} kept",
        grouped(landed),
        verb(landed, "row has", "rows have"),
        verb(landed, "is", "are")
    );
    let put_back = c.put_back();
    if put_back > 0 {
        let was = verb(put_back, "was", "were");
        text += &format!(", {} {was} put back to be sent", grouped(put_back));
    }
    if c.failed > 0 {
        text += &format!(", {} {} bad", grouped(c.failed), verb(c.failed, "is", "are"));
    }
    Some(text)
}

#[derive(Serialize)]
struct Line<'a, T> {
    schema: u32,
    kind: &'a str,
    #[serde(flatten)]
    content: &'a T,
}

#[derive(Serialize)]
struct Total<'a> {
    task: u32,
    /// The task's.
    name: Option<&'a str>,
    tables: usize,
    landed: u64,
    failed: u64,
    seconds: f64,
    exit_code: u8,
}

/// One JSON object per table, and one for the total, a line each.
pub fn json(report: &TaskReport, task: &Task) -> serde_json::Result<String> {
    let mut out = String::new();
    for content in &report.tables {
        let line = Line { schema: JSON_SCHEMA, kind: "table", content };
        out += &serde_json::to_string(&line)?;
        out.push('\n');
    }
    let total = Total {
        task: report.task,
        name: task.name.as_deref(),
        tables: report.tables.len(),
        landed: report.tables.iter().map(|t| t.counts.landed).sum(),
        failed: report.tables.iter().map(|t| t.counts.failed).sum(),
        seconds: report.seconds,
        exit_code: report.exit_code(),
    };
    out += &serde_json::to_string(&Line { schema: JSON_SCHEMA, kind: "total", content: &total })?;
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_scaled() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(8_100_000), "8.1 MB");
    }
}
