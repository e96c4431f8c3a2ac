//! Whether the address of an account is its owner's: a mailed token proves it. An account whose address is not confirmed
//! syncs its own data; whatever touches other people passes [`demand_confirmed`] first.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::mailed_tokens::{self, Purpose};
use crate::auth::Device;
use crate::db::wall;
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::mail::Letter;
use crate::routes::Routes;
use crate::state::AppState;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().closed(Method::GET, "/v1/account", show).open(Method::POST, "/v1/confirm", confirm).closed(
        Method::POST,
        "/v1/confirm/again",
        again,
    )
}

async fn is_confirmed(db: &mut PgConnection, account: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM confirmed_addresses WHERE account = $1) AS "confirmed!""#,
        account
    )
    .fetch_one(db)
    .await
}

/// Lets through whose address is confirmed: others are shown it, and must be able to believe it.
///
/// # Errors
/// `address_unconfirmed` for anybody else.
pub async fn demand_confirmed(db: &mut PgConnection, account: Uuid) -> Result<(), Refusal> {
    if is_confirmed(db, account).await? { Ok(()) } else { Err(ApiError::AddressUnconfirmed.into()) }
}

/// Notes that the account's address is proved.
///
/// # Errors
/// When the database does not answer.
pub async fn note_confirmed(db: &mut PgConnection, account: Uuid, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO confirmed_addresses (account, confirmed_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        account,
        now_ms
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Mails a token to an account whose address is not confirmed yet.
pub fn send_token(state: &AppState, account: Uuid) {
    let (pool, now_ms) = (state.pool.clone(), state.clock.now_ms());
    state.mailer.send(async move { Ok(letter(&pool, account, now_ms).await?) });
}

async fn letter(pool: &PgPool, account: Uuid, now_ms: i64) -> Result<Option<Letter>, sqlx::Error> {
    let mut tx = wall::of(pool, &[account]).await?;
    if is_confirmed(&mut tx, account).await? {
        return Ok(None);
    }
    let email =
        sqlx::query_scalar!("SELECT email FROM accounts WHERE account = $1", account).fetch_one(&mut *tx).await?;
    let token = mailed_tokens::make(&mut tx, account, Purpose::Confirm, now_ms).await?;
    tx.commit().await?;
    Ok(token.map(|token| Letter {
        to: email,
        subject: "Confirm your address",
        text: format!(
            "Somebody, hopefully you, made a FitME account with this address.\n\nTo confirm it, enter this within a week:\n\n\
             \x20   fitme confirm {token}\n\nIf it was not you, do nothing.\n"
        ),
    }))
}

#[derive(Deserialize)]
struct Confirming {
    token: String,
}

/// Whoever has the token has the address's mail.
#[derive(Serialize)]
struct Confirmed {
    email: String,
}

async fn confirm(
    State(state): State<AppState>,
    JsonBody(confirming): JsonBody<Confirming>,
) -> Result<Json<Confirmed>, Refusal> {
    let now_ms = state.clock.now_ms();
    let mut tx = wall::of(&state.pool, &[]).await?;
    let account = mailed_tokens::take(&mut tx, &confirming.token, Purpose::Confirm, now_ms).await?;
    let account = account.ok_or(ApiError::WrongToken)?;
    note_confirmed(&mut tx, account, now_ms).await?;
    let email =
        sqlx::query_scalar!("SELECT email FROM accounts WHERE account = $1", account).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    tracing::info!(%account, "address confirmed");
    Ok(Json(Confirmed { email }))
}

async fn again(State(state): State<AppState>, asking: Device) -> StatusCode {
    send_token(&state, asking.account);
    StatusCode::ACCEPTED
}

/// What an account knows of itself.
#[derive(Serialize)]
struct Shown {
    account: Uuid,
    email: String,
    /// Whether the address is confirmed.
    confirmed: bool,
    /// Whether a login needs a code.
    totp: bool,
    role: String,
    /// When it was made, ms UTC.
    created_at: i64,
}

async fn show(State(state): State<AppState>, asking: Device) -> Result<Json<Shown>, Refusal> {
    let shown = sqlx::query_as!(
        Shown,
        r#"SELECT a.account, a.email, c.account IS NOT NULL AS "confirmed!", coalesce(t.confirmed, false) AS "totp!",
             a.role, (extract(epoch FROM a.created_at) * 1000)::bigint AS "created_at!"
           FROM accounts a LEFT JOIN confirmed_addresses c ON c.account = a.account LEFT JOIN totp t ON t.account = a.account
           WHERE a.account = $1"#,
        asking.account
    )
    .fetch_one(&mut *wall::of(&state.pool, &[asking.account]).await?)
    .await?;
    Ok(Json(shown))
}
