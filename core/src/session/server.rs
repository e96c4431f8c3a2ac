//! The server's half: compare what the device holds with the feeds, then send what it lacks, in order, and hand what it
//! pushes to ingest. Whoever drives it performs the effects; receipts must be handed in before the live entries of the
//! same commit, because an own entry is named instead of sent only once its receipt is out.

use std::collections::{BTreeMap, BTreeSet};

use super::{summary, summary_at};
use crate::change;
use crate::id::{ActorId, EntryId, FeedId};
use crate::limits;
use crate::policy::Access;
use crate::wire::bootstrap::Token;
use crate::wire::{
    self, Cursors, Emptied, FeedDigest, FeedGranted, FeedPage, FeedPush, Frame, Goodbye, Hello, Item, Reason, Receipt,
    Refusal, Want, Welcome, WireError,
};

mod bootstrap;
mod events;
mod repair;

pub use bootstrap::{Place, SnapshotsAsked, SnapshotsRead};
pub use events::*;

use bootstrap::Bootstrapping;

/// Nothing was decided about a push of a one-shot exchange, because the device may be restored or cloned, or the server
/// another one; the device reads Welcome and pushes again.
pub const RETRY_AFTER_HELLO: &str = "retry_after_hello";

/// Own entries remembered between receipt and echo; beyond, they are echoed in full.
const OWN_REMEMBERED: usize = 20_000;

#[derive(Debug)]
struct Feed {
    /// `None` for an own feed, which nobody can revoke.
    granted: Option<Access>,
    sent: u64,
    head: u64,
    merged: u64,
    reading: bool,
    /// Own entries were just committed and come from memory in a moment: reading them back would be wasted.
    awaits_live: bool,
    /// The device holds another history, and is to say of how much of it: nothing is sent before.
    locating: bool,
    /// It comes as snapshots first. Boxed, because a trainer's idle sessions have thousands of feeds.
    bootstrap: Option<Box<Bootstrapping>>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing came yet.
    Opening,
    /// The account is being read.
    Loading(Hello),
    /// The device was asked for its cursors.
    AwaitCursors(Hello),
    /// The device was asked for its digests.
    AwaitDigests(Hello),
    /// The account is read again, at the cursors of the digests.
    Comparing(Hello, Vec<FeedDigest>),
    /// Feeds get new epochs.
    Renewing(Hello, Vec<FeedDigest>),
    /// Cursors are agreed.
    Live,
    Closed,
}

/// One connection's session.
#[derive(Debug)]
pub struct ServerSession {
    mode: Mode,
    phase: Phase,
    feeds: BTreeMap<FeedId, Feed>,
    /// Own entries whose receipts went out here and that were not echoed yet.
    own: BTreeMap<(FeedId, u64), EntryId>,
    /// Feeds that somebody ended to share while this session was live. The device has removed what it had pushed into them, and its
    /// receipts may come when the feed is shared again.
    ended: BTreeSet<FeedId>,
    /// Payload bytes that the device has not confirmed.
    unconfirmed: u64,
    window: u64,
    ingesting: usize,
    reading: usize,
    /// Which version of what others grant is in `feeds`.
    grants_version: u64,
    /// The device knows feeds of others.
    shares: bool,
    /// The device can erase what was erased elsewhere.
    erases: bool,
    /// The device can bring two histories of a feed together.
    repairs: bool,
    /// Feeds of which the device has said what it holds.
    named: BTreeSet<FeedId>,
    /// Questions about documents that are not answered.
    comparing: usize,
    /// The device stores snapshots.
    bootstraps: bool,
    /// Feeds that are further behind than this many entries come as snapshots.
    bootstrap_from: u64,
    /// What the device knows of snapshots that began to come in earlier sessions.
    tokens: BTreeMap<FeedId, Token>,
    /// Entries follow the Welcome; `More(false)` is owed when they are through.
    catching_up: bool,
    /// The device's clock at its Hello; 0 where it does not say.
    device_clock_ms: i64,
    /// How far the server's clock was ahead of it then.
    clock_offset_ms: Option<i64>,
    /// One-shot: a push that came before the account was read.
    early: Option<(u64, Vec<FeedPush>)>,
}

impl ServerSession {
    /// A session that has received nothing yet.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            phase: Phase::Opening,
            feeds: BTreeMap::new(),
            own: BTreeMap::new(),
            ended: BTreeSet::new(),
            unconfirmed: 0,
            window: limits::UNCONFIRMED_BYTES,
            ingesting: 0,
            reading: 0,
            grants_version: 0,
            shares: false,
            erases: false,
            repairs: false,
            named: BTreeSet::new(),
            comparing: 0,
            bootstraps: false,
            bootstrap_from: limits::BOOTSTRAP_FROM_ENTRIES,
            tokens: BTreeMap::new(),
            catching_up: false,
            device_clock_ms: 0,
            clock_offset_ms: None,
            early: None,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: ServerEvent<'_>) -> Vec<ServerEffect> {
        let mut effects = Vec::new();
        let outcome = match event {
            ServerEvent::Message(bytes) => self.message(bytes, &mut effects),
            ServerEvent::Account(account) => self.account(account, &mut effects),
            ServerEvent::EpochsRenewed => self.epochs_renewed(&mut effects),
            ServerEvent::Settled(settled) => self.settled(settled, &mut effects),
            ServerEvent::Page(page) => self.page(page, &mut effects),
            ServerEvent::Located { feed, seq } => self.located(feed, seq, &mut effects),
            ServerEvent::Compared { feed, answers } => self.compared(feed, answers, &mut effects),
            ServerEvent::Wanted { feed, entries } => self.wanted(feed, entries, &mut effects),
            ServerEvent::Fetched(fetched) => self.fetched(fetched, &mut effects),
            ServerEvent::Snapshots(read) => self.snapshots(read, &mut effects),
            ServerEvent::Live(live) => self.live(live, &mut effects),
            ServerEvent::Regranted(grants) => self.regranted(&grants, &mut effects),
            ServerEvent::Denied(grants) => {
                (self.reading, self.comparing) = (0, 0);
                self.feeds.values_mut().for_each(|feed| feed.reading = false);
                self.regranted(&grants, &mut effects)
            }
            ServerEvent::Head(feed, head) => {
                self.raise_head(feed, head);
                self.expect_live(feed, false);
                Ok(())
            }
            ServerEvent::Merged(feed, seq) => {
                if let Some(feed) = self.feeds.get_mut(&feed) {
                    feed.merged = feed.merged.max(seq);
                }
                Ok(())
            }
        };
        match outcome.and_then(|()| self.pump(&mut effects)) {
            Ok(()) => effects,
            Err(goodbye) => {
                self.phase = Phase::Closed;
                effects.push(ServerEffect::Close(farewell(&goodbye)));
                effects
            }
        }
    }

    /// The feeds that the session sends, once it is live.
    pub fn feeds(&self) -> impl Iterator<Item = FeedId> {
        self.feeds.keys().copied()
    }

    /// Whether the device lacks something that is known here.
    pub fn has_more(&self) -> bool {
        !matches!(self.phase, Phase::Live) || self.feeds.values().any(Feed::is_behind)
    }

    fn message(&mut self, bytes: &[u8], effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        let Some(frame) = wire::decode(bytes).map_err(|error| bad_frame(&error))? else { return Ok(()) };
        match (frame, std::mem::replace(&mut self.phase, Phase::Closed)) {
            (Frame::Hello(hello), Phase::Opening) => self.hello(hello, effects),
            (Frame::Cursors(cursors), Phase::AwaitCursors(mut hello)) => {
                effects.push(ServerEffect::LoadAccount { cursors: cursors.clone(), actors: asked(&hello) });
                hello.cursors = Some(cursors);
                self.phase = Phase::Loading(hello);
                Ok(())
            }
            (Frame::Digests(digests), Phase::AwaitDigests(hello)) => {
                // Another process may have moved the device's cursors since Hello: only numbers of one reading compare.
                let cursors = Cursors(digests.iter().map(|held| (held.feed, held.cursor)).collect());
                effects.push(ServerEffect::LoadAccount { cursors, actors: asked(&hello) });
                self.phase = Phase::Comparing(hello, digests);
                Ok(())
            }
            // An exchange brings them when the one before was asked for them; now they were not needed.
            (Frame::Digests(_), phase @ Phase::Live) if self.mode == Mode::Once => {
                self.phase = phase;
                Ok(())
            }
            (Frame::Push { batch, feeds }, phase) => {
                self.phase = phase;
                self.push(batch, feeds, false, effects)
            }
            (Frame::Repair(step), phase @ Phase::Live) if self.mode == Mode::Socket => {
                self.phase = phase;
                self.repair(step, effects)
            }
            (Frame::Credit { bytes }, phase @ Phase::Live) => {
                self.phase = phase;
                self.unconfirmed = self.unconfirmed.saturating_sub(bytes);
                Ok(())
            }
            (Frame::Bootstrap { feeds, tokens }, phase @ Phase::Live) if feeds.is_empty() => {
                self.phase = phase;
                self.refused(&tokens);
                Ok(())
            }
            (Frame::Renew(token), phase @ Phase::Live) if self.mode == Mode::Socket => {
                self.phase = phase;
                effects.push(ServerEffect::Renew(token));
                Ok(())
            }
            (Frame::Goodbye(_), _) => Ok(()),
            _ => Err(goodbye(Reason::BadFrame, "a frame came out of turn")),
        }
    }

    fn hello(&mut self, hello: Hello, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        if hello.major != wire::MAJOR {
            let message =
                format!("this server speaks protocol version {}, the app {}: update it", wire::MAJOR, hello.major);
            return Err(goodbye(Reason::Upgrade, &message));
        }
        if self.mode == Mode::Once {
            let asked = u64::from(hello.max_bytes);
            self.window = (limits::ONCE_ANSWER_BYTES as u64).min(if asked == 0 { u64::MAX } else { asked });
        }
        self.shares = hello.minor >= wire::SHARED_FEEDS_MINOR;
        self.erases = hello.minor >= wire::ERASURES_MINOR;
        self.repairs = hello.minor >= wire::REPAIR_MINOR;
        self.bootstraps = hello.minor >= wire::BOOTSTRAP_MINOR;
        self.device_clock_ms = hello.clock_ms;
        self.tokens = hello.bootstrap.iter().map(|token| (token.feed, *token)).collect();
        let cursors = hello.cursors.clone().unwrap_or_default();
        effects.push(ServerEffect::LoadAccount { cursors, actors: asked(&hello) });
        self.phase = Phase::Loading(hello);
        Ok(())
    }

    fn account(&mut self, mut account: Account, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        if !self.shares {
            let own = account.account;
            account.feeds.retain(|feed| feed.owner == own);
        }
        if self.clock_offset_ms.is_none() && self.device_clock_ms != 0 {
            self.clock_offset_ms = account.clock_ms.checked_sub(self.device_clock_ms);
        }
        let hello = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Loading(hello) => hello,
            Phase::Comparing(hello, digests) => return self.compare(hello, Box::new(account), digests, effects),
            _ => return Err(goodbye(Reason::BadFrame, "an account was read that nobody asked for")),
        };
        let Some(cursors) = hello.cursors.clone() else {
            let at_heads = account.feeds.iter().map(|feed| (feed.feed, feed.epoch, feed.head, feed.head_digest));
            if summary(at_heads) == hello.summary {
                let heads = account.feeds.iter().map(|feed| (feed.feed, feed.head)).collect();
                return self.go_live(&hello, &account, &heads, effects);
            }
            self.send(&self.welcome(&account, Want::Cursors, false), effects)?;
            self.phase = Phase::AwaitCursors(hello);
            return Ok(());
        };
        match summary_at(&account, &cursors) {
            Some(sum) if sum == hello.summary => self.go_live(&hello, &account, &cursors.0, effects),
            _ => {
                self.send(&self.welcome(&account, Want::Digests, false), effects)?;
                self.phase = Phase::AwaitDigests(hello);
                Ok(())
            }
        }
    }

    /// The summary was wrong even at the cursors: find the feeds. One in another epoch starts again; one in the same
    /// epoch with another digest or beyond the head has two histories and gets a new epoch first, if it is an own one.
    /// Somebody else's has the epoch that it has: a device that cannot bring histories together has it removed and is sent
    /// it again. One that is no longer granted is removed.
    fn compare(
        &mut self,
        hello: Hello,
        account: Box<Account>,
        mut digests: Vec<FeedDigest>,
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        let own = account.account;
        let found = |held: &FeedDigest| account.feed(held.feed);
        let differs = |held: &FeedDigest, feed: &AccountFeed| {
            feed.epoch == held.epoch && feed.digest_at_cursor != Some(held.digest)
        };
        let starts_anew = |held: &FeedDigest, feed: &AccountFeed| feed.owner != own && differs(held, feed);
        let removed = |held: &FeedDigest| found(held).is_none_or(|feed| !self.repairs && starts_anew(held, feed));
        let diverged: Vec<_> = digests
            .iter()
            .filter(|held| found(held).is_some_and(|feed| feed.owner == own && differs(held, feed)))
            .map(|held| held.feed)
            .collect();
        for held in digests.iter().filter(|held| removed(held)) {
            self.send(&Frame::FeedRevoked(held.feed), effects)?;
        }
        digests.retain(|held| !removed(held));
        self.named = digests.iter().map(|held| held.feed).collect();
        if diverged.is_empty() {
            return self.go_live_from(&hello, &account, &digests, effects);
        }
        effects.push(ServerEffect::RenewEpochs(diverged));
        self.phase = Phase::Renewing(hello, digests);
        Ok(())
    }

    /// The account is read once more: what was granted or appended meanwhile was told to nobody, as no feed was live yet.
    fn epochs_renewed(&mut self, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        let Phase::Renewing(hello, digests) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return Err(goodbye(Reason::BadFrame, "epochs were renewed that nobody asked for"));
        };
        let cursors = Cursors(digests.iter().map(|held| (held.feed, held.cursor)).collect());
        effects.push(ServerEffect::LoadAccount { cursors, actors: asked(&hello) });
        self.phase = Phase::Comparing(hello, digests);
        Ok(())
    }

    fn go_live_from(
        &mut self,
        hello: &Hello,
        account: &Account,
        digests: &[FeedDigest],
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        let agreed = digests
            .iter()
            .filter(|held| {
                let same = |feed: &AccountFeed| feed.epoch == held.epoch && feed.digest_at_cursor == Some(held.digest);
                account.feed(held.feed).is_some_and(same)
            })
            .map(|held| (held.feed, held.cursor))
            .collect();
        self.go_live(hello, account, &agreed, effects)
    }

    /// Feeds that are not in `cursors` are granted (again) and sent from their first entry, or from where the device's history
    /// of it parts from this one.
    fn go_live(
        &mut self,
        hello: &Hello,
        account: &Account,
        cursors: &BTreeMap<FeedId, u64>,
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        for feed in &account.feeds {
            let sent = cursors.get(&feed.feed).copied();
            if sent.is_none() {
                self.send(&Frame::FeedGranted(granted_frame(feed)), effects)?;
            }
            let locating = sent.is_none() && self.repairs && self.named.contains(&feed.feed);
            // Of one that the device has most of, only what follows comes: as entries.
            let bootstrap = if locating { None } else { self.bootstrap_of(feed, sent.unwrap_or(0)) };
            let new = Feed { bootstrap, locating, ..Feed::new(account.account, feed, sent.unwrap_or(0)) };
            self.feeds.insert(feed.feed, new);
        }
        self.grants_version = account.grants_version;
        self.catching_up = self.feeds.values().any(Feed::is_behind);
        self.phase = Phase::Live;
        self.send(&self.welcome(account, Want::Nothing, self.catching_up), effects)?;
        match self.early.take() {
            Some((batch, feeds)) if disagrees(hello, account, &feeds) => self.postpone(batch, &feeds, effects),
            Some((batch, feeds)) => self.push(batch, feeds, false, effects),
            None => Ok(()),
        }
    }

    /// Others granted the account something, or took it: the device is told, and what is new is sent from its first entry.
    /// Before Live there is nothing to do: the account is read again by then. What was taken is not sent whether the session
    /// has heard of it or not: each page of somebody else's feed is judged when it is read.
    fn regranted(&mut self, grants: &Grants, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        if !matches!(self.phase, Phase::Live) || !self.shares || grants.version < self.grants_version {
            return Ok(());
        }
        self.grants_version = grants.version;
        let is_gone = |(id, feed): (&FeedId, &Feed)| {
            let gone = feed.granted.is_some() && !grants.feeds.iter().any(|granted| granted.feed == *id);
            gone.then_some(*id)
        };
        for gone in self.feeds.iter().filter_map(is_gone).collect::<Vec<_>>() {
            self.feeds.remove(&gone);
            self.own.retain(|(feed, _), _| *feed != gone);
            self.ended.insert(gone);
            self.send(&Frame::FeedRevoked(gone), effects)?;
        }
        for granted in &grants.feeds {
            match self.feeds.get_mut(&granted.feed) {
                Some(known) if known.granted == Some(granted.access) => continue,
                Some(known) => known.granted = Some(granted.access),
                None => {
                    // One page is read in any case: what was committed since the head was read is not to be missed.
                    let feed = Feed {
                        granted: Some(granted.access),
                        head: granted.head.max(1),
                        bootstrap: self.bootstrap_of(granted, 0),
                        ..Feed::unread(granted)
                    };
                    self.feeds.insert(granted.feed, feed);
                }
            }
            self.send(&Frame::FeedGranted(granted_frame(granted)), effects)?;
        }
        Ok(())
    }

    /// Decides nothing about a push that was made before the device could read Welcome.
    fn postpone(&self, batch: u64, feeds: &[FeedPush], effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        let message = "the device has to compare itself with the server first; it pushes again by itself".to_owned();
        let retry = Receipt::Retry(Refusal { code: RETRY_AFTER_HELLO.to_owned(), message });
        let entries = feeds.iter().map(|push| push.entries.len()).sum();
        self.send(&Frame::Receipts { batch, receipts: vec![retry; entries] }, effects)
    }

    fn welcome(&self, account: &Account, want: Want, more: bool) -> Frame {
        Frame::Welcome(Welcome {
            installation: account.installation,
            clock_ms: account.clock_ms,
            actors: if want == Want::Nothing { account.actors.clone() } else { Vec::new() },
            merged: account
                .feeds
                .iter()
                .filter(|feed| want == Want::Nothing && feed.merged < feed.head)
                .map(|feed| (feed.feed, feed.merged))
                .collect(),
            want,
            more,
            minor: wire::MINOR,
        })
    }

    fn push(
        &mut self,
        batch: u64,
        feeds: Vec<FeedPush>,
        offered: bool,
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        let payloads = feeds.iter().flat_map(|push| &push.entries).map(|entry| &entry.payload);
        // What is no change is refused one by one later; here only the sum counts.
        let operations: u64 = payloads.map(|payload| change::count_operations(payload).unwrap_or(0)).sum();
        let bytes: usize = feeds.iter().flat_map(|push| &push.entries).map(|entry| entry.payload.len()).sum();
        if operations > limits::PUSH_OPERATIONS || bytes > limits::PUSH_BYTES {
            return Err(goodbye(Reason::BadFrame, "a push holds more than allowed"));
        }
        match self.phase {
            Phase::Live => {
                self.ingesting += 1;
                if self.ingesting > limits::PUSHES_IN_FLIGHT {
                    return Err(goodbye(Reason::BadFrame, "more pushes are under way than allowed"));
                }
                let clock_offset_ms = self.clock_offset_ms;
                effects.push(ServerEffect::Ingest { batch, feeds, offered, clock_offset_ms });
                Ok(())
            }
            _ if self.mode == Mode::Once && self.early.is_none() => {
                self.early = Some((batch, feeds));
                Ok(())
            }
            _ => Err(goodbye(Reason::BadFrame, "a push came before Welcome")),
        }
    }

    fn settled(&mut self, settled: Settled, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        self.ingesting = self.ingesting.saturating_sub(1);
        for Own { feed, seq, id, echo } in settled.own {
            self.raise_head(feed, seq);
            let ahead = self.feeds.get(&feed).is_some_and(|feed| feed.sent < seq);
            let is_held = echo != Echo::InFull && !self.ended.contains(&feed);
            if ahead && is_held && self.own.len() < OWN_REMEMBERED {
                self.own.insert((feed, seq), id);
            }
            if ahead && echo == Echo::Fresh && self.mode == Mode::Socket {
                self.expect_live(feed, true);
            }
        }
        self.send(&Frame::Receipts { batch: settled.batch, receipts: settled.receipts }, effects)
    }

    fn expect_live(&mut self, feed: FeedId, expected: bool) {
        if let Some(feed) = self.feeds.get_mut(&feed) {
            feed.awaits_live = expected;
        }
    }

    fn raise_head(&mut self, feed: FeedId, head: u64) {
        if let Some(feed) = self.feeds.get_mut(&feed) {
            feed.head = feed.head.max(head);
        }
    }

    /// Entries from memory go out at once when they are the next ones; otherwise the database fills the gap.
    fn live(&mut self, live: LiveEntries<'_>, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        let last = live.first_seq + live.entries.len() as u64 - 1;
        self.raise_head(live.feed, last);
        self.expect_live(live.feed, false);
        let Some(feed) = self.feeds.get(&live.feed) else { return Ok(()) };
        // Somebody else's is read from the database, where it is judged at that moment.
        if feed.granted.is_some() || feed.bootstrap.is_some() || feed.locating {
            return Ok(());
        }
        if !matches!(self.phase, Phase::Live) || feed.reading || feed.sent + 1 < live.first_seq || feed.sent >= last {
            return Ok(());
        }
        let mut rest = &live.entries[(feed.sent + 1 - live.first_seq) as usize..];
        while !rest.is_empty() && self.unconfirmed < self.window {
            let (page, later) = rest.split_at(page_length(rest));
            self.send_entries(live.feed, page, effects)?;
            rest = later;
        }
        Ok(())
    }

    fn page(&mut self, page: Page, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        self.reading = self.reading.saturating_sub(1);
        let Some(feed) = self.feeds.get_mut(&page.feed) else { return Ok(()) };
        feed.reading = false;
        if page.entries.is_empty() {
            if page.head < feed.sent {
                return Err(goodbye(Reason::Unavailable, "the server's database has gone back in time; compare again"));
            }
            // What a hint promised is not there: believe the database.
            feed.head = page.head;
            return Ok(());
        }
        feed.head = feed.head.max(page.head);
        if feed.sent != page.after {
            return Ok(());
        }
        self.send_entries(page.feed, &page.entries, effects)
    }

    fn send_entries(
        &mut self,
        feed_id: FeedId,
        entries: &[Received],
        effects: &mut Vec<ServerEffect>,
    ) -> Result<(), Goodbye> {
        // It would keep what was erased, and count another history than the server's.
        if !self.erases && entries.iter().any(|received| received.emptied || received.entry.is_erasure()) {
            return Err(goodbye(
                Reason::Upgrade,
                "a record was erased, which this version of the app cannot do: update it",
            ));
        }
        let Some(feed) = self.feeds.get_mut(&feed_id) else { return Ok(()) };
        let first_seq = feed.sent + 1;
        let mut items = Vec::with_capacity(entries.len());
        for (seq, received) in (first_seq..).zip(entries) {
            let item = item(received, self.own.remove(&(feed_id, seq)));
            if let Item::Full(entry) = &item {
                self.unconfirmed += entry.payload.len() as u64;
            }
            items.push(item);
        }
        feed.sent += entries.len() as u64;
        let page = FeedPage { feed: feed_id, first_seq, items, merged_seq: feed.merged };
        if feed.granted.is_none() {
            return self.send(&Frame::Entries(vec![page]), effects);
        }
        let message = wire::encode(&Frame::Entries(vec![page])).map_err(|error| bad_frame(&error))?;
        effects.push(ServerEffect::SendOfOther(feed_id, message));
        Ok(())
    }

    /// Asks for the next page of the feed that is behind, one at a time, while the window is open.
    fn pump(&mut self, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        if !matches!(self.phase, Phase::Live) || self.reading > 0 {
            return Ok(());
        }
        // A one-shot answer carries the receipts before the entries, so that own ones are only named.
        if self.mode == Mode::Once && self.ingesting > 0 {
            return Ok(());
        }
        let is_locating = self.is_locating();
        let is_behind = |(id, feed): &(&FeedId, &Feed)| {
            let comes = feed.awaits_live && self.own.contains_key(&(**id, feed.sent + 1));
            feed.bootstrap.is_none() && !feed.locating && feed.sent < feed.head && !comes
        };
        let behind = self.feeds.iter().find(is_behind).map(|(id, _)| *id);
        if let Some(snapshots) = self.snapshots_due(behind.is_some()) {
            if self.unconfirmed < self.window {
                self.reading = 1;
                effects.push(snapshots);
            }
            return Ok(());
        }
        match behind.and_then(|id| Some((id, self.feeds.get_mut(&id)?))) {
            Some((id, feed)) if self.unconfirmed < self.window => {
                feed.reading = true;
                self.reading = 1;
                let room = usize::try_from(self.window - self.unconfirmed).unwrap_or(usize::MAX);
                let max_bytes = limits::ENTRIES_PAGE_BYTES.min(room);
                let others = feed.granted.is_some();
                effects.push(ServerEffect::Read { feed: id, others, after: feed.sent, max_bytes });
                Ok(())
            }
            None if self.catching_up && self.mode == Mode::Socket && !is_locating => {
                self.catching_up = false;
                self.send(&Frame::More(false), effects)
            }
            _ => Ok(()),
        }
    }

    fn send(&self, frame: &Frame, effects: &mut Vec<ServerEffect>) -> Result<(), Goodbye> {
        effects.push(ServerEffect::Send(wire::encode(frame).map_err(|error| bad_frame(&error))?));
        Ok(())
    }
}

/// The bytes of a last frame.
pub(crate) fn farewell(goodbye: &Goodbye) -> Vec<u8> {
    wire::encode(&Frame::Goodbye(goodbye.clone())).unwrap_or_default()
}

fn goodbye(reason: Reason, message: &str) -> Goodbye {
    Goodbye { reason, message: message.to_owned(), retry_after_ms: 0 }
}

fn bad_frame(error: &WireError) -> Goodbye {
    goodbye(Reason::BadFrame, &error.to_string())
}

/// How an entry travels; `own` is its id if the device pushed it on this very connection. One that was emptied is not only named
/// to its author either, who has perhaps taken it back with others that were refused because its document is erased.
fn item(received: &Received, own: Option<EntryId>) -> Item {
    match own {
        _ if received.emptied => {
            Item::Emptied(Emptied { id: received.id, kind: received.entry.kind, doc_id: received.entry.doc_id })
        }
        Some(id) => Item::Own(id),
        None => Item::Full(received.entry.clone()),
    }
}

/// How many of the entries make one frame, at least one: a commit may be larger than a frame.
fn page_length(entries: &[Received]) -> usize {
    let mut bytes = 0;
    let fits = entries.iter().take(limits::ENTRIES_PAGE).take_while(|received| {
        bytes += received.entry.payload.len();
        bytes <= limits::ENTRIES_PAGE_BYTES
    });
    fits.count().max(1)
}

fn asked(hello: &Hello) -> Vec<ActorId> {
    hello.actors.iter().map(|(actor, _)| *actor).collect()
}

/// Whether a push that came with Hello must wait: it was made for another installation, or the server has an entry of one
/// of the device's actors that the device neither knows as accepted nor is pushing now. Then the device was restored or
/// cloned, and what it pushes could fork.
fn disagrees(hello: &Hello, account: &Account, feeds: &[FeedPush]) -> bool {
    let other = hello.installation.is_some_and(|known| known != account.installation);
    let pushed = |tip: &EntryId| feeds.iter().flat_map(|push| &push.entries).any(|entry| entry.id() == *tip);
    let unknown = |(actor, tip): &(ActorId, EntryId)| !hello.actors.contains(&(*actor, Some(*tip))) && !pushed(tip);
    other || account.actors.iter().any(unknown)
}

impl Feed {
    fn new(account: [u8; 16], feed: &AccountFeed, sent: u64) -> Self {
        let granted = (feed.owner != account).then_some(feed.access);
        Self { granted, sent, ..Self::unread(feed) }
    }

    fn unread(feed: &AccountFeed) -> Self {
        Self {
            granted: None,
            sent: 0,
            head: feed.head,
            merged: feed.merged,
            reading: false,
            awaits_live: false,
            locating: false,
            bootstrap: None,
        }
    }

    fn is_behind(&self) -> bool {
        self.sent < self.head || self.locating
    }
}

fn granted_frame(feed: &AccountFeed) -> FeedGranted {
    FeedGranted {
        feed: feed.feed,
        account: feed.owner,
        access: feed.access,
        owner_name: feed.owner_name.as_ref().to_owned(),
        collection: feed.collection.as_ref().to_owned(),
        scope: feed.scope.as_ref().to_owned(),
        epoch: feed.epoch,
    }
}
