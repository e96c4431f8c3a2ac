//! The server's half of a repair: it answers where histories part and what its documents are, gives those that a device lacks,
//! and takes what is offered.
//! Nothing is remembered from one question to the next.

use super::{Goodbye, Reason, ServerEffect, ServerSession, goodbye};
use crate::id::{DocId, FeedId};
use crate::limits;
use crate::reconcile::Answer;
use crate::record::PROJECTION_VERSION;
use crate::wire::bootstrap::Snapshot;
use crate::wire::{Fetched, Frame, Repair, Wanted};

/// Questions under way: one, and one about a feed that was revoked meanwhile.
const COMPARISONS: usize = 2;

/// Items gathered into one frame of documents; a part of one at the end may have its own.
const ITEMS: usize = limits::FRAME_ITEMS / 2;

impl ServerSession {
    pub(super) fn repair(&mut self, step: Repair, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        match step {
            Repair::Locate { feeds } => {
                for (feed, points) in feeds {
                    // One that was revoked meanwhile needs no answer: the device is told so.
                    if let Some(known) = self.feeds.get(&feed).filter(|known| known.locating) {
                        effects.push(ServerEffect::Locate { feed, others: known.granted.is_some(), points });
                    }
                }
                Ok(())
            }
            Repair::Compare { feed, questions } => {
                self.count_question()?;
                match self.feeds.get(&feed) {
                    Some(known) => {
                        let others = known.granted.is_some();
                        effects.push(ServerEffect::Compare { feed, others, questions });
                        Ok(())
                    }
                    None => self.compared(feed, Vec::new(), effects),
                }
            }
            Repair::Offer { batch, feeds } => self.push(batch, feeds, true, effects),
            Repair::Fetch { feed, documents } => {
                self.count_question()?;
                // What others let be read comes in order, where each page is judged and noted, or not at all.
                match documents.last() {
                    Some(_) if self.is_own(feed) => {
                        effects.push(ServerEffect::Fetch { feed, documents });
                        Ok(())
                    }
                    last => self.fetched(nothing(feed, last.copied()), effects),
                }
            }
            Repair::Prove { feed } => {
                self.count_question()?;
                self.of_own(feed, ServerEffect::Prove(feed), effects)
            }
            Repair::BringBack { feed, entries } => {
                self.count_question()?;
                self.of_own(feed, ServerEffect::BringBack { feed, entries }, effects)
            }
            Repair::Agreed { .. } | Repair::Compared { .. } | Repair::Fetched(_) | Repair::Wanted { .. } => {
                Err(goodbye(Reason::BadFrame, "a device sent an answer that only a server gives"))
            }
        }
    }

    pub(super) fn located(&mut self, id: FeedId, seq: u64, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        let Some(feed) = self.feeds.get_mut(&id).filter(|feed| feed.locating) else { return Ok(()) };
        (feed.sent, feed.locating) = (seq, false);
        self.send(&Frame::Repair(Repair::Agreed { feed: id, seq }), effects)
    }

    /// No answer to any question: the feed may not be read any more.
    pub(super) fn compared(
        &mut self,
        feed: FeedId,
        answers: Vec<Answer>,
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        self.comparing = self.comparing.saturating_sub(1);
        self.send(&Frame::Repair(Repair::Compared { feed, answers }), effects)
    }

    /// Sends what was read, in frames of a page each.
    pub(super) fn fetched(&mut self, read: Fetched, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        self.comparing = self.comparing.saturating_sub(1);
        let Fetched { feed, upto, projection_version, documents, erasures } = read;
        let mut open = Fetched { projection_version, ..nothing(feed, None) };
        let (mut bytes, mut items) = (0, 0);
        for part in documents.into_iter().flat_map(Snapshot::into_parts) {
            (bytes, items) = (bytes + part.bytes(), items + 1 + part.heads.len() + part.entries.len());
            if !open.documents.is_empty() && (bytes > limits::BOOTSTRAP_PAGE_BYTES || items > ITEMS) {
                let full = std::mem::replace(&mut open, Fetched { projection_version, ..nothing(feed, None) });
                self.send(&Frame::Repair(Repair::Fetched(full)), effects)?;
                (bytes, items) = (part.bytes(), 1 + part.heads.len() + part.entries.len());
            }
            open.documents.push(part);
        }
        self.send(&Frame::Repair(Repair::Fetched(Fetched { upto, erasures, ..open })), effects)
    }

    /// What is wanted of an own feed; nothing of any other.
    fn of_own(&mut self, feed: FeedId, effect: ServerEffect, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        if !self.is_own(feed) {
            return self.wanted(feed, Vec::new(), effects);
        }
        effects.push(effect);
        Ok(())
    }

    fn is_own(&self, feed: FeedId) -> bool {
        self.feeds.get(&feed).is_some_and(|known| known.granted.is_none())
    }

    pub(super) fn wanted(
        &mut self,
        feed: FeedId,
        entries: Vec<Wanted>,
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        self.comparing = self.comparing.saturating_sub(1);
        self.send(&Frame::Repair(Repair::Wanted { feed, entries }), effects)
    }

    fn count_question(&mut self) -> Result<(), Goodbye> {
        self.comparing += 1;
        if self.comparing > COMPARISONS {
            return Err(goodbye(Reason::BadFrame, "more comparisons are under way than allowed"));
        }
        Ok(())
    }

    pub(super) fn is_locating(&self) -> bool {
        self.feeds.values().any(|feed| feed.locating)
    }
}

fn nothing(feed: FeedId, upto: Option<DocId>) -> Fetched {
    Fetched { feed, upto, projection_version: PROJECTION_VERSION, documents: Vec::new(), erasures: Vec::new() }
}
