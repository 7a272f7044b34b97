//! How moments are shown. Programs get RFC 3339 in UTC; people get their local time with its
//! offset, or UTC with `--utc`.
//!
//! Whoever makes a text, the daemon or another host included, writes moments into it as
//! `2026-12-01T00:00:00Z`; [`localized`] turns them into people's time where the text is printed.

use std::borrow::Cow;
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

static ZONE: OnceLock<TimeZone> = OnceLock::new();
/// Characters of `2026-12-01T00:00:00`.
const CHARS: usize = 19;

/// Shows UTC from now on (`--utc`). Called before anything is shown.
pub fn use_utc() {
    let _ = ZONE.set(TimeZone::UTC);
}

/// The zone that moments are shown in.
pub fn zone() -> TimeZone {
    ZONE.get_or_init(TimeZone::system).clone()
}

/// A moment in that zone.
pub fn zoned(at: Timestamp) -> Zoned {
    at.to_zoned(zone())
}

/// `2026-12-01 08:00:00+08:00`.
pub fn shown(at: Timestamp) -> String {
    in_zone(at, zone())
}

/// A text with its moments in the zone that moments are shown in.
pub fn localized(text: &str) -> Cow<'_, str> {
    localized_to(text, &zone())
}

fn in_zone(at: Timestamp, zone: TimeZone) -> String {
    at.to_zoned(zone).strftime("%F %T%:z").to_string()
}

/// A text with its moments in this zone.
pub fn localized_to<'a>(text: &'a str, zone: &TimeZone) -> Cow<'a, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((start, end, at)) = first_moment(rest) {
        out += &rest[..start];
        out += &in_zone(at, zone.clone());
        rest = &rest[end..];
    }
    if out.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(out + rest)
}

/// The first moment in a text: where it begins and ends.
fn first_moment(text: &str) -> Option<(usize, usize, Timestamp)> {
    text.match_indices('Z').find_map(|(z, _)| {
        let digits = text[..z].bytes().rev().take_while(u8::is_ascii_digit).count();
        let has_fraction = text[..z - digits].ends_with('.');
        let seconds_end = if has_fraction { z - digits - 1 } else { z };
        let start = seconds_end.checked_sub(CHARS)?;
        let at = text.get(start..=z)?.parse().ok()?;
        Some((start, z + 1, at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_shanghai(text: &str) -> String {
        let offset = jiff::tz::offset(8);
        localized_to(text, &TimeZone::fixed(offset)).into_owned()
    }

    #[test]
    fn moments_in_a_text_become_local_with_their_offset() {
        for (text, local) in [
            ("paused since 2026-11-30T20:00:00Z: Z", "paused since 2026-12-01 04:00:00+08:00: Z"),
            ("2026-11-30T20:00:00.123456Z", "2026-12-01 04:00:00+08:00"),
            (
                "a 2026-11-30T20:00:00Z b 2026-11-30T23:59:59Z",
                "a 2026-12-01 04:00:00+08:00 b 2026-12-01 07:59:59+08:00",
            ),
        ] {
            assert_eq!(in_shanghai(text), local);
        }
    }

    #[test]
    fn what_is_no_moment_stays() {
        for text in [
            "",
            "Z",
            "7Z",
            ".Z",
            "文Z",
            "文2026-11-30T20:00:0Z",
            "2026-13-30T20:00:00Z",
            "2026-11-30 at 20:00 Z",
        ] {
            assert_eq!(in_shanghai(text), text);
        }
    }
}
