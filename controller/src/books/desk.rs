//! The configuration database as a task process reaches it: when it answers, through a thread that
//! owns the connection; when it does not, entries go to a file until it does.
//!
//! ```text
//!          out of reach, or no answer within PATIENCE
//! online ──────────────────────────────────────────────► offline: entries go to the spool
//!    ▲                                                      │
//!    └── opened again, spools of the dead and the own one ◄─┘ a thread tries, with pauses
//!        written down in order
//! ```
//!
//! An entry whose answer never came goes to the spool under the number it had: the database takes
//! every number once (see `Store::write_down`). A connection that hangs is left to its thread, and
//! nobody waits for either.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, unbounded};
use jiff::Timestamp;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::RunId;
use ssync_common::store::{Entry, Store, StoreLocation};

use super::drain::{drain, drain_left};
use super::spool::{Header, Spool};
use crate::existing::open_known;

/// How long a run waits for an answer of the configuration database. Longer than a database takes
/// that is well, and short beside the frequency of a schedule.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Pause before the second attempt to reach it; doubled for each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The way to the configuration database, shared by the threads of a task process.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    location: StoreLocation,
    instance: String,
    task: u32,
    origin: RunId,
    state: Mutex<State>,
    turned: Condvar,
}

struct State {
    /// Number of the next entry.
    next: u64,
    /// The connection, while it answers, and how many there were before it.
    line: Option<Line>,
    lines: u64,
    spool: Option<Spool>,
    /// Entries in the spool.
    kept: u64,
    /// When the database was out of reach for the first time.
    lost_at: Option<Timestamp>,
    /// Whether a thread tries to reach it.
    is_tried: bool,
    /// Why the last attempt failed.
    failure: Option<Error>,
}

/// How it went with the configuration database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When it was out of reach for the first time.
    pub since: Timestamp,
    /// Entries that still wait.
    pub kept: u64,
}

impl Desk {
    /// Reaches the database, or goes on without it: waits for it as long as [`PATIENCE`], and not
    /// at all when it `is_away` as far as anybody knows.
    ///
    /// # Errors
    /// When it is there, and is not the one it must be, or does not let us in.
    pub fn open(
        location: &StoreLocation,
        instance: &str,
        task: u32,
        is_away: bool,
    ) -> Result<Desk> {
        let desk = Desk::new(location, instance, task, None)?;
        let mut state = desk.state()?;
        desk.try_again(&mut state)?;
        let deadline = Instant::now() + if is_away { Duration::ZERO } else { PATIENCE };
        while state.line.is_none() {
            if let Some(error) = state.failure.take() {
                if !is_out_of_reach(&error) {
                    return Err(error);
                }
                // Refused at once: there is nothing to wait for.
                state.lost_at = Some(Timestamp::now());
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.lost_at = Some(Timestamp::now());
                break;
            }
            state = desk.inner.turned.wait_timeout(state, left).map_err(|_| panicked())?.0;
        }
        if state.lost_at.is_some() {
            log::warn!(
                task = task;
                "the configuration database is out of reach: the run goes on without it"
            );
        }
        drop(state);
        Ok(desk)
    }

    /// With a database that is open.
    pub fn online(store: Store, task: u32) -> Result<Desk> {
        let (location, instance) = (store.location().clone(), store.instance_id().to_owned());
        Desk::new(&location, &instance, task, Some(store))
    }

    fn new(
        location: &StoreLocation,
        instance: &str,
        task: u32,
        store: Option<Store>,
    ) -> Result<Desk> {
        let place = Place::of(location);
        let state = State {
            next: 1,
            line: store.map(|store| Line::start(store, place)).transpose()?,
            lines: 0,
            spool: None,
            kept: 0,
            lost_at: None,
            is_tried: false,
            failure: None,
        };
        let inner = Inner {
            location: location.clone(),
            instance: instance.to_owned(),
            task,
            origin: RunId::random()?,
            state: Mutex::new(state),
            turned: Condvar::new(),
        };
        Ok(Desk { inner: Arc::new(inner) })
    }

    /// The random id of the database.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// Home directory of the instance.
    pub fn home(&self) -> PathBuf {
        self.inner.location.home.path().to_path_buf()
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.inner.state.lock().map_err(|_| panicked())
    }

    /// Writes an entry down, after all those before it: in the database, or in the spool. When
    /// this returns it is not lost any more.
    ///
    /// # Errors
    /// When the database refuses it, or when there is no room for the spool.
    pub fn write(&self, entry: Entry) -> Result<()> {
        let mut state = self.state()?;
        let number = state.next;
        if let Some(line) = state.line.clone() {
            let (origin, entries) = (self.inner.origin, [(number, entry.clone())]);
            match line.ask(PATIENCE, move |store| store.write_down(origin, &entries, false)) {
                Err(e) if is_out_of_reach(&e) => self.lose(&mut state, &e)?,
                done => {
                    done?;
                    state.next += 1;
                    return Ok(());
                }
            }
        }
        if state.spool.is_none() {
            let header = Header {
                origin: self.inner.origin,
                instance: self.inner.instance.clone(),
                task: self.inner.task,
                pid: std::process::id(),
                since: Timestamp::now(),
            };
            state.spool = Some(Spool::create(self.inner.location.home.path(), &header)?);
        }
        if let Some(spool) = &mut state.spool {
            spool.append(number, &entry)?;
        }
        state.kept += 1;
        state.next += 1;
        Ok(())
    }

    /// Asks the database something; `None` while it is out of reach.
    pub fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (line, lines) = {
            let state = self.state()?;
            (state.line.clone(), state.lines)
        };
        let Some(line) = line else { return Ok(None) };
        match line.ask(patience, work) {
            Err(e) if is_out_of_reach(&e) => {
                let mut state = self.state()?;
                if state.lines == lines && state.line.is_some() {
                    self.lose(&mut state, &e)?;
                }
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// Whether the database was out of reach at any time.
    pub fn outage(&self) -> Result<Option<Outage>> {
        let state = self.state()?;
        Ok(state.lost_at.map(|since| Outage { since, kept: state.kept }))
    }

    fn lose(&self, state: &mut State, why: &Error) -> Result<()> {
        log::warn!(
            task = self.inner.task;
            "the configuration database is out of reach, records are kept in run/books: {why:?}"
        );
        state.line = None;
        state.lost_at.get_or_insert_with(Timestamp::now);
        self.try_again(state)
    }

    fn try_again(&self, state: &mut State) -> Result<()> {
        if state.is_tried {
            return Ok(());
        }
        let inner = Arc::downgrade(&self.inner);
        thread::Builder::new().name("books-back".into()).spawn(move || come_back(&inner))?;
        state.is_tried = true;
        Ok(())
    }
}

/// Tries until the database is there and has everything.
fn come_back(inner: &Weak<Inner>) {
    let mut pause = PAUSE_FIRST;
    let mut last = String::new();
    loop {
        // Nobody has anything to write down any more.
        let Some(inner) = inner.upgrade() else { return };
        match inner.come_back() {
            Ok(()) => return,
            Err(e) => {
                if last != e.message {
                    log::warn!(task = inner.task; "the configuration database: {e:?}");
                    last.clone_from(&e.message);
                }
                if let Ok(mut state) = inner.state.lock() {
                    state.failure = Some(e);
                    inner.turned.notify_all();
                }
            }
        }
        drop(inner);
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Inner {
    fn come_back(&self) -> Result<()> {
        let mut store = open_known(&self.location, Some(&self.instance))?;
        let place = Place::of(&self.location);
        drain_left(&mut store)?;
        let mut reader = None;
        loop {
            let upto = {
                let mut state = self.state.lock().map_err(|_| panicked())?;
                let upto = state.spool.as_ref().map_or(0, Spool::bytes);
                if let (None, Some(spool)) = (&reader, &state.spool) {
                    reader = Some(spool.reader()?);
                }
                if reader.as_ref().is_none_or(|r| r.pos() >= upto) {
                    if !place.is_there() {
                        return Err(gone());
                    }
                    state.line = Some(Line::start(store, place)?);
                    state.lines += 1;
                    state.is_tried = false;
                    state.failure = None;
                    let kept = std::mem::take(&mut state.kept);
                    if let Some(spool) = state.spool.take() {
                        log::info!(
                            task = self.task;
                            "the configuration database is back and has the {kept} records"
                        );
                        // One that stays is gone through again, and its numbers are known.
                        if let Err(e) = spool.remove() {
                            log::warn!(task = self.task; "{e}");
                        }
                    }
                    self.turned.notify_all();
                    return Ok(());
                }
                upto
            };
            if let Some(reader) = &mut reader {
                drain(&mut store, reader, upto)?;
            }
        }
    }
}

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// A connection with the thread that owns it.
#[derive(Clone)]
struct Line {
    jobs: Sender<Job>,
    place: Place,
}

impl Line {
    fn start(mut store: Store, place: Place) -> Result<Line> {
        let (jobs, todo) = unbounded::<Job>();
        thread::Builder::new().name("books".into()).spawn(move || {
            for job in todo {
                job(&mut store);
            }
        })?;
        Ok(Line { jobs, place })
    }

    /// # Errors
    /// Those of `work`; [`Kind::Lost`] when there is no answer in time.
    fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = bounded(1);
        let place = self.place.clone();
        let job: Job = Box::new(move |store| {
            let done = work(store);
            // What was written into a file that is no longer there is not written.
            let done = if done.is_ok() && !place.is_there() { Err(gone()) } else { done };
            // Nobody may listen any more.
            let _ = answer.send(done);
        });
        let silent = || {
            Error::new(Kind::Lost, "the configuration database does not answer")
                .detail(format!("within {} seconds", patience.as_secs()))
        };
        self.jobs.send(job).map_err(|_| silent())?;
        answered.recv_timeout(patience).map_err(|_| silent())?
    }
}

/// Where the file of the embedded database was when it was opened.
#[derive(Clone)]
struct Place {
    file: Option<(PathBuf, Option<(u64, u64)>)>,
}

impl Place {
    fn of(location: &StoreLocation) -> Place {
        let path = location.home.database();
        let file = location.is_embedded.then(|| (path.clone(), inode(&path)));
        Place { file }
    }

    fn is_there(&self) -> bool {
        self.file.as_ref().is_none_or(|(path, then)| then.is_some() && inode(path) == *then)
    }
}

fn inode(path: &PathBuf) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

fn gone() -> Error {
    Error::new(Kind::Connect, "the configuration database is gone")
}

fn panicked() -> Error {
    Error::new(Kind::Internal, "a thread of the run panicked")
}

/// Whether this error says that the configuration database cannot be asked now: it is down, does
/// not answer, refuses the login, or is locked by another session.
pub fn is_out_of_reach(error: &Error) -> bool {
    matches!(error.kind, Kind::Connect | Kind::Login | Kind::Lost | Kind::Contention)
}
