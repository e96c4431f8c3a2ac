//! Whole worlds from seeds, see `fitme_testing::sim`; `make sim SEEDS=10000` runs many. Seeds that once found something are
//! kept here with their story.

use fitme_testing::sim::script::Script;
use fitme_testing::sim::world::run;

/// Seeds of a run of all tests.
const SEEDS: u64 = 40;

fn holds(line: &str) {
    let script = Script::parsed(line).expect("a line that replays a seed");
    let broken = run(&script, false).broken;
    assert!(broken.is_empty(), "make sim REPLAY='{line}': {broken:#?}");
}

#[test]
fn in_the_first_worlds_nothing_is_lost() {
    (0..SEEDS).for_each(|seed| holds(&seed.to_string()));
}

#[test]
fn the_same_seed_is_the_same_world_twice() {
    for seed in [1_000, 1_001] {
        let (once, again) = (run(&Script::of(seed), true), run(&Script::of(seed), true));
        assert!(once.trace.len() > 200, "something happens in it");
        assert_eq!(once, again);
    }
}
