//! Rebase (invariant I9): what this device wrote and the server does not take leaves its document. In one transaction the
//! document becomes what it is without that, what was written on top of it is written again as changes of another actor, and
//! what cannot be is handed over to the person with its code and its text.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change};
use rand::RngCore;
use rusqlite::{Connection, TransactionBehavior};
use serde_json::Value;

use super::documents::{self, DocumentRow, OpenDocuments};
use super::outbox::{self, Queued};
use super::write::{Command, Writer, written_hash};
use super::{Store, StoreError, WriteError, pull};
use crate::collection::Collection;
use crate::id::{ActorId, ChangeHash, DocId};
use crate::merge;
use crate::record;
use crate::wire::Refusal;

/// How often a command is written again by itself. Where the server refuses its place again and again, a person looks at it.
const REPLAYS: i64 = 3;

/// The code of what was not refused by itself, and cannot be written without what was.
pub const NOT_REPLAYED: (&str, &str) =
    ("not_replayed", "It needs a change that was refused: retry that one first, then this one.");

/// What a refused entry says about the command behind it, and those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denies {
    /// Nothing but the change's place in the history: the command is written again on what was accepted.
    Place,
    /// The one command: it is handed over, what comes after it is written again without it.
    Command,
    /// The whole document or feed: what waits for it is handed over together.
    Document,
}

/// By the codes of docs/errors.md.
pub const DENIALS: [(&str, Denies); 26] = [
    ("kind_not_served", Denies::Command),
    ("collection_not_served", Denies::Document),
    ("entry_too_large", Denies::Command),
    ("bad_change", Denies::Command),
    ("bad_content", Denies::Command),
    ("not_your_feed", Denies::Document),
    ("read_only", Denies::Document),
    ("owner_only", Denies::Command),
    ("erased", Denies::Document),
    ("kept_for_ever", Denies::Command),
    ("grant_not_valid_now", Denies::Document),
    ("not_invited", Denies::Document),
    ("grantee_full", Denies::Document),
    ("too_many_grants", Denies::Document),
    ("foreign_document", Denies::Document),
    ("document_exists", Denies::Document),
    ("unknown_dependency", Denies::Place),
    ("depends_on_rejected", Denies::Place),
    ("actor_forked", Denies::Place),
    ("actor_gap", Denies::Place),
    ("foreign_actor", Denies::Place),
    ("document_full", Denies::Document),
    ("account_full", Denies::Document),
    ("too_many_records", Denies::Document),
    ("too_many_heads", Denies::Place),
    ("refused_by_database", Denies::Command),
];

impl Denies {
    /// A code of a later version says something about one command.
    fn by(why: &Refusal) -> Self {
        DENIALS.iter().find(|(code, _)| *code == why.code).map_or(Self::Command, |(_, denies)| *denies)
    }
}

/// Documents being rebased in one transaction.
pub(super) struct Rebase<'a> {
    pub conn: &'a Connection,
    pub open: &'a mut OpenDocuments,
    /// Who writes again.
    pub writer: &'a str,
    pub now_ms: i64,
    pub rng: &'a mut dyn RngCore,
}

/// A document that lost changes.
struct Rebuilt {
    collection: String,
    /// The record with them.
    record: Value,
    doc: Automerge,
    lost: Vec<Change>,
}

impl Rebase<'_> {
    /// Takes refused entries of a document out of it. Returns how many commands were handed over.
    pub fn refused(&mut self, doc_id: DocId, refused: &BTreeMap<i64, Refusal>) -> Result<usize, StoreError> {
        let lane = outbox::lane(self.conn, doc_id)?;
        let is_refused = |one: &&Queued| refused.contains_key(&one.n);
        let left_out = lane.iter().filter(is_refused).filter_map(|one| one.hash).collect();
        if let Some(handed_over) = self.without(doc_id, &left_out, refused)? {
            return Ok(handed_over);
        }
        // Of what is damaged or gone nothing can be taken out.
        for one in lane.iter().filter(is_refused) {
            outbox::refuse(self.conn, doc_id, one, &refused[&one.n], self.now_ms)?;
        }
        Ok(refused.len())
    }

    /// Takes changes and what builds on them out of a document, and settles the commands behind them. `None` where the
    /// document is damaged or erased: then nothing was done.
    fn without(
        &mut self,
        doc_id: DocId,
        left_out: &BTreeSet<ChangeHash>,
        refused: &BTreeMap<i64, Refusal>,
    ) -> Result<Option<usize>, StoreError> {
        let Some(mut row) = DocumentRow::of(self.conn, doc_id)?.filter(|row| !row.erased) else { return Ok(None) };
        let Some(mut rebuilt) = self.rebuild(doc_id, &row, left_out)? else { return Ok(None) };
        let lost: BTreeSet<_> = rebuilt.lost.iter().map(|change| ChangeHash(change.hash().0)).collect();
        let is_lost = |one: &Queued| one.hash.is_some_and(|hash| lost.contains(&hash));
        let lane: Vec<_> = outbox::lane(self.conn, doc_id)?.into_iter().filter(is_lost).collect();
        self.give_up_actors(doc_id, &rebuilt.lost)?;
        for hash in &lost {
            row.payload_bytes -= outbox::forget(self.conn, doc_id, *hash)?;
        }
        pull::apply_again(self.conn, doc_id, &mut row, &mut rebuilt.doc)?;
        self.open.forget(doc_id);
        documents::replace(self.conn, doc_id, &mut row, &rebuilt.doc)?;
        outbox::resume(self.conn, doc_id)?;
        self.settle(doc_id, &lane, refused, &rebuilt).map(Some)
    }

    fn rebuild(
        &self,
        doc_id: DocId,
        row: &DocumentRow,
        left_out: &BTreeSet<ChangeHash>,
    ) -> Result<Option<Rebuilt>, StoreError> {
        let whole = match documents::load(self.conn, doc_id, row) {
            Err(StoreError::Damaged { .. }) => return Ok(None),
            whole => whole?,
        };
        let Ok((doc, lost)) = merge::without(&whole, left_out) else { return Ok(None) };
        let collection = Collection::named(&row.collection);
        let record = collection.map_or(Value::Null, |collection| record::project(&whole, collection).record);
        Ok(Some(Rebuilt { collection: row.collection.clone(), record, doc, lost }))
    }

    /// Writers whose changes were lost go on in this document as somebody else: the numbers of what was lost may be taken
    /// where another process pushed it too.
    fn give_up_actors(&mut self, doc_id: DocId, lost: &[Change]) -> Result<(), StoreError> {
        let lost: BTreeSet<_> =
            lost.iter().filter_map(|change| ActorId::from_slice(change.actor_id().to_bytes())).collect();
        let mut query = self.conn.prepare_cached(
            "SELECT w.name, coalesce(d.actor, w.actor) FROM writers w
             LEFT JOIN document_actors d ON d.doc_id = ? AND d.writer = w.name",
        )?;
        let writers: Vec<(String, ActorId)> = query
            .query_map([doc_id.as_bytes()], |row| Ok((row.get(0)?, ActorId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        for (writer, actor) in writers.into_iter().filter(|(_, actor)| lost.contains(actor)) {
            self.conn.execute("INSERT OR IGNORE INTO former_actors (actor) VALUES (?)", [actor.as_bytes()])?;
            self.conn.execute(
                "INSERT INTO document_actors (doc_id, writer, actor) VALUES (?, ?, ?)
                 ON CONFLICT (doc_id, writer) DO UPDATE SET actor = excluded.actor",
                (doc_id.as_bytes(), writer, ActorId::random(self.rng).as_bytes()),
            )?;
        }
        Ok(())
    }

    /// Writes the commands behind lost changes again, or hands them over. Returns how many of these.
    fn settle(
        &mut self,
        doc_id: DocId,
        lane: &[Queued],
        refused: &BTreeMap<i64, Refusal>,
        rebuilt: &Rebuilt,
    ) -> Result<usize, StoreError> {
        // Where one is handed over the others get on; else they must not come back for ever.
        let stuck = !refused.is_empty() && refused.values().all(|why| Denies::by(why) == Denies::Place);
        let mut handed_over = 0;
        let mut renamed = BTreeMap::new();
        for one in lane {
            let command = serde_json::from_str(&one.command).unwrap_or(Command::PutBack);
            let why = match verdict(one, refused) {
                None => self.write_again(doc_id, one, &command, i64::from(stuck), &mut renamed)?,
                why => why,
            };
            // Nobody asked for a genesis change by itself.
            if let Some(why) = why.filter(|_| command != Command::Genesis) {
                let at = if refused.is_empty() { one.written_at } else { self.now_ms };
                outbox::hand_over(self.conn, (doc_id, &rebuilt.collection), one, &why, at, &rebuilt.record)?;
                handed_over += 1;
            }
        }
        Ok(handed_over)
    }

    /// Writes a command again, at the time it was written; or says why it cannot be.
    fn write_again(
        &mut self,
        doc_id: DocId,
        one: &Queued,
        command: &Command,
        replays: i64,
        renamed: &mut BTreeMap<String, String>,
    ) -> Result<Option<Refusal>, StoreError> {
        let mut writer = Writer::new(self.conn, self.open, self.writer, one.written_at, self.rng)?;
        writer.seed = one.seed.unwrap_or(writer.seed);
        writer.replays = one.replays + replays;
        writer.doc_id = Some(doc_id);
        let written = match command {
            // Whoever creates what is in it makes it.
            Command::Genesis => return Ok(None),
            Command::Import { .. } => return Ok(Some(not_replayed("import its file again"))),
            Command::PutBack => return Ok(Some(not_replayed("import the archive again"))),
            Command::Erase { .. } => return Ok(Some(not_replayed("erase the record again"))),
            // The state may be one that has just been written again.
            Command::RestoreTo { doc_id, state } => {
                let state = renamed.get(state).unwrap_or(state).clone();
                writer.carry_out(&Command::RestoreTo { doc_id: *doc_id, state })
            }
            command => writer.carry_out(command),
        };
        match written {
            Ok((_, row, doc, changed)) => {
                if let Some(hash) = one.hash.filter(|_| changed) {
                    renamed.insert(hash.to_string(), written_hash(&doc).to_string());
                }
                self.open.keep(doc_id, row.version, doc);
                Ok(None)
            }
            Err(WriteError::Store(error)) => Err(error),
            Err(why) => Ok(Some(not_replayed(why))),
        }
    }
}

/// Why a command is handed over; `None` where it is to be written again.
fn verdict(one: &Queued, refused: &BTreeMap<i64, Refusal>) -> Option<Refusal> {
    let own = refused.get(&one.n);
    let by_itself = own.filter(|why| Denies::by(why) != Denies::Place);
    let with_all = refused.values().find(|why| Denies::by(why) == Denies::Document);
    let too_often = own.filter(|_| one.replays >= REPLAYS);
    by_itself.or(with_all).or(too_often).cloned()
}

fn not_replayed(why: impl std::fmt::Display) -> Refusal {
    let message = format!("it cannot be written again without a change that was refused: {why}");
    Refusal { code: NOT_REPLAYED.0.to_owned(), message }
}

impl Store {
    /// Rebases documents in which an earlier version left what was refused, with what was written since waiting beside it.
    pub(super) fn rebase_blocked(&mut self, rng: &mut dyn RngCore) -> Result<(), StoreError> {
        let mut query = self.conn.prepare("SELECT doc_id FROM documents WHERE blocked = 1")?;
        let blocked: Vec<DocId> = query.query_map([], |row| row.get(0).map(DocId))?.collect::<Result<_, _>>()?;
        drop(query);
        if blocked.is_empty() {
            return Ok(());
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut rebase = Rebase { conn: &tx, open: &mut self.open, writer: &self.writer, now_ms: 0, rng };
        for doc_id in blocked {
            let mut query = tx.prepare_cached(
                "SELECT e.change_hash FROM rejected r JOIN entries e USING (n)
                 WHERE r.doc_id = ? AND e.change_hash IS NOT NULL",
            )?;
            let hashes = query.query_map([doc_id.as_bytes()], |row| row.get(0).map(ChangeHash))?;
            let refused = hashes.collect::<Result<_, _>>()?;
            rebase.without(doc_id, &refused, &BTreeMap::new())?;
        }
        Ok(tx.commit()?)
    }
}
