//! What the two tables have noted: what of it is in no list yet, and what of a list they do not know.

use std::collections::{HashMap, HashSet};

use fitme_core::id::DocId;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{DeviceIs, GRANT, Line};
use crate::db::wall::{self, Role};

/// Rows that are in no list yet, locked until they are marked.
pub(super) struct Unlisted {
    pub lines: Vec<Line>,
}

pub(super) async fn unlisted(db: &mut PgConnection, at_most: usize) -> Result<Unlisted, sqlx::Error> {
    let erased = sqlx::query!(
        "SELECT account, doc_id FROM erasures WHERE listed_at IS NULL
         ORDER BY erased_at LIMIT $1 FOR UPDATE SKIP LOCKED",
        at_most as i64
    )
    .fetch_all(&mut *db)
    .await?;
    let ended = sqlx::query!(
        "SELECT account, subject, kind, n FROM endings WHERE listed_at IS NULL
         ORDER BY ended_at LIMIT $1 FOR UPDATE SKIP LOCKED",
        at_most as i64
    )
    .fetch_all(db)
    .await?;
    let erased = erased.into_iter().map(|row| erasure(row.account, &row.doc_id));
    let ended = ended.into_iter().filter_map(|row| ending(row.account, &row.subject, &row.kind, row.n));
    Ok(Unlisted { lines: erased.chain(ended).collect() })
}

/// A row of `erasures`: that of a whole account names no record.
fn erasure(account: Uuid, doc_id: &[u8]) -> Line {
    match DocId::from_slice(doc_id) {
        Some(doc_id) => Line::Record(account, doc_id),
        None => Line::Account(account),
    }
}

/// A row of `endings`; `None` for what only a later version can have written.
fn ending(account: Uuid, subject: &[u8], kind: &str, n: i64) -> Option<Line> {
    if kind == GRANT {
        return Some(Line::Grant(account, DocId::from_slice(subject)?));
    }
    let (device, n) = (Uuid::from_slice(subject).ok()?, u32::try_from(n).ok()?);
    Some(Line::Device { account, device, n, is: DeviceIs::named(kind)? })
}

/// The keys of lines in the two tables: account and document of what was erased, account and subject of the others.
#[derive(Default)]
struct Keys {
    erased: (Vec<Uuid>, Vec<Vec<u8>>),
    ended: (Vec<Uuid>, Vec<Vec<u8>>),
}

impl Keys {
    fn of<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let mut keys = Self::default();
        for line in lines {
            let (of, key) = match line {
                Line::Account(_) => (&mut keys.erased, Vec::new()),
                Line::Record(_, doc_id) => (&mut keys.erased, doc_id.as_bytes().to_vec()),
                Line::Grant(_, grant) => (&mut keys.ended, grant.as_bytes().to_vec()),
                Line::Device { device, .. } => (&mut keys.ended, device.as_bytes().to_vec()),
            };
            of.0.push(line.account());
            of.1.push(key);
        }
        keys
    }
}

impl Unlisted {
    pub async fn mark_listed(&self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Keys { erased, ended } = Keys::of(&self.lines);
        sqlx::query!(
            "UPDATE erasures SET listed_at = clock_timestamp()
             FROM UNNEST($1::uuid[], $2::bytea[]) AS listed (account, doc_id)
             WHERE erasures.account = listed.account AND erasures.doc_id = listed.doc_id",
            &erased.0,
            &erased.1
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "UPDATE endings SET listed_at = clock_timestamp()
             FROM UNNEST($1::uuid[], $2::bytea[]) AS listed (account, subject)
             WHERE endings.account = listed.account AND endings.subject = listed.subject",
            &ended.0,
            &ended.1
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

/// Those of the lines that the database does not know: they were written after the backup that it comes from.
pub(super) async fn unknown(pool: &PgPool, lines: Vec<Line>) -> Result<Vec<Line>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, Role::Tidy).await?;
    let accounts: Vec<_> = lines.iter().map(|line| Line::Account(line.account())).collect();
    let Keys { erased, ended } = Keys::of(lines.iter().chain(&accounts));
    let erased = sqlx::query!(
        r#"SELECT found.account AS "account!", found.doc_id AS "doc_id!"
           FROM UNNEST($1::uuid[], $2::bytea[]) AS asked (account, doc_id)
           CROSS JOIN LATERAL (SELECT account, doc_id FROM erasures
                               WHERE account = asked.account AND doc_id = asked.doc_id LIMIT 1) AS found"#,
        &erased.0,
        &erased.1
    )
    .fetch_all(&mut *tx)
    .await?;
    let ended = sqlx::query!(
        r#"SELECT found.account AS "account!", found.subject AS "subject!", found.n AS "n!"
           FROM UNNEST($1::uuid[], $2::bytea[]) AS asked (account, subject)
           CROSS JOIN LATERAL (SELECT account, subject, n FROM endings
                               WHERE account = asked.account AND subject = asked.subject LIMIT 1) AS found"#,
        &ended.0,
        &ended.1
    )
    .fetch_all(&mut *tx)
    .await?;
    let erased: HashSet<_> = erased.into_iter().map(|row| erasure(row.account, &row.doc_id)).collect();
    let ended: HashMap<_, _> = ended.into_iter().map(|row| ((row.account, row.subject), row.n)).collect();
    let known_up_to = |account: Uuid, subject: &[u8]| ended.get(&(account, subject.to_vec())).copied().unwrap_or(0);
    let is_known = |line: &Line| {
        erased.contains(&Line::Account(line.account()))
            || match line {
                Line::Account(_) | Line::Record(..) => erased.contains(line),
                Line::Grant(account, grant) => known_up_to(*account, grant.as_bytes()) > 0,
                Line::Device { account, device, n, .. } => known_up_to(*account, device.as_bytes()) >= i64::from(*n),
            }
    };
    Ok(lines.into_iter().filter(|line| !is_known(line)).collect())
}

/// Whether anything was ever copied into a list.
pub(super) async fn has_listed(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, Role::Tidy).await?;
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM erasures WHERE listed_at IS NOT NULL)
               OR EXISTS (SELECT FROM endings WHERE listed_at IS NOT NULL) AS "listed!""#
    )
    .fetch_one(&mut *tx)
    .await
}

/// Has everything copied again, into a list that is new.
pub(super) async fn mark_all_unlisted(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN, Role::Tidy).await?;
    sqlx::query!("UPDATE erasures SET listed_at = NULL WHERE listed_at IS NOT NULL").execute(&mut *tx).await?;
    sqlx::query!("UPDATE endings SET listed_at = NULL WHERE listed_at IS NOT NULL").execute(&mut *tx).await?;
    tx.commit().await
}
