//! What the server cannot merge and takes out of a document leaves every replica, with what was written on top of it; each
//! author writes that again.

use fitme_core::collection::Collection;
use fitme_core::id::{ActorId, ChangeHash, DocId};
use fitme_core::{change, merge, record, void};
use serde_json::json;

use crate::hub::{Device, Hub, Link, MORNING, assert_converged};

fn sets(device: &Device, id: DocId) -> Vec<i64> {
    let sets = device.record(id)["exercises"][0]["sets"].clone();
    let mut reps: Vec<_> = sets.as_array().into_iter().flatten().map(|set| set["reps"].as_i64().unwrap()).collect();
    reps.sort_unstable();
    reps
}

fn log_set(device: &mut Device, id: DocId, reps: i64) -> i64 {
    let squat = device.record(id)["exercises"][0]["id"].clone();
    let set = json!({ "reps": reps, "load": "100 kg", "kind": "work" });
    device.edit(id, json!({ "exercises": [{ "id": squat, "sets": [set] }] }));
    device.now_ms
}

/// Both devices have three sets of the phone's and one of the tablet's on top; the server could not merge the second.
/// Returns the workout and when that set was logged.
fn quarantined(hub: &mut Hub, seed: u64) -> (Device, Device, DocId, i64) {
    let (mut phone, mut tablet) = (Device::new("phone", seed), Device::new("tablet", seed));
    phone.sign_in(hub);
    tablet.sign_in(hub);
    let id = phone.log(Collection::Workouts, json!({ "start": MORNING, "exercises": [{ "name": "Squat" }] }));
    log_set(&mut phone, id, 1);
    hub.merged = Some(2);
    let bad = log_set(&mut phone, id, 2);
    log_set(&mut phone, id, 3);
    phone.sync(hub);
    tablet.sync(hub);
    tablet.now_ms += 60_000;
    log_set(&mut tablet, id, 4);
    tablet.sync(hub);
    phone.sync(hub);
    assert_eq!((sets(&phone, id), sets(&tablet, id)), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
    (phone, tablet, id, bad)
}

fn sync_all(hub: &mut Hub, devices: &mut [&mut Device]) {
    for _ in 0..2 {
        for device in devices.iter_mut() {
            device.sync(hub);
        }
    }
}

#[test]
fn what_was_taken_out_leaves_every_replica_and_its_author_gets_it_back() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id, bad) = quarantined(&mut hub, 1);
    hub.void(id, bad, false);
    // Meanwhile, offline, on top of what is not there any more.
    log_set(&mut tablet, id, 5);
    sync_all(&mut hub, &mut [&mut phone, &mut tablet]);
    let mut watch = Device::new("watch", 1);
    watch.sign_in(&hub);
    watch.sync(&mut hub);
    for device in [&phone, &tablet, &watch] {
        assert_eq!(sets(device, id), [1, 3, 4, 5], "{}", device.name);
        let status = device.store.status().unwrap();
        assert_eq!((status.pending, status.unapplied), (0, 0), "{}", device.name);
    }
    assert_converged(&phone, &tablet);
    assert_converged(&phone, &watch);
    let refused = phone.store.rejected().unwrap();
    assert_eq!(refused.iter().map(|write| write.code.as_str()).collect::<Vec<_>>(), ["voided"]);
    assert_eq!(refused[0].command["patch"]["exercises"][0]["sets"][0]["reps"], 2);
    assert_eq!(tablet.store.status().unwrap().rejected, 0);
    // It can be written again like anything that was refused.
    let key = phone.store.all_rejected().unwrap()[0].key;
    phone.store.retry_rejected(key, phone.now_ms, &mut phone.rng).unwrap();
    sync_all(&mut hub, &mut [&mut phone, &mut tablet]);
    assert_eq!(sets(&tablet, id), [1, 2, 3, 4, 5]);
    assert_converged(&phone, &tablet);
}

/// The server has written the change again: its author must not.
#[test]
fn what_the_server_has_written_again_comes_back_to_nobody() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id, bad) = quarantined(&mut hub, 2);
    hub.void(id, bad, true);
    sync_all(&mut hub, &mut [&mut phone, &mut tablet]);
    assert_eq!(sets(&phone, id), [1, 3, 4]);
    assert_converged(&phone, &tablet);
    assert_eq!(phone.store.status().unwrap().rejected, 0);
}

/// Also where the connection breaks anywhere, and the app with it.
#[test]
fn a_cut_anywhere_around_a_void_loses_and_doubles_nothing() {
    for cut in 0..10 {
        let mut hub = Hub::new();
        let (mut phone, mut tablet, id, bad) = quarantined(&mut hub, 3);
        hub.void(id, bad, false);
        phone.sync_cut_after(&mut hub, cut);
        phone.restart();
        sync_all(&mut hub, &mut [&mut phone, &mut tablet]);
        assert_eq!(sets(&phone, id), [1, 3, 4], "cut after {cut} messages");
        assert_converged(&phone, &tablet);
        assert_eq!(phone.store.status().unwrap().rejected, 1, "cut after {cut} messages");
    }
}

/// The server was restored, or an operator gave the feed a new epoch: everything is received again.
#[test]
fn what_was_taken_out_stays_out_when_it_is_received_again() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id, bad) = quarantined(&mut hub, 4);
    hub.void(id, bad, false);
    sync_all(&mut hub, &mut [&mut phone, &mut tablet]);
    hub.renew_epochs();
    sync_all(&mut hub, &mut [&mut phone, &mut tablet]);
    assert_eq!((sets(&phone, id), sets(&tablet, id)), (vec![1, 3, 4], vec![1, 3, 4]));
    assert_converged(&phone, &tablet);
    assert_eq!(phone.store.status().unwrap().unapplied, 0);
}

/// An app of an earlier version did not know what a void is: it kept the entry as it came. The updated one takes it.
#[test]
fn a_void_that_an_earlier_version_kept_is_taken_when_the_updated_app_opens() {
    let mut hub = Hub::new();
    let (mut phone, _, id, bad) = quarantined(&mut hub, 5);
    hub.void(id, bad, false);
    let home = rusqlite::Connection::open(phone.path()).unwrap();
    // What the earlier version's store did: no more than to keep and count it.
    home.execute_batch("CREATE TRIGGER earlier BEFORE INSERT ON voided BEGIN SELECT RAISE(ABORT, 'earlier'); END")
        .unwrap();
    let mut link = Link::open(&mut phone);
    let gave_up = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| while link.step(&mut phone, &mut hub) {}));
    assert!(gave_up.is_err(), "the session could not take it");
    assert_eq!(phone.store.status().unwrap().unapplied, 1);
    assert_eq!(sets(&phone, id), [1, 2, 3, 4]);
    home.execute_batch("DROP TRIGGER earlier").unwrap();
    phone.restart();
    assert_eq!(phone.store.status().unwrap().unapplied, 0);
    phone.sync(&mut hub);
    assert_eq!(sets(&phone, id), [1, 3]);
}

/// What an operator replays: the change of a set is written again by somebody else, and is what it was.
#[test]
fn a_change_written_again_does_what_it_did() {
    let mut phone = Device::new("phone", 6);
    let id = phone.log(Collection::Workouts, json!({ "start": MORNING, "exercises": [{ "name": "Squat" }] }));
    phone.edit(id, json!({ "title": "Legs" }));
    log_set(&mut phone, id, 8);
    let whole = phone.record(id);
    let file = phone.store.archived(id).unwrap().unwrap();
    let chunks = change::split(&file).unwrap();
    let facts = |chunk: &[u8]| change::read(chunk).unwrap().facts;
    let title = facts(chunks[1]).hash;
    let again = void::written_again(chunks.iter().copied(), title, ActorId([5; 16]), MORNING).unwrap();
    let read = change::read(&again).unwrap();
    record::check_change(Collection::Workouts, id, &read).unwrap();
    assert_eq!((read.facts.actor, read.facts.actor_seq), (ActorId([5; 16]), 1));
    assert_eq!(read.facts.deps, [facts(chunks[0]).hash], "the set was built on the title and is left out with it");
    // The set, which makes things of its own.
    let again = void::written_again(chunks.iter().copied(), facts(chunks[2]).hash, ActorId([5; 16]), MORNING).unwrap();
    let doc = merge::assemble([chunks[0], chunks[1], again.as_slice()]).unwrap();
    assert_eq!(record::project(&doc, Collection::Workouts).record, whole);
    let unknown = void::written_again(chunks.iter().copied(), ChangeHash([1; 32]), ActorId([5; 16]), MORNING);
    assert!(unknown.is_err());
}

/// Far behind, devices get the record as it is now; that something was taken out of it they are told as well, in the end.
#[test]
fn a_void_reaches_devices_that_are_far_behind() {
    for (n, unsent) in [(0, false), (1, true)] {
        let mut hub = Hub::new();
        let (mut phone, mut tablet, id, bad) = quarantined(&mut hub, 70 + n);
        if unsent {
            // Offline, on top of what is not there any more.
            log_set(&mut tablet, id, 5);
        }
        hub.void(id, bad, false);
        hub.bootstrap_from = 0;
        sync_all(&mut hub, &mut [&mut phone, &mut tablet]);
        let mut watch = Device::new("watch", 70 + n);
        watch.sign_in(&hub);
        sync_all(&mut hub, &mut [&mut watch, &mut phone, &mut tablet]);
        let expected = if unsent { vec![1, 3, 4, 5] } else { vec![1, 3, 4] };
        for device in [&phone, &tablet, &watch] {
            assert_eq!(sets(device, id), expected, "{}", device.name);
            assert_eq!(device.store.status().unwrap().unapplied, 0, "{}", device.name);
            assert_converged(device, &watch);
        }
        let refused = phone.store.rejected().unwrap();
        assert_eq!(refused.iter().map(|write| write.code.as_str()).collect::<Vec<_>>(), ["voided"]);
        assert_eq!(tablet.store.status().unwrap().rejected, 0);
        hub.assert_nothing_doubled();
    }
}

/// The very first change was taken out: there is no record any more, and its author has all of it.
#[test]
fn a_record_that_was_taken_out_whole_is_nowhere_but_with_its_author() {
    for bootstrap_from in [0, u64::MAX] {
        let mut hub = Hub::new();
        let mut phone = Device::new("phone", 80);
        phone.sign_in(&hub);
        let id = phone.log(Collection::Moods, json!({ "at": MORNING, "valence": 1 }));
        let bad = phone.now_ms;
        phone.edit(id, json!({ "note": "slept well" }));
        hub.merged = Some(0);
        phone.sync(&mut hub);
        hub.void(id, bad, false);
        hub.bootstrap_from = bootstrap_from;
        let mut watch = Device::new("watch", 80);
        watch.sign_in(&hub);
        sync_all(&mut hub, &mut [&mut phone, &mut watch]);
        for device in [&phone, &watch] {
            assert_eq!(device.store.heads().unwrap(), [], "{}", device.name);
            assert!(device.list(Collection::Moods).is_empty(), "{}", device.name);
        }
        let codes: Vec<_> = phone.store.rejected().unwrap().into_iter().map(|write| write.code).collect();
        assert_eq!(codes, ["voided", "not_replayed"]);
    }
}
