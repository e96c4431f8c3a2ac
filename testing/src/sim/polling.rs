//! Futures without a runtime: the simulator polls them itself, one step at a time, in the order that the seed draws.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls before a future that should end by itself is taken to hang.
const POLLS: usize = 100_000;

/// Work under way.
pub type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Gives way once: between two statements somebody else may have a turn, or the process its end.
pub async fn give_way() {
    let mut given = false;
    poll_fn(|_| if std::mem::replace(&mut given, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// One step; the result if that was the last one.
pub fn step<T>(task: &mut Task<T>) -> Option<T> {
    match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Every step, without anybody in between.
///
/// # Panics
/// When the future waits for something that nobody else will do.
pub fn finish<T>(future: impl Future<Output = T> + Send) -> T {
    let mut future = std::pin::pin!(future);
    for _ in 0..POLLS {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
    panic!("a future that nobody can help waits for ever");
}
