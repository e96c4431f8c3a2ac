//! One transaction: lock the feeds, read what is known, plan, write what is planned, commit. Five round trips however
//! many entries there are: where a commit takes 2.5 ms, each round trip is 0.1 ms of everybody's wait.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fitme_core::id::FeedId;
use fitme_core::session::Received;
use uuid::Uuid;

use super::fates::Fates;
use super::plan::{Candidate, FeedState, Known, KnownGrants, Plan, plan};
use super::verdict::{Rejection, Verdict};
use crate::error::is_absence;
use crate::fanout::Live;
use consents::{ConsentKeys, Places};
use known::Keys;

pub mod consents;
mod erasures;
pub mod known;
mod postgres;
mod rows;

pub use postgres::Postgres;

/// The statements of one transaction. What is asked and written in which order is decided in [`append`] alone, over
/// PostgreSQL and over the tables of the simulator alike. Dropped without a commit, it changed nothing.
pub trait Transaction: Sized + Send {
    /// Before any lock: which feeds the group's grants and revocations are about.
    fn places(&mut self, keys: &ConsentKeys) -> impl Future<Output = Result<Places, Failure>> + Send;

    /// Locks the rows of these feeds, which come in ascending order and all in the same way.
    fn lock(
        &mut self,
        feeds: &[FeedId],
        how: Lock,
        held: Held,
    ) -> impl Future<Output = Result<Vec<(FeedId, FeedState)>, Failure>> + Send;

    /// What is known of the group's keys, apart from feeds and grants; it must see all that was appended to locked feeds.
    fn known(&mut self, keys: &Keys) -> impl Future<Output = Result<Known, Failure>> + Send;

    /// Under the locks: what owners permit those who write to their feeds, and what new grants depend on.
    fn grants(&mut self, keys: &ConsentKeys) -> impl Future<Output = Result<KnownGrants, Failure>> + Send;

    /// Writes what is planned. Returns whose permissions it changed.
    fn write(
        &mut self,
        plan: &Plan,
        candidates: &[Candidate<'_>],
        places: &Places,
    ) -> impl Future<Output = Result<BTreeSet<Uuid>, Failure>> + Send;

    /// Makes it durable.
    fn commit(self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How the row of a feed is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// The feed moves, or its entries count only as long as a grant is what it is.
    Exclusive,
    /// It must not move while what its owner permits is relied on.
    Shared,
}

/// What to do about feeds that somebody else holds.
///
/// A group first takes the feeds that are free and leaves out the others, which then wait in a transaction of their
/// own: so nobody waits for a feed that he did not write to. Waiting for all and leaving out only after a timeout was
/// the other way; it costs the timeout for every device of the group, and a second try of everything after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Leave them out.
    Skip,
    /// Wait for them, for a bounded time.
    Wait,
}

/// A transaction that was committed.
#[derive(Debug, Default)]
pub struct Done {
    /// For each candidate; `None` if its feed was held by somebody else.
    pub verdicts: Vec<Option<Verdict>>,
    /// What was appended, feed by feed.
    pub live: Vec<Live>,
    /// Accounts to which something was granted, or from which it was taken.
    pub regranted: BTreeSet<Uuid>,
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database is away. If it went during the commit, the entries may be there: then they are found as duplicates.
    #[error("the database is away: {0}")]
    Away(sqlx::Error),
    /// Somebody else held a feed for too long.
    #[error("another transaction holds a feed")]
    Held,
    /// Somebody else was there first.
    #[error("another transaction came in between: {0}")]
    Contended(String),
    /// The database refused a row for what is in it.
    #[error("the database refused a row: {0}")]
    Refused(sqlx::Error),
    /// Anything else; about which entry it is, is not known.
    #[error("entries could not be written: {0}")]
    Broken(String),
}

/// Appends what may be appended of candidates that are all open, in a transaction that may touch the rows of
/// [`accounts`].
///
/// # Errors
/// [`Failure`]; then nothing changed.
pub async fn append<T: Transaction>(
    mut tx: T,
    candidates: &[Candidate<'_>],
    held: Held,
    fates: &Fates,
) -> Result<Done, Failure> {
    let places = tx.places(&ConsentKeys::of(candidates)).await?;
    let needed: Vec<_> = candidates.iter().map(|one| Locks::of(one, &places)).collect();
    let feeds = lock(&mut tx, &needed, held).await?;
    let is_locked: Vec<_> = needed.iter().map(|needed| needed.are_in(&feeds)).collect();
    let locked = candidates.iter().zip(&is_locked).filter(|(_, locked)| **locked);
    let locked: Vec<_> = locked.map(|(candidate, _)| *candidate).collect();
    let mut known = match locked.is_empty() {
        true => Known::default(),
        false => tx.known(&Keys::of(&locked)).await?,
    };
    known.feeds = feeds;
    known.grants = tx.grants(&ConsentKeys::of(&locked)).await?;
    let plan = fenced_plan(known, &locked, fates)?;
    let regranted = tx.write(&plan, &locked, &places).await?;
    tx.commit().await?;
    let live = live(&plan, &locked);
    let mut verdicts = plan.verdicts.into_iter();
    // What was waited for and is not there is no feed any more: its account was erased.
    let missing = (held == Held::Wait).then_some(Verdict::Rejected(Rejection::NotYourFeed));
    let verdicts = is_locked.iter().map(|locked| if *locked { verdicts.next() } else { missing.clone() }).collect();
    Ok(Done { verdicts, live, regranted })
}

/// Those who write and those whose feeds they write to: nobody else's rows are touched.
#[must_use]
pub fn accounts(candidates: &[Candidate<'_>]) -> Vec<Uuid> {
    let owners = candidates.iter().filter_map(|one| Some(one.offer.place.as_ref()?.owner));
    let accounts: BTreeSet<_> = owners.chain(candidates.iter().map(|one| one.device.account)).collect();
    Vec::from_iter(accounts)
}

/// The rows of `feeds` that a candidate needs.
struct Locks {
    /// That move, or whose entries count only as long as a grant is what it is.
    exclusive: Vec<FeedId>,
    /// Somebody else's `grants` feed: it must not move while what its owner permits is relied on.
    shared: Option<FeedId>,
}

impl Locks {
    fn of(candidate: &Candidate<'_>, places: &Places) -> Self {
        let Candidate { device, offer } = candidate;
        let mut exclusive = vec![offer.feed];
        exclusive.extend(places.of(offer));
        let others = offer.place.as_ref().filter(|place| place.owner != device.account);
        Self { exclusive, shared: others.map(|place| place.grants) }
    }

    fn are_in(&self, feeds: &BTreeMap<FeedId, FeedState>) -> bool {
        self.exclusive.iter().chain(&self.shared).all(|feed| feeds.contains_key(feed))
    }
}

/// Step 1: locks the group's feeds in ascending order, so that groups never wait for each other in a circle. Feeds that
/// are only relied on are locked in their turn, in a statement of their own; few groups have any.
async fn lock<T: Transaction>(
    tx: &mut T,
    needed: &[Locks],
    held: Held,
) -> Result<BTreeMap<FeedId, FeedState>, Failure> {
    let shared = needed.iter().filter_map(|needed| needed.shared).map(|feed| (feed, Lock::Shared));
    let exclusive = needed.iter().flat_map(|needed| &needed.exclusive).map(|feed| (*feed, Lock::Exclusive));
    // A feed that is needed both ways is locked in the stronger one, which comes last.
    let all: BTreeMap<FeedId, Lock> = shared.chain(exclusive).collect();
    let in_order: Vec<_> = all.into_iter().collect();
    let mut locked = BTreeMap::new();
    for run in in_order.chunk_by(|(_, a), (_, b)| a == b) {
        let feeds: Vec<_> = run.iter().map(|(feed, _)| *feed).collect();
        locked.extend(tx.lock(&feeds, run[0].1, held).await?);
    }
    Ok(locked)
}

/// A bug in the plan is found to be about one entry in the same way as a row that the database refuses.
fn fenced_plan(known: Known, candidates: &[Candidate<'_>], fates: &Fates) -> Result<Plan, Failure> {
    catch_unwind(AssertUnwindSafe(|| plan(known, candidates, fates)))
        .map_err(|_| Failure::Broken("the plan broke on it".to_owned()))
}

fn live(plan: &Plan, candidates: &[Candidate<'_>]) -> Vec<Live> {
    let mut feeds: BTreeMap<FeedId, (u64, Vec<Received>)> = BTreeMap::new();
    for new in &plan.entries {
        let offer = candidates[new.candidate].offer;
        let (_, entries) = feeds.entry(offer.feed).or_insert_with(|| (new.seq, Vec::new()));
        entries.push(Received { id: offer.id, entry: offer.entry.clone(), emptied: false });
    }
    let live = feeds.into_iter().map(|(feed, (first_seq, entries))| Live { feed, first_seq, entries: entries.into() });
    live.collect()
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        if is_absence(&error) {
            return Self::Away(error);
        }
        let code = error.as_database_error().and_then(|refused| refused.code()).unwrap_or_default().into_owned();
        match code.as_str() {
            "55P03" => Self::Held,
            // Serialization failure, deadlock, statement timeout; a row of somebody else's that was not there when it was
            // looked for, as that of an actor.
            "40001" | "40P01" | "57014" | "42501" => Self::Contended(error.to_string()),
            // Full disk, full memory, read-only after a failover: nobody's fault and gone again some time.
            code if code.starts_with("53") || code.starts_with("58") || code.starts_with("25") => Self::Away(error),
            // Data, constraints, a trigger's exception, a value too large for an index.
            code if ["22", "23", "44", "54", "P0"].iter().any(|class| code.starts_with(class)) => Self::Refused(error),
            _ => Self::Broken(error.to_string()),
        }
    }
}
