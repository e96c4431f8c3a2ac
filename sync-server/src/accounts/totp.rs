//! The second factor: codes of an app (RFC 6238, six digits every 30 seconds), each taken once, and recovery codes for when
//! the app is gone.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use totp_rs::{Builder, Secret, Totp};
use uuid::Uuid;

use super::lockout::Attempt;
use super::refresh_token::hash;
use crate::audit::{self, Event};
use crate::auth::Device;
use crate::bytes::{hex, random_bytes};
use crate::db::wall;
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::routes::Routes;
use crate::slow_reader::Peer;
use crate::state::AppState;

/// Random bytes of a secret, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Recovery codes of an account.
const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code.
const RECOVERY_BYTES: usize = 8;
/// Under which name the app shows the account.
const ISSUER: &str = "FitME";

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().closed(Method::POST, "/v1/totp", begin).closed(Method::POST, "/v1/totp/confirm", confirm).closed(
        Method::POST,
        "/v1/totp/off",
        turn_off,
    )
}

/// Lets through whose account asks for no code, or who shows a right one. A code is used up when the caller commits.
///
/// # Errors
/// `code_needed` without a code, `wrong_code` for one that is wrong or was taken before.
pub async fn demand(db: &mut PgConnection, state: &AppState, account: Uuid, code: Option<&str>) -> Result<(), Refusal> {
    // Locked: of two logins with one code the second sees that it is taken.
    let factor =
        sqlx::query!("SELECT sealed_secret, last_step FROM totp WHERE account = $1 AND confirmed FOR UPDATE", account)
            .fetch_optional(&mut *db)
            .await?;
    let Some(factor) = factor else { return Ok(()) };
    let code = code.ok_or(ApiError::CodeNeeded)?.trim();
    let totp = opened(state, account, &factor.sealed_secret)?;
    match step_of(&totp, code, state.clock.now_ms()).filter(|step| *step > factor.last_step) {
        Some(step) => note_step(db, account, step).await?,
        None if use_recovery_code(db, account, code).await? => {}
        None => return Err(ApiError::WrongCode.into()),
    }
    Ok(())
}

/// The same for who is signed in; guesses are counted like those of passwords, as a stolen access token must not be enough.
///
/// # Errors
/// Those of [`demand`], and `too_many_attempts` after several.
pub async fn demand_counted(
    state: &AppState,
    account: Uuid,
    address: IpAddr,
    code: Option<&str>,
) -> Result<(), Refusal> {
    let attempt = Attempt::new(&format!("second factor {account}"), address);
    attempt.begin(&state.pool, state.clock.now_ms()).await?;
    let mut tx = wall::of(&state.pool, &[account]).await?;
    demand(&mut tx, state, account, code).await?;
    attempt.succeeded(&mut tx).await?;
    Ok(tx.commit().await?)
}

/// What the app is told, once.
#[derive(Serialize)]
struct Begun {
    /// Base32, to type.
    secret: String,
    /// The same as a link, to scan.
    uri: String,
}

/// A secret that nobody has shown a code of yet is replaced.
async fn begin(State(state): State<AppState>, asking: Device) -> Result<Json<Begun>, Refusal> {
    let account = asking.account;
    let secret = random_bytes::<SECRET_BYTES>();
    let mut tx = wall::of(&state.pool, &[account]).await?;
    let email =
        sqlx::query_scalar!("SELECT email FROM accounts WHERE account = $1", account).fetch_one(&mut *tx).await?;
    let begun = sqlx::query!(
        "INSERT INTO totp AS before (account, sealed_secret) VALUES ($1, $2)
         ON CONFLICT (account) DO UPDATE SET sealed_secret = $2 WHERE NOT before.confirmed",
        account,
        state.master.seal(&seal_label(account), &secret)
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    if begun.rows_affected() == 0 {
        return Err(ApiError::TotpOn.into());
    }
    // A colon separates issuer and account in the link.
    let named = builder(&secret).with_account_name(email.replace(':', "_")).with_issuer(Some(ISSUER));
    let uri = named.build().and_then(|totp| totp.to_url()).map_err(|error| ApiError::Internal.caused_by(error))?;
    Ok(Json(Begun { secret: Secret::from(secret).to_base32(), uri }))
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Serialize)]
struct Confirmed {
    /// Shown once: the database has hashes.
    recovery_codes: Vec<String>,
}

async fn confirm(
    State(state): State<AppState>,
    asking: Device,
    JsonBody(shown): JsonBody<Code>,
) -> Result<Json<Confirmed>, Refusal> {
    let account = asking.account;
    let mut tx = wall::of(&state.pool, &[account]).await?;
    let sealed =
        sqlx::query_scalar!("SELECT sealed_secret FROM totp WHERE account = $1 AND NOT confirmed FOR UPDATE", account)
            .fetch_optional(&mut *tx)
            .await?;
    let totp = opened(&state, account, &sealed.ok_or(ApiError::WrongCode)?)?;
    let step = step_of(&totp, shown.code.trim(), state.clock.now_ms()).ok_or(ApiError::WrongCode)?;
    note_step(&mut tx, account, step).await?;
    let recovery_codes = draw_recovery_codes(&mut tx, account).await?;
    audit::record(&mut tx, account, state.clock.now_ms(), Event::SecondFactorOn { by: asking.device }).await?;
    tx.commit().await?;
    tracing::info!(%account, "second factor turned on");
    Ok(Json(Confirmed { recovery_codes }))
}

async fn turn_off(
    State(state): State<AppState>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    asking: Device,
    JsonBody(shown): JsonBody<Code>,
) -> Result<StatusCode, Refusal> {
    let account = asking.account;
    demand_counted(&state, account, address, Some(&shown.code)).await?;
    let mut tx = wall::of(&state.pool, &[account]).await?;
    let factor = sqlx::query!("DELETE FROM totp WHERE account = $1", account).execute(&mut *tx).await?;
    if factor.rows_affected() == 0 {
        return Err(ApiError::TotpOff.into());
    }
    sqlx::query!("DELETE FROM recovery_codes WHERE account = $1", account).execute(&mut *tx).await?;
    audit::record(&mut tx, account, state.clock.now_ms(), Event::SecondFactorOff { by: asking.device }).await?;
    tx.commit().await?;
    tracing::info!(%account, "second factor turned off");
    Ok(StatusCode::NO_CONTENT)
}

fn builder(secret: &[u8]) -> Builder {
    Builder::new().with_secret(secret)
}

fn opened(state: &AppState, account: Uuid, sealed: &[u8]) -> Result<Totp, Refusal> {
    let secret = state.master.unseal(&seal_label(account), sealed);
    let secret =
        secret.ok_or_else(|| ApiError::Internal.caused_by("a second factor was sealed by another master key"))?;
    builder(&secret).build().map_err(|error| ApiError::Internal.caused_by(error))
}

/// The step of the code, if it is one of this moment or of the step before or after.
fn step_of(totp: &Totp, code: &str, now_ms: i64) -> Option<i64> {
    let step = totp.check(code, (now_ms / 1_000).max(0).unsigned_abs())?;
    i64::try_from(step).ok()
}

async fn note_step(db: &mut PgConnection, account: Uuid, step: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE totp SET confirmed = true, last_step = $2 WHERE account = $1", account, step)
        .execute(db)
        .await?;
    Ok(())
}

/// Written in groups of four; typed with or without the hyphens.
async fn draw_recovery_codes(db: &mut PgConnection, account: Uuid) -> Result<Vec<String>, sqlx::Error> {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| hex(&random_bytes::<RECOVERY_BYTES>())).collect();
    let hashes: Vec<Vec<u8>> = codes.iter().map(|code| hash(code).to_vec()).collect();
    sqlx::query!(
        "INSERT INTO recovery_codes (account, code_hash) SELECT $1, * FROM UNNEST($2::bytea[])",
        account,
        &hashes
    )
    .execute(db)
    .await?;
    let in_groups = |code: &String| {
        let groups: Vec<_> = code.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        groups.join("-")
    };
    Ok(codes.iter().map(in_groups).collect())
}

async fn use_recovery_code(db: &mut PgConnection, account: Uuid, code: &str) -> Result<bool, sqlx::Error> {
    let code = code.replace(['-', ' '], "").to_lowercase();
    let used =
        sqlx::query!("DELETE FROM recovery_codes WHERE account = $1 AND code_hash = $2", account, &hash(&code)[..])
            .execute(db)
            .await?;
    Ok(used.rows_affected() == 1)
}

fn seal_label(account: Uuid) -> String {
    format!("totp/{account}")
}
