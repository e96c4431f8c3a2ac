//! What became of a pushed entry, and why: the codes that receipts carry.

use fitme_core::change::BadChange;
use fitme_core::id::EntryId;
use fitme_core::limits::{self, GRANTED_FEEDS_OF_AN_ACCOUNT, GRANTED_FEEDS_TO_AN_ACCOUNT};
use fitme_core::policy::Denied;
use fitme_core::record::BadContent;
use fitme_core::wire::{ERASED, ERASED_SENTENCE, NOT_YOUR_FEED, Receipt, Refusal};

/// The fate of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Appended under this number.
    Accepted {
        /// Its number in the feed.
        seq: u64,
    },
    /// The feed has it already.
    Duplicate {
        /// The number of what was accepted first.
        seq: u64,
        /// The id under which it was accepted.
        entry_id: EntryId,
    },
    /// Refused for good.
    Rejected(Rejection),
    /// Not decided: to be pushed again.
    Undecided(Postponement),
}

impl Verdict {
    /// What the device is told.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        match self {
            Self::Accepted { seq } => Receipt::Accepted(*seq),
            Self::Duplicate { seq, entry_id } => Receipt::Duplicate { seq: *seq, entry_id: *entry_id },
            Self::Rejected(why) => Receipt::Rejected(why.refusal()),
            Self::Undecided(why) => Receipt::Retry(why.refusal()),
        }
    }
}

/// Why an entry is refused for good. Each text is a sentence for a person, without any content of the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A kind of entry that this version does not serve.
    #[error("entries of kind {0} are not served by this version; update the server")]
    KindNotServed(i32),
    /// A collection that this version does not serve.
    #[error("records of {0} are not served by this version; update the server")]
    CollectionNotServed(String),
    /// More bytes than one entry may have.
    #[error("the entry has {bytes} bytes and may have {}; split the edit", limits::ENTRY_BYTES)]
    EntryTooLarge {
        /// What it has.
        bytes: usize,
    },
    /// The payload is no change as this protocol carries it.
    #[error(transparent)]
    BadChange(#[from] BadChange),
    /// The change holds what no record may hold.
    #[error(transparent)]
    BadContent(BadContent),
    /// A genesis change with a time or a salt: it would not be byte-equal on every device.
    #[error("a genesis change travels without time and salt; send both as zero")]
    DatedGenesis,
    /// Not a feed of the device's account.
    #[error("this device may not write to this feed; sign in with the account that owns it")]
    NotYourFeed,
    /// Somebody else's feed, and what its owner permits does not reach so far or so long.
    #[error(transparent)]
    NotPermitted(Denied),
    /// Somebody else's record, which only they erase.
    #[error("only the person whose record it is can erase it; ask them")]
    OwnerOnly,
    /// Its document was erased.
    #[error("{ERASED_SENTENCE}")]
    Erased,
    /// What was consented to stays on record.
    #[error("what was shared stays on record as long as the account; revoke it instead")]
    KeptForEver,
    /// An erasure that holds what only the server may say.
    #[error("an entry that erases holds nothing else; update the app and erase the record again")]
    BadErasure,
    /// A grant to somebody whose invitation the account has not accepted.
    #[error("you have not accepted an invitation of that account; ask for one and accept it first")]
    NotInvited,
    /// More grants than an account may have.
    #[error(
        "the account's grants name {} feeds and may not name more; revoke grants that are not needed",
        GRANTED_FEEDS_OF_AN_ACCOUNT
    )]
    TooManyGrants,
    /// More feeds than one account may be granted by others.
    #[error(
        "others share {GRANTED_FEEDS_TO_AN_ACCOUNT} feeds with that account, which is the most; ask it to end some first"
    )]
    GranteeFull,
    /// The document's first entry lies in another feed of the account.
    #[error("the record belongs to another collection of this account; give the new one an id of its own")]
    ForeignDocument,
    /// A change without dependencies in a document that has its first change.
    #[error("the record exists already; edit it instead of creating it again")]
    DocumentExists,
    /// It builds on a change that the feed does not have.
    #[error("the change builds on one that the server does not have; push that one first")]
    UnknownDependency,
    /// It builds on a change that was refused.
    #[error("the change builds on one that was refused; make the edit again without it")]
    DependsOnRejected,
    /// Another change has the same actor and sequence.
    #[error("another change has number {actor_seq} of the same writer; draw a new actor and make the edit again")]
    ActorForked {
        /// The sequence number in question.
        actor_seq: u64,
    },
    /// A change of the same actor is missing before it.
    #[error(
        "the change is number {actor_seq} of its writer and number {expected} is next; push the missing ones first"
    )]
    ActorGap {
        /// What it has.
        actor_seq: u64,
        /// What would be next.
        expected: u64,
    },
    /// Its actor belongs to another device.
    #[error("the writer of this change belongs to another device; draw a new actor and make the edit again")]
    ForeignActor,
    /// The document would exceed its size.
    #[error("the record would have {bytes} bytes of history and may have {}; start a new one", limits::DOCUMENT_BYTES)]
    DocumentFull {
        /// What its changes would add up to.
        bytes: u64,
    },
    /// The account would exceed its size.
    #[error(
        "the account would have {bytes} bytes of history and may have {}; ask who runs the server for more",
        limits::ACCOUNT_BYTES
    )]
    AccountFull {
        /// What its changes would add up to.
        bytes: u64,
    },
    /// The account would exceed its number of records.
    #[error(
        "the account would have {documents} records and may have {}; ask who runs the server for more",
        limits::ACCOUNT_DOCUMENTS
    )]
    TooManyRecords {
        /// How many it would have.
        documents: u64,
    },
    /// More concurrent edits than a document may have.
    #[error("the record has {} unmerged edits; fetch and merge them first", limits::CHANGE_DEPENDENCIES)]
    TooManyHeads,
    /// The database refused this entry's row, and only this one.
    #[error("the server's database refused the entry; report it with the record's id")]
    RefusedByDatabase,
}

impl Rejection {
    /// Every code, with what the person or the app can do; the list of errors in the documentation is made from it.
    pub const CODES: [(&str, &str); 26] = [
        ("kind_not_served", "The server is older than the device: update the server."),
        ("collection_not_served", "The server is older than the device: update the server."),
        ("entry_too_large", "Split the edit into smaller ones."),
        ("bad_change", "The bytes are no change of a record: update the app and make the edit again."),
        ("bad_content", "The change holds what no record may hold: correct what the message names."),
        ("not_your_feed", "Sign in with the account that owns the records."),
        ("read_only", "The person lets you read this and not write it: ask for it with an invitation."),
        ("owner_only", "Only the person whose record it is can erase it: ask them."),
        ("erased", "The record was erased; what was written is kept until it is discarded."),
        ("kept_for_ever", "What was shared stays on record as long as the account: revoke it instead."),
        ("grant_not_valid_now", "What the person granted begins later or is over: ask for it again."),
        ("not_invited", "Accept an invitation of the account before granting it anything."),
        ("grantee_full", "The account sees as much of others as it can: ask it to end something first."),
        ("too_many_grants", "Revoke grants that are not needed any more."),
        ("foreign_document", "The id belongs to a record of another collection: create the record anew."),
        ("document_exists", "The record was created before: edit it."),
        ("unknown_dependency", "Push the changes that this one builds on first."),
        ("depends_on_rejected", "Make the edit again without the refused one."),
        ("actor_forked", "Two writers used one actor: draw a new one and make the edit again."),
        ("actor_gap", "Push the writer's earlier changes first."),
        ("foreign_actor", "The actor belongs to another device: draw a new one and make the edit again."),
        ("document_full", "The record's history is full: start a new record."),
        ("account_full", "The account's history is full: ask who runs the server for more."),
        ("too_many_records", "The account has as many records as it may have: ask who runs the server for more."),
        ("too_many_heads", "Fetch and merge the record's concurrent edits, then push again."),
        ("refused_by_database", "The server's database refused this one entry: report it."),
    ];

    /// What programs compare; never changed once published.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::KindNotServed(_) => "kind_not_served",
            Self::CollectionNotServed(_) => "collection_not_served",
            Self::EntryTooLarge { .. } => "entry_too_large",
            Self::BadChange(_) => "bad_change",
            Self::BadContent(_) | Self::DatedGenesis | Self::BadErasure => "bad_content",
            Self::OwnerOnly => "owner_only",
            Self::Erased => ERASED,
            Self::KeptForEver => "kept_for_ever",
            Self::NotYourFeed => NOT_YOUR_FEED,
            Self::NotPermitted(Denied::ReadOnly) => "read_only",
            Self::NotPermitted(Denied::NotYet | Denied::Over) => "grant_not_valid_now",
            Self::NotPermitted(_) => NOT_YOUR_FEED,
            Self::GranteeFull => "grantee_full",
            Self::NotInvited => "not_invited",
            Self::TooManyGrants => "too_many_grants",
            Self::ForeignDocument => "foreign_document",
            Self::DocumentExists => "document_exists",
            Self::UnknownDependency => "unknown_dependency",
            Self::DependsOnRejected => "depends_on_rejected",
            Self::ActorForked { .. } => "actor_forked",
            Self::ActorGap { .. } => "actor_gap",
            Self::ForeignActor => "foreign_actor",
            Self::DocumentFull { .. } => "document_full",
            Self::AccountFull { .. } => "account_full",
            Self::TooManyRecords { .. } => "too_many_records",
            Self::TooManyHeads => "too_many_heads",
            Self::RefusedByDatabase => "refused_by_database",
        }
    }

    fn refusal(&self) -> Refusal {
        Refusal { code: self.code().to_owned(), message: self.to_string() }
    }
}

impl From<BadContent> for Rejection {
    fn from(bad: BadContent) -> Self {
        match bad {
            BadContent::NotServed(collection) => Self::CollectionNotServed(collection.to_string()),
            bad => Self::BadContent(bad),
        }
    }
}

/// Why nothing was decided about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Postponement {
    /// The database is away.
    #[error("the server cannot reach its database; the entry is pushed again later")]
    Unavailable,
    /// More waits to be written than this node holds in memory.
    #[error("the server has too much to write; the entry is pushed again later")]
    Overloaded,
    /// Somebody else holds the feed's row.
    #[error("the feed is being written by another node; the entry is pushed again later")]
    FeedBusy,
    /// It builds on an entry about which nothing was decided either.
    #[error("the entry builds on one that is to be pushed again; it is pushed again after it")]
    DependsOnUndecided,
}

impl Postponement {
    /// Every code, with what happens next.
    pub const CODES: [(&str, &str); 4] = [
        ("unavailable", "The database is away: the device pushes again by itself."),
        ("overloaded", "The server has too much to do: the device pushes again by itself."),
        ("feed_busy", "Another node holds the feed: the device pushes again by itself."),
        ("depends_on_undecided", "The device pushes the entry again after the one it builds on."),
    ];

    /// What programs compare; never changed once published.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::FeedBusy => "feed_busy",
            Self::DependsOnUndecided => "depends_on_undecided",
        }
    }

    fn refusal(self) -> Refusal {
        Refusal { code: self.code().to_owned(), message: self.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_listed_once_with_a_sentence() {
        let listed: Vec<_> = Rejection::CODES.into_iter().chain(Postponement::CODES).collect();
        let codes: BTreeSet<_> = listed.iter().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), listed.len());
        assert!(listed.iter().all(|(_, remedy)| remedy.ends_with('.')));
        for rejection in [Rejection::DatedGenesis, Rejection::NotYourFeed, Rejection::DocumentFull { bytes: 1 }] {
            assert!(codes.contains(&rejection.code()), "{rejection:?}");
        }
    }
}
