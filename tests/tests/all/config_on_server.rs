//! Every command with its configuration database on a server.

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{PASSWORD, mariadb};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

#[test]
fn a_task_lives_its_life_with_its_configuration_on_a_server() {
    let database = mariadb().database("config_on_server");
    a_task_lives_its_life(&database.url(), PASSWORD);
}

#[test]
fn a_task_lives_its_life_with_its_configuration_on_oracle() {
    for generation in Generation::ALL {
        let account = oracle(generation).account("config");
        a_task_lives_its_life(&account.url(), account.password());
    }
}

fn a_task_lives_its_life(url: &str, password: &str) {
    let mut instance = Instance::new("");
    instance.set_env("SSYNC_CONFIG_DB", url);
    instance.set_env("SSYNC_CONFIG_DB_PASSWORD", password);
    let source = Site::in_file(instance.scratch(), "source");
    let dest = Site::in_file(instance.scratch(), "dest");
    source.run(&[
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT, sync_status INTEGER NOT NULL DEFAULT 0)",
        "INSERT INTO orders (id, v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < 1000) SELECT i, CASE i WHEN 500 THEN 'too long' ELSE 'fits' END FROM n",
    ]);
    dest.run(&["CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT CHECK (length(v) < 6))"]);
    let file = instance.scratch().join("config.toml");
    let config = format!(
        "{}{}[[task]]\nid = 1\nname = \"对账\"\nsource = \"src\"\ndest = \"dst\"\n\
         writers = 2\nbatch_rows = 100\nerror_limit = 5\n[[task.table]]\nname = \"orders\"\n\
         source = \"orders\"\ndest = \"orders\"\napp_resets_status = true\n",
        source.link("src"),
        dest.link("dst")
    );
    std::fs::write(&file, config).unwrap();
    let ok = |args: &[&str]| instance.run(args).expect(0);
    ok(&["apply", file.to_str().unwrap()]);
    ok(&["check", "对账"]);

    // One row cannot land.
    let run = instance.run(&["--task", "1", "--json"]).expect(1);
    assert_eq!((run.count("orders", "landed"), run.count("orders", "failed")), (999, 1));
    let text = |args: &[&str]| ok(args).stdout;
    assert!(text(&["history", "对账"]).contains("1 (对账)  orders"));
    assert!(!text(&["history", "--failed"]).contains("orders"));
    let brief = text(&["brief"]);
    assert!(brief.contains("1 run of 1 table (1 task): 999 rows"), "{brief}");
    assert!(text(&["errors"]).contains("id=500"));
    assert!(text(&["status"]).contains("orders"));
    assert!(text(&["link", "usage"]).contains("dst"));

    // Held, it does not run; resumed, it does.
    ok(&["pause", "对账", "orders"]);
    let held = instance.run(&["--task", "1"]).expect(130);
    assert!(held.stderr.contains("orders is left out"), "{held}");
    ok(&["resume", "1", "orders"]);

    source.run(&["UPDATE orders SET v = 'short' WHERE id = 500"]);
    ok(&["retry", "--task", "1"]);
    assert_eq!(dest.number("SELECT COUNT(*) FROM orders"), 1000);
    assert_eq!(source.number("SELECT COUNT(*) FROM orders WHERE sync_status = 2"), 1000);
    assert!(!text(&["errors"]).contains("id=500"));
    assert!(text(&["export"]).contains("name = \"对账\""));
    // Nothing went into the file that is used otherwise.
    assert_eq!(instance.store().load().unwrap().tasks.len(), 0);
}
