//! The database: its pool, its migrations, and whether it is still the one that devices know.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

pub mod installation;

/// Connections of one node. Beyond a few a core they only queue inside PostgreSQL instead of here.
const POOL_SIZE: u32 = 16;
/// How long a request waits for a connection, then it is answered `unavailable`: shorter than any client's patience.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Where sqlx notes which migrations ran.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// Why the database cannot be used; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be reached, or refuses the account.
    #[error("the database cannot be used ({0}); check that it runs and that DATABASE_URL names it")]
    Connect(#[source] sqlx::Error),
    /// Its tables are of an older version.
    #[error(
        "the database lacks {0} migration(s) of this version; run `sync-server migrate` with the same DATABASE_URL"
    )]
    Behind(usize),
    /// Its tables are of a newer version.
    #[error("the database was migrated by a newer server (to {0}); run that version or a later one")]
    Ahead(i64),
    /// A migration failed; the database is as it was before it.
    #[error("the migration failed and changed nothing ({0})")]
    Migrate(#[from] MigrateError),
    /// A statement failed.
    #[error("the database refused a statement at start ({0})")]
    Statement(#[from] sqlx::Error),
}

/// Opens the pool and proves that the database answers.
///
/// # Errors
/// When it does not.
pub async fn connect(options: PgConnectOptions) -> Result<PgPool, DatabaseError> {
    // Notices ("already exists, skipping") are no news to anybody.
    let options = options.application_name("fitme-sync-server").options([("client_min_messages", "warning")]);
    // The pool would try until its timeout and then say only that; a single attempt tells the reason.
    let first = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options)).await;
    let mut first = first.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(DatabaseError::Connect)?;
    // Here nothing waits for it: giving each feed of a large restored database a new epoch takes longer than a request.
    installation::recognise(&mut first).await?;
    first.close().await?;
    pool_options()
        .max_connections(POOL_SIZE)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(DatabaseError::Connect)
}

/// Options of every pool: each new connection looks whether the database is still the one that devices know.
#[must_use]
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().after_connect(|connection, _| Box::pin(installation::recognise(connection)))
}

/// Brings the tables up to this version. Safe to call from several nodes at once: sqlx takes a lock.
///
/// # Errors
/// When a migration fails; what ran before it stays.
pub async fn migrate(pool: &PgPool) -> Result<(), DatabaseError> {
    let mut connection = pool.acquire().await.map_err(DatabaseError::Connect)?;
    refuse_newer(&mut connection).await?;
    Ok(MIGRATIONS.run(&mut *connection).await?)
}

/// Checks that the tables are of exactly this version; changes nothing.
///
/// # Errors
/// When migrations are missing, or unknown ones have run.
pub async fn check_migrated(pool: &PgPool) -> Result<(), DatabaseError> {
    let mut connection = pool.acquire().await.map_err(DatabaseError::Connect)?;
    refuse_newer(&mut connection).await?;
    let applied = applied_versions(&mut connection).await?;
    match MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)).count() {
        0 => Ok(()),
        missing => Err(DatabaseError::Behind(missing)),
    }
}

/// The last migration of this version.
#[must_use]
pub fn newest_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The last migration that the tables have; 0 where there are none.
///
/// # Errors
/// When the database does not answer.
pub async fn last_migration(connection: &mut PgConnection) -> Result<i64, DatabaseError> {
    Ok(applied_versions(connection).await?.into_iter().max().unwrap_or_default())
}

async fn refuse_newer(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let applied = applied_versions(connection).await?;
    match applied.into_iter().find(|version| !MIGRATIONS.version_exists(*version)) {
        Some(unknown) => Err(DatabaseError::Ahead(unknown)),
        None => Ok(()),
    }
}

async fn applied_versions(connection: &mut PgConnection) -> Result<Vec<i64>, DatabaseError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(MIGRATIONS_TABLE)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    let applied = connection.list_applied_migrations(MIGRATIONS_TABLE).await?;
    Ok(applied.into_iter().map(|migration| migration.version).collect())
}

/// The settings without which an acknowledged write can be lost, and that are off in this database.
///
/// # Errors
/// When the database does not answer.
pub async fn settings_that_lose_writes(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT name AS "name!" FROM pg_settings
           WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off'
           ORDER BY name"#
    )
    .fetch_all(pool)
    .await
}

/// Whether the database answers now; for readiness.
///
/// # Errors
/// When it does not.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(pool).await.map(|_| ())
}
