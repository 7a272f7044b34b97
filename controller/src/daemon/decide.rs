//! Whether a task that is to run may start now: every reason against it, in one place.
//!
//! What is still to come (windows, gates, dependencies) becomes a further line of [`decide`].

use ssync_common::error::Error;
use ssync_common::shm::task_table::SLOTS;
use ssync_common::store::{Hold, HoldKind};

/// What a decision hangs on.
pub struct Facts<'a> {
    /// The daemon is leaving.
    pub is_stopping: bool,
    /// The task is configured, with at least one table.
    pub is_configured: bool,
    /// What holds the whole task.
    pub hold: Option<&'a Hold>,
    /// Who runs it already.
    pub runner: Option<String>,
    /// What is missing for it.
    pub missing: Option<&'a Error>,
    /// Task processes there are.
    pub processes: usize,
    /// Task processes there may be.
    pub processes_max: usize,
    /// Places of the task table that are free: runs in the foreground take them too.
    pub places: usize,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Start it.
    Start,
    /// Leave it out this time, and why.
    Skip(String),
    /// Leave it out: an operator or a failure holds it, and why.
    Held(String),
    /// Leave it out: it cannot be started before its configuration is mended. What is wrong with it.
    Unable(Error),
    /// Ask again soon, and why.
    Wait(String),
}

/// Decides.
pub fn decide(task: u32, facts: &Facts<'_>) -> Verdict {
    if facts.is_stopping {
        return Verdict::Skip("the daemon is stopping".to_owned());
    }
    if !facts.is_configured {
        return Verdict::Skip("the task is not configured any more".to_owned());
    }
    if let Some(hold) = facts.hold {
        return Verdict::Held(hold_words(task, hold));
    }
    if let Some(runner) = &facts.runner {
        return Verdict::Skip(format!("it runs already: {runner}"));
    }
    if let Some(error) = facts.missing {
        return Verdict::Unable(error.clone());
    }
    if facts.processes >= facts.processes_max {
        return Verdict::Wait(format!(
            "{} task processes run, as many as may (tasks_max)",
            facts.processes_max
        ));
    }
    if facts.places == 0 {
        return Verdict::Wait(format!(
            "{SLOTS} runs are under way on this host, as many as there can be; it starts when one \
             of them has ended (ssync status lists them)"
        ));
    }
    Verdict::Start
}

/// A hold, for people.
pub fn hold_words(task: u32, hold: &Hold) -> String {
    let what = match hold.kind {
        HoldKind::Paused => "paused",
        HoldKind::Suspended => "suspended after a failure",
    };
    let why = hold.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"));
    let (whose, which) = match &hold.table {
        None => (String::new(), String::new()),
        Some(table) => (format!("every table of it is held: {table} is "), format!(" {table}")),
    };
    format!(
        "{whose}{what} since {:.0}{why}; ssync resume {task}{which} lets it run again",
        hold.since
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_stands_against_a_start_is_named_the_weightiest_first() {
        let hold = Hold {
            task: 7,
            table: None,
            kind: HoldKind::Suspended,
            since: "2026-01-01T00:00:00Z".parse().unwrap(),
            reason: Some("table orders: disk full".to_owned()),
            error: None,
        };
        let mut facts = Facts {
            is_stopping: false,
            is_configured: true,
            hold: None,
            runner: None,
            missing: None,
            processes: 8,
            processes_max: 8,
            places: 56,
        };
        assert!(matches!(decide(7, &facts), Verdict::Wait(why) if why.starts_with("8 task")));
        facts.runner = Some("process 12".to_owned());
        assert!(matches!(decide(7, &facts), Verdict::Skip(why) if why.ends_with("process 12")));
        let missing = Error::new(ssync_common::error::Kind::Config, "no password is stored");
        let lacking = Facts { missing: Some(&missing), runner: None, ..facts };
        assert_eq!(decide(7, &lacking), Verdict::Unable(missing.clone()));
        facts.hold = Some(&hold);
        let Verdict::Held(why) = decide(7, &facts) else { panic!() };
        assert_eq!(
            why,
            "suspended after a failure since 2026-01-01T00:00:00Z (table orders: disk full); \
             ssync resume 7 lets it run again"
        );
        let of_table = Hold { table: Some("orders".to_owned()), reason: None, ..hold.clone() };
        assert_eq!(
            hold_words(7, &of_table),
            "every table of it is held: orders is suspended after a failure since \
             2026-01-01T00:00:00Z; ssync resume 7 orders lets it run again"
        );
        facts.is_configured = false;
        assert!(matches!(decide(7, &facts), Verdict::Skip(_)));
        facts = Facts { is_configured: true, hold: None, runner: None, processes: 7, ..facts };
        assert_eq!(decide(7, &facts), Verdict::Start);
        facts.places = 0;
        assert!(matches!(decide(7, &facts), Verdict::Wait(why) if why.starts_with("64 runs")));
    }
}
