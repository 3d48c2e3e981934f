//! The exit status of `forklat run`: the command's, or why there is none.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{FORKLAT, RunFixture, SHORT_RUN};
use crate::support::{assert_exit, describe_output, lossy_string, run};

#[test]
fn exit_status_is_that_of_the_command() {
    for (script, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 125", 125),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
    ] {
        let place = RunFixture::new();
        let output = place.run(&[&SHORT_RUN[..], &["--", "sh", "-c", script]].concat());
        assert_exit(&output, status);
        assert!(
            lossy_string(&output.stderr).contains("fork "),
            "{}",
            describe_output(&output)
        );
        place.assert_only(&[]);
    }
}

/// As by a shell, env(1) or timeout(1). What is said of a file comes from execve(2) or from the search before it.
#[test]
fn a_command_that_cannot_run() {
    let place = RunFixture::of_programs();
    fs::write(place.path("plain"), "true\n").unwrap();
    fs::write(place.path("orphan"), "#!/no/such/shell\n").unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path("orphan"), executable).unwrap();
    for (command, status, why) in [
        ("no-such-command", 127, "No such file or directory"),
        ("./no-such-file", 127, "No such file or directory"),
        ("", 127, "No such file or directory"),
        ("./plain/under", 126, "Not a directory"),
        ("./plain", 126, "Permission denied"),
        (".", 126, "Permission denied"),
        ("./.", 126, "Permission denied"),
        // This one is found; it fails when all observers are there.
        ("./orphan", 127, "No such file or directory"),
    ] {
        let output = place.run(&[&SHORT_RUN[..], &["--export-json=json", "--", command]].concat());
        assert_exit(&output, status);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        assert_eq!(
            lossy_string(&output.stderr),
            format!("forklat: cannot run '{command}': {why}\n")
        );
        place.assert_only(&["orphan", "plain"]);
    }
}

#[test]
fn the_command_keeps_its_arguments_and_streams() {
    let place = RunFixture::new();
    let script = "read line; echo \"$0 $1 $line\"; echo aside >&2";
    let line = format!(
        "echo in | '{}' run --baseline=0 --settle=0 --probe=fork -- sh -c '{script}' -v --for=1",
        &*FORKLAT
    );
    let output = run(place.command_with_mark("sh").args(["-c", &line]));
    assert_exit(&output, 0);
    assert_eq!(lossy_string(&output.stdout), "-v --for=1 in\n");
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.starts_with("aside\n"), "{stderr}");
    assert!(stderr.contains("during"), "the table: {stderr}");
    place.assert_only(&[]);
}
