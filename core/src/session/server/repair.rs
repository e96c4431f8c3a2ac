//! The server's half of a repair: it answers where histories part and what its documents are, and takes what is offered.
//! Nothing is remembered from one question to the next.

use super::{Goodbye, Reason, ServerEffect, ServerSession, goodbye};
use crate::id::FeedId;
use crate::reconcile::Answer;
use crate::wire::{Frame, Repair};

/// Questions under way: one, and one about a feed that was revoked meanwhile.
const COMPARISONS: usize = 2;

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
                self.comparing += 1;
                if self.comparing > COMPARISONS {
                    return Err(goodbye(Reason::BadFrame, "more comparisons are under way than allowed"));
                }
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
            Repair::Agreed { .. } | Repair::Compared { .. } => {
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

    pub(super) fn is_locating(&self) -> bool {
        self.feeds.values().any(|feed| feed.locating)
    }
}
