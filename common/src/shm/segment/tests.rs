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
        gone.map.set_owner(false);
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
