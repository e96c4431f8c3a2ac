//! `fitme clock`: how far this device's clock is off, and the records that it gave wrong times.

use std::io::Write;

use comfy_table::Cell;
use fitme_core::store::{CLOCK_SLACK_MS, Store, WrongTime};

use super::out::{self, FAINT, GOOD, Out};
use super::{Refusal, pick, when};
use crate::clock::now_ms;

/// What to do about it.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Move the times of records that were logged while the clock was wrong; each can be undone
    Fix {
        /// Which records; without any, all that `fitme clock` lists
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Does what is wanted.
///
/// # Errors
/// [`Refusal`] for a record that is not listed.
pub fn run(wanted: &Wanted, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let wrong = store.wrong_times()?;
    match &wanted.what {
        None => list(&wrong, store, out),
        Some(What::Fix { ids }) if ids.is_empty() => fix(&wrong.iter().collect::<Vec<_>>(), store, out),
        Some(What::Fix { ids }) => {
            let chosen = |id: &String| {
                let doc_id = pick::one_of(wrong.iter().map(|one| one.doc_id), id)?;
                Ok::<_, Refusal>(wrong.iter().filter(move |one| one.doc_id == doc_id))
            };
            let chosen: Vec<_> = ids.iter().map(chosen).collect::<Result<_, _>>()?;
            fix(&chosen.into_iter().flatten().collect::<Vec<_>>(), store, out)
        }
    }
}

/// How far the clock is off, in words.
#[must_use]
pub fn offset(offset_ms: i64) -> String {
    let way = if offset_ms > 0 { "behind" } else { "ahead of" };
    format!("this device's clock is {} {way} the server's", span(offset_ms))
}

/// The two largest units, as a person says them.
fn span(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1_000;
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let said: Vec<_> = parts.iter().skip_while(|(n, _)| *n == 0).take(2).filter(|(n, _)| *n > 0).collect();
    let said: Vec<_> = said.iter().map(|(n, unit)| format!("{n} {unit}")).collect();
    if said.is_empty() { "0 s".to_owned() } else { said.join(" ") }
}

fn list(wrong: &[WrongTime], store: &Store, out: &mut Out) -> Result<(), Refusal> {
    match store.clock_offset_ms()? {
        None => writeln!(out, "not compared with a server yet: `fitme sync` does")?,
        Some(off) if off.abs() <= CLOCK_SLACK_MS => writeln!(out, "this device's clock is right")?,
        Some(off) => writeln!(out, "{}", offset(off))?,
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let mut table = out.table(&["id", "of", "time", "would be"]);
    for one in wrong {
        table.add_row(vec![
            out::faint(pick::short(one.doc_id)),
            Cell::new(one.collection),
            Cell::new(when::show(one.at, None)),
            Cell::new(format!("{}, {}", when::show(one.at + one.by_ms, None).trim(), by(one.by_ms))),
        ]);
    }
    out.print(&mut table)?;
    let hint = "logged by a wrong clock: `fitme clock fix` moves all, or the ids you add";
    Ok(writeln!(out, "{}", out.paint(FAINT, hint))?)
}

fn by(ms: i64) -> String {
    format!("{} {}", span(ms), if ms > 0 { "later" } else { "earlier" })
}

fn fix(wrong: &[&WrongTime], store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    if wrong.is_empty() {
        return Ok(writeln!(out, "no record has a time of a wrong clock")?);
    }
    for one in wrong {
        let state = store.history(one.doc_id)?.last().map(|change| pick::short_state(change.hash)).unwrap_or_default();
        store.correct_time(one, now_ms(), &mut rand::rng())?;
        let id = pick::short(one.doc_id);
        writeln!(out, "{} {id} {}", out.paint(GOOD, "moved"), by(one.by_ms))?;
        writeln!(out, "{}", out.paint(FAINT, format!("  undo: fitme restore {id} --to {state}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_two_largest_units() {
        let said = [(500, "0 s"), (130_000, "2 min 10 s"), (-3_600_000, "1 h"), (90_061_000, "1 d 1 h")];
        for (ms, words) in said {
            assert_eq!(span(ms), words);
        }
        assert_eq!(offset(-7_200_000), "this device's clock is 2 h ahead of the server's");
    }
}
