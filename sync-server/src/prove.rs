//! The proof of a feed: whether its entries are still what was accepted. Each proves itself by its id, a hash over what it holds,
//! and all of them together by their numbers and by the digests, which are sums of ids. What is damaged or gone is noted, and
//! asked of the devices of its account.

use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ChangeHash, DocId, EntryId, FeedId};
use fitme_core::limits;
use fitme_core::wire::Wanted;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::db::wall::{self, Role};

mod bring_back;

pub use bring_back::bring_back;

/// Entries read at a time.
const ROWS: i64 = 500;

/// Proves one of the account's own feeds, and notes what it finds. Rows that never had a number are removed.
///
/// # Errors
/// When the database does not answer.
pub async fn prove(pool: &PgPool, account: Uuid, feed: FeedId) -> Result<Vec<Wanted>, sqlx::Error> {
    let mut tx = wall::begin(pool, wall::BEGIN_READING, &[account]).await?;
    let walk = Walk::of(&mut tx, account, feed).await?;
    drop(tx);
    let wanted = walk.wanted();
    let mut tx = wall::of(pool, &[account]).await?;
    if walk.beyond_head > 0 {
        let dropped =
            sqlx::query_scalar!("SELECT drop_beyond_head($1)", feed.0.cast_signed()).fetch_one(&mut *tx).await?;
        tracing::error!(%feed, dropped, "rows behind the last number of a feed were removed: nothing had put them there");
    }
    note(&mut tx, feed, &wanted).await?;
    tx.commit().await?;
    Ok(wanted)
}

/// Damaged entries, of everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// How many.
    pub entries: i64,
    /// The feed of the one that was found first.
    pub feed: FeedId,
    /// Its number.
    pub seq: i64,
}

/// What proofs have found and no device has brought back; `None` if there is nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn noted(pool: &PgPool) -> Result<Option<Noted>, sqlx::Error> {
    let mut tx = wall::begin_as(pool, wall::BEGIN_READING, Role::Admin).await?;
    let first = sqlx::query!(
        r#"SELECT count(*) OVER () AS "entries!", feed, seq FROM damaged_entries ORDER BY found_at, feed, seq LIMIT 1"#
    )
    .fetch_optional(&mut *tx)
    .await?;
    let noted = |entries, feed: i64, seq| Noted { entries, feed: FeedId(feed.cast_unsigned()), seq };
    Ok(first.map(|row| noted(row.entries, row.feed, row.seq)))
}

/// Notes these and no others.
async fn note(db: &mut PgConnection, feed: FeedId, wanted: &[Wanted]) -> Result<(), sqlx::Error> {
    let seqs: Vec<_> = wanted.iter().map(|one| one.seq.cast_signed()).collect();
    let feed_number = feed.0.cast_signed();
    sqlx::query!("DELETE FROM damaged_entries WHERE feed = $1 AND seq <> ALL ($2)", feed_number, &seqs)
        .execute(&mut *db)
        .await?;
    let new = sqlx::query!(
        "INSERT INTO damaged_entries (feed, seq) SELECT $1, UNNEST($2::bigint[]) ON CONFLICT DO NOTHING",
        feed_number,
        &seqs
    )
    .execute(db)
    .await?
    .rows_affected();
    if new > 0 {
        tracing::error!(%feed, new, "entries are damaged or gone; devices that have them are asked");
    }
    Ok(())
}

/// What is wrong in a feed.
enum Damage {
    /// A row that holds something else than its id says.
    Content { seq: u64, id: EntryId, held: Entry, hash: Option<ChangeHash> },
    /// Rows that are gone, with the digests before and behind them.
    Gap { first: u64, last: u64, before: Digest, behind: Digest },
}

/// A walk over all rows of a feed.
struct Walk {
    /// The last number that was met.
    at: u64,
    digest: Digest,
    damage: Vec<Damage>,
    beyond_head: u64,
}

/// An entry as it is stored.
struct Row {
    seq: u64,
    id: EntryId,
    digest: Digest,
    entry: Entry,
    hash: Option<ChangeHash>,
    /// Nothing is missing: what it held was erased, or is in its document's snapshot.
    is_empty_by_right: bool,
}

impl Walk {
    async fn of(db: &mut PgConnection, account: Uuid, feed: FeedId) -> Result<Self, sqlx::Error> {
        let mut walk = Self { at: 0, digest: Digest::default(), damage: Vec::new(), beyond_head: 0 };
        let known = sqlx::query!("SELECT head_seq, digest FROM feeds WHERE feed = $1", feed.0.cast_signed());
        let Some(known) = known.fetch_optional(&mut *db).await? else { return Ok(walk) };
        let (head, mut after) = (known.head_seq.cast_unsigned(), 0);
        loop {
            let rows = rows(db, account, feed, after).await?;
            let Some(last) = rows.last().map(|row| row.seq) else { break };
            rows.into_iter().for_each(|row| walk.take(row, head));
            after = last;
        }
        if walk.at < head {
            walk.gap(head, Digest::from_slice(&known.digest).unwrap_or_default());
        }
        Ok(walk)
    }

    fn take(&mut self, row: Row, head: u64) {
        if row.seq > head {
            self.beyond_head += 1;
            return;
        }
        if row.seq > self.at + 1 {
            self.gap(row.seq - 1, row.digest.minus(row.id));
        }
        (self.at, self.digest) = (row.seq, self.digest.plus(row.id));
        if !row.is_empty_by_right && row.entry.id() != row.id {
            self.damage.push(Damage::Content { seq: row.seq, id: row.id, held: row.entry, hash: row.hash });
        }
    }

    /// The rows from the next number up to `last` are gone.
    fn gap(&mut self, last: u64, behind: Digest) {
        self.damage.push(Damage::Gap { first: self.at + 1, last, before: self.digest, behind });
        (self.at, self.digest) = (last, behind);
    }

    /// What devices are asked for, as many as one message has.
    fn wanted(&self) -> Vec<Wanted> {
        self.damage.iter().flat_map(Damage::wanted).take(limits::WANTED_ENTRIES).collect()
    }
}

impl Damage {
    fn wanted(&self) -> Vec<Wanted> {
        match self {
            Self::Content { seq, id, held, hash } => {
                vec![Wanted { seq: *seq, id: Some(*id), change: hash.map(|hash| (held.doc_id, hash)) }]
            }
            Self::Gap { first, last, before, behind } => {
                // The digests name a single one; of several only the sum is known.
                let id = EntryId(behind.0.wrapping_sub(before.0).to_be_bytes());
                let id = (first == last).then_some(id);
                (*first..=*last).take(limits::WANTED_ENTRIES).map(|seq| Wanted { seq, id, change: None }).collect()
            }
        }
    }
}

async fn rows(db: &mut PgConnection, account: Uuid, feed: FeedId, after: u64) -> Result<Vec<Row>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT e.seq, e.entry_id, e.kind, e.doc_id, e.device_time, e.salt, e.payload, e.change_hash, e.digest,
                  e.payload IS NULL AND CASE WHEN e.salt IS NULL THEN d.erased_seq IS NOT NULL
                                             ELSE COALESCE(s.snapshot_seq, 0) >= e.seq END AS "is_empty_by_right!"
           FROM entries e
           LEFT JOIN documents d ON d.account = $2 AND d.doc_id = e.doc_id
           LEFT JOIN snapshots s ON s.feed = e.feed AND s.doc_id = e.doc_id
           WHERE e.feed = $1 AND e.seq > $3 ORDER BY e.seq LIMIT $4"#,
        feed.0.cast_signed(),
        account,
        after.cast_signed(),
        ROWS
    )
    .fetch_all(db)
    .await?;
    // What has another length than it was stored with is no hash of anything.
    let row = rows.into_iter().map(|row| Row {
        seq: row.seq.cast_unsigned(),
        id: EntryId::from_slice(&row.entry_id).unwrap_or(EntryId([0; 16])),
        digest: Digest::from_slice(&row.digest).unwrap_or_default(),
        hash: row.change_hash.as_deref().and_then(ChangeHash::from_slice),
        is_empty_by_right: row.is_empty_by_right,
        entry: Entry {
            kind: row.kind.into(),
            doc_id: DocId::from_slice(&row.doc_id).unwrap_or(DocId([0; 16])),
            device_time: row.device_time,
            salt: row.salt.and_then(|salt| salt.try_into().ok()).unwrap_or_default(),
            payload: row.payload.unwrap_or_default(),
        },
    });
    Ok(row.collect())
}
