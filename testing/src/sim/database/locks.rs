//! Row locks, each until the end of its transaction.

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::id::{ActorId, DocId, FeedId};
use uuid::Uuid;

/// A row that can be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    Feed(FeedId),
    Document(Uuid, DocId),
    Actor(ActorId),
}

/// Who holds what; transactions are numbers.
#[derive(Debug, Default)]
pub struct Locks {
    exclusive: BTreeMap<Row, u64>,
    shared: BTreeMap<Row, BTreeSet<u64>>,
}

impl Locks {
    /// Takes the row for one transaction alone; false while somebody else holds it.
    pub fn take(&mut self, row: Row, by: u64) -> bool {
        let shared = self.shared.get(&row).is_some_and(|holders| holders.iter().any(|holder| *holder != by));
        !shared && *self.exclusive.entry(row).or_insert(by) == by
    }

    /// Takes the row together with others who do.
    pub fn share(&mut self, row: Row, by: u64) -> bool {
        let free = self.exclusive.get(&row).is_none_or(|holder| *holder == by);
        if free {
            self.shared.entry(row).or_default().insert(by);
        }
        free
    }

    /// Gives back all that a transaction holds.
    pub fn release(&mut self, by: u64) {
        self.exclusive.retain(|_, holder| *holder != by);
        self.shared.retain(|_, holders| {
            holders.remove(&by);
            !holders.is_empty()
        });
    }
}
