//! The sign-ins whose devices are connected to this node, so that a session ends as soon as its sign-in does.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// All of them; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct LiveSignIns {
    connected: Arc<Mutex<HashMap<Uuid, Connected>>>,
}

/// The connections of one sign-in.
#[derive(Debug)]
struct Connected {
    device: Uuid,
    count: usize,
    ended: CancellationToken,
}

/// A connection's place among them, given back when it is dropped.
#[derive(Debug)]
pub struct Presence {
    all: LiveSignIns,
    sign_in: Uuid,
    ended: CancellationToken,
}

impl LiveSignIns {
    /// Notes a connection of this sign-in, which is one of the device's.
    #[must_use]
    pub fn enter(&self, device: Uuid, sign_in: Uuid) -> Presence {
        let mut connected = self.lock();
        let entry = connected.entry(sign_in);
        let entry = entry.or_insert_with(|| Connected { device, count: 0, ended: CancellationToken::new() });
        entry.count += 1;
        Presence { all: self.clone(), sign_in, ended: entry.ended.clone() }
    }

    /// Ends the connections of a sign-in; twice changes nothing.
    pub fn end(&self, sign_in: Uuid) {
        if let Some(connected) = self.lock().get(&sign_in) {
            connected.ended.cancel();
        }
    }

    /// Ends the connections of these devices, whatever their sign-ins were.
    pub fn end_of_devices(&self, devices: &HashSet<Uuid>) {
        if !devices.is_empty() {
            let connected = self.lock();
            connected.values().filter(|one| devices.contains(&one.device)).for_each(|one| one.ended.cancel());
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().values().map(|connected| connected.count).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Connected>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Waits until the sign-in is ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut connected = self.all.lock();
        if let Some(entry) = connected.get_mut(&self.sign_in) {
            entry.count -= 1;
            if entry.count == 0 {
                connected.remove(&self.sign_in);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_connection_of_an_ended_sign_in_hears_of_it_and_nobody_else() {
        let live = LiveSignIns::default();
        let (ann, ben, phone) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let (one, two, other) = (live.enter(phone, ann), live.enter(phone, ann), live.enter(Uuid::nil(), ben));
        live.end(ann);
        one.ended().await;
        two.ended().await;
        assert!(!other.ended.is_cancelled());
        drop((one, two, other));
        assert!(live.lock().is_empty(), "nothing is remembered of those who left");
    }

    #[tokio::test]
    async fn every_connection_of_a_device_that_is_gone_hears_of_it_and_no_other_device() {
        let live = LiveSignIns::default();
        let (phone, tablet) = (Uuid::now_v7(), Uuid::now_v7());
        let (before, after) = (live.enter(phone, Uuid::now_v7()), live.enter(phone, Uuid::now_v7()));
        let other = live.enter(tablet, Uuid::now_v7());
        live.end_of_devices(&HashSet::from([phone]));
        before.ended().await;
        after.ended().await;
        assert!(!other.ended.is_cancelled());
    }
}
