//! Erasure over HTTP, by a device that is signed in: a browser that holds no records is one too.

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{Method, StatusCode};
use fitme_core::id::DocId;
use serde::Deserialize;

use super::{Erased, Receipt};
use crate::accounts::{password, totp};
use crate::auth::Device;
use crate::db::wall;
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::routes::Routes;
use crate::slow_reader::Peer;
use crate::state::AppState;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().closed(Method::DELETE, "/v1/records/{record}", erase_record).closed(
        Method::POST,
        "/v1/account/erase",
        erase_account,
    )
}

/// A record of the asking account; one of somebody else is as unknown as one that never was.
async fn erase_record(
    State(state): State<AppState>,
    asking: Device,
    Path(record): Path<String>,
) -> Result<StatusCode, Refusal> {
    let unknown = || ApiError::NotFound.because("The account has no such record; look at its id again.");
    let doc_id: DocId = record.parse().map_err(|_| unknown())?;
    match super::record_by(&state.pool, &state.engine.ingest, &state.clock, asking, doc_id, "").await? {
        Erased::Gone { .. } => Ok(StatusCode::NO_CONTENT),
        Erased::Unknown => Err(unknown()),
        Erased::Refused { passing: true, message, .. } => Err(ApiError::Unavailable.because(message)),
        Erased::Refused { message, .. } => Err(ApiError::NotErasable.because(message)),
    }
}

/// Not `Debug`: it holds a password.
#[derive(Deserialize)]
struct Asking {
    /// The account's address, typed by who is sure.
    email: String,
    password: String,
    /// Where the account asks for one: of the second factor, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

/// Guesses of the password wait like logins do.
async fn erase_account(
    State(state): State<AppState>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    device: Device,
    JsonBody(asking): JsonBody<Asking>,
) -> Result<Json<Receipt>, Refusal> {
    let account = device.account;
    let email = sqlx::query_scalar!("SELECT email FROM accounts WHERE account = $1", account)
        .fetch_one(&mut *wall::of(&state.pool, &[account]).await?)
        .await?;
    password::demand(&state, account, address, Some(asking.password)).await?;
    if !asking.email.trim().eq_ignore_ascii_case(&email) {
        return Err(ApiError::WrongCredentials.into());
    }
    totp::demand_counted(&state, account, address, asking.code.as_deref()).await?;
    // A task of its own: what is begun is ended, however long it takes and whether anybody still waits for the answer.
    let erasing = tokio::spawn(async move {
        super::account(&state.pool, &state.audit, &state.clock, account, state.limits.backups).await
    });
    let receipt = erasing.await.map_err(|error| ApiError::Internal.caused_by(error))?;
    let receipt = receipt.map_err(|error| ApiError::Unavailable.caused_by(error))?;
    Ok(Json(receipt.ok_or(ApiError::NotFound)?))
}
