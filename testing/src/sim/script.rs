//! What happens in a seed. Every step draws from a seed of its own: without one of them the others still do what they did.

use std::fmt;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The simulator's source of everything random.
pub type Dice = ChaCha8Rng;

/// Actions of one seed.
pub const ACTIONS: usize = 200;
/// Faults of one seed, at least.
const FAULTS: std::ops::Range<usize> = 5..16;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What it draws from.
    pub seed: u64,
    /// What happens.
    pub event: Event,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A person does something on one of their devices.
    Act,
    /// Something breaks.
    Break(Fault),
}

/// What may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Fault {
    ConnectionCut,
    SlowReader,
    PowerFailure,
    PowerFailsSoon,
    ProcessKilled,
    RestoredFromBackup,
    Clone,
    ClockJumps,
    DiskFull,
    NodeCrash,
    NodeCrashInCommit,
    NodeCrashInMerge,
    DatabaseAway,
    HintsLost,
    RogueDevice,
}

impl Fault {
    const ALL: [Self; 15] = [
        Self::ConnectionCut,
        Self::SlowReader,
        Self::PowerFailure,
        Self::PowerFailsSoon,
        Self::ProcessKilled,
        Self::RestoredFromBackup,
        Self::Clone,
        Self::ClockJumps,
        Self::DiskFull,
        Self::NodeCrash,
        Self::NodeCrashInCommit,
        Self::NodeCrashInMerge,
        Self::DatabaseAway,
        Self::HintsLost,
        Self::RogueDevice,
    ];
}

/// The steps of a seed, or some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Which.
    pub seed: u64,
    /// All steps of the seed.
    steps: Vec<Step>,
    /// Those that are left out.
    without: Vec<usize>,
}

impl Script {
    /// All steps of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::seed_from_u64(seed);
        let mut events = vec![Event::Act; ACTIONS];
        for _ in 0..dice.random_range(FAULTS) {
            let fault = *Fault::ALL.choose(&mut dice).expect("there are faults");
            events.insert(dice.random_range(0..=events.len()), Event::Break(fault));
        }
        let steps = events.into_iter().map(|event| Step { seed: dice.random(), event }).collect();
        Self { seed, steps, without: Vec::new() }
    }

    /// The steps that are left, with their numbers.
    pub fn steps(&self) -> impl Iterator<Item = (usize, Step)> {
        self.steps.iter().copied().enumerate().filter(|(at, _)| self.without.binary_search(at).is_err())
    }

    /// The same without these steps as well.
    #[must_use]
    pub fn without(&self, steps: &[usize]) -> Self {
        let mut without = [&self.without, steps].concat();
        without.sort_unstable();
        without.dedup();
        Self { without, ..self.clone() }
    }

    /// The script of a line that was printed.
    #[must_use]
    pub fn parsed(line: &str) -> Option<Self> {
        let (seed, without) = line.split_once(" without ").unwrap_or((line, ""));
        let script = Self::of(seed.trim().parse().ok()?);
        let mut left_out = Vec::new();
        for range in without.split(',').filter(|range| !range.trim().is_empty()) {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            left_out.extend(from.trim().parse::<usize>().ok()?..=to.trim().parse::<usize>().ok()?);
        }
        Some(script.without(&left_out))
    }
}

/// A line that replays it.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        let runs: Vec<_> = self.without.chunk_by(|a, b| a + 1 == *b).collect();
        for (at, run) in runs.iter().enumerate() {
            let comma = if at == 0 { " without " } else { "," };
            match run {
                [one] => write!(f, "{comma}{one}")?,
                run => write!(f, "{comma}{}-{}", run[0], run[run.len() - 1])?,
            }
        }
        Ok(())
    }
}
