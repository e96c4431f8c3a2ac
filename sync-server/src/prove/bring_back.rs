//! What a device brings back of a damaged feed. An entry is put where its id says that it was: into its own row, or, where rows
//! are gone, into the gap that its id fills to the digest behind it.

use std::collections::BTreeMap;

use fitme_core::change;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{EntryId, FeedId};
use fitme_core::wire::Wanted;
use sqlx::{PgConnection, PgPool};

use super::{Damage, Walk, note};
use crate::auth::Device;
use crate::db::wall;

/// Takes what fits of the entries, each with its number. Returns what is still wanted.
///
/// # Errors
/// When the database does not answer.
pub async fn bring_back(
    pool: &PgPool,
    device: Device,
    feed: FeedId,
    entries: Vec<(u64, Entry)>,
) -> Result<Vec<Wanted>, sqlx::Error> {
    let brought: BTreeMap<_, _> = entries.into_iter().collect();
    let mut tx = wall::of(pool, &[device.account]).await?;
    let walk = Walk::of(&mut tx, device.account, feed).await?;
    let (mut left, mut mended) = (Vec::new(), Vec::new());
    for damage in &walk.damage {
        match mend(&mut tx, device, feed, damage, &brought).await? {
            Some(seqs) => mended.extend(seqs),
            None => left.extend(damage.wanted()),
        }
    }
    if let Some(first) = mended.iter().min() {
        merge_again(&mut tx, feed, *first).await?;
        tracing::warn!(%feed, entries = mended.len(), device = %device.device, "a device brought entries back");
    }
    left.truncate(fitme_core::limits::WANTED_ENTRIES);
    note(&mut tx, feed, &left).await?;
    tx.commit().await?;
    Ok(left)
}

/// The numbers of what was mended; `None` if what was brought does not fit.
async fn mend(
    db: &mut PgConnection,
    device: Device,
    feed: FeedId,
    damage: &Damage,
    brought: &BTreeMap<u64, Entry>,
) -> Result<Option<Vec<u64>>, sqlx::Error> {
    match damage {
        Damage::Content { seq, id, held, .. } => {
            let Some(entry) = brought.get(seq).and_then(|entry| fitting(entry, held, *id)) else { return Ok(None) };
            update(db, feed, *seq, *id, &entry).await?;
            Ok(Some(vec![*seq]))
        }
        Damage::Gap { first, last, before, behind } => {
            let run: Vec<_> = brought.range(*first..=*last).collect();
            let sum = run.iter().fold(*before, |sum, (_, entry)| sum.plus(entry.id()));
            if run.len() as u64 != last - first + 1 || sum != *behind {
                return Ok(None);
            }
            let mut digest = *before;
            for (seq, entry) in run {
                digest = digest.plus(entry.id());
                insert(db, device, feed, *seq, entry, digest).await?;
            }
            Ok(Some((*first..=*last).collect()))
        }
    }
}

/// The entry whose id this is. A device that has the change in a snapshot alone does not know what lay beside it; the damaged
/// row may.
fn fitting(brought: &Entry, held: &Entry, id: EntryId) -> Option<Entry> {
    let beside = Entry { payload: brought.payload.clone(), ..held.clone() };
    [brought.clone(), beside].into_iter().find(|entry| entry.id() == id)
}

async fn update(db: &mut PgConnection, feed: FeedId, seq: u64, id: EntryId, entry: &Entry) -> Result<(), sqlx::Error> {
    let facts = change::read(&entry.payload).ok().map(|read| read.facts);
    sqlx::query!(
        r#"SELECT mend_entry($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)::text AS "nothing""#,
        feed.0.cast_signed(),
        seq.cast_signed(),
        id.as_bytes(),
        entry.kind as i16,
        entry.doc_id.as_bytes(),
        entry.device_time,
        &entry.salt,
        &entry.payload,
        facts.as_ref().map(|facts| facts.hash.as_bytes()),
        facts.as_ref().map(|facts| facts.actor.as_bytes()),
        facts.as_ref().map(|facts| facts.actor_seq.cast_signed())
    )
    .fetch_one(db)
    .await
    .map(drop)
}

/// Who wrote it is whose actor it is; where nobody is known to be, the one who brings it.
async fn insert(
    db: &mut PgConnection,
    device: Device,
    feed: FeedId,
    seq: u64,
    entry: &Entry,
    digest: Digest,
) -> Result<(), sqlx::Error> {
    let (id, facts) = (entry.id(), change::read(&entry.payload).ok().map(|read| read.facts));
    sqlx::query!(
        "INSERT INTO entries (feed, seq, entry_id, kind, doc_id, change_hash, actor, actor_seq, author, offered_by,
             device_time, digest, salt, payload)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, COALESCE((SELECT device FROM actors WHERE actor = $7), $9), $9, $10,
             $11, $12, $13)",
        feed.0.cast_signed(),
        seq.cast_signed(),
        id.as_bytes(),
        entry.kind as i16,
        entry.doc_id.as_bytes(),
        facts.as_ref().map(|facts| facts.hash.as_bytes()),
        facts.as_ref().map(|facts| facts.actor.as_bytes()),
        facts.as_ref().map(|facts| facts.actor_seq.cast_signed()),
        device.device,
        entry.device_time,
        &digest.to_bytes(),
        &entry.salt,
        &entry.payload
    )
    .execute(db)
    .await
    .map(drop)
}

/// Has merge workers look at the feed again from there: a document that could not be merged may be now. Who has read it before
/// finds the lease gone.
async fn merge_again(db: &mut PgConnection, feed: FeedId, first: u64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE merge_queue SET merged_seq = LEAST(merged_seq, $2), worker = NULL, lease_until = NULL WHERE feed = $1",
        feed.0.cast_signed(),
        first.cast_signed() - 1
    )
    .execute(db)
    .await
    .map(drop)
}
