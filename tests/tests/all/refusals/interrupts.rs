//! Ctrl-C, once and twice.

use nix::sys::signal::Signal;
use ssync_tests::ssync::{Instance, program};
use ssync_tests::wait_for;

use super::{RUN, Tables};

#[test]
fn ctrl_c_once_lets_batches_in_flight_land_and_says_what_was_kept() {
    let tables = Tables::on_mariadb(200);
    let instance = Instance::new(&tables.toml("", ""));
    let mut run = instance.start(&["--task", "1"], "writer.before_commit@4=pause");
    run.reached("writer.before_commit").expect("the fourth batch");
    run.signal(Signal::SIGINT);
    // It must neither end nor give the batch up while a writer has it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!run.has_ended());
    instance.release("writer.before_commit");
    let outcome = run.wait().expect(130);
    assert!(outcome.stdout.contains("interrupted"), "{outcome}");
    assert!(outcome.stdout.contains("rows have landed and are kept"), "{outcome}");
    let landed = tables.landed();
    assert!((10..200).contains(&landed), "{landed} rows landed");
    assert_eq!(tables.states(), [(0, 200 - landed), (2, landed)]);
    assert_eq!(instance.leftovers(), Vec::<String>::new());
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn ctrl_c_twice_rolls_batches_in_flight_back() {
    let tables = Tables::on_mariadb(200);
    let instance = Instance::new(&tables.toml("", ""));
    let mut run = instance.start(&RUN, "writer.before_commit@4=pause");
    run.reached("writer.before_commit").expect("the fourth batch");
    run.signal(Signal::SIGINT);
    // Two signals that come together are one.
    wait_for("the first signal", || instance.logs().contains(" received"));
    run.signal(Signal::SIGINT);
    // The paused writer is never released: it has to be killed.
    let outcome = run.wait().expect(130);
    let landed = tables.landed();
    assert!(landed < 200, "{landed} rows landed");
    assert_eq!(
        tables.states(),
        [(0, 200 - landed), (2, landed)].into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>(),
        "{outcome}"
    );
    assert_eq!(instance.leftovers(), Vec::<String>::new());
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn a_run_goes_on_when_nobody_reads_what_it_prints() {
    let tables = Tables::on_mariadb(50);
    let instance = tables.instance();
    for args in [&["check"][..], &["--task", "1"], &["--task", "2"]] {
        let gone = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            std::process::Stdio::from(writer)
        };
        let mut command = std::process::Command::new(program());
        command.args(args).stdout(gone()).stderr(gone());
        let status = instance.in_environment(command).status().unwrap();
        assert_eq!(status.code(), Some(if args.contains(&"2") { 2 } else { 0 }), "{args:?}");
    }
    tables.assert_same();
}
