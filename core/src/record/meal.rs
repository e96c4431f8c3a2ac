//! What was eaten at one time.

use serde::{Deserialize, Serialize};

use super::Quantity;

/// What was eaten at one time. Fields and ranges: docs/records.md.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Meal {
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<MealKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Food>,
}

/// Which meal it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words say it")]
#[serde(rename_all = "lowercase")]
pub enum MealKind {
    Breakfast,
    Lunch,
    Dinner,
    Snack,
    /// A word of a newer version.
    #[serde(untagged)]
    Other(String),
}

/// One food of a meal.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Food {
    /// None in a food that is not stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub food_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kcal: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protein_g: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carbohydrate_g: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fat_g: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fibre_g: Option<f64>,
}
