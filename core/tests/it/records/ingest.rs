//! What a server refuses although it is a well-formed change: made by hand, past the rules of the device.

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{Automerge, AutomergeError, ObjType, ROOT, ReadDoc, ScalarValue};
use fitme_core::change;
use fitme_core::collection::Collection::{self, Meals, Moods, Workouts};
use fitme_core::id::{ActorId, DocId};
use fitme_core::merge;
use fitme_core::record::{self, BadContent, Scalar};

use super::examples::{self, MORNING};
use super::{Device, random_id};

fn verdict(collection: Collection, doc_id: DocId, payload: &[u8]) -> Result<(), BadContent> {
    record::check_change(collection, doc_id, &change::read(payload).unwrap())
}

/// One change that no device of this version makes, on top of `doc`.
fn forged(
    doc: &mut Automerge,
    actor: ActorId,
    time: i64,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<(), AutomergeError>,
) -> Vec<u8> {
    doc.set_actor(actor.as_bytes().into());
    let mut tx = doc.transaction();
    write(&mut tx).unwrap();
    tx.commit_with(CommitOptions::default().with_time(time));
    doc.get_last_local_change().unwrap().raw_bytes().to_vec()
}

/// Mallory edits the full example of `collection` past all rules.
fn mallory(
    collection: Collection,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<(), AutomergeError>,
) -> Result<(), BadContent> {
    let mut device = Device::new(1);
    device.create(collection, &examples::full(collection));
    verdict(collection, random_id(), &forged(&mut device.doc, ActorId([66; 16]), 1, write))
}

fn put(
    key: &'static str,
    value: impl Into<ScalarValue>,
) -> impl FnOnce(&mut Transaction<'_>) -> Result<(), AutomergeError> {
    let value = value.into();
    move |tx| tx.put(ROOT, key, value)
}

fn in_first_exercise(
    key: &'static str,
    value: impl Into<ScalarValue>,
) -> impl FnOnce(&mut Transaction<'_>) -> Result<(), AutomergeError> {
    let value = value.into();
    move |tx| {
        let (_, exercises) = tx.get(ROOT, "exercises")?.unwrap();
        let (_, bench) = tx.get(&exercises, "0000000a")?.unwrap();
        tx.put(bench, key, value)
    }
}

#[test]
fn values_outside_the_table_are_refused_by_their_key() {
    for (collection, key, value) in [
        (Workouts, "session_rpe", ScalarValue::F64(f64::NAN)),
        (Workouts, "session_rpe", ScalarValue::F64(10.5)),
        (Workouts, "session_rpe", ScalarValue::Int(5)),
        (Workouts, "start", ScalarValue::Timestamp(i64::MAX)),
        (Workouts, "start", ScalarValue::Null),
        (Workouts, "laps/0/distance", ScalarValue::Str("-1 m".into())),
        (Workouts, "laps/0/distance", ScalarValue::Str("1 kg".into())),
        (Workouts, "title", ScalarValue::Str("x".repeat(257).into())),
        (Workouts, "title", ScalarValue::counter(1)),
        (Workouts, "trashed", ScalarValue::Int(1)),
        (Meals, "kind", ScalarValue::Str("x".repeat(257).into())),
        (Moods, "valence", ScalarValue::Int(3)),
    ] {
        let refused = mallory(collection, put(key, value)).unwrap_err();
        let leaf = key.rsplit('/').next().unwrap();
        assert!(matches!(&refused, BadContent::Value { key, .. } if key == leaf), "{key}: {refused}");
        assert!(refused.to_string().starts_with(leaf), "{refused}");
    }
    assert!(matches!(mallory(Workouts, in_first_exercise("reps", 5_000)), Err(BadContent::Value { .. })));
    assert!(matches!(mallory(Workouts, in_first_exercise("reps", true)), Err(BadContent::Value { .. })));
}

#[test]
fn a_newer_device_may_write_new_choices_and_new_fields() {
    assert_eq!(mallory(Meals, put("kind", "brunch")), Ok(()));
    assert_eq!(mallory(Meals, put("water", 1.5)), Ok(()));
    assert_eq!(mallory(Meals, put("steps", ScalarValue::counter(5))), Ok(()));
    assert_eq!(mallory(Workouts, in_first_exercise("tempo", "3010")), Ok(()));
    assert_eq!(mallory(Meals, put("menu", "x".repeat(65_537))), Err(BadContent::Unknown));
    assert_eq!(mallory(Meals, put("water", f64::INFINITY)), Err(BadContent::Unknown));
    assert_eq!(mallory(Meals, |tx| tx.put(ROOT, "k".repeat(257), 1)), Err(BadContent::Unknown));
}

/// A note with U+0000 was accepted, and Postgres refused the merged record: jsonb cannot hold that character. The document
/// was quarantined for good, with every later edit of it. Keys are shown as well: tags, ids of items, unknown fields.
#[test]
fn no_text_and_no_key_holds_what_the_database_cannot_store() {
    let into_note = |tx: &mut Transaction<'_>| {
        let (_, note) = tx.get(ROOT, "note")?.unwrap();
        tx.splice_text(note, 0, 0, "slept\u{0}well")
    };
    let as_tag = |tx: &mut Transaction<'_>| {
        let (_, tags) = tx.get(ROOT, "tags")?.unwrap();
        tx.put(tags, "sun\u{0}", true)
    };
    let as_item = |tx: &mut Transaction<'_>| {
        let (_, items) = tx.get(ROOT, "items")?.unwrap();
        tx.put_object(items, "0000000\u{0}", ObjType::Map).map(drop)
    };
    let verdicts = [
        mallory(Moods, into_note),
        mallory(Moods, as_tag),
        mallory(Meals, as_item),
        mallory(Meals, put("menu", "soup\u{0}")),
        mallory(Meals, put("me\u{0}nu", 1)),
        mallory(Workouts, in_first_exercise("tempo", "30\u{0}1")),
    ];
    for verdict in verdicts {
        let refused = verdict.unwrap_err();
        assert_eq!(refused, BadContent::ForbiddenCharacter);
        assert!(refused.to_string().contains("take it out"), "{refused}");
    }
    let line_break = |tx: &mut Transaction<'_>| {
        let (_, note) = tx.get(ROOT, "note")?.unwrap();
        tx.splice_text(note, 0, 0, "\u{1}\n\u{fffe}")
    };
    assert_eq!(mallory(Moods, line_break), Ok(()), "every other character can be stored");
}

/// A newer version may nest maps in an item, and one change may hold 10,000 operations. Looking for conflicts called itself
/// once a level, and the path of each level was written out in full: one such record ended every device that showed it.
#[test]
fn a_record_nested_without_end_is_accepted_and_costs_those_who_show_it_little() {
    const LEVELS: usize = 9_000;
    let mut mallory = Device::new(66);
    mallory.create(Workouts, &examples::full(Workouts));
    let payload = forged(&mut mallory.doc, ActorId([66; 16]), 1, |tx| {
        let (_, exercises) = tx.get(ROOT, "exercises")?.unwrap();
        let mut object = tx.get(&exercises, "0000000a")?.unwrap().1;
        for _ in 0..LEVELS {
            object = tx.put_object(object, "n".repeat(100), ObjType::Map)?;
        }
        Ok(())
    });
    assert_eq!(verdict(Workouts, random_id(), &payload), Ok(()));
    assert_eq!(record::conflicts(&mallory.doc, Workouts), []);
    let history = record::history(&mallory.doc).unwrap();
    let shown: usize = history.iter().flat_map(|change| &change.fields).map(String::len).sum();
    assert!(shown < 10_000, "{shown} bytes of paths");
}

#[test]
fn containers_are_made_once_and_stay() {
    assert_eq!(mallory(Workouts, put("exercises", 1)), Err(BadContent::Container { key: "exercises" }));
    assert_eq!(mallory(Workouts, |tx| tx.delete(ROOT, "note")), Err(BadContent::Container { key: "note" }));
    assert_eq!(mallory(Workouts, in_first_exercise("sets", 1)), Err(BadContent::Container { key: "sets" }));
    assert_eq!(
        mallory(Workouts, |tx| tx.put_object(ROOT, "exercises", ObjType::Map).map(drop)),
        Err(BadContent::LateContainer)
    );
    assert_eq!(
        mallory(Workouts, |tx| tx.put_object(ROOT, "photos", ObjType::Map).map(drop)),
        Err(BadContent::LateContainer)
    );
    assert_eq!(
        mallory(Workouts, |tx| tx.put_object(ROOT, "title", ObjType::Text).map(drop)),
        Err(BadContent::LateContainer)
    );
}

#[test]
fn a_first_change_makes_every_container_of_its_type() {
    let mut none = record::blank();
    let payload = forged(&mut none, ActorId([66; 16]), 1, put("start", ScalarValue::Timestamp(MORNING)));
    assert_eq!(verdict(Workouts, random_id(), &payload), Err(BadContent::Container { key: "note" }));

    let mut wrong = record::blank();
    let payload = forged(&mut wrong, ActorId([66; 16]), 1, |tx| {
        tx.put_object(ROOT, "note", ObjType::Map)?;
        tx.put_object(ROOT, "exercises", ObjType::Map).map(drop)
    });
    assert_eq!(verdict(Workouts, random_id(), &payload), Err(BadContent::Container { key: "note" }));
}

#[test]
fn a_document_with_a_derived_id_starts_from_its_genesis_only() {
    let derived = record::imported_id(&[1; 32], 0, 0);
    let mut device = Device::new(1);
    let creation = device.create(Workouts, &examples::strength());
    assert_eq!(verdict(Workouts, derived, &creation), Err(BadContent::Genesis));

    let mut doc = record::from_genesis(Workouts);
    let second = forged(&mut doc, ActorId(*b"fitme/genesis/v1"), 0, put("title", "mine"));
    assert_eq!(verdict(Workouts, derived, &second), Err(BadContent::Genesis));
}

#[test]
fn imported_changes_have_exactly_one_form() {
    let doc_id = record::imported_id(&[1; 32], 0, 0);
    let importer = record::import_actor(doc_id, 4);
    let import = |time, write: fn(&mut Transaction<'_>) -> Result<(), AutomergeError>| {
        let mut doc = record::from_genesis(Workouts);
        verdict(Workouts, doc_id, &forged(&mut doc, importer, time, write))
    };
    let start = |tx: &mut Transaction<'_>| tx.put(ROOT, "start", ScalarValue::Timestamp(MORNING));
    assert_eq!(import(0, start), Ok(()));
    assert_eq!(import(5, start), Err(BadContent::Import), "with a time");
    assert_eq!(
        import(0, |tx| tx.put(ROOT, "zone_guess", "UTC")),
        Err(BadContent::Import),
        "with a guess of the device"
    );
    assert_eq!(import(0, |tx| tx.put(ROOT, "zone", "UTC")), Err(BadContent::Import), "in a person's name");
    assert_eq!(import(0, |tx| tx.put(ROOT, "trashed", true)), Err(BadContent::Import));
    assert_eq!(import(0, |tx| tx.put_object(ROOT, "photos", ObjType::Map).map(drop)), Err(BadContent::Import));
    let into_note = |tx: &mut Transaction<'_>| {
        let (_, note) = tx.get(ROOT, "note")?.unwrap();
        tx.splice_text(note, 0, 0, "x")
    };
    assert_eq!(import(0, into_note), Err(BadContent::Import));

    let mut edited = record::from_genesis(Workouts);
    forged(&mut edited, ActorId([1; 16]), 1, start);
    let late = forged(&mut edited, importer, 0, put("title", "late"));
    assert_eq!(verdict(Workouts, doc_id, &late), Err(BadContent::Import), "on top of an edit");

    let elsewhere = record::imported_id(&[2; 32], 0, 0);
    let payload = record::import(Workouts, doc_id, 4, &[("start".to_owned(), Scalar::Time(MORNING))]).unwrap();
    assert_eq!(
        verdict(Workouts, elsewhere, &payload),
        Err(BadContent::ReservedActor),
        "an importer of another document"
    );
}

#[test]
fn a_change_without_dependencies_is_the_first_of_its_actor() {
    let mut device = Device::new(1);
    device.create(Moods, &examples::mood());
    let change = device.doc.get_last_local_change().unwrap();
    let mut expanded = change.decode();
    expanded.seq = 2;
    let payload = automerge::Change::from(expanded).raw_bytes().to_vec();
    assert_eq!(verdict(Moods, random_id(), &payload), Err(BadContent::NotFirst));
}

#[test]
fn collections_without_a_table_are_refused() {
    let mut device = Device::new(1);
    let payload = device.create(Moods, &examples::mood());
    assert_eq!(verdict(Collection::Journal, random_id(), &payload), Err(BadContent::NotServed(Collection::Journal)));
}

/// A grant that could be edited would let a person find something consented to that they never read.
#[test]
fn a_grant_is_written_once() {
    let grants = Collection::Grants;
    let written_once = Err(BadContent::WriteOnce(grants));
    assert_eq!(mallory(grants, put("purpose", "care")), written_once);
    assert_eq!(mallory(grants, put("trashed", true)), written_once);

    let mut ann = Device::new(1);
    let payload = ann.create(grants, &examples::grant());
    assert_eq!(verdict(grants, random_id(), &payload), Ok(()));
    assert_eq!(verdict(grants, record::profile_id(0), &payload), written_once, "its id is drawn, never derived");
    assert!(ann.try_edit(grants, &serde_json::json!({"purpose": "care"})).is_err());

    let born_trashed = forged(&mut Automerge::new(), ActorId([66; 16]), 1, |tx| {
        tx.put(ROOT, "kind", "revocation")?;
        tx.put(ROOT, "trashed", true)
    });
    assert!(matches!(verdict(grants, random_id(), &born_trashed), Err(BadContent::Consent(_))));
}

/// automerge panics where it applies this change, which passes every check before. A server fences that in; the import of an
/// archive did not, and ended. Found by `make fuzz` in its first second.
#[test]
fn a_grant_that_breaks_the_merge_library_is_refused_by_the_device_as_well() {
    const CHANGE: &str = "856f4a8370c4504501b501001068257b86e2c3f3daa1c2a71a86895ab4010197a484e4a03400000a01040206110613091522340342065614\
     572a700200051600000515027f0300061400000100057e0006130a00017b026174046e6f746504746167730776616c656e6365047a6f6e65\
     00157f0373756e0515017d01040018017f6902007e14760c16762616261626162616460296a484e4a034014574632f555443536c65707420\
     77656c6c2e20c39c6ec3af63c3b664c3a920f09f8f831b00";
    assert!(matches!(verdict(Collection::Grants, random_id(), &from_hex(CHANGE)), Err(BadContent::Consent(_))));
}

/// automerge takes this change and cannot give it back: it panicked in the history of the record, in its export and where a
/// device folds a long tail into a snapshot. Found by `make fuzz`.
#[test]
fn a_change_that_the_merge_library_cannot_give_back_ends_nothing() {
    const CHANGE: &str = "856f4a83b53b1eb10183010010611830d3641a68f94a690dcc25d1f4b0010180d09392a034000006152a34014207560a5719700279026174\
     06656e657267790766617469677565046e6f746504746167730776616c656e6365047a6f6e650703017e040302017f69021402007e148602\
     c9b8a8a8b83301037e4175737472616c69612f5379646e65790700330103";
    let change = from_hex(CHANGE);
    assert!(change::read(&change).is_ok());
    let doc = merge::assemble([change.as_slice()]).unwrap();
    assert!(record::history(&doc).is_err());
    assert!(merge::changes(&doc).is_err());
    let _whether_it_can_be_saved_or_not = merge::save(&doc);
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}
