//! Three devices edit one record at random and hear of each other in any order: in the end all show the same, and a
//! server of the same version accepts every change. proptest prints the seed of a failure.

use fitme_core::collection::Collection;
use fitme_core::record;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use super::examples::{self, MORNING};
use super::{Device, accepted, random_id};

/// What one device does.
#[derive(Debug, Clone)]
enum Step {
    /// Edits with a patch; an id in it stands for an item that is there, chosen by its number.
    Edit(Value),
    Trash(bool),
    Restore(Index),
    /// Hears of everything another device has.
    Hear(usize),
}

fn amount(unit: &'static str) -> impl Strategy<Value = Value> {
    (1_u32..400).prop_map(move |value| json!(format!("{} {unit}", f64::from(value) / 4.0)))
}

fn word() -> impl Strategy<Value = Value> {
    "[a-zé🏋 ]{0,8}[a-z]".prop_map(Value::String)
}

fn set() -> impl Strategy<Value = Value> {
    (0_i64..30, prop_oneof![amount("kg"), amount("lb")], select(vec!["warm-up", "work", "drop"]))
        .prop_map(|(reps, load, kind)| json!({"reps": reps, "load": load, "kind": kind}))
}

fn workout_patch() -> impl Strategy<Value = Value> {
    let any_id = || (0_usize..4).prop_map(|number| format!("#{number}"));
    prop_oneof![
        word().prop_map(|title| json!({"title": title})),
        "[a-zé🏋 \n]{0,30}".prop_map(|note| json!({"note": note})),
        Just(json!({"title": null, "end": null})),
        (0_i64..100).prop_map(|rpe| json!({"session_rpe": rpe as f64 / 10.0, "end": MORNING + rpe})),
        (word(), proptest::collection::vec(set(), 0..3))
            .prop_map(|(name, sets)| json!({"exercises": [{"name": name, "sets": sets}]})),
        (any_id(), set()).prop_map(|(id, set)| json!({"exercises": {id: {"sets": [set]}}})),
        (any_id(), word()).prop_map(|(id, name)| json!({"exercises": {id: {"name": name, "exercise_ref": null}}})),
        (any_id(), any_id()).prop_map(|(id, after)| json!({"exercises": {id: {"after": after}}})),
        any_id().prop_map(|id| json!({"exercises": {id: null}})),
        any_id().prop_map(|id| json!({"exercises": {id: {"after": null}}})),
    ]
}

fn mood_patch() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-2_i64..=2).prop_map(|valence| json!({"valence": valence})),
        (select(vec!["a", "b", "pos", "energy"]), any::<bool>()).prop_map(|(tag, there)| json!({"tags": {tag: there}})),
        proptest::collection::vec(word(), 0..3).prop_map(|tags| json!({"tags": tags})),
        "[a-z ]{0,12}".prop_map(|note| json!({"note": note})),
        Just(json!({"energy": null})),
    ]
}

fn endurance_patch() -> impl Strategy<Value = Value> {
    prop_oneof![
        amount("km").prop_map(|distance| json!({"endurance": {"distance": distance}})),
        (0_usize..3, amount("m"))
            .prop_map(|(lap, distance)| json!({"laps": {format!("#{lap}"): {"distance": distance}}})),
        proptest::collection::vec(amount("m"), 1..3).prop_map(
            |laps| json!({"laps": laps.into_iter().map(|distance| json!({"distance": distance})).collect::<Vec<_>>()})
        ),
        (0_usize..3).prop_map(|lap| json!({"laps": {format!("#{lap}"): null}})),
        Just(json!({"laps": null})),
    ]
}

fn steps(patch: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        6 => patch.prop_map(Step::Edit),
        1 => any::<bool>().prop_map(Step::Trash),
        1 => any::<Index>().prop_map(Step::Restore),
        2 => (0_usize..3).prop_map(Step::Hear),
    ];
    proptest::collection::vec((0_usize..3, step), 1..30)
}

/// Puts real ids in place of "#2": item number 2 of the list, if there are so many.
fn with_ids(patch: &Value, record: Option<&Value>) -> Option<Value> {
    let list = record.and_then(Value::as_array);
    let id = |text: &str| {
        let number: usize = text.strip_prefix('#')?.parse().ok()?;
        Some(list?.get(number)?["id"].as_str()?.to_owned())
    };
    match patch {
        Value::Object(object) => {
            let mut with_ids_in = Map::new();
            for (key, value) in object {
                let (key, inside) = if key.starts_with('#') {
                    let id = id(key)?;
                    let item = list?.iter().find(|item| item["id"] == id.as_str());
                    if value.get("after").and_then(Value::as_str).is_some() {
                        let after = with_ids(&value["after"], record).filter(|after| after.as_str() != Some(&id))?;
                        with_ids_in.insert(id, json!({"after": after}));
                        continue;
                    }
                    (id, item)
                } else {
                    (key.clone(), record.and_then(|record| record.get(key)))
                };
                with_ids_in.insert(key, with_ids(value, inside)?);
            }
            Some(Value::Object(with_ids_in))
        }
        Value::String(text) if text.starts_with('#') => id(text).map(Value::String),
        other => Some(other.clone()),
    }
}

fn play(collection: Collection, start: &Value, steps: &[(usize, Step)], order: &[Index]) {
    let mut first = Device::new(1);
    first.create(collection, start);
    let (second, third) = (first.copy(2), first.copy(3));
    let mut devices = [first, second, third];
    for (who, step) in steps {
        let device = &mut devices[*who];
        device.author.time_ms += 1_000;
        match step {
            Step::Edit(patch) => {
                if let Some(patch) = with_ids(patch, Some(&device.record(collection))) {
                    // Refused edits are part of the game: what was merged may not take them.
                    let before = device.doc.get_heads();
                    if device.try_edit(collection, &patch).is_err() {
                        assert_eq!(device.doc.get_heads(), before, "a refused edit wrote something: {patch}");
                    }
                }
            }
            Step::Trash(trashed) => drop(record::set_trashed(&mut device.doc, *trashed, &device.author)),
            Step::Restore(index) => {
                let history = record::history(&device.doc).unwrap();
                let at = history[index.index(history.len())].hash;
                record::restore_to(&mut device.doc, collection, &at, &device.author, &mut device.rng).unwrap();
            }
            Step::Hear(other) => {
                let heard = devices[*other].changes();
                devices[*who].receive(&heard);
            }
        }
    }
    in_the_end(collection, devices, order);
}

/// Everyone hears of everything, one newcomer in a shuffled order; all agree, and so does a reader of a snapshot.
fn in_the_end(collection: Collection, mut devices: [Device; 3], order: &[Index]) {
    let mut all: Vec<_> = devices.iter().flat_map(Device::changes).collect();
    all.sort();
    all.dedup();
    accepted(collection, random_id(), &all);
    for (at, index) in order.iter().enumerate().take(all.len()) {
        let other = index.index(all.len());
        all.swap(at, other);
    }
    let mut newcomer = Device::new(4);
    all.iter().for_each(|change| newcomer.receive(std::slice::from_ref(change)));
    let expected = (
        newcomer.doc.get_heads(),
        record::project(&newcomer.doc, collection),
        record::conflicts(&newcomer.doc, collection),
    );
    for device in &mut devices {
        device.receive(&all);
        let got = (
            device.doc.get_heads(),
            record::project(&device.doc, collection),
            record::conflicts(&device.doc, collection),
        );
        assert_eq!(got, expected);
    }
    let options = automerge::LoadOptions::new().text_encoding(automerge::TextEncoding::UnicodeCodePoint);
    let loaded = automerge::Automerge::load_with_options(&newcomer.doc.save_nocompress(), options).unwrap();
    assert_eq!(loaded.get_heads(), expected.0);
    assert_eq!(record::project(&loaded, collection), expected.1);
    assert_eq!(record::conflicts(&loaded, collection), expected.2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn three_devices_agree_on_a_strength_workout(steps in steps(workout_patch()), order in proptest::collection::vec(any::<Index>(), 40)) {
        play(Collection::Workouts, &examples::strength(), &steps, &order);
    }

    #[test]
    fn three_devices_agree_on_an_endurance_workout(steps in steps(endurance_patch()), order in proptest::collection::vec(any::<Index>(), 40)) {
        play(Collection::Workouts, &examples::endurance(), &steps, &order);
    }

    #[test]
    fn three_devices_agree_on_a_mood(steps in steps(mood_patch()), order in proptest::collection::vec(any::<Index>(), 40)) {
        play(Collection::Moods, &examples::mood(), &steps, &order);
    }
}
