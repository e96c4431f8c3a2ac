//! Long text: an edit becomes the characters inserted and removed, so that two people's edits of one note both stay.

use automerge::transaction::{Transactable, Transaction};
use automerge::{AutomergeError, ObjId, ReadDoc};

/// automerge's diff takes the product of both lengths where nothing is alike: so many steps are a few milliseconds, and
/// two unlike notes of 64 KiB would be minutes.
const DIFF_STEPS: usize = 1 << 20;

/// Makes the text `object` equal to `new`.
pub(super) fn replace(tx: &mut Transaction<'_>, object: &ObjId, new: &str) -> Result<(), AutomergeError> {
    let old = tx.text(object)?;
    if old == new {
        return Ok(());
    }
    let prefix = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (skip(&old, prefix), skip(new, prefix));
    let suffix = old_rest.chars().rev().zip(new_rest.chars().rev()).take_while(|(a, b)| a == b).count();
    let removed = old_rest.chars().count() - suffix;
    let added = new_rest.chars().count() - suffix;
    if removed.saturating_mul(added) <= DIFF_STEPS {
        return tx.update_text(object, new);
    }
    let text: String = new_rest.chars().take(added).collect();
    let removed = isize::try_from(removed).unwrap_or(isize::MAX);
    tx.splice_text(object, prefix, removed, &text)
}

fn skip(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or("", |(at, _)| &text[at..])
}
