//! The hub's snapshots: documents merged when they are asked for, in pages that a test makes as small as it likes.

use fitme_core::entry::Entry;
use fitme_core::id::{DocId, FeedId};
use fitme_core::limits;
use fitme_core::merge;
use fitme_core::record::{self, Projection};
use fitme_core::session::{Place, SnapshotsAsked, SnapshotsRead};
use fitme_core::void::Void;
use fitme_core::wire::Fetched;
use fitme_core::wire::bootstrap::{Listed, Pass, Snapshot};

use super::{Feed, Hub, MORNING};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Records from then on are recent.
const RECENT_FROM: i64 = MORNING - 90 * DAY_MS;

impl Feed {
    /// Ids of documents that were not erased, descending.
    fn documents(&self) -> Vec<DocId> {
        let ids = self.entries.iter().map(|(received, ..)| received.entry.doc_id);
        let mut ids: Vec<_> = ids.filter(|doc_id| self.erased_by(*doc_id).is_none()).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        ids
    }

    fn changes(&self, doc_id: DocId) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        let numbered = (1..).zip(&self.entries);
        let of_it = numbered.filter(move |(_, (received, ..))| received.entry.doc_id == doc_id && !received.emptied);
        let changes = of_it.filter(|(_, (received, hash, _))| received.entry.kind == 0 && !self.voided.contains(hash));
        let entries: Vec<_> = changes.map(|(seq, (received, ..))| (seq, &received.entry)).collect();
        entries.into_iter()
    }

    /// The entries that took changes out of the document.
    fn voids(&self, doc_id: DocId) -> impl Iterator<Item = u64> {
        let numbered = (1..).zip(&self.entries).filter(move |(_, (received, ..))| received.entry.doc_id == doc_id);
        numbered.filter(|(_, (received, ..))| Void::of(&received.entry).is_some()).map(|(seq, _)| seq)
    }

    fn is_recent(&self, projection: &Projection) -> bool {
        projection.at.is_none_or(|at| at >= RECENT_FROM)
    }
}

impl Hub {
    /// Every entry of the feed up to here is in its documents, and none of those is in quarantine.
    pub(super) fn clean(&self, feed: &Feed) -> u64 {
        let in_quarantine = feed.documents().into_iter().filter_map(|doc_id| self.quarantined.get(&doc_id).copied());
        in_quarantine.min().unwrap_or(feed.entries.len() as u64)
    }

    pub(super) fn snapshots(&self, asked: &[SnapshotsAsked]) -> Vec<SnapshotsRead> {
        let mut read = Vec::new();
        for one in asked {
            let feed = &self.feeds[&one.feed];
            let page = self.page_of(feed, one);
            let is_full = !page.exhausted;
            read.push(page);
            if is_full {
                break;
            }
        }
        read
    }

    /// Single documents as they are now, at most two at a time.
    pub(super) fn fetched(&self, id: FeedId, asked: &[DocId]) -> Fetched {
        let (feed, asked) = (&self.feeds[&id], &asked[..asked.len().min(2)]);
        let place = Place { from: 0, upto: u64::MAX, pass: Pass::Rest, last: None };
        let erasure = |doc_id: &DocId| feed.erased_by(*doc_id).map(|(seq, _)| seq);
        let erased = |seq: u64| (seq, feed.entries[seq as usize - 1].0.entry.clone());
        let here = asked.iter().filter(|doc_id| erasure(doc_id).is_none());
        Fetched {
            feed: id,
            upto: asked.last().copied(),
            projection_version: record::PROJECTION_VERSION,
            documents: here.filter_map(|doc_id| self.document(feed, *doc_id, place)).map(|(_, one)| one).collect(),
            erasures: asked.iter().filter_map(erasure).map(erased).collect(),
        }
    }

    fn page_of(&self, feed: &Feed, asked: &SnapshotsAsked) -> SnapshotsRead {
        let SnapshotsAsked { feed: id, place, count } = *asked;
        let all: Vec<_> =
            feed.documents().into_iter().filter_map(|doc_id| self.document(feed, doc_id, place)).collect();
        let mut read = SnapshotsRead {
            feed: id,
            place,
            digest: feed.digest(place.upto),
            total: if count { all.len() as u64 } else { 0 },
            documents: Vec::new(),
            erasures: Vec::new(),
            exhausted: true,
        };
        let below = |doc_id: DocId| place.last.is_none_or(|last| doc_id < last);
        if place.pass == Pass::Erased {
            let ends = |entry: &Entry| entry.is_erasure() || Void::of(entry).is_some();
            let numbered = (1..).zip(&feed.entries).filter(|(_, (received, ..))| ends(&received.entry));
            let mut erasures: Vec<_> = numbered.map(|(seq, (received, ..))| (seq, received.entry.clone())).collect();
            erasures.retain(|(seq, entry)| (place.from + 1..=place.upto).contains(seq) && below(entry.doc_id));
            erasures.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.doc_id));
            read.exhausted = erasures.len() <= self.page_documents;
            erasures.truncate(self.page_documents);
            read.erasures = erasures;
            return read;
        }
        let mut due: Vec<_> =
            all.into_iter().filter(|(pass, document)| *pass == place.pass && below(document.doc_id)).collect();
        read.exhausted = due.len() <= self.page_documents;
        due.truncate(self.page_documents);
        read.documents = due.into_iter().map(|(_, document)| document).collect();
        read
    }

    /// The document as it is now, and in which pass it comes; `None` if it has not changed since.
    fn document(&self, feed: &Feed, doc_id: DocId, place: Place) -> Option<(Pass, Snapshot)> {
        let quarantined = self.quarantined.get(&doc_id).copied();
        let (last, void) = (feed.changes(doc_id).last()?.0, feed.voids(doc_id).last());
        let seq = quarantined.unwrap_or(last.max(void.unwrap_or(0)));
        let merged = feed.changes(doc_id).filter(|(n, _)| *n <= seq).map(|(_, entry)| entry.payload.as_slice());
        let doc = merge::assemble(merged).expect("the test's changes merge");
        let projection = record::project(&doc, feed.collection);
        let lacked = feed.changes(doc_id).filter(|(n, _)| *n > seq && *n <= place.upto);
        let heads = merge::heads(&doc);
        let (is_settled, is_recent) = (quarantined.is_none() && seq <= place.upto, feed.is_recent(&projection));
        let mut document = Snapshot {
            doc_id,
            seq,
            payload_bytes: feed.changes(doc_id).map(|(_, entry)| entry.payload.len() as u64).sum(),
            listed: Some(Listed {
                at: projection.at,
                trashed: projection.trashed,
                columns: projection.columns.to_string(),
            }),
            snapshot: if heads.is_empty() { Vec::new() } else { doc.save_nocompress() },
            heads,
            entries: lacked.map(|(n, entry)| (n, entry.clone())).collect(),
            more: false,
        };
        document.listed = document.listed.filter(|listed| listed.columns.len() <= limits::COLUMNS_BYTES);
        (self.spoil)(&mut document);
        let is_of = match place.pass {
            Pass::Recent => is_recent,
            _ => !(is_recent && is_settled),
        };
        let pass = if is_of { place.pass } else { Pass::Complete };
        (seq > place.from || quarantined.is_some()).then_some((pass, document))
    }
}
