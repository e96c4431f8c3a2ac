//! What must be true of the server's tables.

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::collection::Collection;
use fitme_core::entry::Digest;
use fitme_core::id::{DocId, FeedId};
use fitme_core::{merge, record};
use sync_server::feeds::Asked;

use super::Broken;
use crate::sim::database::tables::Tables;
use crate::sim::words;
use crate::sim::world::World;

/// I4: numbers of a feed are gap-free, and its digest at each is the sum of the ids up to there.
pub fn numbers_have_no_gap_and_digests_are_sums(world: &World, broken: &mut Broken) {
    world.database.look(|tables| {
        let mut sums: BTreeMap<FeedId, (u64, Digest)> = BTreeMap::new();
        for ((feed, seq), row) in tables.entries.iter() {
            let (head, sum) = sums.entry(*feed).or_default();
            if *seq != *head + 1 {
                broken.push(("I4", format!("feed {feed} goes from number {head} to {seq}")));
            }
            (*head, *sum) = (*seq, sum.plus(row.id));
            if row.digest != *sum {
                broken.push(("I4", format!("the digest of feed {feed} at {seq} is not the sum of its ids")));
            }
        }
        for (feed, row) in &tables.feeds {
            let counted = sums.get(feed).copied().unwrap_or_default();
            if (row.head, row.digest) != counted {
                broken.push(("I4", format!("feed {feed} says it has {} entries and has {}", row.head, counted.0)));
            }
        }
    });
}

/// I2: what a device was told to be on the server is there, under its number.
pub fn what_was_acknowledged_is_there(world: &World, broken: &mut Broken) {
    world.database.look(|tables| {
        for ((feed, seq), id) in &world.ledger.acknowledged {
            if tables.entries.get(*feed, *seq).map(|row| row.id) != Some(*id) {
                broken.push(("I2", format!("entry {id} was acknowledged as number {seq} of feed {feed} and is lost")));
            }
        }
    });
}

/// I8: who writes to somebody else's feed was permitted to at the moment of the commit.
pub fn nothing_was_accepted_that_nobody_permitted(world: &World, broken: &mut Broken) {
    broken.extend(world.database.breaches().into_iter().map(|sentence| ("I8", sentence)));
}

/// I7 and I12: heads and records of the server are those that its entries make, whoever folds them and in one go.
pub fn documents_are_what_their_entries_make_of_them(world: &World, broken: &mut Broken) {
    world.database.look(|tables| {
        let mut payloads: BTreeMap<(FeedId, DocId), Vec<&[u8]>> = BTreeMap::new();
        for ((feed, _), row) in tables.entries.iter().filter(|(_, row)| row.kind == 0) {
            let content = row.content.as_ref().map(|(_, payload)| payload.as_slice());
            payloads.entry((*feed, row.doc_id)).or_default().extend(content);
        }
        for ((feed, doc_id), payloads) in payloads {
            let account = tables.feeds[&feed].account;
            let document = tables.documents.get(&(account, doc_id));
            if document.is_some_and(|document| document.erased.is_some()) {
                continue;
            }
            if let Err(sentence) = folds_to(tables, feed, doc_id, &payloads) {
                broken.push(("I7", format!("document {doc_id} {sentence}")));
            }
        }
    });
}

fn folds_to(tables: &Tables, feed: FeedId, doc_id: DocId, payloads: &[&[u8]]) -> Result<(), String> {
    let doc = merge::assemble(payloads.iter().copied()).map_err(|error| format!("cannot be made again: {error}"))?;
    let row = &tables.feeds[&feed];
    let document = tables.documents.get(&(row.account, doc_id)).ok_or("has entries and no row")?;
    if document.heads != merge::heads(&doc) {
        return Err("has other heads than its entries".to_owned());
    }
    let snapshot = tables.snapshots.get(&(feed, doc_id)).ok_or("was never merged")?;
    if let Some(why) = &snapshot.quarantined {
        return Err(format!("is quarantined: {why}"));
    }
    let Some(collection) = Collection::named(&row.collection) else { return Ok(()) };
    let projection = record::project(&doc, collection);
    let record = tables.records.get(&(feed, doc_id)).ok_or("has no record")?;
    if (&record.record, &record.columns, record.trashed)
        != (&projection.record, &projection.columns, projection.trashed)
    {
        return Err("has another record than its entries make".to_owned());
    }
    Ok(())
}

/// I6: what is read above any cursor, page by page, is what is missing there.
pub fn a_reader_from_any_cursor_counts_what_the_head_says(world: &World, broken: &mut Broken) {
    let feeds: Vec<_> = world.database.look(|tables| {
        tables.feeds.iter().filter(|(_, row)| row.head > 0).map(|(feed, row)| (*feed, row.clone())).collect()
    });
    for (feed, row) in feeds {
        for cursor in BTreeSet::from([0, row.head / 2, row.head - 1, row.head]) {
            let mut sum = digest_at(world, feed, cursor);
            let mut after = cursor;
            while after < row.head {
                let asked = Asked { feed, after, max_bytes: 4_000, max_entries: 50 };
                let Ok(page) = world.database.read_page(row.account, asked) else { return };
                if page.entries.is_empty() {
                    break;
                }
                after += page.entries.len() as u64;
                sum = page.entries.iter().fold(sum, |sum, received| sum.plus(received.id));
            }
            if (after, sum) != (row.head, row.digest) {
                broken.push((
                    "I6",
                    format!("a reader of feed {feed} from {cursor} on comes to another end than its head"),
                ));
            }
        }
    }
}

fn digest_at(world: &World, feed: FeedId, seq: u64) -> Digest {
    world.database.look(|tables| tables.entries.get(feed, seq).map_or(Digest::default(), |row| row.digest))
}

/// I10: nothing that was written into a document that was erased is in any table.
pub fn erased_content_is_in_no_table(world: &World, broken: &mut Broken) {
    world.database.look(|tables| {
        let erased: BTreeSet<_> =
            tables.documents.iter().filter(|(_, row)| row.erased.is_some()).map(|(document, _)| *document).collect();
        let mut look = |bytes: &[u8], place: &str| {
            for mark in words::marks_in(bytes) {
                let document = world.ledger.words.get(&mark).filter(|document| erased.contains(document));
                if let Some((_, doc_id)) = document {
                    broken.push(("I10", format!("document {doc_id} was erased and is readable in {place}")));
                }
            }
        };
        for (_, row) in tables.entries.iter() {
            row.content.iter().for_each(|(_, payload)| look(payload, "entries"));
        }
        for ((feed, doc_id), snapshot) in &tables.snapshots {
            look(&snapshot.snapshot, &format!("the snapshot of {doc_id} in feed {feed}"));
        }
        for record in tables.records.values() {
            look(record.record.to_string().as_bytes(), "records");
            look(record.columns.to_string().as_bytes(), "records");
        }
    });
}
