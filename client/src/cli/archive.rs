//! `fitme export` and `fitme import-account`: everything of the account as one file, and an account made of it.

use std::path::Path;

use fitme_core::store::{Identity, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use super::describe::{count, number};
use super::out::{FAINT, GOOD, Out, PLAIN, WAITING};
use super::sync::bytes;
use super::{Refusal, runtime};
use crate::archive::{self, Archive, Count, Manifest};
use crate::clock::now_ms;
use crate::error::ServerError;
use crate::{access_log, devices, recovery, sync};

/// Exports.
///
/// # Errors
/// [`Refusal`] where the file cannot be made.
pub fn export(file: &Path, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let (account, unasked) = account(store)?;
    let exported = archive::export(store, &account, file, now_ms())?;
    let (consents, written): (Vec<_>, Vec<_>) =
        exported.manifest.collections.iter().partition(|one| one.is_write_once());
    let sum = |counts: Vec<&Count>| counts.iter().map(|one| one.records).sum::<usize>();
    let (records, size) = (records(sum(written)), bytes(exported.bytes));
    let consents = match sum(consents) {
        0 => String::new(),
        consents => format!(" and {}", self::consents(consents)),
    };
    out.say(PLAIN, format!("{} {records}{consents} to {} ({size})", out.paint(GOOD, "exported"), file.display()))?;
    if exported.manifest.unsent > 0 {
        out.say(WAITING, format!("{} not on the server yet: the file has them", waiting(&exported.manifest)))?;
    }
    let damaged: usize = exported.manifest.collections.iter().map(|one| one.damaged.len()).sum();
    if damaged > 0 {
        out.say(WAITING, format!("damaged on this device, and so not in the file: {}", self::records(damaged)))?;
    }
    if store.unsent_for_others()? > 0 {
        let line = "what you wrote for others is theirs and not in it";
        out.say(WAITING, line)?;
    }
    if let Some(reason) = unasked {
        out.say(WAITING, format!("facts of the account are as this device knows them: {reason}"))?;
    } else if store.identity()?.is_some()
        && let Err(reason) = runtime()?.block_on(access_log::note_export(store))
    {
        out.say(WAITING, format!("that it was exported is not in the access log: {reason}"))?;
    }
    let hint = "it is not encrypted: keep it where only you can read it";
    Ok(out.say(FAINT, hint)?)
}

fn waiting(manifest: &Manifest) -> String {
    format!("{} {}", count(manifest.unsent, "change"), if manifest.unsent == 1 { "is" } else { "are" })
}

/// What is known of the account, and why it is not all that the server knows.
fn account(store: &mut Store) -> Result<(Value, Option<String>), Refusal> {
    let Some(identity) = store.identity()? else { return Ok((json!({ "account": null }), None)) };
    let here = json!({
        "account": Uuid::from_bytes(identity.account).to_string(),
        "email": identity.email,
        "server": identity.server,
        "device": identity.device_name,
    });
    let asked = runtime()?.block_on(async { Ok((recovery::account(store).await?, devices::list(store).await?)) });
    match asked {
        Ok((account, devices)) => Ok((json!({ "here": here, "on_the_server": account, "devices": devices }), None)),
        // What follows from them comes before anything is exported.
        Err(error @ (ServerError::Revoked | ServerError::Lost | ServerError::AccountErased)) => Err(error.into()),
        Err(error) => Ok((json!({ "here": here }), Some(error.to_string()))),
    }
}

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Whose records the account has is not known here.
    #[error(
        "nothing was imported: what {email} has must be here first, so that two people's records are not mixed, and {reason}"
    )]
    NotSynced {
        /// The account.
        email: String,
        /// Why it is not here.
        reason: ServerError,
    },
}

/// Imports.
///
/// # Errors
/// [`Refusal`] where the file is no archive, is damaged, or would be mixed with other records.
pub fn import(file: &Path, merge: bool, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let mut archive = Archive::open(file)?;
    if !merge {
        fetch(store)?;
    }
    let done = archive.import(store, merge, now_ms(), &mut rand::rng())?;
    let new = match done.new.documents {
        0 => "nothing of it was new here".to_owned(),
        new => format!("{} of them new here", number(new as f64, 0)),
    };
    out.say(PLAIN, format!("{} {}, {new}", out.paint(GOOD, "imported"), records(done.records)))?;
    if done.consents > 0 {
        let left = consents(done.consents as usize);
        out.say(FAINT, format!("{left} left out: what was shared is not shared again, `fitme accept` does that"))?;
    }
    if done.new.changes > 0 {
        let next = match store.identity()? {
            Some(_) => "they go to the server with the next `fitme sync`",
            None => "they become part of the account that you sign up or log in with",
        };
        out.say(FAINT, next)?;
    }
    Ok(())
}

/// Brings what the account has: a home that was just signed in looks empty, whoever's records are on the server.
fn fetch(store: &mut Store) -> Result<(), Refusal> {
    let Some(Identity { email, .. }) = store.identity()? else { return Ok(()) };
    match runtime()?.block_on(sync::until_synced(store)) {
        Ok(_) => Ok(()),
        Err(reason) if reason.is_passing() => Err(ImportError::NotSynced { email, reason }.into()),
        Err(error) => Err(error.into()),
    }
}

fn records(records: usize) -> String {
    count(records as u64, "record")
}

/// Grants, and ends of them.
fn consents(consents: usize) -> String {
    count(consents as u64, "consent")
}
