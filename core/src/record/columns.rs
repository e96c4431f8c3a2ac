//! List columns: the few values of a record that a list shows, small enough to travel beside every snapshot.

use serde_json::{Map, Value};

use crate::collection::Collection;

use super::quantity;

/// Names of exercises or foods in a row of a list; more do not fit a line.
const NAMES: usize = 8;

type Object = Map<String, Value>;

pub(super) fn columns(collection: Collection, record: &Object) -> Value {
    let mut columns = Object::new();
    copy(record, &["zone"], &mut columns);
    match collection {
        Collection::Profile => copy(record, &["name", "units"], &mut columns),
        Collection::Workouts => workout(record, &mut columns),
        Collection::Meals => meal(record, &mut columns),
        Collection::Moods => {
            copy(record, &["valence", "energy", "stress", "fatigue", "soreness", "tags"], &mut columns)
        }
        Collection::Measurements => {
            copy(record, &["weight", "body_fat", "waist", "resting_hr", "blood_pressure", "water"], &mut columns);
        }
        Collection::Grants => {
            copy(record, &["kind", "grantee_name", "grantee_role", "purpose", "until", "revokes"], &mut columns);
        }
        _ => {}
    }
    Value::Object(columns)
}

fn copy(record: &Object, keys: &[&str], columns: &mut Object) {
    for key in keys {
        if let Some(value) = record.get(*key) {
            columns.insert((*key).to_owned(), value.clone());
        }
    }
}

fn workout(record: &Object, columns: &mut Object) {
    copy(record, &["title"], columns);
    let exercises = list(record.get("exercises"));
    let endurance = record.get("endurance").and_then(Value::as_object);
    let kind = match (exercises.is_empty(), endurance.is_some() || record.contains_key("laps")) {
        (false, false) => "strength",
        (true, true) => "endurance",
        (false, true) => "both",
        (true, false) => "empty",
    };
    columns.insert("kind".to_owned(), kind.into());
    if !exercises.is_empty() {
        let sets: Vec<&Value> = exercises.iter().flat_map(|exercise| list(exercise.get("sets"))).collect();
        columns.insert("exercises".to_owned(), exercises.len().into());
        columns.insert("names".to_owned(), names(exercises));
        columns.insert("sets".to_owned(), sets.len().into());
        columns.insert("volume_kg".to_owned(), rounded(sets.into_iter().filter_map(volume).sum()));
    }
    if let Some(endurance) = endurance {
        copy(endurance, &["sport"], columns);
        for (key, column) in [("distance", "distance_m"), ("moving_time", "moving_time_s")] {
            if let Some(value) = endurance.get(key).and_then(si) {
                columns.insert(column.to_owned(), quantity::number(value));
            }
        }
    }
}

/// Weight moved in one set; warming up does not count.
fn volume(set: &Value) -> Option<f64> {
    let counts = set.get("kind").and_then(Value::as_str) != Some("warm-up");
    counts.then_some(set.get("reps")?.as_f64()? * si(set.get("load")?)?)
}

fn meal(record: &Object, columns: &mut Object) {
    copy(record, &["kind"], columns);
    let items = list(record.get("items"));
    columns.insert("items".to_owned(), items.len().into());
    columns.insert("names".to_owned(), names(items));
    let energy: Vec<f64> = items.iter().filter_map(|item| item.get("kcal")?.as_f64()).collect();
    if !energy.is_empty() {
        columns.insert("kcal".to_owned(), rounded(energy.into_iter().sum()));
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn names(items: &[Value]) -> Value {
    items.iter().filter_map(|item| item.get("name")).take(NAMES).cloned().collect()
}

fn si(quantity: &Value) -> Option<f64> {
    quantity.get("si")?.as_f64()
}

/// Sums in pounds have long tails; a thousandth is enough for a list.
fn rounded(sum: f64) -> Value {
    quantity::number((sum * 1_000.0).round() / 1_000.0)
}
