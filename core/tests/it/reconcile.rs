//! Two replicas find the documents in which they differ.

use std::collections::BTreeMap;

use fitme_core::id::{ChangeHash, DocId};
use fitme_core::limits;
use fitme_core::reconcile::{
    Answer, Answering, BadAnswer, Comparison, DIFFERENCES, Difference, Held, Part, Question, Range, Reading, Sum,
};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The documents of one side.
#[derive(Clone, Default)]
struct Side(BTreeMap<DocId, Vec<ChangeHash>>);

impl Reading for Side {
    type Error = BadAnswer;

    fn read(&mut self, range: Range, each: &mut dyn FnMut(Held)) -> Result<(), BadAnswer> {
        let inside = self.0.range(range.from..).take_while(|(id, _)| range.to.is_none_or(|to| **id < to));
        inside.for_each(|(doc_id, heads)| each(Held { doc_id: *doc_id, heads: heads.clone() }));
        Ok(())
    }
}

impl Side {
    fn drawn(documents: usize, dice: &mut StdRng) -> Self {
        let document = |_| (DocId::random(1_795_334_400_000 + dice.random_range(0..1_000_000), dice), vec![hash(dice)]);
        Self((0..documents).map(document).collect())
    }

    fn ids(&self) -> Vec<DocId> {
        self.0.keys().copied().collect()
    }
}

fn hash(dice: &mut StdRng) -> ChangeHash {
    ChangeHash::random(dice)
}

/// Messages there and back until the comparison ends, and what it found, in the order of the ids.
fn compare(ours: &mut Side, theirs: &mut Side) -> (usize, Vec<Difference>) {
    let mut comparison = Comparison::of_all(ours).unwrap();
    let mut round_trips = 0;
    loop {
        let questions = comparison.ask().to_vec();
        if questions.is_empty() {
            let mut differences = comparison.into_differences();
            differences.sort_by_key(|difference| difference.doc_id);
            return (round_trips, differences);
        }
        round_trips += 1;
        let answer = |question: Question| {
            let mut answering = Answering::new(question);
            theirs.read(question.range, &mut |held| answering.take(held)).unwrap();
            answering.answer()
        };
        let answers = questions.into_iter().map(answer).collect();
        comparison.take::<_, BadAnswer>(answers, ours).unwrap();
    }
}

fn expected(ours: &Side, theirs: &Side) -> Vec<Difference> {
    let ids: std::collections::BTreeSet<_> = ours.0.keys().chain(theirs.0.keys()).copied().collect();
    let differ = ids.into_iter().filter(|id| ours.0.get(id) != theirs.0.get(id));
    differ
        .map(|doc_id| Difference { doc_id, ours: ours.0.get(&doc_id).cloned(), theirs: theirs.0.get(&doc_id).cloned() })
        .collect()
}

proptest! {
    /// Whatever is missing, changed or erased on either side is found, and nothing else.
    #[test]
    fn every_difference_is_found_and_nothing_else(seed in 0u64..1_000_000, documents in 0usize..700, changes in 0usize..40) {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut ours = Side::drawn(documents, &mut dice);
        let mut theirs = ours.clone();
        for _ in 0..changes {
            let side = if dice.random_bool(0.5) { &mut ours } else { &mut theirs };
            let ids = side.ids();
            let at = ids.get(dice.random_range(0..=ids.len())).copied();
            match (dice.random_range(0..4), at) {
                (0, Some(id)) => drop(side.0.remove(&id)),
                (1, Some(id)) => side.0.get_mut(&id).unwrap().push(ChangeHash([0xff; 32])),
                (2, Some(id)) => side.0.get_mut(&id).unwrap().clear(),
                _ => drop(side.0.insert(DocId(dice.random()), vec![hash(&mut dice)])),
            }
        }
        prop_assert_eq!(compare(&mut ours, &mut theirs).1, expected(&ours, &theirs));
    }
}

#[test]
fn what_is_equal_takes_one_round_trip() {
    let mut side = Side::drawn(5_000, &mut StdRng::seed_from_u64(1));
    assert_eq!(compare(&mut side.clone(), &mut side), (1, Vec::new()));
    assert_eq!(compare(&mut Side::default(), &mut Side::default()), (1, Vec::new()));
}

#[test]
fn ten_that_differ_among_100_000_are_found_in_four_round_trips() {
    let mut dice = StdRng::seed_from_u64(2);
    let mut ours = Side::drawn(100_000, &mut dice);
    let mut theirs = ours.clone();
    for id in theirs.ids().into_iter().step_by(10_000) {
        theirs.0.remove(&id);
    }
    let (round_trips, differences) = compare(&mut ours, &mut theirs);
    assert_eq!((round_trips, differences.len()), (4, 10));
}

/// The server was restored empty: what is found is bounded, and the rest is found when that was mended.
#[test]
fn a_side_that_lacks_everything_is_mended_in_rounds() {
    let mut ours = Side::drawn(DIFFERENCES + 500, &mut StdRng::seed_from_u64(3));
    let mut theirs = Side::default();
    let mut rounds = 0;
    while ours.0 != theirs.0 {
        let (_, differences) = compare(&mut ours, &mut theirs);
        assert!(differences.len() <= DIFFERENCES);
        theirs.0.extend(differences.into_iter().map(|one| (one.doc_id, one.ours.unwrap())));
        rounds += 1;
    }
    assert_eq!(rounds, 2);
}

/// Every document of the range has as many heads as one may have.
#[test]
fn a_document_is_named_however_many_heads_it_has_and_never_two_of_those_together() {
    let mut dice = StdRng::seed_from_u64(4);
    let mut theirs = Side::drawn(20, &mut dice);
    for heads in theirs.0.values_mut() {
        *heads = (0..limits::CHANGE_DEPENDENCIES).map(|_| hash(&mut dice)).collect();
    }
    let (_, differences) = compare(&mut Side::default(), &mut theirs);
    assert_eq!(differences.len(), 20);
    let mut answering = Answering::new(Comparison::of_all(&mut Side::default()).unwrap().ask()[0]);
    theirs.read(Range::ALL, &mut |held| answering.take(held)).unwrap();
    assert!(matches!(answering.answer(), Answer::Parts(parts) if parts.len() == 20));
}

#[test]
fn answers_that_lead_nowhere_or_are_about_something_else_end_the_comparison() {
    let mut ours = Side::drawn(100, &mut StdRng::seed_from_u64(5));
    let mut asked = Comparison::of_all(&mut ours).unwrap();
    let question = asked.ask()[0];
    let [first, last] = [0, 255].map(|byte| Part { from: DocId([byte; 16]), sum: question.sum });
    let bad = [
        (vec![], BadAnswer::Count { answers: 0, questions: 1 }),
        (vec![Answer::Parts(vec![first])], BadAnswer::Parts),
        (vec![Answer::Parts(vec![last, first])], BadAnswer::Parts),
        (vec![Answer::Parts(vec![last, last])], BadAnswer::Parts),
    ];
    for (answers, why) in bad {
        assert_eq!(asked.clone().take::<_, BadAnswer>(answers, &mut ours), Err(why));
    }
    let twice = vec![Held { doc_id: DocId([1; 16]), heads: Vec::new() }; 2];
    let answer = vec![Answer::Documents(twice)];
    assert_eq!(asked.clone().take::<_, BadAnswer>(answer, &mut ours), Err(BadAnswer::Documents));
    // One id less each time.
    let end = loop {
        let answer = |one: &Question| {
            let next = (u128::from_be_bytes(one.range.from.0) + 1).to_be_bytes();
            Answer::Parts(vec![Part { from: one.range.from, sum: Sum(1) }, Part { from: DocId(next), sum: Sum(1) }])
        };
        let answers = asked.ask().iter().map(answer).collect();
        if let Err(why) = asked.take::<_, BadAnswer>(answers, &mut ours) {
            break why;
        }
    };
    assert!(matches!(end, BadAnswer::Endless | BadAnswer::Parts), "{end:?}");
}
