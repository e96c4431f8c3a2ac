//! What only a whole record shows: missing fields and fields that do not go together. A local write that adds such a
//! problem is refused; where merging made one, the projection flags it.

use automerge::{ObjType, ReadDoc, ScalarValue};

use crate::collection::Collection;

use super::grant::{Consent, Grant};
use super::invalid::Invalid;
use super::json::{Detail, Reader};
use super::read::{self, Cell, Level};
use super::shape::{Field, Member, Need, Shape};

/// The problems of the record whose root is `root`.
pub(super) fn problems(shape: &Shape, doc: &impl ReadDoc, root: &Level) -> Vec<Invalid> {
    let mut found = Vec::new();
    for member in shape.members {
        match member {
            Member::Field(field) => missing(field, field.name, field.name, root, &mut found),
            Member::Group(name, fields, _) if has_any(root, name) => {
                for field in *fields {
                    missing(
                        field,
                        &format!("{name}/{}", field.name),
                        &format!("{name}.{}", field.name),
                        root,
                        &mut found,
                    );
                }
            }
            _ => {}
        }
    }
    match shape.collection {
        Collection::Workouts => workout(doc, root, &mut found),
        Collection::Measurements => measurement(shape, root, &mut found),
        Collection::Grants => found.extend(consent(shape, doc, root)),
        _ => {}
    }
    found
}

fn missing(field: &Field, key: &str, path: &str, root: &Level, found: &mut Vec<Invalid>) {
    if field.need == Need::Required && !root.contains_key(key) {
        found.push(Invalid::field(path, format!("is missing; it must be {}", field.rule)));
    }
}

fn has_any(root: &Level, name: &str) -> bool {
    read::below(root, name).next().is_some()
}

fn workout(doc: &impl ReadDoc, root: &Level, found: &mut Vec<Invalid>) {
    let time = |key| match root.get(key) {
        Some(Cell::Scalar(ScalarValue::Timestamp(ms))) => Some(*ms),
        _ => None,
    };
    if time("start").zip(time("end")).is_some_and(|(start, end)| end < start) {
        found.push(Invalid::field("end", "must not be before start"));
    }
    let exercises = root.get("exercises").and_then(|cell| cell.object(ObjType::Map));
    let strength = exercises.is_some_and(|exercises| doc.length(exercises) > 0);
    if strength && (has_any(root, "endurance") || has_any(root, "laps")) {
        found.push(Invalid::record("a workout has either exercises or endurance and laps, not both"));
    }
}

fn measurement(shape: &Shape, root: &Level, found: &mut Vec<Invalid>) {
    let values = || shape.members.iter().map(Member::name).filter(|name| !matches!(*name, "at" | "zone"));
    if !values().any(|name| root.contains_key(name) || has_any(root, name)) {
        let names = values().collect::<Vec<_>>().join(", ");
        found.push(Invalid::record(format!("a measurement has at least one of {names}")));
    }
}

fn consent(shape: &Shape, doc: &impl ReadDoc, root: &Level) -> Option<Invalid> {
    let record = Reader::new(doc, Detail::Shown).members(shape.members, root, "");
    let grant = serde_json::from_value::<Grant>(record.into()).ok()?;
    Consent::of(&grant).err().map(|bad| Invalid::record(bad.to_string()))
}
