//! `sync-server backup FILE` and `restore FILE`: everything in the database, as of one moment, in one file. PostgreSQL's own
//! `pg_dump` writes it while servers run, and `pg_restore` reads it: they know every version of every table, and an
//! operator who has nothing but the file can read it with them. Around the dump this file puts what they lack: of which
//! version it is, and a checksum that is looked at before anything is restored.
//!
//! The file: a line of JSON that says what it is, the dump, and 32 bytes of blake3 over both. A restored database is
//! another one to the servers that open it (`crate::db::installation`), so devices compare themselves with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::config::{BadDatabaseUrl, FileArgs, MigrateArgs};
use crate::db;
use crate::private_postgres::{OWNER, PrivatePostgres, PrivatePostgresError, SERVER, find_program, options_at, url_at};

/// What the file says it is.
const FORMAT: &str = "fitme-backup";
/// The version of the file's form.
const VERSION: u32 = 1;
/// Longest first line.
const TITLE_BYTES: u64 = 4 << 10;
/// Bytes that are read and written at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// In pg_restore's list, the rights that `migrate` gives to whoever logs in as the server.
const LOGINS_RIGHTS: &str = " ACL public TABLE _sqlx_migrations ";

/// Why there is no backup, or none was restored; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be written or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is one already.
    #[error("{} exists; name another file, or remove it first", .0.display())]
    Exists(PathBuf),
    /// It is something else.
    #[error("{} is no backup of this server; name the file that `sync-server backup` wrote", .0.display())]
    Foreign(PathBuf),
    /// It is not as it was written.
    #[error("{} is damaged: its checksum is wrong; nothing was restored, use another backup", .0.display())]
    Damaged(PathBuf),
    /// It comes from a later version.
    #[error("{} was written by a newer server ({version}); restore it with that version or a later one", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The server that wrote it.
        version: String,
    },
    /// There is something in the database.
    #[error("the database is not empty; restore into a new one (createdb), or into a new data folder")]
    NotEmpty,
    /// PostgreSQL's programs are not there.
    #[error(
        "{0} was not found; install PostgreSQL's programs (on Debian and Ubuntu: apt-get install postgresql-client)"
    )]
    NoProgram(&'static str),
    /// One of them failed.
    #[error("{program} failed: {said}")]
    Program {
        /// Which.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// Nobody is named who may read everything.
    #[error(
        "this needs FITME_OWNER_DATABASE_URL, the database of DATABASE_URL with the login of the one who owns its tables: \
         the server itself may not read them all"
    )]
    NoOwner,
    /// Its address is none.
    #[error(transparent)]
    BadDatabaseUrl(#[from] BadDatabaseUrl),
    /// No private database.
    #[error(transparent)]
    PrivatePostgres(#[from] PrivatePostgresError),
    /// The database does not answer.
    #[error("the database cannot be used ({0}); check that it runs and that DATABASE_URL names it")]
    Database(#[from] sqlx::Error),
    /// Its tables cannot be used.
    #[error(transparent)]
    Tables(#[from] db::DatabaseError),
    /// A thread broke off.
    #[error("the work broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Title {
    format: String,
    version: u32,
    /// The server that wrote it.
    server: String,
    /// The last migration that its tables have.
    migration: i64,
}

/// The database as the owner of its tables sees it, whom row-level security does not hold, and how PostgreSQL's programs
/// reach it.
struct Target {
    owner: PgConnectOptions,
    /// Who logs in as the server.
    server: String,
    url: String,
    password: Option<String>,
    /// A private one that was started for this, and stops with it.
    _started: Option<PrivatePostgres>,
}

impl Target {
    async fn of(args: &MigrateArgs) -> Result<Self, BackupError> {
        if let Some(url) = &args.database.database_url {
            let owner = args.owner_database_url.as_ref().ok_or(BackupError::NoOwner)?;
            let (address, password) = owner.for_programs()?;
            let server = url.connect_options()?.get_username().to_owned();
            return Ok(Self { owner: owner.connect_options()?, server, url: address, password, _started: None });
        }
        let (socket, started) = match PrivatePostgres::socket_of_running(&args.database.data) {
            Some(socket) => (socket, None),
            None => {
                let started = PrivatePostgres::start(&args.database.data).await?;
                (started.socket_dir().to_owned(), Some(started))
            }
        };
        Ok(Self {
            owner: options_at(&socket, OWNER),
            server: SERVER.to_owned(),
            url: url_at(&socket, OWNER),
            password: None,
            _started: started,
        })
    }

    fn program(&self, name: &'static str) -> Result<Command, BackupError> {
        let mut command = Command::new(find_program(name).ok_or(BackupError::NoProgram(name))?);
        command.stderr(Stdio::piped()).envs(self.password.iter().map(|password| ("PGPASSWORD", password)));
        Ok(command)
    }
}

/// Writes a backup.
///
/// # Errors
/// When the database cannot be read, or the file not be written; then there is none.
pub async fn write(args: &FileArgs) -> Result<(), BackupError> {
    let target = Target::of(&args.of).await?;
    let mut connection = PgConnection::connect_with(&target.owner).await?;
    let migration = db::last_migration(&mut connection).await?;
    connection.close().await?;
    let title =
        Title { format: FORMAT.to_owned(), version: VERSION, server: env!("CARGO_PKG_VERSION").to_owned(), migration };
    let mut dump = target.program("pg_dump")?;
    dump.args(["--format=custom", "--no-owner", "--dbname", &target.url]).stdin(Stdio::null()).stdout(Stdio::piped());
    let path = args.file.clone();
    let bytes = tokio::task::spawn_blocking(move || write_file(&path, &title, dump)).await??;
    println!("{} bytes in {}. The master key is not in it: keep that apart.", bytes, args.file.display());
    Ok(())
}

/// Under another name until it is whole and on the disk.
fn write_file(path: &Path, title: &Title, mut dump: Command) -> Result<u64, BackupError> {
    if path.exists() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let unfinished = path.with_added_extension("unfinished");
    let failed = |source| BackupError::File { path: unfinished.clone(), source };
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(failed)?;
    let mut sum = Summing { inner: file, hasher: blake3::Hasher::new(), bytes: 0 };
    let written = (|| {
        serde_json::to_writer(&mut sum, title).map_err(|error| failed(error.into()))?;
        sum.write_all(b"\n").map_err(failed)?;
        let mut child = dump.spawn().map_err(|error| said("pg_dump", error.to_string()))?;
        let out = child.stdout.take().expect("it is piped");
        copy(out, &mut sum).map_err(failed)?;
        ended("pg_dump", child)?;
        let checksum = sum.hasher.finalize();
        sum.inner.write_all(checksum.as_bytes()).and_then(|()| sum.inner.sync_all()).map_err(failed)?;
        fs::rename(&unfinished, path).map_err(failed)?;
        Ok(sum.bytes + blake3::OUT_LEN as u64)
    })();
    if written.is_err() {
        let _it_is_of_no_use = fs::remove_file(&unfinished);
    }
    written
}

/// Restores a backup into an empty database.
///
/// # Errors
/// When the file is damaged, foreign or of a later version, or the database is not empty; then nothing was changed.
pub async fn read(args: &FileArgs) -> Result<(), BackupError> {
    let path = args.file.clone();
    let (title, dump, length) = tokio::task::spawn_blocking(move || open_file(&path)).await??;
    if title.version > VERSION || title.migration > db::newest_migration() {
        return Err(BackupError::Newer { path: args.file.clone(), version: title.server });
    }
    let target = Target::of(&args.of).await?;
    let mut connection = PgConnection::connect_with(&target.owner).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut connection)
        .await?;
    if tables > 0 {
        return Err(BackupError::NotEmpty);
    }
    // The dump gives rights to them.
    db::roles::create(&mut connection).await?;
    connection.close().await?;
    let (list, mut restore) = (target.program("pg_restore")?, target.program("pg_restore")?);
    restore.args(["--single-transaction", "--exit-on-error", "--no-owner", "--dbname", &target.url]);
    tokio::task::spawn_blocking(move || restore_all(list, restore, dump, length)).await??;
    // Whoever logs in as the server here gets its rights, and the tables of an older backup are brought up to this version.
    db::migrate(target.owner.clone(), &target.server).await?;
    println!(
        "Restored. Start the server with the master key of the one that was backed up, and with its list of what ended \
         (FITME_ERASURES) as it is now."
    );
    Ok(())
}

/// All but the rights of whoever logged in as the server there: nobody of that name need be here.
fn restore_all(mut list: Command, mut restore: Command, mut dump: File, length: u64) -> Result<(), BackupError> {
    let begin = dump.stream_position().map_err(failed_program)?;
    list.arg("--list").stdout(Stdio::piped());
    let contents = fed(list, &mut dump, length)?;
    let contents = String::from_utf8_lossy(&contents).into_owned();
    let wanted: Vec<_> = contents.lines().filter(|line| !line.contains(LOGINS_RIGHTS)).collect();
    let mut file = tempfile::NamedTempFile::new().map_err(failed_program)?;
    file.write_all(wanted.join("\n").as_bytes()).map_err(failed_program)?;
    restore.arg("--use-list").arg(file.path()).stdout(Stdio::null());
    dump.seek(SeekFrom::Start(begin)).map_err(failed_program)?;
    fed(restore, &mut dump, length).map(drop)
}

/// The title, and the dump behind it, proved to be what was written.
fn open_file(path: &Path) -> Result<(Title, File, u64), BackupError> {
    let failed = |source| BackupError::File { path: path.to_owned(), source };
    let foreign = || BackupError::Foreign(path.to_owned());
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len().checked_sub(blake3::OUT_LEN as u64).ok_or_else(foreign)?;
    let mut line = Vec::new();
    BufReader::new(Read::by_ref(&mut file).take(TITLE_BYTES)).read_until(b'\n', &mut line).map_err(failed)?;
    let title: Title = serde_json::from_slice(&line).map_err(|_| foreign())?;
    if title.format != FORMAT {
        return Err(foreign());
    }
    file.rewind().map_err(failed)?;
    let mut sum = Summing { inner: io::sink(), hasher: blake3::Hasher::new(), bytes: 0 };
    copy(Read::by_ref(&mut file).take(length), &mut sum).map_err(failed)?;
    let mut checksum = [0; blake3::OUT_LEN];
    file.read_exact(&mut checksum).map_err(failed)?;
    if sum.hasher.finalize() != blake3::Hash::from_bytes(checksum) {
        return Err(BackupError::Damaged(path.to_owned()));
    }
    file.seek(SeekFrom::Start(line.len() as u64)).map_err(failed)?;
    Ok((title, file, length - line.len() as u64))
}

/// Runs `pg_restore` on the dump, and returns what it said.
fn fed(mut restore: Command, dump: &mut File, length: u64) -> Result<Vec<u8>, BackupError> {
    let mut child = restore.stdin(Stdio::piped()).spawn().map_err(failed_program)?;
    let mut input = child.stdin.take().expect("it is piped");
    // A list is made of the beginning alone: who has read enough hangs up. What went wrong its exit code tells.
    let _read_enough = copy(dump.take(length), &mut input);
    drop(input);
    ended("pg_restore", child)
}

fn failed_program(error: io::Error) -> BackupError {
    said("pg_restore", error.to_string())
}

fn ended(program: &'static str, child: Child) -> Result<Vec<u8>, BackupError> {
    let output = child.wait_with_output().map_err(|error| said(program, error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    // Its first words tell the reason; what follows may quote a row.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(said(program, text.lines().next().unwrap_or("it said nothing").to_owned()))
}

fn said(program: &'static str, said: String) -> BackupError {
    BackupError::Program { program, said }
}

fn copy(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            n => to.write_all(&chunk[..n])?,
        }
    }
}

/// Sums up what goes through it.
struct Summing<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use tempfile::TempDir;

    use super::*;
    use crate::config::DatabaseArgs;

    const DUMP: &str = "what pg_dump would write";

    fn title(migration: i64) -> Title {
        Title { format: FORMAT.to_owned(), version: VERSION, server: "9.9.9".to_owned(), migration }
    }

    /// A shell in the place of `pg_dump`.
    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn written(folder: &TempDir, migration: i64) -> PathBuf {
        let path = folder.path().join("backup");
        write_file(&path, &title(migration), shell(&format!("printf '{DUMP}'"))).unwrap();
        path
    }

    #[test]
    fn a_file_opens_as_it_was_written_and_never_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder, 3);
        let (title, dump, length) = open_file(&path).unwrap();
        let mut text = String::new();
        dump.take(length).read_to_string(&mut text).unwrap();
        assert_eq!((title.migration, text.as_str()), (3, DUMP));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(matches!(open_file(&path), Err(BackupError::Damaged(_) | BackupError::Foreign(_))), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(open_file(&path).is_err(), "cut after {at} bytes");
        }
    }

    #[test]
    fn what_failed_half_way_leaves_no_file_and_no_file_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        let failed = write_file(&path, &title(1), shell("printf half; echo 'the disk is full' >&2; exit 1"));
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        written(&folder, 1);
        assert!(matches!(write_file(&path, &title(1), shell("true")), Err(BackupError::Exists(_))));
    }

    #[tokio::test]
    async fn a_backup_of_a_newer_server_is_refused_before_a_database_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let database = DatabaseArgs { data: folder.path().join("data"), database_url: None };
        let of = MigrateArgs { database, owner_database_url: None };
        let args = FileArgs { file: written(&folder, db::newest_migration() + 1), of };
        let refused = read(&args).await.unwrap_err();
        assert!(refused.to_string().contains("newer server (9.9.9)"), "{refused}");
        assert!(!folder.path().join("data").exists());
    }
}
