//! Records as JSON for scripts, after docs/schema/records.schema.json.

use std::io::Write;

use fitme_core::id::DocId;
use fitme_core::record::Conflict;
use fitme_core::store::{Change, Shown, Store};
use serde_json::{Value, json};

use super::Refusal;
use super::out::Out;

/// Prints `{"records": […]}`, one record a line: readable by people as well as by line-wise tools.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn records(store: &Store, ids: impl Iterator<Item = DocId>, out: &mut Out) -> Result<(), Refusal> {
    write!(out, "{{\"records\":[")?;
    let mut separator = "\n";
    for id in ids {
        if let Some(shown) = store.show(id)? {
            write!(out, "{separator}{}", record(&shown))?;
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
    let mut record = record(shown);
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

fn record(shown: &Shown) -> Value {
    json!({
        "id": shown.doc_id.to_string(),
        "collection": shown.collection.name(),
        "at": shown.at,
        "trashed": shown.trashed,
        "sync": shown.sync,
        "record": shown.record,
        "flags": shown.flags,
        "conflicts": shown.conflicts.iter().map(conflict).collect::<Vec<_>>(),
    })
}

fn conflict(conflict: &Conflict) -> Value {
    let values = conflict
        .values
        .iter()
        .map(|value| json!({ "value": value.value, "actor": value.actor.to_string(), "time_ms": value.time_ms }));
    json!({ "field": conflict.field, "values": values.collect::<Vec<_>>() })
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
