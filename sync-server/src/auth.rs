//! Who asks: the token of a device, and the middleware that turns it into a [`Device`].
//!
//! Everything is closed unless it stands in [`OPEN_ROUTES`]: a route that is added later is protected without anybody
//! having to think of it.

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::bytes::random_bytes;
use crate::error::{ApiError, Refusal};
use crate::state::AppState;

/// How long a token lives.
pub const TOKEN_LIFETIME_DAYS: i32 = 90;
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// What anybody may ask for.
const OPEN_ROUTES: [&str; 4] = ["/v1/signup", "/v1/login", "/healthz", "/readyz"];

/// The device that asks, proved by its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub device: Uuid,
    /// The account it belongs to.
    pub account: Uuid,
}

/// A device that has just been registered, with the only copy of its token.
pub struct NewDevice {
    /// The device.
    pub device: Uuid,
    /// Its secret; the database has only a hash of it.
    pub token: String,
    /// When the token ends, milliseconds UTC.
    pub expires_at_ms: i64,
}

/// Registers a device of the account and gives it a token.
///
/// # Errors
/// When the database does not answer.
pub async fn register_device(db: &mut PgConnection, account: Uuid, name: &str) -> Result<NewDevice, sqlx::Error> {
    let device = Uuid::now_v7();
    let (token, hash) = draw_token();
    let expires_at_ms = sqlx::query_scalar!(
        r#"INSERT INTO devices (device, account, name, token_hash, token_expires_at)
           VALUES ($1, $2, $3, $4, now() + make_interval(days => $5))
           RETURNING (extract(epoch FROM token_expires_at) * 1000)::bigint AS "ms!""#,
        device,
        account,
        name,
        &hash[..],
        TOKEN_LIFETIME_DAYS
    )
    .fetch_one(db)
    .await?;
    Ok(NewDevice { device, token, expires_at_ms })
}

/// Gives a device of the account a new token, which ends its old one; `None` if it is no device of the account.
///
/// # Errors
/// When the database does not answer.
pub async fn renew_device(
    db: &mut PgConnection,
    account: Uuid,
    device: Uuid,
    name: &str,
) -> Result<Option<NewDevice>, sqlx::Error> {
    let (token, hash) = draw_token();
    let expires_at_ms = sqlx::query_scalar!(
        r#"UPDATE devices SET name = $3, token_hash = $4, token_expires_at = now() + make_interval(days => $5)
           WHERE device = $2 AND account = $1
           RETURNING (extract(epoch FROM token_expires_at) * 1000)::bigint AS "ms!""#,
        account,
        device,
        name,
        &hash[..],
        TOKEN_LIFETIME_DAYS
    )
    .fetch_optional(db)
    .await?;
    Ok(expires_at_ms.map(|expires_at_ms| NewDevice { device, token, expires_at_ms }))
}

/// A token, and what the database has of it.
fn draw_token() -> (String, [u8; blake3::OUT_LEN]) {
    let token = URL_SAFE_NO_PAD.encode(random_bytes::<TOKEN_BYTES>());
    let hash = hash_of(&token);
    (token, hash)
}

/// The token is random, so a fast hash without salt is enough to keep it from readers of the database.
fn hash_of(token: &str) -> [u8; blake3::OUT_LEN] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Middleware: lets through what anybody may ask for and what comes with a valid token; puts the [`Device`] beside the
/// request and its id into the request's span.
pub async fn authenticate(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if needs_token(&request) {
        let device = device_of(&state, request.headers()).await.inspect_err(Refusal::log)?;
        let span = tracing::Span::current();
        span.record("device", tracing::field::display(device.device));
        span.record("account", tracing::field::display(device.account));
        request.extensions_mut().insert(device);
    }
    Ok(next.run(request).await)
}

/// An address that nothing serves is `not_found` for everybody.
fn needs_token(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    route.is_some_and(|route| !OPEN_ROUTES.contains(&route.as_str()))
}

async fn device_of(state: &AppState, headers: &HeaderMap) -> Result<Device, Refusal> {
    let token = bearer(headers).ok_or(ApiError::Unauthenticated)?;
    let found = sqlx::query_as!(
        Device,
        "SELECT device, account FROM devices WHERE token_hash = $1 AND token_expires_at > now()",
        &hash_of(token)[..]
    )
    .fetch_optional(&state.pool)
    .await?;
    Ok(found.ok_or(ApiError::Unauthenticated)?)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A handler that names a `Device` gets the one that was authenticated.
impl<S: Sync> FromRequestParts<S> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().copied().ok_or(ApiError::Unauthenticated)
    }
}
