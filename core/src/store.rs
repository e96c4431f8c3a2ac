//! The device's store: one SQLite file in which a local write, its place in the outbox and what lists show of it are one
//! transaction, durable before the call returns (invariant I1). No network state can make a write fail.
//!
//! - `documents`: automerge documents as appended changes, folded into a snapshot when the tail outgrows it.
//! - `write`: commands of this device.
//! - `outbox`: what the server does not have yet, in one lane a document.
//! - `rebase`: what the server does not take leaves its document.
//! - `rejected`: and stays with the person.
//! - `erase`: documents that are deleted for good.
//! - `void`: what the server took out of a document.
//! - `pull`: what comes from the server, applied with the cursor in one transaction (invariant I5).
//! - `repair`: what a server that was restored from a backup lacks.
//! - `audit`: what a disk has damaged or lost, which comes again.
//! - `bring_back`: what a server has lost or holds damaged.
//! - `bootstrap`: documents that come whole, as snapshots, to a device that is far behind.
//! - `archive`: whole documents out of the store, and into it.
//! - `account`: who this home belongs to, and the feeds' numbers on the wire.
//! - `tokens`: what proves this installation to its server.
//! - `clock`: what was written while this device's clock was wrong.
//! - `query`: lists, records, history and status.
//! - `salvage`: a new file made of what can be read of a damaged one.
//! - `others`, `for_others`, `rejected_for`: what others share, what is written for them, and what is left of that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngCore;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::collection::Collection;
use crate::id::{ActorId, DocId};
use crate::merge::MergeError;
use crate::policy::Denied;
use crate::record::Invalid;

mod account;
mod archive;
mod audit;
mod bootstrap;
mod bring_back;
mod clock;
mod documents;
mod erase;
mod for_others;
mod others;
mod outbox;
mod pull;
mod query;
mod rebase;
mod rejected;
mod rejected_for;
mod repair;
mod salvage;
mod tokens;
mod void;
mod write;

pub use account::{Adoption, AdoptionError, FeedRow, Identity};
pub use archive::{ArchivedDocument, ArchivedFile, BadDocument, PutBack};
pub use audit::{Audited, Proof};
pub use bootstrap::{Bootstrapped, CameAgain, Coming};
pub use clock::{CLOCK_SLACK_MS, WrongTime};
pub use others::{Ended, Other};
pub use outbox::Batch;
pub use pull::{Applied, PullError};
pub use query::{Change, ListQuery, Listed, RejectedWrite, Shown, Status, Sync};
pub use rebase::{DENIALS, Denies, NOT_REPLAYED};
pub use rejected::{RejectedHere, RejectedKey};
pub use repair::{Documents, SentAgain};
pub use salvage::{LOST_TO_DAMAGE, Salvaged};
pub use tokens::{SEED_BYTES, Tokens};
pub use write::{Command, ImportOutcome, Imported, Original, Written};

use documents::OpenDocuments;
use others::OpenStores;

/// How long a writer waits for another process that shares the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The schema's steps, in order; `user_version` counts those a file has been through.
const MIGRATIONS: [&str; 12] = [
    include_str!("../../migrations/sqlite/0001_store.sql"),
    include_str!("../../migrations/sqlite/0002_outbox_settled.sql"),
    include_str!("../../migrations/sqlite/0003_former_actors.sql"),
    include_str!("../../migrations/sqlite/0004_shared.sql"),
    include_str!("../../migrations/sqlite/0005_written_for.sql"),
    include_str!("../../migrations/sqlite/0006_erase.sql"),
    include_str!("../../migrations/sqlite/0007_rejected_for.sql"),
    include_str!("../../migrations/sqlite/0008_bootstrap.sql"),
    include_str!("../../migrations/sqlite/0009_repair.sql"),
    include_str!("../../migrations/sqlite/0010_rebase.sql"),
    include_str!("../../migrations/sqlite/0011_void.sql"),
    include_str!("../../migrations/sqlite/0012_clock.sql"),
];

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file was written by a later version.
    #[error(
        "this home was written by a newer version of FitME (its format is {found}, this one knows {known}): update the app"
    )]
    Newer {
        /// The file's format.
        found: usize,
        /// The latest that this version knows.
        known: usize,
    },
    /// No room. The write was undone and the store goes on.
    #[error("the disk is full: nothing was written and nothing is lost; free some space and try again")]
    DiskFull,
    /// Another process kept the file locked.
    #[error("another program kept this home locked for {} seconds: close it or try again", BUSY_TIMEOUT.as_secs())]
    Busy,
    /// Stored bytes changed by themselves.
    #[error("the stored document {doc_id} is damaged: {reason}")]
    Damaged {
        /// Which document.
        doc_id: DocId,
        /// What was found.
        reason: MergeError,
    },
    /// The file is no database any more, or its pages contradict each other.
    #[error("the file that this home is kept in is damaged ({0})")]
    Broken(String),
    /// A new file was made of a damaged one, and could not take its place.
    #[error("the damaged file of this home could not be replaced ({0}); free some space and try again")]
    NotReplaced(std::io::Error),
    /// Another process put the file aside, because it was damaged, and made a new one of it.
    #[error("the file of this home was damaged and has just been replaced: nothing was written, try again")]
    Replaced,
    /// The same of a document that the server has.
    #[error(
        "record {0} is damaged here. The server has it, and it comes again with the next sync; nothing of it that was \
         written here is lost"
    )]
    ComesAgain(DocId),
    /// What somebody no longer shares could not be removed; it is tried again at the next contact with the server.
    #[error("what is no longer shared with you could not be removed from this device: {0}")]
    NotRemoved(std::io::Error),
    /// Anything else that SQLite says.
    #[error("the store failed: {0}")]
    Sqlite(rusqlite::Error),
}

impl StoreError {
    /// Whether stored bytes are not what was stored: [`Store::salvage`] makes a new file of what is whole.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Damaged { .. })
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Broken(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}

/// Why a command was not carried out. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Its content breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is somebody else's, and they do not let this account write there.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such record here.
    #[error("there is no record {0} on this device")]
    NotFound(DocId),
    /// It was erased.
    #[error("record {0} was erased: it cannot be brought back, and its id is never used again")]
    Erased(DocId),
    /// What was consented to stays on record.
    #[error("records of {0} are kept as long as the account: revoke what you share instead")]
    KeptForEver(Collection),
    /// The record has no such earlier state.
    #[error("record {0} has no state {1}")]
    NoSuchState(DocId, crate::id::ChangeHash),
    /// No such refused write.
    #[error("this is not among what was refused any more")]
    NotRefused,
    /// It cannot be written again from here.
    #[error("this cannot be written again by itself: {0}")]
    NotRetried(&'static str),
    /// The record may not grow any more.
    #[error("record {doc_id} is full: its history has {bytes} bytes of at most {}", crate::limits::DOCUMENT_BYTES)]
    DocumentFull {
        /// Which record.
        doc_id: DocId,
        /// What it has.
        bytes: u64,
    },
    /// The change is larger than one entry may be.
    #[error("this change has {bytes} bytes; at most {} fit one entry", crate::limits::ENTRY_BYTES)]
    EntryTooLarge {
        /// What it has.
        bytes: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The open store of one writer.
pub struct Store {
    conn: Connection,
    path: PathBuf,
    /// Which file it is, see [`others::file_number`].
    file: Option<u64>,
    /// Whose actor signs local changes.
    writer: String,
    /// Whether its journal held something when it was opened.
    was_left_open: bool,
    open: OpenDocuments,
    others: OpenStores,
}

impl Store {
    /// Opens the store at `path`, making it if there is none, for the writer `writer` (each app, extension or background
    /// process that shares the file has a name of its own).
    pub fn open(path: &Path, writer: &str, rng: &mut dyn RngCore) -> Result<Self, StoreError> {
        let mut store = Self::open_for_reading(path, writer)?;
        store.draw_actor(rng)?;
        store.rebase_blocked(rng)?;
        store.take_kept(0, rng)?;
        Ok(store)
    }

    /// Opens a store into which this device only puts what it receives.
    fn open_for_reading(path: &Path, writer: &str) -> Result<Self, StoreError> {
        salvage::finish(path)?;
        let was_left_open = journal_of(path).is_ok_and(|journal| journal.len() > 0);
        let conn = Connection::open_with_flags(path, OpenFlags::default())?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        // FULL: a transaction survives power loss once commit returned; F_FULLFSYNC is what Apple's disks need for that.
        // secure_delete: what is deleted does not stay readable in free pages.
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON;
             PRAGMA secure_delete = ON; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;",
        )?;
        conn.set_prepared_statement_cache_capacity(64);
        let (open, others) = (OpenDocuments::default(), OpenStores::default());
        let file = others::file_number(path);
        let mut store =
            Self { conn, path: path.to_owned(), file, writer: writer.to_owned(), was_left_open, open, others };
        store.migrate()?;
        store.finish_erasing()?;
        Ok(store)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another process worked with it when it was opened, or died at work: then [`Self::check`] is worth its while.
    pub fn was_left_open(&self) -> bool {
        self.was_left_open
    }

    /// The actor of this writer.
    pub fn actor(&self) -> Result<ActorId, StoreError> {
        writer_actor(&self.conn, &self.writer)
    }

    /// How long this store waits for another process that shares the file.
    pub fn set_patience(&self, patience: Duration) -> Result<(), StoreError> {
        Ok(self.conn.busy_timeout(patience)?)
    }

    /// Bounds the file to `pages` pages of 4 KiB: how tests fill a disk.
    pub fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        Ok(self.conn.pragma_update(None, "max_page_count", pages)?)
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = usize::try_from(tx.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?).unwrap_or(0);
        if found > MIGRATIONS.len() {
            return Err(StoreError::Newer { found, known: MIGRATIONS.len() });
        }
        for step in &MIGRATIONS[found..] {
            tx.execute_batch(step)?;
        }
        if found < MIGRATIONS.len() {
            tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
        }
        for (collection, scope) in Collection::feeds_of_an_account() {
            tx.prepare_cached("INSERT INTO feeds (collection, scope) VALUES (?, ?) ON CONFLICT DO NOTHING")?
                .execute((collection.name(), scope))?;
        }
        Ok(tx.commit()?)
    }

    /// Writes the journal into the file and empties it: `secure_delete` overwrites what is deleted in the file, and this what
    /// the journal has of it. False where another process reads: then the journal stays as it is.
    fn truncate_journal(&self) -> Result<bool, StoreError> {
        let busy: i64 = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok(busy == 0)
    }

    fn draw_actor(&mut self, rng: &mut dyn RngCore) -> Result<(), StoreError> {
        self.conn.execute(
            "INSERT INTO writers (name, actor) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (&self.writer, ActorId::random(rng).as_bytes()),
        )?;
        Ok(())
    }

    fn meta<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<Option<T>, StoreError> {
        use rusqlite::OptionalExtension;
        let mut query = self.conn.prepare_cached("SELECT value FROM meta WHERE key = ?")?;
        Ok(query.query_row([key], |row| row.get(0)).optional()?)
    }

    /// A text of `meta`; empty while the key is absent.
    fn text(&self, key: &str) -> Result<String, StoreError> {
        let bytes = self.meta::<Vec<u8>>(key)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Writes one key of `meta`.
fn set_meta(conn: &Connection, key: &str, value: &[u8]) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute((key, value))?;
    Ok(())
}

fn journal_of(path: &Path) -> std::io::Result<std::fs::Metadata> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name)
}

fn writer_actor(conn: &Connection, writer: &str) -> Result<ActorId, StoreError> {
    let mut query = conn.prepare_cached("SELECT actor FROM writers WHERE name = ?")?;
    Ok(ActorId(query.query_row([writer], |row| row.get(0))?))
}
