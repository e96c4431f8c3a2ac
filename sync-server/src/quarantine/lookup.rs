//! What the database knows of records in quarantine. Which there are is asked as whoever runs the server, what is in one as the
//! server for its account.

use fitme_core::id::DocId;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::db::wall;

/// A record in quarantine.
pub(super) struct Listed {
    pub email: String,
    pub feed: i64,
    pub collection: String,
    pub doc_id: Vec<u8>,
    pub snapshot_seq: i64,
    pub reason: String,
}

pub(super) async fn listed(pool: &PgPool, limit: i64) -> Result<Vec<Listed>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, wall::Role::Admin).await?;
    sqlx::query_as!(
        Listed,
        r#"SELECT a.email, s.feed, f.collection, s.doc_id, s.snapshot_seq, s.quarantined AS "reason!"
           FROM snapshots s JOIN feeds f USING (feed) JOIN accounts a USING (account)
           WHERE s.quarantined IS NOT NULL ORDER BY s.feed, s.doc_id LIMIT $1"#,
        limit
    )
    .fetch_all(&mut *tx)
    .await
}

/// A feed and whose it is.
pub(super) struct Place {
    pub feed: i64,
    pub account: Uuid,
    pub collection: String,
}

pub(super) async fn place(pool: &PgPool, feed: i64) -> Result<Option<Place>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, wall::Role::Admin).await?;
    sqlx::query_as!(Place, "SELECT feed, account, collection FROM feeds WHERE feed = $1", feed)
        .fetch_optional(&mut *tx)
        .await
}

pub(super) async fn document_of(pool: &PgPool, place: &Place, seq: i64) -> Result<Option<DocId>, sqlx::Error> {
    let mut tx = wall::of(pool, &[place.account]).await?;
    let found = sqlx::query_scalar!("SELECT doc_id FROM entries WHERE feed = $1 AND seq = $2", place.feed, seq);
    Ok(found.fetch_optional(&mut *tx).await?.and_then(|id| DocId::from_slice(&id)))
}

/// A change of a record that is part of it.
pub(super) struct Waiting {
    pub seq: i64,
    pub change_hash: Vec<u8>,
    pub author: Uuid,
    pub device_time: i64,
    pub payload: Vec<u8>,
}

/// All of a record, in their order.
pub(super) async fn changes(pool: &PgPool, place: &Place, doc_id: DocId) -> Result<Vec<Waiting>, sqlx::Error> {
    behind(pool, place, doc_id, 0).await
}

/// Those that wait to be merged; none where the record is not in quarantine.
pub(super) async fn waiting(pool: &PgPool, place: &Place, doc_id: DocId) -> Result<Vec<Waiting>, sqlx::Error> {
    let mut tx = wall::of(pool, &[place.account]).await?;
    let merged = sqlx::query_scalar!(
        "SELECT snapshot_seq FROM snapshots WHERE feed = $1 AND doc_id = $2 AND quarantined IS NOT NULL",
        place.feed,
        doc_id.as_bytes()
    )
    .fetch_optional(&mut *tx)
    .await?;
    drop(tx);
    match merged {
        Some(merged) => behind(pool, place, doc_id, merged).await,
        None => Ok(Vec::new()),
    }
}

async fn behind(pool: &PgPool, place: &Place, doc_id: DocId, merged: i64) -> Result<Vec<Waiting>, sqlx::Error> {
    let mut tx = wall::of(pool, &[place.account]).await?;
    sqlx::query_as!(
        Waiting,
        r#"SELECT seq, change_hash AS "change_hash!", author, device_time, payload AS "payload!" FROM entries e
           WHERE feed = $1 AND doc_id = $2 AND seq > $3 AND kind = 0 AND payload IS NOT NULL AND NOT EXISTS (
               SELECT FROM left_out l
               WHERE l.feed = e.feed AND l.doc_id = e.doc_id AND l.change_hash = e.change_hash)
           ORDER BY seq"#,
        place.feed,
        doc_id.as_bytes(),
        merged
    )
    .fetch_all(&mut *tx)
    .await
}

/// The record as it was last merged; null if it never was.
pub(super) async fn record(pool: &PgPool, place: &Place, doc_id: DocId) -> Result<Value, sqlx::Error> {
    let mut tx = wall::of(pool, &[place.account]).await?;
    let found = sqlx::query_scalar!(
        "SELECT record FROM records WHERE feed = $1 AND doc_id = $2",
        place.feed,
        doc_id.as_bytes()
    );
    Ok(found.fetch_optional(&mut *tx).await?.unwrap_or_default())
}
