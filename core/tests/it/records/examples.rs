//! A full example of each record: every field of every table.

use fitme_core::collection::Collection;
use serde_json::{Value, json};

/// 2026-03-01T08:00:00Z
pub const MORNING: i64 = 1_772_352_000_000;

/// The collections that have records.
pub fn served() -> impl Iterator<Item = Collection> {
    Collection::ALL.into_iter().filter(|collection| collection.is_served())
}

/// Those whose records can be changed.
pub fn editable() -> impl Iterator<Item = Collection> {
    served().filter(|collection| !collection.is_write_once())
}

/// A record of `collection` with every field that may stand beside the others.
pub fn full(collection: Collection) -> Value {
    match collection {
        Collection::Profile => profile(),
        Collection::Workouts => strength(),
        Collection::Meals => meal(),
        Collection::Moods => mood(),
        Collection::Measurements => measurement(),
        Collection::Grants => grant(),
        other => panic!("{other} has no records"),
    }
}

pub fn profile() -> Value {
    json!({
        "name": "Ada", "birth_date": "1990-12-10", "sex_for_formulas": "female",
        "height": {"value": 5.5, "unit": "ft", "si": 1.6764}, "units": "imperial", "zone": "Europe/Rome",
        "objective": {"goal": "gain", "kcal_per_day": 2_500, "protein_g": 140.5, "carbohydrate_g": 300, "fat_g": 80},
        "max_hr_bpm": 188, "resting_hr_bpm": 52, "diet_tags": ["vegetarian"], "allergies": ["kiwi", "peanut"]
    })
}

pub fn strength() -> Value {
    json!({
        "start": MORNING, "end": MORNING + 3_600_000, "zone": "Europe/Rome", "title": "Push", "session_rpe": 7.5,
        "note": "Felt strong.\nShoulder fine.",
        "source": {"file_hash": "ab12", "session": 0, "importer_version": 3, "device": "Watch 5"},
        "exercises": [
            {"id": "0000000a", "name": "Bench press", "exercise_ref": "catalogue:bench-press", "sets": [
                {"id": "0000000b", "reps": 8, "load": {"value": 90, "unit": "lb", "si": 40.823_313_3}, "rpe": 6, "kind": "warm-up", "done_at": MORNING + 60_000},
                {"id": "0000000c", "reps": 5, "load": {"value": 62.5, "unit": "kg", "si": 62.5}, "kind": "work"}
            ]},
            {"id": "0000000d", "name": "Dips"}
        ]
    })
}

pub fn endurance() -> Value {
    json!({
        "start": MORNING, "end": MORNING + 1_800_000, "title": "Round the lake",
        "endurance": {"sport": "running", "distance": "6.2 mi", "moving_time": "55 min", "energy": "610 kcal",
            "average_heart_rate": 148, "maximum_heart_rate": 176},
        "laps": [
            {"start": MORNING, "distance": "1 km", "moving_time": "330 s", "energy": "60 kcal", "average_heart_rate": 140, "maximum_heart_rate": 150},
            {"start": MORNING + 330_000, "distance": "1 km"}
        ]
    })
}

pub fn meal() -> Value {
    json!({
        "at": MORNING, "zone": "+01:00", "kind": "breakfast", "note": "at home",
        "items": [
            {"id": "0000000a", "name": "Oats", "food_ref": "usda:173904", "amount": {"value": 60, "unit": "g", "si": 0.06},
             "kcal": 228, "protein_g": 8.1, "carbohydrate_g": 39.8, "fat_g": 4.2, "fibre_g": 6.1},
            {"id": "0000000b", "name": "Milk", "amount": {"value": 7, "unit": "oz", "si": 0.198_446_661_875}, "kcal": 100}
        ]
    })
}

pub fn mood() -> Value {
    json!({
        "at": MORNING, "zone": "Europe/Rome", "valence": -1, "energy": 2, "stress": 4, "fatigue": 5, "soreness": 1,
        "tags": ["energy", "work"], "note": "long day"
    })
}

pub fn measurement() -> Value {
    json!({
        "at": MORNING, "zone": "Europe/Rome", "weight": {"value": 11, "unit": "st", "si": 69.853_224_98}, "body_fat": 21.5,
        "waist": {"value": 30, "unit": "in", "si": 0.762}, "resting_hr": 55,
        "blood_pressure": {"systolic": 120, "diastolic": 78}, "water": {"value": 500, "unit": "ml", "si": 0.5}
    })
}

/// Ann lets a trainer read and write her workouts, and what is derived from them.
pub fn grant() -> Value {
    json!({
        "at": MORNING, "kind": "grant", "grantee": "01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49", "grantee_name": "Tom",
        "grantee_role": "trainer", "shown_as": "Ann", "purpose": "training", "from": MORNING, "until": MORNING + 86_400_000,
        "feeds": [
            {"id": "0", "collection": "workouts", "access": "write"},
            {"id": "1", "collection": "insights", "scope": "training", "access": "read"}
        ]
    })
}

pub fn revocation() -> Value {
    json!({"at": MORNING, "kind": "revocation", "revokes": "01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49"})
}
