//! What is known of one task: some lines below the list, or everything on a screen of its own.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use serde_json::Value;
use ssync_common::shm::TaskView;
use ssync_common::store::RunRecord;
use unicode_width::UnicodeWidthStr;

use super::draw::Theme;
use super::meter::chart;
use super::model::Model;
use crate::clock::zoned;
use crate::command::run_state;
use crate::live::{has_died, is_running, span, wait_words};
use crate::output::fold;
use crate::terminal::{bytes, grouped};

/// Lines of the speed chart.
const CHART_LINES: usize = 4;

/// The selected task in a few lines: what holds it, its last error, its last runs.
pub fn draw_brief(frame: &mut Frame, area: Rect, model: &Model, id: u32, theme: Theme) {
    let links = model.rows().iter().find(|r| r.task == id).map(|r| r.links.clone());
    let title = format!(" task {}  {} ", model.label(id), links.unwrap_or_default());
    let block = Block::new().borders(Borders::TOP).title(title).border_style(theme.dim());
    let mut lines = trouble(model, id, area.width, theme);
    let room = usize::from(area.height.saturating_sub(1)).saturating_sub(lines.len());
    lines.extend(runs(model, id, room, area.width, theme));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Everything, from line `from`.
pub fn draw(frame: &mut Frame, area: Rect, model: &Model, from: usize, theme: Theme) {
    let Some(id) = model.selected() else { return };
    let links = model.rows().iter().find(|r| r.task == id).map(|r| r.links.clone());
    let title = format!(" task {}  {} ", model.label(id), links.unwrap_or_default());
    let block = Block::new().borders(Borders::TOP).title(title).border_style(theme.dim());
    let lines = everything(model, id, area.width, theme);
    let room = usize::from(area.height.saturating_sub(1));
    // Scrolled past the end means the end.
    let from = from.min(lines.len().saturating_sub(room));
    let text = Paragraph::new(lines).block(block).scroll((from as u16, 0));
    frame.render_widget(text, area);
}

/// Lines of the details, for the limit of scrolling.
pub fn everything<'m>(model: &'m Model, id: u32, width: u16, theme: Theme) -> Vec<Line<'m>> {
    let seen = model.live.as_ref().ok().and_then(|live| live.task(id));
    let mut lines = trouble(model, id, width, theme);
    if let Some(task) = seen {
        lines.extend(state(task, model, theme));
        lines.extend(counters(task, theme));
        lines.extend(speed(model, id, width, theme));
        lines.extend(writers(task, model.now_ms(), theme));
    } else {
        lines.push(Line::styled(" it has not run since the host started", theme.dim()));
    }
    lines.extend(backlogs(model, id, width, theme));
    heading(&mut lines, "runs", theme);
    lines.extend(runs(model, id, 8, width, theme));
    let params = match &model.params {
        Some(params) => Some(params.clone()),
        None => model.configured(id).and_then(|t| serde_json::to_value(t).ok()),
    };
    if let Some(params) = params {
        heading(&mut lines, "parameters", theme);
        lines.extend(outline(&params, 0).into_iter().map(|line| Line::raw(format!("  {line}"))));
    }
    lines
}

fn heading(lines: &mut Vec<Line>, text: &'static str, theme: Theme) {
    lines.push(Line::default());
    lines.push(Line::styled(format!(" {text}"), theme.bold()));
}

/// Holds and the last error, if there are any.
fn trouble(model: &Model, id: u32, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut say = |text: &str, style| {
        let folded = fold(text, usize::from(width).saturating_sub(2));
        lines.extend(folded.into_iter().map(|l| Line::styled(format!(" {l}"), style)));
    };
    for hold in model.books.holds.iter().filter(|h| h.task == id) {
        let what = hold.table.as_ref().map_or_else(|| "task".to_owned(), |t| format!("table {t}"));
        let kind = match hold.kind {
            ssync_common::store::HoldKind::Paused => "paused",
            ssync_common::store::HoldKind::Suspended => "suspended",
        };
        let why = hold.reason.as_deref().map_or(String::new(), |r| format!(": {r}"));
        let since = span(model.since_ms(hold.since));
        say(&format!("{what} {kind} for {since}{why}"), theme.warn());
    }
    let seen = model.live.as_ref().ok().and_then(|live| live.task(id));
    if let Some(task) = seen {
        if has_died(task) {
            let ago = span(model.now_ms().saturating_sub(task.updated_ms));
            let words = format!(
                "its process died {ago} ago, in table {}; the next run settles what it left",
                task.table
            );
            say(&words, theme.bad());
        }
        if let Some(error) = &task.error {
            say(&format!("last error: {error}"), theme.bad());
        }
        if let Some(damage) = &task.damage {
            say(&format!("its entry cannot be read: {damage}"), theme.bad());
        }
    }
    lines
}

/// Rows of each table that wait to be sent, and when they were counted.
fn backlogs(model: &Model, id: u32, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let Some(task) = model.configured(id) else { return Vec::new() };
    let mut lines = Vec::new();
    for table in &task.tables {
        let Some(backlog) = model.books.backlogs.of(task, table) else { continue };
        if lines.is_empty() {
            heading(&mut lines, "backlog", theme);
        }
        let ended = model.last_end(id, &table.name);
        let words = format!("{}: {}", table.name, backlog.words(model.now_ms(), ended));
        let folded = fold(&words, usize::from(width).saturating_sub(3));
        lines.extend(folded.into_iter().map(|line| Line::raw(format!("  {line}"))));
    }
    lines
}

/// The last runs, a line each, with what went wrong.
fn runs(model: &Model, id: u32, n: usize, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<_> = model.runs(id).take(n).flat_map(|r| run(r, width, theme)).collect();
    if lines.is_empty() && n > 0 {
        lines.push(Line::styled(" no run is recorded", theme.dim()));
    }
    lines
}

fn run(run: &RunRecord, width: u16, theme: Theme) -> Vec<Line<'static>> {
    use ssync_common::store::RunState;
    let style = match run.state {
        RunState::Failed => theme.bad(),
        RunState::Done => theme.good(),
        RunState::Open => theme.bold(),
        RunState::Interrupted | RunState::Abandoned => theme.warn(),
    };
    let begin = zoned(run.begin).strftime("%m-%d %H:%M:%S");
    let took = run.end.map_or(String::new(), |_| format!("{:.1} s", run.seconds));
    // Of a run under way the counters above say more than the books.
    let rows = match run.state {
        RunState::Open => String::new(),
        _ => format!("{} rows", grouped(run.counts.landed)),
    };
    let mut words = format!("{rows:>18} {took:>9}  {}", run.table);
    if run.counts.failed > 0 {
        words += &format!(", {} bad", grouped(run.counts.failed));
    }
    let mut lines = vec![Line::from(vec![
        Span::raw(format!(" {begin}  ")),
        Span::styled(format!("{:<11}", run_state(run)), style),
        Span::raw(words),
    ])];
    if let Some(why) = run.error.as_ref().map(|e| e.message.as_str()).or(run.message.as_deref()) {
        let pad = " ".repeat(17);
        let folded = fold(why, usize::from(width).saturating_sub(pad.len() + 1));
        lines.extend(folded.into_iter().map(|l| Line::styled(format!("{pad}{l}"), theme.dim())));
    }
    lines
}

fn state<'m>(task: &'m TaskView, model: &Model, theme: Theme) -> Vec<Line<'m>> {
    let now = model.now_ms();
    let pid = task.owner.as_ref().map_or(0, |o| o.pid);
    let run = task.run_id.map(|id| id.to_string()).unwrap_or_default();
    let first = if is_running(task) {
        let (of, total) = ((task.tables_done + 1).min(task.tables_total), task.tables_total);
        let age = span(now.saturating_sub(task.table_started_ms));
        format!(" {} {}, table {of} of {total}, for {age}", task.phase, task.table)
    } else if has_died(task) {
        format!(" was {} {}", task.phase, task.table)
    } else {
        let ago = span(now.saturating_sub(task.ended_ms));
        format!(" {} {ago} ago, last in table {}", task.outcome, task.table)
    };
    let mut lines = vec![
        Line::styled(first, theme.bold()),
        Line::styled(format!(" process {pid}, run {run}"), theme.dim()),
    ];
    let waits = wait_words(&task.wait, now);
    if is_running(task) && !waits.is_empty() {
        lines.push(Line::styled(format!(" waits for {waits}"), theme.warn()));
    }
    lines
}

fn counters(task: &TaskView, theme: Theme) -> Vec<Line<'static>> {
    let c = &task.counters;
    let pairs = [
        ("claimed", grouped(c.rows_claimed)),
        ("read", grouped(c.rows_read)),
        ("landed", grouped(c.rows_landed)),
        ("settled", grouped(c.rows_settled)),
        ("bad", grouped(c.rows_failed)),
        ("withdrawn", grouped(c.rows_withdrawn)),
        ("skipped", grouped(c.rows_skipped)),
        ("changed", grouped(c.rows_changed)),
        ("batches", grouped(c.batches_landed)),
        ("bytes", bytes(c.bytes_landed)),
    ];
    let mut lines = Vec::new();
    heading(&mut lines, "rows of this table", theme);
    for line in pairs.chunks(3) {
        let mut spans = vec![Span::raw(" ")];
        for (name, value) in line {
            spans.push(Span::styled(format!(" {name} "), theme.dim()));
            spans.push(Span::raw(value.clone()));
            // Columns under each other, as long as numbers are not huge.
            let used = name.width() + value.width() + 2;
            spans.push(Span::raw(" ".repeat(26usize.saturating_sub(used))));
        }
        lines.push(Line::from(spans));
    }
    lines
}

fn speed(model: &Model, id: u32, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let Some(meter) = model.meter(id) else { return Vec::new() };
    let seconds = meter.last(usize::from(width.saturating_sub(4)));
    let (rows, size) = meter.speed();
    let top = seconds.iter().max().copied().unwrap_or(0);
    let mut lines = vec![Line::default()];
    lines.push(Line::from(vec![
        Span::styled(" speed ", theme.bold()),
        Span::raw(format!(" {} rows/s, {}/s", grouped(rows as u64), bytes(size as u64))),
        Span::styled(
            format!("   at most {} rows/s since the first look", grouped(top)),
            theme.dim(),
        ),
    ]));
    // From the left, so that it is seen to grow.
    let wide = seconds.len();
    for line in chart(&seconds, wide, CHART_LINES) {
        lines.push(Line::styled(format!("  {line}"), theme.chart()));
    }
    lines
}

fn writers(task: &TaskView, now_ms: u64, theme: Theme) -> Vec<Line<'static>> {
    if task.writers.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::default()];
    lines.push(Line::styled(
        format!(
            " {:<6} {:>8}  {:<8} {:>8} {:>13} {:>9}  waits for",
            "writer", "process", "state", "batches", "rows", "bytes"
        ),
        theme.bold(),
    ));
    for (n, w) in task.writers.iter().enumerate() {
        let style = match w.state {
            ssync_common::shm::waiting::WriterState::Died => theme.bad(),
            _ => ratatui::style::Style::new(),
        };
        let waits = wait_words(&w.wait, now_ms);
        let restarts = match w.restarts {
            0 => String::new(),
            n => format!(" (restarted: {n})"),
        };
        let text = format!(
            " {:<6} {:>8}  {:<8} {:>8} {:>13} {:>9}  {waits}{restarts}",
            n + 1,
            w.pid,
            w.state.name(),
            grouped(w.batches),
            grouped(w.rows),
            bytes(w.bytes),
        );
        lines.push(Line::styled(text.trim_end().to_owned(), style));
    }
    lines
}

/// JSON as indented lines, `name: value`; what is empty or null is left out.
fn outline(value: &Value, depth: usize) -> Vec<String> {
    let pad = "  ".repeat(depth);
    let mut lines = Vec::new();
    match value {
        Value::Object(fields) => {
            // What it is called comes first.
            let (first, rest): (Vec<_>, Vec<_>) =
                fields.iter().partition(|(name, _)| ["id", "name"].contains(&name.as_str()));
            for (name, value) in first.into_iter().chain(rest) {
                match scalar(value) {
                    Some(text) if text.is_empty() => {}
                    Some(text) => lines.push(format!("{pad}{name}: {text}")),
                    None => {
                        lines.push(format!("{pad}{name}:"));
                        lines.extend(outline(value, depth + 1));
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = outline(item, depth + 1);
                if let Some(first) = inner.first_mut() {
                    // The dash takes the place of the indentation.
                    *first = format!("{pad}- {}", first.trim_start());
                }
                lines.extend(inner);
            }
        }
        other => lines.push(format!("{pad}{}", scalar(other).unwrap_or_default())),
    }
    lines
}

/// What fits on one line; empty for nothing worth one.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            let words: Option<Vec<_>> = items
                .iter()
                .map(|i| if i.is_array() || i.is_object() { None } else { scalar(i) })
                .collect();
            words.map(|w| w.join(", "))
        }
        Value::Object(fields) if fields.is_empty() => Some(String::new()),
        Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_become_an_outline_without_what_is_empty() {
        let params = json!({
            "id": 7, "note": null, "filters": [], "encrypt": {},
            "table": [{ "name": "orders", "key": ["a", "b"] }, { "name": "items" }],
            "before": { "dest": ["DELETE FROM stage"] },
        });
        let expected = [
            "id: 7",
            "before:",
            "  dest: DELETE FROM stage",
            "table:",
            "  - name: orders",
            "    key: a, b",
            "  - name: items",
        ];
        assert_eq!(outline(&params, 0), expected);
    }
}
