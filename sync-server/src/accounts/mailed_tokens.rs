//! One-time tokens that are mailed: who shows one can read the mail of its account. The database has a hash; at most one
//! token for each purpose is good at a time.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::PgConnection;
use uuid::Uuid;

use super::refresh_token::hash;
use crate::bytes::random_bytes;
use crate::clock::millis;
use crate::db::whose;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 24;
/// The next letter for the same purpose is not written sooner.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proving the address of the account.
    Confirm,
    /// Choosing a new password.
    Reset,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Reset => "reset",
        }
    }

    /// How long its tokens are good.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        match self {
            Self::Confirm => Duration::from_secs(7 * 24 * 3_600),
            Self::Reset => Duration::from_secs(3_600),
        }
    }
}

/// A new token, which ends the one before; none where that one was made a moment ago.
///
/// # Errors
/// When the database does not answer.
pub async fn make(
    db: &mut PgConnection,
    account: Uuid,
    purpose: Purpose,
    now_ms: i64,
) -> Result<Option<String>, sqlx::Error> {
    let token = URL_SAFE_NO_PAD.encode(random_bytes::<TOKEN_BYTES>());
    let expires_at = now_ms + millis(purpose.lifetime());
    let made = sqlx::query!(
        "INSERT INTO mailed_tokens AS before (account, purpose, token_hash, expires_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (account, purpose) DO UPDATE SET token_hash = $3, expires_at = $4 WHERE before.expires_at <= $5",
        account,
        purpose.name(),
        &hash(&token)[..],
        expires_at,
        expires_at - millis(AGAIN_AFTER)
    )
    .execute(db)
    .await?;
    Ok((made.rows_affected() == 1).then_some(token))
}

/// The account that a token was mailed to; none where it is unknown, used or over. It is used from then on, and the
/// transaction may touch the account's rows.
///
/// # Errors
/// When the database does not answer.
pub async fn take(
    db: &mut PgConnection,
    token: &str,
    purpose: Purpose,
    now_ms: i64,
) -> Result<Option<Uuid>, sqlx::Error> {
    if whose::by_mailed_token(db, &hash(token)).await?.is_none() {
        return Ok(None);
    }
    let taken = sqlx::query!(
        "DELETE FROM mailed_tokens WHERE token_hash = $1 AND purpose = $2 RETURNING account, expires_at",
        &hash(token)[..],
        purpose.name()
    )
    .fetch_optional(db)
    .await?;
    Ok(taken.filter(|taken| now_ms < taken.expires_at).map(|taken| taken.account))
}

/// Deletes tokens that are over.
///
/// # Errors
/// When the database does not answer.
pub async fn prune(db: &mut PgConnection, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM mailed_tokens WHERE expires_at <= $1", now_ms).execute(db).await?;
    Ok(())
}
