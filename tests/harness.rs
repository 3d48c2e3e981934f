//! The `main` of the integration tests: runs what `#[test]` has registered, and counts a test that could not run as skipped.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::Mutex;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

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

thread_local! {
    /// The name of the test that this thread runs.
    static CURRENT_TEST: Cell<&'static str> = const { Cell::new("") };
    /// Why the test that this thread runs was skipped, in whole or in part.
    static SKIP_REASONS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Tests that were skipped, with their reasons.
static SKIPPED_TESTS: Mutex<Vec<(&str, String)>> = Mutex::new(Vec::new());

/// Counts the running test as skipped, in whole or in part. To be called on the test's own thread.
///
/// # Panics
/// With `MMAPCP_REQUIRE_LAB=1`: the test fails.
pub(crate) fn skip(reason: String) {
    let is_required = std::env::var_os("MMAPCP_REQUIRE_LAB").is_some_and(|value| value == "1");
    assert!(!is_required, "MMAPCP_REQUIRE_LAB=1, but {reason}");
    SKIP_REASONS.with_borrow_mut(|reasons| reasons.push(reason));
}

/// Whether the test that this thread runs has this name, its module aside.
pub(crate) fn is_current_test(name: &str) -> bool {
    let current = CURRENT_TEST.get();
    current.rsplit("::").next() == Some(name)
}

/// Runs the tests that the command line asks for, and says at the end which were skipped, and why.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut cases: Vec<&'static TestCase> = inventory::iter::<TestCase>().collect();
    cases.sort_by_key(|case| case.path);
    let trials = cases.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_skipped(conclusion.num_passed, conclusion.num_failed);
    conclusion.exit_code()
}

fn trial(case: &'static TestCase) -> Trial {
    let path = case.path;
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    let run = move || {
        CURRENT_TEST.set(name);
        SKIP_REASONS.take();
        (case.run)().map_err(Failed::from)?;
        let reasons = SKIP_REASONS.take();
        if reasons.is_empty() {
            return Ok(Completion::Completed);
        }
        let reasons = reasons.join("; ");
        let mut skipped = SKIPPED_TESTS
            .lock()
            .expect("no test panics while it holds the lock");
        skipped.push((name, reasons.clone()));
        Ok(Completion::ignored_with(reasons))
    };
    Trial::ignorable_test(name, run).with_ignored_flag(case.is_ignored)
}

/// Says how many tests were skipped, and for what reason, the most frequent reason first.
fn print_skipped(passed: u64, failed: u64) {
    let skipped = SKIPPED_TESTS
        .lock()
        .expect("no test panics while it holds the lock");
    if skipped.is_empty() {
        return;
    }
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, reason) in skipped.iter() {
        match by_reason.iter_mut().find(|(known, _)| known == reason) {
            Some((_, names)) => names.push(name),
            None => by_reason.push((reason, vec![name])),
        }
    }
    by_reason.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    println!(
        "{passed} passed, {failed} failed, {} skipped:",
        skipped.len()
    );
    for (reason, names) in by_reason {
        println!("  {}: {reason} ({})", names.len(), names.join(", "));
    }
    println!("`tests/run` installs what is missing, where it may.");
}
