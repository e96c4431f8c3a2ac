//! The process that writes on a device: logs and edits what people log and edit, in bursts, and tells the journal of it.
//! Another process, `fitme sync`, shares the home and sends it.
//!
//! It ends with its standard input; a line there asks it to write no more.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{Command, ListQuery, Store, StoreError, WriteError};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::journal::{Journal, Receipt, Told, Wrote};
use crate::realistic::{Act, Diary, Sets};

/// Name under which it writes into the home.
const WRITER: &str = "app";
/// Writes in a row.
const BURST: std::ops::RangeInclusive<usize> = 1..=8;
/// Between two bursts.
const PAUSE_MS: std::ops::Range<u64> = 100..2_500;
/// Records among which one is picked to be edited.
const LATEST: usize = 50;
/// What people edit.
const EDITED: [Collection; 3] = [Collection::Workouts, Collection::Meals, Collection::Moods];

/// One start of the process.
#[derive(Debug)]
pub struct Life {
    /// The device's home.
    pub home: PathBuf,
    /// Its journal.
    pub journal: PathBuf,
    /// Draws what it writes.
    pub seed: u64,
}

/// Writes until standard input ends.
///
/// # Panics
/// When the store refuses what it must not refuse.
pub fn live(life: &Life) {
    let commands = commands();
    let mut writer = Writer::new(life);
    let mut writes = true;
    loop {
        if writes {
            for _ in 0..writer.rng.random_range(BURST) {
                writer.act();
            }
        }
        writer.tell_receipts();
        match commands.recv_timeout(Duration::from_millis(writer.rng.random_range(PAUSE_MS))) {
            Ok(()) => writes = false,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return writer.tell_receipts(),
        }
    }
}

/// A message for each line of standard input.
fn commands() -> Receiver<()> {
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _the_process_ends = tell.send(());
        }
    });
    heard
}

struct Writer {
    store: Store,
    /// The same file, for what the store does not say.
    file: Connection,
    journal: Journal,
    rng: StdRng,
    diary: Diary,
    workout: Option<DocId>,
    /// The last entry that was looked at.
    seen: i64,
    /// Those that had no number then.
    unanswered: Vec<i64>,
}

impl Writer {
    fn new(life: &Life) -> Self {
        let path = life.home.join("fitme.db");
        let mut rng = StdRng::seed_from_u64(life.seed);
        let store = Store::open(&path, WRITER, &mut rng).unwrap_or_else(|error| panic!("{error}"));
        let file = open(&path);
        let diary = Diary::new(rng.random(), Sets::OneByOne);
        let journal = Journal::open(&life.journal);
        Self { store, file, journal, rng, diary, workout: None, seen: 0, unanswered: Vec::new() }
    }

    fn act(&mut self) {
        let command = match self.rng.random_range(0..100) {
            0 => self.latest(Collection::Moods).map(|doc_id| Command::Erase { doc_id }),
            1..=3 => self.any().map(|doc_id| Command::Trash { doc_id }),
            4..=6 => self.any().map(|doc_id| Command::Restore { doc_id }),
            7..=9 => Some(self.profile()),
            10..=39 => self.edit(),
            _ => self.next_of_diary(),
        };
        if let Some(command) = command {
            self.write(&command);
        }
    }

    fn next_of_diary(&mut self) -> Option<Command> {
        match self.diary.next()? {
            Act::Log { collection, fields, .. } => Some(Command::Create { collection: collection.to_owned(), fields }),
            Act::Set { patch, .. } => self.workout.map(|doc_id| Command::Edit { doc_id, patch }),
        }
    }

    /// The one document that several devices make without having met.
    fn profile(&mut self) -> Command {
        let fields = json!({ "name": format!("Ann {}", self.rng.random_range(0..100)) });
        Command::Create { collection: "profile".to_owned(), fields }
    }

    fn edit(&mut self) -> Option<Command> {
        let collection = *EDITED.choose(&mut self.rng)?;
        let doc_id = self.latest(collection)?;
        let number = self.rng.random_range(1..=5);
        let patch: Value = match collection {
            Collection::Moods => json!({ "energy": number }),
            Collection::Workouts => json!({ "title": format!("Gym {number}") }),
            _ => json!({ "note": format!("seen {number} times") }),
        };
        Some(Command::Edit { doc_id, patch })
    }

    fn any(&mut self) -> Option<DocId> {
        let collection = *EDITED.choose(&mut self.rng)?;
        self.latest(collection)
    }

    fn latest(&mut self, collection: Collection) -> Option<DocId> {
        let trashed = self.rng.random_bool(0.1);
        let query = ListQuery { collection, since: None, until: None, trashed, limit: LATEST };
        let listed = self.store.list(&query).unwrap_or_else(|error| panic!("{error}"));
        listed.choose(&mut self.rng).map(|listed| listed.doc_id)
    }

    /// Writes, then tells what has come to be in the store by that; what came of the same record from elsewhere meanwhile is
    /// durable here as well, and told with it.
    fn write(&mut self, command: &Command) {
        let before: i64 = number(&self.file, "SELECT coalesce(max(n), 0) FROM entries");
        let written = match self.store.write(command, now_ms(), &mut self.rng) {
            Ok(written) => written,
            // The other process received an erasure in between, or a record that can take no more.
            Err(WriteError::NotFound(_) | WriteError::Erased(_) | WriteError::DocumentFull { .. }) => return,
            Err(WriteError::Store(StoreError::Busy)) => return,
            Err(error) => panic!("{command:?} was refused: {error}"),
        };
        if matches!(command, Command::Create { collection, .. } if collection == "workouts") {
            self.workout = Some(written.doc_id);
        }
        let mut query = self
            .file
            .prepare_cached("SELECT hex(entry_id), hex(change_hash) FROM entries WHERE doc_id = ? AND n > ? ORDER BY n")
            .expect("the store has entries");
        let wrote = query
            .query_map((written.doc_id.as_bytes(), before), |row| {
                let (entry, change): (String, String) = (row.get(0)?, row.get(1)?);
                let change = (!change.is_empty()).then(|| change.to_lowercase());
                Ok(Told::Wrote(Wrote { doc: written.doc_id.to_string(), entry: entry.to_lowercase(), change }))
            })
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .expect("the store can be read");
        self.journal.tell(&wrote);
    }

    /// Tells the numbers that entries have been given since it was last looked.
    fn tell_receipts(&mut self) {
        let mut told = Vec::new();
        let unanswered = std::mem::take(&mut self.unanswered);
        let mut later = self.file.prepare_cached(&format!("{NUMBERED} n = ?")).expect("the store has entries");
        let mut rows: Vec<Numbered> = Vec::new();
        for n in unanswered {
            rows.extend(later.query_row([n], numbered));
        }
        let mut new = self.file.prepare_cached(&format!("{NUMBERED} n > ? ORDER BY n")).expect("the store has entries");
        let new = new.query_map([self.seen], numbered).expect("the store can be read");
        rows.extend(new.map(|row| row.expect("the store can be read")));
        for Numbered { n, feed, seq, entry } in rows {
            self.seen = self.seen.max(n);
            match (feed, seq) {
                (Some(feed), Some(seq)) => told.push(Told::Receipt(Receipt { feed, seq, entry })),
                _ => self.unanswered.push(n),
            }
        }
        self.journal.tell(&told);
    }
}

const NUMBERED: &str = "SELECT e.n, f.wire, e.seq, hex(e.entry_id) FROM entries e JOIN feeds f USING (feed) WHERE";

/// An entry of the store, with its number on the server once the device knows it.
struct Numbered {
    n: i64,
    feed: Option<i64>,
    seq: Option<i64>,
    entry: String,
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let entry = row.get::<_, String>(3)?.to_lowercase();
    Ok(Numbered { n: row.get(0)?, feed: row.get(1)?, seq: row.get(2)?, entry })
}

/// Opens a store's file to look into it, beside those who work with it.
pub(super) fn open(path: &Path) -> Connection {
    const PATIENCE: Duration = Duration::from_secs(30);
    let file = Connection::open(path).expect("the store's file can be opened");
    file.busy_timeout(PATIENCE).expect("a connection can wait");
    file
}

fn number(file: &Connection, sql: &str) -> i64 {
    file.prepare_cached(sql).and_then(|mut query| query.query_row([], |row| row.get(0))).expect("the store can be read")
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
