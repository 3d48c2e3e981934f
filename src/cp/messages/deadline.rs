//! The sentences about the time by which a copy shall be complete.

use std::fmt::{self, Display, Formatter};

use crate::cp::error::{DeadlineWarning, TimeShortage};
use crate::report::units::{format_bytes, format_rate, format_span};

impl Display for TimeShortage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--finish-within: {} at the {} of --limit-rate take {}, and {} is all there is",
            format_bytes(self.bytes),
            format_rate(self.rate as f64),
            format_span(self.needs),
            format_span(self.within),
        )
    }
}

impl Display for DeadlineWarning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("warning: --finish-within: ")?;
        match self {
            Self::LimitsYield(bottleneck) => write!(
                f,
                "the limits do not leave enough time, and yield: the rest needs {}",
                format_rate(bottleneck.target),
            ),
            Self::TooShort { rate, needs, left } => write!(
                f,
                "the copy will not be complete in time: at {} the rest takes {}, and {} is left",
                format_rate(*rate),
                format_span(*needs),
                format_span(*left),
            ),
            Self::IsOver { within, cuts } => write!(
                f,
                "{} is over; {}",
                format_span(*within),
                match cuts {
                    true => "what is not complete is cut",
                    false => "the copy goes on as fast as it can",
                },
            ),
            Self::UnknownTotal => f.write_str(
                "it is not known how much there is to copy; limits of latency and pressure hold for nine tenths of the time",
            ),
        }
    }
}
