//! Counts what a change chunk claims, without expanding it: header, then the run lengths of each column.
//! The layout is that of automerge's storage format; only lengths and counts are read here, never a value's content.

use super::{BadChange, COUNTER_MAX};
use crate::limits;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHECKSUM_BYTES: usize = 4;
const CHUNK_TYPE_CHANGE: u8 = 1;
const HASH_BYTES: u64 = 32;
const ACTOR_BYTES: u64 = 16;
/// automerge 0.12 writes at most 14; a later one may know a few more.
const COLUMNS_MAX: u64 = 32;
const DEFLATED: u32 = 0b1000;
const DELETE: u64 = 3;
/// Predecessors of all operations together, for each operation allowed: two devices in conflict make two.
const PREDECESSORS_PER_OPERATION: u64 = 4;

const GROUP: u32 = 0;
const DELTA: u32 = 3;
const BOOLEAN: u32 = 4;
const STRING: u32 = 5;
const VALUE: u32 = 7;
const ACTION_COLUMN: u32 = 4 << 4 | 2;
const PREDECESSOR_GROUP: u32 = 7;

/// The number of operations in `payload`, if everything it claims is within bounds.
pub(super) fn check(payload: &[u8]) -> Result<u64, BadChange> {
    let mut body = chunk_body(payload)?;
    let dependencies = body.unsigned()?;
    if dependencies > limits::CHANGE_DEPENDENCIES {
        return Err(BadChange::TooManyDependencies { claimed: dependencies });
    }
    body.take(dependencies * HASH_BYTES)?;
    body.actor()?;
    body.counter("sequence")?;
    body.counter("first operation")?;
    body.signed()?; // time
    let message = body.unsigned()?;
    body.take(message)?;
    for _ in 0..body.unsigned()? {
        body.actor()?;
    }
    let columns = columns(&mut body)?;
    count(&columns)
}

/// The chunk's content, once its header is right and its length ends exactly at the payload's end.
fn chunk_body(payload: &[u8]) -> Result<Reader<'_>, BadChange> {
    let mut reader = Reader(payload);
    let is_change = reader.take(MAGIC.len() as u64).is_ok_and(|magic| magic == MAGIC)
        && reader.take(CHECKSUM_BYTES as u64).is_ok()
        && reader.take(1).is_ok_and(|kind| kind == [CHUNK_TYPE_CHANGE]);
    if !is_change {
        return Err(BadChange::NotAChange);
    }
    let length = reader.unsigned()?;
    let body = reader.take(length)?;
    match reader.0.len() {
        0 => Ok(Reader(body)),
        extra => Err(BadChange::TrailingBytes { extra }),
    }
}

struct Column<'a> {
    spec: u32,
    data: &'a [u8],
}

fn columns<'a>(body: &mut Reader<'a>) -> Result<Vec<Column<'a>>, BadChange> {
    let number = body.unsigned()?;
    if number > COLUMNS_MAX {
        return Err(damaged("it has too many columns"));
    }
    let mut heads = Vec::new();
    for _ in 0..number {
        let spec = u32::try_from(body.unsigned()?).map_err(|_| damaged("a column has no valid kind"))?;
        if spec & DEFLATED != 0 {
            return Err(BadChange::NotCanonical);
        }
        heads.push((spec, body.unsigned()?));
    }
    heads.into_iter().map(|(spec, length)| Ok(Column { spec, data: body.take(length)? })).collect()
}

fn count(columns: &[Column<'_>]) -> Result<u64, BadChange> {
    // Counting the actions needs no bound of its own: it takes one step for each run.
    let mut actions = Tally::unbounded();
    let of_action = columns.iter().find(|column| column.spec == ACTION_COLUMN);
    let deletes = of_action.map_or(Ok(0), |column| actions.runs(column.data, Cell::Unsigned, Some(DELETE)))?;
    let allowed = allowed(columns, deletes);
    for column in columns {
        let mut tally = Tally::up_to(allowed);
        let id = column.spec >> 4;
        match column.spec & 0b111 {
            VALUE => {}
            BOOLEAN => tally.booleans(column.data)?,
            STRING => drop(tally.runs(column.data, Cell::Text, None)?),
            DELTA => drop(tally.predecessors(id).runs(column.data, Cell::Signed, None)?),
            GROUP => tally.group(column.data)?,
            _ => drop(tally.predecessors(id).runs(column.data, Cell::Unsigned, None)?),
        }
    }
    Ok(actions.counted)
}

/// A note of [`limits::PROSE_BYTES`] is one operation a character, to write as well as to remove, so characters count
/// beside [`limits::CHANGE_OPERATIONS`]: inserted ones by the bytes they bring, removed ones up to one whole note.
fn allowed(columns: &[Column<'_>], deletes: u64) -> u64 {
    let values: u64 =
        columns.iter().filter(|column| column.spec & 0b111 == VALUE).map(|column| column.data.len() as u64).sum();
    let prose = limits::PROSE_BYTES as u64;
    limits::CHANGE_OPERATIONS + values.min(prose) + deletes.min(prose)
}

#[derive(Clone, Copy)]
enum Cell {
    Unsigned,
    Signed,
    Text,
}

/// Sums run lengths up to a limit.
struct Tally {
    allowed: u64,
    counted: u64,
}

impl Tally {
    fn up_to(allowed: u64) -> Self {
        Self { allowed, counted: 0 }
    }

    fn unbounded() -> Self {
        Self::up_to(u64::MAX)
    }

    /// The columns inside the predecessor group have one row for each predecessor, not for each operation.
    fn predecessors(&mut self, column: u32) -> &mut Self {
        if column == PREDECESSOR_GROUP {
            self.allowed = self.allowed.saturating_mul(PREDECESSORS_PER_OPERATION);
        }
        self
    }

    fn add(&mut self, rows: u64) -> Result<(), BadChange> {
        self.counted = self.counted.saturating_add(rows);
        if self.counted > self.allowed {
            return Err(BadChange::TooManyOperations { claimed: self.counted, allowed: self.allowed });
        }
        Ok(())
    }

    /// Adds up a run-length encoded column; returns how many rows hold `wanted`.
    fn runs(&mut self, data: &[u8], cell: Cell, wanted: Option<u64>) -> Result<u64, BadChange> {
        let mut reader = Reader(data);
        let mut found = 0_u64;
        while !reader.0.is_empty() {
            let length = reader.signed()?;
            let rows = length.unsigned_abs();
            match length {
                0 => {
                    let nulls = reader.unsigned()?;
                    self.add(nulls)?;
                }
                1.. => {
                    self.add(rows)?;
                    if wanted.is_some() && wanted == reader.cell(cell)? {
                        found = found.saturating_add(rows);
                    } else if wanted.is_none() {
                        reader.cell(cell)?;
                    }
                }
                _ => {
                    self.add(rows)?;
                    for _ in 0..rows {
                        let value = reader.cell(cell)?;
                        found += u64::from(wanted.is_some() && wanted == value);
                    }
                }
            }
        }
        Ok(found)
    }

    /// A column of booleans is the lengths of alternating runs.
    fn booleans(&mut self, data: &[u8]) -> Result<(), BadChange> {
        let mut reader = Reader(data);
        while !reader.0.is_empty() {
            let rows = reader.unsigned()?;
            self.add(rows)?;
        }
        Ok(())
    }

    /// A group column says for each operation how many rows of the group belong to it.
    fn group(&mut self, data: &[u8]) -> Result<(), BadChange> {
        self.runs(data, Cell::Unsigned, None)?;
        let mut members = Self::up_to(self.allowed.saturating_mul(PREDECESSORS_PER_OPERATION));
        let mut reader = Reader(data);
        while !reader.0.is_empty() {
            match reader.signed()? {
                0 => drop(reader.unsigned()?),
                rows @ 1.. => {
                    let each = reader.unsigned()?;
                    members.add(rows.unsigned_abs().saturating_mul(each))?;
                }
                literals => {
                    for _ in 0..literals.unsigned_abs() {
                        let each = reader.unsigned()?;
                        members.add(each)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], BadChange> {
        let taken = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let (taken, rest) = taken.ok_or_else(|| damaged("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BadChange> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn unsigned(&mut self) -> Result<u64, BadChange> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number in it is too long"))
    }

    fn signed(&mut self) -> Result<i64, BadChange> {
        let mut value = 0_i64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0;
                let filled = shift + 7 >= i64::BITS;
                return Ok(if negative && !filled { value | (-1 << (shift + 7)) } else { value });
            }
        }
        Err(damaged("a number in it is too long"))
    }

    fn cell(&mut self, cell: Cell) -> Result<Option<u64>, BadChange> {
        match cell {
            Cell::Unsigned => self.unsigned().map(Some),
            Cell::Signed => self.signed().map(|_| None),
            Cell::Text => {
                let length = self.unsigned()?;
                self.take(length).map(|_| None)
            }
        }
    }

    fn actor(&mut self) -> Result<(), BadChange> {
        match self.unsigned()? {
            ACTOR_BYTES => self.take(ACTOR_BYTES).map(drop),
            length => Err(BadChange::BadActor { length }),
        }
    }

    fn counter(&mut self, what: &'static str) -> Result<(), BadChange> {
        match self.unsigned()? {
            1..=COUNTER_MAX => Ok(()),
            value => Err(BadChange::BadCounter { what, value }),
        }
    }
}

fn damaged(why: &str) -> BadChange {
    BadChange::Undecodable(why.to_owned())
}
