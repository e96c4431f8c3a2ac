//! What one turn merges: a bounded part of what each claimed feed lacks, all queued changes of a document at once.

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::id::{ChangeHash, DocId, FeedId};
use sqlx::{PgConnection, PgPool};

use super::claim::{self, Claim};
use super::fold::Work;
use crate::db::wall;

/// Entries looked at in one turn.
const ENTRIES: usize = 2_000;
/// Documents merged in one turn. A turn is what somebody else's live change may have to wait for.
const DOCUMENTS: usize = 64;
/// Payload of the documents merged in one turn; the first one is merged whatever its size.
const BYTES: u64 = 16 << 20;

/// As of one moment; sequential scans are ruled out as in ingest.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL enable_seqscan = off";

/// One turn's part.
pub(super) struct Slice {
    /// The documents that have something to merge.
    pub work: Vec<Work>,
    /// How far each feed is merged when that is written.
    pub merged: Vec<(FeedId, u64)>,
}

/// Reads the slice as of one moment, so that documents' heads are those of exactly the entries that were read.
pub(super) async fn read(pool: &PgPool, claims: &[Claim]) -> Result<Slice, sqlx::Error> {
    let mut tx = wall::begin(pool, BEGIN, &claim::accounts(claims)).await?;
    let queued = queued(&mut tx, claims).await?;
    let Chosen { documents: chosen, merged, .. } = choose(claims, &queued);
    let work = match chosen.is_empty() {
        true => Vec::new(),
        false => documents(&mut tx, claims, &chosen).await?,
    };
    Ok(Slice { work, merged })
}

/// An entry that waits to be merged.
#[derive(Debug, Clone)]
pub struct Queued {
    /// Its feed.
    pub feed: FeedId,
    /// Its number.
    pub seq: u64,
    /// Its document.
    pub doc_id: DocId,
    /// Of the whole document.
    pub payload_bytes: u64,
    /// Up to where the document's snapshot goes.
    pub snapshot_seq: u64,
    /// There is nothing to merge any more.
    pub erased: bool,
}

/// How many waiting entries of each feed one turn looks at.
#[must_use]
pub fn share(claims: &[Claim]) -> usize {
    ENTRIES / claims.len().max(1)
}

async fn queued(connection: &mut PgConnection, claims: &[Claim]) -> Result<Vec<Queued>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT q.feed AS "feed!", e.seq, e.doc_id, COALESCE(d.payload_bytes, 0) AS "payload_bytes!",
                  COALESCE(s.snapshot_seq, 0) AS "snapshot_seq!", d.erased_seq IS NOT NULL AS "erased!"
           FROM UNNEST($1::bigint[], $2::bigint[], $3::uuid[]) AS q (feed, merged_seq, account)
           CROSS JOIN LATERAL (
               SELECT seq, doc_id FROM entries WHERE feed = q.feed AND seq > q.merged_seq ORDER BY seq LIMIT $4
           ) AS e
           LEFT JOIN LATERAL (
               SELECT payload_bytes, erased_seq FROM documents WHERE account = q.account AND doc_id = e.doc_id LIMIT 1
           ) AS d ON true
           LEFT JOIN LATERAL (
               SELECT snapshot_seq FROM snapshots WHERE feed = q.feed AND doc_id = e.doc_id LIMIT 1
           ) AS s ON true
           ORDER BY q.feed, e.seq"#,
        &claims.iter().map(|claim| claim.feed.0.cast_signed()).collect::<Vec<_>>(),
        &claims.iter().map(|claim| claim.merged.cast_signed()).collect::<Vec<_>>(),
        &claims.iter().map(|claim| claim.account).collect::<Vec<_>>(),
        share(claims) as i64
    )
    .fetch_all(connection)
    .await?;
    let queued = rows.into_iter().map(|row| Queued {
        feed: FeedId(row.feed.cast_unsigned()),
        seq: row.seq.cast_unsigned(),
        doc_id: DocId::from_slice(&row.doc_id).expect("ingest writes document ids of 16 bytes"),
        payload_bytes: row.payload_bytes.cast_unsigned(),
        snapshot_seq: row.snapshot_seq.cast_unsigned(),
        erased: row.erased,
    });
    Ok(queued.collect())
}

/// What a turn takes of what waits.
#[derive(Debug, Default)]
pub struct Chosen {
    /// The documents to merge.
    pub documents: BTreeSet<(FeedId, DocId)>,
    /// How far each feed is merged when they are.
    pub merged: Vec<(FeedId, u64)>,
    bytes: u64,
}

/// Chooses a bounded part of what waits in the claimed feeds; `queued` is ascending by feed and number.
#[must_use]
pub fn choose(claims: &[Claim], queued: &[Queued]) -> Chosen {
    let mut chosen = Chosen::default();
    for claim in claims {
        chosen.feed(claim, queued, claims.len());
    }
    chosen
}

impl Chosen {
    /// Goes through the feed's queue until its share of the turn is full: everything before that is merged after this
    /// turn, and of the chosen documents also what comes later.
    fn feed(&mut self, claim: &Claim, queued: &[Queued], feeds: usize) {
        let share = (DOCUMENTS / feeds).max(1);
        let (mut documents, mut merged) = (BTreeSet::new(), claim.merged);
        for entry in queued.iter().filter(|entry| entry.feed == claim.feed) {
            let is_behind = entry.snapshot_seq < entry.seq && claim.collection.is_some() && !entry.erased;
            if is_behind && !documents.contains(&entry.doc_id) {
                let is_full = documents.len() == share
                    || (!self.documents.is_empty() && self.bytes + entry.payload_bytes > BYTES);
                if is_full {
                    break;
                }
                self.bytes += entry.payload_bytes;
                documents.insert(entry.doc_id);
                self.documents.insert((claim.feed, entry.doc_id));
            }
            merged = entry.seq;
        }
        self.merged.push((claim.feed, merged));
    }
}

/// The chosen documents: last snapshot, heads, and every change that the snapshot lacks.
async fn documents(
    connection: &mut PgConnection,
    claims: &[Claim],
    chosen: &BTreeSet<(FeedId, DocId)>,
) -> Result<Vec<Work>, sqlx::Error> {
    let claims: BTreeMap<_, _> = claims.iter().map(|claim| (claim.feed, claim)).collect();
    let feeds: Vec<_> = chosen.iter().map(|(feed, _)| feed.0.cast_signed()).collect();
    let accounts: Vec<_> = chosen.iter().map(|(feed, _)| claims[feed].account).collect();
    let doc_ids: Vec<_> = chosen.iter().map(|(_, doc_id)| doc_id.as_bytes()).collect();
    let rows = sqlx::query!(
        r#"SELECT d.heads AS "heads?", s.snapshot_seq AS "snapshot_seq?", s.snapshot AS "snapshot?"
           FROM UNNEST($1::bigint[], $2::uuid[], $3::bytea[]) WITH ORDINALITY AS q (feed, account, doc_id, n)
           LEFT JOIN LATERAL (
               SELECT heads FROM documents WHERE account = q.account AND doc_id = q.doc_id LIMIT 1
           ) AS d ON true
           LEFT JOIN LATERAL (
               SELECT snapshot_seq, snapshot FROM snapshots WHERE feed = q.feed AND doc_id = q.doc_id LIMIT 1
           ) AS s ON true
           ORDER BY q.n"#,
        &feeds,
        &accounts,
        &doc_ids as &[&[u8]]
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut work: Vec<_> = chosen
        .iter()
        .zip(rows)
        .filter_map(|((feed, doc_id), row)| {
            Some(Work {
                feed: *feed,
                doc_id: *doc_id,
                collection: claims[feed].collection?,
                is_new: row.snapshot_seq.is_none(),
                from_seq: row.snapshot_seq.unwrap_or(0).cast_unsigned(),
                snapshot: row.snapshot.unwrap_or_default(),
                expected_heads: row.heads.iter().flatten().filter_map(|head| ChangeHash::from_slice(head)).collect(),
                changes: Vec::new(),
            })
        })
        .collect();
    changes(connection, &mut work).await?;
    Ok(work)
}

/// Reads the changes behind each snapshot, also those beyond the slice: a document is loaded once for all of them.
/// The inner order rules out every index but the one by document; see the lookups of ingest.
async fn changes(connection: &mut PgConnection, work: &mut [Work]) -> Result<(), sqlx::Error> {
    let doc_ids: Vec<_> = work.iter().map(|one| one.doc_id).collect();
    let rows = sqlx::query!(
        r#"SELECT q.n AS "n!", e.seq, e.payload AS "payload!"
           FROM UNNEST($1::bigint[], $2::bytea[], $3::bigint[]) WITH ORDINALITY AS q (feed, doc_id, from_seq, n)
           CROSS JOIN LATERAL (
               SELECT seq, payload FROM entries
               WHERE feed = q.feed AND doc_id = q.doc_id AND seq > q.from_seq AND kind = 0 AND payload IS NOT NULL
               ORDER BY change_hash OFFSET 0
           ) AS e
           ORDER BY q.n, e.seq"#,
        &work.iter().map(|one| one.feed.0.cast_signed()).collect::<Vec<_>>(),
        &doc_ids.iter().map(DocId::as_bytes).collect::<Vec<_>>() as &[&[u8]],
        &work.iter().map(|one| one.from_seq.cast_signed()).collect::<Vec<_>>()
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let at = usize::try_from(row.n - 1).expect("WITH ORDINALITY counts from 1");
        work[at].changes.push((row.seq.cast_unsigned(), row.payload));
    }
    Ok(())
}
