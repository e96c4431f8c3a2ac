//! A server process: the shipped ingest and fan-out on the model's database. What its runtime would do beside each other are
//! steps here, and a crash is to drop it between two of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use fitme_core::id::FeedId;
use fitme_core::wire::FeedPush;
use sync_server::auth::Device;
use sync_server::fanout::Fanout;
use sync_server::ingest::check::{Offer, Origin, check};
use sync_server::ingest::settle::{Settler, Settling};
use sync_server::ingest::{Committed, Outcome};
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::database::{Database, Overtaken, Storage, merge_turn};
use super::polling::{Task, step};

/// Pushes in one group.
const GROUP: usize = 4;
/// Pushes that may wait; nobody is ever refused for it here.
const ROOM: usize = 10_000;

/// What came of a turn of merging.
type Turn = Result<Vec<(FeedId, u64)>, Overtaken>;

/// What a node tells the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// A feed has so many entries.
    Head(FeedId, u64),
    /// What others grant an account has changed.
    Regranted(Uuid),
}

/// One of them.
pub struct Node {
    pub database: Database,
    pub fanout: Fanout,
    /// `None` while it settles.
    settler: Option<Settler<Storage>>,
    settling: Option<Task<Settler<Storage>>>,
    waiting: VecDeque<Settling>,
    room: Arc<Semaphore>,
    committed: Arc<Mutex<VecDeque<Committed>>>,
    merging: Option<Task<Turn>>,
    worker: Uuid,
    /// Accounts whose grants are to be read again.
    regranted: VecDeque<Uuid>,
    /// What the last poll found.
    seen: Option<Seen>,
    /// For the other nodes.
    pub hints: Vec<Hint>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    installation: [u8; 8],
    feeds: BTreeMap<FeedId, (u64, u64)>,
    grantees: BTreeMap<Uuid, u64>,
}

impl Node {
    /// A process that has just started.
    pub fn start(database: &Database, worker: Uuid) -> Self {
        let committed: Arc<Mutex<VecDeque<Committed>>> = Arc::default();
        let heard = Arc::clone(&committed);
        let on_commit = move |news| heard.lock().unwrap_or_else(PoisonError::into_inner).push_back(news);
        Self {
            database: database.clone(),
            fanout: Fanout::default(),
            settler: Some(Settler::new(Storage(database.clone()), Arc::new(on_commit))),
            settling: None,
            waiting: VecDeque::new(),
            room: Arc::new(Semaphore::new(ROOM)),
            committed,
            merging: None,
            worker,
            regranted: VecDeque::new(),
            seen: None,
            hints: Vec::new(),
        }
    }

    /// Takes a push; whoever made it hears the outcome later.
    ///
    /// # Panics
    /// When more wait than a world can have.
    pub fn submit(&mut self, device: Device, feeds: Vec<FeedPush>, origin: Origin) -> oneshot::Receiver<Outcome> {
        let mut offers = Vec::new();
        for FeedPush { feed, entries } in feeds {
            let target = self.database.target(feed);
            offers.extend(entries.into_iter().map(|entry| Offer { origin, ..check(feed, entry, &target) }));
        }
        let (reply, outcome) = oneshot::channel();
        let room = Arc::clone(&self.room).try_acquire_owned().expect("a world has fewer pushes");
        self.waiting.push_back(Settling::new(device, offers, reply, room));
        outcome
    }

    /// Whether a group is being written.
    pub fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    /// Whether a turn of merging is under way.
    pub fn is_merging(&self) -> bool {
        self.merging.is_some()
    }

    /// Whether pushes wait or are being written.
    pub fn has_pushes(&self) -> bool {
        self.settling.is_some() || !self.waiting.is_empty()
    }

    /// One step of writing what was pushed.
    pub fn settle(&mut self) {
        if self.settling.is_none() && !self.waiting.is_empty() {
            let group: Vec<_> = self.waiting.drain(..self.waiting.len().min(GROUP)).collect();
            let mut settler = self.settler.take().expect("it settles one group at a time");
            self.settling = Some(Box::pin(async move {
                settler.settle(group).await;
                settler
            }));
        }
        if let Some(task) = &mut self.settling
            && let Some(settler) = step(task)
        {
            (self.settler, self.settling) = (Some(settler), None);
        }
        self.announce();
    }

    /// As the engine does at each commit.
    fn announce(&mut self) {
        let news = std::mem::take(&mut *self.committed.lock().unwrap_or_else(PoisonError::into_inner));
        for committed in news {
            match committed {
                Committed::Entries(live) => {
                    self.fanout.publish(&live);
                    self.hints.push(Hint::Head(live.feed, live.last_seq()));
                }
                Committed::Regranted(grantee) => {
                    self.regranted.push_back(grantee);
                    self.hints.push(Hint::Regranted(grantee));
                }
            }
        }
    }

    /// One step of merging.
    pub fn merge(&mut self) {
        let task = self.merging.get_or_insert_with(|| Box::pin(merge_turn(self.database.clone(), self.worker)));
        if step(task).is_some() {
            self.merging = None;
        }
    }

    /// Reads what is granted now to somebody whose grants have changed.
    pub fn regrant(&mut self) -> bool {
        let Some(grantee) = self.regranted.pop_front() else { return false };
        if self.fanout.has(grantee) {
            match self.database.load_grants(grantee) {
                Ok(grants) => self.fanout.regranted(grantee, &Arc::new(grants)),
                Err(_) => self.fanout.cut_off_account(grantee),
            }
        }
        true
    }

    /// What another node said.
    pub fn hear(&mut self, hint: Hint) {
        match hint {
            Hint::Head(feed, head) => self.fanout.head(feed, head),
            Hint::Regranted(grantee) => self.regranted.push_back(grantee),
        }
    }

    /// Looks for what changed; false if nothing did.
    pub fn poll(&mut self) -> bool {
        if self.database.is_away() {
            self.fanout.cut_off();
            return false;
        }
        let now = self.database.look(|tables| Seen {
            installation: tables.installation,
            feeds: tables
                .feeds
                .iter()
                .map(|(feed, row)| {
                    let queued = tables.merge_queue.get(feed);
                    (*feed, (row.head, queued.map_or(0, |queued| queued.clean.unwrap_or(queued.merged))))
                })
                .collect(),
            grantees: tables.grantees.clone(),
        });
        let before = self.seen.take();
        let changed = before.as_ref() != Some(&now);
        let before = before.unwrap_or_else(|| Seen { installation: now.installation, ..Seen::default() });
        if before.installation != now.installation {
            self.fanout.cut_off();
        }
        for (feed, (head, merged)) in now.feeds.iter().filter(|(feed, at)| before.feeds.get(feed) != Some(at)) {
            self.fanout.merged(*feed, *merged);
            self.fanout.head(*feed, *head);
        }
        let regranted = now.grantees.iter().filter(|(grantee, version)| before.grantees.get(grantee) != Some(version));
        self.regranted.extend(regranted.map(|(grantee, _)| *grantee));
        self.seen = Some(now);
        changed
    }
}
