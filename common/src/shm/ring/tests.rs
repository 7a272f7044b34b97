use super::*;
use proptest::prelude::*;

fn ring() -> (Ring, Ring) {
    let worker = Ring::create(2, 10_000, 3).unwrap();
    let writer = handed_over(&worker).unwrap();
    (worker, writer)
}

/// As another process gets it.
fn handed_over(ring: &Ring) -> Result<Ring> {
    Ring::receive(Some(descriptor(ring)))
}

fn descriptor(ring: &Ring) -> OwnedFd {
    ring.descriptor().unwrap().try_clone_to_owned().unwrap()
}

fn put(ring: &Ring, slot: usize, text: &[u8]) -> u64 {
    ring.fill(slot, |buffer| {
        buffer[..text.len()].copy_from_slice(text);
        Ok(text.len())
    })
    .unwrap()
}

fn dead() -> Exit {
    Exit::for_test(ProcessToken::own().unwrap())
}

#[test]
fn a_batch_goes_over_in_place_and_its_verdict_comes_back() {
    let (worker, writer) = ring();
    let first = put(&worker, 1, b"batch one");
    let buffer = writer.buffer(1, first).unwrap();
    assert_eq!(buffer.as_slice(), b"batch one");
    assert_eq!(buffer.as_ptr() as usize % 64, 0);
    let inside = writer.0.segment.bytes_at(writer.0.geometry.data(1), 1).unwrap();
    assert_eq!(buffer.as_ptr(), inside.as_ptr().cast_const(), "not copied");
    assert!(worker.verdict(1, first).is_err());
    drop(buffer);
    writer.put_verdict(1, first, b"landed").unwrap();
    assert_eq!(worker.verdict(1, first).unwrap(), b"landed");
    let second = put(&worker, 1, b"2");
    assert!(second > first);
    assert!(worker.verdict(1, second).is_err());
    assert!(writer.buffer(1, first).is_err(), "an old generation is gone");
}

#[test]
fn a_slot_is_not_filled_while_anything_cut_from_its_buffer_lives() {
    let (worker, writer) = ring();
    let generation = put(&worker, 0, b"0123456789");
    assert!(worker.fill(0, |_| Ok(0)).is_err(), "full, not yet taken");
    let slice = writer.buffer(0, generation).unwrap().slice(3);
    let second = writer.buffer(0, generation).unwrap();
    assert!(writer.put_verdict(0, generation, b"too early").is_err());
    drop(second);
    assert!(writer.put_verdict(0, generation, b"too early").is_err());
    assert!(worker.fill(0, |_| Ok(0)).is_err());
    assert!(worker.requeue(0, generation).is_err());
    assert!(worker.discard(0, generation).is_err());
    assert_eq!(slice.as_slice(), b"3456789");
    drop(slice);
    writer.put_verdict(0, generation, b"now").unwrap();
    put(&worker, 0, b"next");
}

#[test]
fn the_mapping_outlives_both_rings_while_a_buffer_lives() {
    let (worker, writer) = ring();
    let generation = put(&worker, 0, b"still here");
    let buffer = writer.buffer(0, generation).unwrap();
    drop((worker, writer));
    assert_eq!(buffer.as_slice(), b"still here");
}

#[test]
fn a_failed_or_panicked_fill_frees_the_slot() {
    let (worker, _writer) = ring();
    let e = worker.fill(0, |_| Err(Error::new(Kind::Full, "does not fit"))).unwrap_err();
    assert_eq!(e.kind, Kind::Full);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        worker.fill(0, |_| panic!("in the midst"))
    }));
    assert!(panicked.is_err());
    assert!(worker.fill(0, |buffer| Ok(buffer.len() + 1)).is_err());
    put(&worker, 0, b"good");
}

#[test]
fn only_the_death_of_its_holder_gives_a_slot_back() {
    let (worker, writer) = ring();
    let generation = put(&worker, 0, b"batch");
    // As a killed writer leaves it: taken, never let go.
    std::mem::forget(writer.buffer(0, generation).unwrap());
    let stranger = Exit::for_test(ProcessToken::new(1, 1));
    assert!(worker.reclaim(0, generation, &stranger).is_err());
    assert!(worker.reclaim(0, generation + 1, &dead()).is_err());
    assert!(worker.reclaim(0, generation, &dead()).unwrap());
    let again = worker.requeue(0, generation).unwrap();
    let buffer = writer.buffer(0, again).unwrap();
    assert_eq!(buffer.as_slice(), b"batch", "content is intact");
    drop(buffer);
    writer.put_verdict(0, again, b"landed").unwrap();
    assert!(!worker.reclaim(0, again, &dead()).unwrap(), "it answered before it died");
    assert_eq!(worker.verdict(0, again).unwrap(), b"landed");
}

#[test]
fn an_answered_batch_can_go_once_more_and_an_untaken_one_be_discarded() {
    let (worker, writer) = ring();
    let generation = put(&worker, 0, b"batch");
    writer.put_verdict(0, generation, b"contention").unwrap();
    let again = worker.requeue(0, generation).unwrap();
    assert!(writer.put_verdict(0, generation, b"late").is_err());
    assert!(worker.verdict(0, again).is_err());
    worker.discard(0, again).unwrap();
    assert!(writer.buffer(0, again).is_err());
    put(&worker, 0, b"next");
}

#[test]
fn verdicts_have_a_limit_and_slots_an_end() {
    let (worker, writer) = ring();
    let generation = put(&worker, 0, b"");
    assert_eq!(writer.buffer(0, generation).unwrap().len(), 0);
    let long = vec![7; VERDICT_BYTES + 1];
    assert_eq!(writer.put_verdict(0, generation, &long).unwrap_err().kind, Kind::Full);
    writer.put_verdict(0, generation, &long[1..]).unwrap();
    assert_eq!(worker.verdict(0, generation).unwrap(), &long[1..]);
    assert!(worker.fill(2, |_| Ok(0)).is_err());
    assert!(writer.buffer(2, 1).is_err());
    assert!(worker.writer(3).is_err());
}

#[test]
fn a_batch_wider_than_a_slot_has_a_ring_of_its_own() {
    let (worker, _) = ring();
    let side = worker.side(1 << 20).unwrap();
    let generation = side
        .fill(0, |b| {
            b.fill(9);
            Ok(b.len())
        })
        .unwrap();
    let seen = handed_over(&side).unwrap();
    let buffer = seen.buffer(0, generation).unwrap();
    drop((side, seen));
    assert!(buffer.iter().all(|b| *b == 9) && buffer.len() == 1 << 20);
}

#[test]
fn a_writer_s_entry_is_seen_by_the_task_process() {
    use crate::shm::waiting::{Waiting, WriterState};
    let (worker, writer) = ring();
    let entry = writer.writer(2).unwrap();
    entry.start(4711);
    entry.state(WriterState::Busy);
    entry.wait(Waiting::Destination);
    entry.landed(10, 2000);
    let view = worker.writer(2).unwrap().view();
    assert_eq!((view.pid, view.rows, view.bytes, view.batches), (4711, 10, 2000, 1));
    assert_eq!(view.state, WriterState::Busy);
    assert_eq!(view.wait.waiting_for, Waiting::Destination);
    assert!(view.wait.since_ms > 0 && view.heartbeat_ms >= view.wait.since_ms);
}

#[test]
fn threads_that_race_for_one_slot_never_share_it() {
    let worker = Ring::create(1, 4096, 0).unwrap();
    let writer = handed_over(&worker).unwrap();
    let (sent, received) = crossbeam_channel::unbounded();
    std::thread::scope(|s| {
        for n in 0..3u8 {
            let (worker, sent) = (worker.clone(), sent.clone());
            s.spawn(move || {
                let mut filled = 0;
                while filled < 200 {
                    let done = worker.fill(0, |b| {
                        b.fill(n);
                        Ok(b.len())
                    });
                    if let Ok(generation) = done {
                        sent.send(generation).unwrap();
                        filled += 1;
                    }
                }
            });
        }
        drop(sent);
        for generation in received {
            let buffer = writer.buffer(0, generation).unwrap();
            assert!(buffer.iter().all(|b| *b == buffer[0]));
            drop(buffer);
            writer.put_verdict(0, generation, b"").unwrap();
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever stands in front of the data, both sides answer with a value or an error, and
    /// what they give out lies in the slot.
    #[test]
    fn any_damage_is_an_error_or_harmless(
        bends in prop::collection::vec((0usize..2000, any::<u8>()), 1..20),
        slot in 0usize..4,
        generation in 0u64..4,
    ) {
        let (worker, writer) = ring();
        let first = put(&worker, 0, b"batch");
        let file = std::fs::File::from(descriptor(&worker));
        for (at, byte) in bends {
            std::os::unix::fs::FileExt::write_at(&file, &[byte], at as u64).unwrap();
        }
        for g in [generation, first] {
            if let Ok(buffer) = writer.buffer(slot, g) {
                prop_assert!(buffer.len() <= writer.slot_bytes());
                let sum: u64 = buffer.iter().map(|b| u64::from(*b)).sum();
                std::hint::black_box(sum);
            }
            let _ = writer.put_verdict(slot, g, b"verdict");
            if let Ok(verdict) = worker.verdict(slot, g) {
                prop_assert!(verdict.len() <= VERDICT_BYTES);
            }
            let _ = worker.reclaim(slot, g, &dead());
            let _ = worker.requeue(slot, g);
            let _ = worker.discard(slot, g);
            let _ = worker.fill(slot, |b| Ok(b.len().min(3)));
        }
        let _ = handed_over(&worker).map(|r| r.writer(0).map(|w| w.view()));
    }
}
