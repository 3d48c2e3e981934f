//! Describes how the data of one file was copied, in the three terms that GNU cp prints since 9.3.
//!
//! cp has few ways to copy and this program many, so each term is defined here for the engines that cp does not have.
//! If no value of cp applies, the value is `unknown` or `avoided`.

use std::collections::BTreeMap;

use super::capabilities::{SourceInfo, SourceKind};
use super::engine::{COPY_FILE_RANGE, EngineSpec, REFLINK};
use super::extent_scanner::ScanMethod;
use super::plan::{Reflink, Sparse, TransferOptions};

/// Whether copy_file_range(2) copied the data: the only call that cp counts as offloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offload {
    /// No byte was copied: the file is empty, only a hole or shared, or the copy failed before.
    #[default]
    Unknown,
    /// copy_file_range(2) copied at least one byte.
    Yes,
    /// Another engine copied the bytes, and copy_file_range(2) was not called, because it would use the page cache.
    Avoided,
    /// copy_file_range(2) was called and refused, and another engine copied the bytes, or none.
    Unsupported,
}

/// Whether the destination shares the blocks of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReflinkUse {
    /// The copy failed before this was decided.
    #[default]
    Unknown,
    /// The options say `--reflink=never`, or `--sparse=never`, which implies it.
    No,
    /// All blocks are shared with the source.
    Yes,
    /// The option `--engine` asks for an engine that copies bytes.
    Avoided,
    /// FICLONE was refused, or is known to be impossible for these two files: they are on two file systems, in memory,
    /// or on a file system that cannot share blocks.
    Unsupported,
}

/// How the holes of the source were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SparseDetection {
    /// Holes were not searched: the blocks are shared, or the copy failed before. It is also used for ramfs, whose
    /// holes mincore(2) finds, since cp has no term for that.
    #[default]
    Unknown,
    /// Every byte was treated as data.
    No,
    /// Blocks of zeros were searched in the data.
    Zeros,
    /// The file system was asked with SEEK_DATA and SEEK_HOLE, on tmpfs also with cachestat(2) or mincore(2).
    SeekHole,
    /// The file system was asked, and blocks of zeros were searched.
    SeekHoleAndZeros,
}

/// How the data of one file was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyMethod {
    /// Whether copy_file_range(2) copied the data.
    pub offload: Offload,
    /// Whether blocks are shared with the source.
    pub reflink: ReflinkUse,
    /// How the holes were found.
    pub sparse: SparseDetection,
}

impl CopyMethod {
    /// Returns what is known before a file is examined: only what the options exclude.
    #[must_use]
    pub fn before(options: &TransferOptions) -> Self {
        Self {
            reflink: match options.reflink {
                Reflink::Never => ReflinkUse::No,
                Reflink::Auto | Reflink::Always => ReflinkUse::Unknown,
            },
            ..Self::default()
        }
    }

    /// Records whether blocks were shared.
    pub(super) fn note_reflink(&mut self, shared: bool, options: &TransferOptions) {
        self.reflink = match (options.reflink, options.engine) {
            _ if shared => ReflinkUse::Yes,
            (Reflink::Never, _) => ReflinkUse::No,
            (_, Some(only)) if only != REFLINK => ReflinkUse::Avoided,
            _ => ReflinkUse::Unsupported,
        };
    }

    /// Records how holes were found: by `finder`, and in the data if the options ask for it.
    pub(super) fn note_detection(
        &mut self,
        source: &SourceInfo,
        finder: ScanMethod,
        options: &TransferOptions,
        regular: bool,
    ) {
        let zeros = options.sparse == Sparse::Always && regular;
        // A stream has no holes to query, and an empty file has no data.
        let finder = if source.kind == SourceKind::Stream {
            ScanMethod::Everything
        } else {
            finder
        };
        self.sparse = match (finder, zeros) {
            _ if source.kind != SourceKind::Stream && source.size == 0 => SparseDetection::No,
            (ScanMethod::Seek | ScanMethod::Tmpfs(_), true) => SparseDetection::SeekHoleAndZeros,
            (ScanMethod::Seek | ScanMethod::Tmpfs(_), false) => SparseDetection::SeekHole,
            (ScanMethod::Ramfs(_), false) => SparseDetection::Unknown,
            (ScanMethod::Ramfs(_) | ScanMethod::Everything, true) => SparseDetection::Zeros,
            (ScanMethod::Everything, false) => SparseDetection::No,
        };
    }

    /// Records which engines moved bytes, and whether copy_file_range(2) was refused: then it was planned, and is no
    /// longer left.
    pub(super) fn note_moved(
        &mut self,
        moved: &BTreeMap<&'static str, u64>,
        planned: &[&'static EngineSpec],
        left: &[&'static EngineSpec],
    ) {
        let by_call = moved.get(COPY_FILE_RANGE.name).is_some_and(|n| *n > 0);
        let refused = planned.contains(&COPY_FILE_RANGE) && !left.contains(&COPY_FILE_RANGE);
        self.offload = if by_call {
            Offload::Yes
        } else if refused {
            Offload::Unsupported
        } else if moved.values().any(|n| *n > 0) {
            Offload::Avoided
        } else {
            Offload::Unknown
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine::{BUFFERED, find};
    use super::*;

    #[test]
    fn offload_is_copy_file_range_and_nothing_else() {
        let (cfr, sendfile) = (COPY_FILE_RANGE, find("sendfile").unwrap());
        type Moved = (&'static str, u64);
        let cases: [(&[Moved], &[&EngineSpec], Offload); 6] = [
            (&[(cfr.name, 1)], &[cfr, BUFFERED], Offload::Yes),
            // The call moved bytes before it was refused.
            (
                &[(cfr.name, 1), (BUFFERED.name, 9)],
                &[BUFFERED],
                Offload::Yes,
            ),
            (&[(BUFFERED.name, 9)], &[BUFFERED], Offload::Unsupported),
            (&[], &[BUFFERED], Offload::Unsupported),
            (&[(sendfile.name, 9)], &[sendfile, cfr], Offload::Avoided),
            (&[], &[cfr, BUFFERED], Offload::Unknown),
        ];
        for (moved, left, want) in cases {
            let mut method = CopyMethod::default();
            let moved = moved.iter().copied().collect();
            method.note_moved(&moved, &[sendfile, cfr, BUFFERED], left);
            assert_eq!(method.offload, want, "{moved:?} {left:?}");
        }
    }

    #[test]
    fn reflink_says_who_decided() {
        let options = |reflink, engine| TransferOptions {
            reflink,
            engine,
            ..TransferOptions::default()
        };
        for (shared, options, want) in [
            (true, options(Reflink::Auto, None), ReflinkUse::Yes),
            (false, options(Reflink::Auto, None), ReflinkUse::Unsupported),
            (
                false,
                options(Reflink::Always, None),
                ReflinkUse::Unsupported,
            ),
            (false, options(Reflink::Never, None), ReflinkUse::No),
            (
                false,
                options(Reflink::Auto, Some(BUFFERED)),
                ReflinkUse::Avoided,
            ),
            (
                false,
                options(Reflink::Auto, Some(REFLINK)),
                ReflinkUse::Unsupported,
            ),
        ] {
            let mut method = CopyMethod::before(&options);
            method.note_reflink(shared, &options);
            assert_eq!(method.reflink, want, "{options:?}");
        }
    }
}
