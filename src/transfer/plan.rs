//! What can be done with this pair of files, and for each thing that cannot, why.

use super::capabilities::Direct;
use super::copy_job::CopyJob;
use super::dest_writer::WriteMode;
use super::engine::{BUFFERED, DONTCACHE, ENGINES, EngineSpec};
use super::engine_trial;
use super::event::{Event, PlanSummary, Refusal};

/// May the page cache be used: cp's WHEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectPolicy {
    /// Only where O_DIRECT cannot be had.
    #[default]
    Auto,
    /// Never: fail instead.
    Always,
    /// Rows that write with O_DIRECT are skipped.
    Never,
}

/// What becomes of holes: cp's WHEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sparse {
    /// Holes stay holes.
    #[default]
    Auto,
    /// Blocks of zeros become holes, too.
    Always,
    /// Holes are written as zeros.
    Never,
}

/// May the destination share the blocks of the source: cp's WHEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reflink {
    /// Never.
    Never,
    /// Where the file system can.
    #[default]
    Auto,
    /// Always: fail instead of copying.
    Always,
}

/// What the caller asks of a transfer.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransferOptions {
    /// This row only.
    pub engine: Option<&'static EngineSpec>,
    /// May the page cache be used.
    pub direct: DirectPolicy,
    /// What becomes of holes.
    pub sparse: Sparse,
    /// May blocks be shared.
    pub reflink: Reflink,
    /// Bytes a call, instead of the row's own; for benches and tests.
    pub chunk: Option<usize>,
    /// Whether a small file is waited for as well: what fails later would be cut off under a name it has by then.
    pub wait_for_writeback: bool,
}

/// The decisions for one pair of files.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The two files.
    pub(super) job: &'a CopyJob<'a>,
    /// The rows that fit, the first to be tried first.
    pub rows: Vec<&'static EngineSpec>,
    /// The others.
    pub refused: Vec<Refusal>,
    /// Whether `mmap` and `splice` shall be measured against each other.
    pub measure: bool,
    /// As asked.
    pub options: TransferOptions,
}

impl<'a> Plan<'a> {
    /// Sorts the rows for these files.
    #[must_use]
    pub(super) fn of(files: &'a CopyJob<'a>, options: TransferOptions) -> Self {
        let source = &files.source_info;
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        let all = ENGINES
            .iter()
            .copied()
            .chain(options.engine.filter(|row| !ENGINES.contains(row)));
        for row in all {
            match wanted(row, &options).and_then(|()| possible(row, files, &options)) {
                Ok(()) => rows.push(row),
                Err(why) => refused.push(Refusal {
                    engine: row.name,
                    why,
                }),
            }
        }
        let pair = rows
            .iter()
            .filter(|r| matches!(r.name, "mmap" | "splice"))
            .count()
            == 2;
        let measure = pair && source.data >= engine_trial::MIN_TRIAL_FILE_BYTES;
        if pair && !measure && source.block < engine_trial::HUGE {
            rows[..2].reverse();
        }
        Self {
            job: files,
            rows,
            refused,
            measure,
            options,
        }
    }

    /// Narrows the plan to the rows that serve a small file: `row`, and the page cache behind it. All others are dearer.
    #[must_use]
    pub(super) fn for_small_file(mut self, row: &'static EngineSpec) -> Self {
        let planned = std::mem::replace(&mut self.rows, small_file_rows(row));
        for other in planned {
            if self.rows.contains(&other) {
                continue;
            }
            let why = if other == DONTCACHE {
                "was refused on this mount before, or nothing is to be flushed there"
            } else {
                "dearer than the page cache for so small a file"
            };
            self.refused.push(Refusal {
                engine: other.name,
                why: why.into(),
            });
        }
        self.measure = false;
        self
    }

    /// Makes the same plan without a reason for each refusal: where nobody listens, they are not looked for.
    #[must_use]
    pub(super) fn unexplained(
        files: &'a CopyJob<'a>,
        options: TransferOptions,
        row: &'static EngineSpec,
    ) -> Self {
        Self {
            job: files,
            rows: small_file_rows(row),
            refused: Vec::new(),
            measure: false,
            options,
        }
    }

    /// The event that tells of it.
    #[must_use]
    pub fn event(&self, unreserved: Option<String>) -> Event {
        Event::Plan(PlanSummary {
            size: self.job.source_info.size,
            data: self.job.source_info.data,
            engine: self.rows.first().map(|row| row.name),
            direct: match self.job.dest_caps.direct {
                Direct::Genuine => "genuine",
                Direct::Unproven => "unproven",
                Direct::No(_) => "no",
            },
            mem_align: self.job.dest_caps.align.mem,
            offset_align: self.job.dest_caps.align.offset,
            refused: self.refused.clone(),
            unreserved,
        })
    }

    /// Why nothing can be done, when no row is left: what speaks against the engine asked for, or against O_DIRECT.
    #[must_use]
    pub fn why_not(&self) -> String {
        let engine = self.options.engine.map_or("direct", |row| row.name);
        let refusal = self.refused.iter().find(|r| r.engine == engine);
        refusal.map_or_else(|| "no engine fits".into(), |r| r.why.clone())
    }
}

/// Returns the rows of a small file: `row`, and the page cache behind it.
fn small_file_rows(row: &'static EngineSpec) -> Vec<&'static EngineSpec> {
    if row == BUFFERED {
        vec![row]
    } else {
        vec![row, BUFFERED]
    }
}

fn wanted(row: &EngineSpec, options: &TransferOptions) -> Result<(), String> {
    if options.engine.is_some_and(|only| only != row) {
        return Err("not the engine asked for".into());
    }
    match (options.reflink, row.write_mode) {
        (Reflink::Never, WriteMode::Shared) => return Err("sharing blocks is not wanted".into()),
        (Reflink::Always, leaving) if leaving != WriteMode::Shared => {
            return Err("blocks shall be shared, not copied".into());
        }
        _ => {}
    }
    match (options.direct, row.write_mode) {
        (DirectPolicy::Never, WriteMode::Direct) => {
            Err("writes with O_DIRECT, which is not wanted".into())
        }
        (DirectPolicy::Always, WriteMode::DontCache | WriteMode::Cached) => {
            Err("uses the page cache, which is not allowed".into())
        }
        _ => Ok(()),
    }
}

fn possible(
    row: &EngineSpec,
    files: &CopyJob<'_>,
    options: &TransferOptions,
) -> Result<(), String> {
    let (source, dest) = (&files.source_info, &files.dest_caps);
    if row.write_mode == WriteMode::Shared {
        if let Some(why) = &files.reflink_refusal {
            return Err(why.clone());
        }
        if options.reflink == Reflink::Always {
            // Whoever wants nothing else is told what the kernel says.
            return Ok(());
        }
    }
    if let (WriteMode::Direct, Direct::No(why)) = (row.write_mode, &dest.direct) {
        return Err(why.clone());
    }
    row.fits(source, dest)
}

/// Whether this row is wanted for these files, and fits.
pub(super) fn serves(row: &EngineSpec, files: &CopyJob<'_>, options: &TransferOptions) -> bool {
    wanted(row, options).is_ok() && possible(row, files, options).is_ok()
}
