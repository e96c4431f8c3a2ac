//! Two servers on one database.

use std::fs;

use fitme_core::store::{Adoption, Identity};
use fitme_testing::{Device, Postgres, ServerProcess, wait_until};

use crate::running::Running;
use crate::stage::{Look, log_moods, store};

fn notes(device: &Device) -> usize {
    device.json(&["list", "moods", "--json"])["records"].as_array().unwrap().len()
}

#[test]
fn devices_on_different_nodes_see_each_others_writes_live() {
    let database = Postgres::shared().database();
    let (one, two) = (ServerProcess::on(&database.url), ServerProcess::on(&database.url));
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(one.url(), "ann@example.org");
    tablet.log_in(two.url(), "ann@example.org");
    let _phone_is_live = Running(phone.spawn(&["sync", "--watch"]));
    let _tablet_is_live = Running(tablet.spawn(&["sync", "--watch"]));

    phone.done(&["log", "mood", "--valence", "1", "--note", "from the phone"]);
    wait_until("the tablet to have the phone's mood", || notes(&tablet) == 1);
    tablet.done(&["log", "mood", "--valence", "-1", "--note", "from the tablet"]);
    wait_until("the phone to have the tablet's mood", || notes(&phone) == 2);
}

/// A home and its clone push the same hundred entries at once, each to another node.
#[test]
fn the_same_entries_pushed_at_once_to_both_nodes_are_stored_once() {
    let database = Postgres::shared().database();
    let (one, two) = (ServerProcess::on(&database.url), ServerProcess::on(&database.url));
    let (phone, clone) = (Device::new("phone"), Device::new("clone"));
    phone.sign_up(one.url(), "ann@example.org");
    log_moods(&phone, 100, 7);
    for file in fs::read_dir(phone.home()).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), clone.home().join(file.file_name())).unwrap();
    }
    let mut cloned = store(&clone, 7);
    let identity = Identity { server: two.url().to_owned(), ..cloned.identity().unwrap().unwrap() };
    cloned.adopt(&Adoption { identity, feeds: Vec::new() }, &mut rand::rng()).unwrap();
    drop(cloned);

    let pushes = [phone.spawn(&["sync"]), clone.spawn(&["sync"])];
    for push in pushes {
        let output = push.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut look = Look::at(&database);
    assert_eq!(look.entries(), 100);
    look.assert_gap_free();
    for device in [&phone, &clone] {
        let status = &device.json(&["status", "--json"])["status"];
        assert_eq!((&status["pending"], &status["rejected"]), (&0.into(), &0.into()), "{status}");
    }
}
