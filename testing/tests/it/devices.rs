//! Devices that are named, revoked, lost and logged out of, as their owner sees it.

use fitme_testing::{Device, Postgres, ServerProcess, wait_until};

use crate::running::Running;
use crate::stage::{Look, store};

const ANN: &str = "ann@example.org";

struct Stage {
    server: ServerProcess,
    phone: Device,
    tablet: Device,
    look: Look,
}

fn stage() -> Stage {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), ANN);
    tablet.log_in(server.url(), ANN);
    Stage { server, phone, tablet, look: Look::at(&database) }
}

fn log_mood(device: &Device) {
    device.done(&["log", "mood", "--valence", "1", "--note", "a secret mood"]);
}

fn shows(device: &Device) -> bool {
    device.done(&["list", "moods", "--json"]).contains("a secret mood")
}

fn files(device: &Device) -> usize {
    std::fs::read_dir(device.home()).unwrap().count()
}

#[test]
fn a_revoked_device_shows_nothing_and_keeps_what_it_did_not_send() {
    let Stage { phone, tablet, mut look, server } = stage();
    let listed = phone.done(&["devices"]);
    assert!(listed.contains("tablet") && listed.contains("this one"), "{listed}");
    phone.done(&["devices", "--rename", "tablet", "kitchen"]);
    log_mood(&tablet);
    let revoked = phone.done(&["devices", "--revoke", "kitchen"]);
    assert!(revoked.contains("it shows nothing from when it next reaches the server"), "{revoked}");
    assert!(phone.done(&["devices"]).contains("revoked"));

    let told = tablet.run(&["sync"]);
    assert!(told.code == 1 && told.stderr.contains("was revoked"), "{told:?}");
    for command in [&["list", "moods"][..], &["log", "mood", "--valence", "0"], &["sync"], &["rejected"]] {
        let locked = tablet.run(command);
        assert!(locked.code == 1 && locked.stderr.contains("fitme login --email ann@example.org"), "{locked:?}");
        assert!(!locked.stdout.contains("a secret mood"));
    }
    let status = tablet.done(&["status"]);
    assert!(status.contains("1 change not sent; locked until `fitme login --email ann@example.org`"), "{status}");
    let too_wide = |line: &&str| line.chars().count() > 80 && !line.starts_with("home");
    assert_eq!(status.lines().find(too_wide), None);
    tablet.log_in(server.url(), ANN);
    tablet.done(&["sync"]);
    assert_eq!(look.entries(), 1);
    assert!(shows(&tablet));
}

#[test]
fn a_watching_device_that_is_lost_empties_its_home() {
    let Stage { server: _server, phone, tablet, .. } = stage();
    log_mood(&tablet);
    tablet.done(&["sync"]);
    let mut watch = Running(tablet.spawn(&["sync", "--watch"]));
    phone.done(&["devices", "--lost", "tablet"]);
    wait_until("the tablet to hear of it", || matches!(watch.0.try_wait(), Ok(Some(_))));
    assert_eq!(files(&tablet), 0);
    phone.done(&["sync"]);
    assert!(shows(&phone), "nothing is lost that was sent");
}

/// It told its finder that two changes were not sent, and kept everything.
#[test]
fn a_lost_device_that_logs_out_keeps_nothing_either() {
    for how in [&["logout"][..], &["logout", "--keep"]] {
        let Stage { server: _server, phone, tablet, .. } = stage();
        log_mood(&tablet);
        phone.done(&["devices", "--lost", "tablet"]);
        let told = tablet.run(how);
        assert!(told.code == 1 && told.stderr.contains("reported lost"), "{told:?}");
        assert_eq!(files(&tablet), 0, "{how:?}");
    }
}

#[test]
fn a_device_hears_what_another_one_calls_it() {
    let Stage { server: _server, phone, tablet, .. } = stage();
    let name = |device: &Device| device.json(&["status", "--json"])["status"]["account"]["device"].clone();
    phone.done(&["devices", "--rename", "phone", "pocket"]);
    assert_eq!(name(&phone), "pocket");
    phone.done(&["devices", "--rename", "tablet", "kitchen"]);
    // With its next tokens, a quarter of an hour later at most.
    let mut store = store(&tablet, 1);
    let tokens = store.tokens().unwrap();
    store.keep_tokens(&fitme_core::store::Tokens { renew_at: 0, ..tokens }).unwrap();
    tablet.done(&["sync"]);
    assert_eq!(name(&tablet), "kitchen");
}

fn name(device: &Device) -> String {
    device.json(&["status", "--json"])["status"]["account"]["device"].as_str().unwrap().to_owned()
}

/// The tablet had not heard yet that it is called kitchen now, and its next login called it tablet again.
#[test]
fn a_login_undoes_no_new_name_unless_somebody_chooses_another_one() {
    let Stage { server, phone, tablet, .. } = stage();
    phone.done(&["devices", "--rename", "tablet", "kitchen"]);
    let login = ["login", "--server", server.url(), "--email", ANN];
    assert!(tablet.done(&login).contains("this device is “kitchen”"));
    assert!(phone.done(&["devices"]).contains("kitchen"));
    tablet.done(&[&login[..], &["--device", "den"]].concat());
    assert_eq!(name(&tablet), "den");
}

/// Three of them were called phone, and the lost one could not be told apart.
#[test]
fn no_two_devices_get_one_name() {
    let Stage { server, phone, tablet, .. } = stage();
    let (second, third) = (Device::new("phone"), Device::new("phone"));
    let said = second.log_in(server.url(), ANN);
    assert!(said.contains("this device is “phone 2”") && said.contains("another device is called “phone”"), "{said}");
    third.log_in(server.url(), ANN);
    assert_eq!((name(&phone).as_str(), name(&third).as_str()), ("phone", "phone 3"));
    let taken = tablet.run(&["devices", "--rename", "tablet", "phone"]);
    assert!(taken.code == 1 && taken.stderr.contains("Another device of the account is called that"), "{taken:?}");
    tablet.done(&["devices", "--rename", "tablet", "tablet"]);
    // A name is free again once its device is signed out.
    phone.done(&["logout"]);
    assert!(phone.log_in(server.url(), ANN).contains("this device is “phone”"));
}

/// Nobody could log in any more, and without a login the home could not be emptied.
#[test]
fn a_locked_home_of_an_account_that_was_erased_can_be_emptied() {
    let Stage { server: _server, phone, tablet, .. } = stage();
    log_mood(&phone);
    phone.sync();
    log_mood(&phone);
    phone.done(&["logout", "--keep"]);
    tablet.done(&["erase", "--account", "--email", ANN]);
    let locked = phone.run(&["logout"]);
    assert!(locked.code == 1 && locked.stderr.contains("`fitme logout --discard` to empty it"), "{locked:?}");
    let unasked = phone.run(&["logout", "--discard"]);
    assert!(unasked.code == 1 && unasked.stderr.contains("say --discard --yes"), "{unasked:?}");
    let lost = "this home holds 2 records of ann@example.org; 1 change is not on the server and will be lost for ever";
    assert!(unasked.stdout.contains(lost), "{unasked:?}");
    assert_ne!(files(&phone), 0);
    assert!(phone.done(&["logout", "--discard", "--yes"]).ends_with("this home is empty\n"));
    assert_eq!(files(&phone), 0);
}

#[test]
fn a_device_is_not_revoked_by_itself_nor_by_a_name_that_fits_none() {
    let Stage { server: _server, phone, .. } = stage();
    for (command, said) in [
        (["devices", "--revoke", "phone"], "use `fitme logout`"),
        (["devices", "--lost", "watch"], "watch fits 0 devices"),
    ] {
        let refused = phone.run(&command);
        assert!(refused.code == 1 && refused.stderr.contains(said), "{refused:?}");
    }
}

#[test]
fn logging_out_sends_everything_and_empties_the_home_for_whoever_comes_next() {
    let Stage { server, phone, mut look, .. } = stage();
    log_mood(&phone);
    phone.done(&["logout"]);
    assert_eq!((look.entries(), files(&phone)), (1, 0));
    assert_eq!(look.number("SELECT count(*) FROM sign_ins WHERE ended_because = 'logged_out'"), 1);
    phone.sign_up(server.url(), "ben@example.org");
    assert!(!shows(&phone));
}

#[test]
fn without_a_network_logging_out_refuses_keeps_or_discards_as_it_is_told() {
    let Stage { mut server, phone, tablet, .. } = stage();
    for device in [&phone, &tablet] {
        log_mood(device);
        log_mood(device);
    }
    server.terminate();
    let refused = phone.run(&["logout"]);
    assert!(refused.code == 1 && refused.stderr.contains("2 changes are not on the server"), "{refused:?}");
    assert!(shows(&phone), "still logged in");

    assert!(phone.done(&["logout", "--keep"]).contains("kept here for the next login of ann@example.org"));
    assert_eq!(phone.run(&["list", "moods"]).code, 1);
    let unasked = tablet.run(&["logout", "--discard"]);
    assert!(
        unasked.code == 1 && unasked.stdout.contains("2 changes are not on the server and will be lost"),
        "{unasked:?}"
    );
    assert_ne!(files(&tablet), 0);
    tablet.done(&["logout", "--discard", "--yes"]);
    assert_eq!(files(&tablet), 0);

    server.restart();
    let other = phone.run(&["login", "--server", server.url(), "--email", "ben@example.org"]);
    assert_eq!(other.code, 1);
    phone.log_in(server.url(), ANN);
    phone.done(&["sync"]);
    assert_eq!(store(&phone, 1).status().unwrap().pending, 0);
    assert_eq!(phone.done(&["list", "moods", "--json"]).matches("a secret mood").count(), 2);
}
