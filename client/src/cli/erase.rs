//! `fitme erase`: records are deleted for good, and what was refused of them is forgotten.

use std::io::Write;

use fitme_core::store::{Command, Store};

use super::out::{FAINT, GOOD, Out, WAITING};
use super::{Refusal, edit, pick, question};
use crate::clock::now_ms;

/// What is to be deleted.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Which records
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nobody to ask.
    #[error("there is no terminal to ask on: say --yes if it may go for ever")]
    NobodyToAsk,
    /// The answer was not yes.
    #[error("nothing was erased")]
    NotConfirmed,
    /// What was refused belongs to a record that is here.
    #[error(
        "the record is still here, and what was refused is part of it on this device: only with it, by `fitme erase`, can it go"
    )]
    StillHere,
}

/// Deletes records for good, after asking.
///
/// # Errors
/// [`Refusal`] where one is not here, or the answer was no; those before a refused one are gone then.
pub fn run(what: &What, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let records: Vec<_> = what.ids.iter().map(|id| pick::record(store, id)).collect::<Result<_, _>>()?;
    for doc_id in &records {
        let line = edit::line(store, *doc_id, out)?;
        writeln!(out, "{} {line}", out.paint(WAITING, "erase for good:"))?;
    }
    out.flush()?;
    confirm(what.yes)?;
    for doc_id in &records {
        store.write(&Command::Erase { doc_id: *doc_id }, now_ms(), &mut rand::rng())?;
        writeln!(out, "{} {}", out.paint(GOOD, "erased"), pick::short(*doc_id))?;
    }
    if store.identity()?.is_some() {
        let hint =
            "the server and your other devices erase it with their next sync; backups keep it until they age out";
        writeln!(out, "{}", out.paint(FAINT, hint))?;
    }
    Ok(())
}

fn confirm(yes: bool) -> Result<(), Refusal> {
    if yes {
        return Ok(());
    }
    match question::typed("It cannot be brought back. Type yes to erase it everywhere: ")?.as_deref() {
        None => Err(EraseError::NobodyToAsk.into()),
        Some("yes") => Ok(()),
        Some(_) => Err(EraseError::NotConfirmed.into()),
    }
}

/// Forgets what the server refused of a record that was erased.
///
/// # Errors
/// [`Refusal`] where nothing of such a record was refused, or the record is still here.
pub fn discard(id: &str, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let own = store.rejected()?.into_iter().map(|write| write.doc_id);
    let of_others = store.rejected_of_others()?.into_iter().map(|(_, write)| write.doc_id);
    let refused: std::collections::BTreeSet<_> = own.chain(of_others).collect();
    let doc_id = pick::one_of(refused.into_iter(), id)?;
    match store.discard_rejected(doc_id)? {
        0 => Err(EraseError::StillHere.into()),
        _ => Ok(writeln!(out, "{} what was refused of {}", out.paint(GOOD, "forgot"), pick::short(doc_id))?),
    }
}
