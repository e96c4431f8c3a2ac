//! What sessions read of feeds. Nothing here loads a document: a reconnect with nothing new costs index lookups only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ActorId, DocId, EntryId, Epoch, FeedId, Installation};
use fitme_core::policy::{Access, Place};
use fitme_core::session::{Account, AccountFeed, Grants, Page, Received};
use fitme_core::wire::Cursors;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::reads::{self, Read};
use crate::auth::Device;
use crate::bytes::random_bytes;
use crate::db::{wall, whose};
use crate::grants::{self, Granted, Naming};

/// How far a feed has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedHead {
    /// Which feed.
    pub feed: FeedId,
    /// The last number given.
    pub head: u64,
    /// Every entry up to here is merged, and none of a document in quarantine.
    pub merged: u64,
}

/// Reads an account as of one moment: its feeds, their digests at `cursors`, and the last accepted entry of those of
/// `actors` that write for one of its devices. `named` spares reading again what grants name.
///
/// # Errors
/// When the database does not answer.
pub async fn load_account(
    pool: &PgPool,
    account: Uuid,
    cursors: &Cursors,
    actors: &[ActorId],
    named: Option<Named>,
) -> Result<Account, sqlx::Error> {
    let mut tx = wall::begin(pool, wall::BEGIN_READING, &[account]).await?;
    let moment = moment(&mut tx, account).await?;
    let grants = match named {
        Some(named) if named.version == moment.version && named.installation == moment.installation => named.grants,
        _ => naming(&mut tx, account, moment.version).await?,
    };
    let feeds = read_feeds(&mut tx, account, &grants, &moment, cursors).await?;
    let actors = if actors.is_empty() { Vec::new() } else { read_tips(&mut tx, account, actors).await? };
    Ok(Account {
        installation: Installation(fixed(&moment.installation)),
        account: account.into_bytes(),
        clock_ms: moment.clock_ms,
        feeds,
        grants_version: moment.grants_version(),
        actors,
    })
}

/// What an account's sessions may have to be told of.
#[derive(Debug)]
pub struct Named {
    /// Its own feeds, and those that grants to it name, whether the judge lets it read them or not.
    pub feeds: Vec<FeedId>,
    /// Holds for as long as nothing is granted to the account or taken from it, in this database.
    version: Option<i64>,
    installation: Vec<u8>,
    grants: Vec<Naming>,
}

/// Reads which feeds a session of `account` has to hear of before the account is read.
///
/// # Errors
/// When the database does not answer.
pub async fn named(pool: &PgPool, account: Uuid) -> Result<Named, sqlx::Error> {
    let mut tx = wall::begin(pool, wall::BEGIN_READING, &[account]).await?;
    let Moment { installation, version, .. } = moment(&mut tx, account).await?;
    let grants = naming(&mut tx, account, version).await?;
    let own = sqlx::query_scalar!("SELECT feed FROM feeds WHERE account = $1", account).fetch_all(&mut *tx).await?;
    let others = grants.iter().flat_map(|grant| &grant.feeds);
    let feeds = own.iter().chain(others).map(|feed| FeedId(feed.cast_unsigned())).collect();
    Ok(Named { feeds, version, installation, grants })
}

async fn naming(db: &mut PgConnection, account: Uuid, version: Option<i64>) -> Result<Vec<Naming>, sqlx::Error> {
    if version.is_some() { grants::naming(db, account).await } else { Ok(Vec::new()) }
}

/// Reads what others grant `account` now.
///
/// # Errors
/// When the database does not answer.
pub async fn load_grants(pool: &PgPool, account: Uuid) -> Result<Grants, sqlx::Error> {
    let mut tx = wall::begin(pool, wall::BEGIN_READING, &[account]).await?;
    let moment = moment(&mut tx, account).await?;
    let grants = naming(&mut tx, account, moment.version).await?;
    let mut feeds = read_feeds(&mut tx, account, &grants, &moment, &Cursors::default()).await?;
    feeds.retain(|feed| feed.owner != account.into_bytes());
    Ok(Grants { version: moment.grants_version(), feeds })
}

/// When and where something is read.
struct Moment {
    installation: Vec<u8>,
    clock_ms: i64,
    /// Of what others grant; nothing was ever granted to most accounts.
    version: Option<i64>,
}

impl Moment {
    fn grants_version(&self) -> u64 {
        self.version.unwrap_or(0).cast_unsigned()
    }
}

async fn moment(db: &mut PgConnection, account: Uuid) -> Result<Moment, sqlx::Error> {
    sqlx::query_as!(
        Moment,
        r#"SELECT id AS installation, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "clock_ms!",
                  (SELECT version FROM grantees WHERE grantee = $1) AS version
           FROM installation"#,
        account
    )
    .fetch_one(db)
    .await
}

/// The account's own feeds and those that the judge lets it read, ascending. The feeds of all who grant it anything are
/// read at once: that costs less than looking up those that they name.
async fn read_feeds(
    db: &mut PgConnection,
    account: Uuid,
    grants: &[Naming],
    moment: &Moment,
    cursors: &Cursors,
) -> Result<Vec<AccountFeed>, sqlx::Error> {
    let accounts: BTreeSet<_> = grants.iter().map(|grant| grant.owner).chain([account]).collect();
    let accounts = Vec::from_iter(accounts);
    if !grants.is_empty() {
        wall::enter(db, &accounts).await?;
    }
    let rows = read_rows(db, &accounts).await?;
    let places: HashMap<_, _> = rows.iter().filter_map(FeedRow::place).collect();
    let granted = grants::readable(account, grants, &places, moment.clock_ms);
    let numbers: Vec<_> = rows.iter().map(|row| row.feed).collect();
    let behind = read_behind(db, &numbers).await?;
    let mut feeds: Vec<_> = rows
        .into_iter()
        .filter(|row| row.account == account || granted.contains_key(&row.id()))
        .map(|row| {
            let (granted, behind) = (granted.get(&row.id()), behind.get(&row.id()));
            row.into_feed(granted, behind.copied())
        })
        .collect();
    read_digests(db, &mut feeds, cursors).await?;
    Ok(feeds)
}

/// How far those of `feeds` are merged whose merge is behind, or that have documents in quarantine; of all the others every
/// entry is. Few are, and the index that is asked has no others.
async fn read_behind(db: &mut PgConnection, feeds: &[i64]) -> Result<HashMap<FeedId, Merged>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT feed AS "feed!", clean_seq AS "clean!", merged_seq AS "merged_seq!" FROM merges_behind($1)"#,
        feeds
    )
    .fetch_all(db)
    .await?;
    let merged = |clean: i64, folded: i64| Merged { clean: clean.cast_unsigned(), folded: folded.cast_unsigned() };
    Ok(rows.into_iter().map(|row| (FeedId(row.feed.cast_unsigned()), merged(row.clean, row.merged_seq))).collect())
}

/// How far a feed is merged.
#[derive(Debug, Clone, Copy)]
struct Merged {
    /// Without a document in quarantine.
    clean: u64,
    /// Those in quarantine passed over.
    folded: u64,
}

/// The digests at the device's cursors. Most are at the head, whose digest is known, or before the first entry.
async fn read_digests(db: &mut PgConnection, feeds: &mut [AccountFeed], cursors: &Cursors) -> Result<(), sqlx::Error> {
    let mut between = Vec::new();
    for feed in &mut *feeds {
        match cursors.0.get(&feed.feed) {
            Some(0) => feed.digest_at_cursor = Some(Digest::default()),
            Some(cursor) if *cursor == feed.head => feed.digest_at_cursor = Some(feed.head_digest),
            Some(cursor) if *cursor < feed.head => between.push((feed.feed, *cursor)),
            // Beyond the head nothing is known.
            Some(_) | None => {}
        }
    }
    if between.is_empty() {
        return Ok(());
    }
    let (asked, at): (Vec<_>, Vec<_>) =
        between.into_iter().map(|(feed, at)| (feed.0.cast_signed(), at.cast_signed())).unzip();
    // BETWEEN with ORDER BY says "equal"; see ingest's lookups.
    let rows = sqlx::query!(
        "SELECT e.feed, e.digest FROM UNNEST($1::bigint[], $2::bigint[]) AS asked (feed, seq)
         CROSS JOIN LATERAL (
             SELECT feed, digest FROM entries
             WHERE feed = asked.feed AND seq BETWEEN asked.seq AND asked.seq ORDER BY seq LIMIT 1
         ) AS e",
        &asked,
        &at
    )
    .fetch_all(db)
    .await?;
    let digests: HashMap<_, _> =
        rows.into_iter().map(|row| (FeedId(row.feed.cast_unsigned()), digest(&row.digest))).collect();
    for feed in feeds {
        feed.digest_at_cursor = feed.digest_at_cursor.or_else(|| digests.get(&feed.feed).copied());
    }
    Ok(())
}

/// All feeds of these accounts, ascending. There is a row for each of the few places that feeds have, and in it a column for
/// all of them: a trainer has a thousand, and a row of its own for each costs five times as much.
async fn read_rows(db: &mut PgConnection, accounts: &[Uuid]) -> Result<Vec<FeedRow>, sqlx::Error> {
    let places = sqlx::query_as!(
        FeedsOfPlace,
        r#"SELECT collection, scope, array_agg(feed) AS "feeds!", array_agg(account) AS "accounts!",
                  array_agg(head_seq) AS "heads!", string_agg(epoch || digest, '') AS "epochs_and_digests!"
           FROM feeds WHERE account = ANY ($1) GROUP BY collection, scope"#,
        accounts
    )
    .fetch_all(db)
    .await?;
    let mut rows: Vec<_> = places.into_iter().flat_map(FeedsOfPlace::into_rows).collect();
    rows.sort_unstable_by_key(|row| row.feed);
    Ok(rows)
}

/// The feeds of one collection and scope.
struct FeedsOfPlace {
    collection: String,
    scope: String,
    feeds: Vec<i64>,
    accounts: Vec<Uuid>,
    heads: Vec<i64>,
    /// 8 and 16 bytes of each feed.
    epochs_and_digests: Vec<u8>,
}

impl FeedsOfPlace {
    fn into_rows(self) -> impl Iterator<Item = FeedRow> {
        let (collection, scope) = (Arc::<str>::from(self.collection), Arc::<str>::from(self.scope));
        let (histories, _) = self.epochs_and_digests.as_chunks::<24>();
        let histories: Vec<_> = histories.iter().map(|both| (fixed(&both[..8]), fixed(&both[8..]))).collect();
        let numbers = self.feeds.into_iter().zip(self.accounts).zip(self.heads);
        numbers.zip(histories).map(move |(((feed, account), head_seq), (epoch, digest))| FeedRow {
            feed,
            account,
            collection: Arc::clone(&collection),
            scope: Arc::clone(&scope),
            epoch: Epoch(epoch),
            head_seq,
            digest: Digest(u128::from_be_bytes(digest)),
        })
    }
}

struct FeedRow {
    feed: i64,
    account: Uuid,
    collection: Arc<str>,
    scope: Arc<str>,
    epoch: Epoch,
    head_seq: i64,
    digest: Digest,
}

impl FeedRow {
    fn id(&self) -> FeedId {
        FeedId(self.feed.cast_unsigned())
    }

    /// What the judge is told of it; `None` for a collection that only a later version knows.
    fn place(&self) -> Option<(FeedId, Place<'_>)> {
        let collection = Collection::named(&self.collection)?;
        Some((self.id(), Place { owner: self.account.into_bytes(), collection, scope: &self.scope }))
    }

    /// `granted` if it is somebody else's, `merged` if that is not all.
    fn into_feed(self, granted: Option<&Granted>, merged: Option<Merged>) -> AccountFeed {
        let head = self.head_seq.cast_unsigned();
        let merged = merged.unwrap_or(Merged { clean: head, folded: head });
        AccountFeed {
            feed: self.id(),
            owner: self.account.into_bytes(),
            owner_name: granted.map(|granted| Arc::clone(&granted.shown_as)).unwrap_or_default(),
            access: granted.map_or(Access::Write, |granted| granted.access),
            collection: self.collection,
            scope: self.scope,
            epoch: self.epoch,
            head,
            head_digest: self.digest,
            merged: merged.clean,
            folded: merged.folded,
            digest_at_cursor: None,
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(u128::from_be_bytes(fixed(bytes)))
}

async fn read_tips(
    connection: &mut PgConnection,
    account: Uuid,
    actors: &[ActorId],
) -> Result<Vec<(ActorId, EntryId)>, sqlx::Error> {
    let actors: Vec<_> = actors.iter().map(ActorId::as_bytes).collect();
    let rows = sqlx::query!(
        "SELECT actor, last_entry_id FROM actors JOIN devices USING (device) WHERE actor = ANY ($1) AND account = $2",
        &actors as &[&[u8]],
        account
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (ActorId(fixed(&row.actor)), EntryId(fixed(&row.last_entry_id)))).collect())
}

/// Which entries of a feed are wanted: at most `max_entries` after `after`, and so many that their payloads first reach
/// `max_bytes`, but at least one.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Of which feed.
    pub feed: FeedId,
    /// The last number that the device has.
    pub after: u64,
    /// The bound of their payloads.
    pub max_bytes: usize,
    /// The bound of their number.
    pub max_entries: usize,
}

/// Reads a page of one of the account's own feeds.
///
/// # Errors
/// When the database does not answer.
pub async fn read_page(pool: &PgPool, account: Uuid, asked: Asked) -> Result<Page, sqlx::Error> {
    let mut tx = wall::of(pool, &[account]).await?;
    page(&mut tx, asked).await
}

/// Reads a page of somebody else's feed, and notes for its owner that it was read; `None` if the judge does not let `reader`
/// read it.
///
/// # Errors
/// When the database does not answer.
pub async fn read_page_of_other(
    pool: &PgPool,
    reader: Device,
    asked: Asked,
    now_ms: i64,
) -> Result<Option<Page>, sqlx::Error> {
    let mut tx = wall::begin(pool, reads::BEGIN, &[reader.account]).await?;
    let found = whose::by_grant(&mut tx, asked.feed.0.cast_signed(), reader.account).await?;
    let Some(owner) = found else { return Ok(None) };
    let page = page(&mut tx, asked).await?;
    // Judged after it was read: what was appended after a revocation is then never let through.
    let Some(purposes) = grants::may_read(&mut tx, reader.account, owner, asked.feed).await? else { return Ok(None) };
    if let Some(read) = Read::of(&page, owner, reader, purposes) {
        reads::note(&mut tx, &read, now_ms).await?;
        tx.commit().await?;
    }
    Ok(Some(page))
}

async fn page(db: &mut PgConnection, asked: Asked) -> Result<Page, sqlx::Error> {
    let Asked { feed, after, max_bytes, max_entries } = asked;
    // The lengths are known without reading the payloads: those beyond the page are never fetched from their pages.
    let rows = sqlx::query_as!(
        EntryRow,
        r#"SELECT f.head_seq, p.seq AS "seq?", p.entry_id AS "entry_id?", p.kind AS "kind?", p.doc_id AS "doc_id?",
                  p.device_time AS "device_time?", p.salt, p.payload
           FROM feeds f
           LEFT JOIN LATERAL (
               SELECT * FROM (
                   SELECT *, sum(bytes) OVER (ORDER BY seq) - bytes AS bytes_before
                   FROM (SELECT *, COALESCE(octet_length(payload), 0) AS bytes
                         FROM entries WHERE feed = f.feed AND seq > $2 ORDER BY seq LIMIT $4) AS next
               ) AS sized
               WHERE bytes_before < $3
           ) AS p ON true
           WHERE f.feed = $1
           ORDER BY p.seq"#,
        feed.0.cast_signed(),
        after.cast_signed(),
        max_bytes as i64,
        max_entries as i64
    )
    .fetch_all(db)
    .await?;
    let head = rows.first().map_or(0, |row| row.head_seq.cast_unsigned());
    let found = rows.iter().filter(|row| row.seq.is_some()).count();
    let in_order = (after + 1..).zip(rows).take_while(|(seq, row)| row.seq == Some(seq.cast_signed()));
    let entries: Vec<_> = in_order.filter_map(|(_, row)| row.into_received()).collect();
    // Where a row is gone, those behind it wait until a device has brought it back, as if they were not there.
    let head = if entries.len() < found { after + entries.len() as u64 } else { head };
    Ok(Page { feed, after, entries, head })
}

/// An entry, or a feed without any that were asked for.
struct EntryRow {
    head_seq: i64,
    seq: Option<i64>,
    entry_id: Option<Vec<u8>>,
    kind: Option<i16>,
    doc_id: Option<Vec<u8>>,
    device_time: Option<i64>,
    salt: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
}

impl EntryRow {
    fn into_received(self) -> Option<Received> {
        let (id, is_gone) = (EntryId(fixed(&self.entry_id?)), self.payload.is_none());
        let entry = Entry {
            kind: i32::from(self.kind?),
            doc_id: DocId(fixed(&self.doc_id?)),
            device_time: self.device_time?,
            salt: self.salt.as_deref().map_or([0; 8], fixed),
            payload: self.payload.unwrap_or_default(),
        };
        // What is damaged is as if it were gone, until a device has brought it back: its id counts, what it holds does not.
        let emptied = is_gone || entry.id() != id;
        Some(Received { id, entry, emptied })
    }
}

/// Gives these feeds of the account new epochs, because a device holds another history of them.
///
/// # Errors
/// When the database does not answer.
pub async fn renew_epochs(pool: &PgPool, account: Uuid, feeds: &[FeedId]) -> Result<Vec<(FeedId, Epoch)>, sqlx::Error> {
    let numbers: Vec<_> = feeds.iter().map(|feed| feed.0.cast_signed()).collect();
    let epochs: Vec<[u8; 8]> = feeds.iter().map(|_| random_bytes()).collect();
    let mut tx = wall::of(pool, &[account]).await?;
    // Locked in ascending order first, like ingest does it.
    let rows = sqlx::query!(
        "WITH locked AS (
             SELECT feed FROM feeds WHERE account = $1 AND feed = ANY ($2) ORDER BY feed FOR NO KEY UPDATE
         )
         UPDATE feeds SET epoch = new.epoch, touched_at = clock_timestamp()
         FROM locked JOIN UNNEST($2::bigint[], $3::bytea[]) AS new (feed, epoch) USING (feed)
         WHERE feeds.feed = locked.feed
         RETURNING feeds.feed, feeds.epoch",
        account,
        &numbers,
        &epochs as &[[u8; 8]]
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows.into_iter().map(|row| (FeedId(row.feed.cast_unsigned()), Epoch(fixed(&row.epoch)))).collect())
}

/// Feeds that got entries within `window`, by the database's clock. An append becomes visible later than the time it
/// carries, by as long as its transaction takes, so windows must overlap.
///
/// # Errors
/// When the database does not answer.
pub async fn changed_since(connection: &mut PgConnection, window: Duration) -> Result<Vec<FeedHead>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT f.feed AS "feed!", f.head_seq AS "head_seq!", COALESCE(q.clean_seq, q.merged_seq, 0) AS "merged!"
           FROM feeds f LEFT JOIN merge_queue q ON q.feed = f.feed
           WHERE f.touched_at > clock_timestamp() - make_interval(secs => $1)"#,
        window.as_secs_f64()
    )
    .fetch_all(connection)
    .await?;
    let head = |feed: i64, head: i64, merged: i64| FeedHead {
        feed: FeedId(feed.cast_unsigned()),
        head: head.cast_unsigned(),
        merged: merged.cast_unsigned(),
    };
    Ok(rows.into_iter().map(|row| head(row.feed, row.head_seq, row.merged)).collect())
}

/// Ids and digests are written by this server with the length they have.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("ids and digests are stored with the length they have")
}
