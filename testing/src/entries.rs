//! Entries as a device would make them, without a store around them.

use fitme_core::collection::Collection;
use fitme_core::entry::{Entry, random_salt};
use fitme_core::id::{ActorId, DocId};
use fitme_core::record::{self, Author};
use fitme_core::wire::EntryKind;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::{Value, json};

/// 2026-11-22 08:00 UTC.
const MORNING: i64 = 1_795_334_400_000;

/// The first entry of a new mood; `seed` draws its id, its actor and its salt.
#[must_use]
pub fn mood(seed: u64, valence: i64) -> Entry {
    first(seed, &json!({ "at": MORNING, "valence": valence }))
}

/// The first entry of a new mood of about `kib` KiB that do not compress: tags of random letters, four to the KiB. A note
/// of that length would be an operation a letter, and slow to make.
#[must_use]
pub fn large_mood(seed: u64, kib: usize) -> Entry {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
    let mut tag = || {
        let mut letters = vec![0; 250];
        rng.fill_bytes(&mut letters);
        letters.into_iter().map(|byte| char::from(b'a' + byte % 26)).collect::<String>()
    };
    let tags: Vec<_> = (0..4 * kib).map(|_| tag()).collect();
    first(seed, &json!({ "at": MORNING, "valence": 0, "tags": tags }))
}

/// The first entry of a new mood with a note of so many letters, each an operation.
#[must_use]
pub fn mood_with_note(seed: u64, letters: usize) -> Entry {
    first(seed, &json!({ "at": MORNING, "valence": 0, "note": "a".repeat(letters) }))
}

/// An edit of a mood whose first entry nobody has pushed.
#[must_use]
pub fn edit_of_nothing(seed: u64) -> Entry {
    let mut rng = StdRng::seed_from_u64(seed);
    let author = Author { actor: ActorId::random(&mut rng), time_ms: MORNING };
    let fields = json!({ "at": MORNING, "valence": 0 });
    let (mut doc, _) = record::create(Collection::Moods, &fields, &author, &mut rng).expect("a valid mood");
    let patch = json!({ "valence": 2 });
    let edit = record::edit(&mut doc, Collection::Moods, &patch, &author, &mut rng).expect("a valid edit");
    entry(edit.expect("the value differs"), &mut rng)
}

fn first(seed: u64, fields: &Value) -> Entry {
    let mut rng = StdRng::seed_from_u64(seed);
    let author = Author { actor: ActorId::random(&mut rng), time_ms: MORNING };
    let (_, payload) = record::create(Collection::Moods, fields, &author, &mut rng).expect("a valid mood");
    entry(payload, &mut rng)
}

fn entry(payload: Vec<u8>, rng: &mut StdRng) -> Entry {
    let salt = random_salt(rng);
    Entry { kind: EntryKind::Change.into(), doc_id: DocId::random(MORNING, rng), device_time: MORNING, salt, payload }
}
