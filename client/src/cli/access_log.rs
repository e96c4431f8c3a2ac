//! `fitme access-log`: who read what of this account and when, what was shared, and where the account was logged in.

use std::collections::BTreeMap;

use fitme_core::store::Store;
use serde_json::Value;
use uuid::Uuid;

use super::consent::{self, PLUS};
use super::describe::{list, text};
use super::out::{FAINT, Out};
use super::{Refusal, json, runtime, when};
use crate::access_log::{self, AccessLog, Record};

/// Characters of an id that stand for what has no name.
const SHOWN: usize = 8;

/// Which records.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// At most so many, latest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u16,
    /// Those before the record with this number
    #[arg(long, value_name = "N")]
    before: Option<i64>,
    /// As JSON, after docs/schema/access-log.schema.json
    #[arg(long)]
    json: bool,
}

/// Prints the records.
///
/// # Errors
/// [`Refusal`] where the server cannot be reached.
pub fn run(wanted: &Wanted, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let log = access_log::latest(store, wanted.limit.into(), wanted.before);
    let log = runtime()?.block_on(log)?;
    if wanted.json {
        return json::document(&serde_json::to_value(&log).unwrap_or_default(), out);
    }
    let grantees = consent::grantees(store)?;
    let mut table = out.table(&["when", "who", "what"]);
    for record in &log.records {
        let (who, what) = log.describe(record, &grantees);
        table.add_row([when::show(record.at, None), who, what]);
    }
    out.print(&mut table)?;
    if log.records.iter().any(|record| record.kind == "granted" && feeds(&record.detail).contains('+')) {
        out.say(FAINT, PLUS)?;
    }
    if let Some(before) = log.before {
        out.say(FAINT, format!("there are earlier ones: --before {before}"))?;
    }
    Ok(())
}

impl AccessLog {
    /// Who did something, and what; `grantees` are those whom this home knows by their grants.
    fn describe(&self, record: &Record, grantees: &BTreeMap<String, String>) -> (String, String) {
        let detail = &record.detail;
        let (device, by) = (|| self.device(&detail["device"]), || self.by(&detail["by"]));
        let of_grant = || text(detail, "grant").and_then(|grant| grantees.get(grant)).cloned();
        let grantee = || of_grant().unwrap_or_else(|| self.person(&detail["grantee"]));
        match record.kind.as_str() {
            "signed_in" => (device(), "logged in".to_owned()),
            "signed_out" => (device(), "logged out".to_owned()),
            "token_reused" => (device(), "was signed out: an old token of it was used, perhaps by a thief".to_owned()),
            "device_revoked" if detail["lost"] == true => (by(), format!("revoked {} as lost", device())),
            "device_revoked" => (by(), format!("revoked {}", device())),
            "password_changed" => (by(), "changed the password".to_owned()),
            "second_factor_on" => (by(), "turned on codes at login".to_owned()),
            "second_factor_off" => (by(), "turned off codes at login".to_owned()),
            "identity_linked" => (by(), "linked a sign-in provider".to_owned()),
            "granted" => (by(), format!("shared {} with {}, for {}", feeds(detail), grantee(), purpose(detail))),
            "grant_revoked" => (by(), format!("ended what {} saw", grantee())),
            "read" => (self.person(&detail["reader"]), read(detail)),
            "exported" => (by(), format!("exported everything as {}", text(detail, "form").unwrap_or("a file"))),
            // Of a later server.
            kind => (String::new(), kind.replace('_', " ")),
        }
    }

    fn device(&self, id: &Value) -> String {
        named(id, |id| self.devices.get(&id))
    }

    fn person(&self, id: &Value) -> String {
        named(id, |id| self.people.get(&id))
    }

    fn by(&self, by: &Value) -> String {
        match by.as_str() {
            Some("mail") => "a mailed token".to_owned(),
            Some("admin") => "an operator".to_owned(),
            _ => self.device(by.get("device").unwrap_or(by)),
        }
    }
}

fn named<'a>(id: &Value, name: impl Fn(Uuid) -> Option<&'a String>) -> String {
    let Some(id) = id.as_str() else { return "somebody".to_owned() };
    if id == Uuid::nil().to_string() {
        return "the server".to_owned();
    }
    let name = id.parse().ok().and_then(name);
    name.map_or_else(|| id[id.len().saturating_sub(SHOWN)..].to_owned(), ToOwned::to_owned)
}

fn read(detail: &Value) -> String {
    let purposes: Vec<_> = list(detail, "purposes").iter().filter_map(Value::as_str).collect();
    let feed = text(detail, "feed").unwrap_or("?");
    let (first, last) = (&detail["first"], &detail["last"]);
    let range = if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") };
    format!("read {feed}, {range}, for {}", purposes.join(" and ").replace('_', " "))
}

fn feeds(detail: &Value) -> String {
    let feeds = list(detail, "feeds").iter().filter_map(Value::as_str);
    feeds.map(|feed| feed.replace(":write", "\u{a0}+")).collect::<Vec<_>>().join(", ")
}

fn purpose(detail: &Value) -> String {
    text(detail, "purpose").unwrap_or("?").replace('_', " ")
}
