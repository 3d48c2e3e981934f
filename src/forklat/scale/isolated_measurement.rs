//! One more process that measures: what it does to a mapped file can end it (SIGBUS), and must not end the program.

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

/// How often the process is looked after: rarely, since looking takes time on the CPUs that are measured.
const CHILD_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs `prepare` in a process of its own, and then, `repeat` times, what that returned: one measurement, in nanoseconds, for
/// each histogram. `what` is what cannot be done when it fails.
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
