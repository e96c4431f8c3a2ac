//! What the server refuses leaves its document, and what was written on top of it goes on without it (I3, I9).

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{Command, Store, Sync, WriteError};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::hub::{Device, Hub, Link, MORNING, assert_converged, profile, workout};

/// Two devices of one account, with an empty workout on both.
fn two_devices(hub: &mut Hub, seed: u64) -> (Device, Device, DocId) {
    let (mut phone, mut tablet) = (Device::new("phone", seed), Device::new("tablet", seed));
    phone.sign_in(hub);
    tablet.sign_in(hub);
    let id = phone.log(Collection::Workouts, json!({ "start": MORNING, "exercises": [{ "name": "Squat" }] }));
    phone.sync(hub);
    tablet.sync(hub);
    (phone, tablet, id)
}

fn log_set(device: &mut Device, id: DocId, reps: i64) {
    let squat = device.record(id)["exercises"][0]["id"].clone();
    let set = json!({ "reps": reps, "load": "100 kg", "kind": "work" });
    device.edit(id, json!({ "exercises": [{ "id": squat, "sets": [set] }] }));
}

fn reps(device: &Device, id: DocId) -> Vec<i64> {
    let sets = device.record(id)["exercises"][0]["sets"].clone();
    sets.as_array().into_iter().flatten().map(|set| set["reps"].as_i64().unwrap()).collect()
}

fn refused(device: &Device) -> Vec<(String, Value)> {
    device.store.rejected().unwrap().into_iter().map(|write| (write.code, write.command)).collect()
}

/// I9: the server refuses the fifth of 24 sets that were logged one by one; the others are everywhere, once and in order.
#[test]
fn refusing_set_5_of_24_keeps_sets_6_to_24() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id) = two_devices(&mut hub, 1);
    for set in 1..=24 {
        log_set(&mut phone, id, set);
        if set == 5 {
            hub.refuse_at.insert(phone.now_ms, "bad_content");
        }
    }
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    let kept: Vec<_> = (1..=24).filter(|set| *set != 5).collect();
    assert_eq!(reps(&phone, id), kept);
    assert_eq!(reps(&tablet, id), kept);
    assert_converged(&phone, &tablet);
    let refused = refused(&phone);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, "bad_content");
    assert_eq!(refused[0].1["patch"]["exercises"][0]["sets"][0]["reps"], 5, "what was typed is kept");
    let status = phone.store.status().unwrap();
    assert_eq!((status.pending, status.waiting, status.rejected), (0, 0, 1));
    // And on: the phone writes under the actor that it drew for this workout.
    log_set(&mut phone, id, 25);
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(reps(&tablet, id).last(), Some(&25));
    assert_eq!(phone.store.status().unwrap().rejected, 1);
}

/// The table of refused writes had grown, and the recovery of a spoilt home put rows of the old width into it: a home with
/// anything refused in it could not be recovered.
#[test]
fn what_was_refused_is_still_there_when_a_spoilt_home_was_replaced() {
    let mut hub = Hub::new();
    let (mut phone, _tablet, id) = two_devices(&mut hub, 21);
    log_set(&mut phone, id, 5);
    hub.refuse_at.insert(phone.now_ms, "bad_content");
    phone.sync(&mut hub);
    let before = refused(&phone);
    assert_eq!(before.len(), 1);
    let salvaged = Store::salvage(&phone.path(), "test", MORNING, &mut StdRng::seed_from_u64(22)).unwrap();
    assert!(salvaged.is_complete && salvaged.has_account, "{salvaged:?}");
    phone.restart();
    assert_eq!(refused(&phone), before);
}

/// The sets are written again with the ids that they had, so that what was corrected by its id is still found.
#[test]
fn what_was_corrected_by_its_id_is_corrected_again() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id) = two_devices(&mut hub, 2);
    phone.edit(id, json!({ "title": "refused" }));
    hub.refuse_at.insert(phone.now_ms, "bad_content");
    log_set(&mut phone, id, 8);
    let squat = phone.record(id)["exercises"][0].clone();
    let correction = json!({ "id": squat["sets"][0]["id"], "reps": 9 });
    phone.edit(id, json!({ "exercises": [{ "id": squat["id"], "sets": [correction] }] }));
    let before = phone.store.history(id).unwrap();
    let state = before[before.len() - 2].hash.to_string();
    phone.edit(id, json!({ "note": "too much" }));
    phone.write(&Command::RestoreTo { doc_id: id, state });
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(phone.store.status().unwrap().rejected, 1, "{:?}", refused(&phone));
    assert_eq!((reps(&tablet, id), &tablet.record(id)["note"]), (vec![8], &json!(null)));
    assert_converged(&phone, &tablet);
    let now = phone.store.history(id).unwrap();
    assert_eq!(now.last().unwrap().time_ms, phone.now_ms, "each is from when it was written");
}

#[test]
fn what_changes_a_set_that_was_refused_is_handed_over_too() {
    let mut hub = Hub::new();
    let (mut phone, _, id) = two_devices(&mut hub, 3);
    log_set(&mut phone, id, 8);
    hub.refuse_at.insert(phone.now_ms, "bad_content");
    let squat = phone.record(id)["exercises"][0].clone();
    let correction = json!({ "id": squat["sets"][0]["id"], "reps": 9 });
    phone.edit(id, json!({ "exercises": [{ "id": squat["id"], "sets": [correction] }] }));
    phone.edit(id, json!({ "note": "good" }));
    phone.sync(&mut hub);
    let rejected = phone.store.rejected().unwrap();
    let codes: Vec<_> = rejected.iter().map(|write| write.code.as_str()).collect();
    assert_eq!(codes, ["bad_content", "not_replayed"]);
    assert!(rejected[1].message.contains("names the item"), "{}", rejected[1].message);
    assert_eq!(rejected[1].record["exercises"][0]["sets"][0]["reps"], 9, "as it was on this device");
    assert_eq!((reps(&phone, id), &phone.record(id)["note"]), (Vec::new(), &json!("good")));
}

/// A record that may not be written at all comes back whole, command by command; everything else goes on.
#[test]
fn a_code_that_denies_the_record_hands_over_all_of_it_and_stops_nothing_else() {
    let mut hub = Hub::new();
    let mut phone = Device::new("phone", 4);
    phone.sign_in(&hub);
    let bad = phone.log(Collection::Workouts, workout("Refused"));
    let good = phone.log(Collection::Workouts, workout("Fine"));
    phone.edit(bad, json!({ "note": "later" }));
    hub.refuse_at.insert(MORNING + 1_000, "document_full");
    phone.sync(&mut hub);
    let rejected = phone.store.rejected().unwrap();
    let codes: Vec<_> = rejected.iter().map(|write| (write.doc_id, write.code.as_str())).collect();
    assert_eq!(codes, [(bad, "document_full"); 2]);
    assert_eq!(rejected[0].record["title"], "Refused");
    assert_eq!(rejected[0].command["do"], "create");
    assert!(phone.store.show(bad).unwrap().is_none(), "nothing of it was accepted");
    assert_eq!(phone.store.status().unwrap().pending, 0);
    let states: Vec<_> = phone.list(Collection::Workouts).into_iter().map(|row| (row.doc_id, row.sync)).collect();
    assert_eq!(states, [(good, Sync::Synced)]);
}

/// Of a record that is there, what was accepted stays.
#[test]
fn what_was_accepted_of_a_denied_record_stays_and_can_be_edited_again() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id) = two_devices(&mut hub, 5);
    hub.refuse.insert(id, "account_full");
    phone.edit(id, json!({ "title": "one" }));
    phone.edit(id, json!({ "note": "two" }));
    phone.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_eq!(phone.store.status().unwrap().rejected, 2);
    hub.refuse.clear();
    phone.edit(id, json!({ "title": "three" }));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.record(id)["title"], "three");
    assert_converged(&phone, &tablet);
}

/// The profile is made by rule, and edited: what is made again has the same id.
#[test]
fn a_refused_profile_is_made_again_by_the_next_edit_of_it() {
    let mut hub = Hub::new();
    let mut phone = Device::new("phone", 6);
    phone.log(Collection::Profile, json!({ "name": "Ann" }));
    phone.sign_in(&hub);
    hub.refuse.insert(profile(), "account_full");
    phone.sync(&mut hub);
    assert_eq!(refused(&phone).len(), 1, "a genesis change is nobody's");
    assert!(phone.store.show(profile()).unwrap().is_none());
    hub.refuse.clear();
    phone.log(Collection::Profile, json!({ "name": "Ann B." }));
    phone.sync(&mut hub);
    let mut tablet = Device::new("tablet", 6);
    tablet.sign_in(&hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.record(profile())["name"], "Ann B.");
    assert_converged(&phone, &tablet);
}

/// The background process has the workout open while the app syncs: it must see what became of it, and must not use
/// numbers again that its own refused changes had.
#[test]
fn another_process_of_the_home_sees_the_rebased_workout() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id) = two_devices(&mut hub, 7);
    let mut rng = StdRng::seed_from_u64(7);
    let mut background = Store::open(&phone.path(), "background", &mut rng).unwrap();
    let edit = |patch| Command::Edit { doc_id: id, patch };
    background.write(&edit(json!({ "title": "refused" })), MORNING + 1, &mut rng).unwrap();
    hub.refuse_at.insert(MORNING + 1, "bad_content");
    background.write(&edit(json!({ "note": "kept" })), MORNING + 2, &mut rng).unwrap();
    phone.edit(id, json!({ "session_rpe": 7 }));
    phone.sync(&mut hub);
    background.write(&edit(json!({ "end": MORNING + 9 })), MORNING + 3, &mut rng).unwrap();
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
    let record = tablet.record(id);
    assert_eq!(
        (&record["title"], &record["note"], &record["session_rpe"], &record["end"]),
        (&json!(null), &json!("kept"), &json!(7), &json!(MORNING + 9))
    );
    assert_eq!(background.heads().unwrap(), tablet.store.heads().unwrap());
    assert_eq!(phone.store.status().unwrap().rejected, 1);
}

/// Receipts are lost wherever the connection breaks; what was refused is refused again, handed over once, and nothing is on
/// the server twice.
#[test]
fn a_cut_anywhere_around_a_refusal_doubles_nothing() {
    for cut in 0..12 {
        let mut hub = Hub::new();
        let (mut phone, mut tablet, id) = two_devices(&mut hub, 8);
        for set in 1..=9 {
            log_set(&mut phone, id, set);
            if set % 3 == 0 {
                hub.refuse_at.insert(phone.now_ms, "bad_content");
            }
        }
        phone.sync_cut_after(&mut hub, cut);
        phone.restart();
        phone.sync(&mut hub);
        tablet.sync(&mut hub);
        assert_eq!(reps(&phone, id), [1, 2, 4, 5, 7, 8], "cut after {cut} messages");
        assert_converged(&phone, &tablet);
        assert_eq!(refused(&phone).len(), 3, "cut after {cut} messages");
    }
}

/// I11: the phone was restored from a backup and edited before it met the server again, so that two changes have the same
/// actor and number. Its own edit is written again by another actor, and what it had before arrives.
#[test]
fn a_restored_phone_that_wrote_on_loses_and_doubles_nothing() {
    let mut hub = Hub::new();
    let (mut phone, _, id) = two_devices(&mut hub, 9);
    log_set(&mut phone, id, 1);
    let mut restored = phone.cloned("phone");
    log_set(&mut phone, id, 2);
    phone.sync(&mut hub);
    restored.now_ms += 60_000;
    log_set(&mut restored, id, 3);
    restored.sync(&mut hub);
    restored.sync(&mut hub);
    phone.sync(&mut hub);
    let mut found = reps(&restored, id);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3]);
    assert_converged(&phone, &restored);
    let status = restored.store.status().unwrap();
    assert_eq!((status.pending, status.rejected, status.unapplied), (0, 0, 0), "{:?}", refused(&restored));
}

/// I7: the same, and the tablet had built on what the phone wrote before it was restored. That could not be applied either; it lay
/// in the restored phone's workout unseen, was not counted, and was gone with the rebase, for ever. Found by the simulator.
#[test]
fn what_others_built_on_a_fork_is_there_after_the_rebase() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id) = two_devices(&mut hub, 12);
    let mut restored = phone.cloned("phone");
    log_set(&mut phone, id, 1);
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    log_set(&mut tablet, id, 2);
    tablet.sync(&mut hub);
    restored.now_ms += 60_000;
    log_set(&mut restored, id, 3);
    restored.sync(&mut hub);
    log_set(&mut tablet, id, 4);
    tablet.sync(&mut hub);
    restored.sync(&mut hub);
    tablet.sync(&mut hub);
    let mut found = reps(&restored, id);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4]);
    assert_converged(&tablet, &restored);
    let status = restored.store.status().unwrap();
    assert_eq!((status.pending, status.rejected, status.unapplied), (0, 0, 0), "{:?}", refused(&restored));
}

/// A server that refuses the place of a change whatever it is must not be asked for ever.
#[test]
fn what_is_refused_for_its_place_again_and_again_is_handed_over() {
    let mut hub = Hub::new();
    let (mut phone, _, id) = two_devices(&mut hub, 10);
    hub.refuse.insert(id, "actor_gap");
    log_set(&mut phone, id, 1);
    let mut link = Link::open(&mut phone);
    let messages = (0..).take_while(|_| link.step(&mut phone, &mut hub)).count();
    assert!(link.synced && messages < 20, "{messages}");
    assert_eq!(refused(&phone)[0].0, "actor_gap");
    assert_eq!(reps(&phone, id), [] as [i64; 0]);
}

/// An earlier version left the refused change in the record, with what came later waiting beside it.
#[test]
fn a_home_in_which_an_earlier_version_left_refused_changes_is_rebased_when_it_opens() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, id) = two_devices(&mut hub, 11);
    phone.edit(id, json!({ "title": "refused" }));
    phone.edit(id, json!({ "note": "kept" }));
    let home = Connection::open(phone.path()).unwrap();
    home.execute_batch(
        "INSERT INTO rejected (n, doc_id, collection, code, message, rejected_at, command, record)
           SELECT min(n), doc_id, 'workouts', 'bad_content', 'No.', 0, command, 'null' FROM outbox WHERE state = 0;
         DELETE FROM outbox WHERE n = (SELECT n FROM rejected);
         UPDATE outbox SET state = 2; UPDATE documents SET blocked = 1, version = version + 1;",
    )
    .unwrap();
    phone.restart();
    assert_eq!((&phone.record(id)["title"], &phone.record(id)["note"]), (&json!(null), &json!("kept")));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.record(id)["note"], "kept");
    assert_converged(&phone, &tablet);
    assert_eq!(refused(&phone).len(), 1);
}

/// A record of which nothing was accepted is not here: an edit of it says so.
#[test]
fn a_record_that_was_refused_whole_cannot_be_edited() {
    let mut hub = Hub::new();
    let mut phone = Device::new("phone", 12);
    phone.sign_in(&hub);
    let id = phone.log(Collection::Workouts, workout("Refused"));
    hub.refuse.insert(id, "too_many_records");
    phone.sync(&mut hub);
    let edit = Command::Edit { doc_id: id, patch: json!({ "title": "again" }) };
    assert!(matches!(phone.store.write(&edit, MORNING, &mut phone.rng), Err(WriteError::NotFound(_))));
}

/// What was handed over of a record is written again in its order, and is the record that it was.
#[test]
fn what_was_refused_whole_is_retried_whole() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet, _) = two_devices(&mut hub, 13);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    let squat = phone.record(id)["exercises"][0].clone();
    let correction = json!({ "id": squat["sets"][0]["id"], "reps": 6 });
    phone.edit(id, json!({ "exercises": [{ "id": squat["id"], "sets": [correction] }] }));
    let before = phone.record(id);
    hub.refuse.insert(id, "account_full");
    phone.sync(&mut hub);
    assert!(phone.store.show(id).unwrap().is_none());
    let refused = phone.store.all_rejected().unwrap();
    let late = phone.store.retry_rejected(refused[1].key, MORNING, &mut phone.rng);
    assert!(matches!(late, Err(WriteError::NotFound(_))), "the first one first");
    hub.refuse.clear();
    for write in &refused {
        let retried = phone.store.retry_rejected(write.key, phone.now_ms, &mut phone.rng).unwrap();
        assert_eq!(retried.doc_id, id);
    }
    assert_eq!(phone.record(id), before);
    assert!(phone.store.all_rejected().unwrap().is_empty());
    let again = phone.store.retry_rejected(refused[0].key, MORNING, &mut phone.rng);
    assert!(matches!(again, Err(WriteError::NotRefused)));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.record(id), before);
    assert_converged(&phone, &tablet);
}

/// One that is discarded is gone, to the last byte, and the rest is as it was.
#[test]
fn what_is_discarded_is_in_no_file_any_more() {
    const MARKER: &str = "zanzibar-refused";
    let mut hub = Hub::new();
    let (mut phone, _, id) = two_devices(&mut hub, 14);
    phone.edit(id, json!({ "note": MARKER }));
    hub.refuse_at.insert(phone.now_ms, "bad_content");
    phone.edit(id, json!({ "title": "Legs" }));
    phone.sync(&mut hub);
    assert!(!phone.files_with(MARKER).is_empty(), "it stays with who wrote it");
    let refused = phone.store.all_rejected().unwrap();
    assert!(phone.store.discard_rejected(refused[0].key).unwrap());
    assert_eq!(phone.files_with(MARKER), [] as [std::path::PathBuf; 0]);
    assert!(!phone.store.discard_rejected(refused[0].key).unwrap());
    assert_eq!(phone.record(id)["title"], "Legs");
}
