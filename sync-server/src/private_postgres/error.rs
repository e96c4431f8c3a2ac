//! Why a private PostgreSQL cannot be used.

use std::path::PathBuf;

/// Why the private PostgreSQL cannot be used; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrivatePostgresError {
    /// No program that can run the cluster.
    #[error("PostgreSQL {wanted}{} was not found: install it (on Debian and Ubuntu: apt-get install postgresql) or set DATABASE_URL to use one that runs elsewhere", if *.exact { ", which made the existing data," } else { " or newer" })]
    NoBinaries {
        /// The version that is needed.
        wanted: u32,
        /// Whether no other version would do.
        exact: bool,
    },
    /// Another process works on the data folder.
    #[error("{} is in use by process {pid}: stop that server first, or choose another folder with FITME_DATA", data.display())]
    InUse {
        /// The data folder.
        data: PathBuf,
        /// Process id, or `unknown`.
        pid: String,
    },
    /// PostgreSQL refuses to run as root and there is nobody else.
    #[error(
        "PostgreSQL does not run as root and there is no user postgres or nobody: create one, or start the server as an ordinary user"
    )]
    NoServiceUser,
    /// The cluster belongs to somebody else.
    #[error("{} belongs to user {owner}, whom this process cannot act for: start the server as that user, or hand the folder over with chown -R", cluster.display())]
    WrongOwner {
        /// The cluster's folder.
        cluster: PathBuf,
        /// User id of its owner.
        owner: u32,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said last.
        reason: String,
    },
    /// It did not start or stop in time.
    #[error("PostgreSQL did not {what} within {} s; its log is {}", seconds, log.display())]
    Slow {
        /// `start` or `stop`.
        what: &'static str,
        /// The time it was given.
        seconds: u64,
        /// Where it logs.
        log: PathBuf,
    },
    /// It runs, but cannot be talked to.
    #[error("the private PostgreSQL runs but refuses the server: {0}")]
    Connect(#[from] sqlx::Error),
    /// The file system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}
