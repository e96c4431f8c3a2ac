//! One signal to end everything: interrupt (Ctrl-C) or terminate cancel one token that all tasks watch.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT or SIGTERM. Later ones change nothing: what is being written is finished.
///
/// # Errors
/// When the operating system refuses signal handlers.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted; stopping"),
            _ = terminate.recv() => tracing::info!("asked to terminate; stopping"),
        }
        cancelled.cancel();
    });
    Ok(token)
}
