//! Walking: a table is cut into ranges at keys that were read from it; the row at a boundary is
//! neither lost nor doubled, whatever the key's type and collation.

use ssync_common::connector::Connection;
use ssync_common::schema::Column;
use ssync_common::value::Value;

use super::on_every_database;
use super::place::*;

on_every_database! {
    every_row_is_met_once_by_a_key_of_every_type,
    every_row_is_met_once_by_a_key_of_two_columns,
}

fn every_row_is_met_once_by_a_key_of_every_type(place: &Place) {
    for (declared, keys) in place.keys() {
        let mut c = place.open();
        run(
            &mut *c,
            &[
                "DROP TABLE IF EXISTS t",
                &format!("CREATE TABLE t (k {declared} NOT NULL, n BIGINT, PRIMARY KEY (k))"),
            ],
        );
        let plan = plan(&mut *c, "t", Default::default(), &[]);
        assert!(plan.columns[0].kind.can_be_key(), "{declared}");
        let data: Vec<_> =
            keys.iter().enumerate().map(|(i, k)| vec![k.clone(), Value::Int(i as i64)]).collect();
        let loaded = load(&mut *c, &plan, &data).unwrap_or_else(|e| panic!("{declared}: {e:?}"));
        assert_eq!(loaded.rows as usize, keys.len());
        for step in [1, 2, 3, 100] {
            let mut met = walk(&mut *c, &plan.columns[..1], step, declared);
            met.sort_unstable();
            let all: Vec<i64> = (0..keys.len() as i64).collect();
            assert_eq!(met, all, "{declared} in steps of {step}");
        }
    }
}

fn every_row_is_met_once_by_a_key_of_two_columns(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE t (a VARCHAR(20) NOT NULL, b BIGINT NOT NULL, n BIGINT, PRIMARY KEY (a, b))",
    ]);
    let plan = plan(&mut *c, "t", Default::default(), &[]);
    let mut data = Vec::new();
    // What Oracle keeps: text that is not empty, numbers of the column's digits.
    let (empty, least, most) = match place.is_oracle() {
        true => (" ", -999_999_999_999_999_999, 999_999_999_999_999_999),
        false => ("", i64::MIN, i64::MAX),
    };
    for a in [empty, "a", "b", "é"] {
        for b in [least, -1, 0, 5, most] {
            data.push(vec![text(a), Value::Int(b), Value::Int(data.len() as i64)]);
        }
    }
    load(&mut *c, &plan, &data).unwrap();
    for step in [1, 2, 3, 7, 100] {
        let mut met = walk(&mut *c, &plan.columns[..2], step, "two columns");
        met.sort_unstable();
        assert_eq!(met, (0..data.len() as i64).collect::<Vec<_>>(), "in steps of {step}");
    }
}

/// The numbers `n` of all rows, met range by range. A range's upper key is asked for first, then
/// the rows in it are read: as claims and reads do.
fn walk(c: &mut dyn Connection, key: &[Column], step: u64, what: &str) -> Vec<i64> {
    let d = c.dialect();
    let columns = described(c, "t").columns;
    let number = columns.len() - 1;
    let order: Vec<String> = key.iter().map(|k| d.quote(&k.name)).collect();
    let order = order.join(", ");
    let list: Vec<String> = key.iter().map(|k| d.select(k)).collect();
    let mut met = Vec::new();
    let mut from: Option<Vec<Value>> = None;
    for _ in 0..1000 {
        let (after, params) = beyond(c, key, from.as_deref(), ">");
        let sql = format!("SELECT {} FROM t WHERE {after} ORDER BY {order}", list.join(", "));
        let columns_of_key: Vec<Column> = key.to_vec();
        // The same keys, as a small result and as a batch.
        let small = c.query(&d.limit(&sql, step), &params).unwrap();
        let batches = read(c, &d.limit(&sql, step), &params, &columns_of_key, LIMITS);
        let keys = values(&batches, &columns_of_key);
        assert_eq!(small.len(), keys.len(), "{what}");
        let Some(to) = keys.last() else { return met };
        assert_same_key(small.last().unwrap(), to, what);

        let (past, past_params) = beyond(c, key, Some(to), ">");
        let all: Vec<Value> = params.iter().chain(&past_params).cloned().collect();
        let sql = format!("{} WHERE {after} AND NOT ({past})", select(c, "t", &columns));
        let rows = values(&read(c, &sql, &all, &columns, LIMITS), &columns);
        assert_eq!(rows.len(), keys.len(), "{what}: rows of the range up to {to:?}");
        met.extend(rows.iter().map(|r| r[number].as_i64().unwrap()));

        // Each key finds its own row.
        for key_values in &keys {
            let is: Vec<String> = key
                .iter()
                .enumerate()
                .map(|(i, k)| format!("{} = {}", d.quote(&k.name), d.param(i + 1, Some(k))))
                .collect();
            let sql = format!("SELECT count(*) FROM t WHERE {}", is.join(" AND "));
            let found = c.query(&sql, key_values).unwrap()[0][0].as_i64();
            assert_eq!(found, Some(1), "{what}: {key_values:?}");
        }
        from = Some(to.clone());
    }
    panic!("{what}: the walk does not end");
}

/// A key as a small result may be typed more loosely, but binds to the same.
fn assert_same_key(small: &[Value], read: &[Value], what: &str) {
    for (a, b) in small.iter().zip(read) {
        // What pads a text of fixed width in a small result is no part of it in a batch.
        let pad = |v: &Value| match what.starts_with("CHAR(") {
            true => v.plain().map(|t| t.trim_end().to_owned()),
            false => v.plain(),
        };
        assert_eq!(pad(a), pad(b), "{what}");
    }
}

/// `key > from` in OR form, and its parameters.
fn beyond(
    c: &dyn Connection,
    key: &[Column],
    from: Option<&[Value]>,
    than: &str,
) -> (String, Vec<Value>) {
    let Some(from) = from else { return ("1 = 1".to_owned(), Vec::new()) };
    let d = c.dialect();
    let mut params = Vec::new();
    let mut terms = Vec::new();
    for (i, column) in key.iter().enumerate() {
        let mut term = Vec::new();
        for (j, before) in key[..i].iter().enumerate() {
            params.push(from[j].clone());
            term.push(format!(
                "{} = {}",
                d.quote(&before.name),
                d.param(params.len(), Some(before))
            ));
        }
        params.push(from[i].clone());
        let param = d.param(params.len(), Some(column));
        term.push(format!("{} {than} {param}", d.quote(&column.name)));
        terms.push(format!("({})", term.join(" AND ")));
    }
    (format!("({})", terms.join(" OR ")), params)
}
