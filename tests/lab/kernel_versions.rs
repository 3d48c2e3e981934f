//! What the copy does on other kernels, in virtual machines: every engine copies or refuses with a reason, and `auto` chooses as it should.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::kernel::debian_archive::{self, Kernel};
use super::kernel::kernel_series::{self, Series};
use super::kernel::slow_disk_scenario::SlowDiskScenario;
use super::kernel::virtual_machine::{Disk, VirtualMachine};
use super::kernel::{static_programs, tool_command};
use super::{LAB_DIR, remove_leftover_dirs, skip};
use crate::support::is_installed;
use crate::support::{Running, wait_until, wait_within};

const TOOLS: [&str; 8] = [
    "apt-get",
    "busybox",
    "cpio",
    "dpkg",
    "mkfs.ext4",
    "mkfs.xfs",
    "qemu-system-x86_64",
    "xz",
];

/// What a guest with an ext4 needs.
pub(super) const EXT4_GUEST_TOOLS: [&str; 7] = [
    "apt-get",
    "busybox",
    "cpio",
    "dpkg",
    "mkfs.ext4",
    "qemu-system-x86_64",
    "xz",
];

/// Those that are run where `MMAPCP_KERNELS` does not name others: the oldest without anything, and one with everything.
const DEFAULT_KERNELS: &str = "5.10,6.18";

/// Bytes of the source: beyond a chunk of any engine, with a tail that is no whole block.
const SIZE: u64 = (9 << 20) + 12_345;

/// A guest boots within 5 s and needs 40 more for both file systems; CI's cores are shared by two. Beside two builds it took
/// 400 s.
const GUEST_TIMEOUT: Duration = Duration::from_secs(550);

const ENGINES: [&str; 8] = [
    "auto",
    "mmap",
    "splice",
    "direct",
    "dontcache",
    "copy-file-range",
    "sendfile",
    "buffered",
];

/// Those that every kernel has, from memory to a disk.
const ENGINES_ON_EVERY_KERNEL: [&str; 5] = ["mmap", "splice", "direct", "sendfile", "buffered"];

/// What the kernel tests need. As many of them at a time as the tests have threads: a machine takes a core.
pub(super) struct KernelLab {
    pub(super) kernels: Vec<Kernel>,
    pub(super) programs: PathBuf,
    _turn: Flock<File>,
}

impl KernelLab {
    /// `None` after saying why, where this machine cannot run it.
    pub(super) fn prepare_or_skip(tools: &[&str], wanted: &[&'static Series]) -> Option<Self> {
        if let Some(tool) = tools.iter().find(|tool| !is_installed(tool)) {
            return skip(&format!("{tool} is not installed"));
        }
        let lock =
            || File::create(Path::new(LAB_DIR).join("kernels.lock")).expect("create the lock");
        // Who is alone clears what a killed run left.
        if let Ok(_alone) = Flock::lock(lock(), FlockArg::LockExclusiveNonblock) {
            remove_leftover_dirs(KERNELS_DIR_PREFIX);
        }
        let turn = Flock::lock(lock(), FlockArg::LockShared).expect("lock the kernels");
        let kernels = match debian_archive::fetch(wanted) {
            Ok(kernels) => kernels,
            Err(why) => return skip(&format!("no kernels: {why:#}")),
        };
        let programs = match static_programs::build(Path::new(LAB_DIR)) {
            Ok(programs) => programs,
            Err(why) => return skip(&format!("no static programs: {why:#}")),
        };
        Some(Self {
            kernels,
            programs,
            _turn: turn,
        })
    }
}

/// The prefix of what the kernel tests make in `HOME`; that of the lab's other tests is swept by those.
const KERNELS_DIR_PREFIX: &str = "kernels-";

/// A directory for images, removed when dropped, or by the next test.
pub(super) fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(KERNELS_DIR_PREFIX)
        .tempdir_in(LAB_DIR)
}

/// The kernels that whoever runs the tests asks for: `MMAPCP_KERNELS=all`, or names.
pub(super) fn selected_series(default: &str) -> Vec<&'static Series> {
    let asked = env::var("MMAPCP_KERNELS").unwrap_or_else(|_| default.into());
    if asked == "all" {
        return kernel_series::ALL_SERIES.iter().collect();
    }
    let named = asked.split(',').map(kernel_series::find_series);
    named.collect::<Result<_>>().expect("MMAPCP_KERNELS")
}

/// An empty file system in a sparse file, made without mounting it.
pub(super) fn image(kind: &str, mib: u64, place: &Path) -> Result<PathBuf> {
    let path = place.join(format!("{kind}.image"));
    File::create(&path)?.set_len(mib << 20)?;
    let mut mkfs = Command::new(format!("mkfs.{kind}"));
    match kind {
        "ext4" => mkfs.args(["-q", "-F"]),
        // What Linux 5.10 can read, whatever this machine's mkfs would choose.
        _ => mkfs.args(["-q", "-m", "bigtime=0,inobtcount=0", "-i", "nrext64=0"]),
    };
    tool_command::stdout_of(mkfs.arg(&path))?;
    Ok(path)
}

#[test]
fn every_engine_copies_or_says_why_not() {
    let Some(ready) = KernelLab::prepare_or_skip(&TOOLS, &selected_series(DEFAULT_KERNELS)) else {
        return;
    };
    let mut wrong = Vec::new();
    for kernel in &ready.kernels {
        let started = std::time::Instant::now();
        let outcome = one_kernel(kernel, &ready.programs);
        eprintln!(
            "{}: {:.0} s",
            kernel.package,
            started.elapsed().as_secs_f64()
        );
        if let Err(why) = outcome {
            wrong.push(format!("{}: {why:#}", kernel.series.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One boot: both file systems.
fn one_kernel(kernel: &Kernel, programs: &Path) -> Result<()> {
    let place = scratch()?;
    let mut disks = Vec::new();
    for kind in ["ext4", "xfs"] {
        disks.push(Disk::image(&image(kind, 512, place.path())?));
    }
    let job = include_str!("kernel/matrix.sh")
        .replace("@SIZE@", &SIZE.to_string())
        .replace("@ENGINES@", &ENGINES.join(" "))
        .replace("@SHRINKING@", &ENGINES_ON_EVERY_KERNEL.join(" "));
    let machine = VirtualMachine {
        kernel,
        programs,
        memory_mib: 512,
        disks,
        job,
        limit: GUEST_TIMEOUT,
    };
    let said = machine.run(place.path())?;
    let cells = MatrixResult::all(&said)?;
    ensure!(
        cells.len() == 2 * (ENGINES.len() + ENGINES_ON_EVERY_KERNEL.len() + 2),
        "{} checks came back:\n{}",
        cells.len(),
        said.join("\n")
    );
    for cell in &cells {
        cell.check(kernel.series)
            .with_context(|| format!("{} {}: {cell:#?}", cell.fs, cell.what))?;
    }
    Ok(())
}

/// What a guest says of one check, between `begin FS WHAT` and `status N`.
#[derive(Debug, Default)]
struct MatrixResult {
    fs: String,
    what: String,
    status: String,
    events: Vec<Value>,
    /// Everything else, by its first word.
    words: Vec<(String, String)>,
}

impl MatrixResult {
    fn all(said: &[String]) -> Result<Vec<Self>> {
        let mut cells: Vec<Self> = Vec::new();
        for line in said {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if first == "begin" {
                let (fs, what) = rest.split_once(' ').context("begin FS WHAT")?;
                cells.push(Self {
                    fs: fs.into(),
                    what: what.into(),
                    ..Self::default()
                });
                continue;
            }
            let cell = cells
                .last_mut()
                .with_context(|| format!("before any check: {line}"))?;
            match first {
                "status" => cell.status = rest.into(),
                "event" => cell
                    .events
                    .push(serde_json::from_str(rest).with_context(|| line.clone())?),
                _ => cell.words.push((first.into(), rest.into())),
            }
        }
        Ok(cells)
    }

    fn field(&self, name: &str) -> &str {
        let found = self.words.iter().find(|(first, _)| first == name);
        found.map_or("", |(_, rest)| rest)
    }

    fn event(&self, name: &str) -> Result<&Value> {
        let found = self.events.iter().find(|event| event["event"] == name);
        found.with_context(|| format!("no event {name}"))
    }

    fn check(&self, series: &Series) -> Result<()> {
        match self.what.as_str() {
            "forklat-run" | "forklat-scale" => {
                ensure!(self.status == "0", "status {}", self.status);
                ensure!(self.field("probes") == "found", "no figures");
                Ok(())
            }
            "auto" => self.check_auto(series),
            "copy-file-range" => self.check_refused("EXDEV"),
            "dontcache" if !series.drops_behind => self.check_refused("Operation not supported"),
            engine if engine.starts_with("truncated ") => self.check_truncated(),
            engine => self.check_copied(&[engine]),
        }
    }

    /// From memory to a disk by page reference or from the mapping, and with what the kernel tells of alignment.
    fn check_auto(&self, series: &Series) -> Result<()> {
        self.check_copied(&["mmap", "splice"])?;
        let plan = self.event("plan")?;
        let (direct, expected) = if series.tells_alignment {
            ("genuine", 512)
        } else {
            ("unproven", 4096)
        };
        ensure!(plan["direct"] == direct, "{plan}");
        let unit = plan["offset_align"].as_u64();
        ensure!(
            unit == Some(expected),
            "alignment of {unit:?}, not {expected}"
        );
        Ok(())
    }

    /// Whole, with its holes, by no other engine.
    fn check_copied(&self, by: &[&str]) -> Result<()> {
        ensure!(self.status == "0", "status {}", self.status);
        ensure!(self.field("content") == "same", "the content differs");
        let moved = self.event("done")?["engines"]
            .as_object()
            .context("no engines")?;
        for (engine, bytes) in moved {
            ensure!(
                bytes == 0 || by.contains(&engine.as_str()),
                "{engine} moved {bytes} bytes"
            );
        }
        let blocks: u64 = self.field("blocks").parse()?;
        let data = self.event("done")?["data_bytes"]
            .as_u64()
            .context("no data_bytes")?;
        ensure!(
            data < SIZE * 3 / 4,
            "{data} bytes of data: holes were copied"
        );
        ensure!(
            blocks * 512 <= data + (1 << 20),
            "{blocks} blocks for {data} bytes of data"
        );
        Ok(())
    }

    /// An error with this reason, and nothing at the destination.
    fn check_refused(&self, why: &str) -> Result<()> {
        ensure!(self.status == "1", "status {}", self.status);
        let error = self.event("error")?["error"].as_str().unwrap_or_default();
        ensure!(error.contains(why), "another reason: {error}");
        Ok(())
    }

    /// The source lost its second half in the middle of the copy.
    fn check_truncated(&self) -> Result<()> {
        ensure!(self.status == "1", "status {}", self.status);
        let error = self.event("error")?["error"].as_str().unwrap_or_default();
        ensure!(
            error.contains("source changed during the copy"),
            "another reason: {error}"
        );
        Ok(())
    }
}

/// A machine that idles, whatever its job says.
fn machine<'a>(ready: &'a KernelLab, job: &str, limit: Duration) -> VirtualMachine<'a> {
    VirtualMachine {
        kernel: ready.kernels.last().expect("a kernel"),
        programs: &ready.programs,
        memory_mib: 256,
        disks: Vec::new(),
        job: job.into(),
        limit,
    }
}

#[test]
fn a_guest_that_hangs_panics_fails_or_babbles_is_told_with_its_console() {
    let Some(ready) = KernelLab::prepare_or_skip(&TOOLS, &selected_series("6.18")) else {
        return;
    };
    let place = scratch().expect("a directory");
    let hung = Duration::from_secs(20);
    for (job, limit, why) in [
        (
            "echo before; sleep 600",
            hung,
            "it hangs: not at its end after 20 s",
        ),
        (
            "echo c > /proc/sysrq-trigger",
            GUEST_TIMEOUT,
            "the machine went down before the end of the job",
        ),
        ("echo before; exit 3", GUEST_TIMEOUT, "the job ended 3"),
        (
            "printf '\\377\\376\\n'",
            GUEST_TIMEOUT,
            "the job said what is no text",
        ),
    ] {
        let ended = machine(&ready, job, limit).run(place.path());
        let told = format!("{:#}", ended.expect_err(job));
        assert!(told.contains(why), "{job}: {told}");
        assert!(told.contains("its console:\n["), "{job}: {told}");
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Who is interrupted, for the next test.
#[test]
#[ignore = "does nothing but wait to be killed"]
fn victim() {
    if let Some(ready) = KernelLab::prepare_or_skip(&TOOLS, &selected_series("6.18")) {
        let place = scratch().expect("a directory");
        let _ = machine(&ready, "sleep 600", GUEST_TIMEOUT).run(place.path());
    }
}

#[test]
fn no_machine_outlives_whoever_started_it() {
    // The victim takes the turn for itself.
    if KernelLab::prepare_or_skip(&TOOLS, &selected_series("6.18")).is_none() {
        return;
    }
    let exe = env::current_exe().expect("the tests have a name");
    let words = ["lab::kernel_versions::victim", "--exact", "--ignored"];
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut victim = Running::start(Command::new(&exe).args(words));
        let mut found = None;
        wait_within(Duration::from_secs(300), "a machine runs", || {
            assert!(!victim.has_ended(), "it was to wait");
            found = qemu_processes()
                .into_iter()
                .find(|(_, parent)| *parent == victim.pid().as_raw());
            found.is_some()
        });
        victim.signal(signal);
        let (pid, _) = found.expect("a machine");
        wait_until("it is gone", || {
            !qemu_processes().iter().any(|(other, _)| *other == pid)
        });
    }
}

/// Emulators that run, and who started them.
fn qemu_processes() -> Vec<(i32, i32)> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let stat = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = text.rsplit_once(") ")?;
        let (pid, name) = head.split_once(" (")?;
        // A zombie is gone; its parent has not looked yet.
        let (state, parent) = tail.split_once(' ')?;
        let runs = name.starts_with("qemu-system") && state != "Z";
        let parent = parent.split(' ').next()?.parse().ok()?;
        runs.then_some((pid.parse().ok()?, parent))
    };
    processes.filter_map(stat).collect()
}

/// One cell of the story: with memory nearly full and a slow disk nobody who starts a program or appends waits for a second, and no page is left in the cache.
#[test]
fn a_dump_is_copied_to_a_slow_disk_and_nobody_waits() {
    let Some(ready) = KernelLab::prepare_or_skip(&TOOLS, &selected_series("6.18")) else {
        return;
    };
    let place = scratch().expect("a directory");
    for kernel in &ready.kernels {
        let scene = SlowDiskScenario {
            memory_mib: 512,
            slack_mib: 100,
            dump_mib: 150,
            disk_rate: 20_000_000,
            dirty_ratio: 90,
            background_ratio: 89,
            tool: "mmapcp {source} {dest}".into(),
        };
        // The guest is emulated on a host that has other work. Whoever waits for the copy waits in each run.
        let run = |_| {
            let felt = scene
                .run_guest(kernel, &ready.programs, place.path())
                .expect("the story");
            eprintln!("{felt:?}");
            assert!(felt.why.is_none(), "{felt:?}");
            felt
        };
        let (mut calm, mut waited) = (None, Vec::new());
        for felt in (0..3).map(run) {
            let figures = [
                felt.exec_from_disk,
                felt.exec_from_memory,
                felt.write,
                felt.fsync,
            ];
            let worst = figures.map(|worst| worst.expect("a figure"));
            if worst.iter().all(|worst| *worst < 1000.0) {
                calm = Some(felt);
                break;
            }
            waited.push(felt);
        }
        let felt = calm.unwrap_or_else(|| panic!("in each run somebody waited: {waited:#?}"));
        assert!(felt.cached_kib < 8192, "{felt:?}");
    }
}
