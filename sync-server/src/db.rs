//! The database: its pool, its migrations, who may work on it, and whether it is still the one that devices know.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

pub mod installation;
pub mod roles;
pub mod served;
pub mod wall;
pub mod whose;

use served::Served;

/// Connections of one node. Beyond a few a core they only queue inside PostgreSQL instead of here.
const POOL_SIZE: u32 = 16;
/// How long a request waits for a connection, then it is answered `unavailable`: shorter than any client's patience.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Whose turn it is to migrate; the number stands for nothing.
const MIGRATING: i64 = 0x6669_746d_6502;
/// Between two looks whether it is.
const TURN_PAUSE: Duration = Duration::from_millis(100);
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
        "the database lacks {0} migration(s) of this version; run `sync-server migrate` with the same DATABASE_URL, and with \
         FITME_OWNER_DATABASE_URL, which logs in as the owner of the tables"
    )]
    Behind(usize),
    /// Its tables are of a newer version.
    #[error("the database was migrated by a newer server (to {0}); run that version or a later one")]
    Ahead(i64),
    /// Row-level security would not hold the server.
    #[error(
        "DATABASE_URL logs in to the database as {login}, which {why}, so that nothing in it would hold the server back; let \
         FITME_OWNER_DATABASE_URL log in as {login}, name a role of the server's own in DATABASE_URL, and run \
         `sync-server migrate` with both"
    )]
    TooMighty {
        /// Who logs in.
        login: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// The login has not the rights of a server.
    #[error(
        "{0}, as which DATABASE_URL logs in to the database, may not work for the server yet; run `sync-server migrate` with \
         the same DATABASE_URL, and with FITME_OWNER_DATABASE_URL, which logs in as the owner of the tables"
    )]
    NotAdmitted(String),
    /// The server would own the tables.
    #[error(
        "DATABASE_URL and FITME_OWNER_DATABASE_URL both log in to the database as {0}; name a role of the server's own in \
         DATABASE_URL, which need not exist yet"
    )]
    OneLogin(String),
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
    connect_to(options, Served::default()).await
}

/// The same, for a server that is particular about the installation that it serves: its connections are of that one.
///
/// # Errors
/// When the database does not answer.
pub async fn connect_to(options: PgConnectOptions, served: Served) -> Result<PgPool, DatabaseError> {
    let options = named(options);
    let mut first = connect_once(&options).await?;
    // Here nothing waits for it: giving each feed of a large restored database a new epoch takes longer than a request.
    installation::recognise(&mut first).await?;
    first.close().await?;
    pool_options(served)
        .max_connections(POOL_SIZE)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(DatabaseError::Connect)
}

/// Notices ("already exists, skipping") are no news to anybody.
fn named(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("fitme-sync-server").options([("client_min_messages", "warning")])
}

/// The pool would try until its timeout and then say only that; a single attempt tells the reason.
async fn connect_once(options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
    let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(options)).await;
    connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(DatabaseError::Connect)
}

/// Options of every pool: each new connection looks whether the database is still the one that devices know, and waits until
/// that one is served. Whether an old one lives shows the message that begins a transaction; see [`wall`].
fn pool_options(served: Served) -> PgPoolOptions {
    let options = PgPoolOptions::new().test_before_acquire(false);
    options.after_connect(move |connection, _| {
        let served = served.clone();
        Box::pin(async move {
            if let Some(installation) = installation::recognise(connection).await? {
                served.wait_for(installation).await;
            }
            Ok(())
        })
    })
}

/// Another pool of the same server on the same database, for who must not wait behind requests.
#[must_use]
pub fn beside(pool: &PgPool, connections: u32, acquire_timeout: Duration) -> PgPool {
    let options = pool.options().clone().max_connections(connections).acquire_timeout(acquire_timeout);
    options.connect_lazy_with(pool.connect_options().as_ref().clone())
}

/// Brings the tables up to this version, as their owner, and lets the role `server` work on them. Safe to call from several
/// nodes at once: one after the other does it.
///
/// # Errors
/// When a migration fails; what ran before it stays.
pub async fn migrate(owner: PgConnectOptions, server: &str) -> Result<(), DatabaseError> {
    let mut connection = connect_once(&named(owner)).await?;
    refuse_newer(&mut connection).await?;
    roles::create(&mut connection).await?;
    take_turn(&mut connection).await?;
    MIGRATIONS.run(&mut connection).await?;
    roles::admit(&mut connection, server).await?;
    Ok(connection.close().await?)
}

/// Waits until nobody else migrates; the turn ends with the connection. sqlx waits for its own lock inside a statement, and an
/// index that is built concurrently waits for all statements: two nodes at once would wait for each other.
async fn take_turn(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    loop {
        let mine = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "mine!""#, MIGRATING);
        if mine.fetch_one(&mut *connection).await? {
            return Ok(());
        }
        tokio::time::sleep(TURN_PAUSE).await;
    }
}

/// Checks that the tables are of exactly this version and that the login is one that row-level security holds; changes
/// nothing.
///
/// # Errors
/// When migrations are missing, or unknown ones have run; when the login may do too much or too little.
pub async fn check(server: PgConnectOptions) -> Result<(), DatabaseError> {
    let mut connection = connect_once(&named(server)).await?;
    if !is_migrated(&mut connection).await? {
        return Err(DatabaseError::Behind(MIGRATIONS.iter().count()));
    }
    roles::check(&mut connection).await?;
    refuse_newer(&mut connection).await?;
    let applied = applied_versions(&mut connection).await?;
    match MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)).count() {
        0 => Ok(connection.close().await?),
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
    if !is_migrated(connection).await? {
        return Ok(Vec::new());
    }
    let applied = connection.list_applied_migrations(MIGRATIONS_TABLE).await?;
    Ok(applied.into_iter().map(|migration| migration.version).collect())
}

/// Whether a migration ever ran.
async fn is_migrated(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let exists = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(MIGRATIONS_TABLE);
    exists.fetch_one(connection).await
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

/// The database's version, as the number that it calls itself, and its clock, in seconds UTC. Touches no table.
///
/// # Errors
/// When the database does not answer.
pub async fn version_and_clock(pool: &PgPool) -> Result<(i32, f64), sqlx::Error> {
    let asked = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int4, extract(epoch FROM clock_timestamp())::float8",
    );
    asked.fetch_one(pool).await
}

/// Whether the database answers now; for readiness.
///
/// # Errors
/// When it does not.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    wall::of(pool, &[]).await.map(drop)
}

/// Tells every node that listens on `channel`. It touches no table. A notification gets a transaction id and so a commit
/// record; losing one in a crash is harmless, and waiting for its fsync would take the disk from the commits that devices
/// wait for.
///
/// # Errors
/// When the database does not answer.
pub async fn notify(pool: &PgPool, channel: &str, payload: &str) -> Result<(), sqlx::Error> {
    let notify = sqlx::query("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)");
    notify.bind(channel).bind(payload).execute(pool).await.map(drop)
}
