//! A stand-in: one listener, one database, its accounts and its faults.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::faults::Faults;
use crate::ora_error::shown;
use crate::postgres::{self, Postgres};
use crate::session;

/// Which server is spoken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generation {
    /// 12.1: TNS 315, field version 7.
    Oracle12c,
    /// 19c: TNS 318, field version 13.
    Oracle19c,
    /// 23ai: TNS 319, field version 24, fast authentication, marked ends of answers.
    Oracle23ai,
}

impl Generation {
    /// All of them, the oldest first.
    pub const ALL: [Generation; 3] =
        [Generation::Oracle12c, Generation::Oracle19c, Generation::Oracle23ai];

    pub(crate) fn tns_version(self) -> u16 {
        match self {
            Generation::Oracle12c => 315,
            Generation::Oracle19c => 318,
            Generation::Oracle23ai => 319,
        }
    }

    pub(crate) fn field_version(self) -> u8 {
        match self {
            Generation::Oracle12c => 7,
            Generation::Oracle19c => 13,
            Generation::Oracle23ai => 24,
        }
    }

    pub(crate) fn accept_flags(self) -> u32 {
        match self {
            Generation::Oracle12c | Generation::Oracle19c => 0,
            Generation::Oracle23ai => 0x1000_0000 | 0x0200_0000,
        }
    }

    pub(crate) fn marks_ends(self) -> bool {
        self == Generation::Oracle23ai
    }

    /// The version as the dictionary shows it.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Generation::Oracle12c => "12.1.0.2.0",
            Generation::Oracle19c => "19.3.0.0.0",
            Generation::Oracle23ai => "23.4.0.24.5",
        }
    }

    /// The version as the login tells it.
    pub(crate) fn version_number(self) -> u32 {
        match self {
            Generation::Oracle12c => 12 << 24 | 1 << 20 | 2 << 8,
            Generation::Oracle19c => 19 << 24 | 3 << 16,
            Generation::Oracle23ai => 23 << 24 | 4 << 16 | 24 << 4 | 5,
        }
    }

    pub(crate) fn banner(self) -> String {
        let name = match self {
            Generation::Oracle12c => "12c",
            Generation::Oracle19c => "19c",
            Generation::Oracle23ai => "23ai",
        };
        format!(
            "Oracle Database {name} Enterprise Edition Release {} - Production (stand-in)",
            self.version()
        )
    }
}

/// The largest packet that a server agrees to where its administrator has set nothing
/// (`DEFAULT_SDU_SIZE`), of all three generations.
const SDU: usize = 8192;

/// What all sessions of a stand-in share.
pub(crate) struct World {
    pub(crate) generation: Generation,
    pub(crate) service: String,
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) database: String,
    pub(crate) faults: Faults,
    /// Passwords by PostgreSQL's name of the account.
    pub(crate) accounts: Mutex<HashMap<String, String>>,
    pub(crate) next_session: AtomicU32,
    /// The largest packet that the server agrees to.
    pub(crate) sdu: AtomicUsize,
    /// Bytes of the largest answer so far.
    pub(crate) answer_bytes_max: AtomicUsize,
    connections: AtomicU64,
    open: Mutex<HashMap<u64, TcpStream>>,
    ending: AtomicBool,
}

/// One at a time: roles and grants are the whole server's, and PostgreSQL refuses two who change
/// one of them at once.
static ROLES: Mutex<()> = Mutex::new(());

impl World {
    /// Makes or changes an account, with a schema of its name. `user` is PostgreSQL's name.
    pub(crate) fn make_account(&self, user: &str, password: &str) {
        let _one = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
        let name = crate::sql::quote(user);
        let literal = crate::sql::literal(user);
        self.postgres.admin(
            &self.database,
            &format!(
                "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = {literal}) THEN \
                 CREATE ROLE {name} LOGIN; END IF; \
                 EXCEPTION WHEN unique_violation OR duplicate_object THEN NULL; END $$; \
                 CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {name}; \
                 GRANT USAGE ON SCHEMA {name} TO PUBLIC; \
                 GRANT TEMPORARY, CREATE ON DATABASE {} TO {name}",
                self.database
            ),
        );
        self.accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(user.to_owned(), password.to_owned());
    }

    /// Whether there is such an account.
    pub(crate) fn has_account(&self, user: &str) -> bool {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).contains_key(user)
    }

    /// Removes an account with all that it has.
    pub(crate) fn drop_account(&self, user: &str) {
        let name = crate::sql::quote(user);
        self.postgres.admin(&self.database, &format!("DROP SCHEMA IF EXISTS {name} CASCADE"));
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).remove(user);
    }
}

/// A running stand-in; it ends when it is dropped.
pub struct Standin {
    world: Arc<World>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

/// The account that every stand-in has.
pub const USER: &str = "APP";
/// Its password; distinctive, so that a leak can be searched for.
pub const PASSWORD: &str = "Pw-oK9sentinel!'";
/// An account that may do everything.
pub const ADMIN_USER: &str = "SYSTEM";
/// The service that every stand-in offers.
pub const SERVICE: &str = "STANDIN";

impl Standin {
    /// Starts a stand-in with a fresh database on the server that all tests of a process share.
    ///
    /// # Panics
    ///
    /// When anything that it needs is missing.
    pub fn start(generation: Generation) -> Self {
        Self::start_on(generation, postgres::shared(), 0)
    }

    /// The same, on a PostgreSQL of its own, to be crashed.
    ///
    /// # Panics
    ///
    /// When anything that it needs is missing.
    pub fn start_apart(generation: Generation) -> Self {
        Self::start_on(generation, Arc::new(Postgres::start()), 0)
    }

    /// The same, on this server and port of the loopback address; zero is any free port.
    ///
    /// # Panics
    ///
    /// When the port is taken.
    pub fn start_on(generation: Generation, postgres: Arc<Postgres>, port: u16) -> Self {
        let database = postgres.make_database();
        let world = Arc::new(World {
            generation,
            service: SERVICE.to_owned(),
            postgres,
            database,
            faults: Faults::default(),
            accounts: Mutex::default(),
            next_session: AtomicU32::new(1),
            sdu: AtomicUsize::new(SDU),
            answer_bytes_max: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            open: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        world.make_account("app", PASSWORD);
        world.make_account("system", PASSWORD);
        {
            let _one = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
            world.postgres.admin(&world.database, "ALTER ROLE system SUPERUSER");
        }
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("no port for the stand-in");
        let address = listener.local_addr().expect("a bound port has an address");
        let shared = Arc::clone(&world);
        let listener = std::thread::spawn(move || listen(&listener, &shared));
        Standin { world, address, listener: Some(listener) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients connect to: `127.0.0.1:PORT/SERVICE`.
    pub fn connect_string(&self) -> String {
        format!("{}/{SERVICE}", self.address)
    }

    /// Which server it speaks for.
    pub fn generation(&self) -> Generation {
        self.world.generation
    }

    /// Makes an account, with a schema of its name; names are in capitals unless quoted in SQL.
    pub fn create_user(&self, user: &str, password: &str) {
        self.world.make_account(&shown(user), password);
    }

    /// Says from now on that the database is in this character set. What it holds stays Unicode,
    /// and it is sent to clients as it is: as a real one sends what it has converted for them.
    pub fn pretend_charset(&self, name: &str) {
        let name = crate::sql::literal(name);
        let sql = format!("DELETE FROM sys.charset_; INSERT INTO sys.charset_ VALUES ({name})");
        self.world.postgres.admin(&self.world.database, &sql);
    }

    /// Agrees to packets of this size from now on, as a server whose administrator set
    /// `DEFAULT_SDU_SIZE`.
    pub fn offer_sdu(&self, bytes: usize) {
        self.world.sdu.store(bytes, Ordering::Relaxed);
    }

    /// Bytes of the largest answer to any client since the last call of this.
    pub fn take_answer_bytes_max(&self) -> usize {
        self.world.answer_bytes_max.swap(0, Ordering::Relaxed)
    }

    /// The faults in waiting.
    pub fn faults(&self) -> &Faults {
        &self.world.faults
    }

    /// How many connections have ever arrived.
    pub fn connections(&self) -> u64 {
        self.world.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.world.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends all connections, as a killed server does. What was not committed is undone.
    pub fn drop_connections(&self) {
        for stream in self.world.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Kills PostgreSQL with SIGKILL, which ends all connections, and starts it again. Only for a
    /// stand-in that was started apart.
    pub fn crash(&self) {
        self.world.postgres.crash();
        self.drop_connections();
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.world.ending.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        self.drop_connections();
    }
}

fn listen(listener: &TcpListener, world: &Arc<World>) {
    for stream in listener.incoming() {
        if world.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let number = world.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = stream.try_clone() {
            world.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, copy);
        }
        let world = Arc::clone(world);
        std::thread::spawn(move || {
            let _: io::Result<()> = session::serve(stream, &world);
            let closed = world.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            if let Some(stream) = closed {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}
