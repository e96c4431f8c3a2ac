//! What PostgreSQL holds, read as the owner of the tables.

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{DocId, EntryId};
use fitme_core::wire::EntryKind;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

use crate::Database;
use crate::postgres::block_on;

/// How far a feed is.
pub struct Head {
    /// Number of its last entry.
    pub seq: i64,
    /// Number up to which it is merged.
    pub merged_seq: i64,
    /// Sum of its entries' ids.
    pub digest: Vec<u8>,
}

/// Everything of one account.
#[derive(Default)]
pub struct Account {
    /// Entries by feed and number.
    pub entries: BTreeMap<(i64, i64), Stored>,
    /// Sorted heads of every document that was not erased.
    pub heads: Vec<(DocId, Vec<u8>)>,
    /// Merged records.
    pub records: BTreeMap<DocId, Value>,
    /// Documents that were erased, as hex.
    pub erased: BTreeSet<String>,
    /// Last number and sum of its feeds.
    pub feeds: BTreeMap<i64, (i64, Vec<u8>)>,
}

/// One row of `entries`.
pub struct Stored {
    /// Its id.
    pub id: EntryId,
    /// Its document, as hex.
    pub doc: String,
    /// Its change, as hex.
    pub change: Option<String>,
    /// Its content; none where the document was erased.
    pub content: Option<Entry>,
    /// Sum of the feed's ids up to it.
    pub digest: Vec<u8>,
}

/// Heads of all feeds.
///
/// # Errors
/// When PostgreSQL does not answer.
pub fn heads(database: &Database) -> Result<BTreeMap<i64, Head>, sqlx::Error> {
    const HEADS: &str =
        "SELECT feed, f.head_seq, f.digest, coalesce(merged_seq, 0) FROM feeds f LEFT JOIN merge_queue USING (feed)";
    block_on(|| async {
        let mut owner = PgConnection::connect(&database.owner).await?;
        let rows = sqlx::query(HEADS).fetch_all(&mut owner).await?;
        let head = |row: &PgRow| (row.get(0), Head { seq: row.get(1), digest: row.get(2), merged_seq: row.get(3) });
        Ok(rows.iter().map(head).collect())
    })
}

/// Everything of the account with this address.
///
/// # Errors
/// When PostgreSQL does not answer.
pub fn account(database: &Database, email: &str) -> Result<Account, sqlx::Error> {
    const FEEDS: &str = "SELECT feed, head_seq, f.digest FROM feeds f JOIN accounts USING (account) WHERE email = $1";
    const ENTRIES: &str =
        "SELECT e.feed, seq, entry_id, kind, doc_id, change_hash, device_time, e.digest, salt, payload
         FROM entries e JOIN feeds USING (feed) JOIN accounts USING (account) WHERE email = $1";
    const DOCUMENTS: &str = "SELECT doc_id, heads, erased_seq IS NOT NULL FROM documents JOIN accounts USING (account)
         WHERE email = $1 ORDER BY doc_id";
    const RECORDS: &str = "SELECT doc_id, record FROM records JOIN feeds USING (feed) JOIN accounts USING (account)
         WHERE email = $1";
    block_on(|| async {
        let mut owner = PgConnection::connect(&database.owner).await?;
        let mut rows = async |sql| sqlx::query(sql).bind(email).fetch_all(&mut owner).await;
        let feeds = rows(FEEDS).await?.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        let entries = rows(ENTRIES).await?.iter().map(|row| ((row.get(0), row.get(1)), stored(row))).collect();
        let documents = rows(DOCUMENTS).await?;
        let records = rows(RECORDS).await?.iter().map(|row| (doc_id(row), row.get(1))).collect();
        let (erased, alive): (Vec<_>, Vec<_>) = documents.iter().partition(|row| row.get(2));
        let heads = alive.iter().map(|row| (doc_id(row), row.get::<Vec<Vec<u8>>, _>(1).concat())).collect();
        let erased = erased.iter().map(|row| doc_id(row).to_string()).collect();
        Ok(Account { entries, heads, records, erased, feeds })
    })
}

fn doc_id(row: &PgRow) -> DocId {
    DocId::from_slice(row.get(0)).expect("the table checks that an id has 16 bytes")
}

fn stored(row: &PgRow) -> Stored {
    let id = EntryId::from_slice(row.get("entry_id")).expect("ids have 16 bytes");
    let doc_id = DocId::from_slice(row.get("doc_id")).expect("ids have 16 bytes");
    let salt: Option<Vec<u8>> = row.get("salt");
    let content = row.get::<Option<Vec<u8>>, _>("payload").zip(salt).map(|(payload, salt)| Entry {
        kind: i32::from(row.get::<i16, _>("kind")),
        doc_id,
        device_time: row.get("device_time"),
        salt: salt.try_into().expect("a salt has 8 bytes"),
        payload,
    });
    let change = row.get::<Option<Vec<u8>>, _>("change_hash").map(|hash| hex(&hash));
    Stored { id, doc: doc_id.to_string(), change, content, digest: row.get("digest") }
}

impl Account {
    /// What is wrong with it by itself: numbers with gaps (I4), content that is not what the id says, sums that do not add
    /// up, content of what was erased (I10).
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (feed, (head, digest)) in &self.feeds {
            let mut sum = Digest::default();
            let mut next = 1;
            for ((_, seq), stored) in self.entries.range((*feed, 0)..=(*feed, i64::MAX)) {
                sum = sum.plus(stored.id);
                if *seq != next || stored.digest != sum.to_bytes() {
                    faults.push(format!("entry {seq} of feed {feed} follows {} or has another sum", next - 1));
                }
                next = seq + 1;
                faults.extend(self.fault_of(stored).map(|fault| format!("entry {seq} of feed {feed} {fault}")));
            }
            if next != head + 1 || *digest != sum.to_bytes() {
                faults.push(format!("feed {feed} has {} entries and says {head}, or another sum", next - 1));
            }
        }
        faults
    }

    fn fault_of(&self, stored: &Stored) -> Option<&'static str> {
        match &stored.content {
            Some(content) if content.id() != stored.id => Some("has content that its id does not belong to"),
            Some(content) if content.kind == i32::from(EntryKind::Erase) => None,
            Some(_) if self.erased.contains(&stored.doc) => Some("is of an erased document and still there"),
            None if !self.erased.contains(&stored.doc) => Some("has lost its content"),
            _ => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
