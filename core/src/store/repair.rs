//! Two histories of a feed brought together, the device's side: where they may part, what is held here of each document, and
//! what the server lacks put back into the outbox.

use std::collections::{BTreeSet, HashSet};

use rand::RngCore;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::documents::{self, DocumentRow};
use super::write::Command;
use super::{Store, StoreError, archive, outbox, set_meta};
use crate::change::{self, ReadChange};
use crate::entry::{Digest, Entry, random_salt};
use crate::id::{ActorId, DocId, EntryId, FeedId};
use crate::limits;
use crate::merge;
use crate::reconcile::{Difference, Held, Range, Reading};
use crate::wire::{EntryKind, FeedGranted};

/// Behind every document id.
const BEHIND_ALL: [u8; 17] = [0xff; 17];

/// What was sent again because a server had lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAgain {
    /// Entries, as long as this home exists.
    pub entries: u64,
    /// When last, ms UTC by this device's clock.
    pub at: i64,
}

impl Store {
    /// Points of the feed's history as it is here, the cursor first and each twice as far back as the one before, as far back
    /// as every entry is known by its number.
    pub fn locator(&mut self, feed: FeedId) -> Result<Vec<(u64, Digest)>, StoreError> {
        locator(&self.that_has(feed)?.conn, feed)
    }

    /// The server's history of the feed is the one that is known here up to `seq`: what follows is received (again), and
    /// then documents are compared.
    pub fn agree(&mut self, granted: &FeedGranted, seq: u64) -> Result<(), StoreError> {
        // First, and in the home's own store: a crash in between compares what need not be compared.
        self.owe_repair(granted.feed)?;
        let store = self.that_has(granted.feed)?;
        let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let points = locator(&tx, granted.feed)?;
        // What another process of this home has received meanwhile counts: then from the first entry.
        let (seq, digest) = points.into_iter().find(|(point, _)| *point == seq).unwrap_or_default();
        let seq = seq as i64;
        let local: i64 = tx.query_row(
            "UPDATE feeds SET epoch = ?2, cursor = ?3, digest = ?4, merged_seq = min(merged_seq, ?3)
             WHERE wire = ?1 RETURNING feed",
            (granted.feed.0 as i64, granted.epoch.as_bytes(), seq, digest.to_bytes()),
            |row| row.get(0),
        )?;
        tx.execute("UPDATE entries SET seq = NULL WHERE feed = ? AND seq > ?", (local, seq))?;
        tx.execute("UPDATE outbox SET seq = NULL WHERE feed = ? AND seq > ?", (local, seq))?;
        // Up to where documents came whole counts in the old history.
        tx.execute("UPDATE documents SET received_seq = min(received_seq, ?2) WHERE feed = ?1", (local, seq))?;
        tx.execute("DELETE FROM bootstraps WHERE feed = ?", [local])?;
        tx.commit()?;
        self.grant(granted)
    }

    /// Notes that the feed's documents are to be compared with the server's.
    pub fn owe_repair(&mut self, feed: FeedId) -> Result<(), StoreError> {
        self.conn.execute("INSERT INTO repairs_owed (wire) VALUES (?) ON CONFLICT DO NOTHING", [feed.0 as i64])?;
        Ok(())
    }

    /// Whether any feed's are.
    pub fn owes_repair(&self) -> Result<bool, StoreError> {
        Ok(self.conn.query_row("SELECT EXISTS (SELECT 1 FROM repairs_owed)", [], |row| row.get(0))?)
    }

    /// Feeds of which the server accepted entries of this home that were not received, though everything was.
    pub fn never_echoed(&mut self) -> Result<BTreeSet<FeedId>, StoreError> {
        let mut feeds = never_echoed(&self.conn)?;
        for owner in self.written_for()? {
            feeds.extend(never_echoed(&self.opened(owner)?.conn)?);
        }
        Ok(feeds)
    }

    /// The next feed whose documents are to be compared, apart from `done`.
    pub fn next_repair(&mut self, done: &BTreeSet<FeedId>) -> Result<Option<FeedId>, StoreError> {
        let mut query = self.conn.prepare("SELECT wire FROM repairs_owed ORDER BY wire")?;
        let owed: Vec<_> =
            query.query_map([], |row| Ok(FeedId(row.get::<_, i64>(0)? as u64)))?.collect::<Result<_, _>>()?;
        drop(query);
        for feed in owed.into_iter().filter(|feed| !done.contains(feed)) {
            if self.cursor(feed)?.is_some() {
                return Ok(Some(feed));
            }
            // It is not shared any more.
            self.repaired(feed)?;
        }
        Ok(None)
    }

    /// What is held here of the feed's documents.
    pub fn documents_in(&mut self, feed: FeedId) -> Result<Documents<'_>, StoreError> {
        let conn = &self.that_has(feed)?.conn;
        Ok(Documents { conn, feed: number_of(conn, feed)? })
    }

    /// Queues what the server lacks of these documents, those that erase first; `is_all` if there are no others. Of somebody
    /// else's feed only what this home wrote: the rest is for their own devices. Returns how many entries.
    pub fn offer(
        &mut self,
        feed: FeedId,
        differences: &[Difference],
        is_all: bool,
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<usize, StoreError> {
        let owner = self.owner_of(feed)?;
        if let (Some(owner), [_, ..]) = (owner, differences) {
            self.conn.execute("INSERT INTO written_for (owner) VALUES (?) ON CONFLICT DO NOTHING", [owner])?;
        }
        let own = self.own_actors()?;
        let store = self.that_has(feed)?;
        let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let is_own = owner.is_none();
        let mut offering = Offering { conn: &tx, own: &own, is_own, now_ms, rng, entries: 0, left_out: false };
        let (erased, held): (Vec<_>, Vec<_>) =
            differences.iter().filter(|one| one.ours.is_some()).partition(|one| one.ours.as_deref() == Some(&[]));
        if is_own {
            erased.into_iter().try_for_each(|one| offering.erasure(one.doc_id))?;
        }
        held.into_iter().try_for_each(|one| offering.document(one))?;
        let (entries, left_out) = (offering.entries, offering.left_out);
        tx.commit()?;
        if is_all && !left_out {
            self.repaired(feed)?;
        }
        self.note_sent_again(entries, now_ms)?;
        Ok(entries)
    }

    /// What was sent again so far; `None` if no server ever lost anything.
    pub fn sent_again(&self) -> Result<Option<SentAgain>, StoreError> {
        let number = |key| Ok::<_, StoreError>(self.meta::<[u8; 8]>(key)?.map(i64::from_be_bytes));
        let (Some(entries), Some(at)) = (number("sent_again")?, number("sent_again_at")?) else { return Ok(None) };
        Ok(Some(SentAgain { entries: entries as u64, at }))
    }

    fn note_sent_again(&mut self, entries: usize, now_ms: i64) -> Result<(), StoreError> {
        if entries == 0 {
            return Ok(());
        }
        let before = self.sent_again()?.map_or(0, |before| before.entries);
        set_meta(&self.conn, "sent_again", &(before + entries as u64).to_be_bytes())?;
        set_meta(&self.conn, "sent_again_at", &now_ms.to_be_bytes())
    }

    fn repaired(&mut self, feed: FeedId) -> Result<(), StoreError> {
        self.conn.execute("DELETE FROM repairs_owed WHERE wire = ?", [feed.0 as i64])?;
        Ok(())
    }

    /// The store that has a feed: this one, or that of whom it belongs to.
    fn that_has(&mut self, feed: FeedId) -> Result<&mut Self, StoreError> {
        match self.owner_of(feed)? {
            Some(owner) => self.opened(owner),
            None => Ok(self),
        }
    }
}

fn never_echoed(conn: &Connection) -> Result<BTreeSet<FeedId>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT DISTINCT f.wire FROM feeds f JOIN outbox o USING (feed)
         WHERE f.wire IS NOT NULL AND o.state = 1 AND coalesce(o.seq > f.cursor, 1)",
    )?;
    let feeds = query.query_map([], |row| Ok(FeedId(row.get::<_, i64>(0)? as u64)))?;
    Ok(feeds.collect::<Result<_, _>>()?)
}

fn number_of(conn: &Connection, feed: FeedId) -> Result<i64, StoreError> {
    Ok(conn.query_row("SELECT feed FROM feeds WHERE wire = ?", [feed.0 as i64], |row| row.get(0))?)
}

fn locator(conn: &Connection, feed: FeedId) -> Result<Vec<(u64, Digest)>, StoreError> {
    let (local, cursor, digest): (i64, i64, [u8; 16]) =
        conn.query_row("SELECT feed, cursor, digest FROM feeds WHERE wire = ?", [feed.0 as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let (cursor, mut digest) = (cursor as u64, Digest(u128::from_be_bytes(digest)));
    let mut points = vec![(cursor, digest)];
    let mut query = conn.prepare("SELECT seq, entry_id FROM entries WHERE feed = ? AND seq <= ? ORDER BY seq DESC")?;
    let mut rows = query.query((local, cursor as i64))?;
    for seq in (1..=cursor).rev() {
        let known =
            rows.next()?.map(|row| Ok::<_, StoreError>((row.get::<_, i64>(0)? as u64, row.get(1)?))).transpose()?;
        let Some((_, id)) = known.filter(|(number, _)| *number == seq && points.len() < limits::LOCATOR_POINTS - 1)
        else {
            // What came whole, as documents, has no entries here: where that ends is a point, too.
            if points.last() != Some(&(seq, digest)) {
                points.push((seq, digest));
            }
            break;
        };
        digest = digest.minus(EntryId(id));
        let back = cursor - (seq - 1);
        if back.is_power_of_two() {
            points.push((seq - 1, digest));
        }
    }
    Ok(points)
}

/// The documents of one feed, as this store holds them. One of which nothing could be read yet is not held.
pub struct Documents<'a> {
    conn: &'a Connection,
    feed: i64,
}

impl Reading for Documents<'_> {
    type Error = StoreError;

    fn read(&mut self, range: Range, each: &mut dyn FnMut(Held)) -> Result<(), StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT doc_id, heads FROM documents
             WHERE doc_id >= ? AND doc_id < ? AND feed = ? AND (erased OR heads <> x'') ORDER BY doc_id",
        )?;
        let to = range.to.map_or(BEHIND_ALL.to_vec(), |to| to.0.to_vec());
        let mut rows = query.query((range.from.as_bytes(), to, self.feed))?;
        while let Some(row) = rows.next()? {
            let heads = documents::heads_from_bytes(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            each(Held { doc_id: DocId(row.get(0)?), heads });
        }
        Ok(())
    }
}

/// One transaction's worth of what a server lacks.
struct Offering<'a> {
    conn: &'a Connection,
    /// Actors of this home.
    own: &'a BTreeSet<ActorId>,
    /// The feed is the account's own.
    is_own: bool,
    now_ms: i64,
    rng: &'a mut dyn RngCore,
    entries: usize,
    /// Something is for others to offer first.
    left_out: bool,
}

impl Offering<'_> {
    /// The entry that erased the document, or another one that does. Why the server erased it, only the server says.
    fn erasure(&mut self, doc_id: DocId) -> Result<(), StoreError> {
        let Some(row) = DocumentRow::of(self.conn, doc_id)? else { return Ok(()) };
        let mut query = self.conn.prepare_cached(
            "SELECT n FROM entries WHERE doc_id = ? AND kind = ? AND payload = x'' ORDER BY n LIMIT 1",
        )?;
        let kind = i32::from(EntryKind::Erase);
        let known = query.query_row((doc_id.as_bytes(), kind), |row| row.get(0)).optional()?;
        let n = match known {
            Some(n) => n,
            None => {
                let entry = Entry::erasure(doc_id, self.now_ms, random_salt(self.rng), "");
                outbox::insert(self.conn, row.feed, None, entry.id(), &entry, None)?
            }
        };
        self.queue(n, None, &Command::Erase { doc_id })
    }

    /// The changes that the server lacks, each after those it builds on. Where the server holds some that are not here they
    /// come first; what it erased is erased here when that comes.
    fn document(&mut self, difference: &Difference) -> Result<(), StoreError> {
        let doc_id = difference.doc_id;
        let theirs = difference.theirs.as_deref();
        let Some(mut row) = DocumentRow::of(self.conn, doc_id)?.filter(|_| theirs != Some(&[])) else { return Ok(()) };
        let doc = match documents::load(self.conn, doc_id, &row) {
            Ok(doc) => doc,
            Err(StoreError::Damaged { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(missing) = merge::changes_beyond(&doc, theirs.unwrap_or_default()) else { return Ok(()) };
        let missing: Vec<_> = missing.iter().filter_map(|change| change::read(change.raw_bytes()).ok()).collect();
        let offered = self.for_this_home(missing);
        let mut known = Vec::new();
        for change in &offered {
            known.push(outbox::find(self.conn, doc_id, change.facts.hash)?);
        }
        // What is new here gets numbers behind all others; whatever follows it in the document has to follow it there, too.
        let behind = known.iter().any(Option::is_none);
        let waiting = if behind { outbox::waiting(self.conn, doc_id)? } else { Vec::new() };
        for (change, n) in offered.iter().zip(known) {
            self.change(doc_id, &mut row, change, n, behind)?;
        }
        for n in waiting {
            outbox::move_behind(self.conn, n)?;
        }
        if behind {
            row.save(self.conn, doc_id)?;
        }
        Ok(())
    }

    /// Of somebody else's document what this home wrote, as far as it builds on nothing that is for others to offer.
    fn for_this_home(&mut self, missing: Vec<ReadChange>) -> Vec<ReadChange> {
        let mut left_out = HashSet::new();
        let (is_own, own) = (self.is_own, self.own);
        let offered: Vec<_> = missing
            .into_iter()
            .filter(|change| {
                let facts = &change.facts;
                let mine = own.contains(&facts.actor) && !facts.deps.iter().any(|dep| left_out.contains(dep));
                let offers = is_own || mine;
                if !offers {
                    left_out.insert(facts.hash);
                }
                offers
            })
            .collect();
        self.left_out |= !left_out.is_empty();
        offered
    }

    /// One change, whose entry has the number `n` if it has one. A change that is held only in a snapshot gets an entry with
    /// a new salt and its own time.
    fn change(
        &mut self,
        doc_id: DocId,
        row: &mut DocumentRow,
        read: &ReadChange,
        n: Option<i64>,
        behind: bool,
    ) -> Result<(), StoreError> {
        let n = match n {
            Some(n) if outbox::is_waiting_or_refused(self.conn, n)? => return Ok(()),
            Some(n) => {
                outbox::restore_payload(self.conn, n, read.payload())?;
                if behind { outbox::move_behind(self.conn, n)? } else { n }
            }
            None => {
                let entry = archive::entry(doc_id, &read.facts, read.change(), self.rng);
                row.tail_bytes += entry.payload.len() as i64;
                outbox::insert(self.conn, row.feed, None, entry.id(), &entry, Some(read.facts.hash))?
            }
        };
        let actor = Some(read.facts.actor).filter(|actor| self.own.contains(actor));
        self.queue(n, actor, &Command::SendAgain)
    }

    fn queue(&mut self, n: i64, actor: Option<ActorId>, command: &Command) -> Result<(), StoreError> {
        if !outbox::is_waiting_or_refused(self.conn, n)? {
            outbox::queue_again(self.conn, n, actor, self.is_own, self.now_ms, command)?;
            self.entries += 1;
        }
        Ok(())
    }
}
