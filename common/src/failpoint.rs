//! Named points at which a test makes a process die or wait.
//!
//! Compiled in only with the feature `failpoints`, which the test crate asks for; without it
//! [`hit`] is empty. The variable `SSYNC_FAILPOINTS` says what happens where:
//!
//! ```text
//! writer.before_commit@3=kill;worker.after_claim@*=pause
//! ```
//!
//! `@3` means batch number 3, `@*` any. Actions: `kill` (this process), `kill-parent`, `kill-group`
//! (the task process and all its writers), `pause` (until the file `<name>.go` appears), `panic`
//! (of the thread). Each entry acts once over all processes and restarts: `SSYNC_HOME/failpoints/<name>@<n>.fired` says
//! that it has. A paused process leaves `<name>.reached` there.

/// A process has come to `name` with batch `batch` (0 where there is none).
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str, _batch: u64) {}

/// Whether anything is to happen at `name`, with whatever batch.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn armed(_name: &str) -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub use active::{armed, hit};

#[cfg(feature = "failpoints")]
mod active {
    use std::fs::OpenOptions;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::{Pid, getpgrp, getppid};

    const VARIABLE: &str = "SSYNC_FAILPOINTS";
    /// A process told to misbehave in words it does not understand ends with this.
    const EXIT_BAD_SPEC: i32 = 99;
    /// How often a paused process looks for its sign to go on.
    const PAUSE_POLL: Duration = Duration::from_millis(2);

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Kill,
        KillParent,
        KillGroup,
        Pause,
        Panic,
    }

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Entry {
        name: String,
        /// `None`: any.
        batch: Option<u64>,
        action: Action,
    }

    impl Entry {
        fn marker(&self, home: &Path) -> PathBuf {
            let batch = self.batch.map_or_else(|| "*".to_owned(), |n| n.to_string());
            home.join("failpoints").join(format!("{}@{batch}.fired", self.name))
        }
    }

    /// A process has come to `name` with batch `batch` (0 where there is none).
    pub fn hit(name: &str, batch: u64) {
        for entry in entries() {
            let meant = entry.name == name && entry.batch.is_none_or(|n| n == batch);
            if meant && claim(entry) {
                act(entry);
            }
        }
    }

    /// Whether anything is to happen at `name`, with whatever batch.
    pub fn armed(name: &str) -> bool {
        entries().iter().any(|entry| entry.name == name)
    }

    fn entries() -> &'static [Entry] {
        static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
        ENTRIES.get_or_init(|| {
            let spec = std::env::var(VARIABLE).unwrap_or_default();
            parse(&spec).unwrap_or_else(|why| give_up(&format!("{VARIABLE}: {why}")))
        })
    }

    fn parse(spec: &str) -> Result<Vec<Entry>, String> {
        spec.split(';').map(str::trim).filter(|part| !part.is_empty()).map(parse_entry).collect()
    }

    fn parse_entry(text: &str) -> Result<Entry, String> {
        let wrong = || format!("{text:?} is not <name>@<batch or *>=<action>");
        let (place, action) = text.split_once('=').ok_or_else(wrong)?;
        let (name, batch) = place.split_once('@').ok_or_else(wrong)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(wrong());
        }
        let batch = match batch {
            "*" => None,
            n => Some(n.parse().map_err(|_| wrong())?),
        };
        let action = match action {
            "kill" => Action::Kill,
            "kill-parent" => Action::KillParent,
            "kill-group" | "kill-all" => Action::KillGroup,
            "pause" => Action::Pause,
            "panic" => Action::Panic,
            _ => {
                return Err(format!(
                    "{text:?}: actions are kill, kill-parent, kill-group, pause, panic"
                ));
            }
        };
        Ok(Entry { name: name.to_owned(), batch, action })
    }

    /// True for the one process that comes here first.
    fn claim(entry: &Entry) -> bool {
        let marker = entry.marker(&home());
        make_dir(&marker);
        match OpenOptions::new().write(true).create_new(true).open(&marker) {
            Ok(_) => true,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(e) => give_up(&format!("{}: {e}", marker.display())),
        }
    }

    fn act(entry: &Entry) {
        match entry.action {
            Action::Kill => end(Pid::this()),
            Action::KillParent => {
                end_ours(getppid());
                wait_for_death();
            }
            Action::KillGroup => {
                // The group's leader must be ssync too: else the test itself would go with it.
                require_ours(getpgrp());
                end(Pid::from_raw(-getpgrp().as_raw()));
                wait_for_death();
            }
            Action::Pause => pause(&entry.name),
            Action::Panic => panic!("failpoint {}", entry.name),
        }
    }

    fn pause(name: &str) {
        let dir = home().join("failpoints");
        let reached = dir.join(format!("{name}.reached"));
        if let Err(e) = std::fs::write(&reached, std::process::id().to_string()) {
            give_up(&format!("{}: {e}", reached.display()));
        }
        while !dir.join(format!("{name}.go")).exists() {
            std::thread::sleep(PAUSE_POLL);
        }
    }

    fn end(pid: Pid) {
        if let Err(e) = kill(pid, Signal::SIGKILL) {
            give_up(&format!("could not kill {pid}: {e}"));
        }
    }

    fn end_ours(pid: Pid) {
        require_ours(pid);
        end(pid);
    }

    fn require_ours(pid: Pid) {
        let exe = |who: &str| std::fs::read_link(format!("/proc/{who}/exe")).ok();
        if exe("self").is_none() || exe("self") != exe(&pid.to_string()) {
            give_up(&format!("process {pid} is not ssync, it is not killed"));
        }
    }

    /// The kernel's signal is on its way; nothing more may happen here.
    fn wait_for_death() {
        std::thread::sleep(Duration::from_secs(60));
        give_up("still alive after being killed");
    }

    fn home() -> PathBuf {
        match std::env::var_os("SSYNC_HOME") {
            Some(home) => PathBuf::from(home),
            None => give_up("SSYNC_FAILPOINTS needs SSYNC_HOME"),
        }
    }

    fn make_dir(marker: &Path) {
        if let Some(dir) = marker.parent()
            && let Err(e) = std::fs::create_dir_all(dir)
        {
            give_up(&format!("{}: {e}", dir.display()));
        }
    }

    fn give_up(why: &str) -> ! {
        eprintln!("failpoint: {why}");
        std::process::exit(EXIT_BAD_SPEC)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn entries_are_read_and_wrong_ones_named() {
            let entries =
                parse("writer.before_commit@3=kill; worker.after_claim@*=pause;").unwrap();
            assert_eq!(
                entries,
                [
                    Entry {
                        name: "writer.before_commit".into(),
                        batch: Some(3),
                        action: Action::Kill
                    },
                    Entry { name: "worker.after_claim".into(), batch: None, action: Action::Pause },
                ]
            );
            assert!(parse("").unwrap().is_empty());
            for bad in
                ["x", "x=kill", "x@=kill", "x@-1=kill", "x@1=explode", "../x@1=kill", "@1=kill"]
            {
                assert!(parse(bad).unwrap_err().contains(bad), "{bad}");
            }
        }
    }
}
