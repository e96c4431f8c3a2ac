//! `fitme rejected`: what the server refused is shown, written again or forgotten.

use std::io::Write;

use comfy_table::Cell;
use fitme_core::store::{RejectedHere, Store};
use serde_json::{Map, Value, json};

use super::out::{self, FAINT, GOOD, Out};
use super::{Refusal, json, pick, when};
use crate::clock::now_ms;
use crate::record_json;

/// What to do with what was refused.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Wanted {
    #[command(subcommand)]
    what: Option<What>,
    /// As JSON, after docs/schema/rejected.schema.json
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show one in full: what you wrote, and the record as it was
    Show {
        /// Its number in `fitme rejected`
        number: usize,
    },
    /// Write them again, the first one first
    Retry(Which),
    /// Forget them for good
    Discard(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Their numbers in `fitme rejected`
    #[arg(required_unless_present = "all", value_name = "NUMBER")]
    numbers: Vec<usize>,
    /// All of them
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

/// A number that is not in the list.
#[derive(Debug, thiserror::Error)]
#[error("there is no number {number} in what was refused: `fitme rejected` lists {listed}")]
pub struct NotListed {
    number: usize,
    listed: usize,
}

/// Does what is wanted.
///
/// # Errors
/// [`Refusal`] for a number that is not listed, or a write that is still not possible; those before it are done then.
pub fn run(wanted: &Wanted, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let rejected = store.all_rejected()?;
    match &wanted.what {
        None if wanted.json => {
            let rejected: Vec<_> = (1..).zip(&rejected).map(|(number, one)| as_json(number, one)).collect();
            json::document(&json!({ "rejected": rejected }), out)
        }
        None => list(&rejected, out),
        Some(What::Show { number }) => show(one(&rejected, *number)?, out),
        Some(What::Retry(which)) => {
            for one in which.of(&rejected)? {
                let written = store.retry_rejected(one.key, now_ms(), &mut rand::rng())?;
                writeln!(out, "{} {}", out.paint(GOOD, "written again:"), pick::short(written.doc_id))?;
            }
            Ok(())
        }
        Some(What::Discard(which)) => {
            for one in which.of(&rejected)? {
                store.discard_rejected(one.key)?;
                writeln!(out, "{} {}", out.paint(GOOD, "forgot what was refused of"), pick::short(one.write.doc_id))?;
            }
            Ok(())
        }
    }
}

impl Which {
    /// In the order of the list.
    fn of<'a>(&self, rejected: &'a [RejectedHere]) -> Result<Vec<&'a RejectedHere>, NotListed> {
        if self.all {
            return Ok(rejected.iter().collect());
        }
        let numbers: std::collections::BTreeSet<_> = self.numbers.iter().copied().collect();
        numbers.into_iter().map(|number| one(rejected, number)).collect()
    }
}

fn one(rejected: &[RejectedHere], number: usize) -> Result<&RejectedHere, NotListed> {
    let found = number.checked_sub(1).and_then(|at| rejected.get(at));
    found.ok_or(NotListed { number, listed: rejected.len() })
}

fn list(rejected: &[RejectedHere], out: &mut Out) -> Result<(), Refusal> {
    if rejected.is_empty() {
        writeln!(out, "the server refused nothing")?;
        return Ok(());
    }
    let mut table = out.table(&["", "id", "of", "when", "why"]);
    for (number, RejectedHere { of, write, .. }) in (1..).zip(rejected) {
        let collection = &write.collection;
        table.add_row(vec![
            Cell::new(number),
            out::faint(pick::short(write.doc_id)),
            Cell::new(of.as_ref().map_or(collection.clone(), |name| format!("{collection} of {name}"))),
            Cell::new(when::show(write.rejected_at, None)),
            Cell::new(format!("{} ({})", write.message, write.code)),
        ]);
    }
    out.print(&mut table)?;
    let hint = "what you wrote is kept: `fitme rejected show`, `retry` or `discard` with its number";
    Ok(writeln!(out, "{}", out.paint(FAINT, hint))?)
}

/// As text that can be copied.
fn show(RejectedHere { of, write, .. }: &RejectedHere, out: &mut Out) -> Result<(), Refusal> {
    let whose = of.as_ref().map_or(String::new(), |name| format!(" of {name}"));
    writeln!(out, "{} {} in {}{whose}", out.paint(FAINT, "record  "), write.doc_id, write.collection)?;
    writeln!(out, "{} {}", out.paint(FAINT, "refused "), when::show(write.rejected_at, None).trim())?;
    writeln!(out, "{} {} ({})", out.paint(FAINT, "because "), write.message, write.code)?;
    for (title, value) in [("what you wrote", &write.command), ("the record as it was here", &write.record)] {
        writeln!(out, "{}", out.paint(FAINT, title))?;
        writeln!(out, "{}", serde_json::to_string_pretty(value).unwrap_or_default())?;
    }
    Ok(())
}

fn as_json(number: usize, RejectedHere { of, write, .. }: &RejectedHere) -> Value {
    let mut fields = Map::from_iter([("number".to_owned(), json!(number)), ("person".to_owned(), json!(of))]);
    fields.extend(record_json::rejected(write));
    Value::Object(fields)
}
