//! What is timed, and the timing.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::arena::{Arena, COPY, DEST, SOURCE_STATUS, client, load_command};
use super::watch::{self, Tree, Watch};

/// One way to fill the destination table.
pub trait Contender {
    /// Its name in tables.
    fn name(&self) -> String;

    /// Brings source and destination into their initial state.
    fn prepare(&mut self, arena: &Arena);

    /// The processes that do it, not yet started.
    fn commands(&mut self, arena: &Arena) -> Vec<Command>;

    /// Whether encrypted columns arrive sealed.
    fn seals(&self) -> bool {
        false
    }

    /// The table at the destination that holds its rows in the end.
    fn table(&self) -> &'static str {
        DEST
    }

    /// Timed rounds that it takes part in at the most: the first ones.
    fn rounds_max(&self) -> usize {
        usize::MAX
    }

    /// Whether the others go on, and the report says so, when it fails or its rows differ.
    fn may_fail(&self) -> bool {
        false
    }

    /// Looks at what the first process printed, and at anything else that must hold; facts for
    /// the record.
    fn conclude(&mut self, _arena: &Arena, _printed: &str) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// What one run took.
#[derive(Debug, Clone)]
pub struct Run {
    /// From the start of the first process to the end of the last.
    pub wall_secs: f64,
    /// Processor time of all client processes.
    pub client_cpu_secs: f64,
    /// Processor time of the source server meanwhile.
    pub source_cpu_secs: f64,
    /// Processor time of the destination server meanwhile.
    pub dest_cpu_secs: f64,
    /// Processor time of everything else on the machine, the watch included: how quiet it was.
    pub other_cpu_secs: f64,
    /// Processor time that a hypervisor took away.
    pub stolen_secs: f64,
    /// The client processes.
    pub tree: Tree,
    /// What the contender says of itself.
    pub facts: serde_json::Value,
}

/// Prepares, waits for both servers to rest, and times one run; `memory` also looks at memory,
/// which costs time.
pub fn run(contender: &mut dyn Contender, arena: &Arena, memory: bool) -> Run {
    contender.prepare(arena);
    arena.rest();
    let commands = contender.commands(arena);
    let servers = [arena.source.pid(), arena.dest.pid()];
    let used = || servers.map(|pid| watch::cpu_secs(pid).expect("the server runs"));
    let (before, machine, children) =
        (used(), watch::machine_cpu_secs(), watch::children_cpu_secs());
    let began = Instant::now();
    let mut running: Vec<Child> = commands
        .into_iter()
        .enumerate()
        .map(|(i, mut c)| {
            let out = if i == 0 { Stdio::piped() } else { Stdio::null() };
            c.stdout(out).spawn().unwrap_or_else(|e| panic!("{c:?}: {e}"))
        })
        .collect();
    let watch = Watch::start(running.iter().map(Child::id).collect(), memory);
    let first = running.remove(0).wait_with_output().unwrap();
    let others: Vec<_> = running.iter_mut().map(|c| c.wait().unwrap()).collect();
    let wall_secs = began.elapsed().as_secs_f64();
    let tree = watch.stop();
    let (after, machine_after) = (used(), watch::machine_cpu_secs());
    let client_cpu_secs = watch::children_cpu_secs() - children;
    let printed = String::from_utf8(first.stdout).unwrap();
    for status in others.iter().chain([&first.status]) {
        assert!(status.success(), "{}: {status}\n{printed}", contender.name());
    }
    let (source_cpu_secs, dest_cpu_secs) = (after[0] - before[0], after[1] - before[1]);
    let machine_cpu_secs = machine_after.0 - machine.0;
    let facts = contender.conclude(arena, &printed);
    Run {
        wall_secs,
        client_cpu_secs,
        source_cpu_secs,
        dest_cpu_secs,
        other_cpu_secs: machine_cpu_secs - client_cpu_secs - source_cpu_secs - dest_cpu_secs,
        stolen_secs: machine_after.1 - machine.1,
        tree,
        facts,
    }
}

/// `LOAD DATA LOCAL` from ready-made files, which hold plain values.
pub struct LoadData {
    /// Connections, each with an equal share of the files.
    pub connections: usize,
}

impl Contender for LoadData {
    fn name(&self) -> String {
        let s = if self.connections == 1 { "" } else { "s" };
        format!("LOAD DATA, {} connection{s}", self.connections)
    }

    fn prepare(&mut self, arena: &Arena) {
        arena.prepare_dest(false);
    }

    fn commands(&mut self, arena: &Arena) -> Vec<Command> {
        let paths = &arena.files;
        paths
            .chunks(paths.len().div_ceil(self.connections))
            .map(|share| load_command(arena, &arena.dest, DEST, share))
            .collect()
    }
}

/// `LOAD DATA` as [`LoadData`], while the source is told in statements of its own what `status` tells
/// it: that rows are under way, and that they are done. No tool that keeps a row's state at its
/// source can do with less.
pub struct LoadDataAndUpdates {
    /// The load.
    pub load: LoadData,
}

impl Contender for LoadDataAndUpdates {
    fn name(&self) -> String {
        format!("{}, and the two updates", self.load.name())
    }

    fn prepare(&mut self, arena: &Arena) {
        self.load.prepare(arena);
        arena.reset_status();
    }

    fn commands(&mut self, arena: &Arena) -> Vec<Command> {
        /// Rows of a batch of ssync.
        const ROWS: u64 = 10_000;
        let update = |from: u64, state: u8| {
            format!(
                "UPDATE {SOURCE_STATUS} SET sync_status = {} WHERE id BETWEEN {from} AND {} AND \
                 sync_status = {state};",
                state + 1,
                from + ROWS - 1
            )
        };
        let starts = (1..=arena.workload.rows()).step_by(ROWS as usize);
        let updates: String = starts.map(|from| update(from, 0) + &update(from, 1)).collect();
        let mut commands = self.load.commands(arena);
        commands.push(client(&arena.source, &updates));
        commands
    }
}

/// `INSERT … SELECT` inside the destination server.
pub struct InsertSelect;

impl Contender for InsertSelect {
    fn name(&self) -> String {
        "INSERT … SELECT inside one server".to_owned()
    }

    fn prepare(&mut self, arena: &Arena) {
        arena.empty_dest(false);
    }

    fn commands(&mut self, arena: &Arena) -> Vec<Command> {
        let columns = arena.workload.columns().join(", ");
        let sql = format!("INSERT INTO {DEST} ({columns}) SELECT {columns} FROM {COPY}");
        vec![client(&arena.dest, &sql)]
    }
}
