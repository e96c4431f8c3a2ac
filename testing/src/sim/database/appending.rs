//! A transaction of ingest on the model's tables: what `execute/known.sql`, `execute/append.sql` and the statements beside them
//! do in PostgreSQL. What is asked and written, and in which order, is the server's own code.

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::id::FeedId;
use fitme_core::policy::{Access, Action, Permit, Place, judge};
use fitme_core::record::Given;
use sync_server::ingest::check::Offer;
use sync_server::ingest::execute::consents::{ConsentKeys, Places};
use sync_server::ingest::execute::known::Keys;
use sync_server::ingest::execute::{self, Done, Failure, Held, Lock, accounts, append};
use sync_server::ingest::fates::Fates;
use sync_server::ingest::plan::{
    Binding, Candidate, DocumentState, Erasure, FeedState, Known, KnownGrants, NewConsent, NewEntry, Plan, Usage,
};
use sync_server::ingest::settle;
use uuid::Uuid;

use super::locks::Row;
use super::tables::{EntryRow, GrantRow, QueueRow, Tables};
use super::{Database, Inner};

/// Where a node's groups are written.
#[derive(Debug, Clone)]
pub struct Storage(pub Database);

impl settle::Storage for Storage {
    async fn append(&mut self, candidates: &[Candidate<'_>], held: Held, fates: &Fates) -> Result<Done, Failure> {
        append(Transaction::begin(&self.0, accounts(candidates))?, candidates, held, fates).await
    }
}

/// One transaction. Dropped without a commit it leaves no trace.
#[derive(Debug)]
pub struct Transaction {
    database: Database,
    number: u64,
    /// Of the database.
    life: u64,
    /// Whose rows it may touch.
    accounts: Vec<Uuid>,
    /// To be done at the commit.
    writes: Option<Writes>,
}

#[derive(Debug, Default)]
struct Writes {
    entries: Vec<(FeedId, u64, EntryRow)>,
    plan: Plan,
    grants: Vec<((Uuid, fitme_core::id::DocId, FeedId), GrantRow)>,
    regranted: BTreeSet<Uuid>,
}

impl Transaction {
    /// Begins one that may touch the rows of these accounts.
    ///
    /// # Errors
    /// When the database is away.
    pub fn begin(database: &Database, accounts: Vec<Uuid>) -> Result<Self, Failure> {
        let inner = &mut *database.inner();
        if inner.away {
            return Err(Failure::Away(sqlx::Error::PoolTimedOut));
        }
        inner.transactions += 1;
        let (number, life) = (inner.transactions, inner.life);
        Ok(Self { database: database.clone(), number, life, accounts, writes: None })
    }

    async fn apply(&mut self) -> Result<(), Failure> {
        let mut inner = self.database.statement(self.life).await?;
        if let Some(writes) = self.writes.take() {
            writes.apply(&mut inner);
        }
        Ok(())
    }

    /// Waits for a row.
    async fn take(&self, row: Row) -> Result<(), Failure> {
        loop {
            let mut inner = self.database.statement(self.life).await?;
            if inner.locks.take(row, self.number) {
                return Ok(());
            }
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let mut inner = self.database.inner();
        if inner.life == self.life {
            inner.locks.release(self.number);
        }
    }
}

impl execute::Transaction for Transaction {
    async fn places(&mut self, keys: &ConsentKeys) -> Result<Places, Failure> {
        let inner = self.database.statement(self.life).await?;
        let mut places = Places::default();
        for (number, feed) in inner.tables.feeds.iter().filter(|(_, feed)| keys.granting.contains(&feed.account)) {
            places.feeds.insert((feed.account, feed.collection.clone(), feed.scope.clone()), *number);
        }
        for (account, grant, feed) in inner.tables.grants_now.keys() {
            if keys.revoking.contains(&(*account, *grant)) {
                places.named.entry((*account, *grant)).or_default().push(*feed);
            }
        }
        Ok(places)
    }

    async fn lock(&mut self, feeds: &[FeedId], how: Lock, held: Held) -> Result<Vec<(FeedId, FeedState)>, Failure> {
        let mut locked = Vec::new();
        for feed in feeds {
            loop {
                let mut inner = self.database.statement(self.life).await?;
                let Some(row) = inner.tables.feeds.get(feed).filter(|row| self.accounts.contains(&row.account)) else {
                    break;
                };
                let state = FeedState { account: row.account, head: row.head, digest: row.digest };
                let taken = match how {
                    Lock::Exclusive => inner.locks.take(Row::Feed(*feed), self.number),
                    Lock::Shared => inner.locks.share(Row::Feed(*feed), self.number),
                };
                if taken {
                    locked.push((*feed, state));
                }
                if taken || held == Held::Skip {
                    break;
                }
            }
        }
        Ok(locked)
    }

    async fn known(&mut self, keys: &Keys) -> Result<Known, Failure> {
        let inner = self.database.statement(self.life).await?;
        Ok(known(&inner.tables, keys, &self.accounts))
    }

    async fn grants(&mut self, keys: &ConsentKeys) -> Result<KnownGrants, Failure> {
        let inner = self.database.statement(self.life).await?;
        Ok(grants(&inner, keys))
    }

    async fn write(
        &mut self,
        plan: &Plan,
        candidates: &[Candidate<'_>],
        places: &Places,
    ) -> Result<BTreeSet<Uuid>, Failure> {
        for key in plan.documents.keys() {
            self.take(Row::Document(key.0, key.1)).await?;
        }
        for actor in plan.actors.keys() {
            self.take(Row::Actor(*actor)).await?;
        }
        let writes = {
            let inner = self.database.statement(self.life).await?;
            Writes::of(&inner, plan, candidates, places)?
        };
        Ok(self.writes.insert(writes).regranted.clone())
    }

    async fn commit(mut self) -> Result<(), Failure> {
        self.apply().await?;
        // Whoever dies here has committed and told nobody.
        super::give_way().await;
        Ok(())
    }
}

/// `execute/known.sql`.
fn known(tables: &Tables, keys: &Keys, accounts: &[Uuid]) -> Known {
    let mut known = Known::default();
    for key in &keys.entries {
        known.entries.extend(tables.entries.by_id(key.0, key.1).map(|seq| (*key, seq)));
    }
    for key in &keys.changes {
        let found = tables.entries.by_change(key.0, key.1, key.2);
        known.changes.extend(found.map(|(seq, row)| (*key, (seq, row.id))));
    }
    for key in &keys.documents {
        known.documents.extend(tables.documents.get(key).map(|document| (*key, document.clone())));
    }
    for key in &keys.tips {
        known.tips.extend(tables.entries.tip(key.0, key.1, key.2).map(|seq| (*key, seq)));
    }
    for actor in &keys.actors {
        known.actors.extend(tables.actors.get(actor).map(|tip| {
            let account = tables.devices.get(&tip.device).filter(|account| accounts.contains(account));
            (*actor, Binding { device: tip.device, account: account.copied() })
        }));
    }
    for account in &keys.accounts {
        known.usage.extend(tables.usage.get(account).map(|usage| (*account, *usage)));
    }
    known
}

/// What `consents::read` asks.
fn grants(inner: &Inner, keys: &ConsentKeys) -> KnownGrants {
    let tables = &inner.tables;
    let mut known = KnownGrants::default();
    if !keys.others.is_empty() {
        known.now_ms = inner.now_ms;
    }
    for ((owner, grant, feed), row) in &tables.grants_now {
        if keys.others.contains(&(*owner, row.grantee))
            && let Some(permit) = permit(tables, *feed, row)
        {
            known.permits.entry((*owner, row.grantee)).or_default().push((*grant, permit));
        }
        let is_over = row.until_ms.is_some_and(|until| until <= inner.now_ms);
        if keys.accounts.contains(owner) && !is_over {
            *known.feeds.entry(*owner).or_default() += 1;
        }
        if keys.grantees.contains(&row.grantee) {
            *known.received.entry(row.grantee).or_default() += 1;
        }
    }
    known.relations = keys.relations.intersection(&tables.relations).copied().collect();
    known.revoked = keys.documents.intersection(&tables.revocations).copied().collect();
    known
}

/// What a row of `grants_now` permits.
pub(super) fn permit(tables: &Tables, feed: FeedId, row: &GrantRow) -> Option<Permit> {
    let place = tables.feeds.get(&feed)?;
    Some(Permit {
        collection: fitme_core::collection::Collection::named(&place.collection)?,
        scope: place.scope.clone(),
        access: Access::named(&row.access)?,
        from_ms: row.from_ms,
        until_ms: row.until_ms,
    })
}

impl Writes {
    /// The plan's rows; refused where a constraint or another transaction stands against them.
    fn of(inner: &Inner, plan: &Plan, candidates: &[Candidate<'_>], places: &Places) -> Result<Self, Failure> {
        let (tables, now_ms) = (&inner.tables, inner.now_ms);
        let contended = |what: &str| Err(Failure::Contended(what.to_owned()));
        let elsewhere = |(key, new): (&(Uuid, _), &DocumentState)| {
            tables.documents.get(key).is_some_and(|old| old.feed != new.feed)
        };
        if plan.documents.iter().any(elsewhere) {
            return contended("another feed took the document");
        }
        if plan.actors.iter().any(|(actor, tip)| tables.actors.get(actor).is_some_and(|old| old.device != tip.device)) {
            return contended("another device took the actor");
        }
        let mut writes = Self { plan: plan.clone(), ..Self::default() };
        for new in &plan.entries {
            let offer = candidates[new.candidate].offer;
            let row = entry_row(offer, new, now_ms);
            if !tables.entries.has_room(offer.feed, new.seq, &row) {
                return Err(Failure::Refused(sqlx::Error::Protocol("a unique index has the row already".to_owned())));
            }
            writes.entries.push((offer.feed, new.seq, row));
        }
        for consent in &plan.consents {
            writes.consent(tables, consent, places);
        }
        Ok(writes)
    }

    fn consent(&mut self, tables: &Tables, consent: &NewConsent, places: &Places) {
        let NewConsent { account, grant, given, .. } = consent;
        let Some(given) = given else {
            let ended = tables.grants_now.range((*account, *grant, FeedId(0))..=(*account, *grant, FeedId(u64::MAX)));
            self.regranted.extend(ended.map(|(_, row)| row.grantee));
            return;
        };
        self.regranted.insert(Uuid::from_bytes(given.grantee));
        for (feed, access) in granted_feeds(*account, given, places) {
            self.grants.push(((*account, *grant, feed), grant_row(given, access)));
        }
    }

    fn apply(self, inner: &mut Inner) {
        let Self { entries, plan, grants, regranted } = self;
        let doubtful = entries.iter().filter(|(feed, _, row)| !is_permitted(inner, *feed, row)).cloned();
        let doubtful: Vec<_> = doubtful.collect();
        let tables = &mut inner.tables;
        for (feed, seq, row) in entries {
            tables.entries.insert(feed, seq, row);
        }
        for (key, new) in plan.documents {
            let erased = tables.documents.get(&key).and_then(|old| old.erased);
            tables.documents.insert(key, DocumentState { erased, ..new });
        }
        tables.actors.extend(plan.actors);
        for (feed, state) in plan.feeds {
            let queued = tables.merge_queue.entry(feed).or_insert_with(|| {
                inner.served += 1;
                QueueRow { served: inner.served, ..QueueRow::default() }
            });
            queued.head = state.head;
            if let Some(row) = tables.feeds.get_mut(&feed) {
                (row.head, row.digest) = (state.head, state.digest);
            }
        }
        for (account, adds) in plan.usage {
            let held = tables.usage.entry(account).or_default();
            *held = Usage { documents: held.documents + adds.documents, bytes: held.bytes + adds.bytes };
        }
        plan.erasures.iter().for_each(|erasure| erase(tables, erasure));
        for NewConsent { account, grant, .. } in plan.consents.iter().filter(|consent| consent.given.is_none()) {
            tables.revocations.insert((*account, *grant));
            tables.grants_now.retain(|(owner, id, _), _| (owner, id) != (account, grant));
        }
        tables.grants_now.extend(grants);
        for grantee in regranted {
            *tables.grantees.entry(grantee).or_default() += 1;
        }
        // What the group itself grants or ends counts from its place in the group on: allowed is what was before it, or is after.
        for (feed, seq, row) in doubtful {
            if !is_permitted(inner, feed, &row) {
                let sentence =
                    format!("number {seq} of feed {feed} was accepted from somebody who may not write there");
                inner.breaches.push(sentence);
            }
        }
    }
}

fn granted_feeds(account: Uuid, given: &Given, places: &Places) -> BTreeMap<FeedId, &'static str> {
    let mut feeds = BTreeMap::new();
    for permit in &given.permits {
        if let Some(feed) = places.feed(account, permit) {
            let access: &mut &str = feeds.entry(feed).or_insert(permit.access.name());
            *access = (*access).max(permit.access.name());
        }
    }
    feeds
}

fn grant_row(given: &Given, access: &str) -> GrantRow {
    let window = given.permits.first();
    GrantRow {
        grantee: Uuid::from_bytes(given.grantee),
        access: access.to_owned(),
        purpose: given.purpose.name().to_owned(),
        shown_as: given.shown_as.clone(),
        from_ms: window.and_then(|permit| permit.from_ms),
        until_ms: window.and_then(|permit| permit.until_ms),
    }
}

fn entry_row(offer: &Offer, new: &NewEntry, received_ms: i64) -> EntryRow {
    let facts = offer.change.as_ref().map(|change| &change.facts);
    EntryRow {
        id: offer.id,
        kind: offer.entry.kind,
        doc_id: offer.entry.doc_id,
        change_hash: facts.map(|facts| facts.hash),
        actor: facts.map(|facts| (facts.actor, facts.actor_seq)),
        author: new.author,
        offered_by: new.offered_by,
        device_time: offer.entry.device_time,
        received_ms,
        digest: new.digest,
        content: Some((offer.entry.salt, offer.entry.payload.clone())),
    }
}

/// Whether the author may write to the feed at this very moment, whatever was known of it before.
fn is_permitted(inner: &Inner, feed: FeedId, row: &EntryRow) -> bool {
    let tables = &inner.tables;
    let (Some(place), Some(who)) = (tables.feeds.get(&feed), tables.devices.get(&row.offered_by.unwrap_or(row.author)))
    else {
        return false;
    };
    let Some(collection) = fitme_core::collection::Collection::named(&place.collection) else { return false };
    let given = tables.grants_now.iter().filter(|((owner, ..), row)| *owner == place.account && row.grantee == *who);
    let permits: Vec<_> = given.filter_map(|((.., feed), row)| permit(tables, *feed, row)).collect();
    let place = Place { owner: place.account.into_bytes(), collection, scope: &place.scope };
    judge(who.into_bytes(), Action::Write, place, &permits, inner.now_ms).is_ok()
}

/// `execute/erasures.rs` and `empty_documents`.
fn erase(tables: &mut Tables, erasure: &Erasure) {
    let Erasure { account, feed, doc_id, seq, entry, bytes } = *erasure;
    if let Some(queued) = tables.merge_queue.get_mut(&feed) {
        queued.lease = None;
    }
    tables.entries.empty(feed, doc_id, seq);
    tables.snapshots.remove(&(feed, doc_id));
    tables.records.remove(&(feed, doc_id));
    if let Some(document) = tables.documents.get_mut(&(account, doc_id)) {
        document.erased = Some((seq, entry));
    }
    tables.erasures.insert((account, doc_id));
    if let Some(held) = tables.usage.get_mut(&account) {
        held.bytes = held.bytes.saturating_sub(bytes);
    }
}
