//! Entries that erase a document: who may, what of it is decided before, and what it frees.

use fitme_core::policy::Action;
use uuid::Uuid;

use super::{Appendable, Candidate, DocumentState, Erasure, Offer, Planner, Usage};
use crate::ingest::verdict::{Rejection, Verdict};

impl Planner<'_> {
    /// A document may be erased by its person, once, and whether it has come here or not: an edit of it that is on its way
    /// from another device is then refused.
    pub(super) fn erasable<'c>(&self, candidate: &Candidate<'c>) -> Result<Appendable<'c>, Verdict> {
        let offer = candidate.offer;
        let account = self.feed(offer.feed).ok_or(Verdict::Rejected(Rejection::NotYourFeed))?.account;
        self.permitted(candidate, Action::Erase).map_err(Verdict::Rejected)?;
        if let Some(&seq) = self.known.entries.get(&(offer.feed, offer.id)) {
            return Err(Verdict::Duplicate { seq, entry_id: offer.id });
        }
        // Only the server itself, which is no device, says why.
        if !offer.entry.payload.is_empty() && !candidate.device.is_server() {
            return Err(Verdict::Rejected(Rejection::BadErasure));
        }
        let known = self.known.documents.get(&(account, offer.entry.doc_id));
        match known {
            Some(document) if document.feed != offer.feed => return Err(Verdict::Rejected(Rejection::ForeignDocument)),
            Some(DocumentState { erased: Some((seq, entry_id)), .. }) => {
                return Err(Verdict::Duplicate { seq: *seq, entry_id: *entry_id });
            }
            _ => {}
        }
        // The row stays for ever, so it goes on counting as a record, and one that never was here needs room for it.
        let adds = Usage { documents: u64::from(known.is_none()), bytes: 0 };
        if known.is_none() {
            self.room(account, candidate).map_err(Verdict::Rejected)?;
        }
        Ok(Appendable { account, change: None, document: DocumentState::empty(offer.feed), adds })
    }

    /// Plans what is emptied by the entry that has this number.
    pub(super) fn free(&mut self, account: Uuid, offer: &Offer, seq: u64) {
        let doc_id = offer.entry.doc_id;
        let bytes = self.known.documents.get(&(account, doc_id)).map_or(0, |document| document.payload_bytes);
        let held = self.known.usage.entry(account).or_default();
        held.bytes = held.bytes.saturating_sub(bytes);
        self.plan.erasures.push(Erasure { account, feed: offer.feed, doc_id, seq, entry: offer.id, bytes });
    }
}
