//! What ingest checks of a change: what the change shows by itself, from the same table as a local write, so that what
//! a device accepted no server of its version refuses.

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{ObjType, ScalarValue};

use crate::change::ReadChange;
use crate::collection::Collection;
use crate::id::DocId;
use crate::limits::{NAME_BYTES, PROSE_BYTES};

use super::derived::{genesis_of, may_import};
use super::grant::{BadConsent, Consent};
use super::ids::{self, GENESIS_ACTOR};
use super::rule::FORBIDDEN;
use super::shape::{Known, Member, Rule, Shape};
use super::tables;

/// Why a well-formed change is refused for what it holds. The texts name keys of the table, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadContent {
    /// This version has no table for the collection.
    #[error("records of {0} are not served by this version; update the server")]
    NotServed(Collection),
    /// A value that the table does not allow.
    #[error("{key} must be {expected}")]
    Value {
        /// The key, as the table names it.
        key: String,
        /// What the table allows.
        expected: String,
    },
    /// A key or a value of an unknown field beyond the bounds for any field.
    #[error(
        "an unknown field is out of bounds: keys up to {NAME_BYTES} bytes, texts up to {PROSE_BYTES} bytes, finite numbers"
    )]
    Unknown,
    /// A text or a key with the character that none may hold.
    #[error("a text holds the character U+0000, which cannot be stored; take it out and make the edit again")]
    ForbiddenCharacter,
    /// Something replaces, removes or is missing from the containers that a document keeps for ever.
    #[error("the container at {key} is made by the document's first change and never again")]
    Container {
        /// The key, as the table names it.
        key: &'static str,
    },
    /// Another container at the root after the first change, where two concurrent ones would hide each other.
    #[error("containers at the root are made by the document's first change only")]
    LateContainer,
    /// A first change that is not one: without dependencies, yet not sequence 1.
    #[error("a change without dependencies is its document's first and has sequence 1")]
    NotFirst,
    /// A document with a derived id that does not start as all of them do, or a genesis change elsewhere.
    #[error("a document with a derived id starts from its collection's genesis change, and no other document does")]
    Genesis,
    /// An imported change in another form.
    #[error(
        "an imported change has sequence 1 and time 0, builds on the genesis change alone and holds only scalars of the file"
    )]
    Import,
    /// A second change of a document that is written once.
    #[error("records of {0} are written once and never changed; revoke it and make another")]
    WriteOnce(Collection),
    /// A grant or a revocation that says nothing.
    #[error(transparent)]
    Consent(#[from] BadConsent),
    /// An actor that no device may use.
    #[error("the actor is reserved; draw one at random")]
    ReservedActor,
}

/// Checks what one change of the document `doc_id` shows by itself.
///
/// # Errors
/// [`BadContent`] with the first thing that is wrong.
pub fn check_change(collection: Collection, doc_id: DocId, read: &ReadChange) -> Result<(), BadContent> {
    let shape = tables::shape(collection).ok_or(BadContent::NotServed(collection))?;
    let facts = &read.facts;
    if collection.is_write_once() && (doc_id.is_derived() || !facts.deps.is_empty()) {
        return Err(BadContent::WriteOnce(collection));
    }
    if facts.actor == GENESIS_ACTOR {
        let exact =
            doc_id.is_derived() && genesis_of(collection).is_some_and(|genesis| genesis.payload == read.payload());
        return if exact { Ok(()) } else { Err(BadContent::Genesis) };
    }
    if ids::import_version(doc_id, facts.actor).is_some() {
        return import(shape, read);
    }
    if ids::is_reserved(facts.actor) {
        return Err(BadContent::ReservedActor);
    }
    let first = facts.deps.is_empty();
    if first && doc_id.is_derived() {
        return Err(BadContent::Genesis);
    }
    if first && facts.actor_seq != 1 {
        return Err(BadContent::NotFirst);
    }
    if first {
        all_containers(shape, read.operations())?;
    }
    let mut prose = 0;
    for op in read.operations() {
        operation(shape, op, first, &mut prose)?;
    }
    if collection == Collection::Grants {
        Consent::of_change(read)?;
    }
    Ok(())
}

fn import(shape: &Shape, read: &ReadChange) -> Result<(), BadContent> {
    let facts = &read.facts;
    let genesis = genesis_of(shape.collection).ok_or(BadContent::Import)?;
    let on_top = facts.actor_seq == 1 && facts.time_ms == 0 && facts.deps == [genesis.hash] && !read.has_extras();
    let form = |op: &Op| match (&op.obj, &op.key, &op.action) {
        (ObjectId::Root, Key::Map(key), OpType::Put(_)) => may_import(key) && !op.insert && op.pred.is_empty(),
        _ => false,
    };
    if !on_top || !read.operations().iter().all(form) {
        return Err(BadContent::Import);
    }
    read.operations().iter().try_for_each(|op| operation(shape, op, false, &mut 0))
}

fn all_containers(shape: &Shape, operations: &[Op]) -> Result<(), BadContent> {
    let makes = |member: &Member| {
        let here = |op: &&Op| op.obj == ObjectId::Root && matches!(&op.key, Key::Map(key) if key == member.name());
        let mut at_key = operations.iter().filter(here);
        at_key.next().is_some_and(|op| op.action == OpType::Make(container_kind(member))) && at_key.next().is_none()
    };
    let missing = shape.containers().find(|member| !makes(member));
    missing.map_or(Ok(()), |member| Err(BadContent::Container { key: member.name() }))
}

fn operation(shape: &Shape, op: &Op, first: bool, prose: &mut usize) -> Result<(), BadContent> {
    let Key::Map(key) = &op.key else {
        return element(op, prose);
    };
    if op.insert || key.is_empty() || key.len() > NAME_BYTES {
        return Err(BadContent::Unknown);
    }
    // Ids of items and rows, tags and the keys of unknown fields are shown, too.
    storable(key)?;
    let at_root = op.obj == ObjectId::Root;
    let known = if at_root { shape.at_root(key) } else { shape.in_item(key) };
    match (&op.action, known) {
        (OpType::Make(ObjType::Table), _) => Err(BadContent::Unknown),
        (OpType::Make(_), _) if at_root && !first => Err(BadContent::LateContainer),
        (OpType::Make(kind), Known::Container) => made(shape, key, at_root, *kind),
        (OpType::Make(_), Known::Register(rule)) => Err(value(key, rule)),
        (OpType::Put(_) | OpType::Delete | OpType::Increment(_), Known::Container) => Err(container(shape, key)),
        // A tag may be any word, also one that is a field elsewhere.
        (OpType::Put(ScalarValue::Boolean(true)), _) if !at_root && shape.has_tags() => Ok(()),
        (OpType::Put(scalar), Known::Register(rule)) => {
            if rule.admits(scalar) {
                Ok(())
            } else {
                Err(value(key, rule))
            }
        }
        (OpType::Increment(_), Known::Register(rule)) => Err(value(key, rule)),
        (OpType::Put(scalar), Known::Nothing) => bounded(scalar),
        (OpType::Make(_) | OpType::Delete | OpType::Increment(_), _) => Ok(()),
        (OpType::MarkBegin(_) | OpType::MarkEnd(_), _) => Err(BadContent::Unknown),
    }
}

/// An element of a text, or of a list that this version does not know.
fn element(op: &Op, prose: &mut usize) -> Result<(), BadContent> {
    match &op.action {
        OpType::Put(ScalarValue::Str(text)) => {
            storable(text)?;
            *prose += text.len();
            if *prose <= PROSE_BYTES { Ok(()) } else { Err(BadContent::Unknown) }
        }
        OpType::Put(scalar) => bounded(scalar),
        OpType::MarkBegin(mark) if mark.name.len() <= NAME_BYTES => bounded(&mark.value),
        OpType::MarkBegin(_) | OpType::Make(ObjType::Table) => Err(BadContent::Unknown),
        OpType::Make(_) | OpType::Delete | OpType::Increment(_) | OpType::MarkEnd(_) => Ok(()),
    }
}

fn made(shape: &Shape, key: &str, at_root: bool, kind: ObjType) -> Result<(), BadContent> {
    // Below the root every container of the tables is a map.
    let expected =
        shape.containers().find(|member| at_root && member.name() == key).map_or(ObjType::Map, container_kind);
    if kind == expected { Ok(()) } else { Err(container(shape, key)) }
}

/// What a member's container is in the document.
pub(super) fn container_kind(member: &Member) -> ObjType {
    if matches!(member, Member::Text(..)) { ObjType::Text } else { ObjType::Map }
}

fn storable(text: &str) -> Result<(), BadContent> {
    if text.contains(FORBIDDEN) { Err(BadContent::ForbiddenCharacter) } else { Ok(()) }
}

fn bounded(scalar: &ScalarValue) -> Result<(), BadContent> {
    if let ScalarValue::Str(text) = scalar {
        storable(text)?;
    }
    let within = match scalar {
        ScalarValue::Str(text) => text.len() <= PROSE_BYTES,
        ScalarValue::Bytes(bytes) | ScalarValue::Unknown { bytes, .. } => bytes.len() <= PROSE_BYTES,
        ScalarValue::F64(value) => value.is_finite(),
        _ => true,
    };
    if within { Ok(()) } else { Err(BadContent::Unknown) }
}

fn value(key: &str, rule: Rule) -> BadContent {
    let leaf = key.rsplit('/').next().unwrap_or(key);
    BadContent::Value { key: leaf.to_owned(), expected: rule.to_string() }
}

fn container(shape: &Shape, key: &str) -> BadContent {
    fn find(members: &'static [Member], key: &str) -> Option<&'static str> {
        let inside = |member: &'static Member| match member {
            Member::Items(_, inside, _) => find(inside, key),
            _ => None,
        };
        members.iter().find_map(|member| if member.name() == key { Some(member.name()) } else { inside(member) })
    }
    BadContent::Container { key: find(shape.members, key).unwrap_or("an item") }
}
