//! Invariants I3 and I4 on a real database: whatever is pushed, by whom, in whatever pieces and through whatever node,
//! every entry gets exactly one final answer, the same one when it is pushed again, and every feed counts without a
//! gap.

use std::collections::BTreeMap;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, EntryId};
use fitme_core::wire::{EntryKind, Receipt};
use fitme_testing::Postgres;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::phones::{Draft, Node, Phone, codes};

/// What a device does next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Log,
    Edit,
    /// Pushes something again that was pushed before.
    Repeat,
    /// An edit whose predecessor nobody pushed.
    Orphan,
    /// Two different changes with one sequence number.
    Fork,
    /// An edit under the actor of the other device.
    Steal,
    /// Bytes that are no change.
    Garbage,
    /// A kind of entry that is not served.
    Sealed,
    /// A record of another collection.
    Misplaced,
    /// The same record once more, created by somebody else.
    Recreate,
}

fn act() -> impl Strategy<Value = Act> {
    use Act::*;
    prop_oneof![
        6 => Just(Log), 6 => Just(Edit), 2 => Just(Repeat), 1 => Just(Orphan), 1 => Just(Fork),
        1 => Just(Steal), 1 => Just(Garbage), 1 => Just(Sealed), 1 => Just(Misplaced), 1 => Just(Recreate)
    ]
}

/// A device with what it wrote.
struct Writer {
    phone: Phone,
    drafts: Vec<Draft>,
    pushed: Vec<Entry>,
    rng: StdRng,
}

impl Writer {
    fn act(&mut self, act: Act, stolen: ActorId) -> Vec<Entry> {
        let known = (!self.drafts.is_empty()).then(|| self.rng.random_range(0..self.drafts.len()));
        let patch = json!({ "note": self.rng.random::<u64>().to_string() });
        let entries = match (act, known) {
            (Act::Repeat, _) if !self.pushed.is_empty() => {
                vec![self.pushed[self.rng.random_range(0..self.pushed.len())].clone()]
            }
            (Act::Edit, Some(at)) => vec![self.phone.edit(&mut self.drafts[at], &patch)],
            (Act::Orphan, Some(at)) => {
                // The actor's sequence goes on from here with the lost edit, so the record is given up.
                let mut draft = self.drafts.swap_remove(at);
                let _lost = self.phone.edit(&mut draft, &patch);
                vec![self.phone.edit(&mut draft, &json!({ "energy": 3 }))]
            }
            (Act::Fork, Some(at)) => {
                let mut fork = self.drafts[at].clone();
                let edit = self.phone.edit(&mut self.drafts[at], &patch);
                vec![edit, self.phone.edit(&mut fork, &json!({ "note": "other" }))]
            }
            (Act::Steal, Some(at)) => {
                let own = std::mem::replace(&mut self.phone.actor, stolen);
                let edit = self.phone.edit(&mut self.drafts[at].clone(), &patch);
                self.phone.actor = own;
                vec![edit]
            }
            (Act::Recreate, Some(at)) => {
                let (_, again) = self.phone.log_mood(0);
                vec![Entry { doc_id: self.drafts[at].doc_id, ..again }]
            }
            (Act::Garbage, _) => {
                let entry = self.phone.log_mood(0).1;
                vec![Entry { payload: entry.payload[..entry.payload.len() - 1].to_vec(), ..entry }]
            }
            (Act::Sealed, _) => vec![Entry { kind: EntryKind::Sealed.into(), ..self.phone.log_mood(0).1 }],
            (Act::Misplaced, _) => vec![self.phone.log(Collection::Meals, &json!({ "at": 0, "kind": "lunch" })).1],
            _ => {
                let (draft, entry) = self.phone.log_mood(1);
                self.drafts.push(draft);
                vec![entry]
            }
        };
        self.pushed.extend(entries.iter().cloned());
        entries
    }
}

/// Plays one case and checks the invariants.
async fn play(acts: Vec<(bool, Act)>, pieces: Vec<usize>, seed: u64) {
    let database = Postgres::shared().database();
    let nodes = [Node::on(&database).await, Node::on(&database).await];
    let ana = nodes[0].person().await;
    let moods = ana.feed(Collection::Moods);
    let mut writers = Vec::new();
    for n in 0..2 {
        let phone = nodes[0].phone(&ana, seed.wrapping_add(n)).await;
        let rng = StdRng::seed_from_u64(seed.wrapping_add(n));
        writers.push(Writer { phone, drafts: Vec::new(), pushed: Vec::new(), rng });
    }
    let actors = [writers[1].phone.actor, writers[0].phone.actor];
    let mut queues = [Vec::new(), Vec::new()];
    for (second, act) in acts {
        queues[usize::from(second)].extend(writers[usize::from(second)].act(act, actors[usize::from(second)]));
    }

    // Each device pushes in pieces through its node, both at the same time.
    let push_all = |n: usize| {
        let (node, device, queue, pieces) = (&nodes[n], writers[n].phone.device, queues[n].clone(), &pieces);
        async move {
            let (mut rest, mut pushes) = (queue.as_slice(), Vec::new());
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                pushes.push(node.push(device, moods, now.to_vec()));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            join_all(pushes).await.concat()
        }
    };
    let receipts = join_all([push_all(0), push_all(1)]).await;
    let stored = nodes[0].feed(moods).await;
    check(&queues, &receipts, &stored);

    let again = join_all([push_all(0), push_all(1)]).await;
    assert_eq!(nodes[1].feed(moods).await, stored, "nothing is appended twice");
    for (first, second) in receipts.iter().flatten().zip(again.iter().flatten()) {
        match (first, second) {
            (Receipt::Accepted(seq) | Receipt::Duplicate { seq, .. }, Receipt::Duplicate { seq: again, .. }) => {
                assert_eq!(seq, again);
            }
            // What was refused because of its place in the push may be refused for another reason alone.
            (Receipt::Rejected(_), Receipt::Rejected(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    for node in nodes {
        node.close().await;
    }
}

/// I3: one final receipt each, and the feed holds what was accepted, under the number that the receipt says.
fn check(queues: &[Vec<Entry>; 2], receipts: &[Vec<Receipt>], stored: &[EntryId]) {
    let mut accepted = BTreeMap::new();
    for (queue, receipts) in queues.iter().zip(receipts) {
        assert_eq!(queue.len(), receipts.len(), "one receipt for each entry");
        for (entry, receipt) in queue.iter().zip(receipts) {
            match receipt {
                Receipt::Accepted(seq) => assert_eq!(accepted.insert(*seq, entry.id()), None, "a number given twice"),
                Receipt::Duplicate { seq, entry_id } => assert_eq!(stored[*seq as usize - 1], *entry_id),
                Receipt::Rejected(_) => {}
                Receipt::Retry(why) => panic!("the database was there: {why:?}"),
            }
        }
        let bad = codes(receipts).iter().any(|code| code.contains("refused_by_database"));
        assert!(!bad, "the plan let something through that the tables refuse");
    }
    assert_eq!(accepted.into_values().collect::<Vec<_>>(), stored, "I4: numbers from 1 without a gap");
}

#[test]
fn every_entry_has_one_verdict_and_numbers_have_no_gap() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let config = Config { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let seed_bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
    let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let acts = prop::collection::vec((any::<bool>(), act()), 1..80);
    let pieces = prop::collection::vec(1..9_usize, 1..5);
    let outcome = runner.run(&(acts, pieces, any::<u64>()), |(acts, pieces, seed)| {
        runtime.block_on(play(acts, pieces, seed));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
}
