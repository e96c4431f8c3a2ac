//! What people write without a store of their own, such as on the web: a document made here and accepted by ingest like any
//! device's, under the same judge.

use std::fmt;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, DocId, FeedId};
use fitme_core::record::{self, Author, Invalid};
use fitme_core::wire::{EntryKind, FeedPush, Receipt};
use serde_json::Value;
use uuid::Uuid;

use crate::auth::Device;
use crate::bytes::random_bytes;
use crate::engine::Engine;
use crate::error::{ApiError, Refusal};
use crate::ingest::check::Origin;

/// Writes for people; cloning is cheap. Its actors are drawn anew with each start of the process, one for each device that
/// asks, as an actor belongs to one device and is never used again after a restart.
#[derive(Clone)]
pub struct WebWriter {
    key: [u8; blake3::KEY_LEN],
}

impl Default for WebWriter {
    fn default() -> Self {
        Self { key: random_bytes() }
    }
}

impl fmt::Debug for WebWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebWriter")
    }
}

/// A document to be made.
pub struct NewDocument<'a> {
    /// Where.
    pub feed: FeedId,
    /// What the feed holds.
    pub collection: Collection,
    /// Under which id.
    pub doc_id: DocId,
    /// What it says.
    pub fields: &'a Value,
}

impl WebWriter {
    /// Makes a document, which is durable and under way to everybody's devices when this returns.
    ///
    /// # Errors
    /// `unavailable` where nothing was decided, `bad_request` with ingest's sentence where it was refused.
    pub async fn create(
        &self,
        engine: &Engine,
        device: Device,
        document: &NewDocument<'_>,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let entry = self.entry(device, document, now_ms);
        let entry = entry.map_err(|invalid| ApiError::BadRequest.because(invalid.to_string()))?;
        let push = FeedPush { feed: document.feed, entries: vec![entry] };
        match engine.settle(device, 0, vec![push], Origin::default()).await.receipts.pop() {
            Some(Receipt::Accepted(_) | Receipt::Duplicate { .. }) => Ok(()),
            Some(Receipt::Rejected(why)) => Err(ApiError::BadRequest.because(why.message)),
            Some(Receipt::Retry(why)) => Err(ApiError::Unavailable.caused_by(why.code)),
            None => Err(ApiError::Internal.caused_by("a push of one entry got no receipt")),
        }
    }

    /// The entry that makes a document.
    ///
    /// # Errors
    /// When the fields are no record of the collection.
    pub fn entry(&self, device: Device, document: &NewDocument<'_>, now_ms: i64) -> Result<Entry, Invalid> {
        let author = Author { actor: self.actor(device.device), time_ms: now_ms };
        let (_, payload) = record::create(document.collection, document.fields, &author, &mut rand::rng())?;
        let (kind, doc_id, salt) = (EntryKind::Change.into(), document.doc_id, random_bytes());
        Ok(Entry { kind, doc_id, device_time: now_ms, salt, payload })
    }

    fn actor(&self, device: Uuid) -> ActorId {
        let hash = blake3::keyed_hash(&self.key, device.as_bytes());
        let mut actor = [0; 16];
        actor.copy_from_slice(&hash.as_bytes()[..16]);
        ActorId(actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_and_each_process_has_an_actor_of_its_own() {
        let (phone, tablet) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (before, after) = (WebWriter::default(), WebWriter::default());
        assert_eq!(before.actor(phone), before.clone().actor(phone));
        assert_ne!(before.actor(phone), before.actor(tablet));
        assert_ne!(before.actor(phone), after.actor(phone));
    }
}
