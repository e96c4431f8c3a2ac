//! What grants permit now, as the database has it; `policy::judge` decides what follows from it. Ingest writes the tables,
//! in the transaction that appends the grant.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::id::{DocId, FeedId};
use fitme_core::limits;
use fitme_core::policy::{Access, Action, Permit, Place, judge};
use sqlx::PgConnection;
use uuid::Uuid;

/// How an account may see somebody else's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// How far.
    pub access: Access,
    /// The name under which the owner wants to be seen.
    pub shown_as: Arc<str>,
}

/// A grant as it names its owner's feeds, whether it holds at this moment or not.
#[derive(Debug)]
pub struct Naming {
    /// Whose they are.
    pub owner: Uuid,
    /// Their numbers.
    pub feeds: Vec<i64>,
    /// How far the grant goes.
    pub access: String,
    /// The name under which the owner wants to be seen.
    pub shown_as: Arc<str>,
    /// Valid from then on.
    pub from_ms: Option<i64>,
    /// Valid before then.
    pub until_ms: Option<i64>,
}

/// What the owners permit, each with its grant.
type Permits = HashMap<(Uuid, Uuid), Vec<(DocId, Permit)>>;

/// What each owner permits each grantee, by lookups as in ingest's `known.sql`, and the database's clock in ms UTC.
///
/// # Errors
/// When the database does not answer.
pub async fn permits(db: &mut PgConnection, pairs: &[(Uuid, Uuid)]) -> Result<(i64, Permits), sqlx::Error> {
    let mut permits = Permits::new();
    for row in permit_rows(db, pairs).await? {
        if let Some(permit) = row.permit() {
            permits.entry((row.account, row.grantee)).or_default().push(permit);
        }
    }
    Ok((now_ms(db).await?, permits))
}

async fn permit_rows(db: &mut PgConnection, pairs: &[(Uuid, Uuid)]) -> Result<Vec<PermitRow>, sqlx::Error> {
    let (owners, grantees): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    sqlx::query_as!(
        PermitRow,
        r#"SELECT g.account, g.grantee, g.grant_id, g.access, g.purpose, g.from_ms, g.until_ms, f.collection, f.scope
           FROM UNNEST($1::uuid[], $2::uuid[]) AS asked (account, grantee)
           CROSS JOIN LATERAL (
               SELECT * FROM grants_now WHERE grantee = asked.grantee AND account = asked.account LIMIT $3
           ) AS g
           CROSS JOIN LATERAL (SELECT collection, scope FROM feeds WHERE feed = g.feed LIMIT 1) AS f"#,
        &owners,
        &grantees,
        limits::GRANTED_FEEDS_OF_AN_ACCOUNT.cast_signed()
    )
    .fetch_all(db)
    .await
}

/// Others' grants to `grantee`, who is in the transaction's list, by their owners; of one owner the later ones come later.
/// There is a row for each grant and none for each feed: a trainer has a thousand.
///
/// # Errors
/// When the database does not answer.
pub async fn naming(db: &mut PgConnection, grantee: Uuid) -> Result<Vec<Naming>, sqlx::Error> {
    let mut rows = sqlx::query!(
        r#"SELECT account, grant_id, access, shown_as, from_ms, until_ms, array_agg(feed) AS "feeds!"
           FROM grants_now WHERE grantee = $1 GROUP BY account, grant_id, access, shown_as, from_ms, until_ms"#,
        grantee
    )
    .fetch_all(db)
    .await?;
    rows.sort_unstable_by(|a, b| (a.account, &a.grant_id).cmp(&(b.account, &b.grant_id)));
    let grants = rows.into_iter().map(|row| Naming {
        owner: row.account,
        feeds: row.feeds,
        access: row.access,
        shown_as: row.shown_as.into(),
        from_ms: row.from_ms,
        until_ms: row.until_ms,
    });
    Ok(grants.collect())
}

/// Those of the named feeds that the judge lets `grantee` read. `grants` are by their owners, and of two that name one feed
/// the later one says how its owner wants to be seen; `places` is what feeds are.
#[must_use]
pub fn readable(
    grantee: Uuid,
    grants: &[Naming],
    places: &HashMap<FeedId, Place<'_>>,
    now_ms: i64,
) -> HashMap<FeedId, Granted> {
    let mut granted = HashMap::with_capacity(places.len());
    for of_owner in grants.chunk_by(|a, b| a.owner == b.owner) {
        let permits: Vec<_> = of_owner.iter().flat_map(|grant| grant.permits(places)).collect();
        for (grant, feed) in of_owner.iter().flat_map(|grant| grant.feeds().map(move |feed| (grant, feed))) {
            let Some(place) = places.get(&feed) else { continue };
            let may = |action| judge(grantee.into_bytes(), action, *place, &permits, now_ms).is_ok();
            if may(Action::Read) {
                let access = if may(Action::Write) { Access::Write } else { Access::Read };
                granted.insert(feed, Granted { access, shown_as: Arc::clone(&grant.shown_as) });
            }
        }
    }
    granted
}

impl Naming {
    fn feeds(&self) -> impl Iterator<Item = FeedId> {
        self.feeds.iter().map(|feed| FeedId(feed.cast_unsigned()))
    }

    /// Without those that only a later version can have written.
    fn permits(&self, places: &HashMap<FeedId, Place<'_>>) -> impl Iterator<Item = Permit> {
        let access = Access::named(&self.access);
        let places = self.feeds().filter_map(|feed| places.get(&feed));
        places.zip(std::iter::repeat(access)).filter_map(|(place, access)| {
            Some(Permit {
                collection: place.collection,
                scope: place.scope.to_owned(),
                access: access?,
                from_ms: self.from_ms,
                until_ms: self.until_ms,
            })
        })
    }
}

/// What for `who` may read a feed of `owner` now: the purposes of the grants, sorted; `None` if they may not. Both are in the
/// transaction's list.
///
/// # Errors
/// When the database does not answer.
pub async fn may_read(
    db: &mut PgConnection,
    who: Uuid,
    owner: Uuid,
    feed: FeedId,
) -> Result<Option<Vec<String>>, sqlx::Error> {
    let (feed, account) = (feed.0.cast_signed(), owner);
    let found = sqlx::query!("SELECT collection, scope FROM feeds WHERE feed = $1 AND account = $2", feed, account)
        .fetch_optional(&mut *db)
        .await?;
    let Some(found) = found else { return Ok(None) };
    let Some(collection) = Collection::named(&found.collection) else { return Ok(None) };
    let rows = permit_rows(db, &[(owner, who)]).await?;
    let now_ms = now_ms(db).await?;
    let permits: Vec<_> = rows.iter().filter_map(PermitRow::permit).map(|(_, permit)| permit).collect();
    let place = Place { owner: owner.into_bytes(), collection, scope: &found.scope };
    if judge(who.into_bytes(), Action::Read, place, &permits, now_ms).is_err() {
        return Ok(None);
    }
    let of_feed = rows.iter().filter(|row| row.collection == found.collection && row.scope == found.scope);
    let valid = of_feed.filter(|row| row.permit().is_some_and(|(_, permit)| permit.allows(Access::Read, now_ms)));
    let purposes: BTreeSet<_> = valid.map(|row| row.purpose.clone()).collect();
    Ok(Some(purposes.into_iter().collect()))
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

/// The database's clock in ms UTC.
pub(crate) async fn now_ms(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "ms!""#).fetch_one(db).await
}

struct PermitRow {
    account: Uuid,
    grantee: Uuid,
    grant_id: Vec<u8>,
    access: String,
    purpose: String,
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
}
