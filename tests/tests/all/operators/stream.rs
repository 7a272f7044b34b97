//! A source table, its configuration and the homes that run it; and the model: which versions of
//! which rows it has had, and which of them must, or may, be at the destination.

use std::collections::{BTreeMap, BTreeSet};

use ssync_tests::rng::Rng;
use ssync_tests::sites::{Cell, Row, Session, Site};
use ssync_tests::ssync::Instance;

use super::case::{Case, Mode};
use super::sides::{self, Backup, Held};

/// Ids of a copy's rows begin here.
pub const COPY_IDS: i64 = 1_000_000;
/// Rows with a group from here on do not meet the filter.
const GROUP_MAX: i64 = 7;

/// What the configuration says that operators change.
#[derive(Debug, Clone)]
pub struct Settings {
    pub source: String,
    pub dest: String,
    /// Names of the links; addresses; whether their default database is another one.
    pub links: [String; 2],
    pub address: [u64; 2],
    pub elsewhere: [bool; 2],
    pub filter: bool,
    /// The note is left out.
    pub left_out: bool,
    /// Numbers of the keys, the current one first.
    pub keys: Vec<usize>,
    pub initial: Option<String>,
    pub allow_triggers: bool,
}

/// What an operator has done, and has not seen settled: the only reasons for a run to refuse.
#[derive(Debug, Clone, Default)]
pub struct Pending {
    /// The configuration has a former name.
    pub stale_source: bool,
    pub stale_dest: bool,
    /// A former name.
    pub source_was: Option<String>,
    pub dest_was: Option<String>,
    pub source_restored: bool,
    pub dest_restored: bool,
    pub dest_emptied: bool,
    pub own_source_dropped: bool,
    pub own_dest_dropped: bool,
    /// The source was restored to a state that knows a record at the destination which was lost since.
    pub knows_lost_record: bool,
    pub trigger_at_dest: bool,
    /// Something appeared at a destination that is swapped.
    pub shape_changed: bool,
    /// It is a copy, or has one, and the two were not told apart yet.
    pub copied: bool,
    /// It was told to begin anew, and no run of it has left a record yet.
    pub anew: bool,
}

/// A version of a row, since when it has been there.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    pub ver: i64,
    pub clock: i64,
}

/// A version of a row that was there once.
#[derive(Debug, Clone)]
pub struct Version {
    /// Which key was the current one when it was made.
    key: usize,
    /// A run has seen it as one of those that are to be sent.
    pub may_land: bool,
}

pub struct SourceBackup {
    pub backup: Backup,
    rows: BTreeMap<i64, Since>,
    trigger: bool,
    /// What the destination was called, as far as the source knew.
    dest: String,
    /// A former name of the source, under which it was known.
    source_was: Option<String>,
    /// A copy that was not told apart yet.
    copied: bool,
    /// Records at the destination that had been lost, and that the source knew of.
    lost_records: u64,
}

/// How a run fills a table anew: two homes that do so otherwise are two sub-tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    source: (String, u64),
    filter: bool,
    left_out: bool,
    key: usize,
}

pub struct Stream {
    pub source: Site,
    /// What the table is called now.
    pub table: String,
    /// Number of its destination.
    pub dest: usize,
    pub is_copy: bool,
    pub homes: Vec<Instance>,
    pub settings: Settings,
    pub pending: Pending,
    /// Whether a run of it has got beyond its configuration.
    pub ran: bool,
    /// When the run that is under way may have begun.
    pub open_since: Option<i64>,
    pub backup: Option<SourceBackup>,
    /// How often the destination lost its record of what landed, or got an older one.
    pub lost_records: u64,
    /// How often another file took the source's place.
    replaced: u64,
    /// What runs have filled the destination as, since one was done, that one included.
    pub filled_as: Vec<Filling>,
    pub has_trigger: bool,
    pub ever_left_out: bool,
    /// The rows as they are.
    pub now: BTreeMap<i64, Since>,
    /// Every version that there ever was.
    pub ever: BTreeMap<(i64, i64), Version>,
    /// Versions that a copy got as done: they are not its to send.
    pub exempt: BTreeSet<(i64, i64)>,
}

fn text_of(ver: i64) -> String {
    format!("väl\\ue '{ver}'")
}

fn note_of(ver: i64) -> String {
    format!("note {ver}")
}

fn group(id: i64) -> i64 {
    id % 10
}

impl Stream {
    pub fn new(source: Site, dest: usize, case: &Case) -> Stream {
        sides::create(&source, "src", true, true);
        if case.mode.is_increment() {
            source.run(&["CREATE INDEX src_ver ON src (ver)"]);
        }
        Stream {
            source,
            table: "src".to_owned(),
            dest,
            is_copy: false,
            homes: Vec::new(),
            settings: Settings {
                source: "src".to_owned(),
                dest: "dst".to_owned(),
                links: ["from".to_owned(), "to".to_owned()],
                address: [0, 0],
                elsewhere: [false, false],
                filter: false,
                left_out: false,
                keys: vec![0],
                initial: None,
                allow_triggers: false,
            },
            pending: Pending::default(),
            ran: false,
            open_since: None,
            backup: None,
            replaced: 0,
            lost_records: 0,
            filled_as: Vec::new(),
            has_trigger: false,
            ever_left_out: false,
            now: BTreeMap::new(),
            ever: BTreeMap::new(),
            exempt: BTreeSet::new(),
        }
    }

    /// New rows.
    pub fn insert(&mut self, clock: &mut i64, rows: u64) {
        let first = self.now.keys().next_back().map_or(0, |id| id + 1);
        let first = first.max(self.ever.keys().next_back().map_or(0, |(id, _)| id + 1));
        let mut new = Vec::new();
        for id in first..first + rows as i64 {
            *clock += 1;
            self.become_version(id, *clock, *clock);
            let row: Row = vec![
                Cell::Int(id),
                Cell::Int(*clock),
                Cell::Int(group(id)),
                Cell::Text(text_of(*clock)),
                Cell::Text(note_of(*clock)),
            ];
            new.push(row);
        }
        self.source.insert(&self.table, &["id", "ver", "grp", "v", "note"], &new);
    }

    /// Rows change, and are to be sent again.
    pub fn edit(&mut self, clock: &mut i64, rng: &mut Rng, rows: u64, mode: Mode) {
        let ids: Vec<i64> = self.now.keys().copied().collect();
        let mut session = Session::open(&self.source);
        for _ in 0..rows.min(ids.len() as u64) {
            let id = *rng.pick(&ids);
            *clock += 1;
            self.become_version(id, *clock, *clock);
            let text = |t: String| self.source.literal(&Cell::Text(t));
            let state = if mode.is_status() { ", sync_status = 0" } else { "" };
            session.run(&format!(
                "UPDATE {} SET ver = {clock}, v = {}, note = {}{state} WHERE id = {id}",
                self.table,
                text(text_of(*clock)),
                text(note_of(*clock)),
            ));
        }
    }

    fn become_version(&mut self, id: i64, ver: i64, clock: i64) {
        self.now.insert(id, Since { ver, clock });
        let key = self.settings.keys[0];
        self.ever.entry((id, ver)).or_insert(Version { key, may_land: false });
    }

    /// `dest`: what the destination is called.
    pub fn back_up(&mut self, scratch: &std::path::Path, number: u64, dest: &str) {
        let backup = sides::back_up(&self.source, &self.table, scratch, number);
        let (rows, trigger) = (self.now.clone(), self.has_trigger);
        let dest = self.pending.dest_was.clone().unwrap_or_else(|| dest.to_owned());
        let (source_was, copied) = (self.pending.source_was.clone(), self.pending.copied);
        let unseen = self.pending.own_dest_dropped || self.pending.dest_restored;
        let lost_records = self.lost_records - u64::from(unseen);
        self.backup =
            Some(SourceBackup { backup, rows, trigger, dest, source_was, copied, lost_records });
    }

    /// Whether the names of its tables are remembered: those of tables that had no run are not. A copy
    /// brings along what the original remembers.
    pub fn is_known(&self) -> bool {
        self.ran || self.is_copy
    }

    /// How a run of now fills its destination.
    pub fn filling(&self) -> Filling {
        Filling {
            source: (self.table.clone(), self.replaced),
            filter: self.settings.filter,
            left_out: self.settings.left_out,
            key: self.settings.keys[0],
        }
    }

    /// `dest`: what the destination is called, where the source knows where its rows go.
    pub fn restore(&mut self, clock: &mut i64, replaced: bool, dest: Option<&str>) {
        let Some(kept) = self.backup.take() else { return };
        kept.backup.restore(&self.source, replaced);
        self.replaced += u64::from(replaced);
        // Other modes write nothing there.
        if let Some(dest) = dest {
            self.pending.dest_was = (kept.dest != dest).then_some(kept.dest);
            self.pending.source_was = kept.source_was;
            self.pending.knows_lost_record = kept.lost_records < self.lost_records;
            self.pending.copied |= self.is_copy && kept.copied;
        }
        if self.source.is_sqlite() {
            self.has_trigger = kept.trigger;
        }
        *clock += 1;
        for (id, since) in kept.rows {
            let unchanged = self.now.get(&id).filter(|now| now.ver == since.ver).copied();
            let since = unchanged.unwrap_or(Since { ver: since.ver, clock: *clock });
            self.backup_row(id, since);
        }
        // What is no longer there.
        let there: BTreeSet<i64> =
            sides::held(&self.source, &self.table).into_iter().map(|row| row.id).collect();
        self.now.retain(|id, _| there.contains(id));
        self.pending.source_restored = true;
    }

    fn backup_row(&mut self, id: i64, since: Since) {
        self.now.insert(id, since);
    }

    /// A copy of the source under another roof, its rows told apart by their ids.
    pub fn copied(&self, case: &Case, dest: usize, scratch: &std::path::Path) -> Stream {
        let source = sides::copy(&self.source, case.road.0, &self.table, scratch);
        let mut session = Session::open(&source);
        if source.is_sqlite() {
            session.run("DROP TRIGGER IF EXISTS resend");
        }
        session.run(&format!("UPDATE {} SET id = id + {COPY_IDS}", self.table));
        let shifted = |id: i64| id + COPY_IDS;
        let mut exempt = BTreeSet::new();
        if case.mode.is_status() {
            let states = sides::states(&source, &self.table);
            exempt = states.iter().filter(|s| s.2 == 2).map(|s| (s.0, s.1)).collect();
        }
        Stream {
            source,
            table: self.table.clone(),
            dest,
            is_copy: true,
            homes: Vec::new(),
            settings: Settings {
                source: self.table.clone(),
                elsewhere: [false, false],
                address: [0, 0],
                ..self.settings.clone()
            },
            pending: Pending { copied: true, ..Pending::default() },
            ran: false,
            open_since: None,
            backup: None,
            replaced: 0,
            lost_records: 0,
            filled_as: Vec::new(),
            has_trigger: false,
            ever_left_out: self.ever_left_out,
            now: self.now.iter().map(|(id, since)| (shifted(*id), *since)).collect(),
            ever: self
                .ever
                .iter()
                .map(|((id, ver), v)| {
                    let version = Version { key: v.key, may_land: false };
                    ((shifted(*id), *ver), version)
                })
                .collect(),
            exempt,
        }
    }

    /// Whether the filter leaves a row in.
    fn admits(&self, id: i64) -> bool {
        !self.settings.filter || group(id) < GROUP_MAX
    }

    /// Rows that are this stream's to send, by the configuration of now.
    pub fn wanted(&self) -> impl Iterator<Item = (i64, Since)> {
        self.now
            .iter()
            .map(|(id, since)| (*id, *since))
            .filter(|(id, since)| self.admits(*id) && !self.exempt.contains(&(*id, since.ver)))
    }

    /// A run begins: from now on these may be at the destination.
    pub fn begins(&mut self, clock: i64) {
        let may: Vec<_> = self.wanted().map(|(id, since)| (id, since.ver)).collect();
        for version in may {
            if let Some(known) = self.ever.get_mut(&version) {
                known.may_land = true;
            }
        }
        self.open_since.get_or_insert(clock);
        self.ever_left_out |= self.settings.left_out;
    }

    /// Rows were set back by ranges of keys. Those in between that are done go again, too, though it
    /// was the copied table that had sent them.
    pub fn set_back(&mut self) {
        for version in &self.exempt {
            if let Some(known) = self.ever.get_mut(version) {
                known.may_land = true;
            }
        }
    }

    /// What is wrong with a row that has landed, its value opened with the key of that number.
    pub fn judge(&self, row: &Held, sealed_by: Option<usize>) -> Option<String> {
        let Some(version) = self.ever.get(&(row.id, row.ver)) else {
            return Some(format!("no such version was ever there: {row:?}"));
        };
        if !version.may_land {
            return Some(format!("it was not to be sent: {row:?}"));
        }
        if row.grp != group(row.id) || row.v != text_of(row.ver) {
            return Some(format!("mixed: {row:?}"));
        }
        if row.note.as_ref() != Some(&note_of(row.ver)) && !self.ever_left_out {
            return Some(format!("another note: {row:?}"));
        }
        match sealed_by {
            Some(key) if key < version.key => Some(format!(
                "sealed with key {key}, which key {} had replaced before: {row:?}",
                version.key
            )),
            _ => None,
        }
    }

    /// The note that a `full` run of now leaves.
    pub fn note_now(&self, ver: i64) -> Option<String> {
        (!self.settings.left_out).then(|| note_of(ver))
    }

    /// What the source's rows must still be, apart from their states.
    pub fn source_faults(&self) -> Vec<String> {
        let found = sides::held(&self.source, &self.table);
        let wanted: Vec<Held> = self
            .now
            .iter()
            .map(|(id, since)| Held {
                id: *id,
                ver: since.ver,
                grp: group(*id),
                v: text_of(since.ver),
                note: Some(note_of(since.ver)),
            })
            .collect();
        match found == wanted {
            true => vec![],
            false => vec![format!("the source is not what it was: {found:?}\nbut {wanted:?}")],
        }
    }
}

impl Stream {
    /// What is left of what operators have done, now that a run is done: a file and its copy have the
    /// same tables, and may not have been told `apart` by that.
    pub fn settle(&mut self, apart: bool) {
        let copied = self.pending.copied && self.source.is_sqlite() && !apart;
        self.pending = Pending { copied, ..Pending::default() };
    }

    /// Whether what would tell an older state from a newer one was taken away, and no run has come
    /// to its end since.
    pub fn is_blind(&self) -> bool {
        let pending = &self.pending;
        pending.own_source_dropped || pending.own_dest_dropped || pending.anew
    }
}
