//! The table `devices`: one row an installation of an account.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::auth::ed25519::PUBLIC_BYTES;

/// The public half of a device's key pair.
pub type PublicKey = [u8; PUBLIC_BYTES];

/// Registers a device of the account.
///
/// # Errors
/// When the database does not answer.
pub async fn register(
    db: &mut PgConnection,
    account: Uuid,
    name: &str,
    public_key: Option<&PublicKey>,
) -> Result<Uuid, sqlx::Error> {
    let device = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO devices (device, account, name, public_key) VALUES ($1, $2, $3, $4)",
        device,
        account,
        name,
        public_key.map(|key| &key[..])
    )
    .execute(db)
    .await?;
    Ok(device)
}

/// Takes a device of the account back that logs in again, under the name and with the key that it has now; false if it is
/// no device of the account.
///
/// # Errors
/// When the database does not answer.
pub async fn take_back(
    db: &mut PgConnection,
    account: Uuid,
    device: Uuid,
    name: &str,
    public_key: Option<&PublicKey>,
) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query!(
        "UPDATE devices SET name = $3, public_key = coalesce($4, public_key), revoked_at = NULL, lost = false,
                token_hash = NULL, token_expires_at = NULL
         WHERE device = $2 AND account = $1",
        account,
        device,
        name,
        public_key.map(|key| &key[..])
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Notes the key of a device that has none yet: it was registered before devices had keys.
///
/// # Errors
/// When the database does not answer.
pub async fn note_first_key(db: &mut PgConnection, device: Uuid, key: &PublicKey) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE devices SET public_key = $2 WHERE device = $1 AND public_key IS NULL", device, &key[..])
        .execute(db)
        .await?;
    Ok(())
}
