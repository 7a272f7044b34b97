//! `[[task]]`: tables from one link to another.

use super::link::{RATE_MAX, Rate};
use super::option::{Limit, Stored as _, section};
use super::table::TableTask;
use super::time::Period;
use crate::error::Result;
use crate::value::Value;

/// Most writer processes a task may have (A19).
pub const WRITERS_MAX: u8 = 10;
/// Most retries of a table.
pub const RETRIES_MAX: u64 = 100;
/// What `attempts`, the former key of `retries`, may be: the first one counted.
const ATTEMPTS: Limit = Limit::new(1, RETRIES_MAX + 1);

section! {
    /// A task: an ordered list of tables from one link to another.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Task in "[[task]]" {
        /// Number, unique; what `--task` names. A task that gets another number keeps its records and
        /// its pauses where its name is the same, or its links and tables are, and no other task had
        /// that number. Where two tasks change numbers, the records stay with the numbers.
        id: u32 = required()
            .range(1, u32::MAX as u64)
            .names_entry("0")
            .column("task_id")
            .about("Number, unique.");

        /// Name, unique; commands take it wherever they take the number. Letters (of any script),
        /// digits, `_`, `-` and `.`, not a number, at most 64 characters. Records go by the number, so
        /// that a name may change at any time.
        name: Option<String> = unset().column("task_name").short().since(13);

        /// The schedule that fires it; without one it runs by hand only. A schedule's tasks run one
        /// after another, in the file's order.
        schedule: Option<u32> = unset()
            .range(1, u32::MAX as u64)
            .column("schedule_id")
            .about("The schedule that fires it; NULL: only by hand.");

        /// Link of the source.
        source: String = required().column("source_link").short();

        /// Link of the destination.
        dest: String = required().column("dest_link").short();

        /// Writer processes, each with a connection to the destination. Not all of them work where
        /// the destination [takes no more from them](#gentle-runs) than from fewer.
        writers: u8 = default(|| 2)
            .range(1, WRITERS_MAX as u64)
            .shown()
            .column("writers")
            .about("Writer processes, 1 to 10.");

        /// Threads that read a table side by side, each with a connection to the source. More than
        /// one pays where the source, or the way from it, is what the rest waits for. A table is
        /// shared out by its key: by even steps where it is one whole number, else by the keys of
        /// rows taken by chance. Rows without a key are read by one thread, but from Oracle, whose
        /// tables are then read by ROWID ranges (where rows are not moved): many short statements in
        /// the place of one long one, which also keeps ORA-01555 away.
        readers: u8 = default(|| 1)
            .range(1, 10)
            .column("readers")
            .about("Threads that read a table, 1 to 10.")
            .since(6);

        /// Rows in one destination transaction at the most.
        batch_rows: u32 = default(|| 10_000).range(1, 1_000_000).shown().column("batch_rows");

        /// Milliseconds that a destination transaction, or a claim at the source, should take. Where
        /// rows take longer, [batches get fewer](#gentle-runs).
        batch_millis: u32 = default(|| 1000)
            .range(1, 3_600_000)
            .column("batch_millis")
            .about("Milliseconds it should take.")
            .since(7);

        /// Bytes of one slot of the batch ring. `writers + readers + 1` slots are made, which bounds
        /// the memory of a run. A wider row still travels, alone.
        slot_bytes: u64 = default(|| 4 << 20).range(64 << 10, 1 << 30).shown().column("slot_bytes");

        /// Rows a second that a run of the task may move. See [gentle runs](#gentle-runs).
        max_rows_per_sec: Option<u64> = unset()
            .range(1, RATE_MAX)
            .column("max_rows_per_sec")
            .about("Rows a second of a run; NULL: no limit.")
            .since(6);

        /// The same in bytes of values.
        max_bytes_per_sec: Option<u64> = unset()
            .range(1, RATE_MAX)
            .column("max_bytes_per_sec")
            .about("Bytes a second of a run; NULL: no limit.")
            .since(6);

        /// Bad rows that a table may have before its run fails. Each attempt counts its own: one that
        /// resumes a run may meet as many again, besides those that earlier attempts have met.
        error_limit: u64 = default(|| 0).range(0, i64::MAX as u64).shown().column("error_limit");

        /// How often a table is tried again after a failure that may pass by itself, before its run
        /// has failed. [Which failures those are](#retries) does not depend on how the task was
        /// started. 0: never.
        retries: u32 = default(|| 5)
            .range(0, RETRIES_MAX)
            .column("attempts")
            .stored_by(store_attempts, load_attempts)
            .formerly("attempts", |node| Some(node.integer(ATTEMPTS)? as u32 - 1))
            .about("How often a table is tried: one more than `retries`.")
            .since(9);

        /// How long the run waits before it tries again for the first time. Each further wait is
        /// twice as long as the one before, up to a minute; a `retry_wait` above that never grows.
        retry_wait: Period = default(|| Period::SECOND)
            .column("retry_wait_secs")
            .about("Seconds before the first retry; each further wait is twice as long.")
            .since(12);

        /// A real-time task that was suspended only because a server was out of reach goes on by
        /// itself: the daemon tests the links of the task, and resumes it when both answer. See
        /// [retries](#retries).
        resume_when_back: bool = default(|| false)
            .column("resume_when_back")
            .about("1: a task that was suspended because a server was out of reach resumes by itself.")
            .since(12);

        /// A failed table keeps those after it from starting.
        stop_on_error: bool = default(|| true).shown().column("stop_on_error");

        /// Finished tables are recorded in [`proc_use_times`](#proc_use_times).
        record_use_times: bool = default(|| true).shown().column("record_use_times");

        /// The `full` tables of a run are read from one consistent snapshot of the source, where it
        /// has one, so that children fit their parents. `false` for huge tables on busy sources,
        /// whose servers would have to keep old versions of rows for as long as the run takes, and
        /// (MySQL, MariaDB) tables that were read as they are defined. With `readers` above 1,
        /// changes of those tables wait for a moment while the readers join, a second at most, where
        /// the account may `LOCK TABLES` (Oracle: `LOCK TABLE … IN SHARE MODE`); else, or while a
        /// long transaction has changed one of them, one session reads. A resumed run is no copy of
        /// one moment, and a note says so.
        snapshot: bool = default(|| true)
            .column("snapshot")
            .about("1: `full` tables are read from one consistent snapshot.")
            .since(8);

        /// How long a pause (of a throttle or a limit, or of tables of other modes in between) may
        /// hold that snapshot open. A longer one gives it up, and the run goes on without it, with a
        /// note.
        snapshot_max: Period = default(|| Period::TEN_MINUTES)
            .column("snapshot_max_secs")
            .about("Seconds that a pause may hold the snapshot open.")
            .since(8);

        /// The sub-tasks, `[[task.table]]`, in the order they run: parents before children.
        tables as "table": Vec<TableTask> = unset()
            .shown()
            .default_words("required")
            .elsewhere("task_detail", &["task_id", "table_name"]);
    }
}

/// The column counts the first attempt, too: earlier versions configured `attempts`.
fn store_attempts(retries: &u32) -> Result<Vec<Value>> {
    retries.saturating_add(1).store()
}

fn load_attempts(values: &[Value]) -> std::result::Result<u32, usize> {
    u32::load(values)?.checked_sub(1).ok_or(0)
}

impl Task {
    /// Its limit.
    pub fn rate(&self) -> Rate {
        Rate { rows: self.max_rows_per_sec, bytes: self.max_bytes_per_sec }
    }
}
