//! Entries written without a store: what the server is fed with, prepared before anything is timed.

use automerge::Automerge;
use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, DocId};
use fitme_core::record;
use fitme_core::wire::EntryKind;
use fitme_testing::realistic::{Act, Diary, Sets};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::Value;

/// One writer of entries; the same seed writes the same ones.
pub struct Author {
    /// Who signs.
    pub actor: ActorId,
    rng: StdRng,
    diary: Diary,
    last: Option<Last>,
}

/// The record that was logged last.
struct Last {
    doc_id: DocId,
    collection: Collection,
    doc: Automerge,
}

impl Author {
    /// A writer with a diary of its own.
    pub fn new(seed: u64, sets: Sets) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ u64::from_le_bytes(*b"anauthor"));
        Self { actor: ActorId::random(&mut rng), rng, diary: Diary::new(seed, sets), last: None }
    }

    /// The same with a diary that begins then, ms UTC.
    pub fn since(seed: u64, sets: Sets, first_ms: i64) -> Self {
        Self { diary: Diary::new(seed, sets).since(first_ms), ..Self::new(seed, sets) }
    }

    /// Edits the record that was logged last.
    pub fn edit(&mut self, patch: &Value, at_ms: i64) -> Entry {
        let author = record::Author { actor: self.actor, time_ms: at_ms };
        let last = self.last.as_mut().expect("a diary begins with a record");
        let edited = record::edit(&mut last.doc, last.collection, patch, &author, &mut self.rng);
        let payload = edited.expect("the edit is valid").expect("the edit changes something");
        let doc_id = last.doc_id;
        self.entry(doc_id, at_ms, payload)
    }

    /// Under which actor it writes.
    pub fn actor(&self) -> ActorId {
        self.actor
    }

    fn log(&mut self, collection: &str, fields: &Value, at_ms: i64) -> Entry {
        let collection = Collection::named(collection).expect("a diary keeps to the collections there are");
        self.record(collection, fields, at_ms)
    }

    /// Makes a record.
    pub fn record(&mut self, collection: Collection, fields: &Value, at_ms: i64) -> Entry {
        let author = record::Author { actor: self.actor, time_ms: at_ms };
        let made = record::create(collection, fields, &author, &mut self.rng);
        let (doc, payload) = made.expect("a diary holds valid records");
        let doc_id = DocId::random(at_ms, &mut self.rng);
        self.last = Some(Last { doc_id, collection, doc });
        self.entry(doc_id, at_ms, payload)
    }

    fn entry(&mut self, doc_id: DocId, device_time: i64, payload: Vec<u8>) -> Entry {
        let mut salt = [0; 8];
        self.rng.fill_bytes(&mut salt);
        Entry { kind: EntryKind::Change.into(), doc_id, device_time, salt, payload }
    }
}

impl Iterator for Author {
    type Item = (&'static str, Entry);

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.diary.next()? {
            Act::Log { collection, fields, at_ms } => (collection, self.log(collection, &fields, at_ms)),
            Act::Set { patch, at_ms } => ("workouts", self.edit(&patch, at_ms)),
        })
    }
}
