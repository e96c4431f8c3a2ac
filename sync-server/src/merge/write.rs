//! Stores what a turn merged and gives its feeds back, in one transaction.

use fitme_core::id::FeedId;
use fitme_core::record::PROJECTION_VERSION;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::TurnError;
use super::fold::{Folded, Merged, Quarantine};
use crate::db::wall;
use crate::error::is_absence;

/// What is lost with the machine is merged again from the entries, which are safe: so nothing here waits for the disk.
/// Sequential scans are ruled out as in ingest.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL enable_seqscan = off";

/// Writes everything, or nothing, to feeds of these accounts.
pub(super) async fn write(
    pool: &PgPool,
    worker: Uuid,
    accounts: &[Uuid],
    folded: &[Folded],
    merged: &[(FeedId, u64)],
) -> Result<(), TurnError> {
    match write_all(pool, worker, accounts, folded, merged).await {
        Err(TurnError::Database(error)) if is_refusal(&error) => {
            tracing::error!(%error, "the database refused a merged document; each is tried alone");
            let folded = quarantine_refused(pool, accounts, folded).await?;
            write_all(pool, worker, accounts, &folded, merged).await
        }
        written => written,
    }
}

async fn write_all(
    pool: &PgPool,
    worker: Uuid,
    accounts: &[Uuid],
    folded: &[Folded],
    merged: &[(FeedId, u64)],
) -> Result<(), TurnError> {
    let mut tx = wall::begin(pool, BEGIN, accounts).await?;
    write_documents(&mut tx, folded).await?;
    // Last, because ingest waits for these rows.
    release(&mut tx, worker, merged).await?;
    Ok(tx.commit().await?)
}

fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refused| refused.code()).unwrap_or_default();
    !is_absence(error) && ["22", "23", "54", "P0"].iter().any(|class| code.starts_with(class))
}

/// Finds out which documents the database refuses, without keeping any.
async fn quarantine_refused(pool: &PgPool, accounts: &[Uuid], folded: &[Folded]) -> Result<Vec<Folded>, TurnError> {
    let mut checked = Vec::new();
    for one in folded {
        let mut tx = wall::of(pool, accounts).await?;
        let mut one = one.clone();
        match write_documents(&mut tx, std::slice::from_ref(&one)).await {
            Err(TurnError::Database(error)) if is_refusal(&error) => {
                tracing::error!(feed = %one.feed, doc_id = %one.doc_id, %error, "a document is quarantined");
                one.outcome = Err(Quarantine::Refused);
            }
            other => other?,
        }
        tx.rollback().await?;
        checked.push(one);
    }
    Ok(checked)
}

async fn write_documents(connection: &mut PgConnection, folded: &[Folded]) -> Result<(), TurnError> {
    if folded.is_empty() {
        return Ok(());
    }
    let good: Vec<_> = folded.iter().filter_map(|one| Some((one, one.outcome.as_ref().ok()?))).collect();
    let bad: Vec<_> = folded.iter().filter_map(|one| Some((one, one.outcome.as_ref().err()?))).collect();
    let written = write_snapshots(connection, &good).await? + quarantine(connection, &bad).await?;
    if written != folded.len() as u64 {
        return Err(TurnError::Overtaken);
    }
    // A document whose every change was taken out is no record.
    let records: Vec<_> = good.into_iter().filter(|(_, merged)| !merged.heads.is_empty()).collect();
    write_records(connection, &records).await
}

/// Returns how many were written: a document is left alone if its snapshot is not the one that this started from.
async fn write_snapshots(connection: &mut PgConnection, good: &[(&Folded, &Merged)]) -> Result<u64, TurnError> {
    // The heads of all documents one after the other, and where each document's begin and end.
    let (mut heads, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (_, merged) in good {
        first.push(heads.len() as i32 + 1);
        heads.extend(merged.heads.iter().map(|head| head.as_bytes()));
        last.push(heads.len() as i32);
    }
    let written = sqlx::query_file!(
        "src/merge/snapshots.sql",
        &good.iter().map(|(one, _)| one.feed.0.cast_signed()).collect::<Vec<_>>(),
        &good.iter().map(|(one, _)| one.doc_id.as_bytes()).collect::<Vec<_>>() as &[&[u8]],
        &good.iter().map(|(one, _)| one.is_new).collect::<Vec<_>>(),
        &good.iter().map(|(one, _)| one.from_seq.cast_signed()).collect::<Vec<_>>(),
        &good.iter().map(|(_, merged)| merged.snapshot_seq.cast_signed()).collect::<Vec<_>>(),
        &good.iter().map(|(_, merged)| merged.snapshot.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &heads as &[&[u8]],
        &first,
        &last
    )
    .fetch_one(connection)
    .await?;
    Ok(written.count.cast_unsigned())
}

/// Marks documents that could not be merged; their last good snapshot and record stay.
async fn quarantine(connection: &mut PgConnection, bad: &[(&Folded, &Quarantine)]) -> Result<u64, TurnError> {
    if bad.is_empty() {
        return Ok(0);
    }
    let marked = sqlx::query!(
        "INSERT INTO snapshots (feed, doc_id, snapshot_seq, heads, snapshot, quarantined)
         SELECT feed, doc_id, 0, '{}', '', reason
         FROM UNNEST($1::bigint[], $2::bytea[], $3::text[]) AS new (feed, doc_id, reason)
         ON CONFLICT (feed, doc_id) DO UPDATE SET quarantined = EXCLUDED.quarantined",
        &bad.iter().map(|(one, _)| one.feed.0.cast_signed()).collect::<Vec<_>>(),
        &bad.iter().map(|(one, _)| one.doc_id.as_bytes()).collect::<Vec<_>>() as &[&[u8]],
        &bad.iter().map(|(_, why)| why.to_string()).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(marked.rows_affected())
}

async fn write_records(connection: &mut PgConnection, good: &[(&Folded, &Merged)]) -> Result<(), TurnError> {
    let projections: Vec<_> = good.iter().map(|(_, merged)| &merged.projection).collect();
    sqlx::query!(
        "INSERT INTO records (feed, doc_id, at, trashed, columns, record, flags, projection_version)
         SELECT feed, doc_id, at, trashed, columns, record, ARRAY(SELECT jsonb_array_elements_text(flags)), $8
         FROM UNNEST($1::bigint[], $2::bytea[], $3::bigint[], $4::bool[], $5::jsonb[], $6::jsonb[], $7::jsonb[])
             AS new (feed, doc_id, at, trashed, columns, record, flags)
         ON CONFLICT (feed, doc_id) DO UPDATE
         SET at = EXCLUDED.at, trashed = EXCLUDED.trashed, columns = EXCLUDED.columns, record = EXCLUDED.record,
             flags = EXCLUDED.flags, projection_version = EXCLUDED.projection_version",
        &good.iter().map(|(one, _)| one.feed.0.cast_signed()).collect::<Vec<_>>(),
        &good.iter().map(|(one, _)| one.doc_id.as_bytes()).collect::<Vec<_>>() as &[&[u8]],
        &projections.iter().map(|projection| projection.at).collect::<Vec<_>>() as &[Option<i64>],
        &projections.iter().map(|projection| projection.trashed).collect::<Vec<_>>(),
        &projections.iter().map(|projection| &projection.columns).collect::<Vec<_>>() as &[&Value],
        &projections.iter().map(|projection| &projection.record).collect::<Vec<_>>() as &[&Value],
        &projections.iter().map(|projection| Value::from(projection.flags.clone())).collect::<Vec<_>>(),
        PROJECTION_VERSION
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves the feeds on and gives them back, to the end of the line. A document in quarantine is merged up to its snapshot,
/// and so is its feed for devices; and up to a change that was taken out, as long as the entry that says so is not merged:
/// its author needs the command until then.
async fn release(connection: &mut PgConnection, worker: Uuid, merged: &[(FeedId, u64)]) -> Result<(), TurnError> {
    let released = sqlx::query!(
        "WITH mine AS (
             SELECT q.feed, new.merged_seq
             FROM merge_queue q JOIN UNNEST($2::bigint[], $3::bigint[]) AS new (feed, merged_seq) USING (feed)
             WHERE q.worker = $1 AND q.lease_until IS NOT NULL
             ORDER BY q.feed FOR UPDATE OF q
         )
         UPDATE merge_queue q
         SET merged_seq = mine.merged_seq,
             clean_seq = LEAST(mine.merged_seq, (
                 SELECT snapshot_seq FROM snapshots
                 WHERE feed = mine.feed AND quarantined IS NOT NULL ORDER BY snapshot_seq LIMIT 1), (
                 SELECT min(seq) - 1 FROM left_out WHERE feed = mine.feed AND void_seq > mine.merged_seq)),
             worker = NULL, lease_until = NULL, served_at = clock_timestamp()
         FROM mine WHERE q.feed = mine.feed",
        worker,
        &merged.iter().map(|(feed, _)| feed.0.cast_signed()).collect::<Vec<_>>(),
        &merged.iter().map(|(_, seq)| seq.cast_signed()).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    match released.rows_affected() == merged.len() as u64 {
        true => Ok(()),
        false => Err(TurnError::Overtaken),
    }
}
