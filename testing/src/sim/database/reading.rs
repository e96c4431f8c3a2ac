//! What sessions read: the queries of `sync-server/src/feeds.rs` on the model's tables.

use std::collections::{BTreeSet, HashMap};

use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ActorId, EntryId, Epoch, FeedId, Installation};
use fitme_core::policy::{Access, Action, Place, judge};
use fitme_core::session::{Account, AccountFeed, Grants, Page, Received};
use fitme_core::wire::Cursors;
use sync_server::feeds::Asked;
use sync_server::grants::{self, Granted, Naming};
use sync_server::ingest::check::Target;
use uuid::Uuid;

use super::appending::permit;
use super::tables::{EntryRow, FeedRow, Tables};
use super::{Database, Inner};

/// The database does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away;

impl Database {
    fn read<T>(&self, query: impl FnOnce(&Inner) -> T) -> Result<T, Away> {
        let inner = self.inner();
        if inner.away { Err(Away) } else { Ok(query(&inner)) }
    }

    /// `feeds::load_account`.
    ///
    /// # Errors
    /// When the database is away.
    pub fn load_account(&self, account: Uuid, cursors: &Cursors, actors: &[ActorId]) -> Result<Account, Away> {
        self.read(|inner| Account {
            installation: Installation(inner.tables.installation),
            account: account.into_bytes(),
            clock_ms: inner.now_ms,
            feeds: readable(inner, account, cursors),
            grants_version: inner.tables.grantees.get(&account).copied().unwrap_or(0),
            actors: tips(&inner.tables, account, actors),
        })
    }

    /// `feeds::load_grants`.
    ///
    /// # Errors
    /// When the database is away.
    pub fn load_grants(&self, account: Uuid) -> Result<Grants, Away> {
        self.read(|inner| {
            let mut feeds = readable(inner, account, &Cursors::default());
            feeds.retain(|feed| feed.owner != account.into_bytes());
            Grants { version: inner.tables.grantees.get(&account).copied().unwrap_or(0), feeds }
        })
    }

    /// The feeds of `feeds::named`.
    ///
    /// # Errors
    /// When the database is away.
    pub fn numbers(&self, account: Uuid) -> Result<Vec<FeedId>, Away> {
        self.read(|inner| {
            let own = inner.tables.feeds.iter().filter(|(_, row)| row.account == account).map(|(feed, _)| *feed);
            let named = inner.tables.grants_now.iter().filter(|(_, row)| row.grantee == account);
            own.chain(named.map(|((.., feed), _)| *feed)).collect()
        })
    }

    /// `feeds::read_page`.
    ///
    /// # Errors
    /// When the database is away.
    pub fn read_page(&self, account: Uuid, asked: Asked) -> Result<Page, Away> {
        self.read(|inner| page(&inner.tables, &[account], asked))
    }

    /// `feeds::read_page_of_other`, without the note for the owner.
    ///
    /// # Errors
    /// When the database is away.
    pub fn read_page_of_other(&self, reader: Uuid, asked: Asked) -> Result<Option<Page>, Away> {
        self.read(|inner| {
            let named = |((.., feed), row): (&(_, _, FeedId), &super::tables::GrantRow)| {
                *feed == asked.feed && row.grantee == reader
            };
            if !inner.tables.grants_now.iter().any(named) {
                return None;
            }
            let owner = inner.tables.feeds.get(&asked.feed)?.account;
            may_read(inner, reader, owner, asked.feed).then(|| page(&inner.tables, &[owner], asked))
        })
    }

    /// `feeds::renew_epochs`; `epoch` draws them.
    ///
    /// # Errors
    /// When the database is away.
    pub fn renew_epochs(
        &self,
        account: Uuid,
        feeds: &[FeedId],
        mut epoch: impl FnMut() -> Epoch,
    ) -> Result<Vec<(FeedId, Epoch)>, Away> {
        let inner = &mut *self.inner();
        if inner.away {
            return Err(Away);
        }
        let mut renewed = Vec::new();
        for feed in feeds {
            if let Some(row) = inner.tables.feeds.get_mut(feed).filter(|row| row.account == account) {
                row.epoch = epoch();
                renewed.push((*feed, row.epoch));
            }
        }
        Ok(renewed)
    }

    /// `Owners::targets`: what a feed is, before any lock.
    #[must_use]
    pub fn target(&self, feed: FeedId) -> Target {
        let found = self.read(|inner| {
            let row = inner.tables.feeds.get(&feed)?;
            let is_grants = |(_, other): &(&FeedId, &FeedRow)| {
                other.account == row.account && other.collection == Collection::Grants.name()
            };
            let (grants, _) = inner.tables.feeds.iter().find(is_grants)?;
            Some(Target::of(row.account, &row.collection, &row.scope, *grants))
        });
        match found {
            Ok(target) => target.unwrap_or(Target::Nothing),
            Err(Away) => Target::Unknown,
        }
    }
}

fn readable(inner: &Inner, account: Uuid, cursors: &Cursors) -> Vec<AccountFeed> {
    let tables = &inner.tables;
    let grants = naming(tables, account);
    let owners: BTreeSet<_> = grants.iter().map(|grant| grant.owner).chain([account]).collect();
    let rows: Vec<_> = tables.feeds.iter().filter(|(_, row)| owners.contains(&row.account)).collect();
    let place = |(feed, row): &(&FeedId, &FeedRow)| {
        let collection = Collection::named(&row.collection)?;
        Some((**feed, (row.account, collection, row.scope.clone())))
    };
    let owned: Vec<_> = rows.iter().filter_map(place).collect();
    let places: HashMap<_, _> = owned
        .iter()
        .map(|(feed, (owner, collection, scope))| {
            (*feed, Place { owner: owner.into_bytes(), collection: *collection, scope })
        })
        .collect();
    let granted = grants::readable(account, &grants, &places, inner.now_ms);
    let is_readable = |(feed, row): &&(&FeedId, &FeedRow)| row.account == account || granted.contains_key(*feed);
    rows.iter()
        .filter(is_readable)
        .map(|(feed, row)| account_feed(tables, **feed, row, granted.get(*feed), cursors))
        .collect()
}

/// `grants::naming`, ascending by owner.
fn naming(tables: &Tables, grantee: Uuid) -> Vec<Naming> {
    if !tables.grantees.contains_key(&grantee) {
        return Vec::new();
    }
    let rows = tables.grants_now.iter().filter(|(_, row)| row.grantee == grantee);
    let grants = rows.map(|((owner, _, feed), row)| Naming {
        owner: *owner,
        feeds: vec![feed.0.cast_signed()],
        access: row.access.clone(),
        shown_as: row.shown_as.as_str().into(),
        from_ms: row.from_ms,
        until_ms: row.until_ms,
    });
    grants.collect()
}

fn account_feed(
    tables: &Tables,
    feed: FeedId,
    row: &FeedRow,
    granted: Option<&Granted>,
    cursors: &Cursors,
) -> AccountFeed {
    let behind = tables.merge_queue.get(&feed).filter(|queued| queued.merged < queued.head || queued.clean.is_some());
    AccountFeed {
        feed,
        owner: row.account.into_bytes(),
        owner_name: granted.map(|granted| granted.shown_as.clone()).unwrap_or_default(),
        access: granted.map_or(Access::Write, |granted| granted.access),
        collection: row.collection.as_str().into(),
        scope: row.scope.as_str().into(),
        epoch: row.epoch,
        head: row.head,
        head_digest: row.digest,
        merged: behind.map_or(row.head, |queued| queued.clean.unwrap_or(queued.merged)),
        folded: behind.map_or(row.head, |queued| queued.merged),
        digest_at_cursor: cursors.0.get(&feed).and_then(|cursor| digest_at(tables, feed, *cursor)),
    }
}

fn digest_at(tables: &Tables, feed: FeedId, seq: u64) -> Option<Digest> {
    match seq {
        0 => Some(Digest::default()),
        seq => tables.entries.get(feed, seq).map(|row| row.digest),
    }
}

fn tips(tables: &Tables, account: Uuid, actors: &[ActorId]) -> Vec<(ActorId, EntryId)> {
    let tip = |actor: &ActorId| {
        let tip = tables.actors.get(actor)?;
        (tables.devices.get(&tip.device) == Some(&account)).then_some((*actor, tip.entry))
    };
    actors.iter().filter_map(tip).collect()
}

/// Only the feeds of these accounts are to be seen.
fn page(tables: &Tables, accounts: &[Uuid], asked: Asked) -> Page {
    let Asked { feed, after, max_bytes, max_entries } = asked;
    let Some(row) = tables.feeds.get(&feed).filter(|row| accounts.contains(&row.account)) else {
        return Page { feed, after, entries: Vec::new(), head: 0 };
    };
    let mut bytes = 0;
    let entries = tables.entries.after(feed, after).take(max_entries).take_while(|(_, entry)| {
        let before = bytes;
        bytes += entry.content.as_ref().map_or(0, |(_, payload)| payload.len());
        before < max_bytes
    });
    Page { feed, after, entries: entries.map(|(_, entry)| received(entry)).collect(), head: row.head }
}

fn received(row: &EntryRow) -> Received {
    let (salt, payload) = row.content.clone().unwrap_or_default();
    Received {
        id: row.id,
        entry: Entry { kind: row.kind, doc_id: row.doc_id, device_time: row.device_time, salt, payload },
        emptied: row.content.is_none(),
    }
}

fn may_read(inner: &Inner, who: Uuid, owner: Uuid, feed: FeedId) -> bool {
    let tables = &inner.tables;
    let Some(row) = tables.feeds.get(&feed) else { return false };
    let Some(collection) = Collection::named(&row.collection) else { return false };
    let given = tables.grants_now.iter().filter(|((of, ..), row)| *of == owner && row.grantee == who);
    let permits: Vec<_> = given.filter_map(|((.., feed), row)| permit(tables, *feed, row)).collect();
    let place = Place { owner: owner.into_bytes(), collection, scope: &row.scope };
    judge(who.into_bytes(), Action::Read, place, &permits, inner.now_ms).is_ok()
}
