//! File systems whose SEEK_DATA lies, and calls that are interrupted for ever: strace puts the answers in the kernel's place.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Lab, lab_temp_dir};
use crate::support::{self, MIB};
use crate::tested_programs::MMAPCP;

/// A copy under strace, which changes the answers to the calls on the source that `inject` names.
fn strace_inject(inject: &str, option: &str, source: &Path, dest: &Path) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "-e", "trace=lseek,pread64"])
        .arg(format!("--inject={inject}"))
        .arg("-P")
        .arg(source)
        .arg(&*MMAPCP)
        .arg(option)
        .args([source, dest]);
    command
}

/// The program that strace has started.
fn wait_for_traced_child(strace: Pid) -> Pid {
    let path = format!("/proc/{strace}/task/{strace}/children");
    let mut found = None;
    support::wait_until("the program under strace", || {
        let children = fs::read_to_string(&path).unwrap_or_default();
        let child = children.split(' ').find_map(|word| word.parse().ok());
        let named = |pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim() == "mmapcp")
        };
        found = child.filter(named);
        found.is_some()
    });
    Pid::from_raw(found.expect("a child of strace"))
}

/// Data, a hole, and data, with a hole behind.
fn make_source(path: &Path, mib: u64) {
    let size = mib * MIB;
    support::make_dump(path, size, &[(0, size / 4), (size / 2, size / 4)]);
    File::open(path)
        .and_then(|file| file.sync_all())
        .expect("write the source out");
}

/// What SEEK_DATA and SEEK_HOLE can answer beside the truth: nothing behind, at once or later, or data too far on.
const FALSE_SEEK_ANSWERS: [&str; 7] = [
    "lseek:error=ENXIO",
    "lseek:error=ENXIO:when=1",
    "lseek:error=ENXIO:when=2",
    "lseek:error=ENXIO:when=3+",
    "lseek:error=EINVAL",
    "lseek:retval=6291456",
    "lseek:retval=6291456:when=1",
];

#[test]
fn no_false_seek_data_answer_loses_a_byte() {
    let Some(_lab) = Lab::acquire_or_skip(&["strace"]) else {
        return;
    };
    let (shm, disk) = (
        support::shm_dir(),
        lab_temp_dir().expect("make a directory"),
    );
    let dest = disk.path().join("copy");
    for (place, mib) in [
        (shm.path(), 8),
        (shm.path(), 48),
        (disk.path(), 8),
        (disk.path(), 48),
    ] {
        let source = place.join("source");
        make_source(&source, mib);
        let before = support::allocated_bytes(&source);
        for lie in FALSE_SEEK_ANSWERS {
            for option in ["--direct=auto", "--sparse=never", "--engine=direct"] {
                let _ = fs::remove_file(&dest);
                let output = support::run(&mut strace_inject(lie, option, &source, &dest));
                let context = format!("{lie} {option} {}", source.display());
                assert!(
                    output.status.success(),
                    "{context}: {}",
                    support::describe_output(&output)
                );
                support::assert_same_content(&source, &dest, &context);
                assert_eq!(support::allocated_bytes(&source), before, "{context}");
            }
        }
    }
}

/// Where two witnesses agree with SEEK_DATA a hole stays a hole: blocks alone, of a file that was only allocated, are no data.
#[test]
fn blocks_that_were_never_written_are_no_data() {
    let place = support::disk_dir();
    let (source, dest) = (place.path().join("source"), place.path().join("copy"));
    let file = File::create(&source).expect("create the source");
    nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, 64 << 20)
        .expect("allocate the source");
    let mut command = support::mmapcp();
    let output = support::run(command.arg("--reflink=never").arg(&source).arg(&dest));
    assert!(
        output.status.success(),
        "{}",
        support::describe_output(&output)
    );
    assert_eq!(support::allocated_bytes(&dest), 0);
    support::assert_same_content(&source, &dest, "allocated only");
}

/// Reads that end with EINTR each time, before the first byte and in the middle: the request to stop is heard all the same.
#[test]
fn a_source_that_is_always_interrupted_can_be_stopped() {
    let Some(_lab) = Lab::acquire_or_skip(&["strace"]) else {
        return;
    };
    let place = lab_temp_dir().expect("make a directory");
    let (source, dest) = (place.path().join("source"), place.path().join("copy"));
    support::make_dense_dump(&source, 8 * MIB);
    for inject in [
        "pread64:error=EINTR",
        "pread64:error=EINTR:when=3+",
        "lseek:error=EINTR",
    ] {
        let mut running = support::Running::start(&mut strace_inject(
            inject,
            "--engine=direct",
            &source,
            &dest,
        ));
        let traced = wait_for_traced_child(running.pid());
        // Long enough to be in the calls that never succeed; not that long is no failure.
        thread::sleep(Duration::from_millis(300));
        assert!(!running.has_ended(), "{inject}: ended by itself");
        nix::sys::signal::kill(traced, Signal::SIGINT).expect("interrupt the copy");
        // strace ends as the program that it ran.
        let output = running.finish();
        let signal = output.status.signal();
        assert_eq!(
            signal,
            Some(Signal::SIGINT as i32),
            "{inject}: {}",
            support::describe_output(&output)
        );
        assert!(
            support::lossy_string(&output.stderr).contains("interrupted"),
            "{inject}: {}",
            support::describe_output(&output)
        );
    }
}
