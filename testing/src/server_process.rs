//! The real server as a process: started, killed, started again at the same address, stopped by its process id.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::{NamedTempFile, TempDir};

use crate::binaries::built;
use crate::device::Outcome;
use crate::letters;
use crate::logs;

const ANNOUNCEMENT: &str = "listening on ";
/// How long a server may take to end after it was asked to.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server. Dropping it stops it, and the private PostgreSQL that a killed one left.
pub struct ServerProcess {
    child: Child,
    url: String,
    setup: Setup,
}

struct Setup {
    /// Where its data lies.
    home: TempDir,
    data: PathBuf,
    log: PathBuf,
    /// Whether the log is kept when the test is over.
    log_is_kept: bool,
    database_url: Option<String>,
    environment: Vec<(String, String)>,
}

impl ServerProcess {
    /// A server with a private PostgreSQL in a folder of its own.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(None, &[])
    }

    /// A server on the given database.
    #[must_use]
    pub fn on(database_url: &str) -> Self {
        Self::start_with(Some(database_url), &[])
    }

    /// A server with further environment variables.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with(database_url: Option<&str>, environment: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let kept = logs::file("server");
        let setup = Setup {
            data: home.path().join("data"),
            log_is_kept: kept.is_some(),
            log: kept.unwrap_or_else(|| home.path().join("server.log")),
            home,
            database_url: database_url.map(ToOwned::to_owned),
            environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let (child, url) = setup.launch("127.0.0.1:0");
        Self { child, url, setup }
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.setup.data
    }

    /// What it has logged since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        self.setup.log()
    }

    /// The word after `command` in a letter to `email`, once it is there.
    #[must_use]
    pub fn mailed(&self, email: &str, command: &str) -> String {
        letters::token(&self.setup.data, email, command)
    }

    /// Runs another command of the server's program to its end, with the settings of this one, whether it runs or not.
    ///
    /// # Panics
    /// When the program cannot be run.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.setup.command(args).stdin(Stdio::null()))
    }

    /// Kills it as a power cut would; a private PostgreSQL runs on.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the server is ours");
        self.child.wait().expect("the server is our child");
    }

    /// Asks it to end and waits for that.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.try_terminate().expect("the server ends when it is asked to")
    }

    /// Starts it again at the same address, on the same data; ends a running one first.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.child, self.url) = self.setup.launch(&address);
    }

    #[expect(clippy::disallowed_methods, reason = "a pause between two looks at a process, with a deadline")]
    fn try_terminate(&mut self) -> Option<ExitStatus> {
        let _ = kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM);
        let until = Instant::now() + END_TIMEOUT;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.try_terminate().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        stop_left_postgres(&self.setup.data);
        if let Some(kept) = logs::file("postgres") {
            let _there_may_be_none = std::fs::copy(self.setup.data.join("postgres.log"), kept);
        }
    }
}

/// Runs another command of the server's program to its end, without anything of the test's own environment that it reads.
///
/// # Panics
/// When the program is not built.
#[must_use]
pub fn run_server(args: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(built("sync-server"));
    command.args(args).env_remove("DATABASE_URL");
    let kept = logs::file("command");
    if kept.is_some() {
        command.env("FITME_LOG", logs::LEVEL);
    }
    command.envs(environment.iter().copied());
    let outcome = Outcome::of(command.stdin(Stdio::null()));
    if let Some(kept) = kept {
        std::fs::write(kept, &outcome.stderr).expect("the folder of the logs is ours");
    }
    outcome
}

/// A killed server leaves its PostgreSQL running, as it should; when the test is over that has to end too. Starting and
/// dropping the private PostgreSQL does just that: it adopts and stops.
fn stop_left_postgres(data: &Path) {
    if !data.join("postgres/postmaster.pid").exists() {
        return;
    }
    match crate::postgres::block_on(|| sync_server::private_postgres::PrivatePostgres::start(data)) {
        Ok(left) => drop(left),
        Err(error) => eprintln!("a PostgreSQL of a test may still run: {error}"),
    }
}

/// The master key of all servers that this process starts on given databases: nodes of one database must share it.
fn master_key_file() -> &'static Path {
    static FILE: OnceLock<NamedTempFile> = OnceLock::new();
    FILE.get_or_init(|| {
        // Made with mode 0600.
        let mut file = NamedTempFile::new().expect("a temporary file can be made");
        file.write_all(&[b'7'; 64]).expect("a temporary file can be written");
        file
    })
    .path()
}

impl Setup {
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The program on this server's database and data.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(built("sync-server"));
        command.args(args).env("FITME_DATA", &self.data).env_remove("DATABASE_URL");
        command.env("FITME_AUDIT_DIR", self.home.path().join("audit"));
        if let Some(url) = &self.database_url {
            command.env("DATABASE_URL", url).env("FITME_MASTER_KEY", master_key_file());
        }
        if self.log_is_kept {
            command.env("FITME_LOG", logs::LEVEL);
        }
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts the server and waits for the line with its address.
    fn launch(&self, listen: &str) -> (Child, String) {
        let log = File::options().create(true).append(true).open(&self.log).expect("the folder is ours");
        let mut child = self
            .command(&["serve"])
            .env("FITME_LISTEN", listen)
            // A test that names its own address means it.
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server's program can be run");
        let out = child.stdout.take().expect("standard output is piped");
        let address = BufReader::new(out)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(ANNOUNCEMENT).map(ToOwned::to_owned));
        match address {
            Some(url) => (child, url),
            None => {
                let _ = child.wait();
                panic!("the server ended before it listened; it said:\n{}", self.log());
            }
        }
    }
}
