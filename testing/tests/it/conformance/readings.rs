//! What sessions read of a feed in other forms than entries: documents as they are, and where two histories part.

use fitme_core::entry::Digest;
use fitme_core::id::{DocId, FeedId};
use fitme_core::reconcile::{Answer, Question, Range, Sum};
use fitme_core::session::{Place, SnapshotsAsked, SnapshotsRead};
use fitme_core::wire::bootstrap::Pass;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use sync_server::auth::Device;
use sync_server::{bootstrap, repair};

use super::Both;

/// Pages of one pass that are read at most.
const PAGES: usize = 1_000;

impl Both {
    /// Some points, of which some are on the feed's history.
    pub async fn locate(&self, reader: Device, feed: FeedId, rng: &mut StdRng) {
        let head = self.model.look(|tables| tables.feeds[&feed].head);
        let point = |seq| {
            let right = self.model.look(|tables| tables.entries.get(feed, seq).map(|row| row.digest));
            (seq, right.filter(|_| seq % 2 == 0).unwrap_or(Digest(7)))
        };
        let points: Vec<_> = (0..=head + 1).rev().step_by(rng.random_range(1..4)).map(point).collect();
        let others = self.is_of_another(reader, feed);
        let asked = repair::Asked { feed, others };
        let real = repair::locate(&self.pool, reader, asked, &points).await.unwrap();
        assert_eq!(real, self.model.locate(reader.account, feed, others, &points).unwrap(), "{feed} at {points:?}");
    }

    /// The whole feed, and the parts of what is answered.
    pub async fn compare_documents(&self, reader: Device, feed: FeedId, rng: &mut StdRng) {
        let others = self.is_of_another(reader, feed);
        let asked = repair::Asked { feed, others };
        let mut questions = vec![Question { range: Range::ALL, sum: Sum(rng.random()) }];
        while !questions.is_empty() {
            let real = repair::compare(&self.pool, reader, asked, &questions).await.unwrap();
            let modelled = self.model.compare(reader.account, feed, others, &questions).unwrap();
            assert_eq!(real, modelled, "{feed}: {questions:?}");
            let parts = real.into_iter().flatten().filter_map(|answer| match answer {
                Answer::Parts(parts) => Some(parts),
                Answer::Same | Answer::Documents(_) => None,
            });
            let part = parts.flatten().last();
            questions = Vec::from_iter(part.map(|part| Question {
                range: Range { from: part.from, to: Some(DocId([255; 16])) },
                sum: if rng.random_bool(0.5) { part.sum } else { Sum(7) },
            }));
            if rng.random_bool(0.3) {
                return;
            }
        }
    }

    /// Every pass, page by page; where pages end is each one's own affair.
    pub async fn snapshots(&self, reader: Device, feed: FeedId, rng: &mut StdRng) {
        let head = self.model.look(|tables| tables.feeds[&feed].head);
        let from = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..=head) };
        let upto = rng.random_range(from..=head + 1);
        let max_bytes = *[1, 2_000, 1 << 20].choose(rng).unwrap();
        let others = self.is_of_another(reader, feed);
        for pass in [Pass::Recent, Pass::Rest, Pass::Erased] {
            let begin = Place { from, upto, pass, last: None };
            let (mut real, mut modelled) = (Vec::new(), Vec::new());
            let mut place = begin;
            for _ in 0..PAGES {
                let asked = SnapshotsAsked { feed, place, count: place.last.is_none() };
                let read = match others {
                    false => bootstrap::read(&self.pool, reader.account, &[asked], max_bytes).await.map(Some),
                    true => bootstrap::read_of_other(&self.pool, reader, asked, max_bytes, 0).await,
                };
                let read = read.unwrap().map(|mut read| read.remove(0));
                let Some(next) = goes_on(&mut real, read) else { break };
                place.last = Some(next);
            }
            place = begin;
            for _ in 0..PAGES {
                let asked = SnapshotsAsked { feed, place, count: place.last.is_none() };
                let read = self.model.read_snapshots(reader.account, others, &[asked], max_bytes).unwrap();
                let Some(next) = goes_on(&mut modelled, read.map(|mut read| read.remove(0))) else { break };
                place.last = Some(next);
            }
            assert_eq!(in_one(real), in_one(modelled), "{feed}: {begin:?}");
        }
    }

    fn is_of_another(&self, reader: Device, feed: FeedId) -> bool {
        self.model.look(|tables| tables.feeds[&feed].account != reader.account)
    }
}

/// Keeps a page; below which document the next one begins, if there is one.
fn goes_on(pages: &mut Vec<Option<SnapshotsRead>>, page: Option<SnapshotsRead>) -> Option<DocId> {
    let next = page.as_ref().filter(|page| !page.exhausted).and_then(|page| {
        let document = page.documents.last().map(|document| document.doc_id);
        document.or(page.erasures.last().map(|(_, entry)| entry.doc_id))
    });
    pages.push(page);
    next
}

/// All pages as one; columns as values, because PostgreSQL orders their keys.
fn in_one(pages: Vec<Option<SnapshotsRead>>) -> Option<SnapshotsRead> {
    let whole = pages.into_iter().reduce(|whole, page| {
        let (mut whole, page) = (whole?, page?);
        whole.documents.extend(page.documents);
        whole.erasures.extend(page.erasures);
        whole.exhausted = page.exhausted;
        Some(whole)
    });
    let mut whole = whole.flatten()?;
    for listed in whole.documents.iter_mut().filter_map(|document| document.listed.as_mut()) {
        let columns: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&listed.columns).expect("columns are an object");
        listed.columns = format!("{columns:?}");
    }
    Some(whole)
}
