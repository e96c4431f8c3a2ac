//! What a row found, as a table for the terminal and as a section of docs/benchmarks.md.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::measure::{Peaks, Runs};

/// Columns of a terminal that is not wide.
const WIDTH: u16 = 100;
/// What a measure's name needs at least: broken over three lines it is hard to find.
const FIRST_COLUMN: u16 = 36;
const HEADER: [&str; 6] = ["measure", "ours", "beside", "ratio", "goal", "reached"];

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Time,
    /// Bytes.
    Bytes,
    /// Things a second.
    Rate,
    /// Things.
    Count,
    /// A share of something else.
    Ratio,
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
enum Goal {
    AtMost(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

/// One measure beside another.
#[derive(Debug, Clone)]
pub struct Line {
    what: String,
    unit: Unit,
    ours: Runs,
    beside: Option<(&'static str, Runs)>,
    goal: Option<Goal>,
}

impl Line {
    /// A measure of ours.
    pub fn new(what: impl Into<String>, unit: Unit, ours: Runs) -> Self {
        Self { what: what.into(), unit, ours, beside: None, goal: None }
    }

    /// What it stands beside.
    pub fn beside(self, name: &'static str, figures: Runs) -> Self {
        Self { beside: Some((name, figures)), ..self }
    }

    /// The goal: at most this much.
    pub fn at_most(self, most: f64) -> Self {
        Self { goal: Some(Goal::AtMost(most)), ..self }
    }

    /// The goal: at most so many times what stands beside it.
    pub fn ratio_at_most(self, most: f64) -> Self {
        Self { goal: Some(Goal::RatioAtMost(most)), ..self }
    }

    /// The goal: at least so many times what stands beside it.
    pub fn ratio_at_least(self, least: f64) -> Self {
        Self { goal: Some(Goal::RatioAtLeast(least)), ..self }
    }

    fn ratio(&self) -> Option<Runs> {
        self.beside.as_ref().map(|(_, beside)| self.ours.over(beside))
    }

    fn reached(&self) -> Option<bool> {
        let ratio = self.ratio().map_or(f64::NAN, |ratio| ratio.median());
        self.goal.map(|goal| match goal {
            Goal::AtMost(most) => self.ours.median() <= most,
            Goal::RatioAtMost(most) => ratio <= most,
            Goal::RatioAtLeast(least) => ratio >= least,
        })
    }

    fn cells(&self) -> [String; 6] {
        let beside = self.beside.as_ref().map(|(name, runs)| format!("{}, {name}", figure(self.unit, runs)));
        let goal = self.goal.map(|goal| match goal {
            Goal::AtMost(most) => format!("≤ {}", figure(self.unit, &Runs::once(most))),
            Goal::RatioAtMost(most) => format!("≤ {most}x"),
            Goal::RatioAtLeast(least) => format!("≥ {least}x"),
        });
        [
            self.what.clone(),
            figure(self.unit, &self.ours),
            beside.unwrap_or_default(),
            self.ratio().map(|ratio| figure(Unit::Ratio, &ratio)).unwrap_or_default(),
            goal.unwrap_or_default(),
            self.reached().map(|reached| if reached { "yes" } else { "NO" }).unwrap_or_default().to_owned(),
        ]
    }
}

/// Everything one row found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The row's name, as BENCH=... has it.
    pub row: &'static str,
    /// What was done, in a sentence or two.
    pub work: String,
    /// The measures.
    pub lines: Vec<Line>,
    /// Peak memory of the processes.
    pub peaks: Peaks,
}

impl Report {
    /// As a table for a terminal.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(WIDTH).set_header(HEADER);
        for line in &self.lines {
            table.add_row(line.cells());
        }
        if let Some(first) = table.column_mut(0) {
            first.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(FIRST_COLUMN)));
        }
        format!("{}: {}\n{table}\n{}", self.row, self.work, self.memory())
    }

    /// As a section in Markdown.
    pub fn markdown(&self) -> String {
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let header = HEADER.map(str::to_owned);
        let rule = HEADER.map(|_| "---".to_owned());
        let lines: String = self.lines.iter().map(|line| row(&line.cells())).collect();
        format!("{}\n\n{}{}{lines}\n{}\n", self.work, row(&header), row(&rule), self.memory())
    }

    fn memory(&self) -> String {
        let peaks = self.peaks.0.iter();
        let each: Vec<_> =
            peaks.map(|(name, bytes)| format!("{name} {}", figure(Unit::Bytes, &Runs::once(*bytes)))).collect();
        if each.is_empty() { String::new() } else { format!("Peak memory: {}.", each.join(", ")) }
    }
}

/// The median, and the spread behind it where there is one: `263 µs (251-290)`.
fn figure(unit: Unit, runs: &Runs) -> String {
    let median = runs.median();
    let (scale, name) = scale(unit, median);
    let (low, high) = runs.spread();
    let number = |value: f64| digits(value * scale);
    let spread = match (number(low), number(high)) {
        (low, high) if low == high => String::new(),
        (low, high) => format!(" ({low}-{high})"),
    };
    format!("{}{name}{spread}", number(median))
}

fn scale(unit: Unit, value: f64) -> (f64, &'static str) {
    const KIB: f64 = 1024.0;
    match unit {
        Unit::Time if value < 1e-3 => (1e6, " µs"),
        Unit::Time if value < 1.0 => (1e3, " ms"),
        Unit::Time => (1.0, " s"),
        Unit::Bytes if value < 10.0 * KIB => (1.0, " B"),
        Unit::Bytes if value < 10.0 * KIB * KIB => (1.0 / KIB, " KiB"),
        Unit::Bytes => (1.0 / KIB / KIB, " MiB"),
        Unit::Rate => (1.0, "/s"),
        Unit::Count => (1.0, ""),
        Unit::Ratio => (1.0, "x"),
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 10.0 && value.fract() != 0.0 => 2,
        small if small < 100.0 && value.fract() != 0.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_their_unit() {
        assert_eq!(figure(Unit::Time, &Runs(vec![0.000_263, 0.000_251, 0.000_29])), "263 µs (251-290)");
        assert_eq!(figure(Unit::Time, &Runs::once(1.5)), "1.50 s");
        assert_eq!(figure(Unit::Bytes, &Runs::once(285.0)), "285 B");
        assert_eq!(figure(Unit::Rate, &Runs::once(46_000.4)), "46000/s");
    }

    #[test]
    fn a_goal_that_is_missed_is_shouted() {
        let line = Line::new("p50", Unit::Time, Runs::once(3.0)).beside("bare", Runs::once(1.0));
        assert_eq!(line.clone().ratio_at_most(2.0).cells()[5], "NO");
        assert_eq!(line.ratio_at_least(0.5).cells()[5], "yes");
    }
}
