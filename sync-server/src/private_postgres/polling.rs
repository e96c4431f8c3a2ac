//! Waiting for another process, which tells nobody when it is done: only its files and its end can be looked at.

use std::time::{Duration, Instant};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(10);

/// Asks until there is an answer; `None` after `limit`.
///
/// # Errors
/// Those of `ask`, at once.
#[expect(clippy::disallowed_methods, reason = "a pause between two looks; the answer decides, and there is a deadline")]
pub(super) fn poll<T, E>(limit: Duration, mut ask: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let until = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if Instant::now() > until {
            return Ok(None);
        }
        std::thread::sleep(EVERY);
    }
}
