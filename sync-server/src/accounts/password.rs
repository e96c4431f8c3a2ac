//! A new password: for the old one, or for a mailed token where that is forgotten.

use std::net::IpAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::address;
use super::credentials::{checked_new_password, normalised_email};
use super::lockout::Attempt;
use super::mailed_tokens::{self, Purpose};
use super::oidc::identities;
use super::sign_ins::{self, Cause};
use crate::audit::{self, By, Event};
use crate::auth::Access;
use crate::db::{wall, whose};
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::mail::Letter;
use crate::routes::Routes;
use crate::slow_reader::Peer;
use crate::state::AppState;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .closed(Method::POST, "/v1/password", change)
        .open(Method::POST, "/v1/password/forgotten", forgotten)
        .open(Method::POST, "/v1/password/reset", reset)
}

#[derive(Deserialize)]
struct Forgetting {
    email: String,
}

/// Says the same whether there is such an account or not, and as fast: whatever there is to do is done afterwards.
async fn forgotten(State(state): State<AppState>, JsonBody(asking): JsonBody<Forgetting>) -> StatusCode {
    if let Some(email) = normalised_email(&asking.email) {
        let (pool, now_ms) = (state.pool.clone(), state.clock.now_ms());
        state.mailer.send(async move { Ok(letter(&pool, email, now_ms).await?) });
    }
    StatusCode::ACCEPTED
}

async fn letter(pool: &PgPool, email: String, now_ms: i64) -> Result<Option<Letter>, sqlx::Error> {
    let mut tx = wall::of(pool, &[]).await?;
    let Some(account) = whose::by_email(&mut tx, &email).await? else { return Ok(None) };
    let token = mailed_tokens::make(&mut tx, account, Purpose::Reset, now_ms).await?;
    tx.commit().await?;
    Ok(token.map(|token| Letter {
        to: email,
        subject: "Choose a new password",
        text: format!(
            "Somebody, hopefully you, has forgotten the password of your FitME account.\n\nTo choose a new one, enter this \
             within an hour:\n\n    fitme password --token {token}\n\nIf it was not you, do nothing: your password stays.\n"
        ),
    }))
}

#[derive(Deserialize)]
struct Resetting {
    token: String,
    password: String,
}

/// Who has the mail has the account: every device is signed out, no provider signs in any more until it is linked again, and
/// the address is proved on the way.
async fn reset(State(state): State<AppState>, JsonBody(asking): JsonBody<Resetting>) -> Result<StatusCode, Refusal> {
    checked_new_password(&asking.password)?;
    let hash = state.passwords.hash(asking.password).await?;
    let now_ms = state.clock.now_ms();
    let mut tx = wall::of(&state.pool, &[]).await?;
    let account = mailed_tokens::take(&mut tx, &asking.token, Purpose::Reset, now_ms).await?;
    let account = account.ok_or(ApiError::WrongToken)?;
    address::note_confirmed(&mut tx, account, now_ms).await?;
    set(&mut tx, account, &hash).await?;
    identities::unlink_all(&mut tx, account).await?;
    sign_ins::end_of_account(&mut tx, account, None, Cause::PasswordChanged).await?;
    audit::record(&mut tx, account, now_ms, Event::PasswordChanged { by: By::Mail }).await?;
    tx.commit().await?;
    tracing::info!(%account, "password reset");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Changing {
    password: String,
    new_password: String,
}

/// Guesses of the old password wait like logins do; every other device is signed out.
async fn change(
    State(state): State<AppState>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    access: Access,
    JsonBody(asking): JsonBody<Changing>,
) -> Result<StatusCode, Refusal> {
    checked_new_password(&asking.new_password)?;
    let account = access.device.account;
    let attempt = proved(&state, account, address, asking.password).await?;
    let hash = state.passwords.hash(asking.new_password).await?;
    let mut tx = wall::of(&state.pool, &[account]).await?;
    attempt.succeeded(&mut tx).await?;
    set(&mut tx, account, &hash).await?;
    sign_ins::end_of_account(&mut tx, account, Some(access.sign_in), Cause::PasswordChanged).await?;
    let event = Event::PasswordChanged { by: By::Device(access.device.device) };
    audit::record(&mut tx, account, state.clock.now_ms(), event).await?;
    tx.commit().await?;
    tracing::info!(%account, "password changed");
    Ok(StatusCode::NO_CONTENT)
}

/// Lets through who shows the account's password. An access token alone, which lives for minutes and may be a thief's, opens
/// nothing that lasts: who came by a provider and has no password chooses one first, by mail.
///
/// # Errors
/// `wrong_credentials` for a wrong one or where there is none, `too_many_attempts` after several.
pub(crate) async fn demand(
    state: &AppState,
    account: Uuid,
    address: IpAddr,
    password: Option<String>,
) -> Result<(), Refusal> {
    let attempt = proved(state, account, address, password.unwrap_or_default()).await?;
    let mut tx = wall::of(&state.pool, &[account]).await?;
    attempt.succeeded(&mut tx).await?;
    Ok(tx.commit().await?)
}

/// An attempt that has shown the account's password, still counted as a failure.
async fn proved(state: &AppState, account: Uuid, address: IpAddr, password: String) -> Result<Attempt, Refusal> {
    let known = sqlx::query!("SELECT email, password_hash FROM accounts WHERE account = $1", account)
        .fetch_one(&mut *wall::of(&state.pool, &[account]).await?)
        .await?;
    let attempt = Attempt::new(&known.email, address);
    attempt.begin(&state.pool, state.clock.now_ms()).await?;
    let has_none = known.password_hash.is_none();
    let fits = match state.passwords.fits(password, known.password_hash).await {
        Ok(fits) => fits,
        Err(busy) => {
            attempt.was_not_looked_at(&state.pool).await?;
            return Err(busy);
        }
    };
    match (fits, has_none) {
        (true, _) => Ok(attempt),
        (false, false) => Err(ApiError::WrongCredentials.because("The password is wrong; nothing was changed.")),
        (false, true) => Err(ApiError::WrongCredentials.because(
            "The account has no password; have a token mailed with `fitme password --forgotten`, choose one, and try again.",
        )),
    }
}

async fn set(db: &mut PgConnection, account: Uuid, hash: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE accounts SET password_hash = $2 WHERE account = $1", account, hash).execute(db).await?;
    Ok(())
}
