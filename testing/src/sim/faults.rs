//! What breaks in a world, one function a fault.

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, DocId, FeedId};
use fitme_core::record::{self, Author};
use fitme_core::wire::{EntryKind, FeedPush};
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::json;
use sync_server::ingest::check::Origin;
use uuid::Uuid;

use super::home::{Home, MayFork, Process};
use super::ledger::Promises;
use super::node::Node;
use super::script::{Dice, Fault};
use super::world::World;

/// Steps of the disk until the power fails soon.
const SOON: std::ops::Range<u64> = 1..60;
/// Steps of the world until what passes has passed.
const PASSES: std::ops::Range<usize> = 1..8;
/// Bytes that a disk has left when it is full soon.
const ROOM: std::ops::Range<usize> = 0..30_000;
/// A clock that is ten years wrong.
const TEN_YEARS_MS: i64 = 10 * 365 * 86_400_000;
/// Homes that one may have become.
const HOMES: usize = 6;

impl World {
    /// Breaks something.
    pub(super) fn break_down(&mut self, fault: Fault, dice: &mut Dice) {
        let home = dice.random_range(0..self.homes.len());
        let node = dice.random_range(0..self.nodes.len());
        match fault {
            Fault::ConnectionCut => self.cut_some_connection(dice),
            Fault::SlowReader => self.slow_down_a_reader(dice),
            Fault::PowerFailure => self.power_failed(home, dice),
            Fault::PowerFailsSoon => self.homes[home].folder.fail_after(Some(dice.random_range(SOON))),
            Fault::ProcessKilled => self.kill_a_process(home, dice),
            Fault::RestoredFromBackup => self.restore(home, dice),
            Fault::Clone => self.clone_home(home, dice),
            Fault::ClockJumps => self.jump_clock(home, dice),
            Fault::DiskFull => self.fill_disk(home, dice),
            Fault::NodeCrash => self.crash_node(node, "node crash", dice),
            Fault::NodeCrashInCommit => self.crash_node_in_commit(dice),
            Fault::NodeCrashInMerge => self.crash_node_in_merge(node, dice),
            Fault::DatabaseAway => self.take_database_away(dice),
            Fault::HintsLost => self.lose_hints(dice),
            Fault::RogueDevice => self.push_rogue(node, dice),
        }
    }

    fn cut_some_connection(&mut self, dice: &mut Dice) {
        if !self.links.is_empty() {
            self.census.count("fault connection cut");
            let link = dice.random_range(0..self.links.len());
            self.cut(link, dice);
        }
    }

    fn slow_down_a_reader(&mut self, dice: &mut Dice) {
        if !self.links.is_empty() {
            self.census.count("fault slow reader");
            let link = dice.random_range(0..self.links.len());
            self.links[link].slow = true;
        }
    }

    /// Somewhere in the middle of what it does.
    fn kill_a_process(&mut self, home: usize, dice: &mut Dice) {
        self.census.count("fault process killed");
        let process = dice.random_range(0..self.homes[home].processes.len());
        // Between two writes, not in one: what a killed process wrote is there, unlike after a power failure.
        while let Some(link) = self.links.iter().position(|link| (link.home, link.process) == (home, process)) {
            self.cut(link, dice);
        }
        self.homes[home].kill(process);
        self.start(home);
    }

    fn restore(&mut self, home: usize, dice: &mut Dice) {
        let Some(image) = self.homes[home].backups.choose(dice).cloned() else { return };
        self.census.count("fault restored from backup");
        self.cut_links_of(home, dice);
        let device = &mut self.homes[home];
        device.put_back(&image);
        // What the backup lacks is gone, unless the server has it.
        let before = std::mem::take(&mut device.promises).words;
        device.has_forked = true;
        if device.may_fork == MayFork::Never {
            device.may_fork = MayFork::UntilWelcome;
        }
        self.start(home);
        let device = &self.homes[home];
        match device.queued().and_then(|queued| Ok((queued, device.words_kept()?))) {
            Ok((written, mut words)) => {
                words.retain(|word, _| before.contains_key(word));
                self.homes[home].promises = Promises { written, words, ..Promises::default() };
            }
            Err(error) => self.broken("I11", format!("a home put back from a backup cannot be read: {error}")),
        }
    }

    /// A second device that takes itself for the first one.
    fn clone_home(&mut self, home: usize, dice: &mut Dice) {
        if self.homes.len() == HOMES {
            return;
        }
        self.census.count("fault clone");
        let original = &self.homes[home];
        let mut clone = Home::new(&format!("a clone of {}", original.name), original.device, &["app"], dice.random());
        clone.folder.put_back(&original.folder.image());
        clone.clock_offset_ms = original.clock_offset_ms;
        (clone.may_fork, clone.has_forked) = (MayFork::Always, true);
        clone.processes = vec![Process { writer: "app", store: None }];
        self.homes.push(clone);
        (self.homes[home].may_fork, self.homes[home].has_forked) = (MayFork::Always, true);
        self.start(self.homes.len() - 1);
    }

    fn jump_clock(&mut self, home: usize, dice: &mut Dice) {
        self.census.count("fault clock jumps");
        let jumps = [TEN_YEARS_MS, -TEN_YEARS_MS, 3_600_000, -3_600_000, 0, dice.random_range(-90_000..90_000)];
        self.homes[home].clock_offset_ms = *jumps.choose(dice).expect("there are some");
    }

    fn fill_disk(&mut self, home: usize, dice: &mut Dice) {
        self.census.count("fault disk full");
        self.homes[home].folder.set_room(Some(dice.random_range(ROOM)));
        self.passing.push((dice.random_range(PASSES), Some(home)));
    }

    /// The process is gone, with all that it had not committed; another one starts in its place.
    fn crash_node(&mut self, node: usize, how: &str, dice: &mut Dice) {
        self.census.count(format!("fault {how}"));
        self.trace(|_| format!("node {node}: {how}"));
        self.gather_hints(dice);
        self.nodes[node] = Node::start(&self.database, Uuid::from_u128(dice.random()));
        self.cut_all(|link| link.node == node);
        self.remains.retain(|remains| remains.node != node);
        self.hints.retain(|(to, _)| *to != node);
    }

    /// While a group is written: before its commit, or between the commit and its receipts.
    fn crash_node_in_commit(&mut self, dice: &mut Dice) {
        let Some(node) = self.wait_for_a_push(dice) else { return };
        let heads = |world: &Self| world.database.look(|tables| tables.entries.iter().count());
        let (before, steps) = (heads(self), dice.random_range(1..12));
        for _ in 0..steps {
            self.nodes[node].settle();
            if heads(self) > before {
                return self.crash_node(node, "node crash after commit", dice);
            }
        }
        if self.nodes[node].is_settling() {
            self.crash_node(node, "node crash before commit", dice);
        }
    }

    /// Somebody writes and pushes; which node has it.
    fn wait_for_a_push(&mut self, dice: &mut Dice) -> Option<usize> {
        for _ in 0..400 {
            if let Some(node) = self.nodes.iter().position(Node::has_pushes) {
                return Some(node);
            }
            if dice.random_bool(0.02) {
                let home = dice.random_range(0..self.homes.len());
                self.act_in(home, 0, dice);
            }
            self.tick(dice);
        }
        None
    }

    fn crash_node_in_merge(&mut self, node: usize, dice: &mut Dice) {
        for _ in 0..dice.random_range(1..4) {
            self.nodes[node].merge();
        }
        if self.nodes[node].is_merging() {
            self.crash_node(node, "node crash in merge", dice);
        }
    }

    fn take_database_away(&mut self, dice: &mut Dice) {
        self.census.count("fault database away");
        self.database.set_away(true);
        self.passing.push((dice.random_range(PASSES), None));
    }

    fn lose_hints(&mut self, dice: &mut Dice) {
        self.gather_hints(dice);
        for _ in std::mem::take(&mut self.hints) {
            self.census.count("fault hint lost");
        }
    }

    /// A program of somebody's own pushes what no app writes.
    fn push_rogue(&mut self, node: usize, dice: &mut Dice) {
        self.census.count("fault rogue device");
        let (ann, tom) = (self.ann, self.tom);
        let feed = |account| {
            self.database.look(|tables| {
                let moods =
                    |row: &super::database::tables::FeedRow| row.account == account && row.collection == "moods";
                tables.feeds.iter().find(|(_, row)| moods(row)).map_or(FeedId(1), |(feed, _)| *feed)
            })
        };
        let (own, others) = (feed(ann), feed(tom));
        let mut poison = |kind, payload| {
            let doc_id = DocId::random(self.now_ms, dice);
            Entry { kind, doc_id, device_time: self.now_ms, salt: dice.random(), payload }
        };
        let unknown = poison(77, vec![1; 40]);
        let garbage = poison(EntryKind::Change.into(), vec![2; 40]);
        let author = Author { actor: ActorId::random(dice), time_ms: self.now_ms };
        let fields = json!({ "at": self.now_ms, "valence": 1 });
        let (_, payload) = record::create(Collection::Moods, &fields, &author, dice).expect("a valid mood");
        let doc_id = DocId::random(self.now_ms, dice);
        let mood =
            Entry { kind: EntryKind::Change.into(), doc_id, device_time: self.now_ms, salt: dice.random(), payload };
        let pushes = vec![
            FeedPush { feed: own, entries: vec![unknown, garbage, mood.clone()] },
            FeedPush { feed: others, entries: vec![mood] },
        ];
        let answer = self.nodes[node].submit(self.rogue, pushes, Origin::default());
        self.answers.push(answer);
    }
}
