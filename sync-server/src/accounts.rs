//! Sign-up and login: each registers the asking device and hands it a token and the account's feeds.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use fitme_core::policy::Role;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::account_feeds::{AccountFeed, ensure_feeds};
use crate::auth::{register_device, renew_device};
use crate::db::installation;
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::state::AppState;

mod credentials;

pub use credentials::Credentials;

/// Constraint that keeps an address from having two accounts.
const ONE_ACCOUNT_AN_EMAIL: &str = "accounts_email";

/// The routes of this file.
pub fn routes() -> Router<AppState> {
    Router::new().route("/v1/signup", post(sign_up)).route("/v1/login", post(log_in))
}

/// What a device needs to begin.
#[derive(Serialize)]
pub struct SignedIn {
    account: Uuid,
    device: Uuid,
    token: String,
    token_expires_at_ms: i64,
    installation: String,
    feeds: Vec<AccountFeed>,
}

async fn sign_up(
    State(state): State<AppState>,
    JsonBody(credentials): JsonBody<Credentials>,
) -> Result<(StatusCode, Json<SignedIn>), Refusal> {
    let Credentials { email, password, device_name, role, .. } = credentials.checked_for_sign_up()?;
    let hash = state.passwords.hash(password).await?;
    let mut tx = state.pool.begin().await?;
    let account = insert_account(&mut tx, &email, &hash, role.as_deref().unwrap_or(Role::Member.name())).await?;
    let signed_in = admit(&mut tx, account, &device_name, None).await?;
    tx.commit().await?;
    tracing::info!(%account, device = %signed_in.device, "account created");
    Ok((StatusCode::CREATED, Json(signed_in)))
}

async fn log_in(
    State(state): State<AppState>,
    JsonBody(credentials): JsonBody<Credentials>,
) -> Result<Json<SignedIn>, Refusal> {
    let Credentials { email, password, device_name, device, .. } = credentials.checked_for_login()?;
    let known = sqlx::query!("SELECT account, password_hash FROM accounts WHERE lower(email) = lower($1)", email)
        .fetch_optional(&state.pool)
        .await?;
    let (account, hash) = known.map(|row| (row.account, row.password_hash)).unzip();
    let fits = state.passwords.fits(password, hash).await?;
    let account = account.filter(|_| fits).ok_or(ApiError::WrongCredentials)?;
    let mut tx = state.pool.begin().await?;
    let signed_in = admit(&mut tx, account, &device_name, device).await?;
    tx.commit().await?;
    tracing::info!(%account, device = %signed_in.device, "device logged in");
    Ok(Json(signed_in))
}

async fn insert_account(db: &mut PgConnection, email: &str, password_hash: &str, role: &str) -> Result<Uuid, Refusal> {
    let account = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO accounts (account, email, password_hash, role) VALUES ($1, $2, $3, $4)",
        account,
        email,
        password_hash,
        role
    )
    .execute(db)
    .await
    .map_err(|error| match error.as_database_error().and_then(|refused| refused.constraint()) {
        Some(ONE_ACCOUNT_AN_EMAIL) => ApiError::EmailTaken.into(),
        _ => Refusal::from(error),
    })?;
    Ok(account)
}

/// Registers the device and collects what it needs to begin.
async fn admit(db: &mut PgConnection, account: Uuid, name: &str, known: Option<Uuid>) -> Result<SignedIn, sqlx::Error> {
    let feeds = ensure_feeds(db, account).await?;
    let renewed = match known {
        Some(device) => renew_device(db, account, device, name).await?,
        None => None,
    };
    let new = match renewed {
        Some(device) => device,
        None => register_device(db, account, name).await?,
    };
    Ok(SignedIn {
        account,
        device: new.device,
        token: new.token,
        token_expires_at_ms: new.expires_at_ms,
        installation: installation::in_hex(installation::current(db).await?),
        feeds,
    })
}
