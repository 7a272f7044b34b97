use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::shm::waiting::{Outcome, Phase, TaskState, Waiting, WriterState};

/// A home whose table goes with it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn table(&self) -> TaskTable {
        TaskTable::open_or_create(self.0.path()).unwrap()
    }

    fn raw(&self) -> File {
        let path = format!("/dev/shm{}", name(self.0.path()).unwrap());
        File::options().write(true).open(path).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        Segment::unlink(&name(self.0.path()).unwrap()).unwrap();
    }
}

fn run() -> RunId {
    RunId::random().unwrap()
}

#[test]
fn what_a_task_reports_is_seen_by_a_reader() {
    let home = Home::new();
    assert!(TaskTable::open(home.0.path()).unwrap().is_none());
    let run = run();
    let slot = home.table().acquire(7, run, 2).unwrap();
    slot.begin_table("订单 \"orders\"");
    slot.set_phase(Phase::Transferring);
    slot.wait(Waiting::Slot);
    slot.counters().rows_read.fetch_add(10, Ordering::Relaxed);
    slot.counters().bytes_landed.fetch_add(99, Ordering::Relaxed);
    slot.set_error(&Error::new(Kind::Contention, "deadlock"));
    slot.writer(9).unwrap().start(4711);
    assert!(slot.set_params(&serde_json::json!({ "source": "core" })));

    let reader = TaskTable::open(home.0.path()).unwrap().unwrap();
    let [view] = <[TaskView; 1]>::try_from(reader.snapshot().unwrap()).unwrap();
    assert!(view.alive);
    assert_eq!((view.task_id, view.run_id), (7, Some(run)));
    assert_eq!(view.owner, Some(ProcessIdentity::own().unwrap()));
    assert_eq!(view.table, "订单 \"orders\"");
    assert_eq!(view.error.as_deref(), Some("deadlock"));
    assert_eq!((view.state, view.outcome), (TaskState::Running, Outcome::Open));
    assert_eq!((view.phase, view.wait.waiting_for), (Phase::Transferring, Waiting::Slot));
    assert!(view.wait.since_ms >= view.started_ms && view.started_ms > 0);
    assert_eq!((view.counters.rows_read, view.counters.bytes_landed), (10, 99));
    assert_eq!((view.tables_done, view.tables_total), (0, 2));
    assert_eq!(view.writers.len(), 1);
    assert_eq!((view.writers[0].pid, view.writers[0].state), (4711, WriterState::Starting));
    let params = reader.params(view.slot).unwrap().unwrap();
    assert_eq!(params, serde_json::json!({ "source": "core" }));

    slot.end_table();
    slot.begin_table("items");
    slot.finish(Outcome::Succeeded);
    drop(slot);
    let view = &reader.snapshot().unwrap()[0];
    assert!(!view.alive);
    assert_eq!((view.state, view.outcome), (TaskState::Finished, Outcome::Succeeded));
    assert_eq!(view.counters.rows_read, 0, "counters are the current table's");
    assert_eq!(view.tables_done, 1);
    assert!(view.ended_ms >= view.started_ms);
    // What programs read: one flat object with words in it.
    let json = serde_json::to_value(view).unwrap();
    assert_eq!(json["state"], "finished");
    assert_eq!(json["waiting_for"], "nothing");
    assert_eq!(serde_json::from_value::<TaskView>(json).unwrap(), *view);
}

#[test]
fn a_slot_that_is_dropped_unfinished_says_interrupted() {
    let home = Home::new();
    let table = home.table();
    drop(table.acquire(1, run(), 1).unwrap());
    assert_eq!(table.snapshot().unwrap()[0].outcome, Outcome::Interrupted);
}

#[test]
fn a_full_table_is_refused_and_an_ended_task_makes_room() {
    let home = Home::new();
    let table = home.table();
    let mut slots: Vec<_> =
        (0..SLOTS as u32).map(|id| table.acquire(id, run(), 1).unwrap()).collect();
    let e = table.acquire(1000, run(), 1).unwrap_err();
    assert_eq!(e.kind, Kind::Full);
    assert!(e.message.contains("64") && e.hint.is_some(), "{e:?}");
    let freed = slots.remove(5).index();
    assert_eq!(table.acquire(1000, run(), 1).unwrap().index(), freed);
}

#[test]
fn a_task_finds_its_last_slot_again_and_starts_clean_in_it() {
    let home = Home::new();
    let table = home.table();
    let (first, second) =
        (table.acquire(1, run(), 1).unwrap(), table.acquire(2, run(), 1).unwrap());
    let index = first.index();
    first.set_error(&Error::new(Kind::Lost, "gone"));
    first.writer(0).unwrap().start(1);
    first.set_params(&"params");
    first.counters().rows_read.store(5, Ordering::Relaxed);
    // Two runs of one task, with different tables, may be under way at once.
    let third = table.acquire(1, run(), 1).unwrap();
    assert_eq!(third.index(), 2);
    drop((first, second, third));
    let again = table.acquire(1, run(), 3).unwrap();
    assert_eq!(again.index(), index);
    let view = table.snapshot().unwrap().swap_remove(index);
    assert_eq!((view.error, view.counters, view.tables_total), (None, CountersView::default(), 3));
    assert!(view.writers.is_empty() && view.ended_ms == 0);
    assert_eq!(table.params(index).unwrap(), None);
}

#[test]
fn a_slot_whose_owner_died_in_the_midst_of_a_write_is_not_trusted_but_can_be_had() {
    let home = Home::new();
    let table = home.table();
    let slot = table.acquire(1, run(), 1).unwrap();
    slot.begin_table("orders");
    table.slot(slot.index()).unwrap().abandon_head();
    let view = &table.snapshot().unwrap()[0];
    assert!(view.damage.as_deref().unwrap().contains("never ended"));
    assert_eq!((view.table.as_str(), view.run_id), ("", None));
    assert_eq!(view.state, TaskState::Running, "the rest is still readable");
    // As a killed owner leaves it: no `finish`, but the lock is gone.
    slot.leave_as_killed();
    let view = &table.snapshot().unwrap()[0];
    assert!(!view.alive && view.state == TaskState::Running);
    let again = (0..SLOTS as u32).map(|id| table.acquire(id, run(), 1).unwrap());
    let again: Vec<_> = again.collect();
    assert!(again.iter().any(|s| s.index() == 0));
    assert_eq!(table.snapshot().unwrap()[0].damage, None);
}

#[test]
fn texts_that_are_too_long_are_cut_and_too_long_parameters_replaced() {
    let home = Home::new();
    let table = home.table();
    let slot = table.acquire(1, run(), 1).unwrap();
    for filler in ["x", "\u{1}", "长", "\""] {
        slot.begin_table(&filler.repeat(10_000));
        slot.set_error(&Error::new(Kind::Database, filler.repeat(100_000)));
        let view = &table.snapshot().unwrap()[0];
        assert_eq!(view.damage, None, "{filler:?}");
        assert!(view.table.starts_with(filler) && view.table.ends_with('…'), "{filler:?}");
        assert!(view.error.as_deref().unwrap().ends_with('…'), "{filler:?}");
    }
    assert!(slot.set_params(&"x".repeat(PARAMS_BYTES - 2)));
    assert!(!slot.set_params(&"x".repeat(PARAMS_BYTES - 1)));
    assert_eq!(table.params(0).unwrap().unwrap()["omitted"], "too long");
    assert!(slot.writer(10).is_err());
    assert!(table.params(SLOTS).is_err());
}

#[test]
fn there_is_one_controller_and_no_request_is_lost() {
    let home = Home::new();
    let table = home.table();
    assert!(!table.controller().unwrap().alive);
    let guard = table.become_controller().unwrap();
    guard.beat().unwrap();
    assert_eq!(home.table().become_controller().unwrap_err().kind, Kind::Locked);
    let view = table.controller().unwrap();
    assert!(view.alive && view.pid == std::process::id() && view.heartbeat_ms > 0);
    let before = table.requests().unwrap();
    home.table().request_stop().unwrap();
    home.table().request_reload().unwrap();
    home.table().request_reload().unwrap();
    let after = table.requests().unwrap();
    assert_eq!((after.stop - before.stop, after.reload - before.reload), (1, 2));
    drop(guard);
    assert!(!table.controller().unwrap().alive);
    table.become_controller().unwrap();
}

#[test]
fn a_table_of_another_layout_is_replaced_only_when_nobody_uses_it() {
    let home = Home::new();
    let slot = home.table().acquire(1, run(), 1).unwrap();
    // The version word.
    home.raw().write_at(&9u32.to_le_bytes(), 8).unwrap();
    let e = TaskTable::open_or_create(home.0.path()).unwrap_err();
    assert!(e.message.contains("version 9"), "{e:?}");
    assert!(TaskTable::open(home.0.path()).is_err());
    assert_eq!(TaskTable::remove(home.0.path()).unwrap_err().kind, Kind::Locked);
    assert!(slot.table().is_linked());
    slot.leave_as_killed();
    let table = home.table();
    assert!(table.snapshot().unwrap().is_empty());
    TaskTable::remove(home.0.path()).unwrap();
    assert!(!table.is_linked());
    assert!(TaskTable::open(home.0.path()).unwrap().is_none());
}

#[test]
fn two_homes_have_two_tables_whatever_their_path() {
    let (a, b) = (Home::new(), Home::new());
    let _slot = a.table().acquire(1, run(), 1).unwrap();
    assert!(b.table().snapshot().unwrap().is_empty());
    let link = b.0.path().join("link");
    std::os::unix::fs::symlink(a.0.path(), &link).unwrap();
    assert_eq!(TaskTable::open(&link).unwrap().unwrap().snapshot().unwrap().len(), 1);
}

#[test]
fn a_table_goes_when_its_home_has_gone_and_no_earlier() {
    let home = tempfile::tempdir().unwrap();
    let table = TaskTable::open_or_create(home.path()).unwrap();
    let name = name(home.path()).unwrap();
    drop(table.acquire(1, run(), 1).unwrap());
    assert!(!TaskTable::unlink_if_homeless(&name).unwrap());
    assert!(!Segment::unlink_if_ownerless(&name).unwrap(), "it has no owner by design");
    // In another mount namespace the path means something else.
    let namespace = &table.header().unwrap().mount_namespace;
    let own = namespace.fetch_add(1, Ordering::Relaxed);
    home.close().unwrap();
    assert!(!TaskTable::unlink_if_homeless(&name).unwrap());
    namespace.store(own, Ordering::Relaxed);
    // Another test's table may have cleaned up in between.
    let _ = TaskTable::unlink_if_homeless(&name).unwrap();
    assert!(!table.is_linked());
}

#[test]
fn who_takes_part_after_the_table_was_removed_is_seen_in_its_successor() {
    let home = Home::new();
    let early = home.table();
    TaskTable::remove(home.0.path()).unwrap();
    let slot = early.acquire(7, run(), 1).unwrap();
    let reader = TaskTable::open(home.0.path()).unwrap().unwrap();
    assert_eq!(reader.snapshot().unwrap()[0].task_id, 7);
    drop(slot);
    TaskTable::remove(home.0.path()).unwrap();
    let guard = reader.become_controller().unwrap();
    assert!(guard.table().is_linked() && !reader.is_linked());
    assert_eq!(TaskTable::remove(home.0.path()).unwrap_err().kind, Kind::Locked);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever stands in the table, reading ends, without a panic, and an owner can start anew.
    #[test]
    fn any_damage_is_reported_or_harmless(
        bends in prop::collection::vec((HEADER_BYTES..TABLE_BYTES / 60, any::<u8>()), 1..200),
    ) {
        let home = Home::new();
        let table = home.table();
        drop(table.acquire(1, run(), 1).unwrap());
        let file = home.raw();
        for (at, byte) in bends {
            file.write_at(&[byte], at as u64).unwrap();
        }
        let views = table.snapshot().unwrap();
        serde_json::to_string(&views).unwrap();
        let _ = table.params(0).unwrap();
        let _ = (table.controller().unwrap(), table.requests().unwrap());
        let slot = table.acquire(1, run(), 1).unwrap();
        slot.begin_table("orders");
        let view = table.snapshot().unwrap().into_iter().find(|v| v.slot == slot.index()).unwrap();
        prop_assert_eq!(view.table, "orders");
        prop_assert_eq!(view.damage, None);
    }
}
