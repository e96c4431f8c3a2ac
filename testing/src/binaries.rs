//! Finds the programs under test beside the test's own.

use std::path::PathBuf;

/// The built program `name`.
pub(crate) fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a file");
    let mut folder = own.parent().expect("a file lies in a folder").to_owned();
    // Tests lie in target/debug/deps, programs one above.
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is not built; run `cargo build -p sync-server -p fitme-client` (with --release where the test has it) first",
        program.display()
    );
    program
}
