//! Where output goes: how wide it may be, whether it may be coloured, and what happens when nobody reads it.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

/// Width where no terminal says another.
const WIDTH: u16 = 80;
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
    width: u16,
}

impl Out {
    /// Locks standard output for the length of a command.
    pub fn new() -> Self {
        let table = Table::new();
        let width = table.width().or_else(|| std::env::var("COLUMNS").ok()?.parse().ok()).unwrap_or(WIDTH);
        Self {
            stream: BufWriter::new(io::stdout().lock()),
            coloured: may_colour(io::stdout().is_terminal()),
            width: width.clamp(40, WIDEST),
        }
    }

    /// Columns that a line may have.
    pub fn width(&self) -> usize {
        self.width.into()
    }

    /// `text` in `style`, where colours are shown.
    pub fn paint(&self, style: Style, text: impl Display) -> String {
        if self.coloured { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// Prints a text in as many lines as it needs.
    pub fn say(&mut self, style: Style, text: impl Display) -> io::Result<()> {
        for line in self.wrapped(&text.to_string(), 0) {
            let line = self.paint(style, line);
            writeln!(self.stream, "{line}")?;
        }
        Ok(())
    }

    /// The lines of a text that begin after so many columns.
    pub fn wrapped(&self, text: &str, from: u16) -> Vec<String> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.force_no_tty().set_width(self.width - from).add_row([text]);
        for column in table.column_iter_mut() {
            column.set_padding((0, 0));
        }
        table.to_string().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// A table without lines: a quiet header, two spaces between columns.
    pub fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(self.width);
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

    /// Prints a table, each line without the spaces that fill its last column.
    pub fn print(&mut self, table: &mut Table) -> io::Result<()> {
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
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

/// Whether to colour: on a terminal, unless the person said otherwise in one of the usual ways (no-color.org,
/// bixense.com/clicolors).
fn may_colour(on_terminal: bool) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_set("NO_COLOR") && (is_set("CLICOLOR_FORCE") || (on_terminal && !is_dumb))
}
