//! `ssync receiver` and `ssync brief`: who is told, and what of.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use ssync_common::config::{Config, Receiver};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Event, What, record};
use ssync_common::store::Store;

use super::history::named;
use crate::cli::BriefArgs;
use crate::monitor::brief::Brief;
use crate::monitor::state::{Settings, Standing, standing};
use crate::monitor::telling::tell;
use crate::monitor::{brief, is_running};
use crate::output::Output;
use crate::render;
use crate::terminal::grouped;

/// Lists receivers, and what waits for them.
pub fn list(store: &mut Store, out: &mut Output) -> Result<bool> {
    let config = store.load()?;
    let home = store.home().path().to_path_buf();
    let mut objects = Vec::new();
    let mut rows = Vec::new();
    for receiver in &config.receivers {
        let Standing { state, waiting } = standing(&home, receiver)?;
        rows.push([
            receiver.name.clone(),
            receiver.way.kind().to_owned(),
            state.told.to_string(),
            waiting.to_string(),
            state.given_up.to_string(),
            state.told_at.map(|at| format!("{at:.0}")).unwrap_or_else(|| "never".to_owned()),
            state.error.clone().unwrap_or_default(),
        ]);
        objects.push(json!({
            "name": receiver.name,
            "kind": receiver.way.kind(),
            "told": state.told,
            "waiting": waiting,
            "given_up": state.given_up,
            "repeated": state.repeated,
            "told_at": state.told_at,
            "failing_since": state.failing_since,
            "attempts": state.attempts,
            "error": state.error,
        }));
    }
    let running = is_running(&home);
    if out.is_json() {
        out.object(json!({ "monitor_running": running, "receivers": objects }));
        return Ok(true);
    }
    out.table(["NAME", "KIND", "TOLD", "WAITING", "GIVEN UP", "LAST TOLD", "ERROR"], &rows);
    if !running {
        out.line("no monitor runs: nobody is told until ssync monitor is started");
    }
    Ok(true)
}

/// Tells receivers that this is a test.
pub fn test(store: &mut Store, names: &[String], out: &mut Output) -> Result<bool> {
    let config = store.load()?;
    let wording = Settings::from(config.clone()).wording();
    let mut objects = Vec::new();
    let mut all_well = true;
    for receiver in chosen(&config, names)? {
        let text = format!("ssync tries out receiver {}", receiver.name);
        let event = Event::new(What::Test, text);
        let told = tell(receiver, &event, &wording, &AtomicBool::new(false));
        let error = told.err().map(|failure| failure.error);
        objects.push(json!({ "name": receiver.name, "ok": error.is_none(), "error": &error }));
        match error {
            None if out.is_json() => {}
            None => out.line(format!("{}: told", receiver.name)),
            Some(e) => {
                all_well = false;
                if !out.is_json() {
                    // In the order of the receivers.
                    out.print()?;
                    render::fail(&e.context(&receiver.name), false);
                }
            }
        }
    }
    if out.is_json() {
        out.object(json!({ "ok": all_well, "receivers": objects }));
    }
    Ok(all_well)
}

fn chosen<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Receiver>> {
    if names.is_empty() {
        return Ok(config.receivers.iter().collect());
    }
    let find = |name: &String| {
        config.receivers.iter().find(|r| r.name == *name).ok_or_else(|| {
            Error::new(Kind::Config, format!("there is no receiver {name}"))
                .hint("See the receivers: ssync receiver list.")
        })
    };
    names.iter().map(find).collect()
}

/// Says about receivers only what somebody has to know: a line each for `ssync status`.
pub fn troubles(home: &Path, config: &Config) -> Vec<String> {
    let trouble = |receiver: &Receiver| {
        let Standing { state, waiting } = standing(home, receiver).ok()?;
        let since = state.failing_since?;
        let error = state.error.unwrap_or_default();
        let name = &receiver.name;
        let wait = match waiting {
            1 => "1 event waits".to_owned(),
            n => format!("{} events wait", grouped(n)),
        };
        Some(format!("receiver {name}: {wait} since {since:.0}: {error}"))
    };
    config.receivers.iter().filter_map(trouble).collect()
}

/// The brief for programs: what is about a task also has its name.
fn with_names(brief: &Brief) -> Value {
    let mut object = json!(brief);
    for list in ["tables", "held", "running", "interrupted"] {
        for entry in object[list].as_array_mut().into_iter().flatten() {
            *entry = named(entry.take(), &brief.names);
        }
    }
    object
}

/// Prints the brief, and sends it if asked to.
pub fn brief(store: &mut Store, args: &BriefArgs, out: &mut Output) -> Result<bool> {
    let config = store.load()?;
    let home = store.home().path().to_path_buf();
    let zone = crate::clock::zone();
    let now = Timestamp::now();
    let (from, to) = match &args.date {
        Some(date) => brief::day(date, &zone)?,
        None => (now.checked_sub(24.hours()).unwrap_or(Timestamp::MIN), now),
    };
    let settings = Settings::from(config);
    let brief = brief::gather(&home, Ok(store), &settings, (from, to), to >= now);
    if let Some(e) = &brief.history_error {
        return Err(e.clone());
    }
    let text = brief::render(&brief, settings.brief.language, &zone);
    if args.send {
        record(&home, &Event::new(What::DailyBrief, text.clone()));
    }
    if out.is_json() {
        out.object(json!({ "brief": with_names(&brief), "text": text, "sent": args.send }));
        return Ok(true);
    }
    out.line(text.trim_end());
    if args.send && !is_running(&home) {
        render::note("the brief is sent once ssync monitor runs");
    }
    Ok(true)
}
