//! A side that is down: a run and a check end alike, whatever the database is.

use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

/// A port on which nothing listens.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Links `down` that lead nowhere.
fn nowhere() -> Vec<String> {
    let password = "password = { env = \"SSYNC_TEST_PASSWORD\" }";
    let port = closed_port();
    vec![
        format!(
            "[[link]]\nname = \"down\"\nurl = \"mysql://app@127.0.0.1:{port}/shop\"\n{password}\n"
        ),
        format!(
            "[[link]]\nname = \"down\"\nurl = \"oracle://app@127.0.0.1:{port}/shop\"\n{password}\n"
        ),
        "[[link]]\nname = \"down\"\nurl = \"sqlite:///nowhere/at/all.db\"\n".to_owned(),
    ]
}

#[test]
fn a_side_that_is_down_is_exit_code_1_of_a_run_and_of_a_check() {
    let up = Site::on_server(mariadb(), "up");
    up.run(&["t", "u"].map(|t| format!("CREATE TABLE {t} (id BIGINT NOT NULL PRIMARY KEY)")));
    for down in nowhere() {
        for (source, dest) in [("down", "up"), ("up", "down"), ("down", "down")] {
            let instance = Instance::new(&format!(
                "{down}{}[[task]]\nid = 1\nsource = \"{source}\"\ndest = \"{dest}\"\n\
                 [[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"u\"\nmode = \"full\"\n",
                up.link("up")
            ));
            for args in [&["--task", "1"][..], &["check"], &["check", "--json"]] {
                let outcome = instance.run(args).expect(1);
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
        instance.run(&["check"]).expect(1);
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
