//! Which record a person means. Ids made within the same minutes begin alike, so lists show their last characters, and
//! any beginning or end that fits one record only will do.

use fitme_core::id::{ChangeHash, DocId};
use fitme_core::store::{Store, StoreError};

/// Characters of an id that lists show: 32 random bits.
const SHOWN: usize = 8;
/// Fewer are more likely a slip than a choice.
const FEWEST: usize = 4;

/// Why no record, or no state of one, is meant.
#[derive(Debug, thiserror::Error)]
pub enum PickError {
    /// It cannot be part of an id.
    #[error(
        "\"{0}\" is no id: write at least {FEWEST} characters of the start or the end of one, as `fitme list` shows it, or \"profile\""
    )]
    NotAnId(String),
    /// Nothing fits.
    #[error(
        "there is no record {0} on this device: `fitme list workouts` (or meals, moods, measurements) shows those that are"
    )]
    Unknown(String),
    /// Several fit.
    #[error("{text} fits {count} records ({examples}): write more of the id")]
    Ambiguous {
        /// What was written.
        text: String,
        /// How many records fit.
        count: usize,
        /// Some of them.
        examples: String,
    },
    /// No state fits, or several do.
    #[error("{text} names {count} states of this record: write the start of one that `fitme show ID --history` lists")]
    NoState {
        /// What was written.
        text: String,
        /// How many fit.
        count: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The part of an id that people see and type.
pub fn short(id: DocId) -> String {
    let mut id = id.to_string();
    id.split_off(id.len() - SHOWN)
}

/// The same for a state of a record.
pub fn short_state(hash: ChangeHash) -> String {
    let mut hash = hash.to_string();
    hash.truncate(SHOWN);
    hash
}

/// The record that `text` names.
///
/// # Errors
/// [`PickError`] unless it fits exactly one.
pub fn record(store: &Store, text: &str) -> Result<DocId, PickError> {
    if text == "profile" {
        return known(store, store.profile_id()?, text);
    }
    if let Ok(id) = text.parse() {
        return known(store, id, text);
    }
    one_of(store.heads()?.into_iter().map(|(id, _)| id), text)
}

/// The one of these records that `text` names a part of.
///
/// # Errors
/// [`PickError`] unless it fits exactly one.
pub fn one_of(ids: impl Iterator<Item = DocId>, text: &str) -> Result<DocId, PickError> {
    let part = text.to_ascii_lowercase();
    let is_part = part.len() >= FEWEST && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_part {
        return Err(PickError::NotAnId(text.to_owned()));
    }
    let fits = |id: &DocId| {
        let id = id.to_string();
        let shown = &id[id.len() - SHOWN..];
        id.ends_with(&part) || id.starts_with(&part) || shown.starts_with(&part)
    };
    match ids.filter(fits).collect::<Vec<_>>()[..] {
        [] => Err(PickError::Unknown(text.to_owned())),
        [id] => Ok(id),
        ref several => Err(ambiguous(text, several)),
    }
}

fn known(store: &Store, id: DocId, text: &str) -> Result<DocId, PickError> {
    store.collection_of(id)?.map(|_| id).ok_or_else(|| PickError::Unknown(text.to_owned()))
}

fn ambiguous(text: &str, several: &[DocId]) -> PickError {
    const EXAMPLES: usize = 3;
    let mut examples: Vec<_> = several.iter().take(EXAMPLES).map(|id| short(*id)).collect();
    if several.len() > EXAMPLES {
        examples.push("…".to_owned());
    }
    PickError::Ambiguous { text: text.to_owned(), count: several.len(), examples: examples.join(", ") }
}

/// The state of a record that `text` begins.
///
/// # Errors
/// [`PickError`] unless it fits exactly one.
pub fn state(store: &Store, id: DocId, text: &str) -> Result<ChangeHash, PickError> {
    let part = text.to_ascii_lowercase();
    let hashes = store.history(id)?.into_iter().map(|change| change.hash);
    let fitting: Vec<_> = hashes.filter(|hash| part.len() >= FEWEST && hash.to_string().starts_with(&part)).collect();
    match fitting[..] {
        [hash] => Ok(hash),
        _ => Err(PickError::NoState { text: text.to_owned(), count: fitting.len() }),
    }
}
