//! What every request handler shares.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::accounts::device_key::Challenges;
use crate::accounts::housekeeping;
use crate::accounts::oidc::provider::Provider;
use crate::audit::{self, Audit};
use crate::auth::access_token::AccessTokens;
use crate::auth::signing_keys::{SigningKeys, SigningKeysError};
use crate::clock::Clock;
use crate::devices::{Allowance, Devices};
use crate::edge::Edge;
use crate::engine::Engine;
use crate::erase::Backups;
use crate::mail::Mailer;
use crate::master_key::MasterKey;
use crate::passwords::Passwords;
use crate::web_writes::WebWriter;

/// Longest a request may take to its answer; WebSockets are answered at once and live on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests worked on at once; what comes beyond is answered `overloaded` immediately. Idle WebSockets do not count.
const MAX_REQUESTS: usize = 1024;

/// Shared by all handlers; cloning is cheap.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Connections to the database.
    pub pool: PgPool,
    /// Runs the sync sessions.
    pub engine: Engine,
    /// What time it is.
    pub clock: Clock,
    /// Makes and reads access tokens.
    pub tokens: AccessTokens,
    /// Opens what the database keeps sealed.
    pub master: MasterKey,
    /// Keeps the records of access.
    pub audit: Audit,
    /// Sends letters.
    pub mailer: Mailer,
    /// What devices sign to prove themselves.
    pub challenges: Challenges,
    /// Signs people in beside passwords, where the operator named one.
    pub oidc: Option<Provider>,
    /// Writes for people who have no store of their own.
    pub web_writer: WebWriter,
    /// Hashes passwords, a few at a time.
    pub passwords: Passwords,
    /// The devices that are connected to this node.
    pub devices: Devices,
    /// What every request meets first.
    pub edge: Edge,
    /// Cancelled when the server ends: long-lived connections say goodbye then.
    pub shutdown: CancellationToken,
    /// Bounds of every request.
    pub limits: Limits,
}

/// Bounds of every request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time to the answer.
    pub timeout: Duration,
    /// Most requests at once.
    pub requests: usize,
    /// What one device may take.
    pub device: Allowance,
    /// In which what was erased still is.
    pub backups: Backups,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: REQUEST_TIMEOUT,
            requests: MAX_REQUESTS,
            device: Allowance::default(),
            backups: Backups::default(),
        }
    }
}

impl AppState {
    /// The state of a server on this database.
    ///
    /// # Errors
    /// When the keys that sign access tokens cannot be had.
    pub async fn new(
        pool: PgPool,
        master: MasterKey,
        clock: Clock,
        mailer: Mailer,
        audit: Audit,
        shutdown: CancellationToken,
    ) -> Result<Self, SigningKeysError> {
        let keys = SigningKeys::open(pool.clone(), master.clone(), clock.clone()).await?;
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(keys.clone().keep_fresh()));
        let tidy = housekeeping::keep_tidy(pool.clone(), clock.clone());
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(tidy));
        let keep = audit.clone().keep(audit::GATHER_EVERY, audit::SIGN_EVERY);
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(keep));
        Ok(Self {
            engine: Engine::start(pool.clone(), clock.clone(), &shutdown),
            tokens: AccessTokens::new(keys, clock.clone()),
            challenges: Challenges::new(&master),
            master,
            mailer,
            audit,
            oidc: None,
            web_writer: WebWriter::default(),
            passwords: Passwords::default(),
            devices: Devices::default(),
            edge: Edge::default(),
            limits: Limits::default(),
            pool,
            clock,
            shutdown,
        })
    }
}
