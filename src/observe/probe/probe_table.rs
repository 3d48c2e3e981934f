//! The table of probes: what each of them measures, how often unless the user says otherwise, and how it is made.

use std::time::Duration;

use super::{Probe, ProbeSetup, exec, fork, overwrite, page_fault, read, wakeup, write};
use crate::observe::error::ObserveError;

/// One kind of prober and its properties.
#[derive(Debug, Clone, Copy)]
pub struct ProbeSpec {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What it measures, for the help text.
    pub description: &'static str,
    /// Its period, unless the user sets another.
    pub period: Duration,
    /// Whether it needs a directory to write to.
    pub needs_directory: bool,
    /// Whether one is started on each CPU.
    pub per_cpu: bool,
    /// Whether it runs only if it is selected.
    pub is_optional: bool,
    /// The bytes that one operation moves, for a probe whose throughput is shown.
    pub bytes: Option<u64>,
    pub(super) make: fn(&ProbeSetup) -> Result<Box<dyn Probe>, ObserveError>,
}

/// All kinds of probers.
///
/// Periods: each prober shall stay below 3 % of a CPU. Measured on a virtual machine of two idle cores with Linux 6.18,
/// where caches are cold at every wakeup: fork and reap 0.5 ms of CPU (2.1 to 2.4 % every 25 ms; 4 to 6 % every 10 ms),
/// exec of true 1.3 ms (2.5 %), 2 MiB in pages of 4 KiB 1.0 ms (2.6 %), a write 0.05 ms (0.9 %), fdatasync 0.6 ms (0.3
/// %), a read 0.3 ms (0.6 %).
pub const PROBE_SPECS: [ProbeSpec; 9] = [
    ProbeSpec {
        name: "wakeup",
        description: "sleep until a given moment and run again; one prober on each CPU",
        period: Duration::from_millis(1),
        needs_directory: false,
        per_cpu: true,
        is_optional: false,
        bytes: None,
        make: wakeup::make,
    },
    ProbeSpec {
        name: "fork",
        description: "fork a child that exits at once, and reap it; one prober on each CPU",
        period: Duration::from_millis(25),
        needs_directory: false,
        per_cpu: true,
        is_optional: false,
        bytes: None,
        make: fork::make,
    },
    ProbeSpec {
        name: "exec",
        description: "start true(1) with posix_spawn and wait for its exit; with --on, a copy of it on DIR",
        period: Duration::from_millis(50),
        needs_directory: false,
        per_cpu: false,
        is_optional: false,
        bytes: None,
        make: exec::make,
    },
    ProbeSpec {
        name: "touch",
        description: "map 2 MiB of anonymous memory and write to each page",
        period: Duration::from_millis(50),
        needs_directory: false,
        per_cpu: false,
        is_optional: false,
        bytes: None,
        make: page_fault::make,
    },
    ProbeSpec {
        name: "write",
        description: "append 4 KiB to a file on DIR",
        period: Duration::from_millis(10),
        needs_directory: true,
        per_cpu: false,
        is_optional: false,
        bytes: None,
        make: write::make,
    },
    ProbeSpec {
        name: "fsync",
        description: "append 4 KiB to a file on DIR, and call fdatasync",
        period: Duration::from_millis(100),
        needs_directory: true,
        per_cpu: false,
        is_optional: false,
        bytes: None,
        make: write::make_synced,
    },
    ProbeSpec {
        name: "read",
        description: "read 4 KiB with O_DIRECT from a file on DIR",
        period: Duration::from_millis(50),
        needs_directory: true,
        per_cpu: false,
        is_optional: false,
        bytes: None,
        make: read::make,
    },
    ProbeSpec {
        name: "overwrite",
        description: "write 4 KiB to a file on DIR whose blocks exist, in a ring of 16 MiB; only if selected",
        period: Duration::from_millis(10),
        needs_directory: true,
        per_cpu: false,
        is_optional: true,
        bytes: None,
        make: overwrite::make,
    },
    ProbeSpec {
        name: "stream",
        description: "write 1 MiB through the page cache to a file on DIR whose blocks exist, as a competing writer does, and show its rate while in write(2); only if selected",
        period: Duration::from_millis(100),
        needs_directory: true,
        per_cpu: false,
        is_optional: true,
        bytes: Some(overwrite::STREAM_BYTES as u64),
        make: overwrite::make_stream,
    },
];

/// Returns the kind with that name.
#[must_use]
pub fn find_spec(name: &str) -> Option<&'static ProbeSpec> {
    PROBE_SPECS.iter().find(|row| row.name == name)
}
