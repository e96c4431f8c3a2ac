//! The merge workers: what they store is the merge of all entries, whatever the order, and one bad document is alone
//! with its trouble.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ChangeHash, DocId, FeedId};
use fitme_core::wire::Cursors;
use fitme_core::{merge, record};
use fitme_testing::Postgres;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sqlx::PgPool;
use sync_server::feeds::load_account;
use sync_server::merge::MergeWorkers;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::phones::{Draft, Node, Phone, codes};

/// No step of a test takes longer, however busy the computer is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Workers that tell the test how far they are.
struct Workers {
    workers: MergeWorkers,
    wake: Arc<Notify>,
    merged: Arc<Mutex<BTreeMap<FeedId, u64>>>,
    news: Arc<Notify>,
}

impl Workers {
    fn start(pool: &PgPool, workers: usize) -> Self {
        let (wake, news) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let merged: Arc<Mutex<BTreeMap<FeedId, u64>>> = Arc::default();
        let (sink, ring) = (Arc::clone(&merged), Arc::clone(&news));
        let workers = MergeWorkers::start(pool, workers, &wake, move |feed, seq| {
            sink.lock().unwrap().insert(feed, seq);
            ring.notify_one();
        });
        Self { workers, wake, merged, news }
    }

    async fn merged(&self, feed: FeedId, seq: u64) {
        let reached = async {
            while self.merged.lock().unwrap().get(&feed).is_none_or(|merged| *merged < seq) {
                self.news.notified().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the feed is merged in time");
    }
}

/// A document as the workers stored it.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Stored {
    snapshot_seq: i64,
    heads: Vec<Vec<u8>>,
    snapshot: Vec<u8>,
    quarantined: Option<String>,
    at: Option<i64>,
    columns: Option<Value>,
    record: Option<Value>,
    flags: Option<Vec<String>>,
}

async fn stored(pool: &PgPool, feed: FeedId, doc_id: DocId) -> Stored {
    sqlx::query_as(
        "SELECT snapshot_seq, heads, snapshot, quarantined, at, columns, record, flags
         FROM snapshots LEFT JOIN records USING (feed, doc_id) WHERE feed = $1 AND doc_id = $2",
    )
    .bind(feed.0.cast_signed())
    .bind(doc_id.as_bytes())
    .fetch_one(pool)
    .await
    .unwrap()
}

/// Asserts that the stored document is the merge of these changes, in whatever order.
async fn assert_merged(pool: &PgPool, feed: FeedId, draft: &Draft, rng: &mut StdRng) {
    let stored = stored(pool, feed, draft.doc_id).await;
    assert_eq!(stored.quarantined, None);
    let mut payloads = draft.payloads.clone();
    payloads.shuffle(rng);
    let expected = merge::assemble(payloads.iter().map(Vec::as_slice)).unwrap();
    let heads: Vec<_> = stored.heads.iter().map(|head| ChangeHash::from_slice(head).unwrap()).collect();
    assert_eq!(heads, merge::heads(&expected));
    merge::verify(&merge::load(&stored.snapshot).unwrap(), &heads).unwrap();
    let projection = record::project(&expected, draft.collection);
    assert_eq!(stored.record, Some(projection.record));
    assert_eq!(stored.columns, Some(projection.columns));
    assert_eq!((stored.at, stored.flags), (projection.at, Some(projection.flags)));
}

#[tokio::test]
async fn what_two_phones_edited_apart_is_merged() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, mut tablet) = (node.phone(&ana, 1).await, node.phone(&ana, 2).await);
    let moods = ana.feed(Collection::Moods);
    let workers = Workers::start(&node.server, 1);
    let (mut draft, first) = phone.log_mood(1);
    let mut on_tablet = draft.clone();
    let note = phone.edit(&mut draft, &json!({ "note": "slept well" }));
    let energy = tablet.edit(&mut on_tablet, &json!({ "energy": 4 }));
    node.push(phone.device, moods, vec![first, note]).await;
    node.push(tablet.device, moods, vec![energy.clone()]).await;
    workers.wake.notify_one();
    workers.merged(moods, 3).await;

    draft.receive(&energy);
    assert_merged(&node.pool, moods, &draft, &mut StdRng::seed_from_u64(1)).await;
    let record = stored(&node.pool, moods, draft.doc_id).await.record.unwrap();
    assert_eq!((&record["note"], &record["energy"]), (&json!("slept well"), &json!(4)));
}

#[tokio::test]
async fn many_documents_merge_to_the_same_whatever_the_order_and_the_turns() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let moods = ana.feed(Collection::Moods);
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut phones = [node.phone(&ana, seed).await, node.phone(&ana, seed.wrapping_add(1)).await];
    let workers = Workers::start(&node.server, 2);
    let mut drafts: Vec<Draft> = Vec::new();
    // The two phones take turns and never see each other's edits of the same round: many concurrent changes.
    for _ in 0..12 {
        let mut rounds = Vec::new();
        for phone in &mut phones {
            let (entries, edited) = round(phone, &drafts, &mut rng);
            assert!(codes(&node.push(phone.device, moods, entries).await).iter().all(|code| *code == "accepted"));
            workers.wake.notify_one();
            rounds.push(edited);
        }
        merge_drafts(&mut drafts, rounds);
    }
    let head = node.feed(moods).await.len() as u64;
    workers.merged(moods, head).await;
    for draft in &drafts {
        assert_merged(&node.pool, moods, draft, &mut rng).await;
    }
}

/// One phone logs some moods and edits some that it knows.
fn round(phone: &mut Phone, drafts: &[Draft], rng: &mut StdRng) -> (Vec<Entry>, Vec<Draft>) {
    let (mut entries, mut edited) = (Vec::new(), Vec::new());
    for _ in 0..rng.random_range(5..20) {
        let (draft, entry) = phone.log_mood(rng.random_range(-2..=2));
        entries.push(entry);
        edited.push(draft);
    }
    for draft in drafts {
        if !rng.random_bool(0.1) {
            continue;
        }
        let mut draft = draft.clone();
        for letter in ['a', 'b'] {
            entries.push(phone.edit(&mut draft, &json!({ "note": format!("{letter} {}", rng.random::<u64>()) })));
        }
        edited.push(draft);
    }
    (entries, edited)
}

fn merge_drafts(drafts: &mut Vec<Draft>, rounds: Vec<Vec<Draft>>) {
    for edited in rounds.into_iter().flatten() {
        match drafts.iter_mut().find(|draft| draft.doc_id == edited.doc_id) {
            None => drafts.push(edited),
            Some(draft) => {
                let known = draft.payloads.clone();
                draft.payloads.extend(edited.payloads.into_iter().filter(|payload| !known.contains(payload)));
            }
        }
    }
}

#[tokio::test]
async fn merging_the_same_entries_again_changes_nothing() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (mut draft, first) = phone.log_mood(1);
    let edit = phone.edit(&mut draft, &json!({ "note": "late" }));
    node.push(phone.device, moods, vec![first, edit]).await;
    let workers = Workers::start(&node.server, 1);
    workers.merged(moods, 2).await;
    let before = stored(&node.pool, moods, draft.doc_id).await;
    workers.workers.stop().await;

    // As after a crash that lost only the queue's row.
    sqlx::query("UPDATE merge_queue SET merged_seq = 0").execute(&node.pool).await.unwrap();
    let workers = Workers::start(&node.server, 1);
    workers.merged(moods, 2).await;
    assert_eq!(stored(&node.pool, moods, draft.doc_id).await, before);
}

#[tokio::test]
async fn a_document_that_cannot_be_merged_is_set_aside_and_its_feed_goes_on() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    sync_server::db::installation::establish(&node.server).await.unwrap();
    let (mut damaged, first) = phone.log_mood(1);
    let (mut lying, second) = phone.log_mood(1);
    let (good, third) = phone.log_mood(2);
    node.push(phone.device, moods, vec![first, second, third]).await;
    let execute = async |sql: &'static str, doc_id: DocId| {
        sqlx::query(sql).bind(doc_id.as_bytes()).execute(&node.pool).await.unwrap();
    };
    execute("UPDATE entries SET payload = 'garbage' WHERE doc_id = $1", damaged.doc_id).await;
    execute("UPDATE documents SET heads = '{}' WHERE doc_id = $1", lying.doc_id).await;

    let workers = Workers::start(&node.server, 1);
    workers.merged(moods, 3).await;
    let reason = |stored: Stored| stored.quarantined.unwrap_or_default();
    assert!(reason(stored(&node.pool, moods, damaged.doc_id).await).contains("do not decode"));
    assert!(reason(stored(&node.pool, moods, lying.doc_id).await).contains("not the one"));
    // Devices keep the commands of what is not merged until somebody has decided about it.
    let told = async || {
        let account = load_account(&node.server, ana.account, &Cursors::default(), &[], None).await.unwrap();
        account.feeds.iter().find(|feed| feed.feed == moods).unwrap().merged
    };
    assert_eq!(told().await, 0);
    assert_merged(&node.pool, moods, &good, &mut StdRng::seed_from_u64(1)).await;

    // An operator repairs them; the next edit is reason to try again, with everything that waited.
    let payload = damaged.payloads[0].clone();
    let repair = sqlx::query("UPDATE entries SET payload = $2 WHERE doc_id = $1").bind(damaged.doc_id.as_bytes());
    repair.bind(payload).execute(&node.pool).await.unwrap();
    let heads = merge::heads(&merge::assemble(lying.payloads.iter().map(Vec::as_slice)).unwrap());
    let repair = sqlx::query("UPDATE documents SET heads = ARRAY[$2] WHERE doc_id = $1").bind(lying.doc_id.as_bytes());
    repair.bind(heads[0].as_bytes()).execute(&node.pool).await.unwrap();
    let edits =
        vec![phone.edit(&mut damaged, &json!({ "energy": 1 })), phone.edit(&mut lying, &json!({ "energy": 5 }))];
    node.push(phone.device, moods, edits).await;
    workers.wake.notify_one();
    workers.merged(moods, 5).await;
    assert_eq!(told().await, 5);
    for draft in [&damaged, &lying] {
        assert_merged(&node.pool, moods, draft, &mut StdRng::seed_from_u64(1)).await;
    }
}

#[tokio::test]
async fn a_record_that_the_database_refuses_is_alone_with_it() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (refused, first) = phone.log_mood(1);
    let (good, second) = phone.log_mood(2);
    node.push(phone.device, moods, vec![first, second]).await;
    let constraint = "ALTER TABLE records ADD CONSTRAINT poison CHECK ((record ->> 'valence')::int <> 1)";
    sqlx::query(constraint).execute(&node.pool).await.unwrap();

    let workers = Workers::start(&node.server, 1);
    workers.merged(moods, 2).await;
    let reason = stored(&node.pool, moods, refused.doc_id).await.quarantined.unwrap();
    assert!(reason.contains("refused"), "{reason}");
    assert_merged(&node.pool, moods, &good, &mut StdRng::seed_from_u64(1)).await;
}

#[tokio::test]
async fn what_a_dead_worker_held_is_taken_up_by_another() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (draft, first) = phone.log_mood(1);
    node.push(phone.device, moods, vec![first]).await;
    let lease =
        "UPDATE merge_queue SET worker = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 second'";
    sqlx::query(lease).execute(&node.pool).await.unwrap();
    let workers = Workers::start(&node.server, 1);
    workers.merged(moods, 1).await;
    assert_merged(&node.pool, moods, &draft, &mut StdRng::seed_from_u64(1)).await;
}

#[tokio::test]
async fn a_live_change_does_not_wait_for_somebody_elses_backlog() {
    let node = Node::on(&Postgres::shared().database()).await;
    let (ana, ben) = (node.person().await, node.person().await);
    let (mut phone, mut tablet) = (node.phone(&ana, 1).await, node.phone(&ben, 2).await);
    let (backlog, live) = (ana.feed(Collection::Moods), ben.feed(Collection::Moods));
    for _ in 0..4 {
        let entries: Vec<_> = (0..250).map(|_| phone.log_mood(0).1).collect();
        assert!(codes(&node.push(phone.device, backlog, entries).await).iter().all(|code| *code == "accepted"));
    }
    let mood = tablet.log_mood(1).1;
    let workers = Workers::start(&node.server, 1);
    // The one worker is at the backlog by now, or soon.
    workers.merged(backlog, 1).await;
    node.push(tablet.device, live, vec![mood]).await;
    workers.wake.notify_one();
    workers.merged(live, 1).await;
    let at = *workers.merged.lock().unwrap().get(&backlog).unwrap();
    assert!(at < 1_000, "the backlog was merged to its end ({at}) before the live change");
    workers.merged(backlog, 1_000).await;
}

#[tokio::test]
async fn the_profile_of_two_phones_has_both_their_fields() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let profile = ana.feed(Collection::Profile);
    let workers = Workers::start(&node.server, 2);
    let mut doc_id = None;
    for (seed, patch) in [(1, json!({ "name": "Ana" })), (2, json!({ "max_hr_bpm": 181 }))] {
        let mut phone = node.phone(&ana, seed).await;
        let (mut draft, genesis) = phone.profile();
        let edit = phone.edit(&mut draft, &patch);
        node.push(phone.device, profile, vec![genesis, edit]).await;
        workers.wake.notify_one();
        doc_id = Some(draft.doc_id);
    }
    workers.merged(profile, 3).await;
    let record = stored(&node.pool, profile, doc_id.unwrap()).await.record.unwrap();
    assert_eq!((&record["name"], &record["max_hr_bpm"]), (&json!("Ana"), &json!(181)));
}
