//! Signals in the middle of a copy, and standard output that nobody reads.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::compare_fixtures::FORKLAT;
use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};
use crate::support::*;

/// Long enough to be caught in the middle, short enough for two at a time.
const SIZE: u64 = 200 * MIB;

#[test]
fn interrupted_dies_by_the_same_signal() {
    dies_by(Signal::SIGINT);
}

#[test]
fn terminated_dies_by_the_same_signal() {
    dies_by(Signal::SIGTERM);
}

/// A shell that waits for the copier must see a death by the signal, and the operator what was left behind.
fn dies_by(signal: Signal) {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (source, destination) = (shm.path().join("dump"), disk.path().join("copy"));
    make_dense_dump(&source, SIZE);
    retry_until_met("a copy interrupted in the middle", || {
        let _ = fs::remove_file(&destination);
        let mut command = mmapcp();
        let Some(running) =
            start_and_stop_midway(command.arg(&source).arg(&destination), &destination)
        else {
            return false;
        };
        running.signal(signal);
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        // The last chunk may have been on its way already.
        if output.status.success() {
            return false;
        }
        assert_signal(&output, signal as i32);
        says_what_was_left(&lossy_string(&output.stderr), &source, &destination);
        true
    });
}

/// The destination by name, how many of its bytes are good, and that they are.
fn says_what_was_left(stderr: &str, source: &Path, destination: &Path) {
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("mmapcp: "), "{stderr}");
    let (_, rest) = stderr
        .split_once(&format!("'{}'", destination.display()))
        .expect(stderr);
    let (_, behind) = rest.split_once(" first ").expect(stderr);
    let good: u64 = behind.split(' ').next().unwrap().parse().expect(stderr);
    assert!(good < SIZE, "{stderr}");
    assert!(rest.contains("/200 MiB) of '"), "for people, too: {stderr}");
    File::options()
        .write(true)
        .open(destination)
        .unwrap()
        .set_len(good)
        .unwrap();
    File::options()
        .write(true)
        .open(source)
        .unwrap()
        .set_len(good)
        .unwrap();
    assert_same_content(source, destination, stderr);
}

#[test]
fn interrupted_does_not_begin_the_next_file() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (first, second) = (shm.path().join("first"), shm.path().join("second"));
    make_dense_dump(&first, SIZE);
    make_dense_dump(&second, MIB);
    retry_until_met("several copies interrupted in the first", || {
        let copy = disk.path().join("first");
        let _ = fs::remove_file(&copy);
        let _ = fs::remove_file(disk.path().join("second"));
        let mut command = mmapcp();
        let Some(running) = start_and_stop_midway(
            command
                .arg("--jobs=1")
                .args([&first, &second])
                .arg(disk.path()),
            &copy,
        ) else {
            return false;
        };
        running.signal(Signal::SIGINT);
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        // The first may have been complete by then.
        if disk.path().join("second").exists() {
            return false;
        }
        assert_signal(&output, Signal::SIGINT as i32);
        true
    });
}

/// A shell starts its background jobs with SIGINT ignored, and nohup with SIGHUP: cp lives on through those, and so do we.
#[test]
fn a_signal_ignored_from_the_start_stays_ignored() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (shm, disk) = (shm_dir(), disk_dir());
        let (source, destination) = (shm.path().join("dump"), disk.path().join("copy"));
        make_dense_dump(&source, SIZE);
        retry_until_met("a copy that ignores its signal", || {
            let _ = fs::remove_file(&destination);
            let mut command = Command::new("sh");
            let ignoring = format!("trap '' {}; exec \"$@\"", signal as i32);
            command
                .args(["-c", &ignoring, "sh", &*MMAPCP])
                .arg(&source)
                .arg(&destination);
            let Some(running) = start_and_stop_midway(&mut command, &destination) else {
                return false;
            };
            running.signal(signal);
            running.signal(Signal::SIGCONT);
            let output = running.finish();
            assert_exit_in(&output, 0, signal);
            assert_same_content(&source, &destination, "after an ignored signal");
            true
        });
    }
}

#[test]
fn usr1_prints_one_line_and_the_copy_goes_on() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (source, destination) = (shm.path().join("dump"), disk.path().join("copy"));
    make_dense_dump(&source, SIZE);
    retry_until_met("a status line from the middle of a copy", || {
        let _ = fs::remove_file(&destination);
        let mut command = mmapcp();
        let Some(running) =
            start_and_stop_midway(command.arg(&source).arg(&destination), &destination)
        else {
            return false;
        };
        running.signal(Signal::SIGUSR1);
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        assert_exit(&output, 0);
        assert_same_content(&source, &destination, "after SIGUSR1");
        let stderr = lossy_string(&output.stderr);
        if stderr.is_empty() {
            return false;
        }
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.ends_with('\n') && stderr.contains("/s"),
            "a whole line with a rate: {stderr:?}"
        );
        true
    });
}

/// Bytes that cannot be said are a failure, as for cp; with nothing to say there is none.
#[test]
fn output_that_cannot_be_written() {
    let cases = r#"
        verbose to a full device :: $CP -v a new >/dev/full
        verbose, several, to a full device :: $CP -v a b other >/dev/full
        silent to a full device :: $CP a new >/dev/full
        help to a full device :: $CP --help >/dev/full
        version to a full device :: $CP --version >/dev/full
        silent to a closed descriptor :: $CP a new >&-
        an error to a closed descriptor :: $CP nofile new 2>&-
        an error to a full device :: $CP nofile new 2>/dev/full
        all closed :: $CP a b other <&- >&- 2>&-
        verbose to a closed descriptor :: $CP -v a new >&-
        verbose, several, to a closed descriptor :: $CP -v a b other >&-
        verbose, all closed :: $CP -v a b other <&- >&- 2>&-
        help to a closed descriptor :: $CP --help >&-
        version to a closed descriptor :: $CP --version >&-
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

/// The Rust runtime opens /dev/null where a standard stream is closed: nothing may be lost there.
#[test]
fn nothing_vanishes_in_a_closed_stream() {
    let dir = shm_dir();
    fs::write(dir.path().join("a"), "bytes").unwrap();
    let cannot = "write error: Bad file descriptor";
    for (program, words, code, message) in [
        (&*MMAPCP, "--json a b >&-", 1, cannot),
        (
            &*MMAPCP,
            "a /dev/stdout >&-",
            1,
            "cannot create regular file '/dev/stdout': ",
        ),
        (
            &*MMAPCP,
            "a /dev/fd/1 >&-",
            1,
            "cannot create regular file '/dev/fd/1': ",
        ),
        (
            &*MMAPCP,
            "/dev/stdin new <&-",
            1,
            "cannot open '/dev/stdin' for reading: ",
        ),
        (&*FORKLAT, "--help >&-", 125, cannot),
        (&*FORKLAT, "--version >&-", 125, cannot),
        (
            &*FORKLAT,
            "--version >/dev/full",
            125,
            "write error: No space left",
        ),
        (
            &*FORKLAT,
            "run --probe fork --for 0.1 --settle 0 >&-",
            125,
            cannot,
        ),
    ] {
        let script = format!("exec \"$0\" {words}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program]).env("LC_ALL", "C");
        command.env("FORKLAT_STATE_DIR", dir.path().join("state"));
        let output = run(command.current_dir(dir.path()));
        assert_exit_in(&output, code, words);
        let said = lossy_string(&output.stderr);
        assert!(said.contains(message), "{words}: {said}");
        assert!(!dir.path().join("new").exists(), "{words}");
    }
    assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"bytes");
}

/// In a container the program is the first process, for which the kernel ignores what a signal does by default: a shell's status
/// for a death by that signal tells the same.
#[test]
fn the_first_process_of_a_namespace_exits_by_its_signal() {
    let test = "the_first_process_of_a_namespace_exits_by_its_signal";
    if !is_root_or_skip(test) {
        return;
    }
    if !has_tools_or_skip(test, &["unshare"]) {
        return;
    }
    let dir = shm_dir();
    let path = |name: &str| dir.path().join(name).display().to_string();
    nix::unistd::mkfifo(Path::new(&path("fifo")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (fifo, new) = (path("fifo"), path("new"));
    let copy = [&*MMAPCP, &fifo, &new];
    let probe = [&*FORKLAT, "run", "--probe=fork", "--for=60"];
    for words in [&copy[..], &probe] {
        for (signal, code) in [
            (Signal::SIGTERM, 143),
            (Signal::SIGINT, 130),
            (Signal::SIGHUP, 129),
        ] {
            for twice in [false, true] {
                let mut command = Command::new("unshare");
                command.args(["--pid", "--fork", "--kill-child"]);
                command.env("FORKLAT_STATE_DIR", path("state"));
                let running = Running::start(command.args(words));
                let mut first = None;
                wait_until("the first process handles signals", || {
                    first = child_of(running.pid());
                    first.is_some_and(|first| handles(first, signal))
                });
                kill(first.unwrap(), signal).unwrap();
                if twice {
                    // It may be gone by then; unshare has not reaped it without ending itself.
                    let _ = kill(first.unwrap(), signal);
                }
                let output = running.finish();
                let context = format!(
                    "{words:?}, {signal}, twice: {twice}: {}",
                    describe_output(&output)
                );
                assert_eq!(output.status.code(), Some(code), "{context}");
            }
        }
    }
}

/// The only child of a process, once it has one.
fn child_of(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let first = children.ok()?.split_whitespace().next()?.parse().ok()?;
    Some(Pid::from_raw(first))
}

/// Whether a process has a handler for a signal.
fn handles(process: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|m| u64::from_str_radix(m.trim(), 16).ok());
    mask.is_some_and(|m| m & (1 << (signal as i32 - 1)) != 0)
}

/// cp dies of SIGPIPE or, where that is ignored, says so: both tell a script, and neither harms the copy.
#[test]
fn a_reader_that_went_away() {
    for words in ["-v", "--json"] {
        let shm = shm_dir();
        let (source, destination) = (shm.path().join("dump"), shm.path().join("copy"));
        make_dense_dump(&source, 3 * MIB);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = mmapcp();
        let output =
            Running::start_to(command.arg(words).arg(&source).arg(&destination), writer).finish();
        let by_signal = output.status.signal() == Some(Signal::SIGPIPE as i32);
        let told_so = output.status.code() == Some(1)
            && output.stderr == b"mmapcp: write error: Broken pipe\n";
        assert!(
            by_signal || told_so,
            "{words}: {}",
            describe_output(&output)
        );
        if told_so {
            assert_same_content(&source, &destination, words);
        }
    }
}

/// A FIFO without a reader holds open(2) itself, which a handled signal does not end.
#[test]
fn waiting_for_a_reader_ends_by_a_signal() {
    let shm = shm_dir();
    let (source, fifo) = (shm.path().join("dump"), shm.path().join("fifo"));
    fs::write(&source, b"bytes").unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let running = Running::start(mmapcp().arg(&source).arg(&fifo));
    retry_until_met("the handler is in place", || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        handles(running.pid(), Signal::SIGTERM)
    });
    running.signal(Signal::SIGTERM);
    let output = running.finish();
    assert_signal(&output, Signal::SIGTERM as i32);
}

/// Directories of all modes, with small files and a large one in each.
fn plant(root: &Path) {
    for (d, mode) in [0o755, 0o700, 0o555, 0o750]
        .repeat(6)
        .into_iter()
        .enumerate()
    {
        let dir = root.join(format!("d{d}/sub"));
        fs::create_dir_all(&dir).unwrap();
        for f in 0..20 {
            fs::write(dir.join(format!("f{f}")), format!("{d} {f}").repeat(5000)).unwrap();
        }
        make_dense_dump(&dir.join("large"), 6 * MIB);
        for dir in [&*dir, dir.parent().unwrap()] {
            fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// A copied tree: directories have the modes that they are to have, and what is not a copy of its file is named.
fn is_sane(from: &Path, to: &Path, stderr: &str) {
    for entry in fs::read_dir(to).unwrap() {
        let to = entry.unwrap().path();
        let from = from.join(to.file_name().unwrap());
        if to.is_dir() {
            let mode = |path: &Path| fs::metadata(path).unwrap().mode();
            assert_eq!(mode(&to), mode(&from), "{}: {stderr}", to.display());
            is_sane(&from, &to, stderr);
        } else if let Some(difference) = first_difference(&from, &to) {
            let named = stderr.contains(&format!("'{}'", to.display()));
            assert!(named, "{}: {difference}: {stderr}", to.display());
        }
    }
}

#[test]
fn a_tree_that_was_interrupted_is_in_order() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (from, to) = (shm.path().join("from"), disk.path().join("to"));
    plant(&from);
    for (options, signal) in [
        (["-r", "--jobs=4"], Signal::SIGINT),
        (["-a", "--jobs=4"], Signal::SIGTERM),
        (["-r", "--jobs=1"], Signal::SIGTERM),
        (["-a", "--atomic"], Signal::SIGINT),
    ] {
        retry_until_met("a tree interrupted in the middle", || {
            let _ = fs::remove_dir_all(&to);
            let middle = to.join(if options[1] == "--atomic" {
                "d9/sub/f3"
            } else {
                "d9/sub/large"
            });
            let mut command = mmapcp();
            command.args(options).arg(&from).arg(&to);
            let Some(running) = start_and_stop_midway(&mut command, &middle) else {
                return false;
            };
            running.signal(signal);
            running.signal(Signal::SIGCONT);
            let output = running.finish();
            assert_signal(&output, signal as i32);
            is_sane(&from, &to, &lossy_string(&output.stderr));
            !to.join("d23/sub/large").exists()
        });
    }
}

/// Its names go to a pipe that nobody reads: it cannot come back for the first signal.
#[test]
fn a_second_signal_ends_a_tree_at_once() {
    let shm = shm_dir();
    let from = shm.path().join("from");
    fs::create_dir(&from).unwrap();
    for n in 0..3000 {
        fs::write(from.join(n.to_string()), b"small").unwrap();
    }
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut command = mmapcp();
    command
        .args(["-rv", "--jobs=4"])
        .arg(&from)
        .arg(shm.path().join("to"));
    let mut running = Running::start_to(&mut command, writer);
    drop(command);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!running.has_ended(), "nobody reads");
    running.signal(Signal::SIGINT);
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.signal(Signal::SIGINT);
    let output = running.finish();
    assert_signal(&output, Signal::SIGINT as i32);
}
