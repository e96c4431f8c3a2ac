//! The flags of each kind of record, and the fields they stand for (see docs/records.md).

use serde_json::{Value, json};

use super::{Fields, Json};
use crate::cli::Refusal;
use crate::cli::notation::{self, Sets};
use crate::cli::when::{self, Moment};

/// A workout.
#[derive(Debug, clap::Args)]
pub struct WorkoutFlags {
    /// When it began, such as 07:10 or "yesterday 18:30" [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    start: Option<Moment>,
    /// When it was over
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    end: Option<Moment>,
    /// The time zone where it happened [default: that of --start, else of this device]
    #[arg(long, value_parser = when::zone)]
    zone: Option<String>,
    /// A short name
    #[arg(long)]
    title: Option<String>,
    /// How hard the session felt, 0 to 10
    #[arg(long)]
    rpe: Option<f64>,
    /// Free words
    #[arg(long)]
    note: Option<String>,
    /// A set: "Bench press 8x80kg@8" (exercise, repetitions, load, how hard); repeat it, or write 3x8x80kg
    #[arg(long = "set", value_name = "SET", value_parser = notation::sets, help_heading = "Strength")]
    sets: Vec<Sets>,
    /// Such as running or cycling
    #[arg(long, help_heading = "Endurance")]
    sport: Option<String>,
    /// Distance with its unit, such as 10km or 6.2mi
    #[arg(long, help_heading = "Endurance")]
    distance: Option<String>,
    /// Time without breaks, such as 52:30 or 45min
    #[arg(long, value_parser = notation::duration, help_heading = "Endurance")]
    time: Option<String>,
    /// Energy used, such as 610kcal
    #[arg(long, help_heading = "Endurance")]
    energy: Option<String>,
    /// Average heart rate, beats a minute
    #[arg(long, value_name = "BPM", help_heading = "Endurance")]
    average_hr: Option<u16>,
    /// Highest heart rate, beats a minute
    #[arg(long, value_name = "BPM", help_heading = "Endurance")]
    maximum_hr: Option<u16>,
    #[command(flatten)]
    json: Json,
}

impl WorkoutFlags {
    pub(super) fn into_fields(self) -> Result<Fields, Refusal> {
        let mut fields = Fields::of(&self.json)?;
        fields.put_time("start", self.start, self.zone);
        fields.put("end", self.end.map(|end| end.ms));
        fields.put("title", self.title);
        fields.put("session_rpe", self.rpe);
        fields.put("note", self.note);
        fields.put_all("exercises", exercises(self.sets));
        fields.put("endurance/sport", self.sport);
        fields.put("endurance/distance", self.distance);
        fields.put("endurance/moving_time", self.time);
        fields.put("endurance/energy", self.energy);
        fields.put("endurance/average_heart_rate", self.average_hr);
        fields.put("endurance/maximum_heart_rate", self.maximum_hr);
        Ok(fields)
    }
}

/// Sets of the same exercise that follow each other are one exercise.
fn exercises(sets: Vec<Sets>) -> Vec<Value> {
    let mut exercises: Vec<Sets> = Vec::new();
    for next in sets {
        match exercises.last_mut() {
            Some(last) if last.exercise == next.exercise => last.sets.extend(next.sets),
            _ => exercises.push(next),
        }
    }
    exercises.into_iter().map(|exercise| json!({ "name": exercise.exercise, "sets": exercise.sets })).collect()
}

/// When something was that happened at one moment.
#[derive(Debug, clap::Args)]
struct At {
    /// When it was, such as 12:30 or "yesterday 19:00" [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    at: Option<Moment>,
    /// The time zone where it was [default: that of --at, else of this device]
    #[arg(long, value_parser = when::zone)]
    zone: Option<String>,
}

/// A meal.
#[derive(Debug, clap::Args)]
pub struct MealFlags {
    /// breakfast, lunch, dinner or snack
    #[arg(long)]
    kind: Option<String>,
    /// A food: "Oats 80g 300kcal 10p 54c 6f" (name, weight, energy, grams of protein, carbohydrate, fat); repeat it
    #[arg(long = "item", value_name = "FOOD", value_parser = notation::food)]
    items: Vec<Value>,
    #[command(flatten)]
    at: At,
    /// Free words
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    json: Json,
}

impl MealFlags {
    pub(super) fn into_fields(self) -> Result<Fields, Refusal> {
        let mut fields = Fields::of(&self.json)?;
        fields.put_time("at", self.at.at, self.at.zone);
        fields.put("kind", self.kind);
        fields.put("note", self.note);
        fields.put_all("items", self.items);
        Ok(fields)
    }
}

/// A mood.
#[derive(Debug, clap::Args)]
pub struct MoodFlags {
    /// From -2, very bad, to 2, very good
    #[arg(long, allow_negative_numbers = true)]
    valence: Option<i64>,
    /// From 1, none, to 5, full
    #[arg(long)]
    energy: Option<i64>,
    /// From 1, none, to 5, extreme
    #[arg(long)]
    stress: Option<i64>,
    /// From 1, fresh, to 7, exhausted
    #[arg(long)]
    fatigue: Option<i64>,
    /// From 1, none, to 7, extreme
    #[arg(long)]
    soreness: Option<i64>,
    /// What it has to do with; repeat it
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    at: At,
    /// Free words
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    json: Json,
}

impl MoodFlags {
    pub(super) fn into_fields(self) -> Result<Fields, Refusal> {
        let mut fields = Fields::of(&self.json)?;
        fields.put_time("at", self.at.at, self.at.zone);
        fields.put("valence", self.valence);
        fields.put("energy", self.energy);
        fields.put("stress", self.stress);
        fields.put("fatigue", self.fatigue);
        fields.put("soreness", self.soreness);
        fields.put_all("tags", self.tags);
        fields.put("note", self.note);
        Ok(fields)
    }
}

/// A measurement.
#[derive(Debug, clap::Args)]
pub struct MeasurementFlags {
    /// Body weight with its unit, such as 80.5kg or 177lb
    #[arg(long)]
    weight: Option<String>,
    /// Body fat in percent
    #[arg(long, value_name = "PERCENT")]
    body_fat: Option<f64>,
    /// Waist with its unit, such as 84cm or 33in
    #[arg(long)]
    waist: Option<String>,
    /// Heart rate at rest, beats a minute
    #[arg(long, value_name = "BPM")]
    resting_hr: Option<u16>,
    /// Such as 120/80, in mmHg
    #[arg(long, value_name = "MMHG", value_parser = notation::blood_pressure)]
    blood_pressure: Option<Value>,
    /// Water drunk with its unit, such as 0.5l
    #[arg(long)]
    water: Option<String>,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    json: Json,
}

impl MeasurementFlags {
    pub(super) fn into_fields(self) -> Result<Fields, Refusal> {
        let mut fields = Fields::of(&self.json)?;
        fields.put_time("at", self.at.at, self.at.zone);
        fields.put("weight", self.weight);
        fields.put("body_fat", self.body_fat);
        fields.put("waist", self.waist);
        fields.put("resting_hr", self.resting_hr);
        fields.put("blood_pressure", self.blood_pressure);
        fields.put("water", self.water);
        Ok(fields)
    }
}

/// The profile.
#[derive(Debug, clap::Args)]
pub struct ProfileFlags {
    /// How you want to be called
    #[arg(long)]
    name: Option<String>,
    /// Such as 1990-05-17
    #[arg(long, value_name = "DATE")]
    birth_date: Option<String>,
    /// male or female: which variant of physiological formulas to use
    #[arg(long, value_name = "SEX")]
    sex_for_formulas: Option<String>,
    /// Height with its unit, such as 178cm or 70in
    #[arg(long)]
    height: Option<String>,
    /// metric or imperial
    #[arg(long)]
    units: Option<String>,
    /// Your home time zone, such as Europe/Rome
    #[arg(long, value_parser = when::zone)]
    zone: Option<String>,
    /// Highest heart rate, beats a minute
    #[arg(long, value_name = "BPM")]
    max_hr: Option<u16>,
    /// Heart rate at rest, beats a minute
    #[arg(long, value_name = "BPM")]
    resting_hr: Option<u16>,
    /// Such as vegetarian; repeat it
    #[arg(long, value_name = "TAG")]
    diet: Vec<String>,
    /// What you must not eat; repeat it
    #[arg(long, value_name = "FOOD")]
    allergy: Vec<String>,
    /// What your weight should do: lose, maintain or gain
    #[arg(long, help_heading = "Objective")]
    goal: Option<String>,
    /// Energy to eat in a day
    #[arg(long, value_name = "KCAL", help_heading = "Objective")]
    kcal_per_day: Option<f64>,
    /// Grams of protein to eat in a day
    #[arg(long, value_name = "GRAMS", help_heading = "Objective")]
    protein: Option<f64>,
    /// Grams of carbohydrate to eat in a day
    #[arg(long, value_name = "GRAMS", help_heading = "Objective")]
    carbohydrate: Option<f64>,
    /// Grams of fat to eat in a day
    #[arg(long, value_name = "GRAMS", help_heading = "Objective")]
    fat: Option<f64>,
    #[command(flatten)]
    json: Json,
}

impl ProfileFlags {
    /// Nothing is filled in: what two devices fill in by themselves, they fill in differently.
    pub(super) fn into_fields(self) -> Result<Fields, Refusal> {
        let mut fields = Fields::of(&self.json)?;
        fields.put("name", self.name);
        fields.put("birth_date", self.birth_date);
        fields.put("sex_for_formulas", self.sex_for_formulas);
        fields.put("height", self.height);
        fields.put("units", self.units);
        fields.put("zone", self.zone);
        fields.put("max_hr_bpm", self.max_hr);
        fields.put("resting_hr_bpm", self.resting_hr);
        fields.put("objective/goal", self.goal);
        fields.put("objective/kcal_per_day", self.kcal_per_day);
        fields.put("objective/protein_g", self.protein);
        fields.put("objective/carbohydrate_g", self.carbohydrate);
        fields.put("objective/fat_g", self.fat);
        put_tags(&mut fields, "diet_tags", self.diet);
        put_tags(&mut fields, "allergies", self.allergy);
        Ok(fields)
    }
}

/// Tags are added to those that are there, as a flag that names one says nothing about the others.
fn put_tags(fields: &mut Fields, name: &str, tags: Vec<String>) {
    if !tags.is_empty() {
        fields.put(name, Some(tags.into_iter().map(|tag| (tag, true.into())).collect::<serde_json::Map<_, Value>>()));
    }
}
