//! What is missing or damaged here of a feed that was compared comes from the server, document by document, and nothing else does.

use rand::RngCore;

use super::bootstrap::assembled;
use super::{DeviceEffect, DeviceSession, SessionError, send};
use crate::id::{DocId, FeedId};
use crate::reconcile::{Difference, RANGES};
use crate::store::Store;
use crate::wire::bootstrap::Snapshot;
use crate::wire::{Fetched, Frame, Repair};

/// Documents on their way, and what is to be offered once they are here.
#[derive(Debug)]
pub(super) struct Fetching {
    pub feed: FeedId,
    pub differences: Vec<Difference>,
    /// There are no other differences.
    pub is_all: bool,
    /// Those that are still to come, ascending.
    lacking: Vec<DocId>,
    /// What has come of one that comes in parts.
    partial: Option<(FeedId, Snapshot)>,
    pub mended: usize,
    /// Documents that came and could not be used.
    pub unusable: usize,
}

impl Fetching {
    pub fn new(feed: FeedId, differences: Vec<Difference>, is_all: bool, mut lacking: Vec<DocId>) -> Self {
        lacking.sort_unstable();
        Self { feed, differences, is_all, lacking, partial: None, mended: 0, unusable: 0 }
    }
}

impl DeviceSession {
    /// Asks for the next documents; when there are none, the server's own are next.
    pub(super) fn fetch(
        &mut self,
        store: &mut Store,
        fetching: Fetching,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        if fetching.lacking.is_empty() {
            if fetching.mended > 0 {
                effects.push(DeviceEffect::Mended(fetching.mended));
            }
            return self.prove(store, fetching, now_ms, rng, effects);
        }
        let (feed, next) = (fetching.feed, fetching.lacking.len().min(RANGES));
        let documents = fetching.lacking[..next].to_vec();
        self.repairing.fetching = Some(fetching);
        send(&Frame::Repair(Repair::Fetch { feed, documents }), effects)
    }

    pub(super) fn fetched(
        &mut self,
        store: &mut Store,
        mut fetched: Fetched,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        // Nobody waits for those of a feed that is not shared any more.
        let Some(mut fetching) = self.repairing.fetching.take_if(|fetching| fetching.feed == fetched.feed) else {
            return Ok(());
        };
        for part in std::mem::take(&mut fetched.documents) {
            fetched.documents.extend(assembled(&mut fetching.partial, fetched.feed, part)?);
        }
        let came = store.apply_fetched(&fetched)?;
        fetching.mended += came.mended;
        fetching.unusable += came.unusable;
        effects.push(DeviceEffect::Applied(came.applied));
        let Some(upto) = fetched.upto else {
            self.repairing.fetching = Some(fetching);
            return Ok(());
        };
        let before = fetching.lacking.len();
        fetching.lacking.retain(|doc_id| *doc_id > upto);
        if fetching.lacking.len() == before {
            return Err(SessionError::OutOfTurn("documents again"));
        }
        self.fetch(store, fetching, now_ms, rng, effects)
    }
}
