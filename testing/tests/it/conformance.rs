//! The simulator's database against PostgreSQL: the same drawn operations on both, through the server's own code, and every
//! answer and every table equal afterwards. What the simulator finds is worth as much as this holds.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fitme_core::id::{ActorId, EntryId, FeedId};
use fitme_core::session::{Account, Page};
use fitme_core::wire::{Cursors, FeedPush, Receipt};
use fitme_testing::Postgres;
use fitme_testing::sim::database::{Database, Storage, merge_turn};
use fitme_testing::sim::polling::finish;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use sync_server::auth::Device;
use sync_server::feeds::{self, Asked};
use sync_server::ingest::check::{Offer, Origin, Target, check};
use sync_server::ingest::settle::{self, Settler, Settling};
use sync_server::ingest::{Committed, Outcome};
use sync_server::merge;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

mod people;
mod readings;
mod tables;

use people::{People, Pushed};

/// Operations of one seed.
const OPERATIONS: usize = 40;
/// Seeds of a run; each has a database of its own.
const SEEDS: u64 = 12;
/// After so many operations the tables are compared.
const COMPARE_EVERY: usize = 10;

/// Both databases.
struct Both {
    owner: PgPool,
    pool: PgPool,
    model: Database,
    real: Settler<settle::Database>,
    modelled: Settler<Storage>,
    /// What each of the two said was committed.
    heard: [Arc<Mutex<Vec<String>>>; 2],
}

impl Both {
    async fn new(people: &mut People) -> Self {
        let database = Postgres::shared().database();
        let owner = PgPool::connect(&database.owner).await.unwrap();
        let pool = sync_server::db::connect(PgConnectOptions::from_str(&database.url).unwrap()).await.unwrap();
        sync_server::db::installation::establish(&pool).await.unwrap();
        people.move_in(&owner).await;
        let model = Database::default();
        let found = tables::read(&owner).await;
        model.change(|tables| *tables = found);
        model.set_clock(now_ms(&owner).await);
        let heard: [Arc<Mutex<Vec<String>>>; 2] = Default::default();
        let ear = |at: usize| {
            let heard = Arc::clone(&heard[at]);
            Arc::new(move |committed| heard.lock().unwrap().push(said(&committed)))
        };
        let real = Settler::new(settle::Database::new(pool.clone(), Duration::from_secs(5)), ear(0));
        let modelled = Settler::new(Storage(model.clone()), ear(1));
        Self { owner, pool, model, real, modelled, heard }
    }

    /// One group of pushes.
    async fn push(&mut self, group: Vec<Pushed>) -> Vec<Receipt> {
        let offers: Vec<_> =
            group.iter().map(|(device, feeds, of_others)| (*device, self.check(feeds, *of_others))).collect();
        let (real, outcomes) = settlings(&offers);
        self.real.settle(real).await;
        let (modelled, expected) = settlings(&offers);
        finish(self.modelled.settle(modelled));
        let outcomes: Vec<_> = outcomes.into_iter().map(answered).collect();
        assert_eq!(outcomes, expected.into_iter().map(answered).collect::<Vec<_>>(), "receipts of {group:?}");
        assert_eq!(*self.heard[0].lock().unwrap(), *self.heard[1].lock().unwrap(), "news of {group:?}");
        outcomes.into_iter().flat_map(|outcome| outcome.receipts).collect()
    }

    fn check(&self, feeds: &[FeedPush], of_others: bool) -> Vec<Offer> {
        let targets: BTreeMap<FeedId, Target> =
            feeds.iter().map(|push| (push.feed, self.model.target(push.feed))).collect();
        let offers = feeds.iter().flat_map(|push| push.entries.iter().map(|entry| (push.feed, entry.clone())));
        let origin = Origin { of_others, clock_offset_ms: None };
        offers.map(|(feed, entry)| Offer { origin, ..check(feed, entry, &targets[&feed]) }).collect()
    }

    async fn load_account(&self, account: Uuid, cursors: &Cursors, actors: &[ActorId]) {
        let real = feeds::load_account(&self.pool, account, cursors, actors, None).await.unwrap();
        let modelled = self.model.load_account(account, cursors, actors).unwrap();
        assert_eq!(comparable(real), comparable(modelled));
    }

    async fn numbers_and_grants(&self, account: Uuid) {
        let (mut real, mut modelled) =
            (feeds::named(&self.pool, account).await.unwrap().feeds, self.model.numbers(account).unwrap());
        real.sort_unstable();
        modelled.sort_unstable();
        assert_eq!(real, modelled, "numbers of {account}");
        assert_eq!(
            feeds::load_grants(&self.pool, account).await.unwrap(),
            self.model.load_grants(account).unwrap(),
            "grants to {account}"
        );
    }

    async fn read(&self, reader: Device, asked: Asked) -> Option<Page> {
        let own = feeds::read_page(&self.pool, reader.account, asked).await.unwrap();
        assert_eq!(own, self.model.read_page(reader.account, asked).unwrap(), "{asked:?}");
        let other = feeds::read_page_of_other(&self.pool, reader, asked, 0).await.unwrap();
        assert_eq!(other, self.model.read_page_of_other(reader.account, asked).unwrap(), "{asked:?} for {reader:?}");
        other
    }

    /// The model draws what PostgreSQL drew.
    async fn renew_epochs(&self, account: Uuid, feeds: &BTreeSet<FeedId>) {
        let feeds: Vec<_> = feeds.iter().copied().collect();
        let mut real = feeds::renew_epochs(&self.pool, account, &feeds).await.unwrap();
        real.sort_unstable();
        let mut drawn = real.iter().map(|(_, epoch)| *epoch);
        let next = || drawn.next().expect("PostgreSQL renewed as many");
        assert_eq!(self.model.renew_epochs(account, &feeds, next).unwrap(), real);
    }

    /// A turn of merging, by a worker of each.
    async fn merge(&self) {
        merge::one_turn(&self.pool).await.unwrap();
        finish(merge_turn(self.model.clone(), Uuid::from_u128(1))).unwrap();
    }

    /// Gives every connection back.
    async fn leave(self) {
        let Self { owner, pool, real, .. } = self;
        drop(real);
        pool.close().await;
        owner.close().await;
    }

    async fn compare(&self) {
        let real = tables::read(&self.owner).await;
        tables::assert_same(real, self.model.look(Clone::clone));
    }
}

type Answers = Vec<oneshot::Receiver<Outcome>>;

fn settlings(offers: &[(Device, Vec<Offer>)]) -> (Vec<Settling>, Answers) {
    let room = Arc::new(Semaphore::new(offers.len()));
    let one = |(device, offers): &(Device, Vec<Offer>)| {
        let (reply, outcome) = oneshot::channel();
        let permit = Arc::clone(&room).try_acquire_owned().unwrap();
        (Settling::new(*device, offers.clone(), reply, permit), outcome)
    };
    offers.iter().map(one).unzip()
}

fn answered(mut outcome: oneshot::Receiver<Outcome>) -> Outcome {
    outcome.try_recv().expect("a settled push is answered")
}

fn said(committed: &Committed) -> String {
    match committed {
        Committed::Entries(live) => {
            let ids: Vec<EntryId> = live.entries.iter().map(|one| one.id).collect();
            format!("{} from {}: {ids:?}", live.feed, live.first_seq)
        }
        Committed::Regranted(grantee) => format!("regranted {grantee}"),
    }
}

/// Without what nobody promises: the time, and the order of actors.
fn comparable(mut account: Account) -> Account {
    account.clock_ms = 0;
    account.actors.sort_unstable();
    account
}

async fn now_ms(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetch_one(pool).await.unwrap()
}

/// One drawn operation on both.
async fn operate(both: &mut Both, people: &mut People, rng: &mut StdRng) {
    match rng.random_range(0..13) {
        0..6 => {
            let group = people.group(rng);
            let receipts = both.push(group).await;
            people.hear(receipts);
        }
        6 => {
            let device = people.device(rng);
            let cursors = people.cursors(&both.model, rng);
            both.load_account(device.account, &cursors, &people.actors()).await;
            both.numbers_and_grants(device.account).await;
        }
        7 => {
            let feed = people.feed(rng);
            let head = both.model.look(|tables| tables.feeds[&feed].head);
            let after = rng.random_range(0..=head + 1);
            let (max_bytes, max_entries) = (*[1, 300, 1 << 20].choose(rng).unwrap(), rng.random_range(1..50));
            both.read(people.device(rng), Asked { feed, after, max_bytes, max_entries }).await;
        }
        8 => {
            let (reader, feed) = (people.device(rng), people.feed(rng));
            both.locate(reader, feed, rng).await;
            both.compare_documents(reader, feed, rng).await;
        }
        9 | 10 => both.snapshots(people.device(rng), people.feed(rng), rng).await,
        11 => {
            both.renew_epochs(people.device(rng).account, &BTreeSet::from([people.feed(rng), people.feed(rng)])).await
        }
        _ => both.merge().await,
    }
}

#[tokio::test]
async fn the_model_answers_and_holds_what_postgresql_does() {
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut people = People::new(&mut rng);
        let mut both = Both::new(&mut people).await;
        for n in 1..=OPERATIONS {
            operate(&mut both, &mut people, &mut rng).await;
            if n % COMPARE_EVERY == 0 {
                both.compare().await;
            }
        }
        both.merge().await;
        both.compare().await;
        for (code, times) in people.codes() {
            *codes.entry(code).or_default() += times;
        }
        both.leave().await;
    }
    let seldom: Vec<_> = people::EXPECTED.iter().filter(|code| !codes.contains_key(**code)).collect();
    assert!(seldom.is_empty(), "these answers never came: {seldom:?}; what came: {codes:?}");
}
