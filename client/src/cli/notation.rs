//! The short forms in which a person types sets, foods, durations and blood pressure.

use serde_json::{Map, Value, json};

/// Sets that one `3x8x80kg` may stand for.
const SETS_AT_ONCE: u32 = 50;

const SET_FORM: &str = "write a set as \"Bench press 8x80kg@8\": exercise, repetitions, load with its unit and, if you \
                        like, how hard it felt; 3x8x80kg is three of them, \"Pull-up 12\" the body alone, and warm-up or \
                        drop may follow";
const FOOD_FORM: &str = "write a food as \"Oats 80g 300kcal 10p 54c 6f\": name, weight and, as far as you know them, \
                         energy and grams of protein (p), carbohydrate (c), fat (f) and fibre (fb)";

/// Sets of one exercise, as typed in one go.
#[derive(Debug, Clone, PartialEq)]
pub struct Sets {
    /// The exercise.
    pub exercise: String,
    /// Their fields, see docs/records.md.
    pub sets: Vec<Value>,
}

/// Reads `Bench press 8x80kg@8`.
///
/// # Errors
/// A sentence that shows the form.
pub fn sets(text: &str) -> Result<Sets, String> {
    parse_sets(text).ok_or_else(|| SET_FORM.to_owned())
}

fn parse_sets(text: &str) -> Option<Sets> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let from = words
        .iter()
        .rposition(|word| counted(word).is_some())
        .or_else(|| words.iter().rposition(|word| is_number(word)))?;
    let (exercise, form) = words.split_at(from);
    let (kind, form) = match form {
        [form @ .., kind @ ("warm-up" | "work" | "drop")] => (*kind, form),
        form => ("work", form),
    };
    let form = form.concat();
    let (form, rpe) = match form.split_once('@') {
        Some((form, rpe)) => (form, Some(rpe.parse::<f64>().ok()?)),
        None => (form.as_str(), None),
    };
    let (times, reps, load) = amounts(form)?;
    if exercise.is_empty() || !(1..=SETS_AT_ONCE).contains(&times) {
        return None;
    }
    let mut set = json!({ "reps": reps, "load": load, "kind": kind });
    if let Some(rpe) = rpe {
        set["rpe"] = rpe.into();
    }
    Some(Sets { exercise: exercise.join(" "), sets: vec![set; times as usize] })
}

/// `8x80kg`, `3x8x80kg` or `12`, as how many sets of how many repetitions with what load.
fn amounts(form: &str) -> Option<(u32, u32, String)> {
    if is_number(form) {
        return Some((1, form.parse().ok()?, "0 kg".to_owned()));
    }
    let (first, rest) = counted(form)?;
    let (times, reps, load) = match counted(rest) {
        Some((reps, load)) => (first, reps, load),
        None => (1, first, rest),
    };
    let has_unit = load.starts_with(|c: char| c.is_ascii_digit()) && load.ends_with(|c: char| c.is_ascii_alphabetic());
    has_unit.then(|| (times, reps, load.to_owned()))
}

/// The count before an `x` and what follows it.
fn counted(text: &str) -> Option<(u32, &str)> {
    let (count, rest) = text.split_once(['x', '×'])?;
    Some((count.parse().ok()?, rest))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads `Oats 80g 300kcal 10p 54c 6f`, as the fields of an item of a meal.
///
/// # Errors
/// A sentence that shows the form.
pub fn food(text: &str) -> Result<Value, String> {
    parse_food(text).ok_or_else(|| FOOD_FORM.to_owned())
}

fn parse_food(text: &str) -> Option<Value> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let mut fields = Map::new();
    while let Some((key, value)) = words.last().and_then(|word| nutrient(word)) {
        if fields.insert(key.to_owned(), value).is_some() {
            return None;
        }
        words.pop();
    }
    let name = words.join(" ");
    if name.is_empty() || !fields.contains_key("amount") {
        return None;
    }
    let mut item = Map::from_iter([("name".to_owned(), name.into())]);
    // Typed from the name on, read from the end.
    item.extend(fields.into_iter().rev());
    Some(item.into())
}

fn nutrient(word: &str) -> Option<(&'static str, Value)> {
    let (number, unit) = word.split_at(word.find(|c: char| c.is_ascii_alphabetic())?);
    let number: f64 = number.parse().ok()?;
    let key = match unit {
        "g" | "kg" | "oz" | "lb" => return Some(("amount", word.into())),
        "kcal" => "kcal",
        "p" => "protein_g",
        "c" => "carbohydrate_g",
        "f" => "fat_g",
        "fb" => "fibre_g",
        _ => return None,
    };
    Some((key, number.into()))
}

/// Reads `52:30`, `1:02:30` or a number with its unit (`45min`), as a quantity.
///
/// # Errors
/// A sentence that shows the forms.
pub fn duration(text: &str) -> Result<String, String> {
    parse_duration(text.trim()).ok_or_else(|| "write a duration as 52:30, 1:02:30 or 45min".to_owned())
}

fn parse_duration(text: &str) -> Option<String> {
    if !text.contains(':') {
        return text.ends_with(|c: char| c.is_ascii_alphabetic()).then(|| text.to_owned());
    }
    let parts: Vec<u32> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (first, sixties) = parts.split_first()?;
    if parts.len() > 3 || sixties.iter().any(|part| *part >= 60) {
        return None;
    }
    let seconds = sixties.iter().try_fold(*first, |sum, part| sum.checked_mul(60)?.checked_add(*part))?;
    Some(format!("{seconds} s"))
}

/// Reads `120/80`.
///
/// # Errors
/// A sentence that shows the form.
pub fn blood_pressure(text: &str) -> Result<Value, String> {
    let parsed = text.split_once('/').and_then(|(systolic, diastolic)| {
        Some(json!({ "systolic": systolic.trim().parse::<u32>().ok()?, "diastolic": diastolic.trim().parse::<u32>().ok()? }))
    });
    parsed.ok_or_else(|| "write blood pressure as 120/80, in mmHg".to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should stop with the line")]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_typed_as_it_is_spoken() {
        let bench = sets("Bench press 8x80kg@8.5").unwrap();
        assert_eq!(bench.exercise, "Bench press");
        assert_eq!(bench.sets, [json!({"reps": 8, "load": "80kg", "kind": "work", "rpe": 8.5})]);
        assert_eq!(sets("Squat 3x5x225lb").unwrap().sets.len(), 3);
        assert_eq!(sets("Squat 5 × 60 kg").map(|_| ()), Err(SET_FORM.to_owned()), "a lone × belongs to no number");
        assert_eq!(
            sets("Squat 5x 60 kg warm-up").unwrap().sets,
            [json!({"reps": 5, "load": "60kg", "kind": "warm-up"})]
        );
        assert_eq!(sets("Pull-up 12").unwrap().sets, [json!({"reps": 12, "load": "0 kg", "kind": "work"})]);
        assert_eq!(sets("Machine 5 8x30kg").unwrap().exercise, "Machine 5");
    }

    #[test]
    fn a_set_that_leaves_questions_is_refused() {
        for bad in ["", "Bench press", "8x80kg", "Bench 8x80", "Bench 8x", "Bench 8x80kg@hard", "Bench 99x8x80kg"] {
            assert_eq!(sets(bad).map(|_| ()), Err(SET_FORM.to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_food_is_its_name_and_what_is_known_of_it() {
        let oats = food("Rolled oats 80g 300kcal 10.5p 54c 6f 8fb").unwrap();
        let expected = json!({"name": "Rolled oats", "amount": "80g", "kcal": 300.0, "protein_g": 10.5,
                              "carbohydrate_g": 54.0, "fat_g": 6.0, "fibre_g": 8.0});
        assert_eq!(oats, expected);
        assert_eq!(food("Milk 3.5% 200g").unwrap()["name"], "Milk 3.5%");
        for bad in ["", "80g", "Oats", "Oats 300kcal", "Oats 80g 90g"] {
            assert!(food(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_is_a_clock_or_a_number_with_its_unit() {
        assert_eq!(duration("52:30").as_deref(), Ok("3150 s"));
        assert_eq!(duration("1:02:30").as_deref(), Ok("3750 s"));
        assert_eq!(duration("45min").as_deref(), Ok("45min"));
        for bad in ["", "52", "1:60", "1:2:3:4", "a:b", "-1:30"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
