//! Which installation the database is. Devices remember it; when it changes they stop trusting their cursors and compare.
//! Every new connection looks whether the database is still the one that wrote its id: it may be replaced while servers
//! run, and a connection that lived through it sees nothing of that.

use fitme_core::id::Installation;
use sqlx::{Connection, PgConnection, PgPool};

use super::DatabaseError;
use crate::bytes::{hex, random_bytes};

/// SQLSTATE of a table that does not exist.
const NO_SUCH_TABLE: &str = "42P01";

/// Reads the id, or makes one when the database is new; says whether it is.
///
/// # Errors
/// When the database does not answer.
pub async fn establish(pool: &PgPool) -> Result<(Installation, bool), DatabaseError> {
    let mut connection = pool.acquire().await?;
    let fingerprint = fingerprint(&mut connection).await?;
    let inserted = sqlx::query!(
        "INSERT INTO installation (id, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &random_bytes::<8>()[..],
        fingerprint
    )
    .execute(&mut *connection)
    .await?;
    Ok((current(&mut connection).await?, inserted.rows_affected() == 1))
}

/// The installation that the database is now.
///
/// # Errors
/// When the database does not answer.
pub async fn current(connection: &mut PgConnection) -> Result<Installation, sqlx::Error> {
    let id = sqlx::query_scalar!("SELECT id FROM installation").fetch_one(connection).await?;
    Ok(Installation(id.as_slice().try_into().expect("the table checks that the id has 8 bytes")))
}

/// The id as it is written in JSON.
#[must_use]
pub fn in_hex(installation: Installation) -> String {
    hex(&installation.0)
}

/// Looks at the database behind a new connection. A copy or a restore becomes a new installation, and every feed gets a
/// new epoch.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn recognise(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let fingerprint = fingerprint(connection).await?;
    let known = sqlx::query_scalar!("SELECT fingerprint FROM installation").fetch_optional(&mut *connection).await;
    match known {
        Ok(Some(known)) if known != fingerprint => replace(connection, &fingerprint).await,
        Ok(_) => Ok(()),
        Err(error) if is_unmigrated(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_unmigrated(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|refused| refused.code()).is_some_and(|code| code == NO_SUCH_TABLE)
}

/// What tells this database from a copy of it: the cluster (made by initdb), the database in it, and the timeline, which
/// changes with every restore to a point in time and every failover.
async fn fingerprint(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT concat_ws('/', system.system_identifier, db.oid,
                  left(pg_walfile_name(pg_current_wal_lsn()), 8)) AS "fingerprint!"
           FROM pg_control_system() AS system, pg_database AS db WHERE db.datname = current_database()"#
    )
    .fetch_one(connection)
    .await
}

async fn replace(connection: &mut PgConnection, fingerprint: &str) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    // Of several connections that notice at once only the first one changes anything; the others wait for it here.
    let replaced = sqlx::query!(
        "UPDATE installation SET id = $1, fingerprint = $2 WHERE fingerprint <> $2",
        &random_bytes::<8>()[..],
        fingerprint
    )
    .execute(&mut *tx)
    .await?;
    if replaced.rows_affected() == 1 {
        // 62 of the 64 bits are random, the other two belong to the UUID's form.
        sqlx::query!("UPDATE feeds SET epoch = substring(uuid_send(gen_random_uuid()) FROM 9 FOR 8)")
            .execute(&mut *tx)
            .await?;
        tracing::warn!("the database is a copy or was restored: devices are told to compare everything with it");
    }
    tx.commit().await
}
