//! The sentences about room that a file does not get, and about files that are cut.

use std::fmt::{self, Display, Formatter};

use crate::cp::cut::{CutNotice, CutPoint};
use crate::cp::error::CutReason;
use crate::report::quote::quote;
use crate::report::units::{format_size, format_size_of, format_span};
use crate::sys::strerror::strerror;
use crate::transfer::StopReason;

/// Returns why a copy from one quoted path to another was ended.
pub(super) fn stop_sentence(reason: &StopReason, from: &str, to: &str) -> String {
    match reason {
        StopReason::KeepFree { .. } => format!("no room for {to}: {}", stop_clause(reason)),
        StopReason::MaxSize { .. } => format!("{from} is too large: {}", stop_clause(reason)),
        StopReason::Deadline(_) => format!("no time for {to}: {}", stop_clause(reason)),
    }
}

/// Returns the figures of a reason to end a copy.
fn stop_clause(reason: &StopReason) -> String {
    match *reason {
        StopReason::KeepFree { needed, free, kept } => {
            let needed = needed.map(|needed| format!("{} needed, ", format_size(needed)));
            format!(
                "{}{} free, {} to be kept free",
                needed.unwrap_or_default(),
                format_size(free),
                format_size(kept)
            )
        }
        StopReason::MaxSize {
            size: Some(size),
            max,
        } => format!(
            "it has {} of data, and --max-size is {}",
            format_size(size),
            format_size(max)
        ),
        StopReason::MaxSize { size: None, max } => {
            format!("it has more than --max-size, {}", format_size(max))
        }
        StopReason::Deadline(within) => {
            format!("--finish-within, {}, is over", format_span(within))
        }
    }
}

impl Display for CutNotice<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let CutPoint { at, size, why } = self.point;
        let shown = match size {
            Some(size) => format_size_of(*at, *size),
            None => format_size(*at),
        };
        let why = match why {
            CutReason::Stopped(reason) => stop_clause(reason),
            CutReason::NoSpace(errno) => strerror(&(*errno).into()),
        };
        let (source, part) = (quote(self.source), quote(self.part));
        write!(
            f,
            "{source} is cut: {part} holds its first {at} bytes ({shown}): {why}"
        )
    }
}
