//! `fitme status`: how far this home has come.

use std::io::Write;
use std::path::Path;

use anstyle::Style;
use fitme_core::store::{SentAgain, Status, Store};
use serde_json::{Value, json};

use super::describe::{count, number};
use super::out::{BAD, FAINT, GOOD, Out, PLAIN, WAITING};
use super::{Refusal, json, when};

/// A clock that is off by less is nothing to tell a person of.
const CLOCK_SLACK_MS: u64 = 2_000;

/// Prints the state of the home.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn run(as_json: bool, home: &Path, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let mut status = store.status()?;
    status.add_waiting(&store.status_for_others()?);
    let identity = store.identity()?;
    if as_json {
        let account = identity.map(
            |identity| json!({ "email": identity.email, "server": identity.server, "device": identity.device_name }),
        );
        let others = (store.clock_offset_ms()?, store.sent_again()?);
        return json::document(&as_document(&status, account, home, others), out);
    }
    let account = match &identity {
        Some(identity) => {
            format!("{} at {}, as “{}”", identity.email, identity.server, identity.device_name)
        }
        None => "none yet; what you log stays here until `fitme signup` or `login`".to_owned(),
    };
    let (colour, sync) = match &identity {
        Some(identity) if store.is_locked()? => (WAITING, locked(&status, &identity.email)),
        _ => sync(&status, identity.is_some()),
    };
    let mut rows = vec![("account", PLAIN, account), ("sync", colour, sync), ("records", PLAIN, records(&status))];
    if status.rejected > 0 {
        rows.push(("refused", BAD, format!("{}, see `fitme rejected`", writes(status.rejected))));
    }
    if status.waiting > 0 {
        let line = format!("{} to a damaged record wait beside what was refused of it", writes(status.waiting));
        rows.push(("waiting", BAD, line));
    }
    if status.unapplied > 0 {
        rows.push(("unread", PLAIN, format!("{}: a newer version of FitME wrote them", writes(status.unapplied))));
    }
    if let Some(sent) = store.sent_again()? {
        rows.push(("restored", PLAIN, restored(sent)));
    }
    if let Some(offset) = store.clock_offset_ms()?.filter(|offset| offset.unsigned_abs() > CLOCK_SLACK_MS) {
        rows.push(("clock", PLAIN, clock(offset)));
    }
    // A path is copied: it is never broken.
    writeln!(out, "{}  {}", out.paint(FAINT, "home    "), home.display())?;
    rows.into_iter().try_for_each(|(name, style, value)| row(name, style, &value, out))
}

/// One line, or as many as the value needs beside the name.
fn row(name: &str, style: Style, value: &str, out: &mut Out) -> Result<(), Refusal> {
    const VALUE_FROM: u16 = 10;
    for (index, line) in out.wrapped(value, VALUE_FROM).iter().enumerate() {
        let name = out.paint(FAINT, format!("{:<8}", if index == 0 { name } else { "" }));
        writeln!(out, "{name}  {}", out.paint(style, line))?;
    }
    Ok(())
}

/// What helps is the login, not a sync.
fn locked(status: &Status, email: &str) -> String {
    let unsent = match status.pending + status.waiting {
        0 => String::new(),
        unsent => format!("{} not sent; ", writes(unsent)),
    };
    format!("{unsent}locked until `fitme login --email {email}`")
}

fn as_document(
    status: &Status,
    account: Option<Value>,
    home: &Path,
    (clock_offset_ms, sent_again): (Option<i64>, Option<SentAgain>),
) -> Value {
    let records: serde_json::Map<_, _> =
        status.records.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
    json!({ "status": {
        "home": home.display().to_string(),
        "account": account,
        "pending": status.pending,
        "oldest_pending_at": status.oldest_pending_at,
        "rejected": status.rejected,
        "waiting": status.waiting,
        "unapplied": status.unapplied,
        "clock_offset_ms": clock_offset_ms,
        "sent_again": sent_again.map(|sent| json!({ "entries": sent.entries, "last_at": sent.at })),
        "records": records,
    }})
}

fn sync(status: &Status, has_account: bool) -> (Style, String) {
    let since =
        status.oldest_pending_at.map(|at| format!(" since {}", when::show(at, None).trim())).unwrap_or_default();
    match (status.pending, has_account) {
        (0, true) if status.rejected + status.waiting > 0 => {
            (WAITING, "all but what the server refused is on the server".to_owned())
        }
        (0, true) => (GOOD, "everything is on the server".to_owned()),
        (0, false) => (PLAIN, "nothing to send yet".to_owned()),
        (pending, true) => (WAITING, format!("{} to send{since}: `fitme sync`", writes(pending))),
        (pending, false) => (PLAIN, format!("{} to send{since}, once there is an account", writes(pending))),
    }
}

fn writes(changes: u64) -> String {
    count(changes, "change")
}

fn records(status: &Status) -> String {
    let counts: Vec<_> =
        status.records.iter().map(|(name, count)| format!("{name} {}", number(*count as f64, 0))).collect();
    if counts.is_empty() { "none yet; `fitme log --help` shows how to start".to_owned() } else { counts.join(" · ") }
}

fn restored(sent: SentAgain) -> String {
    let entries = if sent.entries == 1 { "entry" } else { "entries" };
    let (number, at) = (number(sent.entries as f64, 0), when::show(sent.at, None));
    format!("the server had lost {number} {entries}, which this device sent again; last {}", at.trim())
}

fn clock(offset_ms: i64) -> String {
    let seconds = number(offset_ms.unsigned_abs() as f64 / 1_000.0, 1);
    format!("this device's clock is {seconds} s {} the server's", if offset_ms > 0 { "behind" } else { "ahead of" })
}
