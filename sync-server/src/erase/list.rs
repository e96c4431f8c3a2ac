//! The list of what was erased, kept in a file beside the backups: a backup brings back what was erased after it was made, and
//! with the list it is erased again. It holds ids and nothing else, a line each:
//!
//! ```text
//! account 01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49
//! record 01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49 01936d3f-0b1c-7d2e-9f00-112233445566
//! ```

use std::collections::HashSet;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use fitme_core::id::DocId;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Cause, Erased};
use crate::audit::{Audit, AuditError};
use crate::clock::Clock;
use crate::db::wall::{self, Role};
use crate::ingest::Ingest;

/// How often a node copies what is new.
const EVERY: Duration = Duration::from_secs(5);
/// Erasures that are copied at a time.
const AT_ONCE: i64 = 1_000;

/// One thing that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Line {
    /// All of an account.
    Account(Uuid),
    /// One record of an account.
    Record(Uuid, DocId),
}

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no line of a list of erasures: expected \"account ID\" or \"record ACCOUNT ID\"")]
pub struct BadLine(String);

/// Why a list was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be read.
    #[error("{} cannot be read ({reason}); it must be known what was erased before anybody is served", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// It is damaged; nothing of it was applied.
    #[error(transparent)]
    Line(#[from] BadLine),
    /// Ingest refused.
    #[error("{line} could not be erased again ({code}: {message}); the lines before it are, try again")]
    Refused {
        /// Which.
        line: Line,
        /// Ingest's code.
        code: String,
        /// Its sentence.
        message: String,
    },
    /// The database.
    #[error("the database failed ({0}); nothing is lost, try again")]
    Database(#[from] sqlx::Error),
    /// The end of an account's records of access could not be signed.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What applying a list did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Accounts that had come back.
    pub accounts: usize,
    /// Records that had come back, or were never in this database's entries that erase them.
    pub records: usize,
    /// Lines about what is not here.
    pub absent: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "account {account}"),
            Self::Record(account, doc_id) => write!(f, "record {account} {doc_id}"),
        }
    }
}

impl FromStr for Line {
    type Err = BadLine;

    fn from_str(text: &str) -> Result<Self, BadLine> {
        let bad = || BadLine(text.to_owned());
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["account", account] => account.parse().map(Self::Account).map_err(|_| bad()),
            ["record", account, doc_id] => {
                Ok(Self::Record(account.parse().map_err(|_| bad())?, doc_id.parse().map_err(|_| bad())?))
            }
            _ => Err(bad()),
        }
    }
}

/// The lines of a list. One that was cut off by a crash is passed over: it was written again behind it.
///
/// # Errors
/// [`BadLine`] for another one that is none.
pub fn parse(text: &str) -> Result<Vec<Line>, BadLine> {
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let is_whole = |(at, line): &(usize, &&str)| {
        line.parse::<Line>().is_ok() || !lines[at + 1..].iter().any(|later| later.starts_with(**line))
    };
    lines.iter().enumerate().filter(is_whole).map(|(_, line)| line.parse()).collect()
}

/// Copies what is new into the file, for as long as it is polled.
pub async fn keep(pool: PgPool, file: PathBuf) {
    loop {
        match copy(&pool, &file).await {
            Ok(copied) if copied as i64 == AT_ONCE => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "could not note what was erased beside the backups; trying again");
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Copies what is not in the file yet; a crash between the two writes copies it twice, which is no harm.
///
/// # Errors
/// When the database does not answer, or the file cannot be written.
pub async fn copy(pool: &PgPool, file: &Path) -> io::Result<usize> {
    let mut tx = wall::begin_as(pool, wall::BEGIN, Role::Tidy).await.map_err(io::Error::other)?;
    let rows = sqlx::query!(
        "SELECT account, doc_id FROM erasures WHERE listed_at IS NULL
         ORDER BY erased_at LIMIT $1 FOR UPDATE SKIP LOCKED",
        AT_ONCE
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(io::Error::other)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let lines = rows.iter().map(|row| match DocId::from_slice(&row.doc_id) {
        Some(doc_id) => Line::Record(row.account, doc_id),
        None => Line::Account(row.account),
    });
    append(file, &lines.collect::<Vec<_>>())?;
    let (accounts, doc_ids): (Vec<_>, Vec<_>) = rows.into_iter().map(|row| (row.account, row.doc_id)).unzip();
    sqlx::query!(
        "UPDATE erasures SET listed_at = clock_timestamp()
         FROM UNNEST($1::uuid[], $2::bytea[]) AS listed (account, doc_id)
         WHERE erasures.account = listed.account AND erasures.doc_id = listed.doc_id",
        &accounts,
        &doc_ids
    )
    .execute(&mut *tx)
    .await
    .map_err(io::Error::other)?;
    tx.commit().await.map_err(io::Error::other)?;
    Ok(accounts.len())
}

/// On the disk when it returns. It begins with a line feed, which ends what a crash may have cut off.
fn append(file: &Path, lines: &[Line]) -> io::Result<()> {
    let mut text = "\n".to_owned();
    for line in lines {
        text.push_str(&format!("{line}\n"));
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Erases again what the file names and the database does not know of, because it comes from a backup: before anybody is
/// served.
///
/// # Errors
/// [`ApplyError`]; what was applied before it stays applied.
pub async fn catch_up(
    pool: &PgPool,
    audit: &Audit,
    ingest: &Ingest,
    clock: &Clock,
    file: &Path,
) -> Result<Applied, ApplyError> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Applied::default()),
        read => read.map_err(|reason| ApplyError::File { file: file.to_owned(), reason })?,
    };
    let mut lines = parse(&text)?;
    let known = known(pool).await?;
    lines.retain(|line| match line {
        Line::Account(_) => !known.contains(line),
        Line::Record(account, _) => !known.contains(line) && !known.contains(&Line::Account(*account)),
    });
    apply_again(pool, audit, ingest, clock, &lines).await
}

/// What the database knows to be erased.
async fn known(pool: &PgPool) -> Result<HashSet<Line>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, Role::Tidy).await?;
    let rows = sqlx::query!("SELECT account, doc_id FROM erasures").fetch_all(&mut *tx).await?;
    let line = |account, doc_id: &[u8]| match DocId::from_slice(doc_id) {
        Some(doc_id) => Line::Record(account, doc_id),
        None => Line::Account(account),
    };
    Ok(rows.into_iter().map(|row| line(row.account, &row.doc_id)).collect())
}

/// Erases again what a list names. Twice changes nothing.
///
/// # Errors
/// [`ApplyError`]; what was applied before it stays applied.
pub async fn apply_again(
    pool: &PgPool,
    audit: &Audit,
    ingest: &Ingest,
    clock: &Clock,
    list: &[Line],
) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    for line in list.iter().copied() {
        let done = match line {
            Line::Account(account) => {
                let days = super::DEFAULT_BACKUP_DAYS;
                super::account(pool, audit, clock, account, days).await?.map(|_| &mut applied.accounts)
            }
            Line::Record(account, doc_id) => {
                match super::record(pool, ingest, clock, (account, doc_id), Cause::Restored).await? {
                    Erased::Gone { .. } => Some(&mut applied.records),
                    Erased::Unknown => None,
                    Erased::Refused { code, message, .. } => return Err(ApplyError::Refused { line, code, message }),
                }
            }
        };
        *done.unwrap_or(&mut applied.absent) += 1;
    }
    Ok(applied)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn a_list_reads_as_it_was_written_and_a_strange_line_is_named() {
        let lines = [Line::Account(Uuid::from_u128(1)), Line::Record(Uuid::from_u128(1), DocId([7; 16]))];
        let file = tempfile::NamedTempFile::new().unwrap();
        append(file.path(), &lines[..1]).unwrap();
        append(file.path(), &lines[1..]).unwrap();
        assert_eq!(parse(&std::fs::read_to_string(file.path()).unwrap()).unwrap(), lines);
        let (first, rest) = (lines[0].to_string(), lines[1].to_string());
        assert_eq!(parse(&format!("{}\n{first}\n{rest}\n", &first[..20])).unwrap(), lines, "cut off by a crash");
        for strange in ["account", "account 7", "record 7 8", "erase everything"] {
            assert_eq!(parse(strange), Err(BadLine(strange.to_owned())));
        }
    }
}
