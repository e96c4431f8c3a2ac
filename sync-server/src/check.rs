//! `sync-server check`: tests what `serve` would need with the same settings, and says of each what to do. Nothing is
//! changed: no table, no key, no certificate is made.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table, presets};
use nix::sys::statvfs::statvfs;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use x509_parser::pem::Pem;

use crate::auth::signing_keys;
use crate::config::{MailArgs, ServeArgs};
use crate::db;
use crate::edge::origins::Origins;
use crate::edge::tls::Files;
use crate::endings::list;
use crate::mail::Mailer;
use crate::master_key::MasterKey;
use crate::metrics;
use crate::private_postgres::{PrivatePostgres, SERVER, options_at};
use crate::prove;

/// Columns of an ordinary terminal.
const WIDTH: u16 = 80;
/// The oldest PostgreSQL whose SQL the server's statements are checked against, as the number that it calls itself.
const OLDEST_POSTGRES: i32 = 150_000;
/// How far the clocks of server and database may differ: beyond, tokens and grants begin and end at odd times.
const CLOCKS_APART: Duration = Duration::from_secs(2);
/// A certificate that ends sooner should have been renewed by now.
const RENEW_BEFORE: Duration = Duration::from_secs(14 * 24 * 3_600);
/// A database that says nothing for so long is not there.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);
/// A mail server that says nothing for so long says nothing at all.
const MAIL_TIMEOUT: Duration = Duration::from_secs(10);
/// Space that a server with little to do fills within weeks, and one within hours.
const LITTLE_SPACE: u64 = 5 << 30;
const NO_SPACE: u64 = 512 << 20;

/// It cannot serve well; what is wrong was said.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the tests failed: do what the table says and check again")]
pub struct CheckFailed(usize);

/// What a test found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// The server runs, and somebody should look at it.
    Doubtful,
    Bad,
}

/// A line of the table.
#[derive(Debug)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    /// What was found, and what to do where it is not good.
    found: String,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, found: found.into() }
    }

    fn doubtful(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Doubtful, found: found.into() }
    }

    fn bad(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Bad, found: found.into() }
    }

    fn of<T>(what: &'static str, result: Result<T, impl std::fmt::Display>, good: impl Into<String>) -> Self {
        match result {
            Ok(_) => Self::good(what, good),
            Err(error) => Self::bad(what, error.to_string()),
        }
    }
}

/// Runs every test and prints the table.
///
/// # Errors
/// When one failed.
pub async fn run(args: &ServeArgs) -> Result<(), CheckFailed> {
    let (mut findings, reached) = database(args).await;
    let pool = reached.as_ref().map(|reached| &reached.pool);
    findings.push(master_key_of(args, pool).await);
    findings.push(list_of(args, pool).await);
    findings.extend(entries(pool).await);
    findings.push(mail(&args.mail, &args.database.data).await);
    findings.push(tls(args));
    findings.push(edge(args));
    findings.push(disk(&args.database.data));
    if let Some(pool) = pool {
        pool.close().await;
    }
    println!("{}", table(&findings));
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        failed => Err(CheckFailed(failed)),
    }
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Doubtful => "LOOK",
            Verdict::Bad => "FAILED",
        };
        table.add_row([finding.what, verdict, &finding.found]);
    }
    table
}

/// A database of this version.
struct Reached {
    pool: PgPool,
    /// The private one, started only where a server has made it before, and stopped again when it is dropped.
    _started: Option<PrivatePostgres>,
}

/// The database that the server would use: the given one, or the private one, which may be running already.
async fn database(args: &ServeArgs) -> (Vec<Finding>, Option<Reached>) {
    const WHAT: &str = "database";
    let data = &args.database.data;
    let alone = |finding| (vec![finding], None);
    let mut started = None;
    let options = match (&args.database.database_url, PrivatePostgres::socket_of_running(data)) {
        (Some(url), _) => match url.connect_options() {
            Ok(options) => options,
            Err(error) => return alone(Finding::bad(WHAT, error.to_string())),
        },
        (None, Some(socket)) => options_at(&socket, SERVER),
        (None, None) if !PrivatePostgres::exists(data) => {
            return alone(Finding::good(WHAT, "a private PostgreSQL will be made at the first start"));
        }
        (None, None) => match PrivatePostgres::start(data).await {
            Ok(postgres) => {
                let options = postgres.connect_options();
                started = Some(postgres);
                options
            }
            Err(error) => return alone(Finding::bad(WHAT, error.to_string())),
        },
    };
    // No pool of the server's own: that would note at once that a copy is another installation.
    match PgPoolOptions::new().max_connections(1).acquire_timeout(DATABASE_TIMEOUT).connect_with(options.clone()).await
    {
        Ok(pool) => match ask_database(&pool, options).await {
            Ok((findings, is_usable)) => (findings, is_usable.then_some(Reached { pool, _started: started })),
            Err(error) => alone(Finding::bad(WHAT, format!("it broke off: {error}"))),
        },
        Err(error) => {
            let found = format!("it cannot be used ({error}); check that it runs and that DATABASE_URL names it");
            alone(Finding::bad(WHAT, found))
        }
    }
}

/// What is to be said of it, and whether its tables are those of this version.
async fn ask_database(pool: &PgPool, options: PgConnectOptions) -> Result<(Vec<Finding>, bool), sqlx::Error> {
    let (version, clock) = db::version_and_clock(pool).await?;
    let here = SystemTime::now();
    let tables = db::check(options).await;
    let is_usable = tables.is_ok();
    let tables = Finding::of("tables", tables, "of this version, and the server may do no more than it should");
    Ok((vec![version_of(version), tables, durability(pool).await?, clocks(clock, here)], is_usable))
}

fn version_of(number: i32) -> Finding {
    let version = format!("PostgreSQL {}.{}", number / 10_000, number % 10_000);
    if number >= OLDEST_POSTGRES {
        Finding::good("database", version)
    } else {
        Finding::bad("database", format!("{version} is too old; use 15 or newer"))
    }
}

async fn durability(pool: &PgPool) -> Result<Finding, sqlx::Error> {
    let off = db::settings_that_lose_writes(pool).await?;
    Ok(if off.is_empty() {
        Finding::good("durability", "fsync, full_page_writes and synchronous_commit are on")
    } else {
        Finding::bad("durability", format!("{} off: acknowledged data can be lost; switch on", off.join(", ")))
    })
}

fn clocks(database: f64, here: SystemTime) -> Finding {
    let here = here.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let apart = (database - here).abs();
    if apart <= CLOCKS_APART.as_secs_f64() {
        Finding::good("clock", format!("{apart:.1} s from the database's"))
    } else {
        let found = format!("{apart:.0} s from the database's; set both by a time server (chrony, systemd-timesyncd)");
        Finding::bad("clock", found)
    }
}

async fn master_key_of(args: &ServeArgs, pool: Option<&PgPool>) -> Finding {
    const WHAT: &str = "master key";
    let found = match MasterKey::find(args.master_key.as_deref(), &args.database.data) {
        Ok(found) => found,
        Err(error) => return Finding::bad(WHAT, error.to_string()),
    };
    if let Some(pool) = pool
        && let Err(error) = signing_keys::check(pool, found.as_ref()).await
    {
        return Finding::bad(WHAT, error.to_string());
    }
    match (found, &args.database.database_url) {
        (Some(_), _) => Finding::good(WHAT, "readable by this user alone"),
        (None, None) => {
            Finding::good(WHAT, "will be made at the first start; back it up then, apart from the database")
        }
        (None, Some(_)) => Finding::doubtful(
            WHAT,
            "none in the data folder; the first server makes one, every other needs a copy of it (FITME_MASTER_KEY)",
        ),
    }
}

async fn list_of(args: &ServeArgs, pool: Option<&PgPool>) -> Finding {
    const WHAT: &str = "list";
    let Some(file) = &args.backups.erasures else {
        return Finding::doubtful(
            WHAT,
            "none is kept: a backup that is restored brings back what was erased, revoked or refused since; name a file \
             beside the backups by FITME_ERASURES",
        );
    };
    let others = match &args.database.database_url {
        None => "",
        Some(_) => {
            "; servers that share the database add to one file, or theirs are put together before a restored one is served"
        }
    };
    match list::look(pool, file).await {
        Ok(Some(lines)) => Finding::good(WHAT, format!("{lines} lines of what ended{others}")),
        Ok(None) => Finding::good(WHAT, format!("will be made at the first start{others}")),
        Err(error) => Finding::bad(WHAT, error.to_string()),
    }
}

async fn entries(pool: Option<&PgPool>) -> Option<Finding> {
    const WHAT: &str = "entries";
    Some(match prove::noted(pool?).await {
        Ok(None) => Finding::good(WHAT, "none is known to be damaged; the audits of devices look at them daily"),
        Ok(Some(prove::Noted { entries, feed, seq })) => {
            let found = format!(
                "{entries} damaged or gone, of which no device that was here since has a copy, first number {seq} of feed \
                 {feed}; look after the disk, and restore a backup beside this database if it has what is missing"
            );
            Finding::doubtful(WHAT, found)
        }
        Err(error) => Finding::bad(WHAT, error.to_string()),
    })
}

async fn mail(args: &MailArgs, data: &Path) -> Finding {
    let Some(url) = &args.smtp_url else {
        let folder = Mailer::open(args, data).map_err(|error| error.to_string());
        let written = folder.and_then(|_| tempfile::tempfile_in(data).map_err(|error| error.to_string()));
        return match written {
            Ok(_) => {
                Finding::doubtful("mail", "letters are files in the data folder; name a mail server by FITME_SMTP_URL")
            }
            Err(reason) => {
                Finding::bad("mail", format!("letters cannot be written ({reason}); make the data folder writable"))
            }
        };
    };
    let Some(transport) = url.transport() else {
        return Finding::bad("mail", "FITME_SMTP_URL is no address like smtps://user:password@mail.example.org");
    };
    let Ok(tested) = tokio::time::timeout(MAIL_TIMEOUT, transport.test_connection()).await else {
        return Finding::bad("mail", "the mail server says nothing; check host and port of FITME_SMTP_URL");
    };
    match tested {
        Ok(true) => Finding::good("mail", "the mail server takes letters"),
        Ok(false) => Finding::bad("mail", "the mail server hangs up; look into its log"),
        Err(error) => {
            let found =
                format!("the mail server refuses ({error}); check host, port, user and password of FITME_SMTP_URL");
            Finding::bad("mail", found)
        }
    }
}

fn tls(args: &ServeArgs) -> Finding {
    const WHAT: &str = "TLS";
    let Some((certificate, key)) = args.edge.tls_cert.clone().zip(args.edge.tls_key.clone()) else {
        let alone =
            args.listen.starts_with("127.") || args.listen.starts_with("localhost") || args.listen.starts_with("[::1]");
        return match alone {
            true => Finding::good(WHAT, "only this computer reaches the server; a proxy speaks TLS for others"),
            false => Finding::bad(
                WHAT,
                "others reach the server without TLS, and devices refuse that; set FITME_TLS_CERT and FITME_TLS_KEY, or \
                 listen on 127.0.0.1 behind a proxy",
            ),
        };
    };
    let files = Files { certificate, key };
    if let Err(error) = files.read() {
        return Finding::bad(WHAT, error.to_string());
    }
    match seconds_left(&files.certificate) {
        Some(left) if left <= 0 => Finding::bad(WHAT, "the certificate has ended; renew it"),
        Some(left) if left < RENEW_BEFORE.as_secs().cast_signed() => {
            Finding::doubtful(WHAT, format!("the certificate ends in {} days; renew it", left / 86_400))
        }
        Some(left) => Finding::good(WHAT, format!("the key fits; the certificate ends in {} days", left / 86_400)),
        None => Finding::bad(WHAT, "when the certificate begins and ends cannot be read; make a new one"),
    }
}

/// How long the first certificate of the chain still counts; none or less where it does not.
fn seconds_left(file: &Path) -> Option<i64> {
    let pem = std::fs::read(file).ok()?;
    let first = Pem::iter_from_buffer(&pem).next()?.ok()?;
    let validity = first.parse_x509().ok()?.validity().clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs().cast_signed();
    let begins_in = validity.not_before.timestamp() - now;
    Some(if begins_in > 0 { -begins_in } else { validity.not_after.timestamp() - now })
}

fn edge(args: &ServeArgs) -> Finding {
    const WHAT: &str = "edge";
    if let Err(error) = Origins::allowing(&args.edge.allowed_origins) {
        return Finding::bad(WHAT, error.to_string());
    }
    match args.edge.metrics_addr.filter(|address| !address.ip().is_loopback()) {
        Some(address) => Finding::bad(WHAT, metrics::MetricsError::NotLoopback(address).to_string()),
        None => Finding::good(
            WHAT,
            format!(
                "{} foreign origins, {} proxies in front",
                args.edge.allowed_origins.len(),
                args.edge.trusted_proxy_hops
            ),
        ),
    }
}

fn disk(data: &Path) -> Finding {
    const WHAT: &str = "disk";
    // The folder may not be there yet; then its parent's disk is the one.
    let place = data.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    match statvfs(place) {
        Ok(disk) => space(disk.blocks_available().saturating_mul(disk.fragment_size())),
        Err(error) => {
            Finding::bad(WHAT, format!("the data folder's disk cannot be looked at ({error}); check its mount"))
        }
    }
}

fn space(free: u64) -> Finding {
    let gib = free as f64 / f64::from(1 << 30);
    let found = format!("{gib:.1} GiB are free for the data folder");
    match free {
        0..NO_SPACE => Finding::bad("disk", format!("{found}; writes will be refused soon: make room")),
        NO_SPACE..LITTLE_SPACE => Finding::doubtful("disk", format!("{found}; make room")),
        _ => Finding::good("disk", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_a_terminal_of_80_columns() {
        let long = "a sentence about something that was found and about what to do with it now ".repeat(3);
        let table = table(&[Finding::good("database", "PostgreSQL 15.18"), Finding::bad("mail", long)]).to_string();
        assert!(table.lines().all(|line| line.chars().count() <= WIDTH.into()), "{table}");
        assert!(table.contains("FAILED"));
    }

    #[test]
    fn clocks_space_and_versions_are_judged_at_their_bounds() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(clocks(1_002.0, now).verdict, Verdict::Good);
        assert_eq!(clocks(1_002.1, now).verdict, Verdict::Bad);
        assert_eq!(clocks(997.9, now).verdict, Verdict::Bad);
        let of = |bytes| space(bytes).verdict;
        assert_eq!(
            [of(NO_SPACE - 1), of(NO_SPACE), of(LITTLE_SPACE)],
            [Verdict::Bad, Verdict::Doubtful, Verdict::Good]
        );
        assert_eq!((version_of(149_999).verdict, version_of(150_000).verdict), (Verdict::Bad, Verdict::Good));
    }
}
