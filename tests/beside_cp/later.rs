//! What cp has changed since 9.1 and mmapcp has from the newer one. Beside an older cp these differences are meant; beside
//! the newest there is nothing to excuse.

use super::tree::{self, Tree};

/// What one program did with a command.
pub(crate) struct Answer<'a> {
    pub(crate) status: &'a str,
    pub(crate) stdout: &'a str,
    pub(crate) stderr: &'a str,
    pub(crate) tree: &'a Tree,
}

impl Answer<'_> {
    fn says(&self, words: &str) -> bool {
        self.stderr.contains(words)
    }
}

/// A change of cp.
struct Change {
    /// The version that has it.
    since: &'static str,
    what: &'static str,
    /// Whether it explains all that an older cp and mmapcp did differently.
    explains: fn(cp: &Answer<'_>, ours: &Answer<'_>) -> bool,
}

const CHANGES: &[Change] = &[
    Change {
        since: "9.2",
        what: "a file that -i does not overwrite, because the user declines, makes the exit status 1",
        explains: |cp, ours| {
            let codes = (cp.status, ours.status) == ("exit status: 0", "exit status: 1");
            codes && cp.says("? ") && same_words(cp, ours) && same_trees(cp, ours)
        },
    },
    Change {
        since: "9.2",
        what: "a file that --reflink=always has made and cannot share is removed",
        explains: |cp, ours| {
            cp.says("failed to clone ")
                && cp.status == ours.status
                && same_words(cp, ours)
                && tree::lacks_empty_files_only(cp.tree, ours.tree)
        },
    },
    Change {
        since: "9.5",
        what: "\"cannot overwrite directory 'd' with non-directory\" goes on with the name of the other file",
        explains: |cp, ours| {
            let shortened = without_the_name(ours.stderr);
            ours.stderr != shortened
                && cp.stderr == shortened
                && (cp.status, cp.stdout) == (ours.status, ours.stdout)
                && same_trees(cp, ours)
        },
    },
    Change {
        since: "9.5",
        what: "with a backup a directory replaces another kind of file, and another kind of file tries to replace a \
               directory",
        explains: |cp, ours| {
            let refused = |answer: &Answer<'_>| {
                let line = |line: &str| {
                    line.contains(": cannot overwrite non-directory ")
                        || line.contains(": cannot overwrite directory ")
                };
                answer.stderr.lines().filter(|l| line(l)).count()
            };
            refused(cp) > refused(ours)
        },
    },
    Change {
        since: "9.5",
        what: "--backup with -n is refused in other words",
        explains: |cp, ours| {
            cp.says("options --backup and --no-clobber are mutually exclusive")
                && ours.says("--backup is mutually exclusive with -n or --update=none-fail")
                && (cp.status, cp.stdout) == (ours.status, ours.stdout)
                && same_trees(cp, ours)
        },
    },
];

fn same_words(cp: &Answer<'_>, ours: &Answer<'_>) -> bool {
    (cp.stdout, cp.stderr) == (ours.stdout, ours.stderr)
}

fn same_trees(cp: &Answer<'_>, ours: &Answer<'_>) -> bool {
    tree::differences(cp.tree, ours.tree).is_empty()
}

fn without_the_name(stderr: &str) -> String {
    let shortened = stderr.lines().map(|line| {
        let end = " with non-directory";
        match line.find(end) {
            Some(at) if line.contains(": cannot overwrite directory ") => &line[..at + end.len()],
            _ => line,
        }
    });
    shortened.collect::<Vec<_>>().join("\n")
}

/// The change that explains what an older cp did otherwise: how it is called in a report.
pub(crate) fn explanation(cp: &Answer<'_>, ours: &Answer<'_>) -> Option<String> {
    let change = CHANGES.iter().find(|it| (it.explains)(cp, ours))?;
    Some(format!("since cp {}: {}", change.since, change.what))
}
