//! The events of `--json` as they are written: one JSON object on one line, the interface that scripts depend on.
//!
//! The types here are separate from those that the program computes with, so that a change inside the program cannot change
//! the output by accident. `tests/golden/events.jsonl` fixes the output byte for byte, and `man/mmapcp-events.schema.json`
//! describes it for other programs.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use serde::Serialize;

use super::ReportedError;
use super::counters::{RunProgress, RunSummary, bytes_per_second};
use super::queue_state::{QueueMember, QueueNews};
use crate::transfer;
use crate::transfer::rate_limit::Bottleneck;
use crate::transfer::{Phase, ReadBack};

#[cfg(test)]
mod tests;

/// Version of the events. A field may be added under the same number; no field changes its meaning or its type.
const EVENT_VERSION: u32 = 1;

/// An event of `mmapcp --json`, one on each line. A reader should ignore fields and events that it does not know.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(title = "mmapcp event"))]
pub struct Line<'a> {
    /// Version of the events. It changes when a field changes its meaning or its type.
    #[cfg_attr(test, schemars(extend("const" = EVENT_VERSION)))]
    v: u32,
    /// The name of the event and its fields.
    #[serde(flatten)]
    event: Event<'a>,
}

/// An event by its name, which is the value of the field `event`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    /// The plan for one file, written before its first byte is copied.
    Plan(Plan<'a>),
    /// An engine failed during the copy of a file, and another one continues.
    Fallback(Fallback<'a>),
    /// The faster of two engines was found by measurement and copies the rest of the file.
    Choice(Choice<'a>),
    /// The number of pieces of a file that are on their way at once was found by measurement.
    Depth(Depth),
    /// Others began to read from or to sync to the device of the destination, or do so no more.
    Sharing(Sharing),
    /// The copy waits in a queue, has its turn there, or has given it up.
    Queue(Queue<'a>),
    /// A copy in a queue, written by `--queue-status` alone.
    Member(Member<'a>),
    /// The throttle holds the copy to a rate, or stops doing so: then all fields are null.
    Throttle(Throttle),
    /// How far the current file and the whole run are. At most one is written per second.
    Progress(Progress),
    /// A part of a file is on the disk, and an interrupted copy goes on there.
    Durable(Durable<'a>),
    /// Memory of a source was given back.
    Freed(Freed<'a>),
    /// One file was copied completely.
    Done(Done<'a>),
    /// The beginning of a file was kept in place of the whole.
    Cut(Cut<'a>),
    /// Something could not be copied, or not completely.
    Error(Error<'a>),
    /// The sums of the whole run, written at its end.
    Total(Total),
}

/// The paths of the source and the destination. A path that is not UTF-8 is given in hexadecimal instead, in the field whose
/// name ends in `_hex`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FilePaths<'a> {
    /// The source, as it was named on the command line or found below a directory named there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    source: Option<&'a str>,
    /// The bytes of the source path in hexadecimal, only if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    source_hex: Option<String>,
    /// The path of the destination of this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    destination: Option<&'a str>,
    /// The bytes of the destination path in hexadecimal, only if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    destination_hex: Option<String>,
}

/// The plan for one file, written before its first byte is copied.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Plan<'a> {
    #[serde(flatten)]
    paths: FilePaths<'a>,
    /// Size of the source in bytes; null for a stream, which is known at its end.
    size: Option<u64>,
    /// Bytes of the source that are allocated, which excludes its holes.
    data: u64,
    /// The engine that is tried first; null for an empty file.
    engine: Option<&'a str>,
    /// Whether O_DIRECT bypasses the page cache: `genuine`, `unproven` (the first write shows), or `no`.
    #[cfg_attr(test, schemars(extend("enum" = ["genuine", "unproven", "no"])))]
    direct: &'a str,
    /// Alignment in bytes that O_DIRECT needs of memory addresses.
    mem_align: u64,
    /// Alignment in bytes that O_DIRECT needs of file offsets and lengths.
    offset_align: u64,
    /// The engines that cannot copy this file, each with the reason.
    refused: Vec<Refusal<'a>>,
    /// Why space is not reserved before the data is written; null if it is reserved.
    unreserved: Option<&'a str>,
    /// Whether another process can write to the source, by a descriptor or a mapping: `none`, `possible` or `unknown`.
    #[cfg_attr(test, schemars(extend("enum" = ["none", "possible", "unknown"])))]
    writers: &'a str,
    /// Why `writers` is `unknown`; null if it is not.
    writers_why: Option<&'a str>,
}

/// An engine that cannot copy a file, and the reason.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusal<'a> {
    /// The name of the engine, as `--engine` accepts it.
    engine: &'a str,
    /// The missing capability or the option that excludes it, in words.
    why: &'a str,
}

/// An engine failed during the copy of a file, and another one continues.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fallback<'a> {
    /// The name of the engine that failed.
    from: &'a str,
    /// The name of the engine that continues.
    to: &'a str,
    /// The error that the first engine met, in words.
    why: &'a str,
    /// Offset in the file, in bytes, at which the second engine starts.
    at: u64,
}

/// The faster of two engines was found by measurement and copies the rest of the file.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Choice<'a> {
    /// The name of the engine that continues.
    engine: &'a str,
    /// What decided between the two, in words.
    why: &'a str,
    /// What each engine cost in its trial.
    tried: Vec<Trial<'a>>,
}

/// What one engine cost in its trial.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trial<'a> {
    /// The name of the engine that was tried.
    engine: &'a str,
    /// CPU time in seconds for 10^9 bytes.
    cpu_per_gb: f64,
    /// Wall time in seconds for 10^9 bytes.
    wall_per_gb: f64,
    /// CPU time in seconds of its longest system call.
    longest_call: f64,
}

/// The number of pieces of the file that are on their way at once was found by measurement.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Depth {
    /// Number of pieces on their way at once from now on.
    pieces: usize,
    /// Most bytes of one piece.
    piece_bytes: u64,
    /// The rates that were measured, the smallest number of pieces first.
    tried: Vec<DepthTrial>,
}

/// The rate that was measured with a number of pieces on their way at once.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DepthTrial {
    /// Number of pieces on their way at once.
    pieces: usize,
    /// Wall time in seconds for 10^9 bytes.
    wall_per_gb: f64,
}

/// Others began to read from or to sync to the device of the destination, or do so no more. Nothing is said of a device
/// that others never use.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sharing {
    /// Whether others use the device.
    shared: bool,
    /// Bytes of the file that may be on their way at once from now on.
    in_flight: u64,
}

/// The copy waits in a queue, has its turn there, or has given it up. Only with `--queue`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Queue<'a> {
    /// The name of the queue.
    queue: &'a str,
    /// What the copy does there: `waiting`, `copying`, or `left` if it goes on without a turn, since nothing moved.
    #[cfg_attr(test, schemars(extend("enum" = ["waiting", "copying", "left"])))]
    state: &'static str,
    /// The place in the queue from 1, which is that of the copy under way.
    place: usize,
    /// Number of copies in the queue.
    members: usize,
    /// Bytes that are to be copied before; null if a copy before does not know its size.
    ahead: Option<u64>,
    /// Seconds until the turn at the rate of the copy under way; null if that is not known.
    estimate: Option<f64>,
    /// Seconds that the copy has waited.
    waited: f64,
    /// Stricter limits of other copies in the queue that this one keeps, as options.
    adopted: &'a [String],
}

/// A copy in a queue. Only with `--queue-status`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Member<'a> {
    /// The name of the queue.
    queue: &'a str,
    /// The process that copies, in its own PID namespace.
    pid: u32,
    /// What the copy does there: `waiting` or `copying`.
    #[cfg_attr(test, schemars(extend("enum" = ["waiting", "copying"])))]
    state: &'static str,
    /// The place in the queue from 1, which is that of the copy under way.
    place: usize,
    /// The priority that `--queue-priority` gives.
    priority: i32,
    /// Bytes to copy; null if that is not known.
    size: Option<u64>,
    /// Bytes that are copied so far.
    copied: u64,
    /// Seconds that the copy has waited, or had waited when its turn came.
    waited: f64,
    /// Bytes per second of its `--limit-rate`; null if it has none.
    limit_rate: Option<u64>,
}

/// The throttle holds the copy to a rate, or stops doing so: then all fields are null. With the cause `deadline` the
/// limits yield, and the rate is the one that the copy is raised to.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Throttle {
    /// What holds the copy back, such as `limit-rate` or `fork-latency`.
    cause: Option<&'static str>,
    /// What was measured: bytes per second for the rate, seconds for a latency, percent for pressure.
    figure: Option<f64>,
    /// What is allowed, in the unit of `figure`; for the cause `deadline` the rate that it needs.
    target: Option<f64>,
    /// Bytes per second to which the copy is held; 0 if nothing may be copied yet, and null if nothing holds it.
    rate: Option<u64>,
}

/// How far the current file and the whole run are.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Progress {
    /// Bytes from the start of the current file, holes included, that the device has taken.
    copied: u64,
    /// Size of the current file in bytes; null for a stream.
    size: Option<u64>,
    /// What is being done with the current file: `copy` or `verify`.
    #[cfg_attr(test, schemars(extend("enum" = ["copy", "verify"])))]
    phase: &'static str,
    /// Bytes from the start of the current file that were read back and compared.
    verified: u64,
    /// Bytes of the current file per second since its phase was begun.
    rate: f64,
    /// Seconds since the current file was started.
    elapsed: f64,
    /// Files that are copied, skipped or failed so far.
    files_done: u64,
    /// Files in the whole run; null until they are counted.
    files: Option<u64>,
    /// Bytes of all finished files and of the current ones so far.
    bytes_done: u64,
    /// Bytes in the whole run; null until they are counted.
    bytes: Option<u64>,
    /// Bytes of memory of sources that were given back in the whole run so far.
    freed: u64,
}

/// A part of a file is on the disk, and an interrupted copy goes on there. Only with `--resume` and `--drain`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Durable<'a> {
    #[serde(flatten)]
    paths: FilePaths<'a>,
    /// Offset in the file, in bytes, up to which it is on the disk.
    at: u64,
}

/// Memory of a source was given back, since its bytes are on the disk of the destination. Only with `--drain`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Freed<'a> {
    #[serde(flatten)]
    paths: FilePaths<'a>,
    /// Bytes of memory that were given back since the last such event of this file.
    bytes: u64,
}

/// The beginning of a file was kept in place of the whole, for which there was no room or no time. Only with `--cut`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cut<'a> {
    #[serde(flatten)]
    paths: FilePaths<'a>,
    /// The file that has the beginning, and is on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    part: Option<&'a str>,
    /// The bytes of that path in hexadecimal, only if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    part_hex: Option<String>,
    /// The file that says what the other one has, in the format of GNU ddrescue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    map: Option<&'a str>,
    /// The bytes of that path in hexadecimal, only if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    map_hex: Option<String>,
    /// Bytes from the start of the source that were kept.
    at: u64,
    /// Size of the source in bytes; null for a stream.
    size: Option<u64>,
    /// Why it was cut: a limit by the name of its option, `no-space`, `quota`, or `deadline`.
    why: &'a str,
}

/// A file of which the beginning was kept.
#[derive(Debug, Clone, Copy)]
pub struct CutFile<'a> {
    /// The source and the destination.
    pub paths: (&'a Path, &'a Path),
    /// The file that has the beginning.
    pub part: &'a Path,
    /// The file that says what the other one has.
    pub map: &'a Path,
    /// Bytes from the start that were kept.
    pub at: u64,
    /// Size of the source in bytes; `None` for a stream.
    pub size: Option<u64>,
    /// The word for the reason.
    pub why: &'a str,
}

/// One file was copied completely.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Done<'a> {
    #[serde(flatten)]
    paths: FilePaths<'a>,
    /// Size of the destination in bytes.
    bytes: u64,
    /// Bytes that were moved or written, which excludes holes.
    data_bytes: u64,
    /// The engine that moved most bytes; null for an empty file.
    engine: Option<&'a str>,
    /// Bytes that each engine moved, by the name of the engine.
    engines: &'a BTreeMap<&'static str, u64>,
    /// Number of extents that were found in the source.
    extents: u64,
    /// Wall time in seconds that this file took.
    elapsed: f64,
    /// `bytes` divided by `elapsed`, in bytes per second.
    rate: f64,
    /// CPU time in seconds that this file took in user mode.
    cpu_user: f64,
    /// CPU time in seconds that this file took in the kernel.
    cpu_system: f64,
    /// Peak resident set size of the process so far, in bytes.
    max_rss: u64,
    /// Most bytes of the file that were on their way at once.
    in_flight: u64,
    /// Whether another process could write to the source, as asked before and after the copy: `none`, `possible` or
    /// `unknown`.
    #[cfg_attr(test, schemars(extend("enum" = ["none", "possible", "unknown"])))]
    writers: &'a str,
    /// Why `writers` is `unknown`; null if it is not.
    writers_why: Option<&'a str>,
    /// The digest of the source in hexadecimal; null if none was wanted.
    checksum: Option<&'a str>,
    /// The algorithm of the digest, `sha256` or `blake3`; null if none was wanted.
    #[cfg_attr(test, schemars(extend("enum" = ["sha256", "blake3", null])))]
    checksum_algorithm: Option<&'a str>,
    /// How the copy was read back and found equal to its source: `direct` (from the device) or `cached` (through the page
    /// cache); null if that was not wanted.
    #[cfg_attr(test, schemars(extend("enum" = ["direct", "cached", null])))]
    verified: Option<&'a str>,
    /// Why the copy was read back through the page cache; null if it was not.
    verified_why: Option<&'a str>,
}

/// Something could not be copied, or not completely. The paths are absent if the error belongs to no file.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Error<'a> {
    #[serde(flatten)]
    paths: Option<FilePaths<'a>>,
    /// The message as on standard error, without the name of the program.
    error: &'a str,
    #[serde(flatten)]
    cause: ErrorCause,
}

/// What failed, for a program to act on.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ErrorCause {
    /// The operation that failed, such as `write`; `copy` if nothing was attempted, `limit` if a limit cannot be kept.
    pub op: &'static str,
    /// The error number of the system call that failed; null if none failed.
    pub errno: Option<i32>,
    /// The name of the error number, such as ENOSPC; null if there is none.
    pub code: Option<String>,
}

impl ErrorCause {
    /// Returns what a program may know of an error.
    #[must_use]
    pub fn of(error: &dyn ReportedError) -> Self {
        let errno = error.errno();
        Self {
            op: error.operation(),
            errno,
            code: errno.and_then(errno_name),
        }
    }
}

/// Returns the name of an error number, such as ENOSPC.
fn errno_name(errno: i32) -> Option<String> {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => None,
        known => Some(format!("{known:?}")),
    }
}

/// The sums of the whole run, written at its end.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Total {
    /// Files that were copied, linked or made. Directories are not counted.
    files: u64,
    /// Bytes of all files that were copied.
    bytes: u64,
    /// Bytes of memory of sources that were given back.
    freed: u64,
    /// Number of directories that were made.
    directories: u64,
    /// Files that were skipped without an error.
    skipped: u64,
    /// Errors that were reported by `error` events.
    errors: u64,
    /// Files whose beginning was kept in place of the whole, which `cut` events reported.
    cut: u64,
    /// Wall time in seconds since the run was started.
    elapsed: f64,
    /// `bytes` divided by `elapsed`, in bytes per second.
    rate: f64,
}

impl<'a> Event<'a> {
    /// Converts an event of the transfer of `source` to `dest`. Returns `None` for a note, which is written for people only.
    #[must_use]
    pub fn of_file(event: &'a transfer::Event, source: &'a Path, dest: &'a Path) -> Option<Self> {
        use transfer::Event as Inner;
        let paths = || FilePaths::new(source, dest);
        match event {
            Inner::Plan(plan) => Some(Self::Plan(Plan::new(plan, paths()))),
            Inner::Fallback { from, to, why, at } => Some(Self::Fallback(Fallback {
                from,
                to,
                why,
                at: *at,
            })),
            Inner::Choice { engine, why, tried } => Some(Self::Choice(Choice {
                engine,
                why,
                tried: tried.iter().map(Trial::from).collect(),
            })),
            Inner::Depth(depth) => Some(Self::Depth(depth.into())),
            Inner::Sharing { is_shared, bytes } => Some(Self::Sharing(Sharing {
                shared: *is_shared,
                in_flight: *bytes,
            })),
            Inner::Note { .. } => None,
            Inner::Done(summary) => Some(Self::Done(Done::new(summary, paths()))),
        }
    }

    /// Makes the event of a file that is on the disk up to an offset.
    #[must_use]
    pub fn durable(source: &'a Path, dest: &'a Path, at: u64) -> Self {
        Self::Durable(Durable {
            paths: FilePaths::new(source, dest),
            at,
        })
    }

    /// Makes the event of memory of a source that was given back.
    #[must_use]
    pub fn freed(source: &'a Path, dest: &'a Path, bytes: u64) -> Self {
        Self::Freed(Freed {
            paths: FilePaths::new(source, dest),
            bytes,
        })
    }

    /// Makes the event of a file of which the beginning was kept.
    #[must_use]
    pub fn cut(cut: &CutFile<'a>) -> Self {
        Self::Cut(Cut {
            paths: FilePaths::new(cut.paths.0, cut.paths.1),
            part: cut.part.to_str(),
            part_hex: hex_unless_utf8(cut.part),
            map: cut.map.to_str(),
            map_hex: hex_unless_utf8(cut.map),
            at: cut.at,
            size: cut.size,
            why: cut.why,
        })
    }

    /// Makes the event of the error that ended the copy of one file.
    #[must_use]
    pub fn file_error(
        source: &'a Path,
        dest: &'a Path,
        message: &'a str,
        cause: ErrorCause,
    ) -> Self {
        Self::Error(Error {
            paths: Some(FilePaths::new(source, dest)),
            error: message,
            cause,
        })
    }

    /// Makes the event of an error that belongs to no file.
    #[must_use]
    pub fn run_error(message: &'a str, cause: ErrorCause) -> Self {
        Self::Error(Error {
            paths: None,
            error: message,
            cause,
        })
    }

    /// Returns the line to write, without its end.
    ///
    /// # Panics
    /// Never: all keys of the events are strings.
    #[must_use]
    pub fn into_line(self) -> String {
        let line = Line {
            v: EVENT_VERSION,
            event: self,
        };
        // A `Value` sorts the keys, as all earlier versions of the program did.
        serde_json::to_value(line)
            .expect("an event has string keys")
            .to_string()
    }
}

impl<'a> FilePaths<'a> {
    fn new(source: &'a Path, dest: &'a Path) -> Self {
        Self {
            source: source.to_str(),
            source_hex: hex_unless_utf8(source),
            destination: dest.to_str(),
            destination_hex: hex_unless_utf8(dest),
        }
    }
}

/// Returns the bytes of a path in hexadecimal, or `None` if they are UTF-8.
fn hex_unless_utf8(path: &Path) -> Option<String> {
    if path.to_str().is_some() {
        return None;
    }
    let bytes = path.as_os_str().as_bytes();
    Some(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

impl<'a> Plan<'a> {
    fn new(plan: &'a transfer::PlanSummary, paths: FilePaths<'a>) -> Self {
        Self {
            paths,
            size: plan.size,
            data: plan.data,
            engine: plan.engine,
            direct: plan.direct,
            mem_align: plan.mem_align,
            offset_align: plan.offset_align,
            refused: plan.refused.iter().map(Refusal::from).collect(),
            unreserved: plan.unreserved.as_deref(),
            writers: plan.writers.name(),
            writers_why: plan.writers.why(),
        }
    }
}

impl<'a> From<&'a transfer::Refusal> for Refusal<'a> {
    fn from(refusal: &'a transfer::Refusal) -> Self {
        Self {
            engine: refusal.engine,
            why: &refusal.why,
        }
    }
}

impl From<&transfer::Trial> for Trial<'_> {
    fn from(trial: &transfer::Trial) -> Self {
        Self {
            engine: trial.engine,
            cpu_per_gb: trial.cpu_per_gb,
            wall_per_gb: trial.wall_per_gb,
            longest_call: trial.longest_call,
        }
    }
}

impl From<&transfer::DepthSummary> for Depth {
    fn from(depth: &transfer::DepthSummary) -> Self {
        let tried = depth.tried.iter().map(|rate| DepthTrial {
            pieces: rate.depth,
            wall_per_gb: rate.wall_per_gb,
        });
        Self {
            pieces: depth.depth,
            piece_bytes: depth.piece,
            tried: tried.collect(),
        }
    }
}

impl From<Option<&Bottleneck>> for Throttle {
    fn from(bottleneck: Option<&Bottleneck>) -> Self {
        bottleneck.map_or_else(Self::default, |b| Self {
            cause: Some(b.cause.name()),
            figure: Some(b.figure),
            target: Some(b.target),
            rate: b.rate.bytes_per_sec(),
        })
    }
}

impl Progress {
    pub(super) fn new(file: &transfer::Progress, run: &RunProgress) -> Self {
        let (phase, copied, verified) = match file.phase {
            Phase::Copy => ("copy", file.copied, 0),
            Phase::Verify { .. } => ("verify", file.size.unwrap_or(file.copied), file.copied),
        };
        Self {
            copied,
            size: file.size,
            phase,
            verified,
            rate: bytes_per_second(file.copied, file.phase_elapsed()),
            elapsed: file.elapsed.as_secs_f64(),
            files_done: run.files,
            files: run.total.map(|total| total.files),
            bytes_done: run.bytes,
            bytes: run.total.map(|total| total.bytes),
            freed: run.freed_bytes,
        }
    }
}

impl<'a> From<&QueueNews<'a>> for Queue<'a> {
    fn from(news: &QueueNews<'a>) -> Self {
        Self {
            queue: news.queue,
            state: news.state.name(),
            place: news.place.place,
            members: news.place.members,
            ahead: news.place.ahead,
            estimate: news.place.estimate.map(|time| time.as_secs_f64()),
            waited: news.place.waited.as_secs_f64(),
            adopted: news.adopted,
        }
    }
}

impl<'a> From<&QueueMember<'a>> for Member<'a> {
    fn from(member: &QueueMember<'a>) -> Self {
        Self {
            queue: member.queue,
            pid: member.pid,
            state: member.state.name(),
            place: member.place,
            priority: member.priority.into(),
            size: member.size,
            copied: member.copied,
            waited: member.waited.as_secs_f64(),
            limit_rate: member.limit_rate,
        }
    }
}

impl<'a> Done<'a> {
    fn new(summary: &'a transfer::CopySummary, paths: FilePaths<'a>) -> Self {
        Self {
            paths,
            bytes: summary.bytes,
            data_bytes: summary.data_bytes,
            engine: summary.engine,
            engines: &summary.engines,
            extents: summary.extents,
            elapsed: summary.elapsed,
            rate: summary.rate,
            cpu_user: summary.cpu_user,
            cpu_system: summary.cpu_system,
            in_flight: summary.in_flight,
            max_rss: summary.max_rss,
            writers: summary.writers.name(),
            writers_why: summary.writers.why(),
            verified: summary.read_back.as_ref().map(ReadBack::name),
            verified_why: summary.read_back.as_ref().and_then(ReadBack::why),
            checksum: summary.digest.as_ref().map(|digest| &*digest.hex),
            checksum_algorithm: summary
                .digest
                .as_ref()
                .map(|digest| digest.algorithm.name()),
        }
    }
}

impl From<&RunSummary> for Total {
    fn from(sum: &RunSummary) -> Self {
        Self {
            files: sum.files,
            bytes: sum.bytes,
            freed: sum.freed_bytes,
            directories: sum.directories,
            skipped: sum.skipped,
            errors: sum.errors,
            cut: sum.cut,
            elapsed: sum.elapsed.as_secs_f64(),
            rate: bytes_per_second(sum.bytes, sum.elapsed),
        }
    }
}
