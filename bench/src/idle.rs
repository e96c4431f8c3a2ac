//! What a connection costs the server while nothing happens.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::measure::{Peaks, Runs};
use crate::people::{self, Person};
use crate::raw_device::RawDevice;
use crate::report::{Line, Report, Unit};
use crate::world::{Server, World};

/// Connections, each of an account of its own with its fourteen feeds.
const CONNECTIONS: usize = 1_000;
/// Connected and gone before anything is measured: what the server allocates once is not a connection's.
const WARM_UP: usize = 100;
/// The goal, design section 8.
const MOST_BYTES: f64 = 20.0 * 1024.0;
/// How often memory is looked at until it no longer moves, and by how much it may.
const LOOKS: usize = 40;
const LOOK_EVERY: Duration = Duration::from_millis(250);
const STILL_BYTES: f64 = 64.0 * 1024.0;
/// Each repetition makes its own accounts; more would take longer than they teach.
const REPETITIONS: usize = 3;

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (mut each, mut cpu, mut peaks) = (Runs::default(), Runs::default(), Peaks::default());
    for _ in 0..world.repetitions.min(REPETITIONS) {
        let server = world.server()?;
        let people = world.runtime.block_on(people::move_in(&server.pool, server.url(), WARM_UP + CONNECTIONS))?;
        let (warm_up, measured) = people.split_at(WARM_UP);
        drop(world.runtime.block_on(connect(warm_up))?);
        let before = world.runtime.block_on(settled_memory(&server))?;
        let cpu_before = server.cpu()?.0;
        let devices = world.runtime.block_on(connect(measured))?;
        let after = world.runtime.block_on(settled_memory(&server))?;
        ensure!(devices.len() == CONNECTIONS, "only {} devices are connected", devices.len());
        each.push((after - before) / CONNECTIONS as f64);
        cpu.push((server.cpu()?.0 - cpu_before) / CONNECTIONS as f64);
        peaks.note("server", server.watched().peak_memory()?);
    }
    Ok(Report {
        row: "idle",
        work: format!(
            "{CONNECTIONS} devices of as many accounts connect over WebSockets without TLS, are welcomed and stay. Memory is \
             what the server's resident set grew by, once it stands still."
        ),
        lines: vec![
            Line::new("memory of one connection", Unit::Bytes, each).at_most(MOST_BYTES),
            Line::new("server CPU to connect it", Unit::Time, cpu),
        ],
        peaks,
    })
}

async fn connect(people: &[Person]) -> Result<Vec<RawDevice>> {
    let mut devices = Vec::with_capacity(people.len());
    for person in people {
        devices.push(RawDevice::connect(&person.adoption, &[]).await?);
    }
    Ok(devices)
}

async fn settled_memory(server: &Server) -> Result<f64> {
    let mut last = server.watched().memory()?;
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = server.watched().memory()?;
        if (now - last).abs() < STILL_BYTES {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}
