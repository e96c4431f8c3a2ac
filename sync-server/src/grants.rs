//! What grants permit now, as the database has it; `policy::judge` decides what follows from it. Ingest writes the tables,
//! in the transaction that appends the grant.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::id::{DocId, FeedId};
use fitme_core::limits;
use fitme_core::policy::{Access, Action, Permit, Place, judge};
use sqlx::PgConnection;
use uuid::Uuid;

/// Somebody else's feed that an account may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Which feed.
    pub feed: FeedId,
    /// Whose it is.
    pub owner: Uuid,
    /// How far.
    pub access: Access,
    /// The name under which the owner wants to be seen.
    pub shown_as: String,
}

/// All that is granted to an account, as one reading of the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantedTo {
    /// Moves with each change; of two readings the one with the higher number is later.
    pub version: u64,
    /// The feeds that the judge lets it read at that moment, ascending.
    pub feeds: Vec<Granted>,
}

/// What the owners permit, each with its grant.
type Permits = HashMap<(Uuid, Uuid), Vec<(DocId, Permit)>>;

/// What each owner permits each grantee, by lookups as in ingest's `known.sql`, and the database's clock in ms UTC.
///
/// # Errors
/// When the database does not answer.
pub async fn permits(db: &mut PgConnection, pairs: &[(Uuid, Uuid)]) -> Result<(i64, Permits), sqlx::Error> {
    let (owners, grantees): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let rows = sqlx::query_as!(
        PermitRow,
        r#"SELECT g.account, g.grantee, g.grant_id, g.feed, g.access, g.shown_as, g.from_ms, g.until_ms,
                  f.collection, f.scope
           FROM UNNEST($1::uuid[], $2::uuid[]) AS asked (account, grantee)
           CROSS JOIN LATERAL (
               SELECT * FROM grants_now WHERE grantee = asked.grantee AND account = asked.account LIMIT $3
           ) AS g
           CROSS JOIN LATERAL (SELECT collection, scope FROM feeds WHERE feed = g.feed LIMIT 1) AS f"#,
        &owners,
        &grantees,
        limits::GRANTED_FEEDS_OF_AN_ACCOUNT.cast_signed()
    )
    .fetch_all(&mut *db)
    .await?;
    let mut permits = Permits::new();
    for row in rows {
        if let Some(permit) = row.permit() {
            permits.entry((row.account, row.grantee)).or_default().push(permit);
        }
    }
    Ok((now_ms(db).await?, permits))
}

/// All feeds of others that `grantee`, who is in the transaction's list, may read now.
///
/// # Errors
/// When the database does not answer.
pub async fn granted_to(db: &mut PgConnection, grantee: Uuid) -> Result<GrantedTo, sqlx::Error> {
    let version = sqlx::query_scalar!("SELECT version FROM grantees WHERE grantee = $1", grantee)
        .fetch_optional(&mut *db)
        .await?;
    // Nothing was ever granted to most accounts.
    let Some(version) = version else { return Ok(GrantedTo::default()) };
    let rows = sqlx::query_as!(
        PermitRow,
        r#"SELECT g.account, g.grantee, g.grant_id, g.feed, g.access, g.shown_as, g.from_ms, g.until_ms,
                  f.collection AS "collection!", f.scope AS "scope!"
           FROM places_of_feeds(ARRAY(SELECT feed FROM grants_now WHERE grantee = $1)) f
           JOIN grants_now g USING (feed) WHERE g.grantee = $1 ORDER BY g.account, g.feed, g.grant_id"#,
        grantee
    )
    .fetch_all(&mut *db)
    .await?;
    let now_ms = now_ms(db).await?;
    let feeds = rows.chunk_by(|a, b| a.account == b.account).flat_map(|of_owner| readable(grantee, of_owner, now_ms));
    let mut feeds: Vec<_> = feeds.collect();
    feeds.sort_by_key(|granted| granted.feed);
    Ok(GrantedTo { version: version.cast_unsigned(), feeds })
}

/// The feeds of one owner that the judge lets the grantee read.
fn readable(grantee: Uuid, rows: &[PermitRow], now_ms: i64) -> Vec<Granted> {
    let permits: Vec<_> = rows.iter().filter_map(PermitRow::permit).map(|(_, permit)| permit).collect();
    let mut feeds = BTreeMap::new();
    for row in rows {
        let Some(place) = row.place() else { continue };
        let may = |action| judge(grantee.into_bytes(), action, place, &permits, now_ms).is_ok();
        if may(Action::Read) {
            let access = if may(Action::Write) { Access::Write } else { Access::Read };
            let (feed, shown_as) = (FeedId(row.feed.cast_unsigned()), row.shown_as.clone());
            feeds.insert(feed, Granted { feed, owner: row.account, access, shown_as });
        }
    }
    feeds.into_values().collect()
}

/// Whether `who` may read a feed of `owner` now. Both are in the transaction's list.
///
/// # Errors
/// When the database does not answer.
pub async fn may_read(db: &mut PgConnection, who: Uuid, owner: Uuid, feed: FeedId) -> Result<bool, sqlx::Error> {
    let (feed, account) = (feed.0.cast_signed(), owner);
    let found = sqlx::query!("SELECT collection, scope FROM feeds WHERE feed = $1 AND account = $2", feed, account)
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = found else { return Ok(false) };
    let Some(collection) = Collection::named(&row.collection) else { return Ok(false) };
    let (now_ms, permits) = permits(db, &[(owner, who)]).await?;
    let permits: Vec<_> = permits.into_values().flatten().map(|(_, permit)| permit).collect();
    let place = Place { owner: owner.into_bytes(), collection, scope: &row.scope };
    Ok(judge(who.into_bytes(), Action::Read, place, &permits, now_ms).is_ok())
}

/// Accounts to which something was granted or from which it was taken by a grant or a revocation within `window` by the
/// database's clock, each with the version that it has now.
///
/// # Errors
/// When the database does not answer.
pub async fn changed_since(db: &mut PgConnection, window: Duration) -> Result<Vec<(Uuid, u64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT grantee, version FROM grantees WHERE changed_at > clock_timestamp() - make_interval(secs => $1)",
        window.as_secs_f64()
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.grantee, row.version.cast_unsigned())).collect())
}

/// Accounts for which the time of a grant began or ended within `window` by the database's clock.
///
/// # Errors
/// When the database does not answer.
pub async fn turned_within(db: &mut PgConnection, window: Duration) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH clock AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms)
           SELECT grantee AS "grantee!" FROM clock, grants_now WHERE from_ms > now_ms - $1 AND from_ms <= now_ms
           UNION
           SELECT grantee FROM clock, grants_now WHERE until_ms > now_ms - $1 AND until_ms <= now_ms"#,
        i64::try_from(window.as_millis()).unwrap_or(i64::MAX)
    )
    .fetch_all(db)
    .await
}

async fn now_ms(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "ms!""#).fetch_one(db).await
}

struct PermitRow {
    account: Uuid,
    grantee: Uuid,
    grant_id: Vec<u8>,
    feed: i64,
    access: String,
    shown_as: String,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
    collection: String,
    scope: String,
}

impl PermitRow {
    /// `None` for what only a later version can have written.
    fn permit(&self) -> Option<(DocId, Permit)> {
        let permit = Permit {
            collection: Collection::named(&self.collection)?,
            scope: self.scope.clone(),
            access: Access::named(&self.access)?,
            from_ms: self.from_ms,
            until_ms: self.until_ms,
        };
        Some((DocId::from_slice(&self.grant_id)?, permit))
    }

    fn place(&self) -> Option<Place<'_>> {
        let collection = Collection::named(&self.collection)?;
        Some(Place { owner: self.account.into_bytes(), collection, scope: &self.scope })
    }
}
