//! A grid of cells as text, as Markdown and as CSV.

/// Rows of cells under a row of headings. The first column is of words, the others are of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// What it shows.
    pub title: String,
    /// The headings.
    pub columns: Vec<String>,
    /// As many cells in each as there are headings.
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    /// For a terminal: columns aligned, two blanks between.
    #[must_use]
    pub fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|c| self.width(c)).collect();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths).enumerate();
            let cells = cells.map(|(at, (cell, width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ") + "\n"
        };
        let rows: String = std::iter::once(&self.columns)
            .chain(&self.rows)
            .map(line)
            .collect();
        format!("{}\n{rows}", self.title)
    }

    /// A table of GitHub's Markdown under a bold title.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
        let rule = format!(
            "|:---|{}\n",
            "---:|".repeat(self.columns.len().saturating_sub(1))
        );
        let rows: String = self.rows.iter().map(line).collect();
        format!("**{}**\n\n{}{rule}{rows}", self.title, line(&self.columns))
    }

    /// RFC 4180, without the title, which has no place there.
    #[must_use]
    pub fn csv(&self) -> String {
        let field = |cell: &String| match cell.contains([',', '"', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        };
        let line =
            |cells: &Vec<String>| cells.iter().map(field).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&self.columns)
            .chain(&self.rows)
            .map(line)
            .collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.columns).chain(&self.rows);
        cells
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Grid;

    fn grid() -> Grid {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        Grid {
            title: "Costs".into(),
            columns: row(["", "N", "p50"]),
            rows: vec![row(["start", "1", "1.25"]), row(["", "1000", "9"])],
        }
    }

    #[test]
    fn text_is_aligned() {
        let want = "Costs\n          N   p50\nstart     1  1.25\n       1000     9\n";
        assert_eq!(grid().text(), want);
    }

    #[test]
    fn markdown_has_a_rule() {
        let want = "**Costs**\n\n|  | N | p50 |\n|:---|---:|---:|\n| start | 1 | 1.25 |\n|  | 1000 | 9 |\n";
        assert_eq!(grid().markdown(), want);
    }

    #[test]
    fn csv_quotes_what_must_be() {
        let mut grid = grid();
        grid.rows[0][0] = "a \"b\", c".into();
        assert_eq!(grid.csv(), ",N,p50\n\"a \"\"b\"\", c\",1,1.25\n,1000,9\n");
    }
}
