//! Frames: the protocol's messages as the engine's own types, to and from bytes. The only place that names the generated
//! protobuf types' fields, and where every bound of a frame is checked, on the way out and on the way in.
//!
//! A message on the socket is one codec byte (0 plain, 1 zstd) and a protobuf `Frame`.

use std::borrow::Cow;
use std::io::Read;

use fitme_proto::v1 as proto;
use prost::Message;

use crate::entry::{Entry, Salt};
use crate::id::{ActorId, DocId, EntryId, Epoch, FeedId, Installation};
use crate::limits;
use crate::policy::Access;

pub mod bootstrap;
mod census;
mod cursors;
mod entries;
pub mod goodbye;
mod repair;

pub use cursors::Cursors;
pub use fitme_proto::v1::goodbye::Reason;
pub use fitme_proto::v1::{EntryKind, Want};
pub use repair::{Fetched, Repair, Wanted};

/// The protocol this engine speaks.
pub const MAJOR: u32 = 1;
/// Grows with each frame or field that an older peer may skip.
pub const MINOR: u32 = 5;
/// From this minor version on a device knows feeds of others.
pub const SHARED_FEEDS_MINOR: u32 = 1;
/// From this minor version on a device erases what was erased elsewhere, and counts entries that were emptied.
pub const ERASURES_MINOR: u32 = 3;
/// From this minor version on both ends bring two histories of a feed together.
pub const REPAIR_MINOR: u32 = 4;
/// From this minor version on a device stores snapshots where it is far behind.
pub const BOOTSTRAP_MINOR: u32 = 4;
/// From this minor version on a server answers for single documents, so that a device can mend what it holds.
pub const FETCH_MINOR: u32 = 5;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Why bytes are no frame, or a frame cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than a frame may have.
    #[error("a frame has {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// The bound it breaks.
        limit: usize,
    },
    /// More items than a frame may have.
    #[error("there are more than {limit} {what}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The bound it breaks.
        limit: usize,
    },
    /// An unknown codec byte, or none.
    #[error("a frame is encoded in a way this version does not know")]
    Codec,
    /// zstd data that does not decompress.
    #[error("a frame is damaged: it does not decompress")]
    Compression,
    /// Bytes that are no protobuf message.
    #[error("a frame is damaged: {0}")]
    Protobuf(String),
    /// A field without the length or the range it must have.
    #[error("a frame's field {field} is not {expected}")]
    Field {
        /// The field's name in the .proto file.
        field: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
}

/// One message of the protocol.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "described in sync.proto, in the same words and order")]
pub enum Frame {
    Hello(Hello),
    Welcome(Welcome),
    Cursors(Cursors),
    Digests(Vec<FeedDigest>),
    Push { batch: u64, feeds: Vec<FeedPush> },
    Receipts { batch: u64, receipts: Vec<Receipt> },
    Entries(Vec<FeedPage>),
    Bootstrap { feeds: Vec<bootstrap::FeedBootstrap>, tokens: Vec<bootstrap::Token> },
    FeedGranted(FeedGranted),
    FeedRevoked(FeedId),
    Repair(Repair),
    Credit { bytes: u64 },
    Renew(Token),
    Goodbye(Goodbye),
    More(bool),
}

/// An access token. It must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// First frame of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hello {
    /// Protocol version, incompatible part.
    pub major: u32,
    /// Protocol version, compatible part.
    pub minor: u32,
    /// The installation that the device last met; none on first contact.
    pub installation: Option<Installation>,
    /// Current actors of the device's writers, each with the last entry that it knows to be accepted.
    pub actors: Vec<(ActorId, Option<EntryId>)>,
    /// Over all its cursors, see [`summary`](crate::session::summary).
    pub summary: [u8; 16],
    /// The cursors themselves, where they are short.
    pub cursors: Option<Cursors>,
    /// One-shot exchange: bytes the answer may have; 0 = the server's own bound.
    pub max_bytes: u32,
    /// Where the snapshots of feeds go on, or that they are not wanted.
    pub bootstrap: Vec<bootstrap::Token>,
    /// Milliseconds since 1970 UTC by the device's clock; 0 where it does not say.
    pub clock_ms: i64,
}

/// The server's answer to Hello.
#[derive(Debug, Clone, PartialEq)]
pub struct Welcome {
    /// Which database answers.
    pub installation: Installation,
    /// Milliseconds since 1970 UTC by the server's clock.
    pub clock_ms: i64,
    /// The last accepted entry of each actor named in Hello.
    pub actors: Vec<(ActorId, EntryId)>,
    /// Feeds whose merge is behind their head: (feed, merged up to).
    pub merged: Vec<(FeedId, u64)>,
    /// What the server must know before it can go on.
    pub want: Want,
    /// Entries follow.
    pub more: bool,
    /// The minor version that the server speaks; 0 if it is too old to say.
    pub minor: u32,
}

/// What a device holds of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedDigest {
    /// The feed.
    pub feed: FeedId,
    /// The epoch in which the device knows it.
    pub epoch: Epoch,
    /// The last sequence number it holds.
    pub cursor: u64,
    /// The digest up to there.
    pub digest: crate::entry::Digest,
}

/// Entries that a device offers for one feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedPush {
    /// The feed.
    pub feed: FeedId,
    /// In the order in which they were written.
    pub entries: Vec<Entry>,
}

/// Consecutive entries of one feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedPage {
    /// The feed.
    pub feed: FeedId,
    /// Number of the first; the others follow without a gap.
    pub first_seq: u64,
    /// The entries.
    pub items: Vec<Item>,
    /// Every entry up to here is in the server's merged documents, and none of those is in quarantine.
    pub merged_seq: u64,
}

/// An entry of a feed as a device receives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// In full.
    Full(Entry),
    /// One that this device pushed, and got the receipt for, on this very connection.
    Own(EntryId),
    /// One whose document was erased.
    Emptied(Emptied),
}

/// What is left of an entry whose document was erased: it counts in digests, and answers duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// Its id.
    pub id: EntryId,
    /// What it was, see [`Entry::kind`].
    pub kind: i32,
    /// The document it belonged to.
    pub doc_id: DocId,
}

/// The fate of one pushed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// Durable on the server under this number.
    Accepted(u64),
    /// The server had it already, under this number and id.
    Duplicate {
        /// Its number.
        seq: u64,
        /// The id under which it was first accepted.
        entry_id: EntryId,
    },
    /// Refused for good.
    Rejected(Refusal),
    /// Not decided; to be pushed again.
    Retry(Refusal),
}

/// The code of an entry whose document was erased before it came.
pub const ERASED: &str = "erased";
/// The same as a sentence.
pub const ERASED_SENTENCE: &str = "the record was erased, and its id is never used again; log it anew if it is needed";

/// The code of an entry that its author may not write where it belongs, or not any more.
pub const NOT_YOUR_FEED: &str = "not_your_feed";

/// Why an entry was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One of docs/errors.md.
    pub code: String,
    /// A sentence for a person.
    pub message: String,
}

/// A feed that the device may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedGranted {
    /// Its number.
    pub feed: FeedId,
    /// Whose it is.
    pub account: [u8; 16],
    /// Its collection's name; one that this version does not know is kept as it is.
    pub collection: String,
    /// Its scope within the collection; mostly empty.
    pub scope: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// Whether this account may write to it.
    pub access: Access,
    /// How the owner wants to be seen; empty for own feeds.
    pub owner_name: String,
}

/// Last frame of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// What the peer can do about it.
    pub reason: Reason,
    /// A sentence for a person.
    pub message: String,
    /// When to come back, in milliseconds; 0 = not by itself.
    pub retry_after_ms: u32,
}

/// The bytes of `frame`, compressed where that pays.
pub fn encode(frame: &Frame) -> Result<Vec<u8>, WireError> {
    let body = proto::Frame { body: Some(to_proto(frame)) };
    let length = body.encoded_len();
    if length > limits::FRAME_DECOMPRESSED_BYTES {
        return Err(WireError::TooLarge { bytes: length, limit: limits::FRAME_DECOMPRESSED_BYTES });
    }
    let mut plain = Vec::with_capacity(length + 1);
    plain.push(PLAIN);
    body.encode(&mut plain).expect("a Vec grows as needed");
    let bytes = if plain.len() >= limits::COMPRESS_FROM_BYTES { compress(plain) } else { plain };
    match bytes.len() {
        length if length > limits::FRAME_BYTES => {
            Err(WireError::TooLarge { bytes: length, limit: limits::FRAME_BYTES })
        }
        _ => Ok(bytes),
    }
}

fn compress(plain: Vec<u8>) -> Vec<u8> {
    let mut out = vec![ZSTD];
    let packed = zstd::bulk::compress(&plain[1..], limits::COMPRESSION_LEVEL).unwrap_or_default();
    // Random content can grow; the plain form is always a valid answer.
    if packed.is_empty() || packed.len() >= plain.len() {
        return plain;
    }
    out.extend_from_slice(&packed);
    out
}

/// The frame in `bytes`; `None` for one of a kind that this version does not know, which is skipped.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    if bytes.len() > limits::FRAME_BYTES {
        return Err(WireError::TooLarge { bytes: bytes.len(), limit: limits::FRAME_BYTES });
    }
    let plain = match bytes.split_first() {
        Some((&PLAIN, rest)) => Cow::Borrowed(rest),
        Some((&ZSTD, rest)) => Cow::Owned(decompress(rest)?),
        _ => return Err(WireError::Codec),
    };
    census::check(&plain)?;
    let body = proto::Frame::decode(&*plain).map_err(|error| WireError::Protobuf(error.to_string()))?.body;
    body.map(from_proto).transpose()
}

/// Reads at most one byte more than a frame may have, so that a bomb costs its bound and not what it claims.
fn decompress(packed: &[u8]) -> Result<Vec<u8>, WireError> {
    let limit = limits::FRAME_DECOMPRESSED_BYTES;
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| WireError::Compression)?;
    let mut plain = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut plain).map_err(|_| WireError::Compression)?;
    if plain.len() > limit {
        return Err(WireError::TooLarge { bytes: plain.len(), limit });
    }
    Ok(plain)
}

fn to_proto(frame: &Frame) -> proto::frame::Body {
    use proto::frame::Body;
    match frame {
        Frame::Hello(hello) => Body::Hello(proto::Hello {
            major: hello.major,
            minor: hello.minor,
            installation: hello.installation.map(|id| id.0.to_vec()).unwrap_or_default().into(),
            actors: hello.actors.iter().map(|(actor, known)| actor_tip(actor, known.as_ref())).collect(),
            summary: hello.summary.to_vec().into(),
            cursors: hello.cursors.as_ref().map(Cursors::to_proto),
            max_bytes: hello.max_bytes,
            bootstrap: hello.bootstrap.iter().map(bootstrap::token_to_proto).collect(),
            clock: hello.clock_ms,
        }),
        Frame::Welcome(welcome) => Body::Welcome(proto::Welcome {
            installation: welcome.installation.0.to_vec().into(),
            clock: welcome.clock_ms,
            actors: welcome.actors.iter().map(|(actor, entry)| actor_tip(actor, Some(entry))).collect(),
            merged: welcome.merged.iter().map(|(feed, seq)| proto::Merged { feed: feed.0, seq: *seq }).collect(),
            want: welcome.want.into(),
            more: welcome.more,
            minor: welcome.minor,
        }),
        Frame::Cursors(cursors) => Body::Cursors(cursors.to_proto()),
        Frame::Digests(feeds) => Body::Digests(proto::Digests { feeds: feeds.iter().map(digest_to_proto).collect() }),
        Frame::Push { batch, feeds } => {
            Body::Push(proto::Push { batch: *batch, feeds: feeds.iter().map(entries::push_to_proto).collect() })
        }
        Frame::Receipts { batch, receipts } => {
            Body::Receipts(proto::Receipts { batch: *batch, receipts: receipts.iter().map(receipt_to_proto).collect() })
        }
        Frame::Entries(pages) => {
            Body::Entries(proto::Entries { feeds: pages.iter().map(entries::page_to_proto).collect() })
        }
        Frame::Bootstrap { feeds, tokens } => Body::Bootstrap(bootstrap::to_proto(feeds, tokens)),
        Frame::FeedGranted(granted) => Body::FeedGranted(proto::FeedGranted {
            feed: granted.feed.0,
            account: granted.account.to_vec().into(),
            collection: granted.collection.clone(),
            scope: granted.scope.clone(),
            epoch: granted.epoch.0.to_vec().into(),
            read_only: granted.access == Access::Read,
            owner_name: granted.owner_name.clone(),
        }),
        Frame::FeedRevoked(feed) => Body::FeedRevoked(proto::FeedRevoked { feed: feed.0 }),
        Frame::Repair(step) => Body::Repair(repair::to_proto(step)),
        Frame::Credit { bytes } => Body::Credit(proto::Credit { bytes: *bytes }),
        Frame::Renew(Token(token)) => Body::Renew(proto::Renew { token: token.clone() }),
        Frame::Goodbye(goodbye) => Body::Goodbye(proto::Goodbye {
            reason: goodbye.reason.into(),
            message: goodbye.message.clone(),
            retry_after_ms: goodbye.retry_after_ms,
        }),
        Frame::More(more) => Body::More(proto::More { more: *more }),
    }
}

fn from_proto(body: proto::frame::Body) -> Result<Frame, WireError> {
    use proto::frame::Body;
    Ok(match body {
        Body::Hello(hello) => Frame::Hello(hello_from_proto(hello)?),
        Body::Welcome(welcome) => Frame::Welcome(welcome_from_proto(welcome)?),
        Body::Cursors(cursors) => Frame::Cursors(Cursors::from_proto(&cursors)?),
        Body::Digests(digests) => {
            at_most("feeds", digests.feeds.len(), limits::FEEDS)?;
            Frame::Digests(digests.feeds.into_iter().map(digest_from_proto).collect::<Result<_, _>>()?)
        }
        Body::Push(push) => Frame::Push { batch: push.batch, feeds: entries::push_from_proto(push.feeds)? },
        Body::Receipts(receipts) => Frame::Receipts {
            batch: receipts.batch,
            receipts: receipts.receipts.into_iter().map(receipt_from_proto).collect::<Result<_, _>>()?,
        },
        Body::Entries(entries) => {
            Frame::Entries(entries.feeds.into_iter().map(entries::page_from_proto).collect::<Result<_, _>>()?)
        }
        Body::Bootstrap(page) => bootstrap::from_proto(page)?,
        Body::FeedGranted(granted) => Frame::FeedGranted(FeedGranted {
            feed: feed(granted.feed)?,
            account: fixed("account", &granted.account)?,
            epoch: Epoch(fixed("epoch", &granted.epoch)?),
            collection: granted.collection,
            scope: granted.scope,
            access: if granted.read_only { Access::Read } else { Access::Write },
            owner_name: granted.owner_name,
        }),
        Body::FeedRevoked(revoked) => Frame::FeedRevoked(feed(revoked.feed)?),
        Body::Repair(repair) => Frame::Repair(repair::from_proto(repair)?),
        Body::Credit(credit) => Frame::Credit { bytes: credit.bytes },
        Body::Renew(renew) => {
            at_most("bytes of a token", renew.token.len(), limits::TOKEN_BYTES)?;
            Frame::Renew(Token(renew.token))
        }
        Body::Goodbye(goodbye) => Frame::Goodbye(Goodbye {
            reason: goodbye.reason(),
            retry_after_ms: goodbye.retry_after_ms,
            message: goodbye.message,
        }),
        Body::More(more) => Frame::More(more.more),
    })
}

fn hello_from_proto(hello: proto::Hello) -> Result<Hello, WireError> {
    at_most("actors", hello.actors.len(), limits::ACTORS)?;
    Ok(Hello {
        major: hello.major,
        minor: hello.minor,
        installation: match hello.installation.is_empty() {
            true => None,
            false => Some(Installation(fixed("installation", &hello.installation)?)),
        },
        actors: hello
            .actors
            .iter()
            .map(|tip| {
                let known = (!tip.entry_id.is_empty()).then(|| fixed("entry_id", &tip.entry_id).map(EntryId));
                Ok((ActorId(fixed("actor", &tip.actor)?), known.transpose()?))
            })
            .collect::<Result<_, WireError>>()?,
        summary: fixed("summary", &hello.summary)?,
        cursors: hello.cursors.as_ref().map(Cursors::from_proto).transpose()?,
        max_bytes: hello.max_bytes,
        bootstrap: bootstrap::tokens_from_proto(hello.bootstrap)?,
        clock_ms: hello.clock,
    })
}

fn welcome_from_proto(welcome: proto::Welcome) -> Result<Welcome, WireError> {
    at_most("actors", welcome.actors.len(), limits::ACTORS)?;
    at_most("merged", welcome.merged.len(), limits::FEEDS)?;
    Ok(Welcome {
        installation: Installation(fixed("installation", &welcome.installation)?),
        clock_ms: welcome.clock,
        want: welcome.want(),
        more: welcome.more,
        minor: welcome.minor,
        actors: welcome
            .actors
            .iter()
            .map(|tip| Ok((ActorId(fixed("actor", &tip.actor)?), EntryId(fixed("entry_id", &tip.entry_id)?))))
            .collect::<Result<_, WireError>>()?,
        merged: welcome
            .merged
            .iter()
            .map(|merged| Ok((feed(merged.feed)?, merged.seq)))
            .collect::<Result<_, WireError>>()?,
    })
}

fn actor_tip(actor: &ActorId, entry: Option<&EntryId>) -> proto::ActorTip {
    proto::ActorTip {
        actor: actor.0.to_vec().into(),
        entry_id: entry.map(|entry| entry.0.to_vec()).unwrap_or_default().into(),
    }
}

fn digest_to_proto(digest: &FeedDigest) -> proto::FeedDigest {
    proto::FeedDigest {
        feed: digest.feed.0,
        epoch: digest.epoch.0.to_vec().into(),
        cursor: digest.cursor,
        digest: digest.digest.to_bytes().to_vec().into(),
    }
}

fn digest_from_proto(digest: proto::FeedDigest) -> Result<FeedDigest, WireError> {
    Ok(FeedDigest {
        feed: feed(digest.feed)?,
        epoch: Epoch(fixed("epoch", &digest.epoch)?),
        cursor: digest.cursor,
        digest: crate::entry::Digest(u128::from_be_bytes(fixed("digest", &digest.digest)?)),
    })
}

fn receipt_to_proto(receipt: &Receipt) -> proto::Receipt {
    use proto::receipt::Outcome;
    let refusal = |refusal: &Refusal| proto::Rejected { code: refusal.code.clone(), message: refusal.message.clone() };
    proto::Receipt {
        outcome: Some(match receipt {
            Receipt::Accepted(seq) => Outcome::Accepted(*seq),
            Receipt::Duplicate { seq, entry_id } => {
                Outcome::Duplicate(proto::Duplicate { seq: *seq, entry_id: entry_id.0.to_vec().into() })
            }
            Receipt::Rejected(why) => Outcome::Rejected(refusal(why)),
            Receipt::Retry(why) => Outcome::Retry(refusal(why)),
        }),
    }
}

fn receipt_from_proto(receipt: proto::Receipt) -> Result<Receipt, WireError> {
    use proto::receipt::Outcome;
    let refusal = |rejected: proto::Rejected| Refusal { code: rejected.code, message: rejected.message };
    Ok(match receipt.outcome {
        Some(Outcome::Accepted(seq)) => Receipt::Accepted(seq),
        Some(Outcome::Duplicate(duplicate)) => {
            Receipt::Duplicate { seq: duplicate.seq, entry_id: EntryId(fixed("entry_id", &duplicate.entry_id)?) }
        }
        Some(Outcome::Rejected(rejected)) => Receipt::Rejected(refusal(rejected)),
        Some(Outcome::Retry(rejected)) => Receipt::Retry(refusal(rejected)),
        None => return Err(WireError::Field { field: "outcome", expected: "set" }),
    })
}

fn feed(number: u64) -> Result<FeedId, WireError> {
    match number {
        1..0x1_0000_0000_0000 => Ok(FeedId(number)),
        _ => Err(WireError::Field { field: "feed", expected: "a number of 48 bits above 0" }),
    }
}

fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Field {
        field,
        expected: match N {
            8 => "8 bytes",
            16 => "16 bytes",
            _ => "of its fixed length",
        },
    })
}

fn at_most(field: &'static str, length: usize, limit: usize) -> Result<(), WireError> {
    if length > limit {
        return Err(WireError::TooMany { what: field, limit });
    }
    Ok(())
}

fn salt(bytes: &[u8]) -> Result<Salt, WireError> {
    if bytes.is_empty() { Ok([0; 8]) } else { fixed("salt", bytes) }
}

fn doc_id(bytes: &[u8], before: Option<DocId>) -> Result<DocId, WireError> {
    match (bytes.is_empty(), before) {
        (true, Some(before)) => Ok(before),
        _ => fixed("doc_id", bytes).map(DocId),
    }
}
