//! A store whose file is damaged, by a disk that tore a page or a cable that flipped a bit. What only this device has is read
//! out of it as far as it can be read and goes into a new file; everything else comes from the server again. The damaged file
//! is kept aside.
//!
//! Nothing that is read is believed: a change counts if it is well formed and builds on what was read before it, so that a page
//! that is another one than it should be spoils no document.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use automerge::Automerge;
use rand::RngCore;
use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior};

use super::documents::{self, DocumentRow, StoredSnapshot};
use super::outbox::Asked;
use super::write::{Command, feed_of, was_asked_for};
use super::{ArchivedDocument, Store, StoreError, others, outbox, set_meta};
use crate::collection::Collection;
use crate::entry::Entry;
use crate::id::{ActorId, DocId};
use crate::merge;
use crate::wire::EntryKind;

/// What a write is refused with that could not be read whole any more.
pub const LOST_TO_DAMAGE: &str = "store_damaged";
pub(super) const LOST_SENTENCE: &str = "the file that it was kept in was damaged before it was sent; enter it again";
/// Files put aside beside one home.
const ASIDE_MOST: u32 = 1_000;
/// Keys of `meta` that say something of the old file alone.
const OF_THE_FILE: [&str; 1] = ["journal_owed"];

/// What was saved of a damaged store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// Where the damaged file is now.
    pub aside: PathBuf,
    /// Whether the home still knows its account.
    pub has_account: bool,
    /// Records with something that waited to be sent: they wait again.
    pub saved: Vec<DocId>,
    /// Writes that waited to be sent and could not be read whole; they are under `rejected`, as far as they can be told.
    pub lost: usize,
    /// Whether the list of what waited was read to its end. If not there may have been more.
    pub is_complete: bool,
}

impl Store {
    /// Looks through the whole file for damage to its structure; what is stored in it has checks of its own.
    ///
    /// # Errors
    /// [`StoreError::Broken`] with the first thing that is wrong.
    pub fn check(&self) -> Result<(), StoreError> {
        let found: String = self.conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found == "ok" { Ok(()) } else { Err(StoreError::Broken(found)) }
    }

    /// That this is still the file of the home, not one that another process has put aside.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub fn check_in_place(&self) -> Result<(), StoreError> {
        check_in_place(self.file, &self.path)
    }

    /// Whether what is stored of a document is not what was stored. If it is, a document that cannot be read is no damage of
    /// this file, and no other file would help.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_spoilt(&self, doc_id: DocId) -> Result<bool, StoreError> {
        if StoredSnapshot::of(&self.conn, doc_id)?.is_some_and(|snapshot| !snapshot.is_intact) {
            return Ok(true);
        }
        let mut entries = self.conn.prepare_cached(
            "SELECT entry_id, kind, device_time, salt, payload FROM entries WHERE doc_id = ? AND payload IS NOT NULL",
        )?;
        let mut rows = entries.query([doc_id.as_bytes()])?;
        while let Some(row) = rows.next()? {
            let (kind, device_time) = (row.get(1)?, row.get(2)?);
            let entry = Entry { kind, doc_id, device_time, salt: row.get(3)?, payload: row.get(4)? };
            if entry.id().0 != row.get::<_, [u8; 16]>(0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts a damaged file aside and makes a new one of what can be read of it.
    ///
    /// # Errors
    /// When the file system refuses; then everything is as it was, or the next opening finishes it.
    pub fn salvage(path: &Path, writer: &str, now_ms: i64, rng: &mut dyn RngCore) -> Result<Salvaged, StoreError> {
        let aside =
            free_name(path).ok_or_else(|| StoreError::Broken("too many damaged files lie beside it".to_owned()))?;
        // Whoever else works with the file waits, and then finds that it is another one.
        let others_wait = Connection::open(path).and_then(|conn| conn.execute_batch("BEGIN IMMEDIATE").map(|()| conn));
        copy(path, &aside)?;
        let new = beside(path, "new");
        remove(&new)?;
        let mut store = Self::open(&new, writer, rng)?;
        let salvaged = store.take_from(&aside, now_ms, rng)?;
        store.truncate_journal()?;
        drop(store);
        File::open(&new).and_then(|file| file.sync_all()).map_err(StoreError::NotReplaced)?;
        fs::rename(&new, beside(path, "recovered")).map_err(StoreError::NotReplaced)?;
        finish(path)?;
        // SQLite sees that the file has another name now, and leaves what lies under the old one alone.
        drop(others_wait);
        Ok(Salvaged { aside, ..salvaged })
    }

    fn take_from(&mut self, damaged: &Path, now_ms: i64, rng: &mut dyn RngCore) -> Result<Salvaged, StoreError> {
        let mut salvaged = Salvaged::default();
        let Ok(old) = open(damaged) else { return Ok(salvaged) };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        take_account(&old, &tx)?;
        take_beside(&old, &tx)?;
        let (waiting, is_complete) = rows(&old, "SELECT n, doc_id, command FROM outbox WHERE state <> 1", "n", |row| {
            Ok(Waiting { n: row.get(0)?, doc_id: DocId(row.get(1)?), command: row.get(2)? })
        });
        tx.commit()?;
        salvaged.is_complete = is_complete;
        let documents: BTreeSet<_> = waiting.iter().map(|waiting| waiting.doc_id).collect();
        for doc_id in documents {
            let of_it: Vec<_> = waiting.iter().filter(|waiting| waiting.doc_id == doc_id).collect();
            let lost = self.take_document(&old, doc_id, &of_it, now_ms, rng)?;
            salvaged.lost += lost;
            if lost < of_it.len() {
                salvaged.saved.push(doc_id);
            }
        }
        salvaged.has_account = self.identity()?.is_some();
        Ok(salvaged)
    }

    /// Takes what waits of one document; returns how many writes of it could not be taken.
    fn take_document(
        &mut self,
        old: &Connection,
        doc_id: DocId,
        waiting: &[&Waiting],
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<usize, StoreError> {
        let Some((row, collection)) = row_of(old, doc_id) else { return self.lose(waiting, "", now_ms) };
        if row.erased {
            return self.take_erasure(old, doc_id, collection, waiting, now_ms);
        }
        let (document, whole) = read(old, doc_id, &row, collection);
        let taken = match document {
            Some(document) => self.put_back(&[document], now_ms, rng).is_ok(),
            None => false,
        };
        if taken && whole {
            return Ok(0);
        }
        let missing: Vec<_> =
            waiting.iter().filter(|waiting| !(taken && self.has_change(old, waiting.n))).copied().collect();
        self.lose(&missing, &row.collection, now_ms)
    }

    /// Whether the change of that entry in the damaged file is in this store.
    fn has_change(&self, old: &Connection, n: i64) -> bool {
        let known = old.query_row("SELECT doc_id, change_hash FROM entries WHERE n = ?", [n], |row| {
            Ok((DocId(row.get(0)?), row.get::<_, Option<[u8; 32]>>(1)?))
        });
        let Ok((doc_id, Some(hash))) = known else { return false };
        outbox::find(&self.conn, doc_id, crate::id::ChangeHash(hash)).is_ok_and(|found| found.is_some())
    }

    fn take_erasure(
        &mut self,
        old: &Connection,
        doc_id: DocId,
        collection: Collection,
        waiting: &[&Waiting],
        now_ms: i64,
    ) -> Result<usize, StoreError> {
        const ERASE: i32 = EntryKind::Erase as i32;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut erased = DocumentRow::new(feed_of(&tx, collection)?, collection.name());
        erased.erased = true;
        erased.save(&tx, doc_id)?;
        let mut lost = 0;
        for Waiting { n, .. } in waiting {
            let entry = old.query_row("SELECT kind, device_time, salt FROM entries WHERE n = ?", [n], |row| {
                Ok((row.get::<_, i32>(0)?, row.get(1)?, row.get(2)?))
            });
            match entry {
                Ok((ERASE, device_time, salt)) => {
                    let entry = Entry::erasure(doc_id, device_time, salt, "");
                    outbox::queue(&tx, &erased, &entry, None, &Asked::plainly(&Command::Erase { doc_id }, now_ms))?;
                }
                _ => lost += 1,
            }
        }
        tx.commit()?;
        Ok(lost)
    }

    /// Hands writes back that could not be read whole; what was asked for is kept as far as it can be read.
    fn lose(&mut self, waiting: &[&Waiting], collection: &str, now_ms: i64) -> Result<usize, StoreError> {
        let asked_for = waiting.iter().filter(|waiting| was_asked_for(&waiting.command));
        let mut lost = 0;
        for Waiting { n, doc_id, command } in asked_for {
            self.conn.execute(
                "INSERT OR IGNORE INTO rejected (n, doc_id, collection, code, message, rejected_at, command, record)
                 VALUES (?, ?, ?, ?, ?, ?, ?, 'null')",
                (-n, doc_id.as_bytes(), collection, LOST_TO_DAMAGE, LOST_SENTENCE, now_ms, command),
            )?;
            lost += 1;
        }
        Ok(lost)
    }
}

/// A write that the server does not have.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    n: i64,
    doc_id: DocId,
    command: String,
}

/// That the file is still the home's, not one that another process has put aside.
pub(super) fn check_in_place(file: Option<u64>, path: &Path) -> Result<(), StoreError> {
    if file == others::file_number(path) { Ok(()) } else { Err(StoreError::Replaced) }
}

/// Finishes what a crash interrupted between the new file's last byte and its name. The rename to `recovered` is the moment
/// from which the new file counts.
pub(super) fn finish(path: &Path) -> Result<(), StoreError> {
    let recovered = beside(path, "recovered");
    if !recovered.exists() {
        return Ok(());
    }
    for companion in ["-wal", "-shm"] {
        remove(&with_suffix(path, companion))?;
    }
    fs::rename(&recovered, path).map_err(StoreError::NotReplaced)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::NotReplaced)
}

/// Whose the home is, the server's numbers of its feeds, and who wrote in it. Cursors begin anew, and so do actors: a change of
/// an old one may be on the server and not be readable here.
fn take_account(old: &Connection, new: &Connection) -> Result<(), StoreError> {
    let (meta, _) = rows(old, "SELECT key, value FROM meta", "key", |row| Ok((text(row, 0)?, bytes(row, 1)?)));
    for (key, value) in meta.iter().filter(|(key, _)| !OF_THE_FILE.contains(&&**key)) {
        set_meta(new, key, value)?;
    }
    let feeds = "SELECT feed, collection, scope, wire, epoch FROM feeds WHERE wire IS NOT NULL AND epoch IS NOT NULL";
    let (feeds, _) =
        rows(old, feeds, "feed", |row| Ok((text(row, 1)?, text(row, 2)?, row.get::<_, i64>(3)?, bytes(row, 4)?)));
    for feed in feeds {
        new.execute("UPDATE OR IGNORE feeds SET wire = ?3, epoch = ?4 WHERE collection = ?1 AND scope = ?2", feed)?;
    }
    for actors in ["SELECT actor FROM writers", "SELECT actor FROM former_actors"] {
        for actor in rows(old, actors, "actor", |row| Ok(ActorId(row.get(0)?))).0 {
            new.execute("INSERT OR IGNORE INTO former_actors (actor) VALUES (?)", [actor.as_bytes()])?;
        }
    }
    Ok(())
}

/// What is in the home beside its records: what others share, the files that were imported, what was refused. Columns are named
/// and are those that every version has, as the damaged file may be older than the new one: a refused write that is retried gets
/// new ids for its items.
fn take_beside(old: &Connection, new: &Connection) -> Result<(), StoreError> {
    let shared = "SELECT wire, owner, owner_name, collection, scope, read_only FROM shared";
    let (shared, _) = rows(old, shared, "wire", |row| {
        Ok((row.get::<_, i64>(0)?, bytes(row, 1)?, text(row, 2)?, text(row, 3)?, text(row, 4)?, row.get::<_, i64>(5)?))
    });
    for shared in shared {
        new.execute(
            "INSERT OR IGNORE INTO shared (wire, owner, owner_name, collection, scope, read_only) VALUES (?, ?, ?, ?, ?, ?)",
            shared,
        )?;
    }
    for owner in rows(old, "SELECT owner FROM written_for", "owner", |row| bytes(row, 0)).0 {
        new.execute("INSERT OR IGNORE INTO written_for (owner) VALUES (?)", [owner])?;
    }
    let originals = "SELECT hash, name, imported_at, bytes FROM originals";
    let (originals, _) =
        rows(old, originals, "hash", |row| Ok((bytes(row, 0)?, text(row, 1)?, row.get::<_, i64>(2)?, bytes(row, 3)?)));
    for original in originals.into_iter().filter(|(hash, .., file)| blake3::hash(file).as_bytes()[..] == hash[..]) {
        new.execute("INSERT OR IGNORE INTO originals (hash, name, imported_at, bytes) VALUES (?, ?, ?, ?)", original)?;
    }
    let rejected = "SELECT n, doc_id, collection, code, message, rejected_at, command, record FROM rejected";
    let (rejected, _) = rows(old, rejected, "n", |row| {
        let (n, at): (i64, i64) = (row.get(0)?, row.get(5)?);
        // Numbers above zero will be given anew.
        Ok((-n.abs(), bytes(row, 1)?, text(row, 2)?, text(row, 3)?, text(row, 4)?, at, text(row, 6)?, text(row, 7)?))
    });
    for rejected in rejected {
        new.execute(
            "INSERT OR IGNORE INTO rejected (n, doc_id, collection, code, message, rejected_at, command, record)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rejected,
        )?;
    }
    take_rejected_for(old, new)
}

/// What was written for somebody who shares no longer; before version 7 of the store there was no such table.
fn take_rejected_for(old: &Connection, new: &Connection) -> Result<(), StoreError> {
    let kept =
        "SELECT n, entry_id, owner_name, doc_id, collection, code, message, rejected_at, command FROM rejected_for";
    let (kept, _) = rows(old, kept, "n", |row| {
        let (n, at): (i64, i64) = (row.get(0)?, row.get(7)?);
        let (collection, code, message) = (text(row, 4)?, text(row, 5)?, text(row, 6)?);
        Ok((n, bytes(row, 1)?, text(row, 2)?, bytes(row, 3)?, collection, code, message, at, text(row, 8)?))
    });
    for kept in kept {
        new.execute(
            "INSERT OR IGNORE INTO rejected_for
                 (n, entry_id, owner_name, doc_id, collection, code, message, rejected_at, command)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            kept,
        )?;
    }
    Ok(())
}

/// The rows of a query that can be read, from both ends if one does not lead through; and whether those are all.
fn rows<T: Ord>(
    conn: &Connection,
    sql: &str,
    key: &str,
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> (BTreeSet<T>, bool) {
    let mut found = BTreeSet::new();
    for order in ["", " DESC"] {
        let scanned = conn.prepare(&format!("{sql} ORDER BY {key}{order}")).and_then(|mut query| {
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                // A row with another type in it than the table has is damaged by itself.
                found.extend(read(row));
            }
            Ok(())
        });
        if scanned.is_ok() {
            return (found, order.is_empty());
        }
    }
    (found, false)
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    row.get(column)
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    row.get(column)
}

fn row_of(old: &Connection, doc_id: DocId) -> Option<(DocumentRow, Collection)> {
    let row = DocumentRow::of(old, doc_id).ok().flatten()?;
    let collection = Collection::named(&row.collection)?;
    Some((row, collection))
}

/// A document as far as it can be read, and whether that is all of it.
fn read(
    old: &Connection,
    doc_id: DocId,
    row: &DocumentRow,
    collection: Collection,
) -> (Option<ArchivedDocument>, bool) {
    if let Ok(doc) = documents::load(old, doc_id, row) {
        let file = changes_of(&doc).concat();
        let document = ArchivedDocument::read(collection, doc_id, &file).ok();
        return (document, true);
    }
    let folded = snapshot(old, doc_id).map(|doc| changes_of(&doc)).unwrap_or_default();
    let (appended, _) = rows(
        old,
        &format!("SELECT n, payload FROM entries WHERE lower(hex(doc_id)) = '{}' AND payload IS NOT NULL", hex(doc_id)),
        "n",
        |row| Ok((row.get::<_, i64>(0)?, bytes(row, 1)?)),
    );
    let mut file = Vec::new();
    for chunk in folded.into_iter().chain(appended.into_iter().map(|(_, payload)| payload)) {
        let longer = [file.as_slice(), &chunk].concat();
        if ArchivedDocument::read(collection, doc_id, &longer).is_ok() {
            file = longer;
        }
    }
    (ArchivedDocument::read(collection, doc_id, &file).ok(), false)
}

fn changes_of(doc: &Automerge) -> Vec<Vec<u8>> {
    let changes = merge::changes(doc).unwrap_or_default();
    changes.iter().map(|change| change.raw_bytes().to_vec()).collect()
}

fn snapshot(old: &Connection, doc_id: DocId) -> Option<Automerge> {
    let stored = StoredSnapshot::of(old, doc_id).ok()??;
    if stored.is_intact { merge::load(&stored.bytes).ok() } else { None }
}

fn hex(doc_id: DocId) -> String {
    doc_id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The copy that is read; it is ours alone.
fn open(damaged: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Says whether it is a database at all.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(conn)
}

/// The first name for a damaged file that is free.
fn free_name(path: &Path) -> Option<PathBuf> {
    (1..=ASIDE_MOST).map(|number| beside(path, &format!("damaged-{number}"))).find(|name| !name.exists())
}

fn beside(path: &Path, what: &str) -> PathBuf {
    with_suffix(path, &format!(".{what}"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Copies the file with its journal, which may hold what the file has not yet.
fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let copied = fs::copy(from, to).and_then(|_| match fs::copy(with_suffix(from, "-wal"), with_suffix(to, "-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(to)?.sync_all(),
    });
    copied.map_err(StoreError::NotReplaced)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::NotReplaced(error)),
        _ => Ok(()),
    }
}
