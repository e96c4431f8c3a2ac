//! `fit::read`, which reads the files of watches and bike computers, and what an importer makes of them.
#![no_main]

use fitme_client::fit::{self, IMPORTER_VERSION};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: fitme_fuzz::prepare(), |data: &[u8]| fitme_fuzz::judge(|| read(data)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fitme_fuzz::fit::mutate(data, size, max_size, seed)
});

fn read(data: &[u8]) -> bool {
    if let Ok(file) = fit::read(data) {
        assert!(!file.sessions.is_empty(), "a file without a session is refused");
        for session in &file.sessions {
            for step in 1..=IMPORTER_VERSION {
                let _any_fields_will_do = fit::step_fields(session, step);
            }
        }
    }
    fitme_fuzz::fit::is_sealed(data)
}
