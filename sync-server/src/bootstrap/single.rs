//! Single documents as they are now, for a device that lacks them or holds them damaged.

use fitme_core::entry::Entry;
use fitme_core::id::{DocId, FeedId};
use fitme_core::limits;
use fitme_core::record::PROJECTION_VERSION;
use fitme_core::wire::bootstrap::Snapshot;
use fitme_core::wire::{EntryKind, Fetched};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Row, documents, entry, lacked_entries};
use crate::db::wall;

/// Reads documents of one of the account's own feeds, one after the other until there are enough for a page.
///
/// # Errors
/// When the database does not answer.
pub async fn single_documents(
    pool: &PgPool,
    account: Uuid,
    feed: FeedId,
    asked: &[DocId],
) -> Result<Fetched, sqlx::Error> {
    let mut tx = wall::begin(pool, wall::BEGIN_READING, &[account]).await?;
    let (projection_version, upto) = (PROJECTION_VERSION, asked.last().copied());
    let mut fetched = Fetched { feed, upto, projection_version, documents: Vec::new(), erasures: Vec::new() };
    let mut bytes = 0;
    for doc_id in asked {
        match document(&mut tx, account, feed, *doc_id).await? {
            Some(Found::Whole(document)) => {
                bytes += document.bytes();
                fetched.documents.push(document);
            }
            Some(Found::Erased(seq, erasure)) => fetched.erasures.push((seq, erasure)),
            None => {}
        }
        fetched.upto = Some(*doc_id);
        if bytes >= limits::BOOTSTRAP_PAGE_BYTES {
            break;
        }
    }
    Ok(fetched)
}

/// What is left of a document.
enum Found {
    Whole(Snapshot),
    /// By that entry.
    Erased(u64, Entry),
}

/// The document with all that was accepted of it, merged or not.
async fn document(
    db: &mut PgConnection,
    account: Uuid,
    feed: FeedId,
    doc_id: DocId,
) -> Result<Option<Found>, sqlx::Error> {
    if let Some((seq, erasure)) = erasure(db, account, feed, doc_id).await? {
        return Ok(Some(Found::Erased(seq, erasure)));
    }
    let row = sqlx::query_as!(
        Row,
        r#"SELECT 1::bigint AS "found!", d.doc_id, COALESCE(s.snapshot_seq, 0) AS "snapshot_seq!",
                  COALESCE(s.heads, '{}') AS "heads!",
                  CASE WHEN octet_length(s.snapshot) <= $4 THEN s.snapshot END AS snapshot,
                  true AS "quarantined!", d.payload_bytes, r.at AS "at?", r.trashed AS "trashed?",
                  CASE WHEN r.projection_version = $5 THEN r.columns::text END AS columns
           FROM documents d
           LEFT JOIN snapshots s ON s.feed = d.feed AND s.doc_id = d.doc_id
           LEFT JOIN records r ON r.feed = d.feed AND r.doc_id = d.doc_id
           WHERE d.account = $1 AND d.doc_id = $2 AND d.feed = $3"#,
        account,
        doc_id.as_bytes(),
        feed.0.cast_signed(),
        limits::SNAPSHOT_BYTES as i32,
        PROJECTION_VERSION
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let rows = vec![row];
    // Whatever its snapshot lacks, as if it were in quarantine: the merge may be behind.
    let lacked = lacked_entries(db, feed, i64::MAX.cast_unsigned(), &rows).await?;
    Ok(documents(rows, lacked).pop().map(Found::Whole))
}

async fn erasure(
    db: &mut PgConnection,
    account: Uuid,
    feed: FeedId,
    doc_id: DocId,
) -> Result<Option<(u64, Entry)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT e.seq, e.device_time, e.salt AS "salt!", e.payload AS "payload!"
           FROM documents d JOIN entries e ON e.feed = d.feed AND e.seq = d.erased_seq
           WHERE d.account = $1 AND d.doc_id = $2 AND d.feed = $3 AND e.salt IS NOT NULL AND e.payload IS NOT NULL"#,
        account,
        doc_id.as_bytes(),
        feed.0.cast_signed()
    )
    .fetch_optional(db)
    .await?;
    let erased = |time, salt: &[u8], payload| entry(EntryKind::Erase.into(), doc_id, time, salt, payload);
    Ok(row.map(|row| (row.seq.cast_unsigned(), erased(row.device_time, &row.salt, row.payload))))
}
