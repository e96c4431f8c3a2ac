//! Changes that were pushed lately and not accepted. A device has several pushes under way: when nothing was decided
//! about one (the database was away for a moment), the next must not be refused for building on it.

use std::collections::{HashMap, VecDeque};

use fitme_core::id::ChangeHash;
use uuid::Uuid;

use super::verdict::Verdict;

/// Changes that are remembered; beyond, the oldest are forgotten and what builds on them is `unknown_dependency`.
const REMEMBERED: usize = 50_000;

/// How a change that was not accepted ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// To be pushed again.
    Undecided,
    /// Refused for good.
    Rejected,
}

impl Fate {
    /// `None` for what the feed has.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Accepted { .. } | Verdict::Duplicate { .. } => None,
            Verdict::Rejected(_) => Some(Self::Rejected),
            Verdict::Undecided(_) => Some(Self::Undecided),
        }
    }
}

/// The fates by device and change.
#[derive(Debug, Default)]
pub struct Fates {
    by_change: HashMap<(Uuid, ChangeHash), Fate>,
    oldest_first: VecDeque<(Uuid, ChangeHash)>,
}

impl Fates {
    /// What became of a change that this device pushed, if it was not accepted.
    #[must_use]
    pub fn of(&self, change: (Uuid, ChangeHash)) -> Option<Fate> {
        self.by_change.get(&change).copied()
    }

    /// Remembers a change that was not accepted, or forgets one that was.
    pub fn note(&mut self, change: (Uuid, ChangeHash), fate: Option<Fate>) {
        match fate {
            None => drop(self.by_change.remove(&change)),
            Some(fate) => {
                if self.by_change.insert(change, fate).is_none() {
                    self.oldest_first.push_back(change);
                }
                self.forget_oldest();
            }
        }
    }

    fn forget_oldest(&mut self) {
        while self.oldest_first.len() > REMEMBERED {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_change.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_fates_are_forgotten() {
        let change = |n: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&(n as u64).to_le_bytes());
            (Uuid::nil(), ChangeHash(hash))
        };
        let mut fates = Fates::default();
        for n in 0..=REMEMBERED {
            fates.note(change(n), Some(Fate::Undecided));
        }
        assert_eq!(fates.of(change(0)), None);
        assert_eq!(fates.of(change(1)), Some(Fate::Undecided));
        fates.note(change(1), None);
        assert_eq!(fates.of(change(1)), None);
    }
}
