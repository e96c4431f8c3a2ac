//! Structs, JSON, documents and documentation say the same.

use std::collections::BTreeSet;

use fitme_core::collection::Collection;
use fitme_core::record::{self, Record};
use serde_json::{Value, json};

use super::examples::{self, full, served};
use super::{Device, accepted, random_id};

#[test]
fn a_full_record_goes_through_struct_json_and_document_unchanged() {
    for collection in served() {
        let written = Record::from_json(collection, &full(collection)).unwrap();
        let json = written.to_json();
        record::validate(collection, &json).unwrap_or_else(|invalid| panic!("{collection}: {invalid}"));

        let mut device = Device::new(1);
        let payload = device.create(collection, &json);
        let shown = record::project(&device.doc, collection);
        assert_eq!(shown.record, full(collection), "{collection}");
        assert_eq!(shown.flags, Vec::<String>::new(), "{collection}");
        assert_eq!(Record::from_json(collection, &shown.record).unwrap(), written, "{collection}");
        assert_eq!(written.collection(), collection);
        accepted(collection, random_id(), &[payload]);
    }
}

#[test]
fn an_endurance_workout_keeps_its_units_and_the_order_of_its_laps() {
    let mut device = Device::new(1);
    device.create(Collection::Workouts, &examples::endurance());
    let shown = device.record(Collection::Workouts);
    assert_eq!(shown["endurance"]["distance"]["unit"], "mi");
    assert_eq!(shown["laps"][0]["id"], "0");
    assert_eq!(shown["laps"][1]["id"], "1");
    assert_eq!(shown["laps"][1]["distance"], json!({"value": 1, "unit": "km", "si": 1000}));
    let typed = Record::from_json(Collection::Workouts, &shown).unwrap();
    assert_eq!(Record::from_json(Collection::Workouts, &typed.to_json()).unwrap(), typed);
}

/// The paths of a JSON value, as docs/records.md writes them.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if object.contains_key("unit") => drop(found.insert(path.to_owned())),
        Value::Object(object) => {
            if !path.is_empty() {
                found.insert(path.to_owned());
            }
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                paths(value, &path, found);
            }
        }
        Value::Array(array) if array.iter().any(Value::is_object) => {
            array.iter().for_each(|value| paths(value, &format!("{path}[]"), found))
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

/// The structs are written by hand, the tables too: a field in one and not in the other is lost on the way.
#[test]
fn the_keys_of_the_structs_are_the_keys_of_the_tables() {
    let reference = record::reference();
    for collection in served() {
        let section = reference.split(&format!("\n## {collection}\n")).nth(1).unwrap();
        let rows = section
            .split("\n## ")
            .next()
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("| `") && !line.contains("kept by the engine"));
        let table: BTreeSet<String> = rows.map(|line| line.split('`').nth(1).unwrap().to_owned()).collect();

        let mut structs = BTreeSet::new();
        let mut examples = vec![full(collection)];
        if collection == Collection::Workouts {
            examples.push(examples::endurance());
        }
        if collection == Collection::Grants {
            examples.push(examples::revocation());
        }
        for example in examples {
            paths(&Record::from_json(collection, &example).unwrap().to_json(), "", &mut structs);
        }
        structs.retain(|path| !path.ends_with("[].id"));
        assert_eq!(structs, table, "{collection}");
    }
}

#[test]
fn docs_records_md_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/records.md");
    let reference = record::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &reference).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == reference,
        "docs/records.md is not what the tables say; refresh it with UPDATE_DOCS=1 cargo test -p fitme-core --test it records"
    );
}

#[test]
fn lists_show_columns_without_loading_the_record() {
    let columns = |collection, fields: &Value| {
        let mut device = Device::new(1);
        device.create(collection, fields);
        record::project(&device.doc, collection).columns
    };
    assert_eq!(
        columns(Collection::Workouts, &examples::strength()),
        json!({"zone": "Europe/Rome", "title": "Push", "kind": "strength", "exercises": 2, "names": ["Bench press", "Dips"], "sets": 2, "volume_kg": 312.5})
    );
    assert_eq!(
        columns(Collection::Workouts, &examples::endurance()),
        json!({"title": "Round the lake", "kind": "endurance", "sport": "running", "distance_m": 9_977.932_8, "moving_time_s": 3_300})
    );
    assert_eq!(
        columns(Collection::Meals, &examples::meal()),
        json!({"zone": "+01:00", "kind": "breakfast", "items": 2, "names": ["Oats", "Milk"], "kcal": 328})
    );
}
