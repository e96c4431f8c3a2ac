//! The device's store: what is durable, what is queued, what is refused.

use std::fs;

use fitme_core::collection::Collection;
use fitme_core::store::{Command, Store, StoreError, Tokens, WriteError};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::hub::{Device, Hub, MORNING, random_command, workout};

/// What a crash leaves: the files as they are at this moment, without any closing of the store.
fn after_a_crash(device: &Device) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let from = device.path().with_file_name(format!("fitme.db{suffix}"));
        if from.exists() {
            fs::copy(&from, directory.path().join(format!("fitme.db{suffix}"))).unwrap();
        }
    }
    let store = Store::open(&directory.path().join("fitme.db"), "test", &mut StdRng::seed_from_u64(1)).unwrap();
    (directory, store)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// I1: after each command that returned, the files alone hold it, listed and queued.
    #[test]
    fn i1_a_write_that_returned_is_durable_listed_and_queued(seed in 0u64..1_000_000, writes in 1usize..12) {
        let mut phone = Device::new("phone", seed);
        let mut commands = StdRng::seed_from_u64(seed);
        let mut known = Vec::new();
        for _ in 0..writes {
            let command = random_command(&mut commands, &known);
            let before = phone.store.status().unwrap().pending;
            let written = phone.store.write(&command, MORNING, &mut phone.rng).unwrap();
            let (_files, recovered) = after_a_crash(&phone);
            prop_assert_eq!(recovered.heads().unwrap(), phone.store.heads().unwrap());
            prop_assert_eq!(recovered.show(written.doc_id).unwrap(), phone.store.show(written.doc_id).unwrap());
            prop_assert_eq!(recovered.status().unwrap().pending, before + u64::from(written.changed));
            if !known.contains(&written.doc_id) {
                known.push(written.doc_id);
            }
        }
    }
}

#[test]
fn an_equal_value_writes_nothing() {
    let mut phone = Device::new("phone", 1);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    let before = phone.store.status().unwrap().pending;
    let again = Command::Edit { doc_id: id, patch: json!({ "title": "Legs" }) };
    let written = phone.store.write(&again, MORNING, &mut phone.rng).unwrap();
    assert!(!written.changed);
    assert_eq!(phone.store.status().unwrap().pending, before);
}

#[test]
fn an_invalid_command_is_refused_with_a_sentence_and_writes_nothing() {
    let mut phone = Device::new("phone", 2);
    let command = Command::Create { collection: "moods".to_owned(), fields: json!({ "at": MORNING, "valence": 7 }) };
    let error = phone.store.write(&command, MORNING, &mut phone.rng).unwrap_err();
    assert!(matches!(error, WriteError::Invalid(_)), "{error:?}");
    assert!(error.to_string().contains("valence"), "{error}");
    assert_eq!(phone.store.status().unwrap().pending, 0);
    assert!(phone.list(Collection::Moods).is_empty());
}

#[test]
fn a_trashed_record_comes_back_and_an_earlier_state_is_restored_as_a_new_change() {
    let mut phone = Device::new("phone", 3);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    let first = phone.store.history(id).unwrap().last().unwrap().hash;
    phone.edit(id, json!({ "title": "Arms" }));
    phone.write(&Command::Trash { doc_id: id });
    assert!(phone.list(Collection::Workouts).is_empty());
    phone.write(&Command::Restore { doc_id: id });
    assert_eq!(phone.list(Collection::Workouts).len(), 1);
    phone.write(&Command::RestoreTo { doc_id: id, state: first.to_string() });
    assert_eq!(phone.record(id)["title"], "Legs");
    assert_eq!(phone.store.history(id).unwrap().len(), 5);
}

#[test]
fn two_processes_that_share_a_home_see_each_others_changes() {
    let mut phone = Device::new("phone", 4);
    let mut rng = StdRng::seed_from_u64(5);
    let mut background = Store::open(&phone.path(), "background", &mut rng).unwrap();
    let id = phone.log(Collection::Workouts, workout("Legs"));
    background
        .write(&Command::Edit { doc_id: id, patch: json!({ "note": "from the watch" }) }, MORNING, &mut rng)
        .unwrap();
    // The phone's open copy is stale now: it must notice before it writes on.
    phone.edit(id, json!({ "title": "Legs and more" }));
    let record = phone.record(id);
    assert_eq!((&record["title"], &record["note"]), (&json!("Legs and more"), &json!("from the watch")));
    assert_ne!(phone.store.actor().unwrap(), background.actor().unwrap());
}

/// `fitme sync --watch` shows what it received while the app writes on. It read the document's row, then its changes, and
/// the app wrote in between: the document "was damaged", and the watch ended. Found by `make chaos`.
#[test]
fn a_record_is_shown_whole_while_another_process_edits_it() {
    let mut phone = Device::new("phone", 4);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    let path = phone.path();
    let app = std::thread::spawn(move || {
        for reps in 1..=300 {
            phone.edit(id, json!({ "note": format!("{reps} reps") }));
        }
        phone
    });
    let watch = Store::open(&path, "watch", &mut StdRng::seed_from_u64(4)).unwrap();
    while !app.is_finished() {
        let shown = watch.show(id).unwrap();
        assert_eq!(shown.map(|shown| shown.doc_id), Some(id));
        assert!(!watch.history(id).unwrap().is_empty());
        assert!(watch.archived(id).unwrap().is_some());
    }
    app.join().unwrap();
}

#[test]
fn a_full_disk_refuses_the_write_undoes_it_and_leaves_the_store_usable() {
    let mut phone = Device::new("phone", 6);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    phone.store.limit_pages(1).unwrap();
    let note = "x".repeat(60_000);
    let command = Command::Edit { doc_id: id, patch: json!({ "note": note }) };
    let error = phone.store.write(&command, MORNING, &mut phone.rng).unwrap_err();
    assert!(matches!(error, WriteError::Store(StoreError::DiskFull)), "{error:?}");
    assert_eq!(phone.record(id)["note"], json!(null), "nothing of the refused write shows");
    phone.store.limit_pages(1_000_000).unwrap();
    phone.edit(id, json!({ "note": note }));
    assert_eq!(phone.record(id)["note"].as_str().unwrap().len(), 60_000);
}

#[test]
fn a_home_of_a_newer_version_is_refused_with_what_to_do() {
    let phone = Device::new("phone", 7);
    let raw = rusqlite::Connection::open(phone.path()).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&phone.path(), "test", &mut StdRng::seed_from_u64(1)).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }));
    assert!(error.to_string().contains("update the app"), "{error}");
}

#[test]
fn a_stored_byte_that_flipped_is_found_and_other_documents_go_on() {
    let mut phone = Device::new("phone", 8);
    let damaged = phone.log(Collection::Workouts, workout("Legs"));
    let whole = phone.log(Collection::Workouts, workout("Arms"));
    phone.restart();
    let raw = rusqlite::Connection::open(phone.path()).unwrap();
    let changed = raw.execute(
        "UPDATE entries SET payload = CAST(substr(payload, 1, length(payload) - 1) || x'ff' AS BLOB) WHERE doc_id = ?",
        [damaged.as_bytes()],
    );
    assert_eq!(changed.unwrap(), 1);
    let error = phone.store.show(damaged).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { doc_id, .. } if doc_id == damaged), "{error:?}");
    assert_eq!(phone.record(whole)["title"], "Arms");
}

#[test]
fn a_long_record_is_folded_into_a_snapshot_and_reads_the_same() {
    let mut phone = Device::new("phone", 9);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    for n in 0..120 {
        phone.edit(id, json!({ "note": format!("set {n}: {}", "felt heavy ".repeat(n % 7)) }));
    }
    let open = phone.record(id);
    phone.restart();
    assert_eq!(phone.record(id), open);
    let raw = rusqlite::Connection::open(phone.path()).unwrap();
    let snapshots: i64 = raw.query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0)).unwrap();
    assert_eq!(snapshots, 1);
}

#[test]
fn a_locked_home_keeps_its_records_and_its_key_but_not_its_tokens_until_its_account_is_back() {
    let (hub, mut phone) = (Hub::new(), Device::new("phone", 9));
    phone.sign_in(&hub);
    let id = phone.log(Collection::Workouts, workout("Legs"));
    let tokens = Tokens { refresh: "secret".to_owned(), access: "short".to_owned(), renew_at: 7 };
    phone.store.keep_tokens(&tokens).unwrap();
    phone.restart();
    assert!(phone.store.tokens().unwrap() == tokens && !phone.store.is_locked().unwrap());
    assert_eq!(format!("{tokens:?}"), "Tokens(hidden)");
    let seed = phone.store.device_seed(&mut StdRng::seed_from_u64(1)).unwrap();

    phone.store.lock().unwrap();
    assert!(phone.store.tokens().unwrap() == Tokens::default() && phone.store.is_locked().unwrap());
    assert_eq!(phone.store.device_seed(&mut StdRng::seed_from_u64(2)).unwrap(), seed, "a key is drawn once");
    phone.sign_in(&hub);
    assert!(!phone.store.is_locked().unwrap());
    assert_eq!(phone.record(id)["title"], "Legs");
}

/// Flips every bit of a page of the home's file, where it lies on the disk.
fn flip_page(path: &std::path::Path, page: usize) {
    const PAGE_BYTES: usize = 4096;
    let mut file = fs::read(path).unwrap();
    file[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(path, file).unwrap();
}

/// What a store says of a home with a page that is not what was written: what it opens and shows, or why not.
fn looked_through(path: &std::path::Path) -> Result<usize, StoreError> {
    let store = Store::open(path, "test", &mut StdRng::seed_from_u64(2))?;
    store.check()?;
    let heads = store.heads()?;
    for (doc_id, _) in &heads {
        store.show(*doc_id)?;
    }
    Ok(heads.len())
}

/// Whatever page is hit, the home opens again, and each record that only this device had is either there and waits to be
/// sent, or was handed back, or the report says that there may have been more.
#[test]
fn a_home_with_any_page_flipped_is_saved_and_says_what_it_could_not_save() {
    let mut phone = Device::new("phone", 31);
    let ids: Vec<_> = (0..20).map(|n| phone.log(Collection::Workouts, workout(&format!("Day {n}")))).collect();
    let path = phone.path();
    drop(phone.store);
    let pages = fs::read(&path).unwrap().len() / 4096;
    let (mut whole, mut reported) = (0, 0);
    for page in 0..pages {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("fitme.db");
        fs::copy(&path, &home).unwrap();
        flip_page(&home, page);
        if looked_through(&home).is_ok() {
            // A free page, or one of an index that nothing asked for here: nothing was lost.
            continue;
        }
        let damaged = fs::read(&home).unwrap();
        let salvaged = Store::salvage(&home, "test", MORNING, &mut StdRng::seed_from_u64(3)).unwrap();
        assert_eq!(fs::read(&salvaged.aside).unwrap().len(), damaged.len(), "page {page}: the damaged file is kept");
        let there = looked_through(&home).unwrap();
        assert_eq!(there, salvaged.saved.len(), "page {page}");
        let store = Store::open(&home, "test", &mut StdRng::seed_from_u64(4)).unwrap();
        let rejected = store.rejected().unwrap();
        assert!(rejected.iter().all(|write| write.code == "store_damaged"), "page {page}");
        let handed_back: std::collections::BTreeSet<_> = rejected.into_iter().map(|write| write.doc_id).collect();
        let known = ids.iter().filter(|id| salvaged.saved.contains(id) || handed_back.contains(id)).count();
        assert!(known == ids.len() || !salvaged.is_complete, "page {page}: {known} of {}: {salvaged:?}", ids.len());
        assert_eq!(store.status().unwrap().pending, salvaged.saved.len() as u64, "page {page}");
        whole += usize::from(there == ids.len());
        reported += usize::from(there < ids.len());
    }
    assert!(whole > 0 && reported > 0, "{whole} homes were saved whole and {reported} in part, of {pages} pages");
}

/// Whoever had the damaged file open when it was replaced would write into a file that nobody opens again.
#[test]
fn a_process_that_has_the_damaged_file_open_writes_nothing_into_it() {
    let mut phone = Device::new("phone", 33);
    phone.log(Collection::Workouts, workout("Legs"));
    let mut rng = StdRng::seed_from_u64(3);
    let path = phone.path();
    let salvaged = Store::salvage(&path, "test", MORNING, &mut rng).unwrap();
    assert_eq!((salvaged.saved.len(), salvaged.lost, salvaged.is_complete), (1, 0, true));
    let command = Command::Create { collection: "workouts".to_owned(), fields: workout("Arms") };
    let error = phone.store.write(&command, MORNING, &mut phone.rng).unwrap_err();
    assert!(matches!(error, WriteError::Store(StoreError::Replaced)), "{error:?}");
    let mut anew = Store::open(&path, "test", &mut rng).unwrap();
    anew.write(&command, MORNING, &mut rng).unwrap();
    drop(phone.store);
    let again = Store::open(&path, "test", &mut rng).unwrap();
    assert_eq!(again.heads().unwrap().len(), 2, "closing the old file took nothing of the new one along");
}

/// Bytes that this thread has asked the operating system to write so far.
#[cfg(target_os = "linux")]
fn bytes_written() -> u64 {
    let counts = fs::read_to_string("/proc/thread-self/io").unwrap();
    counts.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// What a phone's flash is worn by. A change of a few hundred bytes touches the pages of four tables and their indexes, each
/// of which is written to the journal and, now and then, to the file.
#[cfg(target_os = "linux")]
#[test]
fn a_logged_set_writes_no_more_than_its_pages() {
    const SETS: u64 = 240;
    // Measured: 35,871.
    const BYTES_PER_SET: u64 = 40 << 10;
    let mut phone = Device::new("phone", 41);
    let mut written = 0;
    for day in 0..SETS / 24 {
        let id = phone.log(Collection::Workouts, workout(&format!("Day {day}")));
        let exercise = phone.record(id)["exercises"][0]["id"].as_str().unwrap().to_owned();
        let before = bytes_written();
        for set in 0..24 {
            let sets = json!([{ "reps": 5 + set % 8, "load": "80 kg", "kind": "work" }]);
            phone.edit(id, json!({ "exercises": [{ "id": exercise, "sets": sets }] }));
        }
        written += bytes_written() - before;
    }
    let each = written / SETS;
    assert!(each <= BYTES_PER_SET, "{each} bytes were written for each set, the most is {BYTES_PER_SET}");
}
