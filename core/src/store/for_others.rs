//! What this device writes into the feeds of others: durable in their store like one's own writes in the own one, and
//! pushed, answered and settled beside them. Whether it may is judged here as far as the device knows, and by the server.

use std::collections::BTreeMap;

use rand::RngCore;
use rusqlite::{OptionalExtension, TransactionBehavior};

use super::{
    Batch, Command, RejectedHere, RejectedKey, RejectedWrite, Status, Store, StoreError, WriteError, Written, account,
};
use crate::collection::Collection;
use crate::id::{EntryId, FeedId};
use crate::policy::{AccountId, Action, Denied, Permit, Place, judge};
use crate::wire::Receipt;

impl Store {
    /// Carries out a command in what somebody else shares; it is durable when this returns, like one's own, and waits to be
    /// sent. The same writer writes it, so under the same actor.
    pub fn write_for(
        &mut self,
        owner: AccountId,
        command: &Command,
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<Written, WriteError> {
        let collection = match command {
            Command::Create { collection, .. } => Collection::named(collection),
            Command::Edit { doc_id, .. }
            | Command::Trash { doc_id }
            | Command::Restore { doc_id }
            | Command::RestoreTo { doc_id, .. } => self.opened(owner)?.collection_of(*doc_id)?,
            // Only the person whose record it is can erase it.
            Command::Erase { .. } => return Err(Denied::OwnerOnly.into()),
            Command::Genesis | Command::Import { .. } | Command::PutBack | Command::SendAgain => None,
        };
        self.may_write_for(owner, collection, now_ms)?;
        let store = self.opened(owner)?;
        store.rebase_blocked(rng)?;
        store.write(command, now_ms, rng)
    }

    /// Makes the owner's store ready for a write that is allowed.
    pub(super) fn may_write_for(
        &mut self,
        owner: AccountId,
        collection: Option<Collection>,
        now_ms: i64,
    ) -> Result<(), WriteError> {
        self.judge_writing(owner, collection, now_ms)?;
        // Before the write: a crash in between leaves a name under which nothing waits.
        self.conn.execute("INSERT INTO written_for (owner) VALUES (?) ON CONFLICT DO NOTHING", [owner])?;
        let actor = self.actor()?;
        let (writer, store) = (self.writer.clone(), self.opened(owner)?);
        store.conn.execute(
            "INSERT INTO writers (name, actor) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET actor = ?2, last_accepted = NULL WHERE actor <> ?2",
            (&writer, actor.as_bytes()),
        )?;
        Ok(())
    }

    fn judge_writing(&self, owner: AccountId, collection: Option<Collection>, now_ms: i64) -> Result<(), WriteError> {
        let collection = collection.ok_or(Denied::NotGranted)?;
        let who = self.identity()?.map(|identity| identity.account).unwrap_or_default();
        let others = self.others()?;
        let shared = others.iter().filter(|other| other.account == owner).flat_map(|other| &other.feeds);
        let permits: Vec<_> = shared
            .filter_map(|((name, scope), access)| {
                let collection = Collection::named(name)?;
                Some(Permit { collection, scope: scope.clone(), access: *access, from_ms: None, until_ms: None })
            })
            .collect();
        Ok(judge(who, Action::Write, Place { owner, collection, scope: "" }, &permits, now_ms)?)
    }

    /// Those into whose feeds this device has written something that is not settled.
    pub(super) fn written_for(&self) -> Result<Vec<AccountId>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT owner FROM written_for ORDER BY owner")?;
        let owners = query.query_map([], |row| row.get(0))?;
        Ok(owners.collect::<Result<_, _>>()?)
    }

    /// The next entries to push into the feeds of others, of one owner at a time, from above what `pushed` says.
    pub fn next_batch_for_others(
        &mut self,
        pushed: &BTreeMap<AccountId, i64>,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Option<(AccountId, Batch)>, StoreError> {
        for owner in self.written_for()? {
            let after = pushed.get(&owner).copied().unwrap_or(0);
            let store = self.opened(owner)?;
            if let Some(batch) = store.next_batch(after, max_entries, max_bytes)? {
                return Ok(Some((owner, batch)));
            }
            if store.is_settled()? {
                self.conn.execute("DELETE FROM written_for WHERE owner = ?", [owner])?;
            }
        }
        Ok(None)
    }

    /// Writes of this device in the feeds of others that the server does not have, the refused ones included.
    pub fn unsent_for_others(&mut self) -> Result<u64, StoreError> {
        let mut unsent = self.kept()?;
        for owner in self.written_for()? {
            unsent += self.opened(owner)?.unsent()?;
        }
        Ok(unsent)
    }

    /// What waits and what was refused of what this device wrote into the feeds of others, all of them together.
    pub fn status_for_others(&mut self) -> Result<Status, StoreError> {
        let mut sum = Status { rejected: self.kept()?, ..Status::default() };
        for owner in self.written_for()? {
            sum.add_waiting(&self.opened(owner)?.status()?);
        }
        Ok(sum)
    }

    /// Writes in this very store that the server does not have, the refused ones included.
    pub(super) fn unsent(&self) -> Result<u64, StoreError> {
        let count = "SELECT (SELECT count(*) FROM outbox WHERE state <> 1) + (SELECT count(*) FROM rejected)";
        Ok(self.conn.query_row(count, [], |row| row.get::<_, i64>(0))? as u64)
    }

    fn is_settled(&self) -> Result<bool, StoreError> {
        let settled = "SELECT NOT EXISTS (SELECT 1 FROM outbox) AND NOT EXISTS (SELECT 1 FROM rejected)";
        Ok(self.conn.query_row(settled, [], |row| row.get(0))?)
    }

    /// Takes the receipts for a batch that went into somebody else's feeds: of entries by their numbers in that person's store,
    /// and by their ids, as the store may have gone meanwhile. Returns how many entries were refused.
    pub fn take_receipts_for(
        &mut self,
        owner: AccountId,
        entries: &[(i64, EntryId)],
        receipts: &[Receipt],
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<usize, StoreError> {
        let (mut waiting, mut answered) = (Vec::new(), Vec::new());
        for ((n, id), receipt) in entries.iter().zip(receipts) {
            if self.shares(owner)? && self.opened(owner)?.is_queued(*n, *id)? {
                waiting.push(*n);
                answered.push(receipt.clone());
            } else {
                self.settle_kept(*id, receipt)?;
            }
        }
        if waiting.is_empty() {
            return Ok(0);
        }
        let (writer, actor) = (self.writer.clone(), self.actor()?);
        let store = self.opened(owner)?;
        let refused = store.take_receipts(&waiting, &answered, now_ms, rng)?;
        let tip: Option<Vec<u8>> = store
            .conn
            .query_row(
                "SELECT last_accepted FROM writers WHERE name = ? AND actor = ?",
                (&writer, actor.as_bytes()),
                |row| row.get(0),
            )
            .optional()?
            .flatten();
        // Welcome names the last entry of the actor, wherever it was written.
        self.conn.execute(
            "UPDATE writers SET last_accepted = coalesce(?2, last_accepted) WHERE actor = ?1",
            (actor.as_bytes(), tip),
        )?;
        Ok(refused)
    }

    fn is_queued(&self, n: i64, id: EntryId) -> Result<bool, StoreError> {
        let mut query =
            self.conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM outbox WHERE n = ? AND entry_id = ?)")?;
        Ok(query.query_row((n, id.as_bytes()), |row| row.get(0))?)
    }

    /// Whether an entry lies in the store of somebody into whose feeds this device wrote.
    pub(super) fn is_among_others(&mut self, entry: EntryId) -> Result<bool, StoreError> {
        for owner in self.written_for()? {
            let here = "SELECT EXISTS (SELECT 1 FROM entries WHERE entry_id = ?)";
            if self.opened(owner)?.conn.query_row(here, [entry.as_bytes()], |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes in the stores of others how far the server has merged.
    pub(super) fn merged_of_others(&mut self, behind: &BTreeMap<FeedId, u64>) -> Result<(), StoreError> {
        for owner in self.written_for()? {
            let store = self.opened(owner)?;
            let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            account::note_merged(&tx, behind)?;
            tx.commit()?;
        }
        Ok(())
    }

    /// What of mine the server refused in the feeds of others.
    pub(super) fn rejected_of_others(&mut self) -> Result<Vec<RejectedHere>, StoreError> {
        let names: BTreeMap<_, _> = self.others()?.into_iter().map(|other| (other.account, other.name)).collect();
        let mut rejected = self.kept_writes()?;
        for owner in self.written_for()? {
            let of = Some(names.get(&owner).cloned().unwrap_or_default());
            let writes = self.opened(owner)?.rejected()?.into_iter();
            let here =
                |write: RejectedWrite| RejectedHere { key: RejectedKey::Of(owner, write.n), of: of.clone(), write };
            rejected.extend(writes.map(here));
        }
        Ok(rejected)
    }
}
