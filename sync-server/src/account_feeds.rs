//! The feeds every account has: one for each collection and scope, each with a random number and a random epoch.

use fitme_core::collection::Collection;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::bytes::{hex, random_bytes};

/// Feed numbers have 48 bits, so that they stay exact in every client's number type.
const FEED_BITS: u32 = 48;
/// A collision of random numbers has odds of one in a million with a hundred million feeds; three in a row do not happen.
const ATTEMPTS: usize = 4;

/// A feed as a device learns of it.
#[derive(Debug, Clone, Serialize)]
pub struct AccountFeed {
    /// Its number.
    pub feed: i64,
    /// What it holds.
    pub collection: String,
    /// Which part of the collection; empty where there are no parts.
    pub scope: String,
    /// Changes when its history may differ from what devices saw; hexadecimal.
    pub epoch: String,
}

/// The account's feeds, after making those that are missing: a collection that is new in this version is given to older
/// accounts at their next login.
///
/// # Errors
/// When the database does not answer.
pub async fn ensure_feeds(db: &mut PgConnection, account: Uuid) -> Result<Vec<AccountFeed>, sqlx::Error> {
    let mut feeds = read_feeds(db, account).await?;
    for _ in 0..ATTEMPTS {
        let missing = missing_from(&feeds);
        if missing.is_empty() {
            return Ok(feeds);
        }
        insert_feeds(db, account, &missing).await?;
        feeds = read_feeds(db, account).await?;
    }
    Err(sqlx::Error::Protocol("random feed numbers collided every time".to_owned()))
}

fn missing_from(feeds: &[AccountFeed]) -> Vec<(&'static str, &'static str)> {
    let has = |(collection, scope): (&str, &str)| {
        feeds.iter().any(|feed| feed.collection == collection && feed.scope == scope)
    };
    let wanted = Collection::feeds_of_an_account().map(|(collection, scope)| (collection.name(), scope));
    wanted.filter(|feed| !has(*feed)).collect()
}

async fn read_feeds(db: &mut PgConnection, account: Uuid) -> Result<Vec<AccountFeed>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT feed, collection, scope, epoch FROM feeds WHERE account = $1 ORDER BY collection, scope",
        account
    )
    .fetch_all(db)
    .await?;
    let feeds = rows.into_iter().map(|row| AccountFeed {
        feed: row.feed,
        collection: row.collection,
        scope: row.scope,
        epoch: hex(&row.epoch),
    });
    Ok(feeds.collect())
}

/// A number that is taken, or a feed that another login makes at this moment, is passed over: the caller looks again.
async fn insert_feeds(db: &mut PgConnection, account: Uuid, wanted: &[(&str, &str)]) -> Result<(), sqlx::Error> {
    let numbers: Vec<i64> = wanted.iter().map(|_| random_feed_number()).collect();
    let epochs: Vec<Vec<u8>> = wanted.iter().map(|_| random_bytes::<8>().to_vec()).collect();
    let (collections, scopes): (Vec<String>, Vec<String>) =
        wanted.iter().map(|(collection, scope)| ((*collection).to_owned(), (*scope).to_owned())).unzip();
    sqlx::query!(
        "INSERT INTO feeds (feed, account, collection, scope, epoch)
         SELECT feed, $1, collection, scope, epoch
         FROM UNNEST($2::bigint[], $3::text[], $4::text[], $5::bytea[]) AS new (feed, collection, scope, epoch)
         WHERE NOT EXISTS (SELECT 1 FROM retired_feeds WHERE retired_feeds.feed = new.feed)
         ON CONFLICT DO NOTHING",
        account,
        &numbers,
        &collections,
        &scopes,
        &epochs
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Never zero: zero stands for "no feed" on the wire.
fn random_feed_number() -> i64 {
    let number = u64::from_le_bytes(random_bytes()) >> (u64::BITS - FEED_BITS);
    number.max(1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_numbers_have_at_most_48_bits() {
        for _ in 0..1000 {
            assert!((1..1 << FEED_BITS).contains(&random_feed_number()));
        }
    }
}
