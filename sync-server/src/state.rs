//! What every request handler shares.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::devices::{Allowance, Devices};
use crate::engine::Engine;
use crate::passwords::Passwords;

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
    /// Hashes passwords, a few at a time.
    pub passwords: Passwords,
    /// The devices that are connected to this node.
    pub devices: Devices,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: REQUEST_TIMEOUT, requests: MAX_REQUESTS, device: Allowance::default() }
    }
}

impl AppState {
    /// The state of a server on this database.
    #[must_use]
    pub fn new(pool: PgPool, shutdown: CancellationToken) -> Self {
        let engine = Engine::start(pool.clone(), &shutdown);
        let (passwords, devices, limits) = (Passwords::default(), Devices::default(), Limits::default());
        Self { pool, engine, passwords, devices, shutdown, limits }
    }
}
