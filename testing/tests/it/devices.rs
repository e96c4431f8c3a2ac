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
    phone.done(&["devices", "--revoke", "kitchen"]);
    assert!(phone.done(&["devices"]).contains("revoked"));

    let told = tablet.run(&["sync"]);
    assert!(told.code == 1 && told.stderr.contains("was revoked"), "{told:?}");
    for command in [&["list", "moods"][..], &["log", "mood", "--valence", "0"], &["sync"], &["rejected"]] {
        let locked = tablet.run(command);
        assert!(locked.code == 1 && locked.stderr.contains("fitme login --email ann@example.org"), "{locked:?}");
        assert!(!locked.stdout.contains("a secret mood"));
    }
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
