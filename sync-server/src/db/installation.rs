//! Which installation the database is. Devices remember it; when it changes they stop trusting their cursors and compare.
//! Every new connection looks whether the database is still the one that wrote its id: it may be replaced while servers
//! run, and a connection that lived through it sees nothing of that.

use fitme_core::id::Installation;
use sqlx::{PgConnection, PgPool};

use super::{DatabaseError, wall};
use crate::bytes::{hex, random_bytes};

/// Reads the id, or makes one when the database is new; says whether it is.
///
/// # Errors
/// When the database does not answer.
pub async fn establish(pool: &PgPool) -> Result<(Installation, bool), DatabaseError> {
    let mut tx = wall::of(pool, &[]).await?;
    let fingerprint = fingerprint(&mut tx).await?;
    let inserted = sqlx::query!(
        "INSERT INTO installation (id, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &random_bytes::<8>()[..],
        fingerprint
    )
    .execute(&mut *tx)
    .await?;
    let id = current(&mut tx).await?;
    tx.commit().await?;
    Ok((id, inserted.rows_affected() == 1))
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

/// Looks at the database behind a new connection, and says which installation it is; `None` for one that is new. A copy or a
/// restore becomes a new installation, and every feed gets a new epoch.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn recognise(connection: &mut PgConnection) -> Result<Option<Installation>, sqlx::Error> {
    let mut tx = wall::begin_on(connection, wall::BEGIN, &[]).await?;
    let fingerprint = fingerprint(&mut tx).await?;
    let known = sqlx::query_scalar!("SELECT fingerprint FROM installation").fetch_optional(&mut *tx).await?;
    let Some(known) = known else { return Ok(None) };
    if known != fingerprint {
        replace(&mut tx, &fingerprint).await?;
    }
    let installation = current(&mut tx).await?;
    tx.commit().await?;
    Ok(Some(installation))
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

/// Of several connections that notice at once only the first one changes anything; the others wait for it here.
async fn replace(db: &mut PgConnection, fingerprint: &str) -> Result<(), sqlx::Error> {
    let replaced = sqlx::query_scalar!(
        r#"SELECT replace_installation($1, $2) AS "replaced!""#,
        &random_bytes::<8>()[..],
        fingerprint
    )
    .fetch_one(db)
    .await?;
    if replaced {
        tracing::warn!("the database is a copy or was restored: devices are told to compare everything with it");
    }
    Ok(())
}
