//! Tasks that were suspended because a server was out of reach, and go on by themselves once it is
//! back (`resume_when_back`).
//!
//! A child opens the links of such tasks, after waits that grow. Where both links of a task answer,
//! that child lifts the suspension, if it is still the same one, and records the event: both stand
//! when the daemon dies meanwhile. What the daemon keeps of it is only when to test next; the next
//! daemon finds the suspensions in the configuration database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ssync_common::config::Link;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Event, What, record};
use ssync_common::logging;
use ssync_common::process::channel::Channel;
use ssync_common::process::set_title;
use ssync_common::process::spawn::CHANNEL_FD;
use ssync_common::store::{Hold, Home, Store, link_params};

use super::core::{Daemon, From};
use super::inquiry::{Inquiry, Sent};
use super::order::{Known, WireLocation, WireSource};
use super::roles;
use crate::command::link::server_of;
use crate::existing::open_known;

/// The wait before the first test; doubled for each further one.
const WAIT_FIRST: Duration = Duration::from_secs(5);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The configuration, passwords among it, is read so long before a test.
const READ_BEFORE: Duration = Duration::from_secs(2);
/// A task that is suspended again so soon after it was resumed is tested after ever longer waits.
const CALM: Duration = Duration::from_secs(600);
/// A child that has not tested all links by then hangs. More than any link may take to open.
const TEST_TIME_MAX: Duration = Duration::from_secs(600);

/// A suspension: the task, and since when.
type Suspension = (u32, Timestamp);

/// When the links of suspended tasks are tested.
#[derive(Default)]
pub(super) struct Resumptions {
    tests: BTreeMap<u32, Tests>,
    child: Option<(Inquiry<Vec<Tested>>, Vec<Suspension>)>,
}

/// The tests of one task.
struct Tests {
    /// The suspension they are for.
    since: Timestamp,
    next: Instant,
    wait: Duration,
    /// Why the last one failed.
    failure: Option<Error>,
    resumed: Option<Instant>,
    /// Whether passwords were read again for the next test: they may have been changed.
    has_read: bool,
}

impl Resumptions {
    /// Brings the plan up to date with what is suspended.
    fn plan(&mut self, suspended: &[Suspension], now: Instant) {
        self.tests.retain(|task, tests| {
            suspended.iter().any(|(id, _)| id == task)
                || tests.resumed.is_some_and(|at| now.duration_since(at) < CALM)
        });
        for (task, since) in suspended {
            let before = self.tests.get(task);
            if before.is_some_and(|tests| tests.since == *since) {
                continue;
            }
            let wait = before
                .filter(|t| t.resumed.is_some_and(|at| now.duration_since(at) < CALM))
                .map_or(WAIT_FIRST, |tests| tests.wait);
            let tests = Tests {
                since: *since,
                next: now + wait,
                wait,
                failure: None,
                resumed: None,
                has_read: false,
            };
            self.tests.insert(*task, tests);
        }
    }

    /// What is to be tested now.
    fn due(&self, suspended: &[Suspension], now: Instant) -> Vec<Suspension> {
        let is_due = |(task, since): &&Suspension| {
            self.tests.get(task).is_some_and(|t| t.since == *since && t.next <= now)
        };
        suspended.iter().filter(is_due).copied().collect()
    }

    /// A test has been made.
    fn tested(&mut self, (task, since): Suspension, failure: Option<Error>, now: Instant) {
        let Some(tests) = self.tests.get_mut(&task).filter(|t| t.since == since) else { return };
        tests.wait = (tests.wait * 2).min(WAIT_MAX);
        tests.next = now + tests.wait;
        tests.has_read = false;
        tests.resumed = failure.is_none().then_some(now);
        tests.failure = failure;
    }

    /// Whether a test comes soon, for which the configuration is to be read.
    fn wants_reading(&mut self, now: Instant) -> bool {
        let soon = now + READ_BEFORE;
        let mut coming = self.tests.values_mut().filter(|t| !t.has_read && t.next <= soon);
        let wanted = coming.next().is_some();
        self.tests.values_mut().filter(|t| t.next <= soon).for_each(|t| t.has_read = true);
        wanted
    }

    /// How the tests of a task stand, for people.
    pub fn words(&self, task: u32) -> Option<String> {
        let tests = self.tests.get(&task).filter(|tests| tests.resumed.is_none())?;
        let last = tests.failure.as_ref().map_or(String::new(), |e| format!(", last: {e}"));
        let next = tests.next.saturating_duration_since(Instant::now()).as_secs();
        Some(format!("its links are tested until both answer, next in {next} s{last}"))
    }

    /// Ends the child, if there is one.
    pub fn end(&mut self) {
        if let Some((inquiry, _)) = self.child.take() {
            inquiry.kill();
        }
    }
}

/// What of the configuration resumes by itself.
fn suspended(known: &Known) -> Vec<Suspension> {
    let resumes = |hold: &&Hold| {
        let task = known.task(hold.task);
        hold.table.is_none() && hold.error.is_some() && task.is_some_and(|t| t.resume_when_back)
    };
    known.holds.iter().filter(resumes).map(|hold| (hold.task, hold.since)).collect()
}

impl Daemon {
    /// Once a second: tests links whose time has come.
    pub fn look_after_resumptions(&mut self) {
        if let Some((inquiry, _)) = &self.resumptions.child {
            if inquiry.hangs(TEST_TIME_MAX) {
                log::warn!("testing links takes too long, and is given up");
                let due = self.resumptions.child.take().map(|(inquiry, due)| {
                    inquiry.kill();
                    due
                });
                self.links_untested(&due.unwrap_or_default(), &hung());
            } else {
                self.on_link_test();
            }
            return;
        }
        let Some(known) = self.known.as_ref().filter(|_| self.stopping.is_none()) else { return };
        let now = Instant::now();
        let suspended = suspended(known);
        self.resumptions.plan(&suspended, now);
        self.read_wanted |= self.resumptions.wants_reading(now);
        let due = self.resumptions.due(&suspended, now);
        if due.is_empty() {
            return;
        }
        let request = TestRequest::new(known, &due, WireLocation::new(&self.location));
        match roles::start(&["resumption"], &self.home, &request) {
            Ok(started) => {
                let inquiry =
                    Inquiry::begin(self, started, From::LinkTestChannel, From::LinkTestDeath);
                self.resumptions.child = Some((inquiry, due));
            }
            Err(e) => self.links_untested(&due, &e),
        }
    }

    /// The child that tests links has said something, or died.
    pub fn on_link_test(&mut self) {
        let Some((mut inquiry, due)) = self.resumptions.child.take() else { return };
        match inquiry.look(self) {
            None => self.resumptions.child = Some((inquiry, due)),
            Some(Err(e)) => self.links_untested(&due, &e),
            Some(Ok(all)) => {
                for tested in all {
                    let Tested { task, since, failure, is_changed } = tested;
                    // A suspension that was lifted, by whomever, is not known to be.
                    self.read_wanted |= is_changed;
                    self.resumptions.tested((task, since), failure, Instant::now());
                }
            }
        }
    }

    fn links_untested(&mut self, due: &[Suspension], error: &Error) {
        log::warn!("links of suspended tasks could not be tested: {error:?}");
        for suspension in due {
            self.resumptions.tested(*suspension, Some(error.clone()), Instant::now());
        }
    }
}

fn hung() -> Error {
    Error::new(Kind::System, "testing the links took too long")
}

/// What the child is told. It goes over a private socket, for it holds passwords.
#[derive(Serialize, Deserialize)]
struct TestRequest {
    location: WireLocation,
    /// The configuration database it must be.
    instance: String,
    tasks: Vec<SuspendedTask>,
    links: BTreeMap<String, (Link, WireSource)>,
}

#[derive(Serialize, Deserialize)]
struct SuspendedTask {
    task: u32,
    since: Timestamp,
    links: [String; 2],
}

/// What became of a suspension.
#[derive(Serialize, Deserialize)]
struct Tested {
    task: u32,
    since: Timestamp,
    /// Why it stays.
    failure: Option<Error>,
    /// Whether the daemon has to read what is held.
    is_changed: bool,
}

impl TestRequest {
    fn new(known: &Known, due: &[Suspension], location: WireLocation) -> TestRequest {
        let tasks = due.iter().filter_map(|(id, since)| {
            let task = known.task(*id)?;
            let links = [task.source.clone(), task.dest.clone()];
            Some(SuspendedTask { task: *id, since: *since, links })
        });
        let tasks: Vec<_> = tasks.collect();
        let names: BTreeSet<_> = tasks.iter().flat_map(|t| &t.links).collect();
        let mut links = BTreeMap::new();
        for name in names {
            match known.link(name) {
                Ok(link) => drop(links.insert(name.clone(), link)),
                Err(e) => log::warn!("link {name} cannot be tested: {e:?}"),
            }
        }
        TestRequest { location, instance: known.instance.clone(), tasks, links }
    }
}

/// The child that tests links; the exit code.
pub(super) fn child() -> Result<u8> {
    set_title("ssync-link-test");
    let channel = Channel::from_inherited_fd(CHANNEL_FD)?;
    let Some(request) = channel.recv::<TestRequest>()? else { return Ok(1) };
    let home = Home::locate(None)?;
    logging::init("daemon", home.path())?;
    let answer: Sent<Vec<Tested>> = test(request, &home);
    channel.send(&answer)?;
    Ok(u8::from(answer.is_err()))
}

fn test(request: TestRequest, home: &Home) -> Result<Vec<Tested>> {
    let answers = open_all(request.links);
    let location = request.location.into_location()?;
    // Opened only where there is something to write.
    let mut store: Option<Store> = None;
    let mut tested = Vec::new();
    for SuspendedTask { task, since, links } in request.tasks {
        let missing = || Error::new(Kind::Config, "its link, or the password of it, is missing");
        let answer = |name: &String| answers.get(name).cloned().unwrap_or_else(|| Err(missing()));
        let failure = links.iter().find_map(|name| answer(name).err());
        let is_changed = match &failure {
            // Out of reach still, or something that only the task's next attempt would tell.
            Some(e) if e.kind != Kind::Login => {
                log::info!(task = task; "stays suspended: {e:?}");
                false
            }
            answer => {
                let store = match &mut store {
                    Some(store) => store,
                    none => none.insert(open_known(&location, Some(&request.instance))?),
                };
                match answer {
                    Some(login) => stay(store, home, (task, since), login)?,
                    None => resume(store, home, (task, since), &links)?,
                }
                // Also where the suspension was another one by now.
                true
            }
        };
        tested.push(Tested { task, since, failure, is_changed });
    }
    Ok(tested)
}

/// Opens links side by side: one that is silent keeps no other waiting.
fn open_all(links: BTreeMap<String, (Link, WireSource)>) -> BTreeMap<String, Result<()>> {
    std::thread::scope(|scope| {
        let open = |(link, password): (Link, WireSource)| {
            server_of(&link_params(&link, password.into_secret())).map(drop)
        };
        let under_way: Vec<_> =
            links.into_iter().map(|(name, link)| (name, scope.spawn(move || open(link)))).collect();
        let panicked = || Err(Error::new(Kind::Internal, "the test of a link panicked"));
        let answer = |test: std::thread::ScopedJoinHandle<'_, Result<()>>| test.join();
        let answers = under_way
            .into_iter()
            .map(|(name, test)| (name, answer(test).unwrap_or_else(|_| panicked())));
        answers.collect()
    })
}

fn resume(
    store: &mut Store,
    home: &Home,
    (task, since): Suspension,
    links: &[String; 2],
) -> Result<()> {
    if store.resume_when_back(task, since)? {
        let [source, dest] = links;
        let text = format!(
            "task {task} goes on by itself: links {source} and {dest} answer again; it was \
             suspended since {since:.0}"
        );
        log::info!(task = task; "{text}");
        record(home.path(), &Event::new(What::TaskResumed, text).of_task(task));
    }
    Ok(())
}

/// The server is back, and refuses the login. Trying that again and again would lock the account.
fn stay(store: &mut Store, home: &Home, (task, since): Suspension, login: &Error) -> Result<()> {
    let note = format!("it does not resume by itself: {login}");
    if store.stay_suspended(task, since, &note)? {
        let text =
            format!("task {task} stays suspended, {note}; ssync resume {task} lets it run again");
        log::error!(task = task; "{text}");
        record(home.path(), &Event::new(What::TaskSuspended, text).of_task(task));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_do_not_begin_anew_for_a_task_that_is_suspended_again() {
        let start = Instant::now();
        let at = |secs: u64| start + Duration::from_secs(secs);
        let first = Timestamp::UNIX_EPOCH;
        let second = first + jiff::SignedDuration::from_secs(60);
        let mut plan = Resumptions::default();
        let down = || Some(Error::new(Kind::Connect, "connection refused"));
        plan.plan(&[(7, first)], at(0));
        assert_eq!(plan.due(&[(7, first)], at(4)), []);
        assert_eq!(plan.due(&[(7, first)], at(5)), [(7, first)]);
        plan.tested((7, first), down(), at(5));
        assert_eq!(plan.due(&[(7, first)], at(14)), []);
        assert_eq!(plan.due(&[(7, first)], at(15)), [(7, first)]);
        // Resumed, and suspended again: the wait goes on growing.
        plan.tested((7, first), None, at(15));
        plan.plan(&[], at(16));
        plan.plan(&[(7, second)], at(17));
        assert_eq!(plan.due(&[(7, second)], at(36)), []);
        assert_eq!(plan.due(&[(7, second)], at(37)), [(7, second)]);
        for n in 1..9 {
            plan.tested((7, second), down(), at(n * 100));
            assert_eq!(plan.due(&[(7, second)], at(n * 100 + 60)), [(7, second)]);
        }
        // After a calm it begins anew.
        plan.tested((7, second), None, at(1000));
        plan.plan(&[], at(1601));
        plan.plan(&[(7, first)], at(1602));
        assert_eq!(plan.due(&[(7, first)], at(1607)), [(7, first)]);
        assert!(plan.words(7).is_some() && plan.words(8).is_none());
    }
}
