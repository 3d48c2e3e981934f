//! Options that hold a disk to a rate: below its I/O scheduler, as a slow disk does, or above it.

use clap::Args;

use crate::report::units::parse_bytes;

/// The options of the disk limit that `run` and `compare` have in common.
#[derive(Debug, Clone, Args)]
pub struct DiskLimitArgs {
    /// Use a disk of RATE bytes per second, for reads and for writes, in place of the directory of --on: an ext4 on a loop device, with an image there, that is held below its I/O scheduler, as a slow disk is
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, conflicts_with = "disk_limit_above", help_heading = "The host")]
    pub disk_limit: Option<u64>,

    /// Set the size of the disk of --disk-limit [default: half of the free space, at most 16G]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, requires = "disk_limit", help_heading = "The host")]
    pub disk_limit_size: Option<u64>,

    /// Limit the disk of the directory of --on to RATE above its I/O scheduler, by the block controller: requests wait in a queue without a bound, which no disk has
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, help_heading = "The host")]
    pub disk_limit_above: Option<u64>,
}

impl DiskLimitArgs {
    /// Returns whether a limit is asked for, of either kind.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.disk_limit.or(self.disk_limit_above).is_some()
    }
}
