//! A program is told.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ssync_common::config::CommandWay;
use ssync_common::config::template::{Escape, fill};
use ssync_common::error::{Error, Kind};

use super::{Failure, Message, Stop, is_set};

/// How often it is looked whether the program has ended.
const GLANCE: Duration = Duration::from_millis(20);
/// Variables that programs get; passwords of ssync's own stand in others.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSYNC_HOME"];

/// Starts the program and waits for its end.
pub fn tell(
    way: &CommandWay,
    message: &Message,
    timeout: Duration,
    stop: &Stop,
) -> Result<(), Failure> {
    let mut words = way.command.iter().map(|w| fill(w, Escape::Line, |place| message.value(place)));
    let program = words.next().unwrap_or_default();
    let failed = |what: String| Error::new(Kind::System, format!("{program}: {what}"));
    let kept = ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut child = Command::new(&program)
        .args(words)
        .env_clear()
        .envs(kept)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own, so that everything it starts can be ended with it.
        .process_group(0)
        .spawn()
        .map_err(|e| failed(format!("could not be started: {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        let event = format!("{}\n", message.json);
        // A program need not read it; a thread that writes to one that does not ends with it.
        thread::spawn(move || stdin.write_all(event.as_bytes()));
    }
    let begin = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(failed(format!("failed ({status})")).into()),
            Ok(None) if is_set(stop) => {
                end(&mut child);
                return Err(Error::new(Kind::Interrupted, "the monitor was ended").into());
            }
            Ok(None) if begin.elapsed() > timeout => {
                end(&mut child);
                let secs = timeout.as_secs();
                return Err(failed(format!("took longer than {secs} s and was ended")).into());
            }
            Ok(None) => thread::sleep(GLANCE),
            Err(e) => {
                end(&mut child);
                return Err(failed(format!("was lost: {e}")).into());
            }
        }
    }
}

fn end(child: &mut Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    // Not reaped yet, so the number is still its own.
    if let Err(e) = killpg(group, Signal::SIGKILL) {
        log::debug!("could not end a program: {e}");
    }
    let _ = child.wait();
}
