//! Counts what a change chunk claims, without expanding it: the run lengths of each column. Only lengths and counts are
//! read here, never a value's content.

use super::BadChange;
use super::chunk::Column;
use super::reader::Reader;
use crate::limits;

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

/// The number of operations in these columns, if everything they claim is within bounds.
pub(super) fn count(columns: &[Column<'_>]) -> Result<u64, BadChange> {
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

impl Cell {
    /// The value, where it may be one that is looked for.
    fn read(self, reader: &mut Reader<'_>) -> Result<Option<u64>, BadChange> {
        match self {
            Self::Unsigned => reader.unsigned().map(Some),
            Self::Signed => reader.signed().map(|_| None),
            Self::Text => reader.text().map(|_| None),
        }
    }
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
                    if wanted.is_some() && wanted == cell.read(&mut reader)? {
                        found = found.saturating_add(rows);
                    } else if wanted.is_none() {
                        cell.read(&mut reader)?;
                    }
                }
                _ => {
                    self.add(rows)?;
                    for _ in 0..rows {
                        let value = cell.read(&mut reader)?;
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
