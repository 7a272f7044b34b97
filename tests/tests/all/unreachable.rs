//! A side that is down: a run and a check end alike, whatever the database is.

use std::path::Path;

use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

/// A port on which nothing listens.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Links `down` that lead nowhere, and the exit code that tells it. (A file that is not there is a wrong
/// path.)
fn nowhere(dir: &Path) -> Vec<(String, i32)> {
    let broken = dir.join("broken.db");
    std::fs::write(&broken, [b'x'; 4096]).unwrap();
    let file =
        |path: &Path| format!("[[link]]\nname = \"down\"\nurl = \"sqlite://{}\"\n", path.display());
    let password = "password = { env = \"SSYNC_TEST_PASSWORD\" }";
    let port = closed_port();
    let server = |url: &str| format!("[[link]]\nname = \"down\"\nurl = \"{url}\"\n{password}\n");
    vec![
        (server(&format!("mysql://app@127.0.0.1:{port}/shop")), 1),
        (server(&format!("oracle://app@127.0.0.1:{port}/shop")), 1),
        (file(&broken), 1),
        (file(&dir.join("none.db")), 2),
    ]
}

#[test]
fn a_side_that_is_down_is_the_same_exit_code_of_a_run_and_of_a_check() {
    let up = Site::on_server(mariadb(), "up");
    up.run(&["t", "u"].map(|t| format!("CREATE TABLE {t} (id BIGINT NOT NULL PRIMARY KEY)")));
    let dir = tempfile::tempdir().unwrap();
    for (down, code) in nowhere(dir.path()) {
        for (source, dest) in [("down", "up"), ("up", "down"), ("down", "down")] {
            let instance = Instance::new(&format!(
                "{down}{}[[task]]\nid = 1\nsource = \"{source}\"\ndest = \"{dest}\"\n\
                 retries = 0\n[[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"u\"\nmode = \"full\"\n",
                up.link("up")
            ));
            for args in [&["--task", "1"][..], &["check"], &["check", "--json"]] {
                let outcome = instance.run(args).expect(code);
                let said = format!("{}{}", outcome.stdout, outcome.stderr);
                assert!(said.contains("link down"), "{said}");
            }
        }
        // What is wrong with the definitions on the side that is up does not hide it.
        let instance = Instance::new(&format!(
            "{down}{}[[task]]\nid = 1\nsource = \"up\"\ndest = \"down\"\n[[task.table]]\n\
             name = \"t\"\nsource = \"none\"\ndest = \"u\"\nmode = \"full\"\n",
            up.link("up")
        ));
        instance.run(&["check"]).expect(code);
    }
    // Refused by definitions alone.
    let instance = Instance::new(&format!(
        "{}[[task]]\nid = 1\nsource = \"up\"\ndest = \"up\"\n[[task.table]]\nname = \"t\"\n\
         source = \"none\"\ndest = \"u\"\nmode = \"full\"\n",
        up.link("up")
    ));
    instance.run(&["--task", "1"]).expect(2);
    instance.run(&["check"]).expect(2);
}
