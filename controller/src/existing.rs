//! The home that a command finds. Commands that only look make none: a path with a mistake in it must
//! not become an empty home that reports nothing wrong.

use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{Home, Store, StoreLocation};

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

/// Whether nothing is there yet: the configuration would be the first one.
pub fn is_new(home: &Home) -> bool {
    let is_embedded = StoreLocation::from_env(home.clone()).is_ok_and(|of| of.is_embedded);
    is_embedded && !home.database().exists()
}

/// Opens the configuration database of a home that is there. `instance` is the one that the daemon
/// knows.
///
/// # Errors
/// [`Kind::Config`] when there is no home; those of [`open_known`].
pub fn open(home: &Home, instance: Option<&str>) -> Result<Store> {
    check(home)?;
    open_known(&StoreLocation::from_env(home.clone())?, instance)
}

/// Opens the configuration database for a daemon or a monitor, which make a home: where no instance is
/// known yet, one that is not there is made.
///
/// # Errors
/// Those of [`open_known`].
pub fn open_or_make(location: &StoreLocation, instance: Option<&str>) -> Result<Store> {
    match instance {
        None => Store::open(location),
        known => open_known(location, known),
    }
}

/// Opens a configuration database that was there before, and where its instance is known no other one
/// in its place. One that is gone is not made anew.
///
/// # Errors
/// [`Kind::Connect`] when it is gone or out of reach, [`Kind::Config`] when it is another one.
pub fn open_known(location: &StoreLocation, instance: Option<&str>) -> Result<Store> {
    let path = location.home.database();
    if location.is_embedded && !path.exists() {
        return Err(Error::new(Kind::Connect, "the configuration database is gone")
            .detail(path.display().to_string())
            .hint("Put the file back. What is configured goes on as it was known last."));
    }
    let store = Store::open(location)?;
    if instance.is_some_and(|known| known != store.instance_id()) {
        return Err(Error::new(Kind::Config, "the configuration database is another one now")
            .hint("Stop the daemon and start it again if that is meant to be."));
    }
    Ok(store)
}
