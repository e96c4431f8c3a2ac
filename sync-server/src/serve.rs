//! The life of the server: listen, have a database, answer, and stop everything in order.

use std::io::Write;
use std::time::Duration;

use axum::serve::ListenerExt;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accounts::oidc::provider::Provider;
use crate::accounts::oidc::settings::{OidcError, Settings};
use crate::auth::signing_keys::SigningKeysError;
use crate::clock::Clock;
use crate::config::{BadDatabaseUrl, DatabaseArgs, MigrateArgs, ServeArgs};
use crate::db::{self, DatabaseError, installation};
use crate::http::router;
use crate::mail::{MailError, Mailer};
use crate::master_key::{MasterKey, MasterKeyError};
use crate::private_postgres::{self, PrivatePostgres, PrivatePostgresError};
use crate::slow_reader::{Patience, PatientListener, Peer};
use crate::state::AppState;

/// How long running requests may take to finish once the server was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the server does not run; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, not ours, or no address.
    #[error("cannot listen on {address}: {}; choose another with --listen or FITME_LISTEN", reason(.source))]
    Listen {
        /// As it was given.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No private database.
    #[error(transparent)]
    PrivatePostgres(#[from] PrivatePostgresError),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// No mail.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// No sign-in provider.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// No keys for access tokens.
    #[error(transparent)]
    SigningKeys(#[from] SigningKeysError),
    /// Its address is none.
    #[error(transparent)]
    BadDatabaseUrl(#[from] BadDatabaseUrl),
    /// Nobody is named who may migrate.
    #[error(
        "migrate needs FITME_OWNER_DATABASE_URL, the database of DATABASE_URL with the login of the one who owns its tables: \
         the server itself may not change them"
    )]
    NoOwner,
    /// The operating system ended the server.
    #[error("the server stopped: {0}")]
    Io(#[from] std::io::Error),
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program uses this port".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not use this port".to_owned(),
        std::io::ErrorKind::InvalidInput => "this is not ADDRESS:PORT".to_owned(),
        _ => error.to_string(),
    }
}

/// Runs the server until `shutdown`.
///
/// # Errors
/// When it cannot listen, or has no database.
pub async fn serve(args: &ServeArgs, shutdown: CancellationToken) -> Result<(), ServeError> {
    // First of all: a busy port is the most likely mistake, and a database need not start for it.
    let listener = TcpListener::bind(&args.listen)
        .await
        .map_err(|source| ServeError::Listen { address: args.listen.clone(), source })?;
    let master = MasterKey::open(args.master_key.as_deref(), &args.database.data)?;
    let mailer = Mailer::open(&args.mail, &args.database.data)?;
    let oidc = Settings::of(&args.oidc)?;
    let database = Database::open(&args.database).await?;
    let served = answer(listener, &database.pool, master, mailer, oidc, shutdown).await;
    let closed = database.close().await;
    served.and(closed)
}

/// Brings the tables up to date, as their owner.
///
/// # Errors
/// When there is no database, or a migration fails.
pub async fn migrate(args: &MigrateArgs) -> Result<(), ServeError> {
    let Some(url) = &args.database.database_url else {
        // A private database is migrated before it is used.
        return Database::open(&args.database).await?.close().await;
    };
    let owner = args.owner_database_url.as_ref().ok_or(ServeError::NoOwner)?;
    let server = url.connect_options()?;
    Ok(db::migrate(owner.connect_options()?, server.get_username()).await?)
}

async fn answer(
    listener: TcpListener,
    pool: &PgPool,
    master: MasterKey,
    mailer: Mailer,
    oidc: Option<Settings>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (installation, is_new) = installation::establish(pool).await?;
    tracing::info!(installation = installation::in_hex(installation), is_new, "the database is ready");
    let mut state = AppState::new(pool.clone(), master, Clock::default(), mailer, shutdown).await?;
    state.oidc = oidc.map(|settings| Provider::new(settings, state.clock.clone())).transpose()?;
    announce(&format!("listening on http://{}", listener.local_addr()?))?;
    Ok(listen(listener, state).await?)
}

/// Answers on this address until the state's `shutdown`.
///
/// # Errors
/// When the operating system ends it.
pub async fn listen(listener: TcpListener, state: AppState) -> std::io::Result<()> {
    let shutdown = state.shutdown.clone();
    // Small messages must not wait for an acknowledgement of the one before.
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    let listener = PatientListener::new(listener, Patience::default());
    let service = router(state).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        ended = server.into_future() => ended?,
        () = drained(shutdown) => tracing::warn!("connections were cut that did not end in time"),
    }
    Ok(())
}

async fn drained(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

/// The address is the last line on standard output: people and scripts read it there.
fn announce(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The database of this run, and what has to be stopped with it.
struct Database {
    pool: PgPool,
    private: Option<Watch>,
}

/// The task that keeps a private PostgreSQL running.
struct Watch {
    stop: CancellationToken,
    task: JoinHandle<Result<(), PrivatePostgresError>>,
}

impl Database {
    async fn open(args: &DatabaseArgs) -> Result<Self, ServeError> {
        match &args.database_url {
            Some(url) => Self::given(url.connect_options()?).await,
            None => Self::private(args).await,
        }
    }

    /// A given database is migrated on purpose only: its owner does it, and other nodes may run.
    async fn given(options: PgConnectOptions) -> Result<Self, ServeError> {
        db::check(options.clone()).await?;
        let pool = db::connect(options).await?;
        for setting in db::settings_that_lose_writes(&pool).await.map_err(DatabaseError::from)? {
            tracing::warn!(setting, "the database has this setting off: acknowledged data can be lost; switch it on");
        }
        Ok(Self { pool, private: None })
    }

    async fn private(args: &DatabaseArgs) -> Result<Self, ServeError> {
        let postgres = PrivatePostgres::start(&args.data).await?;
        db::migrate(postgres.owner_options(), private_postgres::SERVER).await?;
        let pool = db::connect(postgres.connect_options()).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(postgres.keep_running(stop.clone()));
        Ok(Self { pool, private: Some(Watch { stop, task }) })
    }

    async fn close(self) -> Result<(), ServeError> {
        self.pool.close().await;
        if let Some(watch) = self.private {
            watch.stop.cancel();
            watch.task.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    }
}
