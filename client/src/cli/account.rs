//! `fitme signup` and `fitme login`: the home gets an account, and what was logged until then comes along.

use std::io::{self, IsTerminal};

use fitme_core::store::{Adoption, AdoptionError, Identity, Store};

use super::out::{FAINT, GOOD, Out, PLAIN};
use super::services::{self, AtSignUp};
use super::{Refusal, oidc, runtime};
use crate::account::{self, Credentials, Joining};
use crate::device_key::DeviceKey;
use crate::error::ServerError;

/// Names the password, where a command line would show it to everybody.
const PASSWORD_VARIABLE: &str = "FITME_PASSWORD";
/// The same for the one that follows it.
const NEW_PASSWORD_VARIABLE: &str = "FITME_NEW_PASSWORD";
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
    #[error("there is no password and no terminal to ask on: set {0}")]
    Nowhere(&'static str),
    /// The same for a command that takes one.
    #[error("there is no password and no terminal to ask on: set {PASSWORD_VARIABLE}, or pipe it in with --password -")]
    NotGiven,
    /// The two that were typed differ.
    #[error("the two passwords differ: nothing was changed, try again")]
    Differ,
    /// An empty one.
    #[error("the password is empty: nothing was changed")]
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
    let password = secret(new.password.as_ref(), Secret::First)?;
    let credentials = Credentials { email: new.email, password, role: new.role, joining };
    let adoption = runtime()?.block_on(account::sign_up(&server, &credentials))?;
    adopt(&adoption, "signed up", store, out)?;
    let email = &adoption.identity.email;
    let confirm = format!("a mail to {email} brings a token: `fitme confirm TOKEN` confirms the address");
    out.say(FAINT, confirm)?;
    tell_pending(store, out)?;
    services::at_sign_up(&new.services, store, out)
}

/// Logs in with an account that exists; the provider's person may get one.
///
/// # Errors
/// [`Refusal`] from the server, or where the home belongs to another account.
pub fn log_in(login: Login, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let (server, joining) = joining(login.place, login.code, store)?;
    let (wanted, keeps) = (joining.device_name.clone(), joining.keep_name);
    let adoption = match login.email {
        Some(email) => {
            let password = secret(login.password.as_ref(), Secret::Known)?;
            let credentials = Credentials { email, password, role: None, joining };
            runtime()?.block_on(account::log_in(&server, &credentials))?
        }
        None => oidc::sign_in(&server, &joining, out)?,
    };
    adopt(&adoption, "logged in", store, out)?;
    if adoption.identity.device_name != wanted && !keeps {
        let hint = format!("another device is called “{wanted}”; `fitme devices --rename` gives one another name");
        out.say(FAINT, hint)?;
    }
    tell_pending(store, out)
}

/// The server that is meant, and this device as it joins an account there.
fn joining(place: Place, code: Option<String>, store: &mut Store) -> Result<(String, Joining), Refusal> {
    let known = store.identity()?;
    let device = known.as_ref().map(|known| known.device);
    let (known_server, known_name) = known.map(|known| (known.server, known.device_name)).unzip();
    let server = place.server.or(known_server).ok_or(Refusal::NoServer)?;
    let keep_name = device.is_some() && place.device.is_none();
    let device_name = place.device.or(known_name).unwrap_or_else(device_name);
    let public_key = Some(DeviceKey::of(store)?.public());
    Ok((server, Joining { device_name, keep_name, device, public_key, code }))
}

fn adopt(adoption: &Adoption, done: &str, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    store.adopt(adoption, &mut rand::rng()).map_err(ServerError::from)?;
    let identity = &adoption.identity;
    let Identity { email, device_name, .. } = identity;
    Ok(out.say(PLAIN, format!("{} as {email}, this device is “{device_name}”", out.paint(GOOD, done)))?)
}

fn tell_pending(store: &Store, out: &mut Out) -> Result<(), Refusal> {
    let waiting = match store.status()?.pending {
        0 => return Ok(()),
        1 => "1 change from before goes".to_owned(),
        pending => format!("{pending} changes from before go"),
    };
    Ok(out.say(PLAIN, format!("{waiting} to the server with the next `fitme sync`"))?)
}

/// Which password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// The account's.
    Known,
    /// The account's, of a command that does not take it as an option: it changes what that password protects.
    Current,
    /// The one of an account that is made now: a slip in it would lock its owner out, so it is asked for twice.
    First,
    /// The one that follows the account's; asked for twice as well.
    Next,
}

impl Secret {
    fn variable(self) -> &'static str {
        if self == Self::Next { NEW_PASSWORD_VARIABLE } else { PASSWORD_VARIABLE }
    }

    /// Why there is none where nobody can be asked.
    fn nowhere(self) -> PasswordError {
        match self {
            Self::Known | Self::First => PasswordError::NotGiven,
            Self::Current | Self::Next => PasswordError::Nowhere(self.variable()),
        }
    }
}

/// A password: as it was given, else from the environment, else asked for.
///
/// # Errors
/// [`PasswordError`] where there is none.
pub fn secret(given: Option<&Typed>, which: Secret) -> Result<String, PasswordError> {
    let password = match given.map(|typed| typed.0.as_str()) {
        Some("-") => from_stdin()?,
        Some(password) => password.to_owned(),
        None => match std::env::var(which.variable()) {
            Ok(password) => password,
            Err(_) => asked(which)?,
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

fn asked(which: Secret) -> Result<String, PasswordError> {
    if !io::stdin().is_terminal() {
        return Err(which.nowhere());
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(PasswordError::Unreadable);
    let password = match which {
        Secret::Known => return ask("Password: "),
        Secret::Current => return ask("Current password: "),
        Secret::First => ask("Choose a password: ")?,
        Secret::Next => ask("New password: ")?,
    };
    if ask("The same once more: ")? == password { Ok(password) } else { Err(PasswordError::Differ) }
}

fn device_name() -> String {
    let of_system = || std::fs::read_to_string("/etc/hostname").ok();
    let name = ["HOSTNAME", "COMPUTERNAME"].into_iter().find_map(|name| std::env::var(name).ok()).or_else(of_system);
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "computer".to_owned())
}
