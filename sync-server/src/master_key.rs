//! The master key: 32 bytes in a file that is not in the database. What the database must keep secret, such as signing
//! keys, is sealed with it, so that a copy of the database opens nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::bytes::{hex, random_bytes};

/// Its file in the server's data folder, where no other is named.
pub const DEFAULT_FILE: &str = "master.key";
/// Bytes of the key.
const KEY_BYTES: usize = 32;
/// Bits of the file's mode that let others read or change it.
const OTHERS: u32 = 0o077;
/// First byte of everything sealed, so that another way of sealing can follow.
const SEALED_V1: u8 = 1;
/// Random bytes of each seal: so many that no two are ever equal.
const NONCE_BYTES: usize = 24;
/// What the key that seals is derived under. Never changed: what is sealed would not open again.
const SEALING: &str = "fitme-sync 2026 seal";

/// Why there is no master key; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// There is no such file, or it cannot be read.
    #[error(
        "the master key {} cannot be read ({reason}); name its file by FITME_MASTER_KEY, copied from the first server \
         of this database or made with `openssl rand -hex 32`", path.display()
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// Others may read it.
    #[error("the master key {} can be read by others (mode {mode:o}); run `chmod 600` on it", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "the file {} is no master key: it must hold {} hexadecimal digits and nothing else; restore it from your backup",
        .0.display(), 2 * KEY_BYTES
    )]
    Malformed(PathBuf),
    /// The first one could not be written.
    #[error("a master key cannot be made at {} ({reason}); make its folder writable", path.display())]
    Unwritable {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
}

/// The key. It is never printed: `Debug` shows nothing of it.
#[derive(Clone)]
pub struct MasterKey {
    key: Arc<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

impl MasterKey {
    /// Reads the key from the file that was named; without a name from `data`, `None` where no first start has made it yet.
    ///
    /// # Errors
    /// When the file is missing that was named, readable by others, or holds no key.
    pub fn find(named: Option<&Path>, data: &Path) -> Result<Option<Self>, MasterKeyError> {
        let is_to_be_made = named.is_none() && !data.join(DEFAULT_FILE).exists();
        if is_to_be_made { Ok(None) } else { Self::existing(named, data).map(Some) }
    }

    /// Makes the key in `data`, for a database in which no other has sealed anything. A named file is never made: a slip in its
    /// name would seal with a key that nobody keeps.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(data: &Path) -> Result<Self, MasterKeyError> {
        let path = data.join(DEFAULT_FILE);
        make(data, &path).map_err(|reason| MasterKeyError::Unwritable { path: path.clone(), reason })?;
        Self::read(&path)
    }

    /// Reads the key from the file that was named, or from the one that a first start made; makes none.
    ///
    /// # Errors
    /// As [`Self::find`], and when there is none.
    pub fn existing(named: Option<&Path>, data: &Path) -> Result<Self, MasterKeyError> {
        Self::read(&named.map_or_else(|| data.join(DEFAULT_FILE), Path::to_owned))
    }

    fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let unreadable = |reason| MasterKeyError::Unreadable { path: path.to_owned(), reason };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(MasterKeyError::Open { path: path.to_owned(), mode });
        }
        let text = fs::read(path).map_err(unreadable)?;
        let key = key_in(text.trim_ascii()).ok_or_else(|| MasterKeyError::Malformed(path.to_owned()))?;
        Ok(Self { key: Arc::new(key) })
    }

    /// A key that no file has, for tests.
    #[must_use]
    pub fn random() -> Self {
        Self { key: Arc::new(random_bytes()) }
    }

    /// A key of its own for one purpose, which tells nothing about the others.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> [u8; KEY_BYTES] {
        blake3::derive_key(purpose, &*self.key)
    }

    /// `secret`, sealed as what `label` says. It opens under the same label only, so that nobody who can write to the
    /// database can put one secret in another's place.
    #[must_use]
    pub fn seal(&self, label: &str, secret: &[u8]) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let payload = Payload { msg: secret, aad: label.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).expect("a short secret can be sealed");
        [&[SEALED_V1][..], &nonce, &sealed].concat()
    }

    /// What was sealed under `label`; `None` if it was changed, or sealed by another key or under another label.
    #[must_use]
    pub fn unseal(&self, label: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: label.as_bytes() };
        (*version == SEALED_V1).then(|| self.cipher().decrypt(&XNonce::from(*nonce), payload).ok())?
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.derive(SEALING).into())
    }
}

/// The whole file is there under its name or nothing is; of two servers that start at once, one makes it.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = path.with_extension(format!("key.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{}", hex(&random_bytes::<KEY_BYTES>()))?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => File::open(folder)?.sync_all()?,
    }
    tracing::info!(file = %path.display(), "made the master key; back it up apart from the database");
    Ok(())
}

fn key_in(text: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.len() == 2 * KEY_BYTES)?;
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_private_file_and_later_ones_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        assert!(MasterKey::find(None, &data).unwrap().is_none() && !data.exists(), "looking makes none");
        let sealed = MasterKey::make(&data).unwrap().seal("a label", b"secret");
        let later = MasterKey::find(None, &data).unwrap().unwrap();
        assert_eq!(later.unseal("a label", &sealed).unwrap(), b"secret");
        assert_eq!(MasterKey::make(&data).unwrap().unseal("a label", &sealed).unwrap(), b"secret", "one is made once");
        let file = data.join(DEFAULT_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_and_label_alone_and_unchanged() {
        let (key, other) = (MasterKey::random(), MasterKey::random());
        let sealed = key.seal("one", b"secret");
        assert_eq!(key.unseal("two", &sealed), None);
        assert_eq!(other.unseal("one", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.unseal("one", &changed), None, "byte {at} was changed");
            assert_eq!(key.unseal("one", &sealed[..at]), None);
        }
        assert_ne!(key.seal("one", b"secret"), sealed, "equal secrets do not look equal");
    }

    #[test]
    fn a_file_that_is_missing_open_to_others_or_no_key_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let refusal = || MasterKey::find(Some(&file), folder.path()).unwrap_err().to_string();
        assert!(refusal().contains("openssl rand -hex 32"), "{}", refusal());
        assert!(!file.exists(), "a named file is not made");
        write(&file, &"ab".repeat(KEY_BYTES), 0o640);
        assert!(refusal().contains("mode 640") && refusal().contains("chmod 600"), "{}", refusal());
        for text in ["", "ab", &"+1".repeat(KEY_BYTES), &"ab".repeat(KEY_BYTES + 1), &"é".repeat(KEY_BYTES)] {
            write(&file, text, 0o600);
            assert!(refusal().contains("64 hexadecimal digits"), "{text:?}: {}", refusal());
        }
        write(&file, &format!("{}\n", "Ab".repeat(KEY_BYTES)), 0o600);
        assert!(MasterKey::find(Some(&file), folder.path()).is_ok());
    }
}
