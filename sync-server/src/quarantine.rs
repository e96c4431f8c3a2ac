//! `sync-server quarantine`: the operator's command line for records that the merge could not make of their entries.
//!
//! Their entries stay and their feeds go on without them. To end it, an entry is taken out of its record by an entry of the
//! server's, which ingest numbers like any other: every replica leaves it out with what builds on it, and each author's
//! devices write the rest again. What people wrote is shown with a flag alone, and never logged.

use std::io::{self, Write};

use fitme_core::change;
use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, ChangeHash, DocId, FeedId};
use fitme_core::merge::{self, MergeError};
use fitme_core::void::{self, Void};
use fitme_core::wire::{EntryKind, FeedPush, Receipt};
use sqlx::PgPool;
use uuid::Uuid;

use crate::auth::Device;
use crate::bytes::random_bytes;
use crate::clock::Clock;
use crate::config::{QuarantineArgs, QuarantineCommand};
use crate::ingest::Ingest;
use crate::serve::{Database, ServeError};

mod lookup;

use lookup::{Place, Waiting};

/// Why it was not done; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// No database.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The database failed.
    #[error("the database did not do it: {0}")]
    Database(#[from] sqlx::Error),
    /// Nothing of the kind.
    #[error("feed {0} has no such record in quarantine: `sync-server quarantine list` shows those that there are")]
    Unknown(i64),
    /// Asked without being sure.
    #[error("entry {0} and what builds on it would leave its record; add --yes to take it out")]
    NotSure(i64),
    /// It breaks however it is written.
    #[error("the entry cannot be written again: {0}; `sync-server quarantine discard` gives it back to who wrote it")]
    NotReplayed(MergeError),
    /// Ingest refused.
    #[error("the server did not take it: {0}")]
    Refused(String),
    /// Nobody reads the output.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Does what was asked.
///
/// # Errors
/// [`QuarantineError`].
pub async fn run(args: &QuarantineArgs) -> Result<(), QuarantineError> {
    let database = Database::open_beside(&args.database).await?;
    let done = carry_out(&args.command, database.pool()).await;
    let closed = database.close().await;
    done.and(closed.map_err(QuarantineError::from))
}

async fn carry_out(command: &QuarantineCommand, pool: &PgPool) -> Result<(), QuarantineError> {
    match command {
        QuarantineCommand::List { limit } => list(pool, i64::from(*limit)).await,
        QuarantineCommand::Show { feed, document, health_data } => show(pool, *feed, *document, *health_data).await,
        QuarantineCommand::Replay { feed, entry } => take_out(pool, *feed, *entry, true).await,
        QuarantineCommand::Discard { entry, yes: false, .. } => Err(QuarantineError::NotSure(*entry)),
        QuarantineCommand::Discard { feed, entry, .. } => take_out(pool, *feed, *entry, false).await,
    }
}

async fn list(pool: &PgPool, limit: i64) -> Result<(), QuarantineError> {
    let listed = lookup::listed(pool, limit).await?;
    if listed.is_empty() {
        return say("every record is merged");
    }
    for one in listed {
        let doc_id = DocId::from_slice(&one.doc_id).ok_or(QuarantineError::Unknown(one.feed))?;
        say(&format!("feed {} document {doc_id}", one.feed))?;
        say(&format!("  {} of {}, merged up to entry {}", one.collection, one.email, one.snapshot_seq))?;
        say(&format!("  {}", one.reason))?;
    }
    Ok(())
}

async fn show(pool: &PgPool, feed: i64, doc_id: DocId, health_data: bool) -> Result<(), QuarantineError> {
    let place = lookup::place(pool, feed).await?.ok_or(QuarantineError::Unknown(feed))?;
    let waiting = lookup::waiting(pool, &place, doc_id).await?;
    if waiting.is_empty() {
        return Err(QuarantineError::Unknown(feed));
    }
    if health_data {
        let record = lookup::record(pool, &place, doc_id).await?;
        say(&format!("the record as it was last merged:\n{record:#}"))?;
    }
    let changes = lookup::changes(pool, &place, doc_id).await?;
    for one in waiting {
        let operations = change::count_operations(&one.payload).map_or("unreadable".to_owned(), |n| n.to_string());
        let bytes = one.payload.len();
        say(&format!("entry {}: {operations} operations in {bytes} bytes, by device {}", one.seq, one.author))?;
        if health_data {
            say(&told(&changes, &one, &place.collection))?;
        }
    }
    Ok(())
}

/// The record with that entry; where it cannot be merged, what the entry itself says.
fn told(changes: &[Waiting], entry: &Waiting, collection: &str) -> String {
    let until = changes.iter().filter(|one| one.seq <= entry.seq).map(|one| one.payload.as_slice());
    let Some(collection) = Collection::named(collection) else { return "of a collection that is not known".to_owned() };
    match merge::record_of(until, collection) {
        Ok(record) => format!("the record with it:\n{record:#}"),
        Err(why) => {
            let said = change::in_full(&entry.payload).map_or_else(|bad| bad.to_string(), |said| format!("{said:#}"));
            format!("{why}; it says:\n{said}")
        }
    }
}

/// Takes an entry out of its record; with `replayed`, what it did is written again by the server before.
async fn take_out(pool: &PgPool, feed: i64, seq: i64, replayed: bool) -> Result<(), QuarantineError> {
    let place = lookup::place(pool, feed).await?.ok_or(QuarantineError::Unknown(feed))?;
    let doc_id = lookup::document_of(pool, &place, seq).await?.ok_or(QuarantineError::Unknown(feed))?;
    // Ingest asks again about what is taken out, not about what is written again.
    if replayed && !lookup::waiting(pool, &place, doc_id).await?.iter().any(|one| one.seq == seq) {
        return Err(QuarantineError::Unknown(feed));
    }
    let changes = lookup::changes(pool, &place, doc_id).await?;
    let bad = changes.iter().find(|one| one.seq == seq).ok_or(QuarantineError::Unknown(feed))?;
    let change = ChangeHash::from_slice(&bad.change_hash).ok_or(QuarantineError::Unknown(feed))?;
    let now_ms = Clock::default().now_ms();
    let ingest = Ingest::start(pool.clone(), |_| {});
    // First, and by itself: devices drop what they are told was written again, so it must have been.
    if replayed {
        submit(&ingest, &place, written_again(&changes, doc_id, change, bad.device_time)?).await?;
    }
    submit(&ingest, &place, Void { change, replayed }.entry(doc_id, now_ms, random_bytes())).await?;
    tracing::warn!(feed, seq, replayed, "an entry was taken out of its record by the operator");
    say(&match replayed {
        true => format!("entry {seq} of feed {feed} is taken out, and what it did is written again"),
        false => format!("entry {seq} of feed {feed} is taken out; who wrote it gets it back"),
    })
}

/// By an actor that is drawn for this and never used again.
fn written_again(
    changes: &[Waiting],
    doc_id: DocId,
    left_out: ChangeHash,
    device_time: i64,
) -> Result<Entry, QuarantineError> {
    let payloads = changes.iter().map(|one| one.payload.as_slice());
    let payload = void::written_again(payloads, left_out, ActorId(random_bytes()), device_time);
    let payload = payload.map_err(QuarantineError::NotReplayed)?;
    Ok(Entry { kind: EntryKind::Change.into(), doc_id, device_time, salt: random_bytes(), payload })
}

/// Like a device's push; running servers hear of it as they hear of each other's commits.
async fn submit(ingest: &Ingest, place: &Place, entry: Entry) -> Result<(), QuarantineError> {
    let server = Device { device: Uuid::nil(), account: place.account };
    let push = FeedPush { feed: FeedId(place.feed.cast_unsigned()), entries: vec![entry] };
    for receipt in ingest.submit(server, vec![push]).await.receipts {
        match receipt {
            Receipt::Accepted(_) | Receipt::Duplicate { .. } => {}
            Receipt::Rejected(why) | Receipt::Retry(why) => {
                return Err(QuarantineError::Refused(format!("{} ({})", why.message, why.code)));
            }
        }
    }
    Ok(())
}

fn say(line: &str) -> Result<(), QuarantineError> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}
