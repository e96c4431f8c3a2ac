//! Whose permissions changed: each such account's grants are read once for all its sessions on this node, one account
//! after the other, so that a later reading is never followed by an earlier one. That nothing is sent which is no longer
//! granted does not hang on it, each page of somebody else's feed is judged when it is read; it is how sessions learn that
//! there is something new, and that something has to be removed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db;
use crate::fanout::Fanout;
use crate::feeds;

/// How long one reading may take; then the account's sessions end, and their devices compare when they come back.
const READ_AT_MOST: Duration = Duration::from_secs(1);

/// Takes the names of accounts whose permissions changed; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Regrants {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Each account at most once.
    waiting: Mutex<VecDeque<Uuid>>,
    told: Notify,
}

impl Regrants {
    /// Has the sessions of `grantee` on this node learn what they may read from now on.
    pub fn tell(&self, grantee: Uuid) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.contains(&grantee) {
            waiting.push_back(grantee);
            self.shared.told.notify_one();
        }
    }

    /// Starts reading until `shutdown`, over a connection of its own: behind the requests of devices it would be late.
    pub fn start(&self, pool: &PgPool, fanout: &Fanout, shutdown: &CancellationToken) {
        let pool = db::beside(pool, 1, READ_AT_MOST);
        let work = read_all(Arc::clone(&self.shared), pool, fanout.clone());
        drop(tokio::spawn(shutdown.clone().run_until_cancelled_owned(work)));
    }
}

async fn read_all(shared: Arc<Shared>, pool: PgPool, fanout: Fanout) {
    loop {
        let next = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(grantee) = next else {
            shared.told.notified().await;
            continue;
        };
        if !fanout.has(grantee) {
            continue;
        }
        match timeout(READ_AT_MOST, feeds::load_grants(&pool, grantee)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
        {
            Ok(grants) => fanout.regranted(grantee, &Arc::new(grants)),
            Err(error) => {
                tracing::warn!(%error, account = %grantee, "could not read what an account may read now; its sessions end");
                fanout.cut_off_account(grantee);
            }
        }
    }
}
