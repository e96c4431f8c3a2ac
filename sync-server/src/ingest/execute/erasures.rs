//! Empties documents that the group erases, also what the group itself has just appended to them. Most groups erase nothing;
//! then nothing is asked of the database.

use sqlx::PgConnection;

use super::Failure;
use crate::ingest::plan::Erasure;

/// Empties them in place. It must run after the rows were appended: that holds the feeds' rows of `merge_queue`, so a merge
/// worker that read a document before has either written it, and it is deleted here, or finds its lease gone.
pub(super) async fn write(connection: &mut PgConnection, erasures: &[Erasure]) -> Result<(), Failure> {
    if erasures.is_empty() {
        return Ok(());
    }
    let feeds: Vec<_> = erasures.iter().map(|one| one.feed.0.cast_signed()).collect();
    let doc_ids: Vec<_> = erasures.iter().map(|one| one.doc_id.as_bytes()).collect();
    let seqs: Vec<_> = erasures.iter().map(|one| one.seq.cast_signed()).collect();
    sqlx::query!("UPDATE merge_queue SET worker = NULL, lease_until = NULL WHERE feed = ANY ($1)", &feeds)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(r#"SELECT empty_documents($1, $2, $3)::text AS "nothing""#, &feeds, &doc_ids as &[&[u8]], &seqs)
        .fetch_one(&mut *connection)
        .await?;
    mark(connection, erasures, &doc_ids, &seqs).await
}

/// Their ids stay refused, and are noted for the list beside the backups.
async fn mark(
    connection: &mut PgConnection,
    erasures: &[Erasure],
    doc_ids: &[&[u8]],
    seqs: &[i64],
) -> Result<(), Failure> {
    let accounts: Vec<_> = erasures.iter().map(|one| one.account).collect();
    sqlx::query!(
        "UPDATE documents SET erased_seq = gone.seq, erased_id = gone.entry_id
         FROM UNNEST($1::uuid[], $2::bytea[], $3::bigint[], $4::bytea[]) AS gone (account, doc_id, seq, entry_id)
         WHERE documents.account = gone.account AND documents.doc_id = gone.doc_id",
        &accounts,
        doc_ids as &[&[u8]],
        seqs,
        &erasures.iter().map(|one| one.entry.as_bytes()).collect::<Vec<_>>() as &[&[u8]]
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO erasures (account, doc_id) SELECT * FROM UNNEST($1::uuid[], $2::bytea[]) ON CONFLICT DO NOTHING",
        &accounts,
        doc_ids as &[&[u8]]
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE account_usage SET bytes = greatest(account_usage.bytes - freed.bytes, 0)
         FROM (SELECT account, sum(bytes)::bigint AS bytes
               FROM UNNEST($1::uuid[], $2::bigint[]) AS one (account, bytes) GROUP BY account) AS freed
         WHERE account_usage.account = freed.account",
        &accounts,
        &erasures.iter().map(|one| one.bytes.cast_signed()).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(())
}
