//! A machine without /proc: what does not need it works, and what fails for its lack says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Lab;
use crate::support::*;

/// Runs a program where an empty file system hides /proc.
fn run_without_proc(program: &str, words: &[&str], dir: &Path) -> Output {
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh", program]);
    command.args(words).env("LC_ALL", "C").current_dir(dir);
    run(command.env("FORKLAT_STATE_DIR", dir.join("state")))
}

/// Words of mmapcp, and what it says of them.
const COPIES_THAT_FAIL: &[(&[&str], &str)] = &[
    (
        &["--max-fork-latency=1h", "dump", "copy"],
        "mmapcp: --max-fork-latency: cannot start a prober: no /proc/self/task: is /proc mounted?\n",
    ),
    (
        &["--max-write-latency=1h", "dump", "copy"],
        "mmapcp: --max-write-latency: cannot start a prober: no /proc/self/task: is /proc mounted?\n",
    ),
    (
        &["--max-pressure=50", "dump", "copy"],
        "mmapcp: --max-pressure: no /proc/pressure: /proc is not mounted\n",
    ),
    (
        &["-a", "fifo", "copy"],
        "mmapcp: 'fifo': No such file or directory; /proc is not mounted\n",
    ),
];

#[test]
fn what_a_copy_lacks_without_proc_is_named() {
    let Some(_lab) = Lab::acquire_or_skip(&["unshare", "mount"]) else {
        return;
    };
    let place = disk_dir();
    make_dense_dump(&place.path().join("dump"), 3 * MIB);
    mkfifo(&place.path().join("fifo"), Mode::from_bits_retain(0o644)).expect("make a fifo");
    for (words, said) in COPIES_THAT_FAIL {
        let output = run_without_proc(&MMAPCP, words, place.path());
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert_eq!(lossy_string(&output.stderr), *said, "{words:?}");
    }
    // A missing file is no matter of /proc.
    let output = run_without_proc(&MMAPCP, &["missing", "copy"], place.path());
    let said = "mmapcp: cannot stat 'missing': No such file or directory\n";
    assert_eq!(lossy_string(&output.stderr), said);
}

#[test]
fn a_tree_is_copied_without_proc() {
    let Some(_lab) = Lab::acquire_or_skip(&["unshare", "mount"]) else {
        return;
    };
    let place = disk_dir();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("sub")).expect("make a directory");
    make_dense_dump(&tree.join("sub/dump"), 3 * MIB);
    let mode = fs::Permissions::from_mode(0o750);
    fs::set_permissions(tree.join("sub/dump"), mode).expect("set a mode");
    std::os::unix::fs::symlink("nowhere", tree.join("link")).expect("make a link");
    for option in ["--fsync", "--atomic", "--limit-rate=100M"] {
        let copy = place.path().join("copy");
        let output = run_without_proc(&MMAPCP, &["-aT", option, "tree", "copy"], place.path());
        assert!(output.status.success(), "{}", describe_output(&output));
        assert!(output.stderr.is_empty(), "{}", describe_output(&output));
        assert_same_content(&tree.join("sub/dump"), &copy.join("sub/dump"), option);
        let copied = fs::metadata(copy.join("sub/dump")).expect("stat the copy");
        assert_eq!(copied.permissions().mode() & 0o7777, 0o750);
        assert_eq!(
            fs::read_link(copy.join("link")).unwrap(),
            Path::new("nowhere")
        );
        fs::remove_dir_all(copy).expect("remove the copy");
    }
}

#[test]
fn what_forklat_lacks_without_proc_is_named() {
    let Some(_lab) = Lab::acquire_or_skip(&["unshare", "mount"]) else {
        return;
    };
    let place = disk_dir();
    let forklat = &*crate::compare_fixtures::FORKLAT;
    for words in [
        &["run", "--for=1"][..],
        &["run", "--", "true"],
        &["run", "--attach=1"],
        &["compare", "--size=1M", "--runs=1"],
        &["scale", "--max=10"],
    ] {
        let output = run_without_proc(forklat, words, place.path());
        assert_eq!(output.status.code(), Some(125), "{words:?}");
        let stderr = lossy_string(&output.stderr);
        assert!(stderr.starts_with("forklat: "), "{words:?}: {stderr}");
        assert!(stderr.contains("/proc"), "{words:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
    }
}
