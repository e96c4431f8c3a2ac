//! In an audit the server proves its own entries as well; those that it has lost or holds damaged go back to it, if they are here.

use rand::RngCore;

use super::fetch::Fetching;
use super::{DeviceEffect, DeviceSession, SessionError, send};
use crate::id::FeedId;
use crate::store::Store;
use crate::wire::{Frame, Repair, Wanted};

/// A feed that the server is proving.
#[derive(Debug)]
pub(super) struct Proving {
    /// What is to be offered afterwards.
    fetched: Fetching,
    /// How many entries were wanted at first, and before the last answer.
    wanted: Option<(usize, usize)>,
}

impl Proving {
    pub fn feed(&self) -> FeedId {
        self.fetched.feed
    }
}

impl DeviceSession {
    /// Has the server prove an own feed, in an audit; then what it lacks is next.
    pub(super) fn prove(
        &mut self,
        store: &mut Store,
        fetched: Fetching,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let feed = fetched.feed;
        if !self.repairing.gives_documents || !store.owes_proof()? || store.is_of_other(feed)? {
            return self.offer(store, &fetched, now_ms, rng, effects);
        }
        self.repairing.proving = Some(Proving { fetched, wanted: None });
        send(&Frame::Repair(Repair::Prove { feed }), effects)
    }

    pub(super) fn wanted(
        &mut self,
        store: &mut Store,
        (feed, wanted): (FeedId, Vec<Wanted>),
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let Some(proving) = self.repairing.proving.take_if(|proving| proving.feed() == feed) else { return Ok(()) };
        let left = wanted.len();
        let (first, before) = proving.wanted.unwrap_or((left, usize::MAX));
        let found = if left < before { store.wanted_entries(feed, &wanted)? } else { Vec::new() };
        if found.is_empty() {
            if first > 0 {
                effects.push(DeviceEffect::BroughtBack { entries: first.saturating_sub(left), wanting: left });
            }
            return self.offer(store, &proving.fetched, now_ms, rng, effects);
        }
        self.repairing.proving = Some(Proving { wanted: Some((first, left)), ..proving });
        send(&Frame::Repair(Repair::BringBack { feed, entries: found }), effects)
    }
}
