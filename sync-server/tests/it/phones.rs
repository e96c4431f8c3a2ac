//! People and their phones, for tests that push to ingest without a socket between.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ActorId, DocId, EntryId, FeedId};
use fitme_core::record::{self, Author};
use fitme_core::wire::{EntryKind, FeedPush, Receipt};
use fitme_core::{change, merge};
use fitme_testing::Database;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use sync_server::account_feeds::ensure_feeds;
use sync_server::accounts::devices;
use sync_server::auth::Device;
use sync_server::fanout::Live;
use sync_server::ingest::{Committed, Ingest, Outcome};
use uuid::Uuid;

/// 2026-11-22 08:00 UTC.
pub const MORNING: i64 = 1_795_334_400_000;

/// How long a node waits for its database unless a test says otherwise: a test need not wait for the end of it.
const PATIENCE: Duration = Duration::from_millis(500);

/// One server's ingest on a database that others may share.
pub struct Node {
    /// The owner's connections, for a look into the tables.
    pub pool: PgPool,
    /// The server's.
    pub server: PgPool,
    pub ingest: Ingest,
    live: Arc<Mutex<Vec<Live>>>,
}

impl Node {
    pub async fn on(database: &Database) -> Self {
        Self::patient(database, PATIENCE).await
    }

    /// One that waits so long for a database that is away.
    pub async fn patient(database: &Database, patience: Duration) -> Self {
        let pool = PgPool::connect(&database.owner).await.unwrap();
        let server = sync_server::db::connect(PgConnectOptions::from_str(&database.url).unwrap()).await.unwrap();
        let live: Arc<Mutex<Vec<Live>>> = Arc::default();
        let sink = Arc::clone(&live);
        let ingest = Ingest::start_patient(server.clone(), patience, move |committed| {
            if let Committed::Entries(live) = committed {
                sink.lock().unwrap().push(live);
            }
        });
        Self { pool, server, ingest, live }
    }

    /// Lets go of the database.
    pub async fn close(&self) {
        self.server.close().await;
        self.pool.close().await;
    }

    /// What was announced as committed here, in order.
    pub fn announced(&self) -> Vec<Live> {
        self.live.lock().unwrap().clone()
    }

    pub async fn person(&self) -> Person {
        let account = Uuid::now_v7();
        sqlx::query("INSERT INTO accounts (account, email, password_hash) VALUES ($1, $2, '')")
            .bind(account)
            .bind(format!("{account}@example.org"))
            .execute(&self.pool)
            .await
            .unwrap();
        let feeds = ensure_feeds(&mut self.pool.acquire().await.unwrap(), account).await.unwrap();
        let number = |feed: &sync_server::account_feeds::AccountFeed| FeedId(feed.feed.cast_unsigned());
        Person { account, feeds: feeds.iter().map(|feed| (feed.collection.clone(), number(feed))).collect() }
    }

    /// The owner has accepted that the grantee asks: from then on grants may be given.
    pub async fn relate(&self, owner: Uuid, grantee: Uuid) {
        let relation = sqlx::query("INSERT INTO relations (account, grantee) VALUES ($1, $2)");
        relation.bind(owner).bind(grantee).execute(&self.pool).await.unwrap();
    }

    /// A phone of that person; `seed` draws its actor and everything else that is random about it.
    pub async fn phone(&self, person: &Person, seed: u64) -> Phone {
        let mut connection = self.pool.acquire().await.unwrap();
        let device = devices::register(&mut connection, person.account, "phone", None).await.unwrap();
        let mut rng = StdRng::seed_from_u64(seed);
        let actor = ActorId::random(&mut rng);
        Phone { device: Device { device, account: person.account }, actor, rng }
    }

    /// Pushes entries of one feed and returns what each was answered.
    pub async fn push(&self, device: Device, feed: FeedId, entries: Vec<Entry>) -> Vec<Receipt> {
        self.outcome(device, feed, entries).await.receipts
    }

    pub async fn outcome(&self, device: Device, feed: FeedId, entries: Vec<Entry>) -> Outcome {
        self.ingest.submit(device, vec![FeedPush { feed, entries }]).await
    }

    /// The feed as it is stored, after checking that its numbers have no gap and its digests are right.
    pub async fn feed(&self, feed: FeedId) -> Vec<EntryId> {
        let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT seq, entry_id, digest FROM entries WHERE feed = $1 ORDER BY seq")
                .bind(feed.0.cast_signed())
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let (head, total): (i64, Vec<u8>) = sqlx::query_as("SELECT head_seq, digest FROM feeds WHERE feed = $1")
            .bind(feed.0.cast_signed())
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let mut digest = Digest::default();
        for ((seq, id, at), expected) in rows.iter().zip(1..) {
            assert_eq!(*seq, expected, "feed {feed} has a gap");
            digest = digest.plus(EntryId::from_slice(id).unwrap());
            assert_eq!(Digest::from_slice(at), Some(digest), "digest of feed {feed} at {seq}");
        }
        assert_eq!((head, Digest::from_slice(&total)), (rows.len() as i64, Some(digest)), "row of feed {feed}");
        rows.iter().map(|(_, id, _)| EntryId::from_slice(id).unwrap()).collect()
    }
}

/// An account.
pub struct Person {
    pub account: Uuid,
    pub feeds: BTreeMap<String, FeedId>,
}

impl Person {
    pub fn feed(&self, collection: Collection) -> FeedId {
        self.feeds[collection.name()]
    }
}

/// A device and its writer.
#[derive(Clone)]
pub struct Phone {
    pub device: Device,
    pub actor: ActorId,
    pub rng: StdRng,
}

/// A record that a phone has open: the changes it knows.
#[derive(Debug, Clone)]
pub struct Draft {
    pub doc_id: DocId,
    pub collection: Collection,
    pub payloads: Vec<Vec<u8>>,
}

impl Draft {
    /// Takes over what another phone wrote.
    pub fn receive(&mut self, entry: &Entry) {
        self.payloads.push(entry.payload.clone());
    }
}

impl Phone {
    fn author(&self) -> Author {
        Author { actor: self.actor, time_ms: MORNING }
    }

    /// Logs a record with a random id.
    pub fn log(&mut self, collection: Collection, fields: &Value) -> (Draft, Entry) {
        let author = self.author();
        let (_, payload) = record::create(collection, fields, &author, &mut self.rng).unwrap();
        let doc_id = DocId::random(MORNING, &mut self.rng);
        let entry = self.entry(doc_id, payload.clone());
        (Draft { doc_id, collection, payloads: vec![payload] }, entry)
    }

    pub fn log_mood(&mut self, valence: i64) -> (Draft, Entry) {
        self.log(Collection::Moods, &json!({ "at": MORNING, "valence": valence }))
    }

    /// Edits a record; the edit must change something.
    pub fn edit(&mut self, draft: &mut Draft, patch: &Value) -> Entry {
        self.edits(draft, std::slice::from_ref(patch)).remove(0)
    }

    /// Edits a record several times; each edit must change something.
    pub fn edits(&mut self, draft: &mut Draft, patches: &[Value]) -> Vec<Entry> {
        let author = self.author();
        let mut doc = merge::assemble(draft.payloads.iter().map(Vec::as_slice)).unwrap();
        let mut entries = Vec::new();
        for patch in patches {
            let payload = record::edit(&mut doc, draft.collection, patch, &author, &mut self.rng).unwrap();
            draft.payloads.push(payload.expect("the edit changes something"));
            entries.push(self.entry(draft.doc_id, draft.payloads.last().unwrap().clone()));
        }
        entries
    }

    /// The profile with its genesis change, as every phone makes it.
    pub fn profile(&self) -> (Draft, Entry) {
        let (doc_id, payload) = (record::profile_id(0), record::genesis(Collection::Profile));
        let entry =
            Entry { kind: EntryKind::Change.into(), doc_id, device_time: 0, salt: [0; 8], payload: payload.clone() };
        (Draft { doc_id, collection: Collection::Profile, payloads: vec![payload] }, entry)
    }

    /// An entry of this phone around a payload.
    pub fn entry(&mut self, doc_id: DocId, payload: Vec<u8>) -> Entry {
        let mut salt = [0; 8];
        self.rng.fill_bytes(&mut salt);
        Entry { kind: EntryKind::Change.into(), doc_id, device_time: MORNING, salt, payload }
    }
}

/// The hash of an entry's change.
pub fn hash_of(entry: &Entry) -> fitme_core::id::ChangeHash {
    change::read(&entry.payload).unwrap().facts.hash
}

/// The code of a receipt that is not an acceptance.
pub fn code(receipt: &Receipt) -> &str {
    match receipt {
        Receipt::Accepted(_) => "accepted",
        Receipt::Duplicate { .. } => "duplicate",
        Receipt::Rejected(why) | Receipt::Retry(why) => &why.code,
    }
}

/// The codes of several.
pub fn codes(receipts: &[Receipt]) -> Vec<&str> {
    receipts.iter().map(code).collect()
}
