//! Merge workers, as the server runs them, on documents that wait in the queue; beside them automerge alone, without a
//! database, doing what cannot be left out: load, apply, save, project.

use std::time::Instant;

use anyhow::Result;
use fitme_core::collection::Collection;
use fitme_core::{merge, record};

use crate::measure::{Peaks, Process, Runs};
use crate::merge_load::{Backlog, Document, Plan};
use crate::report::{Line, Report, Unit};
use crate::world::World;

mod fairness;

/// One change each on so many documents.
const SINGLE: Plan = Plan { documents: 3_000, changes: 1 };
/// Twenty changes each on so many documents.
const MANY: Plan = Plan { documents: 300, changes: 20 };
/// As many as the server has.
const WORKERS: usize = 2;

#[derive(Default)]
struct Pair {
    ours: Runs,
    bare: Runs,
}

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (mut single, mut shipped, mut many) = (Pair::default(), Pair::default(), Pair::default());
    let (mut fairness, mut peaks) = (fairness::Found::default(), Peaks::default());
    Process::own().forget_peak()?;
    for repetition in 0..world.repetitions {
        single.measure(world, SINGLE, 1, repetition as u64)?;
        shipped.measure(world, SINGLE, WORKERS, repetition as u64)?;
        many.measure(world, MANY, 1, repetition as u64)?;
        fairness.measure(world, WORKERS, repetition as u64)?;
    }
    peaks.note("workers, ingest and automerge in one process", Process::own().peak_memory()?);
    let mut lines = vec![
        Line::new("single changes, one worker", Unit::Rate, single.ours)
            .beside("one thread", single.bare)
            .ratio_at_least(0.8),
        Line::new(format!("single changes, {WORKERS} workers"), Unit::Rate, shipped.ours)
            .beside("as many threads", shipped.bare),
        Line::new(format!("{} changes a document", MANY.changes), Unit::Rate, many.ours)
            .beside("one by one", many.bare)
            .ratio_at_least(5.0),
    ];
    lines.extend(fairness.lines());
    Ok(Report {
        row: "merge",
        work: format!(
            "Changes a second. {} documents with one new change each, then {} with {} each (sets of a workout), queued and \
             then worked off into snapshots and projections in PostgreSQL. Beside it bare automerge in memory: load, \
             apply, save, project, for every change. Then: while {} records of one account wait, another account writes; \
             the time from its receipt until its change is merged.",
            SINGLE.documents,
            MANY.documents,
            MANY.changes,
            fairness::BACKLOG
        ),
        lines,
        peaks,
    })
}

impl Pair {
    fn measure(&mut self, world: &World, plan: Plan, workers: usize, seed: u64) -> Result<()> {
        let backlog = Backlog::prepare(world, plan, seed)?;
        let changes = backlog.changes() as f64;
        self.bare.push(changes / bare(&backlog.documents, workers)?);
        self.ours.push(changes / backlog.work_off(world, workers)?);
        Ok(())
    }
}

/// Seconds that automerge takes for every change alone, on so many threads.
fn bare(documents: &[Document], threads: usize) -> Result<f64> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let share = documents.len().div_ceil(threads);
        let running: Vec<_> =
            documents.chunks(share).map(|chunk| scope.spawn(move || merge_one_by_one(chunk))).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("automerge merges what it wrote"))
    })?;
    Ok(started.elapsed().as_secs_f64())
}

fn merge_one_by_one(documents: &[Document]) -> Result<()> {
    for document in documents {
        let collection = Collection::named(document.collection).expect("a collection of the diary");
        let mut snapshot = document.snapshot.clone();
        for change in &document.changes {
            let mut merged = merge::load(&snapshot)?;
            merge::apply(&mut merged, [&change.payload[..]])?;
            snapshot = merged.save_nocompress();
            std::hint::black_box(record::project(&merged, collection));
        }
    }
    Ok(())
}
