//! The tables of the server, in memory, with the indexes that bound them. What each column is, migrations/postgres says.
#![expect(missing_docs, reason = "the columns are documented where they are made")]

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::entry::{Digest, Salt};
use fitme_core::id::{ActorId, ChangeHash, DocId, EntryId, Epoch, FeedId};
use serde_json::Value;
use sync_server::ingest::plan::{ActorTip, DocumentState, Usage};
use uuid::Uuid;

/// All of them, as of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// Which installation it is.
    pub installation: [u8; 8],
    /// Devices and their accounts.
    pub devices: BTreeMap<Uuid, Uuid>,
    pub feeds: BTreeMap<FeedId, FeedRow>,
    pub entries: Entries,
    pub documents: BTreeMap<(Uuid, DocId), DocumentState>,
    pub actors: BTreeMap<ActorId, ActorTip>,
    pub merge_queue: BTreeMap<FeedId, QueueRow>,
    pub snapshots: BTreeMap<(FeedId, DocId), SnapshotRow>,
    pub records: BTreeMap<(FeedId, DocId), RecordRow>,
    pub usage: BTreeMap<Uuid, Usage>,
    /// (who grants, who asked).
    pub relations: BTreeSet<(Uuid, Uuid)>,
    pub grants_now: BTreeMap<(Uuid, DocId, FeedId), GrantRow>,
    pub revocations: BTreeSet<(Uuid, DocId)>,
    /// Versions of what others grant.
    pub grantees: BTreeMap<Uuid, u64>,
    pub erasures: BTreeSet<(Uuid, DocId)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    pub account: Uuid,
    pub collection: String,
    pub scope: String,
    pub epoch: Epoch,
    pub head: u64,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    pub id: EntryId,
    pub kind: i32,
    pub doc_id: DocId,
    pub change_hash: Option<ChangeHash>,
    pub actor: Option<(ActorId, u64)>,
    pub author: Uuid,
    /// Who had it, where that is somebody else.
    pub offered_by: Option<Uuid>,
    pub device_time: i64,
    /// When it came, ms UTC.
    pub received_ms: i64,
    pub digest: Digest,
    /// Salt and payload; `None` once it was emptied.
    pub content: Option<(Salt, Vec<u8>)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueRow {
    pub head: u64,
    pub merged: u64,
    pub clean: Option<u64>,
    /// The higher, the later it was served.
    pub served: u64,
    /// Whose it is, and until when.
    pub lease: Option<(Uuid, i64)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotRow {
    pub seq: u64,
    pub heads: Vec<ChangeHash>,
    pub snapshot: Vec<u8>,
    pub quarantined: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RecordRow {
    pub at: Option<i64>,
    pub trashed: bool,
    pub columns: Value,
    pub record: Value,
    pub flags: Vec<String>,
    pub version: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    pub grantee: Uuid,
    pub access: String,
    pub purpose: String,
    pub shown_as: String,
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
}

/// `entries`, with its unique indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    rows: BTreeMap<(FeedId, u64), EntryRow>,
    by_id: BTreeMap<(FeedId, EntryId), u64>,
    by_change: BTreeMap<(FeedId, DocId, ChangeHash), u64>,
    by_actor: BTreeMap<(FeedId, DocId, ActorId, u64), u64>,
}

impl Entries {
    /// Every row, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&(FeedId, u64), &EntryRow)> {
        self.rows.iter()
    }

    /// Every row, to change what no index is over.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut EntryRow> {
        self.rows.values_mut()
    }

    pub fn get(&self, feed: FeedId, seq: u64) -> Option<&EntryRow> {
        self.rows.get(&(feed, seq))
    }

    /// Those of a feed above a number, ascending.
    pub fn after(&self, feed: FeedId, seq: u64) -> impl Iterator<Item = (u64, &EntryRow)> {
        self.rows.range((feed, seq + 1)..=(feed, u64::MAX)).map(|((_, seq), row)| (*seq, row))
    }

    pub fn by_id(&self, feed: FeedId, id: EntryId) -> Option<u64> {
        self.by_id.get(&(feed, id)).copied()
    }

    pub fn by_change(&self, feed: FeedId, doc_id: DocId, hash: ChangeHash) -> Option<(u64, &EntryRow)> {
        let seq = *self.by_change.get(&(feed, doc_id, hash))?;
        Some((seq, self.rows.get(&(feed, seq))?))
    }

    /// The last sequence number of an actor in a document.
    pub fn tip(&self, feed: FeedId, doc_id: DocId, actor: ActorId) -> Option<u64> {
        let mut its = self.by_actor.range((feed, doc_id, actor, 0)..=(feed, doc_id, actor, u64::MAX));
        its.next_back().map(|((.., seq), _)| *seq)
    }

    /// Whether a unique index has a place for the row.
    pub fn has_room(&self, feed: FeedId, seq: u64, row: &EntryRow) -> bool {
        let change = row.change_hash.is_some_and(|hash| self.by_change.contains_key(&(feed, row.doc_id, hash)));
        let actor = row.actor.is_some_and(|(actor, at)| self.by_actor.contains_key(&(feed, row.doc_id, actor, at)));
        !change && !actor && !self.by_id.contains_key(&(feed, row.id)) && !self.rows.contains_key(&(feed, seq))
    }

    pub fn insert(&mut self, feed: FeedId, seq: u64, row: EntryRow) {
        self.by_id.insert((feed, row.id), seq);
        if let Some(hash) = row.change_hash {
            self.by_change.insert((feed, row.doc_id, hash), seq);
        }
        if let Some((actor, at)) = row.actor {
            self.by_actor.insert((feed, row.doc_id, actor, at), seq);
        }
        self.rows.insert((feed, seq), row);
    }

    /// What `empty_documents` does to the entries of a document below the one that erases it.
    pub fn empty(&mut self, feed: FeedId, doc_id: DocId, below: u64) {
        for row in self.rows.range_mut((feed, 0)..(feed, below)).map(|(_, row)| row).filter(|row| row.doc_id == doc_id)
        {
            row.content = None;
            if let Some(hash) = row.change_hash.take() {
                self.by_change.remove(&(feed, doc_id, hash));
            }
        }
    }
}
