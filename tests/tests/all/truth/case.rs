//! A case: a table, what happens to its runs, and how the processes ended.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use ssync_common::event::TableOutcome;
use ssync_common::store::Home;
use ssync_controller::daemon::command::status;
use ssync_tests::rng::{Rng, seed};
use ssync_tests::servers::{PASSWORD, Server, Software, USER, mariadb};
use ssync_tests::sites::{Cell, Row, Site};
use ssync_tests::ssync::{Instance, Outcome, Running};
use ssync_tests::{PATIENCE, wait_for};

/// What a case's chance has nothing in common with that of other tests.
const STREAM: u64 = 8_000_000;
/// Arguments of a run in the foreground.
pub const RUN: [&str; 3] = ["--task", "1", "--json"];

/// Where a process is killed.
const POINTS: [&str; 13] = [
    "run.after_lock",
    "run.after_owner",
    "run.after_fence",
    "recover.after_settle",
    "run.after_begin",
    "run.after_rows",
    "run.before_finish",
    "run.after_finish",
    "reader.after_claim",
    "writer.before_commit",
    "writer.after_commit",
    "settler.before_settle",
    "settler.after_record",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Status,
    Full,
    Increment,
}

/// Who starts the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A person, in the foreground.
    Foreground,
    /// A person, half of the time by the daemon (`ssync run --wait`).
    ByHand,
    /// A schedule of a second.
    Schedule,
}

/// What is on a server of the case's own, which goes down and comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    Files,
    Shared,
    Own { source: bool, dest: bool, config: bool },
}

/// How a launch ended, as its process tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Done,
    DoneWithErrors,
    Failed,
    Interrupted,
    Died,
}

/// What an observer saw of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    dest: i64,
    /// Rows by state.
    states: BTreeMap<i64, i64>,
}

impl Seen {
    fn of(&self, state: i64) -> i64 {
        self.states.get(&state).copied().unwrap_or(0)
    }
}

pub struct Case {
    pub mode: Mode,
    pub way: Way,
    pub source: Site,
    pub dest: Site,
    pub book: Site,
    pub instance: Instance,
    pub rng: Rng,
    pub launches: Vec<End>,
    /// Deaths that a daemon has seen.
    pub deaths_told: usize,
    pub daemons: usize,
    /// Daemons that were stopped in order.
    pub stopped: usize,
    pub is_daemon_dead: bool,
    /// Whether somebody has corrected bad rows.
    pub corrected: bool,
    pub story: Vec<String>,
    /// What a launch said that was not so.
    pub wrong: Vec<String>,
    next_id: i64,
    /// Whether the destination is called what the configuration says.
    there: bool,
    ground: Ground,
    server: Option<Server>,
    _dir: tempfile::TempDir,
}

impl Case {
    pub fn new(number: u64) -> Case {
        let mut rng = Rng::new(seed(), STREAM + number);
        let mode = *rng.pick(&[Mode::Status, Mode::Status, Mode::Full, Mode::Increment]);
        let way = *rng.pick(&[Way::Foreground, Way::Foreground, Way::ByHand, Way::Schedule]);
        let ground = match rng.below(10) {
            0..=3 => Ground::Files,
            4..=6 => Ground::Shared,
            _ => {
                let (source, dest) = (rng.chance(50), rng.chance(70));
                let config = !(source || dest) || rng.chance(30);
                Ground::Own { source, dest, config }
            }
        };
        let dir = tempfile::tempdir().unwrap();
        let mut server = None;
        if let Ground::Own { .. } = ground {
            server = Some(Server::start(Software::MariaDb, &[]));
        }
        let own = |is_there: bool, name: &str| match server.as_ref().filter(|_| is_there) {
            Some(server) => Site::on_server(server, "truth"),
            None => Site::in_file(dir.path(), name),
        };
        let (source, dest) = match ground {
            Ground::Files => (own(false, "src"), own(false, "dst")),
            Ground::Shared => {
                (Site::on_server(mariadb(), "truth"), Site::on_server(mariadb(), "truth"))
            }
            Ground::Own { source, dest, .. } => (own(source, "src"), own(dest, "dst")),
        };
        source
            .run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) NOT NULL, \
             sync_status INT DEFAULT 0 NOT NULL)"]);
        // No key, so that nothing hides a doubled row.
        dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(20) NOT NULL CHECK \
             (length(v) < 20))"]);
        let mode_lines = match mode {
            Mode::Status => "app_resets_status = true",
            Mode::Full => "mode = \"full\"",
            Mode::Increment => "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }",
        };
        let (schedule, fires) = match way {
            Way::Schedule => {
                ("[[schedule]]\nid = 1\nevery = \"1s\"\nkind = \"timed\"\n", "schedule = 1")
            }
            Way::Foreground | Way::ByHand => ("", ""),
        };
        let toml = format!(
            "{}{}{schedule}[[task]]\nid = 1\n{fires}\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\n\
             batch_rows = 10\nbatch_millis = 3600000\nslot_bytes = 65536\nretries = 0\n\
             error_limit = 1000\n[[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n\
             {mode_lines}\n",
            source.link("src"),
            dest.link("dst")
        );
        let (instance, book) = match (ground, &server) {
            (Ground::Own { config: true, .. }, Some(server)) => {
                let book = Site::on_server(server, "truth_config");
                let Site::MySql { port, database } = &book else { unreachable!() };
                let mut instance = Instance::new("");
                let url = format!("mysql://{USER}@127.0.0.1:{port}/{database}");
                instance.set_env("SSYNC_CONFIG_DB", &url);
                instance.set_env("SSYNC_CONFIG_DB_PASSWORD", PASSWORD);
                let file = instance.scratch().join("config.toml");
                std::fs::write(&file, &toml).unwrap();
                instance.run(&["apply", file.to_str().unwrap()]).expect(0);
                (instance, book)
            }
            _ => {
                let instance = Instance::new(&toml);
                let book = Site::Sqlite(instance.home().join("ssync.db"));
                (instance, book)
            }
        };
        let mut case = Case {
            mode,
            way,
            source,
            dest,
            book,
            instance,
            rng,
            launches: Vec::new(),
            deaths_told: 0,
            daemons: 0,
            stopped: 0,
            is_daemon_dead: false,
            corrected: false,
            story: vec![format!("{mode:?}, {way:?}, {ground:?}")],
            wrong: Vec::new(),
            next_id: 0,
            there: true,
            ground,
            server,
            _dir: dir,
        };
        case.add(80);
        case
    }

    /// All that happens, up to a run that nothing stands against.
    pub fn play(&mut self) {
        for _ in 0..self.rng.between(3, 7) {
            match self.way {
                Way::Schedule => self.step_of_schedule(),
                Way::Foreground | Way::ByHand => self.step(),
            }
        }
        if !self.there {
            self.rename_dest();
        }
        // What the last one left open comes to its end. One that is resumed reads no further than it
        // had begun to.
        self.launch("", false);
        if self.mode != Mode::Status {
            self.launch("", false);
        }
    }

    fn add(&mut self, rows: i64) {
        let bad = if self.rng.chance(30) { self.rng.below(4) as i64 } else { 0 };
        let ids = self.next_id..self.next_id + rows;
        let rows: Vec<Row> = ids
            .map(|id| {
                let v = if id - self.next_id < bad { "x".repeat(30) } else { format!("row {id}") };
                vec![Cell::Int(id), Cell::Text(v)]
            })
            .collect();
        self.source.insert("src", &["id", "v"], &rows);
        self.next_id += rows.len() as i64;
        self.story.push(format!("{} rows, {bad} of them bad", rows.len()));
    }

    /// Somebody corrects some of the bad rows at the source.
    fn correct(&mut self) {
        let set = match self.mode {
            Mode::Status => "v = 'corrected', sync_status = 0 WHERE sync_status = 3",
            Mode::Full => "v = 'corrected' WHERE length(v) >= 20",
            // What is below the mark is not looked at again.
            Mode::Increment => return,
        };
        let rest = self.rng.below(2);
        self.source.run(&[format!("UPDATE src SET {set} AND id % 2 = {rest}")]);
        self.corrected = true;
        self.story.push(format!("bad rows with id % 2 = {rest} are corrected"));
    }

    fn rename_dest(&mut self) {
        let sql = if self.there { "dst RENAME TO away" } else { "away RENAME TO dst" };
        self.dest.run(&[format!("ALTER TABLE {sql}")]);
        self.there = !self.there;
        self.story.push(format!("the destination is there: {}", self.there));
    }

    fn look(&self) -> Seen {
        let dest = if self.there { "dst" } else { "away" };
        let dest = self.dest.number(&format!("SELECT COUNT(*) FROM {dest}"));
        let count = |state: i64| {
            let sql = format!("SELECT COUNT(*) FROM src WHERE sync_status = {state}");
            (state, self.source.number(&sql))
        };
        Seen { dest, states: (0..4).map(count).collect() }
    }

    fn start(&self, args: &[&str], failpoints: &str) -> Running {
        self.instance.forget_failpoints();
        self.instance.start(args, failpoints)
    }

    fn launch(&mut self, failpoints: &str, restart: bool) {
        let mut args = RUN.to_vec();
        args.extend(restart.then_some("--restart"));
        let before = self.look();
        let run = self.start(&args, failpoints);
        self.ended(run, &before, &format!("ssync {} {failpoints}", args.join(" ")));
    }

    fn ended(&mut self, run: Running, before: &Seen, what: &str) {
        let outcome = run.wait();
        self.has_ended(&outcome, before, what);
    }

    fn has_ended(&mut self, outcome: &Outcome, before: &Seen, what: &str) {
        self.instance.wait_until_dead();
        let end = match (outcome.signal, outcome.code) {
            (Some(_), _) => End::Died,
            (_, Some(0)) => End::Done,
            (_, Some(130)) => End::Interrupted,
            _ if outcome.table("t")["result"] == "done_with_errors" => End::DoneWithErrors,
            // Whether rows were bad before, it could not look up; it is told once it can.
            _ if outcome.table("t")["result"] == "done_unconfirmed" => {
                if self.recorded_bad(outcome) > 0 { End::DoneWithErrors } else { End::Done }
            }
            _ => End::Failed,
        };
        self.story.push(format!("{what}: {end:?}\n{outcome}"));
        self.launches.push(end);
        self.judge_code(outcome, end, before);
    }

    /// Bad rows that are recorded of the run.
    fn recorded_bad(&self, outcome: &Outcome) -> i64 {
        match outcome.table("t")["run"].as_str() {
            Some(run) => self.book.number(&format!(
                "SELECT COUNT(*) FROM T_ERROR_ROW WHERE run_id = '{run}' AND row_state = 'bad'"
            )),
            None => 0,
        }
    }

    /// The exit code is what is documented, and the report says how many rows came.
    fn judge_code(&mut self, outcome: &Outcome, end: End, before: &Seen) {
        if end == End::Died {
            return;
        }
        let after = self.look();
        let came = after.dest - before.dest;
        let landed = outcome.count("t", "landed") as i64;
        let recorded = self.recorded_bad(outcome);
        let mut wrong = |what: String| self.wrong.push(format!("{what}: {before:?}, {after:?}"));
        let is_status = self.mode == Mode::Status;
        let is_refused = outcome.code == Some(2);
        let sent = |seen: &Seen| seen.of(2) + seen.of(3);
        let is_moved = came != 0 || is_status && sent(&after) != sent(before);
        match end {
            End::Done | End::DoneWithErrors if is_status => {
                let open = after.of(0) + after.of(1);
                if open > 0 {
                    wrong(format!("{open} rows are not sent by a run that is done"));
                }
                // A run that was resumed has those of its earlier attempts, too.
                let is_bad = after.of(3) > before.of(3) || recorded > 0;
                if is_bad != (end == End::DoneWithErrors) {
                    wrong(format!("{end:?}, and whether rows are bad is {is_bad}"));
                }
            }
            End::Failed if is_refused && is_moved => {
                wrong("code 2, and rows were moved".to_owned());
            }
            End::Failed if !is_refused && !self.there && self.server.is_none() => {
                wrong("no destination, and not code 2".to_owned());
            }
            _ => {}
        }
        // A run that died may have landed more than was known then, and a `full` one empties first.
        let is_right = match (self.mode, end) {
            (Mode::Full, _) => true,
            (_, End::Failed) => landed <= came,
            _ => landed == came,
        };
        if !is_right {
            wrong(format!("{end:?}: says that {landed} landed, {came} came"));
        }
    }

    /// Somebody presses Ctrl-C in the middle, if there is one.
    fn interrupt(&mut self) {
        let before = self.look();
        let mut run = self.start(&RUN, "writer.before_commit@2=pause");
        if run.reached("writer.before_commit").is_some() {
            run.signal(Signal::SIGINT);
            self.instance.release("writer.before_commit");
        }
        self.ended(run, &before, "with Ctrl-C");
    }

    /// The configuration database answers nobody while the run is under way.
    fn launch_without_book(&mut self, failpoints: &str) {
        let before = self.look();
        let mut run = self.start(&RUN, &format!("run.after_owner@1=pause;{failpoints}"));
        let Site::Sqlite(file) = &self.book else { unreachable!() };
        let held = rusqlite::Connection::open(file).unwrap();
        if run.reached("run.after_owner").is_some() {
            held.busy_timeout(PATIENCE).unwrap();
            held.execute_batch("BEGIN EXCLUSIVE").unwrap();
            self.instance.release("run.after_owner");
        }
        self.ended(run, &before, &format!("without its configuration database, {failpoints}"));
    }

    /// The server of the case's own goes down, before a run or in the midst of it, and comes back.
    fn server_restarts(&mut self) {
        let before = self.look();
        let Some(mut server) = self.server.take() else { return };
        let needs_book = matches!(self.ground, Ground::Own { config: true, .. });
        let point = *self.rng.pick(&["run.after_fence", "writer.before_commit", "run.after_rows"]);
        let in_the_midst = needs_book || self.rng.chance(70);
        let (is_back_at_once, is_killed) = (self.rng.chance(50), self.rng.chance(50));
        let down = |server: &mut Server| if is_killed { server.kill9() } else { server.stop() };
        let mut is_down = !in_the_midst;
        let run = if in_the_midst {
            let hit = if point.starts_with("run.") { "1" } else { "2" };
            let mut run = self.start(&RUN, &format!("{point}@{hit}=pause"));
            if run.reached(point).is_some() {
                down(&mut server);
                is_down = !is_back_at_once;
                if is_back_at_once {
                    server.restart();
                }
                self.instance.release(point);
            }
            run
        } else {
            down(&mut server);
            self.start(&RUN, "")
        };
        // Whatever it meets, it ends: it does not try again.
        let outcome = run.wait();
        if is_down {
            server.restart();
        }
        self.server = Some(server);
        let when = if in_the_midst { point } else { "before it" };
        let what = format!(
            "its server went down at {when} (killed: {is_killed}, back at once: {is_back_at_once})"
        );
        self.has_ended(&outcome, &before, &what);
    }

    fn daemon(&mut self, failpoints: &str) -> Running {
        let mut daemon = self.start(&["daemon"], failpoints);
        self.daemons += 1;
        self.is_daemon_dead = false;
        let home = Home::locate(Some(&self.instance.home())).unwrap();
        wait_for("the daemon to have read its configuration", || {
            assert!(!daemon.has_ended(), "{}", self.instance.logs());
            let status = status(&home).unwrap();
            status.is_some_and(|s| s.pid == daemon.pid() && s.configuration_read.is_some())
        });
        daemon
    }

    fn stop(&mut self, daemon: Running) {
        self.instance.run(&["stop"]).expect(0);
        daemon.wait().expect(0);
        self.stopped += 1;
        self.instance.wait_until_dead();
    }

    fn kill(&mut self, daemon: Running) {
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        self.is_daemon_dead = true;
        self.story.push("the daemon is killed".to_owned());
    }

    /// Whether a point has acted that takes the whole run along.
    fn has_died(&self, failpoints: &str) -> bool {
        let fired = |entry: &str| {
            let (point, action) = entry.split_once('=')?;
            let (name, hit) = point.split_once('@')?;
            let is_whole =
                action == "kill-group" || action == "kill" && !name.starts_with("writer.");
            Some(is_whole && self.instance.has_fired(name, hit))
        };
        failpoints.split(';').any(|entry| fired(entry).unwrap_or(false))
    }

    /// The daemon runs it by hand.
    fn launch_by_daemon(&mut self, failpoints: &str) {
        let daemon = self.daemon(failpoints);
        let outcome = self.instance.run(&["run", "1", "--wait", "--json"]);
        let told: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
        let end = match (self.has_died(failpoints), outcome.code) {
            (true, _) => End::Died,
            (_, Some(0)) => End::Done,
            (_, Some(130)) => End::Interrupted,
            (_, Some(1))
                if told["outcome"].as_str().is_some_and(|t| t.contains("rows landed, ")) =>
            {
                End::DoneWithErrors
            }
            _ => End::Failed,
        };
        if end == End::Died {
            self.deaths_told += 1;
            if outcome.code != Some(1) {
                self.wrong.push(format!("run --wait of one that died: {outcome}"));
            }
        }
        if end == End::Failed && !self.there && outcome.code != Some(2) {
            self.wrong.push(format!("no destination, and not code 2: {outcome}"));
        }
        self.story.push(format!("ssync run 1 --wait, {failpoints}: {end:?}\n{outcome}"));
        self.launches.push(end);
        self.stop(daemon);
    }

    /// The daemon dies while its task runs, which goes on.
    fn launch_by_dying_daemon(&mut self) {
        let before = self.look();
        let mut daemon = self.daemon("run.after_lock@*=pause");
        let asking = self.instance.start(&["run", "1", "--wait"], "");
        daemon.reached("run.after_lock").unwrap();
        self.kill(daemon);
        if asking.wait().code == Some(0) {
            self.wrong.push("run --wait is content with a daemon that died".to_owned());
        }
        self.instance.release("run.after_lock");
        self.instance.wait_until_dead();
        // Nobody was told how it ended: that is seen by the rows.
        let after = self.look();
        let end = match self.mode {
            _ if !self.there => End::Failed,
            Mode::Status if after.of(3) > before.of(3) => End::DoneWithErrors,
            Mode::Full if self.bad_at_source() > 0 => End::DoneWithErrors,
            // Which ones an earlier attempt has met, the rows do not say.
            _ if self.last_line_has_bad_rows() => End::DoneWithErrors,
            _ => End::Done,
        };
        self.story.push(format!("by a daemon that died meanwhile: {end:?}"));
        self.launches.push(end);
    }

    /// Rows that cannot land.
    pub fn bad_at_source(&self) -> i64 {
        self.source.number("SELECT COUNT(*) FROM src WHERE length(v) >= 20")
    }

    /// Whether the run that ended last had bad rows: which of them it met, rows without a state do
    /// not say.
    fn last_line_has_bad_rows(&self) -> bool {
        self.reminders().last().is_some_and(|end| end.result == TableOutcome::DoneWithErrors)
    }

    pub fn reminders(&self) -> Vec<ssync_common::event::TableEnd> {
        let all = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
        ssync_common::event::tables_between(&self.instance.home(), all.0, all.1).unwrap()
    }

    fn failpoints(&mut self) -> String {
        if self.rng.chance(40) {
            return String::new();
        }
        let point = *self.rng.pick(&POINTS);
        let hit = match point.starts_with("run.") {
            true => "*".to_owned(),
            false => self.rng.between(1, 4).to_string(),
        };
        let whole = self.rng.chance(70) || !point.starts_with("writer.");
        format!("{point}@{hit}={}", if whole { "kill-group" } else { "kill" })
    }

    fn step(&mut self) {
        if self.rng.chance(60) {
            let rows = self.rng.below(40) as i64;
            self.add(rows);
        }
        if self.rng.chance(15) {
            self.correct();
        }
        if self.rng.chance(15) {
            self.rename_dest();
        }
        let failpoints = self.failpoints();
        if self.server.is_some() && self.rng.chance(50) {
            return self.server_restarts();
        }
        if self.way == Way::ByHand && self.rng.chance(60) {
            return match self.rng.chance(25) {
                true => self.launch_by_dying_daemon(),
                false => self.launch_by_daemon(&failpoints),
            };
        }
        if self.rng.chance(15) {
            return self.interrupt();
        }
        if self.rng.chance(10) && self.mode != Mode::Full && self.book.is_sqlite() {
            return self.launch_without_book(&failpoints);
        }
        let restart = self.rng.chance(10);
        self.launch(&failpoints, restart);
    }

    /// A daemon's life, long enough for all rows to land; then it is stopped, or killed.
    fn step_of_schedule(&mut self) {
        let rows = self.rng.between(1, 40) as i64;
        self.add(rows);
        if self.rng.chance(15) {
            self.correct();
        }
        let failpoints = self.failpoints();
        let daemon = self.daemon(&failpoints);
        let is_killed = self.rng.chance(50);
        let is_early = self.rng.chance(30);
        let settled = || {
            let landed = self.dest.number("SELECT COUNT(*) FROM dst");
            let bad = self.bad_at_source();
            match self.mode {
                Mode::Status => {
                    let open = "SELECT COUNT(*) FROM src WHERE sync_status IN (0, 1)";
                    self.source.number(open) == 0
                }
                Mode::Full | Mode::Increment => landed == self.next_id - bad,
            }
        };
        let is_under_way = || self.dest.number("SELECT COUNT(*) FROM dst") > 0;
        wait_for("rows by schedule", || if is_early { is_under_way() } else { settled() });
        self.story.push(format!("a daemon's life with {failpoints}, to its end: {}", !is_early));
        match is_killed {
            true => {
                self.kill(daemon);
                self.instance.wait_until_dead();
            }
            false => self.stop(daemon),
        }
        if self.has_died(&failpoints) {
            self.launches.push(End::Died);
        }
    }
}
