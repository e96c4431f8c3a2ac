//! What the nodes of one database tell each other: "feed f is at n". A hint may come late, twice or never, since a
//! session that hears of a higher head reads the entries from Postgres; the poll finds what hints missed. The poll also
//! notices that the database was replaced, whichever node was the first to see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fitme_core::id::{FeedId, Installation};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::{self, installation};
use crate::fanout::Fanout;
use crate::feeds::{self, FeedHead};
use crate::ingest::TRANSACTION_TIMEOUT;

/// The channel on which nodes notify.
const CHANNEL: &str = "feed_heads";
/// A notification gets a transaction id and so a commit record; losing one in a crash is harmless, and waiting for its
/// fsync would take the disk from the commits that devices wait for.
const NOTIFY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";
/// Feeds in one notification: well below Postgres's 8,000 bytes.
const FEEDS_PER_HINT: usize = 200;
/// How often a node looks for itself.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// How far back the poll looks: longer than an ingest transaction may take from its last statement to being visible.
const POLL_WINDOW: Duration = TRANSACTION_TIMEOUT.saturating_add(Duration::from_secs(10));
/// Connections of this task alone: behind the requests of ten thousand devices that reconnect it would be late, and being
/// late is what makes them reconnect.
const CONNECTIONS: u32 = 2;
/// A node that could not look for so long closes its sessions: it no longer knows what was granted or revoked.
const BLIND_AT_MOST: Duration = Duration::from_secs(1);
/// How long a lost listener waits before it listens again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Sends this node's hints; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    heads: Mutex<BTreeMap<FeedId, u64>>,
    waiting: Notify,
}

impl Hints {
    /// Tells the other nodes, soon: what was said about a feed before is replaced, not repeated.
    pub fn head(&self, feed: FeedId, head: u64) {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).insert(feed, head);
        self.shared.waiting.notify_one();
    }

    /// Starts sending, listening and polling until `shutdown`.
    pub fn start(&self, pool: &PgPool, fanout: &Fanout, shutdown: &CancellationToken) {
        let node = Uuid::now_v7();
        let options = db::pool_options().max_connections(CONNECTIONS).acquire_timeout(BLIND_AT_MOST);
        let pool = &options.connect_lazy_with(pool.connect_options().as_ref().clone());
        for task in [
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(send(self.shared.clone(), pool.clone(), node))),
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(listen(pool.clone(), fanout.clone(), node))),
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(poll(pool.clone(), fanout.clone()))),
        ] {
            drop(task);
        }
    }
}

async fn send(shared: Arc<Shared>, pool: PgPool, node: Uuid) {
    loop {
        shared.waiting.notified().await;
        let heads = std::mem::take(&mut *shared.heads.lock().unwrap_or_else(PoisonError::into_inner));
        let hints: Vec<_> = heads.iter().map(|(feed, head)| format!("{feed}:{head}")).collect();
        for part in hints.chunks(FEEDS_PER_HINT) {
            let payload = format!("{node} {}", part.join(","));
            let sent = sqlx::query(NOTIFY).bind(CHANNEL).bind(payload).execute(&pool).await;
            if let Err(error) = sent {
                tracing::debug!(%error, "a hint was not sent; the other nodes' poll finds the feed");
            }
        }
    }
}

async fn listen(pool: PgPool, fanout: Fanout, node: Uuid) {
    loop {
        if let Err(error) = listen_until_lost(&pool, &fanout, node).await {
            tracing::warn!(%error, "lost the connection on which other nodes' hints come; the poll goes on");
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

async fn listen_until_lost(pool: &PgPool, fanout: &Fanout, node: Uuid) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let hint = listener.recv().await?;
        let Some((from, heads)) = hint.payload().split_once(' ') else { continue };
        if from == node.to_string() {
            continue;
        }
        for (feed, head) in heads.split(',').filter_map(|part| part.split_once(':')) {
            if let (Ok(feed), Ok(head)) = (feed.parse(), head.parse()) {
                fanout.head(FeedId(feed), head);
            }
        }
    }
}

/// One query a node, not one a session.
async fn poll(pool: PgPool, fanout: Fanout) {
    let mut tick = tokio::time::interval(POLL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = Instant::now();
    let (mut seen, mut known) = (BTreeMap::new(), None);
    loop {
        tick.tick().await;
        let looked = look(&pool, POLL_WINDOW + answered.elapsed());
        match tokio::time::timeout(BLIND_AT_MOST, looked).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok((installation, changed)) => {
                answered = Instant::now();
                if known.replace(installation).is_some_and(|known| known != installation) {
                    tracing::warn!("the database was replaced; sessions end, and devices compare themselves with it");
                    fanout.cut_off();
                }
                for feed in changed.iter().filter(|feed| seen.get(&feed.feed) != Some(&(feed.head, feed.merged))) {
                    fanout.merged(feed.feed, feed.merged);
                    fanout.head(feed.feed, feed.head);
                }
                seen = changed.into_iter().map(|feed| (feed.feed, (feed.head, feed.merged))).collect();
            }
            Err(error) if answered.elapsed() > BLIND_AT_MOST => {
                tracing::warn!(%error, "the database has not answered for a second; sessions end until it does");
                fanout.cut_off();
            }
            Err(error) => tracing::debug!(%error, "could not look for feeds that changed; trying again"),
        }
    }
}

async fn look(pool: &PgPool, window: Duration) -> Result<(Installation, Vec<FeedHead>), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    Ok((installation::current(&mut connection).await?, feeds::changed_since(&mut connection, window).await?))
}
