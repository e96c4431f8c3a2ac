//! Waiting for what another process does: looked for again and again, with a deadline and never for a fixed time.

use std::time::{Duration, Instant};

/// Nothing that is waited for takes longer unless it hangs, however busy the computer is.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// What `look` finds, once it finds something.
///
/// # Panics
/// When that takes too long.
#[expect(clippy::disallowed_methods, reason = "a pause between two looks at another process, with a deadline")]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `look` says that it is so.
///
/// # Panics
/// When that takes too long.
pub fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    wait_for(what, || look().then_some(()));
}
