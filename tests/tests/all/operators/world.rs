//! All sources, destinations and homes of a case, and what must be so after every run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use ssync_common::crypto::{KeyRing, Mode as SealMode, Opener};
use ssync_common::schema::Kind;
use ssync_common::secret::Secret;
use ssync_tests::rng::Rng;
use ssync_tests::servers::oracle::OracleAccount;
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

use super::case::{Case, Mode, Software};
use super::sides::{self, Backup, Held};
use super::stream::Stream;

/// Keys that there are.
pub const KEYS: usize = 4;

fn key_text(number: usize) -> String {
    let mut rng = Rng::new(4711, number as u64);
    (0..4).map(|_| format!("{:016x}", rng.next())).collect()
}

fn key_variable(number: usize) -> String {
    format!("SSYNC_TEST_OPERATORS_KEY_{number}")
}

pub struct DestBackup {
    pub backup: Backup,
    seen: BTreeSet<(i64, i64)>,
    open_since: Vec<Option<i64>>,
    /// Whether the table had been emptied, and no run had filled it again.
    emptied: Vec<bool>,
    indexes: Vec<String>,
    trigger: bool,
}

pub struct Dest {
    pub site: Site,
    /// What the table is called now.
    pub table: String,
    /// What it was ever called: values are sealed into a table of a name.
    names: Vec<String>,
    /// Versions that were there, and that nobody has taken away.
    pub seen: BTreeSet<(i64, i64)>,
    pub backup: Option<DestBackup>,
    pub indexes: Vec<String>,
    pub has_trigger: bool,
}

pub struct World<'a> {
    pub case: &'a Case,
    pub rng: Rng,
    /// Counts changes; versions are numbered by it.
    pub clock: i64,
    pub streams: Vec<Stream>,
    pub dests: Vec<Dest>,
    pub scratch: tempfile::TempDir,
    /// Another database on either server, as somebody's default.
    elsewhere: [Option<Site>; 2],
    /// What happened so far.
    pub story: Vec<String>,
    /// How often which action was taken, and which end a run had.
    pub tally: BTreeMap<String, u64>,
    count: u64,
}

impl<'a> World<'a> {
    pub fn new(case: &'a Case, rng: Rng, account: Option<&OracleAccount<'_>>) -> World<'a> {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = case.road;
        let source = site(from, "opsrc", scratch.path(), account);
        let dest = site(to, "opdst", scratch.path(), account);
        let stream = Stream::new(source, 0, case);
        let mut world = World {
            case,
            rng,
            clock: 0,
            streams: vec![stream],
            dests: Vec::new(),
            scratch,
            elsewhere: [None, None],
            story: Vec::new(),
            tally: BTreeMap::new(),
            count: 0,
        };
        world.add_dest(dest);
        world.streams[0].insert(&mut world.clock, 60);
        world.add_home(0);
        world
    }

    fn add_dest(&mut self, site: Site) {
        sides::create(&site, "dst", false, self.case.mode.is_upsert());
        self.dests.push(Dest {
            site,
            table: "dst".to_owned(),
            names: vec!["dst".to_owned()],
            seen: BTreeSet::new(),
            backup: None,
            indexes: Vec::new(),
            has_trigger: false,
        });
    }

    /// A destination for a copy.
    pub fn another_dest(&mut self) -> usize {
        let dest = site(self.case.road.1, "opdst2", self.scratch.path(), None);
        self.add_dest(dest);
        self.dests.len() - 1
    }

    pub fn add_home(&mut self, stream: usize) {
        let toml = self.toml(stream);
        let mut home = Instance::new(&toml);
        for key in 0..KEYS {
            home.set_env(&key_variable(key), &key_text(key));
        }
        self.streams[stream].homes.push(home);
    }

    pub fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Removes what it has on servers that other cases go on with.
    pub fn remove_databases(&self) {
        let sources = self.streams.iter().map(|stream| &stream.source);
        let dests = self.dests.iter().map(|dest| &dest.site);
        sources.chain(dests).chain(self.elsewhere.iter().flatten()).for_each(Site::remove);
    }

    /// A database that has nothing to do with it, on the server of a side.
    pub fn elsewhere(&mut self, side: usize) -> String {
        let software = [self.case.road.0, self.case.road.1][side];
        let scratch = self.scratch.path();
        let site =
            self.elsewhere[side].get_or_insert_with(|| site(software, "opelse", scratch, None));
        sides::database(site).unwrap()
    }

    /// The configuration of a stream.
    pub fn toml(&self, stream: usize) -> String {
        let stream = &self.streams[stream];
        let dest = &self.dests[stream.dest];
        let (case, set) = (self.case, &stream.settings);
        let scratch = self.scratch.path();
        let sides = [(&stream.source, &set.source), (&dest.site, &set.dest)];
        let mut links = String::new();
        let mut names = Vec::new();
        for (side, (site, table)) in sides.into_iter().enumerate() {
            let other = self.elsewhere[side].as_ref().and_then(sides::database);
            let default = other.filter(|_| set.elsewhere[side]);
            names.push(match (&default, sides::database(site)) {
                (Some(_), Some(database)) => format!("{database}.{table}"),
                _ => table.clone(),
            });
            links += &sides::link(
                site,
                &set.links[side],
                set.address[side],
                default.as_deref(),
                scratch,
            );
        }
        let mode = match case.mode {
            Mode::StatusInsert | Mode::StatusUpsert => "app_resets_status = true\n".to_owned(),
            Mode::Truncate => "mode = \"full\"\n".to_owned(),
            Mode::Swap => "mode = \"full\"\nfull = \"swap\"\n".to_owned(),
            Mode::IncrementInsert | Mode::IncrementUpsert => {
                "mode = \"increment\"\nwatermark = { column = \"ver\", lag = \"0\" }\n".to_owned()
            }
        };
        let mut lines = mode;
        if case.mode.is_upsert() {
            lines += "write = \"upsert\"\n";
        }
        if set.filter {
            lines += "where = \"grp < 7\"\n";
        }
        if set.left_out {
            lines += "columns = [\"id\", \"ver\", \"grp\", \"v\"]\n";
        }
        if let Some(initial) = &set.initial {
            lines += &format!("initial = \"{initial}\"\n");
        }
        if set.allow_triggers {
            lines += "allow_triggers = true\n";
        }
        let mut keys = String::new();
        if case.encrypted {
            lines += "encrypt = { v = \"pii\" }\n";
            let env = |key: &usize| format!("{{ env = \"{}\" }}", key_variable(*key));
            let old: Vec<_> = set.keys[1..].iter().map(env).collect();
            keys = format!(
                "[[key]]\nname = \"pii\"\nsecret = {}\nold = [{}]\n",
                env(&set.keys[0]),
                old.join(", ")
            );
        }
        format!(
            "{links}{keys}[[task]]\nid = 1\nsource = \"{}\"\ndest = \"{}\"\nwriters = 2\n\
             batch_rows = 10\nbatch_millis = 3600000\nslot_bytes = 65536\n\
             [[task.table]]\nname = \"t\"\nsource = \"{}\"\ndest = \"{}\"\n{lines}",
            set.links[0], set.links[1], names[0], names[1]
        )
    }

    /// Every home of the stream gets the configuration of now.
    pub fn configure(&mut self, stream: usize) {
        let toml = self.toml(stream);
        for home in &self.streams[stream].homes {
            home.apply(&toml);
        }
    }

    // --- The destination ----------------------------------------------------------------------

    pub fn rename_dest(&mut self, dest: usize, to: &str) {
        let dest = &mut self.dests[dest];
        sides::rename(&dest.site, &dest.table, to);
        dest.table = to.to_owned();
        dest.names.push(to.to_owned());
    }

    pub fn back_up_dest(&mut self, dest: usize) {
        let number = self.number();
        let open_since = self.streams.iter().map(|s| s.open_since).collect();
        let emptied = self.streams.iter().map(|s| s.pending.dest_emptied).collect();
        let dest = &mut self.dests[dest];
        let backup = sides::back_up(&dest.site, &dest.table, self.scratch.path(), number);
        dest.backup = Some(DestBackup {
            backup,
            seen: dest.seen.clone(),
            open_since,
            emptied,
            indexes: dest.indexes.clone(),
            trigger: dest.has_trigger,
        });
    }

    pub fn restore_dest(&mut self, at: usize, replaced: bool) {
        let dest = &mut self.dests[at];
        let Some(kept) = dest.backup.take() else { return };
        kept.backup.restore(&dest.site, replaced);
        dest.seen = kept.seen;
        if dest.site.is_sqlite() {
            dest.indexes = kept.indexes;
            dest.has_trigger = kept.trigger;
        }
        let has_trigger = dest.has_trigger;
        for (n, stream) in self.streams.iter_mut().enumerate().filter(|(_, s)| s.dest == at) {
            stream.pending.dest_restored = true;
            stream.lost_records += 1;
            stream.pending.trigger_at_dest = has_trigger && !stream.settings.allow_triggers;
            stream.pending.dest_emptied = kept.emptied.get(n).copied().unwrap_or_default();
            if let Some(since) = kept.open_since.get(n).copied().flatten() {
                stream.open_since = Some(since);
            }
        }
    }

    /// The table alone loses its rows; `anew`: by being dropped and made again.
    pub fn empty_dest(&mut self, at: usize, anew: bool) {
        let dest = &mut self.dests[at];
        if anew {
            dest.site.run(&[format!("DROP TABLE {}", dest.table)]);
            sides::create(&dest.site, &dest.table, false, self.case.mode.is_upsert());
            dest.indexes.clear();
            dest.has_trigger = false;
        } else {
            dest.site.run(&[format!("DELETE FROM {}", dest.table)]);
        }
        dest.seen.clear();
    }

    /// Rows of a stream at its destination, by id.
    pub fn landed(&self, stream: usize) -> Vec<Held> {
        let stream = &self.streams[stream];
        let dest = &self.dests[stream.dest];
        let mut rows = sides::held(&dest.site, &dest.table);
        rows.retain(|row| {
            self.owner_of(stream.dest, row.id).is_some_and(|s| std::ptr::eq(s, stream))
        });
        rows
    }

    fn owner_of(&self, dest: usize, id: i64) -> Option<&Stream> {
        let is_copy = id >= super::stream::COPY_IDS;
        self.streams.iter().find(|s| s.dest == dest && s.is_copy == is_copy)
    }

    /// Opens the values of rows; with which key each was sealed.
    fn open(&self, dest: &Dest, rows: &mut [Held]) -> Vec<Option<usize>> {
        let mut by = vec![None; rows.len()];
        if !self.case.encrypted {
            return by;
        }
        let sealed: ArrayRef =
            Arc::new(rows.iter().map(|row| Some(row.v.clone())).collect::<StringArray>());
        for key in 0..KEYS {
            let secret = Secret::from(key_text(key));
            let ring = KeyRing::new("pii", &secret, &[]).unwrap();
            for name in &dest.names {
                let mut opener = Opener::new(&ring, name, "v", SealMode::Random).unwrap();
                let (plain, _) = opener.open_column(&sealed, Kind::Text, Kind::Text).unwrap();
                let plain = plain.as_string::<i32>();
                for at in (0..rows.len()).filter(|at| plain.is_valid(*at)) {
                    rows[at].v = plain.value(at).to_owned();
                    by[at] = Some(key);
                }
            }
        }
        by
    }

    /// What must be so whatever has happened: nothing is doubled, mixed or from nowhere, and what
    /// has landed stays.
    pub fn beyond(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for at in 0..self.dests.len() {
            let dest = &self.dests[at];
            let mut rows = sides::held(&dest.site, &dest.table);
            let by = self.open(dest, &mut rows);
            let mut counts: BTreeMap<(i64, i64), u64> = BTreeMap::new();
            let keeps_versions = !self.case.mode.is_full() && !self.case.mode.is_upsert();
            for (row, sealed_by) in rows.iter().zip(by) {
                let ver = if keeps_versions { row.ver } else { 0 };
                *counts.entry((row.id, ver)).or_default() += 1;
                match self.owner_of(at, row.id) {
                    Some(stream) => wrong.extend(stream.judge(row, sealed_by)),
                    None => wrong.push(format!("of no source that goes there: {row:?}")),
                }
                if self.case.encrypted && sealed_by.is_none() {
                    wrong.push(format!("not sealed with any key: {row:?}"));
                }
            }
            let doubled = counts.into_iter().filter(|(_, n)| *n > 1);
            wrong.extend(doubled.map(|(row, n)| format!("{n} times: {row:?}")));
            if keeps_versions {
                let there: BTreeSet<_> = rows.iter().map(|row| (row.id, row.ver)).collect();
                let dest = &mut self.dests[at];
                let gone: Vec<_> = dest.seen.difference(&there).take(8).collect();
                if !gone.is_empty() {
                    wrong.push(format!("landed, and gone: {gone:?}"));
                }
                dest.seen = there;
            }
        }
        for stream in &self.streams {
            wrong.extend(stream.source_faults());
        }
        wrong
    }

    /// What must be so after a run that says that it is done; `resumed`: one that went on with a
    /// run that had been begun before.
    pub fn missing(&self, at: usize, resumed: bool) -> Vec<String> {
        let stream = &self.streams[at];
        let dest = &self.dests[stream.dest];
        let mut rows = self.landed(at);
        let by = self.open(dest, &mut rows);
        let mode = self.case.mode;
        let mut wrong = Vec::new();
        let by_id: BTreeMap<i64, &Held> = rows.iter().map(|row| (row.id, row)).collect();
        let versions: BTreeSet<_> = rows.iter().map(|row| (row.id, row.ver)).collect();
        let since = stream.open_since.filter(|_| resumed && !mode.is_status());
        let settled = |clock: i64| since.is_none_or(|since| clock <= since);
        for (id, now) in stream.wanted().filter(|(_, now)| settled(now.clock)) {
            let there = match mode {
                Mode::StatusInsert | Mode::IncrementInsert => versions.contains(&(id, now.ver)),
                _ => by_id.get(&id).is_some_and(|row| row.ver == now.ver),
            };
            if !there {
                wrong.push(format!("missing: id {id}, version {}", now.ver));
            }
        }
        if mode.is_full() {
            let wanted: BTreeSet<i64> = stream.wanted().map(|(id, _)| id).collect();
            for (row, sealed_by) in rows.iter().zip(by) {
                if since.is_none() && !wanted.contains(&row.id) {
                    wrong.push(format!("not to be there: {row:?}"));
                }
                if row.note != stream.note_now(row.ver) {
                    wrong.push(format!("another note: {row:?}"));
                }
                if sealed_by.is_some_and(|key| key != stream.settings.keys[0]) {
                    wrong.push(format!(
                        "sealed with key {sealed_by:?} that is not the current one: {row:?}"
                    ));
                }
            }
        }
        if mode.is_status() {
            let wanted: BTreeSet<i64> = stream.wanted().map(|(id, _)| id).collect();
            for (id, ver, state) in sides::states(&stream.source, &stream.table) {
                if state == 1 || state == 3 || (state != 2 && wanted.contains(&id)) {
                    wrong.push(format!("id {id}, version {ver} is in state {state}"));
                }
            }
        }
        for index in &dest.indexes {
            if !sides::has_index(&dest.site, index) {
                wrong.push(format!("index {index} of the destination is gone"));
            }
        }
        wrong.truncate(12);
        wrong
    }
}

/// A fresh site of that software.
fn site(
    software: Software,
    name: &str,
    scratch: &std::path::Path,
    account: Option<&OracleAccount<'_>>,
) -> Site {
    match (software, account) {
        (Software::MariaDb, _) => Site::on_server(mariadb(), name),
        (Software::MySql56, _) => Site::on_server(mysql56(), name),
        (Software::Sqlite, _) => Site::in_file(scratch, name),
        (Software::Oracle, Some(account)) => Site::of_account(account),
        (Software::Oracle, None) => panic!("no account"),
    }
}
