//! The one document about the person.

use serde::{Deserialize, Serialize};

use super::Quantity;

/// Who the person is, as far as formulas and screens need it. Fields and ranges: docs/records.md.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As YYYY-MM-DD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sex_for_formulas: Option<Sex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<Units>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hr_bpm: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resting_hr_bpm: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diet_tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allergies: Vec<String>,
}

/// Which variant of a physiological formula fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    /// The male variant.
    Male,
    /// The female variant.
    Female,
    /// A word of a newer version.
    #[serde(untagged)]
    Other(String),
}

/// How quantities are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Units {
    /// Kilograms and kilometres.
    Metric,
    /// Pounds and miles.
    Imperial,
    /// A word of a newer version.
    #[serde(untagged)]
    Other(String),
}

/// What the person wants to reach.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Objective {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kcal_per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protein_g: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carbohydrate_g: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fat_g: Option<f64>,
}

/// What body weight should do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Fall.
    Lose,
    /// Stay.
    Maintain,
    /// Rise.
    Gain,
    /// A word of a newer version.
    #[serde(untagged)]
    Other(String),
}
