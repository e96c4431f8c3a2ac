//! One document: its snapshot and the changes behind it, folded into the next snapshot and its projection. A pure
//! function of its arguments; what breaks on one document stays with that document.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fitme_core::collection::Collection;
use fitme_core::id::{ChangeHash, DocId, FeedId};
use fitme_core::merge::{self, MergeError};
use fitme_core::record::{self, Projection};

/// A document to merge.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its feed.
    pub feed: FeedId,
    /// The document.
    pub doc_id: DocId,
    /// What it is a record of.
    pub collection: Collection,
    /// Whether it has no row in `snapshots` yet.
    pub is_new: bool,
    /// What the snapshot holds: every entry of the document up to here.
    pub from_seq: u64,
    /// Empty if there is none.
    pub snapshot: Vec<u8>,
    /// The heads that ingest counted, sorted.
    pub expected_heads: Vec<ChangeHash>,
    /// The last entry that took a change out of it; 0 if none did.
    pub void_seq: u64,
    /// The changes behind the snapshot, with their numbers, ascending.
    pub changes: Vec<(u64, Vec<u8>)>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Folded {
    /// Its feed.
    pub feed: FeedId,
    /// The document.
    pub doc_id: DocId,
    /// Whether it has no row in `snapshots` yet.
    pub is_new: bool,
    /// From where it was merged.
    pub from_seq: u64,
    /// The merged document, or why there is none.
    pub outcome: Result<Merged, Quarantine>,
}

/// A merged document.
#[derive(Debug, Clone)]
pub struct Merged {
    /// Every entry of the document up to here is in it.
    pub snapshot_seq: u64,
    /// Its heads, sorted.
    pub heads: Vec<ChangeHash>,
    /// An uncompressed document chunk: snapshots travel in compressed pages, where what they share is found.
    pub snapshot: Vec<u8>,
    /// What readers see of it.
    pub projection: Projection,
}

/// Why a document is not merged, in a sentence. Its entries stay, and its next one is reason to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Quarantine {
    /// The changes do not make the document that they describe.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A panic.
    #[error("merging the document broke on it")]
    Broken,
    /// The merged record is nothing that the database can hold.
    #[error("the database refused the merged document")]
    Refused,
}

/// Folds the changes into the document.
#[must_use]
pub fn fold(work: Work) -> Folded {
    let outcome = catch_unwind(AssertUnwindSafe(|| merged(&work))).unwrap_or(Err(Quarantine::Broken));
    if let Err(why) = &outcome {
        tracing::error!(feed = %work.feed, doc_id = %work.doc_id, %why, "a document is quarantined");
    }
    let Work { feed, doc_id, is_new, from_seq, .. } = work;
    Folded { feed, doc_id, is_new, from_seq, outcome }
}

fn merged(work: &Work) -> Result<Merged, Quarantine> {
    let mut document = match work.snapshot.is_empty() {
        true => record::blank(),
        false => merge::load(&work.snapshot)?,
    };
    merge::apply(&mut document, work.changes.iter().map(|(_, payload)| payload.as_slice()))?;
    merge::verify(&document, &work.expected_heads)?;
    Ok(Merged {
        snapshot_seq: work.changes.last().map_or(work.from_seq, |(seq, _)| *seq).max(work.void_seq),
        heads: merge::heads(&document),
        snapshot: document.save_nocompress(),
        projection: record::project(&document, work.collection),
    })
}
