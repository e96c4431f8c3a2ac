//! The steps of a plan, written into a transaction. An equal value writes nothing.

use std::collections::BTreeSet;

use automerge::transaction::{Transactable, Transaction};
use automerge::{AutomergeError, ObjId, ObjType, ReadDoc, ScalarValue};
use fractional_index::FractionalIndex;
use rand::RngCore;

use super::ids;
use super::invalid::Invalid;
use super::plan::{Item, ItemsStep, Place, Purpose, Row, RowsStep, Step, TagsStep};
use super::prose;
use super::read::{self, Cell};
use super::shape::{Member, POSITION};
use crate::limits::LIST_ITEMS;

pub(super) struct Writer<'a, 'doc> {
    pub tx: &'a mut Transaction<'doc>,
    pub rng: &'a mut dyn RngCore,
    pub purpose: Purpose,
}

/// One item among its siblings.
struct Sibling {
    position: String,
    id: String,
    object: ObjId,
}

/// Makes the containers of `members` in `object`.
pub(super) fn make_containers(tx: &mut Transaction<'_>, object: &ObjId, members: &[Member]) -> Result<(), Invalid> {
    for member in members.iter().filter(|member| member.is_container()) {
        tx.put_object(object, member.name(), container_kind(member)).map_err(refused)?;
    }
    Ok(())
}

/// What a member's container is in the document.
pub(super) fn container_kind(member: &Member) -> ObjType {
    if matches!(member, Member::Text(..)) { ObjType::Text } else { ObjType::Map }
}

impl Writer<'_, '_> {
    /// Writes `steps` into the map `object`.
    pub fn run(&mut self, object: &ObjId, steps: Vec<Step>) -> Result<(), Invalid> {
        for step in steps {
            match step {
                Step::Register { key, value } => self.register(object, &key, value)?,
                Step::Rows { name, fields, rows } => {
                    let leaves: Vec<_> = fields.iter().map(|field| field.name).collect();
                    self.rows(name, &leaves, rows)?;
                }
                Step::Items { name, members, items } => {
                    let container = self.container(object, name, ObjType::Map)?;
                    self.items(&container, name, members, items)?;
                }
                Step::Tags { name, tags } => {
                    let container = self.container(object, name, ObjType::Map)?;
                    self.tags(&container, name, tags)?;
                }
                Step::Text { name, text } => {
                    let container = self.container(object, name, ObjType::Text)?;
                    prose::replace(self.tx, &container, &text).map_err(refused)?;
                }
            }
        }
        Ok(())
    }

    fn register(&mut self, object: &ObjId, key: &str, value: Option<ScalarValue>) -> Result<(), Invalid> {
        let settings = read::settings(self.tx, object, key);
        match value {
            Some(value) => {
                // Where devices differ, choosing the value that is shown settles it, so that is a write.
                let wanted = Cell::Scalar(value.clone());
                let equal = !settings.is_empty() && settings.iter().all(|setting| setting.cell == wanted);
                if equal { Ok(()) } else { self.tx.put(object, key, value).map_err(refused) }
            }
            None if settings.is_empty() => Ok(()),
            None => self.tx.delete(object, key).map_err(refused),
        }
    }

    fn container(&self, object: &ObjId, name: &str, kind: ObjType) -> Result<ObjId, Invalid> {
        let found = self.tx.get(object, name).map_err(refused)?;
        let container = found.filter(|(value, _)| value.to_objtype() == Some(kind));
        container
            .map(|(_, id)| id)
            .ok_or_else(|| Invalid::field(name, "cannot be changed: the document lacks its container"))
    }

    fn rows(&mut self, name: &str, leaves: &[&str], rows: RowsStep) -> Result<(), Invalid> {
        let keys: BTreeSet<String> = self.tx.keys(ObjId::Root).filter(|key| is_below(key, name)).collect();
        let mut known: BTreeSet<String> =
            keys.iter().filter_map(|key| key.split('/').nth(1).map(str::to_owned)).collect();
        let RowsStep::Each(rows) = rows else {
            return self.delete(keys.iter().map(String::as_str));
        };
        let mut new = self.new_row_ids(&rows, &known).into_iter();
        for Row { id, path, registers } in rows {
            let id = match id {
                Some(id) if known.contains(&id) || self.purpose != Purpose::Edit => id,
                Some(id) => return Err(no_such(&path, &id)),
                None => new.next().ok_or_else(|| Invalid::field(path, "has no id"))?,
            };
            let Some(registers) = registers else {
                let of_row = |key: &&String| key.split('/').nth(1) == Some(&id);
                self.delete(keys.iter().filter(of_row).map(String::as_str))?;
                known.remove(&id);
                continue;
            };
            for (leaf, value) in registers {
                debug_assert!(leaves.contains(&leaf), "the plan knows the table");
                self.register(&ObjId::Root, &format!("{name}/{id}/{leaf}"), value)?;
            }
            known.insert(id);
        }
        at_most(name, known.len())
    }

    fn delete<'k>(&mut self, keys: impl Iterator<Item = &'k str>) -> Result<(), Invalid> {
        for key in keys {
            self.tx.delete(ObjId::Root, key).map_err(refused)?;
        }
        Ok(())
    }

    /// A new record's rows are numbered, as an importer numbers them; rows added later draw ids, in ascending order so
    /// that several added at once keep their order.
    fn new_row_ids(&mut self, rows: &[Row], known: &BTreeSet<String>) -> Vec<String> {
        let wanted = rows.iter().filter(|row| row.id.is_none()).count();
        let taken: BTreeSet<&str> =
            rows.iter().filter_map(|row| row.id.as_deref()).chain(known.iter().map(String::as_str)).collect();
        if self.purpose == Purpose::Create {
            return (0..)
                .map(|number: u32| number.to_string())
                .filter(|id| !taken.contains(id.as_str()))
                .take(wanted)
                .collect();
        }
        let mut drawn = BTreeSet::new();
        while drawn.len() < wanted {
            let id = ids::item_id(self.rng);
            if !taken.contains(id.as_str()) {
                drawn.insert(id);
            }
        }
        drawn.into_iter().collect()
    }

    fn items(
        &mut self,
        container: &ObjId,
        name: &str,
        members: &'static [Member],
        items: ItemsStep,
    ) -> Result<(), Invalid> {
        let mut siblings = self.siblings(container);
        let ItemsStep::Each(items) = items else {
            return siblings.into_iter().try_for_each(|sibling| self.tx.delete(container, sibling.id).map_err(refused));
        };
        for item in items {
            self.item(container, members, item, &mut siblings)?;
        }
        at_most(name, siblings.len())
    }

    fn item(
        &mut self,
        container: &ObjId,
        members: &'static [Member],
        item: Item,
        siblings: &mut Vec<Sibling>,
    ) -> Result<(), Invalid> {
        let Item { id, path, steps, place } = item;
        let found = id.as_ref().and_then(|id| siblings.iter().position(|sibling| sibling.id == *id));
        let (object, steps) = match (steps, found, id) {
            (None, Some(index), _) => {
                let removed = siblings.remove(index);
                return self.tx.delete(container, removed.id).map_err(refused);
            }
            (Some(steps), Some(index), _) => {
                if let Some(place) = place {
                    let moved = siblings.remove(index);
                    let position = position(siblings, &place, &path)?;
                    self.register(&moved.object, POSITION, Some(position.as_str().into()))?;
                    let object = moved.object.clone();
                    insert(siblings, Sibling { position, ..moved });
                    (object, steps)
                } else {
                    (siblings[index].object.clone(), steps)
                }
            }
            (None, None, id) => return Err(no_such(&path, &id.unwrap_or_default())),
            (Some(_), None, Some(id)) if self.purpose == Purpose::Edit => return Err(no_such(&path, &id)),
            (Some(steps), None, id) => (self.new_item(container, members, id, place, &path, siblings)?, steps),
        };
        self.run(&object, steps)
    }

    fn new_item(
        &mut self,
        container: &ObjId,
        members: &'static [Member],
        id: Option<String>,
        place: Option<Place>,
        path: &str,
        siblings: &mut Vec<Sibling>,
    ) -> Result<ObjId, Invalid> {
        let id = id.unwrap_or_else(|| self.unused_id(siblings));
        let position = match place {
            Some(place) => position(siblings, &place, path)?,
            None => behind(siblings.last()),
        };
        let object = self.tx.put_object(container, id.as_str(), ObjType::Map).map_err(refused)?;
        self.tx.put(&object, POSITION, position.as_str()).map_err(refused)?;
        make_containers(self.tx, &object, members)?;
        insert(siblings, Sibling { position, id, object: object.clone() });
        Ok(object)
    }

    fn unused_id(&mut self, siblings: &[Sibling]) -> String {
        loop {
            let id = ids::item_id(self.rng);
            if siblings.iter().all(|sibling| sibling.id != id) {
                return id;
            }
        }
    }

    /// The items of a container, in their order.
    fn siblings(&self, container: &ObjId) -> Vec<Sibling> {
        let mut siblings = Vec::new();
        for (id, cell) in read::level(self.tx, container) {
            if let Cell::Object(ObjType::Map, object) = cell {
                let position = self.tx.get(&object, POSITION).ok().flatten();
                let position = position.and_then(|(value, _)| value.as_str().map(str::to_owned)).unwrap_or_default();
                insert(&mut siblings, Sibling { position, id, object });
            }
        }
        siblings
    }

    fn tags(&mut self, container: &ObjId, name: &str, tags: TagsStep) -> Result<(), Invalid> {
        let mut present: BTreeSet<String> = self.tx.keys(container).collect();
        let each: Vec<_> = match tags {
            TagsStep::Each(each) => each,
            TagsStep::Whole(whole) => {
                let gone: Vec<_> =
                    present.iter().filter(|tag| !whole.contains(tag)).map(|tag| (tag.clone(), false)).collect();
                gone.into_iter().chain(whole.into_iter().map(|tag| (tag, true))).collect()
            }
        };
        for (tag, wanted) in each {
            if wanted && present.insert(tag.clone()) {
                self.tx.put(container, tag, true).map_err(refused)?;
            } else if !wanted && present.remove(&tag) {
                self.tx.delete(container, tag).map_err(refused)?;
            }
        }
        at_most(name, present.len())
    }
}

fn insert(siblings: &mut Vec<Sibling>, sibling: Sibling) {
    let at = siblings.partition_point(|other| (&other.position, &other.id) < (&sibling.position, &sibling.id));
    siblings.insert(at, sibling);
}

/// The position behind `last`, or the first one.
fn behind(last: Option<&Sibling>) -> String {
    let last = last.and_then(|last| FractionalIndex::from_string(&last.position).ok());
    last.map_or_else(FractionalIndex::default, |last| FractionalIndex::new_after(&last)).to_string()
}

fn position(siblings: &[Sibling], place: &Place, path: &str) -> Result<String, Invalid> {
    let index = |position: &str| FractionalIndex::from_string(position).ok();
    let left =
        match place {
            Place::At(position) => return Ok(position.clone()),
            Place::First => None,
            Place::After(id) => {
                let left = siblings.iter().find(|sibling| sibling.id == *id);
                Some(left.ok_or_else(|| {
                    Invalid::field(format!("{path}.after"), format!("names \"{id}\", which is not here"))
                })?)
            }
        };
    // Items that two devices added at once share a position: what goes behind one of them goes behind all of them.
    let from = left.map_or("", |left| left.position.as_str());
    let right =
        siblings.iter().find(|sibling| sibling.position.as_str() > from).and_then(|right| index(&right.position));
    let between = FractionalIndex::new(index(from).as_ref(), right.as_ref());
    Ok(between.map_or_else(|| behind(left), |between| between.to_string()))
}

fn at_most(name: &str, number: usize) -> Result<(), Invalid> {
    if number > LIST_ITEMS {
        Err(Invalid::field(name, format!("would have {number} items and may have {LIST_ITEMS}")))
    } else {
        Ok(())
    }
}

fn is_below(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

fn no_such(path: &str, id: &str) -> Invalid {
    Invalid::field(path, format!("names the item \"{id}\", which is not in the record; leave the id out for a new one"))
}

/// automerge refuses a write only into an object that is not there.
pub(super) fn refused(error: AutomergeError) -> Invalid {
    Invalid::record(format!("the document cannot take the edit: {error}"))
}
