//! A home stays signed in: through tokens that end, through an update of the app, and through a server restored from a backup.
//! Nobody types a password again.

use std::time::Duration;

use fitme_core::store::Tokens;
use fitme_testing::{Database, Device, Postgres, ServerHere, wait_until};
use sync_server::accounts::refresh_token;
use sync_server::clock::Clock;
use sync_server::master_key::MasterKey;

use crate::running::Running;
use crate::stage::{Look, store};

fn server(database: &Database, access_lifetime: Duration) -> ServerHere {
    ServerHere::with(&database.url, &MasterKey::random(), Clock::default(), access_lifetime)
}

/// Makes the home ask for its next tokens with this refresh token.
fn hold(device: &Device, refresh: &str) {
    let tokens = Tokens { refresh: refresh.to_owned(), ..Tokens::default() };
    store(device, 1).keep_tokens(&tokens).unwrap();
}

fn assert_synced(device: &Device) {
    let status = &device.json(&["status", "--json"])["status"];
    assert_eq!((&status["pending"], &status["rejected"]), (&0.into(), &0.into()), "{status}");
}

#[test]
fn a_watching_device_outlives_its_tokens_without_a_reconnect() {
    let database = Postgres::shared().database();
    let server = server(&database, Duration::from_secs(6));
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    let watch = Running(phone.spawn(&["sync", "--watch"]));
    let mut look = Look::at(&database);
    // The second time is after the end of the token with which it connected.
    wait_until("two tokens to be followed by the next", || look.number("SELECT max(generation) FROM sign_ins") >= 2);
    phone.done(&["log", "mood", "--valence", "1"]);
    wait_until("the phone to send what it logs", || look.entries() == 1);
    let said = watch.interrupted();
    assert_eq!(said.matches("connected").count(), 1, "{said}");
    assert!(!said.contains("offline"), "{said}");
}

#[test]
fn a_home_of_the_version_before_tokens_ended_goes_on_after_the_update() {
    let database = Postgres::shared().database();
    let server = server(&database, Duration::from_secs(900));
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    let old = "k2mTqZ0b7o1mWw3hC1nTtYlq0a8e5cXvRj4uBfDsEgI";
    let mut look = Look::at(&database);
    look.execute("DELETE FROM sign_ins");
    look.execute_with(
        "UPDATE devices SET token_hash = $1, token_expires_at = now() + interval '80 days', public_key = NULL",
        &refresh_token::hash(old),
    );
    hold(&phone, old);
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.sync();
    assert_synced(&phone);
    assert_eq!(look.number("SELECT count(*) FROM devices WHERE public_key IS NOT NULL"), 1, "its key is known now");
}

#[test]
fn a_device_goes_on_with_a_server_that_was_restored_from_a_backup() {
    let database = Postgres::shared().database();
    let server = server(&database, Duration::from_secs(900));
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    let mut look = Look::at(&database);
    look.execute("CREATE TABLE backup AS SELECT * FROM sign_ins");
    for _ in 0..3 {
        let refresh = store(&phone, 1).tokens().unwrap().refresh;
        hold(&phone, &refresh);
        phone.sync();
    }
    look.execute("DELETE FROM sign_ins");
    look.execute("INSERT INTO sign_ins SELECT * FROM backup");
    let refresh = store(&phone, 1).tokens().unwrap().refresh;
    hold(&phone, &refresh);
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.done(&["sync"]);
    assert_synced(&phone);
}

/// The server tells the phone to log in again; what was logged stays, and goes with the next login.
#[test]
fn a_device_that_was_signed_out_says_so_and_loses_nothing() {
    let database = Postgres::shared().database();
    let server = server(&database, Duration::from_secs(900));
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "1"]);
    let mut look = Look::at(&database);
    look.execute("UPDATE sign_ins SET ended_at = now(), ended_because = 'reused'");
    for how in [&["sync"][..], &["sync", "--once"], &["sync", "--watch"]] {
        let refused = phone.run(how);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("use `fitme login` again"), "{how:?}: {}", refused.stderr);
    }
    phone.log_in(server.url(), "ann@example.org");
    phone.done(&["sync"]);
    assert_synced(&phone);
    assert_eq!(look.entries(), 1);
}

/// A login ends the sign-in before, and with it the session of a process that watches; it takes up the new one.
#[test]
fn a_watching_process_goes_on_when_another_one_logs_in_anew() {
    let database = Postgres::shared().database();
    let server = server(&database, Duration::from_secs(900));
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    let watch = Running(phone.spawn(&["sync", "--watch"]));
    phone.done(&["log", "mood", "--valence", "1"]);
    let mut look = Look::at(&database);
    wait_until("the first mood", || look.entries() == 1);
    phone.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "0"]);
    wait_until("the second mood", || look.entries() == 2);
    let said = watch.interrupted();
    assert!(said.matches("connected").count() >= 2, "{said}");
}
