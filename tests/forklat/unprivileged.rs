//! Users who are not root, and limits that they have.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{COMMAND_TIME_ONLY, FORKLAT, RunFixture, cpus, probe_kinds, subject};
use crate::support::{as_nobody, assert_exit, describe_output, is_root_or_skip, lossy_string, run};

/// Nobody else runs as this user, so that a limit of processes counts ours alone.
const UNUSED_UID: u32 = 54_321;

/// A place with the program in it: the build may lie where others cannot go.
pub(super) fn open_place() -> RunFixture {
    let place = RunFixture::of_programs();
    let program = place.path("program");
    // A copy that is being written cannot be run, and a test beside this one may have forked in between.
    fs::hard_link(&*FORKLAT, &program)
        .or_else(|_| fs::copy(&*FORKLAT, &program).map(drop))
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    place
}

/// `forklat run` of a JSON export under these limits.
pub(super) fn limited(place: &RunFixture, limits: &[&str]) -> Command {
    let mut command = place.command_with_mark("prlimit");
    command
        .args(limits)
        .arg(place.path("program"))
        .args(["run", "--export-json=json", "--for=200ms"])
        .args(COMMAND_TIME_ONLY);
    command
}

#[test]
fn anyone_can_measure() {
    if !is_root_or_skip("anyone_can_measure") {
        return;
    }
    let place = open_place();
    let output = run(as_nobody(&mut limited(&place, &[])));
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        describe_output(&output)
    );
    let report = place.report("json");
    let all = ["wakeup", "fork", "fork-child", "exec", "touch"];
    let kinds = probe_kinds(subject(&report, "during"));
    assert_eq!(kinds[..all.len()], all);
    // The directory of temporary files may be a disk.
    let on_disk = &kinds[all.len()..];
    assert!(
        on_disk.is_empty() || on_disk == ["write", "fsync", "read"],
        "{kinds:?}"
    );
    place.assert_only(&["json", "program"]);
}

/// What was measured may hold stalls of the observers' own: that is said, and no reason to fail.
#[test]
fn observers_that_cannot_be_locked_in_memory() {
    if !is_root_or_skip("observers_that_cannot_be_locked_in_memory") {
        return;
    }
    let place = open_place();
    for (limit, why) in [
        ("65536", "Cannot allocate memory"),
        ("0", "Operation not permitted"),
    ] {
        let output = run(as_nobody(&mut limited(
            &place,
            &[&format!("--memlock={limit}")],
        )));
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            describe_output(&output)
        );
        let said = format!(
            "cannot lock these observers in memory ({why}), so their own page faults may count as latency; raise RLIMIT_MEMLOCK: "
        );
        let notes = place.report("json").notes;
        let note = notes
            .iter()
            .find(|note| note.starts_with(&said))
            .unwrap_or_else(|| panic!("{notes:?}"));
        for name in ["fork on CPU ", "exec", "touch", "sampler"] {
            assert!(note.contains(name), "{note}");
        }
        assert!(
            lossy_string(&output.stdout).contains(note.as_str()),
            "{}",
            describe_output(&output)
        );
    }
}

/// Room for all observers, but not for the first child of a forker.
#[test]
fn a_forker_that_cannot_fork() {
    if !is_root_or_skip("a_forker_that_cannot_fork") {
        return;
    }
    let place = open_place();
    let all = 1 + cpus().len() + 1;
    let mut command = limited(&place, &[&format!("--nproc={all}")]);
    let output = run(command.arg("--probe=fork").uid(UNUSED_UID).gid(UNUSED_UID));
    assert_exit(&output, 125);
    assert!(output.stdout.is_empty(), "{}", describe_output(&output));
    let stderr = lossy_string(&output.stderr);
    // As long as a forker rehearses, its child may have the place of the next observer.
    let forker = stderr.starts_with("forklat: fork on CPU ") && stderr.contains(": cannot fork: ");
    assert!(
        forker || stderr.starts_with("forklat: cannot start the "),
        "{stderr}"
    );
    assert!(
        stderr.ends_with(": Resource temporarily unavailable\n"),
        "{stderr}"
    );
    place.assert_only(&["program"]);
}

#[test]
fn a_directory_that_is_not_theirs() {
    if !is_root_or_skip("a_directory_that_is_not_theirs") {
        return;
    }
    let place = open_place();
    fs::create_dir(place.path("closed")).unwrap();
    for (probe, said) in [
        (
            "write",
            "write: cannot create a file in 'closed': Permission denied",
        ),
        (
            "read",
            "read: cannot create a file in 'closed': Permission denied",
        ),
        ("exec", "' to 'closed': "),
    ] {
        let mut command = limited(&place, &[]);
        let output = run(as_nobody(
            command.args(["--on=closed", &format!("--probe={probe}")]),
        ));
        assert_exit(&output, 125);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        assert!(
            lossy_string(&output.stderr).contains(said),
            "{}",
            describe_output(&output)
        );
        place.assert_only(&["closed", "program"]);
    }
}
