//! What the server took out of documents, on its way into the store.

use rand::RngCore;

use super::{DeviceEffect, DeviceSession, SessionError};
use crate::store::{Applied, Store};

impl DeviceSession {
    /// Takes what pages brought of voids; what is written again goes to the server.
    pub(super) fn take_voids(
        &mut self,
        store: &mut Store,
        applied: &Applied,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        if applied.voids == 0 {
            return Ok(());
        }
        let handed_over = store.take_voids(applied, now_ms, rng)?;
        if handed_over > 0 {
            effects.push(DeviceEffect::Refused(handed_over));
        }
        self.push(store, effects)
    }
}
