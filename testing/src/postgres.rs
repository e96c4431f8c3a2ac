//! A PostgreSQL for tests, durable like a real one, with a database of its own for each test.

use std::future::Future;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use sync_server::private_postgres::{OWNER, PrivatePostgres, SERVER};
use tempfile::TempDir;

use crate::logs;

/// Database that has all migrations; the others are copied from it, which is faster than migrating each.
const TEMPLATE: &str = "migrated";
/// Waits for the end of the test process, however it ends, then stops PostgreSQL, also one that was started again meanwhile,
/// and removes its folders. The loop is bounded: where nobody waits for orphans a dead process keeps its number.
const GUARD: &str = r#"read -r _
if read -r pid 2>/dev/null <"$1/postgres/postmaster.pid" && kill -INT "$pid" 2>/dev/null; then
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
fi
[ -z "$3" ] || cp "$1/postgres.log" "$3" 2>/dev/null
rm -rf "$1" "$2""#;

/// A private cluster. The one of [`Postgres::shared`] lives as long as the test process.
pub struct Postgres {
    /// `None` only while it is being revived.
    private: Option<PrivatePostgres>,
    databases: AtomicU32,
    _guard: Child,
    data: TempDir,
}

/// A database with all tables and no rows.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its address for a server, for `DATABASE_URL`.
    pub url: String,
    /// Its address for the one who owns its tables: for `FITME_OWNER_DATABASE_URL`, and for tests that look into it.
    pub owner: String,
}

impl Postgres {
    /// The cluster that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A cluster of one test's own, for tests that stop or kill it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = data.path().to_owned();
        let private = block_on(|| PrivatePostgres::start(folder)).unwrap_or_else(|error| panic!("{error}"));
        let guard = guard(&private, &data);
        let postgres = Self { private: Some(private), databases: AtomicU32::new(0), _guard: guard, data };
        postgres.create_template();
        postgres
    }

    /// A new database with all migrations.
    ///
    /// # Panics
    /// When the cluster does not answer.
    pub fn database(&self) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"));
        self.of(&name)
    }

    /// A new database without any table.
    ///
    /// # Panics
    /// When the cluster does not answer.
    pub fn empty_database(&self) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.of(&name)
    }

    /// A database from a plain dump of an earlier version, brought up to this one as `sync-server migrate` does.
    ///
    /// # Panics
    /// When the dump cannot be restored or migrated.
    pub fn restored(&self, dump: String) -> Database {
        let database = self.empty_database();
        let options = options(&database.owner);
        block_on(|| async {
            let mut connection = PgConnection::connect_with(&options).await.expect("the test's PostgreSQL answers");
            sqlx::raw_sql(AssertSqlSafe(dump)).execute(&mut connection).await.expect("the dump is whole");
            connection.close().await.expect("the connection ends in order");
        });
        migrate(options);
        database
    }

    /// Where its files are.
    pub fn folder(&self) -> PathBuf {
        self.data.path().join("postgres")
    }

    /// Process id of PostgreSQL's first process.
    pub fn pid(&self) -> u32 {
        self.private().pid()
    }

    /// Stops it in order, as for maintenance; the address stays.
    ///
    /// # Panics
    /// When it cannot be signalled.
    pub fn take_down(&mut self) {
        self.signal(Signal::SIGINT);
    }

    /// Kills it with all its work; the address stays.
    ///
    /// # Panics
    /// When it cannot be signalled.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
    }

    /// Starts it again after [`Self::take_down`] or [`Self::kill9`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn bring_back(&mut self) {
        for _ in 0..100 {
            let private = self.private.take().expect("it is there between calls");
            let mut revived = block_on(|| private.revive());
            let alive = revived.is_alive();
            self.private = Some(revived);
            if alive {
                return;
            }
        }
        panic!("PostgreSQL did not come back");
    }

    fn signal(&mut self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed());
        kill(pid, signal).expect("PostgreSQL runs and is ours");
        while self.private.as_mut().expect("it is there between calls").is_alive() {
            std::thread::yield_now();
        }
    }

    fn private(&self) -> &PrivatePostgres {
        self.private.as_ref().expect("it is there between calls")
    }

    /// Any database of the cluster.
    pub fn of(&self, name: &str) -> Database {
        let private = self.private();
        Database { url: private.url_of(name, SERVER), owner: private.url_of(name, OWNER) }
    }

    fn create_template(&self) {
        self.execute("postgres", &format!("CREATE DATABASE {TEMPLATE}"));
        migrate(options(&self.of(TEMPLATE).owner));
    }

    fn execute(&self, database: &str, sql: &str) {
        let (options, sql) = (options(&self.of(database).owner), sql.to_owned());
        block_on(|| async {
            let mut connection = PgConnection::connect_with(&options).await.expect("the test's PostgreSQL answers");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement is right");
            connection.close().await.expect("the connection ends in order");
        });
    }
}

fn migrate(options: PgConnectOptions) {
    block_on(|| async { sync_server::db::migrate(options, SERVER).await.expect("the migrations run") });
}

fn options(url: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(url).expect("the cluster knows its own address")
}

/// The guard's standard input ends with this process. Its own process group keeps Ctrl-C away from it.
fn guard(private: &PrivatePostgres, data: &TempDir) -> Child {
    Command::new("/bin/sh")
        .args(["-c", GUARD, "sh"])
        .arg(data.path())
        .arg(private.socket_dir())
        .arg(logs::file("postgres").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell runs")
}

/// Waits for async work on a thread of its own, so that it also works where a runtime runs already.
pub(crate) fn block_on<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(work())
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}
