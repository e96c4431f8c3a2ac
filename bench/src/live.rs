//! A writes, B has it: both devices connected, from before A's write until the record is in B's store. Beside it what the
//! way needs at least: one commit of PostgreSQL and one turn over a WebSocket, each measured alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fitme_client::account;
use fitme_client::sync::{self, News};
use fitme_core::id::DocId;
use fitme_core::store::Store;
use fitme_testing::realistic::{Diary, Sets};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use crate::author::Author;
use crate::echo;
use crate::measure::{Peaks, Process, Runs, Times};
use crate::phone::{Phone, credentials};
use crate::raw_device::{RawDevice, encode_pushes};
use crate::report::{Line, Report, Unit};
use crate::world::{Server, World};

/// Writes of one repetition, each begun when the one before is everywhere.
const WRITES: usize = 150;
/// About what one set is on the wire.
const ECHO_BYTES: usize = 400;
/// News a device's observer may be behind.
const NEWS: usize = 256;
/// A write that is not there by then is lost, which is no matter of speed.
const PATIENCE: Duration = Duration::from_secs(30);
const EMAIL: &str = "ann@example.org";

#[derive(Default)]
struct Found {
    live: [Runs; 2],
    bare: [Runs; 2],
    local: Runs,
    server_only: Runs,
    commit: Runs,
    echo: Runs,
    peaks: Peaks,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let mut found = Found::default();
    for repetition in 0..world.repetitions {
        repeat(world, repetition as u64, &mut found)?;
    }
    let [p50, p99] = found.live;
    let [bare_p50, bare_p99] = found.bare;
    Ok(Report {
        row: "live",
        work: format!(
            "{WRITES} writes of one device, one after the other; the time from before a write until the other device has \
             it stored and listed, durable on A, on the server and on B. Beside it one commit of one row and one turn of \
             {ECHO_BYTES} bytes over a WebSocket, each measured alone and added."
        ),
        lines: vec![
            Line::new("p50", Unit::Time, p50).beside("commit + echo", bare_p50).ratio_at_most(1.5),
            Line::new("p99", Unit::Time, p99).beside("commit + echo", bare_p99),
            Line::new("of it: A's local write", Unit::Time, found.local),
            Line::new("without stores: push to arrival", Unit::Time, found.server_only),
            Line::new("one PostgreSQL commit", Unit::Time, found.commit),
            Line::new("one WebSocket turn", Unit::Time, found.echo),
        ],
        peaks: found.peaks,
    })
}

fn repeat(world: &World, seed: u64, found: &mut Found) -> Result<()> {
    let server = world.server()?;
    let folder = world.folder()?;
    let mut phone = Phone::new(&folder, "phone", seed)?;
    let mut tablet = Phone::new(&folder, "tablet", seed)?;
    let (live, local, server_only) = world.runtime.block_on(async {
        phone.sign_up(server.url(), EMAIL).await?;
        tablet.log_in(server.url(), EMAIL).await?;
        let (live, local) = write_and_see(phone, tablet, seed).await?;
        anyhow::Ok((live, local, push_and_receive(&server, seed).await?))
    })?;
    found.peaks.note("server", server.watched().peak_memory()?);
    found.peaks.note("both devices", Process::own().peak_memory()?);
    drop(server);
    let pool = world.connect(&world.database(), 1)?;
    let commit = world.runtime.block_on(commits(&pool))?;
    let echo = echo::turns(&world.runtime, ECHO_BYTES, WRITES)?;
    for (at, percent) in [50.0, 99.0].into_iter().enumerate() {
        found.live[at].push(live.percentile(percent));
        found.bare[at].push(commit.percentile(percent) + echo.percentile(percent));
    }
    found.local.push(local.percentile(50.0));
    found.server_only.push(server_only.percentile(50.0));
    found.commit.push(commit.percentile(50.0));
    found.echo.push(echo.percentile(50.0));
    Ok(())
}

/// A device that stays in sync, as the app has it: one handle of the store writes, another one syncs on its own thread.
struct Watching {
    written: mpsc::Sender<()>,
    news: mpsc::Receiver<News>,
    _until_dropped: oneshot::Sender<()>,
}

impl Watching {
    fn start(phone: &Phone) -> Result<Self> {
        let name = phone.path().file_stem().context("a store has a name")?.to_string_lossy().into_owned();
        let mut store = Store::open(phone.path(), &name, &mut rand::rng())?;
        let (written, mut announced) = mpsc::channel(1);
        let (tell, news) = mpsc::channel(NEWS);
        let (_until_dropped, dropped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    error = sync::watch(&mut store, &mut announced, &tell) => eprintln!("a device stopped to sync: {error}"),
                    _ = dropped => {}
                }
            });
        });
        Ok(Self { written, news, _until_dropped })
    }

    async fn synced(&mut self) -> Result<()> {
        self.until(|news| matches!(news, News::Synced)).await
    }

    async fn has(&mut self, doc_id: DocId) -> Result<()> {
        self.until(|news| matches!(news, News::Applied(applied) if applied.documents.contains(&doc_id))).await
    }

    async fn until(&mut self, wanted: impl Fn(&News) -> bool) -> Result<()> {
        loop {
            match tokio::time::timeout(PATIENCE, self.news.recv()).await? {
                Some(News::Offline { reason, .. }) => bail!("a device lost the connection: {reason}"),
                Some(news) if wanted(&news) => return Ok(()),
                Some(_) => {}
                None => bail!("a device stopped to sync"),
            }
        }
    }
}

async fn write_and_see(mut phone: Phone, tablet: Phone, seed: u64) -> Result<(Times, Times)> {
    let (mut a, mut b) = (Watching::start(&phone)?, Watching::start(&tablet)?);
    a.synced().await?;
    b.synced().await?;
    let (mut live, mut local) = (Times::default(), Times::default());
    for act in Diary::new(seed, Sets::OneByOne).take(WRITES) {
        let started = Instant::now();
        let doc_id = phone.write(&act)?;
        local.push(started.elapsed());
        a.written.send(()).await?;
        b.has(doc_id).await?;
        live.push(started.elapsed());
        a.synced().await?;
    }
    Ok((live, local))
}

async fn push_and_receive(server: &Server, seed: u64) -> Result<Times> {
    let adoption = account::log_in(server.url(), &credentials(EMAIL)).await?;
    let mut author = Author::new(seed, Sets::OneByOne);
    let entries: Vec<_> = author.by_ref().take(WRITES).collect();
    let pushes = encode_pushes(&adoption, &entries, 1)?;
    let mut a = RawDevice::connect(&adoption, &[author.actor]).await?;
    let mut b = RawDevice::connect(&account::log_in(server.url(), &credentials(EMAIL)).await?, &[]).await?;
    let mut times = Times::default();
    for push in pushes.chunks(1) {
        let started = Instant::now();
        let arrival = async {
            b.entries().await?;
            anyhow::Ok(started.elapsed())
        };
        let (_, took) = tokio::try_join!(a.push(push), arrival)?;
        times.push(took);
    }
    Ok(times)
}

async fn commits(pool: &sqlx::PgPool) -> Result<Times> {
    sqlx::query("CREATE TABLE bare (n bigserial PRIMARY KEY, bytes bytea NOT NULL)").execute(pool).await?;
    let bytes = vec![7_u8; ECHO_BYTES];
    let mut times = Times::default();
    for _ in 0..WRITES {
        let started = Instant::now();
        sqlx::query("INSERT INTO bare (bytes) VALUES ($1)").bind(&bytes).execute(pool).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}
