//! Real faults on the real thing: two servers on one PostgreSQL, sixteen devices behind a bad network, and kills of all of
//! them at moments drawn from a seed. `make chaos` runs it.
//!
//! A device is two processes that share a home: `fitme sync`, and a writer that notes in a journal outside the home, with
//! fsync, what it wrote and which receipts it knows. At the end everything is healed, and what the journals tell is looked
//! for in PostgreSQL and on a fresh device.
//!
//! - `schedule`: what goes wrong, and when.
//! - `town`: the processes.
//! - `device`: the writer.
//! - `journal`: what a device has told.
//! - `settling`: how far the devices are behind.
//! - `server_side`: what is in PostgreSQL.
//! - `check`: whether all of it is right.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

mod check;
pub mod device;
mod journal;
mod schedule;
mod server_side;
mod settling;
mod town;

use town::Town;

/// Two, so that a device returns to another one than it has left.
const SERVERS: usize = 2;
/// Devices of each account; sixteen in all.
const ACCOUNTS: [usize; 5] = [1, 2, 3, 4, 6];
/// How long everything may take to be on all sides once it is healed: a device that has failed often waits up to 90 s before
/// it tries again.
const SETTLES_WITHIN: Duration = Duration::from_secs(240);
/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Draws what goes wrong and when, and what is written.
    pub seed: u64,
    /// How long things go wrong.
    pub length: Duration,
}

/// What was done and seen.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Servers that were killed.
    pub servers: usize,
    /// Processes of devices that were killed.
    pub clients: usize,
    /// Kills of PostgreSQL as a whole.
    pub postgres: usize,
    /// Connections to PostgreSQL that were ended by `pg_terminate_backend`.
    pub backends: usize,
    /// Connections of devices that were reset.
    pub cut: usize,
    /// Connections of devices that were slowed down.
    pub slowed: usize,
    /// Connections of devices that were left half open.
    pub half_open: usize,
    /// Writes that devices noted.
    pub writes: usize,
    /// Receipts that devices noted.
    pub receipts: usize,
    /// Writes that were handed back, by their codes.
    pub rejected: Vec<String>,
    /// Entries in PostgreSQL.
    pub entries: usize,
    /// Stores that were compared with the server: those of the devices and of one fresh device an account.
    pub replicas: usize,
    /// From the end of the faults until all was everywhere.
    pub converged: Duration,
}

/// Why a run is no success.
#[derive(Debug)]
pub enum Failure {
    /// It was asked to end.
    Interrupted,
    /// What is not as it must be, each in a sentence.
    Found(Vec<String>),
}

/// Tells when to end early.
pub struct Stop(pub Receiver<()>);

impl Stop {
    /// Lets time pass.
    fn pause(&self, pause: Duration) -> Result<(), Failure> {
        match self.0.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Failure::Interrupted),
        }
    }
}

/// Runs it all, and leaves nothing behind but the evidence of a failure.
///
/// # Errors
/// [`Failure`], with everything that was found.
pub fn run(plan: &Plan, stop: &Stop, say: impl Fn(&str)) -> Result<Figures, Failure> {
    let mut town = Town::build(plan.seed);
    say(&format!("{SERVERS} servers and {} devices of {} accounts run", town.devices(), ACCOUNTS.len()));
    let done = live(&mut town, plan, stop, &say);
    if matches!(done, Err(Failure::Found(_))) {
        say(&format!("homes, journals, logs and a dump are kept in {}", town.keep_evidence(plan.seed).display()));
    }
    done.map(|()| town.figures.clone())
}

fn live(town: &mut Town, plan: &Plan, stop: &Stop, say: &impl Fn(&str)) -> Result<(), Failure> {
    suffer(town, plan, stop)?;
    say("healed; waiting until all is everywhere");
    town.heal();
    settle(town, stop)?;
    say("settled; comparing journals, PostgreSQL, the devices and fresh ones");
    town.fall_silent();
    let found = check::all(town);
    if found.is_empty() { Ok(()) } else { Err(Failure::Found(found)) }
}

fn suffer(town: &mut Town, plan: &Plan, stop: &Stop) -> Result<(), Failure> {
    let began = Instant::now();
    for event in schedule::draw(plan.seed, plan.length, town.devices()) {
        stop.pause(event.at.saturating_sub(began.elapsed()))?;
        town.strike(event.fault);
        town.tend();
    }
    stop.pause(plan.length.saturating_sub(began.elapsed()))
}

fn settle(town: &mut Town, stop: &Stop) -> Result<(), Failure> {
    let healed = Instant::now();
    loop {
        town.tend();
        let behind = settling::behind(town);
        if behind.is_empty() {
            town.figures.converged = healed.elapsed();
            return Ok(());
        }
        if healed.elapsed() > SETTLES_WITHIN {
            return Err(Failure::Found(behind));
        }
        stop.pause(LOOK_EVERY)?;
    }
}
