//! Access tokens: JSON Web Tokens, signed by EdDSA and valid for a quarter of an hour. They say which device asks, of
//! which account, by which sign-in; whether that sign-in has been ended since is looked up beside them.

use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, TokenData, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::signing_keys::{SigningKeys, SigningKeysError};
use super::{Access, Device};
use crate::clock::{Clock, millis};
use crate::error::{ApiError, Refusal};

/// How long an access token is valid.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Who made the token.
const ISSUER: &str = "fitme";
/// For whom: a token that this key signs for another purpose does not open the API.
const AUDIENCE: &str = "fitme-sync";
/// Media type of the token (RFC 9068).
const TYPE: &str = "at+jwt";
/// Longer than any token of this server; a longer text is not looked at.
const MAX_BYTES: usize = 1_024;

/// Makes and reads access tokens; cloning is cheap.
#[derive(Debug, Clone)]
pub struct AccessTokens {
    keys: SigningKeys,
    clock: Clock,
    lifetime: Duration,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The account.
    sub: Uuid,
    device: Uuid,
    /// The sign-in.
    sid: Uuid,
    /// Seconds since 1970 UTC.
    iat: i64,
    exp: i64,
}

impl AccessTokens {
    /// Tokens signed by these keys.
    #[must_use]
    pub fn new(keys: SigningKeys, clock: Clock) -> Self {
        Self { keys, clock, lifetime: ACCESS_LIFETIME }
    }

    /// The same with another lifetime, for tests that wait for the end of a token.
    #[must_use]
    pub fn living(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// The keys that sign them.
    #[must_use]
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// How long each is valid.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A token for this device and sign-in.
    ///
    /// # Errors
    /// Never while the key is one of this server's.
    pub fn make(&self, device: Device, sign_in: Uuid) -> Result<String, Refusal> {
        let (kid, key) = self.keys.signing();
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(kid), ..Header::new(Algorithm::EdDSA) };
        let now_ms = self.clock.now_ms();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: device.account,
            device: device.device,
            sid: sign_in,
            iat: now_ms / 1_000,
            // Rounded up: a token never ends before its device was told.
            exp: (now_ms + millis(self.lifetime) + 999) / 1_000,
        };
        jsonwebtoken::encode(&header, &claims, &key).map_err(|error| ApiError::Internal.caused_by(error))
    }

    /// What a token says, once all of it is proved.
    ///
    /// # Errors
    /// `unauthenticated` for anything but a valid token of this server.
    pub async fn read(&self, token: &str) -> Result<Access, Refusal> {
        let TokenData { header, claims } = self.verified(token).await?.ok_or(ApiError::Unauthenticated)?;
        let expires_at_ms = claims.exp.saturating_mul(1_000);
        // The library would read the computer's clock.
        if header.typ.as_deref() != Some(TYPE) || expires_at_ms <= self.clock.now_ms() {
            return Err(ApiError::Unauthenticated.into());
        }
        let device = Device { device: claims.device, account: claims.sub };
        Ok(Access { device, sign_in: claims.sid, expires_at_ms })
    }

    async fn verified(&self, token: &str) -> Result<Option<TokenData<Claims>>, Refusal> {
        if token.len() > MAX_BYTES {
            return Ok(None);
        }
        let Some(kid) = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid) else {
            return Ok(None);
        };
        let Some(key) = self.keys.verifying(&kid).await.map_err(unreadable)? else { return Ok(None) };
        Ok(jsonwebtoken::decode(token, &key, &validation()).ok())
    }
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    validation.validate_exp = false;
    validation
}

fn unreadable(error: SigningKeysError) -> Refusal {
    match error {
        SigningKeysError::Database(error) => error.into(),
        SigningKeysError::OtherMasterKey | SigningKeysError::NoMasterKey => ApiError::Internal.caused_by(error),
    }
}
