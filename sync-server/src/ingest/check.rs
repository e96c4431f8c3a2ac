//! What an entry shows by itself, without a look into the database: size, kind, encoding, content. Done before the
//! transaction, beside the commit of the group before.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fitme_core::change::{self, BadChange, ChangeFacts};
use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{EntryId, FeedId};
use fitme_core::limits;
use fitme_core::policy;
use fitme_core::record::{self, Consent};
use fitme_core::void::Void;
use fitme_core::wire::EntryKind;
use uuid::Uuid;

use super::verdict::{Postponement, Rejection};

/// What is known of the feed to which an entry was pushed, before any lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A feed that holds records of a collection that this version serves.
    Feed(FeedPlace),
    /// A feed whose collection this version does not know.
    Unserved(String),
    /// No feed.
    Nothing,
    /// The database did not answer.
    Unknown,
}

impl Target {
    /// The feed of `owner` with that collection and scope, beside its owner's `grants` feed.
    #[must_use]
    pub fn of(owner: Uuid, collection: &str, scope: &str, grants: FeedId) -> Self {
        match Collection::named(collection).filter(|collection| collection.is_served()) {
            Some(collection) => Self::Feed(FeedPlace { owner, collection, scope: scope.to_owned(), grants }),
            None => Self::Unserved(collection.to_owned()),
        }
    }

    /// How an entry stands that was pushed to it; `check` looks at the entry itself.
    fn standing(&self, check: impl FnOnce(&FeedPlace) -> Standing) -> Standing {
        match self {
            Self::Feed(place) => check(place),
            Self::Unserved(name) => Standing::Rejected(Rejection::CollectionNotServed(name.clone())),
            Self::Nothing => Standing::Rejected(Rejection::NotYourFeed),
            Self::Unknown => Standing::Undecided(Postponement::Unavailable),
        }
    }
}

/// Whose a feed is and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPlace {
    /// Whose it is.
    pub owner: Uuid,
    /// What it holds.
    pub collection: Collection,
    /// Which part of the collection; empty where there are no parts.
    pub scope: String,
    /// The owner's `grants` feed: who writes to somebody else's feed holds its row.
    pub grants: FeedId,
}

impl FeedPlace {
    /// The same, as the judge asks for it.
    #[must_use]
    pub fn judged(&self) -> policy::Place<'_> {
        policy::Place { owner: self.owner.into_bytes(), collection: self.collection, scope: &self.scope }
    }
}

/// An entry on its way into a feed.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Where to.
    pub feed: FeedId,
    /// Its content.
    pub entry: Entry,
    /// Computed from the content.
    pub id: EntryId,
    /// What its feed is; `None` if there is nothing to write to.
    pub place: Option<FeedPlace>,
    /// What its change says about itself; `None` if it could not be read, and for one that erases.
    pub change: Option<Change>,
    /// What it grants or revokes, if it does.
    pub consent: Option<Consent>,
    /// How its device stands to it.
    pub origin: Origin,
    /// Whether there is anything left to decide.
    pub standing: Standing,
}

/// How a device stands to what it pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// Others may have written it: the device does not say that it did. It holds it, and the feed may lack it.
    pub of_others: bool,
    /// How far the server's clock was ahead of the device's, ms, where that is known.
    pub clock_offset_ms: Option<i64>,
}

/// What the database has to be asked about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Hash, actor, sequence and dependencies.
    pub facts: ChangeFacts,
    /// Whether every device writes under this actor (genesis, import), so that it is bound to none.
    pub shared_actor: bool,
}

/// How far an offer has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// To be judged under the feed's lock.
    Open,
    /// Refused for what it shows by itself.
    Rejected(Rejection),
    /// Not looked at in full.
    Undecided(Postponement),
}

/// Checks one entry.
#[must_use]
pub fn check(feed: FeedId, entry: Entry, target: &Target) -> Offer {
    let id = entry.id();
    // The core fences what automerge may break on; this fence is for the rest, so that one entry never takes the push
    // around it along.
    let read = catch_unwind(AssertUnwindSafe(|| read(&entry, target)));
    let (change, consent, standing) = read.unwrap_or_else(|_| {
        let broken = BadChange::Undecodable("it could not be read".to_owned());
        (None, None, Standing::Rejected(broken.into()))
    });
    let place = match target {
        Target::Feed(place) => Some(place.clone()),
        Target::Unserved(_) | Target::Nothing | Target::Unknown => None,
    };
    Offer { feed, entry, id, place, change, consent, origin: Origin::default(), standing }
}

fn read(entry: &Entry, target: &Target) -> (Option<Change>, Option<Consent>, Standing) {
    let refused = |why: Rejection| (None, None, Standing::Rejected(why));
    if entry.is_erasure() {
        return (None, None, erasure(entry, target));
    }
    if Void::of(entry).is_some() {
        return (None, None, target.standing(erasable));
    }
    if entry.known_kind() != Some(EntryKind::Change) {
        return refused(Rejection::KindNotServed(entry.kind));
    }
    if entry.payload.len() > limits::ENTRY_BYTES {
        return refused(Rejection::EntryTooLarge { bytes: entry.payload.len() });
    }
    let read = match change::read(&entry.payload) {
        Ok(read) => read,
        Err(bad) => return refused(bad.into()),
    };
    let standing = target.standing(|place| content(place.collection, entry, &read));
    let shared_actor = is_genesis(entry, &read) || record::import_version(entry.doc_id, read.facts.actor).is_some();
    let grants =
        standing == Standing::Open && matches!(target, Target::Feed(place) if place.collection == Collection::Grants);
    let consent = if grants { Consent::of_change(&read).ok() } else { None };
    (Some(Change { facts: read.facts, shared_actor }), consent, standing)
}

fn content(collection: Collection, entry: &Entry, read: &change::ReadChange) -> Standing {
    match record::check_change(collection, entry.doc_id, read) {
        Err(bad) => Standing::Rejected(bad.into()),
        Ok(()) if is_genesis(entry, read) && (entry.device_time != 0 || entry.salt != [0; 8]) => {
            Standing::Rejected(Rejection::DatedGenesis)
        }
        Ok(()) => Standing::Open,
    }
}

/// An erasure says nothing but, where the server does it, the name of the cause.
fn erasure(entry: &Entry, target: &Target) -> Standing {
    let is_name = entry.payload.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    if !is_name || entry.payload.len() > limits::CAUSE_BYTES {
        return Standing::Rejected(Rejection::BadErasure);
    }
    target.standing(erasable)
}

/// What permits or has ended something outlives nothing that hangs on it.
fn erasable(place: &FeedPlace) -> Standing {
    match place.collection.is_write_once() {
        true => Standing::Rejected(Rejection::KeptForEver),
        false => Standing::Open,
    }
}

/// In a document with a derived id, the content check lets through no other first change than the genesis change.
fn is_genesis(entry: &Entry, read: &change::ReadChange) -> bool {
    entry.doc_id.is_derived() && read.facts.deps.is_empty()
}
