//! What cp has changed since 9.1 and mmapcp does as the newer one: the differences that are meant beside an older cp. Beside
//! the newest there is nothing to excuse here.

use super::tree_snapshot::{self, Tree};

/// What one program did with a command.
#[derive(Clone)]
pub(crate) struct ProgramOutcome {
    pub(crate) status: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) tree: Tree,
}

impl ProgramOutcome {
    /// Where cp and mmapcp did something else.
    pub(crate) fn differences(&self, ours: &ProgramOutcome) -> Vec<String> {
        let mut found = Vec::new();
        for (what, cp, ours) in [
            ("status", &self.status, &ours.status),
            ("stdout", &self.stdout, &ours.stdout),
            ("stderr", &self.stderr, &ours.stderr),
        ] {
            if cp != ours {
                found.push(format!("{what}:\n--- cp\n{cp}\n--- mmapcp\n{ours}"));
            }
        }
        found.extend(tree_snapshot::differences(&self.tree, &ours.tree));
        found
    }
}

/// A change of cp.
struct CpChange {
    /// The version that has it.
    since: &'static str,
    what: &'static str,
    kind: ChangeKind,
}

enum ChangeKind {
    /// What we did can be told as the older cp does it: changes our answer into that.
    Translated(fn(cp: &ProgramOutcome, ours: &mut ProgramOutcome)),
    /// All that comes after is different, too: whether this is what happened.
    Excused(fn(cp: &ProgramOutcome, ours: &ProgramOutcome) -> bool),
}

const CHANGES: &[CpChange] = &[
    CpChange {
        since: "9.2",
        what: "a file that -i does not overwrite, because the user declines, makes the exit status 1",
        kind: ChangeKind::Translated(|cp, ours| {
            if ours.status == "exit status: 1" && ours.stderr.contains("? ") {
                ours.status.clone_from(&cp.status);
            }
        }),
    },
    CpChange {
        since: "9.5",
        what: "\"cannot overwrite directory 'd' with non-directory\" goes on with the name of the other file",
        kind: ChangeKind::Translated(|_, ours| ours.stderr = without_second_name(&ours.stderr)),
    },
    CpChange {
        since: "9.5",
        what: "--backup with -n is refused in other words",
        kind: ChangeKind::Translated(|cp, ours| {
            let old = "options --backup and --no-clobber are mutually exclusive";
            if cp.stderr.contains(old) {
                let new = "--backup is mutually exclusive with -n or --update=none-fail";
                ours.stderr = ours.stderr.replace(new, old);
            }
        }),
    },
    CpChange {
        since: "9.2",
        what: "--debug is an option, so that --d and --de are ambiguous",
        kind: ChangeKind::Excused(|cp, ours| {
            let ambiguous = "' is ambiguous; possibilities:";
            ours.stderr.contains("'--debug'")
                && ours.stderr.contains(ambiguous)
                && !cp.stderr.contains("'--debug'")
        }),
    },
    CpChange {
        since: "9.2",
        what: "a file that --reflink=always has made and cannot share is removed",
        kind: ChangeKind::Translated(|cp, ours| {
            if cp.stderr.contains("failed to clone ") {
                tree_snapshot::add_empty_files(&cp.tree, &mut ours.tree);
            }
        }),
    },
    CpChange {
        since: "9.5",
        what: "with a backup a directory replaces another kind of file, and another kind of file tries to replace a directory",
        kind: ChangeKind::Excused(|cp, ours| {
            let refused = |answer: &ProgramOutcome| {
                let count = |what| answer.stderr.matches(what).count();
                count(": cannot overwrite non-directory ") + count(": cannot overwrite directory ")
            };
            refused(cp) > refused(ours)
        }),
    },
    CpChange {
        since: "9.7 at the latest",
        what: "-p takes away the set-id and sticky bits of what was there, where the source has none",
        kind: ChangeKind::Translated(|cp, ours| {
            tree_snapshot::add_special_bits(&cp.tree, &mut ours.tree)
        }),
    },
];

/// What an older cp would have done where we did as the newest does, as far as that can be told.
pub(crate) fn translate_to_older(cp: &ProgramOutcome, ours: &ProgramOutcome) -> ProgramOutcome {
    let mut ours = ours.clone();
    for change in CHANGES {
        if let ChangeKind::Translated(translate) = change.kind {
            translate(cp, &mut ours);
        }
    }
    ours
}

/// The change that explains why an older cp did something else than what [`as_older`] has, for a report.
pub(crate) fn excusing_change(cp: &ProgramOutcome, ours: &ProgramOutcome) -> Option<String> {
    let explains = |it: &&CpChange| match it.kind {
        ChangeKind::Excused(is) => is(cp, ours),
        ChangeKind::Translated(_) => false,
    };
    let change = CHANGES.iter().find(explains)?;
    Some(format!("since cp {}: {}", change.since, change.what))
}

/// Messages without the second name. A name may have line feeds: a message ends where the next one begins.
fn without_second_name(stderr: &str) -> String {
    const NEXT: &str = "\nmmapcp: ";
    let end = " with non-directory";
    let messages = stderr.split(NEXT).map(|message| {
        let is = message.contains("cannot overwrite directory ");
        match message.find(&format!("{end} ")).filter(|_| is) {
            Some(at) => &message[..at + end.len()],
            None => message,
        }
    });
    messages.collect::<Vec<_>>().join(NEXT)
}
