//! `merge::load`, which reads a whole document: a snapshot, from a store or from the other end.
#![no_main]

use fitme_core::collection::Collection;
use fitme_core::{merge, record};
use fitme_fuzz::{chunk, claims};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: fitme_fuzz::prepare(), |data: &[u8]| fitme_fuzz::judge(|| read(data)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    chunk::mutate(chunk::DOCUMENT, data, size, max_size, seed, |_| true)
});

/// Rows that a column may claim: more than a document of a megabyte has.
const ROWS: u64 = 1 << 18;

fn read(data: &[u8]) -> bool {
    if claims::exceed(data, ROWS) {
        return true;
    }
    if let Ok(doc) = merge::load(data) {
        merge::heads(&doc);
        for collection in Collection::ALL {
            record::project(&doc, collection);
            record::conflicts(&doc, collection);
        }
        let _it_may_be_beyond_the_library = (record::history(&doc), merge::save(&doc));
    }
    chunk::is_sealed(chunk::DOCUMENT, data)
}
