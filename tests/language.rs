//! The language of doc comments in `src`: none has fewer than five words, and that of a function begins with a verb in the
//! third person. No function has more lines than fit a screen.

use std::fs;

use crate::layers;

const MIN_WORDS: usize = 5;

/// Folders of `src` whose doc comments still break these rules. The list shall become empty.
const NOT_CLEAN: [&str; 0] = [];

/// A doc comment and the item that it describes.
struct DocComment {
    /// The file below `src`, with the number of the first line.
    place: String,
    text: String,
    /// The first line of code after the comment; empty for a module head.
    item: String,
    is_test: bool,
}

impl DocComment {
    /// Returns what is wrong with the comment, or `None`.
    fn fault(&self) -> Option<&'static str> {
        let is_verb = |word: &str| word.ends_with('s') && !["This", "Its"].contains(&word);
        if self.text.split_whitespace().count() < MIN_WORDS {
            return Some("has fewer than five words");
        }
        let first = self.text.split_whitespace().next().unwrap_or_default();
        let is_named_by_verb = is_function(&self.item) && !self.is_test;
        (is_named_by_verb && !is_verb(first))
            .then_some("does not begin with a verb in the third person")
    }
}

fn is_function(item: &str) -> bool {
    item.split_whitespace().any(|word| word == "fn")
}

/// Returns the marker and the text of a line of a doc comment.
fn doc_line(line: &str) -> Option<(&str, &str)> {
    let (marker, text) = line.trim_start().split_at_checked(3)?;
    ["///", "//!"].contains(&marker).then_some((marker, text))
}

fn doc_comments(name: &str, text: &str) -> Vec<DocComment> {
    let lines: Vec<&str> = text.lines().collect();
    let marker = |at: usize| {
        lines
            .get(at)
            .and_then(|line| doc_line(line))
            .map(|(m, _)| m)
    };
    let starts = (0..lines.len())
        .filter(|at| marker(*at).is_some() && (*at == 0 || marker(at - 1) != marker(*at)));
    let comment = |start: usize| {
        let end = (start..)
            .find(|at| marker(*at) != marker(start))
            .expect("a file ends");
        let texts = lines[start..end].iter().filter_map(|line| doc_line(line));
        let texts: Vec<&str> = texts.map(|(_, text)| text).collect();
        let after = lines[end..].iter().map(|line| line.trim());
        let is_attribute = |line: &&str| line.starts_with("#[");
        DocComment {
            place: format!("{name}:{}", start + 1),
            text: texts.join(" "),
            item: match marker(start) {
                Some("///") => after.clone().find(|line| !is_attribute(line)),
                _ => None,
            }
            .unwrap_or_default()
            .to_owned(),
            is_test: after.take_while(is_attribute).any(|line| line == "#[test]"),
        }
    };
    starts.map(comment).collect()
}

/// Returns the faults in a folder of `src`, each with its place.
fn faults_below(folder: &str) -> Vec<String> {
    let root = layers::source_root();
    let mut files = Vec::new();
    layers::find_sources(&root.join(folder), &mut files);
    let comments = files.iter().flat_map(|file| {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        doc_comments(&name, &fs::read_to_string(file).unwrap())
    });
    let faults = comments.filter_map(|comment| {
        let fault = comment.fault()?;
        Some(format!(
            "{} {fault}: {}",
            comment.place,
            comment.text.trim()
        ))
    });
    faults.collect()
}

#[test]
fn doc_comments_are_sentences() {
    let clean = layers::LAYERS
        .iter()
        .filter(|layer| !NOT_CLEAN.contains(layer));
    let faults: Vec<_> = clean.flat_map(|layer| faults_below(layer)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn folders_that_are_clean_are_not_excepted() {
    for folder in NOT_CLEAN {
        let faults = faults_below(folder);
        assert!(
            !faults.is_empty(),
            "{folder} is clean: take it out of NOT_CLEAN"
        );
        println!("{folder}: {} doc comments to mend", faults.len());
    }
}

/// Lines of the longest function. Where more is needed, a part of it has a name of its own.
const MAX_FUNCTION_LINES: usize = 60;

/// Returns the name and the number of lines of each function of a file, which `cargo fmt` has indented.
fn function_lengths(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let length = |start: usize| {
        let line = lines[start];
        let indent = line.len() - line.trim_start().len();
        let (before, name) = line.trim_start().split_once("fn ")?;
        let is_modifier = |word| {
            let known = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
            known.contains(&word) || word.starts_with("pub(")
        };
        if !before
            .replace("in ", "in")
            .split(' ')
            .all(|word| word.is_empty() || is_modifier(word))
        {
            return None;
        }
        // A declaration without a body ends with a semicolon, and an empty body with the line.
        let signature = lines[start..]
            .iter()
            .find(|line| line.ends_with(['{', '}', ';']))?;
        if !signature.ends_with('{') {
            return None;
        }
        let end = format!("{}}}", " ".repeat(indent));
        let length = 1 + lines[start..].iter().position(|line| *line == end)?;
        let name = name.split(['(', '<']).next()?;
        Some((name, length))
    };
    (0..lines.len()).filter_map(length).collect()
}

#[test]
fn functions_fit_a_screen() {
    let root = layers::source_root();
    let mut files = Vec::new();
    layers::find_sources(&root, &mut files);
    let (mut count, mut long) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (name, lines) in function_lengths(&text) {
            count += 1;
            if lines > MAX_FUNCTION_LINES {
                long.push(format!("{}: {name} has {lines} lines", file.display()));
            }
        }
    }
    assert!(count > 1000, "only {count} functions were found");
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn lengths_of_functions_are_counted() {
    let text = "pub(in crate::x) const fn a<T>() {\n    one();\n}\n\nimpl X {\n    fn b(\n        self,\n    ) {\n        fn c() {\n        }\n    }\n    fn d(\n    );\n}\n";
    assert_eq!(function_lengths(text), [("a", 3), ("b", 6), ("c", 2)]);
}

#[test]
fn faults_of_doc_comments_are_found() {
    let text = "//! Too short a head.\n\n/// Whether it is the right\n/// one.\n#[inline]\npub(super) fn a() {}\n\
                /// Returns whether it is so.\nfn b() {}\n/// Nothing is lost in a test.\n#[test]\nfn c() {}\n";
    let comments = doc_comments("x.rs", text);
    let faults: Vec<_> = comments
        .iter()
        .map(|c| (c.place.as_str(), c.fault()))
        .collect();
    let want = [
        ("x.rs:1", Some("has fewer than five words")),
        (
            "x.rs:3",
            Some("does not begin with a verb in the third person"),
        ),
        ("x.rs:7", None),
        ("x.rs:9", None),
    ];
    assert_eq!(faults, want);
}
