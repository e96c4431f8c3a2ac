//! Makes an archive: every file of it from one reading of the store, each with its checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{ListQuery, Shown, Store, StoreError};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::table::{self, Row};
use super::{
    ArchiveError, CHECKSUMS, Count, FORMAT, MANIFEST, Manifest, NamedOriginal, ORIGINALS, VERSION, collections,
    document_name, hex, original_name,
};
use crate::record_json;

const README: &str = include_str!("README.txt");

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// As the archive has it.
    pub manifest: Manifest,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes everything in the store into a new file. `account` is what is known of the account itself.
///
/// # Errors
/// [`ArchiveError`]; then there is no file.
pub fn export(store: &Store, account: &Value, path: &Path, now_ms: i64) -> Result<Exported, ArchiveError> {
    let unwritable = |reason| ArchiveError::Unwritable { path: path.to_owned(), reason };
    let file = private_file().open(path).map_err(|reason| match reason.kind() {
        io::ErrorKind::AlreadyExists => ArchiveError::Exists(path.to_owned()),
        _ => unwritable(reason),
    })?;
    let written = store.in_one_reading(|store| write(store, account, file, now_ms));
    let written = written.map_err(|failure| match failure {
        Failure::Store(error) => error.into(),
        Failure::File(reason) => unwritable(reason),
    });
    if written.is_err() {
        let _it_is_the_error_that_counts = fs::remove_file(path);
    }
    written
}

/// What went wrong on either side.
enum Failure {
    Store(StoreError),
    File(io::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<zip::result::ZipError> for Failure {
    fn from(error: zip::result::ZipError) -> Self {
        Self::File(error.into())
    }
}

impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        Self::File(error.into())
    }
}

fn write(store: &Store, account: &Value, file: File, now_ms: i64) -> Result<Exported, Failure> {
    let mut files = Files { zip: ZipWriter::new(BufWriter::new(file)), checksums: String::new() };
    files.add("README.txt", README.as_bytes())?;
    files.add("account.json", &pretty(account))?;
    files.add("grants.json", &pretty(&grants(store)?))?;
    files.add("rejected.json", &pretty(&rejected(store)?))?;
    let mut counts = Vec::new();
    for collection in collections() {
        counts.push(records(store, collection, &mut files)?);
    }
    let originals = originals(store, &mut files)?;
    let status = store.status()?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        made_at: now_ms,
        made_by: concat!("fitme ", env!("CARGO_PKG_VERSION")).to_owned(),
        unsent: status.pending + status.waiting + status.rejected,
        collections: counts,
        originals,
        checksums: hex(ring::digest::digest(&SHA256, files.checksums.as_bytes()).as_ref()),
    };
    let bytes = files.finish(&manifest)?;
    Ok(Exported { manifest, bytes })
}

/// One collection three times: whole records, what lists show, and the documents themselves.
fn records(store: &Store, collection: Collection, files: &mut Files) -> Result<Count, Failure> {
    let ids = store.documents_of(collection)?;
    let mut count = Count { collection: collection.name().to_owned(), records: ids.len(), damaged: Vec::new() };
    files.stream(&format!("records/{collection}.json"), |out| {
        out.write_all(b"{\"records\":[")?;
        let mut separator = "\n";
        for id in &ids {
            let Some(shown) = whole(store, *id)? else {
                count.damaged.push(id.to_string());
                continue;
            };
            let mut record = record_json::record(&shown);
            // How far it has come is the device's matter, not the record's.
            record.as_object_mut().map(|members| members.shift_remove("sync"));
            write!(out, "{separator}{record}")?;
            separator = ",\n";
        }
        Ok(out.write_all(b"\n]}\n")?)
    })?;
    let mut rows = Vec::new();
    for trashed in [false, true] {
        let query = ListQuery { collection, since: None, until: None, trashed, limit: i64::MAX as usize };
        rows.extend(store.list(&query)?.into_iter().map(|listed| Row { listed, trashed }));
    }
    rows.sort_by_key(|row| (row.listed.at, row.listed.doc_id));
    files.stream(&format!("lists/{collection}.csv"), |out| Ok(table::write(&rows, out)?))?;
    for id in ids.iter().filter(|id| !count.damaged.contains(&id.to_string())) {
        if let Some(document) = store.archived(*id)? {
            files.add(&document_name(collection, *id), &document)?;
        }
    }
    count.records -= count.damaged.len();
    Ok(count)
}

/// A record, unless it is damaged on this device: one that is keeps no other out of the archive.
fn whole(store: &Store, id: DocId) -> Result<Option<Shown>, StoreError> {
    match store.show(id) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        shown => shown,
    }
}

/// What is shared with whom, and who shares what with this account; what they share is theirs.
fn grants(store: &Store) -> Result<Value, StoreError> {
    let mut given = Vec::new();
    for id in store.documents_of(Collection::Grants)? {
        given.extend(whole(store, id)?.map(|shown| json!({ "id": shown.doc_id.to_string(), "grant": shown.record })));
    }
    let received = store.others()?.into_iter().map(|other| {
        let feeds = other.feeds.iter().map(|((collection, scope), access)| {
            json!({ "collection": collection, "scope": scope, "access": access.name() })
        });
        let account = uuid::Uuid::from_bytes(other.account).to_string();
        json!({ "account": account, "name": other.name, "feeds": feeds.collect::<Vec<_>>() })
    });
    Ok(json!({ "given": given, "received": received.collect::<Vec<_>>() }))
}

/// What was written here and the server did not take: it exists nowhere else.
fn rejected(store: &Store) -> Result<Value, StoreError> {
    let rejected: Vec<_> = store.rejected()?.iter().map(record_json::rejected).collect();
    Ok(json!({ "rejected": rejected }))
}

fn originals(store: &Store, files: &mut Files) -> Result<usize, Failure> {
    let originals = store.originals()?;
    let mut named = Vec::new();
    for original in &originals {
        let file = original_name(&original.hash);
        if let Some(bytes) = store.original(&original.hash)? {
            files.add(&file, &bytes)?;
            named.push(NamedOriginal { file, name: original.name.clone(), imported_at: original.imported_at });
        }
    }
    files.add(ORIGINALS, &pretty(&json!(named)))?;
    Ok(named.len())
}

fn pretty(document: &Value) -> Vec<u8> {
    format!("{document:#}\n").into_bytes()
}

/// The zip that grows, and the checksums of what is in it.
struct Files {
    zip: ZipWriter<BufWriter<File>>,
    checksums: String,
}

impl Files {
    fn add(&mut self, name: &str, content: &[u8]) -> Result<(), Failure> {
        self.put(name, options(), |out| Ok(out.write_all(content)?))
    }

    /// A file whose size nobody knows yet, and which may pass 4 GiB.
    fn stream(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> Result<(), Failure>) -> Result<(), Failure> {
        self.put(name, options().large_file(true), fill)
    }

    fn put(
        &mut self,
        name: &str,
        options: SimpleFileOptions,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.zip.start_file(name, options)?;
        let mut out = Summed { to: &mut self.zip, sum: Context::new(&SHA256) };
        fill(&mut out)?;
        let sum = hex(out.sum.finish().as_ref());
        self.checksums.push_str(&format!("{sum}  {name}\n"));
        Ok(())
    }

    /// The checksums and the manifest, which has theirs, come last. Durable when this returns.
    fn finish(mut self, manifest: &Manifest) -> Result<u64, Failure> {
        self.zip.start_file(CHECKSUMS, options())?;
        self.zip.write_all(self.checksums.as_bytes())?;
        self.zip.start_file(MANIFEST, options())?;
        self.zip.write_all(&pretty(&json!(manifest)))?;
        let file = self.zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

/// Counts what it passes on into a checksum.
struct Summed<'a, W> {
    to: &'a mut W,
    sum: Context,
}

impl<W: Write> Write for Summed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A new file that nobody else may read.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
