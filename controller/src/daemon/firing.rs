//! What is due, what of it starts, and what becomes of it.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use ssync_common::config::Task;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Event, What};
use ssync_common::process::Watched;
use ssync_common::shm::task_table::SLOTS;
use ssync_common::shm::waiting::TaskState;
use ssync_common::shm::{Arena, TaskTable, TaskView};
use ssync_common::store::{Hold, HoldKind};

use super::control::{Answer, Reply, Unable};
use super::core::{ByHand, Daemon, Entry, From};
use super::decide::{Facts, Verdict, decide};
use super::jobs::{Ended, Job, is_worker};
use super::journal::{Decision, Happened};
use super::memory::{Memory, Remembered, UnderWay};
use super::order::{Known, Order};
use super::roles;
use super::schedule::{Missed, Why};
use super::timetable::Secs;
use crate::books::spool;
use crate::parameters::{self, Reference};

/// What a task starts for.
#[derive(Clone, Copy)]
struct Cause {
    schedule: Option<u32>,
    due: Option<Secs>,
}

impl Daemon {
    /// Firings whose moment has come.
    pub fn fire(&mut self) {
        let now = self.clock.look();
        if self.stopping.is_some() {
            return;
        }
        let Some(known) = &self.known else { return };
        let mut missed = Vec::new();
        for (id, entry) in &mut self.entries {
            let next = entry.plan.next();
            missed.clear();
            if let Some(due) = entry.plan.look(now, &mut missed) {
                entry.under_way = Some(under_way(&known.config.tasks, *id, due));
            }
            self.is_changed |= entry.plan.next() != next;
            for missed in &missed {
                let why = missed_words(missed, entry.under_way.as_ref(), known);
                self.journal.note(missed_decision(*id, missed, &why));
                let concerns = known.config.tasks.iter().any(|t| t.schedule == Some(*id));
                if concerns && matches!(missed.why, Why::Overrun | Why::Late | Why::BacklogFull) {
                    let text = format!("schedule {id}: firings skipped: {why}");
                    self.telling.tell_once(What::FiringsMissed, *id, &text, |event| event);
                }
            }
        }
    }

    /// Starts what may start: first what people asked for, then firings, the oldest first.
    pub fn advance(&mut self) {
        let waiting: VecDeque<_> = std::mem::take(&mut self.by_hand);
        for asked in waiting {
            match asked.caller {
                Some(caller) if !self.callers.contains_key(&caller) => {
                    let cause = Cause { schedule: None, due: None };
                    let words = "the command that asked for it has ended".to_owned();
                    self.decided(asked.task, cause, Happened::Skipped, words);
                }
                _ => self.start_by_hand(asked),
            }
        }
        let mut order: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(id, e)| Some((e.under_way.as_ref()?, id)))
            .filter(|(under_way, _)| under_way.current.is_none())
            .map(|(under_way, id)| (under_way.due, *id))
            .collect();
        order.sort_unstable();
        for (_, schedule) in order {
            self.advance_schedule(schedule);
        }
    }

    fn advance_schedule(&mut self, id: u32) {
        // A bound: a backlog whose tasks are all skipped is gone through in one go.
        loop {
            let Some(entry) = self.entries.get_mut(&id) else { return };
            let Some(under_way) = &mut entry.under_way else { return };
            if under_way.current.is_some() {
                return;
            }
            self.is_changed = true;
            let Some(task) = under_way.remaining.front().copied() else {
                let due = entry.plan.ended();
                let Some(known) = &self.known else { return };
                entry.under_way = due.map(|due| self::under_way(&known.config.tasks, id, due));
                continue;
            };
            let cause = Cause { schedule: Some(id), due: Some(under_way.due) };
            match self.try_start(task, &[], cause) {
                Verdict::Wait(why) => return self.decided(task, cause, Happened::Waiting, why),
                Verdict::Skip(why) | Verdict::Held(why) => {
                    self.decided(task, cause, Happened::Skipped, why);
                    self.next_task(id, None);
                }
                Verdict::Unable(why) => {
                    self.decided(task, cause, Happened::Unable, why.to_string());
                    self.next_task(id, None);
                }
                Verdict::Start => self.next_task(id, Some(task)),
            }
        }
    }

    /// The first of the schedule's remaining tasks is dealt with.
    fn next_task(&mut self, schedule: u32, started: Option<u32>) {
        if let Some(Entry { under_way: Some(under_way), .. }) = self.entries.get_mut(&schedule) {
            under_way.remaining.pop_front();
            under_way.current = started;
        }
    }

    /// Starts a task that somebody asked for, or says why not.
    pub fn start_by_hand(&mut self, mut asked: ByHand) {
        let cause = Cause { schedule: None, due: None };
        let verdict = self.try_start(asked.task, &asked.tables, cause);
        match (verdict, asked.caller) {
            (Verdict::Start, Some(caller)) => {
                if let Some(job) = self.jobs.get_mut(&asked.task) {
                    let list =
                        if asked.wait { &mut job.end_callers } else { &mut job.start_callers };
                    list.push(caller);
                }
            }
            (Verdict::Wait(why), caller) => {
                self.decided(asked.task, cause, Happened::Waiting, why.clone());
                if let Some(caller) = caller
                    && asked.told.as_ref() != Some(&why)
                {
                    let label = self.label(asked.task);
                    self.say(caller, &Reply::Note(format!("task {label} waits: {why}")));
                    asked.told = Some(why);
                    if !self.callers.contains_key(&caller) {
                        return;
                    }
                }
                self.by_hand.push_back(asked);
            }
            (Verdict::Skip(why), Some(caller)) => {
                self.decided(asked.task, cause, Happened::Skipped, why.clone());
                self.say(caller, &Reply::Failed(self.not_started(asked.task, why)));
            }
            (Verdict::Held(why), Some(caller)) => {
                self.decided(asked.task, cause, Happened::Skipped, why.clone());
                let error = Error { kind: Kind::Paused, ..self.not_started(asked.task, why) };
                self.say(caller, &Reply::Failed(error));
            }
            (Verdict::Unable(why), Some(caller)) => {
                self.decided(asked.task, cause, Happened::Unable, why.to_string());
                let words = format!("it cannot be started: {why}");
                let error = Error { kind: why.kind, ..self.not_started(asked.task, words) };
                self.say(caller, &Reply::Failed(error));
            }
            (_, None) => {}
        }
    }

    fn not_started(&self, task: u32, why: String) -> Error {
        Error::new(Kind::Locked, format!("task {} was not started", self.label(task))).detail(why)
    }

    /// A task's number and name, for people.
    pub fn label(&self, task: u32) -> String {
        self.known.as_ref().map_or_else(|| task.to_string(), |known| known.label(task))
    }

    /// Tasks that cannot be started: by their configuration, or because the last attempt since it was
    /// read has failed.
    pub fn unable(&self) -> Vec<Unable> {
        let Some(known) = &self.known else { return Vec::new() };
        let unable = |task: &Task| {
            let missing = known.missing(task).map(|e| e.to_string());
            let reason = missing.or_else(|| self.unable_seen.get(&task.id).cloned())?;
            Some(Unable { task: task.id, name: task.name.clone(), reason })
        };
        known.config.tasks.iter().filter_map(unable).collect()
    }

    /// Starts a task unless something stands against it.
    fn try_start(&mut self, task: u32, tables: &[String], cause: Cause) -> Verdict {
        let known = self.known.as_ref();
        if known.is_none() && self.stopping.is_none() {
            return Verdict::Wait("the configuration is being read".to_owned());
        }
        let hold = known.and_then(|k| whole_hold(k, task)).cloned();
        let max = known.map_or(0, |k| k.config.controller.tasks_max);
        let mut facts = Facts {
            is_stopping: self.stopping.is_some(),
            is_configured: known
                .is_some_and(|k| k.task(task).is_some_and(|t| !t.tables.is_empty())),
            hold: hold.as_ref(),
            runner: self.jobs.get(&task).map(|job| format!("process {}", job.pid())),
            missing: None,
            processes: self.jobs.len(),
            processes_max: max as usize,
            places: SLOTS,
        };
        let mut verdict = decide(task, &facts);
        let mut order = None;
        let mut is_full = false;
        if verdict == Verdict::Start {
            // What costs more to find out.
            let slots = self.slots();
            facts.runner =
                stranger(&slots, task).map(|pid| format!("process {pid}, in the foreground"));
            facts.places = self.places(&slots);
            is_full = facts.places == 0;
            let made = self.order(task, tables);
            facts.missing = made.as_ref().err();
            verdict = decide(task, &facts);
            order = made.ok();
        }
        if hold.is_some() {
            self.doubt_holds();
        }
        if let (Verdict::Unable(why), Some(_)) = (&verdict, cause.schedule) {
            let text = format!("task {} cannot be started: {why}", self.label(task));
            self.telling.tell_once(What::TaskFailed, task, &text, |e| e.of_task(task));
        }
        if is_full && let Verdict::Wait(why) = &verdict {
            let text = format!("task {} is due and waits: {why}", self.label(task));
            self.telling.tell_once(What::TasksFull, task, &text, |e| e.of_task(task));
        }
        let was_unable = match &verdict {
            Verdict::Unable(why) => self.unable_seen.insert(task, why.to_string()),
            Verdict::Start => self.unable_seen.remove(&task),
            Verdict::Skip(_) | Verdict::Held(_) | Verdict::Wait(_) => {
                self.unable_seen.get(&task).cloned()
            }
        };
        self.is_changed |= was_unable != self.unable_seen.get(&task).cloned();
        match (verdict, order) {
            (Verdict::Start, Some((order, arena))) => match roles::start_worker(&order, &self.home)
            {
                Ok(started) => {
                    let tables = order.tables().to_vec();
                    let mut job = Job::started(task, tables, started, arena);
                    (job.schedule, job.due) = (cause.schedule, cause.due);
                    let pid = job.pid();
                    self.keep_job(job);
                    self.decided(task, cause, Happened::Started, format!("process {pid}"));
                    Verdict::Start
                }
                Err(e) => {
                    log::error!(task = task; "a task process could not be started: {e:?}");
                    Verdict::Skip(format!("its process could not be started: {e}"))
                }
            },
            (verdict, _) => verdict,
        }
    }

    fn order(&mut self, id: u32, tables: &[String]) -> Result<(Order, Arc<Arena>)> {
        let unread = || Error::new(Kind::Connect, "the configuration has not been read yet");
        let known = self.known.as_ref().ok_or_else(unread)?;
        let task: Task = crate::transfer::choose(&known.config, &id.into(), tables)?;
        let arena = self.arena.clone().ok_or_else(unread)?;
        let arena = match Reference::to(self.home.path(), &arena, id) {
            Ok(_) => arena,
            // Removed, or written to, by somebody else; what is known is known here, too.
            Err(e) => {
                log::warn!("the parameters are put into shared memory again: {e}");
                let arena = Arc::new(parameters::publish(self.home.path(), &known.config)?);
                self.arena.insert(arena).clone()
            }
        };
        let is_away = self.read_error.as_ref().is_some_and(|(_, e)| roles::is_out_of_reach(e));
        let order = known.order(&task, &self.location, &arena, is_away)?;
        Ok((order, arena))
    }

    fn keep_job(&mut self, mut job: Job) {
        let task = job.task;
        if let Some(fd) = job.pidfd() {
            self.watch(fd, From::JobDeath(task));
        }
        if let Some(peer) = job.peer() {
            // Orders longer than a socket holds go out as the child takes them.
            self.watch_both(peer.as_fd(), From::JobChannel(task), peer.wants_to_send());
        }
        self.jobs.insert(task, job);
        self.is_changed = true;
    }

    /// A task process has said something.
    pub fn on_job_channel(&mut self, task: u32) {
        let Some(job) = self.jobs.get_mut(&task) else { return };
        let was_sending = job.peer().is_some_and(|peer| peer.wants_to_send());
        let runs = job.listen();
        let pid = job.pid();
        let callers = if runs { std::mem::take(&mut job.start_callers) } else { Vec::new() };
        if let Some(peer) = job.peer().filter(|peer| peer.is_closed()) {
            // It is about to end; a closed channel would be reported for ever.
            let _ = self.epoll.delete(&*peer);
        }
        if was_sending
            && let Some(peer) = job.peer().filter(|p| !p.wants_to_send() && !p.is_closed())
        {
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN, From::JobChannel(task).token());
            let _ = self.epoll.modify(&*peer, &mut event);
        }
        for caller in callers {
            self.say(caller, &Reply::Done(Answer::Ran { pid, code: None, words: None }));
        }
    }

    /// A task process has died, or may have.
    pub fn on_job_death(&mut self, task: u32) {
        let slot = self.slot_of(task);
        let Some(job) = self.jobs.get_mut(&task) else { return };
        match job.try_end(slot.as_ref()) {
            Ok(None) => {}
            Ok(Some(ended)) => self.job_ended(task, ended),
            Err(e) => {
                log::error!(task = task; "{e:?}");
                let words = format!("how it ended could not be found out: {e}");
                self.job_ended(task, Ended::died(words));
            }
        }
    }

    fn job_ended(&mut self, task: u32, ended: Ended) {
        let Some(job) = self.jobs.remove(&task) else { return };
        self.is_changed = true;
        let is_over = matches!(ended.what, Happened::Done | Happened::DoneWithErrors);
        self.counting.run_ended(task, is_over);
        let cause = Cause { schedule: job.schedule, due: job.due };
        self.decided(task, cause, ended.what, ended.words.clone());
        if let Some(what) = ended.to_tell {
            let text = format!("task {}: {}", self.label(task), ended.words);
            match what {
                // Each, with its run: the monitor looks for the dead too, and keeps quiet about
                // those it finds recorded. What recurs, it does not repeat to people either.
                What::TaskDied | What::TaskKilled => {
                    let event = Event::new(what, text).of_task(task);
                    let slot = self.slot_of_process(task, job.pid());
                    self.telling.tell(&match slot.and_then(|s| Some((s.run_id?, s.table_run))) {
                        Some((process, run)) => event.of_run(run).of_death(process),
                        None => event,
                    });
                }
                _ => self
                    .telling
                    .tell_once(what, task, &text, |e| e.of_task(task).because_of(&ended.words)),
            }
        }
        // What it could not tell any more, whoever reads the configuration tells.
        if self.read_error.is_none() && ended.is_dead() {
            self.read_wanted = true;
        }
        if ended.suspends {
            self.expect_suspension(task, &ended.words);
        }
        // It may have found a hold that is not known here.
        if ended.what == Happened::Skipped {
            self.doubt_holds();
        }
        // It has left records behind: who reads the configuration writes them down first.
        if self.read_error.is_none() && spool::files(self.home.path()).is_ok_and(|f| !f.is_empty())
        {
            self.read_wanted = true;
        }
        let tables = self.tables_left(&job);
        if let Some(id) = job.schedule
            && let Some(Entry { under_way: Some(under_way), .. }) = self.entries.get_mut(&id)
            && under_way.current == Some(task)
        {
            under_way.current = None;
            if !tables.is_empty() {
                under_way.remaining.push_front(task);
            }
        } else if !tables.is_empty() {
            self.by_hand.push_back(ByHand { task, tables, caller: None, wait: false, told: None });
        }
        let answer =
            Answer::Ran { pid: job.pid(), code: Some(ended.code), words: Some(ended.words) };
        for caller in job.start_callers.iter().chain(&job.end_callers) {
            self.say(*caller, &Reply::Done(answer.clone()));
        }
    }

    /// What a run that was asked to leave for its removed tables would still have run.
    fn tables_left(&self, job: &Job) -> Vec<String> {
        if !job.is_outdated || self.stopping.is_some() {
            return Vec::new();
        }
        let Some(task) = self.known.as_ref().and_then(|k| k.task(job.task)) else {
            return Vec::new();
        };
        let is_left = |name: &&String| task.tables.iter().any(|t| t.name == **name);
        job.tables.iter().filter(is_left).cloned().collect()
    }

    /// After a change of the configuration: what is removed does not run on. What there is to say
    /// about it.
    pub fn end_what_is_removed(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(known) = &self.known else { return lines };
        for job in self.jobs.values_mut().filter(|job| !job.is_outdated) {
            let has = |name: &String| {
                known.task(job.task).is_some_and(|t| t.tables.iter().any(|t| t.name == *name))
            };
            if known.task(job.task).is_some() && job.tables.iter().all(has) {
                continue;
            }
            log::info!(task = job.task; "asked to leave: it is removed, or a table of it");
            job.is_outdated = true;
            lines.push(format!(
                "task {}: no further batch of what it runs begins; what is under way is settled \
                 first (process {})",
                known.label(job.task),
                job.pid()
            ));
            if let Err(e) = job.leave() {
                log::error!(task = job.task; "could not be asked to leave: {e:?}");
            }
        }
        lines
    }

    /// A real-time task that failed has suspended itself (A16). Until the database has confirmed
    /// that, it is taken for granted.
    fn expect_suspension(&mut self, task: u32, reason: &str) {
        let Some(known) = &mut self.known else { return };
        let is_realtime = known.task(task).is_some_and(|t| known.is_realtime(t));
        if is_realtime && task_hold(&known.holds, task).is_none() {
            let hold = Hold {
                task,
                table: None,
                kind: HoldKind::Suspended,
                since: Timestamp::now(),
                reason: Some(reason.to_owned()),
                // Whether it may resume by itself, the database will say.
                error: None,
            };
            known.holds.push(hold.clone());
            self.suspended.push((Instant::now(), hold));
            self.read_wanted = true;
        }
    }

    fn decided(&mut self, task: u32, cause: Cause, what: Happened, reason: String) {
        if what == Happened::Failed {
            log::error!(task = task; "task {}: {reason}", what.word());
        } else {
            log::debug!(task = task; "task {}: {reason}", what.word());
        }
        self.journal.note(Decision {
            task: Some(task),
            schedule: cause.schedule,
            due: cause.due.and_then(|due| Timestamp::from_second(due).ok()),
            ..Decision::new(what, reason)
        });
    }

    /// The task table.
    pub fn slots(&self) -> Vec<TaskView> {
        let Some(guard) = &self.guard else { return Vec::new() };
        let read = |table: &TaskTable| {
            table.snapshot().unwrap_or_else(|e| {
                log::error!("the task table cannot be read: {e:?}");
                Vec::new()
            })
        };
        let mut slots = read(guard.table());
        // A slot has one owner, whichever table it is in: its lock says whether that lives.
        for slot in self.former.iter().flat_map(read) {
            if slot.alive && !slots.iter().any(|s| s.slot == slot.slot && s.started_ms > 0) {
                slots.push(slot);
            }
        }
        slots
    }

    /// The run of a task process that has come so far as to have one.
    fn slot_of_process(&self, task: u32, pid: u32) -> Option<TaskView> {
        let is_it =
            |s: &TaskView| s.task_id == task && s.owner.as_ref().is_some_and(|o| o.pid == pid);
        self.slots().into_iter().find(is_it)
    }

    fn slot_of(&self, task: u32) -> Option<TaskView> {
        match self.jobs.get(&task) {
            // A child says itself how it ended.
            Some(job) if job.is_stranger() => self.slots().into_iter().find(|s| s.task_id == task),
            _ => None,
        }
    }

    /// Places of the task table that a further task process can take. One that was just started
    /// has not taken its own yet.
    fn places(&self, slots: &[TaskView]) -> usize {
        let taken = slots.iter().filter(|s| s.alive);
        let is_there = |task: &u32| slots.iter().any(|s| s.alive && s.task_id == *task);
        let arriving = self.jobs.keys().filter(|task| !is_there(task));
        SLOTS.saturating_sub(taken.count() + arriving.count())
    }

    /// Task processes that a daemon before this has left running are looked after again.
    pub fn take_up_strangers(&mut self) {
        for slot in self.slots() {
            let runs = slot.alive && slot.state == TaskState::Running;
            let Some(owner) = slot.owner.filter(|_| runs && !self.jobs.contains_key(&slot.task_id))
            else {
                continue;
            };
            if !is_worker(&owner) {
                continue;
            }
            match Watched::open(&owner) {
                Ok(Some(process)) => {
                    let pid = owner.pid;
                    log::info!(task = slot.task_id; "process {pid} taken up");
                    self.keep_job(Job::taken_up(slot.task_id, process));
                    let cause = self.cause_before(slot.task_id);
                    let words = format!("process {pid}, of a daemon before");
                    self.decided(slot.task_id, cause, Happened::TakenUp, words);
                    if self.stopping.is_some() {
                        self.ask_jobs_to_leave();
                    }
                }
                Ok(None) => {}
                Err(e) => log::error!(task = slot.task_id; "cannot be taken up: {e:?}"),
            }
        }
    }

    /// What the daemon before this had started a task for.
    fn cause_before(&self, task: u32) -> Cause {
        let fired = |left: &Remembered| {
            let under_way = left.under_way.as_ref().filter(|u| u.current == Some(task))?;
            Some(Cause { schedule: Some(left.schedule.id), due: Some(under_way.due) })
        };
        let by_hand = Cause { schedule: None, due: None };
        Memory::load(&self.home).schedules.iter().find_map(fired).unwrap_or(by_hand)
    }

    /// Once a second: processes whose end no event tells (kernels without pidfds), and children
    /// that have not yet taken all of their orders.
    pub fn look_after_strangers(&mut self) {
        let tasks: Vec<_> = self.jobs.keys().copied().collect();
        for task in tasks {
            let Some(job) = self.jobs.get_mut(&task) else { continue };
            let needs_look = job.pidfd().is_none() || job.peer().is_some_and(|p| p.wants_to_send());
            if needs_look {
                self.on_job_channel(task);
                self.on_job_death(task);
            }
        }
    }

    /// Some child has ended.
    pub fn reap(&mut self) {
        let tasks: Vec<_> = self.jobs.keys().copied().collect();
        for task in tasks {
            self.on_job_death(task);
        }
        self.on_reader();
        self.on_link_test();
        self.on_backlog();
        // As process 1 of a container it is also the parent of whatever nobody else reaps.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while std::process::id() == 1 {
            let pid = match waitid(Id::All, flags) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                _ => return,
            };
            if self.jobs.values().any(|job| job.pid() == pid.as_raw() as u32) {
                return;
            }
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// The firing of schedule `id` for `due`: its tasks, in order.
fn under_way(tasks: &[Task], id: u32, due: Secs) -> UnderWay {
    let remaining = tasks.iter().filter(|t| t.schedule == Some(id)).map(|t| t.id).collect();
    UnderWay { due, current: None, remaining }
}

/// Another process that runs the task.
fn stranger(slots: &[TaskView], task: u32) -> Option<u32> {
    let slot = slots.iter().find(|s| s.alive && s.task_id == task)?;
    Some(slot.owner.as_ref().map_or(0, |o| o.pid))
}

pub(super) fn task_hold(holds: &[Hold], task: u32) -> Option<&Hold> {
    holds.iter().find(|h| h.task == task && h.table.is_none())
}

/// What keeps all of a task from running: a hold of it, or one of every table.
fn whole_hold(known: &Known, task: u32) -> Option<&Hold> {
    task_hold(&known.holds, task).or_else(|| {
        let of_table = |name: &str| {
            known.holds.iter().find(|h| h.task == task && h.table.as_deref() == Some(name))
        };
        let tables = &known.task(task)?.tables;
        tables.iter().map(|t| of_table(&t.name)).collect::<Option<Vec<_>>>()?.first().copied()
    })
}

/// Why firings were missed, and which task they waited for.
fn missed_words(missed: &Missed, under_way: Option<&UnderWay>, known: &Known) -> String {
    match (missed.why, under_way) {
        (Why::Overrun, Some(UnderWay { current: Some(task), .. })) => {
            format!("the run before was still under way: task {} was running", known.label(*task))
        }
        (Why::Overrun, Some(UnderWay { remaining, .. })) if !remaining.is_empty() => {
            let first = known.label(remaining[0]);
            format!("tasks of the firing before still waited to start, task {first} first")
        }
        (why, _) => why.words().to_owned(),
    }
}

fn missed_decision(schedule: u32, missed: &Missed, why: &str) -> Decision {
    Decision {
        schedule: Some(schedule),
        due: Timestamp::from_second(missed.first).ok(),
        count: missed.count,
        ..Decision::new(Happened::Missed, why)
    }
}
