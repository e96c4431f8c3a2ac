//! `kill -9` in the middle of a push, ten times, at moments drawn from a printed seed.

use fitme_testing::{Device, Postgres, ServerProcess, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::stage::{Look, log_moods, store};

const ENTRIES: usize = 5_000;
const KILLS: usize = 10;

/// Entry counts at which to strike, ascending.
fn moments(seed: u64) -> Vec<i64> {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut moments: Vec<_> = (0..KILLS).map(|_| rng.random_range(0..ENTRIES as i64)).collect();
    moments.sort_unstable();
    moments
}

/// What the phone believes the server to have is there.
fn assert_acknowledged_is_there(phone: &Device, look: &mut Look) {
    let acknowledged = ENTRIES as u64 - store(phone, 1).status().unwrap().pending;
    let there = look.entries();
    assert!(there >= acknowledged as i64, "{acknowledged} were acknowledged and {there} are there");
}

fn assert_all_there_once(phone: &Device, look: &mut Look) {
    assert_eq!(look.entries(), ENTRIES as i64);
    look.assert_gap_free();
    look.assert_nothing_doubled();
    let store = store(phone, 1);
    assert_eq!(store.status().unwrap().pending, 0);
    look.wait_for_merge();
    assert_eq!(store.heads().unwrap(), look.heads());
}

#[test]
fn i2_a_server_killed_ten_times_in_a_push_loses_and_doubles_nothing() {
    let database = Postgres::shared().database();
    let mut server = ServerProcess::on(&database.url);
    let mut look = Look::at(&database);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    log_moods(&phone, ENTRIES, 1);
    for moment in moments(20_261_122) {
        let mut sync = phone.spawn(&["sync"]);
        wait_until("the push to come so far", || look.entries() >= moment || sync.try_wait().unwrap().is_some());
        server.kill9();
        // It may have been through, or notices that the server is gone.
        sync.wait().unwrap();
        assert_acknowledged_is_there(&phone, &mut look);
        server.restart();
    }
    phone.done(&["sync"]);
    assert_all_there_once(&phone, &mut look);
}

#[test]
fn a_phone_killed_ten_times_in_a_push_loses_and_doubles_nothing() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let mut look = Look::at(&database);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    let logged = log_moods(&phone, ENTRIES, 1);
    for moment in moments(22_112_026) {
        let mut sync = phone.spawn(&["sync"]);
        wait_until("the push to come so far", || look.entries() >= moment || sync.try_wait().unwrap().is_some());
        sync.kill().unwrap();
        sync.wait().unwrap();
        assert_acknowledged_is_there(&phone, &mut look);
        assert_eq!(store(&phone, 1).heads().unwrap().len(), logged.len());
    }
    phone.done(&["sync"]);
    assert_all_there_once(&phone, &mut look);
}
