//! A group's fate: written together if possible; otherwise taken apart, so that neither a feed that somebody else holds
//! nor a row that the database refuses is anybody's trouble but its own.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use fitme_core::id::FeedId;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::check::{Offer, Standing};
use super::execute::{Done, Failure, Held, append};
use super::fates::{Fate, Fates};
use super::plan::Candidate;
use super::verdict::{Postponement, Rejection, Verdict};
use super::{Committed, OnCommit, Outcome};
use crate::auth::Device;

/// Pause between two attempts to reach it.
const AWAY_PAUSE: Duration = Duration::from_millis(50);
/// Longest time one transaction may take; then its connection is taken to be dead.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Attempts when others come in between.
const CONTENDED_ATTEMPTS: usize = 5;

/// A push being settled.
pub(super) struct Settling {
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
    pub(super) fn new(
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
pub(super) struct Settler {
    pool: PgPool,
    /// Kept from group to group: taking one from the pool costs a round trip that proves it alive.
    connection: Option<PoolConnection<Postgres>>,
    fates: Fates,
    /// How long a database that is away is waited for.
    patience: Duration,
    on_commit: OnCommit,
}

impl Settler {
    pub(super) fn new(pool: PgPool, patience: Duration, on_commit: OnCommit) -> Self {
        Self { pool, connection: None, fates: Fates::default(), patience, on_commit }
    }

    /// Decides about every entry and answers every push.
    pub(super) async fn settle(&mut self, mut group: Vec<Settling>) {
        let open = self.decide_closed(&mut group);
        answer(&mut group);
        let held = self.together(&mut group, open, Held::Skip).await;
        let held = self.together(&mut group, held, Held::Wait).await;
        self.undecided(&mut group, held, Postponement::FeedBusy);
    }

    /// Closes the connection, whatever it was doing.
    pub(super) fn forget_connection(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
        }
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
        let deadline = Instant::now() + self.patience;
        let mut contended = 0;
        loop {
            let once = timeout(TRANSACTION_TIMEOUT, self.once(&candidates, held)).await;
            match once.unwrap_or(Err(Failure::Away(sqlx::Error::PoolTimedOut))) {
                Err(Failure::Away(error)) => {
                    self.forget_connection();
                    if Instant::now() >= deadline || self.pool.is_closed() {
                        return Err(Failure::Away(error));
                    }
                    sleep(AWAY_PAUSE).await;
                }
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

    async fn once(&mut self, candidates: &[Candidate<'_>], held: Held) -> Result<Done, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.pool.acquire().await?),
        };
        append(connection, candidates, held, &self.fates).await
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
