//! What readers see of a document: a pure function of the document and [`PROJECTION_VERSION`], so that every replica
//! with the same changes shows the same record.

use automerge::{Automerge, ObjId, ScalarValue};
use serde_json::{Map, Value};

use crate::collection::Collection;

use super::columns::columns;
use super::json::{Detail, Reader};
use super::problems::problems;
use super::read::{self, Cell, Level};
use super::rule;
use super::shape::{Known, Shape, TRASHED, ZONE_FILE, ZONE_GUESS};
use super::tables;

/// Raised with every change of what [`project`] makes of the same document.
pub const PROJECTION_VERSION: i32 = 1;

/// What readers see of one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// When it happened, in milliseconds since 1970 UTC; None for the profile and where the time is missing.
    pub at: Option<i64>,
    /// Whether it lies in the trash.
    pub trashed: bool,
    /// A small object with what a list shows.
    pub columns: Value,
    /// The whole record, with scalars of fields unknown to this version under `extra`.
    pub record: Value,
    /// What is wrong with the merged record, each a sentence; the record stays readable.
    pub flags: Vec<String>,
}

/// The projection of `doc`; empty for a collection that this version does not serve.
pub fn project(doc: &Automerge, collection: Collection) -> Projection {
    let Some(shape) = tables::shape(collection) else {
        return Projection {
            at: None,
            trashed: false,
            columns: Value::Object(Map::new()),
            record: Value::Object(Map::new()),
            flags: Vec::new(),
        };
    };
    let root = read::level(doc, &ObjId::Root);
    let reader = Reader::new(doc, Detail::Shown);
    let mut record = reader.members(shape.members, &root, "");
    zone(&root, &mut record);
    let extra = extra(shape, &root);
    if !extra.is_empty() {
        record.insert("extra".to_owned(), Value::Object(extra));
    }
    for problem in problems(shape, doc, &root) {
        reader.flag(problem.to_string());
    }
    Projection {
        at: shape.at.and_then(|key| time(&root, key)),
        trashed: root.get(TRASHED) == Some(&Cell::Scalar(ScalarValue::Boolean(true))),
        columns: columns(collection, &record),
        record: Value::Object(record),
        flags: reader.into_flags(),
    }
}

fn time(root: &Level, key: &str) -> Option<i64> {
    match root.get(key)? {
        Cell::Scalar(ScalarValue::Timestamp(ms)) => Some(*ms),
        _ => None,
    }
}

/// An imported workout may know three zones: what the person said counts, then what the file says, then the guess of
/// the device that imported it.
fn zone(root: &Level, record: &mut Map<String, Value>) {
    let imported = [ZONE_FILE, ZONE_GUESS].iter().any(|key| root.contains_key(*key));
    if !imported {
        return;
    }
    let sources = [("zone", "person"), (ZONE_FILE, "file"), (ZONE_GUESS, "device")];
    let found = sources.iter().find_map(|(key, from)| match root.get(*key)? {
        Cell::Scalar(ScalarValue::Str(zone)) => Some((zone.as_str(), *from)),
        _ => None,
    });
    if let Some((zone, from)) = found {
        record.insert("zone".to_owned(), zone.into());
        record.insert("zone_from".to_owned(), from.into());
    }
}

/// The scalars that a newer version wrote: kept and shown, by key.
fn extra(shape: &Shape, root: &Level) -> Map<String, Value> {
    let unknown = root.iter().filter(|(key, _)| shape.at_root(key) == Known::Nothing);
    unknown.filter_map(|(key, cell)| Some((key.clone(), rule::show_unknown(cell.scalar()?)?))).collect()
}
