//! What the daemon is asked for by commands, and what it answers.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ssync_common::config::Task;
use ssync_common::error::{Error, Kind};

use super::control::{
    Answer, DaemonStatus, Explained, Heard, Reply, Request, RunningTask, ScheduleStatus, has_room,
};
use super::core::{ByHand, Daemon, Entry, From, Stopping};
use super::decide::hold_words;
use super::jobs::Job;
use super::timetable::Secs;
use crate::live::doing;

/// Firings that are foretold.
const FORETOLD: usize = 10;
/// After `stop --now` a task process that has not left by then is killed.
const NOW_TIME_MAX: Duration = Duration::from_secs(10);

impl Daemon {
    /// Somebody calls.
    pub fn on_listener(&mut self) {
        while let Some(mut caller) = self.listener.as_ref().and_then(|l| l.accept()) {
            if !has_room(self.callers.len()) {
                let error = Error::new(Kind::Full, "too many commands wait for the daemon");
                caller.say(&Reply::Failed(error));
                continue;
            }
            let n = self.caller_next;
            self.caller_next = self.caller_next.wrapping_add(1);
            self.watch(caller.as_fd(), From::Caller(n));
            self.callers.insert(n, caller);
        }
    }

    /// A caller has said something, or is gone.
    pub fn on_caller(&mut self, n: u32) {
        let Some(caller) = self.callers.get_mut(&n) else { return };
        match caller.hear() {
            Heard::Nothing => {}
            Heard::Gone => drop(self.callers.remove(&n)),
            Heard::Nonsense(e) => self.say(n, &Reply::Failed(e)),
            Heard::Request(request) => self.on_request(n, request),
        }
    }

    /// Callers that say nothing are let go.
    pub fn drop_late_callers(&mut self) {
        self.callers.retain(|_, caller| !caller.is_late());
    }

    fn on_request(&mut self, caller: u32, request: Request) {
        if request != Request::Changed {
            self.say(caller, &Reply::Heard);
            if !self.callers.contains_key(&caller) {
                log::info!("a request that was given up is dropped: {request:?}");
                return;
            }
        }
        match request {
            Request::Changed => {
                self.read_wanted = true;
                self.callers.remove(&caller);
            }
            Request::Status => {
                let status = Box::new(self.status());
                self.say(caller, &Reply::Done(Answer::Status(status)));
            }
            Request::Explain { task } => {
                let reply = match self.explain(task) {
                    Ok(explained) => Reply::Done(Answer::Explained(Box::new(explained))),
                    Err(e) => Reply::Failed(e),
                };
                self.say(caller, &reply);
            }
            Request::Reload if self.stopping.is_some() => {
                self.say(caller, &Reply::Failed(leaving()));
            }
            Request::Reload => {
                self.read_wanted = true;
                self.read_callers.push(caller);
            }
            Request::Run { task, tables, wait } => {
                // What is wrong with the request itself is said as the foreground says it.
                let chosen = self.known.as_ref().map(|known| {
                    crate::transfer::choose(&known.config, &task.into(), &tables).map(drop)
                });
                match chosen {
                    Some(Err(e)) => self.say(caller, &Reply::Failed(e)),
                    _ => self.start_by_hand(ByHand {
                        task,
                        tables,
                        caller: Some(caller),
                        wait,
                        told: None,
                    }),
                }
            }
            Request::Stop { now } => {
                log::info!(now = now; "asked to leave");
                self.stop(now, Some(caller));
            }
        }
    }

    /// Begins to leave: tasks finish their batches; with `now`, they roll them back.
    pub fn stop(&mut self, now: bool, caller: Option<u32>) {
        let is_first = self.stopping.is_none();
        let stopping = self.stopping.get_or_insert_with(|| Stopping {
            now: false,
            since: Instant::now(),
            callers: Vec::new(),
            has_killed: false,
        });
        stopping.callers.extend(caller);
        let is_new = now && !stopping.now;
        if is_new {
            stopping.now = true;
            stopping.since = Instant::now();
        }
        if is_first || is_new {
            self.ask_jobs_to_leave();
            for caller in
                self.kill_reader().into_iter().chain(std::mem::take(&mut self.read_callers))
            {
                self.say(caller, &Reply::Failed(leaving()));
            }
        }
        if let Some(caller) = caller.filter(|_| !self.jobs.is_empty()) {
            let tasks: Vec<_> = self.jobs.keys().map(|task| self.label(*task)).collect();
            let note = format!("waiting for the tasks that run: {}", tasks.join(", "));
            self.say(caller, &Reply::Note(note));
        }
    }

    /// Asks every task process to leave.
    pub fn ask_jobs_to_leave(&self) {
        for job in self.jobs.values() {
            if let Err(e) = job.leave() {
                log::error!(task = job.task; "could not be asked to leave: {e:?}");
            }
        }
    }

    /// Once a second.
    pub fn look_after_stopping(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if !stopping.now || stopping.has_killed {
            return;
        }
        if stopping.since.elapsed() < NOW_TIME_MAX {
            // Again, for whoever was only asked once: two signals at a time may become one.
            self.ask_jobs_to_leave();
        } else {
            stopping.has_killed = true;
            for job in self.jobs.values() {
                log::warn!(task = job.task; "has not left, and is killed; the ledger knows what landed");
                if let Err(e) = job.kill() {
                    log::error!(task = job.task; "{e:?}");
                }
            }
        }
    }

    /// Whether there is nothing more to do.
    pub fn is_done(&self) -> bool {
        self.stopping.is_some() && self.jobs.is_empty()
    }

    /// The last word: to those that asked the daemon to leave.
    pub fn tell_stopped(&mut self) {
        let callers = self.stopping.take().map(|s| s.callers).unwrap_or_default();
        for caller in callers {
            let text = vec![format!("the daemon has ended (process {})", std::process::id())];
            self.say(caller, &Reply::Done(Answer::Text(text)));
        }
        for caller in std::mem::take(&mut self.callers).into_keys() {
            self.say(caller, &Reply::Failed(leaving()));
        }
    }

    fn status(&self) -> DaemonStatus {
        let running = self.jobs.values().map(running);
        let schedule = |entry: &Entry| {
            Some(ScheduleStatus {
                id: entry.schedule.id,
                next: timestamp(entry.plan.next())?,
                busy: entry.under_way.is_some(),
                backlog: entry.plan.backlog().count(),
            })
        };
        DaemonStatus {
            pid: std::process::id(),
            since: self.since,
            instance: self.known.as_ref().map(|k| k.instance.clone()),
            configuration_read: self.read_at,
            configuration_error: self.read_error.clone(),
            stopping: self.stopping.is_some(),
            tasks_max: self.known.as_ref().map_or(0, |k| k.config.controller.tasks_max),
            running: running.collect(),
            schedules: self.entries.values().filter_map(schedule).collect(),
            unable: self.unable(),
        }
    }

    fn explain(&self, id: u32) -> Result<Explained, Error> {
        let known = self
            .known
            .as_ref()
            .ok_or_else(|| Error::new(Kind::Connect, "the configuration has not been read yet"))?;
        let task = known.config.task(&id.into())?;
        let entry = task.schedule.and_then(|s| self.entries.get(&s));
        let slot = self.slots().into_iter().find(|s| s.alive && s.task_id == id);
        let process = match self.jobs.get(&id) {
            Some(job) => Some(running(job)),
            None => slot.as_ref().and_then(RunningTask::seen),
        };
        let doing = slot.as_ref().map_or(String::new(), |slot| format!(", {}", doing(slot)));
        let state = match &process {
            Some(RunningTask { pid, since, .. }) => {
                let is_ours = self.jobs.contains_key(&id);
                let whose = if is_ours { "" } else { ", in the foreground" };
                format!("running since {since:.0} (process {pid}{whose}){doing}")
            }
            None => self.state(task, entry),
        };
        Ok(Explained {
            task: id,
            name: task.name.clone(),
            schedule: task.schedule,
            every: entry.map(|e| e.schedule.every.to_string()),
            state,
            process,
            next: entry.map(foretell).unwrap_or_default(),
            decisions: self.journal.of(id, task.schedule),
            waiting: Vec::new(),
            tables: Vec::new(),
        })
    }

    /// How a task stands that does not run, in words.
    fn state(&self, configured: &Task, entry: Option<&Entry>) -> String {
        let task = configured.id;
        if self.stopping.is_some() {
            return "the daemon is stopping".to_owned();
        }
        let holds = self.known.as_ref().map(|k| k.holds.as_slice()).unwrap_or_default();
        if let Some(hold) = holds.iter().find(|h| h.task == task && h.table.is_none()) {
            let tests = self.resumptions.words(task).map_or(String::new(), |w| format!("; {w}"));
            return hold_words(task, hold) + &tests;
        }
        if let Some(unable) = self.unable().into_iter().find(|u| u.task == task) {
            return unable.words();
        }
        let under_way = entry.and_then(|e| e.under_way.as_ref());
        match under_way.filter(|u| u.remaining.contains(&task)) {
            Some(under_way) => match under_way.current {
                Some(current) => {
                    format!("due, and waits for task {} before it", self.label(current))
                }
                None => "due, and waits for its turn".to_owned(),
            },
            None if entry.is_none() => {
                by_hand_only(&format!("ssync run {task} or ssync --task {task}"))
            }
            None => "waits for its next firing".to_owned(),
        }
    }
}

/// A task process of this daemon.
fn running(job: &Job) -> RunningTask {
    RunningTask { task: job.task, pid: job.pid(), schedule: job.schedule, since: job.since }
}

/// How a task stands that no schedule fires; `how` people run it.
pub(super) fn by_hand_only(how: &str) -> String {
    format!("no schedule fires it: it runs when asked for, by {how}")
}

fn foretell(entry: &Entry) -> Vec<Timestamp> {
    let next = entry.plan.timetable().from(entry.plan.next());
    entry.plan.backlog().chain(next).take(FORETOLD).filter_map(timestamp).collect()
}

/// A moment as people and programs read it.
pub(super) fn timestamp(secs: Secs) -> Option<Timestamp> {
    Timestamp::from_second(secs).ok()
}

fn leaving() -> Error {
    Error::new(Kind::Interrupted, "the daemon is leaving")
}
