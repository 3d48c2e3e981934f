//! The tables of `scale`, for people and for spreadsheets.

use std::path::Path;

use super::document::{Document, Part};
use super::table::{Heading, TextTable};
use crate::forklat::scale::power_law_fit::PowerLawFit;
use crate::forklat::scale::scale_result::{CostCell, CostTable, ScaleResult, Series};
use crate::report::quote::quote;
use crate::report::units::format_bytes;

/// Returns the document for people: the tables, each with the growth of its medians below it.
pub(super) fn document(scale: &ScaleResult, notes: &[String]) -> Document {
    let head = Part::Sentences(head(scale).to_vec());
    let tables = scale.tables.iter().map(|table| Part::Table {
        title: Some(format!("{}  {}", table.name, table.title)),
        table: cells(table),
        lines: growths(table).collect(),
    });
    let note = |note| Part::Sentences(vec![format!("Note: {note}.")]);
    let notes = notes.iter().map(note);
    Document(std::iter::once(head).chain(tables).chain(notes).collect())
}

/// Returns the cells of all tables, with unrounded figures.
pub(super) fn all_cells(scale: &ScaleResult) -> TextTable {
    let columns = [
        "table", "what", "n", "count", "p50_us", "p99_us", "max_us", "on",
    ];
    let rows = scale.tables.iter().flat_map(|table| {
        table.series.iter().flat_map(|series| {
            series.cells.iter().map(|c| {
                let names = [table.name.clone(), series.name.clone()];
                let counts = [c.n.to_string(), c.count.to_string()];
                let times = [c.p50, c.p99, c.max].map(|t| t.to_string());
                let on = series.on.as_ref();
                let on = on.map_or_else(String::new, |on| on.to_string_lossy().into_owned());
                [&names[..], &counts, &times, &[on]].concat()
            })
        })
    });
    TextTable {
        header: columns.map(Heading::words).to_vec(),
        rows: rows.collect(),
    }
}

fn head(scale: &ScaleResult) -> Vec<String> {
    let places = scale.on.iter().enumerate().map(|(n, on)| {
        let kind = scale.file_systems.get(n).filter(|kind| !kind.is_empty());
        let kind = kind.map_or_else(String::new, |kind| format!(" ({kind})"));
        format!("{}{kind}", quote(on))
    });
    let places: Vec<String> = places.collect();
    let mut lines = Vec::new();
    lines.extend(scale.answer.clone());
    lines.extend([
        "The cost of one more process beside N idle ones, in microseconds.".into(),
        format!(
            "fork, exec, storm: each process has written to {} of its memory.",
            format_bytes(scale.touch)
        ),
        format!(
            "join-mapping, write-mapping: each process has mapped a file of {} in {}, and has read each page.",
            format_bytes(scale.file_size),
            places.join(", ")
        ),
    ]);
    lines
}

fn cells(table: &CostTable) -> TextTable {
    let directories = table.series.chunk_by(|a, b| a.name == b.name);
    if table.series.iter().any(|series| series.on.is_some()) {
        return cells_side_by_side(&directories.collect::<Vec<_>>());
    }
    let rows = table.series.iter().flat_map(|series| {
        let names = std::iter::once(series.name.as_str()).chain(std::iter::repeat(""));
        names.zip(&series.cells).map(|(name, cell)| row(name, cell))
    });
    let mut header = vec![Heading::words("")];
    header.extend(["N", "p50", "p99", "max"].map(Heading::number));
    TextTable {
        header,
        rows: rows.collect(),
    }
}

/// Returns the table of several directories. Each has columns of its own.
fn cells_side_by_side(groups: &[&[Series]]) -> TextTable {
    let mut header = vec![Heading::words(""), Heading::number("N")];
    for series in groups.first().copied().unwrap_or_default() {
        let on = series.on.as_deref().unwrap_or(Path::new(""));
        let on = on.to_string_lossy();
        header.extend(
            [format!("{on}: p50"), "p99".into(), "max".into()].map(|h| Heading::number(&h)),
        );
    }
    let mut rows = Vec::new();
    for group in groups {
        for (step, cell) in group[0].cells.iter().enumerate() {
            let name = if step == 0 {
                group[0].name.as_str()
            } else {
                ""
            };
            let mut row = vec![name.to_owned(), cell.n.to_string()];
            let cells = group.iter().filter_map(|series| series.cells.get(step));
            row.extend(cells.flat_map(|c| [c.p50, c.p99, c.max].map(microseconds)));
            rows.push(row);
        }
    }
    TextTable { header, rows }
}

fn row(name: &str, cell: &CostCell) -> Vec<String> {
    let times = [cell.p50, cell.p99, cell.max].map(microseconds);
    [&[name.to_owned(), cell.n.to_string()][..], &times].concat()
}

fn growths(table: &CostTable) -> impl Iterator<Item = String> {
    table.series.iter().map(|series| {
        let growth = series.growth.as_ref().map(PowerLawFit::text);
        let growth = growth.unwrap_or_else(|| "one step shows no growth".into());
        let on = series.on.as_ref();
        let on = on.map_or_else(String::new, |on| format!(" in {}", quote(on)));
        format!("{}{on}: {growth}", series.name)
    })
}

/// Formats a time with three digits, since the histogram has no more. All digits before the decimal point are kept.
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
    use crate::forklat::export::csv;
    use crate::forklat::export::rows::Detail;
    use crate::forklat::export::{json_report, markdown, terminal_report};
    use crate::forklat::model::Report;

    fn scale() -> Report {
        let cell = |n, p50| CostCell {
            n,
            count: 9,
            p50,
            p99: p50 * 2.0,
            max: p50 * 10.0,
        };
        let table = CostTable {
            name: "fork".into(),
            title: "Forked".into(),
            series: vec![
                Series::new(
                    "start",
                    vec![cell(1, 1.5), cell(10, 15.0), cell(100, 150.0)],
                ),
                Series::new("stop", vec![cell(1, 2.0), cell(10, 2.0), cell(100, 2.0)]),
            ],
        };
        Report {
            notes: vec!["nothing".into()],
            scale: Some(ScaleResult {
                touch: 65536,
                file_size: 1 << 20,
                on: vec![".".into()],
                file_systems: vec!["ext4".into()],
                answer: Some("It grows.".into()),
                tables: vec![table],
            }),
            ..Report::new("scale", Vec::new(), "2026-01-01T00:00:00Z".into())
        }
    }

    #[test]
    fn text_has_the_growth_under_the_table() {
        let want = "\nfork  Forked\n         N   p50   p99   max\nstart    1  1.50  3.00  15.0\n        10  15.0  30.0   150\n       100   150   300  1500\nstop     1  2.00  4.00  20.0\n        10  2.00  4.00  20.0\n       100  2.00  4.00  20.0\nstart: ~N^1.00 (linear)\nstop: ~N^0.00 (flat)\n\nNote: nothing.\n";
        let text = terminal_report::render(&scale(), Detail::Short);
        assert_eq!(&text[text.find("\n\n").unwrap() + 1..], want);
    }

    #[test]
    fn csv_has_a_line_a_cell() {
        let csv = csv::render(&scale());
        assert_eq!(csv.lines().count(), 7);
        assert_eq!(csv.lines().nth(1), Some("fork,start,1,9,1.5,3,15,"));
    }

    #[test]
    fn the_answer_comes_first_and_each_directory_has_its_file_system() {
        let text = terminal_report::render(&scale(), Detail::Short);
        assert!(text.starts_with("It grows.\nThe cost of one more process"));
        assert!(text.contains(" in '.' (ext4), and has read each page.\n"));
    }

    #[test]
    fn directories_are_side_by_side() {
        let report = scale();
        let table = report.scale.as_ref().unwrap().tables[0].clone();
        let of = |name: &str| (name.into(), table.clone());
        let both = CostTable::side_by_side(vec![of("/a"), of("/b")]).unwrap();
        let names: Vec<_> = both
            .series
            .iter()
            .map(|s| (&*s.name, s.on.clone()))
            .collect();
        let [a, b] = ["/a", "/b"].map(|on| Some(on.into()));
        let want = [
            ("start", a.clone()),
            ("start", b.clone()),
            ("stop", a),
            ("stop", b),
        ];
        assert_eq!(names, want);
        let text = cells(&both).text();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines[0], "N /a: p50 p99 max /b: p50 p99 max");
        assert_eq!(lines[2], "10 15.0 30.0 150 15.0 30.0 150");
        assert_eq!(lines.len(), 1 + 2 * 3);
        let growths: Vec<String> = growths(&both).collect();
        assert_eq!(growths[1], "start in '/b': ~N^1.00 (linear)");
        let one = CostTable::side_by_side(vec![of("/a")]).unwrap();
        assert_eq!(one.series[0].on, None);
    }

    #[test]
    fn json_keeps_the_keys_of_scale_beside_those_of_every_report() {
        let json = json_report::render(&scale()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        for key in [
            "v",
            "kind",
            "forklat",
            "date",
            "command_line",
            "facts",
            "touch",
            "file_size",
            "on",
            "notes",
            "tables",
            "subjects",
            "observers",
        ] {
            assert!(json.get(key).is_some(), "{key} is missing");
        }
        let back: Report = serde_json::from_value(json).unwrap();
        assert_eq!(back.scale.unwrap().tables[0].series.len(), 2);
    }

    #[test]
    fn markdown_has_both() {
        let text = markdown::render(&scale());
        assert!(text.contains("| stop | 1 | 2.00 | 4.00 | 20.0 |"));
        assert!(text.contains("- start: ~N^1.00 (linear)"));
    }

    #[test]
    fn times_have_three_digits() {
        let got = [0.0, 0.123, 9.999, 99.96, 1234.5].map(microseconds);
        assert_eq!(got, ["0.00", "0.12", "10.0", "100", "1234"]);
    }
}
