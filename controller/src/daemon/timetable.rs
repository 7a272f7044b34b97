//! On which moments a schedule's firings fall: arithmetic, nothing else.
//!
//! Moments are whole seconds since 1970. Firings form a grid: `every` seconds apart or, with a
//! zone, on the same time of day every so many days.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use ssync_common::config::{Period, Schedule};
use ssync_common::error::{Error, Kind, Result};

/// Seconds since 1970-01-01T00:00:00Z.
pub type Secs = i64;

/// The moments of one schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    every: i64,
    start: Option<Secs>,
    zoned: Option<Zoned>,
}

/// Firings on a zone's clock.
#[derive(Debug, Clone, PartialEq)]
struct Zoned {
    zone: TimeZone,
    /// The first one on that clock.
    local: DateTime,
    days: i64,
}

impl Timetable {
    /// The moments of a schedule.
    ///
    /// # Errors
    /// [`Kind::Config`] when this host does not know the zone.
    pub fn of(schedule: &Schedule) -> Result<Timetable> {
        let every = i64::try_from(schedule.every.secs()).unwrap_or(i64::MAX / 4);
        let start = schedule.start.as_ref().map(|s| s.unix_secs());
        let zoned = match (&schedule.zone, start) {
            (Some(name), Some(start)) => {
                let unknown = |e: jiff::Error| {
                    Error::new(Kind::Config, format!("schedule {}: {e}", schedule.id))
                };
                let zone = TimeZone::get(name).map_err(unknown)?;
                let local = Timestamp::from_second(start).map_err(unknown)?.to_zoned(zone.clone());
                let days = every / Period::DAY.secs() as i64;
                Some(Zoned { zone, local: local.datetime(), days: days.max(1) })
            }
            _ => None,
        };
        Ok(Timetable { every, start, zoned })
    }

    /// Seconds between two firings, but for what daylight saving adds or takes.
    pub fn every(&self) -> i64 {
        self.every
    }

    /// The first firing, where there is a configured one.
    pub fn start(&self) -> Option<Secs> {
        self.start
    }

    /// The first firing of a daemon that begins at `now` (A23).
    pub fn first(&self, now: Secs) -> Secs {
        match self.start {
            None => now + self.every,
            Some(start) if start > now => start,
            Some(start) => self.after(start, now),
        }
    }

    /// The first moment after `now`, on the grid that `point` is on.
    pub fn after(&self, point: Secs, now: Secs) -> Secs {
        if let Some(start) = self.start
            && now < start
        {
            return start;
        }
        match &self.zoned {
            None => now + self.every - (now - point).rem_euclid(self.every),
            Some(zoned) => zoned.after(self.start.unwrap_or(point), now),
        }
    }

    /// How many moments there are from `point`, which is one, to `now`, both included.
    pub fn count(&self, point: Secs, now: Secs) -> u64 {
        if now < point {
            return 0;
        }
        if self.zoned.is_none() {
            return ((now - point) / self.every) as u64 + 1;
        }
        std::iter::successors(Some(point), |p| Some(self.after(*p, *p)))
            .take_while(|p| *p <= now)
            .count() as u64
    }

    /// The last moment at or before `now`, not before `point`, which is one.
    pub fn latest(&self, point: Secs, now: Secs) -> Secs {
        match self.zoned {
            None => now - (now - point).rem_euclid(self.every),
            Some(_) => std::iter::successors(Some(point), |p| Some(self.after(*p, *p)))
                .take_while(|p| *p <= now)
                .last()
                .unwrap_or(point),
        }
        .max(point)
    }

    /// The moments from `point`, which is one, onwards.
    pub fn from(&self, point: Secs) -> impl Iterator<Item = Secs> {
        std::iter::successors(Some(point), |p| Some(self.after(*p, *p)))
    }
}

impl Zoned {
    /// The moment of firing number `n`, counted from the first. A time of day that does not exist
    /// moves on by the gap's length; of one that comes twice the first is meant.
    fn moment(&self, n: i64) -> Option<Secs> {
        let days = Span::new().try_days(n.checked_mul(self.days)?).ok()?;
        let local = self.local.checked_add(days).ok()?;
        Some(local.to_zoned(self.zone.clone()).ok()?.timestamp().as_second())
    }

    fn after(&self, start: Secs, now: Secs) -> Secs {
        let length = self.days * Period::DAY.secs() as i64;
        // Two periods early: zones have moved by a day and more.
        let from = ((now - start) / length - 2).max(0);
        (from..from + 8)
            .filter_map(|n| self.moment(n))
            .find(|moment| *moment > now)
            // Beyond the calendar (the year 9999).
            .unwrap_or(now + length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    pub fn schedule(every: u64, start: Option<&str>, zone: Option<&str>) -> Schedule {
        Schedule {
            id: 1,
            every: Period::from_secs(every).unwrap(),
            start: start.map(|s| s.parse().unwrap()),
            zone: zone.map(str::to_owned),
            ..Schedule::default()
        }
    }

    fn table(every: u64, start: Option<&str>, zone: Option<&str>) -> Timetable {
        Timetable::of(&schedule(every, start, zone)).unwrap()
    }

    fn secs(text: &str) -> Secs {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn the_first_firing_is_the_start_or_a_period_from_now() {
        assert_eq!(table(5, None, None).first(100), 105);
        let from = table(10, Some("1970-01-01T00:01:00Z"), None);
        assert_eq!(from.first(5), 60);
        // The start has passed: the grid stays where it was.
        assert_eq!((from.first(60), from.first(69), from.first(70)), (70, 70, 80));
        assert_eq!(from.after(90, 3), 60);
    }

    #[test]
    fn a_day_is_24_hours_without_a_zone_and_a_time_of_day_with_one() {
        let (before, after) = (secs("2026-03-28T12:00:00Z"), secs("2026-03-29T12:00:00Z"));
        let start = Some("2026-01-01T02:30:00+01:00");
        let plain = table(86_400, start, None);
        assert_eq!(plain.first(before), secs("2026-03-29T01:30:00Z"));
        assert_eq!(plain.first(after), secs("2026-03-30T01:30:00Z"));
        let zoned = table(86_400, start, Some("Europe/Berlin"));
        // 02:30 does not exist on that day: an hour later on the clock.
        assert_eq!(zoned.first(before), secs("2026-03-29T03:30:00+02:00"));
        assert_eq!(zoned.first(after), secs("2026-03-30T02:30:00+02:00"));
        // It comes twice in autumn and fires once.
        let autumn = secs("2026-10-24T12:00:00Z");
        let twice: Vec<_> = zoned.from(zoned.first(autumn)).take(2).collect();
        let expected = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"].map(secs);
        assert_eq!(twice, expected);
        assert_eq!(zoned.count(expected[0], expected[1] - 1), 1);
        assert_eq!(zoned.latest(expected[0], expected[1] + 7), expected[1]);
    }

    proptest! {
        #[test]
        fn what_is_computed_is_what_counting_finds(
            every in 1u64..500, point in 0i64..10_000, now in 0i64..20_000
        ) {
            let table = table(every, None, None);
            let next = table.after(point, now);
            prop_assert!(next > now && next - now <= every as i64);
            prop_assert_eq!((next - point).rem_euclid(every as i64), 0);
            if now >= point {
                let counted: Vec<_> = table.from(point).take_while(|p| *p <= now).collect();
                prop_assert_eq!(table.count(point, now), counted.len() as u64);
                prop_assert_eq!(Some(&table.latest(point, now)), counted.last());
            }
        }

        #[test]
        fn a_zones_firings_are_days_apart_and_on_its_clock(
            days in 1u64..40, now in 0i64..4_000_000_000,
            zone in proptest::sample::select(vec![
                "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Shanghai",
            ])
        ) {
            let table = table(days * 86_400, Some("1970-01-02T01:15:00Z"), Some(zone));
            let first = table.first(now);
            prop_assert!(first > now);
            let zone = TimeZone::get(zone).unwrap();
            let clock = |s: Secs| Timestamp::from_second(s).unwrap().to_zoned(zone.clone());
            let wanted = clock(secs("1970-01-02T01:15:00Z")).time();
            let mut last = first;
            for moment in table.from(first).skip(1).take(400) {
                let apart = moment - last;
                let period = days as i64 * 86_400;
                prop_assert!((period - 7200..=period + 7200).contains(&apart), "{}", apart);
                let off = clock(moment).time().duration_since(wanted).as_secs().abs();
                // Only in a gap is it another time.
                prop_assert!(off == 0 || (1800..=3600).contains(&off), "{}", off);
                last = moment;
            }
        }
    }
}
