//! How often what occurred: a fault that never happens proves nothing.

use std::collections::BTreeMap;
use std::fmt;

/// Everything that must occur in at least one of a hundred seeds: faults, receipts and states of sessions.
pub const EXPECTED: &[&str] = &[
    "action edit",
    "action erase",
    "action grant",
    "action import",
    "action log",
    "action profile",
    "action restore",
    "action revoke",
    "action trash",
    "action write for another",
    "fault clock jumps",
    "fault clone",
    "fault connection cut",
    "fault database away",
    "fault disk full",
    "fault frames arrive after the cut",
    "fault hint lost",
    "fault node crash",
    "fault node crash after commit",
    "fault node crash before commit",
    "fault node crash in merge",
    "fault power failure",
    "fault process killed",
    "fault restored from backup",
    "fault rogue device",
    "fault slow reader",
    "receipt accepted",
    "receipt actor_forked",
    "receipt bad_change",
    "receipt depends_on_rejected",
    "receipt duplicate",
    "receipt erased",
    "receipt kind_not_served",
    "receipt not_your_feed",
    "receipt unavailable",
    "session denied",
    "session emptied entries",
    "session feed granted",
    "session feed revoked",
    "session live",
    "session new epoch",
    "session own entries named",
    "session wants cursors",
    "session wants digests",
];

/// Counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census(BTreeMap<String, u64>);

impl Census {
    /// It occurred.
    pub fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// How often.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Every name with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, times)| (what.as_str(), *times))
    }
}

/// What occurred over many seeds.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    /// Seeds that ran.
    pub seeds: u64,
    /// By name: in how many seeds, and how often in all.
    by_name: BTreeMap<String, (u64, u64)>,
}

impl Sum {
    /// One more seed.
    pub fn add(&mut self, census: &Census) {
        self.seeds += 1;
        for (what, times) in census.iter() {
            let (seeds, all) = self.by_name.entry(what.to_owned()).or_default();
            (*seeds, *all) = (*seeds + 1, *all + times);
        }
    }

    /// Seeds that another process ran.
    pub fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        for (what, (seeds, all)) in other.by_name {
            let sum = self.by_name.entry(what).or_default();
            (sum.0, sum.1) = (sum.0 + seeds, sum.1 + all);
        }
    }

    /// What was expected and occurred in fewer than one of a hundred seeds.
    #[must_use]
    pub fn seldom(&self) -> Vec<&'static str> {
        let seeds = |what: &str| self.by_name.get(what).map_or(0, |(seeds, _)| *seeds);
        EXPECTED.iter().copied().filter(|what| seeds(what) * 100 < self.seeds).collect()
    }

    /// A line of another process's report.
    #[must_use]
    pub fn parsed(text: &str) -> Self {
        let mut sum = Self::default();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (seeds, all, what) = (words.next(), words.next(), words.next());
            let (Some(Ok(seeds)), Some(Ok(all)), Some(what)) = (seeds.map(str::parse), all.map(str::parse), what)
            else {
                continue;
            };
            if what == "seeds" {
                sum.seeds = seeds;
            } else {
                sum.by_name.insert(what.to_owned(), (seeds, all));
            }
        }
        sum
    }
}

/// A line for each name: in how many seeds, how often, what.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} seeds", self.seeds, self.seeds)?;
        self.by_name.iter().try_for_each(|(what, (seeds, all))| writeln!(f, "{seeds} {all} {what}"))
    }
}
