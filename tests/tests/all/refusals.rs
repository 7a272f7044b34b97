//! What must not happen does not: two owners of one table, ghosts that commit late, a destination
//! that went back in time, rows blamed for a full disk. Every test ends with both sides compared.

#[path = "refusals/adopted.rs"]
mod adopted;
#[path = "refusals/bad_rows.rs"]
mod bad_rows;
#[path = "refusals/contradictions.rs"]
mod contradictions;
#[path = "refusals/full_runs.rs"]
mod full_runs;
#[path = "refusals/ghosts.rs"]
mod ghosts;
#[path = "refusals/identity.rs"]
mod identity;
#[path = "refusals/interrupts.rs"]
mod interrupts;
#[path = "refusals/limits.rs"]
mod limits;
#[path = "refusals/locked.rs"]
mod locked;
#[path = "refusals/lost.rs"]
mod lost;
#[path = "refusals/owners.rs"]
mod owners;
#[path = "refusals/precedents.rs"]
mod precedents;
#[path = "refusals/renamed_sub_tasks.rs"]
mod renamed_sub_tasks;
#[path = "refusals/restored.rs"]
mod restored;
#[path = "refusals/resumed.rs"]
mod resumed;
#[path = "refusals/sealed.rs"]
mod sealed;
#[path = "refusals/source_triggers.rs"]
mod source_triggers;
#[path = "refusals/unopened.rs"]
mod unopened;

use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Holds, Row, Site, differences};
use ssync_tests::ssync::{Instance, Outcome};

/// Arguments of a plain run.
const RUN: [&str; 3] = ["--task", "1", "--json"];

/// A plain table `src` and where it goes, `dst`: `id`, `v`.
struct Tables {
    source: Site,
    dest: Site,
}

impl Tables {
    /// Both sides on the shared server, with so many rows.
    fn on_mariadb(rows: i64) -> Tables {
        let server = mariadb();
        Tables::between(Site::on_server(server, "ref"), Site::on_server(server, "ref"), rows)
    }

    /// Both sides as given, the destination without a key, so that nothing hides a doubled row.
    fn between(source: Site, dest: Site, rows: i64) -> Tables {
        create_source(&source);
        create_dest(&dest);
        let tables = Tables { source, dest };
        tables.add(0..rows);
        tables
    }

    fn add(&self, ids: std::ops::Range<i64>) {
        let rows: Vec<Row> =
            ids.map(|id| vec![Cell::Int(id), Cell::Text(format!("row {id}"))]).collect();
        self.source.insert("src", &["id", "v"], &rows);
    }

    /// The configuration, with more lines for the task and for the table. However slow the machine
    /// is, batches keep their size.
    fn toml(&self, task: &str, table: &str) -> String {
        let resets = if table.contains("mode =") { "" } else { "app_resets_status = true\n" };
        format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\nbatch_rows = 10\n\
             batch_millis = 3600000\nslot_bytes = 65536\n{task}\n[[task.table]]\nname = \"t\"\nsource = \"src\"\n\
             dest = \"dst\"\n{resets}{table}\n",
            self.source.link("src"),
            self.dest.link("dst")
        )
    }

    fn instance(&self) -> Instance {
        Instance::new(&self.toml("", ""))
    }

    /// Every source row is at the destination, once.
    #[track_caller]
    fn assert_same(&self) {
        let holds = [Holds::Int, Holds::Text];
        let source = self.source.rows("SELECT id, v FROM src", &holds);
        let dest = self.dest.rows("SELECT id, v FROM dst", &holds);
        assert_eq!(differences(&source, &dest), Vec::<String>::new());
    }

    /// Rows by state.
    fn states(&self) -> Vec<(i64, i64)> {
        let sql = "SELECT sync_status, COUNT(*) FROM src GROUP BY sync_status ORDER BY sync_status";
        let pair = |row: Row| match row.as_slice() {
            [Cell::Int(state), Cell::Int(rows)] => (*state, *rows),
            other => panic!("{other:?}"),
        };
        self.source.rows(sql, &[Holds::Int, Holds::Int]).into_iter().map(pair).collect()
    }

    /// What the destination holds, counted.
    fn landed(&self) -> i64 {
        self.dest.number("SELECT COUNT(*) FROM dst")
    }
}

/// The key's kind and the text's.
fn kinds(site: &Site) -> (&'static str, &'static str) {
    match site.is_oracle() {
        true => ("NUMBER(18)", "VARCHAR2(300 CHAR)"),
        false => ("BIGINT", "VARCHAR(300)"),
    }
}

fn create_source(source: &Site) {
    let (number, text) = kinds(source);
    source.run(&[format!(
        "CREATE TABLE src (id {number} NOT NULL PRIMARY KEY, v {text} NOT NULL, sync_status {} \
         DEFAULT 0 NOT NULL)",
        if source.is_oracle() { "NUMBER(1)" } else { "INT" }
    )]);
}

/// The destination, without rows.
fn create_dest(site: &Site) {
    let (number, text) = kinds(site);
    site.run(&[format!("CREATE TABLE dst (id {number} NOT NULL, v {text} NOT NULL)")]);
}

/// The error of the run's one table: its kind and everything it says.
#[track_caller]
fn error_of(outcome: &Outcome) -> (String, String) {
    let table = outcome.table("t");
    let error = &table["error"];
    assert!(error.is_object(), "no error\n{outcome}");
    (error["kind"].as_str().unwrap().to_owned(), error.to_string())
}
