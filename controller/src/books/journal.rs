//! A run as it is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ssync_common::config::Task;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Notice, RunTotals};
use ssync_common::ledger::Id;
use ssync_common::process::RunId;
use ssync_common::store::{
    BatchState, Cause, Entry, ErrorFilter, ErrorRow, Judgement, NewAttempt, NewRun, RowState,
    RunCounts, RunEnd, RunRecord, RunState, Sent, Settled, Tenure, UseTimes,
};
use ssync_common::value::{Key, hex_bytes};
use ssync_worker::counts::Counts;
use ssync_worker::journal::{BadRow, BatchRecord, Journal, LastSettled, Look, Moment, Read};
use ssync_worker::retries::is_after_failure;

use super::bad_rows::{self, Fate};
use super::dealt_with::{self, Reading};
use super::desk::{Desk, PATIENCE};
use super::mirror::Mirror;
use super::settled::last_settled;

/// Bad rows of earlier runs that are looked at: is one of them bad again?
const BAD_BEFORE_MAX: u64 = 10_000;
/// Records that are judged in one transaction.
const JUDGED_AT_ONCE: usize = 1000;
/// How long a list of bad rows may take to be read.
const LIST_TIME_MAX: Duration = Duration::from_secs(60);

/// The journal of one sub-task's run.
pub struct RunJournal {
    desk: Desk,
    dest_url: String,
    attempt: NewAttempt,
    record_use_times: bool,
    mirror: Mirror,
    bad: Mutex<BadRows>,
    /// The run that is known to be recorded.
    known_run: Mutex<Option<Id>>,
    /// A run whose rows carry no state, and how many were there before.
    resumed: Mutex<Option<(Id, u64)>>,
    /// What the run has read, once it has.
    read: Mutex<Option<Read>>,
    /// Records of bad rows, and what the run has done with the rows.
    dealt_with: Mutex<Vec<(Fate, ErrorRow)>>,
    /// What this process has settled last.
    settled: Mutex<Option<LastSettled>>,
    notes: Mutex<Vec<String>>,
    /// What source and destination know the run by.
    tenure: Mutex<Option<Tenure>>,
}

/// Bad rows of the run.
#[derive(Default)]
struct BadRows {
    /// The run, once there was one.
    run: Option<Id>,
    /// Keys of those that are recorded, as JSON.
    recorded: BTreeSet<String>,
    /// Whether that is all of them: the database could be asked.
    are_known: bool,
    /// Records of other runs that wait for somebody, by key as JSON: a row that is bad again is one.
    of_others: BTreeMap<String, Vec<ErrorRow>>,
    /// Keys of those that this process has met.
    met: BTreeSet<String>,
    /// Those without a key that this process has met.
    keyless: u64,
}

impl BadRows {
    fn count(&self) -> u64 {
        self.met.len() as u64 + self.keyless
    }
}

fn key_json(key: &Key) -> Result<String> {
    serde_json::to_string(key).map_err(|e| Error::new(Kind::Internal, format!("key: {e}")))
}

impl RunJournal {
    /// The journal of an attempt.
    pub fn new(desk: Desk, dest_url: &str, task: &Task, attempt: NewAttempt) -> RunJournal {
        RunJournal {
            mirror: Mirror::of(&desk.home(), desk.instance(), task.id, &attempt.table),
            desk,
            dest_url: dest_url.to_owned(),
            attempt,
            record_use_times: task.record_use_times,
            bad: Mutex::default(),
            known_run: Mutex::default(),
            resumed: Mutex::default(),
            read: Mutex::default(),
            dealt_with: Mutex::default(),
            settled: Mutex::default(),
            notes: Mutex::default(),
            tenure: Mutex::default(),
        }
    }

    /// What has to be recorded of a run before its batches: nothing, unless another installation
    /// may have begun it.
    fn adoption(&self, run: &Id) -> Result<Option<NewRun>> {
        if *locked(&self.known_run)? == Some(*run) {
            return Ok(None);
        }
        let begin = self.attempt.begin;
        Ok(Some(NewRun {
            // When is not known here; before the run that found it.
            begin: begin.checked_sub(SignedDuration::from_secs(1)).unwrap_or(begin),
            attempt: None,
            ..self.new_run(run, "")
        }))
    }

    fn progress(&self, run: &Id, resumed: u64, landed: u64) -> Result<()> {
        let (run, attempt) = (RunId(*run), self.attempt.id);
        self.desk.write(Entry::Progress { run, attempt, resumed, landed })
    }

    fn new_run(&self, run: &Id, fingerprint: &str) -> NewRun {
        NewRun {
            id: RunId(*run),
            task: self.attempt.task,
            table: self.attempt.table.clone(),
            mode: self.attempt.mode,
            plan_hash: fingerprint.to_owned(),
            begin: self.attempt.begin,
            ended_before: None,
            attempt: Some(self.attempt.id),
            record_use_times: self.record_use_times,
        }
    }

    fn note(&self, text: &str) -> Result<()> {
        let mut notes = locked(&self.notes)?;
        if !notes.iter().any(|note| note == text) {
            notes.push(text.to_owned());
        }
        Ok(())
    }

    /// Looks for the records of bad rows that a run without states has read once more, and for those
    /// of them whose rows are gone; they count once the run is done. A database that is out of reach
    /// has them until the next run.
    fn look_at_read(&self, look: &mut Look<'_>) -> Result<()> {
        let (Some(read), Some(run)) = (*locked(&self.read)?, *locked(&self.known_run)?) else {
            return Ok(());
        };
        let (task, table) = (self.attempt.task, self.attempt.table.clone());
        let reading = Reading { task, table, run: RunId(run), read };
        // A database that hangs is found out by the small question.
        let first = ErrorFilter { limit: Some(1), ..reading.bad() };
        match self.desk.ask(PATIENCE, move |store| store.errors(&first))? {
            Some(first) if !first.is_empty() => {}
            _ => return Ok(()),
        }
        let rows = self.desk.ask(LIST_TIME_MAX, move |store| dealt_with::rows(store, &reading))?;
        let Some(rows) = rows else { return Ok(()) };
        let looked = rows.into_iter().take(BAD_BEFORE_MAX as usize).collect();
        *locked(&self.dealt_with)? = bad_rows::fates(looked, look)?;
        Ok(())
    }

    /// Judges the records of bad rows that a run without states has read once more, now that it is
    /// done: those that are bad no longer have landed, unless they are gone.
    fn judge_read(&self, run: RunId) -> Result<()> {
        let rows = take(&mut *locked(&self.dealt_with)?);
        let mut judged = Vec::new();
        {
            let bad = locked(&self.bad)?;
            for (fate, row) in &rows {
                let (state, how) = match fate {
                    Fate::Unknown if row.run == run => continue,
                    // Which of the rows it was, nobody can say.
                    Fate::Unknown => (RowState::Resolved, "a later run has read the table anew"),
                    Fate::Gone => (RowState::Withdrawn, bad_rows::GONE),
                    Fate::Read if bad.met.contains(&key_json(&row.key)?) => continue,
                    Fate::Read => (RowState::Landed, "a run has read and landed it"),
                };
                let by = (state != RowState::Withdrawn).then_some(run);
                judged.push(bad_rows::judgement(row, state, by, how));
            }
        }
        self.write_judged(judged)
    }

    fn write_judged(&self, judged: Vec<Judgement>) -> Result<()> {
        let mut parts = judged.chunks(JUDGED_AT_ONCE);
        parts.try_for_each(|part| self.desk.write(Entry::Judged(part.to_vec())))
    }

    /// What runs of this sub-task have settled since a moment; `None` without the database.
    fn sent_since(&self, since: Timestamp) -> Result<Option<Sent>> {
        let (task, table) = (self.attempt.task, self.attempt.table.clone());
        self.desk.ask(LIST_TIME_MAX, move |store| store.sent_since(task, &table, since))
    }

    /// What was settled before this process: by the database, else by what this host remembers.
    fn settled_before(&self) -> Result<Option<Settled>> {
        let (task, table) = (self.attempt.task, self.attempt.table.clone());
        if let Some(known) = self.desk.ask(PATIENCE, move |s| s.last_settled(task, &table))? {
            self.mirror.write(known.as_ref());
            return Ok(known);
        }
        match self.mirror.read() {
            Some(known) => Ok(known),
            None => {
                self.note(
                    "what was settled last is in the configuration database, which is out of \
                     reach: whether the destination went back in time was not looked at",
                )?;
                Ok(None)
            }
        }
    }
}

/// What a run has come to, as it is recorded.
pub(super) fn totals(run: &RunRecord) -> RunTotals {
    let RunRecord { attempts, counts, .. } = run;
    RunTotals { attempts: *attempts, landed: counts.landed, failed: counts.failed }
}

/// Whether a record says what is wrong with a row now.
fn is_error_of(row: &ErrorRow, error: &Error) -> bool {
    (&row.column, row.kind, &row.text) == (&error.column, error.kind, &error.message)
}

fn locked<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::new(Kind::Internal, "a thread of the run panicked"))
}

impl Journal for RunJournal {
    fn begin_run(&self, run: &Id, fingerprint: &str, ended: Option<&Id>) -> Result<()> {
        let ended_before = ended.map(|id| RunId(*id));
        let run_begins = NewRun { ended_before, ..self.new_run(run, fingerprint) };
        self.desk.write(Entry::Begin(run_begins))?;
        *locked(&self.known_run)? = Some(*run);
        Ok(())
    }

    fn attempt(&self) -> RunId {
        self.attempt.id
    }

    fn tried(&self, failure: &Error) -> Result<()> {
        let cause = Cause { at: Timestamp::now(), error: failure.clone() };
        self.desk.write(Entry::Tried { attempt: self.attempt.clone(), cause })
    }

    fn resumed(&self, run: &Id, rows: u64) -> Result<()> {
        let mut resumed = locked(&self.resumed)?;
        if resumed.is_some_and(|(known, _)| known == *run) {
            return Ok(());
        }
        *resumed = Some((*run, rows));
        if rows == 0 { Ok(()) } else { self.progress(run, rows, 0) }
    }

    fn has_read(&self, rows: Read) -> Result<()> {
        *locked(&self.read)? = Some(rows);
        Ok(())
    }

    fn about_to_finish(&self, run: &Id, landed: u64) -> Result<()> {
        let resumed = *locked(&self.resumed)?;
        match resumed {
            Some((known, rows)) if known == *run && landed > 0 => self.progress(run, rows, landed),
            _ => Ok(()),
        }
    }

    fn record_counter(&self, source: &Id, counter: i64) -> Result<()> {
        let source = hex_bytes::encode(source);
        self.desk.write(Entry::Counter { source, counter, at: Timestamp::now() })
    }

    fn fence_taken(&self, source: &Id, record: &Id, counter: i64) -> Result<()> {
        let (source, record) = (hex_bytes::encode(source), hex_bytes::encode(record));
        *locked(&self.tenure)? = Some(Tenure { source, record, counter });
        Ok(())
    }

    fn record_settled(
        &self,
        fence: &Id,
        epoch: i64,
        run: &Id,
        parts: &[BatchRecord],
    ) -> Result<()> {
        let now = Timestamp::now();
        let Some(last) = parts.last() else { return Ok(()) };
        let tenure = locked(&self.tenure)?.clone();
        let batches = parts
            .iter()
            .map(|part| ssync_common::store::BatchRecord {
                run: RunId(*run),
                number: part.number,
                part: Some(part.pos.clone()),
                rows: part.rows,
                low: part.lo.clone(),
                high: part.hi.clone(),
                state: BatchState::Settled,
                sent: None,
                landed: Some(now),
                settled: Some(now),
                writer: None,
                tenure: tenure.clone(),
            })
            .collect();
        let settled = Settled {
            dest_url: self.dest_url.clone(),
            fence: hex_bytes::encode(fence),
            epoch,
            run: RunId(*run),
            pos: last.pos.clone(),
            at: Some(now),
        };
        self.desk.write(Entry::Settled {
            batches,
            task: self.attempt.task,
            table: self.attempt.table.clone(),
            last: settled.clone(),
            adopt: self.adoption(run)?,
        })?;
        self.mirror.write(Some(&settled));
        *locked(&self.known_run)? = Some(*run);
        let pos = last.pos.clone();
        *locked(&self.settled)? = Some(LastSettled { fence: *fence, epoch, run: *run, pos });
        Ok(())
    }

    fn record_bad(&self, run: &Id, columns: &[String], rows: &[BadRow]) -> Result<u64> {
        let mut bad = locked(&self.bad)?;
        if bad.run != Some(*run) {
            let of_run = ErrorFilter {
                run: Some(RunId(*run)),
                states: vec![RowState::Bad],
                ..ErrorFilter::default()
            };
            let of_table = ErrorFilter {
                task: Some(self.attempt.task),
                tables: vec![self.attempt.table.clone()],
                states: vec![RowState::Bad, RowState::Retried],
                limit: Some(BAD_BEFORE_MAX),
                ..ErrorFilter::default()
            };
            let recorded = self.desk.ask(PATIENCE, move |store| store.errors(&of_run))?;
            let before = self.desk.ask(PATIENCE, move |store| store.errors(&of_table))?;
            bad.are_known = recorded.is_some();
            bad.recorded = recorded
                .unwrap_or_default()
                .iter()
                .map(|r| key_json(&r.key))
                .collect::<Result<_>>()?;
            bad.of_others.clear();
            // A row of this very run that was set back since is sent again, too.
            let is_other = |r: &ErrorRow| r.run.0 != *run || r.state == RowState::Retried;
            let others = before.unwrap_or_default().into_iter().filter(is_other);
            for row in others.filter(|row| !row.key.is_empty()) {
                bad.of_others.entry(key_json(&row.key)?).or_default().push(row);
            }
            bad.run = Some(*run);
        }
        let (mut new, mut again, mut stays) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            if row.key.is_empty() {
                bad.keyless += 1;
                new.push(row);
                continue;
            }
            let key = key_json(&row.key)?;
            let mut before = bad.of_others.remove(&key).unwrap_or_default();
            // What this very run has met before, and sent again, is one record still.
            let is_same = |r: &ErrorRow| r.run.0 == *run && is_error_of(r, &row.error);
            if let Some(same) = before.iter().position(is_same) {
                stays.push(before.remove(same));
                bad.recorded.insert(key.clone());
            }
            again.extend(before);
            if bad.recorded.insert(key.clone()) {
                new.push(row);
            }
            bad.met.insert(key);
        }
        let rows: Vec<_> = new
            .into_iter()
            .map(|row| ErrorRow {
                run: RunId(*run),
                number: 0,
                task: self.attempt.task,
                table: self.attempt.table.clone(),
                key_columns: columns.to_vec(),
                key: row.key.clone(),
                column: row.error.column.clone(),
                kind: row.error.kind,
                text: row.error.message.clone(),
                at: Timestamp::now(),
                state: RowState::Bad,
                verdict: None,
            })
            .collect();
        if !rows.is_empty()
            && let Err(e) = self.desk.write(Entry::Bad { rows, are_new: bad.are_known })
        {
            // What is recorded must be looked up again.
            bad.run = None;
            return Err(e);
        }
        let again = again.iter().map(|row| (row, RowState::Repeated));
        let again = again.chain(stays.iter().map(|row| (row, RowState::Bad)));
        let judged =
            |(row, state)| bad_rows::judgement(row, state, Some(RunId(*run)), "it was bad again");
        self.write_judged(again.map(judged).collect())?;
        Ok(bad.count())
    }

    fn bad_rows(&self) -> Result<u64> {
        Ok(locked(&self.bad)?.count())
    }

    fn judge_bad_rows(&self, moment: Moment, look: &mut Look<'_>) -> Result<()> {
        // What waits for a person may be much, and stay so: once a run is enough.
        let states: &[(RowState, Option<u64>)] = match moment {
            Moment::Before => &[(RowState::Retried, None), (RowState::Bad, Some(BAD_BEFORE_MAX))],
            Moment::After => &[(RowState::Retried, None)],
            Moment::Read => return self.look_at_read(look),
        };
        for (state, limit) in states {
            let filter = ErrorFilter {
                task: Some(self.attempt.task),
                tables: vec![self.attempt.table.clone()],
                states: vec![*state],
                limit: *limit,
                ..ErrorFilter::default()
            };
            // A database that hangs is found out by the small question.
            let first = ErrorFilter { limit: Some(1), ..filter.clone() };
            let rows = match self.desk.ask(PATIENCE, move |store| store.errors(&first))? {
                Some(first) if first.is_empty() => continue,
                Some(_) => self.desk.ask(LIST_TIME_MAX, move |store| store.errors(&filter))?,
                None => None,
            };
            let Some(rows) = rows else {
                return self.note(
                    "whether rows that were bad have landed is written down by the next run: the \
                     configuration database is out of reach",
                );
            };
            let judged = bad_rows::judge(rows, look, &mut |since| self.sent_since(since))?;
            self.write_judged(judged)?;
        }
        Ok(())
    }

    fn last_settled(&self) -> Result<Option<LastSettled>> {
        if let Some(own) = locked(&self.settled)?.clone() {
            return Ok(Some(own));
        }
        self.settled_before()?.map(last_settled).transpose()
    }

    fn end(
        &self,
        run: Option<&Id>,
        counts: &Counts,
        error: Option<&Error>,
        notice: Option<&Notice>,
    ) -> Result<()> {
        let state = match error {
            None => RunState::Done,
            Some(e) if e.kind.is_wanted() => RunState::Interrupted,
            Some(_) => RunState::Failed,
        };
        let end = RunEnd {
            state,
            counts: RunCounts {
                claimed: counts.kept_claims(),
                read: counts.read,
                landed: counts.landed,
                failed: counts.failed,
                withdrawn: counts.withdrawn,
                settled: counts.settled,
                changed: counts.changed,
                skipped: counts.skipped,
            },
            message: error.filter(|e| is_after_failure(e)).map(ToString::to_string),
            error: error.cloned(),
            end: notice.map_or_else(Timestamp::now, |notice| notice.end),
        };
        let notice = notice.cloned().map(Box::new);
        let Some(run) = run else {
            let attempt = self.attempt.clone();
            return self.desk.write(Entry::EndWithoutRun { attempt, end, notice });
        };
        if state == RunState::Done
            && let Err(e) = self.judge_read(RunId(*run))
        {
            // The end must be written down all the same.
            log::warn!("{}: records of bad rows stay as they are: {e:?}", self.attempt.table);
        }
        let use_times = self.record_use_times.then(|| UseTimes {
            task: self.attempt.task,
            table: self.attempt.table.clone(),
            run: RunId(*run),
            begin: self.attempt.begin,
            end: end.end,
            bytes: counts.bytes,
            result: state,
        });
        let attempt = Some(self.attempt.id);
        self.desk.write(Entry::End { run: RunId(*run), end, use_times, attempt, notice })
    }

    fn told(&self, notice: RunId) -> Result<()> {
        self.desk.write(Entry::Told(notice))
    }

    fn totals(&self, run: &Id) -> Result<Option<RunTotals>> {
        let run = RunId(*run);
        let Some(recorded) = self.desk.ask(PATIENCE, move |store| store.run(run))? else {
            return Ok(None);
        };
        // The end of this process waits in a file, and the rows that it has landed.
        if self.desk.outage()?.is_some_and(|outage| outage.kept > 0) {
            return Ok(None);
        }
        // One that had nothing to send is counted with others like it, and has no record of its own.
        let nothing = RunTotals { attempts: 1, landed: 0, failed: 0 };
        Ok(Some(recorded.as_ref().map_or(nothing, totals)))
    }

    fn notes(&self) -> Result<Vec<String>> {
        let mut notes = locked(&self.notes)?.clone();
        if let Some(outage) = self.desk.outage()? {
            notes.push(match outage.kept {
                0 => format!(
                    "the configuration database was out of reach at {:.0}; it has everything now",
                    outage.since
                ),
                kept => format!(
                    "the configuration database has been out of reach since {:.0}: {kept} records \
                     of this process are kept in run/books until it is back",
                    outage.since
                ),
            });
        }
        Ok(notes)
    }
}
