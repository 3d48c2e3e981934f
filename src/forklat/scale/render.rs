//! A [`ScaleReport`] for people (text, Markdown) and for spreadsheets.

use super::scale_report::{CostCell, CostTable, ScaleReport};
use crate::forklat::export::Format;
use crate::forklat::export::table::TextTable as Cells;
use crate::report::quote::quote;
use crate::report::units::format_bytes;

/// One of the exports.
///
/// # Errors
/// A format that these figures have not.
pub fn export(scale: &ScaleReport, format: Format) -> Result<String, String> {
    match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(scale).map_err(|e| e.to_string())?;
            Ok(json + "\n")
        }
        Format::Csv => Ok(csv(scale)),
        Format::Markdown => Ok(markdown(scale)),
        Format::Hlog => Err("scale has no interval log".into()),
    }
}

/// The tables for a terminal, under each the growth.
#[must_use]
pub fn text(scale: &ScaleReport) -> String {
    document(scale, "", |title, cells| {
        format!("{title}\n{}", cells.text())
    })
}

/// The same as Markdown.
#[must_use]
pub fn markdown(scale: &ScaleReport) -> String {
    document(scale, "- ", |title, cells| {
        format!("**{title}**\n\n{}\n", cells.markdown())
    })
}

fn document(scale: &ScaleReport, bullet: &str, show: fn(&str, &Cells) -> String) -> String {
    let tables = scale.tables.iter().map(|table| {
        let growths: String = growths(table)
            .map(|line| format!("{bullet}{line}\n"))
            .collect();
        let title = format!("{}  {}", table.name, table.title);
        format!("\n{}{growths}", show(&title, &cells(table)))
    });
    let notes = scale.notes.iter().map(|note| format!("\nNote: {note}.\n"));
    head(scale) + &tables.chain(notes).collect::<String>()
}

/// All cells in one table, with full figures.
#[must_use]
pub fn csv(scale: &ScaleReport) -> String {
    let columns = ["table", "what", "n", "count", "p50_us", "p99_us", "max_us"];
    let rows = scale.tables.iter().flat_map(|table| {
        table.series.iter().flat_map(|series| {
            series.cells.iter().map(|c| {
                let names = [table.name.clone(), series.name.clone()];
                let counts = [c.n.to_string(), c.count.to_string()];
                let times = [c.p50, c.p99, c.max].map(|t| t.to_string());
                [&names[..], &counts, &times].concat()
            })
        })
    });
    let cells = Cells {
        word_columns: columns.len(),
        header: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    cells.csv()
}

fn head(scale: &ScaleReport) -> String {
    format!(
        "The cost of one more process while N stand, in microseconds.\n\
         1a, 1b: each has written to {} of its memory.\n\
         2a, 2b: each has a file of {} in {} mapped, and has read each page.\n",
        format_bytes(scale.touch),
        format_bytes(scale.file_size),
        quote(&scale.on)
    )
}

fn cells(table: &CostTable) -> Cells {
    let rows = table.series.iter().flat_map(|series| {
        let names = std::iter::once(series.name.as_str()).chain(std::iter::repeat(""));
        names.zip(&series.cells).map(|(name, cell)| row(name, cell))
    });
    Cells {
        word_columns: 1,
        header: ["", "N", "p50", "p99", "max"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

fn row(name: &str, cell: &CostCell) -> Vec<String> {
    let times = [cell.p50, cell.p99, cell.max].map(microseconds);
    [&[name.to_owned(), cell.n.to_string()][..], &times].concat()
}

fn growths(table: &CostTable) -> impl Iterator<Item = String> {
    table.series.iter().map(|series| {
        let growth = series
            .growth
            .as_ref()
            .map(super::power_law_fit::PowerLawFit::text);
        let growth = growth.unwrap_or_else(|| "one step shows no growth".into());
        format!("{}: {growth}", series.name)
    })
}

/// Three digits, since the histogram has no more; all digits before the point.
fn microseconds(time: f64) -> String {
    let digits = match time {
        t if t < 9.995 => 2,
        t if t < 99.95 => 1,
        _ => 0,
    };
    format!("{time:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forklat::scale::scale_report::Series;

    fn scale() -> ScaleReport {
        let cell = |n, p50| CostCell {
            n,
            count: 9,
            p50,
            p99: p50 * 2.0,
            max: p50 * 10.0,
        };
        let table = CostTable {
            name: "1a".into(),
            title: "Forked".into(),
            series: vec![
                Series::new(
                    "start",
                    vec![cell(1, 1.5), cell(10, 15.0), cell(100, 150.0)],
                ),
                Series::new("stop", vec![cell(1, 2.0), cell(10, 2.0), cell(100, 2.0)]),
            ],
        };
        ScaleReport {
            v: 1,
            kind: "scale".into(),
            forklat: "0".into(),
            date: "2026-01-01T00:00:00Z".into(),
            command_line: vec![],
            facts: Default::default(),
            touch: 65536,
            file_size: 1 << 20,
            on: ".".into(),
            notes: vec!["nothing".into()],
            tables: vec![table],
        }
    }

    #[test]
    fn text_has_the_growth_under_the_table() {
        let want = "\n1a  Forked\n         N   p50   p99   max\nstart    1  1.50  3.00  15.0\n        10  15.0  30.0   150\n       100   150   300  1500\nstop     1  2.00  4.00  20.0\n        10  2.00  4.00  20.0\n       100  2.00  4.00  20.0\nstart: ~N^1.00 (linear)\nstop: ~N^0.00 (flat)\n\nNote: nothing.\n";
        let text = text(&scale());
        assert_eq!(&text[text.find("\n\n").unwrap() + 1..], want);
    }

    #[test]
    fn csv_has_a_line_a_cell() {
        let csv = csv(&scale());
        assert_eq!(csv.lines().count(), 7);
        assert_eq!(csv.lines().nth(1), Some("1a,start,1,9,1.5,3,15"));
    }

    #[test]
    fn markdown_has_both() {
        let text = markdown(&scale());
        assert!(text.contains("| stop | 1 | 2.00 | 4.00 | 20.0 |"));
        assert!(text.contains("- start: ~N^1.00 (linear)"));
    }

    #[test]
    fn times_have_three_digits() {
        let got = [0.0, 0.123, 9.999, 99.96, 1234.5].map(microseconds);
        assert_eq!(got, ["0.00", "0.12", "10.0", "100", "1234"]);
    }
}
