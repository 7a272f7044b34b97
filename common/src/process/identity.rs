//! Who a process is, beyond a process id that will be used again.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Kind, Result};

/// One process in the world: host, boot, pid namespace, pid and start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Name of the host.
    pub host: String,
    /// The kernel's random id of this boot.
    pub boot_id: String,
    /// Inode of the pid namespace: pids of two containers are not comparable.
    pub pid_namespace: u64,
    /// Process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// This process.
    pub fn own() -> Result<ProcessIdentity> {
        let pid = std::process::id();
        Ok(ProcessIdentity {
            host: host_name(),
            boot_id: boot_id()?,
            pid_namespace: std::fs::metadata("/proc/self/ns/pid")?.ino(),
            pid,
            start_ticks: start_ticks(pid)?
                .ok_or_else(|| Error::new(Kind::System, "the own process is missing in /proc"))?,
        })
    }

    /// Whether this process is known to be gone: its pid has no process of that start, or only a zombie:
    /// one that has ended, and that its parent has not waited for (in a container it may never do so). False when
    /// it lives, and when that cannot be told from here: of another boot (there may be another host
    /// of this name), another host or pid namespace. Then only a lease helps.
    pub fn is_known_dead(&self) -> Result<bool> {
        let me = ProcessIdentity::own()?;
        if self.host != me.host {
            return Ok(false);
        }
        if self.boot_id != me.boot_id || self.pid_namespace != me.pid_namespace {
            return Ok(false);
        }
        let stat = Stat::of(self.pid)?;
        Ok(stat.is_none_or(|stat| stat.start_ticks != self.start_ticks || stat.is_dead))
    }

    /// The boot id as two numbers.
    pub(crate) fn boot_id_words(&self) -> (u64, u64) {
        let hex: String = self.boot_id.chars().filter(char::is_ascii_hexdigit).collect();
        let all = u128::from_str_radix(&hex, 16).unwrap_or_default();
        ((all >> 64) as u64, all as u64)
    }
}

/// A process of this host and boot in 64 bits: pid and start time. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessToken(u64);

impl ProcessToken {
    /// Linux has no pid of more bits.
    const PID_BITS: u32 = 22;

    pub(crate) fn new(pid: u32, start_ticks: u64) -> ProcessToken {
        ProcessToken(u64::from(pid) | start_ticks << Self::PID_BITS)
    }

    /// This process.
    pub fn own() -> Result<ProcessToken> {
        // Keyed by pid: a forked child that has not called exec is somebody else.
        static OWN: OnceLock<(u32, ProcessToken)> = OnceLock::new();
        let pid = std::process::id();
        if let Some((known, token)) = OWN.get()
            && *known == pid
        {
            return Ok(*token);
        }
        let me = ProcessIdentity::own()?;
        let token = ProcessToken::new(pid, me.start_ticks);
        let _ = OWN.set((pid, token));
        Ok(token)
    }

    /// As a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

/// When process `pid` started, in clock ticks since boot; `None` when there is no such process.
pub fn start_ticks(pid: u32) -> Result<Option<u64>> {
    Ok(Stat::of(pid)?.map(|stat| stat.start_ticks))
}

/// What the kernel says of a process.
struct Stat {
    /// When it started, in clock ticks since boot.
    start_ticks: u64,
    /// Whether it is a zombie: all of its threads have ended.
    is_dead: bool,
}

impl Stat {
    /// Of this process, if there is one.
    fn of(pid: u32) -> Result<Option<Stat>> {
        let Some(stat) = read_stat(pid)? else { return Ok(None) };
        // The second field is the command in parentheses and may contain anything, also blanks and
        // parentheses. Behind it come the state, field 3; threads, field 20; the start, field 22.
        let fields = || Some(stat.rsplit_once(')')?.1.split_ascii_whitespace());
        let field = |number: usize| fields()?.nth(number - 3);
        let threads = field(20).and_then(|text| text.parse::<u64>().ok());
        let has_ended = matches!(field(3), Some("Z" | "X" | "x"));
        let start_ticks = field(22).and_then(|text| text.parse().ok());
        let start_ticks = start_ticks.ok_or_else(|| {
            Error::new(Kind::System, format!("/proc/{pid}/stat is not as expected"))
        })?;
        // Of a process that is being killed, the first thread may end before another one that
        // still writes.
        Ok(Some(Stat { start_ticks, is_dead: has_ended && threads == Some(1) }))
    }
}

fn read_stat(pid: u32) -> Result<Option<String>> {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(Some(stat)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // ESRCH: it ended between opening and reading.
        Err(e) if e.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Name of this host.
pub fn host_name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "localhost".to_owned())
}

/// The kernel's random id of this boot.
pub fn boot_id() -> Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(|e| Error::from(e).context("could not read the boot id"))?;
    Ok(id.trim().to_owned())
}

/// Fills `bytes` from the kernel's random source.
pub fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|e| Error::new(Kind::System, format!("no random bytes from the kernel: {e}")))
}

/// The random 128-bit id of one run. Shown, read and serialised as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub [u8; 16]);

impl RunId {
    /// A new one.
    pub fn random() -> Result<RunId> {
        let mut id = [0; 16];
        random(&mut id)?;
        Ok(RunId(id))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<RunId> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(id) if digits => Ok(RunId(id.to_be_bytes())),
            _ => Err(Error::new(Kind::Usage, "a run id has 32 hexadecimal digits")),
        }
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn run_ids_keep_their_leading_zeros_through_text_and_json() {
        let id = RunId([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 255]);
        assert_eq!(id.to_string(), "0000010203040506070809 0a0b0c0dff".replace(' ', ""));
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert_eq!(
            serde_json::from_str::<RunId>(&serde_json::to_string(&id).unwrap()).unwrap(),
            id
        );
        for bad in ["", "00", "+0000102030405060708090a0b0c0dff0", &"g".repeat(32)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
        assert_ne!(RunId::random().unwrap(), RunId::random().unwrap());
    }

    #[test]
    fn a_dead_process_is_told_from_a_living_one_and_from_a_stranger() {
        let me = ProcessIdentity::own().unwrap();
        assert!(!me.is_known_dead().unwrap());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let start_ticks = start_ticks(pid).unwrap().unwrap();
        let it = ProcessIdentity { pid, start_ticks, ..me.clone() };
        assert!(!it.is_known_dead().unwrap());
        let reused = ProcessIdentity { start_ticks: start_ticks - 1, ..it.clone() };
        assert!(reused.is_known_dead().unwrap());
        child.kill().unwrap();
        // Ended, and its parent has not been told: in a container nobody may ever be.
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(Pid::from_raw(pid as i32)), ended).unwrap();
        assert!(it.is_known_dead().unwrap());
        child.wait().unwrap();
        assert!(it.is_known_dead().unwrap());
        let rebooted = ProcessIdentity { boot_id: "another".into(), ..me.clone() };
        // Of this host before its last start, or of another host of the same name.
        assert!(!rebooted.is_known_dead().unwrap());
        let elsewhere = ProcessIdentity { host: "elsewhere".into(), ..it.clone() };
        assert!(!elsewhere.is_known_dead().unwrap());
        let container = ProcessIdentity { pid_namespace: 1, ..it };
        assert!(!container.is_known_dead().unwrap());
    }
}
