//! What others let this account read. Each person's feeds lie in a store of their own beside the home's, so that nothing
//! of theirs mixes with what is one's own (an id that is derived may be the same in two accounts), and so that what is
//! revoked can be removed to the last byte.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, TransactionBehavior};

use super::{Applied, FeedRow, PullError, Store, StoreError, account};
use crate::id::FeedId;
use crate::policy::{Access, AccountId};
use crate::wire::{FeedGranted, FeedPage};

/// Stores of others that are kept open; each takes a few file handles and a cache.
const OPEN_STORES: usize = 8;
/// SQLite's files beside the database's own.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Somebody who lets this account read something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Their account.
    pub account: AccountId,
    /// How they want to be seen.
    pub name: String,
    /// What they share, by collection and scope.
    pub feeds: BTreeMap<(String, String), Access>,
}

/// Something that somebody no longer shares, and that was removed from this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How they wanted to be seen.
    pub name: String,
    /// Of what.
    pub collection: String,
    /// Writes of this device in it that the server had not answered: they are kept, as refused.
    pub unsent: u64,
}

/// Stores of others by their accounts, opened when they are needed.
#[derive(Default)]
pub(super) struct OpenStores {
    open: HashMap<AccountId, (u64, Store)>,
    clock: u64,
}

impl OpenStores {
    fn get(&mut self, own: &Path, writer: &str, owner: AccountId) -> Result<&mut Store, StoreError> {
        self.clock += 1;
        if self.open.len() >= OPEN_STORES
            && !self.open.contains_key(&owner)
            && let Some(oldest) = self.open.iter().min_by_key(|(_, (used, _))| *used).map(|(owner, _)| *owner)
        {
            self.open.remove(&oldest);
        }
        let path = path_of(own, owner);
        let opened = match self.open.remove(&owner) {
            // Another process of this home may have removed the file, and it may be there anew.
            Some((_, store)) if store.is_the_file_at(&path) => store,
            _ => Store::open_for_reading(&path, writer)?,
        };
        Ok(&mut self.open.entry(owner).insert_entry((self.clock, opened)).into_mut().1)
    }
}

impl Store {
    fn is_the_file_at(&self, path: &Path) -> bool {
        self.file.is_some() && self.file == file_number(path)
    }
}

/// What tells a file from another one that later has its name; `None` if there is no file.
#[cfg(unix)]
pub(super) fn file_number(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
pub(super) fn file_number(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|_| 0)
}

/// The store of somebody else's feeds, beside the home's own at `own`.
fn path_of(own: &Path, owner: AccountId) -> PathBuf {
    let hex: String = owner.iter().map(|byte| format!("{byte:02x}")).collect();
    let stem = own.file_stem().unwrap_or_default().to_string_lossy();
    own.with_file_name(format!("{stem}-of-{hex}.db"))
}

impl Store {
    /// Everybody who shares something with this account, by name.
    pub fn others(&self) -> Result<Vec<Other>, StoreError> {
        let mut query = self
            .conn
            .prepare_cached("SELECT owner, owner_name, collection, scope, read_only FROM shared ORDER BY wire")?;
        let mut others: BTreeMap<AccountId, Other> = BTreeMap::new();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let account: AccountId = row.get(0)?;
            let other =
                others.entry(account).or_insert_with(|| Other { account, name: String::new(), feeds: BTreeMap::new() });
            other.name = row.get(1)?;
            other.feeds.insert((row.get(2)?, row.get(3)?), access(row.get(4)?));
        }
        let mut others: Vec<_> = others.into_values().collect();
        others.sort_by(|a, b| (&a.name, a.account).cmp(&(&b.name, b.account)));
        Ok(others)
    }

    /// What somebody else shares with this account, to be read; `None` if they share nothing (any more).
    pub fn of(&mut self, owner: AccountId) -> Result<Option<&Store>, StoreError> {
        if self.shares(owner)? { Ok(Some(self.opened(owner)?)) } else { Ok(None) }
    }

    pub(super) fn shares(&self, owner: AccountId) -> Result<bool, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM shared WHERE owner = ?)")?;
        Ok(query.query_row([owner], |row| row.get(0))?)
    }

    pub(super) fn opened(&mut self, owner: AccountId) -> Result<&mut Store, StoreError> {
        self.others.get(&self.path, &self.writer, owner)
    }

    /// The feeds of others as this device holds them.
    pub(super) fn feeds_of_others(&mut self) -> Result<Vec<FeedRow>, StoreError> {
        let mut feeds = Vec::new();
        for (owner, shared) in self.shared()? {
            let held = self.opened(owner)?.own_feeds()?;
            for gone in shared.iter().filter(|feed| !held.iter().any(|row| row.feed == **feed)) {
                self.forget_shared(owner, *gone)?;
            }
            feeds.extend(held.into_iter().filter(|row| shared.contains(&row.feed)));
        }
        Ok(feeds)
    }

    pub(super) fn shared(&self) -> Result<BTreeMap<AccountId, Vec<FeedId>>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT owner, wire FROM shared")?;
        let mut shared: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            shared.entry(row.get(0)?).or_default().push(FeedId(row.get::<_, i64>(1)? as u64));
        }
        Ok(shared)
    }

    /// Notes a feed that somebody else shares from now on, or shares otherwise than before.
    pub(super) fn grant_of_other(&mut self, feed: &FeedGranted) -> Result<(), StoreError> {
        // First what holds the entries: a crash in between leaves an empty store that nothing names.
        let store = self.opened(feed.account)?;
        let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        account::grant(&tx, feed)?;
        tx.commit()?;
        self.conn
            .prepare_cached(
                "INSERT INTO shared (wire, owner, owner_name, collection, scope, read_only) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (wire) DO UPDATE SET owner_name = excluded.owner_name, read_only = excluded.read_only",
            )?
            .execute((
                feed.feed.0 as i64,
                feed.account,
                &feed.owner_name,
                &feed.collection,
                &feed.scope,
                feed.access == Access::Read,
            ))?;
        Ok(())
    }

    /// Removes what is here of somebody else's feed, to the last byte; `None` if nothing of it is here, which is no error:
    /// the server may say it twice. What this device wrote there and the server does not have stays with who wrote it.
    pub fn revoke(&mut self, feed: FeedId, now_ms: i64) -> Result<Option<Ended>, StoreError> {
        let Some(owner) = self.owner_of(feed)? else { return Ok(None) };
        let is_last = self.shared()?.get(&owner).is_none_or(|feeds| feeds.len() == 1);
        let unsent = self.keep_unsettled(owner, feed, now_ms)?;
        self.opened(owner)?.purge(feed)?;
        if is_last {
            self.others.open.remove(&owner);
            remove_files(&path_of(&self.path, owner))?;
            self.conn.execute("DELETE FROM written_for WHERE owner = ?", [owner])?;
        }
        // Last: what a crash leaves of this row names a feed that is in no store, and goes with the next Hello.
        let ended = self.conn.query_row(
            "DELETE FROM shared WHERE wire = ? RETURNING owner_name, collection",
            [feed.0 as i64],
            |row| Ok(Ended { name: row.get(0)?, collection: row.get(1)?, unsent }),
        );
        Ok(ended.optional()?)
    }

    /// Removes what others share, as a device that is signed out could not hear that it ended; it comes again with the next
    /// login. What this device wrote for somebody and the server does not have stays, and so that person's store.
    pub(super) fn forget_others(&mut self) -> Result<(), StoreError> {
        let written_for = self.written_for()?;
        for (owner, feeds) in self.shared()? {
            if written_for.contains(&owner) && self.opened(owner)?.unsent()? > 0 {
                continue;
            }
            for feed in feeds {
                self.forget_shared(owner, feed)?;
            }
        }
        Ok(())
    }

    /// Finishes what a crash interrupted: a feed is named here only after its store knows it, and forgotten there first.
    fn forget_shared(&mut self, owner: AccountId, feed: FeedId) -> Result<(), StoreError> {
        self.conn.execute("DELETE FROM shared WHERE wire = ?", [feed.0 as i64])?;
        if !self.shared()?.contains_key(&owner) {
            self.others.open.remove(&owner);
            remove_files(&path_of(&self.path, owner))?;
        }
        Ok(())
    }

    /// Applies pages of others' feeds, each owner's in one transaction.
    pub(super) fn apply_of_others(&mut self, pages: &[FeedPage], applied: &mut Applied) -> Result<(), PullError> {
        let mut by_owner: BTreeMap<AccountId, Vec<FeedPage>> = BTreeMap::new();
        for page in pages {
            let owner = self.owner_of(page.feed)?.ok_or(PullError::UnknownFeed(page.feed))?;
            by_owner.entry(owner).or_default().push(page.clone());
        }
        for (owner, pages) in by_owner {
            applied.add_of_other(owner, self.opened(owner)?.apply_own(&pages)?);
        }
        Ok(())
    }

    /// Empties the feed, to the last byte.
    fn purge(&mut self, feed: FeedId) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for statement in [
            "DELETE FROM records WHERE doc_id IN (SELECT doc_id FROM documents JOIN feeds USING (feed) WHERE wire = ?)",
            "DELETE FROM snapshots WHERE doc_id IN (SELECT doc_id FROM documents JOIN feeds USING (feed) WHERE wire = ?)",
            "DELETE FROM rejected WHERE doc_id IN (SELECT doc_id FROM documents JOIN feeds USING (feed) WHERE wire = ?1)
               OR feed IN (SELECT feed FROM feeds WHERE wire = ?1)",
            "DELETE FROM outbox WHERE feed IN (SELECT feed FROM feeds WHERE wire = ?)",
            "DELETE FROM entries WHERE feed IN (SELECT feed FROM feeds WHERE wire = ?)",
            "DELETE FROM documents WHERE feed IN (SELECT feed FROM feeds WHERE wire = ?)",
            "DELETE FROM bootstraps WHERE feed IN (SELECT feed FROM feeds WHERE wire = ?)",
            "UPDATE feeds SET wire = NULL, epoch = NULL, cursor = 0, merged_seq = 0,
               digest = x'00000000000000000000000000000000' WHERE wire = ?",
        ] {
            tx.execute(statement, [feed.0 as i64])?;
        }
        tx.commit()?;
        // Another process that reads keeps the journal as it is, and what was deleted in it: then the removal is not done.
        if self.truncate_journal()? { Ok(()) } else { Err(StoreError::Busy) }
    }

    /// Whether somebody else shares the feed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_of_other(&self, feed: FeedId) -> Result<bool, StoreError> {
        Ok(self.owner_of(feed)?.is_some())
    }

    /// Whose a feed is, if somebody else shares it.
    pub(super) fn owner_of(&self, feed: FeedId) -> Result<Option<AccountId>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT owner FROM shared WHERE wire = ?")?;
        Ok(query.query_row([feed.0 as i64], |row| row.get(0)).optional()?)
    }
}

fn access(read_only: bool) -> Access {
    if read_only { Access::Read } else { Access::Write }
}

fn remove_files(path: &Path) -> Result<(), StoreError> {
    let companion = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for file in COMPANIONS.map(companion).into_iter().chain([path.to_owned()]) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(StoreError::NotRemoved(error)),
            _ => {}
        }
    }
    Ok(())
}
