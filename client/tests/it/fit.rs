//! Real FIT files from real devices, and files bent until they break: what is read of each, and how it is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop with the line")]

pub mod build;
mod damage;
mod outcomes;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The 13 files that ship inside the `fitparser` package.
pub static FIXTURES: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO")).args(["metadata", "--format-version", "1"]).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "fitparser").unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("tests/fixtures")
});

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(FIXTURES.join(name)).unwrap()
}

/// The real files that lie beside the project on a developer's disk, and are not part of it.
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/fit");
    if !folder.is_dir() {
        println!("skipped: ../shared/data/fit is not there");
        return None;
    }
    Some(folder)
}
