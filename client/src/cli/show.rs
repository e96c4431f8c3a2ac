//! `fitme show`: all that is known of one record, for a person or as JSON.

use std::collections::BTreeSet;
use std::io::Write;

use comfy_table::{Cell, CellAlignment, Table};
use fitme_core::id::DocId;
use fitme_core::record;
use fitme_core::store::{Change, Shown, Store, Sync};
use serde_json::Value;

use super::describe::{self, list, quantity, text, words};
use super::out::{self, BAD, FAINT, GOOD, Out, PLAIN, STRONG, WAITING};
use super::{Refusal, consent, json, pick, when};
use crate::fit::device_label;

/// Fields with a place of their own in the picture of a record.
const PLACED: [&str; 11] =
    ["start", "end", "at", "zone", "zone_from", "title", "note", "source", "exercises", "laps", "items"];

/// Prints one record.
///
/// # Errors
/// [`Refusal`] where there is no such record.
pub fn run(id: &str, history: bool, as_json: bool, store: &Store, out: &mut Out) -> Result<(), Refusal> {
    let doc_id = pick::record(store, id)?;
    let shown = store.show(doc_id)?.ok_or_else(|| pick::PickError::Unknown(id.to_owned()))?;
    let changes = history.then(|| store.history(doc_id)).transpose()?;
    if as_json {
        return json::one(&shown, changes.as_deref(), out);
    }
    head(&shown, out)?;
    fields(&shown, out)?;
    lists(&shown.record, out)?;
    if let Some(note) = text(&shown.record, "note") {
        writeln!(out)?;
        out.say(PLAIN, note)?;
    }
    source(&shown.record, out)?;
    warnings(&shown, store, out)?;
    if let Some(changes) = changes {
        writeln!(out)?;
        let writers = consent::writers(store, shown.collection)?;
        history_table(&changes, &shown, &another(&writers), out)?;
    }
    Ok(())
}

/// What it is, when it was, and how far it has come.
fn head(shown: &Shown, out: &mut Out) -> Result<(), Refusal> {
    let title = describe::title(shown.collection, &shown.record);
    let title = title.unwrap_or_else(|| format!("{} without a name", describe::noun(shown.collection)));
    out.say(STRONG, title)?;
    let zone = text(&shown.record, "zone");
    let time = shown.at.map(|at| {
        let end = shown.record.get("end").and_then(Value::as_i64).map(|end| when::show_end(end, at, zone));
        let until = end.filter(|end| *end != when::show_end(at, at, zone)).map(|end| format!(" to {end}"));
        format!("{}{}{}", when::show_long(at, zone), until.unwrap_or_default(), zone_words(&shown.record))
    });
    let state = match shown.sync {
        Sync::Synced => out.paint(GOOD, "on the server"),
        Sync::Pending => out.paint(WAITING, "waits to be sent"),
        Sync::Rejected => out.paint(BAD, "refused, see `fitme rejected`"),
    };
    let trashed = shown.trashed.then(|| out.paint(BAD, "in the trash"));
    let line: Vec<_> = [time, Some(state), trashed].into_iter().flatten().collect();
    out.say(PLAIN, line.join(" · "))?;
    let name = format!("{} {}", describe::noun(shown.collection), shown.doc_id);
    Ok(out.say(FAINT, name)?)
}

fn zone_words(record: &Value) -> String {
    let guessed = if text(record, "zone_from") == Some("device") { ", guessed" } else { "" };
    text(record, "zone").map(|zone| format!(" ({zone}{guessed})")).unwrap_or_default()
}

/// The single values, by name; groups are opened.
fn fields(shown: &Shown, out: &mut Out) -> Result<(), Refusal> {
    let mut rows = Vec::new();
    // The head has the zone beside the time; the profile's belongs to no time.
    let is_here = |key: &str| !PLACED.contains(&key) || (key == "zone" && shown.at.is_none());
    for (key, value) in shown.record.as_object().into_iter().flatten().filter(|(key, _)| is_here(key)) {
        match (key.as_str(), value) {
            ("blood_pressure", pressure) => rows.extend(describe::pressure(pressure).map(|shown| (key.clone(), shown))),
            (_, Value::Object(group)) if quantity(value).is_none() => {
                rows.extend(group.iter().map(|(leaf, value)| (leaf.clone(), scalar(leaf, value))));
            }
            _ => rows.push((key.clone(), scalar(key, value))),
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = out.table(&[]);
    for (key, value) in rows {
        table.add_row(vec![out::faint(words(&key)), Cell::new(value)]);
    }
    Ok(out.print(&mut table)?)
}

/// One value in words; `name` is the key it has.
fn scalar(name: &str, value: &Value) -> String {
    let unit = match name {
        name if name.ends_with("_g") => " g",
        name if name.contains("heart_rate") || name.contains("_hr") => " bpm",
        "body_fat" => " %",
        "kcal_per_day" => " kcal",
        _ => "",
    };
    match value {
        Value::String(text) => words_of_choice(name, text),
        Value::Array(values) => values.iter().map(|value| scalar("", value)).collect::<Vec<_>>().join(", "),
        Value::Object(_) => quantity(value).unwrap_or_else(|| value.to_string()),
        other => format!("{other}{unit}"),
    }
}

fn words_of_choice(name: &str, text: &str) -> String {
    if name == "sport" { words(text) } else { text.to_owned() }
}

/// Exercises, laps and foods, each with the id by which an edit names it.
fn lists(record: &Value, out: &mut Out) -> Result<(), Refusal> {
    let tables = [
        sets_table(list(record, "exercises"), out),
        laps_table(list(record, "laps"), text(record, "zone"), out),
        foods_table(list(record, "items"), out),
    ];
    for mut table in tables.into_iter().filter(|table| table.row_count() > 0) {
        writeln!(out)?;
        out.print(&mut table)?;
    }
    Ok(())
}

fn sets_table(exercises: &[Value], out: &Out) -> Table {
    let mut table = out.table(&["exercise", "set", "felt", "item"]);
    for exercise in exercises {
        let id = text(exercise, "id").unwrap_or_default();
        let name = text(exercise, "name").unwrap_or("–");
        let sets = list(exercise, "sets");
        if sets.is_empty() {
            table.add_row(vec![Cell::new(name), Cell::new("no sets"), Cell::new(""), out::faint(id)]);
        }
        for (index, set) in sets.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let felt = set.get("rpe").map(|rpe| format!("{rpe}/10")).unwrap_or_default();
            let item = format!("{id} {}", text(set, "id").unwrap_or_default());
            table.add_row(vec![Cell::new(name), Cell::new(set_words(set)), right(felt), out::faint(item)]);
        }
    }
    table
}

/// `8 × 80 kg`, with what the set was for unless it was work.
fn set_words(set: &Value) -> String {
    let reps = set.get("reps").map(Value::to_string).unwrap_or_else(|| "?".to_owned());
    let load = set.get("load");
    let load = match load.and_then(|load| load.get("value")?.as_f64()) {
        Some(0.0) => String::new(),
        _ => load.and_then(quantity).map(|load| format!(" × {load}")).unwrap_or_default(),
    };
    let kind = text(set, "kind").filter(|kind| *kind != "work").map(|kind| format!(" ({kind})")).unwrap_or_default();
    format!("{reps}{load}{kind}")
}

fn laps_table(laps: &[Value], zone: Option<&str>, out: &Out) -> Table {
    let mut table = out.table(&["lap", "start", "distance", "time", "pulse", "highest", "energy", "item"]);
    for (index, lap) in laps.iter().enumerate() {
        let start = lap.get("start").and_then(Value::as_i64);
        let shown = |key| lap.get(key).and_then(quantity).unwrap_or_default();
        let rate = |key| lap.get(key).map(Value::to_string).unwrap_or_default();
        table.add_row(vec![
            right((index + 1).to_string()),
            right(start.map(|start| when::show_end(start, start, zone)).unwrap_or_default()),
            right(shown("distance")),
            right(shown("moving_time")),
            right(rate("average_heart_rate")),
            right(rate("maximum_heart_rate")),
            right(shown("energy")),
            out::faint(text(lap, "id").unwrap_or_default()),
        ]);
    }
    table
}

fn foods_table(foods: &[Value], out: &Out) -> Table {
    const NUTRIENTS: [&str; 5] = ["kcal", "protein_g", "carbohydrate_g", "fat_g", "fibre_g"];
    let known: Vec<_> = NUTRIENTS.into_iter().filter(|key| foods.iter().any(|food| food.get(key).is_some())).collect();
    let names = known.iter().map(|key| key.trim_end_matches("_g"));
    let mut table = out.table(&["food", "amount"].into_iter().chain(names).chain(["item"]).collect::<Vec<_>>());
    for food in foods {
        let mut row = vec![
            Cell::new(text(food, "name").unwrap_or("–")),
            right(food.get("amount").and_then(quantity).unwrap_or_default()),
        ];
        row.extend(known.iter().map(|key| right(food.get(key).map(|value| scalar(key, value)).unwrap_or_default())));
        row.push(out::faint(text(food, "id").unwrap_or_default()));
        table.add_row(row);
    }
    table
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Where an imported workout comes from.
fn source(record: &Value, out: &mut Out) -> Result<(), Refusal> {
    let Some(source) = record.get("source") else { return Ok(()) };
    let device = text(source, "device").map(device_label).unwrap_or_else(|| "an unnamed device".to_owned());
    let file: String = text(source, "file_hash").unwrap_or("unknown").chars().take(8).collect();
    let session = source.get("session").and_then(Value::as_i64).unwrap_or_default() + 1;
    let line = format!("recorded by {device}, imported from file {file}…, session {session}");
    writeln!(out)?;
    Ok(out.say(FAINT, line)?)
}

/// What a person should look at: problems, and fields that two devices set differently.
fn warnings(shown: &Shown, store: &Store, out: &mut Out) -> Result<(), Refusal> {
    for flag in &shown.flags {
        out.say(PLAIN, format!("{} {flag}", out.paint(WAITING, "look:")))?;
    }
    let own = store.own_actors()?;
    for conflict in &shown.conflicts {
        let differs = out.paint(WAITING, "differs:");
        out.say(PLAIN, format!("{differs} {} was set differently by two devices:", conflict.field))?;
        for (index, value) in conflict.values.iter().enumerate() {
            let who = if own.contains(&value.actor) { "this device" } else { "another device" };
            let shown_here = if index + 1 == conflict.values.len() { ", shown" } else { "" };
            let what = scalar(&conflict.field, &value.value);
            let who = out.paint(FAINT, format!("{who}, {}{shown_here}", when::show(value.time_ms, None)));
            out.say(PLAIN, format!("  {what}  {who}"))?;
        }
    }
    Ok(())
}

fn history_table(changes: &[Change], shown: &Shown, another: &str, out: &mut Out) -> Result<(), Refusal> {
    let mut table = out.table(&["state", "when", "who", "what"]);
    for change in changes {
        let when = if change.time_ms == 0 { String::new() } else { when::show(change.time_ms, None) };
        table.add_row(vec![
            out::faint(pick::short_state(change.hash)),
            Cell::new(when),
            Cell::new(who(change, shown.doc_id, another)),
            Cell::new(touched(change)),
        ]);
    }
    Ok(out.print(&mut table)?)
}

/// Who wrote what no writer of this home wrote. A change does not say whose device wrote it; whoever may write is known.
fn another(writers: &BTreeSet<String>) -> String {
    let others = writers.iter().map(String::as_str);
    std::iter::once("another device").chain(others).collect::<Vec<_>>().join(" or ")
}

fn who(change: &Change, doc_id: DocId, another: &str) -> String {
    match record::import_version(doc_id, change.actor) {
        Some(version) => format!("importer {version}"),
        None if change.own => "this device".to_owned(),
        // What every device writes byte-equal has no author and no time.
        None if change.time_ms == 0 && doc_id.is_derived() => "–".to_owned(),
        None => another.to_owned(),
    }
}

/// The fields a change touched: few as an edit names them, many by the parts of the record.
fn touched(change: &Change) -> String {
    const IN_FULL: usize = 3;
    // Both are a matter of one field, and of opposite meaning.
    let moved = change.trashed.map(|trashed| if trashed { "moved to the trash" } else { "taken out of the trash" });
    let fields: Vec<_> = change.fields.iter().filter(|field| moved.is_none() || *field != "trashed").collect();
    if let Some(moved) = moved {
        return std::iter::once(moved).chain(fields.into_iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
    }
    if fields.is_empty() {
        return "made the record".to_owned();
    }
    if fields.len() <= IN_FULL {
        return change.fields.join(", ");
    }
    let part = |field: &&String| match field.split('.').next() {
        Some("zone_file" | "zone_guess") => "zone".to_owned(),
        part => part.unwrap_or_default().to_owned(),
    };
    let mut parts: Vec<_> = fields.iter().map(part).collect();
    parts.dedup();
    parts.join(", ")
}
