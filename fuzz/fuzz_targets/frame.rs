//! `wire::decode`, which reads what comes over the socket at either end. What it accepts can be said again and means the same.
#![no_main]

use fitme_core::wire::{self, WireError};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: fitme_fuzz::prepare(), |data: &[u8]| fitme_fuzz::judge(|| read(data)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fitme_fuzz::frame::mutate(data, size, max_size, seed)
});

fn read(data: &[u8]) -> bool {
    match wire::decode(data) {
        Ok(Some(frame)) => {
            let again = wire::encode(&frame).expect("what was read within the bounds is within the bounds");
            assert!(wire::decode(&again).expect("it was just encoded") == Some(frame), "a frame changed its meaning");
            true
        }
        Ok(None) => true,
        Err(WireError::Codec | WireError::Compression | WireError::Protobuf(_) | WireError::TooLarge { .. }) => false,
        Err(WireError::TooMany { .. } | WireError::Field { .. }) => true,
    }
}
