//! Three people, their devices and what these push: mostly what devices write, and a good part of what they must not.

use std::collections::BTreeMap;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, DocId, FeedId};
use fitme_core::merge;
use fitme_core::record::{self, Author};
use fitme_core::wire::{Cursors, EntryKind, FeedPush, Receipt};
use fitme_testing::sim::database::Database;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use serde_json::{Value, json};
use sqlx::PgPool;
use sync_server::account_feeds::ensure_feeds;
use sync_server::accounts::devices;
use sync_server::auth::Device;
use uuid::Uuid;

/// 2026-11-22 08:00 UTC.
const MORNING: i64 = 1_795_334_400_000;
/// A year before any test.
const LONG_AGO: i64 = 1_700_000_000_000;
/// Long after any test.
const FAR: i64 = 4_000_000_000_000;
/// Answers that a run must have seen, or it compares too little.
pub const EXPECTED: [&str; 11] = [
    "accepted",
    "duplicate",
    "actor_forked",
    "bad_change",
    "bad_content",
    "depends_on_rejected",
    "document_exists",
    "erased",
    "kind_not_served",
    "not_your_feed",
    "unknown_dependency",
];

/// A push, who makes it, and whether others may have written it.
pub type Pushed = (Device, Vec<FeedPush>, bool);

/// A document, as somebody holds it.
#[derive(Clone)]
struct Draft {
    feed: FeedId,
    doc_id: DocId,
    collection: Collection,
    /// Its changes in their order.
    payloads: Vec<Vec<u8>>,
}

impl Draft {
    /// An edit of the state after so many changes; `None` if it changes nothing.
    fn edit(&self, state: usize, author: &Author, rng: &mut StdRng) -> Option<Vec<u8>> {
        let mut doc = merge::assemble(self.payloads[..state].iter().map(Vec::as_slice)).unwrap();
        let patch = json!({ "note": format!("edit {}", rng.random_range(0..1000)) });
        record::edit(&mut doc, self.collection, &patch, author, rng).unwrap()
    }
}

struct Writer {
    device: Device,
    actor: ActorId,
}

pub struct People {
    /// Ann has two devices, Tom one, Ben one.
    writers: Vec<Writer>,
    feeds: BTreeMap<(Uuid, Collection), FeedId>,
    accounts: Vec<Uuid>,
    drafts: Vec<Draft>,
    pushed: Vec<(FeedId, Entry)>,
    grants: Vec<DocId>,
    codes: BTreeMap<String, usize>,
}

impl People {
    pub fn new(rng: &mut StdRng) -> Self {
        let accounts: Vec<_> = (0..3).map(|_| Uuid::from_u128(rng.random())).collect();
        let writer = |rng: &mut StdRng, account| Writer {
            device: Device { device: Uuid::nil(), account },
            actor: ActorId::random(rng),
        };
        let writers = [accounts[0], accounts[0], accounts[1], accounts[2]]
            .map(|account| writer(rng, account))
            .into_iter()
            .collect();
        Self {
            writers,
            feeds: BTreeMap::new(),
            accounts,
            drafts: Vec::new(),
            pushed: Vec::new(),
            grants: Vec::new(),
            codes: BTreeMap::new(),
        }
    }

    /// Accounts, feeds and devices, and that Ann accepted an invitation of Tom's.
    pub async fn move_in(&mut self, owner: &PgPool) {
        for account in &self.accounts {
            let insert = sqlx::query("INSERT INTO accounts (account, email, password_hash) VALUES ($1, $2, '')");
            insert.bind(account).bind(format!("{account}@example.org")).execute(owner).await.unwrap();
            for feed in ensure_feeds(&mut owner.acquire().await.unwrap(), *account).await.unwrap() {
                let collection = Collection::named(&feed.collection).unwrap();
                self.feeds.insert((*account, collection), FeedId(feed.feed.cast_unsigned()));
            }
        }
        for writer in &mut self.writers {
            let mut connection = owner.acquire().await.unwrap();
            writer.device.device =
                devices::register(&mut connection, writer.device.account, "phone", None).await.unwrap();
        }
        let related = sqlx::query("INSERT INTO relations (account, grantee) VALUES ($1, $2)");
        related.bind(self.accounts[0]).bind(self.accounts[1]).execute(owner).await.unwrap();
    }

    pub fn device(&self, rng: &mut StdRng) -> Device {
        self.writers.choose(rng).unwrap().device
    }

    pub fn feed(&self, rng: &mut StdRng) -> FeedId {
        let served: Vec<_> = self.feeds.iter().filter(|((_, one), _)| one.is_served()).map(|(_, feed)| *feed).collect();
        *served.choose(rng).unwrap()
    }

    pub fn actors(&self) -> Vec<ActorId> {
        self.writers.iter().map(|writer| writer.actor).collect()
    }

    /// Some feeds at some numbers, also beyond their heads.
    pub fn cursors(&self, model: &Database, rng: &mut StdRng) -> Cursors {
        let mut cursors = Cursors::default();
        for feed in self.feeds.values() {
            let head = model.look(|tables| tables.feeds[feed].head);
            if rng.random_bool(0.6) {
                cursors.0.insert(*feed, rng.random_range(0..=head + 1));
            }
        }
        cursors
    }

    /// Counts what came back.
    pub fn hear(&mut self, receipts: Vec<Receipt>) {
        for receipt in receipts {
            let code = match receipt {
                Receipt::Accepted(_) => "accepted".to_owned(),
                Receipt::Duplicate { .. } => "duplicate".to_owned(),
                Receipt::Rejected(why) | Receipt::Retry(why) => why.code,
            };
            *self.codes.entry(code).or_default() += 1;
        }
    }

    pub fn codes(&self) -> BTreeMap<String, usize> {
        self.codes.clone()
    }

    /// One to three pushes that are written together.
    pub fn group(&mut self, rng: &mut StdRng) -> Vec<Pushed> {
        (0..rng.random_range(1..=3)).map(|_| self.push(rng)).collect()
    }

    fn push(&mut self, rng: &mut StdRng) -> Pushed {
        let who = rng.random_range(0..self.writers.len());
        let mut feeds: BTreeMap<FeedId, Vec<Entry>> = BTreeMap::new();
        for _ in 0..rng.random_range(1..=5) {
            for (feed, entry) in self.write(who, rng) {
                feeds.entry(feed).or_default().push(entry);
            }
        }
        let pushes: Vec<_> = feeds.into_iter().map(|(feed, entries)| FeedPush { feed, entries }).collect();
        for push in &pushes {
            self.pushed.extend(push.entries.iter().map(|entry| (push.feed, entry.clone())));
        }
        (self.writers[who].device, pushes, rng.random_bool(0.15))
    }

    fn write(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        match rng.random_range(0..29) {
            0..7 => self.create(who, rng),
            7..15 => self.edit(who, rng),
            15 => self.edit_of_the_unknown(who, rng),
            16..18 => self.fork(who, rng),
            18..20 => self.again(rng),
            20 => self.resalted(rng),
            21 => self.misplaced(rng),
            22 => self.erase(who, rng),
            23 => self.garbage(who, rng),
            24 => self.profile(who, rng),
            25..27 => self.grant(who, rng),
            27 => self.revoke(who, rng),
            _ => self.first_again(who, rng),
        }
    }

    fn create(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let collection = *[Collection::Moods, Collection::Workouts, Collection::Meals].choose(rng).unwrap();
        // Mostly one's own, sometimes somebody else's, granted or not.
        let owner =
            if rng.random_bool(0.85) { self.writers[who].device.account } else { *self.accounts.choose(rng).unwrap() };
        let (feed, author) = (self.feeds[&(owner, collection)], self.author(who));
        let (_, payload) = record::create(collection, &fields(collection, rng), &author, rng).unwrap();
        let doc_id = DocId::random(MORNING, rng);
        self.drafts.push(Draft { feed, doc_id, collection, payloads: vec![payload.clone()] });
        vec![(feed, entry(doc_id, payload, rng))]
    }

    /// Rarely under somebody else's actor.
    fn edit(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let under = if rng.random_bool(0.08) { rng.random_range(0..self.writers.len()) } else { who };
        let author = self.author(under);
        let Some(at) = self.some_draft(who, rng) else { return Vec::new() };
        let draft = &mut self.drafts[at];
        let Some(payload) = draft.edit(draft.payloads.len(), &author, rng) else { return Vec::new() };
        draft.payloads.push(payload.clone());
        vec![(draft.feed, entry(draft.doc_id, payload, rng))]
    }

    /// On an earlier state: with the actor that went on since then, or concurrently with another one's.
    fn fork(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let author = self.author(who);
        let Some(at) = self.some_draft(who, rng) else { return Vec::new() };
        let draft = &self.drafts[at];
        let Some(payload) = draft.edit(rng.random_range(1..=draft.payloads.len()), &author, rng) else {
            return Vec::new();
        };
        vec![(draft.feed, entry(draft.doc_id, payload, rng))]
    }

    fn edit_of_the_unknown(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let author = self.author(who);
        let feed = self.feeds[&(self.writers[who].device.account, Collection::Moods)];
        let (_, first) = record::create(Collection::Moods, &fields(Collection::Moods, rng), &author, rng).unwrap();
        let doc_id = DocId::random(MORNING, rng);
        let draft = Draft { feed, doc_id, collection: Collection::Moods, payloads: vec![first] };
        draft.edit(1, &author, rng).map(|payload| (feed, entry(doc_id, payload, rng))).into_iter().collect()
    }

    fn again(&mut self, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        self.pushed.choose(rng).cloned().into_iter().collect()
    }

    fn resalted(&mut self, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let again = self.pushed.choose(rng).cloned();
        again.map(|(feed, old)| (feed, Entry { salt: rng.random(), ..old })).into_iter().collect()
    }

    /// Known content in another feed.
    fn misplaced(&mut self, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let feed = if rng.random_bool(0.2) { FeedId(47) } else { self.feed(rng) };
        self.pushed.choose(rng).map(|(_, old)| (feed, old.clone())).into_iter().collect()
    }

    fn erase(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let Some(at) = self.some_draft(who, rng) else { return Vec::new() };
        let Draft { feed, doc_id, .. } = self.drafts[at];
        let cause = if rng.random_bool(0.1) { "account" } else { "" };
        vec![(feed, Entry::erasure(doc_id, MORNING, rng.random(), cause))]
    }

    fn garbage(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let feed = self.feeds[&(self.writers[who].device.account, Collection::Moods)];
        let kind = if rng.random_bool(0.5) { 77 } else { EntryKind::Change.into() };
        let doc_id = DocId::random(MORNING, rng);
        vec![(feed, Entry { kind, doc_id, device_time: MORNING, salt: [1; 8], payload: vec![3; 40] })]
    }

    fn profile(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let (collection, author) = (Collection::Profile, self.author(who));
        let feed = self.feeds[&(self.writers[who].device.account, collection)];
        let (doc_id, mut doc) = (record::profile_id(0), record::from_genesis(collection));
        let device_time = if rng.random_bool(0.2) { MORNING } else { 0 };
        let payload = record::genesis(collection);
        let first = Entry { kind: EntryKind::Change.into(), doc_id, device_time, salt: [0; 8], payload };
        let patch = json!({ "name": format!("Person {}", rng.random_range(0..99)) });
        let edit = record::edit(&mut doc, collection, &patch, &author, rng).unwrap();
        let edit = edit.map(|payload| (feed, entry(doc_id, payload, rng)));
        [(feed, first)].into_iter().chain(edit).collect()
    }

    fn grant(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let (account, author) = (self.writers[who].device.account, self.author(who));
        let grantee = if rng.random_bool(0.8) { self.accounts[1] } else { self.accounts[2] };
        let access = *["read", "write"].choose(rng).unwrap();
        let mut fields = json!({
            "at": MORNING, "kind": "grant", "grantee": grantee.to_string(), "grantee_role": "trainer",
            "grantee_name": "Tom", "shown_as": "Ann", "purpose": "training",
            "feeds": [{ "collection": "workouts", "access": access }, { "collection": "moods", "access": "read" }],
        });
        match rng.random_range(0..4) {
            0 => fields["until"] = json!(FAR),
            1 => fields["until"] = json!(1),
            _ => {}
        }
        let (_, payload) = record::create(Collection::Grants, &fields, &author, rng).unwrap();
        let doc_id = DocId::random(MORNING, rng);
        self.grants.push(doc_id);
        vec![(self.feeds[&(account, Collection::Grants)], entry(doc_id, payload, rng))]
    }

    /// Of a grant that is there, or of one that is not (yet).
    fn revoke(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let (account, author) = (self.writers[who].device.account, self.author(who));
        let grant = self.grants.choose(rng).copied().unwrap_or_else(|| DocId::random(MORNING, rng));
        let fields = json!({ "at": MORNING, "kind": "revocation", "revokes": grant.to_string() });
        let (_, payload) = record::create(Collection::Grants, &fields, &author, rng).unwrap();
        vec![(self.feeds[&(account, Collection::Grants)], entry(DocId::random(MORNING, rng), payload, rng))]
    }

    /// A second first change of a document.
    fn first_again(&mut self, who: usize, rng: &mut StdRng) -> Vec<(FeedId, Entry)> {
        let author = self.author(who);
        let Some(at) = self.some_draft(who, rng) else { return Vec::new() };
        let Draft { feed, doc_id, collection, .. } = self.drafts[at];
        let (_, payload) = record::create(collection, &fields(collection, rng), &author, rng).unwrap();
        vec![(feed, entry(doc_id, payload, rng))]
    }

    fn author(&self, who: usize) -> Author {
        Author { actor: self.writers[who].actor, time_ms: MORNING }
    }

    /// Mostly one of the writer's own account.
    fn some_draft(&self, who: usize, rng: &mut StdRng) -> Option<usize> {
        let account = self.writers[who].device.account;
        let own: Vec<_> =
            self.feeds.iter().filter(|((owner, _), _)| *owner == account).map(|(_, feed)| *feed).collect();
        let is_own = |at: &usize| own.contains(&self.drafts[*at].feed);
        let wanted: Vec<_> = if rng.random_bool(0.8) {
            (0..self.drafts.len()).filter(is_own).collect()
        } else {
            (0..self.drafts.len()).collect()
        };
        wanted.choose(rng).copied()
    }
}

fn fields(collection: Collection, rng: &mut StdRng) -> Value {
    // Recent whenever a test runs, or never.
    let at = *[LONG_AGO, FAR].choose(rng).unwrap();
    match collection {
        Collection::Moods => json!({ "at": at, "valence": rng.random_range(-2..=2) }),
        Collection::Meals => json!({
            "at": at, "kind": "lunch", "items": [{ "name": "Rice", "amount": "80 g", "kcal": rng.random_range(100..300) }],
        }),
        _ => json!({
            "start": MORNING, "title": "Gym",
            "exercises": [{ "name": "Squat", "sets": [{ "reps": rng.random_range(3..12), "load": "100.5 kg", "kind": "work" }] }],
        }),
    }
}

fn entry(doc_id: DocId, payload: Vec<u8>, rng: &mut StdRng) -> Entry {
    let mut salt = [0; 8];
    rng.fill_bytes(&mut salt);
    Entry { kind: EntryKind::Change.into(), doc_id, device_time: MORNING, salt, payload }
}
