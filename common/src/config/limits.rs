//! Ranges of configured numbers, shared by the reader, the validation and the documents.

use std::ops::RangeInclusive;

/// A range with the words that explain it.
pub struct Limit {
    /// Allowed values.
    pub range: RangeInclusive<u64>,
    /// Allowed values, for people.
    pub words: &'static str,
}

impl Limit {
    const fn new(range: RangeInclusive<u64>, words: &'static str) -> Self {
        Limit { range, words }
    }

    /// What is wrong with `value`; `None` when it is in range.
    pub fn check(&self, value: impl Into<i128>) -> Option<String> {
        let value = value.into();
        let (low, high) = (i128::from(*self.range.start()), i128::from(*self.range.end()));
        (value < low || value > high).then(|| format!("{value} is outside {}", self.words))
    }
}

/// Numbers of schedules and tasks.
pub const ID: Limit = Limit::new(1..=u32::MAX as u64, "1 to 4294967295");
/// [`super::Controller::tasks_max`]; the task table has as many places.
pub const TASKS_MAX: Limit = Limit::new(1..=64, "1 to 64");
/// [`super::Link::max_connections`].
pub const MAX_CONNECTIONS: Limit = Limit::new(1..=10_000, "1 to 10000");
/// [`super::Link::connect_timeout_secs`].
pub const CONNECT_TIMEOUT_SECS: Limit = Limit::new(1..=3600, "1 to 3600");
/// [`super::Link::io_timeout_secs`].
pub const IO_TIMEOUT_SECS: Limit = Limit::new(1..=86_400, "1 to 86400");
/// [`super::Task::writers`].
pub const WRITERS: Limit = Limit::new(1..=super::WRITERS_MAX as u64, "1 to 10");
/// [`super::Task::readers`].
pub const READERS: Limit = Limit::new(1..=super::READERS_MAX as u64, "1 to 10");
/// Rows or bytes a second.
pub const RATE: Limit = Limit::new(1..=i64::MAX as u64, "1 to 9223372036854775807");
/// [`super::Task::batch_rows`].
pub const BATCH_ROWS: Limit = Limit::new(1..=1_000_000, "1 to 1000000");
/// [`super::Task::batch_millis`].
pub const BATCH_MILLIS: Limit = Limit::new(1..=3_600_000, "1 to 3600000");
/// [`super::Task::slot_bytes`].
pub const SLOT_BYTES: Limit =
    Limit::new(64 << 10..=1 << 30, "65536 to 1073741824 (64 KiB to 1 GiB)");
/// [`super::Task::error_limit`].
pub const ERROR_LIMIT: Limit = Limit::new(0..=i64::MAX as u64, "0 to 9223372036854775807");
/// [`super::Receiver::timeout_secs`].
pub const RECEIVER_TIMEOUT_SECS: Limit = Limit::new(1..=300, "1 to 300");
/// [`super::Retention::days`].
pub const RETENTION_DAYS: Limit = Limit::new(1..=36_500, "1 to 36500");
/// Characters of a name.
pub const NAME_CHARS: usize = 64;
