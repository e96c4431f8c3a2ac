//! What the command line does about a home whose file is damaged: it saves what only this device has, puts the file aside, and
//! says what became of it.

use std::io::{self, Write};

use fitme_core::store::{Salvaged, Store, StoreError, WriteError};

use super::describe::count;
use super::out::Out;
use super::{Refusal, WRITER};
use crate::clock::now_ms;
use crate::home::Home;

/// The home's store; a new one where the old one cannot even be opened.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn opened(home: &Home, out: &mut Out) -> Result<Store, Refusal> {
    match home.store(WRITER, &mut rand::rng()) {
        Err(StoreError::Broken(_)) => {
            replace(home, out)?;
            Ok(home.store(WRITER, &mut rand::rng())?)
        }
        opened => Ok(opened?),
    }
}

/// Whether a command failed because stored bytes are not what was stored.
pub fn is_of_damage(refusal: &Refusal, store: &Store) -> bool {
    let error = match refusal {
        Refusal::Store(error) | Refusal::Write(WriteError::Store(error)) => error,
        Refusal::Server(error) => match error.of_store() {
            Some(error) => error,
            None => return false,
        },
        _ => return false,
    };
    match error {
        StoreError::Broken(_) => true,
        StoreError::Damaged { doc_id, .. } => store.is_spoilt(*doc_id).unwrap_or(true),
        _ => false,
    }
}

/// Makes a new store of the damaged one and tells of it, on standard error: what a command prints may be read by a program.
///
/// # Errors
/// [`Refusal`] where the file system refuses.
pub fn replace(home: &Home, out: &mut Out) -> Result<(), Refusal> {
    let salvaged = home.salvage(WRITER, now_ms(), &mut rand::rng())?;
    out.flush()?;
    let _nobody_to_tell = writeln!(io::stderr(), "fitme: {}", tell(&salvaged));
    Ok(())
}

fn tell(salvaged: &Salvaged) -> String {
    let Salvaged { aside, saved, lost, is_complete, has_account } = salvaged;
    let aside = aside.display();
    let mut told = format!("the file of this home was damaged; it is kept as {aside}, and a new one was made");
    let records = count(saved.len() as u64, "record");
    told += &match saved.len() {
        0 => "; nothing that waited to be sent could be read, or nothing waited".to_owned(),
        _ => format!("; {records} with changes that only this device had were saved and wait to be sent"),
    };
    if *lost > 0 {
        told += &format!(
            "; {} that only this device had could not be saved: see `fitme rejected`",
            count(*lost as u64, "change")
        );
    }
    if !is_complete {
        told += "; the list of what waited could not be read to its end, so there may have been more";
    }
    told += match has_account {
        true => "; everything else comes from the server at the next `fitme sync`",
        false => "; use `fitme login` to fetch from the server what it has",
    };
    told
}
