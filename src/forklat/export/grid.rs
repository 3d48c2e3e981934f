//! What every table is made of: a column a subject, rows in groups, and ratios against the first column that is compared.

use super::table::{Heading, TextTable};

/// The headings, all empty, of the columns before the subjects: group, label and unit.
const WORD_COLUMNS: [&str; 3] = [""; 3];

/// A table, still in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The subjects.
    pub columns: Vec<Column>,
    /// Rows that belong together.
    pub groups: Vec<Group>,
    /// Where ratios stand.
    pub ratios: Ratios,
}

/// Where ratios stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ratios {
    /// In a column of their own, behind the column that they are of.
    Column,
    /// In parentheses behind each value.
    Behind,
}

/// A subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// Whether it is only shown beside the others, without a ratio.
    pub excluded_from_ratios: bool,
}

/// Rows that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Stands before its first row.
    pub title: String,
    /// The probe that they are of, if they are of one.
    pub probe: Option<String>,
    /// The CPU that they are of, if they are of one.
    pub cpu: Option<u32>,
    /// The rows.
    pub rows: Vec<GridRow>,
}

/// One figure of all subjects.
#[derive(Debug, Clone, PartialEq)]
pub struct GridRow {
    /// What it is.
    pub label: String,
    /// What its numbers count.
    pub unit: Unit,
    /// Whether a ratio means anything.
    pub compared: bool,
    /// One value a column.
    pub values: Vec<Value>,
}

/// One figure of one subject.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A number of the row's unit.
    Number(f64),
    /// So many copies of so many were what they should be.
    Identical(usize, usize),
    /// So many of so many were not made, and the tool said so.
    Failed(usize, usize),
    /// Nobody measured it.
    Missing,
    /// This kernel cannot tell.
    Unsupported,
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Missing, Self::Number)
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Latencies.
    Microseconds,
    /// Times.
    Seconds,
    /// Sizes.
    Bytes,
    /// Events.
    Count,
    /// A share.
    Percent,
}

impl Unit {
    /// The unit that numbers are kept in.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Percent => "percent",
        }
    }

    /// The units that people read, least first, each with its size in the unit that numbers are kept in.
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
            Self::Count => &[("", 1.0)],
            Self::Percent => &[("%", 1.0)],
        }
    }

    /// One unit for all of `numbers`, so that they can be compared by eye: the largest in which the greatest is not below
    /// 1 and the least is not below 0.01, of which three decimals would show too little.
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

    /// A number alone, with its unit.
    #[must_use]
    pub fn show(self, number: f64) -> String {
        let (unit, size) = self.scale([number].into_iter());
        format!("{} {unit}", digits(number / size))
            .trim_end()
            .to_owned()
    }
}

/// Three significant digits, of which three decimals at most. No digit of a whole part is lost.
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

/// A value and its ratio as people read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The number without its unit, or why there is none.
    pub value: String,
    /// The ratio; empty where none belongs.
    pub ratio: String,
}

impl Grid {
    /// The column that ratios refer to.
    #[must_use]
    pub fn reference(&self) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| !column.excluded_from_ratios)
    }

    /// Whether ratios belong to a column.
    #[must_use]
    pub fn has_ratio(&self, column: usize) -> bool {
        !self.columns[column].excluded_from_ratios && self.reference() != Some(column)
    }

    /// A value over that of the reference; `None` where either is no number or the reference is 0.
    #[must_use]
    pub fn ratio(&self, row: &GridRow, column: usize) -> Option<f64> {
        if !row.compared || !self.has_ratio(column) {
            return None;
        }
        match (row.values[self.reference()?], row.values[column]) {
            (Value::Number(reference), Value::Number(value)) if reference != 0.0 => {
                Some(value / reference)
            }
            _ => None,
        }
    }

    /// A row as people read it: its unit, and a cell a column.
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

    /// Returns the table that people read: a row a figure, and in it the values of the subjects. Ratios stand in a column of
    /// their own, or in parentheses as a remark on the value.
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
        if !row.compared || !self.has_ratio(column) || !number {
            return String::new();
        }
        match self.ratio(row, column) {
            Some(ratio) => show_ratio(ratio),
            None => "-".into(),
        }
    }
}

/// Two decimals, and below 0.01 as many as the first digit needs: 0.00 would not tell a hundredth from nothing.
fn show_ratio(ratio: f64) -> String {
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
    use super::{Column, Grid, GridRow, Ratios, Unit, Value, show_ratio};

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
            compared: true,
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
}
