//! A document's maps as they count: one value a key, also where several devices set it at the same time.

use std::collections::BTreeMap;
use std::ops::Bound;

use automerge::{ObjId, ObjType, ReadDoc, ScalarValue, Value};

use super::ids;

/// What lies at a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Scalar(ScalarValue),
    Object(ObjType, ObjId),
}

impl Cell {
    pub fn scalar(&self) -> Option<&ScalarValue> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            Self::Object(..) => None,
        }
    }

    pub fn object(&self, kind: ObjType) -> Option<&ObjId> {
        match self {
            Self::Object(is, id) if *is == kind => Some(id),
            _ => None,
        }
    }
}

fn cell(value: Value<'_>, id: ObjId) -> Cell {
    match value {
        Value::Object(kind) => Cell::Object(kind, id),
        Value::Scalar(scalar) => Cell::Scalar(scalar.into_owned()),
    }
}

/// One map of a document: the key and what counts at it.
pub(super) type Level = BTreeMap<String, Cell>;

/// Reads the map `object`.
pub(super) fn level(doc: &impl ReadDoc, object: &ObjId) -> Level {
    let items = doc.map_range(object, ..);
    let cells = items.map(|item| {
        let winner = || cell(item.value.clone().into_value(), item.id());
        let cell = if item.conflict { settled(doc, object, &item.key).unwrap_or_else(winner) } else { winner() };
        (item.key.to_string(), cell)
    });
    cells.collect()
}

/// The keys of `level` that begin with `name/`.
pub(super) fn below<'a>(level: &'a Level, name: &str) -> impl Iterator<Item = (&'a str, &'a Cell)> {
    // '0' is the character after '/'.
    let (from, to) = (format!("{name}/"), format!("{name}0"));
    let length = from.len();
    let range = level.range::<str, _>((Bound::Included(from.as_str()), Bound::Excluded(to.as_str())));
    range.map(move |(key, cell)| (&key[length..], cell)).collect::<Vec<_>>().into_iter()
}

/// One of the values that a key has at the same time.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub cell: Cell,
    /// The operation that set it.
    pub by: ObjId,
}

impl Setting {
    fn importer(&self) -> Option<u16> {
        match &self.by {
            ObjId::Id(_, actor, _) => ids::imported(actor.to_bytes()),
            ObjId::Root => None,
        }
    }
}

/// The values at a key that count against each other, automerge's winner last.
///
/// What an importer read is no person's word: it gives way to what any device set, and an older importer gives way to
/// a newer one. automerge alone would let an import with many fields win over an edit of an import with few, because
/// its operations have higher numbers.
pub(super) fn settings(doc: &impl ReadDoc, object: &ObjId, key: &str) -> Vec<Setting> {
    let all = doc.get_all(object, key).unwrap_or_default();
    let mut settings: Vec<_> =
        all.into_iter().map(|(value, id)| Setting { cell: cell(value, id.clone()), by: id }).collect();
    if settings.iter().any(|setting| setting.importer().is_none()) {
        settings.retain(|setting| setting.importer().is_none());
    } else {
        let newest = settings.iter().filter_map(Setting::importer).max();
        settings.retain(|setting| setting.importer() == newest);
    }
    settings
}

/// The value that counts at a key with several.
fn settled(doc: &impl ReadDoc, object: &ObjId, key: &str) -> Option<Cell> {
    settings(doc, object, key).pop().map(|setting| setting.cell)
}
