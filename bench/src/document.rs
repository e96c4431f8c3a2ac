//! docs/benchmarks.md: prose written by people, around blocks that are replaced by what was measured.

use std::fs;

use anyhow::{Context, Result};

use crate::report::Report;
use crate::world::workspace;

const DOCUMENT: &str = "docs/benchmarks.md";
const END: &str = "<!-- /bench -->";

/// Puts a row's results, and the settings they were measured with, into their block.
pub fn write(settings: &[String], report: &Report) -> Result<()> {
    let path = workspace().join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("{DOCUMENT} cannot be read"))?;
    let settings: String = settings.iter().map(|setting| format!("> {setting}  \n")).collect();
    let block = format!("{}\n{settings}", report.markdown());
    let text = replace(&text, report.row, &block)
        .with_context(|| format!("{DOCUMENT} has no block <!-- bench {} --> up to {END}", report.row))?;
    Ok(fs::write(path, text)?)
}

fn replace(text: &str, row: &str, block: &str) -> Option<String> {
    let begin = format!("<!-- bench {row} -->");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{block}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rows_own_block_is_replaced() {
        let text = "intro\n<!-- bench a -->\nold\n<!-- /bench -->\nprose\n<!-- bench b -->\nkept\n<!-- /bench -->\n";
        let new = replace(text, "a", "new\n").expect("the block is there");
        assert_eq!(new, text.replace("old", "new"));
        assert_eq!(replace(text, "c", ""), None);
    }
}
