//! A group's fate: written together if possible; otherwise taken apart, so that neither a feed that somebody else holds
//! nor a row that the database refuses is anybody's trouble but its own.

use std::collections::{BTreeMap, HashSet};

use fitme_core::id::FeedId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::check::{Offer, Standing};
use super::execute::{Done, Failure, Held};
use super::fates::{Fate, Fates};
use super::plan::Candidate;
use super::verdict::{Postponement, Rejection, Verdict};
use super::{Committed, OnCommit, Outcome};
use crate::auth::Device;

mod database;

pub use database::{Database, TRANSACTION_TIMEOUT};

/// Attempts when others come in between.
const CONTENDED_ATTEMPTS: usize = 5;

/// Where groups are written: the database, or the tables of the simulator.
pub trait Storage {
    /// Runs one transaction of [`append`](super::execute::append).
    fn append(
        &mut self,
        candidates: &[Candidate<'_>],
        held: Held,
        fates: &Fates,
    ) -> impl Future<Output = Result<Done, Failure>> + Send;
}

/// A push being settled.
#[derive(Debug)]
pub struct Settling {
    /// Who pushed.
    pub device: Device,
    offers: Vec<Offer>,
    verdicts: Vec<Option<Verdict>>,
    /// `None` once it was answered.
    reply: Option<oneshot::Sender<Outcome>>,
    _room: OwnedSemaphorePermit,
}

/// Where an entry is in a group: push and position in it.
type Place = (usize, usize);

impl Settling {
    /// A push whose entries were checked, who waits for its outcome, and its share of what may wait.
    #[must_use]
    pub fn new(
        device: Device,
        offers: Vec<Offer>,
        reply: oneshot::Sender<Outcome>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        let verdicts = vec![None; offers.len()];
        Self { device, offers, verdicts, reply: Some(reply), _room: room }
    }

    pub(super) fn entries(&self) -> usize {
        self.offers.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.offers.iter().map(|offer| offer.entry.payload.len()).sum()
    }

    /// Every verdict, if there is one for each entry.
    fn decided(&self) -> Option<Vec<Verdict>> {
        self.verdicts.iter().cloned().collect()
    }
}

/// Settles a lane's groups, one after the other.
pub struct Settler<S> {
    storage: S,
    fates: Fates,
    on_commit: OnCommit,
}

impl<S: Storage> Settler<S> {
    /// One that has settled nothing yet; `on_commit` as in [`Ingest::start`](super::Ingest::start).
    pub fn new(storage: S, on_commit: OnCommit) -> Self {
        Self { storage, fates: Fates::default(), on_commit }
    }

    /// Where it writes.
    pub fn storage(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Decides about every entry and answers every push.
    pub async fn settle(&mut self, mut group: Vec<Settling>) {
        let open = self.decide_closed(&mut group);
        answer(&mut group);
        let held = self.together(&mut group, open, Held::Skip).await;
        let held = self.together(&mut group, held, Held::Wait).await;
        self.undecided(&mut group, held, Postponement::FeedBusy);
    }

    /// Decides about entries that their checks decided; returns the others.
    fn decide_closed(&mut self, group: &mut [Settling]) -> Vec<Place> {
        let places = (0..group.len()).flat_map(|push| (0..group[push].offers.len()).map(move |at| (push, at)));
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for (push, at) in places.collect::<Vec<_>>() {
            match &group[push].offers[at].standing {
                Standing::Open => open.push((push, at)),
                Standing::Rejected(why) => closed.push(((push, at), Verdict::Rejected(why.clone()))),
                Standing::Undecided(why) => closed.push(((push, at), Verdict::Undecided(*why))),
            }
        }
        for (place, verdict) in closed {
            self.decide(group, place, verdict);
        }
        open
    }

    /// One transaction for all. Returns those whose feeds somebody else holds.
    async fn together(&mut self, group: &mut [Settling], places: Vec<Place>, held: Held) -> Vec<Place> {
        if places.is_empty() {
            return places;
        }
        match self.attempt(group, &places, held).await {
            Ok(done) => return self.record(group, &places, done),
            Err(Failure::Away(error)) => {
                tracing::warn!(%error, entries = places.len(), "the database is away; devices push again");
                self.undecided(group, places, Postponement::Unavailable);
            }
            Err(Failure::Held) => self.apart(group, places, Held::Skip).await,
            Err(Failure::Contended(why)) => {
                tracing::warn!(why, "a group was overtaken every time; its parts go alone");
                self.apart(group, places, Held::Wait).await;
            }
            Err(Failure::Refused(_) | Failure::Broken(_)) => self.apart(group, places, Held::Wait).await,
        }
        Vec::new()
    }

    /// Each feed alone; what is refused then, by halves, the first half before the second, which may build on it.
    async fn apart(&mut self, group: &mut [Settling], places: Vec<Place>, held: Held) {
        let mut feeds: BTreeMap<FeedId, Vec<Place>> = BTreeMap::new();
        for (push, at) in places {
            feeds.entry(group[push].offers[at].feed).or_default().push((push, at));
        }
        let mut parts: Vec<_> = feeds.into_values().collect();
        while let Some(part) = parts.pop() {
            match self.attempt(group, &part, held).await {
                Ok(done) => {
                    let held = self.record(group, &part, done);
                    self.undecided(group, held, Postponement::FeedBusy);
                }
                Err(Failure::Away(_)) => {
                    let rest = parts.drain(..).flatten().chain(part).collect();
                    self.undecided(group, rest, Postponement::Unavailable);
                }
                Err(Failure::Held | Failure::Contended(_)) => self.undecided(group, part, Postponement::FeedBusy),
                Err(failure) if part.len() == 1 => self.refuse(group, part[0], &failure),
                Err(Failure::Refused(_) | Failure::Broken(_)) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second.to_vec());
                    parts.push(first.to_vec());
                }
            }
        }
    }

    /// The one entry about which a group failed. Only what the database says about its row is final.
    fn refuse(&mut self, group: &mut [Settling], place: Place, failure: &Failure) {
        let offer = &group[place.0].offers[place.1];
        tracing::error!(feed = %offer.feed, entry = %offer.id, %failure, "an entry could not be written");
        let verdict = match failure {
            Failure::Refused(_) => Verdict::Rejected(Rejection::RefusedByDatabase),
            _ => Verdict::Undecided(Postponement::Unavailable),
        };
        self.decide(group, place, verdict);
        answer(group);
    }

    async fn attempt(&mut self, group: &[Settling], places: &[Place], held: Held) -> Result<Done, Failure> {
        let candidate = |&(push, at): &Place| Candidate { device: group[push].device, offer: &group[push].offers[at] };
        let candidates: Vec<_> = places.iter().map(candidate).collect();
        let mut contended = 0;
        loop {
            match self.storage.append(&candidates, held, &self.fates).await {
                Err(Failure::Contended(why)) => {
                    contended += 1;
                    if contended == CONTENDED_ATTEMPTS {
                        return Err(Failure::Contended(why));
                    }
                }
                other => return other,
            }
        }
    }

    /// Takes over what was committed: receipts first, then the entries to whoever listens. Returns what was left out.
    fn record(&mut self, group: &mut [Settling], places: &[Place], done: Done) -> Vec<Place> {
        let mut left_out = Vec::new();
        for (place, verdict) in places.iter().zip(done.verdicts) {
            match verdict {
                Some(verdict) => self.decide(group, *place, verdict),
                None => left_out.push(*place),
            }
        }
        answer(group);
        for grantee in done.regranted {
            (self.on_commit)(Committed::Regranted(grantee));
        }
        for live in done.live {
            (self.on_commit)(Committed::Entries(live));
        }
        left_out
    }

    fn undecided(&mut self, group: &mut [Settling], places: Vec<Place>, why: Postponement) {
        for place in places {
            self.decide(group, place, Verdict::Undecided(why));
        }
        answer(group);
    }

    fn decide(&mut self, group: &mut [Settling], (push, at): Place, verdict: Verdict) {
        let settling = &mut group[push];
        if let Some(change) = &settling.offers[at].change {
            self.fates.note((settling.device.device, change.facts.hash), Fate::of(&verdict));
        }
        settling.verdicts[at] = Some(verdict);
    }
}

/// Answers the pushes that are settled; those of one device in their order.
fn answer(group: &mut [Settling]) {
    let mut behind = HashSet::new();
    for settling in group.iter_mut().filter(|settling| settling.reply.is_some()) {
        if behind.contains(&settling.device.device) {
            continue;
        }
        match (settling.decided(), settling.reply.take()) {
            (Some(verdicts), Some(reply)) => {
                // Nobody waits where the device has gone; it pushes again and finds duplicates.
                let _ = reply.send(Outcome::of(&settling.offers, &verdicts));
            }
            (_, reply) => {
                settling.reply = reply;
                behind.insert(settling.device.device);
            }
        }
    }
}

impl<S> std::fmt::Debug for Settler<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settler").finish_non_exhaustive()
    }
}
