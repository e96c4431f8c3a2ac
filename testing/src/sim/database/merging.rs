//! A turn of a merge worker on the model's tables. What it takes of what waits, and what it makes of a document, is the server's
//! own code; between its transactions others have their turns.

use fitme_core::collection::Collection;
use fitme_core::id::{DocId, FeedId};
use fitme_core::record::PROJECTION_VERSION;
use sync_server::merge::claim::{Claim, FEEDS};
use sync_server::merge::fold::{Folded, Merged, Quarantine, Work, fold};
use sync_server::merge::slice::{Queued, choose, share};
use uuid::Uuid;

use super::reading::Away;
use super::tables::{RecordRow, SnapshotRow, Tables};
use super::{Database, Inner};
use crate::sim::polling::give_way;

/// How long a worker that is not heard of keeps its feeds, in ms.
const LEASE_MS: i64 = 10_000;

/// Why a turn came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overtaken {
    /// The database is away.
    Away,
    /// The lease was taken over, or a document was merged by somebody else.
    Somebody,
}

impl From<Away> for Overtaken {
    fn from(_: Away) -> Self {
        Self::Away
    }
}

/// One turn; how far each feed is merged after it.
///
/// # Errors
/// [`Overtaken`]; then nothing of the turn was kept.
pub async fn merge_turn(database: Database, worker: Uuid) -> Result<Vec<(FeedId, u64)>, Overtaken> {
    let claims = answered(&database, |inner| claim(inner, worker))?;
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    give_way().await;
    let (work, merged) = answered(&database, |inner| read(&inner.tables, &claims))?;
    give_way().await;
    let folded: Vec<_> = work.into_iter().map(fold).collect();
    give_way().await;
    answered(&database, |inner| write(inner, worker, folded, &merged))??;
    give_way().await;
    Ok(merged)
}

fn answered<T>(database: &Database, transaction: impl FnOnce(&mut Inner) -> T) -> Result<T, Away> {
    let inner = &mut *database.inner();
    if inner.away { Err(Away) } else { Ok(transaction(inner)) }
}

fn claim(inner: &mut Inner, worker: Uuid) -> Vec<Claim> {
    let now_ms = inner.now_ms;
    let is_due = |(_, row): &(&FeedId, &super::tables::QueueRow)| {
        row.merged < row.head && row.lease.is_none_or(|(holder, until)| holder == worker || until < now_ms)
    };
    let mut due: Vec<_> =
        inner.tables.merge_queue.iter().filter(is_due).map(|(feed, row)| (row.served, *feed)).collect();
    due.sort_unstable();
    due.truncate(FEEDS as usize);
    let mut claims = Vec::new();
    for (_, feed) in due {
        let Some(row) = inner.tables.feeds.get(&feed) else { continue };
        let Some(queued) = inner.tables.merge_queue.get_mut(&feed) else { continue };
        queued.lease = Some((worker, now_ms + LEASE_MS));
        let collection = Collection::named(&row.collection);
        claims.push(Claim { feed, account: row.account, collection, merged: queued.merged });
    }
    claims
}

fn read(tables: &Tables, claims: &[Claim]) -> (Vec<Work>, Vec<(FeedId, u64)>) {
    let mut queued = Vec::new();
    for claim in claims {
        queued.extend(tables.entries.after(claim.feed, claim.merged).take(share(claims)).map(|(seq, row)| {
            let document = tables.documents.get(&(claim.account, row.doc_id));
            Queued {
                feed: claim.feed,
                seq,
                doc_id: row.doc_id,
                payload_bytes: document.map_or(0, |document| document.payload_bytes),
                snapshot_seq: tables.snapshots.get(&(claim.feed, row.doc_id)).map_or(0, |snapshot| snapshot.seq),
                erased: document.is_some_and(|document| document.erased.is_some()),
            }
        }));
    }
    let chosen = choose(claims, &queued);
    let work = chosen.documents.iter().filter_map(|(feed, doc_id)| {
        let claim = claims.iter().find(|claim| claim.feed == *feed)?;
        work(tables, claim, *doc_id)
    });
    (work.collect(), chosen.merged)
}

fn work(tables: &Tables, claim: &Claim, doc_id: DocId) -> Option<Work> {
    let snapshot = tables.snapshots.get(&(claim.feed, doc_id));
    let from_seq = snapshot.map_or(0, |snapshot| snapshot.seq);
    let behind = tables.entries.after(claim.feed, from_seq).filter(|(_, row)| row.doc_id == doc_id && row.kind == 0);
    let changes = behind.filter_map(|(seq, row)| Some((seq, row.content.as_ref()?.1.clone())));
    let document = tables.documents.get(&(claim.account, doc_id));
    Some(Work {
        feed: claim.feed,
        doc_id,
        collection: claim.collection?,
        is_new: snapshot.is_none(),
        from_seq,
        snapshot: snapshot.map(|snapshot| snapshot.snapshot.clone()).unwrap_or_default(),
        expected_heads: document.map(|document| document.heads.clone()).unwrap_or_default(),
        changes: changes.collect(),
    })
}

/// Everything, or nothing.
fn write(inner: &mut Inner, worker: Uuid, folded: Vec<Folded>, merged: &[(FeedId, u64)]) -> Result<(), Overtaken> {
    let mut after = inner.tables.clone();
    for one in folded {
        let key = (one.feed, one.doc_id);
        let written = match one.outcome {
            Ok(merged) => write_document(&mut after, key, (!one.is_new).then_some(one.from_seq), merged),
            Err(why) => quarantine(&mut after, key, &why),
        };
        if !written {
            return Err(Overtaken::Somebody);
        }
    }
    for (feed, seq) in merged {
        let quarantined =
            after.snapshots.range((*feed, DocId([0; 16]))..=(*feed, DocId([255; 16]))).map(|(_, snapshot)| snapshot);
        let least = quarantined.filter(|snapshot| snapshot.quarantined.is_some()).map(|snapshot| snapshot.seq).min();
        let Some(queued) = after.merge_queue.get_mut(feed) else { return Err(Overtaken::Somebody) };
        if queued.lease.is_none_or(|(holder, _)| holder != worker) {
            return Err(Overtaken::Somebody);
        }
        inner.served += 1;
        (queued.merged, queued.clean) = (*seq, Some(least.map_or(*seq, |least| least.min(*seq))));
        (queued.lease, queued.served) = (None, inner.served);
    }
    inner.tables = after;
    Ok(())
}

/// Only onto the snapshot that it was merged from: none, or one that goes so far.
fn write_document(tables: &mut Tables, key: (FeedId, DocId), from: Option<u64>, merged: Merged) -> bool {
    if tables.snapshots.get(&key).map(|snapshot| snapshot.seq) != from {
        return false;
    }
    let Merged { snapshot_seq, heads, snapshot, projection } = merged;
    tables.snapshots.insert(key, SnapshotRow { seq: snapshot_seq, heads, snapshot, quarantined: None });
    let record = RecordRow {
        at: projection.at,
        trashed: projection.trashed,
        columns: projection.columns,
        record: projection.record,
        flags: projection.flags,
        version: PROJECTION_VERSION,
    };
    tables.records.insert(key, record);
    true
}

fn quarantine(tables: &mut Tables, key: (FeedId, DocId), why: &Quarantine) -> bool {
    tables.snapshots.entry(key).or_default().quarantined = Some(why.to_string());
    true
}
