//! What travels: everything one device wrote, pushed, and then pulled by a new device.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use fitme_core::limits;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sqlx::PgPool;

use crate::measure::{Peaks, Process, Runs};
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::world::{HISTORY, World};

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_store.sql");
/// Every table of a store that receiving fills, with those before that they refer to.
const TABLES: [&str; 5] = ["feeds", "documents", "entries", "snapshots", "records"];
/// The raw changes in the order in which they were pushed: by push, and in a push by feed.
const PUSHED: &str = "SELECT payload FROM entries ORDER BY received_at, feed, seq";
/// The raw changes in the order in which a new device gets them.
const PULLED: &str = "SELECT payload FROM entries ORDER BY feed, seq";
const EMAIL: &str = "ann@example.org";

#[derive(Default)]
struct Found {
    pushed: Runs,
    push_pages: Runs,
    pulled: Runs,
    pull_pages: Runs,
    pull: Runs,
    insert: Runs,
    records: Runs,
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
            "One device pushes {HISTORY} entries, then a new device of the account pulls them; the bytes of all WebSocket \
             messages in that direction. Beside them the raw changes alone, in the same order, compressed by zstd at level \
             1 in pages of 256 KiB. The time beside it is one transaction that inserts the rows of the finished store."
        ),
        lines: vec![
            Line::new("pushed", Unit::Bytes, found.pushed).beside("zstd-1", found.push_pages).ratio_at_most(1.1),
            Line::new("pulled by a new device", Unit::Bytes, found.pulled)
                .beside("zstd-1", found.pull_pages)
                .ratio_at_most(1.1),
            Line::new("new device: dial to in sync", Unit::Time, found.pull)
                .beside("SQLite", found.insert)
                .ratio_at_most(3.0),
            Line::new("records it then has", Unit::Count, found.records),
        ],
        peaks: found.peaks,
    })
}

fn repeat(world: &World, seed: u64, found: &mut Found) -> Result<()> {
    let server = world.server()?;
    let folder = world.folder()?;
    let mut phone = Phone::copy_of(world.history()?, &folder, "author", seed)?;
    world.runtime.block_on(phone.sign_up(server.url(), EMAIL))?;
    let pushed = world.runtime.block_on(phone.sync())?;
    drop(phone.close());

    let mut tablet = Phone::new(&folder, "tablet", seed)?;
    world.runtime.block_on(tablet.log_in(server.url(), EMAIL))?;
    Process::own().forget_peak()?;
    let pulled = world.runtime.block_on(tablet.sync())?;
    found.peaks.note("device", Process::own().peak_memory()?);
    found.peaks.note("server", server.watched().peak_memory()?);
    let records: u64 = tablet.store.status()?.records.iter().map(|(_, count)| count).sum();
    let store = tablet.close();

    let pages = |in_order| world.runtime.block_on(compressed_pages(&server.pool, in_order));
    found.pushed.push(pushed.bytes_out as f64);
    found.push_pages.push(pages(PUSHED)? as f64);
    found.pulled.push(pulled.bytes_in as f64);
    found.pull_pages.push(pages(PULLED)? as f64);
    found.pull.push(pulled.took.as_secs_f64());
    found.insert.push(insert_rows(&store, &folder.join("bare.db"))?.as_secs_f64());
    found.records.push(records as f64);
    Ok(())
}

/// Bytes of the raw changes, in pages as large as the server's.
async fn compressed_pages(pool: &PgPool, in_order: &'static str) -> Result<usize> {
    let payloads: Vec<Vec<u8>> = sqlx::query_scalar(in_order).fetch_all(pool).await?;
    let (mut page, mut total) = (Vec::new(), 0);
    for payload in payloads {
        if page.len() + payload.len() > limits::ENTRIES_PAGE_BYTES {
            total += zstd::bulk::compress(&page, limits::COMPRESSION_LEVEL)?.len();
            page.clear();
        }
        page.extend_from_slice(&payload);
    }
    Ok(total + zstd::bulk::compress(&page, limits::COMPRESSION_LEVEL)?.len())
}

/// Inserts what is in a finished store into an empty one.
fn insert_rows(store: &Path, file: &Path) -> Result<Duration> {
    let finished = Connection::open(store)?;
    let tables = TABLES.map(|table| rows_of(&finished, table));
    let mut conn = Connection::open(file)?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
    conn.execute_batch(SCHEMA)?;
    let started = Instant::now();
    let tx = conn.transaction()?;
    for (table, rows) in TABLES.iter().zip(tables) {
        for row in rows? {
            let marks = vec!["?"; row.len()].join(", ");
            tx.prepare_cached(&format!("INSERT INTO {table} VALUES ({marks})"))?.execute(params_from_iter(row))?;
        }
    }
    tx.commit()?;
    Ok(started.elapsed())
}

fn rows_of(conn: &Connection, table: &str) -> Result<Vec<Vec<Value>>> {
    let mut query = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1"))?;
    let columns = query.column_count();
    let rows = query.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
    Ok(rows.collect::<Result<_, _>>()?)
}
