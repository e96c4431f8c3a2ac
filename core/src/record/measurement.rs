//! What was measured at one time.

use serde::{Deserialize, Serialize};

use super::Quantity;

/// What was measured at one time: at least one of the values. Fields and ranges: docs/records.md.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Measurement {
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Quantity>,
    /// Percent of body weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_fat: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waist: Option<Quantity>,
    /// Beats a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resting_hr: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blood_pressure: Option<BloodPressure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub water: Option<Quantity>,
}

/// In mmHg.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct BloodPressure {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systolic: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diastolic: Option<i64>,
}
