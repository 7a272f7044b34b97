//! The picture, drawn without a terminal.

#![allow(clippy::unwrap_used)]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use ssync_common::config::Config;
use ssync_common::error::{Error, Kind};
use ssync_common::process::RunId;
use ssync_common::shm::task_table::ControllerView;
use ssync_common::shm::waiting::{Outcome, TaskState, WaitView, Waiting};
use ssync_common::store::{Hold, HoldKind, RunCounts, RunRecord, RunState};
use unicode_width::UnicodeWidthStr;

use super::draw::{Theme, draw};
use super::model::{Books, Model, View};
use super::testing::{task, writer};
use crate::live::Live;

const START: u64 = 1_800_000_000_000;

const CONFIG: &str = r#"
link = [{ name = "core", url = "sqlite:///a" }, { name = "仓库", url = "sqlite:///b" }]
[[task]]
id = 3
source = "core"
dest = "仓库"
table = [{ name = "客户资料", source = "c", dest = "c" }]
[[task]]
id = 7
source = "core"
dest = "仓库"
table = [
    { name = "orders", source = "orders", dest = "dw_orders", key = ["id"] },
    { name = "items", source = "items", dest = "items" },
]
[[task]]
id = 12
source = "core"
dest = "仓库"
table = [{ name = "prices", source = "p", dest = "p" }]
"#;

/// Task 3 suspended, 7 running for ten seconds at 20,000 rows/s, 12 at rest.
fn model() -> Model {
    let mut model = Model::new("/var/lib/ssync".to_owned());
    let at = |ms: u64| jiff::Timestamp::from_millisecond((START - ms) as i64).unwrap();
    let run = |task, state, error| RunRecord {
        id: RunId([task as u8; 16]),
        task,
        table: "orders".into(),
        mode: Default::default(),
        state,
        plan_hash: String::new(),
        begin: at(65_000),
        end: Some(at(60_000)),
        counts: RunCounts { landed: 1_234_567, ..RunCounts::default() },
        attempts: 1,
        seconds: 5.0,
        interrupted: false,
        message: None,
        error,
    };
    let hold = Hold {
        task: 3,
        table: None,
        kind: HoldKind::Suspended,
        since: at(300_000),
        reason: Some("table 客户资料 failed".into()),
        error: None,
    };
    let failed = run(3, RunState::Failed, Some(Error::new(Kind::Data, "a value is too long")));
    model.read(Ok(Books {
        tasks: Config::from_toml(CONFIG).unwrap().tasks,
        holds: vec![hold],
        runs: vec![failed, run(12, RunState::Done, None)],
        ..Books::default()
    }));
    for n in 0..=20 {
        let mut orders = task(7, "orders");
        orders.table_started_ms = START;
        orders.tables_total = 2;
        orders.counters.rows_landed = n * 10_000;
        orders.counters.bytes_landed = n * 1_000_000;
        orders.writers = vec![writer(4711, 110_000), writer(4712, 90_000)];
        orders.wait = WaitView { waiting_for: Waiting::Destination, since_ms: START + 7_000 };
        let controller = Some(ControllerView {
            alive: true,
            pid: 4242,
            started_ms: START,
            heartbeat_ms: START + n * 500,
        });
        model.look(Ok(Live { at_ms: START + n * 500, controller, tasks: vec![orders] }));
    }
    model
}

fn screen(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, Theme::new(true))).unwrap();
    terminal
}

fn picture(model: &Model, width: u16, height: u16) -> Vec<String> {
    let terminal = screen(model, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let mut text = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            text.push_str(symbol);
            // A wide character covers the cell behind it.
            x += ratatui::text::Span::raw(symbol).width().max(1) as u16;
        }
        text.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

/// The line that holds all of these.
fn find<'p>(picture: &'p [String], words: &[&str]) -> &'p str {
    let found = picture.iter().find(|line| words.iter().all(|w| line.contains(w)));
    found.unwrap_or_else(|| panic!("no line has {words:?}:\n{}", picture.join("\n")))
}

#[test]
fn the_list_fits_80_columns_and_says_what_runs_how_fast_and_what_it_waits_for() {
    let picture = picture(&model(), 80, 24);
    find(&picture, &["ssync top", "/var/lib/ssync"]);
    find(&picture, &["daemon: running, process 4242, last heartbeat 0 s ago"]);
    find(&picture, &["1 running", "1 suspended", "1 ready", "20,000 rows/s  2.0 MB/s"]);
    let line = find(&picture, &["7 orders", "transferring"]);
    for words in ["200,000", "20,000", "██████", "destination 3 s"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    find(&picture, &["3 客户资料", "suspended", "for 5 min"]);
    find(&picture, &["12 prices", "ready", "done 70 s ago"]);
    // Of the selected task, the first one, what went wrong.
    find(&picture, &["task suspended for 5 min: table 客户资料 failed"]);
    find(&picture, &["failed", "1,234,567 rows", "5.0 s", "orders"]);
    find(&picture, &["    a value is too long"]);
    find(&picture, &["↑↓ select", "p pause", "q quit"]);
}

#[test]
fn a_wide_terminal_shows_links_tables_and_bytes_too() {
    let picture = picture(&model(), 160, 50);
    find(&picture, &["LINKS", "TABLES", "BYTES/S"]);
    find(&picture, &["core → 仓库", "0/2", "2.0 MB/s"].map(|w| w.trim_end_matches("/s")));
}

#[test]
fn names_of_tasks_stand_in_a_column_and_in_titles() {
    let mut model = model();
    let mut books = model.books.clone();
    for task in &mut books.tasks {
        task.name = (task.id == 7).then(|| "对账".to_owned());
    }
    model.read(Ok(books));
    model.step(1);
    let narrow = picture(&model, 80, 24);
    let heading = find(&narrow, &["TASK NAME TABLE", "WAITS FOR"]);
    let line = find(&narrow, &["7 对账 orders", "200,000"]);
    let at = |line: &str, word: &str| line[..line.find(word).unwrap()].width();
    assert_eq!(at(heading, "TABLE"), at(line, "orders"));
    find(&narrow, &["task 7 (对账)", "core → 仓库"]);
    find(&picture(&model, 160, 50), &["7 对账 orders", "2.0 MB", "███"]);
    model.view = View::Details(0);
    find(&picture(&model, 80, 40), &["task 7 (对账)"]);
}

#[test]
fn details_show_counters_writers_and_parameters_and_scroll() {
    let mut model = model();
    model.step(1);
    assert_eq!(model.selected(), Some(7));
    model.view = View::Details(0);
    model.params = Some(serde_json::json!({ "id": 7, "table": [{ "name": "orders" }] }));
    let shown = picture(&model, 80, 40);
    find(&shown, &["task 7", "core → 仓库"]);
    find(&shown, &["transferring orders, table 1 of 2, for 10 s"]);
    find(&shown, &["waits for destination 3 s"]);
    find(&shown, &["landed 200,000"]);
    find(&shown, &["1", "4711", "busy", "110,000"]);
    find(&shown, &["- name: orders"]);
    model.view = View::Details(1000);
    let end = picture(&model, 80, 24);
    find(&end, &["- name: orders"]);
    assert!(!end.iter().any(|l| l.contains("table 1 of 2")), "it has not scrolled");
}

#[test]
fn a_task_whose_process_died_is_told_from_one_that_ended() {
    let mut model = model();
    let mut live = model.live.clone().unwrap();
    live.tasks[0].alive = false;
    model.look(Ok(live.clone()));
    model.step(1);
    let shown = picture(&model, 80, 24);
    find(&shown, &["nothing is running", "1 died"]);
    find(&shown, &["its process died", "in table orders"]);
    live.tasks[0].state = TaskState::Finished;
    live.tasks[0].outcome = Outcome::Succeeded;
    live.tasks[0].ended_ms = live.at_ms - 5_000;
    model.look(Ok(live.clone()));
    let shown = picture(&model, 80, 24);
    find(&shown, &["7 2 tables", "ready", "done 5 s ago"]);
    assert!(!shown.iter().any(|l| l.contains("died")));
    live.tasks[0].outcome = Outcome::Failed;
    live.tasks[0].error = Some("source table no_such does not exist".into());
    model.look(Ok(live));
    let shown = picture(&model, 80, 24);
    find(&shown, &["7 2 tables", "failed", "failed 5 s ago"]);
    find(&shown, &["last error: source table no_such does not exist"]);
}

#[test]
fn what_nothing_is_known_of_is_said_instead_of_shown_empty() {
    let mut model = Model::new("/srv/ssync".to_owned());
    model.look(Ok(Live { at_ms: START, controller: None, tasks: vec![] }));
    let shown = picture(&model, 80, 24);
    find(&shown, &["daemon: not running"]);
    find(&shown, &["nothing is running"]);
    find(&shown, &["nothing is configured yet: ssync apply FILE"]);
    model.read(Err("could not open it".to_owned()));
    find(&picture(&model, 80, 24), &["configuration database: could not open it"]);
    model.look(Err("it has layout 9".to_owned()));
    find(&picture(&model, 80, 24), &["shared memory cannot be read: it has layout 9"]);
}

#[test]
fn a_controller_that_is_silent_is_red() {
    let mut model = model();
    let mut live = model.live.clone().unwrap();
    live.at_ms += 61_000;
    model.look(Ok(live));
    let terminal = screen(&model, 80, 24);
    let cell = &terminal.backend().buffer()[(2, 1)];
    assert_eq!((cell.fg, cell.symbol()), (Color::Red, "a"));
    find(&picture(&model, 80, 24), &["daemon: not responding"]);
}

#[test]
fn the_selection_is_seen_without_colours_and_stays_with_its_task() {
    let mut model = model();
    model.step(1);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(frame, &model, Theme::new(false))).unwrap();
    let buffer = terminal.backend().buffer();
    assert!(buffer.content().iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    let row = (0..24).find(|y| buffer[(8, *y)].modifier.contains(Modifier::REVERSED) && *y > 0);
    let text: String = (0..20).map(|x| buffer[(x, row.unwrap())].symbol()).collect();
    assert!(text.contains("7 orders"), "{text}");
    // Tasks come and go around it.
    model.toggle_active();
    assert_eq!(model.selected(), Some(7));
    assert!(!picture(&model, 80, 24).iter().any(|l| l.contains("prices")));
    model.step(-5);
    assert_eq!(model.selected(), Some(3));
}

#[test]
fn no_size_and_no_text_breaks_the_picture() {
    let mut model = model();
    let mut live = model.live.clone().unwrap();
    live.tasks[0].error = Some("\u{1b}[31m 'Müller' \n".repeat(40));
    live.tasks[0].table = "表".repeat(200);
    live.tasks[0].counters.rows_landed = u64::MAX;
    model.look(Ok(live));
    for view in [View::List, View::Details(0), View::Details(usize::MAX)] {
        model.view = view;
        for (width, height) in [(1, 1), (5, 3), (40, 10), (41, 11), (80, 24), (300, 8), (400, 120)]
        {
            for line in picture(&model, width, height) {
                assert!(!line.contains('\u{1b}'));
            }
        }
    }
}
