//! What the server's half of a session hears and wants done, and what both carry.

use std::sync::Arc;

use crate::entry::{Digest, Entry};
use crate::id::{ActorId, DocId, EntryId, Epoch, FeedId, Installation};
use crate::policy::Access;
use crate::reconcile::{Answer, Question};
use crate::wire::{Cursors, FeedPush, Fetched, Receipt, Token, Wanted};

use super::bootstrap::{SnapshotsAsked, SnapshotsRead};

/// How the session's bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Over a socket, until one side goes.
    Socket,
    /// One HTTP exchange: a Hello, at most one Push, and an answer of bounded length.
    Once,
}

/// What happened.
#[derive(Debug)]
pub enum ServerEvent<'a> {
    /// A message came from the device.
    Message(&'a [u8]),
    /// Answers [`ServerEffect::LoadAccount`].
    Account(Account),
    /// Answers [`ServerEffect::RenewEpochs`].
    EpochsRenewed,
    /// Answers [`ServerEffect::Ingest`].
    Settled(Settled),
    /// Answers [`ServerEffect::Read`].
    Page(Page),
    /// Answers [`ServerEffect::Locate`].
    Located {
        /// Which feed.
        feed: FeedId,
        /// The last number at which both histories are the same.
        seq: u64,
    },
    /// Answers [`ServerEffect::Compare`].
    Compared {
        /// Which feed.
        feed: FeedId,
        /// One for each question, in their order.
        answers: Vec<Answer>,
    },
    /// Answers [`ServerEffect::Fetch`].
    Fetched(Fetched),
    /// Answers [`ServerEffect::Prove`] and [`ServerEffect::BringBack`].
    Wanted {
        /// Which feed.
        feed: FeedId,
        /// What of it is lost or damaged.
        entries: Vec<Wanted>,
    },
    /// Answers [`ServerEffect::ReadSnapshots`]; a feed that was not reached is left out.
    Snapshots(Vec<SnapshotsRead>),
    /// Entries were committed on this node.
    Live(LiveEntries<'a>),
    /// A feed's head, as another node or the poll says.
    Head(FeedId, u64),
    /// A feed was merged up to here, without a document in quarantine.
    Merged(FeedId, u64),
    /// What others grant the account changed.
    Regranted(Arc<Grants>),
    /// Answers the reading of somebody else's feed that may not be read (any more): what is granted now.
    Denied(Arc<Grants>),
}

/// What the session wants done.
#[derive(Debug, PartialEq)]
pub enum ServerEffect {
    /// Send a message.
    Send(Vec<u8>),
    /// Send entries of somebody else's feed.
    SendOfOther(FeedId, Vec<u8>),
    /// Read the account's feeds, the digests at the cursors, and the last accepted entry of each actor.
    LoadAccount {
        /// At which numbers digests are needed.
        cursors: Cursors,
        /// Whose tips are asked for.
        actors: Vec<ActorId>,
    },
    /// Give these feeds new epochs: a device holds another history of them.
    RenewEpochs(Vec<FeedId>),
    /// Have entries accepted or refused, one verdict each, in order.
    Ingest {
        /// The device's number for the push.
        batch: u64,
        /// The entries.
        feeds: Vec<FeedPush>,
        /// The device does not say that it wrote them: it holds them, and the server does not.
        offered: bool,
    },
    /// Find the first of these points of a device's history that is one of the feed's, too.
    Locate {
        /// Which feed.
        feed: FeedId,
        /// It is somebody else's, as in [`ServerEffect::Read`].
        others: bool,
        /// Numbers and digests, the highest number first.
        points: Vec<(u64, Digest)>,
    },
    /// Compare the feed's documents with what a device holds.
    Compare {
        /// Which feed.
        feed: FeedId,
        /// It is somebody else's, as in [`ServerEffect::Read`].
        others: bool,
        /// What the device holds.
        questions: Vec<Question>,
    },
    /// Read documents of an own feed as they are, in their order, until there are enough for a page.
    Fetch {
        /// Which feed.
        feed: FeedId,
        /// Which documents, at least one.
        documents: Vec<DocId>,
    },
    /// Prove the entries of an own feed.
    Prove(FeedId),
    /// Put entries back into an own feed that were lost or damaged there.
    BringBack {
        /// Which feed.
        feed: FeedId,
        /// Each with its number.
        entries: Vec<(u64, Entry)>,
    },
    /// Read the feed's entries above `after`.
    Read {
        /// Which feed.
        feed: FeedId,
        /// It is somebody else's: whether the account may still read it is to be asked first, and what is granted now is
        /// the answer if it may not.
        others: bool,
        /// The last number that was sent.
        after: u64,
        /// At most about so many payload bytes.
        max_bytes: usize,
    },
    /// Read documents of these feeds, one feed after the other until there are enough.
    ReadSnapshots {
        /// It is one feed, of somebody else, as in [`ServerEffect::Read`].
        others: bool,
        /// Which, all in the same pass.
        asked: Vec<SnapshotsAsked>,
        /// So many bytes are enough.
        max_bytes: usize,
    },
    /// Go on under this access token, if it is one of the same device.
    Renew(Token),
    /// Send this frame and close.
    Close(Vec<u8>),
}

/// An account as one consistent reading of the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Which database it is.
    pub installation: Installation,
    /// Whose feeds these are.
    pub account: [u8; 16],
    /// Its clock, ms UTC.
    pub clock_ms: i64,
    /// All feeds the device may read, its own and those of others, ascending.
    pub feeds: Vec<AccountFeed>,
    /// Which version of what others grant it these are.
    pub grants_version: u64,
    /// The last accepted entry of each actor that has one.
    pub actors: Vec<(ActorId, EntryId)>,
}

impl Account {
    /// The feed with that number, if the device may read it.
    pub(crate) fn feed(&self, feed: FeedId) -> Option<&AccountFeed> {
        let at = self.feeds.binary_search_by_key(&feed, |one| one.feed).ok()?;
        Some(&self.feeds[at])
    }
}

/// What others grant an account, as one reading of the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Grants {
    /// Of two readings the one with the higher number is later.
    pub version: u64,
    /// The feeds of others that the account may read now, ascending; without digests at cursors.
    pub feeds: Vec<AccountFeed>,
}

/// One feed of an [`Account`].
#[derive(Debug, Clone, PartialEq)]
pub struct AccountFeed {
    /// Its number.
    pub feed: FeedId,
    /// Whose it is.
    pub owner: [u8; 16],
    /// How the owner wants to be seen; empty for own feeds.
    pub owner_name: Arc<str>,
    /// Whether the account may write to it.
    pub access: Access,
    /// Collection name.
    pub collection: Arc<str>,
    /// Scope within it.
    pub scope: Arc<str>,
    /// Its epoch.
    pub epoch: Epoch,
    /// The last number given.
    pub head: u64,
    /// The digest at the head.
    pub head_digest: Digest,
    /// Every entry up to here is merged, and none of a document in quarantine.
    pub merged: u64,
    /// Every entry up to here is merged, or its document is in quarantine.
    pub folded: u64,
    /// The digest at the cursor that was asked about; `None` if the feed does not reach it or nothing was asked.
    pub digest_at_cursor: Option<Digest>,
}

/// The verdicts on one push.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The device's number for it.
    pub batch: u64,
    /// One for each entry, in order.
    pub receipts: Vec<Receipt>,
    /// Those that the feeds have now.
    pub own: Vec<Own>,
}

/// A pushed entry that its feed has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// Which feed.
    pub feed: FeedId,
    /// Its number.
    pub seq: u64,
    /// The id under which it was accepted.
    pub id: EntryId,
    /// How the device gets it back.
    pub echo: Echo,
}

/// How a device gets an entry back that it pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// It was just committed: its number and id, as soon as they come from memory.
    Fresh,
    /// The feed had it under this id: its number and id.
    Known,
    /// The feed had it under another id: in full, so that the device takes over time and salt as well.
    InFull,
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Its id.
    pub id: EntryId,
    /// Its content; of one that was emptied only kind and document are true.
    pub entry: Entry,
    /// Its document was erased: what it held is gone.
    pub emptied: bool,
}

impl Received {
    /// A whole one.
    pub fn whole(entry: Entry) -> Self {
        Self { id: entry.id(), entry, emptied: false }
    }
}

/// Entries read from the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Which feed.
    pub feed: FeedId,
    /// The number after which was read.
    pub after: u64,
    /// The entries from `after + 1` on; empty if there are none.
    pub entries: Vec<Received>,
    /// The feed's head at that time.
    pub head: u64,
}

/// Entries just committed.
#[derive(Debug, Clone, Copy)]
pub struct LiveEntries<'a> {
    /// Which feed.
    pub feed: FeedId,
    /// Number of the first.
    pub first_seq: u64,
    /// The entries.
    pub entries: &'a [Received],
}
