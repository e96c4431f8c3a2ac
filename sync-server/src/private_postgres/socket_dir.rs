//! The folder of the Unix socket: short, because a socket's name has at most 107 bytes, and closed to all other users.
//! Its permissions are what keeps others out of the database, so nothing that someone else made is ever used.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::PrivatePostgresError;
use super::runner::Owner;

const PREFIX: &str = "fitme-";
/// Where system services keep such folders; only root may write there.
const SYSTEM_RUN: &str = "/run";
/// A place that every Unix has and every user can reach.
const FALLBACK: &str = "/tmp";
/// Longest base folder: `/fitme-XXXXXX/.s.PGSQL.5432.lock` (33 bytes) has to fit behind it, with room to spare.
const LONGEST_BASE: usize = 64;

/// The socket folder that an earlier run recorded if it is still safe to use, else a fresh one.
pub(super) fn reuse_or_create(recorded: Option<PathBuf>, owner: Owner) -> Result<PathBuf, PrivatePostgresError> {
    match recorded {
        Some(folder) if is_private(&folder, owner) => Ok(folder),
        _ => create(owner),
    }
}

/// Whether the folder is one of ours and closed to everybody but its owner.
pub(super) fn is_private(folder: &Path, owner: Owner) -> bool {
    let ours = folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    let Ok(meta) = std::fs::symlink_metadata(folder) else { return false };
    ours && meta.is_dir() && meta.uid() == owner.uid.as_raw() && meta.permissions().mode() & 0o077 == 0
}

fn create(owner: Owner) -> Result<PathBuf, PrivatePostgresError> {
    let mut failure = nix::errno::Errno::ENOENT;
    for base in base_folders() {
        match nix::unistd::mkdtemp(&base.join(format!("{PREFIX}XXXXXX"))) {
            Ok(folder) => {
                owner.take(&folder)?;
                return Ok(folder);
            }
            Err(errno) => failure = errno,
        }
    }
    Err(PrivatePostgresError::Io {
        what: format!("cannot make a folder for the database's socket in {FALLBACK}"),
        source: failure.into(),
    })
}

/// Best first; the first may be missing or, in a container, read-only.
fn base_folders() -> impl Iterator<Item = PathBuf> {
    let wanted = if Uid::effective().is_root() {
        Some(PathBuf::from(SYSTEM_RUN))
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
    };
    let short = |path: &PathBuf| path.is_absolute() && path.as_os_str().len() <= LONGEST_BASE;
    wanted.filter(short).into_iter().chain([PathBuf::from(FALLBACK)])
}
