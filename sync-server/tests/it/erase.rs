//! Erasure on the server (I10): entries are emptied in place, ids stay refused, and nobody but the person may.

use std::sync::Arc;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{DocId, FeedId};
use fitme_core::record::profile_id;
use fitme_core::wire::Receipt;
use fitme_testing::Postgres;
use serde_json::json;
use sync_server::audit::verify::verify;
use sync_server::audit::{self, Audit, Event};
use sync_server::clock::Clock;
use sync_server::endings::list;
use sync_server::erase::{self, Backups, Cause, Erased};
use sync_server::feeds::{Asked, read_page};
use sync_server::master_key::MasterKey;
use sync_server::merge::MergeWorkers;
use tokio::sync::Notify;

use crate::phones::{MORNING, Node, Person, code, codes};

fn erasure(doc_id: DocId, salt: u8) -> Entry {
    Entry::erasure(doc_id, MORNING, [salt; 8], "")
}

fn asked(feed: FeedId, after: u64) -> Asked {
    Asked { feed, after, max_bytes: 1, max_entries: 100 }
}

/// Rows of a table that are about the document and hold anything of it.
async fn left(node: &Node, feed: FeedId, doc_id: DocId) -> Vec<(&'static str, i64)> {
    let mut left = Vec::new();
    for (table, condition) in [
        ("snapshots", "true"),
        ("records", "true"),
        ("entries", "kind <> 3 AND (payload IS NOT NULL OR salt IS NOT NULL OR change_hash IS NOT NULL)"),
    ] {
        let count = format!("SELECT count(*) FROM {table} WHERE feed = $1 AND doc_id = $2 AND {condition}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .bind(feed.0.cast_signed())
            .bind(doc_id.as_bytes())
            .fetch_one(&node.pool)
            .await
            .unwrap();
        left.push((table, count));
    }
    left.retain(|(_, count)| *count > 0);
    left
}

async fn merged(node: &Node) {
    crate::client::until("everything is merged", async || {
        let behind = "SELECT count(*) FROM merge_queue WHERE merged_seq < head_seq";
        sqlx::query_scalar::<_, i64>(behind).fetch_one(&node.pool).await.unwrap() == 0
    })
    .await;
}

#[tokio::test]
async fn an_erased_record_keeps_its_numbers_and_nothing_else() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, moods) = (node.phone(&ana, 1).await, ana.feed(Collection::Moods));
    let workers = MergeWorkers::start(&node.server, 1, &Arc::new(Notify::new()), |_, _| {});
    let (mut draft, first) = phone.log_mood(1);
    let edit = phone.edit(&mut draft, &json!({ "note": "secret" }));
    let (_, other) = phone.log_mood(2);
    node.push(phone.device, moods, vec![first.clone(), edit.clone(), other]).await;
    merged(&node).await;
    let before = node.feed(moods).await;

    let late = phone.edit(&mut draft, &json!({ "note": "too late" }));
    let receipts = node.push(phone.device, moods, vec![erasure(draft.doc_id, 1), late]).await;
    assert_eq!(codes(&receipts), ["accepted", "erased"]);
    assert_eq!(left(&node, moods, draft.doc_id).await, []);
    assert_eq!(node.feed(moods).await[..3], before[..], "numbers, ids and digests");

    let page = read_page(&node.server, ana.account, asked(moods, 0)).await.unwrap();
    let emptied: Vec<_> = page.entries.iter().map(|one| (one.id, one.emptied)).collect();
    assert_eq!(emptied, [(before[0], true), (before[1], true), (before[2], false)], "empty ones cost no bytes");
    let again =
        node.push(phone.device, moods, vec![first, edit, erasure(draft.doc_id, 1), erasure(draft.doc_id, 2)]).await;
    let first_erasure = Receipt::Duplicate { seq: 4, entry_id: erasure(draft.doc_id, 1).id() };
    assert_eq!(codes(&again), ["duplicate"; 4]);
    assert_eq!((&again[2], &again[3]), (&first_erasure, &first_erasure), "the first one counts");
    merged(&node).await;
    assert_eq!(left(&node, moods, draft.doc_id).await, []);
    workers.stop().await;
}

#[tokio::test]
async fn a_record_that_has_not_come_yet_is_refused_when_it_comes() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, moods) = (node.phone(&ana, 2).await, ana.feed(Collection::Moods));
    let (draft, first) = phone.log_mood(1);
    assert_eq!(codes(&node.push(phone.device, moods, vec![erasure(draft.doc_id, 1)]).await), ["accepted"]);
    assert_eq!(codes(&node.push(phone.device, moods, vec![first]).await), ["erased"]);
}

#[tokio::test]
async fn a_record_that_is_made_and_erased_in_one_push_leaves_nothing() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, moods) = (node.phone(&ana, 3).await, ana.feed(Collection::Moods));
    let (draft, first) = phone.log_mood(1);
    let receipts = node.push(phone.device, moods, vec![first, erasure(draft.doc_id, 1)]).await;
    assert_eq!(codes(&receipts), ["accepted"; 2]);
    assert_eq!(left(&node, moods, draft.doc_id).await, []);
    let bytes: i64 = sqlx::query_scalar("SELECT bytes FROM account_usage").fetch_one(&node.pool).await.unwrap();
    assert_eq!(bytes, 0);
}

#[tokio::test]
async fn an_erased_profile_is_refused_and_the_next_generation_is_taken() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, feed) = (node.phone(&ana, 4).await, ana.feed(Collection::Profile));
    let (mut draft, genesis) = phone.profile();
    let named = phone.edit(&mut draft, &json!({ "name": "Ana" }));
    node.push(phone.device, feed, vec![genesis.clone(), named, erasure(profile_id(0), 1)]).await;
    let renamed = phone.edit(&mut draft, &json!({ "name": "Anna" }));
    let receipts = node.push(phone.device, feed, vec![genesis.clone(), renamed]).await;
    assert_eq!(codes(&receipts), ["duplicate", "erased"], "a genesis is known by its id for ever");
    let next = Entry { doc_id: profile_id(1), ..genesis };
    assert_eq!(codes(&node.push(phone.device, feed, vec![next]).await), ["accepted"]);
}

async fn grant(node: &Node, ana: &Person, tom: &Person, access: &str) {
    sqlx::query(
        "INSERT INTO grants_now (account, grant_id, feed, grantee, access, purpose, shown_as)
         VALUES ($1, $2, $3, $4, $5, 'training', 'Ana')",
    )
    .bind(ana.account)
    .bind([7u8; 16].as_slice())
    .bind(ana.feed(Collection::Workouts).0.cast_signed())
    .bind(tom.account)
    .bind(access)
    .execute(&node.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn nobody_but_the_person_erases() {
    let node = Node::on(&Postgres::shared().database()).await;
    let (ana, tom) = (node.person().await, node.person().await);
    let (mut phone, mut toms) = (node.phone(&ana, 5).await, node.phone(&tom, 6).await);
    let workouts = ana.feed(Collection::Workouts);
    let (draft, first) = phone.log(Collection::Workouts, &json!({ "start": MORNING, "title": "Legs" }));
    node.push(phone.device, workouts, vec![first]).await;
    let erased = async || code(&node.push(toms.device, workouts, vec![erasure(draft.doc_id, 1)]).await[0]).to_owned();
    assert_eq!(erased().await, "not_your_feed", "a stranger learns nothing");
    grant(&node, &ana, &tom, "write").await;
    assert_eq!(erased().await, "owner_only");
    let (_, theirs) = toms.log_mood(1);
    assert_eq!(codes(&node.push(toms.device, tom.feed(Collection::Moods), vec![theirs]).await), ["accepted"]);
    assert_ne!(left(&node, workouts, draft.doc_id).await, [] as [(&str, i64); 0]);
}

#[tokio::test]
async fn an_erasure_of_a_grant_of_another_feeds_record_or_with_words_in_it_is_refused() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, moods) = (node.phone(&ana, 7).await, ana.feed(Collection::Moods));
    let (draft, first) = phone.log_mood(1);
    node.push(phone.device, moods, vec![first]).await;
    let push = async |feed, cause: &str| {
        let entry = Entry::erasure(draft.doc_id, MORNING, [1; 8], cause);
        code(&node.push(phone.device, feed, vec![entry]).await[0]).to_owned()
    };
    assert_eq!(push(ana.feed(Collection::Grants), "").await, "kept_for_ever");
    assert_eq!(push(ana.feed(Collection::Meals), "").await, "foreign_document");
    assert_eq!(push(moods, "by_court_order").await, "bad_content", "only the server names a cause");
    assert_eq!(push(moods, "Because!").await, "bad_content");
    assert_eq!(push(moods, &"a".repeat(33)).await, "bad_content");
    assert_eq!(push(moods, "").await, "accepted");
}

/// A merge worker that had read a document before it was erased wrote its snapshot and its record afterwards.
#[tokio::test]
async fn what_is_erased_while_it_is_merged_stays_erased() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, moods) = (node.phone(&ana, 8).await, ana.feed(Collection::Moods));
    let wake = Arc::new(Notify::new());
    let workers = MergeWorkers::start(&node.server, 2, &wake, |_, _| {});
    let mut gone = Vec::new();
    for n in 0..40 {
        let (draft, first) = phone.log_mood(n % 3);
        node.push(phone.device, moods, vec![first]).await;
        wake.notify_waiters();
        node.push(phone.device, moods, vec![erasure(draft.doc_id, 1)]).await;
        gone.push(draft.doc_id);
    }
    merged(&node).await;
    workers.stop().await;
    for doc_id in gone {
        assert_eq!(left(&node, moods, doc_id).await, []);
    }
}

#[tokio::test]
async fn an_administrators_erasure_names_its_cause_and_reaches_the_list_beside_the_backups() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let (mut phone, moods) = (node.phone(&ana, 9).await, ana.feed(Collection::Moods));
    let (draft, first) = phone.log_mood(1);
    node.push(phone.device, moods, vec![first]).await;
    let by_admin = async |doc_id| {
        let which = (ana.account, doc_id);
        erase::record(&node.server, &node.ingest, &Clock::default(), which, Cause::Administrator).await.unwrap()
    };
    assert_eq!(by_admin(draft.doc_id).await, Erased::Gone { feed: moods, seq: 2 });
    assert_eq!(by_admin(draft.doc_id).await, Erased::Gone { feed: moods, seq: 2 }, "twice changes nothing");
    assert_eq!(by_admin(DocId([9; 16])).await, Erased::Unknown);
    let page = read_page(&node.server, ana.account, asked(moods, 1)).await.unwrap();
    assert_eq!(page.entries[0].entry.payload, b"administrator");
    assert_eq!(left(&node, moods, draft.doc_id).await, []);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("erasures");
    assert_eq!(list::copy(&node.server, &file).await.unwrap(), 1);
    assert_eq!(list::copy(&node.server, &file).await.unwrap(), 0, "each once");
    let listed = std::fs::read_to_string(&file).unwrap();
    assert_eq!(listed.trim(), format!("record {} {}", ana.account, draft.doc_id));
}

/// A device that erases what never was, for ever, would fill tables and the list beside the backups.
#[tokio::test]
async fn erasures_of_what_never_was_count_as_records() {
    let node = Node::on(&Postgres::shared().database()).await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 21).await;
    let (draft, first) = phone.log_mood(1);
    node.push(phone.device, ana.feed(Collection::Moods), vec![first]).await;
    sqlx::query("UPDATE account_usage SET documents = $2 WHERE account = $1")
        .bind(ana.account)
        .bind(fitme_core::limits::ACCOUNT_DOCUMENTS.cast_signed())
        .execute(&node.pool)
        .await
        .unwrap();
    let unknown = DocId::random(MORNING, &mut phone.rng);
    let entries = vec![erasure(unknown, 1), erasure(draft.doc_id, 2)];
    let receipts = node.push(phone.device, ana.feed(Collection::Moods), entries).await;
    assert_eq!(codes(&receipts), ["too_many_records", "accepted"], "what is there can be erased however full it is");
}

/// Where the ends of records of access are signed.
pub struct Kept {
    pub audit: Audit,
    master: MasterKey,
    folder: tempfile::TempDir,
}

impl Kept {
    pub fn of(node: &Node) -> Self {
        let (master, folder) = (MasterKey::random(), tempfile::tempdir().unwrap());
        let audit = Audit::open(node.server.clone(), &master, Clock::default(), folder.path()).unwrap();
        Self { audit, master, folder }
    }
}

async fn tables_but_those_of_ids(node: &Node) -> Vec<String> {
    let names = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'
                 AND tablename NOT IN ('erasures', 'erased_devices', 'retired_feeds')";
    sqlx::query_scalar(names).fetch_all(&node.pool).await.unwrap()
}

/// Every row of every table as text. What names the account, its devices or feeds is in the tables that keep ids for that.
#[tokio::test]
async fn an_erased_account_is_in_no_table_but_by_its_ids() {
    let node = Node::on(&Postgres::shared().database()).await;
    let (ana, tom) = (node.person().await, node.person().await);
    let mut phone = node.phone(&ana, 11).await;
    let workers = MergeWorkers::start(&node.server, 1, &Arc::new(Notify::new()), |_, _| {});
    let (_, first) = phone.log(Collection::Workouts, &json!({ "start": MORNING, "title": "Legs" }));
    node.push(phone.device, ana.feed(Collection::Workouts), vec![first]).await;
    grant(&node, &ana, &tom, "read").await;
    for table in
        ["confirmed_addresses (account, confirmed_at) VALUES ($1, 1)", "relations (account, grantee) VALUES ($1, $1)"]
    {
        sqlx::query(sqlx::AssertSqlSafe(format!("INSERT INTO {table}")))
            .bind(ana.account)
            .execute(&node.pool)
            .await
            .unwrap();
    }
    merged(&node).await;
    let kept = Kept::of(&node);
    audit::record(
        &mut node.pool.acquire().await.unwrap(),
        ana.account,
        1,
        Event::SignedIn { device: phone.device.device },
    )
    .await
    .unwrap();
    kept.audit.sign().await.unwrap();
    let erased = async || {
        erase::account(&node.server, &kept.audit, &Clock::default(), ana.account, Backups::default()).await.unwrap()
    };
    let receipt = erased().await.unwrap();
    workers.stop().await;
    let removed: Vec<_> = receipt.removed.iter().map(|part| (part.table.as_str(), part.rows)).collect();
    for part in [("accounts", 1), ("devices", 1), ("entries", 1), ("feeds", 14), ("snapshots", 1), ("audit_records", 1)]
    {
        assert!(removed.contains(&part), "{removed:?}");
    }
    assert_eq!((receipt.devices, receipt.shared_with), (1, 1));
    assert_eq!(receipt.backups_until - receipt.erased_at, 35 * 24 * 3_600_000);

    let secrets = [ana.account.to_string(), phone.device.device.to_string(), "Legs".to_owned()];
    let numbers: Vec<_> = ana.feeds.values().map(|feed| feed.0.to_string()).collect();
    for table in tables_but_those_of_ids(&node).await {
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t")))
            .fetch_all(&node.pool)
            .await
            .unwrap();
        let found = rows.iter().find(|row| secrets.iter().chain(&numbers).any(|secret| row.contains(secret)));
        assert_eq!(found, None, "in {table}");
    }
    let told: i64 = sqlx::query_scalar("SELECT version FROM grantees WHERE grantee = $1")
        .bind(tom.account)
        .fetch_one(&node.pool)
        .await
        .unwrap();
    assert_eq!(told, 1, "Tom's sessions look again");
    assert_eq!(erased().await, None);
    let report = verify(&node.server, &kept.master, kept.folder.path()).await.unwrap();
    assert_eq!(report.found, 0, "that its records of access are gone is signed: {report}");
}
