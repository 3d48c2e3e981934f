//! System calls refused one by one: the copy takes another way, says so, and ends with the right bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::errno::Errno;
use serde_json::Value;
use tempfile::TempDir;

use crate::seccomp_filter::{DeniedSyscall, run_with_denied};
use crate::support::*;

/// The answers of old kernels, containers and odd file systems. All mean: fall back.
const REFUSAL_ERRNOS: [Errno; 4] = [
    Errno::EPERM,
    Errno::ENOSYS,
    Errno::EOPNOTSUPP,
    Errno::EINVAL,
];

/// Several windows, a tail that is no whole block, and a hole that must survive every way.
const SIZE: u64 = 40 * MIB + 77;

/// Long enough that `auto` tries both of its favourites.
const TRIAL_SIZE: u64 = 280 * MIB + 77;

const HOLE_EXTENT: (u64, u64) = (3 * MIB, MIB);

/// A dump in memory or on the disk, and where its copy goes on the disk.
struct FallbackFixture {
    source_dir: TempDir,
    disk: TempDir,
    size: u64,
}

impl FallbackFixture {
    fn from_memory() -> FallbackFixture {
        FallbackFixture::new(shm_dir(), SIZE)
    }

    fn long_from_memory() -> FallbackFixture {
        FallbackFixture::new(shm_dir(), TRIAL_SIZE)
    }

    fn from_disk() -> FallbackFixture {
        FallbackFixture::new(disk_dir(), SIZE)
    }

    fn new(source_dir: TempDir, size: u64) -> FallbackFixture {
        let pair = FallbackFixture {
            source_dir,
            disk: disk_dir(),
            size,
        };
        let behind = HOLE_EXTENT.0 + HOLE_EXTENT.1;
        make_dump(
            &pair.source(),
            size,
            &[(0, HOLE_EXTENT.0), (behind, size - behind)],
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
fn is_plain_disk_or_skip(test: &str) -> bool {
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
fn assert_ends_in_engines(
    pair: &FallbackFixture,
    calls: &[DeniedSyscall],
    options: &[&str],
    expected: &[&str],
    told_rows: &[&str],
) {
    for errno in REFUSAL_ERRNOS {
        let context = format!("{calls:?} refused with {errno}");
        let before = allocated_bytes(&pair.source());
        let output = copy_with_denied(pair, calls, errno, options);
        assert_exit_in(&output, 0, &context);
        assert_same_content(&pair.source(), &pair.destination(), &context);
        assert_eq!(
            allocated_bytes(&pair.source()),
            before,
            "{context}: the source grew"
        );
        assert!(
            allocated_bytes(&pair.destination()) < pair.size,
            "{context}: the hole was filled"
        );
        let events = parse_events(&output);
        let engine = only_event(&events, "done")["engine"].as_str().unwrap();
        assert!(
            expected.contains(&engine),
            "{context}: ended in {engine}, not {expected:?}: {events:#?}"
        );
        for row in told_rows {
            assert!(
                tells_reason(&events, row),
                "{context}: nothing says why not {row}: {events:#?}"
            );
        }
    }
}

fn copy_with_denied(
    pair: &FallbackFixture,
    calls: &[DeniedSyscall],
    errno: Errno,
    options: &[&str],
) -> Output {
    let _ = fs::remove_file(pair.destination());
    let mut command = mmapcp();
    command
        .arg("--json")
        .args(options)
        .arg(pair.source())
        .arg(pair.destination());
    run_with_denied(calls, errno as i32, command)
}

/// A row was given up in the middle, or refused in the plan, and the reason is told.
fn tells_reason(events: &[Value], row: &str) -> bool {
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
    let pair = FallbackFixture::from_memory();
    for call in [
        DeniedSyscall::Statx,
        DeniedSyscall::Fallocate,
        DeniedSyscall::CopyFileRange,
        DeniedSyscall::Pwritev2,
        DeniedSyscall::Sendfile,
    ] {
        assert_ends_in_engines(&pair, &[call], &[], &["mmap", "splice"], &[]);
    }
}

#[test]
fn splice_refused() {
    for pair in [
        FallbackFixture::from_memory(),
        FallbackFixture::long_from_memory(),
    ] {
        assert_ends_in_engines(&pair, &[DeniedSyscall::Splice], &[], &["mmap"], &["splice"]);
    }
}

#[test]
fn mmap_refused() {
    // A short file on small pages begins with splice and never meets the refusal; a long one does, and tells.
    assert_ends_in_engines(
        &FallbackFixture::from_memory(),
        &[DeniedSyscall::Mmap],
        &[],
        &["splice"],
        &[],
    );
    assert_ends_in_engines(
        &FallbackFixture::long_from_memory(),
        &[DeniedSyscall::Mmap],
        &[],
        &["splice"],
        &["mmap"],
    );
}

#[test]
fn mmap_and_splice_refused() {
    assert_ends_in_engines(
        &FallbackFixture::from_memory(),
        &[DeniedSyscall::Mmap, DeniedSyscall::Splice],
        &[],
        &["direct"],
        &["mmap", "splice"],
    );
}

/// A file of an empty hugetlbfs pool cannot be mapped for want of memory, yet it can be read.
#[test]
fn mmap_without_memory() {
    let pair = FallbackFixture::long_from_memory();
    for errno in [Errno::ENOMEM, Errno::ENODEV] {
        let output = copy_with_denied(&pair, &[DeniedSyscall::Mmap], errno, &[]);
        assert_exit_in(&output, 0, errno);
        assert_same_content(&pair.source(), &pair.destination(), "mmap without memory");
    }
}

#[test]
fn o_direct_refused() {
    if is_plain_disk_or_skip("o_direct_refused") {
        let rows = ["mmap", "splice", "direct"];
        assert_ends_in_engines(
            &FallbackFixture::from_memory(),
            &[DeniedSyscall::ODirect],
            &[],
            &["dontcache"],
            &rows,
        );
        assert_ends_in_engines(
            &FallbackFixture::from_disk(),
            &[DeniedSyscall::ODirect],
            &[],
            &["dontcache"],
            &rows,
        );
    }
}

#[test]
fn o_direct_and_pwritev2_refused() {
    if is_plain_disk_or_skip("o_direct_and_pwritev2_refused") {
        let calls = [DeniedSyscall::ODirect, DeniedSyscall::Pwritev2];
        let rows = ["mmap", "splice", "direct", "dontcache"];
        // Between two file systems the kernel does not copy ranges, on one it does.
        let all_rows = [&rows[..], &["copy-file-range"]].concat();
        assert_ends_in_engines(
            &FallbackFixture::from_memory(),
            &calls,
            &[],
            &["sendfile"],
            &all_rows,
        );
        assert_ends_in_engines(
            &FallbackFixture::from_disk(),
            &calls,
            &[],
            &["copy-file-range"],
            &rows,
        );
    }
}

#[test]
fn each_engine_in_turn_refused() {
    if is_plain_disk_or_skip("each_engine_in_turn_refused") {
        let calls = [
            DeniedSyscall::ODirect,
            DeniedSyscall::Pwritev2,
            DeniedSyscall::CopyFileRange,
            DeniedSyscall::Sendfile,
        ];
        let rows = ["mmap", "splice", "direct", "dontcache", "copy-file-range"];
        assert_ends_in_engines(
            &FallbackFixture::from_disk(),
            &calls[..3],
            &[],
            &["sendfile"],
            &rows,
        );
        let rows = [&rows[..], &["sendfile"]].concat();
        assert_ends_in_engines(
            &FallbackFixture::from_disk(),
            &calls,
            &[],
            &["buffered"],
            &rows,
        );
        assert_ends_in_engines(
            &FallbackFixture::from_memory(),
            &calls,
            &[],
            &["buffered"],
            &rows,
        );
    }
}

/// Whatever a container forbids, reading and writing remain.
#[test]
fn everything_refused() {
    let calls = [
        DeniedSyscall::ODirect,
        DeniedSyscall::Statx,
        DeniedSyscall::Splice,
        DeniedSyscall::CopyFileRange,
        DeniedSyscall::Pwritev2,
        DeniedSyscall::Fallocate,
        DeniedSyscall::Mmap,
        DeniedSyscall::Sendfile,
    ];
    assert_ends_in_engines(
        &FallbackFixture::from_memory(),
        &calls,
        &[],
        &["buffered"],
        &["mmap", "splice", "direct"],
    );
    assert_ends_in_engines(
        &FallbackFixture::from_disk(),
        &calls,
        &[],
        &["buffered"],
        &["direct"],
    );
}

// ---------------------------------------------------------------- no falling back

/// Refused, with a sentence, and without leaving a destination that this run made.
fn assert_copy_fails(
    pair: &FallbackFixture,
    calls: &[DeniedSyscall],
    errno: Errno,
    options: &[&str],
) {
    let context = format!("{options:?} with {calls:?} refused by {errno}");
    let output = copy_with_denied(pair, calls, errno, options);
    assert_exit_in(&output, 1, &context);
    assert!(
        lossy_string(&output.stderr).starts_with("mmapcp: "),
        "{context}: {}",
        describe_output(&output)
    );
    assert!(
        !pair.destination().exists(),
        "{context}: a destination was left"
    );
    only_event(&parse_events(&output), "error");
}

#[test]
fn a_named_engine_never_falls_back() {
    let rows = [
        ("mmap", DeniedSyscall::Mmap),
        ("mmap", DeniedSyscall::ODirect),
        ("splice", DeniedSyscall::Splice),
        ("splice", DeniedSyscall::ODirect),
        ("direct", DeniedSyscall::ODirect),
        ("dontcache", DeniedSyscall::Pwritev2),
        ("sendfile", DeniedSyscall::Sendfile),
    ];
    let memory = FallbackFixture::from_memory();
    for (engine, call) in rows {
        for errno in REFUSAL_ERRNOS {
            assert_copy_fails(&memory, &[call], errno, &[&format!("--engine={engine}")]);
        }
    }
    let disk = FallbackFixture::from_disk();
    for errno in REFUSAL_ERRNOS {
        assert_copy_fails(
            &disk,
            &[DeniedSyscall::CopyFileRange],
            errno,
            &["--engine=copy-file-range"],
        );
    }
}

/// The call that is refused is one that nobody makes here: only the pair of files is at fault.
#[test]
fn a_named_engine_that_does_not_fit_the_files() {
    let unused = [DeniedSyscall::Fsync];
    for engine in ["mmap", "splice"] {
        assert_copy_fails(
            &FallbackFixture::from_disk(),
            &unused,
            Errno::ENOSYS,
            &[&format!("--engine={engine}")],
        );
    }
    assert_copy_fails(
        &FallbackFixture::from_memory(),
        &unused,
        Errno::ENOSYS,
        &["--engine=copy-file-range"],
    );
}

#[test]
fn direct_always_fails_instead_of_using_the_cache() {
    for errno in REFUSAL_ERRNOS {
        assert_copy_fails(
            &FallbackFixture::from_memory(),
            &[DeniedSyscall::ODirect],
            errno,
            &["--direct=always"],
        );
    }
}

#[test]
fn direct_always_and_never_choose_among_the_rows() {
    if is_plain_disk_or_skip("direct_always_and_never_choose_among_the_rows") {
        let pair = FallbackFixture::from_memory();
        assert_ends_in_engines(
            &pair,
            &[DeniedSyscall::Statx],
            &["--direct=never"],
            &["dontcache"],
            &["mmap", "splice", "direct"],
        );
        assert_ends_in_engines(
            &pair,
            &[DeniedSyscall::Fallocate],
            &["--direct=always"],
            &["mmap", "splice"],
            &[],
        );
        assert_ends_in_engines(
            &pair,
            &[DeniedSyscall::Mmap, DeniedSyscall::Splice],
            &["--direct=always"],
            &["direct"],
            &["mmap", "splice"],
        );
    }
}
