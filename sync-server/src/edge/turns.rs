//! Whose turn it is to have a password hashed. The cores are shared by all; so one address has one hash computed at a
//! time, a few more of its requests wait for that, and the next ones are refused: whoever else logs in meanwhile finds the
//! other places of `crate::passwords` free, however many guesses are sent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex as Turn;

use super::pace::hashes_a_password;
use super::peer::subscriber;
use crate::error::{ApiError, Refusal};
use crate::slow_reader::Peer;
use crate::state::AppState;

/// Requests of one address that have their turn or wait for it: a school whose phones log in at once is through after a
/// second.
const IN_LINE: usize = 32;
/// When one that found no place in the line may come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// The lines of this node; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    lines: Arc<Mutex<HashMap<IpAddr, Line>>>,
}

#[derive(Debug, Default)]
struct Line {
    length: usize,
    turn: Arc<Turn<()>>,
}

/// A place in the line of one address, given back when it is dropped.
#[derive(Debug)]
pub struct InLine {
    lines: Arc<Mutex<HashMap<IpAddr, Line>>>,
    address: IpAddr,
    turn: Arc<Turn<()>>,
}

impl Turns {
    /// A place in the line of this address, unless it is full.
    #[must_use]
    pub fn queue(&self, address: IpAddr) -> Option<InLine> {
        let mut lines = lock(&self.lines);
        let line = lines.entry(address).or_default();
        if line.length >= IN_LINE {
            return None;
        }
        line.length += 1;
        Some(InLine { lines: Arc::clone(&self.lines), address, turn: Arc::clone(&line.turn) })
    }
}

impl InLine {
    /// Waits until it is the first in its line; the turn ends when what is returned is dropped.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get_mut(&self.address) {
            line.length -= 1;
            if line.length == 0 {
                lines.remove(&self.address);
            }
        }
    }
}

/// Middleware: a request that has a password hashed waits for its turn.
pub async fn wait_for_turn(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let Some(ConnectInfo(Peer(address))) = peer.filter(|_| hashes_a_password(&request)) else {
        return next.run(request).await;
    };
    let Some(place) = state.edge.turns.queue(subscriber(*address)) else {
        let refusal: Refusal = ApiError::TooManyRequests.after(COME_AGAIN);
        refusal.log();
        return refusal.into_response();
    };
    let _turn = place.turn().await;
    next.run(request).await
}

/// Nothing that holds this lock can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    const GUESSER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
    const ANN: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

    #[tokio::test]
    async fn one_address_has_one_turn_and_a_bounded_line_whatever_it_sends() {
        let turns = Turns::default();
        let places: Vec<_> = (0..10_000).filter_map(|_| turns.queue(GUESSER)).collect();
        assert_eq!(places.len(), IN_LINE);
        let first = places[0].turn().await;
        assert!(places[1].turn().now_or_never().is_none(), "the second waits for the first");
        let ann = turns.queue(ANN).unwrap();
        assert!(ann.turn().now_or_never().is_some(), "Ann waits for nobody");
        drop(first);
        assert!(places[1].turn().now_or_never().is_some());
        drop(ann);
        drop(places);
        assert!(lock(&turns.lines).is_empty(), "nothing is remembered of those who left");
    }
}
