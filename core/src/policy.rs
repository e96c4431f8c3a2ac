//! The one judge: who may do what in which feed, now. Pure, so that ingest, the sessions, HTTP, gRPC and a phone that
//! wants to know whether it may offer a button all get the same answer.
//!
//! A person does in their own feeds what they like. Everybody else, services included, needs a [`Permit`] that is valid
//! now, for that collection and scope. Some things nobody is ever permitted: see [`Denied`].

use crate::collection::Collection;

mod role;
mod service;

pub use role::{Purpose, Role, reference};
pub use service::{Asked as ServiceAsks, SERVICES, Service};

/// An account's id.
pub type AccountId = [u8; 16];

/// How far a permit goes. Writing includes reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// See what is there and what comes.
    Read,
    /// Add and edit as well; never erase.
    Write,
}

impl Access {
    /// Its name on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// The access of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Write].into_iter().find(|access| access.name() == name)
    }
}

/// What somebody wants to do in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Receive its entries, or what was made of them.
    Read,
    /// Append changes to it.
    Write,
    /// Delete a document for good.
    Erase,
}

/// A feed, as far as permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose it is.
    pub owner: AccountId,
    /// What it holds.
    pub collection: Collection,
    /// Which part of the collection; empty where there are no parts.
    pub scope: &'a str,
}

/// What one grant, not revoked, permits its grantee in one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// Of which collection.
    pub collection: Collection,
    /// Of which part of it.
    pub scope: String,
    /// How far.
    pub access: Access,
    /// Valid from then on, ms UTC; always was if there is none.
    pub from_ms: Option<i64>,
    /// Valid before then, ms UTC; without end if there is none.
    pub until_ms: Option<i64>,
}

/// Why not. Each is a sentence for the person who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody but the person ever sees or writes these.
    #[error("{0} are never shared")]
    NeverShared(Collection),
    /// What only the person may do.
    #[error("only the person whose record it is can erase it")]
    OwnerOnly,
    /// No grant, or none any more.
    #[error("the person does not share this with you; ask for it with an invitation")]
    NotGranted,
    /// A grant that permits less.
    #[error("the person lets you read this and not write it; ask for it with an invitation")]
    ReadOnly,
    /// A grant that is not valid yet.
    #[error("the person shares this with you from a later time on")]
    NotYet,
    /// A grant that is over.
    #[error("the time for which the person shared this with you is over; ask for it again with an invitation")]
    Over,
    /// What is derived from records that are not granted would tell what they say.
    #[error("insights need the permission for what they are derived from: {0}")]
    SourceNotGranted(Collection),
}

/// Judges whether `who` may do `action` at `place`. `permits` are those that the place's owner gave to `who`, for any of
/// the owner's feeds.
///
/// # Errors
/// [`Denied`] with the reason.
pub fn judge(who: AccountId, action: Action, place: Place<'_>, permits: &[Permit], now_ms: i64) -> Result<(), Denied> {
    if who == place.owner {
        return Ok(());
    }
    let wanted = match action {
        Action::Read => Access::Read,
        Action::Write => Access::Write,
        Action::Erase => return Err(Denied::OwnerOnly),
    };
    if !is_shareable(place.collection) {
        return Err(Denied::NeverShared(place.collection));
    }
    best(permits, place.collection, place.scope, wanted, now_ms)?;
    let sources = sources(place.collection, place.scope);
    let hidden = sources.iter().find(|source| best(permits, **source, "", Access::Read, now_ms).is_err());
    hidden.map_or(Ok(()), |source| Err(Denied::SourceNotGranted(*source)))
}

/// Ok if one of the permits suffices, else the reason that is nearest to yes, in whatever order they come.
fn best(permits: &[Permit], collection: Collection, scope: &str, wanted: Access, now_ms: i64) -> Result<(), Denied> {
    let of_place = permits.iter().filter(|permit| permit.collection == collection && permit.scope == scope);
    let mut nearest = Denied::NotGranted;
    for permit in of_place {
        match permit.verdict(wanted, now_ms) {
            Ok(()) => return Ok(()),
            Err(why) if why.nearness() > nearest.nearness() => nearest = why,
            Err(_) => {}
        }
    }
    Err(nearest)
}

impl Denied {
    /// How little is missing: more access, more time, a new grant.
    fn nearness(self) -> u8 {
        match self {
            Self::ReadOnly => 3,
            Self::NotYet => 2,
            Self::Over => 1,
            Self::NotGranted | Self::NeverShared(_) | Self::OwnerOnly | Self::SourceNotGranted(_) => 0,
        }
    }
}

impl Permit {
    /// Whether it permits that much at this time.
    pub fn allows(&self, wanted: Access, now_ms: i64) -> bool {
        self.verdict(wanted, now_ms).is_ok()
    }

    fn verdict(&self, wanted: Access, now_ms: i64) -> Result<(), Denied> {
        if self.until_ms.is_some_and(|until| until <= now_ms) {
            Err(Denied::Over)
        } else if self.from_ms.is_some_and(|from| from > now_ms) {
            Err(Denied::NotYet)
        } else if self.access < wanted {
            Err(Denied::ReadOnly)
        } else {
            Ok(())
        }
    }
}

/// Whether `who` may bring back, from a device that holds them, entries of a feed of `owner` that somebody else wrote and the
/// server has lost. A person is the one to vouch for what their records were; whoever else may write brings back only what
/// they wrote.
pub fn may_offer(who: AccountId, owner: AccountId) -> bool {
    who == owner
}

/// Whether a collection can be granted at all. The inbox is a person's post, and who may grant is nobody else's to say.
pub fn is_shareable(collection: Collection) -> bool {
    !matches!(collection, Collection::Inbox | Collection::Grants)
}

/// From what the records of a derived collection are made. A class of insights is as protected as its most protected
/// source, so whoever sees it must be allowed to see that.
pub fn sources(collection: Collection, scope: &str) -> &'static [Collection] {
    match (collection, scope) {
        (Collection::Insights, "training") => &[Collection::Workouts],
        (Collection::Insights, "nutrition") => &[Collection::Meals],
        (Collection::Insights, "mind") => &[Collection::Moods],
        // A class that this version does not know may be made of anything.
        (Collection::Insights, _) => &[Collection::Workouts, Collection::Meals, Collection::Moods],
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
