//! Counts the requests of a disk that somebody waits for, as its `stat` in sysfs has them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::disk::{Disk, backing_disks};
use super::kernel_file::path_below;
use super::memory::proc_file::{ProcFile, words};
use crate::sys::cpu::blocks_read;
use crate::transfer::{RequestCounter, WaitedRequests};

/// Places of the completed reads and flushes in `stat` of a disk (Documentation/block/stat.rst). Flushes are counted since
/// Linux 5.5.
const READS: usize = 0;
const FLUSHES: usize = 15;

/// The counters of a disk, or of all disks below a mapped one.
#[derive(Debug)]
struct DiskRequests {
    stats: Vec<ProcFile>,
    /// Reads so far of all that others asked for, as far as that can be told.
    reads: u64,
    /// All reads, and the blocks that this process has read, at the last count.
    last: Option<(u64, u64)>,
}

/// Opens the counters of the disk below an open file. There are none where the file lies on no disk, or on several.
#[must_use]
pub fn open_request_counter(file: &File) -> Option<Box<dyn RequestCounter>> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let root = Path::new("/");
    let disk = Disk::of_path(root, &path).ok()?;
    DiskRequests::of_disk(root, &disk.device_numbers)
        .map(|requests| Box::new(requests) as Box<dyn RequestCounter>)
}

impl DiskRequests {
    fn of_disk(root: &Path, device_numbers: &str) -> Option<Self> {
        let dir = path_below(root, "/sys/dev/block").join(device_numbers);
        // A mapped device such as a volume counts neither its flushes nor the requests to other volumes of its disk.
        let disks = backing_disks(&dir.canonicalize().ok()?, 0);
        let stats = disks.iter().map(|dir| ProcFile::open(&dir.join("stat")));
        Some(Self {
            stats: stats.collect::<Result<_, _>>().ok()?,
            reads: 0,
            last: None,
        })
    }

    /// Returns the reads and flushes of all disks.
    fn sum(&mut self) -> Option<(u64, u64)> {
        let (mut reads, mut flushes) = (0, 0);
        for stat in &mut self.stats {
            let text = stat.read().ok()?;
            let field = |place| {
                let word = words(text).nth(place)?;
                std::str::from_utf8(word).ok()?.parse::<u64>().ok()
            };
            reads += field(READS)?;
            flushes += field(FLUSHES).unwrap_or(0);
        }
        Some((reads, flushes))
    }
}

impl RequestCounter for DiskRequests {
    fn count(&mut self) -> Option<WaitedRequests> {
        let (reads, flushes) = self.sum()?;
        let own = blocks_read();
        let (last_reads, last_own) = self.last.replace((reads, own)).unwrap_or((reads, own));
        // Whose reads they were cannot be told if this process has read, too.
        if own == last_own {
            self.reads += reads.saturating_sub(last_reads);
        }
        let reads = self.reads;
        Some(WaitedRequests { reads, flushes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_stat(root: &Path, disk: &str, stat: &str) {
        let dir = root.join("sys/dev/block").join(disk);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("stat"), stat).unwrap();
    }

    /// Returns the reads since the first count, and all flushes.
    fn count_of(first: &str, then: &str) -> Option<(u64, u64)> {
        let root = tempfile::tempdir().unwrap();
        write_stat(root.path(), "8:0", first);
        let mut requests = DiskRequests::of_disk(root.path(), "8:0")?;
        assert_eq!(requests.count()?.reads, 0);
        write_stat(root.path(), "8:0", then);
        // A test beside this one may have read from a disk meanwhile.
        requests.last = requests.last.map(|(reads, _)| (reads, blocks_read()));
        requests.count().map(|count| (count.reads, count.flushes))
    }

    const FIRST: &str = "   86854    13447 38288938    91321   133981    25846 42071464   156016        0    95760   \
        289657    51988       63 51730944    26554     8004    15764\n";

    #[test]
    fn reads_and_flushes_are_counted() {
        let then = FIRST.replace("86854", "86860").replace("8004", "8007");
        assert_eq!(count_of(FIRST, &then), Some((6, 8007)));
    }

    #[test]
    fn a_kernel_without_flushes_has_reads_and_nonsense_has_nothing() {
        let (first, then) = ("7 0 0 0 9 0 0 0 0 0 0\n", "9 0 0 0 9 0 0 0 0 0 0\n");
        assert_eq!(count_of(first, then), Some((2, 0)));
        assert_eq!(count_of("\n", "\n"), None);
    }

    #[test]
    fn a_volume_counts_what_its_disks_count() {
        let root = tempfile::tempdir().unwrap();
        let stat =
            |reads: u64, flushes: u64| format!("{reads} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {flushes} 0\n");
        write_stat(root.path(), "253:0", &stat(1, 0));
        write_stat(root.path(), "253:0/slaves/sda", &stat(50, 2));
        write_stat(root.path(), "253:0/slaves/sdb", &stat(60, 3));
        let mut requests = DiskRequests::of_disk(root.path(), "253:0").unwrap();
        assert_eq!(requests.sum(), Some((110, 5)));
    }
}
