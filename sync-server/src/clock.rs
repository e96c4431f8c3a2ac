//! What time it is, for everything that is decided by it: expiry, lock-out, rotation. Handed in, so that a test moves it
//! instead of waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The computer's clock, as far ahead as a test has moved it. Clones move together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Milliseconds since 1970 UTC. A computer whose clock is before 1970 reads 0.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        millis(since).saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Moves this clock and all its clones on; nobody but a test does.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(millis(by), Ordering::Relaxed);
    }
}

/// A duration as it is added to times.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_and_its_clones_move_together() {
        let clock = Clock::default();
        let before = clock.now_ms();
        clock.clone().advance(Duration::from_secs(3_600));
        let moved = clock.now_ms() - before;
        assert!((3_600_000..3_660_000).contains(&moved), "{moved}");
    }
}
