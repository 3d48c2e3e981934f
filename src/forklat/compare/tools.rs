//! The tools that are compared: their command lines, with the names of the source and of the destination filled in.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::measured_command::find;
use super::IDLE;
use crate::forklat::error::{ForklatError, failed};
use crate::report::quote::quote;
use crate::sys::process::{MainThread, die_with_parent};

const SOURCE: &str = "{source}";
const DEST: &str = "{dest}";

/// The tools that are compared by default: what collectors use, dd at its best (blocks as large as the windows of the
/// mmap engine), and mmapcp.
const DEFAULTS: [(&str, &str); 3] = [
    ("cp", "cp {source} {dest}"),
    (
        "dd oflag=direct",
        "dd if={source} of={dest} bs=8M oflag=direct status=none",
    ),
    (OURS, "mmapcp --json --progress=never {source} {dest}"),
];

/// The name of the tool whose code is linked into this program.
const OURS: &str = "mmapcp";

/// A tool and its command line.
#[derive(Debug)]
pub(super) struct Tool {
    /// The name of the tool's column in the table.
    pub(super) name: String,
    program: PathBuf,
    words: Vec<String>,
    /// Whether the standard output has the events of mmapcp, which are kept.
    has_events: bool,
}

impl Tool {
    /// Returns the tools of the command line, or the default ones.
    pub(super) fn all(given: &[String]) -> Result<Vec<Self>, ForklatError> {
        let tools: Vec<Self> = if given.is_empty() {
            DEFAULTS
                .iter()
                .map(|(name, line)| Self::new(name, line))
                .collect::<Result<_, _>>()?
        } else {
            given
                .iter()
                .map(|text| Self::parse(text))
                .collect::<Result<_, _>>()?
        };
        for (n, tool) in tools.iter().enumerate() {
            let is_repeat = tool.name == Self::repeated_name(&tools[0].name);
            if tool.name == IDLE
                || is_repeat
                || tools[..n].iter().any(|other| other.name == tool.name)
            {
                return Err(format!("--tool: the name '{}' is already used", tool.name).into());
            }
        }
        Ok(tools)
    }

    fn parse(text: &str) -> Result<Self, ForklatError> {
        let (name, line) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("--tool: '{text}' is not NAME=CMD"))?;
        for hole in [SOURCE, DEST] {
            if !line.contains(hole) {
                return Err(format!("--tool={name}: there is no {hole} in '{line}'").into());
            }
        }
        Self::new(name, line)
    }

    fn new(name: &str, line: &str) -> Result<Self, ForklatError> {
        let words = shell_words::split(line).map_err(|e| format!("--tool={name}: {e}"))?;
        let first = words
            .first()
            .ok_or_else(|| format!("--tool={name}: no command"))?;
        let program = if first == OURS {
            // This program contains the code of mmapcp, so no other build of it is run.
            std::env::current_exe().map_err(|e| failed("find myself", e))?
        } else {
            find(OsStr::new(first)).map_err(|e| ForklatError::cannot_run(OsStr::new(first), e))?
        };
        let has_events = first == OURS && words.iter().any(|word| word == "--json");
        Ok(Self {
            name: name.to_owned(),
            program,
            has_events,
            words,
        })
    }

    /// Returns the name of the column in which a tool runs a second time in each round.
    pub(super) fn repeated_name(name: &str) -> String {
        format!("{name} (again)")
    }

    /// Returns the command line as it was given, for the report.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns a command that is ready to be started. Its standard output is discarded unless it has the events of mmapcp,
    /// and its standard error is kept for the case that it fails. It leads a process group of its own, and dies when this process does.
    pub(super) fn command(&self, source: &Path, dest: &Path, main: MainThread) -> Command {
        let mut command = Command::new(&self.program);
        let words = self.words[1..].iter().map(|word| fill(word, source, dest));
        command.arg0(&self.words[0]).args(words);
        command
            .stdin(Stdio::null())
            .stdout(if self.has_events {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stderr(Stdio::piped());
        command.process_group(0);
        die_with_parent(&mut command, main);
        command
    }
}

/// Replaces the placeholders by the names, whatever bytes these have.
fn fill(word: &str, source: &Path, dest: &Path) -> OsString {
    let mut filled = OsString::new();
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push(before);
        rest = if let Some(rest) = from.strip_prefix(SOURCE) {
            filled.push(source);
            rest
        } else if let Some(rest) = from.strip_prefix(DEST) {
            filled.push(dest);
            rest
        } else {
            filled.push("{");
            &from[1..]
        };
    }
    filled.push(rest);
    filled
}

/// Returns the last five lines that a tool wrote to standard error, each with the tool's name.
pub(super) fn last_words(name: &str, said: &str) -> Vec<String> {
    const LINES: usize = 5;
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| format!("{}: {line}", quote(OsStr::new(name))))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Tool, fill};

    #[test]
    fn names_are_put_in_wherever_they_are_wanted() {
        let fill = |word| fill(word, Path::new("/a b"), Path::new("/c"));
        assert_eq!(fill("if={source}"), "if=/a b");
        assert_eq!(fill("{dest}{source}{dest}"), "/c/a b/c");
        assert_eq!(fill("{}{sourc}"), "{}{sourc}");
    }

    #[test]
    fn a_tool_that_cannot_be_is_refused() {
        for (text, why) in [
            ("cat", "not NAME=CMD"),
            ("=cat {source} {dest}", "not NAME=CMD"),
            ("a=cat {source}", "no {dest}"),
            ("a=cat {dest}", "no {source}"),
            ("a=cat '{source} {dest}", "quote"),
            (
                "a=no-such-program {source} {dest}",
                "cannot run 'no-such-program'",
            ),
        ] {
            let failure = Tool::all(&[text.to_owned()]).unwrap_err().to_string();
            assert!(failure.contains(why), "{text}: {failure}");
        }
        let twice = [
            "a=cat {source} {dest}".to_owned(),
            "a=cp {source} {dest}".to_owned(),
        ];
        assert!(
            Tool::all(&twice)
                .unwrap_err()
                .to_string()
                .contains("already used")
        );
    }
}
