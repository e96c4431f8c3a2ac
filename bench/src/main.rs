//! `make bench`: what the engine costs, each row beside the bare libraries that the same work needs at least.
//!
//! No figure is asserted: a row is a comparison in one run, repeated, with its spread. Goals that are missed are shown.

mod author;
mod backlog;
mod bare_insert;
mod bootstrap;
mod counting_proxy;
mod document;
mod echo;
mod guesses;
mod idle;
mod ingest;
mod live;
mod local_write;
mod measure;
mod merge;
mod merge_load;
mod people;
mod phone;
mod raw_device;
mod reconnect;
mod repair;
mod report;
mod samod;
mod sharing;
mod wire;
mod world;

use anyhow::{Result, bail};
use clap::Parser;

use report::Report;
use world::World;

/// A row of docs/benchmarks.md.
struct Row {
    name: &'static str,
    run: fn(&World) -> Result<Report>,
}

const ROWS: [Row; 13] = [
    Row { name: "local-write", run: local_write::run },
    Row { name: "backlog", run: backlog::run },
    Row { name: "ingest", run: ingest::run },
    Row { name: "live", run: live::run },
    Row { name: "wire", run: wire::run },
    Row { name: "bootstrap", run: bootstrap::run },
    Row { name: "merge", run: merge::run },
    Row { name: "idle", run: idle::run },
    Row { name: "reconnect", run: reconnect::run },
    Row { name: "repair", run: repair::run },
    Row { name: "sharing", run: sharing::run },
    Row { name: "guesses", run: guesses::run },
    Row { name: "samod", run: samod::run },
];

/// Measures the engine beside the bare libraries it is made of.
#[derive(Parser)]
struct Args {
    /// Rows to run; all of them if none is named.
    rows: Vec<String>,
    /// Write the results into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
    /// How often each measurement is repeated.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let chosen = chosen(&args.rows)?;
    let world = World::new(args.repetitions)?;
    let settings = world.settings()?;
    println!("{}\n", settings.join("\n"));
    for row in chosen {
        let started = std::time::Instant::now();
        let report = (row.run)(&world)?;
        println!("{}\n{} took {:.0} s.\n", report.table(), row.name, started.elapsed().as_secs_f64());
        if args.write {
            document::write(&settings, &report)?;
        }
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>> {
    let known = || ROWS.map(|row| row.name).join(", ");
    if let Some(unknown) = names.iter().find(|name| ROWS.iter().all(|row| row.name != **name)) {
        bail!("there is no row {unknown}; the rows are {}", known());
    }
    Ok(ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)).collect())
}
