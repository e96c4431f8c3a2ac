//! Entries that say of a change that it is no part of its document. Only the server makes them, only of what it cannot merge:
//! it is left out with everything that builds on it, on every replica.

use std::collections::BTreeSet;

use automerge::Change;

use crate::change;
use crate::entry::{Entry, Salt};
use crate::id::{ActorId, ChangeHash, DocId};
use crate::merge::{self, MergeError};
use crate::record;
use crate::wire::EntryKind;

/// The code under which an author gets back what was left out.
pub const VOIDED: (&str, &str) = (
    "voided",
    "The server could not merge it, and whoever runs it took it out: write it in another way, or discard it.",
);

/// What an entry of this kind says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Void {
    /// The change that is left out. It is named by its hash: after a repair it may have another number.
    pub change: ChangeHash,
    /// Whether the server has written what the change did again, by another change.
    pub replayed: bool,
}

/// How the payload says so.
const REPLAYED: &[u8] = b"replayed";

impl Void {
    /// The entry that says so.
    pub fn entry(self, doc_id: DocId, device_time: i64, salt: Salt) -> Entry {
        let mut payload = self.change.as_bytes().to_vec();
        payload.extend(if self.replayed { REPLAYED } else { b"" });
        Entry { kind: EntryKind::Void.into(), doc_id, device_time, salt, payload }
    }

    /// What `entry` says; `None` if it says nothing of the kind.
    pub fn of(entry: &Entry) -> Option<Self> {
        let is_void = entry.known_kind() == Some(EntryKind::Void);
        let (change, cause) = entry.payload.split_at_checked(32).filter(|_| is_void)?;
        let replayed = cause == REPLAYED;
        (replayed || cause.is_empty()).then_some(Self { change: ChangeHash::from_slice(change)?, replayed })
    }
}

/// What a document loses by a void, and what it is then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// The change and everything that builds on it.
    pub lost: Vec<ChangeHash>,
    /// What nothing of the rest depends on, sorted.
    pub heads: Vec<ChangeHash>,
}

/// Parts a document, given as its changes in the order of their entries; `None` if one of them cannot be read, or the one to
/// be left out is not among them.
pub fn part<'a>(payloads: impl IntoIterator<Item = &'a [u8]>, left_out: ChangeHash) -> Option<Parted> {
    let changes = payloads.into_iter().map(|payload| change::reread(payload).ok()).collect::<Option<Vec<_>>>()?;
    let (lost, kept) = merge::part(changes, &BTreeSet::from([left_out]));
    let hash = |change: &Change| ChangeHash(change.hash().0);
    let mut heads = Vec::new();
    for change in &kept {
        let deps: Vec<_> = change.deps().iter().map(|dependency| ChangeHash(dependency.0)).collect();
        merge::advance_heads(&mut heads, &deps, hash(change));
    }
    (!lost.is_empty()).then(|| Parted { lost: lost.iter().map(hash).collect(), heads })
}

/// What a change did, as another change of `author` on what its document is without it and what builds on it: the same
/// operations, in other words. None of it is trusted: the result has been read and merged.
///
/// # Errors
/// Where the change is not there, or cannot be merged so either.
pub fn written_again<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    left_out: ChangeHash,
    author: ActorId,
    time_ms: i64,
) -> Result<Vec<u8>, MergeError> {
    let undecodable = |bad: change::BadChange| MergeError::Undecodable(bad.to_string());
    let changes = payloads.into_iter().map(change::reread).collect::<Result<Vec<_>, _>>().map_err(undecodable)?;
    let (lost, kept) = merge::part(changes, &BTreeSet::from([left_out]));
    let bad = lost.first().ok_or(MergeError::MissingDependencies(1))?;
    let mut doc = record::blank();
    merge::apply_read(&mut doc, kept)?;
    let written = merge::fenced(|| Ok::<_, String>(change::written_again(bad, &doc, author, time_ms)));
    let payload = written.map_err(MergeError::Unmergeable)?;
    let read = change::read(&payload).map_err(undecodable)?;
    merge::apply_read(&mut doc, vec![read.change().clone()])?;
    merge::verify(&doc, &[read.facts.hash])?;
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every device reads them for ever.
    #[test]
    fn what_a_void_says_is_frozen() {
        for (replayed, bytes) in [(false, 32), (true, 40)] {
            let void = Void { change: ChangeHash([7; 32]), replayed };
            let entry = void.entry(DocId([1; 16]), 5, [2; 8]);
            assert_eq!((entry.kind, entry.payload.len()), (4, bytes));
            assert_eq!(Void::of(&entry), Some(void));
            assert_eq!(Void::of(&Entry { kind: 0, ..entry.clone() }), None);
            let longer = Entry { payload: [&entry.payload[..], b"?"].concat(), ..entry.clone() };
            assert_eq!(Void::of(&longer), None, "what a later version says is not guessed");
        }
    }
}
