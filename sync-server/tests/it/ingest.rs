//! Ingest by itself: what is accepted, what is refused and with which code, and that nobody suffers for another's
//! entry.

use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, DocId, FeedId};
use fitme_core::limits;
use fitme_core::session::{Echo, Own};
use fitme_core::wire::{EntryKind, FeedPush, Receipt};
use fitme_testing::Postgres;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::client::until;
use crate::phones::{MORNING, Node, code, codes, hash_of};

async fn node() -> Node {
    Node::on(&Postgres::shared().database()).await
}

fn weight() -> Value {
    json!({ "at": MORNING, "weight": { "value": 80, "unit": "kg" } })
}

/// What a node that hangs in the middle of a commit does to others.
async fn hold(holder: &mut sqlx::PgTransaction<'_>, feed: FeedId) {
    let lock = sqlx::query("SELECT 1 FROM feeds WHERE feed = $1 FOR UPDATE").bind(feed.0.cast_signed());
    lock.execute(&mut **holder).await.unwrap();
}

#[tokio::test]
async fn entries_are_numbered_in_order_announced_and_known_when_pushed_again() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (mut draft, first) = phone.log_mood(1);
    let second = phone.edit(&mut draft, &json!({ "valence": 2 }));
    let entries = vec![first, second];
    let ids: Vec<_> = entries.iter().map(Entry::id).collect();

    let outcome = node.outcome(phone.device, moods, entries.clone()).await;
    assert_eq!(outcome.receipts, [Receipt::Accepted(1), Receipt::Accepted(2)]);
    let own = |seq, id| Own { feed: moods, seq, id, echo: Echo::Fresh };
    assert_eq!(outcome.own, [own(1, ids[0]), own(2, ids[1])]);
    assert_eq!(node.feed(moods).await, ids);

    let announced = node.announced();
    assert_eq!((announced.len(), announced[0].feed, announced[0].first_seq), (1, moods, 1));
    assert_eq!(announced[0].entries.iter().map(|one| one.entry.clone()).collect::<Vec<_>>(), entries);

    let again = node.push(phone.device, moods, entries).await;
    let duplicate = |seq, entry_id| Receipt::Duplicate { seq, entry_id };
    assert_eq!(again, [duplicate(1, ids[0]), duplicate(2, ids[1])]);
    assert_eq!(node.feed(moods).await, ids);
}

#[tokio::test]
async fn a_change_that_came_in_another_entry_is_a_duplicate_of_that_one() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (draft, first) = phone.log_mood(1);
    let resalted = phone.entry(draft.doc_id, first.payload.clone());
    assert_ne!(first.id(), resalted.id());

    let receipts = node.push(phone.device, moods, vec![first.clone(), resalted.clone()]).await;
    assert_eq!(receipts, [Receipt::Accepted(1), Receipt::Duplicate { seq: 1, entry_id: first.id() }]);
    let later = node.push(phone.device, moods, vec![resalted]).await;
    assert_eq!(later, [Receipt::Duplicate { seq: 1, entry_id: first.id() }]);
}

#[tokio::test]
async fn the_profile_that_two_phones_made_before_they_met_is_one() {
    let node = node().await;
    let ana = node.person().await;
    let (mut phone, mut tablet) = (node.phone(&ana, 1).await, node.phone(&ana, 2).await);
    let profile = ana.feed(Collection::Profile);
    let patches = [
        json!({ "units": "metric", "zone": "Europe/Rome", "name": "Ana" }),
        json!({ "units": "metric", "zone": "Europe/Rome", "max_hr_bpm": 181 }),
    ];
    for (device, patch) in [&mut phone, &mut tablet].into_iter().zip(patches) {
        let (mut draft, genesis) = device.profile();
        let edit = device.edit(&mut draft, &patch);
        let receipts = node.push(device.device, profile, vec![genesis, edit]).await;
        assert!(codes(&receipts)[1] == "accepted", "{receipts:?}");
    }
    assert_eq!(node.feed(profile).await.len(), 3);
}

#[tokio::test]
async fn a_genesis_change_with_a_time_of_its_own_is_refused() {
    let node = node().await;
    let ana = node.person().await;
    let phone = node.phone(&ana, 1).await;
    let (_, genesis) = phone.profile();
    let dated = Entry { device_time: 1, ..genesis };
    assert_eq!(codes(&node.push(phone.device, ana.feed(Collection::Profile), vec![dated]).await), ["bad_content"]);
}

#[tokio::test]
async fn nobody_writes_to_the_feed_of_another_account_or_to_none() {
    let node = node().await;
    let (ana, ben) = (node.person().await, node.person().await);
    let mut phone = node.phone(&ana, 1).await;
    let (_, mood) = phone.log_mood(1);
    for feed in [ben.feed(Collection::Moods), FeedId(47)] {
        assert_eq!(codes(&node.push(phone.device, feed, vec![mood.clone()]).await), ["not_your_feed"]);
    }
    assert_eq!(node.feed(ben.feed(Collection::Moods)).await, []);
}

/// Ana's account is erased while her phone pushes: the push waits for the feed's row, and then there is none.
#[tokio::test]
async fn a_push_into_a_feed_that_goes_meanwhile_is_refused() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let (feed, (_, mood)) = (ana.feed(Collection::Moods), phone.log_mood(1));
    let mut erasing = node.pool.begin().await.unwrap();
    hold(&mut erasing, feed).await;
    let erasure = async {
        until("the push waits for the feed", async || {
            let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
            sqlx::query_scalar(waits).fetch_one(&node.pool).await.unwrap()
        })
        .await;
        let gone = "DELETE FROM feeds WHERE feed = $1";
        sqlx::query(gone).bind(feed.0.cast_signed()).execute(&mut *erasing).await.unwrap();
        erasing.commit().await.unwrap();
    };
    let (receipts, ()) = tokio::join!(node.push(phone.device, feed, vec![mood]), erasure);
    assert_eq!(codes(&receipts), ["not_your_feed"]);
}

#[tokio::test]
async fn what_an_entry_shows_by_itself_is_checked_first() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let (_, mood) = phone.log_mood(1);
    let sealed = Entry { kind: EntryKind::Sealed.into(), ..mood.clone() };
    let unheard_of = Entry { kind: 77, ..mood.clone() };
    let huge = Entry { payload: vec![0; limits::ENTRY_BYTES + 1], ..mood.clone() };
    let garbage = Entry { payload: b"garbage".to_vec(), ..mood.clone() };
    let lunch = json!({ "at": MORNING, "kind": "lunch", "items": [{ "name": "rice", "amount": "80 g" }] });
    let (_, meal) = phone.log(Collection::Meals, &lunch);
    let good = phone.log_mood(0).1;

    let moods = ana.feed(Collection::Moods);
    let receipts = node.push(phone.device, moods, vec![sealed, unheard_of, huge, garbage, meal, good]).await;
    let expected = ["kind_not_served", "kind_not_served", "entry_too_large", "bad_change", "bad_content", "accepted"];
    assert_eq!(codes(&receipts), expected);

    let journal = ana.feed(Collection::Journal);
    assert_eq!(codes(&node.push(phone.device, journal, vec![mood]).await), ["collection_not_served"]);
}

#[tokio::test]
async fn a_document_belongs_to_the_feed_of_its_first_entry() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let (draft, mood) = phone.log_mood(1);
    node.push(phone.device, ana.feed(Collection::Moods), vec![mood]).await;

    let (_, weight) = phone.log(Collection::Measurements, &weight());
    let weight = Entry { doc_id: draft.doc_id, ..weight };
    let receipts = node.push(phone.device, ana.feed(Collection::Measurements), vec![weight]).await;
    assert_eq!(codes(&receipts), ["foreign_document"]);
}

#[tokio::test]
async fn a_record_is_created_once() {
    let node = node().await;
    let ana = node.person().await;
    let (mut phone, mut tablet) = (node.phone(&ana, 1).await, node.phone(&ana, 2).await);
    let moods = ana.feed(Collection::Moods);
    let (draft, mood) = phone.log_mood(1);
    node.push(phone.device, moods, vec![mood]).await;
    let (_, other) = tablet.log_mood(2);
    let other = Entry { doc_id: draft.doc_id, ..other };
    assert_eq!(codes(&node.push(tablet.device, moods, vec![other]).await), ["document_exists"]);
}

#[tokio::test]
async fn an_actor_belongs_to_the_device_that_used_it_first() {
    let node = node().await;
    let ana = node.person().await;
    let (mut phone, mut clone) = (node.phone(&ana, 1).await, node.phone(&ana, 2).await);
    clone.actor = phone.actor;
    let moods = ana.feed(Collection::Moods);
    let receipts = node.push(phone.device, moods, vec![phone.log_mood(1).1]).await;
    assert_eq!(codes(&receipts), ["accepted"]);
    assert_eq!(codes(&node.push(clone.device, moods, vec![clone.log_mood(2).1]).await), ["foreign_actor"]);
    clone.actor = ActorId([9; 16]);
    assert_eq!(codes(&node.push(clone.device, moods, vec![clone.log_mood(2).1]).await), ["accepted"]);
}

#[tokio::test]
async fn a_forked_actor_is_never_accepted() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (draft, first) = phone.log_mood(1);
    let (mut one, mut other) = (draft.clone(), draft);
    let edit = phone.edit(&mut one, &json!({ "valence": 2 }));
    let forked = phone.edit(&mut other, &json!({ "valence": -2 }));
    assert_ne!(hash_of(&edit), hash_of(&forked));
    let receipts = node.push(phone.device, moods, vec![first, edit, forked.clone()]).await;
    assert_eq!(codes(&receipts), ["accepted", "accepted", "actor_forked"]);
    assert_eq!(codes(&node.push(phone.device, moods, vec![forked]).await), ["actor_forked"]);
}

/// No device makes such a change: whatever follows builds on what came before. It is made by hand, checksum and all.
#[tokio::test]
async fn a_change_that_skips_a_number_of_its_writer_is_refused() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (mut draft, first) = phone.log_mood(1);
    phone.actor = ActorId::random(&mut phone.rng);
    let mut edit = phone.edit(&mut draft, &json!({ "valence": 2 }));
    edit.payload = with_actor_seq(&edit.payload, 3);
    assert_eq!(codes(&node.push(phone.device, moods, vec![first, edit]).await), ["accepted", "actor_gap"]);
}

/// A change on one other, with another number: magic, checksum, kind, length, dependencies, actor, number…
fn with_actor_seq(payload: &[u8], seq: u8) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    let dependencies = 9 + bytes[9..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let actor = dependencies + 1 + 32;
    let number = actor + 1 + 16;
    assert_eq!((bytes[dependencies], bytes[actor], bytes[number]), (1, 16, 1), "the layout is as described");
    bytes[number] = seq;
    with_checksum(bytes)
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = sha2::Sha256::digest(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum[..4]);
    bytes
}

/// An older app let a note with U+0000 through. The server accepted it, and its merged record could not be stored: jsonb
/// refuses that character. So the document was quarantined, for good.
#[tokio::test]
async fn a_note_that_the_database_cannot_store_is_refused_before_it_is_accepted() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (_, mut entry) = phone.log(Collection::Moods, &json!({ "at": MORNING, "valence": 1, "note": "slept~well" }));
    let note = entry.payload.windows(10).position(|bytes| bytes == b"slept~well").unwrap();
    entry.payload[note + 5] = 0;
    entry.payload = with_checksum(entry.payload);

    let receipts = node.push(phone.device, moods, vec![entry, phone.log_mood(1).1]).await;
    assert_eq!(codes(&receipts), ["bad_content", "accepted"]);
    let Receipt::Rejected(why) = &receipts[0] else { panic!("{receipts:?}") };
    assert!(why.message.contains("U+0000") && why.message.contains("take it out"), "{}", why.message);
}

#[tokio::test]
async fn a_record_takes_so_many_concurrent_edits_and_no_more() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (draft, first) = phone.log_mood(1);
    node.push(phone.device, moods, vec![first]).await;
    let mut edits = Vec::new();
    for n in 0..=limits::CHANGE_DEPENDENCIES {
        phone.actor = ActorId::random(&mut phone.rng);
        edits.push(phone.edit(&mut draft.clone(), &json!({ "energy": n % 5 + 1 })));
    }
    let receipts = node.push(phone.device, moods, edits).await;
    let (last, others) = receipts.split_last().unwrap();
    assert!(others.iter().all(|receipt| matches!(receipt, Receipt::Accepted(_))));
    assert_eq!(code(last), "too_many_heads");
}

#[tokio::test]
async fn what_builds_on_nothing_or_on_something_refused_is_refused() {
    let node = node().await;
    let ana = node.person().await;
    let (mut phone, mut tablet) = (node.phone(&ana, 1).await, node.phone(&ana, 2).await);
    let moods = ana.feed(Collection::Moods);
    let (mut lost, _) = phone.log_mood(1);
    let builds_on_lost = phone.edit(&mut lost, &json!({ "valence": 2 }));
    assert_eq!(codes(&node.push(phone.device, moods, vec![builds_on_lost]).await), ["unknown_dependency"]);

    let (mut draft, first) = phone.log_mood(1);
    node.push(phone.device, moods, vec![first]).await;
    tablet.actor = phone.actor;
    let refused = tablet.edit(&mut draft.clone(), &json!({ "valence": 2 }));
    draft.receive(&refused);
    tablet.actor = ActorId([9; 16]);
    let next = tablet.edit(&mut draft, &json!({ "valence": 0 }));
    let after_next = tablet.edit(&mut draft, &json!({ "valence": 1 }));
    let receipts = node.push(tablet.device, moods, vec![refused, next]).await;
    assert_eq!(codes(&receipts), ["foreign_actor", "depends_on_rejected"]);
    assert_eq!(
        codes(&node.push(tablet.device, moods, vec![after_next]).await),
        ["depends_on_rejected"],
        "a push later"
    );
}

#[tokio::test]
async fn a_document_is_full_at_a_mebibyte_and_others_go_on() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let (mut draft, first) = phone.log_mood(1);
    let edits = phone.edits(&mut draft, &[json!({ "valence": 2 }), json!({ "valence": 0 }), json!({ "valence": 1 })]);
    node.push(phone.device, moods, vec![first]).await;
    // As if it had been edited for years: there is room for two of the three edits.
    let room = edits[0].payload.len() + edits[1].payload.len();
    let set = "UPDATE documents SET payload_bytes = $2 WHERE doc_id = $1";
    let filled = sqlx::query(set).bind(draft.doc_id.as_bytes()).bind(limits::DOCUMENT_BYTES as i64 - room as i64);
    filled.execute(&node.pool).await.unwrap();

    let receipts = node.push(phone.device, moods, edits).await;
    assert_eq!(codes(&receipts), ["accepted", "accepted", "document_full"]);
    assert_eq!(codes(&node.push(phone.device, moods, vec![phone.log_mood(0).1]).await), ["accepted"]);
}

#[tokio::test]
async fn an_account_is_full_at_its_bounds_and_everybody_else_goes_on() {
    let node = node().await;
    let (ana, ben) = (node.person().await, node.person().await);
    let (mut phone, mut tablet) = (node.phone(&ana, 1).await, node.phone(&ben, 2).await);
    let moods = ana.feed(Collection::Moods);
    let (mut draft, first) = phone.log_mood(1);
    let bytes = first.payload.len();
    node.push(phone.device, moods, vec![first]).await;
    let usage = "SELECT documents, bytes FROM account_usage WHERE account = $1";
    let held: (i64, i64) = sqlx::query_as(usage).bind(ana.account).fetch_one(&node.pool).await.unwrap();
    assert_eq!(held, (1, bytes as i64));

    // As if she had used it for centuries: there is room for one of two edits, then for one of two records.
    let edits = phone.edits(&mut draft, &[json!({ "valence": 2 }), json!({ "valence": 0 })]);
    let set = "UPDATE account_usage SET bytes = $2, documents = $3 WHERE account = $1";
    let fill = async |bytes: u64, documents: u64| {
        let fill = sqlx::query(set).bind(ana.account).bind(bytes.cast_signed()).bind(documents.cast_signed());
        fill.execute(&node.pool).await.unwrap();
    };
    fill(limits::ACCOUNT_BYTES - edits[0].payload.len() as u64, 1).await;
    assert_eq!(codes(&node.push(phone.device, moods, edits).await), ["accepted", "account_full"]);
    fill(0, limits::ACCOUNT_DOCUMENTS - 1).await;
    let (second, third) = (phone.log_mood(1).1, phone.log_mood(1).1);
    assert_eq!(codes(&node.push(phone.device, moods, vec![second, third]).await), ["accepted", "too_many_records"]);
    let others = node.push(tablet.device, ben.feed(Collection::Moods), vec![tablet.log_mood(1).1]).await;
    assert_eq!(codes(&others), ["accepted"]);
}

/// The database refuses whatever belongs to this document, as it would refuse a row that breaks a constraint.
async fn poison(node: &Node, doc_id: DocId) {
    let hex: String = doc_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let constraint = format!("ALTER TABLE entries ADD CONSTRAINT poison CHECK (doc_id <> '\\x{hex}')");
    sqlx::query(sqlx::AssertSqlSafe(constraint)).execute(&node.pool).await.unwrap();
}

#[tokio::test]
async fn one_poisoned_entry_among_512_harms_only_itself() {
    let node = node().await;
    let ana = node.person().await;
    let moods = ana.feed(Collection::Moods);
    let mut phone = node.phone(&ana, 1).await;
    let mut bad_phone = node.phone(&ana, 2).await;
    let (mut bad_draft, bad) = bad_phone.log_mood(1);
    let on_bad = bad_phone.edit(&mut bad_draft, &json!({ "valence": 2 }));
    poison(&node, bad_draft.doc_id).await;
    let entries: Vec<_> = (0..510).map(|n| phone.log_mood(n % 5 - 2).1).collect();

    // Somebody holds another feed, and the lane waits for it: so everything that is pushed meanwhile is the next group.
    let mut holder = node.pool.begin().await.unwrap();
    hold(&mut holder, ana.feed(Collection::Measurements)).await;
    let weight = phone.log(Collection::Measurements, &weight()).1;
    let pushes = join_all([
        node.push(phone.device, ana.feed(Collection::Measurements), vec![weight]),
        node.push(phone.device, moods, entries[..300].to_vec()),
        node.push(bad_phone.device, moods, vec![bad, on_bad]),
        node.push(phone.device, moods, entries[300..].to_vec()),
    ])
    .await;
    assert_eq!(codes(&pushes[2]), ["refused_by_database", "depends_on_rejected"]);
    for good in [&pushes[1], &pushes[3]] {
        assert!(codes(good).iter().all(|code| *code == "accepted"), "{good:?}");
    }
    assert_eq!(node.feed(moods).await.len(), 510);
}

#[tokio::test]
async fn while_the_database_is_away_nothing_is_decided_and_nothing_lost() {
    let mut postgres = Postgres::start();
    let node = Node::on(&postgres.database()).await;
    let ana = node.person().await;
    let moods = ana.feed(Collection::Moods);
    let mut phone = node.phone(&ana, 1).await;
    assert_eq!(codes(&node.push(phone.device, moods, vec![phone.log_mood(0).1]).await), ["accepted"]);
    let (mut draft, first) = phone.log_mood(1);
    let second = phone.edit(&mut draft, &json!({ "valence": 2 }));
    let third = phone.edit(&mut draft, &json!({ "valence": 0 }));

    postgres.take_down();
    let away = join_all([
        node.push(phone.device, moods, vec![first.clone()]),
        node.push(phone.device, moods, vec![second.clone()]),
    ])
    .await;
    assert!(away.iter().flatten().all(|receipt| matches!(receipt, Receipt::Retry(_))), "{away:?}");

    // The third was under way behind the two: it must not be refused because they are to come again.
    postgres.bring_back();
    let behind = node.push(phone.device, moods, vec![third.clone()]).await;
    assert_eq!(codes(&behind), ["depends_on_undecided"]);
    let receipts = node.push(phone.device, moods, vec![first, second, third]).await;
    assert_eq!(codes(&receipts), ["accepted"; 3]);
    node.feed(moods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_back_soon_is_waited_for() {
    let mut postgres = Postgres::start();
    // How soon depends on the machine; the push must come through whenever that is.
    let node = Node::patient(&postgres.database(), Duration::from_secs(300)).await;
    let ana = node.person().await;
    let moods = ana.feed(Collection::Moods);
    let mut phone = node.phone(&ana, 1).await;
    node.push(phone.device, moods, vec![phone.log_mood(0).1]).await;
    postgres.kill9();
    let pushing = tokio::spawn({
        let (ingest, device, mood) = (node.ingest.clone(), phone.device, phone.log_mood(1).1);
        async move { ingest.submit(device, vec![FeedPush { feed: moods, entries: vec![mood] }]).await }
    });
    tokio::task::block_in_place(|| postgres.bring_back());
    let outcome = pushing.await.unwrap();
    assert_eq!(codes(&outcome.receipts), ["accepted"]);
}

#[tokio::test]
async fn a_feed_that_somebody_else_holds_does_not_hold_up_the_others() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let (moods, meals) = (ana.feed(Collection::Moods), ana.feed(Collection::Measurements));
    let mut holder = node.pool.begin().await.unwrap();
    hold(&mut holder, moods).await;

    let mood = phone.log_mood(1).1;
    let weight = phone.log(Collection::Measurements, &weight()).1;
    let feeds =
        vec![FeedPush { feed: moods, entries: vec![mood.clone()] }, FeedPush { feed: meals, entries: vec![weight] }];
    let receipts = node.ingest.submit(phone.device, feeds).await.receipts;
    assert_eq!(codes(&receipts), ["feed_busy", "accepted"]);
    assert!(matches!(receipts[0], Receipt::Retry(_)));

    holder.rollback().await.unwrap();
    assert_eq!(codes(&node.push(phone.device, moods, vec![mood]).await), ["accepted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_phones_at_once_leave_no_gap() {
    let node = node().await;
    let people = [node.person().await, node.person().await];
    let mut tasks = Vec::new();
    for seed in 0..16 {
        let person = &people[seed as usize % 2];
        let (ingest, feed) = (node.ingest.clone(), person.feed(Collection::Moods));
        let mut phone = node.phone(person, seed).await;
        tasks.push(tokio::spawn(async move {
            for n in 0..25 {
                let entries = (0..=n % 4).map(|_| phone.log_mood(n % 5 - 2).1).collect();
                let outcome = ingest.submit(phone.device, vec![FeedPush { feed, entries }]).await;
                assert!(codes(&outcome.receipts).iter().all(|code| *code == "accepted"), "{outcome:?}");
            }
        }));
    }
    tokio::time::timeout(Duration::from_secs(120), join_all(tasks))
        .await
        .unwrap()
        .into_iter()
        .for_each(|end| end.unwrap());
    for person in &people {
        assert_eq!(node.feed(person.feed(Collection::Moods)).await.len(), 8 * 61);
    }
    let mut next = std::collections::BTreeMap::new();
    for live in node.announced() {
        let expected = next.entry(live.feed).or_insert(1);
        assert_eq!(live.first_seq, *expected, "announced in order");
        *expected += live.entries.len() as u64;
    }
}

/// A statement that was prepared while the tables were empty must not choose an index by which each lookup reads the
/// whole feed.
#[tokio::test]
async fn lookups_read_what_they_look_for_however_long_the_feed_is() {
    const ENTRIES: i64 = 3_000;
    let database = Postgres::shared().database();
    let node = Node::on(&database).await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    // Postgres settles on a plan with a connection's sixth execution.
    for _ in 0..10 {
        node.push(phone.device, moods, vec![phone.log_mood(0).1]).await;
    }
    for _ in 0..ENTRIES / 200 {
        let mut entries = Vec::new();
        for _ in 0..100 {
            let (mut draft, entry) = phone.log_mood(1);
            entries.extend([entry, phone.edit(&mut draft, &json!({ "energy": 3 }))]);
        }
        let receipts = node.push(phone.device, moods, entries).await;
        assert!(codes(&receipts).iter().all(|code| *code == "accepted"));
        let first = sync_server::feeds::Asked { feed: moods, after: 0, max_bytes: 1, max_entries: 1 };
        sync_server::feeds::read_page(&node.server, ana.account, first).await.unwrap();
    }
    // A connection reports what it did when it ends.
    node.close().await;
    let read = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname LIKE 'entries%'";
    let read: i64 = sqlx::query_scalar(read).fetch_one(&Node::on(&database).await.pool).await.unwrap();
    assert!(read < 10 * ENTRIES, "{read} index entries read for {ENTRIES} entries");
}
