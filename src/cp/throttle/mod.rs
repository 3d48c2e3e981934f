//! Keeps a copy within the user's limits: the sensors that watch the machine, and the governor thread that sets the
//! rate of the copy.

mod dest_directory;
mod idle;
mod sensors;

pub(super) use dest_directory::find_dest_directory;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Thread};
use std::time::Duration;

use super::error::{DeadlineWarning, Error, LimitWarning};
use super::operands::OperandJobs;
use super::options::CopyOptions;
use super::tree::thread_count;
use crate::report::{OrderedOutput, Reporter};
use crate::sys::clock::MonotonicNs;
use crate::transfer::StopReason;
use crate::transfer::rate_limit::{
    CopyTotals, Governor, Limits, Notice, RateLimiter, RateSettings, RemainingWork,
};
use sensors::{SensorEvent, SensorSet};

/// The interval between two runs of the governor. A fork prober answers every 25 ms; a run takes 10 us.
const GOVERNOR_INTERVAL: Duration = Duration::from_millis(20);

/// The interval where only a rate must be kept, so that the user can see whether it is.
const RATE_ONLY_INTERVAL: Duration = Duration::from_millis(100);

/// The sensors that must be started before there is a second thread, since a prober is forked.
#[derive(Debug)]
pub(super) struct Throttle {
    watch: SensorSet,
    limits: Limits,
    threads: usize,
    /// Whether bytes may be read a second time after they were copied.
    reads_again: bool,
    /// Whether files are cut when there is no more time for them (--cut).
    cuts: bool,
}

impl Throttle {
    /// Starts the sensors. Returns `None` where nothing is limited.
    ///
    /// # Errors
    /// Returns the signal that cannot be measured, and why: a copy that could exceed its limits is not begun.
    pub(super) fn start(
        options: &CopyOptions,
        limits: Limits,
        jobs: &OperandJobs,
        voice: &mut OrderedOutput,
    ) -> Result<Option<Self>, Error> {
        if !limits.any() {
            return Ok(None);
        }
        Ok(Some(Self {
            watch: SensorSet::start(options, &limits, jobs, voice)?,
            limits,
            threads: thread_count(options),
            reads_again: options.transfer.verify || options.transfer.digest.is_some(),
            cuts: options.transfer.room.cut,
        }))
    }
}

/// Runs `copy` on this thread, at the rate that the limits allow and with the priority of --idle.
pub(super) fn run_throttled(
    throttle: Option<Throttle>,
    options: &CopyOptions,
    jobs: &OperandJobs,
    reporter: &Reporter,
    copy: impl FnOnce(Option<Arc<RateLimiter>>) -> bool,
) -> bool {
    let be_idle = || {
        if options.idle {
            idle::become_idle(jobs, options, reporter);
        }
    };
    let Some(throttle) = throttle else {
        be_idle();
        return copy(None);
    };
    let holds_back = throttle.limits.holds_back();
    let mut pacer = RateLimiter::new(throttle.limits.governed());
    if options.idle {
        pacer = pacer.ignoring_calls();
    }
    let pacer = Arc::new(pacer);
    let mut governing = GovernorLoop::new(throttle, &pacer, reporter);
    // The first rate is set before the copy asks for it, so the copy need not wait for the thread to start.
    governing.update_rate();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ended = &over;
        let governing = Builder::new().spawn_scoped(scope, move || {
            let _stop = StopOnPanic(reporter);
            governing.run_until(ended);
        });
        let governing = match governing {
            Ok(governing) => governing,
            Err(e) => {
                reporter.abort(&Error::StartGovernor(e));
                return false;
            }
        };
        // The governor keeps its priority; threads that are started from here on have the priority of this thread.
        be_idle();
        let _end = GovernorStopper {
            over: &over,
            governing: governing.thread().clone(),
        };
        copy(holds_back.then(|| Arc::clone(&pacer)))
    })
}

/// Ends the governor when the copy ends, even if that panics.
struct GovernorStopper<'a> {
    over: &'a AtomicBool,
    governing: Thread,
}

impl Drop for GovernorStopper<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.governing.unpark();
    }
}

/// Stops the run if the governor panics, since the copy might otherwise wait without end.
struct StopOnPanic<'a>(&'a Reporter);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// The governor, with its sensors and the rate limiter that it sets.
struct GovernorLoop<'a> {
    watch: SensorSet,
    governor: Governor,
    pacer: &'a RateLimiter,
    reporter: &'a Reporter,
    limits: Limits,
    /// Whether bytes may be read a second time after they were copied.
    reads_again: bool,
    /// Whether files are cut when there is no more time for them (--cut).
    cuts: bool,
}

impl<'a> GovernorLoop<'a> {
    fn new(throttle: Throttle, pacer: &'a RateLimiter, reporter: &'a Reporter) -> Self {
        let Throttle {
            watch,
            limits,
            threads,
            reads_again,
            cuts,
        } = throttle;
        Self {
            governor: Governor::new(&limits, sensors::sample_period, threads, MonotonicNs::now()),
            watch,
            pacer,
            reporter,
            limits,
            reads_again,
            cuts,
        }
    }

    fn run_until(mut self, over: &AtomicBool) {
        let tick = if self.limits.governed() {
            GOVERNOR_INTERVAL
        } else {
            RATE_ONLY_INTERVAL
        };
        while !over.load(Ordering::Acquire) {
            self.update_rate();
            std::thread::park_timeout(tick);
        }
    }

    fn update_rate(&mut self) {
        self.look();
        let now = MonotonicNs::now();
        if let Some(calls) = self.pacer.take_calls() {
            self.governor.add_calls(calls);
        }
        let done = self.totals();
        if self.limits.finish_within.is_some() {
            self.governor.set_remaining(self.remaining(done.moved));
        }
        let orders = self.governor.decide(now, done);
        self.pacer.apply(&orders, now);
        self.report_notice(&orders);
    }

    /// Returns what the copy has done so far. A copy that nothing holds back does not ask the rate limiter.
    fn totals(&self) -> CopyTotals {
        if self.limits.holds_back() {
            return self.pacer.totals();
        }
        CopyTotals {
            moved: self.reporter.copied_bytes(),
            waited: Duration::ZERO,
        }
    }

    /// Returns what remains to be copied. Bytes that are read once more, for a digest or to verify the copy, are among
    /// those that the rate limiter counts.
    fn remaining(&self, moved: u64) -> RemainingWork {
        let is_exact = self.limits.holds_back() && !self.reads_again;
        self.reporter.remaining_work(is_exact.then_some(moved))
    }

    fn look(&mut self) {
        let (governor, reporter) = (&mut self.governor, self.reporter);
        // If all processes of a service are ended, the probers are ended as well, and that needs no warning.
        let warn = |warning: LimitWarning| {
            if !reporter.is_stopping() {
                reporter.warn(warning);
            }
        };
        self.watch
            .poll_sensors(MonotonicNs::now(), |look| match look {
                SensorEvent::Sample(cause, sample) => governor.add_sample(cause, sample),
                SensorEvent::SensorLost(cause, why) => {
                    governor.sensor_lost(cause, MonotonicNs::now());
                    warn(why);
                }
                SensorEvent::Message(text) => warn(text),
            });
    }

    fn report_notice(&self, orders: &RateSettings) {
        self.reporter.report_throttle(orders.bottleneck.as_ref());
        match &orders.notice {
            Some(Notice::TargetMissedBeforeStart(holding)) => {
                let warning = LimitWarning::MissedBeforeStart(*holding);
                self.reporter.warn(warning);
            }
            Some(Notice::GiveUp(holding)) => {
                let after = self.limits.give_up_after.unwrap_or_default();
                self.reporter.abort(&Error::GaveUp {
                    bottleneck: *holding,
                    after,
                });
            }
            Some(notice) => self.report_deadline(notice),
            None => {}
        }
    }

    /// Warns about a deadline, if the notice is about one. When it is over, all files under way are cut with --cut.
    fn report_deadline(&self, notice: &Notice) {
        let warning = match *notice {
            Notice::LimitsYield(bottleneck) => DeadlineWarning::LimitsYield(bottleneck),
            Notice::DeadlineTooShort { rate, needs, left } => {
                DeadlineWarning::TooShort { rate, needs, left }
            }
            Notice::DeadlineOver => {
                let within = self.limits.finish_within.unwrap_or_default();
                if self.cuts {
                    self.reporter.end_copies(StopReason::Deadline(within));
                }
                DeadlineWarning::IsOver {
                    within,
                    cuts: self.cuts,
                }
            }
            Notice::TargetMissedBeforeStart(_) | Notice::GiveUp(_) => return,
        };
        self.reporter.warn(LimitWarning::Deadline(warning));
    }
}
