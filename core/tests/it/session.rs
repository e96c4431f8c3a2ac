//! Sessions of both ends: what arrives, in which order, through which cuts.

use fitme_core::collection::Collection;
use fitme_core::limits;
use fitme_core::record::{self, Scalar, Unit};
use fitme_core::store::Imported;
use fitme_core::wire::{self, Frame, Token, WireError};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::hub::{Device, Hub, Link, assert_converged, profile, random_command, workout};

#[test]
fn what_the_phone_logs_offline_is_on_the_tablet_after_both_have_synced() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = (Device::new("phone", 1), Device::new("tablet", 1));
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sign_in(&hub);
    tablet.sign_in(&hub);
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.record(id)["title"], "Legs");
    assert_converged(&phone, &tablet);
}

#[test]
fn both_edit_the_same_workout_offline_and_both_edits_survive() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = (Device::new("phone", 2), Device::new("tablet", 2));
    phone.sign_in(&hub);
    tablet.sign_in(&hub);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    phone.edit(id, json!({ "session_rpe": 8 }));
    tablet.edit(
        id,
        json!({ "exercises": [{ "name": "Lunge", "sets": [{ "reps": 12, "load": "40 lb", "kind": "work" }] }] }),
    );
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    phone.sync(&mut hub);
    assert_converged(&phone, &tablet);
    let record = phone.record(id);
    assert_eq!(record["session_rpe"], json!(8));
    assert_eq!(record["exercises"].as_array().unwrap().len(), 2);
    assert_eq!(record["exercises"][1]["sets"][0]["load"]["unit"], "lb");
}

#[test]
fn a_field_that_both_set_differently_is_listed_with_both_values() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = (Device::new("phone", 3), Device::new("tablet", 3));
    phone.sign_in(&hub);
    tablet.sign_in(&hub);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    phone.edit(id, json!({ "title": "Leg day", "session_rpe": 7 }));
    tablet.edit(id, json!({ "title": "Squats", "session_rpe": 7 }));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    phone.sync(&mut hub);
    let conflicts = phone.store.show(id).unwrap().unwrap().conflicts;
    assert_eq!(conflicts.len(), 1, "equal values are no conflict: {conflicts:?}");
    assert_eq!(conflicts[0].field, "title");
    assert_eq!(conflicts[0].values.len(), 2);
    assert_converged(&phone, &tablet);
}

/// Two homes in different zones, with different importer versions, never met: they fill different fields of the profile,
/// import the same file and edit different laps of it. Then both sign in to one account.
#[test]
fn two_homes_that_never_met_make_one_profile_and_one_workout() {
    let mut hub = Hub::new();
    let (mut berlin, mut boston) = (Device::new("berlin", 4), Device::new("boston", 4));
    let id = record::imported_id(&[5; 32], 0, 0);
    let metres = |value| Scalar::Quantity { value, unit: Unit::M };
    let steps = [
        vec![
            ("start".to_owned(), Scalar::Time(crate::hub::MORNING)),
            ("endurance/sport".to_owned(), Scalar::Text("cycling".to_owned())),
            ("laps/0/distance".to_owned(), metres(1000.0)),
            ("laps/1/distance".to_owned(), metres(1200.0)),
        ],
        vec![("laps/0/average_heart_rate".to_owned(), Scalar::Int(131))],
    ];
    for (home, zone, known_steps) in [(&mut berlin, "Europe/Berlin", 1), (&mut boston, "America/New_York", 2)] {
        let imported = Imported {
            file_hash: [5; 32],
            session: 0,
            steps: steps[..known_steps].to_vec(),
            zone_guess: Some(zone.to_owned()),
        };
        home.store.import(&[], &[imported], home.now_ms, &mut home.rng).unwrap();
    }
    berlin.log(Collection::Profile, json!({ "name": "Ann" }));
    boston.log(Collection::Profile, json!({ "height": "5.6 ft" }));
    berlin.edit(id, json!({ "laps": [{ "id": "0", "distance": "1010 m" }] }));
    boston.edit(id, json!({ "laps": [{ "id": "1", "distance": "1190 m" }] }));
    berlin.sign_in(&hub);
    boston.sign_in(&hub);
    for home in [&mut berlin, &mut boston] {
        home.sync(&mut hub);
    }
    berlin.sync(&mut hub);
    assert_converged(&berlin, &boston);
    assert_eq!((berlin.list(Collection::Profile).len(), berlin.list(Collection::Workouts).len()), (1, 1));
    let person = berlin.record(profile());
    assert_eq!((&person["name"], &person["height"]["unit"]), (&json!("Ann"), &json!("ft")));
    let ride = berlin.store.show(id).unwrap().unwrap();
    let laps = ride.record["laps"].as_array().unwrap();
    assert_eq!((&laps[0]["distance"]["value"], &laps[1]["distance"]["value"]), (&json!(1010), &json!(1190)));
    assert_eq!(laps[0]["average_heart_rate"], 131);
    assert!(ride.conflicts.is_empty(), "{:?}", ride.conflicts);
    assert!(berlin.store.show(profile()).unwrap().unwrap().conflicts.is_empty());
}

#[test]
fn a_reconnect_with_nothing_new_is_one_small_round_trip() {
    let mut hub = Hub::new();
    let mut phone = Device::new("phone", 5);
    phone.sign_in(&hub);
    for n in 0..40 {
        phone.log(Collection::Moods, json!({ "at": crate::hub::MORNING + n, "valence": 1 }));
    }
    phone.sync(&mut hub);
    let mut link = Link::open(&mut phone);
    let mut messages = 0;
    while link.step(&mut phone, &mut hub) {
        messages += 1;
    }
    assert!(link.synced);
    assert_eq!(messages, 2, "Hello and Welcome");
    assert!(link.bytes <= 300, "{} bytes", link.bytes);
}

/// I5: entries of a later version's kind, and bytes that are no change, are kept as they came; the batch goes on, and
/// receiving them again, also from the first entry on, stores nothing twice.
#[test]
fn what_cannot_be_applied_is_kept_counted_and_passed_over() {
    let mut hub = Hub::new();
    let mut phone = Device::new("phone", 7);
    phone.sign_in(&hub);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sync(&mut hub);
    hub.append_unreadable("workouts", id);
    let mut tablet = Device::new("tablet", 7);
    tablet.sign_in(&hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.store.status().unwrap().unapplied, 2);
    assert_eq!(tablet.record(id)["title"], "Legs");
    let cursor = |device: &Device| device.store.own_feeds().unwrap().iter().map(|feed| feed.cursor).sum::<u64>();
    assert_eq!(cursor(&tablet), 3);
    hub.renew_epochs();
    tablet.sync(&mut hub);
    assert_eq!((cursor(&tablet), tablet.store.status().unwrap().unapplied), (3, 2));
    tablet.edit(id, json!({ "title": "Legs again" }));
    tablet.sync(&mut hub);
    assert_eq!(tablet.store.status().unwrap().pending, 0);
}

/// I5: a flash cell went bad under one document. What others write into it is kept, and everything else arrives.
#[test]
fn a_damaged_document_does_not_stop_the_others_from_arriving() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = (Device::new("phone", 9), Device::new("tablet", 9));
    phone.sign_in(&hub);
    tablet.sign_in(&hub);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    tablet.restart();
    rusqlite::Connection::open(tablet.path())
        .unwrap()
        .execute("UPDATE entries SET payload = CAST(substr(payload, 1, length(payload) - 1) || x'ff' AS BLOB)", [])
        .unwrap();
    phone.edit(id, json!({ "title": "Legs and more" }));
    let other = phone.log(Collection::Workouts, workout("Arms"));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.record(other)["title"], "Arms");
    assert!(tablet.store.show(id).is_err());
    assert_eq!(tablet.store.status().unwrap().unapplied, 1);
    hub.renew_epochs();
    tablet.sync(&mut hub);
    assert_eq!(tablet.store.status().unwrap().unapplied, 1, "receiving it again stores nothing twice");
}

/// The home was copied to a second device: the server names an entry of the shared actor that one of them does not hold,
/// and from then on it writes with an actor of its own, so that nothing forks.
#[test]
fn a_cloned_home_draws_a_new_actor_before_it_can_fork() {
    let mut hub = Hub::new();
    let mut phone = Device::new("phone", 8);
    phone.sign_in(&hub);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sync(&mut hub);
    let mut clone = phone.cloned("clone");
    phone.edit(id, json!({ "title": "Phone" }));
    phone.sync(&mut hub);
    let shared = clone.store.actor().unwrap();
    clone.sync(&mut hub);
    assert_ne!(clone.store.actor().unwrap(), shared);
    clone.edit(id, json!({ "note": "from the clone" }));
    clone.sync(&mut hub);
    phone.sync(&mut hub);
    assert_converged(&phone, &clone);
    assert_eq!(phone.record(id)["note"], "from the clone");
    assert_eq!(phone.store.status().unwrap().rejected + clone.store.status().unwrap().rejected, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// I4, I5 and I7: three devices write at random and sync over connections that are cut anywhere; at the end of
    /// good connections all hold the same documents, heads and records, and nothing is on the server twice.
    #[test]
    fn i5_i7_cuts_anywhere_lose_and_double_nothing(seed in 0u64..1_000_000, rounds in 2usize..7) {
        let mut hub = Hub::new();
        let mut devices = [Device::new("phone", seed), Device::new("tablet", seed), Device::new("watch", seed)];
        let mut dice = StdRng::seed_from_u64(seed);
        let mut known = Vec::new();
        let mut entries = 0;
        for device in &mut devices {
            device.sign_in(&hub);
        }
        for _ in 0..rounds {
            for device in &mut devices {
                let here: Vec<_> = device.store.heads().unwrap().into_iter().map(|(id, _)| id).collect();
                for _ in 0..rand::Rng::random_range(&mut dice, 0..4) {
                    let command = random_command(&mut dice, &here);
                    let written = device.store.write(&command, device.now_ms, &mut device.rng).unwrap();
                    entries += usize::from(written.changed);
                    known.push(written.doc_id);
                }
                device.sync_cut_after(&mut hub, rand::Rng::random_range(&mut dice, 0..9));
                if rand::Rng::random_bool(&mut dice, 0.3) {
                    device.restart();
                }
            }
        }
        for _ in 0..2 {
            for device in &mut devices {
                device.sync(&mut hub);
            }
        }
        prop_assert_eq!(hub.lengths().into_iter().sum::<usize>(), entries);
        assert_converged(&devices[0], &devices[1]);
        assert_converged(&devices[0], &devices[2]);
        for device in &devices {
            prop_assert_eq!(device.store.status().unwrap().pending, 0);
            for id in &known {
                prop_assert!(device.store.show(*id).unwrap().is_some());
            }
        }
    }
}

#[test]
fn a_token_of_1024_bytes_is_read_one_of_a_byte_more_is_not_and_neither_is_printed() {
    let renew = |bytes: usize| wire::encode(&Frame::Renew(Token("t".repeat(bytes)))).unwrap();
    let read = wire::decode(&renew(limits::TOKEN_BYTES)).unwrap().unwrap();
    assert_eq!(format!("{read:?}"), "Renew(Token(hidden))");
    assert!(matches!(wire::decode(&renew(limits::TOKEN_BYTES + 1)), Err(WireError::TooMany { .. })));
}
