//! The text of a report for people: sentences, lists and tables in one order, written as plain text, as Markdown or as
//! HTML.

use super::chart::text::escape;
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

    /// Returns the document as elements of a page in HTML.
    #[must_use]
    pub fn html(&self) -> String {
        self.join(Part::html)
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

    fn html(&self) -> String {
        match self {
            Self::Sentences(sentences) => {
                let sentences = sentences
                    .iter()
                    .map(|line| format!("<p>{}</p>\n", escape(line)));
                sentences.collect()
            }
            Self::Lists(lists) => {
                let list = |p: &Paragraph| {
                    format!("<h2>{}</h2>\n{}", heading(&p.title), html_list(&p.lines))
                };
                lists.iter().map(list).collect()
            }
            Self::Table {
                title,
                table,
                lines,
            } => {
                let title = title
                    .iter()
                    .map(|title| format!("<h2>{}</h2>\n", heading(title)));
                let mut text = title.collect::<String>();
                text += &format!("<div class=\"table\">\n{}</div>\n", table.html());
                if !lines.is_empty() {
                    text += &html_list(lines);
                }
                text
            }
        }
    }
}

/// Returns a title as a heading in HTML, with a capital at its start.
fn heading(title: &str) -> String {
    let mut chars = title.chars();
    let first: String = chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    escape(&(first + chars.as_str()))
}

/// Returns a list in HTML, one item for each line.
fn html_list(lines: &[String]) -> String {
    let items = lines
        .iter()
        .map(|line| format!("<li>{}</li>\n", escape(line)));
    format!("<ul>\n{}</ul>\n", items.collect::<String>())
}

fn prefix_lines(prefix: &str, lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("{prefix}{line}\n"));
    lines.collect()
}
