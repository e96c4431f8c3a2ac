//! What is stored and could not be applied: changes that the server took out of their documents since, and entries of kinds
//! that an earlier version did not know. Each is taken in a transaction of its own, after the page that brought it: what was
//! written on top of it is written again, which needs more than a page has, and a crash in between leaves it to the next
//! opening.

use std::collections::{BTreeMap, BTreeSet};

use automerge::Change;
use rand::RngCore;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::documents::DocumentRow;
use super::pull::{Applied, NewEntry};
use super::rebase::{LeftOut, Rebase};
use super::{Store, StoreError, erase, outbox};
use crate::change;
use crate::entry::Entry;
use crate::id::{ChangeHash, DocId, EntryId};
use crate::void::{VOIDED, Void};
use crate::wire::{EntryKind, Refusal};

impl Store {
    /// Takes what pages brought of voids, in own documents and those of others. Returns how many commands were handed over.
    pub fn take_voids(&mut self, applied: &Applied, now_ms: i64, rng: &mut dyn RngCore) -> Result<usize, StoreError> {
        let mut handed_over = self.take_kept(now_ms, rng)?;
        for owner in applied.of_others.keys() {
            handed_over += self.opened(*owner)?.take_kept(now_ms, rng)?;
        }
        Ok(handed_over)
    }

    /// Takes entries of this store that could not be applied when they came, as far as they can be now.
    pub(super) fn take_kept(&mut self, now_ms: i64, rng: &mut dyn RngCore) -> Result<usize, StoreError> {
        if kept(&self.conn)?.is_empty() {
            return Ok(0);
        }
        let is_own = self.meta::<[u8; 16]>("account")?.is_some();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut handed_over = 0;
        for (doc_id, entries) in kept(&tx)? {
            let (voids, erasures): (Vec<_>, Vec<_>) = entries.into_iter().partition(|one| !one.entry.is_erasure());
            let mut rebase = Rebase { conn: &tx, open: &mut self.open, writer: &self.writer, now_ms, rng };
            handed_over += take(&mut rebase, doc_id, &voids)?;
            for erasure in erasures {
                self.open.forget(doc_id);
                take_erasure(&tx, erasure, is_own)?;
            }
        }
        tx.commit()?;
        self.finish_erasing()?;
        Ok(handed_over)
    }
}

/// An entry of a kind that this version knows, stored by one that did not, or by a page that has just come.
struct Kept {
    n: i64,
    seq: u64,
    id: EntryId,
    entry: Entry,
}

/// Those of documents that count some, in the order they came.
fn kept(conn: &Connection) -> Result<BTreeMap<DocId, Vec<Kept>>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT e.n, e.seq, e.entry_id, e.kind, e.doc_id, e.device_time, e.salt, e.payload
         FROM documents d JOIN entries e ON e.doc_id = d.doc_id AND e.change_hash IS NULL
         WHERE d.unapplied > 0 AND e.kind IN (?, ?) AND e.payload IS NOT NULL AND e.seq IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM voided v WHERE v.doc_id = e.doc_id AND v.n = e.n)
         ORDER BY e.n",
    )?;
    let kinds = (i32::from(EntryKind::Erase), i32::from(EntryKind::Void));
    let mut rows = query.query(kinds)?;
    let mut kept: BTreeMap<_, Vec<_>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let entry = Entry {
            kind: row.get(3)?,
            doc_id: DocId(row.get(4)?),
            device_time: row.get(5)?,
            salt: row.get(6)?,
            payload: row.get(7)?,
        };
        let (seq, id) = (row.get::<_, i64>(1)?.cast_unsigned(), EntryId(row.get(2)?));
        kept.entry(entry.doc_id).or_default().push(Kept { n: row.get(0)?, seq, id, entry });
    }
    Ok(kept)
}

/// Whether the server took the change out of its document.
pub(super) fn is_voided(conn: &Connection, doc_id: DocId, hash: ChangeHash) -> Result<bool, StoreError> {
    let mut query = conn.prepare_cached("SELECT 1 FROM voided WHERE doc_id = ? AND change_hash = ?")?;
    Ok(query.query_row((doc_id.as_bytes(), hash.as_bytes()), |_| Ok(())).optional()?.is_some())
}

/// Whether the change, or one that it builds on, was taken out: then it is no part of its document either.
pub(super) fn is_without(conn: &Connection, doc_id: DocId, change: &Change) -> Result<bool, StoreError> {
    for hash in std::iter::once(&change.hash()).chain(change.deps()) {
        if is_voided(conn, doc_id, ChangeHash(hash.0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes that the void in the entry `n` took a change out.
pub(super) fn note(conn: &Connection, doc_id: DocId, hash: ChangeHash, n: i64) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO voided (doc_id, change_hash, n) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (doc_id.as_bytes(), hash.as_bytes(), n),
    )?;
    Ok(())
}

/// Takes changes out of their document. Their author gets them back, but for those that the server has written again.
fn take(rebase: &mut Rebase<'_>, doc_id: DocId, entries: &[Kept]) -> Result<usize, StoreError> {
    let conn = rebase.conn;
    let (mut refused, mut written_again, mut settled) = (BTreeMap::new(), BTreeSet::new(), 0);
    // What a later version says stays as it is.
    let voids: Vec<_> = entries.iter().filter_map(|one| Some((one.n, Void::of(&one.entry)?))).collect();
    for (n, Void { change, replayed }) in &voids {
        note(conn, doc_id, *change, *n)?;
        settled += 1 + forget_unapplied(conn, doc_id, *change)?;
        match outbox::find(conn, doc_id, *change)? {
            _ if *replayed => drop(written_again.insert(*change)),
            Some(own) => drop(refused.insert(own, Refusal { code: VOIDED.0.to_owned(), message: VOIDED.1.to_owned() })),
            None => {}
        }
    }
    let Some((last, _)) = voids.last() else { return Ok(0) };
    conn.execute(
        "UPDATE documents SET unapplied = max(unapplied - ?2, 0) WHERE doc_id = ?1",
        (doc_id.as_bytes(), settled),
    )?;
    let changes = voids.iter().map(|(_, void)| void.change).collect();
    let left_out = LeftOut { changes, refused: &refused, written_again, void: Some(*last) };
    Ok(rebase.without(doc_id, &left_out)?.unwrap_or(0))
}

/// The change itself, where it could not be merged here either. Returns how many entries that were.
fn forget_unapplied(conn: &Connection, doc_id: DocId, hash: ChangeHash) -> Result<i64, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT n, payload FROM entries
         WHERE doc_id = ? AND kind = ? AND change_hash IS NULL AND payload IS NOT NULL",
    )?;
    let unread: Vec<(i64, Vec<u8>)> = query
        .query_map((doc_id.as_bytes(), i32::from(EntryKind::Change)), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut forgotten = 0;
    for (n, payload) in unread {
        if change::reread(&payload).is_ok_and(|change| change.hash().0 == hash.0) {
            conn.execute("UPDATE entries SET payload = NULL WHERE n = ?", [n])?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// Takes an erasure that an earlier version kept.
fn take_erasure(conn: &Connection, one: Kept, is_own: bool) -> Result<(), StoreError> {
    let doc_id = one.entry.doc_id;
    let Some(row) = DocumentRow::of(conn, doc_id)? else { return Ok(()) };
    conn.execute("DELETE FROM entries WHERE n = ?", [one.n])?;
    let erasure = NewEntry::unread(one.seq, one.id, one.entry);
    erase::take(conn, (row.feed, &row.collection), &erasure, is_own)
}
