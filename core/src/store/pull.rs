//! What comes from the server: a page of entries and the cursors behind it in one transaction, so that a crash repeats
//! the page and repeating changes nothing (invariant I5).

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::documents::{self, DocumentRow, OpenDocuments};
use super::outbox::Tips;
use super::{Store, StoreError, bootstrap, erase, outbox, void};
use crate::change;
use crate::entry::{Digest, Entry};
use crate::id::{ActorId, ChangeHash, DocId, EntryId, FeedId};
use crate::merge;
use crate::policy::AccountId;
use crate::wire::{Emptied, EntryKind, FeedPage, Item};

/// Why a page was not applied. Nothing of it was stored; the session ends and starts again from the cursors.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A feed that this home does not have.
    #[error("the server sent entries of feed {0}, which this device was not granted")]
    UnknownFeed(FeedId),
    /// Entries are missing before the page.
    #[error("the server sent entries of feed {feed} from {first}, after {cursor} were received: some are missing")]
    Gap {
        /// Which feed.
        feed: FeedId,
        /// The page's first number.
        first: u64,
        /// What was received before.
        cursor: u64,
    },
    /// An own entry named that this device does not hold.
    #[error("the server named entry {0} as this device's own, and it is not here")]
    UnknownOwn(EntryId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for PullError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What applying pages did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Entries received, own ones included.
    pub entries: usize,
    /// Payload bytes received: what the server counts against the window.
    pub bytes: u64,
    /// Own documents that changed.
    pub documents: Vec<DocId>,
    /// Own documents that were erased elsewhere.
    pub erased: Vec<DocId>,
    /// Documents of others that changed, by their owner.
    pub of_others: BTreeMap<AccountId, Vec<DocId>>,
    /// Entries that were stored as they came because they could not be applied.
    pub unapplied: usize,
    /// Entries that take changes out of their documents; see [`Store::take_voids`].
    pub voids: usize,
    /// Actors of this home that someone else wrote with: it was cloned, or restored from a backup.
    pub shared_actors: BTreeSet<ActorId>,
    /// Feeds in which something else has a number under which an entry of this home was accepted: the server lost it.
    pub lost: BTreeSet<FeedId>,
    /// A document that came as a snapshot is damaged here: its feed is received again, from its first entry.
    pub comes_again: bool,
}

impl Applied {
    /// How many documents changed, own ones and those of others.
    pub fn changed(&self) -> usize {
        self.documents.len() + self.erased.len() + self.of_others.values().map(Vec::len).sum::<usize>()
    }

    /// Counts what changed in the store of somebody else's feeds.
    pub(super) fn add_of_other(&mut self, owner: AccountId, theirs: Self) {
        self.entries += theirs.entries;
        self.bytes += theirs.bytes;
        self.unapplied += theirs.unapplied;
        self.voids += theirs.voids;
        self.comes_again |= theirs.comes_again;
        self.shared_actors.extend(theirs.shared_actors);
        self.lost.extend(theirs.lost);
        self.of_others.entry(owner).or_default().extend(theirs.documents.into_iter().chain(theirs.erased));
    }
}

impl Store {
    /// Applies pages of entries and moves their feeds' cursors: those of own feeds in one transaction, those of each other
    /// person's in one of theirs.
    pub fn apply(&mut self, pages: &[FeedPage]) -> Result<Applied, PullError> {
        let (mut own, mut of_others) = (Vec::new(), Vec::new());
        for page in pages {
            match self.owner_of(page.feed)? {
                Some(_) => of_others.push(page.clone()),
                None => own.push(page.clone()),
            }
        }
        let mut applied = if own.is_empty() { Applied::default() } else { self.apply_own(&own)? };
        self.apply_of_others(&of_others, &mut applied)?;
        Ok(applied)
    }

    /// Applies pages of the feeds of this very store.
    pub(super) fn apply_own(&mut self, pages: &[FeedPage]) -> Result<Applied, PullError> {
        // The store of somebody else's feeds belongs to no account.
        let is_own = self.meta::<[u8; 16]>("account")?.is_some();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut applied = Applied::default();
        let mut kept = Vec::new();
        let own = current_actors(&tx)?;
        for page in pages {
            let fresh = receive(&tx, page, &mut applied)?;
            applied.shared_actors.extend(fresh.actors.intersection(&own));
            for (doc_id, entries) in fresh.entries {
                let feed = (fresh.feed, fresh.collection.as_str());
                kept.extend(fold(&tx, &mut self.open, feed, doc_id, entries, &mut applied)?);
            }
            for erasure in fresh.erasures {
                applied.erased.push(erasure.entry.doc_id);
                erase::take(&tx, (fresh.feed, &fresh.collection), &erasure, is_own)?;
            }
            // What a void of this very page takes out is needed until it is taken.
            outbox::prune(&tx, fresh.feed)?;
        }
        tx.commit()?;
        kept.retain(|(doc_id, ..)| !applied.erased.contains(doc_id));
        applied.erased.iter().for_each(|doc_id| self.open.forget(*doc_id));
        self.finish_erasing()?;
        for (doc_id, version, doc) in kept {
            applied.documents.push(doc_id);
            self.open.keep(doc_id, version, doc);
        }
        Ok(applied)
    }
}

pub(super) struct NewEntry {
    pub seq: u64,
    pub id: EntryId,
    pub entry: Entry,
    /// `None` if it is no change that this version can read or apply.
    change: Option<Change>,
}

impl NewEntry {
    /// One that holds no change.
    pub fn unread(seq: u64, id: EntryId, entry: Entry) -> Self {
        Self { seq, id, entry, change: None }
    }

    fn hash(&self) -> Option<ChangeHash> {
        self.change.as_ref().map(|change| ChangeHash(change.hash().0))
    }
}

/// A page's entries that are new here, by document.
pub(super) struct Fresh {
    pub feed: i64,
    pub collection: String,
    pub entries: BTreeMap<DocId, Vec<NewEntry>>,
    /// Each the last entry of its document.
    pub erasures: Vec<NewEntry>,
    pub actors: BTreeSet<ActorId>,
}

impl Fresh {
    pub fn new(feed: i64, collection: String) -> Self {
        Self { feed, collection, entries: BTreeMap::new(), erasures: Vec::new(), actors: BTreeSet::new() }
    }
}

/// Moves the cursor over the page, settles what is already here and returns the rest.
fn receive(conn: &Connection, page: &FeedPage, applied: &mut Applied) -> Result<Fresh, PullError> {
    let (feed, collection, cursor, digest) = feed_row(conn, page.feed)?;
    let mut fresh = Fresh::new(feed, collection);
    if !page.items.is_empty() && page.first_seq > cursor + 1 {
        return Err(PullError::Gap { feed: page.feed, first: page.first_seq, cursor });
    }
    let (mut at, mut sum) = (cursor, digest);
    let mut tips = Tips::default();
    let mut received = BTreeMap::new();
    for (seq, item) in (page.first_seq..).zip(&page.items) {
        if let Item::Full(entry) = item {
            applied.bytes += entry.payload.len() as u64;
        }
        if seq <= cursor {
            continue;
        }
        at = seq;
        applied.entries += 1;
        let id = match item {
            Item::Own(id) => settle_own(conn, *id, seq, &mut tips)?,
            Item::Full(entry) => settle(conn, entry, seq, &mut fresh, &mut tips)?,
            Item::Emptied(emptied) => erase::settle_emptied(conn, feed, emptied, seq, &mut tips)?,
        };
        sum = sum.plus(id);
        received.insert(seq, id);
    }
    tips.save(conn)?;
    if outbox::forget_taken_numbers(conn, feed, &received)? {
        applied.lost.insert(page.feed);
    }
    conn.prepare_cached("UPDATE feeds SET cursor = ?2, digest = ?3, merged_seq = max(merged_seq, ?4) WHERE feed = ?1")?
        .execute((feed, at as i64, sum.to_bytes(), page.merged_seq as i64))
        .map_err(StoreError::from)?;
    Ok(fresh)
}

pub(super) fn current_actors(conn: &Connection) -> Result<BTreeSet<ActorId>, StoreError> {
    let mut query = conn.prepare_cached("SELECT actor FROM writers")?;
    let rows = query.query_map([], |row| Ok(ActorId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn feed_row(conn: &Connection, wire: FeedId) -> Result<(i64, String, u64, Digest), PullError> {
    let mut query = conn.prepare_cached("SELECT feed, collection, cursor, digest FROM feeds WHERE wire = ?")?;
    query
        .query_row([wire.0 as i64], |row| {
            let digest = Digest(u128::from_be_bytes(row.get(3)?));
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64, digest))
        })
        .optional()?
        .ok_or(PullError::UnknownFeed(wire))
}

fn settle_own(conn: &Connection, id: EntryId, seq: u64, tips: &mut Tips) -> Result<EntryId, PullError> {
    let mut queued = conn.prepare_cached("SELECT n FROM outbox WHERE entry_id = ?")?;
    let n = match queued.query_row([id.as_bytes()], |row| row.get(0)).optional()? {
        Some(n) => Some(n),
        None => erase::find_emptied(conn, id)?,
    };
    tips.accept(conn, n.ok_or(PullError::UnknownOwn(id))?, seq)?;
    Ok(id)
}

pub(super) fn settle(
    conn: &Connection,
    entry: &Entry,
    seq: u64,
    fresh: &mut Fresh,
    tips: &mut Tips,
) -> Result<EntryId, PullError> {
    let id = entry.id();
    let change = match entry.known_kind() {
        Some(EntryKind::Change) => change::reread(&entry.payload).ok(),
        _ => None,
    };
    let read = match &change {
        Some(change) => outbox::find(conn, entry.doc_id, ChangeHash(change.hash().0))?,
        None => None,
    };
    // A change that could be read and not merged is stored like one that could not be read.
    let known = match read {
        Some(n) => Some(n),
        None => outbox::find_unapplied(conn, entry.doc_id, id)?,
    };
    if let Some(n) = known {
        // Not where it was emptied: its document was erased here, which the server does not know yet.
        conn.prepare_cached(
            "UPDATE entries SET salt = ?2, device_time = ?3
             WHERE n = ?1 AND (payload IS NOT NULL OR change_hash IS NOT NULL)",
        )?
        .execute((n, entry.salt, entry.device_time))?;
        outbox::rename(conn, n, id)?;
        tips.accept(conn, n, seq)?;
        return Ok(id);
    }
    if let Some(change) = &change
        && void::is_without(conn, entry.doc_id, change)?
    {
        erase::insert_emptied(conn, fresh.feed, &Emptied { id, kind: entry.kind, doc_id: entry.doc_id }, seq)?;
        return Ok(id);
    }
    fresh.actors.extend(change.as_ref().and_then(|change| ActorId::from_slice(change.actor_id().to_bytes())));
    let new = NewEntry { seq, id, entry: entry.clone(), change };
    match entry.is_erasure() {
        true => fresh.erasures.push(new),
        false => fresh.entries.entry(entry.doc_id).or_default().push(new),
    }
    Ok(id)
}

/// Applies new entries of one document. Those that cannot be applied stay as they came, counted, and the rest goes on; so
/// does everything else when the document itself is damaged here.
pub(super) fn fold(
    conn: &Connection,
    open: &mut OpenDocuments,
    (feed, collection): (i64, &str),
    doc_id: DocId,
    mut entries: Vec<NewEntry>,
    applied: &mut Applied,
) -> Result<Option<(DocId, i64, Automerge)>, PullError> {
    let mut row = DocumentRow::of(conn, doc_id)?.unwrap_or_else(|| DocumentRow::new(feed, collection));
    if row.erased {
        // Here; the server does not know it yet.
        for new in &entries {
            let emptied = Emptied { id: new.id, kind: new.entry.kind, doc_id };
            erase::insert_emptied(conn, row.feed, &emptied, new.seq)?;
        }
        return Ok(None);
    }
    let taken = open.take(conn, doc_id, &row);
    if let (Ok(doc), true) = (&taken, row.received_seq > 0) {
        // What came within the snapshot has no row here by which it would have been recognised.
        entries.retain(|new| !new.hash().is_some_and(|hash| merge::holds(doc, hash)));
        if entries.is_empty() && !row.unproved {
            return Ok(taken.ok().map(|doc| open.keep(doc_id, row.version, doc)).and(None));
        }
    }
    let mut doc = match taken {
        Err(StoreError::Damaged { .. }) if row.received_seq > 0 => {
            bootstrap::fetch_again(conn, doc_id, &row)?;
            applied.comes_again = true;
            return Ok(None);
        }
        Ok(doc) => Some(merge_in(conn, doc_id, &row, doc, &mut entries)?),
        Err(StoreError::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    for new in &entries {
        let hash = new.hash().filter(|_| doc.is_some());
        outbox::insert(conn, row.feed, Some(new.seq), new.id, &new.entry, hash)?;
        row.add_payload(new.entry.payload.len());
    }
    let bad = entries.iter().filter(|new| doc.is_none() || new.change.is_none()).count();
    let voids = entries.iter().filter(|new| new.entry.known_kind() == Some(EntryKind::Void)).count();
    row.unapplied += bad as i64;
    applied.unapplied += bad - voids;
    applied.voids += voids;
    match doc.take() {
        Some(doc) => {
            documents::save(conn, doc_id, &mut row, &doc)?;
            Ok(Some((doc_id, row.version, doc)))
        }
        None => {
            row.save(conn, doc_id)?;
            Ok(None)
        }
    }
}

/// The document with the entries in it; those that cannot be merged, or build on one that cannot, lose their change.
fn merge_in(
    conn: &Connection,
    doc_id: DocId,
    row: &DocumentRow,
    mut doc: Automerge,
    entries: &mut [NewEntry],
) -> Result<Automerge, StoreError> {
    let changes = entries.iter().filter_map(|new| new.change.clone()).collect();
    let is_visible = |doc: &Automerge| entries.iter().filter_map(NewEntry::hash).all(|hash| merge::holds(doc, hash));
    if merge::apply_read(&mut doc, changes).is_ok() && is_visible(&doc) {
        return Ok(doc);
    }
    let mut doc = documents::load(conn, doc_id, row)?;
    for new in entries {
        // A failed merge may leave the copy half-changed: each attempt starts from one that is whole.
        let mut attempt = doc.clone();
        match new.change.take() {
            Some(change) if merge::takes(&mut attempt, &change) => {
                doc = attempt;
                new.change = Some(change);
            }
            _ => {}
        }
    }
    Ok(doc)
}

/// Tries once more what could not be applied when it came: a document that lost changes may have room for it.
pub(super) fn apply_again(
    conn: &Connection,
    doc_id: DocId,
    row: &mut DocumentRow,
    doc: &mut Automerge,
) -> Result<(), StoreError> {
    if row.unapplied == 0 {
        return Ok(());
    }
    let mut query = conn.prepare_cached(
        "SELECT n, payload FROM entries
         WHERE doc_id = ? AND kind = ? AND change_hash IS NULL AND payload IS NOT NULL ORDER BY n",
    )?;
    let kept: Vec<(i64, Vec<u8>)> = query
        .query_map((doc_id.as_bytes(), i32::from(EntryKind::Change)), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (n, payload) in kept {
        let Ok(change) = change::reread(&payload) else { continue };
        let hash = ChangeHash(change.hash().0);
        if void::is_voided(conn, doc_id, hash)? {
            continue;
        }
        let mut attempt = doc.clone();
        if merge::takes(&mut attempt, &change) {
            *doc = attempt;
            row.unapplied -= 1;
            conn.execute("UPDATE entries SET change_hash = ?2 WHERE n = ?1", (n, hash.as_bytes()))?;
        }
    }
    Ok(())
}
