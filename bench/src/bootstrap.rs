//! A new device of somebody with a long diary: everything listed and durable, and the last 90 days before the rest.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fitme_client::sync::{self, News, Report as Synced};
use fitme_core::store::Store;
use fitme_testing::realistic::Sets;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sync_server::clock::Clock;
use sync_server::ingest::Ingest;
use tokio::sync::mpsc;

use crate::author::Author;
use crate::measure::{Peaks, Process, Runs};
use crate::merge_load::submit;
use crate::people::Person;
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::wire::compressed_pages;
use crate::world::{Server, World};

/// Records of an account, 60 % meals, 30 % moods, 10 % workouts.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Entries written and pushed together: this process is the device that is measured, and must not hold a diary.
const PUSHED_TOGETHER: usize = 5_000;
/// Rows of the finished store that are held at a time.
const ROWS_TOGETHER: usize = 1_000;
/// What a diary of so many records takes on average, so that it ends about today.
const MS_PER_RECORD: i64 = 165 * 60 * 1_000;
/// Every table of a store that receiving fills, with those before that they refer to.
const TABLES: [&str; 5] = ["feeds", "documents", "entries", "snapshots", "records"];
/// What a new device must get, in the order in which it comes: snapshots beside their list columns.
const RAW: &str = "SELECT s.snapshot || convert_to(r.columns::text, 'UTF8')
    FROM snapshots s JOIN records r USING (feed, doc_id) ORDER BY s.feed, s.doc_id DESC";
const EMAIL: &str = "ann@example.org";
/// What a phone's process may take.
const DEVICE_BYTES: f64 = 64.0 * 1024.0 * 1024.0;

#[derive(Default)]
struct Found {
    synced: Runs,
    recent: Runs,
    insert: Runs,
    pulled: Runs,
    raw: Runs,
    device: Runs,
    server_cpu: Runs,
    postgres_cpu: Runs,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (mut lines, mut peaks) = (Vec::new(), Peaks::default());
    let mut smaller = None;
    for size in SIZES {
        let account = Account::with(world, size)?;
        let mut found = Found::default();
        for repetition in 0..world.repetitions {
            account.new_device(world, size, repetition as u64, &mut found, &mut peaks)?;
        }
        let per_record = Runs(found.synced.0.iter().map(|seconds| seconds / size as f64).collect());
        lines.extend(lines_of(size, found, &per_record, smaller.as_ref()));
        smaller = Some(per_record);
    }
    Ok(Report {
        row: "bootstrap",
        work: "A new device of an account dials and receives everything, until each record is listed and on its disk. Beside \
               it one transaction that inserts the rows of the finished store in ascending order, and zstd at level 1 over \
               the raw snapshots and list columns in pages of 256 KiB. The same records in `samod` are in the row of that \
               name."
            .to_owned(),
        lines,
        peaks,
    })
}

fn lines_of(size: usize, found: Found, per_record: &Runs, smaller: Option<&Runs>) -> Vec<Line> {
    let name = format!("{}k", size / 1_000);
    let line = |what: &str, unit, runs| Line::new(format!("{name}: {what}"), unit, runs);
    let is_goal = size == 10_000;
    let synced = line("dial to in sync", Unit::Time, found.synced).beside("SQLite", found.insert);
    let recent = line("the last 90 days are listed", Unit::Time, found.recent);
    let per_record = line("time per record", Unit::Time, per_record.clone());
    vec![
        if is_goal { synced.ratio_at_most(3.0) } else { synced },
        if is_goal { recent.at_most(0.1) } else { recent },
        match smaller {
            Some(smaller) => per_record.beside("a tenth of them", smaller.clone()).ratio_at_most(1.1),
            None => per_record,
        },
        line("bytes received", Unit::Bytes, found.pulled).beside("zstd-1", found.raw).ratio_at_most(1.1),
        line("memory of the device", Unit::Bytes, found.device).at_most(DEVICE_BYTES),
        line("CPU of the server", Unit::Time, found.server_cpu),
        line("CPU of PostgreSQL", Unit::Time, found.postgres_cpu),
    ]
}

/// An account whose diary ends about today.
struct Account {
    server: Server,
}

impl Account {
    /// Its records are added as another node would that accepts them, and merged.
    fn with(world: &World, records: usize) -> Result<Self> {
        let server = world.server()?;
        let mut phone = Phone::new(&world.folder()?, "phone", 0)?;
        let person = Person::from(world.runtime.block_on(phone.sign_up(server.url(), EMAIL))?);
        let began = Clock::default().now_ms() - records as i64 * MS_PER_RECORD;
        let ingest = {
            let _inside = world.runtime.enter();
            Ingest::start(server.pool.clone(), |_| {})
        };
        let (mut entries, mut begun, mut last) = (Vec::new(), 0, None);
        for (collection, entry) in Author::since(1, Sets::OneByOne, began) {
            begun += usize::from(last != Some(entry.doc_id));
            if begun > records {
                break;
            }
            last = Some(entry.doc_id);
            entries.push((collection, entry));
            if entries.len() == PUSHED_TOGETHER {
                world.runtime.block_on(submit(&ingest, &person, &entries))?;
                entries.clear();
            }
        }
        world.runtime.block_on(submit(&ingest, &person, &entries))?;
        server.come_to_rest(world)?;
        Ok(Self { server })
    }

    fn new_device(&self, world: &World, size: usize, seed: u64, found: &mut Found, peaks: &mut Peaks) -> Result<()> {
        let folder = world.folder()?;
        let mut tablet = Phone::new(&folder, "tablet", seed)?;
        world.runtime.block_on(tablet.log_in(self.server.url(), EMAIL))?;
        let before = self.server.cpu()?;
        Process::own().forget_peak()?;
        let (report, recent) = world.runtime.block_on(sync_and_watch(&mut tablet.store))?;
        found.device.push(Process::own().peak_memory()?);
        let after = self.server.cpu()?;
        peaks.note("server", self.server.watched().peak_memory()?);
        let records: u64 = tablet.store.status()?.records.iter().map(|(_, count)| count).sum();
        ensure!(records as usize == size, "{records} of {size} records came: {report:?}");
        found.synced.push(report.took.as_secs_f64());
        found.recent.push(recent.as_secs_f64());
        found.pulled.push(report.bytes_in as f64);
        found.raw.push(world.runtime.block_on(compressed_pages(&self.server.pool, RAW))? as f64);
        found.insert.push(insert_rows(&tablet.close(), &folder.join("bare.db"))?.as_secs_f64());
        found.server_cpu.push(after.0 - before.0);
        found.postgres_cpu.push(after.1 - before.1);
        Ok(())
    }
}

/// Syncs, and says after how long the recent records of every feed were here.
async fn sync_and_watch(store: &mut Store) -> Result<(Synced, Duration)> {
    let (news, mut heard) = mpsc::channel(1_024);
    let started = Instant::now();
    let watching = async {
        let mut recent = None;
        while let Some(news) = heard.recv().await {
            if let News::Received(_, progress) = news
                && progress.has_recent
            {
                recent.get_or_insert_with(|| started.elapsed());
            }
        }
        recent
    };
    let (report, recent) = tokio::join!(sync::until_synced_telling(store, Some(news)), watching);
    Ok((report?, recent.context("the records came as entries")?))
}

/// Inserts what is in a finished store into an empty one.
fn insert_rows(store: &Path, file: &Path) -> Result<Duration> {
    drop(Store::open(file, "bare", &mut StdRng::seed_from_u64(0))?);
    let finished = Connection::open(store)?;
    let mut conn = Connection::open(file)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; DELETE FROM feeds;")?;
    let mut took = Duration::ZERO;
    let tx = conn.transaction()?;
    for table in TABLES {
        let mut query = finished.prepare(&format!("SELECT * FROM {table} ORDER BY 1"))?;
        let columns = query.column_count();
        let insert = format!("INSERT INTO {table} VALUES ({})", vec!["?"; columns].join(", "));
        let mut rows = query.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
        loop {
            // Read before it is timed, a few at a time.
            let some: Vec<Vec<Value>> = rows.by_ref().take(ROWS_TOGETHER).collect::<Result<_, _>>()?;
            if some.is_empty() {
                break;
            }
            let started = Instant::now();
            for row in some {
                tx.prepare_cached(&insert)?.execute(params_from_iter(row))?;
            }
            took += started.elapsed();
        }
    }
    let started = Instant::now();
    tx.commit()?;
    Ok(took + started.elapsed())
}
