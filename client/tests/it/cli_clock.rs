//! Alice's device has a wrong clock: it says so, and what it logged meanwhile is offered the right time.

use std::time::{SystemTime, UNIX_EPOCH};

use fitme_core::id::Installation;
use fitme_core::store::Store;

use crate::cli_local::short;
use crate::device::Device;

const HOUR_MS: i64 = 3_600_000;
/// A clock that is off by this much is right.
const SLACK_MS: i64 = 120_000;

/// What a contact with a server whose clock is so far ahead of the device's leaves in its home.
fn meet_server(device: &Device, offset_ms: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let mut store = Store::open(&device.home().join("fitme.db"), "test", &mut rand::rng()).unwrap();
    store.welcomed(Installation([1; 8]), &[], false, (offset_ms, i64::try_from(now).unwrap())).unwrap();
}

#[test]
fn a_clock_is_wrong_beyond_two_minutes() {
    let alice = Device::new();
    alice.does(&["log", "mood", "--valence", "1"]);
    assert_eq!(alice.does(&["clock"]), "not compared with a server yet: `fitme sync` does\n");
    meet_server(&alice, -SLACK_MS);
    assert_eq!(alice.does(&["clock"]), "this device's clock is right\n");
    assert!(!alice.does(&["status"]).contains("clock"));
    for (offset_ms, way) in [(-SLACK_MS - 1, "ahead of"), (SLACK_MS + 1, "behind")] {
        meet_server(&alice, offset_ms);
        let told = format!("this device's clock is 2 min {way} the server's");
        assert_eq!(alice.does(&["clock"]), format!("{told}\n"));
        assert!(alice.does(&["status"]).contains(&told));
    }
}

#[test]
fn what_was_logged_by_a_wrong_clock_is_listed_moved_and_moved_back() {
    let alice = Device::new();
    alice.does(&["log", "mood", "--valence", "1"]);
    alice.does(&["log", "meal", "--kind", "lunch", "--item", "Oats 80g 300kcal"]);
    alice.does(&["log", "mood", "--at", "2026-03-01 08:00", "--valence", "2"]);
    let logged = alice.records("meals")[0].clone();
    meet_server(&alice, -HOUR_MS);

    let listed = alice.does(&["clock"]);
    assert_eq!(listed.matches("1 h earlier").count(), 2, "the time that she named herself is hers:\n{listed}");
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    assert!(alice.does(&["status"]).contains("2 records logged while it was wrong: see `fitme clock`"));

    let moved = alice.does(&["clock", "fix", short(&logged)]);
    let now = alice.records("meals")[0].clone();
    assert_eq!(now["record"]["at"].as_i64().unwrap(), logged["record"]["at"].as_i64().unwrap() - HOUR_MS, "{moved}");
    let undo = moved.lines().find_map(|line| line.trim().strip_prefix("undo: fitme ")).unwrap();
    alice.does(&undo.split(' ').collect::<Vec<_>>());
    assert_eq!(alice.records("meals")[0]["record"], logged["record"]);
    alice.does(&["clock", "fix"]);
    assert_eq!(alice.does(&["clock", "fix"]), "no record has a time of a wrong clock\n");
}
