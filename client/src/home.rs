//! The home: the private directory that holds a device's store.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fitme_core::store::{Salvaged, Store, StoreError};
use rand::RngCore;

/// The store's file in a home.
const STORE_FILE: &str = "fitme.db";
/// Names the home, where neither an option nor the platform should.
pub const HOME_VARIABLE: &str = "FITME_HOME";

/// Why there is no home to work in.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The platform names no place for data.
    #[error(
        "this system names no directory for a user's data: say with --home DIR or {HOME_VARIABLE} where yours is to be kept"
    )]
    NoPlace,
    /// There is a file where the directory should be.
    #[error("{} is not a directory: name another home", .0.display())]
    NotADirectory(PathBuf),
    /// A directory of something else. Making it private could lock others out of it.
    #[error("{} holds other files: name a new or empty directory as home", .0.display())]
    Occupied(PathBuf),
    /// Others may read it and this user may not change that.
    #[error("{} can be read by others and belongs to somebody else: name a home of your own", .0.display())]
    NotYours(PathBuf),
    /// The file system refuses.
    #[error("the home {} cannot be used: {reason}", path.display())]
    Unusable {
        /// Which home.
        path: PathBuf,
        /// What the file system says.
        reason: io::Error,
    },
}

/// A private directory: nobody but its user may look into it.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The home at `given`, else where the platform keeps a user's data. Made if it is not there; closed to others if
    /// they could read it.
    ///
    /// # Errors
    /// [`HomeError`] where it cannot be made or made private.
    pub fn open(given: Option<PathBuf>) -> Result<Self, HomeError> {
        let path = match given {
            Some(path) => path,
            None => default_place().ok_or(HomeError::NoPlace)?,
        };
        let unusable = |reason| HomeError::Unusable { path: path.clone(), reason };
        match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_dir() => return Err(HomeError::NotADirectory(path)),
            Ok(_) => adopt(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_private_dir(&path).map_err(unusable)?,
            Err(reason) => return Err(unusable(reason)),
        }
        Ok(Self { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes all that is in it, what others share included. The home's own store goes last: what is cut short leaves a
    /// home, and can be done again.
    ///
    /// # Errors
    /// [`HomeError`] where the file system refuses.
    pub fn empty(&self) -> Result<(), HomeError> {
        let unusable = |reason| HomeError::Unusable { path: self.path.clone(), reason };
        let files: io::Result<Vec<_>> =
            fs::read_dir(&self.path).and_then(|files| files.map(|file| Ok(file?.path())).collect());
        let mut files = files.map_err(unusable)?;
        files.sort_by_key(|file| file.ends_with(STORE_FILE));
        files.iter().try_for_each(fs::remove_file).map_err(unusable)
    }

    /// Opens its store for the writer `writer`, see [`Store::open`].
    ///
    /// # Errors
    /// [`StoreError`], also where the file cannot be made.
    pub fn store(&self, writer: &str, rng: &mut dyn RngCore) -> Result<Store, StoreError> {
        let file = self.path.join(STORE_FILE);
        // SQLite gives its journal the mode of the database, so that is made first. A failure is left for SQLite to
        // report, which says the same and more.
        drop(private_file().open(&file));
        Store::open(&file, writer, rng)
    }

    /// Puts a damaged store aside and makes a new one of what can be read of it, see [`Store::salvage`].
    ///
    /// # Errors
    /// [`StoreError`] where the file system refuses.
    pub fn salvage(&self, writer: &str, now_ms: i64, rng: &mut dyn RngCore) -> Result<Salvaged, StoreError> {
        Store::salvage(&self.path.join(STORE_FILE), writer, now_ms, rng)
    }
}

fn default_place() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "fitme").map(|dirs| dirs.data_dir().to_owned())
}

/// Takes a directory that is there already, if it is a home or may become one.
fn adopt(path: &Path) -> Result<(), HomeError> {
    let unusable = |reason| HomeError::Unusable { path: path.to_owned(), reason };
    let is_home = path.join(STORE_FILE).exists();
    if !is_home && fs::read_dir(path).map_err(unusable)?.next().is_some() {
        return Err(HomeError::Occupied(path.to_owned()));
    }
    match close_to_others(path, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(HomeError::NotYours(path.to_owned()));
        }
        closed => closed.map_err(unusable)?,
    }
    if is_home {
        for entry in fs::read_dir(path).map_err(unusable)?.flatten() {
            close_to_others(&entry.path(), 0o600).map_err(unusable)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
}

/// Takes from others what they may do with `path`; `mode` is what its owner may.
#[cfg(unix)]
fn close_to_others(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS: u32 = 0o077;
    let is_open = fs::metadata(path)?.permissions().mode() & OTHERS != 0;
    if is_open { fs::set_permissions(path, fs::Permissions::from_mode(mode)) } else { Ok(()) }
}

// Elsewhere the user's data directory is private as the platform makes it.
#[cfg(not(unix))]
fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options
}

#[cfg(not(unix))]
fn close_to_others(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn a_home_that_could_not_be_emptied_is_still_a_home_and_is_emptied_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let (own, obstacle) = (folder.path().join(STORE_FILE), folder.path().join("obstacle"));
        let home = Home::open(Some(folder.path().to_owned())).unwrap();
        for file in [STORE_FILE, "fitme-of-00.db", "fitme-of-00.db-wal"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::create_dir(&obstacle).unwrap();
        assert!(matches!(home.empty(), Err(HomeError::Unusable { .. })));
        assert!(own.exists());
        fs::remove_dir(&obstacle).unwrap();
        home.empty().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
