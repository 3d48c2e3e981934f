//! 1b: processes that run one program, this one, each having written to some of its memory.

use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use super::crowd::Crowd;
use super::ladder::{Ladder, add};
use super::record::Table;
use super::stop::{Stop, cannot, status};
use super::{Bench, Question};
use crate::report::units::bytes;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::process::MainThread;
use crate::sys::residency::page_size;
use crate::sys::{clock, process, standing};

/// The word by which this program is told to be one of those that stand. It is not for users.
pub const STAND: &str = "__stand";

pub(super) fn table(bench: &Bench<'_>) -> Result<Table, Stop> {
    let ladder = Ladder {
        bench,
        question: Question::Exec,
        title: format!(
            "One more of N that run one program by fork and exec, {} written to",
            bytes(bench.touch)
        ),
        series: &["start", "stop"],
        each: bench.touch,
    };
    let main = MainThread::current().map_err(|e| cannot("start processes", &e))?;
    let mut command = None;
    let crowd = Crowd::new(bench.caller, move |ready| {
        let command = match &mut command {
            Some(command) => command,
            none => none.insert(program(bench.touch, ready.try_clone()?, main)),
        };
        let began = clock::now();
        let child = command.spawn()?;
        Ok((began, Pid::from_raw(child.id().cast_signed())))
    })?;
    ladder.climb(crowd, |crowd, repeat, histograms| {
        for _ in 0..repeat {
            let (start, stop) = crowd.one_more()?;
            add(histograms, &[start, stop]);
        }
        Ok(())
    })
}

/// This program, ending with this process. With `pre_exec` std does a fork and an exec, not a posix_spawn.
fn program(touch: u64, ready: io::PipeWriter, main: MainThread) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(STAND).arg(touch.to_string()).env_clear();
    command.stdin(Stdio::null()).stdout(ready);
    process::die_with_parent(&mut command, main);
    command
}

/// What this program does under the word [`STAND`], with the words after it: writes to memory, says on standard output that
/// it stands, and waits to be killed. Comes back only when it cannot, with an exit status that is an errno.
#[must_use]
pub fn stand(words: impl IntoIterator<Item = OsString>) -> i32 {
    let size = words.into_iter().next();
    let Some(touch) = size.and_then(|word| word.to_str()?.parse::<usize>().ok()) else {
        return libc::EINVAL;
    };
    let memory = (touch > 0).then(|| AlignedBuffer::new(touch)).transpose();
    match memory {
        Ok(mut memory) => {
            if let Some(memory) = &mut memory {
                standing::touch(memory, page_size() as usize);
            }
            standing::stand(io::stdout())
        }
        Err(e) => status(Err(e)),
    }
}
