//! Erasure of the whole account by the server, and its receipt.

use fitme_core::store::Store;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::error::ServerError;
use crate::tokens::ask;

/// What was removed where, and what is left for how long. Times are ms UTC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose it was.
    pub account: Uuid,
    /// When.
    pub erased_at: i64,
    /// Rows by the server's table that had them.
    pub removed: Vec<Removed>,
    /// Devices that are told when they next ask, and then empty themselves.
    pub devices: u64,
    /// People with whom something was shared.
    pub shared_with: u64,
    /// Until when the server's backups may hold it.
    pub backups_until: i64,
    /// What stays, in sentences.
    pub stays: Vec<String>,
}

/// What one table lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removed {
    /// The table.
    pub table: String,
    /// How many rows.
    pub rows: u64,
}

/// Erases the account of this home on the server. The home itself is the caller's to empty.
///
/// # Errors
/// Where the server cannot be reached, or address or password are not the account's.
pub async fn account(
    store: &mut Store,
    email: &str,
    password: &str,
    code: Option<&str>,
) -> Result<Receipt, ServerError> {
    let body = json!({ "email": email, "password": password, "code": code });
    ask(store, Method::POST, "/v1/account/erase", Some(&body)).await
}
