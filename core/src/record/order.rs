//! The order of items: each has a position, a fraction written as text, so that an item moves without touching others.

use fractional_index::FractionalIndex;
use rand::RngCore;

use super::ids;
use super::invalid::Invalid;
use super::plan::Place;

/// Items of one list by (position, id).
#[derive(Debug, Default)]
pub(super) struct Siblings(Vec<(String, String)>);

impl Siblings {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, id)| id.as_str())
    }

    pub fn contains(&self, id: &str) -> bool {
        self.ids().any(|other| other == id)
    }

    /// The position of the last item.
    pub fn last(&self) -> Option<&str> {
        self.0.last().map(|(position, _)| position.as_str())
    }

    pub fn insert(&mut self, position: String, id: String) {
        let item = (position, id);
        let at = self.0.partition_point(|other| *other < item);
        self.0.insert(at, item);
    }

    pub fn remove(&mut self, id: &str) {
        self.0.retain(|(_, other)| other != id);
    }

    /// An id that none of them has.
    pub fn unused_id(&self, rng: &mut dyn RngCore) -> String {
        loop {
            let id = ids::item_id(rng);
            if !self.contains(&id) {
                return id;
            }
        }
    }

    /// The position of an item that goes to `place`.
    pub fn position(&self, place: &Place, path: &str) -> Result<String, Invalid> {
        let left = match place {
            Place::At(position) => return Ok(position.clone()),
            Place::First => None,
            Place::After(id) => {
                let left = self.0.iter().find(|(_, other)| other == id);
                Some(left.ok_or_else(|| {
                    Invalid::field(format!("{path}.after"), format!("names \"{id}\", which is not here"))
                })?)
            }
        };
        // Items that two devices added at once share a position: what goes behind one of them goes behind all of them.
        let from = left.map_or("", |(position, _)| position.as_str());
        let right =
            self.0.iter().find(|(position, _)| position.as_str() > from).and_then(|(position, _)| index(position));
        let right = right.as_ref().map(FractionalIndex::as_bytes);
        let between = match (index(from), right) {
            (left, Some(right)) if left.is_some() || place_is_taken(right) => {
                between(left.as_ref().map_or(&[], |left| left.as_bytes()), right)
            }
            (None, Some(right)) => FractionalIndex::from_bytes(right.to_vec()).ok().map(|right| FractionalIndex::new_before(&right)),
            (left, None) => return Ok(behind(left.map(|left| left.to_string()).as_deref())),
        };
        Ok(between.map_or_else(|| behind(Some(from)), |between| between.to_string()))
    }
}

/// The position behind the item at `last`, or the first one.
pub(super) fn behind(last: Option<&str>) -> String {
    let last = last.and_then(index);
    last.map_or_else(FractionalIndex::default, |last| FractionalIndex::new_after(&last)).to_string()
}

fn index(position: &str) -> Option<FractionalIndex> {
    FractionalIndex::from_string(position).ok()
}
