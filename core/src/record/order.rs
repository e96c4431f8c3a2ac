//! The order of items: each has a position, a fraction written as text, so that an item moves without touching others.

use fractional_index::FractionalIndex;
use rand::RngCore;

use super::ids;
use super::invalid::Invalid;
use super::plan::Place;
use crate::limits::NAME_BYTES;

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
        let gap = match (index(from), right) {
            (Some(left), Some(right)) => between(&left, &right),
            (None, Some(right)) => Some(FractionalIndex::new_before(&right)),
            (_, None) => None,
        };
        Ok(gap.map_or_else(|| behind(Some(from)), |gap| gap.to_string()))
    }
}

/// The position behind the item at `last`, or the first one.
pub(super) fn behind(last: Option<&str>) -> String {
    let last = last.and_then(index);
    last.map_or_else(FractionalIndex::default, |last| FractionalIndex::new_after(&last)).to_string()
}

/// What is no position, or far longer than any that this engine makes, is treated as none: the next one would grow
/// beyond what ingest takes.
fn index(position: &str) -> Option<FractionalIndex> {
    const CHARACTERS: usize = NAME_BYTES / 2;
    (position.len() <= CHARACTERS).then(|| FractionalIndex::from_string(position).ok())?
}

/// A position between both, which come in this order.
///
/// `FractionalIndex::new_between` underflows where both begin with a zero byte, as they do after 128 items were put in
/// front: a panic in a debug build, a position outside the gap in a release build (version 2.0.2).
fn between(left: &FractionalIndex, right: &FractionalIndex) -> Option<FractionalIndex> {
    const END: u8 = 0x80;
    let mut bytes = Vec::new();
    let mut below_right = false;
    for at in 0..=left.as_bytes().len().max(right.as_bytes().len()) {
        let low = u16::from(left.as_bytes().get(at).copied().unwrap_or(0));
        let right_byte = right.as_bytes().get(at).copied().filter(|_| !below_right);
        let high = right_byte.map_or(u16::from(u8::MAX) + 1, u16::from);
        if high > low + 1 {
            bytes.push(u8::try_from(low.midpoint(high)).ok()?);
            bytes.push(END);
            return FractionalIndex::from_bytes(bytes).ok();
        }
        bytes.push(u8::try_from(low).ok()?);
        below_right |= high > low;
    }
    None
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Positions are compared as text, so the text must lie in the gap; half of the items go to the front, where bytes
    /// run down to zero.
    #[test]
    fn there_is_room_everywhere() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        let mut siblings = Siblings::default();
        for number in 0..3_000 {
            let index = if rng.random() { 0 } else { rng.random_range(0..=siblings.len()) };
            let after = index.checked_sub(1).map(|index| siblings.0[index].1.clone());
            let place = after.map_or(Place::First, Place::After);
            let position = siblings.position(&place, "item").expect("the item is there");
            siblings.insert(position, number.to_string());
            assert_eq!(siblings.0[index].1, number.to_string(), "item {number} is not where it was put");
        }
        let longest = siblings.0.iter().map(|(position, _)| position.len()).max();
        assert!(longest < Some(64), "positions grow: {longest:?}");
    }

    /// Another device may have written any text there.
    #[test]
    fn positions_that_are_none_harm_nobody() {
        for (left, right) in [("", "zz"), ("0080", "008080"), ("80", "8000"), ("ff", "ff80"), ("00", "0000")] {
            let mut siblings = Siblings::default();
            siblings.insert(left.to_owned(), "left".to_owned());
            siblings.insert(right.to_owned(), "right".to_owned());
            for place in [Place::First, Place::After("left".to_owned()), Place::After("right".to_owned())] {
                siblings.position(&place, "item").expect("the item is there");
            }
        }
    }
}
