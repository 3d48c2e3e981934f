//! Compares the readers with the texts of several kernels, and with texts that lack lines.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::slab::MAX_CACHES;
use super::{Metric, MetricKind, MetricValues, ProcReader, SlabReader};

/// The texts of Linux 5.10: no zones of a device, no `cpu full`.
const OLD: [(&str, &str); 5] = [
    (
        "meminfo",
        "MemTotal:       16384000 kB\nMemFree:         8192000 kB\nMemAvailable:   12000000 kB\nBuffers:          100000 kB\n\
         Cached:          4000000 kB\nSwapCached:            0 kB\nDirty:               300 kB\nWriteback:            12 kB\n\
         Shmem:              4096 kB\nKReclaimable:     200000 kB\nSlab:             300000 kB\nSReclaimable:     200000 kB\n\
         SUnreclaim:       100000 kB\nKernelStack:        8000 kB\nPageTables:        16000 kB\nWritebackTmp:          7 kB\n\
         HugePages_Total:       0\n",
    ),
    (
        "vmstat",
        "nr_free_pages 2048000\nallocstall_dma 1\nallocstall_dma32 2\nallocstall_normal 30\nallocstall_movable 400\n\
         pgscan_kswapd 9\npgscan_direct 5000\npgscan_direct_throttle 7\noom_kill 3\ncompact_stall 11\n",
    ),
    (
        "pressure/cpu",
        "some avg10=0.31 avg60=0.52 avg300=0.61 total=525828350\n",
    ),
    (
        "pressure/memory",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=71\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=61\n",
    ),
    (
        "pressure/io",
        "some avg10=0.39 avg60=0.76 avg300=0.70 total=554123663\nfull avg10=0.38 avg60=0.74 avg300=0.62 total=477422361\n",
    ),
];

/// The texts of Linux 6.18: meminfo has new lines between those that are read, and `cpu full` is always 0.
const NEW: [(&str, &str); 3] = [
    (
        "meminfo",
        "MemTotal:       24684092 kB\nMemFree:        23742980 kB\nMemAvailable:   24232128 kB\nCached:           652568 kB\n\
         Zswap:                 0 kB\nZswapped:              0 kB\nDirty:             28924 kB\nWriteback:             0 kB\n\
         Shmem:              8856 kB\nKReclaimable:     158008 kB\nSlab:             186968 kB\nSReclaimable:     158008 kB\n\
         SUnreclaim:        28960 kB\nKernelStack:        1400 kB\nPageTables:         1704 kB\nSecPageTables:         0 kB\n\
         Balloon:               0 kB\n",
    ),
    (
        "vmstat",
        "allocstall_dma 0\nallocstall_normal 5\nallocstall_device 1\npgscan_kswapd 1\npgscan_direct 2\npgscan_khugepaged 4\n\
         pgscan_proactive 8\npgscan_direct_throttle 16\npgscan_anon 0\noom_kill 0\ncompact_stall 0\n",
    ),
    (
        "pressure/cpu",
        "some avg10=0.31 avg60=0.52 avg300=0.61 total=1000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ),
];

/// The text of Linux 4.4: one `allocstall`, pgscan_direct by zone, no oom_kill, no PSI.
const ANCIENT: &str = "pgscan_direct_dma 1\npgscan_direct_dma32 20\npgscan_direct_normal 300\npgscan_direct_movable 4000\n\
     pgscan_direct_throttle 50000\nallocstall 17\ncompact_stall 2\n";

fn root(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join("proc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn read(root: &Path) -> MetricValues {
    ProcReader::open(root).unwrap().read()
}

fn get(values: &MetricValues, fields: &[Metric]) -> Vec<Option<u64>> {
    fields.iter().map(|field| values[*field as usize]).collect()
}

#[test]
fn fields_are_in_order() {
    for (n, field) in Metric::ALL.into_iter().enumerate() {
        assert_eq!(field as usize, n);
    }
    assert_eq!(Metric::PageTables.kind(), MetricKind::Gauge);
    assert_eq!(Metric::AllocStall.kind(), MetricKind::Counter);
    assert_eq!(Metric::OomKill.kind(), MetricKind::Counter);
    assert_eq!(Metric::CpuSome.kind(), MetricKind::Stall);
}

#[test]
fn a_kernel_of_5_10_is_read() {
    use Metric::*;
    let values = read(root(&OLD).path());
    let kib = [
        8_192_000, 12_000_000, 4_000_000, 300, 12, 4096, 200_000, 100_000, 8000, 16_000,
    ];
    let gauges = &Metric::ALL[..kib.len()];
    assert_eq!(get(&values, gauges), kib.map(|k| Some(k * 1024)));
    assert_eq!(
        get(&values, &[AllocStall, PgscanDirect, CompactStall, OomKill]),
        [Some(433), Some(5000), Some(11), Some(3)]
    );
    assert_eq!(
        get(
            &values,
            &[CpuSome, CpuFull, MemorySome, MemoryFull, IoSome, IoFull]
        ),
        [
            Some(525_828_350),
            None,
            Some(71),
            Some(61),
            Some(554_123_663),
            Some(477_422_361)
        ]
    );
}

#[test]
fn a_kernel_of_6_18_is_read() {
    use Metric::*;
    let mut files = NEW.to_vec();
    files.extend_from_slice(&OLD[3..]);
    let values = read(root(&files).path());
    assert_eq!(
        get(
            &values,
            &[MemFree, Dirty, Writeback, AllocStall, PgscanDirect]
        ),
        [
            Some(23_742_980 << 10),
            Some(28_924 << 10),
            Some(0),
            Some(6),
            Some(2)
        ]
    );
    assert_eq!(get(&values, &[CpuSome, CpuFull]), [Some(1000), Some(0)]);
    assert!(values.iter().all(Option::is_some));
}

#[test]
fn what_a_kernel_lacks_is_not_0() {
    use Metric::*;
    let meminfo = OLD[0].1.replace("MemAvailable:   12000000 kB\n", "");
    let meminfo = meminfo.replace("300 kB", "many kB");
    let dir = root(&[("meminfo", &meminfo), ("vmstat", ANCIENT)]);
    let mut reader = ProcReader::open(dir.path()).unwrap();
    let values = reader.read();
    assert_eq!(
        get(&values, &[MemFree, MemAvailable, Dirty, Shmem]),
        [Some(8_192_000 << 10), None, None, Some(4096 << 10)]
    );
    assert_eq!(
        get(&values, &[AllocStall, PgscanDirect, CompactStall, OomKill]),
        [Some(17), Some(4321), Some(2), None]
    );
    assert!(
        reader
            .check_psi()
            .unwrap_err()
            .to_string()
            .starts_with("no /proc/pressure")
    );
    assert!(
        Metric::ALL[CpuSome as usize..]
            .iter()
            .all(|f| values[*f as usize].is_none())
    );
}

#[test]
fn a_missing_file_is_named() {
    let dir = root(&OLD[..1]);
    let path = dir.path().join("proc/vmstat");
    assert_eq!(
        ProcReader::open(dir.path()).unwrap_err().to_string(),
        format!(
            "cannot read '{}': No such file or directory",
            path.display()
        )
    );
}

#[test]
fn each_reading_is_of_its_moment() {
    let dir = root(&OLD);
    let mut reader = ProcReader::open(dir.path()).unwrap();
    let before = reader.read();
    let meminfo = OLD[0]
        .1
        .replace("Dirty:               300 kB", "Dirty:            500000 kB");
    fs::write(dir.path().join("proc/meminfo"), meminfo).unwrap();
    let mut want = before;
    want[Metric::Dirty as usize] = Some(500_000 << 10);
    assert_eq!(reader.read(), want);
    fs::write(dir.path().join("proc/meminfo"), "").unwrap();
    assert_eq!(reader.read()[Metric::Dirty as usize], None);
}

#[test]
fn slabinfo_that_cannot_be_read_is_an_answer() {
    let dir = root(&OLD);
    // This cannot be read by root, either.
    fs::create_dir(dir.path().join("proc/slabinfo")).unwrap();
    let why = SlabReader::open(dir.path()).unwrap_err().to_string();
    assert!(
        why.starts_with("cannot read '") && why.ends_with("slabinfo': Is a directory"),
        "{why}"
    );
}

#[test]
fn slabinfo_is_read() {
    let dir = root(&[(
        "slabinfo",
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n\
         ext4_inode_cache   81000  81840   1176   27    8 : tunables    0    0    0 : slabdata   3031   3031      0\n\
         kmalloc-rcl-64       512    512     64   64    1 : tunables    0    0    0 : slabdata      8      8      0\n",
    )]);
    let mut reader = SlabReader::open(dir.path()).unwrap();
    let mut bytes = [0; MAX_CACHES];
    assert!(reader.read(&mut bytes));
    assert_eq!(bytes[..3], [81_840 * 1176, 512 * 64, 0]);
    assert!(reader.seen_caches().names()[1].starts_with(b"kmalloc-rcl-64\0"));
}
