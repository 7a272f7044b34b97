//! What goes wrong on purpose.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// When a fault may strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A connection arrives.
    Connect,
    /// A password is about to be checked.
    Login,
    /// A statement is executed, other than a COMMIT or ROLLBACK.
    Execute,
    /// Further rows are fetched.
    Fetch,
    /// A transaction is committed: as a call, as SQL, or along with a statement.
    Commit,
    /// A transaction is rolled back, as a call or as SQL.
    Rollback,
    /// A LOB is read or written through its locator.
    Lob,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The connection ends, and nothing is done.
    DropBefore,
    /// It is done, and the connection ends without an answer.
    DropAfter,
    /// It is done and answered, and the connection ends.
    DropAnswered,
    /// It is done after this time.
    Delay(Duration),
    /// It is done, and answered after this time.
    DelayAnswer(Duration),
    /// It is not done, and this error is the answer. A connection is refused with this code.
    Error {
        /// The number behind `ORA-`.
        code: u32,
        /// The text behind the number.
        message: String,
    },
}

/// A fault: the `skip + 1`st match and `times - 1` more are struck.
#[derive(Debug, Clone)]
pub struct Fault {
    /// When.
    pub moment: Moment,
    /// Only statements that hold this text, in capitals or not.
    pub sql: Option<String>,
    /// How many matches pass before it strikes.
    pub skip: u64,
    /// How often it strikes.
    pub times: u64,
    /// What happens.
    pub effect: Effect,
}

impl Fault {
    /// A fault that strikes the first match, once.
    pub fn new(moment: Moment, effect: Effect) -> Self {
        Fault { moment, sql: None, skip: 0, times: 1, effect }
    }

    /// Strikes the nth match first, counted from one.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        self.skip = n.saturating_sub(1);
        self
    }

    /// Strikes so many matches in a row.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Strikes only statements that hold this text.
    #[must_use]
    pub fn matching(mut self, sql: &str) -> Self {
        self.sql = Some(sql.to_uppercase());
        self
    }

    /// A fault in words: `MOMENT EFFECT [nth=N] [times=N] [sql=TEXT to the end]`, with the effects
    /// `drop-before`, `drop-after`, `drop-answered`, `delay=MS`, `delay-answer=MS`, `error=CODE`.
    pub fn parse(words: &str) -> Option<Self> {
        let (head, sql) = match words.split_once(" sql=") {
            Some((head, sql)) => (head, Some(sql)),
            None => (words, None),
        };
        let mut parts = head.split_whitespace();
        let moment = match parts.next()? {
            "connect" => Moment::Connect,
            "login" => Moment::Login,
            "execute" => Moment::Execute,
            "fetch" => Moment::Fetch,
            "commit" => Moment::Commit,
            "rollback" => Moment::Rollback,
            "lob" => Moment::Lob,
            _ => return None,
        };
        let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
        let effect = match parts.next()?.split_once('=') {
            None => match head.split_whitespace().nth(1)? {
                "drop-before" => Effect::DropBefore,
                "drop-after" => Effect::DropAfter,
                "drop-answered" => Effect::DropAnswered,
                _ => return None,
            },
            Some(("delay", time)) => Effect::Delay(millis(time)?),
            Some(("delay-answer", time)) => Effect::DelayAnswer(millis(time)?),
            Some(("error", code)) => {
                Effect::Error { code: code.parse().ok()?, message: "as ordered".to_owned() }
            }
            Some(_) => return None,
        };
        let mut fault = Fault::new(moment, effect);
        for part in parts {
            fault = match part.split_once('=')? {
                ("nth", n) => fault.nth(n.parse().ok()?),
                ("times", n) => fault.times(n.parse().ok()?),
                _ => return None,
            };
        }
        Some(match sql {
            Some(sql) => fault.matching(sql),
            None => fault,
        })
    }
}

/// The faults in waiting.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Mutex<VecDeque<Fault>>,
}

impl Faults {
    /// Adds a fault; the oldest that matches strikes.
    pub fn add(&self, fault: Fault) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many faults have not struck as often as they shall.
    pub fn waiting(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What happens now. Every fault that matches counts this match.
    pub(crate) fn strike(&self, moment: Moment, sql: &str) -> Option<Effect> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let upper = sql.to_uppercase();
        let mut effect = None;
        for fault in waiting.iter_mut() {
            let wanted = fault.sql.as_ref().is_none_or(|text| upper.contains(text));
            if fault.moment != moment || !wanted {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if effect.is_none() {
                fault.times -= 1;
                effect = Some(fault.effect.clone());
            }
        }
        waiting.retain(|fault| fault.times > 0);
        effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_nth_match_as_often_as_ordered() {
        let faults = Faults::default();
        faults.add(Fault::parse("commit drop-after nth=2 times=2").unwrap());
        faults.add(Fault::parse("execute error=54 sql=insert into T").unwrap());
        let struck: Vec<bool> =
            (0..4).map(|_| faults.strike(Moment::Commit, "").is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.strike(Moment::Execute, "select 1"), None);
        assert!(faults.strike(Moment::Execute, "INSERT INTO t VALUES (1)").is_some());
        assert_eq!(faults.waiting(), 0);
        for wrong in ["", "commit", "commit burn", "never drop-after", "commit drop-after x=1"] {
            assert!(Fault::parse(wrong).is_none(), "{wrong}");
        }
    }
}
