//! Invitations, as the server keeps them: what somebody asks others for, and what is asked of one. The grant itself is a
//! record of the person who gives it, see `fitme_core::record::Grant`.

use fitme_core::policy::{Access, Purpose};
use fitme_core::store::Store;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::ServerError;
use crate::tokens::ask;

/// One feed that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Collection name.
    pub collection: String,
    /// Scope within it; mostly empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// `read` or `write`.
    pub access: String,
}

impl Asked {
    /// Asks for a collection, or a scope of one written `insights/training`.
    #[must_use]
    pub fn new(feed: &str, access: Access) -> Self {
        let (collection, scope) = feed.split_once('/').unwrap_or((feed, ""));
        Self { collection: collection.to_owned(), scope: scope.to_owned(), access: access.name().to_owned() }
    }
}

/// What somebody asks others for.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// How they call themselves.
    pub name: String,
    /// What for.
    pub purpose: String,
    /// What they want to see or write.
    pub feeds: Vec<Asked>,
    /// For how many days; until it is revoked if `None`.
    pub days: Option<i32>,
}

/// A code that one account may accept.
#[derive(Debug, Clone, Deserialize)]
pub struct Invited {
    /// To be told to that person.
    pub code: String,
    /// Until when it can be accepted, ms UTC.
    pub expires_at_ms: i64,
}

/// What is asked of the person who holds a code.
#[derive(Debug, Clone, Deserialize)]
pub struct Terms {
    /// Who asks.
    pub grantee: Uuid,
    /// How they call themselves.
    pub grantee_name: String,
    /// The address of their account, which the server knows to be theirs.
    pub grantee_email: String,
    /// What they are.
    pub role: String,
    /// What for.
    pub purpose: String,
    /// What they want to see or write.
    pub feeds: Vec<Asked>,
    /// For how many days; until it is revoked if `None`.
    pub days: Option<i32>,
}

/// What somebody usually asks for in that purpose.
#[must_use]
pub fn usually_asked(purpose: Purpose) -> Vec<Asked> {
    use Access::{Read, Write};
    let feeds: &[(&str, Access)] = match purpose {
        Purpose::Training => &[
            ("profile", Read),
            ("workouts", Write),
            ("measurements", Read),
            ("plans", Write),
            ("insights/training", Read),
        ],
        Purpose::Nutrition => &[
            ("profile", Read),
            ("meals", Read),
            ("measurements", Read),
            ("plans", Write),
            ("insights/nutrition", Read),
        ],
        Purpose::MentalHealth => &[("moods", Read), ("sleep", Read), ("insights/mind", Read)],
        Purpose::Care => &[("profile", Read), ("workouts", Read), ("measurements", Read), ("sleep", Read)],
        Purpose::Insights | Purpose::Notifications => &[("profile", Read), ("workouts", Read), ("meals", Read)],
    };
    feeds.iter().map(|(feed, access)| Asked::new(feed, *access)).collect()
}

/// Makes an invitation.
///
/// # Errors
/// [`ServerError`] where the server cannot be reached or refuses.
pub async fn invite(store: &mut Store, request: &Request) -> Result<Invited, ServerError> {
    post(store, "/v1/invites", request).await
}

/// What the invitation with this code asks for; nothing is accepted yet.
///
/// # Errors
/// [`ServerError`] where the server cannot be reached or refuses.
pub async fn look(store: &mut Store, code: &str) -> Result<Terms, ServerError> {
    post(store, "/v1/invites/look", &serde_json::json!({ "code": code })).await
}

/// Accepts the invitation: whoever made it may be granted something from now on.
///
/// # Errors
/// [`ServerError`] where the server cannot be reached or refuses.
pub async fn accept(store: &mut Store, code: &str) -> Result<Terms, ServerError> {
    post(store, "/v1/invites/accept", &serde_json::json!({ "code": code })).await
}

async fn post<T: DeserializeOwned>(store: &mut Store, path: &str, body: &impl Serialize) -> Result<T, ServerError> {
    let body = serde_json::to_value(body).map_err(|error| ServerError::Answer(error.to_string()))?;
    ask(store, Method::POST, path, Some(&body)).await
}
