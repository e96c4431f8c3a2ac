//! Removes what is over, so that no table of sign-ins and attempts grows without end.

use std::time::Duration;

use sqlx::PgPool;

use super::{lockout, mailed_tokens, oidc, sign_ins};
use crate::clock::Clock;
use crate::db::wall::{self, Role};

/// How often each node looks. Several do no harm: what is gone is gone.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Runs for as long as it is polled.
pub async fn keep_tidy(pool: PgPool, clock: Clock) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = tidy(&pool, clock.now_ms()).await {
            tracing::warn!(%error, "could not remove what is over; trying again");
        }
    }
}

/// Removes everything that is over now.
///
/// # Errors
/// When the database does not answer.
pub async fn tidy(pool: &PgPool, now_ms: i64) -> Result<(), sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN, Role::Tidy).await?;
    lockout::prune(&mut tx, now_ms).await?;
    mailed_tokens::prune(&mut tx, now_ms).await?;
    oidc::pending::prune(&mut tx, now_ms).await?;
    sign_ins::prune(&mut tx, now_ms).await?;
    tx.commit().await
}
