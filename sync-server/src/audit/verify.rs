//! `sync-server audit verify`: walks every chain, then looks up every head that was ever signed. The first finds what does
//! not fit together; the second what fits together and is not what was there before.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::chain::Record;
use super::signed_heads::{HeadsFile, Line, SignedHead, SignedHeads, tag};
use super::walk::{Account, Fault, Finding, StoredHead, Walk};
use crate::bytes::hex;
use crate::db::wall::{self, Role};
use crate::master_key::MasterKey;

/// Records that are read at once.
const RECORDS_A_PAGE: i64 = 1_000;
/// Findings that are told one by one; one is as bad as a thousand.
const FINDINGS_TOLD: usize = 100;

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Chains that were walked.
    pub chains: u64,
    /// Records in them.
    pub records: u64,
    /// Signed heads that were looked up.
    pub signed: u64,
    /// What is not as it was, a sentence each; beyond a hundred only counted.
    pub findings: Vec<String>,
    /// How many there are.
    pub found: u64,
}

impl Report {
    fn find(&mut self, finding: impl fmt::Display) {
        self.found += 1;
        if self.findings.len() < FINDINGS_TOLD {
            self.findings.push(finding.to_string());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chains, records, signed, found, .. } = self;
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let untold = found - self.findings.len() as u64;
        if untold > 0 {
            writeln!(f, "and {untold} more")?;
        }
        write!(f, "{records} records in {chains} chains and {signed} signed heads: ")?;
        match found {
            0 => write!(f, "all as they were written"),
            _ => write!(f, "{found} are not as they were written"),
        }
    }
}

/// Checks all chains, and all heads that were signed with `master` into `folder`.
///
/// # Errors
/// When nothing could be found out.
pub async fn verify(pool: &PgPool, master: &MasterKey, folder: &Path) -> Result<Report, VerifyError> {
    let signed = SignedHeads::existing(folder, master);
    // Before the reading of the database begins: what was signed by now is in it.
    let files = signed.files().map_err(|reason| VerifyError::unreadable(folder, reason))?;
    // As of one moment: a server may go on meanwhile.
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, Role::Audit).await?;
    let mut report = Report::default();
    walk_all(&mut tx, &mut report).await?;
    Signed::new(&mut tx, &signed, &files).await?.look_up_all(&files, &mut report).await?;
    if report.records > 0 && report.signed == 0 && report.found == 0 {
        return Err(VerifyError::NothingSigned(folder.to_owned()));
    }
    Ok(report)
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database did not answer.
    #[error("the records of access cannot be read ({0})")]
    Database(#[from] sqlx::Error),
    /// The folder cannot be read.
    #[error("the signed heads in {} cannot be read ({reason}); name their folder by FITME_AUDIT_DIR", folder.display())]
    SignedHeads {
        /// Which folder.
        folder: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// The folder is another one, or the server has just been started for the first time.
    #[error(
        "no signed heads are in {}, and without them only half can be checked; name their folder by FITME_AUDIT_DIR, or \
         wait five minutes for the first", .0.display()
    )]
    NothingSigned(PathBuf),
}

impl VerifyError {
    fn unreadable(path: &Path, reason: io::Error) -> Self {
        Self::SignedHeads { folder: path.to_owned(), reason }
    }
}

struct Row {
    account: Uuid,
    record: Record,
    head: Option<StoredHead>,
}

/// Walks every chain in the order of accounts.
async fn walk_all(db: &mut PgConnection, report: &mut Report) -> Result<(), sqlx::Error> {
    let mut walking: Option<Walk> = None;
    let mut after = (Uuid::nil(), 0);
    loop {
        let rows = page(db, after).await?;
        let Some(last) = rows.last() else { break };
        after = (last.account, last.record.n);
        for Row { account, record, head } in rows {
            if walking.as_ref().is_none_or(|walk| walk.account() != account) {
                arrive(walking.take(), report);
            }
            walking.get_or_insert_with(|| Walk::of(account, head)).step(&record);
            report.records += 1;
        }
    }
    arrive(walking, report);
    for (account, n) in heads_without_records(db).await? {
        report.find(Finding { account: Account::Known(account), n, fault: Fault::CutOff { ends_at: 0 } });
    }
    Ok(())
}

fn arrive(walked: Option<Walk>, report: &mut Report) {
    let Some(walk) = walked else { return };
    report.chains += 1;
    if let Some(finding) = walk.end() {
        report.find(finding);
    }
}

async fn page(db: &mut PgConnection, (account, n): (Uuid, i64)) -> Result<Vec<Row>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT r.account, r.n, r.at_ms, r.kind, r.detail, r.prev_hash, r.hash, h.n AS "head_n?", h.hash AS "head_hash?"
           FROM audit_records r LEFT JOIN audit_heads h USING (account)
           WHERE (r.account, r.n) > ($1, $2) ORDER BY r.account, r.n LIMIT $3"#,
        account,
        n,
        RECORDS_A_PAGE
    )
    .fetch_all(db)
    .await?;
    let row = rows.into_iter().map(|row| Row {
        account: row.account,
        record: Record {
            n: row.n,
            at_ms: row.at_ms,
            kind: row.kind,
            detail: row.detail,
            prev_hash: row.prev_hash,
            hash: row.hash,
        },
        head: row.head_n.zip(row.head_hash),
    });
    Ok(row.collect())
}

async fn heads_without_records(db: &mut PgConnection) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT account, n FROM audit_heads h
         WHERE n > 0 AND NOT EXISTS (SELECT FROM audit_records r WHERE r.account = h.account) ORDER BY account LIMIT $1",
        RECORDS_A_PAGE
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account, row.n)).collect())
}

fn lines(file: &HeadsFile) -> Result<impl Iterator<Item = Result<String, VerifyError>> + use<'_>, VerifyError> {
    let unreadable = |reason| VerifyError::unreadable(&file.path, reason);
    Ok(file.lines().map_err(unreadable)?.map(move |line| line.map_err(unreadable)))
}

/// The look-up of signed heads.
struct Signed<'a> {
    db: &'a mut PgConnection,
    signed: &'a SignedHeads,
    /// Every account of the database by its hash.
    accounts: HashMap<String, Uuid>,
    /// How far the chains of erased accounts had come.
    closed: HashMap<String, i64>,
    /// Chains about which something was found: once is enough.
    told: HashSet<String>,
}

impl<'a> Signed<'a> {
    async fn new(db: &'a mut PgConnection, signed: &'a SignedHeads, files: &[HeadsFile]) -> Result<Self, VerifyError> {
        let accounts = sqlx::query_scalar!(
            r#"SELECT account AS "account!" FROM accounts UNION SELECT account FROM audit_records"#
        )
        .fetch_all(&mut *db)
        .await?;
        let accounts = accounts.into_iter().map(|account| (tag(account), account)).collect();
        let mut closed = HashMap::new();
        for file in files {
            for text in lines(file)? {
                if let Some(head) = signed.read_line(&text?).and_then(|line| line.closed) {
                    closed.insert(head.account, head.n);
                }
            }
        }
        Ok(Self { db, signed, accounts, closed, told: HashSet::new() })
    }

    async fn look_up_all(mut self, files: &[HeadsFile], report: &mut Report) -> Result<(), VerifyError> {
        for file in files {
            for (number, text) in (1..).zip(lines(file)?) {
                match self.signed.read_line(&text?) {
                    Some(line) => self.look_up(line, report).await?,
                    None => report.find(format_args!(
                        "{}, line {number}: was not signed by this server's master key; where the key was replaced, move \
                         what the old one signed to another folder",
                        file.path.display()
                    )),
                }
            }
        }
        Ok(())
    }

    /// Looks up the heads of one line, all at once.
    async fn look_up(&mut self, line: Line, report: &mut Report) -> Result<(), sqlx::Error> {
        let of = |head: &SignedHead| self.accounts.get(&head.account).copied();
        let (accounts, numbers): (Vec<_>, Vec<_>) =
            line.heads.iter().filter_map(|head| Some((of(head)?, head.n))).unzip();
        let stored = hashes(self.db, &accounts, &numbers).await?;
        for head in line.heads {
            report.signed += 1;
            let account = self.accounts.get(&head.account).copied();
            let hash = account.and_then(|account| stored.get(&(account, head.n)));
            // Of an account that is there none was: then its erasure failed after it was signed.
            let is_closed = account.is_none() && self.closed.get(&head.account).is_some_and(|last| head.n <= *last);
            if hash == Some(&head.hash) || is_closed || self.told.contains(&head.account) {
                continue;
            }
            let fault = match hash {
                Some(_) => Fault::SignedOtherwise { at_ms: line.at_ms },
                None => Fault::SignedAndGone { at_ms: line.at_ms, ends_at: self.end_of(account).await? },
            };
            let whose = account.map_or_else(|| Account::Gone(head.account.clone()), Account::Known);
            report.find(Finding { account: whose, n: head.n, fault });
            self.told.insert(head.account);
        }
        Ok(())
    }

    async fn end_of(&mut self, account: Option<Uuid>) -> Result<i64, sqlx::Error> {
        let Some(account) = account else { return Ok(0) };
        sqlx::query_scalar!(r#"SELECT COALESCE(max(n), 0) AS "n!" FROM audit_records WHERE account = $1"#, account)
            .fetch_one(&mut *self.db)
            .await
    }
}

async fn hashes(
    db: &mut PgConnection,
    accounts: &[Uuid],
    numbers: &[i64],
) -> Result<HashMap<(Uuid, i64), String>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT r.account, r.n, r.hash FROM UNNEST($1::uuid[], $2::bigint[]) AS asked (account, n)
         JOIN audit_records r ON r.account = asked.account AND r.n = asked.n",
        accounts,
        numbers
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.account, row.n), hex(&row.hash))).collect())
}
