//! A new phone of somebody with a long diary: records come as they are, over the socket and in single exchanges.

use fitme_core::session::{DeviceEffect, DeviceEvent, DeviceSession};
use fitme_core::store::{Command, Store};
use fitme_testing::{Device, Postgres, ServerProcess};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::consent::introduced;
use crate::stage::{Look, MORNING, log_moods, store};

/// Records, more than what comes as entries.
const RECORDS: i64 = 260;
/// What one answer may have.
const ANSWER_BYTES: u32 = 4 << 10;

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

/// Single exchanges of a few kilobytes, in turns with two servers, every other answer cut off within its last frames: what came
/// whole is kept, and the next exchange goes on from there.
#[test]
fn a_new_phone_with_a_few_seconds_at_a_time_gets_everything_from_whichever_server() {
    let database = Postgres::shared().database();
    let (one, two) = (ServerProcess::on(&database.url), ServerProcess::on(&database.url));
    let (old, new) = (Device::new("old phone"), Device::new("new phone"));
    old.sign_up(one.url(), "ann@example.org");
    log_moods(&old, RECORDS as usize, 1);
    old.done(&["sync"]);
    Look::at(&database).wait_for_merge();
    new.log_in(one.url(), "ann@example.org");
    let (mut store, mut dice) = (store(&new, 2), StdRng::seed_from_u64(2));
    let (mut rounds, mut is_synced, mut most) = (0, false, 0);
    while !is_synced {
        let server = if rounds % 2 == 0 { &one } else { &two };
        let mut session = DeviceSession::once(ANSWER_BYTES);
        let answer = exchange(server, &store.tokens().unwrap().access, &open(&mut session, &mut store, &mut dice));
        most = most.max(answer.len());
        let lost = if rounds % 3 == 1 { dice.random_range(0..answer.len()) } else { 0 };
        for frame in whole_frames(&answer[..answer.len() - lost]) {
            let event = DeviceEvent::Message(frame);
            let effects = session.handle(&mut store, event, MORNING, &mut dice).unwrap();
            is_synced |= effects.contains(&DeviceEffect::Synced);
        }
        rounds += 1;
        assert!(rounds < 1_000, "each whole answer brings something");
    }
    assert!(rounds > 10, "{rounds} exchanges");
    assert!(most < 4 * ANSWER_BYTES as usize, "an answer of {most} bytes");
    drop(store);
    assert_eq!(unproved(&new), RECORDS);
    assert_eq!(listed(&new), listed(&old));
}

/// What the request says.
fn open(session: &mut DeviceSession, store: &mut Store, rng: &mut StdRng) -> Vec<u8> {
    let effects = session.handle(store, DeviceEvent::Opened, MORNING, rng).unwrap();
    let frames = effects.into_iter().filter_map(|effect| match effect {
        DeviceEffect::Send(frame) => Some([&(frame.len() as u32).to_be_bytes(), &frame[..]].concat()),
        _ => None,
    });
    frames.flatten().collect()
}

fn exchange(server: &ServerProcess, access: &str, request: &[u8]) -> Vec<u8> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sent = reqwest::Client::new().post(format!("{}/v1/sync/once", server.url())).bearer_auth(access);
        let answer = sent.body(request.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap().to_vec()
    })
}

fn whole_frames(mut body: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let Some((frame, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        frames.push(frame);
        body = rest;
    }
    frames
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
