//! The `main` of the integration tests: runs what `#[test]` has registered, and counts a test that could not run as skipped.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::required_lab::assert_may_skip;
use crate::tested_programs;

/// A function that carries `#[test]`.
pub(crate) struct TestCase {
    /// Its path, beginning with the name of this crate.
    pub(crate) path: &'static str,
    /// Whether it runs only when it is asked for by `--ignored`.
    pub(crate) is_ignored: bool,
    /// Runs it.
    pub(crate) run: fn() -> Result<(), String>,
}

inventory::collect!(TestCase);

/// What a test function may return.
pub(crate) trait TestResult {
    /// Returns the message of a failure.
    fn into_result(self) -> Result<(), String>;
}

impl TestResult for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Debug> TestResult for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|e| format!("{e:?}"))
    }
}

/// How much of a test was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Some of its cases; the others have passed.
    Part,
    /// The whole test, or all that it is about.
    Whole,
}

thread_local! {
    /// The name of the test that this thread runs.
    static CURRENT_TEST: Cell<&'static str> = const { Cell::new("") };

    /// Why the test that this thread runs was skipped, in whole or in part.
    static SKIP_REASONS: RefCell<Vec<(Extent, String)>> = const { RefCell::new(Vec::new()) };
}

/// Tests that were skipped, in whole or in part, with their reasons.
static SKIPPED_TESTS: Mutex<Vec<(&str, Extent, String)>> = Mutex::new(Vec::new());

/// Tests with the time that each took.
static TEST_TIMES: Mutex<Vec<(Duration, &str)>> = Mutex::new(Vec::new());

/// The shortest time of a test that is listed among the slow ones.
const SLOW_TEST: Duration = Duration::from_secs(10);

/// Counts the running test as skipped. To be called on the test's own thread.
///
/// # Panics
/// With `MMAPCP_REQUIRE_LAB=1`: the test fails.
pub(crate) fn skip(reason: String) {
    record(Extent::Whole, reason);
}

/// Records that a part of the running test cannot run here. To be called on the test's own thread.
///
/// # Panics
/// With `MMAPCP_REQUIRE_LAB=1`: the test fails.
pub(crate) fn skip_part(reason: String) {
    record(Extent::Part, reason);
}

fn record(extent: Extent, reason: String) {
    assert_may_skip(&reason);
    SKIP_REASONS.with_borrow_mut(|reasons| {
        if !reasons.contains(&(extent, reason.clone())) {
            reasons.push((extent, reason));
        }
    });
}

/// Whether the test that this thread runs has this name, its module aside.
pub(crate) fn is_current_test(name: &str) -> bool {
    let current = CURRENT_TEST.get();
    current.rsplit("::").next() == Some(name)
}

/// Runs the tests that the command line asks for, and says at the end which were skipped, and why.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::from_args();
    if let Err(why) = tested_programs::check() {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    let mut cases: Vec<&'static TestCase> = inventory::iter::<TestCase>().collect();
    cases.sort_by_key(|case| case.path);
    let trials = cases.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        if let Some(dir) = tested_programs::bin_dir() {
            println!("programs under test: {}", dir.display());
        }
        print_slow_tests();
        print_skipped(conclusion.num_passed, conclusion.num_failed);
    }
    conclusion.exit_code()
}

fn trial(case: &'static TestCase) -> Trial {
    let path = case.path;
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    let run = move || {
        CURRENT_TEST.set(name);
        SKIP_REASONS.take();
        let started = Instant::now();
        let result = (case.run)();
        locked(&TEST_TIMES).push((started.elapsed(), name));
        result.map_err(Failed::from)?;
        let reasons = SKIP_REASONS.take();
        let mut skipped = locked(&SKIPPED_TESTS);
        let is_whole = reasons.iter().any(|(extent, _)| *extent == Extent::Whole);
        let of_extent = if is_whole {
            Extent::Whole
        } else {
            Extent::Part
        };
        let reasons: Vec<String> = reasons.into_iter().map(|(_, reason)| reason).collect();
        let reason = reasons.join("; ");
        if !reasons.is_empty() {
            skipped.push((name, of_extent, reason.clone()));
        }
        Ok(if is_whole {
            Completion::ignored_with(reason)
        } else {
            Completion::Completed
        })
    };
    Trial::ignorable_test(name, run).with_ignored_flag(case.is_ignored)
}

/// Locks a list. No test panics while it holds the lock.
fn locked<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists the tests that took long, the slowest first: the whole of `.ci/run` has a limit.
fn print_slow_tests() {
    let mut times = locked(&TEST_TIMES);
    times.retain(|(time, _)| *time >= SLOW_TEST);
    times.sort_by_key(|(time, _)| Reverse(*time));
    for (time, name) in times.iter() {
        println!("  slow: {:.1} s: {name}", time.as_secs_f64());
    }
}

/// Says how many tests were skipped, in whole and in part, and why, the most frequent reason first.
fn print_skipped(passed: u64, failed: u64) {
    let skipped = locked(&SKIPPED_TESTS);
    let count = |extent| skipped.iter().filter(|(_, of, _)| *of == extent).count() as u64;
    let (whole, part) = (count(Extent::Whole), count(Extent::Part));
    let passed = passed - part;
    println!("{passed} passed, {failed} failed, {whole} skipped, {part} passed in part");
    for (extent, heading) in [(Extent::Whole, "skipped"), (Extent::Part, "passed in part")] {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, _, reason) in skipped.iter().filter(|(_, of, _)| *of == extent) {
            by_reason.entry(reason).or_default().push(name);
        }
        let mut by_reason: Vec<_> = by_reason.into_iter().collect();
        by_reason.sort_by_key(|(_, names)| Reverse(names.len()));
        for (reason, names) in by_reason {
            println!("  {heading}: {reason}");
            println!("    {}: {}", names.len(), names.join(", "));
        }
    }
    if !skipped.is_empty() {
        println!("`tests/run` installs what is missing, where it may.");
    }
}
