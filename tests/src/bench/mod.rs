//! The benchmark: whole runs of ssync between two real servers, beside the ways a database offers
//! by itself.
//!
//! - [`workload`]: the table, its rows and files, made from a seed.
//! - [`arena`]: two private servers with the workload on them, brought to rest before each run.
//! - [`contender`]: what is timed; [`ssync`] runs the binary under test, [`peers`] other tools.
//! - [`watch`]: processor time and memory of each process while something runs.
//! - [`check`]: every result is compared with the source, row by row, before its time counts.
//! - [`rounds`], [`stats`]: alternating runs, medians and spread.
//! - [`large`]: a run that is killed and goes on, at any size.
//! - [`workloads`]: tables of every shape, moved in every way.
//! - [`small`]: many small tables.
//! - [`report`], [`plot`], [`machine`]: JSON, Markdown and SVG.
//!
//! Everything here panics when it fails: a benchmark of something that did not work is worth
//! nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod arena;
pub mod check;
pub mod contender;
pub mod large;
pub mod machine;
pub mod peers;
pub mod plot;
pub mod report;
pub mod rounds;
pub mod small;
pub mod ssync;
pub mod stats;
pub mod watch;
pub mod workload;
pub mod workloads;
