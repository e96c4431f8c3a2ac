//! A server that was restored lacks ten changes among a hundred thousand records: a device finds them and sends them again,
//! and moves little besides.

use anyhow::{Result, ensure};
use fitme_client::sync;
use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{Command, ListQuery};
use fitme_testing::realistic::{Diary, Sets};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;
use sqlx::PgPool;
use sync_server::ingest::Ingest;

use crate::author::Author;
use crate::measure::{Peaks, Runs};
use crate::merge_load::submit;
use crate::people::Person;
use crate::phone::Phone;
use crate::report::{Line, Report, Unit};
use crate::world::{Server, World};

/// Records of the account.
const RECORDS: usize = 100_000;
/// Records whose last change the server loses.
const LOST: usize = 10;
const EMAIL: &str = "ann@example.org";
const NOW_MS: i64 = 1_800_000_000_000;

/// The rows that the changes are about, as they were before.
const BACK_UP: [&str; 4] = [
    "CREATE TABLE feeds_before AS SELECT feed, head_seq, digest FROM feeds",
    "CREATE TABLE documents_before AS SELECT * FROM documents",
    "CREATE TABLE queue_before AS SELECT * FROM merge_queue",
    "CREATE TABLE snapshots_before AS SELECT * FROM snapshots",
];
/// What a restore of them would leave.
const RESTORE: [&str; 6] = [
    "DELETE FROM entries e USING feeds_before b WHERE e.feed = b.feed AND e.seq > b.head_seq",
    "UPDATE feeds f SET head_seq = b.head_seq, digest = b.digest FROM feeds_before b WHERE b.feed = f.feed",
    "UPDATE documents d SET heads = b.heads, payload_bytes = b.payload_bytes FROM documents_before b
     WHERE b.account = d.account AND b.doc_id = d.doc_id AND d.heads <> b.heads",
    "UPDATE merge_queue q SET head_seq = b.head_seq, merged_seq = b.merged_seq, clean_seq = b.clean_seq
     FROM queue_before b WHERE b.feed = q.feed",
    "UPDATE snapshots s SET snapshot_seq = b.snapshot_seq, heads = b.heads, snapshot = b.snapshot FROM snapshots_before b
     WHERE b.feed = s.feed AND b.doc_id = s.doc_id AND s.snapshot_seq <> b.snapshot_seq",
    "DROP TABLE feeds_before, documents_before, queue_before, snapshots_before",
];

/// What the repetitions measured.
#[derive(Default)]
struct Found {
    beside: Runs,
    messages: Runs,
    took: Runs,
    cpu: Runs,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (server, folder) = (world.server()?, world.folder()?);
    let mut phone = Phone::new(&folder, "phone", 0)?;
    let person = Person::from(world.runtime.block_on(phone.sign_up(server.url(), EMAIL))?);
    phone.live_through(&mut Diary::new(0, Sets::Whole), 1)?;
    let records: Vec<_> = Author::new(1, Sets::Whole).take(RECORDS).collect();
    world.runtime.block_on(async { submit(&Ingest::start(server.pool.clone(), |_| {}), &person, &records).await })?;
    world.runtime.block_on(phone.sync())?;
    server.come_to_rest(world)?;
    let meals = meals_of(&phone)?;
    let (mut found, mut dice) = (Found::default(), StdRng::seed_from_u64(2));
    for round in 0..world.repetitions {
        let chosen: Vec<_> = meals.choose_multiple(&mut dice, LOST).copied().collect();
        lose(world, &server, &mut phone, &chosen, round)?;
        measure(world, &server, &mut phone, &mut found)?;
    }
    let mut peaks = Peaks::default();
    peaks.note("server", server.watched().peak_memory()?);
    Ok(Report {
        row: "repair",
        work: format!(
            "The server loses the last changes of {LOST} records drawn from all {RECORDS} of an account, as by a restore. A \
             device that has them dials, finds out where its history parts and which documents differ, and sends the \
             changes again. Bytes are those of all messages both ways, dialling and the {LOST} changes included."
        ),
        lines: vec![
            Line::new("bytes both ways", Unit::Bytes, found.beside).at_most(64.0 * 1024.0),
            Line::new("messages", Unit::Count, found.messages),
            Line::new("dial to in sync", Unit::Time, found.took),
            Line::new("CPU of server and PostgreSQL", Unit::Time, found.cpu),
        ],
        peaks,
    })
}

fn meals_of(phone: &Phone) -> Result<Vec<DocId>> {
    let query = ListQuery { collection: Collection::Meals, since: None, until: None, trashed: false, limit: RECORDS };
    Ok(phone.store.list(&query)?.into_iter().map(|row| row.doc_id).collect())
}

/// The phone changes the records and syncs; then the server is as it was before.
fn lose(world: &World, server: &Server, phone: &mut Phone, chosen: &[DocId], round: usize) -> Result<()> {
    execute(world, &server.pool, &BACK_UP)?;
    for doc_id in chosen {
        let note = format!("changed in round {round}");
        phone.carry_out(&Command::Edit { doc_id: *doc_id, patch: json!({ "note": note }) }, NOW_MS)?;
    }
    world.runtime.block_on(phone.sync())?;
    server.merged(world)?;
    execute(world, &server.pool, &RESTORE)
}

fn execute(world: &World, pool: &PgPool, statements: &[&'static str]) -> Result<()> {
    for statement in statements {
        world.runtime.block_on(sqlx::query(*statement).execute(pool))?;
    }
    Ok(())
}

fn measure(world: &World, server: &Server, phone: &mut Phone, found: &mut Found) -> Result<()> {
    let before = server.cpu()?;
    let report: sync::Report = world.runtime.block_on(phone.sync())?;
    let after = server.cpu()?;
    ensure!(report.sent_again == LOST, "other changes were sent again: {report:?}");
    found.beside.push((report.bytes_in + report.bytes_out) as f64);
    found.messages.push(report.messages as f64);
    found.took.push(report.took.as_secs_f64());
    found.cpu.push(after.0 - before.0 + after.1 - before.1);
    server.merged(world)
}
