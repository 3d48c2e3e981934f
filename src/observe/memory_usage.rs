//! Where the memory of a machine is: what processes, files, shared memory and the kernel hold, and what no counter of
//! /proc/meminfo accounts for.

use std::path::Path;

use crate::observe::error::{ObserveError, cannot};
use crate::observe::kernel_file::path_below;
use crate::observe::memory::proc_file::{ProcFile, lines, parse_number, words};

macro_rules! fields {
    ($($field:ident),*) => {
        /// The fields of /proc/meminfo that are read, by the kernel's own names (proc_meminfo(5)).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        enum Field {
            $($field),*
        }

        /// The names of the fields, in the order of [`Field`].
        const FIELD_NAMES: [&str; FIELD_COUNT] = [$(stringify!($field)),*];
    };
}

fields! {
    MemTotal, MemFree, MemAvailable, Buffers, Cached, Dirty, Writeback, AnonPages, Shmem, KReclaimable, SReclaimable,
    SUnreclaim, KernelStack, PageTables, SecPageTables, VmallocUsed, Percpu, Hugetlb
}

const FIELD_COUNT: usize = Field::Hugetlb as usize + 1;

/// A part of the memory. The parts do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryPart {
    /// Memory of processes that belongs to no file (AnonPages).
    Processes,
    /// Files of tmpfs, System V and POSIX shared memory, and shared anonymous mappings (Shmem).
    SharedMemory,
    /// Cached files and block devices, dirty or not (Cached and Buffers, without Shmem).
    PageCache,
    /// Objects of the kernel, reclaimable or not (SReclaimable and SUnreclaim).
    Slab,
    /// Page tables of processes and of virtual machines (PageTables and SecPageTables).
    PageTables,
    /// Stacks of all threads in the kernel (KernelStack).
    KernelStacks,
    /// Other memory that the kernel accounts for: vmalloc without the stacks, which lie there, per-CPU memory, and
    /// reclaimable memory that is no slab.
    OtherKernel,
    /// Pages that are reserved for hugetlbfs (Hugetlb).
    HugePages,
    /// Memory that is not used (MemFree).
    Free,
}

impl MemoryPart {
    /// All parts, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Processes,
        Self::SharedMemory,
        Self::PageCache,
        Self::Slab,
        Self::PageTables,
        Self::KernelStacks,
        Self::OtherKernel,
        Self::HugePages,
        Self::Free,
    ];
}

/// The values of /proc/meminfo at one time, in bytes. Fields that a kernel does not have are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUsage([Option<u64>; FIELD_COUNT]);

impl MemoryUsage {
    fn parse(text: &[u8]) -> Self {
        let mut usage = Self::default();
        for line in lines(text) {
            let mut words = words(line);
            let name = words.next().and_then(|word| word.strip_suffix(b":"));
            let mut known = FIELD_NAMES.iter();
            let place = known.position(|known| name == Some(known.as_bytes()));
            if let (Some(place), Some(kilobytes)) = (place, words.next().and_then(parse_number)) {
                usage.0[place] = kilobytes.checked_mul(1024);
            }
        }
        usage
    }

    fn get(&self, field: Field) -> Option<u64> {
        self.0[field as usize]
    }

    /// Returns the value of a field that older kernels lack, or 0.
    fn or_zero(&self, field: Field) -> u64 {
        self.get(field).unwrap_or(0)
    }

    /// Returns the memory of the machine that the kernel manages (MemTotal).
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.get(Field::MemTotal)
    }

    /// Returns the kernel's estimate of the memory that programs can still get (MemAvailable).
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        self.get(Field::MemAvailable)
    }

    /// Returns the cached data that wait to be written (Dirty).
    #[must_use]
    pub fn dirty(&self) -> Option<u64> {
        self.get(Field::Dirty)
    }

    /// Returns the cached data that are being written (Writeback).
    #[must_use]
    pub fn writeback(&self) -> Option<u64> {
        self.get(Field::Writeback)
    }

    /// Returns the size of a part, or `None` if the kernel does not report it.
    #[must_use]
    pub fn part(&self, part: MemoryPart) -> Option<u64> {
        match part {
            MemoryPart::Processes => self.get(Field::AnonPages),
            MemoryPart::SharedMemory => self.get(Field::Shmem),
            MemoryPart::PageCache => {
                let files = self.get(Field::Cached)? + self.or_zero(Field::Buffers);
                Some(files.saturating_sub(self.or_zero(Field::Shmem)))
            }
            MemoryPart::Slab => Some(self.get(Field::SReclaimable)? + self.get(Field::SUnreclaim)?),
            MemoryPart::PageTables => {
                Some(self.get(Field::PageTables)? + self.or_zero(Field::SecPageTables))
            }
            MemoryPart::KernelStacks => self.get(Field::KernelStack),
            MemoryPart::OtherKernel => {
                let vmalloc = self.get(Field::VmallocUsed)?;
                let vmalloc = vmalloc.saturating_sub(self.or_zero(Field::KernelStack));
                let reclaimable = self.or_zero(Field::KReclaimable);
                let reclaimable = reclaimable.saturating_sub(self.or_zero(Field::SReclaimable));
                Some(vmalloc + self.or_zero(Field::Percpu) + reclaimable)
            }
            MemoryPart::HugePages => self.get(Field::Hugetlb),
            MemoryPart::Free => self.get(Field::MemFree),
        }
    }

    /// Returns the memory that is in no part: pages that drivers took, those of a hypervisor's balloon, and free pages that
    /// the CPUs keep for themselves. It is 0 if the parts are larger than the whole, since they are not read at one instant.
    #[must_use]
    pub fn unaccounted(&self) -> Option<u64> {
        let known = MemoryPart::ALL.iter().filter_map(|part| self.part(*part));
        Some(self.total()?.saturating_sub(known.sum()))
    }
}

/// Reads /proc/meminfo, which it keeps open. It does not allocate after [`open`](Self::open).
#[derive(Debug)]
pub struct MemoryUsageReader(ProcFile);

impl MemoryUsageReader {
    /// Opens the file below `root`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(root: &Path) -> Result<Self, ObserveError> {
        let path = path_below(root, "proc/meminfo");
        let file = ProcFile::open(&path).map_err(|e| cannot("read", &path, e))?;
        Ok(Self(file))
    }

    /// Reads all values now. They are all unknown if the file cannot be read this time.
    pub fn read(&mut self) -> MemoryUsage {
        self.0.read().map(MemoryUsage::parse).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{MemoryPart, MemoryUsage, MemoryUsageReader, Path};

    const TEXT: &str = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 300 kB\nDirty: 5 kB\nAnonPages: 200 kB\n\
                        Shmem: 250 kB\nKReclaimable: 45 kB\nSReclaimable: 40 kB\nSUnreclaim: 60 kB\nKernelStack: 8 kB\n\
                        PageTables: 7 kB\nVmallocUsed: 20 kB\nPercpu: 3 kB\nHugePages_Total: 5\n";

    #[test]
    fn parts_do_not_overlap_and_the_rest_is_unaccounted() {
        let usage = MemoryUsage::parse(TEXT.as_bytes());
        let parts = MemoryPart::ALL.map(|part| usage.part(part).map(|bytes| bytes / 1024));
        let want = [200, 250, 60, 100, 7, 8, 12 + 3 + 5];
        assert_eq!(parts[..7], want.map(Some));
        assert_eq!(parts[7..], [None, Some(100)]);
        let sum: u64 = want.iter().sum::<u64>() + 100;
        assert_eq!(usage.unaccounted(), Some((1000 - sum) * 1024));
        assert_eq!((usage.dirty(), usage.writeback()), (Some(5 * 1024), None));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let empty = MemoryUsage::parse(b"nonsense\nMemTotal: x kB\n");
        assert_eq!(empty, MemoryUsage::default());
        assert_eq!(empty.unaccounted(), None);
        assert!(MemoryUsageReader::open(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn the_parts_of_this_machine_fit_into_it() {
        let usage = MemoryUsageReader::open(Path::new("/")).unwrap().read();
        let total = usage.total().unwrap();
        let known = MemoryPart::ALL.iter().filter_map(|part| usage.part(*part));
        let known: u64 = known.sum();
        assert!(known > total / 2, "{known} of {total}");
        assert!(known < total + total / 8, "{known} of {total}");
    }
}
