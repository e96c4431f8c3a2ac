//! Counts a frame's items before anything is allocated for them: two bytes can announce an empty entry of a hundred and
//! fifty in memory, so a small frame that decompresses to its bound would cost twenty times that.

use super::WireError;
use crate::limits;

/// The highest number of a kind of frame that this version decodes; others are skipped unread.
const LAST_KIND: u32 = 16;
/// Field numbers of `Frame` whose items have items of their own, with the number of the field that holds them.
const PUSH: (u32, u32) = (5, 2);
const ENTRIES: (u32, u32) = (7, 1);
/// `FeedEntries.entries`
const ENTRY: u32 = 3;
/// The number of `Repair` in `Frame`, whose step has the lists.
const REPAIR: u32 = 11;
/// Numbers of steps, with the number of the field that holds their lists.
const LOCATE: (u32, u32) = (1, 1);
const COMPARED: (u32, u32) = (4, 2);
const OFFER: (u32, u32) = (5, 2);
/// `FeedPoints.points`
const POINTS: u32 = 2;
/// `RangeAnswer.documents`, each with its heads.
const DOCUMENTS: u32 = 3;
const BOOTSTRAP: (u32, u32) = (8, 1);
/// `FeedBootstrap.documents`, and of a document `heads` and `entries`
const DOCUMENT: u32 = 7;
const IN_DOCUMENT: [u32; 2] = [4, 7];
/// `FeedBootstrap.erasures`
const ERASURE: u32 = 8;

/// Refuses a frame of more items than [`limits::FRAME_ITEMS`].
pub(super) fn check(frame: &[u8]) -> Result<(), WireError> {
    let mut items = 0;
    for field in fields(frame) {
        let (number, body) = field?;
        if number > LAST_KIND {
            continue;
        }
        for field in fields(body) {
            let (inner, item) = field?;
            items += 1;
            if [PUSH, ENTRIES].contains(&(number, inner)) {
                items += count(item, ENTRY)?;
            }
            if number == REPAIR {
                items += of_step(inner, item)?;
            }
            if (number, inner) == BOOTSTRAP {
                items += in_bootstrap(item)?;
            }
            if items > limits::FRAME_ITEMS {
                return Err(WireError::TooMany { what: "items in a frame", limit: limits::FRAME_ITEMS });
            }
        }
    }
    Ok(())
}

/// Items of a list: the fields of that number.
fn count(message: &[u8], number: u32) -> Result<usize, WireError> {
    fields(message).map(|field| Ok(usize::from(field?.0 == number))).sum()
}

/// Items of a step of a repair, down to the heads of documents.
fn of_step(step: u32, body: &[u8]) -> Result<usize, WireError> {
    let mut items = 0;
    for field in fields(body) {
        let (list, item) = field?;
        items += 1;
        match (step, list) {
            OFFER => items += count(item, ENTRY)?,
            LOCATE => items += count(item, POINTS)?,
            _ => {}
        }
        if (step, list) == COMPARED {
            for field in fields(item) {
                let (kind, listed) = field?;
                items += 1;
                if kind == DOCUMENTS {
                    items += fields(listed).map(|field| field.map(|_| 1)).sum::<Result<usize, _>>()?;
                }
            }
        }
    }
    Ok(items)
}

/// Documents, what is in each, and erasures.
fn in_bootstrap(feed: &[u8]) -> Result<usize, WireError> {
    let mut items = 0;
    for field in fields(feed) {
        let (number, item) = field?;
        items += usize::from([DOCUMENT, ERASURE].contains(&number));
        if number == DOCUMENT {
            for field in fields(item) {
                items += usize::from(IN_DOCUMENT.contains(&field?.0));
            }
        }
    }
    Ok(items)
}

/// The fields of a message, with the bytes of those that have a length.
fn fields(mut message: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), WireError>> {
    std::iter::from_fn(move || (!message.is_empty()).then(|| next(&mut message)))
}

fn next<'a>(message: &mut &'a [u8]) -> Result<(u32, &'a [u8]), WireError> {
    let damaged = |text: &str| WireError::Protobuf(text.to_owned());
    let failed = |error: prost::DecodeError| WireError::Protobuf(error.to_string());
    // A field that cannot be stepped over ends the walk: what follows it cannot be told apart.
    let (number, wire_type) = prost::encoding::decode_key(message).map_err(failed)?;
    let length = match wire_type {
        prost::encoding::WireType::Varint => {
            prost::encoding::decode_varint(message).map_err(failed)?;
            return Ok((number, &[]));
        }
        prost::encoding::WireType::SixtyFourBit => 8,
        prost::encoding::WireType::ThirtyTwoBit => 4,
        prost::encoding::WireType::LengthDelimited => prost::encoding::decode_varint(message).map_err(failed)?,
        _ => return Err(damaged("groups are not used")),
    };
    let length = usize::try_from(length).map_err(|_| damaged("a length is out of range"))?;
    let (field, rest) = message.split_at_checked(length).ok_or_else(|| damaged("a field is cut off"))?;
    *message = rest;
    Ok((number, field))
}

#[cfg(test)]
mod tests {
    use fitme_proto::v1 as proto;
    use prost::Message;

    use super::*;

    fn repair(step: proto::repair::Step) -> proto::frame::Body {
        proto::frame::Body::Repair(proto::Repair { step: Some(step) })
    }

    /// The numbers above are those of the .proto file.
    #[test]
    fn entries_are_counted_where_they_are() {
        let feed =
            proto::FeedEntries { entries: vec![proto::Entry::default(); limits::FRAME_ITEMS], ..Default::default() };
        let push = proto::Push { feeds: vec![feed.clone()], ..Default::default() };
        let document = proto::Snapshot {
            heads: vec![Default::default(); limits::FRAME_ITEMS / 2],
            entries: vec![Default::default(); limits::FRAME_ITEMS / 2],
            ..Default::default()
        };
        let bootstrap =
            |feed| proto::frame::Body::Bootstrap(proto::Bootstrap { feeds: vec![feed], tokens: Vec::new() });
        let bodies = [
            bootstrap(proto::FeedBootstrap { documents: vec![document], ..Default::default() }),
            bootstrap(proto::FeedBootstrap {
                erasures: vec![Default::default(); limits::FRAME_ITEMS],
                ..Default::default()
            }),
            proto::frame::Body::Push(push),
            proto::frame::Body::Entries(proto::Entries { feeds: vec![feed] }),
            proto::frame::Body::Entries(proto::Entries { feeds: vec![Default::default(); limits::FRAME_ITEMS + 1] }),
            proto::frame::Body::Receipts(proto::Receipts {
                receipts: vec![Default::default(); limits::FRAME_ITEMS + 1],
                ..Default::default()
            }),
            repair(proto::repair::Step::Offer(proto::Offer {
                feeds: vec![proto::FeedEntries {
                    entries: vec![proto::Entry::default(); limits::FRAME_ITEMS],
                    ..Default::default()
                }],
                ..Default::default()
            })),
            repair(proto::repair::Step::Locate(proto::Locate {
                feeds: vec![proto::FeedPoints {
                    points: vec![Default::default(); limits::FRAME_ITEMS],
                    ..Default::default()
                }],
            })),
            repair(proto::repair::Step::Compared(proto::Compared {
                ranges: vec![proto::RangeAnswer {
                    documents: vec![proto::HeldDocument {
                        heads: vec![Default::default(); limits::FRAME_ITEMS],
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            })),
        ];
        for body in bodies {
            let frame = proto::Frame { body: Some(body) }.encode_to_vec();
            assert!(matches!(check(&frame), Err(WireError::TooMany { .. })));
        }
    }
}
