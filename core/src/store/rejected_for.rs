//! What this device wrote for somebody who ended what was shared before the server had it. Their feed is removed to the last
//! byte (invariant I8); what the person here wrote is never dropped without a word (invariant I9): it moves into the home's own
//! store, without the record around it, which is theirs, and stays there until it is discarded.

use rusqlite::{Connection, TransactionBehavior};
use serde_json::Value;

use super::erase::JOURNAL_OWED;
use super::{Command, RejectedHere, RejectedKey, RejectedWrite, Store, StoreError, set_meta};
use crate::id::{DocId, EntryId, FeedId};
use crate::policy::AccountId;
use crate::wire::{self, Receipt};

/// A write that would go with a feed.
struct Unsettled {
    entry_id: EntryId,
    write: RejectedWrite,
}

impl Store {
    /// Keeps what was written into somebody else's feed and is not on the server, before the feed is removed. Returns how many
    /// writes had no answer yet. A crash in between keeps them once: they are found by their ids.
    pub(super) fn keep_unsettled(&mut self, owner: AccountId, feed: FeedId, now_ms: i64) -> Result<u64, StoreError> {
        let name: String =
            self.conn.query_row("SELECT owner_name FROM shared WHERE wire = ?", [feed.0 as i64], |row| row.get(0))?;
        let store = self.opened(owner)?;
        let unsent = unsent(&store.conn, feed, &name, now_ms)?;
        let count = unsent.len() as u64;
        let refused = refused(&store.conn, feed)?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Unsettled { entry_id, write } in refused.into_iter().chain(unsent) {
            tx.prepare_cached(
                "INSERT INTO rejected_for (entry_id, owner_name, doc_id, collection, code, message, rejected_at, command)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?
            .execute((
                entry_id.as_bytes(),
                &name,
                write.doc_id.as_bytes(),
                write.collection,
                write.code,
                write.message,
                write.rejected_at,
                write.command.to_string(),
            ))?;
        }
        tx.commit()?;
        Ok(count)
    }

    /// Takes a receipt for what was under way when its feed was removed. What the server has after all is theirs and is not kept,
    /// to the last byte.
    pub(super) fn settle_kept(&mut self, entry: EntryId, receipt: &Receipt) -> Result<(), StoreError> {
        match receipt {
            Receipt::Accepted(_) | Receipt::Duplicate { .. } => {
                let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
                if tx.execute("DELETE FROM rejected_for WHERE entry_id = ?", [entry.as_bytes()])? > 0 {
                    set_meta(&tx, JOURNAL_OWED, &[])?;
                }
                tx.commit()?;
                self.finish_erasing()?;
            }
            Receipt::Rejected(why) => {
                self.conn.execute(
                    "UPDATE rejected_for SET code = ?2, message = ?3 WHERE entry_id = ?1",
                    (entry.as_bytes(), &why.code, &why.message),
                )?;
            }
            Receipt::Retry(_) => {}
        }
        Ok(())
    }

    /// How many writes are kept.
    pub(super) fn kept(&self) -> Result<u64, StoreError> {
        Ok(self.conn.query_row("SELECT count(*) FROM rejected_for", [], |row| row.get::<_, i64>(0))? as u64)
    }

    /// The kept writes, oldest first, each with the name of whom it was for.
    pub(super) fn kept_writes(&self) -> Result<Vec<RejectedHere>, StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT doc_id, collection, code, message, rejected_at, command, n, owner_name FROM rejected_for ORDER BY n",
        )?;
        let rows = query.query_map([], |row| {
            let (n, name) = (row.get(6)?, row.get(7)?);
            Ok(RejectedHere { key: RejectedKey::Kept(n), of: Some(name), write: write(row)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Those that the server has not answered. What nobody asked for by itself is no loss.
fn unsent(conn: &Connection, feed: FeedId, name: &str, now_ms: i64) -> Result<Vec<Unsettled>, StoreError> {
    let message = format!("{name} ended what was shared before the server had this");
    let mut query = conn.prepare_cached(
        "SELECT o.doc_id, f.collection, ?2, ?3, ?4, o.command, o.entry_id FROM outbox o JOIN feeds f USING (feed)
         WHERE f.wire = ?1 AND o.state <> 1 ORDER BY o.n",
    )?;
    let rows = query.query_map((feed.0 as i64, wire::NOT_YOUR_FEED, message, now_ms), unsettled)?;
    let asked_for = |one: &Unsettled| !matches!(command(&one.write), Some(Command::Genesis));
    let unsent: Vec<_> = rows.collect::<Result<_, _>>()?;
    Ok(unsent.into_iter().filter(asked_for).collect())
}

/// Those that it has refused.
fn refused(conn: &Connection, feed: FeedId) -> Result<Vec<Unsettled>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT r.doc_id, r.collection, r.code, r.message, r.rejected_at, r.command, coalesce(r.entry_id, e.entry_id)
         FROM rejected r LEFT JOIN entries e USING (n) JOIN feeds f ON f.feed = coalesce(r.feed, e.feed)
         WHERE f.wire = ? ORDER BY r.n",
    )?;
    let rows = query.query_map([feed.0 as i64], unsettled)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn unsettled(row: &rusqlite::Row<'_>) -> rusqlite::Result<Unsettled> {
    Ok(Unsettled { entry_id: EntryId(row.get(6)?), write: write(row)? })
}

fn write(row: &rusqlite::Row<'_>) -> rusqlite::Result<RejectedWrite> {
    Ok(RejectedWrite {
        n: 0,
        doc_id: DocId(row.get(0)?),
        collection: row.get(1)?,
        code: row.get(2)?,
        message: row.get(3)?,
        rejected_at: row.get(4)?,
        command: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default(),
        record: Value::Null,
    })
}

fn command(write: &RejectedWrite) -> Option<Command> {
    serde_json::from_value(write.command.clone()).ok()
}
