//! The writer process: lands batches in the destination.
//!
//! A task process starts up to ten of them. Each holds one destination connection for the whole
//! table, and over a rest for the next one, too. It takes batches out of shared memory one at a
//! time, encrypts and decrypts configured columns, lands the rows in one transaction with their
//! ledger row, and leaves its verdict in shared memory. It never outlives its task process.

pub mod empties;
pub mod landing;
pub mod protocol;
pub mod transform;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Instant;

use ssync_common::bail;
use ssync_common::connector::{Connection, LinkParams, LockWait, open};
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{Seat, session_name};
use ssync_common::logging::set_context;
use ssync_common::process::channel::Channel;
use ssync_common::shm::Waiting;
use ssync_common::shm::ring::Ring;
use ssync_common::shm::waiting::WriterState;
use ssync_common::value::hex_bytes;

use landing::{Batch, Target, land, shortened};
use protocol::{FromWriter, Setup, ToWriter, Verdict, WireLink, Work};
use transform::{Transformer, seals};

/// Runs a writer to its end: the task process says so, or is gone.
pub fn run(channel: &Channel) -> Result<()> {
    let mut rested = None;
    loop {
        let (setup, ring) = match channel.recv_with::<ToWriter>()? {
            Some((ToWriter::Setup(setup), ring)) => (*setup, ring),
            Some((ToWriter::Finish, _)) | None => return Ok(()),
            Some(_) => bail!(Kind::Internal, "the first message was not the setup"),
        };
        let mut writer = match Writer::set_up(setup, ring, rested.take()) {
            Ok(writer) => writer,
            Err(e) => {
                channel.send(&FromWriter::Failed(e.clone()))?;
                return Err(e);
            }
        };
        failpoint::hit("writer.started", 1);
        channel.send(&FromWriter::Ready)?;
        match writer.serve(channel) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(e) => {
                // Whoever could hear it may be gone.
                let _ = channel.send(&FromWriter::Dying(shortened(e.clone())));
                return Err(e);
            }
        }
        rested = Some(writer.rest());
        channel.send(&FromWriter::Resting)?;
    }
}

/// What a writer keeps from one table to the next.
struct Rested {
    link: LinkParams,
    conn: Box<dyn Connection>,
}

impl Rested {
    /// Its connection, as good as new, if it leads where `link` does and still serves.
    fn connection_to(mut self, link: &WireLink) -> Option<Box<dyn Connection>> {
        let is_fit = link.leads_to(&self.link) && self.conn.may_be_reused();
        (is_fit && self.conn.refresh().is_ok()).then_some(self.conn)
    }
}

struct Writer {
    ring: Ring,
    n: usize,
    link: LinkParams,
    conn: Box<dyn Connection>,
    transformer: Transformer,
    setup: SetupRest,
    /// The epoch that its session is named after; 0 at first.
    named: i64,
}

/// What is left of the setup once secrets are where they belong.
struct SetupRest {
    plan: ssync_common::connector::LoadPlan,
    key: Vec<(usize, ssync_common::schema::Kind)>,
    pair: ssync_common::ledger::Pair,
    run: ssync_common::ledger::Id,
    seals: ssync_common::ledger::Seals,
}

impl Writer {
    fn set_up(setup: Setup, ring: Option<OwnedFd>, rested: Option<Rested>) -> Result<Writer> {
        set_context("dest", &setup.plan.table);
        set_context("run", hex_bytes::encode(&setup.run));
        let ring = Ring::receive(ring)?;
        ring.writer(setup.n)?.start(std::process::id());
        let rested = rested.and_then(|rested| rested.connection_to(&setup.link));
        let link = setup.link.into_params();
        let mut conn = match rested {
            Some(conn) => conn,
            None => open(&link)?,
        };
        conn.set_lock_wait(LockWait::Patient)?;
        let keys = setup
            .keys
            .into_iter()
            .map(|(name, wire)| Ok((name, KeyRing::from_wire(wire)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let transformer = Transformer::new(&setup.transforms, &setup.empties, &keys)?;
        let seals = seals(&setup.key, &setup.transforms, keys)?;
        let Setup { plan, key, pair, run, .. } = setup;
        let rest = SetupRest { plan, key, pair, run, seals };
        Ok(Writer { ring, n: setup.n, link, conn, transformer, setup: rest, named: 0 })
    }

    /// Lands batches until the table has no more; whether to rest then, or to leave.
    fn serve(&mut self, channel: &Channel) -> Result<bool> {
        loop {
            self.show(WriterState::Idle, Waiting::Batch)?;
            let rests = match channel.recv_with::<ToWriter>()? {
                Some((ToWriter::Work(work), side)) => {
                    let lost = self.work(&work, side)?;
                    failpoint::hit("writer.before_verdict", work.number);
                    let done = FromWriter::Done { slot: work.slot, generation: work.generation };
                    channel.send(&done)?;
                    if lost {
                        // The connection is gone; a fresh process starts with a fresh one.
                        bail!(Kind::Lost, "the destination connection broke");
                    }
                    continue;
                }
                Some((ToWriter::Rest, _)) => true,
                Some((ToWriter::Finish, _)) | None => false,
                Some((ToWriter::Setup(_), _)) => bail!(Kind::Internal, "a setup amid a table"),
            };
            self.show(WriterState::Ended, Waiting::Nothing)?;
            return Ok(rests);
        }
    }

    /// Lets go of the ring and the keys.
    fn rest(self) -> Rested {
        Rested { link: self.link, conn: self.conn }
    }

    fn show(&self, state: WriterState, waiting: Waiting) -> Result<()> {
        let entry = self.ring.writer(self.n)?;
        entry.state(state);
        entry.wait(waiting);
        Ok(())
    }

    /// Lands a batch, which is in the ring of the descriptor if there is one, and leaves the verdict;
    /// whether the connection is gone.
    fn work(&mut self, work: &Work, side: Option<OwnedFd>) -> Result<bool> {
        set_context("batch", work.number);
        self.show(WriterState::Busy, Waiting::Nothing)?;
        failpoint::hit("writer.got_batch", work.number);
        let (verdict, side) = self.verdict(work, side);
        let lost = verdict.error.as_ref().is_some_and(|e| e.kind == Kind::Lost);
        let bytes = serde_json::to_vec(&verdict)
            .map_err(|e| Error::new(Kind::Internal, format!("verdict: {e}")))?;
        if let (Some(side), Some(generation)) = (side, work.side) {
            side.put_verdict(0, generation, &[])?;
        }
        failpoint::hit("writer.before_answer", work.number);
        self.ring.put_verdict(work.slot, work.generation, &bytes)?;
        Ok(lost)
    }

    fn verdict(&mut self, work: &Work, descriptor: Option<OwnedFd>) -> (Verdict, Option<Ring>) {
        let mut side = None;
        let result = self.try_batch(work, descriptor, &mut side);
        let verdict = result.unwrap_or_else(|error| Verdict {
            parts: Vec::new(),
            unsent: 0,
            error: Some(shortened(error)),
            contentions: 0,
            transform_micros: 0,
            landing_micros: 0,
        });
        (verdict, side)
    }

    fn try_batch(
        &mut self,
        work: &Work,
        descriptor: Option<OwnedFd>,
        side: &mut Option<Ring>,
    ) -> Result<Verdict> {
        let buffer = match work.side {
            Some(generation) => {
                let ring = Ring::receive(descriptor)?;
                let buffer = ring.buffer(0, generation)?;
                *side = Some(ring);
                buffer
            }
            None => self.ring.buffer(work.slot, work.generation)?,
        };
        let bytes = buffer.len() as u64;
        let read = ssync_common::batch::decode(buffer)?;
        let started = Instant::now();
        let (landing, mut bad) = self.transformer.apply(&read)?;
        let transform_micros = started.elapsed().as_micros() as u64;
        bad.extend(work.bad.iter().cloned());
        self.show(WriterState::Busy, Waiting::Destination)?;
        let target = Target {
            plan: &self.setup.plan,
            key: &self.setup.key,
            pair: &self.setup.pair,
            run: self.setup.run,
            seals: &self.setup.seals,
            seat: self.n,
        };
        if self.named != work.epoch {
            let name = session_name(&self.setup.pair.id, work.epoch, Seat::Writer(self.n));
            self.conn.name_session(&name)?;
            self.named = work.epoch;
        }
        let batch = Batch { read: &read, landing: &landing };
        let mut verdict = land(self.conn.as_mut(), &target, work, &batch, &bad);
        verdict.transform_micros = transform_micros;
        let landed: u64 = verdict
            .parts
            .iter()
            .filter(|p| matches!(p.outcome, protocol::Outcome::Landed(_)))
            .map(|p| p.rows as u64)
            .sum();
        self.ring.writer(self.n)?.landed(landed, bytes);
        Ok(verdict)
    }
}
