//! One automerge change chunk as it travels: read within bounds, and only in its one valid encoding.
//!
//! A few bytes of run-length encoding can claim 2^40 operations, and a deflated chunk of 146 KB decodes to 150 MB in
//! 0.86 s, so `columns` counts what a chunk claims before automerge decodes anything. automerge can encode the same
//! change in several ways (deflated or not, columns in other runs, unused actors listed); were all of them valid, one
//! change could have two entry ids. So a change counts only if encoding it again would give the same bytes: `canonical`
//! sees that of nearly all changes from their runs, the others are encoded again.

mod canonical;
mod chunk;
mod columns;
mod document;
mod reader;

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::Op;
use automerge::{Change, ExpandedChange};

use crate::id::{ActorId, ChangeHash};
use crate::limits;

use chunk::Chunk;
pub use document::document_heads;

/// What a change says about itself, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFacts {
    /// The SHA-256 of the chunk.
    pub hash: ChangeHash,
    /// The writer.
    pub actor: ActorId,
    /// 1, 2, 3… within (document, actor).
    pub actor_seq: u64,
    /// The changes it builds on, ascending.
    pub deps: Vec<ChangeHash>,
    /// Milliseconds since 1970 UTC by the writer's clock; 0 in genesis and imported changes.
    pub time_ms: i64,
    /// How many operations it holds.
    pub operations: u64,
}

/// A change that was read and found well formed; whether its content is allowed, `record::check_change` says.
#[derive(Debug, Clone)]
pub struct ReadChange {
    /// What the change says about itself.
    pub facts: ChangeFacts,
    change: Change,
    expanded: ExpandedChange,
}

impl ReadChange {
    /// The change as automerge applies it.
    pub fn into_change(self) -> Change {
        self.change
    }

    /// The change as automerge applies it.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// The chunk's bytes, equal to what was read.
    pub fn payload(&self) -> &[u8] {
        self.change.raw_bytes()
    }

    pub(crate) fn operations(&self) -> &[Op] {
        &self.expanded.operations
    }

    /// Whether it carries a commit message or bytes after its columns; this engine writes neither.
    pub(crate) fn has_extras(&self) -> bool {
        self.expanded.message.is_some() || !self.expanded.extra_bytes.is_empty()
    }
}

/// Why bytes are not a change that this protocol carries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// Other magic bytes, or another kind of chunk (a document, a deflated change, a bundle).
    #[error("the payload is not an uncompressed automerge change; send exactly one chunk of type 1")]
    NotAChange,
    /// Something follows the chunk.
    #[error("{extra} bytes follow the change; send exactly one chunk in an entry")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// More operations than one change may hold.
    #[error("the change claims {claimed} operations or more and may hold {allowed}; split the edit")]
    TooManyOperations {
        /// What the first column over the limit adds up to, as far as it was counted.
        claimed: u64,
        /// What is allowed for a change with this many bytes of values.
        allowed: u64,
    },
    /// More dependencies than one change may have.
    #[error(
        "the change has {claimed} dependencies and may have {}; merge the document first",
        limits::CHANGE_DEPENDENCIES
    )]
    TooManyDependencies {
        /// What it claims.
        claimed: u64,
    },
    /// An actor that is not 16 bytes.
    #[error("an actor in the change has {length} bytes; actors are 16 random bytes")]
    BadActor {
        /// Its length.
        length: u64,
    },
    /// A sequence or an operation number outside what a document of this size can reach.
    #[error("the change's {what} is {value}; it must be from 1 to {COUNTER_MAX}")]
    BadCounter {
        /// Which number.
        what: &'static str,
        /// What it claims.
        value: u64,
    },
    /// Damaged: automerge, or the count before it, could not read it.
    #[error("the change is damaged: {0}")]
    Undecodable(String),
    /// Readable, but not the encoding that automerge itself would write.
    #[error("the change is encoded in another way than automerge writes it; send the bytes that automerge made")]
    NotCanonical,
}

/// Sequence and operation numbers end here: automerge refuses counters beyond 32 bits, and a change that starts close
/// below would leave its document without room for another one.
pub const COUNTER_MAX: u64 = 1 << 30;

/// Reads one change from a stranger, refusing what is out of bounds before it costs memory or time.
///
/// Encoding the change again is most of the cost: 124 us for a workout of 24 sets in one change, 6 us for one more set,
/// against 46 and 3 us for [`reread`].
///
/// # Errors
/// [`BadChange`], also when automerge panics on the bytes.
pub fn read(payload: &[u8]) -> Result<ReadChange, BadChange> {
    let chunk = Chunk::parse(payload)?;
    let operations = columns::count(&chunk.columns)?;
    guarded(|| decode(payload, &chunk, operations))
}

/// Reads one change that [`read`] accepted before: from this end's own store, or from a server that checked it.
///
/// # Errors
/// [`BadChange`] all the same if the bytes were damaged since.
pub fn reread(payload: &[u8]) -> Result<Change, BadChange> {
    count_operations(payload)?;
    guarded(|| Change::try_from(payload).map_err(|error| BadChange::Undecodable(error.to_string())))
}

/// How many operations `payload` claims, counted without decoding it and within the bounds of [`read`]: a few bytes may
/// hold 75,000 removals of characters, 30 ms of work, so who takes many changes at once bounds their sum.
///
/// # Errors
/// [`BadChange`] if it claims more than one change may hold, or is not laid out as one.
pub fn count_operations(payload: &[u8]) -> Result<u64, BadChange> {
    columns::count(&Chunk::parse(payload)?.columns)
}

/// The chunks of an automerge file of changes, which lie in it one after the other; none of them is looked into.
///
/// # Errors
/// [`BadChange`] if the file ends within one.
pub fn split(mut file: &[u8]) -> Result<Vec<&[u8]>, BadChange> {
    let mut chunks = Vec::new();
    while !file.is_empty() {
        let (chunk, rest) = chunk::cut(file)?;
        chunks.push(chunk);
        file = rest;
    }
    Ok(chunks)
}

fn guarded<T>(read: impl FnOnce() -> Result<T, BadChange>) -> Result<T, BadChange> {
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(BadChange::Undecodable("automerge could not read it".to_owned())))
}

fn decode(payload: &[u8], chunk: &Chunk<'_>, operations: u64) -> Result<ReadChange, BadChange> {
    let change = Change::try_from(payload).map_err(|error| BadChange::Undecodable(error.to_string()))?;
    let expanded = change.decode();
    let ascending = change.deps().is_sorted_by(|a, b| a < b);
    // automerge does not compare the checksum.
    let is_sealed = change.hash().0.starts_with(chunk.checksum);
    let is_canonical = || canonical::is_plain(chunk, operations) || encoded_again(&expanded) == payload;
    if !ascending || !is_sealed || !is_canonical() {
        return Err(BadChange::NotCanonical);
    }
    let actor = ActorId::from_slice(change.actor_id().to_bytes())
        .ok_or(BadChange::BadActor { length: change.actor_id().to_bytes().len() as u64 })?;
    let facts = ChangeFacts {
        hash: ChangeHash(change.hash().0),
        actor,
        actor_seq: change.seq(),
        deps: change.deps().iter().map(|hash| ChangeHash(hash.0)).collect(),
        time_ms: change.timestamp(),
        operations,
    };
    Ok(ReadChange { facts, change, expanded })
}

fn encoded_again(expanded: &ExpandedChange) -> Vec<u8> {
    Change::from(expanded.clone()).raw_bytes().to_vec()
}

#[cfg(test)]
mod tests;
