//! Secrets of links and keys: where the configuration says they are, or sealed in the database.

use std::time::Duration;

use crate::config::{Config, Link, SecretSource};
use crate::connector::LinkParams;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::store::Store;
use crate::store::seal::HostKey;
use crate::store::secret_source;
use crate::store::sql::{Filter, IntoValue, Select};

/// Whose secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOwner {
    /// The password of a link.
    Link(String),
    /// A secret of an encryption key: 0 the one that encrypts, from 1 those it replaced.
    Key(String, u32),
}

impl SecretOwner {
    /// For messages.
    pub fn text(&self) -> String {
        match self {
            SecretOwner::Link(name) => format!("link {name}"),
            SecretOwner::Key(name, 0) => format!("key {name}"),
            SecretOwner::Key(name, no) => format!("key {name} (old {no})"),
        }
    }

    /// What a sealed secret is authenticated with. A key's old secrets have the key's own, so
    /// that they can move down the list when it is replaced.
    fn purpose(&self) -> String {
        match self {
            SecretOwner::Link(name) => format!("link {name}"),
            SecretOwner::Key(name, _) => format!("key {name}"),
        }
    }

    fn row(&self) -> (&'static str, Filter) {
        match self {
            SecretOwner::Link(name) => ("T_LINK", Filter::new().eq("link_name", name)),
            SecretOwner::Key(name, no) => {
                ("T_KEY", Filter::new().eq("key_name", name).eq("secret_no", *no))
            }
        }
    }

    fn how_to_set(&self) -> String {
        match self {
            SecretOwner::Link(name) => format!("Set it: ssync link set-password {name}."),
            SecretOwner::Key(name, _) => format!("Set it: ssync key new {name}."),
        }
    }
}

impl Store {
    /// The secret from where the configuration says it is.
    ///
    /// # Errors
    /// [`Kind::Config`] when it is not there, or in a file that others can read.
    pub fn secret(&mut self, owner: &SecretOwner, source: &SecretSource) -> Result<Secret> {
        let whose = owner.text();
        match source {
            SecretSource::Env { env } => secret_source::from_env(env).ok_or_else(|| {
                Error::new(
                    Kind::Config,
                    format!("{whose}: the environment variable {env} is not set"),
                )
                .hint("Set it for the process that starts ssync, or use a file or ssync link set-password.")
            }),
            SecretSource::File { file } => secret_source::from_file(file, &whose),
            SecretSource::Stored { .. } => self.stored_secret(owner),
        }
    }

    fn stored_secret(&mut self, owner: &SecretOwner) -> Result<Secret> {
        let (table, filter) = owner.row();
        let rows = self
            .read(|db| db.select(Select::new(table, &["secret_sealed"]).filter(filter.clone())))?;
        let sealed =
            rows.first().and_then(|row| row.opt_text("secret_sealed")).ok_or_else(|| {
                Error::new(Kind::Config, format!("{}: no secret is stored", owner.text()))
                    .hint(owner.how_to_set())
            })?;
        let key = HostKey::load(&self.home().host_key())?;
        key.open(&owner.purpose(), &sealed).map_err(|e| e.context(owner.text()))
    }

    /// Seals and stores a secret, in place of the old one.
    ///
    /// # Errors
    /// [`Kind::Config`] when nobody of that name has `{ stored = true }`.
    pub fn set_secret(&mut self, owner: &SecretOwner, secret: &Secret) -> Result<()> {
        if secret.expose().is_empty() {
            return Err(Error::new(Kind::Usage, format!("{}: the secret is empty", owner.text())));
        }
        let sealed =
            HostKey::load_or_create(&self.home().host_key())?.seal(&owner.purpose(), secret)?;
        self.transaction(|db| {
            let (table, filter) = owner.row();
            let select = Select::new(table, &["secret_kind"]).filter(filter.clone());
            let rows = db.select(select.for_update())?;
            match rows.first().map(|row| row.opt_text("secret_kind")) {
                None => Err(Error::new(Kind::Config, format!("there is no {}", owner.text()))
                    .hint("See what is configured: ssync export.")),
                Some(Some(kind)) if kind == "stored" => {
                    db.update(table, &[("secret_sealed", (&sealed).into_value())], filter)?;
                    Ok(())
                }
                Some(_) => Err(Error::new(
                    Kind::Config,
                    format!("the secret of {} is not a stored one", owner.text()),
                )
                .hint("Say { stored = true } where the configuration names its source, and apply that first.")),
            }
        })
    }

    /// Whether a secret is stored for `owner`.
    pub fn has_stored_secret(&mut self, owner: &SecretOwner) -> Result<bool> {
        let (table, filter) = owner.row();
        let rows = self
            .read(|db| db.select(Select::new(table, &["secret_sealed"]).filter(filter.clone())))?;
        Ok(rows.first().is_some_and(|row| row.opt_text("secret_sealed").is_some()))
    }

    /// What is needed to open a link, its password among it.
    pub fn link_params(&mut self, link: &Link) -> Result<LinkParams> {
        let owner = SecretOwner::Link(link.name.clone());
        let password =
            link.password.as_ref().map(|source| self.secret(&owner, source)).transpose()?;
        Ok(LinkParams {
            name: link.name.clone(),
            url: link.url.clone(),
            password,
            tls: link.tls.clone(),
            tls_ca_file: link.tls_ca_file.clone(),
            connect_timeout: Duration::from_secs(link.connect_timeout_secs),
            io_timeout: Duration::from_secs(link.io_timeout_secs),
        })
    }

    /// What is needed to open the link of that name in `config`.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is none, or its password is not to be had.
    pub fn resolve_link(&mut self, config: &Config, name: &str) -> Result<LinkParams> {
        let link = config.links.iter().find(|l| l.name == name).ok_or_else(|| {
            Error::new(Kind::Config, format!("there is no link {name}"))
                .hint("See the links: ssync link list.")
        })?;
        self.link_params(link)
    }
}
