//! Fields that two devices set differently without having seen each other.

use automerge::{Automerge, ObjId, ObjType, ReadDoc};
use serde_json::Value;

use crate::collection::Collection;
use crate::id::ActorId;

use super::read::{self, Cell, Setting};
use super::rule;
use super::shape::{Known, POSITION, Shape, ZONE_GUESS};
use super::tables;

/// Maps within maps that are looked into. No table nests as deep; what a change may nest deeper ends no device.
const LEVELS: usize = 16;

/// A field with several values, the shown one last.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Such as `title` or `exercises.3fk20c9x.name`, as a patch names it.
    pub field: String,
    /// What each device set.
    pub values: Vec<ConflictValue>,
}

/// One of the values of a field in conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictValue {
    /// The value as it would be in the record.
    pub value: Value,
    /// Who set it.
    pub actor: ActorId,
    /// When, in milliseconds since 1970 UTC by the clock of who set it.
    pub time_ms: i64,
}

/// The fields in conflict. Equal values are none, an importer's value never is, and neither is an item's position.
pub fn conflicts(doc: &Automerge, collection: Collection) -> Vec<Conflict> {
    let mut found = Vec::new();
    if let Some(shape) = tables::shape(collection) {
        Search { doc, shape }.map(&ObjId::Root, "", LEVELS, &mut found);
    }
    found
}

struct Search<'a> {
    doc: &'a Automerge,
    shape: &'static Shape,
}

impl Search<'_> {
    fn map(&self, object: &ObjId, path: &str, levels: usize, found: &mut Vec<Conflict>) {
        let Some(levels) = levels.checked_sub(1) else { return };
        for item in self.doc.map_range(object, ..) {
            let at_root = *object == ObjId::Root;
            let path = if at_root { item.key.replace('/', ".") } else { format!("{path}.{}", item.key) };
            if item.value.clone().into_value().to_objtype() == Some(ObjType::Map) {
                self.map(&item.id(), &path, levels, found);
            } else if item.conflict && item.key != if at_root { ZONE_GUESS } else { POSITION } {
                let known = if at_root { self.shape.at_root(&item.key) } else { self.shape.in_item(&item.key) };
                found.extend(self.conflict(object, &item.key, known, path));
            }
        }
    }

    fn conflict(&self, object: &ObjId, key: &str, known: Known, field: String) -> Option<Conflict> {
        let settings = read::settings(self.doc, object, key);
        let differ = settings.iter().any(|setting| setting.cell != settings[0].cell);
        let values = settings.iter().filter_map(|setting| self.value(setting, known)).collect();
        differ.then_some(Conflict { field, values })
    }

    fn value(&self, setting: &Setting, known: Known) -> Option<ConflictValue> {
        let Cell::Scalar(scalar) = &setting.cell else {
            return None;
        };
        let shown = match known {
            Known::Register(rule) => rule.show(scalar),
            _ => rule::show_unknown(scalar),
        };
        let hash = self.doc.hash_for_opid(&setting.by)?;
        let meta = self.doc.get_change_meta_by_hash(&hash)?;
        let actor = ActorId::from_slice(meta.actor.to_bytes())?;
        Some(ConflictValue { value: shown.unwrap_or_default(), actor, time_ms: meta.timestamp })
    }
}
