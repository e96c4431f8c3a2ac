//! Configuration: every flag and environment variable of the program, with its sentence in `--help`.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fitme_core::policy::Role;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use sqlx::postgres::PgConnectOptions;

use crate::accounts::oidc::settings::OidcArgs;
use crate::erase::{Backups, DEFAULT_BACKUP_DAYS};

/// Where `serve` listens when nothing else is said: this computer alone.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Where the server keeps its data when nothing else is said.
pub const DEFAULT_DATA: &str = ".fitme";
/// Who sends letters when nothing else is said.
pub const DEFAULT_SENDER: &str = "FitME <fitme@localhost>";

/// Requests a second from one address, in the long run.
pub const DEFAULT_ADDRESS_PACE: NonZeroU32 = NonZeroU32::new(40).unwrap();

/// The sync server of FitME: takes what devices send, orders, stores and merges it, and hands it to the other devices.
#[derive(Debug, Parser)]
#[command(name = "sync-server", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to write the log.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server until it is interrupted; the last line on standard output is its address.
    Serve(ServeArgs),
    /// Tests what `serve` would need with the same settings, and says what to do; exit code 1 where it could not serve well.
    Check(ServeArgs),
    /// Writes everything in the database into a file, while servers run. The master key is not in it.
    Backup(FileArgs),
    /// Reads such a file into an empty database.
    Restore(FileArgs),
    /// Brings the tables of the database up to this version of the server, then ends.
    Migrate(MigrateArgs),
    /// Looks after the records of access.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Makes, lists and erases accounts, closes sign-up, helps who has lost a password.
    Admin(AdminArgs),
}

impl Command {
    /// What is logged where nothing else is said: what runs on tells of itself by its log alone.
    #[must_use]
    pub fn log(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            Self::Admin(_) => "error",
            _ => "warn",
        }
    }
}

/// What can be done with the records of access.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Checks that no record of access was changed, removed or added by hand, and says which if one was. A server may run
    /// meanwhile.
    Verify(AuditArgs),
}

/// Options of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Where heads are signed.
    #[command(flatten)]
    pub signed: SignedArgs,
    /// Which database to check.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Where and by what the heads of the records of access are signed, as for `serve`.
#[derive(Debug, Args)]
pub struct SignedArgs {
    /// File of the master key, by which they are signed.
    #[arg(long, env = "FITME_MASTER_KEY", value_name = "FILE")]
    pub master_key: Option<PathBuf>,
    /// Folder of the signed heads.
    #[arg(long, env = "FITME_AUDIT_DIR", value_name = "FOLDER")]
    pub audit_dir: Option<PathBuf>,
}

/// Options of `admin`.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AdminCommand,
    /// How to send mail; without FITME_SMTP_URL what a person has to enter is printed alone.
    #[command(flatten)]
    pub mail: MailArgs,
    /// Which database to use.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What the operator does with accounts.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Makes an account; its person chooses the password.
    Create {
        /// Its address.
        email: String,
        /// member, trainer, nutritionist, therapist, doctor, service or admin.
        #[arg(long, default_value = "member", value_parser = crate::admin::role)]
        role: Role,
    },
    /// Lists the accounts by address.
    List {
        /// Those after this address.
        #[arg(long, value_name = "EMAIL", default_value = "", hide_default_value = true)]
        after: String,
        /// At most so many, and never more than 1,000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u16,
    },
    /// From now on nobody else makes accounts, at any server of the database.
    CloseSignup,
    /// From now on anybody may make an account again.
    OpenSignup,
    /// Lets the person of an account choose another password.
    ResetPassword {
        /// Its address.
        email: String,
    },
    /// Erases an account and everything that is of it, for good, and prints what was removed.
    Erase {
        /// Its address.
        email: String,
        /// Without it nothing is done.
        #[arg(long)]
        yes: bool,
        /// In which it still is, as for `serve`.
        #[command(flatten)]
        backups: BackupArgs,
        /// Where the end of its records of access is signed.
        #[command(flatten)]
        signed: SignedArgs,
    },
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on; port 0 takes any free port.
    #[arg(long, env = "FITME_LISTEN", value_name = "ADDRESS:PORT", default_value = DEFAULT_LISTEN)]
    pub listen: String,
    /// File of the master key, which seals the secrets in the database; the same one for all servers of a database.
    /// Without it the first start makes one in the data folder.
    #[arg(long, env = "FITME_MASTER_KEY", value_name = "FILE")]
    pub master_key: Option<PathBuf>,
    /// Folder that gets signed heads of the records of access, best on another disk or computer than the database: whoever
    /// rules the database must not be able to change it. Without it they lie beside the data folder.
    #[arg(long, env = "FITME_AUDIT_DIR", value_name = "FOLDER")]
    pub audit_dir: Option<PathBuf>,
    /// What is let in.
    #[command(flatten)]
    pub edge: EdgeArgs,
    /// How to send mail.
    #[command(flatten)]
    pub mail: MailArgs,
    /// What ended, and the backups that still have it.
    #[command(flatten)]
    pub backups: BackupArgs,
    /// Who else signs people in.
    #[command(flatten)]
    pub oidc: OidcArgs,
    /// Which database to use.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What the operator says of the backups.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// File beside the backups to which the ids are added of what ended (erased records and accounts, revoked grants, refused
    /// devices), so that it ends again after a restore. Without it no list is kept.
    #[arg(long, env = "FITME_ERASURES", value_name = "FILE")]
    pub erasures: Option<PathBuf>,
    /// For how many days backups are kept, as people are told who erase their account.
    #[arg(long, env = "FITME_BACKUP_DAYS", value_name = "DAYS", default_value_t = DEFAULT_BACKUP_DAYS)]
    pub backup_days: u16,
}

impl BackupArgs {
    /// What follows for who erases an account.
    #[must_use]
    pub fn terms(&self) -> Backups {
        Backups { days: self.backup_days, listed: self.erasures.is_some() }
    }
}

/// A backup and its database.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The backup's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which database, and who owns its tables.
    #[command(flatten)]
    pub of: MigrateArgs,
}

/// What the server lets in, and how.
#[derive(Debug, Args)]
pub struct EdgeArgs {
    /// Certificate chain (PEM) with which the server speaks TLS itself. Without it a proxy in front speaks TLS.
    #[arg(long, env = "FITME_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate. Both files are read again when they change.
    #[arg(long, env = "FITME_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Web pages of other origins that may use this server, as https://app.example.org,https://… No others may.
    #[arg(long, env = "FITME_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// How many proxies stand in front of the server, each of which adds the address that it was asked from to
    /// X-Forwarded-For. What more such a header holds is not believed.
    #[arg(long, env = "FITME_TRUSTED_PROXY_HOPS", value_name = "NUMBER", default_value_t = 0)]
    pub trusted_proxy_hops: usize,
    /// Requests a second from one address in the long run; a login counts as 20. Raise it where many people share one.
    #[arg(long, env = "FITME_ADDRESS_PACE", value_name = "NUMBER", default_value_t = DEFAULT_ADDRESS_PACE)]
    pub address_pace: NonZeroU32,
    /// Where Prometheus finds /metrics: a loopback address and a port, such as 127.0.0.1:9100. Without it nowhere.
    #[arg(long, env = "FITME_METRICS_ADDR", value_name = "ADDRESS:PORT")]
    pub metrics_addr: Option<SocketAddr>,
}

/// Options of what only the owner of the tables may do.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Which database to use.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The database of DATABASE_URL with the login of the one who owns its tables, and who may make roles (CREATEROLE). The
    /// login of DATABASE_URL, the server's, is made if need be and gets the rights that it needs. Give it by the environment.
    #[arg(long, env = "FITME_OWNER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub owner_database_url: Option<DatabaseUrl>,
}

/// How the server sends mail.
#[derive(Debug, Args)]
pub struct MailArgs {
    /// Mail server, as smtps://user:password@mail.example.org (port 465), or smtp://…?tls=required (STARTTLS). Without it
    /// letters are written into the folder `mail` of the data folder. Give it by the environment.
    #[arg(long, env = "FITME_SMTP_URL", value_name = "URL", hide_env_values = true)]
    pub smtp_url: Option<SmtpUrl>,
    /// Who sends the letters.
    #[arg(long, env = "FITME_MAIL_FROM", value_name = "SENDER", default_value = DEFAULT_SENDER)]
    pub mail_from: String,
}

/// The address of a mail server, which may hold a password: it is never printed.
#[derive(Clone)]
pub struct SmtpUrl(String);

impl SmtpUrl {
    /// Connections to it; `None` if it is no such address.
    #[must_use]
    pub fn transport(&self) -> Option<AsyncSmtpTransport<Tokio1Executor>> {
        Some(AsyncSmtpTransport::<Tokio1Executor>::from_url(&self.0).ok()?.build())
    }
}

/// Takes any text, as [`DatabaseUrl`] does.
impl FromStr for SmtpUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmtpUrl(hidden)")
    }
}

/// Which database the program works on.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// Folder of the server's own data. Without DATABASE_URL a private PostgreSQL is kept in it.
    #[arg(long, env = "FITME_DATA", value_name = "FOLDER", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// PostgreSQL to use instead of a private one, as postgres://user:password@host/database. The user is the server's own,
    /// who owns nothing; see `migrate`. Give it by the environment: other users of the computer can read a command line.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<DatabaseUrl>,
}

/// Options of the log and the traces.
#[derive(Debug, Args)]
pub struct TelemetryArgs {
    /// What to log, for example `info` or `warn,sync_server=debug`. automerge is silent unless named, as in
    /// `info,automerge=debug`. Without it `serve` logs `info`; the others print what they do, and log `warn` (`admin` `error`).
    #[arg(long, env = "FITME_LOG", value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// How log lines look on standard error: `auto` is for people on a terminal and JSON elsewhere.
    #[arg(long, env = "FITME_LOG_FORMAT", value_name = "FORMAT", default_value = "auto", global = true)]
    pub log_format: LogFormat,
    /// Collector that gets traces by OTLP over gRPC, for example http://localhost:4317. Without it no traces are sent.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", global = true)]
    pub otlp_endpoint: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The address of a database, which may hold a password: it is never printed.
#[derive(Clone)]
pub struct DatabaseUrl(String);

/// The given address is no address of a PostgreSQL database. Says nothing of its text, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[error(
    "DATABASE_URL or FITME_OWNER_DATABASE_URL is not an address like postgres://user:password@host/database; correct it, or \
     unset both to use a private PostgreSQL"
)]
pub struct BadDatabaseUrl;

impl DatabaseUrl {
    /// The address as options of a connection.
    ///
    /// # Errors
    /// When it is no address of a PostgreSQL database.
    pub fn connect_options(&self) -> Result<PgConnectOptions, BadDatabaseUrl> {
        let known = self.0.starts_with("postgres://") || self.0.starts_with("postgresql://");
        if !known {
            return Err(BadDatabaseUrl);
        }
        PgConnectOptions::from_str(&self.0).map_err(|_| BadDatabaseUrl)
    }

    /// For PostgreSQL's own programs: the address without its password, which goes into their environment, because other
    /// users can read a command line.
    ///
    /// # Errors
    /// When it is no address of a PostgreSQL database.
    pub fn for_programs(&self) -> Result<(String, Option<String>), BadDatabaseUrl> {
        self.connect_options()?;
        let mut url = url::Url::parse(&self.0).map_err(|_| BadDatabaseUrl)?;
        let password = url.password().map(|password| percent_decoded(password).ok_or(BadDatabaseUrl)).transpose()?;
        url.set_password(None).map_err(|()| BadDatabaseUrl)?;
        Ok((url.into(), password))
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let pair = format!("p={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
}

/// Takes any text: clap would print a refused value, and this one may hold a password.
impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(hidden)")
    }
}
