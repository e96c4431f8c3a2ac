//! The archive of an account: one zip with everything that its person wrote, for people (JSON, CSV), for other programs
//! (automerge files) and for making an equal account of it. docs/archive.md describes what lies where.
//!
//! It is made from the device's store alone, so it works offline and holds what was not sent yet. What others share is theirs
//! and not in it.

use std::io;
use std::path::PathBuf;

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{BadDocument, StoreError, WriteError};
use serde::{Deserialize, Serialize};

mod read;
mod table;
mod write;

pub use read::{Archive, Imported};
pub use write::{Exported, export};

/// What a manifest calls the format.
const FORMAT: &str = "fitme account archive";
/// The format's version; a reader refuses later ones.
const VERSION: u32 = 1;
/// What the archive is and holds.
const MANIFEST: &str = "manifest.json";
/// Of every other file, as `sha256sum -c` reads them.
const CHECKSUMS: &str = "CHECKSUMS";
/// The files that activities were imported from, by name.
const ORIGINALS: &str = "originals.json";

/// What an archive is and holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u32,
    /// When it was made, ms UTC by the device's clock.
    pub made_at: i64,
    /// By which program.
    pub made_by: String,
    /// Changes in it that the server did not have.
    pub unsent: u64,
    /// How much there is of each collection.
    pub collections: Vec<Count>,
    /// Files that activities were imported from.
    pub originals: usize,
    /// SHA-256 of the file of checksums, hex.
    checksums: String,
}

/// How much there is of one collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Its name.
    pub collection: String,
    /// Its records, those in the trash included.
    pub records: usize,
    /// Records that are damaged on the device, and so not in the archive, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}

impl Count {
    /// Whether these are grants and ends of them, which are never imported.
    #[must_use]
    pub fn is_write_once(&self) -> bool {
        Collection::named(&self.collection).is_some_and(Collection::is_write_once)
    }
}

/// Why there is no archive, or none that can be imported.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Nothing is written over.
    #[error("{} is there already: name another file", .0.display())]
    Exists(PathBuf),
    /// The file system refuses.
    #[error("{} cannot be written: {reason}. Nothing was exported", path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the file system says.
        reason: io::Error,
    },
    /// The file system refuses.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the file system says.
        reason: io::Error,
    },
    /// Another file.
    #[error("{} is no archive of an account: `fitme export FILE.zip` makes one", .0.display())]
    NotAnArchive(PathBuf),
    /// Of a later version.
    #[error(
        "the archive was made by a newer version of FitME (its format is {found}, this one knows {VERSION}): update the app"
    )]
    TooNew {
        /// Its version.
        found: u64,
    },
    /// Not what was exported.
    #[error("the archive is damaged, and nothing of it was imported: {0}. Export again, or use another copy")]
    Damaged(String),
    /// More than an account may hold.
    #[error("the archive holds more than an account may: {0}. Nothing of it was imported")]
    TooLarge(String),
    /// The home has records of its own.
    #[error(
        "records in this home that are not in the archive: {0}. Import into an empty home (--home), or say --merge to put \
         both together for good"
    )]
    WouldMix(usize),
    /// The store refused.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    fn bad_document(name: &str, reason: &BadDocument) -> Self {
        Self::Damaged(format!("{name}: {reason}"))
    }
}

/// The collections that an archive has files of.
fn collections() -> impl Iterator<Item = Collection> {
    Collection::ALL.into_iter().filter(|collection| collection.is_served())
}

fn document_name(collection: Collection, doc_id: DocId) -> String {
    format!("documents/{collection}/{doc_id}.automerge")
}

fn original_name(hash: &[u8; 32]) -> String {
    format!("originals/{}.fit", blake3::Hash::from_bytes(*hash).to_hex())
}

/// An original as `originals.json` names it.
#[derive(Debug, Serialize, Deserialize)]
struct NamedOriginal {
    file: String,
    name: String,
    imported_at: i64,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
