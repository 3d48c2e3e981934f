//! The option that explains late answers, which `run` and `compare` have in common.

use std::time::Duration;

use clap::Args;

use crate::report::units::parse_time;

/// The option `--why` with its time.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Probes")]
pub struct WhyArgs {
    /// Say why answers were late: explain each that took TIME or longer, and show how much time each cause took [default of TIME: 10ms]
    #[arg(long, value_name = "TIME", value_parser = parse_time, num_args = 0..=1, require_equals = true, default_missing_value = "10ms")]
    pub why: Option<Duration>,
}
