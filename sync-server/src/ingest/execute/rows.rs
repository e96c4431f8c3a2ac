//! Steps 3 and 4: a plan's rows, as the arrays that one statement inserts.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Failure;
use crate::ingest::plan::{Candidate, Plan};

#[derive(Default)]
struct Entries<'a> {
    feeds: Vec<i64>,
    seqs: Vec<i64>,
    ids: Vec<&'a [u8]>,
    kinds: Vec<i16>,
    doc_ids: Vec<&'a [u8]>,
    hashes: Vec<Option<&'a [u8]>>,
    actors: Vec<Option<&'a [u8]>>,
    actor_seqs: Vec<Option<i64>>,
    authors: Vec<Uuid>,
    offered_by: Vec<Option<Uuid>>,
    times: Vec<i64>,
    offsets: Vec<Option<i64>>,
    digests: Vec<[u8; 16]>,
    salts: Vec<&'a [u8]>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> Entries<'a> {
    fn of(plan: &Plan, candidates: &[Candidate<'a>]) -> Self {
        let mut rows = Self::default();
        for new in &plan.entries {
            let Candidate { offer, .. } = candidates[new.candidate];
            let facts = offer.change.as_ref().map(|change| &change.facts);
            rows.feeds.push(offer.feed.0.cast_signed());
            rows.seqs.push(new.seq.cast_signed());
            rows.ids.push(offer.id.as_bytes());
            rows.kinds.push(i16::try_from(offer.entry.kind).expect("only entries of a served kind are appended"));
            rows.doc_ids.push(offer.entry.doc_id.as_bytes());
            rows.hashes.push(facts.map(|facts| facts.hash.as_bytes()));
            rows.actors.push(facts.map(|facts| facts.actor.as_bytes()));
            rows.actor_seqs.push(facts.map(|facts| facts.actor_seq.cast_signed()));
            rows.authors.push(new.author);
            rows.offered_by.push(new.offered_by);
            rows.times.push(offer.entry.device_time);
            // The clock of whoever brings what others wrote says nothing of theirs.
            rows.offsets.push(offer.origin.clock_offset_ms.filter(|_| !offer.origin.of_others));
            rows.digests.push(new.digest.to_bytes());
            rows.salts.push(&offer.entry.salt);
            rows.payloads.push(&offer.entry.payload);
        }
        rows
    }
}

#[derive(Default)]
struct Documents<'a> {
    accounts: Vec<Uuid>,
    doc_ids: Vec<&'a [u8]>,
    feeds: Vec<i64>,
    bytes: Vec<i64>,
    heads: Vec<&'a [u8]>,
    first_heads: Vec<i32>,
    last_heads: Vec<i32>,
}

impl<'a> Documents<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut rows = Self::default();
        let position = |heads: &Vec<&[u8]>| i32::try_from(heads.len()).expect("a group has far fewer heads");
        for ((account, doc_id), document) in &plan.documents {
            rows.accounts.push(*account);
            rows.doc_ids.push(doc_id.as_bytes());
            rows.feeds.push(document.feed.0.cast_signed());
            rows.bytes.push(document.payload_bytes.cast_signed());
            rows.first_heads.push(position(&rows.heads) + 1);
            rows.heads.extend(document.heads.iter().map(|head| head.as_bytes()));
            rows.last_heads.push(position(&rows.heads));
        }
        rows
    }
}

/// Writes the rows and checks that none was left out.
pub(super) async fn write(
    connection: &mut PgConnection,
    plan: &Plan,
    candidates: &[Candidate<'_>],
) -> Result<(), Failure> {
    let entries = Entries::of(plan, candidates);
    let documents = Documents::of(plan);
    let actors: Vec<_> = plan.actors.iter().collect();
    let feeds: Vec<_> = plan.feeds.iter().collect();
    let usage: Vec<_> = plan.usage.iter().collect();
    let written = sqlx::query_file!(
        "src/ingest/execute/append.sql",
        &entries.feeds,
        &entries.seqs,
        &entries.ids as &[&[u8]],
        &entries.kinds,
        &entries.doc_ids as &[&[u8]],
        &entries.hashes as &[Option<&[u8]>],
        &entries.actors as &[Option<&[u8]>],
        &entries.actor_seqs as &[Option<i64>],
        &entries.authors,
        &entries.times,
        &entries.digests as &[[u8; 16]],
        &entries.salts as &[&[u8]],
        &entries.payloads as &[&[u8]],
        &documents.accounts,
        &documents.doc_ids as &[&[u8]],
        &documents.feeds,
        &documents.bytes,
        &documents.heads as &[&[u8]],
        &documents.first_heads,
        &documents.last_heads,
        &actors.iter().map(|(actor, _)| actor.as_bytes()).collect::<Vec<_>>() as &[&[u8]],
        &actors.iter().map(|(_, tip)| tip.device).collect::<Vec<_>>(),
        &actors.iter().map(|(_, tip)| tip.entry.as_bytes()).collect::<Vec<_>>() as &[&[u8]],
        &actors.iter().map(|(_, tip)| tip.feed.0.cast_signed()).collect::<Vec<_>>(),
        &actors.iter().map(|(_, tip)| tip.seq.cast_signed()).collect::<Vec<_>>(),
        &feeds.iter().map(|(feed, _)| feed.0.cast_signed()).collect::<Vec<_>>(),
        &feeds.iter().map(|(_, state)| state.head.cast_signed()).collect::<Vec<_>>(),
        &feeds.iter().map(|(_, state)| state.digest.to_bytes()).collect::<Vec<_>>() as &[[u8; 16]],
        &usage.iter().map(|(account, _)| **account).collect::<Vec<_>>(),
        &usage.iter().map(|(_, adds)| adds.documents.cast_signed()).collect::<Vec<_>>(),
        &usage.iter().map(|(_, adds)| adds.bytes.cast_signed()).collect::<Vec<_>>(),
        &entries.offered_by as &[Option<Uuid>],
        &entries.offsets as &[Option<i64>],
    )
    .fetch_one(connection)
    .await?;
    let counts = [
        (written.appended, plan.entries.len()),
        (written.placed, plan.documents.len()),
        (written.bound, plan.actors.len()),
        (written.queued, plan.feeds.len()),
        (written.moved, plan.feeds.len()),
        (written.counted, plan.usage.len()),
    ];
    if counts.iter().all(|(count, planned)| usize::try_from(*count) == Ok(*planned)) {
        return Ok(());
    }
    Err(Failure::Contended(
        "another feed took the document, or another device the actor, at the same moment".to_owned(),
    ))
}
