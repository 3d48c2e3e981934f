//! The man pages as a terminal of 80 columns shows them: with groff, which man(1) uses, and with mandoc.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use super::man_page::{ManPage, pages};
use super::programs;
use crate::support::skip;

/// Width of the terminal, in columns.
const COLUMNS: usize = 80;

/// Width of the text that man(1) asks of groff on such a terminal.
const GROFF_LINE_LENGTH: &str = "-rLL=78n";

/// A warning of tbl that depends on where a row happens to stand: groff 1.22 makes one endless page for a terminal, and its macros
/// lengthen that only after tbl has asked for space. The row is whole.
const FALSE_WARNING: &str = "table text block will not fit on one page";

/// The sections that a reader looks for, besides those that clap makes.
const MMAPCP_SECTIONS: [&str; 15] = [
    "ENGINES",
    "THROTTLING",
    "DURABILITY",
    "ROOM",
    "WRITERS OF THE SOURCE",
    "CHECKSUMS",
    "VERIFICATION",
    "INTERRUPTED COPIES",
    "JSON EVENTS",
    "DIFFERENCES FROM CP",
    "EXIT STATUS",
    "SIGNALS",
    "ENVIRONMENT",
    "FILES",
    "EXAMPLES",
];

/// The same for forklat(1) and its subcommands.
const FORKLAT_SECTIONS: [&str; 4] = ["EXPORTS", "EXIT STATUS", "FILES", "EXAMPLES"];

/// The same for the subcommands that run probers, and for forklat(1).
const PROBE_SECTIONS: [&str; 2] = ["PROBES", "HOW LATENCY IS COUNTED"];

fn all_pages() -> Vec<ManPage> {
    programs()
        .into_iter()
        .flat_map(|(_, command)| pages(command))
        .collect()
}

/// Runs a formatter on a page. Returns what it writes and what it complains of; `None` where it is not installed.
fn format_page(page: &ManPage, program: &str, arguments: &[&str]) -> Option<(String, String)> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file for the page");
    fs::write(file.path(), page.roff()).expect("a page is written");
    let output = Command::new(program)
        .args(arguments)
        .arg(file.path())
        .env("LC_ALL", "C")
        .output();
    let output = match output {
        Err(e) if e.kind() == ErrorKind::NotFound => return None,
        other => other.unwrap_or_else(|e| panic!("{program}: {e}")),
    };
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&output.stdout), text(&output.stderr)))
}

/// Returns a page as groff shows it, without the escape sequences of bold text. All warnings are on.
fn with_groff(page: &ManPage) -> Option<(String, String)> {
    let arguments = [
        "-t",
        "-man",
        "-Tascii",
        "-ww",
        "-P-c",
        "-P-bou",
        GROFF_LINE_LENGTH,
    ];
    let (text, warnings) = format_page(page, "groff", &arguments)?;
    let warnings: Vec<&str> = warnings
        .lines()
        .filter(|line| !line.ends_with(FALSE_WARNING))
        .collect();
    Some((text, warnings.join("\n")))
}

/// Returns a page as mandoc shows it.
fn with_mandoc(page: &ManPage) -> Option<(String, String)> {
    let width = format!("-Owidth={COLUMNS}");
    let (text, warnings) = format_page(page, "mandoc", &["-man", "-Tascii", &width])?;
    Some((without_overstrike(&text), warnings))
}

/// Removes what bold and underlined letters are made of: a letter, a backspace, and the letter again.
fn without_overstrike(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    plain
}

/// Asserts that a rendered page fits on the terminal, lost nothing and has whole tables.
fn check_rendering(page: &ManPage, formatter: &str, text: &str) {
    let name = format!("{} by {formatter}", page.path());
    for line in text.lines() {
        assert!(
            line.chars().count() <= COLUMNS,
            "{name}: a line is too long:\n{line}"
        );
    }
    let options = page.command.get_arguments().filter(|a| !a.is_hide_set());
    for option in options {
        let long = option.get_long().map(|long| format!("--{long}"));
        let short = option.get_short().map(|short| format!("-{short}"));
        for word in long.into_iter().chain(short) {
            let is_there = text.lines().any(|line| starts_option(line, &word));
            assert!(is_there, "{name}: {word} has no entry");
        }
    }
    for label in line_starts(&page.roff()) {
        let is_there = text
            .lines()
            .any(|line| line.trim_start().starts_with(&label));
        assert!(is_there, "{name}: no line begins with '{label}'");
    }
}

/// Whether a line is the head of the entry of an option, which may have a short and a long form.
fn starts_option(line: &str, word: &str) -> bool {
    let line = line.trim_start();
    let is_word = |part: &str| {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        &part[..end.unwrap_or(part.len())] == word
    };
    line.starts_with('-') && line.split(", ").any(is_word)
}

/// Returns what must stand at the beginning of a line: the first cell of each row of a table, and the tags of lists.
fn line_starts(roff: &str) -> Vec<String> {
    let mut starts = Vec::new();
    let mut lines = roff.lines();
    while let Some(line) = lines.next() {
        match line {
            ".TP" => {
                let tag = lines.next().expect("a tag follows .TP");
                starts.push(plain_words(tag));
            }
            ".TS" => {
                let table = lines.by_ref().take_while(|line| *line != ".TE");
                starts.extend(table.filter_map(first_cell));
            }
            _ => {}
        }
    }
    starts
}

/// Returns the first cell of the row that begins on this line of a table.
fn first_cell(line: &str) -> Option<String> {
    let (cell, _) = line.split_once('\t')?;
    (cell != "T}").then(|| plain_words(cell).trim().to_owned())
}

/// Returns the text of a line of roff up to the first gap that is set by the formatter.
fn plain_words(line: &str) -> String {
    let mut text = line.to_owned();
    if let Some(arguments) = line.strip_prefix('.') {
        let (font, words) = arguments.split_once(' ').unwrap_or(("", arguments));
        let is_alternating = font.len() == 2;
        text = words.replace('"', "");
        if is_alternating {
            text = text.split(' ').next().unwrap_or_default().to_owned();
        }
    }
    for (escape, plain) in [
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\-", "-"),
        ("\\ ", " "),
        ("\\(bu", "o"),
    ] {
        text = text.replace(escape, plain);
    }
    text
}

#[test]
fn the_pages_have_the_sections_that_readers_look_for() {
    for page in all_pages() {
        let roff = page.roff();
        let has = |section: &str| {
            let (plain, quoted) = (format!(".SH {section}\n"), format!(".SH \"{section}\"\n"));
            roff.contains(&plain) || roff.contains(&quoted)
        };
        let mut wanted = vec!["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"];
        match page.name.as_str() {
            "mmapcp" => wanted.extend(MMAPCP_SECTIONS),
            "forklat" | "forklat-run" | "forklat-compare" | "forklat-watch" => {
                wanted.extend(FORKLAT_SECTIONS);
                wanted.extend(PROBE_SECTIONS);
            }
            _ => wanted.extend(FORKLAT_SECTIONS),
        }
        for section in wanted {
            assert!(has(section), "{} has no section {section}", page.path());
        }
        assert!(!has("EXTRA"), "{} has a section EXTRA", page.path());
    }
}

#[test]
fn the_pages_fit_on_80_columns_with_groff() {
    for page in all_pages() {
        let Some((text, warnings)) = with_groff(&page) else {
            return skip(
                "the_pages_fit_on_80_columns_with_groff",
                "groff is not here",
            );
        };
        assert_eq!(warnings, "", "{}", page.path());
        check_rendering(&page, "groff", &text);
    }
}

#[test]
fn the_pages_fit_on_80_columns_with_mandoc() {
    for page in all_pages() {
        let Some((text, _)) = with_mandoc(&page) else {
            return skip(
                "the_pages_fit_on_80_columns_with_mandoc",
                "mandoc is not here",
            );
        };
        check_rendering(&page, "mandoc", &text);
    }
}

#[test]
fn mandoc_finds_no_fault_with_the_pages() {
    for page in all_pages() {
        let Some((faults, _)) = format_page(&page, "mandoc", &["-man", "-Tlint", "-Wwarning"])
        else {
            return skip("mandoc_finds_no_fault_with_the_pages", "mandoc is not here");
        };
        assert_eq!(faults, "", "{}", page.path());
    }
}
