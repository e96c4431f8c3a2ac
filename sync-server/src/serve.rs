//! The life of the server: listen, have a database, answer, and stop everything in order.

use std::io::Write;
use std::path::{Path, PathBuf};

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accounts::oidc::provider::Provider;
use crate::accounts::oidc::settings::{OidcError, Settings};
use crate::audit::verify::{VerifyError, verify};
use crate::audit::{self, Audit, AuditError};
use crate::auth::signing_keys::{self, SigningKeysError};
use crate::clock::Clock;
use crate::config::{AuditArgs, BadDatabaseUrl, DatabaseArgs, MigrateArgs, ServeArgs};
use crate::db::served::Served;
use crate::db::{self, DatabaseError, installation};
use crate::edge::Edge;
use crate::edge::connections::{self, Bounds};
use crate::edge::lobby::{Lobby, Room};
use crate::edge::origins::BadOrigin;
use crate::edge::tls::{self, Tls, TlsError};
use crate::endings::again::{AgainError, Means};
use crate::endings::{again, list};
use crate::http::router;
use crate::mail::{MailError, Mailer};
use crate::master_key::{MasterKey, MasterKeyError};
use crate::metrics::{self, MetricsError};
use crate::private_postgres::{self, PrivatePostgres, PrivatePostgresError};
use crate::state::AppState;

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
    /// No place for signed heads.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What ended before cannot be ended again.
    #[error(transparent)]
    Endings(#[from] AgainError),
    /// The records of access could not be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// They are not as they were written.
    #[error("the records of access were tampered with, or the database is an older one; see above")]
    Tampered,
    /// No sign-in provider.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// No keys for access tokens.
    #[error(transparent)]
    SigningKeys(#[from] SigningKeysError),
    /// Its address is none.
    #[error(transparent)]
    BadDatabaseUrl(#[from] BadDatabaseUrl),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// An allowed origin is none.
    #[error(transparent)]
    BadOrigin(#[from] BadOrigin),
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
    let master = MasterKey::find(args.master_key.as_deref(), &args.database.data)?;
    let mailer = Mailer::open(&args.mail, &args.database.data)?;
    let entrance = Entrance::open(args, &shutdown).await?;
    let database = Database::open(&args.database).await?;
    let served = answer(listener, args, &database, master, mailer, entrance, shutdown).await;
    let closed = database.close().await;
    served.and(closed)
}

/// How connections, requests and people are let in.
struct Entrance {
    edge: Edge,
    oidc: Option<Settings>,
    bounds: Bounds,
    tls: Option<Tls>,
    metrics: Option<TcpListener>,
}

impl Entrance {
    async fn open(args: &ServeArgs, shutdown: &CancellationToken) -> Result<Self, ServeError> {
        let (oidc, args) = (Settings::of(&args.oidc)?, &args.edge);
        let files = args.tls_cert.clone().zip(args.tls_key.clone());
        let files = files.map(|(certificate, key)| tls::Files { certificate, key });
        let tls = files.map(|files| Tls::open(files, shutdown.clone())).transpose()?;
        let mut room = Room::default();
        if args.trusted_proxy_hops > 0 {
            room.of_one_address = room.places;
        }
        let metrics = match args.metrics_addr {
            Some(address) => Some(metrics::bind(address).await?),
            None => None,
        };
        let bounds = Bounds { lobby: Lobby::of(room), ..Bounds::default() };
        Ok(Self { edge: Edge::of(args)?, oidc, bounds, tls, metrics })
    }
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

/// Checks the records of access, and prints what was found.
///
/// # Errors
/// When something was, or the check is not possible.
pub async fn verify_audit(args: &AuditArgs) -> Result<(), ServeError> {
    let master = MasterKey::existing(args.signed.master_key.as_deref(), &args.database.data)?;
    let database = Database::open_beside(&args.database).await?;
    let folder = audit_folder(args.signed.audit_dir.as_deref(), &args.database.data);
    let verified = verify(&database.pool, &master, &folder).await;
    database.close().await?;
    let report = verified?;
    announce(&report.to_string())?;
    if report.found == 0 { Ok(()) } else { Err(ServeError::Tampered) }
}

async fn answer(
    listener: TcpListener,
    args: &ServeArgs,
    Database { pool, served, .. }: &Database,
    master: Option<MasterKey>,
    mailer: Mailer,
    entrance: Entrance,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (installation, is_new) = installation::establish(pool).await?;
    tracing::info!(installation = installation::in_hex(installation), is_new, "the database is ready");
    let master = first_key(master, pool, &args.database.data).await?;
    let folder = audit_folder(args.audit_dir.as_deref(), &args.database.data);
    let audit = Audit::open(pool.clone(), &master, Clock::default(), &folder)?;
    let mut state =
        AppState::new(pool.clone(), master, Clock::default(), mailer, audit.clone(), shutdown.clone()).await?;
    state.oidc = entrance.oidc.map(|settings| Provider::new(settings, state.clock.clone())).transpose()?;
    state.limits.backups = args.backups.terms();
    if let Some(file) = &args.backups.erasures {
        // Before anybody is answered, and again whenever the database is replaced.
        let means = Means { pool, audit: &audit, ingest: &state.engine.ingest, clock: &state.clock };
        again::catch_up(means, file).await?;
        served.only(installation);
        let watch =
            again::whenever_replaced(served.clone(), pool.clone(), audit.clone(), state.clock.clone(), file.clone());
        let keep = list::keep(pool.clone(), file.clone());
        tokio::spawn(state.shutdown.clone().run_until_cancelled_owned(watch));
        tokio::spawn(state.shutdown.clone().run_until_cancelled_owned(keep));
    }
    state.edge = entrance.edge;
    if let Some(listener) = entrance.metrics {
        metrics::serve(listener, state.engine.clone(), shutdown.clone());
    }
    let scheme = if entrance.tls.is_some() { "https" } else { "http" };
    announce(&format!("listening on {scheme}://{}", listener.local_addr()?))?;
    connections::serve(listener, router(state), entrance.bounds, entrance.tls, shutdown).await;
    audit.finish().await;
    Ok(())
}

/// The master key; where there is none, it is made for a database in which none has sealed anything.
async fn first_key(found: Option<MasterKey>, pool: &PgPool, data: &Path) -> Result<MasterKey, ServeError> {
    signing_keys::check(pool, found.as_ref()).await?;
    Ok(found.map_or_else(|| MasterKey::make(data), Ok)?)
}

pub(crate) fn audit_folder(named: Option<&Path>, data: &Path) -> PathBuf {
    named.map_or_else(|| audit::default_folder(data), Path::to_owned)
}

/// Answers on this address until the state's `shutdown`.
pub async fn listen(listener: TcpListener, state: AppState) {
    let shutdown = state.shutdown.clone();
    connections::serve(listener, router(state), Bounds::default(), None, shutdown).await;
}

/// The address is the last line on standard output, as is the outcome of a check: people and scripts read it there.
fn announce(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The database of this run, and what has to be stopped with it.
pub(crate) struct Database {
    pool: PgPool,
    /// Of which installation the pool's connections are.
    served: Served,
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

    /// The same for a short while beside a running server, whose private database is then used as it is.
    pub(crate) async fn open_beside(args: &DatabaseArgs) -> Result<Self, ServeError> {
        let running = match &args.database_url {
            Some(_) => None,
            None => PrivatePostgres::running(&args.data),
        };
        match running {
            Some(options) => Self::given(options).await,
            None => Self::open(args).await,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A given database is migrated on purpose only: its owner does it, and other nodes may run.
    async fn given(options: PgConnectOptions) -> Result<Self, ServeError> {
        db::check(options.clone()).await?;
        let served = Served::default();
        let pool = db::connect_to(options, served.clone()).await?;
        for setting in db::settings_that_lose_writes(&pool).await.map_err(DatabaseError::from)? {
            tracing::warn!(setting, "the database has this setting off: acknowledged data can be lost; switch it on");
        }
        Ok(Self { pool, served, private: None })
    }

    async fn private(args: &DatabaseArgs) -> Result<Self, ServeError> {
        let postgres = PrivatePostgres::start(&args.data).await?;
        db::migrate(postgres.owner_options(), private_postgres::SERVER).await?;
        let served = Served::default();
        let pool = db::connect_to(postgres.connect_options(), served.clone()).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(postgres.keep_running(stop.clone()));
        Ok(Self { pool, served, private: Some(Watch { stop, task }) })
    }

    pub(crate) async fn close(self) -> Result<(), ServeError> {
        self.pool.close().await;
        if let Some(watch) = self.private {
            watch.stop.cancel();
            watch.task.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    }
}
