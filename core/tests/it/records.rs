//! Records from the outside: made, edited, merged and checked as a device and a server do.

mod convergence;
mod derived;
mod editing;
mod examples;
mod ingest;
mod merging;
mod shape;

use automerge::Automerge;
use fitme_core::change;
use fitme_core::collection::Collection;
use fitme_core::id::{ActorId, DocId};
use fitme_core::record::{self, Author};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use examples::MORNING;

/// A device: its writer, its clock, its randomness and its copy of one document.
pub struct Device {
    pub author: Author,
    pub rng: StdRng,
    pub doc: Automerge,
}

impl Device {
    /// Device number `number`, with an empty document.
    pub fn new(number: u8) -> Self {
        let author = Author { actor: ActorId([number; 16]), time_ms: MORNING + i64::from(number) };
        Self { author, rng: StdRng::seed_from_u64(u64::from(number)), doc: record::blank() }
    }

    /// Logs a new record; returns the change.
    pub fn create(&mut self, collection: Collection, fields: &Value) -> Vec<u8> {
        let (doc, payload) = record::create(collection, fields, &self.author, &mut self.rng).unwrap();
        self.doc = doc;
        payload
    }

    /// Another device with the same document.
    pub fn copy(&self, number: u8) -> Self {
        let mut device = Self::new(number);
        device.receive(&self.changes());
        device
    }

    /// Edits its record; returns the change, if anything changed.
    pub fn edit(&mut self, collection: Collection, patch: &Value) -> Option<Vec<u8>> {
        self.try_edit(collection, patch).unwrap_or_else(|invalid| panic!("{invalid}"))
    }

    pub fn try_edit(&mut self, collection: Collection, patch: &Value) -> Result<Option<Vec<u8>>, record::Invalid> {
        record::edit(&mut self.doc, collection, patch, &self.author, &mut self.rng)
    }

    /// All changes it holds.
    pub fn changes(&self) -> Vec<Vec<u8>> {
        self.doc.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect()
    }

    /// Applies what others made, read as it arrives from a network.
    pub fn receive(&mut self, payloads: &[Vec<u8>]) {
        let changes = payloads.iter().map(|payload| change::read(payload).unwrap().into_change());
        self.doc.apply_changes(changes.collect::<Vec<_>>()).unwrap();
    }

    /// Both devices send each other what they have.
    pub fn meet(&mut self, other: &mut Self) {
        let (mine, theirs) = (self.changes(), other.changes());
        self.receive(&theirs);
        other.receive(&mine);
    }

    pub fn record(&self, collection: Collection) -> Value {
        record::project(&self.doc, collection).record
    }
}

/// The id of a document that one device made.
pub fn random_id() -> DocId {
    DocId::random(MORNING, &mut StdRng::seed_from_u64(9))
}

/// Every change of the document passes what ingest checks.
pub fn accepted(collection: Collection, doc_id: DocId, payloads: &[Vec<u8>]) {
    for payload in payloads {
        let read = change::read(payload).unwrap_or_else(|bad| panic!("{bad}"));
        record::check_change(collection, doc_id, &read).unwrap_or_else(|bad| panic!("{bad}"));
    }
}
