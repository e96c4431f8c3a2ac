//! Whether one account's backlog holds up another account's live changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fitme_testing::realistic::Sets;
use sync_server::ingest::Ingest;
use sync_server::merge::MergeWorkers;
use tokio::sync::{Notify, mpsc};

use crate::author::Author;
use crate::measure::{Runs, Times};
use crate::merge_load::{POOL, submit, waiting};
use crate::people;
use crate::raw_device::feed_of;
use crate::report::{Line, Unit};
use crate::world::World;

/// Records that wait.
pub const BACKLOG: usize = 10_000;
/// Between two live changes.
const PAUSE: Duration = Duration::from_millis(10);
/// The goal for the slowest of a hundred.
const MOST: f64 = 0.100;

/// What was found.
#[derive(Default)]
pub struct Found {
    p50: Runs,
    p99: Runs,
    backlog: Runs,
    live: Runs,
}

impl Found {
    /// One repetition.
    pub fn measure(&mut self, world: &World, workers: usize, seed: u64) -> Result<()> {
        let pool = world.connect(&world.database(), POOL)?;
        let backlog: Vec<_> = Author::new(2 * seed, Sets::Whole).take(BACKLOG).collect();
        world.runtime.block_on(async {
            let people = people::move_in(&pool, "", 2).await?;
            let news = Arc::new(Notify::new());
            let wake = Arc::clone(&news);
            let ingest = Ingest::start(pool.clone(), move |_| wake.notify_one());
            submit(&ingest, &people[0], &backlog).await?;
            let mut behind = waiting(&pool).await?;
            let live_feed = feed_of(&people[1].adoption, "moods")?;
            let (tell, mut merged) = mpsc::unbounded_channel();
            let started = Instant::now();
            let workers = MergeWorkers::start(&pool, workers, &news, move |feed, seq| {
                let _nobody_listens_any_more = tell.send((feed, seq, Instant::now()));
            });
            let moods = Author::new(2 * seed + 1, Sets::Whole).filter(|(collection, _)| *collection == "moods");
            let mut times = Times::default();
            let mut last = 0;
            for (seq, mood) in (1..).zip(moods) {
                submit(&ingest, &people[1], &[mood]).await?;
                let receipted = Instant::now();
                while last < seq {
                    let (feed, merged, at) = merged.recv().await.context("the workers ended")?;
                    if feed == live_feed {
                        last = merged;
                        times.push(at.saturating_duration_since(receipted));
                    } else if behind.get(&feed).is_some_and(|head| merged >= *head) {
                        behind.remove(&feed);
                    }
                }
                if behind.is_empty() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            self.backlog.push(BACKLOG as f64 / started.elapsed().as_secs_f64());
            self.p50.push(times.percentile(50.0));
            self.p99.push(times.percentile(99.0));
            self.live.push(last as f64);
            workers.stop().await;
            pool.close().await;
            Ok(())
        })
    }

    /// As lines of the report.
    pub fn lines(self) -> Vec<Line> {
        vec![
            Line::new("live change beside a backlog: p50", Unit::Time, self.p50),
            Line::new("live change beside a backlog: p99", Unit::Time, self.p99).at_most(MOST),
            Line::new("live changes meanwhile", Unit::Count, self.live),
            Line::new("backlog, new records", Unit::Rate, self.backlog),
        ]
    }
}
