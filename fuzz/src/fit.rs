//! FIT files: a header, messages, a checksum. What is changed is the messages of a file of one part; length and checksums are
//! made to fit.

use std::ops::Range;

use crate::{mutated, put};

const CHECKSUM: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_ARC);
const HEADER_BYTES: usize = 14;
const CHECKSUM_BYTES: usize = 2;
const SIZE: Range<usize> = 4..8;
const SIGNATURE: Range<usize> = 8..12;
const OWN_CHECKSUM: Range<usize> = 12..14;
/// One in so many inputs is changed as bytes, and may then have several parts.
const AS_BYTES: u32 = 8;

/// See `libfuzzer_sys::fuzz_mutator`.
pub fn mutate(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let new = match messages(&data[..size]) {
        Some(messages) if seed % AS_BYTES != 0 => {
            sealed(&data[..HEADER_BYTES], &mutated(messages, most.saturating_sub(HEADER_BYTES + CHECKSUM_BYTES)))
        }
        _ => mutated(&data[..size], most),
    };
    put(data, size, most, &new)
}

/// Whether it is a file of one part with the right length and checksums.
pub fn is_sealed(file: &[u8]) -> bool {
    messages(file).is_some_and(|messages| sealed(&file[..HEADER_BYTES], messages) == file)
}

fn messages(file: &[u8]) -> Option<&[u8]> {
    file.get(HEADER_BYTES..file.len().checked_sub(CHECKSUM_BYTES)?)
}

fn sealed(header: &[u8], messages: &[u8]) -> Vec<u8> {
    let mut file = header.to_vec();
    file[0] = HEADER_BYTES as u8;
    file[SIZE].copy_from_slice(&(messages.len() as u32).to_le_bytes());
    file[SIGNATURE].copy_from_slice(b".FIT");
    let own = CHECKSUM.checksum(&file[..OWN_CHECKSUM.start]);
    file[OWN_CHECKSUM].copy_from_slice(&own.to_le_bytes());
    file.extend_from_slice(messages);
    let checksum = CHECKSUM.checksum(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    file
}
