//! Records as JSON for scripts, after docs/schema/records.schema.json.

use std::io::Write;

use fitme_core::id::DocId;
use fitme_core::store::{Change, Shown, Store};
use serde_json::{Value, json};

use super::Refusal;
use super::out::Out;
use crate::record_json;

/// Prints `{"records": […]}`, one record a line: readable by people as well as by line-wise tools.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn records(store: &Store, ids: impl Iterator<Item = DocId>, out: &mut Out) -> Result<(), Refusal> {
    write!(out, "{{\"records\":[")?;
    let mut separator = "\n";
    for id in ids {
        if let Some(shown) = store.show(id)? {
            write!(out, "{separator}{}", record_json::record(&shown))?;
            separator = ",\n";
        }
    }
    writeln!(out, "\n]}}")?;
    Ok(())
}

/// Prints `{"records": […]}` with one record, with its history if that is given.
///
/// # Errors
/// [`Refusal`] as the output gives it.
pub fn one(shown: &Shown, history: Option<&[Change]>, out: &mut Out) -> Result<(), Refusal> {
    let mut record = record_json::record(shown);
    if let Some(history) = history {
        record["history"] = history.iter().map(change).collect();
    }
    document(&json!({ "records": [record] }), out)
}

/// Prints one JSON document, indented.
///
/// # Errors
/// [`Refusal`] as the output gives it.
pub fn document(document: &Value, out: &mut Out) -> Result<(), Refusal> {
    writeln!(out, "{document:#}")?;
    Ok(())
}

fn change(change: &Change) -> Value {
    json!({
        "state": change.hash.to_string(),
        "actor": change.actor.to_string(),
        "own": change.own,
        "time_ms": change.time_ms,
        "fields": change.fields,
    })
}
