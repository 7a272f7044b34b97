//! What a task process is given: data, wherever it came from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ssync_common::config::{MAX_CONNECTIONS, Rates, TableTask, Task, Throttle};
use ssync_common::connector::LinkParams;
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_writer::transform::ColumnTransform;

use crate::control::Hold;
use crate::journal::Journal;
use crate::lock::TableLock;

/// A task, with everything its run needs.
pub struct TaskParams {
    /// The task, with only the tables that are to run.
    pub task: Task,
    /// Tables of the task that are left out, since an operator or a failure holds them.
    pub held: Vec<HeldTable>,
    /// Source link.
    pub source: LinkParams,
    /// Destination link.
    pub dest: LinkParams,
    /// Whether a source that may lose commits in a crash is accepted (`status`).
    pub source_allows_nondurable: bool,
    /// Whether a destination that may lose commits in a crash is accepted.
    pub dest_allows_nondurable: bool,
    /// Whether the source's address may lead to any replica of one cluster.
    pub source_failover: bool,
    /// Whether the destination's may.
    pub dest_failover: bool,
    /// Connections that each link allows to all processes of the instance together (A29), by the
    /// link's name.
    pub limits: BTreeMap<String, u32>,
    /// How fast the run may go, as it is configured at its start.
    pub rates: Rates,
    /// When it waits for the source.
    pub source_throttle: Option<Throttle>,
    /// When it waits for the destination.
    pub dest_throttle: Option<Throttle>,
    /// Keys by name.
    pub keys: BTreeMap<String, KeyRing>,
    /// Part of a real-time schedule: a failure leaves everything as it is (A16).
    pub realtime: bool,
    /// Part of a schedule of less than a minute: a run without rows is nothing to report.
    pub fires_often: bool,
    /// Begin a new run even where an earlier one could be resumed.
    pub restart: bool,
    /// Home directory of the instance.
    pub home: PathBuf,
    /// The instance's random id.
    pub instance: String,
    /// The configuration database's side of a run.
    pub books: Arc<dyn Books>,
}

/// A table that is held.
#[derive(Debug, Clone)]
pub struct HeldTable {
    /// The table.
    pub table: TableTask,
    /// By whom, and what lets it run again.
    pub hold: Error,
}

/// What the configuration database does for a task.
pub trait Books: Send + Sync {
    /// Takes the sub-task's lock in `task_detail`; fails with [`ssync_common::error::Kind::Locked`]
    /// when somebody alive has it.
    fn lock(&self, task: &Task, table: &TableTask) -> Result<Box<dyn TableLock>>;

    /// The same for a run: an attempt begins, whose end its journal is told.
    fn launch(&self, task: &Task, table: &TableTask) -> Result<Box<dyn TableLock>>;

    /// What keeps the table, or its whole task, from running (A4, A16).
    fn held(&self, task: u32, table: &str) -> Result<Option<Hold>>;

    /// How fast runs of the task may go by now; `None` where that cannot be known.
    fn rates(&self, task: u32) -> Result<Option<Rates>>;

    /// Whether the configuration has this sub-task by now, and it fills (`full`) a table of the same
    /// name as `dest`; `None` where that cannot be known.
    fn still_fills(&self, task: u32, table: &str, dest: &str) -> Result<Option<bool>>;

    /// Keeps the task from running until it is resumed (A16). `error`: the failure, where the task
    /// may resume by itself once the server is back.
    fn suspend(&self, task: &Task, reason: &str, error: Option<Kind>) -> Result<()>;

    /// The journal of a sub-task.
    fn journal(&self, task: &Task, table: &TableTask) -> Result<Arc<dyn Journal>>;
}

impl TaskParams {
    /// Connections that the link allows.
    pub fn limit(&self, link: &str) -> u32 {
        self.limits.get(link).copied().unwrap_or(MAX_CONNECTIONS)
    }

    /// What the source of an `increment` is known by, beside its table's name: its server; where
    /// the link may lead to any replica of a cluster, the cluster, which only this instance's link
    /// stands for.
    pub fn source_identity(&self, server: &str) -> String {
        let [now, _] = self.source_identities(server);
        now
    }

    /// The same as it was before `failover` was configured otherwise.
    pub fn other_source_identity(&self, server: &str) -> String {
        let [_, other] = self.source_identities(server);
        other
    }

    fn source_identities(&self, server: &str) -> [String; 2] {
        source_identities(self.source_failover, &self.source.name, &self.instance, server)
    }

    /// The keys that these transformations need.
    pub fn keys_for(&self, transforms: &[ColumnTransform]) -> BTreeMap<String, KeyRing> {
        self.keys
            .iter()
            .filter(|(name, _)| transforms.iter().any(|t| t.key == **name))
            .map(|(name, ring)| (name.clone(), ring.clone()))
            .collect()
    }
}

/// What a source is known by, as `failover` of its link is configured and as it would be otherwise:
/// see [`TaskParams::source_identity`].
pub(crate) fn source_identities(
    failover: bool,
    link: &str,
    instance: &str,
    server: &str,
) -> [String; 2] {
    let cluster = format!("cluster {link} of instance {instance}");
    match failover {
        true => [cluster, server.to_owned()],
        false => [server.to_owned(), cluster],
    }
}
