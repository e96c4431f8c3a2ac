//! Documents out of one store and into another: the same ones, change by change.

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::limits;
use fitme_core::store::{ArchivedDocument, BadDocument, Command, PutBack, Store};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::hub::{Device, MORNING, random_command};

/// Everything of a store, as an archive carries it.
fn archived(store: &Store) -> Vec<ArchivedDocument> {
    let of = |collection| store.documents_of(collection).unwrap().into_iter().map(move |id| (collection, id));
    Collection::ALL
        .into_iter()
        .flat_map(of)
        .map(|(collection, id)| ArchivedDocument::read(collection, id, &store.archived(id).unwrap().unwrap()).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_put_back_is_the_same_and_waits_to_be_sent_once(seed in 0u64..1_000_000, writes in 1usize..30) {
        let (mut phone, mut tablet) = (Device::new("phone", seed), Device::new("tablet", seed + 1));
        let mut commands = StdRng::seed_from_u64(seed);
        let mut known = Vec::new();
        for _ in 0..writes {
            let written = phone.store.write(&random_command(&mut commands, &known), MORNING, &mut phone.rng).unwrap();
            if !known.contains(&written.doc_id) {
                known.push(written.doc_id);
            }
        }
        let (archive, changes) = (archived(&phone.store), phone.store.status().unwrap().pending);
        let done = tablet.store.put_back(&archive, MORNING, &mut tablet.rng).unwrap();
        prop_assert_eq!(done, PutBack { documents: archive.len(), changes: changes as usize });
        prop_assert_eq!(tablet.store.heads().unwrap(), phone.store.heads().unwrap());
        prop_assert_eq!(tablet.store.status().unwrap(), phone.store.status().unwrap());
        for id in known {
            prop_assert_eq!(tablet.store.show(id).unwrap(), phone.store.show(id).unwrap());
        }
        let again = tablet.store.put_back(&archive, MORNING, &mut tablet.rng).unwrap();
        prop_assert_eq!(again, PutBack::default());
        prop_assert_eq!(tablet.store.status().unwrap().pending, changes);
    }
}

#[test]
fn what_was_erased_stays_erased_though_an_older_archive_has_it() {
    let mut phone = Device::new("phone", 1);
    let gone = phone.log(Collection::Moods, json!({ "at": MORNING, "valence": 1, "note": "best forgotten" }));
    let kept = phone.log(Collection::Moods, json!({ "at": MORNING, "valence": 2 }));
    let older = archived(&phone.store);
    phone.store.write(&Command::Erase { doc_id: gone }, MORNING, &mut phone.rng).unwrap();
    assert_eq!(archived(&phone.store).len(), 1, "an archive of today does not have it");
    assert_eq!(phone.store.put_back(&older, MORNING, &mut phone.rng).unwrap(), PutBack::default());
    assert_eq!(phone.store.documents_of(Collection::Moods).unwrap(), [kept]);
}

/// The home is an older copy of the one that was exported: going on under its actor would fork it.
#[test]
fn a_home_that_meets_its_own_later_changes_goes_on_under_another_actor() {
    let mut phone = Device::new("phone", 1);
    phone.log(Collection::Moods, json!({ "at": MORNING, "valence": 1 }));
    let mut copy = phone.cloned("copy").store;
    let before = copy.actor().unwrap();
    assert_eq!(copy.put_back(&archived(&phone.store), MORNING, &mut phone.rng).unwrap(), PutBack::default());
    assert_eq!(copy.actor().unwrap(), before, "it has met nothing new");
    phone.log(Collection::Moods, json!({ "at": MORNING, "valence": 2 }));
    copy.put_back(&archived(&phone.store), MORNING, &mut phone.rng).unwrap();
    assert_ne!(copy.actor().unwrap(), before);
}

#[test]
fn bytes_that_are_not_one_whole_document_are_refused() {
    let mut phone = Device::new("phone", 1);
    let id = phone.log(Collection::Moods, json!({ "at": MORNING, "valence": 1 }));
    let first = phone.store.archived(id).unwrap().unwrap();
    let edit = Command::Edit { doc_id: id, patch: json!({ "valence": 2 }) };
    phone.store.write(&edit, MORNING, &mut phone.rng).unwrap();
    let whole = phone.store.archived(id).unwrap().unwrap();
    let read = |collection, id, bytes: &[u8]| ArchivedDocument::read(collection, id, bytes);
    assert_eq!(read(Collection::Moods, id, &whole).unwrap().changes(), 2);

    let refused = |bytes: &[u8]| read(Collection::Moods, id, bytes).unwrap_err();
    assert_eq!(refused(&[]), BadDocument::Empty);
    assert!(matches!(refused(&whole[..whole.len() - 1]), BadDocument::Change(_)));
    assert!(matches!(refused(&whole[first.len()..]), BadDocument::Incomplete(_)));
    assert_eq!(refused(&[first.clone(), first.clone()].concat()), BadDocument::BeginsTwice);
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(refused(&flipped), BadDocument::Change(_)));
    let bytes = limits::DOCUMENT_BYTES as usize + 1;
    assert_eq!(refused(&vec![0; bytes]), BadDocument::TooLarge { bytes });
    assert!(matches!(refused(&vec![0; bytes - 1]), BadDocument::Change(_)), "at the bound it is read");
    assert!(matches!(read(Collection::Meals, id, &whole), Err(BadDocument::Content(_))), "a mood is no meal");
    assert!(matches!(read(Collection::Moods, DocId::derived(&[b"x"]), &whole), Err(BadDocument::Content(_))));
}

/// A chunk whose header claims more than one entry may carry, all of it there.
#[test]
fn a_change_that_no_entry_carries_is_refused_before_it_is_read() {
    let chunk = |body: usize| {
        let mut chunk = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1];
        let (low, middle, high) = (body & 0x7f, body >> 7 & 0x7f, body >> 14);
        chunk.extend([low as u8 | 0x80, middle as u8 | 0x80, high as u8]);
        chunk.resize(chunk.len() + body, 0);
        chunk
    };
    let read = |chunk: Vec<u8>| ArchivedDocument::read(Collection::Moods, DocId([1; 16]), &chunk).unwrap_err();
    let header = chunk(1 << 14).len() - (1 << 14);
    assert!(matches!(read(chunk(limits::ENTRY_BYTES - header)), BadDocument::Change(_)));
    let bytes = limits::ENTRY_BYTES + 1;
    assert_eq!(read(chunk(bytes - header)), BadDocument::ChangeTooLarge { bytes });
}
