//! Reads by others. Each page of somebody else's feed is noted before it is sent, in a commit that does not wait for the
//! disk: a server that dies loses none, a database that dies the last moments before. Once a minute what was noted becomes
//! one record for each (feed, device, purposes) of the owner's chain; both happen in one transaction, so nothing is
//! recorded twice.

use std::time::Duration;

use fitme_core::id::FeedId;
use fitme_core::session::Page;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::chain;
use super::event::{Event, feed_name};
use crate::auth::Device;
use crate::db::wall::{self, Role};

/// Reads of one device in one feed within so long are one record.
pub const GATHERED_FOR: Duration = Duration::from_secs(60);
/// Chains that one transaction appends to: so long do the first ones wait for the last.
const CHAINS_AT_ONCE: i64 = 16;
/// Reads that are taken to one chain in one transaction.
const READS_AT_ONCE: i64 = 1_000;
/// The beginning of a transaction that notes a read: its commit does not wait for the disk, for a trainer's devices read a
/// page for each thing that a client logs.
pub const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// A page of somebody else's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whose feed.
    pub owner: Uuid,
    /// Which.
    pub feed: FeedId,
    /// Who reads.
    pub reader: Device,
    /// What the grants are for.
    pub purposes: Vec<String>,
    /// The number of the first entry.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
}

impl Read {
    /// What `reader` is about to be sent; nothing where the page is empty.
    #[must_use]
    pub fn of(page: &Page, owner: Uuid, reader: Device, purposes: Vec<String>) -> Option<Self> {
        let (first, last) = (page.after + 1, page.after + page.entries.len() as u64);
        (last >= first).then_some(Self { owner, feed: page.feed, reader, purposes, first, last })
    }
}

/// Notes a read. What could not be noted must not be sent.
///
/// # Errors
/// When the database does not answer.
pub async fn note(db: &mut PgConnection, read: &Read, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO audit_reads AS noted (account, feed, reader, device, purposes, first_seq, last_seq, first_at_ms, last_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         ON CONFLICT (account, feed, device, purposes) DO UPDATE
         SET first_seq = least(noted.first_seq, $6), last_seq = greatest(noted.last_seq, $7), last_at_ms = $8",
        read.owner,
        read.feed.0.cast_signed(),
        read.reader.account,
        read.reader.device,
        &read.purposes,
        read.first.cast_signed(),
        read.last.cast_signed(),
        now_ms
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes what was noted until then into the chains. Each round takes rows away, and new ones are younger: the rounds come to
/// an end.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn gather(pool: &PgPool, until_ms: i64) -> Result<(), sqlx::Error> {
    loop {
        let accounts = waiting(pool, until_ms).await?;
        if accounts.is_empty() {
            return Ok(());
        }
        let mut tx = wall::of(pool, &accounts).await?;
        // Chains are taken in ascending order, see `chain::append`.
        for account in accounts {
            let reads = take(&mut tx, account, until_ms).await?;
            chain::append(&mut tx, account, reads).await?;
        }
        tx.commit().await?;
    }
}

/// Whose reads wait to be taken, ascending.
async fn waiting(pool: &PgPool, until_ms: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, Role::Audit).await?;
    sqlx::query_scalar!(
        "SELECT DISTINCT account FROM audit_reads WHERE first_at_ms <= $1 ORDER BY account LIMIT $2",
        until_ms,
        CHAINS_AT_ONCE
    )
    .fetch_all(&mut *tx)
    .await
}

/// Takes reads away that another node does not take at the same time.
async fn take(db: &mut PgConnection, account: Uuid, until_ms: i64) -> Result<Vec<(i64, Event)>, sqlx::Error> {
    let rows = sqlx::query!(
        "WITH old AS (
             SELECT feed, device, purposes FROM audit_reads WHERE account = $1 AND first_at_ms <= $2
             ORDER BY feed, device, purposes LIMIT $3 FOR UPDATE
         ),
         taken AS (
             DELETE FROM audit_reads r USING old
             WHERE r.account = $1 AND r.feed = old.feed AND r.device = old.device AND r.purposes = old.purposes
             RETURNING r.*
         )
         SELECT t.reader, t.device, t.purposes, t.first_seq, t.last_seq, t.first_at_ms, t.last_at_ms, f.collection, f.scope
         FROM taken t JOIN feeds f USING (feed) ORDER BY t.first_at_ms, t.feed",
        account,
        until_ms,
        READS_AT_ONCE
    )
    .fetch_all(db)
    .await?;
    let reads = rows.into_iter().map(|row| {
        let read = Event::Read {
            reader: row.reader,
            device: row.device,
            purposes: row.purposes,
            feed: feed_name(&row.collection, &row.scope),
            first: row.first_seq,
            last: row.last_seq,
            until: row.last_at_ms,
        };
        (row.first_at_ms, read)
    });
    Ok(reads.collect())
}
