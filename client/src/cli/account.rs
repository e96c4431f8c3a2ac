//! `fitme signup` and `fitme login`: the home gets an account, and what was logged until then comes along.

use std::io::{self, IsTerminal, Write};

use fitme_core::store::{AdoptionError, Store};

use super::out::{FAINT, GOOD, Out};
use super::{Refusal, runtime};
use crate::account::{self, Credentials};
use crate::device_key::DeviceKey;
use crate::error::ServerError;

/// Names the password, where a command line would show it to everybody.
pub const PASSWORD_VARIABLE: &str = "FITME_PASSWORD";
/// The same for the one that follows it.
pub const NEW_PASSWORD_VARIABLE: &str = "FITME_NEW_PASSWORD";
/// A line of standard input longer than this is no password.
const PASSWORD_BYTES: u64 = 4_096;

/// Which of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// A new account.
    SignUp,
    /// One that exists.
    LogIn,
}

/// Who signs up or logs in, and where.
#[derive(clap::Args)]
pub struct Who {
    /// The server, such as https://sync.example.org [default: the one this home knows]
    #[arg(long, value_name = "URL", env = "FITME_SERVER")]
    server: Option<String>,
    /// Your e-mail address
    #[arg(long)]
    email: String,
    /// Your password; - reads it from standard input. Better: FITME_PASSWORD, or leave it out to be asked
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// What this device is to be called [default: the name of the computer]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// At login, the code of your second factor or a recovery code, where the account asks for one
    #[arg(long)]
    code: Option<String>,
}

/// Who signs up.
#[derive(Debug, clap::Args)]
pub struct NewAccount {
    #[command(flatten)]
    who: Who,
    /// What you are: member, trainer or nutritionist [default: member]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

/// The password must not reach a log.
impl std::fmt::Debug for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Who").field("server", &self.server).finish_non_exhaustive()
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
    run(Intent::SignUp, new.who, new.role, store, out)
}

/// Logs in with an account that exists.
///
/// # Errors
/// [`Refusal`] from the server, or where the home belongs to another account.
pub fn log_in(who: Who, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    run(Intent::LogIn, who, None, store, out)
}

fn run(intent: Intent, who: Who, role: Option<String>, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let known = store.identity()?;
    if let (Intent::SignUp, Some(known)) = (intent, &known) {
        // Before the server hears of it: an account that no home takes would be left there.
        return Err(ServerError::from(AdoptionError::OtherAccount { email: known.email.clone() }).into());
    }
    let device = known.as_ref().map(|known| known.device);
    let (known_server, known_name) = known.map(|known| (known.server, known.device_name)).unzip();
    let server = who.server.or(known_server).ok_or(Refusal::NoServer)?;
    let asked = match intent {
        Intent::SignUp => Secret::New { variable: PASSWORD_VARIABLE },
        Intent::LogIn => Secret::Known,
    };
    let credentials = Credentials {
        email: who.email,
        password: secret(who.password.as_deref(), asked)?,
        role,
        device_name: who.device.or(known_name).unwrap_or_else(device_name),
        device,
        public_key: Some(DeviceKey::of(store)?.public()),
        code: who.code,
    };
    let adoption = runtime()?.block_on(async {
        match intent {
            Intent::SignUp => account::sign_up(&server, &credentials).await,
            Intent::LogIn => account::log_in(&server, &credentials).await,
        }
    })?;
    store.adopt(&adoption, &mut rand::rng()).map_err(ServerError::from)?;
    let identity = &adoption.identity;
    let done = if intent == Intent::SignUp { "signed up" } else { "logged in" };
    writeln!(out, "{} as {}, this device is “{}”", out.paint(GOOD, done), identity.email, identity.device_name)?;
    if intent == Intent::SignUp {
        let confirm =
            format!("a mail to {} brings a token: `fitme confirm TOKEN` confirms the address", identity.email);
        out.say(FAINT, confirm)?;
    }
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
pub fn secret(given: Option<&str>, which: Secret) -> Result<String, PasswordError> {
    let variable = match which {
        Secret::Known => PASSWORD_VARIABLE,
        Secret::New { variable } => variable,
    };
    let password = match given {
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
