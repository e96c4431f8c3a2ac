//! Configuration: every flag and environment variable of the program, with its sentence in `--help`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use sqlx::postgres::PgConnectOptions;

use crate::accounts::oidc::settings::OidcArgs;

/// Where `serve` listens when nothing else is said: this computer alone.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Where the server keeps its data when nothing else is said.
pub const DEFAULT_DATA: &str = ".fitme";
/// Who sends letters when nothing else is said.
pub const DEFAULT_SENDER: &str = "FitME <fitme@localhost>";

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
    /// Brings the tables of the database up to this version of the server, then ends.
    Migrate(MigrateArgs),
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
    /// How to send mail.
    #[command(flatten)]
    pub mail: MailArgs,
    /// Who else signs people in.
    #[command(flatten)]
    pub oidc: OidcArgs,
    /// Which database to use.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Options of `migrate`.
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
    /// `info,automerge=debug`.
    #[arg(long, env = "FITME_LOG", value_name = "FILTER", default_value = "info", global = true)]
    pub log: String,
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
