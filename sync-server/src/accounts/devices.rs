//! The devices of an account: one row of `devices` an installation. Any of them may list, rename and revoke them all.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::credentials::{DEVICE_NAME_MAX_BYTES, checked_device_name};
use super::sign_ins::{self, Cause};
use crate::audit::{self, Event};
use crate::auth::Device;
use crate::auth::ed25519::PUBLIC_BYTES;
use crate::db::wall;
use crate::endings::{self, DeviceIs};
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::routes::Routes;
use crate::state::AppState;

/// A space and the number of a device among those of one name: an account has fewer than a million.
const NUMBER_BYTES: usize = 7;

/// The public half of a device's key pair.
pub type PublicKey = [u8; PUBLIC_BYTES];

/// Registers a device of the account.
///
/// # Errors
/// When the database does not answer.
pub async fn register(
    db: &mut PgConnection,
    account: Uuid,
    name: &str,
    public_key: Option<&PublicKey>,
) -> Result<Uuid, sqlx::Error> {
    let device = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO devices (device, account, name, public_key) VALUES ($1, $2, $3, $4)",
        device,
        account,
        name,
        public_key.map(|key| &key[..])
    )
    .execute(db)
    .await?;
    Ok(device)
}

/// Takes a device of the account back that logs in again, under the name and with the key that it has now; false if it is
/// no device of the account.
///
/// # Errors
/// When the database does not answer.
pub async fn take_back(
    db: &mut PgConnection,
    account: Uuid,
    device: Uuid,
    name: &str,
    public_key: Option<&PublicKey>,
) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query!(
        "UPDATE devices SET name = $3, public_key = coalesce($4, public_key), revoked_at = NULL, lost = false,
                token_hash = NULL, token_expires_at = NULL
         WHERE device = $2 AND account = $1",
        account,
        device,
        name,
        public_key.map(|key| &key[..])
    )
    .execute(&mut *db)
    .await?;
    endings::note_return(db, account, device).await?;
    Ok(taken.rows_affected() == 1)
}

/// Revokes a device of the account in the name of `by`; false if it is no device of the account. From the commit on it opens
/// nothing, and its live sessions end. Once lost it stays so until somebody logs in on it.
///
/// # Errors
/// When the database does not answer.
pub async fn revoke(
    db: &mut PgConnection,
    Device { device, account }: Device,
    lost: bool,
    by: Uuid,
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    let is_lost = sqlx::query_scalar!(
        "UPDATE devices SET revoked_at = coalesce(revoked_at, $3), lost = lost OR $4, token_hash = NULL, token_expires_at = NULL
         WHERE device = $2 AND account = $1 RETURNING lost",
        account,
        device,
        now_ms,
        lost
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(is_lost) = is_lost else { return Ok(false) };
    endings::note_device(db, account, device, if is_lost { DeviceIs::Lost } else { DeviceIs::Revoked }).await?;
    sign_ins::end_of_device(db, device, Cause::Revoked).await?;
    audit::record(db, account, now_ms, Event::DeviceRevoked { device, lost, by }).await?;
    Ok(true)
}

/// Forgets that a device was ever revoked, or that it is lost; false if it is no device of the account.
///
/// # Errors
/// When the database does not answer.
pub async fn clear(db: &mut PgConnection, Device { device, account }: Device) -> Result<bool, sqlx::Error> {
    let cleared = sqlx::query!(
        "UPDATE devices SET revoked_at = NULL, lost = false WHERE device = $2 AND account = $1",
        account,
        device
    )
    .execute(db)
    .await?;
    Ok(cleared.rows_affected() == 1)
}

/// Notes the key of a device that has none yet: it was registered before devices had keys.
///
/// # Errors
/// When the database does not answer.
pub async fn note_first_key(db: &mut PgConnection, device: Uuid, key: &PublicKey) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE devices SET public_key = $2 WHERE device = $1 AND public_key IS NULL", device, &key[..])
        .execute(db)
        .await?;
    Ok(())
}

/// What a device is called, if it is one of the accounts that the transaction names.
///
/// # Errors
/// When the database does not answer.
pub async fn name_of(db: &mut PgConnection, device: Uuid) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT name FROM devices WHERE device = $1", device).fetch_optional(db).await
}

/// The name that a device gets which wants `wanted`: another signed-in one may have that already, and two of one name cannot be
/// told apart when one of them is lost.
///
/// # Errors
/// When the database does not answer.
pub async fn free_name(
    db: &mut PgConnection,
    account: Uuid,
    wanted: &str,
    device: Option<Uuid>,
) -> Result<String, sqlx::Error> {
    let taken = names_of_others(db, account, device).await?;
    // One more number than there are names: one of them is free.
    let numbered = (2..=taken.len() + 2).map(|n| format!("{} {n}", shortened(wanted)));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    Ok(names.find(|name| !taken.contains(name)).unwrap_or_else(|| wanted.to_owned()))
}

/// With room for a number behind it.
fn shortened(name: &str) -> &str {
    let room = DEVICE_NAME_MAX_BYTES - NUMBER_BYTES;
    &name[..name.floor_char_boundary(room)]
}

async fn names_of_others(
    db: &mut PgConnection,
    account: Uuid,
    device: Option<Uuid>,
) -> Result<HashSet<String>, sqlx::Error> {
    let names = sqlx::query_scalar!(
        "SELECT d.name FROM devices d JOIN sign_ins s ON s.device = d.device AND s.ended_at IS NULL
         WHERE d.account = $1 AND d.revoked_at IS NULL AND d.device IS DISTINCT FROM $2",
        account,
        device
    );
    Ok(names.fetch_all(db).await?.into_iter().collect())
}

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .closed(Method::GET, "/v1/devices", list)
        .closed(Method::PATCH, "/v1/devices/{device}", rename)
        .closed(Method::POST, "/v1/devices/{device}/revoke", revoke_other)
        .closed(Method::POST, "/v1/logout", log_out)
}

/// A device as the others of its account see it. Times are milliseconds UTC.
#[derive(Serialize)]
struct Listed {
    device: Uuid,
    name: String,
    /// Whether it is the one that asks.
    this: bool,
    created_at: i64,
    /// When it last got its tokens; null where it is not signed in.
    seen_at: Option<i64>,
    revoked_at: Option<i64>,
    lost: bool,
}

async fn list(State(state): State<AppState>, asking: Device) -> Result<Json<Vec<Listed>>, Refusal> {
    let devices = sqlx::query_as!(
        Listed,
        r#"SELECT d.device, d.name, d.device = $2 AS "this!", (extract(epoch FROM d.created_at) * 1000)::bigint AS "created_at!",
                  s.exchanged_at AS "seen_at?", d.revoked_at, d.lost
           FROM devices d LEFT JOIN sign_ins s ON s.device = d.device AND s.ended_at IS NULL
           WHERE d.account = $1 ORDER BY d.device"#,
        asking.account,
        asking.device
    )
    .fetch_all(&mut *wall::of(&state.pool, &[asking.account]).await?)
    .await?;
    Ok(Json(devices))
}

#[derive(Deserialize)]
struct Renaming {
    name: String,
}

async fn rename(
    State(state): State<AppState>,
    asking: Device,
    Path(device): Path<Uuid>,
    JsonBody(renaming): JsonBody<Renaming>,
) -> Result<StatusCode, Refusal> {
    let name = checked_device_name(&renaming.name)?;
    let mut tx = wall::of(&state.pool, &[asking.account]).await?;
    if names_of_others(&mut tx, asking.account, Some(device)).await?.contains(&name) {
        return Err(ApiError::BadRequest.because("Another device of the account is called that; choose another name."));
    }
    let renamed =
        sqlx::query!("UPDATE devices SET name = $3 WHERE device = $2 AND account = $1", asking.account, device, name)
            .execute(&mut *tx)
            .await?;
    tx.commit().await?;
    found(renamed.rows_affected())
}

#[derive(Deserialize)]
struct Revoking {
    /// Whether it is to remove what it holds when it next asks.
    #[serde(default)]
    lost: bool,
}

async fn revoke_other(
    State(state): State<AppState>,
    asking: Device,
    Path(device): Path<Uuid>,
    JsonBody(revoking): JsonBody<Revoking>,
) -> Result<StatusCode, Refusal> {
    let (which, now_ms) = (Device { device, account: asking.account }, state.clock.now_ms());
    let mut tx = wall::of(&state.pool, &[asking.account]).await?;
    let is_here = revoke(&mut tx, which, revoking.lost, asking.device, now_ms).await?;
    tx.commit().await?;
    tracing::info!(account = %asking.account, %device, lost = revoking.lost, "device revoked");
    found(u64::from(is_here))
}

async fn log_out(State(state): State<AppState>, asking: Device) -> Result<StatusCode, Refusal> {
    let mut tx = wall::of(&state.pool, &[asking.account]).await?;
    sign_ins::end_of_device(&mut tx, asking.device, Cause::LoggedOut).await?;
    let event = Event::SignedOut { device: asking.device };
    audit::record(&mut tx, asking.account, state.clock.now_ms(), event).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Another account's device is as unknown as one that never was.
fn found(rows: u64) -> Result<StatusCode, Refusal> {
    match rows {
        0 => Err(ApiError::NotFound.because("The account has no such device; list them first.")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
