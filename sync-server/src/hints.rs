//! What the nodes of one database tell each other: "feed f is at n", "something was granted to this account or taken from
//! it", "sign-in s was ended". A hint may come late, twice or never, since a session that hears of a higher head reads the
//! entries from Postgres; the poll finds what hints missed. The poll also notices that the database was replaced, whichever
//! node was the first to see it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fitme_core::id::{FeedId, Installation};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::accounts::sign_ins;
use crate::db::wall::{self, Role};
use crate::db::{self, installation};
use crate::fanout::Fanout;
use crate::ingest::TRANSACTION_TIMEOUT;
use crate::live_sign_ins::LiveSignIns;
use crate::regrants::Regrants;
use crate::{erase, feeds, grants};

/// The channels on which nodes notify.
const HEADS: &str = "feed_heads";
const GRANTEES: &str = "grantees";
/// Feeds or accounts in one notification: below Postgres's 8,000 bytes.
const NAMES_PER_HINT: usize = 200;
/// How often a node looks for itself.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// How far back the poll looks: longer than an ingest transaction may take from its last statement to being visible.
const POLL_WINDOW: Duration = TRANSACTION_TIMEOUT.saturating_add(Duration::from_secs(10));
/// The same for erased accounts: longer than the erasure of the largest one takes.
const ERASURE_WINDOW: Duration = Duration::from_secs(3_600);
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
    grantees: Mutex<BTreeSet<Uuid>>,
    waiting: Notify,
}

impl Hints {
    /// Tells the other nodes, soon: of a feed only the highest number is said.
    pub fn head(&self, feed: FeedId, head: u64) {
        let mut heads = self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let said = heads.entry(feed).or_default();
        *said = head.max(*said);
        drop(heads);
        self.shared.waiting.notify_one();
    }

    /// Tells the other nodes that something was granted to this account, or taken from it.
    pub fn regranted(&self, grantee: Uuid) {
        self.shared.grantees.lock().unwrap_or_else(PoisonError::into_inner).insert(grantee);
        self.shared.waiting.notify_one();
    }

    /// Starts sending, listening and polling until `shutdown`.
    pub fn start(
        &self,
        pool: &PgPool,
        fanout: &Fanout,
        regrants: &Regrants,
        sign_ins: &LiveSignIns,
        shutdown: &CancellationToken,
    ) {
        let ear = Ear { fanout: fanout.clone(), regrants: regrants.clone(), sign_ins: sign_ins.clone() };
        let node = Uuid::now_v7();
        let pool = db::beside(pool, CONNECTIONS, BLIND_AT_MOST);
        for task in [
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(send(self.shared.clone(), pool.clone(), node))),
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(listen(pool.clone(), ear.clone(), node))),
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(poll(pool.clone(), ear.clone()))),
        ] {
            drop(task);
        }
    }
}

/// Who on this node is told what was heard.
#[derive(Debug, Clone)]
struct Ear {
    fanout: Fanout,
    regrants: Regrants,
    sign_ins: LiveSignIns,
}

async fn send(shared: Arc<Shared>, pool: PgPool, node: Uuid) {
    loop {
        shared.waiting.notified().await;
        let grantees = std::mem::take(&mut *shared.grantees.lock().unwrap_or_else(PoisonError::into_inner));
        notify(&pool, node, GRANTEES, &grantees.iter().map(Uuid::to_string).collect::<Vec<_>>()).await;
        let heads = std::mem::take(&mut *shared.heads.lock().unwrap_or_else(PoisonError::into_inner));
        let heads: Vec<_> = heads.iter().map(|(feed, head)| format!("{feed}:{head}")).collect();
        notify(&pool, node, HEADS, &heads).await;
    }
}

async fn notify(pool: &PgPool, node: Uuid, channel: &str, names: &[String]) {
    for part in names.chunks(NAMES_PER_HINT) {
        let payload = format!("{node} {}", part.join(","));
        if let Err(error) = db::notify(pool, channel, &payload).await {
            tracing::debug!(%error, channel, "a hint was not sent; the other nodes' poll finds what it is about");
        }
    }
}

async fn listen(pool: PgPool, ear: Ear, node: Uuid) {
    loop {
        if let Err(error) = listen_until_lost(&pool, &ear, node).await {
            tracing::warn!(%error, "lost the connection on which other nodes' hints come; the poll goes on");
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

async fn listen_until_lost(pool: &PgPool, ear: &Ear, node: Uuid) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([HEADS, GRANTEES, sign_ins::ENDED_CHANNEL]).await?;
    loop {
        let hint = listener.recv().await?;
        match hint.payload().split_once(' ') {
            None if hint.channel() == sign_ins::ENDED_CHANNEL => ear.ended(hint.payload()),
            Some((from, names)) if from != node.to_string() => ear.heard(hint.channel(), names),
            _ => {}
        }
    }
}

impl Ear {
    fn ended(&self, sign_in: &str) {
        if let Ok(sign_in) = sign_in.parse() {
            self.sign_ins.end(sign_in);
        }
    }

    fn heard(&self, channel: &str, names: &str) {
        for name in names.split(',') {
            if channel == GRANTEES
                && let Ok(grantee) = name.parse()
            {
                self.regrants.tell(grantee);
            } else if let Some((Ok(feed), Ok(head))) = name.split_once(':').map(|(f, h)| (f.parse(), h.parse())) {
                self.fanout.head(FeedId(feed), head);
            }
        }
    }

    /// Tells what changed since `before`, what was looked at before.
    fn looked(&self, now: &Changes, before: &Changes) {
        for (feed, (head, merged)) in now.feeds.iter().filter(|(feed, at)| before.feeds.get(feed) != Some(at)) {
            self.fanout.merged(*feed, *merged);
            self.fanout.head(*feed, *head);
        }
        let regranted = now.grantees.iter().filter(|(grantee, version)| before.grantees.get(grantee) != Some(version));
        for grantee in regranted.map(|(grantee, _)| grantee).chain(&now.turned) {
            self.regrants.tell(*grantee);
        }
        now.ended.iter().for_each(|sign_in| self.sign_ins.end(*sign_in));
        self.sign_ins.end_of_devices(&now.erased);
    }
}

/// What changed lately, as the database knows it.
#[derive(Debug, Default)]
struct Changes {
    feeds: BTreeMap<FeedId, (u64, u64)>,
    grantees: BTreeMap<Uuid, u64>,
    /// Grantees for whom a time began or ended.
    turned: Vec<Uuid>,
    /// Sign-ins that were ended; twice changes nothing.
    ended: Vec<Uuid>,
    /// Devices of accounts that were erased, and their sign-ins with them; twice changes nothing.
    erased: HashSet<Uuid>,
}

async fn look(pool: &PgPool, since: Duration) -> Result<(Installation, Changes), sqlx::Error> {
    let db = &mut *wall::begin_as(pool, wall::BEGIN, Role::Poll).await?;
    let installation = installation::current(db).await?;
    let feeds = feeds::changed_since(db, POLL_WINDOW + since).await?;
    let changes = Changes {
        feeds: feeds.into_iter().map(|feed| (feed.feed, (feed.head, feed.merged))).collect(),
        grantees: grants::changed_since(db, POLL_WINDOW + since).await?.into_iter().collect(),
        turned: grants::turned_within(db, 2 * POLL_EVERY + since).await?,
        ended: sign_ins::ended_since(db, POLL_WINDOW + since).await?,
        erased: erase::devices_since(db, ERASURE_WINDOW + since).await?,
    };
    Ok((installation, changes))
}

/// A few queries a node, not one a session.
async fn poll(pool: PgPool, ear: Ear) {
    let mut tick = tokio::time::interval(POLL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = Instant::now();
    let (mut seen, mut known) = (Changes::default(), None);
    loop {
        tick.tick().await;
        let looked = look(&pool, answered.elapsed());
        match tokio::time::timeout(BLIND_AT_MOST, looked).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok((installation, changed)) => {
                answered = Instant::now();
                if known.replace(installation).is_some_and(|known| known != installation) {
                    tracing::warn!("the database was replaced; sessions end, and devices compare themselves with it");
                    ear.fanout.cut_off();
                }
                ear.looked(&changed, &seen);
                seen = changed;
            }
            Err(error) if answered.elapsed() > BLIND_AT_MOST => {
                tracing::warn!(%error, "the database has not answered for a second; sessions end until it does");
                ear.fanout.cut_off();
            }
            Err(error) => tracing::debug!(%error, "could not look for feeds that changed; trying again"),
        }
    }
}
