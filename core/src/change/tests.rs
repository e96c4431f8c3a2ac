//! A change as strangers may send it: cut, flipped, deflated, claiming what it does not hold.

#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

use std::time::{Duration, Instant};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{Automerge, Change, ObjType, ROOT, ReadDoc, TextEncoding};

use super::*;

/// Registers and a text, long enough that automerge would deflate it.
fn change() -> Change {
    let mut doc = Automerge::new_with_encoding(TextEncoding::UnicodeCodePoint);
    doc.set_actor([7; 16].as_slice().into());
    let mut tx = doc.transaction();
    for index in 0..40 {
        tx.put(ROOT, format!("key {index}"), f64::from(index)).unwrap();
    }
    let text = tx.put_object(ROOT, "note", ObjType::Text).unwrap();
    tx.splice_text(&text, 0, 0, "a note of some length, so that the chunk is worth deflating ".repeat(8).as_str())
        .unwrap();
    tx.put(ROOT, "key 1", true).unwrap();
    tx.commit_with(CommitOptions::default().with_time(5));
    doc.get_last_local_change().unwrap()
}

fn leb(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A chunk made by hand: no dependencies, actor 7…, sequence 1, first operation 1, time 0, no message, and `columns`.
fn chunk(columns: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![0, 16];
    body.extend([7; 16]);
    body.extend([1, 1, 0, 0, 0]);
    leb(columns.len() as u64, &mut body);
    for (spec, data) in columns {
        leb(u64::from(*spec), &mut body);
        leb(data.len() as u64, &mut body);
    }
    columns.iter().for_each(|(_, data)| body.extend(data));
    wrap(&body)
}

fn wrap(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1];
    leb(body.len() as u64, &mut bytes);
    bytes.extend(body);
    bytes
}

/// `bytes` with the right checksum, which automerge tells but does not check.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let hash = Change::try_from(bytes.as_slice()).unwrap().hash();
    bytes[4..8].copy_from_slice(&hash.0[..4]);
    bytes
}

const KEY: u8 = 0x15;
const INSERT: u8 = 0x34;
const ACTION: u8 = 0x42;
const VALUE_META: u8 = 0x56;
const PREDECESSORS: u8 = 0x70;

/// The columns of two operations `put("a", null)`, with the runs of the action column as given.
fn two_puts(action: Vec<u8>) -> Vec<u8> {
    sealed(chunk(&[
        (KEY, vec![2, 1, b'a']),
        (INSERT, vec![2]),
        (ACTION, action),
        (VALUE_META, vec![2, 0]),
        (PREDECESSORS, vec![2, 0]),
    ]))
}

#[test]
fn what_automerge_wrote_is_read_back() {
    let change = change();
    let read = read(change.raw_bytes()).unwrap();
    assert_eq!(read.facts.hash.0, change.hash().0);
    assert_eq!(read.facts.actor, ActorId([7; 16]));
    assert_eq!((read.facts.actor_seq, read.facts.time_ms), (1, 5));
    assert_eq!(read.facts.operations, change.len() as u64);
    assert_eq!(read.payload(), change.raw_bytes());
    assert_eq!(reread(change.raw_bytes()).unwrap(), change);
    assert_eq!(count_operations(change.raw_bytes()), Ok(change.len() as u64));
}

#[test]
fn changes_on_several_heads_are_read_back() {
    let mut base = Automerge::new_with_encoding(TextEncoding::UnicodeCodePoint).with_actor([1; 16].as_slice().into());
    base.transact(|tx| tx.put(ROOT, "a", 1)).unwrap();
    for actor in 2..8_u8 {
        let mut other = base.fork_at(&base.get_changes(&[])[..1].iter().map(Change::hash).collect::<Vec<_>>()).unwrap();
        other.set_actor([actor; 16].as_slice().into());
        other.transact(|tx| tx.put(ROOT, "a", i64::from(actor))).unwrap();
        base.merge(&mut other).unwrap();
    }
    base.set_actor([0; 16].as_slice().into());
    base.transact(|tx| tx.put(ROOT, "a", 9)).unwrap();
    let last = base.get_last_local_change().unwrap();
    assert_eq!(last.deps().len(), 6);
    assert_eq!(read(last.raw_bytes()).unwrap().facts.deps.len(), 6);
}

#[test]
fn a_note_of_the_greatest_length_fits_one_change_and_so_does_removing_it() {
    let mut doc = Automerge::new_with_encoding(TextEncoding::UnicodeCodePoint).with_actor([1; 16].as_slice().into());
    let note = "x".repeat(limits::PROSE_BYTES);
    doc.transact(|tx| tx.put_object(ROOT, "note", ObjType::Text).and_then(|text| tx.splice_text(text, 0, 0, &note)))
        .unwrap();
    let written = doc.get_last_local_change().unwrap();
    assert!(read(written.raw_bytes()).is_ok(), "{} bytes", written.raw_bytes().len());
    let (_, text) = doc.get(ROOT, "note").unwrap().unwrap();
    doc.transact(|tx| tx.splice_text(&text, 0, note.len() as isize, "")).unwrap();
    assert!(read(doc.get_last_local_change().unwrap().raw_bytes()).is_ok());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures time, the engine does not")]
fn a_few_bytes_that_claim_a_trillion_operations_are_refused_at_once() {
    let mut run = Vec::new();
    leb(1 << 40, &mut run);
    run.push(1);
    let started = Instant::now();
    for column in [KEY, ACTION, VALUE_META, PREDECESSORS] {
        let error = read(&chunk(&[(column, run.clone())])).unwrap_err();
        assert!(
            matches!(error, BadChange::TooManyOperations { .. } | BadChange::Undecodable(_)),
            "{column:x}: {error}"
        );
    }
    let error = read(&chunk(&[(ACTION, run)])).unwrap_err();
    assert!(matches!(error, BadChange::TooManyOperations { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(1), "took {:?}", started.elapsed());
}

#[test]
fn one_operation_with_a_trillion_predecessors_is_refused() {
    let mut group = vec![1];
    leb(1 << 40, &mut group);
    let error = read(&chunk(&[(ACTION, vec![0x7f, 1]), (PREDECESSORS, group)])).unwrap_err();
    assert!(matches!(error, BadChange::TooManyOperations { .. }), "{error}");
}

#[test]
fn a_run_of_nulls_and_a_run_of_booleans_count() {
    let mut nulls = vec![0];
    leb(1 << 40, &mut nulls);
    assert!(matches!(read(&chunk(&[(KEY, nulls)])), Err(BadChange::TooManyOperations { .. })));
    let mut booleans = Vec::new();
    leb(1 << 40, &mut booleans);
    assert!(matches!(read(&chunk(&[(INSERT, booleans)])), Err(BadChange::TooManyOperations { .. })));
}

#[test]
fn a_deflated_chunk_is_refused() {
    let mut change = change();
    let deflated = change.bytes().into_owned();
    assert_eq!(deflated[8], 2, "automerge deflates a change of this length");
    assert_eq!(read(&deflated).unwrap_err(), BadChange::NotAChange);
    let document = Automerge::new().save();
    assert_eq!(read(&document).unwrap_err(), BadChange::NotAChange);
}

#[test]
fn a_deflated_column_is_refused() {
    let bytes = chunk(&[(ACTION | 0b1000, vec![1, 1])]);
    assert_eq!(read(&bytes).unwrap_err(), BadChange::NotCanonical);
}

#[test]
fn what_follows_the_chunk_is_refused() {
    let change = change();
    let twice = [change.raw_bytes(), change.raw_bytes()].concat();
    assert_eq!(read(&twice).unwrap_err(), BadChange::TrailingBytes { extra: change.raw_bytes().len() });
}

#[test]
fn of_two_encodings_of_one_change_one_is_valid() {
    let as_one_run = two_puts(vec![2, 1]);
    let as_two_literals = two_puts(vec![0x7e, 1, 1]);
    assert!(read(&as_one_run).is_ok(), "{:?}", read(&as_one_run));
    assert!(Change::try_from(as_two_literals.as_slice()).is_ok(), "automerge itself takes both");
    assert_eq!(read(&as_two_literals).unwrap_err(), BadChange::NotCanonical);
}

#[test]
fn actors_have_sixteen_bytes() {
    let mut doc = Automerge::new().with_actor([1; 15].as_slice().into());
    doc.transact(|tx| tx.put(ROOT, "a", 1)).unwrap();
    let bytes = doc.get_last_local_change().unwrap().raw_bytes().to_vec();
    assert_eq!(read(&bytes).unwrap_err(), BadChange::BadActor { length: 15 });
}

#[test]
fn too_many_dependencies_are_refused() {
    let mut body = Vec::new();
    leb(limits::CHANGE_DEPENDENCIES + 1, &mut body);
    assert!(matches!(read(&wrap(&body)), Err(BadChange::TooManyDependencies { claimed: 257 })));
}

#[test]
fn operation_numbers_near_the_end_are_refused() {
    let mut body = vec![0, 16];
    body.extend([7; 16]);
    body.push(1);
    leb(u64::from(u32::MAX), &mut body);
    body.extend([0, 0, 0, 0]);
    assert!(matches!(read(&wrap(&body)), Err(BadChange::BadCounter { .. })));
}

#[test]
fn cut_or_flipped_anywhere_it_is_refused_and_nothing_panics() {
    let bytes = change().raw_bytes().to_vec();
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(read(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
}

/// Whether the runs alone say that these bytes are what automerge writes.
fn is_plain(bytes: &[u8]) -> bool {
    Chunk::parse(bytes).is_ok_and(|chunk| {
        columns::count(&chunk.columns).is_ok_and(|operations| canonical::is_plain(&chunk, operations))
    })
}

#[test]
fn numbers_have_one_encoding() {
    let unsigned = |bytes: &[u8]| reader::Reader(bytes).unsigned();
    let signed = |bytes: &[u8]| reader::Reader(bytes).signed();
    assert_eq!((unsigned(&[0x80, 1]), signed(&[0xff, 0]), signed(&[0x80, 0x7f])), (Ok(128), Ok(127), Ok(-128)));
    let least = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
    assert_eq!(signed(&least), Ok(i64::MIN));
    for padded in [&[0x81, 0][..], &[0x80, 0x80, 0]] {
        assert_eq!(unsigned(padded), Err(BadChange::NotCanonical));
    }
    for padded in [&[0x81, 0][..], &[0xff, 0x7f]] {
        assert_eq!(signed(padded), Err(BadChange::NotCanonical));
    }
    let too_long = [0xff; 9].iter().chain(&[2]).copied().collect::<Vec<u8>>();
    assert!(unsigned(&too_long).is_err() && signed(&too_long).is_err());
}

mod anything {
    use automerge::ScalarValue;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// What two people do with one document: who and what, where, which value.
    type Step = (u8, u8, u8);

    fn scalar(n: u8) -> ScalarValue {
        match n % 9 {
            0 => ScalarValue::Null,
            1 => ScalarValue::Boolean(n > 100),
            2 => ScalarValue::Uint(u64::from(n) << (n / 5)),
            3 => ScalarValue::Int(-(i64::from(n) << (n / 5))),
            4 => ScalarValue::F64(f64::from(n) / 7.0),
            5 => ScalarValue::Str("x".repeat(usize::from(n)).into()),
            6 => ScalarValue::Bytes(vec![n; usize::from(n % 5)]),
            7 => ScalarValue::counter(i64::from(n) - 128),
            _ => ScalarValue::Timestamp(i64::from(n) * 1_000_000_007),
        }
    }

    fn step(doc: &mut Automerge, (what, place, value): Step) {
        let key = format!("k{}", place % 5);
        let object = |doc: &Automerge, key: &str| doc.get(ROOT, key).unwrap().unwrap().1;
        let (map, list, text) = (object(doc, "map"), object(doc, "list"), object(doc, "text"));
        let (length, letters) = (doc.length(&list), doc.length(&text));
        let mut tx = doc.transaction();
        for round in 0..=u8::from(value % 3 == 0) * 3 {
            let _may_not_fit = match what / 2 % 9 {
                0 => tx.put(ROOT, &key, scalar(value)),
                1 => tx.put(&map, format!("{key}{round}"), scalar(value)),
                2 => tx.insert(&list, usize::from(place) % (length + 1), scalar(value)),
                3 if length > 0 => tx.put(&list, usize::from(place) % length, scalar(value)),
                4 if length > 0 => tx.delete(&list, usize::from(place) % length),
                5 => tx.delete(&map, format!("{key}{round}")),
                6 => {
                    let at = usize::from(place) % (letters + 1);
                    tx.splice_text(&text, at, ((letters - at) as isize).min(2), "some text")
                }
                7 => tx.put_object(&map, &key, ObjType::Map).and_then(|inner| tx.put(inner, "inner", scalar(value))),
                _ => tx.increment(ROOT, &key, i64::from(value)),
            };
        }
        tx.commit_with(CommitOptions::default().with_time(i64::from(value)));
    }

    /// All changes of a document that two people edited, together and apart.
    fn changes(steps: &[Step]) -> Vec<Change> {
        let mut first =
            Automerge::new_with_encoding(TextEncoding::UnicodeCodePoint).with_actor([9; 16].as_slice().into());
        first
            .transact::<_, _, automerge::AutomergeError>(|tx| {
                tx.put_object(ROOT, "map", ObjType::Map)?;
                tx.put_object(ROOT, "list", ObjType::List)?;
                tx.put_object(ROOT, "text", ObjType::Text)
            })
            .unwrap();
        let mut second = first.fork().with_actor([3; 16].as_slice().into());
        for one in steps {
            match one.0 % 8 {
                0 => drop(first.merge(&mut second).unwrap()),
                1 => drop(second.merge(&mut first).unwrap()),
                who => step(if who % 2 == 0 { &mut first } else { &mut second }, (one.0 / 8, one.1, one.2)),
            }
        }
        first.merge(&mut second).unwrap();
        first.get_changes(&[])
    }

    fn body_of(bytes: &[u8]) -> &[u8] {
        let mut reader = reader::Reader(&bytes[9..]);
        let _length = reader.unsigned().unwrap();
        reader.0
    }

    /// A chunk with that body and a right header.
    fn reseal(body: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = wrap(body);
        let hash = guarded(|| reread_loosely(&bytes)).ok()?.hash();
        bytes[4..8].copy_from_slice(&hash.0[..4]);
        Some(bytes)
    }

    fn reread_loosely(bytes: &[u8]) -> Result<Change, BadChange> {
        Change::try_from(bytes).map_err(|error| BadChange::Undecodable(error.to_string()))
    }

    /// Whatever is accepted, automerge writes in just this way.
    fn accepted_only_as_automerge_writes_it(bytes: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(read) = read(bytes) {
            prop_assert_eq!(encoded_again(&read.expanded), bytes);
        }
        Ok(())
    }

    /// The values of a column, cut into runs and literals at will.
    fn cut_at_will(values: &[Vec<u8>], cuts: &[bool], as_literals: &[bool]) -> Vec<u8> {
        let (mut column, mut from) = (Vec::new(), 0);
        for to in 1..=values.len() {
            let is_end = to == values.len() || cuts[to];
            if !is_end {
                continue;
            }
            let part = &values[from..to];
            let are_equal = part.iter().all(|value| *value == part[0]);
            if are_equal && !as_literals[from] {
                column.push(part.len() as u8);
                column.extend(&part[0]);
            } else {
                column.push(0x80 - part.len() as u8);
                part.iter().for_each(|value| column.extend(value));
            }
            from = to;
        }
        column
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        proptest::collection::vec(any::<Step>(), 1..24)
    }

    /// Bytes that mean something in a column: short runs, literals, nulls.
    fn telling_byte() -> impl Strategy<Value = u8> {
        prop_oneof![4 => 0_u8..6, 2 => 0x7a_u8..0x80, 1 => any::<u8>()]
    }

    fn telling_columns() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        let spec = proptest::sample::select(vec![
            0x01_u8,
            0x02,
            0x11,
            0x13,
            KEY,
            INSERT,
            ACTION,
            VALUE_META,
            0x57,
            PREDECESSORS,
            0x71,
            0x73,
        ]);
        let columns = proptest::collection::btree_map(spec, proptest::collection::vec(telling_byte(), 1..7), 0..9);
        columns.prop_map(|columns| columns.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the columns say, reading ends in time, within memory and without a panic.
        #[test]
        fn columns_of_garbage_never_panic(
            columns in proptest::collection::btree_map(prop_oneof![Just(1_u8), Just(2), Just(0x11), Just(0x13), Just(KEY), Just(INSERT),
                Just(ACTION), Just(VALUE_META), Just(0x57), Just(PREDECESSORS), Just(0x71), Just(0x73), Just(0x94), Just(0xa5)],
                proptest::collection::vec(any::<u8>(), 1..24), 0..8)
        ) {
            let columns: Vec<_> = columns.into_iter().collect();
            let _ = read(&chunk(&columns));
        }

        /// Every change that automerge writes is accepted, and what records are made of is so at once.
        #[test]
        fn what_automerge_writes_is_plain(steps in steps()) {
            for change in changes(&steps) {
                let bytes = change.raw_bytes();
                let adds = change.decode().operations.iter().any(|op| matches!(op.action, automerge::legacy::OpType::Increment(_)));
                prop_assert_eq!(encoded_again(&change.decode()), bytes);
                prop_assert!(adds || is_plain(bytes), "{:02x?}", bytes);
                prop_assert!(read(bytes).is_ok());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// One to three bytes of a good change are others, are gone, or have company.
        #[test]
        fn no_damage_makes_a_second_encoding(
            steps in steps(),
            which in any::<Index>(),
            damages in proptest::collection::vec((any::<Index>(), telling_byte(), 0..3), 1..4),
        ) {
            let changes = changes(&steps);
            let bytes = which.get(&changes).raw_bytes();
            let mut body = body_of(bytes).to_vec();
            for (at, byte, how) in damages {
                let at = at.index(body.len());
                match how {
                    0 => body[at] = byte,
                    1 => body.insert(at, byte),
                    _ => drop(body.remove(at)),
                }
            }
            if let Some(bytes) = reseal(&body) {
                accepted_only_as_automerge_writes_it(&bytes)?;
            }
        }

        /// Of all ways to cut the columns of a change into runs, one is valid.
        #[test]
        fn no_other_runs_are_a_second_encoding(
            rows in proptest::collection::vec((0_u8..2, 0_u8..3), 1..5),
            cuts in any::<[[bool; 5]; 4]>(),
            as_literals in any::<[[bool; 5]; 4]>(),
        ) {
            let cells: [Vec<Vec<u8>>; 4] = [
                rows.iter().map(|(key, _)| vec![1, b'a' + key]).collect(),
                rows.iter().map(|_| vec![1]).collect(),
                rows.iter().map(|(_, kind)| vec![*kind]).collect(),
                rows.iter().map(|_| vec![0]).collect(),
            ];
            let column = |n: usize| cut_at_will(&cells[n], &cuts[n], &as_literals[n]);
            let columns =
                [(KEY, column(0)), (INSERT, vec![rows.len() as u8]), (ACTION, column(1)), (VALUE_META, column(2)), (PREDECESSORS, column(3))];
            let bytes = sealed(chunk(&columns));
            let again = encoded_again(&reread_loosely(&bytes).unwrap().decode());
            prop_assert_eq!(is_plain(&bytes), again == bytes);
            prop_assert_eq!(read(&bytes).is_ok(), again == bytes);
        }

        /// Columns that nobody wrote.
        #[test]
        fn no_columns_have_a_second_encoding(columns in telling_columns()) {
            let bytes = chunk(&columns);
            if let Ok(change) = guarded(|| reread_loosely(&bytes)) {
                let mut bytes = bytes;
                bytes[4..8].copy_from_slice(&change.hash().0[..4]);
                accepted_only_as_automerge_writes_it(&bytes)?;
            }
        }
    }
}
