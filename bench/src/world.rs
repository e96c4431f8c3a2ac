//! What the rows share: a PostgreSQL, servers on fresh databases, folders, and the settings that a figure depends on.

use std::cell::OnceCell;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fitme_testing::realistic::{Diary, Sets};
use fitme_testing::{Database, Postgres, ServerProcess};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::measure::Process;
use crate::phone::Phone;

/// Entries in the history that several rows push, pull and merge.
pub const HISTORY: usize = 10_000;
/// How often a server that works is asked whether it still does.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Seed of that history.
const HISTORY_SEED: u64 = 2026;

/// What the rows share.
pub struct World {
    /// How often each measurement is repeated.
    pub repetitions: usize,
    /// Where everything asynchronous of this process runs.
    pub runtime: Runtime,
    folder: TempDir,
    postgres: OnceCell<Postgres>,
    history: OnceCell<PathBuf>,
}

/// A server as a process of its own, on a database of its own.
pub struct Server {
    /// The process; dropping it stops it.
    pub process: ServerProcess,
    /// The database, for looking at.
    pub pool: PgPool,
    postgres: Process,
}

impl World {
    /// An empty world.
    pub fn new(repetitions: usize) -> Result<Self> {
        if cfg!(debug_assertions) {
            bail!("an unoptimised build measures nothing: run `make bench`");
        }
        Ok(Self {
            repetitions,
            runtime: Runtime::new()?,
            folder: tempfile::tempdir()?,
            postgres: OnceCell::new(),
            history: OnceCell::new(),
        })
    }

    /// A new folder, gone with the world.
    pub fn folder(&self) -> Result<PathBuf> {
        Ok(tempfile::Builder::new().disable_cleanup(true).tempdir_in(&self.folder)?.keep())
    }

    /// A server on an empty database.
    pub fn server(&self) -> Result<Server> {
        build("sync-server", &workspace().join("Cargo.toml"))?;
        let database = self.database();
        Ok(Server {
            process: ServerProcess::on(&database.url),
            pool: self.connect(&database, 2)?,
            postgres: Process::with_pid(self.postgres().pid()),
        })
    }

    /// An empty database with all tables.
    pub fn database(&self) -> Database {
        self.postgres().database()
    }

    /// Connections of the owner to a database. What serves over them takes the server's role for each transaction.
    pub fn connect(&self, database: &Database, connections: u32) -> Result<PgPool> {
        // Opening them is not what is measured: all are there from the start.
        let pool = PgPoolOptions::new().max_connections(connections).min_connections(connections);
        Ok(self.runtime.block_on(pool.connect(&database.owner))?)
    }

    /// A store that was written offline, [`HISTORY`] entries long, and belongs to no account yet.
    pub fn history(&self) -> Result<&Path> {
        if self.history.get().is_none() {
            let mut phone = Phone::new(&self.folder()?, "author", HISTORY_SEED)?;
            phone.live_through(&mut Diary::new(HISTORY_SEED, Sets::OneByOne), HISTORY)?;
            let _first = self.history.set(phone.close());
        }
        self.history.get().map(PathBuf::as_path).context("it was just written")
    }

    fn postgres(&self) -> &Postgres {
        self.postgres.get_or_init(Postgres::start)
    }

    /// What the figures depend on, one fact a line.
    pub fn settings(&self) -> Result<Vec<String>> {
        let pool = self.connect(&self.database(), 1)?;
        let mut shown = Vec::new();
        for name in ["server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers"] {
            let value: String =
                self.runtime.block_on(sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&pool))?;
            shown.push(format!("{name} {value}"));
        }
        Ok(vec![
            format!("cpu: {}, {} cores", cpu_model(), std::thread::available_parallelism()?),
            format!("kernel: {}", std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()),
            format!("file system of all databases: {}", file_system(self.folder.path())),
            format!("PostgreSQL: {}", shown.join(", ")),
            format!("SQLite {}: journal_mode WAL, synchronous FULL, secure_delete ON", rusqlite::version()),
            format!(
                "{} repetitions, ours and the other in turns; loopback without TLS; release build",
                self.repetitions
            ),
        ])
    }
}

impl Server {
    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> &str {
        self.process.url()
    }

    /// The server's process.
    pub fn watched(&self) -> Process {
        Process::with_pid(self.process.pid())
    }

    /// PostgreSQL's first process.
    pub fn postgres(&self) -> Process {
        self.postgres
    }

    /// Waits until every change is merged, so that merging is not measured along.
    pub fn merged(&self, world: &World) -> Result<()> {
        world.runtime.block_on(async {
            while !sqlx::query("SELECT FROM merge_queue WHERE merged_seq < head_seq LIMIT 1")
                .fetch_all(&self.pool)
                .await?
                .is_empty()
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        })
    }

    /// The same, and tidies up the tables, which takes a second where they are large.
    pub fn come_to_rest(&self, world: &World) -> Result<()> {
        self.merged(world)?;
        world.runtime.block_on(sqlx::query("VACUUM ANALYZE").execute(&self.pool))?;
        Ok(())
    }

    /// CPU seconds of the server and of PostgreSQL so far.
    pub fn cpu(&self) -> Result<(f64, f64)> {
        Ok((self.watched().cpu()?, self.postgres.cpu_with_children()?))
    }
}

/// The folder of the workspace, from which this program was built.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Builds a package into the folder where this program lies; at once where it is up to date. A figure of yesterday's
/// server would be worse than none.
pub fn build(package: &str, manifest: &Path) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let profile = own.parent().context("a program lies in a folder")?;
    let target = profile.parent().context("target/release lies in target")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--package", package, "--manifest-path"]).arg(manifest);
    if manifest == workspace().join("Cargo.toml") {
        // Together with this program, as it was built: alone, dependencies would get fewer features and be built again.
        command.args(["--package", env!("CARGO_PKG_NAME")]);
    }
    let status = command.arg("--target-dir").arg(target).status()?;
    if !status.success() {
        bail!("{package} does not build; run `cargo build --release -p {package}` to see why");
    }
    Ok(profile.join(package))
}

fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or("unknown", |(_, name)| name.trim()).to_owned()
}

fn file_system(folder: &Path) -> String {
    let answer = Command::new("stat").args(["--file-system", "--format=%T"]).arg(folder).output();
    answer.map_or_else(|_| "unknown".to_owned(), |answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}
