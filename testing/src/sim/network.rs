//! What is under way between homes and nodes. Frames of one connection come in their order or not at all; a connection that is
//! cut for the device may go on for the node for a while, with what was still under way.

use std::collections::{BTreeMap, VecDeque};

use fitme_core::change;
use fitme_core::entry::Entry;
use fitme_core::id::{DocId, EntryId, FeedId};
use fitme_core::session::{DeviceEffect, DeviceEvent, DeviceSession, SessionError};
use fitme_core::wire::{self, FeedPage, Frame, Item, Receipt, Want};
use rand::Rng;

use super::check;
use super::connection::Connection;
use super::home::MayFork;
use super::node::Node;
use super::script::Dice;
use super::words;
use super::world::World;

/// Why an honest app may be refused something, apart from forks: what others erased, no longer share or refused before.
const REFUSALS: [&str; 7] = [
    "depends_on_rejected",
    "unknown_dependency",
    "erased",
    "not_your_feed",
    "read_only",
    "grant_not_valid_now",
    "not_invited",
];

/// A connection that both ends know of.
pub struct Link {
    pub home: usize,
    pub process: usize,
    pub node: usize,
    session: DeviceSession,
    connection: Connection,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    /// The device takes nothing for a while.
    pub slow: bool,
    /// Everything is on both sides.
    pub synced: bool,
    /// What was pushed in each batch.
    pushes: BTreeMap<u64, Vec<(FeedId, Entry)>>,
}

impl Link {
    /// Where both ends are.
    pub fn describe(&self) -> String {
        format!("on node {}: {:?}", self.node, self.connection)
    }
}

/// A connection that its device has given up, and its node has not.
pub struct Remains {
    pub node: usize,
    connection: Connection,
    up: VecDeque<Vec<u8>>,
}

impl World {
    /// A process of a home dials a node.
    pub fn connect(&mut self, home: usize, process: usize, node: usize) {
        let connection = Connection::open(&self.nodes[node], self.homes[home].device);
        self.links.push(Link {
            home,
            process,
            node,
            session: DeviceSession::new(),
            connection,
            up: VecDeque::new(),
            down: VecDeque::new(),
            slow: false,
            synced: false,
            pushes: BTreeMap::new(),
        });
        self.trace(|world| format!("{} dials node {node}", world.homes[home].name));
        let link = self.links.len() - 1;
        self.tell(link, None);
    }

    /// The device's end is gone; the node may hear what was still under way.
    pub fn cut(&mut self, link: usize, dice: &mut Dice) {
        let Link { home, node, connection, up, .. } = self.links.remove(link);
        self.trace(|world| format!("{} is cut off from node {node}", world.homes[home].name));
        if dice.random_bool(0.5) {
            if !up.is_empty() {
                self.census.count("fault frames arrive after the cut");
            }
            self.remains.push(Remains { node, connection, up });
        }
    }

    /// Both ends are gone.
    pub fn cut_all(&mut self, which: impl Fn(&Link) -> bool) {
        self.links.retain(|link| !which(link));
    }

    /// Something was written in a home: its processes push it.
    pub fn written(&mut self, home: usize) {
        let mut at = 0;
        while at < self.links.len() {
            if self.links[at].home == home && self.wake(at) {
                continue;
            }
            at += 1;
        }
    }

    /// True if the link is gone.
    fn wake(&mut self, link: usize) -> bool {
        let links = self.links.len();
        self.event(link, DeviceEvent::Written);
        self.links.len() < links
    }

    /// Opens the session, or hands it a message.
    fn tell(&mut self, link: usize, message: Option<&[u8]>) {
        let event = message.map_or(DeviceEvent::Opened, DeviceEvent::Message);
        self.event(link, event);
    }

    fn event(&mut self, link: usize, event: DeviceEvent<'_>) {
        let now_ms = self.now_of(self.links[link].home);
        let Link { home, process, session, .. } = &mut self.links[link];
        let (home, process) = (*home, *process);
        let device = &mut self.homes[home];
        let Some(store) = device.processes[process].store.as_mut() else {
            self.links.remove(link);
            return;
        };
        match session.handle(store, event, now_ms, &mut device.dice) {
            Ok(effects) => self.effects(link, effects),
            Err(error) => self.session_failed(link, &error),
        }
    }

    fn session_failed(&mut self, link: usize, error: &SessionError) {
        let home = self.links.remove(link).home;
        self.trace(|world| format!("a session of {} ended: {error}", world.homes[home].name));
        match error {
            SessionError::Store(error) | SessionError::Pull(fitme_core::store::PullError::Store(error)) => {
                self.store_failed(home, error);
            }
            error => {
                let name = self.homes[home].name.clone();
                self.broken("I4", format!("a session of {name} got what it must not get: {error}"));
            }
        }
    }

    fn effects(&mut self, link: usize, effects: Vec<DeviceEffect>) {
        for effect in effects {
            match effect {
                DeviceEffect::Send(message) => {
                    if let Ok(Some(Frame::Push { batch, feeds })) = wire::decode(&message) {
                        let entries = feeds
                            .into_iter()
                            .flat_map(|push| push.entries.into_iter().map(move |entry| (push.feed, entry)));
                        let entries: Vec<_> = entries.collect();
                        self.trace(|world| {
                            let Link { home, process, .. } = world.links[link];
                            let ids: Vec<_> = entries
                                .iter()
                                .map(|(feed, entry)| format!("{} of {} in {feed}", entry.id(), entry.doc_id))
                                .collect();
                            format!("{} ({process}) pushes {ids:?}", world.homes[home].name)
                        });
                        self.links[link].pushes.insert(batch, entries);
                    }
                    self.links[link].up.push_back(message);
                }
                DeviceEffect::Synced => self.links[link].synced = true,
                DeviceEffect::Applied(applied) => {
                    if applied.unapplied > 0 && !self.homes[self.links[link].home].has_forked {
                        let name = self.homes[self.links[link].home].name.clone();
                        self.broken("I5", format!("{name} could not apply {} entries", applied.unapplied));
                    }
                }
                DeviceEffect::Closed(goodbye) => {
                    self.census.count(format!("session goodbye {:?}", goodbye.reason));
                    self.links.remove(link);
                    return;
                }
                DeviceEffect::Received(..) => self.census.count("session snapshots received"),
                DeviceEffect::SentAgain(_) => self.census.count("session sends again what a server lost"),
                DeviceEffect::BroughtBack { .. } => self.census.count("session brings back what a server damaged"),
                DeviceEffect::Mended(_) => self.census.count("session mends what a disk damaged"),
                DeviceEffect::Revoked(_) | DeviceEffect::Refused(_) => {}
            }
        }
    }

    /// A message arrives at the device.
    fn deliver(&mut self, link: usize) -> bool {
        let Some(message) = self.links[link].down.pop_front() else { return false };
        let frame = wire::decode(&message).ok().flatten();
        let (home, process) = (self.links[link].home, self.links[link].process);
        let links = self.links.len();
        self.tell(link, Some(&message));
        if let Some(frame) = frame {
            self.trace(|world| format!("{} ({process}) got {}", world.homes[home].name, kind(&frame)));
            self.count_frame(&frame);
            if matches!(&frame, Frame::Welcome(welcome) if welcome.want == Want::Nothing)
                && self.homes[home].may_fork == MayFork::UntilWelcome
                && !self.may_still_hear_of(home)
            {
                self.homes[home].may_fork = MayFork::Never;
                self.homes[home].forkable = self.homes[home].queued().unwrap_or_default();
            }
            if let Frame::Receipts { batch, receipts } = frame {
                let pushed = match self.links.len() == links {
                    true => self.links[link].pushes.remove(&batch),
                    false => None,
                };
                self.take_note(home, process, &pushed.unwrap_or_default(), &receipts);
            }
        }
        true
    }

    /// What the server promised is written down, and what it refused must be readable by then.
    fn take_note(&mut self, home: usize, process: usize, pushed: &[(FeedId, Entry)], receipts: &[Receipt]) {
        for receipt in receipts {
            self.census.count(format!("receipt {}", code(receipt)));
        }
        for ((feed, entry), receipt) in pushed.iter().zip(receipts) {
            match receipt {
                Receipt::Accepted(seq) => {
                    self.ledger.acknowledged.insert((*feed, *seq), entry.id());
                    self.must_keep(home, *feed, *seq, entry.id());
                }
                Receipt::Duplicate { seq, entry_id } => {
                    self.ledger.acknowledged.insert((*feed, *seq), *entry_id);
                }
                Receipt::Rejected(why) => {
                    self.must_be_so(home, &why.code, entry);
                    self.must_show(home, process, *feed, entry);
                }
                Receipt::Retry(_) => {}
            }
        }
    }

    /// The command stays until the merge has passed it: a quarantined document could not be made again without it.
    fn must_keep(&mut self, home: usize, feed: FeedId, seq: u64, id: EntryId) {
        if let Ok(false) = self.homes[home].keeps_command(feed, seq, id) {
            let name = self.homes[home].name.clone();
            self.broken("I9", format!("{name} forgot the command of entry {id}, which is not merged yet"));
        }
    }

    /// What an honest app writes is refused for what others did meanwhile, and for nothing else.
    fn must_be_so(&mut self, home: usize, code: &str, entry: &Entry) {
        let device = &self.homes[home];
        let hash = change::read(&entry.payload).ok().map(|read| read.facts.hash);
        let is_forkable = |(_, doc_id, of): &super::ledger::Write| (*doc_id, *of) == (entry.doc_id, hash);
        let is_known = match code {
            "actor_forked" => device.may_fork != MayFork::Never || device.forkable.iter().any(is_forkable),
            code => REFUSALS.contains(&code),
        };
        if !is_known {
            let (name, doc_id) = (device.name.clone(), entry.doc_id);
            self.broken("I11", format!("{name} was refused a write of {doc_id} with {code}, and did nothing wrong"));
        }
    }

    /// What was refused is shown, or was written again; but for what nobody asked for by itself.
    fn must_show(&mut self, home: usize, process: usize, feed: FeedId, entry: &Entry) {
        let doc_id = entry.doc_id;
        let owner = self.database.look(|tables| tables.feeds.get(&feed).map(|row| row.account));
        let device = &mut self.homes[home];
        let account = owner.unwrap_or(device.device.account);
        let owner = (account != device.device.account).then(|| account.into_bytes());
        device.promises.refused.insert((owner, doc_id));
        // The receipt may have come too late for a process that is gone.
        if device.processes[process].store.is_none() || entry.salt == [0; 8] {
            return;
        }
        let (Ok(undecided), Ok(erased)) = (device.undecided(), device.erased()) else { return };
        let is_known = undecided.iter().chain(&erased).any(|(_, id)| *id == doc_id);
        if !is_known && !self.is_here(account, doc_id, &entry.payload) {
            let name = self.homes[home].name.clone();
            self.broken("I9", format!("{name} was refused a write of {doc_id} and does not show it"));
        }
    }

    /// Whether the words of a change are on the server all the same, in another one, or there are none.
    fn is_here(&self, owner: uuid::Uuid, doc_id: DocId, payload: &[u8]) -> bool {
        words::marks_in(payload).into_iter().all(|word| check::is_on_server(self, owner, doc_id, word))
    }

    /// Whether something may be under way that the home pushed before it was put back from a backup.
    fn may_still_hear_of(&self, home: usize) -> bool {
        let device = self.homes[home].device.device;
        self.nodes.iter().any(Node::has_pushes)
            || self.remains.iter().any(|remains| remains.connection.device().device == device)
    }

    fn count_frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Welcome(welcome) => self.census.count(match welcome.want {
                Want::Cursors => "session wants cursors",
                Want::Digests => "session wants digests",
                Want::Nothing => "session live",
            }),
            Frame::FeedGranted(_) => self.census.count("session feed granted"),
            Frame::FeedRevoked(_) => self.census.count("session feed revoked"),
            Frame::Entries(pages) => {
                let any = |wanted: fn(&Item) -> bool| pages.iter().any(|page: &FeedPage| page.items.iter().any(wanted));
                if any(|item| matches!(item, Item::Own(_))) {
                    self.census.count("session own entries named");
                }
                if any(|item| matches!(item, Item::Emptied(_))) {
                    self.census.count("session emptied entries");
                }
            }
            _ => {}
        }
    }

    /// One move of the network or of a node, drawn; false if there was nothing to do where it looked.
    pub fn tick(&mut self, dice: &mut Dice) -> bool {
        match dice.random_range(0..20) {
            0..5 => self.some_link(dice, Self::serve),
            5..8 => self.some_link(dice, |world, link, _| world.take(link)),
            8..11 => self.some_link(dice, |world, link, _| world.deliver(link)),
            11..14 => self.some_link(dice, |world, link, _| world.arrive(link)),
            14..17 => {
                let node = dice.random_range(0..self.nodes.len());
                let works = self.nodes[node].has_pushes();
                self.nodes[node].settle();
                works
            }
            17 => {
                let node = dice.random_range(0..self.nodes.len());
                self.nodes[node].merge();
                true
            }
            18 => match dice.random_range(0..3) {
                0 => self.hint(dice),
                1 => {
                    let node = dice.random_range(0..self.nodes.len());
                    self.nodes[node].regrant()
                }
                _ => self.remain(dice),
            },
            _ => match dice.random_range(0..4) {
                0 => {
                    let node = dice.random_range(0..self.nodes.len());
                    self.nodes[node].poll()
                }
                _ => self.dial(dice),
            },
        }
    }

    fn some_link(&mut self, dice: &mut Dice, what: impl Fn(&mut Self, usize, &mut Dice) -> bool) -> bool {
        if self.links.is_empty() {
            return false;
        }
        let link = dice.random_range(0..self.links.len());
        what(self, link, dice)
    }

    /// Everything that can move does, in turn; false when nothing can.
    pub fn sweep(&mut self, dice: &mut Dice) -> bool {
        let mut moved = false;
        for node in 0..self.nodes.len() {
            while self.nodes[node].has_pushes() {
                self.nodes[node].settle();
                moved = true;
            }
            moved |= self.nodes[node].regrant();
        }
        while !self.hints.is_empty() {
            moved |= self.hint(dice);
        }
        while self.remain(dice) {
            moved = true;
        }
        // From the end: a link that ends takes no other one's place.
        for link in (0..self.links.len()).rev() {
            moved |= self.serve(link, dice);
            moved |= link < self.links.len() && self.take(link);
            moved |= link < self.links.len() && self.deliver(link);
            moved |= link < self.links.len() && self.arrive(link);
        }
        self.gather_hints(dice);
        moved
    }

    /// The node does something for a session.
    fn serve(&mut self, link: usize, dice: &mut Dice) -> bool {
        let Link { node, home, connection, .. } = &mut self.links[link];
        let (node, home) = (*node, *home);
        let outcome = connection.step(&mut self.nodes[node], dice, &mut self.census);
        self.gather_hints(dice);
        match outcome {
            Ok(worked) => worked,
            Err(ended) => {
                self.trace(|world| format!("node {node} ends a session of {}: {}", world.homes[home].name, ended.0));
                self.census.count(format!("session ended: {}", ended.0));
                self.links.remove(link);
                true
            }
        }
    }

    /// The device's system takes a message.
    fn take(&mut self, link: usize) -> bool {
        let link = &mut self.links[link];
        if link.slow {
            return false;
        }
        let message = link.connection.take();
        let taken = message.is_some();
        link.down.extend(message);
        taken
    }

    /// A message arrives at the node.
    fn arrive(&mut self, link: usize) -> bool {
        let link = &mut self.links[link];
        let Some(message) = link.up.pop_front() else { return false };
        link.connection.receive(&message);
        true
    }

    /// What is left of connections goes on.
    fn remain(&mut self, dice: &mut Dice) -> bool {
        if self.remains.is_empty() {
            return false;
        }
        let at = dice.random_range(0..self.remains.len());
        let Remains { node, connection, up } = &mut self.remains[at];
        if let Some(message) = up.pop_front() {
            connection.receive(&message);
        }
        let over = loop {
            // What it sends goes nowhere.
            while connection.take().is_some() {}
            match connection.step(&mut self.nodes[*node], dice, &mut self.census) {
                Ok(true) => {}
                Ok(false) => break up.is_empty(),
                Err(_) => break true,
            }
        };
        if over {
            self.remains.swap_remove(at);
        }
        self.gather_hints(dice);
        true
    }

    /// Puts what nodes have to tell under way; some of it is lost.
    pub fn gather_hints(&mut self, dice: &mut Dice) {
        for node in 0..self.nodes.len() {
            for hint in std::mem::take(&mut self.nodes[node].hints) {
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    if dice.random_bool(0.1) {
                        self.census.count("fault hint lost");
                    } else {
                        self.hints.push((other, hint));
                    }
                }
            }
        }
    }

    /// A hint arrives, in whatever order.
    fn hint(&mut self, dice: &mut Dice) -> bool {
        self.gather_hints(dice);
        if self.hints.is_empty() {
            return false;
        }
        let (node, hint) = self.hints.swap_remove(dice.random_range(0..self.hints.len()));
        self.nodes[node].hear(hint);
        true
    }

    /// A process that has no connection dials.
    fn dial(&mut self, dice: &mut Dice) -> bool {
        let home = dice.random_range(0..self.homes.len());
        let process = dice.random_range(0..self.homes[home].processes.len());
        let node = dice.random_range(0..self.nodes.len());
        let linked = self.links.iter().any(|link| (link.home, link.process) == (home, process));
        if linked || !self.homes[home].online || self.homes[home].processes[process].store.is_none() {
            return false;
        }
        self.connect(home, process, node);
        true
    }
}

fn code(receipt: &Receipt) -> &str {
    match receipt {
        Receipt::Accepted(_) => "accepted",
        Receipt::Duplicate { .. } => "duplicate",
        Receipt::Rejected(why) | Receipt::Retry(why) => &why.code,
    }
}

fn kind(frame: &Frame) -> String {
    match frame {
        Frame::Receipts { receipts, .. } => format!("receipts {:?}", receipts.iter().map(code).collect::<Vec<_>>()),
        Frame::Entries(pages) => {
            let page = |page: &FeedPage| format!("{} from {} ({})", page.feed, page.first_seq, page.items.len());
            format!("entries {:?}", pages.iter().map(page).collect::<Vec<_>>())
        }
        Frame::Welcome(welcome) => format!("Welcome, want {:?}", welcome.want),
        Frame::FeedGranted(granted) => format!("{} granted", granted.feed),
        Frame::FeedRevoked(feed) => format!("{feed} revoked"),
        Frame::Goodbye(goodbye) => format!("goodbye {:?}", goodbye.reason),
        Frame::More(more) => format!("more: {more}"),
        _ => "a frame".to_owned(),
    }
}
