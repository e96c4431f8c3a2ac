//! A device reconnects: with nothing new, and with 10 of N records changed by another device. Neither may cost more
//! because more records exist.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use fitme_client::sync;
use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{Command, ListQuery};
use fitme_testing::realistic::{Diary, Sets};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sync_server::ingest::Ingest;

use crate::author::Author;
use crate::counting_proxy::CountingProxy;
use crate::measure::{Peaks, Runs, Times};
use crate::merge_load::submit;
use crate::people::Person;
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::world::{Server, World};

/// Records of the account. One database grows through all of them.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Reconnects of one repetition: enough that CPU time, counted in hundredths of a second, is exact to a twentieth.
const RECONNECTS: usize = 100;
/// Records that another device changes before a reconnect.
const CHANGED: usize = 10;
/// Reconnects with changed records in one repetition.
const WITH_CHANGES: usize = 20;
/// Records from which those to change are drawn.
const LISTED: usize = 1_000;
const EMAIL: &str = "ann@example.org";
const NOW_MS: i64 = 1_800_000_000_000;

/// What a repetition of one size measured.
#[derive(Default)]
struct Found {
    wall: Runs,
    server_cpu: Runs,
    postgres_cpu: Runs,
    messages: Runs,
    bytes: Runs,
    changed_wall: Runs,
    changed_cpu: Runs,
    changed_bytes: Runs,
}

/// An account with a phone that reconnects and a tablet that changes records.
struct Account {
    server: Server,
    folder: PathBuf,
    person: Person,
    author: Author,
    rng: StdRng,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (mut lines, mut peaks) = (Vec::new(), Peaks::default());
    // The phone has written something of its own: then it names its writer, as phones do.
    let (mut smallest, mut have) = (None, 1);
    let (mut account, mut phone) = Account::open(world)?;
    for size in SIZES {
        account.grow_by(world, size - have)?;
        have = size;
        world.runtime.block_on(phone.sync())?;
        let (found, again) = account.measure(world, phone, size)?;
        phone = again;
        if size == SIZES[0] {
            lines.push(around_the_messages(world, &account.server, &mut phone)?);
        }
        let smallest = smallest.get_or_insert_with(|| (found.changed_wall.clone(), found.changed_cpu.clone()));
        lines.extend(lines_of(size, found, smallest));
        peaks.note("server", account.server.watched().peak_memory()?);
    }
    Ok(Report {
        row: "reconnect",
        work: format!(
            "A device of an account with 14 feeds dials, authenticates and syncs, {RECONNECTS} times in a row with nothing \
             new, then {WITH_CHANGES} times after another device changed {CHANGED} records. Two messages are one round \
             trip. CPU time is that of the server and of PostgreSQL together, everything from the TCP connection to its \
             end included."
        ),
        lines,
        peaks,
    })
}

fn lines_of(size: usize, found: Found, smallest: &(Runs, Runs)) -> Vec<Line> {
    let cpu = Runs(
        found.server_cpu.0.iter().zip(&found.postgres_cpu.0).map(|(server, postgres)| server + postgres).collect(),
    );
    let is_smallest = size == SIZES[0];
    let flat = |line: Line, beside: &Runs| {
        if is_smallest { line } else { line.beside("1k", beside.clone()).ratio_at_most(1.1) }
    };
    let name = format!("{}k", size / 1_000);
    let changed = format!("{name}, {CHANGED} changed");
    vec![
        Line::new(format!("{name}: messages"), Unit::Count, found.messages).at_most(2.0),
        Line::new(format!("{name}: bytes both ways"), Unit::Bytes, found.bytes).at_most(300.0),
        Line::new(format!("{name}: CPU"), Unit::Time, cpu).at_most(0.005),
        Line::new(format!("{name}: of it PostgreSQL"), Unit::Time, found.postgres_cpu),
        Line::new(format!("{name}: dial to in sync"), Unit::Time, found.wall),
        flat(Line::new(format!("{changed}: dial to in sync"), Unit::Time, found.changed_wall), &smallest.0),
        flat(Line::new(format!("{changed}: CPU"), Unit::Time, found.changed_cpu), &smallest.1),
        Line::new(format!("{changed}: bytes"), Unit::Bytes, found.changed_bytes),
    ]
}

impl Account {
    fn open(world: &World) -> Result<(Self, Phone)> {
        let (server, folder) = (world.server()?, world.folder()?);
        let mut phone = Phone::new(&folder, "phone", 0)?;
        let person = Person::from(world.runtime.block_on(phone.sign_up(server.url(), EMAIL))?);
        phone.live_through(&mut Diary::new(0, Sets::Whole), 1)?;
        let (author, rng) = (Author::new(1, Sets::Whole), StdRng::seed_from_u64(1));
        Ok((Self { server, folder, person, author, rng }, phone))
    }

    /// Adds records as another node would that accepts them: a hundred thousand commits to a phone's disk, one by one,
    /// would take longer than everything that is measured here.
    fn grow_by(&mut self, world: &World, records: usize) -> Result<()> {
        let records: Vec<_> = self.author.by_ref().take(records).collect();
        world.runtime.block_on(async {
            let ingest = Ingest::start(self.server.pool.clone(), |_| {});
            submit(&ingest, &self.person, &records).await
        })
    }

    fn measure(&mut self, world: &World, phone: Phone, size: usize) -> Result<(Found, Phone)> {
        let file = phone.close();
        let mut tablet = Phone::copy_of(&file, &self.folder, &format!("tablet-{size}"), size as u64)?;
        let mut phone = Phone::reopen(&file, "phone", size as u64)?;
        world.runtime.block_on(tablet.log_in(self.server.url(), EMAIL))?;
        world.runtime.block_on(tablet.sync())?;
        let changeable = listed(&tablet)?;
        self.server.come_to_rest(world)?;
        // The first connections warm caches on both sides.
        world.runtime.block_on(phone.sync())?;
        let mut found = Found::default();
        for _ in 0..world.repetitions {
            self.unchanged(world, &mut phone, &mut found)?;
            self.changed(world, &mut phone, &mut tablet, &changeable, &mut found)?;
        }
        Ok((found, phone))
    }

    fn unchanged(&self, world: &World, phone: &mut Phone, found: &mut Found) -> Result<()> {
        let (mut times, mut messages, mut bytes) = (Times::default(), Vec::new(), Vec::new());
        let before = self.server.cpu()?;
        for _ in 0..RECONNECTS {
            let report = world.runtime.block_on(phone.sync())?;
            ensure!(report.received == 0, "something was new: {report:?}");
            times.push(report.took);
            messages.push(report.messages as f64);
            bytes.push((report.bytes_in + report.bytes_out) as f64);
        }
        let after = self.server.cpu()?;
        found.wall.push(times.percentile(50.0));
        found.server_cpu.push((after.0 - before.0) / RECONNECTS as f64);
        found.postgres_cpu.push((after.1 - before.1) / RECONNECTS as f64);
        found.messages.push(Runs(messages).spread().1);
        found.bytes.push(Runs(bytes).spread().1);
        Ok(())
    }

    fn changed(
        &mut self,
        world: &World,
        phone: &mut Phone,
        tablet: &mut Phone,
        changeable: &[DocId],
        found: &mut Found,
    ) -> Result<()> {
        let (mut times, mut bytes, mut cpu) = (Times::default(), Vec::new(), 0.0);
        for _ in 0..WITH_CHANGES {
            for doc_id in changeable.choose_multiple(&mut self.rng, CHANGED) {
                let note = format!("looked at again {}", self.rng.random_range(0..1_000_000));
                let edit = Command::Edit { doc_id: *doc_id, patch: json!({ "note": note }) };
                tablet.carry_out(&edit, NOW_MS)?;
            }
            world.runtime.block_on(tablet.sync())?;
            self.server.merged(world)?;
            let before = self.server.cpu()?;
            let report: sync::Report = world.runtime.block_on(phone.sync())?;
            let after = self.server.cpu()?;
            ensure!(report.changed_records == CHANGED, "other records changed: {report:?}");
            times.push(report.took);
            bytes.push((report.bytes_in + report.bytes_out) as f64);
            cpu += after.0 - before.0 + after.1 - before.1;
        }
        found.changed_wall.push(times.percentile(50.0));
        found.changed_bytes.push(Runs(bytes).median());
        found.changed_cpu.push(cpu / WITH_CHANGES as f64);
        Ok(())
    }
}

fn listed(phone: &Phone) -> Result<Vec<DocId>> {
    let query = ListQuery { collection: Collection::Meals, since: None, until: None, trashed: false, limit: LISTED };
    Ok(phone.store.list(&query)?.into_iter().map(|row| row.doc_id).collect())
}

/// What travels besides the messages: the HTTP upgrade, WebSocket headers and the closing.
fn around_the_messages(world: &World, server: &Server, phone: &mut Phone) -> Result<Line> {
    let proxy = CountingProxy::start(&world.runtime, server.url())?;
    phone.reach_by(proxy.url())?;
    let report = world.runtime.block_on(phone.sync())?;
    phone.reach_by(server.url())?;
    let around = proxy.bytes() - (report.bytes_in + report.bytes_out);
    Ok(Line::new("bytes of upgrade, headers and closing", Unit::Bytes, Runs::once(around as f64)))
}
