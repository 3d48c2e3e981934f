//! The text lines of `--debug`: the decisions of a transfer and of the throttle.

use std::path::Path;

use super::progress_text::{bottleneck_clause, freed_text};
use super::quote::quote;
use super::units::{format_bytes, format_rate};
use crate::transfer::copy_method::{Offload, ReflinkUse, SparseDetection};
use crate::transfer::rate_limit::{Bottleneck, Rate};
use crate::transfer::{
    CopyMethod, CopySummary, DepthSummary, Event, PlanSummary, ReadBack, Writers,
};

/// Formats the line about what holds the copy back.
#[must_use]
pub(super) fn throttle(holding: Option<&Bottleneck>) -> String {
    match holding {
        Some(holding) => {
            let rate = match holding.rate {
                Rate::Stopped => "the copy has not started".to_owned(),
                Rate::Unlimited => "not limited".to_owned(),
                rate => format_rate(rate.as_f64()),
            };
            format!("throttle: {rate}: {}", bottleneck_clause(holding))
        }
        None => "throttle: nothing limits the copy".to_owned(),
    }
}

/// Formats the line that cp prints for each file since 9.3, in its words: newer scripts and test suites look for it.
#[must_use]
pub fn method_line(method: &CopyMethod) -> String {
    let offload = match method.offload {
        Offload::Unknown => "unknown",
        Offload::Yes => "yes",
        Offload::Avoided => "avoided",
        Offload::Unsupported => "unsupported",
    };
    let reflink = match method.reflink {
        ReflinkUse::Unknown => "unknown",
        ReflinkUse::No => "no",
        ReflinkUse::Yes => "yes",
        ReflinkUse::Avoided => "avoided",
        ReflinkUse::Unsupported => "unsupported",
    };
    let sparse = match method.sparse {
        SparseDetection::Unknown => "unknown",
        SparseDetection::No => "no",
        SparseDetection::Zeros => "zeros",
        SparseDetection::SeekHole => "SEEK_HOLE",
        SparseDetection::SeekHoleAndZeros => "SEEK_HOLE + zeros",
    };
    format!("copy offload: {offload}, reflink: {reflink}, sparse detection: {sparse}")
}

/// Formats the line about how much of a file is on the disk.
#[must_use]
pub(super) fn durable(source: &Path, at: u64) -> String {
    format!("{}: on the disk up to offset {at}", quote(source))
}

/// Formats the line about memory of a source that was given back.
#[must_use]
pub(super) fn freed(source: &Path, bytes: u64) -> String {
    let text = freed_text(bytes).unwrap_or_default();
    format!("{}: {text}", quote(source))
}

/// Formats the lines for one event.
#[must_use]
pub fn event_lines(event: &Event, source: &Path) -> Vec<String> {
    let name = quote(source);
    match event {
        Event::Plan(plan) => plan_lines(&name, plan),
        Event::Fallback { from, to, why, at } => {
            vec![format!(
                "{name}: {from} failed at offset {at}, {to} continues: {why}"
            )]
        }
        Event::Choice { engine, why, tried } => tried
            .iter()
            .map(|t| {
                format!(
                    "{name}: {} took {:.3} s of CPU time and {:.3} s of wall time for a GB, at most {:.0} us of CPU in a call",
                    t.engine,
                    t.cpu_per_gb,
                    t.wall_per_gb,
                    t.longest_call * 1e6
                )
            })
            .chain([format!("{name}: {engine} copies the rest: {why}")])
            .collect(),
        Event::Depth(depth) => depth_lines(&name, depth),
        Event::Sharing { is_shared, bytes } => {
            let who = match is_shared {
                true => "others read from or sync to this device",
                false => "nobody else waits for this device",
            };
            let bytes = format_bytes(*bytes);
            vec![format!("{name}: {who}: at most {bytes} on their way at once")]
        }
        Event::Note { text } => vec![format!("{name}: {text}")],
        Event::Done(summary) => summary_lines(&name, summary),
    }
}

fn depth_lines(name: &str, depth: &DepthSummary) -> Vec<String> {
    let tried = depth.tried.iter().map(|rate| {
        let noun = if rate.depth == 1 { "piece" } else { "pieces" };
        format!(
            "{name}: {} {noun} at once took {:.3} s for a GB",
            rate.depth, rate.wall_per_gb
        )
    });
    let piece = format_bytes(depth.piece);
    let decided = format!("{name}: {} at once, each of {piece} or less", depth.depth);
    tried.chain([decided]).collect()
}

fn plan_lines(name: &str, plan: &PlanSummary) -> Vec<String> {
    let size = match plan.size {
        Some(size) => format!("size {size}, allocated {}", plan.data),
        None => "size unknown before the end".into(),
    };
    let mut lines = vec![
        format!("{name}: {size}"),
        format!("{name}: engine {}", plan.engine.unwrap_or("none")),
        format!(
            "{name}: O_DIRECT {}, alignment {} for memory, {} for offsets",
            plan.direct, plan.mem_align, plan.offset_align
        ),
    ];
    let refused = plan.refused.iter();
    lines.extend(refused.map(|r| format!("{name}: engine {} cannot be used: {}", r.engine, r.why)));
    lines.push(match &plan.unreserved {
        Some(why) => format!("{name}: space not reserved: {why}"),
        None => format!("{name}: space reserved"),
    });
    lines.push(format!("{name}: {} now", writers_clause(&plan.writers)));
    lines
}

/// Returns in words who can write to a source.
fn writers_clause(writers: &Writers) -> String {
    match writers {
        Writers::None => "no process has it open or mapped for writing".into(),
        Writers::Possible => {
            "a process has it open or mapped for writing, so the copy may be torn".into()
        }
        Writers::Unknown(why) => {
            format!("it is unknown whether a process has it open for writing ({why})")
        }
    }
}

fn summary_lines(name: &str, summary: &CopySummary) -> Vec<String> {
    let figures = format!(
        "{name}: {} by {}, {} of data in {} extents, {}, {:.3} s of CPU time, peak memory {}",
        format_bytes(summary.bytes),
        summary.engine.unwrap_or("none"),
        format_bytes(summary.data_bytes),
        summary.extents,
        format_rate(summary.rate),
        summary.cpu_user + summary.cpu_system,
        format_bytes(summary.max_rss)
    );
    let writers = writers_clause(&summary.writers);
    let mut lines = vec![figures, format!("{name}: {writers} before and after")];
    lines.extend(summary.read_back.as_ref().map(|how| match how {
        ReadBack::Direct => format!("{name}: verified, read back with O_DIRECT"),
        ReadBack::Cached(why) => format!("{name}: verified through the page cache: {why}"),
    }));
    if let Some(digest) = &summary.digest {
        lines.push(format!(
            "{name}: {} {}",
            digest.algorithm.name(),
            digest.hex
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::rate_limit::Cause;

    #[test]
    fn throttle_says_how_fast_and_why() {
        let holding = Bottleneck {
            cause: Cause::ForkLatency,
            figure: 0.0062,
            target: 0.005,
            rate: Rate::from_bytes_per_sec(35 << 20),
        };
        let line = "throttle: 35.00 MiB/s: fork takes 6.2 ms (limit: 5 ms)";
        assert_eq!(throttle(Some(&holding)), line);
        let before = Bottleneck {
            rate: Rate::Stopped,
            ..holding
        };
        let line = "throttle: the copy has not started: fork takes 6.2 ms (limit: 5 ms)";
        assert_eq!(throttle(Some(&before)), line);
        assert_eq!(throttle(None), "throttle: nothing limits the copy");
    }
}
