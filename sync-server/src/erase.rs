//! Erasure without a device that holds the record (I10): by the web, by an administrator, and of a whole account.
//!
//! A record is erased by an entry like any other, through ingest; an account by one function of the database, which asks
//! the catalogue what there is of it. What was erased is noted by ids in the table `erasures`, to be erased again after a
//! restore ([`crate::endings`]).

use std::collections::HashSet;
use std::time::Duration;

use fitme_core::entry::Entry;
use fitme_core::id::{DocId, FeedId};
use fitme_core::wire::{FeedPush, Receipt as Answer};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::accounts::lockout;
use crate::accounts::sign_ins;
use crate::audit::{Audit, AuditError};
use crate::auth::Device;
use crate::bytes::random_bytes;
use crate::clock::{Clock, millis};
use crate::db::wall;
use crate::ingest::Ingest;

mod routes;

pub use routes::routes;

/// For how many days backups are kept, unless the operator says otherwise.
pub const DEFAULT_BACKUP_DAYS: u16 = 35;

/// What the operator says of the backups, in which what is erased still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backups {
    /// For how many days each is kept.
    pub days: u16,
    /// Whether a list is kept beside them of what ended, so that one that is restored is erased again.
    pub listed: bool,
}

impl Default for Backups {
    fn default() -> Self {
        Self { days: DEFAULT_BACKUP_DAYS, listed: false }
    }
}
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Why the server erases. Its name travels with the entry, so that the person's devices can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An administrator did.
    Administrator,
    /// It was erased before, and came back with a backup.
    Restored,
}

impl Cause {
    /// What the entry says.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Restored => "restored",
        }
    }
}

/// What became of the erasure of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// It is gone, by the entry of this number.
    Gone {
        /// Of which feed.
        feed: FeedId,
        /// The number.
        seq: u64,
    },
    /// There is no such record, or it was never here.
    Unknown,
    /// Ingest refused, or could not decide: its code and its sentence.
    Refused {
        /// What programs compare.
        code: String,
        /// For people.
        message: String,
        /// Whether trying again may help.
        passing: bool,
    },
}

/// Erases a record of an account in the server's own name.
///
/// # Errors
/// When the database does not answer.
pub async fn record(
    pool: &PgPool,
    ingest: &Ingest,
    clock: &Clock,
    (account, doc_id): (Uuid, DocId),
    cause: Cause,
) -> Result<Erased, sqlx::Error> {
    record_by(pool, ingest, clock, Device::server(account), doc_id, cause.name()).await
}

/// The same in the name of a device.
async fn record_by(
    pool: &PgPool,
    ingest: &Ingest,
    clock: &Clock,
    by: Device,
    doc_id: DocId,
    cause: &str,
) -> Result<Erased, sqlx::Error> {
    let mut tx = wall::of(pool, &[by.account]).await?;
    let feed = sqlx::query_scalar!(
        "SELECT feed FROM documents WHERE account = $1 AND doc_id = $2",
        by.account,
        doc_id.as_bytes()
    )
    .fetch_optional(&mut *tx)
    .await?;
    drop(tx);
    let Some(feed) = feed.map(|feed| FeedId(feed.cast_unsigned())) else { return Ok(Erased::Unknown) };
    let entry = Entry::erasure(doc_id, clock.now_ms(), random_bytes(), cause);
    let outcome = ingest.submit(by, vec![FeedPush { feed, entries: vec![entry] }]).await;
    Ok(match outcome.receipts.into_iter().next() {
        Some(Answer::Accepted(seq) | Answer::Duplicate { seq, .. }) => Erased::Gone { feed, seq },
        Some(Answer::Rejected(why)) => Erased::Refused { code: why.code, message: why.message, passing: false },
        Some(Answer::Retry(why)) => Erased::Refused { code: why.code, message: why.message, passing: true },
        None => Erased::Unknown,
    })
}

/// What was removed of an account, and what is left for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Whose it was.
    pub account: Uuid,
    /// When, milliseconds UTC.
    pub erased_at: i64,
    /// Rows by the table that had them.
    pub removed: Vec<Removed>,
    /// Devices that are told when they next ask, and then empty themselves.
    pub devices: i64,
    /// Accounts with which it shared something; what they saw leaves their devices.
    pub shared_with: i64,
    /// Until when backups may still hold it, milliseconds UTC.
    pub backups_until: i64,
    /// What stays, in sentences.
    pub stays: Vec<&'static str>,
}

/// What one table lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The table.
    pub table: String,
    /// How many rows.
    pub rows: i64,
}

/// What an erased account leaves behind.
const STAYS: [&str; 4] = [
    "the account's id and those of its devices, so that devices can be told",
    "the numbers of its feeds, which are never used again",
    "what it wrote into the records of others, and their records of whom they shared with",
    "deleted rows in the database's files and its write-ahead log until their space is used again",
];
/// What becomes of it when a backup is restored.
const LISTED: &str = "a line with the account's id beside the backups: one that is restored is erased again";
const UNLISTED: &str = "what backups hold: no list is kept beside them, so one that is restored brings the account back until it is erased again";

/// Erases an account with everything that is of it; `None` if there is none. Its sessions end, its devices are told when
/// they next ask, and what it shared leaves the devices of those who saw it.
///
/// # Errors
/// When the database does not answer, or the end of the account's records of access cannot be signed; then nothing was
/// erased.
pub async fn account(
    pool: &PgPool,
    audit: &Audit,
    clock: &Clock,
    account: Uuid,
    backups: Backups,
) -> Result<Option<Receipt>, AuditError> {
    let mut tx = wall::of(pool, &[account]).await?;
    let Some(email) = sqlx::query_scalar!("SELECT email FROM accounts WHERE account = $1 FOR UPDATE", account)
        .fetch_optional(&mut *tx)
        .await?
    else {
        return Ok(None);
    };
    let told = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM devices WHERE account = $1) AS "devices!",
                  (SELECT count(DISTINCT grantee) FROM grants_now WHERE account = $1) AS "shared_with!""#,
        account
    )
    .fetch_one(&mut *tx)
    .await?;
    // First, as in ingest; the chain of its records of access is locked after them.
    sqlx::query!("SELECT feed FROM feeds WHERE account = $1 ORDER BY feed FOR NO KEY UPDATE", account)
        .fetch_all(&mut *tx)
        .await?;
    // Before its rows go: that is what tells the nodes whose sessions end.
    sign_ins::end_of_account(&mut tx, account, None, sign_ins::Cause::AccountErased).await?;
    lockout::forget(&mut tx, &email).await?;
    audit.close(&mut tx, account).await?;
    let removed =
        sqlx::query_as!(Removed, r#"SELECT part AS "table!", removed AS "rows!" FROM erase_account($1)"#, account)
            .fetch_all(&mut *tx)
            .await?;
    tx.commit().await?;
    tracing::info!(%account, devices = told.devices, "account erased");
    let erased_at = clock.now_ms();
    Ok(Some(Receipt {
        account,
        erased_at,
        removed,
        devices: told.devices,
        shared_with: told.shared_with,
        backups_until: erased_at + millis(DAY * u32::from(backups.days)),
        stays: STAYS.into_iter().chain([if backups.listed { LISTED } else { UNLISTED }]).collect(),
    }))
}

/// Devices of accounts that were erased within `window`, by the database's clock.
///
/// # Errors
/// When the database does not answer.
pub async fn devices_since(db: &mut sqlx::PgConnection, window: Duration) -> Result<HashSet<Uuid>, sqlx::Error> {
    let erased = sqlx::query_scalar!(
        "SELECT device FROM erased_devices WHERE erased_at > clock_timestamp() - make_interval(secs => $1)",
        window.as_secs_f64()
    );
    Ok(erased.fetch_all(db).await?.into_iter().collect())
}

/// Whether a device is one of an account that was erased.
///
/// # Errors
/// When the database does not answer.
pub async fn is_device_of_erased(db: &mut sqlx::PgConnection, device: Uuid) -> Result<bool, sqlx::Error> {
    let found =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM erased_devices WHERE device = $1) AS "erased!""#, device);
    found.fetch_one(db).await
}
