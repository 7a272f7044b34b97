//! `ssync adopt`: shows what is known of the identity of a task's tables, and carries out what an
//! operator decides about it.

use std::path::Path;

use serde_json::json;
use ssync_common::config::TableTask;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{Home, Store};
use ssync_worker::adopt::{self, Bar, Decision, Found};
use ssync_worker::params::TaskParams;

use crate::books::drain::drain_left;
use crate::books::mirror::Mirror;
use crate::books::settled::last_settled;
use crate::cli::AdoptArgs;
use crate::existing;
use crate::output::Output;
use crate::transfer;

/// Shows, or decides.
pub fn run(args: &AdoptArgs, home: Option<&Path>, out: &mut Output) -> Result<()> {
    let mut store = existing::open(&Home::locate(home)?, None)?;
    drain_left(&mut store)?;
    let config = store.load()?;
    let chosen = transfer::choose(&config, args.task.which()?, &args.tables.tables)?;
    let decision = decision(args);
    if decision.is_some() && chosen.tables.len() != 1 {
        return Err(
            Error::new(Kind::Usage, "a decision is about one table").hint("Name it with --tables.")
        );
    }
    let params = transfer::params(&mut store, &config, chosen.clone())?;
    for table in &chosen.tables {
        let lock = params.books.lock(&chosen, table)?;
        let done = match &decision {
            None => adopt::look(&params, table).and_then(|found| {
                let sources = adopt::other_sources(&params, table)?;
                show(&table.name, &found, &sources, out);
                Ok(())
            }),
            Some(decision) => carry_out(&mut store, &params, table, decision).and_then(|notes| {
                // A table that has another name still has what was settled.
                if !matches!(decision, Decision::Renamed { .. }) {
                    store.forget_settled(chosen.id, &table.name)?;
                    Mirror::of(&params.home, store.instance_id(), chosen.id, &table.name)
                        .write(None);
                }
                log::info!("adopt: task {}, table {}: {decision:?}", chosen.id, table.name);
                match out.is_json() {
                    true => out.object(json!({
                        "kind": "adopted", "task": chosen.id, "name": chosen.name, "table": table.name,
                        "decision": word(decision), "notes": notes,
                    })),
                    false => {
                        out.line(format!("{}: {}", table.name, done(decision)));
                        notes.iter().for_each(|note| out.line(format!("  {note}")));
                    }
                }
                Ok(())
            }),
        };
        lock.release()?;
        done?;
    }
    Ok(())
}

fn carry_out(
    store: &mut Store,
    params: &TaskParams,
    table: &TableTask,
    decision: &Decision,
) -> Result<Vec<String>> {
    // Ended is only what nobody is at.
    if let Some(Bar { sub_task: Some((task, name)), .. }) =
        adopt::bar(params, table)?.filter(Bar::may_be_ended)
        && let Some(holder) = store.lock_holder(task, &name)?
        && !holder.process.is_known_dead()?
    {
        return Err(Error::new(
            Kind::Locked,
            format!("a full run into {} is at work: task {task}, table {name}", table.dest),
        )
        .detail(format!("by {}", holder.owner_text()))
        .hint("Decide once it has ended."));
    }
    let last = store.last_settled(params.task.id, &table.name)?.map(last_settled).transpose()?;
    adopt::decide(params, table, decision, last.as_ref())
}

fn decision(args: &AdoptArgs) -> Option<Decision> {
    let choice = &args.decision;
    let (source, dest) = (choice.source_was.clone(), choice.dest_was.clone());
    match source.is_some() || dest.is_some() {
        true => Some(Decision::Renamed { source, dest }),
        _ if choice.as_is => Some(Decision::AsIs),
        _ if choice.new => Some(Decision::New),
        _ => None,
    }
}

fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Renamed { source: Some(_), dest: Some(_) } => "source_and_dest_were",
        Decision::Renamed { source: Some(_), .. } => "source_was",
        Decision::Renamed { .. } => "dest_was",
        Decision::AsIs => "as_is",
        Decision::New => "new",
    }
}

fn done(decision: &Decision) -> String {
    match decision {
        Decision::Renamed { source, dest } => {
            let source = source
                .iter()
                .map(|name| format!("what was known of source {name} is known of today's name"));
            let dest =
                dest.iter().map(|name| format!("the record of destination {name} is today's"));
            source.chain(dest).collect::<Vec<_>>().join(", ")
        }
        Decision::AsIs => "source and destination count as they are; the next run goes on".into(),
        Decision::New => "the next run begins as if it were the first".into(),
    }
}

fn show(name: &str, found: &Found, sources: &[String], out: &mut Output) {
    if out.is_json() {
        out.object(json!({
            "kind": "identity", "table": name, "found": found, "known_sources": sources,
        }));
        return;
    }
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
    let yes = |b: bool| if b { "yes" } else { "no" };
    out.line(format!("table {name}"));
    out.line(format!("  source       {} on {}", found.source, found.source_server));
    if let Some((intended, confirmed)) = found.source_runs {
        out.line(format!("    server before    {}", known(&found.source_server_before)));
        out.line(format!("    last run         intended {intended}, confirmed {confirmed}"));
    }
    if let Some(under_way) = found.rows_under_way {
        out.line(format!("    rows under way   {}", yes(under_way)));
    }
    let others: Vec<_> = sources.iter().filter(|s| **s != found.source).cloned().collect();
    if !others.is_empty() {
        out.line(format!("    other sources    {}", others.join(", ")));
    }
    out.line(format!("  destination  {} on {}", found.dest, found.dest_server));
    out.line(format!("    server before    {}", known(&found.dest_server_before)));
    if let Some(before) = found.dest_before.as_ref().filter(|before| **before != found.dest) {
        out.line(format!("    table before     {before}"));
    }
    let record = match (found.dest_run, found.record_is_known) {
        (None, _) => "none".to_owned(),
        (Some(run), _) if found.is_forked => {
            format!("last run {run}, another one than the source's")
        }
        (Some(run), Some(false)) => format!("another one than before, last run {run}"),
        (Some(run), _) => format!("last run {run}"),
    };
    let open = if found.run_is_open { ", a run is open" } else { "" };
    out.line(format!("    record           {record}{open}"));
    if let Some(bar) = &found.barred_by {
        let over = if bar.may_be_ended() { "; --as-is or --new ends it" } else { "" };
        out.line(format!("    barred by        an open full run of {}{over}", bar.whose()));
    }
    if !found.other_records.is_empty() {
        out.line(format!("    other records    {}", found.other_records.join(", ")));
    }
}
