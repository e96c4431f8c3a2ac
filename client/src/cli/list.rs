//! `fitme list`: the records of a collection, latest first, as a table or as JSON.

use comfy_table::{Cell, CellAlignment, Color, Table};
use fitme_core::collection::Collection;
use fitme_core::store::{ListQuery, Listed, Store, Sync};
use serde_json::Value;

use super::describe::{self, MEASURED, Units, list, real, text};
use super::out::{self, FAINT, Out, PLAIN};
use super::when::{self, Moment};
use super::{Refusal, json, pick};

/// Lines of a table unless asked for more: a screen.
const LINES: usize = 40;

/// Which records.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// workouts, meals, moods, measurements or profile
    #[arg(value_parser = collection)]
    pub collection: Collection,
    /// From this time on: a day, a time, or 7d for seven days ago
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: Option<Moment>,
    /// Up to this time; a day is included
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<Moment>,
    /// At most so many [default: 40 in a table, all as JSON]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Those in the trash
    #[arg(long)]
    trashed: bool,
    /// As JSON, after docs/schema/records.schema.json
    #[arg(long)]
    json: bool,
    /// Of somebody who shares it with you, as `fitme clients` lists them
    #[arg(long, value_name = "CLIENT")]
    pub of: Option<String>,
}

/// The singular will do, as `fitme log` has it.
fn collection(name: &str) -> Result<Collection, String> {
    // Grants have a command of their own.
    let served = || Collection::ALL.into_iter().filter(|one| one.is_served() && !one.is_write_once());
    let fits = |collection: &Collection| collection.name() == name || collection.name().strip_suffix('s') == Some(name);
    served().find(fits).ok_or_else(|| {
        let names: Vec<_> = served().map(Collection::name).collect();
        format!("the collections are {}", names.join(", "))
    })
}

/// Prints the records.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn run(wanted: Wanted, store: &Store, out: &mut Out) -> Result<(), Refusal> {
    let Wanted { collection, since, until, limit, trashed, json, .. } = wanted;
    let limit = limit.unwrap_or(if json { i64::MAX as usize } else { LINES });
    let query = ListQuery {
        collection,
        since: since.map(|since| since.ms),
        until: until.map(|until| until.end_ms()),
        trashed,
        // One more than is shown says whether there are more.
        limit: limit.saturating_add(1).min(i64::MAX as usize),
    };
    let mut listed = store.list(&query)?;
    let more = listed.len() > limit;
    listed.truncate(limit);
    if json {
        return json::records(store, listed.into_iter().map(|listed| listed.doc_id), out);
    }
    if listed.is_empty() {
        return Ok(out.say(PLAIN, nothing(&query))?);
    }
    let mut table = table(collection, &listed, store, out)?;
    out.print(&mut table)?;
    if more {
        let hint = format!("these are the latest {limit}: --limit N shows more, --since and --until others");
        out.say(FAINT, hint)?;
    }
    Ok(())
}

fn nothing(query: &ListQuery) -> String {
    let place = if query.trashed { "in the trash" } else { "here" };
    let when = if query.since.is_some() || query.until.is_some() { " from that time" } else { "" };
    format!("no {} {place}{when}", query.collection)
}

fn table(collection: Collection, listed: &[Listed], store: &Store, out: &Out) -> Result<Table, Refusal> {
    let units = Units::of(store)?;
    let columns = columns(collection, listed, units);
    // Before there is an account everything waits, and saying so on each line says nothing.
    let show_sync = store.identity()?.is_some() && listed.iter().any(|listed| listed.sync != Sync::Synced);
    let mut header = vec!["id"];
    if collection != Collection::Profile {
        header.push("when");
    }
    header.extend(columns.iter().map(|column| column.name));
    if show_sync {
        header.push("sync");
    }
    let mut table = out.table(&header);
    for listed in listed {
        let mut row = vec![out::faint(pick::short(listed.doc_id))];
        if collection != Collection::Profile {
            row.push(Cell::new(time(listed)));
        }
        row.extend(columns.iter().map(|column| column.cell(&listed.columns)));
        if show_sync {
            row.push(sync(listed.sync));
        }
        table.add_row(row);
    }
    Ok(table)
}

/// When it happened, by the clocks there.
fn time(listed: &Listed) -> String {
    listed.at.map_or_else(|| "–".to_owned(), |at| when::show(at, text(&listed.columns, "zone")))
}

fn sync(sync: Sync) -> Cell {
    match sync {
        Sync::Synced => out::faint("✓"),
        Sync::Pending => out::coloured("waits", Color::Yellow),
        Sync::Rejected => out::coloured("refused", Color::Red),
    }
}

type Show = Box<dyn Fn(&Value) -> Option<String>>;

/// One column of a table.
struct Column {
    name: &'static str,
    is_number: bool,
    show: Show,
}

impl Column {
    fn text(name: &'static str, show: impl Fn(&Value) -> Option<String> + 'static) -> Self {
        Self { name, is_number: false, show: Box::new(show) }
    }

    fn number(name: &'static str, show: impl Fn(&Value) -> Option<String> + 'static) -> Self {
        Self { name, is_number: true, show: Box::new(show) }
    }

    fn cell(&self, columns: &Value) -> Cell {
        let cell = Cell::new((self.show)(columns).unwrap_or_default());
        if self.is_number { cell.set_alignment(CellAlignment::Right) } else { cell }
    }
}

/// The columns of a collection; of those that few records have, the ones that these have.
fn columns(collection: Collection, listed: &[Listed], units: Units) -> Vec<Column> {
    let scale = |key: &'static str, most: u8| {
        Column::number(key, move |columns| real(columns, key).map(|value| format!("{value}/{most}")))
    };
    let mut columns = match collection {
        Collection::Workouts => vec![
            Column::text("workout", move |columns| describe::title(collection, columns)),
            Column::text("effort", move |columns| Some(describe::effort(columns, units))),
        ],
        Collection::Meals => vec![
            Column::text("meal", |columns| text(columns, "kind").map(str::to_owned)),
            Column::text("foods", |columns| Some(joined(columns, "names"))),
            Column::number("kcal", |columns| real(columns, "kcal").map(|kcal| describe::number(kcal, 0))),
        ],
        Collection::Moods => vec![
            Column::text("mood", move |columns| describe::title(collection, columns)),
            scale("energy", 5),
            scale("stress", 5),
            scale("fatigue", 7),
            scale("soreness", 7),
            Column::text("tags", |columns| Some(joined(columns, "tags"))),
        ],
        Collection::Measurements => {
            MEASURED.map(|(key, name)| Column::number(name, move |columns| describe::measurement(columns, key))).into()
        }
        _ => vec![
            Column::text("name", |columns| text(columns, "name").map(str::to_owned)),
            Column::text("units", |columns| text(columns, "units").map(str::to_owned)),
        ],
    };
    columns.retain(|column| {
        listed.iter().any(|listed| (column.show)(&listed.columns).is_some_and(|text| !text.is_empty()))
    });
    columns
}

fn joined(columns: &Value, key: &str) -> String {
    list(columns, key).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}
