//! Who asks: the access token of a device, and the middleware of closed routes ([`crate::routes`]) that turns it into an
//! [`Access`].

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use crate::accounts::sign_ins;
use crate::db::wall;
use crate::error::{ApiError, Refusal};
use crate::state::AppState;

pub mod access_token;
pub mod ed25519;
pub mod signing_keys;

/// The device that asks, proved by its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub device: Uuid,
    /// The account it belongs to.
    pub account: Uuid,
}

impl Device {
    /// The server itself, which is no device, where it writes into an account's feeds in its own name.
    #[must_use]
    pub const fn server(account: Uuid) -> Self {
        Self { device: Uuid::nil(), account }
    }

    /// Whether it is the server itself.
    #[must_use]
    pub const fn is_server(&self) -> bool {
        self.device.is_nil()
    }
}

/// What an access token proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Who asks.
    pub device: Device,
    /// By which sign-in of the device.
    pub sign_in: Uuid,
    /// Until when, milliseconds UTC.
    pub expires_at_ms: i64,
}

/// Middleware: lets through what comes with a valid token; puts the [`Access`] beside the request and the device's id into
/// the request's span.
pub async fn authenticate(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let token = bearer(request.headers()).ok_or(ApiError::Unauthenticated)?;
    let access = access_by(&state, token).await?;
    let span = tracing::Span::current();
    span.record("device", tracing::field::display(access.device.device));
    span.record("account", tracing::field::display(access.device.account));
    request.extensions_mut().insert(access);
    Ok(next.run(request).await)
}

/// What the token allows at this moment: a token whose sign-in was ended since opens nothing, however long it would live.
///
/// # Errors
/// `unauthenticated` for a token that proves nothing; `signed_out`, `device_revoked` or `device_lost` for one whose sign-in was
/// ended.
pub async fn access_by(state: &AppState, token: &str) -> Result<Access, Refusal> {
    let access = state.tokens.read(token).await?;
    // There is none where the database was restored to a time before it.
    let mut tx = wall::of(&state.pool, &[access.device.account]).await?;
    let standing = sign_ins::standing(&mut tx, access.sign_in).await?.ok_or(ApiError::Unauthenticated)?;
    standing.check()?;
    Ok(access)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A handler that names an `Access` gets the one that was proved.
impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().copied().ok_or(ApiError::Unauthenticated)
    }
}

/// A handler that names a `Device` gets the one that was authenticated.
impl<S: Sync> FromRequestParts<S> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Access::from_request_parts(parts, state).await.map(|access| access.device)
    }
}
