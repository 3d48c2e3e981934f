//! cp and mmapcp side by side in random trees with random words: what one of them does, the other one does, but for `INTENDED`
//! and, where cp is older than the newest, for what cp has changed since.
//!
//! `MMAPCP_CASES=N` tries N cases, others each time; `MMAPCP_SEED=N` the ones that a failure named. What fails is made as small as it goes, and
//! told as a shell script.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::cp_differential::version_changes::{excusing_change, translate_to_older};
use crate::cp_differential::{
    Oracle, intended_difference_from_newest, oracles, program_under_test, tree_snapshot,
};
use crate::support::*;

mod case_run;
mod case_scenario;
mod case_strategy;
mod option_strategy;
mod repro_script;
mod tree_entry;

use case_run::{CaseDir, CaseRun};
use case_scenario::Scenario;

/// Cases of a run in which nobody asked for more: some 20 s on two cores, in a debug build.
const DEFAULT_CASES: u64 = 256;

/// Who asks for no number of cases gets these, so that a change is to blame for what fails. Who asks for one gets others each
/// time.
const DEFAULT_SEED: u64 = 20_261_121;

/// Cases come in as many streams, whatever the machine, so that a seed means the same everywhere.
const STREAM_COUNT: u64 = 8;

/// A failure is made smaller for this long (ms).
const MAX_SHRINK_MS: u32 = 60_000;

/// A case is over for cp within this time, or it is not compared.
const CP_TIME_LIMIT: Duration = Duration::from_secs(1);

/// What cp does within `ENOUGH` takes nobody longer than this.
const MMAPCP_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Lines of a stream that a failure shows, and bytes of a line.
const SHOWN_LINES_AND_BYTES: (usize, usize) = (30, 400);

/// A difference that is meant.
struct IntendedDifference {
    what: &'static str,
    why: &'static str,
    /// Whether the newest cp differs in this, too.
    beside_newest: bool,
    /// Whether this is what happened.
    is: fn(scene: &Scenario, cp: &CaseRun, ours: &CaseRun) -> bool,
}

const INTENDED_DIFFERENCES: &[IntendedDifference] = &[
    IntendedDifference {
        what: "a link made by this command is not written through, at any depth",
        why: "cp 9.1 looks for that among operands only, and so can be led out of the tree",
        beside_newest: true,
        is: |_, cp, ours| {
            let said = "through just-created symlink";
            ours.stderr.contains(said) && !cp.stderr.contains(said)
        },
    },
    IntendedDifference {
        what: "without --sparse=WHEN the holes are those of the source, no more and no fewer",
        why: "cp looks for zeros in a file with holes, reading every byte of what may be as big as the memory, and \
              overlooks holes where the file has blocks enough",
        beside_newest: true,
        is: |scene, cp, ours| {
            let holed = tree_snapshot::with_holes_of(&cp.tree, &ours.tree);
            scene.keeps_holes()
                && (&cp.status, &cp.stdout, &cp.stderr)
                    == (&ours.status, &ours.stdout, &ours.stderr)
                && tree_snapshot::differences(&cp.tree, &holed).is_empty()
        },
    },
    IntendedDifference {
        what: "a simple backup lies beside its file",
        why: "cp 9.1 puts those of files in a target directory into the current one (mended in 9.2), where they meet \
              other files of the case; backups have tables of their own",
        beside_newest: false,
        is: |scene, _, _| scene.may_back_up_simply(),
    },
    IntendedDifference {
        what: "--parents preserves the permissions of directories of an absolute source",
        why: "cp 9.1 looks for their ACLs without the leading slash, finds those of other directories or none, \
              and leaves 0700",
        beside_newest: false,
        is: |scene, cp, ours| {
            let said = |run: &CaseRun| {
                let line = |line: &str| line.starts_with("mmapcp: 'dev/shm/");
                run.stderr.lines().any(line)
            };
            let silently = || {
                (&cp.status, &cp.stdout, &cp.stderr) == (&ours.status, &ours.stdout, &ours.stderr)
                    && tree_snapshot::differ_in_directories_only(&cp.tree, &ours.tree)
            };
            scene.has_parents() && scene.has_absolute() && (said(cp) && !said(ours) || silently())
        },
    },
    IntendedDifference {
        what: "a source stays reachable when the copy replaces a link on its path",
        why: "cp 9.1 follows the path anew for each name, and finds nothing there any more",
        beside_newest: true,
        is: |scene, cp, ours| {
            let lost = |run: &CaseRun| run.stderr.matches("No such file or directory").count();
            scene.has_detour() && lost(cp) > lost(ours)
        },
    },
    IntendedDifference {
        what: "what --parents made for one source is there for the next",
        why: "cp 9.1 forgets to ask again, and makes a directory that it made before",
        beside_newest: true,
        is: |scene, cp, ours| {
            let lost = |line: &str| line.contains("cannot create ") && !ours.stderr.contains(line);
            scene.has_parents() && cp.stderr.lines().any(lost)
        },
    },
    IntendedDifference {
        what: "what is not complete stays closed",
        why: "files are made so that nobody else reads them before their mode is right, directories of --parents so that \
              nobody enters; cp 9.1 makes them wider, and leaves them so when it fails",
        beside_newest: true,
        is: |_, cp, ours| {
            cp.status != "exit status: 0"
                && (&cp.status, &cp.stdout, &cp.stderr)
                    == (&ours.status, &ours.stdout, &ours.stderr)
                && tree_snapshot::differ_in_narrower_modes_only(&cp.tree, &ours.tree)
        },
    },
    IntendedDifference {
        what: "a copy that is met under another name is known to be the copy",
        why: "cp 9.1 asks lstat for the directory that a name is in, and may say that it will not make a hard link to it",
        beside_newest: true,
        is: |_, cp, ours| {
            let (link, itself) = ("will not create hard link", ", into itself, ");
            let count = |run: &CaseRun, what| run.stderr.matches(what).count();
            count(cp, link) > count(ours, link) && count(cp, itself) < count(ours, itself)
        },
    },
    IntendedDifference {
        what: "below a directory, links of strangers are not followed",
        why: "in a directory that others write to they may be planted; cp 9.1 trusts them where the kernel's \
              protected_symlinks does not hold",
        beside_newest: true,
        is: |scene, cp, ours| {
            let denied = |run: &CaseRun| run.stderr.matches(": Permission denied").count();
            // Root is denied nothing else.
            !scene.nobody && denied(ours) > denied(cp)
        },
    },
    IntendedDifference {
        what: "a directory that a link led to keeps its own extended attributes",
        why: "cp 9.1 gives its copy those of the link",
        beside_newest: true,
        is: |_, cp, ours| {
            (&cp.status, &cp.stdout, &cp.stderr) == (&ours.status, &ours.stdout, &ours.stderr)
                && tree_snapshot::differ_in_directory_attributes_only(&cp.tree, &ours.tree)
        },
    },
    IntendedDifference {
        what: "with -u a file that is its own copy stays",
        why: "cp removes it and links it to itself, where two operands lead to it, and so changes the time of its directory",
        beside_newest: true,
        is: |scene, cp, ours| {
            scene
                .words
                .iter()
                .any(|word| word.starts_with("--up") || is_short_with(word, 'u'))
                && (&cp.status, &cp.stderr) == (&ours.status, &ours.stderr)
                && tree_snapshot::differ_in_directories_only(&cp.tree, &ours.tree)
        },
    },
    IntendedDifference {
        what: "--keep-directory-symlink is kept, with -r, too",
        why: "cp forgets it there, save with --copy-contents, and refuses the directory or makes a backup of the link",
        beside_newest: true,
        is: |scene, cp, ours| {
            let refused =
                |run: &CaseRun| run.stderr.matches("cannot overwrite non-directory").count();
            let kept = scene.words.iter().any(|word| word.starts_with("--k"));
            kept && (refused(cp) != refused(ours) || scene.may_back_up())
        },
    },
    IntendedDifference {
        what: "how much is copied before a tree meets its own copy depends on the order of its names",
        why: "files are made by other threads than directories, and a directory in memory lists what was made last first",
        beside_newest: true,
        is: |_, cp, ours| {
            (&cp.status, &cp.stderr) == (&ours.status, &ours.stderr)
                && ours.stderr.contains(", into itself, ")
        },
    },
    IntendedDifference {
        what: "a directory that a backup takes out of its own path is said to be gone",
        why: "cp since 9.5 copies the new directory to itself, and says that all is well",
        beside_newest: true,
        is: |scene, cp, ours| {
            let replaced = ": it was replaced while being copied";
            scene.may_back_up() && ours.stderr.contains(replaced) && !cp.stderr.contains(replaced)
        },
    },
    IntendedDifference {
        what: "an empty name names nothing, as the kernel has it",
        why: "cp takes a destination of no letters for the current directory since 9.2, and fails there later",
        beside_newest: true,
        is: |scene, _, ours| {
            let nothing = "'': No such file or directory";
            scene.words.iter().any(String::is_empty) && ours.stderr.contains(nothing)
        },
    },
    IntendedDifference {
        what: "an empty file is read before it is known whether its blocks can be shared",
        why: "there are file systems on which one that says it is empty is not",
        beside_newest: true,
        is: |_, cp, ours| {
            (&cp.status, &cp.stdout, &cp.stderr) == (&ours.status, &ours.stdout, &ours.stderr)
                && cp.stderr.contains("failed to clone ")
                && tree_snapshot::differ_in_reading_of_empty_files_only(&cp.tree, &ours.tree)
        },
    },
    IntendedDifference {
        what: "a directory of --parents that may not be searched is named itself",
        why: "it is opened once, before names in it are looked at",
        beside_newest: true,
        is: |scene, cp, ours| {
            let denied = |run: &CaseRun, what: &str| {
                let line = |line: &str| line.contains(what) && line.ends_with("Permission denied");
                run.stderr.lines().any(line)
            };
            scene.has_parents() && denied(cp, "cannot stat ") && denied(ours, "cannot access ")
        },
    },
];

/// Whether a word has this short option.
fn is_short_with(word: &str, letter: char) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
}

#[test]
fn mmapcp_does_what_cp_does() {
    if is_root_or_skip("mmapcp_does_what_cp_does") {
        let cases = number("MMAPCP_CASES").unwrap_or(DEFAULT_CASES);
        let tried = try_all(&program_under_test(), &oracles(), cases);
        eprintln!("{tried}");
    }
}

/// What the test itself can be trusted with: nothing that it compares is left to chance, and its commands do things.
#[test]
fn cp_does_what_cp_does() {
    if is_root_or_skip("cp_does_what_cp_does") {
        for oracle in oracles() {
            let tried = try_all(oracle.program(), &[oracle], 128);
            assert!(tried.succeeded * 6 > tried.cases, "{tried}");
            assert!(tried.changed * 3 > tried.cases, "{tried}");
            assert!(tried.intended.values().all(|count| *count == 0), "{tried}");
        }
    }
}

/// What the cases were like.
#[derive(Default)]
struct CaseTally {
    cases: u64,
    succeeded: u64,
    changed: u64,
    /// Cases that were not compared, because cp went round in circles.
    endless: u64,
    /// For each difference that is meant, how often it was met.
    intended: BTreeMap<String, u64>,
}

impl std::fmt::Display for CaseTally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cases: cp succeeded in {}, changed the tree in {}; {} more were endless",
            self.cases, self.succeeded, self.changed, self.endless
        )?;
        for (difference, count) in &self.intended {
            write!(f, "\n{count} intended differences: {difference}")?;
        }
        Ok(())
    }
}

/// Tries `cases` cases in all streams, and panics with all failures.
fn try_all(program: &str, oracles: &[Oracle], cases: u64) -> CaseTally {
    let asked = number("MMAPCP_CASES").is_some();
    let seed =
        number("MMAPCP_SEED").unwrap_or_else(|| if asked { rand_seed() } else { DEFAULT_SEED });
    let tried = Mutex::new(CaseTally::default());
    let failures = Mutex::new(Vec::new());
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let stream = next.fetch_add(1, Ordering::Relaxed);
            if stream >= STREAM_COUNT {
                break;
            }
            let cases = u32::try_from(cases.div_ceil(STREAM_COUNT)).unwrap();
            if let Err(failure) = try_stream((program, oracles), (seed, stream), cases, &tried) {
                failures.lock().unwrap().push(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "MMAPCP_SEED={seed} MMAPCP_CASES={cases}\n{}",
        failures.join("\n")
    );
    tried.into_inner().unwrap()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn rand_seed() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    now.as_nanos() as u64
}

/// One stream of cases; the smallest that fails, as a text.
fn try_stream(
    (program, oracles): (&str, &[Oracle]),
    (seed, stream): (u64, u64),
    cases: u32,
    tried: &Mutex<CaseTally>,
) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&stream.to_le_bytes());
    let config = Config {
        cases,
        // A case is made again by MMAPCP_SEED; what it showed is kept as a named test.
        failure_persistence: None,
        max_shrink_iters: u32::MAX,
        max_shrink_time: MAX_SHRINK_MS,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let place = CaseDir::new();
    let outcome = TestRunner::new_with_rng(config, rng).run(&case_strategy::case(), |case| {
        let scene = Scenario::of(&case);
        match disagreement(&scene, (program, oracles), &place, tried) {
            None => Ok(()),
            Some(difference) => Err(TestCaseError::fail(difference)),
        }
    });
    outcome.map_err(|error| match error {
        TestError::Fail(difference, case) => {
            let script = repro_script::script(&Scenario::of(&case));
            format!("=== stream {stream}\n{difference}\n--- to do the same by hand: sh FILE cp; sh FILE mmapcp (or the path of newest-cp in the lab's cache)\n{script}")
        }
        TestError::Abort(why) => format!("=== stream {stream}: {why}"),
    })
}

/// What `program` does differently from a cp in a scene, if anything that is not meant.
fn disagreement(
    scene: &Scenario,
    (program, oracles): (&str, &[Oracle]),
    place: &CaseDir,
    tried: &Mutex<CaseTally>,
) -> Option<String> {
    let mut ours = None;
    for oracle in oracles {
        if *oracle == Oracle::System && scene.has_newer_options {
            continue;
        }
        let cp = place.run(scene, oracle.program(), CP_TIME_LIMIT);
        if cp.is_endless() {
            tried.lock().unwrap().endless += 1;
            return None;
        }
        let ours = ours.get_or_insert_with(|| place.run(scene, program, MMAPCP_TIME_LIMIT));
        let found = differences(&cp, ours);
        let mut tried = tried.lock().unwrap();
        tried.cases += 1;
        tried.succeeded += u64::from(cp.status == "exit status: 0");
        tried.changed += u64::from(cp.changed);
        if found.is_empty() {
            continue;
        }
        match intended(scene, *oracle, &cp, ours) {
            Some(why) => *tried.intended.entry(why).or_default() += 1,
            None => {
                let found = found.join("\n");
                return Some(format!("beside {}:\n{found}", oracle.program()));
            }
        }
    }
    None
}

/// Why a difference is meant.
fn intended(scene: &Scenario, oracle: Oracle, cp: &CaseRun, ours: &CaseRun) -> Option<String> {
    let newest = oracle == Oracle::Newest;
    let beside = |why| format!("beside {}: {why}", oracle.program());
    if newest && let Some(why) = intended_difference_from_newest(cp, ours) {
        return Some(beside(why.into()));
    }
    let ours = &CaseRun {
        answer: if newest {
            ours.answer.clone()
        } else {
            translate_to_older(cp, ours)
        },
        ..*ours
    };
    if cp.differences(ours).is_empty() {
        return Some(beside(
            "it says so in other words, or by another status".into(),
        ));
    }
    let mut here = INTENDED_DIFFERENCES
        .iter()
        .filter(|it| !newest || it.beside_newest);
    if let Some(it) = here.find(|it| (it.is)(scene, cp, ours)) {
        return Some(beside(format!("{} ({})", it.what, it.why)));
    }
    excusing_change(cp, ours).filter(|_| !newest).map(beside)
}

fn differences(cp: &CaseRun, ours: &CaseRun) -> Vec<String> {
    let mut found = Vec::new();
    for (what, cp, ours) in [
        ("status", &cp.status, &ours.status),
        ("stdout", &cp.stdout, &ours.stdout),
        ("stderr", &cp.stderr, &ours.stderr),
    ] {
        if cp != ours {
            let (cp, ours) = (beginning(cp), beginning(ours));
            found.push(format!("{what}:\n--- cp\n{cp}\n--- mmapcp\n{ours}"));
        }
    }
    found.extend(tree_snapshot::differences(&cp.tree, &ours.tree));
    found
}

fn beginning(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .take(SHOWN_LINES_AND_BYTES.0)
        .map(|line| line.chars().take(SHOWN_LINES_AND_BYTES.1).collect())
        .collect();
    lines.join("\n")
}
