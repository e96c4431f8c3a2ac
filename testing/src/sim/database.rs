//! The server's database, in memory: tables, row locks and transactions with exactly the semantics of what the server's SQL
//! does for sessions, ingest and merge. A transaction is read committed: it sees what others committed, keeps what it writes
//! to itself until its commit, and loses it when it is dropped. `tests/it/conformance.rs` holds it against PostgreSQL.

mod appending;
mod comparing;
mod locks;
mod merging;
mod reading;
mod snapshots;
pub mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fitme_core::collection::Collection;
use fitme_core::entry::Digest;
use fitme_core::id::{Epoch, FeedId, Installation};
use sync_server::ingest::execute::Failure;
use uuid::Uuid;

pub use appending::{Storage, Transaction};
pub use merging::{Overtaken, merge_turn};

use locks::Locks;
use tables::{FeedRow, Tables};

use super::polling::give_way;

/// One database; clones are connections to it.
#[derive(Debug, Clone, Default)]
pub struct Database(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    tables: Tables,
    locks: Locks,
    /// Its clock, ms UTC.
    now_ms: i64,
    /// Nobody is answered.
    away: bool,
    /// Moves when the database restarts: transactions of before are over.
    life: u64,
    transactions: u64,
    /// How often a feed was served by a merge worker.
    served: u64,
    /// Entries that were committed where nobody permitted it at that moment.
    breaches: Vec<String>,
}

impl Database {
    /// An empty one.
    #[must_use]
    pub fn new(installation: Installation) -> Self {
        let database = Self::default();
        database.inner().tables.installation = installation.0;
        database
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look into the tables.
    pub fn look<T>(&self, at: impl FnOnce(&Tables) -> T) -> T {
        at(&self.inner().tables)
    }

    /// What an administrator does by hand.
    pub fn change<T>(&self, how: impl FnOnce(&mut Tables) -> T) -> T {
        how(&mut self.inner().tables)
    }

    /// Sets its clock, ms UTC.
    pub fn set_clock(&self, now_ms: i64) {
        self.inner().now_ms = now_ms;
    }

    /// Goes away, which ends every transaction, or comes back.
    pub fn set_away(&self, away: bool) {
        let inner = &mut *self.inner();
        (inner.away, inner.life, inner.locks) = (away, inner.life + 1, Locks::default());
    }

    /// What was committed where nobody permitted it at that moment, in sentences.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        self.inner().breaches.clone()
    }

    /// Whether it answers nobody.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.inner().away
    }

    /// Becomes what it was when `backup` was made. As `replace_installation` does it: a new installation, and new epochs.
    pub fn restore(&self, backup: Tables, installation: Installation, mut epoch: impl FnMut() -> Epoch) {
        self.set_away(false);
        let inner = &mut *self.inner();
        inner.tables = backup;
        inner.tables.installation = installation.0;
        inner.tables.feeds.values_mut().for_each(|feed| feed.epoch = epoch());
    }

    /// A new account with the feeds that every account has; `feed` draws their numbers and epochs.
    pub fn add_account(&self, account: Uuid, mut feed: impl FnMut() -> (FeedId, Epoch)) {
        let inner = &mut *self.inner();
        for (collection, scope) in Collection::feeds_of_an_account() {
            let (number, epoch) = feed();
            let (collection, scope) = (collection.name().to_owned(), scope.to_owned());
            let row = FeedRow { account, collection, scope, epoch, head: 0, digest: Digest::default() };
            inner.tables.feeds.insert(number, row);
        }
    }

    /// A new device of an account.
    pub fn add_device(&self, device: Uuid, account: Uuid) {
        self.inner().tables.devices.insert(device, account);
    }

    /// One statement of a transaction that began in `life`.
    async fn statement(&self, life: u64) -> Result<MutexGuard<'_, Inner>, Failure> {
        give_way().await;
        let inner = self.inner();
        match inner.away || inner.life != life {
            true => Err(Failure::Away(sqlx::Error::PoolTimedOut)),
            false => Ok(inner),
        }
    }
}
