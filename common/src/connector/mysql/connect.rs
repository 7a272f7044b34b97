//! Opening a connection, and pinning its session so that every server behaves alike.

use std::sync::mpsc;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, SslOpts};
use url::Url;

use super::super::{LinkParams, LockWait, TlsMode};
use super::errors;
use crate::error::{Error, Kind, Result};

/// Rows wider than the server's own packet limit can be read (several large columns), so the
/// driver's limit is the protocol's. What is sent is measured against the server's limit.
const PACKET_BYTES_MAX: usize = 1 << 30;
const DEFAULT_PORT: u16 = 3306;

/// The session that ssync works in, whatever the server's defaults. Each line is there because
/// without it a server was seen to change, refuse or hide data.
///
/// - `sql_mode`: strict for all engines; 0 is stored in AUTO_INCREMENT columns; zero and invalid
///   dates pass as they are; no mode that pads CHAR values on reading.
/// - `character_set_results=NULL`: text arrives as it is stored and is decoded here; the server's
///   own conversion would turn what it cannot convert into `?`.
/// - `sql_notes`: roundings and cut blanks are only notes.
/// - checks on, safe-update and auto-is-null quirks off, messages in English (column names are
///   taken out of them).
const PINNED: &str = "SET NAMES utf8mb4, character_set_results = NULL, \
    sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', \
    time_zone = '+00:00', sql_notes = 1, autocommit = 1, \
    foreign_key_checks = 1, unique_checks = 1, sql_auto_is_null = 0, sql_safe_updates = 0, \
    sql_select_limit = DEFAULT, max_error_count = 64, lc_messages = 'en_US', \
    net_read_timeout = 3600, net_write_timeout = 28800, wait_timeout = 86400";

/// What a connection needs to know of its server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// MariaDB, as against MySQL.
    pub(super) mariadb: bool,
    /// Major, minor, patch.
    pub(super) version: (u16, u16, u16),
    /// The server's own words.
    pub(super) version_text: String,
    /// Largest packet the server takes, in bytes.
    pub(super) packet_bytes_max: usize,
    /// Whether table names differ by case.
    pub(super) case_matters: bool,
    /// Whether the server lets clients send files.
    pub(super) local_infile: bool,
    /// Whether the socket carries packets as they are: not within TLS.
    pub(super) plain_socket: bool,
    /// Whether the server runs statements of its own in every new session, which a reset does not
    /// repeat.
    init_connect: bool,
}

impl Server {
    /// One of which only this is known.
    pub(super) fn known(version_text: &str, packet_bytes_max: usize) -> Server {
        Server {
            mariadb: version_text.contains("MariaDB"),
            version: version_of(version_text),
            version_text: version_text.to_owned(),
            packet_bytes_max,
            case_matters: true,
            local_infile: false,
            plain_socket: true,
            init_connect: false,
        }
    }

    /// For people: `MariaDB 10.11.19`.
    pub(super) fn shown(&self) -> String {
        let number = self.version_text.split('-').next().unwrap_or_default();
        format!("{} {number}", if self.mariadb { "MariaDB" } else { "MySQL" })
    }

    /// Whether a reset session is like a new one. Older servers know only a change of user, which
    /// the driver does not do reliably (MySQL bug 92954).
    pub(super) fn can_reset(&self) -> bool {
        let since = if self.mariadb { (10, 2, 7) } else { (5, 7, 4) };
        self.version >= since && !self.init_connect
    }

    /// What the session's isolation level is called: MySQL gave up the older name in 8.0.3, MariaDB
    /// has the newer one since 11.1.1.
    fn isolation_variable(&self) -> &'static str {
        let newer_since = if self.mariadb { (11, 1, 1) } else { (5, 7, 20) };
        if self.version >= newer_since { "transaction_isolation" } else { "tx_isolation" }
    }

    /// Whether rows that another session holds locked can be passed over.
    pub(super) fn skips_locked(&self) -> bool {
        self.version >= if self.mariadb { (10, 6, 0) } else { (8, 0, 1) }
    }

    /// The settings for a wait: for row locks, and for table definitions.
    fn lock_waits(&self, wait: LockWait) -> String {
        let (rows, tables) = match wait {
            // Where 0 means not to wait at all.
            LockWait::Short if self.mariadb && self.version >= (10, 3, 0) => (0, 1),
            LockWait::Short => (1, 1),
            LockWait::Brief => (5, 5),
            LockWait::Definition => (60, 1),
            LockWait::Patient | LockWait::Operator => (60, 60),
        };
        format!("innodb_lock_wait_timeout = {rows}, lock_wait_timeout = {tables}")
    }

    /// Whether an insert names its new row with `AS new` (MySQL 8.0.19 and later, where
    /// `VALUES()` brings a deprecation warning).
    pub(super) fn row_alias(&self) -> bool {
        !self.mariadb && self.version >= (8, 0, 19)
    }
}

/// Connects within the link's time limit and pins the session.
pub(super) fn connect(link: &LinkParams) -> Result<(Conn, Server)> {
    let name = &link.name;
    let opts = options(link)?;
    let mut conn = within(link.connect_timeout, move || Conn::new(opts))
        .map_err(|e| e.context(format_args!("link {name}")))?;
    let server = pin(&mut conn, link.tls).map_err(|e| {
        errors::from_open(&e).context(format_args!("link {name}: could not set up the session"))
    })?;
    Ok((conn, server))
}

/// Has the server take back all that the session has gathered (transaction, locks, temporary
/// tables, variables, prepared statements), and pins it as a new one. Roles stay as they are: only
/// SQL that is not ours changes those, and what has run such SQL does not come here.
pub(super) fn refresh(link: &LinkParams, mut conn: Conn) -> Result<(Conn, Server)> {
    let opts = options(link)?;
    let tls = link.tls;
    let action = move || {
        conn.reset()?;
        // The database stays selected, but MariaDB forgets its character set.
        if let Some(database) = opts.get_db_name() {
            conn.select_db(database)?;
        }
        let server = pin(&mut conn, tls)?;
        Ok((conn, server))
    };
    within(link.connect_timeout, action).map_err(|e| e.context(format_args!("link {}", link.name)))
}

/// The driver limits each step (name lookup not even that), so a thread of its own takes the
/// steps and is left behind when together they take too long.
fn within<T: Send + 'static>(
    limit: Duration,
    open: impl FnOnce() -> mysql::Result<T> + Send + 'static,
) -> Result<T> {
    let (send, receive) = mpsc::channel();
    std::thread::Builder::new().name("mysql-connect".to_owned()).spawn(move || {
        // Nobody listens any more when it took too long; the connection then just closes.
        let _ = send.send(open());
    })?;
    match receive.recv_timeout(limit) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(e)) => Err(errors::from_open(&e)),
        Err(_) => Err(Error::new(
            Kind::Connect,
            format!("the server did not answer within {} s", limit.as_secs_f32()),
        )),
    }
}

fn options(link: &LinkParams) -> Result<Opts> {
    let fault = |what: &str| {
        Error::new(Kind::Config, format!("link {}: {what}", link.name))
            .hint("A URL looks like mysql://user@host:3306/database.")
    };
    let url = Url::parse(&link.url).map_err(|e| fault(&format!("the URL cannot be read: {e}")))?;
    if url.password().is_some() {
        return Err(Error::new(Kind::Config, format!("link {}: a password in the URL", link.name))
            .hint("Take it out and set the link's password from env, file or stored."));
    }
    let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| fault("no host"))?;
    let mut socket = None;
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "socket" => socket = Some(value.into_owned()),
            other => return Err(fault(&format!("unknown URL option {other}"))),
        }
    }
    let plain = |part: &str| {
        crate::connector::percent_decoded(part).ok_or_else(|| fault("a part is not UTF-8"))
    };
    let user = plain(url.username())?;
    let database = plain(url.path().trim_start_matches('/'))?;
    let password = match &link.password {
        Some(secret) => {
            Some(secret.expose_str().ok_or_else(|| fault("the password is not UTF-8"))?.to_owned())
        }
        None => None,
    };
    if socket.is_some() && link.tls != TlsMode::Off {
        return Err(fault("TLS is not spoken over a Unix socket"));
    }
    Ok(OptsBuilder::new()
        .ip_or_hostname(Some(plain(host)?))
        .tcp_port(url.port().unwrap_or(DEFAULT_PORT))
        .socket(socket)
        .prefer_socket(false)
        .user((!user.is_empty()).then_some(user))
        .pass(password)
        .db_name((!database.is_empty()).then_some(database))
        .ssl_opts(tls(link)?)
        .tcp_connect_timeout(Some(link.connect_timeout))
        .read_timeout(Some(link.io_timeout))
        .write_timeout(Some(link.io_timeout))
        .tcp_keepalive_time_ms(Some(60_000))
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .into())
}

fn tls(link: &LinkParams) -> Result<Option<SslOpts>> {
    Ok(match link.tls {
        TlsMode::Off => None,
        TlsMode::Required => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        TlsMode::Verified => {
            // The driver trusts the public authorities, too, beside those of the file.
            let mut opts = SslOpts::default();
            if let Some(file) = &link.tls_ca_file {
                // The driver would take an unreadable file for a network error.
                std::fs::File::open(file).map_err(|e| {
                    Error::new(
                        Kind::Config,
                        format!("link {}: tls_ca_file {}: {e}", link.name, file.display()),
                    )
                })?;
                opts = opts.with_root_cert_path(Some(file.clone()));
            }
            Some(opts)
        }
    })
}

/// Two round trips, since every connection that is used again goes through it.
fn pin(conn: &mut Conn, tls: TlsMode) -> mysql::Result<Server> {
    type Facts = (String, usize, u8, u8, u8);
    let facts: Option<Facts> = conn.query_first(
        "SELECT VERSION(), @@max_allowed_packet, @@lower_case_table_names, @@local_infile, \
         @@init_connect <> ''",
    )?;
    let (version_text, packet_bytes_max, lower_case, local_infile, init_connect) =
        facts.unwrap_or_default();
    let server = Server {
        case_matters: lower_case == 0,
        local_infile: local_infile != 0,
        plain_socket: tls == TlsMode::Off,
        init_connect: init_connect != 0,
        ..Server::known(&version_text, packet_bytes_max)
    };
    let isolation = server.isolation_variable();
    // A limit on statement time would cut long reads off.
    let limit = match server.mariadb {
        true if server.version >= (10, 1, 1) => ", max_statement_time = 0",
        false if server.version >= (5, 7, 8) => ", max_execution_time = 0",
        _ => "",
    };
    let waits = server.lock_waits(LockWait::Patient);
    conn.query_drop(format!("{PINNED}, {isolation} = 'READ-COMMITTED'{limit}, {waits}"))?;
    Ok(server)
}

/// Identifies the server: by what it calls itself, its host and its data directory. None of them is
/// enough. MariaDB makes `server_uid` of network card and port, so that two data directories have one;
/// MySQL keeps `server_uuid` in the data directory, so that a copy of the directory brings it along.
/// Servers older than both have the rest.
pub(super) fn identity(conn: &mut Conn) -> mysql::Result<String> {
    // Not SELECT: a variable that a server does not have would be an error.
    let found: Vec<(String, String)> = conn.query(
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
         ('server_uuid', 'server_uid', 'hostname', 'datadir', 'port')",
    )?;
    let value = |name: &str| {
        found.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    };
    let id = value("server_uuid").or(value("server_uid")).filter(|id| !id.is_empty());
    let port = || format!("port {}", value("port").unwrap_or_default());
    Ok(format!(
        "mysql {} on {} in {}",
        id.map_or_else(port, str::to_owned),
        value("hostname").unwrap_or_default(),
        value("datadir").unwrap_or_default()
    ))
}

/// How long statements wait for row locks, and for table definitions.
pub(super) fn set_lock_wait(conn: &mut Conn, server: &Server, wait: LockWait) -> mysql::Result<()> {
    conn.query_drop(format!("SET SESSION {}", server.lock_waits(wait)))
}

fn version_of(text: &str) -> (u16, u16, u16) {
    // Some proxies and replicas put 5.5.5- in front of MariaDB's own version.
    let text = text.strip_prefix("5.5.5-").filter(|_| text.contains("MariaDB")).unwrap_or(text);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(url: &str) -> LinkParams {
        LinkParams {
            name: "l".to_owned(),
            url: url.to_owned(),
            password: Some("pw".to_owned().into()),
            tls: TlsMode::Off,
            tls_ca_file: None,
            oracle: Default::default(),
            connect_timeout: Duration::from_secs(1),
            io_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn urls_are_read_to_the_letter() {
        let opts = options(&link("mysql://a%40b@db.example:3307/x%2fy")).unwrap();
        assert_eq!(opts.get_user(), Some("a@b"));
        assert_eq!(opts.get_ip_or_hostname(), "db.example");
        assert_eq!(opts.get_tcp_port(), 3307);
        assert_eq!(opts.get_db_name(), Some("x/y"));
        assert_eq!(options(&link("mariadb://a@[::1]/x")).unwrap().get_tcp_port(), 3306);
    }

    #[test]
    fn bad_urls_are_configuration_errors_without_secrets() {
        for url in ["mysql://u:hunter2@h/d", "mysql:///d", "mysql://h/d?ssl=0", "mysql://h:x/d"] {
            let e = options(&link(url)).unwrap_err();
            assert_eq!(e.kind, Kind::Config, "{url}");
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
    }

    #[test]
    fn versions_of_both_families_are_read() {
        assert_eq!(version_of("10.11.19-MariaDB-0+deb12u1"), (10, 11, 19));
        assert_eq!(version_of("5.5.5-10.4.2-MariaDB"), (10, 4, 2));
        assert_eq!(version_of("8.0.36"), (8, 0, 36));
    }

    /// The manuals of both: servers refuse a name that they do not have.
    #[test]
    fn isolation_is_set_by_the_name_that_the_server_has() {
        for (version, name) in [
            ("5.7.19", "tx_isolation"),
            ("5.7.20", "transaction_isolation"),
            ("8.0.3", "transaction_isolation"),
            ("8.4.2", "transaction_isolation"),
            ("5.5.5-10.2.44-MariaDB", "tx_isolation"),
            ("10.11.19-MariaDB-0+deb12u1", "tx_isolation"),
            ("11.1.0-MariaDB", "tx_isolation"),
            ("11.1.1-MariaDB", "transaction_isolation"),
        ] {
            assert_eq!(Server::known(version, 1 << 20).isolation_variable(), name, "{version}");
        }
    }
}
