//! A server that speaks Oracle's wire protocol for thin clients, for tests.
//!
//! Behind it is a private PostgreSQL with `orafce`. What it is, what it proves and what it cannot
//! prove is in this crate's README.
//!
//! [`Standin::start`] gives a server with a database of its own. From the connection inwards:
//! `packet` frames, `ttc` holds the primitives, `handshake`, `authenticate` and
//! `login` begin a session, `session`
//! reads its calls, `execute`, `dml`, `define` and `block` run statements that `sql` has translated,
//! `answer` writes what comes back, `lob` holds LOBs; `types`, `number` and `datetime` turn values from one side's bytes into
//! the other's text; `backend` and `postgres` are PostgreSQL's client and server.
//!
//! Everything here panics when it cannot start: a missing server is a loud failure.

#![allow(clippy::expect_used)]

mod answer;
mod authenticate;
mod backend;
mod block;
mod datetime;
mod define;
mod dml;
mod execute;
pub mod faults;
mod handshake;
mod lob;
mod login;
mod number;
mod ora_error;
mod packet;
pub mod postgres;
pub mod python;
mod request;
mod session;
mod sql;
mod standin;
mod ttc;
mod types;

pub use standin::{ADMIN_USER, Generation, PASSWORD, SERVICE, Standin, USER};
