//! The sync session as two state machines without input or output of their own: each takes one event and answers with
//! the effects it wants. The device's half works on its [`Store`](crate::store::Store); the server's half asks whoever
//! drives it to read and write the database. Sync is cursor exchange: a reconnect with nothing new is one summary of 16
//! bytes each way, however many documents exist.

use crate::entry::Digest;
use crate::id::{Epoch, FeedId};
use crate::wire::Cursors;

mod device;
mod server;

pub use device::{DeviceEffect, DeviceEvent, DeviceSession, Progress, SessionError};
pub use server::{
    Account, AccountFeed, Echo, Grants, LiveEntries, Mode, Own, Page, Place, RETRY_AFTER_HELLO, Received, ServerEffect,
    ServerEvent, ServerSession, Settled, SnapshotsAsked, SnapshotsRead,
};

/// 16 bytes over what a device holds of its feeds, which must come in ascending order.
pub fn summary(feeds: impl IntoIterator<Item = (FeedId, Epoch, u64, Digest)>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("fitme 2026 cursor summary v1");
    for (feed, epoch, cursor, digest) in feeds {
        hasher
            .update(&feed.0.to_le_bytes())
            .update(epoch.as_bytes())
            .update(&cursor.to_le_bytes())
            .update(&digest.to_bytes());
    }
    let mut summary = [0; 16];
    summary.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    summary
}

/// The summary that a device with these cursors has if its history is this one; `None` if it cannot be. Both are in
/// ascending order, so one walk finds all: a trainer has thousands of feeds.
fn summary_at(account: &Account, cursors: &Cursors) -> Option<[u8; 16]> {
    let mut feeds = account.feeds.iter();
    let held = cursors.0.iter().map(|(id, cursor)| {
        let feed = feeds.find(|feed| feed.feed >= *id).filter(|feed| feed.feed == *id)?;
        Some((feed.feed, feed.epoch, *cursor, feed.digest_at_cursor?))
    });
    let held = held.collect::<Option<Vec<_>>>()?;
    Some(summary(held))
}
