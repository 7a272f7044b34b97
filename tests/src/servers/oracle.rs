//! Oracle for tests: the stand-in server, or a server of the user's.
//!
//! No Oracle can be had where ssync is built. What passes here on the stand-in has never been seen on
//! Oracle itself; `scripts/test-oracle` runs the same tests there.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ssync_common::connector::{Connection, LinkParams, TlsMode, open};
use ssync_common::error::Error;
use ssync_common::secret::Secret;
use ssync_oracle_standin::{PASSWORD, SERVICE, Standin};

pub use ssync_oracle_standin::{Generation, faults};

/// Names a server of the user's: `oracle://user@host:port/service`, the user one that may create
/// and drop users.
pub const ORACLE_URL_ENV: &str = "SSYNC_TEST_ORACLE_URL";
/// The password for it.
pub const ORACLE_PASSWORD_ENV: &str = "SSYNC_TEST_ORACLE_PASSWORD";
/// Where the tests' tables go on a server of the user's; `USERS` where it is not set.
pub const ORACLE_TABLESPACE_ENV: &str = "SSYNC_TEST_ORACLE_TABLESPACE";
/// A few letters and digits that stand in the name of every account of one run of
/// `scripts/test-oracle`, so that what an aborted one left behind can be found.
pub const ORACLE_RUN_ENV: &str = "SSYNC_TEST_ORACLE_RUN";
/// A file in which tests that a server of the user's is too old for are named, with the reason, for the
/// report of `scripts/test-oracle`.
pub const NOT_APPLICABLE_ENV: &str = "SSYNC_TEST_NOT_APPLICABLE";
/// How often, and in which steps, a user is tried to be dropped: a session of its that ends slowly
/// keeps it.
const DROP_TRIES: u32 = 40;
const DROP_PAUSE: Duration = Duration::from_millis(250);
/// Quotes in the text would end it.
const EXTERNAL_PASSWORD: &str = "Pw_xK7sentinel_9";
/// What an account of a test may do.
const GRANTS: &str =
    "CREATE SESSION, CREATE TABLE, CREATE VIEW, CREATE TRIGGER, CREATE SEQUENCE, CREATE PROCEDURE";

/// The password of every account that tests make, on the stand-in or on the user's server.
pub fn account_password() -> &'static str {
    if std::env::var_os(ORACLE_URL_ENV).is_some() { EXTERNAL_PASSWORD } else { PASSWORD }
}

/// The server of a generation that all tests of this process share; where [`ORACLE_URL_ENV`] names a
/// server of the user's, that one in the place of all.
pub fn oracle(generation: Generation) -> &'static OracleServer {
    static SHARED: [OnceLock<OracleServer>; 3] =
        [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    let at = Generation::ALL.iter().position(|g| *g == generation).unwrap_or_default();
    SHARED[at].get_or_init(|| match std::env::var(ORACLE_URL_ENV) {
        Ok(url) => OracleServer::Users(url),
        Err(_) => OracleServer::start(generation),
    })
}

/// Whether a test that needs this version applies to the server of these tests. Where it does not, the
/// test is to return, and the report names it with `why`. A stand-in has the version that is asked of
/// it, so that no test is left out where ssync is built.
///
/// # Panics
///
/// When the server does not say its version, or there is no report to say so in.
pub fn applies(major: u32, why: &str) -> bool {
    use std::io::Write;
    let Ok(url) = std::env::var(ORACLE_URL_ENV) else { return true };
    let server = OracleServer::Users(url).administrator().server();
    let version = server.strip_prefix("Oracle ").and_then(|v| v.split('.').next());
    let version: u32 = version.and_then(|v| v.parse().ok()).expect("Oracle 19.3.0.0.0");
    if version >= major {
        return true;
    }
    let thread = std::thread::current();
    let test = thread.name().expect("tests run in threads of their names");
    let report = std::env::var(NOT_APPLICABLE_ENV).expect("a report to say so in");
    let mut report = std::fs::File::options().create(true).append(true).open(report).unwrap();
    // One write: other tests write, too.
    report.write_all(format!("{test}\t{why}; this is {server}\n").as_bytes()).unwrap();
    false
}

/// A running server.
pub enum OracleServer {
    /// A stand-in.
    Standin(Box<Standin>),
    /// One of the user's, by its URL.
    Users(String),
}

impl OracleServer {
    /// A stand-in of one's own, to crash and to break connections of.
    pub fn start(generation: Generation) -> OracleServer {
        OracleServer::Standin(Box::new(Standin::start(generation)))
    }

    /// The same, whose database can be killed.
    pub fn start_apart(generation: Generation) -> OracleServer {
        OracleServer::Standin(Box::new(Standin::start_apart(generation)))
    }

    /// The stand-in.
    ///
    /// # Panics
    ///
    /// Where it is a server of the user's.
    pub fn standin(&self) -> &Standin {
        match self {
            OracleServer::Standin(standin) => standin,
            OracleServer::Users(_) => panic!("a server of the user's is not to be broken"),
        }
    }

    /// Whether it is a stand-in, also one that plays a server of the user's.
    ///
    /// # Panics
    ///
    /// When the server does not say.
    pub fn is_standin(&self) -> bool {
        match self {
            OracleServer::Standin(_) => true,
            OracleServer::Users(_) => {
                self.banner().is_some_and(|banner| banner.ends_with("(stand-in)"))
            }
        }
    }

    /// What a server of the user's calls itself; nothing where the account may not see it.
    pub fn banner(&self) -> Option<String> {
        let rows = self.administrator().query("SELECT BANNER FROM V$VERSION", &[]).ok()?;
        rows.first()?.first()?.plain()
    }

    fn link_as(&self, url: String, password: &str) -> LinkParams {
        LinkParams {
            name: "oracle".to_owned(),
            url,
            password: Some(Secret::from(password.to_owned())),
            tls: TlsMode::Off,
            tls_ca_file: None,
            oracle: Default::default(),
            connect_timeout: Duration::from_secs(20),
            io_timeout: Duration::from_secs(60),
        }
    }

    /// A fresh account with a schema of its own, named after `name`; dropped with the returned
    /// value.
    pub fn account(&self, name: &str) -> OracleAccount<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        // Old servers have names of 30 bytes, and others may test there, too.
        let short: String = name.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let user = format!("SS{short}_{}_{:X}_{n}", run(), std::process::id());
        let user = user.to_ascii_uppercase();
        match self {
            OracleServer::Standin(standin) => standin.create_user(&user, PASSWORD),
            OracleServer::Users(_) => {
                let mut admin = self.administrator();
                let space =
                    std::env::var(ORACLE_TABLESPACE_ENV).unwrap_or_else(|_| "USERS".to_owned());
                for sql in [
                    format!(
                        "CREATE USER {user} IDENTIFIED BY \"{EXTERNAL_PASSWORD}\" \
                         DEFAULT TABLESPACE {space}"
                    ),
                    format!("ALTER USER {user} QUOTA UNLIMITED ON {space}"),
                    format!("GRANT {GRANTS} TO {user}"),
                ] {
                    admin.execute(&sql, &[]).unwrap_or_else(|e| panic!("{e:?}\nin: {sql}"));
                }
            }
        }
        OracleAccount { server: self, user }
    }

    /// A connection as the account that makes and drops the others, on a server of the user's.
    ///
    /// # Panics
    ///
    /// Where it is a stand-in, or the server does not let the account in.
    pub fn administrator(&self) -> Box<dyn Connection> {
        self.try_administrator().unwrap()
    }

    /// The same, or why there is none.
    ///
    /// # Errors
    ///
    /// What the connector says.
    ///
    /// # Panics
    ///
    /// Where it is a stand-in.
    pub fn try_administrator(&self) -> Result<Box<dyn Connection>, Error> {
        let OracleServer::Users(url) = self else { panic!("a stand-in needs no administrator") };
        let password = std::env::var(ORACLE_PASSWORD_ENV).unwrap_or_default();
        open(&self.link_as(url.clone(), &password))
    }

    /// The accounts of this run that are still there, on a server of the user's.
    ///
    /// # Errors
    ///
    /// When the server does not say.
    pub fn leftovers(&self) -> Result<Vec<String>, Error> {
        let mark = format!("_{}_", run().to_ascii_uppercase());
        let rows = self.try_administrator()?.query("SELECT USERNAME FROM ALL_USERS", &[])?;
        let names = rows.iter().filter_map(|row| Some(row[0].as_str()?.to_owned()));
        Ok(names.filter(|name| name.starts_with("SS") && name.contains(&mark)).collect())
    }

    /// Drops an account with all it has, on a server of the user's.
    ///
    /// # Errors
    ///
    /// What the server said the last time.
    pub fn drop_account(&self, user: &str) -> Result<(), Error> {
        let sql = format!("DROP USER {user} CASCADE");
        let drop = || self.try_administrator()?.execute(&sql, &[]);
        let mut tries = 0;
        while let Err(why) = drop() {
            tries += 1;
            if tries == DROP_TRIES {
                return Err(why);
            }
            std::thread::sleep(DROP_PAUSE);
        }
        Ok(())
    }
}

/// What stands in the names of this run's accounts.
fn run() -> String {
    std::env::var(ORACLE_RUN_ENV).unwrap_or_else(|_| "T".to_owned())
}

/// An account of its own for one test.
pub struct OracleAccount<'s> {
    server: &'s OracleServer,
    user: String,
}

impl OracleAccount<'_> {
    /// Its name, which is that of its schema.
    pub fn name(&self) -> &str {
        &self.user
    }

    /// The server it lives on.
    pub fn server(&self) -> &OracleServer {
        self.server
    }

    /// `oracle://user@host:port/service`, without the password.
    pub fn url(&self) -> String {
        match self.server {
            OracleServer::Standin(standin) => {
                format!("oracle://{}@{}/{SERVICE}", self.user, standin.address())
            }
            OracleServer::Users(url) => {
                let (_, place) = url.split_once('@').expect("oracle://user@host:port/service");
                format!("oracle://{}@{place}", self.user)
            }
        }
    }

    /// The password.
    pub fn password(&self) -> &'static str {
        match self.server {
            OracleServer::Standin(_) => PASSWORD,
            OracleServer::Users(_) => EXTERNAL_PASSWORD,
        }
    }

    /// What ssync needs to open it.
    pub fn link(&self) -> LinkParams {
        self.server.link_as(self.url(), self.password())
    }

    /// A connection.
    pub fn open(&self) -> Box<dyn Connection> {
        open(&self.link()).unwrap()
    }

    /// A connection of Oracle's own driver, apart from everything under test.
    pub fn plain(&self) -> oracledb::Connection {
        let url = self.url();
        let (_, place) = url.split_once('@').expect("oracle://user@host:port/service");
        let place = place.split_once('?').map_or(place, |(place, _)| place);
        let config = oracledb::Config::default()
            .set_credentials(&self.user, self.password())
            .set_connect_string(place)
            .unwrap();
        oracledb::connect(config).unwrap()
    }

    /// Runs statements, each a transaction of its own.
    pub fn run(&self, statements: &[&str]) {
        let mut conn = self.open();
        for sql in statements {
            conn.execute(sql, &[]).unwrap_or_else(|e| panic!("{e:?}\nin: {sql}"));
        }
    }
}

impl Drop for OracleAccount<'_> {
    fn drop(&mut self) {
        // After a failure, too: nothing is to stay on a server of the user's. What cannot be
        // dropped yet, the script finds at its end.
        if let OracleServer::Users(_) = self.server
            && let Err(why) = self.server.drop_account(&self.user)
        {
            eprintln!("{} was not dropped: {why}", self.user);
        }
    }
}
