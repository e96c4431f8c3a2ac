//! Many people share with one trainer: what reconnecting costs then, and how soon a revocation silences the sessions it
//! ends, on whatever node they are.

use std::time::Instant;

use anyhow::{Result, ensure};
use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::policy::is_shareable;
use fitme_testing::ServerProcess;
use fitme_testing::realistic::Sets;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use sqlx::PgPool;
use sync_server::ingest::Ingest;
use uuid::Uuid;

use crate::author::Author;
use crate::measure::{Peaks, Runs, Times};
use crate::merge_load::submit;
use crate::people::{self, Person};
use crate::phone::Phone;
use crate::raw_device::{RawDevice, encode_pushes};
use crate::report::{Line, Report, Unit};
use crate::world::{Server, World};

/// Clients of the trainer, each with all feeds that can be shared: 1,200 feeds of others.
const CLIENTS: usize = 100;
/// Reconnects of one repetition: the kernel counts CPU in steps of 10 ms, which is then a quarter of a millisecond each.
const RECONNECTS: usize = 40;
/// Sessions of as many grantees, half of them on each of two nodes.
const SESSIONS: usize = 100;
const EMAIL: &str = "tom@example.org";
const NOW_MS: i64 = 1_800_000_000_000;

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let mut peaks = Peaks::default();
    let mut lines = reconnects(world, &mut peaks)?;
    lines.extend(revocations(world, &mut peaks)?);
    Ok(Report {
        row: "sharing",
        work: format!(
            "A trainer with whom {CLIENTS} people share 12 feeds each reconnects, with nothing new and after one of them \
             logged something; the CPU is that of server and PostgreSQL, less what both take at rest. Then one person revokes \
             what {SESSIONS} others see, one after the other, while all of them are connected to two nodes of one database; \
             the time from the push of a revocation until its grantee is told that it gets nothing more."
        ),
        lines,
        peaks,
    })
}

fn reconnects(world: &World, peaks: &mut Peaks) -> Result<Vec<Line>> {
    let (server, folder) = (world.server()?, world.folder()?);
    let mut phone = Phone::new(&folder, "trainer", 0)?;
    let trainer = Person::from(world.runtime.block_on(phone.sign_up(server.url(), EMAIL))?);
    let clients = world.runtime.block_on(people::move_in(&server.pool, server.url(), CLIENTS))?;
    for client in &clients {
        world.runtime.block_on(grant(&server.pool, client, &trainer, DocId::random(NOW_MS, &mut rand::rng())))?;
    }
    world.runtime.block_on(phone.sync())?;
    let held = phone.store.feeds()?.len();
    ensure!(held == CLIENTS * 12 + 14, "the trainer has {held} feeds");
    server.come_to_rest(world)?;
    let (mut wall, mut bytes, mut messages) = (Runs::default(), Runs::default(), Runs::default());
    let (mut cpu, mut server_cpu) = (Runs::default(), Runs::default());
    let (mut news_bytes, mut news_messages) = (Runs::default(), Runs::default());
    let mut author = Author::new(7, Sets::Whole);
    for _ in 0..world.repetitions {
        let (mut times, before, began) = (Times::default(), server.cpu()?, Instant::now());
        for _ in 0..RECONNECTS {
            let report = world.runtime.block_on(phone.sync())?;
            ensure!(report.received == 0, "something was new: {report:?}");
            times.push(report.took);
            bytes.push((report.bytes_in + report.bytes_out) as f64);
            messages.push(report.messages as f64);
        }
        let after = server.cpu()?;
        wall.push(times.percentile(50.0));
        // What both do anyway, in as long a time, is no part of a reconnect.
        world.runtime.block_on(async { tokio::time::sleep(began.elapsed()).await });
        let rested = server.cpu()?;
        let of_server = (after.0 - before.0) - (rested.0 - after.0);
        let of_postgres = (after.1 - before.1) - (rested.1 - after.1);
        cpu.push((of_server + of_postgres) / RECONNECTS as f64);
        server_cpu.push(of_server / RECONNECTS as f64);
        log_one(world, &server, &clients[0], &mut author)?;
        let report = world.runtime.block_on(phone.sync())?;
        ensure!(report.received == 1, "one entry was new: {report:?}");
        news_bytes.push((report.bytes_in + report.bytes_out) as f64);
        news_messages.push(report.messages as f64);
    }
    peaks.note("server", server.watched().peak_memory()?);
    Ok(vec![
        Line::new("1,214 feeds: messages", Unit::Count, messages).at_most(2.0),
        Line::new("1,214 feeds: bytes both ways", Unit::Bytes, bytes).at_most(300.0),
        Line::new("1,214 feeds: CPU of the server", Unit::Time, server_cpu).at_most(0.005),
        Line::new("the same and PostgreSQL's", Unit::Time, cpu),
        Line::new("1,214 feeds: dial to in sync", Unit::Time, wall),
        Line::new("1,214 feeds, one entry new: messages", Unit::Count, news_messages),
        Line::new("1,214 feeds, one entry new: bytes", Unit::Bytes, news_bytes).at_most(8.0 * 1024.0),
    ])
}

fn log_one(world: &World, server: &Server, client: &Person, author: &mut Author) -> Result<()> {
    let entry = author.next().into_iter().collect::<Vec<_>>();
    world.runtime.block_on(async {
        let ingest = Ingest::start(server.pool.clone(), |_| {});
        submit(&ingest, client, &entry).await
    })?;
    server.merged(world)
}

fn revocations(world: &World, peaks: &mut Peaks) -> Result<Vec<Line>> {
    let (mut median, mut last) = (Runs::default(), Runs::default());
    for _ in 0..world.repetitions {
        let database = world.database();
        let pool = world.connect(&database, 2)?;
        let (here, there) = (ServerProcess::on(&database.url), ServerProcess::on(&database.url));
        let owner = world.runtime.block_on(people::move_in(&pool, here.url(), 1))?.remove(0);
        let times = world.runtime.block_on(revoke_all(&pool, &owner, [here.url(), there.url()]))?;
        median.push(times.percentile(50.0));
        last.push(times.percentile(99.0));
        peaks.note("server", crate::measure::Process::with_pid(here.pid()).peak_memory()?);
    }
    Ok(vec![
        Line::new("revocation to silence: p50", Unit::Time, median).at_most(0.050),
        Line::new("revocation to silence: p99", Unit::Time, last).at_most(1.0),
    ])
}

async fn revoke_all(pool: &PgPool, owner: &Person, nodes: [&str; 2]) -> Result<Times> {
    let mut author = Author::new(9, Sets::Whole);
    let mut grantees = Vec::new();
    for n in 0..SESSIONS {
        let grantee = people::move_in(pool, nodes[n % 2], 1).await?.remove(0);
        let grant_id = DocId::random(NOW_MS, &mut StdRng::seed_from_u64(n as u64));
        grant(pool, owner, &grantee, grant_id).await?;
        grantees.push((grant_id, RawDevice::connect(&grantee.adoption, &[]).await?));
    }
    let mut phone = RawDevice::connect(&owner.adoption, &[author.actor()]).await?;
    let mut times = Times::default();
    for (grant_id, session) in &mut grantees {
        let fields = json!({ "at": NOW_MS, "kind": "revocation", "revokes": grant_id.to_string() });
        let entry = author.record(Collection::Grants, &fields, NOW_MS);
        let push = encode_pushes(&owner.adoption, &[(Collection::Grants.name(), entry)], 1)?;
        let started = Instant::now();
        let (pushed, silenced) = tokio::join!(phone.push(&push), session.revoked());
        ensure!(pushed? == 1, "the revocation was not accepted");
        silenced?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// Grants all feeds that can be, as ingest would write it: a grant itself is not what is measured.
async fn grant(pool: &PgPool, owner: &Person, grantee: &Person, grant_id: DocId) -> Result<()> {
    let (account, grantee): (Uuid, Uuid) = (owner.device.account, grantee.device.account);
    let shareable: Vec<_> =
        Collection::ALL.into_iter().filter(|one| is_shareable(*one)).map(|one| one.name().to_owned()).collect();
    sqlx::query(
        "INSERT INTO grants_now (account, grant_id, feed, grantee, access, purpose, shown_as)
         SELECT account, $2, feed, $3, 'read', 'training', 'Ann' FROM feeds WHERE account = $1 AND collection = ANY ($4)",
    )
    .bind(account)
    .bind(grant_id.as_bytes())
    .bind(grantee)
    .bind(&shareable)
    .execute(pool)
    .await?;
    sqlx::query(
        "INSERT INTO grantees (grantee) VALUES ($1)
         ON CONFLICT (grantee) DO UPDATE SET version = grantees.version + 1, changed_at = clock_timestamp()",
    )
    .bind(grantee)
    .execute(pool)
    .await?;
    Ok(())
}
