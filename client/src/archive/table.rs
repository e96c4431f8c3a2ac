//! What lists show, as CSV that a spreadsheet opens: one row a record, one column a value.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use fitme_core::store::Listed;
use jiff::Timestamp;
use serde_json::Value;

/// Tells spreadsheets that the text is UTF-8; without it some show Cyrillic and umlauts as something else.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// A text that begins so is a formula to a spreadsheet, and a formula can read other cells and send them away.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// One record and whether it is in the trash.
pub struct Row {
    pub listed: Listed,
    pub trashed: bool,
}

/// Writes the rows, with every column that one of them has.
pub fn write(rows: &[Row], out: &mut dyn Write) -> Result<(), csv::Error> {
    let flat: Vec<BTreeMap<_, _>> = rows.iter().map(|row| flattened(&row.listed.columns)).collect();
    let names: BTreeSet<_> = flat.iter().flat_map(BTreeMap::keys).collect();
    out.write_all(BYTE_ORDER_MARK)?;
    let mut table = csv::Writer::from_writer(out);
    table.write_record(["id", "at", "trashed"].into_iter().chain(names.iter().map(|name| name.as_str())))?;
    for (row, cells) in rows.iter().zip(&flat) {
        let trashed = if row.trashed { "yes" } else { "" };
        let fixed = [row.listed.doc_id.to_string(), row.listed.at.map(time).unwrap_or_default(), trashed.to_owned()];
        table.write_record(fixed.iter().chain(names.iter().map(|name| cells.get(*name).unwrap_or(EMPTY))))?;
    }
    Ok(table.flush()?)
}

const EMPTY: &String = &String::new();

/// UTC, as spreadsheets and people read it.
fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

/// A quantity becomes the columns `weight.value`, `weight.unit` and `weight.si`.
fn flattened(columns: &Value) -> BTreeMap<String, String> {
    let mut cells = BTreeMap::new();
    flatten("", columns, &mut cells);
    cells
}

fn flatten(name: &str, value: &Value, cells: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                flatten(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, member, cells);
            }
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            cells.insert(name.to_owned(), harmless(items.join("; ")));
        }
        // A number is a number, also a negative one.
        Value::Number(number) => drop(cells.insert(name.to_owned(), number.to_string())),
        other => drop(cells.insert(name.to_owned(), harmless(plain(other)))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The apostrophe says that what follows is text.
fn harmless(text: String) -> String {
    if text.starts_with(FORMULA) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use fitme_core::id::DocId;
    use fitme_core::store::Sync;
    use serde_json::json;

    use super::*;

    fn csv(columns: Value) -> String {
        let listed = Listed { doc_id: DocId([7; 16]), at: Some(0), columns, sync: Sync::Synced };
        let mut text = Vec::new();
        write(&[Row { listed, trashed: true }], &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_record_is_a_row_that_a_spreadsheet_opens() {
        let text = csv(json!({ "tags": ["sun", "a \"b\""], "valence": -1, "weight": { "value": 80.5, "unit": "kg" } }));
        assert_eq!(
            text,
            "\u{feff}id,at,trashed,tags,valence,weight.unit,weight.value\n\
             07070707-0707-0707-0707-070707070707,1970-01-01T00:00:00Z,yes,\"sun; a \"\"b\"\"\",-1,kg,80.5\n"
        );
    }

    #[test]
    fn no_text_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            let text = csv(json!({ "title": formula, "names": [formula] }));
            let mut rows = csv::Reader::from_reader(text.as_bytes());
            let row = rows.records().next().unwrap().unwrap();
            assert_eq!((&row[3], &row[4]), (format!("'{formula}").as_str(), format!("'{formula}").as_str()));
        }
    }
}
