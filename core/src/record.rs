//! Records: what a person wrote, as typed structs, as JSON and as automerge documents, all from the tables of `tables`.
//!
//! A document's root has flat keys. A register lies at its own key; a group (`objective/goal`) and rows
//! (`laps/0/distance`) are registers at keys with slashes, so that no container has to be made for them later; items,
//! tags and prose are containers that the document's first change makes, also empty ones. Who makes a container at a
//! fixed key later hides what another device put into its own.

mod build;
mod columns;
mod conflict;
mod content;
mod derived;
mod document;
mod history;
mod ids;
mod invalid;
mod json;
mod order;
mod plan;
mod problems;
mod projection;
mod prose;
mod quantity;
mod read;
mod reference;
mod restore;
mod rule;
mod shape;
mod tables;
mod write;

pub mod grant;
pub mod meal;
pub mod measurement;
pub mod mood;
pub mod profile;
pub mod workout;

pub use conflict::{Conflict, ConflictValue, conflicts};
pub use content::{BadContent, check_change};
pub use derived::{Scalar, from_genesis, genesis, import};
pub(crate) use document::written_once;
pub use document::{Author, blank, create, edit, restore_to, set_trashed, validate};
pub use grant::{BadConsent, Consent, Given, Grant, GrantedFeed};
pub use history::{HistoryItem, history};
pub use ids::{import_actor, import_version, imported_id, profile_id};
pub use invalid::Invalid;
pub use meal::Meal;
pub use measurement::Measurement;
pub use mood::Mood;
pub use profile::Profile;
pub use projection::{PROJECTION_VERSION, Projection, project};
pub use quantity::{BadQuantity, Dimension, Quantity, Unit};
pub use reference::reference;
pub use workout::Workout;

use serde_json::Value;

use crate::collection::Collection;

/// One record of any collection.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The person.
    Profile(Profile),
    /// A session of training.
    Workout(Workout),
    /// What was eaten.
    Meal(Meal),
    /// How it felt.
    Mood(Mood),
    /// What was measured.
    Measurement(Measurement),
    /// Who may see what.
    Grant(Grant),
}

impl Record {
    /// The record of `collection` in `json`, as [`project`] shows it or as a person wrote it.
    ///
    /// # Errors
    /// [`Invalid`] if the JSON is not such a record; ranges are checked by [`validate`].
    pub fn from_json(collection: Collection, json: &Value) -> Result<Self, Invalid> {
        fn parse<T: serde::de::DeserializeOwned>(json: &Value) -> Result<T, Invalid> {
            T::deserialize(json).map_err(|error| Invalid::record(error.to_string()))
        }
        match collection {
            Collection::Profile => parse(json).map(Self::Profile),
            Collection::Workouts => parse(json).map(Self::Workout),
            Collection::Meals => parse(json).map(Self::Meal),
            Collection::Moods => parse(json).map(Self::Mood),
            Collection::Measurements => parse(json).map(Self::Measurement),
            Collection::Grants => parse(json).map(Self::Grant),
            other => Err(Invalid::record(format!("records of {other} are not served by this version"))),
        }
    }

    /// The record as JSON, without the fields that are not set.
    pub fn to_json(&self) -> Value {
        let json = match self {
            Self::Profile(record) => serde_json::to_value(record),
            Self::Workout(record) => serde_json::to_value(record),
            Self::Meal(record) => serde_json::to_value(record),
            Self::Mood(record) => serde_json::to_value(record),
            Self::Measurement(record) => serde_json::to_value(record),
            Self::Grant(record) => serde_json::to_value(record),
        };
        json.expect("records hold only what JSON can: text keys and finite numbers")
    }

    /// Where such records are kept.
    pub fn collection(&self) -> Collection {
        match self {
            Self::Profile(_) => Collection::Profile,
            Self::Workout(_) => Collection::Workouts,
            Self::Meal(_) => Collection::Meals,
            Self::Mood(_) => Collection::Moods,
            Self::Measurement(_) => Collection::Measurements,
            Self::Grant(_) => Collection::Grants,
        }
    }
}
