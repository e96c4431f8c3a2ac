//! Logs of what is under test. Where `FITME_TEST_LOGS` names a folder, as `make test` does, all are kept there, in full, and
//! `scripts/search-logs` looks through them when the run is over.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the folder.
const FOLDER: &str = "FITME_TEST_LOGS";
/// How much is logged there; more than anybody logs, as it is for the search.
pub(crate) const LEVEL: &str = "debug";

/// A new file for the log of `what`, if logs are kept.
pub(crate) fn file(what: &str) -> Option<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let folder = PathBuf::from(std::env::var_os(FOLDER).filter(|folder| !folder.is_empty())?);
    std::fs::create_dir_all(&folder).expect("the folder of the logs can be made");
    let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    Some(folder.join(format!("{what}-{process}-{number}.log")))
}
