//! Opening a connection, and pinning its session so that every server behaves alike.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::super::{LinkParams, OracleDriver, TlsMode};
use super::bind::{self, Small};
use super::driver::{Cut, Driver, Failure};
use super::url::{self, OracleUrl, PORT, Place, TLS_PORT};
use super::{errors, thin, types};
use crate::error::{Error, Kind, Result};
use crate::value::Value;

/// The session that ssync works in, whatever the server's or the client's defaults. Numbers, dates
/// and times as text have one spelling; text is compared byte by byte; a character that a column's
/// character set lacks is an error, not a question mark; messages are in English (names are taken
/// out of them).
const PINNED: &[(&str, &str)] = &[
    ("NLS_LANGUAGE", "AMERICAN"),
    ("NLS_TERRITORY", "AMERICA"),
    ("NLS_NUMERIC_CHARACTERS", ".,"),
    ("NLS_CALENDAR", "GREGORIAN"),
    ("NLS_DATE_FORMAT", "YYYY-MM-DD HH24:MI:SS"),
    ("NLS_TIMESTAMP_FORMAT", "YYYY-MM-DD HH24:MI:SS.FF"),
    ("NLS_TIMESTAMP_TZ_FORMAT", "YYYY-MM-DD HH24:MI:SS.FF TZH:TZM"),
    ("NLS_SORT", "BINARY"),
    ("NLS_COMP", "BINARY"),
    ("NLS_NCHAR_CONV_EXCP", "TRUE"),
];

/// Settings that no view shows to everybody.
///
/// - A commit is on disk when it is confirmed, whatever the instance says (`COMMIT_WAIT`).
/// - Each statement sees what was committed before it.
/// - Definitions wait for locks as long as ssync's other statements do.
const SET: &[&str] = &[
    "ALTER SESSION SET TIME_ZONE = '+00:00'",
    "ALTER SESSION SET ISOLATION_LEVEL = READ COMMITTED",
    "ALTER SESSION SET COMMIT_WAIT = 'WAIT'",
    "ALTER SESSION SET COMMIT_LOGGING = 'IMMEDIATE'",
    "ALTER SESSION SET DDL_LOCK_TIMEOUT = 60",
];

/// What a connection needs to know of its server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// `[19, 3, 0, 0, 0]`.
    pub(super) version: [u32; 5],
    /// Character set of the database.
    pub(super) charset: String,
    /// Character set of NCHAR, NVARCHAR2 and NCLOB.
    pub(super) ncharset: String,
    /// The schema that an unqualified name means.
    pub(super) schema: String,
    /// Names the database, whatever address led to it.
    pub(super) identity: String,
}

impl Server {
    /// For people: `Oracle 19.3.0.0.0`.
    pub(super) fn shown(&self) -> String {
        let numbers: Vec<String> = self.version.iter().map(u32::to_string).collect();
        format!("Oracle {}", numbers.join("."))
    }

    /// Whether the database's character set has every character.
    pub(super) fn is_unicode(&self) -> bool {
        types::is_unicode(&self.charset)
    }
}

/// Connects within the link's time limit and pins the session.
pub(super) fn connect(link: &LinkParams) -> Result<(Box<dyn Driver>, Server)> {
    let at = format!("link {}", link.name);
    let url = url::parse(&link.url)
        .map_err(|what| Error::new(Kind::Config, format!("{at}: the URL {what}")))?;
    let login = Login::of(link, &url)?;
    let (kind, io_timeout) = (link.oracle.driver, link.io_timeout);
    let (tls, limit) = (login.tls, link.connect_timeout);
    let failed = format!("could not connect to {}", place_text(&url.place, tls));
    let refused = failed.clone();
    let opened = within(limit, move || {
        let mut driver = login.open(kind).map_err(|e| match e.kind {
            Kind::Connect | Kind::Login => e.context(&refused),
            _ => e,
        })?;
        match pin(driver.as_mut(), io_timeout) {
            Ok(server) => Ok((driver, server)),
            Err(e) => {
                driver.close(e.kind == Kind::Connect || e.kind == Kind::Lost);
                Err(e.context("could not set up the session"))
            }
        }
    });
    let silent = || Err(errors::silent(limit, tls).context(failed));
    opened.and_then(|opened| opened.unwrap_or_else(silent)).map_err(|e| e.context(at))
}

/// Where a link leads, for people.
fn place_text(place: &Place, tls: bool) -> String {
    match place {
        Place::Service { host, port, .. } => {
            let port = port.unwrap_or(if tls { TLS_PORT } else { PORT });
            format!("{host} port {port}")
        }
        Place::Descriptor(_) => "the addresses of the connect descriptor".to_owned(),
    }
}

/// The drivers limit each step (some not at all), so a thread of its own takes the steps and is
/// left behind when together they take too long: then there is nothing.
fn within<T: Send + 'static>(
    limit: Duration,
    open: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Option<Result<T>>> {
    let (send, receive) = mpsc::channel();
    std::thread::Builder::new().name("oracle-connect".to_owned()).spawn(move || {
        // Nobody listens any more when it took too long; the connection then just closes.
        let _ = send.send(open());
    })?;
    Ok(receive.recv_timeout(limit).ok())
}

/// What is needed to log in.
struct Login {
    user: String,
    password: String,
    descriptor: String,
    tls: bool,
    wallet: Option<Wallet>,
    connect_timeout: Duration,
}

impl Login {
    fn of(link: &LinkParams, url: &OracleUrl) -> Result<Login> {
        let fault = |what: &str| Error::new(Kind::Config, format!("link {}: {what}", link.name));
        let password = match &link.password {
            Some(secret) => {
                secret.expose_str().ok_or_else(|| fault("the password is not UTF-8"))?
            }
            None => {
                return Err(fault("no password")
                    .hint("Oracle wants one: set the link's password from env, file or stored."));
            }
        };
        if link.tls == TlsMode::Required {
            return Err(fault("tls = \"required\" cannot be had with Oracle").hint(
                "Oracle's drivers check every certificate: use tls = \"verified\" with \
                 tls_ca_file or wallet_dir.",
            ));
        }
        if let (TlsMode::Verified, Place::Descriptor(text)) = (&link.tls, &url.place)
            && let Some(what) = url::clear_part(text)
        {
            return Err(fault(&format!("tls = \"verified\", and the connect descriptor {what}"))
                .hint("Give every ADDRESS (PROTOCOL=tcps), and leave SSL_SERVER_DN_MATCH on."));
        }
        Ok(Login {
            user: url.user.clone(),
            password: password.to_owned(),
            descriptor: descriptor(link, &url.place),
            tls: link.tls != TlsMode::Off,
            wallet: Wallet::of(link)?,
            connect_timeout: link.connect_timeout,
        })
    }

    fn open(&self, kind: OracleDriver) -> Result<Box<dyn Driver>> {
        let refused = |f: Failure| errors::from_open(&f, self.tls);
        match kind {
            OracleDriver::Thin => {
                let login = thin::Login {
                    user: self.user.clone(),
                    password: self.password.clone(),
                    descriptor: self.descriptor.clone(),
                    wallet: self.wallet.as_ref().map(|w| w.dir().to_owned()),
                    connect_timeout: self.connect_timeout,
                };
                Ok(Box::new(thin::open(&login).map_err(refused)?))
            }
            #[cfg(feature = "oci")]
            OracleDriver::Oci => {
                let opened = super::oci::open(&self.user, &self.password, &self.descriptor);
                Ok(Box::new(opened.map_err(|f| super::oci::refused(&f, self.tls))?))
            }
            #[cfg(not(feature = "oci"))]
            OracleDriver::Oci => {
                Err(Error::new(Kind::Config, "this build has no driver = \"oci\"")
                    .hint("Leave driver out for the thin driver, or build with the feature oci."))
            }
        }
    }
}

/// Certificates to trust, as the thin driver wants them: a file `ewallet.pem` in a directory.
enum Wallet {
    /// One of the operator's.
    Given(String),
    /// One that was made for a file of certificate authorities, and goes with the connection's
    /// opening.
    Made(PathBuf, String),
}

impl Wallet {
    fn of(link: &LinkParams) -> Result<Option<Wallet>> {
        let fault = |what: String| Error::new(Kind::Config, format!("link {}: {what}", link.name));
        let named = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| fault("a path is not UTF-8".to_owned()))
        };
        if link.tls == TlsMode::Off {
            return Ok(None);
        }
        if let Some(dir) = &link.oracle.wallet_dir {
            return Ok(Some(Wallet::Given(named(dir)?)));
        }
        let Some(file) = &link.tls_ca_file else { return Ok(None) };
        let certificates = std::fs::read(file)
            .map_err(|e| fault(format!("tls_ca_file {}: {e}", file.display())))?;
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|e| Error::new(Kind::System, format!("no random numbers: {e}")))?;
        let tag = crate::value::hex_bytes::encode(&random);
        let dir = std::env::temp_dir().join(format!("ssync-wallet-{tag}"));
        std::fs::create_dir(&dir)?;
        let made = Wallet::Made(dir.clone(), named(&dir)?);
        std::fs::write(dir.join("ewallet.pem"), certificates)?;
        Ok(Some(made))
    }

    fn dir(&self) -> &str {
        match self {
            Wallet::Given(dir) | Wallet::Made(_, dir) => dir,
        }
    }
}

impl Drop for Wallet {
    fn drop(&mut self) {
        if let Wallet::Made(dir, _) = self {
            // Certificates are no secret; one that stays behind is only untidy.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

/// The connect descriptor that both drivers understand.
fn descriptor(link: &LinkParams, place: &Place) -> String {
    let (host, port, service) = match place {
        Place::Descriptor(text) => return text.clone(),
        Place::Service { host, port, service } => (host, port, service),
    };
    let (protocol, usual, security) = match link.tls {
        TlsMode::Off => ("TCP", PORT, ""),
        TlsMode::Required | TlsMode::Verified => {
            ("TCPS", TLS_PORT, "(SECURITY=(SSL_SERVER_DN_MATCH=YES))")
        }
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.unwrap_or(usual);
    let seconds = link.connect_timeout.as_secs().max(1);
    // EXPIRE_TIME: a driver that can probes a quiet connection every minute.
    format!(
        "(DESCRIPTION=(CONNECT_TIMEOUT={seconds})(TRANSPORT_CONNECT_TIMEOUT={seconds})\
         (RETRY_COUNT=0)(EXPIRE_TIME=1)(ADDRESS=(PROTOCOL={protocol})(HOST={host})(PORT={port}))\
         (CONNECT_DATA=(SERVICE_NAME={service})){security})"
    )
}

/// A small result of a query without placeholders, or with texts for them.
pub(super) fn ask(driver: &mut dyn Driver, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>> {
    let (types, cells) = bind::params(params)?;
    let mut small = Small::default();
    match driver.query(sql, &types, &cells, super::SMALL, &mut small) {
        Ok(()) => Ok(small.rows),
        Err(Cut::Source(failure)) => Err(errors::from_call(&failure)),
        Err(Cut::Receiver(e)) => Err(e),
    }
}

/// Text of a result's value; empty for NULL.
pub(super) fn text(value: &Value) -> String {
    value.plain().unwrap_or_default()
}

fn pin(driver: &mut dyn Driver, io_timeout: Duration) -> Result<Server> {
    let refused = |f: Failure| errors::from_pinning(&f);
    driver.set_call_timeout(io_timeout).map_err(refused)?;
    let settings: Vec<String> = PINNED
        .iter()
        .map(|(name, value)| match *name {
            "NLS_NCHAR_CONV_EXCP" => format!("{name} = {value}"),
            _ => format!("{name} = '{value}'"),
        })
        .collect();
    let nls = format!("ALTER SESSION SET {}", settings.join(" "));
    for sql in std::iter::once(nls.as_str()).chain(SET.iter().copied()) {
        driver.execute(sql, &[], &[Vec::new()]).map_err(refused)?;
    }
    read_back(driver)?;
    let facts = ask(
        driver,
        "SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA'), \
         SYS_CONTEXT('USERENV', 'DB_UNIQUE_NAME'), SYS_CONTEXT('USERENV', 'CON_NAME') FROM DUAL",
        &[],
    )?;
    let facts = facts.first().map(Vec::as_slice).unwrap_or_default();
    let fact = |i: usize| facts.get(i).map(text).unwrap_or_default();
    let sets = ask(
        driver,
        "SELECT PARAMETER, VALUE FROM NLS_DATABASE_PARAMETERS \
         WHERE PARAMETER IN ('NLS_CHARACTERSET', 'NLS_NCHAR_CHARACTERSET')",
        &[],
    )?;
    let set = |name: &str| {
        sets.iter()
            .find(|row| row.first().and_then(Value::as_str) == Some(name))
            .and_then(|row| row.get(1))
            .map(text)
            .ok_or_else(|| Error::new(Kind::Database, format!("the server does not say {name}")))
    };
    // Not by the DBID: only some accounts may read it, and what identifies the server must be the
    // same for all of them. Two databases may have one name; that both were made in the same second
    // is less likely.
    let born = ask(
        driver,
        "SELECT TO_CHAR(CREATED, 'YYYYMMDDHH24MISS') FROM ALL_USERS WHERE USERNAME = 'SYS'",
        &[],
    )?;
    let born = born.first().and_then(|row| row.first()).map(text).unwrap_or_default();
    Ok(Server {
        version: driver.version(),
        charset: set("NLS_CHARACTERSET")?,
        ncharset: set("NLS_NCHAR_CHARACTERSET")?,
        schema: fact(0),
        identity: format!("oracle {} {} {born}", fact(1), fact(2)),
    })
}

/// Whether the session is as it was asked to be. A trigger on logon, or a pool between, may have
/// its own ideas.
fn read_back(driver: &mut dyn Driver) -> Result<()> {
    let other = |name: &str, found: &str| {
        Error::new(
            Kind::Database,
            format!("the session has {name} {found}, which was set otherwise"),
        )
        .hint("Look for a logon trigger, or a proxy between, that changes sessions.")
    };
    let found = ask(driver, "SELECT PARAMETER, VALUE FROM NLS_SESSION_PARAMETERS", &[])?;
    for (name, value) in PINNED {
        let row = found.iter().find(|row| row.first().and_then(Value::as_str) == Some(name));
        let is = row.and_then(|row| row.get(1)).map(text).unwrap_or_default();
        if is != *value {
            return Err(other(name, &is));
        }
    }
    let zone = ask(driver, "SELECT SESSIONTIMEZONE FROM DUAL", &[])?;
    let zone = zone.first().and_then(|row| row.first()).map(text).unwrap_or_default();
    if zone != "+00:00" {
        return Err(other("time zone", &zone));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::OracleParams;
    use super::*;

    fn link(url: &str, tls: TlsMode) -> LinkParams {
        LinkParams {
            name: "l".into(),
            url: url.into(),
            password: Some("pw".to_owned().into()),
            tls,
            tls_ca_file: None,
            oracle: OracleParams::default(),
            connect_timeout: Duration::from_secs(7),
            io_timeout: Duration::from_secs(1),
        }
    }

    fn described(url: &str, tls: TlsMode) -> String {
        let link = link(url, tls);
        descriptor(&link, &url::parse(url).unwrap().place)
    }

    #[test]
    fn a_descriptor_carries_limits_and_protection() {
        assert_eq!(
            described("oracle://u@h/s", TlsMode::Off),
            "(DESCRIPTION=(CONNECT_TIMEOUT=7)(TRANSPORT_CONNECT_TIMEOUT=7)(RETRY_COUNT=0)\
             (EXPIRE_TIME=1)(ADDRESS=(PROTOCOL=TCP)(HOST=h)(PORT=1521))\
             (CONNECT_DATA=(SERVICE_NAME=s)))"
        );
        let safe = described("oracle://u@[::1]/s", TlsMode::Verified);
        assert!(safe.contains("(PROTOCOL=TCPS)(HOST=::1)(PORT=2484)"), "{safe}");
        assert!(safe.ends_with("(SECURITY=(SSL_SERVER_DN_MATCH=YES)))"), "{safe}");
        let own = "(DESCRIPTION=(ADDRESS=(HOST=h))(CONNECT_DATA=(SERVICE_NAME=s)))";
        assert_eq!(described(&format!("oracle://u@{own}"), TlsMode::Off), own);
    }

    #[test]
    fn what_cannot_be_is_said_before_anything_is_opened() {
        let refused = |link: LinkParams| connect(&link).map(drop).unwrap_err();
        let e = refused(LinkParams { password: None, ..link("oracle://u@h/s", TlsMode::Off) });
        assert_eq!(e.kind, Kind::Config);
        let e = refused(link("oracle://u@h/s", TlsMode::Required));
        assert_eq!((e.kind, e.hint.is_some()), (Kind::Config, true));
        let missing = LinkParams {
            tls_ca_file: Some("/nowhere/ca.pem".into()),
            ..link("oracle://u@h/s", TlsMode::Verified)
        };
        assert_eq!(refused(missing).kind, Kind::Config);
    }

    #[test]
    fn a_server_that_is_not_there_or_stays_silent_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("oracle://u@127.0.0.1:{port}/s");
        let silent =
            LinkParams { connect_timeout: Duration::from_secs(1), ..link(&url, TlsMode::Off) };
        let e = connect(&silent).map(drop).unwrap_err();
        assert_eq!(e.kind, Kind::Connect, "{e:?}");
        drop(listener);
        let e = connect(&silent).map(drop).unwrap_err();
        assert_eq!(e.kind, Kind::Connect, "{e:?}");
        assert!(!format!("{e:?}").contains("pw"), "{e:?}");
    }

    #[cfg(feature = "oci")]
    #[test]
    fn without_its_library_the_oci_driver_names_it_and_the_other_driver() {
        let mut link = link("oracle://u@127.0.0.1:1/s", TlsMode::Off);
        link.oracle.driver = OracleDriver::Oci;
        let e = connect(&link).map(drop).unwrap_err();
        // Where Oracle's client is installed, it is the server that is missing.
        if e.kind != Kind::Connect {
            assert_eq!(e.kind, Kind::System, "{e:?}");
            let hint = e.hint.unwrap();
            assert!(hint.contains("Instant Client") && hint.contains("thin"), "{hint}");
        }
    }
}
