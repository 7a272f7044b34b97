//! What task process and writer process say to each other over their private socket, and the
//! verdict a writer leaves in shared memory.
//!
//! The socket is the only road by which secrets travel between processes; nothing here has a
//! `Debug` that would show them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssync_common::batch::BadValue;
use ssync_common::connector::{LinkParams, LoadPlan, OracleParams, TlsMode};
use ssync_common::crypto::WireKeyRing;
use ssync_common::error::Error;
use ssync_common::ledger::{Id, Pair};
use ssync_common::schema::Kind;
use ssync_common::secret::WireSecret;
use ssync_common::value::Key;

use crate::empties::EmptyColumn;
use crate::transform::ColumnTransform;

/// A link with its password, for the private socket only.
#[derive(Serialize, Deserialize)]
pub struct WireLink {
    name: String,
    url: String,
    password: Option<WireSecret>,
    tls: TlsMode,
    tls_ca_file: Option<PathBuf>,
    oracle: OracleParams,
    connect_timeout_ms: u64,
    io_timeout_ms: u64,
}

impl WireLink {
    /// Packs a link.
    pub fn new(link: &LinkParams) -> Self {
        WireLink {
            name: link.name.clone(),
            url: link.url.clone(),
            password: link.password.clone().map(WireSecret::new),
            tls: link.tls,
            tls_ca_file: link.tls_ca_file.clone(),
            oracle: link.oracle.clone(),
            connect_timeout_ms: link.connect_timeout.as_millis() as u64,
            io_timeout_ms: link.io_timeout.as_millis() as u64,
        }
    }

    /// Whether it leads to the same place.
    pub fn leads_to(&self, link: &LinkParams) -> bool {
        self.name == link.name && self.url == link.url
    }

    /// Unpacks it.
    pub fn into_params(self) -> LinkParams {
        LinkParams {
            name: self.name,
            url: self.url,
            password: self.password.map(WireSecret::into_secret),
            tls: self.tls,
            tls_ca_file: self.tls_ca_file,
            oracle: self.oracle,
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            io_timeout: Duration::from_millis(self.io_timeout_ms),
        }
    }
}

/// First message to a writer; the descriptor of the batch ring comes along.
#[derive(Serialize, Deserialize)]
pub struct Setup {
    /// This writer's number, from 0.
    pub n: usize,
    /// Destination link.
    pub link: WireLink,
    /// Where and how rows land.
    pub plan: LoadPlan,
    /// Columns to encrypt or decrypt.
    pub transforms: Vec<ColumnTransform>,
    /// Columns whose empty values change on the way into Oracle, or out of it.
    pub empties: Vec<EmptyColumn>,
    /// The keys for that, by name.
    pub keys: BTreeMap<String, WireKeyRing>,
    /// Place of each key column in the batch, with its kind; empty for a keyless table.
    pub key: Vec<(usize, Kind)>,
    /// The record of the pair of tables.
    pub pair: Pair,
    /// The run.
    pub run: Id,
}

/// One batch to land.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// Slot of the ring that holds it.
    pub slot: usize,
    /// Generation of the slot.
    pub generation: u64,
    /// Its generation in the ring of one slot that holds it instead, when it is wider than a slot, and
    /// whose descriptor comes along.
    pub side: Option<u64>,
    /// Position in the ledger.
    pub pos: String,
    /// Epoch that the fence must show.
    pub epoch: i64,
    /// Number of the batch, for messages and crash points.
    pub number: u64,
    /// Values that could not be read.
    pub bad: Vec<BadValue>,
    /// Parts (first row, rows) that are dealt with already and must not be sent.
    pub done: Vec<(usize, usize)>,
    /// Bad rows that may still be found before the batch is given up.
    pub errors_left: u64,
}

/// Messages to a writer.
#[derive(Serialize, Deserialize)]
pub enum ToWriter {
    /// The first one, also after a rest.
    Setup(Box<Setup>),
    /// A batch.
    Work(Work),
    /// No more batches of this table: let go of all but the connection.
    Rest,
    /// Nothing more: leave.
    Finish,
}

/// Messages from a writer.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromWriter {
    /// Set up and connected.
    Ready,
    /// The verdict on this slot's batch is in shared memory.
    Done {
        /// The slot.
        slot: usize,
        /// Its generation.
        generation: u64,
    },
    /// Could not set up.
    Failed(Error),
    /// Ends because of this, with whatever batch it has unanswered.
    Dying(Error),
    /// At rest.
    Resting,
}

/// What became of a part of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Landed and committed; this many of its rows were left out because their key exists.
    Landed(u64),
    /// A single row that the destination, or a transformation, refuses.
    Bad(Error),
    /// A single row whose parent is missing at the destination.
    Orphan(Error),
}

/// A part of a batch and its fate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// First row within the batch.
    pub from: usize,
    /// Rows.
    pub rows: usize,
    /// Key of the first row.
    pub lo: Key,
    /// Key of the last row.
    pub hi: Key,
    /// Its fate.
    pub outcome: Outcome,
}

/// A writer's verdict on one batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Parts in row order.
    pub parts: Vec<Part>,
    /// Rows that are neither in `parts` nor in `Work::done`: not tried, or rolled back.
    pub unsent: usize,
    /// What ended the batch early, if anything.
    pub error: Option<Error>,
    /// How often a transaction lost a deadlock, or waited too long for a lock, and began anew.
    pub contentions: u32,
    /// Time spent transforming, microseconds.
    pub transform_micros: u64,
    /// Time spent in the destination, microseconds.
    pub landing_micros: u64,
}
