//! Entries folded into a document: what device and server do alike. Automerge can panic on bytes that passed every
//! check, so each call into it that takes foreign bytes is fenced, and the caller gets an error for that one document.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, Change, ChangeHash as Hash, LoadOptions, ReadDoc, TextEncoding};

use crate::collection::Collection;
use crate::id::ChangeHash;
use crate::record;

/// Why changes could not be folded into a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Stored bytes that are no document or no change any more.
    #[error("the document's stored bytes do not decode: {0}")]
    Undecodable(String),
    /// Automerge refused or broke.
    #[error("the change cannot be merged: {0}")]
    Unmergeable(String),
    /// Changes that others depend on are not there.
    #[error("{0} changes that others depend on are missing")]
    MissingDependencies(usize),
    /// The merged heads are not those that the store counted.
    #[error("the merged document is not the one that its entries describe")]
    OtherHeads,
}

/// The document in a snapshot.
pub fn load(snapshot: &[u8]) -> Result<Automerge, MergeError> {
    let options = LoadOptions::new().text_encoding(TextEncoding::UnicodeCodePoint);
    fenced(|| Automerge::load_with_options(snapshot, options)).map_err(MergeError::Undecodable)
}

/// Applies change chunks, in any order; those whose dependencies are missing wait inside the document, invisibly.
pub fn apply<'a>(doc: &mut Automerge, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<(), MergeError> {
    let changes = payloads
        .into_iter()
        .map(|payload| fenced(|| Change::try_from(payload)).map_err(MergeError::Undecodable))
        .collect::<Result<Vec<_>, _>>()?;
    apply_read(doc, changes)
}

/// The same with changes that were read already.
pub fn apply_read(doc: &mut Automerge, changes: Vec<Change>) -> Result<(), MergeError> {
    fenced(|| doc.apply_changes(changes)).map_err(MergeError::Unmergeable)
}

/// Applies one change and says whether it is visible then: not where automerge refuses it, nor where it waits inside the document
/// for one that is missing.
pub fn takes(doc: &mut Automerge, change: &Change) -> bool {
    apply_read(doc, vec![change.clone()]).is_ok() && holds(doc, ChangeHash(change.hash().0))
}

/// Applies what `other` has more.
pub fn join(doc: &mut Automerge, other: &Automerge) -> Result<(), MergeError> {
    let new = changes(other)?.into_iter().filter(|change| !holds(doc, ChangeHash(change.hash().0))).collect();
    apply_read(doc, new)
}

/// Whether the change is part of the document.
pub fn holds(doc: &Automerge, change: ChangeHash) -> bool {
    doc.get_change_meta_by_hash(&Hash(change.0)).is_some()
}

/// The change, if it is part of the document.
pub fn change(doc: &Automerge, change: ChangeHash) -> Option<Change> {
    doc.get_change_by_hash(&Hash(change.0))
}

/// A document made of change chunks alone.
pub fn assemble<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Automerge, MergeError> {
    let mut doc = record::blank();
    apply(&mut doc, payloads)?;
    Ok(doc)
}

/// What a record is after these changes.
pub fn record_of<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    collection: Collection,
) -> Result<serde_json::Value, MergeError> {
    let doc = assemble(payloads)?;
    fenced(|| Ok::<_, String>(record::project(&doc, collection).record)).map_err(MergeError::Unmergeable)
}

/// The document without some of its changes and without what builds on them, and the changes that it lost.
pub fn without(doc: &Automerge, left_out: &BTreeSet<ChangeHash>) -> Result<(Automerge, Vec<Change>), MergeError> {
    // Each comes after those it builds on.
    let changes = fenced(|| Ok::<_, String>(doc.get_changes(&[]))).map_err(MergeError::Unmergeable)?;
    let (lost, kept) = part(changes, left_out);
    let mut rebuilt = record::blank();
    apply_read(&mut rebuilt, kept)?;
    Ok((rebuilt, lost))
}

/// Changes, each after those it builds on, in two parts: the named ones with what builds on them, and the others.
pub fn part(changes: Vec<Change>, left_out: &BTreeSet<ChangeHash>) -> (Vec<Change>, Vec<Change>) {
    let mut gone = left_out.clone();
    changes.into_iter().partition(|change| {
        let hash = ChangeHash(change.hash().0);
        let lost = gone.contains(&hash) || change.deps().iter().any(|Hash(dep)| gone.contains(&ChangeHash(*dep)));
        lost && {
            gone.insert(hash);
            true
        }
    })
}

/// The changes of a document, each after those it builds on.
pub fn changes(doc: &Automerge) -> Result<Vec<Change>, MergeError> {
    changes_since(doc, &[])
}

fn changes_since(doc: &Automerge, heads: &[Hash]) -> Result<Vec<Change>, MergeError> {
    fenced(|| Ok::<_, String>(doc.get_changes(heads))).map_err(MergeError::Unmergeable)
}

/// The document as a snapshot.
pub fn save(doc: &Automerge) -> Result<Vec<u8>, MergeError> {
    fenced(|| Ok::<_, String>(doc.save())).map_err(MergeError::Unmergeable)
}

/// Whether everything that was applied is visible and the heads are `expected` (sorted).
pub fn verify(doc: &Automerge, expected: &[ChangeHash]) -> Result<(), MergeError> {
    match doc.get_missing_deps(&[]).len() {
        0 if heads(doc) == expected => Ok(()),
        0 => Err(MergeError::OtherHeads),
        missing => Err(MergeError::MissingDependencies(missing)),
    }
}

/// The document's heads, sorted.
pub fn heads(doc: &Automerge) -> Vec<ChangeHash> {
    let mut heads: Vec<_> = doc.get_heads().into_iter().map(|Hash(bytes)| ChangeHash(bytes)).collect();
    heads.sort_unstable();
    heads
}

/// The changes that a replica with these heads lacks, each after those it builds on; `None` if it cannot be told: the replica
/// holds some that this one lacks, or automerge breaks on them.
pub fn changes_beyond(doc: &Automerge, heads: &[ChangeHash]) -> Option<Vec<Change>> {
    let heads: Vec<_> = heads.iter().map(|head| Hash(head.0)).collect();
    let all_known = heads.iter().all(|head| doc.get_change_meta_by_hash(head).is_some());
    if all_known { changes_since(doc, &heads).ok() } else { None }
}

/// How the heads (sorted) move when a change is appended: what it builds on is no head any more, it is one itself.
pub fn advance_heads(heads: &mut Vec<ChangeHash>, deps: &[ChangeHash], hash: ChangeHash) {
    heads.retain(|head| !deps.contains(head));
    if let Err(place) = heads.binary_search(&hash) {
        heads.insert(place, hash);
    }
}

/// What breaks in `work` is an error of that one document.
pub(crate) fn fenced<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the merge library broke on it".to_owned()),
    }
}
