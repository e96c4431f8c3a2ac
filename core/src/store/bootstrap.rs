//! Documents that come whole. A device that is far behind in a feed gets snapshots, with what lists show of them, and stores
//! both without loading anything: loading takes a hundred times as long, and most records are never edited. Checksum and heads
//! are compared when it comes, the loaded document when it is first edited or changed. With each page the place is kept from
//! which any later session goes on. What cannot be used is refused, and its feed comes as entries instead.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use serde::de::IgnoredAny;

use super::documents::{self, DocumentRow, OpenDocuments};
use super::outbox::{self, Tips};
use super::pull::{self, Applied, Fresh, PullError};
use super::{Store, StoreError, erase};
use crate::change;
use crate::collection::Collection;
use crate::id::{ActorId, DocId, Epoch, FeedId};
use crate::merge;
use crate::policy::AccountId;
use crate::record::PROJECTION_VERSION;
use crate::wire::FeedGranted;
use crate::wire::bootstrap::{FeedBootstrap, Listed, Pass, Snapshot, Token};

/// What storing pages of documents did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bootstrapped {
    /// What changed here.
    pub applied: Applied,
    /// How far each feed has come.
    pub coming: BTreeMap<FeedId, Coming>,
    /// Feeds of which something could not be used: they are to come as entries, from the number that is named.
    pub refused: Vec<Token>,
}

/// How far the documents of a feed have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coming {
    /// So many came.
    pub stored: u64,
    /// Of so many; 0 while that is not known.
    pub total: u64,
}

impl Store {
    /// How far the snapshots of each feed have come that has begun to come so, and which feeds are to come as entries.
    pub fn bootstrap_tokens(&mut self) -> Result<Vec<Token>, StoreError> {
        let mut tokens = self.own_tokens()?;
        for (owner, feeds) in self.shared()? {
            let theirs = self.opened(owner)?.own_tokens()?;
            tokens.extend(theirs.into_iter().filter(|token| feeds.contains(&token.feed)));
        }
        Ok(tokens)
    }

    fn own_tokens(&self) -> Result<Vec<Token>, StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT f.wire, b.epoch, b.upto, b.pass, b.last_doc
             FROM bootstraps b JOIN feeds f ON f.feed = b.feed AND f.epoch = b.epoch
             WHERE f.wire IS NOT NULL AND f.cursor < b.upto",
        )?;
        let rows = query.query_map([], |row| {
            Ok(Token {
                feed: FeedId(row.get::<_, i64>(0)? as u64),
                epoch: Epoch(row.get(1)?),
                upto: row.get::<_, i64>(2)? as u64,
                pass: Pass::numbered(row.get(3)?).unwrap_or(Pass::Recent),
                last: row.get::<_, Option<_>>(4)?.map(DocId),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Stores pages of documents and the places behind them: those of own feeds in one transaction, those of each other
    /// person's in one of theirs.
    pub fn apply_bootstrap(&mut self, pages: Vec<FeedBootstrap>) -> Result<Bootstrapped, PullError> {
        let mut by_owner: BTreeMap<Option<AccountId>, Vec<FeedBootstrap>> = BTreeMap::new();
        for page in pages {
            by_owner.entry(self.owner_of(page.next.feed)?).or_default().push(page);
        }
        let mut done = Bootstrapped::default();
        for (owner, pages) in by_owner {
            let Some(owner) = owner else {
                done = self.apply_own_bootstrap(&pages)?;
                continue;
            };
            let theirs = self.opened(owner)?.apply_own_bootstrap(&pages)?;
            done.applied.add_of_other(owner, theirs.applied);
            done.coming.extend(theirs.coming);
            done.refused.extend(theirs.refused);
        }
        Ok(done)
    }

    fn apply_own_bootstrap(&mut self, pages: &[FeedBootstrap]) -> Result<Bootstrapped, PullError> {
        // The store of somebody else's feeds belongs to no account.
        let is_own = self.meta::<[u8; 16]>("account")?.is_some();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut done = Bootstrapped::default();
        let writers = pull::current_actors(&tx)?;
        for page in pages {
            if let Some(mut receiving) = Receiving::begin(&tx, &mut self.open, page, is_own)? {
                receiving.page(&writers, &mut done)?;
            }
        }
        tx.commit()?;
        done.applied.erased.iter().chain(&done.applied.documents).for_each(|doc_id| self.open.forget(*doc_id));
        self.finish_erasing()?;
        Ok(done)
    }

    /// Asks for a damaged document again, if the server has it.
    pub(super) fn fetch_damaged(&mut self, doc_id: DocId) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let row = DocumentRow::of(&tx, doc_id)?.filter(|row| row.received_seq > 0);
        let Some(row) = row else { return Ok(()) };
        fetch_again(&tx, doc_id, &row)?;
        tx.commit()?;
        Err(StoreError::ComesAgain(doc_id))
    }
}

/// Why a document was not stored.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("its checksum or its heads are not what they should be")]
    Damaged,
    #[error("what is here cannot be merged with it")]
    Unmergeable,
    #[error(transparent)]
    Pull(#[from] PullError),
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { .. } => Self::Unmergeable,
            error => Self::Pull(error.into()),
        }
    }
}

/// One page on its way into the store.
struct Receiving<'a> {
    conn: &'a Connection,
    open: &'a mut OpenDocuments,
    page: &'a FeedBootstrap,
    feed: i64,
    collection: String,
    cursor: u64,
    is_own: bool,
}

impl<'a> Receiving<'a> {
    /// `None` for what is no longer wanted: the feed has begun anew, another process of this home has received it, or it is
    /// to come as entries.
    fn begin(
        conn: &'a Connection,
        open: &'a mut OpenDocuments,
        page: &'a FeedBootstrap,
        is_own: bool,
    ) -> Result<Option<Self>, PullError> {
        let Token { feed: wire, epoch, upto, .. } = page.next;
        let mut query = conn.prepare_cached(
            "SELECT f.feed, f.collection, f.cursor, f.epoch,
                    EXISTS (SELECT 1 FROM bootstraps b
                            WHERE b.feed = f.feed AND b.epoch = f.epoch AND b.pass = 0 AND f.cursor < b.upto)
             FROM feeds f WHERE f.wire = ?",
        )?;
        let found = query.query_row([wire.0 as i64], |row| {
            let cursor = row.get::<_, i64>(2)? as u64;
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, cursor, Epoch(row.get(3)?), row.get::<_, bool>(4)?))
        });
        let (feed, collection, cursor, known, is_refused) = found.optional()?.ok_or(PullError::UnknownFeed(wire))?;
        if known != epoch || is_refused || cursor >= upto {
            return Ok(None);
        }
        if page.from > cursor {
            return Err(PullError::Gap { feed: wire, first: page.from + 1, cursor });
        }
        Ok(Some(Self { conn, open, page, feed, collection, cursor, is_own }))
    }

    fn page(&mut self, writers: &BTreeSet<ActorId>, done: &mut Bootstrapped) -> Result<(), PullError> {
        // Pages come descending; ascending within each one costs the tables' trees fewer splits.
        for document in self.page.documents.iter().rev() {
            match self.place(document, writers, &mut done.applied) {
                Ok(()) => {}
                Err(Unusable::Pull(error)) => return Err(error),
                Err(why) => {
                    tracing::warn!(doc_id = %document.doc_id, %why, "a snapshot is refused; its feed comes as entries");
                    done.refused.push(self.refuse()?);
                    return Ok(());
                }
            }
        }
        self.erasures(&mut done.applied)?;
        let coming = self.keep_place()?;
        done.coming.insert(self.page.next.feed, coming);
        Ok(())
    }

    /// Stores a document. Unloaded only where nothing is here of it that its snapshot may lack.
    fn place(
        &mut self,
        document: &Snapshot,
        writers: &BTreeSet<ActorId>,
        applied: &mut Applied,
    ) -> Result<(), Unusable> {
        let doc_id = document.doc_id;
        applied.bytes += document.bytes() as u64;
        let row = DocumentRow::of(self.conn, doc_id)?;
        // Erased here, which the server does not know yet.
        if row.as_ref().is_some_and(|row| row.erased) {
            return Ok(());
        }
        let has_snapshot = !document.snapshot.is_empty();
        let heads = if has_snapshot { change::document_heads(&document.snapshot) } else { Ok(Vec::new()) };
        if !heads.is_ok_and(|heads| heads == document.heads) {
            return Err(Unusable::Damaged);
        }
        let is_whole = has_snapshot && document.entries.is_empty();
        if is_whole && row.as_ref().is_some_and(|row| row.heads == document.heads) {
            return Ok(());
        }
        let mut row = row.unwrap_or_else(|| DocumentRow::new(self.feed, &self.collection));
        match self.listed(document) {
            Some(listed) if is_whole && self.is_outdated(doc_id, &row)? => {
                row.heads.clone_from(&document.heads);
                row.received_seq = document.seq as i64;
                row.payload_bytes = document.payload_bytes as i64;
                documents::save_unloaded(self.conn, doc_id, &mut row, &document.snapshot, listed)?;
            }
            _ => self.merge(document, row, writers, applied)?,
        }
        applied.documents.push(doc_id);
        Ok(())
    }

    /// What lists show, if it is what this version would show.
    fn listed<'d>(&self, document: &'d Snapshot) -> Option<&'d Listed> {
        let is_object = |columns: &str| columns.starts_with('{') && serde_json::from_str::<IgnoredAny>(columns).is_ok();
        let listed = document.listed.as_ref().filter(|listed| is_object(&listed.columns))?;
        let is_ours = self.page.projection_version == PROJECTION_VERSION;
        (is_ours && Collection::named(&self.collection).is_some()).then_some(listed)
    }

    /// Whether everything that is here of the document was accepted up to where the page begins, in this epoch: then the
    /// snapshot holds it.
    fn is_outdated(&self, doc_id: DocId, row: &DocumentRow) -> Result<bool, StoreError> {
        if row.version == 0 {
            return Ok(true);
        }
        let from = self.page.from as i64;
        let mut newer = self.conn.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entries WHERE doc_id = ?1 AND (seq IS NULL OR seq > ?2 OR change_hash IS NULL))",
        )?;
        let is_newer: bool = newer.query_row((doc_id.as_bytes(), from), |row| row.get(0))?;
        Ok(!is_newer && row.received_seq <= from)
    }

    /// Loads what is here and what came, and keeps both.
    fn merge(
        &mut self,
        document: &Snapshot,
        mut row: DocumentRow,
        writers: &BTreeSet<ActorId>,
        applied: &mut Applied,
    ) -> Result<(), Unusable> {
        let doc_id = document.doc_id;
        if !document.snapshot.is_empty() {
            let theirs = merge::load(&document.snapshot).map_err(|_| Unusable::Damaged)?;
            merge::verify(&theirs, &document.heads).map_err(|_| Unusable::Damaged)?;
            let mut doc = self.open.take(self.conn, doc_id, &row)?;
            merge::join(&mut doc, &theirs).map_err(|_| Unusable::Unmergeable)?;
            merge::verify(&doc, &merge::heads(&doc)).map_err(|_| Unusable::Unmergeable)?;
            let lacked: usize = document.entries.iter().map(|(_, entry)| entry.payload.len()).sum();
            let accepted = document.payload_bytes.saturating_sub(lacked as u64) as i64;
            row.payload_bytes = accepted + self.unsent_bytes(doc_id)?;
            row.received_seq = row.received_seq.max(document.seq as i64);
            documents::save_folded(self.conn, doc_id, &mut row, &doc)?;
        }
        let mut fresh = Fresh::new(self.feed, self.collection.clone());
        let mut tips = Tips::default();
        for (seq, entry) in &document.entries {
            pull::settle(self.conn, entry, *seq, &mut fresh, &mut tips)?;
        }
        tips.save(self.conn)?;
        applied.entries += document.entries.len();
        applied.shared_actors.extend(fresh.actors.intersection(writers));
        for (doc_id, entries) in fresh.entries {
            pull::fold(self.conn, self.open, (self.feed, &self.collection), doc_id, entries, applied)?;
        }
        Ok(())
    }

    /// What this device wrote of the document and the server may not have.
    fn unsent_bytes(&self, doc_id: DocId) -> Result<i64, StoreError> {
        let mut query = self
            .conn
            .prepare_cached("SELECT coalesce(sum(length(payload)), 0) FROM entries WHERE doc_id = ? AND seq IS NULL")?;
        Ok(query.query_row([doc_id.as_bytes()], |row| row.get(0))?)
    }

    fn erasures(&mut self, applied: &mut Applied) -> Result<(), PullError> {
        let mut fresh = Fresh::new(self.feed, self.collection.clone());
        let mut tips = Tips::default();
        for (seq, entry) in &self.page.erasures {
            applied.bytes += entry.payload.len() as u64;
            pull::settle(self.conn, entry, *seq, &mut fresh, &mut tips)?;
        }
        tips.save(self.conn)?;
        applied.entries += self.page.erasures.len();
        for erasure in fresh.erasures {
            applied.erased.push(erasure.entry.doc_id);
            erase::take(self.conn, (self.feed, &self.collection), &erasure, self.is_own)?;
        }
        Ok(())
    }

    /// Keeps where the feed goes on; with its last page everything up to there has been received.
    fn keep_place(&self) -> Result<Coming, StoreError> {
        let FeedBootstrap { next, total, documents, .. } = self.page;
        let kept = self.conn.prepare_cached(
            "INSERT INTO bootstraps AS b (feed, epoch, upto, pass, last_doc, stored, total)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (feed) DO UPDATE SET epoch = ?2, upto = ?3, pass = ?4, last_doc = ?5,
               stored = ?6 + CASE WHEN b.epoch = ?2 AND b.upto = ?3 THEN b.stored ELSE 0 END,
               total = max(?7, CASE WHEN b.epoch = ?2 AND b.upto = ?3 THEN b.total ELSE 0 END)
             RETURNING stored, total",
        );
        let parameters = (
            self.feed,
            next.epoch.as_bytes(),
            next.upto as i64,
            next.pass.number(),
            next.last.as_ref().map(DocId::as_bytes),
            documents.len() as i64,
            *total as i64,
        );
        let count = |row: &rusqlite::Row<'_>, at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)? as u64);
        let coming = kept?.query_row(parameters, |row| Ok(Coming { stored: count(row, 0)?, total: count(row, 1)? }))?;
        if next.pass == Pass::Complete {
            self.complete()?;
        }
        Ok(coming)
    }

    fn complete(&self) -> Result<(), StoreError> {
        let FeedBootstrap { next, digest, merged_seq, .. } = self.page;
        self.conn
            .prepare_cached(
                "UPDATE feeds SET cursor = ?2, digest = ?3, merged_seq = max(merged_seq, ?4) WHERE feed = ?1",
            )?
            .execute((self.feed, next.upto as i64, digest.to_bytes(), *merged_seq as i64))?;
        outbox::prune(self.conn, self.feed)?;
        self.conn.prepare_cached("DELETE FROM bootstraps WHERE feed = ?")?.execute([self.feed])?;
        Ok(())
    }

    fn refuse(&self) -> Result<Token, StoreError> {
        want_entries(self.conn, self.feed, self.page.next.upto)?;
        Ok(Token { upto: self.cursor, pass: Pass::Refused, last: None, ..self.page.next })
    }
}

/// The feed is to come as entries from its cursor on, until it is where it was and at `upto`.
fn want_entries(conn: &Connection, feed: i64, upto: u64) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO bootstraps AS b (feed, epoch, upto, pass)
         SELECT feed, epoch, max(cursor, ?2), 0 FROM feeds WHERE feed = ?1 AND epoch IS NOT NULL
         ON CONFLICT (feed) DO UPDATE SET epoch = excluded.epoch, pass = 0, last_doc = NULL,
           upto = max(excluded.upto, CASE WHEN b.epoch = excluded.epoch THEN b.upto ELSE 0 END)",
    )?
    .execute((feed, upto as i64))?;
    Ok(())
}

/// Forgets what is damaged here of a document that came as a snapshot, and has its feed received again from its first entry,
/// entry by entry: what else is here of it is recognised. What the server does not have yet stays.
pub(super) fn fetch_again(conn: &Connection, doc_id: DocId, row: &DocumentRow) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM snapshots WHERE doc_id = ?",
        // The server has merged them, or keeps them in quarantine with what made them.
        "DELETE FROM outbox WHERE doc_id = ? AND state = 1",
        "DELETE FROM entries WHERE doc_id = ? AND seq IS NOT NULL AND n NOT IN (SELECT n FROM outbox)",
    ] {
        conn.prepare_cached(statement)?.execute([doc_id.as_bytes()])?;
    }
    let emptied = DocumentRow {
        version: row.version + 1,
        heads: Vec::new(),
        snapshot_bytes: 0,
        tail_bytes: 0,
        unapplied: 0,
        received_seq: 0,
        unproved: false,
        ..row.clone()
    };
    emptied.save(conn, doc_id)?;
    want_entries(conn, row.feed, 0)?;
    conn.prepare_cached("UPDATE feeds SET cursor = 0, digest = zeroblob(16) WHERE feed = ?")?.execute([row.feed])?;
    Ok(())
}

/// A feed in another epoch begins anew, also as snapshots.
pub(super) fn forget_other_epochs(conn: &Connection, feed: &FeedGranted) -> Result<(), StoreError> {
    conn.prepare_cached(
        "DELETE FROM bootstraps WHERE epoch <> ?3
           AND feed IN (SELECT feed FROM feeds WHERE collection = ?1 AND scope = ?2)",
    )?
    .execute((&feed.collection, &feed.scope, feed.epoch.as_bytes()))?;
    Ok(())
}
