//! What the fuzz targets share: how an input is judged, and how inputs are changed so that they pass the first check of a
//! decoder often enough to reach what lies behind it.

pub mod archive;
pub mod chunk;
pub mod claims;
pub mod fit;
pub mod frame;

use std::alloc::System;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cap::Cap;
use libfuzzer_sys::fuzzer_mutate;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What reading one input may allocate, beyond what is there before.
const INPUT_BYTES: usize = 64 << 20;
/// How often a target says how many inputs passed the first check.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Attempts to change an input so that it passes the first check.
const ATTEMPTS: usize = 8;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

static TALLY: Mutex<Option<Tally>> = Mutex::new(None);

struct Tally {
    inputs: u64,
    passed: u64,
    told: Instant,
}

/// To be called once, before the first input. The hook of libFuzzer ends the process at any panic, also at one that the
/// engine fences in and answers with an error; those are no findings.
pub fn prepare() {
    std::panic::set_hook(Box::new(|panic| {
        let _it_is_printed_where_it_escapes = LAST_PANIC.try_with(|last| *last.borrow_mut() = panic.to_string());
    }));
}

/// Reads one input within its bounds; `read` says whether it passed the first check. What escapes it ends the process.
pub fn judge(read: impl FnOnce() -> bool) {
    let bound = MEMORY.allocated().saturating_add(INPUT_BYTES);
    MEMORY.set_limit(bound).expect("the bound is above what is allocated");
    let passed = catch_unwind(AssertUnwindSafe(read));
    MEMORY.set_limit(usize::MAX).expect("there is no bound");
    match passed {
        Ok(passed) => count(passed),
        Err(_) => {
            eprintln!("fuzz: {}", LAST_PANIC.with(|last| last.borrow().clone()));
            std::process::abort();
        }
    }
}

fn count(passed: bool) {
    let Ok(mut tally) = TALLY.lock() else { return };
    let tally = tally.get_or_insert_with(|| Tally { inputs: 0, passed: 0, told: Instant::now() });
    tally.inputs += 1;
    tally.passed += u64::from(passed);
    if tally.told.elapsed() > TELL_EVERY {
        tally.told = Instant::now();
        eprintln!("fuzz: {} of {} inputs passed the first check", tally.passed, tally.inputs);
    }
}

/// `bytes` with libFuzzer's own changes, at most `most` long.
fn mutated(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut changed = bytes[..bytes.len().min(most)].to_vec();
    let length = changed.len();
    changed.resize(most, 0);
    let length = fuzzer_mutate(&mut changed, length, most);
    changed.truncate(length);
    changed
}

/// Puts a new input into libFuzzer's buffer, if it fits; otherwise leaves the old one.
fn put(data: &mut [u8], size: usize, most: usize, new: &[u8]) -> usize {
    if new.len() > most.min(data.len()) {
        return size;
    }
    data[..new.len()].copy_from_slice(new);
    new.len()
}
