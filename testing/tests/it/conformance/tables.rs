//! PostgreSQL's tables in the form in which the model has them.

use fitme_core::entry::Digest;
use fitme_core::id::{ActorId, ChangeHash, DocId, EntryId, Epoch, FeedId};
use fitme_testing::sim::database::tables::{EntryRow, FeedRow, GrantRow, QueueRow, RecordRow, SnapshotRow, Tables};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use sync_server::ingest::plan::{ActorTip, DocumentState, Usage};

/// Every table that the model has.
pub async fn read(pool: &PgPool) -> Tables {
    let mut tables = Tables::default();
    for row in rows(pool, "SELECT id FROM installation").await {
        tables.installation = bytes(&row, "id");
    }
    for row in rows(pool, "SELECT * FROM devices").await {
        tables.devices.insert(row.get("device"), row.get("account"));
    }
    feeds_and_entries(pool, &mut tables).await;
    documents_and_actors(pool, &mut tables).await;
    merged(pool, &mut tables).await;
    granted(pool, &mut tables).await;
    for row in rows(pool, "SELECT * FROM erasures").await {
        tables.erasures.insert((row.get("account"), DocId(bytes(&row, "doc_id"))));
    }
    tables
}

async fn feeds_and_entries(pool: &PgPool, tables: &mut Tables) {
    for row in rows(pool, "SELECT * FROM feeds").await {
        let feed = FeedRow {
            account: row.get("account"),
            collection: row.get("collection"),
            scope: row.get("scope"),
            epoch: Epoch(bytes(&row, "epoch")),
            head: number(&row, "head_seq"),
            digest: digest(&row),
        };
        tables.feeds.insert(feed_id(&row), feed);
    }
    for row in rows(
        pool,
        "SELECT *, (extract(epoch FROM received_at) * 1000)::bigint AS received_ms FROM entries ORDER BY feed, seq",
    )
    .await
    {
        let payload: Option<Vec<u8>> = row.get("payload");
        let actor: Option<Vec<u8>> = row.get("actor");
        let hash: Option<Vec<u8>> = row.get("change_hash");
        let entry = EntryRow {
            id: EntryId(bytes(&row, "entry_id")),
            kind: i32::from(row.get::<i16, _>("kind")),
            doc_id: DocId(bytes(&row, "doc_id")),
            change_hash: hash.and_then(|hash| ChangeHash::from_slice(&hash)),
            actor: actor.map(|actor| (ActorId::from_slice(&actor).unwrap(), number(&row, "actor_seq"))),
            author: row.get("author"),
            offered_by: row.get("offered_by"),
            device_time: row.get("device_time"),
            received_ms: row.get("received_ms"),
            digest: digest(&row),
            content: payload.map(|payload| (bytes(&row, "salt"), payload)),
        };
        tables.entries.insert(feed_id(&row), number(&row, "seq"), entry);
    }
}

async fn documents_and_actors(pool: &PgPool, tables: &mut Tables) {
    for row in rows(pool, "SELECT * FROM documents").await {
        let seq: Option<i64> = row.get("erased_seq");
        let document = DocumentState {
            feed: feed_id(&row),
            heads: hashes(&row),
            payload_bytes: number(&row, "payload_bytes"),
            erased: seq.map(|seq| (seq.cast_unsigned(), EntryId(bytes(&row, "erased_id")))),
        };
        tables.documents.insert((row.get("account"), DocId(bytes(&row, "doc_id"))), document);
    }
    for row in rows(pool, "SELECT * FROM actors").await {
        let tip = ActorTip {
            device: row.get("device"),
            entry: EntryId(bytes(&row, "last_entry_id")),
            feed: FeedId(number(&row, "last_feed")),
            seq: number(&row, "last_seq"),
        };
        tables.actors.insert(ActorId(bytes(&row, "actor")), tip);
    }
    for row in rows(pool, "SELECT * FROM account_usage").await {
        let usage = Usage { documents: number(&row, "documents"), bytes: number(&row, "bytes") };
        tables.usage.insert(row.get("account"), usage);
    }
}

async fn merged(pool: &PgPool, tables: &mut Tables) {
    for row in rows(pool, "SELECT * FROM merge_queue").await {
        assert!(row.get::<Option<uuid::Uuid>, _>("worker").is_none(), "nobody merges now");
        let clean: Option<i64> = row.get("clean_seq");
        let queued = QueueRow {
            head: number(&row, "head_seq"),
            merged: number(&row, "merged_seq"),
            clean: clean.map(i64::cast_unsigned),
            ..QueueRow::default()
        };
        tables.merge_queue.insert(feed_id(&row), queued);
    }
    for row in rows(pool, "SELECT * FROM snapshots").await {
        let snapshot = SnapshotRow {
            seq: number(&row, "snapshot_seq"),
            heads: hashes(&row),
            snapshot: row.get("snapshot"),
            quarantined: row.get("quarantined"),
        };
        tables.snapshots.insert((feed_id(&row), DocId(bytes(&row, "doc_id"))), snapshot);
    }
    for row in rows(pool, "SELECT * FROM records").await {
        let record = RecordRow {
            at: row.get("at"),
            trashed: row.get("trashed"),
            columns: row.get("columns"),
            record: row.get("record"),
            flags: row.get("flags"),
            version: row.get("projection_version"),
        };
        tables.records.insert((feed_id(&row), DocId(bytes(&row, "doc_id"))), record);
    }
}

async fn granted(pool: &PgPool, tables: &mut Tables) {
    for row in rows(pool, "SELECT * FROM relations").await {
        tables.relations.insert((row.get("account"), row.get("grantee")));
    }
    for row in rows(pool, "SELECT * FROM grants_now").await {
        let grant = GrantRow {
            grantee: row.get("grantee"),
            access: row.get("access"),
            purpose: row.get("purpose"),
            shown_as: row.get("shown_as"),
            from_ms: row.get("from_ms"),
            until_ms: row.get("until_ms"),
        };
        tables.grants_now.insert((row.get("account"), DocId(bytes(&row, "grant_id")), feed_id(&row)), grant);
    }
    for row in rows(pool, "SELECT * FROM revocations").await {
        tables.revocations.insert((row.get("account"), DocId(bytes(&row, "grant_id"))));
    }
    for row in rows(pool, "SELECT * FROM grantees").await {
        tables.grantees.insert(row.get("grantee"), number(&row, "version"));
    }
}

/// Table by table, so that a difference is a short text; without the times of arrival, which are two clocks'.
pub fn assert_same(mut real: Tables, mut modelled: Tables) {
    for tables in [&mut real, &mut modelled] {
        tables.entries.iter_mut().for_each(|row| row.received_ms = 0);
        tables.merge_queue.values_mut().for_each(|queued| queued.served = 0);
    }
    assert_eq!(real.feeds, modelled.feeds, "feeds");
    assert_eq!(real.entries, modelled.entries, "entries");
    assert_eq!(real.documents, modelled.documents, "documents");
    assert_eq!(real.actors, modelled.actors, "actors");
    assert_eq!(real.merge_queue, modelled.merge_queue, "merge_queue");
    assert_eq!(real.snapshots, modelled.snapshots, "snapshots");
    assert_eq!(real.records, modelled.records, "records");
    assert_eq!(real.usage, modelled.usage, "account_usage");
    assert_eq!(real.grants_now, modelled.grants_now, "grants_now");
    assert_eq!(real.grantees, modelled.grantees, "grantees");
    assert!(real == modelled, "every table");
}

async fn rows(pool: &PgPool, query: &'static str) -> Vec<PgRow> {
    sqlx::query(query).fetch_all(pool).await.unwrap()
}

fn bytes<const N: usize>(row: &PgRow, column: &str) -> [u8; N] {
    row.get::<Vec<u8>, _>(column).try_into().unwrap()
}

fn number(row: &PgRow, column: &str) -> u64 {
    row.get::<i64, _>(column).cast_unsigned()
}

fn feed_id(row: &PgRow) -> FeedId {
    FeedId(number(row, "feed"))
}

fn digest(row: &PgRow) -> Digest {
    Digest(u128::from_be_bytes(bytes(row, "digest")))
}

fn hashes(row: &PgRow) -> Vec<ChangeHash> {
    row.get::<Vec<Vec<u8>>, _>("heads").iter().map(|hash| ChangeHash::from_slice(hash).unwrap()).collect()
}
