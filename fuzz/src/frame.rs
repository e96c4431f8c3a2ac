//! Frames: a codec byte and a protobuf message. What is changed is the message; most inputs are one afterwards.

use fitme_proto::v1 as proto;
use prost::Message;

use crate::{ATTEMPTS, mutated, put};

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// What a compressed input may unpack to here; the decoder's own bound is tested by inputs that stay as they came.
const UNPACKED_BYTES: usize = 1 << 20;

/// One in so many inputs is changed as bytes, and one is compressed.
const AS_BYTES: u32 = 8;

/// See `libfuzzer_sys::fuzz_mutator`.
pub fn mutate(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let message = if seed % AS_BYTES == 0 { None } else { unpack(&data[..size]) };
    let Some(message) = message else {
        let new = mutated(&data[..size], most);
        return put(data, size, most, &new);
    };
    let room = most.saturating_sub(1);
    let mut new = mutated(&message, room);
    for _ in 1..ATTEMPTS {
        if proto::Frame::decode(new.as_slice()).is_ok() {
            break;
        }
        new = mutated(&message, room);
    }
    if seed % AS_BYTES == 1 {
        let packed = zstd::bulk::compress(&new, 1).unwrap_or_default();
        return put(data, size, most, &[&[ZSTD], packed.as_slice()].concat());
    }
    put(data, size, most, &[&[PLAIN], new.as_slice()].concat())
}

fn unpack(frame: &[u8]) -> Option<Vec<u8>> {
    match frame.split_first()? {
        (&PLAIN, message) => Some(message.to_vec()),
        (&ZSTD, packed) => zstd::bulk::decompress(packed, UNPACKED_BYTES).ok(),
        _ => None,
    }
}
