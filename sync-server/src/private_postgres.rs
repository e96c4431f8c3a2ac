//! A PostgreSQL of the server's own, under its data folder: found, made, started, adopted after a crash, stopped.
//!
//! It listens on a Unix socket alone, in a folder that only its own user (and root) can enter; there is no password because
//! nobody else gets that far. Everything that durability needs is switched on by the command line, where no
//! configuration file can undo it.

mod binaries;
mod data_lock;
mod error;
mod pid_file;
mod polling;
mod runner;
mod socket_dir;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use binaries::Binaries;
use data_lock::DataLock;
pub use error::PrivatePostgresError;
use pid_file::PidFile;
use polling::poll;
use runner::Owner;

/// Name of the database.
const DATABASE: &str = "fitme";
/// Its superuser, who owns the tables.
pub const OWNER: &str = "fitme";
/// As whom the server logs in.
pub const SERVER: &str = "fitme_node";
/// PostgreSQL puts it into the socket's name; no TCP port is opened.
const SOCKET_PORT: u16 = 5432;
/// Recovery after a crash replays up to a gigabyte of log, on a slow disk minutes of work.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// A fast shutdown writes all dirty pages.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a running server looks whether its database still lives, and waits between attempts to revive it.
const WATCH: Duration = Duration::from_millis(500);
/// The database's log starts anew beyond this size; one earlier file is kept.
const LOG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// How much of the log's end is searched for the reason of a failure.
const LOG_TAIL_BYTES: u64 = 8 * 1024;
/// No TCP; everything durability needs; connections for several pools and a person with psql.
/// Neither statements nor rows go to the log: both hold health data.
const SETTINGS: [&str; 9] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "max_connections=100",
    "cluster_name=fitme",
    "log_error_verbosity=terse",
    "log_min_error_statement=panic",
];

/// A running private PostgreSQL. Dropping it stops it; a killed process leaves it running for the next one to adopt.
#[derive(Debug)]
pub struct PrivatePostgres {
    place: Place,
    owner: Owner,
    socket_dir: PathBuf,
    pid: Pid,
    /// `None` when an earlier server started it.
    child: Option<Child>,
    _lock: DataLock,
}

/// Where everything lies.
#[derive(Debug, Clone)]
struct Place {
    data: PathBuf,
    cluster: PathBuf,
    log: PathBuf,
}

impl PrivatePostgres {
    /// Starts the cluster under `data`, making both when they do not exist, or adopts the one that runs there.
    ///
    /// # Errors
    /// When another process uses the folder, when PostgreSQL is not installed, or when it does not start.
    pub async fn start(data: impl Into<PathBuf>) -> Result<Self, PrivatePostgresError> {
        let data = data.into();
        let started = tokio::task::spawn_blocking(move || Self::start_blocking(&data)).await;
        let postgres = started.map_err(|error| PrivatePostgresError::Program {
            program: "starting PostgreSQL",
            reason: error.to_string(),
        })??;
        postgres.ensure_database().await?;
        Ok(postgres)
    }

    fn start_blocking(data: &Path) -> Result<Self, PrivatePostgresError> {
        create_private_folder(data)?;
        let lock = DataLock::take(data)?;
        let place = Place::under(data);
        let owner = Owner::of(&place.cluster)?;
        if let Some((pid, socket_dir)) = adopt(&place, owner)? {
            tracing::info!(pid = pid.as_raw(), "adopted the private PostgreSQL that an earlier server left running");
            return Ok(Self { place, owner, socket_dir, pid, child: None, _lock: lock });
        }
        let binaries = binaries::find(cluster_version(&place.cluster))?;
        ensure_cluster(&place, owner, &binaries)?;
        let recorded = PidFile::read(&place.cluster).and_then(|file| file.socket_dir);
        let socket_dir = socket_dir::reuse_or_create(recorded, owner)?;
        let child = launch(&place, owner, &binaries, &socket_dir).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&socket_dir);
        })?;
        Ok(Self { place, owner, socket_dir, pid: pid_of(&child), child: Some(child), _lock: lock })
    }

    /// How the server connects to its database, once that is migrated.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.owner_options().username(SERVER)
    }

    /// How the owner of the tables connects to the same database.
    #[must_use]
    pub fn owner_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(SOCKET_PORT)
            .username(OWNER)
            .database(DATABASE)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The owner's address, for other programs. It holds no secret: the socket's folder is what is closed.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(DATABASE, OWNER)
    }

    /// The address of a database of the same cluster, for one who logs in.
    #[must_use]
    pub fn url_of(&self, database: &str, login: &str) -> String {
        let socket_dir = self.socket_dir.display();
        format!("postgres://{login}@localhost:{SOCKET_PORT}/{database}?host={socket_dir}&sslmode=disable")
    }

    /// The process id of PostgreSQL's first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// The folder of the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Stops PostgreSQL in order: connections are closed, everything is written, nothing has to be recovered.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(mut self) -> Result<(), PrivatePostgresError> {
        let stopped = tokio::task::spawn_blocking(move || self.stop_blocking()).await;
        stopped.map_err(|error| PrivatePostgresError::Program {
            program: "stopping PostgreSQL",
            reason: error.to_string(),
        })?
    }

    /// Watches over PostgreSQL until `stop`, then stops it. When it dies it is started again, as often as needed; meanwhile
    /// requests are answered `unavailable`.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn keep_running(mut self, stop: CancellationToken) -> Result<(), PrivatePostgresError> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.stop().await,
                () = tokio::time::sleep(WATCH) => {}
            }
            if !self.is_alive() {
                tracing::error!("the private PostgreSQL died; starting it again");
                self = self.revive().await;
            }
        }
    }

    /// Whether PostgreSQL's first process lives.
    pub fn is_alive(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => pid_file::serves(self.pid, &self.place.cluster),
        }
    }

    /// Tries once to start a PostgreSQL that died, at the same address; [`Self::is_alive`] tells whether it worked. Right
    /// after a crash it does not until the last orphaned backend has ended.
    pub async fn revive(mut self) -> Self {
        let (place, owner, socket_dir) = (self.place.clone(), self.owner, self.socket_dir.clone());
        let launched = tokio::task::spawn_blocking(move || {
            let binaries = binaries::find(cluster_version(&place.cluster))?;
            launch(&place, owner, &binaries, &socket_dir)
        });
        match launched.await {
            Ok(Ok(child)) => {
                self.pid = pid_of(&child);
                self.child = Some(child);
                tracing::info!(pid = self.pid.as_raw(), "the private PostgreSQL runs again");
            }
            Ok(Err(error)) => tracing::error!(%error, "the private PostgreSQL did not start"),
            Err(error) => tracing::error!(%error, "the attempt to start the private PostgreSQL broke off"),
        }
        self
    }

    async fn ensure_database(&self) -> Result<(), PrivatePostgresError> {
        let mut connection = PgConnection::connect_with(&self.owner_options().database("postgres")).await?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(DATABASE)
            .fetch_one(&mut connection)
            .await?;
        if !exists {
            sqlx::query("CREATE DATABASE fitme").execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(())
    }

    fn stop_blocking(&mut self) -> Result<(), PrivatePostgresError> {
        if self.is_alive() {
            let _ = kill(self.pid, Signal::SIGINT);
            let ended = poll(STOP_TIMEOUT, || Ok::<_, PrivatePostgresError>((!self.is_alive()).then_some(())))?;
            ended.ok_or_else(|| self.place.slow("stop", STOP_TIMEOUT))?;
        }
        if socket_dir::is_private(&self.socket_dir, self.owner) {
            let _ = std::fs::remove_dir_all(&self.socket_dir);
        }
        Ok(())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop_blocking() {
            tracing::error!(%error, "the private PostgreSQL was left running");
        }
    }
}

impl Place {
    fn under(data: &Path) -> Self {
        Self { data: data.to_owned(), cluster: data.join("postgres"), log: data.join("postgres.log") }
    }

    fn slow(&self, what: &'static str, limit: Duration) -> PrivatePostgresError {
        PrivatePostgresError::Slow { what, seconds: limit.as_secs(), log: self.log.clone() }
    }

    /// The log, for appending; a long one is put aside first.
    fn open_log(&self) -> Result<File, PrivatePostgresError> {
        if std::fs::metadata(&self.log).is_ok_and(|meta| meta.len() > LOG_LIMIT_BYTES) {
            let _ = std::fs::rename(&self.log, self.log.with_extension("log.1"));
        }
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log);
        opened
            .map_err(|source| PrivatePostgresError::Io { what: format!("cannot write {}", self.log.display()), source })
    }

    /// The last thing PostgreSQL gave as a reason to give up.
    fn last_words(&self) -> String {
        let mut tail = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            log.read_to_end(&mut tail)
        });
        let text = String::from_utf8_lossy(&tail);
        let said = text.lines().rev().find_map(|line| line.split_once("FATAL: ").or(line.split_once("error: ")));
        match (read, said) {
            (Ok(_), Some((_, reason))) => format!("{} (its log is {})", reason.trim(), self.log.display()),
            _ => format!("its log is {}", self.log.display()),
        }
    }
}

/// Waits for a cluster that already runs here to be ready; `None` when none does.
fn adopt(place: &Place, owner: Owner) -> Result<Option<(Pid, PathBuf)>, PrivatePostgresError> {
    let running = poll(START_TIMEOUT, || {
        let Some(file) = PidFile::read(&place.cluster).filter(|file| pid_file::serves(file.pid, &place.cluster)) else {
            return Ok(Some(None));
        };
        match file.socket_dir {
            Some(socket_dir) if file.ready && socket_dir::is_private(&socket_dir, owner) => {
                Ok(Some(Some((file.pid, socket_dir))))
            }
            // Not of our making: its socket may be open to others, or gone.
            Some(_) if file.ready => {
                Err(PrivatePostgresError::InUse { data: place.data.clone(), pid: file.pid.to_string() })
            }
            _ => Ok(None),
        }
    })?;
    running.ok_or_else(|| place.slow("start", START_TIMEOUT))
}

/// The major version that made the cluster; `None` when there is none yet.
fn cluster_version(cluster: &Path) -> Option<u32> {
    std::fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Makes the cluster aside and moves it into place when it is complete, so that an interrupted attempt leaves nothing half.
fn ensure_cluster(place: &Place, owner: Owner, binaries: &Binaries) -> Result<(), PrivatePostgresError> {
    if cluster_version(&place.cluster).is_some() {
        return Ok(());
    }
    tracing::info!(folder = %place.cluster.display(), "making a private PostgreSQL");
    let unfinished = place.data.join("postgres.unfinished");
    let io = |source| PrivatePostgresError::Io { what: format!("cannot prepare {}", unfinished.display()), source };
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(io)?;
    }
    create_private_folder(&unfinished)?;
    owner.take(&unfinished)?;
    let log = place.open_log()?;
    let status = owner
        .command(&binaries.initdb, &unfinished)?
        .args(["--no-locale", "--encoding=UTF8", "--data-checksums", "--auth-local=trust", "--auth-host=reject"])
        .arg(format!("--username={OWNER}"))
        .stdout(Stdio::from(log.try_clone().map_err(io)?))
        .stderr(Stdio::from(log))
        .status()
        .map_err(io)?;
    if !status.success() {
        return Err(PrivatePostgresError::Program { program: "initdb", reason: place.last_words() });
    }
    std::fs::rename(&unfinished, &place.cluster).map_err(io)?;
    File::open(&place.data).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Starts PostgreSQL and waits until it takes connections.
fn launch(place: &Place, owner: Owner, binaries: &Binaries, socket_dir: &Path) -> Result<Child, PrivatePostgresError> {
    forget_dead_postmaster(place, socket_dir)?;
    let log = place.open_log()?;
    let io = |source| PrivatePostgresError::Io { what: "cannot start PostgreSQL".to_owned(), source };
    let mut command = owner.command(&binaries.postgres, &place.cluster)?;
    let sockets = format!("unix_socket_directories={}", socket_dir.display());
    for setting in SETTINGS.iter().chain([&sockets.as_str()]) {
        command.args(["-c", setting]);
    }
    command.stdout(Stdio::from(log.try_clone().map_err(io)?)).stderr(Stdio::from(log));
    wait_until_ready(place, command.spawn().map_err(io)?)
}

/// A killed container leaves lock files whose number soon belongs to something else, and PostgreSQL would refuse to start.
/// Nothing serves the cluster when this is called and we hold the data lock; beyond that, PostgreSQL still checks its
/// shared memory for processes that live on.
fn forget_dead_postmaster(place: &Place, socket_dir: &Path) -> Result<(), PrivatePostgresError> {
    let socket = format!(".s.PGSQL.{SOCKET_PORT}");
    let left =
        [place.cluster.join(pid_file::FILE_NAME), socket_dir.join(format!("{socket}.lock")), socket_dir.join(socket)];
    for file in left {
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("cannot remove {}, left by a database that died", file.display());
                return Err(PrivatePostgresError::Io { what, source });
            }
            _ => {}
        }
    }
    Ok(())
}

fn wait_until_ready(place: &Place, mut child: Child) -> Result<Child, PrivatePostgresError> {
    let pid = pid_of(&child);
    let ready = poll(START_TIMEOUT, || match child.try_wait() {
        Ok(None) => Ok(PidFile::read(&place.cluster).filter(|file| file.ready && file.pid == pid)),
        Ok(Some(_)) => Err(PrivatePostgresError::Program { program: "PostgreSQL", reason: place.last_words() }),
        Err(source) => Err(PrivatePostgresError::Io { what: "cannot watch PostgreSQL start".to_owned(), source }),
    })?;
    if ready.is_none() {
        let _ = kill(pid, Signal::SIGINT);
        return Err(place.slow("start", START_TIMEOUT));
    }
    Ok(child)
}

fn create_private_folder(folder: &Path) -> Result<(), PrivatePostgresError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| PrivatePostgresError::Io {
        what: format!("cannot make the folder {}", folder.display()),
        source,
    })
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
