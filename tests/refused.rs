//! System calls refused one by one: the copy takes another way, says so, and ends with the right bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::errno::Errno;
use serde_json::Value;
use tempfile::TempDir;

use crate::refusal::{Call, run_refused};
use crate::support::*;

/// The answers of old kernels, containers and odd file systems. All mean: fall back.
const REFUSALS: [Errno; 4] = [
    Errno::EPERM,
    Errno::ENOSYS,
    Errno::EOPNOTSUPP,
    Errno::EINVAL,
];

/// Several windows, a tail that is no whole block, and a hole that must survive every way.
const SIZE: u64 = 40 * MIB + 77;

/// Long enough that `auto` tries both of its favourites.
const LONG: u64 = 280 * MIB + 77;

const HOLE: (u64, u64) = (3 * MIB, MIB);

/// A dump in memory or on the disk, and where its copy goes on the disk.
struct Pair {
    source_dir: TempDir,
    disk: TempDir,
    size: u64,
}

impl Pair {
    fn from_memory() -> Pair {
        Pair::new(shm_dir(), SIZE)
    }

    fn long_from_memory() -> Pair {
        Pair::new(shm_dir(), LONG)
    }

    fn from_disk() -> Pair {
        Pair::new(disk_dir(), SIZE)
    }

    fn new(source_dir: TempDir, size: u64) -> Pair {
        let pair = Pair {
            source_dir,
            disk: disk_dir(),
            size,
        };
        let behind = HOLE.0 + HOLE.1;
        make_dump(
            &pair.source(),
            size,
            &[(0, HOLE.0), (behind, size - behind)],
        );
        pair
    }

    fn source(&self) -> PathBuf {
        self.source_dir.path().join("dump")
    }

    fn destination(&self) -> PathBuf {
        self.disk.path().join("copy")
    }
}

/// The rows of this file name what ext4 and xfs do on a kernel that knows RWF_DONTCACHE.
fn disk_is_plain(test: &str) -> bool {
    use nix::sys::statfs::{EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
    let kind = statfs(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .unwrap()
        .filesystem_type();
    let release = nix::sys::utsname::uname()
        .unwrap()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|number| number.parse::<u32>().ok());
    let kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let plain = (kind == EXT4_SUPER_MAGIC || kind == XFS_SUPER_MAGIC) && kernel >= (6, 14);
    if !plain {
        skip(
            test,
            "the build directory is on neither ext4 nor xfs, or the kernel is older than 6.14",
        );
    }
    plain
}

/// Copies with every refusal in turn. The bytes must be right, the row that finished one of `expected`, and each of `told` must
/// be named with a reason: as a fallback or among the plan's refusals.
fn ends_in(pair: &Pair, calls: &[Call], options: &[&str], expected: &[&str], told_rows: &[&str]) {
    for errno in REFUSALS {
        let context = format!("{calls:?} refused with {errno}");
        let before = allocated(&pair.source());
        let output = copy_refused(pair, calls, errno, options);
        assert!(output.status.success(), "{context}: {}", told(&output));
        assert_same(&pair.source(), &pair.destination(), &context);
        assert_eq!(
            allocated(&pair.source()),
            before,
            "{context}: the source grew"
        );
        assert!(
            allocated(&pair.destination()) < pair.size,
            "{context}: the hole was filled"
        );
        let events = events(&output);
        let engine = the(&events, "done")["engine"].as_str().unwrap();
        assert!(
            expected.contains(&engine),
            "{context}: ended in {engine}, not {expected:?}: {events:#?}"
        );
        for row in told_rows {
            assert!(
                has_reason(&events, row),
                "{context}: nothing says why not {row}: {events:#?}"
            );
        }
    }
}

fn copy_refused(pair: &Pair, calls: &[Call], errno: Errno, options: &[&str]) -> Output {
    let _ = fs::remove_file(pair.destination());
    let mut command = mmapcp();
    command
        .arg("--json")
        .args(options)
        .arg(pair.source())
        .arg(pair.destination());
    run_refused(calls, errno as i32, command)
}

/// A row was given up in the middle, or refused in the plan, and the reason is told.
fn has_reason(events: &[Value], row: &str) -> bool {
    let reason = |value: &Value| value["why"].as_str().is_some_and(|why| !why.is_empty());
    events.iter().any(|event| match event["event"].as_str() {
        Some("fallback") => event["from"] == row && reason(event),
        Some("plan") => event["refused"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["engine"] == row && reason(one)),
        _ => false,
    })
}

// ---------------------------------------------------------------- auto

#[test]
fn calls_that_auto_can_miss_change_nothing() {
    let pair = Pair::from_memory();
    for call in [
        Call::Statx,
        Call::Fallocate,
        Call::CopyFileRange,
        Call::Pwritev2,
        Call::Sendfile,
    ] {
        ends_in(&pair, &[call], &[], &["mmap", "splice"], &[]);
    }
}

#[test]
fn splice_refused() {
    for pair in [Pair::from_memory(), Pair::long_from_memory()] {
        ends_in(&pair, &[Call::Splice], &[], &["mmap"], &["splice"]);
    }
}

#[test]
fn mmap_refused() {
    // A short file on small pages begins with splice and never meets the refusal; a long one does, and tells.
    ends_in(&Pair::from_memory(), &[Call::Mmap], &[], &["splice"], &[]);
    ends_in(
        &Pair::long_from_memory(),
        &[Call::Mmap],
        &[],
        &["splice"],
        &["mmap"],
    );
}

#[test]
fn mmap_and_splice_refused() {
    ends_in(
        &Pair::from_memory(),
        &[Call::Mmap, Call::Splice],
        &[],
        &["direct"],
        &["mmap", "splice"],
    );
}

/// A file of an empty hugetlbfs pool cannot be mapped for want of memory, yet it can be read.
#[test]
fn mmap_without_memory() {
    let pair = Pair::long_from_memory();
    for errno in [Errno::ENOMEM, Errno::ENODEV] {
        let output = copy_refused(&pair, &[Call::Mmap], errno, &[]);
        assert!(output.status.success(), "{errno}: {}", told(&output));
        assert_same(&pair.source(), &pair.destination(), "mmap without memory");
    }
}

#[test]
fn o_direct_refused() {
    if disk_is_plain("o_direct_refused") {
        let rows = ["mmap", "splice", "direct"];
        ends_in(
            &Pair::from_memory(),
            &[Call::ODirect],
            &[],
            &["dontcache"],
            &rows,
        );
        ends_in(
            &Pair::from_disk(),
            &[Call::ODirect],
            &[],
            &["dontcache"],
            &rows,
        );
    }
}

#[test]
fn o_direct_and_pwritev2_refused() {
    if disk_is_plain("o_direct_and_pwritev2_refused") {
        let calls = [Call::ODirect, Call::Pwritev2];
        let rows = ["mmap", "splice", "direct", "dontcache"];
        // Between two file systems the kernel does not copy ranges, on one it does.
        let all_rows = [&rows[..], &["copy-file-range"]].concat();
        ends_in(&Pair::from_memory(), &calls, &[], &["sendfile"], &all_rows);
        ends_in(&Pair::from_disk(), &calls, &[], &["copy-file-range"], &rows);
    }
}

#[test]
fn one_row_after_the_other_refused() {
    if disk_is_plain("one_row_after_the_other_refused") {
        let calls = [
            Call::ODirect,
            Call::Pwritev2,
            Call::CopyFileRange,
            Call::Sendfile,
        ];
        let rows = ["mmap", "splice", "direct", "dontcache", "copy-file-range"];
        ends_in(&Pair::from_disk(), &calls[..3], &[], &["sendfile"], &rows);
        let rows = [&rows[..], &["sendfile"]].concat();
        ends_in(&Pair::from_disk(), &calls, &[], &["buffered"], &rows);
        ends_in(&Pair::from_memory(), &calls, &[], &["buffered"], &rows);
    }
}

/// Whatever a container forbids, reading and writing remain.
#[test]
fn everything_refused() {
    let calls = [
        Call::ODirect,
        Call::Statx,
        Call::Splice,
        Call::CopyFileRange,
        Call::Pwritev2,
        Call::Fallocate,
        Call::Mmap,
        Call::Sendfile,
    ];
    ends_in(
        &Pair::from_memory(),
        &calls,
        &[],
        &["buffered"],
        &["mmap", "splice", "direct"],
    );
    ends_in(&Pair::from_disk(), &calls, &[], &["buffered"], &["direct"]);
}

// ---------------------------------------------------------------- no falling back

/// Refused, with a sentence, and without leaving a destination that this run made.
fn fails(pair: &Pair, calls: &[Call], errno: Errno, options: &[&str]) {
    let context = format!("{options:?} with {calls:?} refused by {errno}");
    let output = copy_refused(pair, calls, errno, options);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{context}: {}",
        told(&output)
    );
    assert!(
        lossy(&output.stderr).starts_with("mmapcp: "),
        "{context}: {}",
        told(&output)
    );
    assert!(
        !pair.destination().exists(),
        "{context}: a destination was left"
    );
    the(&events(&output), "error");
}

#[test]
fn a_named_engine_never_falls_back() {
    let rows = [
        ("mmap", Call::Mmap),
        ("mmap", Call::ODirect),
        ("splice", Call::Splice),
        ("splice", Call::ODirect),
        ("direct", Call::ODirect),
        ("dontcache", Call::Pwritev2),
        ("sendfile", Call::Sendfile),
    ];
    let memory = Pair::from_memory();
    for (engine, call) in rows {
        for errno in REFUSALS {
            fails(&memory, &[call], errno, &[&format!("--engine={engine}")]);
        }
    }
    let disk = Pair::from_disk();
    for errno in REFUSALS {
        fails(
            &disk,
            &[Call::CopyFileRange],
            errno,
            &["--engine=copy-file-range"],
        );
    }
}

/// The call that is refused is one that nobody makes here: only the pair of files is at fault.
#[test]
fn a_named_engine_that_does_not_fit_the_files() {
    let unused = [Call::Fsync];
    for engine in ["mmap", "splice"] {
        fails(
            &Pair::from_disk(),
            &unused,
            Errno::ENOSYS,
            &[&format!("--engine={engine}")],
        );
    }
    fails(
        &Pair::from_memory(),
        &unused,
        Errno::ENOSYS,
        &["--engine=copy-file-range"],
    );
}

#[test]
fn direct_always_fails_instead_of_using_the_cache() {
    for errno in REFUSALS {
        fails(
            &Pair::from_memory(),
            &[Call::ODirect],
            errno,
            &["--direct=always"],
        );
    }
}

#[test]
fn direct_always_and_never_choose_among_the_rows() {
    if disk_is_plain("direct_always_and_never_choose_among_the_rows") {
        let pair = Pair::from_memory();
        ends_in(
            &pair,
            &[Call::Statx],
            &["--direct=never"],
            &["dontcache"],
            &["mmap", "splice", "direct"],
        );
        ends_in(
            &pair,
            &[Call::Fallocate],
            &["--direct=always"],
            &["mmap", "splice"],
            &[],
        );
        ends_in(
            &pair,
            &[Call::Mmap, Call::Splice],
            &["--direct=always"],
            &["direct"],
            &["mmap", "splice"],
        );
    }
}
