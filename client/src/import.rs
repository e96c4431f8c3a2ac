//! Imports activity files into the store: each session of a file becomes one workout, whose id and content follow from
//! the file alone, so that the same file imported again, here or on another device, is the same workout.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fitme_core::id::DocId;
use fitme_core::record::{Scalar, Unit};
use fitme_core::store::{ImportOutcome, Imported, Original, Store, WriteError};
use rand::RngCore;

use crate::fit::{self, FitError, IMPORTER_VERSION, MAX_FILE_BYTES, Session, step_fields};

/// Files that are stored with one commit: a commit costs more than reading a file, and a page that fails is stored
/// again file by file.
const PAGE_FILES: usize = 64;
/// Bytes of files that are held for one page.
const PAGE_BYTES: usize = 16 << 20;

/// Why a file was not imported. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// It holds no activity, or is damaged.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The store refused.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What became of one session of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedSession {
    /// The workout.
    pub doc_id: DocId,
    /// What the file says of it.
    pub session: Session,
    /// Whether that was news here.
    pub outcome: ImportOutcome,
}

/// A file's outcome.
pub type Outcome = Result<Vec<ImportedSession>, ImportError>;

/// Where files are imported to.
pub struct Importer<'a> {
    /// The home's store.
    pub store: &'a mut Store,
    /// The device's zone, for files that do not say where they were recorded.
    pub zone: &'a str,
    /// The device's clock, UTC milliseconds.
    pub now_ms: i64,
    /// Draws salts.
    pub rng: &'a mut dyn RngCore,
}

struct ReadFile {
    name: String,
    hash: [u8; 32],
    bytes: Vec<u8>,
    sessions: Vec<Session>,
}

impl Importer<'_> {
    /// Imports `files`, a page of them with one commit, and tells `each` what became of each file, in their order. A
    /// refused file does not keep the others out.
    pub fn import(&mut self, files: &[PathBuf], each: &mut dyn FnMut(&Path, Outcome)) {
        let mut page = Vec::new();
        let mut bytes = 0;
        for path in files {
            let file = read(path);
            bytes += file.as_ref().map_or(0, |file| file.bytes.len());
            page.push((path, file));
            if page.len() >= PAGE_FILES || bytes >= PAGE_BYTES {
                self.store_page(std::mem::take(&mut page), each);
                bytes = 0;
            }
        }
        self.store_page(page, each);
    }

    fn store_page(
        &mut self,
        page: Vec<(&PathBuf, Result<ReadFile, ImportError>)>,
        each: &mut dyn FnMut(&Path, Outcome),
    ) {
        let good: Vec<&ReadFile> = page.iter().filter_map(|(_, file)| file.as_ref().ok()).collect();
        // A page that is refused is stored file by file: the one that is to blame keeps no other out.
        let mut stored = self.store(&good).map(Vec::into_iter).ok();
        for (path, file) in page {
            let outcome = file.and_then(|file| match &mut stored {
                Some(outcomes) => Ok(outcomes.next().unwrap_or_default()),
                None => Ok(self.store(&[&file])?.pop().unwrap_or_default()),
            });
            each(path, outcome);
        }
    }

    /// Stores all of these files, or none if one is refused.
    fn store(&mut self, files: &[&ReadFile]) -> Result<Vec<Vec<ImportedSession>>, WriteError> {
        let originals: Vec<_> = files
            .iter()
            .copied()
            .map(|file| Original { hash: &file.hash, name: &file.name, bytes: &file.bytes })
            .collect();
        let sessions =
            files.iter().flat_map(|file| file.sessions.iter().map(|session| workout(&file.hash, session, self.zone)));
        let workouts: Vec<_> = sessions.collect();
        let mut outcomes = self.store.import(&originals, &workouts, self.now_ms, self.rng)?.into_iter();
        let of_file = |file: &&ReadFile| {
            let outcomes = file.sessions.iter().zip(outcomes.by_ref());
            let told = outcomes.map(|(session, (doc_id, outcome))| ImportedSession {
                doc_id,
                session: session.clone(),
                outcome,
            });
            told.collect()
        };
        Ok(files.iter().map(of_file).collect())
    }
}

fn read(path: &Path) -> Result<ReadFile, ImportError> {
    let mut bytes = Vec::new();
    // One byte more than may be read tells the parser that there is too much.
    let limited = File::open(path).map(|file| file.take(MAX_FILE_BYTES as u64 + 1));
    limited.and_then(|mut file| file.read_to_end(&mut bytes)).map_err(ImportError::Unreadable)?;
    let sessions = fit::read(&bytes)?.sessions;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ReadFile { name, hash: *blake3::hash(&bytes).as_bytes(), bytes, sessions })
}

/// The workout that a session of a file is. All of it but the guessed zone follows from the file.
fn workout(file_hash: &[u8; 32], session: &Session, zone: &str) -> Imported {
    Imported {
        file_hash: *file_hash,
        session: session.index,
        steps: (1..=IMPORTER_VERSION).map(|version| step(file_hash, session, version)).collect(),
        zone_guess: session.utc_offset_s.is_none().then(|| zone.to_owned()),
    }
}

/// One importer step. Each names its version; where a document has several, the newest counts.
fn step(file_hash: &[u8; 32], session: &Session, version: u16) -> Vec<(String, Scalar)> {
    let mut fields: Vec<_> =
        step_fields(session, version).into_iter().map(|(key, value)| (key, scalar(value))).collect();
    if version == 1 {
        let hash = blake3::Hash::from_bytes(*file_hash).to_hex().to_string();
        fields.push(("source/file_hash".to_owned(), Scalar::Text(hash)));
    }
    fields.push(("source/importer_version".to_owned(), Scalar::Int(version.into())));
    fields
}

fn scalar(value: fit::Scalar) -> Scalar {
    match value {
        fit::Scalar::Time(ms) => Scalar::Time(ms),
        fit::Scalar::Text(text) => Scalar::Text(text),
        fit::Scalar::Int(number) => Scalar::Int(number),
        fit::Scalar::Quantity { value, unit } => {
            Scalar::Quantity { value, unit: Unit::named(unit).expect("a step's units are in the table of units") }
        }
    }
}
