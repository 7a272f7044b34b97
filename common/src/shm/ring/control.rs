//! The control word of a slot: state, readers and generation in one number.

/// State of a slot; who may move it on stands in `README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing in it.
    Free = 0,
    /// The task process writes.
    Filling = 1,
    /// Complete, not taken.
    Full = 2,
    /// A writer reads.
    Held = 3,
    /// A writer has answered and lets go.
    Answered = 4,
    /// Its writer is dead and reaped; content intact.
    Reclaimed = 5,
}

/// A control word in its parts: 8 bits of state, 16 of readers, 40 of generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) state: State,
    pub(super) leases: u16,
    pub(super) generation: u64,
}

impl Control {
    pub(super) const GENERATION_MAX: u64 = (1 << 40) - 1;

    pub(super) fn unpack(word: u64) -> Option<Control> {
        let state = match word & 0xff {
            0 => State::Free,
            1 => State::Filling,
            2 => State::Full,
            3 => State::Held,
            4 => State::Answered,
            5 => State::Reclaimed,
            _ => return None,
        };
        Some(Control { state, leases: (word >> 8) as u16, generation: word >> 24 })
    }

    pub(super) fn pack(self) -> u64 {
        self.state as u64 | u64::from(self.leases) << 8 | self.generation << 24
    }
}
