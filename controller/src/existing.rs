//! The home that a command finds. Commands that only look make none: a path with a mistake in it must
//! not become an empty home that reports nothing wrong.

use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{Home, Store, StoreLocation};

use crate::daemon::order::open_known;

const HINT: &str = "Name the one that ssync works with by SSYNC_HOME or --home. ssync apply FILE makes \
                    a new one.";

/// Refuses a directory that is not there, or is no home. A host whose configuration is on a server gets
/// its home by the first command.
///
/// # Errors
/// [`Kind::Config`].
pub fn check(home: &Home) -> Result<()> {
    if !StoreLocation::from_env(home.clone())?.is_embedded {
        return Ok(());
    }
    let shown = home.path().display();
    if !home.path().is_dir() {
        return Err(Error::new(Kind::Config, "there is no such home directory")
            .detail(shown.to_string())
            .hint(HINT));
    }
    // One whose configuration was on a server has only `run`.
    if !home.database().exists() && !home.run_dir().exists() {
        return Err(Error::new(Kind::Config, format!("{shown} is no home of ssync"))
            .detail("there is no configuration database in it (ssync.db)")
            .hint(HINT));
    }
    Ok(())
}

/// Opens the configuration database of a home that is there; one that is gone is not made anew.
/// `instance` is the one that the daemon knows.
///
/// # Errors
/// [`Kind::Config`] when there is no home, or another database in it; [`Kind::Connect`] when the
/// database is gone or out of reach.
pub fn open(home: &Home, instance: Option<&str>) -> Result<Store> {
    check(home)?;
    let location = StoreLocation::from_env(home.clone())?;
    // Any instance will do for a file that is there.
    match instance.is_none() && location.is_embedded && !home.database().exists() {
        true => open_known(&location, Some("")),
        false => open_known(&location, instance),
    }
}
