//! What a group needs of the grants, and what it changes about them. Most groups need and change nothing; then nothing is
//! asked of the database.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fitme_core::id::{DocId, FeedId};
use fitme_core::policy::{Access, Permit, Service};
use fitme_core::record::grant::GRANTED_FEEDS;
use fitme_core::record::{Consent, Given};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Failure;
use crate::audit::{self, Event, event};
use crate::endings;
use crate::grants;
use crate::ingest::check::Offer;
use crate::ingest::plan::{Candidate, KnownGrants, NewConsent};

/// What has to be asked about grants.
#[derive(Debug, Default)]
pub struct ConsentKeys {
    /// (owner, grantee) of those who write to somebody else's feed.
    pub others: BTreeSet<(Uuid, Uuid)>,
    /// Accounts that grant or revoke something.
    pub accounts: BTreeSet<Uuid>,
    /// Accounts that grant something.
    pub granting: BTreeSet<Uuid>,
    /// (account, grant) that are revoked.
    pub revoking: BTreeSet<(Uuid, DocId)>,
    /// (account, grantee) of new grants.
    pub relations: BTreeSet<(Uuid, Uuid)>,
    /// (account, document) of new grants and revocations.
    pub documents: BTreeSet<(Uuid, DocId)>,
    /// Accounts to which something is granted. Everybody may grant a service something: counting that would take longer
    /// with each, so services are not among them.
    pub grantees: BTreeSet<Uuid>,
}

impl ConsentKeys {
    /// Those of a group; most have none.
    #[must_use]
    pub fn of(candidates: &[Candidate<'_>]) -> Self {
        let mut keys = Self::default();
        for Candidate { device, offer } in candidates {
            let account = device.account;
            keys.others.extend(offer.place.as_ref().map(|place| (place.owner, account)));
            let Some(consent) = &offer.consent else { continue };
            keys.accounts.insert(account);
            keys.documents.insert((account, offer.entry.doc_id));
            match consent {
                Consent::Given(given) => {
                    let grantee = Uuid::from_bytes(given.grantee);
                    keys.granting.insert(account);
                    keys.relations.insert((account, grantee));
                    keys.grantees.extend(Service::of(given.grantee).is_none().then_some(grantee));
                }
                Consent::Revoked(grant) => drop(keys.revoking.insert((account, *grant))),
            }
        }
        keys.others.retain(|(owner, who)| owner != who);
        keys
    }
}

/// The feeds that a group's grants and revocations are about.
#[derive(Debug, Default)]
pub struct Places {
    /// Their numbers by (account, collection, scope), which never change.
    pub feeds: BTreeMap<(Uuid, String, String), FeedId>,
    /// What grants name that are revoked, by (account, grant). A grant that comes in between is not among them; its revocation
    /// waits for it all the same, at the row of the `grants` feed.
    pub named: BTreeMap<(Uuid, DocId), Vec<FeedId>>,
}

impl Places {
    /// The feeds that the offer's grant or revocation is about.
    #[must_use]
    pub fn of(&self, offer: &Offer) -> Vec<FeedId> {
        let Some(place) = &offer.place else { return Vec::new() };
        match &offer.consent {
            Some(Consent::Given(given)) => {
                given.permits.iter().filter_map(|permit| self.feed(place.owner, permit)).collect()
            }
            Some(Consent::Revoked(grant)) => self.named.get(&(place.owner, *grant)).cloned().unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// The feed that a permit is about.
    #[must_use]
    pub fn feed(&self, account: Uuid, permit: &Permit) -> Option<FeedId> {
        self.feeds.get(&(account, permit.collection.name().to_owned(), permit.scope.clone())).copied()
    }
}

pub(super) async fn places(connection: &mut PgConnection, keys: &ConsentKeys) -> Result<Places, sqlx::Error> {
    let mut places = Places::default();
    if !keys.granting.is_empty() {
        places.feeds = feeds_of(connection, &Vec::from_iter(keys.granting.iter().copied())).await?;
    }
    if !keys.revoking.is_empty() {
        places.named = named_by(connection, &keys.revoking).await?;
    }
    Ok(places)
}

async fn feeds_of(
    connection: &mut PgConnection,
    accounts: &[Uuid],
) -> Result<BTreeMap<(Uuid, String, String), FeedId>, sqlx::Error> {
    let rows = sqlx::query!("SELECT feed, account, collection, scope FROM feeds WHERE account = ANY ($1)", accounts)
        .fetch_all(connection)
        .await?;
    let place =
        rows.into_iter().map(|row| ((row.account, row.collection, row.scope), FeedId(row.feed.cast_unsigned())));
    Ok(place.collect())
}

async fn named_by(
    connection: &mut PgConnection,
    grants: &BTreeSet<(Uuid, DocId)>,
) -> Result<BTreeMap<(Uuid, DocId), Vec<FeedId>>, sqlx::Error> {
    let (accounts, ids): (Vec<_>, Vec<_>) = grants.iter().map(|(account, grant)| (*account, grant.as_bytes())).unzip();
    let rows = sqlx::query!(
        "SELECT g.account, g.grant_id, g.feed FROM UNNEST($1::uuid[], $2::bytea[]) AS asked (account, grant_id)
         CROSS JOIN LATERAL (
             SELECT account, grant_id, feed FROM grants_now
             WHERE account = asked.account AND grant_id = asked.grant_id LIMIT $3
         ) AS g",
        &accounts,
        &ids as &[&[u8]],
        GRANTED_FEEDS as i64
    )
    .fetch_all(connection)
    .await?;
    let mut named = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        if let Some(grant) = DocId::from_slice(&row.grant_id) {
            named.entry((row.account, grant)).or_default().push(FeedId(row.feed.cast_unsigned()));
        }
    }
    Ok(named)
}

pub(super) async fn read(connection: &mut PgConnection, keys: &ConsentKeys) -> Result<KnownGrants, Failure> {
    let mut known = KnownGrants::default();
    if !keys.others.is_empty() {
        let others: Vec<_> = keys.others.iter().copied().collect();
        (known.now_ms, known.permits) = grants::permits(connection, &others).await?;
    }
    if !keys.documents.is_empty() {
        let accounts: Vec<_> = keys.accounts.iter().copied().collect();
        let grantees: Vec<_> = keys.grantees.iter().copied().collect();
        known.relations = relations(connection, &keys.relations).await?;
        known.feeds = granted_feeds(connection, &accounts).await?;
        known.revoked = revoked(connection, &keys.documents).await?;
        known.received = received_feeds(connection, &grantees).await?;
    }
    Ok(known)
}

async fn relations(
    connection: &mut PgConnection,
    pairs: &BTreeSet<(Uuid, Uuid)>,
) -> Result<HashSet<(Uuid, Uuid)>, sqlx::Error> {
    let (accounts, grantees): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let rows = sqlx::query!(
        "SELECT found.account, found.grantee FROM UNNEST($1::uuid[], $2::uuid[]) AS asked (account, grantee)
         CROSS JOIN LATERAL (
             SELECT account, grantee FROM relations WHERE account = asked.account AND grantee = asked.grantee LIMIT 1
         ) AS found",
        &accounts,
        &grantees
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account, row.grantee)).collect())
}

/// Feeds that the grants of each account name, without those that are over.
async fn granted_feeds(connection: &mut PgConnection, accounts: &[Uuid]) -> Result<HashMap<Uuid, u64>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT account, count(*) AS "feeds!" FROM grants_now
           WHERE account = ANY ($1) AND (until_ms IS NULL OR until_ms > extract(epoch FROM clock_timestamp()) * 1000)
           GROUP BY account"#,
        accounts
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account, row.feeds.cast_unsigned())).collect())
}

/// Feeds that others grant each of the grantees already.
async fn received_feeds(connection: &mut PgConnection, grantees: &[Uuid]) -> Result<HashMap<Uuid, u64>, sqlx::Error> {
    let rows = sqlx::query!(r#"SELECT grantee AS "grantee!", feeds AS "feeds!" FROM feeds_granted_to($1)"#, grantees)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.grantee, row.feeds.cast_unsigned())).collect())
}

async fn revoked(
    connection: &mut PgConnection,
    documents: &BTreeSet<(Uuid, DocId)>,
) -> Result<HashSet<(Uuid, DocId)>, sqlx::Error> {
    let (accounts, grants): (Vec<_>, Vec<_>) =
        documents.iter().map(|(account, grant)| (*account, grant.as_bytes())).unzip();
    let rows = sqlx::query!(
        "SELECT found.account, found.grant_id FROM UNNEST($1::uuid[], $2::bytea[]) AS asked (account, grant_id)
         CROSS JOIN LATERAL (
             SELECT account, grant_id FROM revocations
             WHERE account = asked.account AND grant_id = asked.grant_id LIMIT 1
         ) AS found",
        &accounts,
        &grants as &[&[u8]]
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.account, DocId::from_slice(&row.grant_id)?))).collect())
}

/// Writes what follows from the group's grants and revocations; returns whose permissions it changed.
pub(super) async fn write(
    connection: &mut PgConnection,
    consents: &[NewConsent],
    places: &Places,
) -> Result<BTreeSet<Uuid>, Failure> {
    let mut regranted = BTreeSet::new();
    // In order: chains are appended to in ascending order of accounts.
    let mut events: BTreeMap<Uuid, Vec<Event>> = BTreeMap::new();
    for NewConsent { account, grant, by, given } in consents {
        let event = match given {
            Some(given) => {
                insert(connection, *account, *grant, given, places).await?;
                regranted.insert(Uuid::from_bytes(given.grantee));
                granted(*grant, given, *by)
            }
            None => {
                let grantees = revoke(connection, *account, *grant).await?;
                regranted.extend(&grantees);
                Event::GrantRevoked { grant: grant.to_string(), grantee: grantees.first().copied(), by: *by }
            }
        };
        events.entry(*account).or_default().push(event);
    }
    if !regranted.is_empty() {
        let grantees: Vec<_> = regranted.iter().copied().collect();
        sqlx::query!(r#"SELECT note_regranted($1)::text AS "noted""#, &grantees).fetch_one(&mut *connection).await?;
    }
    if !events.is_empty() {
        let now_ms = grants::now_ms(connection).await?;
        for (account, events) in events {
            audit::append(connection, account, events.into_iter().map(|event| (now_ms, event))).await?;
        }
    }
    Ok(regranted)
}

/// A grant as its giver's records of access have it.
fn granted(grant: DocId, given: &Given, by: Uuid) -> Event {
    let feed = |permit: &Permit| {
        let name = event::feed_name(permit.collection.name(), &permit.scope);
        if permit.access == Access::Write { format!("{name}:write") } else { name }
    };
    let window = given.permits.first();
    Event::Granted {
        grant: grant.to_string(),
        grantee: Uuid::from_bytes(given.grantee),
        role: given.role.name(),
        purpose: given.purpose.name(),
        feeds: given.permits.iter().map(feed).collect(),
        from: window.and_then(|permit| permit.from_ms),
        until: window.and_then(|permit| permit.until_ms),
        by,
    }
}

async fn insert(
    connection: &mut PgConnection,
    account: Uuid,
    grant: DocId,
    given: &Given,
    places: &Places,
) -> Result<(), Failure> {
    let granted = given.permits.iter().filter_map(|permit| Some((places.feed(account, permit)?, permit)));
    let (feeds, access): (Vec<_>, Vec<_>) =
        granted.map(|(feed, permit)| (feed.0.cast_signed(), permit.access.name().to_owned())).unzip();
    let window = given.permits.first();
    sqlx::query!(
        "INSERT INTO grants_now (account, grant_id, grantee, purpose, shown_as, from_ms, until_ms, feed, access)
         SELECT $1, $2, $3, $4, $5, $6, $7, feed, max(access)
         FROM UNNEST($8::bigint[], $9::text[]) AS new (feed, access) GROUP BY feed",
        account,
        grant.as_bytes(),
        Uuid::from_bytes(given.grantee),
        given.purpose.name(),
        given.shown_as,
        window.and_then(|permit| permit.from_ms),
        window.and_then(|permit| permit.until_ms),
        &feeds,
        &access
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn revoke(connection: &mut PgConnection, account: Uuid, grant: DocId) -> Result<Vec<Uuid>, Failure> {
    endings::note_grant(connection, account, grant).await?;
    sqlx::query!(
        "INSERT INTO revocations (account, grant_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        account,
        grant.as_bytes()
    )
    .execute(&mut *connection)
    .await?;
    let grantees = sqlx::query_scalar!(
        "DELETE FROM grants_now WHERE account = $1 AND grant_id = $2 RETURNING grantee",
        account,
        grant.as_bytes()
    )
    .fetch_all(connection)
    .await?;
    Ok(grantees)
}
