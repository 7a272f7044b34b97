//! What may be wrong with a setup.

/// A side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Dest,
}

/// One thing that is done to a setup that works.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// The owner of the schema runs this.
    Sql(Side, &'static [&'static str]),
    /// The account is not given this there.
    Without(Side, &'static str),
    /// It is given what it has by a role.
    ByRole,
    /// It is given what it has on the tables of the task and ssync's own by their names, and on no other.
    ByTable,
    /// A line of the sub-task's configuration.
    Line(&'static str),
    /// SQL before the rows.
    Before(Side, &'static str),
    /// SQL after them.
    After(Side, &'static str),
    /// The directory of the destination's file is mounted so that nothing can be written.
    ReadOnly,
}

/// Where a fault can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Whatever the destination is.
    Any,
    /// A destination on a server.
    Server,
    /// A destination in a file.
    File,
}

/// A fault, or something that looks like one.
#[derive(Debug, Clone, Copy)]
pub struct Fault(pub On, pub &'static [Act]);

use Act::{After, Before, ByRole, ByTable, Line, ReadOnly, Sql, Without};
use On::{Any, File, Server};
use Side::{Dest, Source};

pub const FAULTS: &[Fault] = &[
    // Privileges, one by one.
    Fault(Any, &[Without(Source, "SELECT")]),
    Fault(Any, &[Without(Source, "INSERT")]),
    Fault(Any, &[Without(Source, "UPDATE")]),
    Fault(Any, &[Without(Source, "CREATE")]),
    Fault(Any, &[Without(Source, "TRIGGER")]),
    Fault(Server, &[Without(Dest, "SELECT")]),
    Fault(Server, &[Without(Dest, "INSERT")]),
    Fault(Server, &[Without(Dest, "UPDATE")]),
    Fault(Server, &[Without(Dest, "DELETE")]),
    Fault(Server, &[Without(Dest, "CREATE")]),
    Fault(Server, &[Without(Dest, "DROP")]),
    Fault(Server, &[Without(Dest, "ALTER")]),
    Fault(Server, &[Without(Dest, "TRIGGER")]),
    Fault(Any, &[Without(Source, "CREATE"), Before(Source, "DELETE FROM src WHERE id < 0")]),
    Fault(Any, &[Without(Source, "DELETE"), After(Source, "DELETE FROM src WHERE id < 0")]),
    Fault(Server, &[Without(Dest, "DROP"), Sql(Dest, REFERRED)]),
    Fault(Server, &[ByRole]),
    Fault(Server, &[ByRole, Without(Dest, "DROP")]),
    Fault(Server, &[ByTable]),
    Fault(Server, &[ByTable, Without(Dest, "CREATE")]),
    // Files.
    Fault(File, &[ReadOnly]),
    // Tables and columns.
    Fault(Any, &[Sql(Source, &["DROP TABLE src"])]),
    Fault(Any, &[Sql(Dest, &["DROP TABLE dst"])]),
    Fault(Any, &[Sql(Dest, &["ALTER TABLE dst DROP COLUMN n"])]),
    Fault(Any, &[Sql(Source, &["ALTER TABLE src DROP COLUMN n"])]),
    Fault(Any, &[Sql(Source, &["ALTER TABLE src DROP COLUMN sync_status"])]),
    Fault(Any, &[Sql(Source, &["ALTER TABLE src DROP PRIMARY KEY"])]),
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst DROP PRIMARY KEY"])]),
    Fault(Any, &[Line("columns = [\"id\", \"v\", \"w\"]")]),
    Fault(
        Any,
        &[Sql(Dest, &["DROP TABLE dst", "CREATE VIEW dst AS SELECT 1 AS id, 'x' AS v, 2 AS n"])],
    ),
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst ENGINE = MyISAM"])]),
    Fault(Any, &[Line("where = \"id WHERE\"")]),
    Fault(Any, &[Line("initial = \"yesterday\"")]),
    // Types and values.
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst MODIFY n DATE"])]),
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst MODIFY v VARCHAR(3) NOT NULL"])]),
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst ADD x INT NOT NULL"])]),
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst MODIFY n INT NOT NULL"])]),
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst MODIFY v VARCHAR(400) NOT NULL"])]),
    Fault(Any, &[Sql(Dest, &["CREATE UNIQUE INDEX once ON dst (n)"])]),
    Fault(Server, &[Sql(Dest, &["ALTER TABLE dst ADD CHECK (id <> 5)"])]),
    Fault(Any, &[Sql(Dest, &["INSERT INTO dst VALUES (1, 'row 1', 0)"])]),
    // Keys and triggers.
    Fault(
        Server,
        &[Sql(
            Dest,
            &[
                "CREATE TABLE parent (n INT PRIMARY KEY)",
                "ALTER TABLE dst ADD FOREIGN KEY (n) REFERENCES parent (n)",
            ],
        )],
    ),
    Fault(Server, &[Sql(Dest, REFERRED)]),
    Fault(
        Server,
        &[
            Sql(Dest, REFERRED),
            Sql(Dest, &["INSERT INTO dst VALUES (1, 'row 1', 0)", "INSERT INTO child VALUES (1)"]),
        ],
    ),
    Fault(Server, &[Sql(Dest, &["CREATE TRIGGER tr AFTER INSERT ON dst FOR EACH ROW SET @x = 1"])]),
    Fault(
        Any,
        &[Sql(
            Source,
            &["CREATE TRIGGER tr BEFORE UPDATE ON src FOR EACH ROW SET NEW.sync_status = 0"],
        )],
    ),
    // SQL before and after.
    Fault(Any, &[Before(Source, "DELETE FORM src WHERE id < 0")]),
    Fault(Any, &[Before(Source, "UPDATE src SET nothing = 1 WHERE id < 0")]),
    Fault(Any, &[Before(Source, "DELETE FROM src WHERE id < 0")]),
    Fault(Any, &[After(Source, "DELETE FROM not_there")]),
    Fault(Any, &[Before(Dest, "DELETE dst FORM WHERE")]),
    Fault(Any, &[Before(Dest, "DELETE FROM not_there")]),
    Fault(Any, &[Before(Dest, "DELETE FROM dst WHERE id < 0")]),
    Fault(Any, &[Before(Dest, "CREATE TABLE scratch (a INT)"), After(Dest, "DELETE FROM scratch")]),
    Fault(Any, &[Before(Dest, "CREATE TABLE scratch (a INT"), After(Dest, "DELETE FROM scratch")]),
    Fault(Any, &[After(Dest, "UPDATE dst SET v = ")]),
    Fault(Any, &[After(Dest, "INSERT INTO dst SELECT no_column FROM dst WHERE id < 0")]),
    // ssync's own tables.
    Fault(
        Server,
        &[Sql(Dest, &["CREATE TABLE SSYNC_FENCE (id BINARY(16) PRIMARY KEY) ENGINE = MyISAM"])],
    ),
    Fault(Any, &[Sql(Source, &["CREATE TABLE SSYNC_OWNER (a INT) ENGINE = MyISAM"])]),
    Fault(Server, &[Sql(Dest, &["CREATE TABLE SSYNC_LEDGER (a INT PRIMARY KEY) ENGINE = MyISAM"])]),
];

const REFERRED: &[&str] =
    &["CREATE TABLE child (d BIGINT, FOREIGN KEY (d) REFERENCES dst (id)) ENGINE = InnoDB"];
