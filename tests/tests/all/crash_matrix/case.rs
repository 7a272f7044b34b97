//! What a case of the crash matrix is made of, all of it from a seed and a number.

use ssync_tests::rng::Rng;
use ssync_tests::servers::oracle::Generation;

/// Software of source and destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    MariaToMaria,
    SqliteToMaria,
    MariaToSqlite,
    SqliteToSqlite,
    MariaToOracle,
    OracleToMaria,
}

impl Pair {
    pub fn source_is_oracle(self) -> bool {
        self == Pair::OracleToMaria
    }

    pub fn dest_is_oracle(self) -> bool {
        self == Pair::MariaToOracle
    }

    pub fn has_oracle(self) -> bool {
        self.source_is_oracle() || self.dest_is_oracle()
    }

    pub fn source_is_sqlite(self) -> bool {
        matches!(self, Pair::SqliteToMaria | Pair::SqliteToSqlite)
    }

    pub fn dest_is_sqlite(self) -> bool {
        matches!(self, Pair::MariaToSqlite | Pair::SqliteToSqlite)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Status,
    Truncate,
    Swap,
    Increment,
}

impl Mode {
    pub fn is_full(self) -> bool {
        matches!(self, Mode::Truncate | Mode::Swap)
    }
}

/// What identifies a source row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Int,
    Composite,
    Text,
    Bytes,
    Decimal,
    Time,
    /// Nothing (`full` only).
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Kill,
    KillParent,
    KillGroup,
    /// The process waits while the test kills the destination's server.
    KillDest,
    /// The process waits while the test kills the source's server.
    KillSource,
}

impl Action {
    pub fn word(self) -> &'static str {
        match self {
            Action::Kill => "kill",
            Action::KillParent => "kill-parent",
            Action::KillGroup => "kill-group",
            Action::KillDest | Action::KillSource => "pause",
        }
    }

    pub fn kills_server(self) -> bool {
        matches!(self, Action::KillDest | Action::KillSource)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub point: &'static str,
    /// `None`: whichever batch comes first.
    pub batch: Option<u64>,
    pub action: Action,
}

impl Fault {
    pub fn batch_text(&self) -> String {
        self.batch.map_or_else(|| "*".to_owned(), |n| n.to_string())
    }

    pub fn spec(&self) -> String {
        format!("{}@{}={}", self.point, self.batch_text(), self.action.word())
    }
}

/// Who comes to a point, and what has to be so that anybody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Rows that carry their state.
    Status,
    Swap,
    /// Steps at the destination.
    Statements,
    /// SQL before and after.
    Steps,
    /// Something for recovery to settle: a crash after a commit.
    Landed,
    /// Something for recovery to put back.
    Claimed,
    /// A writer that died.
    DeadWriter,
}

struct Point {
    name: &'static str,
    in_writer: bool,
    per_batch: bool,
    needs: Needs,
}

const fn task(name: &'static str, needs: Needs) -> Point {
    Point { name, in_writer: false, per_batch: false, needs }
}

const fn batch(name: &'static str, needs: Needs) -> Point {
    Point { name, in_writer: false, per_batch: true, needs }
}

const fn writer(name: &'static str) -> Point {
    Point { name, in_writer: true, per_batch: true, needs: Needs::Nothing }
}

/// Every named step, in about the order of a run.
const POINTS: &[Point] = &[
    task("run.after_lock", Needs::Nothing),
    task("run.after_owner", Needs::Nothing),
    task("run.after_fence", Needs::Nothing),
    task("recover.after_settle", Needs::Landed),
    task("recover.after_release", Needs::Claimed),
    task("run.after_recover", Needs::Nothing),
    task("run.after_begin", Needs::Nothing),
    task("steps.source", Needs::Steps),
    task("steps.before", Needs::Steps),
    batch("reader.before_claim", Needs::Status),
    batch("reader.after_claim", Needs::Status),
    batch("reader.after_read", Needs::Nothing),
    batch("reader.after_fill", Needs::Nothing),
    writer("writer.started"),
    writer("writer.got_batch"),
    writer("writer.before_fence"),
    writer("writer.after_ledger"),
    writer("writer.mid_load"),
    writer("writer.before_commit"),
    writer("writer.after_commit"),
    writer("writer.before_verdict"),
    task("stream.before_resolve", Needs::DeadWriter),
    task("stream.after_raise", Needs::DeadWriter),
    task("settler.after_record", Needs::Status),
    batch("settler.before_settle", Needs::Nothing),
    batch("settler.after_settle", Needs::Nothing),
    task("settler.before_mark", Needs::Status),
    task("settler.after_mark", Needs::Status),
    task("run.after_rows", Needs::Nothing),
    task("steps.before_swap", Needs::Swap),
    task("steps.after_swap", Needs::Swap),
    batch("steps.statement", Needs::Statements),
    task("steps.source_after", Needs::Steps),
    task("steps.after", Needs::Steps),
    task("run.before_finish", Needs::Nothing),
    task("run.after_finish", Needs::Nothing),
    task("run.before_release", Needs::Nothing),
    task("run.before_unlock", Needs::Nothing),
];

/// Names of all points.
pub fn point_names() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|p| p.name)
}

/// One case: a table, a configuration, and what goes wrong.
#[derive(Debug, Clone)]
pub struct Case {
    pub pair: Pair,
    pub mode: Mode,
    pub upsert: bool,
    pub key: Key,
    pub dest_keyed: bool,
    /// `sync_status` has an index.
    pub indexed: bool,
    pub filtered: bool,
    /// SQL before and after on both sides.
    pub steps: bool,
    pub rows: u64,
    pub batch_rows: u64,
    /// 1: batches never get done in time, and their size changes all the while.
    pub batch_millis: u64,
    pub writers: u64,
    /// Threads that read side by side.
    pub readers: u64,
    pub faults: Vec<Fault>,
    /// Which stand-in it is, where one side is Oracle.
    pub generation: Generation,
    /// What goes wrong at the stand-in, in its words.
    pub oracle_fault: Option<String>,
    /// A killed server comes back only after the process has gone on.
    pub server_late: bool,
}

impl Case {
    /// Case `number` of `seed`. `servers`: one that kills servers.
    pub fn new(seed: u64, number: u64, servers: bool) -> Case {
        let rng = &mut Rng::new(seed, number * 2 + u64::from(servers));
        // Points take turns; what is chance is the table around them.
        let point = &POINTS[number as usize % POINTS.len()];
        loop {
            let mut case = Case::table(rng, servers);
            if case.suits(point) {
                case.add_faults(rng, point, servers);
                return case;
            }
        }
    }

    fn table(rng: &mut Rng, servers: bool) -> Case {
        use Pair::{
            MariaToMaria, MariaToOracle, MariaToSqlite, OracleToMaria, SqliteToMaria,
            SqliteToSqlite,
        };
        let pair = match servers {
            true => *rng.pick(&[MariaToMaria, MariaToMaria, SqliteToMaria, MariaToSqlite]),
            false => *rng.pick(&[
                MariaToMaria,
                MariaToMaria,
                MariaToMaria,
                SqliteToMaria,
                MariaToSqlite,
                SqliteToSqlite,
                MariaToOracle,
                OracleToMaria,
            ]),
        };
        let mode = *rng.pick(&[
            Mode::Status,
            Mode::Status,
            Mode::Status,
            Mode::Truncate,
            Mode::Swap,
            Mode::Increment,
        ]);
        let mut keys = vec![Key::Int, Key::Composite, Key::Text, Key::Bytes];
        if !pair.source_is_sqlite() {
            keys.extend([Key::Decimal, Key::Time]);
        }
        if mode.is_full() {
            keys.push(Key::None);
        }
        // Oracle has no way to swap tables in one step.
        let mode = match mode {
            Mode::Swap if pair.dest_is_oracle() => Mode::Truncate,
            mode => mode,
        };
        let key = *rng.pick(&keys);
        let upsert = !mode.is_full() && rng.chance(50);
        let rows = rng.between(60, 600);
        let batches = rng.between(5, 20);
        Case {
            pair,
            mode,
            upsert,
            key,
            dest_keyed: upsert || key != Key::None && rng.chance(50),
            indexed: rng.chance(50),
            filtered: rng.chance(20),
            steps: rng.chance(25),
            rows,
            batch_rows: rows.div_ceil(batches),
            batch_millis: *rng.pick(&[1000, 1000, 1]),
            writers: rng.between(1, 4),
            readers: rng.between(1, 3),
            faults: Vec::new(),
            generation: *rng.pick(&Generation::ALL),
            oracle_fault: None,
            server_late: rng.chance(50),
        }
    }

    fn suits(&self, point: &Point) -> bool {
        match point.needs {
            Needs::Nothing | Needs::DeadWriter => true,
            Needs::Status | Needs::Landed | Needs::Claimed => self.mode == Mode::Status,
            Needs::Statements => self.steps || self.mode.is_full(),
            Needs::Swap => self.mode == Mode::Swap,
            Needs::Steps => self.steps,
        }
    }

    /// The number of the batch, statement or step at which a point is to act.
    fn number(&self, rng: &mut Rng, point: &Point) -> Option<u64> {
        let most = match point.name {
            "writer.started" => return None,
            "steps.statement" if self.mode == Mode::Swap => 3,
            "steps.statement" => 1,
            _ => self.batches(),
        };
        point.per_batch.then(|| rng.between(1, most))
    }

    fn batches(&self) -> u64 {
        // A filter leaves about half of the rows.
        let rows = if self.filtered { self.rows / 4 } else { self.rows };
        (rows / self.batch_rows).max(1)
    }

    fn add_faults(&mut self, rng: &mut Rng, point: &Point, servers: bool) {
        let writer_action =
            |rng: &mut Rng| *rng.pick(&[Action::Kill, Action::KillParent, Action::KillGroup]);
        let first = |rng: &mut Rng, name, action| {
            let batch = Some(rng.between(1, self.batches()));
            Fault { point: name, batch, action }
        };
        let mut faults = Vec::new();
        match point.needs {
            Needs::Landed => faults.push(first(rng, "writer.after_commit", Action::KillParent)),
            Needs::Claimed => faults.push(first(rng, "reader.after_claim", Action::Kill)),
            Needs::DeadWriter => {
                let at =
                    *rng.pick(&["writer.mid_load", "writer.before_commit", "writer.after_commit"]);
                faults.push(first(rng, at, Action::Kill));
            }
            _ => {}
        }
        let action = match (servers, self.pair) {
            (true, Pair::SqliteToMaria) => Action::KillDest,
            (true, Pair::MariaToSqlite) => Action::KillSource,
            (true, _) => *rng.pick(&[Action::KillDest, Action::KillSource]),
            (false, _) if point.in_writer => writer_action(rng),
            (false, _) => *rng.pick(&[Action::Kill, Action::KillGroup]),
        };
        let batch = self.number(rng, point);
        faults.push(Fault { point: point.name, batch, action });
        if rng.chance(35) {
            // Something else goes wrong on the way back.
            let others: Vec<_> =
                POINTS.iter().filter(|p| self.suits(p) && p.name != point.name).collect();
            let other = *rng.pick(&others);
            let action = match other.in_writer {
                true => writer_action(rng),
                false => *rng.pick(&[Action::Kill, Action::KillGroup]),
            };
            let batch = self.number(rng, other);
            if !faults.iter().any(|f| f.point == other.name) {
                faults.push(Fault { point: other.name, batch, action });
            }
        }
        self.faults = faults;
        if self.pair.has_oracle() && rng.chance(50) {
            self.oracle_fault = Some(self.fault_at_oracle(rng));
        }
    }

    /// A connection that breaks, or an error, at a statement or commit by chance. What waits for
    /// a statement that never comes does not strike.
    fn fault_at_oracle(&self, rng: &mut Rng) -> String {
        let effect = *rng.pick(&["drop-before", "drop-after", "drop-answered", "error=3113"]);
        let nth = rng.between(1, self.batches().max(4));
        let table = if self.pair.dest_is_oracle() { "DST" } else { "SRC" };
        match rng.below(4) {
            0 => format!("connect drop-before nth={}", rng.between(2, 4)),
            1 => {
                let effect = *rng.pick(&["drop-before", "drop-after", "drop-answered"]);
                format!("commit {effect} nth={}", nth + 2)
            }
            _ => format!("execute {effect} nth={nth} sql=\"{table}\""),
        }
    }

    pub fn failpoints(&self) -> String {
        self.faults.iter().map(Fault::spec).collect::<Vec<_>>().join(";")
    }
}
