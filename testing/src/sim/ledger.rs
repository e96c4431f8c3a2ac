//! What the people of a world were promised: written down when it was promised, and looked for when everything is over.

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::id::{ChangeHash, DocId, EntryId, FeedId};
use fitme_core::policy::AccountId;
use uuid::Uuid;

/// A write that returned: whose store it lies in, its document and its change; none for one that erases.
pub type Write = (Option<AccountId>, DocId, Option<ChangeHash>);

/// Of one home.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    /// Writes that returned, since the home was last put back from a backup.
    pub written: BTreeSet<Write>,
    /// The marked words in them, and where each was written: what is refused may be written again as another change.
    pub words: BTreeMap<u64, (Option<AccountId>, DocId)>,
    /// Documents of which a write was refused: changes of theirs may have been written again.
    pub refused: BTreeSet<(Option<AccountId>, DocId)>,
}

/// Of the world.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What the server said that it has.
    pub acknowledged: BTreeMap<(FeedId, u64), EntryId>,
    /// Marked words, and in which document of whom each was written.
    pub words: BTreeMap<u64, (Uuid, DocId)>,
    /// Grants that were written.
    pub grants: Vec<DocId>,
    /// What was broken, each in a sentence after the name of its invariant.
    pub broken: Vec<String>,
}
