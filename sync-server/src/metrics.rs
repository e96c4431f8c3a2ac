//! What this node does, in numbers for Prometheus: `/metrics` on an address of its own, which only this computer reaches. No
//! label names a person, a device or an address. Counting is an atomic addition; what can be looked up is looked up when
//! somebody asks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use fitme_core::wire::Receipt;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::db::wall::{self, Role};
use crate::engine::Engine;
use crate::error::{ApiError, Refusal};
use crate::state::AppState;

/// What stands before each name.
const PREFIX: &str = "fitme";
/// The format's name.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// From half a millisecond to eight seconds.
const SETTLE_BUCKETS: (f64, f64, u16) = (0.0005, 2.0, 15);
/// Feeds that are behind and looked at one by one; more are only counted.
const FEEDS_LOOKED_AT: i64 = 10_000;
/// A database that takes longer is not waited for: what it would have told is left as it was.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// `name="value"`.
type Label = [(&'static str, &'static str); 1];

/// The numbers of one node; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Metrics {
    numbers: Arc<Numbers>,
}

#[derive(Debug)]
struct Numbers {
    registry: Registry,
    accepted: Counter,
    duplicate: Counter,
    rejected: Counter,
    undecided: Counter,
    settling: Histogram,
    /// One for each row of the table of errors, in its order.
    refusals: Vec<Counter>,
    sessions: Gauge,
    unwritten: Gauge,
    unmerged_feeds: Gauge,
    unmerged_entries: Gauge,
    unmerged_for: Gauge<f64, std::sync::atomic::AtomicU64>,
    behind: Mutex<HashMap<i64, Behind>>,
}

/// A feed that was behind when it was last looked at.
#[derive(Debug, Clone, Copy)]
struct Behind {
    merged: i64,
    since: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let (entries, refusals) = (Family::<Label, Counter>::default(), Family::<Label, Counter>::default());
        let entry = |outcome| entries.get_or_create_owned(&[("outcome", outcome)]);
        let (start, factor, length) = SETTLE_BUCKETS;
        let numbers = Numbers {
            accepted: entry("accepted"),
            duplicate: entry("duplicate"),
            rejected: entry("rejected"),
            undecided: entry("undecided"),
            settling: Histogram::new(exponential_buckets(start, factor, length)),
            refusals: ApiError::ALL.map(|error| refusals.get_or_create_owned(&[("code", error.row().code)])).to_vec(),
            sessions: Gauge::default(),
            unwritten: Gauge::default(),
            unmerged_feeds: Gauge::default(),
            unmerged_entries: Gauge::default(),
            unmerged_for: Gauge::default(),
            behind: Mutex::default(),
            registry: Registry::default(),
        };
        registry.register("entries", "Entries that devices pushed, by what became of them", entries);
        registry.register("refusals", "Requests that were refused, by code; lock-outs are too_many_attempts", refusals);
        registry.register("sessions", "Sessions that are open", numbers.sessions.clone());
        let settling = numbers.settling.clone();
        let about = "From a push to its receipts, the commit included";
        registry.register_with_unit("ingest", about, Unit::Seconds, settling);
        registry.register("ingest_waiting_kib", "Payload that waits to be written", numbers.unwritten.clone());
        registry.register(
            "merge_waiting_feeds",
            "Feeds with entries that are not merged",
            numbers.unmerged_feeds.clone(),
        );
        registry.register("merge_waiting_entries", "Entries that are not merged", numbers.unmerged_entries.clone());
        let about = "For how long the feed that waits longest has not gone on, as far as was looked";
        registry.register_with_unit("merge_waiting", about, Unit::Seconds, numbers.unmerged_for.clone());
        Self { numbers: Arc::new(Numbers { registry, ..numbers }) }
    }
}

impl Metrics {
    /// Counts what became of a push.
    pub fn settled(&self, receipts: &[Receipt], took: Duration) {
        let count = |counter: &Counter, of: fn(&Receipt) -> bool| {
            let number = receipts.iter().filter(|receipt| of(receipt)).count();
            counter.inc_by(number as u64);
        };
        count(&self.numbers.accepted, |receipt| matches!(receipt, Receipt::Accepted(_)));
        count(&self.numbers.duplicate, |receipt| matches!(receipt, Receipt::Duplicate { .. }));
        count(&self.numbers.rejected, |receipt| matches!(receipt, Receipt::Rejected(_)));
        count(&self.numbers.undecided, |receipt| matches!(receipt, Receipt::Retry(_)));
        self.numbers.settling.observe(took.as_secs_f64());
    }

    fn refused(&self, error: ApiError) {
        self.numbers.refusals[error as usize].inc();
    }

    /// Everything as text, with what is looked up now.
    async fn text(&self, engine: &Engine) -> String {
        self.numbers.sessions.set(count(engine.live.connections()));
        self.numbers.unwritten.set(count(engine.ingest.waiting_kib()));
        match tokio::time::timeout(DATABASE_TIMEOUT, self.look_at_merging(&engine.pool)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "how far merging is could not be looked up"),
            Err(_) => tracing::warn!("the database took too long to say how far merging is"),
        }
        let mut text = String::new();
        match encode(&mut text, &self.numbers.registry) {
            Ok(()) => text,
            Err(error) => unreachable!("writing into a text does not fail: {error}"),
        }
    }

    async fn look_at_merging(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut tx = wall::begin_as(pool, wall::BEGIN, Role::Merge).await?;
        let total = sqlx::query!(
            r#"SELECT count(*) AS "feeds!", coalesce(sum(head_seq - merged_seq), 0)::bigint AS "entries!"
               FROM merge_queue WHERE merged_seq < head_seq"#
        )
        .fetch_one(&mut *tx)
        .await?;
        let waiting = sqlx::query!(
            "SELECT feed, merged_seq FROM merge_queue WHERE merged_seq < head_seq ORDER BY served_at LIMIT $1",
            FEEDS_LOOKED_AT
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        self.numbers.unmerged_feeds.set(total.feeds);
        self.numbers.unmerged_entries.set(total.entries);
        let waiting = waiting.iter().map(|row| (row.feed, row.merged_seq));
        self.numbers.unmerged_for.set(self.longest_wait(waiting, Instant::now()).as_secs_f64());
        Ok(())
    }

    /// How long the first of these feeds has stood still, by what was seen the times before.
    fn longest_wait(&self, waiting: impl Iterator<Item = (i64, i64)>, now: Instant) -> Duration {
        let mut behind = self.numbers.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |(feed, merged)| {
            let before = behind.get(&feed).filter(|before| before.merged == merged).copied();
            (feed, before.unwrap_or(Behind { merged, since: now }))
        };
        let seen: HashMap<_, _> = waiting.map(seen).collect();
        *behind = seen;
        behind.values().map(|feed| now - feed.since).max().unwrap_or_default()
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Counts an answer that is a refusal, whichever layer gave it.
pub async fn count_refusal<B>(State(state): State<AppState>, response: Response<B>) -> Response<B> {
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        state.engine.metrics.refused(refusal.error);
    }
    response
}

/// Why there are no metrics; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Others could read them.
    #[error("FITME_METRICS_ADDR={0} can be reached from elsewhere; name a loopback address such as 127.0.0.1:9100")]
    NotLoopback(SocketAddr),
    /// The address cannot be had.
    #[error("the metrics cannot be served at {address} ({source}); name another address by FITME_METRICS_ADDR")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Takes the address at which the metrics will be served.
///
/// # Errors
/// When it is none of this computer alone, or is taken.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, MetricsError> {
    if !address.ip().is_loopback() {
        return Err(MetricsError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| MetricsError::Listen { address, source })
}

/// Serves the metrics until `shutdown`.
pub fn serve(listener: TcpListener, engine: Engine, shutdown: CancellationToken) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "the metrics are served");
    }
    let app = Router::new().route("/metrics", get(answer)).with_state(engine);
    tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).into_future());
}

async fn answer(State(engine): State<Engine>) -> impl IntoResponse {
    let text = engine.metrics.clone().text(&engine).await;
    (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_waits_from_when_it_was_first_seen_until_it_goes_on() {
        let (metrics, start) = (Metrics::default(), Instant::now());
        let after = |seconds, feeds: &[(i64, i64)]| {
            metrics.longest_wait(feeds.iter().copied(), start + Duration::from_secs(seconds)).as_secs()
        };
        assert_eq!(after(0, &[(1, 5), (2, 0)]), 0);
        assert_eq!(after(10, &[(1, 5), (2, 3)]), 10, "the first stands still");
        assert_eq!(after(20, &[(1, 6), (2, 3)]), 10, "the second since it was last seen to go on");
        assert_eq!(after(30, &[]), 0);
        assert_eq!(after(40, &[(2, 3)]), 0, "nothing is remembered of those that are merged");
    }

    #[test]
    fn every_error_has_its_counter() {
        let metrics = Metrics::default();
        for error in ApiError::ALL {
            metrics.refused(error);
        }
        let mut text = String::new();
        encode(&mut text, &metrics.numbers.registry).expect("a text can be written");
        for error in ApiError::ALL {
            let line = format!("fitme_refusals_total{{code=\"{}\"}} 1\n", error.row().code);
            assert!(text.contains(&line), "{line} is missing in {text}");
        }
    }
}
