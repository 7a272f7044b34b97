//! The monitor's side of the configuration database: what is configured, the brief, old records.
//!
//! A thread of its own, since any of it may wait for a database.

use std::collections::BTreeSet;
use std::time::Duration;

use crossbeam_channel::{Receiver as Channel, Sender, bounded, unbounded};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use ssync_common::config::Clock;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{self, Event, What, events_between, record};
use ssync_common::store::{Store, StoreLocation};

use super::state::{MonitorState, Settings};
use super::{brief, wait};
use crate::books::drain::drain_left;
use crate::existing::open_or_make;

/// How often the configuration is read.
const READ_EVERY: Duration = Duration::from_secs(15);
/// Bytes that all files of events together may have.
const EVENT_BYTES_MAX: u64 = 2 << 30;
/// Hours between two removals of old records.
const PRUNE_HOURS: i64 = 24;
/// Longest time that one brief covers, in days.
const BRIEF_DAYS_MAX: i64 = 7;

/// The thread, as the main thread sees it.
pub struct Upkeep {
    hurry: Sender<()>,
}

impl Upkeep {
    /// Starts it. What comes out of the channel is to be kept; the first comes as soon as the
    /// configuration was read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        location: StoreLocation,
        state: MonitorState,
    ) -> Result<(Upkeep, Channel<MonitorState>)> {
        let (hurry, hurried) = bounded(1);
        let (news, changed) = unbounded();
        let mut books = Books { location, store: None, instance: None, state, news };
        std::thread::Builder::new().name("books".into()).spawn(move || {
            while books.round() {
                wait(&hurried, READ_EVERY.min(books.until_brief()));
            }
        })?;
        Ok((Upkeep { hurry }, changed))
    }

    /// Reads the configuration at once.
    pub fn hurry(&self) {
        // One that is waiting already is enough.
        let _ = self.hurry.try_send(());
    }
}

struct Books {
    location: StoreLocation,
    store: Option<Store>,
    /// Which database it is.
    instance: Option<String>,
    state: MonitorState,
    news: Sender<MonitorState>,
}

impl Books {
    /// Does what is to be done; false when nobody listens any more.
    fn round(&mut self) -> bool {
        let before = self.state.clone();
        match self.settings() {
            Ok(settings) => self.state.settings = Some(settings),
            Err(e) => {
                self.store = None;
                log::warn!("could not read the configuration, it stays as it was: {e}");
            }
        }
        if self.state != before && self.news.send(self.state.clone()).is_err() {
            return false;
        }
        let settings = self.state.settings.clone().unwrap_or_default();
        let before = self.state.clone();
        if let Some(at) = settings.brief.at {
            self.brief(at, &Zoned::now(), &settings);
        }
        let due = |at: Timestamp| Timestamp::now().duration_since(at).as_hours() >= PRUNE_HOURS;
        if self.state.pruned_at.is_none_or(due) {
            match self.prune(settings.retention.days) {
                Ok(()) => self.state.pruned_at = Some(Timestamp::now()),
                Err(e) => log::warn!("could not remove old records, will try again: {e}"),
            }
        }
        self.state == before || self.news.send(self.state.clone()).is_ok()
    }

    fn store(&mut self) -> Result<&mut Store> {
        let store = match self.store.take() {
            Some(store) => store,
            None => self.open()?,
        };
        self.instance = Some(store.instance_id().to_owned());
        Ok(self.store.insert(store))
    }

    /// Opens the database; one that was there before is not made anew where it is gone.
    fn open(&self) -> Result<Store> {
        let was_there = self.instance.is_some() || self.state.settings.is_some();
        if was_there && self.location.is_embedded && !self.location.home.database().exists() {
            return Err(Error::new(Kind::Connect, "the configuration database is gone")
                .detail(self.location.home.database().display().to_string()));
        }
        open_or_make(&self.location, self.instance.as_deref())
    }

    fn settings(&mut self) -> Result<Settings> {
        let store = self.store()?;
        // What task processes have left while it was out of reach.
        drain_left(store)?;
        Ok(Settings::from(store.load()?))
    }

    /// Until the next brief, so that it is punctual.
    fn until_brief(&self) -> Duration {
        let at = self.state.settings.as_ref().and_then(|s| s.brief.at);
        let Some(at) = at else { return Duration::MAX };
        let now = Zoned::now();
        let next = occurrence(&now, at, 1).unwrap_or_else(|| now.clone());
        let left = next.timestamp().duration_since(now.timestamp());
        Duration::try_from(left).unwrap_or(READ_EVERY).max(Duration::from_millis(50))
    }

    /// Records the brief if one is due.
    fn brief(&mut self, at: Clock, now: &Zoned, settings: &Settings) {
        let Some((from, to)) = due(self.state.briefed_until, at, now) else {
            if self.state.briefed_until.is_none() {
                // The first one covers a whole day, and comes at its time.
                self.state.briefed_until = latest(now, at).map(|z| z.timestamp());
            }
            return;
        };
        let home = self.location.home.path().to_path_buf();
        let id = format!("brief-{to}");
        let sent = |e: &Event| e.id == id;
        // Recorded, but killed before that was noted.
        let there = events_between(&home, to, Timestamp::now() + 1.second())
            .is_ok_and(|events| events.iter().any(sent));
        if !there {
            let data = brief::gather(&home, self.store(), settings, (from, to), true);
            let text = brief::render(&data, settings.brief.language, &TimeZone::system());
            record(&home, &Event { id, ..Event::new(What::DailyBrief, text) });
            log::info!("the daily brief is ready");
        }
        self.state.briefed_until = Some(to);
    }

    fn prune(&mut self, days: u32) -> Result<()> {
        let before = Timestamp::now().checked_sub((24 * i64::from(days)).hours());
        let before = before.unwrap_or(Timestamp::MIN);
        let store = self.store()?;
        let keep: BTreeSet<_> = store.all_settled()?.into_iter().map(|s| s.run).collect();
        let pruned = store.prune(before, &keep)?;
        let files = event::prune(self.location.home.path(), before, EVENT_BYTES_MAX)?;
        log::info!(
            runs = pruned.runs, use_times = pruned.use_times, errors = pruned.errors,
            event_files = files; "removed old records"
        );
        Ok(())
    }
}

/// The moment at which the clock shows `at`, on the day so many days after that of `now`. Where
/// the clock skips it, the moment after.
fn occurrence(now: &Zoned, at: Clock, days: i64) -> Option<Zoned> {
    let date = now.date().checked_add(days.days()).ok()?;
    let today = date.to_datetime(at.time()).to_zoned(now.time_zone().clone()).ok()?;
    match days > 0 {
        // The next one may still be today.
        true => {
            let earlier = occurrence(now, at, days - 1)?;
            Some(if earlier > *now { earlier } else { today })
        }
        false => Some(today),
    }
}

/// The last time that the clock showed `at`.
fn latest(now: &Zoned, at: Clock) -> Option<Zoned> {
    occurrence(now, at, 0).filter(|today| today <= now).or_else(|| occurrence(now, at, -1))
}

/// What the brief that is due covers; `None` when none is.
fn due(until: Option<Timestamp>, at: Clock, now: &Zoned) -> Option<(Timestamp, Timestamp)> {
    let (from, to) = (until?, latest(now, at)?.timestamp());
    let oldest = to.checked_sub((24 * BRIEF_DAYS_MAX).hours()).ok()?;
    (from < to).then_some((from.max(oldest), to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn zoned(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Clock {
        text.parse().unwrap()
    }

    #[test]
    fn a_brief_is_due_once_a_day_and_covers_what_none_has() {
        let now = zoned("2026-12-02T08:29:59[Asia/Shanghai]");
        let yesterday = zoned("2026-12-01T08:30[Asia/Shanghai]").timestamp();
        assert_eq!(latest(&now, at("08:30")).unwrap().timestamp(), yesterday);
        assert_eq!(due(Some(yesterday), at("08:30"), &now), None);
        let now = zoned("2026-12-02T10:00[Asia/Shanghai]");
        let today = zoned("2026-12-02T08:30[Asia/Shanghai]").timestamp();
        assert_eq!(due(Some(yesterday), at("08:30"), &now), Some((yesterday, today)));
        assert_eq!(due(Some(today), at("08:30"), &now), None);
        assert_eq!(due(None, at("08:30"), &now), None);
        // After a month without a monitor.
        let long_ago = zoned("2026-11-01T08:30[Asia/Shanghai]").timestamp();
        let week = zoned("2026-11-25T08:30[Asia/Shanghai]").timestamp();
        assert_eq!(due(Some(long_ago), at("08:30"), &now), Some((week, today)));
    }

    #[test]
    fn daylight_saving_neither_loses_nor_doubles_a_brief() {
        // Clocks go from 2 to 3 on 29 March, and from 3 to 2 on 25 October.
        for (first, days) in [("2026-03-27", 5), ("2026-10-23", 5)] {
            let mut now = zoned(&format!("{first}T00:00[Europe/Berlin]"));
            let mut until = Some(latest(&now, at("02:30")).unwrap().timestamp());
            let end = now.checked_add(jiff::Span::new().days(days)).unwrap();
            let mut briefs = 0;
            while now < end {
                if let Some((from, to)) = due(until, at("02:30"), &now) {
                    assert_eq!(from, until.unwrap());
                    until = Some(to);
                    briefs += 1;
                }
                now = now.checked_add(10.minutes()).unwrap();
            }
            assert_eq!(briefs, days, "{first}");
        }
    }

    #[test]
    fn the_next_brief_is_today_or_tomorrow() {
        let next = |now: &str| occurrence(&zoned(now), at("08:30"), 1).unwrap().to_string();
        assert_eq!(next("2026-12-02T08:29[UTC]"), "2026-12-02T08:30:00+00:00[UTC]");
        assert_eq!(next("2026-12-02T08:30[UTC]"), "2026-12-03T08:30:00+00:00[UTC]");
    }
}
