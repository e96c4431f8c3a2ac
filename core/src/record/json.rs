//! A document as the JSON of its record.

use std::cell::RefCell;
use std::collections::BTreeSet;

use automerge::{ObjId, ObjType, ReadDoc, ScalarValue};
use serde_json::{Map, Value};

use super::ids;
use super::read::{self, Cell, Level};
use super::shape::{Field, ID, Member, Need, POSITION};

/// How much of the document becomes JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// What a record shows.
    Shown,
    /// Internal fields and positions as well.
    Full,
}

/// A record has few problems or is a mess; nobody reads more.
const FLAGS_MAX: usize = 32;

type Object = Map<String, Value>;

/// Reads one document and notes what it finds wrong.
pub(super) struct Reader<'a, D> {
    doc: &'a D,
    detail: Detail,
    flags: RefCell<Vec<String>>,
}

impl<'a, D: ReadDoc> Reader<'a, D> {
    pub fn new(doc: &'a D, detail: Detail) -> Self {
        Self { doc, detail, flags: RefCell::default() }
    }

    /// What was found wrong so far.
    pub fn into_flags(self) -> Vec<String> {
        self.flags.into_inner()
    }

    pub fn flag(&self, flag: String) {
        let mut flags = self.flags.borrow_mut();
        if flags.len() < FLAGS_MAX && !flags.contains(&flag) {
            flags.push(flag);
        }
    }

    /// The members that `level` holds; empty lists, sets and texts are left out.
    pub fn members(&self, members: &[Member], level: &Level, path: &str) -> Object {
        let mut object = Object::new();
        for member in members {
            let path = join(path, member.name());
            let value = match member {
                Member::Field(field) => self.field(field, level.get(field.name), &path),
                Member::Group(name, fields, _) => {
                    let group = self.registers(fields, read::below(level, name), &path);
                    (!group.is_empty()).then_some(Value::Object(group))
                }
                Member::Rows(name, fields, _) => self.rows(name, fields, level, &path),
                Member::Items(name, inside, _) => {
                    self.map(level, name).and_then(|items| self.items(items, inside, &path))
                }
                Member::Tags(name, _) => self.map(level, name).and_then(|tags| self.tags(tags)),
                Member::Text(name, max, _) => self.text(level, name, *max, &path),
            };
            if let Some(value) = value {
                object.insert(member.name().to_owned(), value);
            }
        }
        object
    }

    fn field(&self, field: &Field, cell: Option<&Cell>, path: &str) -> Option<Value> {
        let cell = cell?;
        if field.need == Need::Internal && self.detail == Detail::Shown {
            return None;
        }
        let scalar = cell.scalar();
        if !scalar.is_some_and(|scalar| field.rule.allows(scalar)) {
            self.flag(format!("{path} must be {}", field.rule));
        }
        field.rule.show(scalar?)
    }

    fn registers<'l>(&self, fields: &[Field], cells: impl Iterator<Item = (&'l str, &'l Cell)>, path: &str) -> Object {
        let cells: Vec<_> = cells.collect();
        let value = |field: &Field| {
            let cell = cells.iter().find(|(key, _)| *key == field.name).map(|(_, cell)| *cell);
            self.field(field, cell, &join(path, field.name)).map(|value| (field.name.to_owned(), value))
        };
        fields.iter().filter_map(value).collect()
    }

    fn rows(&self, name: &str, fields: &[Field], level: &Level, path: &str) -> Option<Value> {
        let ids: BTreeSet<_> = read::below(level, name)
            .filter_map(|(key, _)| key.split_once('/'))
            .map(|(id, _)| ids::row_order(id))
            .collect();
        let row = |(index, (_, id)): (usize, (u32, &str))| {
            let mut row = Object::new();
            row.insert(ID.to_owned(), id.into());
            row.extend(self.registers(
                fields,
                read::below(level, &format!("{name}/{id}")),
                &format!("{path}[{index}]"),
            ));
            Value::Object(row)
        };
        let rows: Vec<_> = ids.into_iter().enumerate().map(row).collect();
        (!rows.is_empty()).then_some(Value::Array(rows))
    }

    fn map<'l>(&self, level: &'l Level, name: &str) -> Option<&'l ObjId> {
        level.get(name).and_then(|cell| cell.object(ObjType::Map))
    }

    fn items(&self, container: &ObjId, inside: &[Member], path: &str) -> Option<Value> {
        let mut items: Vec<(String, String, Level)> = Vec::new();
        for (id, cell) in read::level(self.doc, container) {
            if let Some(object) = cell.object(ObjType::Map) {
                let level = read::level(self.doc, object);
                items.push((position(&level), id, level));
            }
        }
        items.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let items: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.item(item, inside, &format!("{path}[{index}]")))
            .collect();
        (!items.is_empty()).then_some(Value::Array(items))
    }

    fn item(&self, (position, id, level): &(String, String, Level), inside: &[Member], path: &str) -> Value {
        let mut object = Object::new();
        object.insert(ID.to_owned(), id.as_str().into());
        if self.detail == Detail::Full {
            object.insert(POSITION.to_owned(), position.as_str().into());
        }
        object.extend(self.members(inside, level, path));
        for member in inside {
            if matches!(member, Member::Field(field) if field.need == Need::Required)
                && !object.contains_key(member.name())
            {
                self.flag(format!("{} is missing", join(path, member.name())));
            }
        }
        Value::Object(object)
    }

    fn tags(&self, container: &ObjId) -> Option<Value> {
        let tags: Vec<Value> = self.doc.keys(container).map(Value::String).collect();
        (!tags.is_empty()).then_some(Value::Array(tags))
    }

    fn text(&self, level: &Level, name: &str, max: usize, path: &str) -> Option<Value> {
        let text = self.doc.text(level.get(name)?.object(ObjType::Text)?).ok()?;
        if text.len() > max {
            self.flag(format!("{path} has {} bytes and may have {max}", text.len()));
        }
        (!text.is_empty()).then_some(Value::String(text))
    }
}

fn position(level: &Level) -> String {
    match level.get(POSITION) {
        Some(Cell::Scalar(ScalarValue::Str(position))) => position.to_string(),
        _ => String::new(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
