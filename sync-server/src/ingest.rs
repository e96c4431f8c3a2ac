//! Ingest: what devices push becomes numbered entries of their feeds, durable before anybody hears of it.
//!
//! The way of a push:
//! 1. [`check`]: each entry by itself, beside the commit of the group before.
//! 2. [`lane`]: what arrived while the previous group was being written is the next group; an idle lane starts at once.
//! 3. [`execute`]: one transaction a group: lock the feeds, read what is known, [`plan`], write, commit.
//! 4. [`settle`]: a group that the database refuses is taken apart until the one bad entry stands alone.
//! 5. Receipts to the devices, then the committed entries to whoever listens on this node.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use fitme_core::session::{Echo, Own};
use fitme_core::wire::{FeedPush, Receipt};
use sqlx::PgPool;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::auth::Device;
use crate::fanout::Live;

pub mod check;
pub mod execute;
pub mod fates;
mod lane;
mod owners;
pub mod plan;
pub mod settle;
pub mod verdict;

use check::{Offer, Origin};
use lane::{Entrance, Lane, Push};
use owners::Owners;
pub use settle::TRANSACTION_TIMEOUT;
use verdict::{Postponement, Verdict};

/// Groups that are written at the same time, each of other accounts: while one waits for the disk another is planned.
/// More of them make smaller groups.
const LANES: usize = 2;
/// Payload that may wait to be written, in KiB; every push counts as one more than it has.
const ROOM_KIB: usize = 64 << 10;
/// How long a push waits for room before the device is told to come back.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
/// How long a group waits for a database that went away before its devices are told to push again. It also keeps them
/// from doing so in a tight circle.
const AWAY_PATIENCE: Duration = Duration::from_secs(5);
/// Pushes up to so many bytes are checked where they arrive: handing them to another thread costs more than that.
const CHECK_INLINE_BYTES: usize = 8 << 10;

/// What a commit of this node changed for those who listen.
#[derive(Debug, Clone)]
pub enum Committed {
    /// A feed has new entries.
    Entries(Live),
    /// Something was granted to this account, or taken from it.
    Regranted(Uuid),
}

/// What listens to commits of this node.
pub type OnCommit = Arc<dyn Fn(Committed) + Send + Sync>;

/// Accepts pushes; cloning is cheap. When the last one is dropped the lanes end.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    owners: Owners,
    lanes: Vec<Entrance>,
    /// Bounds what waits in the lanes.
    room: Arc<Semaphore>,
    /// Checks that run at once: they are nothing but computing.
    computing: Semaphore,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// One for each entry, in order.
    pub receipts: Vec<Receipt>,
    /// Those that the feeds have now.
    pub own: Vec<Own>,
}

impl Ingest {
    /// Starts the lanes. `on_commit` gets what was committed, in the order of each feed, after the receipts were handed
    /// out; it must not block.
    #[must_use]
    pub fn start(pool: PgPool, on_commit: impl Fn(Committed) + Send + Sync + 'static) -> Self {
        Self::start_patient(pool, AWAY_PATIENCE, on_commit)
    }

    /// The same with another patience for a database that is away; a test's database may take longer to come back.
    #[must_use]
    pub fn start_patient(
        pool: PgPool,
        patience: Duration,
        on_commit: impl Fn(Committed) + Send + Sync + 'static,
    ) -> Self {
        let on_commit: OnCommit = Arc::new(on_commit);
        let lanes = (0..LANES).map(|_| Lane::start(pool.clone(), patience, Arc::clone(&on_commit))).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (room, computing) = (Arc::new(Semaphore::new(ROOM_KIB)), Semaphore::new(cores));
        Self { shared: Arc::new(Shared { pool, owners: Owners::default(), lanes, room, computing }) }
    }

    /// Has the entries accepted or refused, each with one receipt. Where nothing could be decided, because the database
    /// is away or too much is waiting, the receipt says so and the entry is to be pushed again.
    ///
    /// Pushes of one device are settled in the order in which these futures were first polled, as its later entries
    /// build on the earlier ones. Dropping the future does not take the push back.
    pub async fn submit(&self, device: Device, feeds: Vec<FeedPush>) -> Outcome {
        self.submit_from(device, feeds, Origin::default()).await
    }

    /// The same, and how the device stands to them.
    pub async fn submit_from(&self, device: Device, feeds: Vec<FeedPush>, origin: Origin) -> Outcome {
        let entries = feeds.iter().map(|push| push.entries.len()).sum();
        let bytes: usize = feeds.iter().flat_map(|push| &push.entries).map(|entry| entry.payload.len()).sum();
        let kib = (bytes >> 10).saturating_add(1).min(ROOM_KIB);
        let room = Arc::clone(&self.shared.room).acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
        let Ok(Ok(room)) = tokio::time::timeout(ROOM_PATIENCE, room).await else {
            tracing::warn!(entries, "too much waits to be written; a device is told to push again");
            return Outcome::all_undecided(entries, Postponement::Overloaded);
        };
        // No waiting between here and the lane: the order of polls is the order in the lane.
        let (checked, offers) = oneshot::channel();
        let (reply, outcome) = oneshot::channel();
        let lane = self.lane_of(device).clone();
        if lane.join(Push { device, offers, reply, room }) {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                if let Some(offers) = shared.check(feeds, bytes, origin).await {
                    // A lane that has ended needs no offers; whoever waits for the outcome is told so.
                    let _ = checked.send(offers);
                }
                lane.announce_checked();
            });
        }
        outcome.await.unwrap_or_else(|_| Outcome::all_undecided(entries, Postponement::Unavailable))
    }

    /// Payload that waits to be written, in KiB.
    #[must_use]
    pub fn waiting_kib(&self) -> usize {
        ROOM_KIB - self.shared.room.available_permits()
    }

    /// All of an account's feeds go through one lane, so their commits are announced in order.
    fn lane_of(&self, device: Device) -> &Entrance {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(device.account);
        &self.shared.lanes[hash as usize % LANES]
    }
}

impl Shared {
    /// `None` when the runtime is ending.
    async fn check(self: Arc<Self>, feeds: Vec<FeedPush>, bytes: usize, origin: Origin) -> Option<Vec<Offer>> {
        let numbers: Vec<_> = feeds.iter().map(|push| push.feed).collect::<BTreeSet<_>>().into_iter().collect();
        let targets = self.owners.targets(&self.pool, &numbers).await;
        let work = move || {
            let offers = feeds.into_iter().flat_map(|FeedPush { feed, entries }| {
                let target = &targets[&feed];
                entries.into_iter().map(move |entry| Offer { origin, ..check::check(feed, entry, target) })
            });
            offers.collect()
        };
        if bytes <= CHECK_INLINE_BYTES {
            return Some(work());
        }
        let _permit = self.computing.acquire().await;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

impl Outcome {
    fn all_undecided(entries: usize, why: Postponement) -> Self {
        let receipt = Verdict::Undecided(why).receipt();
        Self { receipts: vec![receipt; entries], own: Vec::new() }
    }

    /// The outcome of a push that is settled in full.
    fn of(offers: &[Offer], verdicts: &[Verdict]) -> Self {
        let own = offers.iter().zip(verdicts).filter_map(|(offer, verdict)| {
            let (seq, id, echo) = match verdict {
                Verdict::Accepted { seq } => (*seq, offer.id, Echo::Fresh),
                Verdict::Duplicate { seq, entry_id } if *entry_id == offer.id => (*seq, offer.id, Echo::Known),
                Verdict::Duplicate { seq, entry_id } => (*seq, *entry_id, Echo::InFull),
                Verdict::Rejected(_) | Verdict::Undecided(_) => return None,
            };
            Some(Own { feed: offer.feed, seq, id, echo })
        });
        Self { own: own.collect(), receipts: verdicts.iter().map(Verdict::receipt).collect() }
    }
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest")
            .field("lanes", &LANES)
            .field("room_kib", &self.shared.room.available_permits())
            .finish()
    }
}
