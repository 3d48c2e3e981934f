//! Decides which engines can copy a pair of files, with a reason for each engine that cannot.

use super::capabilities::Direct;
use super::copy_job::CopyJob;
use super::dest_writer::WriteMode;
use super::digest::algorithm::DigestAlgorithm;
use super::engine::{self, BUFFERED, DONTCACHE, ENGINES, EngineSpec};
use super::engine_trial;
use super::event::{Event, PlanSummary, Refusal};
use super::room::limits::RoomLimits;
use super::shared_device::OpenRequestCounter;

/// Whether to write with O_DIRECT: the argument of `--direct`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectPolicy {
    /// If it is possible; otherwise the page cache is used.
    #[default]
    Auto,
    /// Always; the copy fails if that is not possible.
    Always,
    /// Never; engines that write with O_DIRECT are not used.
    Never,
}

/// How holes are treated: the argument of `--sparse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sparse {
    /// Holes of the source stay holes.
    #[default]
    Auto,
    /// Blocks of zeros become holes, too.
    Always,
    /// Holes are written as zeros.
    Never,
}

/// Whether the destination may share the blocks of the source: the argument of `--reflink`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reflink {
    /// Blocks are never shared with the source.
    Never,
    /// Blocks are shared if the file system can.
    #[default]
    Auto,
    /// Blocks must be shared, or the copy fails.
    Always,
}

/// What the caller asks of a transfer.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransferOptions {
    /// The only engine to use, if one was named.
    pub engine: Option<&'static EngineSpec>,
    /// Whether to write with O_DIRECT.
    pub direct: DirectPolicy,
    /// How holes of the source are treated.
    pub sparse: Sparse,
    /// Whether blocks may be shared.
    pub reflink: Reflink,
    /// Bytes of a call instead of the engine's own number; for benches and tests.
    pub chunk: Option<usize>,
    /// Bytes that may be on their way at once, if the user gave a number; otherwise it is measured.
    pub in_flight: Option<u64>,
    /// How others at the device of the destination are counted, to whom it is left to decide how many bytes may be on
    /// their way.
    pub count_requests: Option<OpenRequestCounter>,
    /// Whether to wait for the writeback of a small file as well. Otherwise a file that fails later would be truncated
    /// after it got its final name.
    pub wait_for_writeback: bool,
    /// Bytes from the start that the destination has already, on the disk; whole units. The copy goes on behind them.
    pub resume_at: u64,
    /// Whether the destination is brought to the disk from time to time while it is copied, and the listener is told.
    pub durable_points: bool,
    /// Whether the memory of the source is given back behind what is durable. Only with durable points.
    pub drain: bool,
    /// The digest of the source that is made, if one is wanted.
    pub digest: Option<DigestAlgorithm>,
    /// Whether the destination is read back and compared when it is complete.
    pub verify: bool,
    /// Whether a source is refused that another process can write to, or may be able to.
    pub require_quiescent: bool,
    /// The room that the file may take.
    pub room: RoomLimits,
}

impl TransferOptions {
    /// Returns whether anything is wanted of a file beyond the copy of its bytes: a digest, a comparison, or a source to
    /// which nobody writes.
    #[must_use]
    pub fn wants_assurance(&self) -> bool {
        self.digest.is_some() || self.verify || self.require_quiescent
    }
}

/// The decisions for one pair of files.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The two files of the copy.
    pub(super) job: &'a CopyJob<'a>,
    /// The engines that can copy these files, the first to be tried first.
    pub rows: Vec<&'static EngineSpec>,
    /// The other engines, with the reasons.
    pub refused: Vec<Refusal>,
    /// Whether `mmap` and `splice` shall be compared by a trial.
    pub measure: bool,
    /// The options that the caller gave.
    pub options: TransferOptions,
}

impl<'a> Plan<'a> {
    /// Divides the engines into those that can copy these files and those that cannot.
    #[must_use]
    pub(super) fn of(job: &'a CopyJob<'a>, options: TransferOptions) -> Self {
        let source_info = &job.source_info;
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        let all = ENGINES
            .iter()
            .copied()
            .chain(options.engine.filter(|row| !ENGINES.contains(row)));
        for row in all {
            match wanted(row, &options).and_then(|()| possible(row, job, &options)) {
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
        let measure = pair && source_info.data >= engine_trial::MIN_TRIAL_FILE_BYTES;
        if pair && !measure && source_info.block < engine_trial::HUGE {
            rows[..2].reverse();
        }
        Self {
            job,
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
                "was refused on this file system before, or data is not flushed there"
            } else {
                "costs more than the page cache for a file this small"
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
        job: &'a CopyJob<'a>,
        options: TransferOptions,
        row: &'static EngineSpec,
    ) -> Self {
        Self {
            job,
            rows: small_file_rows(row),
            refused: Vec::new(),
            measure: false,
            options,
        }
    }

    /// Returns the event that reports this plan.
    #[must_use]
    pub fn event(&self, unreserved: Option<String>) -> Event {
        Event::Plan(PlanSummary {
            size: self.job.source_info.known_size(),
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
            writers: self.job.known_writers(),
        })
    }

    /// Returns why no engine is left: what excludes the engine asked for, or O_DIRECT.
    #[must_use]
    pub fn why_not(&self) -> String {
        let engine = self.options.engine.map_or("direct", |row| row.name);
        let refusal = self.refused.iter().find(|r| r.engine == engine);
        refusal.map_or_else(|| "no engine can be used".into(), |r| r.why.clone())
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
        return Err("another engine was requested".into());
    }
    match (options.reflink, row.write_mode) {
        (Reflink::Never, WriteMode::Shared) => {
            return Err("sharing blocks was not requested".into());
        }
        (Reflink::Always, leaving) if leaving != WriteMode::Shared => {
            return Err("blocks must be shared, and not copied".into());
        }
        _ => {}
    }
    match (options.direct, row.write_mode) {
        (DirectPolicy::Never, WriteMode::Direct) => {
            Err("writes with O_DIRECT, which is switched off".into())
        }
        (DirectPolicy::Always, WriteMode::DontCache | WriteMode::Cached) => {
            Err("uses the page cache, which is not allowed".into())
        }
        _ => Ok(()),
    }
}

fn possible(row: &EngineSpec, job: &CopyJob<'_>, options: &TransferOptions) -> Result<(), String> {
    let (source_info, dest_caps) = (&job.source_info, &job.dest_caps);
    if row.write_mode == WriteMode::Shared {
        if let Some(why) = &job.reflink_refusal {
            return Err(why.clone());
        }
        if options.reflink == Reflink::Always {
            // If nothing else is wanted, the error of the kernel is reported.
            return Ok(());
        }
    }
    if let (WriteMode::Direct, Direct::No(why)) = (row.write_mode, &dest_caps.direct) {
        return Err(why.clone());
    }
    if row == engine::SPLICE && source_info.is_pipe && options.sparse == Sparse::Always {
        return Err("blocks of zeros are looked for, so the bytes are read".into());
    }
    if row == engine::SPLICE && source_info.is_pipe && options.digest.is_some() {
        return Err("a digest is made of the bytes, so they are read".into());
    }
    row.fits(source_info, dest_caps)
}

/// Returns whether the options allow this engine, and it can copy these files.
pub(super) fn serves(row: &EngineSpec, job: &CopyJob<'_>, options: &TransferOptions) -> bool {
    wanted(row, options).is_ok() && possible(row, job, options).is_ok()
}
