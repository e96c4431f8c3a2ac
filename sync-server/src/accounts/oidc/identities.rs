//! The table `oidc_identities`: which account a person of the provider may enter. An e-mail address alone never opens an
//! account that exists: whoever gets an address later, or runs a careless provider, would have its owner's records.

use fitme_core::policy::Role;
use sqlx::PgConnection;
use uuid::Uuid;

use super::provider::Identity;
use crate::accounts::{address, insert_account, signup};
use crate::db::{wall, whose};
use crate::error::{ApiError, Refusal};

/// The account that the identity enters, to whose rows the transaction is let in; made at the first sign-in of an address
/// that has none.
///
/// # Errors
/// `email_unverified` without an address to make one for, `link_needed` where the address has an account already,
/// `signup_closed` where nobody may make one.
pub async fn account_of(
    db: &mut PgConnection,
    issuer: &str,
    identity: &Identity,
    now_ms: i64,
) -> Result<Uuid, Refusal> {
    if let Some(account) = whose::by_identity(db, issuer, &identity.subject).await? {
        return Ok(account);
    }
    let email = identity.email.as_deref().ok_or(ApiError::EmailUnverified)?;
    let account = Uuid::now_v7();
    wall::enter(db, &[account]).await?;
    insert_account(db, account, email, None, Role::Member.name())
        .await
        .map_err(|refusal| if refusal.error == ApiError::EmailTaken { ApiError::LinkNeeded.into() } else { refusal })?;
    signup::demand_open(db).await?;
    address::note_confirmed(db, account, now_ms).await?;
    insert(db, issuer, identity, account, now_ms).await?;
    tracing::info!(%account, "account created by a sign-in provider");
    Ok(account)
}

/// Links the identity with an account, whose owner asks for it.
///
/// # Errors
/// `linked_elsewhere` where it enters another account.
pub async fn link(
    db: &mut PgConnection,
    issuer: &str,
    identity: &Identity,
    account: Uuid,
    now_ms: i64,
) -> Result<(), Refusal> {
    insert(db, issuer, identity, account, now_ms).await?;
    if whose::by_identity(db, issuer, &identity.subject).await? == Some(account) {
        Ok(())
    } else {
        Err(ApiError::LinkedElsewhere.into())
    }
}

/// Leaves a link that is there as it is.
async fn insert(
    db: &mut PgConnection,
    issuer: &str,
    identity: &Identity,
    account: Uuid,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO oidc_identities (issuer, subject, account, linked_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        issuer,
        identity.subject,
        account,
        now_ms
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Ends every way into the account by a provider.
///
/// # Errors
/// When the database does not answer.
pub async fn unlink_all(db: &mut PgConnection, account: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM oidc_identities WHERE account = $1", account).execute(db).await.map(drop)
}
