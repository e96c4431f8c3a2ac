//! Erasure on devices (I10): nothing of the content stays in any of their files, digests go on, ids are refused, and what was
//! written elsewhere meanwhile stays with its writer.

use fitme_core::collection::Collection;
use fitme_core::store::{Command, Imported, Original, WriteError};
use fitme_core::{record, wire};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::hub::{Device, Hub, MORNING, assert_converged, random_command};

const MARKER: &str = "zanzibarquilt";

fn two_devices(hub: &Hub, seed: u64) -> (Device, Device) {
    let (mut phone, mut tablet) = (Device::new("phone", seed), Device::new("tablet", seed));
    phone.sign_in(hub);
    tablet.sign_in(hub);
    (phone, tablet)
}

/// A note is an operation a letter; a tag is found in files as it is.
fn mood(words: &str) -> serde_json::Value {
    json!({ "at": MORNING, "valence": 1, "note": words, "tags": [words] })
}

/// The home's epochs: a repair would give a feed a new one.
fn epochs(device: &mut Device) -> Vec<fitme_core::id::Epoch> {
    device.store.feeds().unwrap().iter().map(|feed| feed.epoch).collect()
}

#[test]
fn what_the_phone_erases_is_in_no_file_of_phone_tablet_and_a_new_device() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 1);
    let id = phone.log(Collection::Moods, mood(MARKER));
    for n in 0..60 {
        // Enough history that the snapshot was folded and pages were split around it.
        phone.edit(id, json!({ "note": format!("{MARKER} {n} {}", "more words ".repeat(30)) }));
        phone.log(Collection::Moods, mood(&format!("another one {n}")));
    }
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert!(!phone.files_with(MARKER).is_empty() && !tablet.files_with(MARKER).is_empty());

    let before = epochs(&mut tablet);
    phone.erase(id);
    assert_eq!(phone.files_with(MARKER), [] as [std::path::PathBuf; 0], "before any network");
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.files_with(MARKER), [] as [std::path::PathBuf; 0]);
    assert_eq!(tablet.store.show(id).unwrap(), None);
    assert_eq!(tablet.list(Collection::Moods).len(), 60);
    assert_converged(&phone, &tablet);
    assert_eq!(epochs(&mut tablet), before, "no repair");

    let mut watch = Device::new("watch", 1);
    watch.sign_in(&hub);
    watch.sync(&mut hub);
    assert_converged(&phone, &watch);
    assert_eq!(epochs(&mut watch), before);
    assert!(matches!(
        watch.store.write(&Command::Edit { doc_id: id, patch: json!({ "valence": 2 }) }, MORNING, &mut watch.rng),
        Err(WriteError::Erased(_))
    ));
}

#[test]
fn an_edit_that_the_tablet_made_offline_is_refused_kept_and_gone_when_it_is_discarded() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 2);
    let id = phone.log(Collection::Moods, mood("fine"));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    tablet.edit(id, json!({ "note": MARKER }));
    tablet.edit(id, json!({ "valence": -2 }));
    phone.erase(id);
    phone.sync(&mut hub);

    let before = epochs(&mut tablet);
    tablet.sync(&mut hub);
    assert_eq!(epochs(&mut tablet), before, "no repair");
    let refused = tablet.store.rejected().unwrap();
    let codes: Vec<_> = refused.iter().map(|write| (write.doc_id, write.code.as_str())).collect();
    assert_eq!(codes, [(id, wire::ERASED); 2]);
    assert_eq!(refused[0].command["patch"]["note"], MARKER);
    let status = tablet.store.status().unwrap();
    assert_eq!((status.pending, status.waiting, status.rejected), (0, 0, 2));
    assert!(!tablet.files_with(MARKER).is_empty(), "it stays with who wrote it");
    assert_converged(&phone, &tablet);

    for write in tablet.store.all_rejected().unwrap() {
        assert!(tablet.store.discard_rejected(write.key).unwrap());
    }
    assert_eq!(tablet.files_with(MARKER), [] as [std::path::PathBuf; 0]);
    tablet.sync(&mut hub);
    assert_eq!(tablet.store.status().unwrap().rejected, 0);
}

#[test]
fn both_erase_the_same_record_offline_and_one_erasure_counts() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 4);
    let id = phone.log(Collection::Moods, mood("fine"));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    phone.erase(id);
    tablet.erase(id);
    for device in [&mut phone, &mut tablet] {
        device.sync(&mut hub);
    }
    phone.sync(&mut hub);
    assert_eq!(hub.lengths().into_iter().sum::<usize>(), 2);
    for device in [&phone, &tablet] {
        let status = device.store.status().unwrap();
        assert_eq!((status.pending, status.rejected), (0, 0));
    }
    assert_converged(&phone, &tablet);
}

#[test]
fn a_profile_that_is_made_anew_is_the_next_generation_on_every_device() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 5);
    let first = phone.log(Collection::Profile, json!({ "name": MARKER }));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    phone.erase(first);
    let next = phone.log(Collection::Profile, json!({ "name": "Ann" }));
    assert_eq!((first, next), (record::profile_id(0), record::profile_id(1)));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    assert_eq!(tablet.store.profile_id().unwrap(), next);
    assert_eq!(tablet.log(Collection::Profile, json!({ "height": "170 cm" })), next);
    tablet.sync(&mut hub);
    phone.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_eq!((phone.record(next)["name"].as_str(), phone.list(Collection::Profile).len()), (Some("Ann"), 1));
    assert!(phone.files_with(MARKER).is_empty() && tablet.files_with(MARKER).is_empty());
}

#[test]
fn an_imported_workout_takes_its_file_along_and_comes_back_as_the_next_generation() {
    let mut phone = Device::new("phone", 6);
    let bytes = MARKER.repeat(9).into_bytes();
    let hash = *blake3::hash(&bytes).as_bytes();
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = |text: &str| record::Scalar::Text(text.to_owned());
    let step = vec![
        ("start".to_owned(), record::Scalar::Time(MORNING)),
        ("endurance/sport".to_owned(), text("cycling")),
        ("source/file_hash".to_owned(), text(&hex)),
    ];
    let imported = Imported { file_hash: hash, session: 0, steps: vec![step], zone_guess: None };
    let original = Original { hash: &hash, name: "ride.fit", bytes: &bytes };
    let import = |phone: &mut Device| {
        let imported = std::slice::from_ref(&imported);
        phone.store.import(&[original], imported, MORNING, &mut phone.rng).unwrap()[0].0
    };
    let first = import(&mut phone);
    assert!(!phone.files_with(MARKER).is_empty());
    phone.erase(first);
    assert_eq!(phone.files_with(MARKER), [] as [std::path::PathBuf; 0]);
    let next = import(&mut phone);
    assert_eq!((first, next), (record::imported_id(&hash, 0, 0), record::imported_id(&hash, 0, 1)));
    assert_eq!(import(&mut phone), next);
}

/// A phone was killed right after the erasure was durable: its journal still had all of it.
#[test]
fn an_erasure_that_was_cut_short_is_finished_when_the_home_is_opened() {
    let mut phone = Device::new("phone", 7);
    let id = phone.log(Collection::Moods, mood(MARKER));
    let other = rusqlite::Connection::open(phone.path()).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM entries;").unwrap();
    // Somebody reads the whole time, so the journal cannot be emptied.
    let reader: i64 = other.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(reader, 1);
    phone.store.set_patience(std::time::Duration::ZERO).unwrap();
    phone.erase(id);
    assert!(!phone.files_with(MARKER).is_empty());
    other.execute_batch("COMMIT").unwrap();
    drop(other);
    phone.restart();
    assert_eq!(phone.files_with(MARKER), [] as [std::path::PathBuf; 0]);
}

#[test]
fn a_grant_is_kept_for_ever() {
    let hub = Hub::new();
    let (mut phone, _) = two_devices(&hub, 8);
    let grant = json!({
        "at": MORNING, "kind": "revocation", "revokes": "01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49",
    });
    let id = phone.log(Collection::Grants, grant);
    let erase = phone.store.write(&Command::Erase { doc_id: id }, MORNING, &mut phone.rng);
    assert!(matches!(erase, Err(WriteError::KeptForEver(Collection::Grants))), "{erase:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// I6, I7 and I10: three devices write and erase at random and sync over connections that are cut anywhere. At the end of
    /// good connections all hold the same records, no feed was repaired, nothing waits, and what was refused was refused
    /// because its record was erased.
    #[test]
    fn i6_i7_i10_erasures_and_cuts_anywhere_leave_the_same_records(seed in 0u64..1_000_000, rounds in 2usize..7) {
        let mut hub = Hub::new();
        let mut devices = [Device::new("phone", seed), Device::new("tablet", seed), Device::new("watch", seed)];
        let mut dice = StdRng::seed_from_u64(seed);
        devices.iter_mut().for_each(|device| device.sign_in(&hub));
        let before = epochs(&mut devices[0]);
        let mut erased = Vec::new();
        for _ in 0..rounds {
            for device in &mut devices {
                for _ in 0..dice.random_range(0..5) {
                    let here: Vec<_> = device.store.heads().unwrap().into_iter().map(|(id, _)| id).collect();
                    let command = match &here[..] {
                        [_, ..] if dice.random_bool(0.25) => {
                            let doc_id = here[dice.random_range(0..here.len())];
                            erased.push(doc_id);
                            Command::Erase { doc_id }
                        }
                        here => random_command(&mut dice, here),
                    };
                    device.store.write(&command, device.now_ms, &mut device.rng).unwrap();
                }
                device.sync_cut_after(&mut hub, dice.random_range(0..9));
                if dice.random_bool(0.3) {
                    device.restart();
                }
            }
        }
        for _ in 0..2 {
            devices.iter_mut().for_each(|device| device.sync(&mut hub));
        }
        assert_converged(&devices[0], &devices[1]);
        assert_converged(&devices[0], &devices[2]);
        for device in &mut devices {
            prop_assert_eq!(epochs(device), before.clone());
            let status = device.store.status().unwrap();
            prop_assert_eq!((status.pending, status.waiting, status.unapplied), (0, 0, 0));
            prop_assert!(device.store.rejected().unwrap().iter().all(|write| write.code == wire::ERASED));
            for id in &erased {
                prop_assert!(device.store.show(*id).unwrap().is_none());
            }
        }
    }
}
