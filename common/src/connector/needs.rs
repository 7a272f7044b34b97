//! What the account of a link must be allowed to do. A run does nothing that is not said here: the
//! statements that a dialect gives out carry what they need along, and `ssync check` asks for just that.

use std::fmt;

use super::WriteMode;

/// A right that a database gives or refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// Reading rows.
    Select,
    /// Adding rows.
    Insert,
    /// Changing rows.
    Update,
    /// Deleting rows.
    Delete,
    /// Making tables.
    Create,
    /// Dropping tables, and (MySQL) emptying them at once.
    Drop,
    /// Changing definitions, and (MySQL) renaming.
    Alter,
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Privilege::Select => "SELECT",
            Privilege::Insert => "INSERT",
            Privilege::Update => "UPDATE",
            Privilege::Delete => "DELETE",
            Privilege::Create => "CREATE",
            Privilege::Drop => "DROP",
            Privilege::Alter => "ALTER",
        })
    }
}

/// A privilege on a table, which need not be there yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The privilege.
    pub privilege: Privilege,
    /// The table, as it is configured or called by ssync.
    pub table: String,
    /// The one column that it is needed for, if it is for one.
    pub column: Option<String>,
}

impl Need {
    /// On the whole table.
    pub fn new(privilege: Privilege, table: &str) -> Need {
        Need { privilege, table: table.to_owned(), column: None }
    }

    /// All of these on one table.
    pub fn all(privileges: &[Privilege], table: &str) -> Vec<Need> {
        privileges.iter().map(|privilege| Need::new(*privilege, table)).collect()
    }
}

/// Something that the account is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What it may not do.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A statement of a run's own, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement.
    pub sql: String,
    /// What the account must be allowed for it.
    pub needs: Vec<Need>,
}

impl Statement {
    /// A statement that needs no more than what the rows themselves need.
    pub fn new(sql: String) -> Statement {
        Statement { sql, needs: Vec::new() }
    }

    /// The same, and it needs these privileges on `table`, too.
    pub fn needing(mut self, privileges: &[Privilege], table: &str) -> Statement {
        self.needs.extend(Need::all(privileges, table));
        self
    }
}

impl WriteMode {
    /// What landing rows needs.
    pub fn privileges(self) -> &'static [Privilege] {
        match self {
            WriteMode::Insert => &[Privilege::Insert],
            WriteMode::Replace => &[Privilege::Insert, Privilege::Delete],
            // A row whose key exists is set to what it is, so that it is counted.
            WriteMode::Upsert | WriteMode::Ignore => &[Privilege::Insert, Privilege::Update],
        }
    }
}

/// Whether a statement of an operator reads or changes rows and does nothing else, so that a database
/// can be asked about it without running it. Statements that change definitions are none: Oracle runs
/// them while it parses them.
pub fn is_about_rows(sql: &str) -> bool {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        let behind = match (rest.get(..2), rest.starts_with('#')) {
            (Some("--"), _) | (_, true) => rest.split_once('\n'),
            // Some servers execute the text of a comment that begins with /*!.
            (Some("/*"), _) if !rest.starts_with("/*!") && !rest.starts_with("/*M!") => {
                rest.split_once("*/")
            }
            _ => break,
        };
        let Some((_, behind)) = behind else { return false };
        rest = behind;
    }
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
    ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH"]
        .contains(&word.to_ascii_uppercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_about_rows_are_taken_for_such() {
        for sql in [
            "DELETE FROM t",
            " \n update t SET a = 1",
            "-- why\nINSERT INTO t VALUES (1)",
            "/* why */ # and\n (SELECT 1)",
            "with x AS (SELECT 1) DELETE FROM t",
            "replace INTO t VALUES (1)",
        ] {
            assert!(is_about_rows(sql), "{sql}");
        }
        for sql in [
            "",
            "DROP TABLE t",
            "-- DELETE FROM t",
            "/*!50000 DROP TABLE t */",
            "/* open DELETE",
            "CREATE TABLE t AS SELECT 1",
            "TRUNCATE t",
            "BEGIN NULL; END;",
            "CALL p()",
            "DELETED",
            "SET x = 1",
        ] {
            assert!(!is_about_rows(sql), "{sql}");
        }
    }
}
