//! The numbers of every table: one column per subject, rows in groups, and ratios to the first column that is compared.

use super::table::{Heading, TextTable};

/// The headings, all empty, of the columns before those of the subjects: group, label and unit.
const WORD_COLUMNS: [&str; 3] = [""; 3];

/// A table whose cells are still numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The subjects, one in each column.
    pub columns: Vec<Column>,
    /// The groups of rows that belong together.
    pub groups: Vec<Group>,
    /// The place where ratios are shown.
    pub ratios: Ratios,
}

/// The place where ratios are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ratios {
    /// Ratios have a column of their own, after the column of their values.
    Column,
    /// Ratios follow each value in parentheses.
    Behind,
}

/// A column of the table, which shows one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name of the subject, for the heading.
    pub name: String,
    /// Whether the column is only shown beside the others, without a ratio.
    pub excluded_from_ratios: bool,
}

/// A group of rows that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The title, which is shown before the first row.
    pub title: String,
    /// The probe that the rows are about, if it is one probe.
    pub probe: Option<String>,
    /// The CPU that the rows are about, if it is one CPU.
    pub cpu: Option<u32>,
    /// The rows of the group, in order.
    pub rows: Vec<GridRow>,
}

/// One figure for all subjects.
#[derive(Debug, Clone, PartialEq)]
pub struct GridRow {
    /// The label in front of the values.
    pub label: String,
    /// The unit that the values have.
    pub unit: Unit,
    /// The ratios that the row has.
    pub ratios: RowRatios,
    /// The values, one for each column.
    pub values: Vec<Value>,
}

/// The ratios of a row, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub enum RowRatios {
    /// A ratio of two values would have no meaning.
    None,
    /// The ratios of the values that are shown.
    OfValues,
    /// Ratios of rounds, one for each column, each with the answer of a test.
    Tested(Vec<TestedRatio>),
}

/// The ratio of one column to the reference, round by round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TestedRatio {
    /// There is nothing to compare.
    Missing,
    /// No difference is shown, so that a ratio would mislead.
    NoDifference,
    /// A difference is shown. The ratio is `None` if the reference is 0.
    Shown(Option<f64>),
}

/// The mark in place of a ratio where no difference is shown.
const NO_DIFFERENCE: &str = "~";

/// The value of one figure for one subject.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A number in the unit of the row.
    Number(f64),
    /// The number of copies that were identical to their source, and the number of all copies.
    Identical(usize, usize),
    /// The number of copies that were not made, as the tool reported, and the number of all copies.
    Failed(usize, usize),
    /// The subject has no such measurement.
    Missing,
    /// This kernel does not provide the figure.
    Unsupported,
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Missing, Self::Number)
    }
}

/// The unit that a number has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds, the unit of all latencies.
    Microseconds,
    /// Seconds, the unit of all times.
    Seconds,
    /// Bytes, the unit of all sizes.
    Bytes,
    /// Bytes per second, the unit of all throughputs.
    BytesPerSecond,
    /// A number of events, without a unit.
    Count,
    /// A share of a whole, in percent.
    Percent,
}

impl Unit {
    /// Returns the name of the unit in which numbers are kept.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/s",
            Self::Count => "count",
            Self::Percent => "percent",
        }
    }

    /// Returns the units for display, smallest first, each with its size in the unit in which numbers are kept.
    fn scales(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Microseconds => &[("us", 1.0), ("ms", 1e3), ("s", 1e6)],
            Self::Seconds => &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0)],
            Self::Bytes => &[
                ("B", 1.0),
                ("KiB", 1024.0),
                ("MiB", 1_048_576.0),
                ("GiB", 1_073_741_824.0),
            ],
            Self::BytesPerSecond => &[
                ("B/s", 1.0),
                ("KiB/s", 1024.0),
                ("MiB/s", 1_048_576.0),
                ("GiB/s", 1_073_741_824.0),
            ],
            Self::Count => &[("", 1.0)],
            Self::Percent => &[("%", 1.0)],
        }
    }

    /// Returns one unit for all of `numbers`, so that they can be compared by eye. It is the largest unit in which the
    /// greatest number is at least 1 and the smallest at least 0.01; three decimals would show too little of a smaller
    /// one.
    fn scale(self, numbers: impl Iterator<Item = f64>) -> (&'static str, f64) {
        let (least, greatest) = numbers
            .filter(|number| *number > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(least, greatest), number| {
                (least.min(number), greatest.max(number))
            });
        let scales = self.scales();
        let fits = |(_, size): &&(&str, f64)| greatest >= *size && least >= 0.01 * size;
        scales.iter().rev().find(fits).copied().unwrap_or(scales[0])
    }

    /// Formats a single number with its unit.
    #[must_use]
    pub fn show(self, number: f64) -> String {
        let (unit, size) = self.scale([number].into_iter());
        format!("{} {unit}", digits(number / size))
            .trim_end()
            .to_owned()
    }
}

/// Formats a number with three significant digits and at most three decimals. No digit of the whole part is lost.
#[must_use]
pub fn digits(number: f64) -> String {
    let decimals = match number {
        0.0 => 0,
        n if n < 1.0 => 3,
        n if n < 10.0 => 2,
        n if n < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

impl GridRow {
    /// Returns whether the row was tested, and no difference is shown for a column.
    #[must_use]
    pub fn shows_no_difference(&self, column: usize) -> bool {
        let RowRatios::Tested(ratios) = &self.ratios else {
            return false;
        };
        ratios[column] == TestedRatio::NoDifference
    }
}

/// A value and its ratio as text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The number without its unit, or the reason why there is none.
    pub value: String,
    /// The ratio, or an empty text if the value has none.
    pub ratio: String,
}

impl Grid {
    /// Returns the column that ratios refer to.
    #[must_use]
    pub fn reference(&self) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| !column.excluded_from_ratios)
    }

    /// Returns whether a column has ratios.
    #[must_use]
    pub fn has_ratio(&self, column: usize) -> bool {
        !self.columns[column].excluded_from_ratios && self.reference() != Some(column)
    }

    /// Returns a value divided by that of the reference column, or `None` if either is not a number or the reference is
    /// 0.
    #[must_use]
    pub fn ratio(&self, row: &GridRow, column: usize) -> Option<f64> {
        if !self.has_ratio(column) {
            return None;
        }
        match &row.ratios {
            RowRatios::None => None,
            RowRatios::OfValues => self.ratio_of_values(row, column),
            RowRatios::Tested(ratios) => match ratios[column] {
                TestedRatio::Shown(ratio) => ratio,
                TestedRatio::Missing | TestedRatio::NoDifference => None,
            },
        }
    }

    fn ratio_of_values(&self, row: &GridRow, column: usize) -> Option<f64> {
        match (row.values[self.reference()?], row.values[column]) {
            (Value::Number(reference), Value::Number(value)) if reference != 0.0 => {
                Some(value / reference)
            }
            _ => None,
        }
    }

    /// Returns the unit of a row and one cell for each column, as text for people.
    #[must_use]
    pub fn cells(&self, row: &GridRow) -> (&'static str, Vec<Cell>) {
        let numbers = row.values.iter().filter_map(|value| match value {
            Value::Number(number) => Some(*number),
            _ => None,
        });
        let (unit, size) = row.unit.scale(numbers);
        let cell = |(column, value): (usize, &Value)| Cell {
            value: show(*value, row.unit, size),
            ratio: self.show_ratio(row, column),
        };
        (unit, row.values.iter().enumerate().map(cell).collect())
    }

    /// Returns the table for people: one row per figure, with the values of the subjects in it. Ratios are in a column
    /// of their own, or in parentheses as a remark on the value.
    #[must_use]
    pub fn table(&self) -> TextTable {
        let mut header: Vec<Heading> = WORD_COLUMNS.map(Heading::words).to_vec();
        for (index, column) in self.columns.iter().enumerate() {
            header.push(Heading::number(&column.name));
            if self.has_ratio(index) {
                header.push(match self.ratios {
                    Ratios::Column => Heading::number("ratio"),
                    Ratios::Behind => Heading::remark(),
                });
            }
        }
        let rows = self.groups.iter().flat_map(|group| {
            let titles = std::iter::once(group.title.as_str()).chain(std::iter::repeat(""));
            group.rows.iter().zip(titles)
        });
        let rows = rows.map(|(row, title)| self.line(row, title)).collect();
        TextTable { header, rows }
    }

    fn line(&self, row: &GridRow, title: &str) -> Vec<String> {
        let (unit, cells) = self.cells(row);
        let mut line = vec![title.to_owned(), row.label.clone(), unit.to_owned()];
        for (index, Cell { value, ratio }) in cells.into_iter().enumerate() {
            line.push(value);
            if self.has_ratio(index) {
                line.push(match self.ratios {
                    Ratios::Behind if !ratio.is_empty() => format!("({ratio})"),
                    _ => ratio,
                });
            }
        }
        line
    }

    fn show_ratio(&self, row: &GridRow, column: usize) -> String {
        let number = matches!(row.values[column], Value::Number(_));
        if row.ratios == RowRatios::None || !self.has_ratio(column) || !number {
            return String::new();
        }
        if row.shows_no_difference(column) {
            return NO_DIFFERENCE.into();
        }
        match self.ratio(row, column) {
            Some(ratio) => show_ratio(ratio),
            None => "-".into(),
        }
    }
}

/// Formats a ratio with two decimals, or below 0.01 with as many as the first digit needs: 0.00 would not distinguish a
/// hundredth from zero.
pub(super) fn show_ratio(ratio: f64) -> String {
    let decimals = if ratio > 0.0 && ratio < 0.01 {
        -ratio.log10().floor() as usize
    } else {
        2
    };
    format!("{ratio:.decimals$}")
}

fn show(value: Value, unit: Unit, size: f64) -> String {
    match value {
        Value::Number(number) if unit == Unit::Count => number.to_string(),
        Value::Number(number) => digits(number / size),
        Value::Identical(identical, made) if identical == made => format!("{identical} of {made}"),
        Value::Identical(identical, made) => format!("WRONG {} of {made}", made - identical),
        Value::Failed(failed, made) => format!("failed {failed} of {made}"),
        Value::Missing => "-".into(),
        Value::Unsupported => "not supported".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, Grid, GridRow, Ratios, RowRatios, TestedRatio, Unit, Value, show_ratio};

    fn grid() -> Grid {
        let column = |name: &str, aside| Column {
            name: name.into(),
            excluded_from_ratios: aside,
        };
        Grid {
            columns: vec![
                column("idle", true),
                column("cp", false),
                column("dd", false),
            ],
            groups: Vec::new(),
            ratios: Ratios::Behind,
        }
    }

    fn row(unit: Unit, values: [Value; 3]) -> GridRow {
        GridRow {
            label: "p99".into(),
            unit,
            ratios: RowRatios::OfValues,
            values: values.into(),
        }
    }

    fn shown(unit: Unit, values: [f64; 3]) -> String {
        let grid = grid();
        let (unit, cells) = grid.cells(&row(unit, values.map(Value::Number)));
        let values: Vec<&str> = cells.iter().map(|cell| cell.value.as_str()).collect();
        format!("{} {unit}", values.join(" "))
    }

    #[test]
    fn one_unit_a_row_in_which_the_least_value_still_shows() {
        for (values, want) in [
            ([212.0, 641_000.0, 5_000.0], "0.212 641 5.00 ms"),
            ([4.0, 641_000.0, 0.0], "4.00 641000 0 us"),
            ([12_000.0, 15_000.0, 15_500.0], "12.0 15.0 15.5 ms"),
            ([12_000.0, 1_500_000.0, 999.6e3], "0.012 1.50 1.000 s"),
            ([0.0, 0.0, 0.0], "0 0 0 us"),
            ([0.4, 0.25, 0.1], "0.400 0.250 0.100 us"),
        ] {
            assert_eq!(shown(Unit::Microseconds, values), want);
        }
        assert_eq!(
            shown(Unit::Bytes, [0.0, 1536.0 * 1048576.0, 2097152.0]),
            "0 1536 2.00 MiB"
        );
        assert_eq!(
            shown(Unit::Count, [0.0, 123_456.0, 7.0]).trim(),
            "0 123456 7"
        );
        assert_eq!(shown(Unit::Seconds, [0.004, 0.8, 3.42]), "4.00 800 3420 ms");
    }

    #[test]
    fn a_ratio_has_two_decimals_or_a_first_digit() {
        for (ratio, want) in [
            (0.0, "0.00"),
            (0.000_312, "0.0003"),
            (0.009_99, "0.010"),
            (0.02, "0.02"),
            (1.0, "1.00"),
            (1234.567, "1234.57"),
        ] {
            assert_eq!(show_ratio(ratio), want);
        }
    }

    #[test]
    fn ratios_are_against_the_first_column_that_is_compared() {
        let grid = grid();
        let ratio = |values, column| grid.ratio(&row(Unit::Count, values), column);
        let number = Value::Number;
        let values = [number(9.0), number(4.0), number(1.0)];
        assert_eq!(ratio(values, 2), Some(0.25));
        assert_eq!(ratio(values, 0), None);
        assert_eq!(ratio(values, 1), None);
        for reference in [number(0.0), Value::Missing, Value::Unsupported] {
            let row = row(Unit::Count, [number(9.0), reference, number(1.0)]);
            assert_eq!(grid.ratio(&row, 2), None);
            assert_eq!(grid.cells(&row).1[2].ratio, "-");
        }
        let unknown = row(Unit::Count, [number(9.0), number(4.0), Value::Missing]);
        let cell = &grid.cells(&unknown).1[2];
        assert_eq!((cell.value.as_str(), cell.ratio.as_str()), ("-", ""));
    }

    #[test]
    fn a_tested_row_shows_the_ratio_of_rounds_or_that_there_is_no_difference() {
        let grid = grid();
        let shown = |tested| {
            let mut row = row(Unit::Count, [1.0, 4.0, 2.0].map(Value::Number));
            row.ratios =
                RowRatios::Tested(vec![TestedRatio::Missing, TestedRatio::Missing, tested]);
            (grid.ratio(&row, 2), grid.cells(&row).1[2].ratio.clone())
        };
        assert_eq!(shown(TestedRatio::NoDifference), (None, "~".into()));
        assert_eq!(shown(TestedRatio::Missing), (None, "-".into()));
        assert_eq!(shown(TestedRatio::Shown(None)), (None, "-".into()));
        let ratio = TestedRatio::Shown(Some(0.25));
        assert_eq!(shown(ratio), (Some(0.25), "0.25".into()));
    }
}
