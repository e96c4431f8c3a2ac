//! The limit of durable ingest: the very rows that the server wrote, in the very groups in which it committed them,
//! inserted into the same table of another database by a statement that decides nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use sqlx::{PgPool, Row};
use uuid::Uuid;

/// As many groups are under way at once as the server's ingest has.
pub const CONNECTIONS: usize = 2;

/// The rows of one commit, as columns.
#[derive(Default)]
pub struct Group {
    feeds: Vec<i64>,
    seqs: Vec<i64>,
    ids: Vec<Vec<u8>>,
    kinds: Vec<i16>,
    doc_ids: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
    actors: Vec<Vec<u8>>,
    actor_seqs: Vec<i64>,
    authors: Vec<Uuid>,
    times: Vec<i64>,
    digests: Vec<Vec<u8>>,
    salts: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
}

/// What a server committed, in order. Rows of one transaction have one `received_at`.
pub async fn committed_groups(pool: &PgPool) -> Result<Vec<Group>> {
    let mut rows = sqlx::query(
        "SELECT received_at = lag(received_at) OVER written AS same, feed, seq, entry_id, kind, doc_id, change_hash,
                actor, actor_seq, author, device_time, digest, salt, payload
         FROM entries WINDOW written AS (ORDER BY received_at, feed, seq)
         ORDER BY received_at, feed, seq",
    )
    .fetch(pool);
    let mut groups: Vec<Group> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let begins = !row.try_get::<Option<bool>, _>("same")?.unwrap_or(false);
        if begins {
            groups.push(Group::default());
        }
        if let Some(group) = groups.last_mut() {
            group.take(&row)?;
        }
    }
    Ok(groups)
}

impl Group {
    fn take(&mut self, row: &sqlx::postgres::PgRow) -> Result<()> {
        self.feeds.push(row.try_get("feed")?);
        self.seqs.push(row.try_get("seq")?);
        self.ids.push(row.try_get("entry_id")?);
        self.kinds.push(row.try_get("kind")?);
        self.doc_ids.push(row.try_get("doc_id")?);
        self.hashes.push(row.try_get("change_hash")?);
        self.actors.push(row.try_get("actor")?);
        self.actor_seqs.push(row.try_get("actor_seq")?);
        self.authors.push(row.try_get("author")?);
        self.times.push(row.try_get("device_time")?);
        self.digests.push(row.try_get("digest")?);
        self.salts.push(row.try_get("salt")?);
        self.payloads.push(row.try_get("payload")?);
        Ok(())
    }

    async fn insert(&self, pool: &PgPool) -> Result<()> {
        sqlx::query(
            "INSERT INTO entries (feed, seq, entry_id, kind, doc_id, change_hash, actor, actor_seq, author, device_time,
                                  digest, salt, payload)
             SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bytea[], $4::smallint[], $5::bytea[], $6::bytea[],
                                  $7::bytea[], $8::bigint[], $9::uuid[], $10::bigint[], $11::bytea[], $12::bytea[],
                                  $13::bytea[])",
        )
        .bind(&self.feeds)
        .bind(&self.seqs)
        .bind(&self.ids)
        .bind(&self.kinds)
        .bind(&self.doc_ids)
        .bind(&self.hashes)
        .bind(&self.actors)
        .bind(&self.actor_seqs)
        .bind(&self.authors)
        .bind(&self.times)
        .bind(&self.digests)
        .bind(&self.salts)
        .bind(&self.payloads)
        .execute(pool)
        .await?;
        Ok(())
    }
}

/// Inserts the groups into an empty database, one commit each; returns how long that took.
pub async fn insert(pool: &PgPool, groups: &[Group]) -> Result<Duration> {
    let started = Instant::now();
    try_join_all((0..CONNECTIONS).map(|lane| async move {
        for group in groups.iter().skip(lane).step_by(CONNECTIONS) {
            group.insert(pool).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(started.elapsed())
}
