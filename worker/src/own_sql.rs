//! Whether a table's own SQL (`before`, `after`) may take rows out of its destination: where it may,
//! a destination that is empty proves nothing.

use ssync_common::config::TableTask;

/// Statements whose text names every table that they change. Triggers and foreign keys may change
/// others still; only the operator knows of those.
const NAME_WHAT_THEY_CHANGE: [&str; 22] = [
    "alter", "analyze", "comment", "commit", "create", "delete", "drop", "grant", "insert", "lock",
    "merge", "optimize", "pragma", "rename", "replace", "revoke", "rollback", "select", "set",
    "truncate", "unlock", "update",
];
/// What holds tables, and is dropped with them.
const HOLD_TABLES: [&str; 4] = ["database", "schema", "tablespace", "user"];

/// Whether a statement that the table runs at its destination may concern the destination table.
pub(crate) fn may_concern_dest(table: &TableTask) -> bool {
    let (before, after) = (&table.before.dest, &table.after.dest);
    before.iter().chain(after).any(|statement| may_concern(statement, &table.dest))
}

/// Whether `statement` names `table`, or is one that does not name what it changes.
fn may_concern(statement: &str, table: &str) -> bool {
    let name = table.rsplit('.').next().unwrap_or(table);
    let name = name.trim_matches(['"', '`', '[', ']']).to_lowercase();
    let text = statement.to_lowercase();
    has_word(&text, &name) || text.split(';').any(hides_what_it_changes)
}

/// `statement` is in lower case.
fn hides_what_it_changes(statement: &str) -> bool {
    let text = without_leading_comments(statement);
    let (first, rest) = text.split_at(text.find(|c| !is_of_word(c)).unwrap_or(text.len()));
    !text.is_empty()
        && (!NAME_WHAT_THEY_CHANGE.contains(&first)
            || has_word(text, "cascade")
            || first == "drop" && HOLD_TABLES.iter().any(|what| has_word(rest, what)))
}

/// A comment that MySQL executes is none.
fn without_leading_comments(statement: &str) -> &str {
    let mut text = statement.trim_start();
    loop {
        let rest = if text.starts_with("--") || text.starts_with('#') {
            text.split_once('\n').map_or("", |(_, rest)| rest)
        } else if text.starts_with("/*") && !text.starts_with("/*!") && !text.starts_with("/*m!") {
            text.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return text;
        };
        text = rest.trim_start();
    }
}

/// Whether `word` stands in `text` by itself.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, found)| {
        !text[..at].ends_with(is_of_word) && !text[at + found.len()..].starts_with(is_of_word)
    })
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_names_the_table_may_concern_it() {
        for statement in [
            "DELETE FROM dw_orders",
            "delete from DW_Orders where 1=1",
            "TRUNCATE TABLE sales.`dw_orders`",
            "TRUNCATE TABLE \"dw_orders\"",
            "INSERT INTO archive SELECT * FROM[dw_orders]",
            "DELETE FROM stage; DELETE FROM dw_orders",
        ] {
            for table in ["dw_orders", "sales.DW_ORDERS", "\"sales\".\"dw_orders\""] {
                assert!(may_concern(statement, table), "{statement} {table}");
            }
        }
    }

    #[test]
    fn a_statement_on_other_names_does_not_concern_the_table() {
        for statement in [
            "DELETE FROM dw_orders_stage",
            "TRUNCATE TABLE old_dw_orders",
            "-- the day's rows\n/* all */ DELETE FROM stage;",
            "SET FOREIGN_KEY_CHECKS = 0",
            "INSERT INTO log (what) VALUES ('loaded')",
            "UPDATE dw_orders$x SET a = 1; \n",
            "DELETE FROM stage WHERE user = 1",
            "",
        ] {
            assert!(!may_concern(statement, "sales.dw_orders"), "{statement}");
        }
    }

    #[test]
    fn a_statement_that_hides_what_it_changes_may_concern_every_table() {
        for statement in [
            "CALL tidy()",
            "BEGIN tidy; END;",
            "declare n int; begin null; end;",
            "EXECUTE IMMEDIATE 'x'",
            "/*! CALL tidy() */",
            "(SELECT 1)",
            "SET @a = 1; CALL tidy()",
            "TRUNCATE TABLE parents CASCADE",
            "DROP DATABASE sales",
        ] {
            assert!(may_concern(statement, "dw_orders"), "{statement}");
        }
    }
}
