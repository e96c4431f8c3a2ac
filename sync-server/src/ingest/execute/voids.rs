//! What voids take out of their documents: read under the feeds' locks, and noted. Most groups have none; then nothing is
//! asked of the database.

use std::collections::{BTreeMap, HashMap};

use fitme_core::id::{ChangeHash, DocId, EntryId, FeedId};
use fitme_core::void::{self, Parted};
use sqlx::PgConnection;

use super::Failure;
use crate::ingest::plan::{Lost, NewVoid};

/// Reads what each void would take out.
pub(super) async fn read(
    connection: &mut PgConnection,
    voids: &BTreeMap<EntryId, (FeedId, DocId, ChangeHash)>,
) -> Result<HashMap<EntryId, Lost>, Failure> {
    let mut lost = HashMap::new();
    for (id, (feed, doc_id, change)) in voids {
        lost.extend(of_one(connection, *feed, *doc_id, *change).await?.map(|lost| (*id, lost)));
    }
    Ok(lost)
}

/// `None` where the change is not in quarantine. The feed is taken from merge workers first: one that has read the document
/// before has either written it, which is seen here, or finds its lease gone.
async fn of_one(
    connection: &mut PgConnection,
    feed: FeedId,
    doc_id: DocId,
    change: ChangeHash,
) -> Result<Option<Lost>, Failure> {
    let feed = feed.0.cast_signed();
    sqlx::query!("UPDATE merge_queue SET worker = NULL, lease_until = NULL WHERE feed = $1", feed)
        .execute(&mut *connection)
        .await?;
    let merged = sqlx::query_scalar!(
        "SELECT snapshot_seq FROM snapshots WHERE feed = $1 AND doc_id = $2 AND quarantined IS NOT NULL",
        feed,
        doc_id.as_bytes()
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(merged) = merged else { return Ok(None) };
    let rows = sqlx::query!(
        r#"SELECT seq, change_hash AS "change_hash!", payload AS "payload!" FROM entries e
           WHERE feed = $1 AND doc_id = $2 AND kind = 0 AND payload IS NOT NULL AND NOT EXISTS (
               SELECT FROM left_out l
               WHERE l.feed = e.feed AND l.doc_id = e.doc_id AND l.change_hash = e.change_hash)
           ORDER BY seq"#,
        feed,
        doc_id.as_bytes()
    )
    .fetch_all(connection)
    .await?;
    let numbers: HashMap<_, _> = rows.iter().map(|row| (row.change_hash.as_slice(), row.seq.cast_unsigned())).collect();
    let is_merged = numbers.get(change.as_bytes()).is_none_or(|seq| *seq <= merged.cast_unsigned());
    let parted = void::part(rows.iter().map(|row| row.payload.as_slice()), change).filter(|_| !is_merged);
    let number = |hash: &ChangeHash| Some((*hash, *numbers.get(hash.as_bytes())?));
    Ok(parted.map(|Parted { lost, heads }| Lost { changes: lost.iter().filter_map(number).collect(), heads }))
}

/// Notes what was taken out.
pub(super) async fn write(connection: &mut PgConnection, voids: &[NewVoid]) -> Result<(), Failure> {
    for void in voids {
        sqlx::query!(
            "INSERT INTO left_out (feed, doc_id, change_hash, seq, void_seq)
             SELECT $1::bigint, $2::bytea, change_hash, seq, $5::bigint FROM UNNEST($3::bytea[], $4::bigint[]) AS lost (change_hash, seq)",
            void.feed.0.cast_signed(),
            void.doc_id.as_bytes(),
            &void.changes.iter().map(|(hash, _)| hash.as_bytes()).collect::<Vec<_>>() as &[&[u8]],
            &void.changes.iter().map(|(_, seq)| seq.cast_signed()).collect::<Vec<_>>(),
            void.seq.cast_signed()
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
