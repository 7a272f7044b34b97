//! The source table in SQL: walking it by key, claiming, settling.
//!
//! Ranges are made of keys that the server itself handed out, in the server's own order, or of whole
//! numbers beside them; nothing here compares other keys. A composite range is written in OR form, which every optimiser can turn
//! into an index range (row-value comparison is not optimised everywhere).

use ssync_common::config::TableTask;
use ssync_common::connector::{Connection, Dialect};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::schema::{self, Column};
use ssync_common::value::{Key, Value};

/// Has the source look at the condition that says which rows are sent, without reading any.
///
/// # Errors
/// What the source has against it.
pub(crate) fn try_filter(table: &TableTask, source: &mut dyn Connection) -> Result<()> {
    let Some(filter) = &table.filter else { return Ok(()) };
    let name = source.dialect().table(&table.source);
    let sql = format!("SELECT 1 FROM {name} WHERE 1 = 0 AND ({filter})");
    source.query(&sql, &[]).map(drop).map_err(|e| e.context("where"))
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// From the very first, or to the very last row.
    Open,
    /// This key included.
    Including(Key),
    /// This key not included.
    Excluding(Key),
}

/// A range of rows in key order.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// Lower end.
    pub lower: Bound,
    /// Upper end.
    pub upper: Bound,
}

impl Range {
    /// Everything.
    pub fn all() -> Self {
        Range { lower: Bound::Open, upper: Bound::Open }
    }

    /// Everything above a lower end.
    pub fn above(lower: Bound) -> Self {
        Range { lower, upper: Bound::Open }
    }

    /// From `lo` to `hi`, both included.
    pub fn closed(lo: &Key, hi: &Key) -> Self {
        Range { lower: Bound::Including(lo.clone()), upper: Bound::Including(hi.clone()) }
    }

    /// The whole numbers between its ends, where its keys are single ones.
    pub fn whole_numbers(&self) -> Option<u64> {
        let end = |bound: &Bound, including: i128| match bound {
            Bound::Including(key) if key.len() == 1 => whole(&key[0]),
            Bound::Excluding(key) if key.len() == 1 => Some(whole(&key[0])? + including),
            _ => None,
        };
        let (low, high) = (end(&self.lower, 1)?, end(&self.upper, -1)?);
        u64::try_from(high - low + 1).ok()
    }

    /// What follows the lower end, `n` whole numbers long, where that is a single one.
    pub fn whole_step(lower: &Bound, n: u64) -> Option<Self> {
        let Bound::Excluding(key) = lower else { return None };
        let end = match key.as_slice() {
            [Value::Int(k)] => Value::Int(k.checked_add(i64::try_from(n).ok()?)?),
            [Value::UInt(k)] => Value::UInt(k.checked_add(n)?),
            _ => return None,
        };
        Some(Range { lower: lower.clone(), upper: Bound::Including(vec![end]) })
    }
}

/// The whole number that a value is.
pub(crate) fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(n) => Some(i128::from(*n)),
        Value::UInt(n) => Some(i128::from(*n)),
        _ => None,
    }
}

/// A condition with its parameters, numbered from where the statement stands.
#[derive(Debug, Clone, Default)]
struct Condition {
    sql: Vec<String>,
    params: Vec<Value>,
}

/// The triggers that run when the state of a row is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateTriggers {
    /// Those that the account is shown.
    pub names: Vec<String>,
    /// There may be others: the account lacks the privilege, or the table is a view.
    pub hidden: bool,
}

impl UpdateTriggers {
    /// Those of a table.
    pub fn of(table: &schema::Table) -> Self {
        let hidden = table.hides_triggers || table.is_view;
        UpdateTriggers { names: table.update_triggers(), hidden }
    }

    /// Whether there may be any.
    pub fn possible(&self) -> bool {
        self.hidden || !self.names.is_empty()
    }
}

/// What is needed to walk, claim and settle a table.
#[derive(Clone)]
pub struct SourceTable {
    /// How its database spells SQL.
    pub dialect: &'static dyn Dialect,
    /// Its name as configured.
    pub name: String,
    /// The columns that order it, in order; empty for a keyless table.
    pub order: Vec<Column>,
    /// What ranges of it compare where it has no key; it is not read in this order.
    pub address: Option<Column>,
    /// Columns that the database would set by itself on every update.
    pub touched: Vec<String>,
    /// The operator's condition.
    pub filter: Option<String>,
    /// Bounds of the first order column (`increment`): above (exclusive unless the flag is set),
    /// up to.
    pub window: Option<Window>,
    /// What runs when it moves rows from one state to another.
    pub triggers: UpdateTriggers,
}

/// Whether rows in this state are moved only where the operator's condition chooses them. What was
/// claimed is dealt with, whatever it says by now.
fn is_chosen(state: RowState) -> bool {
    matches!(state, RowState::ToSend | RowState::Failed)
}

/// The part of the watermark that a run reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The watermark.
    pub column: Column,
    /// Lower end; `None` reads from the beginning.
    pub above: Option<Value>,
    /// Whether the lower end itself is read again (an overlap).
    pub overlap: bool,
    /// Upper end, included.
    pub upto: Value,
}

/// The column that carries a row's state.
pub const STATUS_COLUMN: &str = "sync_status";

/// What is asked about some rows of the source, by their keys.
#[derive(Debug, Clone, Copy)]
pub enum Sought<'a> {
    /// Those that are there, and that the operator's condition chooses, where it counts.
    There,
    /// Those that are there, chosen, and in the part of the watermark that the run reads.
    Read,
    /// Those in a state.
    In(RowState),
    /// Those whose keys are within one of these ranges, ends included.
    Within(&'a [(Key, Key)]),
}

/// States of a source row (A18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Not transferred.
    ToSend = 0,
    /// In transfer.
    UnderWay = 1,
    /// Done.
    Done = 2,
    /// Failed.
    Failed = 3,
}

impl SourceTable {
    /// The columns that ranges compare.
    fn walked(&self) -> &[Column] {
        if self.order.is_empty() { self.address.as_slice() } else { &self.order }
    }

    fn column(&self, i: usize) -> String {
        self.dialect.quote(&self.walked()[i].name)
    }

    fn param(&self, c: &Condition, i: usize) -> String {
        self.dialect.param(c.params.len(), Some(&self.walked()[i]))
    }

    /// Whether its key is one column, in ranges of which any whole number may stand.
    pub fn walks_by_number(&self) -> bool {
        matches!(self.walked(), [column] if self.dialect.compares_as_number(column))
    }

    /// `(a > ?) OR (a = ? AND b > ?)`, with `a >= ?` in front so that an index range is found.
    fn compare(&self, c: &mut Condition, key: &Key, op: &str, including: bool) {
        let last = key.len() - 1;
        let mut ways = Vec::new();
        if last > 0 {
            c.params.push(key[0].clone());
            let param = self.param(c, 0);
            c.sql.push(format!("{} {op}= {param}", self.column(0)));
        }
        for end in 0..=last {
            let mut all = Vec::new();
            for (i, value) in key.iter().enumerate().take(end + 1) {
                c.params.push(value.clone());
                let param = self.param(c, i);
                let op = match (i == end, including && end == last) {
                    (true, true) => format!("{op}="),
                    (true, false) => op.to_owned(),
                    (false, _) => "=".to_owned(),
                };
                all.push(format!("{} {op} {param}", self.column(i)));
            }
            ways.push(format!("({})", all.join(" AND ")));
        }
        c.sql.push(format!("({})", ways.join(" OR ")));
    }

    fn range(&self, c: &mut Condition, range: &Range) {
        match &range.lower {
            Bound::Open => {}
            Bound::Including(key) => self.compare(c, key, ">", true),
            Bound::Excluding(key) => self.compare(c, key, ">", false),
        }
        match &range.upper {
            Bound::Open => {}
            Bound::Including(key) => self.compare(c, key, "<", true),
            Bound::Excluding(key) => self.compare(c, key, "<", false),
        }
    }

    fn window(&self, c: &mut Condition) {
        let Some(window) = &self.window else { return };
        let column = self.dialect.quote(&window.column.name);
        let mut bound = |op: &str, value: &Value| {
            c.params.push(value.clone());
            let param = self.dialect.param(c.params.len(), Some(&window.column));
            c.sql.push(format!("{column} {op} {param}"));
        };
        if let Some(above) = &window.above {
            bound(if window.overlap { ">=" } else { ">" }, above);
        }
        bound("<=", &window.upto);
    }

    fn filter(&self, c: &mut Condition) {
        if let Some(filter) = &self.filter {
            c.sql.push(format!("({filter})"));
        }
    }

    fn state(&self, c: &mut Condition, state: RowState) {
        c.sql.push(format!("{} = {}", self.dialect.folded(STATUS_COLUMN), state as i32));
    }

    fn order_by(&self) -> String {
        let order: Vec<_> = (0..self.order.len()).map(|i| self.column(i)).collect();
        if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) }
    }

    fn tail(&self, c: &Condition) -> String {
        let from = format!(" FROM {}", self.dialect.table(&self.name));
        match c.sql.is_empty() {
            true => from,
            false => format!("{from} WHERE {}", c.sql.join(" AND ")),
        }
    }

    fn select_list(&self, columns: &[Column]) -> String {
        columns.iter().map(|c| self.dialect.select(c)).collect::<Vec<_>>().join(", ")
    }

    /// Whether the row with this key is there, in this state.
    pub fn is_in_state(
        &self,
        conn: &mut dyn Connection,
        key: &Key,
        state: RowState,
    ) -> Result<bool> {
        Ok(self.count_of(conn, state, std::slice::from_ref(key))? == 1)
    }

    /// Rows of a range in a state. Those to be sent are counted as they are claimed, and bad ones as they
    /// are set back: by the filter.
    pub fn count(&self, conn: &mut dyn Connection, state: RowState, range: &Range) -> Result<u64> {
        let mut c = Condition::default();
        self.range(&mut c, range);
        self.state(&mut c, state);
        if is_chosen(state) {
            self.filter(&mut c);
        }
        self.counted(conn, &c)
    }

    /// The same, where the key still consists of these columns.
    pub fn look(
        &self,
        conn: &mut dyn Connection,
        columns: &[String],
        keys: &[Key],
        sought: &Sought<'_>,
    ) -> Result<Option<u64>> {
        match self.order.iter().map(|column| &column.name).eq(columns) {
            true => self.count_sought(conn, keys, sought).map(Some),
            false => Ok(None),
        }
    }

    /// How many of the rows with these keys are among those that are sought.
    pub fn count_sought(
        &self,
        conn: &mut dyn Connection,
        keys: &[Key],
        sought: &Sought<'_>,
    ) -> Result<u64> {
        let mut c = Condition::default();
        self.any_of(&mut c, keys);
        match sought {
            Sought::There => self.filter(&mut c),
            Sought::Read => {
                self.filter(&mut c);
                self.window(&mut c);
            }
            Sought::In(state) => self.state(&mut c, *state),
            Sought::Within([]) => return Ok(0),
            Sought::Within(ranges) => {
                let mut ways = Vec::new();
                for (lo, hi) in *ranges {
                    let before = c.sql.len();
                    self.range(&mut c, &Range::closed(lo, hi));
                    ways.push(format!("({})", c.sql.split_off(before).join(" AND ")));
                }
                c.sql.push(format!("({})", ways.join(" OR ")));
            }
        }
        self.counted(conn, &c)
    }

    /// How many of the rows with these keys are in a state.
    pub fn count_of(
        &self,
        conn: &mut dyn Connection,
        state: RowState,
        keys: &[Key],
    ) -> Result<u64> {
        self.count_sought(conn, keys, &Sought::In(state))
    }

    /// Only rows with these keys.
    fn any_of(&self, c: &mut Condition, keys: &[Key]) {
        let mut ways = Vec::new();
        for key in keys {
            let mut all = Vec::new();
            for (i, value) in key.iter().enumerate() {
                c.params.push(value.clone());
                all.push(format!("{} = {}", self.column(i), self.param(c, i)));
            }
            ways.push(format!("({})", all.join(" AND ")));
        }
        c.sql.push(format!("({})", ways.join(" OR ")));
    }

    fn counted(&self, conn: &mut dyn Connection, c: &Condition) -> Result<u64> {
        let rows = conn.query(&format!("SELECT COUNT(*){}", self.tail(c)), &c.params)?;
        let count = rows.first().and_then(|r| r.first()).and_then(Value::as_i64);
        count
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| Error::new(Kind::Internal, "a count that is no number"))
    }

    /// The next `n` rows of `range` in order, for [`Connection::read`].
    pub fn select_rows(&self, columns: &[Column], range: &Range, n: u64) -> (String, Vec<Value>) {
        let mut c = Condition::default();
        self.range(&mut c, range);
        self.window(&mut c);
        self.filter(&mut c);
        let sql =
            format!("SELECT {}{}{}", self.select_list(columns), self.tail(&c), self.order_by());
        let sql = if self.order.is_empty() { sql } else { self.dialect.limit(&sql, n) };
        (sql, c.params)
    }

    /// Keys of about one row in [`ssync_common::connector::SAMPLED_OF`] of those that
    /// [`SourceTable::select_rows`] gives of a range, taken by chance, in order. Keys that cannot be
    /// compared with are left out.
    pub fn sample(&self, conn: &mut dyn Connection, range: &Range) -> Result<Vec<Key>> {
        let walked = self.walked();
        if walked.is_empty() {
            return Ok(Vec::new());
        }
        let mut c = Condition::default();
        self.range(&mut c, range);
        self.window(&mut c);
        self.filter(&mut c);
        let (from, chance) = self.dialect.sampled(&self.name);
        c.sql.extend(chance);
        let order: Vec<_> = (0..walked.len()).map(|i| self.column(i)).collect();
        let mut sql = format!("SELECT {} FROM {from}", self.select_list(walked));
        if !c.sql.is_empty() {
            sql += &format!(" WHERE {}", c.sql.join(" AND "));
        }
        let keys = conn.query(&format!("{sql} ORDER BY {}", order.join(", ")), &c.params)?;
        Ok(keys.into_iter().filter(|key| self.check_key(key).is_ok()).collect())
    }

    /// The smallest and the largest value of the one column that orders the rows of a range; `None`
    /// where there are no rows.
    pub fn ends(&self, conn: &mut dyn Connection, range: &Range) -> Result<Option<(Value, Value)>> {
        let mut end = |direction: &str| {
            let mut c = Condition::default();
            self.range(&mut c, range);
            self.window(&mut c);
            self.filter(&mut c);
            let (list, tail) = (self.select_list(&self.order), self.tail(&c));
            let sql = format!("SELECT {list}{tail} ORDER BY {} {direction}", self.column(0));
            let rows = conn.query(&self.dialect.limit(&sql, 1), &c.params)?;
            Ok::<_, Error>(rows.into_iter().next().and_then(|row| row.into_iter().next()))
        };
        Ok(end("ASC")?.zip(end("DESC")?))
    }

    /// The claimed rows of a range, in order. The filter is not asked again: what was claimed is
    /// read.
    pub fn select_claimed(&self, columns: &[Column], range: &Range) -> (String, Vec<Value>) {
        let mut c = Condition::default();
        self.range(&mut c, range);
        self.state(&mut c, RowState::UnderWay);
        let sql =
            format!("SELECT {}{}{}", self.select_list(columns), self.tail(&c), self.order_by());
        (sql, c.params)
    }

    /// The keys of the first `n` rows of a range in `state`, in order, by a non-locking read.
    pub fn keys(
        &self,
        conn: &mut dyn Connection,
        state: RowState,
        range: &Range,
        n: u64,
    ) -> Result<Vec<Key>> {
        let (sql, params) = self.select_keys(state, range);
        let rows = conn.query(&self.dialect.limit(&sql, n), &params)?;
        for row in &rows {
            self.check_key(row)?;
        }
        Ok(rows)
    }

    /// The key of the `n`th row (from 1) of a range in `state`; `None` where there are fewer.
    pub fn nth_key(
        &self,
        conn: &mut dyn Connection,
        state: RowState,
        range: &Range,
        n: u64,
    ) -> Result<Option<Key>> {
        let (sql, params) = self.select_keys(state, range);
        let row = conn.query(&self.dialect.nth(&sql, n), &params)?.into_iter().next();
        if let Some(row) = &row {
            self.check_key(row)?;
        }
        Ok(row)
    }

    /// The keys of the rows of a range in `state`, in order, these rows locked until the
    /// transaction ends.
    pub fn lock_keys(
        &self,
        conn: &mut dyn Connection,
        state: RowState,
        range: &Range,
    ) -> Result<Vec<Key>> {
        let (sql, params) = self.select_keys(state, range);
        let rows = conn.query(&self.dialect.lock(&sql, true), &params)?;
        for row in &rows {
            self.check_key(row)?;
        }
        Ok(rows)
    }

    /// The keys of about the first `n` rows of a range in `state` that nobody holds locked, in
    /// order, these rows locked until the transaction ends; `None` where the database cannot pass
    /// over locked rows. Fewer than `n`: there are no more.
    pub fn lock_free(
        &self,
        conn: &mut dyn Connection,
        state: RowState,
        range: &Range,
        n: u64,
    ) -> Result<Option<Vec<Key>>> {
        let (sql, params) = self.select_keys(state, range);
        let Some(sql) = conn.skipping_locked(&sql, n) else { return Ok(None) };
        let rows = conn.query(&sql, &params)?;
        for row in &rows {
            self.check_key(row)?;
        }
        Ok(Some(rows))
    }

    fn select_keys(&self, state: RowState, range: &Range) -> (String, Vec<Value>) {
        let mut c = Condition::default();
        self.range(&mut c, range);
        self.state(&mut c, state);
        if is_chosen(state) {
            self.filter(&mut c);
        }
        let sql =
            format!("SELECT {}{}{}", self.select_list(&self.order), self.tail(&c), self.order_by());
        (sql, c.params)
    }

    fn check_key(&self, key: &Key) -> Result<()> {
        if let Some(i) = key.iter().position(|v| self.dialect.is_unreadable(v)) {
            return Err(Error::new(
                Kind::Refused,
                format!(
                    "{}: a value of key column {} cannot be read",
                    self.name,
                    self.walked()[i].name
                ),
            )
            .column(&self.walked()[i].name)
            .hint("Correct the value at the source, or exclude the row by where."));
        }
        match key.iter().position(|v| *v == Value::Null) {
            Some(i) => Err(Error::new(
                Kind::Refused,
                format!("{}: key column {} is NULL in a row", self.name, self.walked()[i].name),
            )
            .hint("A row without a key cannot be claimed or settled; give every row a key.")),
            None => Ok(()),
        }
    }

    /// Moves the rows of a range from one state to another; the rows moved. Columns that the
    /// database would touch by itself keep their value.
    pub fn move_state(
        &self,
        conn: &mut dyn Connection,
        range: &Range,
        from: RowState,
        to: RowState,
    ) -> Result<u64> {
        let d = self.dialect;
        let mut set = vec![format!("{} = {}", d.folded(STATUS_COLUMN), to as i32)];
        set.extend(self.touched.iter().map(|name| format!("{0} = {0}", d.quote(name))));
        let mut c = Condition::default();
        self.range(&mut c, range);
        self.state(&mut c, from);
        if is_chosen(from) {
            self.filter(&mut c);
        }
        let sql = format!(
            "UPDATE {} SET {} WHERE {}",
            d.table(&self.name),
            set.join(", "),
            c.sql.join(" AND ")
        );
        conn.execute(&sql, &c.params)
    }

    /// The largest value of the first order column, within the filter; `None` for no rows. Rows
    /// where it is NULL are refused: no mark would ever pass them.
    pub fn newest_mark(&self, conn: &mut dyn Connection) -> Result<Option<Value>> {
        let column = self.column(0);
        let mut c = Condition::default();
        self.filter(&mut c);
        c.sql.push(format!("{column} IS NULL"));
        let sql = self.dialect.limit(&format!("SELECT 1{}", self.tail(&c)), 1);
        if !conn.query(&sql, &c.params)?.is_empty() {
            return Err(Error::new(
                Kind::Refused,
                format!("{}: watermark column {} is NULL in a row", self.name, self.order[0].name),
            )
            .hint(
                "A row without a watermark would never be sent; fill it, or exclude it by where.",
            ));
        }
        let mut c = Condition::default();
        self.filter(&mut c);
        let sql = format!(
            "SELECT {}{} ORDER BY {column} DESC",
            self.dialect.select(&self.order[0]),
            self.tail(&c)
        );
        let rows = conn.query(&self.dialect.limit(&sql, 1), &c.params)?;
        Ok(rows.into_iter().next().and_then(|r| r.into_iter().next()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use ssync_common::connector::{LinkParams, dialect_of, open};

    use super::*;

    pub(crate) fn table(columns: usize) -> SourceTable {
        SourceTable {
            dialect: dialect_of("sqlite:").unwrap(),
            name: "t".into(),
            order: (0..columns)
                .map(|i| Column::new(format!("k{i}"), schema::Kind::Int, "INTEGER"))
                .collect(),
            address: None,
            touched: vec![],
            filter: None,
            window: None,
            triggers: UpdateTriggers::default(),
        }
    }

    pub(crate) fn link(url: String) -> LinkParams {
        LinkParams {
            name: "test".into(),
            url,
            password: None,
            tls: Default::default(),
            tls_ca_file: None,
            oracle: Default::default(),
            connect_timeout: std::time::Duration::from_secs(5),
            io_timeout: std::time::Duration::from_secs(5),
        }
    }

    pub(crate) fn database(
        columns: usize,
        keys: &[Vec<i64>],
    ) -> (tempfile::TempDir, Box<dyn Connection>) {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/t.db?create=true", dir.path().display());
        let mut conn = open(&link(url)).unwrap();
        let names: Vec<_> = (0..columns).map(|i| format!("k{i}")).collect();
        let names = names.join(", ");
        conn.execute(
            &format!(
                "CREATE TABLE t ({}, sync_status INTEGER NOT NULL DEFAULT 0, PRIMARY KEY ({names}))",
                names.replace(',', " INTEGER NOT NULL,") + " INTEGER NOT NULL"
            ),
            &[],
        )
        .unwrap();
        for key in keys {
            let params: Vec<_> = key.iter().map(|k| Value::Int(*k)).collect();
            let marks = vec!["?"; columns].join(", ");
            conn.execute(&format!("INSERT INTO t ({names}) VALUES ({marks})"), &params).unwrap();
        }
        (dir, conn)
    }

    #[test]
    fn whole_numbers_are_counted_and_stepped_over() {
        let excluding = |v: Value| Bound::Excluding(vec![v]);
        let step = |lower: &Bound, n| Range::whole_step(lower, n).map(|range| range.upper);
        let up_to = |v: Value| Some(Bound::Including(vec![v]));
        assert_eq!(step(&excluding(Value::Int(-7)), 10), up_to(Value::Int(3)));
        assert_eq!(step(&excluding(Value::UInt(7)), 10), up_to(Value::UInt(17)));
        // Beyond what any column holds, or not one whole number.
        for (lower, n) in [
            (excluding(Value::Int(i64::MAX - 9)), 10),
            (excluding(Value::UInt(u64::MAX - 9)), 10),
            (excluding(Value::Int(0)), u64::MAX),
            (excluding(Value::Decimal("7".into())), 10),
            (Bound::Excluding(vec![Value::Int(1), Value::Int(2)]), 10),
            (Bound::Including(vec![Value::Int(1)]), 10),
            (Bound::Open, 10),
        ] {
            assert_eq!(step(&lower, n), None, "{lower:?}");
        }
        let of = |lower: Bound, upper: Bound| Range { lower, upper }.whole_numbers();
        let including = |v: Value| Bound::Including(vec![v]);
        assert_eq!(of(including(Value::Int(-1)), including(Value::Int(1))), Some(3));
        assert_eq!(of(excluding(Value::Int(-1)), including(Value::Int(1))), Some(2));
        assert_eq!(of(excluding(Value::Int(-1)), excluding(Value::Int(1))), Some(1));
        assert_eq!(of(Bound::Open, including(Value::Int(1))), None);
        assert_eq!(of(including(Value::Text("1".into())), including(Value::Int(1))), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Walked in steps of any size, a table gives every row once and in order; moving ranges
        /// of what was walked touches every row once.
        #[test]
        fn a_walk_meets_every_row_once(
            columns in 1usize..4,
            raw in proptest::collection::btree_set(proptest::collection::vec(-3i64..4, 3), 0..60),
            step in 1u64..9,
        ) {
            let keys: std::collections::BTreeSet<Vec<i64>> =
                raw.into_iter().map(|k| k[..columns].to_vec()).collect();
            let keys: Vec<_> = keys.into_iter().collect();
            let (_dir, mut conn) = database(columns, &keys);
            let t = table(columns);
            let mut after = Bound::Open;
            let mut seen = Vec::new();
            loop {
                let rest = Range::above(after.clone());
                let chunk = t.keys(conn.as_mut(), RowState::ToSend, &rest, step).unwrap();
                let nth = t.nth_key(conn.as_mut(), RowState::ToSend, &rest, step).unwrap();
                prop_assert_eq!(nth.as_ref(), chunk.get(step as usize - 1));
                let Some(last) = chunk.last() else { break };
                let range = Range::closed(&chunk[0], last);
                let moved = t
                    .move_state(conn.as_mut(), &range, RowState::ToSend, RowState::UnderWay)
                    .unwrap();
                prop_assert_eq!(moved, chunk.len() as u64);
                after = Bound::Excluding(last.clone());
                seen.extend(chunk.iter().map(|k| {
                    k.iter().map(|v| v.as_i64().unwrap()).collect::<Vec<_>>()
                }));
            }
            prop_assert_eq!(seen, keys);
        }
    }
}
