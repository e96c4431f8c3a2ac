//! Where output goes: how wide it may be, whether it may be coloured, and what happens when nobody reads it.
//!
//! Sentences go through [`Out::say`] and end at the terminal's edge; where there is none they stay one line each, as programs
//! read them. Tables have a width of their own. What is copied, such as links, is written as it is, on a line by itself.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use terminal_size::Width;
use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Width of a table where no terminal says another.
const WIDTH: u16 = 80;
/// Narrower than this nothing can be read.
const NARROWEST: u16 = 40;
/// Columns that a word of a table may take from the other columns; longer ones are broken.
const LONGEST_WORD: usize = 24;
/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: u16 = 120;

/// What is quiet: ids, units, explanations.
pub const FAINT: Style = Style::new().dimmed();
/// What is said as it is.
pub const PLAIN: Style = Style::new();
/// What names a thing.
pub const STRONG: Style = Style::new().bold();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What waits or needs a look.
pub const WAITING: Style = AnsiColor::Yellow.on_default();
/// What was refused.
pub const BAD: Style = AnsiColor::Red.on_default();

/// Standard output, buffered.
pub struct Out {
    stream: BufWriter<StdoutLock<'static>>,
    coloured: bool,
    /// Of the terminal, if there is one.
    columns: Option<u16>,
}

impl Out {
    /// Locks standard output for the length of a command.
    pub fn new() -> Self {
        Self {
            stream: BufWriter::new(io::stdout().lock()),
            coloured: may_colour(io::stdout().is_terminal()),
            columns: columns_of(&io::stdout()),
        }
    }

    /// Columns that a table may have.
    pub fn width(&self) -> usize {
        self.columns.unwrap_or(WIDTH).into()
    }

    /// `text` in `style`, where colours are shown.
    pub fn paint(&self, style: Style, text: impl Display) -> String {
        if self.coloured { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// Prints a sentence, on a terminal in as many lines as it needs.
    pub fn say(&mut self, style: Style, text: impl Display) -> io::Result<()> {
        for line in self.wrapped(&text.to_string(), 0) {
            let line = self.paint(style, line);
            writeln!(self.stream, "{line}")?;
        }
        Ok(())
    }

    /// The lines of a text that begin after so many columns.
    pub fn wrapped<'a>(&self, text: &'a str, from: u16) -> Vec<Cow<'a, str>> {
        wrapped(text, self.columns.map(|columns| columns - from))
    }

    /// A table without lines: a quiet header, two spaces between columns.
    pub fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(self.columns.unwrap_or(WIDTH));
        if self.coloured {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if !header.is_empty() {
            table.set_header(header.iter().map(|name| Cell::new(name.to_uppercase()).add_attribute(Attribute::Dim)));
        }
        table
    }

    /// Prints a table, each line without the spaces that fill its last column, no word of usual length broken.
    pub fn print(&mut self, table: &mut Table) -> io::Result<()> {
        let mut longest = vec![0; table.column_count()];
        for row in table.row_iter() {
            for (longest, cell) in longest.iter_mut().zip(row.cell_iter()) {
                let content = cell.content();
                let words = content.split([' ', '\n']).map(textwrap::core::display_width);
                *longest = words.filter(|width| *width <= LONGEST_WORD).fold(*longest, usize::max);
            }
        }
        for (column, longest) in table.column_iter_mut().zip(longest) {
            let (gap, least) = (2, longest as u16);
            column.set_padding((0, gap));
            column.set_constraint(ColumnConstraint::LowerBoundary(comfy_table::Width::Fixed(least + gap)));
        }
        for line in table.to_string().lines() {
            writeln!(self.stream, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A quiet cell.
pub fn faint(text: impl ToString) -> Cell {
    Cell::new(text).add_attribute(Attribute::Dim)
}

/// A cell of one colour.
pub fn coloured(text: impl ToString, colour: Color) -> Cell {
    Cell::new(text).fg(colour)
}

/// Says on standard error why a command was not carried out.
pub fn complain(refusal: impl Display) {
    let mut stderr = io::stderr().lock();
    for line in wrapped(&format!("fitme: {refusal}"), columns_of(&stderr)) {
        let _nobody_to_tell = writeln!(stderr, "{line}");
    }
}

/// How wide the terminal behind a stream is, or is said to be; `None` where there is no terminal.
fn columns_of(stream: &impl AsFd) -> Option<u16> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let columns = said.or_else(|| terminal_size::terminal_size_of(stream).map(|(Width(columns), _)| columns));
    columns.map(|columns| columns.clamp(NARROWEST, WIDEST))
}

/// The lines of a text, no wider than `columns` unless a single word is.
fn wrapped(text: &str, columns: Option<u16>) -> Vec<Cow<'_, str>> {
    let Some(columns) = columns else { return text.lines().map(Cow::from).collect() };
    let how = Options::new(columns.into())
        .break_words(false)
        .word_separator(WordSeparator::Custom(words))
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::wrap(text, how)
}

/// The words of a line with the spaces behind them. A command between backticks is one word, so that it can be copied.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let (mut quoted, mut in_space) = (false, false);
    let ends = line.char_indices().filter(move |(_, letter)| {
        quoted ^= *letter == '`';
        let is_space = *letter == ' ' && !quoted;
        std::mem::replace(&mut in_space, is_space) && !is_space
    });
    let mut from = 0;
    let cuts = ends.map(|(at, _)| at).chain([line.len()]);
    Box::new(cuts.map(move |to| Word::from(&line[std::mem::replace(&mut from, to)..to])))
}

/// Whether to colour: on a terminal, unless the person said otherwise in one of the usual ways (no-color.org,
/// bixense.com/clicolors).
fn may_colour(on_terminal: bool) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_set("NO_COLOR") && (is_set("CLICOLOR_FORCE") || (on_terminal && !is_dumb))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENTENCE: &str = "a mail to ann@example.org brings a token: `fitme confirm TOKEN` confirms the address";

    #[test]
    fn a_sentence_ends_at_the_edge_and_a_command_in_it_is_not_broken() {
        let lines = wrapped(SENTENCE, Some(50));
        assert_eq!(lines, ["a mail to ann@example.org brings a token:", "`fitme confirm TOKEN` confirms the address"]);
        assert_eq!(wrapped("`fitme login --email a@b.c`", Some(10)), ["`fitme login --email a@b.c`"]);
        assert_eq!(wrapped("", Some(10)), [""]);
    }

    #[test]
    fn without_a_terminal_a_sentence_is_one_line() {
        assert_eq!(wrapped(SENTENCE, None), [SENTENCE]);
    }

    #[test]
    fn colours_take_no_place() {
        let painted = format!("{GOOD}signed up{GOOD:#} as ann@example.org");
        assert_eq!(wrapped(&painted, Some(28)), [painted.as_str()]);
    }
}
