//! What people log, drawn from a seed: 60 % meals, 30 % moods, 10 % workouts, spread over days in the order in which they
//! happened. Foods and exercises come from a small catalogue, notes and times are free. Measurements and tests share it,
//! because made-up records of equal text compress and merge far better than what people write.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

mod catalogue;

use catalogue::{EXERCISES, Exercise, FOODS, Food, TAGS, WORDS, ZONES};

/// 2026-01-01 00:00 UTC: when every diary begins.
const FIRST_DAY_MS: i64 = 1_767_225_600_000;
const MINUTE_MS: i64 = 60_000;
/// Between two records; nine records a day or so.
const PAUSE_MINUTES: std::ops::Range<i64> = 20..300;
/// Between two sets.
const REST_MS: std::ops::Range<i64> = 70_000..240_000;

/// How a workout reaches the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sets {
    /// Begun with its exercises, then each set as it is done: about twenty changes.
    OneByOne,
    /// Written down afterwards: one change a record.
    Whole,
}

/// One thing a person does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Logs a new record.
    Log {
        /// Collection name.
        collection: &'static str,
        /// Its fields.
        fields: Value,
        /// When, ms UTC.
        at_ms: i64,
    },
    /// Logs one more set in the workout that was logged last.
    Set {
        /// The edit.
        patch: Value,
        /// When, ms UTC.
        at_ms: i64,
    },
}

impl Act {
    /// When, ms UTC.
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        match self {
            Self::Log { at_ms, .. } | Self::Set { at_ms, .. } => *at_ms,
        }
    }
}

/// One person's acts, without end; the same seed gives the same ones.
pub struct Diary {
    rng: StdRng,
    sets: Sets,
    now_ms: i64,
    zone: &'static str,
    /// Sets still to be done in the open workout, the last one first.
    planned: Vec<(String, Value)>,
}

impl Diary {
    /// A person's diary.
    #[must_use]
    pub fn new(seed: u64, sets: Sets) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let zone = pick(&mut rng, &ZONES);
        let now_ms = FIRST_DAY_MS + rng.random_range(0..24 * 60) * MINUTE_MS;
        Self { rng, sets, now_ms, zone, planned: Vec::new() }
    }

    /// The same, beginning then, ms UTC.
    #[must_use]
    pub fn since(self, first_ms: i64) -> Self {
        Self { now_ms: first_ms, ..self }
    }

    fn record(&mut self) -> Act {
        self.now_ms += self.rng.random_range(PAUSE_MINUTES) * MINUTE_MS + self.rng.random_range(0..MINUTE_MS);
        let (collection, fields) = match self.rng.random_range(0..10) {
            0 => ("workouts", self.workout()),
            1..4 => ("moods", self.mood()),
            _ => ("meals", self.meal()),
        };
        Act::Log { collection, fields, at_ms: self.now_ms }
    }

    fn set(&mut self, exercise: &str, mut set: Value) -> Act {
        self.now_ms += self.rng.random_range(REST_MS);
        set["done_at"] = self.now_ms.into();
        Act::Set { patch: json!({ "exercises": [{ "id": exercise, "sets": [set] }] }), at_ms: self.now_ms }
    }

    fn meal(&mut self) -> Value {
        let kind = pick(&mut self.rng, &["breakfast", "lunch", "dinner", "snack"]);
        let foods = self.rng.random_range(1..=5);
        let items: Vec<_> = (0..foods).map(|_| eaten(&mut self.rng)).collect();
        let meal = json!({ "at": self.now_ms, "zone": self.zone, "kind": kind, "items": items });
        self.with_note(meal, 0.15)
    }

    fn mood(&mut self) -> Value {
        let rng = &mut self.rng;
        let mut mood = json!({ "at": self.now_ms, "zone": self.zone, "valence": rng.random_range(-2..=2) });
        for (key, most) in [("energy", 5), ("stress", 5), ("fatigue", 7), ("soreness", 7)] {
            if rng.random_bool(0.7) {
                mood[key] = rng.random_range(1..=most).into();
            }
        }
        let count = rng.random_range(0..3);
        let tags: Vec<_> = TAGS.choose_multiple(rng, count).collect();
        mood["tags"] = json!(tags);
        self.with_note(mood, 0.4)
    }

    fn workout(&mut self) -> Value {
        let count = self.rng.random_range(4..=6);
        let chosen: Vec<&Exercise> = EXERCISES.choose_multiple(&mut self.rng, count).collect();
        let mut exercises = Vec::new();
        for exercise in chosen {
            let id = item_id(&mut self.rng);
            let mut object = json!({ "id": id, "name": exercise.name, "exercise_ref": exercise.reference });
            let sets = planned_sets(&mut self.rng, exercise);
            match self.sets {
                Sets::OneByOne => self.planned.extend(sets.into_iter().map(|set| (id.clone(), set))),
                Sets::Whole => object["sets"] = sets.into(),
            }
            exercises.push(object);
        }
        self.planned.reverse();
        let workout = json!({ "start": self.now_ms, "zone": self.zone, "title": "Gym", "exercises": exercises });
        self.with_note(workout, 0.3)
    }

    fn with_note(&mut self, mut record: Value, share: f64) -> Value {
        if self.rng.random_bool(share) {
            record["note"] = note(&mut self.rng).into();
        }
        record
    }
}

impl Iterator for Diary {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        Some(match self.planned.pop() {
            Some((exercise, set)) => self.set(&exercise, set),
            None => self.record(),
        })
    }
}

fn eaten(rng: &mut StdRng) -> Value {
    let food: &Food = FOODS.choose(rng).expect("the catalogue is not empty");
    let grams = rng.random_range(4..70) * 5;
    let mut item = Map::new();
    item.insert("name".to_owned(), food.name.into());
    item.insert("food_ref".to_owned(), food.reference.into());
    item.insert("amount".to_owned(), format!("{grams} g").into());
    for (key, per_100_g) in ["kcal", "protein_g", "carbohydrate_g", "fat_g", "fibre_g"].into_iter().zip(food.per_100_g)
    {
        let tenths = (per_100_g * f64::from(grams) / 10.0).round();
        item.insert(key.to_owned(), (tenths / 10.0).into());
    }
    item.into()
}

fn planned_sets(rng: &mut StdRng, exercise: &Exercise) -> Vec<Value> {
    let load = exercise.load_kg + f64::from(rng.random_range(-4..=8)) * 2.5;
    let sets = rng.random_range(3..=5);
    (0..sets)
        .map(|n| {
            let kind = if n == 0 { "warm-up" } else { "work" };
            let share = if n == 0 { 0.5 } else { 1.0 };
            let load = (load.max(0.0) * share / 2.5).round() * 2.5;
            let mut set = json!({ "reps": rng.random_range(5..=12), "load": format!("{load} kg"), "kind": kind });
            if rng.random_bool(0.5) {
                set["rpe"] = (f64::from(rng.random_range(12..=20)) / 2.0).into();
            }
            set
        })
        .collect()
}

fn note(rng: &mut StdRng) -> String {
    let length = rng.random_range(3..25);
    let words: Vec<_> = WORDS.split_whitespace().collect();
    (0..length).map(|_| pick(rng, &words)).collect::<Vec<_>>().join(" ")
}

/// An item's id as the engine draws them: a set is logged by naming its exercise.
fn item_id(rng: &mut StdRng) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..8).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

fn pick(rng: &mut StdRng, choices: &[&'static str]) -> &'static str {
    choices.choose(rng).expect("there is something to choose from")
}
