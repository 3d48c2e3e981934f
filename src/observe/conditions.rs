//! What a machine does besides a measurement: CPU time stolen by the hypervisor, load, and what the disk moves.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::kernel_file::{path_below, read_optional};

/// Bytes of a sector in /proc/diskstats and in `stat` of sysfs, whatever the disk's own are
/// (Documentation/block/stat.rst).
const SECTOR_BYTES: u64 = 512;

/// Places of the sectors read and written in `stat` of a disk.
const SECTORS_READ: usize = 2;
const SECTORS_WRITTEN: usize = 6;

/// Places of idle, waiting and stolen time in the first line of /proc/stat, after its name (proc_stat(5)).
const IDLE: usize = 3;
const IOWAIT: usize = 4;
const STEAL: usize = 7;

/// Counters of the machine at one moment. Those that cannot be read are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ConditionCounters {
    cpu: Option<CpuTicks>,
    disk_read: Option<u64>,
    disk_written: Option<u64>,
    load: Option<f64>,
}

/// Ticks of CPU time of all CPUs since boot.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CpuTicks {
    all: u64,
    idle: u64,
    stolen: u64,
}

/// What the machine did in one span. What could not be read is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SpanConditions {
    /// The share of the time of all CPUs that the hypervisor gave to others. Ticks of 10 ms are counted, so that a span
    /// shorter than a second is not measured finely.
    pub steal: Option<f64>,
    /// The share of the time of all CPUs in which they were busy, the tool and the probers included.
    pub busy: Option<f64>,
    /// The load average of the last minute at the end of the span.
    pub load: Option<f64>,
    /// Bytes that the disk read.
    pub disk_read: Option<u64>,
    /// Bytes that the disk wrote.
    pub disk_written: Option<u64>,
}

impl ConditionCounters {
    /// Reads the counters of the machine of `root`, and of `disk` if it is known.
    #[must_use]
    pub fn read(root: &Path, disk: Option<&Disk>) -> Self {
        let stat = fs::read_to_string(path_below(root, "proc/stat")).unwrap_or_default();
        let load = read_optional(root, "proc/loadavg");
        let sectors = disk.and_then(|disk| {
            let name = format!("sys/dev/block/{}/stat", disk.device_numbers);
            read_optional(root, name)
        });
        let bytes = |place| {
            let field = sectors.as_ref()?.split_whitespace().nth(place)?;
            Some(field.parse::<u64>().ok()? * SECTOR_BYTES)
        };
        Self {
            cpu: CpuTicks::parse(&stat),
            disk_read: bytes(SECTORS_READ),
            disk_written: bytes(SECTORS_WRITTEN),
            load: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }

    /// Returns what happened since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> SpanConditions {
        let difference = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        let ticks = self.cpu.zip(earlier.cpu);
        let share = |of: fn(&CpuTicks) -> u64| {
            let (now, then) = ticks?;
            let all = now.all.saturating_sub(then.all);
            (all > 0).then(|| of(&now).saturating_sub(of(&then)) as f64 / all as f64)
        };
        SpanConditions {
            steal: share(|ticks| ticks.stolen),
            busy: share(|ticks| ticks.idle).map(|idle| 1.0 - idle),
            load: self.load,
            disk_read: difference(self.disk_read, earlier.disk_read),
            disk_written: difference(self.disk_written, earlier.disk_written),
        }
    }
}

impl SpanConditions {
    /// Returns the bytes that the disk moved, or `None` if the disk is not known.
    #[must_use]
    pub fn disk_bytes(&self) -> Option<u64> {
        Some(self.disk_read? + self.disk_written?)
    }
}

impl CpuTicks {
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks = fields.split_whitespace().map(str::parse);
        // The guests' time that follows is part of the user time.
        let ticks: Vec<u64> = ticks.take(STEAL + 1).collect::<Result<_, _>>().ok()?;
        Some(Self {
            all: ticks.iter().sum(),
            idle: ticks.get(IDLE)? + ticks.get(IOWAIT)?,
            stolen: *ticks.get(STEAL)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_difference_of_two_readings() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let disk = Disk {
            device_numbers: "8:0".into(),
            name: "sda".into(),
            partition: None,
            file_system: "ext4".into(),
        };
        let read = || ConditionCounters::read(dir.path(), Some(&disk));
        assert_eq!(read(), ConditionCounters::default());
        write("proc/stat", "cpu  10 0 10 70 10 0 0 0 9 0\ncpu0 1\n");
        write("proc/loadavg", "0.50 0.40 0.30 1/99 1234\n");
        write("sys/dev/block/8:0/stat", " 1 0 100 0 2 0 200 0 0 0 0\n");
        let before = read();
        write("proc/stat", "cpu  30 0 20 110 20 0 0 20 9 0\n");
        write("sys/dev/block/8:0/stat", " 1 0 101 0 2 0 204 0 0 0 0\n");
        let span = read().since(&before);
        assert_eq!((span.steal, span.busy), (Some(0.2), Some(0.5)));
        assert_eq!((span.disk_read, span.disk_written), (Some(512), Some(2048)));
        assert_eq!((span.load, span.disk_bytes()), (Some(0.5), Some(2560)));
        assert_eq!(read().since(&read()).steal, None);
    }
}
