//! The table `exec`: processes that run one program, which is this one. Each has written to a part of its memory.

use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use super::child_status::status;
use super::idle_processes::IdleProcesses;
use super::ramp::Ramp;
use super::scale_result::CostTable;
use super::{ScaleConfig, ScaleTable};
use crate::forklat::error::{ForklatError, failed};
use crate::report::units::format_bytes;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::process::MainThread;
use crate::sys::residency::page_size;
use crate::sys::{clock, parked_process, process};

/// The argument that makes this program one of the idle processes. It is not for users.
pub const IDLE_PROCESS_ARG: &str = "__stand";

pub(super) fn table(bench: &ScaleConfig<'_>) -> Result<CostTable, ForklatError> {
    let ladder = Ramp {
        bench,
        question: ScaleTable::Exec,
        title: format!(
            "One more process is started by fork and exec beside N; each has written to {}",
            format_bytes(bench.touch)
        ),
        series: &["start", "stop"],
        each: bench.touch,
    };
    let main = MainThread::current().map_err(|e| failed("start processes", e))?;
    let mut command = None;
    let crowd = IdleProcesses::new(bench.caller, move |ready| {
        let command = match &mut command {
            Some(command) => command,
            none => none.insert(program(bench.touch, ready.try_clone()?, main)),
        };
        let began = clock::monotonic_ns();
        let child = command.spawn()?;
        Ok((began, Pid::from_raw(child.id().cast_signed())))
    })?;
    ladder.time_one_more(crowd)
}

/// Returns the command that runs this program as an idle process, which dies with this process. Because of `pre_exec`,
/// std uses fork and exec, not posix_spawn.
fn program(touch: u64, ready: io::PipeWriter, main: MainThread) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(IDLE_PROCESS_ARG)
        .arg(touch.to_string())
        .env_clear();
    command.stdin(Stdio::null()).stdout(ready);
    process::die_with_parent(&mut command, main);
    command
}

/// Runs this program as an idle process, with the arguments after [`IDLE_PROCESS_ARG`]. It writes to memory, reports on
/// standard output that it is ready, and waits to be killed. It returns only on failure, with an exit status that is an
/// errno.
#[must_use]
pub fn run_idle_process(words: impl IntoIterator<Item = OsString>) -> i32 {
    let size = words.into_iter().next();
    let Some(touch) = size.and_then(|word| word.to_str()?.parse::<usize>().ok()) else {
        return libc::EINVAL;
    };
    let memory = (touch > 0).then(|| AlignedBuffer::new(touch)).transpose();
    match memory {
        Ok(mut memory) => {
            if let Some(memory) = &mut memory {
                parked_process::touch_pages(memory, page_size() as usize);
            }
            parked_process::park(io::stdout())
        }
        Err(e) => status(Err(e)),
    }
}
