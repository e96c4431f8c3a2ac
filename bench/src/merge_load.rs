//! Documents that wait to be merged: their first entries are in snapshots already, the next ones are queued.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Result, ensure};
use fitme_core::entry::Entry;
use fitme_core::id::FeedId;
use fitme_core::wire::{FeedPush, Receipt};
use fitme_core::{limits, merge};
use fitme_testing::realistic::Sets;
use serde_json::json;
use sqlx::PgPool;
use sync_server::ingest::Ingest;
use sync_server::merge::MergeWorkers;
use tokio::sync::Notify;

use crate::author::Author;
use crate::people::{self, Person};
use crate::raw_device::feed_of;
use crate::world::World;

/// Accounts that the documents belong to: enough feeds that several workers find some.
const ACCOUNTS: usize = 32;
/// Connections, as many as a server has.
pub const POOL: u32 = 16;

/// How much waits.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Documents.
    pub documents: usize,
    /// Changes of each that are not merged yet.
    pub changes: usize,
}

/// A document: what is merged of it, and what is not.
pub struct Document {
    /// Its collection's name.
    pub collection: &'static str,
    /// Its first entry.
    first: Entry,
    /// Saved after its first entry.
    pub snapshot: Vec<u8>,
    /// The entries that wait.
    pub changes: Vec<Entry>,
}

/// A database in which documents wait.
pub struct Backlog {
    /// The same documents, in memory.
    pub documents: Vec<Document>,
    pool: PgPool,
}

impl Backlog {
    /// Writes the documents, merges their first changes, and queues the others.
    pub fn prepare(world: &World, plan: Plan, seed: u64) -> Result<Self> {
        let pool = world.connect(&world.database(), POOL)?;
        let share = Plan { documents: plan.documents.div_ceil(ACCOUNTS), ..plan };
        let written = (0..ACCOUNTS as u64).map(|n| documents(seed * 1_000 + n, share)).collect::<Result<Vec<_>>>()?;
        world.runtime.block_on(async {
            let people = people::move_in(&pool, "", ACCOUNTS).await?;
            let ingest = Ingest::start(pool.clone(), |_| {});
            for (person, documents) in people.iter().zip(&written) {
                let first = documents.iter().map(|document| (document.collection, document.first.clone()));
                submit(&ingest, person, &first.collect::<Vec<_>>()).await?;
            }
            drain(&pool, 1).await?;
            for (person, documents) in people.iter().zip(&written) {
                let later = documents
                    .iter()
                    .flat_map(|document| document.changes.iter().map(|entry| (document.collection, entry.clone())));
                submit(&ingest, person, &later.collect::<Vec<_>>()).await?;
            }
            Ok(Self { documents: written.into_iter().flatten().collect(), pool })
        })
    }

    /// Changes that wait.
    pub fn changes(&self) -> usize {
        self.documents.iter().map(|document| document.changes.len()).sum()
    }

    /// Seconds until so many workers have merged everything.
    pub fn work_off(self, world: &World, workers: usize) -> Result<f64> {
        world.runtime.block_on(async {
            let took = drain(&self.pool, workers).await?;
            self.pool.close().await;
            Ok(took)
        })
    }
}

/// Has a person's entries accepted, a push after the other.
pub async fn submit(ingest: &Ingest, person: &Person, entries: &[(&'static str, Entry)]) -> Result<()> {
    for chunk in entries.chunks(limits::PUSH_ENTRIES) {
        let mut feeds: BTreeMap<FeedId, Vec<Entry>> = BTreeMap::new();
        for (collection, entry) in chunk {
            feeds.entry(feed_of(&person.adoption, collection)?).or_default().push(entry.clone());
        }
        let feeds = feeds.into_iter().map(|(feed, entries)| FeedPush { feed, entries }).collect();
        let outcome = ingest.submit(person.device, feeds).await;
        let refused = outcome.receipts.iter().find(|receipt| !matches!(receipt, Receipt::Accepted(_)));
        ensure!(refused.is_none(), "an entry was not accepted: {refused:?}");
    }
    Ok(())
}

/// The heads of all feeds that have something to merge.
pub async fn waiting(pool: &PgPool) -> Result<BTreeMap<FeedId, u64>> {
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT feed, head_seq FROM merge_queue WHERE merged_seq < head_seq").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(feed, head)| (FeedId(feed.cast_unsigned()), head.cast_unsigned())).collect())
}

async fn drain(pool: &PgPool, workers: usize) -> Result<f64> {
    let done = Arc::new(Notify::new());
    let (waiting, tell) = (Mutex::new(waiting(pool).await?), Arc::clone(&done));
    let started = Instant::now();
    let running = MergeWorkers::start(pool, workers, &Arc::new(Notify::new()), move |feed, seq| {
        let mut waiting = waiting.lock().expect("nobody panics with it");
        if waiting.get(&feed).is_some_and(|head| seq >= *head) {
            waiting.remove(&feed);
        }
        if waiting.is_empty() {
            tell.notify_one();
        }
    });
    done.notified().await;
    let took = started.elapsed().as_secs_f64();
    running.stop().await;
    let quarantined: i64 =
        sqlx::query_scalar("SELECT count(*) FROM snapshots WHERE quarantined IS NOT NULL").fetch_one(pool).await?;
    ensure!(quarantined == 0, "{quarantined} documents were not merged");
    Ok(took)
}

fn documents(seed: u64, plan: Plan) -> Result<Vec<Document>> {
    let histories = if plan.changes == 1 { edited(seed, plan) } else { workouts(seed, plan) };
    let document = |(collection, mut entries): (_, Vec<Entry>)| {
        let changes = entries.split_off(1);
        let first = entries.remove(0);
        let snapshot = merge::assemble([&first.payload[..]])?.save_nocompress();
        Ok(Document { collection, first, snapshot, changes })
    };
    histories.into_iter().map(document).collect()
}

type History = (&'static str, Vec<Entry>);

/// Records of all kinds, each with one later edit.
fn edited(seed: u64, plan: Plan) -> Vec<History> {
    let mut author = Author::new(seed, Sets::Whole);
    (0..plan.documents)
        .map(|n| {
            let (collection, first) = author.next().expect("a diary has no end");
            let edit =
                author.edit(&json!({ "note": format!("looked at again on day {n}") }), first.device_time + 60_000);
            (collection, vec![first, edit])
        })
        .collect()
}

/// Workouts with that many sets logged one by one; those with fewer are left out.
fn workouts(seed: u64, plan: Plan) -> Vec<History> {
    let mut kept: Vec<History> = Vec::new();
    for (collection, entry) in Author::new(seed, Sets::OneByOne) {
        match kept.last_mut() {
            Some((_, entries)) if entries[0].doc_id == entry.doc_id => {
                if entries.len() <= plan.changes {
                    entries.push(entry);
                }
                continue;
            }
            Some((_, entries)) if entries.len() <= plan.changes => drop(kept.pop()),
            _ => {}
        }
        if kept.len() == plan.documents {
            break;
        }
        kept.push((collection, vec![entry]));
    }
    kept
}
