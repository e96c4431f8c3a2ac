//! Whose is it? Asked where a secret or a name is shown and it is not known yet whose rows may be touched. Each lookup asks
//! the database for the account alone (migration 0007), and lets the transaction in to its rows.

use sqlx::PgConnection;
use uuid::Uuid;

use super::wall;

/// By the e-mail address.
///
/// # Errors
/// When the database does not answer.
pub async fn by_email(db: &mut PgConnection, email: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let account = sqlx::query_scalar!("SELECT account_of_email($1)", email).fetch_one(&mut *db).await?;
    let_in(db, account).await
}

/// By the hash of a refresh token's family.
///
/// # Errors
/// When the database does not answer.
pub async fn by_token(db: &mut PgConnection, family_hash: &[u8]) -> Result<Option<Uuid>, sqlx::Error> {
    let account = sqlx::query_scalar!("SELECT account_of_token($1)", family_hash).fetch_one(&mut *db).await?;
    let_in(db, account).await
}

/// By whom a sign-in provider named.
///
/// # Errors
/// When the database does not answer.
pub async fn by_identity(db: &mut PgConnection, issuer: &str, subject: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let account =
        sqlx::query_scalar!("SELECT account_of_identity($1, $2)", issuer, subject).fetch_one(&mut *db).await?;
    let_in(db, account).await
}

/// By the device that wants to prove itself.
///
/// # Errors
/// When the database does not answer.
pub async fn by_device(db: &mut PgConnection, device: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    let account = sqlx::query_scalar!("SELECT account_of_device($1)", device).fetch_one(&mut *db).await?;
    let_in(db, account).await
}

/// By the hash of a mailed token.
///
/// # Errors
/// When the database does not answer.
pub async fn by_mailed_token(db: &mut PgConnection, hash: &[u8]) -> Result<Option<Uuid>, sqlx::Error> {
    let account = sqlx::query_scalar!("SELECT account_of_mailed_token($1)", hash).fetch_one(&mut *db).await?;
    let_in(db, account).await
}

/// Who made an invitation, by the hash of its code: for `guest`, who stays in.
///
/// # Errors
/// When the database does not answer.
pub async fn by_invite(db: &mut PgConnection, hash: &[u8], guest: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    let inviter = sqlx::query_scalar!("SELECT account_of_invite($1)", hash).fetch_one(&mut *db).await?;
    if let Some(inviter) = inviter {
        wall::enter(db, &[guest, inviter]).await?;
    }
    Ok(inviter)
}

/// Who grants a feed to `grantee`, who stays in; whether the grant holds at this moment is for the judge.
///
/// # Errors
/// When the database does not answer.
pub async fn by_grant(db: &mut PgConnection, feed: i64, grantee: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    // In one message: a device waits for the page.
    let found = sqlx::query!(
        "SELECT account, set_config('fitme.accounts', ARRAY[$1, account]::text, true) FROM grants_now
         WHERE grantee = $1 AND feed = $2 LIMIT 1",
        grantee,
        feed
    )
    .fetch_optional(db)
    .await?;
    Ok(found.map(|found| found.account))
}

async fn let_in(db: &mut PgConnection, account: Option<Uuid>) -> Result<Option<Uuid>, sqlx::Error> {
    if let Some(account) = account {
        wall::enter(db, &[account]).await?;
    }
    Ok(account)
}
