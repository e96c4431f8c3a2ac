//! Durable ingest from many devices at once, beside bare inserts of the same rows in the same commits.

use std::time::Instant;

use anyhow::{Result, ensure};
use fitme_core::entry::Entry;
use fitme_core::id::ActorId;
use fitme_testing::realistic::Sets;
use futures_util::future::try_join_all;

use crate::author::Author;
use crate::bare_insert;
use crate::measure::{Peaks, Process, Runs};
use crate::people;
use crate::raw_device::{RawDevice, encode_pushes};
use crate::report::{Line, Report, Unit};
use crate::world::World;

/// Devices, each of an account of its own.
const DEVICES: usize = 64;
/// Entries of one device: a few days.
const ENTRIES: usize = 320;
/// Entries in a push: what a device has when it comes back after a training session.
const PUSH: usize = 16;

/// What one device will push.
struct Load {
    actor: ActorId,
    entries: Vec<(&'static str, Entry)>,
}

#[derive(Default)]
struct Found {
    ours: Runs,
    without_client: Runs,
    bare: Runs,
    commit_size: Runs,
    client_cpu: Runs,
    server_cpu: Runs,
    postgres_cpu: Runs,
    peaks: Peaks,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let loads: Vec<_> = (0..DEVICES).map(|seed| load(seed as u64)).collect();
    let mut found = Found::default();
    for _ in 0..world.repetitions {
        repetition(world, &loads, &mut found)?;
    }
    let total = DEVICES * ENTRIES;
    Ok(Report {
        row: "ingest",
        work: format!(
            "{DEVICES} devices of {DEVICES} accounts push {total} entries, {PUSH} in a push, encoded beforehand, until all \
             are receipted. Beside it the same rows inserted in the same commits by bare `INSERT .. SELECT UNNEST` over \
             {} connections. The devices run on the same cores as the server: in the second line their CPU time is \
             taken off.",
            bare_insert::CONNECTIONS
        ),
        lines: vec![
            Line::new("entries durable and receipted", Unit::Rate, found.ours)
                .beside("bare INSERT", found.bare.clone()),
            Line::new("the same without the devices' CPU", Unit::Rate, found.without_client)
                .beside("bare INSERT", found.bare)
                .ratio_at_least(0.5),
            Line::new("entries in a commit", Unit::Count, found.commit_size),
            Line::new("CPU of the devices", Unit::Time, found.client_cpu),
            Line::new("CPU of the server", Unit::Time, found.server_cpu),
            Line::new("CPU of PostgreSQL", Unit::Time, found.postgres_cpu),
        ],
        peaks: found.peaks,
    })
}

fn load(seed: u64) -> Load {
    let mut author = Author::new(seed, Sets::OneByOne);
    Load { actor: author.actor, entries: author.by_ref().take(ENTRIES).collect() }
}

fn repetition(world: &World, loads: &[Load], found: &mut Found) -> Result<()> {
    let server = world.server()?;
    let people = world.runtime.block_on(people::move_in(&server.pool, server.url(), loads.len()))?;
    let pairs = || people.iter().map(|person| &person.adoption).zip(loads);
    let pushes = pairs().map(|(adoption, load)| encode_pushes(adoption, &load.entries, PUSH));
    let pushes = pushes.collect::<Result<Vec<_>>>()?;
    let connecting = pairs().map(|(adoption, load)| RawDevice::connect(adoption, std::slice::from_ref(&load.actor)));
    let mut devices = world.runtime.block_on(try_join_all(connecting))?;
    let (before, own_before, started) = (server.cpu()?, Process::own().cpu()?, Instant::now());
    let pushing = devices.iter_mut().zip(&pushes).map(|(device, pushes)| device.push(pushes));
    let accepted: usize = world.runtime.block_on(try_join_all(pushing))?.into_iter().sum();
    let took = started.elapsed().as_secs_f64();
    let (after, own_cpu) = (server.cpu()?, Process::own().cpu()? - own_before);
    ensure!(accepted == DEVICES * ENTRIES, "{accepted} entries were accepted");
    found.peaks.note("server", server.watched().peak_memory()?);
    found.peaks.note("PostgreSQL", server.postgres().peak_memory_with_children()?);
    let groups = world.runtime.block_on(bare_insert::committed_groups(&server.pool))?;
    drop((devices, server));
    let pool = world.connect(&world.database(), bare_insert::CONNECTIONS as u32)?;
    let bare = world.runtime.block_on(bare_insert::insert(&pool, &groups))?.as_secs_f64();

    let cores = std::thread::available_parallelism()?.get() as f64;
    let (accepted, commits) = (accepted as f64, groups.len() as f64);
    found.ours.push(accepted / took);
    found.without_client.push(accepted / (took - own_cpu / cores));
    found.bare.push(accepted / bare);
    found.commit_size.push(accepted / commits);
    found.client_cpu.push(own_cpu);
    found.server_cpu.push(after.0 - before.0);
    found.postgres_cpu.push(after.1 - before.1);
    Ok(())
}
