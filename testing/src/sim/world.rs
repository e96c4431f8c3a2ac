//! A world: Ann with her phone (on which a background process writes as well), tablet and laptop, her trainer Tom with his
//! phone, two nodes and a database. A script is carried out on it, step by step, then everything comes to rest and is checked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fitme_core::collection::Collection;
use fitme_core::id::{DocId, FeedId, Installation};
use fitme_core::store::{Command, Store, StoreError, WriteError};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sync_server::auth::Device;
use sync_server::ingest::Outcome;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::census::Census;
use super::check;
use super::database::Database;
use super::home::Home;
use super::ledger::Ledger;
use super::network::{Link, Remains};
use super::node::{Hint, Node};
use super::script::{Dice, Event, Script};
use super::words;
use crate::realistic::Act;

/// Moves of the network and the nodes after each step, at most.
const MOVES: usize = 60;
/// Rounds after which a world that does not come to rest never will.
const ROUNDS: usize = 4_000;
/// Between two steps, in ms: seconds to hours.
const PAUSE_MS: std::ops::Range<i64> = 1_000..20_000_000;
/// What passes in a round while everything comes to rest: the lease of a merge worker that is gone ends in some.
const ROUND_MS: i64 = 1_000;

/// All of it.
pub(super) struct World {
    pub database: Database,
    pub nodes: Vec<Node>,
    pub homes: Vec<Home>,
    pub links: Vec<Link>,
    pub remains: Vec<Remains>,
    pub hints: Vec<(usize, Hint)>,
    /// Ann's, on which somebody else runs a program of their own.
    pub rogue: Device,
    /// What it was answered.
    pub answers: Vec<oneshot::Receiver<Outcome>>,
    pub ann: Uuid,
    pub tom: Uuid,
    /// The true time, ms UTC.
    pub now_ms: i64,
    pub census: Census,
    pub ledger: Ledger,
    /// What ends by itself: after so many steps, of which home (none: of the database).
    pub passing: Vec<(usize, Option<usize>)>,
    words: u64,
    lines: Option<Vec<String>>,
}

/// What came of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was broken, each in a sentence after the name of its invariant; empty if all holds.
    pub broken: Vec<String>,
    /// What occurred.
    pub census: Census,
    /// What happened, line by line, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs a script. The same script gives the same report.
#[must_use]
pub fn run(script: &Script, traced: bool) -> Report {
    let mut world = World::new(script.seed, traced);
    let ran = catch_unwind(AssertUnwindSafe(|| world.live(script)));
    if let Err(panic) = ran {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
        world.broken("panic", text.to_owned());
    }
    Report {
        broken: std::mem::take(&mut world.ledger.broken),
        census: std::mem::take(&mut world.census),
        trace: world.lines.take().unwrap_or_default(),
    }
}

impl World {
    fn new(seed: u64, traced: bool) -> Self {
        let dice = &mut Dice::seed_from_u64(!seed);
        let database = Database::new(Installation(dice.random()));
        let [ann, tom] = [(); 2].map(|()| Uuid::from_u128(dice.random()));
        for account in [ann, tom] {
            database
                .add_account(account, || (FeedId(dice.random_range(1..1 << 48)), fitme_core::id::Epoch(dice.random())));
        }
        database.change(|tables| tables.relations.insert((ann, tom)));
        let mut device = |account| {
            let device = Device { device: Uuid::from_u128(dice.random()), account };
            database.add_device(device.device, account);
            device
        };
        let (rogue, tablets) = (device(ann), [device(ann), device(ann), device(ann), device(tom)]);
        let names: [(&str, &[&str]); 4] = [
            ("Ann's phone", &["app", "background"]),
            ("Ann's tablet", &["app"]),
            ("Ann's laptop", &["app"]),
            ("Tom's phone", &["app"]),
        ];
        let homes = names.into_iter().zip(tablets);
        let homes = homes.map(|((name, writers), device)| Home::new(name, device, writers, dice.random())).collect();
        let nodes = (0..2).map(|_| Node::start(&database, Uuid::from_u128(dice.random()))).collect();
        Self {
            database,
            nodes,
            homes,
            links: Vec::new(),
            remains: Vec::new(),
            hints: Vec::new(),
            rogue,
            answers: Vec::new(),
            ann,
            tom,
            now_ms: words::BEGINNING_MS,
            census: Census::default(),
            ledger: Ledger::default(),
            passing: Vec::new(),
            words: 0,
            lines: traced.then(Vec::new),
        }
    }

    fn live(&mut self, script: &Script) {
        self.database.set_clock(self.now_ms);
        for home in 0..self.homes.len() {
            self.start(home);
            let database = self.database.clone();
            self.homes[home].sign_in(&database);
        }
        for (number, step) in script.steps() {
            let dice = &mut Dice::seed_from_u64(step.seed);
            self.now_ms += dice.random_range(PAUSE_MS);
            self.database.set_clock(self.now_ms);
            self.trace(|_| format!("step {number}: {:?}", step.event));
            match step.event {
                Event::Act => self.act(dice),
                Event::Break(fault) => self.break_down(fault, dice),
            }
            self.pass(dice);
            for _ in 0..dice.random_range(0..MOVES) {
                self.tick(dice);
            }
            self.hear_rogue();
            if !self.ledger.broken.is_empty() {
                return;
            }
        }
        self.come_to_rest();
        if self.ledger.broken.is_empty() {
            check::all(self);
        }
    }

    /// Writes down what happened.
    pub fn trace(&mut self, line: impl FnOnce(&Self) -> String) {
        let Some(mut lines) = self.lines.take() else { return };
        lines.push(format!("{} {}", self.now_ms, line(self)));
        self.lines = Some(lines);
    }

    /// An invariant does not hold.
    pub fn broken(&mut self, invariant: &str, sentence: String) {
        let sentence = format!("{invariant}: {sentence}");
        self.trace(|_| format!("BROKEN {sentence}"));
        self.ledger.broken.push(sentence);
    }

    /// What a home takes for the time.
    pub fn now_of(&self, home: usize) -> i64 {
        self.now_ms + self.homes[home].clock_offset_ms
    }

    /// Starts what does not run of a home; what was promised must be there.
    pub fn start(&mut self, home: usize) {
        let device = &mut self.homes[home];
        let mut started = device.start();
        if matches!(started, Err(StoreError::DiskFull)) {
            // Somebody makes room.
            device.folder.set_room(None);
            started = device.start();
        }
        if let Err(error) = started {
            let name = device.name.clone();
            return self.broken("I1", format!("{name} does not start any more: {error}"));
        }
        check::kept_writes(self, home);
    }

    /// What a store said that could not do its work.
    pub fn store_failed(&mut self, home: usize, error: &StoreError) {
        let device = &self.homes[home];
        let is_full = matches!(error, StoreError::DiskFull);
        // A full disk has more than one name, for SQLite too.
        let may_be = is_full || self.passing.iter().any(|(_, of)| *of == Some(home));
        if device.folder.is_cut() {
            let mut dice = device.dice.clone();
            return self.power_failed(home, &mut dice);
        }
        if !may_be {
            let name = device.name.clone();
            self.broken("I5", format!("the store of {name} failed on a good disk: {error}"));
        }
    }

    /// The home was without power and has it again.
    pub fn power_failed(&mut self, home: usize, dice: &mut Dice) {
        self.census.count("fault power failure");
        self.cut_links_of(home, dice);
        self.homes[home].power_fails(dice);
        self.trace(|world| format!("{} was without power", world.homes[home].name));
        self.start(home);
    }

    /// Every connection of a home is cut.
    pub fn cut_links_of(&mut self, home: usize, dice: &mut Dice) {
        while let Some(link) = self.links.iter().position(|link| link.home == home) {
            self.cut(link, dice);
        }
    }

    /// What passes by itself.
    fn pass(&mut self, dice: &mut Dice) {
        for (steps, _) in &mut self.passing {
            *steps = steps.saturating_sub(1);
        }
        let over: Vec<_> = self.passing.iter().filter(|(steps, _)| *steps == 0).map(|(_, of)| *of).collect();
        self.passing.retain(|(steps, _)| *steps > 0);
        for of in over {
            match of {
                Some(home) => self.homes[home].folder.set_room(None),
                None => self.database.set_away(false),
            }
        }
        for link in &mut self.links {
            link.slow &= dice.random_bool(0.8);
        }
    }

    /// Somebody does something.
    fn act(&mut self, dice: &mut Dice) {
        let home = dice.random_range(0..self.homes.len());
        let process = dice.random_range(0..self.homes[home].processes.len());
        if dice.random_bool(0.1) {
            self.homes[home].online ^= true;
            if !self.homes[home].online {
                self.cut_links_of(home, dice);
            }
        }
        if dice.random_bool(0.05) {
            let image = self.homes[home].folder.image();
            self.homes[home].backups.push(image);
        }
        self.act_in(home, process, dice);
    }

    /// Somebody does something in this process of a home.
    pub fn act_in(&mut self, home: usize, process: usize, dice: &mut Dice) {
        let is_ann = self.homes[home].device.account == self.ann;
        let (action, command) = match dice.random_range(0..100) {
            0..44 => self.log(home, dice),
            44..60 => ("edit", self.edit(home, process, dice)),
            60..64 => ("trash", self.some_document(home, process, dice).map(|doc_id| Command::Trash { doc_id })),
            64..68 => ("restore", self.some_document(home, process, dice).map(|doc_id| Command::Restore { doc_id })),
            68..73 => ("erase", self.some_document(home, process, dice).map(|doc_id| Command::Erase { doc_id })),
            73..78 => ("profile", Some(self.profile(dice))),
            78..84 => return self.import(home, process, dice),
            84..92 if is_ann => ("grant", Some(self.grant(home, dice))),
            92..100 if is_ann => ("revoke", self.revoke(home, dice)),
            _ => return self.write_for_another(home, process, dice),
        };
        let Some(command) = command else { return };
        let is_log = matches!(&command, Command::Create { collection, .. } if collection == "workouts");
        let write = |store: &mut Store, now_ms, dice: &mut Dice| store.write(&command, now_ms, dice);
        let owner = self.homes[home].device.account;
        let written = self.write(home, process, owner, (action, &command), write);
        if let (Some(written), true) = (written, is_log) {
            self.homes[home].workout = Some(written);
        }
        if let (Some(written), "grant") = (written, action) {
            self.ledger.grants.push(written);
        }
    }

    /// Carries a write out and writes down what was promised by its return.
    fn write(
        &mut self,
        home: usize,
        process: usize,
        owner: Uuid,
        (action, command): (&'static str, &Command),
        write: impl FnOnce(&mut Store, i64, &mut Dice) -> Result<fitme_core::store::Written, WriteError>,
    ) -> Option<DocId> {
        let now_ms = self.now_of(home);
        let device = &mut self.homes[home];
        let store = device.processes[process].store.as_mut()?;
        let written = write(store, now_ms, &mut device.dice);
        self.trace(|world| format!("{} ({process}): {action} {written:?}", world.homes[home].name));
        match written {
            Ok(written) => {
                self.census.count(format!("action {action}"));
                if written.changed {
                    self.take_down(home, owner, written.doc_id, command);
                    self.promised(home);
                    self.written(home);
                }
                Some(written.doc_id)
            }
            Err(WriteError::Store(error)) => {
                self.store_failed(home, &error);
                None
            }
            Err(_) => None,
        }
    }

    /// Notes which words were written where.
    fn take_down(&mut self, home: usize, owner: Uuid, doc_id: DocId, command: &Command) {
        let text = serde_json::to_vec(command).expect("a command is plain data");
        let words = words::marks_in(&text);
        self.ledger.words.extend(words.iter().map(|word| (*word, (owner, doc_id))));
        let of = (owner != self.homes[home].device.account).then(|| owner.into_bytes());
        self.homes[home].promises.words.extend(words.into_iter().map(|word| (word, (of, doc_id))));
    }

    /// Notes what the outbox of a home has: all of it is durable.
    fn promised(&mut self, home: usize) {
        match self.homes[home].queued() {
            Ok(queued) => self.homes[home].promises.written.extend(queued),
            // The power failed at this very moment.
            Err(_) if self.homes[home].folder.is_cut() => {}
            Err(error) => self.broken("I1", format!("the outbox cannot be read: {error}")),
        }
    }

    fn word(&mut self) -> u64 {
        self.words += 1;
        self.words
    }

    fn log(&mut self, home: usize, dice: &mut Dice) -> (&'static str, Option<Command>) {
        let word = self.word();
        let now_ms = self.now_of(home);
        let device = &mut self.homes[home];
        match device.diary.next().expect("a diary has no end") {
            Act::Log { collection, mut fields, .. } => {
                // As the device's clock has it, right or wrong.
                let at = if collection == "workouts" { "start" } else { "at" };
                fields[at] = now_ms.into();
                let fields = words::marked(fields, word, dice);
                ("log", Some(Command::Create { collection: collection.to_owned(), fields }))
            }
            Act::Set { patch, .. } => ("set", device.workout.map(|doc_id| Command::Edit { doc_id, patch })),
        }
    }

    fn edit(&mut self, home: usize, process: usize, dice: &mut Dice) -> Option<Command> {
        let doc_id = self.some_document(home, process, dice)?;
        let store = self.homes[home].processes[process].store.as_ref()?;
        let word = self.words + 1;
        let patch = match store.collection_of(doc_id).ok()?? {
            Collection::Profile => json!({ "name": words::note(word) }),
            Collection::Workouts if dice.random_bool(0.6) => json!({ "title": words::note(word) }),
            _ => json!({ "note": words::prose(word) }),
        };
        self.word();
        Some(Command::Edit { doc_id, patch })
    }

    /// Mostly a late one: what is new is what people go on with.
    fn some_document(&self, home: usize, process: usize, dice: &mut Dice) -> Option<DocId> {
        let store = self.homes[home].processes[process].store.as_ref()?;
        let known = store.heads().ok()?;
        let late = known.len().saturating_sub(12);
        let some = if dice.random_bool(0.7) { &known[late..] } else { &known[..] };
        some.choose(dice).map(|(doc_id, _)| *doc_id)
    }

    fn profile(&mut self, dice: &mut Dice) -> Command {
        let mut fields = json!({ "name": words::note(self.word()) });
        if dice.random_bool(0.5) {
            fields["max_hr_bpm"] = dice.random_range(160..200).into();
        }
        Command::Create { collection: "profile".to_owned(), fields }
    }

    fn grant(&mut self, home: usize, dice: &mut Dice) -> Command {
        let fields = words::grant(self.tom, self.now_of(home), dice);
        Command::Create { collection: "grants".to_owned(), fields }
    }

    fn revoke(&mut self, home: usize, dice: &mut Dice) -> Option<Command> {
        let revokes = self.ledger.grants.choose(dice)?.to_string();
        let fields = json!({ "at": self.now_of(home), "kind": "revocation", "revokes": revokes });
        Some(Command::Create { collection: "grants".to_owned(), fields })
    }

    fn import(&mut self, home: usize, process: usize, dice: &mut Dice) {
        let (_, imported) = words::imported(dice);
        let now_ms = self.now_of(home);
        let device = &mut self.homes[home];
        let Some(store) = device.processes[process].store.as_mut() else { return };
        let outcome = store.import(&[], std::slice::from_ref(&imported), now_ms, &mut device.dice);
        self.trace(|world| format!("{}: import {outcome:?}", world.homes[home].name));
        match outcome {
            Ok(_) => {
                self.census.count("action import");
                self.promised(home);
                self.written(home);
            }
            Err(WriteError::Store(error)) => self.store_failed(home, &error),
            Err(_) => {}
        }
    }

    /// Tom edits a workout of Ann's, or plans one, as far as his device knows that he may.
    fn write_for_another(&mut self, home: usize, process: usize, dice: &mut Dice) {
        let Some(store) = self.homes[home].processes[process].store.as_mut() else { return };
        let Ok(others) = store.others() else { return };
        let Some(other) = others.choose(dice) else { return };
        let owner = other.account;
        let known = store.of(owner).ok().flatten().and_then(|store| store.heads().ok()).unwrap_or_default();
        let word = self.word();
        let command = match known.choose(dice) {
            Some((doc_id, _)) if dice.random_bool(0.6) => {
                Command::Edit { doc_id: *doc_id, patch: json!({ "title": words::note(word) }) }
            }
            _ => Command::Create { collection: "workouts".to_owned(), fields: self.planned(home, word) },
        };
        let write = |store: &mut Store, now_ms, dice: &mut Dice| store.write_for(owner, &command, now_ms, dice);
        self.write(home, process, Uuid::from_bytes(owner), ("write for another", &command), write);
    }

    fn planned(&self, home: usize, word: u64) -> Value {
        json!({ "start": self.now_of(home), "title": "Plan", "note": words::note(word) })
    }

    fn hear_rogue(&mut self) {
        for mut answer in std::mem::take(&mut self.answers) {
            match answer.try_recv() {
                Ok(outcome) => {
                    for receipt in outcome.receipts {
                        if let fitme_core::wire::Receipt::Rejected(why) = receipt {
                            self.census.count(format!("receipt {}", why.code));
                        }
                    }
                }
                Err(oneshot::error::TryRecvError::Empty) => self.answers.push(answer),
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
    }

    /// Everything that is broken is mended, everybody is online, and nothing moves any more.
    fn come_to_rest(&mut self) {
        let dice = &mut Dice::seed_from_u64(0);
        self.database.set_away(false);
        self.passing.clear();
        self.links.iter_mut().for_each(|link| link.slow = false);
        for home in 0..self.homes.len() {
            self.homes[home].folder.set_room(None);
            self.homes[home].folder.fail_after(None);
            self.homes[home].online = true;
            if self.homes[home].folder.is_cut() {
                self.power_failed(home, dice);
            }
            self.start(home);
        }
        let mut still = 0;
        for _ in 0..ROUNDS {
            self.now_ms += ROUND_MS;
            self.database.set_clock(self.now_ms);
            let mut moved = self.sweep(dice);
            moved |= self.merge_all();
            moved |= (0..self.nodes.len()).fold(false, |moved, node| self.nodes[node].poll() | moved);
            moved |= self.dial_all(dice);
            self.hear_rogue();
            if !self.ledger.broken.is_empty() {
                return;
            }
            still = if moved { 0 } else { still + 1 };
            if still == 2 {
                return self.all_synced();
            }
        }
        self.broken("I3", format!("{ROUNDS} rounds on good machines were not enough to bring everything to rest"));
    }

    fn merge_all(&mut self) -> bool {
        let behind = |world: &Self| {
            world.database.look(|tables| tables.merge_queue.values().any(|queued| queued.merged < queued.head))
        };
        let mut moved = false;
        for node in 0..self.nodes.len() {
            moved |= behind(self);
            self.nodes[node].merge();
            while self.nodes[node].is_merging() {
                self.nodes[node].merge();
            }
        }
        moved
    }

    fn dial_all(&mut self, dice: &mut Dice) -> bool {
        let mut moved = false;
        for home in 0..self.homes.len() {
            for process in 0..self.homes[home].processes.len() {
                if !self.links.iter().any(|link| (link.home, link.process) == (home, process)) {
                    let node = dice.random_range(0..self.nodes.len());
                    self.connect(home, process, node);
                    moved = true;
                }
            }
        }
        moved
    }

    fn all_synced(&mut self) {
        for link in 0..self.links.len() {
            self.trace(|world| {
                format!("{} {}", world.homes[world.links[link].home].name, world.links[link].describe())
            });
        }
        let late: Vec<_> =
            self.links.iter().filter(|link| !link.synced).map(|link| self.homes[link.home].name.clone()).collect();
        if !late.is_empty() {
            self.broken("I3", format!("everything is at rest, and {late:?} never came in sync"));
        }
    }
}
