//! What ended and must stay so: records and accounts that were erased, grants that were revoked, devices that are refused. A
//! backup brings back what ended after it was made. So every ending is noted by its ids, in the transaction that makes it:
//! erasures in the table `erasures`, the others in `endings`. From there it is copied into a [`list`] beside the backups, and
//! after a restore what the list names is ended [`again`], before anybody is served.

use fitme_core::id::DocId;
use sqlx::PgConnection;
use uuid::Uuid;

pub mod again;
mod line;
pub mod list;
mod tables;

pub use line::{DeviceIs, Line};

/// What the table calls the end of a grant; how devices stand, [`DeviceIs`] names.
const GRANT: &str = "grant";

/// Notes that a grant was revoked.
///
/// # Errors
/// When the database does not answer.
pub async fn note_grant(db: &mut PgConnection, account: Uuid, grant: DocId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO endings (account, subject, kind) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        account,
        grant.as_bytes(),
        GRANT
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes how a device stands that was just revoked, if that is news.
///
/// # Errors
/// When the database does not answer.
pub async fn note_device(db: &mut PgConnection, account: Uuid, device: Uuid, is: DeviceIs) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO endings (account, subject, kind) VALUES ($1, $2, $3)
         ON CONFLICT (account, subject) DO UPDATE
         SET kind = $3, n = endings.n + 1, ended_at = clock_timestamp(), listed_at = NULL WHERE endings.kind <> $3",
        account,
        &device.as_bytes()[..],
        is.name()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that somebody logged in on a device again, if it was ever revoked.
///
/// # Errors
/// When the database does not answer.
pub async fn note_return(db: &mut PgConnection, account: Uuid, device: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE endings SET kind = $3, n = n + 1, ended_at = clock_timestamp(), listed_at = NULL
         WHERE account = $1 AND subject = $2 AND kind <> $3",
        account,
        &device.as_bytes()[..],
        DeviceIs::Back.name()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes what a list says of a device, which it need not be told again; false if the database knows of something later.
async fn note_listed(
    db: &mut PgConnection,
    account: Uuid,
    device: Uuid,
    (n, is): (u32, DeviceIs),
) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query!(
        "INSERT INTO endings (account, subject, kind, n, listed_at) VALUES ($1, $2, $3, $4, clock_timestamp())
         ON CONFLICT (account, subject) DO UPDATE SET kind = $3, n = $4, listed_at = clock_timestamp() WHERE endings.n < $4",
        account,
        &device.as_bytes()[..],
        is.name(),
        i64::from(n)
    )
    .execute(db)
    .await?;
    Ok(noted.rows_affected() == 1)
}
