//! A device: one home on one disk, with the processes that share it. Its clock may be wrong and its power may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use fitme_core::id::{ChangeHash, DocId, EntryId, FeedId};
use fitme_core::policy::{Access, AccountId};
use fitme_core::store::{Adoption, Identity, Store, StoreError, Tokens};
use fitme_core::wire::FeedGranted;
use fitme_disk::{Folder, Image, Lost};
use rand::{Rng, SeedableRng};
use rusqlite::{Connection, OpenFlags};
use sync_server::auth::Device;

use super::database::Database;
use super::ledger::{Promises, Write};
use super::script::Dice;
use super::words;
use crate::realistic::{Diary, Sets};

/// The app's store.
const FILE: &str = "fitme.db";

/// One of them.
pub struct Home {
    pub name: String,
    pub device: Device,
    pub folder: Folder,
    pub processes: Vec<Process>,
    pub online: bool,
    /// How far its clock is ahead.
    pub clock_offset_ms: i64,
    pub dice: Dice,
    pub diary: Diary,
    /// The workout to which sets are added.
    pub workout: Option<DocId>,
    pub backups: Vec<Image>,
    /// It, or somebody with a copy of it, may write under actors that went further without it; until its next Welcome, and
    /// for ever where the copy lives.
    pub may_fork: MayFork,
    /// It was put back from a backup or copied at some time: then it may hold changes of its own beside those that another life
    /// of it wrote under the same numbers, until a rebase makes them again.
    pub has_forked: bool,
    /// What it had written, after it was put back, before it heard from the server.
    pub forkable: BTreeSet<Write>,
    pub promises: Promises,
}

/// Whether a home may write under an actor that went further without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayFork {
    /// It may not.
    Never,
    /// It was put back from a backup and has not heard from the server since.
    UntilWelcome,
    /// A copy of it lives.
    Always,
}

/// One writer of a home.
pub struct Process {
    pub writer: &'static str,
    /// `None` while it does not run.
    pub store: Option<Store>,
}

impl Home {
    /// A new device of an account, with its writers.
    pub fn new(name: &str, device: Device, writers: &[&'static str], seed: u64) -> Self {
        fitme_disk::install();
        let processes = writers.iter().map(|writer| Process { writer, store: None }).collect();
        Self {
            name: name.to_owned(),
            device,
            folder: Folder::new(),
            processes,
            online: true,
            clock_offset_ms: 0,
            dice: Dice::seed_from_u64(seed),
            diary: Diary::new(seed, Sets::OneByOne),
            workout: None,
            backups: Vec::new(),
            may_fork: MayFork::Never,
            has_forked: false,
            forkable: BTreeSet::new(),
            promises: Promises::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Starts the processes that do not run.
    ///
    /// # Errors
    /// What a store says that does not open.
    pub fn start(&mut self) -> Result<(), StoreError> {
        let path = self.path();
        for process in self.processes.iter_mut().filter(|process| process.store.is_none()) {
            process.store = Some(Store::open(&path, process.writer, &mut self.dice)?);
        }
        Ok(())
    }

    /// Takes the account, as a device does that has logged in.
    ///
    /// # Panics
    /// When the home is another one's.
    pub fn sign_in(&mut self, database: &Database) {
        let account = self.device.account;
        let feeds = database.look(|tables| {
            let own = tables.feeds.iter().filter(|(_, row)| row.account == account);
            let granted = own.map(|(feed, row)| FeedGranted {
                feed: *feed,
                account: account.into_bytes(),
                access: Access::Write,
                owner_name: String::new(),
                collection: row.collection.clone(),
                scope: row.scope.clone(),
                epoch: row.epoch,
            });
            granted.collect()
        });
        let identity = Identity {
            account: account.into_bytes(),
            device: self.device.device.into_bytes(),
            email: "ann@example.org".to_owned(),
            device_name: self.name.clone(),
            server: "http://127.0.0.1:1".to_owned(),
            tokens: Tokens::default(),
        };
        let store = self.processes[0].store.as_mut().expect("it runs");
        store.adopt(&Adoption { identity, feeds }, &mut self.dice).expect("a new home takes an account");
    }

    /// Ends every process at once; what the disk has is left.
    pub fn power_fails(&mut self, dice: &mut Dice) {
        self.folder.cut();
        self.processes.iter_mut().for_each(|process| process.store = None);
        let lost = if dice.random_bool(0.5) { Lost::Unsynced } else { Lost::SomeSectors(dice) };
        self.folder.restart(lost);
    }

    /// Ends one process, wherever it is.
    pub fn kill(&mut self, process: usize) {
        self.folder.cut();
        self.processes[process].store = None;
        self.folder.restart(Lost::Nothing);
    }

    /// Becomes what it was.
    pub fn put_back(&mut self, image: &Image) {
        self.processes.iter_mut().for_each(|process| process.store = None);
        self.folder.restart(Lost::Nothing);
        self.folder.put_back(image);
        self.workout = None;
    }

    /// Every change and every erasure that the home's stores hold, in their tables.
    pub fn held(&self) -> rusqlite::Result<BTreeSet<Write>> {
        let mut held = BTreeSet::new();
        for (owner, connection) in self.looks()? {
            let mut query = connection
                .prepare("SELECT doc_id, change_hash FROM entries WHERE change_hash IS NOT NULL OR kind = 3")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                held.insert((owner, DocId(row.get(0)?), row.get::<_, Option<_>>(1)?.map(ChangeHash)));
            }
        }
        Ok(held)
    }

    /// Writes of this home that the server is not known to have.
    pub fn queued(&self) -> rusqlite::Result<BTreeSet<Write>> {
        let mut queued = BTreeSet::new();
        for (owner, connection) in self.looks()? {
            let mut query =
                connection.prepare("SELECT e.doc_id, e.change_hash FROM outbox JOIN entries e USING (n)")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                queued.insert((owner, DocId(row.get(0)?), row.get::<_, Option<_>>(1)?.map(ChangeHash)));
            }
        }
        Ok(queued)
    }

    /// Whether the command is still here from which an entry of one's own was made, or the server has merged it.
    pub fn keeps_command(&self, wire: FeedId, seq: u64, id: EntryId) -> rusqlite::Result<bool> {
        let look = Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        look.query_row(
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE entry_id = ?1)
                 OR NOT EXISTS (SELECT 1 FROM entries WHERE entry_id = ?1 AND change_hash IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM feeds WHERE wire = ?2 AND min(cursor, merged_seq) >= ?3)",
            (id.as_bytes(), wire.0.cast_signed(), seq.cast_signed()),
            |row| row.get(0),
        )
    }

    /// Documents that were erased here, of whose stores.
    pub fn erased(&self) -> rusqlite::Result<BTreeSet<(Option<AccountId>, DocId)>> {
        self.documents("SELECT doc_id FROM documents WHERE erased")
    }

    /// Documents of which something was refused and is shown.
    pub fn refused(&self) -> rusqlite::Result<BTreeSet<(Option<AccountId>, DocId)>> {
        self.documents("SELECT doc_id FROM rejected UNION SELECT doc_id FROM rejected_for")
    }

    /// Documents of which writes wait, or were refused.
    pub fn undecided(&self) -> rusqlite::Result<BTreeSet<(Option<AccountId>, DocId)>> {
        let mut undecided = self.refused()?;
        undecided.extend(self.documents("SELECT doc_id FROM outbox")?);
        Ok(undecided)
    }

    /// The marked words of writes that the server may not have yet, and of those that were refused.
    pub fn words_kept(&self) -> rusqlite::Result<BTreeMap<u64, (Option<AccountId>, DocId)>> {
        let mut kept = BTreeMap::new();
        for (owner, connection) in self.looks()? {
            let mut query = connection.prepare(
                "SELECT doc_id, command FROM outbox UNION ALL SELECT doc_id, command FROM rejected
                 UNION ALL SELECT doc_id, command FROM rejected_for",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (doc_id, command) = (DocId(row.get(0)?), row.get::<_, String>(1)?);
                kept.extend(words::marks_in(command.as_bytes()).into_iter().map(|word| (word, (owner, doc_id))));
            }
        }
        Ok(kept)
    }

    /// Documents out of which nothing could be taken that was refused, or of which something could not be applied because of
    /// a fork.
    pub fn set_aside(&self) -> rusqlite::Result<BTreeSet<(Option<AccountId>, DocId)>> {
        let mut set_aside = self
            .documents("SELECT doc_id FROM documents WHERE blocked UNION SELECT doc_id FROM outbox WHERE state = 2")?;
        if self.has_forked {
            set_aside.extend(self.documents("SELECT doc_id FROM documents WHERE unapplied > 0")?);
        }
        Ok(set_aside)
    }

    fn documents(&self, query: &str) -> rusqlite::Result<BTreeSet<(Option<AccountId>, DocId)>> {
        let mut documents = BTreeSet::new();
        for (owner, connection) in self.looks()? {
            let mut query = connection.prepare(query)?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                documents.insert((owner, DocId(row.get(0)?)));
            }
        }
        Ok(documents)
    }

    /// Cursor and digest of each feed, by its number on the wire.
    pub fn cursors(&mut self) -> Result<Vec<(FeedId, u64, fitme_core::entry::Digest)>, StoreError> {
        let Some(store) = self.processes[0].store.as_mut() else { return Ok(Vec::new()) };
        Ok(store.feeds()?.into_iter().map(|row| (row.feed, row.cursor, row.digest)).collect())
    }

    /// Whether changes of a document may have been taken out of it and written again, as others: something was refused there, or
    /// the home was put back from a backup, or copied.
    pub fn writes_again(&self, owner: Option<AccountId>, doc_id: DocId) -> bool {
        self.has_forked || self.promises.refused.contains(&(owner, doc_id))
    }

    /// A look into the home's own store, and into those of others beside it.
    fn looks(&self) -> rusqlite::Result<Vec<(Option<AccountId>, Connection)>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let own = Connection::open_with_flags(self.path(), flags)?;
        let owners: Vec<AccountId> = {
            let mut query = own.prepare("SELECT owner FROM shared UNION SELECT owner FROM written_for")?;
            let owners = query.query_map([], |row| row.get(0))?;
            owners.collect::<Result<_, _>>()?
        };
        let mut looks = vec![(None, own)];
        for owner in owners {
            let hex: String = owner.iter().map(|byte| format!("{byte:02x}")).collect();
            let path = self.folder.path().join(format!("fitme-of-{hex}.db"));
            if path.exists() {
                looks.push((Some(owner), Connection::open_with_flags(path, flags)?));
            }
        }
        Ok(looks)
    }
}
