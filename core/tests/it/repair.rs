//! The server was restored from a backup: what it lacks comes back from devices that still have it.

use fitme_core::collection::Collection;
use fitme_core::wire::{self, Frame, Hello, Welcome};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::hub::{Device, Hub, Link, MORNING, assert_converged, random_command, workout};

/// Syncs; returns how many entries the device sent again.
fn sync(device: &mut Device, hub: &mut Hub) -> usize {
    let mut link = Link::open(device);
    while link.step(device, hub) {}
    assert!(link.synced, "{}: a session over a good connection ends in sync", device.name);
    link.sent_again
}

fn two_devices(hub: &Hub, seed: u64) -> (Device, Device) {
    let (mut phone, mut tablet) = (Device::new("phone", seed), Device::new("tablet", seed));
    phone.sign_in(hub);
    tablet.sign_in(hub);
    (phone, tablet)
}

fn log_moods(device: &mut Device, count: i64) {
    for n in 0..count {
        device.log(Collection::Moods, json!({ "at": MORNING + n, "valence": 1 }));
    }
}

/// The hub has exactly what the device has.
fn assert_complete(hub: &Hub, device: &Device) {
    assert_eq!(hub.heads_of_documents(), device.store.heads().unwrap(), "the server has what {} has", device.name);
}

#[test]
fn a_device_that_is_ahead_of_the_restored_server_sends_again_what_it_wrote() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 1);
    log_moods(&mut phone, 40);
    phone.sync(&mut hub);
    let actor = phone.store.actor().unwrap();
    hub.restore_from_backup(5);
    assert_eq!(sync(&mut phone, &mut hub), 5);
    assert_eq!(phone.store.sent_again().unwrap().unwrap().entries, 5);
    assert_eq!(phone.store.actor().unwrap(), actor, "nothing was forked: the actor stays");
    assert_complete(&hub, &phone);
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_eq!(sync(&mut phone, &mut hub), 0, "once is enough");
}

/// Others have written past the phone's cursor since the restore: the numbers tell nothing, only the digests do.
#[test]
fn a_device_that_was_overtaken_after_the_restore_sends_again_what_it_wrote() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 2);
    log_moods(&mut phone, 10);
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    log_moods(&mut phone, 3);
    phone.sync(&mut hub);
    hub.restore_from_backup(3);
    log_moods(&mut tablet, 20);
    assert_eq!(sync(&mut tablet, &mut hub), 0);
    assert_eq!(sync(&mut phone, &mut hub), 3);
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
    assert_complete(&hub, &phone);
}

#[test]
fn what_the_phone_wrote_comes_back_from_the_tablet_when_the_phone_is_gone() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 3);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sync(&mut hub);
    phone.edit(id, json!({ "title": "Legs and more" }));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    tablet.edit(id, json!({ "note": "from the tablet" }));
    tablet.sync(&mut hub);
    drop(phone);
    hub.restore_from_backup(2);
    assert_eq!(sync(&mut tablet, &mut hub), 2);
    assert_complete(&hub, &tablet);
    let mut newcomer = Device::new("newcomer", 3);
    newcomer.sign_in(&hub);
    newcomer.sync(&mut hub);
    assert_eq!(newcomer.record(id)["title"], "Legs and more");
    assert_converged(&tablet, &newcomer);
}

/// What waits builds on what the server lost: it must not get there first.
#[test]
fn edits_that_waited_are_not_refused_because_the_server_lost_what_they_build_on() {
    let mut hub = Hub::new();
    let (mut phone, _) = two_devices(&hub, 4);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.sync(&mut hub);
    for title in ["A", "B", "C"] {
        phone.edit(id, json!({ "title": title }));
    }
    phone.sync(&mut hub);
    phone.edit(id, json!({ "note": "written offline" }));
    hub.restore_from_backup(3);
    assert_eq!(sync(&mut phone, &mut hub), 3);
    let status = phone.store.status().unwrap();
    assert_eq!((status.pending, status.rejected), (0, 0));
    assert_complete(&hub, &phone);
}

/// The phone was cut between the receipt and the return of its entry, and then the server lost it. Its numbers and digests are
/// those of the server: only that the entry never came back tells, also where something else has its number by now.
#[test]
fn what_was_acknowledged_and_lost_before_it_came_back_is_sent_again_before_what_builds_on_it() {
    for number_is_taken in [false, true] {
        let mut hub = Hub::new();
        let (mut phone, mut tablet) = two_devices(&hub, 9);
        let id = phone.log(Collection::Workouts, workout("Legs"));
        phone.sync(&mut hub);
        tablet.sync(&mut hub);
        phone.edit(id, json!({ "title": "acknowledged" }));
        // Hello, Welcome, the push and its receipt.
        phone.sync_cut_after(&mut hub, 4);
        assert_eq!(phone.store.status().unwrap().pending, 0);
        hub.restore_from_backup(1);
        if number_is_taken {
            tablet.log(Collection::Workouts, workout("Arms"));
            tablet.sync(&mut hub);
        }
        phone.edit(id, json!({ "note": "builds on it" }));
        assert_eq!(sync(&mut phone, &mut hub), 1);
        assert_eq!(phone.store.status().unwrap().rejected, 0);
        assert_complete(&hub, &phone);
    }
}

/// The changes are held in a snapshot alone, without an entry of each: they get new salts, and go before what waits.
#[test]
fn changes_that_are_held_only_in_a_snapshot_are_offered_before_what_builds_on_them() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 5);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    for n in 0..40 {
        phone.edit(id, json!({ "note": format!("a note that is long enough to be folded away {n:0100}") }));
    }
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    // All but the last: numbers are never used again.
    let folded = "DELETE FROM entries WHERE payload IS NULL AND n < (SELECT max(n) FROM entries)";
    let folded = rusqlite::Connection::open(tablet.path()).unwrap().execute(folded, []).unwrap();
    assert!(folded > 10, "{folded} changes are in the snapshot alone");
    tablet.restart();
    tablet.edit(id, json!({ "title": "written offline" }));
    hub.restore_from_backup(41);
    assert_eq!(sync(&mut tablet, &mut hub), 41);
    assert_eq!(tablet.store.status().unwrap().rejected, 0);
    assert_complete(&hub, &tablet);
    // The phone knows the same changes under other entries: the first accepted ones count.
    assert_eq!(sync(&mut phone, &mut hub), 0);
    assert_converged(&phone, &tablet);
    tablet.restart();
    assert_eq!(tablet.record(id)["title"], "written offline");
}

#[test]
fn what_was_erased_since_the_backup_is_erased_again_first() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 6);
    let (kept, gone) =
        (phone.log(Collection::Workouts, workout("Legs")), phone.log(Collection::Workouts, workout("Secret")));
    phone.sync(&mut hub);
    phone.erase(gone);
    phone.edit(kept, json!({ "title": "Legs and more" }));
    phone.sync(&mut hub);
    tablet.sync(&mut hub);
    hub.restore_from_backup(2);
    hub.unerase(gone);
    assert_eq!(sync(&mut tablet, &mut hub), 2);
    assert_eq!(sync(&mut phone, &mut hub), 0);
    assert!(hub.is_erased(gone));
    assert_converged(&phone, &tablet);
    assert!(tablet.store.show(gone).unwrap().is_none());
}

/// So much is missing that it is found and sent in parts; the connection breaks on the way.
#[test]
fn a_server_that_lost_everything_gets_it_back_in_parts() {
    let mut hub = Hub::new();
    let (mut phone, mut tablet) = two_devices(&hub, 7);
    log_moods(&mut phone, 1_100);
    phone.sync(&mut hub);
    hub.restore_from_backup(1_100);
    phone.sync_cut_after(&mut hub, 14);
    sync(&mut phone, &mut hub);
    assert_complete(&hub, &phone);
    tablet.sync(&mut hub);
    assert_converged(&phone, &tablet);
}

/// A new app meets an old server, or an old app a new one: neither asks what the other cannot answer, and it goes on as it did.
#[test]
fn ends_of_which_one_cannot_repair_do_as_they_did() {
    let mut hub = Hub::new();
    let (mut phone, _) = two_devices(&hub, 8);
    log_moods(&mut phone, 10);
    phone.sync(&mut hub);
    hub.restore_from_backup(3);
    let mut link = Link::open(&mut phone);
    link.rewrite = Some(|frame| match frame {
        Frame::Hello(hello) => Frame::Hello(Hello { minor: wire::ERASURES_MINOR, ..hello }),
        Frame::Welcome(welcome) => Frame::Welcome(Welcome { minor: 0, ..welcome }),
        Frame::Repair(step) => panic!("{step:?}"),
        other => other,
    });
    while link.step(&mut phone, &mut hub) {}
    assert!(link.synced);
    assert_eq!(phone.list(Collection::Moods).len(), 10);
    let moods = phone.store.own_feeds().unwrap().into_iter().find(|feed| feed.collection == "moods").unwrap();
    assert_eq!(moods.cursor, 7);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// I11: three devices write at random over connections that are cut anywhere, and the server is restored at random; at
    /// the end of good connections everything that anybody still has is everywhere, once, and nothing was refused.
    #[test]
    fn i11_whatever_any_device_still_has_is_on_the_server_after_any_restore(seed in 0u64..1_000_000, rounds in 2usize..7) {
        let mut hub = Hub::new();
        let mut devices = [Device::new("phone", seed), Device::new("tablet", seed), Device::new("watch", seed)];
        let mut dice = StdRng::seed_from_u64(seed);
        let mut known = Vec::new();
        for device in &mut devices {
            device.sign_in(&hub);
        }
        for _ in 0..rounds {
            for device in &mut devices {
                let here: Vec<_> = device.store.heads().unwrap().into_iter().map(|(id, _)| id).collect();
                for _ in 0..dice.random_range(0..4) {
                    let command = random_command(&mut dice, &here);
                    known.push(device.store.write(&command, device.now_ms, &mut device.rng).unwrap().doc_id);
                }
                device.sync_cut_after(&mut hub, dice.random_range(0..12));
                if dice.random_bool(0.3) {
                    device.restart();
                }
            }
            if dice.random_bool(0.5) {
                hub.restore_from_backup(dice.random_range(0..6));
            }
            if dice.random_bool(0.2) {
                hub.renew_epochs();
            }
        }
        for _ in 0..3 {
            for device in &mut devices {
                sync(device, &mut hub);
            }
        }
        for device in &devices {
            assert_converged(&devices[0], device);
            assert_complete(&hub, device);
            let status = device.store.status().unwrap();
            prop_assert_eq!((status.pending, status.rejected, status.unapplied), (0, 0, 0));
            for id in &known {
                prop_assert!(device.store.show(*id).unwrap().is_some());
            }
        }
        hub.assert_nothing_doubled();
    }
}
