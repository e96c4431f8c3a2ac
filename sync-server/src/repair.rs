//! What a device asks when its history of a feed is another one than the server's: where the two part, and in which documents
//! they differ. Heads are read by range from an index; no document is loaded.

use fitme_core::entry::Digest;
use fitme_core::id::{ChangeHash, DocId, FeedId};
use fitme_core::reconcile::{Answer, Answering, Held, Question};
use futures_util::TryStreamExt;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::auth::Device;
use crate::db::wall::Walled;
use crate::db::{wall, whose};
use crate::grants;

/// Feeds of which a node compares documents at a time: reading a hundred thousand takes a tenth of a second, and after a
/// restore everybody asks.
pub const AT_ONCE: usize = 2;

/// Behind every document id.
const BEHIND_ALL: [u8; 17] = [0xff; 17];

/// A feed, and whether it is somebody else's than the one's who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Which feed.
    pub feed: FeedId,
    /// Whether the judge has to be asked.
    pub others: bool,
}

/// The highest of the points, which come in descending order, that is one of the feed's, too; 0 if none is. `None` if the
/// reader may not read it (any more).
///
/// # Errors
/// When the database does not answer.
pub async fn locate(
    pool: &PgPool,
    reader: Device,
    asked: Asked,
    points: &[(u64, Digest)],
) -> Result<Option<u64>, sqlx::Error> {
    let Some((mut tx, _)) = begin(pool, reader, asked).await? else { return Ok(None) };
    let numbers: Vec<_> = points.iter().map(|(seq, _)| seq.cast_signed()).collect();
    // BETWEEN with ORDER BY says "equal"; see ingest's lookups.
    let rows = sqlx::query!(
        "SELECT e.seq, e.digest FROM UNNEST($2::bigint[]) AS asked (seq)
         CROSS JOIN LATERAL (
             SELECT seq, digest FROM entries
             WHERE feed = $1 AND seq BETWEEN asked.seq AND asked.seq ORDER BY seq LIMIT 1
         ) AS e",
        asked.feed.0.cast_signed(),
        &numbers
    )
    .fetch_all(&mut *tx)
    .await?;
    let is_ours = |(seq, digest): &&(u64, Digest)| {
        rows.iter().any(|row| row.seq.cast_unsigned() == *seq && row.digest == digest.to_bytes())
    };
    Ok(Some(points.iter().find(is_ours).map_or(0, |(seq, _)| *seq)))
}

/// Compares what is held of the feed's documents with what a device holds, as of one moment. `None` if the reader may not
/// read it (any more).
///
/// # Errors
/// When the database does not answer.
pub async fn compare(
    pool: &PgPool,
    reader: Device,
    asked: Asked,
    questions: &[Question],
) -> Result<Option<Vec<Answer>>, sqlx::Error> {
    let Some((mut tx, owner)) = begin(pool, reader, asked).await? else { return Ok(None) };
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        answers.push(answer(&mut tx, owner, asked.feed, *question).await?);
    }
    Ok(Some(answers))
}

async fn answer(db: &mut PgConnection, owner: Uuid, feed: FeedId, question: Question) -> Result<Answer, sqlx::Error> {
    let mut answering = Answering::new(question);
    let to = question.range.to.map_or(BEHIND_ALL.to_vec(), |to| to.0.to_vec());
    let mut documents = sqlx::query!(
        "SELECT doc_id, heads FROM documents WHERE feed = $1 AND doc_id >= $2 AND doc_id < $3 AND account = $4
         ORDER BY doc_id",
        feed.0.cast_signed(),
        question.range.from.as_bytes(),
        to,
        owner
    )
    .fetch(db);
    while let Some(row) = documents.try_next().await? {
        let heads = row.heads.iter().filter_map(|head| ChangeHash::from_slice(head)).collect();
        let doc_id = DocId::from_slice(&row.doc_id);
        answering.take(Held { doc_id: doc_id.expect("the table checks that ids have 16 bytes"), heads });
    }
    Ok(answering.answer())
}

/// A reading of the feed, and whose it is. Somebody else's is judged in the same moment.
async fn begin(pool: &PgPool, reader: Device, asked: Asked) -> Result<Option<(Walled, Uuid)>, sqlx::Error> {
    let mut tx = wall::begin(pool, wall::BEGIN_READING, &[reader.account]).await?;
    if !asked.others {
        return Ok(Some((tx, reader.account)));
    }
    let found = whose::by_grant(&mut tx, asked.feed.0.cast_signed(), reader.account).await?;
    let Some(owner) = found else { return Ok(None) };
    let may = grants::may_read(&mut tx, reader.account, owner, asked.feed).await?;
    Ok(may.map(|_| (tx, owner)))
}
