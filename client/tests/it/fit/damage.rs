//! Files that are cut, bent or hostile: refused with offset and reason, never a panic, never a part of them.

use std::process::Command;

use fitme_client::fit::{FitError, MAX_FILE_BYTES, MAX_LAPS, MAX_PARTS, MAX_SESSIONS, read};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::build::{self, Field, NEW_YEAR};
use super::fixture;

const SEED: u64 = 0x0F17;

fn offset_and_reason(bytes: &[u8]) -> (usize, String) {
    match read(bytes) {
        Err(FitError::Damaged { offset, reason }) => (offset, reason),
        other => panic!("expected a damaged file, got {other:?}"),
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_where_it_ends() {
    let whole = fixture("hrv-activity.fit");
    for length in (0..whole.len()).step_by(97) {
        match read(&whole[..length]) {
            Err(FitError::NotFit) => assert!(length < 12, "cut at {length}"),
            Err(FitError::Damaged { offset, .. }) => assert_eq!(offset, length),
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

#[test]
fn a_bent_bit_never_passes_the_checksums() {
    let whole = fixture("Activity.fit");
    for bit in 0..whole.len() * 8 {
        let mut bent = whole.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let outcome = read(&bent);
        assert!(matches!(outcome, Err(FitError::Damaged { .. } | FitError::NotFit)), "bit {bit}: {outcome:?}");
    }
}

/// With a right checksum the bent bytes reach the parser, which may make sense of them or not.
#[test]
fn bent_messages_under_a_right_checksum_never_panic() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    let mut refused = 0;
    for name in ["Activity.fit", "DeveloperData.fit", "garmin-fenix-5-bike.fit"] {
        let whole = fixture(name);
        for _ in 0..1_500 {
            let mut bent = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(14..whole.len() - 2);
                bent[at] = random.random();
            }
            build::repair(&mut bent);
            if let Err(FitError::Damaged { offset, .. }) = read(&bent) {
                assert!(offset < bent.len());
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "only {refused} of 4500 reached the parser's errors");
}

#[test]
fn random_bytes_in_a_right_frame_never_panic() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..3_000 {
        let noise: Vec<u8> = (0..random.random_range(1..400)).map(|_| random.random()).collect();
        let file = build::part(&[build::file_id(4), build::session(0, &[]), noise]);
        if let Err(FitError::Damaged { offset, .. }) = read(&file) {
            assert!((14..file.len()).contains(&offset));
        }
    }
}

#[test]
fn a_damaged_later_part_refuses_the_whole_file() {
    let sound = fixture("Activity.fit");
    let mut bent = sound.clone();
    bent[400] ^= 1;
    let (offset, reason) = offset_and_reason(&[sound.clone(), bent].concat());
    assert_eq!(offset, 2 * sound.len() - 2);
    assert!(reason.starts_with("the checksum of its data is"), "{reason}");

    let broken = build::part(&[build::file_id(4), vec![0x03]]);
    let (offset, reason) = offset_and_reason(&[sound.clone(), broken.clone()].concat());
    assert_eq!(offset, sound.len() + broken.len() - 3);
    assert_eq!(reason, "a message of local type 3, which nothing before it defines");

    let (offset, _) = offset_and_reason(&[sound.clone(), vec![0; 5]].concat());
    assert_eq!(offset, sound.len());
}

#[test]
fn a_frame_that_contradicts_itself_is_named() {
    let sound = build::part(&[build::file_id(4), build::session(0, &[])]);
    let bend = |at: usize, value: u8| {
        let mut bent = sound.clone();
        bent[at] = value;
        offset_and_reason(&bent)
    };
    let (offset, reason) = bend(12, sound[12] ^ 1);
    assert_eq!(offset, 12);
    assert!(reason.starts_with("the checksum of its header is"), "{reason}");
    assert_eq!(bend(0, 13), (0, "its header says it is 13 bytes long, not 12 or 14".to_owned()));

    let unfinished = build::part(&[]);
    let reason = "its header promises no data, as a recording has that was never finished".to_owned();
    assert_eq!(offset_and_reason(&unfinished), (4, reason));
    assert_eq!(read(b"PK\x03\x04 is a zip file"), Err(FitError::NotFit));
    assert_eq!(read(b""), Err(FitError::NotFit));
}

#[test]
fn a_message_that_runs_past_its_part_is_refused_where_it_begins() {
    let mut last = build::session(0, &[]);
    last.pop();
    let start_of_message = 14 + build::file_id(4).len() + last.len() - 5;
    let (offset, reason) = offset_and_reason(&build::part(&[build::file_id(4), last]));
    assert_eq!((offset, reason.as_str()), (start_of_message, "the message runs past the end of its part"));
}

#[test]
fn a_session_of_a_device_whose_clock_was_never_set_is_refused() {
    let session = build::message(18, &[Field::Long(2, 3_600), Field::Byte(5, 1)]);
    let (offset, reason) = offset_and_reason(&build::part(&[build::file_id(4), session]));
    assert_eq!(offset, 14 + build::file_id(4).len() + 12, "where the message is, behind its definition");
    assert_eq!(reason, "a session without the calendar time of its start");
}

/// Developer field 0 is described as two bytes wide and used with `size` and with 9 bytes, in front of a thousand
/// laps: the parser would read on into them.
#[test]
fn a_developer_field_of_an_odd_size_is_refused_alone() {
    let describe = build::message(206, &[Field::Byte(0, 0), Field::Byte(1, 0), Field::Byte(2, 0x84)]);
    let head = [build::file_id(4), build::session(0, &[]), describe].concat();
    // Of 3 bytes the parser would take 4. Of 255 it loses count: it panics in a debug build, and would otherwise
    // read to the end of the file.
    for size in [3, 255] {
        let definition = [0x60, 0, 0, 20, 0, 1, 253, 4, 0x86, 2, 0, size, 0, 0, 9, 0];
        let record = [&[0][..], &NEW_YEAR.to_le_bytes(), &vec![1; usize::from(size) + 9]].concat();
        let laps = build::lap(0, 1).repeat(1_000);
        let file = build::part(&[head.clone(), definition.to_vec(), record, laps]);
        let (offset, reason) = offset_and_reason(&file);
        assert_eq!(offset, 14 + head.len() + definition.len());
        assert!(reason.starts_with("the message has "), "{reason}");
    }
}

/// The parser of the library announces odd sizes on standard error; people and scripts read ours.
#[test]
fn nothing_is_said_on_standard_error() {
    let bending = ["fit::damage::random_bytes_in_a_right_frame_never_panic", "--exact", "--nocapture"];
    let output = Command::new(std::env::current_exe().unwrap()).args(bending).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A four-byte number in three bytes: the library would announce it on standard error and read it as bytes.
#[test]
fn an_ordinary_field_of_an_odd_size_is_passed_over() {
    let odd = [&[0x40, 0, 0, 18, 0, 3, 2, 4, 0x86, 9, 3, 0x86, 11, 2, 0x84, 0][..], &NEW_YEAR.to_le_bytes()].concat();
    let session = [odd, vec![1, 2, 3, 200, 0]].concat();
    let file = read(&build::part(&[build::file_id(4), session])).unwrap();
    assert_eq!(file.sessions[0].distance_m, None);
    assert_eq!(file.sessions[0].energy_kcal, Some(200.0));
}

#[test]
fn more_than_the_limits_is_refused() {
    let found = MAX_FILE_BYTES + 1;
    assert_eq!(read(&vec![0; found]), Err(FitError::TooLarge { what: "bytes", found, limit: MAX_FILE_BYTES }));

    let limit = MAX_PARTS;
    let chain = build::part(&[build::file_id(4)]).repeat(limit + 1);
    assert_eq!(read(&chain), Err(FitError::TooLarge { what: "chained parts", found: limit + 1, limit }));

    let activity = |messages: Vec<Vec<u8>>| build::part(&[vec![build::file_id(4)], messages].concat());
    let race = activity(vec![build::session(0, &[]); MAX_SESSIONS]);
    assert_eq!(read(&race).unwrap().sessions.len(), MAX_SESSIONS);
    let one_more = [race, activity(vec![build::session(0, &[])])].concat();
    let limit = MAX_SESSIONS;
    assert_eq!(read(&one_more), Err(FitError::TooLarge { what: "sessions", found: limit + 1, limit }));

    let laps = activity([vec![build::session(0, &[])], vec![build::lap(1, 1); MAX_LAPS + 1]].concat());
    let limit = MAX_LAPS;
    assert_eq!(read(&laps), Err(FitError::TooLarge { what: "laps", found: limit + 1, limit }));
}
