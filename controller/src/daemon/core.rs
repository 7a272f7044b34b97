//! The daemon's loop.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use ssync_common::config::{Period, Schedule};
use ssync_common::error::{Error, Result};
use ssync_common::event::{Event, What};
use ssync_common::logging;
use ssync_common::process::set_title;
use ssync_common::shm::task_table::{ControllerGuard, Requests};
use ssync_common::shm::{Arena, TaskTable};
use ssync_common::store::{Hold, Home, StoreLocation};

use super::clock::Clock;
use super::control::{Caller, Listener, Reply};
use super::counting::Counting;
use super::jobs::Job;
use super::journal::Journal;
use super::knowing::Reading;
use super::memory::{Memory, UnderWay};
use super::notify::Notify;
use super::order::Known;
use super::resumption::Resumptions;
use super::schedule::Plan;
use super::telling::Telling;
use crate::parameters;
use crate::standstill::Standstill;

/// The loop comes round at least this often: for the heartbeat, and so that a clock set back is
/// noticed.
const ROUND: Duration = Duration::from_secs(1);
/// What a killed daemon leaves may be older than the truth by this.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// Events taken at once.
const EVENTS: usize = 64;

/// Whom an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Timer,
    Signals,
    Listener,
    ReaderChannel,
    ReaderDeath,
    JobChannel(u32),
    JobDeath(u32),
    Caller(u32),
    LinkTestChannel,
    LinkTestDeath,
    BacklogChannel,
    BacklogDeath,
}

impl From {
    pub fn token(self) -> u64 {
        let (kind, id) = match self {
            From::Timer => (0, 0),
            From::Signals => (1, 0),
            From::Listener => (2, 0),
            From::ReaderChannel => (3, 0),
            From::ReaderDeath => (4, 0),
            From::JobChannel(task) => (5, task),
            From::JobDeath(task) => (6, task),
            From::Caller(n) => (7, n),
            From::LinkTestChannel => (8, 0),
            From::LinkTestDeath => (9, 0),
            From::BacklogChannel => (10, 0),
            From::BacklogDeath => (11, 0),
        };
        kind << 32 | u64::from(id)
    }

    fn of(token: u64) -> Option<From> {
        let id = token as u32;
        Some(match token >> 32 {
            0 => From::Timer,
            1 => From::Signals,
            2 => From::Listener,
            3 => From::ReaderChannel,
            4 => From::ReaderDeath,
            5 => From::JobChannel(id),
            6 => From::JobDeath(id),
            7 => From::Caller(id),
            8 => From::LinkTestChannel,
            9 => From::LinkTestDeath,
            10 => From::BacklogChannel,
            11 => From::BacklogDeath,
            _ => return None,
        })
    }
}

/// One schedule, as the daemon keeps it.
pub(super) struct Entry {
    pub schedule: Schedule,
    pub plan: Plan,
    pub under_way: Option<UnderWay>,
}

/// A task that somebody asked for.
pub(super) struct ByHand {
    pub task: u32,
    pub tables: Vec<String>,
    pub caller: Option<u32>,
    pub wait: bool,
    /// Why it waits, as far as the caller was told.
    pub told: Option<String>,
}

/// The way out.
pub(super) struct Stopping {
    pub now: bool,
    pub since: Instant,
    pub callers: Vec<u32>,
    pub has_killed: bool,
}

/// Everything the daemon knows and holds.
pub(super) struct Daemon {
    pub home: Home,
    pub location: StoreLocation,
    pub guard: Option<ControllerGuard>,
    /// Task tables that somebody has removed; tasks that run are still in them.
    pub former: Vec<TaskTable>,
    pub since: Timestamp,
    pub epoll: Epoll,
    timer: TimerFd,
    signals: SignalFd,
    pub listener: Option<Listener>,
    pub callers: BTreeMap<u32, Caller>,
    pub caller_next: u32,
    pub clock: Clock,
    notify: Notify,
    pub known: Option<Known>,
    /// Its parameters in shared memory, for task processes and readers.
    pub arena: Option<Arc<Arena>>,
    pub reading: Option<Reading>,
    /// Callers for whom a further read has to begin, and whether one has to.
    pub read_wanted: bool,
    pub read_callers: Vec<u32>,
    pub read_next: Instant,
    pub read_at: Option<Timestamp>,
    pub read_error: Option<(Timestamp, Error)>,
    /// Suspensions that a reading that began before them does not know.
    pub suspended: Vec<(Instant, Hold)>,
    /// Suspended tasks that may resume by themselves.
    pub resumptions: Resumptions,
    /// Rows that wait to be sent.
    pub counting: Counting,
    pub memory: Memory,
    pub entries: BTreeMap<u32, Entry>,
    pub by_hand: VecDeque<ByHand>,
    /// Tasks that could not be started since the configuration was read, and why.
    pub unable_seen: BTreeMap<u32, String>,
    pub jobs: BTreeMap<u32, Job>,
    /// How long each of them has made no progress.
    pub standstill: Standstill,
    pub journal: Journal,
    pub telling: Telling,
    pub stopping: Option<Stopping>,
    /// Something that the next daemon would have to know has changed.
    pub is_changed: bool,
    saved: Instant,
    rounds: Instant,
    pub requests_seen: Requests,
    /// What makes starting pointless.
    pub fatal: Option<Error>,
}

/// Runs the daemon in this process until it is asked to leave.
///
/// # Errors
/// [`Locked`](ssync_common::error::Kind::Locked) when one runs already; what keeps the
/// configuration from being read at all, unless the database is merely out of reach.
pub fn run(location: StoreLocation, ready: impl FnOnce()) -> Result<()> {
    let mut daemon = Daemon::begin(location)?;
    let pid = std::process::id();
    log::info!(pid = pid; "the daemon begins");
    let begun = format!("the daemon has started (process {pid})");
    daemon.telling.tell(&Event::new(What::ControllerStarted, begun));
    ready();
    let done = daemon.work();
    daemon.end();
    if let Err(e) = &done {
        log::error!("{e:?}");
    }
    done
}

impl Daemon {
    fn begin(location: StoreLocation) -> Result<Daemon> {
        set_title(super::command::DAEMON);
        let home = location.home.clone();
        home.create()?;
        // Before any thread starts: a signal goes to whichever thread does not block it.
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
            set.add(signal);
        }
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        logging::init("daemon", home.path())?;
        let guard = TaskTable::open_or_create(home.path())?.become_controller()?;
        let listener = Listener::bind(&home)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_REALTIME,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        watch(&epoll, timer.as_fd(), From::Timer)?;
        watch(&epoll, signals.as_fd(), From::Signals)?;
        watch(&epoll, listener.as_fd(), From::Listener)?;
        let now = Instant::now();
        Ok(Daemon {
            memory: Memory::load(&home),
            journal: Journal::open(&home),
            telling: Telling::new(&home)?,
            requests_seen: guard.table().requests()?,
            guard: Some(guard),
            former: Vec::new(),
            since: Timestamp::now(),
            epoll,
            timer,
            signals,
            listener: Some(listener),
            callers: BTreeMap::new(),
            caller_next: 0,
            clock: Clock::default(),
            notify: Notify::from_env(),
            known: None,
            arena: None,
            reading: None,
            read_wanted: true,
            read_callers: Vec::new(),
            read_next: now + Duration::from_secs(Period::HOUR.secs()),
            read_at: None,
            read_error: None,
            suspended: Vec::new(),
            resumptions: Resumptions::default(),
            counting: Counting::begin(&home),
            entries: BTreeMap::new(),
            by_hand: VecDeque::new(),
            unable_seen: BTreeMap::new(),
            jobs: BTreeMap::new(),
            standstill: Standstill::default(),
            stopping: None,
            is_changed: false,
            saved: now,
            rounds: now,
            fatal: None,
            home,
            location,
        })
    }

    fn work(&mut self) -> Result<()> {
        self.round()?;
        self.notify.say("READY=1");
        loop {
            self.pass();
            if let Some(fatal) = self.fatal.take() {
                return Err(fatal);
            }
            if self.is_done() {
                return Ok(());
            }
            self.arm()?;
            let mut events = [EpollEvent::empty(); EVENTS];
            let count = match self.epoll.wait(&mut events, self.patience()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(e) => return Err(Error::from(e).context("could not wait for events")),
            };
            for event in &events[..count] {
                if let Some(from) = From::of(event.data()) {
                    self.on_event(from);
                }
            }
            if self.rounds.elapsed() >= ROUND {
                self.round()?;
            }
        }
    }

    fn patience(&self) -> EpollTimeout {
        let mut wait = ROUND.saturating_sub(self.rounds.elapsed());
        if self.is_changed && self.known.is_some() {
            wait = wait.min(SAVE_EVERY);
        }
        // Rounded up: a wait of 0 ms would spin until the time has come.
        let ms = u16::try_from(wait.as_millis() + 1).unwrap_or(u16::MAX);
        EpollTimeout::from(ms)
    }

    /// The timer rings when the next schedule is due.
    fn arm(&self) -> Result<()> {
        let due = self.entries.values().map(|e| e.plan.next()).min();
        match due.filter(|_| self.stopping.is_none()) {
            None => self.timer.unset()?,
            Some(due) => {
                let at = TimeSpec::new(due.max(1), 0);
                self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
        }
        Ok(())
    }

    fn on_event(&mut self, from: From) {
        match from {
            // Read, so that it is not reported again; what is due, `pass` finds out.
            From::Timer => drop(self.timer.wait()),
            From::Signals => self.on_signals(),
            From::Listener => self.on_listener(),
            From::ReaderChannel | From::ReaderDeath => self.on_reader(),
            From::JobChannel(task) => self.on_job_channel(task),
            From::JobDeath(task) => self.on_job_death(task),
            From::Caller(n) => self.on_caller(n),
            From::LinkTestChannel | From::LinkTestDeath => self.on_link_test(),
            From::BacklogChannel | From::BacklogDeath => self.on_backlog(),
        }
    }

    fn on_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGHUP) => {
                    log::info!("SIGHUP: reading the configuration again");
                    self.read_wanted = true;
                }
                Ok(Signal::SIGCHLD) => self.reap(),
                Ok(signal) => {
                    log::info!("{signal}: leaving");
                    // People who ask twice mean it.
                    let again = self.stopping.is_some();
                    self.stop(again, None);
                }
                Err(_) => {}
            }
        }
    }

    /// Once a second.
    fn round(&mut self) -> Result<()> {
        self.rounds = Instant::now();
        if let Some(guard) = &self.guard {
            guard.beat()?;
        }
        self.notify.say("WATCHDOG=1");
        self.look_after_memory();
        self.hear_flags()?;
        self.take_up_strangers();
        self.look_after_strangers();
        self.end_what_stands_still();
        self.look_after_reading();
        self.look_after_resumptions();
        self.look_after_backlogs();
        self.look_after_stopping();
        self.drop_late_callers();
        Ok(())
    }

    /// What of shared memory somebody has removed is made anew.
    fn look_after_memory(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        match guard.relink() {
            Ok(None) => {}
            Ok(Some(former)) => {
                log::warn!("the task table was removed from shared memory, and is made anew");
                self.former.push(former);
                self.requests_seen = guard.table().requests().unwrap_or_default();
            }
            Err(e) => log::error!("the task table cannot be made anew: {e:?}"),
        }
        self.former.retain(|table| {
            table.snapshot().is_ok_and(|slots| slots.iter().any(|slot| slot.alive))
        });
        let is_gone = self.arena.as_ref().is_some_and(|arena| !arena.is_linked());
        if let Some(known) = self.known.as_ref().filter(|_| is_gone) {
            match parameters::publish(self.home.path(), &known.config) {
                Ok(arena) => self.arena = Some(Arc::new(arena)),
                Err(e) => log::error!("the parameters cannot be made anew: {e:?}"),
            }
        }
    }

    /// Requests that came through shared memory (A28).
    fn hear_flags(&mut self) -> Result<()> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let requests = guard.table().requests()?;
        let seen = std::mem::replace(&mut self.requests_seen, requests);
        if requests.reload != seen.reload {
            self.read_wanted = true;
        }
        if requests.stop != seen.stop && self.stopping.is_none() {
            log::info!("asked to leave");
            self.stop(false, None);
        }
        Ok(())
    }

    /// Does everything whose time has come.
    fn pass(&mut self) {
        if self.read_wanted && self.reading.is_none() && self.stopping.is_none() {
            self.begin_reading();
        }
        self.fire();
        self.advance();
        self.save();
    }

    /// Leaves a note for the next daemon, should this one be killed.
    fn save(&mut self) {
        // What the last daemon left stays until it has been taken over.
        if !self.is_changed || self.known.is_none() || self.saved.elapsed() < SAVE_EVERY {
            return;
        }
        self.is_changed = false;
        self.saved = Instant::now();
        if let Err(e) = self.remember().save(&self.home) {
            log::warn!("could not note when schedules fire next: {e}");
        }
    }

    /// Starts watching a descriptor.
    pub fn watch(&self, fd: BorrowedFd<'_>, from: From) {
        self.watch_both(fd, from, false);
    }

    /// The same, also for room to write.
    pub fn watch_both(&self, fd: BorrowedFd<'_>, from: From, out: bool) {
        let out = if out { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let event = EpollEvent::new(EpollFlags::EPOLLIN | out, from.token());
        if let Err(e) = self.epoll.add(fd, event) {
            // Rounds look after what events do not tell.
            log::error!("{from:?} cannot be watched: {e}");
        }
    }

    /// Says something to a caller, if it is still there.
    pub fn say(&mut self, caller: u32, reply: &Reply) {
        let heard = self.callers.get_mut(&caller).is_some_and(|c| c.say(reply));
        if !heard || !matches!(reply, Reply::Heard | Reply::Note(_)) {
            self.callers.remove(&caller);
        }
    }

    /// The way out, whatever led to it.
    fn end(&mut self) {
        self.notify.say("STOPPING=1");
        self.kill_reader();
        self.resumptions.end();
        self.counting.end();
        self.journal.close();
        if self.stopping.is_some() {
            Memory::forget(&self.home);
            let text = "the daemon has stopped, as it was asked to";
            self.telling.tell(&Event::new(What::ControllerStopped, text));
        }
        self.telling.close();
        self.listener = None;
        self.arena = None;
        if let Some(guard) = self.guard.take()
            && self.stopping.is_some()
            && let Err(e) = guard.leave()
        {
            log::error!("whoever keeps the daemon running was not told that it is to leave: {e:?}");
        }
        // Tasks that run in the foreground may still use it.
        if let Err(e) = TaskTable::remove_unless_needed(self.home.path()) {
            log::info!("the task table stays: {e}");
        }
        log::info!("the daemon has ended");
        self.tell_stopped();
    }
}

fn watch(epoll: &Epoll, fd: BorrowedFd<'_>, from: From) -> Result<()> {
    let event = EpollEvent::new(EpollFlags::EPOLLIN, from.token());
    epoll.add(fd, event).map_err(|e| Error::from(e).context("could not watch a descriptor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_find_back_to_where_they_come_from() {
        for from in [
            From::Timer,
            From::Signals,
            From::Listener,
            From::ReaderChannel,
            From::ReaderDeath,
            From::JobChannel(u32::MAX),
            From::JobDeath(7),
            From::Caller(0),
            From::LinkTestChannel,
            From::LinkTestDeath,
            From::BacklogChannel,
            From::BacklogDeath,
        ] {
            assert_eq!(From::of(from.token()), Some(from));
        }
        assert_eq!(From::of(u64::MAX), None);
    }
}
