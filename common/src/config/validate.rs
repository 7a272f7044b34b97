//! What must hold between the parts of a configuration: unique names, references that exist,
//! ranges, combinations that make sense. Nothing here asks a database; `ssync check` does.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;

use url::Url;

use super::model::*;
use super::option::check;
use super::task_name;
use super::time::{Lag, Period};
use super::validate_receivers::receiver;
use super::violation::Violation;
use crate::connector::{OracleDriver, TlsMode, WriteMode, dialect_of, oracle, split_table_name};

/// A violation before its line is known.
pub(super) struct Finding {
    pub(super) path: String,
    /// Which of several entries with the same path, from 0.
    pub(super) nth: usize,
    pub(super) message: String,
}

/// Everything that is wrong with a configuration, without line numbers.
pub fn validate(config: &Config) -> Vec<Violation> {
    let violation = |f: Finding| Violation { path: f.path, line: None, message: f.message };
    findings(config).into_iter().map(violation).collect()
}

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = Findings::default();
    found.unique("link", "name", config.links.iter().map(|l| &l.name));
    found.unique("key", "name", config.keys.iter().map(|k| &k.name));
    found.unique("schedule", "id", config.schedules.iter().map(|s| s.id));
    found.unique("task", "id", config.tasks.iter().map(|t| t.id));
    unique_task_names(config, &mut found);
    config.links.iter().for_each(|l| link(l, &mut found));
    config.keys.iter().for_each(|k| key(k, &mut found));
    check(&config.controller, &|key: &str| format!("controller.{key}"), &mut found);
    config.schedules.iter().for_each(|s| schedule(s, &mut found));
    config.tasks.iter().for_each(|t| task(t, config, &mut found));
    found.unique("receiver", "name", config.receivers.iter().map(|r| &r.name));
    config.receivers.iter().for_each(|r| receiver(r, &mut found));
    check(&config.brief, &|key: &str| format!("brief.{key}"), &mut found);
    check(&config.monitor, &|key: &str| format!("monitor.{key}"), &mut found);
    check(&config.retention, &|key: &str| format!("retention.{key}"), &mut found);
    one_owner_of_each_status_table(config, &mut found);
    one_filler_of_each_destination(config, &mut found);
    found.0
}

/// Each name of a task once; reported at the tasks after the first.
fn unique_task_names(config: &Config, found: &mut Findings) {
    let mut seen = BTreeMap::new();
    for task in &config.tasks {
        let Some(name) = &task.name else { continue };
        match seen.entry(name) {
            Entry::Vacant(place) => drop(place.insert(task.id)),
            Entry::Occupied(other) => found.add(
                format!("task[{}].name", task.id),
                format!("{name} is the name of task {} too", other.get()),
            ),
        }
    }
}

#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { path: path.into(), nth: 0, message: message.into() });
    }

    /// Every name or id once; reported at the entries after the first.
    fn unique<T: Display + Ord>(&mut self, list: &str, key: &str, names: impl Iterator<Item = T>) {
        let mut seen = BTreeMap::new();
        for name in names {
            let nth = seen.entry(name.to_string()).or_insert(0);
            if *nth > 0 {
                let path = format!("{list}[{name}].{key}");
                self.0.push(Finding { path, nth: *nth, message: format!("{name} is used twice") });
            }
            *nth += 1;
        }
    }

    /// No string of a list twice, none empty.
    fn distinct<'a>(&mut self, path: &str, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = Vec::new();
        for (i, name) in names.enumerate() {
            let path = format!("{path}[#{}]", i + 1);
            if name.trim().is_empty() {
                self.add(path, "must not be empty");
            } else if seen.contains(&name) {
                self.add(path, format!("{what} {name} is there twice"));
            } else {
                seen.push(name);
            }
        }
    }

    /// A name that people type: on command lines, in lists, in other sections.
    pub(super) fn name(&mut self, path: &str, name: &str) {
        let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let chars = name.chars().count();
        if chars == 0 || chars > NAME_CHARS || !name.chars().all(good) {
            self.add(path, "must be 1 to 64 letters, digits, '_', '-' or '.'");
        }
    }
}

fn schedule(schedule: &Schedule, found: &mut Findings) {
    let path = |key: &str| format!("schedule[{}].{key}", schedule.id);
    check(schedule, &path, found);
    let Some(zone) = &schedule.zone else { return };
    if jiff::tz::TimeZone::get(zone).is_err() {
        found.add(path("zone"), "is no time zone of this host, such as Europe/Berlin");
    }
    if schedule.start.is_none() {
        found.add(path("zone"), "needs a start: its time of day is what the zone keeps");
    }
    if !schedule.every.secs().is_multiple_of(Period::DAY.secs()) {
        found.add(path("zone"), "needs an every of whole days; shorter periods know no zone");
    }
}

/// Whether a condition can stand in parentheses: it closes what it opens, and nothing else.
fn closes_what_it_opens(condition: &str) -> bool {
    // Whether it escapes a quote is for the database to say.
    if condition.contains('\\') {
        return true;
    }
    let (mut depth, mut quote) = (0i64, None);
    for c in condition.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return false,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    depth == 0 && quote.is_none()
}

/// Whether a statement only asks.
fn is_question(sql: &str) -> bool {
    let sql = sql.trim_start().trim_start_matches('(').trim_start();
    let word: String = sql.chars().take_while(char::is_ascii_alphabetic).collect();
    ["select", "show", "with", "values"].contains(&word.to_ascii_lowercase().as_str())
}

fn link(link: &Link, found: &mut Findings) {
    let path = |key: &str| format!("link[{}].{key}", link.name);
    found.name(&path("name"), &link.name);
    check(link, &path, found);
    if let Err(message) = check_url(&link.url) {
        found.add(path("url"), message);
    }
    if let Some(password) = &link.password {
        secret_source(&path("password"), password, found);
    }
    if link.throttle.as_ref().is_some_and(|throttle| !is_question(&throttle.query)) {
        found.add(
            path("throttle.query"),
            "must be a query, beginning with SELECT, SHOW, WITH or VALUES",
        );
    }
    if link.url.starts_with("sqlite:") {
        if link.password.is_some() {
            found.add(path("password"), "a SQLite file has no password; its file mode protects it");
        }
        if link.tls != TlsMode::Off {
            found.add(path("tls"), "a SQLite file is not reached over a network");
        }
    }
    if link.url.starts_with("oracle:") {
        oracle_link(link, &path, found);
    } else {
        if link.driver != OracleDriver::default() {
            found.add(path("driver"), "is only used with oracle:// links");
        }
        if link.wallet_dir.is_some() {
            found.add(path("wallet_dir"), "is only used with oracle:// links");
        }
    }
    match (&link.tls_ca_file, &link.tls) {
        (Some(_), TlsMode::Off | TlsMode::Required) => {
            found.add(path("tls_ca_file"), "is only used with tls = \"verified\"");
        }
        (Some(file), TlsMode::Verified) if !file.is_absolute() => {
            found.add(path("tls_ca_file"), "must be an absolute path");
        }
        _ => {}
    }
}

/// What only Oracle links have. A connect descriptor says itself whether there is TLS.
fn oracle_link(link: &Link, path: &impl Fn(&str) -> String, found: &mut Findings) {
    if link.tls == TlsMode::Required {
        found.add(path("tls"), "can be off or verified; Oracle's drivers check every certificate");
    }
    match (&link.wallet_dir, &link.tls) {
        (Some(_), TlsMode::Off | TlsMode::Required) => {
            found.add(path("wallet_dir"), "is only used with tls = \"verified\"");
        }
        (Some(dir), TlsMode::Verified) if !dir.is_absolute() => {
            found.add(path("wallet_dir"), "must be an absolute path");
        }
        (Some(_), TlsMode::Verified) if link.tls_ca_file.is_some() => {
            found.add(path("tls_ca_file"), "cannot stand beside wallet_dir, which holds its own");
        }
        _ => {}
    }
    if link.driver == OracleDriver::Oci && link.tls_ca_file.is_some() {
        found.add(path("tls_ca_file"), "is not used by driver = \"oci\"; give a wallet_dir");
    }
    let Ok(oracle::url::OracleUrl { place: oracle::url::Place::Descriptor(descriptor), .. }) =
        oracle::url::parse(&link.url)
    else {
        return;
    };
    let differs = match link.tls {
        TlsMode::Off => {
            descriptor.to_ascii_lowercase().contains("tcps").then_some("has PROTOCOL=tcps")
        }
        TlsMode::Required | TlsMode::Verified => oracle::url::clear_part(&descriptor),
    };
    if let Some(what) = differs {
        found.add(
            path("tls"),
            format!(
                "does not say what the connect descriptor says, which {what}: PROTOCOL=tcps belongs \
                 to tls = \"verified\", PROTOCOL=tcp to tls = \"off\""
            ),
        );
    }
}

/// Whether `url` names a database in a form that can be stored and shown: a known scheme, no
/// password, no options. The message never shows the URL, which may hold a password.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let refused = || {
        let form = match url.split_once(':') {
            Some(("oracle", _)) => "oracle://user@host:port/service",
            Some(("mariadb", _)) => "mariadb://user@host/database",
            _ => "mysql://user@host/database",
        };
        format!(
            "a password in the URL is refused, since URLs are stored and shown; write {form} and \
             give the password as password = {{ env = \"NAME\" }}, {{ file = \"/path\" }} or \
             {{ stored = true }}"
        )
    };
    // Before anything else, also for what is no URL: user:something@ holds a password.
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err(refused());
    }
    if url.starts_with("oracle:") {
        return oracle::url::parse(url).map(drop);
    }
    let parsed = Url::parse(url).map_err(|e| {
        format!(
            "is not a URL ({e}); write mysql://user@host:port/database, \
             oracle://user@host:port/service or sqlite:///path/file"
        )
    })?;
    if parsed.password().is_some() {
        return Err(refused());
    }
    let unknown = |e: crate::Error| {
        let known = e.hint.unwrap_or_default();
        format!("there is no connector for {}://. {known}", parsed.scheme())
    };
    let dialect = dialect_of(url).map_err(unknown)?;
    let is_sqlite = dialect.name() == "sqlite";
    let known_option = match parsed.query() {
        None => true,
        Some(query) if is_sqlite => matches!(query, "create=true" | "create=false"),
        Some(query) => query.starts_with("socket=/") && !query.contains('&'),
    };
    if !known_option || parsed.fragment().is_some() {
        return Err(
            "takes no options but ?socket=/path (MySQL) and ?create=true (SQLite); the others \
                    are keys of [[link]]"
                .to_owned(),
        );
    }
    if is_sqlite {
        let absolute = url.starts_with("sqlite:///") && parsed.path().len() > 1;
        if !absolute {
            return Err("needs the absolute path of a file: sqlite:///path/file.db".to_owned());
        }
    } else {
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err("names no host; write mysql://user@host:port/database".to_owned());
        }
        if parsed.username().is_empty() {
            return Err("names no user; write mysql://user@host:port/database".to_owned());
        }
    }
    Ok(())
}

pub(super) fn secret_source(path: &str, source: &SecretSource, found: &mut Findings) {
    match source {
        SecretSource::Env { env } => {
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if env.is_empty()
                || !env.chars().all(good)
                || env.starts_with(|c: char| c.is_ascii_digit())
            {
                found.add(
                    format!("{path}.env"),
                    "must be the name of an environment variable: letters, digits and '_'",
                );
            }
        }
        SecretSource::File { file } => {
            if !file.is_absolute() {
                found.add(format!("{path}.file"), "must be an absolute path");
            }
        }
        SecretSource::Stored { stored } => {
            if !stored {
                found.add(format!("{path}.stored"), "can only be true");
            }
        }
    }
}

fn key(key: &Key, found: &mut Findings) {
    let path = |part: &str| format!("key[{}].{part}", key.name);
    found.name(&path("name"), &key.name);
    check(key, &path, found);
    let old = key.old.iter().enumerate().map(|(i, old)| (path(&format!("old[#{}]", i + 1)), old));
    for (path, source) in std::iter::once((path("secret"), &key.secret)).chain(old) {
        match source {
            // A key beside the data it opens protects nothing.
            SecretSource::Stored { .. } => found.add(
                path,
                "keys are not stored in the configuration database; use { env = \"NAME\" } or \
                 { file = \"/path\" } (ssync key new makes one)",
            ),
            source => secret_source(&path, source, found),
        }
    }
}

fn task(task: &Task, config: &Config, found: &mut Findings) {
    let path = |key: &str| format!("task[{}].{key}", task.id);
    check(task, &path, found);
    if let Some(message) = task.name.as_deref().and_then(task_name::check) {
        found.add(path("name"), message);
    }
    if let Some(id) = task.schedule
        && !config.schedules.iter().any(|s| s.id == id)
    {
        found.add(path("schedule"), format!("there is no schedule {id}"));
    }
    for (key, name) in [("source", &task.source), ("dest", &task.dest)] {
        if !config.links.iter().any(|l| l.name == *name) {
            found.add(path(key), format!("there is no link {name:?}"));
        }
    }
    if task.tables.is_empty() {
        found.add(path("table"), "a task needs at least one [[task.table]]");
    }
    let list = format!("task[{}].table", task.id);
    found.unique(&list, "name", task.tables.iter().map(|t| &t.name));
    for table in &task.tables {
        table_task(&format!("{list}[{}]", table.name), table, task, config, found);
    }
}

fn table_task(path: &str, table: &TableTask, task: &Task, config: &Config, found: &mut Findings) {
    let at = |key: &str| format!("{path}.{key}");
    found.name(&at("name"), &table.name);
    check(table, &at, found);
    for (key, name) in [("source", &table.source), ("dest", &table.dest)] {
        let parts = split_table_name(name);
        if parts.len() > 2 || parts.iter().any(|p| p.trim().is_empty()) {
            found.add(at(key), "must be table or schema.table; quote a part to keep a dot in it");
        }
    }
    let same_database = task.source == task.dest || {
        let url = |name: &str| config.links.iter().find(|l| l.name == name).map(|l| &l.url);
        url(&task.source).is_some() && url(&task.source) == url(&task.dest)
    };
    if same_database && split_table_name(&table.source) == split_table_name(&table.dest) {
        found.add(at("dest"), "source and destination are the same table");
    }
    mode(&at, table, found);
    columns(&at, table, found);
    crypto(&at, table, config, found);
    empty_as(&at, table, task, config, found);
    if table.filter.as_ref().is_some_and(|f| f.trim().is_empty()) {
        found.add(at("where"), "must not be empty; leave it out to send all rows");
    }
    if table.filter.as_ref().is_some_and(|f| !closes_what_it_opens(f)) {
        found.add(at("where"), "its parentheses or quotes are not closed");
    }
    for (phase, sql) in [("before", &table.before), ("after", &table.after)] {
        for (side, statements) in [("source", &sql.source), ("dest", &sql.dest)] {
            for (i, statement) in statements.iter().enumerate() {
                if statement.trim().is_empty() {
                    found.add(at(&format!("{phase}.{side}[#{}]", i + 1)), "must not be empty");
                }
            }
        }
    }
}

fn mode(at: &impl Fn(&str) -> String, table: &TableTask, found: &mut Findings) {
    match (table.mode, &table.watermark) {
        (TableMode::Increment, None) => {
            found.add(
                at("watermark"),
                "is missing; mode = \"increment\" needs watermark = { column = \"…\", lag = \"…\" }",
            );
        }
        (TableMode::Status | TableMode::Full, Some(_)) => {
            found.add(at("watermark"), "is only used with mode = \"increment\"");
        }
        _ => {}
    }
    if let Some(mark) = &table.watermark {
        if mark.column.trim().is_empty() {
            found.add(at("watermark.column"), "must not be empty");
        }
        if matches!(mark.lag, Lag::Count(n) if i64::try_from(n).is_err()) {
            found.add(at("watermark.lag"), "is too large a number");
        }
    }
    if table.full != FullMethod::default() && table.mode != TableMode::Full {
        found.add(at("full"), "is only used with mode = \"full\"");
    }
    if !table.count && table.mode == TableMode::Status {
        found.add(at("count"), "is not used with mode = \"status\"");
    }
    if table.initial.is_some() && table.mode != TableMode::Increment {
        found.add(at("initial"), "is only used with mode = \"increment\"");
    }
    if table.initial.as_ref().is_some_and(|value| value.trim().is_empty()) {
        found.add(at("initial"), "must not be empty");
    }
    if table.app_resets_status && table.mode != TableMode::Status {
        found.add(at("app_resets_status"), "is only used with mode = \"status\"");
    }
}

fn columns(at: &impl Fn(&str) -> String, table: &TableTask, found: &mut Findings) {
    found.distinct(&at("key"), "column", table.key.iter().map(String::as_str));
    found.distinct(&at("columns"), "source column", table.columns.iter().map(|c| c.from()));
    // Same-named columns that are doubled were reported as source columns already.
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (i, column) in table.columns.iter().enumerate() {
        let path = at(&format!("columns[#{}]", i + 1));
        if column.to().trim().is_empty() && !column.from().trim().is_empty() {
            found.add(path.clone(), "must not be empty");
        }
        if let Some((from, _)) = seen.iter().find(|(_, to)| *to == column.to())
            && *from != column.from()
        {
            let message = format!("destination column {} gets two columns", column.to());
            found.add(path.clone(), message);
        }
        seen.push((column.from(), column.to()));
        let status = |name: &str| name.eq_ignore_ascii_case(SYNC_STATUS);
        if table.mode == TableMode::Status && (status(column.from()) || status(column.to())) {
            found
                .add(path, "sync_status is the source's own control column and is not transferred");
        }
    }
    found.distinct(&at("allow_lossy"), "column", table.allow_lossy.iter().map(String::as_str));
    for (i, name) in table.allow_lossy.iter().enumerate() {
        if !is_transferred(table, name) {
            let message = format!("column {name} is not among columns");
            found.add(at(&format!("allow_lossy[#{}]", i + 1)), message);
        }
    }
    if table.write != WriteMode::Insert {
        for (i, name) in table.key.iter().enumerate() {
            if !is_transferred(table, name) {
                let message = format!(
                    "column {name} is not among columns, but write = {:?} finds rows by it",
                    write_word(table.write)
                );
                found.add(at(&format!("key[#{}]", i + 1)), message);
            }
        }
    }
}

fn crypto(at: &impl Fn(&str) -> String, table: &TableTask, config: &Config, found: &mut Findings) {
    for (verb, map) in [("encrypt", &table.encrypt), ("decrypt", &table.decrypt)] {
        for (column, choice) in map {
            let path = at(&format!("{verb}[{column}]"));
            if !config.keys.iter().any(|k| k.name == choice.key()) {
                found.add(path.clone(), format!("there is no key {:?}", choice.key()));
            }
            if !is_transferred(table, column) {
                found.add(path.clone(), format!("column {column} is not among columns"));
            }
            let is_key = table.key.iter().any(|k| k == column);
            if verb == "encrypt"
                && is_key
                && !choice.deterministic()
                && table.write != WriteMode::Insert
            {
                found.add(
                    path,
                    format!(
                        "a key column encrypted with random nonces never finds its row again, \
                         which write = {:?} needs; use {{ key = \"…\", deterministic = true }}",
                        write_word(table.write)
                    ),
                );
            }
        }
    }
    for column in table.decrypt.keys().filter(|c| table.encrypt.contains_key(*c)) {
        found.add(
            at(&format!("decrypt[{column}]")),
            "the column is under encrypt too; it can be one of them",
        );
    }
}

fn empty_as(
    at: &impl Fn(&str) -> String,
    table: &TableTask,
    task: &Task,
    config: &Config,
    found: &mut Findings,
) {
    if table.empty_as.is_empty() {
        return;
    }
    let ends = || config.links.iter().filter(|l| l.name == task.source || l.name == task.dest);
    if !ends().any(|l| l.url.starts_with("oracle:")) {
        found.add(at("empty_as"), "is only used where one of the two links is an oracle:// one");
    }
    for (column, choice) in table.empty_as.iter().filter(|(c, _)| *c != OTHER_COLUMNS) {
        let path = at(&format!("empty_as[{column}]"));
        if !is_transferred(table, column) {
            found.add(path, format!("column {column} is not among columns"));
        } else if table.encrypt.contains_key(column) {
            found.add(path, "an encrypted value is never empty");
        } else if *choice == EmptyAs::Null && table.key.contains(column) {
            found.add(path, "a key column cannot be NULL");
        }
    }
}

/// Whether a source column is transferred, as far as the configuration alone can tell.
fn is_transferred(table: &TableTask, source_column: &str) -> bool {
    table.columns.is_empty() || table.columns.iter().any(|c| c.from() == source_column)
}

fn write_word(mode: WriteMode) -> &'static str {
    match mode {
        WriteMode::Insert => "insert",
        WriteMode::Upsert => "upsert",
        WriteMode::Replace => "replace",
        WriteMode::Ignore => "ignore",
    }
}

/// CORRECTNESS 7: of two `full` sub-tasks into one table, each would delete the other's rows; one
/// that inserts into a table that another one fills anew would insert rows that are there.
fn one_filler_of_each_destination(config: &Config, found: &mut Findings) {
    let mut known: Vec<(String, Vec<String>, String, bool)> = Vec::new();
    for task in &config.tasks {
        for table in &task.tables {
            let full = table.mode == TableMode::Full;
            if !full && table.write != WriteMode::Insert {
                continue;
            }
            let url = config.links.iter().find(|l| l.name == task.dest).map(|l| l.url.clone());
            let database = url.unwrap_or_else(|| task.dest.clone());
            let name = split_table_name(&table.dest);
            let path = format!("task[{}].table[{}]", task.id, table.name);
            let other = known.iter().find(|(d, n, p, other_is_full)| {
                *d == database && *n == name && *p != path && (full || *other_is_full)
            });
            if let Some((_, _, other, other_is_full)) = other {
                let why = match full && *other_is_full {
                    true => "each full run empties it first, so only one sub-task can fill it",
                    false => {
                        "of the two, one is full and one inserts, so that rows would come twice; \
                         the latter needs write = \"upsert\", or a destination of its own"
                    }
                };
                found.add(
                    format!("{path}.dest"),
                    format!("{} is the destination of {other} too; {why}", table.dest),
                );
            }
            known.push((database, name, path, full));
        }
    }
}

/// CORRECTNESS 12: two `status` sub-tasks of one source table would take each other's rows.
fn one_owner_of_each_status_table(config: &Config, found: &mut Findings) {
    let mut owners: BTreeMap<(String, Vec<String>), String> = BTreeMap::new();
    for task in &config.tasks {
        for table in task.tables.iter().filter(|t| t.mode == TableMode::Status) {
            let url = config.links.iter().find(|l| l.name == task.source).map(|l| l.url.clone());
            let database = url.unwrap_or_else(|| task.source.clone());
            let path = format!("task[{}].table[{}]", task.id, table.name);
            match owners.entry((database, split_table_name(&table.source))) {
                Entry::Occupied(owner) if *owner.get() != path => {
                    found.add(
                        format!("{path}.source"),
                        format!(
                            "{} is the source of {} too; only one sub-task can own a table's \
                             sync_status",
                            table.source,
                            owner.get()
                        ),
                    );
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    place.insert(path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_closes_what_it_opens() {
        for good in ["id > 1", "(a = ')' or b = '(') and c", "x = 'it''s'", "v = 'a\\' or (1", ""] {
            assert!(closes_what_it_opens(good), "{good}");
        }
        for bad in ["id > 1) or (1=1", "(id > 1", "v = 'x", "a = 1)"] {
            assert!(!closes_what_it_opens(bad), "{bad}");
        }
    }

    #[test]
    fn a_throttle_only_asks() {
        for good in
            ["SELECT 1", " (select 1)", "SHOW STATUS", "with x as (select 1) select * from x"]
        {
            assert!(is_question(good), "{good}");
        }
        for bad in ["DELETE FROM t", "", "selected", "CALL p()"] {
            assert!(!is_question(bad), "{bad}");
        }
    }
}
