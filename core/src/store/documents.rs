//! Documents in the store: the appended changes, the snapshot they are folded into, and the copies kept open.
//!
//! Automerge answers Ok to garbage and applies changes with unknown dependencies invisibly, so nothing is taken on trust:
//! an entry's id is a hash over its payload, a snapshot has a checksum, and a loaded document must have the stored heads.

use std::collections::HashMap;

use automerge::Automerge;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::collection::Collection;
use crate::id::{ChangeHash, DocId};
use crate::merge::{self, MergeError};
use crate::record;
use crate::wire::bootstrap::Listed;

/// Documents kept loaded: logging one more set into the open workout must not load it again.
const OPEN_DOCUMENTS: usize = 32;

/// A tail below this is never folded: for a small document the snapshot would be rewritten at each change.
const FOLD_FROM_BYTES: i64 = 4096;

/// The row of a document.
#[derive(Clone, PartialEq)]
pub(super) struct DocumentRow {
    pub feed: i64,
    pub collection: String,
    pub version: i64,
    pub heads: Vec<ChangeHash>,
    pub snapshot_bytes: i64,
    pub tail_bytes: i64,
    pub payload_bytes: i64,
    pub unapplied: i64,
    pub blocked: bool,
    /// Deleted for good: only that it was here is left.
    pub erased: bool,
    /// The server's number up to which it came as a snapshot; its changes until then have no rows in `entries`.
    pub received_seq: i64,
    /// It was stored as it came and never loaded.
    pub unproved: bool,
}

impl DocumentRow {
    pub fn of(conn: &Connection, doc_id: DocId) -> Result<Option<Self>, StoreError> {
        let mut query = conn.prepare_cached(
            "SELECT d.feed, f.collection, d.version, d.heads, d.snapshot_bytes, d.tail_bytes, d.payload_bytes, d.unapplied,
                    d.blocked, d.erased, d.received_seq, d.unproved
             FROM documents d JOIN feeds f USING (feed) WHERE doc_id = ?",
        )?;
        let row = query.query_row([doc_id.as_bytes()], |row| {
            Ok(Self {
                feed: row.get(0)?,
                collection: row.get(1)?,
                version: row.get(2)?,
                heads: heads_from_bytes(&row.get::<_, Vec<u8>>(3)?),
                snapshot_bytes: row.get(4)?,
                tail_bytes: row.get(5)?,
                payload_bytes: row.get(6)?,
                unapplied: row.get(7)?,
                blocked: row.get(8)?,
                erased: row.get(9)?,
                received_seq: row.get(10)?,
                unproved: row.get(11)?,
            })
        });
        Ok(row.optional()?)
    }

    pub fn new(feed: i64, collection: &str) -> Self {
        Self {
            feed,
            collection: collection.to_owned(),
            version: 0,
            heads: Vec::new(),
            snapshot_bytes: 0,
            tail_bytes: 0,
            payload_bytes: 0,
            unapplied: 0,
            blocked: false,
            erased: false,
            received_seq: 0,
            unproved: false,
        }
    }

    /// Counts one more change.
    pub fn add_payload(&mut self, bytes: usize) {
        self.tail_bytes += bytes as i64;
        self.payload_bytes += bytes as i64;
    }

    pub fn save(&self, conn: &Connection, doc_id: DocId) -> Result<(), StoreError> {
        conn.prepare_cached(
            "INSERT INTO documents (doc_id, feed, version, heads, snapshot_bytes, tail_bytes, payload_bytes, unapplied,
               blocked, erased, received_seq, unproved)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (doc_id) DO UPDATE SET version = excluded.version, heads = excluded.heads,
               snapshot_bytes = excluded.snapshot_bytes, tail_bytes = excluded.tail_bytes,
               payload_bytes = excluded.payload_bytes, unapplied = excluded.unapplied, blocked = excluded.blocked,
               erased = excluded.erased, received_seq = excluded.received_seq, unproved = excluded.unproved",
        )?
        .execute((
            doc_id.as_bytes(),
            self.feed,
            self.version,
            heads_to_bytes(&self.heads),
            self.snapshot_bytes,
            self.tail_bytes,
            self.payload_bytes,
            self.unapplied,
            self.blocked,
            self.erased,
            self.received_seq,
            self.unproved,
        ))?;
        Ok(())
    }
}

/// Loaded documents by id, each with the row version it was loaded at.
#[derive(Default)]
pub(super) struct OpenDocuments {
    open: HashMap<DocId, (i64, u64, Automerge)>,
    clock: u64,
}

impl OpenDocuments {
    /// Takes the document out: whoever fails half-way leaves nothing stale behind.
    pub fn take(&mut self, conn: &Connection, doc_id: DocId, row: &DocumentRow) -> Result<Automerge, StoreError> {
        match self.open.remove(&doc_id) {
            // The heads too: of a document that went and came again, numbers of versions are given twice.
            Some((version, _, doc)) if version == row.version && merge::heads(&doc) == row.heads => Ok(doc),
            _ => load(conn, doc_id, row),
        }
    }

    pub fn forget(&mut self, doc_id: DocId) {
        self.open.remove(&doc_id);
    }

    pub fn keep(&mut self, doc_id: DocId, version: i64, doc: Automerge) {
        self.clock += 1;
        if self.open.len() >= OPEN_DOCUMENTS
            && let Some(oldest) = self.open.iter().min_by_key(|(_, (_, used, _))| *used).map(|(id, _)| *id)
        {
            self.open.remove(&oldest);
        }
        self.open.insert(doc_id, (version, self.clock, doc));
    }
}

/// A snapshot as it is stored.
pub(super) struct StoredSnapshot {
    /// `entries.n` of the last entry in it.
    pub upto: i64,
    pub bytes: Vec<u8>,
    /// They are what was stored.
    pub is_intact: bool,
}

impl StoredSnapshot {
    pub fn of(conn: &Connection, doc_id: DocId) -> rusqlite::Result<Option<Self>> {
        let mut query = conn.prepare_cached("SELECT upto, checksum, snapshot FROM snapshots WHERE doc_id = ?")?;
        let stored = query.query_row([doc_id.as_bytes()], |row| {
            let (checksum, bytes): ([u8; 32], Vec<u8>) = (row.get(1)?, row.get(2)?);
            let is_intact = *blake3::hash(&bytes).as_bytes() == checksum;
            Ok(Self { upto: row.get(0)?, bytes, is_intact })
        });
        stored.optional()
    }
}

/// Assembles a document from snapshot and tail, and proves it.
pub(super) fn load(conn: &Connection, doc_id: DocId, row: &DocumentRow) -> Result<Automerge, StoreError> {
    let damaged = |reason| StoreError::Damaged { doc_id, reason };
    let (upto, mut doc) = match StoredSnapshot::of(conn, doc_id)? {
        None => (0, record::blank()),
        Some(StoredSnapshot { is_intact: false, .. }) => {
            return Err(damaged(MergeError::Undecodable("the snapshot's checksum differs".to_owned())));
        }
        Some(StoredSnapshot { upto, bytes, .. }) => (upto, merge::load(&bytes).map_err(damaged)?),
    };
    let mut tail = conn.prepare_cached(
        "SELECT payload FROM entries WHERE doc_id = ? AND change_hash IS NOT NULL AND n > ? AND payload IS NOT NULL
         ORDER BY n",
    )?;
    let payloads =
        tail.query_map((doc_id.as_bytes(), upto), |row| row.get::<_, Vec<u8>>(0))?.collect::<Result<Vec<_>, _>>()?;
    merge::apply(&mut doc, payloads.iter().map(Vec::as_slice)).map_err(damaged)?;
    if merge::heads(&doc) != row.heads {
        return Err(damaged(MergeError::OtherHeads));
    }
    Ok(doc)
}

/// Stores what changed about a document: its row, its list columns and, when the tail outgrew it, its snapshot.
pub(super) fn save(conn: &Connection, doc_id: DocId, row: &mut DocumentRow, doc: &Automerge) -> Result<(), StoreError> {
    row.heads = merge::heads(doc);
    if row.tail_bytes > FOLD_FROM_BYTES.max(row.snapshot_bytes) && merge::verify(doc, &row.heads).is_ok() {
        match fold(conn, doc_id, row, doc) {
            // A document that the merge library cannot write whole stays as its changes.
            Err(StoreError::Damaged { .. }) => {}
            folded => folded?,
        }
    }
    save_proved(conn, doc_id, row, doc)
}

/// The same with a new snapshot in any case: not all of the document is in `entries`.
pub(super) fn save_folded(
    conn: &Connection,
    doc_id: DocId,
    row: &mut DocumentRow,
    doc: &Automerge,
) -> Result<(), StoreError> {
    row.heads = merge::heads(doc);
    fold(conn, doc_id, row, doc)?;
    save_proved(conn, doc_id, row, doc)
}

/// Whoever has a document has loaded it, and so compared its heads.
fn save_proved(conn: &Connection, doc_id: DocId, row: &mut DocumentRow, doc: &Automerge) -> Result<(), StoreError> {
    row.version += 1;
    row.unproved = false;
    row.save(conn, doc_id)?;
    project(conn, doc_id, row, doc)
}

/// Stores a document that lost changes, as a snapshot in the place of all that was here. One without any change is gone.
pub(super) fn replace(
    conn: &Connection,
    doc_id: DocId,
    row: &mut DocumentRow,
    doc: &Automerge,
) -> Result<(), StoreError> {
    row.version += 1;
    row.heads = merge::heads(doc);
    row.blocked = false;
    row.unproved = false;
    if !row.heads.is_empty() {
        fold(conn, doc_id, row, doc)?;
        row.save(conn, doc_id)?;
        return project(conn, doc_id, row, doc);
    }
    for table in ["snapshots", "records", "documents"] {
        conn.execute(&format!("DELETE FROM {table} WHERE doc_id = ?"), [doc_id.as_bytes()])?;
    }
    // What could not be applied is counted all the same.
    if row.unapplied > 0 {
        (row.snapshot_bytes, row.tail_bytes) = (0, 0);
        row.save(conn, doc_id)?;
    }
    Ok(())
}

/// Stores a document as it came, with what a list shows of it, in place of what is here; it is loaded and proved when it is
/// first edited or changed.
pub(super) fn save_unloaded(
    conn: &Connection,
    doc_id: DocId,
    row: &mut DocumentRow,
    snapshot: &[u8],
    listed: &Listed,
) -> Result<(), StoreError> {
    let upto = if row.version == 0 { 0 } else { last_entry(conn, doc_id)? };
    put_snapshot(conn, doc_id, upto, row, snapshot)?;
    row.version += 1;
    row.unproved = true;
    row.save(conn, doc_id)?;
    list(conn, doc_id, &row.collection, listed)
}

fn fold(conn: &Connection, doc_id: DocId, row: &mut DocumentRow, doc: &Automerge) -> Result<(), StoreError> {
    let snapshot = merge::save(doc).map_err(|reason| StoreError::Damaged { doc_id, reason })?;
    put_snapshot(conn, doc_id, last_entry(conn, doc_id)?, row, &snapshot)
}

/// The store's number of the document's last entry; 0 if it has none.
fn last_entry(conn: &Connection, doc_id: DocId) -> Result<i64, StoreError> {
    let mut query = conn.prepare_cached("SELECT coalesce(max(n), 0) FROM entries WHERE doc_id = ?")?;
    Ok(query.query_row([doc_id.as_bytes()], |row| row.get(0))?)
}

fn put_snapshot(
    conn: &Connection,
    doc_id: DocId,
    upto: i64,
    row: &mut DocumentRow,
    snapshot: &[u8],
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO snapshots (doc_id, upto, checksum, snapshot) VALUES (?, ?, ?, ?) ON CONFLICT (doc_id)
         DO UPDATE SET upto = excluded.upto, checksum = excluded.checksum, snapshot = excluded.snapshot",
    )?
    .execute((doc_id.as_bytes(), upto, blake3::hash(snapshot).as_bytes(), snapshot))?;
    if upto > 0 {
        // What the server has need not be kept twice; what it lacks must stay, it is pushed from here.
        conn.prepare_cached(
            "UPDATE entries SET payload = NULL
             WHERE doc_id = ? AND seq IS NOT NULL AND change_hash IS NOT NULL AND payload IS NOT NULL",
        )?
        .execute([doc_id.as_bytes()])?;
    }
    row.snapshot_bytes = snapshot.len() as i64;
    row.tail_bytes = 0;
    Ok(())
}

fn project(conn: &Connection, doc_id: DocId, row: &DocumentRow, doc: &Automerge) -> Result<(), StoreError> {
    let Some(collection) = Collection::named(&row.collection) else { return Ok(()) };
    let projection = record::project(doc, collection);
    let columns = projection.columns.to_string();
    list(conn, doc_id, &row.collection, &Listed { at: projection.at, trashed: projection.trashed, columns })
}

fn list(conn: &Connection, doc_id: DocId, collection: &str, listed: &Listed) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO records (doc_id, collection, at, trashed, columns) VALUES (?, ?, ?, ?, ?) ON CONFLICT (doc_id)
         DO UPDATE SET at = excluded.at, trashed = excluded.trashed, columns = excluded.columns",
    )?
    .execute((doc_id.as_bytes(), collection, listed.at, listed.trashed, &listed.columns))?;
    Ok(())
}

pub(super) fn heads_from_bytes(bytes: &[u8]) -> Vec<ChangeHash> {
    bytes.chunks_exact(32).filter_map(ChangeHash::from_slice).collect()
}

fn heads_to_bytes(heads: &[ChangeHash]) -> Vec<u8> {
    heads.iter().flat_map(|head| head.0).collect()
}
