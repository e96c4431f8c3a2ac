//! `fitme confirm`, `password` and `totp`: the account's address, its password and its second factor.

use std::io::Write;

use fitme_core::store::Store;

use super::account::{Secret, secret};
use super::out::{FAINT, GOOD, Out, PLAIN, STRONG};
use super::{Refusal, runtime};
use crate::recovery;

/// A token that came by mail.
#[derive(Debug, clap::Args)]
pub struct Confirm {
    /// The token; it may begin with a hyphen
    #[arg(allow_hyphen_values = true)]
    token: String,
    /// The server [default: the one this home knows]
    #[arg(long, value_name = "URL", env = "FITME_SERVER")]
    server: Option<String>,
}

/// How to choose a new password.
#[derive(Debug, clap::Args)]
pub struct Password {
    /// Have a token mailed, because the password is forgotten
    #[arg(long, requires = "email", conflicts_with = "token")]
    forgotten: bool,
    /// Whose password is forgotten
    #[arg(long, requires = "forgotten")]
    email: Option<String>,
    /// The token that came by mail; every device is signed out
    #[arg(long, allow_hyphen_values = true)]
    token: Option<String>,
    /// The server [default: the one this home knows]
    #[arg(long, value_name = "URL", env = "FITME_SERVER")]
    server: Option<String>,
}

/// What to do with the second factor.
#[derive(Debug, clap::Subcommand)]
pub enum Totp {
    /// Show the secret for the app that makes codes
    On,
    /// Turn it on with the first code of the app, and get recovery codes
    Confirm {
        /// Six digits
        code: String,
    },
    /// Turn it off
    Off {
        /// A code of the app, or a recovery code
        code: String,
    },
}

/// Confirms the account's address.
///
/// # Errors
/// [`Refusal`] from the server.
pub fn confirm(confirm: Confirm, store: &Store, out: &mut Out) -> Result<(), Refusal> {
    let server = server(confirm.server, store)?;
    let email = runtime()?.block_on(recovery::confirm(&server, &confirm.token))?;
    let whose = email.map_or_else(|| "the address is".to_owned(), |email| format!("{email} is"));
    Ok(out.say(GOOD, format!("{whose} confirmed"))?)
}

/// Changes the password, or brings a forgotten one back.
///
/// # Errors
/// [`Refusal`] from the server, or where there is no password to send.
pub fn password(how: Password, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    if let Some(email) = how.email {
        let server = server(how.server, store)?;
        runtime()?.block_on(recovery::forgot_password(&server, &email))?;
        let sent = format!("if {email} has an account, a token is on its way by mail; it is good for an hour");
        return Ok(out.say(PLAIN, sent)?);
    }
    if let Some(token) = how.token {
        let server = server(how.server, store)?;
        let new = secret(None, Secret::Next)?;
        runtime()?.block_on(recovery::reset_password(&server, &token, &new))?;
        return say_changed("every device", out);
    }
    let old = secret(None, Secret::Current)?;
    let new = secret(None, Secret::Next)?;
    runtime()?.block_on(recovery::change_password(store, &old, &new))?;
    say_changed("every other device", out)
}

fn say_changed(who: &str, out: &mut Out) -> Result<(), Refusal> {
    Ok(out.say(PLAIN, format!("{}; {who} has to log in again", out.paint(GOOD, "password changed")))?)
}

/// Turns the second factor on or off.
///
/// # Errors
/// [`Refusal`] from the server.
pub fn totp(what: Totp, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    match what {
        Totp::On => {
            let factor = runtime()?.block_on(recovery::begin_totp(store))?;
            out.say(PLAIN, "enter this secret into an app that makes codes, or the link as a QR code:")?;
            // Both are copied: neither is broken.
            writeln!(out, "{}\n{}", out.paint(STRONG, factor.secret), out.paint(FAINT, factor.uri))?;
            let next = "logins ask for codes once `fitme totp confirm CODE` was given the first one";
            out.say(PLAIN, next)?;
        }
        Totp::Confirm { code } => {
            let codes = runtime()?.block_on(recovery::confirm_totp(store, &code))?;
            let now = out.paint(GOOD, "logins need a code from now on");
            let why = "keep these recovery codes for when the app is gone, each stands in for a code once:";
            out.say(PLAIN, format!("{now}; {why}"))?;
            for code in codes {
                writeln!(out, "  {}", out.paint(STRONG, code))?;
            }
        }
        Totp::Off { code } => {
            runtime()?.block_on(recovery::end_totp(store, &code))?;
            out.say(GOOD, "logins need no code any more")?;
        }
    }
    Ok(())
}

fn server(given: Option<String>, store: &Store) -> Result<String, Refusal> {
    let known = store.identity()?.map(|identity| identity.server);
    given.or(known).ok_or(Refusal::NoServer)
}
