//! The statements of a transaction, over PostgreSQL.

use std::collections::BTreeSet;

use fitme_core::entry::Digest;
use fitme_core::id::FeedId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::consents::{self, ConsentKeys, Places};
use super::known::{self, Keys};
use super::{Failure, Held, Lock, Transaction, accounts, erasures, rows};
use crate::db::wall;
use crate::ingest::plan::{Candidate, FeedState, Known, KnownGrants, Plan};

/// Every lookup of a group is by an index, whatever its keys: so its statements are planned once for the connection and
/// not for each group, which would take 0.8 ms of it. A plan made while the tables are small would read them whole, and
/// would go on doing so until the next ANALYZE: so such a plan is ruled out.
///
/// The timeout ends a wait for a feed that another transaction holds for long; see [`Held`].
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL plan_cache_mode = force_generic_plan; \
                     SET LOCAL enable_seqscan = off; SET LOCAL lock_timeout = '200ms'";

/// A transaction of ingest, behind the wall.
#[derive(Debug)]
pub struct Postgres<'c>(sqlx::Transaction<'c, sqlx::Postgres>);

impl<'c> Postgres<'c> {
    /// Begins one for these candidates.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(connection: &'c mut PgConnection, candidates: &[Candidate<'_>]) -> Result<Self, Failure> {
        Ok(Self(wall::begin_on(connection, BEGIN, &accounts(candidates)).await?))
    }
}

impl Transaction for Postgres<'_> {
    async fn places(&mut self, keys: &ConsentKeys) -> Result<Places, Failure> {
        Ok(consents::places(&mut self.0, keys).await?)
    }

    async fn lock(&mut self, feeds: &[FeedId], how: Lock, held: Held) -> Result<Vec<(FeedId, FeedState)>, Failure> {
        let feeds: Vec<_> = feeds.iter().map(|feed| feed.0.cast_signed()).collect();
        let rows = locked(&mut self.0, &feeds, how, held).await?;
        Ok(rows.into_iter().map(FeedRow::into_state).collect())
    }

    async fn known(&mut self, keys: &Keys) -> Result<Known, Failure> {
        known::read(&mut self.0, keys).await
    }

    async fn grants(&mut self, keys: &ConsentKeys) -> Result<KnownGrants, Failure> {
        consents::read(&mut self.0, keys).await
    }

    async fn write(
        &mut self,
        plan: &Plan,
        candidates: &[Candidate<'_>],
        places: &Places,
    ) -> Result<BTreeSet<Uuid>, Failure> {
        if !plan.entries.is_empty() {
            rows::write(&mut self.0, plan, candidates).await?;
        }
        erasures::write(&mut self.0, &plan.erasures).await?;
        consents::write(&mut self.0, &plan.consents, places).await
    }

    async fn commit(self) -> Result<(), Failure> {
        Ok(self.0.commit().await?)
    }
}

async fn locked(
    connection: &mut PgConnection,
    feeds: &[i64],
    how: Lock,
    held: Held,
) -> Result<Vec<FeedRow>, sqlx::Error> {
    macro_rules! lock {
        ($strength:tt) => {
            sqlx::query_as!(
                FeedRow,
                "SELECT feed, account, head_seq, digest FROM feeds WHERE feed = ANY ($1) ORDER BY feed " + $strength,
                feeds
            )
            .fetch_all(connection)
            .await
        };
    }
    match (how, held) {
        (Lock::Exclusive, Held::Skip) => lock!("FOR NO KEY UPDATE SKIP LOCKED"),
        (Lock::Exclusive, Held::Wait) => lock!("FOR NO KEY UPDATE"),
        (Lock::Shared, Held::Skip) => lock!("FOR SHARE SKIP LOCKED"),
        (Lock::Shared, Held::Wait) => lock!("FOR SHARE"),
    }
}

struct FeedRow {
    feed: i64,
    account: Uuid,
    head_seq: i64,
    digest: Vec<u8>,
}

impl FeedRow {
    fn into_state(self) -> (FeedId, FeedState) {
        let digest = Digest::from_slice(&self.digest).expect("the table checks that a feed's digest has 16 bytes");
        let head = self.head_seq.cast_unsigned();
        (FeedId(self.feed.cast_unsigned()), FeedState { account: self.account, head, digest })
    }
}
