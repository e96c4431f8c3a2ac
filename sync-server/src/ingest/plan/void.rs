//! Entries that take a change out of its document: only the server makes them, only of what is in quarantine.

use super::{Appendable, Candidate, NewVoid, Offer, Planner, Usage};
use crate::ingest::verdict::{Postponement, Rejection, Verdict};

impl Planner<'_> {
    pub(super) fn voidable<'c>(&self, candidate: &Candidate<'c>) -> Result<Appendable<'c>, Verdict> {
        let offer = candidate.offer;
        if !candidate.device.is_server() {
            return Err(Verdict::Rejected(Rejection::KindNotServed(offer.entry.kind)));
        }
        let account = self.feed(offer.feed).ok_or(Verdict::Rejected(Rejection::NotYourFeed))?.account;
        if let Some(&seq) = self.known.entries.get(&(offer.feed, offer.id)) {
            return Err(Verdict::Duplicate { seq, entry_id: offer.id });
        }
        // What the document loses was read before this group.
        if self.plan.documents.contains_key(&(account, offer.entry.doc_id)) {
            return Err(Verdict::Undecided(Postponement::FeedBusy));
        }
        let document = self.known.documents.get(&(account, offer.entry.doc_id));
        let document = document.filter(|document| document.feed == offer.feed && document.erased.is_none());
        let lost = self.known.voids.get(&offer.id);
        let (Some(document), Some(lost)) = (document, lost) else {
            return Err(Verdict::Rejected(Rejection::NotInQuarantine));
        };
        let mut document = document.clone();
        document.heads.clone_from(&lost.heads);
        Ok(Appendable { account, change: None, document, adds: Usage::default() })
    }

    /// Notes what an appended void takes out, for what comes after it in this group too.
    pub(super) fn leave_out(&mut self, offer: &Offer, seq: u64) {
        let (feed, doc_id) = (offer.feed, offer.entry.doc_id);
        let Some(lost) = self.known.voids.get(&offer.id) else { return };
        self.known.left_out.extend(lost.changes.iter().map(|(hash, _)| (feed, doc_id, *hash)));
        self.plan.voids.push(NewVoid { feed, doc_id, seq, changes: lost.changes.clone() });
    }
}
