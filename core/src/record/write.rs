//! The steps of a plan, written into a document that is there. An equal value writes nothing.

use std::collections::BTreeSet;

use automerge::transaction::{Transactable, Transaction};
use automerge::{AutomergeError, ObjId, ObjType, ReadDoc, ScalarValue};
use rand::RngCore;

use super::build::{Builder, new_row_ids};
use super::invalid::Invalid;
use super::order::{Siblings, behind};
use super::plan::{Item, ItemsStep, Purpose, Row, RowsStep, Step, TagsStep};
use super::prose;
use super::read::{self, Cell};
use super::shape::{Member, POSITION};
use crate::limits::LIST_ITEMS;

pub(super) struct Writer<'a, 'doc> {
    pub tx: &'a mut Transaction<'doc>,
    pub rng: &'a mut dyn RngCore,
    pub purpose: Purpose,
}

impl Writer<'_, '_> {
    /// Writes `steps` into the map `object`.
    pub fn run(&mut self, object: &ObjId, steps: Vec<Step>) -> Result<(), Invalid> {
        for step in steps {
            match step {
                Step::Register { key, value } => self.register(object, &key, value)?,
                Step::Rows { name, rows } => self.rows(name, rows)?,
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

    fn rows(&mut self, name: &str, rows: RowsStep) -> Result<(), Invalid> {
        let keys: Vec<String> = self.tx.keys(ObjId::Root).filter(|key| row_id(key, name).is_some()).collect();
        let RowsStep::Each(rows) = rows else {
            return self.delete(keys.iter());
        };
        let mut known: BTreeSet<String> = keys.iter().filter_map(|key| row_id(key, name)).map(str::to_owned).collect();
        let mut new = new_row_ids(self.purpose, self.rng, &rows, &known).into_iter();
        for Row { id, path, registers } in rows {
            let id = match id {
                Some(id) if known.contains(&id) || self.purpose == Purpose::Restore => id,
                Some(id) => return Err(no_such(&path, &id)),
                None => new.next().ok_or_else(|| Invalid::field(path, "has no id"))?,
            };
            let Some(registers) = registers else {
                self.delete(keys.iter().filter(|key| row_id(key, name) == Some(&id)))?;
                known.remove(&id);
                continue;
            };
            for (leaf, value) in registers {
                self.register(&ObjId::Root, &format!("{name}/{id}/{leaf}"), value)?;
            }
            known.insert(id);
        }
        at_most(name, known.len())
    }

    fn delete<'k>(&mut self, keys: impl Iterator<Item = &'k String>) -> Result<(), Invalid> {
        for key in keys {
            self.register(&ObjId::Root, key, None)?;
        }
        Ok(())
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
            return siblings.ids().try_for_each(|id| self.tx.delete(container, id).map_err(refused));
        };
        for item in items {
            match &item.id {
                Some(id) if siblings.contains(id) => self.old_item(container, item, &mut siblings)?,
                Some(id) if self.purpose == Purpose::Edit || item.steps.is_none() => {
                    return Err(no_such(&item.path, id));
                }
                _ => self.new_item(container, members, item, &mut siblings)?,
            }
        }
        at_most(name, siblings.len())
    }

    fn old_item(&mut self, container: &ObjId, item: Item, siblings: &mut Siblings) -> Result<(), Invalid> {
        let Item { id, path, steps, place } = item;
        let id = id.unwrap_or_default();
        let Some(steps) = steps else {
            siblings.remove(&id);
            return self.tx.delete(container, id).map_err(refused);
        };
        let object = self.container(container, &id, ObjType::Map)?;
        if let Some(place) = place {
            siblings.remove(&id);
            let position = siblings.position(&place, &path)?;
            self.register(&object, POSITION, Some(position.as_str().into()))?;
            siblings.insert(position, id);
        }
        self.run(&object, steps)
    }

    fn new_item(
        &mut self,
        container: &ObjId,
        members: &'static [Member],
        item: Item,
        siblings: &mut Siblings,
    ) -> Result<(), Invalid> {
        let Item { id, path, steps, place } = item;
        let id = id.unwrap_or_else(|| siblings.unused_id(self.rng));
        let position = place.map_or_else(|| Ok(behind(siblings.last())), |place| siblings.position(&place, &path))?;
        let mut builder = Builder { rng: &mut *self.rng, purpose: self.purpose };
        let map = builder.item(members, steps.unwrap_or_default(), &position)?;
        self.tx.batch_create_object(container, id.as_str(), &map.into(), false).map_err(refused)?;
        siblings.insert(position, id);
        Ok(())
    }

    /// The items of a container, in their order.
    fn siblings(&self, container: &ObjId) -> Siblings {
        let mut siblings = Siblings::default();
        for item in self.tx.map_range(container, ..) {
            let position = self.tx.get(item.id(), POSITION).ok().flatten();
            let position = position.and_then(|(value, _)| value.as_str().map(str::to_owned));
            siblings.insert(position.unwrap_or_default(), item.key.into_owned());
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

fn at_most(name: &str, number: usize) -> Result<(), Invalid> {
    if number > LIST_ITEMS {
        Err(Invalid::field(name, format!("would have {number} items and may have {LIST_ITEMS}")))
    } else {
        Ok(())
    }
}

/// The id in a key such as `laps/0/distance`.
fn row_id<'k>(key: &'k str, name: &str) -> Option<&'k str> {
    key.strip_prefix(name)?.strip_prefix('/')?.split('/').next()
}

fn no_such(path: &str, id: &str) -> Invalid {
    Invalid::field(path, format!("names the item \"{id}\", which is not in the record; leave the id out for a new one"))
}

/// automerge refuses a write only into an object that is not there.
pub(super) fn refused(error: AutomergeError) -> Invalid {
    Invalid::record(format!("the document cannot take the edit: {error}"))
}
