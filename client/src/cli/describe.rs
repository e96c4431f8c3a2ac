//! Records in words: quantities as they were entered, what a record is called, and what a line of a list says of it.

use fitme_core::collection::Collection;
use fitme_core::store::{ListQuery, Store, StoreError};
use serde_json::Value;

/// How sums over a record are shown. What a person entered is shown as entered, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Kilograms and kilometres.
    Metric,
    /// Pounds and miles.
    Imperial,
}

const POUND_KG: f64 = 0.453_592_37;
const MILE_M: f64 = 1_609.344;
const KILOMETRE_M: f64 = 1_000.0;

impl Units {
    /// What the profile asks for.
    ///
    /// # Errors
    /// [`StoreError`] as the store gives it.
    pub fn of(store: &Store) -> Result<Self, StoreError> {
        let query = ListQuery { collection: Collection::Profile, since: None, until: None, trashed: false, limit: 1 };
        let profile = store.list(&query)?.pop();
        let units = profile.as_ref().and_then(|profile| text(&profile.columns, "units"));
        Ok(if units == Some("imperial") { Self::Imperial } else { Self::Metric })
    }

    /// A distance in metres.
    pub fn distance(self, metres: f64) -> String {
        match self {
            Self::Metric if metres < KILOMETRE_M => format!("{} m", number(metres, 0)),
            Self::Metric => format!("{} km", number(metres / KILOMETRE_M, 2)),
            Self::Imperial => format!("{} mi", number(metres / MILE_M, 2)),
        }
    }

    /// A mass in kilograms.
    pub fn mass(self, kilograms: f64) -> String {
        match self {
            Self::Metric => format!("{} kg", number(kilograms, 0)),
            Self::Imperial => format!("{} lb", number(kilograms / POUND_KG, 0)),
        }
    }
}

/// `1 record`, `1,234 records`
pub fn count(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count as f64, 0), if count == 1 { "" } else { "s" })
}

/// `1,234.5`: at most so many decimals, none that are zero.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{grouped}"),
        fraction => format!("{sign}{grouped}.{fraction}"),
    }
}

/// Seconds as `41:12` or `1:02:30`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A quantity as it was entered; a duration in seconds as a clock, and metres that no person would have typed as
/// kilometres. None if `value` is no quantity.
pub fn quantity(value: &Value) -> Option<String> {
    let (number_, unit) = (value.get("value")?.as_f64()?, value.get("unit")?.as_str()?);
    Some(match unit {
        "s" => clock(number_),
        "m" if number_ >= KILOMETRE_M && number_.fract() != 0.0 => format!("{} km", number(number_ / KILOMETRE_M, 2)),
        "fl_oz" => format!("{number_} fl oz"),
        unit => format!("{number_} {unit}"),
    })
}

/// A field of an object, if it is text.
pub fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

/// A field of an object, if it is a number.
pub fn real(object: &Value, key: &str) -> Option<f64> {
    object.get(key)?.as_f64()
}

/// A list in an object; empty if there is none.
pub fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `fit_sport_90` and `e_biking` as words.
pub fn words(key: &str) -> String {
    key.replace('_', " ")
}

/// What a record is called, from all its fields or from those of a list; None if they say too little.
pub fn title(collection: Collection, record: &Value) -> Option<String> {
    match collection {
        Collection::Workouts => workout_title(record),
        Collection::Meals => text(record, "kind").map(str::to_owned),
        Collection::Moods => real(record, "valence").map(|valence| mood(valence as i64)),
        Collection::Measurements => Some(measured(record)).filter(|measured| !measured.is_empty()),
        _ => text(record, "name").map(str::to_owned),
    }
}

fn workout_title(record: &Value) -> Option<String> {
    let sport = || text(record, "sport").or_else(|| text(record.get("endurance")?, "sport")).map(words);
    text(record, "title").map(str::to_owned).or_else(sport).or_else(|| {
        let of_columns = list(record, "names").iter().filter_map(Value::as_str);
        let names: Vec<_> =
            of_columns.chain(list(record, "exercises").iter().filter_map(|item| text(item, "name"))).collect();
        (!names.is_empty()).then(|| names.join(", "))
    })
}

/// What one record of a collection is called.
pub fn noun(collection: Collection) -> &'static str {
    let name = collection.name();
    if collection == Collection::Profile { name } else { name.strip_suffix('s').unwrap_or(name) }
}

/// A mood's valence in a word.
pub fn mood(valence: i64) -> String {
    match valence {
        ..=-2 => "very bad",
        -1 => "bad",
        0 => "so-so",
        1 => "good",
        2.. => "very good",
    }
    .to_owned()
}

/// The values of a measurement, with what they measure where the unit does not say it.
fn measured(record: &Value) -> String {
    let values = MEASURED.iter().filter_map(|(key, name)| {
        let value = measurement(record, key)?;
        Some(if *key == "weight" || *key == "blood_pressure" { value } else { format!("{name} {value}") })
    });
    values.collect::<Vec<_>>().join(", ")
}

/// What a measurement may hold, and what its column is called.
pub const MEASURED: [(&str, &str); 6] = [
    ("weight", "weight"),
    ("body_fat", "fat"),
    ("waist", "waist"),
    ("resting_hr", "pulse"),
    ("blood_pressure", "pressure"),
    ("water", "water"),
];

/// One value of a measurement, if it is there.
pub fn measurement(record: &Value, key: &str) -> Option<String> {
    let value = record.get(key)?;
    match key {
        "body_fat" => Some(format!("{} %", number(value.as_f64()?, 1))),
        "resting_hr" => Some(format!("{value} bpm")),
        "blood_pressure" => pressure(value),
        _ => quantity(value),
    }
}

/// `120/80 mmHg`
pub fn pressure(value: &Value) -> Option<String> {
    Some(format!("{}/{} mmHg", value.get("systolic")?, value.get("diastolic")?))
}

/// What a list says of a workout beside its title: `5 sets, 2,400 kg` or `10 km, 52:30`.
pub fn effort(columns: &Value, units: Units) -> String {
    let parts = [
        real(columns, "sets").map(|sets| format!("{sets} {}", if sets == 1.0 { "set" } else { "sets" })),
        real(columns, "volume_kg").filter(|volume| *volume > 0.0).map(|volume| units.mass(volume)),
        real(columns, "distance_m").map(|distance| units.distance(distance)),
        real(columns, "moving_time_s").map(clock),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_entered_is_shown_as_entered() {
        assert_eq!(quantity(&json!({"value": 90, "unit": "lb", "si": 40.8})).as_deref(), Some("90 lb"));
        assert_eq!(quantity(&json!({"value": 80.5, "unit": "kg", "si": 80.5})).as_deref(), Some("80.5 kg"));
        assert_eq!(quantity(&json!({"value": 5000, "unit": "m", "si": 5000})).as_deref(), Some("5000 m"));
        assert_eq!(quantity(&json!({"value": 3215.43, "unit": "m", "si": 3215.43})).as_deref(), Some("3.22 km"));
        assert_eq!(quantity(&json!({"value": 3150, "unit": "s", "si": 3150})).as_deref(), Some("52:30"));
        assert_eq!(quantity(&json!("90 lb")), None);
    }

    #[test]
    fn numbers_are_read_in_groups_of_three() {
        let cases = [(0.0, "0"), (999.0, "999"), (1000.0, "1,000"), (-1_234_567.5, "-1,234,567.5"), (2.999, "3")];
        for (value, expected) in cases {
            assert_eq!(number(value, 2), expected);
        }
    }

    #[test]
    fn a_workout_is_called_by_its_title_its_sport_or_its_exercises() {
        let title = |record| title(Collection::Workouts, &record);
        assert_eq!(title(json!({"title": "Push day", "sport": "running"})).as_deref(), Some("Push day"));
        assert_eq!(title(json!({"endurance": {"sport": "e_biking"}})).as_deref(), Some("e biking"));
        assert_eq!(title(json!({"exercises": 2, "names": ["Squat", "Row"]})).as_deref(), Some("Squat, Row"));
        assert_eq!(title(json!({"exercises": [{"name": "Squat"}]})).as_deref(), Some("Squat"));
        assert_eq!(title(json!({})), None);
    }
}
