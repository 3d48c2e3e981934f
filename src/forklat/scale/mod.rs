//! `forklat scale`: measures how the cost of one more process grows with the number of idle processes.
//!
//! There are six tables: processes forked from one parent (`fork_table`), fork and exec of one program (`exec_table`), memory
//! that is written after a fork (`copy_on_write_table`), all processes ended at once (`storm_table`), mapping a file that all
//! have mapped, and changing that file (both in `mapping_tables`). `ramp` goes up to the last N, `idle_processes` holds the
//! processes, [`power_law_fit`] fits the results, and `answer` says them in a sentence.

mod answer;
mod child_status;
mod copy_on_write_table;
mod exec_table;
mod fork_table;
mod idle_processes;
mod isolated_measurement;
mod mapping_tables;
mod memory_budget;
pub mod power_law_fit;
pub mod process_counts;
mod process_limits;
mod ramp;
pub mod scale_result;
mod storm_table;

use std::path::{Path, PathBuf};

pub use exec_table::{IDLE_PROCESS_ARG, run_idle_process};

use super::cli::scale::{ScaleArgs, ScaleTable};
use super::model::Report;
use crate::forklat::error::ForklatError;
use crate::observe::mount::Mount;
use crate::report::quote::quote;
use crate::report::units::format_bytes;
use crate::sys::residency::page_size;
use scale_result::ScaleResult;

/// The functions that the caller provides for a run.
pub struct RunControl<'a> {
    /// Returns whether to stop. It is called before each process that is started, and while waiting.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Shows a text that describes the current action.
    pub status: &'a dyn Fn(&str),
}

impl std::fmt::Debug for RunControl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caller")
    }
}

impl RunControl<'_> {
    fn check(&self) -> Result<(), ForklatError> {
        match (self.interrupted)() {
            true => Err(ForklatError::Interrupted),
            false => Ok(()),
        }
    }
}

/// The options after they were resolved.
#[derive(Debug)]
struct ScaleConfig<'a> {
    steps: Vec<u32>,
    touch: u64,
    file_size: u64,
    on: &'a [PathBuf],
    repeat: usize,
    caller: &'a RunControl<'a>,
}

impl ScaleTable {
    const ALL: [Self; 6] = [
        Self::Fork,
        Self::Exec,
        Self::CopyOnWrite,
        Self::Storm,
        Self::JoinMapping,
        Self::WriteMapping,
    ];

    /// Returns the name of the table, such as `fork`.
    fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::CopyOnWrite => "copy-on-write",
            Self::Storm => "storm",
            Self::JoinMapping => "join-mapping",
            Self::WriteMapping => "write-mapping",
        }
    }

    fn table(self, bench: &ScaleConfig<'_>) -> Result<scale_result::CostTable, ForklatError> {
        match self {
            Self::Fork => fork_table::table(bench),
            Self::Exec => exec_table::table(bench),
            Self::CopyOnWrite => copy_on_write_table::table(bench),
            Self::Storm => storm_table::table(bench),
            Self::JoinMapping => mapping_tables::table(bench, mapping_tables::join),
            Self::WriteMapping => mapping_tables::table(bench, mapping_tables::modify),
        }
    }
}

/// Makes the tables and returns `report` with them and with their notes. The process must have one thread.
/// `/proc/self/exe` must handle [`IDLE_PROCESS_ARG`] by calling [`run_idle_process`].
///
/// # Errors
/// Interrupted, or the first error. No process and no file is left then.
pub fn run(
    words: &ScaleArgs,
    report: Report,
    caller: &RunControl<'_>,
) -> Result<Report, ForklatError> {
    let bench = bench(words, caller)?;
    let asked = |question: &ScaleTable| words.only.is_empty() || words.only.contains(question);
    let questions: Vec<ScaleTable> = ScaleTable::ALL.into_iter().filter(asked).collect();
    may_stand(words, &questions)?;
    let mut notes = Vec::new();
    if questions.contains(&ScaleTable::WriteMapping) {
        notes.extend(bench.on.iter().find_map(|on| mapping_tables::note(on)));
    }
    if questions.contains(&ScaleTable::CopyOnWrite) {
        notes.extend(copy_on_write_table::note()?);
    }
    let tables: Result<Vec<_>, ForklatError> = questions.iter().map(|q| q.table(&bench)).collect();
    // ^C on a terminal also ends the idle processes. An error that this caused is reported as an interruption.
    let tables = tables.map_err(|stop| caller.check().err().unwrap_or(stop))?;
    let kernel = report.facts.kernel.as_deref();
    let file_system = |on: &PathBuf| {
        let mount = Mount::of_path(Path::new("/"), on);
        mount.map_or_else(|_| String::new(), |mount| mount.file_system)
    };
    Ok(Report {
        notes,
        scale: Some(ScaleResult {
            touch: words.touch,
            file_size: words.file_size,
            on: words.on.clone(),
            file_systems: words.on.iter().map(file_system).collect(),
            answer: answer::answer(&tables, kernel),
            tables,
        }),
        ..report
    })
}

fn bench<'a>(
    words: &'a ScaleArgs,
    caller: &'a RunControl<'a>,
) -> Result<ScaleConfig<'a>, ForklatError> {
    if words.file_size < page_size() {
        let message = format!(
            "--file-size: a file of {} is smaller than a page",
            words.file_size
        );
        return Err(ForklatError::Refused(message));
    }
    if let Some(on) = words.on.iter().find(|on| !on.is_dir()) {
        let message = format!("--on: {} is not a directory", quote(on));
        return Err(ForklatError::Refused(message));
    }
    Ok(ScaleConfig {
        steps: process_counts::steps(words.max),
        touch: words.touch,
        file_size: words.file_size,
        on: &words.on,
        repeat: words.repeat as usize,
        caller,
    })
}

/// Checks the limits and the memory that are known before anything is made or measured. They are checked again before
/// each step.
fn may_stand(words: &ScaleArgs, questions: &[ScaleTable]) -> Result<(), ForklatError> {
    // The process that is measured comes in addition to the idle ones, and has as much memory as they.
    let all = u64::from(words.max) + 1;
    process_limits::allow(&process_limits::read(Path::new("/")), all)?;
    let before = ramp::memory()?;
    let asked = |any: &[ScaleTable]| any.iter().any(|q| questions.contains(q));
    if asked(&[ScaleTable::Fork, ScaleTable::Exec, ScaleTable::Storm]) {
        let each = words.touch;
        memory_budget::Budget { before, each }.allow(before, 0, all)?;
    }
    if asked(&[ScaleTable::JoinMapping, ScaleTable::WriteMapping]) && words.file_size > before / 2 {
        let (size, half) = (format_bytes(words.file_size), format_bytes(before / 2));
        let message =
            format!("--file-size: {size} is more than half of the available memory ({half})");
        return Err(ForklatError::Refused(message));
    }
    Ok(())
}
