//! Describing: keys, indexes, references, triggers, whatever things are called.

use ssync_common::schema::Kind;

use super::on_every_database;
use super::place::{Place, described, run};

on_every_database! {
    keys_and_indexes_are_told_with_their_columns_in_order,
    columns_say_what_may_be_left_out_or_null,
    references_are_told_from_both_ends,
    triggers_and_views_are_told,
    names_of_every_kind_survive,
    a_table_is_found_by_schema_and_a_missing_one_is_none,
}

fn keys_and_indexes_are_told_with_their_columns_in_order(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE t (a INT NOT NULL, b VARCHAR(20) NOT NULL, c INT NOT NULL, d INT, \
         PRIMARY KEY (c, a))",
        "CREATE UNIQUE INDEX u ON t (b, a)",
        "CREATE INDEX i ON t (d)",
        place
            .say("CREATE UNIQUE INDEX p ON t (b) WHERE a > 5", "CREATE UNIQUE INDEX p ON t (b(3))"),
    ]);
    let t = described(&mut *c, "t");
    let names = |columns: &[&str]| columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    assert_eq!(t.primary_key().unwrap(), names(&["c", "a"]));
    assert!(t.indexes[0].primary && t.indexes[0].unique);
    let index = |name: &str| t.indexes.iter().find(|i| i.name == name).unwrap();
    assert_eq!(index("u").columns, names(&["b", "a"]));
    assert!(index("u").unique && !index("u").partial && !index("u").primary);
    assert!(!index("i").unique);
    assert!(index("p").partial, "no row's identity");
    assert_eq!(t.indexes.len(), 4);
    assert_eq!(t.unique_index_on(&names(&["a", "b"])).unwrap().name, "u");
    assert!(t.unique_index_on(&names(&["b"])).is_none());
    assert!(t.transactional && !t.is_view && !t.engine.is_empty());
}

fn columns_say_what_may_be_left_out_or_null(place: &Place) {
    let mut c = place.with(&[place.say(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, nn INT NOT NULL, d INT NOT NULL DEFAULT 5, \
             v VARCHAR(9), g INT GENERATED ALWAYS AS (nn + 1) STORED)",
        "CREATE TABLE t (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT, nn INT NOT NULL, \
             d INT NOT NULL DEFAULT 5, v VARCHAR(9), \
             g INT)",
    )]);
    let t = described(&mut *c, "t");
    let column = |name: &str| t.column(name).unwrap();
    assert_eq!(
        t.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["id", "n", "nn", "d", "v", "g"]
    );
    assert!(column("id").auto_increment && !column("id").nullable);
    assert!(column("n").nullable && !column("nn").nullable && !column("nn").has_default);
    assert!(column("d").has_default && !column("d").nullable);
    assert_eq!(column("g").generated, place.is_sqlite());
    assert_eq!(column("id").kind, Kind::Int);
    assert_eq!(column("v").kind, Kind::Text);
    assert!(column("v").declared.to_ascii_lowercase().contains("varchar(9)"));
    assert_eq!(t.column("NN").unwrap().name, "nn");
}

fn references_are_told_from_both_ends(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, up BIGINT, FOREIGN KEY (up) REFERENCES p (id))",
        "CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY, p BIGINT, \
         FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
        "CREATE TABLE b (id BIGINT NOT NULL PRIMARY KEY, p BIGINT, FOREIGN KEY (p) REFERENCES p (id))",
    ]);
    let a = described(&mut *c, "a");
    assert_eq!(a.foreign_keys.len(), 1);
    assert_eq!((a.foreign_keys[0].child.as_str(), a.foreign_keys[0].parent.as_str()), ("a", "p"));
    assert!(a.foreign_keys[0].cascades && a.referenced_by.is_empty());
    let p = described(&mut *c, "p");
    let mut by: Vec<_> = p.referenced_by.iter().map(|f| (f.child.as_str(), f.cascades)).collect();
    by.sort_unstable();
    assert_eq!(by, [("a", true), ("b", false), ("p", false)]);
    assert_eq!(p.foreign_keys.len(), 1);
}

fn triggers_and_views_are_told(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)",
        "CREATE VIEW w AS SELECT id FROM t",
        place.say(
            "CREATE TRIGGER g AFTER UPDATE ON t BEGIN DELETE FROM t WHERE id = -1; END",
            "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW SET NEW.v = NEW.v",
        ),
    ]);
    let t = described(&mut *c, "t");
    let [trigger] = t.triggers.as_slice() else { panic!("{:?}", t.triggers) };
    assert_eq!((trigger.name.as_str(), trigger.event.as_str()), ("g", "UPDATE"));
    assert!(!trigger.body.is_empty());
    assert!(described(&mut *c, "w").is_view);
}

fn names_of_every_kind_survive(place: &Place) {
    let mut c = place.open();
    let d = c.dialect();
    for name in ["a b", "order", "ü名", "q\"t", "b`t", "s'q", "x;--", "d.t", "[z]", "A%_\\"] {
        // A dot stays in a name that is quoted in the configuration.
        let configured = if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() };
        let table = d.table(&configured);
        let (key, other) = (d.quote(name), d.quote(&format!("{name} 2")));
        run(
            &mut *c,
            &[
                &format!(
                    "CREATE TABLE {table} ({key} INT NOT NULL PRIMARY KEY, {other} VARCHAR(20))"
                ),
                &format!("INSERT INTO {table} ({key}, {other}) VALUES (1, 'x')"),
            ],
        );
        let t = described(&mut *c, &configured);
        assert_eq!(t.columns[0].name, name);
        assert_eq!(t.columns[1].name, format!("{name} 2"));
        assert_eq!(t.primary_key().unwrap(), [name.to_owned()]);
        assert_eq!(super::place::rows(&mut *c, &configured).len(), 1);
    }
}

fn a_table_is_found_by_schema_and_a_missing_one_is_none(place: &Place) {
    let mut c = place.with(&["CREATE TABLE t (id INT NOT NULL PRIMARY KEY)"]);
    let qualified = format!("{}.t", place.schema());
    assert_eq!(described(&mut *c, &qualified).name, qualified);
    assert_eq!(c.describe("nothing").unwrap(), None);
    assert_eq!(c.describe("no_schema.t").unwrap(), None);
}
