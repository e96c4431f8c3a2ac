//! Records as automerge documents: made, edited, trashed and brought back. Each call is one change.

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{Automerge, ObjId, ReadDoc, TextEncoding};
use rand::{RngCore, SeedableRng};
use serde_json::Value;

use crate::change;
use crate::collection::Collection;
use crate::id::{ActorId, ChangeHash};
use crate::limits::ENTRY_BYTES;

use super::build::Builder;
use super::invalid::Invalid;
use super::plan::{Purpose, plan};
use super::problems::problems;
use super::shape::{Shape, TRASHED};
use super::write::{Writer, refused};
use super::{read, restore, tables};

/// Who makes a change, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The writer; drawn at random, so never one of the reserved ones.
    pub actor: ActorId,
    /// Milliseconds since 1970 UTC by the writer's clock.
    pub time_ms: i64,
}

/// An empty document. Positions in text count Unicode code points everywhere: a replica that counted otherwise would
/// cut other characters.
pub fn blank() -> Automerge {
    Automerge::new_with_encoding(TextEncoding::UnicodeCodePoint)
}

/// A new record with a random id, and its first change: every container of its type, also empty ones, and `fields`.
///
/// # Errors
/// [`Invalid`] if `fields` are not a record of `collection`.
pub fn create(
    collection: Collection,
    fields: &Value,
    author: &Author,
    rng: &mut dyn RngCore,
) -> Result<(Automerge, Vec<u8>), Invalid> {
    let shape = served(collection)?;
    let steps = plan(shape, fields, Purpose::Create)?;
    let record = Builder { rng, purpose: Purpose::Create }.map(shape.members, steps)?;
    let mut doc = blank();
    let payload = commit(&mut doc, author, |tx| {
        tx.init_root_from_hydrate(&record).map_err(refused)?;
        no_new_problem(shape, tx, &[])
    })?;
    let payload = payload.ok_or_else(|| Invalid::record("a new record holds at least one field"))?;
    Ok((doc, payload))
}

/// Whether `record` could be created: what is refused here would be refused by [`create`], and the other way round.
///
/// # Errors
/// [`Invalid`] with the first thing that is wrong.
pub fn validate(collection: Collection, record: &Value) -> Result<(), Invalid> {
    let author = Author { actor: ActorId([1; 16]), time_ms: 0 };
    create(collection, record, &author, &mut rand::rngs::StdRng::seed_from_u64(0)).map(drop)
}

/// Applies `patch`: the fields to change, null to remove one. Items and rows are an array (an element with `id` changes
/// that item, one without is added, `after` moves it behind another) or an object of ids (null removes). Tags are an
/// array, the whole set, or an object of tags to true or false.
///
/// None if nothing changed: an equal value writes nothing.
///
/// # Errors
/// [`Invalid`] if the patch is not one, or the record would have a problem that it did not have before.
pub fn edit(
    doc: &mut Automerge,
    collection: Collection,
    patch: &Value,
    author: &Author,
    rng: &mut dyn RngCore,
) -> Result<Option<Vec<u8>>, Invalid> {
    let shape = served(collection)?;
    if collection.is_write_once() {
        return Err(written_once(collection));
    }
    let steps = plan(shape, patch, Purpose::Edit)?;
    commit(doc, author, |tx| {
        let before = problems(shape, tx, &read::level(tx, &ObjId::Root));
        Writer { tx: &mut *tx, rng, purpose: Purpose::Edit }.run(&ObjId::Root, steps)?;
        no_new_problem(shape, tx, &before)
    })
}

/// Moves the record to the trash or back; None if it is there already.
pub fn set_trashed(doc: &mut Automerge, trashed: bool, author: &Author) -> Option<Vec<u8>> {
    let settings = read::settings(doc, &ObjId::Root, TRASHED);
    let wanted = read::Cell::Scalar(trashed.into());
    let untouched = settings.is_empty() && !trashed;
    if untouched || (!settings.is_empty() && settings.iter().all(|setting| setting.cell == wanted)) {
        return None;
    }
    let put = |tx: &mut Transaction<'_>| tx.put(ObjId::Root, TRASHED, trashed).map_err(refused);
    commit(doc, author, put).expect("one register at the root is always within bounds")
}

/// Returns the record to what it was right after the change `at`, as an ordinary later change. Trash is left alone.
/// None if it is that already.
///
/// # Errors
/// [`Invalid`] if the document does not hold that change, or holds values of then that are refused today.
pub fn restore_to(
    doc: &mut Automerge,
    collection: Collection,
    at: &ChangeHash,
    author: &Author,
    rng: &mut dyn RngCore,
) -> Result<Option<Vec<u8>>, Invalid> {
    let shape = served(collection)?;
    if collection.is_write_once() {
        return Err(written_once(collection));
    }
    let then = doc.fork_at(&[automerge::ChangeHash(at.0)]);
    let then = then.map_err(|_| Invalid::record(format!("the record has no change {at}; its history lists them")))?;
    let patch = restore::patch(shape, &then, doc);
    let steps = plan(shape, &patch, Purpose::Restore)?;
    commit(doc, author, |tx| Writer { tx, rng, purpose: Purpose::Restore }.run(&ObjId::Root, steps))
}

/// Why a record of such a collection is not changed.
pub(crate) fn written_once(collection: Collection) -> Invalid {
    Invalid::record(format!("records of {collection} are written once; revoke a grant and give another"))
}

pub(super) fn served(collection: Collection) -> Result<&'static Shape, Invalid> {
    tables::shape(collection)
        .ok_or_else(|| Invalid::record(format!("records of {collection} are not served by this version")))
}

fn no_new_problem(shape: &Shape, tx: &Transaction<'_>, before: &[Invalid]) -> Result<(), Invalid> {
    let after = problems(shape, tx, &read::level(tx, &ObjId::Root));
    after.into_iter().find(|problem| !before.contains(problem)).map_or(Ok(()), Err)
}

/// Makes one change and returns its chunk; on an error, and on a change too large to send, the document is as before.
pub(super) fn commit(
    doc: &mut Automerge,
    author: &Author,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<(), Invalid>,
) -> Result<Option<Vec<u8>>, Invalid> {
    let before = doc.get_heads();
    doc.set_actor(author.actor.as_bytes().into());
    let mut tx = doc.transaction();
    write(&mut tx)?; // a transaction that is dropped is rolled back
    if tx.pending_ops() == 0 {
        return Ok(None);
    }
    let (made, _) = tx.commit_with(CommitOptions::default().with_time(author.time_ms));
    let change =
        made.and_then(|hash| doc.get_change_by_hash(&hash)).expect("a transaction with operations commits a change");
    let payload = change.raw_bytes().to_vec();
    let too_large = if payload.len() > ENTRY_BYTES {
        Some(format!("the edit takes {} bytes and one edit may take {ENTRY_BYTES}; make it in parts", payload.len()))
    } else {
        change::count_operations(&payload).err().map(|error| format!("the edit is too large: {error}"))
    };
    if let Some(too_large) = too_large {
        *doc = doc.fork_at(&before).expect("these were the document's heads");
        return Err(Invalid::record(too_large));
    }
    Ok(Some(payload))
}
