//! `/v1/token`: a device that was signed in before gets its next tokens, for the refresh token it holds or for a proof by
//! its key.

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::device_key::{Challenge, Proof, parse_public_key};
use super::devices;
use super::refresh_token::{REFRESH_LIFETIME, RefreshToken};
use super::sign_ins::{self, Exchange, SignIn, Standing};
use crate::audit::{self, Event};
use crate::auth::Device;
use crate::db::wall;
use crate::erase;
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::routes::Routes;
use crate::state::AppState;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().open(Method::POST, "/v1/token", renew).open(Method::POST, "/v1/token/challenge", challenge)
}

/// What a device shows to get its next tokens. Not `Debug`: it holds a token.
#[derive(Deserialize)]
#[serde(tag = "grant", rename_all = "snake_case")]
enum Grant {
    RefreshToken {
        refresh_token: String,
        /// Of a device that was registered before devices had keys.
        public_key: Option<String>,
    },
    DeviceKey(Proof),
}

/// The tokens of a device, as RFC 6749 names them.
#[derive(Serialize)]
pub struct Tokens {
    access_token: String,
    token_type: &'static str,
    /// Seconds until the access token ends.
    expires_in: u64,
    refresh_token: String,
    /// Seconds until the refresh token ends, if it is not exchanged before.
    refresh_expires_in: u64,
}

impl Tokens {
    /// The tokens of a sign-in, with a fresh access token.
    ///
    /// # Errors
    /// As [`crate::auth::access_token::AccessTokens::make`].
    pub fn of(state: &AppState, sign_in: &SignIn) -> Result<Self, Refusal> {
        Ok(Self {
            access_token: state.tokens.make(sign_in.device, sign_in.sign_in)?,
            token_type: "Bearer",
            expires_in: state.tokens.lifetime().as_secs(),
            refresh_token: sign_in.refresh_token.text(),
            refresh_expires_in: REFRESH_LIFETIME.as_secs(),
        })
    }
}

/// The next tokens, with what the device does not hear otherwise.
#[derive(Serialize)]
struct Renewed {
    #[serde(flatten)]
    tokens: Tokens,
    /// What another device may have changed.
    device_name: String,
}

async fn renew(State(state): State<AppState>, JsonBody(grant): JsonBody<Grant>) -> Result<Json<Renewed>, Refusal> {
    let sign_in = match grant {
        Grant::RefreshToken { refresh_token, public_key } => by_token(&state, &refresh_token, public_key).await?,
        Grant::DeviceKey(proof) => by_key(&state, &proof).await?,
    };
    let Device { device, account } = sign_in.device;
    let device_name = devices::name_of(&mut *wall::of(&state.pool, &[account]).await?, device).await?;
    let device_name = device_name.ok_or(ApiError::SignedOut)?;
    Ok(Json(Renewed { tokens: Tokens::of(&state, &sign_in)?, device_name }))
}

async fn by_token(state: &AppState, token: &str, public_key: Option<String>) -> Result<SignIn, Refusal> {
    let token = RefreshToken::parse(token).ok_or(ApiError::ProveDevice)?;
    let key = public_key.as_deref().and_then(parse_public_key);
    let mut tx = wall::of(&state.pool, &[]).await?;
    let exchanged = sign_ins::exchange(&mut tx, &token, state.clock.now_ms()).await?;
    if let (Exchange::Renewed(sign_in), Some(key)) = (&exchanged, key) {
        devices::note_first_key(&mut tx, sign_in.device.device, &key).await?;
    }
    let standing = match &exchanged {
        Exchange::Over(sign_in) => sign_ins::standing(&mut tx, *sign_in).await?,
        _ => None,
    };
    tx.commit().await?;
    match exchanged {
        Exchange::Renewed(sign_in) => Ok(sign_in),
        Exchange::Unproved => Err(ApiError::ProveDevice.into()),
        Exchange::Over(_) => {
            standing.map_or(Ok(()), Standing::check)?;
            Err(ApiError::SignedOut.into())
        }
    }
}

async fn by_key(state: &AppState, proof: &Proof) -> Result<SignIn, Refusal> {
    let now_ms = state.clock.now_ms();
    let mut tx = wall::of(&state.pool, &[]).await?;
    let proved = state.challenges.proved(&mut tx, proof, now_ms).await?;
    let Some(device) = proved else {
        let erased = erase::is_device_of_erased(&mut tx, proof.device).await?;
        return Err(if erased { ApiError::AccountErased } else { ApiError::SignedOut }.into());
    };
    let sign_in = sign_ins::begin(&mut tx, device, now_ms).await?;
    audit::record(&mut tx, device.account, now_ms, Event::SignedIn { device: device.device }).await?;
    tx.commit().await?;
    tracing::info!(device = %device.device, account = %device.account, "a device proved itself by its key");
    Ok(sign_in)
}

#[derive(Deserialize)]
struct Asking {
    device: Uuid,
}

async fn challenge(State(state): State<AppState>, JsonBody(asking): JsonBody<Asking>) -> Json<Challenge> {
    Json(state.challenges.draw(asking.device, state.clock.now_ms()))
}
