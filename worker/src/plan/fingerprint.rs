//! By what a run that was broken off is known again: all that decides which rows land and as which
//! bytes, part by part, so that people can be told what has changed.
//!
//! It is not made of what things are called: addresses, links' names, the spelling of a table. The
//! text is kept in the destination's fence row and in the run's record.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::split_table_name;
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger;
use ssync_common::schema::{self, Column};
use ssync_common::value::hex_bytes;
use ssync_writer::transform::Action;

use super::TablePlan;

/// What the text begins with. Former versions wrote two hashes without it.
const FORM: &str = "2";
/// Characters of a part, six bits each. All of them together fit where runs are recorded.
const PART_CHARS: usize = 9;

/// The parts, in their order, as people are told of them.
const PARTS: [&str; 9] = [
    "the source's server",
    "the source's table",
    "the destination's server",
    "the destination's table",
    "which rows are sent",
    "the columns",
    "the encryption keys",
    "how rows are written",
    "the SQL before or after",
];
const SOURCE_SERVER: usize = 0;
const SOURCE_TABLE: usize = 1;
const DEST_SERVER: usize = 2;
const DEST_TABLE: usize = 3;
const ROWS: usize = 4;
const COLUMNS: usize = 5;
const KEYS: usize = 6;
/// The walk comes last, behind the parts.
const WALK: &str = "the key or the watermark";
/// Of a former version's text no more is known than that it is another one.
const SOMETHING: &str = "the configuration";

/// What decides about a run beside its plan.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Keys by name.
    pub keys: &'a BTreeMap<String, KeyRing>,
    /// The source's address may lead to any replica of one cluster.
    pub source_failover: bool,
    /// The destination's may.
    pub dest_failover: bool,
}

/// The fingerprint of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    text: String,
    former: String,
    /// Parts that may be others.
    ignored: Vec<usize>,
}

impl Fingerprint {
    /// Of a plan, as things are.
    ///
    /// # Errors
    /// [`Kind::Config`] where a key is missing.
    pub fn new(plan: &TablePlan, circumstances: Circumstances<'_>) -> Result<Self> {
        let walk = walk(plan)?;
        let parts = [
            part(&plan.source_server)?,
            part(&plan.source_name)?,
            part(&plan.dest.server)?,
            part(&plan.dest.full_name)?,
            part(&(plan.task.mode, &plan.task.filter, watermark(&plan.task)))?,
            part(&columns(plan))?,
            part(&keys(plan, circumstances.keys)?)?,
            part(&(plan.task.write, plan.task.full, &plan.load.key))?,
            part(&(&plan.task.before, &plan.task.after))?,
        ];
        let mut ignored = Vec::new();
        ignored.extend(circumstances.source_failover.then_some(SOURCE_SERVER));
        ignored.extend(circumstances.dest_failover.then_some(DEST_SERVER));
        Ok(Fingerprint {
            text: format!("{FORM}.{}.{walk}", parts.join(".")),
            former: format!("{}.{walk}", former(plan)?),
            ignored,
        })
    }

    /// The text. Its end says by which columns the source is walked: see [`walks_alike`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is another than when a run with this fingerprint was begun; nothing where it is the
    /// same run. Texts of former versions are understood.
    pub fn changed_since(&self, known: &str) -> Vec<&'static str> {
        if known == self.text || known == self.former {
            return Vec::new();
        }
        let (mine, theirs) = (self.text.split('.'), known.split('.'));
        if theirs.clone().next() != Some(FORM) || theirs.clone().count() != mine.clone().count() {
            return vec![SOMETHING];
        }
        let names = PARTS.iter().copied().chain([WALK]).enumerate();
        let pairs = mine.zip(theirs).skip(1).zip(names);
        pairs
            .filter(|((a, b), (n, _))| a != b && !self.ignored.contains(n))
            .map(|(_, (_, name))| name)
            .collect()
    }

    /// Whether the run of this fingerprint read another table than this one.
    pub fn is_of_another_source(&self, known: &str) -> bool {
        let changed = self.changed_since(known);
        changed.contains(&PARTS[SOURCE_SERVER]) || changed.contains(&PARTS[SOURCE_TABLE])
    }
}

impl Fingerprint {
    /// What makes the run of this fingerprint fill a table with other rows, or with other bytes; nothing
    /// where it fills it in the same way.
    pub fn fills_otherwise(&self, known: &str) -> Vec<&'static str> {
        let decisive = [SOURCE_SERVER, SOURCE_TABLE, ROWS, COLUMNS, KEYS].map(|part| PARTS[part]);
        let mut changed = self.changed_since(known);
        changed.retain(|part| *part == SOMETHING || decisive.contains(part));
        changed
    }

    /// The text of a run whose tables have got the names and servers of this one's; nothing where
    /// a former version wrote it, which did not say how they were called.
    pub fn renamed(&self, known: &str) -> Option<String> {
        let mine: Vec<&str> = self.text.split('.').collect();
        let mut parts: Vec<&str> = known.split('.').collect();
        if parts.first() != Some(&FORM) || parts.len() != mine.len() {
            return None;
        }
        for part in [SOURCE_SERVER, SOURCE_TABLE, DEST_SERVER, DEST_TABLE] {
            parts[part + 1] = mine[part + 1];
        }
        Some(parts.join("."))
    }

    /// Whether the run of this fingerprint went from this very source table to a destination of this
    /// name; `None` where a former version wrote it, which did not say.
    pub fn is_of_these_tables(&self, known: &str) -> Option<bool> {
        let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (mine, theirs) = (parts(&self.text), parts(known));
        if theirs.first().is_none_or(|form| form != FORM) || theirs.len() != mine.len() {
            return None;
        }
        let same = |part: usize| self.ignored.contains(&part) || mine[part + 1] == theirs[part + 1];
        Some([SOURCE_SERVER, SOURCE_TABLE, DEST_TABLE].into_iter().all(same))
    }

    /// Whether the run of this fingerprint is known to have read another table of this very server.
    pub fn is_of_a_neighbour(&self, known: &str) -> bool {
        let changed = self.changed_since(known);
        changed.contains(&PARTS[SOURCE_TABLE])
            && !changed.contains(&PARTS[SOURCE_SERVER])
            && !self.ignored.contains(&SOURCE_SERVER)
    }

    /// Whether the run of this fingerprint is known to have read this very table. Former versions
    /// did not write down which one theirs read.
    pub fn is_of_this_source(&self, known: &str) -> bool {
        let source = |text: &str| -> Vec<String> {
            text.split('.').take(SOURCE_TABLE + 2).map(str::to_owned).collect()
        };
        let mine = source(&self.text);
        mine.first().is_some_and(|form| form == FORM) && mine == source(known)
    }
}

/// Whether two plans, by their fingerprints, walk the source in the same order, so that positions
/// and keys in the ledger mean the same to both.
pub fn walks_alike(a: &str, b: &str) -> bool {
    let walk = |fingerprint: &str| fingerprint.rsplit_once('.').map(|(_, walk)| walk.to_owned());
    walk(a).is_some() && walk(a) == walk(b)
}

fn part(of: &impl Serialize) -> Result<String> {
    let mut text = URL_SAFE_NO_PAD.encode(ledger::id_of(&json(of)?));
    text.truncate(PART_CHARS);
    Ok(text)
}

fn json(of: &impl Serialize) -> Result<String> {
    serde_json::to_string(of).map_err(|e| Error::new(Kind::Internal, format!("plan: {e}")))
}

fn watermark(task: &TableTask) -> Option<impl Serialize> {
    task.watermark.clone().filter(|_| task.mode == TableMode::Increment)
}

/// Which values are read, and what they are made into.
fn columns(plan: &TablePlan) -> impl Serialize {
    type Side = (String, schema::Kind, String, String, Option<String>, Vec<String>);
    let side = |c: &Column| -> Side {
        let Column { name, kind, declared, family, charset, members, .. } = c.clone();
        (name, kind, declared, family, charset, members)
    };
    let pairs: Vec<_> = plan.pairs.iter().map(|p| (side(&p.source), side(&p.dest))).collect();
    // The place that an envelope is bound to; other ways of saying where the table is are none.
    let sealed = |action: &Action| match action {
        Action::Seal { table, column } => {
            (split_table_name(table).pop(), Some(column.to_ascii_lowercase()))
        }
        Action::Open { .. } => (None, None),
    };
    let transforms: Vec<_> =
        plan.transforms.iter().map(|t| (t.index, t.mode, sealed(&t.action))).collect();
    (pairs, plan.load.kinds.clone(), transforms, plan.empties.clone())
}

/// The keys that seal. Which one opens a value makes no difference to it.
fn keys(plan: &TablePlan, rings: &BTreeMap<String, KeyRing>) -> Result<impl Serialize> {
    let mut ids = Vec::new();
    for transform in &plan.transforms {
        if let Action::Seal { .. } = transform.action {
            let ring = rings.get(&transform.key).ok_or_else(|| {
                Error::new(Kind::Config, format!("there is no key {}", transform.key))
            })?;
            ids.push((transform.index, ring.ids().next()));
        }
    }
    Ok(ids)
}

fn walk(plan: &TablePlan) -> Result<String> {
    let walk: Vec<_> = plan.order.iter().map(|c| (&c.name, c.kind, &c.collation)).collect();
    Ok(hex_bytes::encode(&ledger::id_of(&json(&walk)?)))
}

/// What versions before the parts wrote in front of the walk: a hash of the whole plan, names and
/// SQL included. Runs that they began are known by it.
fn former(plan: &TablePlan) -> Result<String> {
    let mut plan = plan.clone();
    // A swap changes how a database spells its own statements.
    plan.dest.definition.clear();
    // These came later.
    plan.task.count = true;
    plan.task.initial = None;
    Ok(hex_bytes::encode(&ledger::id_of(&json(&plan)?)))
}

#[cfg(test)]
mod tests;
