//! Whether a change is plainly in the one encoding that automerge writes, told without encoding it again.
//!
//! *Plainly* means: with the operations that records are made of (no marks, no counters that are added to), laid out
//! column by column as automerge's encoder does. A yes is a proof, a no is none: what is not plain is encoded again to
//! find out. The column formats are those of automerge's storage format.
//!
//! An encoding is the writer's if every column has exactly one cell an operation, in runs that cannot be longer or be
//! merged; if reading a cell and writing it again cannot change it; and if exactly the actors are listed that occur.

use super::chunk::Chunk;
use super::reader::Reader;

const OBJECT_ACTOR: u32 = 0x01;
const OBJECT_COUNTER: u32 = 0x02;
const KEY_ACTOR: u32 = 0x11;
const KEY_COUNTER: u32 = 0x13;
const KEY_TEXT: u32 = 0x15;
const INSERT: u32 = 0x34;
const ACTION: u32 = 0x42;
const VALUE_KIND: u32 = 0x56;
const VALUE: u32 = 0x57;
const PREDECESSORS: u32 = 0x70;
const PREDECESSOR_ACTOR: u32 = 0x71;
const PREDECESSOR_COUNTER: u32 = 0x73;
/// In the order in which they are written.
const KNOWN: [u32; 12] = [
    OBJECT_ACTOR,
    OBJECT_COUNTER,
    KEY_ACTOR,
    KEY_COUNTER,
    KEY_TEXT,
    INSERT,
    ACTION,
    VALUE_KIND,
    VALUE,
    PREDECESSORS,
    PREDECESSOR_ACTOR,
    PREDECESSOR_COUNTER,
];
/// Beyond, automerge has another encoder; whether both write the same is not for this file to prove.
const OPERATIONS_MAX: u64 = 10_000;
const SET: u64 = 1;

/// Whether the chunk, which holds so many operations, is plainly canonical. What automerge checks when it reads the
/// chunk (texts are UTF-8, no cell is missing) is not checked again.
pub(super) fn is_plain(chunk: &Chunk<'_>, operations: u64) -> bool {
    let specs = || chunk.columns.iter().map(|column| column.spec);
    (1..=OPERATIONS_MAX).contains(&operations)
        && specs().is_sorted_by(|a, b| a < b)
        && specs().all(|spec| KNOWN.contains(&spec))
        && chunk.columns.iter().all(|column| !column.data.is_empty())
        && booleans(chunk.column(INSERT), operations).is_some()
        && Rows::of(chunk).is_some_and(|rows| rows.check(operations).is_some())
}

/// Booleans are the lengths of alternating runs; the first one, of `false`, may be empty.
fn booleans(data: &[u8], rows: u64) -> Option<()> {
    let mut reader = Reader(data);
    let mut sum = reader.unsigned().ok()?;
    while !reader.0.is_empty() {
        let run = reader.unsigned().ok()?;
        sum = sum.checked_add(run).filter(|_| run > 0)?;
    }
    (sum == rows).then_some(())
}

/// The columns, read side by side. `None` from any of the methods means: not plain.
struct Rows<'a> {
    actors: Actors<'a>,
    object: (Runs<'a, u64>, Runs<'a, u64>),
    key: (Runs<'a, u64>, Deltas<'a>),
    key_text: Runs<'a, &'a [u8]>,
    action: Runs<'a, u64>,
    value_kind: Runs<'a, u64>,
    values: Reader<'a>,
    predecessors: Runs<'a, u64>,
    predecessor: (Runs<'a, u64>, Deltas<'a>),
}

impl<'a> Rows<'a> {
    fn of(chunk: &Chunk<'a>) -> Option<Self> {
        Some(Self {
            actors: Actors::of(chunk)?,
            object: (Runs::of(chunk, OBJECT_ACTOR), Runs::of(chunk, OBJECT_COUNTER)),
            key: (Runs::of(chunk, KEY_ACTOR), Deltas::of(chunk, KEY_COUNTER)),
            key_text: Runs::of(chunk, KEY_TEXT),
            action: Runs::of(chunk, ACTION),
            value_kind: Runs::of(chunk, VALUE_KIND),
            values: Reader(chunk.column(VALUE)),
            predecessors: Runs::of(chunk, PREDECESSORS),
            predecessor: (Runs::of(chunk, PREDECESSOR_ACTOR), Deltas::of(chunk, PREDECESSOR_COUNTER)),
        })
    }

    fn check(mut self, operations: u64) -> Option<()> {
        for _ in 0..operations {
            self.object()?;
            self.key()?;
            self.value()?;
            self.predecessors()?;
        }
        self.actors.all_occur()?;
        self.object.0.end()?;
        self.object.1.end()?;
        self.key.0.end()?;
        self.key.1.runs.end()?;
        self.key_text.end()?;
        self.action.end()?;
        self.value_kind.end()?;
        self.predecessors.end()?;
        self.predecessor.0.end()?;
        self.predecessor.1.runs.end()?;
        self.values.0.is_empty().then_some(())
    }

    /// The root is two nulls.
    fn object(&mut self) -> Option<()> {
        match (self.object.0.next()?, self.object.1.next()?) {
            (None, None) => Some(()),
            (Some(actor), Some(counter)) => self.actors.id(actor, counter).map(drop),
            _ => None,
        }
    }

    /// A text in a map; in a list the element before, or 0 for the place before the first.
    fn key(&mut self) -> Option<()> {
        match (self.key_text.next()?, self.key.0.next()?, self.key.1.next()?) {
            (Some(_), None, None) | (None, None, Some(0)) => Some(()),
            (None, Some(actor), Some(counter)) => self.actors.id(actor, counter).map(drop),
            _ => None,
        }
    }

    /// Only an operation that sets something has a value; the kind of the value says how long it is.
    fn value(&mut self) -> Option<()> {
        let (action, kind) = (self.action.next()??, self.value_kind.next()??);
        let (kind, length) = (kind & 0xf, kind >> 4);
        let value = self.values.take(length).ok()?;
        let is_one = match (action, kind) {
            (SET, 3) => is_all(value, |number| number.unsigned().is_ok()),
            // A number with a sign, a counter, a time.
            (SET, 4 | 8 | 9) => is_all(value, |number| number.signed().is_ok()),
            (SET, 5) => length == 8,
            // A text, bytes.
            (SET, 6 | 7) => true,
            // Null, false, true; then what makes a map, a list, a text, and what deletes.
            (SET, 0..=2) | (0 | 2 | 3 | 4, 0) => length == 0,
            _ => false,
        };
        is_one.then_some(())
    }

    /// Ascending by counter, then by actor.
    fn predecessors(&mut self) -> Option<()> {
        let mut last = None;
        for _ in 0..self.predecessors.next()?? {
            let id = self.actors.id(self.predecessor.0.next()??, self.predecessor.1.next()??)?;
            if last.is_some_and(|last| last >= id) {
                return None;
            }
            last = Some(id);
        }
        Some(())
    }
}

/// Whether reading one thing takes all of the bytes.
fn is_all(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> bool) -> bool {
    let mut reader = Reader(bytes);
    read(&mut reader) && reader.0.is_empty()
}

/// The actors that the operations name by number: first the author, then the others, ascending.
struct Actors<'a> {
    listed: Vec<&'a [u8]>,
    occur: Vec<bool>,
}

impl<'a> Actors<'a> {
    fn of(chunk: &Chunk<'a>) -> Option<Self> {
        let ascending = chunk.others.is_sorted_by(|a, b| a < b) && !chunk.others.contains(&chunk.author);
        let listed: Vec<_> = std::iter::once(chunk.author).chain(chunk.others.iter().copied()).collect();
        let mut occur = vec![false; listed.len()];
        occur[0] = true;
        ascending.then_some(Self { listed, occur })
    }

    /// An operation's id, in the order of ids. automerge counts with 32 bits, and 0 is no operation.
    fn id(&mut self, actor: u64, counter: u64) -> Option<(u64, &'a [u8])> {
        let actor = usize::try_from(actor).ok()?;
        *self.occur.get_mut(actor)? = true;
        (1..=u64::from(u32::MAX)).contains(&counter).then_some((counter, self.listed[actor]))
    }

    fn all_occur(&self) -> Option<()> {
        self.occur.iter().all(|occurs| *occurs).then_some(())
    }
}

/// A value in a run-length encoded column.
trait Cell<'a>: Copy + PartialEq {
    fn read(reader: &mut Reader<'a>) -> Option<Self>;
}

impl Cell<'_> for u64 {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.unsigned().ok()
    }
}

impl Cell<'_> for i64 {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.signed().ok()
    }
}

impl<'a> Cell<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        reader.text().ok()
    }
}

/// The cells of a run-length encoded column, as long as its runs are those that the encoder makes: what is equal and
/// adjacent is one run, what is single and adjacent is one sequence of literals, and nulls alone are no column at all.
struct Runs<'a, T> {
    rest: Reader<'a>,
    run: Run<T>,
    /// Cells of the run that are still to come.
    left: u64,
    /// Nothing but nulls, without end.
    left_out: bool,
    nulls_only: bool,
}

#[derive(Clone, Copy)]
enum Run<T> {
    Nulls,
    Equal(T),
    /// With the value before, which the next one must differ from.
    Literals(Option<T>),
    /// Before the first.
    None,
}

impl<'a, T: Cell<'a>> Runs<'a, T> {
    fn of(chunk: &Chunk<'a>, spec: u32) -> Self {
        let data = chunk.column(spec);
        Self { rest: Reader(data), run: Run::None, left: 0, left_out: data.is_empty(), nulls_only: true }
    }

    fn next(&mut self) -> Option<Option<T>> {
        if self.left_out {
            return Some(None);
        }
        if self.left == 0 {
            self.begin_run()?;
        }
        self.left -= 1;
        match self.run {
            Run::Equal(value) => Some(Some(value)),
            Run::Literals(before) => {
                let value = T::read(&mut self.rest).filter(|value| before != Some(*value))?;
                self.run = Run::Literals(Some(value));
                Some(Some(value))
            }
            Run::Nulls | Run::None => Some(None),
        }
    }

    fn begin_run(&mut self) -> Option<()> {
        let before = match self.run {
            Run::Equal(value) => Some(value),
            Run::Literals(value) => value,
            Run::Nulls | Run::None => None,
        };
        (self.run, self.left) = match (self.rest.signed().ok()?, self.run) {
            (0, Run::Nulls) | (1, _) | (..0, Run::Literals(_)) => return None,
            (0, _) => (Run::Nulls, self.rest.unsigned().ok().filter(|nulls| *nulls > 0)?),
            (literals @ ..0, _) => (Run::Literals(before), literals.unsigned_abs()),
            (equal, _) => {
                let value = T::read(&mut self.rest).filter(|value| before != Some(*value))?;
                (Run::Equal(value), equal.unsigned_abs())
            }
        };
        self.nulls_only &= matches!(self.run, Run::Nulls);
        Some(())
    }

    fn end(&self) -> Option<()> {
        let is_over = self.left == 0 && self.rest.0.is_empty();
        (is_over && (self.left_out || !self.nulls_only)).then_some(())
    }
}

/// A column of numbers, each as the difference to the one before.
struct Deltas<'a> {
    runs: Runs<'a, i64>,
    at: i64,
}

impl<'a> Deltas<'a> {
    fn of(chunk: &Chunk<'a>, spec: u32) -> Self {
        Self { runs: Runs::of(chunk, spec), at: 0 }
    }

    fn next(&mut self) -> Option<Option<u64>> {
        let Some(delta) = self.runs.next()? else { return Some(None) };
        // No sum is cut off where the numbers are those of operations.
        self.at = self.at.checked_add(delta).filter(|at| (0..=i64::from(u32::MAX)).contains(at))?;
        Some(Some(self.at.cast_unsigned()))
    }
}
