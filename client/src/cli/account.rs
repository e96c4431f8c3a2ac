//! `fitme signup` and `fitme login`: the home gets an account, and what was logged until then comes along.

use std::io::{self, IsTerminal, Write};

use fitme_core::store::{Adoption, AdoptionError, Store};

use super::out::{FAINT, GOOD, Out};
use super::services::{self, AtSignUp};
use super::{Refusal, oidc, runtime};
use crate::account::{self, Credentials, Joining};
use crate::device_key::DeviceKey;
use crate::error::ServerError;

/// Names the password, where a command line would show it to everybody.
pub const PASSWORD_VARIABLE: &str = "FITME_PASSWORD";
/// The same for the one that follows it.
pub const NEW_PASSWORD_VARIABLE: &str = "FITME_NEW_PASSWORD";
/// A line of standard input longer than this is no password.
const PASSWORD_BYTES: u64 = 4_096;

/// The device, and the server that it signs in at.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The server, such as https://sync.example.org [default: the one this home knows]
    #[arg(long, value_name = "URL", env = "FITME_SERVER")]
    server: Option<String>,
    /// What this device is to be called [default: the name of the computer]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Who signs up.
#[derive(Debug, clap::Args)]
pub struct NewAccount {
    #[command(flatten)]
    place: Place,
    /// Your e-mail address
    #[arg(long)]
    email: String,
    /// Your password; - reads it from standard input. Better: FITME_PASSWORD, or leave it out to be asked
    #[arg(long)]
    password: Option<Typed>,
    /// What you are: member, trainer or nutritionist [default: member]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    #[command(flatten)]
    services: AtSignUp,
}

/// Who logs in.
#[derive(Debug, clap::Args)]
pub struct Login {
    #[command(flatten)]
    place: Place,
    /// Your e-mail address
    #[arg(long, required_unless_present = "oidc")]
    email: Option<String>,
    /// Your password; - reads it from standard input. Better: FITME_PASSWORD, or leave it out to be asked
    #[arg(long)]
    password: Option<Typed>,
    /// The code of your second factor or a recovery code, where the account asks for one
    #[arg(long)]
    code: Option<String>,
    /// By the server's sign-in provider instead of a password, with a browser; makes an account where there is none
    #[arg(long, conflicts_with_all = ["email", "password"])]
    oidc: bool,
}

/// A password as it was typed: it is never printed.
#[derive(Clone)]
pub struct Typed(String);

impl std::str::FromStr for Typed {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed(hidden)")
    }
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Nobody to ask.
    #[error("there is no password and no terminal to ask on: set {0}, or pipe it in with --password -")]
    Nowhere(&'static str),
    /// The two that were typed differ.
    #[error("the two passwords differ: nothing was sent, try again")]
    Differ,
    /// An empty one.
    #[error("the password is empty: nothing was sent")]
    Empty,
    /// It cannot be read.
    #[error("the password cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Makes an account, and gives it the home.
///
/// # Errors
/// [`Refusal`] from the server, or where the home belongs to another account.
pub fn sign_up(new: NewAccount, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    if let Some(known) = store.identity()? {
        // Before the server hears of it: an account that no home takes would be left there.
        return Err(ServerError::from(AdoptionError::OtherAccount { email: known.email }).into());
    }
    let (server, joining) = joining(new.place, None, store)?;
    let password = secret(new.password.as_ref(), Secret::New { variable: PASSWORD_VARIABLE })?;
    let credentials = Credentials { email: new.email, password, role: new.role, joining };
    let adoption = runtime()?.block_on(account::sign_up(&server, &credentials))?;
    adopt(&adoption, "signed up", store, out)?;
    let email = &adoption.identity.email;
    let confirm = format!("a mail to {email} brings a token: `fitme confirm TOKEN` confirms the address");
    out.say(FAINT, confirm)?;
    services::at_sign_up(&new.services, store, out)?;
    tell_pending(store, out)
}

/// Logs in with an account that exists; the provider's person may get one.
///
/// # Errors
/// [`Refusal`] from the server, or where the home belongs to another account.
pub fn log_in(login: Login, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let (server, joining) = joining(login.place, login.code, store)?;
    let adoption = match login.email {
        Some(email) => {
            let password = secret(login.password.as_ref(), Secret::Known)?;
            let credentials = Credentials { email, password, role: None, joining };
            runtime()?.block_on(account::log_in(&server, &credentials))?
        }
        None => oidc::sign_in(&server, &joining, out)?,
    };
    adopt(&adoption, "logged in", store, out)?;
    tell_pending(store, out)
}

/// The server that is meant, and this device as it joins an account there.
fn joining(place: Place, code: Option<String>, store: &mut Store) -> Result<(String, Joining), Refusal> {
    let known = store.identity()?;
    let device = known.as_ref().map(|known| known.device);
    let (known_server, known_name) = known.map(|known| (known.server, known.device_name)).unzip();
    let server = place.server.or(known_server).ok_or(Refusal::NoServer)?;
    let device_name = place.device.or(known_name).unwrap_or_else(device_name);
    let public_key = Some(DeviceKey::of(store)?.public());
    Ok((server, Joining { device_name, device, public_key, code }))
}

fn adopt(adoption: &Adoption, done: &str, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    store.adopt(adoption, &mut rand::rng()).map_err(ServerError::from)?;
    let identity = &adoption.identity;
    writeln!(out, "{} as {}, this device is “{}”", out.paint(GOOD, done), identity.email, identity.device_name)?;
    Ok(())
}

fn tell_pending(store: &Store, out: &mut Out) -> Result<(), Refusal> {
    match store.status()?.pending {
        0 => {}
        1 => writeln!(out, "1 change from before goes to the server with the next `fitme sync`")?,
        pending => writeln!(out, "{pending} changes from before go to the server with the next `fitme sync`")?,
    }
    Ok(())
}

/// Which password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// The account's.
    Known,
    /// One that is chosen now: a slip in it would lock its owner out, so it is asked for twice.
    New {
        /// Names it in the environment.
        variable: &'static str,
    },
}

/// A password: as it was given, else from the environment, else asked for.
///
/// # Errors
/// [`PasswordError`] where there is none.
pub fn secret(given: Option<&Typed>, which: Secret) -> Result<String, PasswordError> {
    let variable = match which {
        Secret::Known => PASSWORD_VARIABLE,
        Secret::New { variable } => variable,
    };
    let password = match given.map(|typed| typed.0.as_str()) {
        Some("-") => from_stdin()?,
        Some(password) => password.to_owned(),
        None => match std::env::var(variable) {
            Ok(password) => password,
            Err(_) => asked(which, variable)?,
        },
    };
    if password.is_empty() { Err(PasswordError::Empty) } else { Ok(password) }
}

/// One line; `echo secret | fitme …` ends it with a line feed that is no part of it.
fn from_stdin() -> Result<String, PasswordError> {
    use std::io::{BufRead, Read};
    let mut line = String::new();
    io::stdin().lock().take(PASSWORD_BYTES).read_line(&mut line).map_err(PasswordError::Unreadable)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn asked(which: Secret, variable: &'static str) -> Result<String, PasswordError> {
    if !io::stdin().is_terminal() {
        return Err(PasswordError::Nowhere(variable));
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(PasswordError::Unreadable);
    if which == Secret::Known {
        return ask("Password: ");
    }
    let password = ask("New password: ")?;
    if ask("Once more: ")? != password {
        return Err(PasswordError::Differ);
    }
    Ok(password)
}

fn device_name() -> String {
    let of_system = || std::fs::read_to_string("/etc/hostname").ok();
    let name = ["HOSTNAME", "COMPUTERNAME"].into_iter().find_map(|name| std::env::var(name).ok()).or_else(of_system);
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "computer".to_owned())
}
