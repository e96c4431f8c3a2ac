//! Cursors, packed so that twelve of them fit beside a summary in the first frame.

use std::collections::BTreeMap;

use super::{WireError, proto};
use crate::id::FeedId;
use crate::limits;

/// How far a device has come in each feed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursors(pub BTreeMap<FeedId, u64>);

impl Cursors {
    /// LEB128 varints, ascending by feed, each feed as the difference to the one before.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut before = 0;
        for (feed, cursor) in &self.0 {
            prost::encoding::encode_varint(feed.0 - before, &mut packed);
            prost::encoding::encode_varint(*cursor, &mut packed);
            before = feed.0;
        }
        packed
    }

    /// The cursors in `packed`.
    pub fn unpack(mut packed: &[u8]) -> Result<Self, WireError> {
        let mut cursors = BTreeMap::new();
        let mut before = 0u64;
        while !packed.is_empty() {
            let step = varint(&mut packed)?;
            let feed = before.checked_add(step).filter(|feed| step > 0 && *feed < 1 << 48).ok_or(BAD)?;
            cursors.insert(FeedId(feed), varint(&mut packed)?);
            before = feed;
            if cursors.len() > limits::FEEDS {
                return Err(BAD);
            }
        }
        Ok(Self(cursors))
    }

    pub(super) fn to_proto(&self) -> proto::Cursors {
        proto::Cursors { packed: self.pack().into() }
    }

    pub(super) fn from_proto(cursors: &proto::Cursors) -> Result<Self, WireError> {
        Self::unpack(&cursors.packed)
    }
}

const BAD: WireError = WireError::Field { field: "cursors", expected: "ascending (feed, cursor) pairs" };

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    prost::encoding::decode_varint(bytes).map_err(|_| BAD)
}
