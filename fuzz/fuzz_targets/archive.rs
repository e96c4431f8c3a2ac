//! `Archive::open`, which reads an exported account and believes nothing of it.
#![no_main]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use fitme_client::archive::{Archive, ArchiveError};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: fitme_fuzz::prepare(), |data: &[u8]| fitme_fuzz::judge(|| read(data)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fitme_fuzz::archive::mutate(data, size, max_size, seed)
});

fn read(data: &[u8]) -> bool {
    let (_open, path) = nameless(data);
    !matches!(Archive::open(&path), Err(ArchiveError::NotAnArchive(_) | ArchiveError::Unreadable { .. }))
}

/// A file that is gone with the process, and the name under which it can be opened until then.
fn nameless(data: &[u8]) -> (File, PathBuf) {
    let mut file = tempfile::tempfile().expect("a temporary file can be made");
    file.write_all(data).expect("it can be written");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}
