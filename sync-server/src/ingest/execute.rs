//! One transaction: lock the feeds, read what is known, plan, write what is planned, commit. Five round trips however
//! many entries there are: where a commit takes 2.5 ms, each round trip is 0.1 ms of everybody's wait.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fitme_core::entry::Digest;
use fitme_core::id::FeedId;
use fitme_core::session::Received;
use sqlx::PgConnection;
use uuid::Uuid;

use super::fates::Fates;
use super::plan::{Candidate, FeedState, Known, Plan, plan};
use super::verdict::{Rejection, Verdict};
use crate::db::wall;
use crate::error::is_absence;
use crate::fanout::Live;
use consents::Places;

mod consents;
mod erasures;
mod known;
mod rows;

/// Every lookup of a group is by an index, whatever its keys: so its statements are planned once for the connection and
/// not for each group, which would take 0.8 ms of it. A plan made while the tables are small would read them whole, and
/// would go on doing so until the next ANALYZE: so such a plan is ruled out.
///
/// The timeout ends a wait for a feed that another transaction holds for long; see [`Held`].
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL plan_cache_mode = force_generic_plan; \
                     SET LOCAL enable_seqscan = off; SET LOCAL lock_timeout = '200ms'";

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

/// Appends what may be appended of candidates that are all open.
///
/// # Errors
/// [`Failure`]; then nothing changed.
pub async fn append(
    connection: &mut PgConnection,
    candidates: &[Candidate<'_>],
    held: Held,
    fates: &Fates,
) -> Result<Done, Failure> {
    let mut tx = wall::begin_on(connection, BEGIN, &accounts(candidates)).await?;
    let places = consents::places(&mut tx, candidates).await?;
    let needed: Vec<_> = candidates.iter().map(|one| Locks::of(one, &places)).collect();
    let feeds = lock(&mut tx, &needed, held).await?;
    let is_locked: Vec<_> = needed.iter().map(|needed| needed.are_in(&feeds)).collect();
    let locked = candidates.iter().zip(&is_locked).filter(|(_, locked)| **locked);
    let locked: Vec<_> = locked.map(|(candidate, _)| *candidate).collect();
    let mut known = known::read(&mut tx, feeds, &locked).await?;
    known.grants = consents::read(&mut tx, &locked).await?;
    let plan = fenced_plan(known, &locked, fates)?;
    if !plan.entries.is_empty() {
        rows::write(&mut tx, &plan, &locked).await?;
    }
    erasures::write(&mut tx, &plan.erasures).await?;
    let regranted = consents::write(&mut tx, &plan.consents, &places).await?;
    tx.commit().await?;
    let live = live(&plan, &locked);
    let mut verdicts = plan.verdicts.into_iter();
    // What was waited for and is not there is no feed any more: its account was erased.
    let missing = (held == Held::Wait).then_some(Verdict::Rejected(Rejection::NotYourFeed));
    let verdicts = is_locked.iter().map(|locked| if *locked { verdicts.next() } else { missing.clone() }).collect();
    Ok(Done { verdicts, live, regranted })
}

/// Those who write and those whose feeds they write to: nobody else's rows are touched.
fn accounts(candidates: &[Candidate<'_>]) -> Vec<Uuid> {
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
async fn lock(
    connection: &mut PgConnection,
    needed: &[Locks],
    held: Held,
) -> Result<BTreeMap<FeedId, FeedState>, Failure> {
    let exclusive: BTreeSet<_> = needed.iter().flat_map(|needed| needed.exclusive.iter().copied()).collect();
    let shared = needed.iter().filter_map(|needed| needed.shared).filter(|feed| !exclusive.contains(feed));
    let all: BTreeMap<FeedId, bool> =
        exclusive.iter().map(|feed| (*feed, true)).chain(shared.map(|feed| (feed, false))).collect();
    let in_order: Vec<_> = all.into_iter().collect();
    let mut locked = BTreeMap::new();
    for run in in_order.chunk_by(|(_, a), (_, b)| a == b) {
        let feeds: Vec<_> = run.iter().map(|(feed, _)| feed.0.cast_signed()).collect();
        let rows = if run[0].1 {
            lock_exclusively(connection, &feeds, held).await?
        } else {
            lock_shared(connection, &feeds, held).await?
        };
        locked.extend(rows.into_iter().map(FeedRow::into_state));
    }
    Ok(locked)
}

async fn lock_exclusively(
    connection: &mut PgConnection,
    feeds: &[i64],
    held: Held,
) -> Result<Vec<FeedRow>, sqlx::Error> {
    match held {
        Held::Skip => {
            sqlx::query_as!(
                FeedRow,
                "SELECT feed, account, head_seq, digest FROM feeds WHERE feed = ANY ($1)
                 ORDER BY feed FOR NO KEY UPDATE SKIP LOCKED",
                feeds
            )
            .fetch_all(connection)
            .await
        }
        Held::Wait => {
            sqlx::query_as!(
                FeedRow,
                "SELECT feed, account, head_seq, digest FROM feeds WHERE feed = ANY ($1)
                 ORDER BY feed FOR NO KEY UPDATE",
                feeds
            )
            .fetch_all(connection)
            .await
        }
    }
}

async fn lock_shared(connection: &mut PgConnection, feeds: &[i64], held: Held) -> Result<Vec<FeedRow>, sqlx::Error> {
    match held {
        Held::Skip => {
            sqlx::query_as!(
                FeedRow,
                "SELECT feed, account, head_seq, digest FROM feeds WHERE feed = ANY ($1)
                 ORDER BY feed FOR SHARE SKIP LOCKED",
                feeds
            )
            .fetch_all(connection)
            .await
        }
        Held::Wait => {
            sqlx::query_as!(
                FeedRow,
                "SELECT feed, account, head_seq, digest FROM feeds WHERE feed = ANY ($1) ORDER BY feed FOR SHARE",
                feeds
            )
            .fetch_all(connection)
            .await
        }
    }
}

struct FeedRow {
    feed: i64,
    account: Uuid,
    head_seq: i64,
    digest: Vec<u8>,
}

impl FeedRow {
    fn into_state(self) -> (FeedId, FeedState) {
        let digest = Digest::from_slice(&self.digest).expect("the table checks that a feed's digest has 16 bytes");
        let head = self.head_seq.cast_unsigned();
        (FeedId(self.feed.cast_unsigned()), FeedState { account: self.account, head, digest })
    }
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
