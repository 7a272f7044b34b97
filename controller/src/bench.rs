//! `ssync bench`: what each stage of the main job takes without any database, in memory and in one
//! thread: the ceiling that a run between real servers cannot exceed. Under a tool that counts
//! instructions it compares builds on any machine.

use std::collections::BTreeMap;
use std::time::Instant;

use arrow_array::RecordBatch;
use clap::{Args, ValueEnum};
use serde_json::json;
use ssync_common::batch::{BatchBuilder, BatchLimits, ReadBatch, decode, encode};
use ssync_common::connector::mysql::stages::{Commands, Packets};
use ssync_common::connector::{LoadPlan, WriteMode};
use ssync_common::crypto::{KeyRing, Mode};
use ssync_common::error::Result;
use ssync_common::schema::{Column, Kind};
use ssync_common::secret::Secret;
use ssync_common::shm::ring::Ring;
use ssync_common::value::DateTime;
use ssync_writer::transform::{Action, ColumnTransform, Transformer};

use crate::output::outln;

/// As a task has them by default.
const LIMITS: BatchLimits = BatchLimits { rows: 10_000, slot_bytes: 4 << 20 };
/// Rows of a bulk command.
const COMMAND_ROWS: usize = 1_000;
const SEALED: [&str; 2] = ["id_card", "mobile"];

/// `ssync bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Made-up orders of twelve columns
    #[arg(long, value_name = "N", default_value_t = 200_000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub rows: u64,
    /// Only this stage, and what must come before it
    #[arg(long, value_enum, value_name = "STAGE")]
    pub stage: Option<Stage>,
}

/// A stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Rows as a server sends them become batches; nothing takes them
    Decode,
    /// Batches through shared memory
    Ring,
    /// Two columns are encrypted
    Seal,
    /// Batches become bulk commands; nothing takes them
    Encode,
}

/// Measures the stages and prints what each takes.
pub fn run(args: &BenchArgs, as_json: bool) -> Result<()> {
    let columns = columns();
    let mut batches = Vec::new();
    fill(&columns, args.rows, &mut |batch| {
        batches.push(batch.rows);
        Ok(())
    })?;
    let packets: Vec<_> = batches.iter().map(|batch| Packets::of(&columns, batch)).collect();
    let bytes: usize = packets.iter().map(Packets::bytes).sum();
    let mut meter = Meter { rows: args.rows, bytes, as_json, total_secs: 0.0 };
    let wanted = |stage: Stage| args.stage.is_none_or(|only| only == stage);

    if wanted(Stage::Decode) {
        meter.stage("decode", || {
            for packets in &packets {
                packets.decode(LIMITS, &mut |_| Ok(()))?;
            }
            Ok(())
        })?;
    }
    if wanted(Stage::Ring) {
        let ring = Ring::create(1, LIMITS.slot_bytes, 0)?;
        meter.stage("ring", || batches.iter().try_for_each(|batch| through(&ring, batch)))?;
    }
    let mut sealed = batches.clone();
    let mut transformer = transformer(&columns)?;
    let mut seal = || {
        for batch in &mut sealed {
            *batch = transformer.apply(batch)?.0;
        }
        Ok(())
    };
    match wanted(Stage::Seal) {
        true => meter.stage("seal", seal)?,
        false => seal()?,
    }
    if wanted(Stage::Encode) {
        let (plan, mut commands) = (load_plan(&columns), Commands::default());
        meter.stage("encode", || {
            sealed.iter().try_for_each(|batch| commands.make(&plan, batch, COMMAND_ROWS).map(drop))
        })?;
    }
    if args.stage.is_none() {
        meter.line("all", meter.total_secs);
    }
    Ok(())
}

/// A batch into a slot, and out of it as a writer has it.
fn through(ring: &Ring, batch: &RecordBatch) -> Result<()> {
    let generation = ring.fill(0, |slot| encode(batch, slot))?;
    drop(decode(ring.buffer(0, generation)?)?);
    ring.put_verdict(0, generation, b"{}")?;
    ring.verdict(0, generation).map(drop)
}

struct Meter {
    rows: u64,
    bytes: usize,
    as_json: bool,
    total_secs: f64,
}

impl Meter {
    /// Never inlined: tools that count instructions count those of this function.
    #[inline(never)]
    fn stage(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let began = Instant::now();
        work()?;
        let secs = began.elapsed().as_secs_f64();
        self.total_secs += secs;
        self.line(name, secs);
        Ok(())
    }

    fn line(&self, name: &str, secs: f64) {
        let (per_row, per_sec) = (secs * 1e9 / self.rows as f64, self.rows as f64 / secs);
        let mb_per_sec = self.bytes as f64 / 1e6 / secs;
        if self.as_json {
            let line = json!({
                "stage": name,
                "rows": self.rows,
                "seconds": secs,
                "ns_per_row": per_row,
                "rows_per_sec": per_sec,
                "mb_per_sec": mb_per_sec,
            });
            outln!("{line}");
        } else {
            outln!("{name:<8}{per_row:>8.0} ns/row{per_sec:>12.0} rows/s{mb_per_sec:>8.0} MB/s");
        }
    }
}

fn columns() -> Vec<Column> {
    let column = |name: &str, kind: Kind, declared: &str| {
        let mut column = Column::new(name, kind, declared);
        column.charset = matches!(kind, Kind::Text).then(|| "utf8mb4".to_owned());
        column.scale = match declared {
            "datetime(6)" => Some(6),
            "timestamp" => Some(0),
            "decimal(12,2)" => Some(2),
            _ => None,
        };
        column
    };
    vec![
        column("id", Kind::Int, "bigint"),
        column("customer", Kind::Text, "varchar(60)"),
        column("email", Kind::Text, "varchar(80)"),
        column("address", Kind::Text, "varchar(120)"),
        column("id_card", Kind::Text, "varchar(128)"),
        column("mobile", Kind::Text, "varchar(128)"),
        column("amount", Kind::Decimal, "decimal(12,2)"),
        column("currency", Kind::Text, "char(3)"),
        column("state", Kind::Int, "tinyint"),
        column("ratio", Kind::Float64, "double"),
        column("created", Kind::DateTime, "datetime(6)"),
        column("updated", Kind::DateTime, "timestamp"),
    ]
}

fn load_plan(columns: &[Column]) -> LoadPlan {
    LoadPlan {
        table: "orders".to_owned(),
        columns: columns.to_vec(),
        kinds: columns.iter().map(|c| c.kind).collect(),
        mode: WriteMode::Insert,
        key: vec!["id".to_owned()],
    }
}

fn transformer(columns: &[Column]) -> Result<Transformer> {
    let transform = |name: &str| ColumnTransform {
        index: columns.iter().position(|c| c.name == name).unwrap_or_default(),
        kind_in: Kind::Text,
        key: "bench".to_owned(),
        mode: Mode::Random,
        action: Action::Seal { table: "orders".to_owned(), column: name.to_owned() },
    };
    let key = KeyRing::new("bench", &Secret::new((0..32).collect()), &[])?;
    let keys = BTreeMap::from([("bench".to_owned(), key)]);
    Transformer::new(&SEALED.map(transform), &[], &keys)
}

/// Makes rows that are the same every time.
fn fill(
    columns: &[Column],
    rows: u64,
    emit: &mut dyn FnMut(ReadBatch) -> Result<()>,
) -> Result<()> {
    const NAMES: [&str; 4] = ["Ada Fischer", "王小明", "Jürgen Dvořák", "Zoë Nguyen"];
    let mut builder = BatchBuilder::new(columns, LIMITS);
    let moment =
        |micros| DateTime::new(2024, 2, 29, 12, 30, 15, micros).map_or(0, DateTime::packed);
    for i in 0..rows {
        let n = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        builder.int(0, i as i64);
        builder.text(1, NAMES[(n % 4) as usize]);
        match n % 20 {
            0 => builder.null(2),
            _ => builder.text(2, &format!("user{n}@mail.example")),
        }
        builder.text(3, &format!("{} Nanjing Road East, Shanghai", n % 300));
        builder.text(4, &format!("31010119800101{:04}", n % 10_000));
        match n % 33 {
            0 => builder.null(5),
            _ => builder.text(5, &format!("138{:08}", n % 100_000_000)),
        }
        builder.text(6, &format!("{}.{:02}", n % 100_000, n % 100));
        builder.text(7, "CNY");
        builder.int(8, (n % 5) as i64);
        builder.float64(9, n as f64 / 1024.0);
        builder.int(10, moment((n % 1_000_000) as u32));
        builder.int(11, moment(0));
        builder.end_row(emit)?;
    }
    builder.flush(emit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_come_out_of_their_packets_and_the_ring_as_they_went_in() {
        let columns = columns();
        let mut made = Vec::new();
        fill(&columns, 1_234, &mut |batch| {
            assert!(batch.bad.is_empty());
            made.push(batch.rows);
            Ok(())
        })
        .unwrap();
        let mut read = Vec::new();
        let packets = Packets::of(&columns, &made[0]);
        packets
            .decode(LIMITS, &mut |batch| {
                assert!(batch.bad.is_empty());
                read.push(batch.rows);
                Ok(())
            })
            .unwrap();
        assert_eq!(read, made);
        let bytes = Commands::default().make(&load_plan(&columns), &made[0], COMMAND_ROWS).unwrap();
        assert!(bytes > packets.bytes(), "an indicator for each value");
    }
}
