//! A table of text cells, and the four ways to write it: aligned text, Markdown, HTML and CSV. Every table of `forklat` is
//! rendered here.

use super::chart::text::escape;

/// The cells of a table, under a row of headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    /// The headings, one for each column.
    pub header: Vec<Heading>,
    /// The rows, each with as many cells as there are headings.
    pub rows: Vec<Vec<String>>,
}

/// The heading of a column, and the alignment of the cells below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// The text that is written above the cells.
    pub text: String,
    /// The alignment of the cells below it.
    pub kind: ColumnKind,
}

/// The kind of a column, which decides the alignment of its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Words, which are aligned to the left.
    Words,
    /// Numbers, which are aligned to the right.
    Number,
    /// A remark on the number before it. Markdown, which does not align text, writes it into the cell of that number.
    Remark,
}

impl Heading {
    /// Returns the heading of a column of words.
    #[must_use]
    pub fn words(text: &str) -> Self {
        Self::new(text, ColumnKind::Words)
    }

    /// Returns the heading of a column of numbers.
    #[must_use]
    pub fn number(text: &str) -> Self {
        Self::new(text, ColumnKind::Number)
    }

    /// Returns the heading of a column of remarks, which is empty.
    #[must_use]
    pub fn remark() -> Self {
        Self::new("", ColumnKind::Remark)
    }

    fn new(text: &str, kind: ColumnKind) -> Self {
        let text = text.to_owned();
        Self { text, kind }
    }
}

impl TextTable {
    /// Returns the table for a terminal, with aligned columns and two blanks between them.
    #[must_use]
    pub fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.header.len()).map(|c| self.width(c)).collect();
        let line = |cells: Vec<&str>| {
            let cells = self.header.iter().zip(&widths).zip(cells);
            let cells = cells.map(|((heading, width), cell)| match heading.kind {
                ColumnKind::Words => format!("{cell:<width$}"),
                ColumnKind::Number | ColumnKind::Remark => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            line.trim_end().to_owned() + "\n"
        };
        self.lines().map(line).collect()
    }

    /// Returns the table in GitHub's Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<&str>| {
            let mut line = String::from("|");
            for (heading, cell) in self.header.iter().zip(cells) {
                if heading.kind != ColumnKind::Remark {
                    line.push_str(&format!(" {} |", escape_markdown(cell)));
                } else if !cell.is_empty() {
                    line.truncate(line.len() - 1);
                    line.push_str(&format!("{} |", escape_markdown(cell)));
                }
            }
            line + "\n"
        };
        let rule = self.header.iter().map(|heading| match heading.kind {
            ColumnKind::Words => "---|",
            ColumnKind::Number => "---:|",
            ColumnKind::Remark => "",
        });
        let rule = format!("|{}\n", rule.collect::<String>());
        let mut lines = self.lines().map(line);
        let header = lines.next().unwrap_or_default();
        header + &rule + &lines.collect::<String>()
    }

    /// Returns the table in HTML. A remark has a cell of its own.
    #[must_use]
    pub fn html(&self) -> String {
        let line = |tag: &str, cells: Vec<&str>| {
            let cells = self.header.iter().zip(cells).map(|(heading, cell)| {
                let class = match heading.kind {
                    ColumnKind::Words => "",
                    ColumnKind::Number => r#" class="number""#,
                    ColumnKind::Remark => r#" class="remark""#,
                };
                format!("<{tag}{class}>{}</{tag}>", escape(cell))
            });
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let mut lines = self.lines();
        let header = line("th", lines.next().unwrap_or_default());
        let body: String = lines.map(|cells| line("td", cells)).collect();
        format!("<table>\n<thead>\n{header}</thead>\n<tbody>\n{body}</tbody>\n</table>\n")
    }

    /// Returns the table as CSV according to RFC 4180, except that lines end with a newline only.
    #[must_use]
    pub fn csv(&self) -> String {
        let line = |cells: Vec<&str>| {
            let cells: Vec<String> = cells.into_iter().map(quote_csv).collect();
            format!("{}\n", cells.join(","))
        };
        self.lines().map(line).collect()
    }

    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        let header = self.header.iter().map(|heading| heading.text.as_str());
        let rows = self.rows.iter();
        let rows = rows.map(|row| row.iter().map(String::as_str).collect());
        std::iter::once(header.collect()).chain(rows)
    }

    fn width(&self, column: usize) -> usize {
        let widths = self.lines().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    }
}

/// Escapes the characters of a name that would be markup or would end the cell.
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
    use super::{Heading, TextTable, escape_markdown, quote_csv};

    fn table() -> TextTable {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        TextTable {
            header: vec![
                Heading::words(""),
                Heading::number("N"),
                Heading::number("p50"),
            ],
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
    fn a_remark_is_a_column_in_text_and_joins_its_number_in_markdown() {
        let mut table = table();
        table.header.push(Heading::remark());
        for (row, remark) in table.rows.iter_mut().zip(["(2.00)", ""]) {
            row.push(remark.into());
        }
        let want = "          N   p50\nstart     1  1.25  (2.00)\n       1000     9\n";
        assert_eq!(table.text(), want);
        let want =
            "|  | N | p50 |\n|---|---:|---:|\n| start | 1 | 1.25 (2.00) |\n|  | 1000 | 9 |\n";
        assert_eq!(table.markdown(), want);
    }

    #[test]
    fn html_has_a_class_for_each_number_and_no_markup_of_a_name() {
        let mut table = table();
        table.rows[0][0] = "<b>".into();
        let html = table.html();
        assert!(html.contains("<tr><td>&lt;b&gt;</td><td class=\"number\">1</td>"));
        assert_eq!(html.matches("<tr>").count(), 3);
        assert_eq!(html.matches("<th").count(), 1 + 3);
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
