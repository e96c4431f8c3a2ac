//! A device that is far behind gets documents as they are, and ends like one that received every entry.

use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ChangeHash, DocId};
use fitme_core::limits;
use fitme_core::record::Scalar;
use fitme_core::session::{Mode, ServerEffect, ServerEvent, ServerSession};
use fitme_core::store::{Command, Imported};
use fitme_core::wire::bootstrap::{FeedBootstrap, Listed, Pass, Snapshot, Token};
use fitme_core::wire::{self, Frame, Hello, WireError};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::hub::{Device, Hub, Link, MORNING, assert_converged, profile, random_command, workout};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn mood(days_ago: i64) -> Value {
    json!({ "at": MORNING - days_ago * DAY_MS, "valence": 1 })
}

/// A phone whose every record is on the hub: some of these weeks, some of long ago.
fn phone_with_records(hub: &mut Hub, seed: u64) -> (Device, Vec<DocId>) {
    let mut phone = Device::new("phone", seed);
    phone.sign_in(hub);
    let mut ids: Vec<_> = (0..8).map(|n| phone.log(Collection::Moods, mood(n * 30))).collect();
    ids.extend((0..3).map(|n| phone.log(Collection::Workouts, workout(&format!("Day {n}")))));
    phone.edit(ids[0], json!({ "note": "slept well" }));
    phone.edit(ids[9], json!({ "session_rpe": 7 }));
    phone.sync(hub);
    (phone, ids)
}

/// Lists, heads and records of a device are those of one that receives every entry.
fn assert_like_one_that_received_all_entries(device: &Device, hub: &mut Hub) {
    let mut patient = Device::new("patient", 77);
    patient.sign_in(hub);
    let usual = std::mem::replace(&mut hub.bootstrap_from, u64::MAX);
    patient.sync(hub);
    hub.bootstrap_from = usual;
    for collection in [Collection::Moods, Collection::Workouts, Collection::Profile] {
        let lines = |device: &Device| {
            let listed = device.list(collection).into_iter().map(|row| (row.doc_id, row.at, row.columns));
            listed.collect::<Vec<_>>()
        };
        assert_eq!(lines(device), lines(&patient), "{}'s list of {collection}", device.name);
    }
    assert_converged(device, &patient);
    let feeds = |device: &Device| {
        let rows = device.store.own_feeds().unwrap().into_iter();
        rows.map(|row| (row.feed, row.cursor, row.digest)).collect::<Vec<_>>()
    };
    assert_eq!(feeds(device), feeds(&patient));
}

fn count(device: &Device, query: &str) -> i64 {
    rusqlite::Connection::open(device.path()).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

fn new_tablet(hub: &Hub, seed: u64) -> Device {
    let mut tablet = Device::new("tablet", seed);
    tablet.sign_in(hub);
    tablet
}

#[test]
fn a_new_tablet_lists_everything_without_having_loaded_anything() {
    let mut hub = Hub::bootstrapping_from(0);
    let (_, ids) = phone_with_records(&mut hub, 1);
    let mut tablet = new_tablet(&hub, 1);
    tablet.sync(&mut hub);
    assert_eq!(count(&tablet, "SELECT count(*) FROM documents WHERE unproved"), ids.len() as i64);
    assert_eq!(count(&tablet, "SELECT count(*) FROM entries"), 0);
    assert_eq!(count(&tablet, "SELECT count(*) FROM bootstraps"), 0);
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

#[test]
fn recent_records_come_first_and_how_far_it_is_is_said() {
    let mut hub = Hub::bootstrapping_from(0);
    let (_, ids) = phone_with_records(&mut hub, 2);
    let mut tablet = new_tablet(&hub, 2);
    let mut link = Link::to(&mut tablet, &hub);
    while !link.progress.is_some_and(|progress| progress.has_recent) {
        assert!(link.step(&mut tablet, &mut hub));
    }
    let listed = tablet.list(Collection::Moods);
    let (recent, old): (Vec<_>, Vec<_>) = listed.iter().partition(|row| row.at >= Some(MORNING - 90 * DAY_MS));
    assert_eq!((recent.len(), tablet.list(Collection::Workouts).len()), (4, 3));
    assert!(old.len() <= hub.page_documents, "of long ago there is one page at most");
    while link.step(&mut tablet, &mut hub) {}
    let progress = link.progress.unwrap();
    assert_eq!((progress.stored, progress.total), (ids.len() as u64, ids.len() as u64));
}

#[test]
fn a_record_that_came_whole_is_edited_and_has_its_whole_history() {
    let mut hub = Hub::bootstrapping_from(0);
    let (mut phone, ids) = phone_with_records(&mut hub, 3);
    let mut tablet = new_tablet(&hub, 3);
    tablet.sync(&mut hub);
    assert_eq!(tablet.store.history(ids[9]).unwrap().len(), 2);
    tablet.edit(ids[9], json!({ "title": "Legs" }));
    tablet.sync(&mut hub);
    phone.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_eq!(tablet.store.history(ids[9]).unwrap().len(), 3);
    assert_eq!(count(&tablet, &format!("SELECT unproved FROM documents WHERE doc_id = x'{:032x}'", number(ids[9]))), 0);
    assert_eq!(tablet.store.status().unwrap().pending, 0);
}

fn number(doc_id: DocId) -> u128 {
    u128::from_be_bytes(doc_id.0)
}

/// The connection is cut after each single message, and between any two sessions the phone goes on writing: records change,
/// move between old and recent, and new ones appear.
#[test]
fn cut_after_each_page_while_documents_change_and_appear() {
    let mut hub = Hub::bootstrapping_from(0);
    hub.page_documents = 2;
    let (mut phone, ids) = phone_with_records(&mut hub, 4);
    let mut tablet = new_tablet(&hub, 4);
    for round in 0..40 {
        // Hello, Welcome and one page more each time than before the last edit: every page is once the last one.
        tablet.sync_cut_after(&mut hub, 3 + round % 4);
        tablet.restart();
        let moved = ids[round % 8];
        phone.edit(moved, mood(if round % 2 == 0 { 1 } else { 200 }));
        if round % 5 == 0 {
            phone.log(Collection::Moods, mood(round as i64));
        }
        phone.sync(&mut hub);
    }
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

#[test]
fn what_was_kept_of_an_earlier_session_does_not_come_again() {
    let mut hub = Hub::bootstrapping_from(0);
    let (_, ids) = phone_with_records(&mut hub, 5);
    let mut tablet = new_tablet(&hub, 5);
    tablet.sync_cut_after(&mut hub, 4);
    let here = tablet.store.heads().unwrap().len();
    assert!(here > 0 && here < ids.len());
    let token = tablet.store.bootstrap_tokens().unwrap();
    assert!(!token.is_empty() && token.iter().all(|token| token.pass < Pass::Erased), "{token:?}");
    let mut link = Link::to(&mut tablet, &hub);
    while link.step(&mut tablet, &mut hub) {}
    let progress = link.progress.unwrap();
    assert!(link.synced && progress.stored <= ids.len() as u64 + 3, "{progress:?}");
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

/// The tablet was used before it had an account: it has the same profile and the same imported ride, which are derived from
/// what they are, with edits of its own that wait to be sent.
#[test]
fn edits_that_wait_stay_when_the_snapshot_of_their_record_comes() {
    let mut hub = Hub::bootstrapping_from(0);
    let (mut phone, _) = phone_with_records(&mut hub, 6);
    let start = ("start".to_owned(), Scalar::Time(MORNING));
    let ride = Imported { file_hash: [5; 32], session: 0, steps: vec![vec![start]], zone_guess: None };
    let mut tablet = Device::new("tablet", 6);
    for home in [&mut phone, &mut tablet] {
        home.store.import(&[], std::slice::from_ref(&ride), home.now_ms, &mut home.rng).unwrap();
    }
    phone.log(Collection::Profile, json!({ "name": "Ann" }));
    tablet.log(Collection::Profile, json!({ "height": "170 cm" }));
    phone.sync(&mut hub);
    tablet.sign_in(&hub);
    tablet.sync(&mut hub);
    phone.sync(&mut hub);
    assert_converged(&phone, &tablet);
    let person = tablet.record(profile());
    assert_eq!((&person["name"], person["height"].is_object()), (&json!("Ann"), true));
    let status = tablet.store.status().unwrap();
    assert_eq!((status.pending, status.rejected, status.unapplied), (0, 0, 0));
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

/// The phone was away for long with edits that wait; most of what it holds changed meanwhile.
#[test]
fn a_phone_that_comes_back_late_takes_snapshots_over_what_it_holds() {
    let mut hub = Hub::bootstrapping_from(4);
    let (mut phone, ids) = phone_with_records(&mut hub, 7);
    let mut tablet = new_tablet(&hub, 7);
    tablet.sync(&mut hub);
    phone.edit(ids[1], json!({ "note": "written in the mountains" }));
    for id in &ids[..6] {
        tablet.edit(*id, json!({ "energy": 4 }));
    }
    tablet.sync(&mut hub);
    let entries = count(&phone, "SELECT count(*) FROM entries");
    phone.sync(&mut hub);
    assert_eq!(count(&phone, "SELECT count(*) FROM entries"), entries, "no entry came, and none went");
    assert_eq!(count(&phone, "SELECT count(*) FROM documents WHERE unproved"), 5, "all but the one with an edit");
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_eq!(tablet.record(ids[1])["note"], "written in the mountains");
    assert_like_one_that_received_all_entries(&phone, &mut hub);
}

#[test]
fn a_document_in_quarantine_comes_as_far_as_it_was_merged_with_the_entries_behind() {
    let mut hub = Hub::bootstrapping_from(0);
    let (mut phone, ids) = phone_with_records(&mut hub, 8);
    phone.edit(ids[3], json!({ "note": "poison" }));
    phone.sync(&mut hub);
    // One was merged until its fourth entry of the feed, another never.
    hub.quarantined.insert(ids[3], 4);
    hub.quarantined.insert(ids[5], 0);
    let mut tablet = new_tablet(&hub, 8);
    tablet.sync(&mut hub);
    assert_eq!(tablet.record(ids[3])["note"], "poison");
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
    phone.edit(ids[5], json!({ "note": "again" }));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
}

#[test]
fn records_erased_before_and_meanwhile_are_nowhere() {
    let mut hub = Hub::bootstrapping_from(0);
    hub.page_documents = 2;
    let (mut phone, ids) = phone_with_records(&mut hub, 9);
    phone.erase(ids[0]);
    phone.sync(&mut hub);
    let mut tablet = new_tablet(&hub, 9);
    for id in [ids[10], ids[1], ids[7]] {
        tablet.sync_cut_after(&mut hub, 5);
        phone.erase(id);
        phone.sync(&mut hub);
    }
    tablet.sync(&mut hub);
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
    for gone in [ids[0], ids[10], ids[1], ids[7]] {
        assert!(tablet.store.show(gone).unwrap().is_none());
        let edit = Command::Edit { doc_id: gone, patch: json!({ "note": "late" }) };
        let refused = tablet.store.write(&edit, MORNING, &mut tablet.rng).unwrap_err();
        assert!(refused.to_string().contains("erased"), "{refused}");
    }
}

/// I10 and the snapshots: it is erased on the tablet itself, which the server does not know when the snapshot comes.
#[test]
fn what_is_erased_here_does_not_come_back_within_a_snapshot() {
    let mut hub = Hub::bootstrapping_from(4);
    let (mut phone, ids) = phone_with_records(&mut hub, 10);
    let mut tablet = new_tablet(&hub, 10);
    tablet.sync(&mut hub);
    tablet.erase(ids[2]);
    for id in &ids[..7] {
        phone.edit(*id, json!({ "note": "still here" }));
    }
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    phone.sync(&mut hub);
    assert!(tablet.store.show(ids[2]).unwrap().is_none() && phone.store.show(ids[2]).unwrap().is_none());
    assert_converged(&phone, &tablet);
}

/// A bit flipped in the server's memory, or the snapshot is of other heads: the feed comes as entries, at once.
#[test]
fn a_snapshot_that_is_not_what_it_should_be_is_refused_and_nothing_is_lost() {
    let spoilt: [fn(&mut Snapshot); 3] = [
        |snapshot| {
            let at = snapshot.snapshot.len() / 2;
            snapshot.snapshot[at] ^= 1;
        },
        |snapshot| snapshot.heads[0].0[7] ^= 1,
        |snapshot| snapshot.heads.clear(),
    ];
    for spoil in spoilt {
        let mut hub = Hub::bootstrapping_from(0);
        let (mut phone, ids) = phone_with_records(&mut hub, 11);
        let bad = ids[4];
        hub.spoil = Box::new(move |snapshot| {
            if snapshot.doc_id == bad {
                spoil(snapshot)
            }
        });
        let mut tablet = new_tablet(&hub, 11);
        tablet.sync(&mut hub);
        assert_eq!(tablet.list(Collection::Workouts).len(), 3, "the other feeds came whole");
        assert_like_one_that_received_all_entries(&tablet, &mut hub);
        tablet.edit(bad, json!({ "note": "it is well" }));
        tablet.sync(&mut hub);
        phone.sync(&mut hub);
        assert_converged(&phone, &tablet);
    }
}

/// A flash cell went bad under a record that came whole and was never loaded. The edit that first loads it says so, and the
/// record comes again; what waits of other records is sent.
#[test]
fn a_record_that_is_damaged_before_it_is_first_loaded_comes_again() {
    let mut hub = Hub::bootstrapping_from(0);
    let (mut phone, ids) = phone_with_records(&mut hub, 12);
    let mut tablet = new_tablet(&hub, 12);
    tablet.sync(&mut hub);
    tablet.edit(ids[2], json!({ "note": "waits" }));
    damage(&tablet, ids[1]);
    let edit = Command::Edit { doc_id: ids[1], patch: json!({ "note": "first" }) };
    let refused = tablet.store.write(&edit, MORNING, &mut tablet.rng).unwrap_err();
    assert!(refused.to_string().contains("comes again"), "{refused}");
    assert_eq!(tablet.list(Collection::Moods).len(), 8, "it is still listed");
    tablet.sync(&mut hub);
    tablet.edit(ids[1], json!({ "note": "second" }));
    tablet.sync(&mut hub);
    phone.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_eq!(phone.record(ids[2])["note"], "waits");
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

#[test]
fn a_record_that_is_damaged_when_somebody_elses_edit_comes_is_received_again() {
    let mut hub = Hub::bootstrapping_from(4);
    let (mut phone, ids) = phone_with_records(&mut hub, 13);
    let mut tablet = new_tablet(&hub, 13);
    tablet.sync(&mut hub);
    damage(&tablet, ids[1]);
    phone.edit(ids[1], json!({ "note": "from the phone" }));
    phone.sync(&mut hub);
    let mut link = Link::to(&mut tablet, &hub);
    while link.step(&mut tablet, &mut hub) {}
    assert!(link.closed.is_some(), "the session ends, so that the feed begins again");
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

fn damage(device: &Device, doc_id: DocId) {
    let file = rusqlite::Connection::open(device.path()).unwrap();
    let damaged = file.execute(
        "UPDATE snapshots SET snapshot = CAST(substr(snapshot, 1, length(snapshot) - 1) || x'ff' AS BLOB) WHERE doc_id = ?",
        [doc_id.as_bytes()],
    );
    assert_eq!(damaged.unwrap(), 1);
}

/// The server was restored, and every feed has a new epoch: what only devices have must survive the snapshots of what the
/// server has.
#[test]
fn after_a_restore_a_snapshot_does_not_take_what_only_the_device_has() {
    let mut hub = Hub::bootstrapping_from(2);
    let (phone, ids) = phone_with_records(&mut hub, 14);
    let mut tablet = new_tablet(&hub, 14);
    tablet.sync(&mut hub);
    hub.restore_from_backup(3);
    hub.renew_epochs();
    tablet.sync(&mut hub);
    for id in ids {
        assert_eq!(tablet.record(id), phone.record(id));
    }
}

/// Tags of a mood make a document of 400 KiB, which travels in parts; the cut comes between them.
#[test]
fn a_large_document_comes_in_parts() {
    let mut hub = Hub::bootstrapping_from(0);
    let mut phone = Device::new("phone", 15);
    phone.sign_in(&hub);
    let tag =
        |phone: &mut Device| (0..250).map(|_| char::from(phone.rng.random_range(b'a'..=b'z'))).collect::<String>();
    let mut large = None;
    for edit in 0..4 {
        let tags: Vec<_> = (0..400).map(|_| tag(&mut phone)).collect();
        match large {
            None => large = Some(phone.log(Collection::Moods, json!({ "at": MORNING, "valence": edit, "tags": tags }))),
            Some(id) => phone.edit(id, json!({ "tags": tags })),
        }
    }
    phone.log(Collection::Moods, mood(0));
    phone.sync(&mut hub);
    let mut tablet = new_tablet(&hub, 15);
    let mut cuts = 3;
    while tablet.store.own_feeds().unwrap().iter().all(|feed| feed.cursor == 0) {
        tablet.sync_cut_after(&mut hub, cuts);
        cuts += 1;
    }
    assert!(cuts > 4, "it came in several messages");
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

/// A device of the version before skips what it does not know: it is sent entries.
#[test]
fn an_older_device_gets_entries() {
    for (minor, snapshots) in [(wire::BOOTSTRAP_MINOR - 1, false), (wire::MINOR, true)] {
        let mut hub = Hub::bootstrapping_from(0);
        let _phone = phone_with_records(&mut hub, 16);
        let hello = Hello { major: wire::MAJOR, minor, cursors: None, ..Hello::default() };
        let mut session = ServerSession::new(Mode::Socket).bootstrapping_from(0);
        session.handle(ServerEvent::Message(&wire::encode(&Frame::Hello(hello)).unwrap()));
        session.handle(ServerEvent::Account(hub.account_at_nothing()));
        let digests = wire::encode(&Frame::Digests(Vec::new())).unwrap();
        let cursors = wire::encode(&Frame::Cursors(Default::default())).unwrap();
        session.handle(ServerEvent::Message(&cursors));
        session.handle(ServerEvent::Account(hub.account_at_nothing()));
        session.handle(ServerEvent::Message(&digests));
        let effects = session.handle(ServerEvent::Account(hub.account_at_nothing()));
        let asked = effects.iter().any(|effect| matches!(effect, ServerEffect::ReadSnapshots { .. }));
        let read = effects.iter().any(|effect| matches!(effect, ServerEffect::Read { .. }));
        assert_eq!((asked, read), (snapshots, !snapshots), "minor {minor}");
    }
}

#[test]
fn a_token_of_another_epoch_or_beyond_what_is_merged_is_not_believed() {
    let mut hub = Hub::bootstrapping_from(0);
    let (_, ids) = phone_with_records(&mut hub, 17);
    let mut tablet = new_tablet(&hub, 17);
    tablet.sync_cut_after(&mut hub, 4);
    let file = rusqlite::Connection::open(tablet.path()).unwrap();
    file.execute("UPDATE bootstraps SET upto = 1000, pass = 3", []).unwrap();
    tablet.sync(&mut hub);
    assert_eq!(tablet.store.heads().unwrap().len(), ids.len());
    assert_like_one_that_received_all_entries(&tablet, &mut hub);
}

#[test]
fn a_page_has_bounds_on_the_way_in() {
    let token = |pass: Pass| Token {
        feed: fitme_core::id::FeedId(1),
        epoch: fitme_core::id::Epoch([1; 8]),
        upto: 1,
        pass,
        last: None,
    };
    let hello = |tokens: Vec<Token>| Frame::Bootstrap { feeds: Vec::new(), tokens };
    let read = |frame: &Frame| wire::decode(&wire::encode(frame).unwrap());
    let all: Vec<_> = (0..5).filter_map(Pass::numbered).map(token).collect();
    assert_eq!(all.len(), 5);
    assert_eq!(read(&hello(all.clone())).unwrap(), Some(hello(all)));
    assert!(read(&hello(vec![Token { upto: u64::MAX, ..token(Pass::Rest) }])).is_err());
    assert!(read(&hello(vec![token(Pass::Rest); 10_000])).is_ok());
    assert!(read(&hello(vec![token(Pass::Rest); 10_001])).is_err());
}

fn page(document: Snapshot) -> Frame {
    let next = Token {
        feed: fitme_core::id::FeedId(1),
        epoch: fitme_core::id::Epoch([1; 8]),
        upto: 1,
        pass: Pass::Rest,
        last: None,
    };
    let feed = FeedBootstrap {
        next,
        from: 0,
        digest: Digest::default(),
        merged_seq: 1,
        total: 0,
        projection_version: 1,
        documents: vec![document],
        erasures: Vec::new(),
    };
    Frame::Bootstrap { feeds: vec![feed], tokens: Vec::new() }
}

fn document(bytes: usize) -> Snapshot {
    let listed = Some(Listed { at: None, trashed: false, columns: String::new() });
    let snapshot = (0..bytes).map(|at| (at % 251) as u8).collect();
    let (heads, entries) = (Vec::new(), Vec::new());
    Snapshot { doc_id: DocId([7; 16]), seq: 1, payload_bytes: 1, heads, listed, snapshot, entries, more: false }
}

#[test]
fn a_document_has_bounds_on_the_way_in() {
    let read = |document: Snapshot| wire::decode(&wire::encode(&page(document)).unwrap());
    assert!(read(document(limits::SNAPSHOT_PART_BYTES)).is_ok());
    assert!(matches!(read(document(limits::SNAPSHOT_PART_BYTES + 1)), Err(WireError::TooLarge { .. })));
    let listed = |bytes| Some(Listed { at: Some(-1), trashed: true, columns: "x".repeat(bytes) });
    assert!(read(Snapshot { listed: listed(limits::COLUMNS_BYTES), ..document(1) }).is_ok());
    assert!(read(Snapshot { listed: listed(limits::COLUMNS_BYTES + 1), ..document(1) }).is_err());
    let heads = |count: u64| (0..count).map(|n| ChangeHash([n as u8; 32])).collect();
    assert!(read(Snapshot { heads: heads(limits::CHANGE_DEPENDENCIES), ..document(1) }).is_ok());
    assert!(read(Snapshot { heads: heads(limits::CHANGE_DEPENDENCIES + 1), ..document(1) }).is_err());
}

#[test]
fn parts_are_put_together_as_the_document_that_they_were_cut_from() {
    let entry = Entry { kind: 0, doc_id: DocId([7; 16]), device_time: 3, salt: [1; 8], payload: vec![9; 200 << 10] };
    let entries: Vec<_> = (1..5).map(|seq| (seq, entry.clone())).collect();
    for bytes in [0, 1, limits::SNAPSHOT_PART_BYTES, 3 * limits::SNAPSHOT_PART_BYTES + 5] {
        let whole = Snapshot { entries: entries.clone(), ..document(bytes) };
        let mut parts = whole.clone().into_parts().into_iter();
        let mut together = parts.next().unwrap();
        for part in parts {
            assert!(together.more && part.bytes() <= limits::SNAPSHOT_PART_BYTES);
            assert!(wire::decode(&wire::encode(&page(part.clone())).unwrap()).is_ok());
            assert!(together.append(part));
        }
        assert_eq!(together, whole);
        let other = Snapshot { doc_id: DocId([8; 16]), ..document(1) };
        assert!(!together.append(other), "a part of another document");
        let too_much = document(limits::SNAPSHOT_BYTES + limits::COLUMNS_BYTES + limits::DOCUMENT_BYTES as usize);
        assert!(!Snapshot { entries: entries[..1].to_vec(), ..document(0) }.append(too_much));
    }
}

/// At the bound a feed comes as entries, one entry further behind as snapshots.
#[test]
fn a_feed_comes_as_snapshots_when_it_is_further_behind_than_200_entries() {
    for (behind, expected) in [(limits::BOOTSTRAP_FROM_ENTRIES, 0), (limits::BOOTSTRAP_FROM_ENTRIES + 1, 1)] {
        let mut hub = Hub::new();
        hub.page_documents = 100;
        let mut phone = Device::new("phone", 18);
        phone.sign_in(&hub);
        for n in 0..behind as i64 {
            phone.log(Collection::Moods, mood(n));
        }
        phone.sync(&mut hub);
        let mut tablet = new_tablet(&hub, 18);
        tablet.sync(&mut hub);
        let unproved = count(&tablet, "SELECT count(*) FROM documents WHERE unproved");
        assert_eq!(unproved, expected * behind as i64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// I6 and I7: whatever two devices write, erase and edit meanwhile, and wherever the connection of a third one is cut,
    /// it ends with the heads, lists and digests of one that received every entry.
    #[test]
    fn i6_i7_snapshots_end_where_entries_end(seed in 0u64..1_000_000, rounds in 2usize..8, page in 1usize..5) {
        let mut hub = Hub::bootstrapping_from(0);
        hub.page_documents = page;
        let mut dice = StdRng::seed_from_u64(seed);
        let mut writers = [Device::new("phone", seed), Device::new("watch", seed)];
        let mut tablet = new_tablet(&hub, seed);
        writers.iter_mut().for_each(|device| device.sign_in(&hub));
        for _ in 0..rounds {
            for device in writers.iter_mut().chain([&mut tablet]) {
                let here: Vec<_> = device.store.heads().unwrap().into_iter().map(|(id, _)| id).collect();
                for _ in 0..dice.random_range(0..5) {
                    let command = random_command(&mut dice, &here);
                    // A record that it has just erased itself.
                    let _refused = device.store.write(&command, device.now_ms, &mut device.rng);
                }
                if !here.is_empty() && dice.random_bool(0.1) {
                    let doc_id = here[dice.random_range(0..here.len())];
                    let _refused = device.store.write(&Command::Erase { doc_id }, device.now_ms, &mut device.rng);
                }
                if dice.random_bool(0.3) {
                    device.restart();
                }
            }
            for device in &mut writers {
                device.sync_cut_after(&mut hub, dice.random_range(0..20));
            }
            tablet.sync_cut_after(&mut hub, dice.random_range(2..9));
        }
        for _ in 0..2 {
            for device in writers.iter_mut().chain([&mut tablet]) {
                device.sync(&mut hub);
            }
        }
        assert_converged(&writers[0], &tablet);
        assert_converged(&writers[1], &tablet);
        assert_like_one_that_received_all_entries(&tablet, &mut hub);
    }
}
