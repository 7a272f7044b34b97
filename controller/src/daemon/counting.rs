//! Counting the rows that wait to be sent, for `ssync status` and `ssync health`.
//!
//! A child opens the sources of tables in `status` mode and counts
//! ([`ssync_worker::backlog`]); the daemon leaves the figures in `run/backlog.json`
//! ([`crate::backlog`]). No table is counted more than once a minute, and one where nothing changes
//! ever less often. The child takes a connection's permit, and counts another time where there is
//! none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ssync_common::config::{Link, TableMode, TableTask, Task};
use ssync_common::connector::open;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::logging;
use ssync_common::process::channel::Channel;
use ssync_common::process::set_title;
use ssync_common::process::spawn::CHANNEL_FD;
use ssync_common::shm::TaskTable;
use ssync_common::shm::task_table::Request;
use ssync_common::store::{Home, link_params};
use ssync_worker::backlog;

use super::core::{Daemon, From};
use super::inquiry::{Inquiry, Sent};
use super::order::WireSource;
use super::roles;
use crate::backlog::{Backlog, Backlogs, Counted, Source};

/// No table is counted again before that.
const WAIT_MIN: Duration = Duration::from_secs(60);
/// The longest wait, where nothing changes.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// What has not answered by then was not counted.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// A child that has not ended by then hangs.
const CHILD_TIME_MAX: Duration = Duration::from_secs(60);

/// A table: its task, and its name in it.
type Place = (u32, String);

/// When which table is counted.
#[derive(Default)]
pub(super) struct Counting {
    known: Backlogs,
    plan: Plan,
    child: Option<Asked>,
}

/// A child, and what it is to count.
type Asked = (Inquiry<Vec<Counted>>, Vec<(Place, Source)>);

impl Counting {
    /// Goes on with what the daemon before has left.
    pub fn begin(home: &Home) -> Counting {
        Counting { known: Backlogs::read(home.path()), ..Counting::default() }
    }

    /// A run of the task has ended: what was counted before is no longer so.
    pub fn run_ended(&mut self, task: u32, well: bool) {
        for (_, planned) in self.plan.0.iter_mut().filter(|((id, _), _)| *id == task) {
            planned.wait = WAIT_MIN;
            planned.refused &= !well;
        }
    }

    /// The configuration was read: passwords and indexes may have been changed. What is unknown is
    /// counted at once.
    pub fn configuration_read(&mut self) {
        self.plan.configuration_read();
    }

    /// Ends the child, if there is one.
    pub fn end(&mut self) {
        if let Some((inquiry, _)) = self.child.take() {
            inquiry.kill();
        }
    }
}

/// The next counts.
#[derive(Debug, Default)]
struct Plan(BTreeMap<Place, Planned>);

#[derive(Debug)]
struct Planned {
    source: Source,
    /// When it was counted last; `None`: not by this daemon.
    last: Option<Instant>,
    /// How long after that it is counted again.
    wait: Duration,
    rows: Option<u64>,
    /// The login was refused: nothing is tried until a run has come through.
    refused: bool,
}

impl Plan {
    /// What is to be counted now of all that can be; `held` is looked at again without growing
    /// waits, since what is held is what piles up.
    fn due(&mut self, all: Vec<(Place, Source, bool)>, now: Instant) -> Vec<(Place, Source)> {
        self.0.retain(|place, planned| {
            all.iter().any(|(is, source, _)| is == place && *source == planned.source)
        });
        let mut due = Vec::new();
        for (place, source, held) in all {
            let planned = self.0.entry(place.clone()).or_insert_with(|| Planned {
                source: source.clone(),
                last: None,
                wait: WAIT_MIN,
                rows: None,
                refused: false,
            });
            let wait = if held { WAIT_MIN } else { planned.wait };
            let is_over = planned.last.is_none_or(|last| now.duration_since(last) >= wait);
            if is_over && !planned.refused {
                due.push((place, source));
            }
        }
        due
    }

    fn configuration_read(&mut self) {
        for planned in self.0.values_mut() {
            (planned.refused, planned.wait) = (false, WAIT_MIN);
            planned.last = planned.last.filter(|_| planned.rows.is_some());
        }
    }

    /// A count has begun.
    fn begins(&mut self, place: &Place, now: Instant) {
        if let Some(planned) = self.0.get_mut(place) {
            planned.last = Some(now);
            planned.wait = (planned.wait * 2).min(WAIT_MAX);
        }
    }

    /// There was no connection to count by: what was known before is all that is known.
    fn missed(&mut self, place: &Place) {
        if let Some(planned) = self.0.get_mut(place) {
            planned.wait = WAIT_MIN;
        }
    }

    /// A count has ended. A figure that changes is looked at again soon.
    fn counted(&mut self, place: &Place, rows: Option<u64>, refused: bool) {
        if let Some(planned) = self.0.get_mut(place) {
            planned.refused = refused;
            if planned.rows != rows {
                planned.wait = WAIT_MIN;
            }
            planned.rows = rows;
        }
    }
}

impl Daemon {
    /// Once a second: counts what is due.
    pub fn look_after_backlogs(&mut self) {
        if let Some((inquiry, _)) = &self.counting.child {
            if !inquiry.hangs(CHILD_TIME_MAX) {
                return self.on_backlog();
            }
            if let Some((inquiry, asked)) = self.counting.child.take() {
                inquiry.kill();
                self.not_counted(asked, &late());
            }
            return;
        }
        let Some(known) = self.known.as_ref().filter(|_| self.stopping.is_none()) else { return };
        let tables = known.config.tasks.iter().flat_map(|task| {
            task.tables.iter().filter(|t| t.mode == TableMode::Status).map(move |t| (task, t))
        });
        let is_held = |task: &Task, table: &TableTask| {
            known.holds.iter().any(|hold| {
                hold.task == task.id && hold.table.as_ref().is_none_or(|name| *name == table.name)
            })
        };
        let all = tables.map(|(task, table)| {
            let place = (task.id, table.name.clone());
            (place, Source::of(task, table), is_held(task, table))
        });
        let now = Instant::now();
        let due = self.counting.plan.due(all.collect(), now);
        if due.is_empty() {
            return;
        }
        due.iter().for_each(|(place, _)| self.counting.plan.begins(place, now));
        let request = CountRequest::new(known, &due);
        match roles::start(&["backlog"], &self.home, &request) {
            Ok(started) => {
                let inquiry =
                    Inquiry::begin(self, started, From::BacklogChannel, From::BacklogDeath);
                self.counting.child = Some((inquiry, due));
            }
            Err(e) => self.not_counted(due, &e),
        }
    }

    /// The child that counts has said something, or died.
    pub fn on_backlog(&mut self) {
        let Some((mut inquiry, asked)) = self.counting.child.take() else { return };
        match inquiry.look(self) {
            None => self.counting.child = Some((inquiry, asked)),
            Some(Err(e)) => self.not_counted(asked, &e),
            Some(Ok(all)) => {
                for (place, _) in asked {
                    if !all.iter().any(|c| (c.task, &c.table) == (place.0, &place.1)) {
                        self.counting.plan.missed(&place);
                    }
                }
                self.keep_backlogs(all);
            }
        }
    }

    fn not_counted(&mut self, asked: Vec<(Place, Source)>, error: &Error) {
        log::warn!("rows to be sent could not be counted: {error:?}");
        let backlog = Backlog::counted(Err(error.clone()), Timestamp::now());
        let counted = |((task, table), source)| Counted {
            task,
            table,
            source,
            backlog: backlog.clone(),
            refused: false,
        };
        self.keep_backlogs(asked.into_iter().map(counted).collect());
    }

    fn keep_backlogs(&mut self, all: Vec<Counted>) {
        for counted in all {
            let place = (counted.task, counted.table.clone());
            self.counting.plan.counted(&place, counted.backlog.rows, counted.refused);
            self.counting.known.put(counted);
        }
        if let Some(known) = &self.known {
            let is_configured = |task: u32, table: &str| {
                known.task(task).is_some_and(|t| t.tables.iter().any(|t| t.name == table))
            };
            self.counting.known.retain(is_configured);
        }
        if let Err(e) = self.counting.known.write(self.home.path()) {
            log::warn!("the counted rows could not be written: {e}");
        }
    }
}

fn late() -> Error {
    Error::new(Kind::Connect, "its source did not answer")
        .detail(format!("within {} seconds", ANSWER_TIME_MAX.as_secs()))
}

/// What the child is told. It goes over a private socket, for it holds passwords.
#[derive(Serialize, Deserialize)]
struct CountRequest {
    links: Vec<LinkTables>,
}

/// What is counted on one link.
#[derive(Serialize, Deserialize)]
struct LinkTables {
    name: String,
    /// With its password; or why it cannot be opened.
    link: Sent<(Link, WireSource)>,
    tables: Vec<(u32, TableTask, Source)>,
}

impl CountRequest {
    fn new(known: &super::order::Known, due: &[(Place, Source)]) -> CountRequest {
        let mut links = BTreeMap::<String, LinkTables>::new();
        for ((id, name), source) in due {
            let Some(task) = known.task(*id) else { continue };
            let Some(table) = task.tables.iter().find(|t| t.name == *name) else { continue };
            let of = links.entry(task.source.clone()).or_insert_with(|| LinkTables {
                name: task.source.clone(),
                link: known.link(&task.source),
                tables: Vec::new(),
            });
            of.tables.push((*id, table.clone(), source.clone()));
        }
        CountRequest { links: links.into_values().collect() }
    }
}

/// The child that counts; the exit code.
pub(super) fn child() -> Result<u8> {
    set_title("ssync-backlog");
    let channel = Channel::from_inherited_fd(CHANNEL_FD)?;
    let Some(request) = channel.recv::<CountRequest>()? else { return Ok(1) };
    let home = Home::locate(None)?;
    logging::init("daemon", home.path())?;
    let answer: Sent<Vec<Counted>> = Ok(count_all(request, &home));
    channel.send(&answer)?;
    Ok(0)
}

/// Counts on all links side by side. One that is silent keeps no other waiting; its thread ends
/// with the process.
fn count_all(request: CountRequest, home: &Home) -> Vec<Counted> {
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    let (sender, counted) = unbounded();
    let mut missing = BTreeMap::new();
    for of in request.links {
        for (task, table, source) in &of.tables {
            missing.insert((*task, table.name.clone()), source.clone());
        }
        let (sender, home) = (sender.clone(), home.clone());
        let counting = std::thread::Builder::new().spawn(move || {
            let LinkTables { name, link, tables } = of;
            let mut opened = link.and_then(|link| OpenLink::new(&name, link, &home));
            for (task, table, source) in tables {
                let rows = match &mut opened {
                    Ok(link) => backlog::count(link.conn.as_mut(), &table),
                    Err(e) => Err(e.clone()),
                };
                if let Err(e) = &rows {
                    log::info!(task = task; "rows of {} are not counted: {e:?}", table.name);
                }
                let is = |kind| rows.as_ref().is_err_and(|e| e.kind == kind);
                let (refused, is_full) = (is(Kind::Login), is(Kind::Full));
                let backlog = Backlog::counted(rows, Timestamp::now());
                let counted = Counted { task, table: table.name, source, backlog, refused };
                // Whoever waited has an answer already.
                let _ = sender.send((counted, is_full));
            }
        });
        if let Err(e) = counting {
            log::warn!("rows to be sent cannot be counted: {e}");
        }
    }
    drop(sender);
    let mut all = Vec::new();
    while let Ok((counted, is_full)) = counted.recv_deadline(deadline) {
        missing.remove(&(counted.task, counted.table.clone()));
        if !is_full {
            all.push(counted);
        }
    }
    let backlog = Backlog::counted(Err(late()), Timestamp::now());
    all.extend(missing.into_iter().map(|((task, table), source)| Counted {
        task,
        table,
        source,
        backlog: backlog.clone(),
        refused: false,
    }));
    all
}

/// A connection with its permit.
struct OpenLink {
    conn: Box<dyn ssync_common::connector::Connection>,
    _permit: Option<ssync_common::shm::task_table::Claim>,
}

impl OpenLink {
    fn new(name: &str, (link, password): (Link, WireSource), home: &Home) -> Result<OpenLink> {
        let permit = match TaskTable::open(home.path())? {
            None => None,
            Some(table) => {
                let limit = link.max_connections;
                let link = name.to_owned();
                let claim = table.claim(Request { link, limit, least: 1, most: 1, task: 0 })?;
                if claim.try_grant()?.is_none() {
                    return Err(Error::new(
                        Kind::Full,
                        format!("all connections of link {name} are in use"),
                    ));
                }
                Some(claim)
            }
        };
        let conn = open(&link_params(&link, password.into_secret()))?;
        Ok(OpenLink { conn, _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_is_counted_twice_a_minute_and_one_at_rest_ever_less_often() {
        let task = Task { id: 7, source: "s".into(), ..Task::default() };
        let source = Source::of(&task, &TableTask::default());
        let place: Place = (7, "t".into());
        let start = Instant::now();
        let at = |secs: u64| start + Duration::from_secs(secs);
        let mut plan = Plan::default();
        let mut count = |secs: u64, held: bool, rows: u64| {
            let all = vec![(place.clone(), source.clone(), held)];
            let is_due = !plan.due(all, at(secs)).is_empty();
            if is_due {
                plan.begins(&place, at(secs));
                plan.counted(&place, Some(rows), false);
            }
            is_due
        };
        assert!(count(0, false, 5));
        assert!(!count(59, false, 5));
        assert!(count(60, false, 5));
        // Nothing has changed: the waits grow, for what is held they do not.
        assert!(!count(179, false, 5));
        assert!(count(180, false, 5));
        assert!(!count(419, false, 5));
        assert!(count(240, true, 9));
        assert!(!count(299, true, 9));
        // Something has: they begin anew.
        assert!(count(300, false, 9));
    }

    #[test]
    fn what_is_unknown_is_counted_at_once_when_the_configuration_was_read() {
        let task = Task { id: 7, source: "s".into(), ..Task::default() };
        let source = Source::of(&task, &TableTask::default());
        let place: Place = (7, "t".into());
        let (now, mut plan) = (Instant::now(), Plan::default());
        for (rows, again) in [(None, 1), (Some(5), 0)] {
            plan.begins(&place, now);
            plan.due(vec![(place.clone(), source.clone(), false)], now);
            plan.begins(&place, now);
            plan.counted(&place, rows, false);
            plan.configuration_read();
            let due = plan.due(vec![(place.clone(), source.clone(), false)], now);
            assert_eq!(due.len(), again, "{rows:?}");
        }
    }

    #[test]
    fn a_refused_login_is_not_tried_again_until_a_run_has_come_through() {
        let task = Task { id: 7, source: "s".into(), ..Task::default() };
        let source = Source::of(&task, &TableTask::default());
        let place: Place = (7, "t".into());
        let all = || vec![(place.clone(), source.clone(), true)];
        let (start, mut counting) = (Instant::now(), Counting::default());
        let day = start + Duration::from_secs(86_400);
        assert_eq!(counting.plan.due(all(), start).len(), 1);
        counting.plan.begins(&place, start);
        counting.plan.counted(&place, None, true);
        assert_eq!(counting.plan.due(all(), day), []);
        counting.run_ended(7, false);
        assert_eq!(counting.plan.due(all(), day), []);
        counting.run_ended(7, true);
        assert_eq!(counting.plan.due(all(), day).len(), 1);
        counting.plan.counted(&place, None, true);
        counting.configuration_read();
        assert_eq!(counting.plan.due(all(), day).len(), 1);
    }
}
