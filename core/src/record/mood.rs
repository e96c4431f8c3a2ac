//! How it felt at one time.

use serde::{Deserialize, Serialize};

/// How it felt at one time. Fields and ranges: docs/records.md.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Mood {
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stress: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fatigue: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soreness: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
