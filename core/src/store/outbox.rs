//! What the server does not have yet, one lane a document: pending -> (in flight) -> accepted, until the cursor and the
//! server's merge have passed it; the merge stops before a document in quarantine, whose commands are so kept. A refused
//! entry leaves its lane and its document, see `rebase`; every other document goes on (invariants I3 and I9). What is in
//! flight is the session's to know: after a cut it is pushed again and answered `duplicate`.

use std::collections::BTreeMap;

use rand::RngCore;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::documents::{self, DocumentRow};
use super::rebase::Rebase;
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
    /// Not pushed as written here, but offered: the server lacks them.
    pub offered: bool,
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

/// What was asked for, beside the entry that it became.
pub(super) struct Asked<'a> {
    pub command: &'a Command,
    /// The writer's; `None` for genesis, imported and brought changes and for erasures.
    pub actor: Option<ActorId>,
    /// Ms UTC by this device's clock.
    pub at_ms: i64,
    /// What ids of new items were drawn from.
    pub seed: Option<i64>,
    /// How often the command was written again.
    pub replays: i64,
}

impl<'a> Asked<'a> {
    /// For a command that draws no ids.
    pub fn plainly(command: &'a Command, at_ms: i64) -> Self {
        Self { command, actor: None, at_ms, seed: None, replays: 0 }
    }
}

/// Stores an entry of this device and queues it.
pub(super) fn queue(
    conn: &Connection,
    row: &DocumentRow,
    entry: &Entry,
    hash: Option<ChangeHash>,
    asked: &Asked<'_>,
) -> Result<EntryId, StoreError> {
    let id = entry.id();
    let n = insert(conn, row.feed, None, id, entry, hash)?;
    let state = if row.blocked { WAITING } else { PENDING };
    let command = serde_json::to_string(asked.command).expect("a command is plain data");
    conn.prepare_cached(
        "INSERT INTO outbox (n, feed, doc_id, entry_id, actor, state, written_at, command, seed, replays)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        n,
        row.feed,
        entry.doc_id.as_bytes(),
        id.as_bytes(),
        asked.actor.as_ref().map(ActorId::as_bytes),
        state,
        asked.at_ms,
        command,
        asked.seed,
        asked.replays,
    ))?;
    Ok(id)
}

/// One command of a document's lane.
pub(super) struct Queued {
    pub n: i64,
    pub feed: i64,
    pub entry_id: EntryId,
    /// `None` where the entry is no change.
    pub hash: Option<ChangeHash>,
    pub is_accepted: bool,
    /// As stored.
    pub command: String,
    pub written_at: i64,
    pub seed: Option<i64>,
    pub replays: i64,
}

/// The lane of a document, in the order it was written.
pub(super) fn lane(conn: &Connection, doc_id: DocId) -> Result<Vec<Queued>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT o.n, e.change_hash, o.state = ?2, o.command, o.written_at, o.seed, o.replays, o.feed, o.entry_id
         FROM outbox o JOIN entries e USING (n) WHERE o.doc_id = ?1 ORDER BY o.n",
    )?;
    let rows = query.query_map((doc_id.as_bytes(), ACCEPTED), |row| {
        Ok(Queued {
            n: row.get(0)?,
            hash: row.get::<_, Option<_>>(1)?.map(ChangeHash),
            is_accepted: row.get(2)?,
            command: row.get(3)?,
            written_at: row.get(4)?,
            seed: row.get(5)?,
            replays: row.get(6)?,
            feed: row.get(7)?,
            entry_id: EntryId(row.get(8)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets a change that the server does not have. Returns what its payload had.
pub(super) fn forget(conn: &Connection, doc_id: DocId, hash: ChangeHash) -> Result<i64, StoreError> {
    let Some(n) = find(conn, doc_id, hash)? else { return Ok(0) };
    conn.execute("DELETE FROM outbox WHERE n = ?", [n])?;
    conn.execute(
        "INSERT INTO spent (only_row, n) VALUES (1, ?1) ON CONFLICT (only_row) DO UPDATE SET n = max(n, ?1)",
        [n],
    )?;
    let mut gone = conn.prepare_cached("DELETE FROM entries WHERE n = ? RETURNING coalesce(length(payload), 0)")?;
    Ok(gone.query_row([n], |row| row.get(0))?)
}

/// Lets the lane of a document go on.
pub(super) fn resume(conn: &Connection, doc_id: DocId) -> Result<(), StoreError> {
    let resume = "UPDATE outbox SET state = ? WHERE doc_id = ? AND state = ?";
    conn.execute(resume, (PENDING, doc_id.as_bytes(), WAITING))?;
    Ok(())
}

/// The number of the next entry: none that one had before.
pub(super) fn next_n(conn: &Connection) -> Result<i64, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT 1 + max(coalesce((SELECT max(n) FROM entries), 0), coalesce((SELECT n FROM spent), 0))",
    )?;
    Ok(query.query_row([], |row| row.get(0))?)
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
    let n = next_n(conn)?;
    conn.prepare_cached(
        "INSERT INTO entries (n, feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        n,
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
    Ok(n)
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
            "SELECT o.n, f.wire, e.kind, e.doc_id, e.device_time, e.salt, e.payload, o.offered
             FROM outbox o JOIN entries e USING (n) JOIN feeds f ON f.feed = o.feed
             WHERE o.n > ? AND o.state = ? AND f.wire IS NOT NULL AND e.payload IS NOT NULL ORDER BY o.n LIMIT ?",
        )?;
        let mut rows = query.query((after, PENDING, max_entries as i64))?;
        let mut feeds: BTreeMap<FeedId, (Vec<i64>, Vec<Entry>)> = BTreeMap::new();
        let (mut bytes, mut operations, mut last, mut offered) = (0, 0, None, None);
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
            let is_full = bytes > max_bytes || operations > limits::PUSH_OPERATIONS;
            let is_offered: bool = row.get(7)?;
            if (is_full && last.is_some()) || *offered.get_or_insert(is_offered) != is_offered {
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
            offered: offered.unwrap_or_default(),
        }))
    }

    /// Takes the server's receipts for a batch, each final. Documents of which something was refused are rebased. Returns
    /// how many commands were handed over to the person.
    pub fn take_receipts(
        &mut self,
        entries: &[i64],
        receipts: &[Receipt],
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<usize, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut refused: BTreeMap<DocId, BTreeMap<i64, Refusal>> = BTreeMap::new();
        let mut tips = Tips::default();
        for (&n, receipt) in entries.iter().zip(receipts) {
            match receipt {
                Receipt::Accepted(seq) => tips.accept(&tx, n, *seq)?,
                Receipt::Duplicate { seq, entry_id } => {
                    rename(&tx, n, *entry_id)?;
                    tips.accept(&tx, n, *seq)?;
                }
                // One that is not queued any more was written again, or handed over, with what it builds on.
                Receipt::Rejected(why) => {
                    if let Some(doc_id) = queued(&tx, n)? {
                        refused.entry(doc_id).or_default().insert(n, why.clone());
                    }
                }
                Receipt::Retry(_) => {}
            }
        }
        tips.save(&tx)?;
        let mut rebase = Rebase { conn: &tx, open: &mut self.open, writer: &self.writer, now_ms, rng };
        let mut handed_over = 0;
        for (doc_id, refused) in refused {
            handed_over += rebase.refused(doc_id, &refused)?;
        }
        tx.commit()?;
        Ok(handed_over)
    }
}

/// Takes their numbers from accepted entries under which others were received. Returns whether there are any.
pub(super) fn forget_taken_numbers(
    conn: &Connection,
    feed: i64,
    received: &BTreeMap<u64, EntryId>,
) -> Result<bool, StoreError> {
    let (Some((first, _)), Some((last, _))) = (received.first_key_value(), received.last_key_value()) else {
        return Ok(false);
    };
    let mut query = conn.prepare_cached(
        "SELECT n, seq, entry_id FROM outbox WHERE feed = ? AND state = 1 AND seq BETWEEN ? AND ? ORDER BY seq",
    )?;
    let accepted = query.query_map((feed, *first as i64, *last as i64), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? as u64, EntryId(row.get(2)?)))
    })?;
    let taken = accepted.filter_map(|row| row.map(|(n, seq, id)| (received[&seq] != id).then_some(n)).transpose());
    let taken: Vec<i64> = taken.collect::<Result<_, _>>()?;
    for n in &taken {
        conn.execute("UPDATE outbox SET seq = NULL WHERE n = ?", [n])?;
        conn.execute("UPDATE entries SET seq = NULL WHERE n = ?", [n])?;
    }
    Ok(!taken.is_empty())
}

/// Whether an entry waits to be sent, or was refused.
pub(super) fn is_waiting_or_refused(conn: &Connection, n: i64) -> Result<bool, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE n = ?1 AND state <> ?2)
             OR EXISTS (SELECT 1 FROM rejected WHERE n = ?1)",
    )?;
    Ok(query.query_row((n, ACCEPTED), |row| row.get(0))?)
}

/// Entries of a document that wait to be sent, in their order.
pub(super) fn waiting(conn: &Connection, doc_id: DocId) -> Result<Vec<i64>, StoreError> {
    let mut query = conn.prepare_cached("SELECT n FROM outbox WHERE doc_id = ? AND state <> ? ORDER BY n")?;
    let numbers = query.query_map((doc_id.as_bytes(), ACCEPTED), |row| row.get(0))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// Gives a change's bytes back to its entry, which had left them to a snapshot.
pub(super) fn restore_payload(conn: &Connection, n: i64, payload: &[u8]) -> Result<(), StoreError> {
    let mut query = conn.prepare_cached("SELECT kind, doc_id, device_time, salt FROM entries WHERE n = ?")?;
    let entry = query.query_row([n], |row| {
        let (doc_id, payload) = (DocId(row.get(1)?), payload.to_vec());
        Ok(Entry { kind: row.get(0)?, doc_id, device_time: row.get(2)?, salt: row.get(3)?, payload })
    })?;
    conn.prepare_cached("UPDATE entries SET payload = ? WHERE n = ?")?.execute((payload, n))?;
    rename(conn, n, entry.id())
}

/// Moves an entry behind all others of this store, so that it is sent after them. Returns its new number.
pub(super) fn move_behind(conn: &Connection, n: i64) -> Result<i64, StoreError> {
    let behind = next_n(conn)?;
    conn.prepare_cached(
        "INSERT INTO entries (n, feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload)
         SELECT ?2, feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload FROM entries WHERE n = ?1",
    )?
    .execute([n, behind])?;
    conn.prepare_cached("UPDATE outbox SET n = ?2 WHERE n = ?1")?.execute((n, behind))?;
    conn.prepare_cached("DELETE FROM entries WHERE n = ?")?.execute([n])?;
    Ok(behind)
}

/// Queues an entry that the server had and lost, in its document's lane; the command of one that was written here is kept
/// where it is known.
pub(super) fn queue_again(
    conn: &Connection,
    n: i64,
    actor: Option<ActorId>,
    offered: bool,
    now_ms: i64,
    command: &Command,
) -> Result<(), StoreError> {
    let command = serde_json::to_string(command).expect("a command is plain data");
    conn.prepare_cached("UPDATE entries SET seq = NULL WHERE n = ?")?.execute([n])?;
    conn.prepare_cached(
        "INSERT INTO outbox (n, feed, doc_id, entry_id, actor, state, written_at, command, offered)
         SELECT n, e.feed, e.doc_id, entry_id, ?2, CASE WHEN d.blocked THEN ?3 ELSE ?4 END, ?5, ?6, ?7
         FROM entries e JOIN documents d USING (doc_id) WHERE n = ?1
         ON CONFLICT (n) DO UPDATE SET state = excluded.state, entry_id = excluded.entry_id, seq = NULL,
           offered = excluded.offered",
    )?
    .execute((n, actor.as_ref().map(ActorId::as_bytes), WAITING, PENDING, now_ms, command, offered))?;
    Ok(())
}

/// The document of a queued entry.
fn queued(conn: &Connection, n: i64) -> Result<Option<DocId>, StoreError> {
    let mut query = conn.prepare_cached("SELECT doc_id FROM outbox WHERE n = ?")?;
    Ok(query.query_row([n], |row| row.get(0).map(DocId)).optional()?)
}

/// Hands back what waits to be sent of a document that was erased elsewhere: the server would refuse it. What nobody asked
/// for by itself is dropped.
pub(super) fn refuse_all(conn: &Connection, doc_id: DocId, why: &Refusal, at_ms: i64) -> Result<(), StoreError> {
    for one in lane(conn, doc_id)?.into_iter().filter(|one| !one.is_accepted) {
        let by_rule = matches!(serde_json::from_str(&one.command), Ok(Command::Genesis | Command::Erase { .. }));
        if !by_rule {
            refuse(conn, doc_id, &one, why, at_ms)?;
        }
    }
    Ok(())
}

/// Hands a refused command back to the person, with the record as it is here, and stops its document's lane: where nothing
/// can be taken out of the document, because it is damaged or goes.
pub(super) fn refuse(
    conn: &Connection,
    doc_id: DocId,
    one: &Queued,
    why: &Refusal,
    now_ms: i64,
) -> Result<(), StoreError> {
    let Some(mut row) = DocumentRow::of(conn, doc_id)? else { return Ok(()) };
    // A document that does not load must not keep the refusal from being recorded.
    let text = match (documents::load(conn, doc_id, &row), Collection::named(&row.collection)) {
        (Ok(doc), Some(collection)) => record::project(&doc, collection).record,
        _ => serde_json::Value::Null,
    };
    hand_over(conn, (doc_id, &row.collection), one, why, now_ms, &text)?;
    conn.execute("DELETE FROM outbox WHERE n = ?", [one.n])?;
    conn.execute("UPDATE outbox SET state = ? WHERE doc_id = ? AND state = ?", (WAITING, doc_id.as_bytes(), PENDING))?;
    row.blocked = true;
    row.save(conn, doc_id)
}

/// Keeps a queued command for the person, with the record around it.
pub(super) fn hand_over(
    conn: &Connection,
    (doc_id, collection): (DocId, &str),
    one: &Queued,
    why: &Refusal,
    now_ms: i64,
    record: &serde_json::Value,
) -> Result<(), StoreError> {
    let Queued { n, feed, entry_id, command, seed, .. } = one;
    conn.execute(
        "INSERT INTO rejected (n, doc_id, collection, code, message, rejected_at, command, record, seed, feed, entry_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            n,
            doc_id.as_bytes(),
            collection,
            &why.code,
            &why.message,
            now_ms,
            command,
            record.to_string(),
            seed,
            feed,
            entry_id.as_bytes(),
        ),
    )?;
    Ok(())
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
