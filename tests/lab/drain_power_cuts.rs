//! Cuts of the power while a source is drained: what had come back of its memory is on the disk, whenever the power goes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use mmapcp::sys::process::die_with_thread;
use sha2::{Digest, Sha256};

use super::kernel::power_cut::{PowerCut, Replay};
use super::kernel::tool_command;
use super::kernel_versions::scratch;
use super::power_cut_replay::{DISK_EXPORT, DiskRecording, StopAt, cuts, kernel_lab_or_skip, seed};
use crate::seeded_rng::SeededRng;

/// Bytes of each source: some steps of the laboratory's build, and a part of one.
const SIZE: usize = (6 << 20) + 80_011;

/// How often a source is drained while the disk is recorded.
const ROUNDS: usize = 6;

/// Disks looked at: each is mounted and read, which takes seconds. Of a drain that frees too early more than a quarter show
/// it. `MMAPCP_CUTS=1667` asks for a thousand.
fn drain_cuts() -> usize {
    cuts() * 3 / 5
}

#[test]
fn ext4_has_what_was_freed() {
    check_freed("ext4", 160, "");
}

#[test]
fn xfs_has_what_was_freed() {
    check_freed("xfs", 320, "--verify");
}

/// The laboratory is sharp enough: a drain that frees before fdatasync is found.
#[test]
fn a_drain_that_frees_too_early_is_found_on_ext4() {
    check_broken("ext4", 160);
}

#[test]
fn a_drain_that_frees_too_early_is_found_on_xfs() {
    check_broken("xfs", 320);
}

fn job(fs: &str, broken: &str, options: &str) -> String {
    include_str!("kernel/drain_cuts.sh")
        .replace("@FS@", fs)
        .replace("@ROUNDS@", &ROUNDS.to_string())
        .replace("@SIZE@", &SIZE.to_string())
        .replace("@BREAK@", broken)
        .replace("@OPTIONS@", options)
}

fn check_freed(fs: &str, mib: u64, options: &str) {
    let Some(ready) = kernel_lab_or_skip() else {
        return;
    };
    // What a kernel keeps is asked of each of them in `power_cut_replay`; here it is the order of this program's calls.
    let kernel = ready.kernels.last().expect("a kernel");
    let job = job(fs, "", options);
    let record = DiskRecording::make(&ready, kernel, fs, mib, job).expect("record the disk");
    let (looked, lost) = replay(&record, drain_cuts(), StopAt::LastCut).expect("replay");
    eprintln!(
        "{}: {fs}: {} cuts, {looked} with freed bytes, {} lost some",
        kernel.package,
        drain_cuts(),
        lost.len()
    );
    assert!(
        looked > drain_cuts() / 4,
        "too few cuts came while it was drained"
    );
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

fn check_broken(fs: &str, mib: u64) {
    let Some(ready) = kernel_lab_or_skip() else {
        return;
    };
    let kernel = ready.kernels.last().expect("a kernel");
    let job = job(fs, "MMAPCP_LAB_BREAK=drain", "");
    let record = DiskRecording::make(&ready, kernel, fs, mib, job).expect("record the disk");
    let (looked, lost) = replay(&record, drain_cuts().min(200), StopAt::FirstLoss).expect("replay");
    eprintln!(
        "{}: {fs}, freed too early on purpose: {looked} cuts with freed bytes, {} lost some",
        kernel.package,
        lost.len()
    );
    assert!(!lost.is_empty(), "not found in {looked} cuts");
}

/// Cuts at so many moments, by two threads, each of which stops by itself. Returns how many came when something was freed,
/// and what was lost.
fn replay(record: &DiskRecording, n: usize, stop: StopAt) -> Result<(usize, Vec<String>)> {
    let mut all = moments(record, n)?;
    all.sort_by_key(|cut| cut.at);
    let (first, second) = all.split_at(all.len() / 2);
    thread::scope(|scope| {
        let other = scope.spawn(|| check(record, second, stop));
        let (looked, mut lost) = check(record, first, stop)?;
        let other = other
            .join()
            .map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        let (more, others) = other?;
        lost.extend(others);
        Ok((looked + more, lost))
    })
}

/// Half of the cuts anywhere, half within a few requests after something was freed.
fn moments(record: &DiskRecording, n: usize) -> Result<Vec<PowerCut>> {
    let start = record.marks.first().context("no marks")?.at;
    let freed: Vec<usize> = record
        .marks
        .iter()
        .filter(|mark| mark.what.starts_with("freed-"))
        .map(|mark| mark.at)
        .collect();
    ensure!(freed.len() > ROUNDS * 2, "little was freed: {freed:?}");
    let mut dice = SeededRng(seed());
    let cuts = (0..n).map(|n| {
        let at = match n % 2 {
            0 => start + 1 + dice.index(record.log.len() - start),
            _ => freed[dice.index(freed.len())] + 1 + dice.index(6),
        };
        PowerCut {
            at: at.min(record.log.len()),
            survive: [0, 2, 8, 14, 16][dice.index(5)],
            dice: SeededRng(dice.bits()),
        }
    });
    Ok(cuts.collect())
}

fn check(record: &DiskRecording, cuts: &[PowerCut], stop: StopAt) -> Result<(usize, Vec<String>)> {
    let dir = scratch()?;
    // In memory, and without a name: nobody has to remove it.
    let image = tempfile::tempfile_in("/dev/shm")?;
    let mut replay = Replay::new(&record.log, DISK_EXPORT, record.base.clone());
    let (mut looked, mut lost) = (0, Vec::new());
    for cut in cuts {
        let Some((round, freed)) = freed_at(record, cut.at) else {
            continue;
        };
        looked += 1;
        replay.write(cut, &image)?;
        let found = digest_on_disk(record, &image, dir.path(), round, freed)
            .with_context(|| format!("after a cut at {} of {}", cut.at, record.log.len()))?;
        if found != expected_digest(round, freed) {
            lost.push(format!(
                "the first {freed} bytes of copy {round}, cut at {} of {} ({} of 16 survive)",
                cut.at,
                record.log.len(),
                cut.survive
            ));
            if stop == StopAt::FirstLoss {
                break;
            }
        }
    }
    Ok((looked, lost))
}

/// The round whose source had come back last at a moment, and how much of it.
fn freed_at(record: &DiskRecording, at: usize) -> Option<(usize, usize)> {
    let before = record.marks.iter().filter(|mark| mark.at < at);
    let mut last = None;
    for mark in before {
        match mark.what.strip_prefix("freed-") {
            // Its last page is not all of it.
            Some(bytes) => last = Some((mark.round, bytes.parse::<usize>().ok()?.min(SIZE))),
            None if mark.what == "done" => last = Some((mark.round, SIZE)),
            None => {}
        }
    }
    last
}

fn expected_digest(round: usize, len: usize) -> String {
    let line = format!("copy {round}\n");
    let bytes: Vec<u8> = line.bytes().cycle().take(len).collect();
    let digest = Sha256::digest(&bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Mounts in a namespace of its own, so that nothing is left mounted whoever is killed.
const MOUNT_AND_HASH_SCRIPT: &str = "mount -o \"$4\" -t \"$1\" \"$2\" \"$3\" && head -c \"$6\" \"$3/drain/copy-$5\" | sha256sum; umount \"$3\"";

fn digest_on_disk(
    record: &DiskRecording,
    image: &File,
    dir: &Path,
    round: usize,
    len: usize,
) -> Result<String> {
    let image = format!("/proc/{}/fd/{}", std::process::id(), image.as_raw_fd());
    // Two threads look at one file system, as it was at two moments.
    let options = match record.fs.as_str() {
        "xfs" => "loop,nouuid",
        _ => "loop",
    };
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation=private", "sh", "-c"])
        .args([MOUNT_AND_HASH_SCRIPT, "look", &record.fs])
        .arg(image)
        .arg(dir)
        .args([options, &round.to_string(), &len.to_string()]);
    die_with_thread(&mut command);
    let told = tool_command::stdout_of(&mut command).context("the file system cannot be read")?;
    let digest = told.split_whitespace().next().unwrap_or_default();
    Ok(digest.to_owned())
}
