//! Runs seeds of the simulator: `sim SEEDS` from the first one, or `sim replay 'SEED without STEPS'` to see one, line by line.
//! What is found is shrunk and printed as a line that replays it, but by `sim first SEEDS`, which says only which seed it was. Both
//! cores work, each as a process of its own: SQLite's
//! allocator is one for a process.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use fitme_testing::sim::census::Sum;
use fitme_testing::sim::script::Script;
use fitme_testing::sim::shrink::shrink;
use fitme_testing::sim::world::run;

/// Seeds without an argument.
const SEEDS: u64 = 200;
/// So many seeds must run before what did not occur counts.
const ENOUGH: u64 = 300;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["replay", line] => replay(line),
        ["part", first, step, last] => part(number(first), number(step), number(last)),
        ["first", seeds] => first_to_fail(number(seeds)),
        [] => all(0, SEEDS),
        [seeds] => all(0, number(seeds)),
        [first, seeds] => all(number(first), number(seeds)),
        _ => {
            eprintln!("sim [FIRST] SEEDS, sim first SEEDS, or: sim replay 'SEED without STEPS'");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number of a seed"))
}

fn replay(line: &str) -> ExitCode {
    let Some(script) = Script::parsed(line) else {
        eprintln!("this is no line that replays a seed: {line}");
        return ExitCode::FAILURE;
    };
    let report = run(&script, true);
    report.trace.iter().for_each(|line| println!("{line}"));
    report.broken.iter().for_each(|broken| println!("{broken}"));
    if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A seed that fails says so in its own words.
fn be_quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Every `step`th seed from `first` on; what occurred goes to the one who asked.
fn part(first: u64, step: u64, last: u64) -> ExitCode {
    be_quiet();
    let mut sum = Sum::default();
    let mut seed = first;
    while seed < last {
        let script = Script::of(seed);
        let report = run(&script, false);
        sum.add(&report.census);
        if let Some(broken) = report.broken.first() {
            explain(&script, broken);
            print!("{sum}");
            return ExitCode::FAILURE;
        }
        seed += step;
    }
    print!("{sum}");
    ExitCode::SUCCESS
}

/// One after the other, until one fails.
fn first_to_fail(seeds: u64) -> ExitCode {
    be_quiet();
    for seed in 0..seeds {
        if let Some(broken) = run(&Script::of(seed), false).broken.first() {
            println!("seed {seed}: {broken}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn explain(script: &Script, broken: &str) {
    eprintln!("seed {}: {broken}", script.seed);
    let invariant = broken.split(':').next().unwrap_or_default().to_owned();
    let same = |report: &fitme_testing::sim::world::Report| report.broken.iter().any(|one| one.starts_with(&invariant));
    let smallest = shrink(script, |script| same(&run(script, false)));
    let steps = smallest.steps().count();
    eprintln!("the same with {steps} steps, to be replayed by: make sim REPLAY='{smallest}'");
    run(&smallest, false).broken.iter().for_each(|broken| eprintln!("  {broken}"));
}

fn all(first: u64, seeds: u64) -> ExitCode {
    let started = Instant::now();
    let processes = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let program = std::env::current_exe().expect("a program knows where it is");
    let parts: Vec<_> = (0..processes)
        .map(|at| {
            let range = [first + at, processes, first + seeds].map(|number| number.to_string());
            let mut part = Command::new(&program);
            part.arg("part").args(range).stdout(Stdio::piped()).spawn().expect("a process can be made")
        })
        .collect();
    let mut sum = Sum::default();
    let mut failed = false;
    for part in parts {
        let output = part.wait_with_output().expect("a process ends");
        failed |= !output.status.success();
        sum.merge(Sum::parsed(&String::from_utf8_lossy(&output.stdout)));
    }
    print!("{sum}");
    let seconds = started.elapsed().as_secs_f64();
    println!("{} seeds in {seconds:.0} s, {:.1} a second", sum.seeds, sum.seeds as f64 / seconds);
    let seldom = sum.seldom();
    if sum.seeds >= ENOUGH && !seldom.is_empty() {
        println!("in fewer than 1 of 100 seeds: {seldom:?}");
        failed = true;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
