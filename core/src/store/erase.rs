//! Erasure: a document is deleted for good (invariant I10). What stays is that it was here: its id, which is refused from then
//! on, and number, id and kind of each of its entries, over which the digests of its feed go.

use rand::RngCore;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::documents::{self, DocumentRow};
use super::outbox::{Asked, Tips};
use super::pull::NewEntry;
use super::write::Command;
use super::{Store, StoreError, WriteError, outbox, salvage, set_meta};
use crate::collection::Collection;
use crate::entry::{Entry, random_salt};
use crate::id::{DocId, EntryId};
use crate::record;
use crate::wire::{self, Emptied, EntryKind, Refusal};

/// Set from an erasure until the journal holds nothing of what was erased, or discarded.
pub(super) const JOURNAL_OWED: &str = "journal_owed";

impl Store {
    /// Deletes a record for good: here before this returns, everywhere else once it is sent.
    pub(super) fn erase(&mut self, doc_id: DocId, now_ms: i64, rng: &mut dyn RngCore) -> Result<(), WriteError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        salvage::check_in_place(self.file, &self.path)?;
        let mut row = DocumentRow::of(&tx, doc_id)?.ok_or(WriteError::NotFound(doc_id))?;
        if row.erased {
            return Err(WriteError::Erased(doc_id));
        }
        if let Some(kept) = Collection::named(&row.collection).filter(|collection| collection.is_write_once()) {
            return Err(WriteError::KeptForEver(kept));
        }
        empty(&tx, doc_id, &mut row)?;
        // The person wants nothing of it, also not what was refused.
        tx.execute("DELETE FROM rejected WHERE doc_id = ?", [doc_id.as_bytes()])?;
        let entry = Entry::erasure(doc_id, now_ms, random_salt(rng), "");
        let asked = Command::Erase { doc_id };
        outbox::queue(&tx, &row, &entry, None, &Asked::plainly(&asked, now_ms))?;
        tx.commit()?;
        self.open.forget(doc_id);
        Ok(self.finish_erasing()?)
    }

    /// Empties the journal after an erasure, also one that was interrupted. Where another process reads at the moment it is
    /// left to the next erasure or opening.
    pub(super) fn finish_erasing(&self) -> Result<(), StoreError> {
        if self.meta::<Vec<u8>>(JOURNAL_OWED)?.is_some() && self.truncate_journal()? {
            self.conn.execute("DELETE FROM meta WHERE key = ?", [JOURNAL_OWED])?;
        }
        Ok(())
    }

    /// The profile's id: the first of its generations that was not erased.
    pub fn profile_id(&self) -> Result<DocId, StoreError> {
        first_left(&self.conn, record::profile_id)
    }
}

/// The first generation of a derived id that was not erased.
pub(super) fn first_left(conn: &Connection, derived: impl Fn(u32) -> DocId) -> Result<DocId, StoreError> {
    let mut generation = 0;
    // Ends at the latest after as many steps as there are erased documents.
    while is_erased(conn, derived(generation))? {
        generation += 1;
    }
    Ok(derived(generation))
}

fn is_erased(conn: &Connection, doc_id: DocId) -> Result<bool, StoreError> {
    let mut query = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM documents WHERE doc_id = ? AND erased)")?;
    Ok(query.query_row([doc_id.as_bytes()], |row| row.get(0))?)
}

/// Takes an erasure from elsewhere. What this device wrote of the document and the server does not have is handed back; of
/// somebody else's document without the record around it, which is theirs.
pub(super) fn take(
    conn: &Connection,
    (feed, collection): (i64, &str),
    erasure: &NewEntry,
    is_own: bool,
) -> Result<(), StoreError> {
    let doc_id = erasure.entry.doc_id;
    let mut row = DocumentRow::of(conn, doc_id)?.unwrap_or_else(|| DocumentRow::new(feed, collection));
    if !row.erased {
        let why = Refusal { code: wire::ERASED.to_owned(), message: wire::ERASED_SENTENCE.to_owned() };
        outbox::refuse_all(conn, doc_id, &why, erasure.entry.device_time)?;
        if !is_own {
            conn.execute("UPDATE rejected SET record = 'null' WHERE doc_id = ?", [doc_id.as_bytes()])?;
        }
    }
    empty(conn, doc_id, &mut row)?;
    outbox::insert(conn, feed, Some(erasure.seq), erasure.id, &erasure.entry, None)?;
    Ok(())
}

/// Empties what is here of a document, in place; what waits to be sent of it goes too.
fn empty(conn: &Connection, doc_id: DocId, row: &mut DocumentRow) -> Result<(), StoreError> {
    if doc_id.is_derived() {
        forget_original(conn, doc_id, row)?;
    }
    conn.execute(
        "UPDATE entries SET payload = NULL, change_hash = NULL, salt = zeroblob(8), device_time = 0
         WHERE doc_id = ? AND kind <> ?",
        (doc_id.as_bytes(), i32::from(EntryKind::Erase)),
    )?;
    for statement in [
        "DELETE FROM outbox WHERE doc_id = ?",
        "DELETE FROM snapshots WHERE doc_id = ?",
        "DELETE FROM records WHERE doc_id = ?",
    ] {
        conn.execute(statement, [doc_id.as_bytes()])?;
    }
    let version = row.version + 1;
    *row = DocumentRow { erased: true, version, ..DocumentRow::new(row.feed, &row.collection) };
    row.save(conn, doc_id)?;
    set_meta(conn, JOURNAL_OWED, &[])
}

/// Removes the file from which the document was imported, and with it what another session of it was imported from.
fn forget_original(conn: &Connection, doc_id: DocId, row: &DocumentRow) -> Result<(), StoreError> {
    let (Ok(doc), Some(collection)) = (documents::load(conn, doc_id, row), Collection::named(&row.collection)) else {
        return Ok(());
    };
    if let Some(hash) = record::project(&doc, collection).record["source"]["file_hash"].as_str() {
        conn.execute("DELETE FROM originals WHERE lower(hex(hash)) = ?", [hash])?;
    }
    Ok(())
}

/// Counts an entry whose document was erased; it may be here.
pub(super) fn settle_emptied(
    conn: &Connection,
    feed: i64,
    emptied: &Emptied,
    seq: u64,
    tips: &mut Tips,
) -> Result<EntryId, StoreError> {
    let mut query = conn.prepare_cached("SELECT n FROM entries WHERE doc_id = ? AND entry_id = ?")?;
    let known = query.query_row((emptied.doc_id.as_bytes(), emptied.id.as_bytes()), |row| row.get(0)).optional()?;
    match known {
        Some(n) => tips.accept(conn, n, seq)?,
        None => insert_emptied(conn, feed, emptied, seq)?,
    }
    Ok(emptied.id)
}

/// Notes an entry of which nothing is left but that it was there.
pub(super) fn insert_emptied(conn: &Connection, feed: i64, emptied: &Emptied, seq: u64) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO entries (n, feed, seq, entry_id, kind, doc_id, device_time, salt)
         VALUES (?, ?, ?, ?, ?, ?, 0, zeroblob(8))",
    )?
    .execute((
        outbox::next_n(conn)?,
        feed,
        seq as i64,
        emptied.id.as_bytes(),
        emptied.kind,
        emptied.doc_id.as_bytes(),
    ))?;
    Ok(())
}

/// The store's number of an entry whose document was erased here.
pub(super) fn find_emptied(conn: &Connection, id: EntryId) -> Result<Option<i64>, StoreError> {
    let mut query = conn.prepare_cached("SELECT n FROM entries WHERE entry_id = ? AND change_hash IS NULL")?;
    Ok(query.query_row([id.as_bytes()], |row| row.get(0)).optional()?)
}
