//! The device's half: Hello, answer what the server wants to know, then push what waits and apply what comes.

use std::collections::{BTreeMap, VecDeque};

use rand::RngCore;

use super::{RETRY_AFTER_HELLO, summary};
use crate::entry::Entry;
use crate::id::{EntryId, FeedId};
use crate::limits;
use crate::policy::AccountId;
use crate::reconcile::BadAnswer;
use crate::store::{Applied, Batch, Ended, FeedRow, PullError, Store, StoreError};
use crate::wire::{
    self, Cursors, FeedDigest, FeedPage, Frame, Goodbye, Hello, Reason, Receipt, Repair, Want, Welcome, WireError,
};

mod bootstrap;
mod fetch;
mod prove;
mod repair;
mod void;

pub use bootstrap::Progress;

use bootstrap::Snapshots;
use repair::Repairing;

/// How long to wait, in milliseconds, before entries that were not decided are pushed again.
const RETRY_AFTER_MS: u32 = 1_000;

/// Why a session cannot go on. The store is whole; a new session resumes from its cursors.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server sent something that is no frame.
    #[error("the server's message cannot be read: {0}")]
    Wire(#[from] WireError),
    /// The server sent entries that do not fit.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server's answers in a repair do not fit.
    #[error(transparent)]
    Answer(#[from] BadAnswer),
    /// A frame that the server must not send now.
    #[error("the server sent {0} out of turn")]
    OutOfTurn(&'static str),
}

/// What happened.
#[derive(Debug)]
pub enum DeviceEvent<'a> {
    /// The connection is open.
    Opened,
    /// A message came.
    Message(&'a [u8]),
    /// Something was written locally.
    Written,
}

/// What the session wants done.
#[derive(Debug, PartialEq)]
pub enum DeviceEffect {
    /// Send a message.
    Send(Vec<u8>),
    /// Tell observers: records changed.
    Applied(Applied),
    /// Tell observers: records came whole, because this device was far behind.
    Received(Applied, Progress),
    /// Tell the person: somebody no longer shares something; it was removed from this device.
    Revoked(Ended),
    /// Tell the person: so many writes were refused.
    Refused(usize),
    /// Tell the person: the server had lost so many entries, which are sent again.
    SentAgain(usize),
    /// Tell the person: so many records were missing or damaged here, and have come again.
    Mended(usize),
    /// Tell the person: the server had lost or damaged entries.
    BroughtBack {
        /// So many were here, and it has them back.
        entries: usize,
        /// So many are not here.
        wanting: usize,
    },
    /// Everything written here is on the server, and everything the server had is here.
    Synced,
    /// The server ends the session.
    Closed(Goodbye),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    /// Hello is sent.
    Greeting,
    /// Welcome came.
    Live,
}

/// A push whose receipts have not come: which entries it holds, in its order.
#[derive(Debug)]
struct InFlight {
    batch: u64,
    /// Into whose feeds; `None` for own ones.
    owner: Option<AccountId>,
    /// Numbers in the store.
    entries: Vec<i64>,
    /// Of entries for somebody else: their store may be gone when the receipts come.
    ids: Vec<EntryId>,
    /// Their feeds.
    feeds: Vec<FeedId>,
}

/// One connection's session.
#[derive(Debug)]
pub struct DeviceSession {
    phase: Phase,
    /// One-shot exchange: bytes its answer may have.
    max_bytes: u32,
    /// When that went out which the next Welcome answers, ms UTC.
    asked_at_ms: i64,
    /// How far the server's clock was ahead at each Welcome.
    offsets_ms: Vec<i64>,
    /// The server has sent everything it had when the session began.
    caught_up: bool,
    next_batch: u64,
    in_flight: VecDeque<InFlight>,
    /// Store number up to which entries were pushed in this session.
    pushed: i64,
    /// The same for the stores of others.
    pushed_for: BTreeMap<AccountId, i64>,
    /// Highest accepted number by feed that the cursor has not passed.
    owed: BTreeMap<FeedId, u64>,
    unconfirmed: u64,
    repairing: Repairing,
    reported_synced: bool,
    snapshots: Snapshots,
}

impl DeviceSession {
    /// A session over a socket.
    pub fn new() -> Self {
        Self {
            phase: Phase::Opening,
            max_bytes: 0,
            asked_at_ms: 0,
            offsets_ms: Vec::new(),
            caught_up: false,
            next_batch: 1,
            in_flight: VecDeque::new(),
            pushed: 0,
            pushed_for: BTreeMap::new(),
            owed: BTreeMap::new(),
            unconfirmed: 0,
            repairing: Repairing::default(),
            reported_synced: false,
            snapshots: Snapshots::default(),
        }
    }

    /// A session of one HTTP exchange, whose answer has about `max_bytes`.
    pub fn once(max_bytes: u32) -> Self {
        Self { max_bytes, ..Self::new() }
    }

    /// Takes one event. After an error the connection is to be closed.
    pub fn handle(
        &mut self,
        store: &mut Store,
        event: DeviceEvent<'_>,
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<Vec<DeviceEffect>, SessionError> {
        let mut effects = Vec::new();
        match event {
            DeviceEvent::Opened => self.open(store, now_ms, &mut effects)?,
            DeviceEvent::Written => {
                self.reported_synced = false;
                self.push(store, &mut effects)?;
            }
            DeviceEvent::Message(bytes) => match wire::decode(bytes)? {
                Some(frame) => self.receive(store, frame, now_ms, rng, &mut effects)?,
                None => return Ok(effects),
            },
        }
        self.go_on_repairing(store, now_ms, rng, &mut effects)?;
        self.report_synced(store, &mut effects)?;
        Ok(effects)
    }

    fn open(&mut self, store: &mut Store, now_ms: i64, effects: &mut Vec<DeviceEffect>) -> Result<(), SessionError> {
        self.phase = Phase::Greeting;
        self.asked_at_ms = now_ms;
        // Read once: another process may move a cursor between two readings.
        let feeds = store.feeds()?;
        let cursors = Cursors(feeds.iter().map(|row| (row.feed, row.cursor)).collect());
        // An exchange has no second round trip in which they could be asked for.
        let fits = self.max_bytes > 0 || cursors.pack().len() <= limits::HELLO_CURSOR_BYTES;
        let hello = Hello {
            major: wire::MAJOR,
            minor: wire::MINOR,
            installation: store.installation()?,
            actors: store.actors()?,
            summary: summary(feeds.iter().map(|row| (row.feed, row.epoch, row.cursor, row.digest))),
            cursors: fits.then_some(cursors),
            max_bytes: self.max_bytes,
            bootstrap: store.bootstrap_tokens()?,
            clock_ms: now_ms,
        };
        send(&Frame::Hello(hello), effects)?;
        if self.max_bytes > 0 {
            if store.digests_wanted()? {
                self.send_digests(&feeds, effects)?;
            }
            // What the server lacks goes first; that takes a socket.
            if !store.owes_repair()? {
                self.push_one(store, limits::ONCE_PUSH_BYTES, effects)?;
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        store: &mut Store,
        frame: Frame,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        match frame {
            Frame::Welcome(welcome) => self.welcome(store, &welcome, now_ms, rng, effects),
            Frame::FeedGranted(granted) => self.granted(store, granted),
            Frame::Repair(step) => self.repair_step(store, step, now_ms, rng, effects),
            Frame::FeedRevoked(feed) => {
                self.repairing.forget(feed);
                if let Some(ended) = store.revoke(feed, now_ms)? {
                    effects.push(DeviceEffect::Revoked(ended));
                }
                self.settle_owed(store)?;
                self.locate(store, effects)
            }
            Frame::Receipts { batch, receipts } => self.receipts(store, batch, &receipts, now_ms, rng, effects),
            Frame::Entries(pages) => self.entries(store, pages, now_ms, rng, effects),
            Frame::Bootstrap { feeds, .. } => self.bootstrap(store, feeds, now_ms, rng, effects),
            Frame::More(more) => {
                self.caught_up = !more;
                Ok(())
            }
            Frame::Goodbye(goodbye) => {
                effects.push(DeviceEffect::Closed(goodbye));
                Ok(())
            }
            Frame::Hello(_) => Err(SessionError::OutOfTurn("Hello")),
            Frame::Push { .. } => Err(SessionError::OutOfTurn("Push")),
            Frame::Cursors(_) | Frame::Digests(_) | Frame::Credit { .. } | Frame::Renew(_) => {
                Err(SessionError::OutOfTurn("a device's frame"))
            }
        }
    }

    fn welcome(
        &mut self,
        store: &mut Store,
        welcome: &Welcome,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        self.hear_clock(welcome.clock_ms, now_ms);
        match welcome.want {
            Want::Cursors => return send(&Frame::Cursors(cursors(store)?), effects),
            // The next exchange brings them, if this one did not.
            Want::Digests if self.max_bytes > 0 => return Ok(store.want_digests(true)?),
            Want::Digests => return self.send_digests(&store.feeds()?, effects),
            Want::Nothing if self.max_bytes > 0 => store.want_digests(false)?,
            Want::Nothing => {}
        }
        for (actor, tip) in &welcome.actors {
            store.check_tip(*actor, *tip, rng)?;
        }
        let offset_ms = median(&mut self.offsets_ms);
        store.welcomed(welcome.installation, &welcome.merged, welcome.more, (offset_ms, now_ms))?;
        self.phase = Phase::Live;
        self.caught_up = !welcome.more;
        self.begin_repairing(store, welcome.minor, now_ms, effects)?;
        self.push(store, effects)
    }

    /// The server's clock was read half the way back: that is wrong by half the way at most, which is far below what a
    /// person is told of. So the one to three Welcomes of a session are enough, and no other frame has to carry a clock.
    fn hear_clock(&mut self, clock_ms: i64, now_ms: i64) {
        let midway = self.asked_at_ms + (now_ms - self.asked_at_ms) / 2;
        self.offsets_ms.push(clock_ms - midway);
        self.asked_at_ms = now_ms;
    }

    fn receipts(
        &mut self,
        store: &mut Store,
        batch: u64,
        receipts: &[Receipt],
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let Some(pushed) = self.in_flight.pop_front() else {
            return Err(SessionError::OutOfTurn("receipts for nothing"));
        };
        if pushed.batch != batch || pushed.entries.len() != receipts.len() {
            return Err(SessionError::OutOfTurn("receipts for another push"));
        }
        let refused = match pushed.owner {
            None => store.take_receipts(&pushed.entries, receipts, now_ms, rng)?,
            Some(owner) => {
                let entries: Vec<_> = pushed.entries.iter().copied().zip(pushed.ids).collect();
                store.take_receipts_for(owner, &entries, receipts, now_ms, rng)?
            }
        };
        if refused > 0 {
            effects.push(DeviceEffect::Refused(refused));
        }
        for (feed, receipt) in pushed.feeds.into_iter().zip(receipts) {
            match receipt {
                Receipt::Accepted(seq) | Receipt::Duplicate { seq, .. } => {
                    let owed = self.owed.entry(feed).or_default();
                    *owed = (*owed).max(*seq);
                }
                // The next exchange pushes it again.
                Receipt::Retry(why) if why.code == RETRY_AFTER_HELLO => {}
                // Pushing it again at once would ask a server in trouble as fast as the network allows; the pause
                // between two connections is the right one.
                Receipt::Retry(why) => {
                    let message = why.message.clone();
                    let goodbye = Goodbye { reason: Reason::Unavailable, message, retry_after_ms: RETRY_AFTER_MS };
                    effects.push(DeviceEffect::Closed(goodbye));
                    return Ok(());
                }
                Receipt::Rejected(_) => {}
            }
        }
        self.settle_owed(store)?;
        self.push(store, effects)
    }

    fn entries(
        &mut self,
        store: &mut Store,
        pages: Vec<FeedPage>,
        now_ms: i64,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let (pages, dropped) = self.in_order(store, pages)?;
        let applied = store.apply(&pages)?;
        for actor in &applied.shared_actors {
            store.renew_actor(*actor, rng)?;
        }
        self.lost(store, &applied.lost)?;
        self.confirm(applied.bytes + dropped, effects)?;
        self.settle_owed(store)?;
        if applied.comes_again {
            let message =
                "a damaged record comes again from the server, whose other records are received again as well";
            let (reason, message) = (Reason::Unavailable, message.to_owned());
            effects.push(DeviceEffect::Closed(Goodbye { reason, message, retry_after_ms: RETRY_AFTER_MS }));
        }
        self.take_voids(store, &applied, now_ms, rng, effects)?;
        effects.push(DeviceEffect::Applied(applied));
        Ok(())
    }

    /// Lets the server send so many bytes more.
    fn confirm(&mut self, bytes: u64, effects: &mut Vec<DeviceEffect>) -> Result<(), SessionError> {
        self.unconfirmed += bytes;
        if self.max_bytes == 0 && self.unconfirmed >= limits::UNCONFIRMED_BYTES / 4 {
            send(&Frame::Credit { bytes: std::mem::take(&mut self.unconfirmed) }, effects)?;
        }
        Ok(())
    }

    fn push(&mut self, store: &mut Store, effects: &mut Vec<DeviceEffect>) -> Result<(), SessionError> {
        if self.max_bytes > 0 || self.phase != Phase::Live || self.repairing.holds_pushes() {
            return Ok(());
        }
        while self.in_flight.len() < limits::PUSHES_IN_FLIGHT {
            if !self.push_one(store, limits::PUSH_BYTES, effects)? {
                break;
            }
        }
        Ok(())
    }

    fn push_one(
        &mut self,
        store: &mut Store,
        max_bytes: usize,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<bool, SessionError> {
        let Some((owner, batch)) = self.next_batch_of(store, max_bytes)? else { return Ok(false) };
        let feeds = batch.feeds.iter().flat_map(|push| std::iter::repeat_n(push.feed, push.entries.len())).collect();
        let ids = match owner {
            None => Vec::new(),
            Some(_) => batch.feeds.iter().flat_map(|push| &push.entries).map(Entry::id).collect(),
        };
        let in_flight = InFlight { batch: self.next_batch, owner, entries: batch.entries, ids, feeds };
        let (number, feeds) = (in_flight.batch, batch.feeds);
        let push = match batch.offered {
            true => Frame::Repair(Repair::Offer { batch: number, feeds }),
            false => Frame::Push { batch: number, feeds },
        };
        send(&push, effects)?;
        match owner {
            None => self.pushed = batch.last,
            Some(owner) => drop(self.pushed_for.insert(owner, batch.last)),
        }
        self.in_flight.push_back(in_flight);
        self.next_batch += 1;
        Ok(true)
    }

    /// Own entries first, then those for others.
    fn next_batch_of(
        &self,
        store: &mut Store,
        max_bytes: usize,
    ) -> Result<Option<(Option<AccountId>, Batch)>, SessionError> {
        if let Some(batch) = store.next_batch(self.pushed, limits::PUSH_ENTRIES, max_bytes)? {
            return Ok(Some((None, batch)));
        }
        let next = store.next_batch_for_others(&self.pushed_for, limits::PUSH_ENTRIES, max_bytes)?;
        Ok(next.map(|(owner, batch)| (Some(owner), batch)))
    }

    /// Nothing more comes of a feed that is not shared any more, also of what was accepted there before.
    fn settle_owed(&mut self, store: &mut Store) -> Result<(), SessionError> {
        if !self.owed.is_empty() {
            let mut owed = BTreeMap::new();
            for (feed, seq) in std::mem::take(&mut self.owed) {
                if store.cursor(feed)?.is_some_and(|cursor| cursor < seq) {
                    owed.insert(feed, seq);
                }
            }
            self.owed = owed;
        }
        Ok(())
    }

    fn report_synced(&mut self, store: &mut Store, effects: &mut Vec<DeviceEffect>) -> Result<(), SessionError> {
        let settled = self.in_flight.is_empty() && self.owed.is_empty() && !self.repairing.is_under_way();
        let done = self.phase == Phase::Live && self.caught_up && settled;
        if done && !self.reported_synced && !store.has_pending()? {
            self.reported_synced = true;
            effects.push(DeviceEffect::Synced);
        }
        Ok(())
    }
}

/// Of one to three; 0 of none.
fn median(offsets: &mut [i64]) -> i64 {
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).copied().unwrap_or_default()
}

impl Default for DeviceSession {
    fn default() -> Self {
        Self::new()
    }
}

fn send(frame: &Frame, effects: &mut Vec<DeviceEffect>) -> Result<(), SessionError> {
    effects.push(DeviceEffect::Send(wire::encode(frame)?));
    Ok(())
}

fn cursors(store: &mut Store) -> Result<Cursors, StoreError> {
    Ok(Cursors(store.feeds()?.into_iter().map(|row| (row.feed, row.cursor)).collect()))
}

fn digests(feeds: &[FeedRow]) -> Vec<FeedDigest> {
    let held = |row: &FeedRow| FeedDigest { feed: row.feed, epoch: row.epoch, cursor: row.cursor, digest: row.digest };
    feeds.iter().map(held).collect()
}
