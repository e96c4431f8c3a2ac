//! Why a device could not reach, or go on with, its server. What was logged is safe whatever it is.

use std::time::Duration;

use fitme_core::session::SessionError;
use fitme_core::store::{AdoptionError, PullError, StoreError};
use fitme_core::wire::WireError;

/// Why something that needs the server did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The home belongs to no account.
    #[error("this home belongs to no account yet: use `fitme signup` or `fitme login` first")]
    NoAccount,
    /// The URL cannot be used.
    #[error("{url} is no address of a server: {reason}")]
    BadUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file of further authorities cannot be used.
    #[error("the certificates in FITME_CA_FILE cannot be used: {0}; name a PEM file with the authority's certificate")]
    BadCaFile(String),
    /// No connection.
    #[error(
        "the server at {url} cannot be reached: {reason}. What is recorded here stays and is sent by the next `fitme sync`; what only the server can do was not done: try it again"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The connection broke.
    #[error(
        "the connection broke: {0}. What is recorded here stays and is sent by the next `fitme sync`; whether the server did what else was asked is not known: look, and try again"
    )]
    Broken(String),
    /// The access token is not valid, or not any more: the next one is.
    #[error("the server does not take what it gave this device to prove itself: try again, or use `fitme login`")]
    AccessRefused,
    /// The device was signed out.
    #[error("the server does not know this device any more: use `fitme login` again")]
    SignInAgain,
    /// The device was revoked from another one.
    #[error("this device was revoked and shows nothing until `fitme login`; what was not sent yet is kept for it")]
    Revoked,
    /// The device was revoked as lost.
    #[error("this device was reported lost: what it held is removed")]
    Lost,
    /// The account was erased.
    #[error("this account was erased: what this device held of it is removed")]
    AccountErased,
    /// The server refused, with its own sentence.
    #[error("{message}")]
    Refused {
        /// One of docs/errors.md.
        code: String,
        /// A sentence for a person.
        message: String,
        /// When to try again at the earliest, as the server asked.
        retry_after: Duration,
    },
    /// The server answered something that this version does not understand.
    #[error("the server's answer cannot be read: {0}")]
    Answer(String),
    /// The session broke off.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The home has other data.
    #[error(transparent)]
    Adoption(#[from] AdoptionError),
    /// No port of this computer to wait at.
    #[error("no port of this computer can be listened on: {0}")]
    NoPort(std::io::Error),
    /// The person did not sign in.
    #[error("nobody signed in within ten minutes: try again")]
    NoSignIn,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A frame could not be made or read.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl ServerError {
    /// What the store said, if it is that.
    pub fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error)
            | Self::Session(SessionError::Store(error) | SessionError::Pull(PullError::Store(error))) => Some(error),
            _ => None,
        }
    }

    /// The same from a server that this home need not belong to: what becomes of this device is for its own server to say, and a
    /// mistyped address must not be able to empty it.
    pub(crate) fn of_any_server(self) -> Self {
        let (code, what) = match self {
            Self::Revoked => ("device_revoked", "this device was revoked"),
            Self::Lost => ("device_lost", "this device was reported lost"),
            Self::AccountErased => ("account_erased", "this account was erased"),
            other => return other,
        };
        let message =
            format!("this server says that {what}; it is not the one of this home, so nothing was changed here");
        Self::Refused { code: code.to_owned(), message, retry_after: Duration::ZERO }
    }

    /// Whether it can be better by itself in a while.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Session(_) => !self.of_store().is_some_and(StoreError::is_damage),
            Self::Unreachable { .. } | Self::Broken(_) => true,
            Self::Refused { code, .. } => {
                const PASSING: [&str; 10] = [
                    "unavailable",
                    "overloaded",
                    "timeout",
                    "shutdown",
                    "closed",
                    "session_unavailable",
                    "token_expired",
                    "too_fast",
                    "too_many_requests",
                    "displaced",
                ];
                PASSING.contains(&code.as_str())
            }
            _ => false,
        }
    }
}
