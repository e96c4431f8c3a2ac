//! Documents as they are: `sync-server/src/bootstrap.rs` on the model's tables. Pages have the same documents in the same order;
//! where one ends is counted in bytes that PostgreSQL alone knows, so here it ends about there.

use fitme_core::entry::Entry;
use fitme_core::id::{DocId, FeedId};
use fitme_core::limits;
use fitme_core::record::PROJECTION_VERSION;
use fitme_core::session::{Place, SnapshotsAsked, SnapshotsRead};
use fitme_core::wire::Fetched;
use fitme_core::wire::bootstrap::{Listed, Pass, Snapshot};
use uuid::Uuid;

use super::Database;
use super::comparing::owner;
use super::reading::Away;
use super::tables::{EntryRow, RecordRow, SnapshotRow, Tables};

const DAY_MS: i64 = 86_400_000;

impl Database {
    /// `bootstrap::read`, and `bootstrap::read_of_other` without the note for the owner.
    ///
    /// # Errors
    /// When the database is away.
    pub fn read_snapshots(
        &self,
        reader: Uuid,
        others: bool,
        asked: &[SnapshotsAsked],
        max_bytes: usize,
    ) -> Result<Option<Vec<SnapshotsRead>>, Away> {
        self.read(|inner| {
            let (mut read, mut room) = (Vec::new(), max_bytes);
            for one in asked {
                let owner = owner(inner, reader, one.feed, others)?;
                let page = page(&inner.tables, owner, *one, room);
                room = room.saturating_sub(page.documents.iter().map(Snapshot::bytes).sum());
                let is_full = !page.exhausted || room == 0;
                read.push(page);
                if is_full && !others {
                    break;
                }
            }
            Some(read)
        })
    }

    /// `bootstrap::single_documents`, all in one page.
    ///
    /// # Errors
    /// When the database is away.
    pub fn single_documents(&self, account: Uuid, feed: FeedId, asked: &[DocId]) -> Result<Fetched, Away> {
        self.read(|inner| {
            let (tables, upto) = (&inner.tables, asked.last().copied());
            let mut fetched = Fetched {
                feed,
                upto,
                projection_version: PROJECTION_VERSION,
                documents: Vec::new(),
                erasures: Vec::new(),
            };
            let place = Place { from: 0, upto: u64::MAX, pass: Pass::Rest, last: None };
            for doc_id in asked {
                let Some(document) = tables.documents.get(&(account, *doc_id)).filter(|row| row.feed == feed) else {
                    continue;
                };
                let erasure = document.erased.and_then(|(seq, _)| Some((seq, entry(tables.entries.get(feed, seq)?))));
                match erasure {
                    Some(erasure) => fetched.erasures.push(erasure),
                    None => fetched.documents.push(single(tables, account, feed, *doc_id, place)),
                }
            }
            fetched
        })
    }
}

/// The merge may be behind: what the snapshot lacks comes with it.
fn single(tables: &Tables, account: Uuid, feed: FeedId, doc_id: DocId, place: Place) -> Snapshot {
    let merged = tables.snapshots.get(&(feed, doc_id)).cloned().unwrap_or_default();
    let row = SnapshotRow { quarantined: Some(String::new()), ..merged };
    document(tables, account, feed, doc_id, &row, place)
}

fn page(tables: &Tables, account: Uuid, asked: SnapshotsAsked, max_bytes: usize) -> SnapshotsRead {
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
    let Some(at_upto) = tables.entries.get(feed, place.upto) else { return read };
    read.digest = Some(at_upto.digest);
    if count {
        read.total = of_feed(tables, feed).filter(|(_, row)| has_changed(row, place)).count() as u64;
    }
    if place.pass == Pass::Erased {
        read.erasures = erasures(tables, account, feed, place);
        read.exhausted = read.erasures.len() < limits::BOOTSTRAP_PAGE;
        return read;
    }
    let recent_from = at_upto.received_ms - limits::BOOTSTRAP_RECENT_DAYS * DAY_MS;
    let found: Vec<_> = of_feed(tables, feed)
        .rev()
        .filter(|(doc_id, row)| {
            let record = tables.records.get(&(feed, *doc_id));
            place.last.is_none_or(|last| *doc_id < last) && is_in_pass(row, record, place, recent_from)
        })
        .take(limits::BOOTSTRAP_PAGE)
        .collect();
    let mut bytes = 0;
    for (doc_id, row) in &found {
        if bytes >= max_bytes {
            break;
        }
        read.documents.push(document(tables, account, feed, *doc_id, row, place));
        bytes += read.documents.last().map_or(0, Snapshot::bytes);
    }
    read.exhausted = found.len() < limits::BOOTSTRAP_PAGE && read.documents.len() == found.len();
    read
}

fn of_feed(tables: &Tables, feed: FeedId) -> impl DoubleEndedIterator<Item = (DocId, &SnapshotRow)> {
    let rows = tables.snapshots.range((feed, DocId([0; 16]))..=(feed, DocId([255; 16])));
    rows.map(|((_, doc_id), row)| (*doc_id, row))
}

fn has_changed(row: &SnapshotRow, place: Place) -> bool {
    row.seq > place.from || row.quarantined.is_some()
}

/// `bootstrap/recent.sql` and `bootstrap/rest.sql`.
fn is_in_pass(row: &SnapshotRow, record: Option<&RecordRow>, place: Place, recent_from: i64) -> bool {
    let is_recent = record.is_some_and(|record| record.at.is_none_or(|at| at >= recent_from));
    has_changed(row, place)
        && match place.pass {
            Pass::Recent => is_recent,
            _ => !(is_recent && row.seq <= place.upto && row.quarantined.is_none()),
        }
}

fn document(tables: &Tables, account: Uuid, feed: FeedId, doc_id: DocId, row: &SnapshotRow, place: Place) -> Snapshot {
    let fits = row.snapshot.len() <= limits::SNAPSHOT_BYTES;
    let seq = if fits { row.seq } else { 0 };
    let lacks = row.quarantined.is_some() || !fits;
    let behind = tables.entries.after(feed, seq).filter(|(at, entry)| {
        lacks && *at <= place.upto && entry.doc_id == doc_id && entry.kind == 0 && entry.content.is_some()
    });
    let listed = tables.records.get(&(feed, doc_id)).filter(|record| record.version == PROJECTION_VERSION);
    let listed =
        listed.map(|record| Listed { at: record.at, trashed: record.trashed, columns: record.columns.to_string() });
    Snapshot {
        doc_id,
        seq,
        payload_bytes: tables.documents.get(&(account, doc_id)).map_or(0, |document| document.payload_bytes),
        heads: if fits { row.heads.clone() } else { Vec::new() },
        listed: listed.filter(|listed| listed.columns.len() <= limits::COLUMNS_BYTES),
        snapshot: if fits { row.snapshot.clone() } else { Vec::new() },
        entries: behind.map(|(seq, row)| (seq, entry(row))).collect(),
        more: false,
    }
}

fn erasures(tables: &Tables, account: Uuid, feed: FeedId, place: Place) -> Vec<(u64, Entry)> {
    let documents = tables.documents.range((account, DocId([0; 16]))..=(account, DocId([255; 16])));
    let erased = documents.rev().filter_map(|((_, doc_id), document)| {
        let (seq, _) = document.erased.filter(|_| document.feed == feed)?;
        let is_next = place.last.is_none_or(|last| *doc_id < last) && seq > place.from && seq <= place.upto;
        let row = tables.entries.get(feed, seq).filter(|row| is_next && row.content.is_some())?;
        Some((seq, entry(row)))
    });
    erased.take(limits::BOOTSTRAP_PAGE).collect()
}

fn entry(row: &EntryRow) -> Entry {
    let (salt, payload) = row.content.clone().unwrap_or_default();
    Entry { kind: row.kind, doc_id: row.doc_id, device_time: row.device_time, salt, payload }
}
