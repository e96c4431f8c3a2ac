//! `sync-server admin`: the operator's command line. It works on the database beside running servers, also on the private one
//! of a server that runs, and prints what the operator hands on to people.

use std::io::{self, Write};
use std::path::Path;

use fitme_core::policy::Role;

use crate::accounts::administration::{self, AdministrationError, Handed, Listed};
use crate::accounts::signup;
use crate::audit::{Audit, AuditError};
use crate::clock::Clock;
use crate::config::{AdminArgs, AdminCommand, BackupArgs, SignedArgs};
use crate::db::wall;
use crate::endings::{self, list::ListError};
use crate::mail::{Letter, MailError, Mailer};
use crate::master_key::MasterKey;
use crate::serve::{self, Database, ServeError};

/// Columns of an address in a list that is 80 wide.
const ADDRESS_COLUMNS: usize = 40;
/// Accounts of one page at most.
const PAGE_MOST: u16 = 1_000;

/// Why it was not done; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No database.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The accounts are not so.
    #[error(transparent)]
    Administration(#[from] AdministrationError),
    /// No mail.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The end of the account's records of access cannot be signed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The list beside the backups is of no use.
    #[error(transparent)]
    List(#[from] ListError),
    /// The account is gone, and no list says so.
    #[error(
        "it is erased, but that is not noted beside the backups yet: {0}; a server that runs with that list notes it"
    )]
    NotNoted(ListError),
    /// Asked without being sure.
    #[error("all records of {0} would go, everywhere and for good; add --yes to erase them")]
    NotSure(String),
    /// Nobody reads the output.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Does what was asked.
///
/// # Errors
/// [`AdminError`].
pub async fn run(args: &AdminArgs) -> Result<(), AdminError> {
    // Before the database: a letter that cannot be sent must not be found out after the account is made.
    let mailer = args.mail.smtp_url.is_some().then(|| Mailer::open(&args.mail, &args.database.data)).transpose()?;
    let database = Database::open_beside(&args.database).await?;
    let done = carry_out(args, &database, mailer.as_ref()).await;
    let closed = database.close().await;
    done.and(closed.map_err(AdminError::from))
}

/// Erases an account in the database of `data`, and notes it beside the backups.
async fn erase(
    email: &str,
    backups: &BackupArgs,
    signed: &SignedArgs,
    data: &Path,
    database: &Database,
) -> Result<(), AdminError> {
    let account = administration::account_of(database.pool(), email).await?;
    if let Some(file) = &backups.erasures {
        // Before anything is gone: the list that is named may be another one than it was.
        endings::list::prepare(database.pool(), file).await?;
    }
    let master = MasterKey::existing(signed.master_key.as_deref(), data).map_err(ServeError::from)?;
    let folder = serve::audit_folder(signed.audit_dir.as_deref(), data);
    let audit = Audit::open(database.pool().clone(), &master, Clock::default(), &folder)?;
    let erased = crate::erase::account(database.pool(), &audit, &Clock::default(), account, backups.terms()).await?;
    let receipt = erased.ok_or_else(|| AdministrationError::Unknown(email.to_owned()))?;
    let json = serde_json::to_string_pretty(&receipt).map_err(io::Error::from)?;
    say(&format!("erased {email}; give its person this receipt:\n{json}"))?;
    match &backups.erasures {
        Some(file) => endings::list::copy(database.pool(), file).await.map(drop).map_err(AdminError::NotNoted),
        None => Ok(()),
    }
}

async fn carry_out(args: &AdminArgs, database: &Database, mailer: Option<&Mailer>) -> Result<(), AdminError> {
    let (pool, now_ms) = (database.pool(), Clock::default().now_ms());
    match &args.command {
        AdminCommand::Create { email, role } => {
            let handed = administration::create(pool, email, *role, now_ms).await?;
            say(&format!("made {} ({role})", handed.email))?;
            hand_on(&handed, mailer, "Your new account", "An account was made for you at FitME by whoever runs it.")
                .await
        }
        AdminCommand::ResetPassword { email } => {
            let handed = administration::reset_password(pool, email, now_ms).await?;
            let why = "Whoever runs your FitME server lets you choose a new password.";
            hand_on(&handed, mailer, "Choose a new password", why).await
        }
        AdminCommand::List { after, limit } => list(database, after, *limit).await,
        AdminCommand::CloseSignup => {
            set_signup(database, false).await?;
            say("sign-up is closed: `sync-server admin create` alone makes accounts")
        }
        AdminCommand::OpenSignup => {
            set_signup(database, true).await?;
            say("sign-up is open: anybody may make an account")
        }
        AdminCommand::Erase { email, yes: false, .. } => {
            administration::account_of(pool, email).await?;
            Err(AdminError::NotSure(email.clone()))
        }
        AdminCommand::Erase { email, backups, signed, .. } => {
            erase(email, backups, signed, &args.database.data, database).await
        }
    }
}

async fn set_signup(database: &Database, open: bool) -> Result<(), AdminError> {
    let set = async {
        let mut tx = wall::begin_as(database.pool(), wall::BEGIN, wall::Role::Admin).await?;
        signup::set_open(&mut tx, open).await?;
        tx.commit().await
    };
    set.await.map_err(|error| AdministrationError::from(error).into())
}

/// Prints what the person enters, and mails it where mail is set up.
async fn hand_on(handed: &Handed, mailer: Option<&Mailer>, subject: &'static str, why: &str) -> Result<(), AdminError> {
    let Handed { email, token } = handed;
    let commands = format!(
        "    fitme password --server URL --token {token}\n\n\
         and after that hour\n\n    fitme password --server URL --forgotten \\\n        --email {email}\n"
    );
    say(&format!("the password is chosen by whoever enters this within an hour:\n\n{commands}"))?;
    let Some(mailer) = mailer else { return Ok(()) };
    let text = format!("{why}\n\nTo choose a password, enter this within an hour:\n\n{commands}");
    match mailer.send_now(Letter { to: email.clone(), subject, text }).await {
        Ok(()) => say(&format!("mailed to {email}")),
        Err(reason) => say(&format!("not mailed, so hand it on yourself: {reason}")),
    }
}

async fn list(database: &Database, after: &str, limit: u16) -> Result<(), AdminError> {
    let limit = usize::from(limit.min(PAGE_MOST));
    // One more than is shown says whether there are more.
    let mut page = administration::page(database.pool(), after, limit as i64 + 1).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    say(&line("EMAIL", "ROLE", "SINCE", "DEVICES"))?;
    for Listed { email, role, since, confirmed, devices } in &page {
        let devices = format!("{devices}{}", if *confirmed { "" } else { " ?" });
        say(&line(&shortened(email), role, since, &devices))?;
    }
    if page.iter().any(|listed| !listed.confirmed) {
        say("? the address is not confirmed")?;
    }
    match page.last() {
        Some(last) if more => say(&format!("more: sync-server admin list --after {}", last.email)),
        _ => Ok(()),
    }
}

fn line(email: &str, role: &str, since: &str, devices: &str) -> String {
    format!("{email:<ADDRESS_COLUMNS$} {role:<13} {since:<10} {devices}")
}

/// The beginning and the end of an address that is too long, which is where addresses differ.
fn shortened(email: &str) -> String {
    let letters: Vec<char> = email.chars().collect();
    if letters.len() <= ADDRESS_COLUMNS {
        return email.to_owned();
    }
    let kept = ADDRESS_COLUMNS - 1;
    let (head, tail) = (&letters[..kept / 2], &letters[letters.len() - (kept - kept / 2)..]);
    head.iter().chain(&['…']).chain(tail).collect()
}

fn say(line: &str) -> Result<(), AdminError> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}

/// As `--role` takes it.
///
/// # Errors
/// Names the roles.
pub fn role(name: &str) -> Result<Role, String> {
    Role::named(name).ok_or_else(|| {
        let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
        format!("the roles are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_fits_a_terminal() {
        let long = format!("{}@example.org", "a".repeat(240));
        let line = line(&shortened(&long), "nutritionist", "2026-11-24", "1000 ?");
        assert!(line.chars().count() <= 80, "{line}");
        assert!(line.contains("@example.org") && line.contains('…'));
        assert_eq!(shortened("ann@example.org"), "ann@example.org");
    }
}
