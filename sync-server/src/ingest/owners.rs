//! Whose feeds are, and what they hold: needed to check entries before any lock is taken. Neither ever changes, so what
//! was read once stays true; the right to write is asked again under the lock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fitme_core::collection::Collection;
use fitme_core::id::FeedId;
use sqlx::PgPool;
use uuid::Uuid;

use super::check::Target;

/// Feeds that are remembered; about 100 bytes each. When they are more, all are forgotten and read again as needed.
const REMEMBERED: usize = 200_000;

#[derive(Debug, Clone)]
struct Owner {
    account: Uuid,
    collection: String,
}

/// The feeds this node has met.
#[derive(Debug, Default)]
pub struct Owners(Mutex<HashMap<FeedId, Owner>>);

impl Owners {
    /// What each of `feeds` is to `account`. One that does not exist is nobody's.
    pub async fn targets(&self, pool: &PgPool, account: Uuid, feeds: &[FeedId]) -> HashMap<FeedId, Target> {
        let mut met = self.met(feeds);
        let unmet: Vec<_> = feeds.iter().filter(|feed| !met.contains_key(feed)).copied().collect();
        let mut otherwise = Target::NotYours;
        if !unmet.is_empty() {
            match read(pool, &unmet).await {
                Ok(read) => {
                    self.meet(&read);
                    met.extend(read);
                }
                Err(error) => {
                    tracing::warn!(%error, "could not read whose feeds are");
                    otherwise = Target::Unknown;
                }
            }
        }
        let target = |feed: &FeedId| match met.get(feed) {
            Some(owner) if owner.account != account => Target::NotYours,
            Some(owner) => match Collection::named(&owner.collection).filter(|collection| collection.is_served()) {
                Some(collection) => Target::Own(collection),
                None => Target::Unserved(owner.collection.clone()),
            },
            None => otherwise.clone(),
        };
        feeds.iter().map(|feed| (*feed, target(feed))).collect()
    }

    fn met(&self, feeds: &[FeedId]) -> HashMap<FeedId, Owner> {
        let met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.iter().filter_map(|feed| Some((*feed, met.get(feed)?.clone()))).collect()
    }

    fn meet(&self, owners: &HashMap<FeedId, Owner>) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() + owners.len() > REMEMBERED {
            met.clear();
        }
        met.extend(owners.iter().map(|(feed, owner)| (*feed, owner.clone())));
    }
}

async fn read(pool: &PgPool, feeds: &[FeedId]) -> Result<HashMap<FeedId, Owner>, sqlx::Error> {
    let feeds: Vec<_> = feeds.iter().map(|feed| feed.0.cast_signed()).collect();
    let rows = sqlx::query!("SELECT feed, account, collection FROM feeds WHERE feed = ANY ($1)", &feeds)
        .fetch_all(pool)
        .await?;
    let owner = |account, collection| Owner { account, collection };
    Ok(rows.into_iter().map(|row| (FeedId(row.feed.cast_unsigned()), owner(row.account, row.collection))).collect())
}
