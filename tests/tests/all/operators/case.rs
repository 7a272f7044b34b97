//! What a case of the operators' matrix is made of, all of it from a seed and a number.

use ssync_tests::rng::Rng;
use ssync_tests::servers::oracle::Generation;

/// Software of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    MariaDb,
    MySql56,
    Sqlite,
    Oracle,
}

/// Software of source and destination.
pub type Road = (Software, Software);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `status` into a table without a key: it keeps every version that landed.
    StatusInsert,
    StatusUpsert,
    Truncate,
    Swap,
    IncrementInsert,
    IncrementUpsert,
}

impl Mode {
    pub fn is_status(self) -> bool {
        matches!(self, Mode::StatusInsert | Mode::StatusUpsert)
    }

    pub fn is_full(self) -> bool {
        matches!(self, Mode::Truncate | Mode::Swap)
    }

    pub fn is_increment(self) -> bool {
        matches!(self, Mode::IncrementInsert | Mode::IncrementUpsert)
    }

    pub fn is_upsert(self) -> bool {
        matches!(self, Mode::StatusUpsert | Mode::IncrementUpsert)
    }
}

/// One case: a table, a configuration, and how long the operators are at it.
#[derive(Debug, Clone)]
pub struct Case {
    pub road: Road,
    pub mode: Mode,
    /// Column `v` is encrypted.
    pub encrypted: bool,
    /// Steps of the script.
    pub steps: u64,
    /// Which stand-in it is, where one side is Oracle.
    pub generation: Generation,
}

/// Roads, the frequent ones more than once.
const ROADS: [Road; 13] = {
    use Software::{MariaDb, MySql56, Oracle, Sqlite};
    [
        (MariaDb, MariaDb),
        (MariaDb, MariaDb),
        (MariaDb, MariaDb),
        (Sqlite, Sqlite),
        (Sqlite, Sqlite),
        (MariaDb, Sqlite),
        (MariaDb, Sqlite),
        (Sqlite, MariaDb),
        (Sqlite, MariaDb),
        (MySql56, MariaDb),
        (MySql56, MariaDb),
        (MariaDb, Oracle),
        (Oracle, MariaDb),
    ]
};

const MODES: [Mode; 8] = [
    Mode::StatusInsert,
    Mode::StatusInsert,
    Mode::StatusUpsert,
    Mode::StatusUpsert,
    Mode::Truncate,
    Mode::Swap,
    Mode::IncrementInsert,
    Mode::IncrementUpsert,
];

impl Case {
    /// Draws a case.
    pub fn new(rng: &mut Rng) -> Case {
        let road = *rng.pick(&ROADS);
        let mode = match *rng.pick(&MODES) {
            // Oracle has no way to swap tables in one step.
            Mode::Swap if road.1 == Software::Oracle => Mode::Truncate,
            mode => mode,
        };
        Case {
            road,
            mode,
            encrypted: rng.chance(35),
            steps: rng.between(4, 8),
            generation: *rng.pick(&Generation::ALL),
        }
    }
}

/// Where a process is killed, in about the order of a run; those of a batch by themselves.
const POINTS: [&str; 16] = [
    "run.after_lock",
    "run.after_owner",
    "run.after_intent",
    "run.before_confirm",
    "run.after_fence",
    "recover.after_settle",
    "recover.after_release",
    "run.after_begin",
    "settler.before_mark",
    "settler.after_mark",
    "settler.after_record",
    "run.after_rows",
    "steps.before_swap",
    "run.before_finish",
    "run.after_finish",
    "run.before_unlock",
];
const BATCH_POINTS: [&str; 8] = [
    "reader.after_claim",
    "reader.after_read",
    "writer.mid_load",
    "writer.before_commit",
    "writer.after_commit",
    "writer.before_verdict",
    "settler.before_settle",
    "settler.after_settle",
];

/// A crash point as `SSYNC_FAILPOINTS` has it. Most are in the middle of the rows, where most can
/// be lost.
pub fn crash(rng: &mut Rng) -> String {
    if rng.chance(35) {
        return format!("{}@*=kill-group", rng.pick(&POINTS));
    }
    let point = *rng.pick(&BATCH_POINTS);
    let action = match point.starts_with("writer.") {
        true => *rng.pick(&["kill", "kill-parent", "kill-group", "kill-group"]),
        false => *rng.pick(&["kill", "kill-group"]),
    };
    format!("{point}@{}={action}", rng.between(1, 5))
}
