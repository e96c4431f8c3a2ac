//! A patch in JSON, checked against the shape, as the steps that a document takes. Nothing is written while anything in
//! the patch is wrong.

use automerge::ScalarValue;
use serde_json::{Map, Value};

use super::ids;
use super::invalid::Invalid;
use super::rule::FORBIDDEN;
use super::shape::{Field, ID, Member, Need, POSITION, Shape, ZONE_GUESS};
use crate::limits::{LIST_ITEMS, NAME_BYTES};

/// What the patch is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The content of a new record: items may bring their ids.
    Create,
    /// A person's edit: an item's id names one that is there.
    Edit,
    /// An earlier state to return to: what is gone comes back under its id, internal fields included.
    Restore,
}

/// One thing to do in a document.
#[derive(Debug)]
pub(super) enum Step {
    /// Give a register a value, or remove it.
    Register { key: String, value: Option<ScalarValue> },
    /// Change rows at flat keys.
    Rows { name: &'static str, rows: RowsStep },
    /// Change the items of a container.
    Items { name: &'static str, members: &'static [Member], items: ItemsStep },
    /// Change a set of tags.
    Tags { name: &'static str, tags: TagsStep },
    /// Make the text this one.
    Text { name: &'static str, text: String },
}

/// What happens to rows.
#[derive(Debug)]
pub(super) enum RowsStep {
    Clear,
    Each(Vec<Row>),
}

#[derive(Debug)]
pub(super) struct Row {
    pub id: Option<String>,
    pub path: String,
    /// None removes the row.
    pub registers: Option<Vec<(&'static str, Option<ScalarValue>)>>,
}

/// What happens to items.
#[derive(Debug)]
pub(super) enum ItemsStep {
    Clear,
    Each(Vec<Item>),
}

#[derive(Debug)]
pub(super) struct Item {
    pub id: Option<String>,
    pub path: String,
    /// None removes the item.
    pub steps: Option<Vec<Step>>,
    pub place: Option<Place>,
}

/// Where an item goes among its siblings.
#[derive(Debug)]
pub(super) enum Place {
    First,
    After(String),
    At(String),
}

/// What happens to tags.
#[derive(Debug)]
pub(super) enum TagsStep {
    Whole(Vec<String>),
    Each(Vec<(String, bool)>),
}

/// Derived from what is stored: in a record's JSON to be read, ignored when it comes back.
const READ_ONLY: [&str; 2] = ["zone_from", "extra"];
/// In an item's patch: the id of the sibling it goes behind, null for the first place.
const AFTER: &str = "after";

pub(super) fn plan(shape: &Shape, patch: &Value, purpose: Purpose) -> Result<Vec<Step>, Invalid> {
    let object = patch
        .as_object()
        .ok_or_else(|| Invalid::record(format!("a record of {} is a JSON object with its fields", shape.collection)))?;
    Planner { purpose }.members(shape.members, object, "", &READ_ONLY)
}

struct Planner {
    purpose: Purpose,
}

type Object = Map<String, Value>;

impl Planner {
    /// In the order of the table, whatever the order in the patch: the same content makes the same change.
    fn members(
        &self,
        members: &'static [Member],
        patch: &Object,
        path: &str,
        besides: &[&str],
    ) -> Result<Vec<Step>, Invalid> {
        for key in patch.keys() {
            let known = members.iter().any(|member| member.name() == key && self.may_write(member));
            if !known && !besides.contains(&key.as_str()) {
                return Err(unknown(
                    &join(path, key),
                    members.iter().filter(|member| self.may_write(member)).map(Member::name),
                ));
            }
        }
        let mut steps = Vec::new();
        for member in members {
            if let Some(value) = patch.get(member.name()) {
                self.member(member, value, &join(path, member.name()), &mut steps)?;
            }
        }
        Ok(steps)
    }

    fn may_write(&self, member: &Member) -> bool {
        // The importing device's guess comes as an ordinary edit, what the file says with the import alone.
        let guess = self.purpose == Purpose::Edit && member.name() == ZONE_GUESS;
        member.is_shown() || guess || self.purpose == Purpose::Restore
    }

    fn member(&self, member: &'static Member, value: &Value, path: &str, steps: &mut Vec<Step>) -> Result<(), Invalid> {
        match member {
            Member::Field(field) => {
                steps.push(Step::Register { key: field.name.to_owned(), value: register(field, value, path)? })
            }
            Member::Group(name, fields, _) => self.group(name, fields, value, path, steps)?,
            Member::Rows(name, fields, _) => steps.push(Step::Rows { name, rows: self.rows(fields, value, path)? }),
            Member::Items(name, members, _) => {
                steps.push(Step::Items { name, members, items: self.items(members, value, path)? })
            }
            Member::Tags(name, _) => steps.push(Step::Tags { name, tags: tags(value, path)? }),
            Member::Text(name, max, _) => steps.push(Step::Text { name, text: text(*max, value, path)? }),
        }
        Ok(())
    }

    fn group(
        &self,
        name: &str,
        fields: &'static [Field],
        value: &Value,
        path: &str,
        steps: &mut Vec<Step>,
    ) -> Result<(), Invalid> {
        for (leaf, value) in registers(fields, value, path)? {
            steps.push(Step::Register { key: format!("{name}/{leaf}"), value });
        }
        Ok(())
    }

    fn rows(&self, fields: &'static [Field], value: &Value, path: &str) -> Result<RowsStep, Invalid> {
        let row = |id: Option<&str>, value: &Value, path: String| -> Result<Row, Invalid> {
            let id = id.map(|id| known_form(id, ids::is_row_id, &path)).transpose()?;
            let registers =
                if value.is_null() { None } else { Some(registers(fields, &without(value, &[ID]), &path)?) };
            Ok(Row { id, path, registers })
        };
        let elements = elements(value, path, row)?;
        Ok(elements.map_or(RowsStep::Clear, RowsStep::Each))
    }

    fn items(&self, members: &'static [Member], value: &Value, path: &str) -> Result<ItemsStep, Invalid> {
        let item = |id: Option<&str>, value: &Value, path: String| -> Result<Item, Invalid> {
            let id = id.map(|id| known_form(id, ids::is_item_id, &path)).transpose()?;
            self.item(members, id, value, path)
        };
        let elements = elements(value, path, item)?;
        Ok(elements.map_or(ItemsStep::Clear, ItemsStep::Each))
    }

    fn item(
        &self,
        members: &'static [Member],
        id: Option<String>,
        value: &Value,
        path: String,
    ) -> Result<Item, Invalid> {
        if value.is_null() {
            return Ok(Item { id, path, steps: None, place: None });
        }
        let object =
            value.as_object().ok_or_else(|| Invalid::value(&path, &"an object with the item's fields", value))?;
        let place = self.place(object, &path)?;
        let besides: &[&str] = if self.purpose == Purpose::Restore { &[ID, POSITION] } else { &[ID, AFTER] };
        let steps = self.members(members, object, &path, besides)?;
        let is_new = id.is_none() || self.purpose == Purpose::Create;
        for field in required(members) {
            let join = || join(&path, field.name);
            match object.get(field.name) {
                None if is_new => return Err(Invalid::field(join(), format!("is missing; it must be {}", field.rule))),
                Some(Value::Null) if self.purpose != Purpose::Restore => {
                    return Err(Invalid::field(join(), format!("cannot be removed; it must be {}", field.rule)));
                }
                _ => {}
            }
        }
        Ok(Item { id, path, steps: Some(steps), place })
    }

    fn place(&self, object: &Object, path: &str) -> Result<Option<Place>, Invalid> {
        if self.purpose == Purpose::Restore {
            return Ok(object.get(POSITION).and_then(Value::as_str).map(|position| Place::At(position.to_owned())));
        }
        match object.get(AFTER) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(Place::First)),
            Some(Value::String(id)) => Ok(Some(Place::After(id.clone()))),
            Some(other) => {
                Err(Invalid::value(&join(path, AFTER), &"the id of another item, or null for the first place", other))
            }
        }
    }
}

/// The elements of a list in a patch: an array of objects, each with or without an `id`, or an object of ids, where
/// null removes; None for null, which removes all.
fn elements<T>(
    value: &Value,
    path: &str,
    element: impl Fn(Option<&str>, &Value, String) -> Result<T, Invalid>,
) -> Result<Option<Vec<T>>, Invalid> {
    let length = value.as_array().map_or_else(|| value.as_object().map_or(0, Map::len), Vec::len);
    if length > LIST_ITEMS {
        return Err(Invalid::field(path, format!("has {length} items and may have {LIST_ITEMS}")));
    }
    match value {
        Value::Null => Ok(None),
        Value::Array(array) => {
            let each = array.iter().enumerate().map(|(index, value)| {
                let path = format!("{path}[{index}]");
                let object = value.as_object().ok_or_else(|| Invalid::value(&path, &"an object", value))?;
                let id = match object.get(ID) {
                    None | Some(Value::Null) => None,
                    Some(Value::String(id)) => Some(id.as_str()),
                    Some(other) => return Err(Invalid::value(&join(&path, ID), &"an item's id", other)),
                };
                element(id, value, path)
            });
            each.collect::<Result<_, _>>().map(Some)
        }
        Value::Object(object) => {
            let each = object.iter().map(|(id, value)| element(Some(id), value, join(path, id)));
            each.collect::<Result<_, _>>().map(Some)
        }
        other => Err(Invalid::value(path, &"an array of items, or an object of ids", other)),
    }
}

fn known_form(id: &str, is_id: impl Fn(&str) -> bool, path: &str) -> Result<String, Invalid> {
    if is_id(id) {
        Ok(id.to_owned())
    } else {
        Err(Invalid::field(join(path, ID), format!("\"{id}\" is not an item's id; leave it out for a new item")))
    }
}

fn register(field: &Field, value: &Value, path: &str) -> Result<Option<ScalarValue>, Invalid> {
    if value.is_null() {
        return Ok(None);
    }
    field.rule.parse(value).map(Some).ok_or_else(|| Invalid::value(path, &field.rule, value))
}

/// The registers of a group or a row; null removes all of them.
fn registers(
    fields: &'static [Field],
    value: &Value,
    path: &str,
) -> Result<Vec<(&'static str, Option<ScalarValue>)>, Invalid> {
    let object = match value {
        Value::Null => return Ok(fields.iter().map(|field| (field.name, None)).collect()),
        Value::Object(object) => object,
        other => return Err(Invalid::value(path, &"an object", other)),
    };
    if let Some(key) = object.keys().find(|key| !fields.iter().any(|field| field.name == *key)) {
        return Err(unknown(&join(path, key), fields.iter().map(|field| field.name)));
    }
    let given = fields.iter().filter_map(|field| object.get(field.name).map(|value| (field, value)));
    given.map(|(field, value)| Ok((field.name, register(field, value, &join(path, field.name))?))).collect()
}

fn tags(value: &Value, path: &str) -> Result<TagsStep, Invalid> {
    let tag = |tag: &str| {
        let given = Value::from(tag);
        if super::rule::is_name(tag, NAME_BYTES) {
            Ok(tag.to_owned())
        } else {
            Err(Invalid::value(path, &super::shape::Rule::Name(NAME_BYTES), &given))
        }
    };
    match value {
        Value::Null => Ok(TagsStep::Whole(Vec::new())),
        Value::Array(array) if array.len() <= LIST_ITEMS => {
            let texts = array
                .iter()
                .map(|value| value.as_str().ok_or_else(|| Invalid::value(path, &"an array of texts", value)));
            texts.map(|text| tag(text?)).collect::<Result<_, _>>().map(TagsStep::Whole)
        }
        Value::Object(object) if object.len() <= LIST_ITEMS => {
            let each = object.iter().map(|(text, value)| match value {
                Value::Bool(present) => Ok((tag(text)?, *present)),
                other => Err(Invalid::value(&join(path, text), &"true or false", other)),
            });
            each.collect::<Result<_, _>>().map(TagsStep::Each)
        }
        other => Err(Invalid::value(
            path,
            &format_args!("an array of at most {LIST_ITEMS} texts, or an object of texts to true or false"),
            other,
        )),
    }
}

fn text(max: usize, value: &Value, path: &str) -> Result<String, Invalid> {
    let text = match value {
        Value::Null => "",
        Value::String(text) => text,
        other => return Err(Invalid::value(path, &"a text", other)),
    };
    if text.len() > max {
        return Err(Invalid::field(path, format!("has {} bytes and may have {max}", text.len())));
    }
    if text.contains(FORBIDDEN) {
        return Err(Invalid::field(path, "holds the character U+0000, which cannot be stored: take it out"));
    }
    Ok(text.to_owned())
}

fn required(members: &'static [Member]) -> impl Iterator<Item = &'static Field> {
    members.iter().filter_map(|member| match member {
        Member::Field(field) if field.need == Need::Required => Some(field),
        _ => None,
    })
}

fn without(value: &Value, keys: &[&str]) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        for key in keys {
            object.remove(*key);
        }
    }
    value
}

fn unknown(path: &str, known: impl Iterator<Item = &'static str>) -> Invalid {
    Invalid::field(path, format!("is not a field here; the fields are {}", known.collect::<Vec<_>>().join(", ")))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
