//! Which installation the database is. Devices remember it; when it changes they stop trusting their cursors and compare.

use sqlx::{PgConnection, PgPool};

use super::DatabaseError;
use crate::bytes::{hex, random_bytes};

/// The installation's id, sent to every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installation(pub [u8; 8]);

/// What the start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A fresh database got its first id.
    New,
    /// The database is the one that wrote its id.
    Same,
    /// The database is a copy or a restore: it has a new id now, and every feed a new epoch.
    Replaced,
}

impl Installation {
    /// Reads the id, or makes a new one when the database is new or is not the one that wrote it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn establish(pool: &PgPool) -> Result<(Self, Standing), DatabaseError> {
        let fresh = Self(random_bytes());
        let mut tx = pool.begin().await?;
        let fingerprint = fingerprint(&mut tx).await?;
        let inserted = sqlx::query!(
            "INSERT INTO installation (id, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            &fresh.0[..],
            fingerprint
        )
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 1 {
            tx.commit().await?;
            return Ok((fresh, Standing::New));
        }
        // Locked, so that of several nodes that notice at once only the first one changes anything.
        let known = sqlx::query!("SELECT id, fingerprint FROM installation FOR UPDATE").fetch_one(&mut *tx).await?;
        if known.fingerprint == fingerprint {
            tx.commit().await?;
            return Ok((Self::from_row(&known.id), Standing::Same));
        }
        replace(&mut tx, fresh, &fingerprint).await?;
        tx.commit().await?;
        Ok((fresh, Standing::Replaced))
    }

    fn from_row(id: &[u8]) -> Self {
        Self(id.try_into().expect("the table checks that the id has 8 bytes"))
    }

    /// The id as it is written in JSON.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
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

async fn replace(connection: &mut PgConnection, fresh: Installation, fingerprint: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE installation SET id = $1, fingerprint = $2", &fresh.0[..], fingerprint)
        .execute(&mut *connection)
        .await?;
    // 62 of the 64 bits are random, the other two belong to the UUID's form.
    sqlx::query!("UPDATE feeds SET epoch = substring(uuid_send(gen_random_uuid()) FROM 9 FOR 8)")
        .execute(connection)
        .await?;
    Ok(())
}
