//! Properties of a machine that are needed to interpret measurements. Nothing that identifies the machine or its owner
//! is included.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskInfo};
use super::kernel_config;
use super::kernel_file::{bracketed_choice, path_below, read_optional};
use super::memory::why_no_psi;
use super::mount::Mount;
use crate::report::units;
use crate::sys::clock;
use crate::sys::key_value::{find_value, parse_kilobytes};
use crate::sys::residency::page_size;

/// Settings under /proc/sys that decide when memory is written back and reclaimed.
const MEMORY_SYSCTLS: [&str; 12] = [
    "vm.dirty_ratio",
    "vm.dirty_bytes",
    "vm.dirty_background_ratio",
    "vm.dirty_background_bytes",
    "vm.dirty_expire_centisecs",
    "vm.dirty_writeback_centisecs",
    "vm.swappiness",
    "vm.min_free_kbytes",
    "vm.watermark_scale_factor",
    "vm.vfs_cache_pressure",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
];

/// Mount options that change what a write or an fsync costs. They are printed beside a table, the others are not
/// (ext4(5), btrfs(5), xfs(5), tmpfs(5)).
const COSTLY_MOUNT_OPTIONS: [&str; 12] = [
    "sync",
    "dirsync",
    "data",
    "commit",
    "barrier",
    "nobarrier",
    "nodelalloc",
    "discard",
    "dax",
    "compress",
    "compress-force",
    "huge",
];

const THP_DIR: &str = "sys/kernel/mm/transparent_hugepage";

/// The properties of the machine. Those that cannot be read are `None` or absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostInfo {
    /// The release of the kernel, as uname(2) returns it.
    pub kernel: Option<String>,
    /// The version of the kernel, which says when and how it was built.
    pub kernel_version: Option<String>,
    /// The model of preemption in force, such as `none`, `voluntary`, `full`, `lazy` or `rt`, or what is known of it.
    pub preemption: Option<String>,
    /// Ticks of the kernel in a second (CONFIG_HZ).
    pub hz: Option<u64>,
    /// Whether free memory is reported to the hypervisor, which takes it back; `None` if that is not known.
    pub reports_free_pages: Option<bool>,
    /// Architecture of the kernel, or of this program before Linux 6.1.
    pub architecture: String,
    /// Number of CPUs that are online.
    pub cpus: Option<u32>,
    /// Model name of the first CPU in /proc/cpuinfo.
    pub cpu_model: Option<String>,
    /// Whether the CPU reports that a hypervisor runs below it (x86 only).
    pub hypervisor: Option<bool>,
    /// The cpufreq governor of the first CPU.
    pub governor: Option<String>,
    /// The clock source from which CLOCK_MONOTONIC is read.
    pub clocksource: Option<String>,
    /// Size of the memory in bytes.
    pub memory: Option<u64>,
    /// Size of the swap space in bytes.
    pub swap: Option<u64>,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// Transparent huge pages for anonymous memory: `always`, `madvise` or `never`.
    pub thp: Option<String>,
    /// Transparent huge pages for memfds, System V and shared anonymous memory; `deny` and `force` apply to every
    /// tmpfs.
    pub thp_shmem: Option<String>,
    /// Kernel settings, by the names and with the values that sysctl(8) prints.
    pub sysctls: BTreeMap<String, String>,
    /// Why there is no PSI; `None` if there is.
    pub no_pressure: Option<String>,
    /// The file system that holds the files of the measurement.
    pub on: Option<FileSystemInfo>,
}

/// A file system and its device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FileSystemInfo {
    /// The type of the file system.
    pub file_system: Option<String>,
    /// The mode of the journal of ext4, or `none` if it has none; `None` for other types, and if the kernel does not tell.
    pub journal: Option<String>,
    /// Its mount options, including those of the super block.
    pub options: Vec<String>,
    /// Size of the file system in bytes.
    pub size: Option<u64>,
    /// Free space in bytes that every user may allocate.
    pub free: Option<u64>,
    /// The disk; `None` if the file system lies on none or on several.
    pub device: Option<DiskInfo>,
}

impl HostInfo {
    /// Reads the properties from `proc` and `sys` under `root`; `on` is a path in the real file system of this process.
    #[must_use]
    pub fn read(root: &Path, on: Option<&Path>) -> Self {
        let line = |name: &str| read_optional(root, name);
        let cpuinfo = fs::read_to_string(path_below(root, "proc/cpuinfo")).unwrap_or_default();
        let meminfo = fs::read_to_string(path_below(root, "proc/meminfo")).unwrap_or_default();
        let version = line("proc/sys/kernel/version");
        Self {
            kernel: line("proc/sys/kernel/osrelease"),
            preemption: Some(kernel_config::preemption(root, version.as_deref())),
            kernel_version: version,
            hz: clock::ticks_per_second(),
            reports_free_pages: kernel_config::reports_free_pages(root),
            architecture: line("proc/sys/kernel/arch")
                .unwrap_or_else(|| std::env::consts::ARCH.into()),
            cpus: line("sys/devices/system/cpu/online").and_then(|list| count_cpus(&list)),
            cpu_model: find_value(&cpuinfo, "model name").map(str::to_owned),
            hypervisor: find_value(&cpuinfo, "flags")
                .map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            governor: line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clocksource: line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            memory: find_value(&meminfo, "MemTotal").and_then(parse_kilobytes),
            swap: find_value(&meminfo, "SwapTotal").and_then(parse_kilobytes),
            page_size: page_size(),
            thp: line(&format!("{THP_DIR}/enabled")).and_then(|text| bracketed_choice(&text)),
            thp_shmem: line(&format!("{THP_DIR}/shmem_enabled"))
                .and_then(|text| bracketed_choice(&text)),
            sysctls: read_sysctls(root),
            no_pressure: why_no_psi(root),
            on: on.map(|path| FileSystemInfo::read(root, path)),
        }
    }

    /// Formats the lines that stand above a table.
    #[must_use]
    pub fn summary_lines(&self) -> Vec<String> {
        let mut lines = vec![self.kernel_line()];
        lines.extend(self.scheduling_line());
        lines.extend([self.memory_line(), self.writeback_line()]);
        lines.extend(
            self.no_pressure
                .as_ref()
                .map(|why| format!("no pressure figures: {why}")),
        );
        lines.extend(self.on.iter().flat_map(FileSystemInfo::summary_lines));
        lines
    }

    fn kernel_line(&self) -> String {
        let kernel = self.kernel.as_deref().unwrap_or("of unknown release");
        let mut parts = vec![format!("Linux {kernel} {}", self.architecture)];
        let model = self.cpu_model.as_ref().map(|model| format!(" ({model})"));
        let cpus = self
            .cpus
            .map(|n| format!("{n} CPU{}", if n == 1 { "" } else { "s" }));
        parts.extend(cpus.map(|cpus| cpus + &model.unwrap_or_default()));
        parts.extend((self.hypervisor == Some(true)).then(|| "virtual".into()));
        parts.extend(
            self.governor
                .as_ref()
                .map(|name| format!("governor {name}")),
        );
        parts.extend(
            self.clocksource
                .as_ref()
                .map(|name| format!("clock {name}")),
        );
        parts.join(", ")
    }

    /// Formats what decides how soon a task runs, or returns `None` for reports of older versions, which do not have it.
    fn scheduling_line(&self) -> Option<String> {
        let preemption = self.preemption.as_ref()?;
        let hz = self
            .hz
            .map_or_else(|| "unknown".into(), |hz| hz.to_string());
        let reported = match self.reports_free_pages {
            Some(true) => "free memory is reported to the hypervisor",
            Some(false) => "free memory is not reported to a hypervisor",
            None => "reporting of free memory unknown",
        };
        Some(format!("preemption {preemption}, HZ {hz}, {reported}"))
    }

    fn memory_line(&self) -> String {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".into(), units::format_bytes);
        let swap = match self.swap {
            Some(0) => "no swap".into(),
            swap => format!("swap {}", size(swap)),
        };
        let huge = |setting: &Option<String>| setting.clone().unwrap_or_else(|| "none".into());
        format!(
            "memory {}, {swap}, pages of {}, huge pages {} (shared {})",
            size(self.memory),
            units::format_bytes(self.page_size),
            huge(&self.thp),
            huge(&self.thp_shmem)
        )
    }

    /// Formats the writeback limits in force: if bytes are set, the ratio has no effect (and reads 0).
    fn writeback_line(&self) -> String {
        let get = |name: &str| self.sysctls.get(name).map_or("unknown", String::as_str);
        let limit = |name: &str| match get(&format!("vm.{name}_bytes")).parse::<u64>() {
            Ok(bytes) if bytes > 0 => format!("{name}_bytes {bytes}"),
            _ => format!("{name}_ratio {}", get(&format!("vm.{name}_ratio"))),
        };
        format!(
            "{}, {}, dirty_expire_centisecs {}, min_free_kbytes {}",
            limit("dirty"),
            limit("dirty_background"),
            get("vm.dirty_expire_centisecs"),
            get("vm.min_free_kbytes")
        )
    }
}

impl FileSystemInfo {
    fn read(root: &Path, path: &Path) -> Self {
        let mount = Mount::of_path(root, path).ok();
        let stat = statvfs(path).ok();
        // f_blocks is 0 for a file system without a size, such as a tmpfs without a limit.
        let bytes = |blocks: fn(&nix::sys::statvfs::Statvfs) -> u64| {
            let sized = stat.as_ref().filter(|stat| stat.blocks() > 0);
            sized.map(|stat| blocks(stat) * stat.fragment_size())
        };
        let disk = mount
            .as_ref()
            .and_then(|mount| Disk::of_mount(root, mount).ok());
        let ext4 = disk.as_ref().filter(|disk| disk.file_system == "ext4");
        Self {
            size: bytes(|stat| stat.blocks()),
            free: bytes(|stat| stat.blocks_available()),
            journal: ext4.and_then(|disk| {
                let device = disk.partition.as_ref().unwrap_or(&disk.name);
                kernel_config::ext4_journal(root, device)
            }),
            device: disk.map(|disk| DiskInfo::read(root, &disk)),
            file_system: mount.as_ref().map(|mount| mount.file_system.clone()),
            options: mount
                .map(|mount| mount.public_options())
                .unwrap_or_default(),
        }
    }

    fn summary_lines(&self) -> Vec<String> {
        let name = self.file_system.as_deref().unwrap_or("unknown file system");
        let told = |option: &&String| {
            COSTLY_MOUNT_OPTIONS.contains(&option.split('=').next().unwrap_or(option))
        };
        let told: Vec<&str> = self
            .options
            .iter()
            .filter(told)
            .map(String::as_str)
            .collect();
        let mut parts = vec![match told[..] {
            [] => format!("on {name}"),
            _ => format!("on {name} ({})", told.join(",")),
        }];
        parts.extend(self.journal.as_ref().map(|mode| match mode.as_str() {
            "none" => "no journal".to_owned(),
            mode => format!("journal {mode}"),
        }));
        parts.extend(self.free.zip(self.size).map(|(free, size)| {
            format!(
                "{} free of {}",
                units::format_bytes(free),
                units::format_bytes(size)
            )
        }));
        let mut lines = vec![parts.join(", ")];
        lines.extend(
            self.device
                .as_ref()
                .map(|disk| format!("disk {}", disk.summary_line())),
        );
        lines
    }
}

/// Returns how many numbers a list such as `0-3,5` has.
fn count_cpus(list: &str) -> Option<u32> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        })
        .sum()
}

fn read_sysctls(root: &Path) -> BTreeMap<String, String> {
    let read = |name: &&str| {
        let value = read_optional(root, format!("proc/sys/{}", name.replace('.', "/")))?;
        Some(((*name).to_owned(), value))
    };
    MEMORY_SYSCTLS.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kernel_file::root_with as root;
    use super::*;

    const FILES: [(&str, &str); 16] = [
        ("proc/sys/kernel/osrelease", "6.18.2\n"),
        ("proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC\n"),
        ("proc/sys/kernel/arch", "x86_64\n"),
        (
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor sse\n\nprocessor\t: 1\nmodel name\t: x\n",
        ),
        (
            "proc/meminfo",
            "MemTotal:       24684092 kB\nSwapTotal:             0 kB\n",
        ),
        (
            "proc/pressure/cpu",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        ),
        (
            "proc/pressure/memory",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        ),
        (
            "proc/pressure/io",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        ),
        ("proc/sys/vm/dirty_ratio", "0\n"),
        ("proc/sys/vm/dirty_bytes", "1048576\n"),
        ("proc/sys/vm/dirty_background_ratio", "10\n"),
        ("proc/sys/vm/dirty_background_bytes", "0\n"),
        ("sys/devices/system/cpu/online", "0-3,5\n"),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "kvm-clock\n",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/shmem_enabled",
            "always within_size advise [never] deny force\n",
        ),
    ];

    #[test]
    fn a_machine_is_described() {
        let dir = root(&FILES);
        let facts = HostInfo::read(dir.path(), None);
        assert_eq!(facts.cpus, Some(5));
        assert_eq!(facts.memory, Some(24_684_092 << 10));
        assert_eq!(facts.no_pressure, None);
        assert_eq!(facts.sysctls.len(), 4);
        let page = units::format_bytes(page_size());
        assert_eq!(
            facts.summary_lines(),
            [
                "Linux 6.18.2 x86_64, 5 CPUs (AMD EPYC), virtual, clock kvm-clock",
                &format!(
                    "preemption dynamic, in force unknown, HZ {}, reporting of free memory unknown",
                    facts.hz.unwrap()
                ),
                &format!(
                    "memory 23.54 GiB, no swap, pages of {page}, huge pages madvise (shared never)"
                ),
                "dirty_bytes 1048576, dirty_background_ratio 10, dirty_expire_centisecs unknown, min_free_kbytes unknown",
            ]
        );
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<HostInfo>(&json).unwrap(), facts);
    }

    #[test]
    fn what_cannot_be_read_is_not_made_up() {
        let facts = HostInfo::read(root(&[]).path(), None);
        assert_eq!(
            (
                facts.kernel.as_ref(),
                facts.cpus,
                facts.memory,
                facts.hypervisor
            ),
            (None, None, None, None)
        );
        assert!(facts.sysctls.is_empty() && facts.no_pressure.is_some());
        assert!(
            facts
                .summary_lines()
                .iter()
                .any(|line| line.contains("no pressure figures: no /proc/pressure"))
        );
    }

    #[test]
    fn of_mount_options_those_that_cost_are_told() {
        let mut place = FileSystemInfo {
            file_system: Some("ext4".into()),
            options: ["rw", "relatime", "discard", "data=journal", "resuid=65534"]
                .map(String::from)
                .into(),
            ..FileSystemInfo::default()
        };
        assert_eq!(place.summary_lines(), ["on ext4 (discard,data=journal)"]);
        place.options.truncate(2);
        assert_eq!(place.summary_lines(), ["on ext4"]);
        place.journal = Some("none".into());
        assert_eq!(place.summary_lines(), ["on ext4, no journal"]);
        place.journal = Some("ordered".into());
        assert_eq!(place.summary_lines(), ["on ext4, journal ordered"]);
    }

    #[test]
    fn this_machine_and_its_disk_are_described() {
        let dir = tempfile::tempdir().unwrap();
        let facts = HostInfo::read(Path::new("/"), Some(dir.path()));
        let on = facts.on.unwrap();
        assert!(facts.kernel.is_some() && facts.cpus.is_some() && facts.memory.is_some());
        assert!(on.file_system.is_some() && !on.options.is_empty());
        assert!(on.free <= on.size);
    }
}
