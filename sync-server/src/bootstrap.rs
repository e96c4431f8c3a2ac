//! Documents as they are, for devices that are far behind: merged snapshots with what lists show of them. Nothing is loaded;
//! pages go by document id, descending, because an id never moves while everything else about a document may.
//!
//! The first pass takes records of the last weeks, the second all others, less those whose snapshot has not moved since the
//! device was told up to where snapshots replace entries: such a record was in the first pass if it is recent, for what tells
//! is a function of the snapshot, and weeks are counted back from the arrival of the entry at that very number. (A document
//! leaves quarantine only with a later entry, and so its snapshot moves as well.)

use std::collections::BTreeMap;

use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ChangeHash, DocId, FeedId};
use fitme_core::limits;
use fitme_core::record::PROJECTION_VERSION;
use fitme_core::session::{Place, SnapshotsAsked, SnapshotsRead};
use fitme_core::wire::EntryKind;
use fitme_core::wire::bootstrap::{Listed, Pass, Snapshot};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::reads::{self, Read};
use crate::auth::Device;
use crate::db::{wall, whose};
use crate::grants;

/// Above every document's id.
const TOP: &[u8] = &[0xff; 17];
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Reads documents of the account's own feeds, one feed after the other until there are enough.
///
/// # Errors
/// When the database does not answer.
pub async fn read(
    pool: &PgPool,
    account: Uuid,
    asked: &[SnapshotsAsked],
    max_bytes: usize,
) -> Result<Vec<SnapshotsRead>, sqlx::Error> {
    let mut tx = wall::begin(pool, wall::BEGIN_READING, &[account]).await?;
    let (mut read, mut room) = (Vec::new(), max_bytes);
    for one in asked {
        let page = page(&mut tx, account, *one, room).await?;
        room = room.saturating_sub(page.documents.iter().map(Snapshot::bytes).sum());
        let is_full = !page.exhausted || room == 0;
        read.push(page);
        if is_full {
            break;
        }
    }
    Ok(read)
}

/// Reads documents of somebody else's feed, and notes for its owner that they were read; `None` if the judge does not let
/// `reader` read it.
///
/// # Errors
/// When the database does not answer.
pub async fn read_of_other(
    pool: &PgPool,
    reader: Device,
    asked: SnapshotsAsked,
    max_bytes: usize,
    now_ms: i64,
) -> Result<Option<Vec<SnapshotsRead>>, sqlx::Error> {
    let mut tx = wall::begin(pool, reads::BEGIN, &[reader.account]).await?;
    let found = whose::by_grant(&mut tx, asked.feed.0.cast_signed(), reader.account).await?;
    let Some(owner) = found else { return Ok(None) };
    let page = page(&mut tx, owner, asked, max_bytes).await?;
    // Judged after it was read: what was merged after a revocation is then never let through.
    let Some(purposes) = grants::may_read(&mut tx, reader.account, owner, asked.feed).await? else { return Ok(None) };
    if !page.documents.is_empty() || !page.erasures.is_empty() {
        let (first, last) = (asked.place.from + 1, asked.place.upto);
        reads::note(&mut tx, &Read { owner, feed: asked.feed, reader, purposes, first, last }, now_ms).await?;
        tx.commit().await?;
    }
    Ok(Some(vec![page]))
}

async fn page(
    db: &mut PgConnection,
    account: Uuid,
    asked: SnapshotsAsked,
    max_bytes: usize,
) -> Result<SnapshotsRead, sqlx::Error> {
    let SnapshotsAsked { feed, place, count } = asked;
    let mut read = SnapshotsRead {
        feed,
        place,
        digest: None,
        total: 0,
        documents: Vec::new(),
        erasures: Vec::new(),
        exhausted: true,
    };
    let Some((digest, recent_from)) = at_upto(db, feed, place.upto).await? else { return Ok(read) };
    read.digest = Some(digest);
    if count {
        read.total = total(db, feed, place.from).await?;
    }
    if place.pass == Pass::Erased {
        read.erasures = erasures(db, account, feed, place).await?;
        read.exhausted = read.erasures.len() < limits::BOOTSTRAP_PAGE;
        return Ok(read);
    }
    let rows = rows(db, account, feed, place, recent_from, max_bytes).await?;
    let found = rows.first().map_or(0, |row| row.found);
    read.exhausted = found < limits::BOOTSTRAP_PAGE as i64 && rows.len() as i64 == found;
    let lacked = lacked_entries(db, feed, place.upto, &rows).await?;
    read.documents = documents(rows, lacked);
    Ok(read)
}

/// The digest at that number, and from which time on records are recent.
async fn at_upto(db: &mut PgConnection, feed: FeedId, upto: u64) -> Result<Option<(Digest, i64)>, sqlx::Error> {
    let found = sqlx::query!(
        r#"SELECT digest, (extract(epoch FROM received_at) * 1000)::bigint AS "arrived_ms!"
           FROM entries WHERE feed = $1 AND seq = $2"#,
        feed.0.cast_signed(),
        upto.cast_signed()
    )
    .fetch_optional(db)
    .await?;
    Ok(found.and_then(|row| {
        Some((Digest::from_slice(&row.digest)?, row.arrived_ms - limits::BOOTSTRAP_RECENT_DAYS * DAY_MS))
    }))
}

async fn total(db: &mut PgConnection, feed: FeedId, from: u64) -> Result<u64, sqlx::Error> {
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM snapshots
           WHERE feed = $1 AND (snapshot_seq > $2 OR quarantined IS NOT NULL)"#,
        feed.0.cast_signed(),
        from.cast_signed()
    )
    .fetch_one(db)
    .await?;
    Ok(total.cast_unsigned())
}

/// A document, and how many were found before bytes were counted.
struct Row {
    found: i64,
    doc_id: Vec<u8>,
    snapshot_seq: i64,
    heads: Vec<Vec<u8>>,
    /// `None` where it is larger than one may be that travels.
    snapshot: Option<Vec<u8>>,
    quarantined: bool,
    payload_bytes: i64,
    at: Option<i64>,
    trashed: Option<bool>,
    columns: Option<String>,
}

impl Row {
    fn doc_id(&self) -> DocId {
        DocId::from_slice(&self.doc_id).expect("ingest writes document ids of 16 bytes")
    }

    /// Every change up to this number is in what is sent as its snapshot.
    fn seq(&self) -> i64 {
        if self.snapshot.is_some() { self.snapshot_seq } else { 0 }
    }

    fn listed(&mut self) -> Option<Listed> {
        let columns = self.columns.take().filter(|columns| columns.len() <= limits::COLUMNS_BYTES)?;
        Some(Listed { at: self.at, trashed: self.trashed?, columns })
    }
}

/// The next documents of the place's pass.
async fn rows(
    db: &mut PgConnection,
    account: Uuid,
    feed: FeedId,
    place: Place,
    recent_from: i64,
    max_bytes: usize,
) -> Result<Vec<Row>, sqlx::Error> {
    let (feed, last) = (feed.0.cast_signed(), place.last.as_ref().map_or(TOP, DocId::as_bytes));
    let (from, upto) = (place.from.cast_signed(), place.upto.cast_signed());
    let (most, fits) = (limits::BOOTSTRAP_PAGE as i64, limits::SNAPSHOT_BYTES as i32);
    macro_rules! pass {
        ($statement:tt $(, $further:expr)?) => {
            sqlx::query_file_as!(
                Row, $statement, feed, last, from, recent_from, most, max_bytes as i64, fits, PROJECTION_VERSION,
                account
                $(, $further)?
            )
            .fetch_all(db)
            .await
        };
    }
    match place.pass {
        Pass::Recent => pass!("src/bootstrap/recent.sql"),
        _ => pass!("src/bootstrap/rest.sql", upto),
    }
}

/// Changes up to `upto` that a snapshot lacks: of documents in quarantine, and of those whose snapshot is too large. The inner
/// order rules out every index but the one by document; see the lookups of ingest.
async fn lacked_entries(
    db: &mut PgConnection,
    feed: FeedId,
    upto: u64,
    rows: &[Row],
) -> Result<BTreeMap<DocId, Vec<(u64, Entry)>>, sqlx::Error> {
    let lacking: Vec<_> = rows.iter().filter(|row| row.quarantined || row.snapshot.is_none()).collect();
    let mut lacked: BTreeMap<_, Vec<_>> = BTreeMap::new();
    if lacking.is_empty() {
        return Ok(lacked);
    }
    let entries = sqlx::query!(
        r#"SELECT q.doc_id AS "doc_id!", e.seq, e.device_time, e.salt AS "salt!", e.payload AS "payload!"
           FROM UNNEST($2::bytea[], $3::bigint[]) AS q (doc_id, seq)
           CROSS JOIN LATERAL (
               SELECT seq, device_time, salt, payload FROM entries
               WHERE feed = $1 AND doc_id = q.doc_id AND seq > q.seq AND seq <= $4 AND kind = 0 AND payload IS NOT NULL
               ORDER BY change_hash OFFSET 0
           ) AS e
           ORDER BY e.seq"#,
        feed.0.cast_signed(),
        &lacking.iter().map(|row| row.doc_id.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &lacking.iter().map(|row| row.seq()).collect::<Vec<_>>(),
        upto.cast_signed()
    )
    .fetch_all(db)
    .await?;
    for row in entries {
        let doc_id = DocId::from_slice(&row.doc_id).expect("ingest writes document ids of 16 bytes");
        let entry = entry(EntryKind::Change, doc_id, row.device_time, &row.salt, row.payload);
        lacked.entry(doc_id).or_default().push((row.seq.cast_unsigned(), entry));
    }
    Ok(lacked)
}

fn documents(rows: Vec<Row>, mut lacked: BTreeMap<DocId, Vec<(u64, Entry)>>) -> Vec<Snapshot> {
    let document = |mut row: Row| {
        let (doc_id, seq, listed) = (row.doc_id(), row.seq().cast_unsigned(), row.listed());
        let heads = if row.snapshot.is_some() { row.heads } else { Vec::new() };
        Snapshot {
            doc_id,
            seq,
            payload_bytes: row.payload_bytes.cast_unsigned(),
            heads: heads.iter().filter_map(|head| ChangeHash::from_slice(head)).collect(),
            listed,
            snapshot: row.snapshot.unwrap_or_default(),
            entries: lacked.remove(&doc_id).unwrap_or_default(),
            more: false,
        }
    };
    rows.into_iter().map(document).collect()
}

/// Entries that erased documents between the device's cursor and `upto`. Entries of kinds that are no document's change
/// (`samples`, `sealed`) belong into this pass as well once they are served.
async fn erasures(
    db: &mut PgConnection,
    account: Uuid,
    feed: FeedId,
    place: Place,
) -> Result<Vec<(u64, Entry)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT d.doc_id, e.seq, e.device_time, e.salt AS "salt!", e.payload AS "payload!"
           FROM documents d JOIN entries e ON e.feed = d.feed AND e.seq = d.erased_seq
           WHERE d.account = $1 AND d.feed = $2 AND d.doc_id < $3 AND d.erased_seq > $4 AND d.erased_seq <= $5
             AND e.salt IS NOT NULL AND e.payload IS NOT NULL
           ORDER BY d.doc_id DESC LIMIT $6"#,
        account,
        feed.0.cast_signed(),
        place.last.as_ref().map_or(TOP, DocId::as_bytes),
        place.from.cast_signed(),
        place.upto.cast_signed(),
        limits::BOOTSTRAP_PAGE as i64
    )
    .fetch_all(db)
    .await?;
    let numbered = |seq: i64, doc_id: &[u8], time, salt: &[u8], payload| {
        let doc_id = DocId::from_slice(doc_id).expect("ingest writes document ids of 16 bytes");
        (seq.cast_unsigned(), entry(EntryKind::Erase, doc_id, time, salt, payload))
    };
    Ok(rows.into_iter().map(|row| numbered(row.seq, &row.doc_id, row.device_time, &row.salt, row.payload)).collect())
}

fn entry(kind: EntryKind, doc_id: DocId, device_time: i64, salt: &[u8], payload: Vec<u8>) -> Entry {
    let salt = salt.try_into().expect("ingest writes salts of 8 bytes");
    Entry { kind: kind.into(), doc_id, device_time, salt, payload }
}
