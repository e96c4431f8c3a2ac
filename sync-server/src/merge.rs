//! Merge workers: they follow the feeds, fold new entries into their documents, and write snapshots and projections.
//!
//! A turn of a worker: [`claim`] some feeds that are behind, least recently served first; [`slice`]: read a bounded
//! part of what they lack, as of one moment; [`fold`]: compute, outside any transaction; [`write`]: store it and give
//! the feeds back. Half of a turn is waiting for the database, so each worker that computes has two turns under way. A
//! worker never locks a row of `feeds`, so ingest never waits for it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fitme_core::id::FeedId;
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub mod claim;
pub mod fold;
pub mod slice;
mod write;

use claim::Claim;
use fold::{Folded, Work};

/// Turns under way for each that computes at a time.
const TURNS: usize = 2;
/// How often an idle worker looks for feeds that nobody woke it for: other nodes' and those of workers that died.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long an idle worker lets fresh news lie. Whoever waits for the entry gets it first, on the same cores, and what
/// follows at once is merged along.
const FRESH_PAUSE: Duration = Duration::from_millis(10);
/// How long a turn that gives way to ingest is put off at most, and how often it looks meanwhile.
const GIVES_WAY_FOR: Duration = Duration::from_millis(500);
const LOOKS_AGAIN: Duration = Duration::from_millis(10);
/// Pause after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(500);

type OnMerged = Arc<dyn Fn(FeedId, u64) + Send + Sync>;
type IsPressed = Arc<dyn Fn() -> bool + Send + Sync>;

/// The workers of one node. They end when it is dropped.
#[derive(Debug)]
pub struct MergeWorkers {
    stop: CancellationToken,
    workers: JoinSet<()>,
}

impl MergeWorkers {
    /// Starts workers of whom `workers` compute at a time. Whoever appends calls `wake.notify_one()` once for each feed;
    /// `on_merged` hears how far a feed is merged, and must not block.
    #[must_use]
    pub fn start(
        pool: &PgPool,
        workers: usize,
        wake: &Arc<Notify>,
        on_merged: impl Fn(FeedId, u64) + Send + Sync + 'static,
    ) -> Self {
        Self::start_beside(pool, workers, wake, on_merged, || false)
    }

    /// The same beside something that devices wait for, as they wait for nothing here: while it `is_pressed`, each that computes
    /// has one turn under way.
    #[must_use]
    pub fn start_beside(
        pool: &PgPool,
        workers: usize,
        wake: &Arc<Notify>,
        on_merged: impl Fn(FeedId, u64) + Send + Sync + 'static,
        is_pressed: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let on_merged: OnMerged = Arc::new(on_merged);
        let is_pressed: IsPressed = Arc::new(is_pressed);
        let computing = Arc::new(Semaphore::new(workers));
        let mut set = JoinSet::new();
        for n in 0..workers * TURNS {
            let worker = Worker {
                gives_way: (n >= workers).then(|| Arc::clone(&is_pressed)),
                id: Uuid::now_v7(),
                pool: pool.clone(),
                wake: Arc::clone(wake),
                computing: Arc::clone(&computing),
                on_merged: Arc::clone(&on_merged),
            };
            let stop = stop.clone();
            set.spawn(async move {
                stop.run_until_cancelled_owned(worker.run()).await;
            });
        }
        Self { stop, workers: set }
    }

    /// Ends the workers; what they were at is taken up again later, here or on another node.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.workers.join_next().await.is_some() {}
    }
}

/// One turn of a worker that computes alone; false if no feed is behind.
///
/// # Errors
/// When it came to nothing.
pub async fn one_turn(pool: &PgPool) -> Result<bool, TurnError> {
    let (wake, computing) = (Arc::default(), Arc::new(Semaphore::new(1)));
    Worker { id: Uuid::now_v7(), pool: pool.clone(), wake, computing, gives_way: None, on_merged: Arc::new(|_, _| {}) }
        .turn()
        .await
}

#[derive(Clone)]
struct Worker {
    /// Names the worker in its leases.
    id: Uuid,
    pool: PgPool,
    wake: Arc<Notify>,
    /// How many may compute at a time.
    computing: Arc<Semaphore>,
    /// Says when this worker puts its turns off; `None` if it never does.
    gives_way: Option<IsPressed>,
    on_merged: OnMerged,
}

/// Why a turn came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Somebody else was there first.
    #[error("the worker's lease was taken over, or a document was merged by somebody else")]
    Overtaken,
    /// Nobody computes any more.
    #[error("the runtime is ending")]
    Ending,
}

impl Worker {
    async fn run(self) {
        loop {
            self.give_way().await;
            match self.turn().await {
                Ok(true) => {}
                // Whether it was woken or the time is up: it looks.
                Ok(false) => {
                    if timeout(LOOK_EVERY, self.wake.notified()).await.is_ok() {
                        sleep(FRESH_PAUSE).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a turn of merging came to nothing; it is taken again");
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    async fn give_way(&self) {
        let Some(is_pressed) = &self.gives_way else { return };
        let until = Instant::now() + GIVES_WAY_FOR;
        if is_pressed() {
            // What this one was woken for is for another.
            self.wake.notify_one();
        }
        while is_pressed() && Instant::now() < until {
            sleep(LOOKS_AGAIN).await;
        }
    }

    /// One turn; false if no feed is behind.
    async fn turn(&self) -> Result<bool, TurnError> {
        let claims = claim::claim(&self.pool, self.id).await?;
        if claims.is_empty() {
            return Ok(false);
        }
        let slice = slice::read(&self.pool, &claims).await?;
        let folded = self.fold(slice.work, &claims).await?;
        write::write(&self.pool, self.id, &claim::accounts(&claims), &folded, &slice.merged).await?;
        for (feed, seq) in slice.merged {
            (self.on_merged)(feed, seq);
        }
        Ok(true)
    }

    /// Computes when it is this worker's turn to, and keeps the leases meanwhile.
    async fn fold(&self, work: Vec<Work>, claims: &[Claim]) -> Result<Vec<Folded>, TurnError> {
        if work.is_empty() {
            return Ok(Vec::new());
        }
        let mut folding = pin!(self.compute(work));
        let mut renewal = interval(claim::RENEW_EVERY);
        renewal.tick().await;
        loop {
            tokio::select! {
                folded = &mut folding => return folded,
                _ = renewal.tick() => claim::renew(&self.pool, self.id, claims).await?,
            }
        }
    }

    /// On a thread for blocking work.
    async fn compute(&self, work: Vec<Work>) -> Result<Vec<Folded>, TurnError> {
        let _permit = self.computing.acquire().await;
        let folding = spawn_blocking(move || work.into_iter().map(fold::fold).collect());
        folding.await.map_err(|_| TurnError::Ending)
    }
}
