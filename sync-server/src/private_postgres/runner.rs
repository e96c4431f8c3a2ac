//! Runs PostgreSQL's programs as the user that owns the cluster, also where that user cannot look into the folder above.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User};

use super::PrivatePostgresError;

/// Users that may own a cluster when root starts the server, best first.
const SERVICE_USERS: [&str; 2] = ["postgres", "nobody"];
/// The script hands its standard input, the open data folder, on as descriptor 3 and becomes the program.
/// The descriptor cannot simply be inherited: Rust opens everything close-on-exec and clearing that needs unsafe code.
const WITH_FOLDER_AS_FD_3: &str = r#"exec 3<&0 </dev/null; exec "$@""#;
/// The data folder as a process with that descriptor sees it. Nothing above the folder has to be searched for it.
const FOLDER_BY_FD: &str = "/proc/self/fd/3";

/// The user a cluster belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

impl Owner {
    /// Who owns the cluster at `cluster`, or shall own it when it does not exist yet.
    pub(super) fn of(cluster: &Path) -> Result<Self, PrivatePostgresError> {
        let owner = match std::fs::metadata(cluster) {
            Ok(meta) => Self { uid: Uid::from_raw(meta.uid()), gid: Gid::from_raw(meta.gid()) },
            Err(_) if Uid::effective().is_root() => Self::service_user()?,
            Err(_) => Self { uid: Uid::effective(), gid: Gid::effective() },
        };
        let me = Uid::effective();
        if owner.uid.is_root() || !(me.is_root() || me == owner.uid) {
            return Err(PrivatePostgresError::WrongOwner { cluster: cluster.to_owned(), owner: owner.uid.as_raw() });
        }
        Ok(owner)
    }

    fn service_user() -> Result<Self, PrivatePostgresError> {
        let user = SERVICE_USERS.iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.filter(|user| !user.uid.is_root()).ok_or(PrivatePostgresError::NoServiceUser)?;
        Ok(Self { uid: user.uid, gid: user.gid })
    }

    /// Whether the programs run as another user than this process.
    pub(super) fn is_other(&self) -> bool {
        self.uid != Uid::effective()
    }

    /// Gives the folder to this user.
    pub(super) fn take(&self, folder: &Path) -> Result<(), PrivatePostgresError> {
        if !self.is_other() {
            return Ok(());
        }
        std::os::unix::fs::chown(folder, Some(self.uid.as_raw()), Some(self.gid.as_raw())).map_err(|source| {
            PrivatePostgresError::Io {
                what: format!("cannot hand {} to the database's user", folder.display()),
                source,
            }
        })
    }

    /// A command that runs `program` on the folder `cluster` as this user; arguments follow after `-D <folder>`.
    ///
    /// Changing into the folder first does not do: PostgreSQL 15 resolves its own links by leaving the folder and coming
    /// back by its full name. So another user's process gets the open folder and its name below /proc.
    pub(super) fn command(&self, program: &Path, cluster: &Path) -> Result<Command, PrivatePostgresError> {
        let mut command = if self.is_other() && cfg!(target_os = "linux") {
            let folder = File::open(cluster).map_err(|source| PrivatePostgresError::Io {
                what: format!("cannot open {}", cluster.display()),
                source,
            })?;
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", WITH_FOLDER_AS_FD_3, "sh"]).arg(program).args(["-D", FOLDER_BY_FD]);
            shell.stdin(Stdio::from(folder));
            shell
        } else {
            let mut direct = Command::new(program);
            direct.arg("-D").arg(absolute(cluster)).stdin(Stdio::null());
            direct
        };
        if self.is_other() {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        // Its own process group: Ctrl-C on a terminal must reach the server alone, which then stops PostgreSQL in order.
        command.current_dir("/").process_group(0).env("LC_MESSAGES", "C");
        Ok(command)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
