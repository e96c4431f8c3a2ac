//! One device comes back after weeks offline and pushes everything it wrote.

use anyhow::Result;

use crate::bare_insert;
use crate::measure::{Peaks, Process, Runs};
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::world::{HISTORY, World};

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (mut ours, mut bare, mut messages) = (Runs::default(), Runs::default(), Runs::default());
    let (mut server_cpu, mut postgres_cpu, mut peaks) = (Runs::default(), Runs::default(), Peaks::default());
    for repetition in 0..world.repetitions {
        let server = world.server()?;
        let mut phone = Phone::copy_of(world.history()?, &world.folder()?, "author", repetition as u64)?;
        world.runtime.block_on(phone.sign_up(server.url(), "ann@example.org"))?;
        let before = server.cpu()?;
        Process::own().forget_peak()?;
        let report = world.runtime.block_on(phone.sync())?;
        let after = server.cpu()?;
        peaks.note("device", Process::own().peak_memory()?);
        peaks.note("server", server.watched().peak_memory()?);
        peaks.note("PostgreSQL", server.postgres().peak_memory_with_children()?);
        ours.push(report.took.as_secs_f64());
        messages.push(report.messages as f64);
        server_cpu.push(after.0 - before.0);
        postgres_cpu.push(after.1 - before.1);
        let groups = world.runtime.block_on(bare_insert::committed_groups(&server.pool))?;
        drop(server);
        let pool = world.connect(&world.database(), bare_insert::CONNECTIONS as u32)?;
        bare.push(world.runtime.block_on(bare_insert::insert(&pool, &groups))?.as_secs_f64());
    }
    Ok(Report {
        row: "backlog",
        work: format!(
            "One device pushes {HISTORY} entries that it wrote offline, over the socket, until every one is receipted and \
             its own entries have come back in order. Beside it the same rows inserted in the same commits by bare \
             `INSERT .. SELECT UNNEST`."
        ),
        lines: vec![
            Line::new("dial to in sync", Unit::Time, ours).beside("bare INSERT", bare).at_most(1.5),
            Line::new("messages", Unit::Count, messages),
            Line::new("CPU of the server", Unit::Time, server_cpu),
            Line::new("CPU of PostgreSQL", Unit::Time, postgres_cpu),
        ],
        peaks,
    })
}
