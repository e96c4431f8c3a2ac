//! A new phone of somebody with a long diary: records come as they are, over the socket and in single exchanges.

use fitme_core::store::Command;
use fitme_testing::{Device, Postgres, ServerProcess};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::consent::introduced;
use crate::stage::{Look, MORNING, log_moods, store};

/// Records, more than what comes as entries.
const RECORDS: i64 = 260;

fn unproved(device: &Device) -> i64 {
    let home = rusqlite::Connection::open(device.home().join("fitme.db")).unwrap();
    home.query_row("SELECT count(*) FROM documents WHERE unproved", [], |row| row.get(0)).unwrap()
}

fn listed(device: &Device) -> Value {
    device.json(&["list", "moods", "--limit", "1000", "--json"])["records"].clone()
}

#[test]
fn a_new_phone_lists_a_long_diary_and_edits_it_as_the_old_one_does() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (old, new, watch) = (Device::new("old phone"), Device::new("new phone"), Device::new("watch"));
    old.sign_up(server.url(), "ann@example.org");
    let ids = log_moods(&old, RECORDS as usize, 1);
    old.done(&["sync"]);
    Look::at(&database).wait_for_merge();
    for (device, sync) in [(&new, &["sync"][..]), (&watch, &["sync", "--once"])] {
        device.log_in(server.url(), "ann@example.org");
        let said = device.done(sync);
        assert!(said.contains(&format!("{RECORDS} records changed here")), "{said}");
        assert_eq!(unproved(device), RECORDS);
        assert_eq!(listed(device), listed(&old));
    }
    new.done(&["edit", &ids[0].to_string(), "--json", r#"{"note": "on the new phone"}"#]);
    assert_eq!(unproved(&new), RECORDS - 1);
    for device in [&new, &old, &watch] {
        device.done(&["sync"]);
    }
    let heads = store(&old, 1).heads().unwrap();
    assert_eq!(store(&new, 2).heads().unwrap(), heads);
    assert_eq!(store(&watch, 3).heads().unwrap(), heads);
}

/// A trainer's laptop gets what is shared in the same way; its owner sees that it was read, and it is gone once she ends it.
#[test]
fn a_trainer_gets_a_long_diary_as_it_is_and_loses_it_with_the_grant() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (ann, tom) = introduced(&server, "training");
    log_workouts(&ann, RECORDS);
    ann.sync();
    Look::at(&database).wait_for_merge();
    tom.sync();
    let of_ann = home_of_ann(&tom);
    let count = |query: &str| -> i64 { of_ann.query_row(query, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM documents WHERE unproved"), RECORDS);
    drop(of_ann);
    let shown = tom.json(&["list", "workouts", "--of", "Ann", "--json"]);
    assert_eq!(shown["records"].as_array().unwrap().len() as i64, RECORDS);
    ann.done(&["revoke", "Tom"]);
    ann.sync();
    tom.sync();
    assert_eq!(tom.run(&["list", "workouts", "--of", "Ann"]).code, 1);
    assert!(!tom.home().read_dir().unwrap().any(|file| file.unwrap().file_name().to_string_lossy().contains("-of-")));
    let mut look = Look::at(&database);
    let last = look.number("SELECT coalesce(max(last_seq), 0) FROM audit_reads");
    assert!(last >= RECORDS || ann.done(&["access-log"]).contains("read workouts"), "it is recorded");
}

fn log_workouts(device: &Device, count: i64) {
    let (mut store, mut rng) = (store(device, 5), StdRng::seed_from_u64(5));
    for n in 0..count {
        let fields = json!({ "start": MORNING + n * 1_000, "title": format!("Day {n}") });
        let command = Command::Create { collection: "workouts".to_owned(), fields };
        store.write(&command, MORNING + n, &mut rng).unwrap();
    }
}

fn home_of_ann(tom: &Device) -> rusqlite::Connection {
    let mut files = tom.home().read_dir().unwrap().map(|file| file.unwrap().path());
    let file = files.find(|file| file.to_string_lossy().contains("-of-") && file.extension().unwrap() == "db");
    rusqlite::Connection::open(file.unwrap()).unwrap()
}
