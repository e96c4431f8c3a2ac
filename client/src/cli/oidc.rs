//! `fitme login --oidc` and `fitme link`: the person signs in with a browser.

use std::io::Write;

use fitme_core::store::{Adoption, Store};

use super::account::{Secret, Typed, secret};
use super::out::{FAINT, GOOD, Out, PLAIN};
use super::{Refusal, runtime};
use crate::account::Joining;
use crate::error::ServerError;
use crate::oidc::Waiting;

/// How to link this account with an identity at the server's sign-in provider.
#[derive(Debug, clap::Args)]
pub struct Link {
    /// Your password; - reads it from standard input. Better: FITME_PASSWORD, or leave it out to be asked
    #[arg(long)]
    password: Option<Typed>,
}

/// Signs this device in by the provider of `server`.
///
/// # Errors
/// [`Refusal`] where nobody signs in, or the server refuses.
pub fn sign_in(server: &str, joining: &Joining, out: &mut Out) -> Result<Adoption, Refusal> {
    runtime()?.block_on(async {
        let waiting = Waiting::to_sign_in(server).await?;
        show(&waiting, out)?;
        Ok(waiting.sign_in(server, joining).await?)
    })
}

/// Lets this home's account be entered through the provider as well.
///
/// # Errors
/// [`Refusal`] where nobody signs in, or the server refuses.
pub fn link(how: &Link, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let identity = store.identity()?.ok_or(ServerError::NoAccount)?;
    let password = secret(how.password.as_ref(), Secret::Known)?;
    runtime()?.block_on(async {
        let waiting = Waiting::to_link(store, &password).await?;
        show(&waiting, out)?;
        Ok::<_, Refusal>(waiting.link(store).await?)
    })?;
    let by = "from now on `fitme login --oidc` enters it as well";
    out.say(PLAIN, format!("{} with {}", out.paint(GOOD, "linked"), identity.email))?;
    out.say(FAINT, by)?;
    Ok(())
}

/// A person who waits must see it now.
fn show(waiting: &Waiting, out: &mut Out) -> Result<(), Refusal> {
    out.say(PLAIN, "open this address in a browser of this computer, and sign in there:")?;
    writeln!(out, "{}", waiting.url())?;
    Ok(out.flush()?)
}
