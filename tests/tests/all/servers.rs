//! The test servers themselves.

use ssync_tests::servers::{Server, Software, mariadb, mysql56};

#[test]
fn both_servers_run_and_take_the_password() {
    let db = mariadb().database("servers");
    assert!(db.value("SELECT VERSION()").contains("MariaDB"));
    let db = mysql56().database("servers");
    assert_eq!(db.value("SELECT VERSION()"), "5.6.24");
}

#[test]
fn a_killed_server_comes_back_with_its_data_and_leaves_nothing() {
    let mut server = Server::start(Software::MariaDb, &[]);
    let dir = server.dir().to_owned();
    {
        let db = server.database("kept");
        db.run(&["CREATE TABLE t (a int)", "INSERT INTO t VALUES (7)"]);
        std::mem::forget(db);
    }
    let old = server.pid();
    server.kill9();
    assert!(!std::path::Path::new(&format!("/proc/{old}")).exists());
    server.restart();
    assert_ne!(server.pid(), old);
    let mut conn = server.connect();
    let name: String = mysql::prelude::Queryable::query_first(
        &mut conn,
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'kept%'",
    )
    .unwrap()
    .unwrap();
    let value: i32 =
        mysql::prelude::Queryable::query_first(&mut conn, format!("SELECT a FROM `{name}`.t"))
            .unwrap()
            .unwrap();
    assert_eq!(value, 7);
    drop(server);
    assert!(!dir.exists());
}
