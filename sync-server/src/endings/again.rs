//! Ends again what a list names and the database does not know of, because it comes from a backup. Each thing ends as it did
//! the first time: a record by an entry that erases it, a grant by a revocation in its owner's `grants` feed, in the
//! server's own name. Twice changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::id::{DocId, FeedId};
use fitme_core::wire::{FeedPush, Receipt};
use sqlx::PgPool;
use uuid::Uuid;

use super::list::{self, ListError};
use super::tables::unknown;
use super::{DeviceIs, Line, note_listed};
use crate::accounts::devices;
use crate::audit::{Audit, AuditError};
use crate::auth::Device;
use crate::clock::Clock;
use crate::consents;
use crate::db::served::Served;
use crate::db::{self, DatabaseError, installation, wall};
use crate::erase::{self, Backups, Cause, Erased};
use crate::ingest::Ingest;
use crate::web_writes::{NewDocument, WebWriter};

/// What the id is derived under of the document by which the server revokes a grant.
const REVOCATION_ID: &str = "fitme-sync 2026 revocation of a grant by the server";

/// How long it is waited before a replaced database is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Why not everything was ended again; what was before it stays so.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    /// There is no list, or it cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// Ingest refused.
    #[error("\"{line}\" could not be applied again ({why}); what the list names before it is, try again")]
    Refused {
        /// Which.
        line: Line,
        /// Ingest's code and sentence.
        why: String,
    },
    /// The database.
    #[error("the database failed ({0}); nothing is lost, try again")]
    Database(#[from] sqlx::Error),
    /// The database that replaced another one cannot be used.
    #[error(transparent)]
    Replaced(#[from] DatabaseError),
    /// The end of an account's records of access could not be signed.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What was ended again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Accounts that had come back.
    pub accounts: usize,
    /// Records that had come back.
    pub records: usize,
    /// Grants that had come back, or may come yet.
    pub grants: usize,
    /// Devices that stand otherwise than in the backup.
    pub devices: usize,
    /// Lines that there was nothing to do about, because what they name is not here.
    pub idle: usize,
}

impl Ended {
    fn total(self) -> usize {
        self.accounts + self.records + self.grants + self.devices
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accounts, records, grants, devices, idle } = self;
        write!(f, "{accounts} accounts, {records} records, {grants} grants, {devices} devices; {idle} are not here")
    }
}

/// By what things are ended.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Connections to the database.
    pub pool: &'a PgPool,
    /// Signs that an account's records of access end.
    pub audit: &'a Audit,
    /// Takes what is appended.
    pub ingest: &'a Ingest,
    /// What time it is.
    pub clock: &'a Clock,
}

/// Ends again what the list names and the database does not know: before anybody is served.
///
/// # Errors
/// [`AgainError`]; of a damaged list nothing is applied.
pub async fn catch_up(means: Means<'_>, file: &Path) -> Result<Ended, AgainError> {
    list::prepare(means.pool, file).await?;
    list::check(file)?;
    let (mut reader, mut ended) = (list::Reader::open(file)?, Ended::default());
    loop {
        let lines = reader.read()?;
        if lines.is_empty() {
            break;
        }
        end(means, unknown(means.pool, lines).await?, &mut ended).await?;
    }
    if ended.total() > 0 {
        tracing::warn!("the database is an older one; what ended since was ended again: {ended}");
    }
    Ok(ended)
}

/// Does so whenever the database is replaced under the running server, whose own connections wait until then; for as long as
/// it is polled.
pub async fn whenever_replaced(served: Served, pool: PgPool, audit: Audit, clock: Clock, file: PathBuf) {
    loop {
        served.another().await;
        while let Err(error) = serve_another(&served, &pool, (&audit, &clock), &file).await {
            tracing::error!(%error, "the database was replaced, and nobody is served until what ended since is ended again");
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

/// By connections that do not wait.
async fn serve_another(
    served: &Served,
    pool: &PgPool,
    (audit, clock): (&Audit, &Clock),
    file: &Path,
) -> Result<(), AgainError> {
    let pool = &db::connect(pool.connect_options().as_ref().clone()).await?;
    let installation = installation::current(&mut *wall::of(pool, &[]).await?).await?;
    if !served.is(installation) {
        let ingest = &Ingest::start(pool.clone(), |_| {});
        catch_up(Means { pool, audit, ingest, clock }, file).await?;
        served.only(installation);
    }
    pool.close().await;
    Ok(())
}

async fn end(means: Means<'_>, lines: Vec<Line>, ended: &mut Ended) -> Result<(), AgainError> {
    for line in lines {
        let (is_here, count) = match line {
            Line::Account(account) => (end_account(means, account).await?, &mut ended.accounts),
            Line::Record(account, doc_id) => (end_record(means, line, (account, doc_id)).await?, &mut ended.records),
            Line::Grant(account, grant) => (end_grant(means, line, (account, grant)).await?, &mut ended.grants),
            Line::Device { account, device, n, is } => {
                (end_device(means, Device { device, account }, (n, is)).await?, &mut ended.devices)
            }
        };
        *(if is_here { count } else { &mut ended.idle }) += 1;
    }
    Ok(())
}

async fn end_account(means: Means<'_>, account: Uuid) -> Result<bool, AgainError> {
    let Means { pool, audit, clock, .. } = means;
    Ok(erase::account(pool, audit, clock, account, Backups::default()).await?.is_some())
}

async fn end_record(means: Means<'_>, line: Line, which: (Uuid, DocId)) -> Result<bool, AgainError> {
    match erase::record(means.pool, means.ingest, means.clock, which, Cause::Restored).await? {
        Erased::Gone { .. } => Ok(true),
        Erased::Unknown => Ok(false),
        Erased::Refused { code, message, .. } => Err(AgainError::Refused { line, why: format!("{code}: {message}") }),
    }
}

/// Also a grant that is not here: it wins over one that a device brings later.
async fn end_grant(means: Means<'_>, line: Line, (account, grant): (Uuid, DocId)) -> Result<bool, AgainError> {
    let mut tx = wall::of(means.pool, &[account]).await?;
    let feed = sqlx::query_scalar!(
        "SELECT feed FROM feeds WHERE account = $1 AND collection = 'grants' AND scope = ''",
        account
    )
    .fetch_optional(&mut *tx)
    .await?;
    drop(tx);
    let Some(feed) = feed.map(|feed| FeedId(feed.cast_unsigned())) else { return Ok(false) };
    let now_ms = means.clock.now_ms();
    let refused = |why: String| AgainError::Refused { line, why };
    let fields = consents::revocation(grant, now_ms);
    let document = NewDocument { feed, collection: Collection::Grants, doc_id: revocation_id(grant), fields: &fields };
    let server = Device::server(account);
    let entry = WebWriter::default().entry(server, &document, now_ms);
    let entry = entry.map_err(|invalid| refused(invalid.to_string()))?;
    let mut receipts = means.ingest.submit(server, vec![FeedPush { feed, entries: vec![entry] }]).await.receipts;
    match receipts.pop() {
        Some(Receipt::Accepted(_) | Receipt::Duplicate { .. }) => Ok(true),
        // Another server may have done it in the same moment.
        _ if unknown(means.pool, vec![line]).await?.is_empty() => Ok(true),
        Some(Receipt::Rejected(why) | Receipt::Retry(why)) => Err(refused(format!("{}: {}", why.code, why.message))),
        None => Ok(false),
    }
}

/// The same each time, so that of two servers which revoke a grant at once one makes the document.
fn revocation_id(grant: DocId) -> DocId {
    let hash = blake3::derive_key(REVOCATION_ID, grant.as_bytes());
    let random = hash.first_chunk().expect("a hash is longer than an id");
    DocId(*uuid::Builder::from_random_bytes(*random).as_uuid().as_bytes())
}

async fn end_device(means: Means<'_>, device: Device, (n, is): (u32, DeviceIs)) -> Result<bool, AgainError> {
    let mut tx = wall::of(means.pool, &[device.account]).await?;
    // As if it had never been revoked: one that is back must not be told that it is lost.
    if !devices::clear(&mut tx, device).await? {
        return Ok(false);
    }
    if !note_listed(&mut tx, device.account, device.device, (n, is)).await? {
        return Ok(false);
    }
    if is != DeviceIs::Back {
        let (lost, server) = (is == DeviceIs::Lost, Uuid::nil());
        devices::revoke(&mut tx, device, lost, server, means.clock.now_ms()).await?;
    }
    tx.commit().await?;
    Ok(true)
}
