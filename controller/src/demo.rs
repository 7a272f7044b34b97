//! `ssync demo`: the main job from end to end, on files made for it. Everything that a user would
//! type is typed: real `ssync` processes, started as from a shell.

mod proof;
mod shop;

use std::io::{IsTerminal, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rusqlite::Connection;
use serde_json::json;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::signals::SignalEvent;
use ssync_common::store::{DB_ENV, DB_PASSWORD_ENV, DB_PASSWORD_FILE_ENV, HOME_ENV};

use crate::cli::DemoArgs;
use crate::output::Output;
use crate::terminal::grouped;
use proof::{Claim, Files, Moment};
use shop::{Changes, failed};

/// The configuration, as a user would write it; `DIR` stands for the directory.
const CONFIGURATION: &str = include_str!("demo/orders.toml");
/// The order that is shown in all three files.
const SHOWN_ORDER: u64 = 7;

/// How long the demonstration's own queries wait for a transfer that writes.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// Runs the demonstration; whether everything was as it should be.
pub fn run(args: &DemoArgs, json: bool, signals: &Receiver<SignalEvent>) -> Result<bool> {
    let began = Instant::now();
    let dir = tempfile::Builder::new().prefix("ssync-demo-").tempdir()?;
    usable(dir.path())?;
    let stage = Stage::new(dir.path(), json, signals);
    let claims = stage.play(args.rows);
    // What went wrong is left as it is, for whoever looks for the reason.
    let went_well = claims.as_ref().is_ok_and(|claims| claims.iter().all(|c| c.holds));
    let interrupted = claims.as_ref().is_err_and(|e| e.kind == Kind::Interrupted);
    let kept = if args.keep || !(went_well || interrupted) { Some(dir.keep()) } else { None };
    let claims = match (claims, &kept) {
        (Err(e), Some(dir)) => return Err(e.detail(format!("the files are in {}", dir.display()))),
        (claims, _) => claims?,
    };
    let seconds = began.elapsed().as_secs_f64();
    stage.close(&claims, seconds, kept.as_deref())?;
    Ok(went_well)
}

/// The path stands in a configuration file, in URLs and in commands to copy: one that would have to
/// be quoted there would only distract.
fn usable(dir: &Path) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._".contains(&b);
    if dir.as_os_str().as_encoded_bytes().iter().all(|b| plain(*b)) {
        return Ok(());
    }
    let found = format!("the demonstration cannot use {}", dir.display());
    Err(Error::new(Kind::Usage, found)
        .hint("Set TMPDIR to a directory of letters, digits, dots and dashes."))
}

/// Where the demonstration plays, and how it is told.
struct Stage<'a> {
    dir: PathBuf,
    files: Files,
    json: bool,
    bold: bool,
    signals: &'a Receiver<SignalEvent>,
}

impl<'a> Stage<'a> {
    fn new(dir: &Path, json: bool, signals: &'a Receiver<SignalEvent>) -> Self {
        let files = Files {
            shop: dir.join("shop.db"),
            warehouse: dir.join("warehouse.db"),
            office: dir.join("office.db"),
            memory: dir.join("memory.db"),
        };
        let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Stage { dir: dir.to_owned(), files, json, bold, signals }
    }

    fn play(&self, rows: u64) -> Result<Vec<Claim>> {
        self.tell(&format!(
            "A shop keeps its orders in one database. A warehouse is to have them too: every\n\
             row exactly once, identity card and mobile numbers encrypted on the way. Both\n\
             databases are SQLite files in {}; nothing else is touched.",
            self.dir.display()
        ))?;

        self.heading("1. The shop")?;
        let mut shop = shop::create(&self.files.shop, true)?;
        shop::fill(&mut shop, rows, self.signals)?;
        shop::create(&self.files.warehouse, false)?;
        shop::create(&self.files.office, false)?;
        self.tell(&format!(
            "shop.db has {} orders. Their column sync_status says what became of each:\n\
             0 to be sent, 1 under way, 2 done, 3 failed. Now all are 0.\n",
            grouped(rows)
        ))?;
        self.tell(&orders_at_the_shop(&shop)?)?;

        self.heading("2. What is to happen is written down, and applied")?;
        let configuration = CONFIGURATION.replace("DIR", &self.dir.to_string_lossy());
        std::fs::write(self.dir.join("orders.toml"), &configuration)?;
        for line in configuration.lines() {
            self.tell(if line.is_empty() { String::new() } else { format!("  {line}") }.as_str())?;
        }
        self.tell("")?;
        self.ssync(&["key", "new", "pii", "--out", "pii.key"], Words::First)?;
        self.ssync(&["apply", "orders.toml"], Words::All)?;

        self.heading("3. The transfer begins, and is killed half-way")?;
        self.killed_half_way(rows, &shop)?;

        self.heading("4. Once more")?;
        self.tell(
            "In the same transaction as the orders the warehouse was given a ledger of them.\n\
             It says what has landed, whoever died; that does not go again, the rest does.\n",
        )?;
        self.ssync(&["--task", "1"], Words::All)?;
        proof::remember(&self.files, Moment::Finished)?;

        self.heading("5. The shop goes on working, and a second transfer follows")?;
        let changes = shop::go_on(&mut shop, rows)?;
        self.tell(&day_at_the_shop(&changes))?;
        self.ssync(&["--task", "1"], Words::All)?;

        self.heading("6. And back: an office that has the key decrypts the warehouse's rows")?;
        self.ssync(&["--task", "2"], Words::All)?;

        self.heading("7. The proof")?;
        self.tell(
            "Nothing below is ssync's own count: it is plain SQL over the three files, and\n\
             a search through their bytes.\n",
        )?;
        let claims = proof::prove(&self.files, rows, &changes)?;
        for claim in &claims {
            self.tell(&verdict_line(claim))?;
        }
        self.tell(&format!("\nOrder {SHOWN_ORDER} in the three files:\n"))?;
        self.tell(&one_order_everywhere(&self.files)?)?;
        Ok(claims)
    }

    /// The end, for people or for programs.
    fn close(&self, claims: &[Claim], seconds: f64, kept: Option<&Path>) -> Result<()> {
        let wrong = claims.iter().filter(|c| !c.holds).count();
        if self.json {
            let mut out = Output::new(true);
            out.object(json!({
                "kind": "demo",
                "passed": wrong == 0,
                "claims": claims,
                "seconds": seconds,
                "dir": kept,
            }));
            return out.print();
        }
        let verdict = match wrong {
            0 => "Everything arrived, once, unchanged.".to_owned(),
            1 => "One thing is not as it should be.".to_owned(),
            n => format!("{n} things are not as they should be."),
        };
        self.heading(&format!("{verdict} ({seconds:.0} s)"))?;
        if wrong > 0 {
            self.tell("This must not happen: please report it, with the files named below.")?;
        } else {
            self.tell(
                "What to do next\n\
                 \x20 ssync demo --keep      leaves the files there, to look around in\n\
                 \x20 ssync --help           everything that can be said\n\
                 \x20 README.md              from MySQL to MySQL in five minutes\n\
                 \x20 docs/ARCHITECTURE.md   why nothing gets lost when something dies half-way",
            )?;
        }
        if let Some(dir) = kept {
            self.tell(&format!(
                "\nThe files are in {0}.\n\
                 With SSYNC_HOME={0}/home every command of ssync works on them:\n\
                 \x20 SSYNC_HOME={0}/home ssync status\n\
                 rm -r {0} removes them.",
                dir.display()
            ))?;
        }
        Ok(())
    }

    fn heading(&self, text: &str) -> Result<()> {
        if self.bold {
            self.tell(&format!("\n\x1b[1m{text}\x1b[0m\n"))
        } else {
            self.tell(&format!("\n{text}\n"))
        }
    }

    fn tell(&self, text: &str) -> Result<()> {
        if !self.signals.is_empty() {
            return Err(shop::interrupted());
        }
        if !self.json {
            writeln!(std::io::stdout(), "{text}")?;
        }
        Ok(())
    }

    /// Starts the first transfer and kills it with SIGKILL when a third of the orders have landed.
    fn killed_half_way(&self, rows: u64, shop: &Connection) -> Result<()> {
        let warehouse = Connection::open(&self.files.warehouse).map_err(failed)?;
        warehouse.busy_timeout(BUSY_MAX).map_err(failed)?;
        self.tell("$ ssync --task 1 --quiet &")?;
        let mut task = self.command(&["--task", "1", "--quiet"]).stdout(Stdio::null()).spawn()?;
        let landed = || proof::number(&warehouse, "SELECT COUNT(*) FROM orders");
        while landed()? < rows / 3 && task.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.tell(&format!("$ kill -KILL {}", task.id()))?;
        task.kill()?;
        let status = task.wait()?;
        let landed = proof::remember(&self.files, Moment::Killed)?;
        let under_way = proof::number(shop, "SELECT COUNT(*) FROM orders WHERE sync_status = 1")?;
        if status.code() == Some(130) {
            return Err(shop::interrupted());
        }
        self.tell(&match status.signal() {
            Some(_) => format!(
                "{} orders had landed in the warehouse. The shop shows {} as under way:\n\
                 from it alone nobody could tell which of them have arrived.",
                grouped(landed),
                grouped(under_way)
            ),
            None => format!("It was quicker than the kill: {} orders had landed.", grouped(landed)),
        })
    }

    /// Runs `ssync` as a user would, in the demonstration's directory.
    fn ssync(&self, args: &[&str], words: Words) -> Result<()> {
        let line = format!("ssync {}", args.join(" "));
        self.tell(&format!("$ {line}"))?;
        let mut command = self.command(args);
        if self.json {
            command.arg("--quiet");
        }
        let status = if words == Words::All && !self.json {
            command.status()?
        } else {
            let output = command.stderr(Stdio::inherit()).output()?;
            if let Some(first) = String::from_utf8_lossy(&output.stdout).lines().next() {
                self.tell(first)?;
            }
            output.status
        };
        match status.code() {
            Some(0) => Ok(()),
            Some(130) => Err(shop::interrupted()),
            Some(code) => {
                Err(Error::new(Kind::System, format!("{line} ended with exit code {code}")))
            }
            None => Err(Error::new(
                Kind::System,
                format!("{line} was killed by signal {}", status.signal().unwrap_or(0)),
            )),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("ssync")
            .args(args)
            .current_dir(&self.dir)
            .env(HOME_ENV, self.dir.join("home"))
            // A configuration database of the user's is no place for a demonstration.
            .env_remove(DB_ENV)
            .env_remove(DB_PASSWORD_ENV)
            .env_remove(DB_PASSWORD_FILE_ENV)
            .stdin(Stdio::null());
        command
    }
}

/// How much of what a command says is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    All,
    First,
}

fn verdict_line(claim: &Claim) -> String {
    let word = if claim.holds { "ok" } else { "WRONG" };
    format!("{word:<6}{}", claim.text.replace('\n', "\n      "))
}

fn day_at_the_shop(changes: &Changes) -> String {
    format!(
        "The shop corrects {} amounts and {} mobile numbers, and takes {} new\n\
         orders. Where it changes a row, it sets sync_status back to 0: now {} rows\n\
         are to be sent.\n",
        grouped(changes.amounts),
        grouped(changes.mobiles),
        grouped(changes.new),
        grouped(changes.total())
    )
}

fn orders_at_the_shop(shop: &Connection) -> Result<String> {
    let rows = texts(
        shop,
        "SELECT id, customer, city, id_card, mobile, amount, sync_status FROM orders LIMIT 3",
        7,
    )?;
    let heading = ["id", "customer", "city", "id_card", "mobile", "amount", "sync_status"];
    Ok(table(std::iter::once(heading.map(str::to_owned).to_vec()).chain(rows)))
}

fn one_order_everywhere(files: &Files) -> Result<String> {
    let mut rows = vec![["", "customer", "id_card", "mobile"].map(str::to_owned).to_vec()];
    for (place, file) in
        [("shop", &files.shop), ("warehouse", &files.warehouse), ("office", &files.office)]
    {
        let db = Connection::open(file).map_err(failed)?;
        let sql = format!("SELECT customer, id_card, mobile FROM orders WHERE id = {SHOWN_ORDER}");
        for row in texts(&db, &sql, 3)? {
            let cells = row.into_iter().map(|cell| shortened(&cell, 22));
            rows.push(std::iter::once(place.to_owned()).chain(cells).collect());
        }
    }
    Ok(table(rows))
}

fn shortened(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars - 1).chain(['…']).collect()
}

fn texts(db: &Connection, sql: &str, columns: usize) -> Result<Vec<Vec<String>>> {
    let mut statement = db.prepare(sql).map_err(failed)?;
    let row = |row: &rusqlite::Row<'_>| {
        (0..columns)
            .map(|i| match row.get::<_, rusqlite::types::Value>(i)? {
                rusqlite::types::Value::Null => Ok("NULL".to_owned()),
                rusqlite::types::Value::Integer(n) => Ok(n.to_string()),
                rusqlite::types::Value::Text(text) => Ok(text),
                other => Ok(format!("{other:?}")),
            })
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    statement.query_map([], row).and_then(Iterator::collect).map_err(failed)
}

/// Columns beside each other, indented by two.
fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| cells(c)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("  {cell}{}", " ".repeat(width - cells(cell)));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Character cells that a text takes on a terminal: two for each Chinese character.
fn cells(text: &str) -> usize {
    text.chars().map(|c| if ('\u{2e80}'..='\u{ffee}').contains(&c) { 2 } else { 1 }).sum()
}
