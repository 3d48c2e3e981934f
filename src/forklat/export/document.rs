//! The text of a report for people: sentences, lists and tables in one order, written as plain text or as Markdown.

use super::table::{TextTable, escape_markdown};

/// The parts of a text, separated by blank lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document(pub Vec<Part>);

/// One part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Lines that are written as they are.
    Sentences(Vec<String>),
    /// Lists under titles. Nothing is written if there are none.
    Lists(Vec<Paragraph>),
    /// A table with an optional title above it and lines below it. The title and the lines are this program's own words
    /// and are not escaped.
    Table {
        /// The title, or `None` for a table that needs none.
        title: Option<String>,
        /// The headings and the cells.
        table: TextTable,
        /// The lines below the table.
        lines: Vec<String>,
    },
}

/// A list of lines under a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// The title without a colon.
    pub title: String,
    /// The lines, at least one.
    pub lines: Vec<String>,
}

impl Document {
    /// Returns the document for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        self.join(Part::text)
    }

    /// Returns the document in GitHub's Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        self.join(Part::markdown)
    }

    fn join(&self, render: fn(&Part) -> String) -> String {
        let parts = self.0.iter().map(render);
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        parts.join("\n")
    }
}

impl Part {
    fn text(&self) -> String {
        match self {
            Self::Sentences(sentences) => prefix_lines("", sentences),
            Self::Lists(lists) => {
                let lists = lists.iter();
                let lists =
                    lists.map(|p| format!("{}:\n{}", p.title, prefix_lines("  ", &p.lines)));
                lists.collect()
            }
            Self::Table {
                title,
                table,
                lines,
            } => {
                let title = title.iter().map(|title| format!("{title}\n"));
                title.collect::<String>() + &table.text() + &prefix_lines("", lines)
            }
        }
    }

    fn markdown(&self) -> String {
        match self {
            Self::Sentences(sentences) => prefix_lines("", sentences),
            Self::Lists(lists) => {
                let list = |p: &Paragraph| {
                    let lines = p.lines.iter().map(|line| escape_markdown(line));
                    let lines: Vec<String> = lines.collect();
                    let title = escape_markdown(&p.title);
                    format!("**{title}**\n\n{}", prefix_lines("- ", &lines))
                };
                lists.iter().map(list).collect::<Vec<_>>().join("\n")
            }
            Self::Table {
                title,
                table,
                lines,
            } => {
                let title = title.iter().map(|title| format!("**{title}**\n\n"));
                let mut text = title.collect::<String>() + &table.markdown();
                if !lines.is_empty() {
                    text.push('\n');
                }
                text + &prefix_lines("- ", lines)
            }
        }
    }
}

fn prefix_lines(prefix: &str, lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("{prefix}{line}\n"));
    lines.collect()
}
