//! A failing script with as few steps as it takes.

use super::script::Script;

/// Runs that one shrinking may take.
const RUNS: usize = 300;

/// Leaves out steps, many at once and then fewer, as long as it still `fails`.
pub fn shrink(script: &Script, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut smallest = script.clone();
    let mut runs = 0;
    let mut size = smallest.steps().count().div_ceil(2);
    while size > 0 {
        let before = smallest.steps().count();
        let steps: Vec<_> = smallest.steps().map(|(at, _)| at).collect();
        // From the end: what comes last depends on what came before.
        for part in steps.rchunks(size) {
            if runs == RUNS {
                return smallest;
            }
            runs += 1;
            let smaller = smallest.without(part);
            if fails(&smaller) {
                smallest = smaller;
            }
        }
        if size == 1 && smallest.steps().count() == before {
            break;
        }
        size = if size == 1 { 1 } else { size.div_ceil(2).min(size - 1) };
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out_and_the_line_replays_the_rest() {
        let fails = |script: &Script| [3, 77].iter().all(|needed| script.steps().any(|(at, _)| at == *needed));
        let smallest = shrink(&Script::of(1), fails);
        assert_eq!(smallest.steps().map(|(at, _)| at).collect::<Vec<_>>(), [3, 77]);
        assert_eq!(Script::parsed(&smallest.to_string()), Some(smallest));
    }
}
