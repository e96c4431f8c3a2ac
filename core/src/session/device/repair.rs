//! The device's half of a repair. Where the server says that a feed has another history than the device knows, the device
//! says where the two may part and receives what follows; then it compares documents, fetches those that are missing or damaged
//! here, and queues what the server lacks before anything else is pushed: what waits may build on it.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngCore;

use super::fetch::Fetching;
use super::prove::Proving;
use super::{DeviceEffect, DeviceSession, Phase, SessionError, digests, send};
use crate::id::FeedId;
use crate::limits;
use crate::reconcile::Comparison;
use crate::store::{FeedRow, Proof, Store};
use crate::wire::{self, FeedGranted, Frame, Repair};

/// What a session has to do about other histories.
#[derive(Debug, Default)]
pub(super) struct Repairing {
    /// The server answers what this end asks.
    possible: bool,
    /// Feeds of which the server was told what is held here.
    named: BTreeSet<FeedId>,
    /// Those that were granted anew: their history is another one.
    locating: BTreeMap<FeedId, FeedGranted>,
    /// Of those, the ones that the server was not asked about yet.
    unasked: BTreeSet<FeedId>,
    /// Feeds are owed a comparison.
    owing: bool,
    /// What was accepted and has not come back was looked for.
    looked: bool,
    /// Until then what waits is held: it may build on what was lost.
    unsure: bool,
    /// The one that is compared.
    comparing: Option<(FeedId, Comparison)>,
    /// The server gives single documents, and proves its entries.
    pub(super) gives_documents: bool,
    /// Of a feed that was compared: what is fetched.
    pub(super) fetching: Option<Fetching>,
    /// And then what the server itself has of it.
    pub(super) proving: Option<Proving>,
    /// Those that were compared in this session.
    compared: BTreeSet<FeedId>,
    /// So much is missing that a part of it is sent first.
    sending: bool,
}

impl Repairing {
    /// What waits may build on what the server lacks.
    pub(super) fn holds_pushes(&self) -> bool {
        self.unsure || self.is_under_way() && !self.sending
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.possible && (self.owing || self.unsure || !self.locating.is_empty())
    }

    /// The feed is not shared any more.
    pub(super) fn forget(&mut self, feed: FeedId) {
        self.locating.remove(&feed);
        self.unasked.remove(&feed);
        if self.comparing.as_ref().is_some_and(|(compared, _)| *compared == feed) {
            self.comparing = None;
        }
        if self.fetching.as_ref().is_some_and(|fetching| fetching.feed == feed) {
            self.fetching = None;
        }
        if self.proving.as_ref().is_some_and(|proving| proving.feed() == feed) {
            self.proving = None;
        }
    }
}

impl DeviceSession {
    pub(super) fn send_digests(
        &mut self,
        feeds: &[FeedRow],
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        self.repairing.named = feeds.iter().map(|row| row.feed).collect();
        send(&Frame::Digests(digests(feeds)), effects)
    }

    /// A feed that the server was told about, and grants all the same, has another history there; what becomes of it depends
    /// on what the server can do, which Welcome says.
    pub(super) fn granted(&mut self, store: &mut Store, granted: FeedGranted) -> Result<(), SessionError> {
        if self.phase == Phase::Greeting && self.repairing.named.contains(&granted.feed) {
            self.repairing.locating.insert(granted.feed, granted);
            return Ok(());
        }
        Ok(store.grant(&granted)?)
    }

    /// The session is live: asks where histories part. A server that cannot answer sends them from their first entry; an
    /// exchange has no second round trip, so the next socket does it.
    pub(super) fn begin_repairing(
        &mut self,
        store: &mut Store,
        minor: u32,
        now_ms: i64,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let knows = minor >= wire::REPAIR_MINOR;
        self.repairing.possible = knows && self.max_bytes == 0;
        self.repairing.gives_documents = minor >= wire::FETCH_MINOR;
        if self.repairing.possible {
            self.repairing.unasked = self.repairing.locating.keys().copied().collect();
            self.repairing.unsure = !store.never_echoed()?.is_empty();
            self.locate(store, effects)?;
        } else {
            for (feed, granted) in std::mem::take(&mut self.repairing.locating) {
                match knows {
                    true => store.owe_repair(feed)?,
                    false => store.grant(&granted)?,
                }
            }
        }
        if self.repairing.possible && self.repairing.gives_documents && store.is_audit_due(now_ms)? {
            store.audit(Proof::OfBytes, now_ms)?;
        }
        self.repairing.owing = store.owes_repair()?;
        Ok(())
    }

    /// Says what the histories are of as many feeds as one message holds, when the ones before are agreed on.
    pub(super) fn locate(&mut self, store: &mut Store, effects: &mut Vec<DeviceEffect>) -> Result<(), SessionError> {
        let Repairing { locating, unasked, .. } = &mut self.repairing;
        if unasked.is_empty() || locating.len() > unasked.len() {
            return Ok(());
        }
        let mut feeds = Vec::new();
        while let Some(feed) = unasked.pop_first() {
            feeds.push((feed, store.locator(feed)?));
            if feeds.len() == limits::LOCATED_FEEDS {
                break;
            }
        }
        send(&Frame::Repair(Repair::Locate { feeds }), effects)
    }

    pub(super) fn repair_step(
        &mut self,
        store: &mut Store,
        step: Repair,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        match step {
            Repair::Agreed { feed, seq } => {
                let granted = self.repairing.locating.remove(&feed);
                store.agree(&granted.ok_or(SessionError::OutOfTurn("a common history"))?, seq)?;
                self.repairing.owing = true;
                self.locate(store, effects)
            }
            Repair::Compared { feed, answers } => match self.repairing.comparing.take() {
                Some((compared, mut comparison)) if compared == feed => {
                    comparison.take::<_, SessionError>(answers, &mut store.documents_in(feed)?)?;
                    self.compare(store, (feed, comparison), now_ms, rng, effects)
                }
                // Of one that is not shared any more.
                other => {
                    self.repairing.comparing = other;
                    Ok(())
                }
            },
            Repair::Fetched(fetched) => self.fetched(store, fetched, now_ms, rng, effects),
            Repair::Wanted { feed, entries } => self.wanted(store, (feed, entries), now_ms, rng, effects),
            Repair::Locate { .. }
            | Repair::Compare { .. }
            | Repair::Offer { .. }
            | Repair::Fetch { .. }
            | Repair::Prove { .. }
            | Repair::BringBack { .. } => Err(SessionError::OutOfTurn("a device's step of a repair")),
        }
    }

    /// The server lacks entries of this home that it had accepted.
    pub(super) fn lost(&mut self, store: &mut Store, feeds: &BTreeSet<FeedId>) -> Result<(), SessionError> {
        for feed in feeds {
            store.owe_repair(*feed)?;
        }
        self.repairing.owing |= !feeds.is_empty();
        Ok(())
    }

    /// Compares the next feed when everything that was under way has come to rest: then what the server has is here.
    pub(super) fn go_on_repairing(
        &mut self,
        store: &mut Store,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let rests = self.caught_up && self.in_flight.is_empty() && self.owed.is_empty();
        let Repairing { locating, comparing, fetching, proving, .. } = &self.repairing;
        let asks = comparing.is_some() || fetching.is_some() || proving.is_some();
        let waits = asks || !locating.is_empty();
        if !self.repairing.possible || !rests || waits {
            return Ok(());
        }
        // Everything that the server has was received: what it accepted before is among it, or lost.
        if !std::mem::replace(&mut self.repairing.looked, true) {
            let lost = store.never_echoed()?;
            self.lost(store, &lost)?;
            if std::mem::take(&mut self.repairing.unsure) && !self.repairing.owing {
                return self.push_anew(store, effects);
            }
        }
        if !self.repairing.owing || (self.repairing.sending && store.has_pending()?) {
            return Ok(());
        }
        self.repairing.sending = false;
        match store.next_repair(&self.repairing.compared)? {
            Some(feed) => {
                let comparison = Comparison::of_all(&mut store.documents_in(feed)?)?;
                self.compare(store, (feed, comparison), now_ms, rng, effects)
            }
            None => {
                store.proved()?;
                self.repairing.owing = false;
                self.push_anew(store, effects)
            }
        }
    }

    /// Asks the next questions; when there are none, fetches what is missing here.
    fn compare(
        &mut self,
        store: &mut Store,
        (feed, mut comparison): (FeedId, Comparison),
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let questions = comparison.ask().to_vec();
        if !questions.is_empty() {
            self.repairing.comparing = Some((feed, comparison));
            return send(&Frame::Repair(Repair::Compare { feed, questions }), effects);
        }
        let is_all = !comparison.is_cut_off();
        let differences = comparison.into_differences();
        let lacking = if self.repairing.gives_documents { store.lacking(feed, &differences)? } else { Vec::new() };
        self.fetch(store, Fetching::new(feed, differences, is_all, lacking), now_ms, rng, effects)
    }

    /// Queues what the server lacks, once what is missing here has come.
    pub(super) fn offer(
        &mut self,
        store: &mut Store,
        fetched: &Fetching,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let (feed, is_all) = (fetched.feed, fetched.is_all);
        let offered = store.offer(feed, &fetched.differences, is_all && fetched.unusable == 0, now_ms, rng)?;
        if offered > 0 {
            effects.push(DeviceEffect::SentAgain(offered));
        }
        if is_all || offered + fetched.mended == 0 {
            self.repairing.compared.insert(feed);
        }
        if is_all || offered == 0 {
            return self.go_on_repairing(store, now_ms, rng, effects);
        }
        self.repairing.sending = true;
        self.push_anew(store, effects)
    }

    /// What was queued again has numbers from before.
    pub(super) fn push_anew(&mut self, store: &mut Store, effects: &mut Vec<DeviceEffect>) -> Result<(), SessionError> {
        self.pushed = 0;
        self.pushed_for.clear();
        self.push(store, effects)
    }
}
