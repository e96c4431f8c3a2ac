//! docs/records.md, written from the tables.

use std::fmt::Write;

use crate::limits::{LIST_ITEMS, NAME_BYTES};

use super::quantity::Dimension;
use super::shape::{Field, Member, Need, Shape};
use super::tables::SHAPES;

const HEAD: &str = "# Records

What a record of each collection holds. Generated from the tables in `core/src/record/tables.rs`; after changing them run
`UPDATE_DOCS=1 cargo test -p fitme-core --test it records`.

A field marked *required* must be there for a record (or an item, or a group that is there at all) to be accepted. Times
are milliseconds since 1970 UTC. A quantity is written as `\"90 lb\"`, as `{\"value\": 90, \"unit\": \"lb\"}` or as a bare number
in the SI unit, and shown with the number and the unit that were entered beside the SI value:
`{\"value\": 90, \"unit\": \"lb\", \"si\": 40.8233133}`. Items of lists have an `id`, given by the engine. Every record can be
moved to the trash and back.
";

/// The documentation of all records, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    units(&mut text);
    for shape in &SHAPES {
        collection(&mut text, shape);
    }
    text
}

fn units(text: &mut String) {
    let _ = writeln!(text, "\n## Units\n\n| what | units | SI unit |\n|---|---|---|");
    for dimension in [Dimension::Mass, Dimension::Length, Dimension::Duration, Dimension::Energy, Dimension::Volume] {
        let units: Vec<_> = dimension.units().map(|unit| format!("`{}` = {}", unit.name(), unit.factor())).collect();
        let _ = writeln!(text, "| {dimension:?} | {} | `{}` |", units.join(", "), dimension.si().name());
    }
}

fn collection(text: &mut String, shape: &Shape) {
    let _ = writeln!(text, "\n## {}\n\n{}\n\n| field | what | allowed |\n|---|---|---|", shape.collection, shape.doc);
    members(text, shape.members, "");
}

fn members(text: &mut String, members_of: &[Member], path: &str) {
    for member in members_of {
        let path = format!("{path}{}", member.name());
        match member {
            Member::Field(field) => row(text, &path, field),
            Member::Group(_, fields, doc) => {
                line(text, &path, doc, "an object");
                fields.iter().for_each(|field| row(text, &format!("{path}.{}", field.name), field));
            }
            Member::Rows(_, fields, doc) => {
                line(text, &format!("{path}[]"), doc, &format!("at most {LIST_ITEMS}"));
                fields.iter().for_each(|field| row(text, &format!("{path}[].{}", field.name), field));
            }
            Member::Items(_, inside, doc) => {
                line(text, &format!("{path}[]"), doc, &format!("at most {LIST_ITEMS}"));
                members(text, inside, &format!("{path}[]."));
            }
            Member::Tags(_, doc) => line(
                text,
                &path,
                doc,
                &format!("at most {LIST_ITEMS} texts of one line, at most {NAME_BYTES} bytes each"),
            ),
            Member::Text(_, max, doc) => line(text, &path, doc, &format!("a text without U+0000, at most {max} bytes")),
        }
    }
}

fn row(text: &mut String, path: &str, field: &Field) {
    let need = match field.need {
        Need::Required => "*required*; ",
        Need::Optional => "",
        Need::Internal => "kept by the engine; ",
    };
    line(text, path, field.doc, &format!("{need}{}", field.rule));
}

fn line(text: &mut String, path: &str, doc: &str, allowed: &str) {
    let _ = writeln!(text, "| `{path}` | {doc} | {allowed} |");
}
