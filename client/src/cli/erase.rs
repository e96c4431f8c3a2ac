//! `fitme erase`: records are deleted for good; or the whole account is.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use fitme_core::store::{Command, Store};

use super::account::{Secret, secret};
use super::describe::number;
use super::out::{FAINT, GOOD, Out, PLAIN, WAITING};
use super::{Refusal, edit, pick, question, runtime, when};
use crate::clock::now_ms;
use crate::erase::{self, Receipt};
use crate::error::ServerError;
use crate::home::Home;

/// What is to be deleted.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Which records
    #[arg(required_unless_present = "account", conflicts_with = "account", value_name = "ID")]
    ids: Vec<String>,
    /// Do not ask
    #[arg(long, conflicts_with = "account")]
    yes: bool,
    /// Everything: the account, its records and devices; it asks for your password and address
    #[arg(long)]
    pub account: bool,
    /// The account's address, instead of being asked for it
    #[arg(long, value_name = "ADDRESS", requires = "account")]
    email: Option<String>,
    /// The code of your second factor or a recovery code, where the account asks for one
    #[arg(long, requires = "account")]
    code: Option<String>,
    /// Save the receipt of what was removed where, as JSON
    #[arg(long, value_name = "FILE", requires = "account")]
    receipt: Option<PathBuf>,
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
    /// Nobody to ask for the address.
    #[error("there is no terminal to ask on: name the account to erase with --email ADDRESS")]
    NoAddress,
    /// Another address than the account's.
    #[error("this is not the address of the account in this home: nothing was erased")]
    OtherAddress,
    /// The receipt has no place.
    #[error("the receipt cannot be saved as {}, so nothing was erased: {reason}", file.display())]
    NoReceipt {
        /// Where it was to be.
        file: PathBuf,
        /// What the file system says.
        reason: io::Error,
    },
}

/// Deletes records for good, after asking.
///
/// # Errors
/// [`Refusal`] where one is not here, or the answer was no; those before a refused one are gone then.
pub fn run(what: &What, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let records: Vec<_> = what.ids.iter().map(|id| pick::record(store, id)).collect::<Result<_, _>>()?;
    for doc_id in &records {
        let line = edit::line(store, *doc_id, out)?;
        out.say(PLAIN, format!("{} {line}", out.paint(WAITING, "erase for good:")))?;
    }
    out.flush()?;
    confirm(what.yes)?;
    for doc_id in &records {
        store.write(&Command::Erase { doc_id: *doc_id }, now_ms(), &mut rand::rng())?;
        out.say(PLAIN, format!("{} {}", out.paint(GOOD, "erased"), pick::short(*doc_id)))?;
    }
    if store.identity()?.is_some() {
        let hint =
            "the server and your other devices erase it with their next sync; backups keep it until they age out";
        out.say(FAINT, hint)?;
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

/// Erases the account on the server, prints the receipt and empties the home.
///
/// # Errors
/// [`Refusal`] where address or password are not the account's, or the server refuses; then nothing was erased.
pub fn account(what: &What, home: &Home, mut store: Store, out: &mut Out) -> Result<(), Refusal> {
    let identity = store.identity()?.ok_or(ServerError::NoAccount)?;
    let email = match &what.email {
        Some(email) => email.clone(),
        None => question::typed("All records of the account go, everywhere, for good. Type its address to erase it: ")?
            .ok_or(EraseError::NoAddress)?,
    };
    if !email.trim().eq_ignore_ascii_case(&identity.email) {
        return Err(EraseError::OtherAddress.into());
    }
    // Before the server hears of it: a receipt exists once.
    let file = what.receipt.as_ref().map(|file| {
        let taken = |reason| EraseError::NoReceipt { file: file.clone(), reason };
        File::create_new(file).map_err(taken)
    });
    let file = file.transpose()?;
    let asked = secret(None, Secret::Current).map_err(Refusal::from).and_then(|password| {
        Ok(runtime()?.block_on(erase::account(&mut store, &email, &password, what.code.as_deref()))?)
    });
    let receipt = asked.inspect_err(|_| {
        if let Some(file) = &what.receipt {
            // Else it would be in the way of the next try.
            let _it_is_empty = std::fs::remove_file(file);
        }
    })?;
    // First of all: nothing that fails afterwards keeps the records here.
    drop(store);
    home.empty()?;
    print(&receipt, out)?;
    if let Some(mut file) = file {
        file.write_all(serde_json::to_string_pretty(&receipt).unwrap_or_default().as_bytes())?;
    }
    Ok(out.say(PLAIN, format!("{}; this home is empty", out.paint(GOOD, "account erased")))?)
}

fn print(receipt: &Receipt, out: &mut Out) -> io::Result<()> {
    out.say(PLAIN, format!("account {}, erased {}", receipt.account, when::show(receipt.erased_at, None).trim()))?;
    for removed in &receipt.removed {
        writeln!(out, "  {:>10}  {}", number(removed.rows as f64, 0), removed.table)?;
    }
    let devices = number(receipt.devices as f64, 0);
    out.say(PLAIN, format!("devices, which empty themselves when they next reach the server: {devices}"))?;
    out.say(PLAIN, format!("people from whose devices it goes: {}", number(receipt.shared_with as f64, 0)))?;
    out.say(PLAIN, format!("backups may hold it until {}", when::show(receipt.backups_until, None).trim()))?;
    for stays in &receipt.stays {
        out.say(FAINT, format!("what stays: {stays}"))?;
    }
    Ok(())
}
