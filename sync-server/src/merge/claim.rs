//! Leases on feeds that are behind. A lease ends by itself, so a worker that dies holds nobody up for long.

use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::id::FeedId;
use sqlx::PgPool;
use uuid::Uuid;

use crate::db::wall::{self, Role};

/// How long a worker that is not heard of keeps its feeds.
const LEASE: Duration = Duration::from_secs(10);
/// How often a worker that computes for long says so.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Feeds in one turn: many small ones share the round trips, a large one gets only its share of the turn.
pub const FEEDS: i64 = 16;

/// A lease that is lost with the machine needs no disk write. Sequential scans are ruled out as in ingest.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL enable_seqscan = off";

/// A feed that this worker may merge.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which.
    pub feed: FeedId,
    /// Whose.
    pub account: Uuid,
    /// `None` for one that this version does not know; its entries are passed over.
    pub collection: Option<Collection>,
    /// Every entry up to here is merged.
    pub merged: u64,
}

/// Whose feeds they are: the rows that a turn may touch.
pub(super) fn accounts(claims: &[Claim]) -> Vec<Uuid> {
    claims.iter().map(|claim| claim.account).collect()
}

/// Takes the feeds that are behind and were served longest ago. What is left under this worker's name from a turn that
/// failed is free: a worker takes one turn at a time.
pub(super) async fn claim(pool: &PgPool, worker: Uuid) -> Result<Vec<Claim>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, BEGIN, Role::Merge).await?;
    let rows = sqlx::query!(
        "WITH due AS (
             SELECT feed FROM merge_queue
             WHERE merged_seq < head_seq
               AND (lease_until IS NULL OR lease_until < clock_timestamp() OR worker = $1)
             ORDER BY served_at LIMIT $3 FOR UPDATE SKIP LOCKED
         )
         UPDATE merge_queue q SET worker = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
         FROM due JOIN feeds f USING (feed)
         WHERE q.feed = due.feed
         RETURNING q.feed, f.account, f.collection, q.merged_seq",
        worker,
        LEASE.as_secs_f64(),
        FEEDS
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let claim = |feed: i64, account, collection: String, merged: i64| Claim {
        feed: FeedId(feed.cast_unsigned()),
        account,
        collection: Collection::named(&collection),
        merged: merged.cast_unsigned(),
    };
    Ok(rows.into_iter().map(|row| claim(row.feed, row.account, row.collection, row.merged_seq)).collect())
}

/// Keeps the feeds for longer.
pub(super) async fn renew(pool: &PgPool, worker: Uuid, claims: &[Claim]) -> Result<(), sqlx::Error> {
    let feeds: Vec<_> = claims.iter().map(|claim| claim.feed.0.cast_signed()).collect();
    let mut tx = wall::begin_as(pool, BEGIN, Role::Merge).await?;
    sqlx::query!(
        "WITH mine AS (
             SELECT feed FROM merge_queue WHERE feed = ANY ($2) AND worker = $1 ORDER BY feed FOR UPDATE
         )
         UPDATE merge_queue q SET lease_until = clock_timestamp() + make_interval(secs => $3)
         FROM mine WHERE q.feed = mine.feed",
        worker,
        &feeds,
        LEASE.as_secs_f64()
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}
