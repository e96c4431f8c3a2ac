//! `fitme status` and `fitme rejected`: how far this home has come, and what the server refused.

use std::io::Write;
use std::path::Path;

use anstyle::Style;
use comfy_table::Cell;
use fitme_core::store::{RejectedWrite, Status, Store};
use fitme_core::wire::ERASED;
use serde_json::{Map, Value, json};

use super::describe::{count, number};
use super::out::{self, BAD, FAINT, GOOD, Out, PLAIN, WAITING};
use super::{Refusal, json, pick, when};
use crate::record_json;

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
        return json::document(&as_document(&status, account, home, store.clock_offset_ms()?), out);
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
        let line = format!("{}, see `fitme rejected`; {} wait beside them", writes(status.rejected), status.waiting);
        rows.push(("refused", BAD, line));
    }
    if status.unapplied > 0 {
        rows.push(("unread", PLAIN, format!("{}: a newer version of FitME wrote them", writes(status.unapplied))));
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

fn as_document(status: &Status, account: Option<Value>, home: &Path, clock_offset_ms: Option<i64>) -> Value {
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
        "records": records,
    }})
}

fn sync(status: &Status, has_account: bool) -> (Style, String) {
    let since =
        status.oldest_pending_at.map(|at| format!(" since {}", when::show(at, None).trim())).unwrap_or_default();
    match (status.pending, has_account) {
        (0, true) if status.rejected + status.waiting > 0 => {
            (WAITING, "all but what the server refused, and what waits for that, is on the server".to_owned())
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

fn clock(offset_ms: i64) -> String {
    let seconds = number(offset_ms.unsigned_abs() as f64 / 1_000.0, 1);
    format!("this device's clock is {seconds} s {} the server's", if offset_ms > 0 { "behind" } else { "ahead of" })
}

/// Prints the writes that the server refused.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn rejected(as_json: bool, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let own = store.rejected()?.into_iter().map(|write| (None, write));
    let rejected: Vec<_> =
        own.chain(store.rejected_of_others()?.into_iter().map(|(of, write)| (Some(of), write))).collect();
    if as_json {
        return json::document(
            &json!({ "rejected": rejected.iter().map(|(of, write)| rejection(of.as_deref(), write)).collect::<Vec<_>>() }),
            out,
        );
    }
    if rejected.is_empty() {
        return Ok(out.say(PLAIN, "the server refused nothing")?);
    }
    let mut table = out.table(&["id", "of", "when", "why"]);
    for (of, write) in &rejected {
        table.add_row(vec![
            out::faint(pick::short(write.doc_id)),
            Cell::new(of.as_ref().map_or(write.collection.clone(), |of| format!("{} of {of}", write.collection))),
            Cell::new(when::show(write.rejected_at, None)),
            Cell::new(format!("{} ({})", write.message, write.code)),
        ]);
    }
    out.print(&mut table)?;
    let hint = "what you wrote is kept: `fitme rejected --json` prints it in full";
    out.say(FAINT, hint)?;
    // What is gone is refused for one of these reasons; what is here is part of its record.
    if rejected.iter().any(|(_, write)| write.code == ERASED || write.record.is_null()) {
        let hint = "of a record that is gone it is kept until `fitme rejected --discard ID`";
        out.say(FAINT, hint)?;
    }
    Ok(())
}

fn rejection(of: Option<&str>, write: &RejectedWrite) -> Value {
    let mut fields = Map::from_iter([("person".to_owned(), json!(of))]);
    fields.extend(record_json::rejected(write));
    Value::Object(fields)
}
