use super::*;
use crate::shm::test_name;
use std::os::unix::fs::PermissionsExt;

const LAYOUT: Layout = Layout { kind: 77, version: 3, name: "test segment", persistent: false };

fn create(name: &str, bytes: usize) -> Segment {
    Segment::create(name, LAYOUT, bytes, |_| Ok(())).unwrap()
}

#[test]
fn what_one_side_stores_the_other_loads_until_the_owner_drops_it() {
    let name = test_name("shared");
    let owner = create(&name, 4096);
    let other = Segment::open(&name, LAYOUT).unwrap().unwrap();
    owner.at::<AtomicU64>(256).unwrap().store(42, Ordering::Relaxed);
    assert_eq!(other.at::<AtomicU64>(256).unwrap().load(Ordering::Relaxed), 42);
    let mode = std::fs::metadata(path_of(&name)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(other.is_linked());
    drop(owner);
    assert!(!other.is_linked());
    assert!(Segment::open(&name, LAYOUT).unwrap().is_none());
    // The mapping outlives its name.
    assert_eq!(other.at::<AtomicU64>(256).unwrap().load(Ordering::Relaxed), 42);
}

#[test]
fn all_memory_is_there_before_it_is_touched() {
    let name = test_name("allocated");
    let _owner = create(&name, 1 << 20);
    let meta = std::fs::metadata(path_of(&name)).unwrap();
    assert!(meta.blocks() * 512 >= 1 << 20, "{} blocks", meta.blocks());
}

#[test]
fn more_than_there_is_room_for_is_refused_with_figures_and_leaves_nothing_behind() {
    let name = test_name("huge");
    let fs = nix::sys::statvfs::statvfs(SHM_DIR).unwrap();
    let bytes = (fs.blocks_available() * fs.fragment_size()) as usize + (64 << 20);
    let e = Segment::create(&name, LAYOUT, bytes, |_| Ok(())).unwrap_err();
    assert_eq!(e.kind, Kind::Full, "{e:?}");
    assert!(e.message.contains(&bytes.to_string()), "{e:?}");
    assert!(e.details.iter().any(|d| d.contains("bytes free")), "{e:?}");
    assert!(e.hint.is_some());
    assert!(!path_of(&name).exists());
}

#[test]
fn a_failed_initialisation_leaves_nothing_behind() {
    let name = test_name("failed");
    let e = Segment::create(&name, LAYOUT, 4096, |_| Err(Error::new(Kind::Internal, "no")));
    assert_eq!(e.unwrap_err().message, "no");
    assert!(!path_of(&name).exists());
}

#[test]
fn another_layout_is_refused_naming_both_versions() {
    let name = test_name("version");
    let _owner = create(&name, 4096);
    let newer = Layout { version: 4, ..LAYOUT };
    let e = Segment::open(&name, newer).unwrap_err();
    assert!(e.message.contains("version 3") && e.message.contains("version 4"), "{e:?}");
    let other = Layout { kind: 78, ..LAYOUT };
    assert!(Segment::open(&name, other).is_err());
    assert!(Segment::create(&name, LAYOUT, 4096, |_| Ok(())).is_err(), "the name is taken");
}

#[test]
fn a_segment_of_another_size_or_without_its_version_word_is_refused() {
    let name = test_name("size");
    let owner = create(&name, 8192);
    let file = File::options().write(true).open(path_of(&name)).unwrap();
    file.set_len(12288).unwrap();
    let e = Segment::open(&name, LAYOUT).unwrap_err();
    assert!(e.message.contains("8192") && e.message.contains("12288"), "{e:?}");
    file.set_len(8192).unwrap();
    Segment::open(&name, LAYOUT).unwrap().unwrap();
    owner.header().unwrap().version.store(0, Ordering::Relaxed);
    let e = Segment::open(&name, LAYOUT).unwrap_err();
    assert!(e.message.contains("not ready"), "{e:?}");
    for bytes in [0, 1, HEADER_BYTES as u64 - 1] {
        file.set_len(bytes).unwrap();
        assert!(Segment::open(&name, LAYOUT).is_err(), "{bytes} bytes");
    }
}

#[test]
fn nothing_outside_the_body_can_be_reached() {
    let segment = create(&test_name("bounds"), 4096);
    for offset in [0, HEADER_BYTES - 8, 4096 - 7, 4096, usize::MAX - 3, 129] {
        assert!(segment.at::<AtomicU64>(offset).is_err(), "{offset}");
    }
    segment.at::<AtomicU64>(4096 - 8).unwrap();
    assert!(segment.slice_at::<AtomicU64>(HEADER_BYTES, usize::MAX / 4).is_err());
    assert!(segment.slice_at::<AtomicU8>(HEADER_BYTES, 4096 - HEADER_BYTES + 1).is_err());
    assert!(segment.bytes_at(4096, 1).is_err());
    segment.bytes_at(4096, 0).unwrap();
}

#[test]
fn only_segments_without_a_living_owner_are_cleaned_away() {
    let prefix = test_name("clean");
    let alive = create(&format!("{prefix}-alive"), 4096);
    let dead = create(&format!("{prefix}-dead"), 4096);
    let unpublished = create(&format!("{prefix}-unpublished"), 4096);
    unpublished.header().unwrap().version.store(0, Ordering::Relaxed);
    let lasting = Layout { persistent: true, ..LAYOUT };
    drop(Segment::create(&format!("{prefix}-lasting"), lasting, 4096, |_| Ok(())).unwrap());
    // What is left of an owner that was killed: the name, without the lock.
    for gone in [dead, unpublished] {
        let mut gone = gone;
        gone.disown();
    }
    let names = Segment::names(&prefix).unwrap();
    assert_eq!(names.len(), 4);
    let removed: Vec<_> =
        names.iter().filter(|n| Segment::unlink_if_ownerless(n).unwrap()).collect();
    assert_eq!(removed, [&format!("{prefix}-dead"), &format!("{prefix}-unpublished")]);
    assert!(alive.is_linked());
    assert_eq!(Segment::names(&prefix).unwrap().len(), 2);
    assert!(!Segment::unlink_if_ownerless(removed[0]).unwrap(), "it is gone");
    Segment::unlink(&format!("{prefix}-lasting")).unwrap();
}

#[test]
fn memory_without_a_name_is_shared_by_its_descriptor_and_ends_with_its_last_holder() {
    let owner = Segment::nameless("ssync-test", LAYOUT, 4096, |_| Ok(())).unwrap();
    let fd = owner.descriptor().unwrap().try_clone_to_owned().unwrap();
    let file = File::from(fd.try_clone().unwrap());
    let meta = file.metadata().unwrap();
    assert_eq!((meta.nlink(), meta.len()), (0, 4096), "no directory knows it");
    assert!(meta.blocks() * 512 >= 4096);
    let other = Segment::from_descriptor(fd, LAYOUT).unwrap();
    owner.at::<AtomicU64>(256).unwrap().store(42, Ordering::Relaxed);
    assert_eq!(other.at::<AtomicU64>(256).unwrap().load(Ordering::Relaxed), 42);
    // Nobody who has it can pull it away from under the others.
    for bytes in [0, 2048, 8192] {
        assert!(file.set_len(bytes).is_err(), "{bytes}");
    }
    drop(owner);
    assert_eq!(other.at::<AtomicU64>(256).unwrap().load(Ordering::Relaxed), 42);
    assert!(create(&test_name("named"), 4096).descriptor().is_err());
}

#[test]
fn a_descriptor_of_anything_else_is_refused() {
    let owner = Segment::nameless("ssync-test", LAYOUT, 4096, |_| Ok(())).unwrap();
    let newer = Layout { version: 4, ..LAYOUT };
    let fd = || owner.descriptor().unwrap().try_clone_to_owned().unwrap();
    let e = Segment::from_descriptor(fd(), newer).unwrap_err();
    assert!(e.message.contains("version 3") && e.message.contains("version 4"), "{e:?}");
    owner.header().unwrap().version.store(0, Ordering::Relaxed);
    assert!(Segment::from_descriptor(fd(), LAYOUT).unwrap_err().message.contains("not ready"));
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    let e = Segment::from_descriptor(file.into(), LAYOUT).unwrap_err();
    assert!(e.message.contains("not the shared memory"), "{e:?}");
    let named = create(&test_name("unsealed"), 4096);
    let file = File::options().read(true).write(true).open(path_of(named.name())).unwrap();
    assert!(Segment::from_descriptor(file.into(), LAYOUT).is_err());
}

#[test]
fn more_memory_than_there_is_is_refused_before_any_is_taken() {
    let e = Segment::nameless("ssync-test", LAYOUT, 1 << 45, |_| Ok(())).unwrap_err();
    assert_eq!(e.kind, Kind::Full, "{e:?}");
    assert!(e.message.contains(&(1u64 << 45).to_string()), "{e:?}");
    assert!(e.details.iter().any(|d| d.contains("available")), "{e:?}");
    assert!(e.hint.unwrap().contains("slot_bytes"));
}
