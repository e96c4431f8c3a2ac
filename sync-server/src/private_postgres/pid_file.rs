//! `postmaster.pid`, which PostgreSQL keeps in its data folder while it runs and leaves there when it is killed.

use std::path::{Path, PathBuf};

use nix::unistd::Pid;

/// Name of the file in the data folder.
pub(super) const FILE_NAME: &str = "postmaster.pid";

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: Pid,
    pub(super) socket_dir: Option<PathBuf>,
    pub(super) ready: bool,
}

impl PidFile {
    /// Reads the file; `None` when there is none, or when it is not written yet.
    pub(super) fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(cluster.join(FILE_NAME)).ok()?)
    }

    /// Lines: pid, data folder, start time, port, socket folder, TCP address, shared memory, status.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid = lines.first()?.parse().ok()?;
        let socket_dir = lines.get(4).filter(|line| !line.is_empty()).map(PathBuf::from);
        Some(Self { pid: Pid::from_raw(pid), socket_dir, ready: lines.get(7) == Some(&"ready") })
    }
}

/// Whether process `pid` is alive and serves this very cluster; after a restart of the computer or of a container the
/// number soon belongs to another process.
pub(super) fn serves(pid: Pid, cluster: &Path) -> bool {
    nix::sys::signal::kill(pid, None).is_ok() && works_in(pid, cluster)
}

/// PostgreSQL works inside its data folder, so the folder tells its process from one that has only inherited the number.
/// A process that has ended but was not waited for has no folder any more.
#[cfg(target_os = "linux")]
fn works_in(pid: Pid, cluster: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let cwd = place(Path::new(&format!("/proc/{pid}/cwd")));
    cwd.is_some() && cwd == place(cluster)
}

/// Elsewhere PostgreSQL's own check has to do: it refuses to start beside a living process of that number.
#[cfg(not(target_os = "linux"))]
fn works_in(_pid: Pid, _cluster: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_server_is_read_with_its_socket_folder() {
        let text = "10447\n/proc/self/fd/3\n1795353369\n5432\n/run/fitme-x\n\n  9986997         9\nready   \n";
        let expected =
            PidFile { pid: Pid::from_raw(10447), socket_dir: Some(PathBuf::from("/run/fitme-x")), ready: true };
        assert_eq!(PidFile::parse(text), Some(expected));
    }

    #[test]
    fn a_file_that_is_still_being_written_is_not_ready() {
        assert_eq!(PidFile::parse(""), None);
        let started = PidFile::parse("77\n/data\n").map(|file| (file.ready, file.socket_dir));
        assert_eq!(started, Some((false, None)));
    }
}
