//! Whole documents out of the store, and into it: what an archive of an account carries. A document is its changes, byte by
//! byte, so that it is the same one, with the same heads and the same history, wherever they are put back; what is put
//! back waits for the server like anything written here.

use std::collections::HashSet;

use automerge::Change;
use rand::RngCore;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::documents::{self, DocumentRow, OpenDocuments};
use super::outbox::Asked;
use super::write::{Command, feed_of};
use super::{Original, Store, StoreError, WriteError, outbox};
use crate::change::{self, BadChange, ChangeFacts};
use crate::collection::Collection;
use crate::entry::{Entry, Salt, random_salt};
use crate::id::{ActorId, ChangeHash, DocId};
use crate::limits;
use crate::merge;
use crate::record::{self, BadContent, Invalid};
use crate::wire::EntryKind;

/// One document as an automerge file: its changes, one after the other, each after those it builds on. Read within the bounds
/// and by the rules by which a server reads entries.
#[derive(Debug, Clone)]
pub struct ArchivedDocument {
    /// Of which collection.
    pub collection: Collection,
    /// Which document.
    pub doc_id: DocId,
    changes: Vec<(ChangeFacts, Change)>,
}

/// A file that an activity was imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// blake3 of its bytes.
    pub hash: [u8; 32],
    /// Its name, for people.
    pub name: String,
    /// When it was imported, ms UTC by the device's clock.
    pub imported_at: i64,
}

/// Why bytes are no document of this account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    /// A change that the protocol does not carry.
    #[error(transparent)]
    Change(#[from] BadChange),
    /// A change that says what none of that collection may.
    #[error(transparent)]
    Content(#[from] BadContent),
    /// No change at all.
    #[error("it holds no change")]
    Empty,
    /// More than a document may have.
    #[error("its changes have {bytes} bytes of at most {}", limits::DOCUMENT_BYTES)]
    TooLarge {
        /// What they have.
        bytes: usize,
    },
    /// A change that one entry cannot carry.
    #[error("one of its changes has {bytes} bytes of at most {}", limits::ENTRY_BYTES)]
    ChangeTooLarge {
        /// What it has.
        bytes: usize,
    },
    /// A change that builds on what is not there.
    #[error("change {0} builds on a change that is not before it")]
    Incomplete(ChangeHash),
    /// Two first changes, each with the document's containers.
    #[error("it begins twice")]
    BeginsTwice,
}

/// What putting documents back did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Documents of which something was new here.
    pub documents: usize,
    /// Changes that were new here.
    pub changes: usize,
}

impl ArchivedDocument {
    /// Reads the file of one document.
    ///
    /// # Errors
    /// [`BadDocument`] with the first thing that is wrong.
    pub fn read(collection: Collection, doc_id: DocId, file: &[u8]) -> Result<Self, BadDocument> {
        if file.len() as u64 > limits::DOCUMENT_BYTES {
            return Err(BadDocument::TooLarge { bytes: file.len() });
        }
        let mut known = HashSet::new();
        let mut changes = Vec::new();
        for chunk in change::split(file)? {
            if chunk.len() > limits::ENTRY_BYTES {
                return Err(BadDocument::ChangeTooLarge { bytes: chunk.len() });
            }
            let read = change::read(chunk)?;
            record::check_change(collection, doc_id, &read)?;
            if read.facts.deps.is_empty() && !changes.is_empty() {
                return Err(BadDocument::BeginsTwice);
            }
            if !read.facts.deps.iter().all(|dependency| known.contains(dependency)) {
                return Err(BadDocument::Incomplete(read.facts.hash));
            }
            known.insert(read.facts.hash);
            changes.push((read.facts.clone(), read.into_change()));
        }
        if changes.is_empty() { Err(BadDocument::Empty) } else { Ok(Self { collection, doc_id, changes }) }
    }

    /// How many changes it has.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }
}

impl Store {
    /// Reads as if nobody else wrote meanwhile; within another such reading, as a part of it.
    ///
    /// # Errors
    /// As `read`, and when the store fails.
    pub fn in_one_reading<T, E: From<StoreError>>(&self, read: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        if !self.conn.is_autocommit() {
            return read(self);
        }
        let reading = self.conn.unchecked_transaction().map_err(StoreError::from)?;
        let done = read(self)?;
        reading.finish().map_err(StoreError::from)?;
        Ok(done)
    }

    /// The file of one document; `None` if it is not here.
    ///
    /// # Errors
    /// When the store fails, or the document is damaged.
    pub fn archived(&self, doc_id: DocId) -> Result<Option<Vec<u8>>, StoreError> {
        let read = |store: &Self| -> Result<_, StoreError> {
            let Some(row) = DocumentRow::of(&store.conn, doc_id)? else { return Ok(None) };
            Ok(Some(documents::load(&store.conn, doc_id, &row)?))
        };
        let Some(doc) = self.in_one_reading(read)? else { return Ok(None) };
        let changes = merge::changes(&doc).map_err(|reason| StoreError::Damaged { doc_id, reason })?;
        Ok(Some(changes.iter().flat_map(|change| change.raw_bytes().to_vec()).collect()))
    }

    /// The documents of a collection by id, the trashed ones included.
    ///
    /// # Errors
    /// When the store fails.
    pub fn documents_of(&self, collection: Collection) -> Result<Vec<DocId>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT doc_id FROM records WHERE collection = ? ORDER BY doc_id")?;
        let ids = query.query_map([collection.name()], |row| Ok(DocId(row.get(0)?)))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The files that activities were imported from here, by hash.
    ///
    /// # Errors
    /// When the store fails.
    pub fn originals(&self) -> Result<Vec<ArchivedFile>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT hash, name, imported_at FROM originals ORDER BY hash")?;
        let files = query
            .query_map([], |row| Ok(ArchivedFile { hash: row.get(0)?, name: row.get(1)?, imported_at: row.get(2)? }))?;
        Ok(files.collect::<Result<_, _>>()?)
    }

    /// The content of one of them; `None` if it is not here.
    ///
    /// # Errors
    /// When the store fails.
    pub fn original(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT bytes FROM originals WHERE hash = ?")?;
        Ok(query.query_row([hash], |row| row.get(0)).optional()?)
    }

    /// Keeps such a file.
    ///
    /// # Errors
    /// When the store fails.
    pub fn keep_original(&mut self, original: &Original<'_>, imported_at: i64) -> Result<(), StoreError> {
        self.conn.execute(
            "INSERT INTO originals (hash, name, imported_at, bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (original.hash, original.name, imported_at, original.bytes),
        )?;
        Ok(())
    }

    /// Puts documents back, all with one commit: their changes that are not here are merged, and wait to be sent.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing was written.
    pub fn put_back(
        &mut self,
        documents: &[ArchivedDocument],
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<PutBack, WriteError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut done = PutBack::default();
        let mut authors = HashSet::new();
        for document in documents {
            let new = put_back(&tx, &mut self.open, document, now_ms, rng)?;
            done.documents += usize::from(!new.is_empty());
            done.changes += new.len();
            authors.extend(new);
        }
        tx.commit()?;
        // A change of this very home that it did not hold: it is an older copy of the one that was archived, and would fork
        // its actor by going on with it.
        for (actor, _) in self.actors()?.into_iter().filter(|(actor, _)| authors.contains(actor)) {
            self.renew_actor(actor, rng)?;
        }
        Ok(done)
    }
}

/// Puts one document back; returns who wrote what was new.
fn put_back(
    conn: &Connection,
    open: &mut OpenDocuments,
    document: &ArchivedDocument,
    now_ms: i64,
    rng: &mut dyn RngCore,
) -> Result<Vec<ActorId>, WriteError> {
    let ArchivedDocument { collection, doc_id, changes } = document;
    let mut row = match DocumentRow::of(conn, *doc_id)? {
        Some(row) if row.collection != collection.name() => {
            return Err(
                Invalid::record(format!("record {doc_id} is in {} here, not in {collection}", row.collection)).into()
            );
        }
        // What was erased stays erased, though it lives on in an older archive.
        Some(row) if row.erased => return Ok(Vec::new()),
        Some(row) => row,
        None => DocumentRow::new(feed_of(conn, *collection)?, collection.name()),
    };
    let damaged = |reason| StoreError::Damaged { doc_id: *doc_id, reason };
    let mut doc = open.take(conn, *doc_id, &row)?;
    let new: Vec<_> = changes.iter().filter(|(facts, _)| !merge::holds(&doc, facts.hash)).collect();
    if new.is_empty() {
        open.keep(*doc_id, row.version, doc);
        return Ok(Vec::new());
    }
    merge::apply_read(&mut doc, new.iter().map(|(_, change)| change.clone()).collect()).map_err(damaged)?;
    merge::verify(&doc, &merge::heads(&doc)).map_err(damaged)?;
    for (facts, change) in &new {
        let entry = entry(*doc_id, facts, change, rng);
        row.add_payload(entry.payload.len());
        outbox::queue(conn, &row, &entry, Some(facts.hash), &Asked::plainly(&Command::PutBack, now_ms))?;
    }
    let bytes = row.payload_bytes as u64;
    if bytes > limits::DOCUMENT_BYTES {
        return Err(WriteError::DocumentFull { doc_id: *doc_id, bytes });
    }
    documents::save(conn, *doc_id, &mut row, &doc)?;
    Ok(new.iter().map(|(facts, _)| facts.actor).collect())
}

/// The change as an entry, as whoever wrote it would have sent it.
pub(super) fn entry(doc_id: DocId, facts: &ChangeFacts, change: &Change, rng: &mut dyn RngCore) -> Entry {
    let is_genesis = doc_id.is_derived() && facts.deps.is_empty();
    let is_imported = record::import_version(doc_id, facts.actor).is_some();
    let salt = if is_genesis { Salt::default() } else { random_salt(rng) };
    let device_time = if is_genesis || is_imported { 0 } else { facts.time_ms };
    Entry { kind: EntryKind::Change.into(), doc_id, device_time, salt, payload: change.raw_bytes().to_vec() }
}
