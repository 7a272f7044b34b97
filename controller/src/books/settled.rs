//! What was settled last, as a run knows it.

use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::Id;
use ssync_common::store::Settled;
use ssync_common::value::hex_bytes;
use ssync_worker::journal::LastSettled;

/// Of what the configuration database says.
///
/// # Errors
/// [`Kind::Config`] where that is damaged.
pub fn last_settled(settled: Settled) -> Result<LastSettled> {
    let fence = hex_bytes::decode(&settled.fence).and_then(|b| Id::try_from(b).ok());
    Ok(LastSettled {
        fence: fence.ok_or_else(|| {
            Error::new(Kind::Config, "what was settled last is remembered in a damaged form")
        })?,
        epoch: settled.epoch,
        run: settled.run.0,
        pos: settled.pos,
    })
}
