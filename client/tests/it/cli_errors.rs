//! What goes wrong on a command line: one sentence that says what to do, an exit code, and nothing written.

use std::io::{Seek, SeekFrom, Write};

use crate::device::{Device, said};

/// Commands that are understood and refused, with what the sentence must say.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["log", "meal", "--kind", "tea", "--item", "Oats 80g"],
        "kind must be one of breakfast, lunch, dinner, snack, not \"tea\"",
    ),
    (&["log", "meal", "--item", "Oats 80g"], "kind is missing"),
    (&["log", "measurement"], "at least one of weight"),
    (&["log", "measurement", "--weight=-80kg"], "weight must be a number with a unit"),
    (&["log", "measurement", "--weight", "80"], "weight must be a number with a unit"),
    (&["log", "measurement", "--weight", "80 stones"], "weight must be a number with a unit"),
    (&["log", "measurement", "--weight", "NaN kg"], "weight must be a number with a unit"),
    (&["log", "measurement", "--weight", "80kg", "--at", "1850-01-01"], "in the years 1900 to 2100"),
    (&["log", "measurement", "--weight", "80kg", "--at", "2150-01-01"], "in the years 1900 to 2100"),
    (&["log", "workout", "--sport", "running"], "endurance.distance is missing"),
    (&["log", "workout", "--set", "Squat 5x60kg", "--sport", "running"], "endurance.distance is missing"),
    (&["log", "workout", "--start", "2026-11-22 10:00", "--end", "2026-11-22 09:00"], "end must not be before start"),
    (&["log", "workout", "--title", "two\nlines"], "title must be a text of one line"),
    (&["log", "profile", "--birth-date", "1990-02-30"], "birth_date must be a date"),
    (&["log", "mood", "--json", "{\"valence\": 1"], "the given text is not JSON"),
    (&["log", "mood", "--json", "[1, 2]"], "not an object of fields"),
    (&["log", "mood", "--json", "{\"valence\": 1, \"at\": \"noon\"}"], "the time \"noon\" of at is not understood"),
    (&["log", "mood", "--json", "{\"valence\": 1, \"colour\": \"blue\"}"], "colour is not a field here"),
    (&["log", "mood", "--json", "no/such/file.json"], "no/such/file.json cannot be read"),
    (&["edit", "profile", "--json", "{}"], "there is no record profile"),
    (&["show", "deadbeef"], "there is no record deadbeef on this device"),
    (&["show", "01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49"], "there is no record 01936d3e"),
    (&["show", "my lunch"], "\"my lunch\" is no id"),
    (&["show", "ab"], "\"ab\" is no id"),
    (&["trash", "deadbeef"], "there is no record deadbeef"),
    (&["restore", "deadbeef"], "there is no record deadbeef"),
    (&["sync"], "use `fitme signup` or `fitme login` first"),
    (&["sync", "--once"], "use `fitme signup` or `fitme login` first"),
    (&["sync", "--watch"], "use `fitme signup` or `fitme login` first"),
    (&["login", "--email", "alice@example.org", "--password", "secret"], "say with --server URL"),
    (&["login", "--email", "alice@example.org", "--server", "https://sync.example.org"], "no password and no terminal"),
    (
        &["login", "--email", "a@b.c", "--server", "http://sync.example.org", "--password", "x"],
        "http would send health data in the clear",
    ),
    (&["login", "--email", "a@b.c", "--server", "sync.example.org", "--password", "x"], "is no address of a server"),
    (&["login", "--email", "a@b.c", "--server", "http://127.0.0.1:1", "--password", "x"], "cannot be reached"),
    (&["login", "--email", "a@b.c", "--server", "http://127.0.0.1:1", "--password", ""], "the password is empty"),
];

/// Commands that are not understood.
const NOT_UNDERSTOOD: &[&[&str]] = &[
    &["log", "mood", "--valence", "1", "--zone", "Mars/Olympus"],
    &[],
    &["dance"],
    &["log"],
    &["log", "workout", "--set", "Bench press"],
    &["log", "workout", "--start", "noon"],
    &["log", "workout", "--time", "52"],
    &["log", "meal", "--item", "Oats"],
    &["log", "mood", "--valence", "good"],
    &["log", "measurement", "--blood-pressure", "120"],
    &["list"],
    &["list", "journal"],
    &["list", "workouts", "--since", "last week"],
    &["edit", "profile"],
    &["trash"],
    &["import"],
    &["sync", "--once", "--watch"],
    &["login", "--server", "https://sync.example.org"],
];

#[test]
fn what_is_refused_is_refused_with_a_sentence_and_nothing_is_written() {
    let alice = Device::new();
    for (command, expected) in REFUSED {
        let sentence = alice.is_refused(command);
        assert!(sentence.contains(expected), "{command:?}: {sentence}");
    }
    let status = alice.does(&["status"]);
    assert!(status.contains("nothing to send yet") && status.contains("none yet;"), "{status}");
}

#[test]
fn what_is_not_understood_ends_with_2() {
    let alice = Device::new();
    for command in NOT_UNDERSTOOD {
        let said = alice.run(command);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{command:?}");
        assert!(said.err.contains("--help"), "{command:?}: {}", said.err);
    }
}

#[test]
fn a_note_of_64_kib_is_kept_and_one_byte_more_is_refused() {
    let alice = Device::new();
    let file = alice.folder().join("mood.json");
    let mood_with = |bytes: usize| {
        std::fs::write(&file, serde_json::json!({"valence": 0, "note": "x".repeat(bytes)}).to_string()).unwrap();
        ["log", "mood", "--json", file.to_str().unwrap()].map(str::to_owned)
    };
    alice.does(&mood_with(64 << 10));
    let sentence = alice.is_refused(&mood_with((64 << 10) + 1));
    assert_eq!(sentence, "note has 65537 bytes and may have 65536");
    assert!(alice.is_refused(&mood_with(10_000_000)).contains("note has 10000000 bytes"));
    assert!(alice.is_refused(&mood_with(17 << 20)).contains("more than 16 MiB"));
    assert_eq!(alice.records("moods").len(), 1);
}

#[test]
fn a_refused_edit_leaves_the_record_as_it_was() {
    let alice = Device::new();
    alice.does(&["log", "mood", "--valence", "1", "--energy", "3"]);
    let mood = alice.only("moods");
    let id = mood["id"].as_str().unwrap();
    let sentence = alice.is_refused(&["edit", id, "--json", r#"{"energy": 4, "valence": 9}"#]);
    assert_eq!(sentence, "valence must be a whole number from -2 to 2, not 9");
    assert!(alice.is_refused(&["edit", id, "--json", r#"{"valence": null}"#]).contains("valence is missing"));
    assert!(alice.is_refused(&["restore", id, "--to", "00000000"]).contains("names 0 states"));
    assert_eq!(alice.only("moods"), mood);
}

#[test]
fn a_home_of_a_newer_version_is_left_alone() {
    let alice = Device::new();
    alice.does(&["log", "mood", "--valence", "1"]);
    let store = alice.home().join("fitme.db");
    // SQLite keeps the number that counts a schema's versions at byte 60.
    let mut file = std::fs::OpenOptions::new().write(true).open(&store).unwrap();
    file.seek(SeekFrom::Start(60)).unwrap();
    file.write_all(&99_u32.to_be_bytes()).unwrap();
    drop(file);
    let before = std::fs::read(&store).unwrap();
    let sentence = alice.is_refused(&["list", "moods"]);
    assert!(sentence.contains("written by a newer version of FitME (its format is 99"), "{sentence}");
    assert_eq!(std::fs::read(&store).unwrap(), before);
}

#[test]
fn a_file_is_no_home_and_what_no_store_wrote_is_put_aside() {
    let alice = Device::new();
    let file = alice.folder().join("file");
    std::fs::write(&file, "not a home").unwrap();
    assert!(alice.is_refused(&["--home", file.to_str().unwrap(), "status"]).contains("is not a directory"));
    std::fs::create_dir(alice.home()).unwrap();
    let spoilt = "this is no database, whatever its name says";
    std::fs::write(alice.home().join("fitme.db"), spoilt).unwrap();
    // A home whose first page was spoilt looks like that, too: it is kept, and one can go on.
    let status = said(&mut alice.command(&["status"]));
    assert!(status.code == 0 && status.err.contains("the file of this home was damaged"), "{status:?}");
    let kept = std::fs::read_to_string(alice.home().join("fitme.db.damaged-1")).unwrap();
    assert_eq!(kept, spoilt);
}

#[test]
fn the_password_never_shows() {
    let alice = Device::new();
    let mut login = alice.command(&["login", "--email", "alice@example.org", "--server", "http://127.0.0.1:1"]);
    let refused = said(login.env("FITME_PASSWORD", "correct horse").env("FITME_LOG", "trace"));
    assert_eq!(refused.code, 1);
    assert!(!refused.err.contains("correct horse") && !refused.out.contains("correct horse"), "{refused:?}");
}
