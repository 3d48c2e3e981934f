//! No system call of a copy holds a CPU for long, whatever the size, and their number grows with the data that is there.
//!
//! `MMAPCP_CALLS_MIB` is the size of the dense source in MiB, memory of this machine: 256 unless told. A release is tried with
//! 8192. Holes cost nothing, and are always 1 TiB.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::libc;

use super::test_filesystem::FsKind;
use super::{Lab, lab_temp_dir};
use crate::support::{self, MIB};
use crate::syscall_cpu_tracer::{self, CACHESTAT, CallCpuTime, CpuTrace, name};
use crate::tested_programs::MMAPCP;

/// The longest that a call may hold a CPU. The aim is 1 ms; what is above twice that is a fault, not noise.
const MAX_CALL_CPU_TIME: Duration = Duration::from_millis(2);

/// An interrupt that another process has asked for is charged to whoever runs: a call is too long when it is so each time.
const MAX_TRACE_RUNS: usize = 4;

/// Bytes asked about in one question.
const QUERY_WINDOW_BYTES: u64 = 8 * MIB;

const TIB: u64 = 1 << 40;

/// Bytes of dense data to copy.
fn dense_size() -> u64 {
    let knob = std::env::var("MMAPCP_CALLS_MIB").ok();
    knob.and_then(|mib| mib.parse().ok()).unwrap_or(256) * MIB
}

/// Copies `source` with these options as often as it takes to know, and returns the last trace.
fn copy(source: &Path, dest: &Path, options: &[&str], before: impl Fn()) -> CpuTrace {
    let mut command = Command::new(&*MMAPCP);
    command.args(options).arg(source).arg(dest);
    let mut suspects: Option<BTreeMap<i64, CallCpuTime>> = None;
    for _ in 0..MAX_TRACE_RUNS {
        before();
        let trace = syscall_cpu_tracer::trace(&command);
        assert_eq!(trace.code, Some(0), "{options:?}");
        let (number, spent) = trace.longest();
        eprintln!(
            "{options:?} {}: longest {:?} in {}: {}",
            source.display(),
            spent.longest,
            name(number),
            spent.arguments
        );
        let (number, spent) = trace.busiest();
        eprintln!(
            "  {} of {}, {:?} in all: p99.9 {:?}, longest {:?}",
            spent.calls,
            name(number),
            spent.total,
            spent.p999(),
            spent.longest
        );
        let mut long = trace.above(MAX_CALL_CPU_TIME);
        // Starting the program is the kernel's and the shell's.
        long.remove(&libc::SYS_execve);
        if let Some(suspects) = suspects {
            long.retain(|number, _| suspects.contains_key(number));
        }
        if long.is_empty() {
            return trace;
        }
        suspects = Some(long);
    }
    let long = suspects.unwrap_or_default();
    let told: Vec<_> = long
        .iter()
        .map(|(number, s)| format!("{} {:?}: {}", name(*number), s.longest, s.arguments))
        .collect();
    panic!("{options:?}: above {MAX_CALL_CPU_TIME:?} in each of {MAX_TRACE_RUNS} runs: {told:#?}");
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

#[test]
fn no_call_on_dense_memory_is_long() {
    let Some(lab) = Lab::acquire_or_skip(&["mkfs.xfs", "mkfs.ext4"]) else {
        return;
    };
    let (shm, size) = (support::shm_dir(), dense_size());
    let source = shm.path().join("dense");
    support::make_dense_dump(&source, size);
    for kind in [FsKind::Ext4, FsKind::Xfs] {
        let Some(mount) = lab.mount(kind, size / MIB + 400) else {
            return;
        };
        let dest = mount.path("copy");
        for engine in ["auto", "mmap", "splice", "direct", "buffered"] {
            let engine = format!("--engine={engine}");
            let options: &[&str] = match engine.as_str() {
                "--engine=auto" => &[],
                other => &[other],
            };
            let trace = copy(&source, &dest, options, || remove(&dest));
            let windows = size.div_ceil(QUERY_WINDOW_BYTES);
            assert!(trace.calls(libc::SYS_lseek) <= 4, "{trace:#?}");
            // Once before the copy, and once more where the file changed; a page beside where it must be known.
            assert!(trace.calls(CACHESTAT) <= 2 * windows + 8, "{trace:#?}");
            assert!(
                trace.calls(libc::SYS_mincore) <= 2 * windows + 80,
                "{trace:#?}"
            );
            support::assert_same_content(&source, &dest, &engine);
        }
    }
}

/// Memory of a drained source comes back in short calls, on small pages and on huge ones.
#[test]
fn no_call_of_a_drain_is_long() {
    let Some(lab) = Lab::acquire_or_skip(&["mkfs.ext4"]) else {
        return;
    };
    let size = dense_size();
    let Some(mount) = lab.mount(FsKind::Ext4, size / MIB + 400) else {
        return;
    };
    let (shm, dest) = (support::shm_dir(), mount.path("copy"));
    let reference = shm.path().join("reference");
    support::make_dense_dump(&reference, size);
    for kind in [FsKind::Tmpfs, FsKind::TmpfsHuge] {
        let Some(memory) = lab.mount(kind, size / MIB + 8) else {
            return;
        };
        let source = memory.path("dump");
        let trace = copy(&source, &dest, &["--drain"], || {
            remove(&dest);
            support::make_dense_dump(&source, size);
        });
        assert!(trace.calls(libc::SYS_fallocate) > 8, "{trace:#?}");
        assert!(!source.exists());
        support::assert_same_content(&reference, &dest, "drained");
    }
}

/// Pages of a pipe are moved in calls of 1 MiB or less.
#[test]
fn no_call_on_a_pipe_is_long() {
    let Some(lab) = Lab::acquire_or_skip(&["mkfs.ext4"]) else {
        return;
    };
    let (shm, size) = (support::shm_dir(), dense_size());
    let (source, fifo) = (shm.path().join("dense"), shm.path().join("fifo"));
    support::make_dense_dump(&source, size);
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let Some(mount) = lab.mount(FsKind::Ext4, size / MIB + 400) else {
        return;
    };
    let dest = mount.path("copy");
    let trace = copy(&fifo, &dest, &[], || {
        remove(&dest);
        let (source, fifo) = (File::open(&source).unwrap(), fifo.clone());
        std::thread::spawn(move || {
            let mut writer = File::options().write(true).open(fifo).unwrap();
            let mut source = source;
            std::io::copy(&mut source, &mut writer).unwrap();
        });
    });
    // Into the pipe of the copier, and from there: each at most 1 MiB, where nothing else keeps the writer from its CPU.
    assert!(
        trace.calls(libc::SYS_splice) >= 2 * size / MIB,
        "{trace:#?}"
    );
    assert!(trace.calls(libc::SYS_read) < size / MIB / 8, "{trace:#?}");
    support::assert_same_content(&source, &dest, "a pipe");
}

/// An old destination that is as large goes in steps as well: on disk, and in memory, where freeing costs most.
#[test]
fn no_call_on_an_old_destination_is_long() {
    let Some(lab) = Lab::acquire_or_skip(&["mkfs.ext4"]) else {
        return;
    };
    let (shm, size) = (support::shm_dir(), dense_size());
    let source = shm.path().join("source");
    support::make_dense_dump(&source, 9 * MIB);
    let Some(mount) = lab.mount(FsKind::Ext4, size / MIB + 400) else {
        return;
    };
    for dest in [shm.path().join("copy"), mount.path("copy")] {
        copy(&source, &dest, &[], || {
            support::make_dense_dump(&dest, size)
        });
        support::assert_same_content(&source, &dest, "over an old file");
        remove(&dest);
    }
}

/// What a tebibyte of holes costs is a handful of calls, on every file system.
#[test]
fn a_tebibyte_of_holes_costs_next_to_nothing() {
    let Some(lab) = Lab::acquire_or_skip(&["mkfs.xfs", "mkfs.ext4"]) else {
        return;
    };
    let memory = [FsKind::Tmpfs, FsKind::TmpfsHuge, FsKind::Ramfs];
    for kind in [FsKind::Ext4, FsKind::Xfs].into_iter().chain(memory) {
        let Some(mount) = lab.mount(kind, 400) else {
            return;
        };
        for (what, tail) in [("holes", 0), ("a page at the end", 4096)] {
            let source = mount.path("source");
            File::create(&source)
                .and_then(|file| {
                    // As a disk, ramfs makes pages of what is read and cannot give them back.
                    file.set_len(TIB)?;
                    support::write_noise(&file, TIB - tail, tail);
                    Ok(())
                })
                .expect("make a source of holes");
            let place = lab_temp_dir().expect("make a directory");
            let dest = place.path().join("copy");
            let trace = copy(&source, &dest, &[], || remove(&dest));
            let calls: u64 = trace.spent.values().map(|spent| spent.calls).sum();
            assert!(calls < 600, "{kind:?}, {what}: {calls} calls: {trace:#?}");
            let meta = fs::metadata(&dest).expect("the copy");
            assert_eq!(std::os::unix::fs::MetadataExt::size(&meta), TIB);
            let data = support::allocated_bytes(&source);
            assert!(
                data <= 64 << 10 || kind == FsKind::TmpfsHuge,
                "{kind:?} has {data} bytes now"
            );
            // One huge page is data as a whole.
            let most = if kind == FsKind::TmpfsHuge {
                2 * MIB
            } else {
                64 << 10
            };
            assert!(support::allocated_bytes(&dest) <= most, "{kind:?}, {what}");
            remove(&source);
        }
    }
}
