//! Whose permissions changed: each such account's grants are read once for all its sessions on this node, one account
//! after the other, so that a later reading is never followed by an earlier one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::fanout::Fanout;
use crate::feeds;

/// Pause before a reading that failed is tried again. A database that stays away ends the sessions, see `hints`.
const READ_AGAIN: Duration = Duration::from_millis(100);

/// Takes the names of accounts whose permissions changed; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Regrants {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<BTreeSet<Uuid>>,
    told: Notify,
}

impl Regrants {
    /// Has the sessions of `grantee` on this node learn what they may read from now on.
    pub fn tell(&self, grantee: Uuid) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(grantee);
        self.shared.told.notify_one();
    }

    /// Starts reading until `shutdown`.
    pub fn start(&self, pool: &PgPool, fanout: &Fanout, shutdown: &CancellationToken) {
        let work = read_all(Arc::clone(&self.shared), pool.clone(), fanout.clone());
        drop(tokio::spawn(shutdown.clone().run_until_cancelled_owned(work)));
    }
}

async fn read_all(shared: Arc<Shared>, pool: PgPool, fanout: Fanout) {
    loop {
        let next = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
        let Some(grantee) = next else {
            shared.told.notified().await;
            continue;
        };
        if !fanout.has(grantee) {
            continue;
        }
        match feeds::load_grants(&pool, grantee).await {
            Ok(grants) => fanout.regranted(grantee, &Arc::new(grants)),
            Err(error) => {
                tracing::warn!(%error, "could not read what an account may read now; trying again");
                tokio::time::sleep(READ_AGAIN).await;
                shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(grantee);
            }
        }
    }
}
