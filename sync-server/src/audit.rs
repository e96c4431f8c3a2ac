//! Records of access: who got to an account's data, as a hash chain an account, whose heads are signed and kept in a second
//! place, so that not even whoever rules the database can change them unseen.
//!
//! What happens is recorded in its own transaction, by [`record`]; reads by others are gathered first ([`reads`]).
//! [`Audit`] does the rest: it takes gathered reads into the chains every minute, signs heads every five, and does both
//! once more when the server ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use crate::clock::{Clock, millis};
use crate::db::wall::{self, Role};
use crate::master_key::MasterKey;

pub mod access_log;
mod chain;
pub mod event;
pub mod exports;
pub mod reads;
mod signed_heads;
pub mod verify;
mod walk;

pub(crate) use chain::append;
pub use chain::record;
pub use event::{By, Event};
use signed_heads::{Line, SignedHead, SignedHeads};

/// How often what was read is taken into the chains.
pub const GATHER_EVERY: Duration = reads::GATHERED_FOR;
/// How often heads are signed.
pub const SIGN_EVERY: Duration = Duration::from_secs(5 * 60);
/// Heads in one line.
const HEADS_A_LINE: i64 = 1_000;
/// A head shows when its transaction ends, and carries the time of its append: no transaction takes longer in between.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(60);
/// How long the last gathering and signing may take.
const FINISH: Duration = Duration::from_secs(10);

/// Why records of access cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// No place for signed heads.
    #[error(
        "signed heads of the records of access cannot be written to {} ({reason}); name a folder that this user may write \
         to by FITME_AUDIT_DIR", folder.display()
    )]
    SecondPlace {
        /// Which folder.
        folder: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// The database did not answer.
    #[error("the records of access cannot be kept ({0})")]
    Database(#[from] sqlx::Error),
}

/// Keeps the chains of one node; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Audit {
    pool: PgPool,
    clock: Clock,
    folder: PathBuf,
    signed_heads: SignedHeads,
    /// When heads were last signed by this process; the first time it signs all there are.
    signed_at: Arc<Mutex<Option<Instant>>>,
}

/// Where signed heads are kept if no folder is named: beside the data folder, so that both are not lost, or restored, as
/// one.
#[must_use]
pub fn default_folder(data: &Path) -> PathBuf {
    match data.file_name() {
        Some(name) => data.with_file_name(format!("{}-audit", name.to_string_lossy())),
        None => data.join("audit"),
    }
}

impl Audit {
    /// On this database, with the second place in `folder`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(pool: PgPool, master: &MasterKey, clock: Clock, folder: &Path) -> Result<Self, AuditError> {
        let signed_heads = SignedHeads::open(folder, master)
            .map_err(|reason| AuditError::SecondPlace { folder: folder.to_owned(), reason })?;
        Ok(Self { pool, clock, folder: folder.to_owned(), signed_heads, signed_at: Arc::default() })
    }

    /// Gathers and signs again and again, for as long as it is polled. What failed is tried again the next time.
    pub async fn keep(self, gather_every: Duration, sign_every: Duration) {
        let mut gathering = tokio::time::interval(gather_every);
        let mut signing = tokio::time::interval(sign_every);
        gathering.set_missed_tick_behavior(MissedTickBehavior::Delay);
        signing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                _ = gathering.tick() => self.gather().await,
                _ = signing.tick() => self.sign().await,
            };
            if let Err(error) = done {
                tracing::error!(%error, "records of access could not be taken further; trying again");
            }
        }
    }

    /// Takes everything into the chains and signs them, for a server that ends.
    pub async fn finish(&self) {
        let work = async {
            reads::gather(&self.pool, self.clock.now_ms()).await?;
            self.sign().await
        };
        match tokio::time::timeout(FINISH, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the last records of access were not signed"),
            Err(_) => tracing::error!("the last records of access were not signed in time"),
        }
    }

    /// Takes reads that were noted a minute ago or longer into the chains.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn gather(&self) -> Result<(), AuditError> {
        Ok(reads::gather(&self.pool, self.clock.now_ms() - millis(reads::GATHERED_FOR)).await?)
    }

    /// Signs the heads that have moved since the last time, all when it is the first.
    ///
    /// # Errors
    /// When the database does not answer, or the second place cannot be written to.
    pub async fn sign(&self) -> Result<(), AuditError> {
        let mut signed_at = self.signed_at.lock().await;
        let begun = Instant::now();
        let window = signed_at.map(|last| (last.elapsed() + LONGEST_TRANSACTION).as_secs_f64());
        let mut after = Uuid::nil();
        loop {
            let heads = moved_heads(&self.pool, window, after).await?;
            let Some((last, _)) = heads.last() else { break };
            after = *last;
            let heads = heads.into_iter().map(|(account, head)| SignedHead::of(account, head)).collect();
            self.write(Line { at_ms: self.clock.now_ms(), heads, closed: None }).await?;
        }
        *signed_at = Some(begun);
        Ok(())
    }

    /// Holds and signs the end of an account's chain in the transaction that erases the account, right before it deletes
    /// the chain with everything else. Should its commit fail, nothing is lost: what was signed only says that the chain may
    /// end here.
    ///
    /// # Errors
    /// When the database does not answer, or the second place cannot be written to: then the account must not be erased.
    pub async fn close(&self, db: &mut PgConnection, account: Uuid) -> Result<(), AuditError> {
        // Before the head, as who gathers them does.
        sqlx::query!("SELECT FROM audit_reads WHERE account = $1 FOR UPDATE", account).execute(&mut *db).await?;
        let Some(head) = chain::lock(db, account).await? else { return Ok(()) };
        let closed = Some(SignedHead::of(account, head));
        self.write(Line { at_ms: self.clock.now_ms(), heads: Vec::new(), closed }).await
    }

    async fn write(&self, line: Line) -> Result<(), AuditError> {
        let written = self.signed_heads.write(line).await;
        written.map_err(|reason| AuditError::SecondPlace { folder: self.folder.clone(), reason })
    }
}

/// The next heads after `after` that moved within `window` seconds, in the order of accounts.
async fn moved_heads(pool: &PgPool, window: Option<f64>, after: Uuid) -> Result<Vec<(Uuid, chain::Head)>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, Role::Audit).await?;
    let rows = sqlx::query!(
        "SELECT account, n, hash FROM audit_heads
         WHERE account > $1 AND n > 0
           AND ($2::float8 IS NULL OR moved_at > clock_timestamp() - make_interval(secs => $2::float8))
         ORDER BY account LIMIT $3",
        after,
        window,
        HEADS_A_LINE
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account, chain::Head { n: row.n, hash: chain::fixed(&row.hash) })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_heads_lie_beside_the_data_and_not_in_it() {
        assert_eq!(default_folder(Path::new(".fitme")), Path::new(".fitme-audit"));
        assert_eq!(default_folder(Path::new("/srv/fitme/")), Path::new("/srv/fitme-audit"));
        assert_eq!(default_folder(Path::new("/")), Path::new("/audit"), "where there is no beside");
    }
}
