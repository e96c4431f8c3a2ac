//! One set logged into an open workout, durable when the call returns, beside an insert and commit of the same bytes.

use std::path::Path;

use anyhow::{Context, Result};
use fitme_testing::realistic::{Act, Diary, Sets};
use rusqlite::{Connection, params};

use crate::measure::{Peaks, Process, Runs, Times};
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::world::World;

/// Sets logged in one repetition: two dozen workouts.
const SETS: usize = 500;

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (mut p50, mut p99, mut peaks) = (Pair::default(), Pair::default(), Peaks::default());
    for repetition in 0..world.repetitions {
        let folder = world.folder()?;
        Process::own().forget_peak()?;
        let (ours, rows) = log_sets(&folder, repetition as u64)?;
        peaks.note("device", Process::own().peak_memory()?);
        let bare = insert_rows(&folder.join("bare.db"), &rows)?;
        p50.push(&ours, &bare, 50.0);
        p99.push(&ours, &bare, 99.0);
    }
    Ok(Report {
        row: "local-write",
        work: format!(
            "{SETS} sets logged one by one into open workouts, each listed, queued and on disk when the call returns. \
             Beside it one insert and commit of the bytes of the same entry and command, with the same pragmas."
        ),
        lines: vec![
            Line::new("p50", Unit::Time, p50.ours).beside("rusqlite", p50.bare).ratio_at_most(2.0),
            Line::new("p99", Unit::Time, p99.ours).beside("rusqlite", p99.bare).at_most(0.010),
        ],
        peaks,
    })
}

#[derive(Default)]
struct Pair {
    ours: Runs,
    bare: Runs,
}

impl Pair {
    fn push(&mut self, ours: &Times, bare: &Times, percent: f64) {
        self.ours.push(ours.percentile(percent));
        self.bare.push(bare.percentile(percent));
    }
}

/// Only sets are timed; the workouts around them are begun in between, other records are left out.
fn log_sets(folder: &Path, seed: u64) -> Result<(Times, Vec<Vec<u8>>)> {
    let mut phone = Phone::new(folder, "phone", seed)?;
    let mut times = Times::default();
    let mut left = SETS;
    for act in Diary::new(seed, Sets::OneByOne) {
        match &act {
            Act::Log { collection, .. } if *collection != "workouts" => {}
            Act::Log { .. } => drop(phone.write(&act)?),
            Act::Set { .. } => {
                times.time(|| phone.write(&act))?;
                left -= 1;
            }
        }
        if left == 0 {
            break;
        }
    }
    Ok((times, written_rows(phone.path(), SETS)?))
}

/// The bytes of the last `count` writes.
fn written_rows(store: &Path, count: usize) -> Result<Vec<Vec<u8>>> {
    let conn = Connection::open(store)?;
    let mut query = conn.prepare(
        "SELECT CAST(e.payload || o.command AS BLOB) FROM entries e JOIN outbox o USING (n) ORDER BY n DESC LIMIT ?",
    )?;
    let rows = query.query_map([count as i64], |row| row.get(0))?;
    rows.collect::<Result<_, _>>().context("the store holds what was written")
}

fn insert_rows(file: &Path, rows: &[Vec<u8>]) -> Result<Times> {
    let conn = Connection::open(file)?;
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;
         CREATE TABLE bare (n INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;",
    )?;
    let mut times = Times::default();
    for row in rows {
        times.time(|| conn.prepare_cached("INSERT INTO bare (bytes) VALUES (?)")?.execute(params![row]))?;
    }
    Ok(times)
}
