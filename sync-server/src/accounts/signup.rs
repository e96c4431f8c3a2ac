//! Whether anybody may make an account. It is kept in the database, so that all nodes know, and from the next sign-up on.

use sqlx::PgConnection;

use crate::error::{ApiError, Refusal};

/// Lets through while sign-up is open.
///
/// # Errors
/// `signup_closed`.
pub async fn demand_open(db: &mut PgConnection) -> Result<(), Refusal> {
    let open = sqlx::query_scalar!("SELECT signup_open FROM settings").fetch_one(db).await?;
    if open { Ok(()) } else { Err(ApiError::SignupClosed.into()) }
}

/// Opens or closes it.
///
/// # Errors
/// When the database does not answer.
pub async fn set_open(db: &mut PgConnection, open: bool) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE settings SET signup_open = $1", open).execute(db).await.map(drop)
}
