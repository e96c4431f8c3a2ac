//! Why a record or an edit is refused, in words for the person who made it.

use serde_json::Value;

/// A record or an edit that must not be stored. The text may quote what the person wrote: show it, do not log it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", path(field))]
pub struct Invalid {
    /// The field, such as `exercises[0].sets[1].reps`; empty if it is the record as a whole.
    pub field: String,
    /// What is wrong and what would be right, to be read after the field.
    pub problem: String,
}

fn path(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field} ") }
}

impl Invalid {
    /// A problem of one field.
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// A problem of the record as a whole.
    pub(crate) fn record(problem: impl Into<String>) -> Self {
        Self::field("", problem)
    }

    /// `given` is not what `expected` says.
    pub(crate) fn value(field: &str, expected: &impl std::fmt::Display, given: &Value) -> Self {
        Self::field(field, format!("must be {expected}, not {}", short(given)))
    }
}

/// Enough of a value to recognise it.
fn short(value: &Value) -> String {
    const CHARACTERS: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
