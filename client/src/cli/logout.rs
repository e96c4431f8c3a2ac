//! `fitme logout`: everything is sent first, then the device is signed out and the home emptied. What could not be sent is
//! never lost by this without having been named.

use std::io::Write;

use fitme_core::store::Store;

use super::out::{FAINT, GOOD, Out, PLAIN, WAITING};
use super::{Refusal, describe, question, runtime};
use crate::error::ServerError;
use crate::home::Home;
use crate::{devices, sync};

/// What becomes of what is not on the server.
#[derive(Debug, clap::Args)]
pub struct How {
    /// Keep everything here, locked, for the next login of the same account
    #[arg(long, conflicts_with = "discard")]
    keep: bool,
    /// Remove everything here, also what the server does not have, and what an earlier --keep has locked
    #[arg(long)]
    pub discard: bool,
    /// Do not ask before discarding
    #[arg(long, requires = "discard")]
    yes: bool,
}

/// Why the device stays signed in.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// Something would be lost.
    #[error(
        "{unsent} not on the server{reason}: you are still logged in. Use --keep to keep everything here for the next \
         login of {email}, or --discard to lose it"
    )]
    Unsent {
        /// How much, with its verb.
        unsent: String,
        /// Why it was not sent, if it was tried.
        reason: String,
        /// Whose it is.
        email: String,
    },
    /// Nobody to ask.
    #[error("there is no terminal to ask on: say --discard --yes if all of it may go")]
    NobodyToAsk,
    /// The answer was not yes.
    #[error("nothing was discarded, and nothing has changed")]
    NotConfirmed,
}

/// Logs out.
///
/// # Errors
/// [`Refusal`] where something would be lost.
pub fn run(how: &How, home: &Home, mut store: Store, out: &mut Out) -> Result<(), Refusal> {
    let identity = store.identity()?.ok_or(ServerError::NoAccount)?;
    if store.is_locked()? {
        return discard_locked(how.yes, &identity.email, home, store, out);
    }
    if how.discard {
        confirm(how.yes, unsent(&mut store)?, out)?;
    } else if !how.keep {
        let sent = runtime()?.block_on(sync::until_synced(&mut store));
        if let Err(error @ (ServerError::Lost | ServerError::Revoked | ServerError::AccountErased)) = sent {
            return Err(obeyed(error, home, store));
        }
        let unsent = unsent(&mut store)?;
        if unsent > 0 {
            let reason = sent.err().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(LogoutError::Unsent { unsent: count(unsent), reason, email: identity.email }.into());
        }
    }
    match runtime()?.block_on(devices::log_out(&mut store)) {
        Ok(()) => {}
        Err(error @ (ServerError::Lost | ServerError::AccountErased)) => return Err(obeyed(error, home, store)),
        Err(error) => {
            let told = format!("the server was not told ({error}); `fitme devices --revoke` on another device does it");
            out.say(WAITING, told)?;
        }
    }
    if how.keep {
        store.lock()?;
        let kept = format!("logged out; everything is kept here for the next login of {}", identity.email);
        out.say(GOOD, kept)?;
        return Ok(());
    }
    drop(store);
    home.empty()?;
    Ok(out.say(PLAIN, format!("{}; this home is empty", out.paint(GOOD, "logged out")))?)
}

/// Empties a home that was logged out with `--keep`, without its account: it may have been erased, and nobody can log in then.
fn discard_locked(yes: bool, email: &str, home: &Home, mut store: Store, out: &mut Out) -> Result<(), Refusal> {
    let records = store.status()?.records.iter().map(|(_, count)| count).sum();
    let (held, unsent) = (describe::count(records, "record"), unsent(&mut store)?);
    let lost =
        format!("this home holds {held} of {email}; {} not on the server and will be lost for ever", count(unsent));
    out.say(if unsent > 0 { WAITING } else { FAINT }, lost)?;
    out.say(FAINT, "the rest is on the server, unless the account was erased")?;
    ask(yes, out)?;
    drop(store);
    home.empty()?;
    Ok(out.say(GOOD, "this home is empty")?)
}

/// A device that was reported lost, or whose account was erased, keeps nothing, also what it did not send; one that was
/// revoked shows nothing.
pub fn obeyed(error: ServerError, home: &Home, mut store: Store) -> Refusal {
    let done = if matches!(error, ServerError::Lost | ServerError::AccountErased) {
        drop(store);
        home.empty().map_err(Refusal::from)
    } else {
        store.lock().map_err(Refusal::from)
    };
    done.err().unwrap_or_else(|| error.into())
}

/// Changes that exist nowhere else, one's own and those for others: those that wait, and those that the server refused.
fn unsent(store: &mut Store) -> Result<u64, Refusal> {
    let status = store.status()?;
    Ok(status.pending + status.waiting + status.rejected + store.unsent_for_others()?)
}

fn count(changes: u64) -> String {
    if changes == 1 { "1 change is".to_owned() } else { format!("{changes} changes are") }
}

fn confirm(yes: bool, unsent: u64, out: &mut Out) -> Result<(), Refusal> {
    let lost = format!("{} not on the server and will be lost for ever", count(unsent));
    out.say(if unsent > 0 { WAITING } else { FAINT }, lost)?;
    if unsent == 0 { Ok(()) } else { ask(yes, out) }
}

fn ask(yes: bool, out: &mut Out) -> Result<(), Refusal> {
    out.flush()?;
    if yes {
        return Ok(());
    }
    match question::typed("Type yes to discard it: ")?.as_deref() {
        None => Err(LogoutError::NobodyToAsk.into()),
        Some("yes") => Ok(()),
        Some(_) => Err(LogoutError::NotConfirmed.into()),
    }
}
