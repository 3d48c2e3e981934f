//! A virtual machine that boots a kernel, runs one job and is gone, whatever happens to it or to us.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mmapcp::sys::process::die_with_thread;
use tempfile::TempDir;

use super::debian_archive::Kernel;
use super::initramfs;

/// Emulated, as on a machine that is itself virtual: nothing but time depends on it.
const QEMU: &str = "qemu-system-x86_64";

/// Lines of a guest's console that are shown when it fails.
const CONSOLE_TAIL_LINES: usize = 30;

/// A disk of a guest: the first is its `/dev/lab0`.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// As QEMU names it: a raw file's path, or `nbd:unix:PATH:exportname=NAME`.
    pub(crate) from: String,
    /// Bytes a second, in both directions together.
    pub(crate) rate: Option<u64>,
}

impl Disk {
    /// A raw image, as fast as it is.
    pub(crate) fn image(path: &Path) -> Self {
        Self {
            from: path.display().to_string(),
            rate: None,
        }
    }
}

/// What to boot.
#[derive(Debug)]
pub(crate) struct VirtualMachine<'a> {
    pub(crate) kernel: &'a Kernel,
    /// Static `mmapcp` and `forklat`.
    pub(crate) programs: &'a Path,
    pub(crate) memory_mib: u32,
    pub(crate) disks: Vec<Disk>,
    /// A script for busybox's sh.
    pub(crate) job: String,
    /// A guest that takes longer has hung.
    pub(crate) limit: Duration,
}

impl VirtualMachine<'_> {
    /// Boots, and waits for the end of the job: the lines that it said.
    ///
    /// # Errors
    /// QEMU cannot be started; the guest hangs, panics, says what is no text, or its job fails: with the tail of its console.
    pub(crate) fn run(&self, scratch: &Path) -> Result<Vec<String>> {
        let place = tempfile::Builder::new()
            .prefix("guest-")
            .tempdir_in(scratch)?;
        let initrd = place.path().join("initrd");
        initramfs::write(self.kernel, self.programs, &self.job, &initrd)?;
        let qemu = Qemu::start(self, &place, &initrd)?;
        let ended = qemu.wait(self.limit);
        let said = console_lines(&place.path().join("said"));
        let outcome = match (ended, said) {
            (Ok(()), Ok(lines)) => self.check_console(lines),
            (Err(why), Ok(lines)) => {
                let last = lines.last().map_or("nothing", String::as_str);
                Err(why.context(format!("its job's last words: {last}")))
            }
            (_, Err(why)) => Err(why),
        };
        outcome.with_context(|| {
            let console = console_tail(&place.path().join("console"));
            format!(
                "guest with {}; its console:\n{console}",
                self.kernel.package
            )
        })
    }

    fn check_console(&self, mut lines: Vec<String>) -> Result<Vec<String>> {
        match lines.pop().as_deref() {
            Some("ended 0") => Ok(lines),
            Some(last) if last.starts_with("ended ") => {
                let before = lines[lines.len().saturating_sub(CONSOLE_TAIL_LINES)..].join("\n");
                bail!("the job {last}, after:\n{before}")
            }
            last => bail!("the machine went down before the end of the job, after {last:?}"),
        }
    }

    fn arguments(&self, place: &Path, initrd: &Path) -> Vec<String> {
        let file = |name: &str| format!("file:{}", place.join(name).display());
        let mut words: Vec<String> = [
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max,-la57",
            "-smp",
            "1",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-net",
            "none",
            "-m",
        ]
        .map(Into::into)
        .into();
        words.push(self.memory_mib.to_string());
        words.extend(["-kernel".into(), self.kernel.image.display().to_string()]);
        words.extend(["-initrd".into(), initrd.display().to_string()]);
        // Two lines: of the kernel, and of the job.
        words.extend([
            "-serial".into(),
            file("console"),
            "-serial".into(),
            file("said"),
        ]);
        words.extend([
            "-append".into(),
            "console=ttyS0 loglevel=5 panic=-1 mitigations=off rdinit=/init".into(),
        ]);
        for (n, disk) in self.disks.iter().enumerate() {
            // cache=none: what the guest has flushed is what the image has, and its rate is not our page cache's.
            let mut drive = format!("file={},format=raw,if=none,id=d{n},cache=none", disk.from);
            if let Some(rate) = disk.rate {
                drive += &format!(",throttling.bps-total={rate}");
            }
            // Not nvme: with that of QEMU 10.0 no write was marked FUA on the way to the disk, and a fifth of the cuts took commits
            // of the journal that the guest had been told were there. Under virtio-blk the guest flushes instead.
            let device = format!("virtio-blk-pci,drive=d{n},serial=lab{n}");
            words.extend(["-drive".into(), drive, "-device".into(), device]);
        }
        words
    }
}

/// A running QEMU, killed when dropped and when its starter dies.
struct Qemu {
    child: Child,
    complaints: PathBuf,
}

impl Qemu {
    fn start(machine: &VirtualMachine, place: &TempDir, initrd: &Path) -> Result<Self> {
        let complaints = place.path().join("complaints");
        let mut command = Command::new(QEMU);
        command
            .args(machine.arguments(place.path(), initrd))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&complaints)?);
        die_with_thread(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {QEMU}"))?;
        Ok(Self { child, complaints })
    }

    fn wait(mut self, limit: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let complaint = fs::read_to_string(&self.complaints).unwrap_or_default();
                if !status.success() {
                    bail!("{QEMU}: {status}: {}", complaint.trim());
                }
                return Ok(());
            }
            if started.elapsed() > limit {
                bail!("it hangs: not at its end after {} s", limit.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It has ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the job said, a line each.
fn console_lines(path: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8(bytes).context("the job said what is no text")?;
    Ok(text.lines().map(Into::into).collect())
}

/// The end of a console.
fn console_tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_TAIL_LINES)..].join("\n")
}
