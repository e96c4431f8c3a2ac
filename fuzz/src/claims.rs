//! What the columns of a document claim. Nothing bounds that in automerge: 191 bytes may claim 10^12 rows, which it then begins to
//! make. A change is counted before it is decoded (`fitme_core::change`); whole documents are loaded only where they were written,
//! or from the account's own server, and inputs that claim too much are left out here.

use std::io::Read;

const KIND_AT: usize = 8;
const DEFLATED: u64 = 0b1000;
const KIND_OF_CELL: u64 = 0b111;
const BOOLEAN: u64 = 4;
const STRING: u64 = 5;
const VALUE: u64 = 7;
const HEAD_BYTES: u64 = 32;
/// What one column may unpack to.
const COLUMN_BYTES: u64 = 1 << 20;

/// Whether a document claims more than `most` rows in one of its columns, or unpacks to more than a column should.
pub fn exceed(document: &[u8], most: u64) -> bool {
    columns(document).is_some_and(|columns| columns.iter().any(|(spec, data)| column_exceeds(*spec, data, most)))
}

fn column_exceeds(spec: u64, data: &[u8], most: u64) -> bool {
    if spec & DEFLATED == 0 {
        return rows(spec, data, most) > most;
    }
    let mut plain = Vec::new();
    let decoder = flate2::read::DeflateDecoder::new(data);
    let _as_far_as_it_goes = decoder.take(COLUMN_BYTES + 1).read_to_end(&mut plain);
    plain.len() as u64 > COLUMN_BYTES || rows(spec, &plain, most) > most
}

/// Kind and bytes of each column, as far as there are any.
fn columns(document: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut rest = document.get(KIND_AT + 1..)?;
    unsigned(&mut rest)?;
    for _ in 0..unsigned(&mut rest)? {
        let length = unsigned(&mut rest)?;
        take(&mut rest, length)?;
    }
    let heads = unsigned(&mut rest)?;
    take(&mut rest, heads.checked_mul(HEAD_BYTES)?)?;
    let mut named = Vec::new();
    for _of_changes_and_of_operations in 0..2 {
        for _ in 0..unsigned(&mut rest)? {
            named.push((unsigned(&mut rest)?, unsigned(&mut rest)?));
        }
    }
    let mut columns = Vec::new();
    for (spec, length) in named {
        let Some(data) = take(&mut rest, length) else { break };
        columns.push((spec, data));
    }
    Some(columns)
}

/// The sum of a column's run lengths, counted until it is beyond `most`.
fn rows(spec: u64, mut data: &[u8], most: u64) -> u64 {
    let mut sum = 0_u64;
    let kind = spec & KIND_OF_CELL;
    while !data.is_empty() && sum <= most && kind != VALUE {
        let Some(added) = run(kind, &mut data, most) else { break };
        sum = sum.saturating_add(added);
    }
    sum
}

fn run(kind: u64, data: &mut &[u8], most: u64) -> Option<u64> {
    if kind == BOOLEAN {
        return unsigned(data);
    }
    let length = signed(data)?;
    let rows = length.unsigned_abs();
    match length {
        0 => return unsigned(data),
        1.. => cell(kind, data)?,
        _ => (0..rows.min(most)).try_for_each(|_| cell(kind, data))?,
    }
    Some(rows)
}

fn cell(kind: u64, data: &mut &[u8]) -> Option<()> {
    let length = unsigned(data)?;
    if kind == STRING {
        take(data, length)?;
    }
    Some(())
}

fn take<'a>(data: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = data.split_at_checked(usize::try_from(length).ok()?)?;
    *data = rest;
    Some(taken)
}

fn unsigned(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = take(data, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn signed(data: &mut &[u8]) -> Option<i64> {
    let before = data.len();
    let value = unsigned(data)?;
    let bits = 7 * (before - data.len()) as u32;
    let unused = u64::BITS.saturating_sub(bits);
    Some(((value << unused) as i64) >> unused)
}
