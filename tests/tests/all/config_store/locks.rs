//! Locks of sub-tasks: one run of a table at a time, and none for ever.

use ssync_tests::PATIENCE;

use super::*;

on_every_store!(
    a_table_is_locked_by_one_at_a_time_and_the_owner_is_named,
    many_who_want_a_lock_at_once_do_not_get_it_together,
    a_lock_lives_as_long_as_the_process_that_holds_its_file,
    an_owner_that_was_replaced_is_told_and_takes_nothing_back,
    a_lock_outlives_the_configuration_of_its_table,
);

pub(super) fn owner() -> Owner {
    Owner::own(RunId::random().unwrap()).unwrap()
}

/// The lock file of the only table that has been locked in this home.
fn lock_file(home: &Path) -> PathBuf {
    let files = std::fs::read_dir(home.join("run")).unwrap().map(|e| e.unwrap().path());
    let locks: Vec<_> = files.filter(|p| p.file_name().unwrap() != "migrate.lock").collect();
    assert_eq!(locks.len(), 1, "{locks:?}");
    locks[0].clone()
}

pub(super) fn configured(place: &Place) -> Store {
    let mut store = place.open();
    apply(&mut store, &config(CONFIG));
    store
}

#[track_caller]
fn refused(result: ssync_common::Result<TableLock>) -> Error {
    let error = result.expect_err("the lock was given");
    assert_eq!(error.kind, Kind::Locked, "{error:?}");
    error
}

fn a_table_is_locked_by_one_at_a_time_and_the_owner_is_named(place: &Place) {
    let (mut store, mut other) = (configured(place), place.open());
    let me = owner();
    let lock = store.lock_table(7, "orders", &me, 60).unwrap();
    assert!(lock.taken_over.is_none());
    let error = refused(other.lock_table(7, "orders", &owner(), 60));
    assert!(error.message.contains("table orders of task 7"), "{error}");
    let by = format!("pid {} on host {} since ", me.process.pid, me.process.host);
    assert!(error.details[0].contains(&by), "{error:?}");
    assert!(error.details[1].contains(&me.run.to_string()), "{error:?}");

    // Other tables are free.
    let log = other.lock_table(7, "log", &owner(), 60).unwrap();
    other.unlock_table(log).unwrap();
    let wide = other.lock_table(9, "客户", &owner(), 60).unwrap();
    other.unlock_table(wide).unwrap();

    assert_eq!(store.lock_holder(7, "orders").unwrap().unwrap().run, me.run);
    store.unlock_table(lock).unwrap();
    assert!(store.lock_holder(7, "orders").unwrap().is_none());
    let again = other.lock_table(7, "orders", &owner(), 60).unwrap();
    assert!(again.taken_over.is_none());
    let error = store.lock_table(7, "nosuch", &owner(), 60).err().unwrap();
    assert_eq!(error.kind, Kind::Config);
}

fn many_who_want_a_lock_at_once_do_not_get_it_together(place: &Place) {
    configured(place);
    let holders = std::sync::atomic::AtomicU32::new(0);
    let taken = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut store = place.open();
                let deadline = Instant::now() + PATIENCE;
                let mut mine = 0;
                while mine < 5 {
                    assert!(Instant::now() < deadline, "nobody gives the lock back");
                    let Ok(lock) = store.lock_table(7, "orders", &owner(), 60) else {
                        std::thread::yield_now();
                        continue;
                    };
                    let others = holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    assert_eq!(others, 0);
                    store.renew_lock(&lock, 60).unwrap();
                    holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    store.unlock_table(lock).unwrap();
                    taken.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    mine += 1;
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 20);
}

fn a_lock_lives_as_long_as_the_process_that_holds_its_file(place: &Place) {
    let mut store = configured(place);
    let dead = owner();
    // As a crash leaves it: the row says locked, nobody holds the file.
    drop(store.lock_table(7, "orders", &dead, 3600).unwrap());
    let file = lock_file(&place.home());
    let mut holder = Command::new("flock")
        .args([
            "--exclusive",
            "--nonblock",
            file.to_str().unwrap(),
            "sh",
            "-c",
            "echo held; exec sleep 600",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs `flock` (Debian: util-linux)");
    let mut said = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();

    let error = refused(store.lock_table(7, "orders", &owner(), 60));
    assert!(error.details[0].contains(&format!("pid {}", dead.process.pid)), "{error:?}");
    // Children inherit the file from `flock`: all of them have to go.
    let group = holder.id().to_string();
    let children = Command::new("pkill").args(["-9", "-P", &group]).status().unwrap();
    assert!(children.success());
    holder.wait().unwrap();

    let lock = store.lock_table(7, "orders", &owner(), 60).unwrap();
    assert_eq!(lock.taken_over.as_ref().unwrap().run, dead.run);
    store.renew_lock(&lock, 60).unwrap();
    store.unlock_table(lock).unwrap();
    let lock = store.lock_table(7, "orders", &owner(), 60).unwrap();
    assert!(lock.taken_over.is_none());
}

fn an_owner_that_was_replaced_is_told_and_takes_nothing_back(place: &Place) {
    let (mut store, mut other) = (configured(place), place.open());
    let old = store.lock_table(7, "orders", &owner(), 60).unwrap();
    // Somebody who does not see our file, after our lease.
    place.sql("UPDATE task_detail SET lock_token = 'another' WHERE table_name = 'orders'");
    let error = store.renew_lock(&old, 60).err().unwrap();
    assert_eq!(error.kind, Kind::Fenced);
    store.unlock_table(old).unwrap();
    let rows = place.sql("SELECT lock_token FROM task_detail WHERE table_name = 'orders'");
    assert_eq!(rows[0][0].as_str(), Some("another"));
    // And its own file is free again.
    let lock = other.lock_table(7, "orders", &owner(), 60);
    assert!(lock.is_ok(), "{:?}", lock.err());
}

#[test]
fn owners_of_other_homes_count_by_process_or_lease() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Server(dir, mariadb().database("other_homes"));
    let (mut store, elsewhere) = (configured(&place), tempfile::tempdir().unwrap());
    let mut other = Store::open(&place.location_at(&elsewhere.path().join("home"))).unwrap();
    assert_eq!(store.instance_id(), other.instance_id());
    let take_and_crash = |store: &mut Store, owner: &Owner, lease| {
        drop(store.lock_table(7, "orders", owner, lease).unwrap());
    };

    // A living process of this host, seen from a home that does not have its lock file.
    take_and_crash(&mut store, &owner(), 3600);
    refused(other.lock_table(7, "orders", &owner(), 60));
    // A dead one: taken over at once.
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id();
    let start_ticks = ssync_common::process::identity::start_ticks(pid).unwrap().unwrap();
    let process = ProcessIdentity { pid, start_ticks, ..owner().process };
    let of_child = Owner { process, run: RunId::random().unwrap() };
    take_and_crash(&mut store, &of_child, 3600);
    refused(other.lock_table(7, "orders", &owner(), 60));
    child.kill().unwrap();
    child.wait().unwrap();
    let lock = other.lock_table(7, "orders", &owner(), 60).unwrap();
    assert_eq!(lock.taken_over.as_ref().unwrap().run, of_child.run);
    other.unlock_table(lock).unwrap();

    // Another host, even one of the same name: only its lease counts, by the database's clock.
    for host in ["elsewhere".to_owned(), owner().process.host] {
        let process = ProcessIdentity { boot_id: "another".into(), host, ..owner().process };
        let stranger = Owner { process, run: RunId::random().unwrap() };
        take_and_crash(&mut store, &stranger, 2);
        let asked = Instant::now();
        refused(other.lock_table(7, "orders", &owner(), 60));
        // Its own home sees that nobody holds the file, but not whether it was copied.
        refused(store.lock_table(7, "orders", &owner(), 60));
        let lock = loop {
            match other.lock_table(7, "orders", &owner(), 60) {
                Ok(lock) => break lock,
                Err(e) => assert_eq!(e.kind, Kind::Locked, "{e:?}"),
            }
            assert!(asked.elapsed() < PATIENCE, "the lease does not end");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(lock.taken_over.as_ref().unwrap().run, stranger.run);
        other.unlock_table(lock).unwrap();
    }
    // Renewal moves the end of the lease.
    let process = ProcessIdentity { boot_id: "another".into(), ..owner().process };
    let stranger = Owner { process, run: RunId::random().unwrap() };
    let lock = store.lock_table(7, "orders", &stranger, 1).unwrap();
    let before = store.lock_holder(7, "orders").unwrap().unwrap().lease_until_secs;
    store.renew_lock(&lock, 1000).unwrap();
    assert!(store.lock_holder(7, "orders").unwrap().unwrap().lease_until_secs >= before + 900);
}

#[test]
fn with_the_embedded_database_a_reboot_does_not_keep_tables_locked() {
    let place = Place::Embedded(tempfile::tempdir().unwrap());
    let mut store = configured(&place);
    let process = ProcessIdentity { boot_id: "before".into(), ..owner().process };
    let before = Owner { process, run: RunId::random().unwrap() };
    drop(store.lock_table(7, "orders", &before, 3600).unwrap());
    let lock = store.lock_table(7, "orders", &owner(), 60).unwrap();
    assert_eq!(lock.taken_over.as_ref().unwrap().run, before.run);
}

fn a_lock_outlives_the_configuration_of_its_table(place: &Place) {
    let (mut store, mut other) = (configured(place), place.open());
    let lock = store.lock_table(7, "orders", &owner(), 60).unwrap();
    apply(&mut other, &Config::default());
    assert_eq!(other.load().unwrap(), Config::default());
    // Configured again, the table is still locked.
    apply(&mut other, &config(CONFIG));
    assert_eq!(other.load().unwrap(), config(CONFIG));
    assert!(other.lock_holder(7, "orders").unwrap().is_some());
    refused(other.lock_table(7, "orders", &owner(), 60));
    store.renew_lock(&lock, 60).unwrap();
    // Removed while locked, it goes with the lock.
    apply(&mut other, &Config::default());
    store.renew_lock(&lock, 60).unwrap();
    store.unlock_table(lock).unwrap();
    assert_eq!(place.sql("SELECT table_name FROM task_detail").len(), 0);
}

// --- Records -------------------------------------------------------------------------------------
