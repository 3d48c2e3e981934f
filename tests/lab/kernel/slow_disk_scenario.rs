//! The story that this project began with: memory nearly full, a slow disk, a dump that is copied; and what bystanders wait.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mmapcp::forklat::export::json_report::parse;
use mmapcp::forklat::model::Report;
use serde::Serialize;

use super::debian_archive::Kernel;
use super::tool_command;
use super::virtual_machine::{Disk, VirtualMachine};

/// A guest that is not at its end then has hung: 200 MB at 5 MB/s, and stalls of half a minute.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(900);

/// The disk of the guest, in MiB: sparse, and larger than any dump.
const GUEST_DISK_MIB: u64 = 4096;

/// A machine in trouble, and who copies there.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SlowDiskScenario {
    pub(crate) memory_mib: u32,
    /// What the dump and a filler leave available, before the observers start; more than there is means no filler.
    pub(crate) slack_mib: u64,
    pub(crate) dump_mib: u64,
    /// Bytes a second, reads and writes together.
    pub(crate) disk_rate: u64,
    pub(crate) dirty_ratio: u8,
    pub(crate) background_ratio: u8,
    /// With `{source}` and `{dest}`.
    pub(crate) tool: String,
}

/// What was felt in one run. Latencies are the worst, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BystanderWaits {
    pub(crate) kernel: String,
    pub(crate) exec_from_disk: Option<f64>,
    pub(crate) exec_from_memory: Option<f64>,
    pub(crate) write: Option<f64>,
    pub(crate) fsync: Option<f64>,
    /// Seconds that the tool took.
    pub(crate) wall: Option<f64>,
    /// KiB in the page cache afterwards, beyond what was there.
    pub(crate) cached_kib: i64,
    /// Pages that allocations looked at because memory was short (pgscan_direct).
    pub(crate) scanned: u64,
    /// Whom the kernel killed because there was no memory.
    pub(crate) killed: u64,
    /// KiB of available memory, and bytes of the copy, several times while it was made.
    pub(crate) samples: Vec<(i64, i64)>,
    /// Why there are no figures.
    pub(crate) why: Option<String>,
}

impl SlowDiskScenario {
    /// Boots, fills, copies.
    ///
    /// # Errors
    /// The guest's; a copy that is not the dump. A bystander killed for want of memory is no error, but a finding.
    pub(crate) fn run_guest(
        &self,
        kernel: &Kernel,
        programs: &Path,
        scratch: &Path,
    ) -> Result<BystanderWaits> {
        let place = tempfile::Builder::new()
            .prefix("story-")
            .tempdir_in(scratch)?;
        let image = place.path().join("disk");
        File::create(&image)?.set_len(GUEST_DISK_MIB << 20)?;
        // The journal and the tables are written now, not while something is measured.
        let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        tool_command::stdout_of(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-E", options])
                .arg(&image),
        )?;
        let machine = VirtualMachine {
            kernel,
            programs,
            memory_mib: self.memory_mib,
            disks: vec![Disk {
                from: image.display().to_string(),
                rate: Some(self.disk_rate),
            }],
            job: self.job(),
            limit: SCENARIO_TIMEOUT,
        };
        let said = machine.run(place.path())?;
        parse_bystander_waits(kernel, &said)
    }

    fn job(&self) -> String {
        let tool = self
            .tool
            .replace("{source}", "/dev/shm/dump")
            .replace("{dest}", "/disk/copy");
        include_str!("story.sh")
            .replace("@DIRTY@", &self.dirty_ratio.to_string())
            .replace("@BACKGROUND@", &self.background_ratio.to_string())
            .replace("@DUMP@", &self.dump_mib.to_string())
            .replace("@SLACK@", &self.slack_mib.to_string())
            .replace("@TOOL@", &tool)
    }
}

fn parse_bystander_waits(kernel: &Kernel, said: &[String]) -> Result<BystanderWaits> {
    let word = |name: &str| {
        let of = |line: &String| {
            line.strip_prefix(name)?
                .strip_prefix(' ')
                .map(str::to_owned)
        };
        said.iter().find_map(of)
    };
    let number = |name: &str| -> Result<i64> {
        let text = word(name).with_context(|| format!("the guest did not say {name}"))?;
        text.parse().with_context(|| format!("{name} {text}"))
    };
    let report = |name: &str| word(name).and_then(|text| parse(text.as_bytes()).ok());
    let (inner, outer) = (report("inner"), report("outer"));
    let killed = number("killed")?;
    let complaint = || {
        let lines = said.iter().filter_map(|line| line.strip_prefix("said "));
        lines.collect::<Vec<_>>().join("; ")
    };
    let whole = number("status")? == 0 && inner.is_some() && outer.is_some();
    if whole {
        ensure!(
            word("content").is_some(),
            "the copy is not the dump: {}",
            complaint()
        );
    } else {
        ensure!(killed > 0, "the measurement failed: {}", complaint());
    }
    let worst =
        |report: &Option<Report>, probe: &str| report.as_ref().and_then(|r| worst(r, probe));
    Ok(BystanderWaits {
        kernel: kernel.package.clone(),
        exec_from_disk: worst(&inner, "exec"),
        exec_from_memory: worst(&outer, "exec"),
        write: worst(&inner, "write"),
        fsync: worst(&inner, "fsync"),
        wall: inner.as_ref().and_then(|report| {
            let during = report
                .subjects
                .iter()
                .find(|subject| subject.name == "during")?;
            Some(during.seconds)
        }),
        cached_kib: number("cached")?,
        scanned: number("scanned")?.max(0).unsigned_abs(),
        killed: killed.max(0).unsigned_abs(),
        samples: said.iter().filter_map(|line| sample(line)).collect(),
        why: (!whole).then(complaint),
    })
}

/// Available memory and the size of the copy, of a line that has both.
fn sample(line: &str) -> Option<(i64, i64)> {
    let (available, copied) = line.strip_prefix("sample ")?.split_once(' ')?;
    Some((available.parse().ok()?, copied.parse().ok()?))
}

/// While the tool ran and until writeback had settled, in milliseconds.
fn worst(report: &Report, probe: &str) -> Option<f64> {
    let loaded = report
        .subjects
        .iter()
        .filter(|subject| subject.name != "baseline");
    let probes = loaded.flat_map(|subject| &subject.probes);
    let of = probes.filter(|p| p.name == probe && p.cpu.is_none());
    let figures = of.filter_map(|p| p.latency.figures);
    figures.map(|f| f.max / 1e3).reduce(f64::max)
}
