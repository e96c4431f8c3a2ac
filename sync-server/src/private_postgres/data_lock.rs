//! One server to a data folder: an advisory lock that the kernel releases however the process ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::PrivatePostgresError;

const FILE_NAME: &str = "server.lock";

/// Held as long as the process works on the folder.
#[derive(Debug)]
pub(super) struct DataLock(#[expect(dead_code, reason = "held for its lock, not for its content")] Flock<File>);

impl DataLock {
    /// Takes the folder for this process, or says which process has it.
    pub(super) fn take(data: &Path) -> Result<Self, PrivatePostgresError> {
        let path = data.join(FILE_NAME);
        let io = |source| PrivatePostgresError::Io { what: format!("cannot use {}", path.display()), source };
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                write_own_pid(&mut lock).map_err(io)?;
                Ok(Self(lock))
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(PrivatePostgresError::InUse { data: data.to_owned(), pid: read_pid(&mut file) })
            }
            Err((_, errno)) => Err(io(errno.into())),
        }
    }
}

fn write_own_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The process that holds the lock, as it wrote itself. Empty in the instant between its lock and its writing.
fn read_pid(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
