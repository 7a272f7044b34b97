//! The script of a case: what operators do, the runs between, and how an operator answers a run
//! that refuses.

use std::collections::BTreeSet;

use ssync_tests::sites::Session;
use ssync_tests::ssync::Outcome;

use super::case::{Mode, Software, crash};
use super::sides;
use super::stream::COPY_IDS;
use super::world::{KEYS, World};

/// Refusals, one after the other, that an operator gets through.
const ANSWERS_MAX: usize = 8;

/// What is wrong.
pub type Played<T = ()> = Result<T, String>;

/// How a run ended.
enum Verdict {
    Done,
    Killed,
    /// What it said.
    Refused(String),
}

impl Verdict {
    /// In a few words; of a refusal the message, without the names in it.
    fn short(&self) -> String {
        match self {
            Verdict::Done => "is done".to_owned(),
            Verdict::Killed => "was killed".to_owned(),
            Verdict::Refused(text) => {
                let error: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                let words = error["message"].as_str().unwrap_or_default().split_whitespace();
                let plain = |word: &&str| !word.chars().any(|c| c.is_ascii_digit() || c == '.');
                let kept: Vec<_> = words.filter(plain).collect();
                format!("refuses: {}", kept.join(" "))
            }
        }
    }
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Nothing,
    Address,
    LinkName,
    Elsewhere,
    SecondHome,
    RenameSource,
    RenameDest,
    Copy,
    BackUpSource,
    BackUpDest,
    RestoreSource,
    RestoreDest,
    EmptyDest,
    Key,
    Filter,
    Columns,
    IndexAtSource,
    IndexAtDest,
    TriggerAtSource,
    TriggerAtDest,
    DropOwnAtSource,
    DropOwnAtDest,
}

/// Names of all actions.
pub fn act_names() -> impl Iterator<Item = String> {
    ACTS.iter().filter(|act| **act != Act::Nothing).map(|act| format!("{act:?}"))
}

const ACTS: [Act; 22] = [
    Act::Nothing,
    Act::Address,
    Act::LinkName,
    Act::Elsewhere,
    Act::SecondHome,
    Act::RenameSource,
    Act::RenameDest,
    Act::Copy,
    Act::BackUpSource,
    Act::BackUpDest,
    Act::RestoreSource,
    Act::RestoreDest,
    Act::EmptyDest,
    Act::Key,
    Act::Filter,
    Act::Columns,
    Act::IndexAtSource,
    Act::IndexAtDest,
    Act::TriggerAtSource,
    Act::TriggerAtDest,
    Act::DropOwnAtSource,
    Act::DropOwnAtDest,
];

/// Those that can lose or double the most, and often make no sense: tried more often.
const GRAVE: [Act; 8] = [
    Act::RestoreDest,
    Act::RestoreDest,
    Act::RestoreSource,
    Act::RestoreSource,
    Act::EmptyDest,
    Act::Key,
    Act::Copy,
    Act::BackUpDest,
];

impl World<'_> {
    /// Plays the case to its end.
    pub fn play(&mut self) -> Played {
        for step in 0..self.case.steps {
            let s = self.rng.below(self.streams.len() as u64) as usize;
            if step > 0 {
                self.application(s);
            }
            // Restores need a backup, and time between.
            for _ in 0..self.rng.between(0, 2) {
                self.operate(s);
            }
            let failpoint = if self.rng.chance(65) { crash(&mut self.rng) } else { String::new() };
            let verdict = self.run(s, &failpoint)?;
            if let Verdict::Refused(text) = verdict {
                self.answer(s, &text)?;
            }
        }
        for s in 0..self.streams.len() {
            self.finish_in(s, None)?;
        }
        // Of two into one table the second may have stopped the first.
        for s in 0..self.streams.len() {
            // In every home, so that each has tidied up after its own.
            for home in 0..self.streams[s].homes.len() {
                self.finish_in(s, Some(home))?;
            }
            let left = self.streams[s].homes.iter().flat_map(|home| home.leftovers());
            let left: Vec<_> = left.collect();
            if !left.is_empty() {
                return Err(format!("left behind: {left:?}"));
            }
        }
        Ok(())
    }

    fn tell(&mut self, s: usize, what: impl Into<String>) {
        let of = if self.streams[s].is_copy { " [copy]" } else { "" };
        self.story.push(format!("{}{of}", what.into()));
    }

    /// Runs until one is done that has sent all there is.
    fn finish_in(&mut self, s: usize, home: Option<usize>) -> Played {
        for _ in 0..ANSWERS_MAX {
            let verdict = match home {
                Some(home) => self.run_in(s, home, &["--task", "1", "--json"], "")?,
                None => self.run(s, "")?,
            };
            match verdict {
                Verdict::Done => return Ok(()),
                Verdict::Killed => return Err("killed, and nothing was to kill it".to_owned()),
                Verdict::Refused(text) => self.answer(s, &text)?,
            }
        }
        Err(format!("no end after {ANSWERS_MAX} answers"))
    }

    /// What the application does in between.
    fn application(&mut self, s: usize) {
        let rows = self.rng.below(25);
        let edits = self.rng.below(15);
        let mode = self.case.mode;
        let stream = &mut self.streams[s];
        stream.insert(&mut self.clock, rows);
        // A row that was sent is not found again by a mark below, or without a key.
        let edits = if mode == Mode::IncrementInsert { 0 } else { edits };
        stream.edit(&mut self.clock, &mut self.rng, edits, mode);
        self.tell(s, format!("{rows} rows are new, {edits} edited"));
    }

    // --- Runs ---------------------------------------------------------------------------------

    fn run(&mut self, s: usize, failpoint: &str) -> Played<Verdict> {
        let home = self.rng.below(self.streams[s].homes.len() as u64) as usize;
        self.run_in(s, home, &["--task", "1", "--json"], failpoint)
    }

    fn run_in(&mut self, s: usize, home: usize, args: &[&str], failpoint: &str) -> Played<Verdict> {
        self.streams[s].begins(self.clock);
        let instance = &self.streams[s].homes[home];
        let _ = std::fs::remove_dir_all(instance.home().join("failpoints"));
        let outcome = instance.run_with(args, failpoint);
        instance.wait_until_dead();
        let verdict = verdict(&outcome)?;
        let word = match &verdict {
            Verdict::Done => "done",
            Verdict::Killed => "killed",
            Verdict::Refused(text) => text,
        };
        let word = word.to_owned();
        *self.tally.entry(format!("a run that {}", verdict.short())).or_default() += 1;
        self.tell(s, format!("home {home}: ssync {} {failpoint}: {word}", args.join(" ")));
        let stream = &mut self.streams[s];
        match &verdict {
            Verdict::Done => stream.filled_as = vec![stream.filling()],
            Verdict::Killed => stream.filled_as.push(stream.filling()),
            Verdict::Refused(_) => {}
        }
        stream.ran |= !matches!(verdict, Verdict::Refused(_));
        let mut wrong = self.beyond();
        if let Verdict::Done = verdict {
            let resumed = outcome.stdout.contains("resumed a run");
            let apart = !self.streams.iter().any(|other| other.is_copy && other.pending.copied);
            wrong.extend(self.missing(s, resumed));
            let stream = &mut self.streams[s];
            stream.open_since = None;
            stream.settle(apart);
            let again = stream.settings.initial.take().is_some();
            if again {
                self.configure(s);
            }
        }
        match wrong.is_empty() {
            true => Ok(verdict),
            false => Err(format!("{}\n{outcome}", wrong.join("\n"))),
        }
    }

    // --- What operators do --------------------------------------------------------------------

    fn operate(&mut self, s: usize) {
        for _ in 0..20 {
            let grave = self.rng.chance(60);
            let act = *self.rng.pick(if grave { &GRAVE[..] } else { &ACTS[..] });
            if let Some(what) = self.act(s, act) {
                *self.tally.entry(format!("{act:?}")).or_default() += 1;
                self.tell(s, what);
                return;
            }
        }
    }

    /// Does it, unless it makes no sense now; what was done.
    fn act(&mut self, s: usize, act: Act) -> Option<String> {
        let mode = self.case.mode;
        let d = self.streams[s].dest;
        let side = self.rng.below(2) as usize;
        let software = [self.case.road.0, self.case.road.1];
        let shared = self.streams.iter().filter(|other| other.dest == d).count() > 1;
        let number = self.number();
        match act {
            Act::Nothing => None,
            Act::Address => {
                let address = self.rng.below(sides::ADDRESSES);
                self.streams[s].settings.address[side] = address;
                self.configure(s);
                Some(format!("address {address} of side {side}"))
            }
            Act::LinkName => {
                self.streams[s].settings.links[side] = format!("link{number}");
                self.configure(s);
                Some(format!("link of side {side} renamed"))
            }
            Act::Elsewhere => {
                if matches!(software[side], Software::Sqlite | Software::Oracle) {
                    return None;
                }
                let database = self.elsewhere(side);
                let is = &mut self.streams[s].settings.elsewhere[side];
                *is = !*is;
                self.configure(s);
                Some(format!("default database {database} or not, side {side}"))
            }
            Act::SecondHome => {
                if self.streams[s].homes.len() > 1 {
                    return None;
                }
                self.add_home(s);
                Some("a second home".to_owned())
            }
            Act::RenameSource => self.rename_source(s),
            Act::RenameDest => {
                if shared {
                    None
                } else {
                    self.rename_dest_of(s)
                }
            }
            Act::Copy => self.copy(s),
            Act::BackUpSource => {
                if self.streams[s].backup.is_some() && self.rng.chance(80) {
                    return None;
                }
                let number = self.number();
                let dest = self.dests[d].table.clone();
                self.streams[s].back_up(self.scratch.path(), number, &dest);
                Some("source backed up".to_owned())
            }
            Act::BackUpDest => {
                if self.dests[d].backup.is_some() && self.rng.chance(80) {
                    return None;
                }
                self.back_up_dest(d);
                Some("destination backed up".to_owned())
            }
            Act::RestoreSource => self.restore_source(s),
            Act::RestoreDest => {
                let dest = &self.dests[d];
                let fits =
                    dest.backup.as_ref().is_some_and(|b| b.backup.fits(&dest.site, &dest.table));
                let blind = self.streams.iter().any(|other| other.dest == d && other.is_blind());
                if !fits || blind {
                    return None;
                }
                let replaced = self.rng.chance(30);
                self.restore_dest(d, replaced);
                Some(format!("destination restored, as another file: {replaced}"))
            }
            Act::EmptyDest => {
                if mode.is_status() || !self.streams[s].ran {
                    return None;
                }
                let anew = self.rng.chance(50);
                self.empty_dest(d, anew);
                for stream in self.streams.iter_mut().filter(|other| other.dest == d) {
                    stream.pending.dest_emptied = true;
                    stream.pending.shape_changed = true;
                }
                Some(format!("destination emptied, made anew: {anew}"))
            }
            Act::Key => self.rotate(s),
            Act::Filter => {
                if mode.is_increment() {
                    return None;
                }
                let filter = &mut self.streams[s].settings.filter;
                *filter = !*filter;
                let is = *filter;
                self.configure(s);
                Some(format!("filter: {is}"))
            }
            Act::Columns => {
                let left_out = &mut self.streams[s].settings.left_out;
                *left_out = !*left_out;
                let is = *left_out;
                self.configure(s);
                Some(format!("note left out: {is}"))
            }
            Act::IndexAtSource => {
                let sql = format!("CREATE INDEX src_ix{number} ON {} (grp)", self.streams[s].table);
                self.streams[s].source.run(&[sql]);
                Some("an index at the source".to_owned())
            }
            Act::IndexAtDest => {
                let dest = &mut self.dests[d];
                // Oracle allows one index on the same columns.
                if !dest.indexes.is_empty() {
                    return None;
                }
                let name = format!("dst_ix{number}");
                dest.site.run(&[format!("CREATE INDEX {name} ON {} (grp)", dest.table)]);
                dest.indexes.push(name);
                self.streams[s].pending.shape_changed = true;
                Some("an index at the destination".to_owned())
            }
            Act::TriggerAtSource => {
                let stream = &mut self.streams[s];
                if stream.has_trigger || !mode.is_status() {
                    return None;
                }
                let sql = sides::resend_trigger(&stream.source, &stream.table)?;
                stream.source.run(&[sql]);
                stream.has_trigger = true;
                Some("a trigger at the source".to_owned())
            }
            Act::TriggerAtDest => {
                let dest = &mut self.dests[d];
                if dest.has_trigger {
                    return None;
                }
                let sql = sides::idle_trigger(&dest.site, &dest.table)?;
                dest.site.run(&[sql]);
                dest.has_trigger = true;
                for stream in self.streams.iter_mut().filter(|other| other.dest == d) {
                    stream.pending.trigger_at_dest = true;
                }
                Some("a trigger at the destination".to_owned())
            }
            Act::DropOwnAtSource => {
                let stream = &mut self.streams[s];
                let known = stream.pending.dest_restored || stream.pending.source_was.is_some();
                if !mode.is_status() || known || sides::own_tables(&stream.source).is_empty() {
                    return None;
                }
                sides::drop_own(&stream.source);
                stream.pending.own_source_dropped = true;
                stream.backup = None;
                Some("ssync's table at the source dropped".to_owned())
            }
            Act::DropOwnAtDest => {
                // It takes the backup along, which is worth more.
                if self.dests[d].backup.is_some() && self.rng.chance(80) {
                    return None;
                }
                let stream = &self.streams[s];
                // Neither end would know of any run.
                let is_forgotten = stream.pending.source_restored
                    && mode.is_status()
                    && sides::own_tables(&stream.source).is_empty();
                let dest = &mut self.dests[d];
                if shared || is_forgotten || sides::own_tables(&dest.site).is_empty() {
                    return None;
                }
                sides::drop_own(&dest.site);
                dest.backup = None;
                self.streams[s].pending.own_dest_dropped = true;
                self.streams[s].lost_records += 1;
                Some("ssync's tables at the destination dropped".to_owned())
            }
        }
    }

    fn rename_source(&mut self, s: usize) -> Option<String> {
        let number = self.number();
        let adapted = self.rng.chance(60);
        let stream = &mut self.streams[s];
        let busy = &stream.pending;
        if busy.source_was.is_some() || busy.own_source_dropped || busy.copied {
            return None;
        }
        let (old, new) = (stream.table.clone(), format!("src{number}"));
        sides::rename(&stream.source, &old, &new);
        stream.table = new.clone();
        stream.backup = None;
        stream.pending.source_was = stream.is_known().then_some(old);
        stream.pending.stale_source = !adapted;
        if adapted {
            stream.settings.source = new.clone();
            self.configure(s);
        }
        Some(format!("source renamed to {new}, configuration adapted: {adapted}"))
    }

    fn rename_dest_of(&mut self, s: usize) -> Option<String> {
        let number = self.number();
        let adapted = self.rng.chance(60);
        let stream = &mut self.streams[s];
        let busy = &stream.pending;
        if busy.dest_was.is_some() || busy.own_dest_dropped || busy.copied {
            return None;
        }
        let d = stream.dest;
        let new = format!("dst{number}");
        stream.pending.dest_was = stream.is_known().then(|| self.dests[d].table.clone());
        stream.pending.stale_dest = !adapted;
        if adapted {
            stream.settings.dest = new.clone();
        }
        self.rename_dest(d, &new);
        self.dests[d].backup = None;
        self.configure(s);
        Some(format!("destination renamed to {new}, configuration adapted: {adapted}"))
    }

    fn copy(&mut self, s: usize) -> Option<String> {
        let own = self.case.mode.is_full() || self.rng.chance(50);
        let stream = &self.streams[s];
        let pending = &stream.pending;
        let at_odds = pending.stale_source
            || pending.stale_dest
            || pending.source_was.is_some()
            || pending.dest_was.is_some()
            || pending.own_dest_dropped
            || pending.dest_emptied
            || pending.trigger_at_dest;
        let oracle = [self.case.road.0, self.case.road.1].contains(&Software::Oracle);
        if self.streams.len() > 1 || oracle || at_odds {
            return None;
        }
        let dest = if own { self.another_dest() } else { stream.dest };
        let mut copy = self.streams[s].copied(self.case, dest, self.scratch.path());
        copy.settings.dest = self.dests[dest].table.clone();
        copy.settings.elsewhere = [false, false];
        self.streams.push(copy);
        self.streams[s].pending.copied = true;
        self.add_home(1);
        Some(format!("source copied, a destination of its own: {own}"))
    }

    fn restore_source(&mut self, s: usize) -> Option<String> {
        if self.case.mode == Mode::IncrementUpsert {
            return None;
        }
        let replaced = self.rng.chance(30);
        let stream = &self.streams[s];
        // A file of which nothing says that it was ever sent from is another one.
        let is_known = stream.backup.as_ref().is_some_and(|b| b.backup.knows_of_runs());
        let replaced = replaced && (is_known || !self.case.mode.is_status());
        let fits =
            stream.backup.as_ref().is_some_and(|b| b.backup.fits(&stream.source, &stream.table));
        if !fits || stream.is_blind() {
            return None;
        }
        let dest = self.dests[stream.dest].table.clone();
        let known = self.case.mode.is_status().then_some(dest.as_str());
        self.streams[s].restore(&mut self.clock, replaced, known);
        Some(format!("source restored, as another file: {replaced}"))
    }

    fn rotate(&mut self, s: usize) -> Option<String> {
        let kept = self.rng.chance(50);
        let case = self.case;
        let keys = &mut self.streams[s].settings.keys;
        let next = keys[0] + 1;
        if !case.encrypted || next >= KEYS {
            return None;
        }
        if kept {
            keys.insert(0, next);
        } else {
            *keys = vec![next];
        }
        self.configure(s);
        Some(format!("key {next}, the old one kept: {kept}"))
    }

    // --- What operators answer ----------------------------------------------------------------

    /// Does what a run that refused has advised, as somebody who knows what was done to the
    /// tables. An error when nothing was done that would be a reason to refuse for.
    fn answer(&mut self, s: usize, text: &str) -> Played {
        let says = |words: &str| text.contains(words);
        let pending = self.streams[s].pending.clone();
        let is_copy = self.streams[s].is_copy;
        let mode = self.case.mode;
        // Under its name of today: what to compare, and not what it was called before.
        let sent_before = says("the source knows of no run");
        let unknown_claims = says("no run is known that claimed them")
            || says("no run is known that sent them")
            || sent_before;
        let other_server = says("were claimed on another server");
        let other_dest =
            says("under way to another destination") || says("went to another destination before");
        let first = says("has rows already, and nothing is known of where they came from");
        let older_dest = says("no longer has what was settled last")
            || says("has another record of what landed than before")
            || says("had another run")
            || says("has no record of what landed, and had one")
            || (says("are under way to") && says("on another server"));
        let older_source = says("is older than what has landed of it");
        let apart = unknown_claims || other_server || other_dest || older_source || older_dest;
        if says("does not exist") && pending.stale_source && says("source table") {
            let stream = &mut self.streams[s];
            stream.settings.source = stream.table.clone();
            stream.pending.stale_source = false;
            self.configure(s);
        } else if says("does not exist") && pending.stale_dest && says("destination table") {
            let table = self.dests[self.streams[s].dest].table.clone();
            let stream = &mut self.streams[s];
            stream.settings.dest = table;
            stream.pending.stale_dest = false;
            self.configure(s);
        } else if pending.copied && is_copy && apart {
            if self.streams[s].ran {
                self.reconcile(s);
            }
            self.adopt(s, &["--new"])?;
            let pending = &mut self.streams[s].pending;
            (pending.copied, pending.anew) = (false, true);
        } else if first && pending.own_dest_dropped {
            let d = self.streams[s].dest;
            self.empty_dest(d, false);
            self.tell(s, "destination emptied for a first run");
        } else if let (true, Some(old)) = (unknown_claims && !sent_before, &pending.source_was) {
            let old = sides::spelt(&self.streams[s].source, old);
            self.adopt(s, &["--source-was", &old])?;
            self.streams[s].pending.source_was = None;
        } else if (older_dest || other_dest) && pending.own_dest_dropped {
            self.reconcile(s);
            self.adopt_everywhere(s)?;
            self.streams[s].pending.dest_was = None;
        } else if first && pending.dest_restored && self.landed(s).is_empty() {
            // A backup from before its first run, of a table that another source goes to.
            let pending = &mut self.streams[s].pending;
            (pending.source_was, pending.dest_was) = (None, None);
            self.send_all(s);
        } else if first && (pending.source_was.is_some() || pending.dest_was.is_some()) {
            match self.renamed(s) {
                // The backup is from before the record, or from before it was moved.
                Err(_) if pending.dest_restored => self.take_out(s),
                told => told?,
            }
        } else if first && pending.dest_restored {
            self.take_out(s);
        } else if first && is_copy && !self.streams[s].ran {
            // The mark that is there is the original's.
            self.send_all(s);
        } else if first && pending.source_restored {
            // As another file. Its copy may have a mark there, too.
            if self.adopt(s, &["--as-is"]).is_err() {
                self.begin_at_what_is_there(s);
            }
        } else if let (true, Some(old)) = (other_dest, &pending.dest_was) {
            let old = sides::spelt(&self.dests[self.streams[s].dest].site, old);
            match self.adopt(s, &["--dest-was", &old]) {
                // The backup is from before the record.
                Err(_) if pending.dest_restored => {
                    self.reconcile(s);
                    self.adopt_everywhere(s)?;
                }
                told => told?,
            }
            self.streams[s].pending.dest_was = None;
        } else if pending.copied && first && (is_copy || self.landed(s).is_empty()) {
            // What is there came from the other one.
            self.send_all(s);
        } else if (older_source || other_server) && pending.source_restored
            || unknown_claims && pending.own_source_dropped
            || unknown_claims && pending.source_restored
            || older_dest && pending.dest_restored && mode == Mode::StatusInsert
            || older_dest && pending.knows_lost_record
            || pending.copied && apart
        {
            self.reconcile(s);
            self.adopt_everywhere(s)?;
        } else if older_dest && pending.dest_restored {
            self.send_lost_again(s)?;
        } else if (says("empty") && says("and rows have landed there") || says("had landed"))
            && pending.dest_emptied
            || says("__ssync_new") && says("had landed") && pending.dest_restored
            || says("that was being loaded beside") && pending.dest_restored
            || says("cannot be swapped") && pending.shape_changed
        {
            self.restart(s)?;
        } else if says("another full sub-task fills")
            && (self.is_another(s) || pending.dest_restored)
        {
            // The other home's run was of the table as it was configured, or called, before; a
            // destination that was restored knows no later one.
            self.restart(s)?;
        } else if says("has triggers") && pending.trigger_at_dest {
            if mode == Mode::Swap {
                let dest = &mut self.dests[self.streams[s].dest];
                dest.site.run(&["DROP TRIGGER idle"]);
                dest.has_trigger = false;
            } else {
                self.streams[s].settings.allow_triggers = true;
                self.configure(s);
            }
            self.streams[s].pending.trigger_at_dest = false;
        } else {
            return Err(format!("refused without a reason: {text}\npending: {pending:?}"));
        }
        Ok(())
    }

    /// Whether what fills the table was begun by another home, in another way than runs of now have.
    fn is_another(&self, s: usize) -> bool {
        let stream = &self.streams[s];
        let now = stream.filling();
        stream.homes.len() > 1 && stream.filled_as.iter().any(|before| *before != now)
    }

    fn restart(&mut self, s: usize) -> Played {
        let home = self.rng.below(self.streams[s].homes.len() as u64) as usize;
        match self.run_in(s, home, &["--task", "1", "--json", "--restart"], "")? {
            Verdict::Refused(text) => Err(format!("no way out: {text}")),
            Verdict::Done | Verdict::Killed => Ok(()),
        }
    }

    fn adopt_in(&mut self, s: usize, home: usize, decision: &[&str]) -> Played {
        let mut args = vec!["adopt", "--task", "1", "--tables", "t"];
        args.extend(decision);
        let outcome = self.streams[s].homes[home].run(&args);
        self.tell(s, format!("home {home}: ssync {}", args.join(" ")));
        match outcome.code {
            Some(0) => Ok(()),
            _ => Err(format!("a way out that leads nowhere: {outcome}")),
        }
    }

    /// A first run of an `increment` that is to send everything.
    fn send_all(&mut self, s: usize) {
        self.streams[s].settings.initial = Some("all".to_owned());
        self.configure(s);
        self.tell(s, "initial = all");
    }

    /// A first run of an `increment` that is to go on behind the rows that are all there.
    fn begin_at_what_is_there(&mut self, s: usize) {
        let stream = &self.streams[s];
        let landed: BTreeSet<_> = self.landed(s).iter().map(|row| (row.id, row.ver)).collect();
        let missing = stream.wanted().filter(|(id, now)| !landed.contains(&(*id, now.ver)));
        let up_to = missing.map(|(_, now)| now.ver).min().map_or(i64::MAX, |first| first - 1);
        let dest = &mut self.dests[stream.dest];
        for (id, ver) in landed.into_iter().filter(|(_, ver)| *ver > up_to) {
            dest.site.run(&[format!("DELETE FROM {} WHERE id = {id} AND ver = {ver}", dest.table)]);
            dest.seen.remove(&(id, ver));
        }
        let up_to = up_to.min(self.clock);
        self.streams[s].settings.initial = Some(up_to.to_string());
        self.configure(s);
        self.tell(s, format!("initial = {up_to}"));
    }

    /// Takes a stream's rows out of the destination, so that all may be sent once more.
    fn take_out(&mut self, s: usize) {
        let stream = &self.streams[s];
        let (d, is_copy) = (stream.dest, stream.is_copy);
        let dest = &mut self.dests[d];
        let which = if is_copy { ">=" } else { "<" };
        dest.site.run(&[format!("DELETE FROM {} WHERE id {which} {COPY_IDS}", dest.table)]);
        dest.seen.retain(|(id, _)| (*id >= COPY_IDS) != is_copy);
        self.tell(s, "rows taken out of the destination");
        self.send_all(s);
    }

    /// Tables of an `increment` that were renamed, both of them where both were.
    fn renamed(&mut self, s: usize) -> Played {
        let pending = &mut self.streams[s].pending;
        let (source, dest) = (pending.source_was.take(), pending.dest_was.take());
        let source = source.map(|old| sides::spelt(&self.streams[s].source, &old));
        let dest = dest.map(|old| sides::spelt(&self.dests[self.streams[s].dest].site, &old));
        let mut decision = Vec::new();
        for (option, name) in [("--source-was", &source), ("--dest-was", &dest)] {
            decision.extend(name.iter().flat_map(|name| [option, name.as_str()]));
        }
        let told = self.adopt(s, &decision);
        // A run began between the two renames: the hint says by which name its record is found.
        let why = told.as_ref().err().cloned().unwrap_or_default();
        let hint = why.split(" alone goes on by it").next().filter(|hint| hint.len() < why.len());
        let named = hint.and_then(|hint| hint.rsplit("--").next());
        let alone = decision.chunks(2).find(|pair| {
            named.is_some_and(|named| {
                pair[0].trim_start_matches('-') == named.split(' ').next().unwrap_or("")
            })
        });
        match alone {
            Some(option) => self.adopt(s, option),
            None => told,
        }
    }

    fn adopt(&mut self, s: usize, decision: &[&str]) -> Played {
        let home = self.rng.below(self.streams[s].homes.len() as u64) as usize;
        self.adopt_in(s, home, decision)
    }

    /// Each home remembers by itself what it settled last.
    fn adopt_everywhere(&mut self, s: usize) -> Played {
        for home in 0..self.streams[s].homes.len() {
            self.adopt_in(s, home, &["--as-is"])?;
        }
        Ok(())
    }

    /// Compares both sides, and sets the source's rows to what it finds.
    fn reconcile(&mut self, s: usize) {
        let landed: BTreeSet<_> = self.landed(s).iter().map(|row| (row.id, row.ver)).collect();
        let stream = &self.streams[s];
        let mut session = Session::open(&stream.source);
        for (id, ver, state) in sides::states(&stream.source, &stream.table) {
            let done = landed.contains(&(id, ver)) || stream.exempt.contains(&(id, ver));
            let right = if done { 2 } else { 0 };
            if state != right {
                let table = &stream.table;
                session.run(&format!("UPDATE {table} SET sync_status = {right} WHERE id = {id}"));
            }
        }
        self.tell(s, "states set by what is at the destination");
    }

    /// Every home sets back what it knows that the destination has lost; the last one sends it. What
    /// no home knows of is found by comparing.
    fn send_lost_again(&mut self, s: usize) -> Played {
        let (mut knew, mut stays) = (false, false);
        // Nothing was missing in the last, and rows that are under way went to the file of before.
        let by_hand = [
            "not every run is known here",
            "would be bad rows",
            "on another server",
            "had another run",
        ];
        for home in 0..self.streams[s].homes.len() {
            self.streams[s].begins(self.clock);
            let outcome = self.streams[s].homes[home].run(&["retry", "--task", "1", "--lost"]);
            self.streams[s].homes[home].wait_until_dead();
            let new = outcome.stderr.contains("nothing is remembered of earlier runs");
            self.tell(s, format!("home {home}: ssync retry --lost: {:?}", outcome.code));
            stays = by_hand.iter().any(|words| outcome.stderr.contains(words)) || stays && new;
            if !new && !stays && outcome.code != Some(0) {
                return Err(format!("a way out that leads nowhere: {outcome}"));
            }
            knew |= !new;
        }
        self.streams[s].set_back();
        if stays || !knew {
            self.reconcile(s);
            self.adopt_everywhere(s)?;
        }
        Ok(())
    }
}

/// How a run ended; an error when it ended in a way that none may.
fn verdict(outcome: &Outcome) -> Played<Verdict> {
    if outcome.signal == Some(9) {
        return Ok(Verdict::Killed);
    }
    let table = outcome
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|value| value["kind"] == "table" && value["table"] == "t");
    let Some(table) = table else { return Err(format!("no result: {outcome}")) };
    if outcome.code == Some(0) {
        return match table["result"] == "done" {
            true => Ok(Verdict::Done),
            false => Err(format!("exit code 0, and not done: {outcome}")),
        };
    }
    let error = &table["error"];
    let kind = error["kind"].as_str().unwrap_or_default();
    let known = matches!(kind, "Refused" | "Balance" | "Config" | "Locked");
    let advised = error["hint"].as_str().is_some_and(|hint| !hint.is_empty());
    match known && advised {
        true => Ok(Verdict::Refused(error.to_string())),
        false => Err(format!("no reason with a way out: {outcome}")),
    }
}
