//! The few statements the store is made of, spelt by the connection's dialect.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::connector::{self, Connection, LinkParams};
use crate::error::{Error, Kind, Result};
use crate::store::schema;
use crate::store::waits::Asking;
use crate::value::Value;

/// How long a transaction that lost against others is tried again.
const CONTENTION_TIME_MAX: Duration = Duration::from_secs(60);

/// A connection to the configuration database that heals itself between transactions.
pub struct Db {
    link: LinkParams,
    conn: Box<dyn Connection>,
}

/// Which rows: all conditions together.
#[derive(Default, Clone)]
pub struct Filter {
    conditions: Vec<Condition>,
}

#[derive(Clone)]
enum Condition {
    AnyOf(&'static str, Vec<Value>),
    IsNull(&'static str),
    Compare(&'static str, &'static str, Value),
    EqOrWithin(&'static str, Value, Within),
}

/// Rows of which another table has some with the same value in `column`.
#[derive(Clone)]
pub struct Within {
    /// Name of the column in both tables.
    pub column: &'static str,
    /// The other table.
    pub table: &'static str,
    /// Which rows of it.
    pub filter: Filter,
}

impl Filter {
    /// All rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// And `column` equals `value`.
    pub fn eq(self, column: &'static str, value: impl IntoValue) -> Self {
        self.any_of(column, vec![value.into_value()])
    }

    /// And `column` equals `value`, where there is one.
    pub fn maybe(self, column: &'static str, value: Option<impl IntoValue>) -> Self {
        match value {
            Some(value) => self.eq(column, value),
            None => self,
        }
    }

    /// And `column` is one of `values`; none of them means no row.
    pub fn any_of(mut self, column: &'static str, values: Vec<Value>) -> Self {
        self.conditions.push(Condition::AnyOf(column, values));
        self
    }

    /// And `column` is `value` or greater.
    pub fn at_least(self, column: &'static str, value: impl IntoValue) -> Self {
        self.compare(column, ">=", value)
    }

    /// And `column` is less than `value`.
    pub fn below(self, column: &'static str, value: impl IntoValue) -> Self {
        self.compare(column, "<", value)
    }

    /// And `column` is `value` or less.
    pub fn up_to(self, column: &'static str, value: impl IntoValue) -> Self {
        self.compare(column, "<=", value)
    }

    /// And `column` is greater than `value`.
    pub fn above(self, column: &'static str, value: impl IntoValue) -> Self {
        self.compare(column, ">", value)
    }

    fn compare(mut self, column: &'static str, with: &'static str, value: impl IntoValue) -> Self {
        self.conditions.push(Condition::Compare(column, with, value.into_value()));
        self
    }

    /// And `column` equals `value`, or the row is one of these.
    pub fn eq_or_within(
        mut self,
        column: &'static str,
        value: impl IntoValue,
        within: Within,
    ) -> Self {
        self.conditions.push(Condition::EqOrWithin(column, value.into_value(), within));
        self
    }

    /// And `column` is NULL.
    pub fn null(mut self, column: &'static str) -> Self {
        self.conditions.push(Condition::IsNull(column));
        self
    }
}

/// What to select. `order` columns may end in ` DESC`.
#[derive(Clone)]
pub struct Select<'a> {
    pub table: &'a str,
    pub columns: &'a [&'static str],
    pub filter: Filter,
    pub order: &'a [&'a str],
    pub limit: Option<u64>,
    pub for_update: bool,
}

impl<'a> Select<'a> {
    /// All rows of a table, in no order.
    pub fn new(table: &'a str, columns: &'a [&'static str]) -> Self {
        Select { table, columns, filter: Filter::new(), order: &[], limit: None, for_update: false }
    }

    /// Only these rows.
    pub fn filter(self, filter: Filter) -> Self {
        Select { filter, ..self }
    }

    /// In this order.
    pub fn order(self, order: &'a [&'a str]) -> Self {
        Select { order, ..self }
    }

    /// At most so many.
    pub fn limit(self, limit: u64) -> Self {
        Select { limit: Some(limit), ..self }
    }

    /// Locked exclusively until the transaction ends.
    pub fn for_update(self) -> Self {
        Select { for_update: true, ..self }
    }
}

impl Db {
    /// Opens a connection.
    pub fn open(link: LinkParams) -> Result<Self> {
        let _asking = Asking::begin();
        let conn = connector::open(&link)?;
        Ok(Db { link, conn })
    }

    /// The connection, for what has no method here (DDL).
    pub fn conn(&mut self) -> &mut dyn Connection {
        self.conn.as_mut()
    }

    /// Runs `work` in a transaction of its own, all or nothing. It runs again after a deadlock,
    /// and on a new connection when the old one broke before the commit: then nothing had taken
    /// effect. When the connection breaks at the commit itself, the error says so.
    pub fn transaction<T>(&mut self, mut work: impl FnMut(&mut Db) -> Result<T>) -> Result<T> {
        let (start, _asking) = (Instant::now(), Asking::begin());
        let mut reopened = false;
        loop {
            let done = self.conn.begin().and_then(|()| work(self));
            let failure =
                match done {
                    Ok(done) => {
                        return self.conn.commit().map(|()| done).map_err(|e| {
                            e.context("could not commit to the configuration database")
                        });
                    }
                    Err(failure) => failure,
                };
            match failure.kind {
                Kind::Lost if !reopened => {
                    reopened = true;
                    self.conn = connector::open(&self.link)?;
                }
                Kind::Contention if start.elapsed() < CONTENTION_TIME_MAX => {
                    self.conn.rollback()?;
                }
                Kind::Lost => return Err(failure),
                _ => {
                    // The failure at hand matters more than one of rolling back.
                    let _ = self.conn.rollback();
                    return Err(failure);
                }
            }
        }
    }

    /// Runs a query outside any transaction, on a new connection where the old one broke.
    pub fn read<T>(&mut self, mut work: impl FnMut(&mut Db) -> Result<T>) -> Result<T> {
        let _asking = Asking::begin();
        match work(self) {
            Err(e) if e.kind == Kind::Lost => {
                self.conn = connector::open(&self.link)?;
                work(self)
            }
            done => done,
        }
    }

    /// Rows of a table.
    pub fn select(&mut self, select: Select<'_>) -> Result<Vec<Row>> {
        let d = self.conn.dialect();
        let columns: Vec<_> = select.columns.iter().map(|c| d.quote(c)).collect();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), d.table(select.table));
        let mut params = Vec::new();
        self.add_where(&mut sql, &mut params, &select.filter);
        if !select.order.is_empty() {
            let spelt = |c: &&str| match c.strip_suffix(" DESC") {
                Some(column) => format!("{} DESC", d.quote(column)),
                None => d.quote(c),
            };
            let order: Vec<_> = select.order.iter().map(spelt).collect();
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        if let Some(n) = select.limit {
            sql = d.limit(&sql, n);
        }
        if select.for_update {
            sql = d.lock(&sql, true);
        }
        let mut rows = self.conn.query(&sql, &params)?;
        if !d.keeps_empty_text() {
            empty_again(&select, &mut rows);
        }
        Ok(rows.into_iter().map(|values| Row::new(select.table, select.columns, values)).collect())
    }

    /// What an aggregate (`SUM(row_count)`: function and column) says of some rows; NULL where that
    /// is nothing.
    pub fn aggregate(
        &mut self,
        (function, column): (&str, &str),
        table: &str,
        filter: Filter,
    ) -> Result<Value> {
        let d = self.conn.dialect();
        let (column, table) = (d.quote(column), d.table(table));
        let mut sql = format!("SELECT {function}({column}) FROM {table}");
        let mut params = Vec::new();
        self.add_where(&mut sql, &mut params, &filter);
        let rows = self.conn.query(&sql, &params)?;
        Ok(rows.into_iter().flatten().next().unwrap_or(Value::Null))
    }

    /// An aggregate that is a number; 0 where it is nothing.
    pub fn number_of(&mut self, what: (&str, &str), table: &str, filter: Filter) -> Result<u64> {
        Ok(whole_number(&self.aggregate(what, table, filter)?))
    }

    /// Adds a row.
    pub fn insert(&mut self, table: &str, row: &[(&'static str, Value)]) -> Result<()> {
        let d = self.conn.dialect();
        let names: Vec<_> = row.iter().map(|(c, _)| d.quote(c)).collect();
        let marks: Vec<_> = (1..=row.len()).map(|n| d.param(n, None)).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            d.table(table),
            names.join(", "),
            marks.join(", ")
        );
        let params: Vec<_> = row.iter().map(|(_, v)| v.clone()).collect();
        self.conn.execute(&sql, &params)?;
        Ok(())
    }

    /// Changes rows. The count is the database's: MySQL leaves out rows that were so already.
    pub fn update(
        &mut self,
        table: &str,
        set: &[(&'static str, Value)],
        filter: Filter,
    ) -> Result<u64> {
        let d = self.conn.dialect();
        let mut params: Vec<_> = set.iter().map(|(_, v)| v.clone()).collect();
        let set: Vec<_> = set
            .iter()
            .enumerate()
            .map(|(i, (c, _))| format!("{} = {}", d.quote(c), d.param(i + 1, None)))
            .collect();
        let mut sql = format!("UPDATE {} SET {}", d.table(table), set.join(", "));
        self.add_where(&mut sql, &mut params, &filter);
        self.conn.execute(&sql, &params)
    }

    /// Removes rows.
    pub fn delete(&mut self, table: &str, filter: Filter) -> Result<u64> {
        let d = self.conn.dialect();
        let mut sql = format!("DELETE FROM {}", d.table(table));
        let mut params = Vec::new();
        self.add_where(&mut sql, &mut params, &filter);
        self.conn.execute(&sql, &params)
    }

    /// The database's clock, seconds since 1970.
    pub fn now_secs(&mut self) -> Result<i64> {
        let d = self.conn.dialect();
        let sql = d.select_expression(d.now_secs());
        let rows = self.conn.query(&sql, &[])?;
        rows.first()
            .and_then(|row| row.first())
            .and_then(Value::as_i64)
            .ok_or_else(|| Error::new(Kind::Database, "the database did not say what time it is"))
    }

    fn add_where(&self, sql: &mut String, params: &mut Vec<Value>, filter: &Filter) {
        let d = self.conn.dialect();
        for (i, condition) in filter.conditions.iter().enumerate() {
            sql.push_str(if i == 0 { " WHERE " } else { " AND " });
            match condition {
                Condition::IsNull(column) => sql.push_str(&format!("{} IS NULL", d.quote(column))),
                Condition::Compare(column, with, value) => {
                    params.push(value.clone());
                    let mark = d.param(params.len(), None);
                    sql.push_str(&format!("{} {with} {mark}", d.quote(column)));
                }
                Condition::EqOrWithin(column, value, within) => {
                    params.push(value.clone());
                    let mark = d.param(params.len(), None);
                    let (same, table) = (d.quote(within.column), d.table(within.table));
                    sql.push_str(&format!("({} = {mark} OR {same} IN ", d.quote(column)));
                    sql.push_str(&format!("(SELECT {same} FROM {table}"));
                    self.add_where(sql, params, &within.filter);
                    sql.push_str("))");
                }
                Condition::AnyOf(_, values) if values.is_empty() => sql.push_str("1 = 0"),
                Condition::AnyOf(column, values) => {
                    let marks: Vec<_> = values
                        .iter()
                        .map(|value| {
                            params.push(value.clone());
                            d.param(params.len(), None)
                        })
                        .collect();
                    sql.push_str(&match marks.as_slice() {
                        [one] => format!("{} = {one}", d.quote(column)),
                        many => format!("{} IN ({})", d.quote(column), many.join(", ")),
                    });
                }
            }
        }
    }
}

/// A number that is not negative: databases give sums as integers or decimals.
pub fn whole_number(value: &Value) -> u64 {
    let text = || value.as_str().and_then(|t| t.split('.').next()).and_then(|t| t.parse().ok());
    value.as_i64().or_else(text).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

/// Puts the empty text back where the database made NULL of it: in columns of text that are never
/// NULL.
fn empty_again(select: &Select<'_>, rows: &mut [Vec<Value>]) {
    let Some(table) = schema::TABLES.iter().find(|t| t.name == select.table) else { return };
    let never_null =
        |name: &&str| table.columns.iter().any(|c| c.name == *name && !c.nullable && c.is_text());
    let places: Vec<usize> =
        (0..select.columns.len()).filter(|i| never_null(&select.columns[*i])).collect();
    for row in rows {
        for place in &places {
            if let Some(value @ Value::Null) = row.get_mut(*place) {
                *value = Value::Text(String::new());
            }
        }
    }
}

/// One row of a result, by column name.
pub struct Row {
    table: String,
    columns: Vec<&'static str>,
    values: Vec<Value>,
}

impl Row {
    fn new(table: &str, columns: &[&'static str], values: Vec<Value>) -> Self {
        Row { table: table.to_owned(), columns: columns.to_vec(), values }
    }

    /// The value, NULL when there is none.
    pub fn value(&self, column: &str) -> &Value {
        let at = self.columns.iter().position(|c| *c == column);
        at.and_then(|at| self.values.get(at)).unwrap_or(&Value::Null)
    }

    /// Text; NULL is an error.
    pub fn text(&self, column: &str) -> Result<String> {
        self.value(column).as_str().map(str::to_owned).ok_or_else(|| self.damaged(column))
    }

    /// Text, or `None` where there is none. (Oracle keeps an empty text as NULL.)
    pub fn opt_text(&self, column: &str) -> Option<String> {
        self.value(column).as_str().filter(|t| !t.is_empty()).map(str::to_owned)
    }

    /// A number that fits its type.
    pub fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T> {
        self.opt_number(column)?.ok_or_else(|| self.damaged(column))
    }

    /// A number, or `None` where there is none.
    pub fn opt_number<T: TryFrom<i64>>(&self, column: &str) -> Result<Option<T>> {
        match self.value(column) {
            Value::Null => Ok(None),
            value => value
                .as_i64()
                .and_then(|n| T::try_from(n).ok())
                .map(Some)
                .ok_or_else(|| self.damaged(column)),
        }
    }

    /// Text that reads as `T`.
    pub fn parsed<T: std::str::FromStr>(&self, column: &str) -> Result<T> {
        self.text(column)?.parse().map_err(|_| self.damaged(column))
    }

    /// A moment.
    pub fn time(&self, column: &str) -> Result<Timestamp> {
        self.parsed(column)
    }

    /// A moment, or `None` where there is none.
    pub fn opt_time(&self, column: &str) -> Result<Option<Timestamp>> {
        self.opt_text(column).map(|_| self.time(column)).transpose()
    }

    /// JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|_| self.damaged(column))
    }

    /// A word of an enumeration that serde knows.
    pub fn word<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T> {
        let text = serde_json::Value::String(self.text(column)?);
        serde_json::from_value(text).map_err(|_| self.damaged(column))
    }

    /// A word of an enumeration, or `None` where there is none.
    pub fn opt_word<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<Option<T>> {
        self.opt_text(column).map(|_| self.word(column)).transpose()
    }

    /// The error for a value that ssync did not write so.
    pub fn damaged(&self, column: &str) -> Error {
        let at = format!("{}.{column}", self.table);
        Error::new(Kind::Config, format!("the configuration database has a wrong value in {at}"))
            .hint("Something else than ssync has changed it; undo that.")
    }
}

/// What becomes a value of a column.
pub trait IntoValue {
    /// The value.
    fn into_value(self) -> Value;
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}
impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::Text(self.to_owned())
    }
}
impl IntoValue for &String {
    fn into_value(self) -> Value {
        Value::Text(self.clone())
    }
}
impl IntoValue for String {
    fn into_value(self) -> Value {
        Value::Text(self)
    }
}
impl IntoValue for bool {
    fn into_value(self) -> Value {
        Value::Int(self.into())
    }
}
impl IntoValue for i64 {
    fn into_value(self) -> Value {
        Value::Int(self)
    }
}
impl IntoValue for u32 {
    fn into_value(self) -> Value {
        Value::Int(self.into())
    }
}
impl IntoValue for u8 {
    fn into_value(self) -> Value {
        Value::Int(self.into())
    }
}
impl IntoValue for u64 {
    /// Counts and limits, which stay far below `i64::MAX`.
    fn into_value(self) -> Value {
        Value::Int(i64::try_from(self).unwrap_or(i64::MAX))
    }
}
impl IntoValue for usize {
    fn into_value(self) -> Value {
        (self as u64).into_value()
    }
}
impl IntoValue for Timestamp {
    /// `2026-12-01T00:00:00.000000Z`: sorts as time does.
    fn into_value(self) -> Value {
        Value::Text(format!("{self:.6}"))
    }
}
impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        self.map_or(Value::Null, IntoValue::into_value)
    }
}

/// The word that serde gives an enumeration's variant.
pub fn word(value: &impl serde::Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Value::Text(word),
        _ => Value::Null,
    }
}

/// A value as JSON text.
pub fn json(value: &impl serde::Serialize) -> Result<Value> {
    json_text(value).map(Value::Text)
}

/// A value as JSON text.
pub fn json_text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| {
        Error::new(Kind::Internal, "a value cannot be written as JSON").detail(e.to_string())
    })
}
