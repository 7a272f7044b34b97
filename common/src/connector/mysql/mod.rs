//! mysql connector.

use super::{Connection, Dialect, LinkParams, OwnType};
use crate::error::Result;
use crate::schema::{Column, Table};

/// Dialect.
pub struct MySqlDialect;

impl Dialect for MySqlDialect {
    fn name(&self) -> &'static str {
        "mysql"
    }
    fn quote(&self, identifier: &str) -> String {
        identifier.to_owned()
    }
    fn select(&self, column: &Column) -> String {
        self.quote(&column.name)
    }
    fn param(&self, _n: usize, _column: Option<&Column>) -> String {
        "?".to_owned()
    }
    fn limit(&self, sql: &str, n: u64) -> String {
        format!("{sql} LIMIT {n}")
    }
    fn lock(&self, sql: &str, _exclusive: bool) -> String {
        sql.to_owned()
    }
    fn own_type(&self, _t: OwnType) -> String {
        String::new()
    }
    fn table_options(&self) -> &'static str {
        ""
    }
    fn now_secs(&self) -> &'static str {
        ""
    }
    fn truncate(&self, table: &str) -> (String, bool) {
        (table.to_owned(), false)
    }
    fn create_like(&self, _new: &str, _table: &Table) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn swap(&self, _new: &str, _table: &Table) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Opens.
pub fn open(_link: &LinkParams) -> Result<Box<dyn Connection>> {
    crate::bail!(crate::error::Kind::Internal, "not here yet")
}
