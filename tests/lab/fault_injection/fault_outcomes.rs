//! One kind of fault a test: what the copy must make of it, beyond not lying.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use super::fault_tracer::{self, FaultEffect, FaultTrace, FaultTrigger, Injection, TraceeEnd};
use crate::lab::Lab;
use crate::lab::test_filesystem::FsKind;
use crate::support::*;

/// The answers of file systems and filters that do not have a call.
const REFUSAL_ERRNOS: [Errno; 5] = [
    Errno::EINVAL,
    Errno::EOPNOTSUPP,
    Errno::ENOSYS,
    Errno::EPERM,
    Errno::EACCES,
];

/// A few pieces, and a tail that is no whole sector.
const SIZE: u64 = 1300 * KIB + 77;

const OLD_CONTENT: &str = "the old content";

/// Runs a copy in which every one of these calls fails, on a fresh destination that holds [`OLD`] if `is_over`.
fn copy_with_faults(
    pair: &CopyFixture,
    options: &[&str],
    calls: &[&'static str],
    errno: Errno,
    is_over: bool,
) -> FaultTrace {
    copy_with_faults_to(
        &pair.source(),
        &pair.destination(),
        options,
        calls,
        errno,
        is_over,
    )
}

fn copy_with_faults_to(
    source: &Path,
    dest: &Path,
    options: &[&str],
    calls: &[&'static str],
    errno: Errno,
    is_over: bool,
) -> FaultTrace {
    let _ = fs::remove_file(dest);
    if is_over {
        fs::write(dest, OLD_CONTENT).unwrap();
    }
    let files = [source.into(), dest.into()];
    let words: Vec<_> = options.iter().map(Into::into).chain(files).collect();
    let injection = Injection {
        calls: calls.to_vec(),
        trigger: FaultTrigger::From(1),
        effect: FaultEffect::Fail(errno),
    };
    fault_tracer::run_traced(&words, None, &[source, dest], Some(&injection))
}

/// Asserts that a call was refused and that the copy is whole all the same.
fn assert_whole(pair: &CopyFixture, trace: &FaultTrace, context: &str) {
    assert!(trace.hits > 0, "{context}: no such call was made");
    assert_eq!(
        trace.end,
        TraceeEnd::Exited(0),
        "{context}: {}",
        trace.stderr
    );
    assert_same_content(&pair.source(), &pair.destination(), context);
}

#[test]
fn a_file_that_cannot_be_cut_gets_its_tail_without_padding() {
    if !fault_tracer::may_trace_or_skip("a_file_that_cannot_be_cut_gets_its_tail_without_padding") {
        return;
    }
    let pair = CopyFixture::new(SIZE);
    for engine in [
        "--direct=auto",
        "--engine=mmap",
        "--engine=splice",
        "--engine=direct",
    ] {
        for errno in REFUSAL_ERRNOS.into_iter().chain([Errno::EIO, Errno::EROFS]) {
            let context = format!("{engine}, ftruncate {errno}");
            let options = ["--debug", engine];
            let trace = copy_with_faults(&pair, &options, &["ftruncate"], errno, false);
            assert_whole(&pair, &trace, &context);
        }
    }
}

/// The old file may stay or be overwritten, but what it has behind the end of its source is not left.
#[test]
fn an_old_file_that_cannot_be_cut_is_left_alone() {
    if !fault_tracer::may_trace_or_skip("an_old_file_that_cannot_be_cut_is_left_alone") {
        return;
    }
    let pair = CopyFixture::new(SIZE);
    for errno in REFUSAL_ERRNOS {
        let trace = copy_with_faults(&pair, &[], &["ftruncate"], errno, true);
        assert_eq!(trace.end, TraceeEnd::Exited(1), "{errno}");
        assert_eq!(
            fs::read(pair.destination()).unwrap(),
            OLD_CONTENT.as_bytes(),
            "{errno}"
        );
    }
}

#[test]
fn advice_that_fails_fails_no_copy() {
    if !fault_tracer::may_trace_or_skip("advice_that_fails_fails_no_copy") {
        return;
    }
    for size in [20 * KIB, SIZE] {
        let pair = CopyFixture::new(size);
        let engines = ENGINES.iter().filter(|name| **name != "copy-file-range");
        let options = engines
            .map(|name| format!("--engine={name}"))
            .chain(["--direct=auto".into()]);
        for option in options {
            for errno in REFUSAL_ERRNOS
                .into_iter()
                .chain([Errno::EIO, Errno::EBADF, Errno::ENOMEM])
            {
                let trace = copy_with_faults(&pair, &[&option], &["fadvise64"], errno, false);
                if trace.hits > 0 {
                    assert_whole(&pair, &trace, &format!("{option}, fadvise {errno}"));
                }
            }
        }
    }
}

#[test]
fn space_that_cannot_be_reserved_is_found_when_it_is_written() {
    if !fault_tracer::may_trace_or_skip("space_that_cannot_be_reserved_is_found_when_it_is_written")
    {
        return;
    }
    let pair = CopyFixture::new(5 * MIB + 77);
    for errno in REFUSAL_ERRNOS
        .into_iter()
        .chain([Errno::EIO, Errno::ENOMEM])
    {
        let trace = copy_with_faults(&pair, &[], &["fallocate"], errno, false);
        // Reserving is tried on ext4, xfs and f2fs alone.
        if trace.hits > 0 {
            assert_whole(&pair, &trace, &format!("fallocate {errno}"));
        }
    }
}

/// All calls by which pages are brought to the device.
const FLUSH_SYSCALLS: [&str; 4] = [
    "sync_file_range(start)",
    "sync_file_range(wait)",
    "fdatasync",
    "fsync",
];

#[test]
fn where_nothing_can_be_flushed_nothing_is() {
    if !fault_tracer::may_trace_or_skip("where_nothing_can_be_flushed_nothing_is") {
        return;
    }
    for size in [20 * KIB, SIZE, 18 * MIB + 5] {
        let pair = CopyFixture::new(size);
        for option in [
            "--direct=auto",
            "--engine=buffered",
            "--engine=sendfile",
            "--atomic",
        ] {
            for errno in REFUSAL_ERRNOS {
                let trace = copy_with_faults(&pair, &[option], &FLUSH_SYSCALLS, errno, true);
                assert_whole(&pair, &trace, &format!("{option}, {size} bytes, {errno}"));
            }
        }
    }
}

#[test]
fn what_the_device_lost_is_an_error() {
    if !fault_tracer::may_trace_or_skip("what_the_device_lost_is_an_error") {
        return;
    }
    for size in [20 * KIB, SIZE] {
        let pair = CopyFixture::new(size);
        for option in ["--direct=auto", "--engine=buffered", "--fsync", "--atomic"] {
            for errno in [Errno::EIO, Errno::ENOSPC] {
                let trace = copy_with_faults(&pair, &[option], &FLUSH_SYSCALLS[1..], errno, false);
                let context = format!("{option}, {size} bytes, {errno}: {}", trace.stderr);
                assert!(trace.hits > 0, "{context}");
                assert_eq!(trace.end, TraceeEnd::Exited(1), "{context}");
            }
        }
    }
}

#[test]
fn a_demanded_fsync_that_is_refused_is_an_error() {
    if !fault_tracer::may_trace_or_skip("a_demanded_fsync_that_is_refused_is_an_error") {
        return;
    }
    let pair = CopyFixture::new(SIZE);
    for errno in REFUSAL_ERRNOS {
        for options in [&["--fsync"][..], &["--fsync", "--atomic"]] {
            let trace = copy_with_faults(&pair, options, &["fsync"], errno, true);
            let context = format!("{options:?}, fsync {errno}");
            assert_eq!(trace.end, TraceeEnd::Exited(1), "{context}");
            let said = format!("failed to sync '{}'", pair.destination().display());
            assert!(trace.stderr.contains(&said), "{context}: {}", trace.stderr);
            // Where a filter refuses it on a file system that has it, it is not known before.
            if options.contains(&"--atomic") {
                let left = fs::read(pair.destination()).unwrap();
                assert_eq!(left, OLD_CONTENT.as_bytes(), "{context}");
            }
        }
    }
}

/// As on a FUSE daemon without fsync: there the kernel flushes by fdatasync alone.
#[test]
fn a_fuse_without_fsync_can_be_copied_to() {
    if !fault_tracer::may_trace_or_skip("a_fuse_without_fsync_can_be_copied_to") {
        return;
    }
    let Some(lab) = Lab::acquire_or_skip(&["bindfs", "mount", "umount"]) else {
        return;
    };
    let Some(fuse) = lab.mount(FsKind::Fuse, 64) else {
        return;
    };
    let memory = shm_dir();
    let source = memory.path().join("dump");
    for size in [20 * KIB, SIZE, 18 * MIB + 5] {
        make_dense_dump(&source, size);
        let dest = fuse.path("copy");
        for errno in [Errno::EINVAL, Errno::EOPNOTSUPP, Errno::ENOSYS] {
            let flushes = ["fdatasync", "fsync"];
            let trace = copy_with_faults_to(&source, &dest, &[], &flushes, errno, true);
            let context = format!("{size} bytes, {errno}: {}", trace.stderr);
            assert!(trace.hits > 0, "{context}: no such call was made");
            assert_eq!(trace.end, TraceeEnd::Exited(0), "{context}");
            assert_same_content(&source, &dest, &context);

            let trace = copy_with_faults_to(&source, &dest, &["--fsync"], &flushes, errno, true);
            assert_eq!(trace.end, TraceeEnd::Exited(1), "--fsync, {context}");
            let said = format!("failed to sync '{}'", dest.display());
            assert!(
                trace.stderr.contains(&said),
                "--fsync, {context}: {}",
                trace.stderr
            );
            let left = fs::read(&dest).unwrap();
            assert!(
                left == OLD_CONTENT.as_bytes(),
                "--fsync, {context}: the old file was touched"
            );
        }
    }
}

/// One call reads and writes: which of the two failed is found out by reading.
#[test]
fn an_error_of_the_source_is_told_of_the_source() {
    if !fault_tracer::may_trace_or_skip("an_error_of_the_source_is_told_of_the_source") {
        return;
    }
    let (memory, disk) = (CopyFixture::new(SIZE), disk_pair());
    let rows = [
        (&memory, "--engine=sendfile", "sendfile"),
        (&disk, "--engine=copy-file-range", "copy_file_range"),
    ];
    for (pair, engine, call) in rows {
        for (calls, what) in [
            (&[call, "pread64"][..], "error reading"),
            (&[call][..], "error writing"),
        ] {
            let trace = copy_with_faults(pair, &[engine], calls, Errno::EIO, false);
            let file = if what == "error reading" {
                pair.source()
            } else {
                pair.destination()
            };
            let said = format!("mmapcp: {what} '{}': Input/output error\n", file.display());
            assert_eq!(
                (trace.end, trace.stderr),
                (TraceeEnd::Exited(1), said),
                "{engine}"
            );
        }
    }
}

/// A dump that lies where its copy goes, for calls that need one file system.
fn disk_pair() -> CopyFixture {
    let pair = CopyFixture {
        shm: disk_dir(),
        disk: disk_dir(),
    };
    make_dense_dump(&pair.source(), SIZE);
    pair
}
