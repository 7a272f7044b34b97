//! `[[task.table]]`: one table of a task.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::option::{self, Limit, Node, OptionType, section};
use super::read::entry_label;
use super::table_choices::{
    ColumnChoice, CryptoChoice, EmptyAs, FullMethod, SideSql, TableMode, Watermark, read_empty_as,
};
use crate::connector::WriteMode;

/// In [`TableTask::initial`]: from the first row on.
pub const INITIAL_ALL: &str = "all";

section! {
    /// A sub-task: one table.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TableTask in "[[task.table]]" {
        /// What `--tables` names; unique in its task. A sub-task that gets another name keeps its records
        /// and its pauses, as long as `source`, `dest` and `mode` stay.
        name: String = required()
            .names_entry("")
            .column("table_name")
            .short()
            .about("The sub-task's name, as `--tables` names it.");

        /// Source table, `table` or `schema.table`. A part in double quotes or backticks may have a
        /// dot in it.
        source: String = required().column("source_table");

        /// Destination table, written like the source.
        dest: String = required().column("dest_table").about("Destination table.");

        /// Which rows are sent. `"status"`: those whose `sync_status` is 0 (0 not transferred, 1 in
        /// transfer, 2 done, 3 failed). `"full"`: all. `"increment"`: those past the watermark. Only
        /// one sub-task can own a source table's `sync_status`.
        mode: TableMode = unset()
            .shown()
            .column("row_mode")
            .about("Which rows are sent: `status`, `full`, `increment`.");

        /// With `mode = "full"`: `"truncate"` empties the destination first: row by row where other
        /// tables' foreign keys refer to it (refused where they cascade, and while rows refer to it)
        /// or where it keeps a history, which stays. `"swap"` loads a table beside it and puts it in
        /// its place at the end, with the next number of AUTO_INCREMENT; what has changed meanwhile
        /// (triggers, indexes, columns, foreign keys, options) is named and keeps it from being
        /// swapped. Grants on the table itself cannot be seen; on MySQL and SQLite they go by name.
        /// Not for Oracle, and not for tables with foreign keys, triggers or a history. Only one
        /// `full` sub-task can fill a destination, and beside it only sub-tasks that do not
        /// `insert`.
        full: FullMethod = unset()
            .column("full_method")
            .about("How `full` makes room: `truncate`, `swap`.");

        /// With `mode = "increment"`: the column only grows. The lag keeps transactions that commit
        /// late from being skipped: a length of time for dates and times, a plain number for numbers.
        /// With `write = "insert"` reading stops so far behind the newest value of the column: the
        /// newest rows arrive only once newer ones have come, however much time passes. With the other
        /// ways to write, the rows within the lag are read at once, and again by the next run. With `lag = "0"` and
        /// `write = "insert"` rows that commit late are never sent; `ssync check` warns. How far a
        /// table has come is remembered at the destination, under the source's server and the
        /// table's name in its catalog: links and addresses may change; a table that was renamed or
        /// moved is taken over by
        /// [`ssync adopt`](OPERATIONS.md#when-tables-are-renamed-moved-copied-or-restored). With
        /// another column everything is sent once more, by `--restart`.
        watermark: Option<Watermark> = unset()
            .column("watermark_column")
            .about("Source column of the mark of `increment`.")
            .and_column("watermark_lag", "The lag: `10s`, or a plain number.");

        /// Source columns that identify a row.
        key: Vec<String> = unset()
            .default_words("primary key")
            .column("key_columns")
            .about("Source columns that identify a row, as a JSON list; empty: the primary key.");

        /// What happens to rows whose key the destination has. `"insert"`: they are bad rows.
        /// `"upsert"`: the existing row gets the new values. `"replace"`: it is deleted and the new
        /// one inserted. `"ignore"`: it stays; the new one is counted as skipped.
        write: WriteMode = unset()
            .shown()
            .column("write_mode")
            .about("`insert`, `upsert`, `replace`, `ignore`.");

        /// Columns to transfer. Without it: all that are not generated, but `sync_status`.
        columns: Vec<ColumnChoice> = unset()
            .default_words("all")
            .elsewhere("T_TASK_COLUMN", &["source_column", "position", "dest_column"]);

        /// Columns (by source name) to encrypt, each with the name of a key, or with a key that is
        /// deterministic: equal values then give equal ciphertexts, so that the column can be joined
        /// on, or be a key.
        encrypt: BTreeMap<String, CryptoChoice> = unset()
            .elsewhere("T_TASK_COLUMN", &["encrypt_key", "encrypt_mode"]);

        /// Columns (by source name) to decrypt, likewise.
        decrypt: BTreeMap<String, CryptoChoice> = unset()
            .elsewhere("T_TASK_COLUMN", &["decrypt_key", "decrypt_mode"]);

        /// Condition in the source's SQL. Rows that do not meet it stay as they are.
        filter as "where": Option<String> = unset().column("row_filter");

        /// SQL statements before the table's rows. A resumed run does not repeat them; with
        /// `mode = "status"` not even when the configuration was corrected meanwhile, and statements
        /// are then known by their place (`--restart` begins with the first again).
        before: SideSql = unset().elsewhere("T_TASK_SQL", &["phase", "side", "statement_text"]);

        /// SQL statements after all of the table's rows have landed, likewise.
        after: SideSql = unset().elsewhere("T_TASK_SQL", &["phase", "side", "statement_text"]);

        /// Source columns whose values may lose something on the way; `ssync check` says what. Also
        /// key columns whose blanks at the end the destination ignores.
        allow_lossy: Vec<String> = unset().elsewhere("T_TASK_COLUMN", &["lossy_position"]);

        /// Oracle takes empty text for NULL; this says how it shall hold it: `"refuse"` (rows with
        /// empty text are bad rows), `"null"`, `"space"` (one blank). One word for all columns, or
        /// `{ note = "null", code = "space" }` by source name (`"*"`: all others). Out of Oracle the
        /// same setting makes `""` of NULL, or of one blank, again. See
        /// [empty text](TYPES.md#empty-text). Only where one of the links is Oracle's.
        empty_as: BTreeMap<String, EmptyAs> = unset()
            .default_words("`\"refuse\"`")
            .read_by(read_empty_as)
            .elsewhere("T_TASK_COLUMN", &["empty_as"]);

        /// The application sets `sync_status` back to 0 with every change of a row (else
        /// `ssync check` asks for triggers).
        app_resets_status: bool = unset().column("app_resets_status");

        /// The destination's triggers may run for every row that lands.
        allow_triggers: bool = unset().column("allow_triggers");

        /// With `mode = "full"`: compare the number of rows at the destination with what landed
        /// before the run is done, and when it is resumed. Fewer rows fail the run; more are a note.
        /// Counting takes about half a second for a million rows of InnoDB; `false` for tables that
        /// take too long, or from which others delete rows meanwhile. With `mode = "increment"`: a
        /// destination that is empty although rows have landed there stops the run; `false` where
        /// rows are taken out of it as a matter of course. Nor does an empty destination stop a run
        /// where a statement of `before` or `after` at the destination names the table, or does not
        /// show what it changes (`CALL`, a block, `CASCADE`). A view, a trigger or a foreign key by
        /// which such a statement empties the table is not seen: set `false` there.
        count: bool = default(|| true)
            .column("count_rows")
            .about("1: a `full` run counts the destination before it is done.")
            .since(8);

        /// With `mode = "increment"`: where the first run begins when the destination has rows
        /// already: `"all"`, or a value of the watermark (`"2026-01-01 00:00:00"`, `"1000"`); rows
        /// up to it count as sent. Without it, such a first run is refused.
        initial: Option<String> = unset()
            .column("initial_value")
            .about(
                "Where the first run of `increment` begins: `all`, or a value of the mark; NULL: \
                 not configured.",
            )
            .since(8);
    }
}

impl OptionType for TableTask {
    fn types(_: Option<Limit>) -> String {
        "`[[task.table]]`".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        node.section().map(option::read)
    }

    fn placeholder() -> Self {
        Self::default()
    }

    fn shown(&self) -> String {
        format!("{{ name = {:?} }}", self.name)
    }

    fn label(value: &DeValue<'_>, n: usize) -> String {
        entry_label("name", value, n)
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        let [name, source, dest] = ["sample", "s", "d"].map(str::to_owned);
        TableTask { name, source, dest, ..Self::default() }
    }
}
