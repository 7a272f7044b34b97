//! The list of tasks: title, tasks, what is known of the selected one, keys.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};

use super::details;
use super::meter::sparkline;
use super::model::{Model, Row, Standing, View};
use crate::clock::zoned;
use crate::live::{is_running, span, wait_words};
use crate::output::widest;
use crate::terminal::{bytes, grouped};

/// Smallest terminal that shows anything but a word.
const SIZE_MIN: (u16, u16) = (40, 10);

/// Places that the column of names takes at the most.
const NAME_WIDTH_MAX: usize = 16;

/// Lines of title and keys.
pub const LINES_AROUND: u16 = 4;

/// Colours, or none (`NO_COLOR`): everything can be read without.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    colours: bool,
}

impl Theme {
    /// With or without colours.
    pub fn new(colours: bool) -> Theme {
        Theme { colours }
    }

    fn fg(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Beside the point.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings.
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Somebody has to act.
    pub fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Worth a look.
    pub fn warn(self) -> Style {
        self.fg(Color::Yellow)
    }

    /// Going well.
    pub fn good(self) -> Style {
        self.fg(Color::Green)
    }

    /// Figures over time.
    pub fn chart(self) -> Style {
        self.fg(Color::Cyan)
    }

    /// The colour of a task.
    pub fn standing(self, standing: Standing) -> Style {
        match standing {
            Standing::Died | Standing::Suspended | Standing::Failed => self.bad(),
            Standing::Paused => self.warn(),
            Standing::Running => self.good(),
            Standing::Ready => Style::new(),
        }
    }
}

/// Draws the screen.
pub fn draw(frame: &mut Frame, model: &Model, theme: Theme) {
    let area = frame.area();
    if area.width < SIZE_MIN.0 || area.height < SIZE_MIN.1 {
        let (width, height) = SIZE_MIN;
        let text = format!("ssync top needs {width}x{height}\nq quits");
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [title, body, keys] =
        Layout::vertical([Constraint::Length(3), Constraint::Min(1), Constraint::Length(1)])
            .areas(area);
    draw_title(frame, title, model, theme);
    match model.view {
        View::List => draw_list(frame, body, model, theme),
        View::Details(from) => details::draw(frame, body, model, from, theme),
    }
    draw_keys(frame, keys, model, theme);
}

/// A left and a right part on one line; the right one goes first when there is no room.
fn ends(frame: &mut Frame, area: Rect, left: Line, right: Line) {
    let room = area.width.saturating_sub(left.width() as u16 + 2);
    let wanted = right.width() as u16;
    frame.render_widget(left, area);
    if wanted <= room {
        let at = Rect { x: area.right() - wanted, width: wanted, ..area };
        frame.render_widget(right.alignment(Alignment::Right), at);
    }
}

fn draw_title(frame: &mut Frame, area: Rect, model: &Model, theme: Theme) {
    let [name, controller, sums] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    let bar = Style::new().add_modifier(Modifier::REVERSED);
    frame.buffer_mut().set_style(name, bar);
    let clock = jiff::Timestamp::from_millisecond(model.now_ms() as i64).unwrap_or_default();
    let clock = zoned(clock).strftime("%H:%M:%S ");
    let title = Line::from(vec![
        Span::styled(" ssync top ", theme.bold()),
        Span::raw(format!(" {}", model.home)),
    ]);
    ends(frame, name, title.style(bar), Line::from(clock.to_string()).style(bar));

    let (style, words) = match &model.live {
        Err(why) => (theme.bad(), format!("shared memory cannot be read: {why}")),
        Ok(live) => match &live.controller {
            Some(c) if c.alive && live.is_silent(c) => (theme.bad(), live.controller_words()),
            Some(c) if c.alive => (theme.good(), live.controller_words()),
            _ => (theme.warn(), live.controller_words()),
        },
    };
    let trouble = match &model.books_error {
        Some(why) => Line::from(format!("configuration database: {why} ")).style(theme.bad()),
        None => Line::default(),
    };
    ends(frame, controller, Line::from(format!(" {words}")).style(style), trouble);

    let rows = model.rows();
    let count = |s: Standing| rows.iter().filter(|r| r.standing == s).count();
    let mut counts = vec![Span::raw(" ")];
    for (standing, word) in [
        (Standing::Running, "running"),
        (Standing::Paused, "paused"),
        (Standing::Suspended, "suspended"),
        (Standing::Failed, "failed"),
        (Standing::Died, "died"),
        (Standing::Ready, "ready"),
    ] {
        let n = count(standing);
        if n > 0 {
            counts.push(Span::styled(format!("{n} {word}"), theme.standing(standing)));
            counts.push(Span::raw("   "));
        }
    }
    if count(Standing::Running) == 0 {
        counts.insert(1, Span::styled("nothing is running   ", theme.dim()));
    }
    let (rows_per_sec, bytes_per_sec) = model.speed();
    let counts = Line::from(counts);
    let speed =
        format!("  {} rows/s  {}/s ", grouped(rows_per_sec as u64), bytes(bytes_per_sec as u64));
    // The chart takes what is left, up to a minute.
    let room = usize::from(area.width).saturating_sub(counts.width() + speed.chars().count() + 2);
    let width = room.min(60);
    let chart = sparkline(&model.speed_history(width), width);
    let speed = Line::from(vec![Span::styled(chart, theme.chart()), Span::raw(speed)]);
    ends(frame, sums, counts, speed);
}

fn draw_list(frame: &mut Frame, area: Rect, model: &Model, theme: Theme) {
    let rows = model.rows();
    if rows.is_empty() {
        let text = match (model.only_active, model.books_error.is_some()) {
            (true, _) => "every task is at rest; a shows them all",
            (_, true) => "nothing is running, and what is configured is not known",
            _ => "nothing is configured yet: ssync apply FILE",
        };
        let [_, middle, _] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(1), Constraint::Fill(1)])
                .areas(area);
        frame.render_widget(
            Line::from(text).style(theme.dim()).alignment(Alignment::Center),
            middle,
        );
        return;
    }
    // What is known of the selected task gets what the list leaves, but some lines at least.
    let wanted = rows.len() as u16 + 2;
    let below = area.height.saturating_sub(wanted).max(area.height / 3).max(4);
    let [list, _, selected] = Layout::vertical([
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(below.min(area.height.saturating_sub(4))),
    ])
    .areas(area);
    draw_tasks(frame, list, model, &rows, theme);
    if let Some(id) = model.selected() {
        details::draw_brief(frame, selected, model, id, theme);
    }
}

/// What a column shows, and how wide it is.
type Column = (&'static str, Constraint, fn(&Model, &Row, Theme) -> Text<'static>);

/// The columns for a terminal of this width; names of tasks have one where there are any.
fn columns(width: u16, name_width: usize) -> Vec<Column> {
    let mut columns: Vec<Column> = vec![
        ("TASK", Constraint::Length(5), |_, r, _| right(r.task.to_string())),
        ("TABLE", Constraint::Fill(3), |_, r, _| Text::raw(r.table.clone())),
        ("STATE", Constraint::Length(12), |_, r, t| {
            Text::styled(r.state.clone(), t.standing(r.standing))
        }),
        ("W", Constraint::Length(2), |m, r, _| {
            let writers = running(m, r).map(|t| t.writers.len());
            right(writers.map(|n| n.to_string()).unwrap_or_default())
        }),
        ("ROWS", Constraint::Length(11), |m, r, _| {
            right(running(m, r).map(|t| grouped(t.counters.rows_landed)).unwrap_or_default())
        }),
        ("ROWS/S", Constraint::Length(8), |m, r, _| right(speed(m, r, |(rows, _)| grouped(rows)))),
    ];
    if width >= 120 {
        columns.insert(2, ("LINKS", Constraint::Fill(3), |_, r, _| Text::raw(r.links.clone())));
        columns.insert(
            4,
            ("TABLES", Constraint::Length(6), |m, r, _| {
                let done = running(m, r).map(|t| format!("{}/{}", t.tables_done, t.tables_total));
                right(done.unwrap_or_default())
            }),
        );
        columns.push(("BYTES/S", Constraint::Length(9), |m, r, _| {
            right(speed(m, r, |(_, b)| bytes(b)))
        }));
    }
    if name_width > 0 {
        let width = Constraint::Length(name_width.min(NAME_WIDTH_MAX) as u16);
        columns.insert(1, ("NAME", width, |_, r, _| Text::raw(r.name.clone())));
    }
    let trend: Option<Column> = match width {
        // A table's name is worth more than the trend.
        ..100 if name_width > 0 => None,
        ..100 => Some(("TREND", Constraint::Length(6), |m, r, t| spark(m, r, 6, t))),
        100..140 => Some(("TREND", Constraint::Length(12), |m, r, t| spark(m, r, 12, t))),
        140..170 => Some(("TREND", Constraint::Length(20), |m, r, t| spark(m, r, 20, t))),
        _ => Some(("TREND", Constraint::Length(40), |m, r, t| spark(m, r, 40, t))),
    };
    columns.extend(trend);
    columns.push(("WAITS FOR", Constraint::Length(18), waits));
    columns
}

fn running<'m>(model: &'m Model, row: &Row) -> Option<&'m ssync_common::shm::TaskView> {
    model.live.as_ref().ok()?.task(row.task).filter(|t| is_running(t))
}

fn right(text: String) -> Text<'static> {
    Text::raw(text).alignment(Alignment::Right)
}

fn speed(model: &Model, row: &Row, show: fn((u64, u64)) -> String) -> String {
    let meter = running(model, row).and_then(|_| model.meter(row.task));
    meter.map(|m| m.speed()).map(|(r, b)| show((r as u64, b as u64))).unwrap_or_default()
}

fn spark(model: &Model, row: &Row, width: usize, theme: Theme) -> Text<'static> {
    let rows = running(model, row).and_then(|_| model.meter(row.task)).map(|m| m.last(width));
    Text::styled(rows.map(|r| sparkline(&r, width)).unwrap_or_default(), theme.chart())
}

/// What it waits for; of a task at rest since when it rests.
fn waits(model: &Model, row: &Row, theme: Theme) -> Text<'static> {
    if let Some(task) = running(model, row) {
        let words = wait_words(&task.wait, model.now_ms());
        let long = words.contains(' ');
        return Text::styled(words, if long { theme.warn() } else { theme.dim() });
    }
    let words = match model.hold(row.task) {
        Some(hold) => format!("for {}", span(model.since_ms(hold.since))),
        None => model.last_words(row.task),
    };
    Text::styled(words, theme.dim())
}

fn draw_tasks(frame: &mut Frame, area: Rect, model: &Model, rows: &[Row], theme: Theme) {
    let columns = columns(area.width, widest(rows.iter().map(|r| r.name.as_str())));
    let heading = columns.iter().map(|(name, ..)| {
        let numbers = ["TASK", "W", "ROWS", "ROWS/S", "BYTES/S", "TABLES"].contains(name);
        let side = if numbers { Alignment::Right } else { Alignment::Left };
        Cell::new(Text::raw(*name).alignment(side))
    });
    let heading = TableRow::new(heading).style(theme.bold().add_modifier(Modifier::UNDERLINED));
    let lines = rows.iter().map(|row| {
        TableRow::new(columns.iter().map(|(_, _, show)| Cell::new(show(model, row, theme))))
    });
    let selected = rows.iter().position(|r| Some(r.task) == model.selected());
    let table = Table::new(lines, columns.iter().map(|(_, width, _)| *width))
        .header(heading)
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_keys(frame: &mut Frame, area: Rect, model: &Model, theme: Theme) {
    if let Some((text, _)) = &model.message {
        frame.render_widget(Line::from(format!(" {text}")).style(theme.warn()), area);
        return;
    }
    let keys: &[(&str, &str)] = match model.view {
        View::List => &[
            ("↑↓", "select"),
            ("Enter", "details"),
            ("p", "pause"),
            ("r", "resume"),
            ("a", if model.only_active { "all tasks" } else { "active only" }),
            ("q", "quit"),
        ],
        View::Details(_) => {
            &[("↑↓", "scroll"), ("Esc", "back"), ("p", "pause"), ("r", "resume"), ("q", "quit")]
        }
    };
    let mut spans = vec![Span::raw(" ")];
    for (key, what) in keys {
        spans.push(Span::styled(*key, theme.bold()));
        spans.push(Span::styled(format!(" {what}   "), theme.dim()));
    }
    frame.render_widget(Line::from(spans), area);
}
