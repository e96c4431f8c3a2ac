//! What goes wrong, and when: drawn from a seed before anything runs, so that the seed replays it.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::SERVERS;
use crate::fault_proxy::Silence;

/// Between two kills of one server, and how long it is away, ms.
const SERVER: (Range<u64>, Range<u64>) = (4_000..18_000, 0..4_000);
/// The same for the processes of one device.
const DEVICE: (Range<u64>, Range<u64>) = (6_000..40_000, 0..3_000);
/// Between two kills of PostgreSQL, which is started again at once, ms.
const POSTGRES: Range<u64> = 8_000..22_000;
/// Between two ends of some of its connections, ms.
const BACKENDS: Range<u64> = 2_000..8_000;
/// Between two times at which connections of devices are reset, ms.
const CUTS: Range<u64> = 1_000..5_000;
/// Between two times at which connections become slow, and how long they are, ms.
const SLOW: (Range<u64>, Range<u64>) = (3_000..9_000, 1_000..8_000);
/// Between two times at which connections fall silent, and when the network remembers that they are gone, ms.
const SILENT: (Range<u64>, Range<u64>) = (3_000..9_000, 1_000..12_000);
/// Connections that suffer together.
const TOGETHER: Range<usize> = 1..6;
/// From a bad telephone line to a bad mobile network.
const BYTES_PER_SECOND: Range<u32> = 500..20_000;

/// Which process of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The one that writes.
    Writer,
    /// The one that syncs.
    Sync,
    /// Both, as when the device itself dies.
    Both,
}

/// One thing that goes wrong, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`.
    KillServer(usize),
    /// The same one, at the same address.
    StartServer(usize),
    /// `kill -9`.
    KillDevice(usize, Part),
    /// What is missing of it.
    StartDevice(usize),
    /// `kill -9`, and started again at once.
    KillPostgres,
    /// `pg_terminate_backend` of so many of the servers' connections.
    TerminateBackends(usize),
    /// Resets connections of devices.
    Cut(usize),
    /// Slows connections down to so many bytes a second.
    Slow(usize, u32),
    /// All lines are fast again.
    EndSlow,
    /// Leaves connections half open.
    Silence(usize, Silence),
    /// Resets what was left half open.
    EndSilence,
}

/// When it happens.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Counted from the beginning.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// Everything that goes wrong in so long a time, in order.
pub fn draw(seed: u64, length: Duration, devices: usize) -> Vec<Event> {
    let mut schedule = Schedule { rng: StdRng::seed_from_u64(seed), length, events: Vec::new() };
    for server in 0..SERVERS {
        schedule.repeat(SERVER, |_| (Fault::KillServer(server), Fault::StartServer(server)));
    }
    for device in 0..devices {
        schedule.repeat(DEVICE, |rng| {
            let part = [Part::Writer, Part::Sync, Part::Both][rng.random_range(0..3)];
            (Fault::KillDevice(device, part), Fault::StartDevice(device))
        });
    }
    schedule.repeat_at_once(POSTGRES, |_| Fault::KillPostgres);
    schedule.repeat_at_once(BACKENDS, |rng| Fault::TerminateBackends(rng.random_range(TOGETHER)));
    schedule.repeat_at_once(CUTS, |rng| Fault::Cut(rng.random_range(TOGETHER)));
    schedule.repeat(SLOW, |rng| {
        (Fault::Slow(rng.random_range(TOGETHER), rng.random_range(BYTES_PER_SECOND)), Fault::EndSlow)
    });
    schedule
        .repeat(SILENT, |rng| (Fault::Silence(rng.random_range(TOGETHER), Silence::random(rng)), Fault::EndSilence));
    schedule.events.sort_by_key(|event| event.at);
    schedule.events
}

struct Schedule {
    rng: StdRng,
    length: Duration,
    events: Vec<Event>,
}

impl Schedule {
    /// Something that begins and ends, again and again. The last end may be cut off by the end of it all.
    fn repeat(&mut self, (between, lasts): (Range<u64>, Range<u64>), fault: impl Fn(&mut StdRng) -> (Fault, Fault)) {
        let mut at = Duration::ZERO;
        loop {
            at += self.drawn(between.clone());
            let (begins, ends) = fault(&mut self.rng);
            if !self.push(at, begins) {
                return;
            }
            at += self.drawn(lasts.clone());
            self.push(at, ends);
        }
    }

    fn repeat_at_once(&mut self, between: Range<u64>, fault: impl Fn(&mut StdRng) -> Fault) {
        let mut at = self.drawn(between.clone());
        loop {
            let fault = fault(&mut self.rng);
            if !self.push(at, fault) {
                return;
            }
            at += self.drawn(between.clone());
        }
    }

    fn drawn(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    fn push(&mut self, at: Duration, fault: Fault) -> bool {
        let in_time = at < self.length;
        if in_time {
            self.events.push(Event { at, fault });
        }
        in_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(events: &[Event], kind: impl Fn(Fault) -> bool) -> usize {
        events.iter().filter(|event| kind(event.fault)).count()
    }

    /// Ten runs of five minutes are asked to kill fifty of each.
    #[test]
    fn five_minutes_kill_some_of_each_whatever_the_seed() {
        for seed in 0..50 {
            let events = draw(seed, Duration::from_secs(300), 16);
            assert!(count(&events, |fault| matches!(fault, Fault::KillServer(_))) >= 10, "seed {seed}");
            assert!(count(&events, |fault| matches!(fault, Fault::KillDevice(..))) >= 50, "seed {seed}");
            assert!(count(&events, |fault| fault == Fault::KillPostgres) >= 10, "seed {seed}");
            assert!(count(&events, |fault| matches!(fault, Fault::TerminateBackends(_))) >= 30, "seed {seed}");
        }
    }

    #[test]
    fn a_seed_draws_the_same_schedule_again() {
        let texts = [(); 2].map(|()| format!("{:?}", draw(7, Duration::from_secs(60), 16)));
        assert_eq!(texts[0], texts[1]);
    }
}
