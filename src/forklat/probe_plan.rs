//! Decides which probers to start: resolves the options about probes, and checks what this machine allows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::sched_getaffinity;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;

use super::cli::probes::{ALL_PROBES, ProbeArgs};
use super::default_directory::measurable_directory;
use crate::forklat::error::{ForklatError, cannot, failed};
use crate::observe::probe::{PROBE_SPECS, ProbeSetup, ProbeSpec};
use crate::report::quote::quote;
use crate::report::units::format_bytes;
use crate::sys::key_value::mem_available;

/// Shortest period of a probe (100 us). A sleep alone takes a part of this.
const MIN_PROBE_PERIOD: Duration = Duration::from_micros(100);

/// Longest period of a probe (1 h). With a longer one, a prober would take less than one sample in a measurement.
const MAX_PROBE_PERIOD: Duration = Duration::from_secs(3600);

/// The probers that are to be started.
#[derive(Debug)]
pub struct ProbePlan {
    /// Each kind of probe with its period.
    pub probes: Vec<(&'static ProbeSpec, Duration)>,
    /// The setup that the probers are made with.
    pub setup: ProbeSetup,
    /// The CPUs that this process may use. There is one forker on each.
    pub cpus: Vec<u32>,
    /// The latency from which on an answer is explained, if `--why` is given.
    pub why: Option<Duration>,
    /// Notes on what differs from the user's expectation.
    pub notes: Vec<String>,
}

impl ProbePlan {
    /// Resolves the options about probes.
    ///
    /// # Errors
    /// Periods that are impossible, and probes that lack what they need.
    pub fn resolve(words: &ProbeArgs) -> Result<Self, ForklatError> {
        let mut notes = Vec::new();
        let on = directory(words, &mut notes)?;
        let on_runs = on.as_deref().map_or(Ok(false), runs_programs)?;
        let rows = rows(words, on.is_some())?;
        let cpus = cpus()?;
        check_option_applies("--exec-cold", words.exec_cold, "exec", &rows)?;
        check_option_applies("--rss", words.rss > 0, "fork", &rows)?;
        check_heaps_fit(words.rss, cpus.len() as u64)?;
        let execs = rows.iter().any(|(row, _)| row.name == "exec");
        let program = if execs { program()? } else { PathBuf::new() };
        if execs && let Some(on) = on.as_deref().filter(|_| !on_runs) {
            let (on, program) = (quote(on), quote(&program));
            notes.push(format!(
                "{on} is mounted noexec: exec runs {program} in its own directory"
            ));
        }
        Ok(Self {
            probes: rows,
            setup: ProbeSetup {
                period: None,
                heap_bytes: usize::try_from(words.rss).map_err(|e| format!("--rss: {e}"))?,
                directory: on,
                keep_log_small: false,
                exec_cold: words.exec_cold,
                program,
                directory_allows_exec: on_runs,
            },
            cpus,
            why: None,
            notes,
        })
    }

    /// Returns the plan with an explanation of each answer that takes this time or longer, if there is one.
    ///
    /// # Errors
    /// A time of zero.
    pub fn with_why(self, why: Option<Duration>) -> Result<Self, ForklatError> {
        if why.is_some_and(|time| time.is_zero()) {
            return Err(ForklatError::usage("--why: the time must be above zero"));
        }
        Ok(Self { why, ..self })
    }
}

/// Returns the directory whose file system is measured: that of --on, or else the current one, if a chosen probe writes
/// to a directory. It is `None` if nothing was chosen and the current directory cannot be measured; a note says why.
fn directory(words: &ProbeArgs, notes: &mut Vec<String>) -> Result<Option<PathBuf>, ForklatError> {
    if words.on.is_some() {
        return Ok(words.on.clone());
    }
    let writes = |row: &&ProbeSpec| row.needs_directory;
    let chosen = |row: &&ProbeSpec| is_chosen(words, row);
    let first = PROBE_SPECS.iter().filter(writes).find(chosen);
    if first.is_none() && !words.probe.is_empty() {
        return Ok(None);
    }
    match (measurable_directory(), first) {
        (Ok(dir), _) => Ok(Some(dir)),
        (Err(why), Some(row)) => Err(ForklatError::usage(format!(
            "--probe={} needs --on=DIR, since the current directory {why}",
            row.name
        ))),
        (Err(why), None) => {
            notes.push(format!(
                "no disk was measured: the current directory {why}, and there is no --on"
            ));
            Ok(None)
        }
    }
}

/// Returns whether a probe is selected by --probe.
fn is_chosen(words: &ProbeArgs, row: &ProbeSpec) -> bool {
    let mut names = words.probe.iter();
    names.any(|name| name == row.name || name == ALL_PROBES)
}

/// Returns the chosen probes and their periods. Without a choice, these are all probes for which there is a directory
/// if they need one.
fn rows(
    words: &ProbeArgs,
    has_directory: bool,
) -> Result<Vec<(&'static ProbeSpec, Duration)>, ForklatError> {
    let mut rows = Vec::new();
    for row in &PROBE_SPECS {
        let wanted = match words.probe.as_slice() {
            [] => !row.is_optional && (!row.needs_directory || has_directory),
            _ => is_chosen(words, row),
        };
        let given = words.period.iter().rev().find(|(name, _)| name == row.name);
        if given.is_some() && !wanted {
            return Err(ForklatError::usage(format!(
                "--period={}: that probe is not selected",
                row.name
            )));
        }
        let period = given.map_or(row.period, |(_, period)| *period);
        if !(MIN_PROBE_PERIOD..=MAX_PROBE_PERIOD).contains(&period) {
            let name = row.name;
            return Err(ForklatError::usage(format!(
                "--period={name}: the period must be from 100us to 1h"
            )));
        }
        if wanted {
            rows.push((row, period));
        }
    }
    Ok(rows)
}

/// Refuses an option for a probe that is not chosen.
fn check_option_applies(
    option: &str,
    given: bool,
    probe: &str,
    rows: &[(&'static ProbeSpec, Duration)],
) -> Result<(), ForklatError> {
    if given && !rows.iter().any(|(row, _)| row.name == probe) {
        return Err(ForklatError::usage(format!(
            "{option}: the probe {probe} is not selected"
        )));
    }
    Ok(())
}

/// Refuses heaps that do not fit into the available memory. Each forker has one, which is written to and locked.
fn check_heaps_fit(rss: u64, forkers: u64) -> Result<(), ForklatError> {
    let all = rss.saturating_mul(forkers);
    let meminfo = crate::observe::kernel_file::read_trimmed(Path::new("/proc/meminfo"))?;
    match mem_available(&meminfo) {
        Some(available) if all > available => Err(format!(
            "--rss: {forkers} fork probers of {} take {}, but only {} are available",
            format_bytes(rss),
            format_bytes(all),
            format_bytes(available)
        )
        .into()),
        _ => Ok(()),
    }
}

/// Returns whether the file system of a directory allows programs to run.
fn runs_programs(on: &Path) -> Result<bool, ForklatError> {
    let is_dir = std::fs::metadata(on).map(|meta| meta.is_dir());
    match is_dir {
        Err(e) => Err(cannot("access", on, e)),
        Ok(false) => Err(format!("{} is not a directory", quote(on)).into()),
        Ok(true) => statvfs(on)
            .map(|stat| !stat.flags().contains(FsFlags::ST_NOEXEC))
            .map_err(|e| cannot("statvfs", on, e)),
    }
}

/// Returns the path of true(1), which does nothing, as execvp(3) would find it.
fn program() -> Result<PathBuf, ForklatError> {
    super::measured_command::find("true".as_ref()).map_err(|e| failed("find true", e))
}

fn cpus() -> Result<Vec<u32>, ForklatError> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|e| failed("ask for the CPUs", e))?;
    let all = 0..u32::try_from(nix::sched::CpuSet::count()).unwrap_or(u32::MAX);
    Ok(all
        .filter(|cpu| set.is_set(*cpu as usize).unwrap_or(false))
        .collect())
}
