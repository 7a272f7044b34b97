//! Secrets of links and keys: where the configuration says they are, or sealed in the database.

use std::time::Duration;

use crate::config::{Config, Link, SecretSource};
use crate::connector::{LinkParams, OracleParams};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::store::Store;
use crate::store::seal::HostKey;
use crate::store::secret_source;
use crate::store::sql::{Filter, IntoValue, Select};

/// The secret of an encryption key, from where the configuration says it is; `whose` names it in
/// messages: `key pii`.
///
/// # Errors
/// [`Kind::Config`] when it is not there, or in a file that others can read.
pub fn key_secret(whose: &str, source: &SecretSource) -> Result<Secret> {
    from_outside(whose, source)?
        .ok_or_else(|| Error::new(Kind::Config, format!("{whose}: keys are not stored secrets")))
}

/// A configured link with its password.
pub fn link_params(link: &Link, password: Option<Secret>) -> LinkParams {
    LinkParams {
        name: link.name.clone(),
        url: link.url.clone(),
        password,
        tls: link.tls,
        tls_ca_file: link.tls_ca_file.clone(),
        oracle: OracleParams { driver: link.driver, wallet_dir: link.wallet_dir.clone() },
        connect_timeout: Duration::from_secs(link.connect_timeout_secs),
        io_timeout: Duration::from_secs(link.io_timeout_secs),
    }
}

/// The secret of the receiver `name`, from where the configuration says it is.
///
/// # Errors
/// [`Kind::Config`] when it is not there, or in a file that others can read.
pub fn receiver_secret(name: &str, source: &SecretSource) -> Result<Secret> {
    let whose = format!("receiver {name}");
    from_outside(&whose, source)?.ok_or_else(|| {
        Error::new(Kind::Config, format!("{whose}: secrets of receivers are not stored"))
    })
}

/// The secret from the environment or a file; `None` for a stored one.
fn from_outside(whose: &str, source: &SecretSource) -> Result<Option<Secret>> {
    match source {
        SecretSource::Env { env } => match secret_source::from_env(env) {
            Some(secret) => Ok(Some(secret)),
            None => Err(Error::new(
                Kind::Config,
                format!("{whose}: the environment variable {env} is not set"),
            )
            .hint(
                "Set it for the process that starts ssync, or let the configuration name a file.",
            )),
        },
        SecretSource::File { file } => secret_source::from_file(file, whose).map(Some),
        SecretSource::Stored { .. } => Ok(None),
    }
}

/// What a stored password is authenticated with.
fn purpose(link: &str) -> String {
    format!("link {link}")
}

impl Store {
    /// A link's password, from where the configuration says it is; `None` where it has none.
    ///
    /// # Errors
    /// [`Kind::Config`] when it is not there, in a file that others can read, or sealed with
    /// another host's key.
    pub fn link_password(&mut self, link: &Link) -> Result<Option<Secret>> {
        let Some(source) = &link.password else { return Ok(None) };
        let whose = format!("link {}", link.name);
        if let Some(secret) = from_outside(&whose, source)? {
            return Ok(Some(secret));
        }
        let sealed = self.sealed_password(&link.name)?.ok_or_else(|| {
            Error::new(Kind::Config, format!("{whose}: no password is stored"))
                .hint(format!("Set it: ssync link set-password {}.", link.name))
        })?;
        let key = HostKey::load(&self.home().host_key())?;
        key.open(&purpose(&link.name), &sealed).map(Some).map_err(|e| e.context(whose))
    }

    /// Whether a password is stored for the link of that name.
    pub fn has_stored_password(&mut self, link: &str) -> Result<bool> {
        Ok(self.sealed_password(link)?.is_some())
    }

    fn sealed_password(&mut self, link: &str) -> Result<Option<String>> {
        let filter = Filter::new().eq("link_name", link);
        let select = Select::new("T_LINK", &["secret_sealed"]).filter(filter);
        let rows = self.read(|db| db.select(select.clone()))?;
        Ok(rows.first().and_then(|row| row.opt_text("secret_sealed")))
    }

    /// Checks that a password can be stored for the link of that name.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such link, or its password is not `{ stored = true }`.
    pub fn expect_stored_password(&mut self, link: &str) -> Result<()> {
        let filter = Filter::new().eq("link_name", link);
        let select = Select::new("T_LINK", &["secret_kind"]).filter(filter);
        let rows = self.read(|db| db.select(select.clone()))?;
        let row = rows.first().ok_or_else(|| no_link(link))?;
        match row.opt_text("secret_kind").as_deref() {
            Some("stored") => Ok(()),
            _ => Err(Error::new(
                Kind::Config,
                format!("the password of link {link} is not a stored one"),
            )
            .hint(
                "Write password = { stored = true } under its [[link]] and apply that first; or \
                 leave the password where the configuration says it is.",
            )),
        }
    }

    /// Seals a link's password with the host key and stores it, in place of the old one.
    ///
    /// # Errors
    /// [`Kind::Config`] as [`Store::expect_stored_password`], and for a host key that others can
    /// read; [`Kind::Usage`] for an empty password.
    pub fn set_link_password(&mut self, link: &str, password: &Secret) -> Result<()> {
        if password.expose().is_empty() {
            return Err(Error::new(Kind::Usage, "the password is empty"));
        }
        self.expect_stored_password(link)?;
        let key = HostKey::load_or_create(&self.home().host_key())?;
        let sealed = key.seal(&purpose(link), password)?;
        self.transaction(|db| {
            let filter = Filter::new().eq("link_name", link).eq("secret_kind", "stored");
            // A new seal is never equal to the old one: 0 means that the link is gone meanwhile.
            match db.update("T_LINK", &[("secret_sealed", (&sealed).into_value())], filter)? {
                0 => Err(no_link(link)),
                _ => Ok(()),
            }
        })
    }

    /// What is needed to open a link, its password among it.
    ///
    /// # Errors
    /// As [`Store::link_password`].
    pub fn link_params(&mut self, link: &Link) -> Result<LinkParams> {
        Ok(link_params(link, self.link_password(link)?))
    }

    /// What is needed to open the link of that name in `config`.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is none, or its password is not to be had.
    pub fn resolve_link(&mut self, config: &Config, name: &str) -> Result<LinkParams> {
        let link = config.links.iter().find(|l| l.name == name).ok_or_else(|| no_link(name))?;
        self.link_params(link)
    }
}

fn no_link(name: &str) -> Error {
    Error::new(Kind::Config, format!("there is no link {name}"))
        .hint("See the links: ssync link list.")
}
