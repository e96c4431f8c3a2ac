//! `fitme log`: a new record from flags, or from JSON, or from JSON with flags on top of it.

mod flags;

use fitme_core::collection::Collection;
use fitme_core::store::{Command, Other, Store};
use serde_json::{Map, Value};

use super::edit::{Verb, write};
use super::out::Out;
use super::{Refusal, input, when};

pub use flags::{MealFlags, MeasurementFlags, MoodFlags, ProfileFlags, WorkoutFlags};

/// What to log.
#[derive(Debug, clap::Subcommand)]
pub enum Log {
    /// A strength session (--set) or an endurance one (--sport, --distance, --time)
    Workout(Box<WorkoutFlags>),
    /// What was eaten at one time
    Meal(MealFlags),
    /// How it feels
    Mood(MoodFlags),
    /// Weight, waist, blood pressure and the like
    Measurement(MeasurementFlags),
    /// About yourself; there is one profile, and what you leave out stays as it is
    Profile(Box<ProfileFlags>),
}

/// A record given as JSON.
#[derive(Debug, clap::Args)]
pub struct Json {
    /// Read the fields from FILE, - for standard input, or JSON itself (see docs/records.md)
    #[arg(long, value_name = "FILE", help_heading = "As JSON")]
    pub json: Option<String>,
}

/// Fields on their way into a record.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn of(json: &Json) -> Result<Self, Refusal> {
        Ok(Self(json.json.as_deref().map(input::object).transpose()?.unwrap_or_default()))
    }

    /// Sets a field that was given; `group/field` is a field of a group.
    fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        match name.split_once('/') {
            None => drop(self.0.insert(name.to_owned(), value.into())),
            Some((group, leaf)) => {
                let group = self.0.entry(group).or_insert_with(|| Map::new().into());
                group[leaf] = value.into();
            }
        }
    }

    fn put_all(&mut self, name: &str, values: Vec<impl Into<Value>>) {
        if !values.is_empty() {
            self.put(name, Some(Value::Array(values.into_iter().map(Into::into).collect())));
        }
    }

    /// When it happened: as given, else now; and where, unless that was said.
    fn put_time(&mut self, name: &str, given: Option<when::Moment>, zone: Option<String>) {
        let in_json = self.0.contains_key(name);
        let moment = given.or_else(|| (!in_json).then(when::Moment::now));
        let zone = zone.or_else(|| moment.as_ref().map(|moment| moment.zone.clone()));
        self.put(name, moment.map(|moment| moment.ms));
        if zone.is_some() || !self.0.contains_key("zone") {
            self.put("zone", Some(zone.unwrap_or_else(when::device_zone)));
        }
    }
}

/// Logs one record.
///
/// # Errors
/// [`Refusal`] where its content breaks a rule or the store refuses.
pub fn run(log: Log, whose: Option<&Other>, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let (collection, fields) = match log {
        Log::Workout(flags) => (Collection::Workouts, flags.into_fields()?),
        Log::Meal(flags) => (Collection::Meals, flags.into_fields()?),
        Log::Mood(flags) => (Collection::Moods, flags.into_fields()?),
        Log::Measurement(flags) => (Collection::Measurements, flags.into_fields()?),
        Log::Profile(flags) => (Collection::Profile, flags.into_fields()?),
    };
    let command = Command::Create { collection: collection.name().to_owned(), fields: fields.0.into() };
    write(store, whose, &command, Verb::Logged, out)
}
