//! Reads an archive, which may be damaged or made to do harm: nothing of it is believed before it is checked, nothing is
//! larger than an account may be, no name in it is used as a path, and nothing is written before all of it was read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::limits;
use fitme_core::store::{ArchivedDocument, Original, PutBack, Store};
use rand::RngCore;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use zip::ZipArchive;

use super::{
    ArchiveError, CHECKSUMS, FORMAT, MANIFEST, Manifest, NamedOriginal, ORIGINALS, VERSION, collections, document_name,
    hex, original_name,
};
use crate::fit::MAX_FILE_BYTES;

/// A manifest is a page of text.
const MANIFEST_BYTES: u64 = 64 << 10;
/// A line for each file: 64 hex characters and a name.
const CHECKSUMS_BYTES: u64 = 256 << 20;
/// A line for each original.
const ORIGINALS_JSON_BYTES: u64 = 64 << 20;
/// Files in an archive: those of an account that is full, as many originals, and those that are always there.
const FILES: usize = 2 * limits::ACCOUNT_DOCUMENTS as usize + 100;
/// All originals together.
const ORIGINALS_BYTES: u64 = 16 << 30;
/// Documents that are put back with one commit.
const PAGE_DOCUMENTS: usize = 256;
/// Changes that are held for one page.
const PAGE_CHANGES: usize = 4_096;

/// An archive of which every document and every original was read and found good.
pub struct Archive {
    files: Files,
    manifest: Manifest,
    documents: BTreeMap<DocId, (Collection, usize)>,
    originals: Vec<(usize, [u8; 32], NamedOriginal)>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records of the archive, those that were left out not counted.
    pub records: usize,
    /// What of them was new here.
    pub new: PutBack,
    /// Grants and revocations that were left out: what is shared with whom is for the new account to say.
    pub consents: usize,
}

impl Archive {
    /// Opens an archive and checks all of it that an import uses.
    ///
    /// # Errors
    /// [`ArchiveError`] with the first thing that is wrong.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let unreadable = |reason| ArchiveError::Unreadable { path: path.to_owned(), reason };
        let foreign = || ArchiveError::NotAnArchive(path.to_owned());
        let file = File::open(path).map_err(unreadable)?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|_| foreign())?;
        if zip.len() > FILES {
            return Err(ArchiveError::TooLarge(format!("{} files", zip.len())));
        }
        let mut files = Files { zip, checksums: HashMap::new() };
        let manifest = files.index(MANIFEST).map(|index| files.read(index, MANIFEST_BYTES)).ok_or_else(foreign)?;
        let manifest = read_manifest(&manifest?, &foreign)?;
        files.read_checksums(&manifest)?;
        let (mut documents, mut originals) = (BTreeMap::new(), Vec::new());
        files.check_documents(&mut documents)?;
        files.check_originals(&mut originals)?;
        Ok(Self { files, manifest, documents, originals })
    }

    /// What the archive says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Puts everything into the store; what is there already is left as it is.
    ///
    /// # Errors
    /// [`ArchiveError::WouldMix`] where the home has other records and that was not asked for, and as the store refuses. What
    /// was imported until then stays, and importing again goes on.
    pub fn import(
        &mut self,
        store: &mut Store,
        merge: bool,
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<Imported, ArchiveError> {
        let others = self.others(store)?;
        if others > 0 && !merge {
            return Err(ArchiveError::WouldMix(others));
        }
        for (index, hash, original) in &self.originals {
            let bytes = self.files.read(*index, MAX_FILE_BYTES as u64)?;
            store.keep_original(&Original { hash, name: &original.name, bytes: &bytes }, original.imported_at)?;
        }
        let mut done = Imported::default();
        let (mut page, mut changes) = (Vec::new(), 0);
        for (doc_id, (collection, index)) in &self.documents {
            if collection.is_write_once() {
                done.consents += 1;
                continue;
            }
            done.records += 1;
            let document = self.files.document(*index, *collection, *doc_id)?;
            changes += document.changes();
            page.push(document);
            if page.len() >= PAGE_DOCUMENTS || changes >= PAGE_CHANGES {
                put_back(store, &mut page, &mut done, now_ms, rng)?;
                changes = 0;
            }
        }
        put_back(store, &mut page, &mut done, now_ms, rng)?;
        Ok(done)
    }

    /// How many records the home has that are not in the archive. What it shares is no matter: that is not imported.
    fn others(&self, store: &Store) -> Result<usize, ArchiveError> {
        let mut others = 0;
        for collection in collections().filter(|collection| !collection.is_write_once()) {
            let ids = store.documents_of(collection)?;
            others += ids.iter().filter(|id| !self.documents.contains_key(id)).count();
        }
        Ok(others)
    }
}

fn put_back(
    store: &mut Store,
    page: &mut Vec<ArchivedDocument>,
    done: &mut Imported,
    now_ms: i64,
    rng: &mut dyn RngCore,
) -> Result<(), ArchiveError> {
    let new = store.put_back(page, now_ms, rng)?;
    done.new.documents += new.documents;
    done.new.changes += new.changes;
    page.clear();
    Ok(())
}

/// The version first: a later one may have another form.
fn read_manifest(text: &[u8], foreign: &dyn Fn() -> ArchiveError) -> Result<Manifest, ArchiveError> {
    #[derive(Deserialize)]
    struct Known {
        format: String,
        version: u64,
    }
    let Known { format, version } = serde_json::from_slice(text).map_err(|_| foreign())?;
    if format != FORMAT {
        return Err(foreign());
    }
    if version != u64::from(VERSION) {
        return Err(ArchiveError::TooNew { found: version });
    }
    serde_json::from_slice(text).map_err(|error| ArchiveError::Damaged(format!("{MANIFEST}: {error}")))
}

/// The zip, and what its files must be.
struct Files {
    zip: ZipArchive<BufReader<File>>,
    /// Of those that were not read yet.
    checksums: HashMap<String, String>,
}

impl Files {
    fn index(&self, name: &str) -> Option<usize> {
        self.zip.index_for_name_raw(name.as_bytes())
    }

    /// The content of a file, as long as it is no longer than it may be.
    fn read(&mut self, index: usize, most: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut file = self.zip.by_index(index).map_err(|error| ArchiveError::Damaged(error.to_string()))?;
        let name = file.name().map(|name| name.chars().take(80).collect::<String>()).unwrap_or_default();
        let mut content = Vec::new();
        // One byte more than may be read tells that there is too much, whatever the file says of itself.
        let read = Read::take(&mut file, most + 1).read_to_end(&mut content);
        read.map_err(|error| ArchiveError::Damaged(format!("{name}: {error}")))?;
        if content.len() as u64 > most {
            return Err(ArchiveError::TooLarge(format!("{name} has more than {most} bytes")));
        }
        Ok(content)
    }

    /// The same, if it is what was exported.
    fn read_checked(&mut self, name: &str, most: u64) -> Result<(usize, Vec<u8>), ArchiveError> {
        let index = self.index(name).ok_or_else(|| ArchiveError::Damaged(format!("{name} is missing")))?;
        let content = self.read(index, most)?;
        let expected = self.checksums.get(name).map(String::as_str);
        if expected != Some(&hex(digest(&SHA256, &content).as_ref())) {
            return Err(ArchiveError::Damaged(format!("{name} is not what was exported")));
        }
        Ok((index, content))
    }

    fn read_checksums(&mut self, manifest: &Manifest) -> Result<(), ArchiveError> {
        let missing = || ArchiveError::Damaged(format!("{CHECKSUMS} is missing"));
        let index = self.index(CHECKSUMS).ok_or_else(missing)?;
        let text = self.read(index, CHECKSUMS_BYTES)?;
        let wrong = || ArchiveError::Damaged(format!("{CHECKSUMS} is not what was exported"));
        if hex(digest(&SHA256, &text).as_ref()) != manifest.checksums {
            return Err(wrong());
        }
        for line in std::str::from_utf8(&text).map_err(|_| wrong())?.lines() {
            let (sum, name) = line.split_once("  ").ok_or_else(wrong)?;
            self.checksums.insert(name.to_owned(), sum.to_owned());
        }
        Ok(())
    }

    /// Reads every document that the checksums name.
    fn check_documents(&mut self, documents: &mut BTreeMap<DocId, (Collection, usize)>) -> Result<(), ArchiveError> {
        let names: BTreeSet<_> = self.checksums.keys().filter(|name| name.starts_with("documents/")).cloned().collect();
        let mut bytes = 0;
        for name in names {
            let (collection, doc_id) =
                document_of(&name).ok_or_else(|| ArchiveError::Damaged(format!("{name} names no record")))?;
            let (index, content) = self.read_checked(&name, limits::DOCUMENT_BYTES)?;
            bytes += content.len() as u64;
            if bytes > limits::ACCOUNT_BYTES {
                return Err(ArchiveError::TooLarge(format!("more than {} bytes of records", limits::ACCOUNT_BYTES)));
            }
            ArchivedDocument::read(collection, doc_id, &content)
                .map_err(|reason| ArchiveError::bad_document(&name, &reason))?;
            if documents.insert(doc_id, (collection, index)).is_some() {
                return Err(ArchiveError::Damaged(format!("{name} is there twice")));
            }
        }
        Ok(())
    }

    fn document(&mut self, index: usize, collection: Collection, id: DocId) -> Result<ArchivedDocument, ArchiveError> {
        let content = self.read(index, limits::DOCUMENT_BYTES)?;
        let name = document_name(collection, id);
        ArchivedDocument::read(collection, id, &content).map_err(|reason| ArchiveError::bad_document(&name, &reason))
    }

    /// Reads every original that the list of them names.
    fn check_originals(&mut self, originals: &mut Vec<(usize, [u8; 32], NamedOriginal)>) -> Result<(), ArchiveError> {
        let (_, text) = self.read_checked(ORIGINALS, ORIGINALS_JSON_BYTES)?;
        let named: Vec<NamedOriginal> =
            serde_json::from_slice(&text).map_err(|error| ArchiveError::Damaged(format!("{ORIGINALS}: {error}")))?;
        let mut bytes = 0;
        for original in named {
            let (index, content) = self.read_checked(&original.file, MAX_FILE_BYTES as u64)?;
            bytes += content.len() as u64;
            if bytes > ORIGINALS_BYTES {
                return Err(ArchiveError::TooLarge(format!("more than {ORIGINALS_BYTES} bytes of imported files")));
            }
            let hash = *blake3::hash(&content).as_bytes();
            if original.file != original_name(&hash) {
                return Err(ArchiveError::Damaged(format!("{} is not what was imported", original.file)));
            }
            originals.push((index, hash, original));
        }
        Ok(())
    }
}

/// What a document's name says, if it is the name that this version gives it.
fn document_of(name: &str) -> Option<(Collection, DocId)> {
    let (collection, id) = name.strip_prefix("documents/")?.strip_suffix(".automerge")?.split_once('/')?;
    let (collection, doc_id) = (collections().find(|one| one.name() == collection)?, id.parse().ok()?);
    (document_name(collection, doc_id) == name).then_some((collection, doc_id))
}
