//! Every kind of source onto every kind of destination: the right engine, the right bytes, and nothing left in memory.

use std::fs::{self, File};
use std::path::Path;

use mmapcp::sys::residency::resident_bytes;

use crate::support::ENGINES;

use super::Lab;
use super::program_run::{CopyOutcome, copy_arguments, mmapcp};
use super::source_dump::{DumpLayout, Origin, SourceDump, allocated_bytes, write_dense};
use super::test_filesystem::{FsKind, Mount};

const TOOLS: [&str; 5] = ["losetup", "mkfs.ext4", "mount", "umount", "xfs_io"];

/// Extent records, a padded tail and blocks cut off at the edges of the data may come on top of the data.
const ALLOCATION_SLACK_BYTES: u64 = 64 << 10;

macro_rules! destinations {
    ($($name:ident: $kind:ident,)*) => {
        $(#[test]
        fn $name() {
            every_source_onto(FsKind::$kind);
        })*
    };
}

destinations! {
    btrfs: Btrfs,
    btrfs_compressed: BtrfsCompressed,
    btrfs_nodatacow: BtrfsNodatacow,
    ext4: Ext4,
    ext4_journalled: Ext4Journalled,
    ext4_small_blocks: Ext4SmallBlocks,
    fuse: Fuse,
    overlay: Overlay,
    ramfs: Ramfs,
    tmpfs: Tmpfs,
    tmpfs_huge: TmpfsHuge,
    xfs: Xfs,
    xfs_big_sectors: XfsBigSectors,
}

/// Since 6.15 btrfs sends direct writes of checksummed files through the cache and drops it behind, now and then not all
/// of it: a few pages of one copy in fifty or so, and they stay. So this copy is made often.
#[test]
fn btrfs_leftovers() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 64) else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Btrfs, 384) else {
        return;
    };
    let (source, dest) = (memory.path("dump"), disk.path("copy"));
    let size = 32 << 20;
    write_dense(&File::create(&source).expect("create the dump"), 0..size).expect("write the dump");
    for engine in ["--engine=mmap", "--engine=splice", "--engine=direct"] {
        let left: Vec<u64> = (0..40)
            .map(|_| cached_after(engine, &source, &dest, size))
            .collect();
        assert!(
            left.iter().all(|bytes| *bytes == 0),
            "{engine} left {left:?} bytes cached"
        );
    }
}

/// Bytes of a new copy that are in the page cache.
fn cached_after(option: &str, source: &Path, dest: &Path, size: u64) -> u64 {
    let outcome = mmapcp(&copy_arguments(&[option], source, dest));
    assert_eq!(outcome.code, Some(0), "{option}: {outcome:?}");
    let file = File::open(dest).expect("open the copy");
    let cached = resident_bytes(&file, 0, size).expect("mincore");
    fs::remove_file(dest).expect("remove the copy");
    cached
}

fn every_source_onto(kind: FsKind) {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(disk) = lab.mount(kind, 384) else {
        return;
    };
    let Some(shelf) = SourceSet::make_or_skip(&lab, &disk) else {
        return;
    };
    let mut wrong = Vec::new();
    for dump in &shelf.dumps {
        let pair = MatrixCase { disk: &disk, dump };
        for (options, expected) in pair.trials() {
            if let Err(why) = pair.copy(&options, &expected) {
                wrong.push(format!(
                    "{:?} {:?} to {kind:?} {options:?}: {why}",
                    dump.origin, dump.shape
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The sources, and the mounts they lie on.
struct SourceSet {
    dumps: Vec<SourceDump>,
    _mounts: Vec<Mount>,
}

impl SourceSet {
    fn make_or_skip(lab: &Lab, disk: &Mount) -> Option<Self> {
        let mut shelf = Self {
            dumps: Vec::new(),
            _mounts: Vec::new(),
        };
        let kinds = [
            (FsKind::Ext4, Origin::Disk),
            (FsKind::Ramfs, Origin::Ramfs),
            (FsKind::Tmpfs, Origin::Tmpfs),
            (FsKind::TmpfsHuge, Origin::TmpfsHuge),
        ];
        for (kind, origin) in kinds {
            let mount = lab.mount(kind, 128)?;
            shelf.add(DumpLayout::ALL.map(|shape| SourceDump::in_dir(&mount.dir, origin, shape)));
            shelf._mounts.push(mount);
        }
        let mount = lab.mount(FsKind::Hugetlbfs, 64)?;
        shelf.add(
            [DumpLayout::HoleLast, DumpLayout::Whole]
                .map(|shape| SourceDump::in_hugetlbfs(&mount.dir, shape)),
        );
        shelf._mounts.push(mount);
        shelf.add(DumpLayout::ALL.map(SourceDump::in_memfd));
        shelf.add([SourceDump::in_dir(
            &disk.dir,
            Origin::Sibling,
            DumpLayout::DataLast,
        )]);
        Some(shelf)
    }

    fn add<const N: usize>(&mut self, dumps: [std::io::Result<SourceDump>; N]) {
        self.dumps
            .extend(dumps.map(|dump| dump.expect("write a dump")));
    }
}

/// What a trial has to end in.
#[derive(Debug)]
enum ExpectedOutcome {
    /// Exit 0, by one of these engines.
    By(Vec<&'static str>),
    /// Exit 1, with a message that holds each of these, and nothing left behind.
    Refused(Vec<&'static str>),
}

/// One source and one destination, and what the facts about both promise.
struct MatrixCase<'a> {
    disk: &'a Mount,
    dump: &'a SourceDump,
}

impl MatrixCase<'_> {
    fn trials(&self) -> Vec<(Vec<String>, ExpectedOutcome)> {
        let mut trials = vec![(vec![], ExpectedOutcome::By(self.auto()))];
        // Holes are the same to every option that follows; sparse hugetlbfs is a case of its own.
        if self.dump.shape == DumpLayout::HoleLast && self.dump.origin != Origin::Hugetlbfs {
            return trials;
        }
        let always = if self.direct_is_real() || self.shares() {
            ExpectedOutcome::By(self.auto())
        } else {
            ExpectedOutcome::Refused(vec!["--direct"])
        };
        trials.push((vec!["--direct=always".into()], always));
        trials.push((
            vec!["--direct=never".into()],
            ExpectedOutcome::By(if self.shares() {
                vec!["reflink"]
            } else {
                vec![self.cached()]
            }),
        ));
        for engine in ENGINES.into_iter().chain(["reflink"]) {
            let expected = if self.can(engine) {
                ExpectedOutcome::By(vec![engine])
            } else {
                ExpectedOutcome::Refused(vec![engine])
            };
            trials.push((vec![format!("--engine={engine}")], expected));
        }
        trials
    }

    /// Whether O_DIRECT really goes past the cache; FACTS.md has the measurements.
    fn direct_is_real(&self) -> bool {
        !matches!(
            self.disk.kind,
            FsKind::Ext4Journalled
                | FsKind::Fuse
                | FsKind::Ramfs
                | FsKind::Tmpfs
                | FsKind::TmpfsHuge
        )
    }

    /// Whether an uncached buffered write goes past the cache; data=journal accepts it and caches everything.
    fn dontcache_is_real(&self) -> bool {
        matches!(
            self.disk.kind,
            FsKind::Ext4 | FsKind::Ext4SmallBlocks | FsKind::Xfs | FsKind::XfsBigSectors
        )
    }

    /// Whether the destination can share the blocks of the source.
    fn shares(&self) -> bool {
        let can = matches!(
            self.disk.kind,
            FsKind::Btrfs
                | FsKind::BtrfsCompressed
                | FsKind::BtrfsNodatacow
                | FsKind::Xfs
                | FsKind::XfsBigSectors
        );
        can && self.dump.origin == Origin::Sibling
    }

    /// Whether the source's pages can be lent to the device: memory, all of it allocated or its holes known.
    fn lends_pages(&self) -> bool {
        match self.dump.origin {
            Origin::Disk | Origin::Sibling => false,
            // Touching an unallocated page would allocate it, and hugetlbfs tells no holes.
            Origin::Hugetlbfs => self.dump.shape == DumpLayout::Whole,
            Origin::Memfd | Origin::Ramfs | Origin::Tmpfs | Origin::TmpfsHuge => true,
        }
    }

    fn can(&self, engine: &str) -> bool {
        match engine {
            "mmap" => self.direct_is_real() && self.lends_pages(),
            "splice" => {
                self.direct_is_real() && self.lends_pages() && self.dump.origin != Origin::Hugetlbfs
            }
            "direct" => self.direct_is_real(),
            "dontcache" => self.dontcache_is_real(),
            "copy-file-range" => self.dump.origin == Origin::Sibling,
            "reflink" => self.shares(),
            "sendfile" => self.dump.origin != Origin::Hugetlbfs,
            _ => true,
        }
    }

    /// What `auto` may choose. A short file goes by its page size, a longer one by what was measured.
    fn auto(&self) -> Vec<&'static str> {
        match self.dump.origin {
            _ if self.shares() => vec!["reflink"],
            _ if !self.direct_is_real() => vec![self.cached()],
            Origin::Hugetlbfs if self.lends_pages() => vec!["mmap"],
            _ if self.lends_pages() => vec!["mmap", "splice"],
            _ => vec!["direct"],
        }
    }

    /// The gentlest row that goes through the page cache.
    fn cached(&self) -> &'static str {
        let rows = ["dontcache", "copy-file-range", "sendfile", "buffered"];
        rows.into_iter()
            .find(|row| self.can(row))
            .expect("buffered always can")
    }

    fn copy(&self, options: &[String], expected: &ExpectedOutcome) -> Result<(), String> {
        let dest = self.disk.path("copy");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let before = self.dump.allocated_bytes();
        let outcome = mmapcp(&copy_arguments(&options, &self.dump.path, &dest));
        let grown = self.dump.allocated_bytes().saturating_sub(before);
        let verdict = match expected {
            ExpectedOutcome::By(engines) => self.check_copy(&outcome, engines, &dest),
            ExpectedOutcome::Refused(parts) => check_refusal(&outcome, parts, &dest),
        };
        let _ = fs::remove_file(&dest);
        verdict?;
        ensure(grown == 0, || format!("the source took {grown} bytes more"))
    }

    fn check_copy(
        &self,
        outcome: &CopyOutcome,
        engines: &[&str],
        dest: &Path,
    ) -> Result<(), String> {
        ensure(outcome.code == Some(0), || {
            format!("exit {:?}: {}", outcome.code, outcome.stderr)
        })?;
        let engine = outcome.engine();
        ensure(engines.contains(&engine), || {
            format!(
                "engine {engine} instead of {engines:?}; plan {}",
                plan(outcome)
            )
        })?;
        // Measuring takes a stretch by each of the two; nothing else may move bytes.
        let measured = outcome.event("choice").is_some();
        let strangers: Vec<&str> = outcome
            .moving_engines()
            .into_iter()
            .filter(|mover| *mover != engine && !(measured && engines.contains(mover)))
            .collect();
        ensure(strangers.is_empty(), || {
            format!(
                "{strangers:?} moved bytes beside {engine}: {:?}",
                outcome.event("fallback")
            )
        })?;
        self.check_page_cache(dest)?;
        let copied = fs::read(dest).map_err(|why| why.to_string())?;
        ensure(copied == self.dump.bytes, || {
            describe_difference(&copied, &self.dump.bytes)
        })
    }

    /// Before anything reads the destination: no page of it is cached, and its holes are holes.
    fn check_page_cache(&self, dest: &Path) -> Result<(), String> {
        let huge = self.disk.kind == FsKind::TmpfsHuge;
        if !matches!(
            self.disk.kind,
            FsKind::Ramfs | FsKind::Tmpfs | FsKind::TmpfsHuge
        ) {
            let file = File::open(dest).map_err(|why| why.to_string())?;
            let size = self.dump.bytes.len() as u64;
            let cached = resident_bytes(&file, 0, size).map_err(|why| format!("mincore: {why}"))?;
            ensure(cached == 0, || {
                format!("{cached} bytes of the destination are cached")
            })?;
        }
        if !self.dump.reports_holes() || huge {
            return Ok(());
        }
        let (source, copy) = (self.dump.allocated_bytes(), allocated_bytes(dest));
        ensure(copy <= source + ALLOCATION_SLACK_BYTES, || {
            format!("{copy} bytes allocated for a source that takes {source}")
        })
    }
}

fn check_refusal(outcome: &CopyOutcome, parts: &[&str], dest: &Path) -> Result<(), String> {
    let said = &outcome.stderr;
    ensure(outcome.code == Some(1), || {
        format!(
            "exit {:?} instead of a refusal, by {:?}",
            outcome.code,
            outcome.moving_engines()
        )
    })?;
    ensure(!dest.exists(), || {
        format!("refused but a destination is left: {said}")
    })?;
    ensure(said.starts_with("mmapcp: "), || {
        format!("no message: {said:?}")
    })?;
    for part in parts {
        ensure(said.contains(part), || {
            format!("the message does not hold {part:?}: {said}")
        })?;
    }
    ensure(outcome.event("error").is_some(), || "no error event".into())
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn plan(outcome: &CopyOutcome) -> String {
    outcome
        .event("plan")
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn describe_difference(copied: &[u8], original: &[u8]) -> String {
    let at = copied.iter().zip(original).position(|(a, b)| a != b);
    format!(
        "bytes differ first at {at:?}; {} bytes copied of {}",
        copied.len(),
        original.len()
    )
}
