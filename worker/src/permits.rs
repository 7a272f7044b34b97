//! Connections that one table's run takes up, and the permits for them (A29).

use std::collections::BTreeMap;
use std::time::Duration;

use ssync_common::config::{TableMode, TableTask, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::shm::TaskTable;
use ssync_common::shm::task_table::{Claim, Request, link_hash};

use crate::control::Control;
use crate::idle::Connections;
use crate::params::TaskParams;
use crate::progress::{Progress, Waiting};
use crate::snapshot::Snapshots;

/// Connections to the source beside one for each reading thread: the run's own, that of the
/// owner's lease; in `status` mode also that of the claims and that of the settlements.
const SOURCE_BESIDE_READERS: u32 = 2;
const SOURCE_BESIDE_READERS_STATUS: u32 = 4;
/// Connections to the destination beside one for each writer: the run's own, that of the
/// settlements, one to find out a lost writer's fate.
const DEST_BESIDE_WRITERS: u32 = 3;
/// Why a snapshot ends.
const TOO_FEW: &str = "a wait for connections to its link";
/// How often a waiting run looks whether its turn has come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How many connections on one link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// With a single reader and a single writer.
    pub least: u32,
    /// With all of them.
    pub most: u32,
}

/// What a run of the table needs, by link.
pub fn needs<'a>(task: &'a Task, table: &TableTask) -> BTreeMap<&'a str, Need> {
    let beside_readers = match table.mode {
        TableMode::Status => SOURCE_BESIDE_READERS_STATUS,
        TableMode::Full | TableMode::Increment => SOURCE_BESIDE_READERS,
    };
    let mut needs = BTreeMap::new();
    for (link, fixed, side_by_side) in [
        (&task.source, beside_readers, task.readers),
        (&task.dest, DEST_BESIDE_WRITERS, task.writers),
    ] {
        let need: &mut Need = needs.entry(link.as_str()).or_default();
        need.least += fixed + 1;
        need.most += fixed + u32::from(side_by_side);
    }
    needs
}

/// Permits for one table's run; given back when dropped, after the idle connections were closed
/// that they stand for.
pub struct Permits {
    claims: Vec<Claim>,
    needs: BTreeMap<String, Need>,
    /// Whether every link gave all that can be used.
    is_full: bool,
    connections: Connections,
    /// Writers that may run: as many as are configured, or fewer where the destination's link has
    /// no more to give.
    pub writers: u8,
    /// Reading threads that may run, likewise.
    pub readers: u8,
}

impl Permits {
    /// Whether they are just what the table needs, and nobody waits for any of them. With
    /// `keeps_snapshot` others have to wait: it would end.
    fn suit(
        &self,
        task: &Task,
        table: &TableTask,
        task_table: &TaskTable,
        keeps_snapshot: bool,
    ) -> Result<bool> {
        let needs = needs(task, table);
        let same =
            self.is_full && self.needs.iter().map(|(link, need)| (link.as_str(), *need)).eq(needs);
        if !same || keeps_snapshot {
            return Ok(same);
        }
        let claims = task_table.permit_claims()?;
        let waits = |link: &String| {
            let hash = link_hash(link);
            claims.iter().any(|c| c.link == hash && !c.held)
        };
        Ok(!self.needs.keys().any(waits))
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        self.connections.close();
        self.claims.clear();
    }
}

/// Waits for the permits that a run of the table needs, and takes as many as it can use. `kept`
/// are those of the table before, with the idle connections that they stand for: they stay, if
/// they suit and nobody else waits, and are given back otherwise. The
/// sessions of the snapshot are counted; nobody waits for more while it is held.
///
/// # Errors
/// [`Kind::Config`] when a link never allows enough; what an operator wants meanwhile.
pub fn acquire(
    params: &TaskParams,
    table: &TableTask,
    progress: &mut Progress,
    control: &Control<'_>,
    (connections, snapshots): (&Connections, &Snapshots),
    kept: Option<Permits>,
) -> Result<Permits> {
    let task = &params.task;
    let task_table = progress.task_table();
    // The readers of a `full` table are in it; for others they are further ones.
    let reads_from_it = table.mode == TableMode::Full;
    let in_snapshot = snapshots.sessions() as u32;
    if let (Some(kept), Some(task_table)) = (kept, &task_table)
        && kept.suit(task, table, task_table, reads_from_it && in_snapshot > 0)?
    {
        return Ok(kept);
    }
    // Only now: dropped, it closes what is idle.
    let mut permits = Permits {
        claims: Vec::new(),
        needs: BTreeMap::new(),
        is_full: true,
        connections: connections.clone(),
        writers: task.writers,
        readers: task.readers,
    };
    let Some(task_table) = task_table else { return Ok(permits) };
    // In the order of the names, as everybody takes them: nobody waits in a circle.
    for (link, mut need) in needs(task, table) {
        let limit = params.limit(link);
        if link == task.source && !reads_from_it {
            if need.least + in_snapshot > limit {
                snapshots.end(TOO_FEW);
            } else {
                need.least += in_snapshot;
                need.most += in_snapshot;
            }
        }
        let request = Request {
            link: link.to_owned(),
            limit,
            least: need.least,
            most: need.most,
            task: task.id,
        };
        let claim = task_table.claim(request)?;
        let granted = loop {
            match claim.try_grant()? {
                Some(granted) => break granted,
                None => {
                    snapshots.end(TOO_FEW);
                    progress.wait(Waiting::Permit);
                    control.pause(task.id, &table.name, LOOK_EVERY)?;
                }
            }
        };
        progress.wait(Waiting::Nothing);
        permits.needs.insert(link.to_owned(), need);
        permits.is_full &= granted >= need.most;
        // Where both sides share the link, writers are what is kept longest.
        let mut missing = need.most - granted;
        if link == task.source {
            permits.readers = fewer(task.readers, &mut missing);
        }
        if link == task.source && reads_from_it && u32::from(permits.readers) < in_snapshot {
            snapshots.end(TOO_FEW);
        }
        if link == task.dest {
            permits.writers = fewer(task.writers, &mut missing);
        }
        if granted < need.most {
            log::info!(
                "{}: {} readers and {} writers, since link {link} allows {limit} connections",
                table.name,
                permits.readers,
                permits.writers
            );
        }
        permits.claims.push(claim);
    }
    Ok(permits)
}

/// As many of those wanted as there are connections for, at least one; what is missing beyond that
/// stays in `missing`.
fn fewer(wanted: u8, missing: &mut u32) -> u8 {
    let left_out = (u32::from(wanted) - 1).min(*missing);
    *missing -= left_out;
    wanted - left_out as u8
}

/// The first link that can never give what a run of the table needs.
pub fn too_narrow(task: &Task, table: &TableTask, limit: impl Fn(&str) -> u32) -> Option<Error> {
    needs(task, table).into_iter().find_map(|(link, need)| {
        let allowed = limit(link);
        (need.least > allowed).then(|| {
            Error::new(
                Kind::Config,
                format!(
                    "link {link} allows {allowed} connections; a run of {} needs {}",
                    table.name, need.least
                ),
            )
            .hint("Raise max_connections of the link.")
        })
    })
}
