//! The audit: whether what was stored is still there. Of a document that a disk has damaged what proves itself is kept, above
//! all what waits to be sent, which nobody else has; then the account's feeds are compared with the server's, document by
//! document, and what differs comes again.

use std::collections::BTreeSet;

use rusqlite::{Connection, TransactionBehavior};

use super::bring_back::PROOF_OWED;
use super::documents::{self, DocumentRow, StoredSnapshot};
use super::salvage::{LOST_SENTENCE, LOST_TO_DAMAGE};
use super::write::was_asked_for;
use super::{Store, StoreError, outbox, set_meta};
use crate::change;
use crate::entry::Entry;
use crate::id::{ChangeHash, DocId, FeedId};
use crate::merge;
use crate::reconcile::Difference;
use crate::record;
use crate::wire::Refusal;

/// Between two audits that nobody asked for.
const AUDIT_EVERY_MS: i64 = 24 * 60 * 60 * 1_000;
const AUDITED_AT: &str = "audited_at";

/// How a document is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By the hashes of its stored bytes, and by their number: some microseconds each. Where they do not fit, whole.
    OfBytes,
    /// It is loaded, and what lists show of it is made anew.
    Whole,
}

/// What an audit of a home found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audited {
    /// Documents that were proved.
    pub documents: usize,
    /// Those of which something is damaged or gone; it comes again with the next sync.
    pub damaged: usize,
    /// Rows that were there twice, or belonged to nothing, or said something else than their record. They are mended.
    pub tidied: usize,
    /// Writes that waited to be sent and cannot be read any more; they are under `rejected`.
    pub lost: usize,
}

impl Store {
    /// Proves every document of the account, and has its feeds compared with the server's at the next contact.
    ///
    /// # Errors
    /// When the store fails.
    pub fn audit(&mut self, proof: Proof, now_ms: i64) -> Result<Audited, StoreError> {
        let mut audited = Audited { tidied: self.forget_doubled()?, ..Audited::default() };
        let held = "SELECT doc_id FROM documents WHERE NOT erased
             UNION SELECT doc_id FROM entries WHERE change_hash IS NOT NULL UNION SELECT doc_id FROM records";
        for doc_id in ids(&self.conn, held)? {
            audited.documents += 1;
            self.prove(doc_id, proof, now_ms, &mut audited)?;
        }
        self.owe_audit(now_ms)?;
        Ok(audited)
    }

    /// When feeds were last compared, or begun to be, without another reason; ms UTC by this device's clock.
    pub fn audited_at(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.meta::<[u8; 8]>(AUDITED_AT)?.map(i64::from_be_bytes))
    }

    /// Whether an audit is due that nobody asked for. A home that never had one begins to count.
    pub fn is_audit_due(&self, now_ms: i64) -> Result<bool, StoreError> {
        match self.audited_at()? {
            // A clock that was set back must not put it off for ever.
            Some(at) => Ok((now_ms - at).abs() >= AUDIT_EVERY_MS),
            None => {
                set_meta(&self.conn, AUDITED_AT, &now_ms.to_be_bytes())?;
                Ok(false)
            }
        }
    }

    /// Documents of an own feed of which the server holds something that is not here.
    pub fn lacking(&mut self, feed: FeedId, differences: &[Difference]) -> Result<Vec<DocId>, StoreError> {
        let mut lacking = Vec::new();
        if self.owner_of(feed)?.is_some() {
            return Ok(lacking);
        }
        for Difference { doc_id, theirs, .. } in differences {
            if let Some(theirs) = theirs
                && self.lacks(*doc_id, theirs)?
            {
                lacking.push(*doc_id);
            }
        }
        Ok(lacking)
    }

    fn lacks(&self, doc_id: DocId, theirs: &[ChangeHash]) -> Result<bool, StoreError> {
        let Some(row) = DocumentRow::of(&self.conn, doc_id)? else { return Ok(true) };
        if row.erased {
            return Ok(false);
        }
        match documents::load(&self.conn, doc_id, &row) {
            Ok(doc) => Ok(theirs.is_empty() || !theirs.iter().all(|head| merge::holds(&doc, *head))),
            // An audit has to mend it first: what is damaged takes nothing in.
            Err(StoreError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn owe_audit(&mut self, now_ms: i64) -> Result<(), StoreError> {
        set_meta(&self.conn, AUDITED_AT, &now_ms.to_be_bytes())?;
        set_meta(&self.conn, PROOF_OWED, &[])?;
        self.conn.execute(
            "INSERT INTO repairs_owed (wire) SELECT wire FROM feeds f WHERE wire IS NOT NULL
               AND (cursor > 0 OR EXISTS (SELECT 1 FROM documents d WHERE d.feed = f.feed))
             ON CONFLICT DO NOTHING",
            [],
        )?;
        Ok(())
    }

    fn prove(&mut self, doc_id: DocId, proof: Proof, now_ms: i64, audited: &mut Audited) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let row = DocumentRow::of(&tx, doc_id)?;
        if let Some(row) = &row {
            if row.erased || (proof == Proof::OfBytes && looks_whole(&tx, doc_id, row)?) {
                return Ok(());
            }
            match documents::load(&tx, doc_id, row) {
                Ok(doc) => {
                    audited.tidied += usize::from(documents::list_again(&tx, doc_id, row, &doc)?);
                    return Ok(tx.commit()?);
                }
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match row.map_or_else(|| row_of_orphan(&tx, doc_id), |row| Ok(Some(row)))? {
            Some(row) => {
                audited.damaged += 1;
                audited.lost += keep_what_is_whole(&tx, doc_id, row, now_ms)?;
            }
            None => audited.tidied += tx.execute("DELETE FROM records WHERE doc_id = ?", [doc_id.as_bytes()])?,
        }
        tx.commit()?;
        self.open.forget(doc_id);
        Ok(())
    }

    /// Removes rows of changes that are there twice. Returns how many.
    fn forget_doubled(&mut self) -> Result<usize, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // What waits to be sent, or has its payload, is the one to keep.
        let doubled = tx.execute(
            "DELETE FROM entries WHERE n IN (
                 SELECT n FROM (
                     SELECT n, row_number() OVER (
                         PARTITION BY doc_id, change_hash
                         ORDER BY EXISTS (SELECT 1 FROM outbox o WHERE o.n = e.n) DESC, payload IS NULL, n
                     ) AS place
                     FROM entries e WHERE (doc_id, change_hash) IN (
                         SELECT doc_id, change_hash FROM entries WHERE change_hash IS NOT NULL
                         GROUP BY doc_id, change_hash HAVING count(*) > 1
                     )
                 ) WHERE place > 1 AND n NOT IN (SELECT n FROM outbox)
             )",
            [],
        )?;
        tx.commit()?;
        Ok(doubled)
    }
}

fn ids(conn: &Connection, query: &str) -> Result<Vec<DocId>, StoreError> {
    let mut query = conn.prepare(query)?;
    let ids = query.query_map([], |row| Ok(DocId(row.get(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Whether every stored byte of a document is what was stored, and none is missing. The heads are believed.
fn looks_whole(conn: &Connection, doc_id: DocId, row: &DocumentRow) -> Result<bool, StoreError> {
    let snapshot = StoredSnapshot::of(conn, doc_id)?;
    if snapshot.as_ref().is_some_and(|snapshot| !snapshot.is_intact) {
        return Ok(false);
    }
    let (upto, folded) = snapshot.map_or((0, 0), |snapshot| (snapshot.upto, snapshot.bytes.len() as i64));
    let mut listed = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM records WHERE doc_id = ?)")?;
    let is_listed: bool = listed.query_row([doc_id.as_bytes()], |row| row.get(0))?;
    let mut tail = 0;
    for stored in stored_changes(conn, doc_id)? {
        if stored.entry.is_none() && (stored.waits || stored.n > upto) {
            return Ok(false);
        }
        let bytes = stored.entry.map_or(0, |entry| entry.payload.len() as i64);
        tail += if stored.n > upto { bytes } else { 0 };
    }
    // Where something could not be applied its bytes are counted among the others.
    let is_counted = folded == row.snapshot_bytes && (tail == row.tail_bytes || row.unapplied > 0);
    Ok(is_counted && is_listed && !row.heads.is_empty())
}

/// A stored change, and whether it is what was stored.
struct StoredChange {
    n: i64,
    hash: ChangeHash,
    /// `None` where its bytes are gone or others.
    entry: Option<Entry>,
    /// The server does not have it.
    waits: bool,
}

fn stored_changes(conn: &Connection, doc_id: DocId) -> Result<Vec<StoredChange>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT n, change_hash, kind, device_time, salt, payload, entry_id,
                EXISTS (SELECT 1 FROM outbox o WHERE o.n = e.n AND o.state <> 1)
         FROM entries e WHERE doc_id = ? AND change_hash IS NOT NULL ORDER BY n",
    )?;
    let rows = query.query_map([doc_id.as_bytes()], |row| {
        let (kind, device_time, salt) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let stored = row.get::<_, Option<_>>(5)?.map(|payload| Entry { kind, doc_id, device_time, salt, payload });
        let id: [u8; 16] = row.get(6)?;
        let entry = stored.filter(|entry| entry.id().0 == id);
        Ok(StoredChange { n: row.get(0)?, hash: ChangeHash(row.get(1)?), entry, waits: row.get(7)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a document's row is to be that is gone while its entries are there.
fn row_of_orphan(conn: &Connection, doc_id: DocId) -> Result<Option<DocumentRow>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT e.feed, f.collection FROM entries e JOIN feeds f USING (feed)
         WHERE doc_id = ? AND change_hash IS NOT NULL LIMIT 1",
    )?;
    let mut rows = query.query([doc_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(DocumentRow::new(row.get(0)?, &row.get::<_, String>(1)?)))
}

/// Leaves of a damaged document the changes that prove themselves. Its snapshot goes: the server has what it was made of. What
/// waited and cannot be read is handed over, with what builds on it. Returns how many writes.
fn keep_what_is_whole(
    conn: &Connection,
    doc_id: DocId,
    mut row: DocumentRow,
    now_ms: i64,
) -> Result<usize, StoreError> {
    let (mut kept, mut gone) = (Vec::new(), BTreeSet::new());
    for stored in stored_changes(conn, doc_id)? {
        match stored.entry {
            Some(entry) if !(stored.waits && builds_on(&entry, &gone)) => kept.push(entry.payload),
            _ if stored.waits => drop(gone.insert(stored.hash)),
            // The row stays: its number and its id are known, and count.
            _ => drop(conn.execute("UPDATE entries SET payload = NULL WHERE n = ?", [stored.n])?),
        }
    }
    let lost = hand_over(conn, doc_id, &row, &gone, now_ms)?;
    conn.execute("DELETE FROM snapshots WHERE doc_id = ?", [doc_id.as_bytes()])?;
    // What was written on top of what is missing waits inside, invisibly.
    let doc = merge::assemble(kept.iter().map(Vec::as_slice)).unwrap_or_else(|_| record::blank());
    row.version += 1;
    row.heads = merge::heads(&doc);
    (row.snapshot_bytes, row.received_seq, row.unproved) = (0, 0, false);
    row.tail_bytes = kept.iter().map(|payload| payload.len() as i64).sum();
    row.save(conn, doc_id)?;
    Ok(lost)
}

fn builds_on(entry: &Entry, gone: &BTreeSet<ChangeHash>) -> bool {
    let deps = |change: automerge::Change| change.deps().iter().any(|dep| gone.contains(&ChangeHash(dep.0)));
    !gone.is_empty() && change::reread(&entry.payload).is_ok_and(deps)
}

fn hand_over(
    conn: &Connection,
    doc_id: DocId,
    row: &DocumentRow,
    gone: &BTreeSet<ChangeHash>,
    now_ms: i64,
) -> Result<usize, StoreError> {
    let why = Refusal { code: LOST_TO_DAMAGE.to_owned(), message: LOST_SENTENCE.to_owned() };
    let mut lost = 0;
    let is_gone = |one: &outbox::Queued| one.hash.is_some_and(|hash| gone.contains(&hash));
    for one in outbox::lane(conn, doc_id)?.into_iter().filter(is_gone) {
        if was_asked_for(&one.command) {
            let nothing = serde_json::Value::Null;
            outbox::hand_over(conn, (doc_id, &row.collection), &one, &why, now_ms, &nothing)?;
            lost += 1;
        }
    }
    for hash in gone {
        outbox::leave_out(conn, doc_id, *hash)?;
    }
    Ok(lost)
}
