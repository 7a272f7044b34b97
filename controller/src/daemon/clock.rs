//! What time it is, and whether somebody has set the clock.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use super::schedule::Now;

/// A clock that runs ahead of real time by this much between two looks was set forward.
const JUMP_MS_MIN: i64 = 2000;

/// Remembers the last look.
#[derive(Debug, Default)]
pub struct Clock {
    last: Option<(i64, i64)>,
}

impl Clock {
    /// The host's clock now.
    pub fn look(&mut self) -> Now {
        // Counts suspension too: a host that slept has really missed what it missed.
        let running = clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map_or(0, |t| t.tv_sec() * 1000 + t.tv_nsec() / 1_000_000);
        self.look_at(Timestamp::now().as_millisecond(), running)
    }

    /// The same, of given clocks in milliseconds.
    fn look_at(&mut self, wall: i64, running: i64) -> Now {
        let jumped_from = self.last.and_then(|(last_wall, last_running)| {
            let expected = last_wall + (running - last_running);
            (wall - expected >= JUMP_MS_MIN).then_some(expected.div_euclid(1000))
        });
        self.last = Some((wall, running));
        Now { wall: wall.div_euclid(1000), jumped_from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_set_forward_jumps() {
        let mut clock = Clock::default();
        let look = |clock: &mut Clock, wall, running| {
            let now = clock.look_at(wall, running);
            (now.wall, now.jumped_from)
        };
        assert_eq!(look(&mut clock, 1_000_000, 500), (1000, None));
        // A pause of an hour in which nobody looked is time that has passed.
        assert_eq!(look(&mut clock, 4_600_000, 3_600_500), (4600, None));
        assert_eq!(look(&mut clock, 8_200_900, 3_601_500), (8200, Some(4601)));
        assert_eq!(look(&mut clock, 8_201_900, 3_602_500), (8201, None));
        assert_eq!(look(&mut clock, 1_000_000, 3_603_500), (1000, None));
    }
}
