//! What was refused and handed over: it stays with the person who wrote it until it is written again or discarded.

use rand::RngCore;
use rusqlite::{OptionalExtension, TransactionBehavior};

use super::documents::DocumentRow;
use super::erase::JOURNAL_OWED;
use super::write::{Command, Writer};
use super::{RejectedWrite, Store, StoreError, WriteError, Written, set_meta};
use crate::collection::Collection;
use crate::id::DocId;
use crate::policy::AccountId;

/// Names a refused write of this home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedKey {
    /// In one's own records.
    Own(i64),
    /// In those of somebody else.
    Of(AccountId, i64),
    /// In those of somebody who shares them no longer.
    Kept(i64),
}

/// A refused write and in whose records.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedHere {
    /// What it is discarded and retried by.
    pub key: RejectedKey,
    /// The name of whose records it is about; `None` for one's own.
    pub of: Option<String>,
    /// The write.
    pub write: RejectedWrite,
}

impl Store {
    /// Everything that was refused, one's own writes first, each store's oldest first.
    pub fn all_rejected(&mut self) -> Result<Vec<RejectedHere>, StoreError> {
        let own = self.rejected()?.into_iter();
        let own = own.map(|write| RejectedHere { key: RejectedKey::Own(write.n), of: None, write });
        Ok(own.chain(self.rejected_of_others()?).collect())
    }

    /// Writes a refused command again, now, into the same record. It is as good as new: durable when this returns, and
    /// waiting to be sent.
    pub fn retry_rejected(
        &mut self,
        key: RejectedKey,
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<Written, WriteError> {
        let (owner, n) = match key {
            RejectedKey::Own(n) => return self.retry_here(n, now_ms, rng),
            RejectedKey::Of(owner, n) => (owner, n),
            RejectedKey::Kept(_) => {
                return Err(WriteError::NotRetried("ask for it to be shared again, and write it anew"));
            }
        };
        let collection = self.opened(owner)?.refused(n)?.and_then(|refused| Collection::named(&refused.collection));
        self.may_write_for(owner, collection, now_ms)?;
        self.opened(owner)?.retry_here(n, now_ms, rng)
    }

    fn retry_here(&mut self, n: i64, now_ms: i64, rng: &mut dyn RngCore) -> Result<Written, WriteError> {
        let refused = self.refused(n)?.ok_or(WriteError::NotRefused)?;
        let command = serde_json::from_str(&refused.command).map_err(|_| WriteError::NotRetried("update the app"))?;
        match command {
            Command::Import { .. } => return Err(WriteError::NotRetried("import its file again")),
            Command::PutBack => return Err(WriteError::NotRetried("import the archive again")),
            Command::Genesis | Command::Erase { .. } => return Err(WriteError::NotRetried("erase the record again")),
            _ => {}
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute("DELETE FROM rejected WHERE n = ?", [n])?;
        // A record of that id may be here: then a new one is another.
        let taken = DocumentRow::of(&tx, refused.doc_id)?.is_some();
        let mut writer = Writer::new(&tx, &mut self.open, &self.writer, now_ms, rng)?;
        writer.doc_id = Some(refused.doc_id).filter(|_| !taken);
        writer.seed = refused.seed.unwrap_or(writer.seed);
        let (doc_id, row, doc, changed) = writer.carry_out(&command)?;
        tx.commit()?;
        self.open.keep(doc_id, row.version, doc);
        Ok(Written { doc_id, changed })
    }

    /// Forgets a refused write, to the last byte. Returns whether there was one.
    pub fn discard_rejected(&mut self, key: RejectedKey) -> Result<bool, StoreError> {
        let (store, statement, n) = match key {
            RejectedKey::Own(n) => (self, "DELETE FROM rejected WHERE n = ?", n),
            RejectedKey::Of(owner, n) => (self.opened(owner)?, "DELETE FROM rejected WHERE n = ?", n),
            RejectedKey::Kept(n) => (self, "DELETE FROM rejected_for WHERE n = ?", n),
        };
        let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let discarded = tx.execute(statement, [n])?;
        set_meta(&tx, JOURNAL_OWED, &[])?;
        tx.commit()?;
        store.finish_erasing()?;
        Ok(discarded > 0)
    }

    fn refused(&self, n: i64) -> Result<Option<Refused>, StoreError> {
        let mut query =
            self.conn.prepare_cached("SELECT doc_id, collection, command, seed FROM rejected WHERE n = ?")?;
        let refused = query.query_row([n], |row| {
            Ok(Refused { doc_id: DocId(row.get(0)?), collection: row.get(1)?, command: row.get(2)?, seed: row.get(3)? })
        });
        Ok(refused.optional()?)
    }
}

/// A row of `rejected`, as far as a retry needs it.
struct Refused {
    doc_id: DocId,
    collection: String,
    command: String,
    seed: Option<i64>,
}
