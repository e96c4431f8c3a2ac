//! What the server does not have yet, one lane a document: pending -> (in flight) -> accepted, until the cursor and the
//! server's merge have passed it; the merge stops before a document in quarantine, whose commands are so kept. A refused
//! entry leaves its lane; later ones of that document wait beside it, every other document goes on (invariants I3 and I9). What is in flight is the session's to know: after a cut it is pushed
//! again and answered `duplicate`.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::documents::{self, DocumentRow};
use super::write::Command;
use super::{Store, StoreError};
use crate::change;
use crate::collection::Collection;
use crate::entry::Entry;
use crate::id::{ActorId, ChangeHash, DocId, EntryId, FeedId};
use crate::limits;
use crate::record;
use crate::wire::{FeedPush, Receipt, Refusal};

const PENDING: i64 = 0;
const ACCEPTED: i64 = 1;
const WAITING: i64 = 2;

/// Entries to push together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What goes into the frame.
    pub feeds: Vec<FeedPush>,
    /// The store's numbers of those entries, in the frame's order: receipts come in it.
    pub entries: Vec<i64>,
    /// The highest of them: the next batch starts above it.
    pub last: i64,
}

/// The store's number of a change. Those that came within a snapshot have none: whether a change is here is asked of the
/// document.
pub(super) fn find(conn: &Connection, doc_id: DocId, hash: ChangeHash) -> Result<Option<i64>, StoreError> {
    let mut query = conn.prepare_cached("SELECT n FROM entries WHERE doc_id = ? AND change_hash = ?")?;
    Ok(query.query_row((doc_id.as_bytes(), hash.as_bytes()), |row| row.get(0)).optional()?)
}

/// The store's number of an entry that could not be applied when it came.
pub(super) fn find_unapplied(conn: &Connection, doc_id: DocId, id: EntryId) -> Result<Option<i64>, StoreError> {
    let mut query =
        conn.prepare_cached("SELECT n FROM entries WHERE doc_id = ? AND change_hash IS NULL AND entry_id = ?")?;
    Ok(query.query_row((doc_id.as_bytes(), id.as_bytes()), |row| row.get(0)).optional()?)
}

/// Stores an entry of this device and queues it.
pub(super) fn queue(
    conn: &Connection,
    row: &DocumentRow,
    entry: &Entry,
    hash: Option<ChangeHash>,
    actor: Option<ActorId>,
    now_ms: i64,
    command: &Command,
) -> Result<EntryId, StoreError> {
    let id = entry.id();
    let n = insert(conn, row.feed, None, id, entry, hash)?;
    let state = if row.blocked { WAITING } else { PENDING };
    let command = serde_json::to_string(command).expect("a command is plain data");
    conn.prepare_cached(
        "INSERT INTO outbox (n, feed, doc_id, entry_id, actor, state, written_at, command)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        n,
        row.feed,
        entry.doc_id.as_bytes(),
        id.as_bytes(),
        actor.as_ref().map(ActorId::as_bytes),
        state,
        now_ms,
        command,
    ))?;
    Ok(id)
}

/// Stores an entry, whoever wrote it.
pub(super) fn insert(
    conn: &Connection,
    feed: i64,
    seq: Option<u64>,
    id: EntryId,
    entry: &Entry,
    hash: Option<ChangeHash>,
) -> Result<i64, StoreError> {
    conn.prepare_cached(
        "INSERT INTO entries (feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        feed,
        seq.map(|seq| seq as i64),
        id.as_bytes(),
        entry.kind,
        entry.doc_id.as_bytes(),
        hash.as_ref().map(ChangeHash::as_bytes),
        entry.device_time,
        entry.salt,
        &entry.payload,
    ))?;
    Ok(conn.last_insert_rowid())
}

/// The last accepted entry of each actor of this home, gathered over a batch and written once.
#[derive(Default)]
pub(super) struct Tips(BTreeMap<ActorId, EntryId>);

impl Tips {
    /// The server has the entry under this number, and under the id that it has here.
    pub(super) fn accept(&mut self, conn: &Connection, n: i64, seq: u64) -> Result<(), StoreError> {
        conn.prepare_cached("UPDATE entries SET seq = ?2 WHERE n = ?1")?.execute((n, seq as i64))?;
        let mut news = conn.prepare_cached(
            "UPDATE outbox SET state = ?2, seq = ?3 WHERE n = ?1 AND state <> ?2 RETURNING actor, entry_id",
        )?;
        let accepted = news.query_row((n, ACCEPTED, seq as i64), |row| {
            Ok((row.get::<_, Option<_>>(0)?.map(ActorId), EntryId(row.get(1)?)))
        });
        match accepted.optional()? {
            Some((actor, id)) => self.0.extend(actor.map(|actor| (actor, id))),
            // Only the first news of it moves the actor's tip; later echoes come in the order of feeds, not of acceptance.
            None => {
                conn.prepare_cached("UPDATE outbox SET seq = ?2 WHERE n = ?1")?.execute((n, seq as i64))?;
            }
        }
        Ok(())
    }

    pub(super) fn save(self, conn: &Connection) -> Result<(), StoreError> {
        let mut update = conn.prepare_cached("UPDATE writers SET last_accepted = ?2 WHERE actor = ?1")?;
        for (actor, id) in self.0 {
            update.execute((actor.as_bytes(), id.as_bytes()))?;
        }
        Ok(())
    }
}

/// The server has the entry under this id: the one that was accepted first counts.
pub(super) fn rename(conn: &Connection, n: i64, id: EntryId) -> Result<(), StoreError> {
    for table in [
        "UPDATE entries SET entry_id = ?2 WHERE n = ?1 AND entry_id <> ?2",
        "UPDATE outbox SET entry_id = ?2 WHERE n = ?1 AND entry_id <> ?2",
    ] {
        conn.prepare_cached(table)?.execute((n, id.as_bytes()))?;
    }
    Ok(())
}

/// The state is written out, or SQLite would not use the index that has accepted entries only.
const PRUNE: &str = "DELETE FROM outbox WHERE feed = ?1 AND state = 1
       AND seq <= (SELECT min(cursor, merged_seq) FROM feeds WHERE feed = ?1)";

/// Forgets the commands of entries that the device has received in order and the server has merged.
pub(super) fn prune(conn: &Connection, feed: i64) -> Result<(), StoreError> {
    conn.prepare_cached(PRUNE)?.execute([feed])?;
    Ok(())
}

impl Store {
    /// The next entries to push, in the order they were written, from above `after`; `None` when there are none.
    pub fn next_batch(&self, after: i64, max_entries: usize, max_bytes: usize) -> Result<Option<Batch>, StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT o.n, f.wire, e.kind, e.doc_id, e.device_time, e.salt, e.payload
             FROM outbox o JOIN entries e USING (n) JOIN feeds f ON f.feed = o.feed
             WHERE o.n > ? AND o.state = ? AND f.wire IS NOT NULL AND e.payload IS NOT NULL ORDER BY o.n LIMIT ?",
        )?;
        let mut rows = query.query((after, PENDING, max_entries as i64))?;
        let mut feeds: BTreeMap<FeedId, (Vec<i64>, Vec<Entry>)> = BTreeMap::new();
        let (mut bytes, mut operations, mut last) = (0, 0, None);
        while let Some(row) = rows.next()? {
            let entry = Entry {
                kind: row.get(2)?,
                doc_id: DocId(row.get(3)?),
                device_time: row.get(4)?,
                salt: row.get(5)?,
                payload: row.get(6)?,
            };
            bytes += entry.payload.len();
            operations += change::count_operations(&entry.payload).unwrap_or(0);
            if (bytes > max_bytes || operations > limits::PUSH_OPERATIONS) && last.is_some() {
                break;
            }
            last = Some(row.get(0)?);
            let (numbers, entries) = feeds.entry(FeedId(row.get::<_, i64>(1)? as u64)).or_default();
            numbers.push(row.get(0)?);
            entries.push(entry);
        }
        Ok(last.map(|last| Batch {
            entries: feeds.values().flat_map(|(numbers, _)| numbers).copied().collect(),
            feeds: feeds.into_iter().map(|(feed, (_, entries))| FeedPush { feed, entries }).collect(),
            last,
        }))
    }

    /// Takes the server's receipts for a batch, each final. Returns how many entries were refused.
    pub fn take_receipts(&mut self, entries: &[i64], receipts: &[Receipt], now_ms: i64) -> Result<usize, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut refused = 0;
        let mut tips = Tips::default();
        for (&n, receipt) in entries.iter().zip(receipts) {
            match receipt {
                Receipt::Accepted(seq) => tips.accept(&tx, n, *seq)?,
                Receipt::Duplicate { seq, entry_id } => {
                    rename(&tx, n, *entry_id)?;
                    tips.accept(&tx, n, *seq)?;
                }
                Receipt::Rejected(why) => {
                    refuse(&tx, n, why, now_ms)?;
                    refused += 1;
                }
                Receipt::Retry(_) => {}
            }
        }
        tips.save(&tx)?;
        tx.commit()?;
        Ok(refused)
    }
}

/// Hands back what waits to be sent of a document that was erased elsewhere: the server would refuse it. What nobody asked
/// for by itself is dropped.
pub(super) fn refuse_all(conn: &Connection, doc_id: DocId, why: &Refusal, at_ms: i64) -> Result<(), StoreError> {
    let mut query = conn.prepare_cached("SELECT n, command FROM outbox WHERE doc_id = ? AND state <> ? ORDER BY n")?;
    let waiting: Vec<(i64, String)> = query
        .query_map((doc_id.as_bytes(), ACCEPTED), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (n, command) in waiting {
        let by_rule = matches!(serde_json::from_str(&command), Ok(Command::Genesis | Command::Erase { .. }));
        if !by_rule {
            refuse(conn, n, why, at_ms)?;
        }
    }
    Ok(())
}

/// Hands a refused command back to the person, with the record as it is here, and stops its document's lane.
fn refuse(conn: &Connection, n: i64, why: &Refusal, now_ms: i64) -> Result<(), StoreError> {
    let found = conn
        .query_row("SELECT doc_id, command FROM outbox WHERE n = ?", [n], |row| {
            Ok((DocId(row.get(0)?), row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((doc_id, command)) = found else { return Ok(()) };
    let Some(mut row) = DocumentRow::of(conn, doc_id)? else { return Ok(()) };
    // A document that does not load must not keep the refusal from being recorded.
    let text = match (documents::load(conn, doc_id, &row), Collection::named(&row.collection)) {
        (Ok(doc), Some(collection)) => record::project(&doc, collection).record,
        _ => serde_json::Value::Null,
    };
    conn.execute(
        "INSERT INTO rejected (n, doc_id, collection, code, message, rejected_at, command, record)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (n, doc_id.as_bytes(), &row.collection, &why.code, &why.message, now_ms, command, text.to_string()),
    )?;
    conn.execute("DELETE FROM outbox WHERE n = ?", [n])?;
    conn.execute("UPDATE outbox SET state = ? WHERE doc_id = ? AND state = ?", (WAITING, doc_id.as_bytes(), PENDING))?;
    row.blocked = true;
    row.save(conn, doc_id)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::MIGRATIONS;
    use super::*;

    /// Each page that a device receives after pushing a backlog of 10,000 read all of that backlog.
    #[test]
    fn forgetting_commands_looks_only_at_what_is_forgotten() {
        let conn = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|step| conn.execute_batch(step).unwrap());
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {PRUNE}")).unwrap();
        let steps = plan.query_map([1], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        assert!(steps[0].contains("INDEX outbox_settled (feed=? AND seq<?)"), "{steps:?}");
    }
}
