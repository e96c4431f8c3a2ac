//! The table `oidc_sign_ins`: sign-ins under way. Each state is answered once, and each ticket is worth one sign-in.

use std::net::IpAddr;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::provider::{Identity, Unproved};
use super::secrets::{Secrets, random_text};
use crate::accounts::lockout::network_of;
use crate::accounts::refresh_token::hash;
use crate::clock::millis;
use crate::db::wall;
use crate::error::{ApiError, Refusal};

/// How long somebody may take to sign in at the provider.
pub const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Sign-ins of one network that may be under way at a time.
pub const UNDER_WAY: i64 = 100;
/// Bytes of the hash of what the device keeps to itself.
pub const CHALLENGE_BYTES: usize = 32;

/// A sign-in that a device starts.
pub struct Start<'a> {
    /// SHA-256 of what the device keeps to itself.
    pub challenge: [u8; CHALLENGE_BYTES],
    /// Where the browser ends.
    pub return_to: &'a str,
    /// Where the device asks from.
    pub address: IpAddr,
    /// The account that the identity is to be linked with, if that is what it is for.
    pub links: Option<Uuid>,
}

/// What finishes a sign-in: what came through the browser, and what never left the device. Not `Debug`.
pub struct Proof<'a> {
    /// From the browser.
    pub ticket: &'a str,
    /// Its hash is the challenge.
    pub verifier: &'a str,
    /// As at the start.
    pub links: Option<Uuid>,
}

/// Notes a sign-in; returns when it ends.
///
/// # Errors
/// `too_many_attempts` where the network has too many under way.
pub async fn open(pool: &PgPool, secrets: &Secrets, start: &Start<'_>, now_ms: i64) -> Result<i64, Refusal> {
    let expires_at = now_ms + millis(LIFETIME);
    let mut tx = wall::of(pool, &[]).await?;
    let opened = sqlx::query!(
        "INSERT INTO oidc_sign_ins (state_hash, challenge, return_to, network, links, expires_at)
         SELECT $1, $2, $3, $4, $5, $6
         WHERE (SELECT count(*) FROM oidc_sign_ins WHERE network = $4 AND expires_at > $7) < $8",
        &secrets.state_hash()[..],
        &start.challenge[..],
        start.return_to,
        network_of(start.address),
        start.links,
        expires_at,
        now_ms,
        UNDER_WAY
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    if opened.rows_affected() == 0 {
        let sentence = "Too many sign-ins of this network are under way; try again in ten minutes.";
        return Err(ApiError::TooManyAttempts.because(sentence));
    }
    Ok(expires_at)
}

/// Takes the provider's answer to a state, once; returns where the browser ends. `None` for a state that nobody waits for.
///
/// # Errors
/// When the database does not answer.
pub async fn call_back(pool: &PgPool, secrets: &Secrets, now_ms: i64) -> Result<Option<String>, sqlx::Error> {
    let mut tx = wall::of(pool, &[]).await?;
    let return_to = sqlx::query_scalar!(
        "UPDATE oidc_sign_ins SET called_back = true
         WHERE state_hash = $1 AND NOT called_back AND expires_at > $2 RETURNING return_to",
        &secrets.state_hash()[..],
        now_ms
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(return_to)
}

/// Notes whom the provider named, or why nobody; returns the ticket that goes back through the browser.
///
/// # Errors
/// When the database does not answer.
pub async fn note(pool: &PgPool, secrets: &Secrets, named: &Result<Identity, Unproved>) -> Result<String, sqlx::Error> {
    let ticket = random_text();
    let (identity, refused) = match named {
        Ok(identity) => (Some(identity), None),
        Err(unproved) => (None, Some(unproved.to_string())),
    };
    let mut tx = wall::of(pool, &[]).await?;
    sqlx::query!(
        "UPDATE oidc_sign_ins SET ticket_hash = $2, subject = $3, email = $4, refused = $5 WHERE state_hash = $1",
        &secrets.state_hash()[..],
        &hash(&ticket)[..],
        identity.map(|identity| &identity.subject[..]),
        identity.and_then(|identity| identity.email.as_deref()),
        refused
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(ticket)
}

/// Whom a sign-in names; it can still be finished.
///
/// # Errors
/// `wrong_sign_in` where the proof fits none, `provider_failed` where the provider named nobody.
pub async fn named(pool: &PgPool, proof: &Proof<'_>, now_ms: i64) -> Result<Identity, Refusal> {
    let mut tx = wall::of(pool, &[]).await?;
    let challenge = digest(&SHA256, proof.verifier.as_bytes());
    let row = sqlx::query!(
        "SELECT subject, email, refused FROM oidc_sign_ins
         WHERE ticket_hash = $1 AND challenge = $2 AND links IS NOT DISTINCT FROM $3 AND expires_at > $4",
        &hash(proof.ticket)[..],
        challenge.as_ref(),
        proof.links,
        now_ms
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    let row = row.ok_or(ApiError::WrongSignIn)?;
    let why = row.refused.unwrap_or_default();
    let refused = || ApiError::ProviderFailed.because(format!("The sign-in provider signed nobody in: {why}."));
    Ok(Identity { subject: row.subject.ok_or_else(refused)?, email: row.email })
}

/// Uses the ticket up, with the caller's commit.
///
/// # Errors
/// `wrong_sign_in` where another request was first.
pub async fn redeem(db: &mut PgConnection, proof: &Proof<'_>) -> Result<(), Refusal> {
    let redeemed =
        sqlx::query!("DELETE FROM oidc_sign_ins WHERE ticket_hash = $1", &hash(proof.ticket)[..]).execute(db).await?;
    if redeemed.rows_affected() == 1 { Ok(()) } else { Err(ApiError::WrongSignIn.into()) }
}

/// Removes what nobody can finish any more.
///
/// # Errors
/// When the database does not answer.
pub async fn prune(db: &mut PgConnection, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM oidc_sign_ins WHERE expires_at <= $1", now_ms).execute(db).await?;
    Ok(())
}
