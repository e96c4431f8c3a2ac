//! The lobby: connections of which nobody is known yet. Opening them costs an attacker nothing, so there is a bound on
//! them, for each address and for all; the oldest gives its place to the newest, because an honest device needs its place
//! for a moment only. A request with a valid token makes a connection known, and then it counts here no more.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Places, of all addresses together and of one.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Of all together.
    pub places: usize,
    /// Of one address. Behind a proxy there is but one, which gets all places.
    pub of_one_address: usize,
}

impl Default for Room {
    /// A connection takes some 10 KiB, during a TLS handshake three times that. A school or a gym behind one address has all
    /// its phones through within this.
    fn default() -> Self {
        Self { places: 4_096, of_one_address: 256 }
    }
}

/// All such connections; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Lobby {
    inside: Arc<Mutex<Inside>>,
    room: Room,
}

#[derive(Debug, Default)]
struct Inside {
    /// By number, so the oldest is the first.
    waiting: BTreeMap<u64, Waiting>,
    of_address: HashMap<IpAddr, Vec<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    address: IpAddr,
    displaced: CancellationToken,
}

/// One connection's place, given back when it is dropped or somebody is known of it; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Place(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    inside: Arc<Mutex<Inside>>,
    number: u64,
    displaced: CancellationToken,
}

impl Lobby {
    /// A lobby of this size.
    #[must_use]
    pub fn of(room: Room) -> Self {
        Self { inside: Arc::default(), room }
    }

    /// A place for a new connection.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Place {
        let mut inside = lock(&self.inside);
        while inside.of_address.get(&address).map_or(0, Vec::len) >= self.room.of_one_address {
            let oldest = inside.of_address[&address][0];
            inside.displace(oldest);
        }
        while inside.waiting.len() >= self.room.places {
            let Some(oldest) = inside.waiting.keys().next().copied() else { break };
            inside.displace(oldest);
        }
        let (number, displaced) = (inside.next, CancellationToken::new());
        inside.next += 1;
        inside.waiting.insert(number, Waiting { address, displaced: displaced.clone() });
        inside.of_address.entry(address).or_default().push(number);
        Place(Arc::new(Seat { inside: Arc::clone(&self.inside), number, displaced }))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.inside).waiting.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inside {
    fn displace(&mut self, number: u64) {
        if let Some(oldest) = self.leave(number) {
            oldest.displaced.cancel();
        }
    }

    fn leave(&mut self, number: u64) -> Option<Waiting> {
        let left = self.waiting.remove(&number)?;
        if let Some(numbers) = self.of_address.get_mut(&left.address) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.of_address.remove(&left.address);
            }
        }
        Some(left)
    }
}

impl Place {
    /// Somebody is known: the connection may stay.
    pub fn known(&self) {
        lock(&self.0.inside).leave(self.0.number);
    }

    /// Waits until a newer connection has taken the place.
    pub async fn displaced(&self) {
        self.0.displaced.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.inside).leave(self.number);
    }
}

/// Nothing that holds this lock can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
    const ANN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

    fn displaced(places: &[Place]) -> Vec<bool> {
        places.iter().map(|place| place.0.displaced.is_cancelled()).collect()
    }

    #[test]
    fn an_address_that_fills_its_share_loses_its_own_oldest_and_nobody_elses() {
        let lobby = Lobby::of(Room { places: 10, of_one_address: 2 });
        let ann = lobby.enter(ANN);
        let attacker: Vec<_> = (0..4).map(|_| lobby.enter(ATTACKER)).collect();
        assert_eq!(displaced(&attacker), [true, true, false, false]);
        assert_eq!((displaced(std::slice::from_ref(&ann)), lobby.len()), (vec![false], 3));
    }

    #[test]
    fn a_full_lobby_has_room_for_the_newest() {
        let lobby = Lobby::of(Room { places: 3, of_one_address: 3 });
        let attacker: Vec<_> = (0..3).map(|_| lobby.enter(ATTACKER)).collect();
        let ann = lobby.enter(ANN);
        assert_eq!(displaced(&attacker), [true, false, false]);
        assert_eq!((displaced(std::slice::from_ref(&ann)), lobby.len()), (vec![false], 3));
    }

    #[test]
    fn who_is_known_is_never_displaced_and_nothing_is_remembered_of_those_who_left() {
        let lobby = Lobby::of(Room { places: 2, of_one_address: 2 });
        let ann = lobby.enter(ANN);
        ann.known();
        let others: Vec<_> = (0..5).map(|_| lobby.enter(ANN)).collect();
        assert_eq!(displaced(&[ann]), [false]);
        drop(others);
        assert!(lobby.is_empty() && lock(&lobby.inside).of_address.is_empty());
    }
}
