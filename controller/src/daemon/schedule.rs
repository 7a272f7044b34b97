//! When a schedule fires: a state machine over moments that others read from a clock.
//!
//! [`Plan::look`] is told what time it is and answers what is due. Two firings of a schedule never
//! run at once: one that comes during a run is left out, merged or kept for later, as the
//! schedule's [`Overrun`] says, and every moment that does not become a run of its own is reported
//! as [`Missed`]. No moment is lost without a word: fired, missed and still waiting ones add up
//! to all there were.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use ssync_common::config::Overrun;

use super::timetable::{Secs, Timetable};

/// Most firings that [`Overrun::CatchUp`] keeps for later.
pub const BACKLOG_MAX: usize = 1000;

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the host's clock.
    pub wall: Secs,
    /// Where that clock would be, had nobody set it forward since the last look.
    pub jumped_from: Option<Secs>,
}

/// Firings that will not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The first of them.
    pub first: Secs,
    /// The last of them.
    pub last: Secs,
    /// How many.
    pub count: u64,
    /// Why.
    pub why: Why,
}

/// Why firings were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The last run was still under way.
    Overrun,
    /// One run makes up for them.
    Merged,
    /// The clock was set forward over them.
    ClockSet,
    /// The daemon came too late for them: it was dead, or stopped.
    Late,
    /// Too many wait already.
    BacklogFull,
}

impl Why {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Why::Overrun => "the run before was still under way",
            Why::Merged => "the next run makes up for it",
            Why::ClockSet => "the clock was set forward over it",
            Why::Late => "the daemon was not there in time",
            Why::BacklogFull => "too many firings wait to be made up for",
        }
    }
}

/// One schedule's firings.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    timetable: Timetable,
    overrun: Overrun,
    next: Secs,
    busy: bool,
    backlog: VecDeque<Secs>,
}

impl Plan {
    /// A schedule as a daemon finds it that begins at `now`.
    pub fn new(timetable: Timetable, overrun: Overrun, now: Secs) -> Plan {
        let next = timetable.first(now);
        Plan { timetable, overrun, next, busy: false, backlog: VecDeque::new() }
    }

    /// A schedule as a daemon left it that was killed.
    pub fn resumed(
        timetable: Timetable,
        overrun: Overrun,
        next: Secs,
        backlog: impl IntoIterator<Item = Secs>,
    ) -> Plan {
        let backlog = backlog.into_iter().take(BACKLOG_MAX).collect();
        Plan { timetable, overrun, next, busy: false, backlog }
    }

    /// The next firing.
    pub fn next(&self) -> Secs {
        self.next
    }

    /// Firings that wait for the run under way.
    pub fn backlog(&self) -> impl Iterator<Item = Secs> + '_ {
        self.backlog.iter().copied()
    }

    /// Whether a run is under way.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Its moments.
    pub fn timetable(&self) -> &Timetable {
        &self.timetable
    }

    /// From now on this happens to firings during a run; those that wait stay.
    pub fn set_overrun(&mut self, overrun: Overrun) {
        self.overrun = overrun;
    }

    /// A run is under way that this plan did not begin (a killed daemon's).
    pub fn take_up(&mut self) {
        self.busy = true;
    }

    /// The moment to fire for now, and what is missed. The caller says when the run has ended.
    pub fn look(&mut self, now: Now, missed: &mut Vec<Missed>) -> Option<Secs> {
        self.follow_clock(now.wall);
        if self.next > now.wall {
            // A killed daemon may have left something to be made up for.
            return if self.busy { None } else { self.begin() };
        }
        let (first, latest) = (self.next, self.timetable.latest(self.next, now.wall));
        self.next = self.timetable.after(first, now.wall);
        match now.jumped_from.filter(|from| *from < latest) {
            None => self.arrive(first, latest, missed),
            Some(from) => {
                let mut jumped = first;
                if first <= from {
                    self.arrive(first, self.timetable.latest(first, from), missed);
                    jumped = self.timetable.after(first, from);
                }
                // Of the moments jumped over one counts: no time has passed for the others.
                self.miss_all_but_last(jumped, latest, Why::ClockSet, missed);
                self.arrive(latest, latest, missed);
            }
        }
        if self.busy { None } else { self.begin() }
    }

    /// The run has ended; the moment to fire for at once, if any.
    pub fn ended(&mut self) -> Option<Secs> {
        self.busy = false;
        self.begin()
    }

    fn begin(&mut self) -> Option<Secs> {
        let due = self.backlog.pop_front();
        self.busy = due.is_some();
        due
    }

    /// A clock that was set back by more than a period must not stop the schedule until it has
    /// come round again; one that was set back by less repeats nothing.
    fn follow_clock(&mut self, now: Secs) {
        let waits_for_start = self.timetable.start() == Some(self.next);
        if !waits_for_start && self.next - now > 2 * self.timetable.every() {
            self.next = self.timetable.after(self.next, now);
        }
    }

    /// Moments have come.
    fn arrive(&mut self, first: Secs, latest: Secs, missed: &mut Vec<Missed>) {
        match self.overrun {
            Overrun::CatchUp => self.keep(first, latest, missed),
            Overrun::RunOnce => self.merge(first, latest, Why::Merged, missed),
            Overrun::Skip if self.busy => self.miss(first, latest, Why::Overrun, missed),
            Overrun::Skip => self.merge(first, latest, Why::Late, missed),
        }
    }

    /// The moment before `latest`, not before `first`.
    fn before(&self, first: Secs, latest: Secs) -> Secs {
        self.timetable.latest(first, latest - 1)
    }

    fn miss(&self, first: Secs, last: Secs, why: Why, missed: &mut Vec<Missed>) {
        let count = self.timetable.count(first, last);
        missed.push(Missed { first, last, count, why });
    }

    fn miss_all_but_last(&self, first: Secs, latest: Secs, why: Why, missed: &mut Vec<Missed>) {
        if first < latest {
            self.miss(first, self.before(first, latest), why, missed);
        }
    }

    /// One waiting moment stands for all.
    fn merge(&mut self, first: Secs, latest: Secs, why: Why, missed: &mut Vec<Missed>) {
        for older in std::mem::take(&mut self.backlog) {
            missed.push(Missed { first: older, last: older, count: 1, why });
        }
        self.miss_all_but_last(first, latest, why, missed);
        self.backlog.push_back(latest);
    }

    /// All moments wait, as long as there is room.
    fn keep(&mut self, first: Secs, latest: Secs, missed: &mut Vec<Missed>) {
        for moment in self.timetable.from(first).take_while(|m| *m <= latest) {
            if self.backlog.len() == BACKLOG_MAX {
                return self.miss(moment, latest, Why::BacklogFull, missed);
            }
            self.backlog.push_back(moment);
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
