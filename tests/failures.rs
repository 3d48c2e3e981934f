//! Copies that cannot succeed: limits, full devices, sick disks, and sources that change or vanish under the copy.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::seccomp_filter::{DeniedSyscall, run_with_denied};
use crate::support::*;

/// Long enough to be caught in the middle.
const SIZE: u64 = 160 * MIB;

/// A directory for the source which this row can copy from.
fn source_dir(engine: &str) -> TempDir {
    if engine == "copy-file-range" {
        disk_dir()
    } else {
        shm_dir()
    }
}

/// `--engine=NAME`, or nothing for `auto`.
fn option(engine: &str) -> Vec<String> {
    if engine == "auto" {
        vec![]
    } else {
        vec![format!("--engine={engine}")]
    }
}

/// Every row by name, and what a user gets who names none.
fn all_rows() -> impl Iterator<Item = &'static str> {
    ENGINES.into_iter().chain(["auto"])
}

// ---------------------------------------------------------------- no room

/// cp dies of SIGXFSZ here; a collector wants a sentence. The errno of an O_DIRECT write beyond the limit is EINVAL, which must
/// not be taken for an alignment problem.
#[test]
fn file_size_limit() {
    for engine in all_rows() {
        // A limit below the first chunk, one inside the file, and one that is no multiple of a block.
        for limit in [4096, 9 * MIB, 9 * MIB + 100] {
            let (from, to) = (source_dir(engine), disk_dir());
            let (source, destination) = (from.path().join("dump"), to.path().join("copy"));
            make_dense_dump(&source, 20 * MIB);
            let mut command = Command::new("prlimit");
            command
                .arg(format!("--fsize={limit}"))
                .arg(&*MMAPCP)
                .args(option(engine))
                .env("LC_ALL", "C");
            let output = run(command.arg(&source).arg(&destination));
            assert_eq!(
                output.status.code(),
                Some(1),
                "{engine}, {limit}: {}",
                describe_output(&output)
            );
            let words = format!(
                "mmapcp: error writing '{}': File too large\n",
                destination.display()
            );
            assert_eq!(lossy_string(&output.stderr), words, "{engine}, {limit}");
            assert!(!destination.exists(), "{engine}, {limit}: a part was left");
        }
    }
}

#[test]
fn a_file_within_the_size_limit() {
    for engine in all_rows() {
        // The padded tail goes beyond the true size, and so beyond the limit.
        for size in [20 * MIB, 20 * MIB + 1, 100] {
            let (from, to) = (source_dir(engine), disk_dir());
            let (source, destination) = (from.path().join("dump"), to.path().join("copy"));
            make_dense_dump(&source, size);
            let mut command = Command::new("prlimit");
            command
                .arg(format!("--fsize={size}"))
                .arg(&*MMAPCP)
                .args(option(engine))
                .env("LC_ALL", "C");
            let output = run(command.arg(&source).arg(&destination));
            assert!(
                output.status.success(),
                "{engine}, {size}: {}",
                describe_output(&output)
            );
            assert_same_content(&source, &destination, engine);
        }
    }
}

#[test]
fn a_full_device() {
    let shm = shm_dir();
    let source = shm.path().join("dump");
    make_dense_dump(&source, 3 * MIB + 5);
    for engine in ["auto", "buffered"] {
        let output = run(mmapcp().args(option(engine)).arg(&source).arg("/dev/full"));
        assert_exit_in(&output, 1, engine);
        assert_eq!(
            lossy_string(&output.stderr),
            "mmapcp: error writing '/dev/full': No space left on device\n",
            "{engine}"
        );
        assert!(
            fs::metadata("/dev/full").is_ok(),
            "{engine}: a device is never removed"
        );
    }
}

/// A small tmpfs in a namespace of its own, filled in the middle of the copy. As with cp, the part may stay.
#[test]
fn a_full_file_system() {
    if !run(Command::new("unshare").args(["-m", "true"]))
        .status
        .success()
    {
        return skip("a_full_file_system", "no mount namespaces here");
    }
    let (shm, disk) = (shm_dir(), disk_dir());
    let source = shm.path().join("dump");
    make_dense_dump(&source, 20 * MIB);
    let script = "mount -t tmpfs -o size=8M none \"$1\" && exec \"$2\" \"$3\" \"$1/copy\"";
    let output = run(Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .arg(&*MMAPCP)
        .arg(&source));
    assert_exit(&output, 1);
    assert!(
        lossy_string(&output.stderr)
            .ends_with("copy': No space left on device; 20.0 MiB needed, 8.00 MiB free\n"),
        "{}",
        describe_output(&output)
    );
}

// ---------------------------------------------------------------- a sick disk

/// Rows that keep a bounded dirty window wait for the device; what it answers then is the last word on the copy.
#[test]
fn an_error_from_the_disk_is_never_success() {
    let calls = [
        DeniedSyscall::Fsync,
        DeniedSyscall::Fdatasync,
        DeniedSyscall::SyncFileRange,
    ];
    for engine in ["dontcache", "copy-file-range", "sendfile", "buffered"] {
        for (errno, words) in [
            (Errno::EIO, "Input/output error"),
            (Errno::ENOSPC, "No space left on device"),
        ] {
            let (from, to) = (source_dir(engine), disk_dir());
            let (source, destination) = (from.path().join("dump"), to.path().join("copy"));
            make_dense_dump(&source, 40 * MIB + 5);
            let mut command = mmapcp();
            command.args(option(engine)).arg(&source).arg(&destination);
            let output = run_with_denied(&calls, errno as i32, command);
            assert_eq!(
                output.status.code(),
                Some(1),
                "{engine}, {errno}: {}",
                describe_output(&output)
            );
            assert!(
                lossy_string(&output.stderr).contains(words),
                "{engine}, {errno}: {}",
                describe_output(&output)
            );
            assert!(
                lossy_string(&output.stderr).contains(destination.to_str().unwrap()),
                "{engine}: {}",
                describe_output(&output)
            );
        }
    }
}

// ---------------------------------------------------------------- a source that changes

/// Runs a copy by `engine`, applies `change` to the source in the middle of it, and returns how the copy ended.
fn changed_midway(engine: &str, change: impl Fn(&Path)) -> (Output, PathBuf, [TempDir; 2]) {
    let (from, to) = (source_dir(engine), disk_dir());
    let (source, destination) = (from.path().join("dump"), to.path().join("copy"));
    let mut ended = None;
    retry_until_met("a source changed in the middle of its copy", || {
        let _ = fs::remove_file(&destination);
        make_dense_dump(&source, SIZE);
        let mut command = mmapcp();
        command.args(option(engine)).arg(&source).arg(&destination);
        let Some(running) = start_and_stop_midway(&mut command, &destination) else {
            return false;
        };
        change(&source);
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        // The copy may have been complete when it was stopped: only then is success the truth.
        if output.status.success() {
            let whole = fs::metadata(&destination).unwrap().len() == SIZE;
            assert!(
                whole,
                "{engine}: success with a short copy: {}",
                describe_output(&output)
            );
            return false;
        }
        ended = Some(output);
        true
    });
    (ended.unwrap(), destination, [from, to])
}

/// Exit 1 by itself, and one sentence that names the source and both sizes.
fn told_both_sizes(engine: &str, output: &Output, after: u64) {
    assert_eq!(
        output.status.signal(),
        None,
        "{engine}: {}",
        describe_output(output)
    );
    assert_exit_in(output, 1, engine);
    let stderr = lossy_string(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{engine}: {stderr}");
    assert!(
        stderr.starts_with("mmapcp: ") && stderr.contains("/dump'"),
        "{engine}: the source by name: {stderr}"
    );
    for size in [SIZE, after] {
        assert!(
            stderr.contains(&size.to_string()),
            "{engine}: {size} is not said: {stderr}"
        );
    }
}

#[test]
fn source_truncated() {
    for engine in all_rows() {
        let left = 3 * MIB + 1000;
        let (output, ..) = changed_midway(engine, |source| {
            open_to_write(source).set_len(left).unwrap()
        });
        told_both_sizes(engine, &output, left);
    }
}

#[test]
fn source_truncated_to_nothing() {
    for engine in all_rows() {
        let (output, ..) =
            changed_midway(engine, |source| open_to_write(source).set_len(0).unwrap());
        told_both_sizes(engine, &output, 0);
    }
}

#[test]
fn source_grown() {
    for engine in all_rows() {
        let (output, destination, _dirs) =
            changed_midway(engine, |source| append(source, &[7; 5000]));
        told_both_sizes(engine, &output, SIZE + 5000);
        assert_eq!(
            fs::metadata(destination).unwrap().len(),
            SIZE,
            "{engine}: the size that the source had"
        );
    }
}

#[test]
fn source_modified() {
    for engine in all_rows() {
        let (output, ..) = changed_midway(engine, |source| {
            write_noise(&open_to_write(source), 0, 4096)
        });
        told_both_sizes(engine, &output, SIZE);
    }
}

fn open_to_write(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

// ---------------------------------------------------------------- a source that vanishes

#[test]
fn a_later_source_vanishes() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let sources = ["first", "second", "third"].map(|name| shm.path().join(name));
    let first_copy = disk.path().join("first");
    make_dense_dump(&sources[0], SIZE);
    retry_until_met("a source deleted before its turn", || {
        make_dense_dump(&sources[1], 5000);
        make_dense_dump(&sources[2], 6000);
        for name in ["first", "second", "third"] {
            let _ = fs::remove_file(disk.path().join(name));
        }
        let mut command = mmapcp();
        let Some(running) = start_and_stop_midway(
            command.arg("--jobs=1").args(&sources).arg(disk.path()),
            &first_copy,
        ) else {
            return false;
        };
        fs::remove_file(&sources[1]).unwrap();
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        if disk.path().join("second").exists() {
            return false;
        }
        assert_exit(&output, 1);
        let words = format!(
            "mmapcp: cannot stat '{}': No such file or directory\n",
            sources[1].display()
        );
        assert_eq!(lossy_string(&output.stderr), words);
        assert_same_content(&sources[0], &first_copy, "the file before");
        assert_same_content(&sources[2], &disk.path().join("third"), "the file behind");
        true
    });
}

/// Between reading the directory and opening its files, those that are not yet begun are deleted.
#[test]
fn files_of_a_tree_vanish() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (tree, copy) = (shm.path().join("tree"), disk.path().join("tree"));
    let names: Vec<String> = (0..4).map(|number| format!("core.{number}")).collect();
    retry_until_met("files deleted behind the walk", || {
        let _ = fs::remove_dir_all(&copy);
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir(&tree).unwrap();
        names
            .iter()
            .for_each(|name| make_dense_dump(&tree.join(name), 40 * MIB));
        let mut running = Running::start(mmapcp().arg("-r").arg(&tree).arg(&copy));
        while !names.iter().any(|name| copy.join(name).exists()) {
            assert!(!running.has_ended(), "it ended without a copy");
        }
        running.signal(Signal::SIGSTOP);
        let vanishing: Vec<&String> = names
            .iter()
            .filter(|name| !copy.join(name).exists())
            .collect();
        vanishing
            .iter()
            .for_each(|name| fs::remove_file(tree.join(name)).unwrap());
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        let lost = vanishing
            .iter()
            .filter(|name| !copy.join(name).exists())
            .count();
        if lost == 0 {
            return false;
        }
        assert_exit(&output, 1);
        let stderr = lossy_string(&output.stderr);
        assert_eq!(stderr.lines().count(), lost, "{stderr}");
        assert!(
            stderr
                .lines()
                .all(|line| line.ends_with(": No such file or directory")),
            "{stderr}"
        );
        names
            .iter()
            .filter(|name| tree.join(name).exists())
            .for_each(|name| {
                assert_same_content(&tree.join(name), &copy.join(name), "a file that stayed");
            });
        true
    });
}

/// What is known to be impossible before the first byte leaves an older file as it was.
#[test]
fn an_older_file_outlives_a_refusal() {
    let disk = disk_dir();
    let (source, older) = (disk.path().join("dump"), disk.path().join("older"));
    make_dense_dump(&source, 8 << 20);
    fs::write(&older, b"precious").unwrap();
    // The source is not in memory, so no row of these can serve.
    for engine in ["mmap", "splice"] {
        let word = format!("--engine={engine}");
        let output = run(mmapcp().args([&word]).arg(&source).arg(&older));
        assert_exit(&output, 1);
        assert!(
            describe_output(&output).contains(engine),
            "{}",
            describe_output(&output)
        );
        assert_eq!(fs::read(&older).unwrap(), b"precious", "{engine}");
    }
    let limited = Command::new("prlimit")
        .args(["--fsize=1048576", &*MMAPCP])
        .args([&source, &older])
        .output()
        .unwrap();
    assert_exit(&limited, 1);
    assert!(
        describe_output(&limited).contains("File too large"),
        "{}",
        describe_output(&limited)
    );
    assert_eq!(fs::read(&older).unwrap(), b"precious", "file size limit");
}
