//! What a server has lost or holds damaged, and this home still has.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use super::documents::{self, DocumentRow};
use super::{Store, StoreError};
use crate::entry::Entry;
use crate::id::{ChangeHash, DocId, FeedId};
use crate::limits;
use crate::merge;
use crate::wire::{EntryKind, Wanted};

impl Store {
    /// Those of the wanted entries of an own feed that are here, each with its number, as many as fit one message. What lay
    /// beside a change that is held in a snapshot alone is not known here; the server may know it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn wanted_entries(&self, feed: FeedId, wanted: &[Wanted]) -> Result<Vec<(u64, Entry)>, StoreError> {
        let known = self.numbered(feed, wanted)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for one in wanted {
            let entry = match known.get(&one.seq) {
                Some((entry, hash)) => {
                    self.whole(entry, *hash)?.filter(|entry| one.id.is_none_or(|id| entry.id() == id))
                }
                None => None,
            };
            let entry = match (entry, one.change) {
                (None, Some((doc_id, hash))) => self.change_of(doc_id, hash)?.map(|payload| bare(doc_id, payload)),
                (entry, _) => entry,
            };
            let Some(entry) = entry else { continue };
            bytes += entry.payload.len();
            if bytes > limits::ENTRIES_PAGE_BYTES && !found.is_empty() {
                break;
            }
            found.push((one.seq, entry));
        }
        Ok(found)
    }

    /// Rows of the feed with these numbers.
    fn numbered(
        &self,
        feed: FeedId,
        wanted: &[Wanted],
    ) -> Result<BTreeMap<u64, (Entry, Option<ChangeHash>)>, StoreError> {
        let numbers: Vec<_> = wanted.iter().map(|one| one.seq).collect();
        let mut query = self.conn.prepare_cached(
            "SELECT e.seq, e.kind, e.doc_id, e.device_time, e.salt, e.payload, e.change_hash
             FROM entries e JOIN feeds f USING (feed)
             WHERE f.wire = ? AND e.seq IN (SELECT value FROM json_each(?))",
        )?;
        let numbers = serde_json::to_string(&numbers).expect("numbers are plain data");
        let rows = query.query_map((feed.0 as i64, numbers), |row| {
            let entry = Entry {
                kind: row.get(1)?,
                doc_id: DocId(row.get(2)?),
                device_time: row.get(3)?,
                salt: row.get(4)?,
                payload: row.get::<_, Option<_>>(5)?.unwrap_or_default(),
            };
            Ok((row.get::<_, i64>(0)? as u64, (entry, row.get::<_, Option<_>>(6)?.map(ChangeHash))))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The entry with its payload, which it may have left to a snapshot.
    fn whole(&self, entry: &Entry, hash: Option<ChangeHash>) -> Result<Option<Entry>, StoreError> {
        match hash.filter(|_| entry.payload.is_empty()) {
            None => Ok(Some(entry.clone())),
            Some(hash) => {
                let payload = self.change_of(entry.doc_id, hash)?;
                Ok(payload.map(|payload| Entry { payload, ..entry.clone() }))
            }
        }
    }

    /// The bytes of a change, if its document has it.
    fn change_of(&self, doc_id: DocId, hash: ChangeHash) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(row) = DocumentRow::of(&self.conn, doc_id)?.filter(|row| !row.erased) else { return Ok(None) };
        let doc = match documents::load(&self.conn, doc_id, &row) {
            Err(StoreError::Damaged { .. }) => return Ok(None),
            doc => doc?,
        };
        Ok(merge::change(&doc, hash).map(|change| change.raw_bytes().to_vec()))
    }

    /// Whether feeds are to be proved by the server as well when they are compared: an audit is under way.
    ///
    /// # Errors
    /// When the store fails.
    pub fn owes_proof(&self) -> Result<bool, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM meta WHERE key = ?")?;
        Ok(query.query_row([PROOF_OWED], |_| Ok(())).optional()?.is_some())
    }

    /// They were.
    ///
    /// # Errors
    /// When the store fails.
    pub fn proved(&mut self) -> Result<(), StoreError> {
        self.conn.execute("DELETE FROM meta WHERE key = ?", [PROOF_OWED])?;
        Ok(())
    }
}

/// Set from an audit until all feeds were compared.
pub(super) const PROOF_OWED: &str = "proof_owed";

/// A change without what lay beside it.
fn bare(doc_id: DocId, payload: Vec<u8>) -> Entry {
    Entry { kind: EntryKind::Change.into(), doc_id, device_time: 0, salt: [0; 8], payload }
}
