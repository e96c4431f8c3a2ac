//! How much of this node one device may take: so many sockets, and so many frames a second over all of them and its
//! one-shot exchanges. What goes beyond is a fault in an app or an attack, and must not become other people's waiting.
//!
//! The newest socket always gets its place and the oldest gives up its own: a phone that loses its network leaves dead
//! sockets behind, and must not be locked out by them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fitme_core::limits;
use fitme_core::wire::{Goodbye, Reason};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// When a device that took more than its share may come back, in milliseconds.
pub const RETRY_AFTER_MS: u32 = 30_000;

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
    /// Those without a socket. They are remembered until their pace is dry: reconnecting buys no frames.
    left: VecDeque<Uuid>,
}

#[derive(Debug)]
struct Present {
    /// Whether it stands in `left`.
    left: bool,
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
        let here = room.present(device, Instant::now());
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

    /// Counts a frame of a one-shot exchange; false when it is one too many.
    #[must_use]
    pub fn count_frame(&self, device: Uuid, allowance: Allowance) -> bool {
        let (mut room, now) = (lock(&self.room), Instant::now());
        let fits = lock(&room.present(device, now).pace).count(now, allowance);
        room.wait_outside(device);
        fits
    }
}

/// What a device is told that sends too much.
#[must_use]
pub fn too_fast() -> Goodbye {
    let message = "the device sends more than a server takes; reconnect later".to_owned();
    Goodbye { reason: Reason::TooFast, message, retry_after_ms: RETRY_AFTER_MS }
}

impl Room {
    fn present(&mut self, device: Uuid, now: Instant) -> &mut Present {
        self.forget(now);
        self.devices.entry(device).or_insert_with(|| Present {
            left: false,
            seats: VecDeque::new(),
            next: 0,
            pace: Arc::new(Mutex::new(Pace { dry_at: now })),
        })
    }

    /// Forgets who has no socket and whose pace is dry; looks at one more than those.
    fn forget(&mut self, now: Instant) {
        while let Some(device) = self.left.front() {
            match self.devices.get_mut(device) {
                Some(here) if !here.seats.is_empty() => here.left = false,
                Some(here) if lock(&here.pace).dry_at > now => return,
                _ => drop(self.devices.remove(device)),
            }
            self.left.pop_front();
        }
    }

    fn leave(&mut self, device: Uuid, number: u64) {
        if let Some(here) = self.devices.get_mut(&device) {
            here.seats.retain(|(seat, _)| *seat != number);
            self.wait_outside(device);
        }
    }

    fn wait_outside(&mut self, device: Uuid) {
        if let Some(here) = self.devices.get_mut(&device).filter(|here| here.seats.is_empty() && !here.left) {
            here.left = true;
            self.left.push_back(device);
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
    fn sockets_and_exchanges_share_one_pace_and_reconnecting_buys_no_frames() {
        let devices = Devices::default();
        let (one, other) = (devices.enter(PHONE, SMALL), devices.enter(PHONE, SMALL));
        assert_eq!([one.count_frame(), other.count_frame(), devices.count_frame(PHONE, SMALL)], [true; 3]);
        assert_eq!([other.count_frame(), devices.count_frame(PHONE, SMALL)], [false; 2]);
        drop((one, other));
        assert!(!devices.enter(PHONE, SMALL).count_frame());
        assert!(devices.count_frame(TABLET, SMALL));
    }

    #[test]
    fn nobody_is_remembered_for_longer_than_frames_are() {
        let devices = Devices::default();
        assert!(devices.count_frame(TABLET, SMALL) && devices.count_frame(TABLET, SMALL));
        assert!(devices.enter(PHONE, SMALL).count_frame());
        let stays = devices.enter(PHONE, SMALL);
        let mut room = lock(&devices.room);
        assert_eq!(room.left, [TABLET, PHONE]);
        room.forget(Instant::now() + HOUR * 3);
        assert_eq!((room.devices.len(), room.left.len()), (1, 0));
        drop(room);
        drop(stays);
        assert_eq!(lock(&devices.room).left, [PHONE], "in the line again");
    }
}
