//! What is to be done with a group of entries, as a value: verdicts and rows, from what the database said under the
//! feeds' locks. Nothing here reads or writes anything, so the rules can be read, and tested, alone.
//!
//! Entries are judged one after the other, each on the state that the accepted ones before it leave behind.

use std::collections::{BTreeMap, HashMap, HashSet};

use fitme_core::entry::Digest;
use fitme_core::id::{ActorId, ChangeHash, DocId, EntryId, FeedId};
use fitme_core::policy::{self, Action, Denied, Permit, Role, Service};
use fitme_core::record::{Consent, Given};
use fitme_core::void::Void;
use fitme_core::{limits, merge};
use uuid::Uuid;

use super::check::{Change, Offer, Standing};
use super::fates::{Fate, Fates};
use super::verdict::{Postponement, Rejection, Verdict};
use crate::auth::Device;

/// An entry and the device that pushed it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Who pushed it.
    pub device: Device,
    /// The entry, checked by itself.
    pub offer: &'a Offer,
}

/// What the database knows of everything that the group touches, read under the feeds' locks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The locked feeds.
    pub feeds: BTreeMap<FeedId, FeedState>,
    /// Numbers of entries, by id.
    pub entries: HashMap<(FeedId, EntryId), u64>,
    /// Number and id of changes: offered ones and those they depend on.
    pub changes: HashMap<(FeedId, DocId, ChangeHash), (u64, EntryId)>,
    /// Those of them that were taken out of their documents.
    pub left_out: HashSet<(FeedId, DocId, ChangeHash)>,
    /// What the voids of the group would take out, by their ids; none for what is not in quarantine.
    pub voids: HashMap<EntryId, Lost>,
    /// Documents of the accounts.
    pub documents: BTreeMap<(Uuid, DocId), DocumentState>,
    /// The last sequence number of each actor in each document.
    pub tips: HashMap<(FeedId, DocId, ActorId), u64>,
    /// The devices to which actors are bound.
    pub actors: BTreeMap<ActorId, Binding>,
    /// What is known of grants.
    pub grants: KnownGrants,
    /// What the accounts hold. Read without a lock of its own: what another node appends to an account's other feeds in the
    /// same moment may exceed a bound by one group.
    pub usage: BTreeMap<Uuid, Usage>,
}

/// What a document loses by a void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The change and what builds on it, with the numbers of their entries.
    pub changes: Vec<(ChangeHash, u64)>,
    /// What nothing else depends on, sorted.
    pub heads: Vec<ChangeHash>,
}

/// The device that an actor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The one that used it first.
    pub device: Uuid,
    /// That device's account; `None` where it cannot be seen, or is gone.
    pub account: Option<Uuid>,
}

/// What the database knows of the grants that a group needs or changes, read under the locks of the `grants` feeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownGrants {
    /// The database's clock, ms UTC; read only where somebody writes to another's feed.
    pub now_ms: i64,
    /// What owners permit others, by (owner, grantee), each with its grant.
    pub permits: HashMap<(Uuid, Uuid), Vec<(DocId, Permit)>>,
    /// (account, grantee): the account has accepted an invitation of the grantee.
    pub relations: HashSet<(Uuid, Uuid)>,
    /// Feeds that all grants of an account name.
    pub feeds: HashMap<Uuid, u64>,
    /// Feeds that others grant an account.
    pub received: HashMap<Uuid, u64>,
    /// Grants that were revoked, perhaps before they arrived.
    pub revoked: HashSet<(Uuid, DocId)>,
}

/// What an account holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records.
    pub documents: u64,
    /// Sum over their changes.
    pub bytes: u64,
}

impl Usage {
    fn plus(self, more: Self) -> Self {
        Self { documents: self.documents + more.documents, bytes: self.bytes + more.bytes }
    }
}

/// A feed's row, as far as ingest moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedState {
    /// Whose it is.
    pub account: Uuid,
    /// The last number given.
    pub head: u64,
    /// Sum of the entry ids up to there.
    pub digest: Digest,
}

/// A document's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentState {
    /// The feed of its first entry.
    pub feed: FeedId,
    /// What nothing accepted depends on, sorted.
    pub heads: Vec<ChangeHash>,
    /// Sum over its changes.
    pub payload_bytes: u64,
    /// Number and id of the entry that erased it, if one did: then it has neither heads nor bytes.
    pub erased: Option<(u64, EntryId)>,
}

impl DocumentState {
    fn empty(feed: FeedId) -> Self {
        Self { feed, heads: Vec::new(), payload_bytes: 0, erased: None }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each candidate, in order.
    pub verdicts: Vec<Verdict>,
    /// Rows to append, each feed's in the order of their numbers.
    pub entries: Vec<NewEntry>,
    /// Rows to insert or replace.
    pub documents: BTreeMap<(Uuid, DocId), DocumentState>,
    /// Rows to insert or move.
    pub actors: BTreeMap<ActorId, ActorTip>,
    /// The feeds that move, as they will be.
    pub feeds: BTreeMap<FeedId, FeedState>,
    /// Grants that are new and revocations, in order.
    pub consents: Vec<NewConsent>,
    /// Documents to empty, after the rows were appended.
    pub erasures: Vec<Erasure>,
    /// What documents lose.
    pub voids: Vec<NewVoid>,
    /// What the accounts hold more than before; what erasures free is not taken off.
    pub usage: BTreeMap<Uuid, Usage>,
}

/// A grant that permits from now on, or one that no longer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsent {
    /// Whose feeds it is about.
    pub account: Uuid,
    /// The grant's document.
    pub grant: DocId,
    /// The device that wrote it.
    pub by: Uuid,
    /// What is granted; `None` if it is revoked.
    pub given: Option<Given>,
}

/// A document that is deleted for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    /// Whose it is.
    pub account: Uuid,
    /// Where it lies.
    pub feed: FeedId,
    /// Which.
    pub doc_id: DocId,
    /// Number of the entry that erases it: all others of it come before.
    pub seq: u64,
    /// Id of that entry.
    pub entry: EntryId,
    /// What its changes had.
    pub bytes: u64,
}

/// Changes that are no part of their document any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVoid {
    /// Where the document lies.
    pub feed: FeedId,
    /// Which.
    pub doc_id: DocId,
    /// Number of the entry that says so.
    pub seq: u64,
    /// Which, with the numbers of their entries.
    pub changes: Vec<(ChangeHash, u64)>,
}

/// A row of `entries`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEntry {
    /// Which candidate it is.
    pub candidate: usize,
    /// Its number.
    pub seq: u64,
    /// The feed's digest at it.
    pub digest: Digest,
    /// The device that wrote it; nil where that is not known, and where the server did.
    pub author: Uuid,
    /// The device that brought it, where that is not the one that wrote it.
    pub offered_by: Option<Uuid>,
}

/// A row of `actors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActorTip {
    /// To which device it is bound.
    pub device: Uuid,
    /// Its last accepted entry.
    pub entry: EntryId,
    /// Where that lies.
    pub feed: FeedId,
    /// Its number there.
    pub seq: u64,
}

/// Judges `candidates` in order. A candidate whose feed is not among the known ones is `not_your_feed`.
#[must_use]
pub fn plan(known: Known, candidates: &[Candidate<'_>], fates: &Fates) -> Plan {
    let mut planner = Planner { known, fates, group: HashMap::new(), plan: Plan::default() };
    for (index, candidate) in candidates.iter().enumerate() {
        let verdict = planner.judge(index, candidate);
        planner.remember(candidate, &verdict);
        planner.plan.verdicts.push(verdict);
    }
    planner.plan
}

struct Planner<'a> {
    known: Known,
    /// Of entries that were judged before this group.
    fates: &'a Fates,
    /// The same for entries of this group, which count first; `None` for what was accepted.
    group: HashMap<(Uuid, ChangeHash), Option<Fate>>,
    plan: Plan,
}

/// A candidate that may be appended, with what appending it needs.
struct Appendable<'a> {
    account: Uuid,
    /// `None` for one that erases, or takes a change out.
    change: Option<&'a Change>,
    document: DocumentState,
    adds: Usage,
}

impl Planner<'_> {
    fn judge(&mut self, index: usize, candidate: &Candidate<'_>) -> Verdict {
        match self.appendable(candidate) {
            Ok(appendable) => Verdict::Accepted { seq: self.append(index, candidate, appendable) },
            Err(verdict) => verdict,
        }
    }

    fn appendable<'c>(&self, candidate: &Candidate<'c>) -> Result<Appendable<'c>, Verdict> {
        let offer = candidate.offer;
        let change = match (&offer.standing, &offer.change) {
            (Standing::Rejected(why), _) => return Err(Verdict::Rejected(why.clone())),
            (Standing::Undecided(why), _) => return Err(Verdict::Undecided(*why)),
            (Standing::Open, Some(change)) => change,
            (Standing::Open, None) if offer.entry.is_erasure() => return self.erasable(candidate),
            (Standing::Open, None) if Void::of(&offer.entry).is_some() => return self.voidable(candidate),
            (Standing::Open, None) => return Err(Verdict::Rejected(Rejection::KindNotServed(offer.entry.kind))),
        };
        let account = self.feed(offer.feed).ok_or(Verdict::Rejected(Rejection::NotYourFeed))?.account;
        let permitted = self.permitted(candidate, Action::Write);
        // What was accepted while a grant was valid is not refused when its receipt was lost. Anybody else would learn from
        // a duplicate what is there: a profile, or an import of a file that they have as well.
        if permitted.is_ok() || self.is_its_writer(candidate.device, change) {
            self.duplicate(offer, change).map_or(Ok(()), Err)?;
        }
        permitted.map_err(Verdict::Rejected)?;
        self.consent(account, offer).map_err(Verdict::Rejected)?;
        let document = self.document(account, offer, change)?;
        self.dependencies(candidate, change)?;
        self.actor(candidate, change).map_err(Verdict::Rejected)?;
        let adds = self.room(account, candidate).map_err(Verdict::Rejected)?;
        Ok(Appendable { account, change: Some(change), document, adds })
    }

    fn feed(&self, feed: FeedId) -> Option<&FeedState> {
        self.plan.feeds.get(&feed).or_else(|| self.known.feeds.get(&feed))
    }

    /// Asks the judge.
    fn permitted(&self, candidate: &Candidate<'_>, action: Action) -> Result<(), Rejection> {
        let place = candidate.offer.place.as_ref().ok_or(Rejection::NotYourFeed)?;
        let who = candidate.device.account;
        let permits = self.known.grants.permits.get(&(place.owner, who)).map_or(&[][..], Vec::as_slice);
        let permits: Vec<_> = permits.iter().map(|(_, permit)| permit.clone()).collect();
        let judge =
            |action| policy::judge(who.into_bytes(), action, place.judged(), &permits, self.known.grants.now_ms);
        judge(action).map_err(|why| match why {
            // What is not shared at all is, to others, as if it were not there.
            Denied::NotGranted | Denied::NeverShared(_) => Rejection::NotYourFeed,
            Denied::OwnerOnly if judge(Action::Read).is_err() => Rejection::NotYourFeed,
            Denied::OwnerOnly => Rejection::OwnerOnly,
            why => Rejection::NotPermitted(why),
        })
    }

    /// Whether what the entry grants may be granted.
    fn consent(&self, account: Uuid, offer: &Offer) -> Result<(), Rejection> {
        let Some(Consent::Given(given)) = &offer.consent else { return Ok(()) };
        let grants = &self.known.grants;
        // A service of this server needs no invitation, and holds no session that its grants would have to fit.
        let to_service = Service::of(given.grantee)
            .is_some_and(|service| given.role == Role::Service && given.purpose == service.purpose);
        if !to_service && !grants.relations.contains(&(account, Uuid::from_bytes(given.grantee))) {
            return Err(Rejection::NotInvited);
        }
        let named = grants.feeds.get(&account).copied().unwrap_or(0) + given.permits.len() as u64;
        if named > limits::GRANTED_FEEDS_OF_AN_ACCOUNT {
            return Err(Rejection::TooManyGrants);
        }
        let received = grants.received.get(&Uuid::from_bytes(given.grantee)).copied().unwrap_or(0);
        if !to_service && received + given.permits.len() as u64 > limits::GRANTED_FEEDS_TO_AN_ACCOUNT {
            return Err(Rejection::GranteeFull);
        }
        Ok(())
    }

    /// Whether the actor of the change is known to be the device's.
    fn is_its_writer(&self, device: Device, change: &Change) -> bool {
        !change.shared_actor
            && self.known.actors.get(&change.facts.actor).is_some_and(|bound| bound.device == device.device)
    }

    fn duplicate(&self, offer: &Offer, change: &Change) -> Option<Verdict> {
        if let Some(&seq) = self.known.entries.get(&(offer.feed, offer.id)) {
            return Some(Verdict::Duplicate { seq, entry_id: offer.id });
        }
        let place = (offer.feed, offer.entry.doc_id, change.facts.hash);
        // Every other replica is without it, whoever has it still.
        if self.known.left_out.contains(&place) {
            return Some(Verdict::Rejected(Rejection::DependsOnRejected));
        }
        let known = self.known.changes.get(&place);
        known.map(|&(seq, entry_id)| Verdict::Duplicate { seq, entry_id })
    }

    /// The document as it would be with the change.
    fn document(&self, account: Uuid, offer: &Offer, change: &Change) -> Result<DocumentState, Verdict> {
        let key = (account, offer.entry.doc_id);
        let first = change.facts.deps.is_empty();
        let mut document = match self.known.documents.get(&key) {
            Some(document) if document.feed != offer.feed => return Err(Verdict::Rejected(Rejection::ForeignDocument)),
            Some(document) if document.erased.is_some() => return Err(Verdict::Rejected(Rejection::Erased)),
            // Two first changes would each make the document's containers, and one hide the other's.
            Some(_) if first => return Err(Verdict::Rejected(Rejection::DocumentExists)),
            Some(document) => document.clone(),
            None => DocumentState::empty(offer.feed),
        };
        document.payload_bytes += offer.entry.payload.len() as u64;
        if document.payload_bytes > limits::DOCUMENT_BYTES {
            return Err(Verdict::Rejected(Rejection::DocumentFull { bytes: document.payload_bytes }));
        }
        merge::advance_heads(&mut document.heads, &change.facts.deps, change.facts.hash);
        if document.heads.len() as u64 > limits::CHANGE_DEPENDENCIES {
            return Err(Verdict::Rejected(Rejection::TooManyHeads));
        }
        Ok(document)
    }

    fn dependencies(&self, candidate: &Candidate<'_>, change: &Change) -> Result<(), Verdict> {
        let offer = candidate.offer;
        for dependency in &change.facts.deps {
            if self.known.left_out.contains(&(offer.feed, offer.entry.doc_id, *dependency)) {
                return Err(Verdict::Rejected(Rejection::DependsOnRejected));
            }
            if self.known.changes.contains_key(&(offer.feed, offer.entry.doc_id, *dependency)) {
                continue;
            }
            let key = (candidate.device.device, *dependency);
            let fate = self.group.get(&key).copied().unwrap_or_else(|| self.fates.of(key));
            return Err(match fate {
                Some(Fate::Undecided) => Verdict::Undecided(Postponement::DependsOnUndecided),
                Some(Fate::Rejected) => Verdict::Rejected(Rejection::DependsOnRejected),
                None => Verdict::Rejected(Rejection::UnknownDependency),
            });
        }
        Ok(())
    }

    fn actor(&self, candidate: &Candidate<'_>, change: &Change) -> Result<(), Rejection> {
        let (offer, facts) = (candidate.offer, &change.facts);
        let is_its_own = match offer.origin.of_others {
            true => self.is_its_writer(candidate.device, change) || self.may_offer(candidate),
            false => self.binds(candidate, facts.actor) || self.brings(candidate, facts.actor),
        };
        if !change.shared_actor && !is_its_own {
            return Err(Rejection::ForeignActor);
        }
        let last = self.known.tips.get(&(offer.feed, offer.entry.doc_id, facts.actor)).copied().unwrap_or(0);
        match facts.actor_seq {
            // The same change again was found to be a duplicate before.
            seq if seq <= last => Err(Rejection::ActorForked { actor_seq: seq }),
            seq if seq == last + 1 => Ok(()),
            seq => Err(Rejection::ActorGap { actor_seq: seq, expected: last + 1 }),
        }
    }

    /// Whether the actor is the device's own, or becomes it.
    fn binds(&self, candidate: &Candidate<'_>, actor: ActorId) -> bool {
        self.known.actors.get(&actor).is_none_or(|bound| bound.device == candidate.device.device)
    }

    /// Whether it is another account's, in the pusher's own feed: who takes their records along into a new account brings
    /// what the devices of the old one wrote. Nobody of this account writes under it, so it cannot fork; it stays theirs.
    fn brings(&self, candidate: &Candidate<'_>, actor: ActorId) -> bool {
        let owner = candidate.offer.place.as_ref().map(|place| place.owner);
        let bound = self.known.actors.get(&actor).and_then(|bound| bound.account);
        owner == Some(candidate.device.account) && bound != owner
    }

    /// Asks the judge whether the device may bring what others wrote.
    fn may_offer(&self, candidate: &Candidate<'_>) -> bool {
        let owner = candidate.offer.place.as_ref().map(|place| place.owner.into_bytes());
        owner.is_some_and(|owner| policy::may_offer(candidate.device.account.into_bytes(), owner))
    }

    /// To which device the actor of an appended change is bound from then on. An entry of others binds none: it says nothing
    /// of who wrote it. One of another account stays with that account, whose rows are not to be touched.
    fn binding(&self, candidate: &Candidate<'_>, actor: ActorId) -> Option<Binding> {
        let Device { device, account } = candidate.device;
        if candidate.offer.origin.of_others {
            return self.known.actors.get(&actor).filter(|bound| bound.account == Some(account)).copied();
        }
        self.binds(candidate, actor).then_some(Binding { device, account: Some(account) })
    }

    /// Who wrote an appended entry, as far as it is known, and who brought it, if that is another one.
    fn origin(&self, candidate: &Candidate<'_>) -> (Uuid, Option<Uuid>) {
        let by = candidate.device.device;
        if !candidate.offer.origin.of_others {
            return (by, None);
        }
        let actor = candidate.offer.change.as_ref().map(|change| change.facts.actor);
        let author = actor.and_then(|actor| self.known.actors.get(&actor)).map_or(Uuid::nil(), |bound| bound.device);
        (author, (author != by).then_some(by))
    }

    /// What the entry adds to the account, if there is room for it; for what the server itself has to write there always is.
    fn room(&self, account: Uuid, Candidate { device, offer }: &Candidate<'_>) -> Result<Usage, Rejection> {
        let is_new = !self.known.documents.contains_key(&(account, offer.entry.doc_id));
        let adds = Usage { documents: u64::from(is_new), bytes: offer.entry.payload.len() as u64 };
        let Usage { documents, bytes } = self.known.usage.get(&account).copied().unwrap_or_default().plus(adds);
        if device.is_server() {
            return Ok(adds);
        }
        if bytes > limits::ACCOUNT_BYTES {
            return Err(Rejection::AccountFull { bytes });
        }
        if is_new && documents > limits::ACCOUNT_DOCUMENTS {
            return Err(Rejection::TooManyRecords { documents });
        }
        Ok(adds)
    }

    /// Moves the state on, so that the next candidate is judged on it. Returns the entry's number.
    fn append(&mut self, index: usize, candidate: &Candidate<'_>, mut appendable: Appendable<'_>) -> u64 {
        let offer = candidate.offer;
        let (feed, key) = (offer.feed, (appendable.account, offer.entry.doc_id));
        let mut state = *self.feed(feed).expect("a candidate without a feed is not appendable");
        state.head += 1;
        state.digest = state.digest.plus(offer.id);
        let seq = state.head;
        self.plan.feeds.insert(feed, state);
        let (author, offered_by) = self.origin(candidate);
        self.plan.entries.push(NewEntry { candidate: index, seq, digest: state.digest, author, offered_by });
        if offer.entry.is_erasure() {
            appendable.document.erased = Some((seq, offer.id));
            self.free(appendable.account, offer, seq);
        }
        self.leave_out(offer, seq);
        self.plan.documents.insert(key, appendable.document.clone());
        self.known.documents.insert(key, appendable.document);
        for usage in [&mut self.known.usage, &mut self.plan.usage] {
            let held = usage.entry(appendable.account).or_default();
            *held = held.plus(appendable.adds);
        }
        self.known.entries.insert((feed, offer.id), seq);
        if let Some(change) = appendable.change {
            self.note_change(candidate, change, seq);
        }
        if let Some(consent) = &offer.consent {
            self.take_effect(appendable.account, candidate.device.device, offer.entry.doc_id, consent);
        }
        seq
    }

    fn note_change(&mut self, candidate: &Candidate<'_>, change: &Change, seq: u64) {
        let (offer, facts) = (candidate.offer, &change.facts);
        let (feed, doc_id) = (offer.feed, offer.entry.doc_id);
        self.known.changes.insert((feed, doc_id, facts.hash), (seq, offer.id));
        self.known.tips.insert((feed, doc_id, facts.actor), facts.actor_seq);
        // An actor of the server's is drawn for one change, and belongs to no device.
        let binds = !change.shared_actor && !candidate.device.is_server();
        if let Some(bound) = self.binding(candidate, facts.actor).filter(|_| binds) {
            self.known.actors.insert(facts.actor, bound);
            self.plan.actors.insert(facts.actor, ActorTip { device: bound.device, entry: offer.id, feed, seq });
        }
    }

    /// A grant or a revocation counts for what comes after it, in this group too.
    fn take_effect(&mut self, account: Uuid, by: Uuid, doc_id: DocId, consent: &Consent) {
        let grants = &mut self.known.grants;
        match consent {
            Consent::Given(given) if !grants.revoked.contains(&(account, doc_id)) => {
                let grantee = Uuid::from_bytes(given.grantee);
                let permits = given.permits.iter().map(|permit| (doc_id, permit.clone()));
                grants.permits.entry((account, grantee)).or_default().extend(permits);
                *grants.feeds.entry(account).or_default() += given.permits.len() as u64;
                *grants.received.entry(grantee).or_default() += given.permits.len() as u64;
                self.plan.consents.push(NewConsent { account, grant: doc_id, by, given: Some(given.clone()) });
            }
            // Its revocation came first and wins.
            Consent::Given(_) => {}
            Consent::Revoked(grant) => {
                grants.revoked.insert((account, *grant));
                for ((owner, _), permits) in &mut grants.permits {
                    permits.retain(|(of, _)| *owner != account || of != grant);
                }
                self.plan.consents.retain(|one| one.account != account || one.grant != *grant);
                self.plan.consents.push(NewConsent { account, grant: *grant, by, given: None });
            }
        }
    }

    fn remember(&mut self, candidate: &Candidate<'_>, verdict: &Verdict) {
        if let Some(change) = &candidate.offer.change {
            self.group.insert((candidate.device.device, change.facts.hash), Fate::of(verdict));
        }
    }
}

mod erasure;
#[cfg(test)]
mod tests;
mod void;
