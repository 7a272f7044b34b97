//! Where ssync keeps its things: the home directory, and the configuration database.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::check_url;
use crate::connector::{LinkParams, OracleDriver, OracleParams, TlsMode};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::store::secret_source;

/// Environment variable that names the home directory.
pub const HOME_ENV: &str = "SSYNC_HOME";
/// Environment variable with the URL of a configuration database other than the SQLite file.
pub const DB_ENV: &str = "SSYNC_CONFIG_DB";
/// Environment variable with that database's password. Never pass it on to another program.
pub const DB_PASSWORD_ENV: &str = "SSYNC_CONFIG_DB_PASSWORD";
/// Environment variable with the path of a file that holds that password.
pub const DB_PASSWORD_FILE_ENV: &str = "SSYNC_CONFIG_DB_PASSWORD_FILE";

/// Environment variable with how that database is reached: `off`, `required`, `verified`.
pub const DB_TLS_ENV: &str = "SSYNC_CONFIG_DB_TLS";
/// Environment variable with the path of the certificate authorities (PEM) for `verified`.
pub const DB_TLS_CA_FILE_ENV: &str = "SSYNC_CONFIG_DB_TLS_CA_FILE";
/// Which driver an Oracle server is spoken to with: `thin` or `oci`.
pub const DB_DRIVER_ENV: &str = "SSYNC_CONFIG_DB_DRIVER";
/// Directory with the wallet for the protection of a connection to Oracle.
pub const DB_WALLET_DIR_ENV: &str = "SSYNC_CONFIG_DB_WALLET_DIR";

/// The home directory: `ssync.db`, `host.key`, `run/`, logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// `explicit`, else `SSYNC_HOME`, else `/var/lib/ssync` for root and `ssync` in the XDG state
    /// directory for everybody else. Nothing is created yet.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is nothing to go by.
    pub fn locate(explicit: Option<&Path>) -> Result<Home> {
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let path = if let Some(path) = explicit.map(Path::to_owned).or_else(|| env(HOME_ENV)) {
            path
        } else if nix::unistd::geteuid().is_root() {
            PathBuf::from("/var/lib/ssync")
        } else if let Some(state) = env("XDG_STATE_HOME") {
            state.join("ssync")
        } else if let Some(user) = env("HOME") {
            user.join(".local/state/ssync")
        } else {
            return Err(Error::new(Kind::Config, "there is no home directory for ssync")
                .hint("Set SSYNC_HOME to a directory that only ssync's account can write."));
        };
        let path = std::path::absolute(path)?;
        Ok(Home(path))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Directory of lock files and sockets.
    pub fn run_dir(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The embedded configuration database.
    pub fn database(&self) -> PathBuf {
        self.0.join("ssync.db")
    }

    /// The key that seals stored secrets.
    pub fn host_key(&self) -> PathBuf {
        self.0.join("host.key")
    }

    /// Makes the directories that are missing, mode 0700.
    ///
    /// # Errors
    /// [`Kind::Config`] when others may write there: they could exchange what is in it.
    pub fn create(&self) -> Result<()> {
        for dir in [self.0.clone(), self.run_dir()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| {
                Error::from(e)
                    .context(format!("could not create {}", dir.display()))
                    .hint("Set SSYNC_HOME to a directory that ssync's account may create.")
            })?;
            let meta = std::fs::metadata(&dir)?;
            let own = nix::unistd::geteuid().as_raw();
            if meta.mode() & 0o022 != 0 {
                return Err(Error::new(
                    Kind::Config,
                    format!(
                        "{} can be written by others (mode {:03o})",
                        dir.display(),
                        meta.mode() & 0o777
                    ),
                )
                .hint(format!("Close it: chmod 700 {}", dir.display())));
            }
            if meta.uid() != own && own != 0 {
                return Err(Error::new(
                    Kind::Config,
                    format!("{} belongs to another account (uid {})", dir.display(), meta.uid()),
                )
                .hint("Run ssync as the account that owns its home directory."));
            }
        }
        Ok(())
    }
}

/// Which configuration database.
#[derive(Debug, Clone)]
pub struct StoreLocation {
    /// The home directory; lock files and the host key are there, whichever database it is.
    pub home: Home,
    /// How the database is opened.
    pub link: LinkParams,
    /// Whether the database is the file in the home directory.
    pub is_embedded: bool,
}

impl StoreLocation {
    /// The SQLite file of a home directory.
    pub fn embedded(home: Home) -> StoreLocation {
        let url = sqlite_url(&home.database());
        StoreLocation { home, link: store_link(url, None), is_embedded: true }
    }

    /// A database server. `url` is checked like a link's.
    ///
    /// # Errors
    /// [`Kind::Config`] when the URL is no good; it is not shown, since it may hold a password.
    pub fn server(home: Home, url: &str, password: Option<Secret>) -> Result<StoreLocation> {
        check_url(url).map_err(|message| {
            Error::new(Kind::Config, format!("{DB_ENV}: {message}")).hint(format!(
                "Give its password in a file named by {DB_PASSWORD_FILE_ENV}, or in {DB_PASSWORD_ENV}."
            ))
        })?;
        if url.starts_with("sqlite:") {
            return Err(Error::new(Kind::Config, format!("{DB_ENV} names a SQLite file")).hint(
                format!("Leave it out: the file is ssync.db in the directory {HOME_ENV} names."),
            ));
        }
        Ok(StoreLocation { home, link: store_link(url.to_owned(), password), is_embedded: false })
    }

    /// Reached with this protection; `ca_file` is for [`TlsMode::Verified`] alone.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsMode, ca_file: Option<PathBuf>) -> StoreLocation {
        self.link.tls = tls;
        self.link.tls_ca_file = ca_file;
        self
    }

    /// With what only Oracle has.
    #[must_use]
    pub fn with_oracle(mut self, oracle: OracleParams) -> StoreLocation {
        self.link.oracle = oracle;
        self
    }

    /// As the environment says: `SSYNC_CONFIG_DB` with its password and protection, else the
    /// SQLite file of `home`.
    ///
    /// # Errors
    /// [`Kind::Config`] for a wrong URL, or a password in a place that others can read.
    pub fn from_env(home: Home) -> Result<StoreLocation> {
        let Some(url) = env_text(DB_ENV)? else {
            return Ok(StoreLocation::embedded(home));
        };
        let password = match std::env::var_os(DB_PASSWORD_FILE_ENV).filter(|v| !v.is_empty()) {
            Some(file) => Some(secret_source::from_file(Path::new(&file), DB_PASSWORD_FILE_ENV)?),
            None => secret_source::from_env(DB_PASSWORD_ENV),
        };
        let tls = match env_text(DB_TLS_ENV)?.as_deref() {
            None | Some("off") => TlsMode::Off,
            Some("required") => TlsMode::Required,
            Some("verified") => TlsMode::Verified,
            Some(_) => {
                return Err(Error::new(Kind::Config, format!("{DB_TLS_ENV} has an unknown value"))
                    .hint("It can be off, required or verified."));
            }
        };
        let ca_file = env_text(DB_TLS_CA_FILE_ENV)?.map(PathBuf::from);
        if ca_file.is_some() && tls != TlsMode::Verified {
            return Err(Error::new(
                Kind::Config,
                format!("{DB_TLS_CA_FILE_ENV} is only used with {DB_TLS_ENV}=verified"),
            ));
        }
        let driver = match env_text(DB_DRIVER_ENV)?.as_deref() {
            None | Some("thin") => OracleDriver::Thin,
            Some("oci") => OracleDriver::Oci,
            Some(_) => {
                let why = format!("{DB_DRIVER_ENV} has an unknown value");
                return Err(Error::new(Kind::Config, why).hint("It can be thin or oci."));
            }
        };
        let wallet_dir = env_text(DB_WALLET_DIR_ENV)?.map(PathBuf::from);
        Ok(StoreLocation::server(home, &url, password)?
            .with_tls(tls, ca_file)
            .with_oracle(OracleParams { driver, wallet_dir }))
    }

    /// Makes what must be there before the database can be opened.
    pub(super) fn prepare(&self) -> Result<()> {
        self.home.create()?;
        if !self.is_embedded {
            return Ok(());
        }
        let path = self.home.database();
        // SQLite would create it with the umask's mode; its log files take over the mode it has.
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(Error::from(e).context(format!("could not create {}", path.display())));
            }
        }
        let mode = std::fs::metadata(&path)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::new(
                Kind::Config,
                format!("{} is open to others (mode {mode:03o})", path.display()),
            )
            .hint(format!("Close it: chmod 600 {}", path.display())));
        }
        Ok(())
    }
}

/// A variable that is set, as text.
fn env_text(name: &str) -> Result<Option<String>> {
    match std::env::var_os(name).filter(|v| !v.is_empty()).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(Error::new(Kind::Config, format!("{name} is not text"))),
    }
}

fn store_link(url: String, password: Option<Secret>) -> LinkParams {
    LinkParams {
        name: "configuration database".to_owned(),
        url,
        password,
        tls: TlsMode::Off,
        tls_ca_file: None,
        oracle: Default::default(),
        connect_timeout: Duration::from_secs(10),
        io_timeout: Duration::from_secs(120),
    }
}

/// The URL of a SQLite file, whatever bytes its path has.
fn sqlite_url(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut url = "sqlite://".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}
