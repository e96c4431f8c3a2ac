//! What people of a world log: the diaries of `realistic`, with a word in each note that nobody else writes, so that it can be
//! looked for afterwards; zones on both sides of a night in which the clocks change.

use std::collections::BTreeSet;

use fitme_core::record::Scalar;
use fitme_core::store::Imported;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::script::Dice;

/// What each marked word begins with; its number follows, and a letter that ends it.
const MARK: &str = "zqmark";
/// Files that people import.
const FILES: u8 = 4;
/// 2026-10-25 00:30 UTC: in Rome the hour from 2 to 3 comes twice.
pub const BEGINNING_MS: i64 = 1_792_888_200_000;
/// Of which one has no such night, and one has it a week later.
const ZONES: [&str; 3] = ["Europe/Rome", "Asia/Tokyo", "America/New_York"];

/// A note with the word of that number.
pub fn note(number: u64) -> String {
    format!("felt fine {MARK}{number}x")
}

/// What prose is edited to: of it only the letters travel in which it differs, and what two people wrote at once is mixed, so that
/// its words are nobody's.
pub fn prose(number: u64) -> String {
    format!("felt better {number}")
}

/// The numbers of the words in some bytes.
pub fn marks_in(bytes: &[u8]) -> BTreeSet<u64> {
    let mut marks = BTreeSet::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, MARK.as_bytes()) {
        rest = &rest[at + MARK.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Cut off by the end of a sector it is no word.
        if rest.get(digits) == Some(&b'x') {
            let number: Option<u64> = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok());
            marks.extend(number);
        }
    }
    marks
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == wanted[0]) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A record of the diary as this world has it.
pub fn marked(mut fields: Value, number: u64, dice: &mut Dice) -> Value {
    fields["note"] = note(number).into();
    fields["zone"] = (*ZONES.choose(dice).expect("there are zones")).into();
    fields
}

/// One of a few files, as this or a later version of the importer reads it.
pub fn imported(dice: &mut Dice) -> ([u8; 32], Imported) {
    let file_hash = [dice.random_range(1..=FILES); 32];
    let start = BEGINNING_MS - i64::from(file_hash[0]) * 3_600_000;
    let text = |text: &str| Scalar::Text(text.to_owned());
    let first = vec![
        ("start".to_owned(), Scalar::Time(start)),
        ("endurance/sport".to_owned(), text("cycling")),
        ("endurance/distance".to_owned(), text("42.2 km")),
        ("laps/0/distance".to_owned(), text("5 km")),
    ];
    let later = vec![("laps/0/average_heart_rate".to_owned(), Scalar::Int(131))];
    let steps = if dice.random_bool(0.5) { vec![first, later] } else { vec![first] };
    (file_hash, Imported { file_hash, session: 0, steps, zone_guess: Some(ZONES[dice.random_range(0..3)].to_owned()) })
}

/// A grant of Ann's to her trainer.
pub fn grant(grantee: uuid::Uuid, now_ms: i64, dice: &mut Dice) -> Value {
    let access = *["read", "write"].choose(dice).expect("there are two");
    let mut fields = json!({
        "at": now_ms, "kind": "grant", "grantee": grantee.to_string(), "grantee_role": "trainer", "grantee_name": "Tom",
        "shown_as": "Ann", "purpose": "training",
        "feeds": [{ "collection": "workouts", "access": access }, { "collection": "moods", "access": "read" }],
    });
    if dice.random_bool(0.3) {
        fields["feeds"] = json!([{ "collection": "meals", "access": "read" }]);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_their_numbers() {
        let text = format!("a{} b {} {MARK}12", note(7), note(123));
        assert_eq!(marks_in(text.as_bytes()), BTreeSet::from([7, 123]));
    }
}
