//! A table of finished cells, and the three ways to write it: aligned text, Markdown and CSV. Every table of `forklat` is
//! rendered here, whatever it shows.

/// Cells under a row of headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    /// How many columns, from the left, hold words and stand to the left; the others hold numbers and stand to the right.
    pub word_columns: usize,
    /// The headings.
    pub header: Vec<String>,
    /// The rows, each with as many cells as there are headings.
    pub rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Returns the table for a terminal: columns aligned, two blanks between them.
    #[must_use]
    pub fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.header.len()).map(|c| self.width(c)).collect();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| match column {
                c if c < self.word_columns => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            line.trim_end().to_owned() + "\n"
        };
        self.lines().map(line).collect()
    }

    /// Returns a table of GitHub's Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|cell| escape_markdown(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let numbers = self.header.len().saturating_sub(self.word_columns);
        let rule = format!(
            "|{}{}\n",
            "---|".repeat(self.word_columns),
            "---:|".repeat(numbers)
        );
        let rows: String = self.rows.iter().map(line).collect();
        format!("{}{rule}{rows}", line(&self.header))
    }

    /// Returns the lines of a CSV file: RFC 4180, but for the newline, which is this system's.
    #[must_use]
    pub fn csv(&self) -> String {
        let line = |cells: &Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|cell| quote_csv(cell)).collect();
            format!("{}\n", cells.join(","))
        };
        self.lines().map(line).collect()
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.header).chain(&self.rows)
    }

    fn width(&self, column: usize) -> usize {
        let widths = self.lines().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    }
}

/// Escapes what a name may hold that would be markup or end the cell.
#[must_use]
pub fn escape_markdown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '\\' | '*' | '_' | '`' | '<' | '[' | '~' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

fn quote_csv(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{TextTable, escape_markdown, quote_csv};

    fn table() -> TextTable {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        TextTable {
            word_columns: 1,
            header: row(["", "N", "p50"]),
            rows: vec![row(["start", "1", "1.25"]), row(["", "1000", "9"])],
        }
    }

    #[test]
    fn text_is_aligned() {
        let want = "          N   p50\nstart     1  1.25\n       1000     9\n";
        assert_eq!(table().text(), want);
    }

    #[test]
    fn markdown_has_a_rule() {
        let want = "|  | N | p50 |\n|---|---:|---:|\n| start | 1 | 1.25 |\n|  | 1000 | 9 |\n";
        assert_eq!(table().markdown(), want);
    }

    #[test]
    fn csv_quotes_what_must_be() {
        let mut table = table();
        table.rows[0][0] = "a \"b\", c".into();
        assert_eq!(table.csv(), ",N,p50\n\"a \"\"b\"\", c\",1,1.25\n,1000,9\n");
    }

    #[test]
    fn a_name_cannot_end_its_cell() {
        assert_eq!(escape_markdown("a|b_c\n<d>"), "a\\|b\\_c \\<d>");
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        for (field, want) in [
            ("", ""),
            ("fork", "fork"),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("\r", "\"\r\""),
        ] {
            assert_eq!(quote_csv(field), want);
        }
    }
}
