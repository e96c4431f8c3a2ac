//! How much of this node one device may take: so many sockets, and so many frames a second over all of them. What goes
//! beyond is a fault in an app or an attack, and must not become other people's waiting.
//!
//! The newest socket always gets its place and the oldest gives up its own: a phone that loses its network leaves dead
//! sockets behind, and must not be locked out by them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fitme_core::limits;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What one device may take.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Sockets at once.
    pub sockets: usize,
    /// In the long run, a frame each so often.
    pub frame_every: Duration,
    /// Frames at once, after a pause.
    pub burst: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            sockets: limits::DEVICE_SOCKETS,
            frame_every: Duration::from_secs(1) / limits::DEVICE_FRAMES_PER_SECOND,
            burst: limits::DEVICE_FRAMES_BURST,
        }
    }
}

/// The devices that are connected to this node, or were a moment ago; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    room: Arc<Mutex<Room>>,
}

#[derive(Debug, Default)]
struct Room {
    devices: HashMap<Uuid, Present>,
    /// Those whose last socket left. They are remembered until their pace is dry: reconnecting buys no frames.
    left: VecDeque<Uuid>,
}

#[derive(Debug)]
struct Present {
    /// Oldest first.
    seats: VecDeque<(u64, CancellationToken)>,
    next: u64,
    pace: Arc<Mutex<Pace>>,
}

/// One socket's place, given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Mutex<Room>>,
    device: Uuid,
    number: u64,
    displaced: CancellationToken,
    pace: Arc<Mutex<Pace>>,
    allowance: Allowance,
}

impl Devices {
    /// A place for one more socket of the device.
    #[must_use]
    pub fn enter(&self, device: Uuid, allowance: Allowance) -> Seat {
        let mut room = lock(&self.room);
        room.forget(Instant::now());
        let here = room.devices.entry(device).or_insert_with(|| Present {
            seats: VecDeque::new(),
            next: 0,
            pace: Arc::new(Mutex::new(Pace { dry_at: Instant::now() })),
        });
        while here.seats.len() >= allowance.sockets {
            let Some((_, oldest)) = here.seats.pop_front() else { break };
            oldest.cancel();
        }
        let (number, displaced) = (here.next, CancellationToken::new());
        here.next += 1;
        here.seats.push_back((number, displaced.clone()));
        let pace = Arc::clone(&here.pace);
        Seat { room: Arc::clone(&self.room), device, number, displaced, pace, allowance }
    }
}

impl Room {
    fn forget(&mut self, now: Instant) {
        while let Some(device) = self.left.front() {
            if let Some(here) = self.devices.get(device).filter(|here| here.seats.is_empty()) {
                if lock(&here.pace).dry_at > now {
                    return;
                }
                self.devices.remove(device);
            }
            self.left.pop_front();
        }
    }

    fn leave(&mut self, device: Uuid, number: u64) {
        if let Some(here) = self.devices.get_mut(&device) {
            here.seats.retain(|(seat, _)| *seat != number);
            if here.seats.is_empty() {
                self.left.push_back(device);
            }
        }
    }
}

impl Seat {
    /// Waits until a newer socket of the device has taken the place.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// Counts a frame that the device sent; false when it is one too many.
    #[must_use]
    pub fn count_frame(&self) -> bool {
        lock(&self.pace).count(Instant::now(), self.allowance)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut room = lock(&self.room);
        room.leave(self.device, self.number);
        room.forget(Instant::now());
    }
}

/// A leaky bucket, told by the moment at which it will have run dry.
#[derive(Debug)]
struct Pace {
    dry_at: Instant,
}

impl Pace {
    fn count(&mut self, now: Instant, allowance: Allowance) -> bool {
        let dry_at = self.dry_at.max(now) + allowance.frame_every;
        let fits = dry_at - now <= allowance.frame_every * allowance.burst;
        if fits {
            self.dry_at = dry_at;
        }
        fits
    }
}

/// Nothing that holds one of these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: Uuid = Uuid::from_u128(1);
    const TABLET: Uuid = Uuid::from_u128(2);
    const HOUR: Duration = Duration::from_secs(3_600);
    const SMALL: Allowance = Allowance { sockets: 2, frame_every: HOUR, burst: 3 };

    #[test]
    fn a_burst_is_taken_and_then_one_frame_at_a_time() {
        let start = Instant::now();
        let mut pace = Pace { dry_at: start };
        let mut after = |hours| pace.count(start + HOUR * hours, SMALL);
        assert_eq!([after(0), after(0), after(0), after(0)], [true, true, true, false]);
        assert_eq!([after(1), after(1), after(2)], [true, false, true]);
        assert_eq!([after(99), after(99), after(99), after(99)], [true, true, true, false], "a pause saves no more");
    }

    #[test]
    fn the_newest_sockets_have_the_places() {
        let devices = Devices::default();
        let seats: Vec<_> = (0..2).map(|_| devices.enter(PHONE, SMALL)).collect();
        let _other = devices.enter(TABLET, SMALL);
        assert!(seats.iter().all(|seat| !seat.displaced.is_cancelled()), "at the bound");
        let newest = devices.enter(PHONE, SMALL);
        let displaced: Vec<_> = seats.iter().chain([&newest]).map(|seat| seat.displaced.is_cancelled()).collect();
        assert_eq!(displaced, [true, false, false]);
    }

    #[test]
    fn the_sockets_of_a_device_share_one_pace_and_reconnecting_buys_no_frames() {
        let devices = Devices::default();
        let (one, other) = (devices.enter(PHONE, SMALL), devices.enter(PHONE, SMALL));
        assert_eq!([one.count_frame(), other.count_frame(), one.count_frame()], [true; 3]);
        assert!(!other.count_frame());
        drop((one, other));
        assert!(!devices.enter(PHONE, SMALL).count_frame());
        assert!(devices.enter(TABLET, SMALL).count_frame());
        lock(&devices.room).forget(Instant::now() + HOUR * 3);
        assert!(lock(&devices.room).devices.is_empty(), "nobody is remembered for longer than that");
    }
}
