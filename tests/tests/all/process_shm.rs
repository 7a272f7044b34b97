//! Shared memory between real processes, and what their deaths leave behind.

use std::path::Path;

use nix::sys::signal::Signal;
use ssync_common::process::RunId;
use ssync_common::shm::waiting::TaskState;
use ssync_common::shm::{self, TaskTable};

use crate::process_roles::{Probe, wait_for};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Probes are declared after their home, so they are dead by now.
        shm::clean_up().unwrap();
        TaskTable::remove(self.path()).unwrap();
    }
}

#[test]
fn a_batch_survives_the_writer_that_died_with_it() {
    let outcome = Probe::start(&["ring"], &[]).line();
    assert_eq!(outcome["refused"], true, "held, whatever the task process tries");
    assert_eq!(outcome["reclaimed"], true);
    assert_eq!(outcome["verdict"], "landed");
    assert_eq!(outcome["same"], true);
    assert_eq!(outcome["landed"], 10);
    assert_eq!(outcome["untaken"], true);
}

#[test]
fn rings_that_a_killed_task_process_of_version_0_1_left_are_cleaned_away_and_a_living_one_s_stay() {
    let (home, other) = (Home::new(), Home::new());
    let mut dead = Probe::start(&["hold-segments", home.text()], &[]);
    let mut alive = Probe::start(&["hold-segments", home.text()], &[]);
    let dead_names: Vec<String> = serde_json::from_value(dead.line()).unwrap();
    let living: Vec<String> = serde_json::from_value(alive.line()).unwrap();
    let exists = |name: &String| Path::new("/dev/shm").join(&name[1..]).exists();
    shm::clean_up().unwrap();
    assert!(dead_names.iter().chain(&living).all(exists));
    assert_eq!(dead_names.len() + living.len(), 4);
    dead.signal(Signal::SIGKILL);
    dead.wait();
    // The next start of anything of this user's cleans up, whatever its home.
    TaskTable::open_or_create(other.path()).unwrap();
    assert!(!dead_names.iter().any(exists));
    assert!(living.iter().all(exists));
}

#[test]
fn two_processes_update_their_slots_while_a_third_reads_only_whole_states() {
    let home = Home::new();
    let mut first = Probe::start(&["task", home.text(), "1"], &[]);
    let mut second = Probe::start(&["task", home.text(), "2"], &[]);
    let slots = [first.line(), second.line()].map(|slot| slot.as_u64().unwrap() as usize);
    assert_ne!(slots[0], slots[1]);
    let table = TaskTable::open(home.path()).unwrap().unwrap();
    let mut seen = [0u64; 2];
    let mut progress = [0u32; 2];
    let mut whole_params = 0;
    wait_for("both tasks to go on", || {
        for view in table.snapshot().unwrap() {
            assert!(view.alive && view.state == TaskState::Running);
            if view.damage.is_none() && !view.table.is_empty() {
                let n: u64 = view.table.split('-').next().unwrap().parse().unwrap();
                assert_eq!(view.table, format!("{n}-").repeat(20), "torn");
                let task = view.task_id as usize - 1;
                assert!(n >= seen[task], "went back");
                progress[task] += u32::from(n > seen[task]);
                seen[task] = n;
            }
            if let Some(params) = table.params(view.slot).unwrap() {
                let params = params.as_array().unwrap().clone();
                assert!(params.len() == 500 && params.iter().all(|n| *n == params[0]), "torn");
                whole_params += 1;
            }
        }
        progress.iter().all(|n| *n >= 50) && whole_params >= 50
    });

    first.signal(Signal::SIGKILL);
    first.wait();
    let alive = |slot: usize| table.snapshot().unwrap()[slot].alive;
    assert!(!alive(slots[0]) && alive(slots[1]));
    assert_eq!(table.snapshot().unwrap()[slots[0]].state, TaskState::Running, "it never said so");
    // A next run has the slot, also when the dead one left it in the midst of a write, and starts
    // clean.
    let slot = table.acquire(1, RunId::random().unwrap(), 1).unwrap();
    slot.begin_table("orders");
    let view = table.snapshot().unwrap().swap_remove(slot.index());
    assert_eq!((view.table.as_str(), view.counters.rows_read), ("orders", 0));
    assert_eq!(view.damage, None);
    assert_ne!(slot.index(), slots[1]);
}

#[test]
fn processes_that_start_at_once_agree_on_one_table() {
    let home = Home::new();
    let mut probes: Vec<_> =
        (1..=6).map(|id: u32| Probe::start(&["task", home.text(), &id.to_string()], &[])).collect();
    let mut slots: Vec<u64> = probes.iter_mut().map(|p| p.line().as_u64().unwrap()).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), 6);
    let table = TaskTable::open(home.path()).unwrap().unwrap();
    assert_eq!(table.snapshot().unwrap().iter().filter(|v| v.alive).count(), 6);
}
