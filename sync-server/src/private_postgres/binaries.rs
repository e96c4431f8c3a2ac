//! Finds the programs of PostgreSQL, of the version that made the cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::PrivatePostgresError;

/// Where Debian and Ubuntu keep one folder for each major version.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
/// The oldest version whose SQL the server's queries are checked against.
const OLDEST_MAJOR: u32 = 15;

/// A folder with `initdb` and `postgres` of one major version.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

/// Finds programs that can run a cluster of version `wanted`, or the first place's for a new cluster.
pub(super) fn find(wanted: Option<u32>) -> Result<Binaries, PrivatePostgresError> {
    let found: Vec<(u32, Binaries)> = folders().iter().filter_map(|folder| inspect(folder)).collect();
    let fits = |major: u32| wanted.map_or(major >= OLDEST_MAJOR, |wanted| major == wanted);
    match found.iter().find(|(major, _)| fits(*major)) {
        Some((_, binaries)) => Ok(binaries.clone()),
        None => {
            Err(PrivatePostgresError::NoBinaries { wanted: wanted.unwrap_or(OLDEST_MAJOR), exact: wanted.is_some() })
        }
    }
}

/// Another of PostgreSQL's programs. Debian's folders come first: what lies in its PATH is a script that picks a version
/// by clusters of its own.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    debian_folders().into_iter().chain(folders()).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The places to look in, best first.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(debian_folders());
    folders.extend(folder_of_pg_config());
    folders
}

fn debian_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(DEBIAN_FOLDER)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn folder_of_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !folder.trim().is_empty()).then(|| PathBuf::from(folder.trim()))
}

/// The programs in `folder` and their major version. Links are followed: the programs look for each other beside themselves.
fn inspect(folder: &Path) -> Option<(u32, Binaries)> {
    let initdb = folder.join("initdb").canonicalize().ok()?;
    let postgres = folder.join("postgres").canonicalize().ok()?;
    let output = Command::new(&postgres).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some((major_version(&version)?, Binaries { initdb, postgres }))
}

/// `postgres (PostgreSQL) 15.18 (Debian ...)` -> 15
fn major_version(text: &str) -> Option<u32> {
    let number = text.split_whitespace().nth(2)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn versions_are_read_as_the_program_prints_them() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta2"), Some(18));
        assert_eq!(major_version("something else"), None);
    }
}
