//! Two nodes on one database: they never accept an entry twice, and never wait for each other in a circle.

use std::collections::BTreeMap;
use std::sync::Arc;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, FeedId};
use fitme_core::wire::{FeedPush, Receipt};
use fitme_testing::Postgres;
use futures_util::future::{join, join_all};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sync_server::auth::Device;
use sync_server::merge::MergeWorkers;
use tokio::sync::Notify;

use crate::phones::{MORNING, Node, Person, Phone, code, codes};

/// Groups that are committed with overlapping feeds.
const GROUPS: usize = 10_000;
/// Two nodes rarely wait for each other; of four, some always do.
const NODES: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn entries_pushed_at_once_on_both_nodes_are_accepted_once() {
    let database = Postgres::shared().database();
    let (one, other) = (Node::on(&database).await, Node::on(&database).await);
    let ana = one.person().await;
    let moods = ana.feed(Collection::Moods);
    for round in 0..5 {
        let mut phone = one.phone(&ana, round).await;
        let entries: Vec<_> = (0..100).map(|_| phone.log_mood(1).1).collect();
        let (here, there) =
            join(one.push(phone.device, moods, entries.clone()), other.push(phone.device, moods, entries.clone()))
                .await;
        for ((entry, here), there) in entries.iter().zip(here).zip(there) {
            let (seq, duplicate) = match (here, there) {
                (Receipt::Accepted(seq), duplicate) | (duplicate, Receipt::Accepted(seq)) => (seq, duplicate),
                neither => panic!("{neither:?}"),
            };
            assert_eq!(duplicate, Receipt::Duplicate { seq, entry_id: entry.id() });
        }
        assert_eq!(one.feed(moods).await.len() as u64, (round + 1) * 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_actor_that_two_devices_use_first_at_once_goes_to_one_of_them() {
    let database = Postgres::shared().database();
    let (one, other) = (Node::on(&database).await, Node::on(&database).await);
    let (ana, ben) = (one.person().await, one.person().await);
    for round in 0..20 {
        let (mut phone, mut tablet) = (one.phone(&ana, round).await, one.phone(&ben, 100 + round).await);
        phone.actor = ActorId([round as u8 + 1; 16]);
        tablet.actor = phone.actor;
        let (here, there) = join(
            one.push(phone.device, ana.feed(Collection::Moods), vec![phone.log_mood(1).1]),
            other.push(tablet.device, ben.feed(Collection::Moods), vec![tablet.log_mood(1).1]),
        )
        .await;
        let mut both = [code(&here[0]), code(&there[0])];
        both.sort_unstable();
        assert_eq!(both, ["accepted", "foreign_actor"]);
    }
}

/// A device that pushes to several of its account's feeds at once, through either node.
struct Busy {
    device: Device,
    stock: BTreeMap<FeedId, Vec<Entry>>,
}

impl Busy {
    /// Entries are made before, so that the test spends its time in the database.
    fn new(phone: &mut Phone, person: &Person, entries: usize) -> Self {
        let records = [
            (Collection::Moods, json!({ "at": MORNING, "valence": 1 })),
            (Collection::Measurements, json!({ "at": MORNING, "resting_hr": 52 })),
            (Collection::Meals, json!({ "at": MORNING, "kind": "lunch" })),
        ];
        let stock = records.map(|(collection, fields)| {
            (person.feed(collection), (0..entries).map(|_| phone.log(collection, &fields).1).collect())
        });
        Self { device: phone.device, stock: stock.into() }
    }

    /// One entry for each of two or three feeds, in a random order; some were pushed before.
    fn take(&mut self, rng: &mut StdRng) -> Vec<FeedPush> {
        let skip = rng.random_range(0..6);
        let mut feeds: Vec<_> = self.stock.iter_mut().enumerate().filter(|(at, _)| *at != skip).collect();
        if rng.random() {
            feeds.reverse();
        }
        let mut one = |entries: &mut Vec<Entry>| match rng.random_bool(0.2) {
            true => entries.last().cloned().unwrap(),
            false => entries.pop().unwrap(),
        };
        feeds.into_iter().map(|(_, (feed, entries))| FeedPush { feed: *feed, entries: vec![one(entries)] }).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_groups_with_overlapping_feeds_never_deadlock() {
    let database = Postgres::shared().database();
    // Postgres looks for circles only in waits of this length, and ingest ends its own before the usual second.
    let setting =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = 5', current_database()); END $$";
    sqlx::query(setting).execute(&Node::on(&database).await.pool).await.unwrap();
    let nodes: [Node; NODES] = join_all((0..NODES).map(|_| Node::on(&database))).await.try_into().ok().unwrap();
    let wake = Arc::new(Notify::new());
    let workers = nodes.each_ref().map(|node| MergeWorkers::start(&node.pool, 2, &wake, |_, _| {}));
    let people = [nodes[0].person().await, nodes[0].person().await];
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    // One device of each account on each node, which waits for its receipts: so every push is a group of its own.
    let devices = (0..2 * nodes.len()).map(|n| {
        let (node, person, wake) = (&nodes[n / 2], &people[n % 2], &wake);
        async move {
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(n as u64));
            let mut phone = node.phone(person, rng.random()).await;
            let groups = GROUPS / (2 * NODES);
            let mut busy = Busy::new(&mut phone, person, groups + 1);
            for _ in 0..groups {
                let receipts = node.ingest.submit(busy.device, busy.take(&mut rng)).await.receipts;
                wake.notify_one();
                let fine = |code: &&str| ["accepted", "duplicate", "feed_busy"].contains(code);
                assert!(codes(&receipts).iter().all(fine), "{receipts:?}");
            }
        }
    });
    join_all(devices).await;
    for person in &people {
        for collection in [Collection::Moods, Collection::Measurements, Collection::Meals] {
            assert!(!nodes[0].feed(person.feed(collection)).await.is_empty());
        }
    }
    for (node, workers) in nodes.into_iter().zip(workers) {
        workers.stop().await;
        // A connection reports what it met when it ends.
        node.close().await;
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let deadlocks: i64 = sqlx::query_scalar(deadlocks).fetch_one(&Node::on(&database).await.pool).await.unwrap();
    assert_eq!(deadlocks, 0);
}
