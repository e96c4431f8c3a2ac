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

/// Tom pushed into Ann's workouts, and his receipt came when she had ended what she shared and shared it again: his session was told
/// of the entry as his own, which was removed from his phone in between, and broke off.
#[test]
fn a_receipt_from_before_a_revocation_names_nothing_that_is_gone() {
    holds("136");
}

/// Ann's phone was refused edits of a record that its clone had erased, and took back with them what had been built on them and was
/// accepted: that was named to it as its own, and its session broke off.
#[test]
fn what_was_taken_back_with_an_erased_record_is_not_named() {
    ["196", "324", "439", "498", "730"].into_iter().for_each(holds);
}

/// What Tom had written for Ann stayed readable in his own store when the server had it after all and she had ended what she shared;
/// and his phone, whose last entry came back to nobody, never said that it was in sync.
#[test]
fn what_was_kept_for_another_and_is_hers_after_all_is_in_no_file() {
    holds("212");
}

/// The laptop was put back from a backup while what it had pushed before was still under way.
#[test]
fn what_was_under_way_before_a_restore_forks_what_is_written_after_it() {
    holds("700");
}

#[test]
fn the_same_seed_is_the_same_world_twice() {
    for seed in [1_000, 1_001] {
        let (once, again) = (run(&Script::of(seed), true), run(&Script::of(seed), true));
        assert!(once.trace.len() > 200, "something happens in it");
        assert_eq!(once, again);
    }
}
