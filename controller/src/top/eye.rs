//! Where `ssync top` looks: shared memory, and beside it the configuration database.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use serde_json::Value;
use ssync_common::config::TaskNames;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::shm::TaskTable;
use ssync_common::store::{EmptyRuns, RunFilter, Store, StoreLocation};

use super::model::{Books, Model};
use crate::backlog::Backlogs;
use crate::command::holds;
use crate::daemon;
use crate::live::Live;

/// How often holds and runs are read.
const READ_EVERY: Duration = Duration::from_secs(2);
/// Between two readings pass so many times as long as one takes.
const REST: u32 = 20;
/// How often the configuration is read: it changes when somebody applies another one.
const CONFIG_EVERY: Duration = Duration::from_secs(15);
/// Runs read, the newest of all tasks.
const RUNS: u64 = 200;
/// What a pause says when nobody else says why.
const REASON: &str = "paused in ssync top";

/// Looks at shared memory.
pub struct Eye {
    home: PathBuf,
    table: Option<TaskTable>,
}

impl Eye {
    /// At that of `home`.
    pub fn new(home: PathBuf) -> Eye {
        Eye { home, table: None }
    }

    /// A look; the text says why there is none.
    pub fn look(&mut self) -> Result<Live, String> {
        // Without a daemon the table goes with the last run and comes with the next.
        if self.table.as_ref().is_none_or(|t| !t.is_linked()) {
            if !self.home.exists() {
                return Live::of(None).map_err(|e| e.message);
            }
            self.table = TaskTable::open(&self.home).map_err(|e| e.message)?;
        }
        Live::of(self.table.as_ref()).map_err(|e| e.message)
    }

    /// The parameters that the task's process has published.
    pub fn params(&self, model: &Model, id: u32) -> Option<Value> {
        let slot = model.live.as_ref().ok()?.task(id)?.slot;
        self.table.as_ref()?.params(slot).ok()?
    }
}

/// What the configuration database is asked for besides being read.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// Pause a task.
    Pause(u32),
    /// Let it run again.
    Resume(u32),
}

/// What comes from it.
#[derive(Debug)]
pub enum Told {
    /// What it says, or why it does not.
    Books(Result<Books, String>),
    /// What came of a request.
    Answer(String),
}

/// Reads the configuration database in a thread of its own.
pub struct BooksReader {
    asks: Sender<Ask>,
    told: Receiver<Told>,
}

impl BooksReader {
    /// Starts the thread. It ends with the process.
    pub fn start(location: StoreLocation) -> Result<BooksReader> {
        let (asks, to_do) = unbounded();
        let (tell, told) = unbounded();
        std::thread::Builder::new().name("books".into()).spawn(move || {
            Reading { location, store: None, books: Books::default(), config_read: None }
                .run(&to_do, &tell);
        })?;
        Ok(BooksReader { asks, told })
    }

    /// The next thing told, if there is one.
    ///
    /// # Errors
    /// When the thread has gone, which is a bug.
    pub fn told(&self) -> Result<Option<Told>> {
        match self.told.try_recv() {
            Ok(told) => Ok(Some(told)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err(Error::new(Kind::Internal, "the reader of the configuration database is gone"))
            }
        }
    }

    /// Asks; the answer comes later.
    pub fn ask(&self, ask: Ask) {
        // A reader that is gone is found out by `told`.
        let _ = self.asks.send(ask);
    }
}

struct Reading {
    location: StoreLocation,
    store: Option<Store>,
    books: Books,
    config_read: Option<Instant>,
}

impl Reading {
    fn run(mut self, asks: &Receiver<Ask>, tell: &Sender<Told>) {
        loop {
            let began = Instant::now();
            let books = self.read().map(|()| self.books.clone()).map_err(|e| e.message);
            if books.is_err() {
                // Opened anew next time.
                self.store = None;
            }
            if tell.send(Told::Books(books)).is_err() {
                return;
            }
            // A large or slow database is asked less often.
            match asks.recv_timeout(READ_EVERY.max(began.elapsed() * REST)) {
                Ok(ask) => {
                    let answer = self.answer(ask).unwrap_or_else(|e| e.message);
                    if tell.send(Told::Answer(answer)).is_err() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn store(&mut self) -> Result<&mut Store> {
        match &mut self.store {
            Some(store) => Ok(store),
            none => Ok(none.insert(Store::open(&self.location)?)),
        }
    }

    fn read(&mut self) -> Result<()> {
        if self.config_read.is_none_or(|at| at.elapsed() >= CONFIG_EVERY) {
            self.books.tasks = self.store()?.load()?.tasks;
            self.config_read = Some(Instant::now());
        }
        self.books.holds = self.store()?.holds(None)?;
        let filter = RunFilter { limit: Some(RUNS), ..RunFilter::default() };
        self.books.runs = self.store()?.runs(&filter)?;
        let empty = self.store()?.empty_runs(&filter)?;
        self.books.empty = empty.into_iter().map(EmptyRuns::last_run).collect();
        self.books.backlogs = Backlogs::read(self.location.home.path());
        Ok(())
    }

    fn answer(&mut self, ask: Ask) -> Result<String> {
        let names = TaskNames::of(&self.books.tasks);
        let store = self.store()?;
        let said = match ask {
            Ask::Pause(task) => match holds::hold(store, task, &[None], Some(REASON))?.first() {
                Some((true, _)) => {
                    format!("task {} is paused; r lets it run again", names.label(task))
                }
                _ => format!("task {} was held already", names.label(task)),
            },
            Ask::Resume(task) => match store.resume_all(task, &[None])?.0.as_slice() {
                [Some(_)] => format!("task {} may run again", names.label(task)),
                _ => format!("task {} was not held", names.label(task)),
            },
        };
        daemon::command::poke(store.home());
        Ok(said)
    }
}
