//! One person, one device: what an edit does, and what is refused.

use fitme_core::collection::Collection::{self, Meals, Measurements, Moods, Profile, Workouts};
use fitme_core::record;
use serde_json::{Value, json};

use super::examples::{self, MORNING, full};
use super::{Device, accepted, random_id};

fn with(collection: Collection, fields: &Value) -> Device {
    let mut device = Device::new(1);
    device.create(collection, fields);
    device
}

fn refusal(collection: Collection, fields: &Value) -> String {
    record::validate(collection, fields).unwrap_err().to_string()
}

#[test]
fn ada_logs_one_more_set_and_nothing_else_is_written() {
    let mut ada = with(Workouts, &examples::strength());
    let set = json!({"exercises": [{"id": "0000000a", "sets": [{"reps": 4, "load": "62.5 kg", "kind": "drop"}]}]});
    let payload = ada.edit(Workouts, &set).unwrap();
    let sets = ada.record(Workouts)["exercises"][0]["sets"].clone();
    assert_eq!(sets.as_array().unwrap().len(), 3);
    assert_eq!(sets[2]["reps"], 4);
    accepted(Workouts, random_id(), &[payload]);
    let history = record::history(&ada.doc).unwrap();
    assert_eq!(history[1].fields, [format!("exercises.0000000a.sets.{}", sets[2]["id"].as_str().unwrap())]);
}

#[test]
fn an_equal_value_writes_nothing() {
    for collection in super::examples::editable() {
        let mut device = with(collection, &full(collection));
        let shown = device.record(collection);
        assert_eq!(device.edit(collection, &shown), None, "{collection}");
    }
}

#[test]
fn null_removes_a_field_an_item_and_a_group() {
    let mut ada = with(Workouts, &examples::strength());
    ada.edit(Workouts, &json!({"title": null, "source": null, "exercises": {"0000000d": null, "0000000a": {"sets": {"0000000b": null}}}}));
    let shown = ada.record(Workouts);
    assert!(shown.get("title").is_none() && shown.get("source").is_none());
    assert_eq!(shown["exercises"].as_array().unwrap().len(), 1);
    assert_eq!(shown["exercises"][0]["sets"][0]["id"], "0000000c");

    let mut run = with(Workouts, &examples::endurance());
    run.edit(Workouts, &json!({"laps": {"0": null, "1": {"energy": "61 kcal"}}}));
    assert_eq!(run.record(Workouts)["laps"][0]["energy"]["value"], 61);
    run.edit(Workouts, &json!({"laps": null, "endurance": null}));
    assert!(run.record(Workouts).get("laps").is_none());
}

#[test]
fn an_item_moves_behind_another_and_to_the_front() {
    let mut meal = with(Meals, &examples::meal());
    meal.edit(Meals, &json!({"items": [{"name": "Coffee", "amount": "200 g", "after": "0000000a"}]}));
    let names = |device: &Device| {
        device.record(Meals)["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&meal), ["Oats", "Coffee", "Milk"]);
    meal.edit(Meals, &json!({"items": {"0000000b": {"after": null}}}));
    assert_eq!(names(&meal), ["Milk", "Oats", "Coffee"]);
}

#[test]
fn items_keep_their_order_however_often_they_are_moved() {
    let mut device = with(
        Meals,
        &json!({"at": MORNING, "kind": "snack", "items": [
        {"id": "0000000a", "name": "a", "amount": "1 g"}, {"id": "0000000b", "name": "b", "amount": "1 g"}]}),
    );
    let mut expected = vec!["0000000a".to_owned(), "0000000b".to_owned()];
    // Always into the same gap, from both sides, then always to the front: positions get longer and stay in order.
    for round in 0..600 {
        let moved = expected.remove(if round % 2 == 0 { expected.len() - 1 } else { 0 });
        let after = (round < 300).then(|| expected[0].clone());
        let at = after.is_some().into();
        expected.insert(at, moved.clone());
        device.edit(Meals, &json!({"items": {moved: {"after": after}}}));
        let shown: Vec<_> = device.record(Meals)["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(shown, expected, "round {round}");
    }
}

#[test]
fn tags_are_a_set_or_single_switches() {
    let mut mood = with(Moods, &examples::mood());
    mood.edit(Moods, &json!({"tags": {"sun": true, "work": false}}));
    assert_eq!(mood.record(Moods)["tags"], json!(["energy", "sun"]));
    let payload = mood.edit(Moods, &json!({"tags": ["pos", "valence"]})).unwrap();
    assert_eq!(mood.record(Moods)["tags"], json!(["pos", "valence"]));
    accepted(Moods, random_id(), &[payload]);
}

#[test]
fn a_long_note_is_written_replaced_and_cleared() {
    let longest = "é ".repeat(65_536 / 3);
    let mut mood = with(Moods, &json!({"at": MORNING, "valence": 0, "note": longest}));
    assert_eq!(mood.record(Moods)["note"], longest);
    let other = "x".repeat(65_536);
    let replaced = mood.edit(Moods, &json!({"note": other})).unwrap();
    assert_eq!(mood.record(Moods)["note"], other);
    let cleared = mood.edit(Moods, &json!({"note": null})).unwrap();
    assert!(mood.record(Moods).get("note").is_none());
    accepted(Moods, random_id(), &[replaced, cleared]);
    let too_long =
        record::validate(Moods, &json!({"at": MORNING, "valence": 0, "note": "x".repeat(65_537)})).unwrap_err();
    assert_eq!(too_long.to_string(), "note has 65537 bytes and may have 65536");
}

#[test]
fn an_edit_too_large_for_one_change_leaves_the_document_as_it_was() {
    let mut ada = with(Workouts, &examples::strength());
    let before = (ada.doc.get_heads(), ada.record(Workouts));
    let sets: Vec<_> =
        (0..2_000).map(|_| json!({"reps": 1, "load": "1 kg", "kind": "work", "rpe": 5, "done_at": MORNING})).collect();
    let refused = ada.try_edit(Workouts, &json!({"exercises": [{"id": "0000000a", "sets": sets}]})).unwrap_err();
    assert!(refused.to_string().contains("too large") || refused.to_string().contains("may have"), "{refused}");
    assert_eq!((ada.doc.get_heads(), ada.record(Workouts)), before);
    assert!(ada.edit(Workouts, &json!({"title": "still works"})).is_some());
}

#[test]
fn a_refused_edit_writes_nothing() {
    let mut ada = with(Workouts, &examples::strength());
    let before = ada.doc.get_heads();
    for patch in [
        json!({"title": "x", "end": MORNING - 1}),
        json!({"title": "x", "exercises": [{"id": "zzzzzzzz", "name": "x"}]}),
        json!({"title": "x", "start": null}),
        json!({"title": "x", "exercises": {"0000000a": {"name": null}}}),
        json!({"title": "x", "endurance": {"sport": "rowing", "distance": 0, "moving_time": 0}}),
    ] {
        ada.try_edit(Workouts, &patch).unwrap_err();
        assert_eq!(ada.doc.get_heads(), before, "{patch}");
    }
    assert_eq!(ada.record(Workouts)["title"], "Push");
}

#[test]
fn a_refusal_says_where_and_what_would_be_right() {
    let mut workout = examples::strength();
    workout["exercises"][0]["sets"][1]["reps"] = json!(5_000);
    assert_eq!(
        refusal(Workouts, &workout),
        "exercises[0].sets[1].reps must be a whole number from 0 to 1000, not 5000"
    );
    for (collection, fields, said) in [
        (Workouts, json!({}), "start is missing"),
        (Workouts, json!([]), "a JSON object"),
        (Workouts, json!({"start": MORNING, "end": MORNING - 1}), "end must not be before start"),
        (Workouts, json!({"start": MORNING, "colour": 1}), "colour is not a field here; the fields are start, end"),
        (Workouts, json!({"start": MORNING, "zone_guess": "UTC"}), "zone_guess is not a field here"),
        (Workouts, json!({"start": MORNING, "trashed": true}), "trashed is not a field here"),
        (Workouts, json!({"start": MORNING, "exercises": [{"sets": []}]}), "exercises[0].name is missing"),
        (Workouts, json!({"start": MORNING, "exercises": [{"name": "x", "id": "7"}]}), "is not an item's id"),
        (
            Workouts,
            json!({"start": 4_133_980_800_000_i64}),
            "start must be milliseconds since 1970 UTC, in the years 1900 to 2100",
        ),
        (Workouts, json!({"start": MORNING, "title": "two\nlines"}), "title must be a text of one line"),
        (Measurements, json!({"at": MORNING}), "at least one of weight, body_fat"),
        (
            Measurements,
            json!({"at": MORNING, "weight": "-80 kg"}),
            "weight must be a number with a unit (kg, g, lb, oz, st), from 0.2 to 700 kg",
        ),
        (Measurements, json!({"at": MORNING, "weight": "80 cm"}), "weight must be a number with a unit"),
        (
            Measurements,
            json!({"at": MORNING, "blood_pressure": {"systolic": 120}}),
            "blood_pressure.diastolic is missing",
        ),
        (Moods, json!({"at": MORNING, "valence": 3}), "valence must be a whole number from -2 to 2, not 3"),
        (Moods, json!({"at": MORNING, "valence": 0, "tags": [1]}), "tags must be an array of texts"),
        (Moods, json!({"at": MORNING, "valence": 0, "note": "a\u{0}b"}), "note holds the character U+0000"),
        (Moods, json!({"at": MORNING, "valence": 0, "tags": ["a\u{0}b"]}), "tags must be a text of one line"),
        (Profile, json!({"units": "metric", "zone": "UTC", "birth_date": "2023-02-29"}), "birth_date must be a date"),
        (Collection::Journal, json!({}), "not served"),
    ] {
        let refusal = refusal(collection, &fields);
        assert!(refusal.contains(said), "{refusal:?} does not say {said:?}");
    }
}

#[test]
fn trash_can_be_undone_and_twice_is_once() {
    let mut ada = with(Moods, &examples::mood());
    let trashed = record::set_trashed(&mut ada.doc, true, &ada.author).unwrap();
    assert!(record::project(&ada.doc, Moods).trashed);
    assert_eq!(record::set_trashed(&mut ada.doc, true, &ada.author), None);
    let restored = record::set_trashed(&mut ada.doc, false, &ada.author).unwrap();
    assert!(!record::project(&ada.doc, Moods).trashed);
    assert_eq!(record::set_trashed(&mut ada.doc, false, &ada.author), None);
    accepted(Moods, random_id(), &[trashed, restored]);
}

#[test]
fn an_earlier_state_comes_back_as_a_later_change() {
    for collection in super::examples::editable() {
        let mut ada = with(collection, &full(collection));
        let then = ada.record(collection);
        let first = record::history(&ada.doc).unwrap()[0].hash;
        match collection {
            Workouts => {
                ada.edit(Workouts, &json!({"title": null, "note": "other", "exercises": {"0000000a": null, "0000000d": {"name": "Chin-ups", "sets": [{"reps": 1, "load": 0, "kind": "work"}]}}}));
                ada.edit(Workouts, &json!({"exercises": [{"name": "Rows"}]}));
            }
            Meals => {
                drop(ada.edit(Meals, &json!({"items": {"0000000b": {"after": null, "kcal": null}}, "kind": "dinner"})))
            }
            Moods => drop(ada.edit(Moods, &json!({"tags": [], "note": null, "valence": 2}))),
            Measurements => drop(ada.edit(Measurements, &json!({"blood_pressure": null, "weight": "70 kg"}))),
            _ => drop(ada.edit(Profile, &json!({"objective": {"goal": "lose"}, "allergies": ["milk"]}))),
        }
        assert_ne!(ada.record(collection), then);
        let payload = record::restore_to(&mut ada.doc, collection, &first, &ada.author, &mut ada.rng).unwrap().unwrap();
        assert_eq!(ada.record(collection), then, "{collection}");
        assert_eq!(record::restore_to(&mut ada.doc, collection, &first, &ada.author, &mut ada.rng), Ok(None));
        accepted(collection, random_id(), &[payload]);
    }
}

#[test]
fn a_state_that_never_was_cannot_come_back() {
    let mut ada = with(Moods, &examples::mood());
    let refused =
        record::restore_to(&mut ada.doc, Moods, &fitme_core::id::ChangeHash([1; 32]), &ada.author, &mut ada.rng)
            .unwrap_err();
    assert!(refused.to_string().contains("its history lists them"), "{refused}");
}
