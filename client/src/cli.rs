//! The command line client `fitme`: a real edge device that people, scripts and tests drive. Everything but the
//! account, its devices and `sync` works with no network and before there is an account. docs/cli.md shows it at work.
//!
//! Exit codes: 0 done, 1 refused with one sentence on standard error, 2 not understood.

mod access_log;
mod account;
mod archive;
mod consent;
mod describe;
mod devices;
mod edit;
mod erase;
mod import;
mod input;
mod json;
mod list;
mod log;
mod logout;
mod notation;
mod oidc;
mod out;
mod pick;
mod question;
mod recovery;
mod rejected;
mod salvage;
mod services;
mod show;
mod status;
mod sync;
mod when;

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use fitme_core::store::{Store, StoreError, WriteError};

use crate::archive::ArchiveError;
use crate::error::ServerError;
use crate::home::{Home, HomeError};
use out::Out;

/// The name under which this program writes into a home.
const WRITER: &str = "cli";
/// Says what to log of the program's own doings, such as `debug`; see the crate `tracing-subscriber`.
const LOG_VARIABLE: &str = "FITME_LOG";
/// Names a file to which the log is appended instead of standard error.
const LOG_FILE_VARIABLE: &str = "FITME_LOG_FILE";
/// A write was refused, a file was not imported, a server not reached.
const REFUSED: u8 = 1;
/// The arguments were not understood; clap exits with it as well.
const NOT_UNDERSTOOD: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  fitme log workout --title \"Push day\" --set \"Bench press 3x8x80kg@8\"
  fitme log workout --sport running --distance 10km --time 52:30 --start 7:10
  fitme log meal --kind lunch --item \"Oats 80g 300kcal 10p 54c 6f\"
  fitme log mood --valence 1 --energy 3 --tag sun
  fitme log measurement --weight 80.5kg
  fitme import ~/Downloads/*.fit
  fitme list workouts --since 7d
  fitme sync

An ID may be any start or end of a record's id, as `fitme list` shows it.";

/// Logs workouts, meals, moods and measurements: offline first, in sync when there is a network
#[derive(Debug, Parser)]
#[command(name = "fitme", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// Where this device keeps its data [default: the system's place for a user's data]
    #[arg(long, value_name = "DIR", env = crate::home::HOME_VARIABLE, global = true)]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an account; what is here already becomes its first data
    Signup(account::NewAccount),
    /// Give this home to an account that exists
    Login(account::Login),
    /// Let the server's sign-in provider enter your account beside the password
    Link(oidc::Link),
    /// Send what is new, then sign this device out and empty its home
    Logout(logout::How),
    /// List the account's devices, name them, and sign out those that are gone
    Devices(devices::What),
    /// Confirm your address by the token that came by mail
    Confirm(recovery::Confirm),
    /// Change your password, or choose a new one where it is forgotten
    Password(recovery::Password),
    /// Ask for a code at each login, or stop that
    #[command(subcommand)]
    Totp(recovery::Totp),
    /// Ask somebody to share with you what a trainer or another professional needs
    Invite(consent::Invitation),
    /// See what an invitation asks for, and share it
    Accept(consent::Acceptance),
    /// Let a service of the server see what it needs: insights or notifications
    Allow(services::Permission),
    /// List what you share, with whom and until when
    Grants {
        /// Also those that are over or revoked
        #[arg(long)]
        all: bool,
    },
    /// End what you share: one grant, or all of one person
    Revoke {
        /// A grant's id or the person's name, as `fitme grants` lists them
        #[arg(value_name = "ID|NAME")]
        whom: String,
    },
    /// List who shares something with you
    Clients,
    /// Show who read what of yours and when, and where your account was logged in
    AccessLog(access_log::Wanted),
    /// Log a workout, a meal, a mood, a measurement or your profile
    Log {
        #[command(subcommand)]
        log: log::Log,
        /// For somebody who lets you write there, as `fitme clients` lists them
        #[arg(long, value_name = "CLIENT", global = true)]
        r#for: Option<String>,
    },
    /// Change fields of a record
    Edit {
        /// Which record; profile is the profile
        id: String,
        /// The fields that change, as JSON, a file of it or - for standard input; null removes a field
        #[arg(long, value_name = "PATCH")]
        json: String,
        /// Of somebody who lets you write there, as `fitme clients` lists them
        #[arg(long, value_name = "CLIENT")]
        of: Option<String>,
    },
    /// Move records to the trash
    Trash {
        /// Which records
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Take a record out of the trash, or bring back an earlier state of it
    Restore {
        /// Which record
        id: String,
        /// The state to bring back, as `fitme show ID --history` lists it
        #[arg(long, value_name = "STATE")]
        to: Option<String>,
    },
    /// Delete records for good, here and on every device, or the whole account
    Erase(erase::What),
    /// List the records of a collection, latest first
    List(list::Wanted),
    /// Show all of one record
    Show {
        /// Which record; profile is the profile
        id: String,
        /// With every change it went through
        #[arg(long)]
        history: bool,
        /// As JSON, after docs/schema/records.schema.json
        #[arg(long)]
        json: bool,
        /// Of somebody who shares it with you, as `fitme clients` lists them
        #[arg(long, value_name = "CLIENT")]
        of: Option<String>,
    },
    /// Import activities of watches and bike computers (.fit)
    Import {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Write everything of the account into one file: JSON, CSV and the documents
    Export {
        /// A new file, such as fitme.zip
        file: PathBuf,
    },
    /// Make an equal account of an exported file
    ImportAccount {
        /// The file
        file: PathBuf,
        /// Also into a home that has other records: both are put together for good
        #[arg(long)]
        merge: bool,
    },
    /// Send what is new here, fetch what is new elsewhere
    Sync(sync::How),
    /// Show what the server refused, and why; write it again, or forget it
    Rejected(rejected::Wanted),
    /// Show the account, what waits and what is here
    Status {
        /// As JSON, after docs/schema/status.schema.json
        #[arg(long)]
        json: bool,
    },
}

/// Why a command was not carried out, in one sentence.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Pick(#[from] pick::PickError),
    #[error(transparent)]
    Input(#[from] input::InputError),
    #[error(transparent)]
    Password(#[from] account::PasswordError),
    #[error(transparent)]
    Device(#[from] devices::DeviceError),
    #[error(transparent)]
    Logout(#[from] logout::LogoutError),
    #[error(transparent)]
    Erase(#[from] erase::EraseError),
    #[error(transparent)]
    Rejected(#[from] rejected::NotListed),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the file of this home was damaged and is replaced, see above; nothing else was done: try again")]
    Salvaged,
    #[error("this home is locked: use `fitme login --email {0}` to open it, or `fitme logout --discard` to empty it")]
    Locked(String),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Import(#[from] archive::ImportError),
    #[error(transparent)]
    Consent(#[from] consent::ConsentError),
    #[error("say with --server URL which server")]
    NoServer,
    #[error("{refused} of {files} files were not imported")]
    Files { refused: usize, files: usize },
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Runs `fitme` with the arguments of this process.
pub fn main() -> ExitCode {
    let Arguments { home, command } = Arguments::parse();
    let Some(command) = command else {
        let _nobody_to_tell = write!(io::stderr(), "{}", Arguments::command().render_help());
        return ExitCode::from(NOT_UNDERSTOOD);
    };
    tell_log();
    let mut out = Out::new();
    let done = run(home, command, &mut out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `fitme list | head`: the reader has enough.
        Err(Refusal::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(refusal) => {
            // What was done before the refusal is shown before it.
            let _reader_may_be_gone = out.flush();
            out::complain(refusal);
            ExitCode::from(REFUSED)
        }
    }
}

fn run(home: Option<PathBuf>, command: Command, out: &mut Out) -> Result<(), Refusal> {
    let home = Home::open(home)?;
    let mut store = salvage::opened(&home, out)?;
    let opens = match &command {
        Command::Login(_) | Command::Password(_) | Command::Status { .. } => true,
        Command::Logout(how) => how.discard,
        _ => false,
    };
    if let Some(identity) = store.identity()?.filter(|_| !opens)
        && store.is_locked()?
    {
        return Err(Refusal::Locked(identity.email));
    }
    match command {
        Command::Logout(how) => return logout::run(&how, &home, store, out),
        Command::Erase(what) if what.account => return erase::account(&what, &home, store, out),
        _ => {}
    }
    match carry_out(command, &home, &mut store, out) {
        Err(Refusal::Server(error @ (ServerError::Revoked | ServerError::Lost | ServerError::AccountErased))) => {
            Err(logout::obeyed(error, &home, store))
        }
        Err(refusal) if salvage::is_of_damage(&refusal, &store) => {
            drop(store);
            salvage::replace(&home, out)?;
            Err(Refusal::Salvaged)
        }
        done => done,
    }
}

fn carry_out(command: Command, home: &Home, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    match command {
        Command::Signup(new) => account::sign_up(new, store, out),
        Command::Login(login) => account::log_in(login, store, out),
        Command::Link(how) => oidc::link(&how, store, out),
        // It takes the store away, see above.
        Command::Logout(_) => Ok(()),
        Command::Devices(what) => devices::run(&what, store, out),
        Command::Confirm(what) => recovery::confirm(what, store, out),
        Command::Password(how) => recovery::password(how, store, out),
        Command::Totp(what) => recovery::totp(what, store, out),
        Command::Invite(invitation) => consent::invite(invitation, store, out),
        Command::Accept(acceptance) => consent::accept(&acceptance, store, out),
        Command::Allow(permission) => services::allow(&permission, store, out),
        Command::Grants { all } => consent::grants(all, store, out),
        Command::Revoke { whom } => consent::revoke(&whom, store, out),
        Command::Clients => consent::clients(store, out),
        Command::AccessLog(wanted) => access_log::run(&wanted, store, out),
        Command::Log { log, r#for } => {
            let whose = r#for.map(|whom| consent::client(store, &whom)).transpose()?;
            log::run(log, whose.as_ref(), store, out)
        }
        Command::Edit { id, json, of } => {
            let whose = of.map(|whom| consent::client(store, &whom)).transpose()?;
            edit::edit(store, whose.as_ref(), &id, &json, out)
        }
        Command::Trash { ids } => edit::trash(store, &ids, out),
        Command::Restore { id, to } => edit::restore(store, &id, to.as_deref(), out),
        Command::Erase(what) => erase::run(&what, store, out),
        Command::List(wanted) => {
            if let Some(whom) = &wanted.of {
                consent::client_with(store, whom, wanted.collection)?;
            }
            let of = wanted.of.clone();
            list::run(wanted, whose(store, of.as_deref())?, out)
        }
        Command::Show { id, history, json, of } => show::run(&id, history, json, whose(store, of.as_deref())?, out),
        Command::Import { files } => match import::run(&files, store, out)? {
            0 => Ok(()),
            refused => Err(Refusal::Files { refused, files: files.len() }),
        },
        Command::Export { file } => archive::export(&file, store, out),
        Command::ImportAccount { file, merge } => archive::import(&file, merge, store, out),
        Command::Sync(how) => sync::run(&how, home, store, out),
        Command::Rejected(wanted) => rejected::run(&wanted, store, out),
        Command::Status { json } => status::run(json, home.path(), store, out),
    }
}

/// This home's own store, or what somebody shares with it.
fn whose<'a>(store: &'a mut Store, of: Option<&str>) -> Result<&'a Store, Refusal> {
    let Some(whom) = of else { return Ok(store) };
    let other = consent::client(store, whom)?;
    let shared = store.of(other.account)?;
    shared.ok_or_else(|| consent::ConsentError::NoClient(whom.to_owned()).into())
}

fn tell_log() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env(LOG_VARIABLE) {
        let log = tracing_subscriber::fmt().with_env_filter(filter);
        let file = std::env::var_os(LOG_FILE_VARIABLE).filter(|file| !file.is_empty());
        match file.map(|file| std::fs::File::options().create(true).append(true).mode(0o600).open(file)) {
            Some(Ok(file)) => log.with_ansi(false).with_writer(std::sync::Mutex::new(file)).init(),
            // A log that cannot be kept keeps nobody from logging a meal.
            Some(Err(_)) | None => log.with_writer(io::stderr).init(),
        }
    }
}

/// The runtime of a command that needs the network: one thread is enough for one connection.
fn runtime() -> Result<tokio::runtime::Runtime, Refusal> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
