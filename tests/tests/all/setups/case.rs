//! One setup: made, checked, run, judged.

use std::process::Command;

use mysql::prelude::Queryable;
use serde_json::Value;
use ssync_tests::rng::Rng;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Holds, Row, Session, Site, differences};
use ssync_tests::ssync::{Instance, Outcome, program};

use super::cautious;
use super::fault::{Act, FAULTS, Fault, On, Side};

/// Modes and ways of writing, as they are configured.
const MODES: &[&str] = &[
    "app_resets_status = true",
    "app_resets_status = true\nwrite = \"upsert\"",
    "app_resets_status = true\nwrite = \"replace\"",
    "app_resets_status = true\nwrite = \"ignore\"",
    "mode = \"full\"",
    "mode = \"full\"\nfull = \"swap\"",
    "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }",
    "mode = \"increment\"\nwrite = \"upsert\"\nwatermark = { column = \"id\", lag = \"0\" }",
];
const ROWS: i64 = 30;
const SECRET: &str = "Setups-pw-1";
const SOURCE_GRANTS: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "TRIGGER"];
const DEST_GRANTS: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "TRIGGER"];

#[derive(Debug)]
pub struct Case {
    mode: &'static str,
    into_file: bool,
    faults: Vec<Fault>,
}

impl Case {
    /// The first cases have each fault once; the one after them none.
    pub fn new(rng: &mut Rng, number: u64) -> Case {
        let mut faults = Vec::new();
        match FAULTS.get(number as usize) {
            Some(first) => faults.push(*first),
            None if number == FAULTS.len() as u64 => {}
            None => faults.push(*rng.pick(FAULTS)),
        }
        let into_file = match faults.first() {
            Some(Fault(On::File, _)) => true,
            Some(Fault(On::Server, _)) => false,
            _ => rng.chance(25),
        };
        let second = *rng.pick(FAULTS);
        let fits = match second.0 {
            On::Any => true,
            On::Server => !into_file,
            On::File => into_file,
        };
        if fits && number > FAULTS.len() as u64 && rng.chance(50) {
            faults.push(second);
        }
        let mode: &&str = rng.pick(MODES);
        Case { mode, into_file, faults }
    }

    fn acts(&self) -> impl Iterator<Item = &Act> {
        self.faults.iter().flat_map(|fault| fault.1)
    }

    /// Makes it, checks it and runs it; how it was judged, or what is wrong with that.
    pub fn play(&self) -> Result<&'static str, String> {
        let world = World::new(self);
        let trial = world.run(&["check", "--task", "1", "--trial", "--json"]);
        let plain = world.run(&["check", "--task", "1", "--json"]);
        let run = world.run(&["--task", "1", "--json"]);
        let story = || format!("trial: {trial}\ncheck: {plain}\nrun: {run}");
        let refused = findings(&trial);
        let unlike = world.unlike();
        if run.code == Some(0) && !unlike.is_empty() {
            return Err(format!("done, but {unlike:?}\n{}", story()));
        }
        // What can be seen in rows alone is said by the trial.
        let only_rows = refused.iter().all(|text| text.starts_with("trial"));
        if (plain.code == Some(0)) != (refused.is_empty() || only_rows) {
            return Err(format!("with a trial and without it differs\n{}", story()));
        }
        let some = |of: &str| line(&trial)[of].as_u64().unwrap_or(0) > 0;
        let untried = some("untried") || some("trial_waiting");
        match (trial.code, run.code) {
            (Some(0), Some(0)) => Ok("passed"),
            (Some(0), _) if untried => Ok("passed as far as it was tried"),
            (Some(0), _) => Err(format!("passed, but does not run\n{}", story())),
            (_, Some(0)) if refused.iter().all(|text| cautious(text)) => Ok("refused with caution"),
            (_, Some(0)) => Err(format!("refused, but runs\n{}", story())),
            _ => Ok("refused"),
        }
    }
}

fn line(checked: &Outcome) -> Value {
    serde_json::from_str(checked.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {checked}"))
}

/// The errors that a check found.
fn findings(checked: &Outcome) -> Vec<String> {
    let line = line(checked);
    let errors = line["findings"].as_array().unwrap().iter().filter(|f| f["level"] == "error");
    errors.map(|f| f["text"].as_str().unwrap().to_owned()).collect()
}

struct World<'a> {
    case: &'a Case,
    dir: tempfile::TempDir,
    source: Site,
    dest: Site,
    instance: Instance,
}

impl World<'_> {
    fn new(case: &Case) -> World<'_> {
        let dir = tempfile::tempdir().unwrap();
        let source = Site::on_server(mariadb(), "set");
        let dest = match case.into_file {
            true => Site::in_file(dir.path(), "dst"),
            false => Site::on_server(mariadb(), "set"),
        };
        source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40) NOT NULL, \
                      n INT, sync_status INT NOT NULL DEFAULT 0)"]);
        dest.run(&[match case.into_file {
            true => {
                "CREATE TABLE dst (id INTEGER NOT NULL PRIMARY KEY, v TEXT NOT NULL, n INTEGER)"
            }
            false => {
                "CREATE TABLE dst (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40) NOT NULL, n INT) \
                 COLLATE utf8mb4_bin"
            }
        }]);
        // The first rows have what later ones have: a trial sees them.
        let n = |id: i64| if id % 7 == 3 { Cell::Null } else { Cell::Int(id / 2) };
        let row = |id: i64| vec![Cell::Int(id), Cell::Text(format!("row {id}")), n(id)];
        let rows: Vec<Row> = (1..=ROWS).map(row).collect();
        source.insert("src", &["id", "v", "n"], &rows);
        for act in case.acts() {
            let Act::Sql(side, statements) = act else { continue };
            let mut session = Session::open(if *side == Side::Source { &source } else { &dest });
            for statement in *statements {
                // The fault before this one may have taken away what it is about.
                let done = session.try_run(statement);
                assert!(done.is_ok() || case.faults.len() > 1, "{statement}: {done:?}");
            }
        }
        let account = account(case, &source, &dest);
        let mut instance = Instance::new(&toml(case, &account, &source, &dest));
        instance.set_env("SETUPS_PASSWORD", SECRET);
        World { case, dir, source, dest, instance }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        if !self.case.acts().any(|act| matches!(act, Act::ReadOnly)) {
            return self.instance.run(args);
        }
        let dir = self.dir.path().display();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-ec"]);
        command
            .arg(format!("mount --bind {dir} {dir}; mount -o remount,bind,ro {dir}; exec \"$@\""));
        command.arg("sh").arg(program()).args(args);
        self.instance.start_by(command, "").wait()
    }

    /// How the sides differ, by the columns that both have.
    fn unlike(&self) -> Vec<String> {
        let all = [("id", Holds::Int), ("v", Holds::Text), ("n", Holds::Int)];
        let (mut source, mut dest) = (Session::open(&self.source), Session::open(&self.dest));
        let mut has = |column: &str| {
            let sql = |table: &str| format!("SELECT COUNT({column}) FROM {table}");
            source.try_run(&sql("src")).is_ok() && dest.try_run(&sql("dst")).is_ok()
        };
        let (names, holds): (Vec<_>, Vec<_>) = all.iter().filter(|c| has(c.0)).copied().unzip();
        if names.is_empty() {
            return vec!["a table is not there".to_owned()];
        }
        let rows = |site: &Site, table: &str| {
            site.rows(&format!("SELECT {} FROM {table}", names.join(", ")), &holds)
        };
        differences(&rows(&self.source, "src"), &rows(&self.dest, "dst"))
    }
}

fn database(site: &Site) -> Option<&str> {
    match site {
        Site::MySql { database, .. } => Some(database),
        _ => None,
    }
}

/// An account with what is left of the privileges.
fn account(case: &Case, source: &Site, dest: &Site) -> String {
    let has = |wanted: fn(&Act) -> bool| case.acts().any(wanted);
    let (by_role, by_table) =
        (has(|act| matches!(act, Act::ByRole)), has(|act| matches!(act, Act::ByTable)));
    let name = format!("set_{}", database(source).unwrap());
    let holder = if by_role { format!("{name}_role") } else { name.clone() };
    let mut statements = vec![format!("CREATE USER {name} IDENTIFIED BY '{SECRET}'")];
    if by_role {
        statements.push(format!("CREATE ROLE {holder}"));
        statements.push(format!("GRANT {holder} TO {name}"));
        statements.push(format!("SET DEFAULT ROLE {holder} FOR {name}"));
    }
    let sides = [
        (Side::Source, source, SOURCE_GRANTS, &["src", "SSYNC_OWNER"][..]),
        (Side::Dest, dest, DEST_GRANTS, &["dst", "SSYNC_FENCE", "SSYNC_LEDGER"][..]),
    ];
    for (side, site, grants, tables) in sides {
        let Some(database) = database(site) else { continue };
        let lacks = |grant: &str| {
            case.acts()
                .any(|act| matches!(act, Act::Without(on, what) if (*on, *what) == (side, grant)))
        };
        let grants: Vec<_> = grants.iter().copied().filter(|grant| !lacks(grant)).collect();
        for table in if by_table { tables } else { &["*"][..] } {
            let grants = grants.join(", ");
            statements.push(format!("GRANT {grants} ON `{database}`.{table} TO {holder}"));
        }
    }
    let mut admin = mariadb().connect();
    for statement in statements {
        let done = admin.query_drop(&statement);
        // Nothing but CREATE can be given on a table that is not there.
        assert!(done.is_ok() || by_table, "{statement}: {done:?}");
    }
    name
}

fn toml(case: &Case, account: &str, source: &Site, dest: &Site) -> String {
    let link = |name: &str, site: &Site| match site {
        Site::MySql { port, database } => format!(
            "[[link]]\nname = \"{name}\"\nurl = \"mysql://{account}@127.0.0.1:{port}/{database}\"\n\
             password = {{ env = \"SETUPS_PASSWORD\" }}\n"
        ),
        other => other.link(name),
    };
    let statements = |wanted: &dyn Fn(&Act) -> Option<&'static str>| {
        let found: Vec<_> = case.acts().filter_map(wanted).map(|sql| format!("{sql:?}")).collect();
        format!("[{}]", found.join(", "))
    };
    let before = |side: Side| {
        statements(&|act| match act {
            Act::Before(on, sql) if *on == side => Some(sql),
            _ => None,
        })
    };
    let after = |side: Side| {
        statements(&|act| match act {
            Act::After(on, sql) if *on == side => Some(sql),
            _ => None,
        })
    };
    let lines = case.acts().filter_map(|act| match act {
        // Only there.
        Act::Line(line) if line.starts_with("initial") && !case.mode.contains("increment") => None,
        Act::Line(line) => Some(format!("{line}\n")),
        _ => None,
    });
    let lines: std::collections::BTreeSet<_> = lines.collect();
    format!(
        "{}{}[[task]]\nid = 1\nsource = \"s\"\ndest = \"d\"\nbatch_rows = 10\nslot_bytes = 65536\n\
         [[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\nkey = [\"id\"]\n\
         {}\n{}before = {{ source = {}, dest = {} }}\n\
         after = {{ source = {}, dest = {} }}\n",
        link("s", source),
        link("d", dest),
        case.mode,
        lines.into_iter().collect::<String>(),
        before(Side::Source),
        before(Side::Dest),
        after(Side::Source),
        after(Side::Dest),
    )
}
