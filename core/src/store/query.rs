//! What people see: lists, one record, its history, refused writes and the state of the home.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;
use serde_json::Value;

use super::documents::{self, DocumentRow};
use super::{Store, StoreError};
use crate::collection::Collection;
use crate::id::{ActorId, ChangeHash, DocId};
use crate::record::{self, Conflict};

/// Which records to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Of this collection.
    pub collection: Collection,
    /// From this time on, ms UTC.
    pub since: Option<i64>,
    /// Before this time, ms UTC.
    pub until: Option<i64>,
    /// Trashed ones instead of the others.
    pub trashed: bool,
    /// At most so many, latest first.
    pub limit: usize,
}

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// The server has all of it.
    Synced,
    /// Something of it waits to be sent.
    Pending,
    /// Something of it was refused.
    Rejected,
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The record.
    pub doc_id: DocId,
    /// When it happened, ms UTC.
    pub at: Option<i64>,
    /// What a list of its collection shows, see docs/records.md.
    pub columns: Value,
    /// How far it has come.
    pub sync: Sync,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The record.
    pub doc_id: DocId,
    /// Its collection.
    pub collection: Collection,
    /// When it happened, ms UTC.
    pub at: Option<i64>,
    /// Whether it is in the trash.
    pub trashed: bool,
    /// All its fields, see docs/records.md.
    pub record: Value,
    /// What only the merged record shows to be wrong.
    pub flags: Vec<String>,
    /// Fields that two devices set differently.
    pub conflicts: Vec<Conflict>,
    /// How far it has come.
    pub sync: Sync,
}

/// One step of a record's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Names the state after it.
    pub hash: ChangeHash,
    /// Who wrote it.
    pub actor: ActorId,
    /// Whether a writer of this home did.
    pub own: bool,
    /// When, ms UTC by the author's clock; 0 for what was imported or made by rule.
    pub time_ms: i64,
    /// What it touched.
    pub fields: Vec<String>,
    /// Whether it moved the record to the trash, or took it out.
    pub trashed: Option<bool>,
}

/// A write that the server refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedWrite {
    /// Names it in its store.
    pub n: i64,
    /// The record.
    pub doc_id: DocId,
    /// Its collection's name.
    pub collection: String,
    /// One of docs/errors.md.
    pub code: String,
    /// Why, in a sentence.
    pub message: String,
    /// When, ms UTC by this device's clock; where it waited for the server while its record was erased elsewhere, by the
    /// clock of who erased it.
    pub rejected_at: i64,
    /// What was asked for.
    pub command: Value,
    /// The record as it was here then.
    pub record: Value,
}

/// The state of a home.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Entries to be sent.
    pub pending: u64,
    /// When the oldest of them was written, ms UTC.
    pub oldest_pending_at: Option<i64>,
    /// Writes the server refused.
    pub rejected: u64,
    /// Entries that wait beside a refused one.
    pub waiting: u64,
    /// Entries that were stored and could not be applied.
    pub unapplied: u64,
    /// Records by collection name, the trashed ones not counted.
    pub records: Vec<(String, u64)>,
}

impl Status {
    /// Counts what waits and what was refused in another store as well; its records are not this one's.
    pub fn add_waiting(&mut self, other: &Self) {
        self.pending += other.pending;
        self.rejected += other.rejected;
        self.waiting += other.waiting;
        let both = self.oldest_pending_at.into_iter().chain(other.oldest_pending_at);
        self.oldest_pending_at = both.min();
    }
}

const SYNC: &str = "CASE WHEN EXISTS (SELECT 1 FROM rejected j WHERE j.doc_id = r.doc_id) THEN 2
                         WHEN EXISTS (SELECT 1 FROM outbox o WHERE o.doc_id = r.doc_id AND o.state <> 1) THEN 1 ELSE 0 END";

fn sync(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Sync> {
    Ok(match row.get::<_, i64>(column)? {
        0 => Sync::Synced,
        1 => Sync::Pending,
        _ => Sync::Rejected,
    })
}

impl Store {
    /// Records of a collection, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<Listed>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT doc_id, at, columns, {SYNC} FROM records r
             WHERE collection = ?1 AND trashed = ?2 AND (?3 IS NULL OR at >= ?3) AND (?4 IS NULL OR at < ?4)
             ORDER BY at DESC, doc_id LIMIT ?5"
        ))?;
        let parameters = (query.collection.name(), query.trashed, query.since, query.until, query.limit as i64);
        let rows = statement.query_map(parameters, |row| {
            Ok(Listed {
                doc_id: DocId(row.get(0)?),
                at: row.get(1)?,
                columns: json(&row.get::<_, String>(2)?),
                sync: sync(row, 3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One record; `None` if it is not here.
    pub fn show(&self, doc_id: DocId) -> Result<Option<Shown>, StoreError> {
        let read = |store: &Self| -> Result<_, StoreError> {
            let Some((collection, doc)) = store.document(doc_id)? else { return Ok(None) };
            Ok(Some((collection, doc, store.sync_of(doc_id)?)))
        };
        let Some((collection, doc, state)) = self.in_one_reading(read)? else { return Ok(None) };
        let projection = record::project(&doc, collection);
        Ok(Some(Shown {
            doc_id,
            collection,
            at: projection.at,
            trashed: projection.trashed,
            record: projection.record,
            flags: projection.flags,
            conflicts: record::conflicts(&doc, collection),
            sync: state,
        }))
    }

    /// A record's changes, oldest first; empty if it is not here.
    pub fn history(&self, doc_id: DocId) -> Result<Vec<Change>, StoreError> {
        let Some((_, doc)) = self.document(doc_id)? else { return Ok(Vec::new()) };
        let own = self.own_actors()?;
        let steps = record::history(&doc).map_err(|reason| StoreError::Damaged { doc_id, reason })?;
        let changes = steps.into_iter().map(|step| Change {
            hash: step.hash,
            actor: step.actor,
            own: own.contains(&step.actor),
            time_ms: step.time_ms,
            fields: step.fields,
            trashed: step.trashed,
        });
        Ok(changes.collect())
    }

    /// The heads of every document that was not erased, for comparing two replicas.
    pub fn heads(&self) -> Result<Vec<(DocId, Vec<u8>)>, StoreError> {
        let mut query =
            self.conn.prepare_cached("SELECT doc_id, heads FROM documents WHERE NOT erased ORDER BY doc_id")?;
        let rows = query.query_map([], |row| Ok((DocId(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes the server refused, oldest first.
    pub fn rejected(&self) -> Result<Vec<RejectedWrite>, StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT n, doc_id, collection, code, message, rejected_at, command, record FROM rejected ORDER BY n",
        )?;
        let rows = query.query_map([], |row| {
            Ok(RejectedWrite {
                n: row.get(0)?,
                doc_id: DocId(row.get(1)?),
                collection: row.get(2)?,
                code: row.get(3)?,
                message: row.get(4)?,
                rejected_at: row.get(5)?,
                command: json(&row.get::<_, String>(6)?),
                record: json(&row.get::<_, String>(7)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A number that changes whenever another connection has changed the home: what a process that watches it asks for
    /// again and again.
    pub fn others_version(&self) -> Result<i64, StoreError> {
        Ok(self.conn.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// Whether something waits to be sent, into own feeds or those of others.
    pub fn has_pending(&mut self) -> Result<bool, StoreError> {
        let own = self.next_batch(0, 1, usize::MAX)?.is_some();
        Ok(own || self.next_batch_for_others(&BTreeMap::new(), 1, usize::MAX)?.is_some())
    }

    /// What waits, what was refused, what is here.
    pub fn status(&self) -> Result<Status, StoreError> {
        let mut status = self.conn.query_row(
            "SELECT (SELECT count(*) FROM outbox WHERE state = 0), (SELECT min(written_at) FROM outbox WHERE state = 0),
                    (SELECT count(*) FROM rejected), (SELECT count(*) FROM outbox WHERE state = 2),
                    (SELECT coalesce(sum(unapplied), 0) FROM documents WHERE unapplied > 0)",
            [],
            |row| {
                Ok(Status {
                    pending: row.get::<_, i64>(0)? as u64,
                    oldest_pending_at: row.get(1)?,
                    rejected: row.get::<_, i64>(2)? as u64,
                    waiting: row.get::<_, i64>(3)? as u64,
                    unapplied: row.get::<_, i64>(4)? as u64,
                    records: Vec::new(),
                })
            },
        )?;
        let mut query = self.conn.prepare_cached(
            "SELECT collection, count(*) FROM records WHERE NOT trashed GROUP BY collection ORDER BY 1",
        )?;
        let counts = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
        status.records = counts.collect::<Result<_, _>>()?;
        Ok(status)
    }

    /// The collection of a record, if it is here.
    pub fn collection_of(&self, doc_id: DocId) -> Result<Option<Collection>, StoreError> {
        let name: Option<String> = self
            .conn
            .query_row("SELECT collection FROM records WHERE doc_id = ?", [doc_id.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(name.and_then(|name| Collection::named(&name)))
    }

    /// Row and changes as of one moment: between the two another process may write, and the row would have other heads.
    fn document(&self, doc_id: DocId) -> Result<Option<(Collection, automerge::Automerge)>, StoreError> {
        self.in_one_reading(|store| {
            let Some(row) = DocumentRow::of(&store.conn, doc_id)?.filter(|row| !row.erased) else { return Ok(None) };
            let Some(collection) = Collection::named(&row.collection) else { return Ok(None) };
            Ok(Some((collection, documents::load(&store.conn, doc_id, &row)?)))
        })
    }

    fn sync_of(&self, doc_id: DocId) -> Result<Sync, StoreError> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {SYNC} FROM records r WHERE doc_id = ?"))?;
        Ok(query.query_row([doc_id.as_bytes()], |row| sync(row, 0))?)
    }
}

/// Text that the store itself wrote as JSON.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
