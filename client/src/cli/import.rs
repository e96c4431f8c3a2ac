//! `fitme import`: one line a file, the good ones are imported even if others are refused.

use std::io::Write;
use std::path::{Path, PathBuf};

use fitme_core::store::{ImportOutcome, Store};
use indicatif::{ProgressBar, ProgressStyle};

use super::describe::{self, Units};
use super::out::{BAD, FAINT, GOOD, Out, PLAIN};
use super::{Refusal, when};
use crate::clock::now_ms;
use crate::fit::{FitError, Session};
use crate::import::{ImportError, ImportedSession, Importer, Outcome};

/// Fewer files are read before a bar could be seen.
const BAR_FROM: usize = 8;

/// Imports files; the number of those that were refused.
///
/// # Errors
/// [`Refusal`] where the outcome cannot be printed.
pub fn run(files: &[PathBuf], store: &mut Store, out: &mut Out) -> Result<usize, Refusal> {
    let units = Units::of(store)?;
    let zone = when::device_zone();
    let names = Names::of(files);
    let bar = bar(files.len());
    let mut refused = 0;
    let mut printed = Ok(());
    let mut each = |path: &Path, outcome: Outcome| {
        refused += usize::from(outcome.is_err());
        let line = format!(
            "{}  {}",
            names.padded(path),
            words(&outcome, units, out.width().saturating_sub(names.width + 2), out)
        );
        bar.suspend(|| {
            if printed.is_ok() {
                printed = out.say(PLAIN, &line).and_then(|()| out.flush());
            }
        });
        bar.inc(1);
    };
    Importer { store, zone: &zone, now_ms: now_ms(), rng: &mut rand::rng() }.import(files, &mut each);
    bar.finish_and_clear();
    printed?;
    Ok(refused)
}

fn bar(files: usize) -> ProgressBar {
    if files < BAR_FROM {
        return ProgressBar::hidden();
    }
    let template = "{bar:30} {pos}/{len} files {eta}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(files as u64).with_style(style)
}

/// Files by their name, or by their path where two have the same.
struct Names {
    by_path: bool,
    width: usize,
}

impl Names {
    /// Wider names push their line out rather than all lines.
    const WIDEST: usize = 32;

    fn of(files: &[PathBuf]) -> Self {
        let mut names: Vec<_> = files.iter().map(|path| path.file_name()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        let mut found = Self { by_path: names.len() < count, width: 0 };
        let widths = files.iter().map(|path| found.name(path).chars().count());
        found.width = widths.filter(|width| *width <= Self::WIDEST).max().unwrap_or(0);
        found
    }

    fn name(&self, path: &Path) -> String {
        let name = path.file_name().filter(|_| !self.by_path).unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    fn padded(&self, path: &Path) -> String {
        format!("{:<width$}", self.name(path), width = self.width)
    }
}

fn words(outcome: &Outcome, units: Units, width: usize, out: &Out) -> String {
    match outcome {
        Ok(sessions) => {
            let count = |wanted| sessions.iter().filter(|session| session.outcome == wanted).count();
            let (added, extended) = (count(ImportOutcome::Added), count(ImportOutcome::Extended));
            match (added, extended) {
                (0, 0) => out.paint(FAINT, "known, nothing new"),
                (0, _) => format!(
                    "{} {}",
                    out.paint(GOOD, "known, more read of"),
                    described(sessions, extended, units, width)
                ),
                _ => format!("{} {}", out.paint(GOOD, "added"), described(sessions, added, units, width)),
            }
        }
        Err(error) => format!("{} {}", out.paint(BAD, "refused:"), reason(error)),
    }
}

/// `1 workout (walking, 3.2 km, 41:12)`, or of several their sports, as far as they fit.
fn described(sessions: &[ImportedSession], count: usize, units: Units, width: usize) -> String {
    let mut news = sessions.iter().filter(|session| session.outcome != ImportOutcome::Known).map(|told| &told.session);
    if count == 1 {
        return format!("1 workout ({})", news.next().map(|session| session_words(session, units)).unwrap_or_default());
    }
    let head = format!("{count} workouts (");
    let room = width.saturating_sub("added ".len() + head.len() + 1);
    format!("{head}{})", joined(news.map(|session| describe::words(&session.sport)).collect(), room))
}

/// Words with commas between them, as many as fit.
fn joined(mut words: Vec<String>, room: usize) -> String {
    let all = words.join(", ");
    if all.chars().count() <= room {
        return all;
    }
    while words.len() > 1 && words.join(", ").chars().count() + ", …".chars().count() > room {
        words.pop();
    }
    format!("{}, …", words.join(", "))
}

fn session_words(session: &Session, units: Units) -> String {
    let parts = [
        Some(describe::words(&session.sport)),
        session.distance_m.map(|metres| units.distance(metres)),
        session.moving_time_s.map(describe::clock),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What the file is instead; some of these words say it all.
fn no_activity(kind: &str) -> String {
    if kind.contains("without") { kind.to_owned() } else { format!("{kind}, no activity") }
}

fn reason(error: &ImportError) -> String {
    match error {
        ImportError::Fit(FitError::NotAnActivity { kind }) => no_activity(kind),
        ImportError::Fit(FitError::Damaged { offset, reason }) => format!("damaged at byte {offset}: {reason}"),
        ImportError::Fit(FitError::NotFit) => "not a FIT file".to_owned(),
        other => other.to_string(),
    }
}
