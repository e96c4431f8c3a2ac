//! Commands of this device: change, entry, outbox row and list columns in one durable transaction.

use automerge::Automerge;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::documents::{self, DocumentRow, OpenDocuments};
use super::outbox::Asked;
use super::{Store, StoreError, WriteError, erase, outbox, salvage};
use crate::change;
use crate::collection::Collection;
use crate::entry::{Entry, Salt, random_salt};
use crate::id::{ActorId, ChangeHash, DocId, EntryId};
use crate::limits;
use crate::merge;
use crate::record::{self, Author, Invalid, Scalar};
use crate::wire::EntryKind;

/// What a person or an app asks for. It is kept beside the change that it became until the server has merged that, so
/// that it can be made again should the change be refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// A new record. The profile, of which there is one, is made or edited.
    Create {
        /// Collection name.
        collection: String,
        /// Its fields, see docs/records.md.
        fields: Value,
    },
    /// Fields that change; `null` removes one.
    Edit {
        /// Which record.
        #[serde(with = "doc_id_text")]
        doc_id: DocId,
        /// The fields, see docs/records.md.
        patch: Value,
    },
    /// Hides a record; undone by `Restore`.
    Trash {
        /// Which record.
        #[serde(with = "doc_id_text")]
        doc_id: DocId,
    },
    /// Shows a trashed record again.
    Restore {
        /// Which record.
        #[serde(with = "doc_id_text")]
        doc_id: DocId,
    },
    /// Brings back an earlier state, as a new change.
    RestoreTo {
        /// Which record.
        #[serde(with = "doc_id_text")]
        doc_id: DocId,
        /// The change after which the record was in that state: hex, see the record's history.
        state: String,
    },
    /// Deletes a record for good, everywhere.
    Erase {
        /// Which record.
        #[serde(with = "doc_id_text")]
        doc_id: DocId,
    },
    /// The containers of a document that any device may make; nobody asked for it by itself.
    Genesis,
    /// One importer step; it can be made again from the original file.
    Import {
        /// The step.
        step: u16,
    },
    /// A change that came with an archive of the account, which has it still.
    PutBack,
    /// A change that the server had and lost, whoever made it.
    SendAgain,
}

/// Whether a person asked for a stored command, so that it is handed back when it is lost. Nobody asked for a genesis change by
/// itself; and what the server lost, this home only offers, whoever wrote it.
pub(super) fn was_asked_for(stored: &str) -> bool {
    !matches!(serde_json::from_str(stored), Ok(Command::Genesis | Command::SendAgain))
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The record.
    pub doc_id: DocId,
    /// Whether anything was written: an equal value writes nothing.
    pub changed: bool,
}

/// An imported file as it was.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// blake3 of its bytes.
    pub hash: &'a [u8; 32],
    /// Its name, for people.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// One workout of an imported file.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// blake3 of the file.
    pub file_hash: [u8; 32],
    /// Which session of the file.
    pub session: u32,
    /// Fields by importer step, the first step first. A later importer version only adds steps.
    pub steps: Vec<Vec<(String, Scalar)>>,
    /// The device's zone, where the file has none.
    pub zone_guess: Option<String>,
}

/// What became of an imported workout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// New on this device.
    Added,
    /// Known, and this importer knew more.
    Extended,
    /// Known; nothing was written.
    Known,
}

impl Store {
    /// Carries out one command; it is durable when this returns. `now_ms` is the device's clock, UTC.
    pub fn write(&mut self, command: &Command, now_ms: i64, rng: &mut dyn RngCore) -> Result<Written, WriteError> {
        if let Command::Erase { doc_id } = command {
            self.erase(*doc_id, now_ms, rng)?;
            return Ok(Written { doc_id: *doc_id, changed: true });
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        salvage::check_in_place(self.file, &self.path)?;
        let mut writer = Writer::new(&tx, &mut self.open, &self.writer, now_ms, rng)?;
        let (doc_id, row, doc, changed) = match writer.carry_out(command) {
            Err(WriteError::Store(damaged @ StoreError::Damaged { doc_id, .. })) => {
                drop(tx);
                self.fetch_damaged(doc_id)?;
                return Err(damaged.into());
            }
            carried => carried?,
        };
        tx.commit()?;
        self.open.keep(doc_id, row.version, doc);
        Ok(Written { doc_id, changed })
    }

    /// Imports a page of workouts and keeps the files they were read from, all with one commit. Returns which records they
    /// are.
    pub fn import(
        &mut self,
        originals: &[Original<'_>],
        page: &[Imported],
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<Vec<(DocId, ImportOutcome)>, WriteError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        salvage::check_in_place(self.file, &self.path)?;
        for original in originals {
            tx.prepare_cached(
                "INSERT INTO originals (hash, name, imported_at, bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?
            .execute((original.hash, original.name, now_ms, original.bytes))?;
        }
        let mut writer = Writer::new(&tx, &mut self.open, &self.writer, now_ms, rng)?;
        let outcomes = page.iter().map(|imported| writer.import(imported)).collect::<Result<_, _>>()?;
        tx.commit()?;
        Ok(outcomes)
    }
}

/// One transaction's worth of local changes.
pub(super) struct Writer<'a> {
    conn: &'a Connection,
    open: &'a mut OpenDocuments,
    writer: &'a str,
    /// The writer's, where it has no other one in the document.
    actor: ActorId,
    now_ms: i64,
    rng: &'a mut dyn RngCore,
    /// Where ids of new items are drawn from.
    pub seed: i64,
    /// How often the command was written before.
    pub replays: i64,
    /// The id of a new record, if it had one before.
    pub doc_id: Option<DocId>,
}

type Carried = (DocId, DocumentRow, Automerge, bool);

impl<'a> Writer<'a> {
    pub fn new(
        conn: &'a Connection,
        open: &'a mut OpenDocuments,
        writer: &'a str,
        now_ms: i64,
        rng: &'a mut dyn RngCore,
    ) -> Result<Self, StoreError> {
        let actor = super::writer_actor(conn, writer)?;
        let seed = rng.next_u64().cast_signed();
        Ok(Self { conn, open, writer, actor, now_ms, rng, seed, replays: 0, doc_id: None })
    }

    /// Who writes in this document, now.
    fn author(&self, doc_id: DocId) -> Result<Author, StoreError> {
        let mut query =
            self.conn.prepare_cached("SELECT actor FROM document_actors WHERE doc_id = ? AND writer = ?")?;
        let own = query.query_row((doc_id.as_bytes(), self.writer), |row| row.get(0).map(ActorId)).optional()?;
        Ok(Author { actor: own.unwrap_or(self.actor), time_ms: self.now_ms })
    }

    /// Ids of new items come from here: the same ones, whenever the command is written again.
    fn ids(&self) -> ChaCha12Rng {
        ChaCha12Rng::seed_from_u64(self.seed.cast_unsigned())
    }

    pub fn carry_out(&mut self, command: &Command) -> Result<Carried, WriteError> {
        match command {
            Command::Create { collection, fields } => self.create(command, collection, fields),
            Command::Edit { doc_id, patch } => self.change(command, *doc_id, |doc, collection, author, ids| {
                Ok(record::edit(doc, collection, patch, author, ids)?)
            }),
            Command::Trash { doc_id } => {
                self.change(command, *doc_id, |doc, collection, author, _| trash(doc, collection, true, author))
            }
            Command::Restore { doc_id } => {
                self.change(command, *doc_id, |doc, collection, author, _| trash(doc, collection, false, author))
            }
            Command::RestoreTo { doc_id, state } => self.change(command, *doc_id, |doc, collection, author, ids| {
                let hash = state_hash(state).ok_or(WriteError::NotFound(*doc_id))?;
                if doc.get_change_meta_by_hash(&automerge::ChangeHash(hash.0)).is_none() {
                    return Err(WriteError::NoSuchState(*doc_id, hash));
                }
                Ok(record::restore_to(doc, collection, &hash, author, ids)?)
            }),
            Command::Erase { .. }
            | Command::Genesis
            | Command::Import { .. }
            | Command::PutBack
            | Command::SendAgain => {
                unreachable!("carried out elsewhere, or made by the store itself")
            }
        }
    }

    fn create(&mut self, command: &Command, collection: &str, fields: &Value) -> Result<Carried, WriteError> {
        let collection = collection_named(collection)?;
        if collection == Collection::Profile {
            let doc_id = erase::first_left(self.conn, record::profile_id)?;
            self.ensure_genesis(doc_id, collection)?;
            return self.change(command, doc_id, |doc, collection, author, ids| {
                Ok(record::edit(doc, collection, fields, author, ids)?)
            });
        }
        let doc_id = self.doc_id.unwrap_or_else(|| DocId::random(self.now_ms, self.rng));
        let author = self.author(doc_id)?;
        let (doc, payload) = record::create(collection, fields, &author, &mut self.ids())?;
        let mut row = DocumentRow::new(feed_of(self.conn, collection)?, collection.name());
        self.append(doc_id, &mut row, payload, written_hash(&doc), command, author.actor)?;
        documents::save(self.conn, doc_id, &mut row, &doc)?;
        Ok((doc_id, row, doc, true))
    }

    /// Makes one change to a document and stores it, unless it turns out to change nothing.
    fn change(
        &mut self,
        command: &Command,
        doc_id: DocId,
        make: impl FnOnce(&mut Automerge, Collection, &Author, &mut dyn RngCore) -> Result<Option<Vec<u8>>, WriteError>,
    ) -> Result<Carried, WriteError> {
        let mut row = DocumentRow::of(self.conn, doc_id)?.ok_or(WriteError::NotFound(doc_id))?;
        if row.erased {
            return Err(WriteError::Erased(doc_id));
        }
        // Nothing of it could be read, or an audit took what was damaged: a change of nothing would begin a second history.
        if row.heads.is_empty() {
            return Err(StoreError::ComesAgain(doc_id).into());
        }
        let (collection, author) = (collection_named(&row.collection)?, self.author(doc_id)?);
        let mut doc = self.open.take(self.conn, doc_id, &row)?;
        let payload = make(&mut doc, collection, &author, &mut self.ids())?;
        let changed = payload.is_some();
        if let Some(payload) = payload {
            self.append(doc_id, &mut row, payload, written_hash(&doc), command, author.actor)?;
            documents::save(self.conn, doc_id, &mut row, &doc)?;
        }
        Ok((doc_id, row, doc, changed))
    }

    /// The document of a derived id, made of its genesis change unless it is here.
    fn ensure_genesis(&mut self, doc_id: DocId, collection: Collection) -> Result<bool, WriteError> {
        if DocumentRow::of(self.conn, doc_id)?.is_some() {
            return Ok(false);
        }
        let payload = record::genesis(collection);
        let doc = record::from_genesis(collection);
        let mut row = DocumentRow::new(feed_of(self.conn, collection)?, collection.name());
        self.append(doc_id, &mut row, payload, written_hash(&doc), &Command::Genesis, self.actor)?;
        documents::save(self.conn, doc_id, &mut row, &doc)?;
        Ok(true)
    }

    fn import(&mut self, imported: &Imported) -> Result<(DocId, ImportOutcome), WriteError> {
        let derived = |generation| record::imported_id(&imported.file_hash, imported.session, generation);
        let doc_id = erase::first_left(self.conn, derived)?;
        let added = self.ensure_genesis(doc_id, Collection::Workouts)?;
        let mut row = DocumentRow::of(self.conn, doc_id)?.ok_or(WriteError::NotFound(doc_id))?;
        let mut doc = self.open.take(self.conn, doc_id, &row)?;
        let mut extended = false;
        for (step, fields) in (1..).zip(&imported.steps) {
            let payload = record::import(Collection::Workouts, doc_id, step, fields)?;
            let change = change::reread(&payload).expect("a change that this device just made");
            let hash = ChangeHash(change.hash().0);
            if !merge::holds(&doc, hash) {
                merge::apply_read(&mut doc, vec![change]).map_err(|reason| StoreError::Damaged { doc_id, reason })?;
                self.append(doc_id, &mut row, payload, hash, &Command::Import { step }, self.actor)?;
                extended = true;
            }
        }
        if let (true, Some(zone)) = (added, &imported.zone_guess) {
            let author = self.author(doc_id)?;
            let patch = serde_json::json!({ "zone_guess": zone });
            if let Some(payload) = record::edit(&mut doc, Collection::Workouts, &patch, &author, self.rng)? {
                let edit = Command::Edit { doc_id, patch };
                self.append(doc_id, &mut row, payload, written_hash(&doc), &edit, author.actor)?;
            }
        }
        if extended {
            documents::save(self.conn, doc_id, &mut row, &doc)?;
        }
        let outcome = match (added, extended) {
            (true, _) => ImportOutcome::Added,
            (false, true) => ImportOutcome::Extended,
            (false, false) => ImportOutcome::Known,
        };
        Ok((doc_id, outcome))
    }

    fn append(
        &mut self,
        doc_id: DocId,
        row: &mut DocumentRow,
        payload: Vec<u8>,
        hash: ChangeHash,
        command: &Command,
        actor: ActorId,
    ) -> Result<EntryId, WriteError> {
        if payload.len() > limits::ENTRY_BYTES {
            return Err(WriteError::EntryTooLarge { bytes: payload.len() });
        }
        // The server counts payloads too; a document refused there would be refused for good.
        row.add_payload(payload.len());
        let bytes = row.payload_bytes as u64;
        if bytes > limits::DOCUMENT_BYTES {
            return Err(WriteError::DocumentFull { doc_id, bytes });
        }
        let by_rule = matches!(command, Command::Genesis | Command::Import { .. });
        let (device_time, actor) = if by_rule { (0, None) } else { (self.now_ms, Some(actor)) };
        let salt = if *command == Command::Genesis { Salt::default() } else { random_salt(self.rng) };
        let entry = Entry { kind: EntryKind::Change.into(), doc_id, device_time, salt, payload };
        let (seed, replays) = (Some(self.seed), self.replays);
        Ok(outbox::queue(
            self.conn,
            row,
            &entry,
            Some(hash),
            &Asked { command, actor, at_ms: self.now_ms, seed, replays },
        )?)
    }
}

/// The number that a collection's feed has in this store.
pub(super) fn feed_of(conn: &Connection, collection: Collection) -> Result<i64, StoreError> {
    let mut query = conn.prepare_cached("SELECT feed FROM feeds WHERE collection = ? AND scope = ''")?;
    Ok(query.query_row([collection.name()], |row| row.get(0))?)
}

fn trash(
    doc: &mut Automerge,
    collection: Collection,
    trashed: bool,
    author: &Author,
) -> Result<Option<Vec<u8>>, WriteError> {
    if collection.is_write_once() {
        return Err(record::written_once(collection).into());
    }
    Ok(record::set_trashed(doc, trashed, author))
}

/// The change that was just made: it builds on every head there was, so it is the only one now.
pub(super) fn written_hash(doc: &Automerge) -> ChangeHash {
    *merge::heads(doc).first().expect("a document with a change has a head")
}

fn collection_named(name: &str) -> Result<Collection, Invalid> {
    let named = Collection::named(name).filter(|collection| collection.is_served());
    named.ok_or_else(|| Invalid::record(format!("\"{name}\" is no collection that this version can write to")))
}

fn state_hash(text: &str) -> Option<ChangeHash> {
    let bytes = (0..text.len() / 2)
        .map(|at| text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<Vec<_>>>()?;
    ChangeHash::from_slice(&bytes)
}

mod doc_id_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::id::DocId;

    pub fn serialize<S: Serializer>(id: &DocId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DocId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
