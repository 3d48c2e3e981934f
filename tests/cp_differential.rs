//! The runner that sets mmapcp beside cp: equal trees, a cp in one and `mmapcp` in the other; status, words and trees must agree.
//!
//! There are two of cp: the system's, whose differences are meant where newer versions have them ([`later`]), and Debian's
//! newest, with nothing to excuse.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::lab::newest_cp;
use crate::support::*;

mod standard_tree;
pub(crate) mod tree_snapshot;
pub(crate) mod version_changes;

use tree_snapshot::{Tree, snapshot_after, snapshot_before};
use version_changes::{ProgramOutcome, excusing_change, translate_to_older};

/// One command, run twice.
struct TableCase<'a> {
    name: &'a str,
    /// How its tree differs from the standard one (sh).
    prepare: &'a str,
    /// The command (sh); `$CP` is the program.
    command: &'a str,
}

impl<'a> TableCase<'a> {
    /// Reads `name :: prepare :: command` or `name :: command`.
    fn parse(line: &'a str) -> TableCase<'a> {
        let case = TableCase::split(line);
        case.assert_harmless();
        case
    }

    /// The tests run as root: a table that puts many options before one command must not get at the machine itself. With
    /// -b, --remove-destination or -s cp replaces a device instead of writing to it, and with -R it would copy all there is.
    fn assert_harmless(&self) {
        let (_, ours) = self.command.split_once("$CP").unwrap_or_default();
        let words: Vec<&str> = ours.split_whitespace().collect();
        let is_machine = |pair: &[&str]| match pair[1] {
            // Without -R it is refused.
            "/" => pair[0] != "--strip-trailing-slashes",
            "/dev/stdin" | "/dev/stdout" => false,
            word => word.starts_with("/dev/") && pair[0] != "<",
        };
        assert!(
            !words.iter().any(|word| word.starts_with('-')) || !words.windows(2).any(is_machine),
            "dangerous: {}: {}",
            self.name,
            self.command
        );
    }

    fn split(line: &'a str) -> TableCase<'a> {
        match line.split(" :: ").collect::<Vec<_>>()[..] {
            [name, command] => TableCase {
                name,
                prepare: "",
                command,
            },
            [name, prepare, command] => TableCase {
                name,
                prepare,
                command,
            },
            _ => panic!("not a case: {line}"),
        }
    }
}

// ---------------------------------------------------------------- the runner

/// As whom a table runs, and how exactly the outcome is known.
#[derive(Clone, Copy)]
pub(crate) struct ComparisonOptions {
    /// As a user who owns nothing.
    nobody: bool,
    /// Directory order is the kernel's business: compare the lines sorted.
    any_order: bool,
    /// How much was copied before the failure depends on directory order: compare only that what was there is unharmed.
    any_copied_amount: bool,
    /// Options that mmapcp gets and cp does not: with them the outcome shall be the same.
    mmapcp_options: &'static str,
    /// In memory only: names are the same everywhere.
    in_memory: bool,
    /// The one cp that has what the table is about.
    only_oracle: Option<Oracle>,
}

impl ComparisonOptions {
    pub(crate) const PLAIN: ComparisonOptions = ComparisonOptions {
        nobody: false,
        any_order: false,
        any_copied_amount: false,
        mmapcp_options: "",
        in_memory: false,
        only_oracle: None,
    };
    pub(crate) const ANY_ORDER: ComparisonOptions = ComparisonOptions {
        any_order: true,
        ..ComparisonOptions::PLAIN
    };
    pub(crate) const ANY_COPIED_AMOUNT: ComparisonOptions = ComparisonOptions {
        any_copied_amount: true,
        ..ComparisonOptions::ANY_ORDER
    };
    pub(crate) const NOBODY: ComparisonOptions = ComparisonOptions {
        nobody: true,
        ..ComparisonOptions::PLAIN
    };
    pub(crate) const NOBODY_ANY_ORDER: ComparisonOptions = ComparisonOptions {
        nobody: true,
        ..ComparisonOptions::ANY_ORDER
    };

    /// The same, with options that cp does not have.
    pub(crate) const fn with_mmapcp_options(self, own: &'static str) -> ComparisonOptions {
        ComparisonOptions {
            mmapcp_options: own,
            ..self
        }
    }

    /// For a table of what only the newest cp has.
    pub(crate) const fn newest_only(self) -> ComparisonOptions {
        ComparisonOptions {
            only_oracle: Some(Oracle::Newest),
            ..self
        }
    }

    /// For a table in which what the newest cp does is left to chance.
    pub(crate) const fn older_only(self) -> ComparisonOptions {
        ComparisonOptions {
            only_oracle: Some(Oracle::System),
            ..self
        }
    }

    /// For a long table of what does not depend on the file system.
    pub(crate) const fn in_memory(self) -> ComparisonOptions {
        ComparisonOptions {
            in_memory: true,
            ..self
        }
    }
}

/// A cp that mmapcp is held to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Oracle {
    /// `cp` of this system: 9.1 on the Debian that the tests were written on.
    System,
    /// That of [`newest_cp`].
    Newest,
}

impl Oracle {
    /// How it is called on the search path.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Oracle::System => "cp",
            Oracle::Newest => newest_cp::NAME,
        }
    }
}

/// All that there are here; another one that is set beside cp is compared with the system's only.
pub(crate) fn oracles() -> Vec<Oracle> {
    let newest = program_under_test() == "mmapcp" && newest_cp::directory().is_some();
    let newest = newest.then_some(Oracle::Newest);
    [Oracle::System].into_iter().chain(newest).collect()
}

/// Runs the cases of a table once for each of `words`, which stands in place of WORD.
pub(crate) fn assert_each_same_as_cp(table: &str, words: &[&str], style: ComparisonOptions) {
    for word in words {
        assert_same_as_cp(&table.replace("WORD", word), style);
    }
}

/// Runs every case of a table, one a line, and reports all that disagree at once.
pub(crate) fn assert_same_as_cp(table: &str, style: ComparisonOptions) {
    let cases: Vec<TableCase> = table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(TableCase::parse)
        .collect();
    let mut wrong = Vec::new();
    let mut oracles = oracles();
    oracles.retain(|oracle| style.only_oracle.is_none_or(|only| only == *oracle));
    for parent in scratch_parents(style) {
        for case in &cases {
            let program = format!("{} {}", program_under_test(), style.mmapcp_options);
            let ours = run_program(case, &parent, &program, style);
            for oracle in &oracles {
                if let Some(difference) = find_disagreement(case, &parent, style, *oracle, &ours) {
                    wrong.push(format!(
                        "=== {} (in {}, beside {}): {}\n{difference}",
                        case.name,
                        parent.display(),
                        oracle.program(),
                        case.command
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases disagree with cp\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Memory and disk. Nobody may be unable to reach the build directory: there the temporary directory serves.
fn scratch_parents(style: ComparisonOptions) -> Vec<PathBuf> {
    if style.nobody {
        vec![std::env::temp_dir()]
    } else if style.in_memory {
        vec!["/dev/shm".into()]
    } else {
        vec!["/dev/shm".into(), env!("CARGO_TARGET_TMPDIR").into()]
    }
}

/// What a program did with a case.
fn run_program(
    case: &TableCase,
    parent: &Path,
    program: &str,
    style: ComparisonOptions,
) -> ProgramOutcome {
    let root = scratch(parent);
    let (output, mut tree) = run_case(case, root.path(), program, style);
    assert!(
        !lossy_string(&output.stderr).contains("sh: "),
        "{}: the command itself is wrong: {}",
        case.name,
        describe_output(&output)
    );
    if style.any_copied_amount {
        tree.retain(|_, node| node.is_old_leaf());
    }
    ProgramOutcome {
        status: output.status.to_string(),
        stdout: normalize_program_name(&output.stdout, style),
        stderr: normalize_program_name(&output.stderr, style),
        tree,
    }
}

/// What `mmapcp` did differently from a cp, if anything that is not meant.
fn find_disagreement(
    case: &TableCase,
    parent: &Path,
    style: ComparisonOptions,
    oracle: Oracle,
    ours: &ProgramOutcome,
) -> Option<String> {
    let mut cp = run_program(case, parent, oracle.program(), style);
    if style.mmapcp_options.contains("--atomic") {
        tree_snapshot::forget_overwritten(&mut cp.tree, &ours.tree);
    }
    let mut found = cp.differences(ours);
    if !found.is_empty() && oracle == Oracle::System {
        let ours = translate_to_older(&cp, ours);
        found = cp.differences(&ours);
        if excusing_change(&cp, &ours).is_some() {
            return None;
        }
    } else if intended_difference_from_newest(&cp, ours).is_some() {
        return None;
    }
    (!found.is_empty()).then(|| found.join("\n"))
}

/// Why what differs from the newest cp is meant, if it is.
pub(crate) fn intended_difference_from_newest(
    cp: &ProgramOutcome,
    ours: &ProgramOutcome,
) -> Option<&'static str> {
    if (&cp.status, &cp.stdout, &cp.stderr) != (&ours.status, &ours.stdout, &ours.stderr) {
        return None;
    }
    if tree_snapshot::differ_in_fewer_acls_only(&cp.tree, &ours.tree) {
        return Some(
            "-p gives the mode of the source and no ACL beyond it (cp changes the bits only, where the source has no ACL: \
             what a default ACL or the old file gave stays, and lets others in)",
        );
    }
    tree_snapshot::differ_in_fewer_set_group_ids_of_directories_only(&cp.tree, &ours.tree).then_some(
        "a directory has the set-group-id bit of the group it was made with only as long as it has that group (cp notes the \
         bit, loses it and the group, and sets the bit for another one)",
    )
}

/// Builds the tree and runs the case's command in it with `$CP` set to `program`.
fn run_case(
    case: &TableCase,
    root: &Path,
    program: &str,
    style: ComparisonOptions,
) -> (Output, Tree) {
    standard_tree::make(root);
    if !case.prepare.is_empty() {
        let script = format!("set -e; umask 022; {}", case.prepare);
        let made = run(&mut shell(&script, root));
        let told = describe_output(&made);
        assert!(made.status.success(), "set-up of {}: {told}", case.name);
    }
    standard_tree::set_old_times(root);
    let newest = program == newest_cp::NAME;
    let (_place, bin) = if style.nobody {
        let (place, bin) = public_bin_dir();
        if newest {
            newest_cp::copy_to(&bin);
        }
        (Some(place), bin)
    } else if newest {
        (None, newest_cp::directory().unwrap().to_owned())
    } else {
        (None, Path::new(&*MMAPCP).parent().unwrap().to_owned())
    };
    let mut command = shell(case.command, root);
    command.env("CP", program);
    command.env(
        "PATH",
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()),
    );
    if style.nobody {
        as_nobody(&mut command);
    }
    let then = snapshot_before(root);
    let output = run(&mut command);
    (output, snapshot_after(root, &then))
}

/// What is set beside cp. `MMAPCP_INSTEAD=cp` sets cp beside itself, and so tries the tests: whatever they find then is
/// chance.
pub(crate) fn program_under_test() -> String {
    std::env::var("MMAPCP_INSTEAD").unwrap_or_else(|_| "mmapcp".into())
}

fn shell(script: &str, root: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .current_dir(root)
        .env("LC_ALL", "C")
        .env("TZ", "UTC");
    command
}

/// cp quotes the name of an attribute into the memory that holds the quoted name of the file, and then says the former
/// twice. What is compared names the attribute only.
fn without_garbled_attribute_name(line: &str) -> String {
    let named = ["setting attribute ", "getting attribute "];
    match line.split_once("': ") {
        Some((what, why)) if named.iter().any(|words| what.starts_with(words)) => {
            let attribute = what.split('\'').nth(1).unwrap_or_default();
            format!("attribute {attribute}: {why}")
        }
        _ => line.to_owned(),
    }
}

/// A stream as it reads when the program is called mmapcp.
/// Removes what mmapcp says beyond cp where a file does not fit: "; 2.86 MiB needed, 1020 KiB free".
fn without_space_figures(words: &str) -> &str {
    match words.split_once(": No space left on device; ") {
        Some((before, figures)) if figures.ends_with(" free") => {
            &words[..before.len() + ": No space left on device".len()]
        }
        _ => words,
    }
}

pub(crate) fn normalize_program_name(stream: &[u8], style: ComparisonOptions) -> String {
    let text = stream
        .escape_ascii()
        .to_string()
        .replace("\\n", "\n")
        .replace("\\'", "'")
        // What follows a question follows it on the same line.
        .replace("? cp: ", "? mmapcp: ");
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("cp: ") {
            Some(rest) => format!("mmapcp: {}", without_garbled_attribute_name(rest)),
            None if line.starts_with("mmapcp: ") => {
                let words = without_space_figures(&line["mmapcp: ".len()..]);
                format!("mmapcp: {}", without_garbled_attribute_name(words))
            }
            None => line.replace("'cp --help'", "'mmapcp --help'"),
        })
        .collect();
    if style.any_order {
        lines.sort();
    }
    lines.join("\n")
}
