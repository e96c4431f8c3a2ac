//! The layout of a change chunk: what stands where in automerge's storage format, within bounds, without expanding it.

use super::BadChange;
use super::reader::{Reader, damaged};
use crate::limits;

pub(super) const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
pub(super) const CHECKSUM_BYTES: u64 = 4;
const CHUNK_TYPE_CHANGE: u8 = 1;
pub(super) const HASH_BYTES: u64 = 32;
/// automerge 0.12 writes at most 14; a later one may know a few more.
const COLUMNS_MAX: u64 = 32;
const DEFLATED: u32 = 0b1000;

/// A change chunk whose header is right and whose length ends exactly where the payload does.
pub(super) struct Chunk<'a> {
    /// The first bytes of the hash.
    pub checksum: &'a [u8],
    pub author: &'a [u8],
    /// Whom the operations refer to besides the author.
    pub others: Vec<&'a [u8]>,
    pub columns: Vec<Column<'a>>,
}

/// Cells of the same kind of all operations.
pub(super) struct Column<'a> {
    /// Which column, and how its cells are encoded.
    pub spec: u32,
    pub data: &'a [u8],
}

impl<'a> Chunk<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, BadChange> {
        let (checksum, mut body) = open(payload)?;
        let dependencies = body.unsigned()?;
        if dependencies > limits::CHANGE_DEPENDENCIES {
            return Err(BadChange::TooManyDependencies { claimed: dependencies });
        }
        body.take(dependencies * HASH_BYTES)?;
        let author = body.actor()?;
        body.counter("sequence")?;
        body.counter("first operation")?;
        body.signed()?; // time
        body.text()?; // message
        let mut others = Vec::new();
        for _ in 0..body.unsigned()? {
            others.push(body.actor()?);
        }
        Ok(Self { checksum, author, others, columns: columns(&mut body)? })
    }

    /// The bytes of a column; none if it is left out.
    pub(super) fn column(&self, spec: u32) -> &'a [u8] {
        self.columns.iter().find(|column| column.spec == spec).map_or(&[], |column| column.data)
    }
}

/// The first chunk of several that lie one after the other, and what follows it. The chunk is not looked into.
pub(super) fn cut(bytes: &[u8]) -> Result<(&[u8], &[u8]), BadChange> {
    let mut reader = Reader(bytes);
    reader.take(MAGIC.len() as u64 + CHECKSUM_BYTES + 1)?;
    let length = reader.unsigned()?;
    reader.take(length)?;
    Ok(bytes.split_at(bytes.len() - reader.0.len()))
}

/// Checksum and body.
fn open(payload: &[u8]) -> Result<(&[u8], Reader<'_>), BadChange> {
    let mut reader = Reader(payload);
    let is_magic = reader.take(MAGIC.len() as u64).is_ok_and(|magic| magic == MAGIC);
    let checksum = reader.take(CHECKSUM_BYTES).map_err(|_| BadChange::NotAChange)?;
    let is_change = is_magic && reader.take(1).is_ok_and(|kind| kind == [CHUNK_TYPE_CHANGE]);
    if !is_change {
        return Err(BadChange::NotAChange);
    }
    let length = reader.unsigned()?;
    let body = reader.take(length)?;
    match reader.0.len() {
        0 => Ok((checksum, Reader(body))),
        extra => Err(BadChange::TrailingBytes { extra }),
    }
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
