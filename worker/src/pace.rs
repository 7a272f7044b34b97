//! How fast a run goes: no faster than it may, and not at all while a database asks to be left
//! alone.
//!
//! Readers pay for what they have read, and wait until the debt is worn off; limits that an operator
//! changes meanwhile count from then on. A limit of a link is for all runs of this host that use it:
//! each takes an equal part.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use ssync_common::config::{Rate, Rates, Throttle};
use ssync_common::connector::LinkParams;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::value::Value;

use crate::idle::{Borrowed, Connections};

/// How often somebody who waits looks whether he still has to.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a throttle's query is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The pace of one table's run, shared by its threads.
#[derive(Default)]
pub struct Pace {
    state: Mutex<State>,
    /// A thread waits because of this.
    waits: AtomicBool,
    /// Time waited, all threads together.
    waited_micros: AtomicU64,
}

#[derive(Default)]
struct State {
    rate: Rate,
    /// Read, and not worn off yet.
    rows_owed: f64,
    bytes_owed: f64,
    /// When that was worn off last.
    at: Option<Instant>,
    /// Throttles that hold the run at the moment.
    held_by: usize,
    failure: Option<Error>,
}

impl Pace {
    /// The limits from now on. `shares` are the runs that share the source's and the destination's.
    pub fn set(&self, rates: &Rates, shares: (u64, u64)) {
        let part = |limit: Option<u64>, runs: u64| limit.map(|n| (n / runs.max(1)).max(1));
        let least = |of: fn(Rate) -> Option<u64>| {
            let all =
                [of(rates.task), part(of(rates.source), shares.0), part(of(rates.dest), shares.1)];
            all.into_iter().flatten().min()
        };
        let mut state = self.lock();
        state.wear_off();
        state.rate = Rate { rows: least(|r| r.rows), bytes: least(|r| r.bytes) };
    }

    /// Holds the run until a brake lets it go.
    pub fn hold(&self) {
        self.lock().held_by += 1;
    }

    /// Rows that make about a second, of at most so many.
    pub fn batch_rows(&self, most: u64) -> u64 {
        self.lock().rate.rows.map_or(most, |rows| rows.clamp(1, most))
    }

    /// What has been read.
    pub fn spend(&self, rows: u64, bytes: u64) {
        let mut state = self.lock();
        state.wear_off();
        state.rows_owed += rows as f64;
        state.bytes_owed += bytes as f64;
    }

    /// Waits until more may be read, or the run is to end; `false` when that takes longer than
    /// `most`.
    ///
    /// # Errors
    /// When a throttle's query fails.
    pub fn wait(&self, stop: &AtomicBool, most: Option<Duration>) -> Result<bool> {
        let began = Instant::now();
        let mut result = Ok(true);
        loop {
            if most.is_some_and(|most| began.elapsed() > most) {
                result = Ok(false);
                break;
            }
            let due = {
                let mut state = self.lock();
                if let Some(e) = &state.failure {
                    result = Err(e.clone());
                    break;
                }
                state.wear_off();
                state.due()
            };
            let Some(due) = due.filter(|_| !stop.load(Ordering::Relaxed)) else { break };
            self.waits.store(true, Ordering::Relaxed);
            thread::sleep(due.min(LOOK_EVERY));
        }
        if self.waits.swap(false, Ordering::Relaxed) {
            let waited = began.elapsed().as_micros() as u64;
            self.waited_micros.fetch_add(waited, Ordering::Relaxed);
        }
        result
    }

    /// Whether a thread waits at the moment.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Time waited, all threads together, in microseconds.
    pub fn waited_micros(&self) -> u64 {
        self.waited_micros.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wear_off(&mut self) {
        let now = Instant::now();
        let seconds = self.at.replace(now).map_or(0.0, |at| (now - at).as_secs_f64());
        let left = |owed: f64, rate: Option<u64>| match rate {
            Some(rate) => (owed - rate as f64 * seconds).max(0.0),
            None => 0.0,
        };
        self.rows_owed = left(self.rows_owed, self.rate.rows);
        self.bytes_owed = left(self.bytes_owed, self.rate.bytes);
    }

    /// How long it takes until nothing is owed; `None` when nothing is.
    fn due(&self) -> Option<Duration> {
        if self.held_by > 0 {
            return Some(LOOK_EVERY);
        }
        let seconds = |owed: f64, rate: Option<u64>| rate.map_or(0.0, |rate| owed / rate as f64);
        let due =
            seconds(self.rows_owed, self.rate.rows).max(seconds(self.bytes_owed, self.rate.bytes));
        (due > 0.0).then(|| Duration::try_from_secs_f64(due).unwrap_or(LOOK_EVERY))
    }
}

/// One link's throttle at work: it asks, on a connection that its run does not need meanwhile.
pub struct Brake<'a> {
    pub throttle: &'a Throttle,
    pub link: &'a LinkParams,
    pub conn: &'a mut Borrowed,
    pub connections: &'a Connections,
    pub pace: &'a Pace,
}

impl Brake<'_> {
    /// Asks until `ended` is disconnected. The run has been held ([`Pace::hold`]) until the first
    /// answer.
    pub fn run(mut self, ended: &Receiver<()>) {
        let mut holds = true;
        loop {
            match self.ask() {
                Ok(above) => {
                    if above != holds {
                        let what = if above { "waits" } else { "goes on" };
                        log::info!(
                            "link {}: the throttle's query says: the run {what}",
                            self.link.name
                        );
                    }
                    let mut state = self.pace.lock();
                    match (holds, above) {
                        (false, true) => state.held_by += 1,
                        (true, false) => state.held_by -= 1,
                        _ => {}
                    }
                    holds = above;
                }
                Err(e) => {
                    self.pace.lock().failure = Some(e);
                    break;
                }
            }
            if ended.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        if holds {
            self.pace.lock().held_by -= 1;
        }
    }

    /// Whether the run is to wait.
    fn ask(&mut self) -> Result<bool> {
        let asked = match self.conn.query(&self.throttle.query, &[]) {
            Err(e) if e.kind == Kind::Lost => {
                *self.conn = self.connections.take(self.link)?;
                self.conn.query(&self.throttle.query, &[])
            }
            other => other,
        };
        let told =
            |e: Error| e.context(format_args!("link {}: the throttle's query", self.link.name));
        let rows = asked.map_err(told)?;
        let value = match rows.as_slice() {
            [row] if row.len() == 1 => number(&row[0]),
            _ => None,
        };
        match value {
            Some(Some(n)) => Ok(n > self.throttle.above as f64),
            // Of a replica that does not replicate, nobody knows how far it lags.
            Some(None) => Ok(true),
            None => Err(Error::new(
                Kind::Config,
                format!("link {}: the throttle's query does not give one number", self.link.name),
            )
            .hint("It must give one row of one column: a number, or NULL.")),
        }
    }
}

/// The number that a value is, in it `None` for NULL; `None` for what is no number.
fn number(value: &Value) -> Option<Option<f64>> {
    match value {
        Value::Null => Some(None),
        Value::Int(n) => Some(Some(*n as f64)),
        Value::UInt(n) => Some(Some(*n as f64)),
        Value::Float(n) => Some(Some(*n)),
        Value::Decimal(text) | Value::Text(text) => text.trim().parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rate(rows: u64, bytes: u64) -> Rate {
        Rate { rows: Some(rows), bytes: Some(bytes) }
    }

    #[test]
    fn the_narrowest_limit_counts_and_links_are_shared() {
        let pace = Pace::default();
        assert_eq!(pace.batch_rows(10_000), 10_000);
        let rates =
            Rates { task: rate(900, 5_000), source: rate(1_000, 9_000), dest: Rate::default() };
        pace.set(&rates, (1, 9));
        assert_eq!(pace.lock().rate, rate(900, 5_000));
        pace.set(&rates, (4, 9));
        assert_eq!(pace.lock().rate, rate(250, 2_250));
        assert_eq!((pace.batch_rows(10_000), pace.batch_rows(100)), (250, 100));
    }

    #[test]
    fn what_is_owed_is_waited_for_unless_the_limit_falls() {
        let (pace, stop) = (Pace::default(), AtomicBool::new(false));
        pace.spend(1_000_000, 1_000_000);
        pace.wait(&stop, None).unwrap();
        assert_eq!(pace.waited_micros(), 0);
        pace.set(&Rates { task: rate(10, u64::MAX), ..Rates::default() }, (1, 1));
        pace.spend(1_000_000, 0);
        let due = pace.lock().due().unwrap();
        assert!(due > Duration::from_secs(90_000), "{due:?}");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.wait(&stop, None));
            while !pace.waits() {
                thread::yield_now();
            }
            pace.set(&Rates::default(), (1, 1));
            waiting.join().unwrap().unwrap();
        });
        assert!(pace.waited_micros() > 0);
        // And whoever is to end does not wait.
        pace.set(&Rates { task: rate(1, 1), ..Rates::default() }, (1, 1));
        pace.spend(1_000_000, 0);
        stop.store(true, Ordering::Relaxed);
        pace.wait(&stop, None).unwrap();
    }
}
