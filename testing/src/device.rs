//! A device as a person has it: a home folder and the command line client.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::binaries::built;
use crate::logs;

/// Password of every test account that does not choose its own.
const PASSWORD: &str = "correct horse battery";

/// A device with a home of its own, which is removed with it.
pub struct Device {
    name: String,
    home: TempDir,
    password: String,
    new_password: Option<String>,
    environment: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// 0 done, 1 refused with a reason, 2 usage; 128 plus the signal where one ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Runs a program to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program is built and can be run");
        Self {
            code: exit_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Device {
    /// A new device that has no account yet.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        Self { name: name.to_owned(), home, password: PASSWORD.to_owned(), new_password: None, environment: Vec::new() }
    }

    /// The same device with another password in its environment.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    /// The same device with a password in its environment to change to.
    #[must_use]
    pub fn with_new_password(mut self, password: &str) -> Self {
        self.new_password = Some(password.to_owned());
        self
    }

    /// The same device with one more variable in its environment.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Its home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Creates an account and makes this its first device.
    pub fn sign_up(&self, server: &str, email: &str) -> String {
        self.done(&["signup", "--server", server, "--email", email, "--device", &self.name])
    }

    /// Adds this device to an account.
    pub fn log_in(&self, server: &str, email: &str) -> String {
        self.done(&["login", "--server", server, "--email", email, "--device", &self.name])
    }

    /// Exchanges everything with the server once.
    pub fn sync(&self) -> String {
        self.done(&["sync", "--once"])
    }

    /// Runs a command of the client to its end.
    ///
    /// # Panics
    /// When the client is not built.
    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).stdin(Stdio::null()))
    }

    /// Runs a command that must succeed; returns what it printed.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn done(&self, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "{} could not {args:?}: {}{}", self.name, outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Runs a command that must succeed and print JSON.
    ///
    /// # Panics
    /// When it does not.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.done(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?} printed no JSON ({error}): {text}"))
    }

    /// Starts a command that runs on, such as `sync --watch`; its output is piped.
    ///
    /// # Panics
    /// When the client is not built.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the client's program can be run")
    }

    /// The client's program on this home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(built("fitme"));
        command.arg("--home").arg(self.home()).args(args).env("FITME_PASSWORD", &self.password);
        if let Some(kept) = logs::file("device") {
            command.env("FITME_LOG", logs::LEVEL).env("FITME_LOG_FILE", kept);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(password) = &self.new_password {
            command.env("FITME_NEW_PASSWORD", password);
        }
        command
    }
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
