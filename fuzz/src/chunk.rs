//! automerge's chunks: magic bytes, checksum, kind, length, body. What is changed is the body; the rest is made to fit.

use sha2::{Digest, Sha256};

use crate::{ATTEMPTS, mutated, put};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHECKSUM: std::ops::Range<usize> = 4..8;
const KIND_AT: usize = 8;
/// Kind of a whole document.
pub const DOCUMENT: u8 = 0;
/// Kind of one change.
pub const CHANGE: u8 = 1;
/// One in so many inputs is changed as bytes.
const AS_BYTES: u32 = 16;
/// What the frame of a chunk takes at most.
const FRAME_BYTES: usize = KIND_AT + 1 + 10;

/// One in so many inputs is taken as it comes out, whether it passes the first check or not.
const AS_IT_IS: u32 = 4;

/// See `libfuzzer_sys::fuzz_mutator`; most inputs are such that pass the first check afterwards.
pub fn mutate(kind: u8, data: &mut [u8], size: usize, most: usize, seed: u32, passes: impl Fn(&[u8]) -> bool) -> usize {
    let mut new = changed(kind, &data[..size], most, seed);
    let attempts = if seed % AS_IT_IS == 0 { 1 } else { ATTEMPTS };
    for _ in 1..attempts {
        if passes(&new) {
            break;
        }
        new = changed(kind, &data[..size], most, seed);
    }
    put(data, size, most, &new)
}

/// A chunk with another body.
pub fn changed(kind: u8, chunk: &[u8], most: usize, seed: u32) -> Vec<u8> {
    match body(chunk) {
        Some(body) if seed % AS_BYTES != 0 => sealed(kind, &mutated(body, most.saturating_sub(FRAME_BYTES))),
        _ => mutated(chunk, most),
    }
}

/// Whether it is one chunk with the right checksum.
pub fn is_sealed(kind: u8, chunk: &[u8]) -> bool {
    body(chunk).is_some_and(|body| sealed(kind, body) == chunk)
}

fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut summed = vec![kind];
    let mut length = body.len();
    while length >= 0x80 {
        summed.push(length as u8 | 0x80);
        length >>= 7;
    }
    summed.push(length as u8);
    summed.extend_from_slice(body);
    let checksum = Sha256::digest(&summed);
    [&MAGIC, &checksum[..CHECKSUM.len()], &summed].concat()
}

fn body(chunk: &[u8]) -> Option<&[u8]> {
    let length = chunk.get(KIND_AT + 1..)?;
    let bytes = length.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    length.get(bytes..)
}
