//! The chain of an account: records numbered 1, 2, 3…, each with the hash of the one before it inside its own.

use sqlx::PgConnection;
use uuid::Uuid;

use super::event::Event;

/// Bytes of a hash.
pub(super) const HASH_BYTES: usize = blake3::OUT_LEN;
/// What hashes of records are derived under. Never changed: chains that exist would not be recognised.
const RECORD_DOMAIN: &str = "fitme-sync 2026 audit record";

/// The hash of a record, or zeros before the first one.
pub(super) type Hash = [u8; HASH_BYTES];

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub n: i64,
    pub at_ms: i64,
    pub kind: String,
    pub detail: String,
    pub prev_hash: Vec<u8>,
    pub hash: Vec<u8>,
}

/// How far a chain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub n: i64,
    pub hash: Hash,
}

impl Record {
    /// The record after `head`.
    fn after(head: Head, account: Uuid, at_ms: i64, event: Event) -> Self {
        let (kind, detail) = event.into_columns();
        let prev_hash = head.hash.to_vec();
        let mut record = Self { n: head.n + 1, at_ms, kind, detail, prev_hash, hash: Vec::new() };
        record.hash = record.hash_in(account).to_vec();
        record
    }

    /// The hash that it must have in the chain of `account`: of everything but itself, each part of known length or after
    /// its length, so that no two records have the same bytes.
    pub fn hash_in(&self, account: Uuid) -> Hash {
        let mut hasher = blake3::Hasher::new_derive_key(RECORD_DOMAIN);
        hasher.update(account.as_bytes()).update(&self.n.to_be_bytes()).update(&self.at_ms.to_be_bytes());
        for part in [&self.prev_hash[..], self.kind.as_bytes(), self.detail.as_bytes()] {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// Appends one event to an account's chain, see [`append`].
///
/// # Errors
/// When the database does not answer.
pub async fn record(db: &mut PgConnection, account: Uuid, at_ms: i64, event: Event) -> Result<(), sqlx::Error> {
    append(db, account, [(at_ms, event)]).await
}

/// Appends what happened to an account's chain, each with its time, in the transaction of what happened. From here to the
/// commit nobody else appends to this chain: it is the last thing that a transaction does, and who appends to several
/// chains takes them in ascending order. An account that is gone has no chain any more.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn append(
    db: &mut PgConnection,
    account: Uuid,
    events: impl IntoIterator<Item = (i64, Event)>,
) -> Result<(), sqlx::Error> {
    let Some(mut head) = lock(db, account).await? else { return Ok(()) };
    let mut records = Vec::new();
    for (at_ms, event) in events {
        let record = Record::after(head, account, at_ms, event);
        head = Head { n: record.n, hash: record.hash_in(account) };
        records.push(record);
    }
    if records.is_empty() { Ok(()) } else { insert(db, account, &records, head).await }
}

/// The head of the chain, locked; a chain begins when it is first asked for.
pub(super) async fn lock(db: &mut PgConnection, account: Uuid) -> Result<Option<Head>, sqlx::Error> {
    if let Some(head) = locked(db, account).await? {
        return Ok(Some(head));
    }
    sqlx::query!(
        "INSERT INTO audit_heads (account) SELECT account FROM accounts WHERE account = $1 FOR KEY SHARE
         ON CONFLICT DO NOTHING",
        account
    )
    .execute(&mut *db)
    .await?;
    locked(db, account).await
}

async fn locked(db: &mut PgConnection, account: Uuid) -> Result<Option<Head>, sqlx::Error> {
    let row = sqlx::query!("SELECT n, hash FROM audit_heads WHERE account = $1 FOR NO KEY UPDATE", account)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|row| Head { n: row.n, hash: fixed(&row.hash) }))
}

async fn insert(db: &mut PgConnection, account: Uuid, records: &[Record], head: Head) -> Result<(), sqlx::Error> {
    let numbers: Vec<_> = records.iter().map(|record| record.n).collect();
    let times: Vec<_> = records.iter().map(|record| record.at_ms).collect();
    let kinds: Vec<_> = records.iter().map(|record| record.kind.clone()).collect();
    let details: Vec<_> = records.iter().map(|record| record.detail.clone()).collect();
    let prev_hashes: Vec<_> = records.iter().map(|record| record.prev_hash.clone()).collect();
    let hashes: Vec<_> = records.iter().map(|record| record.hash.clone()).collect();
    sqlx::query!(
        "WITH head AS (
             UPDATE audit_heads SET n = $2, hash = $3, moved_at = clock_timestamp() WHERE account = $1
         )
         INSERT INTO audit_records (account, n, at_ms, kind, detail, prev_hash, hash)
         SELECT $1, * FROM UNNEST($4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::bytea[])",
        account,
        head.n,
        &head.hash[..],
        &numbers,
        &times,
        &kinds,
        &details,
        &prev_hashes,
        &hashes
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) fn fixed(bytes: &[u8]) -> Hash {
    bytes.try_into().expect("the tables check that hashes have 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_334_400_000;

    /// The first record of a chain, hashed once: a later version must come to the same.
    #[test]
    fn the_hash_of_a_record_is_frozen() {
        let (account, device) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = Record::after(Head { n: 0, hash: [0; HASH_BYTES] }, account, NOW, Event::SignedIn { device });
        assert_eq!(crate::bytes::hex(&first.hash), "d2a08a84e2422e0cdc1feb642473a77991293193cfddeaa92cb302bba057c01e");
    }

    #[test]
    fn every_part_of_a_record_and_its_account_are_in_its_hash() {
        let (account, device) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let record = Record::after(Head { n: 3, hash: [7; HASH_BYTES] }, account, NOW, Event::SignedIn { device });
        let changes: [fn(&mut Record); 5] = [
            |record| record.n += 1,
            |record| record.at_ms += 1,
            |record| record.kind.push('s'),
            |record| record.detail.push(' '),
            |record| record.prev_hash[0] ^= 1,
        ];
        for change in changes {
            let mut changed = record.clone();
            change(&mut changed);
            assert_ne!(changed.hash_in(account), record.hash_in(account), "{changed:?}");
        }
        assert_ne!(record.hash_in(Uuid::from_u128(9)), record.hash_in(account));
        // Nor can a byte move from one part to the next.
        let mut moved = record.clone();
        moved.kind.push(moved.detail.remove(0));
        assert_ne!(moved.hash_in(account), record.hash_in(account));
    }
}
