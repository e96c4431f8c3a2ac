//! What travels: everything that one device wrote, pushed. What a new device gets is in the row `bootstrap`.

use anyhow::Result;
use fitme_core::limits;
use futures_util::TryStreamExt;
use sqlx::PgPool;

use crate::measure::{Peaks, Process, Runs};
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::world::{HISTORY, World};

/// The raw changes in the order in which they were pushed: by push, and in a push by feed.
const PUSHED: &str = "SELECT payload FROM entries ORDER BY received_at, feed, seq";
const EMAIL: &str = "ann@example.org";

#[derive(Default)]
struct Found {
    pushed: Runs,
    push_pages: Runs,
    peaks: Peaks,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let mut found = Found::default();
    for repetition in 0..world.repetitions {
        repeat(world, repetition as u64, &mut found)?;
    }
    Ok(Report {
        row: "wire",
        work: format!(
            "One device pushes {HISTORY} entries; the bytes of all WebSocket messages in that direction. Beside them the raw \
             changes alone, in the same order, compressed by zstd at level 1 in pages of 256 KiB."
        ),
        lines: vec![
            Line::new("pushed", Unit::Bytes, found.pushed).beside("zstd-1", found.push_pages).ratio_at_most(1.1),
        ],
        peaks: found.peaks,
    })
}

fn repeat(world: &World, seed: u64, found: &mut Found) -> Result<()> {
    let server = world.server()?;
    let folder = world.folder()?;
    let mut phone = Phone::copy_of(world.history()?, &folder, "author", seed)?;
    world.runtime.block_on(phone.sign_up(server.url(), EMAIL))?;
    Process::own().forget_peak()?;
    let pushed = world.runtime.block_on(phone.sync())?;
    found.peaks.note("device", Process::own().peak_memory()?);
    found.peaks.note("server", server.watched().peak_memory()?);
    found.pushed.push(pushed.bytes_out as f64);
    found.push_pages.push(world.runtime.block_on(compressed_pages(&server.pool, PUSHED))? as f64);
    Ok(())
}

/// Bytes of what a query names, in pages as large as the server's.
pub async fn compressed_pages(pool: &PgPool, in_order: &'static str) -> Result<usize> {
    let mut payloads = sqlx::query_scalar::<_, Vec<u8>>(in_order).fetch(pool);
    let (mut page, mut total) = (Vec::new(), 0);
    while let Some(payload) = payloads.try_next().await? {
        if page.len() + payload.len() > limits::ENTRIES_PAGE_BYTES {
            total += zstd::bulk::compress(&page, limits::COMPRESSION_LEVEL)?.len();
            page.clear();
        }
        page.extend_from_slice(&payload);
    }
    Ok(total + zstd::bulk::compress(&page, limits::COMPRESSION_LEVEL)?.len())
}
