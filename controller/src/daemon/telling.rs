//! What the daemon has people told: events for the monitor, never the same one over and over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ssync_common::event::{Event, What, record};
use ssync_common::store::Home;

/// The same about the same is told again after this.
const AGAIN: Duration = Duration::from_secs(3600);
/// Things remembered as told.
const REMEMBERED_MAX: usize = 1000;

/// Who has been told what.
#[derive(Debug)]
pub struct Telling {
    home: Home,
    told: BTreeMap<(What, u32), (String, Instant)>,
}

impl Telling {
    /// Nobody has been told anything.
    pub fn new(home: &Home) -> Telling {
        Telling { home: home.clone(), told: BTreeMap::new() }
    }

    /// Something that is told each time it happens.
    pub fn tell(&self, event: &Event) {
        record(self.home.path(), event);
    }

    /// Something about task or schedule `id` that is not told again for an hour, unless `text`
    /// differs.
    pub fn tell_once(
        &mut self,
        what: What,
        id: u32,
        text: &str,
        event: impl FnOnce(Event) -> Event,
    ) {
        let told = self.told.get(&(what, id));
        if told.is_some_and(|(old, at)| old == text && at.elapsed() < AGAIN) {
            return;
        }
        if self.told.len() >= REMEMBERED_MAX {
            self.told.retain(|_, (_, at)| at.elapsed() < AGAIN);
        }
        if self.told.len() < REMEMBERED_MAX {
            self.told.insert((what, id), (text.to_owned(), Instant::now()));
        }
        self.tell(&event(Event::new(what, text)));
    }
}
