//! The retry policy of a task: which failures of a table are tried again, how often, and after how
//! long a wait. What kinds of failure may pass by themselves says [`Kind::remedy`], for every task
//! alike.
//!
//! [`Kind::remedy`]: ssync_common::error::Kind::remedy

use std::time::Duration;

use ssync_common::config::Task;
use ssync_common::error::Error;

/// Waits grow up to this; a first wait that is longer stays as it is.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often one table may still be tried, and after how long.
#[derive(Debug)]
pub struct Retries {
    done: u32,
    max: u32,
    wait: Duration,
    wait_max: Duration,
}

impl Retries {
    /// As the task is configured; nothing was tried yet.
    pub fn of(task: &Task) -> Retries {
        let wait = Duration::from_secs(task.retry_wait.secs());
        Retries { done: 0, max: task.retries, wait, wait_max: wait.max(WAIT_MAX) }
    }

    /// After a failed attempt: how long to wait for the next one. `None`: the run has failed.
    pub fn next(&mut self, failure: &Error) -> Option<Duration> {
        if !failure.kind.is_retried() || self.done >= self.max {
            return None;
        }
        self.done += 1;
        let wait = self.wait;
        self.wait = wait.saturating_mul(2).min(self.wait_max);
        Some(wait)
    }

    /// `attempt 2 of 6`, for the attempt that has failed.
    pub fn attempt(&self) -> String {
        format!("attempt {} of {}", self.done, self.max + 1)
    }

    /// An operator's wish that comes while the next attempt is waited for, after this failure: with
    /// both. What has failed before says so in its details.
    pub fn stopped(&self, wish: Error, failure: &Error) -> Error {
        let (next, all) = (self.done + 1, self.max + 1);
        let message = format!(
            "{}, while it waited for attempt {next} of {all}; the last one failed: {failure}",
            wish.message
        );
        let error = Error { message, ..wish }.detail(format!("{}: {failure}", self.attempt()));
        failure.details.iter().fold(error, |error, fact| error.detail(fact.clone()))
    }
}

/// Whether this is an operator's wish that came after an attempt had failed: something to be
/// recorded. One that comes before any attempt has a run is nothing that happened.
pub fn is_after_failure(error: &Error) -> bool {
    error.kind.is_wanted() && !error.details.is_empty()
}

#[cfg(test)]
mod tests {
    use ssync_common::config::Period;
    use ssync_common::error::Kind;

    use super::*;

    fn waits(retries: u32, wait_secs: u64, kind: Kind) -> Vec<u64> {
        let retry_wait = Period::from_secs(wait_secs).unwrap_or(Period::SECOND);
        let task = Task { retries, retry_wait, ..Task::default() };
        let (mut retries, failure) = (Retries::of(&task), Error::new(kind, "x"));
        std::iter::from_fn(|| retries.next(&failure)).map(|wait| wait.as_secs()).collect()
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        assert_eq!(waits(5, 1, Kind::Connect), [1, 2, 4, 8, 16]);
        assert_eq!(waits(8, 1, Kind::Lost), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits(3, 45, Kind::Contention), [45, 60, 60]);
        assert_eq!(waits(2, 300, Kind::Connect), [300, 300]);
        assert_eq!(waits(0, 1, Kind::Connect), [0; 0]);
    }

    #[test]
    fn what_can_not_pass_by_itself_is_not_tried_again() {
        for kind in Kind::ALL {
            assert_eq!(!waits(1, 1, *kind).is_empty(), kind.is_retried(), "{kind:?}");
        }
        assert!(waits(9, 1, Kind::Login).is_empty());
    }
}
