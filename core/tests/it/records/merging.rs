//! Several devices, one record: what merging keeps, lists and flags.

use automerge::transaction::Transactable;
use fitme_core::collection::Collection::{Meals, Moods, Workouts};
use fitme_core::record;
use serde_json::json;

use super::Device;
use super::examples::{self, MORNING};

#[test]
fn phone_and_tablet_set_the_title_differently_and_both_values_are_listed() {
    let mut phone = Device::new(1);
    phone.create(Workouts, &examples::strength());
    let mut tablet = phone.copy(2);
    phone.edit(Workouts, &json!({"title": "Morning", "session_rpe": 8, "exercises": {"0000000a": {"name": "Press"}}}));
    tablet.edit(Workouts, &json!({"title": "Gym", "session_rpe": 8, "exercises": {"0000000a": {"name": "Bench"}}}));
    phone.meet(&mut tablet);

    let listed = record::conflicts(&phone.doc, Workouts);
    assert_eq!(listed, record::conflicts(&tablet.doc, Workouts));
    let fields: Vec<_> = listed.iter().map(|conflict| conflict.field.as_str()).collect();
    assert_eq!(fields, ["exercises.0000000a.name", "title"], "equal values are no conflict");
    let title = &listed[1].values;
    assert_eq!(title.iter().map(|value| &value.value).collect::<Vec<_>>(), [&json!("Morning"), &json!("Gym")]);
    assert_eq!((title[0].actor, title[0].time_ms), (phone.author.actor, phone.author.time_ms));
    assert_eq!(phone.record(Workouts)["title"], title[1].value, "the shown one comes last");

    // Choosing the value that is shown already settles it.
    phone.edit(Workouts, &json!({"title": "Gym", "exercises": {"0000000a": {"name": "Bench"}}})).unwrap();
    assert_eq!(record::conflicts(&phone.doc, Workouts), []);
}

#[test]
fn sets_tags_and_notes_of_both_stay() {
    let mut phone = Device::new(1);
    phone.create(Workouts, &examples::strength());
    let mut tablet = phone.copy(2);
    let set = |reps: i64| json!({"exercises": [{"id": "0000000a", "sets": [{"reps": reps, "load": "60 kg", "kind": "work"}]}]});
    phone.edit(Workouts, &set(11));
    phone.edit(Workouts, &json!({"note": "Felt strong.\nShoulder fine. Sleep!"}));
    tablet.edit(Workouts, &set(12));
    tablet.edit(Workouts, &json!({"note": "Monday. Felt strong.\nShoulder fine."}));
    phone.meet(&mut tablet);
    let shown = phone.record(Workouts);
    assert_eq!(shown["exercises"][0]["sets"].as_array().unwrap().len(), 4);
    assert_eq!(shown["note"], "Monday. Felt strong.\nShoulder fine. Sleep!");
    assert_eq!(shown, tablet.record(Workouts));
    assert_eq!(record::conflicts(&phone.doc, Workouts), []);
}

#[test]
fn what_only_the_merged_record_shows_is_flagged_and_can_still_be_edited() {
    let mut phone = Device::new(1);
    phone.create(Workouts, &json!({"start": MORNING, "end": MORNING + 1_000}));
    let mut tablet = phone.copy(2);
    phone.edit(Workouts, &json!({"start": MORNING + 900, "exercises": [{"name": "Squat"}]}));
    tablet.edit(
        Workouts,
        &json!({"end": MORNING + 100, "endurance": {"sport": "rowing", "distance": "2 km", "moving_time": "8 min"}}),
    );
    phone.meet(&mut tablet);
    let flags = record::project(&phone.doc, Workouts).flags;
    assert_eq!(
        flags,
        ["end must not be before start", "a workout has either exercises or endurance and laps, not both"]
    );
    assert!(
        phone.edit(Workouts, &json!({"title": "Both"})).is_some(),
        "a problem that was there before stands in nobody's way"
    );
    phone.edit(Workouts, &json!({"endurance": null, "end": null}));
    assert_eq!(record::project(&phone.doc, Workouts).flags, Vec::<String>::new());
}

#[test]
fn a_field_of_a_newer_version_is_kept_and_shown_under_extra() {
    let mut phone = Device::new(1);
    phone.create(Meals, &examples::meal());
    let newer = |tx: &mut automerge::transaction::Transaction<'_>| {
        tx.put(automerge::ROOT, "water_ml", 300).and_then(|()| tx.put(automerge::ROOT, "kind", "brunch"))
    };
    phone.doc.transact(newer).unwrap();
    phone.edit(Meals, &json!({"note": "edited by an older version"}));
    let shown = record::project(&phone.doc, Meals);
    assert_eq!(shown.record["extra"], json!({"water_ml": 300}));
    assert_eq!(shown.record["kind"], "brunch");
    assert_eq!(shown.flags, ["kind must be one of breakfast, lunch, dinner, snack"]);
    assert!(record::Record::from_json(Meals, &shown.record).is_ok());
}

#[test]
fn one_trashes_while_the_other_edits() {
    let mut phone = Device::new(1);
    phone.create(Moods, &examples::mood());
    let mut tablet = phone.copy(2);
    record::set_trashed(&mut phone.doc, true, &phone.author).unwrap();
    tablet.edit(Moods, &json!({"valence": 2}));
    phone.meet(&mut tablet);
    let shown = record::project(&phone.doc, Moods);
    assert!(shown.trashed);
    assert_eq!(shown.record["valence"], 2);
}
