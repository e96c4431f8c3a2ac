//! A session of training.

use serde::{Deserialize, Serialize};

use super::Quantity;

/// A session of training: strength or endurance. Fields and ranges: docs/records.md.
///
/// What a record needs is optional here all the same: a merged document may lack it and stays readable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Workout {
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Who says so, in an imported workout; derived, so ignored when it comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_from: Option<ZoneFrom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_rpe: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exercises: Vec<Exercise>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endurance: Option<Endurance>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub laps: Vec<Lap>,
}

/// Where the zone of an imported workout comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneFrom {
    /// The person said so.
    Person,
    /// The file says so.
    File,
    /// The device that imported the file was there.
    Device,
}

/// Where an imported workout comes from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importer_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// One exercise of a strength workout.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Exercise {
    /// None in an exercise that is not stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exercise_ref: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Set>,
}

/// One set of an exercise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Set {
    /// None in a set that is not stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reps: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpe: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<SetKind>,
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_at: Option<i64>,
}

/// What a set was for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetKind {
    /// Getting ready.
    WarmUp,
    /// The training itself.
    Work,
    /// Less weight right after a set.
    Drop,
    /// A word of a newer version.
    #[serde(untagged)]
    Other(String),
}

/// An endurance session as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Endurance {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving_time: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_heart_rate: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_heart_rate: Option<i64>,
}

/// One lap of an endurance session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Lap {
    /// None in a lap that is not stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving_time: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_heart_rate: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_heart_rate: Option<i64>,
}
