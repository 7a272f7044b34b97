//! The daemon: fires schedules, and looks after the task processes.
//!
//! One thread and one `epoll`: a timer, signals, children's deaths, commands. Nothing it waits for
//! can hold it up: the configuration is read by a child of its own, channels never block, commands
//! that do not listen are dropped. From the inside out:
//!
//! - [`timetable`], [`schedule`]: when a schedule fires. No clock, no process; [`clock`] is that.
//! - [`decide`]: whether a task that is due starts. [`journal`]: what was decided, and why.
//! - [`order`], [`roles`], [`peer`], [`inquiry`], [`jobs`]: the children, and how it talks to them.
//! - [`control`], [`command`]: how commands talk to it. [`notify`]: how it talks to systemd.
//! - [`memory`]: what it leaves for the next one if it is killed.
//! - [`telling`]: what it has people told.
//! - [`core`]: the loop; [`firing`], [`knowing`], [`asking`], [`resumption`], [`counting`],
//!   [`stuck`]: what it does on each event.

mod asking;
pub mod clock;
pub mod command;
pub mod control;
mod core;
mod counting;
pub mod decide;
mod firing;
mod inquiry;
pub mod jobs;
pub mod journal;
mod knowing;
pub mod memory;
pub mod notify;
pub mod order;
pub mod peer;
mod resumption;
pub mod roles;
pub mod schedule;
mod stuck;
mod telling;
pub mod timetable;

pub use self::core::run;
