//! The second place: a folder outside the database with signed heads of all chains. Whoever changes the database cannot
//! change these, and without the master key nobody can make others.
//!
//! Each process writes a file of its own, line by line, each on the disk before anybody relies on it: a signature, a
//! space, and what it signs as JSON. Accounts are named by hash, so that nothing here names an account that was erased.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::chain;
use crate::auth::ed25519;
use crate::bytes::hex;
use crate::master_key::MasterKey;

/// What the signing key is derived under. Never changed: heads that were signed would not be recognised.
const KEY_PURPOSE: &str = "fitme-sync 2026 audit heads";
/// What hashes of accounts are derived under. Never changed, as above.
const ACCOUNT_DOMAIN: &str = "fitme-sync 2026 audit account";
/// What precedes the JSON in what is signed, so that the signature is good for nothing else.
const SIGNED_CONTEXT: &[u8] = b"fitme audit heads v1\0";
/// Bytes of an account's hash that are written: enough that no two are equal.
const TAG_BYTES: usize = 16;
/// A file longer than this is followed by another one.
const FILE_BYTES: u64 = 64 << 20;
/// A longer line is none of ours.
const LINE_BYTES: usize = 1 << 20;
/// How the files are called.
const EXTENSION: &str = "heads";

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// When it was written, ms UTC.
    pub at_ms: i64,
    /// So far had these chains come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<SignedHead>,
    /// So far had this chain come when its account was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<SignedHead>,
}

/// How far a chain had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignedHead {
    /// The account, as [`tag`] writes it.
    pub account: String,
    /// The number of its last record.
    pub n: i64,
    /// The hash of it, in hexadecimal.
    pub hash: String,
}

impl SignedHead {
    pub fn of(account: Uuid, head: chain::Head) -> Self {
        Self { account: tag(account), n: head.n, hash: hex(&head.hash) }
    }
}

/// An account's hash, in hexadecimal. It does not lead back: the ids of accounts are random.
pub(super) fn tag(account: Uuid) -> String {
    let hash = *blake3::Hasher::new_derive_key(ACCOUNT_DOMAIN).update(account.as_bytes()).finalize().as_bytes();
    hex(&hash[..TAG_BYTES])
}

/// The folder, and the key; cloning is cheap.
#[derive(Clone)]
pub(super) struct SignedHeads {
    folder: PathBuf,
    seed: [u8; ed25519::SEED_BYTES],
    /// This process's file, once it has written something.
    file: Arc<Mutex<Option<Open>>>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl std::fmt::Debug for SignedHeads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedHeads").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl SignedHeads {
    /// The folder, made if it is not there.
    pub fn open(folder: &Path, master: &MasterKey) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self::existing(folder, master))
    }

    /// The folder as it is.
    pub fn existing(folder: &Path, master: &MasterKey) -> Self {
        Self { folder: folder.to_owned(), seed: master.derive(KEY_PURPOSE), file: Arc::default() }
    }

    /// Signs a line and writes it; it is on the disk when this returns.
    pub async fn write(&self, line: Line) -> io::Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.write_blocking(&line)).await.map_err(io::Error::other)?
    }

    fn write_blocking(&self, line: &Line) -> io::Result<()> {
        let text = self.signed(line);
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: after a failure it is not known where its last line ends, and the next one begins another file.
        let mut current = match open.take().filter(|open| open.bytes < FILE_BYTES) {
            Some(open) => open,
            None => self.create()?,
        };
        current.file.write_all(text.as_bytes())?;
        current.file.sync_data()?;
        current.bytes += text.len() as u64;
        *open = Some(current);
        Ok(())
    }

    /// Its name sorts by time and is nobody else's: several servers may share the folder.
    fn create(&self) -> io::Result<Open> {
        let path = self.folder.join(Uuid::now_v7().to_string()).with_extension(EXTENSION);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(Open { file, bytes: 0 })
    }

    fn signed(&self, line: &Line) -> String {
        let json = serde_json::to_string(line).expect("numbers and names are JSON");
        let message = [SIGNED_CONTEXT, json.as_bytes()].concat();
        let signature = ed25519::sign(&self.seed, &message).expect("a derived key is a seed");
        format!("{} {json}\n", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What the text of a line says; `None` if another key signed it, or none.
    pub fn read_line(&self, text: &str) -> Option<Line> {
        let (signature, json) = text.split_once(' ')?;
        let public = ed25519::public_key(&self.seed)?;
        let message = [SIGNED_CONTEXT, json.as_bytes()].concat();
        ed25519::is_signed(&public, &message, &URL_SAFE_NO_PAD.decode(signature).ok()?)
            .then(|| serde_json::from_str(json).ok())?
    }

    /// The files that are there now, in the order in which they were begun, each as far as it has come: what is written
    /// while they are read is left out.
    pub fn files(&self) -> io::Result<Vec<HeadsFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                files.push(HeadsFile { bytes: fs::metadata(&path)?.len(), path });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }
}

/// One file of signed heads.
#[derive(Debug, Clone)]
pub(super) struct HeadsFile {
    pub path: PathBuf,
    bytes: u64,
}

impl HeadsFile {
    /// Its whole lines. What follows the last one was being written when its server died, and nobody relied on it.
    pub fn lines(&self) -> io::Result<impl Iterator<Item = io::Result<String>> + use<>> {
        let mut reader = BufReader::new(File::open(&self.path)?.take(self.bytes));
        Ok(std::iter::from_fn(move || read_line(&mut reader).transpose()))
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.by_ref().take(LINE_BYTES as u64).read_until(b'\n', &mut line)?;
    let is_whole = line.pop() == Some(b'\n') || line.len() + 1 >= LINE_BYTES;
    Ok(is_whole.then(|| String::from_utf8_lossy(&line).into_owned()))
}
