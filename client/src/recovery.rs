//! The account itself: its address, its password, its second factor.

use fitme_core::store::Store;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::ServerError;
use crate::tokens::ask;
use crate::transport::Server;

/// What the server knows of the account.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Account {
    /// Its address.
    pub email: String,
    /// Whether the address is confirmed.
    pub confirmed: bool,
    /// Whether a login needs a code.
    pub totp: bool,
    /// What it is: member, trainer…
    pub role: String,
    /// When it was made, ms UTC.
    pub created_at: i64,
}

/// Asks for it.
///
/// # Errors
/// Where the server cannot be reached, or refuses.
pub async fn account(store: &mut Store) -> Result<Account, ServerError> {
    ask(store, Method::GET, "/v1/account", None).await
}

#[derive(Deserialize)]
struct Address {
    email: String,
}

/// Proves the account's address by a mailed token; returns the address, which a server of the version before does not say.
///
/// # Errors
/// Where the server cannot be reached, or refuses.
pub async fn confirm(server: &str, token: &str) -> Result<Option<String>, ServerError> {
    let confirmed: Option<Address> = Server::at(server)?.post("/v1/confirm", &json!({ "token": token.trim() })).await?;
    Ok(confirmed.map(|address| address.email))
}

/// Has a token mailed that chooses a new password. The server says the same whether there is such an account or not.
///
/// # Errors
/// As [`confirm`].
pub async fn forgot_password(server: &str, email: &str) -> Result<(), ServerError> {
    Server::at(server)?.post("/v1/password/forgotten", &json!({ "email": email })).await
}

/// Chooses a new password by a mailed token; every device is signed out.
///
/// # Errors
/// As [`confirm`].
pub async fn reset_password(server: &str, token: &str, password: &str) -> Result<(), ServerError> {
    Server::at(server)?.post("/v1/password/reset", &json!({ "token": token.trim(), "password": password })).await
}

/// Chooses a new password by the old one; every other device is signed out.
///
/// # Errors
/// As [`confirm`].
pub async fn change_password(store: &mut Store, password: &str, new_password: &str) -> Result<(), ServerError> {
    let body = json!({ "password": password, "new_password": new_password });
    ask(store, Method::POST, "/v1/password", Some(&body)).await
}

/// What an app for codes is given.
#[derive(Deserialize)]
pub struct Factor {
    /// To type.
    pub secret: String,
    /// To scan.
    pub uri: String,
}

/// Begins to turn the second factor on.
///
/// # Errors
/// As [`confirm`].
pub async fn begin_totp(store: &mut Store) -> Result<Factor, ServerError> {
    ask(store, Method::POST, "/v1/totp", None).await
}

#[derive(Deserialize)]
struct Confirmed {
    recovery_codes: Vec<String>,
}

/// Turns it on, by a first code; returns the recovery codes.
///
/// # Errors
/// As [`confirm`].
pub async fn confirm_totp(store: &mut Store, code: &str) -> Result<Vec<String>, ServerError> {
    let body = json!({ "code": code });
    let confirmed: Confirmed = ask(store, Method::POST, "/v1/totp/confirm", Some(&body)).await?;
    Ok(confirmed.recovery_codes)
}

/// Turns it off, by a code.
///
/// # Errors
/// As [`confirm`].
pub async fn end_totp(store: &mut Store, code: &str) -> Result<(), ServerError> {
    let body = json!({ "code": code });
    ask(store, Method::POST, "/v1/totp/off", Some(&body)).await
}
