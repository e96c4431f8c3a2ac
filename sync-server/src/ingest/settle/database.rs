//! A lane's connection to the database: kept from group to group, and patient while the database is away.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::time::{Instant, sleep, timeout};

use super::Storage;
use crate::ingest::execute::{self, Done, Failure, Held, append};
use crate::ingest::fates::Fates;
use crate::ingest::plan::Candidate;

/// Pause between two attempts to reach it.
const AWAY_PAUSE: Duration = Duration::from_millis(50);
/// Longest time one transaction may take; then its connection is taken to be dead.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

/// PostgreSQL, as one lane writes to it.
#[derive(Debug)]
pub struct Database {
    pool: PgPool,
    /// Kept from group to group: taking one from the pool costs a round trip that proves it alive.
    connection: Option<PoolConnection<Postgres>>,
    /// How long a database that is away is waited for.
    patience: Duration,
}

impl Database {
    /// No connection is made before it is needed.
    #[must_use]
    pub fn new(pool: PgPool, patience: Duration) -> Self {
        Self { pool, connection: None, patience }
    }

    /// Closes the connection, whatever it was doing.
    pub fn forget_connection(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
        }
    }

    async fn once(&mut self, candidates: &[Candidate<'_>], held: Held, fates: &Fates) -> Result<Done, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.pool.acquire().await?),
        };
        append(execute::Postgres::begin(connection, candidates).await?, candidates, held, fates).await
    }
}

impl Storage for Database {
    async fn append(&mut self, candidates: &[Candidate<'_>], held: Held, fates: &Fates) -> Result<Done, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let once = timeout(TRANSACTION_TIMEOUT, self.once(candidates, held, fates)).await;
            match once.unwrap_or(Err(Failure::Away(sqlx::Error::PoolTimedOut))) {
                Err(Failure::Away(error)) => {
                    self.forget_connection();
                    if Instant::now() >= deadline || self.pool.is_closed() {
                        return Err(Failure::Away(error));
                    }
                    sleep(AWAY_PAUSE).await;
                }
                other => return other,
            }
        }
    }
}
