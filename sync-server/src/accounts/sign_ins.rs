//! The table `sign_ins`: how they begin, how their refresh tokens are exchanged, and how they end. A device has at most one
//! that is live.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::refresh_token::{Known, Meaning, REFRESH_LIFETIME, RefreshToken};
use crate::auth::Device;
use crate::bytes::random_bytes;
use crate::clock::millis;
use crate::db::whose;
use crate::error::ApiError;

/// Channel on which nodes hear at once which sign-in was ended; the poll finds what they missed.
pub const ENDED_CHANNEL: &str = "sign_ins_ended";

/// How long after the end of its last token a sign-in is remembered, so that its device is told why.
const REMEMBERED_FOR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A sign-in and the token that its device holds next.
pub struct SignIn {
    /// Its id, named in access tokens.
    pub sign_in: Uuid,
    /// Whose.
    pub device: Device,
    /// The only copy of the token.
    pub refresh_token: RefreshToken,
}

/// Why a sign-in was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The device signed in again.
    Replaced,
    /// A token came that had been exchanged long ago.
    Reused,
    /// The device logged out.
    LoggedOut,
    /// The device was revoked.
    Revoked,
    /// The account has another password.
    PasswordChanged,
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Reused => "reused",
            Self::LoggedOut => "logged_out",
            Self::Revoked => "revoked",
            Self::PasswordChanged => "password_changed",
        }
    }
}

/// What came of a presented token.
pub enum Exchange {
    /// A new one for it.
    Renewed(SignIn),
    /// The server does not know the token: the device has to prove itself by its key.
    Unproved,
    /// The sign-in of this id has ended.
    Over(Uuid),
}

/// Begins a sign-in of a device and ends the one before.
///
/// # Errors
/// When the database does not answer.
pub async fn begin(db: &mut PgConnection, device: Device, now_ms: i64) -> Result<SignIn, sqlx::Error> {
    // Of two that begin at once the second sees the first one's and ends it.
    sqlx::query!("SELECT FROM devices WHERE device = $1 FOR UPDATE", device.device).execute(&mut *db).await?;
    end_of_device(db, device.device, Cause::Replaced).await?;
    let refresh_token = RefreshToken::draw();
    let sign_in = insert(db, device, &refresh_token, now_ms, now_ms + millis(REFRESH_LIFETIME)).await?;
    Ok(SignIn { sign_in, device, refresh_token })
}

/// Exchanges a token for the next one, in a transaction that need not know whose it is. The caller commits whatever the outcome: a reused token ends its family.
///
/// # Errors
/// When the database does not answer.
pub async fn exchange(db: &mut PgConnection, token: &RefreshToken, now_ms: i64) -> Result<Exchange, sqlx::Error> {
    if whose::by_token(db, &token.family_hash()).await?.is_none() {
        return Ok(Exchange::Unproved);
    }
    let mut row = locked(db, token).await?;
    if row.is_none() {
        adopt(db, token, now_ms).await?;
        // Also where another process of the same home has just had it adopted.
        row = locked(db, token).await?;
    }
    let Some(row) = row else { return Ok(Exchange::Unproved) };
    let renewed = |refresh_token| Exchange::Renewed(SignIn { sign_in: row.sign_in, device: row.device, refresh_token });
    Ok(match row.known.meaning_of(token, now_ms) {
        Meaning::Newest => renewed(advance(db, &row, token, now_ms).await?),
        Meaning::Repeated => match row.successor_key {
            Some(key) => renewed(token.successor(&key)),
            None => Exchange::Unproved,
        },
        Meaning::Unproved => Exchange::Unproved,
        Meaning::Reused => {
            tracing::warn!(device = %row.device.device, account = %row.device.account,
                "a refresh token came that was exchanged long ago; its device is signed out");
            end_of_device(db, row.device.device, Cause::Reused).await?;
            Exchange::Over(row.sign_in)
        }
        Meaning::Over => Exchange::Over(row.sign_in),
    })
}

/// Whether a sign-in still opens anything, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Live,
    /// It has ended.
    Ended,
    /// Its device was revoked.
    Revoked,
    /// Its device was revoked as lost.
    Lost,
}

impl Standing {
    /// Nothing where the sign-in is live.
    ///
    /// # Errors
    /// What to tell the device otherwise.
    pub fn check(self) -> Result<(), ApiError> {
        match self {
            Self::Live => Ok(()),
            Self::Ended => Err(ApiError::SignedOut),
            Self::Revoked => Err(ApiError::DeviceRevoked),
            Self::Lost => Err(ApiError::DeviceLost),
        }
    }
}

/// How a sign-in stands; `None` if there is none of that id.
///
/// # Errors
/// When the database does not answer.
pub async fn standing(db: &mut PgConnection, sign_in: Uuid) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT s.ended_at IS NULL AS "live!", d.revoked_at IS NOT NULL AS "revoked!", d.lost
           FROM sign_ins s JOIN devices d USING (device) WHERE s.sign_in = $1"#,
        sign_in
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| match (row.live, row.revoked, row.lost) {
        (true, ..) => Standing::Live,
        (false, true, true) => Standing::Lost,
        (false, true, false) => Standing::Revoked,
        (false, false, _) => Standing::Ended,
    }))
}

/// Deletes what ended so long ago that no device asks about it any more.
///
/// # Errors
/// When the database does not answer.
pub async fn prune(db: &mut PgConnection, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM sign_ins WHERE expires_at < $1", now_ms - millis(REMEMBERED_FOR)).execute(db).await?;
    Ok(())
}

/// Sign-ins that were ended within `window`, by the database's clock.
///
/// # Errors
/// When the database does not answer.
pub async fn ended_since(db: &mut PgConnection, window: Duration) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT sign_in FROM sign_ins WHERE ended_at > clock_timestamp() - make_interval(secs => $1)",
        window.as_secs_f64()
    )
    .fetch_all(db)
    .await
}

/// Ends the live sign-in of a device, and tells every node once that is committed.
///
/// # Errors
/// When the database does not answer.
pub async fn end_of_device(db: &mut PgConnection, device: Uuid, cause: Cause) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH ended AS (
             UPDATE sign_ins SET ended_at = clock_timestamp(), ended_because = $2
             WHERE device = $1 AND ended_at IS NULL RETURNING sign_in
         )
         SELECT pg_notify($3, sign_in::text)::text FROM ended",
        device,
        cause.name(),
        ENDED_CHANNEL
    )
    .fetch_all(db)
    .await?;
    Ok(())
}

/// Ends every live sign-in of an account but `except`, and tells every node once that is committed.
///
/// # Errors
/// When the database does not answer.
pub async fn end_of_account(
    db: &mut PgConnection,
    account: Uuid,
    except: Option<Uuid>,
    cause: Cause,
) -> Result<(), sqlx::Error> {
    // Those of the version before sign-ins too.
    sqlx::query!("UPDATE devices SET token_hash = NULL, token_expires_at = NULL WHERE account = $1", account)
        .execute(&mut *db)
        .await?;
    sqlx::query!(
        "WITH ended AS (
             UPDATE sign_ins SET ended_at = clock_timestamp(), ended_because = $3
             WHERE account = $1 AND ended_at IS NULL AND sign_in IS DISTINCT FROM $2 RETURNING sign_in
         )
         SELECT pg_notify($4, sign_in::text)::text FROM ended",
        account,
        except,
        cause.name(),
        ENDED_CHANNEL
    )
    .fetch_all(db)
    .await?;
    Ok(())
}

struct Row {
    sign_in: Uuid,
    device: Device,
    successor_key: Option<[u8; blake3::KEY_LEN]>,
    known: Known,
}

/// The family of a token, locked: of two exchanges at once the second sees what the first did.
async fn locked(db: &mut PgConnection, token: &RefreshToken) -> Result<Option<Row>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT sign_in, account, device, generation, token_hash, previous_hash, successor_key, exchanged_at,
                  expires_at, ended_at IS NOT NULL AS "ended!"
           FROM sign_ins WHERE family_hash = $1 FOR UPDATE"#,
        &token.family_hash()[..]
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Row {
        sign_in: row.sign_in,
        device: Device { device: row.device, account: row.account },
        successor_key: row.successor_key.and_then(|key| key.try_into().ok()),
        known: Known {
            generation: row.generation,
            token_hash: row.token_hash,
            previous_hash: row.previous_hash,
            exchanged_at: row.exchanged_at,
            expires_at: row.expires_at,
            ended: row.ended,
        },
    }))
}

async fn advance(
    db: &mut PgConnection,
    row: &Row,
    token: &RefreshToken,
    now_ms: i64,
) -> Result<RefreshToken, sqlx::Error> {
    let key = random_bytes();
    let successor = token.successor(&key);
    sqlx::query!(
        "UPDATE sign_ins SET generation = $2, token_hash = $3, previous_hash = $4, successor_key = $5,
                exchanged_at = $6, expires_at = $7
         WHERE sign_in = $1",
        row.sign_in,
        successor.generation,
        &successor.secret_hash()[..],
        &token.secret_hash()[..],
        &key[..],
        now_ms,
        now_ms + millis(REFRESH_LIFETIME)
    )
    .execute(db)
    .await?;
    Ok(successor)
}

/// Makes a sign-in of a device that holds a token of the version before sign-ins, with what is left of its life. The old
/// token is taken once: from then on it is a token of the family like any other.
async fn adopt(db: &mut PgConnection, token: &RefreshToken, now_ms: i64) -> Result<(), sqlx::Error> {
    let old = sqlx::query!(
        r#"WITH old AS (SELECT device, token_expires_at FROM devices WHERE token_hash = $1 FOR UPDATE)
           UPDATE devices SET token_hash = NULL, token_expires_at = NULL FROM old WHERE devices.device = old.device
           RETURNING devices.device, account, (extract(epoch FROM old.token_expires_at) * 1000)::bigint AS "expires_at!""#,
        &token.family_hash()[..]
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(old) = old else { return Ok(()) };
    let device = Device { device: old.device, account: old.account };
    end_of_device(db, device.device, Cause::Replaced).await?;
    insert(db, device, token, now_ms, old.expires_at).await?;
    Ok(())
}

async fn insert(
    db: &mut PgConnection,
    device: Device,
    token: &RefreshToken,
    now_ms: i64,
    expires_at: i64,
) -> Result<Uuid, sqlx::Error> {
    let sign_in = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO sign_ins (sign_in, account, device, family_hash, generation, token_hash, exchanged_at, started_at,
                               expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)",
        sign_in,
        device.account,
        device.device,
        &token.family_hash()[..],
        token.generation,
        &token.secret_hash()[..],
        now_ms,
        expires_at
    )
    .execute(db)
    .await?;
    Ok(sign_in)
}
