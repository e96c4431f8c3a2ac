//! The steps of a repair: where two histories of a feed part, which documents differ, and what a device offers.

use super::{FeedPush, WireError, at_most, entries, feed, fixed, proto};
use crate::entry::Digest;
use crate::id::{ChangeHash, DocId, FeedId};
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
        None => return Err(WireError::Field { field: "step", expected: "set" }),
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
