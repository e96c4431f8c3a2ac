//! The steps of a repair: where two histories of a feed part, which documents differ, what a device offers and what it fetches.

use super::bootstrap::{self, Snapshot};
use super::{FeedPush, WireError, at_most, entries, feed, fixed, proto};
use crate::entry::{Digest, Entry};
use crate::id::{ChangeHash, DocId, EntryId, FeedId};
use crate::limits;
use crate::reconcile::{self, Answer, Held, Part, Question, Range, Sum};

/// One step of a repair.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "described in sync.proto, in the same words and order")]
pub enum Repair {
    Locate { feeds: Vec<(FeedId, Vec<(u64, Digest)>)> },
    Agreed { feed: FeedId, seq: u64 },
    Compare { feed: FeedId, questions: Vec<Question> },
    Compared { feed: FeedId, answers: Vec<Answer> },
    Offer { batch: u64, feeds: Vec<FeedPush> },
    Fetch { feed: FeedId, documents: Vec<DocId> },
    Fetched(Fetched),
    Prove { feed: FeedId },
    Wanted { feed: FeedId, entries: Vec<Wanted> },
    BringBack { feed: FeedId, entries: Vec<(u64, Entry)> },
}

/// An entry that a server has lost or holds damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its number.
    pub seq: u64,
    /// Its id, if it is known.
    pub id: Option<EntryId>,
    /// The change that it held, if that is known.
    pub change: Option<(DocId, ChangeHash)>,
}

/// Documents as the server has them, for a device that lacks them or holds them damaged.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// Of which feed.
    pub feed: FeedId,
    /// The last document that was looked for; `None` if the answer goes on.
    pub upto: Option<DocId>,
    /// By which version of the projection `listed` was made.
    pub projection_version: i32,
    /// The documents, or parts of them.
    pub documents: Vec<Snapshot>,
    /// The entries that erased documents, each with its number.
    pub erasures: Vec<(u64, Entry)>,
}

pub(super) fn to_proto(step: &Repair) -> proto::Repair {
    use proto::repair::Step;
    let step = match step {
        Repair::Locate { feeds } => {
            let point =
                |(seq, digest): &(u64, Digest)| proto::Point { seq: *seq, digest: digest.to_bytes().to_vec().into() };
            let of_feed = |(feed, points): &(FeedId, Vec<_>)| proto::FeedPoints {
                feed: feed.0,
                points: points.iter().map(point).collect(),
            };
            Step::Locate(proto::Locate { feeds: feeds.iter().map(of_feed).collect() })
        }
        Repair::Agreed { feed, seq } => Step::Agreed(proto::Agreed { feed: feed.0, seq: *seq }),
        Repair::Compare { feed, questions } => {
            Step::Compare(proto::Compare { feed: feed.0, ranges: questions.iter().map(range).collect() })
        }
        Repair::Compared { feed, answers } => {
            Step::Compared(proto::Compared { feed: feed.0, ranges: answers.iter().map(answer).collect() })
        }
        Repair::Offer { batch, feeds } => {
            Step::Offer(proto::Offer { batch: *batch, feeds: feeds.iter().map(entries::push_to_proto).collect() })
        }
        Repair::Fetch { feed, documents } => {
            let doc_ids = documents.iter().map(|id| id.0.to_vec().into()).collect();
            Step::Fetch(proto::Fetch { feed: feed.0, doc_ids })
        }
        Repair::Fetched(fetched) => Step::Fetched(fetched_to_proto(fetched)),
        Repair::Prove { feed } => Step::Prove(proto::Prove { feed: feed.0 }),
        Repair::Wanted { feed, entries } => {
            Step::Wanted(proto::AllWanted { feed: feed.0, entries: entries.iter().map(wanted).collect() })
        }
        Repair::BringBack { feed, entries } => {
            let entries = entries.iter().map(bootstrap::numbered_to_proto).collect();
            Step::BringBack(proto::BringBack { feed: feed.0, entries })
        }
    };
    proto::Repair { step: Some(step) }
}

pub(super) fn from_proto(repair: proto::Repair) -> Result<Repair, WireError> {
    use proto::repair::Step;
    Ok(match repair.step {
        Some(Step::Locate(locate)) => {
            at_most("feeds", locate.feeds.len(), limits::LOCATED_FEEDS)?;
            Repair::Locate { feeds: locate.feeds.iter().map(points_from_proto).collect::<Result<_, _>>()? }
        }
        Some(Step::Agreed(agreed)) => Repair::Agreed { feed: feed(agreed.feed)?, seq: agreed.seq },
        Some(Step::Compare(compare)) => {
            at_most("ranges", compare.ranges.len(), reconcile::RANGES)?;
            let questions = compare.ranges.iter().map(question).collect::<Result<_, _>>()?;
            Repair::Compare { feed: feed(compare.feed)?, questions }
        }
        Some(Step::Compared(compared)) => {
            at_most("ranges", compared.ranges.len(), reconcile::RANGES)?;
            let answers = compared.ranges.iter().map(answer_from_proto).collect::<Result<_, _>>()?;
            Repair::Compared { feed: feed(compared.feed)?, answers }
        }
        Some(Step::Offer(offer)) => Repair::Offer { batch: offer.batch, feeds: entries::push_from_proto(offer.feeds)? },
        Some(Step::Fetch(fetch)) => {
            at_most("documents", fetch.doc_ids.len(), reconcile::RANGES)?;
            let documents = fetch.doc_ids.iter().map(|id| fixed("doc_ids", id).map(DocId)).collect::<Result<_, _>>()?;
            Repair::Fetch { feed: feed(fetch.feed)?, documents }
        }
        Some(Step::Fetched(fetched)) => Repair::Fetched(fetched_from_proto(fetched)?),
        Some(Step::Prove(prove)) => Repair::Prove { feed: feed(prove.feed)? },
        Some(Step::Wanted(all)) => {
            at_most("entries", all.entries.len(), limits::WANTED_ENTRIES)?;
            let entries = all.entries.iter().map(wanted_from_proto).collect::<Result<_, _>>()?;
            Repair::Wanted { feed: feed(all.feed)?, entries }
        }
        Some(Step::BringBack(brought)) => {
            at_most("entries", brought.entries.len(), limits::WANTED_ENTRIES)?;
            let entries = brought.entries.into_iter().map(bootstrap::numbered_from_proto).collect::<Result<_, _>>()?;
            Repair::BringBack { feed: feed(brought.feed)?, entries }
        }
        None => return Err(WireError::Field { field: "step", expected: "set" }),
    })
}

fn wanted(wanted: &Wanted) -> proto::Wanted {
    let change = wanted.change.as_ref();
    proto::Wanted {
        seq: wanted.seq,
        entry_id: wanted.id.map(|id| id.0.to_vec()).unwrap_or_default().into(),
        doc_id: change.map(|(doc_id, _)| doc_id.0.to_vec()).unwrap_or_default().into(),
        change_hash: change.map(|(_, hash)| hash.0.to_vec()).unwrap_or_default().into(),
    }
}

fn wanted_from_proto(wanted: &proto::Wanted) -> Result<Wanted, WireError> {
    let id = (!wanted.entry_id.is_empty()).then(|| fixed("entry_id", &wanted.entry_id).map(EntryId));
    let change = (!wanted.change_hash.is_empty())
        .then(|| Ok((DocId(fixed("doc_id", &wanted.doc_id)?), ChangeHash(fixed("change_hash", &wanted.change_hash)?))));
    Ok(Wanted { seq: wanted.seq, id: id.transpose()?, change: change.transpose()? })
}

fn fetched_to_proto(fetched: &Fetched) -> proto::Fetched {
    proto::Fetched {
        feed: fetched.feed.0,
        upto: fetched.upto.map(|upto| upto.0.to_vec()).unwrap_or_default().into(),
        projection_version: fetched.projection_version,
        documents: fetched.documents.iter().map(bootstrap::snapshot_to_proto).collect(),
        erasures: fetched.erasures.iter().map(bootstrap::numbered_to_proto).collect(),
    }
}

fn fetched_from_proto(fetched: proto::Fetched) -> Result<Fetched, WireError> {
    let upto = (!fetched.upto.is_empty()).then(|| fixed("upto", &fetched.upto).map(DocId)).transpose()?;
    Ok(Fetched {
        feed: feed(fetched.feed)?,
        upto,
        projection_version: fetched.projection_version,
        documents: fetched.documents.into_iter().map(bootstrap::snapshot_from_proto).collect::<Result<_, _>>()?,
        erasures: fetched.erasures.into_iter().map(bootstrap::numbered_from_proto).collect::<Result<_, _>>()?,
    })
}

fn points_from_proto(of: &proto::FeedPoints) -> Result<(FeedId, Vec<(u64, Digest)>), WireError> {
    at_most("points", of.points.len(), limits::LOCATOR_POINTS)?;
    let point = |point: &proto::Point| Ok((point.seq, Digest(u128::from_be_bytes(fixed("digest", &point.digest)?))));
    Ok((feed(of.feed)?, of.points.iter().map(point).collect::<Result<_, WireError>>()?))
}

fn range(question: &Question) -> proto::Range {
    let Range { from, to } = question.range;
    proto::Range {
        from: from.0.to_vec().into(),
        to: to.map(|to| to.0.to_vec()).unwrap_or_default().into(),
        sum: sum(question.sum),
    }
}

fn question(range: &proto::Range) -> Result<Question, WireError> {
    let to = (!range.to.is_empty()).then(|| fixed("to", &range.to).map(DocId)).transpose()?;
    let range_of = Range { from: DocId(fixed("from", &range.from)?), to };
    Ok(Question { range: range_of, sum: sum_from(&range.sum)? })
}

fn answer(answer: &Answer) -> proto::RangeAnswer {
    let part = |part: &Part| proto::RangePart { from: part.from.0.to_vec().into(), sum: sum(part.sum) };
    let held = |held: &Held| proto::HeldDocument {
        doc_id: held.doc_id.0.to_vec().into(),
        heads: held.heads.iter().map(|head| head.0.to_vec().into()).collect(),
    };
    match answer {
        Answer::Same => proto::RangeAnswer { same: true, ..proto::RangeAnswer::default() },
        Answer::Parts(parts) => {
            proto::RangeAnswer { parts: parts.iter().map(part).collect(), ..proto::RangeAnswer::default() }
        }
        Answer::Documents(documents) => {
            proto::RangeAnswer { documents: documents.iter().map(held).collect(), ..proto::RangeAnswer::default() }
        }
    }
}

fn answer_from_proto(answer: &proto::RangeAnswer) -> Result<Answer, WireError> {
    at_most("parts", answer.parts.len(), reconcile::PARTS)?;
    at_most("documents", answer.documents.len(), reconcile::LISTED_HEADS)?;
    if answer.same {
        return Ok(Answer::Same);
    }
    if answer.parts.is_empty() {
        return Ok(Answer::Documents(answer.documents.iter().map(held_from_proto).collect::<Result<_, _>>()?));
    }
    let part =
        |part: &proto::RangePart| Ok(Part { from: DocId(fixed("from", &part.from)?), sum: sum_from(&part.sum)? });
    Ok(Answer::Parts(answer.parts.iter().map(part).collect::<Result<_, WireError>>()?))
}

fn held_from_proto(held: &proto::HeldDocument) -> Result<Held, WireError> {
    at_most("heads", held.heads.len(), limits::CHANGE_DEPENDENCIES as usize)?;
    let bad = WireError::Field { field: "heads", expected: "32 bytes each" };
    let heads = held.heads.iter().map(|head| ChangeHash::from_slice(head).ok_or(bad.clone()));
    Ok(Held { doc_id: DocId(fixed("doc_id", &held.doc_id)?), heads: heads.collect::<Result<_, _>>()? })
}

fn sum(sum: Sum) -> prost::bytes::Bytes {
    sum.0.to_be_bytes().to_vec().into()
}

fn sum_from(bytes: &[u8]) -> Result<Sum, WireError> {
    Ok(Sum(u128::from_be_bytes(fixed("sum", bytes)?)))
}
