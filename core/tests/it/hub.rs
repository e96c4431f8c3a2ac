//! Devices and a server that exist only in memory: the shipped session of both ends with the smallest database that can
//! stand behind it, so that a thousand sessions run in a second. What Postgres must do is tested against Postgres.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use fitme_core::change::{self, ChangeFacts};
use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ActorId, ChangeHash, DocId, EntryId, Epoch, FeedId, Installation};
use fitme_core::limits;
use fitme_core::merge;
use fitme_core::policy::Access;
use fitme_core::reconcile::{Answer, Answering, Held, Question, Range};
use fitme_core::record;
use fitme_core::session::{
    Account, AccountFeed, DeviceEffect, DeviceEvent, DeviceSession, Echo, LiveEntries, Mode, Own, Page, Progress,
    Received, ServerEffect, ServerEvent, ServerSession, Settled,
};
use fitme_core::store::{Adoption, Command, Identity, ListQuery, Store, Tokens};
use fitme_core::wire::bootstrap::Snapshot;
use fitme_core::wire::{self, Cursors, FeedGranted, FeedPush, Frame, Receipt, Refusal};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

mod snapshots;

/// 2026-11-22 08:00 UTC.
pub const MORNING: i64 = 1_795_334_400_000;

/// One feed in the hub's memory.
struct Feed {
    collection: Collection,
    scope: &'static str,
    epoch: Epoch,
    entries: Vec<(Received, ChangeHash, ActorId)>,
    /// What was emptied is in older backups still.
    backup: Vec<(EntryId, Entry, ChangeHash)>,
}

impl Feed {
    fn digest(&self, upto: u64) -> Option<Digest> {
        let entries = self.entries.get(..usize::try_from(upto).ok()?)?;
        Some(entries.iter().fold(Digest::default(), |sum, (received, ..)| sum.plus(received.id)))
    }
}

impl Feed {
    /// The entry that erased the document, with its number.
    fn erased_by(&self, doc_id: DocId) -> Option<(u64, EntryId)> {
        let erases = |received: &Received| received.entry.doc_id == doc_id && received.entry.is_erasure();
        let at = self.entries.iter().position(|(received, ..)| erases(received))?;
        Some((at as u64 + 1, self.entries[at].0.id))
    }

    /// Heads of each document; none of one that was erased.
    fn held(&self) -> BTreeMap<DocId, Vec<ChangeHash>> {
        let mut documents: BTreeMap<DocId, Vec<ChangeHash>> = BTreeMap::new();
        for (received, ..) in &self.entries {
            let heads = documents.entry(received.entry.doc_id).or_default();
            match change::read(&received.entry.payload) {
                Ok(read) => merge::advance_heads(heads, &read.facts.deps, read.facts.hash),
                Err(_) if received.entry.is_erasure() => heads.clear(),
                Err(_) => {}
            }
        }
        documents
    }

    /// What it holds of its documents, compared with what a device does.
    fn answers(&self, questions: Vec<Question>) -> Vec<Answer> {
        let documents = self.held();
        let answer = |question: Question| {
            let mut answering = Answering::new(question);
            let Range { from, to } = question.range;
            let inside = documents.range(from..).take_while(|(id, _)| to.is_none_or(|to| **id < to));
            inside.for_each(|(doc_id, heads)| answering.take(Held { doc_id: *doc_id, heads: heads.clone() }));
            answering.answer()
        };
        questions.into_iter().map(answer).collect()
    }

    /// Why a change may not stand where it does.
    fn misplaced(&self, doc_id: DocId, facts: &ChangeFacts) -> Option<&'static str> {
        let of_document = || self.entries.iter().filter(move |(received, ..)| received.entry.doc_id == doc_id);
        if !facts.deps.iter().all(|dependency| of_document().any(|(_, hash, _)| hash == dependency)) {
            return Some("depends_on_rejected");
        }
        let written = of_document().filter(|(.., actor)| *actor == facts.actor).count() as u64;
        (facts.actor_seq != written + 1).then_some(if facts.actor_seq > written { "actor_gap" } else { "actor_forked" })
    }

    fn erase(&mut self, erasure: &Entry) -> (u64, EntryId, Receipt) {
        if let Some((seq, entry_id)) = self.erased_by(erasure.doc_id) {
            return (seq, entry_id, Receipt::Duplicate { seq, entry_id });
        }
        for (received, hash, _) in self.entries.iter_mut().filter(|one| one.0.entry.doc_id == erasure.doc_id) {
            received.emptied = true;
            let emptied = Entry { payload: Vec::new(), salt: [0; 8], ..received.entry.clone() };
            self.backup.push((received.id, std::mem::replace(&mut received.entry, emptied), *hash));
            *hash = ChangeHash([0; 32]);
        }
        self.entries.push((Received::whole(erasure.clone()), ChangeHash([0; 32]), ActorId([0; 16])));
        let seq = self.entries.len() as u64;
        (seq, erasure.id(), Receipt::Accepted(seq))
    }
}

/// The server: one account, everything in memory.
pub struct Hub {
    feeds: BTreeMap<FeedId, Feed>,
    /// Documents whose entries are refused, with a code.
    pub refuse: BTreeMap<DocId, &'static str>,
    /// Entries that are refused, by the time at which they were written.
    pub refuse_at: BTreeMap<i64, &'static str>,
    /// Feeds that are further behind than this come as snapshots.
    pub bootstrap_from: u64,
    /// Documents in one page of them.
    pub page_documents: usize,
    /// Documents that could not be merged beyond this number.
    pub quarantined: BTreeMap<DocId, u64>,
    /// What becomes of a snapshot on its way.
    pub spoil: Box<dyn Fn(&mut Snapshot)>,
}

impl Hub {
    pub fn new() -> Self {
        let feeds = Collection::feeds_of_an_account().zip(1..).map(|((collection, scope), n)| {
            // Spread like the random numbers of a real server.
            let feed = FeedId(n * 0x0F0F_1234_5678 % 0xFFFF_FFFF_FFFF);
            (feed, Feed { collection, scope, epoch: Epoch([n as u8; 8]), entries: Vec::new(), backup: Vec::new() })
        });
        Self {
            feeds: feeds.collect(),
            refuse: BTreeMap::new(),
            refuse_at: BTreeMap::new(),
            bootstrap_from: limits::BOOTSTRAP_FROM_ENTRIES,
            page_documents: 3,
            quarantined: BTreeMap::new(),
            spoil: Box::new(|_| {}),
        }
    }

    /// The same, where a device that is more than `entries` behind gets snapshots.
    pub fn bootstrapping_from(entries: u64) -> Self {
        Self { bootstrap_from: entries, ..Self::new() }
    }

    pub fn granted(&self) -> Vec<FeedGranted> {
        let granted = |(id, feed): (&FeedId, &Feed)| FeedGranted {
            feed: *id,
            account: [9; 16],
            collection: feed.collection.name().to_owned(),
            scope: feed.scope.to_owned(),
            epoch: feed.epoch,
            access: Access::Write,
            owner_name: String::new(),
        };
        self.feeds.iter().map(granted).collect()
    }

    /// Numbers of all entries, feed by feed.
    pub fn lengths(&self) -> Vec<usize> {
        self.feeds.values().map(|feed| feed.entries.len()).collect()
    }

    fn heads(&self) -> Vec<(FeedId, u64)> {
        self.feeds.iter().map(|(id, feed)| (*id, feed.entries.len() as u64)).collect()
    }

    /// Appends what no device can read: an entry of a kind of the future, and garbage.
    pub fn append_unreadable(&mut self, collection: &str, doc_id: DocId) {
        let feed = self.feeds.values_mut().find(|feed| feed.collection.name() == collection).expect("a collection");
        for (kind, byte) in [(77, 1), (0, 2)] {
            let entry = Entry { kind, doc_id, device_time: MORNING, salt: [byte; 8], payload: vec![byte; 40] };
            let nobody = (ChangeHash([byte; 32]), ActorId([byte; 16]));
            feed.entries.push((Received::whole(entry), nobody.0, nobody.1));
        }
    }

    /// Heads of every document that was not erased, as a device says them.
    pub fn heads_of_documents(&self) -> Vec<(DocId, Vec<u8>)> {
        let documents: BTreeMap<_, _> = self.feeds.values().flat_map(Feed::held).collect();
        let held = documents.into_iter().filter(|(_, heads)| !heads.is_empty());
        held.map(|(id, heads)| (id, heads.iter().flat_map(|head| head.0).collect())).collect()
    }

    pub fn is_erased(&self, doc_id: DocId) -> bool {
        self.feeds.values().any(|feed| feed.erased_by(doc_id).is_some())
    }

    pub fn assert_nothing_doubled(&self) {
        for feed in self.feeds.values() {
            let mut seen = BTreeSet::new();
            let whole = feed.entries.iter().filter(|(received, ..)| !received.emptied);
            for (received, hash, _) in whole.filter(|(received, ..)| !received.entry.is_erasure()) {
                assert!(seen.insert((received.entry.doc_id, *hash)), "{} is here twice", received.entry.doc_id);
            }
        }
    }

    /// Gives every feed a new epoch, as an operator does after a restore.
    pub fn renew_epochs(&mut self) {
        for feed in self.feeds.values_mut() {
            feed.epoch.0[6] ^= 0xff;
        }
    }

    /// Forgets the last entries of each feed, as a server restored from a backup has.
    pub fn restore_from_backup(&mut self, lost: usize) {
        for feed in self.feeds.values_mut() {
            let keep = feed.entries.len().saturating_sub(lost);
            feed.entries.truncate(keep);
        }
    }

    /// The backup is from before the document was erased.
    pub fn unerase(&mut self, doc_id: DocId) {
        for feed in self.feeds.values_mut() {
            for (received, hash, _) in feed.entries.iter_mut().filter(|one| one.0.entry.doc_id == doc_id) {
                let whole = feed.backup.iter().find(|(id, ..)| *id == received.id).expect("it was emptied here");
                (received.entry, received.emptied, *hash) = (whole.1.clone(), false, whole.2);
            }
        }
    }

    /// The account as a device is to see it that holds nothing.
    pub fn account_at_nothing(&self) -> Account {
        self.account(&Cursors::default(), &[])
    }

    fn account(&self, cursors: &Cursors, actors: &[ActorId]) -> Account {
        let tip = |actor: &ActorId| {
            let mut written = self.feeds.values().flat_map(|feed| &feed.entries).filter(|(_, _, by)| by == actor);
            written.next_back().map(|(received, ..)| (*actor, received.id))
        };
        Account {
            installation: Installation([1; 8]),
            account: [9; 16],
            clock_ms: MORNING,
            grants_version: 0,
            actors: actors.iter().filter_map(tip).collect(),
            feeds: self
                .feeds
                .iter()
                .map(|(id, feed)| AccountFeed {
                    feed: *id,
                    owner: [9; 16],
                    owner_name: "".into(),
                    access: Access::Write,
                    collection: feed.collection.name().into(),
                    scope: feed.scope.into(),
                    epoch: feed.epoch,
                    head: feed.entries.len() as u64,
                    head_digest: feed.digest(feed.entries.len() as u64).unwrap_or_default(),
                    merged: self.clean(feed),
                    folded: feed.entries.len() as u64,
                    digest_at_cursor: cursors.0.get(id).and_then(|cursor| feed.digest(*cursor)),
                })
                .collect(),
        }
    }

    fn ingest(&mut self, batch: u64, pushes: &[FeedPush]) -> Settled {
        let mut settled = Settled { batch, receipts: Vec::new(), own: Vec::new() };
        for push in pushes {
            let feed = self.feeds.get_mut(&push.feed).expect("a feed that the hub granted");
            for entry in &push.entries {
                if entry.is_erasure() {
                    let (seq, id, receipt) = feed.erase(entry);
                    let echo = if id == entry.id() { Echo::Fresh } else { Echo::InFull };
                    settled.own.push(Own { feed: push.feed, seq, id, echo });
                    settled.receipts.push(receipt);
                    continue;
                }
                let is_known = feed.entries.iter().any(|(known, ..)| known.id == entry.id());
                if feed.erased_by(entry.doc_id).is_some() && !is_known {
                    let why = Refusal { code: wire::ERASED.to_owned(), message: wire::ERASED_SENTENCE.to_owned() };
                    settled.receipts.push(Receipt::Rejected(why));
                    continue;
                }
                if let Some(code) = self.refuse.get(&entry.doc_id).or(self.refuse_at.get(&entry.device_time)) {
                    let why = Refusal { code: (*code).to_owned(), message: "The test refuses it.".to_owned() };
                    settled.receipts.push(Receipt::Rejected(why));
                    continue;
                }
                let facts = change::read(&entry.payload).expect("devices push readable changes").facts;
                let holds = |dep: &ChangeHash| {
                    feed.entries.iter().any(|(known, hash, _)| known.entry.doc_id == entry.doc_id && hash == dep)
                };
                if !facts.deps.iter().all(holds) {
                    let message = "It builds on what is not here.".to_owned();
                    settled
                        .receipts
                        .push(Receipt::Rejected(Refusal { code: "unknown_dependency".to_owned(), message }));
                    continue;
                }
                let known = feed.entries.iter().position(|(known, hash, _)| {
                    known.id == entry.id() || known.entry.doc_id == entry.doc_id && *hash == facts.hash
                });
                if let Some(code) = feed.misplaced(entry.doc_id, &facts).filter(|_| known.is_none()) {
                    let why = Refusal { code: code.to_owned(), message: "It stands on nothing.".to_owned() };
                    settled.receipts.push(Receipt::Rejected(why));
                    continue;
                }
                let (seq, id, receipt) = match known {
                    Some(at) => {
                        let id = feed.entries[at].0.id;
                        (at as u64 + 1, id, Receipt::Duplicate { seq: at as u64 + 1, entry_id: id })
                    }
                    None => {
                        let id = entry.id();
                        feed.entries.push((Received::whole(entry.clone()), facts.hash, facts.actor));
                        (feed.entries.len() as u64, id, Receipt::Accepted(feed.entries.len() as u64))
                    }
                };
                let echo = match receipt {
                    Receipt::Accepted(_) => Echo::Fresh,
                    _ if id == entry.id() => Echo::Known,
                    _ => Echo::InFull,
                };
                settled.own.push(Own { feed: push.feed, seq, id, echo });
                settled.receipts.push(receipt);
            }
        }
        settled
    }

    fn page(&self, feed: FeedId, after: u64, max_bytes: usize) -> Page {
        let entries = &self.feeds[&feed].entries;
        let mut bytes = 0;
        let page = entries.iter().skip(after as usize).map(|(received, ..)| received.clone()).take_while(|received| {
            bytes += received.entry.payload.len();
            bytes <= max_bytes.max(received.entry.payload.len())
        });
        Page { feed, after, entries: page.collect(), head: entries.len() as u64 }
    }
}

/// A device: its store on a real file.
pub struct Device {
    pub store: Store,
    pub name: &'static str,
    pub now_ms: i64,
    pub rng: StdRng,
    directory: tempfile::TempDir,
}

impl Device {
    pub fn new(name: &'static str, seed: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut rng = StdRng::seed_from_u64(seed ^ name.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte)));
        let store = Store::open(&directory.path().join("fitme.db"), "test", &mut rng).expect("a new store opens");
        Self { store, name, now_ms: MORNING, rng, directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("fitme.db")
    }

    /// A second device whose home is a copy of this one's files.
    pub fn cloned(&self, name: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for suffix in ["", "-wal"] {
            let file = format!("fitme.db{suffix}");
            std::fs::copy(self.path().with_file_name(&file), directory.path().join(&file)).expect("a copy");
        }
        let mut rng = StdRng::seed_from_u64(name.len() as u64);
        let store = Store::open(&directory.path().join("fitme.db"), "test", &mut rng).expect("a copy opens");
        Self { store, name, now_ms: self.now_ms, rng, directory }
    }

    /// Opens the file again, as after the process was killed.
    pub fn restart(&mut self) {
        self.store = Store::open(&self.path(), "test", &mut self.rng).expect("a store opens again");
    }

    pub fn sign_in(&mut self, hub: &Hub) {
        let identity = Identity {
            account: [9; 16],
            device: [self.name.len() as u8; 16],
            email: "ann@example.org".to_owned(),
            device_name: self.name.to_owned(),
            server: "http://127.0.0.1:1".to_owned(),
            tokens: Tokens::default(),
        };
        self.store
            .adopt(&Adoption { identity, feeds: hub.granted() }, &mut self.rng)
            .expect("the home takes the account");
    }

    /// Carries out a command a second after the last one.
    pub fn write(&mut self, command: &Command) -> DocId {
        self.now_ms += 1_000;
        self.store.write(command, self.now_ms, &mut self.rng).expect("the command is valid").doc_id
    }

    pub fn log(&mut self, collection: Collection, fields: Value) -> DocId {
        self.write(&Command::Create { collection: collection.name().to_owned(), fields })
    }

    pub fn edit(&mut self, doc_id: DocId, patch: Value) {
        self.write(&Command::Edit { doc_id, patch });
    }

    pub fn erase(&mut self, doc_id: DocId) {
        self.write(&Command::Erase { doc_id });
    }

    /// Its files that hold `marker`.
    pub fn files_with(&self, marker: &str) -> Vec<PathBuf> {
        let files =
            std::fs::read_dir(self.directory.path()).expect("the folder is ours").map(|file| file.unwrap().path());
        let holds = |file: &PathBuf| {
            let bytes = std::fs::read(file).expect("the file is ours");
            bytes.windows(marker.len()).any(|part| part == marker.as_bytes())
        };
        files.filter(holds).collect()
    }

    pub fn record(&self, doc_id: DocId) -> Value {
        self.store.show(doc_id).expect("the store answers").expect("the record is here").record
    }

    pub fn list(&self, collection: Collection) -> Vec<fitme_core::store::Listed> {
        let query = ListQuery { collection, since: None, until: None, trashed: false, limit: 1_000 };
        self.store.list(&query).expect("the store answers")
    }

    /// Syncs over a connection that never breaks.
    pub fn sync(&mut self, hub: &mut Hub) {
        let mut link = Link::to(self, hub);
        while link.step(self, hub) {}
        assert!(link.synced, "{}: a session over a good connection ends in sync", self.name);
    }

    /// Syncs over a connection that is cut after `messages`.
    pub fn sync_cut_after(&mut self, hub: &mut Hub, messages: usize) {
        let mut link = Link::to(self, hub);
        for _ in 0..messages {
            if !link.step(self, hub) {
                return;
            }
        }
    }
}

/// One connection between a device and the hub.
pub struct Link {
    device: DeviceSession,
    server: ServerSession,
    to_server: VecDeque<Vec<u8>>,
    to_device: VecDeque<Vec<u8>>,
    pub synced: bool,
    pub bytes: usize,
    pub sent_again: usize,
    pub mended: usize,
    /// What becomes of each message on its way.
    pub rewrite: Option<fn(Frame) -> Frame>,
    /// How far snapshots have come, if any came.
    pub progress: Option<Progress>,
    /// Why the device ended it.
    pub closed: Option<String>,
}

impl Link {
    pub fn open(device: &mut Device) -> Self {
        Self::begin(device, ServerSession::new(Mode::Socket))
    }

    /// One that gives snapshots as this hub does.
    pub fn to(device: &mut Device, hub: &Hub) -> Self {
        Self::begin(device, ServerSession::new(Mode::Socket).bootstrapping_from(hub.bootstrap_from))
    }

    fn begin(device: &mut Device, server: ServerSession) -> Self {
        let mut link = Self {
            device: DeviceSession::new(),
            server,
            to_server: VecDeque::new(),
            to_device: VecDeque::new(),
            synced: false,
            bytes: 0,
            sent_again: 0,
            mended: 0,
            rewrite: None,
            progress: None,
            closed: None,
        };
        link.tell_device(device, DeviceEvent::Opened);
        link
    }

    /// Delivers one message in either direction; false when there is none.
    pub fn step(&mut self, device: &mut Device, hub: &mut Hub) -> bool {
        if self.closed.is_some() {
            return false;
        }
        if let Some(message) = self.to_server.pop_front() {
            let message = self.rewritten(message);
            let effects = self.server.handle(ServerEvent::Message(&message));
            self.perform(hub, effects);
            return true;
        }
        let Some(message) = self.to_device.pop_front() else { return false };
        let message = self.rewritten(message);
        self.tell_device(device, DeviceEvent::Message(&message));
        true
    }

    fn rewritten(&self, message: Vec<u8>) -> Vec<u8> {
        let Some(rewrite) = self.rewrite else { return message };
        let frame = wire::decode(&message).expect("what was encoded").expect("a known frame");
        wire::encode(&rewrite(frame)).expect("it fits")
    }

    fn tell_device(&mut self, device: &mut Device, event: DeviceEvent<'_>) {
        let effects = self.device.handle(&mut device.store, event, device.now_ms, &mut device.rng);
        for effect in effects.expect("the session goes on") {
            match effect {
                DeviceEffect::Send(message) => {
                    self.bytes += message.len();
                    self.to_server.push_back(message);
                }
                DeviceEffect::Synced => self.synced = true,
                DeviceEffect::SentAgain(entries) => self.sent_again += entries,
                DeviceEffect::Mended(records) => self.mended += records,
                DeviceEffect::Received(_, progress) => self.progress = Some(progress),
                DeviceEffect::Applied(_)
                | DeviceEffect::Refused(_)
                | DeviceEffect::Revoked(_)
                | DeviceEffect::BroughtBack { .. } => {}
                // By the server it is a fault of the test.
                DeviceEffect::Closed(goodbye) if goodbye.retry_after_ms == 0 => {
                    panic!("{}: {}", device.name, goodbye.message)
                }
                DeviceEffect::Closed(goodbye) => self.closed = Some(goodbye.message),
            }
        }
    }

    fn perform(&mut self, hub: &mut Hub, effects: Vec<ServerEffect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let event = match effect {
                ServerEffect::Send(message) | ServerEffect::SendOfOther(_, message) | ServerEffect::Close(message) => {
                    self.bytes += message.len();
                    self.to_device.push_back(message);
                    continue;
                }
                ServerEffect::LoadAccount { cursors, actors } => ServerEvent::Account(hub.account(&cursors, &actors)),
                ServerEffect::RenewEpochs(feeds) => {
                    for id in feeds {
                        hub.feeds.get_mut(&id).expect("a known feed").epoch.0[7] ^= 0xff;
                    }
                    ServerEvent::EpochsRenewed
                }
                ServerEffect::Locate { feed, points, .. } => {
                    let known = |point: &&(u64, Digest)| hub.feeds[&feed].digest(point.0) == Some(point.1);
                    ServerEvent::Located { feed, seq: points.iter().find(known).map_or(0, |(seq, _)| *seq) }
                }
                ServerEffect::Compare { feed, questions, .. } => {
                    ServerEvent::Compared { feed, answers: hub.feeds[&feed].answers(questions) }
                }
                // What it has is in memory.
                ServerEffect::Prove(feed) | ServerEffect::BringBack { feed, .. } => {
                    ServerEvent::Wanted { feed, entries: Vec::new() }
                }
                ServerEffect::Fetch { feed, documents } => ServerEvent::Fetched(hub.fetched(feed, &documents)),
                ServerEffect::Ingest { batch, feeds, .. } => {
                    let before = hub.heads();
                    let settled = hub.ingest(batch, &feeds);
                    effects.extend(self.server.handle(ServerEvent::Settled(settled)));
                    for (feed, head) in before {
                        let page = hub.page(feed, head, usize::MAX);
                        if !page.entries.is_empty() {
                            let live = LiveEntries { feed, first_seq: head + 1, entries: &page.entries };
                            effects.extend(self.server.handle(ServerEvent::Live(live)));
                        }
                    }
                    continue;
                }
                ServerEffect::Renew(_) => continue,
                ServerEffect::ReadSnapshots { asked, .. } => ServerEvent::Snapshots(hub.snapshots(&asked)),
                ServerEffect::Read { feed, after, max_bytes, .. } => {
                    ServerEvent::Page(hub.page(feed, after, max_bytes))
                }
            };
            effects.extend(self.server.handle(event));
        }
    }
}

/// Both devices hold the same documents with the same heads and the same records.
pub fn assert_converged(a: &Device, b: &Device) {
    let (ours, theirs) = (a.store.heads().expect("heads"), b.store.heads().expect("heads"));
    assert_eq!(ours, theirs, "{} and {} have different heads", a.name, b.name);
    for (doc_id, _) in ours {
        assert_eq!(a.record(doc_id), b.record(doc_id), "{} and {} project {doc_id} differently", a.name, b.name);
    }
}

/// A workout with one exercise of one set.
pub fn workout(title: &str) -> Value {
    serde_json::json!({
        "start": MORNING,
        "title": title,
        "exercises": [{ "name": "Squat", "sets": [{ "reps": 5, "load": "100 kg", "kind": "work" }] }],
    })
}

/// A random but valid command: mostly new moods, sometimes an edit of what is there.
pub fn random_command(rng: &mut StdRng, known: &[DocId]) -> Command {
    match (rng.random_range(0..4), known) {
        (1, [_, ..]) => Command::Edit {
            doc_id: known[rng.random_range(0..known.len())],
            patch: serde_json::json!({ "note": format!("edited {}", rng.random_range(0..1000)) }),
        },
        (2, [_, ..]) => Command::Trash { doc_id: known[rng.random_range(0..known.len())] },
        _ => Command::Create {
            collection: "moods".to_owned(),
            fields: serde_json::json!({ "at": MORNING + rng.random_range(0..1_000_000), "valence": rng.random_range(-2..=2) }),
        },
    }
}

/// An id of the profile.
pub fn profile() -> DocId {
    record::profile_id(0)
}
