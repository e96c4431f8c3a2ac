//! Who this home belongs to. Until it belongs to an account everything is logged under local feed numbers; at adoption
//! the feeds get the server's numbers and what was logged is pushed like anything else.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngCore;
use rusqlite::{OptionalExtension, TransactionBehavior};

use super::tokens::{Tokens, set_tokens};
use super::{Store, StoreError, set_meta};
use crate::entry::Digest;
use crate::id::{ActorId, EntryId, Epoch, FeedId, Installation};
use crate::wire::FeedGranted;

/// The account and device of a home.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Account id, 16 bytes.
    pub account: [u8; 16],
    /// Device id, 16 bytes.
    pub device: [u8; 16],
    /// The address the person signed up with.
    pub email: String,
    /// What this device is called.
    pub device_name: String,
    /// The server's URL.
    pub server: String,
    /// What proves it.
    pub tokens: Tokens,
}

/// An address must not reach a log.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What a home learns when it signs up or logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// Whose it is from now on.
    pub identity: Identity,
    /// The account's feeds.
    pub feeds: Vec<FeedGranted>,
}

/// Why a home does not take an account.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    /// It has another one's data.
    #[error("this home belongs to {email}: use another home (--home) for another account")]
    OtherAccount {
        /// The account it belongs to.
        email: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AdoptionError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A feed as the device knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// The server's number.
    pub feed: FeedId,
    /// Collection name.
    pub collection: String,
    /// Scope within it.
    pub scope: String,
    /// The epoch in which it is known.
    pub epoch: Epoch,
    /// Every entry up to here was received.
    pub cursor: u64,
    /// Over the entries up to the cursor.
    pub digest: Digest,
    /// The server has merged every entry up to here.
    pub merged_seq: u64,
}

impl Store {
    /// Makes the home belong to an account; again with the same account to renew device and token.
    pub fn adopt(&mut self, adoption: &Adoption, rng: &mut dyn RngCore) -> Result<(), AdoptionError> {
        let identity = &adoption.identity;
        if let Some(known) = self.identity()? {
            if known.account != identity.account {
                return Err(AdoptionError::OtherAccount { email: known.email });
            }
            // The server binds an actor to the device that used it first.
            if known.device != identity.device {
                for (actor, _) in self.actors()? {
                    self.renew_actor(actor, rng)?;
                }
            }
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        set_meta(&tx, "account", &identity.account)?;
        set_meta(&tx, "device", &identity.device)?;
        set_meta(&tx, "email", identity.email.as_bytes())?;
        set_meta(&tx, "device_name", identity.device_name.as_bytes())?;
        set_meta(&tx, "server", identity.server.as_bytes())?;
        set_tokens(&tx, &identity.tokens)?;
        tx.execute("DELETE FROM meta WHERE key = 'locked'", [])?;
        for feed in &adoption.feeds {
            grant(&tx, feed)?;
        }
        Ok(tx.commit()?)
    }

    /// Notes what this device is called now; another one may have renamed it.
    pub fn name_device(&mut self, name: &str) -> Result<(), StoreError> {
        if self.text("device_name")? == name { Ok(()) } else { set_meta(&self.conn, "device_name", name.as_bytes()) }
    }

    /// Notes a feed that the server granted in a session, an own one or somebody else's.
    pub fn grant(&mut self, feed: &FeedGranted) -> Result<(), StoreError> {
        if self.identity()?.is_some_and(|identity| identity.account != feed.account) {
            return self.grant_of_other(feed);
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        grant(&tx, feed)?;
        Ok(tx.commit()?)
    }

    /// Whose the home is; none before sign-up or login.
    pub fn identity(&self) -> Result<Option<Identity>, StoreError> {
        let Some(account) = self.meta("account")? else { return Ok(None) };
        Ok(Some(Identity {
            account,
            device: self.meta("device")?.unwrap_or_default(),
            email: self.text("email")?,
            device_name: self.text("device_name")?,
            server: self.text("server")?,
            tokens: self.tokens()?,
        }))
    }

    /// Feeds that have a number on the wire, own ones and those of others, ascending by it.
    pub fn feeds(&mut self) -> Result<Vec<FeedRow>, StoreError> {
        let mut feeds = self.own_feeds()?;
        feeds.extend(self.feeds_of_others()?);
        feeds.sort_unstable_by_key(|row| row.feed);
        Ok(feeds)
    }

    /// How far a feed was received in order; `None` if there is none of that number.
    pub fn cursor(&mut self, feed: FeedId) -> Result<Option<u64>, StoreError> {
        if let Some(owner) = self.owner_of(feed)? {
            return self.opened(owner)?.cursor(feed);
        }
        let mut query = self.conn.prepare_cached("SELECT cursor FROM feeds WHERE wire = ?")?;
        let cursor = query.query_row([feed.0 as i64], |row| row.get::<_, i64>(0)).optional()?;
        Ok(cursor.map(|cursor| cursor as u64))
    }

    /// Own feeds that have a number on the wire, ascending by it.
    pub fn own_feeds(&self) -> Result<Vec<FeedRow>, StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT wire, collection, scope, epoch, cursor, digest, merged_seq FROM feeds
             WHERE wire IS NOT NULL AND epoch IS NOT NULL ORDER BY wire",
        )?;
        let rows = query.query_map([], |row| {
            Ok(FeedRow {
                feed: FeedId(row.get::<_, i64>(0)? as u64),
                collection: row.get(1)?,
                scope: row.get(2)?,
                epoch: Epoch(row.get(3)?),
                cursor: row.get::<_, i64>(4)? as u64,
                digest: Digest(u128::from_be_bytes(row.get(5)?)),
                merged_seq: row.get::<_, i64>(6)? as u64,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The actors of all writers of this home, each with the last entry that is known to be accepted.
    pub fn actors(&self) -> Result<Vec<(ActorId, Option<EntryId>)>, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT actor, last_accepted FROM writers ORDER BY actor")?;
        let rows = query.query_map([], |row| Ok((ActorId(row.get(0)?), row.get::<_, Option<_>>(1)?.map(EntryId))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Checks the last entry that the server accepted from an actor of this home. One that is not here was written by
    /// a clone, or by this home before it was restored from a backup: going on with that actor would fork it, so its
    /// writer draws a new one. What waits under the old one is pushed as it is: the server may have it, and says so, and
    /// what it refuses as a fork is rebased then; rebased now, what it has would be there twice. Returns whether it did.
    pub fn check_tip(&mut self, actor: ActorId, tip: EntryId, rng: &mut dyn RngCore) -> Result<bool, StoreError> {
        let known: bool = self.conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM writers WHERE actor = ?1 AND last_accepted = ?2)
                 OR EXISTS (SELECT 1 FROM outbox WHERE entry_id = ?2)
                 OR NOT EXISTS (SELECT 1 FROM writers WHERE actor = ?1)
                 OR EXISTS (SELECT 1 FROM entries WHERE entry_id = ?2)",
            (actor.as_bytes(), tip.as_bytes()),
            |row| row.get(0),
        )?;
        let known = known || self.is_among_others(tip)?;
        match known {
            // Its receipt may have been lost, and the entry emptied before its echo came.
            true => drop(self.conn.execute(
                "UPDATE writers SET last_accepted = ?2 WHERE actor = ?1",
                (actor.as_bytes(), tip.as_bytes()),
            )?),
            false => self.renew_actor(actor, rng)?,
        }
        Ok(!known)
    }

    /// Draws a new actor for the writer that has this one.
    pub fn renew_actor(&mut self, actor: ActorId, rng: &mut dyn RngCore) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(
            "INSERT OR IGNORE INTO former_actors (actor) SELECT actor FROM writers WHERE actor = ?",
            [actor.as_bytes()],
        )?;
        // Those that it has in single documents were copied with the home too; the new one takes their place.
        for statement in [
            "INSERT OR IGNORE INTO former_actors (actor)
             SELECT d.actor FROM document_actors d JOIN writers w ON w.name = d.writer WHERE w.actor = ?",
            "DELETE FROM document_actors WHERE writer IN (SELECT name FROM writers WHERE actor = ?)",
        ] {
            tx.execute(statement, [actor.as_bytes()])?;
        }
        tx.execute(
            "UPDATE writers SET actor = ?2, last_accepted = NULL WHERE actor = ?1",
            (actor.as_bytes(), ActorId::random(rng).as_bytes()),
        )?;
        Ok(tx.commit()?)
    }

    /// Every actor with which this home has written: those of its writers, also in single documents, and those before.
    pub fn own_actors(&self) -> Result<BTreeSet<ActorId>, StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT actor FROM writers UNION SELECT actor FROM former_actors UNION SELECT actor FROM document_actors",
        )?;
        let rows = query.query_map([], |row| Ok(ActorId(row.get(0)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The installation the device last met.
    pub fn installation(&self) -> Result<Option<Installation>, StoreError> {
        Ok(self.meta("installation")?.map(Installation))
    }

    /// Notes what a Welcome said: the installation, how far feeds are merged (those not named are merged up to the
    /// device's cursor) and the offset of the server's clock to this device's, in ms.
    pub fn welcomed(
        &mut self,
        installation: Installation,
        merged: &[(FeedId, u64)],
        clock_offset_ms: i64,
    ) -> Result<(), StoreError> {
        let changed = self.installation()? != Some(installation);
        let behind: BTreeMap<_, _> = merged.iter().copied().collect();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if changed {
            set_meta(&tx, "installation", installation.as_bytes())?;
        }
        set_meta(&tx, "clock_offset_ms", &clock_offset_ms.to_be_bytes())?;
        note_merged(&tx, &behind)?;
        tx.commit()?;
        self.merged_of_others(&behind)
    }

    /// Whether the server asked for digests that one exchange could not bring: the next one does.
    pub fn digests_wanted(&self) -> Result<bool, StoreError> {
        Ok(self.meta::<Vec<u8>>("digests_wanted")?.is_some())
    }

    /// Remembers, or forgets, that the server asked for digests.
    pub fn want_digests(&mut self, wanted: bool) -> Result<(), StoreError> {
        match wanted {
            true => set_meta(&self.conn, "digests_wanted", &[]),
            false => {
                self.conn.execute("DELETE FROM meta WHERE key = 'digests_wanted'", [])?;
                Ok(())
            }
        }
    }

    /// How far the server's clock is ahead of this device's, in ms, as last measured.
    pub fn clock_offset_ms(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.meta::<[u8; 8]>("clock_offset_ms")?.map(i64::from_be_bytes))
    }
}

/// A feed in another epoch than the known one starts again from its first entry: what is here already is recognised,
/// and what the server has more is received.
pub(super) fn grant(conn: &rusqlite::Connection, feed: &FeedGranted) -> Result<(), StoreError> {
    super::bootstrap::forget_other_epochs(conn, feed)?;
    conn.prepare_cached(
        "INSERT INTO feeds (collection, scope, wire, epoch) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (collection, scope)
         DO UPDATE SET wire = ?3, epoch = ?4, cursor = 0, merged_seq = 0,
           digest = x'00000000000000000000000000000000'
         WHERE wire IS NOT ?3 OR epoch IS NOT ?4",
    )?
    .execute((&feed.collection, &feed.scope, feed.feed.0 as i64, feed.epoch.as_bytes()))?;
    Ok(())
}

/// Notes how far the server has merged the feeds of which commands are kept: those not named up to the device's cursor.
pub(super) fn note_merged(conn: &rusqlite::Connection, behind: &BTreeMap<FeedId, u64>) -> Result<(), StoreError> {
    let mut stale = conn.prepare_cached(
        "SELECT feed, wire, cursor FROM feeds f
         WHERE wire IS NOT NULL AND EXISTS (SELECT 1 FROM outbox o WHERE o.feed = f.feed AND o.state = 1)",
    )?;
    let feeds: Vec<(i64, i64, i64)> =
        stale.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    for (feed, wire, cursor) in feeds {
        let merged = behind.get(&FeedId(wire as u64)).map_or(cursor, |seq| *seq as i64);
        conn.execute("UPDATE feeds SET merged_seq = max(merged_seq, ?2) WHERE feed = ?1", (feed, merged))?;
        super::outbox::prune(conn, feed)?;
    }
    Ok(())
}
