//! A record as JSON, after docs/schema/records.schema.json: what lists print and what archives hold.

use fitme_core::record::Conflict;
use fitme_core::store::{RejectedWrite, Shown};
use serde_json::{Map, Value, json};

/// One record.
#[must_use]
pub fn record(shown: &Shown) -> Value {
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

/// What was written on this device and the server refused: it exists nowhere else.
#[must_use]
pub fn rejected(write: &RejectedWrite) -> Map<String, Value> {
    let fields = [
        ("id", json!(write.doc_id.to_string())),
        ("collection", json!(write.collection)),
        ("code", json!(write.code)),
        ("message", json!(write.message)),
        ("rejected_at", json!(write.rejected_at)),
        ("command", json!(write.command)),
        ("record", json!(write.record)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn conflict(conflict: &Conflict) -> Value {
    let values = conflict
        .values
        .iter()
        .map(|value| json!({ "value": value.value, "actor": value.actor.to_string(), "time_ms": value.time_ms }));
    json!({ "field": conflict.field, "values": values.collect::<Vec<_>>() })
}
