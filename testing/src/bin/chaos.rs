//! `make chaos`: real faults on real processes, then a look whether anything was lost. See `fitme_testing::chaos`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use fitme_testing::chaos::device::{self, Life};
use fitme_testing::chaos::{self, Failure, Figures, Plan, Stop};
use tokio::signal::unix::{SignalKind, signal};

/// Kills servers, devices and PostgreSQL for a while, then checks that nothing was lost, doubled or mixed up
#[derive(Debug, Parser)]
struct Arguments {
    /// Replays the schedule of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// How long things go wrong
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The writer on one device, until standard input ends
    #[command(hide = true)]
    Device {
        #[arg(long)]
        home: PathBuf,
        #[arg(long)]
        journal: PathBuf,
        #[arg(long)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let Arguments { seed, seconds, part } = Arguments::parse();
    if let Some(Part::Device { home, journal, seed }) = part {
        device::live(&Life { home, journal, seed });
        return ExitCode::SUCCESS;
    }
    let plan = Plan { seed: seed.unwrap_or_else(rand::random), length: Duration::from_secs(seconds) };
    let began = Instant::now();
    let say = |what: &str| println!("chaos: {:>4} s  {what}", began.elapsed().as_secs());
    say(&format!("seed {}, {seconds} s", plan.seed));
    match chaos::run(&plan, &stop(), say) {
        Ok(figures) => {
            tell(&figures, say);
            ExitCode::SUCCESS
        }
        Err(Failure::Interrupted) => {
            say("ended early, as asked");
            ExitCode::FAILURE
        }
        Err(Failure::Found(found)) => {
            found.iter().for_each(|found| eprintln!("chaos: {found}"));
            eprintln!("chaos: FAILED; replay with SEED={}", plan.seed);
            ExitCode::FAILURE
        }
    }
}

fn tell(figures: &Figures, say: impl Fn(&str)) {
    let Figures { servers, clients, postgres, backends, cut, slowed, half_open, .. } = figures;
    say(&format!(
        "killed: {servers} servers, {clients} processes of devices, {postgres} times PostgreSQL, {backends} of its backends"
    ));
    say(&format!("connections: {cut} cut, {slowed} slowed down, {half_open} left half open"));
    let Figures { writes, receipts, entries, replicas, converged, rejected, .. } = figures;
    let mut codes = BTreeMap::<_, usize>::new();
    rejected.iter().for_each(|code| *codes.entry(code.as_str()).or_default() += 1);
    say(&format!("told: {writes} writes and {receipts} receipts; handed back: {codes:?}"));
    say(&format!(
        "all there once: {entries} entries, {replicas} equal replicas, {:.1} s after the faults",
        converged.as_secs_f64()
    ));
}

/// Hears Ctrl-C and the wish to end.
fn stop() -> Stop {
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let mut terminated = signal(SignalKind::terminate()).expect("signals can be heard");
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            let _it_is_over = tell.send(());
            // Kept, so that whoever waits goes on waiting until it has heard.
            std::future::pending::<()>().await;
        });
    });
    Stop(heard)
}
