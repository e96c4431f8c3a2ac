//! Snapshots for a device that is far behind in a feed: its documents as they are, instead of all the entries they are made
//! of. What they replace is fixed once, as the entries after the device's cursor up to `upto`, which were all merged by then;
//! the place within (pass, last document) travels with each page, so that any session on any node goes on from there. In the
//! end the cursor is `upto`, and what was appended meanwhile follows as ordinary entries, whether a snapshot had it already or
//! not. Recent documents of all feeds come first, then the entries of feeds that are little behind, then everything else.

use super::*;
use crate::entry::{Digest, Entry};
use crate::id::{DocId, Epoch};
use crate::record::PROJECTION_VERSION;
use crate::wire::bootstrap::{FeedBootstrap, Pass, Snapshot, Token};

/// Items gathered into one frame; a frame may have twice as many, and a document at the end has its own.
const ITEMS: usize = limits::FRAME_ITEMS / 2;

/// How far the snapshots of a feed were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bootstrapping {
    epoch: Epoch,
    place: Place,
    /// This session told the device how many documents there are.
    is_counted: bool,
}

/// Up to where snapshots replace entries, and how far they have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The device's cursor: only what changed after it is sent.
    pub from: u64,
    /// The snapshots replace the entries up to here.
    pub upto: u64,
    /// What is sent next.
    pub pass: Pass,
    /// Below which document; `None` = from the beginning of the pass.
    pub last: Option<DocId>,
}

/// Documents to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotsAsked {
    /// Of which feed.
    pub feed: FeedId,
    /// From where on.
    pub place: Place,
    /// Whether it is to be counted how many documents come in all passes: not before the recent ones are through, which
    /// should not wait for it.
    pub count: bool,
}

/// Documents that were read.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotsRead {
    /// Of which feed.
    pub feed: FeedId,
    /// From where on.
    pub place: Place,
    /// The feed's digest at `place.upto`; `None` if the feed does not reach it.
    pub digest: Option<Digest>,
    /// How many come in all passes, if that was asked.
    pub total: u64,
    /// The documents, by id, descending.
    pub documents: Vec<Snapshot>,
    /// In the last pass: the entries that erased documents, by document, descending.
    pub erasures: Vec<(u64, Entry)>,
    /// The pass has no more. What is not exhausted holds at least one document or erasure.
    pub exhausted: bool,
}

impl ServerSession {
    /// The same, where feeds that are further behind than this many entries come as snapshots.
    #[must_use]
    pub fn bootstrapping_from(self, entries: u64) -> Self {
        Self { bootstrap_from: entries, ..self }
    }

    /// Whether the feed comes as snapshots, to a device that holds its entries up to `from`.
    pub(super) fn bootstrap_of(&self, feed: &AccountFeed, from: u64) -> Option<Box<Bootstrapping>> {
        if !self.bootstraps {
            return None;
        }
        let begin = |upto, pass, last| {
            let place = Place { from, upto, pass, last };
            Some(Box::new(Bootstrapping { epoch: feed.epoch, place, is_counted: false }))
        };
        let token = self.tokens.get(&feed.feed).filter(|token| token.epoch == feed.epoch);
        match token {
            Some(Token { pass: Pass::Refused, .. }) => None,
            // A database that died may have lost what was merged last: then the snapshots begin anew.
            Some(Token { upto, pass, last, .. })
                if (from + 1..=feed.folded).contains(upto) && *pass < Pass::Complete =>
            {
                begin(*upto, *pass, *last)
            }
            _ if feed.folded.saturating_sub(from) > self.bootstrap_from => begin(feed.folded, Pass::Recent, None),
            _ => None,
        }
    }

    /// The device takes no snapshots of these feeds any more: they go on with entries, from its cursor.
    pub(super) fn refused(&mut self, tokens: &[Token]) {
        for token in tokens.iter().filter(|token| token.pass == Pass::Refused) {
            if let Some(feed) = self.feeds.get_mut(&token.feed) {
                feed.bootstrap = None;
                // All of it may have been sent before the device looked at the first page.
                feed.sent = feed.sent.min(token.upto);
            }
        }
    }

    /// What snapshots are to be read next: of all own feeds in the earliest pass, or of one of somebody else's, which is
    /// judged when it is read. After the recent ones the entries go first of feeds that are little `behind`.
    pub(super) fn snapshots_due(&self, behind: bool) -> Option<ServerEffect> {
        let asked = |(feed, of): (&FeedId, &Feed)| {
            let at = of.bootstrap.as_deref()?;
            let asked =
                SnapshotsAsked { feed: *feed, place: at.place, count: !at.is_counted && at.place.pass == Pass::Rest };
            Some((of.granted.is_some(), asked))
        };
        let pass = self.feeds.values().filter_map(|feed| Some(feed.bootstrap.as_deref()?.place.pass)).min()?;
        if behind && pass > Pass::Recent {
            return None;
        }
        let due = || self.feeds.iter().filter_map(asked).filter(|(_, asked)| asked.place.pass == pass);
        let own: Vec<_> = due().filter(|(others, _)| !others).map(|(_, asked)| asked).collect();
        let others = own.is_empty();
        let asked = if others { due().map(|(_, asked)| asked).take(1).collect() } else { own };
        let room = usize::try_from(self.window.saturating_sub(self.unconfirmed)).unwrap_or(usize::MAX);
        Some(ServerEffect::ReadSnapshots { others, asked, max_bytes: limits::BOOTSTRAP_PAGE_BYTES.min(room) })
    }

    /// Sends what was read, and moves on.
    pub(super) fn snapshots(
        &mut self,
        read: Vec<SnapshotsRead>,
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        self.reading = self.reading.saturating_sub(1);
        let (mut pages, mut of_other) = (Pages::default(), None);
        for read in read {
            let Some(feed) = self.feeds.get_mut(&read.feed) else { continue };
            let Some(at) = feed.bootstrap.as_deref().copied().filter(|at| at.place == read.place) else { continue };
            let Some(digest) = read.digest else {
                return Err(goodbye(Reason::Unavailable, "the server's database has gone back in time; compare again"));
            };
            of_other = feed.granted.map(|_| read.feed);
            let place = place_after(&read);
            self.unconfirmed += bytes(&read);
            feed.bootstrap = Some(Box::new(Bootstrapping { place, is_counted: at.is_counted || read.total > 0, ..at }));
            if place.pass == Pass::Complete {
                feed.bootstrap = None;
                feed.sent = place.upto;
                self.own.retain(|(id, seq), _| *id != read.feed || *seq > place.upto);
            }
            pages.feed(read, at.epoch, digest, feed.merged, place);
        }
        for feeds in pages.finish() {
            let frame = Frame::Bootstrap { feeds, tokens: Vec::new() };
            match of_other {
                None => self.send(&frame, effects)?,
                Some(feed) => {
                    let message = wire::encode(&frame).map_err(|error| bad_frame(&error))?;
                    effects.push(ServerEffect::SendOfOther(feed, message));
                }
            }
        }
        Ok(())
    }
}

fn place_after(read: &SnapshotsRead) -> Place {
    if read.exhausted {
        return Place { pass: read.place.pass.next(), last: None, ..read.place };
    }
    let last = read.documents.last().map(|document| document.doc_id);
    let last = last.or(read.erasures.last().map(|(_, entry)| entry.doc_id));
    Place { last: last.or(read.place.last), ..read.place }
}

fn bytes(read: &SnapshotsRead) -> u64 {
    let documents: usize = read.documents.iter().map(Snapshot::bytes).sum();
    let erasures: usize = read.erasures.iter().map(|(_, entry)| entry.payload.len()).sum();
    (documents + erasures) as u64
}

/// Documents of several feeds, packed into frames.
#[derive(Default)]
struct Pages {
    full: Vec<Vec<FeedBootstrap>>,
    open: Vec<FeedBootstrap>,
    bytes: usize,
    items: usize,
}

impl Pages {
    /// Packs what was read of one feed; `after` is where the feed goes on behind all of it.
    fn feed(&mut self, read: SnapshotsRead, epoch: Epoch, digest: Digest, merged_seq: u64, after: Place) {
        let token =
            |place: Place| Token { feed: read.feed, epoch, upto: place.upto, pass: place.pass, last: place.last };
        let mut header = FeedBootstrap {
            next: token(read.place),
            from: read.place.from,
            digest,
            merged_seq,
            total: read.total,
            projection_version: PROJECTION_VERSION,
            documents: Vec::new(),
            erasures: Vec::new(),
        };
        self.open.push(header.clone());
        header.total = 0;
        for document in read.documents {
            let doc_id = document.doc_id;
            for part in document.into_parts() {
                self.make_room(&part, &header);
                let open = self.open.last_mut().expect("a feed is open");
                open.documents.push(part);
            }
            header.next.last = Some(doc_id);
            self.open.last_mut().expect("a feed is open").next = header.next;
        }
        let open = self.open.last_mut().expect("a feed is open");
        open.erasures = read.erasures;
        open.next = token(after);
    }

    /// Begins another frame, with the same feed, where the part would not fit.
    fn make_room(&mut self, part: &Snapshot, header: &FeedBootstrap) {
        let (bytes, items) = (part.bytes(), 1 + part.heads.len() + part.entries.len());
        if self.bytes > 0 && (self.bytes + bytes > limits::BOOTSTRAP_PAGE_BYTES || self.items + items > ITEMS) {
            self.full.push(std::mem::replace(&mut self.open, vec![header.clone()]));
            (self.bytes, self.items) = (0, 0);
        }
        self.bytes += bytes;
        self.items += items;
    }

    fn finish(mut self) -> Vec<Vec<FeedBootstrap>> {
        if !self.open.is_empty() {
            self.full.push(self.open);
        }
        self.full
    }
}
