//! `change::read`, which reads the payload of an entry from a stranger, and all that is done with what it accepts.
#![no_main]

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::{change, merge, record};
use fitme_fuzz::chunk;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: fitme_fuzz::prepare(), |data: &[u8]| fitme_fuzz::judge(|| read(data)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    chunk::mutate(chunk::CHANGE, data, size, max_size, seed, |change| change::count_operations(change).is_ok())
});

fn read(data: &[u8]) -> bool {
    let passed = change::count_operations(data).is_ok();
    if let Ok(read) = change::read(data) {
        assert!(passed && read.payload() == data, "a change has two encodings");
        assert!(change::reread(data).is_ok(), "a change is read only once");
        for collection in Collection::ALL {
            let _it_may_be_refused = record::check_change(collection, DocId([7; 16]), &read);
        }
        // What a merge worker and a device do with it, whatever the check says of its content.
        if let Ok(doc) = merge::assemble([data]) {
            for collection in Collection::ALL {
                record::project(&doc, collection);
                record::conflicts(&doc, collection);
            }
            let _it_may_be_beyond_the_library = (record::history(&doc), merge::save(&doc));
        }
    }
    passed
}
