//! `fitme sync`: everything to the server and back, once or for as long as it runs.

use std::io::Write;
use std::time::Duration;

use fitme_core::limits;
use fitme_core::session::Progress;
use fitme_core::store::{Audited, Ended, Proof, Store};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use super::describe::{count, number};
use super::out::{FAINT, GOOD, Out, PLAIN, WAITING};
use super::{Refusal, WRITER, describe, pick, runtime};
use crate::clock::now_ms;
use crate::error::ServerError;
use crate::home::Home;
use crate::sync::{News, Report};
use crate::{once, sync};

/// How often a watching process looks for what other processes wrote into the same home.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// News that a slow terminal may be behind.
const NEWS_WAITING: usize = 256;
/// Changed records that are named one by one.
const NAMED: usize = 10;

/// How to sync.
#[derive(Debug, clap::Args)]
pub struct How {
    /// One HTTP exchange after the other instead of a socket: for short background tasks
    #[arg(long, conflicts_with = "watch")]
    once: bool,
    /// Stay connected: send what is written, show what comes, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// First prove every record that is here; then compare all of them with the server's
    #[arg(long, conflicts_with = "watch")]
    audit: bool,
}

/// Syncs.
///
/// # Errors
/// [`Refusal`] where the server cannot be reached or refuses.
pub fn run(how: &How, home: &Home, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    store.identity()?.ok_or(ServerError::NoAccount)?;
    if store.was_left_open() {
        store.check()?;
    }
    if how.audit || store.was_left_open() {
        audit(how, store, out)?;
    }
    if how.watch {
        return runtime()?.block_on(watch(home, store, out));
    }
    let before = pending(store)?;
    let progress = spinner(before);
    let report = runtime()?.block_on(until_synced(how, store, &progress));
    progress.finish_and_clear();
    let report = report?;
    let settled = before.saturating_sub(pending(store)?);
    // What went with somebody's feed was not sent either.
    let gone: u64 = report.ended.iter().map(|ended| ended.unsent).sum();
    let sent = settled.saturating_sub(report.refused as u64 + gone);
    Ok(print(&report, sent, out)?)
}

/// Proves what is here. Of what nobody asked for only that is told which is not as it should be.
fn audit(how: &How, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let proof = if how.audit { Proof::Whole } else { Proof::OfBytes };
    let audited = store.audit(proof, now_ms())?;
    if how.audit || audited.damaged + audited.lost > 0 {
        let told = format!("audited {}: {}", count(audited.documents as u64, "record"), found(&audited));
        out.say(if audited.damaged > 0 { WAITING } else { PLAIN }, told)?;
    }
    Ok(())
}

/// `none is damaged`
fn found(audited: &Audited) -> String {
    let mut found = match audited.damaged {
        0 => "none is damaged".to_owned(),
        1 => "1 is damaged, and comes again from the server".to_owned(),
        more => format!("{more} are damaged, and come again from the server"),
    };
    if audited.tidied > 0 {
        found += &format!("; {} of lists or of changes put right", count(audited.tidied as u64, "line"));
    }
    if audited.lost > 0 {
        let lost = changes(audited.lost as u64);
        found += &format!("; {lost} that only this device had cannot be read any more: see `fitme rejected`");
    }
    found
}

/// Syncs, and shows how many records have come where this device is far behind.
async fn until_synced(how: &How, store: &mut Store, bar: &ProgressBar) -> Result<Report, ServerError> {
    let (news, mut heard) = mpsc::channel(NEWS_WAITING);
    let syncing = async {
        match how.once {
            true => once::until_synced_telling(store, Some(news)).await,
            false => sync::until_synced_telling(store, Some(news)).await,
        }
    };
    let showing = async {
        while let Some(news) = heard.recv().await {
            if let News::Received(_, progress) = news {
                bar.set_message(received(&progress));
            }
        }
    };
    let (report, ()) = tokio::join!(syncing, showing);
    report
}

/// `receiving: 1,200 of 10,000 records; those of the last 90 days are here`
fn received(progress: &Progress) -> String {
    // How many there are is said after the recent ones.
    let of = match progress.total {
        0 => String::new(),
        total => format!(" of {}", number(total.max(progress.stored) as f64, 0)),
    };
    let recent = match progress.has_recent {
        true => format!("; those of the last {} days are here", limits::BOOTSTRAP_RECENT_DAYS),
        false => String::new(),
    };
    format!("receiving: {}{of} records{recent}", number(progress.stored as f64, 0))
}

/// Changes to be sent, those for others included.
fn pending(store: &mut Store) -> Result<u64, Refusal> {
    Ok(store.status()?.pending + store.status_for_others()?.pending)
}

fn spinner(pending: u64) -> ProgressBar {
    let template = "{spinner} {msg} {elapsed}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(format!("syncing, {} to send", count(pending, "change")));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn print(report: &Report, sent: u64, out: &mut Out) -> std::io::Result<()> {
    let changed = count(report.changed_records as u64, "record");
    let moved = format!("{} sent, {changed} changed here", number(sent as f64, 0));
    let (up, down, ms) = (bytes(report.bytes_out), bytes(report.bytes_in), report.took.as_millis());
    let cost = out.paint(FAINT, format!("· {up} up, {down} down, {ms} ms"));
    out.say(PLAIN, format!("{}: {moved} {cost}", out.paint(GOOD, "synced")))?;
    if report.erased > 0 {
        out.say(WAITING, erased(report.erased))?;
    }
    for gone in &report.ended {
        out.say(WAITING, ended(gone))?;
    }
    if report.mended > 0 {
        out.say(WAITING, mended(report.mended))?;
    }
    for told in brought_back(report.brought_back, report.wanting) {
        out.say(WAITING, told)?;
    }
    if report.sent_again > 0 {
        out.say(WAITING, sent_again(report.sent_again))?;
    }
    if report.refused > 0 {
        let refused = format!("the server refused {}: see `fitme rejected`", changes(report.refused as u64));
        out.say(WAITING, refused)?;
    }
    Ok(())
}

fn ended(Ended { name, collection, unsent }: &Ended) -> String {
    let lost = match unsent {
        0 => String::new(),
        unsent => format!("; the server had not taken {} of yours: see `fitme rejected`", changes(*unsent)),
    };
    format!("{name} no longer shares {collection}: removed here{lost}")
}

fn mended(records: usize) -> String {
    let were = if records == 1 { "was" } else { "were" };
    format!("{} {were} missing or damaged here, and came again", count(records as u64, "record"))
}

/// What a server's damage came to: what it has back, and what it still lacks.
fn brought_back(entries: usize, wanting: usize) -> Vec<String> {
    let noun = |count: usize| if count == 1 { "entry" } else { "entries" };
    let number_of = |count: usize| format!("{} {}", number(count as f64, 0), noun(count));
    let mut told = Vec::new();
    if entries > 0 {
        told.push(format!("the server had lost or damaged {}, and has it back from here", number_of(entries)));
    }
    if wanting > 0 {
        let which = number_of(wanting);
        told.push(format!(
            "the server has lost or damaged {which} that this device does not have: `fitme sync --audit` on your others may bring it back"
        ));
    }
    told
}

fn sent_again(entries: usize) -> String {
    let noun = if entries == 1 { "entry" } else { "entries" };
    format!("the server was restored, {} {noun} sent again", number(entries as f64, 0))
}

fn erased(records: usize) -> String {
    let were = if records == 1 { "was" } else { "were" };
    format!("{} {were} erased on another device, and so here", count(records as u64, "record"))
}

fn changes(changes: u64) -> String {
    count(changes, "change")
}

/// `812 B`, `1.2 kB`
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{} kB", number(count as f64 / 1e3, 1)),
        _ => format!("{} MB", number(count as f64 / 1e6, 1)),
    }
}

async fn watch(home: &Home, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let (news, mut heard) = mpsc::channel(NEWS_WAITING);
    let (tell, mut written) = mpsc::channel(1);
    // Two readers of one home: the one that syncs is busy with it.
    let mut reader = home.store(WRITER, &mut rand::rng())?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut seen = reader.others_version()?;
    let mut told = None;
    out.say(FAINT, "watching; Ctrl-C ends it")?;
    out.flush()?;
    let session = sync::watch(store, &mut written, &news);
    tokio::pin!(session);
    // One for the whole loop: a signal that comes while something else is handled would be lost with its turn.
    let stopped = tokio::signal::ctrl_c();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            error = &mut session => return Err(error.into()),
            Some(news) = heard.recv() => {
                // Each attempt to reconnect fails for the same reason: once is enough.
                let offline = if let News::Offline { reason, .. } = &news { Some(reason.clone()) } else { None };
                if offline.is_none() || offline != told {
                    say(&news, &reader, out)?;
                    out.flush()?;
                }
                told = offline;
            }
            _ = looks.tick() => {
                reader.check_in_place()?;
                let version = reader.others_version()?;
                if version != seen && reader.has_pending()? {
                    // A full channel already says that there is something to send.
                    let _already_told = tell.try_send(());
                }
                seen = version;
            }
            stopped = &mut stopped => return stopped.map_err(Refusal::Output),
        }
    }
}

fn say(news: &News, reader: &Store, out: &mut Out) -> Result<(), Refusal> {
    let plain = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    let now = out.paint(FAINT, &plain);
    match news {
        News::Connected => writeln!(out, "{now}  connected")?,
        News::Synced => writeln!(out, "{now}  {}", out.paint(GOOD, "everything is on both sides"))?,
        News::Refused(count) => {
            let refused = format!("the server refused {}: see `fitme rejected`", changes(*count as u64));
            out.say(PLAIN, format!("{now}  {}", out.paint(WAITING, refused)))?;
        }
        News::BroughtBack { entries, wanting } => {
            for told in brought_back(*entries, *wanting) {
                out.say(WAITING, format!("{plain}  {told}"))?;
            }
        }
        News::Mended(records) => out.say(WAITING, format!("{plain}  {}", mended(*records)))?,
        News::SentAgain(entries) => out.say(WAITING, format!("{plain}  {}", sent_again(*entries)))?,
        News::Offline { reason, .. } => {
            out.say(WAITING, format!("{plain}  offline: {reason}; trying again until it works"))?;
        }
        News::Revoked(gone) => {
            out.say(WAITING, format!("{plain}  {}", ended(gone)))?;
        }
        News::Received(_, progress) => writeln!(out, "{now}  {}", out.paint(FAINT, received(progress)))?,
        News::Applied(applied) => {
            for (owner, documents) in &applied.of_others {
                let name = reader.others()?.into_iter().find(|other| other.account == *owner);
                let name = name.map_or_else(|| "somebody".to_owned(), |other| other.name);
                out.say(PLAIN, format!("{now}  {name}: {} changed", count(documents.len() as u64, "record")))?;
            }
            for doc_id in applied.documents.iter().take(NAMED) {
                if let Some(shown) = reader.show(*doc_id)? {
                    let title = describe::title(shown.collection, &shown.record).unwrap_or_default();
                    let (noun, id) = (describe::noun(shown.collection), pick::short(*doc_id));
                    out.say(PLAIN, format!("{now}  {noun} {id}  {title}"))?;
                }
            }
            if !applied.erased.is_empty() {
                out.say(PLAIN, format!("{now}  {}", out.paint(WAITING, erased(applied.erased.len()))))?;
            }
            if let Some(more @ 1..) = applied.documents.len().checked_sub(NAMED) {
                writeln!(out, "{now}  and {more} more")?;
            }
        }
    }
    Ok(())
}
