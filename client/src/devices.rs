//! The devices of the account, as the server lists them, and the end of this one's sign-in.

use fitme_core::store::Store;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::error::ServerError;
use crate::tokens::ask;

/// One of them. Times are ms UTC.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Listed {
    /// Its id.
    pub device: Uuid,
    /// What its person calls it.
    pub name: String,
    /// Whether it is this one.
    pub this: bool,
    /// When it was registered.
    pub created_at: i64,
    /// When it last got its tokens; none where it is not signed in.
    pub seen_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
    /// Whether it was revoked as lost.
    pub lost: bool,
}

/// All of them, oldest first.
///
/// # Errors
/// Where the server cannot be reached, or refuses.
pub async fn list(store: &mut Store) -> Result<Vec<Listed>, ServerError> {
    ask(store, Method::GET, "/v1/devices", None).await
}

/// Gives one another name.
///
/// # Errors
/// As [`list`].
pub async fn rename(store: &mut Store, device: Uuid, name: &str) -> Result<(), ServerError> {
    let (path, body) = (format!("/v1/devices/{device}"), json!({ "name": name }));
    ask(store, Method::PATCH, &path, Some(&body)).await
}

/// Ends what one may do, at once; a lost one also removes what it holds when it next asks.
///
/// # Errors
/// As [`list`].
pub async fn revoke(store: &mut Store, device: Uuid, lost: bool) -> Result<(), ServerError> {
    let (path, body) = (format!("/v1/devices/{device}/revoke"), json!({ "lost": lost }));
    ask(store, Method::POST, &path, Some(&body)).await
}

/// Ends the sign-in of this device.
///
/// # Errors
/// As [`list`].
pub async fn log_out(store: &mut Store) -> Result<(), ServerError> {
    ask(store, Method::POST, "/v1/logout", None).await
}
