//! `ssync monitor`: tells people what has been recorded, looks for tasks that are stuck or dead,
//! sends the daily brief, and removes old records.
//!
//! | thread | does | may wait for |
//! | --- | --- | --- |
//! | main | looks at the task table every second | the local disk |
//! | one for each receiver ([`delivery`]) | tells it | that receiver |
//! | books ([`upkeep`]) | configuration, brief, old records | the configuration database |
//!
//! Nothing is handed from one to another but settings: what is to be told goes through the files
//! of [`ssync_common::event`], so that it survives whatever happens to the monitor.

pub mod brief;
mod chinese;
mod delivery;
pub mod state;
pub mod telling;
mod upkeep;
mod watch;

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Channel, RecvTimeoutError};
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Event, death_is_recorded, record};
use ssync_common::process::set_title;
use ssync_common::process::signals::{Signal, SignalEvent};
use ssync_common::shm::TaskTable;
use ssync_common::store::StoreLocation;

use crate::live::{HEARTBEAT_AGE_MS_MAX, Pulse};
use delivery::Delivery;
use state::{MonitorState, Settings};
use upkeep::Upkeep;
use watch::Watch;

/// How often the task table is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long attempts that are under way may take once the monitor is to end.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// Runs until a signal ends it.
///
/// # Errors
/// [`Kind::Locked`] when a monitor of this home runs already.
pub fn run(location: StoreLocation, signals: &Channel<SignalEvent>) -> Result<()> {
    set_title("ssync-monitor");
    location.home.create()?;
    let home = location.home.path().to_path_buf();
    let _lock = only_one(&home)?;
    log::info!("the monitor begins");
    let kept = MonitorState::load(&home);
    let mut main = Main {
        watch: Watch::new(kept.stuck.clone(), kept.dead.clone(), kept.controller_down),
        settings: kept.settings.clone().unwrap_or_default(),
        kept,
        deliveries: Vec::new(),
        table: None,
        home,
    };
    main.serve();
    let (upkeep, news) = Upkeep::start(location, main.kept.clone())?;
    let ended = main.run(signals, &news, &upkeep);
    log::info!("the monitor ends");
    main.end();
    ended
}

/// The lock that keeps a second monitor away.
fn only_one(home: &Path) -> Result<Flock<std::fs::File>> {
    let path = lock_path(home);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| Error::from(e).context(format!("could not open {}", path.display())))?;
    let mut lock =
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(mut file, _)| {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            Error::new(Kind::Locked, "a monitor is running already")
                .detail(format!("process {}", pid.trim()))
        })?;
    lock.set_len(0)?;
    lock.write_all(std::process::id().to_string().as_bytes())?;
    Ok(lock)
}

fn lock_path(home: &Path) -> std::path::PathBuf {
    home.join("run").join("monitor.lock")
}

/// Whether a monitor of this home runs.
pub fn is_running(home: &Path) -> bool {
    let Ok(file) = std::fs::File::open(lock_path(home)) else { return false };
    Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
}

/// The main thread's side.
struct Main {
    home: std::path::PathBuf,
    watch: Watch,
    settings: Settings,
    kept: MonitorState,
    deliveries: Vec<Delivery>,
    table: Option<TaskTable>,
}

impl Main {
    fn run(
        &mut self,
        signals: &Channel<SignalEvent>,
        news: &Channel<MonitorState>,
        upkeep: &Upkeep,
    ) -> Result<()> {
        let mut next_look = Instant::now();
        loop {
            crossbeam_channel::select! {
                recv(signals) -> signal => match signal {
                    // The terminal's end is nothing to a monitor; for one that runs as a service
                    // it is the usual way to say: read your configuration again.
                    Ok(SignalEvent { signal: Signal::Hangup, .. }) => upkeep.hurry(),
                    _ => return Ok(()),
                },
                recv(news) -> state => match state {
                    Ok(state) => self.adopt(state),
                    Err(_) => {
                        return Err(Error::new(Kind::Internal, "a thread of the monitor has ended"));
                    }
                },
                default(next_look.saturating_duration_since(Instant::now())) => {
                    self.look();
                    self.serve();
                    next_look = Instant::now() + LOOK_EVERY;
                }
            }
        }
    }

    /// The books thread knows something new.
    fn adopt(&mut self, state: MonitorState) {
        self.settings = state.settings.clone().unwrap_or_default();
        self.kept = MonitorState {
            stuck: self.watch.stuck.clone(),
            dead: self.watch.dead.clone(),
            controller_down: self.watch.controller_down,
            ..state
        };
        self.keep();
        self.serve();
    }

    fn look(&mut self) {
        match Pulse::feel(&self.home, HEARTBEAT_AGE_MS_MAX) {
            Ok(pulse) => {
                let news = self.watch.look_at_controller(pulse, Instant::now());
                self.tell(news.as_slice());
            }
            Err(e) => log::warn!("could not look at the daemon: {e}"),
        }
        self.look_at_tasks();
        let Watch { stuck, dead, controller_down, .. } = &self.watch;
        let kept = &mut self.kept;
        if (&kept.stuck, &kept.dead, &kept.controller_down) != (stuck, dead, controller_down) {
            // After telling: what is told twice is better than what is not told.
            kept.stuck.clone_from(stuck);
            kept.dead.clone_from(dead);
            kept.controller_down = *controller_down;
            self.keep();
        }
    }

    fn tell(&self, news: &[Event]) {
        for event in news {
            log::warn!(task = event.task.unwrap_or(0); "{}", event.text);
            record(&self.home, event);
        }
    }

    fn look_at_tasks(&mut self) {
        if self.table.as_ref().is_none_or(|table| !table.is_linked()) {
            self.table = TaskTable::open(&self.home).unwrap_or_else(|e| {
                log::debug!("could not look at the task table: {e}");
                None
            });
        }
        let Some(table) = &self.table else { return };
        let tasks = match table.snapshot() {
            Ok(tasks) => tasks,
            Err(e) => {
                log::warn!("could not look at the task table: {e}");
                return;
            }
        };
        let deadline = Duration::from_secs(self.settings.monitor.progress_deadline.secs());
        let home = &self.home;
        let is_told = |run: &str, seen_ms: u64| {
            let seen = i64::try_from(seen_ms).unwrap_or(0);
            let seen = Timestamp::from_millisecond(seen).unwrap_or(Timestamp::UNIX_EPOCH);
            death_is_recorded(home, run, seen).unwrap_or_else(|e| {
                log::warn!("could not read the events: {e}");
                false
            })
        };
        let news = self.watch.look(&tasks, Instant::now(), deadline, is_told);
        self.tell(&news);
    }

    fn keep(&self) {
        if let Err(e) = self.kept.save(&self.home) {
            log::error!("{e}");
        }
    }

    /// Serves just the receivers that are configured, as they are configured now.
    fn serve(&mut self) {
        let wording = self.settings.wording();
        let is_right = |d: &Delivery| self.settings.receivers.iter().any(|r| d.serves(r, &wording));
        for delivery in self.deliveries.iter().filter(|d| !is_right(d)) {
            delivery.ask_to_end();
        }
        self.deliveries.retain(|d| !d.has_ended());
        for receiver in &self.settings.receivers {
            // One that is just ending is waited for: two threads would tell everything twice.
            if self.deliveries.iter().any(|d| d.name() == receiver.name) {
                continue;
            }
            match Delivery::start(&self.home, receiver.clone(), wording.clone()) {
                Ok(delivery) => self.deliveries.push(delivery),
                Err(e) => log::error!(receiver = receiver.name; "cannot be served: {e}"),
            }
        }
    }

    fn end(&self) {
        self.deliveries.iter().for_each(Delivery::ask_to_end);
        let begin = Instant::now();
        while !self.deliveries.iter().all(Delivery::has_ended) && begin.elapsed() < END_TIME_MAX {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits for a signal-like message; whether there was one.
fn wait(channel: &Channel<()>, how_long: Duration) -> bool {
    !matches!(channel.recv_timeout(how_long), Err(RecvTimeoutError::Timeout))
}
