//! The changes of a document, each with the fields it touched.

use std::collections::{BTreeSet, HashMap};

use automerge::legacy::{Key, ObjectId, Op, OpId, OpType};
use automerge::{Automerge, ExpandedChange, ScalarValue};

use super::shape::TRASHED;
use crate::id::{ActorId, ChangeHash};
use crate::merge::{self, MergeError};

/// Bytes of a path. Those of the tables have far fewer; what lies deeper than that is not named.
const PATH_BYTES: usize = 1 << 10;

/// One change of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryItem {
    /// Names the change, and the state right after it.
    pub hash: ChangeHash,
    /// Who made it.
    pub actor: ActorId,
    /// Which change of that writer, from 1.
    pub actor_seq: u64,
    /// Milliseconds since 1970 UTC by the clock of who made it; 0 for what no person wrote.
    pub time_ms: i64,
    /// How many operations it holds.
    pub operations: u64,
    /// What it touched, as a patch names it: `title`, `exercises.3fk20c9x` for a new item, `exercises.3fk20c9x.name`.
    pub fields: Vec<String>,
    /// Whether it moved the record to the trash, or took it out.
    pub trashed: Option<bool>,
}

/// The changes of `doc`, each after those it builds on.
///
/// # Errors
/// [`MergeError`] where the merge library cannot take the document apart again.
pub fn history(doc: &Automerge) -> Result<Vec<HistoryItem>, MergeError> {
    let mut paths = HashMap::new();
    let items = merge::changes(doc)?.into_iter().filter_map(|change| {
        let expanded = change.decode();
        let fields = fields(&expanded, &mut paths);
        Some(HistoryItem {
            hash: ChangeHash(change.hash().0),
            actor: ActorId::from_slice(change.actor_id().to_bytes())?,
            actor_seq: change.seq(),
            time_ms: change.timestamp(),
            operations: change.len() as u64,
            fields,
            trashed: expanded.operations.iter().rev().find_map(trashed),
        })
    });
    Ok(items.collect())
}

fn fields(change: &ExpandedChange, paths: &mut HashMap<OpId, String>) -> Vec<String> {
    let mut touched = BTreeSet::new();
    let mut made_here: BTreeSet<String> = BTreeSet::new();
    for (counter, op) in (change.start_op.get()..).zip(&change.operations) {
        let Some(path) = path(op, paths).filter(|path| path.len() <= PATH_BYTES) else { continue };
        let inside_new = path.match_indices('.').any(|(at, _)| made_here.contains(&path[..at]));
        if matches!(op.action, OpType::Make(_)) {
            paths.insert(OpId(counter, change.actor_id.clone()), path.clone());
            // The containers of a new document hold nothing yet.
            if op.obj == ObjectId::Root {
                continue;
            }
            made_here.insert(path.clone());
        }
        if !inside_new {
            touched.insert(path);
        }
    }
    touched.into_iter().collect()
}

/// What an operation says of the trash.
fn trashed(op: &Op) -> Option<bool> {
    match (&op.obj, &op.key, &op.action) {
        (ObjectId::Root, Key::Map(key), OpType::Put(ScalarValue::Boolean(trashed))) if key == TRASHED => Some(*trashed),
        _ => None,
    }
}

/// The path of what an operation sets; an element of a text is the text.
fn path(op: &Op, paths: &HashMap<OpId, String>) -> Option<String> {
    match (&op.obj, &op.key) {
        // Where a zone comes from is a matter of keys; a person knows one zone.
        (ObjectId::Root, Key::Map(key)) if matches!(key.as_str(), "zone_file" | "zone_guess") => {
            Some("zone".to_owned())
        }
        (ObjectId::Root, Key::Map(key)) => Some(key.replace('/', ".")),
        (ObjectId::Root, Key::Seq(_)) => None,
        (ObjectId::Id(object), Key::Map(key)) => Some(format!("{}.{key}", paths.get(object)?)),
        (ObjectId::Id(object), Key::Seq(_)) => paths.get(object).cloned(),
    }
}
