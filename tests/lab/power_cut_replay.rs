//! Cuts of the power, recorded once and replayed at many moments: what each variant of a copy promises, the disk has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mmapcp::sys::process::die_with_thread;

use super::kernel::nbd_server::{DiskLogEntry, LoggedOperation, Server};
use super::kernel::power_cut::{PowerCut, Replay};
use super::kernel::tool_command;
use super::kernel::virtual_machine::{Disk, VirtualMachine};
use super::kernel_versions::{KernelLab, image, scratch, selected_series};
use crate::seeded_rng::SeededRng;

const TOOLS: [&str; 11] = [
    "apt-get",
    "busybox",
    "cpio",
    "dpkg",
    "losetup",
    "mkfs.ext4",
    "mkfs.xfs",
    "mount",
    "qemu-system-x86_64",
    "unshare",
    "xz",
];

/// Bytes of each copy: a few blocks and a part of one.
const SIZE: usize = 80_011;

/// How often each variant copies while the disk is recorded.
const ROUNDS_PER_VARIANT: usize = 12;

/// Emulated, 12 rounds take 10 s alone.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(400);

/// In the order in which they take turns.
const VARIANTS: [&str; 6] = [
    "plain",
    "fsync",
    "atomic",
    "both",
    "tree-fsync",
    "tree-both",
];

/// When a replay ends before its last cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopAt {
    /// Every cut is looked at.
    LastCut,
    /// A broken promise is enough: nothing more is asked of a variant that is broken on purpose.
    FirstLoss,
}

/// Where the marks are.
pub(super) const DISK_EXPORT: usize = 0;
const MARKS_EXPORT: usize = 1;

/// Disks looked at, of each file system, each for a second. Of a variant that is broken on purpose three of four show it; an
/// experiment asks for more.
pub(super) fn cuts() -> usize {
    let asked = std::env::var("MMAPCP_CUTS").ok();
    asked.map_or(40, |text| text.parse().expect("a number in MMAPCP_CUTS"))
}

pub(super) fn seed() -> u64 {
    let asked = std::env::var("MMAPCP_SEED").ok();
    asked.map_or(20_261_121, |text| {
        text.parse().expect("a number in MMAPCP_SEED")
    })
}

#[test]
fn ext4_keeps_what_was_promised() {
    promises_are_kept("ext4", 160);
}

#[test]
fn xfs_keeps_what_was_promised() {
    promises_are_kept("xfs", 320);
}

#[test]
fn a_directory_that_is_not_synced_is_found_on_ext4() {
    a_broken_promise_is_found("ext4", 160);
}

#[test]
fn a_directory_that_is_not_synced_is_found_on_xfs() {
    a_broken_promise_is_found("xfs", 320);
}

pub(super) fn kernel_lab_or_skip() -> Option<KernelLab> {
    if !nix::unistd::geteuid().is_root() {
        return super::skip("cuts of the power need root, for mounts");
    }
    KernelLab::prepare_or_skip(&TOOLS, &selected_series("6.18"))
}

fn promises_are_kept(fs: &str, mib: u64) {
    let Some(ready) = kernel_lab_or_skip() else {
        return;
    };
    for kernel in &ready.kernels {
        let job = job(fs, &VARIANTS, "", "");
        let record = DiskRecording::make(&ready, kernel, fs, mib, job).expect("record the disk");
        let found = record.replay(cuts(), StopAt::LastCut).expect("replay");
        eprintln!("{}: {fs}: {}", kernel.package, found.summary());
        assert!(found.broken.is_empty(), "{}", found.broken.join("\n"));
    }
}

/// The laboratory is sharp enough: with the fsync of directories left out, a name is lost after exit 0.
fn a_broken_promise_is_found(fs: &str, mib: u64) {
    let Some(ready) = kernel_lab_or_skip() else {
        return;
    };
    let kernel = ready.kernels.last().expect("a kernel");
    // Nobody else's fsync shall put the names on the disk.
    let job = job(fs, &["both"], "MMAPCP_LAB_BREAK=parents", "usleep 200000");
    let record = DiskRecording::make(&ready, kernel, fs, mib, job).expect("record the disk");
    let found = record
        .replay(cuts().min(200), StopAt::FirstLoss)
        .expect("replay");
    eprintln!(
        "{}: {fs}, broken on purpose: {}",
        kernel.package,
        found.summary()
    );
    assert!(!found.broken.is_empty(), "not found: {}", found.summary());
}

fn job(fs: &str, variants: &[&str], broken: &str, rest: &str) -> String {
    include_str!("kernel/cuts.sh")
        .replace("@FS@", fs)
        .replace("@VARIANTS@", &variants.join(" "))
        .replace("@ROUNDS@", &ROUNDS_PER_VARIANT.to_string())
        .replace("@SIZE@", &SIZE.to_string())
        .replace("@BREAK@", broken)
        .replace("@REST@", rest)
}

/// What a guest said with its second disk, and when that was, in entries of the record.
#[derive(Debug)]
pub(super) struct GuestMark {
    pub(super) at: usize,
    pub(super) what: String,
    variant: String,
    pub(super) round: usize,
}

/// A disk from mkfs to the end of the copies.
pub(super) struct DiskRecording {
    pub(super) fs: String,
    pub(super) base: Vec<u8>,
    pub(super) log: Vec<DiskLogEntry>,
    pub(super) marks: Vec<GuestMark>,
    digests: Digests,
}

/// The digest of each copy, by its number and its size.
type Digests = BTreeMap<(usize, usize), String>;

/// What the cuts came to.
#[derive(Debug, Default)]
struct ReplayResult {
    cuts: usize,
    broken: Vec<String>,
    /// By variant: files that were not whole where nothing is promised.
    unpromised_losses: BTreeMap<String, usize>,
}

impl ReplayResult {
    fn summary(&self) -> String {
        let mut text = format!("{} cuts, {} promises broken", self.cuts, self.broken.len());
        for (variant, n) in &self.unpromised_losses {
            let _ = write!(
                text,
                "; {variant}: {n} without a promise, not whole after exit 0"
            );
        }
        text
    }

    fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.broken.extend(other.broken);
        for (variant, n) in other.unpromised_losses {
            *self.unpromised_losses.entry(variant).or_default() += n;
        }
    }
}

impl DiskRecording {
    pub(super) fn make(
        ready: &KernelLab,
        kernel: &super::kernel::debian_archive::Kernel,
        fs: &str,
        mib: u64,
        job: String,
    ) -> Result<Self> {
        let place = scratch()?;
        let base = fs::read(image(fs, mib, place.path())?)?;
        let socket = place.path().join("disk");
        let disks = vec![
            ("disk".to_owned(), base.clone()),
            ("marks".to_owned(), vec![0; 4 << 20]),
        ];
        let server = Server::start(&socket, disks)?;
        let disk = |name: &str| Disk {
            from: format!("nbd:unix:{}:exportname={name}", socket.display()),
            rate: None,
        };
        let machine = VirtualMachine {
            kernel,
            programs: &ready.programs,
            memory_mib: 512,
            disks: vec![disk("disk"), disk("marks")],
            job,
            limit: RECORDING_TIMEOUT,
        };
        machine.run(place.path())?;
        let log = server.finish();
        let marks = marks(&log)?;
        Ok(Self {
            fs: fs.into(),
            base,
            log,
            marks,
            digests: digests()?,
        })
    }

    /// Cuts at so many moments, by two threads, each of which stops by itself.
    fn replay(&self, n: usize, stop: StopAt) -> Result<ReplayResult> {
        let mut cuts = self.cuts(n)?;
        cuts.sort_by_key(|cut| cut.at);
        let (first, second) = cuts.split_at(cuts.len() / 2);
        thread::scope(|scope| {
            let other = scope.spawn(|| self.check_cuts(second, stop));
            let mut found = self.check_cuts(first, stop)?;
            let other = other
                .join()
                .map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
            found.add(other?);
            Ok(found)
        })
    }

    /// Half of them anywhere, half within a few requests after an exit 0.
    fn cuts(&self, n: usize) -> Result<Vec<PowerCut>> {
        let start = self.marks.first().context("no marks")?.at;
        let done: Vec<&GuestMark> = self
            .marks
            .iter()
            .filter(|mark| mark.what == "done")
            .collect();
        ensure!(!done.is_empty(), "nothing was copied");
        let mut dice = SeededRng(seed());
        let cuts = (0..n).map(|n| {
            let at = if n % 2 == 0 {
                start + 1 + dice.index(self.log.len() - start)
            } else {
                done[dice.index(done.len())].at + 1 + dice.index(4)
            };
            PowerCut {
                at: at.min(self.log.len()),
                survive: [0, 2, 8, 14, 16][dice.index(5)],
                dice: SeededRng(dice.bits()),
            }
        });
        Ok(cuts.collect())
    }

    fn check_cuts(&self, cuts: &[PowerCut], stop: StopAt) -> Result<ReplayResult> {
        let dir = scratch()?;
        // In memory, and without a name: nobody has to remove it.
        let image = tempfile::tempfile_in("/dev/shm")?;
        let mut replay = Replay::new(&self.log, DISK_EXPORT, self.base.clone());
        let mut found = ReplayResult::default();
        for cut in cuts {
            replay.write(cut, &image)?;
            let then = DiskState::mount_and_read(self, &image, dir.path())
                .with_context(|| format!("after a cut at {} of {}", cut.at, self.log.len()))?;
            found.cuts += 1;
            for variant in VARIANTS {
                self.check_cut(variant, cut, &then, &mut found);
            }
            if stop == StopAt::FirstLoss && !found.broken.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// The last round of a variant that had begun by a moment, and that was done.
    fn rounds(&self, variant: &str, at: usize) -> Option<(usize, usize)> {
        let last = |what: &str| {
            let of =
                |mark: &&GuestMark| mark.at < at && mark.what == what && mark.variant == variant;
            self.marks.iter().filter(of).map(|mark| mark.round).max()
        };
        let takes_part = self.marks.iter().any(|mark| mark.variant == variant);
        takes_part.then(|| (last("begin").unwrap_or(0), last("done").unwrap_or(0)))
    }

    fn check_cut(
        &self,
        variant: &str,
        cut: &PowerCut,
        then: &DiskState<'_>,
        found: &mut ReplayResult,
    ) {
        let Some((begun, done)) = self.rounds(variant, cut.at) else {
            return;
        };
        let wrong = match variant {
            "plain" | "atomic" => {
                let parts = (1..=done).filter(|n| {
                    then.check_copy(&format!("{variant}/new-{n}"), *n, SIZE)
                        .is_err()
                });
                *found.unpromised_losses.entry(variant.into()).or_default() += parts.count();
                return;
            }
            "fsync" => then.check_fsync(begun, done),
            "both" => then.check_atomic_fsync(begun, done),
            tree => then.check_trees(tree, begun, done),
        };
        if let Err(why) = wrong {
            found.broken.push(format!(
                "{variant}, {done} of {begun} done, cut at {} of {} ({} of 16 survive): {why:#}",
                cut.at,
                self.log.len(),
                cut.survive
            ));
        }
    }
}

/// The marks of a record.
fn marks(log: &[DiskLogEntry]) -> Result<Vec<GuestMark>> {
    let mut marks = Vec::new();
    for (at, entry) in log.iter().enumerate() {
        let LoggedOperation::Write { bytes, .. } = &entry.what else {
            continue;
        };
        if entry.export != MARKS_EXPORT {
            continue;
        }
        let text = std::str::from_utf8(bytes).context("a mark is text")?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let ["mark", what, variant, round] = words[..] else {
            bail!("no mark: {words:?}");
        };
        marks.push(GuestMark {
            at,
            what: what.into(),
            variant: variant.into(),
            round: round.parse()?,
        });
    }
    Ok(marks)
}

/// What the guest's `yes "copy N" | head -c SIZE` makes.
fn digests() -> Result<Digests> {
    let place = scratch()?;
    for n in 0..=ROUNDS_PER_VARIANT {
        for size in FILES.map(|(_, size)| size) {
            let line = format!("copy {n}\n");
            let bytes: Vec<u8> = line.bytes().cycle().take(size).collect();
            fs::write(place.path().join(format!("{n}-{size}")), bytes)?;
        }
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", "sha256sum *"])
        .current_dir(place.path());
    let told = tool_command::stdout_of(&mut command)?;
    let line = |line: &str| -> Option<((usize, usize), String)> {
        let (digest, name) = line.split_once("  ")?;
        let (n, size) = name.split_once('-')?;
        Some(((n.parse().ok()?, size.parse().ok()?), digest.into()))
    };
    told.lines()
        .map(|text| line(text).with_context(|| text.to_owned()))
        .collect()
}

/// A file system as it was found after a cut: each name with its kind, mode, time, the target of a link, and the digest of a
/// file.
struct DiskState<'a> {
    names: BTreeMap<String, (String, String)>,
    digests: &'a Digests,
}

/// Mounts in a namespace of its own, so that nothing is left mounted whoever is killed.
const MOUNT_AND_LIST_SCRIPT: &str = "mount -o \"$4\" -t \"$1\" \"$2\" \"$3\" && cd \"$3\" && find . -printf 'name %P\\t%y %m %Ts %l\\n' && find . -type f -exec sha256sum {} + && cd / && umount \"$3\"";

impl<'a> DiskState<'a> {
    fn mount_and_read(record: &'a DiskRecording, image: &File, dir: &Path) -> Result<Self> {
        let image = format!("/proc/{}/fd/{}", std::process::id(), image.as_raw_fd());
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation=private",
            "sh",
            "-c",
            MOUNT_AND_LIST_SCRIPT,
            "look",
            &record.fs,
        ]);
        // Two threads look at one file system, as it was at two moments.
        let options = if record.fs == "xfs" {
            "loop,nouuid"
        } else {
            "loop"
        };
        die_with_thread(command.arg(image).arg(dir).arg(options));
        let told =
            tool_command::stdout_of(&mut command).context("the file system cannot be read")?;
        let mut names = BTreeMap::new();
        for line in told.lines() {
            if let Some((name, what)) = line
                .strip_prefix("name ")
                .and_then(|line| line.split_once('\t'))
            {
                names.insert(name.to_owned(), (what.trim_end().to_owned(), String::new()));
            } else if let Some((digest, name)) = line.split_once("  ./") {
                names.get_mut(name).with_context(|| line.to_owned())?.1 = digest.into();
            }
        }
        Ok(Self {
            names,
            digests: &record.digests,
        })
    }

    fn check_copy(&self, name: &str, n: usize, size: usize) -> Result<()> {
        let (_, digest) = self
            .names
            .get(name)
            .with_context(|| format!("{name} is not there"))?;
        let expected = self.digests.get(&(n, size)).context("an unknown copy")?;
        ensure!(digest == expected, "{name} is not copy {n}");
        Ok(())
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// `--fsync`: whole after exit 0.
    fn check_fsync(&self, begun: usize, done: usize) -> Result<()> {
        for n in 1..=done {
            self.check_copy(&format!("fsync/new-{n}"), n, SIZE)?;
        }
        if begun == done {
            self.check_copy("fsync/over", done, SIZE)?;
        }
        Ok(())
    }

    /// `--atomic --fsync`: the old file or the whole new one, and after exit 0 the new one.
    fn check_atomic_fsync(&self, begun: usize, done: usize) -> Result<()> {
        let whole = (done..=begun).any(|n| self.check_copy("both/over", n, SIZE).is_ok());
        ensure!(whole, "both/over is neither of {done} to {begun}");
        for n in 1..=done {
            self.check_copy(&format!("both/new-{n}"), n, SIZE)?;
        }
        if begun > done && self.has_name(&format!("both/new-{begun}")) {
            self.check_copy(&format!("both/new-{begun}"), begun, SIZE)?;
        }
        let mut names = self
            .names
            .keys()
            .filter_map(|name| name.strip_prefix("both/"));
        let stranger = names.find(|name| {
            *name != "over" && !name.starts_with("new-") && !name.contains(".mmapcp-")
        });
        ensure!(stranger.is_none(), "{stranger:?}");
        Ok(())
    }

    /// After exit 0 all of a tree, as it was; with `--atomic` each file of one that had begun is whole.
    fn check_trees(&self, variant: &str, begun: usize, done: usize) -> Result<()> {
        for n in 1..=done {
            let tree = format!("{variant}/tree-{n}");
            for (name, size) in FILES {
                self.check_copy(&format!("{tree}/{name}"), n, size)?;
            }
            for (name, what) in ENTRIES {
                let name = format!("{tree}{name}");
                let is = self.names.get(&name).map(|(what, _)| what.as_str());
                ensure!(is == Some(what), "{name} is {is:?}");
            }
        }
        for (name, size) in FILES {
            let name = format!("{variant}/tree-{begun}/{name}");
            if variant == "tree-both" && begun > done && self.has_name(&name) {
                self.check_copy(&name, begun, size)?;
            }
        }
        Ok(())
    }
}

/// The files of a tree and their sizes.
const FILES: [(&str, usize); 4] = [
    ("first", SIZE),
    ("sub/second", 5000),
    ("sub/deeper/third", 100),
    ("empty", 0),
];

/// What find(1) says of everything in a tree.
const ENTRIES: [(&str, &str); 8] = [
    ("", "d 755 1000000000"),
    ("/first", "f 640 1000000000"),
    ("/sub", "d 755 1000000000"),
    ("/sub/second", "f 644 1000000000"),
    ("/sub/deeper", "d 755 1000000000"),
    ("/sub/deeper/third", "f 644 1000000000"),
    ("/empty", "f 644 1000000000"),
    ("/link", "l 777 1000000000 sub/second"),
];
