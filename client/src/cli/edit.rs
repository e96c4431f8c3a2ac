//! What changes a record: `fitme log`, `edit`, `trash` and `restore` end here, each as one durable write.

use fitme_core::id::DocId;
use fitme_core::store::{Command, Other, Store};

use super::consent::ConsentError;
use super::describe;
use super::out::{FAINT, GOOD, Out, PLAIN};
use super::{Refusal, input, pick, when};
use crate::clock::now_ms;

/// What is said of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// A new record, or the profile.
    Logged,
    /// Fields changed.
    Edited,
    /// Into the trash.
    Trashed,
    /// Out of the trash, or back to an earlier state.
    Restored,
}

impl Verb {
    fn done(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Edited => "edited",
            Self::Trashed => "trashed",
            Self::Restored => "restored",
        }
    }
}

/// Changes fields of a record.
///
/// # Errors
/// [`Refusal`] where there is no such record, the patch breaks a rule or the store refuses.
pub fn edit(store: &mut Store, whose: Option<&Other>, id: &str, patch: &str, out: &mut Out) -> Result<(), Refusal> {
    let doc_id = picked(store, whose, id)?;
    let patch = input::object(patch)?.into();
    write(store, whose, &Command::Edit { doc_id, patch }, Verb::Edited, out)
}

/// The record that `id` names, of this home or of what somebody shares.
fn picked(store: &mut Store, whose: Option<&Other>, id: &str) -> Result<DocId, Refusal> {
    match whose {
        None => Ok(pick::record(store, id)?),
        Some(other) => match store.of(other.account)? {
            Some(shared) => Ok(pick::record(shared, id)?),
            None => Err(ConsentError::NoClient(other.name.clone()).into()),
        },
    }
}

/// Moves records to the trash.
///
/// # Errors
/// [`Refusal`] where one is not here; those before it are in the trash then.
pub fn trash(store: &mut Store, ids: &[String], out: &mut Out) -> Result<(), Refusal> {
    for id in ids {
        let doc_id = pick::record(store, id)?;
        write(store, None, &Command::Trash { doc_id }, Verb::Trashed, out)?;
    }
    Ok(())
}

/// Takes a record out of the trash, or brings back the state it had after one of its changes.
///
/// # Errors
/// [`Refusal`] where there is no such record or state.
pub fn restore(store: &mut Store, id: &str, to: Option<&str>, out: &mut Out) -> Result<(), Refusal> {
    let doc_id = pick::record(store, id)?;
    let command = match to {
        None => Command::Restore { doc_id },
        Some(to) => Command::RestoreTo { doc_id, state: pick::state(store, doc_id, to)?.to_string() },
    };
    write(store, None, &command, Verb::Restored, out)
}

/// Carries out a command and says what became of it: `logged mood 7f3a21bc  Sun 22 Nov 07:10  good`.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn write(
    store: &mut Store,
    whose: Option<&Other>,
    command: &Command,
    verb: Verb,
    out: &mut Out,
) -> Result<(), Refusal> {
    let written = match whose {
        None => store.write(command, now_ms(), &mut rand::rng())?,
        Some(other) => store.write_for(other.account, command, now_ms(), &mut rand::rng())?,
    };
    let line = match whose {
        None => line(store, written.doc_id, out)?,
        Some(other) => {
            let shared = store.of(other.account)?.map(|shared| line(shared, written.doc_id, out)).transpose()?;
            format!("{}  for {}", shared.unwrap_or_default(), other.name)
        }
    };
    match written.changed {
        true => out.say(PLAIN, format!("{} {line}", out.paint(GOOD, verb.done())))?,
        false => out.say(PLAIN, format!("nothing to change in {line}"))?,
    }
    Ok(())
}

/// A record as a line: `mood 7f3a21bc  Sun 22 Nov 07:10  good`.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn line(store: &Store, doc_id: DocId, out: &Out) -> Result<String, Refusal> {
    let Some(shown) = store.show(doc_id)? else { return Ok(pick::short(doc_id)) };
    let zone = shown.record.get("zone").and_then(|zone| zone.as_str());
    let parts = [
        Some(format!("{} {}", describe::noun(shown.collection), pick::short(doc_id))),
        shown.at.map(|at| out.paint(FAINT, when::show(at, zone))),
        describe::title(shown.collection, &shown.record),
    ];
    Ok(parts.into_iter().flatten().collect::<Vec<_>>().join("  "))
}
