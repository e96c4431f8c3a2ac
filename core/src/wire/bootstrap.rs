//! `Bootstrap`: documents as they are, for a device that is far behind, with every bound of a page.

use super::*;
use crate::entry::Digest;
use crate::id::ChangeHash;

/// What the snapshots of a feed come in, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// From the device only: no snapshots but entries, from the cursor on.
    Refused,
    /// Documents of the last [`limits::BOOTSTRAP_RECENT_DAYS`] days.
    Recent,
    /// All others that changed.
    Rest,
    /// What was erased.
    Erased,
    /// From the server only: all is through.
    Complete,
}

impl Pass {
    /// As it travels and is stored.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The pass of that number.
    pub fn numbered(number: u32) -> Option<Self> {
        [Self::Refused, Self::Recent, Self::Rest, Self::Erased, Self::Complete]
            .into_iter()
            .find(|pass| pass.number() == number)
    }

    /// The one after it.
    pub fn next(self) -> Self {
        match self {
            Self::Refused | Self::Recent => Self::Rest,
            Self::Rest => Self::Erased,
            Self::Erased | Self::Complete => Self::Complete,
        }
    }
}

/// How far a device has come in the snapshots of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Of which feed.
    pub feed: FeedId,
    /// In which epoch.
    pub epoch: Epoch,
    /// The snapshots replace the entries up to here; where they are refused, the device's cursor.
    pub upto: u64,
    /// What comes next.
    pub pass: Pass,
    /// It goes on below this document; `None` = from its beginning.
    pub last: Option<DocId>,
}

/// Documents of one feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedBootstrap {
    /// Where it goes on once this is stored.
    pub next: Token,
    /// The cursor after which documents changed.
    pub from: u64,
    /// The digest at `next.upto`.
    pub digest: Digest,
    /// Every entry up to here is in the server's merged documents, and none of those is in quarantine.
    pub merged_seq: u64,
    /// Documents that come in all passes, said once in a session, after the recent ones; else 0.
    pub total: u64,
    /// By which version of the projection `listed` was made.
    pub projection_version: i32,
    /// The documents, descending.
    pub documents: Vec<Snapshot>,
    /// The entries that erased documents, each with its number.
    pub erasures: Vec<(u64, Entry)>,
}

/// One document, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Which document.
    pub doc_id: DocId,
    /// Every change of it up to this number is in the snapshot.
    pub seq: u64,
    /// Of all its changes.
    pub payload_bytes: u64,
    /// The snapshot's heads, sorted.
    pub heads: Vec<ChangeHash>,
    /// What a list shows of it; `None` = to be projected by the device.
    pub listed: Option<Listed>,
    /// An uncompressed automerge document chunk; empty if there is none.
    pub snapshot: Vec<u8>,
    /// Changes that the snapshot lacks, each with its number.
    pub entries: Vec<(u64, Entry)>,
    /// It goes on in the next page.
    pub more: bool,
}

/// What a list shows of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// When it happened, ms UTC.
    pub at: Option<i64>,
    /// Whether it lies in the trash.
    pub trashed: bool,
    /// JSON object.
    pub columns: String,
}

impl Snapshot {
    /// What counts against the window, on both sides.
    pub fn bytes(&self) -> usize {
        let columns = self.listed.as_ref().map_or(0, |listed| listed.columns.len());
        self.snapshot.len() + columns + self.entries.iter().map(|(_, entry)| entry.payload.len()).sum::<usize>()
    }

    /// Cut so that no part is larger than [`limits::SNAPSHOT_PART_BYTES`] and its list columns.
    pub fn into_parts(mut self) -> Vec<Self> {
        let mut parts = Vec::new();
        let entries = std::mem::take(&mut self.entries);
        let rest = self.snapshot.split_off(self.snapshot.len().min(limits::SNAPSHOT_PART_BYTES));
        parts.push(self);
        for chunk in rest.chunks(limits::SNAPSHOT_PART_BYTES) {
            parts.push(Self { snapshot: chunk.to_vec(), ..parts[0].continued() });
        }
        for numbered in entries {
            let last = parts.len() - 1;
            let full = parts[last].bytes() + numbered.1.payload.len() > limits::SNAPSHOT_PART_BYTES
                || parts[last].entries.len() == limits::ENTRIES_PAGE;
            if full {
                parts.push(parts[0].continued());
            }
            parts.last_mut().expect("the first part is there").entries.push(numbered);
        }
        let last = parts.len() - 1;
        parts[..last].iter_mut().for_each(|part| part.more = true);
        parts
    }

    fn continued(&self) -> Self {
        Self { listed: None, heads: Vec::new(), snapshot: Vec::new(), entries: Vec::new(), more: false, ..*self }
    }

    /// Takes the next part of the same document. False, and nothing is taken, where it is of another one, or the document
    /// is larger than any may be.
    #[must_use]
    pub fn append(&mut self, part: Self) -> bool {
        let bytes = self.bytes() + part.bytes();
        let fits = bytes <= limits::SNAPSHOT_BYTES + limits::COLUMNS_BYTES + limits::DOCUMENT_BYTES as usize;
        if part.doc_id != self.doc_id || !fits {
            return false;
        }
        self.snapshot.extend_from_slice(&part.snapshot);
        self.entries.extend(part.entries);
        self.more = part.more;
        true
    }
}

pub(super) fn to_proto(feeds: &[FeedBootstrap], tokens: &[Token]) -> proto::Bootstrap {
    proto::Bootstrap {
        feeds: feeds.iter().map(feed_to_proto).collect(),
        tokens: tokens.iter().map(token_to_proto).collect(),
    }
}

pub(super) fn from_proto(page: proto::Bootstrap) -> Result<Frame, WireError> {
    let feeds = page.feeds.into_iter().map(feed_from_proto).collect::<Result<_, _>>()?;
    Ok(Frame::Bootstrap { feeds, tokens: tokens_from_proto(page.tokens)? })
}

pub(super) fn token_to_proto(token: &Token) -> proto::BootstrapToken {
    proto::BootstrapToken {
        feed: token.feed.0,
        epoch: token.epoch.0.to_vec().into(),
        upto: token.upto,
        pass: token.pass.number(),
        last_doc_id: token.last.map(|last| last.0.to_vec()).unwrap_or_default().into(),
    }
}

pub(super) fn tokens_from_proto(tokens: Vec<proto::BootstrapToken>) -> Result<Vec<Token>, WireError> {
    at_most("feeds", tokens.len(), limits::FEEDS)?;
    tokens.into_iter().map(token_from_proto).collect()
}

fn token_from_proto(token: proto::BootstrapToken) -> Result<Token, WireError> {
    let last = (!token.last_doc_id.is_empty()).then(|| fixed("last_doc_id", &token.last_doc_id).map(DocId));
    Ok(Token {
        feed: feed(token.feed)?,
        epoch: Epoch(fixed("epoch", &token.epoch)?),
        upto: number("upto", token.upto)?,
        pass: Pass::numbered(token.pass).ok_or(WireError::Field { field: "pass", expected: "from 0 to 4" })?,
        last: last.transpose()?,
    })
}

fn feed_to_proto(page: &FeedBootstrap) -> proto::FeedBootstrap {
    proto::FeedBootstrap {
        next: Some(token_to_proto(&page.next)),
        from: page.from,
        digest: page.digest.to_bytes().to_vec().into(),
        merged_seq: page.merged_seq,
        total: page.total,
        projection_version: page.projection_version,
        documents: page.documents.iter().map(snapshot_to_proto).collect(),
        erasures: page.erasures.iter().map(numbered_to_proto).collect(),
    }
}

fn feed_from_proto(page: proto::FeedBootstrap) -> Result<FeedBootstrap, WireError> {
    Ok(FeedBootstrap {
        next: token_from_proto(page.next.ok_or(WireError::Field { field: "next", expected: "set" })?)?,
        from: number("from", page.from)?,
        digest: Digest(u128::from_be_bytes(fixed("digest", &page.digest)?)),
        merged_seq: number("merged_seq", page.merged_seq)?,
        total: number("total", page.total)?,
        projection_version: page.projection_version,
        documents: page.documents.into_iter().map(snapshot_from_proto).collect::<Result<_, _>>()?,
        erasures: page.erasures.into_iter().map(numbered_from_proto).collect::<Result<_, _>>()?,
    })
}

fn snapshot_to_proto(document: &Snapshot) -> proto::Snapshot {
    let listed =
        |listed: &Listed| proto::Listed { at: listed.at, trashed: listed.trashed, columns: listed.columns.clone() };
    proto::Snapshot {
        doc_id: document.doc_id.0.to_vec().into(),
        seq: document.seq,
        payload_bytes: document.payload_bytes,
        heads: document.heads.iter().map(|head| head.0.to_vec().into()).collect(),
        listed: document.listed.as_ref().map(listed),
        snapshot: document.snapshot.clone().into(),
        entries: document.entries.iter().map(numbered_to_proto).collect(),
        more: document.more,
    }
}

fn snapshot_from_proto(document: proto::Snapshot) -> Result<Snapshot, WireError> {
    at_most("heads", document.heads.len(), limits::CHANGE_DEPENDENCIES as usize)?;
    if document.snapshot.len() > limits::SNAPSHOT_PART_BYTES {
        return Err(WireError::TooLarge { bytes: document.snapshot.len(), limit: limits::SNAPSHOT_PART_BYTES });
    }
    Ok(Snapshot {
        doc_id: doc_id(&document.doc_id, None)?,
        seq: number("seq", document.seq)?,
        payload_bytes: number("payload_bytes", document.payload_bytes)?,
        heads: document.heads.iter().map(|head| fixed("heads", head).map(ChangeHash)).collect::<Result<_, _>>()?,
        listed: document.listed.map(listed_from_proto).transpose()?,
        snapshot: document.snapshot.into(),
        entries: document.entries.into_iter().map(numbered_from_proto).collect::<Result<_, _>>()?,
        more: document.more,
    })
}

fn listed_from_proto(listed: proto::Listed) -> Result<Listed, WireError> {
    if listed.columns.len() > limits::COLUMNS_BYTES {
        return Err(WireError::TooLarge { bytes: listed.columns.len(), limit: limits::COLUMNS_BYTES });
    }
    Ok(Listed { at: listed.at, trashed: listed.trashed, columns: listed.columns })
}

fn numbered_to_proto((seq, entry): &(u64, Entry)) -> proto::NumberedEntry {
    proto::NumberedEntry { seq: *seq, entry: Some(entries::whole_to_proto(entry)) }
}

fn numbered_from_proto(numbered: proto::NumberedEntry) -> Result<(u64, Entry), WireError> {
    let entry = numbered.entry.ok_or(WireError::Field { field: "entry", expected: "set" })?;
    Ok((number("seq", numbered.seq)?, entries::whole_from_proto(entry)?))
}

/// Numbers of entries, documents and bytes: a database's integers have 63 bits.
fn number(field: &'static str, value: u64) -> Result<u64, WireError> {
    match i64::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(WireError::Field { field, expected: "below 2^63" }),
    }
}
