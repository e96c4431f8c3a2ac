//! An earlier state of a record, as the patch that returns to it.

use automerge::{Automerge, ObjId};
use serde_json::{Map, Value};

use super::json::{Detail, Reader};
use super::read;
use super::shape::{Field, ID, Member, POSITION, Shape};

type Object = Map<String, Value>;

/// The patch that makes the record of `now` what it is in `then`: every field of the table with its value or null,
/// every item under its id.
pub(super) fn patch(shape: &Shape, then: &Automerge, now: &Automerge) -> Value {
    let record =
        |doc: &Automerge| Reader::new(doc, Detail::Full).members(shape.members, &read::level(doc, &ObjId::Root), "");
    Value::Object(members(shape.members, &record(then), &record(now)))
}

fn members(table: &[Member], then: &Object, now: &Object) -> Object {
    let name = |member: &Member| member.name().to_owned();
    table
        .iter()
        .map(|member| (name(member), complete(member, then.get(member.name()), now.get(member.name()))))
        .collect()
}

fn complete(member: &Member, then: Option<&Value>, now: Option<&Value>) -> Value {
    match member {
        Member::Field(_) | Member::Tags(..) | Member::Text(..) => then.cloned().unwrap_or_default(),
        Member::Group(_, fields, _) => registers(fields, then.and_then(Value::as_object)),
        Member::Rows(_, fields, _) => by_id(then, now, |row, _| registers(fields, Some(row))),
        Member::Items(_, inside, _) => by_id(then, now, |item, now| {
            let mut item_patch = members(inside, item, now.unwrap_or(&Object::new()));
            item_patch.extend(item.get(POSITION).map(|position| (POSITION.to_owned(), position.clone())));
            Value::Object(item_patch)
        }),
    }
}

fn registers(fields: &[Field], then: Option<&Object>) -> Value {
    let value = |field: &Field| then.and_then(|then| then.get(field.name)).cloned().unwrap_or_default();
    fields.iter().map(|field| (field.name.to_owned(), value(field))).collect::<Object>().into()
}

/// What was there under its id; what is there only now becomes null.
fn by_id(then: Option<&Value>, now: Option<&Value>, patch: impl Fn(&Object, Option<&Object>) -> Value) -> Value {
    let now: Vec<_> = elements(now).collect();
    let mut all: Object = now.iter().map(|(id, _)| ((*id).to_owned(), Value::Null)).collect();
    for (id, element) in elements(then) {
        let same = now.iter().find(|(other, _)| *other == id).map(|(_, element)| *element);
        all.insert(id.to_owned(), patch(element, same));
    }
    Value::Object(all)
}

fn elements(list: Option<&Value>) -> impl Iterator<Item = (&str, &Object)> {
    let elements = list.and_then(Value::as_array).into_iter().flatten();
    elements.filter_map(|element| Some((element.get(ID)?.as_str()?, element.as_object()?)))
}
