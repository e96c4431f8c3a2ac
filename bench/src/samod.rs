//! The same records in `samod`, where each document is synchronised for itself: a new device pulls, and connects again
//! while nothing has changed. `samod` runs without a disk, we with one on both sides.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fitme_core::merge;
use fitme_testing::realistic::{Diary, Sets};

use crate::author::Author;
use crate::measure::{Peaks, Runs};
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::world::{World, build, workspace};

/// Records, and how often the other side is measured with so many: its time grows with their square.
const SIZES: [(usize, usize); 3] = [(200, 3), (1_000, 2), (2_000, 1)];
const EMAIL: &str = "ann@example.org";

/// One connection or two, as both sides measure it.
struct Measured {
    pull_seconds: f64,
    again_seconds: f64,
    pull_bytes: f64,
    again_bytes: f64,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let peer = build("samod-peer", &workspace().join("bench/samod-peer/Cargo.toml"))?;
    let mut lines = Vec::new();
    for (records, repetitions) in SIZES {
        let file = write_documents(&world.folder()?, records)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for repetition in 0..repetitions.min(world.repetitions) {
            ours.push(pull_and_reconnect(world, records, repetition as u64)?);
            theirs.push(run_peer(&peer, &file)?);
        }
        let line = |what: &str, unit, figure: fn(&Measured) -> f64| {
            let runs = |measured: &[Measured]| Runs(measured.iter().map(figure).collect());
            Line::new(format!("{records} records: {what}"), unit, runs(&ours)).beside("samod", runs(&theirs))
        };
        lines.push(line("new device pulls", Unit::Time, |measured| measured.pull_seconds));
        lines.push(line("its bytes", Unit::Bytes, |measured| measured.pull_bytes));
        lines.push(line("connects again, unchanged", Unit::Time, |measured| measured.again_seconds));
        lines.push(line("its bytes", Unit::Bytes, |measured| measured.again_bytes));
    }
    Ok(Report {
        row: "samod",
        work: "A new device pulls all records of an account, then connects again while nothing has changed; beside it the \
               crate `samod` 0.16 with the same records as documents, over TCP, server and device in one process. Ours \
               authenticates and is durable in PostgreSQL and SQLite; `samod` keeps everything in memory."
            .to_owned(),
        lines,
        peaks: Peaks::default(),
    })
}

fn pull_and_reconnect(world: &World, records: usize, seed: u64) -> Result<Measured> {
    let server = world.server()?;
    let folder = world.folder()?;
    let mut phone = Phone::new(&folder, "phone", seed)?;
    let mut tablet = Phone::new(&folder, "tablet", seed)?;
    phone.live_through(&mut Diary::new(seed, Sets::Whole), records)?;
    world.runtime.block_on(async {
        phone.sign_up(server.url(), EMAIL).await?;
        phone.sync().await
    })?;
    server.merged(world)?;
    let (pulled, again) = world.runtime.block_on(async {
        tablet.log_in(server.url(), EMAIL).await?;
        anyhow::Ok((tablet.sync().await?, tablet.sync().await?))
    })?;
    Ok(Measured {
        pull_seconds: pulled.took.as_secs_f64(),
        again_seconds: again.took.as_secs_f64(),
        pull_bytes: (pulled.bytes_in + pulled.bytes_out) as f64,
        again_bytes: (again.bytes_in + again.bytes_out) as f64,
    })
}

/// The documents of the same records, each as automerge saves it.
fn write_documents(folder: &Path, records: usize) -> Result<PathBuf> {
    let path = folder.join("documents");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for (_, entry) in Author::new(0, Sets::Whole).take(records) {
        let document = merge::assemble([&entry.payload[..]])?.save();
        file.write_all(&u32::try_from(document.len())?.to_le_bytes())?;
        file.write_all(&document)?;
    }
    file.flush()?;
    Ok(path)
}

fn run_peer(peer: &Path, documents: &Path) -> Result<Measured> {
    let output = Command::new(peer).arg(documents).output().context("samod-peer can be run")?;
    if !output.status.success() {
        bail!("samod-peer failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    match numbers[..] {
        [pull_seconds, again_seconds, pull_bytes, again_bytes] => {
            Ok(Measured { pull_seconds, again_seconds, pull_bytes, again_bytes })
        }
        _ => bail!("samod-peer printed {text:?} and not four numbers"),
    }
}
