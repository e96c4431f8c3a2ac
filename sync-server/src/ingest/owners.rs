//! Whose feeds are, and what they hold: needed to check entries before any lock is taken. Neither ever changes, so what
//! was read once stays true; the right to write is asked again under the lock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fitme_core::id::FeedId;
use sqlx::PgPool;
use uuid::Uuid;

use super::check::Target;
use crate::db::wall;

/// Feeds that are remembered; about 100 bytes each. When they are more, all are forgotten and read again as needed.
const REMEMBERED: usize = 200_000;

/// A feed as the table has it.
#[derive(Debug, Clone)]
struct Owner {
    account: Uuid,
    collection: String,
    scope: String,
    grants: FeedId,
}

impl Owner {
    fn target(&self) -> Target {
        Target::of(self.account, &self.collection, &self.scope, self.grants)
    }
}

/// The feeds this node has met.
#[derive(Debug, Default)]
pub struct Owners(Mutex<HashMap<FeedId, Owner>>);

impl Owners {
    /// What each of `feeds` is. Who may write to it is judged later, under its lock.
    pub async fn targets(&self, pool: &PgPool, feeds: &[FeedId]) -> HashMap<FeedId, Target> {
        let mut met = self.met(feeds);
        let unmet: Vec<_> = feeds.iter().filter(|feed| !met.contains_key(feed)).copied().collect();
        let mut otherwise = Target::Nothing;
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
            Some(owner) => owner.target(),
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
    let rows = sqlx::query!(
        r#"SELECT feed AS "feed!", account AS "account!", collection AS "collection!", scope AS "scope!",
                  grants AS "grants!"
           FROM places_of_feeds($1)"#,
        &feeds
    )
    .fetch_all(&mut *wall::of(pool, &[]).await?)
    .await?;
    let owners = rows.into_iter().map(|row| {
        let grants = FeedId(row.grants.cast_unsigned());
        let owner = Owner { account: row.account, collection: row.collection, scope: row.scope, grants };
        (FeedId(row.feed.cast_unsigned()), owner)
    });
    Ok(owners.collect())
}
