//! `[controller]` and `[[schedule]]`: the daemon, and when tasks fire.

use serde::{Deserialize, Serialize};

use super::option::section;
use super::option_types::words;
use super::time::{Moment, Period};

section! {
    /// How the daemon works.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Controller in "[controller]" {
        /// Task processes at once. Further ones wait for their turn, and `ssync explain` says so.
        // The task table has as many places.
        tasks_max: u32 = default(|| 8).range(1, 64).shown();

        /// How often the daemon reads the configuration again by itself. `ssync reload` and
        /// SIGHUP make it do so at once.
        reread: Period = default(|| Period::HOUR).shown();

        /// A task process of the daemon's that has made no progress at all for so long is ended, and
        /// people are told. What has landed stays, by the ledger; the next run sends the rest. A
        /// task that waits for connections is left waiting. (The first limit, which only alarms, is
        /// `progress_deadline` of `[monitor]`.)
        kill_after: Period = default(|| Period::HOUR).shown();
    }
}

/// What a failure does (A14, A16).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Part of the business flow: a failed task is suspended until an operator resumes it.
    Realtime,
    /// Backup and statistics: the next firing tries again.
    #[default]
    Timed,
}

/// What becomes of firings that come while the schedule's last run is still under way. Never do
/// two run at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overrun {
    /// They are left out.
    #[default]
    Skip,
    /// One run makes up for all of them, as soon as the last one has ended.
    RunOnce,
    /// Each is made up for, one after the other.
    CatchUp,
}

words! {
    ScheduleKind { "realtime" = Realtime, "timed" = Timed }
    Overrun { "skip" = Skip, "run_once" = RunOnce, "catch_up" = CatchUp }
}

section! {
    /// When tasks fire.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Schedule in "[[schedule]]" {
        /// Number, unique.
        id: u32 = required().range(1, u32::MAX as u64).names_entry("0").column("schedule_id");

        /// Frequency, at least one second. The next firing is always the last one plus this, however
        /// long a run took.
        every: Period = required().column("every_secs").about("Frequency in seconds.");

        /// First firing: RFC 3339 with its offset, whole seconds. One that has passed still says on
        /// which moments firings fall: `start`, `start` + `every` and so on.
        start: Option<Moment> = unset()
            .default_words("now + `every`")
            .column("start_at")
            .about(
                "First firing, RFC 3339 with offset, as configured; NULL: one period after the \
                 start.",
            );

        /// A time zone such as `"Europe/Berlin"`. Firings then keep `start`'s time of day on that
        /// zone's clock, in summer and in winter; only with `start`, and an `every` of whole days.
        zone: Option<String> = unset()
            .column("zone")
            .short()
            .about("Time zone that firings follow; NULL: none.")
            .since(3);

        /// What a failure does. `"realtime"`, part of the business flow: the task is suspended until
        /// `ssync resume`. `"timed"`, for backup and statistics: the next firing tries again.
        kind: ScheduleKind = unset()
            .shown()
            .column("schedule_kind")
            .about("`realtime` or `timed`: what a failure does.");

        /// What becomes of firings that come while the last run is still under way; two never run at
        /// once. `"skip"`: they are left out. `"run_once"`: one run, right after the last, makes up
        /// for all of them. `"catch_up"`: each is made up for, one after the other, up to 1000 of
        /// them.
        overrun: Overrun = unset()
            .column("overrun")
            .about("Firings during a run: `skip`, `run_once`, `catch_up`.")
            .since(3);
    }
}

impl Schedule {
    /// Whether it fires more often than once a minute.
    pub fn fires_often(&self) -> bool {
        self.every.secs() < 60
    }
}
