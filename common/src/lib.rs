//! What every ssync process knows, whatever its role.
//!
//! - [`config`]: what people write, as data; [`store`] keeps it.
//! - [`connector`]: databases behind one interface.
//! - [`fidelity`]: what becomes of values between two columns, judged beforehand.
//! - [`crypto`]: sealing and opening column values.
//! - [`schema`], [`value`], [`batch`]: tables, single values, rows on their way.
//! - [`ledger`]: the destination's own record of what landed.
//! - [`process`], [`shm`]: starting processes, talking to them, memory they share.
//! - [`event`]: what people are to be told.
//! - [`logging`], [`failpoint`]: what is written down; where tests make processes die.
//! - [`error`], [`secret`]: failures that cross process borders, secrets that never do.

pub mod batch;
pub mod config;
pub mod connector;
pub mod crypto;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod fidelity;
pub mod ledger;
pub mod logging;
pub mod process;
pub mod schema;
pub mod secret;
pub mod shm;
pub mod store;
pub mod value;

pub use error::{Error, Result};
