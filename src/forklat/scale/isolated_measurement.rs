//! Runs a measurement in a process of its own: an access to a mapped file can end it by SIGBUS, which must not end the
//! program.

use std::io;
use std::panic::UnwindSafe;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::RunControl;
use super::child_status::{died, status};
use super::idle_processes::ChildGuard;
use super::ramp::add;
use crate::forklat::error::{ForklatError, failed};
use crate::sys::process::fork_and_run;
use crate::sys::shared_memory::SharedWords;

/// Interval between two checks of the process (20 ms). It is long, since checking takes time on the CPUs that are
/// measured.
const CHILD_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs `prepare` in a process of its own, and then calls the returned closure `repeat` times. Each call returns one
/// measurement, in nanoseconds, for each histogram. `what` names the action for the error message.
pub(super) fn measure<const N: usize, M: FnMut() -> io::Result<[u64; N]>>(
    caller: &RunControl<'_>,
    what: &str,
    repeat: usize,
    histograms: &mut [Histogram<u64>],
    prepare: impl FnOnce() -> io::Result<M> + UnwindSafe,
) -> Result<(), ForklatError> {
    let words = SharedWords::new(repeat * N).map_err(|e| failed("share memory", e))?;
    let ((), pid) = fork_and_run((), |()| {
        status(prepare().and_then(|mut measure| {
            for row in words.chunks(N) {
                for (word, value) in row.iter().zip(measure()?) {
                    word.store(value, Ordering::Relaxed);
                }
            }
            Ok(())
        }))
    });
    let pid = pid.map_err(|e| failed("start a process", e))?;
    let mut child = ChildGuard::new(pid);
    let status = loop {
        caller.check()?;
        match child.ended() {
            Some(status) => break status,
            None => std::thread::sleep(CHILD_POLL_INTERVAL),
        }
    };
    if !status.success() {
        return Err(ForklatError::Refused(format!(
            "cannot {what}: {}",
            died(status)
        )));
    }
    for row in words.chunks(N) {
        let values: Vec<u64> = row
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        add(histograms, &values);
    }
    Ok(())
}
