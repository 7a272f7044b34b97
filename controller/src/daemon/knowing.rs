//! What the daemon knows: reading the configuration through a child, and putting it in force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ssync_common::config::{Schedule, diff};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Event, What, death_is_recorded};
use ssync_common::process::RunId;
use ssync_common::shm::waiting::TaskState;

use super::control::{Answer, Reply};
use super::core::{Daemon, Entry, From};
use super::firing::task_hold;
use super::inquiry::Inquiry;
use super::journal::{Decision, Happened};
use super::memory::{Memory, Remembered};
use super::order::Known;
use super::roles::{self, is_out_of_reach};
use super::schedule::Plan;
use super::timetable::Timetable;
use crate::parameters;

/// A child that has not read the configuration by then hangs.
const READ_TIME_MAX: Duration = Duration::from_secs(60);
/// After a failure it is tried again so soon.
const READ_AGAIN: Duration = Duration::from_secs(15);
/// A task that is due and held has the configuration read again, at most this often: it may have
/// been resumed behind the daemon's back.
const HELD_LOOK: Duration = Duration::from_secs(60);

/// A child that reads the configuration.
pub(super) struct Reading {
    inquiry: Inquiry<Box<Known>>,
    callers: Vec<u32>,
}

/// A task that died while no daemon was there.
struct Death {
    /// The process: its random id.
    process: String,
    /// The run that it was at.
    run: Option<RunId>,
    task: u32,
    seen_ms: u64,
}

impl Daemon {
    /// Starts a child that reads the configuration.
    pub fn begin_reading(&mut self) {
        self.read_wanted = false;
        self.read_next = Instant::now() + READ_AGAIN;
        let callers = std::mem::take(&mut self.read_callers);
        let instance = self.known.as_ref().map(|k| k.instance.as_str());
        match roles::start_reader(&self.location, instance) {
            Err(e) => self.reading_failed(e, callers),
            Ok(started) => {
                let inquiry = Inquiry::begin(self, started, From::ReaderChannel, From::ReaderDeath);
                self.reading = Some(Reading { inquiry, callers });
            }
        }
    }

    /// The child has said something, or died.
    pub fn on_reader(&mut self) {
        let Some(mut reading) = self.reading.take() else { return };
        match reading.inquiry.look(self) {
            None => self.reading = Some(reading),
            Some(Ok(known)) => self.publish(*known, reading.inquiry.since(), reading.callers),
            Some(Err(e)) => self.reading_failed(e, reading.callers),
        }
    }

    fn reading_failed(&mut self, error: Error, callers: Vec<u32>) {
        log::warn!("the configuration could not be read: {error:?}");
        for caller in callers {
            self.say(caller, &Reply::Failed(error.clone()));
        }
        // Room in shared memory may come, as a database does.
        let may_pass = is_out_of_reach(&error) || error.kind == Kind::Full;
        if self.known.is_none() && !may_pass && self.stopping.is_none() {
            self.fatal = Some(error);
            return;
        }
        self.read_next = Instant::now() + READ_AGAIN;
        if self.read_error.is_none() {
            let text = format!(
                "the configuration could not be read; what is known of it goes on: {error}"
            );
            self.telling.tell(&Event::new(What::ConfigurationLost, text));
        }
        let since = self.read_error.take().map_or_else(Timestamp::now, |(since, _)| since);
        self.read_error = Some((since, error));
    }

    /// Once a second: a reading that hangs is ended, one that is due begins.
    pub fn look_after_reading(&mut self) {
        match &self.reading {
            None if Instant::now() >= self.read_next => self.read_wanted = true,
            None => {}
            Some(reading) if !reading.inquiry.hangs(READ_TIME_MAX) => self.on_reader(),
            Some(_) => {
                let callers = self.kill_reader();
                let error = Error::new(Kind::Connect, "the configuration database does not answer")
                    .detail(format!("for {} seconds", READ_TIME_MAX.as_secs()))
                    .hint("What is configured goes on as it was known last.");
                self.reading_failed(error, callers);
            }
        }
    }

    /// Ends the reading child, if there is one; who waited for it.
    pub fn kill_reader(&mut self) -> Vec<u32> {
        let Some(reading) = self.reading.take() else { return Vec::new() };
        reading.inquiry.kill();
        reading.callers
    }

    /// A due task is held: whether it still is, the database knows.
    pub fn doubt_holds(&mut self) {
        let fresh = |at: Timestamp| {
            Timestamp::now().duration_since(at).as_secs() < HELD_LOOK.as_secs() as i64
        };
        if self.reading.is_none() && self.read_error.is_none() && !self.read_at.is_some_and(fresh) {
            self.read_wanted = true;
        }
    }

    /// Puts the parameters of what was read into shared memory, and then in force. Where there is
    /// no room, what was in force before goes on, in shared memory as well.
    fn publish(&mut self, mut known: Known, since: Instant, callers: Vec<u32>) {
        self.keep_suspended(&mut known, since);
        let is_same = self.known.as_ref().is_some_and(|k| k.config == known.config);
        if !is_same || !self.arena.as_ref().is_some_and(|a| a.is_linked()) {
            match parameters::publish(self.home.path(), &known.config) {
                // A process that is just beginning keeps the generation it was started with.
                Ok(arena) => self.arena = Some(Arc::new(arena)),
                Err(e) => {
                    // What is held takes no room.
                    if let Some(old) = &mut self.known {
                        old.holds = known.holds;
                    }
                    return self.reading_failed(e, callers);
                }
            }
        }
        self.put_in_force(known, callers);
    }

    /// What has suspended itself since this reading began is held, whatever was read.
    fn keep_suspended(&mut self, known: &mut Known, since: Instant) {
        self.suspended.retain(|(at, _)| *at >= since);
        for (_, hold) in &self.suspended {
            if task_hold(&known.holds, hold.task).is_none() {
                known.holds.push(hold.clone());
            }
        }
    }

    fn put_in_force(&mut self, known: Known, callers: Vec<u32>) {
        let changes = match &self.known {
            None => Vec::new(),
            Some(old) => diff(&old.config, &known.config),
        };
        for change in &changes {
            log::info!("configuration: {change}");
        }
        let is_first = self.known.is_none();
        let memory = std::mem::take(&mut self.memory);
        let memory = if memory.instance == known.instance { memory } else { Memory::default() };
        let wall = self.clock.look().wall;
        let mut old = std::mem::take(&mut self.entries);
        for schedule in &known.config.schedules {
            let before = old.remove(&schedule.id);
            let left = memory.of(schedule).filter(|_| is_first);
            match entry(schedule, before, left, wall) {
                Ok(entry) => drop(self.entries.insert(schedule.id, entry)),
                Err(e) => {
                    log::error!("{e:?}");
                    self.journal.note(Decision {
                        schedule: Some(schedule.id),
                        ..Decision::new(Happened::Missed, format!("it cannot fire: {e}"))
                    });
                }
            }
        }
        self.read_next =
            Instant::now() + Duration::from_secs(known.config.controller.reread.secs());
        self.read_at = Some(Timestamp::now());
        if is_first || !changes.is_empty() || !callers.is_empty() {
            self.counting.configuration_read();
        }
        if let Some((since, _)) = self.read_error.take() {
            let text = format!("the configuration was read again; it could not since {since:.0}");
            self.telling.tell(&Event::new(What::ConfigurationBack, text));
        }
        let instance = known.instance.clone();
        self.known = Some(known);
        self.unable_seen.clear();
        self.is_changed = true;
        if is_first {
            self.pick_up_threads();
        }
        let leaving = self.end_what_is_removed();
        if let Some(known) = &self.known {
            let config = &known.config;
            self.journal.retain(
                |task| config.tasks.iter().any(|t| t.id == task),
                |schedule| config.schedules.iter().any(|s| s.id == schedule),
            );
        }
        let unable = self.unable();
        for task in &unable {
            log::warn!(task = task.task; "{}", task.words());
        }
        let answer = Answer::Read {
            instance,
            changes: changes.iter().map(ToString::to_string).collect(),
            ending: leaving,
            unable,
        };
        for caller in callers {
            self.say(caller, &Reply::Done(answer.clone()));
        }
    }

    /// After a daemon that was killed: what it had begun goes on.
    fn pick_up_threads(&mut self) {
        let slots = self.slots();
        let mut deaths = Vec::new();
        for entry in self.entries.values_mut() {
            let Some(under_way) = &mut entry.under_way else { continue };
            let Some(task) = under_way.current else { continue };
            match self.jobs.get_mut(&task) {
                Some(job) => {
                    job.schedule = Some(entry.schedule.id);
                    job.due = Some(under_way.due);
                }
                None => {
                    under_way.current = None;
                    let dead = slots
                        .iter()
                        .find(|s| s.task_id == task && s.state == TaskState::Running && !s.alive);
                    if let Some((process, death)) = dead.and_then(|s| Some((s.run_id?, s))) {
                        deaths.push(Death {
                            process: process.to_string(),
                            run: death.table_run,
                            task,
                            seen_ms: death.updated_ms,
                        });
                    }
                    let ended_ms = u64::try_from(under_way.due).unwrap_or(0) * 1000;
                    let has_ended = slots.iter().any(|s| {
                        s.task_id == task
                            && s.state == TaskState::Finished
                            && s.ended_ms >= ended_ms
                    });
                    let words = if has_ended {
                        "it ended while no daemon was there; ssync history says how"
                    } else {
                        // What it had begun is settled and resumed.
                        under_way.remaining.push_front(task);
                        "it died with the daemon, and is started again"
                    };
                    self.journal.note(Decision {
                        task: Some(task),
                        schedule: Some(entry.schedule.id),
                        due: Timestamp::from_second(under_way.due).ok(),
                        ..Decision::new(Happened::Failed, words)
                    });
                }
            }
        }
        deaths.into_iter().for_each(|death| self.tell_of(&death));
    }

    /// Its next run takes its place in the task table, perhaps before a monitor has looked.
    fn tell_of(&self, death: &Death) {
        let seen = i64::try_from(death.seen_ms).unwrap_or(0);
        let seen = Timestamp::from_millisecond(seen).unwrap_or(Timestamp::UNIX_EPOCH);
        match death_is_recorded(self.home.path(), &death.process, seen) {
            Ok(true) => return,
            Ok(false) => {}
            Err(e) => log::warn!("the events cannot be read: {e}"),
        }
        let text = format!(
            "task {}: it died with the daemon; what had landed is settled, and the rest is sent",
            self.label(death.task)
        );
        let event = Event::new(What::TaskDied, text).of_task(death.task).of_run(death.run);
        let event = event.of_death(&death.process);
        self.telling.tell(&event);
    }

    /// What a next daemon has to know.
    pub fn remember(&self) -> Memory {
        let remembered = |entry: &Entry| Remembered {
            schedule: entry.schedule.clone(),
            next: entry.plan.next(),
            backlog: entry.plan.backlog().collect(),
            under_way: entry.under_way.clone(),
        };
        Memory {
            instance: self.known.as_ref().map(|k| k.instance.clone()).unwrap_or_default(),
            schedules: self.entries.values().map(remembered).collect(),
            pid: std::process::id(),
            unable: self.unable(),
        }
    }
}

/// A schedule put in force: one that is the same goes on, a new one begins, a changed one begins
/// anew without disturbing what runs.
fn entry(
    schedule: &Schedule,
    before: Option<Entry>,
    left: Option<&Remembered>,
    now: i64,
) -> Result<Entry> {
    let timetable = Timetable::of(schedule)?;
    let schedule = schedule.clone();
    if let Some(mut entry) = before {
        if *entry.plan.timetable() != timetable {
            entry.plan = Plan::new(timetable, schedule.overrun, now);
        }
        entry.plan.set_overrun(schedule.overrun);
        if entry.under_way.is_some() {
            entry.plan.take_up();
        }
        return Ok(Entry { schedule, ..entry });
    }
    let Some(left) = left else {
        let plan = Plan::new(timetable, schedule.overrun, now);
        return Ok(Entry { schedule, plan, under_way: None });
    };
    let backlog = left.backlog.iter().copied();
    let mut plan = Plan::resumed(timetable, schedule.overrun, left.next, backlog);
    if left.under_way.is_some() {
        plan.take_up();
    }
    Ok(Entry { schedule, plan, under_way: left.under_way.clone() })
}
