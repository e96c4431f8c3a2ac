//! Step 2: what the database knows of everything that a group touches.

use std::collections::BTreeSet;

use fitme_core::id::{ActorId, ChangeHash, DocId, EntryId, FeedId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Failure;
use crate::ingest::plan::{Binding, Candidate, DocumentState, Known, Usage};

/// The keys to look up.
#[derive(Debug, Default)]
pub struct Keys {
    /// Entries by id.
    pub entries: BTreeSet<(FeedId, EntryId)>,
    /// Changes by hash, the offered ones and those they depend on.
    pub changes: BTreeSet<(FeedId, DocId, ChangeHash)>,
    /// Documents of the accounts.
    pub documents: BTreeSet<(Uuid, DocId)>,
    /// Whose last sequence number in which document.
    pub tips: BTreeSet<(FeedId, DocId, ActorId)>,
    /// Actors whose devices are asked for.
    pub actors: BTreeSet<ActorId>,
    /// Accounts whose usage is asked for.
    pub accounts: BTreeSet<Uuid>,
}

impl Keys {
    /// Those of a group.
    #[must_use]
    pub fn of(candidates: &[Candidate<'_>]) -> Self {
        let mut keys = Self::default();
        for Candidate { offer, .. } in candidates {
            let (feed, doc_id) = (offer.feed, offer.entry.doc_id);
            keys.entries.insert((feed, offer.id));
            if let Some(place) = &offer.place {
                keys.documents.insert((place.owner, doc_id));
                keys.accounts.insert(place.owner);
            }
            let Some(change) = &offer.change else { continue };
            keys.changes.insert((feed, doc_id, change.facts.hash));
            keys.changes.extend(change.facts.deps.iter().map(|dependency| (feed, doc_id, *dependency)));
            keys.tips.insert((feed, doc_id, change.facts.actor));
            keys.actors.insert(change.facts.actor);
        }
        keys
    }
}

/// Reads what is known, in one statement. It must run after the feeds were locked: then it sees all that was appended
/// to them.
pub(super) async fn read(connection: &mut PgConnection, keys: &Keys) -> Result<Known, Failure> {
    let mut known = Known::default();
    let ids: Vec<_> = keys.entries.iter().collect();
    let changes: Vec<_> = keys.changes.iter().collect();
    let documents: Vec<_> = keys.documents.iter().collect();
    let tips: Vec<_> = keys.tips.iter().collect();
    let actors: Vec<_> = keys.actors.iter().collect();
    let accounts: Vec<_> = keys.accounts.iter().copied().collect();
    let rows = sqlx::query_file_as!(
        Found,
        "src/ingest/execute/known.sql",
        &feed_numbers(ids.iter().map(|(feed, _)| feed)),
        &column(&ids, |(_, id)| id.as_bytes()) as &[&[u8]],
        &feed_numbers(changes.iter().map(|(feed, ..)| feed)),
        &column(&changes, |(_, doc_id, _)| doc_id.as_bytes()) as &[&[u8]],
        &column(&changes, |(.., hash)| hash.as_bytes()) as &[&[u8]],
        &documents.iter().map(|(account, _)| *account).collect::<Vec<_>>(),
        &column(&documents, |(_, doc_id)| doc_id.as_bytes()) as &[&[u8]],
        &feed_numbers(tips.iter().map(|(feed, ..)| feed)),
        &column(&tips, |(_, doc_id, _)| doc_id.as_bytes()) as &[&[u8]],
        &column(&tips, |(.., actor)| actor.as_bytes()) as &[&[u8]],
        &column(&actors, |actor| actor.as_bytes()) as &[&[u8]],
        &accounts,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let at = usize::try_from(row.n - 1).expect("WITH ORDINALITY counts from 1");
        match row.part {
            1 => drop(known.entries.insert(*ids[at], row.number())),
            2 => drop(known.changes.insert(*changes[at], (row.number(), row.entry_id()))),
            3 => drop(known.documents.insert(*documents[at], row.document())),
            4 => drop(known.tips.insert(*tips[at], row.number())),
            5 => known.actors.extend(row.binding().map(|binding| (*actors[at], binding))),
            _ => drop(known.usage.insert(accounts[at], row.usage())),
        }
    }
    Ok(known)
}

fn feed_numbers<'a>(feeds: impl Iterator<Item = &'a FeedId>) -> Vec<i64> {
    feeds.map(|feed| feed.0.cast_signed()).collect()
}

fn column<'a, K>(keys: &[&'a K], of: impl Fn(&'a K) -> &'a [u8]) -> Vec<&'a [u8]> {
    keys.iter().map(|key| of(key)).collect()
}

/// One row of `known.sql`; which columns are set depends on the part.
struct Found {
    part: i16,
    n: i64,
    number: Option<i64>,
    entry_id: Option<Vec<u8>>,
    heads: Option<Vec<Vec<u8>>>,
    device: Option<Uuid>,
    account: Option<Uuid>,
    feed: Option<i64>,
    /// Of an account how many documents it has, of a document where it was erased.
    other: Option<i64>,
}

impl Found {
    fn number(&self) -> u64 {
        self.number.unwrap_or_default().cast_unsigned()
    }

    fn binding(&self) -> Option<Binding> {
        Some(Binding { device: self.device?, account: self.account })
    }

    fn usage(&self) -> Usage {
        Usage { documents: self.other.unwrap_or_default().cast_unsigned(), bytes: self.number() }
    }

    fn entry_id(&self) -> EntryId {
        let id = self.entry_id.as_deref().and_then(EntryId::from_slice);
        id.expect("ingest writes entry ids of 16 bytes")
    }

    fn document(&self) -> DocumentState {
        let heads = self.heads.iter().flatten();
        DocumentState {
            feed: FeedId(self.feed.unwrap_or_default().cast_unsigned()),
            heads: heads.map(|head| ChangeHash::from_slice(head).expect("ingest writes hashes of 32 bytes")).collect(),
            payload_bytes: self.number(),
            erased: self.other.map(|seq| (seq.cast_unsigned(), self.entry_id())),
        }
    }
}
