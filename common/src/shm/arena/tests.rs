use std::fs::File;
use std::os::unix::fs::FileExt;

use super::*;

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn texts() -> Vec<(u32, Vec<u8>)> {
    let long = "SELECT 1; ".repeat(10_000).into_bytes();
    vec![(7, b"{\"id\":7}".to_vec()), (3, Vec::new()), (900, long), (8, b"odd length".to_vec())]
}

fn file(arena: &Arena) -> File {
    let path = format!("/dev/shm{}", arena.segment.name());
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn every_task_is_read_as_it_was_published() {
    let home = home();
    assert!(Arena::newest(home.path()).unwrap().is_none());
    let owner = Arena::publish(home.path(), &texts()).unwrap();
    let reader = Arena::open(home.path(), owner.generation()).unwrap();
    for (task, text) in texts() {
        assert_eq!(reader.read(task).unwrap().unwrap(), text, "task {task}");
        assert_eq!(reader.digest(task), owner.digest(task));
        assert_eq!(reader.digest(task).unwrap(), <Digest>::from(Sha256::digest(&text)));
    }
    assert_eq!(reader.read(1).unwrap(), None);
    assert_eq!(reader.tasks().collect::<Vec<_>>(), [7, 3, 900, 8]);
    // No larger than it has to be.
    let text: usize = texts().iter().map(|(_, t)| t.len().next_multiple_of(8)).sum();
    assert_eq!(reader.bytes(), 128 + 64 + 4 * 64 + text);
}

#[test]
fn a_new_generation_is_the_newest_and_disturbs_nobody_who_reads_the_old_one() {
    let home = home();
    let old = Arena::publish(home.path(), &texts()).unwrap();
    let reader = Arena::open(home.path(), old.generation()).unwrap();
    let new = Arena::publish(home.path(), &[(7, b"new".to_vec())]).unwrap();
    assert!(new.generation() > old.generation());
    let newest = Arena::newest(home.path()).unwrap().unwrap();
    assert_eq!(newest.generation(), new.generation());
    assert_eq!(newest.read(7).unwrap().unwrap(), b"new");
    let generation = old.generation();
    Arena::open(home.path(), generation).unwrap();
    drop(old);
    let e = Arena::open(home.path(), generation).unwrap_err();
    assert!(e.message.contains("gone"), "{e:?}");
    assert!(!reader.is_linked());
    assert_eq!(reader.read(7).unwrap().unwrap(), b"{\"id\":7}");
    drop(new);
    assert!(Arena::newest(home.path()).unwrap().is_none());
}

#[test]
fn one_that_is_not_ready_is_passed_over() {
    let home = home();
    let ready = Arena::publish(home.path(), &texts()).unwrap();
    let name = name(home.path(), ready.generation() + 1).unwrap();
    let _unready = Segment::create(&name, LAYOUT, 4096, |_| {
        let newest = Arena::newest(home.path()).unwrap().unwrap();
        assert_eq!(newest.generation(), ready.generation());
        Ok(())
    });
}

/// Whatever bit of it changes, nobody is given anything but what was published, or the padding
/// behind it.
#[test]
fn every_changed_byte_is_noticed() {
    let home = home();
    let texts = [(1, b"first".to_vec()), (2, b"second text".to_vec())];
    let owner = Arena::publish(home.path(), &texts).unwrap();
    let file = file(&owner);
    let read_all = || -> Result<()> {
        let arena = Arena::open(home.path(), owner.generation())?;
        for (task, text) in &texts {
            let read = arena.read(*task)?;
            assert_eq!(read.as_ref(), Some(text));
        }
        Ok(())
    };
    read_all().unwrap();
    let used = |at: usize| match at {
        // Magic number, version, kind, size; then who made it, which decides nothing.
        ..24 => true,
        24..HEADER_BYTES => false,
        _ => {
            let (header, entry) = (at - HEADER_BYTES, at.saturating_sub(ENTRIES_AT) % 64);
            match at {
                ..ENTRIES_AT => header < 48,
                _ if at < ENTRIES_AT + 128 => !(4..8).contains(&entry) && entry < 48,
                _ => owner.places.iter().any(|p| p.bytes.contains(&at)),
            }
        }
    };
    for at in 0..owner.bytes() {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at as u64).unwrap();
        let read = read_all();
        assert_eq!(read.is_err(), used(at), "byte {at}: {read:?}");
        file.write_all_at(&byte, at as u64).unwrap();
    }
    read_all().unwrap();
}

#[test]
fn what_has_no_room_is_refused_with_what_to_do() {
    let home = home();
    let fs = nix::sys::statvfs::statvfs("/dev/shm").unwrap();
    let free = (fs.blocks_available() * fs.fragment_size()) as usize;
    // Lengths alone: a text of that size would itself need the memory.
    let (_, bytes) = lay_out([(1, free as u64 + (64 << 20), [0; 32])].into_iter()).unwrap();
    assert!(bytes > free);
    let name = name(home.path(), 1).unwrap();
    let e = Segment::create(&name, LAYOUT, bytes, |_| Ok(())).map_err(no_room).unwrap_err();
    assert_eq!(e.kind, Kind::Full);
    assert!(e.message.starts_with("the parameters of the tasks: "), "{e:?}");
    assert!(e.hint.as_ref().unwrap().contains("ssync reload"), "{e:?}");
    assert!(lay_out([(1, u64::MAX, [0; 32])].into_iter()).is_none());
}
