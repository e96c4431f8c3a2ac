//! JSON that a person or a script hands in: on the command line, in a file or on standard input.

use std::fs::File;
use std::io::{self, Read};

use serde_json::{Map, Value};

use super::when;

/// The most that is read; any record that fits its limits is far smaller.
const INPUT_BYTES: u64 = 16 << 20;
/// Fields that hold a time wherever they appear, see docs/records.md.
const TIMES: [&str; 4] = ["at", "start", "end", "done_at"];

/// Why the JSON is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("{name} cannot be read: {reason}")]
    Unreadable {
        /// The file, or "standard input".
        name: String,
        /// What the system says.
        reason: io::Error,
    },
    /// More than a record can hold.
    #[error("{name} has more than {} MiB, which no record holds", INPUT_BYTES >> 20)]
    TooLarge {
        /// The file, or "standard input".
        name: String,
    },
    /// It is not JSON.
    #[error("{name} is not JSON: {reason}")]
    NotJson {
        /// Where it came from.
        name: String,
        /// Where it stops being JSON.
        reason: serde_json::Error,
    },
    /// It is JSON, and no object.
    #[error("{name} is JSON but not an object of fields such as {{\"title\": \"Push day\"}}")]
    NotAnObject {
        /// Where it came from.
        name: String,
    },
    /// A time that is neither milliseconds nor in a known form.
    #[error("the time \"{text}\" of {field} is not understood: {forms}")]
    BadTime {
        /// Which field.
        field: String,
        /// What was written.
        text: String,
        /// What may be written.
        forms: String,
    },
}

/// The object in `given`: JSON itself, the name of a file, or `-` for standard input. Times may be written as people
/// write them; they come back as milliseconds.
///
/// # Errors
/// [`InputError`].
pub fn object(given: &str) -> Result<Map<String, Value>, InputError> {
    let (name, text) = match given {
        "-" => ("standard input".to_owned(), read("standard input", io::stdin().lock())?),
        inline if inline.trim_start().starts_with(['{', '[']) => {
            ("the given text".to_owned(), inline.as_bytes().to_vec())
        }
        file => {
            let opened = File::open(file).map_err(|reason| InputError::Unreadable { name: file.to_owned(), reason })?;
            (file.to_owned(), read(file, opened)?)
        }
    };
    match serde_json::from_slice(&text).map_err(|reason| InputError::NotJson { name: name.clone(), reason })? {
        Value::Object(mut object) => {
            read_times(&mut object)?;
            Ok(object)
        }
        _ => Err(InputError::NotAnObject { name }),
    }
}

fn read(name: &str, from: impl Read) -> Result<Vec<u8>, InputError> {
    let mut text = Vec::new();
    let read = from.take(INPUT_BYTES + 1).read_to_end(&mut text);
    read.map_err(|reason| InputError::Unreadable { name: name.to_owned(), reason })?;
    if text.len() as u64 > INPUT_BYTES { Err(InputError::TooLarge { name: name.to_owned() }) } else { Ok(text) }
}

fn read_times(object: &mut Map<String, Value>) -> Result<(), InputError> {
    for (key, value) in object {
        match value {
            Value::String(text) if TIMES.contains(&key.as_str()) => {
                let moment = when::parse(text);
                let bad = |forms| InputError::BadTime { field: key.clone(), text: text.clone(), forms };
                *value = moment.map_err(bad)?.ms.into();
            }
            Value::Object(inner) => read_times(inner)?,
            Value::Array(elements) => {
                for inner in elements.iter_mut().filter_map(Value::as_object_mut) {
                    read_times(inner)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
