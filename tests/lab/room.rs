//! Free space that is kept on small file systems: sizes at the boundary, files at once, full disks, and others who fill
//! the disk at the same time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::Lab;
use super::disk_full::fill_up;
use super::program_run::{CopyOutcome, PORTABLE_ENGINES, copy_arguments, mmapcp};
use super::source_dump::write_dense;
use super::test_filesystem::{FsKind, Mount};
use crate::seeded_rng::SeededRng;
use crate::tested_programs::MMAPCP;

const TOOLS: [&str; 5] = ["losetup", "mkfs.ext4", "mkfs.xfs", "mount", "umount"];
const MIB: u64 = 1 << 20;
const DUMP: u64 = 32 * MIB;

/// The file systems here, and their sizes in MiB.
const KINDS: [(FsKind, u64); 3] = [
    (FsKind::Tmpfs, 128),
    (FsKind::Ext4, 128),
    (FsKind::Xfs, 320),
];

/// What an unprivileged user can still write, and the size of the file system.
fn space(disk: &Mount) -> (u64, u64) {
    let stat = statvfs(&disk.dir).expect("statvfs");
    let block = stat.fragment_size();
    (stat.blocks_available() * block, stat.blocks() * block)
}

/// Waits until the blocks of removed files are free again: xfs frees them in the background.
fn wait_until_free(disk: &Mount, wanted: u64) {
    for _ in 0..1000 {
        if space(disk).0 + MIB / 2 >= wanted {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let free = space(disk).0;
    panic!("{free} bytes are free where {wanted} were before");
}

/// The engines that can copy to a file system: a tmpfs has no O_DIRECT.
fn engines(kind: FsKind) -> impl Iterator<Item = &'static str> {
    let direct = ["--engine=mmap", "--engine=splice", "--engine=direct"];
    let is_possible = move |engine: &&str| kind != FsKind::Tmpfs || !direct.contains(engine);
    PORTABLE_ENGINES.into_iter().filter(is_possible)
}

fn dump(memory: &Mount, name: &str, size: u64) -> PathBuf {
    let path = memory.path(name);
    write_dense(&File::create(&path).expect("create a dump"), 0..size).expect("write a dump");
    path
}

fn copy(options: &[&str], source: &Path, dest: &Path) -> CopyOutcome {
    mmapcp(&copy_arguments(options, source, dest))
}

#[test]
fn a_file_fits_down_to_what_is_kept_free() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 64) else {
        return;
    };
    let source = dump(&memory, "dump", DUMP);
    for (kind, mib) in KINDS {
        let Some(disk) = lab.mount(kind, mib) else {
            continue;
        };
        let dest = disk.path("copy");
        let (free, _) = space(&disk);
        // What a file system needs beside the data (extents, allocation groups) is a few blocks.
        let fits = format!("--keep-free={}", free - DUMP - MIB);
        let short = format!("--keep-free={}", free - DUMP + 4096);
        for engine in engines(kind) {
            let outcome = copy(&[engine, &short], &source, &dest);
            assert_eq!(outcome.code, Some(1), "{kind:?} {engine}: {outcome:?}");
            assert!(outcome.stderr.contains("no room for "), "{outcome:?}");
            assert!(
                outcome.stderr.contains(": 32.0 MiB needed, "),
                "{outcome:?}"
            );
            assert!(!dest.exists(), "{kind:?} {engine}");
            wait_until_free(&disk, free);
            let outcome = copy(&[engine, &fits], &source, &dest);
            assert_eq!(outcome.code, Some(0), "{kind:?} {engine}: {outcome:?}");
            fs::remove_file(&dest).expect("remove the copy");
            wait_until_free(&disk, free);
        }
    }
}

#[test]
fn a_cut_file_fills_the_disk_down_to_what_is_kept_free() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 64) else {
        return;
    };
    let source = dump(&memory, "dump", DUMP);
    for (kind, mib) in KINDS {
        let Some(disk) = lab.mount(kind, mib) else {
            continue;
        };
        let dest = disk.path("copy");
        let (free, total) = space(&disk);
        let kept = free - 20 * MIB;
        let keep = format!("--keep-free={kept}");
        for engine in engines(kind) {
            let outcome = copy(&[engine, &keep, "--cut"], &source, &dest);
            assert_eq!(outcome.code, Some(3), "{kind:?} {engine}: {outcome:?}");
            let cut = outcome.event("cut").expect("a cut");
            assert_eq!(cut["why"], "keep-free");
            let left = space(&disk).0;
            assert!(
                left.abs_diff(kept) <= total / 100,
                "{kind:?} {engine}: {left} free, {kept} to be kept of {total}"
            );
            assert_part(&dest, &source, cut["at"].as_u64().expect("a size"));
            wait_until_free(&disk, free);
        }
    }
}

/// Compares the part with its source, and removes it.
fn assert_part(dest: &Path, source: &Path, at: u64) {
    assert!(!dest.exists(), "{}", dest.display());
    let part = dest.with_extension("part");
    let bytes = fs::read(&part).expect("read the part");
    assert_eq!(bytes.len() as u64, at);
    let whole = fs::read(source).expect("read the source");
    assert!(bytes == whole[..bytes.len()], "the part differs");
    fs::remove_file(&part).expect("remove the part");
    fs::remove_file(dest.with_extension("part.map")).expect("remove the map");
}

#[test]
fn a_full_disk_cuts_a_file_without_any_limit() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 64) else {
        return;
    };
    let source = dump(&memory, "dump", DUMP);
    for (kind, mib) in KINDS {
        let Some(disk) = lab.mount(kind, mib) else {
            continue;
        };
        let filler = fill_up(&disk, 12 * MIB);
        let dest = disk.path("copy");
        let free = space(&disk).0;
        for engine in ["--direct=auto", "--engine=buffered", "--engine=sendfile"] {
            let outcome = copy(&[engine, "--cut"], &source, &dest);
            assert_eq!(outcome.code, Some(3), "{kind:?} {engine}: {outcome:?}");
            let cut = outcome.event("cut").expect("a cut");
            assert_eq!(cut["why"], "no-space");
            let at = cut["at"].as_u64().expect("a size");
            assert!(
                at >= 8 * MIB,
                "{kind:?} {engine}: only {at} bytes of 12 MiB"
            );
            assert_part(&dest, &source, at);
            wait_until_free(&disk, free);
        }
        fs::remove_file(filler).expect("remove the filler");
    }
}

#[test]
fn files_at_once_are_counted_together() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 64) else {
        return;
    };
    let sources: Vec<_> = (0..4)
        .map(|n| dump(&memory, &format!("dump{n}"), 10 * MIB))
        .collect();
    for (kind, mib) in KINDS {
        let Some(disk) = lab.mount(kind, mib) else {
            continue;
        };
        let (free, total) = space(&disk);
        let kept = free - 25 * MIB;
        for jobs in ["--jobs=1", "--jobs=4"] {
            let mut words = vec![format!("--keep-free={kept}").into(), jobs.into()];
            words.extend(sources.iter().map(|source| source.clone().into_os_string()));
            words.push(disk.dir.clone().into_os_string());
            let outcome = mmapcp(&words);
            assert_eq!(outcome.code, Some(1), "{kind:?} {jobs}: {outcome:?}");
            let done = outcome
                .events
                .iter()
                .filter(|event| event["event"] == "done");
            assert_eq!(done.count(), 2, "{kind:?} {jobs}: {outcome:?}");
            assert!(space(&disk).0 + total / 100 >= kept, "{kind:?} {jobs}");
            for entry in fs::read_dir(&disk.dir).expect("list").flatten() {
                let _ = fs::remove_file(entry.path());
            }
            wait_until_free(&disk, free);
        }
    }
}

#[test]
fn what_is_kept_free_stays_free_while_another_writer_fills_the_disk() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 128) else {
        return;
    };
    let rounds = std::env::var("MMAPCP_ROOM_ROUNDS").map_or(4, |n| n.parse().expect("a number"));
    let one = vec![dump(&memory, "one", 56 * MIB)];
    let four: Vec<_> = (0..4)
        .map(|n| dump(&memory, &format!("four{n}"), 14 * MIB))
        .collect();
    let (mut ended, mut worst) = (0, 0.0_f64);
    for round in 0..rounds {
        let (kind, mib) = KINDS[round % KINDS.len()];
        let Some(disk) = lab.mount(kind, mib) else {
            return;
        };
        let sources = if round.is_multiple_of(2) { &four } else { &one };
        let outcome = FilledRound::run(&disk, sources, round as u64);
        eprintln!(
            "round {round}: {kind:?}, {} files, status {:?}, {:.3} % taken of what is kept",
            sources.len(),
            outcome.status,
            outcome.taken_percent
        );
        assert!(
            outcome.taken_percent <= 1.0,
            "round {round}: {}",
            outcome.taken_percent
        );
        worst = worst.max(outcome.taken_percent);
        ended += usize::from(outcome.status != Some(0));
    }
    eprintln!("{ended} of {rounds} copies ended early, at most {worst:.3} % taken of what is kept");
    assert!(
        ended * 2 >= rounds,
        "only {ended} of {rounds} copies met the other writer"
    );
}

/// What a copy did beside a writer that fills the disk.
struct FilledRound {
    status: Option<i32>,
    /// What the copy took of the space that is to stay free, in percent of the size of the file system.
    taken_percent: f64,
}

impl FilledRound {
    fn run(disk: &Mount, sources: &[PathBuf], seed: u64) -> Self {
        let (free, total) = space(disk);
        let kept = free - 60 * MIB - WRITTEN_BEFORE;
        let mut command = Command::new(&*MMAPCP);
        command
            .args([format!("--keep-free={kept}"), "--jobs=4".into()])
            .args((seed % 4 >= 2).then_some("--cut"))
            .args(seed.is_multiple_of(5).then_some("--sparse=always"))
            .args(seed.is_multiple_of(3).then_some("--limit-rate=200M"))
            .args(sources)
            .arg(&disk.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let over = AtomicBool::new(false);
        let (writes, written) = mpsc::channel();
        let (taken, status) = thread::scope(|scope| {
            scope.spawn(|| fill_slowly(disk, seed, &over, writes));
            written.recv().expect("the other writer writes");
            let mut copy = command.spawn().expect("run mmapcp");
            let taken = watch_growth(&mut copy, disk, kept);
            let status = copy.wait().expect("wait for the copy");
            over.store(true, Ordering::Relaxed);
            (taken, status)
        });
        Self {
            status: status.code(),
            taken_percent: taken as f64 * 100.0 / total as f64,
        }
    }
}

/// Bytes that the other writer has written before the copy begins.
const WRITTEN_BEFORE: u64 = 4 * MIB;

/// Fills the disk in small pieces, until the copy is over. Says when it has written the first bytes.
fn fill_slowly(disk: &Mount, seed: u64, over: &AtomicBool, writes: mpsc::Sender<()>) {
    let mut written = 0;
    let mut random = SeededRng(seed);
    let mut file = File::create(disk.path("other")).expect("create a file of another writer");
    let piece = vec![1; 128 << 10];
    while !over.load(Ordering::Relaxed) {
        match file.write_all(&piece) {
            Ok(()) => written += piece.len() as u64,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
        if written == WRITTEN_BEFORE {
            let _ = writes.send(());
        }
        thread::sleep(Duration::from_micros(random.below(2000)));
    }
}

/// Returns by how many bytes the files of a running copy grew while less than `kept` was free: a piece that was on its way
/// when others took the rest. What is read is not of one moment, so the free space that counts is the largest between two
/// looks at the files.
fn watch_growth(copy: &mut Child, disk: &Mount, kept: u64) -> u64 {
    let device = fs::metadata(&disk.dir).expect("stat the disk").dev();
    let look = |pid| {
        let before = space(disk).0;
        let allocated = allocated_by(pid, device);
        (allocated, before, space(disk).0)
    };
    let (mut taken, mut last) = (0, look(copy.id()));
    while copy.try_wait().expect("look at the copy").is_none() {
        let now = look(copy.id());
        if now.0 > last.0 {
            let free = last.1.max(last.2).max(now.1);
            taken += if free < kept { now.0 - last.0 } else { 0 };
        }
        last = now;
        thread::sleep(Duration::from_micros(500));
    }
    taken
}

/// Bytes that are allocated for the files of a disk that a process has open.
fn allocated_by(pid: u32, device: u64) -> u64 {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let files: BTreeMap<u64, u64> = files
        .flatten()
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .filter(|meta| meta.dev() == device && meta.is_file())
        .map(|meta| (meta.ino(), meta.blocks() * 512))
        .collect();
    files.values().sum()
}
