//! What whoever runs the server does with accounts: makes them, lists them, helps who has lost a password. None of it reads
//! a record, and nobody learns or sets another person's password: its owner chooses it with a token.

use fitme_core::policy::{Role, Service};
use sqlx::PgPool;
use uuid::Uuid;

use super::credentials::normalised_email;
use super::insert_account;
use super::mailed_tokens::{self, Purpose};
use crate::db::{wall, whose};
use crate::error::{ApiError, Refusal};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// No address.
    #[error("{0} is no e-mail address: write it like name@example.org")]
    NotAnAddress(String),
    /// It has an account.
    #[error(
        "{0} has an account already: `sync-server admin reset-password {0}` lets its person choose another password"
    )]
    Taken(String),
    /// It has none.
    #[error("{0} has no account: `sync-server admin list` shows those that there are")]
    Unknown(String),
    /// It is not a person's.
    #[error("{0} is the account of a service that comes with the server: nobody enters or erases it")]
    Service(String),
    /// The database failed.
    #[error("the database did not do it: {0}")]
    Database(#[from] sqlx::Error),
    /// The password could not be hashed.
    #[error("{0}")]
    Refused(&'static str),
}

impl From<Refusal> for AdministrationError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.error.row().sentence)
    }
}

/// An account and the token with which its person chooses a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The address as it is kept.
    pub email: String,
    /// Good for as long as that of a forgotten password.
    pub token: String,
}

/// One account as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub email: String,
    /// What it is.
    pub role: String,
    /// The day it was made, UTC.
    pub since: String,
    /// Whether the address is its owner's.
    pub confirmed: bool,
    /// Devices that are signed in.
    pub devices: i64,
}

/// Makes an account whose password nobody knows yet.
///
/// # Errors
/// [`AdministrationError`]; then there is no account.
pub async fn create(pool: &PgPool, email: &str, role: Role, now_ms: i64) -> Result<Handed, AdministrationError> {
    let email = address(email)?;
    let account = Uuid::now_v7();
    let mut tx = wall::of(pool, &[account]).await?;
    match insert_account(&mut tx, account, &email, None, role.name()).await {
        Err(refusal) if refusal.error == ApiError::EmailTaken => return Err(AdministrationError::Taken(email)),
        made => made?,
    }
    let token = mailed_tokens::make_anew(&mut tx, account, Purpose::Reset, now_ms).await?;
    tx.commit().await?;
    tracing::info!(%account, role = role.name(), "account created by the administrator");
    Ok(Handed { email, token })
}

/// Gives the person of an account another password to choose; until they do, the old one is good.
///
/// # Errors
/// [`AdministrationError`].
pub async fn reset_password(pool: &PgPool, email: &str, now_ms: i64) -> Result<Handed, AdministrationError> {
    let email = address(email)?;
    let account = account_of(pool, &email).await?;
    let mut tx = wall::of(pool, &[account]).await?;
    let token = mailed_tokens::make_anew(&mut tx, account, Purpose::Reset, now_ms).await?;
    tx.commit().await?;
    tracing::info!(%account, "a new password was offered by the administrator");
    Ok(Handed { email, token })
}

/// The account of an address.
///
/// # Errors
/// [`AdministrationError`] where there is none.
pub async fn account_of(pool: &PgPool, email: &str) -> Result<Uuid, AdministrationError> {
    let email = address(email)?;
    let account = whose::by_email(&mut *wall::of(pool, &[]).await?, &email).await?;
    let account = account.ok_or_else(|| AdministrationError::Unknown(email.clone()))?;
    if Service::of(account.into_bytes()).is_some() { Err(AdministrationError::Service(email)) } else { Ok(account) }
}

/// The accounts after `after`, by address, at most so many.
///
/// # Errors
/// When the database does not answer.
pub async fn page(pool: &PgPool, after: &str, most: i64) -> Result<Vec<Listed>, AdministrationError> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, wall::Role::Admin).await?;
    let listed = sqlx::query_as!(
        Listed,
        r#"SELECT email, role, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS "since!",
                  EXISTS (SELECT FROM confirmed_addresses c WHERE c.account = a.account) AS "confirmed!",
                  (SELECT count(*) FROM sign_ins s WHERE s.account = a.account AND s.ended_at IS NULL) AS "devices!"
           FROM accounts a WHERE lower(email) > lower($1) ORDER BY lower(email) LIMIT $2"#,
        after,
        most
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok(listed)
}

fn address(email: &str) -> Result<String, AdministrationError> {
    normalised_email(email).ok_or_else(|| AdministrationError::NotAnAddress(email.to_owned()))
}
